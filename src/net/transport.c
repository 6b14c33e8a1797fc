#include "net/transport.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

/* Some stacks send one for a number of bytes, none for few. */
#define FIRST_KEY_UPDATES    32
#define BYTES_PER_KEY_UPDATE ((uint64_t)64 * 1024)

/* ---- life ---- */

/* A ServerHello with this for its random number (RFC 8446, 4.1.3) asks for a second ClientHello. */
static bool is_hello_retry(const uint8_t *message, size_t len) {
  static const uint8_t retry[SSL3_RANDOM_SIZE] = {0xCF, 0x21, 0xAD, 0x74, 0xE5, 0x9A, 0x61, 0x11,
                                                  0xBE, 0x1D, 0x8C, 0x02, 0x1E, 0x65, 0xB8, 0x91,
                                                  0xC2, 0xA2, 0x11, 0x16, 0x7A, 0xBB, 0x8C, 0x5E,
                                                  0x07, 0x9E, 0x09, 0xE2, 0xC8, 0xA8, 0x33, 0x9C};
  const size_t at = SSL3_HM_HEADER_LENGTH + sizeof(uint16_t); /* behind the version */
  return len >= at + sizeof(retry) && message[0] == SSL3_MT_SERVER_HELLO &&
         memcmp(message + at, retry, sizeof(retry)) == 0;
}

/* Told by the head of a record: of the message behind it OpenSSL keeps what has come until the rest
 * is there, and refuses it only then. TLS 1.3 has records of this type in handshakes alone. */
static bool is_new_handshake(const SSL *ssl, const uint8_t *record) {
  return record[0] == SSL3_RT_HANDSHAKE && SSL_version(ssl) < TLS1_3_VERSION &&
         SSL_is_init_finished(ssl);
}

/* NOLINTNEXTLINE(readability-function-size): OpenSSL's signature */
static void on_message(int is_sent, int version, int type, const void *data, size_t len, SSL *ssl,
                       void *arg) {
  struct transport *t = arg;
  const uint8_t *message = data;
  (void)version;
  if (type == SSL3_RT_HEADER && !is_sent)
    t->is_renegotiated |= is_new_handshake(ssl, message);
  if (type != SSL3_RT_HANDSHAKE || len == 0)
    return;
  if (!is_sent && message[0] == SSL3_MT_KEY_UPDATE)
    t->key_updates++;
  if (is_sent && is_hello_retry(message, len))
    hello_expect(&t->hello, ssl);
}

bool transport_init(struct transport *t, int fd, struct tls_context *context) {
  *t = (struct transport){.kind = context ? TRANSPORT_TLS : TRANSPORT_PLAIN,
                          .fd = fd,
                          .read_waits_for = UV_READABLE,
                          .write_waits_for = UV_WRITABLE};
  if (!context)
    return true;
  t->ssl = tls_context_accept(context, fd, &t->refusal);
  if (!t->ssl)
    return false;
  SSL_set_msg_callback(t->ssl, on_message);
  SSL_set_msg_callback_arg(t->ssl, t);
  hello_expect(&t->hello, t->ssl);
  return true;
}

void transport_close(struct transport *t) {
  SSL_free(t->ssl);
  t->ssl = NULL;
  free(t->refusal.subject);
  t->refusal.subject = NULL;
  hello_end(&t->hello, t->fd);
  close(t->fd);
  t->fd = -1;
}

/* ---- TLS ---- */

static const char *tls_reason(void) {
  const char *reason = ERR_reason_error_string(ERR_peek_error());
  return reason ? reason : "closed by the peer";
}

/* What a call of OpenSSL that returned `rc` means; sets what it waits for. */
static int judge(struct transport *t, int rc, int *waits_for, const char **ret_reason) {
  switch (SSL_get_error(t->ssl, rc)) {
  case SSL_ERROR_WANT_READ:
    *waits_for = UV_READABLE;
    return TRANSPORT_WAIT;
  case SSL_ERROR_WANT_WRITE:
    *waits_for = UV_WRITABLE;
    return TRANSPORT_WAIT;
  case SSL_ERROR_ZERO_RETURN:
    return TRANSPORT_END;
  default:
    *ret_reason = tls_reason();
    return TRANSPORT_FAILED;
  }
}

static bool speaks_h2(const SSL *ssl) {
  const unsigned char *protocol = NULL;
  unsigned int len = 0;
  SSL_get0_alpn_selected(ssl, &protocol, &len);
  return len == 2 && memcmp(protocol, "h2", 2) == 0;
}

static int without_tls(const char **ret_reason) {
  *ret_reason = "TLS isn't there";
  return TRANSPORT_FAILED;
}

int transport_handshake(struct transport *t, const char **ret_reason) {
  if (t->kind == TRANSPORT_PLAIN)
    return 0;
  if (!t->ssl)
    return without_tls(ret_reason);
  ERR_clear_error();
  int rc = SSL_do_handshake(t->ssl);
  if (rc != 1) {
    rc = judge(t, rc, &t->read_waits_for, ret_reason);
    if (rc == TRANSPORT_WAIT)
      return rc;
    if (rc == TRANSPORT_END)
      *ret_reason = "closed by the peer";
    if (t->hello.fault)
      *ret_reason = t->hello.fault;
    return TRANSPORT_FAILED;
  }
  t->read_waits_for = UV_READABLE;
  if (speaks_h2(t->ssl))
    return 0;
  *ret_reason = "the peer doesn't name h2 by ALPN";
  return TRANSPORT_FAILED;
}

/* ---- bytes ---- */

static ssize_t read_plain(struct transport *t, uint8_t *data, size_t size,
                          const char **ret_reason) {
  ssize_t n = 0;
  do {
    n = recv(t->fd, data, size, 0);
  } while (n < 0 && errno == EINTR);
  if (n >= 0)
    return n;
  if (errno == EAGAIN)
    return TRANSPORT_WAIT;
  *ret_reason = errno == ECONNRESET ? "reset by the peer" : "read failed";
  return TRANSPORT_FAILED;
}

/* What the peer does with TLS that it may not; NULL: nothing. */
static const char *misuse(const struct transport *t) {
  if (t->is_renegotiated)
    return "TLS renegotiation, which HTTP/2 forbids"; /* RFC 9113, 9.2.1 */
  if (t->key_updates > FIRST_KEY_UPDATES + t->received / BYTES_PER_KEY_UPDATE)
    return "too many TLS key updates";
  return NULL;
}

ssize_t transport_read(struct transport *t, uint8_t *data, size_t size, const char **ret_reason) {
  size_t n = 0;
  if (t->kind != TRANSPORT_TLS)
    return read_plain(t, data, size, ret_reason);
  if (!t->ssl)
    return without_tls(ret_reason);
  ERR_clear_error();
  errno = 0;
  bool is_read = SSL_read_ex(t->ssl, data, size, &n) == 1;
  t->received += n;
  const char *fault = misuse(t);
  if (fault) {
    *ret_reason = fault;
    return TRANSPORT_FAILED;
  }
  if (!is_read)
    return judge(t, 0, &t->read_waits_for, ret_reason);
  t->read_waits_for = UV_READABLE;
  return (ssize_t)n;
}

static ssize_t write_plain(const struct transport *t, const uint8_t *data, size_t len) {
  ssize_t n = 0;
  do {
    n = send(t->fd, data, len, MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  if (n >= 0)
    return n;
  return errno == EAGAIN ? TRANSPORT_WAIT : TRANSPORT_FAILED;
}

/* Record by record, until the socket is full. */
static ssize_t write_tls(struct transport *t, const uint8_t *data, size_t len) {
  const char *reason = NULL;
  size_t done = 0;
  while (done < len) {
    size_t n = 0;
    ERR_clear_error();
    if (SSL_write_ex(t->ssl, data + done, len - done, &n) != 1) {
      int rc = judge(t, 0, &t->write_waits_for, &reason);
      if (rc != TRANSPORT_WAIT)
        return TRANSPORT_FAILED;
      return done > 0 ? (ssize_t)done : TRANSPORT_WAIT;
    }
    t->write_waits_for = UV_WRITABLE;
    done += n;
  }
  return (ssize_t)done;
}

ssize_t transport_write(struct transport *t, const uint8_t *data, size_t len) {
  if (t->kind == TRANSPORT_PLAIN)
    return write_plain(t, data, len);
  return t->ssl ? write_tls(t, data, len) : TRANSPORT_FAILED;
}

bool transport_has_pending(const struct transport *t) {
  return t->ssl && SSL_pending(t->ssl) > 0;
}

bool transport_end(struct transport *t) {
  if (t->ssl && SSL_is_init_finished(t->ssl)) {
    ERR_clear_error();
    (void)SSL_shutdown(t->ssl);
  }
  SSL_free(t->ssl);
  t->ssl = NULL;
  t->kind = TRANSPORT_ENDED;
  t->read_waits_for = UV_READABLE;
  return shutdown(t->fd, SHUT_WR) == 0;
}

/* ---- who it is ---- */

const char *transport_refusal(const struct transport *t) {
  return t->refusal.cause ? t->refusal.cause : "";
}

const char *transport_refused_subject(const struct transport *t) {
  return t->refusal.subject ? t->refusal.subject : "";
}

const char *transport_version(const struct transport *t) {
  return t->ssl ? SSL_get_version(t->ssl) : "";
}

struct peer_names *transport_peer_names(const struct transport *t) {
  const X509 *cert = t->ssl ? SSL_get0_peer_certificate(t->ssl) : NULL;
  return cert && SSL_get_verify_result(t->ssl) == X509_V_OK ? peer_names_of(cert) : NULL;
}

void transport_peer_subject(const struct transport *t, char *ret_text, size_t size) {
  const X509 *cert = t->ssl ? SSL_get0_peer_certificate(t->ssl) : NULL;
  ret_text[0] = '\0';
  if (cert)
    X509_NAME_oneline(X509_get_subject_name(cert), ret_text, (int)size);
}
