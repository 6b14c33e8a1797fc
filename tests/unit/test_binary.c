#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "pg/binary.h"
#include "support/pg_world.h"

static int start_server(void **state) {
  static struct pg_server server;
  pg_server_start(&server, NULL);
  *state = &server;
  return 0;
}

static int remove_server(void **state) {
  pg_server_remove(*state);
  return 0;
}

/* ---- against PostgreSQL itself ---- */

enum { FIELDS_MAX = 10 };

/* One array per type, a value and a NULL in each, sent as binary and compared by the server. */
struct sample {
  struct pg_world world;
  struct pg_lease *conn;
  struct buf buf;
  size_t offsets[FIELDS_MAX + 1];
  Oid types[FIELDS_MAX];
  int count;
};

static void sample_end(struct sample *sample, Oid type) {
  pg_put_null(&sample->buf);
  sample->types[sample->count] = type;
  sample->offsets[++sample->count] = buf_len(&sample->buf);
}

static bool is_answer_true;

static void on_answer(void *arg, int statement, const PGresult *result) {
  (void)arg;
  (void)statement;
  assert_true(pg_get_bool(str_of(PQgetvalue(result, 0, 0), 1), &is_answer_true));
}

static void on_done(void *arg, const struct pg_outcome *outcome) {
  if (outcome->kind != PG_OK)
    fail_msg("%s", outcome->err.text);
  *(bool *)arg = true;
}

static bool is_set(void *arg) {
  return *(bool *)arg;
}

static void sample_ask(struct sample *sample, const char *sql) {
  static const struct pg_pipeline_cb cb = {.on_result = on_answer, .on_done = on_done};
  const char *values[FIELDS_MAX];
  int lengths[FIELDS_MAX];
  bool is_done = false;
  for (int i = 0; i < sample->count; i++) {
    values[i] = (const char *)buf_bytes(&sample->buf) + sample->offsets[i];
    lengths[i] = (int)(sample->offsets[i + 1] - sample->offsets[i]);
  }
  struct pg_statement statement = {
      .sql = sql, .param_count = sample->count, .param_types = sample->types};
  is_answer_true = false;
  pg_send(sample->conn, &statement, &(struct pg_params){.values = values, .lengths = lengths});
  pg_run(sample->conn, CLOCK_NEVER, &cb, &is_done);
  pg_world_wait(&sample->world, is_set, &is_done);
  assert_true(is_answer_true);
}

static void sample_open(struct sample *sample, void **state) {
  memset(sample, 0, sizeof(*sample));
  pg_world_init(&sample->world, *state, "binary");
  pg_world_open(&sample->world);
  sample->conn = pg_world_acquire(&sample->world);
  buf_init(&sample->buf, 65536);
}

static void sample_close(struct sample *sample) {
  buf_deinit(&sample->buf);
  pg_release(sample->conn);
  pg_world_deinit(&sample->world);
}

static void the_server_reads_each_type_of_array_as_meant(void **state) {
  struct sample sample;
  struct uuid uuid;
  struct pg_inet v4 = {.length = 4, .bytes = {192, 0, 2, 7}};
  struct pg_inet v6 = {.length = 16, .bytes = {0x20, 1, 0x0d, 0xb8, [15] = 1}};
  assert_true(uuid_parse(str_z("018f6b1e-7c1a-7bbb-8000-0123456789ab"), &uuid));
  sample_open(&sample, state);
  struct buf *out = &sample.buf;
  assert_true(pg_put_array(out, PG_BOOL, 2, true) && pg_put_bool(out, true));
  sample_end(&sample, PG_BOOL_ARRAY);
  assert_true(pg_put_array(out, PG_INT2, 2, true) && pg_put_int2(out, -2));
  sample_end(&sample, PG_INT2_ARRAY);
  assert_true(pg_put_array(out, PG_INT4, 2, true) && pg_put_int4(out, -70000));
  sample_end(&sample, PG_INT4_ARRAY);
  assert_true(pg_put_array(out, PG_INT8, 2, true) && pg_put_int8(out, INT64_MIN));
  sample_end(&sample, PG_INT8_ARRAY);
  assert_true(pg_put_array(out, PG_TEXT, 2, true) && pg_put_text(out, str_z("\xc3\xa4 b")));
  sample_end(&sample, PG_TEXT_ARRAY);
  assert_true(pg_put_array(out, PG_JSON, 2, true) && pg_put_text(out, str_z("{\"a\": 1}")));
  sample_end(&sample, PG_JSON_ARRAY);
  assert_true(pg_put_array(out, PG_UUID, 2, true) && pg_put_uuid(out, &uuid));
  sample_end(&sample, PG_UUID_ARRAY);
  assert_true(pg_put_array(out, PG_TIMESTAMPTZ, 2, true) && pg_put_timestamptz(out, 1));
  sample_end(&sample, PG_TIMESTAMPTZ_ARRAY);
  assert_true(pg_put_array(out, PG_INET, 3, true) && pg_put_inet(out, &v4) &&
              pg_put_inet(out, &v6));
  sample_end(&sample, PG_INET_ARRAY);
  sample_ask(&sample,
             "SELECT $1 = ARRAY[true, NULL] AND $2 = ARRAY[-2, NULL]::int2[] "
             "AND $3 = ARRAY[-70000, NULL] "
             "AND $4 = ARRAY[-9223372036854775808, NULL]::int8[] "
             "AND $5 = ARRAY['\xc3\xa4 b', NULL] AND $6::text[] = ARRAY['{\"a\": 1}', NULL] "
             "AND $7 = ARRAY['018f6b1e-7c1a-7bbb-8000-0123456789ab', NULL]::uuid[] "
             "AND $8 = ARRAY['1970-01-01T00:00:00.000001Z', NULL]::timestamptz[] "
             "AND $9 = ARRAY['192.0.2.7', '2001:db8::1', NULL]::inet[]");
  sample_close(&sample);
}

static void the_server_reads_an_empty_array(void **state) {
  struct sample sample;
  sample_open(&sample, state);
  assert_true(pg_put_array(&sample.buf, PG_TEXT, 0, false));
  sample.types[0] = PG_TEXT_ARRAY;
  sample.offsets[1] = buf_len(&sample.buf);
  sample.count = 1;
  sample_ask(&sample, "SELECT $1 = ARRAY[]::text[]");
  sample_close(&sample);
}

static struct str column(const PGresult *result, int at) {
  return str_of(PQgetvalue(result, 0, at), (size_t)PQgetlength(result, 0, at));
}

static void on_row(void *arg, int statement, const PGresult *result) {
  (void)arg;
  (void)statement;
  bool flag;
  int16_t small;
  int32_t medium;
  int64_t large, time_us;
  struct uuid uuid;
  struct pg_inet v4, v6;
  assert_true(pg_get_bool(column(result, 0), &flag) && flag);
  assert_true(pg_get_int2(column(result, 1), &small));
  assert_int_equal(small, -2);
  assert_true(pg_get_int4(column(result, 2), &medium));
  assert_int_equal(medium, -70000);
  assert_true(pg_get_int8(column(result, 3), &large));
  assert_true(large == INT64_MIN);
  assert_true(pg_get_uuid(column(result, 4), &uuid));
  assert_int_equal(uuid.bytes[15], 0xab);
  assert_true(pg_get_timestamptz(column(result, 5), &time_us));
  assert_int_equal(time_us, -1);
  assert_true(pg_get_inet(column(result, 6), &v4));
  assert_int_equal(v4.length, 4);
  assert_int_equal(v4.bytes[3], 7);
  assert_true(pg_get_inet(column(result, 7), &v6));
  assert_int_equal(v6.length, 16);
  assert_int_equal(v6.bytes[15], 1);
  assert_false(pg_get_timestamptz(column(result, 8), &time_us));
  assert_false(pg_get_timestamptz(column(result, 9), &time_us));
}

static void what_the_server_sends_is_read_as_meant(void **state) {
  static const struct pg_pipeline_cb cb = {.on_result = on_row, .on_done = on_done};
  static const struct pg_statement row = {
      .sql =
          "SELECT true, -2::int2, -70000::int4, (-9223372036854775808)::int8, "
          "'018f6b1e-7c1a-7bbb-8000-0123456789ab'::uuid, "
          "'1969-12-31T23:59:59.999999Z'::timestamptz, '192.0.2.7'::inet, "
          "'2001:db8::1'::inet, 'infinity'::timestamptz, '-infinity'::timestamptz"};
  struct sample sample;
  bool is_done = false;
  sample_open(&sample, state);
  pg_send(sample.conn, &row, NULL);
  pg_run(sample.conn, CLOCK_NEVER, &cb, &is_done);
  pg_world_wait(&sample.world, is_set, &is_done);
  sample_close(&sample);
}

/* ---- without a server ---- */

static void values_of_another_length_are_refused(void **state) {
  (void)state;
  static const char bytes[32] = {2, 32, 0, 4};
  bool flag;
  int16_t small;
  int32_t medium;
  int64_t large;
  struct uuid uuid;
  struct pg_inet inet;
  assert_false(pg_get_bool(str_of(bytes, 0), &flag));
  assert_false(pg_get_int2(str_of(bytes, 4), &small));
  assert_false(pg_get_int4(str_of(bytes, 3), &medium));
  assert_false(pg_get_int8(str_of(bytes, 4), &large));
  assert_false(pg_get_timestamptz(str_of(bytes, 4), &large));
  assert_false(pg_get_uuid(str_of(bytes, 15), &uuid));
  assert_false(pg_get_inet(str_of(bytes, 3), &inet));
  assert_false(pg_get_inet(str_of(bytes, 7), &inet));
  assert_false(pg_get_inet(str_of(bytes, 9), &inet));
  assert_true(pg_get_inet(str_of(bytes, 8), &inet));
}

static void an_address_of_a_wrong_family_is_refused(void **state) {
  (void)state;
  static const char v6_length_in_v4[20] = {2, 32, 0, 16};
  static const char unknown[8] = {9, 32, 0, 4};
  struct pg_inet inet;
  assert_false(pg_get_inet(str_of(v6_length_in_v4, 20), &inet));
  assert_false(pg_get_inet(str_of(unknown, 8), &inet));
}

static void nothing_is_written_past_the_maximum(void **state) {
  (void)state;
  struct buf out;
  struct uuid uuid = {{0}};
  buf_init(&out, 11);
  assert_false(pg_put_array(&out, PG_TEXT, 0, false));
  assert_false(pg_put_int8(&out, 1));
  assert_false(pg_put_uuid(&out, &uuid));
  assert_false(pg_put_text(&out, str_z("eight by")));
  assert_int_equal(buf_len(&out), 0);
  assert_true(pg_put_text(&out, str_z("seven b")));
  assert_false(pg_put_null(&out));
  assert_int_equal(buf_len(&out), 11);
  buf_deinit(&out);
}

static void assert_canonical(const struct pg_inet *inet) {
  char text[PG_INET_TEXT_SIZE];
  char expected[INET6_ADDRSTRLEN];
  inet_ntop(inet->length == 4 ? AF_INET : AF_INET6, inet->bytes, expected, sizeof(expected));
  size_t len = pg_inet_format(inet, text);
  assert_int_equal(len, strlen(expected));
  assert_string_equal(text, expected);
}

static void addresses_have_their_canonical_text(void **state) {
  (void)state;
  for (unsigned place = 0; place < 4; place++)
    for (unsigned value = 0; value < 256; value++) {
      struct pg_inet inet = {.length = 4, .bytes = {10, 20, 30, 40}};
      inet.bytes[place] = (uint8_t)value;
      assert_canonical(&inet);
    }
  assert_canonical(&(struct pg_inet){.length = 4, .bytes = {255, 255, 255, 255}});
  assert_canonical(&(struct pg_inet){.length = 16, .bytes = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}});
  assert_canonical(&(struct pg_inet){.length = 16, .bytes = {[10] = 255, 255, 192, 0, 2, 255}});
}

static void an_absent_address_is_null(void **state) {
  (void)state;
  struct buf out;
  buf_init(&out, 64);
  assert_true(pg_put_inet(&out, &(struct pg_inet){.length = 0}));
  assert_int_equal(buf_len(&out), 4);
  assert_memory_equal(buf_bytes(&out), "\xff\xff\xff\xff", 4);
  buf_deinit(&out);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_server_reads_each_type_of_array_as_meant),
      cmocka_unit_test(the_server_reads_an_empty_array),
      cmocka_unit_test(what_the_server_sends_is_read_as_meant),
      cmocka_unit_test(values_of_another_length_are_refused),
      cmocka_unit_test(an_address_of_a_wrong_family_is_refused),
      cmocka_unit_test(nothing_is_written_past_the_maximum),
      cmocka_unit_test(an_absent_address_is_null),
      cmocka_unit_test(addresses_have_their_canonical_text),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, start_server, remove_server);
}
