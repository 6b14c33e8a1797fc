/*
 * fault_server: an HTTP/2 server in a thread that answers calls well or badly, by the name of the
 * method: what a client library must survive.
 *
 *   /fault/echo           unary or stream: each message comes back, then OK
 *   /fault/error          Trailers-Only INVALID_ARGUMENT with a BadRequest and a trailer
 *   /fault/reset          response headers, then RST_STREAM(INTERNAL_ERROR)
 *   /fault/refused_once   RST_STREAM(REFUSED_STREAM) the first time, then echo
 *   /fault/no_trailers    a message, then END_STREAM without trailers, behind a misleading 103
 *   /fault/html           503 with text/html
 *   /fault/goaway_once    GOAWAY(0) the first time, then echo
 *   /fault/close          closes the connection when the call arrives
 *   /fault/silent         never answers
 *   /fault/oversize       states a length of 100 MiB
 *   /fault/truncated      ends OK in the middle of a message
 *   /fault/compressed     a message with flag 1
 *   /fault/garbage        a message that isn't the protobuf that was agreed
 *   /fault/drip           echo, one byte for each DATA frame
 *   /fault/flood          768 messages of 32 KiB, then OK
 *   /fault/stall          takes no request bytes (its window stays closed), never answers
 *   /fault/page           200 with text/html and a body
 *   /fault/error_page     503 with text/html and a body
 *   /fault/web            a message as application/grpc-web
 *   /fault/proto          echo as application/GRPC+proto
 *   /fault/hints          echo behind 103, which brings a grpc-status of its own
 *   /fault/one, two       so many empty messages, then OK
 *   /fault/none           no message, then OK
 *   /fault/empties        a million empty messages, then OK
 *   /fault/late_error     a message, then FAILED_PRECONDITION
 *   /fault/early          OK with the first message, though the request goes on
 *   /fault/leave          echo; GOAWAY with the first message, and the call goes on
 *   /fault/broken         a frame that HTTP/2 forbids; the connection stays open
 *   /fault/refused        RST_STREAM(REFUSED_STREAM), always
 *   /fault/refused_late   RST_STREAM(REFUSED_STREAM) with the first message the first time, then
 *                         echo
 *   /fault/mute           nothing any more, on the whole connection
 *   /fault/gzip           echo as gzip
 *   /fault/bomb           a message that inflates to 5 MiB
 *   /fault/bad_gzip       a compressed message that isn't gzip
 *   /fault/retry          for the first x-times attempts Trailers-Only with the code x-code, and
 *                         x-pushback and x-delay-ms (RetryInfo) if there are any; with x-headers
 *                         headers and trailers; then echo
 *   /fault/mirror         NOT_FOUND with the request's headers in the trailer x-seen-bin
 *
 * Answers that aren't errors begin with the header x-first and end with the trailer x-last.
 */
#pragma once

#include <stddef.h>

#include <stdint.h>

struct fault_server;

/* `max_streams` is its SETTINGS_MAX_CONCURRENT_STREAMS; 0: it hangs up on everyone. */
struct fault_server *fault_server_start(uint32_t max_streams);

/* The same in steps: with its address, but refusing connections; */
struct fault_server *fault_server_bind(uint32_t max_streams);
/* (at the path of a Unix socket;) */
struct fault_server *fault_server_bind_path(uint32_t max_streams, const char *path);
/* (with TLS, by a context that is borrowed: fault_tls.h;) */
struct ssl_ctx_st;
void fault_server_use_tls(struct fault_server *server, struct ssl_ctx_st *context);
/* letting them come, but saying nothing; */
void fault_server_listen(struct fault_server *server);
/* (with windows of 64 MiB, so that it is long silent about what it took;) */
void fault_server_widen(struct fault_server *server);
/* answering. */
void fault_server_serve(struct fault_server *server);

/* "127.0.0.1:port", or "unix:/path". */
const char *fault_server_target(const struct fault_server *server);

/* Connections accepted so far. */
int fault_server_connections(const struct fault_server *server);

/* Requests whose headers came so far. */
int fault_server_requests(const struct fault_server *server);

/* Pings that came so far. */
int fault_server_pings(const struct fault_server *server);

/* Bytes of answers handed to HTTP/2 so far: how far flow control lets the server go. */
size_t fault_server_taken(const struct fault_server *server);

/* Closes every connection; returns when that is done. */
void fault_server_drop_connections(struct fault_server *server);

void fault_server_stop(struct fault_server *server);
