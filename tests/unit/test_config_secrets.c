#include "config_fixture.h"

#define MARK "hunter2secret"

/* Refused with one message that holds `expected`, and never the password. */
static void expect_kept(const char *yaml, const char *override, const char *expected) {
  struct loaded l;
  load(&l, yaml, override);
  if (l.rc == 0 || !strstr(l.problems, expected) || strstr(l.problems, MARK))
    fail_msg("for %s %s expected %s, got %d %s", yaml, override ? override : "", expected, l.rc,
             l.problems);
  unload(&l);
}

static void a_connection_string_is_refused_where_hosts_belong(void **state) {
  (void)state;
  static const char *const given[] = {
      "postgres://user:" MARK "@host/db",
      "postgresql://host/db?password=" MARK,
      "host=x password=" MARK,
      "'host = x password = " MARK "'",
      "user:" MARK "@host",
      "db1,postgres://u:" MARK "@db2:5432/db",
      "db1,db2,user:" MARK "@db3:5432",
      "/run/postgresql,password=" MARK,
  };
  for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++) {
    char yaml[256];
    char override[256];
    snprintf(yaml, sizeof(yaml), "database:\n  host: %s\n", given[i]);
    snprintf(override, sizeof(override), "database.host=%s", given[i]);
    expect_kept(yaml, NULL, ":2: database.host: must be no connection string");
    expect_kept(yaml, NULL, "database.password_file");
    expect_kept("", override, "--set: database.host: must be no connection string");
  }
}

static void a_host_has_no_path_and_no_space(void **state) {
  (void)state;
  expect_kept("", "database.host=db1/auditstore", "database.host: got \"db1/auditstore\": must be");
  expect_kept("", "database.host=db1,db2/x:5432", "database.host: got ");
  expect_kept("", "database.host=db1 password " MARK, "database.host: got a value (not shown");
}

static void so_it_is_in_the_other_settings_of_the_database(void **state) {
  (void)state;
  static const char *const names[] = {"name", "user", "application_name", "password_file",
                                      "sslrootcert"};
  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
    char override[256];
    snprintf(override, sizeof(override), "database.%s=postgres://u:" MARK "@host/db", names[i]);
    expect_kept("", override, "must be no connection string");
    snprintf(override, sizeof(override), "database.%s=dbname=x password=" MARK, names[i]);
    expect_kept("", override, "must be no connection string");
  }
}

static void no_message_repeats_what_may_hold_a_password(void **state) {
  (void)state;
  static const char dsn[] = "postgres://u:" MARK "@host/db";
  static const char *const names[] = {
      "database.port", "database.sslmode", "database.startup", "server.listen",
      "http.listen",   "ledger.origin",    "ledger.lease",     "database.max_open_conns"};
  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
    char override[256];
    snprintf(override, sizeof(override), "%s=%s", names[i], dsn);
    expect_kept("", override, names[i]);
  }
  expect_kept("", dsn, "--set");
  expect_kept("", "password=" MARK, "--set: password: must be section.key=value");
  expect_kept("", "database.password=" MARK, "database.password: unknown key");
  expect_kept("", "postgres://u:" MARK ".x@host/db?a=b", "unknown section");
  expect_kept("", "database.postgres://u:" MARK "@host/db?a=b", "unknown key");
  expect_kept("database:\n  password: " MARK "\n", NULL, "database.password: unknown key");
  expect_kept("database: postgres://u:" MARK "@host/db\n", NULL, "database: must hold keys");
  expect_kept("postgres://u:" MARK "@host/db: x\n", NULL, "unknown section");
  expect_kept("database:\n  {postgres://u:" MARK "@host/db: x}\n", NULL, "unknown key");
}

static void names_that_only_look_odd_are_taken(void **state) {
  (void)state;
  static const char *const given[] = {"database.user=audit@server", "database.name=audit=1",
                                      "database.host=/run/postgresql",
                                      "database.host=/var/run,db1:5433,[::1]:5434"};
  for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++) {
    struct loaded l;
    load(&l, "", given[i]);
    if (l.rc != 0)
      fail_msg("%s: %s", given[i], l.problems);
    unload(&l);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_connection_string_is_refused_where_hosts_belong),
      cmocka_unit_test(a_host_has_no_path_and_no_space),
      cmocka_unit_test(so_it_is_in_the_other_settings_of_the_database),
      cmocka_unit_test(no_message_repeats_what_may_hold_a_password),
      cmocka_unit_test(names_that_only_look_odd_are_taken),
  };
  return cmocka_run_group_tests_name("config_secrets", tests, NULL, NULL);
}
