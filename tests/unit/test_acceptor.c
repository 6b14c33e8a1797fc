/* What is said, and counted, when the system has no descriptor left for a connection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/acceptor.h"
#include "loop_fixture.h"

#define MAX_PEERS 2

struct fixture {
  struct loop_fixture on;
  struct acceptor *acceptor;
  struct rlimit before;
  int peers[MAX_PEERS];
  int peer_count;
  int accepted[MAX_PEERS];
  int accepted_count;
};

static void on_accept(void *arg, int fd, const union acceptor_address *peer) {
  struct fixture *f = arg;
  assert_int_equal(peer->any.sa_family, AF_INET);
  f->accepted[f->accepted_count++] = fd;
}

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof(*f));
  assert_non_null(f);
  loop_fixture_init(&f->on);
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &f->before), 0);
  const struct acceptor_options options = {
      .address = "127.0.0.1:0", .on_accept = on_accept, .arg = f};
  struct error err = {0};
  assert_int_equal(acceptor_new(&f->acceptor, &f->on.loop, &options, &err), 0);
  *state = f;
  return 0;
}

static void limit_descriptors(const struct fixture *f, rlim_t max) {
  const struct rlimit limit = {.rlim_cur = max, .rlim_max = f->before.rlim_max};
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static int teardown(void **state) {
  struct fixture *f = *state;
  limit_descriptors(f, f->before.rlim_cur);
  for (int i = 0; i < f->peer_count; i++)
    close(f->peers[i]);
  for (int i = 0; i < f->accepted_count; i++)
    close(f->accepted[i]);
  acceptor_close(f->acceptor, NULL, NULL);
  loop_fixture_deinit(&f->on);
  free(f);
  return 0;
}

/* A peer that is in the kernel's queue when this returns. */
static void connect_peer(struct fixture *f) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_true(fd >= 0);
  const struct sockaddr_in to = {.sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)acceptor_port(f->acceptor)),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
  f->peers[f->peer_count++] = fd;
}

/* From now on one more may be opened. */
static void leave_one_descriptor(const struct fixture *f) {
  int next = fcntl(f->peers[0], F_DUPFD_CLOEXEC, 0);
  assert_true(next >= 0);
  close(next);
  limit_descriptors(f, (rlim_t)next + 1);
}

static void the_last_descriptor_is_used_without_a_word(void **state) {
  struct fixture *f = *state;
  connect_peer(f);
  leave_one_descriptor(f);
  while (f->accepted_count < 1)
    loop_fixture_step(&f->on);
  assert_int_equal(acceptor_exhausted(f->acceptor), 0);
}

static void one_that_waits_is_counted_and_taken_later(void **state) {
  struct fixture *f = *state;
  connect_peer(f);
  connect_peer(f);
  leave_one_descriptor(f);
  while (acceptor_exhausted(f->acceptor) < 1)
    loop_fixture_step(&f->on);
  assert_int_equal(f->accepted_count, 1);
  limit_descriptors(f, f->before.rlim_cur);
  while (f->accepted_count < 2)
    loop_fixture_step(&f->on);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(the_last_descriptor_is_used_without_a_word, setup, teardown),
      cmocka_unit_test_setup_teardown(one_that_waits_is_counted_and_taken_later, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
