#include "base/roff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void expect_page(void (*put)(FILE *, const char *), const char *text, const char *expected) {
  char *page = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&page, &size);
  assert_non_null(out);
  put(out, text);
  fclose(out);
  assert_string_equal(page, expected);
  free(page);
}

static void nothing_in_a_text_is_taken_as_troff(void **state) {
  (void)state;
  expect_page(roff_text, ".TH", "\\&.TH\n");
  expect_page(roff_text, "a .b c.d", "a .b c.d\n");
  expect_page(roff_text, "'so x", "\\(aqso x\n");
  expect_page(roff_text, "a\\fBb", "a\\(rsfBb\n");
  expect_page(roff_text, "--all ~/x \"y\" ^", "\\-\\-all \\(ti/x \\(dqy\\(dq \\(ha\n");
  expect_page(roff_text, "see `a` and `b`", "see \\fBa\\fR and \\fBb\\fR\n");
  expect_page(roff_text, "First. .second", "First.\n\\&.second\n");
}

static void lines_end_with_sentences_and_before_they_are_long(void **state) {
  (void)state;
  char text[200] = "";
  char page[400];
  for (int i = 0; i < 20; i++)
    strncat(text, "1234567 ", sizeof(text) - strlen(text) - 1);
  /* Nine words and the blanks between them have 71 characters. */
  snprintf(page, sizeof(page), "%.71s\n%.71s\n%.15s\n", text, text, text);
  text[159] = '\0';
  expect_page(roff_text, text, page);
  expect_page(roff_text, "One. Two: three.", "One.\nTwo:\nthree.\n");
}

static void paragraphs_are_set_apart_and_examples_stand_as_they_are(void **state) {
  (void)state;
  expect_page(roff_paragraphs, "one\n\ntwo", "one\n.PP\ntwo\n");
  expect_page(roff_paragraphs, "one\n\n    a:\n      b  c\n    .d\n\ntwo",
              "one\n.PP\n.RS 4\n.nf\na:\n  b  c\n\\&.d\n.fi\n.RE\n.PP\ntwo\n");
}

static void words_are_bold_then_italic(void **state) {
  (void)state;
  char *page = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&page, &size);
  assert_non_null(out);
  roff_item(out);
  roff_words(out, "--ca", "FILE");
  roff_words(out, NULL, "FILE");
  roff_words(out, ".x", NULL);
  fclose(out);
  assert_string_equal(page, ".TP\n\\fB\\-\\-ca\\fR \\fIFILE\\fR\n\\fIFILE\\fR\n\\fB.x\\fR\n");
  free(page);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nothing_in_a_text_is_taken_as_troff),
      cmocka_unit_test(lines_end_with_sentences_and_before_they_are_long),
      cmocka_unit_test(paragraphs_are_set_apart_and_examples_stand_as_they_are),
      cmocka_unit_test(words_are_bold_then_italic),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
