#include "ledger/checkpoint.h"

#include <assert.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <string.h>

#define KEY_ID_SIZE 4
/* C2SP signed-note: the signature type of Ed25519. */
#define TYPE_ED25519 0x01
/* What stands before a signature's name: U+2014 and a space. */
#define SIGNATURE_MARK "\xe2\x80\x94 "
/* Base64 of the key's id and signature, and a NUL. */
#define SIGNATURE_TEXT_SIZE (4 * ((KEY_ID_SIZE + SIGNATURE_SIZE + 2) / 3) + 1)

static void append(struct buf *out, const void *data, size_t len) {
  bool ok = buf_append(out, data, len);
  assert(ok);
  (void)ok;
}

static void append_name(const struct checkpoint *checkpoint, const char *origin, struct buf *out) {
  bool ok = buf_append_format(out, "%s/%" PRId64, origin, checkpoint->ledger_id);
  assert(ok);
  (void)ok;
}

/* What is signed: its last line end included. */
static void append_body(const struct checkpoint *checkpoint, const char *origin, struct buf *out) {
  char root[4 * ((MERKLE_HASH_SIZE + 2) / 3) + 1];
  EVP_EncodeBlock((unsigned char *)root, checkpoint->root.bytes, MERKLE_HASH_SIZE);
  append_name(checkpoint, origin, out);
  bool ok = buf_append_format(out, "\n%" PRId64 "\n%s\n", checkpoint->size, root);
  assert(ok);
  (void)ok;
}

/* SHA-256(name || "\n" || type || public key), its first bytes. */
static void make_key_id(const struct checkpoint *checkpoint, const struct checkpoint_signer *signer,
                        uint8_t ret_id[KEY_ID_SIZE]) {
  struct buf input;
  uint8_t digest[MERKLE_HASH_SIZE];
  uint8_t tail[2 + SIGNING_PUBLIC_KEY_SIZE] = {'\n', TYPE_ED25519};
  signing_key_public(signer->key, tail + 2);
  buf_init(&input, CHECKPOINT_MAX_BYTES);
  append_name(checkpoint, signer->origin, &input);
  append(&input, tail, sizeof(tail));
  bool ok = EVP_Digest(buf_bytes(&input), buf_len(&input), digest, NULL, EVP_sha256(), NULL) == 1;
  assert(ok);
  (void)ok;
  memcpy(ret_id, digest, KEY_ID_SIZE);
  buf_deinit(&input);
}

void checkpoint_sign(const struct checkpoint *checkpoint, const struct checkpoint_signer *signer,
                     struct buf *out) {
  uint8_t signature[KEY_ID_SIZE + SIGNATURE_SIZE];
  char text[SIGNATURE_TEXT_SIZE];
  size_t start = buf_len(out);
  append_body(checkpoint, signer->origin, out);
  make_key_id(checkpoint, signer, signature);
  signing_key_sign(signer->key, str_of(buf_bytes(out) + start, buf_len(out) - start),
                   signature + KEY_ID_SIZE);
  EVP_EncodeBlock((unsigned char *)text, signature, sizeof(signature));
  append(out, "\n" SIGNATURE_MARK, 1 + strlen(SIGNATURE_MARK));
  append_name(checkpoint, signer->origin, out);
  bool ok = buf_append_format(out, " %s\n", text);
  assert(ok);
  (void)ok;
}

/* ---- verifying ---- */

/* The part of `text` before the line end; moves `text` behind it. False: there is none. */
static bool next_line(struct str *text, struct str *ret_line) {
  const char *end = text->len ? memchr(text->data, '\n', text->len) : NULL;
  if (!end)
    return false;
  *ret_line = str_of(text->data, (size_t)(end - text->data));
  *text = str_of(end + 1, text->len - ret_line->len - 1);
  return true;
}

/* "MARK NAME BASE64" of that name: the key's id and the signature. */
static bool parse_signature(struct str line, struct str name,
                            uint8_t ret_signature[KEY_ID_SIZE + SIGNATURE_SIZE]) {
  uint8_t decoded[SIGNATURE_TEXT_SIZE];
  size_t mark = strlen(SIGNATURE_MARK);
  size_t before = mark + name.len + 1;
  if (line.len != before + SIGNATURE_TEXT_SIZE - 1 ||
      memcmp(line.data, SIGNATURE_MARK, mark) != 0 ||
      memcmp(line.data + mark, name.data, name.len) != 0 || line.data[before - 1] != ' ')
    return false;
  if (EVP_DecodeBlock(decoded, (const unsigned char *)line.data + before, SIGNATURE_TEXT_SIZE - 1) <
      0)
    return false;
  memcpy(ret_signature, decoded, KEY_ID_SIZE + SIGNATURE_SIZE);
  return true;
}

/* No line of `signatures` is one of the key over `body` that is wrong. */
static bool signatures_hold(const struct checkpoint *checkpoint,
                            const struct checkpoint_signer *signer, struct str body,
                            struct str signatures) {
  uint8_t id[KEY_ID_SIZE];
  uint8_t signature[KEY_ID_SIZE + SIGNATURE_SIZE];
  struct str line;
  struct str name = str_of(body.data, 0);
  make_key_id(checkpoint, signer, id);
  name.len = (size_t)((const char *)memchr(body.data, '\n', body.len) - body.data);
  while (next_line(&signatures, &line)) {
    if (parse_signature(line, name, signature) && memcmp(signature, id, KEY_ID_SIZE) == 0 &&
        !signing_key_verify(signer->key, body, str_of(signature + KEY_ID_SIZE, SIGNATURE_SIZE)))
      return false;
  }
  return true;
}

bool checkpoint_matches(const struct checkpoint *checkpoint, const struct checkpoint_signer *signer,
                        struct str note) {
  struct buf expected;
  buf_init(&expected, CHECKPOINT_MAX_BYTES);
  append_body(checkpoint, signer->origin, &expected);
  struct str body = str_of(buf_bytes(&expected), buf_len(&expected));
  assert(body.data);
  bool matches = note.data && note.len > body.len && memcmp(note.data, body.data, body.len) == 0 &&
                 note.data[body.len] == '\n';
  if (matches && signer->key)
    matches = signatures_hold(checkpoint, signer, body,
                              str_of(note.data + body.len + 1, note.len - body.len - 1));
  buf_deinit(&expected);
  return matches;
}
