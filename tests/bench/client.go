// Streams the sample events in batches with several of them unanswered, by grpc-go.
//
//	client SERVER EVENTS BATCH IN_FLIGHT
//
// The events are made before the clock starts. Prints one JSON line, as bench_client does.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	auditstore "auditstore-example/auditstore/v1"
)

func makeEvent(number int) *auditstore.AuditEvent {
	return &auditstore.AuditEvent{
		EventId: uuid.NewString(), EventTime: timestamppb.Now(), EventType: "payment.captured",
		EventCategory: "payment", EventAction: "capture",
		Outcome: auditstore.Outcome_OUTCOME_SUCCESS, Severity: auditstore.Severity_SEVERITY_INFO,
		Actor: &auditstore.Actor{Type: "service", Id: fmt.Sprintf("checkout-%02d", number%20),
			Ip: "192.0.2.7"},
		Resource: &auditstore.Resource{Type: "payment", Id: fmt.Sprintf("pay-%012d", number),
			Namespace: "payments"},
		CorrelationId: fmt.Sprintf("order-%08d", number/4),
		Duration:      durationpb.New(1500 * time.Microsecond),
		EventData: fmt.Sprintf(`{"amount":%d,"currency":"EUR","method":"card","attempt":1,"risk":0.12}`,
			number%100000),
	}
}

func cpu() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		log.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func receive(stream auditstore.AuditStore_StreamEventsClient, slots chan struct{}, batches int,
	done chan<- int) {
	stored := 0
	for range batches {
		answer, err := stream.Recv()
		if err != nil {
			log.Fatal(err)
		}
		for _, receipt := range answer.Receipts {
			stored += int(receipt.Count)
		}
		<-slots
	}
	done <- stored
}

func main() {
	numbers := [3]int{}
	for i := range numbers {
		numbers[i], _ = strconv.Atoi(os.Args[2+i])
	}
	count, batch, inFlight := numbers[0], numbers[1], numbers[2]
	conn, err := grpc.NewClient(os.Args[1],
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	stream, err := auditstore.NewAuditStoreClient(conn).StreamEvents(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	events := make([]*auditstore.AuditEvent, count)
	for i := range events {
		events[i] = makeEvent(i)
	}
	began, cpuBefore := time.Now(), cpu()
	slots, done := make(chan struct{}, inFlight), make(chan int)
	go receive(stream, slots, (count+batch-1)/batch, done)
	for at := 0; at < count; at += batch {
		slots <- struct{}{}
		if err := stream.Send(&auditstore.StreamEventsRequest{
			BatchId: strconv.Itoa(at), Events: events[at:min(at+batch, count)],
			Mode: auditstore.WriteMode_WRITE_MODE_PARTIAL}); err != nil {
			log.Fatal(err)
		}
	}
	stored := <-done
	took, used := time.Since(began), cpu()-cpuBefore
	if stored != count {
		log.Fatalf("%d of %d stored", stored, count)
	}
	fmt.Printf("{\"events_per_s\":%.0f,\"cpu_us_per_event\":%.3f}\n",
		float64(count)/took.Seconds(), float64(used.Microseconds())/float64(count))
}
