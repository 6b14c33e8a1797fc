#include "dev_certs.h"

#include "base/alloc.h"
#include "base/output.h"
#include "test_authority.h"
#include "usage.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_HOST_NAME 253
#define MAX_NAMES     (DEV_CERTS_MAX_NAMES + 4)

#define CLIENT_NAME      "test-client"
#define CLIENT_PRINCIPAL "cn:" CLIENT_NAME

enum holder { AUTHORITY, SERVER, CLIENT, HOLDER_COUNT };

static const char *const file_names[HOLDER_COUNT] = {"ca", "server", "client"};

struct certs {
  char folder[PATH_MAX];
  const char *names[MAX_NAMES]; /* the server's */
  int name_count;
  char host[MAX_HOST_NAME + 1];
  struct test_cert holders[HOLDER_COUNT];
  int files; /* made so far */
};

static int fail(const char *what, const char *path, int reason) {
  fprintf(stderr, "auditstored: dev-certs: %s %s: %s\n", what, path, strerror(reason));
  return EXIT_FAILURE;
}

static int fail_to_create(const char *path) {
  if (errno != EEXIST)
    return fail("can't create", path, errno);
  fprintf(stderr,
          "auditstored: dev-certs: %s is there already: name another folder, or delete it\n", path);
  return EXIT_FAILURE;
}

/* ---- names ---- */

static bool is_address(const char *name) {
  struct in6_addr room;
  return inet_pton(AF_INET, name, &room) == 1 || inet_pton(AF_INET6, name, &room) == 1;
}

static bool is_host_name(const char *name) {
  static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-";
  size_t len = strlen(name);
  return len > 0 && len <= MAX_HOST_NAME && strspn(name, allowed) == len && *name != '.' &&
         *name != '-';
}

static void add_name(struct certs *certs, const char *name) {
  for (int i = 0; i < certs->name_count; i++)
    if (strcasecmp(certs->names[i], name) == 0)
      return;
  certs->names[certs->name_count++] = name;
}

static int refuse_name(const char *name) {
  fprintf(stderr, "auditstored: dev-certs: \"%s\" is neither a host's name nor an address\n", name);
  return EXIT_USAGE;
}

static int take_names(struct certs *certs, char *const *names, int count) {
  if (count > DEV_CERTS_MAX_NAMES) {
    fprintf(stderr, "auditstored: dev-certs: at most %d names\n", DEV_CERTS_MAX_NAMES);
    return EXIT_USAGE;
  }
  add_name(certs, "localhost");
  add_name(certs, "127.0.0.1");
  add_name(certs, "::1");
  if (gethostname(certs->host, sizeof(certs->host) - 1) == 0 && is_host_name(certs->host))
    add_name(certs, certs->host);
  for (int i = 0; i < count; i++) {
    if (!is_address(names[i]) && !is_host_name(names[i]))
      return refuse_name(names[i]);
    add_name(certs, names[i]);
  }
  return EXIT_SUCCESS;
}

/* "DNS:localhost,IP:127.0.0.1". */
static void join_names(const struct certs *certs, char *ret_text, size_t size) {
  size_t len = 0;
  for (int i = 0; i < certs->name_count; i++)
    len += (size_t)snprintf(ret_text + len, size - len, "%s%s:%s", i > 0 ? "," : "",
                            is_address(certs->names[i]) ? "IP" : "DNS", certs->names[i]);
}

/* ---- making ---- */

static bool make(struct certs *certs) {
  char names[MAX_NAMES * (MAX_HOST_NAME + sizeof(",DNS:"))];
  join_names(certs, names, sizeof(names));
  const struct test_cert_request server = {.common_name = "localhost", .names = names};
  const struct test_cert_request client = {.common_name = CLIENT_NAME, .is_client = true};
  const struct test_cert *authority = &certs->holders[AUTHORITY];
  return test_authority_make(&certs->holders[AUTHORITY]) &&
         test_authority_sign(authority, &server, &certs->holders[SERVER]) &&
         test_authority_sign(authority, &client, &certs->holders[CLIENT]);
}

/* ---- files ---- */

/* Files come by twos: a certificate, then its key. */
#define FILE_COUNT (2 * HOLDER_COUNT)

static bool is_key(int file) {
  return file % 2 != 0;
}

static void path_of(const struct certs *certs, int file, char ret_path[PATH_MAX + 32]) {
  snprintf(ret_path, PATH_MAX + 32, "%s/%s%s.pem", certs->folder, file_names[file / 2],
           is_key(file) ? "-key" : "");
}

static bool put(FILE *out, const struct certs *certs, int file) {
  const struct test_cert *holder = &certs->holders[file / 2];
  return is_key(file) ? PEM_write_PrivateKey(out, holder->key, NULL, NULL, 0, NULL, NULL) == 1
                      : PEM_write_X509(out, holder->cert) == 1;
}

static int write_file(struct certs *certs, int file) {
  char path[PATH_MAX + 32];
  path_of(certs, file, path);
  /* Never over a file that is there: somebody may use it. */
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, is_key(file) ? 0600 : 0644);
  if (fd < 0)
    return fail_to_create(path);
  certs->files++;
  FILE *out = fdopen(fd, "w");
  bool ok = out && put(out, certs, file) && fflush(out) == 0 && fsync(fd) == 0;
  int reason = errno;
  if (out)
    fclose(out);
  else
    close(fd);
  return ok ? EXIT_SUCCESS : fail("can't write", path, reason);
}

static int write_files(struct certs *certs) {
  int code = EXIT_SUCCESS;
  while (code == EXIT_SUCCESS && certs->files < FILE_COUNT)
    code = write_file(certs, certs->files);
  return code;
}

/* All of them or none. */
static void remove_files(struct certs *certs) {
  char path[PATH_MAX + 32];
  while (certs->files > 0) {
    path_of(certs, --certs->files, path);
    unlink(path);
  }
}

static int open_folder(struct certs *certs, const char *folder) {
  if (mkdir(folder, 0700) < 0 && errno != EEXIST)
    return fail("can't make the folder", folder, errno);
  if (!realpath(folder, certs->folder))
    return fail("can't use the folder", folder, errno);
  return EXIT_SUCCESS;
}

/* ---- what it says ---- */

static void print_files(const struct certs *certs) {
  printf(
      "Made in %s, for tests only, good for %d days:\n\n"
      "  ca.pem, ca-key.pem          the authority that signed the others\n"
      "  server.pem, server-key.pem  for",
      certs->folder, TEST_CERT_DAYS);
  for (int i = 0; i < certs->name_count; i++)
    printf("%s %s", i > 0 ? "," : "", certs->names[i]);
  fputs("\n  client.pem, client-key.pem  for the principal " CLIENT_PRINCIPAL "\n\n", stdout);
}

static void print_use(const struct certs *certs) {
  const char *folder = certs->folder;
  printf(
      "For auditstored:\n\n"
      "  tls:\n"
      "    cert_file: %s/server.pem\n"
      "    key_file: %s/server-key.pem\n"
      "    client_ca_file: %s/ca.pem\n"
      "    client_certificates: optional\n"
      "  access:\n"
      "    writers: " CLIENT_PRINCIPAL
      "\n"
      "    readers: " CLIENT_PRINCIPAL
      "\n"
      "    admins: " CLIENT_PRINCIPAL
      "\n"
      "    anonymous_roles: off\n\n",
      folder, folder, folder);
  printf(
      "For the tool:\n\n"
      "  auditstore --server localhost:7443 --ca %s/ca.pem \\\n"
      "    --cert %s/client.pem --key %s/client-key.pem info\n",
      folder, folder, folder);
}

static int make_and_write(struct certs *certs) {
  if (!make(certs)) {
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    fprintf(stderr, "auditstored: dev-certs: OpenSSL makes no certificates: %s\n",
            reason ? reason : "it says no more");
    return EXIT_FAILURE;
  }
  int code = write_files(certs);
  if (code != EXIT_SUCCESS) {
    remove_files(certs);
    return code;
  }
  print_files(certs);
  print_use(certs);
  return output_finish("auditstored: dev-certs", 0) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int dev_certs(const char *folder, char *const *names, int name_count) {
  struct certs *certs = xcalloc(1, sizeof(*certs));
  int code = take_names(certs, names, name_count);
  if (code == EXIT_SUCCESS)
    code = open_folder(certs, folder);
  if (code == EXIT_SUCCESS)
    code = make_and_write(certs);
  for (int i = 0; i < HOLDER_COUNT; i++)
    test_cert_deinit(&certs->holders[i]);
  free(certs);
  return code;
}
