/*
 * checkpoint: a ledger's size and root as a text that others can verify: C2SP's tlog-checkpoint,
 * signed as a C2SP signed-note with Ed25519. https://c2sp.org/tlog-checkpoint
 *
 * The log's name (the origin line, and the name of the signing key) is ORIGIN/LEDGER_ID.
 */
#pragma once

#include "base/buf.h"
#include "ledger/merkle.h"
#include "ledger/signing_keyring.h"

#define CHECKPOINT_ORIGIN_MAX 200 /* bytes, without the ledger's number */
#define CHECKPOINT_MAX_BYTES  1024

/* What checkpoints are made with, and whose are believed. All is borrowed; it may change between
 * two turns of the loop, but for the origin once it is set. */
struct checkpoint_signer {
  const char *origin;                    /* of all ledgers of a store: the name in its row */
  const struct signing_key *key;         /* NULL: none are made */
  const struct signing_keyring *trusted; /* keys beside `key` whose signatures are good; may be
                                            NULL */
};

struct checkpoint {
  int64_t ledger_id;
  int64_t size;
  struct merkle_hash root;
};

/* Appends the signed note; the signer has a key. `out` must hold CHECKPOINT_MAX_BYTES more. */
void checkpoint_sign(const struct checkpoint *checkpoint, const struct checkpoint_signer *signer,
                     struct buf *out);

/* What a note is worth as evidence that one of the store's daemons wrote a checkpoint. */
enum checkpoint_trust {
  CHECKPOINT_GOOD,        /* a right signature under the signer's key or a trusted one, and no wrong
                             one under any of them */
  CHECKPOINT_UNSIGNED,    /* the checkpoint's text without any signature, or no note (len 0) */
  CHECKPOINT_UNKNOWN_KEY, /* signatures, and all by keys that aren't known: nobody vouches for it */
  CHECKPOINT_BAD,         /* another text, no note at all, or a wrong signature under a known key */
};

/* Judges `note`, which may be any bytes, against what it ought to say. Without a key and a keyring
 * it is never GOOD. */
enum checkpoint_trust checkpoint_judge(const struct checkpoint *checkpoint,
                                       const struct checkpoint_signer *signer, struct str note);
