/*
 * Who calls: any bytes are a token file or a problem with its line, and of any certificate comes a
 * name that can be stored and that nobody else has.
 */
#include "access/identity.h"
#include "access/tokens.h"
#include "fuzz/fuzz.h"

#include <openssl/x509.h>
#include <string.h>
#include <strings.h>

static void check_tokens(struct str text) {
  struct tokens *tokens = NULL;
  struct error err = {0};
  if (tokens_parse(text, "file", &tokens, &err) < 0) {
    fuzz_require(strncmp(err.text, "file:", 5) == 0, "a problem has a place");
    return;
  }
  fuzz_require(tokens_count(tokens) <= TOKENS_MAX, "tokens are bounded");
  tokens_free(tokens);
}

static bool begins_with(struct str text, const char *prefix) {
  size_t len = strlen(prefix);
  return text.len > len && strncasecmp(text.data, prefix, len) == 0;
}

static void check_name(struct str name, enum peer_name_kind kind) {
  fuzz_require(utf8_is_storable(name), "a principal can be stored");
  for (size_t i = 0; i < name.len; i++)
    fuzz_require((unsigned char)name.data[i] >= 0x20, "a principal has no control characters");
  fuzz_require(!begins_with(name, "token:") && !begins_with(name, "auditstore:"),
               "no certificate makes a token, or the daemon");
  fuzz_require(kind != PEER_NAME_DNS || begins_with(name, "dns:"), "a DNS name says so");
  fuzz_require(kind != PEER_NAME_CN || begins_with(name, "cn:"), "a common name says so");
}

/* The kind that the name was taken from: the first there is. */
static enum peer_name_kind kind_of(const struct peer_names *names, struct str taken) {
  for (int i = 0; i < names->count; i++) {
    if (names->names[i].kind == PEER_NAME_URI && str_equal(names->names[i].text, taken))
      return PEER_NAME_URI;
  }
  for (int i = 0; i < names->count; i++) {
    if (names->names[i].kind == PEER_NAME_DNS)
      return PEER_NAME_DNS;
  }
  return PEER_NAME_CN;
}

static void check_certificate(const uint8_t *data, size_t size) {
  X509 *cert = d2i_X509(NULL, &data, (long)size);
  if (!cert)
    return;
  struct identity identity;
  struct peer_names *names = peer_names_of(cert);
  fuzz_require(names->count <= PEER_NAMES_MAX, "names are bounded");
  if (identity_of_certificate(names, &identity) == IDENTITY_NAMED)
    check_name(identity_str(&identity), kind_of(names, identity_str(&identity)));
  free(names);
  X509_free(cert);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size > 0 && data[0] == 'T')
    check_tokens(str_of(data + 1, size - 1));
  else if (size > 0)
    check_certificate(data + 1, size - 1);
  return 0;
}
