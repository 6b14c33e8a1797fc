// Writes audit events to auditstored, streams more of them, and lists them all again.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	auditstore "auditstore-example/auditstore/v1"
)

const (
	batchEvents = 100
	window      = 8 // batches sent and not answered yet
	timeout     = 10 * time.Second
	attempts    = 5
)

// gRPC repeats these calls by itself when the store is away. That is safe: the events carry ids.
const serviceConfig = `{"methodConfig": [{
	"name": [{"service": "auditstore.v1.AuditStore", "method": "WriteEvents"},
	         {"service": "auditstore.v1.AuditStore", "method": "ListEvents"}],
	"retryPolicy": {"maxAttempts": 5, "initialBackoff": "0.2s", "maxBackoff": "2s",
	                "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]}`

// bearer is the token that each call carries.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func (bearer) RequireTransportSecurity() bool { return true }

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

func connect(target, caFile, tokenFile string, plaintext bool) (*grpc.ClientConn, error) {
	options := []grpc.DialOption{grpc.WithDefaultServiceConfig(serviceConfig)}
	if plaintext {
		return grpc.NewClient(target,
			append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	}
	var roots *x509.CertPool // nil: the system's
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, err
		}
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: no certificate in it", caFile)
		}
	}
	options = append(options, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots})))
	if tokenFile != "" {
		token, err := os.ReadFile(tokenFile)
		if err != nil {
			return nil, err
		}
		options = append(options, grpc.WithPerRPCCredentials(bearer(strings.TrimSpace(string(token)))))
	}
	return grpc.NewClient(target, options...)
}

func run(store auditstore.AuditStoreClient, numberOfEvents int) error {
	correlationID := "example-" + uuid.NewString()
	var events []*auditstore.AuditEvent
	for number := range 3 + numberOfEvents {
		events = append(events, makeEvent(correlationID, number))
	}
	var batches []*auditstore.StreamEventsRequest
	for batch := range slices.Chunk(events[3:], batchEvents) {
		batches = append(batches,
			&auditstore.StreamEventsRequest{BatchId: fmt.Sprint(len(batches)), Events: batch})
	}
	wrote, err := write(store, events[:3])
	if err != nil {
		return err
	}
	streamed, err := stream(store, batches)
	if err != nil {
		return err
	}
	listed, err := listIDs(store, correlationID)
	if err != nil {
		return err
	}
	fmt.Printf("wrote %d, streamed %d in %d batches, listed %d\n", wrote, streamed, len(batches), len(listed))
	slices.Sort(listed)
	sent := make([]string, len(events))
	for i, event := range events {
		sent[i] = event.EventId
	}
	slices.Sort(sent)
	if !slices.Equal(sent, listed) {
		return errors.New("ListEvents: what was listed is not what was stored")
	}
	return nil
}

func main() {
	target := flag.String("target", "localhost:7443", "`HOST:PORT` of auditstored")
	ca := flag.String("ca", "", "`FILE` with the authority to trust (default: the system's)")
	tokenFile := flag.String("token-file", "", "`FILE` with the bearer token")
	plaintext := flag.Bool("plaintext", false, "no TLS, to try things out")
	events := flag.Int("events", 300, "how many events to stream")
	flag.Parse()
	if *plaintext && *tokenFile != "" {
		fmt.Fprintln(os.Stderr, "example: a token is sent over TLS alone: leave out --plaintext or --token-file")
		os.Exit(2)
	}
	connection, err := connect(*target, *ca, *tokenFile, *plaintext)
	if err == nil {
		defer connection.Close()
		err = run(auditstore.NewAuditStoreClient(connection), *events)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "example:", err)
		os.Exit(1)
	}
}
