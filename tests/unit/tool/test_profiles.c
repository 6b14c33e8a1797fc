#include "profiles.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PATH "/etc/tool/config.yaml"

struct loaded {
  struct profiles profiles;
  int count;
  char *problems;
  size_t size;
};

static void load_with_home(struct loaded *l, const char *yaml, const char *home) {
  *l = (struct loaded){0};
  FILE *in = fmemopen((void *)yaml, strlen(yaml), "r");
  FILE *out = open_memstream(&l->problems, &l->size);
  assert_non_null(in);
  assert_non_null(out);
  l->count = profiles_read(&l->profiles, in, PATH, home, out);
  fclose(in);
  fclose(out);
}

static void load(struct loaded *l, const char *yaml) {
  load_with_home(l, yaml, "/home/alice");
}

static void unload(struct loaded *l) {
  profiles_deinit(&l->profiles);
  free(l->problems);
}

static void all_settings_are_read(void **state) {
  (void)state;
  struct loaded l;
  load(&l,
       "default_profile: prod\n"
       "profiles:\n"
       "  dev:\n"
       "  prod:\n"
       "    server: a.example.com:7443,b.example.com:7443\n"
       "    tls: true\n"
       "    ca_file: ca.pem\n"
       "    cert_file: ~/me.pem\n"
       "    key_file: /keys/me.pem\n"
       "    server_name: audit\n"
       "    token_file: ~/.tokens/prod\n"
       "    timeout: 500ms\n");
  static const char *const wanted[SETTING_COUNT] = {
      [SETTING_SERVER] = "a.example.com:7443,b.example.com:7443",
      [SETTING_TLS] = "true",
      [SETTING_CA] = "/etc/tool/ca.pem",
      [SETTING_CERT] = "/home/alice/me.pem",
      [SETTING_KEY] = "/keys/me.pem",
      [SETTING_SERVER_NAME] = "audit",
      [SETTING_TOKEN] = "/home/alice/.tokens/prod",
      [SETTING_TIMEOUT] = "500ms",
  };
  assert_string_equal(l.problems, "");
  assert_int_equal(l.count, 0);
  assert_int_equal(l.profiles.count, 2);
  assert_string_equal(l.profiles.default_name, "prod");
  assert_int_equal(l.profiles.default_line, 1);
  const struct profile *prod = profiles_find(&l.profiles, "prod");
  assert_non_null(prod);
  for (int id = 0; id < SETTING_COUNT; id++) {
    assert_string_equal(prod->values[id], wanted[id]);
    assert_int_equal(prod->lines[id], 5 + id);
    assert_null(profiles_find(&l.profiles, "dev")->values[id]);
  }
  assert_null(profiles_find(&l.profiles, "test"));
  unload(&l);
}

static void nothing_is_no_error(void **state) {
  (void)state;
  static const char *const files[] = {"",
                                      "# a comment\n",
                                      "---\n",
                                      "profiles:\n",
                                      "profiles: {}\n",
                                      "profiles: {a: }\n",
                                      "default_profile:\nprofiles: {a: {server: }}\n"};
  for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
    struct loaded l;
    load(&l, files[i]);
    assert_string_equal(l.problems, "");
    assert_null(l.profiles.default_name);
    unload(&l);
  }
}

/* Each line of `expected` is a problem, in this order, without "PATH:". */
static void expect(const char *yaml, const char *home, const char *expected) {
  struct loaded l;
  char wanted[4096] = "";
  int count = 0;
  for (const char *line = expected; *line; line += strcspn(line, "\n") + 1, count++) {
    size_t used = strlen(wanted);
    snprintf(wanted + used, sizeof(wanted) - used, PATH ":%.*s\n", (int)strcspn(line, "\n"), line);
  }
  load_with_home(&l, yaml, home);
  if (l.count != count || strcmp(l.problems, wanted) != 0)
    fail_msg("for:\n%s\nexpected:\n%sgot %d:\n%s", yaml, wanted, l.count, l.problems);
  unload(&l);
}

#define ALL_KEYS "server, tls, ca_file, cert_file, key_file, server_name, token_file, timeout"

static const struct {
  const char *yaml;
  const char *expected;
} cases[] = {
    {"profile: x\n",
     "1: profile: unknown key: must be default_profile or profiles (did you mean "
     "profiles?)\n"},
    {"colour: x\n", "1: colour: unknown key: must be default_profile or profiles\n"},
    {"[a]: x\n", "1: : unknown key: must be default_profile or profiles\n"},
    {"- a\n", "1: must hold \"default_profile:\" and \"profiles:\"\n"},
    {"text\n", "1: must hold \"default_profile:\" and \"profiles:\"\n"},
    {"profiles: [a]\n",
     "1: profiles: must hold profiles, such as \"prod:\" followed by indented lines\n"},
    {"profiles: 5\n",
     "1: profiles: must hold profiles, such as \"prod:\" followed by indented lines\n"},
    {"profiles: {}\nprofiles: {}\n", "2: profiles: set twice: first in line 1\n"},
    {"default_profile: a\ndefault_profile: a\nprofiles: {a: }\n",
     "2: default_profile: set twice: first in line 1\n"},
    {"default_profile: [a]\nprofiles: {a: }\n",
     "1: default_profile: must be the name of a profile\n"},
    {"default_profile: 'a b'\n", "1: default_profile: must be the name of a profile\n"},
    {"default_profile: prdo\nprofiles:\n  prod:\n",
     "1: default_profile: there is no profile prdo (did you mean prod?)\n"},
    {"default_profile: prod\n", "1: default_profile: there is no profile prod\n"},
    {"profiles:\n  a:\n  a:\n", "3: profiles.a: set twice: first in line 2\n"},
    {"profiles:\n  a b:\n",
     "2: profiles.a b: a profile's name has letters, digits, '.', '_' and "
     "'-', and begins with no '-'\n"},
    {"profiles:\n  -a:\n",
     "2: profiles.-a: a profile's name has letters, digits, '.', '_' and "
     "'-', and begins with no '-'\n"},
    {"profiles:\n  \"\": {}\n",
     "2: profiles.: a profile's name has letters, digits, '.', '_' and "
     "'-', and begins with no '-'\n"},
    {"profiles:\n  \"a\\0b\": {}\n",
     "2: profiles.a: a profile's name has letters, digits, '.', '_' and '-', and begins with no "
     "'-'\n"},
    {"profiles:\n  ? [a]\n  : {}\n", "2: profiles: a key must be a name\n"},
    {"profiles:\n  a: 5\n",
     "2: profiles.a: must hold settings, such as \"server: HOST:PORT\", "
     "each on an indented line\n"},
    {"profiles:\n  a: [tls]\n",
     "2: profiles.a: must hold settings, such as \"server: "
     "HOST:PORT\", each on an indented line\n"},
    {"profiles:\n  a:\n    ? [b]\n    : c\n", "3: profiles.a: a key must be a name\n"},
    {"profiles:\n  a:\n    cafile: x\n",
     "3: profiles.a.cafile: unknown key: must be one of " ALL_KEYS " (did you mean ca_file?)\n"},
    {"profiles:\n  a:\n    token: x\n",
     "3: profiles.a.token: unknown key: must be one of " ALL_KEYS "\n"},
    {"profiles:\n  a:\n    tls: true\n    tls: true\n",
     "4: profiles.a.tls: set twice: first in line 3\n"},
    {"profiles:\n  a:\n    tls: [true]\n",
     "3: profiles.a.tls: must be a single value, not a list or mapping\n"},
    {"profiles:\n  a:\n    tls: yes\n", "3: profiles.a.tls: got \"yes\": must be true or false\n"},
    {"profiles:\n  a:\n    timeout: 10\n",
     "3: profiles.a.timeout: got \"10\": must be a time such as 500ms, 10s or 2m\n"},
    {"profiles:\n  a:\n    timeout: 0s\n",
     "3: profiles.a.timeout: got \"0s\": must be a time such as 500ms, 10s or 2m\n"},
    {"profiles:\n  a:\n    timeout: 100d\n",
     "3: profiles.a.timeout: got \"100d\": must be a time such as 500ms, 10s or 2m\n"},
    {"profiles:\n  a:\n    server: ''\n",
     "3: profiles.a.server: got \"\": must be HOST:PORT, [IPV6]:PORT or unix:/PATH\n"},
    {"profiles:\n  a:\n    server_name: ''\n",
     "3: profiles.a.server_name: got \"\": must not be empty\n"},
    {"profiles:\n  a:\n    ca_file: ''\n",
     "3: profiles.a.ca_file: got \"\": must be the path of a file\n"},
    {"profiles:\n  a:\n    ca_file: ~bob/ca.pem\n",
     "3: profiles.a.ca_file: got \"~bob/ca.pem\": only ~/ stands for a home folder\n"},
    {"profiles:\n  a:\n    ca_file: \"a\\nb\"\n",
     "3: profiles.a.ca_file: got \"a?b\": must not hold control characters\n"},
    {"profiles:\n  a:\n    ca_file: \"a\\0b\"\n",
     "3: profiles.a.ca_file: got \"a\": must not hold control characters\n"},
    {"profiles: {a: {}}\n---\nprofiles: {b: {}}\n",
     "2: a second document: all settings must be in one\n"},
    {"profiles: {a: {}\n", "2: not YAML: did not find expected ',' or '}'\n"},
    {"profiles:\n\ta:\n", "2: not YAML: found character that cannot start any token\n"},
    /* All at once. */
    {"default_profile: c\nprofiles:\n  a:\n    tls: maybe\n    colour: red\n  b:\n    timeout: "
     "x\n",
     "4: profiles.a.tls: got \"maybe\": must be true or false\n"
     "5: profiles.a.colour: unknown key: must be one of " ALL_KEYS "\n"
     "7: profiles.b.timeout: got \"x\": must be a time such as 500ms, 10s or 2m\n"
     "1: default_profile: there is no profile c\n"},
};

static void each_kind_of_mistake_has_its_message(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
    expect(cases[i].yaml, "/home/alice", cases[i].expected);
}

static void a_home_folder_is_needed_only_for_paths_in_it(void **state) {
  (void)state;
  expect("profiles:\n  a:\n    ca_file: ~/ca.pem\n", NULL,
         "3: profiles.a.ca_file: got \"~/ca.pem\": ~/ needs HOME, which isn't set\n");
  expect("profiles:\n  a:\n    ca_file: ca.pem\n", NULL, "");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(all_settings_are_read),
      cmocka_unit_test(nothing_is_no_error),
      cmocka_unit_test(each_kind_of_mistake_has_its_message),
      cmocka_unit_test(a_home_folder_is_needed_only_for_paths_in_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
