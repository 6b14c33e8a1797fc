/*
 * protoc-gen-auditstore-c: writes C stubs for gRPC services. protoc runs it:
 *
 *   protoc --c_out=DIR --auditstore-c_out=DIR --auditstore-c_opt=client FILE.proto
 *
 * A CodeGeneratorRequest comes in on standard input, a CodeGeneratorResponse goes out on standard
 * output. What is wrong with a .proto file is part of the answer; anything else is exit code 1.
 */
#include "generate.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_REQUEST_BYTES ((size_t)64 << 20)
#define READ_STEP_BYTES   ((size_t)64 << 10)

static const char usage[] =
    "protoc-gen-auditstore-c " AUDITSTORE_VERSION
    ": a plugin of protoc; protoc runs it:\n"
    "  protoc --c_out=DIR --auditstore-c_out=DIR --auditstore-c_opt=WHAT FILE.proto\n"
    "WHAT, one or more separated by commas:\n"
    "  client      FILE.stub.h/.c        typed calls over libauditstore\n"
    "  server      FILE.service.h/.c     typed handlers for the daemon\n"
    "  descriptor  FILE.descriptor.h/.c  the packed FileDescriptorSet\n";

static int complain(const char *what) {
  fprintf(stderr, "protoc-gen-auditstore-c: %s\n", what);
  return 1;
}

/* All of `in`, in memory that the caller frees, or NULL: *ret_why says why. */
static uint8_t *read_all(FILE *in, size_t *ret_len, const char **ret_why) {
  uint8_t *data = NULL;
  size_t len = 0, cap = 0;
  *ret_why = NULL;
  while (!*ret_why) {
    if (cap - len < READ_STEP_BYTES) {
      cap = cap * 2 + READ_STEP_BYTES;
      uint8_t *grown = realloc(data, cap);
      if (!grown) {
        *ret_why = "out of memory";
        break;
      }
      data = grown;
    }
    size_t got = fread(data + len, 1, READ_STEP_BYTES, in);
    len += got;
    if (len > MAX_REQUEST_BYTES)
      *ret_why = "the request is larger than 64 MiB";
    else if (ferror(in))
      *ret_why = "reading the request failed";
    else if (got == 0) {
      *ret_len = len;
      return data;
    }
  }
  free(data);
  return NULL;
}

static int write_response(const Google__Protobuf__Compiler__CodeGeneratorResponse *response) {
  size_t len = google__protobuf__compiler__code_generator_response__get_packed_size(response);
  uint8_t *bytes = malloc(len ? len : 1);
  if (!bytes)
    return complain("out of memory");
  google__protobuf__compiler__code_generator_response__pack(response, bytes);
  size_t written = fwrite(bytes, 1, len, stdout);
  free(bytes);
  if (written != len || fflush(stdout) != 0)
    return complain("writing the answer failed");
  return 0;
}

static int answer(const uint8_t *data, size_t len) {
  Google__Protobuf__Compiler__CodeGeneratorRequest *request =
      google__protobuf__compiler__code_generator_request__unpack(NULL, len, data);
  if (!request)
    return complain("standard input isn't a CodeGeneratorRequest");
  Google__Protobuf__Compiler__CodeGeneratorResponse *response = generate(request);
  int rc = write_response(response);
  google__protobuf__compiler__code_generator_response__free_unpacked(response, NULL);
  google__protobuf__compiler__code_generator_request__free_unpacked(request, NULL);
  return rc;
}

int main(int argc, char **argv) {
  if (argc > 1) {
    bool is_help = strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "--version") == 0;
    fputs(usage, is_help ? stdout : stderr);
    return is_help ? 0 : 2;
  }
  const char *why = NULL;
  size_t len = 0;
  uint8_t *data = read_all(stdin, &len, &why);
  if (!data)
    return complain(why);
  int rc = answer(data, len);
  free(data);
  return rc;
}
