#include "signals.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"

/* A handler has no other way to know it. */
static volatile sig_atomic_t exit_code_at_once;

static void on_end(int signum) {
  (void)signum;
  _exit(exit_code_at_once);
}

static void handle(int signum, void (*handler)(int)) {
  struct sigaction action = {.sa_handler = handler};
  int rc = sigaction(signum, &action, NULL);
  assert(rc == 0);
  (void)rc;
}

/* Those that wait; all others are let through, whatever the parent blocked. */
static void hold(const int *signums, size_t count) {
  sigset_t set;
  sigemptyset(&set);
  for (size_t i = 0; i < count; i++)
    sigaddset(&set, signums[i]);
  pthread_sigmask(SIG_SETMASK, &set, NULL);
}

void signals_begin(void) {
  static const int held[] = {SIGHUP, SIGTERM, SIGINT};
  /* A peer that is gone and a file that may not grow are errors of a write; libpq may write without
   * MSG_NOSIGNAL. */
  static const int harmless[] = {SIGPIPE,   SIGXFSZ, SIGUSR1, SIGUSR2, SIGALRM,
                                 SIGVTALRM, SIGPROF, SIGIO,   SIGPWR,  SIGSTKFLT};
  hold(held, sizeof(held) / sizeof(held[0]));
  /* Whether what the parent ignored is held all the same, POSIX leaves open. */
  handle(SIGHUP, SIG_DFL);
  for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++)
    handle(harmless[i], SIG_IGN);
  for (int signum = SIGRTMIN; signum <= SIGRTMAX; signum++)
    handle(signum, SIG_IGN);
}

static void hold_hup(void) {
  static const int hup[] = {SIGHUP};
  hold(hup, 1);
}

void signals_as_usual(void) {
  hold_hup();
}

void signals_end_with(int exit_code) {
  exit_code_at_once = exit_code;
  handle(SIGTERM, on_end);
  handle(SIGINT, on_end);
  hold_hup();
}

void signals_for_loop(void) {
  hold(NULL, 0);
}

/* ---- threads ---- */

static void do_nothing(uv_work_t *work) {
  (void)work;
}

static void after_nothing(uv_work_t *work, int status) {
  (void)status;
  free(work);
}

void signals_keep_from_threads(uv_loop_t *uv) {
  sigset_t all;
  sigset_t before;
  uv_work_t *work = xcalloc(1, sizeof(*work));
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int rc = uv_queue_work(uv, work, do_nothing, after_nothing);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  assert(rc == 0);
  (void)rc;
}
