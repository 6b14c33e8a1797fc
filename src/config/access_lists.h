/*
 * access_lists: the syntax of the lists in the section access.
 *
 * Words: principal = who calls, as a text with a kind in front: a URI, "dns:NAME", "cn:NAME" or
 * "token:NAME"; pattern = a principal, or the beginning of some and a "*"; it has a case, but for
 * "dns:NAME". In a URI the "*" stands for no empty, "." or ".." segment. Items are separated by
 * commas and blanks around them don't count.
 */
#pragma once

#include <stdbool.h>

#include "base/str.h"

/* clang-format off */
#define CONFIG_ROLES_MAP(X) \
  X(WRITER,  "writer")      \
  X(READER,  "reader")      \
  X(AUDITOR, "auditor")     \
  X(ADMIN,   "admin")
/* clang-format on */

#define CONFIG_ROLE_INDEX(name, text) CONFIG_ROLE_INDEX_##name,
#define CONFIG_ROLE_BIT(name, text)   CONFIG_ROLE_##name = 1U << CONFIG_ROLE_INDEX_##name,
enum config_role_index { CONFIG_ROLES_MAP(CONFIG_ROLE_INDEX) CONFIG_ROLE_COUNT };
enum config_role { CONFIG_ROLES_MAP(CONFIG_ROLE_BIT) CONFIG_NO_ROLE = 0 };
#undef CONFIG_ROLE_INDEX
#undef CONFIG_ROLE_BIT

/* "writer" for 0 */
const char *config_role_name(enum config_role_index role);

/* The next item of a list, which *list is cut from. False behind the last. */
bool config_list_next(struct str *list, struct str *ret_item);

/* Each item has a kind in front, and a "*" only at its end; "*" alone is every principal. The empty
 * list is fine. */
bool config_principals_are_valid(struct str list);

/* Whether one of the list's patterns is that of `principal`. */
bool config_principals_match(struct str list, struct str principal);

/* A list of role names as bits of enum config_role. */
bool config_roles_parse(struct str list, unsigned *ret_roles);
