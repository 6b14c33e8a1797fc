/* The service table made of stubgen_sample.proto, over a fake of the server's runtime. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "grpc/status.h"
#include "stubgen_sample.service.h"

struct grpc_call {
  int finishes;
  enum grpc_code code;
  const ProtobufCMessage *sent;
};

struct grpc_message {
  int releases;
};

struct grpc_status {
  enum grpc_code code;
  char text[200];
};

struct grpc_server {
  const struct grpc_service *service;
  const void *handlers;
};

static struct grpc_status the_status;

struct grpc_status *grpc_status_new(enum grpc_code code, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(the_status.text, sizeof the_status.text, format, args);
  va_end(args);
  the_status.code = code;
  return &the_status;
}

void grpc_call_finish(struct grpc_call *call, struct grpc_status *status) {
  call->finishes++;
  call->code = status ? status->code : GRPC_OK;
}

void grpc_call_send(struct grpc_call *call, const ProtobufCMessage *response) {
  call->sent = response;
}

void grpc_message_release(struct grpc_message *message) {
  message->releases++;
}

void grpc_server_add(struct grpc_server *server, const struct grpc_service *service,
                     const void *handlers) {
  server->service = service;
  server->handlers = handlers;
}

static const struct grpc_method *method_at(size_t i) {
  assert_true(i < stubgen_sample_v1_echo_service.method_count);
  return &stubgen_sample_v1_echo_service.methods[i];
}

/* ---- a handler that notes how it was called ---- */

struct seen {
  int calls;
  struct grpc_call *call;
  const void *request;
  struct grpc_message *message;
};

static void note_say(void *service, struct grpc_call *call,
                     const Stubgen__Sample__V1__Request *request, struct grpc_message *message) {
  struct seen *seen = service;
  *seen = (struct seen){seen->calls + 1, call, request, message};
}

static void note_upload(void *service, struct grpc_call *call,
                        const Stubgen__Sample__V1__Request__Part *request,
                        struct grpc_message *message) {
  struct seen *seen = service;
  *seen = (struct seen){seen->calls + 1, call, request, message};
}

/* ---- the tests ---- */

static void service_table_lists_the_methods_in_order(void **state) {
  (void)state;
  static const struct {
    const char *name, *path;
    enum grpc_method_kind kind;
    const char *input, *output;
  } expected[] = {
      {"Say", "/stubgen.sample.v1.Echo/Say", GRPC_UNARY, "stubgen.sample.v1.Request",
       "stubgen.sample.v1.Response"},
      {"Upload", "/stubgen.sample.v1.Echo/Upload", GRPC_CLIENT_STREAMING,
       "stubgen.sample.v1.Request.Part", "stubgen.sample.v1.Response.Nested"},
      {"List", "/stubgen.sample.v1.Echo/List", GRPC_SERVER_STREAMING, "stubgen.sample.v1.Request",
       "stubgen.types.v1Beta.HTTPReply2Caller"},
      {"Chat", "/stubgen.sample.v1.Echo/Chat", GRPC_BIDI_STREAMING, "stubgen.sample.v1.Request",
       "stubgen.sample.v1.Response"},
  };
  assert_string_equal(stubgen_sample_v1_echo_service.name, "stubgen.sample.v1.Echo");
  assert_int_equal(stubgen_sample_v1_echo_service.method_count, 4);
  for (size_t i = 0; i < 4; i++) {
    assert_string_equal(method_at(i)->name, expected[i].name);
    assert_string_equal(method_at(i)->path, expected[i].path);
    assert_int_equal(method_at(i)->kind, expected[i].kind);
    assert_string_equal(method_at(i)->input->name, expected[i].input);
    assert_string_equal(method_at(i)->output->name, expected[i].output);
  }
}

static void service_without_methods_has_an_empty_table(void **state) {
  (void)state;
  assert_string_equal(stubgen_sample_v1_empty_service.name, "stubgen.sample.v1.Empty");
  assert_int_equal(stubgen_sample_v1_empty_service.method_count, 0);
}

static void dispatch_runs_the_handler_of_its_method_with_its_pointer(void **state) {
  (void)state;
  struct seen say = {0}, upload = {0};
  const struct stubgen_sample_v1_echo_handlers handlers = {
      .say = {.handle = note_say, .service = &say},
      .upload = {.handle = note_upload, .service = &upload},
  };
  struct grpc_call call = {0};
  struct grpc_message message = {0};
  Stubgen__Sample__V1__Request request = STUBGEN__SAMPLE__V1__REQUEST__INIT;
  method_at(0)->dispatch(&handlers, &call, &request.base, &message);
  assert_int_equal(say.calls, 1);
  assert_int_equal(upload.calls, 0);
  assert_ptr_equal(say.call, &call);
  assert_ptr_equal(say.request, &request);
  assert_ptr_equal(say.message, &message);
  assert_int_equal(message.releases, 0);
  assert_int_equal(call.finishes, 0);
}

static void half_close_reaches_the_handler_as_nulls(void **state) {
  (void)state;
  struct seen upload = {0};
  const struct stubgen_sample_v1_echo_handlers handlers = {
      .upload = {.handle = note_upload, .service = &upload},
  };
  struct grpc_call call = {0};
  method_at(1)->dispatch(&handlers, &call, NULL, NULL);
  assert_int_equal(upload.calls, 1);
  assert_null(upload.request);
  assert_null(upload.message);
}

static void method_without_a_handler_is_refused_and_its_message_released(void **state) {
  (void)state;
  const struct stubgen_sample_v1_echo_handlers handlers = {.say = {.handle = NULL}};
  struct grpc_call call = {0};
  struct grpc_message message = {0};
  Stubgen__Sample__V1__Request request = STUBGEN__SAMPLE__V1__REQUEST__INIT;
  method_at(0)->dispatch(&handlers, &call, &request.base, &message);
  assert_int_equal(message.releases, 1);
  assert_int_equal(call.finishes, 1);
  assert_int_equal(call.code, GRPC_UNIMPLEMENTED);
  assert_non_null(strstr(the_status.text, "/stubgen.sample.v1.Echo/Say"));
}

static void half_close_of_a_method_without_a_handler_is_refused(void **state) {
  (void)state;
  const struct stubgen_sample_v1_echo_handlers handlers = {.say = {.handle = NULL}};
  struct grpc_call call = {0};
  method_at(3)->dispatch(&handlers, &call, NULL, NULL);
  assert_int_equal(call.finishes, 1);
  assert_int_equal(call.code, GRPC_UNIMPLEMENTED);
}

static void add_hands_the_table_and_the_handlers_to_the_server(void **state) {
  (void)state;
  struct grpc_server server = {0};
  const struct stubgen_sample_v1_echo_handlers handlers = {.say = {.handle = NULL}};
  stubgen_sample_v1_echo_add(&server, &handlers);
  assert_ptr_equal(server.service, &stubgen_sample_v1_echo_service);
  assert_ptr_equal(server.handlers, &handlers);
}

static void send_takes_the_method_s_own_type(void **state) {
  (void)state;
  struct grpc_call call = {0};
  Stubgen__Types__V1Beta__HTTPReply2Caller reply = STUBGEN__TYPES__V1_BETA__HTTPREPLY2_CALLER__INIT;
  stubgen_sample_v1_echo_list_send(&call, &reply);
  assert_ptr_equal(call.sent, &reply.base);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(service_table_lists_the_methods_in_order),
      cmocka_unit_test(service_without_methods_has_an_empty_table),
      cmocka_unit_test(dispatch_runs_the_handler_of_its_method_with_its_pointer),
      cmocka_unit_test(half_close_reaches_the_handler_as_nulls),
      cmocka_unit_test(method_without_a_handler_is_refused_and_its_message_released),
      cmocka_unit_test(half_close_of_a_method_without_a_handler_is_refused),
      cmocka_unit_test(add_hands_the_table_and_the_handlers_to_the_server),
      cmocka_unit_test(send_takes_the_method_s_own_type),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
