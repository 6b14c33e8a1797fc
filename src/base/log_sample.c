#include "base/log_sample.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bucket.h"
#include "base/loop.h"

#define CAUSE_COUNT     64
#define CAUSE_BURST     5
#define ALL_BURST       50
#define ALL_PER_SECOND  5
#define TELL_EVERY_US   (10 * CLOCK_US_PER_S)
#define ADDRESS_SIZE    64
#define DETAIL_SIZE     96
#define OWN_FIELD_COUNT 2

struct entry {
  struct list_link link;
  enum log_level level;
  const char *event;
  char address[ADDRESS_SIZE];
  const char *detail_key;
  char detail[DETAIL_SIZE];
  int told; /* less those that time has given back */
  int64_t left_out;
};

struct log_sampler {
  struct loop *loop; /* borrowed */
  struct loop_timer timer;
  struct entry entries[CAUSE_COUNT];
  struct list known; /* the one that was met last comes first */
  struct list unused;
  struct bucket all[2]; /* of debug lines, and of the others */
  int64_t untold;       /* left out of causes that aren't known any more */
  int64_t left_out;
};

/* ---- lines ---- */

static void write_one(const struct log_cause *cause, const struct log_kv *more, int count) {
  struct log_kv fields[OWN_FIELD_COUNT + LOG_SAMPLE_FIELDS];
  int used = 0;
  assert(count <= LOG_SAMPLE_FIELDS);
  fields[used++] = KV("peer", cause->peer);
  if (cause->detail.key)
    fields[used++] = cause->detail;
  for (int i = 0; i < count; i++)
    fields[used++] = more[i];
  log_write(cause->level, cause->event, fields, used);
}

static void write_number(struct entry *entry) {
  const struct log_cause cause = {.level = entry->level,
                                  .event = entry->event,
                                  .peer = entry->address,
                                  .detail = KV(entry->detail_key, (const char *)entry->detail)};
  const struct log_kv repeated = KV("repeated", entry->left_out);
  if (log_enabled(entry->level))
    write_one(&cause, &repeated, 1);
  entry->left_out = 0;
}

/* ---- time ---- */

/* Nothing was left out for a while: one more may be told. */
static void give_back(struct log_sampler *sampler, struct entry *entry) {
  if (--entry->told > 0)
    return;
  list_remove(&sampler->known, &entry->link);
  list_push_back(&sampler->unused, &entry->link);
}

static void tell_numbers(struct log_sampler *sampler) {
  struct list_link *next = NULL;
  for (struct list_link *link = sampler->known.first; link; link = next) {
    struct entry *entry = LIST_ENTRY(link, struct entry, link);
    next = link->next;
    if (entry->left_out > 0)
      write_number(entry);
    else
      give_back(sampler, entry);
  }
  if (sampler->untold > 0)
    log_warn("log lines left out", KV("repeated", sampler->untold));
  sampler->untold = 0;
}

static int64_t now_of(const struct log_sampler *sampler) {
  return clock_monotonic_us(sampler->loop->clock);
}

static void arm(struct log_sampler *sampler) {
  if (sampler->timer.at_us == CLOCK_NEVER)
    loop_timer_set(&sampler->timer, now_of(sampler) + TELL_EVERY_US);
}

static void on_timer(void *arg) {
  struct log_sampler *sampler = arg;
  tell_numbers(sampler);
  if (sampler->known.count > 0)
    arm(sampler);
}

/* ---- causes ---- */

/* Of "192.0.2.7:80" or "[2001:db8::7]:80". */
static void copy_address(char ret_address[ADDRESS_SIZE], const char *peer) {
  const char *port = strrchr(peer, ':');
  size_t len = port ? (size_t)(port - peer) : strlen(peer);
  if (len >= ADDRESS_SIZE)
    len = ADDRESS_SIZE - 1;
  memcpy(ret_address, peer, len);
  ret_address[len] = '\0';
}

static void make_entry(struct entry *entry, const struct log_cause *cause) {
  const char *detail = cause->detail.key ? cause->detail.value.s : NULL;
  *entry =
      (struct entry){.level = cause->level, .event = cause->event, .detail_key = cause->detail.key};
  copy_address(entry->address, cause->peer);
  strncat(entry->detail, detail ? detail : "", sizeof(entry->detail) - 1);
}

static bool is_same(const struct entry *a, const struct entry *b) {
  return a->event == b->event && strcmp(a->address, b->address) == 0 &&
         strcmp(a->detail, b->detail) == 0;
}

static struct entry *find(struct log_sampler *sampler, const struct entry *wanted) {
  for (struct list_link *link = sampler->known.first; link; link = link->next) {
    struct entry *entry = LIST_ENTRY(link, struct entry, link);
    if (is_same(entry, wanted))
      return entry;
  }
  return NULL;
}

static struct entry *replace_oldest(struct log_sampler *sampler) {
  struct entry *entry = LIST_ENTRY(sampler->known.last, struct entry, link);
  list_remove(&sampler->known, &entry->link);
  sampler->untold += entry->left_out;
  return entry;
}

static struct entry *meet(struct log_sampler *sampler, const struct log_cause *cause) {
  struct entry wanted;
  make_entry(&wanted, cause);
  struct entry *entry = find(sampler, &wanted);
  if (entry) {
    list_remove(&sampler->known, &entry->link);
  } else {
    struct list_link *link = list_pop_front(&sampler->unused);
    entry = link ? LIST_ENTRY(link, struct entry, link) : replace_oldest(sampler);
    *entry = wanted;
  }
  list_push_front(&sampler->known, &entry->link);
  return entry;
}

/* Whether it is to be told; if not, it is counted. */
static bool take(struct log_sampler *sampler, const struct log_cause *cause) {
  struct entry *entry = meet(sampler, cause);
  arm(sampler);
  if (entry->told < CAUSE_BURST &&
      bucket_take(&sampler->all[cause->level != LOG_DEBUG], now_of(sampler))) {
    entry->told++;
    return true;
  }
  entry->left_out++;
  sampler->left_out++;
  return false;
}

void log_sampled(struct loop *loop, const struct log_cause *cause, const struct log_kv *fields,
                 int count) {
  if (log_enabled(cause->level) && (!loop->sampler || take(loop->sampler, cause)))
    write_one(cause, fields, count);
}

int64_t log_sampler_left_out(const struct log_sampler *sampler) {
  return sampler->left_out;
}

/* ---- life cycle ---- */

struct log_sampler *log_sampler_new(struct loop *loop) {
  struct log_sampler *sampler = xcalloc(1, sizeof(*sampler));
  sampler->loop = loop;
  for (int i = 0; i < CAUSE_COUNT; i++)
    list_push_back(&sampler->unused, &sampler->entries[i].link);
  for (int i = 0; i < 2; i++)
    bucket_init(&sampler->all[i], ALL_BURST, ALL_PER_SECOND, now_of(sampler));
  loop_timer_init(&sampler->timer, loop, on_timer, sampler);
  return sampler;
}

void log_sampler_close(struct log_sampler *sampler) {
  if (!sampler)
    return;
  tell_numbers(sampler);
  loop_timer_close(&sampler->timer, free, sampler);
}
