#include "ledger/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "ledger/memory_file.h"
#include "ledger/store_row.h"

/* A write begins no sooner after the one before. */
#define WRITE_EVERY_US CLOCK_US_PER_S
/* Failures in a row are logged no more often than this. */
#define LOG_EVERY_US (60 * CLOCK_US_PER_S)
#define FIRST_SLOTS  64

/*
 * What is known is an open-addressed table: a slot whose ledger_id is 0 is free. Slots are a power
 * of two, and at most half of them are taken.
 */
struct table {
  struct ledger_known *slots; /* owned */
  int cap;
  int count;
};

struct ledger_memory {
  struct loop *loop; /* borrowed */
  struct table table;
  int64_t last_id;
  char *path; /* owned; NULL: no file */
  char *origin;
  int lock_fd;
  struct loop_timer timer; /* the next write */
  bool is_dirty;           /* something isn't in the file, nor in the write under way */
  bool is_writing;
  bool is_closing;
  int64_t next_write_us; /* not before */
  int64_t dirty_us;      /* since when something isn't in the file; CLOCK_NEVER: all is */
  int64_t taken_us;      /* the same of what the write under way took */
  int64_t failures;
  bool is_failing; /* the last write did */
  int64_t next_log_us;
  uv_work_t work;
  struct memory_text text; /* of the write under way: the worker's alone meanwhile */
  struct error write_err;
  int write_rc;
  ledger_memory_closed_cb *closed;
  void *closed_arg;
};

static int64_t now_us(const struct ledger_memory *m) {
  return clock_monotonic_us(m->loop->clock);
}

/* ---- the table ---- */

/* The slot of that ledger, or the free one where it belongs. */
static struct ledger_known *table_slot(const struct table *table, int64_t ledger_id) {
  uint64_t hash = (uint64_t)ledger_id * 0x9e3779b97f4a7c15U;
  size_t mask = (size_t)table->cap - 1;
  size_t i = (size_t)(hash >> 32) & mask;
  while (table->slots[i].ledger_id != 0 && table->slots[i].ledger_id != ledger_id)
    i = (i + 1) & mask;
  return &table->slots[i];
}

static void table_grow(struct table *table) {
  struct table grown = {.cap = table->cap ? 2 * table->cap : FIRST_SLOTS, .count = table->count};
  grown.slots = xcalloc((size_t)grown.cap, sizeof(*grown.slots));
  for (int i = 0; i < table->cap; i++) {
    if (table->slots[i].ledger_id != 0)
      *table_slot(&grown, table->slots[i].ledger_id) = table->slots[i];
  }
  free(table->slots);
  *table = grown;
}

/* Whether it is news. */
static bool table_note(struct table *table, int64_t ledger_id, const struct ledger_head *head) {
  if (2 * (table->count + 1) > table->cap)
    table_grow(table);
  struct ledger_known *slot = table_slot(table, ledger_id);
  if (slot->ledger_id == ledger_id && slot->head.size >= head->size)
    return false;
  table->count += slot->ledger_id == 0;
  *slot = (struct ledger_known){.ledger_id = ledger_id, .head = *head};
  return true;
}

static bool take_in(struct ledger_memory *m, int64_t ledger_id, const struct ledger_head *head) {
  assert(ledger_id > 0 && head->size >= 0);
  if (ledger_id > m->last_id)
    m->last_id = ledger_id;
  return table_note(&m->table, ledger_id, head);
}

bool ledger_memory_find(const struct ledger_memory *m, int64_t ledger_id, struct ledger_head *ret) {
  if (m->table.count == 0)
    return false;
  const struct ledger_known *slot = table_slot(&m->table, ledger_id);
  if (slot->ledger_id == 0)
    return false;
  *ret = slot->head;
  return true;
}

int64_t ledger_memory_last_id(const struct ledger_memory *m) {
  return m->last_id;
}

/* All slots that are taken, in no order. */
static struct ledger_known *table_copy(const struct table *table) {
  if (table->count == 0)
    return NULL;
  struct ledger_known *copy = xcalloc((size_t)table->count, sizeof(*copy));
  int count = 0;
  for (int i = 0; i < table->cap; i++) {
    if (table->slots[i].ledger_id != 0)
      copy[count++] = table->slots[i];
  }
  return copy;
}

static int compare_ids(const void *left, const void *right) {
  int64_t a = ((const struct ledger_known *)left)->ledger_id;
  int64_t b = ((const struct ledger_known *)right)->ledger_id;
  return (a > b) - (a < b);
}

static void sort(struct ledger_known *known, int count) {
  if (count > 0)
    qsort(known, (size_t)count, sizeof(*known), compare_ids);
}

struct ledger_known *ledger_memory_list(const struct ledger_memory *m, int *ret_count) {
  struct ledger_known *list = table_copy(&m->table);
  *ret_count = m->table.count;
  sort(list, *ret_count);
  return list;
}

/* ---- writing ---- */

static void finish_close(struct ledger_memory *m);

static void plan_write(struct ledger_memory *m) {
  if (!m->path || m->is_writing || !m->is_dirty)
    return;
  loop_timer_set(&m->timer, m->is_closing ? now_us(m) : m->next_write_us);
}

static void touch(struct ledger_memory *m) {
  if (m->is_dirty)
    return;
  m->is_dirty = true;
  m->dirty_us = now_us(m);
  plan_write(m);
}

static void note_success(struct ledger_memory *m) {
  if (m->is_failing)
    log_info("ledger memory is written again", KV("file", m->path));
  m->is_failing = false;
}

static void note_failure(struct ledger_memory *m) {
  m->failures++;
  if (!m->is_failing || now_us(m) >= m->next_log_us) {
    log_error("ledger memory can't be written", KV("error", m->write_err.text),
              KV("failures", m->failures),
              KV("advice", "writes of events go on; mend it before the daemon stops"));
    m->next_log_us = now_us(m) + LOG_EVERY_US;
  }
  m->is_failing = true;
  /* What that write took waits again, for as long as it did. */
  m->is_dirty = true;
  m->dirty_us = m->taken_us;
}

static void on_written(uv_work_t *work, int status) {
  struct ledger_memory *m = work->data;
  m->is_writing = false;
  m->taken_us = status < 0 || m->write_rc < 0 ? m->taken_us : CLOCK_NEVER;
  free(m->text.known);
  if (m->taken_us == CLOCK_NEVER)
    note_success(m);
  else
    note_failure(m);
  m->taken_us = CLOCK_NEVER;
  if (m->is_closing && (!m->is_dirty || m->is_failing))
    finish_close(m);
  else
    plan_write(m);
}

static void write_text(uv_work_t *work) {
  struct ledger_memory *m = work->data;
  sort(m->text.known, m->text.count);
  m->write_rc = memory_file_write(m->path, &m->text, &m->write_err);
}

static void on_write_due(void *arg) {
  struct ledger_memory *m = arg;
  m->text = (struct memory_text){.origin = m->origin,
                                 .last_id = m->last_id,
                                 .known = table_copy(&m->table),
                                 .count = m->table.count};
  m->is_dirty = false;
  m->is_writing = true;
  m->taken_us = m->dirty_us;
  m->dirty_us = CLOCK_NEVER;
  m->next_write_us = now_us(m) + WRITE_EVERY_US;
  m->work.data = m;
  int rc = uv_queue_work(m->loop->uv, &m->work, write_text, on_written);
  assert(rc == 0);
  (void)rc;
}

/* ---- what is known ---- */

void ledger_memory_note(struct ledger_memory *m, int64_t ledger_id,
                        const struct ledger_head *head) {
  assert(!m->is_closing);
  if (take_in(m, ledger_id, head))
    touch(m);
}

void ledger_memory_end_epoch(struct ledger_memory *m) {
  assert(!m->is_closing);
  m->last_id = (m->last_id / STORE_EPOCH_IDS + 1) * STORE_EPOCH_IDS;
  touch(m);
}

void ledger_memory_reset(struct ledger_memory *m, const struct ledger_known *known, int count) {
  assert(!m->is_closing);
  free(m->table.slots);
  m->table = (struct table){0};
  for (int i = 0; i < count; i++)
    take_in(m, known[i].ledger_id, &known[i].head);
  touch(m);
}

bool ledger_memory_is_kept(const struct ledger_memory *m) {
  return m->path != NULL;
}

void ledger_memory_stats(const struct ledger_memory *m, struct ledger_memory_stats *ret_stats) {
  int64_t since = deadline_min(m->dirty_us, m->taken_us);
  *ret_stats = (struct ledger_memory_stats){
      .ledgers = m->table.count,
      .failures = m->failures,
      .unwritten_us = m->path && since != CLOCK_NEVER ? now_us(m) - since : 0,
  };
}

/* ---- life cycle ---- */

struct ledger_memory *ledger_memory_new(struct loop *loop) {
  struct ledger_memory *m = xcalloc(1, sizeof(*m));
  m->loop = loop;
  m->lock_fd = -1;
  m->dirty_us = m->taken_us = CLOCK_NEVER;
  loop_timer_init(&m->timer, loop, on_write_due, m);
  return m;
}

static char *copy_text(const char *text) {
  size_t size = strlen(text) + 1;
  return memcpy(xmalloc(size), text, size);
}

static void take_over(struct ledger_memory *m, const struct memory_text *text) {
  if (text->last_id > m->last_id)
    m->last_id = text->last_id;
  for (int i = 0; i < text->count; i++)
    take_in(m, text->known[i].ledger_id, &text->known[i].head);
  free(text->known);
}

int ledger_memory_open(struct ledger_memory *m, const char *path, const char *origin,
                       struct error *err) {
  struct memory_text text = {0};
  int fd = -1;
  assert(!m->path);
  int rc = memory_file_lock(path, &fd, err);
  if (rc < 0)
    return rc;
  rc = memory_file_read(path, origin, &text, err);
  if (rc == ERR_NOT_FOUND) {
    log_info("ledger memory begins", KV("file", path));
  } else if (rc < 0) {
    close(fd);
    return rc;
  }
  m->lock_fd = fd;
  m->path = copy_text(path);
  m->origin = copy_text(origin);
  take_over(m, &text);
  /* Also what an earlier text says: that it can be written is known from the first moment on. */
  touch(m);
  plan_write(m);
  return 0;
}

static void on_timer_closed(void *arg) {
  struct ledger_memory *m = arg;
  ledger_memory_closed_cb *closed = m->closed;
  void *closed_arg = m->closed_arg;
  bool is_failing = m->is_failing;
  struct error err = m->write_err;
  if (m->lock_fd >= 0)
    close(m->lock_fd);
  free(m->table.slots);
  free(m->path);
  free(m->origin);
  free(m);
  closed(closed_arg, is_failing ? &err : NULL);
}

static void finish_close(struct ledger_memory *m) {
  if (m->is_failing)
    log_error("ledger memory isn't all written", KV("file", m->path),
              KV("error", m->write_err.text));
  loop_timer_close(&m->timer, on_timer_closed, m);
}

void ledger_memory_close(struct ledger_memory *m, ledger_memory_closed_cb *closed, void *arg) {
  assert(!m->is_closing);
  m->is_closing = true;
  m->closed = closed;
  m->closed_arg = arg;
  if (m->path && (m->is_writing || m->is_dirty))
    plan_write(m);
  else
    finish_close(m);
}
