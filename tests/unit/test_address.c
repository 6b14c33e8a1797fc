/*
 * IP addresses of events, and what a caller is told of those that aren't.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "ingest/address.h"

static void each_text_about_an_address_is_told_with_the_remedy(void **state) {
  (void)state;
  static const char *const told[][2] = {
      {"10.0.0.1:1234",
       "\"10.0.0.1:1234\" has a port, which is no part of an address: leave out \":1234\""},
      {"[::1]:80",
       "\"[::1]:80\" has a port and brackets, which are no part of an address: write "
       "\"::1\""},
      {"[2001:db8::1]",
       "\"[2001:db8::1]\" has brackets, which are no part of an address: write \"2001:db8::1\""},
      {"fe80::1%eth0",
       "\"fe80::1%eth0\" has a zone, which is no part of an address: leave out \"%eth0\""},
      {"fe80::1%", "\"fe80::1%\" has a zone, which is no part of an address: leave out \"%\""},
      {"[fe80::1%eth0]:443",
       "\"[fe80::1%eth0]:443\" has a port, brackets and a zone, which are no "
       "part of an address: write \"fe80::1\""},
      {"192.0.2.0/24",
       "\"192.0.2.0/24\" has a prefix length, which is no part of an address: leave out \"/24\""},
      {" 192.0.2.7\t",
       "\" 192.0.2.7\\x09\" has white space, which is no part of an address: write "
       "\"192.0.2.7\""},
      {"08.1.250.216",
       "\"08.1.250.216\" has a number with a leading zero, which some programs read "
       "as octal: write \"8.1.250.216\", if that is meant"},
      {"10.000.00.010",
       "\"10.000.00.010\" has a number with a leading zero, which some programs "
       "read as octal: write \"10.0.0.10\", if that is meant"},
      {"::ffff:010.0.0.1",
       "\"::ffff:010.0.0.1\" has a number with a leading zero, which some "
       "programs read as octal: write \"::ffff:10.0.0.1\", if that is meant"},
      {"203.0.113.9, 10.0.0.1",
       "\"203.0.113.9, 10.0.0.1\" holds several addresses: keep the one "
       "that acted, and the others in event_data"},
      {"?",
       "\"?\" is no IPv4 or IPv6 address such as \"192.0.2.7\" or \"2001:db8::7\": leave "
       "actor.ip out where there is none"},
      {"a\"\x1b[2J",
       "\"a\\\"\\x1b[2J\" is no IPv4 or IPv6 address such as \"192.0.2.7\" or "
       "\"2001:db8::7\": leave actor.ip out where there is none"},
      {"::1:80:x:[",
       "\"::1:80:x:[\" is no IPv4 or IPv6 address such as \"192.0.2.7\" or "
       "\"2001:db8::7\": leave actor.ip out where there is none"},
  };
  for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++) {
    struct pg_inet address = {.length = 0};
    char problem[ADDRESS_PROBLEM_SIZE];
    assert_false(address_parse(str_z(told[i][0]), &address));
    assert_int_equal(address.length, 0);
    address_problem(str_z(told[i][0]), problem);
    assert_string_equal(problem, told[i][1]);
  }
}

/* The texts that a remedy names are addresses themselves, and nothing is read beyond the text: each
 * copy ends where its memory ends. */
static void any_text_at_all_has_a_problem_that_fits(void **state) {
  (void)state;
  static const char alphabet[] = "[]%:/.,0f \"\x1b";
  srandom(7);
  for (int i = 0; i < 20000; i++) {
    size_t len = 1 + (size_t)random() % (i % 50 == 0 ? 300 : 12);
    char *text = xmalloc(len);
    for (size_t j = 0; j < len; j++)
      text[j] = alphabet[(size_t)random() % (sizeof(alphabet) - 1)];
    struct pg_inet address;
    char problem[ADDRESS_PROBLEM_SIZE];
    if (!address_parse(str_of(text, len), &address)) {
      address_problem(str_of(text, len), problem);
      assert_in_range(strlen(problem), 10, ADDRESS_PROBLEM_SIZE - 2);
      assert_null(strpbrk(problem, "\x1b\n"));
    }
    free(text);
  }
}

static void both_kinds_of_address_are_read(void **state) {
  (void)state;
  struct pg_inet address;
  assert_true(address_parse(str_z("192.0.2.7"), &address));
  assert_int_equal(address.length, 4);
  assert_true(address_parse(str_z("2001:db8::7"), &address));
  assert_int_equal(address.length, 16);
  assert_true(address_parse(str_z("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255"), &address));
  static const char *const bad[] = {"192.0.2",     "192.0.2.256",
                                    "example.com", "0x7f.1",
                                    "::1::",       "1234:1234:1234:1234:1234:1234:1234:1234:1234"};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
    assert_false(address_parse(str_z(bad[i]), &address));
  assert_false(address_parse(str_of("192.0.2.7\0", 10), &address));
  assert_false(address_parse(str_z(""), &address));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_text_about_an_address_is_told_with_the_remedy),
      cmocka_unit_test(any_text_at_all_has_a_problem_that_fits),
      cmocka_unit_test(both_kinds_of_address_are_read),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
