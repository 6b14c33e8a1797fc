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
  char root[MERKLE_TEXT_SIZE];
  merkle_hash_print(&checkpoint->root, root);
  append_name(checkpoint, origin, out);
  bool ok = buf_append_format(out, "\n%" PRId64 "\n%s\n", checkpoint->size, root);
  assert(ok);
  (void)ok;
}

/* SHA-256(name || "\n" || type || public key), its first bytes. */
static void make_key_id(struct str name, const struct signing_key *key,
                        uint8_t ret_id[KEY_ID_SIZE]) {
  struct buf input;
  uint8_t digest[MERKLE_HASH_SIZE];
  uint8_t tail[2 + SIGNING_PUBLIC_KEY_SIZE] = {'\n', TYPE_ED25519};
  signing_key_public(key, tail + 2);
  buf_init(&input, CHECKPOINT_MAX_BYTES);
  append(&input, name.data, name.len);
  append(&input, tail, sizeof(tail));
  bool ok = EVP_Digest(buf_bytes(&input), buf_len(&input), digest, NULL, EVP_sha256(), NULL) == 1;
  assert(ok);
  (void)ok;
  memcpy(ret_id, digest, KEY_ID_SIZE);
  buf_deinit(&input);
}

/* The first line of a body. */
static struct str name_of(struct str body) {
  assert(body.data);
  return str_cut(&body, '\n');
}

void checkpoint_sign(const struct checkpoint *checkpoint, const struct checkpoint_signer *signer,
                     struct buf *out) {
  uint8_t signature[KEY_ID_SIZE + SIGNATURE_SIZE];
  char text[SIGNATURE_TEXT_SIZE];
  size_t start = buf_len(out);
  append_body(checkpoint, signer->origin, out);
  struct str body = str_of(buf_bytes(out) + start, buf_len(out) - start);
  make_key_id(name_of(body), signer->key, signature);
  signing_key_sign(signer->key, body, signature + KEY_ID_SIZE);
  EVP_EncodeBlock((unsigned char *)text, signature, sizeof(signature));
  append(out, "\n" SIGNATURE_MARK, 1 + strlen(SIGNATURE_MARK));
  append_name(checkpoint, signer->origin, out);
  bool ok = buf_append_format(out, " %s\n", text);
  assert(ok);
  (void)ok;
}

/* ---- judging ---- */

/* C2SP: what a verifier may refuse as too long. */
#define SIGNATURES_MAX 16

/* "MARK NAME BASE64", whoever's. */
struct signature_line {
  struct str name;
  struct str text;
};

static bool parse_line(struct str line, struct signature_line *ret_line) {
  size_t mark = strlen(SIGNATURE_MARK);
  if (line.len <= mark || memcmp(line.data, SIGNATURE_MARK, mark) != 0)
    return false;
  struct str rest = str_of(line.data + mark, line.len - mark);
  *ret_line = (struct signature_line){.name = str_cut(&rest, ' ')};
  ret_line->text = rest;
  return ret_line->name.len > 0 && rest.len > 0 && !memchr(rest.data, ' ', rest.len);
}

/* The key's id and the signature, if that is what the text is. */
static bool decode(struct str text, uint8_t ret_signature[KEY_ID_SIZE + SIGNATURE_SIZE]) {
  uint8_t decoded[SIGNATURE_TEXT_SIZE] = {0};
  if (text.len != SIGNATURE_TEXT_SIZE - 1 ||
      EVP_DecodeBlock(decoded, (const unsigned char *)text.data, (int)text.len) < 0)
    return false;
  memcpy(ret_signature, decoded, KEY_ID_SIZE + SIGNATURE_SIZE);
  return true;
}

/* Every key that is known: the signer's own, then the trusted ones. NULL behind the last. */
static const struct signing_key *known_key(const struct checkpoint_signer *signer, int index) {
  if (signer->key && index-- == 0)
    return signer->key;
  return index < signing_keyring_count(signer->trusted)
             ? signing_keyring_key(signer->trusted, index)
             : NULL;
}

/* Of one signature under the body's name. An id is four bytes: several keys may have it, and then
 * any of them will do. */
static enum checkpoint_trust judge_signature(const struct checkpoint_signer *signer,
                                             struct str body, const uint8_t *signature) {
  enum checkpoint_trust trust = CHECKPOINT_UNKNOWN_KEY;
  uint8_t id[KEY_ID_SIZE];
  const struct signing_key *key;
  for (int i = 0; trust != CHECKPOINT_GOOD && (key = known_key(signer, i)); i++) {
    make_key_id(name_of(body), key, id);
    if (memcmp(signature, id, KEY_ID_SIZE) != 0)
      continue;
    bool holds = signing_key_verify(key, body, str_of(signature + KEY_ID_SIZE, SIGNATURE_SIZE));
    trust = holds ? CHECKPOINT_GOOD : CHECKPOINT_BAD;
  }
  return trust;
}

/* Another name's signature may have any form: a witness's, of a type yet to come. */
static enum checkpoint_trust judge_line(const struct checkpoint_signer *signer, struct str body,
                                        struct str text) {
  uint8_t signature[KEY_ID_SIZE + SIGNATURE_SIZE];
  struct signature_line line;
  if (!parse_line(text, &line))
    return CHECKPOINT_BAD;
  if (!str_equal(line.name, name_of(body)) || !decode(line.text, signature))
    return CHECKPOINT_UNKNOWN_KEY;
  return judge_signature(signer, body, signature);
}

static enum checkpoint_trust judge_lines(const struct checkpoint_signer *signer, struct str body,
                                         struct str lines) {
  enum checkpoint_trust trust = CHECKPOINT_UNSIGNED;
  struct str line;
  for (int count = 0; str_cut_line(&lines, &line); count++) {
    enum checkpoint_trust found = judge_line(signer, body, line);
    if (found == CHECKPOINT_BAD || count == SIGNATURES_MAX)
      return CHECKPOINT_BAD;
    if (trust != CHECKPOINT_GOOD)
      trust = found;
  }
  return lines.len == 0 ? trust : CHECKPOINT_BAD;
}

enum checkpoint_trust checkpoint_judge(const struct checkpoint *checkpoint,
                                       const struct checkpoint_signer *signer, struct str note) {
  enum checkpoint_trust trust = CHECKPOINT_BAD;
  struct buf expected;
  if (note.len == 0)
    return CHECKPOINT_UNSIGNED;
  buf_init(&expected, CHECKPOINT_MAX_BYTES);
  append_body(checkpoint, signer->origin, &expected);
  struct str body = str_of(buf_bytes(&expected), buf_len(&expected));
  assert(body.data);
  if (note.len > body.len && memcmp(note.data, body.data, body.len) == 0 &&
      note.data[body.len] == '\n')
    trust = judge_lines(signer, body, str_of(note.data + body.len + 1, note.len - body.len - 1));
  buf_deinit(&expected);
  return trust;
}
