package example;

import auditstore.v1.Actor;
import auditstore.v1.AuditEvent;
import auditstore.v1.AuditStoreGrpc;
import auditstore.v1.AuditStoreGrpc.AuditStoreBlockingV2Stub;
import auditstore.v1.ListEventsRequest;
import auditstore.v1.ListEventsResponse;
import auditstore.v1.Outcome;
import auditstore.v1.Receipt;
import auditstore.v1.Resource;
import auditstore.v1.StreamEventsRequest;
import auditstore.v1.StreamEventsResponse;
import auditstore.v1.WriteEventsRequest;
import com.google.protobuf.Timestamp;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.stub.BlockingClientCall;
import java.time.Instant;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;

/** Writes audit events to auditstored, streams more of them, and lists them all again. */
final class Example {
  private static final int BATCH_EVENTS = 100;
  private static final int WINDOW = 8; // batches sent and not answered yet
  private static final int TIMEOUT_S = 30;
  private static final int ATTEMPTS = 5;

  /** A lost connection may be UNKNOWN to grpc-java; the store itself never answers that. */
  private static final Set<Status.Code> AWAY = Set.of(Status.Code.UNAVAILABLE, Status.Code.UNKNOWN);

  private final AuditStoreBlockingV2Stub stub;

  Example(io.grpc.Channel channel) {
    stub = AuditStoreGrpc.newBlockingV2Stub(channel);
  }

  private AuditStoreBlockingV2Stub store() {
    return stub.withDeadlineAfter(TIMEOUT_S, TimeUnit.SECONDS);
  }

  /** The id and the time are chosen once: an event that is sent again with both is stored once. */
  private static AuditEvent makeEvent(String correlationId, int number) {
    Instant now = Instant.now();
    return AuditEvent.newBuilder()
        .setEventId(UUID.randomUUID().toString())
        .setEventTime(Timestamp.newBuilder().setSeconds(now.getEpochSecond()).setNanos(now.getNano()))
        .setEventType("order.placed").setEventCategory("order").setEventAction("place")
        .setOutcome(Outcome.OUTCOME_SUCCESS)
        .setCorrelationId(correlationId)
        .setActor(Actor.newBuilder().setType("service").setId("java-example"))
        .setResource(Resource.newBuilder().setType("order").setId("" + number))
        .setEventData("{\"number\": " + number + "}")
        .build();
  }

  /** Stored is what receipts speak of, and nothing else. */
  private static int count(List<Receipt> receipts) {
    return receipts.stream().mapToInt(Receipt::getCount).sum();
  }

  /** Sends one batch by one call. Returns how many events are stored. */
  private int write(List<AuditEvent> events) throws Refused {
    try {
      var request = WriteEventsRequest.newBuilder().addAllEvents(events).build();
      return count(store().writeEvents(request).getReceiptsList());
    } catch (StatusException e) {
      throw new Refused("WriteEvents", e);
    }
  }

  /** Sends the batches that `stored` (from batch_id to number of events) lacks, and fills it. */
  private void streamOnce(List<StreamEventsRequest> batches, Map<String, Integer> stored)
      throws Refused, StatusException, InterruptedException {
    var waiting = new ArrayDeque<>(batches);
    waiting.removeIf(batch -> stored.containsKey(batch.getBatchId()));
    if (waiting.isEmpty()) {
      return;
    }
    var call = store().streamEvents();
    try {
      for (int i = 0; i < WINDOW; i++) {
        sendNext(call, waiting);
      }
      for (StreamEventsResponse answer = call.read(); answer != null; answer = call.read()) {
        int code = answer.getStatus().getCode();
        if (code == Status.Code.OK.value()) {
          stored.put(answer.getBatchId(), count(answer.getReceiptsList()));
        } else if (code != Status.Code.UNAVAILABLE.value()) { // that is sent again by the next attempt
          throw new Refused("StreamEvents: batch " + answer.getBatchId(), answer.getStatus());
        }
        sendNext(call, waiting);
      }
    } finally {
      call.cancel("done", null); // nothing happens when the call has ended
    }
  }

  private static void sendNext(BlockingClientCall<StreamEventsRequest, StreamEventsResponse> call,
      ArrayDeque<StreamEventsRequest> waiting) throws StatusException, InterruptedException {
    if (!waiting.isEmpty()) {
      call.write(waiting.poll());
      if (waiting.isEmpty()) {
        call.halfClose();
      }
    }
  }

  /** Sends batches until each has its answer. Returns how many events are stored. */
  private int stream(List<StreamEventsRequest> batches) throws Refused, InterruptedException {
    Map<String, Integer> stored = new HashMap<>();
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
      Thread.sleep(attempt == 0 ? 0 : ThreadLocalRandom.current().nextInt(200 << attempt));
      try {
        streamOnce(batches, stored);
      } catch (StatusException e) {
        if (!AWAY.contains(e.getStatus().getCode()) || attempt == ATTEMPTS - 1) {
          throw new Refused("StreamEvents", e);
        }
      }
      if (stored.size() == batches.size()) {
        return stored.values().stream().mapToInt(Integer::intValue).sum();
      }
    }
    int missing = batches.size() - stored.size();
    throw new Refused("StreamEvents: UNAVAILABLE: " + missing + " batches unanswered");
  }

  /** The ids of the events that the store has of this run, asked for page by page. */
  private List<String> listIds(String correlationId) throws Refused {
    var request = ListEventsRequest.newBuilder().setPageSize(100);
    request.getFilterBuilder().addCorrelationIds(correlationId);
    List<String> ids = new ArrayList<>();
    try {
      do {
        ListEventsResponse page = store().listEvents(request.build());
        page.getEventsList().forEach(stored -> ids.add(stored.getEvent().getEventId()));
        request.setPageToken(page.getNextPageToken());
      } while (!request.getPageToken().isEmpty());
    } catch (StatusException e) {
      throw new Refused("ListEvents", e);
    }
    return ids;
  }

  void run(int numberOfEvents) throws Refused, InterruptedException {
    String correlationId = "example-" + UUID.randomUUID();
    List<AuditEvent> events = new ArrayList<>();
    for (int number = 0; number < 3 + numberOfEvents; number++) {
      events.add(makeEvent(correlationId, number));
    }
    List<StreamEventsRequest> batches = new ArrayList<>();
    for (int i = 3; i < events.size(); i += BATCH_EVENTS) {
      batches.add(StreamEventsRequest.newBuilder()
          .setBatchId("" + batches.size())
          .addAllEvents(events.subList(i, Math.min(i + BATCH_EVENTS, events.size())))
          .build());
    }
    int wrote = write(events.subList(0, 3));
    int streamed = stream(batches);
    List<String> listed = listIds(correlationId);
    System.out.printf("wrote %d, streamed %d in %d batches, listed %d%n", wrote, streamed,
        batches.size(), listed.size());
    List<String> sent = events.stream().map(AuditEvent::getEventId).sorted().toList();
    if (!listed.stream().sorted().toList().equals(sent)) {
      throw new Refused("ListEvents: what was listed is not what was stored");
    }
  }
}
