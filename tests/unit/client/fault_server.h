/*
 * fault_server: an HTTP/2 server in a thread that answers calls well or badly, by the name of the
 * method: what a client library must survive.
 *
 *   /fault/echo           unary or stream: each message comes back, then OK
 *   /fault/error          Trailers-Only INVALID_ARGUMENT with a BadRequest and a trailer
 *   /fault/reset          response headers, then RST_STREAM(INTERNAL_ERROR)
 *   /fault/refused_once   RST_STREAM(REFUSED_STREAM) the first time, then echo
 *   /fault/no_trailers    a message, then END_STREAM without trailers
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
 */
#pragma once

#include <stdint.h>

struct fault_server;

/* `max_streams` is its SETTINGS_MAX_CONCURRENT_STREAMS. */
struct fault_server *fault_server_start(uint32_t max_streams);

/* "127.0.0.1:port". */
const char *fault_server_target(const struct fault_server *server);

/* Connections accepted so far. */
int fault_server_connections(const struct fault_server *server);

/* Closes every connection; returns when that is done. */
void fault_server_drop_connections(struct fault_server *server);

void fault_server_stop(struct fault_server *server);
