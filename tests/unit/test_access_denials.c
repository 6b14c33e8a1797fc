/*
 * Denials: all are counted; few are logged and handed on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "access/denials.h"
#include "base/bucket.h"
#include "base/log.h"

#define S INT64_C(1000000)

struct recorder {
  int count;
  int64_t left_out; /* as told with all that were handed on */
  int64_t last_left_out;
  bool is_full;
};

static bool record(void *arg, const struct denial *denial) {
  struct recorder *recorder = arg;
  if (recorder->is_full)
    return false;
  recorder->count++;
  recorder->left_out += denial->left_out;
  recorder->last_left_out = denial->left_out;
  return true;
}

static void note(struct denials *denials, const char *principal, const char *address, int64_t now) {
  struct denial denial = {.reason = principal[0] ? DENIAL_ROLE_MISSING : DENIAL_CREDENTIALS_MISSING,
                          .principal = str_z(principal),
                          .address = str_z(address),
                          .method = "/x.Y/Z"};
  denials_note(denials, &denial, now);
}

static void one_source_is_heard_a_few_times_and_then_once_a_second(void **state) {
  (void)state;
  struct recorder recorder = {0};
  struct denials *denials = denials_new(0, record, &recorder);
  for (int i = 0; i < 100; i++)
    note(denials, "", "192.0.2.1", 1);
  assert_int_equal(recorder.count, 5);
  /* However often it asks: a hundred times a second for ten seconds. */
  for (int64_t now = 0; now < 10 * S; now += S / 100)
    note(denials, "", "192.0.2.1", now + 1);
  assert_in_range(recorder.count, 14, 16);
  const struct denial_stats *stats = denials_stats(denials);
  assert_int_equal(stats->denied[DENIAL_CREDENTIALS_MISSING], 1100);
  assert_int_equal(stats->left_out, 1100 - recorder.count);
  note(denials, "", "192.0.2.1", 20 * S);
  assert_int_equal(recorder.left_out, stats->left_out);
  assert_int_equal(stats->lost, 0);
  denials_free(denials);
}

static void one_source_does_not_hide_another(void **state) {
  (void)state;
  struct recorder recorder = {0};
  struct denials *denials = denials_new(0, record, &recorder);
  for (int i = 0; i < 100; i++)
    note(denials, "", "192.0.2.1", 1);
  note(denials, "", "192.0.2.2", 1);
  note(denials, "cn:alice", "192.0.2.1", 1);
  assert_int_equal(recorder.count, 7);
  assert_int_equal(denials_stats(denials)->denied[DENIAL_ROLE_MISSING], 1);
  denials_free(denials);
}

static void all_together_have_a_limit(void **state) {
  (void)state;
  struct recorder recorder = {0};
  struct denials *denials = denials_new(0, record, &recorder);
  for (int i = 0; i < 2000; i++) {
    char address[32];
    snprintf(address, sizeof(address), "198.51.%d.%d", i / 250, i % 250);
    note(denials, "", address, 1);
  }
  assert_int_equal(recorder.count, 100);
  denials_free(denials);
}

static void what_can_not_be_stored_is_lost_and_counted(void **state) {
  (void)state;
  struct recorder recorder = {.is_full = true};
  struct denials *denials = denials_new(0, record, &recorder);
  note(denials, "", "192.0.2.1", 1);
  assert_int_equal(denials_stats(denials)->lost, 1);
  recorder.is_full = false;
  note(denials, "", "192.0.2.1", 1);
  note(denials, "", "192.0.2.1", 1);
  denials_settled(denials, 0, true);
  denials_settled(denials, 0, false);
  assert_int_equal(denials_stats(denials)->stored, 1);
  assert_int_equal(denials_stats(denials)->lost, 2);
  denials_free(denials);
}

/* What a lost one would have told, the next one tells, and counts it. */
static void a_lost_one_is_told_of_by_the_next(void **state) {
  (void)state;
  struct recorder recorder = {0};
  struct denials *denials = denials_new(0, record, &recorder);
  for (int i = 0; i < 15; i++)
    note(denials, "", "192.0.2.1", 1); /* 10 are left out */
  note(denials, "", "192.0.2.2", 1);
  assert_int_equal(recorder.last_left_out, 10);
  denials_settled(denials, recorder.last_left_out, false);
  note(denials, "", "192.0.2.3", 1);
  assert_int_equal(recorder.last_left_out, 11);
  denials_settled(denials, recorder.last_left_out, true);
  note(denials, "", "192.0.2.4", 1);
  assert_int_equal(recorder.last_left_out, 0);
  recorder.is_full = true;
  note(denials, "", "192.0.2.5", 1);
  recorder.is_full = false;
  note(denials, "", "192.0.2.6", 1);
  assert_int_equal(recorder.last_left_out, 1);
  assert_int_equal(denials_stats(denials)->lost, 2);
  assert_int_equal(denials_stats(denials)->left_out, 10);
  denials_free(denials);
}

static void who_asks_often_gets_his_tokens_all_the_same(void **state) {
  (void)state;
  struct bucket bucket;
  int taken = 0;
  bucket_init(&bucket, 2, 3, 0);
  for (int64_t now = 0; now < 10 * S; now += 1000)
    taken += bucket_take(&bucket, now);
  assert_in_range(taken, 2 + 29, 2 + 30);
}

static int silence(void **state) {
  (void)state;
  log_configure(LOG_ERROR, LOG_TEXT);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_source_is_heard_a_few_times_and_then_once_a_second),
      cmocka_unit_test(one_source_does_not_hide_another),
      cmocka_unit_test(all_together_have_a_limit),
      cmocka_unit_test(what_can_not_be_stored_is_lost_and_counted),
      cmocka_unit_test(a_lost_one_is_told_of_by_the_next),
      cmocka_unit_test(who_asks_often_gets_his_tokens_all_the_same),
  };
  return cmocka_run_group_tests(tests, silence, NULL);
}
