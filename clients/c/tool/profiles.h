/*
 * profiles: named sets of connection settings, from a YAML file of the user's.
 *
 *     default_profile: prod
 *     profiles:
 *       prod:
 *         server: audit.example.com:7443
 *         ca_file: ~/.config/auditstore/ca.pem
 *
 * Words: setting = one thing that can be set for a connection, by the same name in the file, as an
 * option or in the environment.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum setting_id {
  SETTING_SERVER,
  SETTING_TLS,
  SETTING_CA,
  SETTING_CERT,
  SETTING_KEY,
  SETTING_SERVER_NAME,
  SETTING_TOKEN,
  SETTING_TIMEOUT,
  SETTING_COUNT
};

enum setting_kind { SETTING_IS_TEXT, SETTING_IS_FILE, SETTING_IS_SWITCH, SETTING_IS_SPAN };

struct setting_row {
  const char *key; /* in the file */
  enum setting_kind kind;
  const char *default_text; /* NULL: unset, or it depends on others */
  const char *help;         /* for the manual page */
};

extern const struct setting_row setting_rows[SETTING_COUNT];

/* NULL when the setting may have this value; else what is allowed: "must be ...". */
const char *setting_check(enum setting_id id, const char *value);

struct profile {
  char *name; /* owned, as are the values */
  int line;
  char *values[SETTING_COUNT]; /* NULL: not set. Files with ~/ and relative ones made absolute */
  int lines[SETTING_COUNT];
};

struct profiles {
  char *path;         /* owned; as given */
  char *default_name; /* owned; NULL: none */
  int default_line;
  struct profile *items; /* owned */
  size_t count;
};

#define PROFILES_MAX 1000

/* Reads `in`, which is called `path` in messages. Every problem is a line of `problems`:
 * "PATH:LINE: profiles.prod.tls: ...". Returns their number; profiles_deinit() in any case. `home`
 * stands for ~ and may be NULL. */
int profiles_read(struct profiles *ret_profiles, FILE *in, const char *path, const char *home,
                  FILE *problems);
void profiles_deinit(struct profiles *profiles);

/* NULL: no such profile. */
const struct profile *profiles_find(const struct profiles *profiles, const char *name);

/* The nearest name, or NULL. */
const char *profiles_suggest(const struct profiles *profiles, const char *name);
