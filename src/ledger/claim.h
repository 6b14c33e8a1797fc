/*
 * claim: the right to append to a ledger, and what its holder knows of it.
 *
 * A ledger's row names its owner, and a write that isn't the owner's does nothing; so whoever lost
 * a ledger can't write to it, and two daemons never fork one. Each write extends the lease. A
 * ledger whose lease is over, or that was given back, may be claimed by anyone: what stands in the
 * database is then judged before anything is appended.
 *
 * It is judged by three things. Its rows have to fit together. Its last record has to be signed
 * with a key that is trusted, where there is a key: who can write to the database but has no key
 * can't make us go on behind a forged tail. And it has to be what this daemon knows of it
 * (ledger/memory.h): a ledger that is smaller than it was, or has another root at a size that was
 * known, would be forked by appending to it.
 *
 * An answer that was lost leaves a claim in doubt. Claiming again settles it: a ledger that is the
 * owner's already comes first, and whatever it has beyond one is given back.
 *
 * One claim per writer, on one ledger at a time.
 */
#pragma once

#include "base/clock.h"
#include "base/must_check.h"
#include "base/uuid.h"
#include "ledger/checkpoint.h"
#include "ledger/memory.h"
#include "ledger/surroundings.h"
#include "pg/pool.h"

struct claim {
  struct uuid owner;       /* the writer's own, drawn by claim_init() */
  int64_t ledger_id;       /* 0: none */
  struct merkle_edge edge; /* its size is the next event's sequence */
  int64_t committed_us;    /* of its last record; INT64_MIN: there is none */
  int64_t fingerprint;     /* of what stood on the tables when it was claimed */
  bool is_watched;         /* triggers, that is: what is written has to be compared */
};

void claim_init(struct claim *claim);

/* Queues on the lease's pipeline what makes sure of the claim's ledger, waiting for a write that is
 * still at it; or, when it is another's by now or there is none, claims a free one or makes one,
 * whose id is at least `first_new_id`. */
void claim_send(struct pg_lease *conn, const struct claim *claim, int64_t lease_us,
                int64_t first_new_id);

/* How far ahead of a clock a ledger's last record may lie: above what NTP lets pass. */
#define CLAIM_AHEAD_US (60 * CLOCK_US_PER_S)

enum claim_verdict {
  CLAIM_HELD,
  CLAIM_RACED,    /* somebody else took the same one: try again */
  CLAIM_SUSPECT,  /* what is stored of the ledger doesn't fit together, or isn't what was known */
  CLAIM_UNPROVED, /* never signed, and there is a key by now: left as it is, without an alarm */
  CLAIM_GREW,     /* held, if claim_send_recall() finds what was known of it in its past */
};
struct claim_answer {
  enum claim_verdict verdict;
  int64_t ledger_id; /* but for RACED */
  struct merkle_edge edge;
  int64_t committed_us;
  bool is_ahead;            /* that lies further ahead than CLAIM_AHEAD_US by PostgreSQL's clock */
  const char *reason;       /* SUSPECT: static */
  struct ledger_head known; /* GREW: what to look for */
  bool is_contradicted;     /* SUSPECT: by what is known, not by itself */
  bool is_gone;             /* the ledger that the claim was on isn't in the database any more */
  struct surroundings surroundings;
};

/* What a claim is judged with. */
struct claim_judge {
  const struct checkpoint_signer *signer;
  struct merkle_hasher *hasher;
  const struct ledger_memory *memory;
};

/* Takes the results of claim_send()'s statements, each in its turn. ERR_INTERNAL when one has
 * another shape. The answer is not to be relied on before the pipeline has ended well. */
MUST_CHECK int claim_read(struct claim_answer *answer, int statement, const PGresult *result,
                          const struct claim_judge *judge, struct error *err);

/* Queues the question for the record that ended at a size, of a ledger that has grown since. */
void claim_send_recall(struct pg_lease *conn, const struct claim *claim, int64_t ledger_id,
                       int64_t size);

/* Whether its result is that head. */
bool claim_read_recall(const PGresult *result, const struct ledger_head *known);

/* Nobody will claim the ledger, if it is the claim owner's: it is marked as suspect, or closed. 0:
 * each one of the owner's. */
void claim_send_suspect(struct pg_lease *conn, const struct claim *claim, int64_t ledger_id);
void claim_send_close(struct pg_lease *conn, const struct claim *claim, int64_t ledger_id);

/* Gives the claim's ledgers back, so that another needn't wait for the lease's end. */
void claim_send_release(struct pg_lease *conn, const struct claim *claim);
