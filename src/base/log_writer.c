#include "base/log_writer.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HALF_BYTES     ((size_t)128 * 1024)
#define LINE_MAX_BYTES ((size_t)32 * 1024)
#define RETRY_MS       1000
#define FLUSH_MS       1000
#define NS_PER_MS      1000000

struct half {
  char bytes[HALF_BYTES];
  size_t len;
};

/* Where lines go is a property of the process, as in log.c. */
static struct {
  pthread_mutex_t mutex; /* never held while anything is written */
  pthread_cond_t filled;
  bool has_thread;
  int fd;
  struct half halves[2];
  int filling; /* the half that lines are put into; the other one is the thread's */
  char note[LOG_WRITER_NOTE_BYTES];
  size_t note_len;
  int64_t noted;  /* how many dropped lines the note tells of */
  int64_t untold; /* how many there are, with those */
  atomic_llong dropped;
  atomic_size_t waiting; /* bytes of halves and note */
  atomic_bool is_failing;
} writer = {
    .mutex = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER, .fd = STDERR_FILENO};

/* ---- the thread ---- */

/* False: an error. A descriptor may be non-blocking because somebody shares it who wants it so. */
static bool write_some(int fd, const char *bytes, size_t len, size_t *ret_len) {
  ssize_t n = write(fd, bytes, len);
  *ret_len = n > 0 ? (size_t)n : 0;
  if (n < 0 && errno == EAGAIN) {
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    (void)poll(&writable, 1, RETRY_MS);
    return true;
  }
  return n >= 0 || errno == EINTR;
}

static void write_line(int fd, const char *line, size_t len) {
  size_t done = 0;
  size_t n = 0;
  while (done < len) {
    bool is_failing = !write_some(fd, line + done, len - done, &n);
    atomic_store(&writer.is_failing, is_failing);
    if (is_failing)
      (void)poll(NULL, 0, RETRY_MS);
    done += n;
    atomic_fetch_sub(&writer.waiting, n);
  }
}

/* One write(2) a line: others may write to the same place. */
static void write_half(int fd, struct half *half) {
  size_t at = 0;
  while (at < half->len) {
    const char *end = memchr(half->bytes + at, '\n', half->len - at);
    size_t len = end ? (size_t)(end + 1 - half->bytes) - at : half->len - at;
    write_line(fd, half->bytes + at, len);
    at += len;
  }
  half->len = 0;
}

static void append(struct half *half, const char *bytes, size_t len) {
  memcpy(half->bytes + half->len, bytes, len);
  half->len += len;
}

/* The half that was filled, when there is something in it; the note begins the other. */
static struct half *take_half(int *ret_fd) {
  pthread_mutex_lock(&writer.mutex);
  while (writer.halves[writer.filling].len + writer.note_len == 0)
    pthread_cond_wait(&writer.filled, &writer.mutex);
  struct half *taken = &writer.halves[writer.filling];
  writer.filling = !writer.filling;
  append(&writer.halves[writer.filling], writer.note, writer.note_len);
  writer.untold -= writer.noted;
  writer.noted = 0;
  writer.note_len = 0;
  *ret_fd = writer.fd;
  pthread_mutex_unlock(&writer.mutex);
  return taken;
}

static void *run_thread(void *arg) {
  (void)arg;
  pthread_setname_np(pthread_self(), "log");
  for (;;) {
    int fd = -1;
    struct half *taken = take_half(&fd);
    write_half(fd, taken);
  }
  return NULL;
}

/* ---- the end of the process ---- */

/* May run in a signal's handler, whatever locks are held. */
static void wait_until_written(void) {
  const struct timespec pause = {.tv_nsec = NS_PER_MS};
  for (int ms = 0; ms < FLUSH_MS; ms++) {
    if (atomic_load(&writer.waiting) == 0 || atomic_load(&writer.is_failing))
      return;
    nanosleep(&pause, NULL);
  }
}

static void on_broken(int signum) {
  wait_until_written();
  raise(signum); /* by now it ends the process */
}

/* Not where somebody has taken the signal over, as a sanitizer does. */
static void flush_when_broken(void) {
  static const int signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
  const struct sigaction action = {.sa_handler = on_broken, .sa_flags = (int)SA_RESETHAND};
  for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
    struct sigaction old;
    if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL)
      sigaction(signals[i], &action, NULL);
  }
}

/* Signals are for the others; a pipe without a reader is an error of write(2) here. Without a
 * thread lines wait, and the next one tries again. */
static void start_thread(void) {
  pthread_t thread;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  writer.has_thread = pthread_create(&thread, NULL, run_thread, NULL) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (!writer.has_thread)
    return;
  pthread_detach(thread);
  atexit(log_writer_flush);
  flush_when_broken();
}

/* ---- for the others ---- */

/* What comes after a dropped line waits for the note to be taken: lines stay in order. */
static void put_or_drop(const char *line, size_t len) {
  struct half *half = &writer.halves[writer.filling];
  if (writer.untold == 0 && len <= HALF_BYTES - half->len) {
    append(half, line, len);
    atomic_fetch_add(&writer.waiting, len);
  } else {
    atomic_fetch_add(&writer.dropped, 1);
    writer.untold++;
  }
}

int64_t log_writer_put(const char *line, size_t len) {
  assert(len <= LINE_MAX_BYTES);
  pthread_mutex_lock(&writer.mutex);
  if (!writer.has_thread)
    start_thread();
  put_or_drop(line, len);
  int64_t untold = writer.untold;
  pthread_cond_signal(&writer.filled);
  pthread_mutex_unlock(&writer.mutex);
  return untold;
}

int64_t log_writer_set_note(const char *line, size_t len, int64_t dropped) {
  assert(len <= sizeof(writer.note));
  pthread_mutex_lock(&writer.mutex);
  int64_t untold = writer.untold;
  if (untold == dropped) {
    atomic_fetch_add(&writer.waiting, len - writer.note_len);
    memcpy(writer.note, line, len);
    writer.note_len = len;
    writer.noted = dropped;
    untold = 0;
  }
  pthread_cond_signal(&writer.filled);
  pthread_mutex_unlock(&writer.mutex);
  return untold;
}

void log_writer_set_fd(int fd) {
  log_writer_flush();
  pthread_mutex_lock(&writer.mutex);
  writer.fd = fd;
  pthread_mutex_unlock(&writer.mutex);
}

void log_writer_flush(void) {
  wait_until_written();
}

struct log_writer_stats log_writer_stats(void) {
  return (struct log_writer_stats){.dropped = atomic_load(&writer.dropped),
                                   .waiting_bytes = (int64_t)atomic_load(&writer.waiting),
                                   .is_failing = atomic_load(&writer.is_failing)};
}
