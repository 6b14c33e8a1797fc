#include "ingest/answers.h"

/* Long enough for a short outage, short enough that nobody waits for long after it. */
#define RETRY_DELAY_US (1000LL * 1000)
/* Somebody has to set a clock. */
#define CLOCK_RETRY_DELAY_US (5000LL * 1000)

static struct grpc_status *retryable(struct grpc_status *status) {
  grpc_status_set_retry_delay(status, RETRY_DELAY_US);
  return status;
}

struct grpc_status *answer_conflict(const struct event *event) {
  char id[UUID_TEXT_LEN];
  uuid_format(&event->id, id);
  struct grpc_status *status = grpc_status_new(
      GRPC_ALREADY_EXISTS, "event %.*s is stored with other content", UUID_TEXT_LEN, id);
  grpc_status_set_resource(status, "auditstore.v1.AuditEvent", str_of(id, sizeof(id)),
                           "an event with this id and time is stored with other content");
  return status;
}

struct grpc_status *answer_no_connection(enum error_code trouble) {
  bool is_busy = trouble == ERR_TIMEOUT || trouble == ERR_EXHAUSTED;
  if (trouble == ERR_CANCELED)
    return answer_stopping();
  return retryable(grpc_status_new(GRPC_UNAVAILABLE, "%s; nothing was stored",
                                   is_busy ? "no connection to PostgreSQL is free"
                                           : "PostgreSQL is out of reach"));
}

struct grpc_status *answer_unknown(void) {
  return retryable(
      grpc_status_new(GRPC_UNAVAILABLE,
                      "outcome unknown: the connection to PostgreSQL was lost while the events "
                      "were written; send them again with the same event ids"));
}

struct grpc_status *answer_no_partition(enum error_code trouble) {
  if (trouble == ERR_CANCELED)
    return answer_stopping();
  if (error_is_retryable(trouble))
    return grpc_status_of_code(trouble,
                               "the database has no place yet for events of such a time, and none "
                               "could be made; nothing was stored");
  return grpc_status_of_code(trouble,
                             "the database has no place for events of such a time; nothing was "
                             "stored; the store's operator has to mend that, the daemon's log "
                             "says what");
}

struct grpc_status *answer_expired(const struct ingest_request *request, enum error_code trouble) {
  if (trouble == ERR_UNAVAILABLE)
    return answer_no_connection(trouble);
  if (trouble != ERR_OK)
    return retryable(grpc_status_new(
        GRPC_UNAVAILABLE, "PostgreSQL didn't take the events in time; nothing was stored"));
  if (request->deadline_us != CLOCK_NEVER)
    return grpc_status_new(GRPC_DEADLINE_EXCEEDED, "not written before the deadline");
  return retryable(grpc_status_new(GRPC_UNAVAILABLE,
                                   "not written within ingest.write_timeout; nothing was stored"));
}

struct grpc_status *answer_refused(const struct pg_outcome *outcome) {
  return grpc_status_new(GRPC_INTERNAL,
                         "PostgreSQL refused the write: SQLSTATE %s; nothing was stored",
                         outcome->sqlstate);
}

static struct grpc_status *answer_refused_event(const struct pg_outcome *outcome) {
  return grpc_status_new(
      GRPC_FAILED_PRECONDITION,
      "the database doesn't take this event: SQLSTATE %s, raised by a constraint "
      "or trigger of its operator's; it isn't stored, and won't be as it is",
      outcome->sqlstate);
}

struct grpc_status *answer_refused_request(const struct pg_outcome *outcome, int count) {
  if (count == 1)
    return answer_refused_event(outcome);
  return grpc_status_new(GRPC_FAILED_PRECONDITION,
                         "the database doesn't take one of these %d events: SQLSTATE %s, raised by "
                         "a constraint or trigger of its operator's; nothing of the request is "
                         "stored; in the mode PARTIAL the others are, and that one is named",
                         count, outcome->sqlstate);
}

struct grpc_status *answer_altered(void) {
  return retryable(
      grpc_status_new(GRPC_UNAVAILABLE,
                      "the database drops or changes what is written to it: nothing was stored; "
                      "the store's operator has to mend that, the daemon's log says what"));
}

struct grpc_status *answer_out_of_order(void) {
  return retryable(
      grpc_status_new(GRPC_UNAVAILABLE,
                      "the database's answers can't be read: nothing was stored; the daemon's "
                      "log says why"));
}

struct grpc_status *answer_clock_in_doubt(int64_t difference_us) {
  int64_t size_us = difference_us < 0 ? -difference_us : difference_us;
  struct grpc_status *status = grpc_status_new(
      GRPC_UNAVAILABLE,
      "the server's clock seems to be wrong by %.3f s, so event times can't be judged; nothing was "
      "stored: send the events again later",
      (double)size_us / (double)CLOCK_US_PER_S);
  grpc_status_set_retry_delay(status, CLOCK_RETRY_DELAY_US);
  return status;
}

struct grpc_status *answer_stopping(void) {
  return retryable(grpc_status_new(GRPC_UNAVAILABLE, "the server is stopping"));
}
