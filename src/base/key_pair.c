#include "base/key_pair.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/passphrase.h"
#include "base/pem_file.h"

#define FILE_MAX_BYTES ((size_t)1024 * 1024)
#define READ_STEP      ((size_t)16 * 1024)

/* One of the files. */
struct pem {
  const char *what; /* "certificate", "key" */
  const char *path;
  struct buf text; /* with a NUL behind it */
  struct secret_risk risk;
  char *why; /* where to say what is wrong */
};

__attribute__((format(printf, 2, 3))) static bool fail(const struct pem *pem, const char *format,
                                                       ...) {
  va_list args;
  int len = snprintf(pem->why, KEY_PAIR_TEXT_SIZE, "%s \"%.300s\" ", pem->what, pem->path);
  va_start(args, format);
  vsnprintf(pem->why + len, (size_t)(KEY_PAIR_TEXT_SIZE - len), format, args);
  va_end(args);
  return false;
}

static const char *text_of(const struct pem *pem) {
  return (const char *)buf_bytes(&pem->text);
}

static size_t len_of(const struct pem *pem) {
  return buf_len(&pem->text) - 1;
}

static const char *ssl_reason(void) {
  const char *reason = ERR_reason_error_string(ERR_peek_last_error());
  return reason ? reason : "not in the form that is expected";
}

/* ---- reading ---- */

static bool cant_read(const struct pem *pem, int error) {
  char room[128];
  return fail(pem, "can't be read: %s", strerror_r(error, room, sizeof(room)));
}

static bool read_all(struct pem *pem, int fd) {
  ssize_t n = 1;
  while (n > 0) {
    uint8_t *room = buf_reserve(&pem->text, READ_STEP);
    if (!room)
      return fail(pem, "is too large: it can't be one in PEM");
    n = read(fd, room, READ_STEP);
    if (n < 0)
      return cant_read(pem, errno);
    buf_commit(&pem->text, (size_t)n);
  }
  return buf_append(&pem->text, "", 1) || fail(pem, "is too large: it can't be one in PEM");
}

static bool read_file(struct pem *pem) {
  buf_init(&pem->text, FILE_MAX_BYTES);
  /* Non-blocking: opening a pipe by mistake must not stop the caller. */
  int fd = open(pem->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return cant_read(pem, errno);
  pem->risk = secret_file_judge(pem->path, fd);
  bool ok = read_all(pem, fd);
  close(fd);
  return ok;
}

static void forget(struct pem *pem) {
  if (buf_bytes(&pem->text))
    explicit_bzero(pem->text.data, pem->text.cap);
  buf_deinit(&pem->text);
}

static bool fail_content(const struct pem *pem) {
  bool is_key = strcmp(pem->what, "key") == 0;
  char why[PEM_REASON_SIZE];
  if (pem_file_explain(pem->path, is_key ? PEM_PRIVATE_KEY : PEM_CERTIFICATE, why))
    return fail(pem, "%s", why);
  return fail(pem, "holds no %s that can be read: %s", is_key ? "private key" : "certificate",
              ssl_reason());
}

/* ---- parsing ---- */

static BIO *open_text(const struct pem *pem) {
  BIO *bio = BIO_new_mem_buf(text_of(pem), (int)len_of(pem));
  ERR_clear_error();
  return bio;
}

static bool read_chain(const struct pem *pem, BIO *bio, struct stack_st_X509 *chain) {
  X509 *cert = NULL;
  while ((cert = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL))) {
    if (sk_X509_push(chain, cert) == 0) {
      X509_free(cert);
      return fail(pem, "needs more memory than there is");
    }
  }
  if (ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE)
    return true;
  return fail(pem, "has a certificate that can't be read, number %d: %s", sk_X509_num(chain) + 2,
              ssl_reason());
}

static bool parse_certificates(const struct pem *pem, struct key_pair *pair) {
  BIO *bio = open_text(pem);
  pair->cert = bio ? PEM_read_bio_X509_AUX(bio, NULL, no_passphrase, NULL) : NULL;
  pair->chain = sk_X509_new_null();
  bool ok = pair->cert && pair->chain ? read_chain(pem, bio, pair->chain) : fail_content(pem);
  BIO_free(bio);
  return ok;
}

static bool parse_key(const struct pem *pem, struct key_pair *pair) {
  BIO *bio = open_text(pem);
  pair->key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
  BIO_free(bio);
  return pair->key || fail_content(pem);
}

/* ---- one against the other ---- */

/* Of those behind the first, counted from 2; 0: none. */
static int number_of_match(const struct key_pair *pair) {
  for (int i = 0; i < sk_X509_num(pair->chain); i++) {
    if (X509_check_private_key(sk_X509_value(pair->chain, i), pair->key) == 1)
      return i + 2;
  }
  return 0;
}

static const char *kind_of(const EVP_PKEY *key) {
  const char *kind = key ? EVP_PKEY_get0_type_name(key) : NULL;
  return kind ? kind : "another kind";
}

static bool check_match(const struct pem *cert, const struct pem *key, struct key_pair *pair) {
  if (X509_check_private_key(pair->cert, pair->key) == 1)
    return true;
  const char *whose = X509_check_ca(pair->cert) > 0 ? ", and its first is an authority's" : "";
  const EVP_PKEY *public_key = X509_get0_pubkey(pair->cert);
  int number = number_of_match(pair);
  if (number > 0)
    return fail(cert,
                "has the certificate for the key \"%.300s\" as number %d%s: put that one first",
                key->path, number, whose);
  if (!public_key || strcmp(kind_of(public_key), kind_of(pair->key)) != 0)
    return fail(cert, "is for %s, key \"%.300s\" is %s%s: name two that belong together",
                kind_of(public_key), key->path, kind_of(pair->key), whose);
  return fail(cert, "isn't for the key \"%.300s\"%s: name two that belong together", key->path,
              whose);
}

bool key_pair_read(const char *cert_file, const char *key_file, struct key_pair *ret_pair,
                   char ret_why[KEY_PAIR_TEXT_SIZE]) {
  struct pem cert = {.what = "certificate", .path = cert_file, .why = ret_why};
  struct pem key = {.what = "key", .path = key_file, .why = ret_why};
  struct key_pair pair = {0};
  bool ok = read_file(&cert) && parse_certificates(&cert, &pair) && read_file(&key) &&
            parse_key(&key, &pair) && check_match(&cert, &key, &pair);
  pair.key_risk = key.risk;
  ERR_clear_error();
  forget(&cert);
  forget(&key);
  if (ok)
    *ret_pair = pair;
  else
    key_pair_deinit(&pair);
  return ok;
}

void key_pair_deinit(struct key_pair *pair) {
  X509_free(pair->cert);
  sk_X509_pop_free(pair->chain, X509_free);
  EVP_PKEY_free(pair->key);
  *pair = (struct key_pair){0};
}

bool key_pair_check_certificates(const char *file, char ret_why[KEY_PAIR_TEXT_SIZE]) {
  struct pem pem = {.what = "authorities' certificates", .path = file, .why = ret_why};
  struct key_pair pair = {0};
  bool ok = read_file(&pem) && parse_certificates(&pem, &pair);
  ERR_clear_error();
  forget(&pem);
  key_pair_deinit(&pair);
  return ok;
}
