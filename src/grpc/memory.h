/*
 * memory: what the peers of all connections make the server keep, against one limit.
 *
 * Words: account = the memory of one connection, by kind; it outlives the connection while messages
 * of its calls are worked on. waiting = memory of which only the peer can rid us: what is
 * unfinished, answers that it has to take, and what its connection costs. held = memory of which we
 * rid ourselves: messages that are worked on.
 *
 * The limit is server.max_inbound_bytes. Each allocation for a peer is taken from its account first
 * and is refused where the limit is reached; the call that needed it ends with RESOURCE_EXHAUSTED.
 * Long before, two rules keep those who take little from meeting it:
 *
 * - Waiting memory may have half of the limit, as nobody can wait for it. Above that, the
 *   connection with the most of it has the calls ended that hold it; should that not be enough,
 *   it is closed.
 * - Above seven eighths, connections with more than an equal share aren't read until handlers have
 *   released enough; above fifteen sixteenths, none is. A window of HTTP/2 couldn't do this: what
 *   was granted can't be taken back.
 */
#pragma once

#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/budget.h"
#include "base/list.h"
#include "base/loop.h"

struct grpc_call;
struct grpc_server;
struct grpc_session;

enum grpc_memory_kind {
  GRPC_MEMORY_UNFINISHED, /* the part of messages that has come while the rest hasn't */
  GRPC_MEMORY_ANSWERS,    /* queued until the peer takes them */
  GRPC_MEMORY_CONNECTION, /* of itself: its calls, their headers, HPACK's table, frames, TLS */
  GRPC_MEMORY_HELD,       /* messages, unpacked and not released by their handlers */
  GRPC_MEMORY_KINDS
};

/* "unfinished", as metrics name it. */
const char *grpc_memory_kind_name(enum grpc_memory_kind kind);

struct grpc_account {
  struct list_link link; /* in the server's, while there is one */
  struct grpc_memory *memory;
  struct budget kinds[GRPC_MEMORY_KINDS];
  unsigned references;
  uint64_t number;      /* that no other has; from 1 */
  nghttp2_mem nghttp2;  /* an allocator that takes from it; never refuses but what is absurd */
  size_t nghttp2_bytes; /* allocated by it */
  size_t nghttp2_taken_bytes; /* for that, of kind CONNECTION: whole steps */
};

/* Embedded in the server. */
struct grpc_memory {
  struct budget total;
  struct budget kinds[GRPC_MEMORY_KINDS];
  struct list accounts;
  uint64_t opened; /* accounts, ever */
  struct grpc_server *server;
  struct loop_task task;       /* judges what handlers have queued, behind the turn */
  size_t connection_max_bytes; /* of one account's kind CONNECTION */
  bool has_paused;             /* sessions that aren't read for it */
  bool is_full;                /* ... all of them */
  size_t reserve_uses;         /* that were told */
  size_t peak_bytes;           /* of the total, since memory that is unused was last looked for */
  int64_t looked_us;           /* when that was */
};

/* What calls and connections cost of themselves; the rest is counted as it is taken. Measured over
 * 600 idle connections: 15 KiB of resident memory each, with TLS 33; with nghttp2 at work 30
 * and 48. */
#define GRPC_CALL_BYTES           ((size_t)1536)
#define GRPC_CONNECTION_BYTES     ((size_t)4 * 1024)
#define GRPC_TLS_CONNECTION_BYTES ((size_t)22 * 1024)
/* And nghttp2 of each connection, before it carries anything. */
#define GRPC_SESSION_BYTES ((size_t)26 * 1024)

void grpc_memory_init(struct grpc_memory *memory, struct grpc_server *server);

/* Accounts that are still in use count for themselves afterwards. */
void grpc_memory_deinit(struct grpc_memory *memory);

/* How many idle connections there is room for, each of which takes `bytes` so. */
size_t grpc_memory_connections(const struct grpc_memory *memory, size_t bytes);

/* NULL: there is no room for another connection, which takes `bytes` besides what nghttp2 does. */
struct grpc_account *grpc_account_open(struct grpc_memory *memory, size_t bytes);

/* Each call, message and connection holds one reference; with the last the account goes. */
struct grpc_account *grpc_account_hold(struct grpc_account *account);
void grpc_account_release(struct grpc_account *account);

size_t grpc_account_bytes(const struct grpc_account *account);

/* Whether the connection may take more before what it sent is read to the end: the last sixteenth
 * is for those who have little. */
bool grpc_memory_has_room(const struct grpc_session *session);

/* There is none, but there is for keeping what it sent until there is. */
bool grpc_memory_is_to_wait(const struct grpc_session *session);

/* The connection was read: ends calls, or stops reading it, when there is too much. */
void grpc_memory_check(struct grpc_session *session);

/* Answers were queued: the same, soon. */
void grpc_memory_check_soon(struct grpc_memory *memory);

/* Something was given back: reads on when there is room again. */
void grpc_memory_given_back(struct grpc_memory *memory);

/* While there are connections, and behind the last until it is false: gives to the system what a
 * rush has left unused, and keeps the reserve (base/reserve.h). */
bool grpc_memory_tick(struct grpc_memory *memory, int64_t now_us);
