#include "base/arena.h"
#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void an_arena_hands_out_aligned_memory_up_to_its_limit(void **state) {
  (void)state;
  struct arena a;
  arena_init(&a, 100000);
  size_t pieces = 0;
  for (void *p; (p = arena_alloc(&a, 1000)); pieces++) {
    assert_int_equal((uintptr_t)p % 16, 0);
    memset(p, 0xaa, 1000);
  }
  assert_int_equal(pieces, 100000 / 1008);
  assert_true(a.is_full);
  arena_deinit(&a);
}

static void a_piece_above_the_limit_is_refused_and_marked(void **state) {
  (void)state;
  struct arena a;
  arena_init(&a, 64);
  assert_null(arena_alloc(&a, 65));
  assert_true(a.is_full);
  assert_null(arena_alloc(&a, SIZE_MAX));
  assert_null(arena_calloc(&a, SIZE_MAX / 2, 4));
  assert_non_null(arena_alloc(&a, 64));
  arena_deinit(&a);
  /* Fits as it is, but not rounded up to the alignment. */
  arena_init(&a, 60);
  assert_null(arena_alloc(&a, 50));
  assert_true(a.is_full && a.used_bytes == 0);
  arena_deinit(&a);
}

static void arena_copies_are_terminated_and_zeroed(void **state) {
  (void)state;
  struct arena a;
  arena_init(&a, 4096);
  assert_string_equal(arena_strdup(&a, str_of("hello", 4)), "hell");
  assert_string_equal(arena_strdup(&a, str_of(NULL, 0)), "");
  const char *zeroed = arena_calloc(&a, 10, 10);
  for (int i = 0; i < 100; i++)
    assert_int_equal(zeroed[i], 0);
  assert_non_null(arena_alloc(&a, 0));
  arena_deinit(&a);
}

static void a_buffer_keeps_its_maximum(void **state) {
  (void)state;
  struct buf b;
  buf_init(&b, 10);
  assert_true(buf_append(&b, "12345678", 8));
  assert_false(buf_append(&b, "abc", 3));
  assert_int_equal(buf_len(&b), 8);
  buf_consume(&b, 5);
  assert_true(buf_append(&b, "abcdefg", 7));
  assert_memory_equal(buf_bytes(&b), "678abcdefg", 10);
  assert_false(buf_append_be16(&b, 1));
  buf_deinit(&b);
}

static void numbers_are_big_endian(void **state) {
  (void)state;
  struct buf b;
  buf_init(&b, 64);
  assert_true(buf_append_be16(&b, 0x0102) && buf_append_be32(&b, 0x03040506) &&
              buf_append_be64(&b, 0x0708090a0b0c0d0eULL));
  assert_memory_equal(buf_bytes(&b), "\1\2\3\4\5\6\7\10\11\12\13\14\15\16", 14);
  buf_deinit(&b);
}

static void a_queue_of_bytes_comes_out_as_it_went_in(void **state) {
  (void)state;
  struct buf b;
  buf_init(&b, 5000);
  uint32_t in = 0;
  uint32_t out = 0;
  for (int round = 0; round < 20000; round++) {
    for (int i = 0; i < round % 7; i++)
      in += buf_append_be32(&b, in);
    for (int i = 0; i < round % 5 && buf_len(&b) > 0; i++) {
      const uint8_t *p = buf_bytes(&b);
      assert_int_equal((uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3],
                       out);
      out++;
      buf_consume(&b, 4);
    }
  }
  assert_true(out > 10000 && b.cap <= 16384);
  buf_deinit(&b);
}

static void formatted_text_is_appended_or_refused_whole(void **state) {
  (void)state;
  struct buf b;
  buf_init(&b, 12);
  assert_true(buf_append_format(&b, "%d-%s", 12, "ab"));
  assert_false(buf_append_format(&b, "%s", "too long for it"));
  assert_int_equal(buf_len(&b), 5);
  assert_memory_equal(buf_bytes(&b), "12-ab", 5);
  buf_clear(&b);
  assert_int_equal(buf_len(&b), 0);
  buf_deinit(&b);
}

static void a_size_that_rounding_would_wrap_is_refused(void **state) {
  (void)state;
  struct arena a;
  arena_init(&a, SIZE_MAX);
  assert_null(arena_alloc(&a, SIZE_MAX - 3));
  assert_true(a.is_full);
  arena_deinit(&a);
}

static void formatted_text_may_fill_the_maximum(void **state) {
  (void)state;
  struct buf b;
  buf_init(&b, 5);
  assert_true(buf_append_format(&b, "%s", "hello"));
  assert_memory_equal(buf_bytes(&b), "hello", 5);
  assert_false(buf_append_format(&b, "%d", 1));
  buf_deinit(&b);
}

static void an_empty_buffer_can_be_read(void **state) {
  (void)state;
  struct buf b;
  buf_init(&b, 10);
  assert_null(buf_bytes(&b));
  assert_int_equal(buf_len(&b), 0);
  buf_consume(&b, 0);
  assert_true(buf_append(&b, NULL, 0));
  buf_deinit(&b);
}

/* ---- budgets ---- */

static void what_is_taken_counts_all_the_way_up_or_not_at_all(void **state) {
  (void)state;
  struct budget all = {.limit_bytes = 100};
  struct budget one = {.parent = &all};
  struct budget other = {.parent = &all, .limit_bytes = 50};
  assert_true(budget_take(&one, 60));
  assert_false(budget_take(&other, 41));
  assert_int_equal(other.used_bytes, 0);
  assert_int_equal(all.used_bytes, 60);
  assert_true(budget_take(&other, 40));
  assert_false(budget_take(&one, 1));
  budget_force(&one, 30);
  assert_int_equal(all.used_bytes, 130);
  assert_false(budget_take(&other, 1));
  budget_give(&one, 90);
  assert_int_equal(all.used_bytes, 40);
  assert_false(budget_take(&other, 11));
  assert_true(budget_take(&other, 10));
  assert_true(budget_take(NULL, SIZE_MAX));
}

static void a_buffer_takes_its_memory_from_its_budget(void **state) {
  (void)state;
  static const char bytes[5000];
  struct budget all = {.limit_bytes = 8192};
  struct buf b;
  buf_init_counted(&b, SIZE_MAX / 2, &all);
  assert_int_equal(all.used_bytes, 0);
  assert_true(buf_append(&b, bytes, sizeof(bytes)));
  assert_int_equal(all.used_bytes, b.cap);
  assert_false(buf_append(&b, bytes, sizeof(bytes)));
  assert_int_equal(buf_len(&b), sizeof(bytes));
  buf_deinit(&b);
  assert_int_equal(all.used_bytes, 0);
  assert_true(buf_append(&b, bytes, sizeof(bytes)));
  buf_deinit(&b);
  assert_int_equal(all.used_bytes, 0);
}

static void an_arena_takes_its_memory_from_its_budget(void **state) {
  (void)state;
  struct budget all = {.limit_bytes = 8192};
  struct arena a;
  arena_init_counted(&a, 1000000, &all);
  assert_non_null(arena_alloc(&a, 100));
  assert_int_equal(all.used_bytes, a.chunk_bytes);
  assert_null(arena_alloc(&a, 100000));
  assert_true(a.is_full && a.is_short);
  arena_deinit(&a);
  assert_int_equal(all.used_bytes, 0);
  arena_init_counted(&a, 50, &all);
  assert_null(arena_alloc(&a, 100));
  assert_true(a.is_full && !a.is_short);
  arena_deinit(&a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_arena_hands_out_aligned_memory_up_to_its_limit),
      cmocka_unit_test(a_piece_above_the_limit_is_refused_and_marked),
      cmocka_unit_test(arena_copies_are_terminated_and_zeroed),
      cmocka_unit_test(a_buffer_keeps_its_maximum),
      cmocka_unit_test(numbers_are_big_endian),
      cmocka_unit_test(a_queue_of_bytes_comes_out_as_it_went_in),
      cmocka_unit_test(formatted_text_is_appended_or_refused_whole),
      cmocka_unit_test(a_size_that_rounding_would_wrap_is_refused),
      cmocka_unit_test(formatted_text_may_fill_the_maximum),
      cmocka_unit_test(an_empty_buffer_can_be_read),
      cmocka_unit_test(what_is_taken_counts_all_the_way_up_or_not_at_all),
      cmocka_unit_test(a_buffer_takes_its_memory_from_its_budget),
      cmocka_unit_test(an_arena_takes_its_memory_from_its_budget),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
