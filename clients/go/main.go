// Writes audit events to auditstored, streams more of them, and lists them all again.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	auditstore "auditstore-example/auditstore/v1"
)

// gRPC repeats these calls by itself when the store is away. That is safe: the events carry ids.
const serviceConfig = `{"methodConfig": [{
	"name": [{"service": "auditstore.v1.AuditStore", "method": "WriteEvents"},
	         {"service": "auditstore.v1.AuditStore", "method": "ListEvents"}],
	"retryPolicy": {"maxAttempts": 5, "initialBackoff": "1s", "maxBackoff": "5s",
	                "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]}`

// bearer is the token that each call carries.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func (bearer) RequireTransportSecurity() bool { return true }

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
		if !*plaintext && strings.Contains(err.Error(), ": UNAVAILABLE: ") {
			fmt.Fprintln(os.Stderr, "  TLS is on; a daemon without it needs --plaintext")
		}
		os.Exit(1)
	}
}
