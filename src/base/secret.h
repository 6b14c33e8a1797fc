/*
 * secret: texts that somebody may have put a password into.
 *
 * A connection string given where a name is expected holds one. Messages about such a text must not
 * repeat it: they end in logs, tickets and terminals.
 */
#pragma once

#include "base/str.h"

/* "keyword=value ...", "user:password@host" or "password x". Of other texts nobody can tell. */
bool secret_may_be_in(struct str text);

/* What stands in a message instead of the text. */
#define SECRET_NOT_SHOWN "(not shown: it may hold a password)"
