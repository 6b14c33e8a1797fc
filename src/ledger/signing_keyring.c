#include "ledger/signing_keyring.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/passphrase.h"

#define BEGIN_MARK "-----BEGIN "
#define END_MARK   "-----END "
/* Longer than any line of a public key. */
#define LINE_SIZE      1024
#define BLOCK_MAX_SIZE 4096

struct signing_keyring {
  int count;
  struct signing_key *keys[SIGNING_KEYRING_MAX]; /* owned */
};

void signing_keyring_free(struct signing_keyring *ring) {
  if (!ring)
    return;
  for (int i = 0; i < ring->count; i++)
    signing_key_free(ring->keys[i]);
  free(ring);
}

int signing_keyring_count(const struct signing_keyring *ring) {
  return ring ? ring->count : 0;
}

const struct signing_key *signing_keyring_key(const struct signing_keyring *ring, int index) {
  assert(index >= 0 && index < ring->count);
  return ring->keys[index];
}

/* ---- reading ---- */

/* One file being read. */
struct reading {
  const char *path;
  FILE *in;
  int line;  /* the last one that was read */
  int block; /* counted from 1 */
  char text[LINE_SIZE];
};

/* NULL: the block is no public key of that kind. */
static struct signing_key *key_of_block(const char *block, size_t len) {
  uint8_t bytes[SIGNING_PUBLIC_KEY_SIZE];
  size_t size = sizeof(bytes);
  BIO *bio = BIO_new_mem_buf(block, (int)len);
  EVP_PKEY *pkey = bio ? PEM_read_bio_PUBKEY(bio, NULL, no_passphrase, NULL) : NULL;
  bool ok = pkey && EVP_PKEY_is_a(pkey, "ED25519") &&
            EVP_PKEY_get_raw_public_key(pkey, bytes, &size) == 1;
  EVP_PKEY_free(pkey);
  BIO_free(bio);
  return ok ? signing_key_of_public(bytes) : NULL;
}

static bool begins_with(const char *text, const char *mark) {
  return strncmp(text, mark, strlen(mark)) == 0;
}

static bool next_line(struct reading *r) {
  if (!fgets(r->text, sizeof(r->text), r->in))
    return false;
  r->line++;
  return true;
}

/* From the line that was read last to the one that ends the block. False: it doesn't end. */
static bool gather_block(struct reading *r, char ret_block[BLOCK_MAX_SIZE], size_t *ret_len) {
  size_t len = 0;
  do {
    size_t more = strlen(r->text);
    if (len + more > BLOCK_MAX_SIZE)
      return false;
    memcpy(ret_block + len, r->text, more);
    len += more;
    *ret_len = len;
    if (begins_with(r->text, END_MARK))
      return true;
  } while (next_line(r));
  return false;
}

static int add_block(struct reading *r, struct signing_keyring *ring, struct error *err) {
  char block[BLOCK_MAX_SIZE];
  size_t len = 0;
  int line = r->line;
  r->block++;
  if (ring->count == SIGNING_KEYRING_MAX)
    return error_set(err, ERR_FAILED_PRECONDITION,
                     "\"%s\" holds more than %d keys: take out those whose checkpoints no longer "
                     "matter",
                     r->path, SIGNING_KEYRING_MAX);
  bool is_public = begins_with(r->text, BEGIN_MARK "PUBLIC KEY-----");
  struct signing_key *key =
      gather_block(r, block, &len) && is_public ? key_of_block(block, len) : NULL;
  if (!key)
    return error_set(err, ERR_FAILED_PRECONDITION,
                     "\"%s\": block %d, at line %d, is no public Ed25519 key in PEM; auditstored "
                     "keygen prints them",
                     r->path, r->block, line);
  ring->keys[ring->count++] = key;
  return 0;
}

static bool is_comment(const char *line) {
  return line[0] == '#' || line[strspn(line, " \t\r\n")] == '\0';
}

static int read_blocks(struct reading *r, struct signing_keyring *ring, struct error *err) {
  int rc = 0;
  while (rc == 0 && next_line(r)) {
    if (begins_with(r->text, BEGIN_MARK))
      rc = add_block(r, ring, err);
    else if (!is_comment(r->text))
      rc = error_set(err, ERR_FAILED_PRECONDITION,
                     "\"%s\": line %d, behind block %d, is neither a key in PEM nor a comment (#)",
                     r->path, r->line, r->block);
  }
  if (rc == 0 && ferror(r->in))
    rc = error_set(err, ERR_FAILED_PRECONDITION, "can't read \"%s\": %s", r->path, strerror(errno));
  if (rc == 0 && ring->count == 0)
    rc = error_set(err, ERR_FAILED_PRECONDITION,
                   "\"%s\" holds no public key; auditstored keygen prints them", r->path);
  return rc;
}

int signing_keyring_load(const char *path, struct signing_keyring **ret_ring, struct error *err) {
  /* Non-blocking: opening a pipe by mistake must not stop the loop. */
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  FILE *in = fd < 0 ? NULL : fdopen(fd, "r");
  if (!in) {
    int rc =
        error_set(err, ERR_FAILED_PRECONDITION, "can't read \"%s\": %s", path, strerror(errno));
    if (fd >= 0)
      close(fd);
    return rc;
  }
  struct signing_keyring *ring = xcalloc(1, sizeof(*ring));
  struct reading reading = {.path = path, .in = in};
  int rc = read_blocks(&reading, ring, err);
  fclose(in);
  if (rc < 0)
    signing_keyring_free(ring);
  else
    *ret_ring = ring;
  return rc;
}
