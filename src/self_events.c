#include "self_events.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "access/identity.h"
#include "base/alloc.h"
#include "base/json_text.h"
#include "ingest/address.h"
#include "restored_event.h"

/* The data of one event, with a whole principal; and room for all its texts, whose lengths the
 * fields bound. */
#define DATA_MAX_BYTES  ((size_t)128 + JSON_TEXT_GROWTH * IDENTITY_MAX_BYTES)
#define TEXTS_MAX_BYTES (4096 + DATA_MAX_BYTES + RESTORED_EVENT_MAX_BYTES)

struct self_events {
  const struct loop *loop; /* borrowed, as all but this struct */
  struct ingest *ingest;   /* NULL until begun */
  struct access *access;
  struct uuid_v7 ids;
  int under_way;
};

/* One event on its way. */
struct self_event {
  struct ingest_request request; /* first, so that one is found from the other */
  struct self_events *self;
  struct event event;
  struct ingest_result result;
  /* Whether it is stored, told to who sent it. `why` is NULL when it is. */
  void (*settled)(struct self_event *e, const struct grpc_status *why);
  int64_t left_out;                                  /* of a denial */
  void (*restored_cb)(void *, const struct error *); /* of a restore */
  void *restored_arg;
  struct arena texts;
};

struct self_events *self_events_new(const struct loop *loop) {
  struct self_events *self = xcalloc(1, sizeof(*self));
  self->loop = loop;
  return self;
}

void self_events_begin(struct self_events *self, struct ingest *ingest, struct access *access) {
  self->ingest = ingest;
  self->access = access;
}

void self_events_free(struct self_events *self) {
  if (!self)
    return;
  assert(self->under_way == 0);
  free(self);
}

/* ---- one event ---- */

static void event_free(struct self_event *e) {
  grpc_status_free(e->result.status);
  arena_deinit(&e->texts);
  free(e);
}

static void on_done(struct ingest_request *request, struct grpc_status *failure) {
  struct self_event *e = (struct self_event *)request; /* its first member */
  struct self_events *self = e->self;
  self->under_way--;
  e->settled(e, failure ? failure : e->result.status);
  grpc_status_free(failure);
  event_free(e);
}

static struct self_event *event_new(struct self_events *self) {
  struct self_event *e = xcalloc(1, sizeof(*e));
  e->self = self;
  arena_init(&e->texts, TEXTS_MAX_BYTES);
  e->event.time_us = clock_wall_us(self->loop->clock);
  e->event.id = uuid_v7_next(&self->ids, e->event.time_us);
  e->event.duration_us = -1;
  e->request = (struct ingest_request){
      .events = &e->event,
      .results = &e->result,
      .count = 1,
      .principal = str_z(IDENTITY_SELF),
      .is_atomic = true,
      .deadline_us = CLOCK_NEVER,
      .on_done = on_done,
  };
  return e;
}

/* Cut at the end of a character to what the field may hold. */
static void set_text(struct self_event *e, enum event_text which, struct str text) {
  size_t max = event_text_fields[which].max_bytes;
  struct str cut = str_of(text.data, text.len < max ? text.len : max);
  cut.len = utf8_valid_prefix(cut);
  const char *copy = arena_strdup(&e->texts, cut);
  assert(copy);
  e->event.text[which] = str_of(copy, cut.len);
}

static int submit(struct self_events *self, struct self_event *e) {
  e->request.size_bytes = e->texts.used_bytes;
  int rc = ingest_submit(self->ingest, NULL, &e->request);
  if (rc < 0)
    event_free(e);
  else
    self->under_way++;
  return rc;
}

/* ---- denials ---- */

static void set_actor(struct self_event *e, const struct denial *denial) {
  bool is_known = denial->principal.len > 0;
  set_text(e, EVENT_TEXT_ACTOR_TYPE, str_z(is_known ? "principal" : "address"));
  set_text(e, EVENT_TEXT_ACTOR_ID, is_known ? denial->principal : denial->address);
  /* What is no address is left out. */
  (void)address_parse(denial->address, &e->event.actor_ip);
}

/* The principal once more, as the actor's id holds a shorter text. */
static void set_denial_data(struct self_event *e, const struct denial *denial) {
  struct buf data;
  buf_init(&data, DATA_MAX_BYTES);
  buf_append_format(&data, "{\"reason\":\"%s\",\"left_out\":%lld",
                    denial_reason_name(denial->reason), (long long)denial->left_out);
  if (denial->principal.len > 0) {
    buf_append_str(&data, ",\"principal\":\"");
    json_text_append(&data, denial->principal);
    buf_append_str(&data, "\"");
  }
  bool is_whole = buf_append_str(&data, "}");
  assert(is_whole);
  (void)is_whole;
  set_text(e, EVENT_TEXT_EVENT_DATA, str_of(buf_bytes(&data), buf_len(&data)));
  buf_deinit(&data);
}

static void set_denial(struct self_event *e, const struct denial *denial) {
  set_text(e, EVENT_TEXT_EVENT_TYPE, str_z("auditstore.access.denied"));
  set_text(e, EVENT_TEXT_EVENT_CATEGORY, str_z("access"));
  set_text(e, EVENT_TEXT_EVENT_ACTION, str_z("call"));
  set_text(e, EVENT_TEXT_EVENT_VERSION, str_z("1.0"));
  set_text(e, EVENT_TEXT_RESOURCE_TYPE, str_z("grpc.method"));
  set_text(e, EVENT_TEXT_RESOURCE_ID, str_z(denial->method));
  set_text(e, EVENT_TEXT_ERROR_CODE, str_z(denial_reason_name(denial->reason)));
  set_text(e, EVENT_TEXT_ERROR_MESSAGE, str_z(denial_reason_text(denial->reason)));
  e->event.outcome = AUDITSTORE__V1__OUTCOME__OUTCOME_FAILURE;
  e->event.severity = AUDITSTORE__V1__SEVERITY__SEVERITY_WARNING;
}

static void on_denial_settled(struct self_event *e, const struct grpc_status *why) {
  access_denial_settled(e->self->access, e->left_out, !why);
}

bool self_events_record_denial(void *arg, const struct denial *denial) {
  struct self_events *self = arg;
  if (!self->ingest || self->under_way == SELF_EVENTS_MAX)
    return false;
  struct self_event *e = event_new(self);
  e->left_out = denial->left_out;
  e->settled = on_denial_settled;
  set_actor(e, denial);
  set_denial(e, denial);
  set_denial_data(e, denial);
  return submit(self, e) == 0;
}

/* ---- a restore ---- */

static void on_restored_settled(struct self_event *e, const struct grpc_status *why) {
  struct error err;
  if (why)
    error_set(&err, ERR_UNAVAILABLE, "the event of it isn't stored: %s", grpc_status_message(why));
  e->restored_cb(e->restored_arg, why ? &err : NULL);
}

void self_events_record_restored(struct self_events *self, const struct self_restored *restored) {
  struct error err;
  struct self_event *e = event_new(self);
  e->settled = on_restored_settled;
  e->restored_cb = restored->done;
  e->restored_arg = restored->arg;
  set_text(e, EVENT_TEXT_EVENT_TYPE, str_z("auditstore.store.restored"));
  set_text(e, EVENT_TEXT_EVENT_CATEGORY, str_z("ledger"));
  set_text(e, EVENT_TEXT_EVENT_ACTION, str_z("restore"));
  set_text(e, EVENT_TEXT_EVENT_VERSION, str_z("1.0"));
  set_text(e, EVENT_TEXT_RESOURCE_TYPE, str_z("auditstore.store"));
  set_text(e, EVENT_TEXT_RESOURCE_ID, str_z(restored->origin));
  set_text(e, EVENT_TEXT_EVENT_DATA, restored->data);
  e->event.outcome = AUDITSTORE__V1__OUTCOME__OUTCOME_SUCCESS;
  e->event.severity = AUDITSTORE__V1__SEVERITY__SEVERITY_WARNING;
  int rc = submit(self, e);
  if (rc == 0)
    return;
  error_set(&err, (enum error_code)rc, "the event of it isn't stored: %s",
            rc == ERR_EXHAUSTED ? "the queue is full" : "the daemon is stopping");
  restored->done(restored->arg, &err);
}
