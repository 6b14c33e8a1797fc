/*
 * Validation of an event in protobuf's encoding. What passes can be stored (every text within its
 * limit, UTF-8 without NUL), packs to the bytes that its message packs to, and comes back from them
 * as the same event.
 */
#include "fuzz/fuzz.h"
#include "ingest/validate.h"
#include "ledger/rows.h"

#include <string.h>

#define ARENA_BYTES ((size_t)16 * 1024 * 1024)

static void *alloc_from_arena(void *arena, size_t size) {
  return arena_alloc(arena, size);
}

static void free_nothing(void *arena, void *p) {
  (void)arena;
  (void)p;
}

static ProtobufCAllocator allocator_of(struct arena *arena) {
  return (ProtobufCAllocator){alloc_from_arena, free_nothing, arena};
}

static bool validate(Auditstore__V1__AuditEvent *message, struct event *ret_event) {
  static const struct config_ingest config = {.max_event_age_us = CLOCK_NEVER,
                                              .max_event_ahead_us = CLOCK_NEVER,
                                              .max_event_data_bytes = 1024LL * 1024};
  struct validator validator = {.config = &config, .now_us = 1795420345123456};
  struct grpc_status *status = NULL;
  bool is_good = validate_event(&validator, message, 0, ret_event, &status);
  fuzz_require(is_good == (status == NULL), "a refusal has a status");
  grpc_status_free(status);
  return is_good;
}

static void check_texts(const struct event *event) {
  for (int i = 0; i < EVENT_TEXT_COUNT; i++) {
    fuzz_require(event->text[i].len <= event_text_fields[i].max_bytes, "a text keeps its limit");
    fuzz_require(utf8_is_storable(event->text[i]), "a text can be stored");
    fuzz_require(event->text[i].len > 0 || !event_text_fields[i].is_required,
                 "what is required is there");
  }
}

static void check_packing(const struct event *event, struct arena *arena) {
  const struct stored_event stored = {.event = *event,
                                      .place = {.received_us = 1, .ledger_id = 2, .sequence = 3}};
  struct buf packed;
  buf_init(&packed, ARENA_BYTES);
  Auditstore__V1__StoredEvent *message = stored_event_to_proto(&stored, arena);
  fuzz_require(message && event_pack(event, &stored.place, &packed), "there is room");
  size_t size = auditstore__v1__stored_event__get_packed_size(message);
  uint8_t *expected = arena_alloc(arena, size);
  fuzz_require(expected != NULL, "there is room");
  auditstore__v1__stored_event__pack(message, expected);
  fuzz_require(buf_len(&packed) == size && memcmp(buf_bytes(&packed), expected, size) == 0,
               "the packed event is the message packed");
  ProtobufCAllocator allocator = allocator_of(arena);
  Auditstore__V1__StoredEvent *again =
      auditstore__v1__stored_event__unpack(&allocator, size, expected);
  struct event read;
  fuzz_require(again && validate(again->event, &read), "what is stored is valid");
  fuzz_require(event_is_same(event, &read), "what is stored comes back");
  buf_deinit(&packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct arena arena;
  struct event event;
  arena_init(&arena, ARENA_BYTES);
  ProtobufCAllocator allocator = allocator_of(&arena);
  Auditstore__V1__AuditEvent *message = auditstore__v1__audit_event__unpack(&allocator, size, data);
  if (message && validate(message, &event)) {
    check_texts(&event);
    check_packing(&event, &arena);
  }
  arena_deinit(&arena);
  return 0;
}
