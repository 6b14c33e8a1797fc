#include "batch.h"

#include <stdlib.h>
#include <string.h>

/* The tag of field 2 and the length of what follows. */
#define FRAME_MAX_BYTES 6
#define FIRST_EVENTS    16

/* The publisher's limits bound it; one event may be above them, as the spool holds it from a time
 * when they were higher. */
#define MAX_BODY_BYTES (RECORD_MAX_EVENT_BYTES + FRAME_MAX_BYTES)

struct batch *batch_new(void) {
  struct batch *b = calloc(1, sizeof(*b));
  if (b)
    buf_init(&b->body, MAX_BODY_BYTES);
  return b;
}

void batch_free(struct batch *b) {
  buf_deinit(&b->body);
  free(b->events);
  free(b);
}

/* ---- batches to be filled again ---- */

#define MAX_SPARE       4
#define MAX_SPARE_BYTES ((size_t)512 * 1024)

void spares_put(struct list *spares, struct batch *b) {
  if (spares->count >= MAX_SPARE || b->body.cap > MAX_SPARE_BYTES) {
    batch_free(b);
    return;
  }
  buf_clear(&b->body);
  *b = (struct batch){.events = b->events, .cap = b->cap, .body = b->body};
  list_push_back(spares, &b->link);
}

struct batch *spares_take(struct list *spares) {
  struct list_link *link = list_pop_front(spares);
  return link ? LIST_ENTRY(link, struct batch, link) : batch_new();
}

void spares_deinit(struct list *spares) {
  struct list_link *link = NULL;
  while ((link = list_pop_front(spares)))
    batch_free(LIST_ENTRY(link, struct batch, link));
}

/* ---- events ---- */

bool batch_has_room(const struct batch *b, const struct batch_limits *limits, size_t event_len) {
  return b->count == 0 || (b->count < limits->events &&
                           buf_len(&b->body) + event_len + FRAME_MAX_BYTES <= limits->bytes);
}

static size_t put_frame(uint8_t *at, size_t len) {
  size_t n = 0;
  at[n++] = 0x12;
  for (; len >= 0x80; len >>= 7)
    at[n++] = (uint8_t)(len | 0x80);
  at[n++] = (uint8_t)len;
  return n;
}

static bool grow_events(struct batch *b) {
  if (b->count < b->cap)
    return true;
  size_t cap = b->cap ? b->cap * 2 : FIRST_EVENTS;
  struct batch_event *events = reallocarray(b->events, cap, sizeof(*events));
  if (!events)
    return false;
  b->events = events;
  b->cap = cap;
  return true;
}

static bool add(struct batch *b, const uint8_t *event, const struct batch_event *e) {
  uint8_t *room = grow_events(b) ? buf_reserve(&b->body, FRAME_MAX_BYTES + e->len) : NULL;
  if (!room)
    return false;
  size_t frame = put_frame(room, e->len);
  memcpy(room + frame, event, e->len);
  b->events[b->count] = *e;
  b->events[b->count++].start = (uint32_t)(buf_len(&b->body) + frame);
  buf_commit(&b->body, frame + e->len);
  return true;
}

bool batch_add(struct batch *b, const struct record *record) {
  const struct batch_event e = {
      .tag = record->tag, .len = (uint32_t)record->event_len, .nth = (uint32_t)b->span};
  if (!add(b, record->event, &e))
    return false;
  if (b->span++ == 0)
    b->taken_us = record->taken_us;
  return true;
}

/* Those from `first` on that aren't settled, counted from number `base`. */
static bool copy_events(struct batch *to, const struct batch *from, size_t first, uint32_t base) {
  for (size_t i = first; i < from->count; i++) {
    struct batch_event e = from->events[i];
    if (e.is_settled)
      continue;
    e.nth -= base;
    if (!add(to, batch_event_bytes(from, &from->events[i]), &e))
      return false;
  }
  return true;
}

struct batch *batch_split(struct batch *b) {
  size_t half = b->count / 2;
  uint32_t base = b->events[half].nth;
  struct batch *rest = batch_new();
  if (rest && !copy_events(rest, b, half, base)) {
    batch_free(rest);
    return NULL;
  }
  if (!rest)
    return NULL;
  rest->first_number = b->first_number + base;
  rest->span = b->span - base;
  rest->taken_us = b->taken_us;
  rest->is_spooled = b->is_spooled;
  rest->place = b->place;
  rest->was_sent = b->was_sent;
  rest->held_events = b->held_events;
  rest->held_bytes = b->held_bytes;
  b->held_events = b->held_bytes = 0;
  b->span = base;
  /* Only with its second half is the place reached. */
  b->is_spooled = false;
  b->exhausted = 0;
  size_t end = b->events[half - 1].start + b->events[half - 1].len;
  b->body.end = b->body.start + end;
  b->count = half;
  return rest;
}

bool batch_compact(struct batch *b) {
  struct batch left = {.link = {0}};
  buf_init(&left.body, MAX_BODY_BYTES);
  if (!copy_events(&left, b, 0, 0)) {
    buf_deinit(&left.body);
    free(left.events);
    return false;
  }
  buf_deinit(&b->body);
  free(b->events);
  b->body = left.body;
  b->events = left.events;
  b->count = left.count;
  b->cap = left.cap;
  return true;
}
