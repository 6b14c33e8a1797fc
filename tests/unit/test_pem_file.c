/* A certificate or key that is no use is told by what it is, and by what makes it one. */
#include "base/pem_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CERTIFICATE "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
#define KEY         "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"
#define BYTES(text) text, sizeof(text) - 1

static void write_file(char *path, const char *bytes, size_t len) {
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, bytes, len), (ssize_t)len);
  close(fd);
}

/* NULL: there is nothing to be told. */
static void expect(enum pem_wanted wanted, const char *bytes, size_t len, const char *beginning) {
  char path[] = "/tmp/test_pem_file.XXXXXX";
  char reason[PEM_REASON_SIZE] = "";
  write_file(path, bytes, len);
  bool is_told = pem_file_explain(path, wanted, reason);
  unlink(path);
  assert_int_equal(is_told, beginning != NULL);
  if (beginning && strncmp(reason, beginning, strlen(beginning)) != 0)
    fail_msg("expected %s, got %s", beginning, reason);
}

static void what_is_wanted_has_nothing_to_be_told(void **state) {
  (void)state;
  expect(PEM_CERTIFICATE, BYTES(CERTIFICATE), NULL);
  expect(PEM_CERTIFICATE, BYTES("a comment\n" KEY CERTIFICATE), NULL);
  expect(PEM_CERTIFICATE, BYTES("-----BEGIN TRUSTED CERTIFICATE-----\n"), NULL);
  expect(PEM_PRIVATE_KEY, BYTES(KEY), NULL);
  expect(PEM_PRIVATE_KEY, BYTES("-----BEGIN EC PRIVATE KEY-----\n"), NULL);
}

static void other_forms_are_told_with_the_command_that_helps(void **state) {
  (void)state;
  expect(PEM_CERTIFICATE, BYTES("\x30\x82\x01\x0a\x30\x81\xb1\xa0"),
         "is DER, not PEM: openssl x509 -inform DER ");
  expect(PEM_PRIVATE_KEY, BYTES("\x30\x81\x87\x02\x01\x00\x30\x13"),
         "is DER, not PEM: openssl pkey -inform DER ");
  expect(PEM_CERTIFICATE, BYTES("\x30\x82\x03\x0f\x02\x01\x03\x30"),
         "is PKCS#12, not PEM: openssl pkcs12 ");
  expect(PEM_PRIVATE_KEY, BYTES("\x30\x80\x02\x01\x03\x30"),
         "is PKCS#12, not PEM: openssl pkcs12 ");
  /* Cut off, and a length that lies. */
  expect(PEM_CERTIFICATE, BYTES("\x30\xff\x03"), "is DER");
  expect(PEM_CERTIFICATE, BYTES("\x30"), "isn't PEM");
}

static void what_is_missing_is_told(void **state) {
  (void)state;
  expect(PEM_CERTIFICATE, BYTES(""), "is empty");
  expect(PEM_CERTIFICATE, BYTES("no PEM"), "isn't PEM");
  expect(PEM_CERTIFICATE, BYTES(KEY), "holds no certificate");
  expect(PEM_PRIVATE_KEY, BYTES(CERTIFICATE), "holds no private key");
  expect(PEM_PRIVATE_KEY, BYTES("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"), "needs a passphrase");
  expect(PEM_PRIVATE_KEY, BYTES("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"),
         "needs a passphrase");
}

static void nothing_is_said_of_what_may_come_further_behind(void **state) {
  (void)state;
  static char text[64 * 1024];
  memset(text, '#', sizeof(text));
  expect(PEM_CERTIFICATE, text, sizeof(text), NULL);
}

static void a_file_that_cant_be_read_is_told(void **state) {
  (void)state;
  char reason[PEM_REASON_SIZE] = "";
  assert_true(pem_file_explain("/no/such/file", PEM_CERTIFICATE, reason));
  assert_string_equal(reason, "can't be read: No such file or directory");
  assert_true(pem_file_explain("/", PEM_CERTIFICATE, reason));
  assert_string_equal(reason, "can't be read: Is a directory");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_wanted_has_nothing_to_be_told),
      cmocka_unit_test(other_forms_are_told_with_the_command_that_helps),
      cmocka_unit_test(what_is_missing_is_told),
      cmocka_unit_test(nothing_is_said_of_what_may_come_further_behind),
      cmocka_unit_test(a_file_that_cant_be_read_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
