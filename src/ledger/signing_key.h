/*
 * signing_key: the Ed25519 key that signs a daemon's checkpoints.
 *
 * The file is PEM (PKCS#8), as `openssl genpkey -algorithm ed25519` writes it too. Reading and
 * writing files blocks: at the start, on a reload and in tools only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "base/must_check.h"
#include "base/secret_file.h"
#include "base/str.h"

#define SIGNING_PUBLIC_KEY_SIZE 32
#define SIGNATURE_SIZE          64

struct signing_key;

/* Makes a key and writes it to a new file that only its owner may read. ERR_ALREADY_EXISTS when
 * there is a file of that name. */
MUST_CHECK int signing_key_generate(const char *path, struct signing_key **ret_key,
                                    struct error *err);

/* *ret_risk (may be NULL): who else may read or change the file. */
MUST_CHECK int signing_key_load(const char *path, struct signing_key **ret_key,
                                struct secret_risk *ret_risk, struct error *err);

/* A key that can verify and print, but not sign. NULL: these bytes are no public key. */
struct signing_key *signing_key_of_public(const uint8_t bytes[SIGNING_PUBLIC_KEY_SIZE]);

void signing_key_free(struct signing_key *key); /* NULL is fine */

void signing_key_public(const struct signing_key *key, uint8_t ret_key[SIGNING_PUBLIC_KEY_SIZE]);

/* The public key in PEM. False: `out` can't be written. */
bool signing_key_print_public(const struct signing_key *key, FILE *out);

/* `key` isn't one of signing_key_of_public(). */
void signing_key_sign(const struct signing_key *key, struct str text,
                      uint8_t ret_signature[SIGNATURE_SIZE]);

/* Whether `signature` is one of this key over `text`. */
bool signing_key_verify(const struct signing_key *key, struct str text, struct str signature);
