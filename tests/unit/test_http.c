/* The operators' HTTP port, with plain sockets at the other end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/server.h"
#include "loop_fixture.h"

#define MAX_REPLY    (1 << 20)
#define BIG_PAGE     (200 * 1024)
#define CONNECTIONS  3
#define CLOSING      "Host: x\r\nConnection: close\r\n\r\n"
#define KEPT         "Host: x\r\n\r\n"
#define STATUS(text) "HTTP/1.1 " text "\r\n"

struct fixture {
  struct loop_fixture on;
  struct config_http config;
  struct http_server *server;
  int page_calls;
  bool is_closed;
  char *reply; /* MAX_REPLY bytes */
};

/* ---- pages ---- */

static int write_small(void *arg, struct buf *out) {
  struct fixture *f = arg;
  f->page_calls++;
  assert_true(buf_append_format(out, "page %d\n", f->page_calls));
  return 200;
}

static int write_sorry(void *arg, struct buf *out) {
  (void)arg;
  assert_true(buf_append_str(out, "not now\n"));
  return 503;
}

static int write_big(void *arg, struct buf *out) {
  (void)arg;
  uint8_t *p = buf_reserve(out, BIG_PAGE);
  assert_non_null(p);
  memset(p, 'b', BIG_PAGE);
  buf_commit(out, BIG_PAGE);
  return 200;
}

static const struct http_page pages[] = {
    {"/small", "text/x-small", write_small},
    {"/sorry", "text/x-sorry", write_sorry},
    {"/big", "text/x-big", write_big},
};

/* ---- fixture ---- */

static int open_server(struct fixture *f, struct error *err) {
  const struct http_options options = {.config = &f->config,
                                       .pages = pages,
                                       .page_count = sizeof(pages) / sizeof(pages[0]),
                                       .arg = f};
  return http_server_new(&f->server, &f->on.loop, &options, err);
}

static int setup_loop(void **state) {
  struct fixture *f = calloc(1, sizeof(*f));
  assert_non_null(f);
  f->reply = malloc(MAX_REPLY);
  assert_non_null(f->reply);
  loop_fixture_init(&f->on);
  f->config = (struct config_http){.listen = "127.0.0.1:0",
                                   .port_file = "",
                                   .max_connections = CONNECTIONS,
                                   .timeout_us = 20000000};
  *state = f;
  return 0;
}

static int setup(void **state) {
  setup_loop(state);
  struct error err = {0};
  assert_int_equal(open_server(*state, &err), 0);
  return 0;
}

static int setup_impatient(void **state) {
  setup_loop(state);
  struct fixture *f = *state;
  struct error err = {0};
  f->config.timeout_us = 1000000;
  assert_int_equal(open_server(f, &err), 0);
  return 0;
}

static void on_closed(void *arg) {
  ((struct fixture *)arg)->is_closed = true;
}

static void close_server(struct fixture *f) {
  http_server_close(f->server, on_closed, f);
  f->server = NULL;
  while (!f->is_closed)
    loop_fixture_step(&f->on);
}

static int teardown(void **state) {
  struct fixture *f = *state;
  if (f->server)
    close_server(f);
  loop_fixture_deinit(&f->on);
  free(f->reply);
  free(f);
  return 0;
}

/* ---- clients ---- */

static int dial(struct fixture *f) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in to = {.sin_family = AF_INET,
                           .sin_port = htons((uint16_t)http_server_port(f->server)),
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  assert_true(fd >= 0);
  assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
  return fd;
}

static void say(int fd, const char *text) {
  assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Reads into f->reply, after what is there, until it holds `until` or the server closes. With
 * `until` NULL only its closing, or a reset, ends the wait. */
static void read_until(struct fixture *f, int fd, const char *until) {
  size_t len = strlen(f->reply);
  while (!until || !strstr(f->reply, until)) {
    assert_true(len < MAX_REPLY - 1);
    ssize_t n = recv(fd, f->reply + len, MAX_REPLY - 1 - len, MSG_DONTWAIT);
    if (n > 0) {
      len += (size_t)n;
      f->reply[len] = '\0';
    } else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      loop_fixture_step(&f->on);
    } else if (until) {
      fail_msg("closed after: %s", f->reply);
    } else {
      return;
    }
  }
}

/* The answer on a connection of its own, which the server closes. */
static const char *answer_to(struct fixture *f, const char *request) {
  int fd = dial(f);
  f->reply[0] = '\0';
  say(fd, request);
  read_until(f, fd, NULL);
  close(fd);
  return f->reply;
}

/* The answer on a connection that stays open; it ends with `until`. */
static const char *answer_on(struct fixture *f, int fd, const char *request, const char *until) {
  f->reply[0] = '\0';
  say(fd, request);
  read_until(f, fd, until);
  return f->reply;
}

static void assert_starts(const char *text, const char *start) {
  if (strncmp(text, start, strlen(start)) != 0)
    fail_msg("expected \"%s\", got \"%s\"", start, text);
}

static void assert_has(const char *text, const char *part) {
  if (!strstr(text, part))
    fail_msg("expected \"%s\" in \"%s\"", part, text);
}

static void assert_ends(const char *text, const char *end) {
  assert_true(strlen(text) >= strlen(end));
  assert_string_equal(text + strlen(text) - strlen(end), end);
}

/* ---- answers ---- */

static void get_returns_the_page_its_type_and_its_length(void **state) {
  const char *reply = answer_to(*state, "GET /small HTTP/1.1\r\n" CLOSING);
  assert_starts(reply, STATUS("200 OK"));
  assert_has(reply, "\r\nContent-Type: text/x-small\r\n");
  assert_has(reply, "\r\nContent-Length: 7\r\n");
  assert_ends(reply, "\r\n\r\npage 1\n");
}

static void head_returns_the_headers_alone(void **state) {
  struct fixture *f = *state;
  const char *reply = answer_to(f, "HEAD /small HTTP/1.1\r\n" CLOSING);
  assert_starts(reply, STATUS("200 OK"));
  assert_has(reply, "\r\nContent-Type: text/x-small\r\n");
  assert_has(reply, "\r\nContent-Length: 7\r\n");
  assert_ends(reply, "\r\n\r\n");
}

static void a_page_decides_its_status(void **state) {
  const char *reply = answer_to(*state, "GET /sorry HTTP/1.1\r\n" CLOSING);
  assert_starts(reply, STATUS("503 Service Unavailable"));
  assert_ends(reply, "\r\n\r\nnot now\n");
}

static void what_follows_a_question_mark_is_ignored(void **state) {
  const char *reply = answer_to(*state, "GET /small?x=1&y HTTP/1.1\r\n" CLOSING);
  assert_starts(reply, STATUS("200 OK"));
}

static void an_unknown_path_is_answered_with_the_pages(void **state) {
  static const char *const paths[] = {"/", "/smal", "/small/", "/Small", "//small", "/%2e/small"};
  for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
    char request[256];
    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\n" CLOSING, paths[i]);
    const char *reply = answer_to(*state, request);
    assert_starts(reply, STATUS("404 Not Found"));
    assert_has(reply, "\r\nContent-Type: text/plain; charset=utf-8\r\n");
    assert_ends(reply, "\n/small\n/sorry\n/big\n");
  }
}

static void other_methods_are_refused_with_those_allowed(void **state) {
  static const char *const methods[] = {"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get", "X"};
  for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
    char request[256];
    snprintf(request, sizeof(request), "%s /small HTTP/1.1\r\n" CLOSING, methods[i]);
    const char *reply = answer_to(*state, request);
    assert_starts(reply, STATUS("405 Method Not Allowed"));
    assert_has(reply, "\r\nAllow: GET, HEAD\r\n");
  }
  assert_int_equal(((struct fixture *)*state)->page_calls, 0);
}

static void a_request_with_a_body_is_refused(void **state) {
  struct fixture *f = *state;
  const char *reply = answer_to(f, "GET /small HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n");
  assert_starts(reply, "HTTP/1.1 413 ");
  reply = answer_to(f, "GET /small HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  assert_starts(reply, "HTTP/1.1 413 ");
  reply = answer_to(f, "POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n");
  assert_starts(reply, "HTTP/1.1 405 ");
  assert_int_equal(f->page_calls, 0);
  reply = answer_to(f, "GET /small HTTP/1.1\r\nContent-Length: 0\r\n" CLOSING);
  assert_starts(reply, "HTTP/1.1 200 ");
}

static void assert_alive(struct fixture *f) {
  assert_starts(answer_to(f, "GET /small HTTP/1.1\r\n" CLOSING), STATUS("200 OK"));
}

static void what_is_not_http_is_refused(void **state) {
  static const char *const requests[] = {
      "\r\n\r\n\r\nnonsense\r\n\r\n",
      "GET /small\x01 HTTP/9.9\r\n\r\n",
      "GET /small HTTP/1.1\r\n\r\n", /* no Host */
      "GET /small HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
      "\x16\x03\x01\x02\x01\xfc\x03\x03\r\n\r\n", /* like TLS */
  };
  struct fixture *f = *state;
  for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
    const char *reply = answer_to(f, requests[i]);
    if (reply[0] && strncmp(reply, "HTTP/1.1 505 ", 13) != 0)
      assert_starts(reply, "HTTP/1.1 4");
  }
  assert_int_equal(f->page_calls, 0);
  assert_alive(f);
}

static void a_request_that_is_too_large_is_refused(void **state) {
  struct fixture *f = *state;
  static char request[64 * 1024];
  int len = snprintf(request, sizeof(request), "GET /small HTTP/1.1\r\nHost: x\r\nX: ");
  memset(request + len, 'x', sizeof(request) - (size_t)len - 1);
  int fd = dial(f);
  f->reply[0] = '\0';
  /* The server may close before all of it is sent. */
  (void)send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
  read_until(f, fd, NULL);
  close(fd);
  if (f->reply[0])
    assert_starts(f->reply, "HTTP/1.1 431 ");
  assert_int_equal(f->page_calls, 0);
  assert_alive(f);
}

/* ---- connections ---- */

static void a_connection_serves_one_request_after_another(void **state) {
  struct fixture *f = *state;
  int fd = dial(f);
  for (int i = 1; i <= 5; i++) {
    char expected[32];
    snprintf(expected, sizeof(expected), "\r\n\r\npage %d\n", i);
    answer_on(f, fd, "GET /small HTTP/1.1\r\n" KEPT, expected);
  }
  close(fd);
}

static void pipelined_requests_are_answered_in_order(void **state) {
  struct fixture *f = *state;
  int fd = dial(f);
  f->reply[0] = '\0';
  say(fd, "GET /small HTTP/1.1\r\n" KEPT "GET /sorry HTTP/1.1\r\n" KEPT
          "HEAD /small HTTP/1.1\r\n" KEPT "GET /small HTTP/1.1\r\n" CLOSING);
  read_until(f, fd, NULL);
  const char *first = strstr(f->reply, "page 1\n");
  const char *second = strstr(f->reply, "not now\n");
  const char *last = strstr(f->reply, "page 3\n");
  assert_true(first && second && last && first < second && second < last);
  assert_null(strstr(f->reply, "page 2\n"));
  close(fd);
}

static void http_1_0_is_answered_and_closed(void **state) {
  const char *reply = answer_to(*state, "GET /small HTTP/1.0\r\n\r\n");
  assert_has(reply, " 200 OK\r\n");
  assert_ends(reply, "\r\n\r\npage 1\n");
}

static void a_request_may_come_byte_by_byte(void **state) {
  struct fixture *f = *state;
  int fd = dial(f);
  const char *request = "GET /small HTTP/1.1\r\n" CLOSING;
  f->reply[0] = '\0';
  for (const char *c = request; *c; c++) {
    const char byte[] = {*c, '\0'};
    say(fd, byte);
    loop_fixture_step(&f->on);
  }
  read_until(f, fd, NULL);
  assert_starts(f->reply, STATUS("200 OK"));
  close(fd);
}

static void assert_closed(struct fixture *f, int fd) {
  f->reply[0] = '\0';
  read_until(f, fd, NULL);
  assert_string_equal(f->reply, "");
  close(fd);
}

static struct http_stats stats_of(const struct fixture *f) {
  struct http_stats stats;
  http_server_stats(f->server, &stats);
  return stats;
}

static void a_newcomer_takes_the_place_of_the_longest_idle(void **state) {
  struct fixture *f = *state;
  int fds[CONNECTIONS];
  for (int i = 0; i < CONNECTIONS; i++) {
    fds[i] = dial(f);
    answer_on(f, fds[i], "GET /sorry HTTP/1.1\r\n" KEPT, "not now\n");
  }
  answer_on(f, fds[0], "GET /sorry HTTP/1.1\r\n" KEPT, "not now\n");
  assert_alive(f);
  assert_closed(f, fds[1]);
  assert_int_equal(stats_of(f).evicted, 1);
  answer_on(f, fds[0], "GET /sorry HTTP/1.1\r\n" KEPT, "not now\n");
  assert_int_equal(stats_of(f).connections, 2);
  close(fds[0]);
  close(fds[2]);
}

static void a_silent_connection_is_closed(void **state) {
  struct fixture *f = *state;
  int silent = dial(f);
  int half = dial(f);
  int kept = dial(f);
  say(half, "GET /small HTT");
  answer_on(f, kept, "GET /sorry HTTP/1.1\r\n" KEPT, "not now\n");
  read_until(f, silent, NULL);
  read_until(f, kept, NULL);
  read_until(f, half, NULL);
  assert_int_equal(f->page_calls, 0);
  close(silent);
  close(half);
  close(kept);
  assert_alive(f);
}

static void a_client_that_does_not_read_holds_up_nobody(void **state) {
  struct fixture *f = *state;
  int deaf = dial(f);
  for (int i = 0; i < 40; i++)
    say(deaf, "GET /big HTTP/1.1\r\n" KEPT);
  int64_t from_us = clock_monotonic_us(&clock_system);
  while (clock_monotonic_us(&clock_system) < from_us + 100000)
    loop_fixture_step(&f->on);
  assert_alive(f);
  f->reply[0] = '\0';
  for (int i = 0; i < CONNECTIONS; i++)
    assert_alive(f);
  close(deaf);
}

static void a_large_page_arrives_whole(void **state) {
  const char *reply = answer_to(*state, "GET /big HTTP/1.1\r\n" CLOSING);
  const char *content = strstr(reply, "\r\n\r\n");
  assert_non_null(content);
  assert_int_equal(strspn(content + 4, "b"), BIG_PAGE);
  assert_int_equal(strlen(content + 4), BIG_PAGE);
}

static void a_client_that_leaves_is_forgotten(void **state) {
  struct fixture *f = *state;
  for (int i = 0; i < 3 * CONNECTIONS; i++) {
    int fd = dial(f);
    say(fd, "GET /big HTTP/1.1\r\n" KEPT);
    loop_fixture_step(&f->on);
    const struct linger reset = {.l_onoff = 1};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
    close(fd);
    for (int j = 0; j < 5; j++)
      loop_fixture_step(&f->on);
  }
  assert_alive(f);
}

/* ---- the loop ---- */

static int thread_count(void) {
  int count = 0;
  DIR *folder = opendir("/proc/self/task");
  assert_non_null(folder);
  for (const struct dirent *entry = readdir(folder); entry; entry = readdir(folder))
    count += entry->d_name[0] != '.';
  closedir(folder);
  return count;
}

static void no_thread_is_made(void **state) {
  assert_alive(*state);
  assert_int_equal(thread_count(), 1);
}

static void on_turn(uv_prepare_t *prepare) {
  ++*(int *)prepare->data;
}

static void on_over(uv_timer_t *timer) {
  *(bool *)timer->data = true;
}

/* Turns of the loop in 300 ms. */
static int turns_at_rest(struct fixture *f) {
  int turns = 0;
  bool is_over = false;
  uv_prepare_t prepare = {.data = &turns};
  uv_timer_t timer = {.data = &is_over};
  uv_prepare_init(&f->on.uv, &prepare);
  uv_timer_init(&f->on.uv, &timer);
  uv_prepare_start(&prepare, on_turn);
  uv_timer_start(&timer, on_over, 300, 0);
  while (!is_over)
    uv_run(&f->on.uv, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&prepare, NULL);
  uv_close((uv_handle_t *)&timer, NULL);
  loop_fixture_step(&f->on);
  return turns;
}

static void no_turn_is_spent_while_nothing_happens(void **state) {
  struct fixture *f = *state;
  int fd = dial(f);
  answer_on(f, fd, "GET /small HTTP/1.1\r\n" KEPT, "page 1\n");
  assert_in_range(turns_at_rest(f), 1, 20);
  close(fd);
  assert_in_range(turns_at_rest(f), 1, 20);
}

static void closing_ends_the_connections_and_the_port(void **state) {
  struct fixture *f = *state;
  int kept = dial(f);
  int half = dial(f);
  answer_on(f, kept, "GET /small HTTP/1.1\r\n" KEPT, "page 1\n");
  say(half, "GET /small HTTP/1.1\r\nHo");
  loop_fixture_step(&f->on);
  struct sockaddr_in to = {.sin_family = AF_INET,
                           .sin_port = htons((uint16_t)http_server_port(f->server)),
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  close_server(f);
  read_until(f, kept, NULL);
  f->reply[0] = '\0';
  read_until(f, half, NULL);
  assert_string_equal(f->reply, "");
  int late = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(connect(late, (struct sockaddr *)&to, sizeof(to)), -1);
  assert_int_equal(errno, ECONNREFUSED);
  close(late);
  close(kept);
  close(half);
}

/* ---- addresses ---- */

static void bad_addresses_are_refused_by_the_setting_s_name(void **state) {
  static const char *const bad[] = {"",       "localhost",       "127.0.0.1:", ":80",
                                    "::1:80", "127.0.0.1:66000", "[::1]"};
  struct fixture *f = *state;
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    struct error err = {0};
    f->config.listen = bad[i];
    assert_int_equal(open_server(f, &err), ERR_INVALID_ARGUMENT);
    assert_starts(err.text, "http.listen: ");
    assert_has(err.text, bad[i]);
  }
}

static void a_taken_port_is_named(void **state) {
  struct fixture *f = *state;
  struct error err = {0};
  assert_int_equal(open_server(f, &err), 0);
  struct http_server *first = f->server;
  char address[32];
  snprintf(address, sizeof(address), "127.0.0.1:%d", http_server_port(first));
  f->config.listen = address;
  assert_int_equal(open_server(f, &err), ERR_UNAVAILABLE);
  assert_starts(err.text, "http.listen: can't listen on 127.0.0.1:");
  assert_has(err.text, strerror(EADDRINUSE));
  assert_ptr_equal(f->server, first);
}

static void ipv6_is_served(void **state) {
  struct fixture *f = *state;
  struct error err = {0};
  f->config.listen = "[::1]:0";
  assert_int_equal(open_server(f, &err), 0);
  int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in6 to = {.sin6_family = AF_INET6,
                            .sin6_port = htons((uint16_t)http_server_port(f->server)),
                            .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
  answer_on(f, fd, "GET /small HTTP/1.1\r\n" KEPT, "page 1\n");
  close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(get_returns_the_page_its_type_and_its_length),
      TEST(head_returns_the_headers_alone),
      TEST(a_page_decides_its_status),
      TEST(what_follows_a_question_mark_is_ignored),
      TEST(an_unknown_path_is_answered_with_the_pages),
      TEST(other_methods_are_refused_with_those_allowed),
      TEST(a_request_with_a_body_is_refused),
      TEST(what_is_not_http_is_refused),
      TEST(a_request_that_is_too_large_is_refused),
      TEST(a_connection_serves_one_request_after_another),
      TEST(pipelined_requests_are_answered_in_order),
      TEST(http_1_0_is_answered_and_closed),
      TEST(a_request_may_come_byte_by_byte),
      TEST(a_newcomer_takes_the_place_of_the_longest_idle),
      cmocka_unit_test_setup_teardown(a_silent_connection_is_closed, setup_impatient, teardown),
      TEST(a_client_that_does_not_read_holds_up_nobody),
      TEST(a_large_page_arrives_whole),
      TEST(a_client_that_leaves_is_forgotten),
      TEST(no_thread_is_made),
      TEST(no_turn_is_spent_while_nothing_happens),
      TEST(closing_ends_the_connections_and_the_port),
      cmocka_unit_test_setup_teardown(bad_addresses_are_refused_by_the_setting_s_name, setup_loop,
                                      teardown),
      cmocka_unit_test_setup_teardown(a_taken_port_is_named, setup_loop, teardown),
      cmocka_unit_test_setup_teardown(ipv6_is_served, setup_loop, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
