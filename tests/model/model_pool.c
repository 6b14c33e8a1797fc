/*
 * model_pool: the pool against random schedules, with its invariants checked after each step.
 *
 *   model_pool [--schedules N] [--jobs N] [--first SEED]   the seeds from SEED on; default 1
 *   model_pool --seed SEED                                 that schedule alone, every step told
 *
 * $SEED and $SCHEDULES stand in for --first and --schedules. Exits with 1 when a schedule breaks an
 * invariant, crashes or leaks, after telling which.
 */
#include "model/world.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"

enum { JOBS_MAX = 64, SCHEDULES_FOR_ALL = 10000 };

/* Shared with the children, so that a crash in one tells its seed. */
struct job {
  _Atomic uint64_t seed;
  _Atomic uint64_t steps;
  _Atomic uint64_t seen;
};

struct plan {
  uint64_t first;
  uint64_t schedules;
  unsigned jobs;
  bool is_single;
  struct job *shared; /* JOBS_MAX of them */
};

static void run_share(const struct plan *plan, unsigned job) {
  struct world *world = calloc(1, sizeof(*world));
  struct job *shared = &plan->shared[job];
  for (uint64_t i = job; i < plan->schedules; i += plan->jobs) {
    atomic_store(&shared->seed, plan->first + i);
    schedule_run(world, plan->first + i);
    atomic_fetch_add(&shared->steps, (uint64_t)world->step);
    atomic_fetch_or(&shared->seen, world->seen);
  }
  free(world);
}

static void run_single(uint64_t seed) {
  struct world *world = calloc(1, sizeof(*world));
  world->is_verbose = true;
  schedule_run(world, seed);
  free(world);
  printf("seed %llu: all invariants held\n", (unsigned long long)seed);
}

/* ---- processes ---- */

static int wait_for(const struct plan *plan, const pid_t *pids) {
  int failed = 0;
  for (unsigned i = 0; i < plan->jobs; i++) {
    int status = 0;
    if (waitpid(pids[i], &status, 0) == pids[i] && WIFEXITED(status) && WEXITSTATUS(status) == 0)
      continue;
    unsigned long long seed = (unsigned long long)atomic_load(&plan->shared[i].seed);
    fprintf(stderr, "seed %llu failed; see its steps: model_pool --seed %llu\n", seed, seed);
    failed = 1;
  }
  return failed;
}

static int report_missing(uint64_t seen, bool is_fine, const char *name) {
  if (seen & 1 || is_fine)
    return 0;
  fprintf(stderr, "no schedule came to \"%s\"\n", name);
  return 1;
}

/* Nothing of what may happen to a connection, a request or a dial is left out by chance. */
static int check_seen(const struct plan *plan) {
  uint64_t seen = 0;
  int missing = 0;
  for (unsigned i = 0; i < plan->jobs; i++)
    seen |= atomic_load(&plan->shared[i].seen);
  for (int i = PG_DIAL_FAILURE_COUNT - 1; i >= 0; i--, seen >>= 1)
    missing +=
        report_missing(seen, i == PG_DIAL_TLS, pg_dial_failure_name((enum pg_dial_failure)i));
  for (int i = PG_ACQUIRE_RESULT_COUNT - 1; i >= 0; i--, seen >>= 1)
    missing += report_missing(seen, false, pg_acquire_result_name((enum pg_acquire_result)i));
  for (int i = PG_CLOSE_REASON_COUNT - 1; i >= 0; i--, seen >>= 1)
    missing += report_missing(seen, false, pg_close_reason_name((enum pg_close_reason)i));
  return missing;
}

static int run_all(const struct plan *plan) {
  pid_t pids[JOBS_MAX];
  int64_t began_us = clock_monotonic_us(&clock_system);
  fflush(NULL);
  for (unsigned i = 0; i < plan->jobs; i++) {
    pids[i] = fork();
    if (pids[i] < 0)
      return 1;
    if (pids[i] == 0) {
      run_share(plan, i);
      exit(0);
    }
  }
  int failed = wait_for(plan, pids);
  if (!failed && plan->schedules >= SCHEDULES_FOR_ALL)
    failed = check_seen(plan) > 0;
  uint64_t steps = 0;
  for (unsigned i = 0; i < plan->jobs; i++)
    steps += atomic_load(&plan->shared[i].steps);
  if (!failed)
    printf("%llu schedules, %llu steps, %.1f s: all invariants held\n",
           (unsigned long long)plan->schedules, (unsigned long long)steps,
           (double)(clock_monotonic_us(&clock_system) - began_us) / CLOCK_US_PER_S);
  return failed;
}

/* ---- arguments ---- */

static uint64_t number(const char *text) {
  char *end;
  uint64_t value = strtoull(text, &end, 10);
  if (*text == '\0' || *end != '\0') {
    fprintf(stderr, "model_pool: \"%s\" is no number\n", text);
    exit(2);
  }
  return value;
}

static void take_environment(struct plan *plan) {
  const char *seed = getenv("SEED");
  const char *schedules = getenv("SCHEDULES");
  if (seed)
    plan->first = number(seed);
  if (schedules)
    plan->schedules = number(schedules);
}

static bool take_argument(struct plan *plan, const char *name, uint64_t value) {
  if (strcmp(name, "--schedules") == 0)
    plan->schedules = value;
  else if (strcmp(name, "--jobs") == 0 && value > 0 && value <= JOBS_MAX)
    plan->jobs = (unsigned)value;
  else if (strcmp(name, "--first") == 0 || strcmp(name, "--seed") == 0)
    plan->first = value;
  else
    return false;
  plan->is_single = plan->is_single || strcmp(name, "--seed") == 0;
  return true;
}

int main(int argc, char **argv) {
  struct plan plan = {.first = 1, .schedules = 1000, .jobs = 1};
  take_environment(&plan);
  for (int i = 1; i < argc; i += 2) {
    if (i + 1 == argc || !take_argument(&plan, argv[i], number(argv[i + 1]))) {
      fputs("usage: model_pool [--schedules N] [--jobs N] [--first SEED] | --seed SEED\n", stderr);
      return 2;
    }
  }
  /* What the pool logs is no error here. */
  log_configure(LOG_ERROR, LOG_TEXT);
  if (plan.is_single) {
    run_single(plan.first);
    return 0;
  }
  plan.shared = mmap(NULL, JOBS_MAX * sizeof(struct job), PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (plan.shared == MAP_FAILED)
    return 1;
  return run_all(&plan);
}
