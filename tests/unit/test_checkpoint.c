/*
 * Checkpoints and the key that signs them: their text, and that only what was signed holds.
 */
#include <assert.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "ledger/checkpoint.h"

struct world {
  char dir[32];
  char path[64];
  struct signing_key *key;
  struct checkpoint_signer signer; /* with the key */
  struct checkpoint_signer unkeyed;
  struct checkpoint checkpoint;
  struct buf note;
};

static int set_up(void **state) {
  static const char dir[] = "/tmp/test_checkpoint.XXXXXX";
  struct world *w = calloc(1, sizeof(*w));
  assert_non_null(w);
  memcpy(w->dir, dir, sizeof(dir));
  assert_non_null(mkdtemp(w->dir));
  snprintf(w->path, sizeof(w->path), "%s/key.pem", w->dir);
  struct error err = {0};
  assert_int_equal(signing_key_generate(w->path, &w->key, &err), 0);
  w->checkpoint = (struct checkpoint){.ledger_id = 7, .size = 1234567};
  w->unkeyed = (struct checkpoint_signer){.origin = "audit.example"};
  w->signer = (struct checkpoint_signer){.origin = "audit.example", .key = w->key};
  for (int i = 0; i < MERKLE_HASH_SIZE; i++)
    w->checkpoint.root.bytes[i] = (uint8_t)(7 * i);
  buf_init(&w->note, CHECKPOINT_MAX_BYTES);
  checkpoint_sign(&w->checkpoint, &w->signer, &w->note);
  *state = w;
  return 0;
}

static int tear_down(void **state) {
  struct world *w = *state;
  unlink(w->path);
  rmdir(w->dir);
  signing_key_free(w->key);
  buf_deinit(&w->note);
  free(w);
  return 0;
}

static struct str note_of(const struct world *w) {
  return str_of(buf_bytes(&w->note), buf_len(&w->note));
}

/* ---- the text ---- */

static void a_checkpoint_is_a_signed_note(void **state) {
  struct world *w = *state;
  static const char body[] =
      "audit.example/7\n1234567\n"
      "AAcOFRwjKjE4P0ZNVFtiaXB3foWMk5qhqK+2vcTL0tk=\n";
  char text[CHECKPOINT_MAX_BYTES + 1] = {0};
  unsigned char decoded[96];
  memcpy(text, buf_bytes(&w->note), buf_len(&w->note));
  assert_memory_equal(text, body, strlen(body));
  char *signature = text + strlen(body);
  static const char mark[] = "\n\xe2\x80\x94 audit.example/7 ";
  assert_memory_equal(signature, mark, strlen(mark));
  signature += strlen(mark);
  assert_int_equal(strlen(signature), 93);
  assert_int_equal(signature[92], '\n');
  assert_int_equal(EVP_DecodeBlock(decoded, (unsigned char *)signature, 92), 69);

  /* The key's id, as C2SP's signed-note defines it. */
  unsigned char input[16 + 1 + 32] = "audit.example/7\n\x01";
  unsigned char digest[32];
  signing_key_public(w->key, input + 17);
  assert_int_equal(EVP_Digest(input, sizeof(input), digest, NULL, EVP_sha256(), NULL), 1);
  assert_memory_equal(decoded, digest, 4);

  /* The signature, by OpenSSL with the public key alone. */
  EVP_PKEY *public = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, input + 17, 32);
  EVP_MD_CTX *context = EVP_MD_CTX_new();
  assert_int_equal(EVP_DigestVerifyInit(context, NULL, NULL, NULL, public), 1);
  assert_int_equal(
      EVP_DigestVerify(context, decoded + 4, 64, (const unsigned char *)body, strlen(body)), 1);
  EVP_MD_CTX_free(context);
  EVP_PKEY_free(public);
}

static bool matches(const struct checkpoint *checkpoint, const struct checkpoint_signer *signer,
                    struct str note) {
  return note.len > 0 && checkpoint_judge(checkpoint, signer, note) != CHECKPOINT_BAD;
}

static void a_checkpoint_matches_what_it_says(void **state) {
  struct world *w = *state;
  assert_true(matches(&w->checkpoint, &w->signer, note_of(w)));
  assert_true(matches(&w->checkpoint, &w->unkeyed, note_of(w)));
  struct checkpoint other = w->checkpoint;
  other.size++;
  assert_false(matches(&other, &w->unkeyed, note_of(w)));
  other = w->checkpoint;
  other.root.bytes[31] ^= 1;
  assert_false(matches(&other, &w->unkeyed, note_of(w)));
  other = w->checkpoint;
  other.ledger_id = 8;
  assert_false(matches(&other, &w->unkeyed, note_of(w)));
}

/* Any character of the signature (the last one has bits that mean nothing), and any of the text. */
static void a_changed_note_does_not_hold(void **state) {
  struct world *w = *state;
  struct str note = note_of(w);
  assert(note.data);
  char changed[CHECKPOINT_MAX_BYTES];
  size_t id = note.len - 93 + 6; /* behind the key's id, whose change makes it another's */
  for (size_t i = 0; i < note.len - 3; i++) {
    memcpy(changed, note.data, note.len);
    changed[i] = changed[i] == 'B' ? 'C' : 'B';
    bool is_judged = i < note.len - 93 - 20 || i >= id;
    if (is_judged)
      assert_false(matches(&w->checkpoint, &w->signer, str_of(changed, note.len)));
  }
  for (size_t len = 0; len < note.len - 93 - 20; len++)
    assert_false(matches(&w->checkpoint, &w->signer, str_of(note.data, len)));
}

static void signatures_of_others_are_not_judged(void **state) {
  struct world *w = *state;
  struct signing_key *other = NULL;
  struct error err = {0};
  unlink(w->path);
  assert_int_equal(signing_key_generate(w->path, &other, &err), 0);
  const struct checkpoint_signer others = {.origin = "audit.example", .key = other};
  assert_true(matches(&w->checkpoint, &others, note_of(w)));
  signing_key_free(other);
}

static void a_long_origin_and_the_largest_numbers_fit(void **state) {
  struct world *w = *state;
  char origin[CHECKPOINT_ORIGIN_MAX + 1] = {0};
  memset(origin, 'o', CHECKPOINT_ORIGIN_MAX);
  const struct checkpoint largest = {.ledger_id = INT64_MAX, .size = INT64_MAX};
  const struct checkpoint_signer signer = {.origin = origin, .key = w->key};
  buf_clear(&w->note);
  checkpoint_sign(&largest, &signer, &w->note);
  assert_true(matches(&largest, &signer, note_of(w)));
  assert_false(matches(&largest, &w->signer, note_of(w)));
}

/* ---- the key's file ---- */

static void a_key_is_read_back(void **state) {
  struct world *w = *state;
  struct signing_key *read = NULL;
  struct stat status;
  struct secret_risk risk;
  struct error err = {0};
  assert_int_equal(stat(w->path, &status), 0);
  assert_int_equal(status.st_mode & 0777, 0600);
  assert_int_equal(signing_key_load(w->path, &read, &risk, &err), 0);
  assert_int_equal(risk.level, SECRET_RISK_NONE);
  uint8_t a[SIGNING_PUBLIC_KEY_SIZE];
  uint8_t b[SIGNING_PUBLIC_KEY_SIZE];
  signing_key_public(w->key, a);
  signing_key_public(read, b);
  assert_memory_equal(a, b, sizeof(a));
  const struct checkpoint_signer signer = {.origin = "audit.example", .key = read};
  assert_int_equal(checkpoint_judge(&w->checkpoint, &signer, note_of(w)), CHECKPOINT_GOOD);
  signing_key_free(read);
  assert_int_equal(chmod(w->path, 0644), 0);
  assert_int_equal(signing_key_load(w->path, &read, &risk, &err), 0);
  assert_int_equal(risk.level, SECRET_RISK_EXPOSED);
  signing_key_free(read);
}

static void a_key_is_never_written_over(void **state) {
  struct world *w = *state;
  struct signing_key *key = NULL;
  struct error err = {0};
  assert_int_equal(signing_key_generate(w->path, &key, &err), ERR_ALREADY_EXISTS);
  assert_non_null(strstr(err.text, w->path));
  assert_null(key);
}

static void write_file(const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

static void what_is_no_key_is_refused(void **state) {
  struct world *w = *state;
  struct signing_key *key = NULL;
  struct error err = {0};
  write_file(w->path, "no key");
  assert_int_equal(signing_key_load(w->path, &key, NULL, &err), ERR_FAILED_PRECONDITION);
  assert_non_null(strstr(err.text, "auditstored keygen"));
  EVP_PKEY *wrong = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
  FILE *file = fopen(w->path, "w");
  assert_int_equal(PEM_write_PrivateKey(file, wrong, NULL, NULL, 0, NULL, NULL), 1);
  fclose(file);
  EVP_PKEY_free(wrong);
  assert_int_equal(signing_key_load(w->path, &key, NULL, &err), ERR_FAILED_PRECONDITION);
  unlink(w->path);
  assert_int_equal(signing_key_load(w->path, &key, NULL, &err), ERR_FAILED_PRECONDITION);
  assert_non_null(strstr(err.text, "No such file"));
  assert_null(key);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_checkpoint_is_a_signed_note, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_checkpoint_matches_what_it_says, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_changed_note_does_not_hold, set_up, tear_down),
      cmocka_unit_test_setup_teardown(signatures_of_others_are_not_judged, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_long_origin_and_the_largest_numbers_fit, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_key_is_read_back, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_key_is_never_written_over, set_up, tear_down),
      cmocka_unit_test_setup_teardown(what_is_no_key_is_refused, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
