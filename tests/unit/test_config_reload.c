#include "config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

/* A file that the test rewrites, and the settings read from it. */
struct world {
  char path[64];
  struct config_input input;
  config_accept_cb *accept;
  struct config config;
  struct config_changes changes;
  char *problems;
  size_t problems_len;
};

static void write_file(struct world *w, const char *yaml) {
  FILE *file = fopen(w->path, "w");
  assert_non_null(file);
  fputs(yaml, file);
  fclose(file);
}

static void start(struct world *w, const char *yaml) {
  *w = (struct world){.path = "/tmp/test_reload.XXXXXX"};
  close(mkstemp(w->path));
  write_file(w, yaml);
  w->input.path = w->path;
  FILE *out = open_memstream(&w->problems, &w->problems_len);
  assert_int_equal(config_load(&w->config, &w->input, out), 0);
  fclose(out);
}

static int reload(struct world *w, const char *yaml) {
  free(w->problems);
  write_file(w, yaml);
  w->changes = (struct config_changes){.changed = -1};
  FILE *out = open_memstream(&w->problems, &w->problems_len);
  int rc = config_reload(&w->config, &w->input, w->accept, out, &w->changes);
  fclose(out);
  return rc;
}

static void end(struct world *w) {
  config_deinit(&w->config);
  free(w->problems);
  unlink(w->path);
}

static struct config_setting setting(const struct world *w, const char *name) {
  struct config_setting found;
  char full[128];
  for (int i = 0; i < config_setting_count(); i++) {
    config_setting(&w->config, i, &found);
    snprintf(full, sizeof(full), "%s.%s", found.section, found.name);
    if (strcmp(full, name) == 0)
      return found;
  }
  fail_msg("no setting %s", name);
  return found;
}

/* `@` in the text stands for the file's path. */
static void expect_source(const struct world *w, const char *name, const char *text) {
  char expected[256];
  const char *at = strchr(text, '@');
  int before = at ? (int)(at - text) : (int)strlen(text);
  snprintf(expected, sizeof(expected), "%.*s%s%s", before, text, at ? w->path : "",
           at ? at + 1 : "");
  assert_string_equal(setting(w, name).source, expected);
}

static void live_settings_change_in_place(void **state) {
  (void)state;
  struct world w;
  start(&w, "database:\n  max_open_conns: 20\n  conn_max_lifetime: 5m\n");
  const struct config_database *database = &w.config.database;
  assert_int_equal(reload(&w, "database:\n  max_open_conns: 21\n  host: elsewhere\n"), 0);
  assert_int_equal(database->max_open_conns, 21);
  assert_string_equal(database->host, "elsewhere");
  assert_int_equal(database->conn_max_lifetime_us, 1800 * CLOCK_US_PER_S);
  assert_int_equal(w.changes.changed, 3);
  assert_int_equal(w.changes.pending, 0);
  assert_true(w.changes.is_database_changed);
  expect_source(&w, "database.max_open_conns", "reload @:2");
  expect_source(&w, "database.conn_max_lifetime", "reload default");
  expect_source(&w, "database.port", "default");
  end(&w);
}

static void the_same_file_changes_nothing(void **state) {
  (void)state;
  static const char yaml[] =
      "database:\n  max_open_conns: 3\n  max_idle_conns: 9\nquery:\n  timeout: 3s\n";
  struct world w;
  start(&w, yaml);
  expect_source(&w, "database.max_idle_conns", "clamped from 9, @:3");
  assert_int_equal(reload(&w, yaml), 0);
  assert_int_equal(w.changes.changed, 0);
  assert_false(w.changes.is_database_changed);
  expect_source(&w, "database.max_idle_conns", "clamped from 9, @:3");
  /* What was reloaded once stays marked, wherever its line has moved. */
  assert_int_equal(reload(&w, "query:\n  timeout: 4s\n"), 0);
  /* Those three, and the two bounds of queries that follow max_open_conns. */
  assert_int_equal(w.changes.changed, 5);
  assert_int_equal(reload(&w, "\n\nquery:\n  timeout: 4s\n"), 0);
  assert_int_equal(w.changes.changed, 0);
  expect_source(&w, "query.timeout", "reload @:4");
  end(&w);
}

static int refuse_port_7(const struct config *fresh, struct error *err) {
  if (fresh->database.port != 7)
    return 0;
  return error_set(err, ERR_FAILED_PRECONDITION, "database.port: 7 isn't wanted");
}

static void what_is_not_accepted_changes_nothing(void **state) {
  (void)state;
  struct world w;
  start(&w, "database:\n  max_open_conns: 9\n  port: 8\n");
  w.accept = refuse_port_7;
  assert_int_equal(reload(&w, "database:\n  max_open_conns: 12\n  port: 7\n"),
                   ERR_INVALID_ARGUMENT);
  assert_string_equal(w.problems, "database.port: 7 isn't wanted\n");
  assert_int_equal(w.config.database.max_open_conns, 9);
  assert_int_equal(w.config.database.port, 8);
  assert_int_equal(w.changes.changed, -1);
  assert_int_equal(reload(&w, "database:\n  max_open_conns: 12\n  port: 6\n"), 0);
  assert_int_equal(w.config.database.port, 6);
  end(&w);
}

static void a_bad_file_changes_nothing_and_says_why(void **state) {
  (void)state;
  struct world w;
  char expected[512];
  start(&w, "database:\n  max_open_conns: 9\n");
  assert_int_equal(reload(&w, "database:\n  max_open_conns: 12\n  max_open_con: 5\n  port: x\n"),
                   ERR_INVALID_ARGUMENT);
  snprintf(expected, sizeof(expected),
           "%s:3: database.max_open_con: unknown key (did you mean max_open_conns?)\n"
           "%s:4: database.port: got \"x\": must be a whole number from 1 to 65535\n",
           w.path, w.path);
  assert_string_equal(w.problems, expected);
  assert_int_equal(w.config.database.max_open_conns, 9);
  expect_source(&w, "database.max_open_conns", "@:2");
  unlink(w.path);
  FILE *out = fopen("/dev/null", "w");
  assert_int_equal(config_reload(&w.config, &w.input, NULL, out, &w.changes), ERR_INVALID_ARGUMENT);
  fclose(out);
  assert_int_equal(w.config.database.max_open_conns, 9);
  end(&w);
}

static void what_needs_a_restart_keeps_its_value_and_is_named(void **state) {
  (void)state;
  struct world w;
  char expected[512];
  start(&w, "server:\n  listen: 127.0.0.1:1\ningest:\n  lanes: 4\n");
  assert_int_equal(reload(&w, "server:\n  listen: 127.0.0.1:2\n"), 0);
  assert_int_equal(w.changes.changed, 0);
  assert_int_equal(w.changes.pending, 2);
  assert_string_equal(w.config.server.listen, "127.0.0.1:1");
  assert_int_equal(w.config.ingest.lanes, 4);
  snprintf(expected, sizeof(expected),
           "%s:2: server.listen: warning: takes effect with a restart; until then it is "
           "\"127.0.0.1:1\"\n"
           "ingest.lanes: warning: takes effect with a restart; until then it is \"4\"\n",
           w.path);
  assert_string_equal(w.problems, expected);
  expect_source(&w, "server.listen", "@:2");
  end(&w);
}

static void what_is_kept_must_fit_what_is_new(void **state) {
  (void)state;
  struct world w;
  start(&w, "ingest:\n  lanes: 4\n");
  assert_int_equal(reload(&w, "ingest:\n  lanes: 2\ndatabase:\n  max_open_conns: 3\n"),
                   ERR_INVALID_ARGUMENT);
  assert_non_null(strstr(w.problems, "ingest.lanes: got \"4\": must be below"));
  assert_int_equal(w.config.database.max_open_conns, 25);
  end(&w);
}

static void many_reloads_leak_nothing(void **state) {
  (void)state;
  struct world w;
  char yaml[128];
  start(&w, "");
  for (int i = 1; i <= 200; i++) {
    snprintf(yaml, sizeof(yaml), "database:\n  host: host%d\nserver:\n  listen: 127.0.0.1:%d\n", i,
             i);
    assert_int_equal(reload(&w, yaml), 0);
  }
  assert_string_equal(w.config.database.host, "host200");
  end(&w);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(live_settings_change_in_place),
      cmocka_unit_test(the_same_file_changes_nothing),
      cmocka_unit_test(what_is_not_accepted_changes_nothing),
      cmocka_unit_test(a_bad_file_changes_nothing_and_says_why),
      cmocka_unit_test(what_needs_a_restart_keeps_its_value_and_is_named),
      cmocka_unit_test(what_is_kept_must_fit_what_is_new),
      cmocka_unit_test(many_reloads_leak_nothing),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
