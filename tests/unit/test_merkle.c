/*
 * Merkle logs: roots and proofs against the definitions of RFC 9162 written out, and against the
 * roots that Certificate Transparency's implementations publish for their eight sample leaves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ledger/merkle.h"

#define LEAVES_MAX 300

struct world {
  struct merkle_hasher *hasher;
  struct merkle_growth growth;
  struct merkle_hash leaves[LEAVES_MAX];
};

static int set_up(void **state) {
  struct world *w = calloc(1, sizeof(*w));
  assert_non_null(w);
  w->hasher = merkle_hasher_new();
  for (int i = 0; i < LEAVES_MAX; i++)
    w->leaves[i] = merkle_hash_leaf(w->hasher, &i, sizeof(i));
  *state = w;
  return 0;
}

static int tear_down(void **state) {
  struct world *w = *state;
  merkle_hasher_free(w->hasher);
  merkle_growth_deinit(&w->growth);
  free(w);
  return 0;
}

static struct merkle_hash hash_of_hex(const char *hex) {
  struct merkle_hash hash;
  for (int i = 0; i < MERKLE_HASH_SIZE; i++) {
    const char digits[3] = {hex[2 * i], hex[2 * i + 1]};
    hash.bytes[i] = (uint8_t)strtoul(digits, NULL, 16);
  }
  return hash;
}

static void assert_same(const struct merkle_hash *a, const struct merkle_hash *b) {
  assert_memory_equal(a->bytes, b->bytes, MERKLE_HASH_SIZE);
}

/* ---- RFC 9162, 2.1.1 and 2.1.3.1, as they are written ---- */

static int split_below(int n) {
  int k = 1;
  while (2 * k < n)
    k *= 2;
  return k;
}

static struct merkle_hash tree_head(struct world *w, int from, int to) {
  if (to - from == 1)
    return w->leaves[from];
  int k = split_below(to - from);
  struct merkle_hash left = tree_head(w, from, from + k);
  struct merkle_hash right = tree_head(w, from + k, to);
  return merkle_hash_node(w->hasher, &left, &right);
}

static int path_of(struct world *w, int leaf, int from, int to, struct merkle_hash *ret_path) {
  if (to - from == 1)
    return 0;
  int k = split_below(to - from);
  bool is_left = leaf < from + k;
  int count = is_left ? path_of(w, leaf, from, from + k, ret_path)
                      : path_of(w, leaf, from + k, to, ret_path);
  ret_path[count] = is_left ? tree_head(w, from + k, to) : tree_head(w, from, from + k);
  return count + 1;
}

/* ---- growing ---- */

static void grow(struct world *w, const struct merkle_edge *before, int count) {
  struct merkle_hash *leaves = merkle_growth_begin(&w->growth, before, count);
  memcpy(leaves, &w->leaves[before->size], (size_t)count * sizeof(*leaves));
  merkle_growth_finish(&w->growth, w->hasher);
}

static void roots_are_those_that_others_publish(void **state) {
  static const char *const leaves[] = {"",         "\x00",
                                       "\x10",     "\x20\x21",
                                       "\x30\x31", "\x40\x41\x42\x43",
                                       "PQRSTUVW", "`abcdefghijklmno"};
  static const size_t lengths[] = {0, 1, 1, 2, 2, 4, 8, 16};
  static const char *const roots[] = {
      "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
      "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
      "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
      "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
      "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
      "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
      "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
      "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
      "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
  };
  struct world *w = *state;
  struct merkle_edge edge = {0};
  for (int size = 0; size <= 8; size++) {
    struct merkle_hash root = merkle_edge_root(&edge, w->hasher);
    struct merkle_hash expected = hash_of_hex(roots[size]);
    assert_same(&root, &expected);
    if (size == 8)
      break;
    merkle_growth_begin(&w->growth, &edge, 1)[0] =
        merkle_hash_leaf(w->hasher, leaves[size], lengths[size]);
    merkle_growth_finish(&w->growth, w->hasher);
    edge = w->growth.after;
  }
}

static void check_growth(struct world *w, const struct merkle_edge *before, int count) {
  int size = (int)before->size + count;
  struct merkle_hash path[MERKLE_LEVELS];
  struct merkle_hash expected_path[MERKLE_LEVELS];
  grow(w, before, count);
  assert_int_equal(w->growth.after.size, size);
  struct merkle_hash root = merkle_edge_root(&w->growth.after, w->hasher);
  struct merkle_hash expected = tree_head(w, 0, size);
  assert_same(&root, &expected);
  for (int leaf = (int)before->size; leaf < size; leaf++) {
    int length = merkle_growth_proof(&w->growth, w->hasher, leaf, path);
    assert_int_equal(length, path_of(w, leaf, 0, size, expected_path));
    for (int i = 0; i < length; i++)
      assert_same(&path[i], &expected_path[i]);
  }
}

static void any_batch_on_any_log_gives_the_root_and_proofs_of_the_definition(void **state) {
  struct world *w = *state;
  struct merkle_edge before = {0};
  for (int size = 0; size <= 70; size++) {
    for (int count = 1; count <= 70; count++)
      check_growth(w, &before, count);
    grow(w, &before, 1);
    before = w->growth.after;
  }
}

static void a_large_batch_has_its_proofs_too(void **state) {
  struct world *w = *state;
  static const struct merkle_edge empty;
  check_growth(w, &empty, LEAVES_MAX);
  grow(w, &empty, 37);
  struct merkle_edge before = w->growth.after;
  check_growth(w, &before, LEAVES_MAX - 37);
}

static void new_nodes_are_the_complete_subtrees(void **state) {
  struct world *w = *state;
  static const struct merkle_edge empty;
  grow(w, &empty, 100);
  struct merkle_edge before = w->growth.after;
  grow(w, &before, 200);
  for (int level = 0; level < w->growth.level_count; level++) {
    int64_t first = w->growth.levels[level].first;
    assert_int_equal(first, 100 >> level);
    assert_int_equal(first + w->growth.levels[level].count, 300 >> level);
    for (int64_t i = first; i < 300 >> level; i++) {
      struct merkle_hash expected = tree_head(w, (int)(i << level), (int)((i + 1) << level));
      assert_same(merkle_growth_node(&w->growth, level, i), &expected);
    }
  }
  assert_int_equal(300 >> w->growth.level_count, 100 >> w->growth.level_count);
}

static void a_stored_edge_comes_back(void **state) {
  struct world *w = *state;
  static const struct merkle_edge empty;
  for (int size = 1; size < 70; size++) {
    struct buf packed;
    struct merkle_edge read = {0};
    grow(w, &empty, size);
    buf_init(&packed, 4096);
    assert_true(merkle_edge_pack(&w->growth.after, &packed));
    struct str text = str_of(buf_bytes(&packed), buf_len(&packed));
    assert_true(merkle_edge_unpack(text, size, &read));
    struct merkle_hash root = merkle_edge_root(&read, w->hasher);
    struct merkle_hash expected = tree_head(w, 0, size);
    assert_same(&root, &expected);
    assert_false(merkle_edge_unpack(str_of(text.data, text.len - 1), size, &read));
    assert_false(merkle_edge_unpack(text, 0, &read));
    assert_false(merkle_edge_unpack(text, -1, &read));
    buf_deinit(&packed);
  }
}

/* Nobody has that many leaves, but a size may say so. */
static void the_highest_log_has_room(void **state) {
  struct world *w = *state;
  struct merkle_edge edge = {.size = INT64_MAX - 2};
  struct merkle_hash path[MERKLE_LEVELS];
  merkle_growth_begin(&w->growth, &edge, 2)[0] = w->leaves[0];
  w->growth.nodes[1] = w->leaves[1];
  merkle_growth_finish(&w->growth, w->hasher);
  assert_int_equal(w->growth.after.size, INT64_MAX);
  assert_int_equal(merkle_growth_proof(&w->growth, w->hasher, INT64_MAX - 1, path), 62);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(roots_are_those_that_others_publish, set_up, tear_down),
      cmocka_unit_test_setup_teardown(
          any_batch_on_any_log_gives_the_root_and_proofs_of_the_definition, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_large_batch_has_its_proofs_too, set_up, tear_down),
      cmocka_unit_test_setup_teardown(new_nodes_are_the_complete_subtrees, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_stored_edge_comes_back, set_up, tear_down),
      cmocka_unit_test_setup_teardown(the_highest_log_has_room, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
