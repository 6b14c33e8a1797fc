#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/key_pair.h"
#include "base/log.h"
#include "base/secret_rule.h"

#define SUBJECT_TEXT_SIZE 256
#define TLS12_SUITES      "ECDHE+AESGCM:ECDHE+CHACHA20"
/* Not the finite fields (RFC 7919): to check a peer's key of ffdhe8192 takes 100 ms, to make one up
 * nothing. The dearest of these, P-384, takes 1.1 ms (`openssl speed`). */
#define GROUPS "X25519:P-256:P-384:P-521"
/* Of a client's certificates; OpenSSL's own limit is 100 KB, for each handshake. */
#define MAX_CERT_LIST_BYTES (16 * 1024)

struct tls_context {
  SSL_CTX *ctx; /* owned; connections hold references of their own */
  struct list waiting;
  int handshakes;
  int max_handshakes;
};

/* ---- ALPN ---- */

/* NOLINTNEXTLINE(readability-function-size): OpenSSL's signature */
static int select_h2(SSL *ssl, const unsigned char **ret_protocol, unsigned char *ret_len,
                     const unsigned char *offered, unsigned int len, void *arg) {
  static const unsigned char h2[] = {2, 'h', '2'};
  unsigned char *chosen = NULL;
  (void)ssl;
  (void)arg;
  int rc = SSL_select_next_proto(&chosen, ret_len, h2, sizeof(h2), offered, len);
  *ret_protocol = chosen;
  return rc == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* ---- files ---- */

static const char *ssl_reason(void) {
  const char *reason = ERR_reason_error_string(ERR_peek_last_error());
  return reason ? reason : "not in the form that is expected";
}

static int fail_file(struct error *err, const char *what, const char *path) {
  return error_set(err, ERR_FAILED_PRECONDITION, "%s \"%s\": %s", what, path, ssl_reason());
}

static int use_pair(SSL_CTX *ctx, const struct tls_options *options, const struct key_pair *pair,
                    struct error *err) {
  const struct secret_rule rule = {.remedy =
                                       ", and have a new certificate made if it was ever used so",
                                   .is_strict = options->is_key_private};
  if (SSL_CTX_use_cert_and_key(ctx, pair->cert, pair->key, pair->chain, 1) != 1)
    return fail_file(err, "certificate", options->cert_file);
  return secret_rule_apply(&rule, options->key_file, pair->key_risk, err);
}

/* Not refused: clients will say so, and the daemon may be about to get a new one. */
static void warn_of_age(const X509 *cert, const char *path) {
  time_t now = time(NULL);
  if (X509_cmp_time(X509_get0_notAfter(cert), &now) < 0)
    log_warn("the TLS certificate has expired", KV("file", path));
  else if (X509_cmp_time(X509_get0_notBefore(cert), &now) > 0)
    log_warn("the TLS certificate isn't valid yet", KV("file", path));
}

static int load_pair(SSL_CTX *ctx, const struct tls_options *options, struct error *err) {
  char why[KEY_PAIR_TEXT_SIZE];
  struct key_pair pair;
  if (!key_pair_read(options->cert_file, options->key_file, &pair, why))
    return error_set(err, ERR_FAILED_PRECONDITION, "%s", why);
  int rc = use_pair(ctx, options, &pair, err);
  if (rc == 0)
    warn_of_age(pair.cert, options->cert_file);
  key_pair_deinit(&pair);
  return rc;
}

/* A failed handshake forgets the certificate. */
static int note_refusal(int is_good, X509_STORE_CTX *store) {
  const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
  struct tls_refusal *refusal = SSL_get_app_data(ssl);
  if (is_good || refusal->cause)
    return is_good;
  const X509 *shown = X509_STORE_CTX_get0_cert(store);
  refusal->cause = X509_verify_cert_error_string(X509_STORE_CTX_get_error(store));
  refusal->subject = xmalloc(SUBJECT_TEXT_SIZE);
  X509_NAME_oneline(X509_get_subject_name(shown), refusal->subject, SUBJECT_TEXT_SIZE);
  return is_good;
}

static int load_clients(SSL_CTX *ctx, const struct tls_options *options, struct error *err) {
  static const unsigned char id[] = "auditstored";
  char why[KEY_PAIR_TEXT_SIZE];
  if (options->clients == TLS_CLIENTS_ANONYMOUS)
    return 0;
  if (!key_pair_check_certificates(options->client_ca_file, why))
    return error_set(err, ERR_FAILED_PRECONDITION, "clients' %s", why);
  STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(options->client_ca_file);
  if (!names || SSL_CTX_load_verify_file(ctx, options->client_ca_file) != 1) {
    sk_X509_NAME_pop_free(names, X509_NAME_free);
    return fail_file(err, "clients' signers", options->client_ca_file);
  }
  SSL_CTX_set_client_CA_list(ctx, names);
  SSL_CTX_set_max_cert_list(ctx, MAX_CERT_LIST_BYTES);
  int mode = SSL_VERIFY_PEER;
  if (options->clients == TLS_CLIENTS_REQUIRED)
    mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
  SSL_CTX_set_verify(ctx, mode, note_refusal);
  /* Without it OpenSSL refuses to resume sessions of clients with certificates. */
  SSL_CTX_set_session_id_context(ctx, id, sizeof(id) - 1);
  return 0;
}

/* ---- life ---- */

static SSL_CTX *ctx_new(void) {
  SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
  if (!ctx || SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 ||
      SSL_CTX_set_cipher_list(ctx, TLS12_SUITES) != 1 || SSL_CTX_set1_groups_list(ctx, GROUPS) != 1)
    abort(); /* out of memory, or not the OpenSSL that this was built for */
  SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                               SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                            SSL_MODE_RELEASE_BUFFERS);
  /* One read ends behind a message of TLS's own: a flood of them would hold it for ever. */
  SSL_CTX_clear_mode(ctx, SSL_MODE_AUTO_RETRY);
  /* Sessions are resumed by tickets, which the peer keeps; 20,480 of 0.9 KB would stay here. */
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_alpn_select_cb(ctx, select_h2, NULL);
  return ctx;
}

static int load(SSL_CTX **ret_ctx, const struct tls_options *options, struct error *err) {
  SSL_CTX *ctx = ctx_new();
  ERR_clear_error();
  int rc = load_pair(ctx, options, err);
  if (rc == 0)
    rc = load_clients(ctx, options, err);
  if (rc < 0) {
    SSL_CTX_free(ctx);
    return rc;
  }
  *ret_ctx = ctx;
  return 0;
}

int tls_context_new(struct tls_context **ret_context, const struct tls_options *options,
                    struct error *err) {
  SSL_CTX *ctx = NULL;
  int rc = load(&ctx, options, err);
  if (rc < 0)
    return rc;
  struct tls_context *context = xcalloc(1, sizeof(*context));
  context->ctx = ctx;
  context->max_handshakes = options->max_handshakes;
  *ret_context = context;
  return 0;
}

int tls_context_reload(struct tls_context *context, const struct tls_options *options,
                       struct error *err) {
  SSL_CTX *ctx = NULL;
  int rc = load(&ctx, options, err);
  if (rc < 0)
    return rc;
  SSL_CTX_free(context->ctx);
  context->ctx = ctx;
  return 0;
}

void tls_context_free(struct tls_context *context) {
  if (!context)
    return;
  SSL_CTX_free(context->ctx);
  free(context);
}

SSL *tls_context_accept(struct tls_context *context, int fd, struct tls_refusal *refusal) {
  SSL *ssl = SSL_new(context->ctx);
  if (ssl && SSL_set_fd(ssl, fd) == 1 && SSL_set_app_data(ssl, refusal) == 1) {
    SSL_set_accept_state(ssl);
    return ssl;
  }
  SSL_free(ssl);
  return NULL;
}

/* ---- turns ---- */

bool tls_turn_take(struct tls_context *context, struct tls_turn *turn) {
  if (context->handshakes < context->max_handshakes) {
    context->handshakes++;
    turn->state = TLS_TURN_HERE;
    return true;
  }
  turn->state = TLS_TURN_WAITING;
  list_push_back(&context->waiting, &turn->link);
  return false;
}

static bool begin_next(struct tls_context *context) {
  struct list_link *link = list_pop_front(&context->waiting);
  if (!link)
    return false;
  struct tls_turn *next = LIST_ENTRY(link, struct tls_turn, link);
  next->state = TLS_TURN_HERE;
  next->begin(next);
  return true;
}

bool tls_turn_yield(struct tls_context *context, struct tls_turn *turn) {
  if (turn->state != TLS_TURN_HERE || !begin_next(context))
    return false;
  turn->state = TLS_TURN_WAITING;
  list_push_back(&context->waiting, &turn->link);
  return true;
}

void tls_turn_end(struct tls_context *context, struct tls_turn *turn) {
  enum tls_turn_state state = turn->state;
  turn->state = TLS_TURN_NONE;
  if (state == TLS_TURN_WAITING)
    list_remove(&context->waiting, &turn->link);
  if (state != TLS_TURN_HERE)
    return;
  if (!begin_next(context))
    context->handshakes--;
}
