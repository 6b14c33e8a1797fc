#include "settings.h"

#include "times.h"
#include "tool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define OPTION_OF(setting) (CLI_GLOBAL + (int)(setting))

const struct cli_option cli_global_options[] = {
    {.name = "server",
     .argument = "ADDRESS",
     .help = "where auditstored listens: HOST:PORT, [IPV6]:PORT or unix:/PATH",
     .details = "Several, separated by commas, are tried in this order.",
     .variable = "AUDITSTORE_SERVER",
     .id = OPTION_OF(SETTING_SERVER)},
    {.name = "tls",
     .help = "speak TLS",
     .details = "Without --tls and --plaintext, and where neither the environment nor the profile "
                "says so either, TLS is spoken when a file or a name for it is given (--ca, "
                "--cert, --key, --server-name) and to every server that isn't on this machine.",
     .variable = "AUDITSTORE_TLS",
     .id = OPTION_OF(SETTING_TLS)},
    {.name = "plaintext",
     .help = "don't speak TLS",
     .details = "Everything that is sent can then be read and changed on its way. A token is not "
                "sent so to another machine.",
     .id = OPTION_OF(SETTINGS_OPTION_PLAINTEXT)},
    {.name = "ca",
     .argument = "FILE",
     .help = "who signs the server's certificate (PEM); without it: whom this system trusts",
     .variable = "AUDITSTORE_CA",
     .completes = CLI_FILES,
     .id = OPTION_OF(SETTING_CA)},
    {.name = "cert",
     .argument = "FILE",
     .help = "the certificate to show, with those up to its root (PEM)",
     .variable = "AUDITSTORE_CERT",
     .completes = CLI_FILES,
     .id = OPTION_OF(SETTING_CERT)},
    {.name = "key",
     .argument = "FILE",
     .help = "the certificate's key (PEM); only its owner may be able to read it",
     .variable = "AUDITSTORE_KEY",
     .completes = CLI_FILES,
     .id = OPTION_OF(SETTING_KEY)},
    {.name = "server-name",
     .argument = "NAME",
     .help = "the name that the server's certificate must hold; without it: the host of --server",
     .variable = "AUDITSTORE_SERVER_NAME",
     .id = OPTION_OF(SETTING_SERVER_NAME)},
    {.name = "token-file",
     .argument = "FILE",
     .help = "the file of the token that says who calls; only its owner may be able to read it",
     .details = "No option takes the token itself: other users of the machine see command lines.",
     .variable = "AUDITSTORE_TOKEN_FILE",
     .completes = CLI_FILES,
     .id = OPTION_OF(SETTING_TOKEN)},
    {.name = "timeout",
     .argument = "TIME",
     .help = "how long to wait for each answer: 500ms, 10s, 2m",
     .variable = "AUDITSTORE_TIMEOUT",
     .id = OPTION_OF(SETTING_TIMEOUT)},
    {.name = "profile",
     .argument = "NAME",
     .help = "take what no option says from this profile of the settings file",
     .details = "It goes before the variables of the environment. One that AUDITSTORE_PROFILE "
                "names goes behind them, and is left aside when --server or AUDITSTORE_SERVER "
                "names the server.",
     .variable = "AUDITSTORE_PROFILE",
     .completes = CLI_PROFILES,
     .id = OPTION_OF(SETTINGS_OPTION_PROFILE)},
    {.name = "config",
     .argument = "FILE",
     .help = "the settings file, in place of ~/.config/auditstore/config.yaml",
     .variable = "AUDITSTORE_CONFIG",
     .completes = CLI_FILES,
     .id = OPTION_OF(SETTINGS_OPTION_CONFIG)},
    {.name = "help", .help = "show help, and do nothing", .id = OPTION_OF(SETTINGS_OPTION_HELP)},
    {.name = "version",
     .help = "show the version, and do nothing",
     .id = OPTION_OF(SETTINGS_OPTION_VERSION)},
    {0},
};

void settings_init(struct settings *settings) {
  *settings = (struct settings){0};
}

void settings_deinit(struct settings *settings) {
  profiles_deinit(&settings->profiles);
  free(settings->default_path);
  *settings = (struct settings){0};
}

/* ---- options and the environment ---- */

static int put_bad_value(const char *by, const char *text, const char *why) {
  return tool_bad_setting("%s %s: %s", by, text, why);
}

static int take_setting(struct settings *settings, enum setting_id id,
                        const struct cli_option *option, const char *value) {
  struct setting_value *setting = &settings->values[id];
  const char *why = setting_check(id, value);
  if (why)
    return cli_refuse(NULL, option, value, why);
  if (id == SETTING_TLS && setting->text && strcmp(setting->text, value) != 0)
    return tool_usage("--tls and --plaintext contradict each other");
  *setting =
      (struct setting_value){.text = value, .source = SETTING_FROM_OPTION, .by = option->name};
  return TOOL_OK;
}

int settings_take(struct settings *settings, const struct cli_option *option, char *value) {
  int number = option->id - CLI_GLOBAL;
  const struct setting_value taken = {
      .text = value, .source = SETTING_FROM_OPTION, .by = option->name};
  switch (number) {
  case SETTINGS_OPTION_PROFILE:
    settings->profile_name = taken;
    return TOOL_OK;
  case SETTINGS_OPTION_CONFIG:
    settings->config_path = taken;
    return TOOL_OK;
  case SETTINGS_OPTION_PLAINTEXT:
    return take_setting(settings, SETTING_TLS, option, "false");
  case SETTING_TLS:
    return take_setting(settings, SETTING_TLS, option, "true");
  default:
    return take_setting(settings, (enum setting_id)number, option, value);
  }
}

/* An empty variable says nothing. */
static void take_variable(struct setting_value *value, int option_id) {
  const char *variable = cli_option_of(NULL, option_id)->variable;
  const char *text = value->text ? NULL : getenv(variable);
  if (text && *text)
    *value =
        (struct setting_value){.text = text, .source = SETTING_FROM_ENVIRONMENT, .by = variable};
}

static int take_environment(struct settings *settings) {
  for (int id = 0; id < SETTING_COUNT; id++) {
    struct setting_value *value = &settings->values[id];
    take_variable(value, OPTION_OF(id));
    const char *why = value->text ? setting_check((enum setting_id)id, value->text) : NULL;
    if (why)
      return put_bad_value(value->by, value->text, why);
  }
  return TOOL_OK;
}

/* ---- the settings file ---- */

/* XDG Base Directory: a relative folder there is to be ignored. NULL: there is no home folder. */
static char *make_default_path(void) {
  static const char below[] = "auditstore/config.yaml";
  const char *folder = getenv("XDG_CONFIG_HOME");
  const char *home = getenv("HOME");
  char *path = NULL;
  int len = -1;
  if (folder && folder[0] == '/')
    len = asprintf(&path, "%s/%s", folder, below);
  else if (home && home[0] == '/')
    len = asprintf(&path, "%s/.config/%s", home, below);
  return len < 0 ? NULL : path;
}

static int open_file(struct settings *settings, FILE **ret_file, FILE *problems) {
  struct setting_value *path = &settings->config_path;
  *ret_file = NULL;
  take_variable(path, OPTION_OF(SETTINGS_OPTION_CONFIG));
  if (!path->text) {
    settings->default_path = make_default_path();
    *path = (struct setting_value){.text = settings->default_path, .source = SETTING_FROM_DEFAULT};
  }
  if (!path->text)
    return 0;
  *ret_file = fopen(path->text, "re");
  if (*ret_file || (errno == ENOENT && path->source == SETTING_FROM_DEFAULT))
    return 0;
  fprintf(problems, "%s: %s\n", path->text, strerror(errno));
  return 1;
}

int settings_load_profiles(struct settings *settings, FILE *problems) {
  FILE *file = NULL;
  int count = open_file(settings, &file, problems);
  if (!file)
    return count;
  count = profiles_read(&settings->profiles, file, settings->config_path.text, getenv("HOME"),
                        problems);
  fclose(file);
  return count;
}

static int put_no_profile(const struct settings *settings) {
  const char *name = settings->profile_name.text;
  const char *path = settings->config_path.text;
  const char *near = profiles_suggest(&settings->profiles, name);
  if (!settings->profiles.path)
    return tool_bad_setting("there is no profile %s: there is no settings file %s", name,
                            path ? path : "(no HOME)");
  return tool_bad_setting("there is no profile %s in %s%s%s%s", name, path,
                          near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
}

static int choose_profile(struct settings *settings) {
  struct setting_value *name = &settings->profile_name;
  if (settings_load_profiles(settings, stderr))
    return TOOL_USAGE;
  const struct profiles *profiles = &settings->profiles;
  if (!name->text && profiles->default_name)
    *name = (struct setting_value){.text = profiles->default_name,
                                   .source = SETTING_FROM_PROFILE,
                                   .line = profiles->default_line};
  if (!name->text)
    return TOOL_OK;
  settings->profile = profiles_find(profiles, name->text);
  return settings->profile ? TOOL_OK : put_no_profile(settings);
}

static int take_profile(struct settings *settings) {
  int code = choose_profile(settings);
  const struct profile *profile = settings->profile;
  for (int id = 0; id < SETTING_COUNT && profile; id++) {
    struct setting_value *value = &settings->values[id];
    if (!value->text && profile->values[id])
      *value = (struct setting_value){
          .text = profile->values[id], .source = SETTING_FROM_PROFILE, .line = profile->lines[id]};
  }
  return code;
}

static void take_defaults(struct settings *settings) {
  for (int id = 0; id < SETTING_COUNT; id++) {
    struct setting_value *value = &settings->values[id];
    if (!value->text && setting_rows[id].default_text)
      *value = (struct setting_value){.text = setting_rows[id].default_text,
                                      .source = SETTING_FROM_DEFAULT};
  }
}

/* What was typed goes before what the session happens to have. */
static int take_all(struct settings *settings) {
  take_variable(&settings->profile_name, OPTION_OF(SETTINGS_OPTION_PROFILE));
  bool is_typed = settings->profile_name.source == SETTING_FROM_OPTION;
  int code = is_typed ? take_profile(settings) : TOOL_OK;
  if (code == TOOL_OK)
    code = take_environment(settings);
  settings->left_profile_aside = !is_typed && settings->values[SETTING_SERVER].text;
  if (code == TOOL_OK && !is_typed && !settings->left_profile_aside)
    code = take_profile(settings);
  take_defaults(settings);
  return code;
}

/* ---- the rules between them ---- */

static int check_pair(const struct settings *settings) {
  const struct setting_value *cert = &settings->values[SETTING_CERT];
  const struct setting_value *key = &settings->values[SETTING_KEY];
  char origin[SETTINGS_ORIGIN_SIZE];
  if (!cert->text == !key->text)
    return TOOL_OK;
  settings_origin(settings, cert->text ? cert : key, origin);
  return cert->text
             ? tool_bad_setting("the certificate %s (%s) needs its key: --key", cert->text, origin)
             : tool_bad_setting("the key %s (%s) needs its certificate: --cert", key->text, origin);
}

/* Only a profile that --profile names and that has no server meets one that a variable names. */
static int check_server(const struct settings *settings) {
  static const enum setting_id secrets[] = {SETTING_TOKEN, SETTING_CERT, SETTING_KEY};
  const struct setting_value *server = &settings->values[SETTING_SERVER];
  char origin[SETTINGS_ORIGIN_SIZE];
  if (server->source != SETTING_FROM_ENVIRONMENT)
    return TOOL_OK;
  for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
    const struct setting_value *value = &settings->values[secrets[i]];
    if (value->source != SETTING_FROM_PROFILE)
      continue;
    settings_origin(settings, value, origin);
    return tool_bad_setting(
        "%s names the server, and %s (%s) isn't meant for it: give --server, "
        "or the profile a server",
        server->by, setting_rows[secrets[i]].key, origin);
  }
  return TOOL_OK;
}

static const enum setting_id tls_settings[] = {SETTING_CA, SETTING_CERT, SETTING_KEY,
                                               SETTING_SERVER_NAME};
#define TLS_SETTING_COUNT (sizeof(tls_settings) / sizeof(tls_settings[0]))

/* Whoever asked for what is of use with TLS only wants TLS, whoever turned it off. */
static int check_contradiction(const struct settings *settings) {
  const struct setting_value *tls = &settings->values[SETTING_TLS];
  char tls_origin[SETTINGS_ORIGIN_SIZE];
  char origin[SETTINGS_ORIGIN_SIZE];
  if (!tls->text || strcmp(tls->text, "true") == 0)
    return TOOL_OK;
  for (size_t i = 0; i < TLS_SETTING_COUNT; i++) {
    const struct setting_value *value = &settings->values[tls_settings[i]];
    if (!value->text)
      continue;
    settings_origin(settings, tls, tls_origin);
    settings_origin(settings, value, origin);
    return tool_bad_setting("%s turns TLS off, and %s (%s) is of use with TLS only: leave one out",
                            tls_origin, setting_rows[tls_settings[i]].key, origin);
  }
  return TOOL_OK;
}

static void decide_tls(struct settings *settings) {
  const struct setting_value *tls = &settings->values[SETTING_TLS];
  char origin[SETTINGS_ORIGIN_SIZE];
  if (tls->text) {
    settings->uses_tls = strcmp(tls->text, "true") == 0;
    return;
  }
  for (size_t i = 0; i < TLS_SETTING_COUNT; i++) {
    const struct setting_value *value = &settings->values[tls_settings[i]];
    if (!value->text)
      continue;
    settings->uses_tls = true;
    settings_origin(settings, value, origin);
    snprintf(settings->tls_reason, sizeof(settings->tls_reason), "because of %s (%s)",
             setting_rows[tls_settings[i]].key, origin);
    return;
  }
  settings->uses_tls = !settings_is_local(settings->values[SETTING_SERVER].text);
  snprintf(settings->tls_reason, sizeof(settings->tls_reason), "default for servers %s",
           settings->uses_tls ? "of other machines" : "of this machine");
}

int settings_resolve(struct settings *settings) {
  int code = take_all(settings);
  if (code != TOOL_OK)
    return code;
  code = check_server(settings);
  if (code == TOOL_OK)
    code = check_pair(settings);
  if (code == TOOL_OK)
    code = check_contradiction(settings);
  int64_t ms = 0;
  times_parse_span(settings->values[SETTING_TIMEOUT].text, &ms);
  settings->timeout_ms = (int)ms;
  decide_tls(settings);
  return code;
}

/* ---- showing and asking ---- */

void settings_origin(const struct settings *settings, const struct setting_value *value,
                     char ret_text[SETTINGS_ORIGIN_SIZE]) {
  static const char *const dashes[] = {
      [SETTING_FROM_ENVIRONMENT] = "", [SETTING_FROM_OPTION] = "--"};
  ret_text[0] = '\0';
  switch (value->source) {
  case SETTING_UNSET:
    return;
  case SETTING_FROM_DEFAULT:
    snprintf(ret_text, SETTINGS_ORIGIN_SIZE, "default");
    return;
  case SETTING_FROM_PROFILE:
    snprintf(ret_text, SETTINGS_ORIGIN_SIZE, "%s:%d", settings->profiles.path, value->line);
    return;
  default:
    snprintf(ret_text, SETTINGS_ORIGIN_SIZE, "%s%s", dashes[value->source], value->by);
  }
}

/* 127.0.0.0/8 by number alone: a name may begin with these digits too. */
static bool is_loopback_number(const char *server, size_t len) {
  size_t digits = strspn(server, "0123456789.");
  return len > 4 && memcmp(server, "127.", 4) == 0 && (digits >= len || server[digits] == ':');
}

static bool is_local(const char *server, size_t len) {
  static const char *const prefixes[] = {"unix:", "localhost:", "[::1]:"};
  for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
    size_t prefix = strlen(prefixes[i]);
    if (len >= prefix && strncasecmp(server, prefixes[i], prefix) == 0)
      return true;
  }
  return is_loopback_number(server, len);
}

bool settings_is_local(const char *servers) {
  for (;;) {
    size_t len = strcspn(servers, ",");
    if (!is_local(servers, len))
      return false;
    if (!servers[len])
      return true;
    servers += len + 1;
  }
}
