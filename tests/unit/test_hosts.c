#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "config/hosts.h"

static void expect(const char *list, const char *expected) {
  struct config_host hosts[CONFIG_HOSTS_MAX];
  char text[1024] = "";
  int count = config_hosts_parse(str_z(list), hosts);
  for (int i = 0; i < count; i++) {
    size_t len = strlen(text);
    snprintf(text + len, sizeof(text) - len, "%s%s %d", i ? "|" : "", hosts[i].name, hosts[i].port);
  }
  assert_string_equal(count < 0 ? "refused" : text, expected);
}

static void names_addresses_and_folders_may_have_ports(void **state) {
  (void)state;
  expect("db1", "db1 0");
  expect("db1,db2:5433,10.0.0.1:1", "db1 0|db2 5433|10.0.0.1 1");
  expect("[::1]:5434,[fe80::1],fe80::2", "::1 5434|fe80::1 0|fe80::2 0");
  expect("/run/postgresql", "/run/postgresql 0");
  expect("/tmp/odd:name,db:65535", "/tmp/odd:name 0|db 65535");
}

static void anything_else_is_refused(void **state) {
  (void)state;
  static const char *const bad[] = {
      "",
      ",",
      "db1,",
      ",db1",
      "db1,,db2",
      "db 1",
      "db:",
      "db:0",
      "db:65536",
      "db:x",
      ":5432",
      "[::1",
      "[::1]5432",
      "[::1]:",
      "[]",
      "[]:1",
      "db:123456",
      "a\tb",
      "a,b,c,d,e,f,g,h,i",
  };
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
    expect(bad[i], "refused");
}

static void names_are_bounded(void **state) {
  (void)state;
  char name[CONFIG_HOST_SIZE + 1];
  struct config_host hosts[CONFIG_HOSTS_MAX];
  memset(name, 'a', sizeof(name));
  assert_int_equal(config_hosts_parse(str_of(name, CONFIG_HOST_SIZE - 1), hosts), 1);
  assert_int_equal(strlen(hosts[0].name), CONFIG_HOST_SIZE - 1);
  assert_int_equal(config_hosts_parse(str_of(name, CONFIG_HOST_SIZE), hosts), -1);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(names_addresses_and_folders_may_have_ports),
      cmocka_unit_test(anything_else_is_refused),
      cmocka_unit_test(names_are_bounded),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
