/* One value: from text, to text. */
#include "config/table.h"

#include "base/clock.h"
#include "base/secret.h"
#include "config/access_lists.h"
#include "config/hosts.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

struct unit {
  const char *name;
  int64_t size;
};

/* Largest first: the formatter takes the largest that divides. */
static const struct unit duration_units[] = {
    {"h", 3600LL * 1000000}, {"m", 60LL * 1000000}, {"s", 1000000}, {"ms", 1000}, {"us", 1}, {0}};
static const struct unit byte_units[] = {
    {"GiB", 1024LL * 1024 * 1024}, {"MiB", 1024LL * 1024}, {"KiB", 1024}, {"B", 1}, {0}};

struct choice {
  const char *name;
  int value;
};

static const struct choice sslmodes[] = {
    {"disable", 0},     {"allow", 1}, {"prefer", 2}, {"require", 3}, {"verify-ca", 4},
    {"verify-full", 5}, {0}};
static const struct choice session_attrs[] = {{"any", 0},
                                              {"read-write", 1},
                                              {"read-only", 2},
                                              {"primary", 3},
                                              {"standby", 4},
                                              {"prefer-standby", 5},
                                              {0}};
static const struct choice switches[] = {{"off", 0}, {"on", 1}, {0}};
static const struct choice startups[] = {
    {"wait", CONFIG_STARTUP_WAIT}, {"require", CONFIG_STARTUP_REQUIRE}, {0}};
static const struct choice client_certs[] = {{"off", CONFIG_CLIENTS_OFF},
                                             {"optional", CONFIG_CLIENTS_OPTIONAL},
                                             {"required", CONFIG_CLIENTS_REQUIRED},
                                             {0}};
static const struct choice environments[] = {
    {"development", CONFIG_DEVELOPMENT}, {"production", CONFIG_PRODUCTION}, {0}};
static const struct choice log_levels[] = {
    {"debug", LOG_DEBUG}, {"info", LOG_INFO}, {"warn", LOG_WARN}, {"error", LOG_ERROR}, {0}};
static const struct choice log_formats[] = {{"text", LOG_TEXT}, {"json", LOG_JSON}, {0}};

static const struct choice *choices_of(enum config_kind kind) {
  switch (kind) {
  case CONFIG_SSLMODE:
    return sslmodes;
  case CONFIG_SESSION_ATTRS:
    return session_attrs;
  case CONFIG_SWITCH:
    return switches;
  case CONFIG_STARTUP:
    return startups;
  case CONFIG_CLIENT_CERTS:
    return client_certs;
  case CONFIG_ENVIRONMENT:
    return environments;
  case CONFIG_LOG_LEVEL:
    return log_levels;
  default:
    return log_formats;
  }
}

/* The unit is all letters that follow. */
static bool take_unit(struct str *text, const struct unit *units, int64_t *ret_size) {
  size_t len = 0;
  while (len < text->len && (text->data[len] < '0' || text->data[len] > '9'))
    len++;
  for (; units->name; units++) {
    if (!str_is(str_of(text->data, len), units->name))
      continue;
    *text = str_of(text->data + len, text->len - len);
    *ret_size = units->size;
    return true;
  }
  return false;
}

/* "1h30m": numbers with units, added up, each unit once and the largest first: "1h1h" is a slip. A
 * bare number is 0 or refused. */
static bool parse_units(struct str text, const struct unit *units, int64_t *ret_value) {
  int64_t total = 0;
  int64_t unit_before = INT64_MAX;
  if (str_is(text, "0")) {
    *ret_value = 0;
    return true;
  }
  if (text.len == 0)
    return false;
  while (text.len > 0) {
    int64_t number = 0;
    int64_t unit = 0;
    if (!str_cut_number(&text, &number) || !take_unit(&text, units, &unit) || unit >= unit_before ||
        __builtin_mul_overflow(number, unit, &number) ||
        __builtin_add_overflow(total, number, &total))
      return false;
    unit_before = unit;
  }
  *ret_value = total;
  return true;
}

static bool parse_int(struct str text, int64_t *ret_value) {
  return str_cut_number(&text, ret_value) && text.len == 0;
}

/* "10%"; a bare number is 0 or refused. */
static bool parse_percent(struct str text, int64_t *ret_value) {
  if (!str_cut_number(&text, ret_value))
    return false;
  return str_is(text, "%") || (text.len == 0 && *ret_value == 0);
}

static bool parse_number(enum config_kind kind, struct str text, int64_t *ret_value) {
  if (kind == CONFIG_DURATION)
    return parse_units(text, duration_units, ret_value);
  if (kind == CONFIG_SECONDS)
    return parse_units(text, duration_units, ret_value) && *ret_value % CLOCK_US_PER_S == 0;
  if (kind == CONFIG_BYTES)
    return parse_int(text, ret_value) || parse_units(text, byte_units, ret_value);
  if (kind == CONFIG_PERCENT)
    return parse_percent(text, ret_value);
  return parse_int(text, ret_value);
}

static const char *kind_noun(enum config_kind kind) {
  switch (kind) {
  case CONFIG_INT:
    return "a whole number";
  case CONFIG_PERCENT:
    return "a percentage, such as 10%,";
  case CONFIG_DURATION:
    return "a duration with units, such as 250ms, 10s, 5m or 1h30m,";
  case CONFIG_SECONDS:
    return "a duration in whole seconds, such as 10s, 5m or 1h30m,";
  case CONFIG_BYTES:
    return "a size, such as 64KiB or 4MiB,";
  case CONFIG_TEXT:
    return "a text";
  case CONFIG_PATH:
    return "a path";
  case CONFIG_ADDRESS:
    return "an address";
  case CONFIG_HOSTS:
  case CONFIG_PRINCIPALS:
  case CONFIG_ROLES:
    return "a list";
  default:
    return "one";
  }
}

void config_format_range(const struct config_key *key, char ret_text[CONFIG_RANGE_SIZE]) {
  const size_t size = CONFIG_RANGE_SIZE;
  if (key->kind == CONFIG_TEXT || key->kind == CONFIG_PATH) {
    snprintf(ret_text, size, "%s to %s bytes", key->min_text, key->max_text);
    return;
  }
  if (key->kind == CONFIG_HOSTS) {
    snprintf(ret_text, size, "1 to %d hosts, such as db1,db2:5433,[::1]:5434,/run/postgresql",
             CONFIG_HOSTS_MAX);
    return;
  }
  if (key->kind == CONFIG_PRINCIPALS) {
    snprintf(ret_text, size,
             "principals, such as token:ci, dns:api.example.com, cn:alice, spiffe://prod/*");
    return;
  }
  if (key->kind == CONFIG_ROLES) {
    snprintf(ret_text, size, "roles, of writer, reader, auditor and admin, or off");
    return;
  }
  if (key->kind == CONFIG_ADDRESS) {
    snprintf(ret_text, size, "host:port or [IPv6]:port, with a port from 0 to 65535%s",
             key->may_be_off ? ", or off" : "");
    return;
  }
  if (key->kind < CONFIG_TEXT) {
    snprintf(ret_text, size, "%s to %s%s", key->min_text, key->max_text,
             key->may_be_off ? ", or off" : "");
    return;
  }
  size_t at = 0;
  for (const struct choice *c = choices_of(key->kind); c->name && at < size; c++)
    at += (size_t)snprintf(ret_text + at, size - at, "%s%s", at ? ", " : "", c->name);
}

const char *config_quote(const struct config_key *key, struct str text,
                         char ret_text[CONFIG_QUOTED_SIZE]) {
  int shown = text.len > 60 ? 60 : (int)text.len;
  /* Principals look like that by right. */
  if (key->kind != CONFIG_PRINCIPALS && secret_may_be_in(text))
    snprintf(ret_text, CONFIG_QUOTED_SIZE, "a value " SECRET_NOT_SHOWN);
  else
    snprintf(ret_text, CONFIG_QUOTED_SIZE, "\"%.*s\"", shown, text.data);
  return ret_text;
}

static int refuse(const struct config_key *key, struct str text, struct error *err) {
  char range[CONFIG_RANGE_SIZE];
  char shown[CONFIG_QUOTED_SIZE];
  config_format_range(key, range);
  return error_set(err, ERR_INVALID_ARGUMENT, "got %s: must be %s %s %s",
                   config_quote(key, text, shown), kind_noun(key->kind),
                   key->kind < CONFIG_TEXT ? "from" : "of", range);
}

/* What belongs into several settings was given to one. */
static int refuse_connection_string(struct error *err) {
  return error_set(err, ERR_INVALID_ARGUMENT,
                   "must be no connection string " SECRET_NOT_SHOWN
                   ": give its parts to database.host, port, name, user, sslmode, and the password "
                   "in a file of its own to database.password_file");
}

static bool is_int_field(const struct config_key *key) {
  return key->kind == CONFIG_INT || key->kind == CONFIG_PERCENT;
}

static void store_number(struct config *config, const struct config_key *key, int64_t value) {
  char *field = (char *)config + key->offset;
  if (is_int_field(key)) {
    int number = (int)value;
    memcpy(field, &number, sizeof(number));
  } else {
    memcpy(field, &value, sizeof(value));
  }
}

static int set_number(struct config *config, const struct config_key *key, struct str text,
                      struct error *err) {
  int64_t value = 0;
  int64_t min = 0;
  int64_t max = 0;
  if (key->may_be_off && str_is(text, "off")) {
    store_number(config, key, is_int_field(key) ? 0 : CLOCK_NEVER);
    return 0;
  }
  if (!parse_number(key->kind, text, &value))
    return refuse(key, text, err);
  /* Nothing and zero mean the default: what zero would mean differs from program to program. */
  if (value == 0 && strcmp(key->default_text, "0") != 0)
    return set_number(config, key, str_z(key->default_text), err);
  parse_number(key->kind, str_z(key->min_text), &min);
  parse_number(key->kind, str_z(key->max_text), &max);
  if (value < min || value > max)
    return refuse(key, text, err);
  store_number(config, key, value);
  return 0;
}

/* "host:port" or "[IPv6]:port". Whether the host is one of this machine shows when listening. */
static bool is_address(struct str text) {
  const char *colon = text.len ? memrchr(text.data, ':', text.len) : NULL;
  if (!colon || colon == text.data)
    return false;
  size_t host_len = (size_t)(colon - text.data);
  bool is_bracketed = text.data[0] == '[' && colon[-1] == ']';
  if (is_bracketed ? host_len == 2 : memchr(text.data, ':', host_len) != NULL)
    return false;
  int64_t port = 0;
  struct str digits = str_of(colon + 1, text.len - host_len - 1);
  return digits.len <= 5 && parse_int(digits, &port) && port <= UINT16_MAX;
}

static bool has_syntax_of(enum config_kind kind, struct str text) {
  struct config_host hosts[CONFIG_HOSTS_MAX];
  unsigned roles = 0;
  switch (kind) {
  case CONFIG_ADDRESS:
    return is_address(text);
  case CONFIG_HOSTS:
    return config_hosts_parse(text, hosts) > 0;
  case CONFIG_PRINCIPALS:
    return config_principals_are_valid(text);
  case CONFIG_ROLES:
    return config_roles_parse(text, &roles);
  default:
    return true;
  }
}

static bool holds(struct str text, const char *part) {
  return text.len > 0 && memmem(text.data, text.len, part, strlen(part)) != NULL;
}

/* A role may be called like an address of mail; a host may not, nor have a path behind it. */
static bool is_connection_string(enum config_kind kind, struct str text) {
  if (holds(text, "://") || holds(text, "password=") || holds(text, "password ="))
    return true;
  return kind == CONFIG_HOSTS && (holds(text, "@") || holds(text, "="));
}

static int store_text(struct config *config, const struct config_key *key, struct str text,
                      struct error *err) {
  const char *copy = arena_strdup(config->arena, text);
  if (!copy)
    return error_set(err, ERR_EXHAUSTED, "too much text in the settings");
  memcpy((char *)config + key->offset, &copy, sizeof(copy));
  return 0;
}

static int set_text(struct config *config, const struct config_key *key, struct str text,
                    struct error *err) {
  int64_t min = 0;
  int64_t max = 0;
  parse_int(str_z(key->min_text), &min);
  parse_int(str_z(key->max_text), &max);
  if (key->may_be_off && str_is(text, "off"))
    return store_text(config, key, str_z(""), err);
  if (strcmp(key->section, "database") == 0 && is_connection_string(key->kind, text))
    return refuse_connection_string(err);
  if ((int64_t)text.len < min || (int64_t)text.len > max || !utf8_is_storable(text) ||
      !has_syntax_of(key->kind, text))
    return refuse(key, text, err);
  return store_text(config, key, text, err);
}

static int set_choice(struct config *config, const struct config_key *key, struct str text,
                      struct error *err) {
  char *field = (char *)config + key->offset;
  for (const struct choice *c = choices_of(key->kind); c->name; c++) {
    if (!str_is(text, c->name))
      continue;
    if (key->kind <= CONFIG_SESSION_ATTRS)
      memcpy(field, &c->name, sizeof(c->name));
    else
      memcpy(field, &c->value, sizeof(c->value));
    return 0;
  }
  return refuse(key, text, err);
}

/* Where a name as shells have them ends. */
static size_t name_len(struct str text) {
  size_t len = 0;
  while (len < text.len && (isalnum((unsigned char)text.data[len]) || text.data[len] == '_'))
    len++;
  return len > 0 && isdigit((unsigned char)text.data[0]) ? 0 : len;
}

/* The name in the first "${NAME", or in "$NAME" at the beginning. Empty: there is none. */
static struct str variable_in(struct str text) {
  for (size_t i = 0; i + 1 < text.len; i++) {
    size_t skip = text.data[i + 1] == '{' ? 2 : 1;
    if (text.data[i] != '$' || (skip == 1 && i > 0))
      continue;
    struct str rest = str_of(text.data + i + skip, text.len - i - skip);
    if (name_len(rest) > 0)
      return str_of(rest.data, name_len(rest));
  }
  return str_of("", 0);
}

/* Nothing here replaces variables, and taken as it is the value would surprise whoever wrote it. */
static int refuse_variable(const struct config_key *key, struct str variable, struct error *err) {
  int len = variable.len > 60 ? 60 : (int)variable.len;
  return error_set(err, ERR_INVALID_ARGUMENT,
                   "holds the variable %.*s, and variables aren't replaced here: write the value "
                   "itself, or start with --set %s.%s=\"$%.*s\", where the shell does",
                   len, variable.data, key->section, key->name, len, variable.data);
}

int config_set_value(struct config *config, const struct config_key *key, struct str text,
                     struct error *err) {
  struct str variable = variable_in(text);
  if (variable.len > 0)
    return refuse_variable(key, variable, err);
  if (key->kind >= CONFIG_TEXT && key->kind <= CONFIG_ROLES)
    return set_text(config, key, text, err);
  if (key->kind > CONFIG_ROLES)
    return set_choice(config, key, text, err);
  return set_number(config, key, text, err);
}

static void format_units(int64_t value, const struct unit *units, char *ret_text, size_t size) {
  while (value % units->size != 0)
    units++;
  snprintf(ret_text, size, "%lld%s", (long long)(value / units->size), units->name);
}

void config_format_duration(int64_t us, char ret_text[CONFIG_DURATION_SIZE]) {
  format_units(us, duration_units, ret_text, CONFIG_DURATION_SIZE);
}

static void format_number(const struct config_key *key, const char *field, char *ret_text,
                          size_t size) {
  int64_t value = 0;
  if (is_int_field(key)) {
    int number = 0;
    memcpy(&number, field, sizeof(number));
    value = number;
  } else {
    memcpy(&value, field, sizeof(value));
  }
  if (key->may_be_off && value == (is_int_field(key) ? 0 : CLOCK_NEVER))
    snprintf(ret_text, size, "off");
  else if (key->kind == CONFIG_INT)
    snprintf(ret_text, size, "%lld", (long long)value);
  else if (key->kind == CONFIG_PERCENT)
    snprintf(ret_text, size, "%lld%%", (long long)value);
  else
    format_units(value, key->kind == CONFIG_BYTES ? byte_units : duration_units, ret_text, size);
}

void config_format_value(const struct config *config, const struct config_key *key,
                         char ret_text[CONFIG_VALUE_SIZE]) {
  const char *field = (const char *)config + key->offset;
  if (key->kind < CONFIG_TEXT) {
    format_number(key, field, ret_text, CONFIG_VALUE_SIZE);
    return;
  }
  const char *text = NULL;
  if (key->kind <= CONFIG_SESSION_ATTRS) {
    memcpy(&text, field, sizeof(text));
    if (key->may_be_off && text[0] == '\0')
      text = "off";
  } else {
    int value = 0;
    memcpy(&value, field, sizeof(value));
    text = choices_of(key->kind)[value].name;
  }
  snprintf(ret_text, CONFIG_VALUE_SIZE, "%s", text);
}
