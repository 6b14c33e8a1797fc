/*
 * The file that keeps a memory of ledgers: its text, and that only a whole and right one is
 * believed.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/memory_fixture.h"

/* ---- the file ---- */

static void the_file_has_one_line_for_each_ledger(void **state) {
  struct world *w = *state;
  size_t len = 0;
  open_memory(w);
  note(w, 12, 345);
  note(w, 2, 0);
  close_memory(w);
  char *content = content_of(w, &len);
  static const char expected[] =
      "auditstore/memory/v1\naudit.example.com/prod\nlast 12\n"
      "2 0 AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAP8=\n"
      "12 345 DAAAAAAAAABZAQAAAAAAAAAAAAAAAAAAAAAAAAAAAP8=\n";
  assert_int_equal(len, strlen(expected) + 65);
  assert_memory_equal(content, expected, strlen(expected));
  free(content);
}

static void what_was_noted_is_known_to_the_next_process(void **state) {
  struct world *w = *state;
  open_memory(w);
  note(w, 1, 5);
  note(w, 1000001, 0);
  reopen(w);
  assert_known(w, 1, 5);
  assert_known(w, 1000001, 0);
  reopen(w);
  assert_known(w, 1, 5);
}

static void the_largest_id_outlives_its_ledger(void **state) {
  struct world *w = *state;
  open_memory(w);
  note(w, 9, 5);
  ledger_memory_reset(w->m, NULL, 0);
  reopen(w);
  assert_int_equal(ledger_memory_last_id(w->m), 9);
  assert_unknown(w, 9);
}

static void what_is_known_before_the_file_is_opened_joins_it(void **state) {
  struct world *w = *state;
  open_memory(w);
  note(w, 1, 5);
  note(w, 2, 5);
  close_memory(w);
  w->m = ledger_memory_new(&w->loop);
  note(w, 1, 4);
  note(w, 2, 6);
  open_memory(w);
  reopen(w);
  assert_known(w, 1, 5);
  assert_known(w, 2, 6);
}

static void the_file_is_its_owners_alone(void **state) {
  struct world *w = *state;
  struct stat status;
  mode_t before = umask(0);
  open_memory(w);
  close_memory(w);
  umask(before);
  assert_int_equal(stat(w->path, &status), 0);
  assert_int_equal(status.st_mode & 07777, 0600);
  assert_int_equal(stat(w->lock, &status), 0);
  assert_int_equal(status.st_mode & 07777, 0600);
  assert_int_equal(access(w->temporary, F_OK), -1);
}

static void a_hundred_thousand_ledgers_are_kept(void **state) {
  struct world *w = *state;
  open_memory(w);
  for (int64_t id = 1; id <= 100000; id++)
    note(w, id, 7 * id);
  reopen(w);
  assert_int_equal(stats_of(w).ledgers, 100000);
  for (int64_t id = 1; id <= 100000; id++)
    assert_known(w, id, 7 * id);
}

/* ---- a file that can't be relied on ---- */

static void make_file(struct world *w) {
  open_memory(w);
  note(w, 1, 5);
  note(w, 2, 1234567);
  close_memory(w);
  w->m = ledger_memory_new(&w->loop);
}

static void a_file_cut_anywhere_is_refused(void **state) {
  struct world *w = *state;
  size_t len = 0;
  make_file(w);
  char *content = content_of(w, &len);
  for (size_t cut = 0; cut < len; cut++) {
    put_content(w, content, cut);
    refuses_with(w, "torn or was edited");
  }
  assert_non_null(strstr(w->err.text, "move the file away"));
  free(content);
}

static void a_file_changed_anywhere_is_refused(void **state) {
  struct world *w = *state;
  size_t len = 0;
  make_file(w);
  char *content = content_of(w, &len);
  for (size_t i = 0; i < len; i++) {
    content[i] ^= 1;
    put_content(w, content, len);
    refuses_with(w, "torn or was edited");
    content[i] ^= 1;
  }
  put_content(w, content, len);
  open_memory(w);
  assert_known(w, 2, 1234567);
  free(content);
}

static void bytes_behind_the_end_are_refused(void **state) {
  struct world *w = *state;
  size_t len = 0;
  make_file(w);
  char *content = content_of(w, &len);
  content[len] = '\n'; /* the place of its NUL */
  put_content(w, content, len + 1);
  refuses_with(w, "torn or was edited");
  free(content);
}

/* By someone who makes the last line anew. */
static void well_hashed_nonsense_is_refused(void **state) {
  struct world *w = *state;
  static const struct ledger_known twice[] = {{.ledger_id = 5}, {.ledger_id = 5}};
  static const struct ledger_known beyond[] = {{.ledger_id = 5}, {.ledger_id = 11}};
  static const struct ledger_known none[] = {{.ledger_id = 0}, {.ledger_id = 5}};
  static const struct ledger_known below[] = {{.ledger_id = 5, .head.size = -1}, {.ledger_id = 6}};
  static const struct ledger_known *const texts[] = {twice, beyond, none, below};
  for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
    const struct memory_text text = {
        .origin = ORIGIN, .last_id = 10, .known = (struct ledger_known *)texts[i], .count = 2};
    assert_int_equal(memory_file_write(w->path, &text, &w->err), 0);
    refuses_with(w, "a line of it isn't one that a daemon writes");
  }
}

static void another_stores_file_is_refused(void **state) {
  struct world *w = *state;
  const struct memory_text text = {.origin = "audit.example.com/test"};
  assert_int_equal(memory_file_write(w->path, &text, &w->err), 0);
  refuses_with(w, "of the store \"audit.example.com/test\", and this one is \"" ORIGIN "\"");
}

static void what_cannot_be_read_is_refused(void **state) {
  struct world *w = *state;
  assert_int_equal(mkdir(w->path, 0700), 0);
  refuses_with(w, "isn't a regular file");
  assert_int_equal(rmdir(w->path), 0);
  assert_int_equal(mkfifo(w->path, 0600), 0);
  refuses_with(w, "isn't a regular file");
  assert_int_equal(unlink(w->path), 0);
  assert_int_equal(symlink("memory", w->path), 0);
  refuses_with(w, "can't open");
}

static void a_folder_that_is_not_there_is_told(void **state) {
  struct world *w = *state;
  assert_int_equal(ledger_memory_open(w->m, "/tmp/no/such/folder/memory", ORIGIN, &w->err),
                   ERR_FAILED_PRECONDITION);
  assert_non_null(strstr(w->err.text, "/tmp/no/such/folder/memory.lock"));
  assert_false(ledger_memory_is_kept(w->m));
}

static void two_processes_never_share_a_file(void **state) {
  struct world *w = *state;
  struct ledger_memory *first = w->m;
  open_memory(w);
  w->m = ledger_memory_new(&w->loop);
  refuses_with(w, "another process");
  assert_non_null(strstr(w->err.text, "a file of its own"));
  close_memory(w);
  w->m = first;
  reopen(w);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(the_file_has_one_line_for_each_ledger),
      TEST(what_was_noted_is_known_to_the_next_process),
      TEST(the_largest_id_outlives_its_ledger),
      TEST(what_is_known_before_the_file_is_opened_joins_it),
      TEST(the_file_is_its_owners_alone),
      TEST(a_hundred_thousand_ledgers_are_kept),
      TEST(a_file_cut_anywhere_is_refused),
      TEST(a_file_changed_anywhere_is_refused),
      TEST(bytes_behind_the_end_are_refused),
      TEST(well_hashed_nonsense_is_refused),
      TEST(another_stores_file_is_refused),
      TEST(what_cannot_be_read_is_refused),
      TEST(a_folder_that_is_not_there_is_told),
      TEST(two_processes_never_share_a_file),
  };
#undef TEST
  return cmocka_run_group_tests(tests, NULL, NULL);
}
