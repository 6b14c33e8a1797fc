#include "fault_tls.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* ---- certificates ---- */

struct identity {
  EVP_PKEY *key;
  X509 *cert;
};

static void must(bool ok) {
  if (!ok)
    abort();
}

static void add_extension(X509 *cert, const X509 *issuer, int nid, const char *value) {
  X509V3_CTX ctx;
  X509V3_set_ctx(&ctx, (X509 *)issuer, cert, NULL, NULL, 0);
  X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
  must(extension && X509_add_ext(cert, extension, -1) == 1);
  X509_EXTENSION_free(extension);
}

/* `signer` NULL: signs itself, as an authority. */
static struct identity issue(const char *name, const struct identity *signer) {
  struct identity id = {EVP_EC_gen("P-256"), X509_new()};
  must(id.key && id.cert);
  X509_set_version(id.cert, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(id.cert), signer ? 2 : 1);
  X509_gmtime_adj(X509_getm_notBefore(id.cert), -3600);
  X509_gmtime_adj(X509_getm_notAfter(id.cert), 24L * 3600);
  X509_set_pubkey(id.cert, id.key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(id.cert), "CN", MBSTRING_ASC,
                             (const unsigned char *)name, -1, -1, 0);
  const X509 *issuer = signer ? signer->cert : id.cert;
  X509_set_issuer_name(id.cert, X509_get_subject_name(issuer));
  if (signer)
    add_extension(id.cert, issuer, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
  else
    add_extension(id.cert, issuer, NID_basic_constraints, "critical,CA:TRUE");
  must(X509_sign(id.cert, signer ? signer->key : id.key, EVP_sha256()) > 0);
  return id;
}

static FILE *create(const char *folder, const char *name, const char *end) {
  char path[512];
  snprintf(path, sizeof(path), "%s/%s%s", folder, name, end);
  FILE *file = fopen(path, "w");
  must(file != NULL);
  return file;
}

static void save(const struct identity *id, const char *folder, const char *name) {
  FILE *file = create(folder, name, ".pem");
  must(PEM_write_X509(file, id->cert) == 1);
  fclose(file);
  file = create(folder, name, "-key.pem");
  must(PEM_write_PrivateKey(file, id->key, NULL, NULL, 0, NULL, NULL) == 1);
  fclose(file);
}

static void make(const char *folder, const char *name, const struct identity *signer) {
  struct identity id = issue(name, signer);
  save(&id, folder, name);
  EVP_PKEY_free(id.key);
  X509_free(id.cert);
}

void fault_tls_make_files(const char *folder) {
  struct identity ca = issue("ca", NULL);
  save(&ca, folder, "ca");
  make(folder, "other-ca", NULL);
  make(folder, "server", &ca);
  make(folder, "client", &ca);
  EVP_PKEY_free(ca.key);
  X509_free(ca.cert);
}

/* ---- the server ---- */

/* NOLINTNEXTLINE(readability-function-size): OpenSSL's signature */
static int select_h2(SSL *ssl, const unsigned char **ret, unsigned char *ret_len,
                     const unsigned char *offered, unsigned int len, void *arg) {
  static const unsigned char h2[] = {2, 'h', '2'};
  unsigned char *chosen = NULL;
  (void)ssl;
  (void)arg;
  int rc = SSL_select_next_proto(&chosen, ret_len, h2, sizeof(h2), offered, len);
  *ret = chosen;
  return rc == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

SSL_CTX *fault_tls_context(const char *folder, const struct fault_tls_options *options) {
  char cert[512];
  char key[512];
  char ca[512];
  snprintf(cert, sizeof(cert), "%s/server.pem", folder);
  snprintf(key, sizeof(key), "%s/server-key.pem", folder);
  snprintf(ca, sizeof(ca), "%s/ca.pem", folder);
  SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
  must(ctx && SSL_CTX_use_certificate_chain_file(ctx, cert) == 1 &&
       SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) == 1);
  if (!options->without_alpn)
    SSL_CTX_set_alpn_select_cb(ctx, select_h2, NULL);
  if (options->max_version)
    SSL_CTX_set_max_proto_version(ctx, options->max_version);
  if (options->max_version && options->max_version < TLS1_2_VERSION)
    SSL_CTX_set_security_level(ctx, 0);
  if (options->wants_client) {
    must(SSL_CTX_load_verify_file(ctx, ca) == 1);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
  }
  return ctx;
}

SSL *fault_tls_accept(SSL_CTX *context, int fd) {
  SSL *ssl = SSL_new(context);
  must(ssl && SSL_set_fd(ssl, fd) == 1);
  if (SSL_accept(ssl) == 1)
    return ssl;
  SSL_free(ssl);
  return NULL;
}

ssize_t fault_tls_send(SSL *ssl, int fd, const uint8_t *data, size_t len) {
  return ssl ? SSL_write(ssl, data, (int)len) : send(fd, data, len, MSG_NOSIGNAL);
}

ssize_t fault_tls_receive(SSL *ssl, int fd, uint8_t *data, size_t size) {
  return ssl ? SSL_read(ssl, data, (int)size) : recv(fd, data, size, 0);
}
