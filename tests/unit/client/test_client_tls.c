/* The client library by TLS: whom it trusts, what it shows, what it says when that fails. */
#include "client_fixture.h"
#include "fault_tls.h"
#include "folder_fixture.h"

static struct folder folder;

static int make_files(void **state) {
  (void)state;
  folder_make(&folder);
  fault_tls_make_files(folder.path);
  folder_write(&folder, "text.pem", "no PEM\n");
  return 0;
}

static int remove_files(void **state) {
  static const char *const names[] = {"ca.pem",
                                      "ca-key.pem",
                                      "other-ca.pem",
                                      "other-ca-key.pem",
                                      "server.pem",
                                      "server-key.pem",
                                      "client.pem",
                                      "client-key.pem",
                                      "text.pem",
                                      "changing.pem",
                                      NULL};
  (void)state;
  folder_remove(&folder, names);
  return 0;
}

static char *path_of(const char *name) {
  return strdup(folder_file(&folder, name));
}

struct secure_world {
  struct world world;
  SSL_CTX *context;
};

static struct fault_server *start_server(struct secure_world *s,
                                         const struct fault_tls_options *options) {
  struct fault_server *server = fault_server_bind(100);
  s->context = fault_tls_context(folder.path, options);
  fault_server_use_tls(server, s->context);
  fault_server_listen(server);
  fault_server_serve(server);
  return server;
}

static struct secure_world start(const struct fault_tls_options *server,
                                 const struct auditstore_tls_options *client) {
  struct secure_world s = {.context = NULL};
  const struct auditstore_channel_options options = {.tls = client};
  s.world = world_with(start_server(&s, server), &options);
  assert_non_null(s.world.channel);
  return s;
}

static void stop(struct secure_world *s) {
  world_close(&s->world);
  SSL_CTX_free(s->context);
}

/* A call fails at once, and its text has both parts. */
static void expect_failure(const struct fault_tls_options *server,
                           const struct auditstore_tls_options *client, const char *part,
                           const char *other_part) {
  struct secure_world s = start(server, client);
  struct auditstore_status status = {0};
  assert_int_equal(call(&s.world, "/fault/echo", 20000, &status), AUDITSTORE_UNAVAILABLE);
  if (!strstr(status.message, part) || !strstr(status.message, other_part))
    fail_msg("\"%s\" has no \"%s\" or no \"%s\"", status.message, part, other_part);
  auditstore_status_deinit(&status);
  stop(&s);
}

/* ---- good ---- */

static void send_large(struct world *w) {
  struct auditstore_stream *stream = open_stream(w, "/fault/echo", 20000);
  char *data = calloc(1, 1000001);
  memset(data, 'x', 1000000);
  Auditstore__V1__AuditEvent event = AUDITSTORE__V1__AUDIT_EVENT__INIT;
  struct message m;
  message_init(&m, 0);
  event.event_data = data;
  m.stored.event = &event;
  for (int i = 0; i < 5; i++) {
    assert_int_equal(auditstore_stream_send(stream, &m.response.base, -1), AUDITSTORE_STREAM_OK);
    assert_int_equal(receive_one(stream, -1), AUDITSTORE_STREAM_OK);
  }
  finish(stream, AUDITSTORE_OK);
  free(data);
}

static void calls_and_streams_go_through_tls(void **state) {
  (void)state;
  static const int versions[] = {0, TLS1_2_VERSION};
  for (size_t i = 0; i < 2; i++) {
    const struct fault_tls_options server = {.max_version = versions[i]};
    char *ca = path_of("ca.pem");
    const struct auditstore_tls_options client = {.ca_file = ca};
    struct secure_world s = start(&server, &client);
    expect(&s.world, "/fault/echo", AUDITSTORE_OK);
    send_large(&s.world);
    expect(&s.world, "/fault/flood", AUDITSTORE_INTERNAL); /* more than one answer */
    char *seen = mirrored(&s.world, NULL);
    assert_non_null(strstr(seen, ":scheme: https\n"));
    assert_int_equal(fault_server_connections(s.world.server), 1);
    free(seen);
    stop(&s);
    free(ca);
  }
}

static void the_certificate_may_name_another_host_when_told(void **state) {
  (void)state;
  char *ca = path_of("ca.pem");
  const struct auditstore_tls_options client = {.ca_file = ca, .server_name = "localhost"};
  struct secure_world s = start(&(struct fault_tls_options){0}, &client);
  expect(&s.world, "/fault/echo", AUDITSTORE_OK);
  stop(&s);
  free(ca);
}

static void a_client_shows_its_certificate(void **state) {
  (void)state;
  char *ca = path_of("ca.pem");
  char *cert = path_of("client.pem");
  char *key = path_of("client-key.pem");
  const struct fault_tls_options server = {.wants_client = true};
  const struct auditstore_tls_options client = {.ca_file = ca, .cert_file = cert, .key_file = key};
  struct secure_world s = start(&server, &client);
  expect(&s.world, "/fault/echo", AUDITSTORE_OK);
  stop(&s);
  free(ca);
  free(cert);
  free(key);
}

static void the_files_are_read_for_each_connection(void **state) {
  (void)state;
  char *changing = strdup(folder_write(&folder, "changing.pem", "no PEM\n"));
  const struct auditstore_tls_options client = {.ca_file = changing};
  const struct auditstore_channel_options options = {.tls = &client,
                                                     .backoff = {.initial_ms = 1, .max_ms = 1}};
  struct secure_world s = {.context = NULL};
  s.world = world_with(start_server(&s, &(struct fault_tls_options){0}), &options);
  expect(&s.world, "/fault/echo", AUDITSTORE_UNAVAILABLE);
  char text[4096] = "";
  FILE *file = fopen(folder_file(&folder, "ca.pem"), "r");
  assert_non_null(file);
  assert_true(fread(text, 1, sizeof(text) - 1, file) > 0);
  fclose(file);
  folder_write(&folder, "changing.pem", text);
  const struct auditstore_call_options patient = {.timeout_ms = 20000, .wait_for_ready = true};
  assert_int_equal(call_with(&s.world, "/fault/echo", &patient, NULL), AUDITSTORE_OK);
  stop(&s);
  free(changing);
}

/* ---- bad ---- */

static void a_server_for_another_name_is_refused(void **state) {
  (void)state;
  char *ca = path_of("ca.pem");
  static const struct {
    const char *name, *text;
  } cases[] = {{"store.example.com", "ostname mismatch"}, {"192.0.2.1", "IP address mismatch"}};
  for (size_t i = 0; i < 2; i++) {
    const struct auditstore_tls_options client = {.ca_file = ca, .server_name = cases[i].name};
    expect_failure(&(struct fault_tls_options){0}, &client,
                   "no TLS with 127.0.0.1:", cases[i].text);
  }
  free(ca);
}

static void a_server_that_a_stranger_signed_is_refused(void **state) {
  (void)state;
  char *other = path_of("other-ca.pem");
  const struct auditstore_tls_options stranger = {.ca_file = other};
  const struct auditstore_tls_options system = {0};
  expect_failure(&(struct fault_tls_options){0}, &stranger,
                 "the server's certificate:", "unable to get local issuer certificate");
  expect_failure(&(struct fault_tls_options){0}, &system,
                 "the server's certificate:", "unable to get local issuer certificate");
  free(other);
}

static void a_server_that_does_not_choose_h2_is_refused(void **state) {
  (void)state;
  char *ca = path_of("ca.pem");
  const struct auditstore_tls_options client = {.ca_file = ca};
  const struct fault_tls_options server = {.without_alpn = true};
  expect_failure(&server, &client, "no TLS with 127.0.0.1:", "ALPN");
  free(ca);
}

static void old_versions_of_tls_are_refused(void **state) {
  (void)state;
  char *ca = path_of("ca.pem");
  const struct auditstore_tls_options client = {.ca_file = ca};
  const struct fault_tls_options server = {.max_version = TLS1_1_VERSION};
  expect_failure(&server, &client, "no TLS with 127.0.0.1:", "protocol version");
  free(ca);
}

static void a_server_that_misses_our_certificate_says_so(void **state) {
  (void)state;
  char *ca = path_of("ca.pem");
  const struct auditstore_tls_options client = {.ca_file = ca};
  const struct fault_tls_options newest = {.wants_client = true};
  const struct fault_tls_options tls12 = {.wants_client = true, .max_version = TLS1_2_VERSION};
  expect_failure(&newest, &client, "127.0.0.1:", "certificate required");
  expect_failure(&tls12, &client, "no TLS with 127.0.0.1:", "handshake failure");
  free(ca);
}

static void a_server_without_tls_is_told_apart(void **state) {
  (void)state;
  char *ca = path_of("ca.pem");
  const struct auditstore_tls_options client = {.ca_file = ca};
  const struct auditstore_channel_options options = {.tls = &client};
  struct world w = world_with(fault_server_start(100), &options);
  struct auditstore_status status = {0};
  assert_int_equal(call(&w, "/fault/echo", 20000, &status), AUDITSTORE_UNAVAILABLE);
  assert_non_null(strstr(status.message, "no TLS with 127.0.0.1:"));
  auditstore_status_deinit(&status);
  world_close(&w);
  free(ca);
}

static void a_server_that_stays_silent_is_given_up(void **state) {
  (void)state;
  char *ca = path_of("ca.pem");
  const struct auditstore_tls_options client = {.ca_file = ca};
  const struct auditstore_channel_options options = {.tls = &client, .connect_timeout_ms = 100};
  struct world w = world_with(fault_server_bind(100), &options);
  struct auditstore_status status = {0};
  fault_server_listen(w.server);
  assert_int_equal(call(&w, "/fault/echo", 20000, &status), AUDITSTORE_UNAVAILABLE);
  assert_non_null(strstr(status.message, "the handshake didn't end in time"));
  auditstore_status_deinit(&status);
  world_close(&w);
  free(ca);
}

static void files_that_are_no_use_are_named(void **state) {
  (void)state;
  char *ca = path_of("ca.pem");
  char *cert = path_of("client.pem");
  char *other_key = path_of("server-key.pem");
  char *text = path_of("text.pem");
  char *nowhere = path_of("nowhere.pem");
  const struct {
    struct auditstore_tls_options client;
    const char *part, *other_part;
  } cases[] = {
      {{.ca_file = nowhere}, "signers", "nowhere.pem\" can't be read: No such file"},
      {{.ca_file = text}, "signers", "text.pem\" isn't PEM"},
      {{ca, nowhere, other_key, NULL}, "certificate", "nowhere.pem\" can't be read: No such file"},
      {{ca, text, other_key, NULL}, "certificate", "text.pem\" isn't PEM"},
      {{ca, cert, nowhere, NULL}, "key", "nowhere.pem\" can't be read: No such file"},
      {{ca, cert, other_key, NULL}, "client.pem\" isn't for the key", "server-key.pem"},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
    expect_failure(&(struct fault_tls_options){0}, &cases[i].client, cases[i].part,
                   cases[i].other_part);
  free(ca);
  free(cert);
  free(other_key);
  free(text);
  free(nowhere);
}

static void a_certificate_without_its_key_is_refused(void **state) {
  (void)state;
  const struct auditstore_tls_options halves[] = {{.cert_file = "/a.pem"}, {.key_file = "/a.pem"}};
  for (size_t i = 0; i < 2; i++) {
    const struct auditstore_channel_options options = {.tls = &halves[i]};
    struct auditstore_status status = {0};
    assert_null(auditstore_channel_new("localhost:1", &options, &status));
    assert_int_equal(status.code, AUDITSTORE_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "without"));
    auditstore_status_deinit(&status);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(calls_and_streams_go_through_tls),
      cmocka_unit_test(the_certificate_may_name_another_host_when_told),
      cmocka_unit_test(a_client_shows_its_certificate),
      cmocka_unit_test(the_files_are_read_for_each_connection),
      cmocka_unit_test(a_server_for_another_name_is_refused),
      cmocka_unit_test(a_server_that_a_stranger_signed_is_refused),
      cmocka_unit_test(a_server_that_does_not_choose_h2_is_refused),
      cmocka_unit_test(old_versions_of_tls_are_refused),
      cmocka_unit_test(a_server_that_misses_our_certificate_says_so),
      cmocka_unit_test(a_server_without_tls_is_told_apart),
      cmocka_unit_test(a_server_that_stays_silent_is_given_up),
      cmocka_unit_test(files_that_are_no_use_are_named),
      cmocka_unit_test(a_certificate_without_its_key_is_refused),
  };
  return cmocka_run_group_tests(tests, make_files, remove_files);
}
