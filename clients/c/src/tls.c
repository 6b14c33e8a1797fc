#include "tls.h"
#include "base/key_pair.h"
#include "base/pem_file.h"
#include "internal.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#define TLS12_SUITES "ECDHE+AESGCM:ECDHE+CHACHA20"
/* One record's content. */
#define RECORD_BYTES ((size_t)16 * 1024)
/* What a record adds to its content, and some more for messages of TLS's own. */
#define SPARE_BYTES ((size_t)1024)

struct tls {
  SSL *ssl;
  BIO_METHOD *method;
  struct str feed;
  struct buf *wire;
  uint8_t record[RECORD_BYTES];
};

/* ---- the program's options ---- */

static bool copy(char **to, const char *from) {
  *to = from ? strdup(from) : NULL;
  return !from || *to;
}

struct tls_files *tls_files_new(const struct auditstore_tls_options *o,
                                struct auditstore_status *status) {
  if (!o->cert_file != !o->key_file) {
    status_set(status, AUDITSTORE_INVALID_ARGUMENT, "tls: %s without %s",
               o->cert_file ? "cert_file" : "key_file", o->cert_file ? "key_file" : "cert_file");
    return NULL;
  }
  struct tls_files *files = calloc(1, sizeof(*files));
  if (files && copy(&files->ca_file, o->ca_file) && copy(&files->cert_file, o->cert_file) &&
      copy(&files->key_file, o->key_file) && copy(&files->server_name, o->server_name))
    return files;
  tls_files_free(files);
  status_set(status, AUDITSTORE_RESOURCE_EXHAUSTED, "out of memory");
  return NULL;
}

void tls_files_free(struct tls_files *files) {
  if (!files)
    return;
  free(files->ca_file);
  free(files->cert_file);
  free(files->key_file);
  free(files->server_name);
  free(files);
}

/* ---- the files ---- */

static const char *ssl_reason(void) {
  const char *text = ERR_reason_error_string(ERR_peek_last_error());
  return text ? text : "not in the form that is expected";
}

static bool fail_file(struct reason *reason, const char *what, enum pem_wanted wanted,
                      const char *path) {
  char why[PEM_REASON_SIZE];
  if (pem_file_explain(path, wanted, why))
    reason_set(reason, "%s \"%s\" %s", what, path, why);
  else
    reason_set(reason, "%s \"%s\": %s", what, path, ssl_reason());
  return false;
}

/* All of it or nothing: without its certificate a client would be somebody else. */
static bool use_pair(SSL_CTX *ctx, const struct tls_files *files, const struct key_pair *pair,
                     struct reason *reason) {
  if (pair->key_risk.level == SECRET_RISK_FOREIGN) {
    reason_set(reason, "%s \"%s\": %s", pair->key_risk.who, files->key_file, pair->key_risk.mend);
    return false;
  }
  return SSL_CTX_use_cert_and_key(ctx, pair->cert, pair->key, pair->chain, 1) == 1 ||
         fail_file(reason, "certificate", PEM_CERTIFICATE, files->cert_file);
}

static bool load_pair(SSL_CTX *ctx, const struct tls_files *files, struct reason *reason) {
  char why[KEY_PAIR_TEXT_SIZE];
  struct key_pair pair;
  if (!files->cert_file)
    return true;
  if (!key_pair_read(files->cert_file, files->key_file, &pair, why)) {
    reason_set(reason, "%s", why);
    return false;
  }
  bool ok = use_pair(ctx, files, &pair, reason);
  key_pair_deinit(&pair);
  return ok;
}

static bool load_signers(SSL_CTX *ctx, const struct tls_files *files, struct reason *reason) {
  if (!files->ca_file) {
    if (SSL_CTX_set_default_verify_paths(ctx) == 1)
      return true;
    reason_set(reason, "the system's certificates: %s", ssl_reason());
    return false;
  }
  return SSL_CTX_load_verify_file(ctx, files->ca_file) == 1 ||
         fail_file(reason, "servers' signers", PEM_CERTIFICATE, files->ca_file);
}

static bool configure(SSL_CTX *ctx, struct reason *reason) {
  /* ALPN alone says 0 when it went well. */
  if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
      SSL_CTX_set_cipher_list(ctx, TLS12_SUITES) == 1 &&
      SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)"\2h2", 3) == 0) {
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    return true;
  }
  reason_set(reason, "OpenSSL: %s", ssl_reason());
  return false;
}

/* ---- OpenSSL's view of feed and wire ---- */

static int bio_read(BIO *bio, char *data, int size) {
  struct tls *t = BIO_get_data(bio);
  BIO_clear_retry_flags(bio);
  if (t->feed.len == 0) {
    BIO_set_retry_read(bio);
    return -1;
  }
  size_t n = t->feed.len < (size_t)size ? t->feed.len : (size_t)size;
  memcpy(data, t->feed.data, n);
  t->feed = str_of(t->feed.data + n, t->feed.len - n);
  return (int)n;
}

static int bio_write(BIO *bio, const char *data, int len) {
  struct tls *t = BIO_get_data(bio);
  BIO_clear_retry_flags(bio);
  return buf_append(t->wire, data, (size_t)len) ? len : -1;
}

static long bio_control(BIO *bio, int command, long number, void *pointer) {
  (void)bio;
  (void)number;
  (void)pointer;
  return command == BIO_CTRL_FLUSH;
}

static bool set_bio(struct tls *t) {
  t->method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "auditstore");
  if (!t->method || BIO_meth_set_read(t->method, bio_read) != 1 ||
      BIO_meth_set_write(t->method, bio_write) != 1 ||
      BIO_meth_set_ctrl(t->method, bio_control) != 1)
    return false;
  BIO *bio = BIO_new(t->method);
  if (!bio)
    return false;
  BIO_set_data(bio, t);
  BIO_set_init(bio, 1);
  SSL_set_bio(t->ssl, bio, bio);
  return true;
}

/* ---- life ---- */

static bool is_numeric(const char *host) {
  struct in6_addr room;
  return inet_pton(AF_INET, host, &room) == 1 || inet_pton(AF_INET6, host, &room) == 1;
}

/* The certificate must be for that name. */
static bool set_name(SSL *ssl, const char *name) {
  if (is_numeric(name))
    return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
  SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  return SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

static SSL *ssl_new(const struct tls_files *files, struct reason *reason) {
  SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
  SSL *ssl = NULL;
  reason_set(reason, "out of memory");
  if (ctx && configure(ctx, reason) && load_signers(ctx, files, reason) &&
      load_pair(ctx, files, reason))
    ssl = SSL_new(ctx);
  SSL_CTX_free(ctx); /* `ssl` holds on to it */
  return ssl;
}

struct tls *tls_new(const struct tls_files *files, const char *host, struct buf *wire,
                    struct reason *reason) {
  const char *name = files->server_name ? files->server_name : host;
  struct tls *t = calloc(1, sizeof(*t));
  if (!t) {
    reason_set(reason, "out of memory");
    return NULL;
  }
  ERR_clear_error();
  t->wire = wire;
  t->ssl = ssl_new(files, reason);
  bool ok = t->ssl != NULL;
  if (ok && !(ok = set_name(t->ssl, name) && set_bio(t)))
    reason_set(reason, "\"%s\": %s", name, ssl_reason());
  ERR_clear_error();
  if (ok) {
    SSL_set_connect_state(t->ssl);
    return t;
  }
  tls_free(t);
  return NULL;
}

void tls_free(struct tls *t) {
  if (!t)
    return;
  SSL_free(t->ssl);
  BIO_meth_free(t->method);
  explicit_bzero(t->record, sizeof(t->record));
  free(t);
}

/* ---- the connection ---- */

void tls_feed(struct tls *t, const uint8_t *data, size_t len) {
  t->feed = str_of(data, len);
}

static void explain(const struct tls *t, struct reason *reason) {
  long verdict = SSL_get_verify_result(t->ssl);
  unsigned long error = ERR_peek_error();
  if (ERR_GET_REASON(error) == SSL_R_CERTIFICATE_VERIFY_FAILED && verdict != X509_V_OK)
    reason_set(reason, "the server's certificate: %s", X509_verify_cert_error_string(verdict));
  else
    reason_set(reason, "%s", error ? ERR_reason_error_string(error) : "broken off by the server");
}

/* What a call of OpenSSL that returned `rc` means. */
static enum tls_result judge(const struct tls *t, int rc, struct reason *reason) {
  enum tls_result result = TLS_FAILED;
  int error = SSL_get_error(t->ssl, rc);
  if (error == SSL_ERROR_WANT_READ)
    result = TLS_MORE;
  else if (error == SSL_ERROR_ZERO_RETURN)
    result = TLS_END;
  else
    explain(t, reason);
  ERR_clear_error();
  return result;
}

static bool speaks_h2(const SSL *ssl) {
  const unsigned char *protocol = NULL;
  unsigned int len = 0;
  SSL_get0_alpn_selected(ssl, &protocol, &len);
  return len == 2 && memcmp(protocol, "h2", 2) == 0;
}

enum tls_result tls_shake(struct tls *t, struct reason *reason) {
  ERR_clear_error();
  int rc = SSL_do_handshake(t->ssl);
  if (rc != 1) {
    enum tls_result result = judge(t, rc, reason);
    if (result == TLS_END)
      reason_set(reason, "broken off by the server");
    return result == TLS_END ? TLS_FAILED : result;
  }
  if (speaks_h2(t->ssl))
    return TLS_DONE;
  reason_set(reason, "the server doesn't speak HTTP/2 there (it chose no \"h2\" by ALPN)");
  return TLS_FAILED;
}

enum tls_result tls_read(struct tls *t, const uint8_t **ret_data, size_t *ret_len,
                         struct reason *reason) {
  ERR_clear_error();
  *ret_data = t->record;
  return SSL_read_ex(t->ssl, t->record, sizeof(t->record), ret_len) == 1 ? TLS_DONE
                                                                         : judge(t, 0, reason);
}

bool tls_write(struct tls *t, struct buf *plain) {
  ERR_clear_error();
  while (buf_len(plain) > 0) {
    size_t len = buf_len(plain) < RECORD_BYTES ? buf_len(plain) : RECORD_BYTES;
    size_t n = 0;
    /* Half a record in the buf would be the end of the connection anyway. */
    if (t->wire->max_bytes - buf_len(t->wire) < len + SPARE_BYTES ||
        SSL_write_ex(t->ssl, buf_bytes(plain), len, &n) != 1) {
      ERR_clear_error();
      return false;
    }
    buf_consume(plain, n);
  }
  return true;
}

void tls_close(struct tls *t) {
  ERR_clear_error();
  SSL_shutdown(t->ssl);
  ERR_clear_error();
}
