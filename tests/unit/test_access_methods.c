/*
 * The table of methods, and the syntax of the lists that say who has which role.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "access/methods.h"
#include "auditstore/v1/admin.service.h"
#include "auditstore/v1/audit_store.service.h"
#include "grpc/health/v1/health.service.h"
#include "grpc/reflection/v1/reflection.service.h"

static void each_method_of_each_service_is_in_the_table(void **state) {
  (void)state;
  static const struct grpc_service *const services[] = {
      &auditstore_v1_audit_store_service,
      &auditstore_v1_admin_service,
      &grpc_health_v1_health_service,
      &grpc_reflection_v1_server_reflection_service,
  };
  for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++) {
    assert_true(services[i]->method_count > 0);
    for (size_t j = 0; j < services[i]->method_count; j++) {
      const char *path = services[i]->methods[j].path;
      if (!access_method_roles(path))
        fail_msg("%s has no row in src/access/methods.c", path);
    }
  }
}

static void a_method_that_is_not_in_the_table_is_for_nobody(void **state) {
  (void)state;
  assert_int_equal(access_method_roles("/auditstore.v1.AuditStore/Other"), 0);
  assert_int_equal(access_method_roles(""), 0);
}

static void a_writer_can_not_read(void **state) {
  (void)state;
  assert_int_equal(access_method_roles("/auditstore.v1.AuditStore/WriteEvents"),
                   CONFIG_ROLE_WRITER);
  assert_int_equal(access_method_roles("/auditstore.v1.AuditStore/ListEvents"),
                   CONFIG_ROLE_READER | CONFIG_ROLE_AUDITOR);
  assert_int_equal(access_method_roles("/auditstore.v1.Admin/GetServerInfo"), CONFIG_ROLE_ADMIN);
}

/* ---- lists ---- */

static bool matches(const char *list, const char *principal) {
  assert_true(config_principals_are_valid(str_z(list)));
  return config_principals_match(str_z(list), str_z(principal));
}

static void patterns_match_whole_principals_or_their_beginnings(void **state) {
  (void)state;
  assert_true(matches("cn:alice", "cn:alice"));
  assert_false(matches("cn:alice", "cn:alic"));
  assert_false(matches("cn:alice", "cn:alice2"));
  assert_false(matches("cn:alice", "CN:alice"));
  assert_true(matches("cn:bob , cn:alice", "cn:alice"));
  static const char *const ways_out[] = {"",          "..",   ".",           "../evil",
                                         "a/../evil", "a/..", "a/%2E./evil", "%2e%2E/x",
                                         "a//evil",   "a/",   "/evil",       "./a"};
  for (size_t i = 0; i < sizeof(ways_out) / sizeof(ways_out[0]); i++) {
    char principal[64];
    snprintf(principal, sizeof(principal), "spiffe://prod/%s", ways_out[i]);
    assert_false(matches("spiffe://prod/*", principal));
    assert_false(matches("spiffe://*", principal));
  }
  assert_false(matches("spiffe://prod/bill*", "spiffe://prod/billing/../evil"));
  assert_true(matches("spiffe://prod/bill*", "spiffe://prod/billing/eu"));
  assert_true(matches("spiffe://prod/bill*", "spiffe://prod/bill"));
  assert_true(matches("spiffe://prod/*", "spiffe://prod/a.b/..c/...d"));
  assert_true(matches("cn:*", "cn:a//b"));
  assert_true(matches("spiffe://prod/*", "spiffe://prod/billing"));
  assert_false(matches("spiffe://prod/*", "spiffe://prod"));
  assert_false(matches("spiffe://prod/*", "spiffe://prod2/billing"));
  assert_true(matches("*", "dns:x"));
  assert_true(matches("cn:b*,dns:*", "dns:x"));
  assert_false(matches("", "cn:alice"));
  assert_true(matches("cn:Alice Smith", "cn:Alice Smith"));
}

/* Principals have them in lower case. */
static void names_of_hosts_have_no_case(void **state) {
  (void)state;
  assert_true(matches("dns:API.Example.com", "dns:api.example.com"));
  assert_true(matches("cn:x, DNS:*", "dns:api.example.com"));
  assert_true(matches("dns:API.*", "dns:api.example.com"));
  assert_false(matches("dns:API.Example.com", "dns:api.example.org"));
  assert_false(matches("dns:API.Example.com", "dns:api.example.com.test"));
  assert_false(matches("cn:Alice", "cn:alice"));
  assert_false(matches("token:DNS:x", "token:dns:x"));
  assert_false(matches("SPIFFE://a", "spiffe://a"));
}

static void lists_that_can_not_be_meant_are_found(void **state) {
  (void)state;
  static const char *const bad[] = {"alice",  "cn:a,", ",",  "cn:a,,cn:b", ":x",    "c*n:a",
                                    "cn:a*b", "**",    "*:", " ",          "cn:a, "};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    if (config_principals_are_valid(str_z(bad[i])))
      fail_msg("\"%s\" is taken", bad[i]);
  }
}

static void roles_are_read_by_name(void **state) {
  (void)state;
  unsigned roles = 99;
  assert_true(config_roles_parse(str_z("admin, writer"), &roles));
  assert_int_equal(roles, CONFIG_ROLE_ADMIN | CONFIG_ROLE_WRITER);
  assert_true(config_roles_parse(str_z(""), &roles));
  assert_int_equal(roles, CONFIG_NO_ROLE);
  roles = 99;
  assert_false(config_roles_parse(str_z("admin,root"), &roles));
  assert_false(config_roles_parse(str_z("admin,"), &roles));
  assert_false(config_roles_parse(str_z("Admin"), &roles));
  assert_int_equal(roles, 99);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_method_of_each_service_is_in_the_table),
      cmocka_unit_test(a_method_that_is_not_in_the_table_is_for_nobody),
      cmocka_unit_test(a_writer_can_not_read),
      cmocka_unit_test(patterns_match_whole_principals_or_their_beginnings),
      cmocka_unit_test(names_of_hosts_have_no_case),
      cmocka_unit_test(lists_that_can_not_be_meant_are_found),
      cmocka_unit_test(roles_are_read_by_name),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
