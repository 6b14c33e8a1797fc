/*
 * bench_client: one thread that publishes sample events one by one, as fast as it can.
 *
 *   bench_client SERVER EVENTS [SPOOL_DIR [UNSYNCED_MS [ARRAY]]]
 *
 * The events are made before the clock starts. Prints one JSON line: events per second until the
 * last one is acknowledged, and the CPU of this process for each.
 */
#include "bench/event.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

static double now_s(clockid_t clock) {
  struct timespec ts;
  clock_gettime(clock, &ts);
  return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static struct bench_event *make_events(size_t count) {
  static struct uuid_v7 ids;
  struct bench_event *events = calloc(count, sizeof(*events));
  for (size_t i = 0; events && i < count; i++) {
    bench_event_init(&events[i]);
    bench_event_refill(&events[i], &ids, (int64_t)i);
  }
  return events;
}

static enum auditstore_code publish_all(struct auditstore_publisher *publisher,
                                        const struct bench_event *events, size_t count,
                                        size_t array) {
  const Auditstore__V1__AuditEvent *pointers[1000];
  enum auditstore_code code = AUDITSTORE_OK;
  for (size_t i = 0; i < count && code == AUDITSTORE_OK; i += array) {
    for (size_t n = 0; n < array; n++)
      pointers[n] = &events[i + n].event;
    code = auditstore_publisher_publish_all(publisher, pointers, NULL, array, NULL);
  }
  return code;
}

static int run(struct auditstore_publisher *publisher, size_t count, size_t array) {
  struct auditstore_publisher_counters counters;
  struct bench_event *events = make_events(count);
  double began_s = now_s(CLOCK_MONOTONIC);
  double cpu_s = now_s(CLOCK_PROCESS_CPUTIME_ID);
  enum auditstore_code code = publish_all(publisher, events, count, array);
  uint64_t left = auditstore_publisher_flush(publisher, 120000);
  cpu_s = now_s(CLOCK_PROCESS_CPUTIME_ID) - cpu_s;
  began_s = now_s(CLOCK_MONOTONIC) - began_s;
  auditstore_publisher_get_counters(publisher, &counters);
  free(events);
  if (code != AUDITSTORE_OK || left > 0 || counters.acknowledged != count) {
    fprintf(stderr, "bench_client: %s, %llu unconfirmed: %s\n", auditstore_code_name(code),
            (unsigned long long)left, counters.last_message);
    return EXIT_FAILURE;
  }
  printf("{\"events_per_s\":%.0f,\"cpu_us_per_event\":%.3f,\"batches\":%llu,\"syncs\":%llu}\n",
         (double)count / began_s, cpu_s * 1e6 / (double)count, (unsigned long long)counters.batches,
         (unsigned long long)counters.spool_syncs);
  return EXIT_SUCCESS;
}

int main(int argc, char **argv) {
  struct auditstore_status status = {0};
  if (argc < 3) {
    fputs("usage: bench_client SERVER EVENTS [SPOOL_DIR [UNSYNCED_MS [ARRAY]]]\n", stderr);
    return 2;
  }
  const struct auditstore_publisher_options options = {
      .spool_dir = argc > 3 ? argv[3] : NULL,
      .spool_unsynced_ms = argc > 4 ? (int)strtol(argv[4], NULL, 10) : 0,
  };
  size_t array = argc > 5 ? strtoull(argv[5], NULL, 10) : 1;
  struct auditstore_channel *channel = auditstore_channel_new(argv[1], NULL, &status);
  struct auditstore_publisher *publisher =
      channel ? auditstore_publisher_new(channel, &options, &status) : NULL;
  if (!publisher) {
    fprintf(stderr, "bench_client: %s\n", status.message);
    return EXIT_FAILURE;
  }
  int code = run(publisher, strtoull(argv[2], NULL, 10), array);
  auditstore_publisher_free(publisher);
  auditstore_channel_free(channel);
  return code;
}
