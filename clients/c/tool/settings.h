/*
 * settings: how to reach the server, and where each value comes from. The first of these that has a
 * value wins: the option; the profile that --profile names; the variable; the profile that a
 * variable or the file's default_profile names; the default.
 *
 * What tells who calls belongs to the server it was made for. So a profile's token or certificate
 * goes to no other server than the profile's, unless --profile and --server stand in one command.
 */
#pragma once

#include "cli.h"
#include "profiles.h"

enum setting_source {
  SETTING_UNSET,
  SETTING_FROM_DEFAULT,
  SETTING_FROM_PROFILE,
  SETTING_FROM_ENVIRONMENT,
  SETTING_FROM_OPTION
};

struct setting_value {
  const char *text; /* NULL: unset; borrowed from argv, the environment or the profile */
  enum setting_source source;
  const char *by; /* "--ca", "AUDITSTORE_CA"; NULL otherwise */
  int line;       /* of a profile's */
};

struct settings {
  struct setting_value values[SETTING_COUNT];
  struct setting_value config_path;
  struct setting_value profile_name;
  struct profiles profiles;      /* owned */
  const struct profile *profile; /* of profiles; NULL: none is used */
  bool left_profile_aside;       /* something else names the server: see settings_resolve() */
  char *default_path;            /* owned */
  /* resolved */
  bool uses_tls;
  char
      tls_reason[640]; /* when no setting says so itself: "because of ca_file (--ca)"; else empty */
  int timeout_ms;
};

/* The options of every command; their numbers are CLI_GLOBAL plus these or a setting's. */
enum settings_option {
  SETTINGS_OPTION_PLAINTEXT = SETTING_COUNT,
  SETTINGS_OPTION_PROFILE,
  SETTINGS_OPTION_CONFIG,
  SETTINGS_OPTION_HELP,
  SETTINGS_OPTION_VERSION
};

void settings_init(struct settings *settings);
void settings_deinit(struct settings *settings);

/* Takes one of the options above, but for help and version. */
int settings_take(struct settings *settings, const struct cli_option *option, char *value);

/* Finds every value. When --server or AUDITSTORE_SERVER names the server, a profile is left aside
 * that --profile doesn't name. TOOL_OK or TOOL_USAGE, said on standard error. */
int settings_resolve(struct settings *settings);

/* Only the settings file, whatever is chosen from it; none is no error unless it was named.
 * Problems go to `problems`. Returns their number. */
int settings_load_profiles(struct settings *settings, FILE *problems);

#define SETTINGS_ORIGIN_SIZE 512

/* "--ca", "AUDITSTORE_CA", "/home/a/.config/auditstore/config.yaml:4", "default", or "". */
void settings_origin(const struct settings *settings, const struct setting_value *value,
                     char ret_text[SETTINGS_ORIGIN_SIZE]);

/* Whether every address of the list is one of this machine: loopback by number, localhost, unix:.
 */
bool settings_is_local(const char *servers);
