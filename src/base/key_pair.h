/*
 * key_pair: a certificate, those behind it in its file, and the private key that belongs to it,
 * from two PEM files that are checked against each other.
 */
#pragma once

#include <stdbool.h>

#include "base/must_check.h"
#include "base/secret_file.h"

typedef struct x509_st X509;
typedef struct evp_pkey_st EVP_PKEY;
struct stack_st_X509;

struct key_pair {
  X509 *cert;                  /* owned, as all of it */
  struct stack_st_X509 *chain; /* from behind `cert` towards the root; may be empty */
  EVP_PKEY *key;
  struct secret_risk key_risk; /* of the key's file */
};

#define KEY_PAIR_TEXT_SIZE 1024

/* False, with nothing to free: ret_why names the file at fault, or both, and says what to do.
 * Reading blocks for a moment. */
MUST_CHECK bool key_pair_read(const char *cert_file, const char *key_file,
                              struct key_pair *ret_pair, char ret_why[KEY_PAIR_TEXT_SIZE]);

void key_pair_deinit(struct key_pair *pair); /* zeroed is fine */

/* Certificates alone, such as those of authorities: whether `file` holds one or more. */
MUST_CHECK bool key_pair_check_certificates(const char *file, char ret_why[KEY_PAIR_TEXT_SIZE]);
