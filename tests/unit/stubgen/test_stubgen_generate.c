/* What the generator answers to requests, most of them wrong ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "generate.h"
#include "names.h"

typedef Google__Protobuf__Compiler__CodeGeneratorRequest generator_request;
typedef Google__Protobuf__Compiler__CodeGeneratorResponse generator_response;

enum { MAX_METHODS = 2 };

/* A file sample.proto, package p, with the message M and a service S. */
struct sample {
  Google__Protobuf__MethodDescriptorProto methods[MAX_METHODS];
  Google__Protobuf__MethodDescriptorProto *method_list[MAX_METHODS];
  Google__Protobuf__ServiceDescriptorProto service;
  Google__Protobuf__ServiceDescriptorProto *service_list[1];
  Google__Protobuf__DescriptorProto message;
  Google__Protobuf__DescriptorProto *message_list[1];
  Google__Protobuf__FileDescriptorProto file;
  Google__Protobuf__FileDescriptorProto *file_list[1];
  char *wanted_list[1];
  generator_request request;
};

static void sample_init(struct sample *s, const char *first, const char *second) {
  const char *names[MAX_METHODS] = {first, second};
  google__protobuf__service_descriptor_proto__init(&s->service);
  google__protobuf__descriptor_proto__init(&s->message);
  google__protobuf__file_descriptor_proto__init(&s->file);
  google__protobuf__compiler__code_generator_request__init(&s->request);
  for (size_t i = 0; i < MAX_METHODS && names[i]; i++) {
    google__protobuf__method_descriptor_proto__init(&s->methods[i]);
    s->methods[i].name = (char *)names[i];
    s->methods[i].input_type = s->methods[i].output_type = (char *)".p.M";
    s->method_list[i] = &s->methods[i];
    s->service.n_method++;
  }
  s->service.name = (char *)"S";
  s->service.method = s->method_list;
  s->service_list[0] = &s->service;
  s->message.name = (char *)"M";
  s->message_list[0] = &s->message;
  s->file.name = s->wanted_list[0] = (char *)"sample.proto";
  s->file.package = (char *)"p";
  s->file.n_message_type = s->file.n_service = 1;
  s->file.message_type = s->message_list;
  s->file.service = s->service_list;
  s->file_list[0] = &s->file;
  s->request.n_file_to_generate = s->request.n_proto_file = 1;
  s->request.file_to_generate = s->wanted_list;
  s->request.proto_file = s->file_list;
}

static generator_response *run(struct sample *s, const char *parameter) {
  s->request.parameter = (char *)parameter;
  return generate(&s->request);
}

static void done(generator_response *response) {
  google__protobuf__compiler__code_generator_response__free_unpacked(response, NULL);
}

static void expect_error(struct sample *s, const char *parameter, const char *text) {
  generator_response *response = run(s, parameter);
  assert_non_null(response->error);
  assert_string_equal(response->error, text);
  done(response);
}

static void expect_files(struct sample *s, const char *parameter, const char *names) {
  generator_response *response = run(s, parameter);
  assert_null(response->error);
  char listed[200] = "";
  for (size_t i = 0; i < response->n_file; i++)
    snprintf(listed + strlen(listed), sizeof listed - strlen(listed), "%s ",
             response->file[i]->name);
  assert_string_equal(listed, names);
  done(response);
}

/* ---- the parameter ---- */

static void parameter_chooses_the_files(void **state) {
  (void)state;
  struct sample s = {0};
  sample_init(&s, "Get", NULL);
  expect_files(&s, "client", "sample.stub.h sample.stub.c ");
  expect_files(&s, "server", "sample.service.h sample.service.c ");
  expect_files(&s, "descriptor", "sample.descriptor.h sample.descriptor.c ");
  expect_files(&s, "client,descriptor",
               "sample.stub.h sample.stub.c sample.descriptor.h sample.descriptor.c ");
}

static void wrong_parameter_is_named(void **state) {
  (void)state;
  struct sample s = {0};
  sample_init(&s, "Get", NULL);
  expect_error(&s, "clients",
               "--auditstore-c_opt: unknown word \"clients\"; allowed are client, server and "
               "descriptor, separated by commas");
  expect_error(&s, "client,",
               "--auditstore-c_opt: unknown word \"\"; allowed are client, server and descriptor, "
               "separated by commas");
}

static void missing_parameter_is_asked_for(void **state) {
  (void)state;
  struct sample s = {0};
  sample_init(&s, "Get", NULL);
  static const char text[] =
      "--auditstore-c_opt is missing: say client, server, descriptor, or "
      "several separated by commas";
  expect_error(&s, NULL, text);
  expect_error(&s, "", text);
}

/* ---- the file ---- */

static void file_without_services_gives_only_a_descriptor(void **state) {
  (void)state;
  struct sample s = {0};
  sample_init(&s, "Get", NULL);
  s.file.n_service = 0;
  expect_files(&s, "client,server", "");
  expect_files(&s, "client,server,descriptor", "sample.descriptor.h sample.descriptor.c ");
}

static void keyword_as_method_name_is_refused(void **state) {
  (void)state;
  struct sample s = {0};
  sample_init(&s, "Default", NULL);
  expect_error(&s, "client",
               "p.S.Default: its name in C, \"default\", is a keyword; rename the method");
}

static void methods_that_meet_in_c_are_refused(void **state) {
  (void)state;
  struct sample s = {0};
  sample_init(&s, "GetIt", "get_it");
  expect_error(&s, "server",
               "p.S.GetIt and p.S.get_it both need the name p_s_get_it_dispatch in C; rename one");
}

static void unary_method_named_like_a_function_of_a_stream_is_refused(void **state) {
  (void)state;
  static const struct {
    const char *method, *c_name;
  } clashes[] = {
      {"WatchMethod", "p_s_watch_method"}, {"WatchOpen", "p_s_watch_open"},
      {"WatchSend", "p_s_watch_send"},     {"WatchRecv", "p_s_watch_recv"},
      {"WatchCancel", "p_s_watch_cancel"}, {"WatchHalfClose", "p_s_watch_half_close"},
      {"WatchFinish", "p_s_watch_finish"},
  };
  for (size_t i = 0; i < sizeof clashes / sizeof clashes[0]; i++) {
    struct sample s = {0};
    char expected[200];
    sample_init(&s, "Watch", clashes[i].method);
    s.methods[0].has_server_streaming = s.methods[0].server_streaming = 1;
    snprintf(expected, sizeof expected,
             "p.S.Watch and p.S.%s both need the name %s in C; rename one", clashes[i].method,
             clashes[i].c_name);
    expect_error(&s, "client", expected);
    expect_files(&s, "server", "sample.service.h sample.service.c ");
  }
}

static void unknown_message_is_named(void **state) {
  (void)state;
  struct sample s = {0};
  sample_init(&s, "Get", NULL);
  s.methods[0].input_type = (char *)".p.M.Inner";
  expect_error(&s, "client", "p.S.Get: no file given defines the message .p.M.Inner");
  s.methods[0].input_type = (char *)".q.M";
  expect_error(&s, "client", "p.S.Get: no file given defines the message .q.M");
  s.methods[0].input_type = NULL;
  expect_error(&s, "client", "p.S.Get: no file given defines the message (none)");
}

static void file_that_protoc_did_not_describe_is_named(void **state) {
  (void)state;
  struct sample s = {0};
  sample_init(&s, "Get", NULL);
  s.wanted_list[0] = (char *)"other.proto";
  expect_error(&s, "client", "other.proto: protoc gave no description of it");
}

static void file_name_that_would_break_the_code_is_refused(void **state) {
  (void)state;
  struct sample s = {0};
  sample_init(&s, "Get", NULL);
  s.file.name = s.wanted_list[0] = (char *)"a\"b.proto";
  expect_error(&s, "client",
               "a\"b.proto: the file's name may hold only letters, digits and _ - + . /");
}

static void file_without_a_package_works(void **state) {
  (void)state;
  struct sample s = {0};
  sample_init(&s, "Get", NULL);
  s.file.package = NULL;
  s.methods[0].input_type = s.methods[0].output_type = (char *)".M";
  generator_response *response = run(&s, "client");
  assert_null(response->error);
  assert_non_null(
      strstr(response->file[1]->content, "const struct auditstore_method s_get_method"));
  assert_non_null(strstr(response->file[1]->content, "\"/S/Get\""));
  done(response);
}

/* ---- names ---- */

static void expect_name(char *(*make)(const char *), const char *from, const char *expected) {
  char *name = make(from);
  assert_string_equal(name, expected);
  free(name);
}

static void names_follow_protobuf_c(void **state) {
  (void)state;
  expect_name(name_type, "auditstore.v1.WriteEventsRequest", "Auditstore__V1__WriteEventsRequest");
  expect_name(name_type, "foo_bar.v1Beta.Outer_Msg.innerThing",
              "FooBar__V1Beta__OuterMsg__InnerThing");
  expect_name(name_type_lower, "auditstore.v1.WriteEventsRequest",
              "auditstore__v1__write_events_request");
  expect_name(name_type_lower, "foo_bar.v1Beta.Outer_Msg.HTTPServer2Req",
              "foo_bar__v1_beta__outer__msg__httpserver2_req");
  expect_name(name_snake, "auditstore.v1.AuditStore", "auditstore_v1_audit_store");
}

static void file_names_become_symbols(void **state) {
  (void)state;
  expect_name(name_stem, "a/b-c.proto", "a/b-c");
  expect_name(name_stem, "noext", "noext");
  expect_name(name_symbol, "a/b-c.d", "a_b_c_d");
  expect_name(name_symbol, "1st", "file_1st");
  expect_name(name_upper, "a_b1", "A_B1");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(parameter_chooses_the_files),
      cmocka_unit_test(wrong_parameter_is_named),
      cmocka_unit_test(missing_parameter_is_asked_for),
      cmocka_unit_test(file_without_services_gives_only_a_descriptor),
      cmocka_unit_test(keyword_as_method_name_is_refused),
      cmocka_unit_test(methods_that_meet_in_c_are_refused),
      cmocka_unit_test(unary_method_named_like_a_function_of_a_stream_is_refused),
      cmocka_unit_test(unknown_message_is_named),
      cmocka_unit_test(file_that_protoc_did_not_describe_is_named),
      cmocka_unit_test(file_name_that_would_break_the_code_is_refused),
      cmocka_unit_test(file_without_a_package_works),
      cmocka_unit_test(names_follow_protobuf_c),
      cmocka_unit_test(file_names_become_symbols),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
