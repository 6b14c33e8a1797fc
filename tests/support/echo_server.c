#include "support/echo_server.h"

#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/alloc.h"

#define GIVE_UP_US 20000000
#define KIB        INT64_C(1024)

typedef Grpc__Health__V1__HealthCheckRequest echo_message;

/* ---- handlers ---- */

static void send_bytes(struct grpc_call *call, const uint8_t *data, size_t len) {
  echo_message answer;
  grpc__health__v1__health_check_request__init(&answer);
  answer.service.data = (uint8_t *)data;
  answer.service.len = len;
  grpc_call_send(call, &answer.base);
}

static void finish(struct echo_server *e, struct grpc_call *call) {
  struct grpc_status *status = e->next_status;
  e->next_status = NULL;
  e->finished++;
  grpc_call_finish(call, status);
}

static void on_held_cancel(void *arg) {
  struct echo_server *e = arg;
  e->cancels++;
}

static void choose_compression(const struct echo_server *e, struct grpc_call *call) {
  if (e->compression != ECHO_AS_SET)
    grpc_call_set_compression(call, e->compression == ECHO_COMPRESSED);
}

static void unary(const void *handlers, struct grpc_call *call, const ProtobufCMessage *request,
                  struct grpc_message *message) {
  static const struct grpc_call_events events = {.on_cancel = on_held_cancel};
  struct echo_server *e = *(struct echo_server *const *)handlers;
  const echo_message *m = (const echo_message *)request;
  e->unary_calls++;
  e->compressed += grpc_message_is_compressed(message);
  e->deadline_us = grpc_call_deadline_us(call);
  choose_compression(e, call);
  if (e->holds_calls) {
    assert_true(e->held_call_count < ECHO_MAX_HELD_CALLS);
    e->held_calls[e->held_call_count++] = call;
    grpc_call_set_events(call, &events, e);
    grpc_message_release(message);
    return;
  }
  if (!e->next_status)
    send_bytes(call, m->service.data, m->service.len);
  grpc_message_release(message);
  finish(e, call);
}

static void on_stream_cancel(void *arg) {
  struct echo_server *e = *(struct echo_server **)grpc_call_context(arg);
  e->cancels++;
  free(grpc_call_context(arg));
  finish(e, arg);
}

static void on_stream_drain(void *arg) {
  struct echo_server *e = *(struct echo_server **)grpc_call_context(arg);
  e->drains++;
  free(grpc_call_context(arg));
  finish(e, arg);
}

/* The first message of a stream sets its call up. */
static void begin_stream(struct echo_server *e, struct grpc_call *call) {
  static const struct grpc_call_events events = {.on_cancel = on_stream_cancel,
                                                 .on_drain = on_stream_drain};
  if (grpc_call_context(call))
    return;
  struct echo_server **context = xmalloc(sizeof(struct echo_server *));
  *context = e;
  grpc_call_set_context(call, context);
  grpc_call_set_events(call, &events, call);
}

static void client_stream(const void *handlers, struct grpc_call *call,
                          const ProtobufCMessage *request, struct grpc_message *message) {
  struct echo_server *e = *(struct echo_server *const *)handlers;
  (void)request;
  begin_stream(e, call);
  if (message) {
    e->messages++;
    grpc_message_release(message);
    return;
  }
  free(grpc_call_context(call));
  char text[32];
  int len = snprintf(text, sizeof(text), "%d messages", e->messages);
  send_bytes(call, (const uint8_t *)text, (size_t)len);
  finish(e, call);
}

struct producer {
  struct echo_server *e;
  struct grpc_call *call;
};

static void produce(struct producer *p) {
  struct echo_server *e = p->e;
  uint8_t *data = xcalloc(1, e->stream_size + 1);
  while (e->sent < e->stream_count && (!e->waits_writable || grpc_call_is_writable(p->call))) {
    send_bytes(p->call, data, e->stream_size);
    e->sent++;
  }
  free(data);
  if (e->sent < e->stream_count)
    return;
  finish(e, p->call);
  free(p);
}

static void on_producer_writable(void *arg) {
  struct producer *p = arg;
  p->e->writables++;
  produce(p);
}

static void on_producer_cancel(void *arg) {
  struct producer *p = arg;
  p->e->cancels++;
  finish(p->e, p->call);
  free(p);
}

static void server_stream(const void *handlers, struct grpc_call *call,
                          const ProtobufCMessage *request, struct grpc_message *message) {
  static const struct grpc_call_events events = {.on_cancel = on_producer_cancel,
                                                 .on_writable = on_producer_writable};
  struct echo_server *e = *(struct echo_server *const *)handlers;
  (void)request;
  struct producer *p = xcalloc(1, sizeof(*p));
  *p = (struct producer){e, call};
  grpc_message_release(message);
  grpc_call_set_events(call, &events, p);
  produce(p);
}

static void bidi(const void *handlers, struct grpc_call *call, const ProtobufCMessage *request,
                 struct grpc_message *message) {
  struct echo_server *e = *(struct echo_server *const *)handlers;
  const echo_message *m = (const echo_message *)request;
  begin_stream(e, call);
  if (!message) {
    e->half_closes++;
    free(grpc_call_context(call));
    finish(e, call);
    return;
  }
  e->messages++;
  e->compressed += grpc_message_is_compressed(message);
  if (e->holds_messages) {
    assert_true(e->held_count < ECHO_MAX_HELD);
    e->held_bytes += grpc_message_bytes(message);
    e->held[e->held_count++] = message;
    return;
  }
  send_bytes(call, m->service.data, m->service.len);
  grpc_message_release(message);
}

#define ECHO_DESCRIPTOR &grpc__health__v1__health_check_request__descriptor

static const struct grpc_method methods[] = {
    {"Unary", ECHO_UNARY, GRPC_UNARY, ECHO_DESCRIPTOR, ECHO_DESCRIPTOR, unary},
    {"ClientStream", ECHO_CLIENT_STREAM, GRPC_CLIENT_STREAMING, ECHO_DESCRIPTOR, ECHO_DESCRIPTOR,
     client_stream},
    {"ServerStream", ECHO_SERVER_STREAM, GRPC_SERVER_STREAMING, ECHO_DESCRIPTOR, ECHO_DESCRIPTOR,
     server_stream},
    {"Bidi", ECHO_BIDI, GRPC_BIDI_STREAMING, ECHO_DESCRIPTOR, ECHO_DESCRIPTOR, bidi},
};
static const struct grpc_service service = {"test.Echo", methods, 4};

/* ---- life ---- */

void echo_server_init(struct echo_server *e) {
  *e = (struct echo_server){0};
  assert_int_equal(uv_loop_init(&e->uv), 0);
  loop_init(&e->loop, &e->uv, &clock_system);
  e->give_up_us = clock_monotonic_us(&clock_system) + GIVE_UP_US;
  e->config = (struct config_server){
      .listen = "127.0.0.1:0",
      .max_connections = 100,
      .max_concurrent_streams = 100,
      .max_message_bytes = 4 * KIB * KIB,
      .stream_window_bytes = 256 * KIB,
      .connection_window_bytes = 4 * KIB * KIB,
      .handshake_timeout_us = 10000000,
      .write_timeout_us = 10000000,
      .max_inbound_bytes = 128LL * KIB * KIB,
      .min_ping_interval_us = 5000000,
      .keepalive_time_us = CLOCK_NEVER,
      .max_connection_idle_us = CLOCK_NEVER,
      .max_connection_age_us = CLOCK_NEVER,
      .compress_answers_above = CLOCK_NEVER,
      .port_file = "",
  };
}

void echo_server_start(struct echo_server *e) {
  struct error err = {0};
  struct echo_server **self = xmalloc(sizeof(struct echo_server *));
  *self = e;
  e->server = grpc_server_new(&e->loop, &e->config);
  grpc_server_add(e->server, &service, self);
  if (e->on_open)
    grpc_server_on_open(e->server, e->on_open, e);
  if (e->reflects)
    grpc_server_reflect(e->server, NULL, 0);
  if (!e->is_shut)
    grpc_server_open(e->server);
  e->uv.data = self;
  if (grpc_server_listen(e->server, NULL, &e->port, &err) != 0)
    fail_msg("%s", err.text);
}

static void on_drained(void *arg) {
  ((struct echo_server *)arg)->is_drained = true;
}

void echo_server_drain(struct echo_server *e, int64_t after_us) {
  e->is_draining = true;
  grpc_server_drain(e->server, clock_monotonic_us(&clock_system) + after_us, on_drained, e);
  assert_false(e->is_drained);
}

void echo_server_stop(struct echo_server *e) {
  for (size_t i = 0; i < e->client_count; i++)
    h2_client_free(e->clients[i]);
  e->client_count = 0;
  if (!e->is_draining)
    echo_server_drain(e, 0);
  while (!e->is_drained)
    echo_server_step(e);
  grpc_server_free(e->server);
  /* The server's memory goes with its handles: the calls held still outlive it. */
  for (int turn = 0; turn < 3; turn++)
    uv_run(&e->uv, UV_RUN_NOWAIT);
  echo_server_answer_held(e, "too late");
  echo_server_release(e);
  loop_deinit(&e->loop);
  uv_run(&e->uv, UV_RUN_DEFAULT);
  free(e->uv.data);
  assert_int_equal(uv_loop_close(&e->uv), 0);
  grpc_status_free(e->next_status);
}

static struct h2_client *adopt(struct echo_server *e, struct h2_client *client) {
  assert_true(e->client_count < ECHO_MAX_CLIENTS);
  e->clients[e->client_count++] = client;
  return client;
}

struct h2_client *echo_server_connect(struct echo_server *e, uint32_t window) {
  return adopt(e, h2_client_new(e->port, window));
}

struct h2_client *echo_server_connect_raw(struct echo_server *e) {
  return adopt(e, h2_client_new_raw(e->port));
}

int echo_setup(void **state) {
  struct echo_server *e = xcalloc(1, sizeof(*e));
  echo_server_init(e);
  *state = e;
  return 0;
}

int echo_setup_connected(void **state) {
  echo_setup(state);
  echo_server_start(*state);
  echo_server_connect(*state, 0);
  return 0;
}

int echo_teardown(void **state) {
  echo_server_stop(*state);
  free(*state);
  return 0;
}

/* ---- steps ---- */

static bool step(struct echo_server *e) {
  bool moved = false;
  if (clock_monotonic_us(&clock_system) > e->give_up_us)
    fail_msg("what was waited for didn't happen");
  for (size_t i = 0; i < e->client_count; i++)
    moved = h2_client_step(e->clients[i]) || moved;
  uv_run(&e->uv, UV_RUN_NOWAIT);
  return moved;
}

void echo_server_step(struct echo_server *e) {
  if (!step(e) && e->client_count > 0)
    h2_client_wait(e->clients[0]);
}

void echo_server_settle(struct echo_server *e) {
  for (int quiet = 0; quiet < 20;) {
    if (step(e)) {
      quiet = 0;
      continue;
    }
    quiet++;
    h2_client_wait(e->clients[0]);
  }
}

void echo_server_release(struct echo_server *e) {
  size_t count = e->held_count;
  e->held_count = 0;
  e->held_bytes = 0;
  for (size_t i = 0; i < count; i++)
    grpc_message_release(e->held[i]);
}

void echo_server_answer_held(struct echo_server *e, const char *text) {
  size_t count = e->held_call_count;
  e->held_call_count = 0;
  for (size_t i = 0; i < count; i++) {
    if (!e->next_status)
      send_bytes(e->held_calls[i], (const uint8_t *)text, strlen(text));
    finish(e, e->held_calls[i]);
  }
}

/* ---- messages ---- */

struct str echo_pack(const char *text) {
  static uint8_t packed[65536];
  echo_message m;
  grpc__health__v1__health_check_request__init(&m);
  m.service.data = (uint8_t *)text;
  m.service.len = strlen(text);
  assert(grpc__health__v1__health_check_request__get_packed_size(&m) <= sizeof(packed));
  size_t len = grpc__health__v1__health_check_request__pack(&m, packed);
  return str_of(packed, len);
}

struct str echo_answer(const struct h2_stream *stream, size_t index) {
  struct str body = h2_stream_message(stream, index);
  if (!body.data)
    return body;
  echo_message *m =
      grpc__health__v1__health_check_request__unpack(NULL, body.len, (const uint8_t *)body.data);
  assert_non_null(m);
  size_t len = m->service.len;
  grpc__health__v1__health_check_request__free_unpacked(m, NULL);
  /* The one field is the last thing in the message. */
  return str_of(body.data + body.len - len, len);
}

struct h2_stream *echo_open(struct h2_client *client, const char *path,
                            const struct h2_header *extra, const char *text) {
  struct h2_stream *s = h2_client_open(client, path, extra, false);
  struct str packed = echo_pack(text);
  h2_client_send_message(client, s, packed.data, packed.len, true);
  return s;
}

void echo_wait_closed(struct echo_server *e, const struct h2_stream *s) {
  while (!s->is_closed)
    echo_server_step(e);
}

struct h2_stream *echo_call(struct echo_server *e, const char *path, const struct h2_header *extra,
                            const char *text) {
  struct h2_stream *s = echo_open(e->clients[0], path, extra, text);
  echo_wait_closed(e, s);
  return s;
}

struct h2_stream *echo_call_bytes(struct echo_server *e, const char *path,
                                  const struct h2_header *extra, struct str bytes) {
  struct h2_stream *s = h2_client_open(e->clients[0], path, extra, false);
  h2_client_send(e->clients[0], s, bytes.data, bytes.len, true);
  echo_wait_closed(e, s);
  return s;
}

/* ---- assertions ---- */

void echo_assert_answer(const struct h2_stream *s, size_t index, const char *text) {
  struct str answer = echo_answer(s, index);
  assert_int_equal(answer.len, strlen(text));
  if (answer.len > 0)
    assert_memory_equal(answer.data, text, answer.len);
}

void echo_assert_ok(const struct h2_stream *s) {
  assert_string_equal(s->http_status, "200");
  assert_string_equal(s->message, "");
  assert_int_equal(s->grpc_status, GRPC_OK);
  assert_true(s->has_end);
  assert_false(s->was_data_last);
}

void echo_assert_trailers_only(const struct h2_stream *s, int code) {
  assert_int_equal(s->grpc_status, code);
  assert_int_equal(s->header_blocks, 1);
  assert_int_equal(buf_len(&s->body), 0);
  assert_true(s->has_end);
}

void echo_assert_serving(struct echo_server *e) {
  e->holds_calls = false;
  struct h2_stream *s = echo_call(e, ECHO_UNARY, NULL, "still there");
  echo_assert_ok(s);
  echo_assert_answer(s, 0, "still there");
  assert_false(h2_client_has_goaway(e->clients[0]));
}
