/*
 * table: the rows of keys.def as data, for the parser and the printers. Inside src/config only.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/must_check.h"
#include "base/str.h"
#include "config/config.h"

/* Numbers, then texts, then choices between words: first those kept as texts, then those kept as
 * numbers. */
enum config_kind {
  CONFIG_INT,
  CONFIG_PERCENT,
  CONFIG_DURATION,
  CONFIG_SECONDS, /* a duration without a fraction of a second */
  CONFIG_BYTES,
  CONFIG_TEXT,
  CONFIG_PATH, /* of a file or a folder; src/files.c looks at each */
  CONFIG_ADDRESS,
  CONFIG_HOSTS,
  CONFIG_PRINCIPALS,
  CONFIG_ROLES,
  CONFIG_SSLMODE,
  CONFIG_SESSION_ATTRS,
  CONFIG_SWITCH,
  CONFIG_STARTUP,
  CONFIG_CLIENT_CERTS,
  CONFIG_ENVIRONMENT,
  CONFIG_LOG_LEVEL,
  CONFIG_LOG_FORMAT,
};

/* The table's words for struct config_key.is_live. */
enum { CONFIG_RELOAD_RESTART = false, CONFIG_RELOAD_LIVE = true };

struct config_key {
  const char *section;
  const char *name;
  size_t offset; /* in struct config */
  const char *default_text;
  const char *min_text; /* of a text: its length in bytes */
  const char *max_text;
  const char *help;
  enum config_kind kind;
  bool may_be_off;
  bool is_live; /* a reload changes it */
};

extern const struct config_key config_keys[];
extern const int config_key_count;

enum config_source { CONFIG_DEFAULT, CONFIG_FILE, CONFIG_COMMAND_LINE };

struct config_origin {
  enum config_source source;
  const char *path; /* in the config's arena, as is clamped_from */
  int line;
  const char *clamped_from; /* what was asked for, when a rule changed it; else NULL */
  bool is_reloaded;         /* the last change came with a reload */
  bool is_bad;              /* refused: rules about it would only repeat that */
};

/* Index of the key, or -1. Takes snake_case and camelCase. */
int config_find_key(struct str section, struct str name);
bool config_has_section(struct str section);

/* The known name nearest to a misspelled one; NULL when none is near. */
const char *config_suggest_section(struct str section);
const char *config_suggest_key(struct str section, struct str name);

/* Parses one value into its field. The error's text is "got "X": must be ...". */
MUST_CHECK int config_set_value(struct config *config, const struct config_key *key,
                                struct str text, struct error *err);

/* `text` in quotation marks and cut, for a message; one that may hold a password isn't shown. */
enum { CONFIG_QUOTED_SIZE = 64 };
const char *config_quote(const struct config_key *key, struct str text,
                         char ret_text[CONFIG_QUOTED_SIZE]);

/* The effective value in the form that the parser reads. */
void config_format_value(const struct config *config, const struct config_key *key,
                         char ret_text[CONFIG_VALUE_SIZE]);

/* "1 to 1000", "100ms to 2m, or off": for messages and documentation. */
void config_format_range(const struct config_key *key, char ret_text[CONFIG_RANGE_SIZE]);

/* Values and their sources, without the rules between them. Returns how many are wrong; the config
 * is the caller's in any case. */
int config_load_values(struct config *ret_config, const struct config_input *input, bool is_reload,
                       FILE *problems);

/* Rules between keys. Writes problems; returns how many are errors. */
int config_check(struct config *config, FILE *problems);

/* Lowers what needs more descriptors than `limit` (0: not known): at the start the ports, at a
 * reload, when these stay as they are, the pool. Writes warnings; returns how many errors. */
int config_fit(struct config *config, int64_t limit, bool is_reload, FILE *problems);
