#include "pack.h"

#include "internal.h"
#include "record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What the store refuses whoever sends it. The rest is the store's to judge. */
static const char *fault_of(const Auditstore__V1__AuditEvent *e) {
  struct uuid uuid;
  if (!e->event_type || !*e->event_type)
    return "event_type is required";
  if (!e->event_category || !*e->event_category)
    return "event_category is required";
  if (!e->event_action || !*e->event_action)
    return "event_action is required";
  if (e->outcome == AUDITSTORE__V1__OUTCOME__OUTCOME_UNSPECIFIED)
    return "outcome is required";
  if (e->event_id && *e->event_id && !uuid_parse(str_z(e->event_id), &uuid))
    return "event_id must be a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057";
  return NULL;
}

/* One event with what it lacked. */
struct completed {
  Auditstore__V1__AuditEvent event; /* points to the caller's parts */
  Google__Protobuf__Timestamp time;
  char id[UUID_TEXT_LEN + 1];
  int64_t now_us;
};

static void complete(struct completed *c, const Auditstore__V1__AuditEvent *event,
                     const struct timespec *now, struct id_maker *ids) {
  c->event = *event;
  c->now_us = (int64_t)now->tv_sec * 1000000 + now->tv_nsec / 1000;
  if (!event->event_id || !*event->event_id) {
    pthread_mutex_lock(&ids->lock);
    struct uuid id = uuid_v7_next(&ids->generator, c->now_us);
    pthread_mutex_unlock(&ids->lock);
    uuid_format(&id, c->id);
    c->id[UUID_TEXT_LEN] = '\0';
    c->event.event_id = c->id;
  }
  if (event->event_time)
    return;
  google__protobuf__timestamp__init(&c->time);
  c->time.seconds = now->tv_sec;
  c->time.nanos = (int32_t)(now->tv_nsec / 1000 * 1000);
  c->event.event_time = &c->time;
}

/* Room for `len` more bytes. */
static uint8_t *reserve(struct packed *p, size_t *cap, size_t len) {
  if (p->len + len <= *cap)
    return p->bytes + p->len;
  size_t wanted = *cap * 2 > p->len + len ? *cap * 2 : p->len + len;
  uint8_t *bytes = realloc(p->bytes == p->own ? NULL : p->bytes, wanted);
  if (!bytes)
    return NULL;
  if (p->bytes == p->own)
    memcpy(bytes, p->own, p->len);
  p->bytes = bytes;
  *cap = wanted;
  return bytes + p->len;
}

static enum auditstore_code refuse(const struct pack_input *input, size_t index, const char *fault,
                                   struct auditstore_status *status) {
  char where[48] = "";
  if (input->names_index)
    snprintf(where, sizeof(where), "events[%zu].", index);
  status_set(status, AUDITSTORE_INVALID_ARGUMENT, "%s%s", where, fault);
  return AUDITSTORE_INVALID_ARGUMENT;
}

static enum auditstore_code pack_one(struct packed *p, size_t *cap, const struct pack_input *input,
                                     const struct completed *c, struct auditstore_status *status) {
  const ProtobufCMessage *message = &c->event.base;
  struct record record = {.event_len = protobuf_c_message_get_packed_size(message)};
  if (record.event_len > input->max_event_bytes) {
    char fault[128];
    snprintf(fault, sizeof(fault), "the event has %zu bytes; max_batch_bytes allows %zu",
             record.event_len, input->max_event_bytes);
    return refuse(input, p->count, fault, status);
  }
  uint8_t *room = reserve(p, cap, record_size(&record));
  if (!room) {
    status_set(status, AUDITSTORE_RESOURCE_EXHAUSTED, "out of memory");
    return AUDITSTORE_RESOURCE_EXHAUSTED;
  }
  record.tag = input->tags ? input->tags[p->count] : 0;
  record.taken_us = c->now_us;
  record_begin(room, &record);
  protobuf_c_message_pack(message, room + RECORD_HEADER_BYTES);
  p->len += record_size(&record);
  p->count++;
  return AUDITSTORE_OK;
}

enum auditstore_code packed_init(struct packed *p, const struct pack_input *input,
                                 struct id_maker *ids, struct auditstore_status *status) {
  size_t cap = sizeof(p->own);
  struct timespec now;
  enum auditstore_code code = AUDITSTORE_OK;
  p->bytes = p->own;
  p->len = p->count = 0;
  clock_gettime(CLOCK_REALTIME, &now);
  for (size_t i = 0; i < input->count && code == AUDITSTORE_OK; i++) {
    struct completed c;
    const char *fault = fault_of(input->events[i]);
    if (fault)
      return refuse(input, i, fault, status);
    complete(&c, input->events[i], &now, ids);
    code = pack_one(p, &cap, input, &c, status);
  }
  return code;
}

void packed_deinit(struct packed *p) {
  if (p->bytes != p->own)
    free(p->bytes);
}
