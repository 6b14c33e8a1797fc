#include "new_token.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>

#include "access/tokens.h"
#include "base/output.h"
#include "usage.h"

/* Those who look for secrets in the wrong places find it by this. */
#define TOKEN_PREFIX "auditstore_"
#define RANDOM_BYTES 32

static void print_hex(const uint8_t *bytes, size_t len, FILE *out) {
  for (size_t i = 0; i < len; i++)
    fprintf(out, "%02x", bytes[i]);
}

static bool make(char *ret_token, size_t size, uint8_t ret_hash[TOKEN_HASH_SIZE]) {
  uint8_t bytes[RANDOM_BYTES];
  char text[2 * RANDOM_BYTES + 1];
  if (RAND_bytes(bytes, sizeof(bytes)) != 1)
    return false;
  for (size_t i = 0; i < sizeof(bytes); i++)
    snprintf(text + 2 * i, 3, "%02x", bytes[i]);
  int len = snprintf(ret_token, size, "%s%s", TOKEN_PREFIX, text);
  return EVP_Digest(ret_token, (size_t)len, ret_hash, NULL, EVP_sha256(), NULL) == 1;
}

int new_token(const char *name) {
  char token[sizeof(TOKEN_PREFIX) + 2 * (size_t)RANDOM_BYTES];
  uint8_t hash[TOKEN_HASH_SIZE];
  if (!token_name_is_valid(str_z(name))) {
    fputs(
        "auditstored: token: a NAME has letters, digits and . _ @ + / -, at most 100, and begins "
        "with a letter or digit\n",
        stderr);
    return EXIT_USAGE;
  }
  if (!make(token, sizeof(token), hash)) {
    fputs("auditstored: token: OpenSSL gives no random bytes\n", stderr);
    return EXIT_FAILURE;
  }
  printf("%s\n%s ", token, name);
  print_hex(hash, sizeof(hash), stdout);
  putchar('\n');
  return output_finish("auditstored: token", 0) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
