#include "ingest/proofs.h"

#include <assert.h>
#include <stdlib.h>

#include "base/alloc.h"

/* One piece in an arena, rounded up to its alignment. */
#define ALIGNMENT_BYTES ((size_t)16)

struct path {
  int first;  /* in hashes[] */
  int length; /* -1: the event has no proof */
  int64_t sequence;
};

struct proofs {
  int64_t ledger_id;
  int64_t tree_size;
  struct merkle_hash root;
  struct str note;            /* owned */
  struct merkle_hash *hashes; /* owned */
  int hash_count;
  int count;
  struct path paths[]; /* by event */
};

/* No path is longer. */
static int height_of(int64_t tree_size) {
  return tree_size > 1 ? 64 - __builtin_clzll((unsigned long long)(tree_size - 1)) : 0;
}

static size_t hashes_of(const struct proofs *proofs) {
  return (size_t)height_of(proofs->tree_size) * (size_t)proofs->count + 1;
}

struct proofs *proofs_new(const struct seal *seal, int64_t ledger_id, int count) {
  struct proofs *proofs = xcalloc(1, sizeof(*proofs) + (size_t)count * sizeof(proofs->paths[0]));
  size_t note_len = buf_len(&seal->note);
  proofs->ledger_id = ledger_id;
  proofs->tree_size = seal->growth.after.size;
  proofs->root = seal->root;
  proofs->count = count;
  proofs->hashes = xcalloc(hashes_of(proofs), sizeof(*proofs->hashes));
  for (int i = 0; i < count; i++)
    proofs->paths[i].length = -1;
  if (note_len > 0) {
    char *note = xmalloc(note_len);
    memcpy(note, buf_bytes(&seal->note), note_len);
    proofs->note = str_of(note, note_len);
  }
  return proofs;
}

size_t proofs_bytes(const struct proofs *proofs) {
  if (!proofs)
    return 0;
  return sizeof(*proofs) + (size_t)proofs->count * sizeof(proofs->paths[0]) + proofs->note.len +
         hashes_of(proofs) * sizeof(proofs->hashes[0]);
}

void proofs_free(struct proofs *proofs) {
  if (!proofs)
    return;
  free((char *)proofs->note.data);
  free(proofs->hashes);
  free(proofs);
}

bool proofs_are_of(const struct proofs *proofs, const struct seal *seal, int64_t ledger_id) {
  return proofs->ledger_id == ledger_id && proofs->tree_size == seal->growth.after.size;
}

bool proofs_has(const struct proofs *proofs, int index) {
  return proofs && proofs->paths[index].length >= 0;
}

void proofs_add(struct proofs *proofs, const struct seal *seal, int index, int64_t sequence) {
  struct merkle_hash path[MERKLE_LEVELS];
  int length = merkle_growth_proof(&seal->growth, seal->hasher, sequence, path);
  assert(index >= 0 && index < proofs->count);
  memcpy(proofs->hashes + proofs->hash_count, path, (size_t)length * sizeof(*path));
  proofs->paths[index] =
      (struct path){.first = proofs->hash_count, .length = length, .sequence = sequence};
  proofs->hash_count += length;
}

/* ---- messages ---- */

size_t proofs_message_max_bytes(const struct proofs *proofs) {
  if (!proofs)
    return 0;
  size_t per_event = sizeof(Auditstore__V1__InclusionProof) + sizeof(Auditstore__V1__Checkpoint) +
                     2 * sizeof(void *) + 4 * ALIGNMENT_BYTES;
  return (size_t)proofs->count * per_event +
         (size_t)proofs->hash_count * sizeof(ProtobufCBinaryData);
}

static void *must_alloc(struct arena *arena, size_t count, size_t size) {
  void *p = arena_calloc(arena, count, size);
  assert(p);
  return p;
}

static ProtobufCBinaryData bytes_of(const void *data, size_t len) {
  return (ProtobufCBinaryData){.len = len, .data = (uint8_t *)data};
}

static Auditstore__V1__Checkpoint *make_checkpoint(const struct proofs *proofs,
                                                   struct arena *arena) {
  Auditstore__V1__Checkpoint *checkpoint = must_alloc(arena, 1, sizeof(*checkpoint));
  auditstore__v1__checkpoint__init(checkpoint);
  checkpoint->ledger_id = proofs->ledger_id;
  checkpoint->tree_size = proofs->tree_size;
  checkpoint->root_hash = bytes_of(proofs->root.bytes, MERKLE_HASH_SIZE);
  checkpoint->note = bytes_of(proofs->note.data, proofs->note.len);
  return checkpoint;
}

static Auditstore__V1__InclusionProof *make_proof(const struct proofs *proofs,
                                                  const struct path *path, struct arena *arena) {
  Auditstore__V1__InclusionProof *proof = must_alloc(arena, 1, sizeof(*proof));
  auditstore__v1__inclusion_proof__init(proof);
  assert(path->length >= 0); /* a receipt is of one commit */
  proof->sequence = path->sequence;
  proof->n_path = (size_t)path->length;
  proof->path = must_alloc(arena, proof->n_path, sizeof(*proof->path));
  for (int i = 0; i < path->length; i++)
    proof->path[i] = bytes_of(proofs->hashes[path->first + i].bytes, MERKLE_HASH_SIZE);
  return proof;
}

void proofs_fill(const struct proofs *proofs, int index, Auditstore__V1__Receipt *receipt,
                 struct arena *arena) {
  if (!proofs_has(proofs, index))
    return;
  receipt->checkpoint = make_checkpoint(proofs, arena);
  receipt->n_proofs = receipt->count;
  receipt->proofs = must_alloc(arena, receipt->count, sizeof(Auditstore__V1__InclusionProof *));
  for (uint32_t i = 0; i < receipt->count; i++)
    receipt->proofs[i] = make_proof(proofs, &proofs->paths[(size_t)index + i], arena);
}
