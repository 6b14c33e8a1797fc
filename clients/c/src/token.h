/*
 * token: a bearer token in a file, read again when the file changes.
 */
#pragma once

#include "auditstore/status.h"
#include "base/str.h"

#include <stdbool.h>
#include <sys/stat.h>

struct token {
  char *path;       /* owned; NULL: none is sent */
  char *header;     /* owned; "Bearer TOKEN"; NULL: not read yet */
  struct stat seen; /* the file that `header` is of */
};

/* False: out of memory. */
bool token_init(struct token *t, const char *path);
void token_deinit(struct token *t); /* wipes it */

/* The value of `authorization`, borrowed until the next call; without data when no token is to be
 * sent. False: `status` names the file and says what is wrong with it. */
bool token_header(struct token *t, struct str *ret_header, struct auditstore_status *status);
