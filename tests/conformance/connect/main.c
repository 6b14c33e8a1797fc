/*
 * connect_server: ConformanceService for the Connect conformance suite, which says on stdin what
 * the server has to be like, is told on stdout where it listens, and ends it with SIGTERM.
 */
#include "base/alloc.h"
#include "conformance.pb-c.h"
#include "program.h"
#include "service.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REQUEST_MAX_BYTES ((uint32_t)1024 * 1024)
#define LENGTH_BYTES      4

/* ---- messages behind their lengths ---- */

static Connectrpc__Conformance__V1__ServerCompatRequest *read_request(void) {
  uint8_t length[LENGTH_BYTES];
  if (fread(length, sizeof(length), 1, stdin) != 1)
    return NULL;
  size_t len =
      (size_t)length[0] << 24 | (size_t)length[1] << 16 | (size_t)length[2] << 8 | length[3];
  if (len > REQUEST_MAX_BYTES)
    return NULL;
  uint8_t *bytes = xmalloc(len + 1);
  Connectrpc__Conformance__V1__ServerCompatRequest *request = NULL;
  if (fread(bytes, 1, len, stdin) == len)
    request = connectrpc__conformance__v1__server_compat_request__unpack(NULL, len, bytes);
  free(bytes);
  return request;
}

static void write_response(int port, ProtobufCBinaryData cert) {
  static const char host[] = "127.0.0.1";
  Connectrpc__Conformance__V1__ServerCompatResponse response =
      CONNECTRPC__CONFORMANCE__V1__SERVER_COMPAT_RESPONSE__INIT;
  response.host = (ProtobufCBinaryData){sizeof(host) - 1, (uint8_t *)host};
  response.port = (uint32_t)port;
  response.pem_cert = cert;
  size_t len = protobuf_c_message_get_packed_size(&response.base);
  uint8_t *bytes = xmalloc(LENGTH_BYTES + len);
  for (size_t i = 0; i < LENGTH_BYTES; i++)
    bytes[i] = (uint8_t)(len >> 8 * (LENGTH_BYTES - 1 - i));
  protobuf_c_message_pack(&response.base, bytes + LENGTH_BYTES);
  fwrite(bytes, 1, LENGTH_BYTES + len, stdout);
  fflush(stdout);
  free(bytes);
}

/* ---- TLS ---- */

/* The files that the server's TLS is read from, gone once it was. */
struct files {
  char folder[PATH_MAX];
  char cert[PATH_MAX + NAME_MAX];
  char key[PATH_MAX + NAME_MAX];
  char client_ca[PATH_MAX + NAME_MAX];
};

static bool write_file(const struct files *files, const char *name, ProtobufCBinaryData text,
                       char path[PATH_MAX + NAME_MAX]) {
  (void)snprintf(path, PATH_MAX + NAME_MAX, "%s/%s", files->folder, name);
  FILE *file = fopen(path, "wx");
  if (!file)
    return false;
  bool is_written = text.len == 0 || fwrite(text.data, text.len, 1, file) == 1;
  return fclose(file) == 0 && is_written;
}

static bool write_files(struct files *files,
                        const Connectrpc__Conformance__V1__ServerCompatRequest *request) {
  const char *parent = getenv("TMPDIR");
  (void)snprintf(files->folder, sizeof(files->folder), "%s/conformance-XXXXXX",
                 parent ? parent : "/tmp");
  return mkdtemp(files->folder) &&
         write_file(files, "cert.pem", request->server_creds->cert, files->cert) &&
         write_file(files, "key.pem", request->server_creds->key, files->key) &&
         write_file(files, "ca.pem", request->client_tls_cert, files->client_ca);
}

static void remove_files(const struct files *files) {
  unlink(files->cert);
  unlink(files->key);
  unlink(files->client_ca);
  rmdir(files->folder);
}

/* ---- the server ---- */

static int start(struct program **ret_program,
                 const Connectrpc__Conformance__V1__ServerCompatRequest *request,
                 struct error *err) {
  struct files files = {0};
  bool is_mutual = request->client_tls_cert.len > 0;
  const struct tls_options tls = {
      .cert_file = files.cert,
      .key_file = files.key,
      .client_ca_file = is_mutual ? files.client_ca : "",
      .clients = is_mutual ? TLS_CLIENTS_REQUIRED : TLS_CLIENTS_ANONYMOUS,
      .max_handshakes = 100,
  };
  const struct program_options options = {
      .tls = request->use_tls ? &tls : NULL,
      .max_message_bytes = request->message_receive_limit,
  };
  if (request->use_tls && !request->server_creds)
    return error_set(err, ERR_INVALID_ARGUMENT, "TLS is asked for without a certificate");
  if (request->use_tls && !write_files(&files, request))
    return error_set(err, ERR_INTERNAL, "can't write the certificates to %s", files.folder);
  int rc = program_new(ret_program, &options, conformance_service_add, err);
  if (request->use_tls)
    remove_files(&files);
  return rc;
}

int main(void) {
  struct program *program = NULL;
  struct error err = {0};
  Connectrpc__Conformance__V1__ServerCompatRequest *request = read_request();
  if (!request) {
    fputs("connect_server: stdin has no ServerCompatRequest\n", stderr);
    return 2;
  }
  int rc = start(&program, request, &err);
  if (rc < 0)
    fprintf(stderr, "connect_server: %s\n", err.text);
  else
    write_response(program_port(program),
                   request->use_tls ? request->server_creds->cert : (ProtobufCBinaryData){0});
  connectrpc__conformance__v1__server_compat_request__free_unpacked(request, NULL);
  return rc < 0 ? EXIT_FAILURE : program_run(program);
}
