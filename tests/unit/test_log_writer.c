/* Lines on their way to somebody who doesn't read, or can't. */
#include "base/log.h"
#include "base/log_writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINES      20000
#define TEXT_BYTES (32 * 1024 * 1024)

static char text[TEXT_BYTES];

static void log_numbers(int from, int to) {
  static const char filler[] =
      "a text that makes the line longer than the room in a pipe is divisible by";
  for (int i = from; i < to; i++)
    log_info("number", KV("n", i), KV("filler", filler));
}

/* All that is written, until nothing waits any more. */
static void read_all(int fd) {
  size_t len = 0;
  for (;;) {
    bool is_over = log_writer_stats().waiting_bytes == 0;
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    int ready = poll(&readable, 1, is_over ? 0 : 10);
    if (ready == 0 && is_over)
      break;
    ssize_t n = ready > 0 ? read(fd, text + len, sizeof(text) - 1 - len) : 0;
    assert_true(n >= 0);
    len += (size_t)n;
  }
  text[len] = '\0';
}

struct account {
  int numbers;
  int notes;
  long long dropped;
};

/* Each line is whole, numbers only grow, and a note stands exactly where numbers are missing. */
static struct account check_lines(void) {
  struct account account = {0};
  long long next = 0;
  char *rest = NULL;
  for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
    const char *dropped = strstr(line, "\"dropped\":");
    const char *number = strstr(line, "\"n\":");
    assert_memory_equal(line, "{\"time\":\"", 9);
    assert_int_equal(line[strlen(line) - 1], '}');
    if (number) {
      assert_int_equal(strtoll(number + strlen("\"n\":"), NULL, 10), next++);
      account.numbers++;
    } else if (dropped) {
      next += strtoll(dropped + strlen("\"dropped\":"), NULL, 10);
      account.notes++;
    } else {
      fail_msg("%s", line);
    }
  }
  account.dropped = next - account.numbers;
  return account;
}

/* Leaves the pipe's two ends; the log goes into the one. */
static void open_pipe(int ends[2]) {
  assert_int_equal(pipe(ends), 0);
  log_configure(LOG_INFO, LOG_JSON);
  log_writer_set_fd(ends[1]);
}

static void close_pipe(int ends[2]) {
  log_writer_set_fd(STDERR_FILENO);
  close(ends[0]);
  close(ends[1]);
}

static void a_pipe_that_nobody_reads_holds_nobody_up(void **state) {
  (void)state;
  int ends[2];
  int64_t before = log_writer_stats().dropped;
  open_pipe(ends);
  log_numbers(0, LINES);
  log_writer_flush();
  assert_true(log_writer_stats().waiting_bytes > 0);
  assert_in_range(log_writer_stats().waiting_bytes, 1, 2 * 128 * 1024 + LOG_WRITER_NOTE_BYTES);
  read_all(ends[0]);
  log_numbers(LINES, LINES + 10);
  size_t len = strlen(text);
  assert_true(len > 100000);
  struct account account = check_lines();
  read_all(ends[0]);
  assert_int_equal(account.numbers + account.dropped, LINES);
  assert_in_range(account.notes, 1, 2);
  assert_int_equal(log_writer_stats().dropped - before, account.dropped);
  assert_non_null(strstr(text, "\"n\":20009,"));
  close_pipe(ends);
}

/* Dropping begins and ends many times; whoever reads takes pieces of any length. */
static void a_slow_reader_gets_whole_lines_and_every_count(void **state) {
  (void)state;
  int ends[2];
  size_t len = 0;
  open_pipe(ends);
  for (int i = 0; i < LINES; i += 50) {
    log_numbers(i, i + 50);
    ssize_t n = read(ends[0], text + len, (size_t)(1 + i * 7919 % 5000));
    assert_true(n > 0);
    len += (size_t)n;
  }
  char *start = malloc(len);
  assert_non_null(start);
  memcpy(start, text, len);
  read_all(ends[0]);
  memmove(text + len, text, strlen(text) + 1);
  memcpy(text, start, len);
  free(start);
  struct account account = check_lines();
  assert_int_equal(account.numbers + account.dropped, LINES);
  assert_true(account.notes > 0);
  close_pipe(ends);
}

/* Somebody shares the pipe and wants it so. */
static void a_non_blocking_pipe_gets_whole_lines(void **state) {
  (void)state;
  int ends[2];
  open_pipe(ends);
  assert_int_equal(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
  log_numbers(0, 700);
  log_writer_flush();
  assert_true(log_writer_stats().waiting_bytes > 0);
  assert_false(log_writer_stats().is_failing);
  read_all(ends[0]);
  struct account account = check_lines();
  assert_int_equal(account.numbers, 700);
  assert_int_equal(fcntl(ends[1], F_GETFL) & O_NONBLOCK, O_NONBLOCK);
  close_pipe(ends);
}

/* A file that may not grow takes half a line: the other half comes first when it may. */
static void what_failed_is_written_once_it_can_be(void **state) {
  (void)state;
  char path[] = "/tmp/test_log_writer.XXXXXX";
  int fd = mkstemp(path);
  struct rlimit before, small;
  assert_true(fd >= 0);
  unlink(path);
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
  small = (struct rlimit){.rlim_cur = 1000, .rlim_max = before.rlim_max};
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
  log_configure(LOG_INFO, LOG_JSON);
  log_writer_set_fd(fd);
  log_numbers(0, 100);
  log_writer_flush();
  while (!log_writer_stats().is_failing)
    poll(NULL, 0, 1);
  assert_true(log_writer_stats().waiting_bytes > 0);
  log_writer_flush(); /* which gives up */
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
  while (log_writer_stats().waiting_bytes > 0)
    poll(NULL, 0, 10);
  assert_false(log_writer_stats().is_failing);
  ssize_t len = pread(fd, text, sizeof(text) - 1, 0);
  assert_true(len > 1000);
  text[len] = '\0';
  assert_int_equal(check_lines().numbers, 100);
  log_writer_set_fd(STDERR_FILENO);
  close(fd);
}

/* More than a pipe takes. */
#define LAST_LINES 600

static _Noreturn void run_child(int log_fd, int ready_fd, void (*end)(void)) {
  log_configure(LOG_INFO, LOG_JSON);
  log_writer_set_fd(log_fd);
  log_numbers(0, LAST_LINES);
  (void)!write(ready_fd, "", 1);
  end();
  _exit(0);
}

/* Gives the child time to end, if it doesn't wait for its log to be read. */
static void let_die(pid_t child) {
  siginfo_t info = {0};
  for (int i = 0; i < 20 && info.si_pid == 0; i++) {
    poll(NULL, 0, 10);
    assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT), 0);
  }
}

/* In a process of its own, whose log is read when it is about to end as told; returns how it ended.
 */
static int end_of_child(void (*end)(void), int *ret_lines) {
  int ends[2];
  int ready[2];
  char byte = 0;
  assert_int_equal(pipe(ends), 0);
  assert_int_equal(pipe(ready), 0);
  pid_t child = fork();
  if (child == 0)
    run_child(ends[1], ready[1], end);
  close(ends[1]);
  close(ready[1]);
  assert_int_equal(read(ready[0], &byte, 1), 1);
  close(ready[0]);
  let_die(child);
  size_t len = 0;
  ssize_t n = 0;
  while ((n = read(ends[0], text + len, sizeof(text) - 1 - len)) > 0)
    len += (size_t)n;
  text[len] = '\0';
  close(ends[0]);
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  *ret_lines = check_lines().numbers;
  return status;
}

static void exit_well(void) {
  exit(7);
}

static void send_abort(void) {
  kill(getpid(), SIGABRT);
  pause();
}

static void the_last_lines_are_written_however_the_process_ends(void **state) {
  (void)state;
  int lines = 0;
  int status = end_of_child(exit_well, &lines);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
  assert_int_equal(lines, LAST_LINES);
  void (*const broken[])(void) = {abort, send_abort};
  for (int i = 0; i < 2; i++) {
    status = end_of_child(broken[i], &lines);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_int_equal(lines, LAST_LINES);
  }
}

int main(void) {
  const struct sigaction ignore = {.sa_handler = SIG_IGN};
  sigaction(SIGXFSZ, &ignore, NULL);
  const struct CMUnitTest tests[] = {
      /* First: the others leave a thread, which no child would have. */
      cmocka_unit_test(the_last_lines_are_written_however_the_process_ends),
      cmocka_unit_test(a_pipe_that_nobody_reads_holds_nobody_up),
      cmocka_unit_test(a_slow_reader_gets_whole_lines_and_every_count),
      cmocka_unit_test(a_non_blocking_pipe_gets_whole_lines),
      cmocka_unit_test(what_failed_is_written_once_it_can_be),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
