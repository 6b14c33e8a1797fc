#include "net/hello.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* One with a key against quantum computers (1,216 bytes) and a ticket that has a client's
 * certificate in it has about 4 KiB. */
#define MAX_HELLO_BYTES (16 * 1024)
#define RECORD_BYTES    SSL3_RT_HEADER_LENGTH
#define HEAD_BYTES      (RECORD_BYTES + SSL3_HM_HEADER_LENGTH)
#define ALERT_BYTES     (RECORD_BYTES + 1) /* up to its level */
/* A record of its own, which may come in front of a second hello (RFC 8446, D.4). */
#define CHANGE_BYTES   (RECORD_BYTES + 1)
#define MAX_LOOK_BYTES (CHANGE_BYTES + HEAD_BYTES)
#define TLS_MAJOR      3

enum verdict { MAY_BE_READ, MUST_WAIT, IS_REFUSED };

/* ---- what is there ---- */

struct look {
  uint8_t bytes[MAX_LOOK_BYTES];
  size_t len;
};

static size_t record_len(const uint8_t *record) {
  return (size_t)record[3] << 8 | record[4];
}

static enum verdict refuse(struct hello_watch *watch, const char *fault) {
  watch->fault = fault;
  return IS_REFUSED;
}

/* Messages of any other kind OpenSSL refuses by their first byte. */
static enum verdict judge_handshake(struct hello_watch *watch, const uint8_t *record) {
  const uint8_t *message = record + RECORD_BYTES;
  if (record[1] != TLS_MAJOR)
    return MAY_BE_READ;
  if (record_len(record) < SSL3_HM_HEADER_LENGTH)
    return refuse(watch, "the ClientHello begins with a record too short for its length");
  size_t len = (size_t)message[1] << 16 | (size_t)message[2] << 8 | message[3];
  if (message[0] == SSL3_MT_CLIENT_HELLO && len > MAX_HELLO_BYTES)
    return refuse(watch, "the ClientHello is longer than 16 KiB");
  return MAY_BE_READ;
}

/* A fatal one ends it; a warning OpenSSL would pass over, and read on unseen. */
static enum verdict judge_alert(struct hello_watch *watch, const uint8_t *record) {
  if (record[RECORD_BYTES] == SSL3_AL_FATAL && record_len(record) > 0)
    return MAY_BE_READ;
  return refuse(watch, "an alert in the place of a ClientHello");
}

static enum verdict judge_record(struct hello_watch *watch, const uint8_t *record) {
  switch (record[0]) {
  case SSL3_RT_HANDSHAKE:
    return judge_handshake(watch, record);
  case SSL3_RT_ALERT:
    return judge_alert(watch, record);
  default:
    return refuse(watch, "something else in the place of a ClientHello");
  }
}

static bool is_of_tls(const uint8_t *record) {
  return record[0] == SSL3_RT_HANDSHAKE || record[0] == SSL3_RT_ALERT;
}

/* What isn't TLS is OpenSSL's to refuse: it knows HTTP from other things. Amid a handshake there
 * are records that it passes over. */
static enum verdict judge(struct hello_watch *watch, const struct look *look, size_t *ret_wanted) {
  const uint8_t *record = look->bytes;
  size_t before = 0;
  *ret_wanted = ALERT_BYTES;
  if (look->len == 0)
    return MUST_WAIT;
  if (record[0] == SSL3_RT_CHANGE_CIPHER_SPEC) {
    if (look->len >= RECORD_BYTES && record_len(record) != 1)
      return refuse(watch, "a ChangeCipherSpec of another length than 1");
    before = CHANGE_BYTES;
  } else if (!is_of_tls(record) && !watch->is_second) {
    return MAY_BE_READ;
  }
  bool is_handshake = look->len > before && record[before] == SSL3_RT_HANDSHAKE;
  *ret_wanted = before + (is_handshake ? HEAD_BYTES : ALERT_BYTES);
  return look->len < *ret_wanted ? MUST_WAIT : judge_record(watch, record + before);
}

/* ---- looking ---- */

static void look_at(int fd, struct look *ret_look) {
  ssize_t n = 0;
  do {
    n = recv(fd, ret_look->bytes, sizeof(ret_look->bytes), MSG_PEEK | MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  ret_look->len = n > 0 ? (size_t)n : 0;
}

/* Also when the socket is at fault: OpenSSL finds out. */
static bool comes_no_more(int fd) {
  struct pollfd polled = {.fd = fd, .events = POLLRDHUP};
  return poll(&polled, 1, 0) > 0;
}

/* The little that is there would wake the loop again and again. */
static void wait_for(struct hello_watch *watch, int fd, size_t wanted) {
  if (watch->low_water == (int)wanted)
    return;
  watch->low_water = (int)wanted;
  (void)setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &watch->low_water, sizeof(watch->low_water));
}

static enum verdict decide(struct hello_watch *watch, int fd) {
  bool is_over = false;
  size_t wanted = 0;
  for (;;) {
    struct look look = {.len = 0};
    look_at(fd, &look);
    enum verdict verdict = judge(watch, &look, &wanted);
    if (verdict != MUST_WAIT)
      return verdict;
    if (is_over)
      return MAY_BE_READ;
    is_over = comes_no_more(fd);
    if (!is_over) {
      wait_for(watch, fd, wanted);
      return MUST_WAIT;
    }
  }
}

/* NOLINTNEXTLINE(readability-function-size): OpenSSL's signature */
static long before_read(BIO *bio, int operation, const char *data, size_t len, int argi, long argl,
                        int result, size_t *processed) {
  struct hello_watch *watch = (struct hello_watch *)BIO_get_callback_arg(bio);
  (void)data;
  (void)len;
  (void)argi;
  (void)argl;
  (void)processed;
  if (operation != BIO_CB_READ)
    return result;
  int fd = (int)BIO_get_fd(bio, NULL);
  enum verdict verdict = decide(watch, fd);
  BIO_clear_retry_flags(bio);
  if (verdict == MUST_WAIT) {
    BIO_set_retry_read(bio);
    return -1;
  }
  if (watch->low_water > 0)
    wait_for(watch, fd, 1);
  watch->low_water = 0;
  if (verdict == IS_REFUSED)
    return -1;
  BIO_set_callback_ex(bio, NULL);
  return result;
}

void hello_end(const struct hello_watch *watch, int fd) {
  uint8_t seen[MAX_LOOK_BYTES];
  if (watch->low_water > 0)
    (void)recv(fd, seen, sizeof(seen), MSG_DONTWAIT);
}

void hello_expect(struct hello_watch *watch, SSL *ssl) {
  BIO *socket = SSL_get_rbio(ssl);
  watch->is_second = SSL_get_state(ssl) != TLS_ST_BEFORE;
  BIO_set_callback_arg(socket, (char *)watch);
  BIO_set_callback_ex(socket, before_read);
}
