/*
 * Whose signatures are believed: the judgement of notes, and the keyring of trusted keys.
 */
#include <assert.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "ledger/checkpoint.h"

#define ORIGIN "audit.example"
#define MARK   "\xe2\x80\x94 "

enum { OWN, OLD, STRANGER, KEYS };

struct world {
  char dir[40];
  char path[64];
  struct signing_key *keys[KEYS];
  struct checkpoint checkpoint;
  struct signing_keyring *ring;    /* with the old key */
  struct checkpoint_signer signer; /* with its own key and the ring */
  struct buf note;
  struct error err;
};

static FILE *open_ring(const struct world *w) {
  FILE *out = fopen(w->path, "w");
  assert_non_null(out);
  return out;
}

static int set_up(void **state) {
  struct world *w = xcalloc(1, sizeof(*w));
  *state = w;
  snprintf(w->dir, sizeof(w->dir), "/tmp/test_checkpoint_trust.XXXXXX");
  assert_non_null(mkdtemp(w->dir));
  snprintf(w->path, sizeof(w->path), "%s/keys", w->dir);
  for (int i = 0; i < KEYS; i++) {
    assert_int_equal(signing_key_generate(w->path, &w->keys[i], &w->err), 0);
    unlink(w->path);
  }
  FILE *out = open_ring(w);
  assert_true(signing_key_print_public(w->keys[OLD], out));
  fclose(out);
  assert_int_equal(signing_keyring_load(w->path, &w->ring, &w->err), 0);
  w->checkpoint = (struct checkpoint){.ledger_id = 7, .size = 1234567};
  w->signer = (struct checkpoint_signer){.origin = ORIGIN, .key = w->keys[OWN], .trusted = w->ring};
  buf_init(&w->note, (size_t)64 * 1024);
  return 0;
}

static int tear_down(void **state) {
  struct world *w = *state;
  unlink(w->path);
  assert_int_equal(rmdir(w->dir), 0);
  for (int i = 0; i < KEYS; i++)
    signing_key_free(w->keys[i]);
  signing_keyring_free(w->ring);
  buf_deinit(&w->note);
  free(w);
  return 0;
}

static void sign_as(struct world *w, int key) {
  const struct checkpoint_signer signer = {.origin = ORIGIN, .key = w->keys[key]};
  buf_clear(&w->note);
  checkpoint_sign(&w->checkpoint, &signer, &w->note);
}

/* The text and the empty line behind it, without a signature. */
static void cut_signatures(struct world *w) {
  struct str note = str_of(buf_bytes(&w->note), buf_len(&w->note));
  assert(note.data);
  const char *end = memmem(note.data, note.len, "\n\n", 2);
  assert_non_null(end);
  struct buf cut;
  buf_init(&cut, (size_t)64 * 1024);
  buf_append(&cut, note.data, (size_t)(end + 2 - note.data));
  buf_deinit(&w->note);
  w->note = cut;
}

/* Another key's signature line behind those that there are. */
static void add_signature_of(struct world *w, int key) {
  struct buf other;
  const struct checkpoint_signer signer = {.origin = ORIGIN, .key = w->keys[key]};
  buf_init(&other, CHECKPOINT_MAX_BYTES);
  checkpoint_sign(&w->checkpoint, &signer, &other);
  struct str text = str_of(buf_bytes(&other), buf_len(&other));
  assert(text.data);
  const char *end = memmem(text.data, text.len, "\n\n", 2);
  assert_non_null(end);
  buf_append(&w->note, end + 2, text.len - (size_t)(end + 2 - text.data));
  buf_deinit(&other);
}

/* The last character of the last signature's first half becomes another one. */
static void spoil_last_signature(struct world *w) {
  char *at = (char *)w->note.data + w->note.end - 40;
  *at = *at == 'B' ? 'C' : 'B';
}

static enum checkpoint_trust judge(const struct world *w) {
  return checkpoint_judge(&w->checkpoint, &w->signer,
                          str_of(buf_bytes(&w->note), buf_len(&w->note)));
}

/* ---- judging ---- */

static void signatures_under_its_own_and_trusted_keys_are_good(void **state) {
  struct world *w = *state;
  sign_as(w, OWN);
  assert_int_equal(judge(w), CHECKPOINT_GOOD);
  sign_as(w, OLD);
  assert_int_equal(judge(w), CHECKPOINT_GOOD);
  w->signer.key = NULL;
  assert_int_equal(judge(w), CHECKPOINT_GOOD);
}

static void nobody_vouches_under_a_key_that_is_not_known(void **state) {
  struct world *w = *state;
  sign_as(w, STRANGER);
  assert_int_equal(judge(w), CHECKPOINT_UNKNOWN_KEY);
  sign_as(w, OLD);
  w->signer.trusted = NULL;
  assert_int_equal(judge(w), CHECKPOINT_UNKNOWN_KEY);
  w->signer.key = NULL;
  assert_int_equal(judge(w), CHECKPOINT_UNKNOWN_KEY);
}

static void no_signature_is_told_from_an_unknown_one(void **state) {
  struct world *w = *state;
  assert_int_equal(judge(w), CHECKPOINT_UNSIGNED);
  sign_as(w, OWN);
  cut_signatures(w);
  assert_int_equal(judge(w), CHECKPOINT_UNSIGNED);
}

static void one_good_signature_among_strangers_is_enough(void **state) {
  struct world *w = *state;
  sign_as(w, STRANGER);
  add_signature_of(w, OLD);
  assert_int_equal(judge(w), CHECKPOINT_GOOD);
  sign_as(w, OLD);
  add_signature_of(w, STRANGER);
  assert_int_equal(judge(w), CHECKPOINT_GOOD);
}

static void a_wrong_signature_under_a_known_key_spoils_the_note(void **state) {
  struct world *w = *state;
  sign_as(w, OWN);
  spoil_last_signature(w);
  assert_int_equal(judge(w), CHECKPOINT_BAD);
  sign_as(w, OLD);
  spoil_last_signature(w);
  assert_int_equal(judge(w), CHECKPOINT_BAD);
  sign_as(w, OWN);
  add_signature_of(w, OLD);
  spoil_last_signature(w);
  assert_int_equal(judge(w), CHECKPOINT_BAD);
}

static void another_text_is_bad_whoever_signed_it(void **state) {
  struct world *w = *state;
  sign_as(w, OWN);
  w->checkpoint.size--;
  assert_int_equal(judge(w), CHECKPOINT_BAD);
  sign_as(w, OWN);
  w->checkpoint.root.bytes[0] ^= 1;
  assert_int_equal(judge(w), CHECKPOINT_BAD);
  sign_as(w, OWN);
  w->checkpoint.ledger_id = 8;
  assert_int_equal(judge(w), CHECKPOINT_BAD);
  sign_as(w, OWN);
  w->signer.origin = "audit.example.com";
  assert_int_equal(judge(w), CHECKPOINT_BAD);
}

/* A daemon's signature of one ledger says nothing of another one. */
static void a_signature_from_another_ledger_is_not_good(void **state) {
  struct world *w = *state;
  struct buf other;
  buf_init(&other, CHECKPOINT_MAX_BYTES);
  w->checkpoint.ledger_id = 8;
  checkpoint_sign(&w->checkpoint, &w->signer, &other);
  w->checkpoint.ledger_id = 7;
  sign_as(w, OWN);
  cut_signatures(w);
  struct str text = str_of(buf_bytes(&other), buf_len(&other));
  assert(text.data);
  const char *end = memmem(text.data, text.len, "\n\n", 2);
  assert_non_null(end);
  buf_append(&w->note, end + 2, text.len - (size_t)(end + 2 - text.data));
  assert_int_equal(judge(w), CHECKPOINT_UNKNOWN_KEY);
  buf_deinit(&other);
}

/* The name is part of who signed: the same bytes under another one are another's. */
static void a_signature_under_another_name_is_not_good(void **state) {
  struct world *w = *state;
  sign_as(w, OWN);
  char *name = memmem(w->note.data, w->note.end, MARK ORIGIN "/7", strlen(MARK ORIGIN "/7"));
  assert_non_null(name);
  name[strlen(MARK ORIGIN "/7") - 1] = '8';
  assert_int_equal(judge(w), CHECKPOINT_UNKNOWN_KEY);
}

static void what_is_no_note_is_bad(void **state) {
  struct world *w = *state;
  static const char *const lines[] = {
      "no mark\n",
      MARK "\n",
      MARK ORIGIN "/7\n",
      MARK ORIGIN "/7 \n",
      MARK ORIGIN "/7 AA AA\n",
      MARK " AAAA\n",
      "\n",
      MARK ORIGIN "/7 AAAA",
      MARK ORIGIN,
  };
  for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
    sign_as(w, OWN);
    buf_append_str(&w->note, lines[i]);
    if (judge(w) != CHECKPOINT_BAD)
      fail_msg("\"%s\" passed", lines[i]);
  }
}

static void a_note_cut_anywhere_is_never_good(void **state) {
  struct world *w = *state;
  sign_as(w, OWN);
  struct str note = str_of(buf_bytes(&w->note), buf_len(&w->note));
  for (size_t len = 0; len < note.len; len++)
    assert_int_not_equal(checkpoint_judge(&w->checkpoint, &w->signer, str_of(note.data, len)),
                         CHECKPOINT_GOOD);
}

static void other_kinds_of_signatures_beside_are_let_be(void **state) {
  struct world *w = *state;
  sign_as(w, OWN);
  buf_append_str(&w->note, MARK "witness.example/w1 AAAAAAAAAAAA\n");
  buf_append_str(&w->note, MARK ORIGIN "/7 AAAAAAAA\n");
  assert_int_equal(judge(w), CHECKPOINT_GOOD);
}

static void more_signatures_than_a_note_has_are_bad(void **state) {
  struct world *w = *state;
  sign_as(w, OWN);
  for (int i = 0; i < 15; i++)
    add_signature_of(w, STRANGER);
  assert_int_equal(judge(w), CHECKPOINT_GOOD);
  add_signature_of(w, STRANGER);
  assert_int_equal(judge(w), CHECKPOINT_BAD);
}

/* ---- the keyring ---- */

static void a_ring_holds_every_block_in_its_order(void **state) {
  struct world *w = *state;
  struct signing_keyring *ring = NULL;
  FILE *out = open_ring(w);
  fputs("# until 2026-03\n\n", out);
  for (int i = 0; i < KEYS; i++)
    signing_key_print_public(w->keys[i], out);
  fputs("   \r\n# the end", out);
  fclose(out);
  assert_int_equal(signing_keyring_load(w->path, &ring, &w->err), 0);
  assert_int_equal(signing_keyring_count(ring), KEYS);
  for (int i = 0; i < KEYS; i++) {
    uint8_t expected[SIGNING_PUBLIC_KEY_SIZE];
    uint8_t found[SIGNING_PUBLIC_KEY_SIZE];
    signing_key_public(w->keys[i], expected);
    signing_key_public(signing_keyring_key(ring, i), found);
    assert_memory_equal(expected, found, sizeof(found));
  }
  signing_keyring_free(ring);
  assert_int_equal(signing_keyring_count(NULL), 0);
}

static void refuses_ring(struct world *w, const char *words) {
  struct signing_keyring *ring = NULL;
  assert_int_equal(signing_keyring_load(w->path, &ring, &w->err), ERR_FAILED_PRECONDITION);
  assert_null(ring);
  if (!strstr(w->err.text, words) || !strstr(w->err.text, w->path))
    fail_msg("\"%s\" doesn't say \"%s\" and the file", w->err.text, words);
}

/* A good key, then `text`. */
static FILE *begin_bad_ring(const struct world *w) {
  FILE *out = open_ring(w);
  signing_key_print_public(w->keys[OLD], out);
  return out;
}

static void put_bad_ring(const struct world *w, const char *text) {
  FILE *out = begin_bad_ring(w);
  fputs(text, out);
  fclose(out);
}

static void a_block_that_is_no_public_key_is_named(void **state) {
  struct world *w = *state;
  put_bad_ring(w, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n");
  refuses_ring(w, "block 2, at line 4,");
  put_bad_ring(w, "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA");
  refuses_ring(w, "block 2");
  put_bad_ring(w, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
  refuses_ring(w, "block 2");
  EVP_PKEY *other = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
  FILE *out = begin_bad_ring(w);
  assert_int_equal(PEM_write_PUBKEY(out, other), 1);
  fclose(out);
  EVP_PKEY_free(other);
  refuses_ring(w, "block 2");
}

/* Whoever puts the private key there has handed it out. */
static void a_private_key_is_refused(void **state) {
  struct world *w = *state;
  EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
  FILE *out = begin_bad_ring(w);
  assert_int_equal(PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL), 1);
  fclose(out);
  EVP_PKEY_free(key);
  refuses_ring(w, "block 2");
}

/* A mark with a letter missing would leave out a key, and nobody would hear of it. */
static void what_is_neither_key_nor_comment_is_refused(void **state) {
  struct world *w = *state;
  put_bad_ring(w, "----BEGIN PUBLIC KEY-----\n");
  refuses_ring(w, "line 4, behind block 1,");
  put_bad_ring(w, "\xef\xbb\xbf# comment\n");
  refuses_ring(w, "line 4");
}

static void a_ring_without_a_key_is_refused(void **state) {
  struct world *w = *state;
  fclose(open_ring(w));
  refuses_ring(w, "holds no public key");
  unlink(w->path);
  refuses_ring(w, "No such file");
  assert_int_equal(mkfifo(w->path, 0600), 0);
  refuses_ring(w, "holds no public key");
  unlink(w->path);
  assert_int_equal(mkdir(w->path, 0700), 0);
  refuses_ring(w, "Is a directory");
  rmdir(w->path);
}

static void more_keys_than_a_ring_takes_are_refused(void **state) {
  struct world *w = *state;
  FILE *out = open_ring(w);
  for (int i = 0; i <= SIGNING_KEYRING_MAX; i++)
    signing_key_print_public(w->keys[OLD], out);
  fclose(out);
  refuses_ring(w, "more than 256 keys");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(signatures_under_its_own_and_trusted_keys_are_good),
      TEST(nobody_vouches_under_a_key_that_is_not_known),
      TEST(no_signature_is_told_from_an_unknown_one),
      TEST(one_good_signature_among_strangers_is_enough),
      TEST(a_wrong_signature_under_a_known_key_spoils_the_note),
      TEST(another_text_is_bad_whoever_signed_it),
      TEST(a_signature_from_another_ledger_is_not_good),
      TEST(a_signature_under_another_name_is_not_good),
      TEST(what_is_no_note_is_bad),
      TEST(a_note_cut_anywhere_is_never_good),
      TEST(other_kinds_of_signatures_beside_are_let_be),
      TEST(more_signatures_than_a_note_has_are_bad),
      TEST(a_ring_holds_every_block_in_its_order),
      TEST(a_block_that_is_no_public_key_is_named),
      TEST(a_private_key_is_refused),
      TEST(what_is_neither_key_nor_comment_is_refused),
      TEST(a_ring_without_a_key_is_refused),
      TEST(more_keys_than_a_ring_takes_are_refused),
  };
#undef TEST
  return cmocka_run_group_tests(tests, NULL, NULL);
}
