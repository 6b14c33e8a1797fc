/*
 * claim: the right to append to a ledger, and what its holder knows of it.
 *
 * A ledger's row names its owner, and a write that isn't the owner's does nothing; so whoever lost
 * a ledger can't write to it, and two daemons never fork one. Each write extends the lease. A
 * ledger whose lease is over, or that was given back, may be claimed by anyone: what stands in the
 * database is then checked against the last batch's root and checkpoint before anything is
 * appended.
 *
 * One claim per writer, on one ledger at a time.
 */
#pragma once

#include "base/uuid.h"
#include "ledger/checkpoint.h"
#include "pg/pool.h"

struct claim {
  struct uuid owner;       /* the writer's own, drawn by claim_init() */
  int64_t ledger_id;       /* 0: none */
  struct merkle_edge edge; /* its size is the next event's sequence */
};

void claim_init(struct claim *claim);

/* Queues on the lease's pipeline what makes sure of the claim's ledger, waiting for a write that is
 * still at it; or, when it is another's by now or there is none, claims a free one or makes one. */
#define CLAIM_STATEMENTS 2
void claim_send(struct pg_lease *conn, const struct claim *claim, int64_t lease_us);

enum claim_verdict {
  CLAIM_HELD,
  CLAIM_RACED,   /* somebody else took the same one: try again */
  CLAIM_SUSPECT, /* what is stored of the ledger doesn't fit together */
};
struct claim_answer {
  enum claim_verdict verdict;
  int64_t ledger_id; /* HELD and SUSPECT */
  struct merkle_edge edge;
  const char *reason; /* SUSPECT: static */
};

/* Reads the result of the last of claim_send()'s statements. ERR_INTERNAL when it has another
 * shape. Not to be relied on before the pipeline has ended well. */
int claim_read(const PGresult *result, const struct checkpoint_signer *signer,
               struct merkle_hasher *hasher, struct claim_answer *ret_answer, struct error *err);

/* Marks a ledger of the claim's owner as suspect: nobody will claim it. */
void claim_send_suspect(struct pg_lease *conn, const struct claim *claim, int64_t ledger_id);

/* Gives the claim's ledger back, so that another needn't wait for the lease's end. */
void claim_send_release(struct pg_lease *conn, const struct claim *claim);
