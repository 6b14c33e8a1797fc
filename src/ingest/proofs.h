/*
 * proofs: what the receipts of one request can be proved with, taken from the commit itself. No
 * I/O.
 */
#pragma once

#include "auditstore/v1/audit_store.pb-c.h"
#include "base/arena.h"
#include "ledger/seal.h"

struct proofs;

/* For a request of `count` events that was written with `seal`. */
struct proofs *proofs_new(const struct seal *seal, int64_t ledger_id, int count);
void proofs_free(struct proofs *proofs); /* NULL is fine */

/* Whether they are from that commit. */
bool proofs_are_of(const struct proofs *proofs, const struct seal *seal, int64_t ledger_id);

/* Whether the request's event `index` has one. */
bool proofs_has(const struct proofs *proofs, int index); /* NULL: none has */

/* The request's event `index` got the sequence. */
void proofs_add(struct proofs *proofs, const struct seal *seal, int index, int64_t sequence);

/* The memory that they take. */
size_t proofs_bytes(const struct proofs *proofs); /* NULL: none */

/* How much proofs_fill() takes from the arena for all receipts of the request together. */
size_t proofs_message_max_bytes(const struct proofs *proofs);

/* Gives the receipt of the request's events index..index+receipt->count-1 its checkpoint and
 * proofs, if it was written with these. Borrows from `proofs`. */
void proofs_fill(const struct proofs *proofs, int index, Auditstore__V1__Receipt *receipt,
                 struct arena *arena);
