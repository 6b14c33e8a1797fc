/*
 * The memory of ledgers: what is known, and when it is written.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/memory_fixture.h"

/* ---- what is known ---- */

static void nothing_is_known_at_first(void **state) {
  struct world *w = *state;
  int count = -1;
  assert_unknown(w, 1);
  assert_int_equal(ledger_memory_last_id(w->m), 0);
  assert_null(ledger_memory_list(w->m, &count));
  assert_int_equal(count, 0);
  assert_false(ledger_memory_is_kept(w->m));
}

static void a_head_never_goes_back_in_size(void **state) {
  struct world *w = *state;
  note(w, 3, 10);
  note(w, 3, 9);
  assert_known(w, 3, 10);
  struct ledger_head other = head_of(99, 10);
  ledger_memory_note(w->m, 3, &other);
  assert_known(w, 3, 10);
  note(w, 3, 11);
  assert_known(w, 3, 11);
  assert_int_equal(stats_of(w).ledgers, 1);
}

static void the_largest_id_is_remembered(void **state) {
  struct world *w = *state;
  note(w, 1000007, 1);
  note(w, 3, 1);
  assert_int_equal(ledger_memory_last_id(w->m), 1000007);
}

static void many_ledgers_are_told_apart(void **state) {
  struct world *w = *state;
  int count = 0;
  for (int64_t id = 10000; id > 0; id--)
    note(w, id * 1000003, id);
  for (int64_t id = 1; id <= 10000; id++)
    assert_known(w, id * 1000003, id);
  assert_unknown(w, 1000004);
  struct ledger_known *list = ledger_memory_list(w->m, &count);
  assert_int_equal(count, 10000);
  for (int i = 0; i < count; i++)
    assert_int_equal(list[i].ledger_id, (int64_t)(i + 1) * 1000003);
  free(list);
}

static void a_reset_keeps_the_largest_id_alone(void **state) {
  struct world *w = *state;
  note(w, 7, 70);
  note(w, 8, 80);
  struct ledger_known found = {.ledger_id = 7, .head = head_of(7, 30)};
  ledger_memory_reset(w->m, &found, 1);
  assert_known(w, 7, 30);
  assert_unknown(w, 8);
  assert_int_equal(ledger_memory_last_id(w->m), 8);
}

/* ---- when it is written ---- */

/* As it is when its file says all that it knows. */
static void open_with(struct world *w, int64_t size) {
  open_memory(w);
  note(w, 1, size);
  wait_written(w, 1, size);
}

static void the_first_note_is_written_at_once(void **state) {
  struct world *w = *state;
  open_with(w, 1);
}

static void later_notes_wait_for_their_second_and_go_together(void **state) {
  struct world *w = *state;
  open_with(w, 1);
  for (int64_t size = 2; size <= 1000; size++)
    note(w, 1, size);
  fake_now += SECOND_US - 1000;
  settle(w);
  assert_true(is_written(w, 1, 1));
  assert_int_equal(stats_of(w).unwritten_us, SECOND_US - 1000);
  fake_now += 1000;
  wait_written(w, 1, 1000);
  assert_int_equal(stats_of(w).unwritten_us, 0);
}

static void a_note_after_a_quiet_second_is_written_at_once(void **state) {
  struct world *w = *state;
  open_with(w, 1);
  fake_now += 2 * SECOND_US;
  note(w, 1, 2);
  wait_written(w, 1, 2);
}

static void what_says_nothing_new_is_not_written(void **state) {
  struct world *w = *state;
  struct stat before;
  struct stat after;
  open_with(w, 5);
  assert_int_equal(stat(w->path, &before), 0);
  fake_now += 2 * SECOND_US;
  note(w, 1, 5);
  note(w, 1, 4);
  settle(w);
  assert_int_equal(stat(w->path, &after), 0);
  assert_int_equal(before.st_ino, after.st_ino);
  assert_int_equal(stats_of(w).unwritten_us, 0);
}

static void a_close_writes_what_waits(void **state) {
  struct world *w = *state;
  open_with(w, 1);
  note(w, 1, 2);
  close_memory(w);
  assert_true(is_written(w, 1, 2));
}

/* The worker is at it, and more has come. */
static void a_close_waits_for_the_write_under_way(void **state) {
  struct world *w = *state;
  open_memory(w);
  for (int64_t id = 1; id <= 20000; id++)
    note(w, id, 1);
  uv_run(&w->uv, UV_RUN_NOWAIT);
  note(w, 1, 2);
  close_memory(w);
  assert_true(is_written(w, 1, 2));
  assert_true(is_written(w, 20000, 1));
}

/* ---- writes that fail ---- */

static void ignore_growth_signal(void) {
  struct sigaction action = {.sa_handler = SIG_IGN};
  assert_int_equal(sigaction(SIGXFSZ, &action, NULL), 0);
}

/* As on a disk that is full: files may not grow. */
static void allow_bytes(rlim_t bytes) {
  struct rlimit limit;
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
  limit.rlim_cur = bytes;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void wait_failures(struct world *w, int64_t failures) {
  time_t limit = time(NULL) + 60;
  while (stats_of(w).failures < failures) {
    assert_true(time(NULL) < limit);
    uv_run(&w->uv, UV_RUN_NOWAIT);
  }
}

static void a_full_disk_is_counted_and_tried_again(void **state) {
  struct world *w = *state;
  ignore_growth_signal();
  open_with(w, 1);
  allow_bytes(10);
  fake_now += SECOND_US;
  note(w, 1, 2);
  wait_failures(w, 1);
  assert_true(is_written(w, 1, 1));
  assert_int_equal(access(w->temporary, F_OK), -1);
  fake_now += SECOND_US;
  wait_failures(w, 2);
  assert_int_equal(stats_of(w).unwritten_us, SECOND_US);
  allow_bytes(RLIM_INFINITY);
  fake_now += SECOND_US;
  wait_written(w, 1, 2);
  assert_int_equal(stats_of(w).failures, 2);
}

static void a_close_on_a_full_disk_ends(void **state) {
  struct world *w = *state;
  ignore_growth_signal();
  open_with(w, 1);
  allow_bytes(10);
  note(w, 1, 2);
  close_memory(w);
  allow_bytes(RLIM_INFINITY);
  assert_true(is_written(w, 1, 1));
  /* The lock is free again. */
  w->m = ledger_memory_new(&w->loop);
  open_memory(w);
}

static void a_folder_that_vanishes_is_counted_and_written_to_when_it_is_back(void **state) {
  struct world *w = *state;
  char away[64];
  snprintf(away, sizeof(away), "%s.away", w->dir);
  open_with(w, 1);
  assert_int_equal(rename(w->dir, away), 0);
  fake_now += SECOND_US;
  note(w, 1, 2);
  wait_failures(w, 1);
  assert_int_equal(rename(away, w->dir), 0);
  fake_now += SECOND_US;
  wait_written(w, 1, 2);
}

/* ---- a process that is killed ---- */

/* Notes without end, and tells `out` what is surely in the file. */
static _Noreturn void write_until_killed(struct world *w, int out) {
  uv_loop_init(&w->uv);
  loop_init(&w->loop, &w->uv, &fake_clock);
  w->m = ledger_memory_new(&w->loop);
  open_memory(w);
  for (int64_t size = 1;; size++) {
    for (int64_t id = 1; id <= 200; id++)
      note(w, id, size);
    fake_now += SECOND_US;
    wait_written(w, 200, size);
    if (write(out, &size, sizeof(size)) != sizeof(size))
      _exit(1);
  }
}

static int64_t last_told(int in) {
  int64_t size = 0;
  int64_t told = 0;
  while (read(in, &told, sizeof(told)) == sizeof(told))
    size = told;
  return size;
}

/* Another moment of the writer's each time. */
static void spin(uint64_t us) {
  uint64_t start = uv_hrtime();
  while (uv_hrtime() - start < us * 1000)
    ;
}

static void a_killed_writer_leaves_a_whole_file(void **state) {
  struct world *w = *state;
  int ends[2];
  for (int round = 0; round < 30; round++) {
    unlink(w->path);
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
      struct world own = *w;
      close(ends[0]);
      write_until_killed(&own, ends[1]);
    }
    close(ends[1]);
    int64_t first = 0;
    assert_int_equal(read(ends[0], &first, sizeof(first)), sizeof(first));
    spin((uint64_t)round * 500);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    int64_t told = last_told(ends[0]);
    close(ends[0]);
    struct memory_text text = {0};
    if (memory_file_read(w->path, ORIGIN, &text, &w->err) < 0)
      fail_msg("%s", w->err.text);
    assert_int_equal(text.count, 200);
    for (int i = 0; i < text.count; i++)
      assert_true(text.known[i].head.size >= told);
    free(text.known);
  }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(nothing_is_known_at_first),
      TEST(a_head_never_goes_back_in_size),
      TEST(the_largest_id_is_remembered),
      TEST(many_ledgers_are_told_apart),
      TEST(a_reset_keeps_the_largest_id_alone),
      TEST(the_first_note_is_written_at_once),
      TEST(later_notes_wait_for_their_second_and_go_together),
      TEST(a_note_after_a_quiet_second_is_written_at_once),
      TEST(what_says_nothing_new_is_not_written),
      TEST(a_close_writes_what_waits),
      TEST(a_close_waits_for_the_write_under_way),
      TEST(a_full_disk_is_counted_and_tried_again),
      TEST(a_close_on_a_full_disk_ends),
      TEST(a_folder_that_vanishes_is_counted_and_written_to_when_it_is_back),
      TEST(a_killed_writer_leaves_a_whole_file),
  };
#undef TEST
  return cmocka_run_group_tests(tests, NULL, NULL);
}
