/* Where the client library connects to, and what it tells whom. */
#include "client_fixture.h"
#include "folder_fixture.h"

static struct folder folder;

static int make_folder(void **state) {
  (void)state;
  folder_make(&folder);
  return 0;
}

static int remove_folder(void **state) {
  static const char *const names[] = {"socket", "token", NULL};
  (void)state;
  folder_remove(&folder, names);
  return 0;
}

/* ---- targets ---- */

static void targets_that_make_no_sense_are_named(void **state) {
  (void)state;
  static const struct {
    const char *target, *part;
  } cases[] = {
      {"", "nothing there"},
      {"a:1,", "nothing there"},
      {"a:1,,b:2", "nothing there"},
      {"a:1,host", "\"host\": not of the form"},
      {"host:0", "\"host:0\": the port is a number"},
      {"::1:80", "stands in brackets"},
      {"unix:relative", "begins with /"},
      {"unix:", "begins with /"},
      {"1.1.1.1:1,1.1.1.1:1,1.1.1.1:1,1.1.1.1:1,1.1.1.1:1,1.1.1.1:1,1.1.1.1:1,1.1.1.1:1,1.1.1.1:1,"
       "1.1.1.1:1,1.1.1.1:1,1.1.1.1:1,1.1.1.1:1,1.1.1.1:1,1.1.1.1:1,1.1.1.1:1,1.1.1.1:1",
       "more than 16"},
      {"unix:/2345678901234567890123456789012345678901234567890123456789"
       "01234567890123456789012345678901234567890123456789",
       "at most 107 bytes"},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct auditstore_status status = {0};
    assert_null(auditstore_channel_new(cases[i].target, NULL, &status));
    assert_int_equal(status.code, AUDITSTORE_INVALID_ARGUMENT);
    if (!strstr(status.message, cases[i].part))
      fail_msg("\"%s\" has no \"%s\"", status.message, cases[i].part);
    auditstore_status_deinit(&status);
  }
}

static void options_that_make_no_sense_are_named(void **state) {
  (void)state;
  static const struct auditstore_metadata bad = {"Upper", "x", 1};
  static const struct {
    struct auditstore_channel_options options;
    const char *part;
  } cases[] = {
      {{.retry = {.max_attempts = 6}}, "retry: max_attempts"},
      {{.retry = {.initial_backoff_ms = -1}}, "retry:"},
      {{.backoff = {.multiplier = 0.5}}, "backoff:"},
      {{.backoff = {.jitter_percent = 101}}, "backoff:"},
      {{.metadata = &bad, .metadata_count = 1}, "metadata \"Upper\""},
      {{.user_agent = "a\n"}, "user_agent"},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct auditstore_status status = {0};
    assert_null(auditstore_channel_new("localhost:1", &cases[i].options, &status));
    assert_int_equal(status.code, AUDITSTORE_INVALID_ARGUMENT);
    if (!strstr(status.message, cases[i].part))
      fail_msg("\"%s\" has no \"%s\"", status.message, cases[i].part);
    auditstore_status_deinit(&status);
  }
}

static void the_second_server_answers_when_the_first_is_dead(void **state) {
  (void)state;
  struct fault_server *dead = fault_server_bind(1);
  struct fault_server *live = fault_server_start(100);
  char target[256];
  snprintf(target, sizeof(target), "%s,%s", fault_server_target(dead), fault_server_target(live));
  struct world w = {live, auditstore_channel_new(target, NULL, NULL)};
  expect(&w, "/fault/echo", AUDITSTORE_OK);
  char *seen = mirrored(&w, NULL);
  snprintf(target, sizeof(target), ":authority: %s\n", fault_server_target(live));
  assert_non_null(strstr(seen, target));
  free(seen);
  fault_server_stop(dead);
  world_close(&w);
}

static void a_server_that_says_nothing_leaves_time_for_the_next(void **state) {
  (void)state;
  struct fault_server *mute = fault_server_bind(1);
  struct fault_server *live = fault_server_start(100);
  char target[256];
  fault_server_listen(mute);
  snprintf(target, sizeof(target), "%s,%s", fault_server_target(mute), fault_server_target(live));
  const struct auditstore_channel_options options = {.connect_timeout_ms = 1000};
  struct world w = {live, auditstore_channel_new(target, &options, NULL)};
  expect(&w, "/fault/echo", AUDITSTORE_OK);
  fault_server_stop(mute);
  world_close(&w);
}

static void every_address_says_why_it_failed(void **state) {
  (void)state;
  struct fault_server *dead = fault_server_bind(1);
  struct fault_server *rude = fault_server_start(0);
  char target[256];
  snprintf(target, sizeof(target), "%s,no-such-host.invalid:1,unix:/nowhere/socket,%s",
           fault_server_target(dead), fault_server_target(rude));
  struct world w = {rude, auditstore_channel_new(target, NULL, NULL)};
  struct auditstore_status status = {0};
  assert_int_equal(call(&w, "/fault/echo", 20000, &status), AUDITSTORE_UNAVAILABLE);
  assert_non_null(strstr(status.message, "can't resolve no-such-host.invalid: "));
  assert_non_null(strstr(status.message, fault_server_target(dead)));
  assert_non_null(strstr(status.message,
                         ": Connection refused; can't connect to unix:/nowhere/socket: "
                         "No such file or directory; no HTTP/2 at "));
  assert_non_null(strstr(status.message, fault_server_target(rude)));
  auditstore_status_deinit(&status);
  fault_server_stop(dead);
  world_close(&w);
}

static void a_unix_socket_is_a_target(void **state) {
  (void)state;
  struct fault_server *server = fault_server_bind_path(100, folder_file(&folder, "socket"));
  fault_server_listen(server);
  fault_server_serve(server);
  struct world w = world_with(server, NULL);
  expect(&w, "/fault/echo", AUDITSTORE_OK);
  char *seen = mirrored(&w, NULL);
  assert_non_null(strstr(seen, ":authority: localhost\n"));
  free(seen);
  world_close(&w);
}

/* ---- what goes with each call ---- */

static void the_channel_s_metadata_come_before_the_call_s(void **state) {
  (void)state;
  static const struct auditstore_metadata mine[] = {{"x-who", "channel", 7},
                                                    {"x-raw-bin", "\1", 1}};
  static const struct auditstore_metadata own = {"x-who", "call", 4};
  const struct auditstore_channel_options options = {.metadata = mine, .metadata_count = 2};
  const struct auditstore_call_options call = {.metadata = &own, .metadata_count = 1};
  struct world w = world_with(fault_server_start(100), &options);
  char *seen = mirrored(&w, &call);
  assert_non_null(strstr(seen, "\nx-who: channel\nx-raw-bin: AQ\nx-who: call\n"));
  free(seen);
  world_close(&w);
}

static void a_token_is_sent_and_read_again_when_its_file_changes(void **state) {
  (void)state;
  char *path = strdup(folder_write(&folder, "token", "  first\r\n"));
  const struct auditstore_channel_options options = {.token_file = path};
  struct world w = world_with(fault_server_start(100), &options);
  for (int i = 0; i < 2; i++) {
    char *seen = mirrored(&w, NULL);
    assert_non_null(
        strstr(seen, i ? "\nauthorization: Bearer other\n" : "\nauthorization: Bearer first\n"));
    assert_null(strstr(seen, i ? "first" : "other"));
    free(seen);
    /* Of the same length, and maybe within the same tick of the file system's clock. */
    folder_write(&folder, "token", "  other\r\n");
  }
  assert_int_equal(fault_server_connections(w.server), 1);
  world_close(&w);
  free(path);
}

static void a_token_file_that_is_no_use_is_named(void **state) {
  (void)state;
  static const struct {
    const char *content, *part;
  } cases[] = {{"", "no token in it"},
               {" \n", "no token in it"},
               {"two words", "one word of printable ASCII"},
               {"caf\xc3\xa9", "one word of printable ASCII"},
               {NULL, "No such file"}};
  char *path = strdup(folder_file(&folder, "token"));
  const struct auditstore_channel_options options = {.token_file = path};
  struct world w = world_with(fault_server_start(100), &options);
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct auditstore_status status = {0};
    if (cases[i].content)
      folder_write(&folder, "token", cases[i].content);
    else
      unlink(path);
    assert_int_equal(call(&w, "/fault/echo", 20000, &status), AUDITSTORE_UNAUTHENTICATED);
    assert_non_null(strstr(status.message, path));
    if (!strstr(status.message, cases[i].part))
      fail_msg("\"%s\" has no \"%s\"", status.message, cases[i].part);
    auditstore_status_deinit(&status);
  }
  char *content = calloc(1, 9000);
  memset(content, 'x', 8999);
  folder_write(&folder, "token", content);
  expect(&w, "/fault/echo", AUDITSTORE_UNAUTHENTICATED);
  content[8192] = '\0';
  folder_write(&folder, "token", content);
  expect(&w, "/fault/echo", AUDITSTORE_OK);
  free(content);
  free(path);
  world_close(&w);
}

static void a_token_does_not_leave_the_machine_without_tls(void **state) {
  (void)state;
  char *path = strdup(folder_write(&folder, "token", "secret\n"));
  static const char *const elsewhere[] = {"192.0.2.1:7443", "[2001:db8::1]:7443",
                                          "127.0.0.1:1,192.0.2.1:7443"};
  static const char *const here[] = {"127.0.0.1:1", "[::1]:1", "unix:/nowhere",
                                     "[::ffff:127.0.0.1]:1"};
  const struct auditstore_channel_options options = {.token_file = path};
  for (size_t i = 0; i < sizeof(elsewhere) / sizeof(elsewhere[0]); i++) {
    struct auditstore_status status = {0};
    assert_null(auditstore_channel_new(elsewhere[i], &options, &status));
    assert_int_equal(status.code, AUDITSTORE_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "isn't sent without TLS to "));
    auditstore_status_deinit(&status);
  }
  for (size_t i = 0; i < sizeof(here) / sizeof(here[0]); i++) {
    struct world w = {.channel = auditstore_channel_new(here[i], &options, NULL)};
    assert_non_null(w.channel);
    expect(&w, "/fault/echo", AUDITSTORE_UNAVAILABLE);
    auditstore_channel_free(w.channel);
  }
  free(path);
}

static void a_name_of_another_machine_gets_no_token_either(void **state) {
  (void)state;
  char *path = strdup(folder_write(&folder, "token", "secret\n"));
  const struct auditstore_channel_options options = {.token_file = path};
  /* The old way to write an address: known to be one by the resolver alone. */
  struct world w = {.channel = auditstore_channel_new("3221225985:7443", &options, NULL)};
  const struct auditstore_call_options patient = {.timeout_ms = 20000, .wait_for_ready = true};
  struct auditstore_status status = {0};
  assert_int_equal(call_with(&w, "/fault/echo", &patient, &status), AUDITSTORE_UNAUTHENTICATED);
  assert_non_null(strstr(status.message, "isn't sent without TLS to 3221225985:7443 (192.0.2.1)"));
  assert_non_null(strstr(status.message, path));
  auditstore_status_deinit(&status);
  auditstore_channel_free(w.channel);
  free(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(targets_that_make_no_sense_are_named),
      cmocka_unit_test(options_that_make_no_sense_are_named),
      cmocka_unit_test(the_second_server_answers_when_the_first_is_dead),
      cmocka_unit_test(a_server_that_says_nothing_leaves_time_for_the_next),
      cmocka_unit_test(every_address_says_why_it_failed),
      cmocka_unit_test(a_unix_socket_is_a_target),
      cmocka_unit_test(the_channel_s_metadata_come_before_the_call_s),
      cmocka_unit_test(a_token_is_sent_and_read_again_when_its_file_changes),
      cmocka_unit_test(a_token_file_that_is_no_use_is_named),
      cmocka_unit_test(a_token_does_not_leave_the_machine_without_tls),
      cmocka_unit_test(a_name_of_another_machine_gets_no_token_either),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
