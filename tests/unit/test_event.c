/*
 * Events in the form they are stored in: to the API's message and back from rows.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "ledger/event.h"
#include "ledger/rows.h"

#define ARENA_BYTES 16384

static struct event full_event(void) {
  struct event e = {
      .time_us = 1795420345123456,
      .duration_us = 1500000,
      .retention_days = 90,
      .outcome = AUDITSTORE__V1__OUTCOME__OUTCOME_FAILURE,
      .severity = AUDITSTORE__V1__SEVERITY__SEVERITY_ALERT,
      .has_parent = true,
      .is_sensitive = true,
      .actor_ip = {.length = 4, .bytes = {192, 0, 2, 7}},
  };
  static char texts[EVENT_TEXT_COUNT][2] = {{0}};
  for (int i = 0; i < EVENT_TEXT_COUNT; i++) {
    texts[i][0] = (char)('a' + i);
    e.text[i] = str_of(texts[i], 1);
  }
  for (int i = 0; i < 16; i++) {
    e.id.bytes[i] = (uint8_t)i;
    e.parent_id.bytes[i] = (uint8_t)(0xF0 + i);
  }
  return e;
}

static struct stored_event stored(struct event event) {
  return (struct stored_event){
      .event = event, .place = {.received_us = 1795420345999999, .ledger_id = 3, .sequence = 41}};
}

static void assert_bytes(ProtobufCBinaryData bytes, const char *text) {
  assert_int_equal(bytes.len, strlen(text));
  if (bytes.len)
    assert_memory_equal(bytes.data, text, bytes.len);
}

static void every_field_reaches_the_message(void **state) {
  (void)state;
  struct arena arena;
  arena_init(&arena, ARENA_BYTES);
  struct stored_event in = stored(full_event());
  in.place.principal = str_z("token:ci");
  Auditstore__V1__StoredEvent *out = stored_event_to_proto(&in, &arena);
  assert_non_null(out);
  assert_bytes(out->principal, "token:ci");
  const Auditstore__V1__AuditEvent *e = out->event;
  assert_bytes(e->event_id, "00010203-0405-0607-0809-0a0b0c0d0e0f");
  assert_bytes(e->parent_event_id, "f0f1f2f3-f4f5-f6f7-f8f9-fafbfcfdfeff");
  assert_int_equal(e->event_time->seconds, 1795420345);
  assert_int_equal(e->event_time->nanos, 123456000);
  assert_int_equal(e->duration->seconds, 1);
  assert_int_equal(e->duration->nanos, 500000000);
  assert_int_equal(e->outcome, AUDITSTORE__V1__OUTCOME__OUTCOME_FAILURE);
  assert_int_equal(e->severity, AUDITSTORE__V1__SEVERITY__SEVERITY_ALERT);
  assert_int_equal(e->retention_days, 90);
  assert_true(e->sensitive);
  assert_bytes(e->actor->ip, "192.0.2.7");
  assert_int_equal(out->received_at->nanos, 999999000);
  assert_int_equal(out->ledger_id, 3);
  assert_int_equal(out->sequence, 41);
  arena_deinit(&arena);
}

static void every_text_reaches_its_own_place(void **state) {
  (void)state;
  struct arena arena;
  arena_init(&arena, ARENA_BYTES);
  struct stored_event in = stored(full_event());
  const Auditstore__V1__AuditEvent *e = stored_event_to_proto(&in, &arena)->event;
  const ProtobufCBinaryData texts[] = {
      e->event_type,        e->event_category,
      e->event_action,      e->event_version,
      e->actor->type,       e->actor->id,
      e->resource->type,    e->resource->id,
      e->resource->name,    e->resource->namespace_,
      e->resource->cluster, e->correlation_id,
      e->trace_id,          e->span_id,
      e->error->code,       e->error->message,
      e->event_data,
  };
  assert_int_equal(sizeof(texts) / sizeof(texts[0]), EVENT_TEXT_COUNT);
  for (int i = 0; i < EVENT_TEXT_COUNT; i++)
    assert_bytes(texts[i], (char[]){(char)('a' + i), 0});
  arena_deinit(&arena);
}

static void absent_parts_stay_absent(void **state) {
  (void)state;
  struct arena arena;
  arena_init(&arena, ARENA_BYTES);
  struct stored_event in = stored((struct event){.duration_us = -1, .time_us = -1});
  const Auditstore__V1__AuditEvent *e = stored_event_to_proto(&in, &arena)->event;
  assert_null(e->actor);
  assert_null(e->resource);
  assert_null(e->error);
  assert_null(e->duration);
  assert_int_equal(e->parent_event_id.len, 0);
  assert_int_equal(e->event_time->seconds, -1);
  assert_int_equal(e->event_time->nanos, 999999000);
  arena_deinit(&arena);
}

static void a_duration_of_zero_is_not_absent(void **state) {
  (void)state;
  struct arena arena;
  arena_init(&arena, ARENA_BYTES);
  struct stored_event in = stored((struct event){.duration_us = 0});
  assert_non_null(stored_event_to_proto(&in, &arena)->event->duration);
  arena_deinit(&arena);
}

static void an_address_alone_makes_an_actor(void **state) {
  (void)state;
  struct arena arena;
  arena_init(&arena, ARENA_BYTES);
  struct stored_event in = stored(
      (struct event){.actor_ip = {.length = 16, .bytes = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}}});
  assert_bytes(stored_event_to_proto(&in, &arena)->event->actor->ip, "2001:db8::1");
  arena_deinit(&arena);
}

/* ---- packing ---- */

static int64_t draw(int64_t below) {
  return (int64_t)(drand48() * (double)below);
}

/* Often nothing, often short, now and then longer than any field may be. */
static struct str draw_text(void) {
  static const char letters[20000];
  int64_t kind = draw(8);
  if (kind < 3)
    return str_of(letters, 0);
  if (kind < 6)
    return str_of(letters, (size_t)draw(40) + 1);
  return str_of(letters, (size_t)draw(kind == 6 ? 300 : 20000) + 1);
}

static struct stored_event draw_event(void) {
  struct stored_event e = {
      .event = {.time_us = draw(4) ? draw(INT64_C(1) << 51) : -draw(INT64_C(1) << 51),
                .duration_us = draw(3) - 1 ? draw(INT64_C(1) << 40) : -1,
                .retention_days = (int32_t)draw(3) * 365,
                .outcome = (uint8_t)(draw(4) + 1),
                .severity = (uint8_t)draw(9),
                .has_parent = draw(2) == 0,
                .is_sensitive = draw(2) == 0,
                .actor_ip = {.length = (uint8_t[]){0, 4, 16}[draw(3)]}},
      .place = {.received_us = draw(INT64_C(1) << 51), .ledger_id = draw(300) + 1},
  };
  if (draw(2))
    e.place.principal = draw_text();
  e.place.sequence = draw(4) ? draw(INT64_C(1) << 40) : 0;
  for (int i = 0; i < 16; i++) {
    e.event.id.bytes[i] = (uint8_t)draw(256);
    e.event.parent_id.bytes[i] = (uint8_t)draw(256);
    e.event.actor_ip.bytes[i] = (uint8_t)draw(256);
  }
  for (int i = 0; i < EVENT_TEXT_COUNT; i++)
    e.event.text[i] = draw_text();
  return e;
}

static void the_packed_event_is_the_message_packed(void **state) {
  (void)state;
  struct buf packed;
  buf_init(&packed, 1 << 20);
  srand48(7);
  for (int i = 0; i < 2000; i++) {
    struct arena arena;
    arena_init(&arena, 1 << 20);
    struct stored_event in = draw_event();
    Auditstore__V1__StoredEvent *message = stored_event_to_proto(&in, &arena);
    assert_non_null(message);
    uint8_t *expected = xmalloc(auditstore__v1__stored_event__get_packed_size(message));
    size_t len = auditstore__v1__stored_event__pack(message, expected);
    assert_true(event_pack(&in.event, &in.place, &packed));
    assert_int_equal(buf_len(&packed), len);
    assert_memory_equal(buf_bytes(&packed), expected, len);
    free(expected);
    arena_deinit(&arena);
  }
  buf_deinit(&packed);
}

/* Events from before principals were kept give the hash that they gave then. */
static void the_principal_stands_behind_what_was_there_before(void **state) {
  (void)state;
  static const char principal[] = "cn:alice";
  struct buf without;
  struct buf with;
  struct stored_event in = stored(full_event());
  buf_init(&without, 1 << 16);
  buf_init(&with, 1 << 16);
  assert_true(event_pack(&in.event, &in.place, &without));
  in.place.principal = str_z(principal);
  assert_true(event_pack(&in.event, &in.place, &with));
  size_t len = buf_len(&without);
  assert_memory_equal(buf_bytes(&with), buf_bytes(&without), len);
  assert_int_equal(buf_len(&with), len + 2 + strlen(principal));
  assert_int_equal(buf_bytes(&with)[len], 5 << 3 | 2);
  assert_int_equal(buf_bytes(&with)[len + 1], strlen(principal));
  assert_memory_equal(buf_bytes(&with) + len + 2, principal, strlen(principal));
  buf_deinit(&without);
  buf_deinit(&with);
}

static void packing_stops_at_the_end_of_its_room(void **state) {
  (void)state;
  struct buf packed;
  struct stored_event in = stored(full_event());
  buf_init(&packed, 64);
  assert_false(event_pack(&in.event, &in.place, &packed));
  buf_deinit(&packed);
}

static void a_full_arena_gives_no_message(void **state) {
  (void)state;
  struct stored_event in = stored(full_event());
  size_t limit = 0;
  bool is_made = false;
  for (; !is_made && limit < ARENA_BYTES; limit += 16) {
    struct arena arena;
    arena_init(&arena, limit);
    is_made = stored_event_to_proto(&in, &arena) != NULL;
    assert_int_equal(is_made, !arena.is_full);
    arena_deinit(&arena);
  }
  assert_true(is_made);
  assert_in_range(limit, 512, 2048);
}

static void sameness_counts_every_column(void **state) {
  (void)state;
  const struct event a = full_event();
  struct event b = a;
  assert_true(event_is_same(&a, &b));
  for (int i = 0; i < EVENT_TEXT_COUNT; i++) {
    b = a;
    b.text[i] = str_z("other");
    assert_false(event_is_same(&a, &b));
    b.text[i] = str_z("");
    assert_false(event_is_same(&a, &b));
  }
  struct event other[9] = {a, a, a, a, a, a, a, a, a};
  other[0].id.bytes[3]++;
  other[1].time_us++;
  other[2].outcome++;
  other[3].severity = 0;
  other[4].actor_ip.length = 0;
  other[5].has_parent = false;
  other[6].duration_us = -1;
  other[7].retention_days++;
  other[8].is_sensitive = false;
  for (int i = 0; i < 9; i++)
    assert_false(event_is_same(&a, &other[i]));
}

static void sameness_ignores_what_is_not_content(void **state) {
  (void)state;
  struct event a = full_event();
  struct event b = a;
  a.has_parent = b.has_parent = false;
  b.parent_id.bytes[0]++;
  b.actor_ip.bytes[9] = 1;
  assert_true(event_is_same(&a, &b));
}

static void column_names_stand_in_one_order(void **state) {
  (void)state;
  const char *columns = event_row_columns();
  assert_ptr_equal(columns, event_row_columns());
  assert_memory_equal(columns, "e.event_id, e.event_time, ", 26);
  const char *end = "e.event_data::text, e.received_at, e.ledger_id, e.sequence, e.principal";
  assert_string_equal(columns + strlen(columns) - strlen(end), end);
  for (int i = 0; i < EVENT_TEXT_COUNT; i++)
    assert_non_null(strstr(columns, event_text_fields[i].column));
}

static void events_at_their_largest_can_be_compared(void **state) {
  (void)state;
  struct event e = full_event();
  struct event other = full_event();
  char *texts[EVENT_TEXT_COUNT];
  for (int i = 0; i < EVENT_TEXT_COUNT; i++) {
    size_t len = event_text_fields[i].max_bytes;
    texts[i] = xcalloc(1, len);
    memset(texts[i], 'x', len);
    e.text[i] = other.text[i] = str_of(texts[i], len);
  }
  assert_true(event_is_same(&e, &other));
  other.text[EVENT_TEXT_EVENT_DATA].len--;
  assert_false(event_is_same(&e, &other));
  for (int i = 0; i < EVENT_TEXT_COUNT; i++)
    free(texts[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(events_at_their_largest_can_be_compared),
      cmocka_unit_test(every_field_reaches_the_message),
      cmocka_unit_test(every_text_reaches_its_own_place),
      cmocka_unit_test(absent_parts_stay_absent),
      cmocka_unit_test(a_duration_of_zero_is_not_absent),
      cmocka_unit_test(an_address_alone_makes_an_actor),
      cmocka_unit_test(the_packed_event_is_the_message_packed),
      cmocka_unit_test(the_principal_stands_behind_what_was_there_before),
      cmocka_unit_test(packing_stops_at_the_end_of_its_room),
      cmocka_unit_test(a_full_arena_gives_no_message),
      cmocka_unit_test(sameness_counts_every_column),
      cmocka_unit_test(sameness_ignores_what_is_not_content),
      cmocka_unit_test(column_names_stand_in_one_order),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
