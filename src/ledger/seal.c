#include "ledger/seal.h"

#include <assert.h>

/* Far above what validation lets through. */
#define PACKED_MAX_BYTES (16 * 1024 * 1024)

void seal_init(struct seal *seal) {
  *seal = (struct seal){.hasher = merkle_hasher_new()};
  buf_init(&seal->note, CHECKPOINT_MAX_BYTES);
  buf_init(&seal->packed, PACKED_MAX_BYTES);
}

void seal_deinit(struct seal *seal) {
  merkle_hasher_free(seal->hasher);
  merkle_growth_deinit(&seal->growth);
  buf_deinit(&seal->note);
  buf_deinit(&seal->packed);
}

static void hash_items(struct seal *seal, const struct claim *claim,
                       const struct seal_batch *batch) {
  struct merkle_hash *leaves = merkle_growth_begin(&seal->growth, &claim->edge, batch->count);
  for (int i = 0; i < batch->count; i++) {
    const struct event_place place = {.received_us = batch->items[i].received_us,
                                      .ledger_id = claim->ledger_id,
                                      .sequence = claim->edge.size + i,
                                      .principal = batch->items[i].principal};
    bool ok = event_pack(batch->items[i].event, &place, &seal->packed);
    assert(ok);
    (void)ok;
    leaves[i] = merkle_hash_leaf(seal->hasher, buf_bytes(&seal->packed), buf_len(&seal->packed));
  }
  merkle_growth_finish(&seal->growth, seal->hasher);
}

void seal_make(struct seal *seal, const struct claim *claim, const struct seal_batch *batch) {
  hash_items(seal, claim, batch);
  seal->committed_us = batch->committed_us;
  seal->root = merkle_edge_root(&seal->growth.after, seal->hasher);
  buf_clear(&seal->note);
}

void seal_sign(struct seal *seal, int64_t ledger_id, const struct checkpoint_signer *signer) {
  if (signer->key)
    checkpoint_sign(&(struct checkpoint){.ledger_id = ledger_id,
                                         .size = seal->growth.after.size,
                                         .root = seal->root},
                    signer, &seal->note);
}
