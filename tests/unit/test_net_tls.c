/* Connections through TLS, record by record. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop_fixture.h"
#include "net/listener.h"

#define RECORDS      1000
#define MOST_AT_ONCE 64
#define FULL_RECORD  16384

struct fixture {
  struct loop_fixture on;
  struct tls_context *tls;
  struct net_listener *listener;
  struct net_conn *conn;
  struct buf received;
  size_t most_at_once;
  int reads;
  bool pauses; /* after each read */
  bool is_listener_closed;
  int fd; /* the client's */
  SSL_CTX *ctx;
  SSL *client;
};

/* ---- the server's end ---- */

static int on_read(void *user, const uint8_t *data, size_t len) {
  struct fixture *f = user;
  int64_t now_us = clock_monotonic_us(&clock_system);
  assert_in_range(net_conn_read_began_us(f->conn), now_us - LOOP_PATIENCE_US, now_us);
  f->reads++;
  if (len > f->most_at_once)
    f->most_at_once = len;
  assert_true(buf_append(&f->received, data, len));
  if (f->pauses)
    net_conn_pause_read(f->conn);
  return 0;
}

static int on_produce(void *user, struct buf *out) {
  (void)user;
  (void)out;
  return 0;
}

static void on_close(void *user, const char *reason) {
  (void)reason;
  ((struct fixture *)user)->conn = NULL;
}

static bool on_accept(void *user, struct net_conn *conn) {
  static const struct net_conn_ops ops = {on_read, on_produce, on_close};
  struct fixture *f = user;
  f->conn = conn;
  net_conn_start(conn, &ops, f);
  return true;
}

/* ---- fixture ---- */

static void save(const char *path, X509 *cert, EVP_PKEY *key) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  assert_int_equal(cert ? PEM_write_X509(file, cert)
                        : PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL),
                   1);
  fclose(file);
}

/* One that signs itself; the client doesn't look at it. */
static void make_certificate(const char *cert_file, const char *key_file) {
  EVP_PKEY *key = EVP_EC_gen("P-256");
  X509 *cert = X509_new();
  assert_true(key && cert);
  ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
  X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
  X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
  X509_set_pubkey(cert, key);
  assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
  save(cert_file, cert, NULL);
  save(key_file, NULL, key);
  X509_free(cert);
  EVP_PKEY_free(key);
}

static void load_context(struct fixture *f) {
  char folder[] = "/tmp/test_net_tls.XXXXXX";
  char cert_file[64];
  char key_file[64];
  assert_non_null(mkdtemp(folder));
  snprintf(cert_file, sizeof(cert_file), "%s/cert.pem", folder);
  snprintf(key_file, sizeof(key_file), "%s/key.pem", folder);
  make_certificate(cert_file, key_file);
  const struct tls_options options = {
      .cert_file = cert_file, .key_file = key_file, .client_ca_file = "", .max_handshakes = 10};
  struct error err = {0};
  assert_int_equal(tls_context_new(&f->tls, &options, &err), 0);
  unlink(cert_file);
  unlink(key_file);
  rmdir(folder);
}

static int connect_plain(const struct net_listener *listener) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in to = {.sin_family = AF_INET,
                           .sin_port = htons((uint16_t)net_listener_port(listener)),
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
  assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
  return fd;
}

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof(*f));
  assert_non_null(f);
  loop_fixture_init(&f->on);
  buf_init(&f->received, (size_t)1 << 30);
  load_context(f);
  const struct net_listener_options options = {.address = "127.0.0.1:0",
                                               .max_connections = 10,
                                               .write_timeout_us = LOOP_PATIENCE_US,
                                               .tls = f->tls,
                                               .on_accept = on_accept,
                                               .user = f};
  struct error err = {0};
  assert_int_equal(net_listener_new(&f->listener, &f->on.loop, &options, &err), 0);
  f->fd = connect_plain(f->listener);
  f->ctx = SSL_CTX_new(TLS_client_method());
  f->client = SSL_new(f->ctx);
  assert_true(f->client && SSL_set_fd(f->client, f->fd) == 1);
  assert_int_equal(SSL_set_alpn_protos(f->client, (const uint8_t *)"\2h2", 3), 0);
  *state = f;
  return 0;
}

static void on_listener_closed(void *arg) {
  ((struct fixture *)arg)->is_listener_closed = true;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  SSL_free(f->client);
  SSL_CTX_free(f->ctx);
  close(f->fd);
  if (f->conn)
    net_conn_close(f->conn, false, "end of the test");
  net_listener_close(f->listener, on_listener_closed, f);
  while (f->conn || !f->is_listener_closed)
    loop_fixture_step(&f->on);
  tls_context_free(f->tls);
  buf_deinit(&f->received);
  loop_fixture_deinit(&f->on);
  free(f);
  return 0;
}

static void shake_hands(struct fixture *f) {
  while (SSL_connect(f->client) != 1)
    loop_fixture_step(&f->on);
}

static void send_records(struct fixture *f, int count, size_t len) {
  static uint8_t text[FULL_RECORD];
  for (int i = 0; i < count; i++) {
    memset(text, i, len);
    while (SSL_write(f->client, text, (int)len) <= 0)
      loop_fixture_step(&f->on);
  }
}

static void receive(struct fixture *f, size_t len) {
  while (buf_len(&f->received) < len)
    loop_fixture_step(&f->on);
}

/* ---- tests ---- */

static void records_of_a_byte_are_read_so_many_at_once(void **state) {
  struct fixture *f = *state;
  shake_hands(f);
  send_records(f, RECORDS, 1);
  receive(f, RECORDS);
  assert_in_range(f->most_at_once, 1, MOST_AT_ONCE);
  for (size_t i = 0; i < RECORDS; i++)
    assert_int_equal((uint8_t)buf_bytes(&f->received)[i], (uint8_t)i);
}

/* The connection reads nothing while they are sent. */
static void full_records_are_read_several_at_once(void **state) {
  struct fixture *f = *state;
  f->pauses = true;
  shake_hands(f);
  send_records(f, 1, 1);
  receive(f, 1);
  f->pauses = false;
  send_records(f, 3, FULL_RECORD);
  net_conn_resume_read(f->conn);
  receive(f, 3 * FULL_RECORD + 1);
  assert_in_range(f->most_at_once, 2 * FULL_RECORD, 3 * FULL_RECORD);
}

static void connection_that_is_paused_amid_records_stays_so(void **state) {
  struct fixture *f = *state;
  f->pauses = true;
  shake_hands(f);
  send_records(f, RECORDS, 1);
  for (int reads = 1; buf_len(&f->received) < RECORDS; reads++) {
    while (f->reads < reads)
      loop_fixture_step(&f->on);
    for (int i = 0; i < 5; i++)
      loop_fixture_step(&f->on);
    assert_int_equal(f->reads, reads);
    net_conn_resume_read(f->conn);
  }
}

/* They stay in the socket, which would wake the loop again and again if it told of them. */
static void few_bytes_of_a_hello_leave_the_loop_asleep(void **state) {
  struct fixture *f = *state;
  static const uint8_t hello[] = {0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x02, 0x01, 0x40};
  assert_int_equal(send(f->fd, hello, 3, MSG_NOSIGNAL), 3);
  while (!f->conn)
    loop_fixture_step(&f->on);
  for (int i = 0; i < 5; i++)
    loop_fixture_step(&f->on);
  struct pollfd loop = {.fd = uv_backend_fd(&f->on.uv), .events = POLLIN};
  while (poll(&loop, 1, 0) > 0)
    loop_fixture_step(&f->on);
  assert_int_equal(send(f->fd, hello + 3, sizeof(hello) - 3, MSG_NOSIGNAL), sizeof(hello) - 3);
  while (f->conn)
    loop_fixture_step(&f->on);
}

int main(int argc, char **argv) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      CASE(records_of_a_byte_are_read_so_many_at_once),
      CASE(full_records_are_read_several_at_once),
      CASE(connection_that_is_paused_amid_records_stays_so),
      CASE(few_bytes_of_a_hello_leave_the_loop_asleep),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
