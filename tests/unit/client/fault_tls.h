/*
 * fault_tls: certificates for tests, and the server's side of TLS for fault_server. Blocks.
 */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Makes, in `folder`, of one authority:
 *   ca.pem, other-ca.pem              who signs; another one, who signed nothing here
 *   server.pem, server-key.pem        for "localhost" and 127.0.0.1
 *   client.pem, client-key.pem        for a client */
void fault_tls_make_files(const char *folder);

struct fault_tls_options {
  bool without_alpn;
  bool wants_client; /* a certificate of ca.pem's is required */
  int max_version;   /* 0: the newest */
};

/* With the server's files of `folder`; owned by the caller: SSL_CTX_free(). */
SSL_CTX *fault_tls_context(const char *folder, const struct fault_tls_options *options);

/* NULL: the handshake failed. */
SSL *fault_tls_accept(SSL_CTX *context, int fd);

/* Like send() and recv(); `ssl` NULL: without TLS. */
ssize_t fault_tls_send(SSL *ssl, int fd, const uint8_t *data, size_t len);
ssize_t fault_tls_receive(SSL *ssl, int fd, uint8_t *data, size_t size);
