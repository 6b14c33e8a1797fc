/*
 * From a certificate to its names, and from these to a principal.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/x509v3.h>

#include "access/identity.h"

/* ---- certificates ---- */

static void add_alternative(GENERAL_NAMES *names, int type, struct str text) {
  GENERAL_NAME *name = GENERAL_NAME_new();
  ASN1_IA5STRING *value = ASN1_IA5STRING_new();
  ASN1_STRING_set(value, text.data, (int)text.len);
  GENERAL_NAME_set0_value(name, type, value);
  sk_GENERAL_NAME_push(names, name);
}

static void add_common_name(X509 *cert, int type, struct str text) {
  X509_NAME *subject = X509_get_subject_name(cert);
  assert_int_equal(X509_NAME_add_entry_by_NID(subject, NID_commonName, type,
                                              (const unsigned char *)text.data, (int)text.len, -1,
                                              0),
                   1);
}

struct name {
  int type; /* of GENERAL_NAME, or a string's for common names */
  struct str text;
};

/* NULL: no such extension. */
static struct peer_names *names_of(const struct name *alternatives, size_t count,
                                   const struct name *common) {
  X509 *cert = X509_new();
  GENERAL_NAMES *names = GENERAL_NAMES_new();
  for (size_t i = 0; i < count; i++)
    add_alternative(names, alternatives[i].type, alternatives[i].text);
  if (count > 0)
    X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0);
  for (; common && common->text.data; common++)
    add_common_name(cert, common->type, common->text);
  struct peer_names *list = peer_names_of(cert);
  GENERAL_NAMES_free(names);
  X509_free(cert);
  return list;
}

static void names_come_in_order_with_all_their_bytes(void **state) {
  (void)state;
  const struct name alternatives[] = {{GEN_DNS, str_of("a\0b", 3)},
                                      {GEN_EMAIL, str_z("a@b.c")},
                                      {GEN_URI, str_z("spiffe://x")},
                                      {GEN_DNS, str_of("", 0)}};
  const struct name common[] = {{V_ASN1_UTF8STRING, str_z("\xC3\xA4")},
                                {V_ASN1_BMPSTRING, str_of("\0a\0b", 4)},
                                {V_ASN1_T61STRING, str_z("\xE4")},
                                {0}};
  struct peer_names *names = names_of(alternatives, 4, common);
  assert_int_equal(names->count, 6);
  assert_int_equal(names->names[0].kind, PEER_NAME_DNS);
  assert_true(str_equal(names->names[0].text, str_of("a\0b", 3)));
  assert_int_equal(names->names[1].kind, PEER_NAME_URI);
  assert_true(str_is(names->names[1].text, "spiffe://x"));
  assert_int_equal(names->names[2].text.len, 0);
  for (int i = 3; i < 6; i++)
    assert_int_equal(names->names[i].kind, PEER_NAME_CN);
  assert_true(str_is(names->names[3].text, "\xC3\xA4"));
  assert_true(str_is(names->names[4].text, "ab"));
  assert_true(str_is(names->names[5].text, "\xC3\xA4"));
  free(names);
}

static void a_certificate_without_names_has_none(void **state) {
  (void)state;
  struct peer_names *names = names_of(NULL, 0, NULL);
  assert_int_equal(names->count, 0);
  free(names);
}

static void with_too_many_names_one_is_nobody(void **state) {
  (void)state;
  struct name many[PEER_NAMES_MAX + 5];
  const struct name common[] = {{V_ASN1_UTF8STRING, str_z("late")}, {0}};
  for (size_t i = 0; i < PEER_NAMES_MAX + 5; i++)
    many[i] = (struct name){GEN_DNS, str_z("x.test")};
  struct peer_names *names = names_of(many, PEER_NAMES_MAX + 5, common);
  assert_int_equal(names->count, PEER_NAMES_MAX);
  assert_true(names->is_cut);
  struct identity identity;
  assert_int_equal(identity_of_certificate(names, &identity), IDENTITY_MALFORMED);
  free(names);
}

/* ---- principals ---- */

/* NULL for names that are malformed, "" for none. */
static const char *principal_of(const struct name *alternatives, size_t count, const char *common) {
  static char text[IDENTITY_MAX_BYTES + 1];
  const struct name common_names[] = {{V_ASN1_UTF8STRING, str_z(common)}, {0}};
  struct peer_names *names = names_of(alternatives, count, common_names);
  struct identity identity = {0};
  enum identity_result result = identity_of_certificate(names, &identity);
  free(names);
  if (result == IDENTITY_MALFORMED)
    return NULL;
  if (result == IDENTITY_NAMELESS)
    return "";
  memcpy(text, identity.text, identity.len);
  text[identity.len] = '\0';
  return text;
}

static void uris_come_before_dns_names_and_these_before_common_names(void **state) {
  (void)state;
  const struct name names[] = {{GEN_DNS, str_z("B.Test")}, {GEN_URI, str_z("URN:x")}};
  assert_string_equal(principal_of(names, 2, "c"), "URN:x");
  assert_string_equal(principal_of(names, 1, "c"), "dns:b.test");
  assert_string_equal(principal_of(names, 0, "c"), "cn:c");
  assert_string_equal(principal_of(names, 0, NULL), "");
}

static void a_uri_that_looks_like_another_kind_is_passed_over(void **state) {
  (void)state;
  static const char *const bad[] = {"dns:x", "DNS:x",           "cn:x",      "token:x", "Token:x",
                                    "cN:",   "auditstore:self", "anonymous", "/x",      ":x",
                                    ""};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    const struct name names[] = {{GEN_URI, str_z(bad[i])}, {GEN_URI, str_z("x:ok")}};
    assert_string_equal(principal_of(names, 1, "c"), "cn:c");
    assert_string_equal(principal_of(names, 2, "c"), "x:ok");
  }
}

static void names_that_others_may_read_otherwise_are_refused(void **state) {
  (void)state;
  static char longest[IDENTITY_MAX_BYTES + 1];
  memset(longest, 'a', sizeof(longest));
  longest[1] = ':';
  const struct name bad[] = {
      {GEN_URI, str_of("x://a\0b", 7)},
      {GEN_URI, str_z("x://a\xff")},
      {GEN_URI, str_z("x://a\nb")},
      {GEN_URI, str_z("x://a\x7f")},
      {GEN_URI, str_z("x://a\xC0\x80")},
      {GEN_URI, str_of(longest, IDENTITY_MAX_BYTES + 1)},
      {GEN_DNS, str_of("a.test\0.b", 9)},
      {GEN_DNS, str_of("", 0)},
      {GEN_DNS, str_of(longest, IDENTITY_MAX_BYTES - 3)},
  };
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
    assert_null(principal_of(&bad[i], 1, "c"));
  const struct name uri = {GEN_URI, str_of(longest, IDENTITY_MAX_BYTES)};
  const struct name dns = {GEN_DNS, str_of(longest, IDENTITY_MAX_BYTES - 4)};
  assert_int_equal(strlen(principal_of(&uri, 1, "c")), IDENTITY_MAX_BYTES);
  assert_int_equal(strlen(principal_of(&dns, 1, "c")), IDENTITY_MAX_BYTES);
  assert_null(principal_of(NULL, 0, "a\tb"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(names_come_in_order_with_all_their_bytes),
      cmocka_unit_test(a_certificate_without_names_has_none),
      cmocka_unit_test(with_too_many_names_one_is_nobody),
      cmocka_unit_test(uris_come_before_dns_names_and_these_before_common_names),
      cmocka_unit_test(a_uri_that_looks_like_another_kind_is_passed_over),
      cmocka_unit_test(names_that_others_may_read_otherwise_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
