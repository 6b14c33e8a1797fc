/*
 * store_server: AuditStore.StreamEvents as the tests want it, in a thread: answers each batch as
 * the test says, and remembers what came.
 */
#pragma once

#include "auditstore/auditstore.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store_server;

enum store_action {
  STORE_TAKE,       /* OK; what was stored before is a duplicate */
  STORE_REFUSE,     /* the batch, with `code` */
  STORE_REJECT,     /* its event `index`, with `code`; takes the others */
  STORE_LATER,      /* takes it, and answers behind the next batch */
  STORE_IGNORE,     /* no answer */
  STORE_DROP,       /* closes the connection; the batch isn't stored */
  STORE_DROP_TAKEN, /* stores the batch, and closes the connection without an answer */
  STORE_END,        /* ends the call with `code` */
  STORE_NONSENSE,   /* an answer that makes no sense */
  STORE_STRANGE,    /* an answer to a batch that nobody sent */
  STORE_FORGET,     /* OK, but without the last event */
  STORE_FORGET_ALL  /* OK, without any */
};

struct store_reply {
  enum store_action action;
  enum auditstore_code code;
  size_t index;
  int retry_ms;      /* > 0: RetryInfo in the refusal */
  const char *field; /* of the BadRequest; NULL: none */
};

/* In the server's thread. `number` counts batches from 0; the reply is zeroed, which is TAKE. */
typedef void store_batch_cb(void *arg, size_t number,
                            const Auditstore__V1__StreamEventsRequest *batch,
                            struct store_reply *ret_reply);

struct store_server *store_server_start(store_batch_cb *on_batch, void *arg);
void store_server_stop(struct store_server *s);

/* "127.0.0.1:port" */
const char *store_server_target(const struct store_server *s);

/* Nobody listens, and connections are closed; and the same address again. */
void store_server_leave(struct store_server *s);
void store_server_return(struct store_server *s);

/* Counted so far. */
size_t store_server_batches(struct store_server *s);
size_t store_server_connections(struct store_server *s);

/* The number of stored events, each counted once, and the event_type of the n-th. */
size_t store_server_stored(struct store_server *s);
const char *store_server_type(struct store_server *s, size_t n);
const char *store_server_id(struct store_server *s, size_t n);
