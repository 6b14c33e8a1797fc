/*
 * The bytes that a ledger's leaf is the hash of: the StoredEvent message of event.proto, written
 * straight from the normalised event. Fields stand in the order of their numbers and those with
 * their default value are left out, as protobuf implementations write them, so that others can make
 * the same bytes from what they read.
 */
#include "ledger/event.h"

enum wire { WIRE_VARINT = 0, WIRE_BYTES = 2 };

enum {
  VARINT_MAX = 10,
  US_PER_S = 1000000,
  NS_PER_US = 1000,
  /* Everything but the texts, with all lengths and tags. */
  PACKED_MAX_BESIDES_TEXTS = 640,
};

/* Room was made sure of before: nothing here checks for it. */
struct out {
  uint8_t *at;
};

static void put_varint(struct out *out, uint64_t value) {
  while (value >= 0x80) {
    *out->at++ = (uint8_t)(value | 0x80);
    value >>= 7;
  }
  *out->at++ = (uint8_t)value;
}

static void put_tag(struct out *out, unsigned field, enum wire wire) {
  put_varint(out, field << 3 | (unsigned)wire);
}

static void put_bytes(struct out *out, unsigned field, struct str value) {
  if (value.len == 0)
    return;
  put_tag(out, field, WIRE_BYTES);
  put_varint(out, value.len);
  memcpy(out->at, value.data, value.len);
  out->at += value.len;
}

/* A negative number takes all ten bytes. */
static void put_int(struct out *out, unsigned field, int64_t value) {
  if (value == 0)
    return;
  put_tag(out, field, WIRE_VARINT);
  put_varint(out, (uint64_t)value);
}

static void put_uuid(struct out *out, unsigned field, const struct uuid *uuid) {
  char text[UUID_TEXT_LEN];
  uuid_format(uuid, text);
  put_bytes(out, field, str_of(text, sizeof(text)));
}

/* ---- messages within messages ---- */

/* Where its content begins, with one byte left for its length. */
static uint8_t *open_message(struct out *out, unsigned field) {
  put_tag(out, field, WIRE_BYTES);
  return ++out->at;
}

static void close_message(struct out *out, uint8_t *content) {
  size_t len = (size_t)(out->at - content);
  uint8_t prefix[VARINT_MAX];
  struct out length = {prefix};
  put_varint(&length, len);
  size_t prefix_len = (size_t)(length.at - prefix);
  if (prefix_len > 1)
    memmove(content + prefix_len - 1, content, len);
  memcpy(content - 1, prefix, prefix_len);
  out->at += prefix_len - 1;
}

/* An absent part has no message of its own. */
static void drop_empty_message(struct out *out, uint8_t *before, uint8_t *content) {
  if (out->at == content)
    out->at = before;
  else
    close_message(out, content);
}

/* Timestamp and Duration have the same shape. Before 1970 the fraction still counts forward. */
static void put_time(struct out *out, unsigned field, int64_t us) {
  int64_t rest = us % US_PER_S;
  if (rest < 0)
    rest += US_PER_S;
  uint8_t *content = open_message(out, field);
  put_int(out, 1, (us - rest) / US_PER_S);
  put_int(out, 2, rest * NS_PER_US);
  close_message(out, content);
}

static void put_ip(struct out *out, unsigned field, const struct pg_inet *ip) {
  char text[PG_INET_TEXT_SIZE];
  if (ip->length)
    put_bytes(out, field, str_of(text, pg_inet_format(ip, text)));
}

static void put_actor(struct out *out, const struct event *event) {
  uint8_t *before = out->at;
  uint8_t *content = open_message(out, 9);
  put_bytes(out, 1, event->text[EVENT_TEXT_ACTOR_TYPE]);
  put_bytes(out, 2, event->text[EVENT_TEXT_ACTOR_ID]);
  put_ip(out, 3, &event->actor_ip);
  drop_empty_message(out, before, content);
}

static void put_resource(struct out *out, const struct event *event) {
  uint8_t *before = out->at;
  uint8_t *content = open_message(out, 10);
  put_bytes(out, 1, event->text[EVENT_TEXT_RESOURCE_TYPE]);
  put_bytes(out, 2, event->text[EVENT_TEXT_RESOURCE_ID]);
  put_bytes(out, 3, event->text[EVENT_TEXT_RESOURCE_NAME]);
  put_bytes(out, 4, event->text[EVENT_TEXT_NAMESPACE]);
  put_bytes(out, 5, event->text[EVENT_TEXT_CLUSTER]);
  drop_empty_message(out, before, content);
}

static void put_error(struct out *out, const struct event *event) {
  uint8_t *before = out->at;
  uint8_t *content = open_message(out, 16);
  put_bytes(out, 1, event->text[EVENT_TEXT_ERROR_CODE]);
  put_bytes(out, 2, event->text[EVENT_TEXT_ERROR_MESSAGE]);
  drop_empty_message(out, before, content);
}

/* ---- the event ---- */

static void put_identity(struct out *out, const struct event *event) {
  put_uuid(out, 1, &event->id);
  put_time(out, 2, event->time_us);
  put_bytes(out, 3, event->text[EVENT_TEXT_EVENT_TYPE]);
  put_bytes(out, 4, event->text[EVENT_TEXT_EVENT_CATEGORY]);
  put_bytes(out, 5, event->text[EVENT_TEXT_EVENT_ACTION]);
  put_bytes(out, 6, event->text[EVENT_TEXT_EVENT_VERSION]);
  put_int(out, 7, event->outcome);
  put_int(out, 8, event->severity);
}

static void put_relations(struct out *out, const struct event *event) {
  put_bytes(out, 11, event->text[EVENT_TEXT_CORRELATION_ID]);
  if (event->has_parent)
    put_uuid(out, 12, &event->parent_id);
  put_bytes(out, 13, event->text[EVENT_TEXT_TRACE_ID]);
  put_bytes(out, 14, event->text[EVENT_TEXT_SPAN_ID]);
}

static void put_rest(struct out *out, const struct event *event) {
  if (event->duration_us >= 0)
    put_time(out, 15, event->duration_us);
  put_error(out, event);
  put_int(out, 17, event->retention_days);
  put_int(out, 18, event->is_sensitive);
  put_bytes(out, 19, event->text[EVENT_TEXT_EVENT_DATA]);
}

static void put_event(struct out *out, const struct event *event) {
  uint8_t *content = open_message(out, 1);
  put_identity(out, event);
  put_actor(out, event);
  put_resource(out, event);
  put_relations(out, event);
  put_rest(out, event);
  close_message(out, content);
}

static size_t packed_max(const struct event *event, const struct event_place *place) {
  size_t size = PACKED_MAX_BESIDES_TEXTS + place->principal.len;
  for (int i = 0; i < EVENT_TEXT_COUNT; i++)
    size += event->text[i].len;
  return size;
}

bool event_pack(const struct event *event, const struct event_place *place, struct buf *ret_bytes) {
  buf_clear(ret_bytes);
  uint8_t *start = buf_reserve(ret_bytes, packed_max(event, place));
  if (!start)
    return false;
  struct out out = {start};
  put_event(&out, event);
  put_time(&out, 2, place->received_us);
  put_int(&out, 3, place->ledger_id);
  put_int(&out, 4, place->sequence);
  put_bytes(&out, 5, place->principal);
  buf_commit(ret_bytes, (size_t)(out.at - start));
  return true;
}
