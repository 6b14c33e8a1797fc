/*
 * The token file: what it may hold, what is refused, what is found.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "access/tokens.h"
#include "base/buf.h"

#define HASH_A "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
/* SHA-256 of the empty text */
#define HASH_OF_NOTHING "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define HASH_B          "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"

static void hash_of(uint8_t first, uint8_t ret_hash[TOKEN_HASH_SIZE]) {
  for (unsigned i = 0; i < TOKEN_HASH_SIZE; i++)
    ret_hash[i] = (uint8_t)(first == 0 ? (i % 16) * 0x11 : (15 - i % 16) * 0x11);
}

static struct tokens *parse(const char *text) {
  struct tokens *tokens = NULL;
  struct error err = {0};
  assert_int_equal(tokens_parse(str_z(text), "file", &tokens, &err), 0);
  return tokens;
}

static void names_are_found_by_their_hashes(void **state) {
  (void)state;
  uint8_t a[TOKEN_HASH_SIZE];
  uint8_t b[TOKEN_HASH_SIZE];
  hash_of(0, a);
  hash_of(1, b);
  struct tokens *tokens = parse("# comment\n\n  \t\r\nci " HASH_A "\n \tdash-board.1@x+y/z\t" HASH_B
                                " \r\n  # another");
  assert_int_equal(tokens_count(tokens), 2);
  assert_string_equal(tokens_find(tokens, a), "ci");
  assert_string_equal(tokens_find(tokens, b), "dash-board.1@x+y/z");
  for (int bit = 0; bit < TOKEN_HASH_SIZE * 8; bit++) {
    a[bit / 8] ^= (uint8_t)(1 << bit % 8);
    assert_null(tokens_find(tokens, a));
    a[bit / 8] ^= (uint8_t)(1 << bit % 8);
  }
  tokens_free(tokens);
  assert_null(tokens_find(NULL, a));
  assert_int_equal(tokens_count(NULL), 0);
}

static void one_name_may_have_several_tokens(void **state) {
  (void)state;
  uint8_t hash[TOKEN_HASH_SIZE];
  struct tokens *tokens = parse("ci " HASH_A "\nci " HASH_B);
  for (uint8_t i = 0; i < 2; i++) {
    hash_of(i, hash);
    assert_string_equal(tokens_find(tokens, hash), "ci");
  }
  tokens_free(tokens);
}

static void an_empty_file_knows_nobody(void **state) {
  (void)state;
  uint8_t hash[TOKEN_HASH_SIZE] = {0};
  struct tokens *tokens = parse("");
  assert_int_equal(tokens_count(tokens), 0);
  assert_null(tokens_find(tokens, hash));
  tokens_free(tokens);
}

static void what_is_wrong_is_told_with_its_line(void **state) {
  (void)state;
  static const struct {
    const char *text, *expected;
  } cases[] = {
      {"ci", "file:1: must be NAME and the SHA-256"},
      {"\n\nci 00", "file:3: must be NAME and the SHA-256"},
      {"ci " HASH_A "0", "file:1: must be NAME"},
      {"ci " HASH_A " # comment", "file:1: must be NAME"},
      {"c:i " HASH_A, "file:1: a token's name"},
      {".ci " HASH_A, "file:1: a token's name"},
      {"c\xC3\xA4 " HASH_A, "file:1: a token's name"},
      {"ci " HASH_A "\nx " HASH_OF_NOTHING,
       "file:2: this is the hash of the empty text, which is no token; auditstored token NAME "
       "makes "
       "one"},
      {"ci " HASH_A "\nci " HASH_A, "file:2: the same token as in line 1"},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct tokens *tokens = NULL;
    struct error err = {0};
    int rc = tokens_parse(str_z(cases[i].text), "file", &tokens, &err);
    assert_int_equal(rc, ERR_FAILED_PRECONDITION);
    assert_null(tokens);
    assert_memory_equal(err.text, cases[i].expected, strlen(cases[i].expected));
  }
  const char nul[] = "c\0i " HASH_A;
  struct tokens *tokens = NULL;
  struct error err = {0};
  assert_true(tokens_parse(str_of(nul, sizeof(nul) - 1), "file", &tokens, &err) < 0);
}

static void there_may_be_a_thousand(void **state) {
  (void)state;
  struct buf text;
  struct tokens *tokens = NULL;
  struct error err = {0};
  uint8_t hash[TOKEN_HASH_SIZE] = {0};
  buf_init(&text, 1 << 20);
  for (int i = 0; i < TOKENS_MAX; i++)
    buf_append_format(&text, "t%d %064x\n", i, i);
  assert_int_equal(tokens_parse(str_of(buf_bytes(&text), buf_len(&text)), "file", &tokens, &err),
                   0);
  hash[TOKEN_HASH_SIZE - 2] = 999 >> 8;
  hash[TOKEN_HASH_SIZE - 1] = 999 & 0xff;
  assert_string_equal(tokens_find(tokens, hash), "t999");
  tokens_free(tokens);
  buf_append_format(&text, "one-more %064x\n", TOKENS_MAX);
  assert_true(tokens_parse(str_of(buf_bytes(&text), buf_len(&text)), "file", &tokens, &err) < 0);
  assert_string_equal(err.text, "file:1001: at most 1000 tokens can be known");
  buf_deinit(&text);
}

static void what_is_no_file_is_named(void **state) {
  (void)state;
  struct tokens *tokens = NULL;
  struct error err = {0};
  struct secret_risk risk;
  assert_true(tokens_load("/nowhere/tokens", NULL, &tokens, &risk, &err) < 0);
  assert_non_null(strstr(err.text, "No such file"));
  assert_true(tokens_load("/", NULL, &tokens, &risk, &err) < 0);
  assert_non_null(strstr(err.text, "Is a directory"));
}

/* ---- while it is being written ---- */

struct file {
  char path[64];
  int fd; /* open for writing */
};

static void file_begin(struct file *f) {
  snprintf(f->path, sizeof(f->path), "/tmp/tokens.XXXXXX");
  f->fd = mkstemp(f->path);
  assert_true(f->fd >= 0);
}

static void file_put(const struct file *f, const char *text, size_t len) {
  assert_int_equal(write(f->fd, text, len), (ssize_t)len);
}

static void file_end_writing(struct file *f) {
  close(f->fd);
  f->fd = -1;
}

static int load(const struct file *f, struct tokens **ret_tokens) {
  struct secret_risk risk;
  struct error err = {0};
  *ret_tokens = NULL;
  return tokens_load(f->path, NULL, ret_tokens, &risk, &err);
}

static const char two[] = "ci " HASH_A "\nci " HASH_B "\n";

static void nothing_is_taken_while_a_writer_has_it(void **state) {
  (void)state;
  for (size_t cut = 0; cut < sizeof(two); cut++) {
    struct file f;
    struct tokens *tokens = NULL;
    file_begin(&f);
    file_put(&f, two, cut);
    assert_int_equal(load(&f, &tokens), ERR_UNAVAILABLE);
    assert_null(tokens);
    file_put(&f, two + cut, sizeof(two) - 1 - cut);
    assert_int_equal(load(&f, &tokens), ERR_UNAVAILABLE);
    file_end_writing(&f);
    assert_int_equal(load(&f, &tokens), 0);
    assert_int_equal(tokens_count(tokens), 2);
    tokens_free(tokens);
    unlink(f.path);
  }
}

/* The end of a line is the one cut that leaves a whole file. */
static void half_a_file_is_refused(void **state) {
  (void)state;
  const size_t first_line = strlen("ci " HASH_A "\n");
  for (size_t cut = 0; cut + 1 < sizeof(two); cut++) {
    struct file f;
    struct tokens *tokens = NULL;
    file_begin(&f);
    file_put(&f, two, cut);
    file_end_writing(&f);
    assert_int_equal(load(&f, &tokens), cut == first_line ? 0 : ERR_FAILED_PRECONDITION);
    tokens_free(tokens);
    unlink(f.path);
  }
}

static int load_again(const struct file *f, const struct tokens *held) {
  struct secret_risk risk;
  struct error err = {0};
  struct tokens *tokens = NULL;
  int rc = tokens_load(f->path, held, &tokens, &risk, &err);
  tokens_free(tokens);
  return rc;
}

/* Of another user's file the system doesn't tell who has it open. */
static void what_was_changed_in_its_place_waits_a_second(void **state) {
  (void)state;
  struct file f;
  struct file other;
  struct tokens *held = NULL;
  const struct timespec past[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
  if (geteuid() != 0)
    skip();
  file_begin(&f);
  file_begin(&other);
  assert_int_equal(fchmod(f.fd, 0644) | fchmod(other.fd, 0644), 0);
  file_put(&f, two, sizeof(two) - 1);
  file_put(&other, two, sizeof(two) - 1);
  assert_int_equal(load(&f, &held), ERR_UNAVAILABLE);
  assert_int_equal(seteuid(65534), 0);
  assert_int_equal(load(&f, &held), 0);
  assert_int_equal(load_again(&f, held), ERR_UNAVAILABLE);
  assert_int_equal(load_again(&other, held), 0);
  assert_int_equal(seteuid(0), 0);
  assert_int_equal(futimens(f.fd, past), 0);
  assert_int_equal(seteuid(65534), 0);
  assert_int_equal(load_again(&f, held), 0);
  assert_int_equal(seteuid(0), 0);
  tokens_free(held);
  file_end_writing(&f);
  file_end_writing(&other);
  unlink(f.path);
  unlink(other.path);
}

static void a_comment_says_that_nobody_is_known(void **state) {
  (void)state;
  struct file f;
  struct tokens *tokens = NULL;
  file_begin(&f);
  file_put(&f, "# nobody\n", strlen("# nobody\n"));
  file_end_writing(&f);
  assert_int_equal(load(&f, &tokens), 0);
  assert_int_equal(tokens_count(tokens), 0);
  tokens_free(tokens);
  unlink(f.path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(names_are_found_by_their_hashes),
      cmocka_unit_test(one_name_may_have_several_tokens),
      cmocka_unit_test(an_empty_file_knows_nobody),
      cmocka_unit_test(what_is_wrong_is_told_with_its_line),
      cmocka_unit_test(there_may_be_a_thousand),
      cmocka_unit_test(what_is_no_file_is_named),
      cmocka_unit_test(nothing_is_taken_while_a_writer_has_it),
      cmocka_unit_test(half_a_file_is_refused),
      cmocka_unit_test(what_was_changed_in_its_place_waits_a_second),
      cmocka_unit_test(a_comment_says_that_nobody_is_known),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
