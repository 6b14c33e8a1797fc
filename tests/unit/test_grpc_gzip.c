/* Compression of messages, each way: rules CP of gRPC. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "grpc/gzip.h"
#include "support/echo_server.h"

#define KIB ((size_t)1024)

static const struct h2_header gzip_both[] = {
    {"grpc-encoding", "gzip"}, {"grpc-accept-encoding", "identity, deflate, gzip"}, {NULL, NULL}};
static const struct h2_header gzip_only_in[] = {{"grpc-encoding", "gzip"}, {NULL, NULL}};
static const struct h2_header gzip_only_out[] = {{"grpc-accept-encoding", "identity,gzip"},
                                                 {NULL, NULL}};

/* Appends a message: the prefix and `bytes`, as gzip with flag 1 or as they are. */
static void put_message(struct buf *out, struct str bytes, bool is_compressed) {
  struct grpc_gzip gzip = {.has_deflater = false};
  struct buf body;
  buf_init(&body, 64 * KIB * KIB);
  if (is_compressed)
    assert_true(grpc_gzip_compress(&gzip, bytes, &body));
  else
    assert_true(buf_append(&body, bytes.data, bytes.len));
  uint8_t flag = is_compressed;
  assert_true(buf_append(out, &flag, 1));
  assert_true(buf_append_be32(out, (uint32_t)buf_len(&body)));
  assert_true(buf_append(out, buf_bytes(&body), buf_len(&body)));
  buf_deinit(&body);
  grpc_gzip_deinit(&gzip);
}

static struct h2_stream *call_with(struct echo_server *e, const char *path,
                                   const struct h2_header *headers, struct buf *request) {
  struct h2_stream *s =
      echo_call_bytes(e, path, headers, str_of(buf_bytes(request), buf_len(request)));
  buf_deinit(request);
  return s;
}

static struct h2_stream *call_compressed(struct echo_server *e, const struct h2_header *headers,
                                         struct str bytes) {
  struct buf request;
  buf_init(&request, 64 * KIB * KIB);
  put_message(&request, bytes, true);
  return call_with(e, ECHO_UNARY, headers, &request);
}

/* ---- requests ---- */

static void cp1_gzip_is_offered(void **state) {
  struct echo_server *e = *state;
  struct h2_stream *s = echo_call(e, ECHO_UNARY, NULL, "x");
  echo_assert_ok(s);
  assert_string_equal(s->accept_encoding, "identity,gzip");
  assert_string_equal(s->encoding, "");
}

static void cp3_compressed_request_is_inflated(void **state) {
  struct echo_server *e = *state;
  struct h2_stream *s = call_compressed(e, gzip_only_in, echo_pack("from gzip"));
  echo_assert_ok(s);
  echo_assert_answer(s, 0, "from gzip");
  assert_int_equal(e->compressed, 1);
}

static void cp3_empty_message_may_be_compressed(void **state) {
  struct echo_server *e = *state;
  struct h2_stream *s = call_compressed(e, gzip_only_in, str_of("", 0));
  echo_assert_ok(s);
  echo_assert_answer(s, 0, "");
}

static void cp3_each_message_of_a_stream_stands_alone(void **state) {
  struct echo_server *e = *state;
  struct buf request;
  buf_init(&request, 64 * KIB);
  put_message(&request, echo_pack("one"), true);
  put_message(&request, echo_pack("two"), false);
  put_message(&request, echo_pack("three"), true);
  struct h2_stream *s = call_with(e, ECHO_BIDI, gzip_only_in, &request);
  echo_assert_ok(s);
  echo_assert_answer(s, 0, "one");
  echo_assert_answer(s, 1, "two");
  echo_assert_answer(s, 2, "three");
  assert_int_equal(e->compressed, 2);
}

static void cp3_what_is_not_one_gzip_member_is_internal(void **state) {
  struct echo_server *e = *state;
  struct buf good;
  struct buf bad;
  buf_init(&good, 64 * KIB);
  put_message(&good, echo_pack("a text that is long enough to be cut"), true);
  size_t len = buf_len(&good) - 5;
  for (size_t cut = 0; cut <= len; cut++) {
    /* Cut short; and last, whole with a byte behind it. */
    size_t size = cut < len ? cut : len + 1;
    buf_init(&bad, 64 * KIB);
    assert_true(buf_append(&bad, "\1", 1) && buf_append_be32(&bad, (uint32_t)size));
    assert_true(buf_append(&bad, buf_bytes(&good) + 5, cut));
    if (size > len)
      assert_true(buf_append(&bad, "x", 1));
    struct h2_stream *s = call_with(e, ECHO_UNARY, gzip_only_in, &bad);
    echo_assert_trailers_only(s, GRPC_INTERNAL);
  }
  buf_deinit(&good);
  assert_int_equal(e->unary_calls, 0);
  echo_assert_serving(e);
}

static void cp4_message_that_inflates_too_far_is_refused(void **state) {
  struct echo_server *e = *state;
  size_t max = (size_t)e->config.max_message_bytes;
  char *zeros = xcalloc(1, max + 1);
  struct h2_stream *s = call_compressed(e, gzip_only_in, str_of(zeros, max + 1));
  echo_assert_trailers_only(s, GRPC_RESOURCE_EXHAUSTED);
  assert_string_equal(s->message, "a request message inflates to more than 4194304 bytes");
  assert_int_equal(e->unary_calls, 0);
  /* Exactly as large as allowed is let through to protobuf, which takes no zeros. */
  s = call_compressed(e, gzip_only_in, str_of(zeros, max));
  echo_assert_trailers_only(s, GRPC_INTERNAL);
  assert_string_equal(s->message, "the request isn't a valid protobuf message");
  free(zeros);
  echo_assert_serving(e);
}

/* ---- answers ---- */

static void assert_inflates_to(const struct h2_stream *s, struct str expected) {
  struct grpc_gzip gzip = {.has_deflater = false};
  struct buf out;
  buf_init(&out, 64 * KIB * KIB);
  assert_true(buf_len(&s->body) > 5);
  assert_int_equal(buf_bytes(&s->body)[0], 1);
  struct str message = h2_stream_message(s, 0);
  assert_int_equal(grpc_gzip_inflate(&gzip, message, &out), GRPC_INFLATE_OK);
  assert_int_equal(buf_len(&out), expected.len);
  assert_memory_equal(buf_bytes(&out), expected.data, expected.len);
  buf_deinit(&out);
  grpc_gzip_deinit(&gzip);
}

static void cp5_answers_are_compressed_for_those_who_accept_it(void **state) {
  struct echo_server *e = *state;
  e->compression = ECHO_COMPRESSED;
  struct h2_stream *s = echo_call(e, ECHO_UNARY, gzip_only_out, "compress me");
  assert_int_equal(s->grpc_status, GRPC_OK);
  assert_string_equal(s->encoding, "gzip");
  assert_inflates_to(s, echo_pack("compress me"));
  s = echo_call(e, ECHO_UNARY, NULL, "but not me");
  echo_assert_ok(s);
  assert_string_equal(s->encoding, "");
  echo_assert_answer(s, 0, "but not me");
}

static void cp5_lists_are_read_with_blanks_and_without(void **state) {
  static const struct {
    const char *list;
    const char *encoding;
  } cases[] = {{"gzip", "gzip"},
               {"identity, deflate, gzip", "gzip"},
               {"identity,gzip,deflate", "gzip"},
               {" gzip ", "gzip"},
               {"gzipped", ""},
               {"identity", ""},
               {",", ""}};
  struct echo_server *e = *state;
  e->compression = ECHO_COMPRESSED;
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    const struct h2_header headers[] = {{"grpc-accept-encoding", cases[i].list}, {NULL, NULL}};
    assert_string_equal(echo_call(e, ECHO_UNARY, headers, "x")->encoding, cases[i].encoding);
  }
}

static void cp5_the_setting_compresses_longer_answers(void **state) {
  struct echo_server *e = *state;
  e->config.compress_answers_above = 100;
  struct h2_stream *s = echo_call(e, ECHO_UNARY, gzip_both, "short");
  echo_assert_ok(s);
  assert_string_equal(s->encoding, "gzip");
  assert_int_equal(buf_bytes(&s->body)[0], 0);
  echo_assert_answer(s, 0, "short");
  char text[400];
  memset(text, 'l', sizeof(text) - 1);
  text[sizeof(text) - 1] = '\0';
  s = echo_call(e, ECHO_UNARY, gzip_both, text);
  assert_inflates_to(s, echo_pack(text));
  assert_true(buf_len(&s->body) < 100);
  e->compression = ECHO_PLAIN;
  s = echo_call(e, ECHO_UNARY, gzip_both, text);
  assert_string_equal(s->encoding, "");
  echo_assert_answer(s, 0, text);
}

static void cp5_errors_name_no_encoding(void **state) {
  struct echo_server *e = *state;
  e->compression = ECHO_COMPRESSED;
  e->next_status = grpc_status_new(GRPC_NOT_FOUND, "nothing");
  struct h2_stream *s = echo_call(e, ECHO_UNARY, gzip_both, "x");
  echo_assert_trailers_only(s, GRPC_NOT_FOUND);
  assert_string_equal(s->encoding, "");
}

int main(int argc, char **argv) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, echo_setup_connected, echo_teardown)
  const struct CMUnitTest tests[] = {
      CASE(cp1_gzip_is_offered),
      CASE(cp3_compressed_request_is_inflated),
      CASE(cp3_empty_message_may_be_compressed),
      CASE(cp3_each_message_of_a_stream_stands_alone),
      CASE(cp3_what_is_not_one_gzip_member_is_internal),
      CASE(cp4_message_that_inflates_too_far_is_refused),
      CASE(cp5_answers_are_compressed_for_those_who_accept_it),
      CASE(cp5_lists_are_read_with_blanks_and_without),
      CASE(cp5_the_setting_compresses_longer_answers),
      CASE(cp5_errors_name_no_encoding),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
