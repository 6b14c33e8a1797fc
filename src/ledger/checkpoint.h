/*
 * checkpoint: a ledger's size and root as a text that others can verify: C2SP's tlog-checkpoint,
 * signed as a C2SP signed-note with Ed25519. https://c2sp.org/tlog-checkpoint
 *
 * The log's name (the origin line, and the name of the signing key) is ORIGIN/LEDGER_ID.
 */
#pragma once

#include "base/buf.h"
#include "ledger/merkle.h"
#include "ledger/signing_key.h"

#define CHECKPOINT_ORIGIN_MAX 200 /* bytes, without the ledger's number */
#define CHECKPOINT_MAX_BYTES  1024

/* What checkpoints are made with. */
struct checkpoint_signer {
  const char *origin;            /* of all ledgers of a deployment: no white space, no plus sign */
  const struct signing_key *key; /* NULL: none are made */
};

struct checkpoint {
  int64_t ledger_id;
  int64_t size;
  struct merkle_hash root;
};

/* Appends the signed note; the signer has a key. `out` must hold CHECKPOINT_MAX_BYTES more. */
void checkpoint_sign(const struct checkpoint *checkpoint, const struct checkpoint_signer *signer,
                     struct buf *out);

/* Whether `note` says what `checkpoint` says and, if it has a signature under the signer's key,
 * that one is right. Signatures by other keys are not judged. */
bool checkpoint_matches(const struct checkpoint *checkpoint, const struct checkpoint_signer *signer,
                        struct str note);
