/* The client stubs made of stubgen_sample.proto, over a fake of the library's runtime. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "google/protobuf/descriptor.pb-c.h"
#include "stubgen_sample.descriptor.h"
#include "stubgen_sample.stub.h"

/* The fake runtime notes what it was asked in the channel, and answers from there. */
struct auditstore_stream {
  struct auditstore_channel *channel;
};

struct auditstore_channel {
  struct auditstore_stream stream;
  const struct auditstore_method *method;
  const ProtobufCMessage *message;
  const struct auditstore_call_options *options;
  struct auditstore_status *status;
  int timeout_ms;
  int sends, half_closes, cancels, finishes;
  bool refuse_open;
  ProtobufCMessage *answer;
};

enum auditstore_code auditstore_call_unary(struct auditstore_channel *channel,
                                           const struct auditstore_unary *call,
                                           ProtobufCMessage **ret_response,
                                           struct auditstore_status *status) {
  channel->method = call->method;
  channel->message = call->request;
  channel->options = call->options;
  channel->status = status;
  *ret_response = channel->answer;
  return channel->answer ? AUDITSTORE_OK : AUDITSTORE_NOT_FOUND;
}

struct auditstore_stream *auditstore_stream_open(struct auditstore_channel *channel,
                                                 const struct auditstore_method *method,
                                                 const struct auditstore_call_options *options,
                                                 struct auditstore_status *status) {
  channel->method = method;
  channel->options = options;
  channel->status = status;
  return channel->refuse_open ? NULL : &channel->stream;
}

enum auditstore_stream_result auditstore_stream_send(struct auditstore_stream *stream,
                                                     const ProtobufCMessage *message,
                                                     int timeout_ms) {
  assert_int_equal(stream->channel->half_closes, 0);
  stream->channel->message = message;
  stream->channel->timeout_ms = timeout_ms;
  stream->channel->sends++;
  return AUDITSTORE_STREAM_AGAIN;
}

enum auditstore_stream_result auditstore_stream_recv(struct auditstore_stream *stream,
                                                     ProtobufCMessage **ret_message,
                                                     int timeout_ms) {
  stream->channel->timeout_ms = timeout_ms;
  *ret_message = stream->channel->answer;
  return stream->channel->answer ? AUDITSTORE_STREAM_OK : AUDITSTORE_STREAM_END;
}

void auditstore_stream_half_close(struct auditstore_stream *stream) {
  stream->channel->half_closes++;
}

void auditstore_stream_cancel(struct auditstore_stream *stream) {
  stream->channel->cancels++;
}

enum auditstore_code auditstore_stream_finish(struct auditstore_stream *stream,
                                              struct auditstore_status *status) {
  stream->channel->status = status;
  stream->channel->finishes++;
  return AUDITSTORE_ABORTED;
}

static int make_channel(void **state) {
  struct auditstore_channel *channel = calloc(1, sizeof *channel);
  assert_non_null(channel);
  channel->stream.channel = channel;
  *state = channel;
  return 0;
}

static int free_channel(void **state) {
  free(*state);
  return 0;
}

/* ---- the tests ---- */

static void unary_stub_passes_everything_and_gives_the_answer(void **state) {
  struct auditstore_channel *channel = *state;
  Stubgen__Sample__V1__Request request = STUBGEN__SAMPLE__V1__REQUEST__INIT;
  Stubgen__Sample__V1__Response answer = STUBGEN__SAMPLE__V1__RESPONSE__INIT;
  Stubgen__Sample__V1__Response *response = NULL;
  struct auditstore_call_options options = {0};
  struct auditstore_status status = {0};
  channel->answer = &answer.base;
  assert_int_equal(stubgen_sample_v1_echo_say(channel, &request, &response, &options, &status),
                   AUDITSTORE_OK);
  assert_ptr_equal(response, &answer);
  assert_ptr_equal(channel->method, &stubgen_sample_v1_echo_say_method);
  assert_ptr_equal(channel->message, &request.base);
  assert_ptr_equal(channel->options, &options);
  assert_ptr_equal(channel->status, &status);
}

static void failed_unary_stub_gives_no_answer(void **state) {
  struct auditstore_channel *channel = *state;
  Stubgen__Sample__V1__Request request = STUBGEN__SAMPLE__V1__REQUEST__INIT;
  Stubgen__Sample__V1__Response stale;
  Stubgen__Sample__V1__Response *response = &stale;
  assert_int_equal(stubgen_sample_v1_echo_say(channel, &request, &response, NULL, NULL),
                   AUDITSTORE_NOT_FOUND);
  assert_null(response);
}

static void check_method(const struct auditstore_method *method, const char *path,
                         bool client_streaming, bool server_streaming) {
  assert_string_equal(method->path, path);
  assert_int_equal(method->client_streaming, client_streaming);
  assert_int_equal(method->server_streaming, server_streaming);
}

static void method_constants_tell_path_and_kind(void **state) {
  (void)state;
  check_method(&stubgen_sample_v1_echo_say_method, "/stubgen.sample.v1.Echo/Say", false, false);
  check_method(&stubgen_sample_v1_echo_upload_method, "/stubgen.sample.v1.Echo/Upload", true,
               false);
  check_method(&stubgen_sample_v1_echo_list_method, "/stubgen.sample.v1.Echo/List", false, true);
  check_method(&stubgen_sample_v1_echo_chat_method, "/stubgen.sample.v1.Echo/Chat", true, true);
  check_method(&stubgen_sample_v1_other_echo_say_method, "/stubgen.sample.v1.OtherEcho/Say", false,
               false);
}

static void method_constants_tell_nested_and_imported_types(void **state) {
  (void)state;
  const struct auditstore_method *upload = &stubgen_sample_v1_echo_upload_method;
  assert_string_equal(upload->input->name, "stubgen.sample.v1.Request.Part");
  assert_string_equal(upload->output->name, "stubgen.sample.v1.Response.Nested");
  assert_string_equal(stubgen_sample_v1_echo_list_method.output->name,
                      "stubgen.types.v1Beta.HTTPReply2Caller");
  assert_string_equal(stubgen_sample_v1_other_echo_say_method.input->name,
                      "stubgen.types.v1Beta.lower_case.inner_thing");
}

static void server_stream_sends_its_request_and_half_closes(void **state) {
  struct auditstore_channel *channel = *state;
  Stubgen__Sample__V1__Request request = STUBGEN__SAMPLE__V1__REQUEST__INIT;
  struct auditstore_status status = {0};
  struct stubgen_sample_v1_echo_list_stream *stream =
      stubgen_sample_v1_echo_list_open(channel, &request, NULL, &status);
  assert_ptr_equal(stream, &channel->stream);
  assert_ptr_equal(channel->method, &stubgen_sample_v1_echo_list_method);
  assert_ptr_equal(channel->message, &request.base);
  assert_ptr_equal(channel->status, &status);
  assert_int_equal(channel->timeout_ms, -1);
  assert_int_equal(channel->sends, 1);
  assert_int_equal(channel->half_closes, 1);
}

static void server_stream_that_cannot_open_sends_nothing(void **state) {
  struct auditstore_channel *channel = *state;
  Stubgen__Sample__V1__Request request = STUBGEN__SAMPLE__V1__REQUEST__INIT;
  channel->refuse_open = true;
  assert_null(stubgen_sample_v1_echo_list_open(channel, &request, NULL, NULL));
  assert_int_equal(channel->sends, 0);
  assert_int_equal(channel->half_closes, 0);
}

static void stream_functions_reach_the_stream(void **state) {
  struct auditstore_channel *channel = *state;
  Stubgen__Sample__V1__Request request = STUBGEN__SAMPLE__V1__REQUEST__INIT;
  Stubgen__Sample__V1__Response answer = STUBGEN__SAMPLE__V1__RESPONSE__INIT;
  Stubgen__Sample__V1__Response *response = NULL;
  struct auditstore_call_options options = {0};
  struct auditstore_status status = {0};
  struct stubgen_sample_v1_echo_chat_stream *stream =
      stubgen_sample_v1_echo_chat_open(channel, &options, NULL);
  assert_ptr_equal(channel->method, &stubgen_sample_v1_echo_chat_method);
  assert_ptr_equal(channel->options, &options);
  assert_int_equal(channel->sends, 0);
  assert_int_equal(stubgen_sample_v1_echo_chat_send(stream, &request, 7), AUDITSTORE_STREAM_AGAIN);
  assert_ptr_equal(channel->message, &request.base);
  assert_int_equal(channel->timeout_ms, 7);
  channel->answer = &answer.base;
  assert_int_equal(stubgen_sample_v1_echo_chat_recv(stream, &response, 9), AUDITSTORE_STREAM_OK);
  assert_ptr_equal(response, &answer);
  assert_int_equal(channel->timeout_ms, 9);
  channel->answer = NULL;
  assert_int_equal(stubgen_sample_v1_echo_chat_recv(stream, &response, 9), AUDITSTORE_STREAM_END);
  assert_null(response);
  stubgen_sample_v1_echo_chat_half_close(stream);
  assert_int_equal(channel->half_closes, 1);
  stubgen_sample_v1_echo_chat_cancel(stream);
  assert_int_equal(channel->cancels, 1);
  assert_int_equal(stubgen_sample_v1_echo_chat_finish(stream, &status), AUDITSTORE_ABORTED);
  assert_int_equal(channel->finishes, 1);
  assert_ptr_equal(channel->status, &status);
}

static void client_stream_is_typed_by_nested_messages(void **state) {
  struct auditstore_channel *channel = *state;
  Stubgen__Sample__V1__Request__Part part = STUBGEN__SAMPLE__V1__REQUEST__PART__INIT;
  Stubgen__Sample__V1__Response__Nested answer = STUBGEN__SAMPLE__V1__RESPONSE__NESTED__INIT;
  Stubgen__Sample__V1__Response__Nested *response = NULL;
  struct stubgen_sample_v1_echo_upload_stream *stream =
      stubgen_sample_v1_echo_upload_open(channel, NULL, NULL);
  stubgen_sample_v1_echo_upload_send(stream, &part, -1);
  assert_ptr_equal(channel->message, &part.base);
  channel->answer = &answer.base;
  assert_int_equal(stubgen_sample_v1_echo_upload_recv(stream, &response, -1), AUDITSTORE_STREAM_OK);
  assert_ptr_equal(response, &answer);
}

/* ---- files ---- */

static char *read_file(const char *path, size_t *ret_len) {
  FILE *in = fopen(path, "rb");
  assert_non_null(in);
  assert_int_equal(fseek(in, 0, SEEK_END), 0);
  long len = ftell(in);
  assert_true(len > 0);
  rewind(in);
  char *data = calloc((size_t)len + 1, 1);
  assert_non_null(data);
  assert_int_equal(fread(data, 1, (size_t)len, in), len);
  fclose(in);
  *ret_len = (size_t)len;
  return data;
}

static void header_carries_the_comments_and_says_who_frees(void **state) {
  (void)state;
  static const char *const expected[] = {
      " * Says things back.\n",
      " * One for one.\n *\n * A comment with / * and * / inside.\n *\n * Blocks until",
      " * Many for one.\n",
      "stubgen__sample__v1__response__free_unpacked(response, NULL)",
      /* protobuf-c makes no such function for a message inside a message */
      "protobuf_c_message_free_unpacked(&response->base, NULL)",
      "stubgen__types__v1_beta__httpreply2_caller__free_unpacked(response, NULL)",
  };
  size_t len = 0;
  char *header = read_file(STUB_HEADER, &len);
  for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
    if (!strstr(header, expected[i]))
      fail_msg("not in the header: %s", expected[i]);
  }
  free(header);
}

typedef Google__Protobuf__FileDescriptorSet descriptor_set;

static void check_same_file(const Google__Protobuf__FileDescriptorProto *ours,
                            const Google__Protobuf__FileDescriptorProto *theirs) {
  assert_string_equal(ours->name, theirs->name);
  size_t len = google__protobuf__file_descriptor_proto__get_packed_size(ours);
  assert_int_equal(len, google__protobuf__file_descriptor_proto__get_packed_size(theirs));
  uint8_t *a = malloc(len), *b = malloc(len);
  google__protobuf__file_descriptor_proto__pack(ours, a);
  google__protobuf__file_descriptor_proto__pack(theirs, b);
  assert_memory_equal(a, b, len);
  free(a);
  free(b);
}

static const Google__Protobuf__FileDescriptorProto *find_file(const descriptor_set *set,
                                                              const char *name) {
  for (size_t i = 0; i < set->n_file; i++) {
    if (strcmp(set->file[i]->name, name) == 0)
      return set->file[i];
  }
  fail_msg("%s is not in protoc's own set", name);
  return NULL;
}

static void descriptor_set_is_the_one_protoc_writes(void **state) {
  (void)state;
  size_t len = 0;
  char *data = read_file(PROTOSET, &len);
  descriptor_set *theirs =
      google__protobuf__file_descriptor_set__unpack(NULL, len, (const uint8_t *)data);
  descriptor_set *ours = google__protobuf__file_descriptor_set__unpack(
      NULL, stubgen_sample_descriptor_set_len, stubgen_sample_descriptor_set);
  assert_non_null(theirs);
  assert_non_null(ours);
  assert_int_equal(ours->n_file, 3);
  assert_int_equal(theirs->n_file, 3);
  for (size_t i = 0; i < ours->n_file; i++)
    check_same_file(ours->file[i], find_file(theirs, ours->file[i]->name));
  google__protobuf__file_descriptor_set__free_unpacked(ours, NULL);
  google__protobuf__file_descriptor_set__free_unpacked(theirs, NULL);
  free(data);
}

static void descriptor_set_lists_imports_first(void **state) {
  (void)state;
  descriptor_set *set = google__protobuf__file_descriptor_set__unpack(
      NULL, stubgen_sample_descriptor_set_len, stubgen_sample_descriptor_set);
  assert_non_null(set);
  assert_string_equal(set->file[0]->name, "google/protobuf/timestamp.proto");
  assert_string_equal(set->file[1]->name, "stubgen_types.proto");
  assert_string_equal(set->file[2]->name, "stubgen_sample.proto");
  google__protobuf__file_descriptor_set__free_unpacked(set, NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(unary_stub_passes_everything_and_gives_the_answer,
                                      make_channel, free_channel),
      cmocka_unit_test_setup_teardown(failed_unary_stub_gives_no_answer, make_channel,
                                      free_channel),
      cmocka_unit_test_setup_teardown(method_constants_tell_path_and_kind, make_channel,
                                      free_channel),
      cmocka_unit_test_setup_teardown(method_constants_tell_nested_and_imported_types, make_channel,
                                      free_channel),
      cmocka_unit_test_setup_teardown(server_stream_sends_its_request_and_half_closes, make_channel,
                                      free_channel),
      cmocka_unit_test_setup_teardown(server_stream_that_cannot_open_sends_nothing, make_channel,
                                      free_channel),
      cmocka_unit_test_setup_teardown(stream_functions_reach_the_stream, make_channel,
                                      free_channel),
      cmocka_unit_test_setup_teardown(client_stream_is_typed_by_nested_messages, make_channel,
                                      free_channel),
      cmocka_unit_test(header_carries_the_comments_and_says_who_frees),
      cmocka_unit_test(descriptor_set_is_the_one_protoc_writes),
      cmocka_unit_test(descriptor_set_lists_imports_first),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
