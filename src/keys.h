/*
 * keys: the daemon's signing key and the keys it trusts: from their files into the signer, and new
 * ones into files.
 */
#pragma once

#include "base/must_check.h"
#include "config/config.h"
#include "ledger/checkpoint.h"

/* Reads what the settings name and puts it in the place of the signer's keys, which it owns; on
 * failure those stay. The signer is zeroed at first; once it has an origin, keys that have changed
 * are told in the log. */
MUST_CHECK int keys_load(struct checkpoint_signer *signer, const struct config *config,
                         struct error *err);
void keys_unload(struct checkpoint_signer *signer);

/* Says in the log what checkpoints are signed with. The signer has an origin. */
void keys_announce(const struct checkpoint_signer *signer);

/* auditstored keygen: makes a key in a new file and prints its public key. Returns the exit code.
 */
int keys_generate(const char *path);
