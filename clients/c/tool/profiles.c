#include "profiles.h"

#include "base/settings_file.h"
#include "base/suggest.h"
#include "times.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

const struct setting_row setting_rows[SETTING_COUNT] = {
    [SETTING_SERVER] = {"server", SETTING_IS_TEXT, "127.0.0.1:7443",
                        "Where auditstored listens, as for --server."},
    [SETTING_TLS] = {"tls", SETTING_IS_SWITCH, NULL,
                     "true or false; without it the other settings decide, as for --tls."},
    [SETTING_CA] = {"ca_file", SETTING_IS_FILE, NULL, "As --ca."},
    [SETTING_CERT] = {"cert_file", SETTING_IS_FILE, NULL, "As --cert."},
    [SETTING_KEY] = {"key_file", SETTING_IS_FILE, NULL, "As --key."},
    [SETTING_SERVER_NAME] = {"server_name", SETTING_IS_TEXT, NULL, "As --server-name."},
    [SETTING_TOKEN] = {"token_file", SETTING_IS_FILE, NULL, "As --token-file."},
    [SETTING_TIMEOUT] = {"timeout", SETTING_IS_SPAN, "10s", "As --timeout."},
};

const char *setting_check(enum setting_id id, const char *value) {
  int64_t ms = 0;
  switch (setting_rows[id].kind) {
  case SETTING_IS_SWITCH:
    return strcmp(value, "true") == 0 || strcmp(value, "false") == 0 ? NULL
                                                                     : "must be true or false";
  case SETTING_IS_SPAN:
    return times_parse_span(value, &ms) && ms >= 1 && ms <= INT_MAX
               ? NULL
               : "must be a time such as 500ms, 10s or 2m";
  case SETTING_IS_FILE:
    return *value ? NULL : "must be the path of a file";
  default:
    break;
  }
  if (*value)
    return NULL;
  return id == SETTING_SERVER ? "must be HOST:PORT, [IPV6]:PORT or unix:/PATH"
                              : "must not be empty";
}

struct reader {
  struct profiles *profiles;
  struct settings_file file;
  const char *home; /* NULL: unknown */
  yaml_document_t *document;
};

/* ---- texts ---- */

/* False: a control character, which has no place in a name or a path, or no memory. */
static bool copy_text(struct str text, char **ret_text) {
  for (size_t i = 0; i < text.len; i++)
    if ((unsigned char)text.data[i] < 0x20 || text.data[i] == 0x7f)
      return false;
  *ret_text = strndup(text.len ? text.data : "", text.len);
  return *ret_text != NULL;
}

static char *join_paths(const char *folder, size_t folder_len, const char *path) {
  size_t size = folder_len + strlen(path) + 2;
  char *joined = malloc(size);
  if (joined)
    snprintf(joined, size, "%.*s%s%s", (int)folder_len, folder, folder_len ? "/" : "", path);
  return joined;
}

/* Takes over `path`. NULL: `*ret_why` is what is wrong. */
static char *expand(const struct reader *r, char *path, const char **ret_why) {
  char *expanded = NULL;
  *ret_why = "out of memory";
  const char *slash = strrchr(r->file.path, '/');
  if (path[0] == '/')
    return path;
  if (path[0] == '~' && path[1] != '/')
    *ret_why = "only ~/ stands for a home folder";
  else if (path[0] == '~' && !r->home)
    *ret_why = "~/ needs HOME, which isn't set";
  else if (path[0] == '~')
    expanded = join_paths(r->home, strlen(r->home), path + 2);
  else if (slash)
    expanded = join_paths(r->file.path, (size_t)(slash - r->file.path), path);
  else
    return path;
  free(path);
  return expanded;
}

/* ---- one profile ---- */

static int find_setting(struct str name) {
  for (int i = 0; i < SETTING_COUNT; i++)
    if (str_is(name, setting_rows[i].key))
      return i;
  return -1;
}

static void put_unknown_setting(struct reader *r, const struct profile *profile, struct str name,
                                int line) {
  char text[128];
  char keys[160] = "";
  struct suggestion near;
  suggestion_init(&near, name);
  for (int i = 0; i < SETTING_COUNT; i++) {
    size_t len = strlen(keys);
    snprintf(keys + len, sizeof(keys) - len, "%s%s", i ? ", " : "", setting_rows[i].key);
    suggestion_consider(&near, setting_rows[i].key);
  }
  settings_file_problem(&r->file, line, "profiles.%s.%.*s: unknown key: must be one of %s%s",
                        profile->name, (int)name.len, name.data, keys,
                        settings_file_suggestion(near.best, text, sizeof(text)));
}

static void set_value(struct reader *r, struct profile *profile, enum setting_id id,
                      const yaml_node_t *value) {
  const char *why = "must not hold control characters";
  const char *key = setting_rows[id].key;
  struct str given = settings_file_text(value);
  char *text = NULL;
  if (copy_text(given, &text) && !(why = setting_check(id, text))) {
    if (setting_rows[id].kind == SETTING_IS_FILE)
      text = expand(r, text, &why);
    profile->values[id] = text;
    if (text)
      return;
  } else {
    free(text);
  }
  settings_file_problem(&r->file, profile->lines[id], "profiles.%s.%s: got \"%.*s\": %s",
                        profile->name, key, (int)given.len, given.data, why);
}

static void read_setting(struct reader *r, struct profile *profile, const yaml_node_t *key,
                         const yaml_node_t *value) {
  int line = settings_file_line(key);
  if (key->type != YAML_SCALAR_NODE) {
    settings_file_problem(&r->file, line, "profiles.%s: a key must be a name", profile->name);
    return;
  }
  struct str name = settings_file_text(key);
  int id = find_setting(name);
  if (id < 0) {
    put_unknown_setting(r, profile, name, line);
    return;
  }
  if (profile->lines[id]) {
    settings_file_problem(&r->file, line, "profiles.%s.%s: set twice: first in line %d",
                          profile->name, setting_rows[id].key, profile->lines[id]);
    return;
  }
  profile->lines[id] = line;
  if (value->type != YAML_SCALAR_NODE)
    settings_file_problem(&r->file, line,
                          "profiles.%s.%s: must be a single value, not a list or mapping",
                          profile->name, setting_rows[id].key);
  else if (!settings_file_is_absent(value))
    set_value(r, profile, (enum setting_id)id, value);
}

/* ---- all of them ---- */

static bool is_profile_name(struct str name) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
  for (size_t i = 0; i < name.len; i++)
    if (!name.data[i] || !strchr(letters, name.data[i]))
      return false;
  return name.len > 0 && name.data[0] != '-';
}

static struct profile *add_profile(struct reader *r, const yaml_node_t *key) {
  struct profiles *profiles = r->profiles;
  struct str name = settings_file_text(key);
  int line = settings_file_line(key);
  if (!is_profile_name(name)) {
    settings_file_problem(&r->file, line,
                          "profiles.%.*s: a profile's name has letters, digits, '.', '_' and '-', "
                          "and begins with no '-'",
                          (int)name.len, name.data);
    return NULL;
  }
  struct profile *profile =
      profiles->count < PROFILES_MAX ? &profiles->items[profiles->count] : NULL;
  if (!profile || !copy_text(name, &profile->name)) {
    settings_file_problem(&r->file, line, "profiles.%.*s: out of memory, or above %d profiles",
                          (int)name.len, name.data, PROFILES_MAX);
    return NULL;
  }
  profile->line = line;
  profiles->count++;
  return profile;
}

static void read_profile(struct reader *r, const yaml_node_t *key, const yaml_node_t *body) {
  if (key->type != YAML_SCALAR_NODE) {
    settings_file_problem(&r->file, settings_file_line(key), "profiles: a key must be a name");
    return;
  }
  struct profile *profile = add_profile(r, key);
  if (!profile || settings_file_is_absent(body))
    return;
  if (body->type != YAML_MAPPING_NODE) {
    settings_file_problem(&r->file, profile->line,
                          "profiles.%s: must hold settings, such as \"server: HOST:PORT\", each "
                          "on an indented line",
                          profile->name);
    return;
  }
  for (yaml_node_pair_t *pair = body->data.mapping.pairs.start; pair < body->data.mapping.pairs.top;
       pair++)
    read_setting(r, profile, yaml_document_get_node(r->document, pair->key),
                 yaml_document_get_node(r->document, pair->value));
}

static bool is_repeated(struct reader *r, const yaml_node_t *mapping, const yaml_node_pair_t *pair,
                        const char *parent) {
  const yaml_node_t *earlier = settings_file_earlier(r->document, mapping, pair);
  const yaml_node_t *key = yaml_document_get_node(r->document, pair->key);
  if (!earlier)
    return false;
  struct str name = settings_file_text(key);
  settings_file_problem(&r->file, settings_file_line(key), "%s%.*s: set twice: first in line %d",
                        parent, (int)name.len, name.data, settings_file_line(earlier));
  return true;
}

static void read_profiles(struct reader *r, const yaml_node_t *key, const yaml_node_t *body) {
  if (settings_file_is_absent(body))
    return;
  if (body->type != YAML_MAPPING_NODE) {
    settings_file_problem(&r->file, settings_file_line(key),
                          "profiles: must hold profiles, such as \"prod:\" followed by indented "
                          "lines");
    return;
  }
  size_t room = (size_t)(body->data.mapping.pairs.top - body->data.mapping.pairs.start);
  r->profiles->items =
      calloc(room < PROFILES_MAX ? room + 1 : PROFILES_MAX, sizeof(struct profile));
  if (!r->profiles->items) {
    settings_file_problem(&r->file, 0, "out of memory");
    return;
  }
  for (yaml_node_pair_t *pair = body->data.mapping.pairs.start; pair < body->data.mapping.pairs.top;
       pair++)
    if (!is_repeated(r, body, pair, "profiles."))
      read_profile(r, yaml_document_get_node(r->document, pair->key),
                   yaml_document_get_node(r->document, pair->value));
}

static void read_default(struct reader *r, const yaml_node_t *key, const yaml_node_t *value) {
  int line = settings_file_line(key);
  if (settings_file_is_absent(value))
    return;
  if (value->type != YAML_SCALAR_NODE || !is_profile_name(settings_file_text(value)) ||
      !copy_text(settings_file_text(value), &r->profiles->default_name))
    settings_file_problem(&r->file, line, "default_profile: must be the name of a profile");
  r->profiles->default_line = line;
}

static void read_key(struct reader *r, const yaml_node_t *key, const yaml_node_t *value) {
  struct str name = key->type == YAML_SCALAR_NODE ? settings_file_text(key) : str_z("");
  if (str_is(name, "default_profile")) {
    read_default(r, key, value);
  } else if (str_is(name, "profiles")) {
    read_profiles(r, key, value);
  } else {
    char text[128];
    struct suggestion near;
    suggestion_init(&near, name);
    suggestion_consider(&near, "default_profile");
    suggestion_consider(&near, "profiles");
    settings_file_problem(&r->file, settings_file_line(key),
                          "%.*s: unknown key: must be default_profile or profiles%s", (int)name.len,
                          name.data, settings_file_suggestion(near.best, text, sizeof(text)));
  }
}

static void read_root(void *arg, yaml_document_t *document, const yaml_node_t *root) {
  struct reader *r = arg;
  r->document = document;
  if (settings_file_is_absent(root))
    return;
  if (root->type != YAML_MAPPING_NODE) {
    settings_file_problem(&r->file, settings_file_line(root),
                          "must hold \"default_profile:\" and \"profiles:\"");
    return;
  }
  for (yaml_node_pair_t *pair = root->data.mapping.pairs.start; pair < root->data.mapping.pairs.top;
       pair++)
    if (!is_repeated(r, root, pair, ""))
      read_key(r, yaml_document_get_node(document, pair->key),
               yaml_document_get_node(document, pair->value));
}

static void check_default(struct reader *r) {
  const struct profiles *profiles = r->profiles;
  char text[128];
  if (!profiles->default_name || profiles_find(profiles, profiles->default_name))
    return;
  const char *near = profiles_suggest(profiles, profiles->default_name);
  settings_file_problem(&r->file, profiles->default_line,
                        "default_profile: there is no profile %s%s", profiles->default_name,
                        settings_file_suggestion(near, text, sizeof(text)));
}

int profiles_read(struct profiles *ret_profiles, FILE *in, const char *path, const char *home,
                  FILE *problems) {
  *ret_profiles = (struct profiles){.path = strdup(path)};
  struct reader reader = {
      .profiles = ret_profiles,
      .file = {.problems = problems, .path = path},
      .home = home,
  };
  settings_file_read(&reader.file, in, read_root, &reader);
  check_default(&reader);
  if (!ret_profiles->path)
    settings_file_problem(&reader.file, 0, "out of memory");
  return reader.file.count;
}

void profiles_deinit(struct profiles *profiles) {
  for (size_t i = 0; i < profiles->count; i++) {
    free(profiles->items[i].name);
    for (int id = 0; id < SETTING_COUNT; id++)
      free(profiles->items[i].values[id]);
  }
  free(profiles->items);
  free(profiles->default_name);
  free(profiles->path);
  *profiles = (struct profiles){0};
}

const struct profile *profiles_find(const struct profiles *profiles, const char *name) {
  for (size_t i = 0; i < profiles->count; i++)
    if (strcmp(profiles->items[i].name, name) == 0)
      return &profiles->items[i];
  return NULL;
}

const char *profiles_suggest(const struct profiles *profiles, const char *name) {
  struct suggestion near;
  suggestion_init(&near, str_z(name));
  for (size_t i = 0; i < profiles->count; i++)
    suggestion_consider(&near, profiles->items[i].name);
  return near.best;
}
