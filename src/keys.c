#include "keys.h"

#include "base/log.h"
#include "base/output.h"
#include "base/secret_rule.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define PUBLIC_KEY_TEXT_SIZE (4 * ((SIGNING_PUBLIC_KEY_SIZE + 2) / 3) + 1)

void keys_announce(const struct checkpoint_signer *signer) {
  unsigned char text[PUBLIC_KEY_TEXT_SIZE];
  uint8_t bytes[SIGNING_PUBLIC_KEY_SIZE];
  if (!signer->key) {
    log_warn(
        "checkpoints are not signed",
        KV("advice", "auditstored keygen FILE makes a key; set ledger.signing_key_file to it"));
    return;
  }
  signing_key_public(signer->key, bytes);
  EVP_EncodeBlock(text, bytes, sizeof(bytes));
  log_info("checkpoints are signed", KV("origin", signer->origin),
           KV("public_key", (const char *)text),
           KV("trusted_keys", signing_keyring_count(signer->trusted)));
}

static int load(const struct config *config, struct signing_key **ret_key, struct error *err) {
  const struct secret_rule rule = {.remedy = ", and make a new key if it was ever used so",
                                   .is_strict = config->server.environment == CONFIG_PRODUCTION};
  const char *path = config->ledger.signing_key_file;
  struct secret_risk risk;
  int rc = signing_key_load(path, ret_key, &risk, err);
  if (rc == 0 && (rc = secret_rule_apply(&rule, path, risk, err)) < 0)
    signing_key_free(*ret_key);
  return rc;
}

static bool is_same_key(const struct signing_key *a, const struct signing_key *b) {
  uint8_t left[SIGNING_PUBLIC_KEY_SIZE];
  uint8_t right[SIGNING_PUBLIC_KEY_SIZE];
  if (!a || !b)
    return a == b;
  signing_key_public(a, left);
  signing_key_public(b, right);
  return memcmp(left, right, sizeof(left)) == 0;
}

static bool is_same_ring(const struct signing_keyring *a, const struct signing_keyring *b) {
  int count = signing_keyring_count(a);
  bool is_same = count == signing_keyring_count(b);
  for (int i = 0; is_same && i < count; i++)
    is_same = is_same_key(signing_keyring_key(a, i), signing_keyring_key(b, i));
  return is_same;
}

static int load_trusted(const struct config *config, struct signing_keyring **ret_ring,
                        struct error *err) {
  const char *path = config->ledger.trusted_keys_file;
  int rc = path[0] ? signing_keyring_load(path, ret_ring, err) : 0;
  if (rc < 0)
    error_prefix(err, "ledger.trusted_keys_file");
  return rc;
}

int keys_load(struct checkpoint_signer *signer, const struct config *config, struct error *err) {
  struct signing_key *key = NULL;
  struct signing_keyring *trusted = NULL;
  int rc = load_trusted(config, &trusted, err);
  if (rc < 0)
    return rc;
  rc = config->ledger.signing_key_file[0] ? load(config, &key, err) : 0;
  if (rc < 0) {
    error_prefix(err, "ledger.signing_key_file");
    signing_keyring_free(trusted);
    return rc;
  }
  bool is_news = !is_same_key(signer->key, key) || !is_same_ring(signer->trusted, trusted);
  keys_unload(signer);
  signer->key = key;
  signer->trusted = trusted;
  if (is_news && signer->origin)
    keys_announce(signer);
  return 0;
}

void keys_unload(struct checkpoint_signer *signer) {
  signing_key_free((struct signing_key *)signer->key);
  signing_keyring_free((struct signing_keyring *)signer->trusted);
  signer->key = NULL;
  signer->trusted = NULL;
}

int keys_generate(const char *path) {
  struct signing_key *key = NULL;
  struct error err = {0};
  if (signing_key_generate(path, &key, &err) < 0) {
    fprintf(stderr, "auditstored: keygen: %s\n", err.text);
    return EXIT_FAILURE;
  }
  bool ok = signing_key_print_public(key, stdout);
  signing_key_free(key);
  return output_finish("auditstored: keygen", 0) < 0 || !ok ? EXIT_FAILURE : EXIT_SUCCESS;
}
