package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	auditstore "auditstore-example/auditstore/v1"
)

const (
	batchEvents = 100
	window      = 8 // batches sent and not answered yet
	timeout     = 30 * time.Second
	attempts    = 5
)

// refused says what the store answered; each field that is wrong has a line of its own.
func refused(what string, s *status.Status) error {
	text := fmt.Sprintf("%s: %s: %s", what, code.Code(s.Code()), s.Message())
	for _, detail := range s.Details() {
		if badRequest, ok := detail.(*errdetails.BadRequest); ok {
			for _, violation := range badRequest.FieldViolations {
				text += fmt.Sprintf("\n  %s: %s", violation.Field, violation.Description)
			}
		}
	}
	return errors.New(text)
}

// The id and the time are chosen once: an event that is sent again with both is stored once.
func makeEvent(correlationID string, number int) *auditstore.AuditEvent {
	return &auditstore.AuditEvent{
		EventId: uuid.NewString(), EventTime: timestamppb.Now(),
		EventType: "order.placed", EventCategory: "order", EventAction: "place",
		Outcome: auditstore.Outcome_OUTCOME_SUCCESS, CorrelationId: correlationID,
		Actor:     &auditstore.Actor{Type: "service", Id: "go-example"},
		Resource:  &auditstore.Resource{Type: "order", Id: fmt.Sprint(number)},
		EventData: fmt.Sprintf(`{"number": %d}`, number),
	}
}

// Stored is what receipts speak of, and nothing else.
func count(receipts []*auditstore.Receipt) (events int) {
	for _, receipt := range receipts {
		events += int(receipt.Count)
	}
	return events
}

// write sends one batch by one call and returns how many events are stored.
func write(store auditstore.AuditStoreClient, events []*auditstore.AuditEvent) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	answer, err := store.WriteEvents(ctx, &auditstore.WriteEventsRequest{Events: events})
	if err != nil {
		return 0, refused("WriteEvents", status.Convert(err))
	}
	return count(answer.Receipts), nil
}

// streamOnce sends the batches that stored (events by batch_id) lacks, and fills it.
func streamOnce(store auditstore.AuditStoreClient, batches []*auditstore.StreamEventsRequest,
	stored map[string]int) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	call, err := store.StreamEvents(ctx)
	if err != nil {
		return err
	}
	waiting := slices.DeleteFunc(slices.Clone(batches), func(b *auditstore.StreamEventsRequest) bool {
		_, isStored := stored[b.BatchId]
		return isStored
	})
	sendNext := func() { // when it fails, Recv says why
		if len(waiting) == 0 {
			_ = call.CloseSend()
			return
		}
		_ = call.Send(waiting[0])
		waiting = waiting[1:]
	}
	for range window {
		sendNext()
	}
	for {
		answer, err := call.Recv()
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		switch answered := status.FromProto(answer.Status); answered.Code() {
		case codes.OK:
			stored[answer.BatchId] = count(answer.Receipts)
		case codes.Unavailable: // sent again by the next attempt
		default:
			return refused("StreamEvents: batch "+answer.BatchId, answered)
		}
		sendNext()
	}
}

// stream sends batches until each has its answer and returns how many events are stored.
func stream(store auditstore.AuditStoreClient, batches []*auditstore.StreamEventsRequest) (int, error) {
	stored := map[string]int{}
	for attempt := range attempts {
		if attempt > 0 {
			time.Sleep(rand.N(200 * time.Millisecond << attempt))
		}
		err := streamOnce(store, batches, stored)
		s, isStatus := status.FromError(err)
		if !isStatus {
			return 0, err
		}
		if s.Code() != codes.OK && (s.Code() != codes.Unavailable || attempt == attempts-1) {
			return 0, refused("StreamEvents", s)
		}
		if len(stored) == len(batches) {
			total := 0
			for events := range maps.Values(stored) {
				total += events
			}
			return total, nil
		}
	}
	return 0, fmt.Errorf("StreamEvents: UNAVAILABLE: %d batches unanswered", len(batches)-len(stored))
}

// listIDs returns the ids of the events that the store has of this run, asked for page by page.
func listIDs(store auditstore.AuditStoreClient, correlationID string) (ids []string, err error) {
	request := &auditstore.ListEventsRequest{
		Filter: &auditstore.EventFilter{CorrelationIds: []string{correlationID}}, PageSize: 100}
	for {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		page, err := store.ListEvents(ctx, request)
		cancel()
		if err != nil {
			return nil, refused("ListEvents", status.Convert(err))
		}
		for _, stored := range page.Events {
			ids = append(ids, stored.Event.EventId)
		}
		if page.NextPageToken == "" {
			return ids, nil
		}
		request.PageToken = page.NextPageToken
	}
}
