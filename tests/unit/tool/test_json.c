/*
 * event_data as the tool writes it: one line, the same value, and for programs the same bytes.
 */
#include "json_message.h"
#include "text.h"

#include "auditstore/v1/event.pb-c.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DATA_MAX 4096
#define ROUNDS   3000

static char *write_event(const char *data, enum json_reader reader) {
  Auditstore__V1__AuditEvent event = AUDITSTORE__V1__AUDIT_EVENT__INIT;
  char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  assert_non_null(out);
  event.event_data = (char *)data;
  json_message_write(out, &event.base, reader);
  fclose(out);
  return text;
}

static void expect(const char *data, enum json_reader reader, const char *expected) {
  char wanted[512];
  char *text = write_event(data, reader);
  (void)snprintf(wanted, sizeof(wanted), "{\"event_data\":%s}", expected);
  assert_string_equal(text, wanted);
  free(text);
}

static void programs_get_the_bytes_but_for_line_breaks(void **state) {
  (void)state;
  const char *same = "{ \"\u202e\x7f\":\t\"\u2028\\u2028\\n\\\\\",\"n\":1.10 }";
  expect(same, JSON_FOR_PROGRAM, same);
  expect("{\r\n\t\"a\"\n:\n[\r]}\n", JSON_FOR_PROGRAM, "{  \t\"a\" : [ ]} ");
  /* A quote behind a backslash ends nothing, and one behind two does. */
  expect("{\"a\\\"\":\n\"\\\\\"\n}", JSON_FOR_PROGRAM, "{\"a\\\"\": \"\\\\\" }");
}

static void terminals_get_escapes(void **state) {
  (void)state;
  expect(
      "{\"\u202e\":\"a\x7f\xC2\x85\xC2\x9b"
      "31m\u200f\u05d0\u2066\"}",
      JSON_FOR_TERMINAL, "{\"\\u202e\":\"a\\u007f\\u0085\\u009b31m\\u200f\u05d0\\u2066\"}");
  expect("{\n\t\"a\":\t\"\\u202e\\n\"\r}", JSON_FOR_TERMINAL, "{  \"a\": \"\\u202e\\n\" }");
}

/* No store gives such a text; the line stays a line, and the terminal is safe. */
static void what_is_no_json_does_no_harm(void **state) {
  (void)state;
  expect("{\"a\":\"x\ny\x1b[2J\"}", JSON_FOR_PROGRAM, "{\"a\":\"x\\u000ay\\u001b[2J\"}");
  expect("{\"a\":\"\x9b\xff\"\x1b}", JSON_FOR_TERMINAL, "{\"a\":\"\uFFFD\uFFFD\"\\u001b}");
  expect("{\"a\":\"\\\n\"", JSON_FOR_PROGRAM, "{\"a\":\"\\\\u000a\"");
}

/* ---- any object ---- */

static void put(char *text, const char *piece) {
  size_t len = strlen(text);
  assert_true(len + strlen(piece) < DATA_MAX);
  memcpy(text + len, piece, strlen(piece) + 1);
}

#define PICK(list) ((list)[(size_t)random() % (sizeof(list) / sizeof((list)[0]))])

static void put_space(char *text) {
  static const char *const spaces[] = {"", "", " ", "\n", "\r\n", "\t", "  \r"};
  put(text, PICK(spaces));
}

static void put_string(char *text) {
  static const char *const pieces[] = {"a",       "\\\"",   "\\\\",      "\\n",
                                       "\\u202e", "\u202e", "\u2028",    "\xC2\x85",
                                       "\x7f",    "\u05d0", "{[",        "\\ud83d\\ude00",
                                       "\u200f",  ":,",     "\U0001f600"};
  put(text, "\"");
  for (long i = random() % 5; i > 0; i--)
    put(text, PICK(pieces));
  put(text, "\"");
}

static void put_object(char *text, int depth) {
  static const char *const scalars[] = {"1.10", "-0", "true", "null", "123456789012345"};
  long members = random() % 4;
  put(text, "{");
  put_space(text);
  for (long i = 0; i < members; i++) {
    put_string(text);
    put_space(text);
    put(text, ":");
    put_space(text);
    if (depth > 0 && random() % 2)
      put_object(text, depth - 1);
    else if (random() % 2)
      put_string(text);
    else
      put(text, PICK(scalars));
    put_space(text);
    put(text, i + 1 < members ? "," : "");
    put_space(text);
  }
  put(text, "}");
}

static void expect_same_value(const char *data, const char *line) {
  json_t *sent = json_loads(data, 0, NULL);
  json_t *event = json_loads(line, 0, NULL);
  if (!sent || !json_equal(sent, json_object_get(event, "event_data")))
    fail_msg("sent %s\ngot %s", data, line);
  json_decref(sent);
  json_decref(event);
}

static void any_object_stays_the_same_on_one_line(void **state) {
  (void)state;
  srandom(11);
  for (int i = 0; i < ROUNDS; i++) {
    char data[DATA_MAX] = "";
    put_object(data, 3);
    char *for_program = write_event(data, JSON_FOR_PROGRAM);
    char *for_terminal = write_event(data, JSON_FOR_TERMINAL);
    expect_same_value(data, for_program);
    expect_same_value(data, for_terminal);
    assert_null(strpbrk(for_program, "\r\n"));
    for (const char *at = for_terminal; *at;)
      assert_false(text_is_unsafe(text_next(&at)));
    for (char *at = data; (at = strpbrk(at, "\r\n"));)
      *at = ' ';
    assert_non_null(strstr(for_program, data));
    free(for_program);
    free(for_terminal);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(programs_get_the_bytes_but_for_line_breaks),
      cmocka_unit_test(terminals_get_escapes),
      cmocka_unit_test(what_is_no_json_does_no_harm),
      cmocka_unit_test(any_object_stays_the_same_on_one_line),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
