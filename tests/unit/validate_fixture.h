/*
 * validate_fixture: an event that is valid, its parts to be changed, and what validation says of
 * it.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "google/rpc/error_details.pb-c.h"
#include "ingest/validate.h"

#define NOW_US 1795420345123456LL
#define DAY_US (86400LL * 1000000)

struct fixture {
  struct config_ingest config;
  struct validator validator;
  Auditstore__V1__AuditEvent message;
  Google__Protobuf__Timestamp time;
  Google__Protobuf__Duration duration;
  Auditstore__V1__Actor actor;
  Auditstore__V1__Resource resource;
  Auditstore__V1__EventError error;
  struct event event;
  struct grpc_status *status;
  uint8_t memory[1024]; /* for texts that are changed in place */
};

static inline ProtobufCBinaryData bytes(const char *text) {
  return (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *)text};
}

/* The smallest valid event; the parts lie ready beside it. */
static inline void reset(struct fixture *f) {
  grpc_status_free(f->status);
  *f = (struct fixture){.config = {.max_event_age_us = 7 * DAY_US,
                                   .max_event_ahead_us = 3600LL * 1000000,
                                   .max_event_data_bytes = 256LL * 1024}};
  f->validator = (struct validator){.config = &f->config, .now_us = NOW_US};
  auditstore__v1__audit_event__init(&f->message);
  google__protobuf__timestamp__init(&f->time);
  google__protobuf__duration__init(&f->duration);
  auditstore__v1__actor__init(&f->actor);
  auditstore__v1__resource__init(&f->resource);
  auditstore__v1__event_error__init(&f->error);
  f->time.seconds = NOW_US / 1000000;
  f->message.event_id = bytes("01890a5d-ac96-774b-bcce-b302099a8057");
  f->message.event_time = &f->time;
  f->message.event_type = bytes("package.install");
  f->message.event_category = bytes("package");
  f->message.event_action = bytes("install");
  f->message.outcome = AUDITSTORE__V1__OUTCOME__OUTCOME_SUCCESS;
}

static inline int setup(void **state) {
  struct fixture *f = xcalloc(1, sizeof(*f));
  reset(f);
  *state = f;
  return 0;
}

static inline int teardown(void **state) {
  struct fixture *f = *state;
  grpc_status_free(f->status);
  free(f);
  return 0;
}

static inline bool validate(struct fixture *f) {
  grpc_status_free(f->status);
  f->status = NULL;
  return validate_event(&f->validator, &f->message, 3, &f->event, &f->status);
}

/* The BadRequest of the status. */
static inline Google__Rpc__BadRequest *bad_request(struct fixture *f) {
  const Google__Rpc__Status *proto = grpc_status_proto(f->status);
  assert_int_equal(proto->n_details, 1);
  const ProtobufCBinaryData *value = &proto->details[0]->value;
  Google__Rpc__BadRequest *bad = google__rpc__bad_request__unpack(NULL, value->len, value->data);
  assert_non_null(bad);
  return bad;
}

static inline void assert_refused(struct fixture *f, const char *path) {
  char field[128];
  if (validate(f))
    fail_msg("%s was accepted", path);
  assert_int_equal(grpc_status_code(f->status), GRPC_INVALID_ARGUMENT);
  assert_int_equal(grpc_status_violation_count(f->status), 1);
  Google__Rpc__BadRequest *bad = bad_request(f);
  snprintf(field, sizeof(field), "events[3].%s", path);
  ProtobufCBinaryData named = bad->field_violations[0]->field;
  if (named.len != strlen(field) || memcmp(named.data, field, named.len) != 0)
    fail_msg("expected %s, got %.*s", field, (int)named.len, (const char *)named.data);
  assert_true(bad->field_violations[0]->description.len > 0);
  google__rpc__bad_request__free_unpacked(bad, NULL);
}

/* The whole text that the caller reads, who may see nothing but the status. */
static inline void assert_told(struct fixture *f, const char *path, const char *text) {
  char expected[640];
  assert_refused(f, path);
  snprintf(expected, sizeof(expected), "events[3].%s: %s", path, text);
  assert_string_equal(grpc_status_message(f->status), expected);
}

static inline void assert_accepted(struct fixture *f) {
  if (!validate(f))
    fail_msg("refused: %s", grpc_status_message(f->status));
  assert_null(f->status);
}
