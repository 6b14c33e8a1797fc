#include "support/memory_fixture.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"

int64_t fake_now;

static int64_t fake_monotonic(const struct clock *clock) {
  (void)clock;
  return fake_now;
}

const struct clock fake_clock = {.monotonic_us = fake_monotonic, .wall_us = fake_monotonic};

int set_up(void **state) {
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

static void set_flag(void *arg, const struct error *err) {
  (void)err;
  *(bool *)arg = true;
}

void close_memory(struct world *w) {
  bool is_closed = false;
  ledger_memory_close(w->m, set_flag, &is_closed);
  assert_false(is_closed);
  w->m = NULL;
  while (!is_closed)
    uv_run(&w->uv, UV_RUN_ONCE);
}

int tear_down(void **state) {
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

struct ledger_head head_of(int64_t ledger_id, int64_t size) {
  struct ledger_head head = {.size = size};
  memcpy(head.root.bytes, &ledger_id, sizeof(ledger_id));
  memcpy(head.root.bytes + sizeof(ledger_id), &size, sizeof(size));
  head.root.bytes[MERKLE_HASH_SIZE - 1] = 0xff;
  return head;
}

void note(struct world *w, int64_t ledger_id, int64_t size) {
  struct ledger_head head = head_of(ledger_id, size);
  ledger_memory_note(w->m, ledger_id, &head);
}

void assert_known(const struct world *w, int64_t ledger_id, int64_t size) {
  struct ledger_head head;
  struct ledger_head expected = head_of(ledger_id, size);
  assert_true(ledger_memory_find(w->m, ledger_id, &head));
  assert_int_equal(head.size, size);
  assert_memory_equal(&head.root, &expected.root, sizeof(head.root));
}

void assert_unknown(const struct world *w, int64_t ledger_id) {
  struct ledger_head head;
  assert_false(ledger_memory_find(w->m, ledger_id, &head));
}

int try_open(struct world *w) {
  w->err.text[0] = '\0';
  return ledger_memory_open(w->m, w->path, ORIGIN, &w->err);
}

void open_memory(struct world *w) {
  if (try_open(w) < 0)
    fail_msg("%s", w->err.text);
}

void reopen(struct world *w) {
  close_memory(w);
  w->m = ledger_memory_new(&w->loop);
  open_memory(w);
}

struct ledger_memory_stats stats_of(const struct world *w) {
  struct ledger_memory_stats stats;
  ledger_memory_stats(w->m, &stats);
  return stats;
}

bool is_written(const struct world *w, int64_t ledger_id, int64_t size) {
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

void wait_written(struct world *w, int64_t ledger_id, int64_t size) {
  time_t limit = time(NULL) + 60;
  while (!is_written(w, ledger_id, size) || stats_of(w).unwritten_us > 0) {
    assert_true(time(NULL) < limit);
    uv_run(&w->uv, UV_RUN_NOWAIT);
  }
}

static void on_while_over(uv_timer_t *timer) {
  *(bool *)timer->data = true;
}

void settle(struct world *w) {
  uv_timer_t timer;
  bool is_over = false;
  uv_timer_init(&w->uv, &timer);
  timer.data = &is_over;
  uv_timer_start(&timer, on_while_over, 50, 0);
  while (!is_over)
    uv_run(&w->uv, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&timer, NULL);
  uv_run(&w->uv, UV_RUN_NOWAIT);
}

char *content_of(const struct world *w, size_t *ret_len) {
  struct stat status = {0};
  int fd = open(w->path, O_RDONLY);
  assert_true(fd >= 0 && fstat(fd, &status) == 0);
  char *content = xcalloc(1, (size_t)status.st_size + 1);
  assert_int_equal(read(fd, content, (size_t)status.st_size), status.st_size);
  close(fd);
  *ret_len = (size_t)status.st_size;
  return content;
}

void put_content(const struct world *w, const char *content, size_t len) {
  int fd = open(w->path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, content, len), len);
  close(fd);
}

void refuses_with(struct world *w, const char *words) {
  assert_int_equal(try_open(w), ERR_FAILED_PRECONDITION);
  if (!strstr(w->err.text, words))
    fail_msg("\"%s\" doesn't say \"%s\"", w->err.text, words);
  assert_non_null(strstr(w->err.text, w->path));
}
