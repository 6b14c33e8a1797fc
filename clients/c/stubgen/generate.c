#include "generate.h"

#include "emit.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

typedef Google__Protobuf__Compiler__CodeGeneratorResponse generator_response;
typedef Google__Protobuf__Compiler__CodeGeneratorResponse__File output_file;

/* What the parameter asks for. */
struct wanted {
  bool client, server, descriptor;
};

enum { MAX_OUTPUTS_PER_FILE = 6 };

/* ---- the parameter ---- */

static bool *wanted_flag(struct wanted *wanted, const char *word, size_t len) {
  const struct {
    const char *word;
    bool *flag;
  } words[] = {
      {"client", &wanted->client},
      {"server", &wanted->server},
      {"descriptor", &wanted->descriptor},
  };
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
    if (strlen(words[i].word) == len && memcmp(words[i].word, word, len) == 0)
      return words[i].flag;
  }
  return NULL;
}

static int wanted_parse(struct wanted *wanted, const char *parameter, struct gen_error *err) {
  *wanted = (struct wanted){0};
  if (!parameter || !parameter[0])
    return gen_fail(err,
                    "--auditstore-c_opt is missing: say client, server, descriptor, or several "
                    "separated by commas");
  for (const char *at = parameter;; at++) {
    size_t len = strcspn(at, ",");
    bool *flag = wanted_flag(wanted, at, len);
    if (!flag)
      return gen_fail(err,
                      "--auditstore-c_opt: unknown word \"%.*s\"; allowed are client, server and "
                      "descriptor, separated by commas",
                      (int)(len < 100 ? len : 100), at);
    *flag = true;
    at += len;
    if (!*at)
      return 0;
  }
}

/* ---- output files ---- */

/* Adds what was written to `sink` to the response. */
static void output_add(generator_response *response, const struct model *model, const char *suffix,
                       struct text_sink *sink) {
  output_file *file = mem_new(1, sizeof *file);
  google__protobuf__compiler__code_generator_response__file__init(file);
  file->name = text_format("%s%s", model_var(&model->names, "stem"), suffix);
  file->content = text_sink_take(sink);
  response->file[response->n_file++] = file;
}

static int generate_client(generator_response *response, const struct model *model,
                           struct gen_error *err) {
  if (emit_client_check(model, err) != 0)
    return -1;
  struct text_sink header;
  text_sink_init(&header);
  emit_client_header(header.out, model);
  output_add(response, model, ".stub.h", &header);
  struct text_sink source;
  text_sink_init(&source);
  emit_client_source(source.out, model);
  output_add(response, model, ".stub.c", &source);
  return 0;
}

static int generate_server(generator_response *response, const struct model *model,
                           struct gen_error *err) {
  if (emit_server_check(model, err) != 0)
    return -1;
  struct text_sink header;
  text_sink_init(&header);
  emit_server_header(header.out, model);
  output_add(response, model, ".service.h", &header);
  struct text_sink source;
  text_sink_init(&source);
  emit_server_source(source.out, model);
  output_add(response, model, ".service.c", &source);
  return 0;
}

/* ---- the descriptor set ---- */

static size_t file_index(const generator_request *request, const char *name) {
  size_t i = 0;
  while (i < request->n_proto_file && strcmp(request->proto_file[i]->name, name) != 0)
    i++;
  return i;
}

/* protoc lists a file after all that it imports, so one pass from the end reaches everything. */
static void mark_imports(const generator_request *request, bool *is_needed) {
  for (size_t i = request->n_proto_file; i-- > 0;) {
    const file_descriptor *file = request->proto_file[i];
    for (size_t j = 0; is_needed[i] && j < file->n_dependency; j++) {
      size_t import = file_index(request, file->dependency[j]);
      if (import < request->n_proto_file)
        is_needed[import] = true;
    }
  }
}

static uint8_t *pack_set(const Google__Protobuf__FileDescriptorSet *set, size_t *ret_len) {
  *ret_len = google__protobuf__file_descriptor_set__get_packed_size(set);
  uint8_t *bytes = mem_new(*ret_len, 1);
  google__protobuf__file_descriptor_set__pack(set, bytes);
  return bytes;
}

static uint8_t *descriptor_set(const generator_request *request, const file_descriptor *file,
                               size_t *ret_len) {
  bool *is_needed = mem_new(request->n_proto_file, sizeof *is_needed);
  is_needed[file_index(request, file->name)] = true;
  mark_imports(request, is_needed);
  Google__Protobuf__FileDescriptorSet set = GOOGLE__PROTOBUF__FILE_DESCRIPTOR_SET__INIT;
  file_descriptor *copies = mem_new(request->n_proto_file, sizeof *copies);
  set.file = mem_new(request->n_proto_file, sizeof(file_descriptor *));
  for (size_t i = 0; i < request->n_proto_file; i++) {
    if (!is_needed[i])
      continue;
    copies[i] = *request->proto_file[i];
    copies[i].source_code_info = NULL;
    set.file[set.n_file++] = &copies[i];
  }
  uint8_t *bytes = pack_set(&set, ret_len);
  free(set.file);
  free(copies);
  free(is_needed);
  return bytes;
}

static void generate_descriptor(generator_response *response, const struct model *model,
                                const generator_request *request, const file_descriptor *file) {
  size_t len = 0;
  uint8_t *set = descriptor_set(request, file, &len);
  struct text_sink header;
  text_sink_init(&header);
  emit_descriptor_header(header.out, model);
  output_add(response, model, ".descriptor.h", &header);
  struct text_sink source;
  text_sink_init(&source);
  emit_descriptor_source(source.out, model, set, len);
  output_add(response, model, ".descriptor.c", &source);
  free(set);
}

/* ---- all of it ---- */

static int generate_file(generator_response *response, const generator_request *request,
                         const file_descriptor *file, const struct wanted *wanted,
                         struct gen_error *err) {
  struct model model;
  int rc = model_init(&model, request, file, err);
  bool has_services = file->n_service > 0;
  if (rc == 0 && wanted->client && has_services)
    rc = generate_client(response, &model, err);
  if (rc == 0 && wanted->server && has_services)
    rc = generate_server(response, &model, err);
  if (rc == 0 && wanted->descriptor)
    generate_descriptor(response, &model, request, file);
  model_deinit(&model);
  return rc;
}

static int generate_all(generator_response *response, const generator_request *request,
                        struct gen_error *err) {
  struct wanted wanted;
  if (wanted_parse(&wanted, request->parameter, err) != 0)
    return -1;
  for (size_t i = 0; i < request->n_file_to_generate; i++) {
    size_t index = file_index(request, request->file_to_generate[i]);
    if (index == request->n_proto_file)
      return gen_fail(err, "%s: protoc gave no description of it", request->file_to_generate[i]);
    if (generate_file(response, request, request->proto_file[index], &wanted, err) != 0)
      return -1;
  }
  return 0;
}

generator_response *generate(const generator_request *request) {
  generator_response *response = mem_new(1, sizeof *response);
  google__protobuf__compiler__code_generator_response__init(response);
  response->file =
      mem_new(request->n_file_to_generate * MAX_OUTPUTS_PER_FILE, sizeof(output_file *));
  struct gen_error err = {0};
  if (generate_all(response, request, &err) != 0)
    response->error = text_format("%s", err.text);
  return response;
}
