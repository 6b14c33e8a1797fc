/*
 * publisher_fixture: a publisher on a store_server, and events whose event_type is their number.
 */
#pragma once

#include "auditstore/auditstore.h"
#include "store_server.h"

#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 60000
#define MAX_TOLD    100000

struct told {
  uint64_t tag;
  char id[37];
  enum auditstore_code code;
  char message[128];
  int64_t ledger_id, sequence, committed_us;
  bool duplicate, was_taken;
};

struct world {
  struct store_server *server;
  struct auditstore_channel *channel;
  struct auditstore_publisher *publisher;
  struct auditstore_publisher_options options;
  char dir[64];   /* for spools */
  char spool[96]; /* within it */
  pthread_mutex_t lock;
  struct told *told;
  size_t told_count;
  /* What the server does: a test's own state */
  store_batch_cb *script;
  size_t calls, limit;
  bool is_held;
};

static inline void note_result(void *arg, const struct auditstore_publish_result *result) {
  struct world *w = arg;
  pthread_mutex_lock(&w->lock);
  struct told *t = &w->told[w->told_count++];
  *t = (struct told){.tag = result->tag,
                     .code = result->code,
                     .ledger_id = result->ledger_id,
                     .sequence = result->sequence,
                     .committed_us = result->committed_us,
                     .duplicate = result->duplicate,
                     .was_taken = result->was_taken};
  snprintf(t->id, sizeof(t->id), "%s", result->event_id);
  snprintf(t->message, sizeof(t->message), "%s", result->message);
  pthread_mutex_unlock(&w->lock);
}

static inline void run_script(void *arg, size_t number,
                              const Auditstore__V1__StreamEventsRequest *batch,
                              struct store_reply *ret_reply) {
  struct world *w = arg;
  if (w->script)
    w->script(w, number, batch, ret_reply);
}

static inline int setup(void **state) {
  struct world *w = calloc(1, sizeof(*w));
  const struct auditstore_channel_options options = {.backoff = {.initial_ms = 1, .max_ms = 20}};
  w->told = calloc(MAX_TOLD, sizeof(*w->told));
  pthread_mutex_init(&w->lock, NULL);
  w->server = store_server_start(run_script, w);
  w->channel = auditstore_channel_new(store_server_target(w->server), &options, NULL);
  snprintf(w->dir, sizeof(w->dir), "/tmp/auditstore-spool.XXXXXX");
  assert_non_null(mkdtemp(w->dir));
  snprintf(w->spool, sizeof(w->spool), "%s/spool", w->dir);
  w->options.on_result = note_result;
  w->options.on_result_arg = w;
  *state = w;
  return 0;
}

static inline void remove_folder(const char *path) {
  char name[512];
  DIR *folder = opendir(path);
  const struct dirent *entry = NULL;
  while (folder && (entry = readdir(folder))) {
    if (entry->d_name[0] == '.')
      continue;
    snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
    if (unlink(name) < 0)
      remove_folder(name);
  }
  if (folder)
    closedir(folder);
  rmdir(path);
}

static inline int teardown(void **state) {
  struct world *w = *state;
  auditstore_publisher_free(w->publisher);
  auditstore_channel_free(w->channel);
  store_server_stop(w->server);
  remove_folder(w->dir);
  pthread_mutex_destroy(&w->lock);
  free(w->told);
  free(w);
  return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static inline void start(struct world *w) {
  struct auditstore_status status = {0};
  w->publisher = auditstore_publisher_new(w->channel, &w->options, &status);
  if (!w->publisher)
    fail_msg("%s", status.message);
}

static inline void expect_no_start(struct world *w, enum auditstore_code code, const char *text) {
  struct auditstore_status status = {0};
  assert_null(auditstore_publisher_new(w->channel, &w->options, &status));
  assert_int_equal(status.code, code);
  if (!strstr(status.message, text))
    fail_msg("\"%s\" isn't in: %s", text, status.message);
  auditstore_status_deinit(&status);
}

/* ---- events ---- */

struct event {
  Auditstore__V1__AuditEvent event;
  char type[32];
};

static inline const Auditstore__V1__AuditEvent *event_init(struct event *e, uint64_t number) {
  auditstore__v1__audit_event__init(&e->event);
  snprintf(e->type, sizeof(e->type), "%llu", (unsigned long long)number);
  e->event.event_type = e->type;
  e->event.event_category = (char *)"test";
  e->event.event_action = (char *)"count";
  e->event.outcome = AUDITSTORE__V1__OUTCOME__OUTCOME_SUCCESS;
  return &e->event;
}

/* The tag is the number. */
static inline enum auditstore_code publish(struct world *w, uint64_t number) {
  struct event e;
  return auditstore_publisher_publish(w->publisher, event_init(&e, number), number, NULL);
}

static inline void publish_range(struct world *w, uint64_t first, uint64_t behind) {
  for (uint64_t i = first; i < behind; i++)
    assert_int_equal(publish(w, i), AUDITSTORE_OK);
}

static inline enum auditstore_code publish_array(struct world *w, uint64_t first, size_t count) {
  struct event *events = calloc(count, sizeof(*events));
  const Auditstore__V1__AuditEvent **pointers = calloc(count, sizeof(void *));
  uint64_t *tags = calloc(count, sizeof(*tags));
  for (size_t i = 0; i < count; i++) {
    pointers[i] = event_init(&events[i], first + i);
    tags[i] = first + i;
  }
  enum auditstore_code code =
      auditstore_publisher_publish_all(w->publisher, pointers, tags, count, NULL);
  free(tags);
  free(pointers);
  free(events);
  return code;
}

/* ---- what stores do ---- */

/* Answers nothing while it is held. */
static inline void hold(void *arg, size_t number, const Auditstore__V1__StreamEventsRequest *batch,
                        struct store_reply *reply) {
  struct world *w = arg;
  (void)number;
  (void)batch;
  if (w->is_held)
    reply->action = STORE_IGNORE;
}

/* Says that number 3 is there with other content; with a limit, of the whole batch. */
static inline void reject_third(void *arg, size_t number,
                                const Auditstore__V1__StreamEventsRequest *batch,
                                struct store_reply *reply) {
  const struct world *w = arg;
  (void)number;
  for (size_t i = 0; i < batch->n_events; i++)
    if (strcmp(batch->events[i]->event_type, "3") == 0)
      *reply = (struct store_reply){.action = w->limit ? STORE_REFUSE : STORE_REJECT,
                                    .code = AUDITSTORE_ALREADY_EXISTS,
                                    .index = i};
}

/* ---- afterwards ---- */

static inline struct auditstore_publisher_counters counters(struct world *w) {
  struct auditstore_publisher_counters c;
  auditstore_publisher_get_counters(w->publisher, &c);
  return c;
}

static inline void flush_all(struct world *w) {
  assert_int_equal(auditstore_publisher_flush(w->publisher, PATIENCE_MS), 0);
}

static inline void close_publisher(struct world *w, uint64_t unconfirmed) {
  assert_int_equal(auditstore_publisher_close(w->publisher, unconfirmed ? 0 : PATIENCE_MS),
                   unconfirmed);
  auditstore_publisher_free(w->publisher);
  w->publisher = NULL;
}

/* Events 0 .. count - 1 are stored, once each, in this order. */
static inline void expect_stored_in_order(struct world *w, size_t count) {
  assert_int_equal(store_server_stored(w->server), count);
  for (size_t i = 0; i < count; i++)
    assert_int_equal(strtoull(store_server_type(w->server, i), NULL, 10), i);
}

/* Each tag of 0 .. count - 1 was told once, as acknowledged. */
static inline void expect_told(struct world *w, size_t count) {
  bool *seen = calloc(count, sizeof(*seen));
  assert_int_equal(w->told_count, count);
  for (size_t i = 0; i < count; i++) {
    assert_int_equal(w->told[i].code, AUDITSTORE_OK);
    assert_true(w->told[i].tag < count);
    assert_false(seen[w->told[i].tag]);
    seen[w->told[i].tag] = true;
  }
  free(seen);
}

/* Until `condition` holds. */
#define WAIT_FOR(condition)                                                                        \
  do {                                                                                             \
    for (int waited_ = 0; !(condition) && waited_ < PATIENCE_MS; waited_ += 2)                     \
      poll(NULL, 0, 2);                                                                            \
    assert_true(condition);                                                                        \
  } while (0)
