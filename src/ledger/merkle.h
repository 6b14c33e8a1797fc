/*
 * merkle: the hashes of an append-only log, as RFC 9162, 2.1 defines them.
 *
 * Words: edge = the roots of the complete subtrees that a log of its size ends in, one for each bit
 * of the size; it is all that appending takes. Growth = the nodes that a run of new leaves adds; it
 * is all that proofs of those leaves take. No I/O; what fails here is memory only, and that aborts.
 */
#pragma once

#include <stdint.h>

#include "base/buf.h"

#define MERKLE_HASH_SIZE 32
/* A size is an int64_t: no log is higher. */
#define MERKLE_LEVELS 63

struct merkle_hash {
  uint8_t bytes[MERKLE_HASH_SIZE];
};

/* ---- hashing ---- */

/* Reusable memory of the hash function. */
struct merkle_hasher;

struct merkle_hasher *merkle_hasher_new(void);
void merkle_hasher_free(struct merkle_hasher *hasher); /* NULL is fine */

/* SHA-256(0x00 || data) and SHA-256(0x01 || left || right). */
struct merkle_hash merkle_hash_leaf(struct merkle_hasher *hasher, const void *data, size_t len);
struct merkle_hash merkle_hash_node(struct merkle_hasher *hasher, const struct merkle_hash *left,
                                    const struct merkle_hash *right);

/* As texts have it: base64, and a NUL. */
#define MERKLE_TEXT_SIZE (4 * ((MERKLE_HASH_SIZE + 2) / 3) + 1)
void merkle_hash_print(const struct merkle_hash *hash, char ret_text[MERKLE_TEXT_SIZE]);

/* ---- the edge ---- */

struct merkle_edge {
  int64_t size;                            /* leaves; a zeroed edge is that of an empty log */
  struct merkle_hash nodes[MERKLE_LEVELS]; /* [level] where that bit of size is set */
};

/* The root of a log with this edge; SHA-256 of nothing when it is empty. */
struct merkle_hash merkle_edge_root(const struct merkle_edge *edge, struct merkle_hasher *hasher);

/* Its nodes one behind the other, from the smallest subtree: how it is stored. False when `out` is
 * full. */
bool merkle_edge_pack(const struct merkle_edge *edge, struct buf *out);

/* False when `packed` is no edge of that size. */
bool merkle_edge_unpack(struct str packed, int64_t size, struct merkle_edge *ret_edge);

/* ---- growth ---- */

struct merkle_growth {
  struct merkle_edge before, after;
  int level_count;
  struct {
    int64_t first; /* index of the first new node of that level */
    int count;
    int offset; /* in nodes */
  } levels[MERKLE_LEVELS];
  struct merkle_hash *nodes; /* owned; level 0 are the leaves */
  int node_cap;
};

void merkle_growth_deinit(struct merkle_growth *growth); /* a zeroed growth is fine */

/* Room for `count` leaves behind `before`: fill them, then call merkle_growth_finish(). */
struct merkle_hash *merkle_growth_begin(struct merkle_growth *growth,
                                        const struct merkle_edge *before, int count);
void merkle_growth_finish(struct merkle_growth *growth, struct merkle_hasher *hasher);

/* Of a level, the new node at `index` (>= levels[level].first, below its end). */
const struct merkle_hash *merkle_growth_node(const struct merkle_growth *growth, int level,
                                             int64_t index);

/* The inclusion proof of a new leaf in the log as it stands behind the growth, from the leaf up:
 * how many hashes. */
int merkle_growth_proof(const struct merkle_growth *growth, struct merkle_hasher *hasher,
                        int64_t index, struct merkle_hash ret_path[MERKLE_LEVELS]);
