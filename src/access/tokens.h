/*
 * tokens: the bearer tokens that are known: names and hashes, never the tokens themselves.
 *
 * The file has a line for each token, "NAME SHA256HEX": the SHA-256 of the token's text. Blank
 * lines and lines that begin with "#" don't count. Several tokens may have one name, so that a new
 * one can be handed out before the old one is taken away. The empty text is no token. The
 * last line of the file is ended as well, and a file without a token has at least a comment, or it
 * could be half a file. Reading blocks: at the start and on a reload only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/must_check.h"
#include "base/secret_file.h"
#include "base/str.h"

#define TOKEN_HASH_SIZE      32
#define TOKEN_NAME_MAX_BYTES 100
#define TOKENS_MAX           1000

struct tokens;

/* *ret_risk: who else may read or change the file. `held` (NULL: none) are the tokens that the file
 * held before.
 * ERR_FAILED_PRECONDITION: it can't be read, or a line isn't as above; the text begins with the
 * file and the line.
 * ERR_UNAVAILABLE: somebody is writing it: later. Signs of that are that it is open for writing,
 * that it changed while it was read, or, where the system doesn't tell who has it open (it belongs
 * to another user), that it was changed within the last second, in its place. */
MUST_CHECK int tokens_load(const char *path, const struct tokens *held, struct tokens **ret_tokens,
                           struct secret_risk *ret_risk, struct error *err);

/* The same of a text, whose last line may lack its end; `path` is for the errors. */
MUST_CHECK int tokens_parse(struct str text, const char *path, struct tokens **ret_tokens,
                            struct error *err);

void tokens_free(struct tokens *tokens); /* NULL is fine */

int tokens_count(const struct tokens *tokens);

/* The name of the token with this hash; NULL: it isn't known. All hashes are compared, each in the
 * same time, whatever they are. `tokens` NULL: none is known. */
const char *tokens_find(const struct tokens *tokens, const uint8_t hash[TOKEN_HASH_SIZE]);

/* Letters, digits and "._@+/-", a letter or digit first. */
bool token_name_is_valid(struct str name);
