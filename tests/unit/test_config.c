#include "config_fixture.h"

#include "base/clock.h"
#include "config/table.h"

#include <ctype.h>

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
  expect_problem(
      "server:\n  max_connections: many\n",
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
  expect_problem("database: 5\n",
                 "1: database: must hold keys, such as \"database:\" followed by "
                 "indented lines");
  expect_problem("database:\n  port: [1]\n",
                 "2: database.port: must be a single value, not a list or mapping");
  expect_problem("- 1\n", "1: must hold sections, such as \"server:\"");
  expect_problem(
      "database:\n  sslmode: maybe\n",
      "2: database.sslmode: got \"maybe\": must be one of disable, allow, prefer, require, "
      "verify-ca, verify-full");
  expect_problem("database:\n  host: \"\"\n",
                 "2: database.host: got \"\": must be a list of 1 to 8 hosts, such as "
                 "db1,db2:5433,[::1]:5434,/run/postgresql");
  expect_problem("server:\n  listen: \"\"\n",
                 "2: server.listen: got \"\": must be an address of host:port or [IPv6]:port, with "
                 "a port from 0 to 65535");
}

static void values_below_the_minimum_are_refused(void **state) {
  (void)state;
  expect_problem(
      "server:\n  max_message_bytes: 65535\n",
      "2: server.max_message_bytes: got \"65535\": must be a size, such as 64KiB or 4MiB, "
      "from 64KiB to 64MiB");
  expect_problem(
      "database:\n  conn_max_lifetime: 999ms\n",
      "2: database.conn_max_lifetime: got \"999ms\": must be a duration with units, such "
      "as 250ms, 10s, 5m or 1h30m, from 1s to 168h, or off");
}

static void durations_need_units_and_stay_in_range(void **state) {
  (void)state;
  static const char *const bad[] = {"5",   "5mm",  "1e9h",  "-1s",   "s", "1s5", "999999999999999h",
                                    "off", "1m1m", "1ms1s", "1m1s1m"};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    char yaml[128];
    char expected[256];
    snprintf(yaml, sizeof(yaml), "database:\n  acquire_timeout: %s\n", bad[i]);
    snprintf(
        expected, sizeof(expected),
        "2: database.acquire_timeout: got \"%s\": must be a duration with units, such as 250ms, "
        "10s, 5m or 1h30m, from 10ms to 5m",
        bad[i]);
    expect_problem(yaml, expected);
  }
}

static void rules_between_keys_are_checked(void **state) {
  (void)state;
  expect_problem("database:\n  connect_backoff_min: 20s\n",
                 "2: database.connect_backoff_min: got \"20s\": must not be above "
                 "database.connect_backoff_max");
  expect_problem(
      "ingest:\n  lanes: 3\ndatabase:\n  max_open_conns: 3\n  max_idle_conns: 1\n",
      "2: ingest.lanes: got \"3\": must be below database.max_open_conns, so that readers get one");
  expect_problem("query:\n  default_page_size: 2000\n",
                 "2: query.default_page_size: got \"2000\": must not be above query.max_page_size");
}

static void the_windows_and_queues_of_a_server_fit_one_another(void **state) {
  (void)state;
  expect_problem("server:\n  stream_window_bytes: 32MiB\n",
                 "2: server.stream_window_bytes: got \"32MiB\": must not be above "
                 "server.connection_window_bytes");
  expect_problem("ingest:\n  max_request_events: 30\n  max_queue_events: 20\n",
                 "2: ingest.max_request_events: got \"30\": must not be above "
                 "ingest.max_queue_events");
  expect_problem("ingest:\n  max_queue_bytes: 1MiB\n",
                 "2: ingest.max_queue_bytes: got \"1MiB\": must not be below "
                 "server.max_message_bytes");
}

static void one_connection_is_shared_by_lanes_and_readers(void **state) {
  (void)state;
  struct loaded l;
  load(&l, "database:\n  max_open_conns: 1\n  max_idle_conns: 1\ningest:\n  lanes: 2\n", NULL);
  assert_int_equal(l.rc, 0);
  assert_string_equal(l.problems, "");
  unload(&l);
}

static void an_address_to_listen_on_is_checked(void **state) {
  (void)state;
  static const char *const bad[] = {"localhost", ":7443",    "h:",   "h:x",     "h:65536",
                                    "h:-1",      "::1:7443", "[]:1", "h:000080"};
  static const char *const good[] = {"0.0.0.0:0", "[::1]:7443", "localhost:65535"};
  char text[256];
  char expected[256];
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    snprintf(text, sizeof(text), "server:\n  listen: \"%s\"\n", bad[i]);
    snprintf(expected, sizeof(expected),
             "2: server.listen: got \"%s\": must be an address of host:port or "
             "[IPv6]:port, with a port from 0 to 65535",
             bad[i]);
    expect_problem(text, expected);
  }
  for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
    struct loaded l;
    snprintf(text, sizeof(text), "server.listen=%s", good[i]);
    load(&l, "", text);
    assert_int_equal(l.rc, 0);
    assert_string_equal(l.config.server.listen, good[i]);
    unload(&l);
  }
}

static void nothing_in_a_file_is_ignored_in_silence(void **state) {
  (void)state;
  expect_problem("database:\n  port: 1\nlog:\n  level: warn\ndatabase:\n  name: x\n",
                 "5: database: section given twice: first in line 1");
  expect_problem("database:\n  port: 1\n---\ndatabase:\n  port: 2\n",
                 "3: a second document: all settings must be in one");
  expect_problem("database:\n  port: 1\n...\n}{\n",
                 "4: not YAML: did not find expected <document start>");
}

static void misspelled_names_are_recognised(void **state) {
  (void)state;
  expect_problem("database:\n  maxOpenCons: 3\n",
                 "2: database.maxOpenCons: unknown key (did you mean max_open_conns?)");
  expect_problem("database:\n  connMaxIdelTim: 3m\n",
                 "2: database.connMaxIdelTim: unknown key (did you mean conn_max_idle_time?)");
  expect_problem("database:\n  prot: 3\n", "2: database.prot: unknown key (did you mean port?)");
  expect_problem("database:\n  colour: 3\n", "2: database.colour: unknown key");
  struct loaded l;
  load(&l, "", "databse.port=3");
  assert_string_equal(l.problems, "--set: databse: unknown section (did you mean database?)\n");
  unload(&l);
}

static void what_is_quoted_from_a_file_stays_on_its_line(void **state) {
  (void)state;
  expect_problem("database:\n  port: \"1\\nx.yaml:1: log: hi\"\n",
                 "2: database.port: got \"1?x.yaml:1: log: hi\": must be a whole number from 1 to "
                 "65535");
  expect_problem("database:\n  \"po\\e[31m\": 1\n", "2: database.po?[31m: unknown key");
}

static void what_cannot_be_read_says_why(void **state) {
  (void)state;
  expect_problem("server:\n  port_file: \xff\n",
                 " not YAML: invalid leading UTF-8 octet at byte 21");
  expect_problem("server:\n  listen: [a\n", "3: not YAML: did not find expected ',' or ']'");
  static const char *const paths[][2] = {
      {"/tmp", "/tmp: can't be read: Is a directory\n"},
      {"/nonexistent/a.yaml", "/nonexistent/a.yaml: No such file or directory\n"}};
  for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
    char *problems = NULL;
    size_t len = 0;
    struct config config = {0};
    const struct config_input input = {.path = paths[i][0]};
    FILE *out = open_memstream(&problems, &len);
    assert_int_equal(config_load(&config, &input, out), ERR_INVALID_ARGUMENT);
    fclose(out);
    assert_string_equal(problems, paths[i][1]);
    assert_null(config.arena);
    free(problems);
  }
}

static void the_command_line_wins_over_the_file(void **state) {
  (void)state;
  struct loaded l;
  load(&l, "database:\n  port: 1\n", "database.port=2");
  assert_int_equal(l.rc, 0);
  assert_int_equal(l.config.database.port, 2);
  char *printed = NULL;
  size_t len = 0;
  FILE *out = open_memstream(&printed, &len);
  config_print(&l.config, out);
  fclose(out);
  assert_non_null(strstr(printed, "database.port = 2  # command line\n"));
  assert_non_null(strstr(printed, "database.name = auditstore  # default\n"));
  free(printed);
  unload(&l);
  load(&l, "", "database.port");
  assert_string_equal(l.problems, "--set: database.port: must be section.key=value\n");
  unload(&l);
}

static void all_problems_are_told_at_once(void **state) {
  (void)state;
  struct loaded l;
  load(&l, "server:\n  listen: nowhere\n  max_connections: x\n  nope: 1\ndatabase:\n  port: 0x10\n",
       "ingest.lanes=no");
  assert_int_equal(l.rc, ERR_INVALID_ARGUMENT);
  int lines = 0;
  for (const char *p = l.problems; *p; p++)
    lines += *p == '\n';
  assert_int_equal(lines, 5);
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
  load(&l,
       "database:\n  max_open_conns: 0\n  acquire_timeout: 0\n  port:\n  host: ~\nquery:\nserver:\n"
       "  port_file: null\n",
       NULL);
  assert_int_equal(l.rc, 0);
  assert_int_equal(l.config.database.max_open_conns, 25);
  assert_int_equal(l.config.database.acquire_timeout_us, 5000000);
  assert_int_equal(l.config.database.port, 5432);
  assert_string_equal(l.config.database.host, "127.0.0.1");
  assert_string_equal(l.config.server.port_file, "");
  unload(&l);
}

static void rules_run_beside_bad_values(void **state) {
  (void)state;
  struct loaded l;
  load(&l,
       "database:\n  port: x\n  min_idle_conns: 6\n  sslcert: a.pem\n  connect_backoff_min: 1h\n"
       "  connect_backoff_max: 1s\ningest:\n  lanes: 16\n",
       "database.max_open_conns=12");
  assert_int_equal(l.rc, ERR_INVALID_ARGUMENT);
  int lines = 0;
  for (const char *p = l.problems; *p; p++)
    lines += *p == '\n';
  assert_int_equal(lines, 5); /* no rule about connect_backoff_min, which is bad itself */
  assert_non_null(strstr(l.problems, "port: got \"x\""));
  assert_non_null(strstr(l.problems, "connect_backoff_min: got \"1h\": must be a duration"));
  assert_non_null(strstr(l.problems,
                         ":3: database.min_idle_conns: got \"6\": must not be above "
                         "database.max_idle_conns\n"));
  assert_non_null(
      strstr(l.problems, ":4: database.sslcert: got \"a.pem\": needs database.sslkey as well\n"));
  assert_non_null(
      strstr(l.problems, ":8: ingest.lanes: got \"16\": must be below database.max_open_conns"));
  unload(&l);
  expect_problem("database:\n  sslkey: k\n",
                 "2: database.sslkey: got \"k\": needs database.sslcert as well");
}

static void a_lax_sslmode_to_a_remote_host_is_warned_of(void **state) {
  (void)state;
  static const struct {
    const char *override;
    bool is_warned;
  } cases[] = {
      {"database.host=127.0.0.1", false},
      {"database.host=/run/postgresql,localhost,[::1]:3", false},
      {"database.host=127.0.0.1,db", true},
      {"database.host=10.0.0.1", true},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct loaded l;
    load(&l, "", cases[i].override);
    assert_int_equal(l.rc, 0);
    assert_int_equal(strstr(l.problems, "sslmode: warning: doesn't prove") != NULL,
                     cases[i].is_warned);
    unload(&l);
  }
}

static void a_variable_that_nobody_replaced_is_refused(void **state) {
  (void)state;
  static const char *const bad[] = {"${DB}",        "${DB:-audit}", "$DB",
                                    "/etc/${DB}/x", "$DB/x",        "a${DB"};
  static const char *const good[] = {"a$b", "$", "${}", "$1", "${1}", "a$", "{DB}", "%DB%"};
  char text[128];
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    snprintf(text, sizeof(text), "database:\n  name: \"%s\"\n", bad[i]);
    expect_problem(text,
                   "2: database.name: holds the variable DB, and variables aren't replaced "
                   "here: write the value itself, or start with --set database.name=\"$DB\", "
                   "where the shell does");
  }
  expect_problem("database:\n  port: ${PORT}\n",
                 "2: database.port: holds the variable PORT, and variables aren't replaced here: "
                 "write the value itself, or start with --set database.port=\"$PORT\", where the "
                 "shell does");
  for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
    struct loaded l;
    snprintf(text, sizeof(text), "database.name=%s", good[i]);
    load(&l, "", text);
    assert_int_equal(l.rc, 0);
    unload(&l);
  }
}

static void some_durations_are_whole_seconds(void **state) {
  (void)state;
  expect_problem("database:\n  tcp_keepalive_idle: 1500ms\n",
                 "2: database.tcp_keepalive_idle: got \"1500ms\": must be a duration in whole "
                 "seconds, such as 10s, 5m or 1h30m, from 1s to 2h");
}

static void a_percentage_needs_its_sign(void **state) {
  (void)state;
  struct loaded l;
  expect_problem("database:\n  conn_lifetime_jitter: 10\n",
                 "2: database.conn_lifetime_jitter: got \"10\": must be a percentage, such as "
                 "10%, from 1% to 50%, or off");
  expect_problem("database:\n  conn_lifetime_jitter: 51%\n",
                 "2: database.conn_lifetime_jitter: got \"51%\": must be a percentage, such as "
                 "10%, from 1% to 50%, or off");
  load(&l, "database:\n  conn_lifetime_jitter: off\n", NULL);
  assert_int_equal(l.config.database.conn_lifetime_jitter, 0);
  unload(&l);
  load(&l, "database:\n  conn_lifetime_jitter: 0\n", NULL);
  assert_int_equal(l.config.database.conn_lifetime_jitter, 10);
  unload(&l);
}

/* "max_open_conns" -> "maxOpenConns" */
static void to_camel(const char *snake, char *ret_text) {
  for (; *snake; snake++, ret_text++) {
    *ret_text = *snake;
    if (*snake == '_')
      *ret_text = (char)toupper((unsigned char)*++snake);
  }
  *ret_text = '\0';
}

static void the_table_is_sound_and_takes_both_spellings(void **state) {
  (void)state;
  for (int i = 0; i < config_key_count; i++) {
    const struct config_key *key = &config_keys[i];
    char camel[64];
    to_camel(key->name, camel);
    assert_int_equal(config_find_key(str_z(key->section), str_z(key->name)), i);
    assert_int_equal(config_find_key(str_z(key->section), str_z(camel)), i);
    assert_int_equal(key->help[strlen(key->help) - 1], '.');
    assert_null(strchr(key->help, '|'));
    struct error err = {0};
    struct loaded l;
    load(&l, "", NULL);
    /* `off` is taken where the table says so, and by no other number. */
    if (key->kind < CONFIG_TEXT)
      assert_int_equal(config_set_value(&l.config, key, str_z("off"), &err) == 0, key->may_be_off);
    if (key->kind < CONFIG_TEXT)
      assert_int_equal(config_set_value(&l.config, key, str_z(key->min_text), &err), 0);
    unload(&l);
  }
}

static void the_shipped_files_are_good(void **state) {
  (void)state;
  static const char *const names[] = {"auditstore", "dev", "production"};
  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
    char path[4096];
    const char *root = getenv("AUDITSTORE_SOURCE_DIR");
    assert_non_null(root);
    snprintf(path, sizeof(path), "%s/config/%s.yaml", root, names[i]);
    char *problems = NULL;
    size_t len = 0;
    struct config config;
    const struct config_input input = {.path = path};
    FILE *out = open_memstream(&problems, &len);
    int rc = config_load(&config, &input, out);
    fclose(out);
    assert_string_equal(problems, "");
    assert_int_equal(rc, 0);
    config_deinit(&config);
    free(problems);
  }
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
  char expected[128];
  snprintf(expected, sizeof(expected), "database.max_idle_conns = 4  # clamped from 9, %s:3\n",
           l.path);
  assert_non_null(strstr(printed, expected));
  free(printed);
  unload(&l);
  /* The default above a smaller limit is nobody's mistake. */
  load(&l, "database:\n  max_open_conns: 4\n", NULL);
  assert_int_equal(l.config.database.max_idle_conns, 4);
  assert_string_equal(l.problems, "");
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
    char before[CONFIG_VALUE_SIZE];
    char after[CONFIG_VALUE_SIZE];
    const char *tries[] = {NULL, config_keys[i].max_text, config_keys[i].may_be_off ? "off" : NULL};
    struct error err = {0};
    bool is_number = config_keys[i].kind < CONFIG_TEXT;
    for (size_t t = 0; t < sizeof(tries) / sizeof(tries[0]); t++) {
      if (tries[t] && is_number)
        assert_int_equal(config_set_value(&l.config, &config_keys[i], str_z(tries[t]), &err), 0);
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
    char a[CONFIG_VALUE_SIZE];
    char b[CONFIG_VALUE_SIZE];
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
      cmocka_unit_test(values_below_the_minimum_are_refused),
      cmocka_unit_test(durations_need_units_and_stay_in_range),
      cmocka_unit_test(rules_between_keys_are_checked),
      cmocka_unit_test(the_windows_and_queues_of_a_server_fit_one_another),
      cmocka_unit_test(one_connection_is_shared_by_lanes_and_readers),
      cmocka_unit_test(an_address_to_listen_on_is_checked),
      cmocka_unit_test(nothing_in_a_file_is_ignored_in_silence),
      cmocka_unit_test(misspelled_names_are_recognised),
      cmocka_unit_test(what_is_quoted_from_a_file_stays_on_its_line),
      cmocka_unit_test(what_cannot_be_read_says_why),
      cmocka_unit_test(the_command_line_wins_over_the_file),
      cmocka_unit_test(all_problems_are_told_at_once),
      cmocka_unit_test(values_reach_the_struct_in_its_units),
      cmocka_unit_test(absent_empty_and_zero_mean_the_default),
      cmocka_unit_test(rules_run_beside_bad_values),
      cmocka_unit_test(a_lax_sslmode_to_a_remote_host_is_warned_of),
      cmocka_unit_test(a_variable_that_nobody_replaced_is_refused),
      cmocka_unit_test(some_durations_are_whole_seconds),
      cmocka_unit_test(a_percentage_needs_its_sign),
      cmocka_unit_test(the_table_is_sound_and_takes_both_spellings),
      cmocka_unit_test(the_shipped_files_are_good),
      cmocka_unit_test(idle_above_open_is_clamped_and_said),
      cmocka_unit_test(an_idle_time_that_never_fires_is_warned_of),
      cmocka_unit_test(every_key_round_trips),
      cmocka_unit_test(generated_files_are_current),
      cmocka_unit_test(the_example_file_holds_the_defaults),
      cmocka_unit_test(no_prefix_of_a_file_does_harm),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
