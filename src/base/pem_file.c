#include "base/pem_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOOKED_AT_BYTES ((size_t)16 * 1024)

/* ASN.1: what DER begins with, the number 3 that is PKCS#12's version, and where it stands. */
#define DER_SEQUENCE    0x30
#define DER_LONG        0x80
#define PKCS12_VERSION  "\x02\x01\x03"
#define PKCS12_SIZE     3
#define DER_LENGTH_MASK 0x7F

struct content {
  char bytes[LOOKED_AT_BYTES];
  size_t len; /* when all bytes are used, the file may have more */
};

static bool holds(const struct content *content, const char *part) {
  return memmem(content->bytes, content->len, part, strlen(part)) != NULL;
}

static bool is_der(const struct content *content) {
  return content->len > 2 && (unsigned char)content->bytes[0] == DER_SEQUENCE &&
         !holds(content, "-----BEGIN ");
}

static bool is_pkcs12(const struct content *content) {
  unsigned char length = (unsigned char)content->bytes[1];
  size_t at = 2 + (length & DER_LONG ? length & DER_LENGTH_MASK : 0U);
  return at + PKCS12_SIZE <= content->len &&
         memcmp(content->bytes + at, PKCS12_VERSION, PKCS12_SIZE) == 0;
}

static bool needs_passphrase(const struct content *content) {
  return holds(content, "-----BEGIN ENCRYPTED PRIVATE KEY-----") ||
         holds(content, "Proc-Type: 4,ENCRYPTED");
}

static const char *what_der_is(const struct content *content, enum pem_wanted wanted) {
  if (is_pkcs12(content))
    return "is PKCS#12, not PEM: openssl pkcs12 -nodes -in FILE -out NEW takes certificate and key "
           "out of it";
  return wanted == PEM_PRIVATE_KEY ? "is DER, not PEM: openssl pkey -inform DER -in FILE -out NEW"
                                   : "is DER, not PEM: openssl x509 -inform DER -in FILE -out NEW";
}

static const char *what_is_missing(const struct content *content, enum pem_wanted wanted) {
  bool is_key = wanted == PEM_PRIVATE_KEY;
  if (!holds(content, "-----BEGIN "))
    return "isn't PEM: it has no line that begins with -----BEGIN";
  if (!holds(content, is_key ? "PRIVATE KEY-----" : "CERTIFICATE-----"))
    return is_key ? "holds no private key" : "holds no certificate";
  return NULL;
}

static const char *explain(const struct content *content, enum pem_wanted wanted) {
  if (content->len == 0)
    return "is empty";
  if (is_der(content))
    return what_der_is(content, wanted);
  if (wanted == PEM_PRIVATE_KEY && needs_passphrase(content))
    return "needs a passphrase, which can't be given: openssl pkey -in FILE -out NEW takes it off";
  return content->len < LOOKED_AT_BYTES ? what_is_missing(content, wanted) : NULL;
}

/* 0, or errno. */
static int read_content(const char *path, struct content *content) {
  struct stat status;
  /* Non-blocking: a pipe by mistake must hold nobody up. */
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return errno;
  int failure = fstat(fd, &status) < 0 ? errno : 0;
  while (!failure && content->len < LOOKED_AT_BYTES) {
    ssize_t got = read(fd, content->bytes + content->len, LOOKED_AT_BYTES - content->len);
    if (got == 0)
      break;
    if (got > 0)
      content->len += (size_t)got;
    else if (errno != EINTR)
      failure = errno;
  }
  close(fd);
  return failure;
}

bool pem_file_explain(const char *path, enum pem_wanted wanted, char ret_reason[PEM_REASON_SIZE]) {
  struct content content = {.len = 0};
  int failure = read_content(path, &content);
  const char *reason = failure ? NULL : explain(&content, wanted);
  char room[128];
  if (failure)
    snprintf(ret_reason, PEM_REASON_SIZE, "can't be read: %s",
             strerror_r(failure, room, sizeof(room)));
  else if (reason)
    snprintf(ret_reason, PEM_REASON_SIZE, "%s", reason);
  return failure || reason;
}
