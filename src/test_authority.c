#include "test_authority.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <string.h>

#define SERIAL_BYTES 16 /* random, so that no two of anybody's are the same */
#define DAY_S        86400

static bool set_serial(X509 *cert) {
  unsigned char bytes[SERIAL_BYTES];
  if (RAND_bytes(bytes, sizeof(bytes)) != 1)
    return false;
  bytes[0] = (bytes[0] & 0x7F) | 0x40; /* positive, and never shorter */
  BIGNUM *number = BN_bin2bn(bytes, sizeof(bytes), NULL);
  bool ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert));
  BN_free(number);
  return ok;
}

static bool set_validity(X509 *cert) {
  return X509_gmtime_adj(X509_getm_notBefore(cert), -TEST_CERT_EARLY_S) &&
         X509_gmtime_adj(X509_getm_notAfter(cert), (long)TEST_CERT_DAYS * DAY_S);
}

static bool set_subject(X509 *cert, const char *common_name) {
  return X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8,
                                    (const unsigned char *)common_name, -1, -1, 0) == 1;
}

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
  X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
  bool ok = extension && X509_add_ext(cert, extension, -1) == 1;
  X509_EXTENSION_free(extension);
  return ok;
}

/* All but extensions, issuer and signature. */
static bool begin(struct test_cert *made, const char *common_name) {
  *made = (struct test_cert){.cert = X509_new(), .key = EVP_EC_gen("P-256")};
  return made->cert && made->key && X509_set_version(made->cert, X509_VERSION_3) == 1 &&
         set_serial(made->cert) && set_validity(made->cert) &&
         set_subject(made->cert, common_name) && X509_set_pubkey(made->cert, made->key) == 1;
}

static bool sign(struct test_cert *made, const struct test_cert *authority) {
  return X509_set_issuer_name(made->cert, X509_get_subject_name(authority->cert)) == 1 &&
         add_extension(made->cert, authority->cert, NID_subject_key_identifier, "hash") &&
         add_extension(made->cert, authority->cert, NID_authority_key_identifier, "keyid") &&
         X509_sign(made->cert, authority->key, EVP_sha256()) > 0;
}

static bool keep_or_drop(struct test_cert *made, bool ok) {
  if (!ok)
    test_cert_deinit(made);
  return ok;
}

bool test_authority_make(struct test_cert *ret) {
  bool ok =
      begin(ret, "auditstore test authority") &&
      add_extension(ret->cert, ret->cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
      add_extension(ret->cert, ret->cert, NID_key_usage, "critical,keyCertSign,cRLSign") &&
      sign(ret, ret);
  return keep_or_drop(ret, ok);
}

bool test_authority_sign(const struct test_cert *authority, const struct test_cert_request *request,
                         struct test_cert *ret) {
  const char *usage = request->is_client ? "clientAuth" : "serverAuth";
  bool ok = begin(ret, request->common_name) &&
            add_extension(ret->cert, authority->cert, NID_basic_constraints, "critical,CA:FALSE") &&
            add_extension(ret->cert, authority->cert, NID_key_usage, "critical,digitalSignature") &&
            add_extension(ret->cert, authority->cert, NID_ext_key_usage, usage) &&
            (!request->names ||
             add_extension(ret->cert, authority->cert, NID_subject_alt_name, request->names)) &&
            sign(ret, authority);
  return keep_or_drop(ret, ok);
}

void test_cert_deinit(struct test_cert *cert) {
  X509_free(cert->cert);
  EVP_PKEY_free(cert->key);
  *cert = (struct test_cert){.cert = NULL};
}
