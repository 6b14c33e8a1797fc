/*
 * echo_server: a gRPC server with one service of all four kinds of method, its loop, and a step
 * that moves the server and its test clients. Messages are grpc.health.v1.HealthCheckRequest: one
 * bytes field.
 */
#pragma once

#include "base/loop.h"
#include "grpc/health/v1/health.pb-c.h"
#include "grpc/server.h"
#include "support/h2_client.h"

#define ECHO_UNARY         "/test.Echo/Unary"
#define ECHO_CLIENT_STREAM "/test.Echo/ClientStream"
#define ECHO_SERVER_STREAM "/test.Echo/ServerStream"
#define ECHO_BIDI          "/test.Echo/Bidi"

#define ECHO_MAX_CLIENTS    4
#define ECHO_MAX_HELD       4096
#define ECHO_MAX_HELD_CALLS 128

struct echo_server {
  uv_loop_t uv;
  struct loop loop;
  struct config_server config;
  struct grpc_server *server;
  int port;
  struct h2_client *clients[ECHO_MAX_CLIENTS];
  size_t client_count;
  int64_t give_up_us;

  bool reflects;
  bool is_shut; /* set before echo_server_start(): calls are not let through yet */

  /* How handlers behave. */
  bool holds_calls;                /* unary: kept in `held_call`, and not answered */
  bool holds_messages;             /* bidi: kept in `held` */
  struct grpc_status *next_status; /* the next finish takes it */
  enum { ECHO_AS_SET, ECHO_COMPRESSED, ECHO_PLAIN } compression; /* of answers */
  grpc_open_cb *on_open;                                         /* gets the echo_server */
  size_t stream_count, stream_size; /* server-streaming: so many answers of that size */
  bool waits_writable;              /* ... pausing while not writable */

  /* What was seen. */
  int unary_calls;
  int compressed; /* messages that came so */
  int messages;
  int half_closes;
  int cancels;
  int writables;
  int drains;
  int finished;
  size_t sent;
  int64_t deadline_us;
  struct grpc_call *held_calls[ECHO_MAX_HELD_CALLS];
  size_t held_call_count;
  struct grpc_message *held[ECHO_MAX_HELD];
  size_t held_count;
  size_t held_bytes;
  bool is_draining;
  bool is_drained;
};

/* Sets the loop and default limits; a test may change `config` before echo_server_start(). */
void echo_server_init(struct echo_server *e);
void echo_server_start(struct echo_server *e);

/* Begins to drain; is_drained tells when that is over. */
void echo_server_drain(struct echo_server *e, int64_t after_us);

/* Frees the clients, drains the server at once and frees all. */
void echo_server_stop(struct echo_server *e);

/* A client that echo_server_step() drives. */
struct h2_client *echo_server_connect(struct echo_server *e, uint32_t window);
struct h2_client *echo_server_connect_raw(struct echo_server *e);

/* One turn of everything, to be called until a condition holds. Fails the test 20 s after
 * echo_server_init(). */
void echo_server_step(struct echo_server *e);

/* So many turns in which nothing but timers moved: "and then nothing happens". */
void echo_server_settle(struct echo_server *e);

/* Releases everything held. */
void echo_server_release(struct echo_server *e);

/* Answers the held calls with `text`, or ends one with next_status. */
void echo_server_answer_held(struct echo_server *e, const char *text);

/* A packed request with `text` in it, in a static buffer of 64 KiB. */
struct str echo_pack(const char *text);

/* The text within the `index`th answer of a stream; data NULL when there is none. */
struct str echo_answer(const struct h2_stream *stream, size_t index);

/* Opens a stream with one message and the half-close behind it. */
struct h2_stream *echo_open(struct h2_client *client, const char *path,
                            const struct h2_header *extra, const char *text);
void echo_wait_closed(struct echo_server *e, const struct h2_stream *s);

/* Both, on the first client. The second's request body is `bytes` as they are. */
struct h2_stream *echo_call(struct echo_server *e, const char *path, const struct h2_header *extra,
                            const char *text);
struct h2_stream *echo_call_bytes(struct echo_server *e, const char *path,
                                  const struct h2_header *extra, struct str bytes);

void echo_assert_answer(const struct h2_stream *s, size_t index, const char *text);
void echo_assert_ok(const struct h2_stream *s);

/* One header block with everything, and no data. */
void echo_assert_trailers_only(const struct h2_stream *s, int code);

/* The first client still gets answers: nothing that one peer does may hurt others. */
void echo_assert_serving(struct echo_server *e);

/* For cmocka: *state is a struct echo_server, initialised, or connected with one client as well. */
int echo_setup(void **state);
int echo_setup_connected(void **state);
int echo_teardown(void **state);
