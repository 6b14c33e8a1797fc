/*
 * publish_client: publishes numbered events and journals those that publish called OK. For tests
 * that kill it, and the store, meanwhile.
 *
 *   publish_client SERVER JOURNAL FIRST COUNT [--spool DIR] [--spill] [--array N] [--rate N]
 *                  [--queue N] [--close MS]
 *
 * Event i has the id 00000000-0000-8000-8000-<i in 12 hex digits> and the resource id i. The
 * journal gets "i\n" for each, by one write(2) for each array, after publish returned. Prints
 * "ready", then whatever the counters are after each 1000 events, and at the end, as JSON lines.
 */
#include "auditstore/auditstore.h"

#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MAX_ARRAY      1000
#define COUNT_EVERY    1000
#define TICKS_A_SECOND 100

struct event {
  Auditstore__V1__AuditEvent event;
  Auditstore__V1__Resource resource;
  Google__Protobuf__Timestamp time;
  char id[37];
  char number[24];
};

struct client {
  struct auditstore_publisher *publisher;
  int journal, timer;
  uint64_t first, count;
  size_t array, rate;
  time_t began;
  struct event events[MAX_ARRAY];
};

static char text_type[] = "test.numbered", text_category[] = "test", text_action[] = "count";

static void fill(const struct client *c, struct event *e, uint64_t number) {
  snprintf(e->id, sizeof(e->id), "00000000-0000-8000-8000-%012" PRIx64, number);
  snprintf(e->number, sizeof(e->number), "%" PRIu64, number);
  auditstore__v1__audit_event__init(&e->event);
  auditstore__v1__resource__init(&e->resource);
  google__protobuf__timestamp__init(&e->time);
  e->time.seconds = c->began;
  e->resource.id = e->number;
  e->event.resource = &e->resource;
  e->event.event_id = e->id;
  e->event.event_time = &e->time;
  e->event.event_type = text_type;
  e->event.event_category = text_category;
  e->event.event_action = text_action;
  e->event.outcome = AUDITSTORE__V1__OUTCOME__OUTCOME_SUCCESS;
}

/* ---- reports ---- */

static void print_counters(const struct client *c) {
  struct auditstore_publisher_counters n;
  auditstore_publisher_get_counters(c->publisher, &n);
  printf("{\"taken\":%" PRIu64 ",\"replayed\":%" PRIu64 ",\"acknowledged\":%" PRIu64
         ",\"duplicates\":%" PRIu64 ",\"rejected\":%" PRIu64 ",\"refused\":%" PRIu64
         ",\"unconfirmed\":%" PRIu64 ",\"queue_events\":%" PRIu64 ",\"queue_bytes\":%" PRIu64
         ",\"spool_bytes\":%" PRIu64 ",\"reconnects\":%" PRIu64 ",\"oldest_ms\":%" PRId64 "}\n",
         n.taken, n.replayed, n.acknowledged, n.duplicates, n.rejected, n.refused, n.unconfirmed,
         n.queue_events, n.queue_bytes, n.spool_bytes, n.reconnects, n.oldest_unconfirmed_ms);
  fflush(stdout);
}

static int note(const struct client *c, uint64_t number, size_t count) {
  char text[MAX_ARRAY * 24];
  size_t len = 0;
  for (size_t i = 0; i < count; i++)
    len += (size_t)snprintf(text + len, sizeof(text) - len, "%" PRIu64 "\n", number + i);
  return write(c->journal, text, len) == (ssize_t)len ? 0 : -1;
}

/* ---- publishing ---- */

static int publish(struct client *c, uint64_t number, size_t count) {
  const Auditstore__V1__AuditEvent *events[MAX_ARRAY];
  struct auditstore_status status = {0};
  for (size_t i = 0; i < count; i++) {
    fill(c, &c->events[i], number + i);
    events[i] = &c->events[i].event;
  }
  if (auditstore_publisher_publish_all(c->publisher, events, NULL, count, &status) !=
      AUDITSTORE_OK) {
    fprintf(stderr, "publish_client: %s: %s\n", auditstore_code_name(status.code), status.message);
    auditstore_status_deinit(&status);
    return -1;
  }
  return note(c, number, count);
}

/* How many events are due: with a rate, those of the ticks that went by. */
static size_t wait_until_due(const struct client *c) {
  uint64_t ticks = 1;
  if (c->rate == 0)
    return c->array;
  if (read(c->timer, &ticks, sizeof(ticks)) < 0)
    return 0;
  size_t due = ticks * c->rate / TICKS_A_SECOND;
  return due < MAX_ARRAY ? due : MAX_ARRAY;
}

static int run(struct client *c) {
  uint64_t done = 0;
  while (done < c->count) {
    size_t due = wait_until_due(c);
    if (due > c->count - done)
      due = c->count - done;
    if (publish(c, c->first + done, due) < 0)
      return EXIT_FAILURE;
    if (done / COUNT_EVERY != (done + due) / COUNT_EVERY)
      print_counters(c);
    done += due;
  }
  return EXIT_SUCCESS;
}

/* ---- start ---- */

static void start_timer(struct client *c) {
  const struct itimerspec tick = {{0, 1000000000 / TICKS_A_SECOND},
                                  {0, 1000000000 / TICKS_A_SECOND}};
  c->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
  timerfd_settime(c->timer, 0, &tick, NULL);
}

static long parse(struct client *c, struct auditstore_publisher_options *o, int argc, char **argv) {
  static const struct option options[] = {{"spool", required_argument, NULL, 's'},
                                          {"spill", no_argument, NULL, 'x'},
                                          {"array", required_argument, NULL, 'a'},
                                          {"rate", required_argument, NULL, 'r'},
                                          {"queue", required_argument, NULL, 'q'},
                                          {"close", required_argument, NULL, 'c'},
                                          {NULL, 0, NULL, 0}};
  long close_ms = 60000;
  int option = 0;
  while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
    if (option == 's')
      o->spool_dir = optarg;
    else if (option == 'x')
      o->when_full = AUDITSTORE_FULL_SPILL;
    else if (option == 'a')
      c->array = strtoull(optarg, NULL, 10);
    else if (option == 'r')
      c->rate = strtoull(optarg, NULL, 10);
    else if (option == 'q')
      o->max_queue_events = strtoull(optarg, NULL, 10);
    else if (option == 'c')
      close_ms = strtol(optarg, NULL, 10);
    else
      exit(2);
  }
  return close_ms;
}

int main(int argc, char **argv) {
  static struct client c = {.array = 1};
  struct auditstore_publisher_options options = {0};
  struct auditstore_status status = {0};
  const struct auditstore_channel_options channel_options = {
      .backoff = {.initial_ms = 20, .max_ms = 500}};
  long close_ms = parse(&c, &options, argc, argv);
  if (argc - optind != 4)
    return 2;
  c.journal = open(argv[optind + 1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  c.first = strtoull(argv[optind + 2], NULL, 10);
  c.count = strtoull(argv[optind + 3], NULL, 10);
  c.began = time(NULL);
  struct auditstore_channel *channel =
      auditstore_channel_new(argv[optind], &channel_options, &status);
  c.publisher = channel ? auditstore_publisher_new(channel, &options, &status) : NULL;
  if (!c.publisher || c.journal < 0) {
    fprintf(stderr, "publish_client: %s\n", status.message ? status.message : "no journal");
    return EXIT_FAILURE;
  }
  printf("ready\n");
  fflush(stdout);
  start_timer(&c);
  int code = run(&c);
  auditstore_publisher_close(c.publisher, (int)close_ms);
  print_counters(&c);
  auditstore_publisher_free(c.publisher);
  auditstore_channel_free(channel);
  return code;
}
