/*
 * Page tokens: what goes in comes out, and nothing else is taken.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/timestamp.h"
#include "query/page_token.h"

static struct page_token sample(void) {
  struct page_token token = {
      .is_newest_first = true,
      .last = {.time_us = 1795420345123456, .ledger_id = 7, .sequence = 123456789012}};
  for (int i = 0; i < FILTER_FINGERPRINT_BYTES; i++)
    token.filter[i] = (uint8_t)(200 + i);
  return token;
}

/* Of the same filter and order, with no position yet. */
static struct page_token asking(const struct page_token *token) {
  struct page_token asked = *token;
  asked.last = (struct page_position){.time_us = 0};
  return asked;
}

static void a_token_gives_its_position_back(void **state) {
  (void)state;
  static const struct page_position positions[] = {{TIMESTAMP_MIN_US, 1, 0},
                                                   {-1, 2, 1},
                                                   {0, 255, 256},
                                                   {1795420345123456, 65536, 1LL << 40},
                                                   {TIMESTAMP_MAX_US, INT64_MAX, INT64_MAX}};
  for (size_t i = 0; i < sizeof(positions) / sizeof(positions[0]); i++) {
    struct page_token token = sample();
    token.last = positions[i];
    token.is_newest_first = i % 2 == 0;
    char text[PAGE_TOKEN_TEXT_LEN];
    page_token_format(&token, text);
    struct page_token read = asking(&token);
    assert_null(page_token_parse(str_of(text, sizeof(text)), &read));
    assert_memory_equal(&read.last, &positions[i], sizeof(positions[i]));
  }
}

static void a_token_with_any_character_changed_is_refused(void **state) {
  (void)state;
  struct page_token token = sample();
  char text[PAGE_TOKEN_TEXT_LEN];
  page_token_format(&token, text);
  for (size_t i = 0; i < sizeof(text); i++) {
    char changed[PAGE_TOKEN_TEXT_LEN];
    memcpy(changed, text, sizeof(text));
    changed[i] = text[i] == 'A' ? 'g' : 'A';
    struct page_token read = asking(&token);
    assert_non_null(page_token_parse(str_of(changed, sizeof(changed)), &read));
    assert_int_equal(read.last.time_us, 0);
  }
}

static void a_token_of_another_length_is_refused(void **state) {
  (void)state;
  struct page_token token = sample();
  char text[PAGE_TOKEN_TEXT_LEN + 1];
  page_token_format(&token, text);
  text[PAGE_TOKEN_TEXT_LEN] = 'A';
  for (size_t len = 0; len <= sizeof(text); len++) {
    struct page_token read = asking(&token);
    const char *fault = page_token_parse(str_of(text, len), &read);
    assert_int_equal(fault == NULL, len == PAGE_TOKEN_TEXT_LEN);
  }
  struct page_token read = asking(&token);
  char padded[PAGE_TOKEN_TEXT_LEN + 2];
  memcpy(padded, text, PAGE_TOKEN_TEXT_LEN);
  memset(padded + PAGE_TOKEN_TEXT_LEN, '=', 2);
  assert_non_null(page_token_parse(str_of(padded, sizeof(padded)), &read));
}

static void a_token_of_another_order_is_refused(void **state) {
  (void)state;
  struct page_token token = sample();
  char text[PAGE_TOKEN_TEXT_LEN];
  page_token_format(&token, text);
  token.is_newest_first = false;
  const char *fault = page_token_parse(str_of(text, sizeof(text)), &token);
  assert_non_null(fault);
  assert_non_null(strstr(fault, "order"));
}

static void a_token_of_another_filter_is_refused(void **state) {
  (void)state;
  struct page_token token = sample();
  char text[PAGE_TOKEN_TEXT_LEN];
  page_token_format(&token, text);
  token.filter[FILTER_FINGERPRINT_BYTES - 1] ^= 1;
  const char *fault = page_token_parse(str_of(text, sizeof(text)), &token);
  assert_non_null(fault);
  assert_non_null(strstr(fault, "filter"));
}

static void a_token_of_a_place_where_no_event_can_be_is_refused(void **state) {
  (void)state;
  static const struct page_position positions[] = {{TIMESTAMP_MIN_US - 1, 1, 1},
                                                   {TIMESTAMP_MAX_US + 1, 1, 1},
                                                   {INT64_MIN, 1, 1},
                                                   {INT64_MAX, 1, 1},
                                                   {0, 0, 1},
                                                   {0, -1, 1},
                                                   {0, INT64_MIN, 1},
                                                   {0, 1, -1},
                                                   {0, 1, INT64_MIN}};
  for (size_t i = 0; i < sizeof(positions) / sizeof(positions[0]); i++) {
    struct page_token token = sample();
    token.last = positions[i];
    char text[PAGE_TOKEN_TEXT_LEN];
    page_token_format(&token, text);
    struct page_token read = asking(&token);
    assert_non_null(page_token_parse(str_of(text, sizeof(text)), &read));
    assert_int_equal(read.last.ledger_id, 0);
  }
}

/* As the sample's filter and order had it, with a time and an id. */
#define TOKEN_OF_VERSION_1 "AQHIycrLzM3Oz9DR0tPU1dbXAAZg7N/kwoAADx4tPEtaaXiHlqW0w9LhE2UlbA"

static void a_token_of_another_version_says_so(void **state) {
  (void)state;
  struct page_token token = sample();
  struct page_token read = asking(&token);
  const char *fault = page_token_parse(str_z(TOKEN_OF_VERSION_1), &read);
  assert_non_null(fault);
  assert_non_null(strstr(fault, "another version"));
  assert_non_null(strstr(fault, "first page"));
  assert_int_equal(read.last.ledger_id, 0);
}

static void different_filters_have_different_fingerprints(void **state) {
  (void)state;
  Auditstore__V1__EventFilter empty = AUDITSTORE__V1__EVENT_FILTER__INIT;
  Auditstore__V1__EventFilter actor = AUDITSTORE__V1__EVENT_FILTER__INIT;
  Auditstore__V1__EventFilter resource = AUDITSTORE__V1__EVENT_FILTER__INIT;
  ProtobufCBinaryData value = {.len = 5, .data = (uint8_t *)"alice"};
  actor.n_actor_ids = 1;
  actor.actor_ids = &value;
  resource.n_resource_ids = 1;
  resource.resource_ids = &value;
  uint8_t prints[4][FILTER_FINGERPRINT_BYTES];
  filter_fingerprint(NULL, prints[0]);
  filter_fingerprint(&empty, prints[1]);
  filter_fingerprint(&actor, prints[2]);
  filter_fingerprint(&resource, prints[3]);
  assert_memory_equal(prints[0], prints[1], FILTER_FINGERPRINT_BYTES);
  assert_memory_not_equal(prints[1], prints[2], FILTER_FINGERPRINT_BYTES);
  assert_memory_not_equal(prints[2], prints[3], FILTER_FINGERPRINT_BYTES);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_token_gives_its_position_back),
      cmocka_unit_test(a_token_with_any_character_changed_is_refused),
      cmocka_unit_test(a_token_of_another_length_is_refused),
      cmocka_unit_test(a_token_of_another_order_is_refused),
      cmocka_unit_test(a_token_of_another_filter_is_refused),
      cmocka_unit_test(a_token_of_a_place_where_no_event_can_be_is_refused),
      cmocka_unit_test(a_token_of_another_version_says_so),
      cmocka_unit_test(different_filters_have_different_fingerprints),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
