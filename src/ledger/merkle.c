#include "ledger/merkle.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

/* ---- hashing ---- */

struct merkle_hasher {
  EVP_MD *sha256;
  EVP_MD_CTX *context;
};

struct merkle_hasher *merkle_hasher_new(void) {
  struct merkle_hasher *hasher = xcalloc(1, sizeof(*hasher));
  /* Fetched once: EVP_sha256() would be looked up again for each hash. */
  hasher->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
  hasher->context = EVP_MD_CTX_new();
  if (!hasher->sha256 || !hasher->context)
    abort();
  return hasher;
}

void merkle_hasher_free(struct merkle_hasher *hasher) {
  if (!hasher)
    return;
  EVP_MD_CTX_free(hasher->context);
  EVP_MD_free(hasher->sha256);
  free(hasher);
}

static struct merkle_hash sha256(struct merkle_hasher *hasher, struct str first,
                                 struct str second) {
  struct merkle_hash hash;
  if (EVP_DigestInit_ex2(hasher->context, hasher->sha256, NULL) != 1 ||
      EVP_DigestUpdate(hasher->context, first.data, first.len) != 1 ||
      EVP_DigestUpdate(hasher->context, second.data, second.len) != 1 ||
      EVP_DigestFinal_ex(hasher->context, hash.bytes, NULL) != 1)
    abort();
  return hash;
}

struct merkle_hash merkle_hash_leaf(struct merkle_hasher *hasher, const void *data, size_t len) {
  return sha256(hasher, str_of("\0", 1), str_of(data, len));
}

struct merkle_hash merkle_hash_node(struct merkle_hasher *hasher, const struct merkle_hash *left,
                                    const struct merkle_hash *right) {
  char input[1 + 2 * MERKLE_HASH_SIZE] = {1};
  memcpy(input + 1, left, sizeof(*left));
  memcpy(input + 1 + sizeof(*left), right, sizeof(*right));
  return sha256(hasher, str_of(input, sizeof(input)), str_of("", 0));
}

void merkle_hash_print(const struct merkle_hash *hash, char ret_text[MERKLE_TEXT_SIZE]) {
  EVP_EncodeBlock((unsigned char *)ret_text, hash->bytes, MERKLE_HASH_SIZE);
}

/* ---- the edge ---- */

static bool has_node(int64_t size, int level) {
  return (size >> level & 1) != 0;
}

/* The root over the last `size` leaves: its bits are the lowest ones of the edge's size. */
static struct merkle_hash edge_fold(const struct merkle_edge *edge, struct merkle_hasher *hasher,
                                    int64_t size) {
  assert(size > 0);
  int level = __builtin_ctzll((unsigned long long)size);
  struct merkle_hash root = edge->nodes[level];
  for (level++; level < MERKLE_LEVELS && size >> level; level++) {
    if (has_node(size, level))
      root = merkle_hash_node(hasher, &edge->nodes[level], &root);
  }
  return root;
}

struct merkle_hash merkle_edge_root(const struct merkle_edge *edge, struct merkle_hasher *hasher) {
  if (edge->size == 0)
    return sha256(hasher, str_of("", 0), str_of("", 0));
  return edge_fold(edge, hasher, edge->size);
}

bool merkle_edge_pack(const struct merkle_edge *edge, struct buf *out) {
  for (int level = 0; level < MERKLE_LEVELS; level++) {
    if (has_node(edge->size, level) && !buf_append(out, edge->nodes[level].bytes, MERKLE_HASH_SIZE))
      return false;
  }
  return true;
}

bool merkle_edge_unpack(struct str packed, int64_t size, struct merkle_edge *ret_edge) {
  if (size < 0 ||
      packed.len != (size_t)__builtin_popcountll((unsigned long long)size) * MERKLE_HASH_SIZE)
    return false;
  const char *at = packed.data;
  ret_edge->size = size;
  for (int level = 0; level < MERKLE_LEVELS; level++) {
    if (!has_node(size, level))
      continue;
    memcpy(ret_edge->nodes[level].bytes, at, MERKLE_HASH_SIZE);
    at += MERKLE_HASH_SIZE;
  }
  return true;
}

/* ---- growth ---- */

void merkle_growth_deinit(struct merkle_growth *growth) {
  free(growth->nodes);
  *growth = (struct merkle_growth){0};
}

/* Each level has at most half as many new nodes as the one below, and one more. */
static void reserve(struct merkle_growth *growth, int count) {
  int needed = 2 * count + MERKLE_LEVELS;
  if (needed <= growth->node_cap)
    return;
  growth->nodes = xrealloc(growth->nodes, (size_t)needed * sizeof(*growth->nodes));
  growth->node_cap = needed;
}

struct merkle_hash *merkle_growth_begin(struct merkle_growth *growth,
                                        const struct merkle_edge *before, int count) {
  assert(count > 0 && before->size <= INT64_MAX - count);
  reserve(growth, count);
  growth->before = *before;
  growth->after.size = before->size + count;
  growth->level_count = 1;
  growth->levels[0].first = before->size;
  growth->levels[0].count = count;
  growth->levels[0].offset = 0;
  return growth->nodes;
}

const struct merkle_hash *merkle_growth_node(const struct merkle_growth *growth, int level,
                                             int64_t index) {
  assert(index >= growth->levels[level].first);
  assert(index - growth->levels[level].first < growth->levels[level].count);
  return &growth->nodes[growth->levels[level].offset + (index - growth->levels[level].first)];
}

/* A complete subtree that proofs and higher nodes ask for: a new one, or one of the old edge. */
static const struct merkle_hash *node_at(const struct merkle_growth *growth, int level,
                                         int64_t index) {
  if (level < growth->level_count && index >= growth->levels[level].first)
    return merkle_growth_node(growth, level, index);
  assert(has_node(growth->before.size, level) && index == (growth->before.size >> level) - 1);
  return &growth->before.nodes[level];
}

/* The nodes of the level above the last one. False when there is none. */
static bool add_level(struct merkle_growth *growth, struct merkle_hasher *hasher) {
  int level = growth->level_count;
  int64_t first = growth->before.size >> level;
  int count = (int)((growth->after.size >> level) - first);
  if (count == 0)
    return false;
  int offset = growth->levels[level - 1].offset + growth->levels[level - 1].count;
  for (int i = 0; i < count; i++)
    growth->nodes[offset + i] =
        merkle_hash_node(hasher, node_at(growth, level - 1, 2 * (first + i)),
                         node_at(growth, level - 1, 2 * (first + i) + 1));
  growth->levels[level].first = first;
  growth->levels[level].count = count;
  growth->levels[level].offset = offset;
  growth->level_count++;
  return true;
}

void merkle_growth_finish(struct merkle_growth *growth, struct merkle_hasher *hasher) {
  while (growth->level_count < MERKLE_LEVELS && add_level(growth, hasher))
    ;
  for (int level = 0; level < MERKLE_LEVELS; level++) {
    if (has_node(growth->after.size, level))
      growth->after.nodes[level] = *node_at(growth, level, (growth->after.size >> level) - 1);
  }
}

/* ---- proofs ---- */

/* Of the leaves from `first` to `end`, a power of two that `first` is a multiple of, or fewer at
 * the log's end. */
static struct merkle_hash subtree(const struct merkle_growth *growth, struct merkle_hasher *hasher,
                                  int64_t first, int64_t end) {
  int64_t size = end - first;
  if ((size & (size - 1)) != 0)
    return edge_fold(&growth->after, hasher, size);
  int level = __builtin_ctzll((unsigned long long)size);
  return *node_at(growth, level, first >> level);
}

/* The largest power of two below `size`, which is 2 or more. */
static int64_t split_of(int64_t size) {
  return (int64_t)1 << (63 - __builtin_clzll((unsigned long long)(size - 1)));
}

static void reverse(struct merkle_hash *path, int count) {
  for (int i = 0; i < count / 2; i++) {
    struct merkle_hash swapped = path[i];
    path[i] = path[count - 1 - i];
    path[count - 1 - i] = swapped;
  }
}

/* RFC 9162, 2.1.3.1, from the root down. */
int merkle_growth_proof(const struct merkle_growth *growth, struct merkle_hasher *hasher,
                        int64_t index, struct merkle_hash ret_path[MERKLE_LEVELS]) {
  int64_t first = 0;
  int64_t end = growth->after.size;
  int count = 0;
  assert(index >= growth->before.size && index < end);
  while (end - first > 1) {
    int64_t middle = first + split_of(end - first);
    if (index < middle) {
      ret_path[count++] = subtree(growth, hasher, middle, end);
      end = middle;
    } else {
      ret_path[count++] = subtree(growth, hasher, first, middle);
      first = middle;
    }
  }
  reverse(ret_path, count);
  return count;
}
