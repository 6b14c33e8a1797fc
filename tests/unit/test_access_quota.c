/*
 * Quotas: a second's worth at once, the rest in its time; and who is remembered for them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "access/principals.h"

#define S  INT64_C(1000000)
#define MS INT64_C(1000)

/* Takes it if it may be had, and returns how long it would have to wait. */
static int64_t take(struct quota *quota, int64_t amount, int64_t per_second, int64_t now_us) {
  const struct quota_share share = {amount, per_second};
  int64_t wait_us = quota_wait_us(quota, share, now_us);
  if (wait_us == 0)
    quota_take(quota, share, now_us);
  return wait_us;
}

static void a_second_s_worth_may_be_had_at_once(void **state) {
  (void)state;
  struct quota quota = {0};
  int64_t now = 1000 * S;
  for (int i = 0; i < 10; i++)
    assert_int_equal(take(&quota, 1, 10, now), 0);
  assert_int_equal(take(&quota, 1, 10, now), 100 * MS);
  assert_int_equal(take(&quota, 3, 10, now), 100 * MS);
  assert_int_equal(take(&quota, 1, 10, now + 99 * MS), 1 * MS);
  assert_int_equal(take(&quota, 1, 10, now + 100 * MS), 0);
  assert_int_equal(take(&quota, 1, 10, now + 100 * MS), 100 * MS);
}

static void silence_earns_no_more_than_a_second_s_worth(void **state) {
  (void)state;
  struct quota quota = {0};
  int64_t now = 1000 * S;
  assert_int_equal(take(&quota, 10, 10, now), 0);
  now += 3600 * S;
  assert_int_equal(take(&quota, 10, 10, now), 0);
  assert_int_equal(take(&quota, 1, 10, now), 100 * MS);
}

static void what_is_larger_is_let_through_and_paid_off(void **state) {
  (void)state;
  struct quota quota = {0};
  int64_t now = 1000 * S;
  assert_int_equal(take(&quota, 50, 10, now), 0);
  assert_int_equal(take(&quota, 1, 10, now), 4 * S + 100 * MS);
  assert_int_equal(take(&quota, 50, 10, now), 4 * S + 100 * MS);
  now += 4 * S + 100 * MS;
  assert_int_equal(take(&quota, 50, 10, now - 1), 1);
  assert_int_equal(take(&quota, 50, 10, now), 0);
  assert_int_equal(take(&quota, 1, 10, now), 5 * S);
}

static void one_in_a_second_is_one_in_a_second(void **state) {
  (void)state;
  struct quota quota = {0};
  int64_t now = 1000 * S;
  assert_int_equal(take(&quota, 1, 1, now), 0);
  assert_int_equal(take(&quota, 1, 1, now), 1 * S);
  assert_int_equal(take(&quota, 3, 1, now + 1 * S - 1), 1);
  assert_int_equal(take(&quota, 3, 1, now + 1 * S), 0);
  assert_int_equal(take(&quota, 1, 1, now + 1 * S), 3 * S);
}

/* A client that sends as often as it may, and asks again when it was told to. */
struct client {
  int64_t amount;
  int64_t next_us;
  int64_t taken;
};

static void send_when_due(struct client *client, struct quota *quota, int64_t per_second,
                          int64_t now_us) {
  if (now_us < client->next_us)
    return;
  int64_t wait_us = take(quota, client->amount, per_second, now_us);
  if (wait_us == 0)
    client->taken += client->amount;
  client->next_us = now_us + wait_us + 1 * MS + (int64_t)(drand48() * 20 * (double)MS);
}

/* Both ask for more than the rate; one a few events at a time, one in batches of most of a second's
 * worth or more. */
static void large_requests_get_through_beside_small_ones(void **state) {
  (void)state;
  static const int64_t sizes[] = {60, 100, 250};
  for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
    struct quota quota = {0};
    struct client small = {.amount = 5};
    struct client large = {.amount = sizes[i]};
    srand48(7);
    for (int64_t now = 0; now < 1000 * S; now += 1 * MS) {
      send_when_due(&small, &quota, 100, now);
      send_when_due(&large, &quota, 100, now);
    }
    assert_in_range(large.taken, 10 * 1000, 100 * 1000);
    assert_in_range(small.taken, 100, 100 * 1000);
    assert_in_range(small.taken + large.taken, 98 * 1000, 100 * 1000 + 99 + sizes[i]);
  }
}

static void over_a_long_time_the_rate_holds(void **state) {
  (void)state;
  struct quota quota = {0};
  int64_t taken = 0;
  srand48(5);
  for (int64_t now = 0; now < 1000 * S; now += 20 * MS) {
    int64_t amount = (int64_t)(drand48() * 70);
    if (amount > 0 && take(&quota, amount, 100, now) == 0)
      taken += amount;
  }
  assert_in_range(taken, 99 * 1000, 100 * 1000 + 170);
}

static void another_rate_forgives_what_is_owed(void **state) {
  (void)state;
  struct quota quota = {0};
  int64_t now = 1000 * S;
  assert_int_equal(take(&quota, 1000, 1, now), 0);
  assert_int_equal(take(&quota, 1, 1, now), 1000 * S);
  assert_int_equal(take(&quota, 1, 0, now), 0);
  assert_int_equal(take(&quota, 1, 2, now), 0);
  assert_int_equal(take(&quota, 1, 2, now), 0);
  assert_int_equal(take(&quota, 1, 2, now), 500 * MS);
}

static void amounts_that_nobody_sends_do_not_overflow(void **state) {
  (void)state;
  struct quota quota = {0};
  assert_int_equal(take(&quota, INT64_MAX / 2, 1, 0), 0);
  assert_true(take(&quota, 1, 1, 0) > 0);
  assert_true(take(&quota, INT64_MAX, 1000, 0) >= 0);
}

/* ---- principals ---- */

static void the_same_text_is_the_same_principal(void **state) {
  (void)state;
  struct principals *principals = principals_new();
  struct principal *a = principals_get(principals, str_z("cn:a"));
  struct principal *b = principals_get(principals, str_z("cn:b"));
  assert_ptr_not_equal(a, b);
  assert_ptr_equal(principals_get(principals, str_z("cn:a")), a);
  assert_int_equal(principals_count(principals), 2);
  principal_release(a);
  principal_release(a);
  principal_release(b);
  assert_ptr_equal(principals_get(principals, str_z("cn:a")), a);
  principal_release(a);
  principals_free(principals);
}

static struct principal *number(struct principals *principals, int i) {
  char text[32];
  snprintf(text, sizeof(text), "cn:%d", i);
  return principals_get(principals, str_z(text));
}

static void who_was_away_longest_is_forgotten_first(void **state) {
  (void)state;
  struct principals *principals = principals_new();
  struct principal *held = number(principals, 0);
  struct principal *known = number(principals, 1);
  held->roles = known->roles = 7;
  principal_release(known);
  for (int i = 2; i < PRINCIPALS_MAX; i++)
    principal_release(number(principals, i));
  assert_int_equal(principals_count(principals), PRINCIPALS_MAX);
  principal_release(number(principals, 1)); /* is back */
  principal_release(number(principals, PRINCIPALS_MAX));
  principal_release(number(principals, PRINCIPALS_MAX + 1));
  assert_int_equal(principals_count(principals), PRINCIPALS_MAX);
  known = number(principals, 1);
  assert_int_equal(known->roles, 7);
  principal_release(known);
  struct principal *again = number(principals, 0);
  assert_ptr_not_equal(again, held);
  assert_int_equal(again->roles, 0);
  principal_release(again);
  assert_int_equal(held->roles, 7); /* is valid as long as it is held */
  principals_free(principals);
  assert_memory_equal(held->text, "cn:0", 4);
  principal_release(held);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_second_s_worth_may_be_had_at_once),
      cmocka_unit_test(silence_earns_no_more_than_a_second_s_worth),
      cmocka_unit_test(what_is_larger_is_let_through_and_paid_off),
      cmocka_unit_test(one_in_a_second_is_one_in_a_second),
      cmocka_unit_test(large_requests_get_through_beside_small_ones),
      cmocka_unit_test(over_a_long_time_the_rate_holds),
      cmocka_unit_test(another_rate_forgives_what_is_owed),
      cmocka_unit_test(amounts_that_nobody_sends_do_not_overflow),
      cmocka_unit_test(the_same_text_is_the_same_principal),
      cmocka_unit_test(who_was_away_longest_is_forgotten_first),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
