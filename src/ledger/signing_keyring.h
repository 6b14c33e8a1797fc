/*
 * signing_keyring: public Ed25519 keys, beside a daemon's own, whose signatures are believed: those
 * of daemons that have another key, and those that signed before a key was changed.
 *
 * The file holds them in PEM, one block behind another, as `auditstored keygen` prints them. Beside
 * blocks there may be empty lines and lines that begin with #. Reading it blocks: at the start and
 * on a reload only.
 */
#pragma once

#include "base/must_check.h"
#include "ledger/signing_key.h"

#define SIGNING_KEYRING_MAX 256 /* keys in one file */

struct signing_keyring;

/* Reads all keys. ERR_FAILED_PRECONDITION names the file, and the block or line that is no public
 * Ed25519 key; a file without a key is none either. */
MUST_CHECK int signing_keyring_load(const char *path, struct signing_keyring **ret_ring,
                                    struct error *err);
void signing_keyring_free(struct signing_keyring *ring); /* NULL is fine */

/* 0 for NULL. */
int signing_keyring_count(const struct signing_keyring *ring);

/* 0 <= index < count. Borrowed. */
const struct signing_key *signing_keyring_key(const struct signing_keyring *ring, int index);
