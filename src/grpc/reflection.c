#include "grpc/reflection.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "grpc/descriptors.h"
#include "grpc/reflection/v1/reflection.service.h"
#include "grpc/server_private.h"

/* Requests kept while the peer takes no answers; one that sends more has no use for them. */
#define MAX_WAITING 64

typedef Grpc__Reflection__V1__ServerReflectionRequest reflection_request;
typedef Grpc__Reflection__V1__ServerReflectionResponse reflection_response;

#define REQUEST_CASE(name) GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##name
#define RESPONSE_CASE(name)                                                                        \
  GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##name

struct grpc_reflection {
  struct grpc_server *server;
  struct grpc_descriptors *descriptors; /* owned */
  struct grpc_reflection_v1_server_reflection_handlers handlers;
  /* The same messages under the first name: one table serves both. */
  struct grpc_method alpha_method;
  struct grpc_service alpha_service;
};

struct waiting {
  const reflection_request *request;
  struct grpc_message *message;
};

struct stream {
  struct grpc_reflection *reflection;
  struct grpc_call *call;
  bool *was_sent; /* of each file */
  struct waiting waiting[MAX_WAITING];
  size_t waiting_count;
  bool is_half_closed;
};

static struct str str_from(ProtobufCBinaryData data) {
  return str_of(data.data, data.len);
}

static ProtobufCBinaryData data_from(struct str s) {
  return (ProtobufCBinaryData){.data = (uint8_t *)s.data, .len = s.len};
}

/* ---- answers ---- */

static void send_answer(struct stream *stream, const reflection_request *request,
                        reflection_response *response) {
  response->valid_host = request->host;
  response->original_request = (reflection_request *)request;
  grpc_reflection_v1_server_reflection_server_reflection_info_send(stream->call, response);
}

static void send_error(struct stream *stream, const reflection_request *request,
                       enum grpc_code code, const char *text) {
  reflection_response response = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
  Grpc__Reflection__V1__ErrorResponse error = GRPC__REFLECTION__V1__ERROR_RESPONSE__INIT;
  error.error_code = (int32_t)code;
  error.error_message = data_from(str_z(text));
  response.message_response_case = RESPONSE_CASE(ERROR_RESPONSE);
  response.error_response = &error;
  send_answer(stream, request, &response);
}

/* Puts `file` and what it imports, as far as that is new to the peer, into order[]. */
static size_t collect(const struct stream *stream, size_t file, size_t *order) {
  const struct grpc_descriptors *d = stream->reflection->descriptors;
  size_t count = 0;
  order[count++] = file;
  stream->was_sent[file] = true;
  for (size_t i = 0; i < count; i++) {
    struct str name;
    size_t import = 0;
    for (size_t k = 0; grpc_descriptors_import(d, order[i], k, &name); k++) {
      if (!grpc_descriptors_find_file(d, name, &import) || stream->was_sent[import])
        continue;
      stream->was_sent[import] = true;
      order[count++] = import;
    }
  }
  return count;
}

static void send_file(struct stream *stream, const reflection_request *request, size_t file) {
  const struct grpc_descriptors *d = stream->reflection->descriptors;
  reflection_response response = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
  Grpc__Reflection__V1__FileDescriptorResponse files =
      GRPC__REFLECTION__V1__FILE_DESCRIPTOR_RESPONSE__INIT;
  size_t *order = xcalloc(grpc_descriptors_count(d), sizeof(*order));
  size_t count = collect(stream, file, order);
  files.n_file_descriptor_proto = count;
  files.file_descriptor_proto = xcalloc(count, sizeof(*files.file_descriptor_proto));
  for (size_t i = 0; i < count; i++)
    files.file_descriptor_proto[i] = data_from(grpc_descriptors_file(d, order[i]));
  response.message_response_case = RESPONSE_CASE(FILE_DESCRIPTOR_RESPONSE);
  response.file_descriptor_response = &files;
  send_answer(stream, request, &response);
  free(files.file_descriptor_proto);
  free(order);
}

static void send_services(struct stream *stream, const reflection_request *request) {
  const struct grpc_server *server = stream->reflection->server;
  reflection_response response = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
  Grpc__Reflection__V1__ListServiceResponse list =
      GRPC__REFLECTION__V1__LIST_SERVICE_RESPONSE__INIT;
  Grpc__Reflection__V1__ServiceResponse services[GRPC_MAX_SERVICES];
  Grpc__Reflection__V1__ServiceResponse *pointers[GRPC_MAX_SERVICES];
  for (size_t i = 0; i < server->service_count; i++) {
    grpc__reflection__v1__service_response__init(&services[i]);
    services[i].name = data_from(str_z(server->services[i].service->name));
    pointers[i] = &services[i];
  }
  list.n_service = server->service_count;
  list.service = pointers;
  response.message_response_case = RESPONSE_CASE(LIST_SERVICES_RESPONSE);
  response.list_services_response = &list;
  send_answer(stream, request, &response);
}

/* There are no extensions in proto3: a message that is known has none. */
static void send_extension_numbers(struct stream *stream, const reflection_request *request) {
  reflection_response response = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
  Grpc__Reflection__V1__ExtensionNumberResponse numbers =
      GRPC__REFLECTION__V1__EXTENSION_NUMBER_RESPONSE__INIT;
  size_t file = 0;
  struct str type = str_from(request->all_extension_numbers_of_type);
  if (!grpc_descriptors_find_symbol(stream->reflection->descriptors, type, &file)) {
    send_error(stream, request, GRPC_NOT_FOUND, "unknown type");
    return;
  }
  numbers.base_type_name = data_from(type);
  response.message_response_case = RESPONSE_CASE(ALL_EXTENSION_NUMBERS_RESPONSE);
  response.all_extension_numbers_response = &numbers;
  send_answer(stream, request, &response);
}

static void answer(struct stream *stream, const reflection_request *request) {
  const struct grpc_descriptors *d = stream->reflection->descriptors;
  size_t file = 0;
  switch (request->message_request_case) {
  case REQUEST_CASE(FILE_BY_FILENAME):
    if (grpc_descriptors_find_file(d, str_from(request->file_by_filename), &file))
      send_file(stream, request, file);
    else
      send_error(stream, request, GRPC_NOT_FOUND, "unknown file");
    break;
  case REQUEST_CASE(FILE_CONTAINING_SYMBOL):
    if (grpc_descriptors_find_symbol(d, str_from(request->file_containing_symbol), &file))
      send_file(stream, request, file);
    else
      send_error(stream, request, GRPC_NOT_FOUND, "unknown symbol");
    break;
  case REQUEST_CASE(FILE_CONTAINING_EXTENSION):
    send_error(stream, request, GRPC_NOT_FOUND, "unknown extension");
    break;
  case REQUEST_CASE(ALL_EXTENSION_NUMBERS_OF_TYPE):
    send_extension_numbers(stream, request);
    break;
  case REQUEST_CASE(LIST_SERVICES):
    send_services(stream, request);
    break;
  default:
    send_error(stream, request, GRPC_INVALID_ARGUMENT, "the request asks for nothing");
    break;
  }
}

/* ---- streams ---- */

static void end(struct stream *stream, struct grpc_status *status) {
  for (size_t i = 0; i < stream->waiting_count; i++)
    grpc_message_release(stream->waiting[i].message);
  grpc_call_finish(stream->call, status);
  free(stream->was_sent);
  free(stream);
}

static void answer_waiting(struct stream *stream) {
  size_t done = 0;
  for (; done < stream->waiting_count && grpc_call_is_writable(stream->call); done++) {
    answer(stream, stream->waiting[done].request);
    grpc_message_release(stream->waiting[done].message);
  }
  stream->waiting_count -= done;
  memmove(stream->waiting, stream->waiting + done,
          stream->waiting_count * sizeof(stream->waiting[0]));
  if (stream->is_half_closed && stream->waiting_count == 0)
    end(stream, NULL);
}

static void on_writable(void *arg) {
  answer_waiting((struct stream *)arg);
}

static void on_cancel(void *arg) {
  end((struct stream *)arg, grpc_status_new(GRPC_CANCELLED, "cancelled"));
}

static void on_drain(void *arg) {
  end((struct stream *)arg, grpc_status_new(GRPC_UNAVAILABLE, "the server is shutting down"));
}

static struct stream *stream_of(struct grpc_reflection *reflection, struct grpc_call *call) {
  static const struct grpc_call_events events = {on_cancel, on_writable, on_drain};
  struct stream *stream = grpc_call_context(call);
  if (stream)
    return stream;
  stream = xcalloc(1, sizeof(*stream));
  stream->reflection = reflection;
  stream->call = call;
  stream->was_sent =
      xcalloc(grpc_descriptors_count(reflection->descriptors) + 1, sizeof(*stream->was_sent));
  grpc_call_set_context(call, stream);
  grpc_call_set_events(call, &events, stream);
  return stream;
}

static void handle(void *service, struct grpc_call *call, const reflection_request *request,
                   struct grpc_message *message) {
  struct stream *stream = stream_of(service, call);
  if (!message) {
    stream->is_half_closed = true;
  } else if (stream->waiting_count == MAX_WAITING) {
    grpc_message_release(message);
    end(stream, grpc_status_new(GRPC_RESOURCE_EXHAUSTED,
                                "more than %d requests wait: take the answers", MAX_WAITING));
    return;
  } else {
    stream->waiting[stream->waiting_count++] = (struct waiting){request, message};
  }
  answer_waiting(stream);
}

/* ---- life ---- */

static void add_alpha(struct grpc_reflection *r) {
  const struct grpc_service *service = &grpc_reflection_v1_server_reflection_service;
  r->alpha_method = service->methods[0];
  r->alpha_method.path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
  r->alpha_service = (struct grpc_service){.name = "grpc.reflection.v1alpha.ServerReflection",
                                           .methods = &r->alpha_method,
                                           .method_count = 1};
  grpc_server_add(r->server, &r->alpha_service, &r->handlers);
  grpc_server_answer_early(r->server, &r->alpha_service);
  grpc_server_open_to_anybody(r->server, &r->alpha_service);
}

struct grpc_reflection *grpc_reflection_new(struct grpc_server *server) {
  struct grpc_reflection *r = xcalloc(1, sizeof(*r));
  r->server = server;
  r->descriptors = grpc_descriptors_new();
  r->handlers.server_reflection_info.handle = handle;
  r->handlers.server_reflection_info.service = r;
  grpc_reflection_v1_server_reflection_add(server, &r->handlers);
  grpc_server_answer_early(server, &grpc_reflection_v1_server_reflection_service);
  grpc_server_open_to_anybody(server, &grpc_reflection_v1_server_reflection_service);
  add_alpha(r);
  return r;
}

void grpc_reflection_describe(struct grpc_reflection *reflection, struct str set) {
  grpc_descriptors_add(reflection->descriptors, set);
}

void grpc_reflection_free(struct grpc_reflection *reflection) {
  if (!reflection)
    return;
  grpc_descriptors_free(reflection->descriptors);
  free(reflection);
}
