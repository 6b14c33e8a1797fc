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

  /* How handlers behave. */
  bool holds_calls;                 /* unary: kept in `held_call`, and not answered */
  bool holds_messages;              /* bidi: kept in `held` */
  struct grpc_status *next_status;  /* the next finish takes it */
  size_t stream_count, stream_size; /* server-streaming: so many answers of that size */
  bool waits_writable;              /* ... pausing while not writable */

  /* What was seen. */
  int unary_calls;
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
  bool is_drained;
};

/* Sets the loop and default limits; a test may change `config` before echo_server_start(). */
void echo_server_init(struct echo_server *e);
void echo_server_start(struct echo_server *e);

/* Frees the clients, drains the server at once and frees all. */
void echo_server_stop(struct echo_server *e);

/* A client that echo_server_step() drives. */
struct h2_client *echo_server_connect(struct echo_server *e, uint32_t window);
struct h2_client *echo_server_connect_raw(struct echo_server *e);

/* One turn of everything. Fails the test 20 s after echo_server_init(). Always true, so that tests
 * can say: while (!condition) echo_server_step(e); */
void echo_server_step(struct echo_server *e);

/* So many turns in which nothing but timers moved: "and then nothing happens". */
void echo_server_settle(struct echo_server *e);

/* Releases everything held. */
void echo_server_release(struct echo_server *e);

/* Answers the held calls with `text`. */
void echo_server_answer_held(struct echo_server *e, const char *text);

/* A packed request with `text` in it, in a static buffer of 64 KiB. */
struct str echo_pack(const char *text);

/* The text within the `index`th answer of a stream; data NULL when there is none. */
struct str echo_answer(const struct h2_stream *stream, size_t index);

/* A whole unary call with `text`; steps until it is closed. */
struct h2_stream *echo_call(struct echo_server *e, const char *path, const struct h2_header *extra,
                            const char *text);
