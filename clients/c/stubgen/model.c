#include "model.h"

#include "names.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

typedef Google__Protobuf__DescriptorProto message_descriptor;
typedef Google__Protobuf__ServiceDescriptorProto service_descriptor;
typedef Google__Protobuf__MethodDescriptorProto method_descriptor;

/* Field numbers of descriptor.proto, of which source locations are made. */
enum { FILE_SERVICE_FIELD = 6, SERVICE_METHOD_FIELD = 2 };

/* ---- variables ---- */

static void vars_add(struct model_vars *names, const char *key, char *value) {
  assert(names->count < MODEL_MAX_VARS);
  names->vars[names->count++] = (struct text_var){.key = key, .value = value};
}

static void vars_copy(struct model_vars *names, const struct model_vars *from) {
  for (int i = 0; i < from->count; i++)
    vars_add(names, from->vars[i].key, text_format("%s", from->vars[i].value));
}

static void vars_deinit(struct model_vars *names) {
  for (int i = 0; i < names->count; i++)
    free((void *)names->vars[i].value);
}

const char *model_var(const struct model_vars *names, const char *key) {
  int i = 0;
  while (i < names->count && strcmp(names->vars[i].key, key) != 0)
    i++;
  assert(i < names->count);
  return names->vars[i].value;
}

/* ---- what protoc tells ---- */

static const char *leading_comment(const file_descriptor *file, const int32_t *path, size_t len) {
  if (!file->source_code_info)
    return NULL;
  for (size_t i = 0; i < file->source_code_info->n_location; i++) {
    const Google__Protobuf__SourceCodeInfo__Location *at = file->source_code_info->location[i];
    if (at->n_path == len && memcmp(at->path, path, len * sizeof *path) == 0)
      return at->leading_comments;
  }
  return NULL;
}

static const message_descriptor *find_message(message_descriptor *const *messages, size_t count,
                                              const char *name, size_t name_len) {
  for (size_t i = 0; i < count; i++) {
    const char *candidate = messages[i]->name;
    if (strlen(candidate) == name_len && memcmp(candidate, name, name_len) == 0)
      return messages[i];
  }
  return NULL;
}

/* How deep in `file` the type is defined: 1 at the top, more inside other messages, 0 not there. */
static int type_depth_in_file(const file_descriptor *file, const char *full_name) {
  const char *rest = full_name;
  if (file->package && file->package[0]) {
    size_t len = strlen(file->package);
    if (strncmp(full_name, file->package, len) != 0 || full_name[len] != '.')
      return 0;
    rest += len + 1;
  }
  message_descriptor *const *messages = file->message_type;
  size_t count = file->n_message_type;
  for (int depth = 1;; depth++) {
    size_t len = strcspn(rest, ".");
    const message_descriptor *found = find_message(messages, count, rest, len);
    if (!found || rest[len] == '\0')
      return found ? depth : 0;
    rest += len + 1;
    messages = found->nested_type;
    count = found->n_nested_type;
  }
}

static int type_depth(const generator_request *request, const char *full_name) {
  for (size_t i = 0; i < request->n_proto_file; i++) {
    int depth = type_depth_in_file(request->proto_file[i], full_name);
    if (depth > 0)
      return depth;
  }
  return 0;
}

/* ---- methods ---- */

struct type_keys {
  const char *upper, *lower;
};

/* `type` is as protoc gives it, with a leading dot. */
static int method_add_type(struct model_method *method, const generator_request *request,
                           const char *type, struct type_keys keys, struct gen_error *err) {
  const char *full_name = type && type[0] == '.' ? type + 1 : "";
  int depth = type_depth(request, full_name);
  if (depth == 0)
    return gen_fail(err, "%s.%s: no file given defines the message %s",
                    model_var(&method->names, "service"), model_var(&method->names, "name"),
                    type ? type : "(none)");
  char *lower = name_type_lower(full_name);
  vars_add(&method->names, keys.upper, name_type(full_name));
  vars_add(&method->names, keys.lower, lower);
  if (strcmp(keys.lower, "out") == 0) {
    /* protobuf-c gives messages inside messages no functions of their own. */
    vars_add(&method->names, "free",
             depth == 1 ? text_format("%s__free_unpacked(response, NULL)", lower)
                        : text_format("protobuf_c_message_free_unpacked(&response->base, NULL)"));
  }
  return 0;
}

static enum method_kind kind_of(const method_descriptor *from) {
  if (from->client_streaming)
    return from->server_streaming ? METHOD_BIDI : METHOD_CLIENT_STREAM;
  return from->server_streaming ? METHOD_SERVER_STREAM : METHOD_UNARY;
}

static int method_init(struct model_method *method, const struct model_service *service,
                       const generator_request *request, const method_descriptor *from,
                       struct gen_error *err) {
  char *snake = name_snake(from->name);
  method->kind = kind_of(from);
  vars_copy(&method->names, &service->names);
  vars_add(&method->names, "name", text_format("%s", from->name));
  vars_add(&method->names, "method", snake);
  vars_add(&method->names, "m", text_format("%s_%s", model_var(&service->names, "s"), snake));
  if (name_is_keyword(snake))
    return gen_fail(err, "%s.%s: its name in C, \"%s\", is a keyword; rename the method",
                    model_var(&service->names, "service"), from->name, snake);
  if (method_add_type(method, request, from->input_type, (struct type_keys){"In", "in"}, err) != 0)
    return -1;
  return method_add_type(method, request, from->output_type, (struct type_keys){"Out", "out"}, err);
}

/* ---- services ---- */

static int service_init_methods(struct model_service *service, const generator_request *request,
                                const service_descriptor *from, struct gen_error *err) {
  service->method_count = from->n_method;
  service->methods = mem_new(from->n_method, sizeof *service->methods);
  for (size_t i = 0; i < from->n_method; i++) {
    if (method_init(&service->methods[i], service, request, from->method[i], err) != 0)
      return -1;
  }
  return 0;
}

static void service_find_comments(struct model_service *service, const file_descriptor *file,
                                  int32_t index) {
  int32_t path[] = {FILE_SERVICE_FIELD, index, SERVICE_METHOD_FIELD, 0};
  service->comment = leading_comment(file, path, 2);
  for (size_t i = 0; i < service->method_count; i++) {
    path[3] = (int32_t)i;
    service->methods[i].comment = leading_comment(file, path, 4);
  }
}

static void service_init_names(struct model_service *service, const struct model *model,
                               const file_descriptor *file, const char *name) {
  bool has_package = file->package && file->package[0];
  char *full_name =
      text_format("%s%s%s", has_package ? file->package : "", has_package ? "." : "", name);
  vars_copy(&service->names, &model->names);
  vars_add(&service->names, "service", full_name);
  vars_add(&service->names, "s", name_snake(full_name));
}

static void service_deinit(struct model_service *service) {
  for (size_t i = 0; i < service->method_count; i++)
    vars_deinit(&service->methods[i].names);
  free(service->methods);
  vars_deinit(&service->names);
}

/* ---- files ---- */

/* The name stands in #include lines and comments. */
static int check_file_name(const char *name, struct gen_error *err) {
  static const char allowed[] =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
      "_-+./";
  size_t len = strspn(name, allowed);
  if (name[len] == '\0')
    return 0;
  return gen_fail(err, "%s: the file's name may hold only letters, digits and _ - + . /", name);
}

int model_init(struct model *model, const generator_request *request, const file_descriptor *file,
               struct gen_error *err) {
  *model = (struct model){0};
  if (check_file_name(file->name, err) != 0)
    return -1;
  char *stem = name_stem(file->name);
  char *symbol = name_symbol(stem);
  vars_add(&model->names, "file", text_format("%s", file->name));
  vars_add(&model->names, "stem", stem);
  vars_add(&model->names, "f", symbol);
  vars_add(&model->names, "F", name_upper(symbol));
  model->service_count = file->n_service;
  model->services = mem_new(file->n_service, sizeof *model->services);
  for (size_t i = 0; i < file->n_service; i++) {
    struct model_service *service = &model->services[i];
    service_init_names(service, model, file, file->service[i]->name);
    if (service_init_methods(service, request, file->service[i], err) != 0)
      return -1;
    service_find_comments(service, file, (int32_t)i);
  }
  return 0;
}

void model_deinit(struct model *model) {
  for (size_t i = 0; i < model->service_count; i++)
    service_deinit(&model->services[i]);
  free(model->services);
  vars_deinit(&model->names);
}
