/*
 * test_authority: an authority of one's own and the certificates that it signs, for trying TLS out.
 * Keys are P-256. Nothing touches a file here.
 */
#pragma once

#include <stdbool.h>

typedef struct x509_st X509;
typedef struct evp_pkey_st EVP_PKEY;

/* What certificates begin before now, for the sake of machines whose clocks are behind. */
#define TEST_CERT_EARLY_S 3600
#define TEST_CERT_DAYS    90

struct test_cert {
  X509 *cert;    /* owned */
  EVP_PKEY *key; /* owned */
};

/* The names are OpenSSL's for subjectAltName, "DNS:localhost,IP:127.0.0.1"; NULL: none, and the
 * subject's common name says who it is. */
struct test_cert_request {
  const char *common_name;
  const char *names;
  bool is_client; /* else a server */
};

/* False: OpenSSL doesn't make it; what it says is left in its queue. *ret_cert holds nothing then.
 */
bool test_authority_make(struct test_cert *ret_authority);
bool test_authority_sign(const struct test_cert *authority, const struct test_cert_request *request,
                         struct test_cert *ret_cert);

/* One that holds nothing is fine. */
void test_cert_deinit(struct test_cert *cert);
