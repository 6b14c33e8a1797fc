#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "grpc/wire.h"

/* ---- codes ---- */

static void codes_have_their_names(void **state) {
  (void)state;
  assert_string_equal(grpc_code_name(GRPC_OK), "OK");
  assert_string_equal(grpc_code_name(GRPC_INVALID_ARGUMENT), "INVALID_ARGUMENT");
  assert_string_equal(grpc_code_name(GRPC_UNAUTHENTICATED), "UNAUTHENTICATED");
  assert_string_equal(grpc_code_name(17), "UNKNOWN");
  assert_string_equal(grpc_code_name(-1), "UNKNOWN");
}

/* ---- timeouts ---- */

static void timeouts_of_every_unit_are_parsed(void **state) {
  static const struct {
    const char *text;
    int64_t us;
  } good[] = {
      {"1H", 3600000000},
      {"2M", 120000000},
      {"10S", 10000000},
      {"1986m", 1986000},
      {"19999985u", 19999985},
      {"1000n", 1},
      {"1001n", 2},
      {"1n", 1},
      {"0m", 0},
      {"0n", 0},
      {"00000001S", 1000000},
      {"99999999S", 99999999000000},
      {"99999999H", 359999996400000000},
  };
  (void)state;
  for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
    int64_t us = -1;
    assert_true(grpc_timeout_parse(str_z(good[i].text), &us));
    assert_true(us == good[i].us);
  }
}

static void malformed_timeouts_are_refused(void **state) {
  static const char *const bad[] = {"",    "1",   "S",    "1s",         "1h",  "-1S",  "+1S", "1 S",
                                    " 1S", "1S ", "1.5S", "123456789S", "1SS", "0x1S", "1\0S"};
  (void)state;
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    int64_t us = -7;
    assert_false(grpc_timeout_parse(str_z(bad[i]), &us));
    assert_true(us == -7);
  }
  int64_t us = -7;
  assert_false(grpc_timeout_parse(str_of("1\0S", 3), &us));
}

static void timeouts_are_written_in_the_shortest_exact_form(void **state) {
  static const struct {
    int64_t us;
    const char *text;
  } cases[] = {
      {1, "1u"},
      {1500, "1500u"},
      {1000, "1m"},
      {1500000, "1500m"},
      {5000000, "5S"},
      {60000000, "1M"},
      {3600000000, "1H"},
      {99999999, "99999999u"},
      {100000001, "100001m"}, /* nine digits of u: rounded up */
      {99999999001, "100000S"},
      {INT64_MAX, "99999999H"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    char text[GRPC_TIMEOUT_TEXT_SIZE];
    grpc_timeout_format(cases[i].us, text);
    assert_string_equal(text, cases[i].text);
  }
}

static void a_written_timeout_is_never_shorter_than_asked(void **state) {
  (void)state;
  for (int64_t us = 1; us < INT64_MAX / 8; us = us * 3 + 7) {
    char text[GRPC_TIMEOUT_TEXT_SIZE];
    int64_t parsed = -1;
    grpc_timeout_format(us, text);
    assert_true(grpc_timeout_parse(str_z(text), &parsed));
    assert_true(parsed >= us || parsed == 359999996400000000);
  }
}

/* ---- grpc-message ---- */

static void assert_bytes(const struct buf *b, const char *text) {
  assert_int_equal(buf_len(b), strlen(text));
  if (buf_len(b) > 0)
    assert_memory_equal(buf_bytes(b), text, buf_len(b));
}

static void messages_are_percent_encoded(void **state) {
  static const struct {
    const char *plain;
    const char *encoded;
  } cases[] = {
      {"", ""},
      {"plain text, with ~", "plain text, with ~"},
      {"100%", "100%25"},
      {"\t\ntest with whitespace\r\nand Unicode BMP \xe2\x98\xba and non-BMP \xf0\x9f\x98\x88\t\n",
       "%09%0Atest with whitespace%0D%0Aand Unicode BMP %E2%98%BA and non-BMP "
       "%F0%9F%98%88%09%0A"},
      {"\x7f", "%7F"},
      {"bad \xff byte", "bad %EF%BF%BD byte"},
      {"cut \xe2\x98", "cut %EF%BF%BD%EF%BF%BD"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct buf b;
    buf_init(&b, 1000);
    assert_true(grpc_message_encode(str_z(cases[i].plain), &b));
    assert_bytes(&b, cases[i].encoded);
    buf_deinit(&b);
  }
}

static void a_message_that_does_not_fit_leaves_the_buffer_alone(void **state) {
  struct buf b;
  (void)state;
  buf_init(&b, 8);
  assert_true(buf_append_str(&b, "ab"));
  assert_false(grpc_message_encode(str_z("1234%6"), &b));
  assert_bytes(&b, "ab");
  assert_true(grpc_message_encode(str_z("123%"), &b));
  assert_bytes(&b, "ab123%25");
  buf_deinit(&b);
}

static void messages_are_decoded_leniently(void **state) {
  static const struct {
    const char *encoded;
    const char *plain;
  } cases[] = {
      {"", ""},
      {"plain", "plain"},
      {"100%25", "100%"},
      {"%e2%98%BA", "\xe2\x98\xba"},
      {"50% off", "50% off"},
      {"%", "%"},
      {"%4", "%4"},
      {"%zz%41", "%zzA"},
      {"a%2", "a%2"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct buf b;
    buf_init(&b, 1000);
    assert_true(grpc_message_decode(str_z(cases[i].encoded), &b));
    assert_bytes(&b, cases[i].plain);
    buf_deinit(&b);
  }
}

/* ---- base64 ---- */

static void base64_has_the_standard_vectors_without_padding(void **state) {
  static const struct {
    const char *plain;
    const char *bare;
    const char *padded;
  } cases[] = {
      {"", "", ""},
      {"f", "Zg", "Zg=="},
      {"fo", "Zm8", "Zm8="},
      {"foo", "Zm9v", "Zm9v"},
      {"foob", "Zm9vYg", "Zm9vYg=="},
      {"fooba", "Zm9vYmE", "Zm9vYmE="},
      {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
      {"\xfb\xff", "+/8", "+/8="},
  };
  (void)state;
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct buf b;
    buf_init(&b, 100);
    assert_true(grpc_base64_encode(str_z(cases[i].plain), &b));
    assert_bytes(&b, cases[i].bare);
    buf_clear(&b);
    assert_true(grpc_base64_decode(str_z(cases[i].bare), &b));
    assert_bytes(&b, cases[i].plain);
    buf_clear(&b);
    assert_true(grpc_base64_decode(str_z(cases[i].padded), &b));
    assert_bytes(&b, cases[i].plain);
    buf_deinit(&b);
  }
}

static void base64_of_every_length_comes_back(void **state) {
  uint8_t bytes[64];
  (void)state;
  for (size_t i = 0; i < sizeof(bytes); i++)
    bytes[i] = (uint8_t)(i * 37 + 11);
  for (size_t len = 0; len <= sizeof(bytes); len++) {
    struct buf text;
    struct buf back;
    buf_init(&text, 200);
    buf_init(&back, 200);
    assert_true(grpc_base64_encode(str_of(bytes, len), &text));
    assert_true(grpc_base64_decode(str_of(len ? buf_bytes(&text) : bytes, buf_len(&text)), &back));
    assert_int_equal(buf_len(&back), len);
    if (len > 0)
      assert_memory_equal(buf_bytes(&back), bytes, len);
    buf_deinit(&text);
    buf_deinit(&back);
  }
}

static void malformed_base64_is_refused(void **state) {
  static const char *const bad[] = {
      "Z", "Zm9vY", "Zg=", "Zm8==", "=", "====", "Zm 8", "Zm-_", "Zm8=x", "Z===", "Zm9v="};
  (void)state;
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    struct buf b;
    buf_init(&b, 100);
    assert_false(grpc_base64_decode(str_z(bad[i]), &b));
    assert_int_equal(buf_len(&b), 0);
    buf_deinit(&b);
  }
}

static void base64_that_does_not_fit_is_refused(void **state) {
  struct buf b;
  (void)state;
  buf_init(&b, 3);
  assert_false(grpc_base64_encode(str_z("foo"), &b));
  assert_true(grpc_base64_encode(str_z("fo"), &b));
  assert_false(grpc_base64_decode(str_z("Zm8"), &b));
  buf_deinit(&b);
}

/* ---- keys ---- */

static void metadata_keys_are_checked(void **state) {
  static const char *const good[] = {"x-trace-id", "a", "0", "a_b.c-d", "trace-bin", "terse"};
  static const char *const bad[] = {"",     "X-Trace",  "a b",       "a:b",          ":path",
                                    "te",   "grpc-",    "grpc-x",    "content-type", "user-agent",
                                    "host", "\xc3\xa4", "connection"};
  (void)state;
  for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
    assert_true(grpc_metadata_key_is_valid(str_z(good[i])));
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
    assert_false(grpc_metadata_key_is_valid(str_z(bad[i])));
}

/* ---- deframer ---- */

/* Three messages: "", "abc", "de". */
static const uint8_t three[] = {0,   0,   0,   0, 0, 0, 0, 0, 0,   3,
                                'a', 'b', 'c', 0, 0, 0, 0, 2, 'd', 'e'};

struct taken {
  char text[64];
  int count;
};

static enum grpc_deframe_result take_all(struct grpc_deframer *d, const uint8_t *data, size_t len,
                                         struct taken *taken) {
  /* A copy of just the right size, so that a read beyond it is seen. */
  uint8_t *copy = malloc(len ? len : 1);
  assert_non_null(copy);
  memcpy(copy, data, len);
  const uint8_t *p = copy;
  enum grpc_deframe_result result = GRPC_DEFRAME_MORE;
  do {
    result = grpc_deframer_feed(d, &p, &len);
    if (result != GRPC_DEFRAME_MESSAGE)
      break;
    size_t at = strlen(taken->text);
    if (buf_len(&d->body) > 0)
      memcpy(taken->text + at, buf_bytes(&d->body), buf_len(&d->body));
    taken->text[at + buf_len(&d->body)] = '|';
    taken->count++;
    grpc_deframer_next(d);
  } while (len > 0);
  free(copy);
  return result;
}

static void messages_come_out_whole_however_they_are_split_in_three(void **state) {
  (void)state;
  for (size_t i = 0; i <= sizeof(three); i++) {
    for (size_t j = i; j <= sizeof(three); j++) {
      struct grpc_deframer d;
      struct taken taken = {0};
      grpc_deframer_init(&d, 100);
      take_all(&d, three, i, &taken);
      take_all(&d, three + i, j - i, &taken);
      take_all(&d, three + j, sizeof(three) - j, &taken);
      assert_int_equal(taken.count, 3);
      assert_string_equal(taken.text, "|abc|de|");
      assert_false(grpc_deframer_is_partial(&d));
      grpc_deframer_deinit(&d);
    }
  }
}

static void messages_come_out_whole_byte_by_byte(void **state) {
  struct grpc_deframer d;
  struct taken taken = {0};
  (void)state;
  grpc_deframer_init(&d, 100);
  for (size_t i = 0; i < sizeof(three); i++) {
    bool ends = i == 4 || i == 12 || i == sizeof(three) - 1;
    take_all(&d, three + i, 1, &taken);
    assert_int_equal(grpc_deframer_is_partial(&d), !ends);
  }
  assert_string_equal(taken.text, "|abc|de|");
  grpc_deframer_deinit(&d);
}

static enum grpc_deframe_result feed_prefix(const uint8_t prefix[5], size_t max) {
  struct grpc_deframer d;
  const uint8_t *p = prefix;
  size_t len = 5;
  grpc_deframer_init(&d, max);
  enum grpc_deframe_result result = grpc_deframer_feed(&d, &p, &len);
  const uint8_t more[] = {1, 2, 3};
  const uint8_t *q = more;
  size_t more_len = sizeof(more);
  if (result != GRPC_DEFRAME_MORE) {
    assert_int_equal(grpc_deframer_feed(&d, &q, &more_len), result);
    assert_int_equal(more_len, sizeof(more));
  }
  assert_int_equal(buf_len(&d.body), 0);
  grpc_deframer_deinit(&d);
  return result;
}

static void a_length_above_the_maximum_is_refused_at_the_prefix(void **state) {
  (void)state;
  assert_int_equal(feed_prefix((uint8_t[]){0, 0, 0, 0, 101}, 100), GRPC_DEFRAME_TOO_LARGE);
  assert_int_equal(feed_prefix((uint8_t[]){0, 0, 0, 0, 100}, 100), GRPC_DEFRAME_MORE);
  assert_int_equal(feed_prefix((uint8_t[]){0, 255, 255, 255, 255}, 100), GRPC_DEFRAME_TOO_LARGE);
}

static void flags_other_than_zero_are_refused_at_the_prefix(void **state) {
  (void)state;
  assert_int_equal(feed_prefix((uint8_t[]){1, 0, 0, 0, 1}, 100), GRPC_DEFRAME_COMPRESSED);
  assert_int_equal(feed_prefix((uint8_t[]){2, 0, 0, 0, 1}, 100), GRPC_DEFRAME_BAD_FLAG);
  assert_int_equal(feed_prefix((uint8_t[]){255, 255, 255, 255, 255}, 100), GRPC_DEFRAME_BAD_FLAG);
}

static void memory_follows_the_bytes_that_came(void **state) {
  struct grpc_deframer d;
  const uint8_t prefix[] = {0, 0x3f, 0xff, 0xff, 0xff, 'x'};
  const uint8_t *p = prefix;
  size_t len = sizeof(prefix);
  (void)state;
  grpc_deframer_init(&d, (size_t)1 << 30);
  assert_int_equal(grpc_deframer_feed(&d, &p, &len), GRPC_DEFRAME_MORE);
  assert_true(d.body.cap < 65536);
  grpc_deframer_deinit(&d);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(codes_have_their_names),
      cmocka_unit_test(timeouts_of_every_unit_are_parsed),
      cmocka_unit_test(malformed_timeouts_are_refused),
      cmocka_unit_test(timeouts_are_written_in_the_shortest_exact_form),
      cmocka_unit_test(a_written_timeout_is_never_shorter_than_asked),
      cmocka_unit_test(messages_are_percent_encoded),
      cmocka_unit_test(a_message_that_does_not_fit_leaves_the_buffer_alone),
      cmocka_unit_test(messages_are_decoded_leniently),
      cmocka_unit_test(base64_has_the_standard_vectors_without_padding),
      cmocka_unit_test(base64_of_every_length_comes_back),
      cmocka_unit_test(malformed_base64_is_refused),
      cmocka_unit_test(base64_that_does_not_fit_is_refused),
      cmocka_unit_test(metadata_keys_are_checked),
      cmocka_unit_test(messages_come_out_whole_however_they_are_split_in_three),
      cmocka_unit_test(messages_come_out_whole_byte_by_byte),
      cmocka_unit_test(a_length_above_the_maximum_is_refused_at_the_prefix),
      cmocka_unit_test(flags_other_than_zero_are_refused_at_the_prefix),
      cmocka_unit_test(memory_follows_the_bytes_that_came),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
