/* Listener and connections, with plain sockets at the other end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop_fixture.h"
#include "net/listener.h"

#define MAX_CONNS 40

struct fixture;

/* The server's end of a connection. */
struct end {
  struct fixture *f;
  struct net_conn *conn;
  struct buf received;
  size_t to_produce; /* bytes it still wants to send */
  bool ends_then;
  bool refuses;
  int reads, produces, closes;
  const char *reason;
};

struct fixture {
  struct loop_fixture on;
  struct net_listener *listener;
  struct end ends[MAX_CONNS];
  int accepted;
  bool is_listener_closed;
};

/* ---- the server's end ---- */

static int on_read(void *user, const uint8_t *data, size_t len) {
  struct end *end = user;
  assert_in_range(len, 1, 65536);
  assert_int_equal(end->closes, 0);
  end->reads++;
  assert_true(buf_append(&end->received, data, len));
  return end->refuses ? -1 : 0;
}

static int on_produce(void *user, struct buf *out) {
  struct end *end = user;
  assert_int_equal(end->closes, 0);
  end->produces++;
  while (end->to_produce > 0 && buf_len(out) < NET_WRITE_GATHER_BYTES) {
    size_t n = end->to_produce < 10000 ? end->to_produce : 10000;
    uint8_t *p = buf_reserve(out, n);
    assert_non_null(p);
    memset(p, 'p', n);
    buf_commit(out, n);
    end->to_produce -= n;
  }
  return end->ends_then && end->to_produce == 0 ? -1 : 0;
}

static void on_close(void *user, const char *reason) {
  struct end *end = user;
  end->closes++;
  end->reason = reason;
  end->conn = NULL;
}

static const struct net_conn_ops ops = {on_read, on_produce, on_close};

static bool on_accept(void *user, struct net_conn *conn) {
  struct fixture *f = user;
  assert_true(f->accepted < MAX_CONNS);
  struct end *end = &f->ends[f->accepted++];
  end->f = f;
  end->conn = conn;
  buf_init(&end->received, (size_t)1 << 30);
  net_conn_start(conn, &ops, end);
  return true;
}

/* ---- fixture ---- */

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof(*f));
  assert_non_null(f);
  loop_fixture_init(&f->on);
  *state = f;
  return 0;
}

static void on_listener_closed(void *arg) {
  ((struct fixture *)arg)->is_listener_closed = true;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  if (f->listener) {
    net_listener_close(f->listener, on_listener_closed, f);
    while (!f->is_listener_closed)
      loop_fixture_step(&f->on);
  }
  for (int i = 0; i < f->accepted; i++) {
    if (f->ends[i].conn)
      net_conn_close(f->ends[i].conn, false, "end of the test");
  }
  for (int i = 0; i < f->accepted; i++) {
    while (f->ends[i].closes == 0)
      loop_fixture_step(&f->on);
    assert_int_equal(f->ends[i].closes, 1);
    buf_deinit(&f->ends[i].received);
  }
  loop_fixture_deinit(&f->on);
  free(f);
  return 0;
}

static void listen_with(struct fixture *f, int max_connections, int64_t write_timeout_us) {
  const struct net_listener_options options = {.address = "127.0.0.1:0",
                                               .max_connections = max_connections,
                                               .write_timeout_us = write_timeout_us,
                                               .on_accept = on_accept,
                                               .user = f};
  struct error err = {0};
  assert_int_equal(net_listener_new(&f->listener, &f->on.loop, &options, &err), 0);
}

static int dial(struct fixture *f) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in to = {.sin_family = AF_INET,
                           .sin_port = htons((uint16_t)net_listener_port(f->listener)),
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  assert_true(fd >= 0);
  assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
  return fd;
}

/* A connection and the server's end of it. */
static int connect_pair(struct fixture *f, struct end **ret_end) {
  int before = f->accepted;
  int fd = dial(f);
  while (f->accepted == before)
    loop_fixture_step(&f->on);
  *ret_end = &f->ends[before];
  return fd;
}

/* Reads until the peer closes or `stop_after` bytes; -1 when the connection was reset. */
static ssize_t read_all(struct fixture *f, int fd, size_t stop_after) {
  uint8_t data[65536];
  size_t total = 0;
  while (total < stop_after) {
    ssize_t n = recv(fd, data, sizeof(data), MSG_DONTWAIT);
    if (n == 0)
      break;
    if (n < 0 && errno != EAGAIN)
      return -1;
    if (n > 0)
      total += (size_t)n;
    loop_fixture_step(&f->on);
  }
  return (ssize_t)total;
}

/* ---- tests ---- */

static void bytes_come_in_and_go_out(void **state) {
  struct fixture *f = *state;
  struct end *end = NULL;
  listen_with(f, 10, LOOP_PATIENCE_US);
  int fd = connect_pair(f, &end);
  assert_int_equal(send(fd, "hello", 5, MSG_NOSIGNAL), 5);
  while (buf_len(&end->received) < 5)
    loop_fixture_step(&f->on);
  assert_memory_equal(buf_bytes(&end->received), "hello", 5);
  end->to_produce = 3;
  net_conn_want_write(end->conn);
  assert_int_equal(end->produces, 0);
  assert_int_equal(read_all(f, fd, 3), 3);
  assert_int_equal(strncmp(net_conn_peer(end->conn), "127.0.0.1:", 10), 0);
  close(fd);
  while (end->closes == 0)
    loop_fixture_step(&f->on);
  assert_string_equal(end->reason, "closed by the peer");
}

static void wishes_to_write_of_one_turn_are_one_production(void **state) {
  struct fixture *f = *state;
  struct end *end = NULL;
  listen_with(f, 10, LOOP_PATIENCE_US);
  int fd = connect_pair(f, &end);
  end->to_produce = 100;
  for (int i = 0; i < 10; i++)
    net_conn_want_write(end->conn);
  assert_int_equal(read_all(f, fd, 100), 100);
  assert_int_equal(end->produces, 1);
  close(fd);
}

static void more_than_the_socket_takes_is_written_piece_by_piece(void **state) {
  struct fixture *f = *state;
  struct end *end = NULL;
  listen_with(f, 10, LOOP_PATIENCE_US);
  int fd = connect_pair(f, &end);
  end->to_produce = 20000000;
  net_conn_want_write(end->conn);
  for (int i = 0; i < 50; i++)
    loop_fixture_step(&f->on);
  assert_true(end->to_produce > 0);
  assert_int_equal(read_all(f, fd, 20000000), 20000000);
  assert_int_equal(end->to_produce, 0);
  close(fd);
}

static void peer_that_takes_nothing_is_closed_after_the_timeout(void **state) {
  struct fixture *f = *state;
  struct end *end = NULL;
  listen_with(f, 10, 50000);
  int fd = connect_pair(f, &end);
  end->to_produce = 50000000;
  net_conn_want_write(end->conn);
  int64_t before = clock_monotonic_us(&clock_system);
  while (end->closes == 0)
    loop_fixture_step(&f->on);
  assert_true(clock_monotonic_us(&clock_system) - before >= 50000);
  assert_string_equal(end->reason, "the peer took no bytes in time");
  close(fd);
}

static void peer_that_takes_bytes_slowly_is_not_closed(void **state) {
  struct fixture *f = *state;
  struct end *end = NULL;
  listen_with(f, 10, 300000);
  int fd = connect_pair(f, &end);
  end->to_produce = 12000000;
  net_conn_want_write(end->conn);
  int64_t until = clock_monotonic_us(&clock_system) + 900000;
  int64_t next = 0;
  while (clock_monotonic_us(&clock_system) < until) {
    uint8_t data[500000];
    if (clock_monotonic_us(&clock_system) >= next) {
      (void)recv(fd, data, sizeof(data), MSG_DONTWAIT);
      next = clock_monotonic_us(&clock_system) + 50000;
    }
    loop_fixture_step(&f->on);
  }
  assert_int_equal(end->closes, 0);
  assert_true(end->to_produce > 0);
  close(fd);
}

static void paused_connection_reads_nothing(void **state) {
  struct fixture *f = *state;
  struct end *end = NULL;
  listen_with(f, 10, LOOP_PATIENCE_US);
  int fd = connect_pair(f, &end);
  net_conn_pause_read(end->conn);
  assert_int_equal(send(fd, "hello", 5, MSG_NOSIGNAL), 5);
  for (int i = 0; i < 50; i++)
    loop_fixture_step(&f->on);
  assert_int_equal(end->reads, 0);
  net_conn_resume_read(end->conn);
  while (end->reads == 0)
    loop_fixture_step(&f->on);
  assert_int_equal(buf_len(&end->received), 5);
  close(fd);
}

static void close_with_flush_delivers_everything_though_input_is_unread(void **state) {
  struct fixture *f = *state;
  struct end *end = NULL;
  static uint8_t junk[300000];
  listen_with(f, 10, LOOP_PATIENCE_US);
  int fd = connect_pair(f, &end);
  net_conn_pause_read(end->conn);
  assert_true(send(fd, junk, sizeof(junk), MSG_NOSIGNAL | MSG_DONTWAIT) > 0);
  end->to_produce = 50000;
  end->ends_then = true;
  net_conn_want_write(end->conn);
  assert_int_equal(read_all(f, fd, SIZE_MAX), 50000);
  close(fd);
  while (end->closes == 0)
    loop_fixture_step(&f->on);
  assert_string_equal(end->reason, "finished");
}

static void peer_that_does_not_close_is_closed_a_second_after_the_flush(void **state) {
  struct fixture *f = *state;
  struct end *end = NULL;
  listen_with(f, 10, LOOP_PATIENCE_US);
  int fd = connect_pair(f, &end);
  net_conn_close(end->conn, true, "that is all");
  int64_t before = clock_monotonic_us(&clock_system);
  while (end->closes == 0)
    loop_fixture_step(&f->on);
  int64_t took = clock_monotonic_us(&clock_system) - before;
  assert_in_range(took, 900000, 5000000);
  assert_string_equal(end->reason, "that is all");
  close(fd);
}

static void peer_that_goes_on_sending_behind_the_flush_is_closed(void **state) {
  struct fixture *f = *state;
  struct end *end = NULL;
  static uint8_t junk[65536];
  listen_with(f, 10, LOOP_PATIENCE_US);
  int fd = connect_pair(f, &end);
  net_conn_close(end->conn, true, "that is all");
  size_t sent = 0;
  while (end->closes == 0) {
    for (ssize_t n; (n = send(fd, junk, sizeof(junk), MSG_NOSIGNAL | MSG_DONTWAIT)) > 0;)
      sent += (size_t)n;
    loop_fixture_step(&f->on);
  }
  /* What was read and what the sockets hold; a second's worth would be much more. */
  assert_in_range(sent, 256 * 1024, 16 * 1024 * 1024);
  close(fd);
}

static void close_may_be_said_twice_and_reports_once(void **state) {
  struct fixture *f = *state;
  struct end *end = NULL;
  listen_with(f, 10, LOOP_PATIENCE_US);
  int fd = connect_pair(f, &end);
  end->to_produce = 1000;
  net_conn_want_write(end->conn);
  net_conn_close(end->conn, false, "first");
  net_conn_close(end->conn, true, "second");
  net_conn_want_write(end->conn);
  net_conn_pause_read(end->conn);
  assert_int_equal(end->closes, 0);
  while (end->closes == 0)
    loop_fixture_step(&f->on);
  for (int i = 0; i < 20; i++)
    loop_fixture_step(&f->on);
  assert_int_equal(end->closes, 1);
  assert_int_equal(end->produces, 0);
  assert_string_equal(end->reason, "first");
  assert_int_equal(read_all(f, fd, SIZE_MAX), 0);
  close(fd);
}

static void user_may_refuse_what_it_reads(void **state) {
  struct fixture *f = *state;
  struct end *end = NULL;
  listen_with(f, 10, LOOP_PATIENCE_US);
  int fd = connect_pair(f, &end);
  end->refuses = true;
  assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), 1);
  while (end->closes == 0)
    loop_fixture_step(&f->on);
  assert_int_equal(end->reads, 1);
  close(fd);
}

static void reset_by_the_peer_is_reported(void **state) {
  struct fixture *f = *state;
  struct end *end = NULL;
  listen_with(f, 10, LOOP_PATIENCE_US);
  int fd = connect_pair(f, &end);
  const struct linger hard = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
  close(fd);
  while (end->closes == 0)
    loop_fixture_step(&f->on);
  assert_int_equal(end->closes, 1);
}

static void connections_above_the_maximum_are_closed_at_once(void **state) {
  struct fixture *f = *state;
  struct end *end = NULL;
  listen_with(f, 2, LOOP_PATIENCE_US);
  int first = connect_pair(f, &end);
  struct end *second_end = NULL;
  int second = connect_pair(f, &second_end);
  int third = dial(f);
  assert_int_equal(read_all(f, third, SIZE_MAX), 0);
  assert_int_equal(f->accepted, 2);
  close(first);
  while (end->closes == 0)
    loop_fixture_step(&f->on);
  struct end *fourth_end = NULL;
  int fourth = connect_pair(f, &fourth_end);
  close(second);
  close(third);
  close(fourth);
}

static void storm_of_connects_is_accepted_turn_by_turn(void **state) {
  struct fixture *f = *state;
  int fds[MAX_CONNS];
  listen_with(f, MAX_CONNS, LOOP_PATIENCE_US);
  for (int i = 0; i < MAX_CONNS; i++)
    fds[i] = dial(f);
  while (f->accepted < MAX_CONNS) {
    int before = f->accepted;
    loop_fixture_step(&f->on);
    assert_in_range(f->accepted - before, 0, 8);
  }
  for (int i = 0; i < MAX_CONNS; i++)
    close(fds[i]);
}

static void connections_outlive_their_listener(void **state) {
  struct fixture *f = *state;
  struct end *end = NULL;
  listen_with(f, 10, LOOP_PATIENCE_US);
  int fd = connect_pair(f, &end);
  net_listener_close(f->listener, on_listener_closed, f);
  f->listener = NULL;
  while (!f->is_listener_closed)
    loop_fixture_step(&f->on);
  end->to_produce = 10;
  net_conn_want_write(end->conn);
  assert_int_equal(read_all(f, fd, 10), 10);
  close(fd);
}

static void running_out_of_descriptors_pauses_accepting_without_a_busy_loop(void **state) {
  struct fixture *f = *state;
  listen_with(f, 10, LOOP_PATIENCE_US);
  int fd = dial(f);
  struct rlimit old;
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
  const struct rlimit none = {3, old.rlim_max};
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
  for (int i = 0; i < 10; i++)
    loop_fixture_step(&f->on);
  assert_int_equal(f->accepted, 0);
  /* The loop now sleeps until the pause is over, though the socket is readable. */
  int64_t before = clock_monotonic_us(&clock_system);
  uv_run(&f->on.uv, UV_RUN_ONCE);
  int64_t slept = clock_monotonic_us(&clock_system) - before;
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
  assert_true(slept > 20000);
  while (f->accepted == 0)
    loop_fixture_step(&f->on);
  close(fd);
}

static void malformed_addresses_are_refused(void **state) {
  static const char *const bad[] = {
      "",        "50051",  ":50051", "localhost", "host:",     "host:x",  "host:65536",
      "host:-1", "::1:80", "[::1]",  "[]:80",     "host:0x10", "host:1 ", "host:123456789"};
  struct fixture *f = *state;
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    const struct net_listener_options options = {.address = bad[i], .max_connections = 1};
    struct error err = {0};
    struct net_listener *listener = NULL;
    assert_int_equal(net_listener_new(&listener, &f->on.loop, &options, &err),
                     ERR_INVALID_ARGUMENT);
    assert_null(listener);
    assert_non_null(strstr(err.text, bad[i]));
  }
}

static void taken_port_is_unavailable_and_says_why(void **state) {
  struct fixture *f = *state;
  listen_with(f, 10, LOOP_PATIENCE_US);
  char address[32];
  snprintf(address, sizeof(address), "127.0.0.1:%d", net_listener_port(f->listener));
  const struct net_listener_options options = {.address = address, .max_connections = 1};
  struct error err = {0};
  struct net_listener *second = NULL;
  assert_int_equal(net_listener_new(&second, &f->on.loop, &options, &err), ERR_UNAVAILABLE);
  assert_non_null(strstr(err.text, address));
  assert_non_null(strstr(err.text, "in use"));
}

static void host_names_and_ipv6_are_resolved(void **state) {
  struct fixture *f = *state;
  static const char *const addresses[] = {"localhost:0", "[::1]:0"};
  for (size_t i = 0; i < 2; i++) {
    const struct net_listener_options options = {
        .address = addresses[i], .max_connections = 1, .on_accept = on_accept, .user = f};
    struct error err = {0};
    struct net_listener *listener = NULL;
    int rc = net_listener_new(&listener, &f->on.loop, &options, &err);
    if (rc == ERR_UNAVAILABLE && i == 1)
      continue; /* a machine without IPv6 */
    assert_int_equal(rc, 0);
    assert_in_range(net_listener_port(listener), 1, 65535);
    f->is_listener_closed = false;
    net_listener_close(listener, on_listener_closed, f);
    while (!f->is_listener_closed)
      loop_fixture_step(&f->on);
  }
}

int main(int argc, char **argv) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      CASE(bytes_come_in_and_go_out),
      CASE(wishes_to_write_of_one_turn_are_one_production),
      CASE(more_than_the_socket_takes_is_written_piece_by_piece),
      CASE(peer_that_takes_nothing_is_closed_after_the_timeout),
      CASE(peer_that_takes_bytes_slowly_is_not_closed),
      CASE(paused_connection_reads_nothing),
      CASE(close_with_flush_delivers_everything_though_input_is_unread),
      CASE(peer_that_does_not_close_is_closed_a_second_after_the_flush),
      CASE(peer_that_goes_on_sending_behind_the_flush_is_closed),
      CASE(close_may_be_said_twice_and_reports_once),
      CASE(user_may_refuse_what_it_reads),
      CASE(reset_by_the_peer_is_reported),
      CASE(connections_above_the_maximum_are_closed_at_once),
      CASE(storm_of_connects_is_accepted_turn_by_turn),
      CASE(connections_outlive_their_listener),
      CASE(running_out_of_descriptors_pauses_accepting_without_a_busy_loop),
      CASE(malformed_addresses_are_refused),
      CASE(taken_port_is_unavailable_and_says_why),
      CASE(host_names_and_ipv6_are_resolved),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
