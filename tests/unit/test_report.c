#include "base/error.h"
#include "base/log.h"
#include "base/log_writer.h"
#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

static char line[32768];

/* What one log call writes. */
static const char *logged(enum log_format format, void (*call)(void)) {
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  log_configure(LOG_INFO, format);
  log_writer_set_fd(ends[1]);
  call();
  log_writer_set_fd(STDERR_FILENO);
  log_configure(LOG_INFO, LOG_TEXT);
  close(ends[1]);
  ssize_t len = read(ends[0], line, sizeof(line) - 1);
  close(ends[0]);
  line[len > 0 ? len : 0] = '\0';
  return line;
}

static void log_every_type(void) {
  log_warn("things happened", KV("int", -5), KV("big", UINT64_MAX), KV("flag", (bool)true),
           KV("ratio", 0.5), KV("plain", "abc"), KV("spaced", "a b"), KV("none", (char *)NULL));
}

static void log_nasty(void) {
  log_error("nasty", KV("v", "quote\" back\\ line\n bell\x07 bad\xff end"));
}

static void log_hidden(void) {
  log_debug("hidden");
}

static void log_long(void) {
  static char text[20000];
  memset(text, 'x', sizeof(text) - 1);
  log_info("long", KV("v", "kept"), KV("v", text));
}

static void text_lines_have_time_level_event_and_fields(void **state) {
  (void)state;
  const char *text = logged(LOG_TEXT, log_every_type);
  assert_int_equal(text[26], 'Z');
  assert_string_equal(text + 28,
                      "WARN  things happened int=-5 big=18446744073709551615 flag=true "
                      "ratio=0.5 plain=abc spaced=\"a b\" none=null\n");
}

static void json_lines_are_json(void **state) {
  (void)state;
  const char *text = logged(LOG_JSON, log_every_type);
  assert_memory_equal(text, "{\"time\":\"", 9);
  assert_string_equal(text + 36,
                      "\",\"level\":\"warn\",\"event\":\"things happened\",\"int\":-5,\"big\":"
                      "18446744073709551615,\"flag\":true,\"ratio\":0.5,\"plain\":\"abc\","
                      "\"spaced\":\"a b\",\"none\":null}\n");
}

static void nothing_in_a_value_can_break_the_line(void **state) {
  (void)state;
  const char *text = logged(LOG_JSON, log_nasty);
  assert_non_null(
      strstr(text, "\"v\":\"quote\\\" back\\\\ line\\n bell\\u0007 bad\xef\xbf\xbd end\"}\n"));
  text = logged(LOG_TEXT, log_nasty);
  assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

static void levels_below_the_threshold_are_silent(void **state) {
  (void)state;
  assert_string_equal(logged(LOG_TEXT, log_hidden), "");
}

static void a_line_too_long_is_cut_and_still_ends(void **state) {
  (void)state;
  const char *text = logged(LOG_TEXT, log_long);
  assert_true(strlen(text) <= 16384);
  assert_int_equal(text[strlen(text) - 1], '\n');
  assert_non_null(strstr(text, "v=kept"));
}

static char filler[20000];

static void log_filler(void) {
  log_info("long", KV("v", filler), KV("n", 12345));
}

/* Every length around the limit, of characters of one, two and six bytes on the line. */
static void a_cut_json_line_stays_well_formed(void **state) {
  (void)state;
  static const char *const pieces[] = {"x", "\xc3\xa9", "\x01"};
  static const size_t sizes[] = {1, 2, 6};
  for (size_t p = 0; p < sizeof(pieces) / sizeof(pieces[0]); p++) {
    for (size_t bytes = 16192; bytes < 16432; bytes++) {
      filler[0] = '\0';
      size_t at = 0;
      for (size_t i = 0; i < bytes / sizes[p]; i++, at += strlen(pieces[p]))
        memcpy(filler + at, pieces[p], strlen(pieces[p]) + 1);
      const char *text = logged(LOG_JSON, log_filler);
      size_t len = strlen(text);
      assert_true(len <= 16384 && utf8_valid_prefix(str_z(text)) == len);
      bool is_whole = strcmp(text + len - 13, "\",\"n\":12345}\n") == 0;
      bool is_cut = strcmp(text + len - 14, "\",\"cut\":true}\n") == 0;
      assert_true(is_whole != is_cut);
      assert_true(is_cut || bytes < 16384);
      assert_true(is_whole || bytes > 16242);
    }
  }
}

static void log_infinity(void) {
  log_info("ratio", KV("of", (double)__builtin_inf()));
}

static void a_number_that_json_lacks_is_null(void **state) {
  (void)state;
  assert_non_null(strstr(logged(LOG_JSON, log_infinity), "\"of\":null}\n"));
}

static void log_terminal_codes(void) {
  log_info("codes", KV("v",
                       "a\x1b[31m\xc2\x9b"
                       "31m"));
}

static void no_value_steers_a_terminal(void **state) {
  (void)state;
  assert_non_null(strstr(logged(LOG_TEXT, log_terminal_codes), "v=\"a\\u001b[31m\\u009b31m\"\n"));
}

static void an_error_keeps_its_first_cause_and_gains_context(void **state) {
  (void)state;
  struct error err = {0};
  assert_int_equal(error_set(&err, ERR_UNAVAILABLE, "port %d closed", 7), ERR_UNAVAILABLE);
  error_prefix(&err, "connecting to %s", "db");
  assert_string_equal(err.text, "connecting to db: port 7 closed");
  assert_int_equal(err.code, ERR_UNAVAILABLE);
  assert_int_equal(error_set(NULL, ERR_TIMEOUT, "x"), ERR_TIMEOUT);
}

static void context_that_fills_the_text_is_cut_not_overrun(void **state) {
  (void)state;
  struct error err = {0};
  char text[600];
  memset(text, 'a', sizeof(text) - 1);
  text[sizeof(text) - 1] = '\0';
  error_set(&err, ERR_INTERNAL, "%s", text);
  error_prefix(&err, "context");
  assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
  assert_memory_equal(err.text, "context: aaa", 12);
}

static void each_kind_of_error_has_its_code_on_the_wire(void **state) {
  (void)state;
  assert_int_equal(error_grpc_code(ERR_OK), 0);
  assert_int_equal(error_grpc_code(ERR_TIMEOUT), 4);
  assert_int_equal(error_grpc_code(ERR_EXHAUSTED), 8);
  assert_int_equal(error_grpc_code(ERR_UNAVAILABLE), 14);
  assert_true(error_is_retryable(ERR_UNAVAILABLE));
  assert_false(error_is_retryable(ERR_INVALID_ARGUMENT));
  assert_string_equal(error_name(ERR_UNAVAILABLE), "unavailable");
  assert_string_equal(error_name(ERR_OK), "ok");
#define EXPECT_ROW(name, value, grpc, retry, text)                                                 \
  assert_int_equal(error_grpc_code(ERR_##name), grpc);                                             \
  assert_int_equal(error_is_retryable(ERR_##name), retry);                                         \
  assert_string_equal(error_name(ERR_##name), text);
  ERROR_MAP(EXPECT_ROW)
#undef EXPECT_ROW
  assert_string_equal(error_name((enum error_code)(ERR_UNSUPPORTED - 1)), "unknown");
  assert_int_equal(error_grpc_code((enum error_code)(ERR_UNSUPPORTED - 1)), 2);
  assert_false(error_is_retryable((enum error_code)1));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(text_lines_have_time_level_event_and_fields),
      cmocka_unit_test(json_lines_are_json),
      cmocka_unit_test(nothing_in_a_value_can_break_the_line),
      cmocka_unit_test(levels_below_the_threshold_are_silent),
      cmocka_unit_test(a_line_too_long_is_cut_and_still_ends),
      cmocka_unit_test(a_cut_json_line_stays_well_formed),
      cmocka_unit_test(a_number_that_json_lacks_is_null),
      cmocka_unit_test(no_value_steers_a_terminal),
      cmocka_unit_test(an_error_keeps_its_first_cause_and_gains_context),
      cmocka_unit_test(context_that_fills_the_text_is_cut_not_overrun),
      cmocka_unit_test(each_kind_of_error_has_its_code_on_the_wire),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
