/*
 * client_fixture: a channel to a fault_server, and calls on it.
 *
 * Requests and answers are all of one type, a GetEventResponse: what they carry is a sequence.
 */
#pragma once

#include "auditstore/auditstore.h"
#include "fault_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

struct world {
  struct fault_server *server;
  struct auditstore_channel *channel;
};

static inline int setup_with(void **state, uint32_t max_streams) {
  struct world *w = calloc(1, sizeof(*w));
  w->server = fault_server_start(max_streams);
  w->channel = auditstore_channel_new(fault_server_target(w->server), NULL, NULL);
  *state = w;
  return 0;
}

static inline int setup(void **state) {
  return setup_with(state, 100);
}

static inline int setup_with_one_stream(void **state) {
  return setup_with(state, 1);
}

static inline int teardown(void **state) {
  struct world *w = *state;
  auditstore_channel_free(w->channel);
  fault_server_stop(w->server);
  free(w);
  return 0;
}

/* A world of its own for a test that needs other options, or a server of its own. */
static inline struct world world_with(struct fault_server *server,
                                      const struct auditstore_channel_options *options) {
  return (struct world){server, auditstore_channel_new(fault_server_target(server), options, NULL)};
}

static inline void world_close(struct world *w) {
  auditstore_channel_free(w->channel);
  fault_server_stop(w->server);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static inline int64_t now_ms(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ---- messages ---- */

static inline struct auditstore_method method_of(const char *path) {
  return (struct auditstore_method){
      .path = path,
      .input = &auditstore__v1__get_event_response__descriptor,
      .output = &auditstore__v1__get_event_response__descriptor,
      .client_streaming = true,
      .server_streaming = true,
  };
}

struct message {
  Auditstore__V1__GetEventResponse response;
  Auditstore__V1__StoredEvent stored;
};

static inline const ProtobufCMessage *message_init(struct message *m, int64_t sequence) {
  auditstore__v1__get_event_response__init(&m->response);
  auditstore__v1__stored_event__init(&m->stored);
  m->response.event = &m->stored;
  m->stored.sequence = sequence;
  return &m->response.base;
}

static inline int64_t sequence_of(const ProtobufCMessage *message) {
  return ((const Auditstore__V1__GetEventResponse *)message)->event->sequence;
}

/* ---- unary calls ---- */

static inline enum auditstore_code call_with(struct world *w, const char *path,
                                             const struct auditstore_call_options *options,
                                             struct auditstore_status *status) {
  struct message m;
  const struct auditstore_method method = method_of(path);
  const struct auditstore_unary unary = {&method, message_init(&m, 7), options};
  ProtobufCMessage *response = NULL;
  enum auditstore_code code = auditstore_call_unary(w->channel, &unary, &response, status);
  assert_int_equal(code == AUDITSTORE_OK, response != NULL);
  protobuf_c_message_free_unpacked(response, NULL);
  return code;
}

static inline enum auditstore_code call(struct world *w, const char *path, int timeout_ms,
                                        struct auditstore_status *status) {
  const struct auditstore_call_options options = {.timeout_ms = timeout_ms};
  return call_with(w, path, &options, status);
}

static inline void expect(struct world *w, const char *path, enum auditstore_code code) {
  struct auditstore_status status = {0};
  assert_int_equal(call(w, path, 20000, &status), code);
  assert_int_equal(status.code, code);
  auditstore_status_deinit(&status);
}

/* What the mirror saw of a call, as text. The caller frees it. */
static inline char *mirrored(struct world *w, const struct auditstore_call_options *options) {
  struct auditstore_status status = {0};
  assert_int_equal(call_with(w, "/fault/mirror", options, &status), AUDITSTORE_NOT_FOUND);
  assert_int_equal(status.trailer_count, 1);
  char *seen = strndup(status.trailers[0].value, status.trailers[0].value_len);
  auditstore_status_deinit(&status);
  return seen;
}

/* ---- streams ---- */

static inline struct auditstore_stream *open_stream(struct world *w, const char *path,
                                                    int timeout_ms) {
  static struct auditstore_method method;
  method = method_of(path);
  const struct auditstore_call_options options = {.timeout_ms = timeout_ms};
  struct auditstore_status status = {0};
  struct auditstore_stream *stream = auditstore_stream_open(w->channel, &method, &options, &status);
  assert_non_null(stream);
  return stream;
}

static inline void send_one(struct auditstore_stream *stream, int64_t sequence) {
  struct message m;
  assert_int_equal(auditstore_stream_send(stream, message_init(&m, sequence), -1),
                   AUDITSTORE_STREAM_OK);
}

/* Receives one message and drops it. */
static inline enum auditstore_stream_result receive_one(struct auditstore_stream *stream,
                                                        int timeout_ms) {
  ProtobufCMessage *answer = NULL;
  enum auditstore_stream_result result = auditstore_stream_recv(stream, &answer, timeout_ms);
  assert_int_equal(result == AUDITSTORE_STREAM_OK, answer != NULL);
  protobuf_c_message_free_unpacked(answer, NULL);
  return result;
}

static inline void finish(struct auditstore_stream *stream, enum auditstore_code code) {
  assert_int_equal(auditstore_stream_finish(stream, NULL), code);
}
