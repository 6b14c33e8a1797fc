/*
 * keys: the daemon's signing key: from its file into the signer, and new ones into files.
 */
#pragma once

#include "config/config.h"
#include "ledger/checkpoint.h"

/* Reads what the settings name and puts it in the place of the signer's key, which it owns; on
 * failure that stays. Says in the log what checkpoints are signed with when that has changed. The
 * signer is zeroed at first. */
int keys_load(struct checkpoint_signer *signer, const struct config *config, struct error *err);
void keys_unload(struct checkpoint_signer *signer);

/* auditstored keygen: makes a key in a new file and prints its public key. Returns the exit code.
 */
int keys_generate(const char *path);
