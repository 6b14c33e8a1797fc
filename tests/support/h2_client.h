/*
 * h2_client: an HTTP/2 client for tests, driven step by step in the thread of the server under
 * test.
 *
 * It knows nothing of gRPC beyond the names of its headers: tests send the bytes they like, also
 * raw ones past nghttp2.
 */
#pragma once

#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct h2_client;

struct h2_header {
  const char *name;
  const char *value;
};

/* What came back on one stream. */
struct h2_stream {
  int32_t id;
  char http_status[8];
  char content_type[64];
  char accept_encoding[64];
  char encoding[64];
  char fields[8200]; /* other headers and trailers, "name=value;" each; "|" between the two */
  int grpc_status;   /* -1: none yet */
  char message[8200];
  char details[8200];
  int header_blocks;  /* 1: trailers only */
  bool has_end;       /* END_STREAM came */
  bool was_data_last; /* END_STREAM was on a DATA frame */
  bool is_closed;
  bool is_reset; /* RST_STREAM came */
  uint32_t reset_code;
  struct buf body; /* of DATA frames */

  struct buf out; /* to be sent */
  bool is_out_ended;
  bool is_deferred;
  struct h2_stream *next;
};

/* Connects to 127.0.0.1. `window` is the stream window announced; 0 leaves the default. */
struct h2_client *h2_client_new(int port, uint32_t window);

/* A connection on which nothing is sent but what h2_client_raw() is given. */
struct h2_client *h2_client_new_raw(int port);
void h2_client_free(struct h2_client *client);

/* Opens a stream; `extra` ends with a NULL name and replaces defaults of the same name. A value of
 * NULL leaves a default out. Streams live as long as the client. */
struct h2_stream *h2_client_open(struct h2_client *client, const char *path,
                                 const struct h2_header *extra, bool end_stream);

/* Queues bytes of a request body. */
void h2_client_send(struct h2_client *client, struct h2_stream *stream, const void *data,
                    size_t len, bool end_stream);

/* A message with its prefix. */
void h2_client_send_message(struct h2_client *client, struct h2_stream *stream, const void *data,
                            size_t len, bool end_stream);
void h2_client_reset(struct h2_client *client, struct h2_stream *stream, uint32_t code);

/* With false, received DATA gives no window back. */
void h2_client_set_reading(struct h2_client *client, bool is_reading);

/* The client preface and empty SETTINGS, on a raw connection. */
void h2_client_raw_preface(struct h2_client *client);

/* Bytes past nghttp2. */
void h2_client_raw(struct h2_client *client, const void *data, size_t len);

struct h2_frame {
  uint8_t type;
  uint8_t flags;
  int32_t stream_id;
};

/* A frame past nghttp2. */
void h2_client_raw_frame(struct h2_client *client, struct h2_frame frame, const void *payload,
                         size_t len);

/* Sends and receives what can be at once. False when there was nothing. */
bool h2_client_step(struct h2_client *client);

/* Waits up to a millisecond for the socket. */
void h2_client_wait(struct h2_client *client);

nghttp2_session *h2_client_session(struct h2_client *client);
bool h2_client_is_closed(const struct h2_client *client); /* the server closed */
bool h2_client_has_goaway(const struct h2_client *client);
uint32_t h2_client_goaway_code(const struct h2_client *client);
int h2_client_goaway_count(const struct h2_client *client);

/* GOAWAY frames with that code among what a raw connection received; -1 when one has another. */
int h2_client_raw_goaways(const struct h2_client *client, uint32_t code);

/* All bytes received, for raw connections. */
const struct buf *h2_client_received(const struct h2_client *client);

/* The `index`th message of a body, without its prefix; data NULL when there is none. */
struct str h2_stream_message(const struct h2_stream *stream, size_t index);
size_t h2_stream_message_count(const struct h2_stream *stream);
