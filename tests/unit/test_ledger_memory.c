/*
 * The memory of ledgers: what is known, and the file that keeps it.
 */
#include <fcntl.h>
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

#include "base/alloc.h"
#include "ledger/memory.h"
#include "ledger/memory_file.h"

#define SECOND_US CLOCK_US_PER_S
#define ORIGIN    "audit.example.com/prod"

static int64_t fake_now;

static int64_t fake_monotonic(const struct clock *clock) {
  (void)clock;
  return fake_now;
}

static const struct clock fake_clock = {.monotonic_us = fake_monotonic, .wall_us = fake_monotonic};

struct world {
  uv_loop_t uv;
  struct loop loop;
  char dir[40];
  char path[64];
  char lock[80];
  char temporary[80];
  struct ledger_memory *m;
  struct error err;
};

static int set_up(void **state) {
  struct world *w = xcalloc(1, sizeof(*w));
  *state = w;
  fake_now = 1000 * SECOND_US;
  uv_loop_init(&w->uv);
  loop_init(&w->loop, &w->uv, &fake_clock);
  snprintf(w->dir, sizeof(w->dir), "/tmp/test_ledger_memory.XXXXXX");
  assert_non_null(mkdtemp(w->dir));
  snprintf(w->path, sizeof(w->path), "%s/memory", w->dir);
  snprintf(w->lock, sizeof(w->lock), "%s.lock", w->path);
  snprintf(w->temporary, sizeof(w->temporary), "%s.tmp", w->path);
  w->m = ledger_memory_new(&w->loop);
  return 0;
}

static void set_flag(void *arg) {
  *(bool *)arg = true;
}

static void close_memory(struct world *w) {
  bool is_closed = false;
  ledger_memory_close(w->m, set_flag, &is_closed);
  assert_false(is_closed);
  w->m = NULL;
  while (!is_closed)
    uv_run(&w->uv, UV_RUN_ONCE);
}

static int tear_down(void **state) {
  struct world *w = *state;
  if (w->m)
    close_memory(w);
  loop_deinit(&w->loop);
  uv_run(&w->uv, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&w->uv), 0);
  chmod(w->dir, 0700);
  unlink(w->path);
  unlink(w->lock);
  unlink(w->temporary);
  assert_int_equal(rmdir(w->dir), 0);
  free(w);
  return 0;
}

/* A head that shows which one it is. */
static struct ledger_head head_of(int64_t ledger_id, int64_t size) {
  struct ledger_head head = {.size = size};
  memcpy(head.root.bytes, &ledger_id, sizeof(ledger_id));
  memcpy(head.root.bytes + sizeof(ledger_id), &size, sizeof(size));
  head.root.bytes[MERKLE_HASH_SIZE - 1] = 0xff;
  return head;
}

static void note(struct world *w, int64_t ledger_id, int64_t size) {
  struct ledger_head head = head_of(ledger_id, size);
  ledger_memory_note(w->m, ledger_id, &head);
}

static void assert_known(const struct world *w, int64_t ledger_id, int64_t size) {
  struct ledger_head head;
  struct ledger_head expected = head_of(ledger_id, size);
  assert_true(ledger_memory_find(w->m, ledger_id, &head));
  assert_int_equal(head.size, size);
  assert_memory_equal(&head.root, &expected.root, sizeof(head.root));
}

static void assert_unknown(const struct world *w, int64_t ledger_id) {
  struct ledger_head head;
  assert_false(ledger_memory_find(w->m, ledger_id, &head));
}

static int try_open(struct world *w) {
  w->err.text[0] = '\0';
  return ledger_memory_open(w->m, w->path, ORIGIN, &w->err);
}

static void open_memory(struct world *w) {
  if (try_open(w) < 0)
    fail_msg("%s", w->err.text);
}

static void reopen(struct world *w) {
  close_memory(w);
  w->m = ledger_memory_new(&w->loop);
  open_memory(w);
}

static struct ledger_memory_stats stats_of(const struct world *w) {
  struct ledger_memory_stats stats;
  ledger_memory_stats(w->m, &stats);
  return stats;
}

/* Whether what is on disk says so of the ledger. */
static bool is_written(const struct world *w, int64_t ledger_id, int64_t size) {
  struct memory_text text = {0};
  struct error err;
  if (memory_file_read(w->path, ORIGIN, &text, &err) < 0)
    return false;
  bool found = false;
  for (int i = 0; i < text.count; i++)
    found |= text.known[i].ledger_id == ledger_id && text.known[i].head.size == size;
  free(text.known);
  return found;
}

/* Runs the loop until the write that is due, and no other, has ended. */
static void wait_written(struct world *w, int64_t ledger_id, int64_t size) {
  time_t limit = time(NULL) + 60;
  while (!is_written(w, ledger_id, size) || stats_of(w).unwritten_us > 0) {
    assert_true(time(NULL) < limit);
    uv_run(&w->uv, UV_RUN_NOWAIT);
  }
}

/* The loop has nothing to do at once. */
static void settle(struct world *w) {
  for (int i = 0; i < 200; i++) {
    uv_run(&w->uv, UV_RUN_NOWAIT);
    usleep(100);
  }
}

static char *content_of(const struct world *w, size_t *ret_len) {
  struct stat status;
  int fd = open(w->path, O_RDONLY);
  assert_true(fd >= 0 && fstat(fd, &status) == 0);
  char *content = xcalloc(1, (size_t)status.st_size + 1);
  assert_int_equal(read(fd, content, (size_t)status.st_size), status.st_size);
  close(fd);
  *ret_len = (size_t)status.st_size;
  return content;
}

static void put_content(const struct world *w, const char *content, size_t len) {
  int fd = open(w->path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, content, len), len);
  close(fd);
}

static void refuses_with(struct world *w, const char *words) {
  assert_int_equal(try_open(w), ERR_FAILED_PRECONDITION);
  if (!strstr(w->err.text, words))
    fail_msg("\"%s\" doesn't say \"%s\"", w->err.text, words);
  assert_non_null(strstr(w->err.text, w->path));
}

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

/* ---- when it is written ---- */

static void the_first_note_is_written_at_once(void **state) {
  struct world *w = *state;
  open_memory(w);
  note(w, 1, 1);
  wait_written(w, 1, 1);
}

static void later_notes_wait_for_their_second_and_go_together(void **state) {
  struct world *w = *state;
  open_memory(w);
  note(w, 1, 1);
  wait_written(w, 1, 1);
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
  open_memory(w);
  note(w, 1, 1);
  wait_written(w, 1, 1);
  fake_now += 2 * SECOND_US;
  note(w, 1, 2);
  wait_written(w, 1, 2);
}

static void what_says_nothing_new_is_not_written(void **state) {
  struct world *w = *state;
  struct stat before;
  struct stat after;
  open_memory(w);
  note(w, 1, 5);
  wait_written(w, 1, 5);
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
  open_memory(w);
  note(w, 1, 1);
  wait_written(w, 1, 1);
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
  signal(SIGXFSZ, SIG_IGN);
  open_memory(w);
  note(w, 1, 1);
  wait_written(w, 1, 1);
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
  signal(SIGXFSZ, SIG_IGN);
  open_memory(w);
  note(w, 1, 1);
  wait_written(w, 1, 1);
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
  open_memory(w);
  note(w, 1, 1);
  wait_written(w, 1, 1);
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
    usleep((useconds_t)(rand() % 20000)); /* NOLINT: any time will do */
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
