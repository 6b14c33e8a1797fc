#include "base/clock.h"
#include "config/config.h"
#include "config/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct loaded {
  struct config config;
  int rc;
  char *problems;
  size_t problems_len;
  char path[64];
};

static void load(struct loaded *l, const char *yaml, const char *override) {
  *l = (struct loaded){0};
  snprintf(l->path, sizeof(l->path), "/tmp/test_config.XXXXXX");
  int fd = mkstemp(l->path);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, yaml, strlen(yaml)), (ssize_t)strlen(yaml));
  close(fd);
  const struct config_input input = {
      .path = l->path, .overrides = &override, .override_count = override != NULL};
  FILE *out = open_memstream(&l->problems, &l->problems_len);
  l->rc = config_load(&l->config, &input, out);
  fclose(out);
}

static void unload(struct loaded *l) {
  if (l->rc == 0)
    config_deinit(&l->config);
  free(l->problems);
  unlink(l->path);
}

/* The whole message is "PATH:expected" on one line of its own. */
static void expect_problem(const char *yaml, const char *expected) {
  struct loaded l;
  char line[512];
  load(&l, yaml, NULL);
  snprintf(line, sizeof(line), "%s:%s\n", l.path, expected);
  if (l.rc == 0 || strcmp(l.problems, line) != 0)
    fail_msg("for:\n%s\nexpected %sgot %d %s", yaml, line, l.rc, l.problems);
  unload(&l);
}

static void each_kind_of_bad_input_has_its_message(void **state) {
  (void)state;
  expect_problem("server:\n  max_connections: many\n",
                 "2: server.max_connections: got \"many\": must be a whole number from 1 to 100000");
  expect_problem("server:\n  max_connections: -1\n",
                 "2: server.max_connections: got \"-1\": must be a whole number from 1 to 100000");
  expect_problem("database:\n  max_open_conns: 1001\n",
                 "2: database.max_open_conns: got \"1001\": must be a whole number from 1 to 1000");
  expect_problem("database:\n  max_open_con: 7\n",
                 "2: database.max_open_con: unknown key (did you mean max_open_conns?)");
  expect_problem("databse:\n  port: 7\n", "1: databse: unknown section (did you mean database?)");
  expect_problem("xyzzy: 1\n", "1: xyzzy: unknown section");
  expect_problem("database:\n  port: 1\n  port: 2\n",
                 "3: database.port: set twice: first in line 2");
  expect_problem("database:\n  maxOpenConns: 3\n  max_open_conns: 4\n",
                 "3: database.max_open_conns: set twice: first in line 2");
  expect_problem("database: 5\n", "1: database: must hold keys, such as \"database:\" followed by "
                                  "indented lines");
  expect_problem("database:\n  port: [1]\n",
                 "2: database.port: must be a single value, not a list or mapping");
  expect_problem("- 1\n", "1: must hold sections, such as \"server:\"");
  expect_problem("database:\n  sslmode: maybe\n",
                 "2: database.sslmode: got \"maybe\": must be one of disable, allow, prefer, require, "
                 "verify-ca, verify-full");
  expect_problem("server:\n  listen: \"\"\n",
                 "2: server.listen: got \"\": must be a text of 1 to 255 bytes");
}

static void durations_need_units_and_stay_in_range(void **state) {
  (void)state;
  static const char *const bad[] = {"5", "5mm", "1e9h", "-1s", "s", "1s5", "999999999999999h", "off"};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    char yaml[128];
    char expected[256];
    snprintf(yaml, sizeof(yaml), "database:\n  acquire_timeout: %s\n", bad[i]);
    snprintf(expected, sizeof(expected),
             "2: database.acquire_timeout: got \"%s\": must be a duration with units, such as 250ms, "
             "10s, 5m or 1h30m, from 10ms to 5m",
             bad[i]);
    expect_problem(yaml, expected);
  }
}

static void rules_between_keys_are_checked(void **state) {
  (void)state;
  expect_problem("database:\n  connect_backoff_min: 20s\n",
                 "2: database.connect_backoff_min: must not be above database.connect_backoff_max");
  expect_problem("ingest:\n  lanes: 3\ndatabase:\n  max_open_conns: 3\n  max_idle_conns: 1\n",
                 "2: ingest.lanes: must be below database.max_open_conns, so that readers get one");
  expect_problem("query:\n  default_page_size: 2000\n",
                 "2: query.default_page_size: must not be above query.max_page_size");
}

static void all_problems_are_told_at_once(void **state) {
  (void)state;
  struct loaded l;
  load(&l, "server:\n  max_connections: x\n  nope: 1\ndatabase:\n  port: 0x10\n", "ingest.lanes=no");
  assert_int_equal(l.rc, ERR_INVALID_ARGUMENT);
  int lines = 0;
  for (const char *p = l.problems; *p; p++)
    lines += *p == '\n';
  assert_int_equal(lines, 4);
  assert_non_null(strstr(l.problems, "--set: ingest.lanes: got \"no\""));
  unload(&l);
}

static void values_reach_the_struct_in_its_units(void **state) {
  (void)state;
  struct loaded l;
  load(&l,
       "database:\n  maxOpenConns: 7\n  conn_max_lifetime: off\n  max_idle_conns: off\n"
       "  acquire_timeout: 1m30s\nserver:\n  max_message_bytes: 1MiB\nlog:\n  level: debug\n"
       "  format: json\n",
       "database.host=db.example");
  assert_int_equal(l.rc, 0);
  assert_int_equal(l.config.database.max_open_conns, 7);
  assert_int_equal(l.config.database.max_idle_conns, 0);
  assert_true(l.config.database.conn_max_lifetime_us == CLOCK_NEVER);
  assert_int_equal(l.config.database.acquire_timeout_us, 90000000);
  assert_int_equal(l.config.server.max_message_bytes, 1048576);
  assert_int_equal(l.config.log.level, LOG_DEBUG);
  assert_int_equal(l.config.log.format, LOG_JSON);
  assert_string_equal(l.config.database.host, "db.example");
  unload(&l);
}

static void absent_empty_and_zero_mean_the_default(void **state) {
  (void)state;
  struct loaded l;
  load(&l, "database:\n  max_open_conns: 0\n  acquire_timeout: 0\n  port:\nquery:\n", NULL);
  assert_int_equal(l.rc, 0);
  assert_int_equal(l.config.database.max_open_conns, 25);
  assert_int_equal(l.config.database.acquire_timeout_us, 5000000);
  assert_int_equal(l.config.database.port, 5432);
  unload(&l);
}

static void idle_above_open_is_clamped_and_said(void **state) {
  (void)state;
  struct loaded l;
  load(&l, "database:\n  max_open_conns: 4\n  max_idle_conns: 9\n", NULL);
  assert_int_equal(l.rc, 0);
  assert_int_equal(l.config.database.max_idle_conns, 4);
  assert_non_null(strstr(l.problems, "warning: above max_open_conns: clamped"));
  char *printed = NULL;
  size_t len = 0;
  FILE *out = open_memstream(&printed, &len);
  config_print(&l.config, out);
  fclose(out);
  assert_non_null(strstr(printed, "database.max_idle_conns = 4  # clamped\n"));
  free(printed);
  unload(&l);
}

static void an_idle_time_that_never_fires_is_warned_of(void **state) {
  (void)state;
  struct loaded l;
  load(&l, "database:\n  conn_max_lifetime: 5m\n  conn_max_idle_time: 10m\n", NULL);
  assert_int_equal(l.rc, 0);
  assert_non_null(strstr(l.problems, "can never fire"));
  unload(&l);
}

/* Prints every value and sets it again: the same must come out. */
static void every_key_round_trips(void **state) {
  (void)state;
  struct loaded l;
  load(&l, "", NULL);
  assert_int_equal(l.rc, 0);
  for (int i = 0; i < config_key_count; i++) {
    char before[CONFIG_VALUE_TEXT_SIZE];
    char after[CONFIG_VALUE_TEXT_SIZE];
    const char *tries[] = {NULL, config_keys[i].max_text, config_keys[i].may_be_off ? "off" : NULL};
    struct error err = {0};
    bool is_number = config_keys[i].kind < CONFIG_TEXT;
    for (size_t t = 0; t < sizeof(tries) / sizeof(tries[0]); t++) {
      if (tries[t] && is_number)
        assert_int_equal(
            config_set_value(&l.config, &config_keys[i], str_z(tries[t]), &err), 0);
      config_format_value(&l.config, &config_keys[i], before);
      assert_int_equal(config_set_value(&l.config, &config_keys[i], str_z(before), &err), 0);
      config_format_value(&l.config, &config_keys[i], after);
      assert_string_equal(before, after);
    }
  }
  unload(&l);
}

typedef void print_fn(FILE *out);

static void expect_file(const char *name, print_fn *print) {
  char path[4096];
  const char *root = getenv("AUDITSTORE_SOURCE_DIR");
  assert_non_null(root);
  snprintf(path, sizeof(path), "%s/%s", root, name);
  char *printed = NULL;
  size_t len = 0;
  FILE *out = open_memstream(&printed, &len);
  print(out);
  fclose(out);
  FILE *file = fopen(path, "re");
  assert_non_null(file);
  char *stored = calloc(1, len + 2);
  size_t got = fread(stored, 1, len + 1, file);
  fclose(file);
  if (got != len || memcmp(stored, printed, len) != 0)
    fail_msg("%s is not what the table says: make it anew with auditstored --print-config-…", name);
  free(stored);
  free(printed);
}

static void generated_files_are_current(void **state) {
  (void)state;
  expect_file("config/auditstore.yaml", config_print_example);
  expect_file("docs/configuration.md", config_print_reference);
}

static void the_example_file_holds_the_defaults(void **state) {
  (void)state;
  char *example = NULL;
  size_t len = 0;
  FILE *out = open_memstream(&example, &len);
  config_print_example(out);
  fclose(out);
  struct loaded l;
  struct loaded defaults;
  load(&l, example, NULL);
  load(&defaults, "", NULL);
  assert_int_equal(l.rc, 0);
  for (int i = 0; i < config_key_count; i++) {
    char a[CONFIG_VALUE_TEXT_SIZE];
    char b[CONFIG_VALUE_TEXT_SIZE];
    config_format_value(&l.config, &config_keys[i], a);
    config_format_value(&defaults.config, &config_keys[i], b);
    assert_string_equal(a, b);
  }
  unload(&l);
  unload(&defaults);
  free(example);
}

static void no_prefix_of_a_file_does_harm(void **state) {
  (void)state;
  char *example = NULL;
  size_t len = 0;
  FILE *out = open_memstream(&example, &len);
  config_print_example(out);
  fclose(out);
  for (size_t cut = 0; cut < len; cut += 7) {
    struct loaded l;
    char kept = example[cut];
    example[cut] = '\0';
    load(&l, example, NULL);
    example[cut] = kept;
    assert_true(l.rc == 0 || l.problems_len > 0);
    unload(&l);
  }
  free(example);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_kind_of_bad_input_has_its_message),
      cmocka_unit_test(durations_need_units_and_stay_in_range),
      cmocka_unit_test(rules_between_keys_are_checked),
      cmocka_unit_test(all_problems_are_told_at_once),
      cmocka_unit_test(values_reach_the_struct_in_its_units),
      cmocka_unit_test(absent_empty_and_zero_mean_the_default),
      cmocka_unit_test(idle_above_open_is_clamped_and_said),
      cmocka_unit_test(an_idle_time_that_never_fires_is_warned_of),
      cmocka_unit_test(every_key_round_trips),
      cmocka_unit_test(generated_files_are_current),
      cmocka_unit_test(the_example_file_holds_the_defaults),
      cmocka_unit_test(no_prefix_of_a_file_does_harm),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
