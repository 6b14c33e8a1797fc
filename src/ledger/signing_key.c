#include "ledger/signing_key.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/passphrase.h"

struct signing_key {
  EVP_PKEY *pkey;
  EVP_MD_CTX *context;
  uint8_t public_key[SIGNING_PUBLIC_KEY_SIZE];
};

/* Takes `pkey`. */
static struct signing_key *key_new(EVP_PKEY *pkey) {
  struct signing_key *key = xcalloc(1, sizeof(*key));
  size_t len = sizeof(key->public_key);
  key->pkey = pkey;
  key->context = EVP_MD_CTX_new();
  if (!key->context || EVP_PKEY_get_raw_public_key(pkey, key->public_key, &len) != 1)
    abort();
  return key;
}

struct signing_key *signing_key_of_public(const uint8_t bytes[SIGNING_PUBLIC_KEY_SIZE]) {
  EVP_PKEY *pkey =
      EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, bytes, SIGNING_PUBLIC_KEY_SIZE);
  return pkey ? key_new(pkey) : NULL;
}

void signing_key_free(struct signing_key *key) {
  if (!key)
    return;
  EVP_MD_CTX_free(key->context);
  EVP_PKEY_free(key->pkey);
  free(key);
}

/* ---- files ---- */

static int write_key(EVP_PKEY *pkey, const char *path, struct error *err) {
  /* Never over a key that checkpoints were signed with. */
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0)
    return error_set(err, errno == EEXIST ? ERR_ALREADY_EXISTS : ERR_FAILED_PRECONDITION,
                     "can't create \"%s\": %s", path, strerror(errno));
  FILE *file = fdopen(fd, "w");
  bool ok = file && PEM_write_PrivateKey(file, pkey, NULL, NULL, 0, NULL, NULL) == 1 &&
            fflush(file) == 0 && fsync(fd) == 0;
  int reason = errno;
  if (file)
    fclose(file);
  else
    close(fd);
  if (ok)
    return 0;
  unlink(path);
  return error_set(err, ERR_FAILED_PRECONDITION, "can't write \"%s\": %s", path, strerror(reason));
}

int signing_key_generate(const char *path, struct signing_key **ret_key, struct error *err) {
  EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
  if (!pkey)
    return error_set(err, ERR_INTERNAL, "OpenSSL makes no Ed25519 key");
  int rc = write_key(pkey, path, err);
  if (rc < 0)
    EVP_PKEY_free(pkey);
  else
    *ret_key = key_new(pkey);
  return rc;
}

static int read_key(FILE *file, const char *path, EVP_PKEY **ret_pkey, struct error *err) {
  EVP_PKEY *pkey = PEM_read_PrivateKey(file, NULL, no_passphrase, NULL);
  if (pkey && EVP_PKEY_is_a(pkey, "ED25519")) {
    *ret_pkey = pkey;
    return 0;
  }
  EVP_PKEY_free(pkey);
  return error_set(err, ERR_FAILED_PRECONDITION,
                   "\"%s\" holds no Ed25519 private key in PEM without a passphrase; "
                   "auditstored keygen makes one",
                   path);
}

int signing_key_load(const char *path, struct signing_key **ret_key, struct secret_risk *ret_risk,
                     struct error *err) {
  EVP_PKEY *pkey = NULL;
  /* Non-blocking: opening a pipe by mistake must not stop the loop. */
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
  if (!file) {
    int rc =
        error_set(err, ERR_FAILED_PRECONDITION, "can't read \"%s\": %s", path, strerror(errno));
    if (fd >= 0)
      close(fd);
    return rc;
  }
  int rc = read_key(file, path, &pkey, err);
  if (ret_risk)
    *ret_risk = secret_file_judge(path, fd);
  fclose(file);
  if (rc < 0)
    return rc;
  *ret_key = key_new(pkey);
  return 0;
}

/* ---- use ---- */

void signing_key_public(const struct signing_key *key, uint8_t ret_key[SIGNING_PUBLIC_KEY_SIZE]) {
  memcpy(ret_key, key->public_key, SIGNING_PUBLIC_KEY_SIZE);
}

bool signing_key_print_public(const struct signing_key *key, FILE *out) {
  return PEM_write_PUBKEY(out, key->pkey) == 1;
}

void signing_key_sign(const struct signing_key *key, struct str text,
                      uint8_t ret_signature[SIGNATURE_SIZE]) {
  size_t len = SIGNATURE_SIZE;
  EVP_MD_CTX_reset(key->context);
  /* A key of our own in memory can't fail to sign. */
  if (EVP_DigestSignInit(key->context, NULL, NULL, NULL, key->pkey) != 1 ||
      EVP_DigestSign(key->context, ret_signature, &len, (const unsigned char *)text.data,
                     text.len) != 1)
    abort();
  assert(len == SIGNATURE_SIZE);
}

bool signing_key_verify(const struct signing_key *key, struct str text, struct str signature) {
  EVP_MD_CTX_reset(key->context);
  return EVP_DigestVerifyInit(key->context, NULL, NULL, NULL, key->pkey) == 1 &&
         EVP_DigestVerify(key->context, (const unsigned char *)signature.data, signature.len,
                          (const unsigned char *)text.data, text.len) == 1;
}
