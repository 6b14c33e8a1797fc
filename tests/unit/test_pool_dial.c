#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/pg_request.h"
#include "support/pg_world.h"

#define SECOND_US 1000000LL

struct expected {
  struct pg_world *world;
  int count;
};

static bool has_connecting(void *arg) {
  struct expected *expected = arg;
  return pg_world_stats(expected->world).connecting == expected->count;
}

static bool has_failures(void *arg) {
  struct expected *expected = arg;
  return pg_world_failures(expected->world) >= expected->count;
}

/* ---- dialling ---- */

static void hosts_may_be_names_addresses_and_folders(void **state) {
  const struct pg_server *server = *state;
  const char *hosts[] = {"localhost", "127.0.0.1", server->dir};
  for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
    struct pg_world world;
    pg_world_init(&world, *state, __func__);
    world.config.host = hosts[i];
    pg_world_open(&world);
    pg_release(pg_world_acquire(&world));
    pg_world_deinit(&world);
  }
}

static void fail_to_dial(struct pg_world *world, const char *needle) {
  struct pg_request request;
  int answered = 0;
  world->config.fail_fast_after_us = 100000;
  pg_world_open(world);
  pg_request_ask(world, &request, &answered, CLOCK_NEVER);
  pg_request_wait(world, &request);
  assert_int_equal(request.err.code, ERR_UNAVAILABLE);
  if (!strstr(request.err.text, needle))
    fail_msg("no \"%s\" in \"%s\"", needle, request.err.text);
  assert_null(strchr(request.err.text, '\n'));
  assert_null(strstr(request.err.text, "LOCATION"));
}

static void a_refused_login_is_told_with_its_code(void **state) {
  struct pg_world world;
  pg_world_init(&world, *state, __func__);
  world.config.name = "nowhere";
  fail_to_dial(&world, "3D000: database \"nowhere\" does not exist");
  /* More attempts would only trouble the server. */
  pg_world_run_for(&world, SECOND_US);
  assert_int_equal(pg_world_failures(&world), 1);
  pg_world_deinit(&world);
}

static void an_unknown_host_is_told(void **state) {
  struct pg_world world;
  pg_world_init(&world, *state, __func__);
  world.config.host = "no-such-host.invalid";
  fail_to_dial(&world, "database.host: can't resolve \"no-such-host.invalid\"");
  pg_world_deinit(&world);
}

static int listen_silently(int *ret_port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof(address);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
  assert_int_equal(listen(fd, 8), 0);
  assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
  *ret_port = ntohs(address.sin_port);
  return fd;
}

static void a_server_that_never_answers_is_given_up(void **state) {
  struct pg_world world;
  pg_world_init(&world, *state, __func__);
  int fd = listen_silently(&world.config.port);
  world.config.connect_timeout_us = 200000;
  int64_t start_us = pg_world_now(&world);
  fail_to_dial(&world, "no answer within connect_timeout (0.2 s)");
  assert_in_range(pg_world_now(&world) - start_us, 200000, SECOND_US);
  close(fd);
  pg_world_deinit(&world);
}

static void a_waiter_that_gives_up_does_not_end_the_dial(void **state) {
  struct pg_world world;
  struct pg_request request;
  int answered = 0;
  pg_world_init(&world, *state, __func__);
  pg_world_open(&world);
  pg_request_ask(&world, &request, &answered, CLOCK_NEVER);
  pg_world_wait(&world, has_connecting, &(struct expected){&world, 1});
  pg_acquire_cancel(request.waiter);
  pg_world_wait_open(&world, 1);
  assert_int_equal(pg_world_stats(&world).idle, 1);
  pg_world_deinit(&world);
}

/* ---- TLS ---- */

static void run_command(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void run_command(const char *format, ...) {
  char command[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(command, sizeof(command), format, args);
  va_end(args);
  /* NOLINTNEXTLINE(bugprone-command-processor): a fixed command of the test's own. */
  assert_int_equal(system(command), 0);
}

static void switch_tls_on(struct pg_world *world) {
  const char *dir = world->server->dir;
  run_command(
      "cd %s/data && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
      "-days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost "
      "-keyout server.key -out server.crt 2>/dev/null",
      dir);
  run_command(
      "cd %s/data && chmod 600 server.key && chown --reference=PG_VERSION server.key "
      "server.crt && cp server.crt ..",
      dir);
  pg_observer_run(world->observer, "ALTER SYSTEM SET ssl = on");
  pg_observer_run(world->observer, "SELECT pg_reload_conf()");
}

static void tls_checks_the_name_and_carries_much_data(void **state) {
  struct pg_world world;
  struct pg_world_run run;
  char root[128];
  pg_world_init(&world, *state, __func__);
  switch_tls_on(&world);
  snprintf(root, sizeof(root), "%s/server.crt", world.server->dir);
  world.config.host = "localhost";
  world.config.sslmode = "verify-full";
  world.config.sslrootcert = root;
  pg_world_open(&world);
  struct pg_lease *conn = pg_world_acquire(&world);
  assert_int_equal(pg_world_int(&world, conn,
                                "SELECT count(*) FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND "
                                "ssl"),
                   1);
  for (int i = 0; i < 20; i++) {
    pg_world_send(conn, "SELECT g::int8, repeat('x', 1000) FROM generate_series(1, 2000) g");
    pg_world_finish(&world, conn, CLOCK_NEVER, &run);
    assert_int_equal(run.outcome.kind, PG_OK);
    assert_int_equal(run.rows, 2000);
  }
  pg_release(conn);
  pg_world_deinit(&world);
}

/* Refused with TLS, libpq tries without: over a new socket that has the old one's number. */
static void a_dial_goes_on_when_libpq_changes_its_socket(void **state) {
  struct pg_world world;
  pg_world_init(&world, *state, __func__);
  switch_tls_on(&world);
  world.config.sslmode = "prefer";
  world.config.name = "nowhere";
  world.config.connect_timeout_us = SECOND_US;
  fail_to_dial(&world, "3D000");
  pg_world_deinit(&world);
}

/* ---- passwords ---- */

static void write_file(const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

/* Puts a rule in front of those that trust everybody. */
static void demand_password(struct pg_world *world, const char *user) {
  char path[128], rules[8192];
  snprintf(path, sizeof(path), "%s/data/pg_hba.conf", world->server->dir);
  int len = snprintf(rules, sizeof(rules), "host all %s 127.0.0.1/32 scram-sha-256\n", user);
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  size_t got = fread(rules + len, 1, sizeof(rules) - 1 - (size_t)len, file);
  rules[(size_t)len + got] = '\0';
  fclose(file);
  write_file(path, rules);
  pg_observer_run(world->observer, "CREATE ROLE guarded LOGIN PASSWORD 'open sesame'");
  pg_observer_run(world->observer, "SELECT pg_reload_conf()");
}

static void the_password_file_is_read_for_each_dial(void **state) {
  struct pg_world world;
  char path[128];
  pg_world_init(&world, *state, __func__);
  demand_password(&world, "guarded");
  snprintf(path, sizeof(path), "%s/password", world.server->dir);
  write_file(path, "wrong\n");
  world.config.user = "guarded";
  world.config.password_file = path;
  world.config.refused_backoff_min_us = 50000;
  fail_to_dial(&world, "28P01");
  write_file(path, "open sesame\n");
  pg_world_wait_open(&world, 1);
  pg_release(pg_world_acquire(&world));
  pg_world_deinit(&world);
}

static void an_unreadable_password_file_is_told_at_the_start(void **state) {
  struct pg_world world;
  struct error err;
  pg_world_init(&world, *state, __func__);
  world.config.password_file = "/nonexistent/password";
  assert_int_equal(pg_pool_new(&world.pool, &world.loop, &world.config, &err),
                   ERR_FAILED_PRECONDITION);
  assert_non_null(strstr(err.text, "\"/nonexistent/password\": No such file"));
  assert_null(world.pool);
  pg_world_deinit(&world);
}

/* ---- outages ---- */

static void restart_is_survived(void **state, const char *mode) {
  struct pg_world world;
  struct pg_lease *conns[3];
  pg_world_init(&world, *state, mode);
  world.config.acquire_timeout_us = 20 * SECOND_US;
  world.config.fail_fast_after_us = CLOCK_NEVER;
  pg_world_open(&world);
  pg_world_acquire_all(&world, conns, 3);
  pg_world_release_all(conns, 3);
  int pid = pg_server_begin(*state, "restart", mode);
  pg_world_wait_open(&world, 0);
  struct pg_lease *conn = pg_world_acquire(&world);
  assert_int_equal(pg_world_int(&world, conn, "SELECT 7::int8"), 7);
  pg_release(conn);
  pg_server_end(pid);
  assert_in_range(pg_world_failures(&world), 0, 60);
  PQfinish(world.observer);
  world.observer = pg_observer_open(*state);
  pg_world_deinit(&world);
}

static void a_restart_of_the_server_is_survived(void **state) {
  restart_is_survived(state, "fast");
  restart_is_survived(state, "immediate");
}

static void check_refused_at_once(struct pg_world *world) {
  struct pg_request request;
  int answered = 0;
  int64_t start_us = pg_world_now(world);
  pg_request_ask(world, &request, &answered, CLOCK_NEVER);
  pg_request_wait(world, &request);
  assert_in_range(request.answered_us - start_us, 0, 200000);
  assert_int_equal(request.err.code, ERR_UNAVAILABLE);
  assert_non_null(strstr(request.err.text, "out of reach for"));
  assert_non_null(strstr(request.err.text, "Connection refused"));
}

static bool is_up(void *arg) {
  return !pg_pool_is_down(((struct pg_world *)arg)->pool, NULL);
}

static void an_outage_fails_fast_and_ends_by_itself(void **state) {
  struct pg_world world;
  struct pg_request waiting;
  struct error err;
  int answered = 0;
  pg_world_init(&world, *state, __func__);
  world.config.fail_fast_after_us = 300000;
  world.config.connect_backoff_max_us = 400000;
  pg_world_open(&world);
  pg_release(pg_world_acquire(&world));
  assert_false(pg_pool_is_down(world.pool, NULL));
  pg_server_stop(*state, "fast");
  pg_world_wait_open(&world, 0);
  pg_request_ask(&world, &waiting, &answered, CLOCK_NEVER);
  pg_request_wait(&world, &waiting);
  assert_int_equal(waiting.err.code, ERR_UNAVAILABLE);
  assert_true(pg_pool_is_down(world.pool, &err));
  assert_non_null(strstr(err.text, "Connection refused"));
  check_refused_at_once(&world);
  /* Jitter of 200 ms on average from now on; nobody waits, and still one dial after another. */
  int64_t failures = pg_world_failures(&world);
  pg_world_wait(&world, has_failures, &(struct expected){&world, (int)failures + 3});
  pg_world_run_for(&world, SECOND_US);
  assert_in_range(pg_world_failures(&world), failures + 3, failures + 40);
  check_refused_at_once(&world);
  pg_server_restart(*state, "fast");
  pg_world_wait(&world, is_up, &world);
  pg_release(pg_world_acquire(&world));
  PQfinish(world.observer);
  world.observer = pg_observer_open(*state);
  pg_world_deinit(&world);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(hosts_may_be_names_addresses_and_folders),
      cmocka_unit_test(a_refused_login_is_told_with_its_code),
      cmocka_unit_test(an_unknown_host_is_told),
      cmocka_unit_test(a_server_that_never_answers_is_given_up),
      cmocka_unit_test(a_waiter_that_gives_up_does_not_end_the_dial),
      cmocka_unit_test(tls_checks_the_name_and_carries_much_data),
      cmocka_unit_test(a_dial_goes_on_when_libpq_changes_its_socket),
      cmocka_unit_test(the_password_file_is_read_for_each_dial),
      cmocka_unit_test(an_unreadable_password_file_is_told_at_the_start),
      cmocka_unit_test(a_restart_of_the_server_is_survived),
      cmocka_unit_test(an_outage_fails_fast_and_ends_by_itself),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, pg_server_group_setup, pg_server_group_teardown);
}
