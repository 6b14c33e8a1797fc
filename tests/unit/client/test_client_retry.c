/* Which calls the client library makes again, and when. */
#include "client_fixture.h"

#define MAX_PAIRS 6

/* A call of /fault/retry; the metadata say how it fails. */
static enum auditstore_code retried(struct world *w, const struct auditstore_retry_policy *policy,
                                    const char *const pairs[], int *ret_attempts) {
  struct auditstore_metadata metadata[MAX_PAIRS];
  size_t count = 0;
  for (; pairs[2 * count]; count++)
    metadata[count] = (struct auditstore_metadata){pairs[2 * count], pairs[2 * count + 1],
                                                   strlen(pairs[2 * count + 1])};
  const struct auditstore_call_options options = {
      .timeout_ms = 20000, .metadata = metadata, .metadata_count = count, .retry = policy};
  int before = fault_server_requests(w->server);
  enum auditstore_code code = call_with(w, "/fault/retry", &options, NULL);
  *ret_attempts = fault_server_requests(w->server) - before;
  return code;
}

/* With all tokens of a new channel. */
static void renew(struct world *w) {
  auditstore_channel_free(w->channel);
  w->channel = auditstore_channel_new(fault_server_target(w->server), NULL, NULL);
}

#define FAILS(...) ((const char *const[]){__VA_ARGS__, NULL})

static const struct auditstore_retry_policy fast = {.initial_backoff_ms = 1, .max_backoff_ms = 5};

static void what_is_unavailable_is_tried_three_times(void **state) {
  struct world *w = *state;
  int attempts = 0;
  assert_int_equal(retried(w, &fast, FAILS("x-code", "14", "x-times", "2"), &attempts),
                   AUDITSTORE_OK);
  assert_int_equal(attempts, 3);
  assert_int_equal(retried(w, &fast, FAILS("x-code", "14", "x-times", "3"), &attempts),
                   AUDITSTORE_UNAVAILABLE);
  assert_int_equal(attempts, 3);
}

static void the_policy_says_how_often(void **state) {
  struct world *w = *state;
  struct auditstore_retry_policy policy = fast;
  int attempts = 0;
  policy.max_attempts = 1;
  assert_int_equal(retried(w, &policy, FAILS("x-code", "14", "x-times", "1"), &attempts),
                   AUDITSTORE_UNAVAILABLE);
  assert_int_equal(attempts, 1);
  renew(w);
  policy.max_attempts = 5;
  assert_int_equal(retried(w, &policy, FAILS("x-code", "14", "x-times", "4"), &attempts),
                   AUDITSTORE_OK);
  assert_int_equal(attempts, 5);
  policy.max_attempts = 6;
  assert_int_equal(retried(w, &policy, FAILS("x-code", "14", "x-times", "4"), &attempts),
                   AUDITSTORE_INVALID_ARGUMENT);
  assert_int_equal(attempts, 0);
}

static void other_codes_are_final(void **state) {
  struct world *w = *state;
  static const char *const codes[] = {"1", "2", "3", "4", "8", "10", "13", "16"};
  for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
    renew(w);
    int attempts = 0;
    assert_int_equal(retried(w, &fast, FAILS("x-code", codes[i], "x-times", "1"), &attempts),
                     strtol(codes[i], NULL, 10));
    assert_int_equal(attempts, 1);
  }
}

static void response_headers_make_an_attempt_final(void **state) {
  struct world *w = *state;
  int attempts = 0;
  assert_int_equal(
      retried(w, &fast, FAILS("x-code", "14", "x-times", "1", "x-headers", "1"), &attempts),
      AUDITSTORE_UNAVAILABLE);
  assert_int_equal(attempts, 1);
}

static void what_is_exhausted_is_tried_again_when_asked_for_and_told_when(void **state) {
  struct world *w = *state;
  struct auditstore_retry_policy policy = fast;
  int attempts = 0;
  assert_int_equal(
      retried(w, &policy, FAILS("x-code", "8", "x-times", "1", "x-delay-ms", "1"), &attempts),
      AUDITSTORE_RESOURCE_EXHAUSTED);
  policy.retries_exhausted = true;
  assert_int_equal(retried(w, &policy, FAILS("x-code", "8", "x-times", "1"), &attempts),
                   AUDITSTORE_RESOURCE_EXHAUSTED);
  assert_int_equal(attempts, 1);
  assert_int_equal(
      retried(w, &policy, FAILS("x-code", "8", "x-times", "1", "x-delay-ms", "1"), &attempts),
      AUDITSTORE_OK);
  assert_int_equal(
      retried(w, &policy, FAILS("x-code", "8", "x-times", "1", "x-pushback", "0"), &attempts),
      AUDITSTORE_OK);
  assert_int_equal(attempts, 2);
}

static void the_server_s_wish_is_kept(void **state) {
  struct world *w = *state;
  const struct auditstore_retry_policy slow = {.initial_backoff_ms = 100000,
                                               .max_backoff_ms = 100000};
  static const char *const no[] = {"-1", "x", "", "1.5"};
  int attempts = 0;
  for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
    renew(w);
    assert_int_equal(
        retried(w, &fast, FAILS("x-code", "14", "x-times", "1", "x-pushback", no[i]), &attempts),
        AUDITSTORE_UNAVAILABLE);
    assert_int_equal(attempts, 1);
  }
  /* Shorter than the policy's. */
  assert_int_equal(
      retried(w, &slow, FAILS("x-code", "14", "x-times", "1", "x-pushback", "1"), &attempts),
      AUDITSTORE_OK);
  /* Longer than the policy's, the one and the other. */
  int64_t began = now_ms();
  assert_int_equal(
      retried(w, &fast, FAILS("x-code", "14", "x-times", "1", "x-pushback", "200"), &attempts),
      AUDITSTORE_OK);
  assert_true(now_ms() - began >= 200);
  began = now_ms();
  assert_int_equal(
      retried(w, &fast, FAILS("x-code", "14", "x-times", "1", "x-delay-ms", "200"), &attempts),
      AUDITSTORE_OK);
  assert_true(now_ms() - began >= 200);
}

static void a_pause_beyond_the_deadline_is_not_begun(void **state) {
  struct world *w = *state;
  int attempts = 0;
  int64_t began = now_ms();
  assert_int_equal(
      retried(w, &fast, FAILS("x-code", "14", "x-times", "1", "x-pushback", "30000"), &attempts),
      AUDITSTORE_UNAVAILABLE);
  assert_true(now_ms() - began < 15000);
}

static void a_server_that_goes_on_failing_is_spared(void **state) {
  struct world *w = *state;
  int attempts = 0;
  int all = 0;
  /* 10 tokens, one for each failure, none for a retry at 5 or below. */
  for (int i = 0; i < 10; i++) {
    assert_int_equal(retried(w, &fast, FAILS("x-code", "14", "x-times", "9"), &attempts),
                     AUDITSTORE_UNAVAILABLE);
    all += attempts;
  }
  assert_int_equal(all, 10 + 4 - 1);
  assert_int_equal(attempts, 1);
  /* Each success brings a tenth back; none are left by now. */
  for (int i = 0; i < 61; i++)
    expect(w, "/fault/echo", AUDITSTORE_OK);
  assert_int_equal(retried(w, &fast, FAILS("x-code", "14", "x-times", "1"), &attempts),
                   AUDITSTORE_OK);
  assert_int_equal(attempts, 2);
}

static void a_first_attempt_tells_of_no_others(void **state) {
  struct world *w = *state;
  char *seen = mirrored(w, NULL);
  assert_null(strstr(seen, "grpc-previous-rpc-attempts"));
  free(seen);
}

/* ---- what the server can't have processed ---- */

static void a_refusal_is_asked_again_but_not_for_ever(void **state) {
  struct world *w = *state;
  const struct auditstore_retry_policy once = {.max_attempts = 1};
  const struct auditstore_call_options options = {.timeout_ms = 20000, .retry = &once};
  assert_int_equal(call_with(w, "/fault/refused_once", &options, NULL), AUDITSTORE_OK);
  assert_int_equal(fault_server_requests(w->server), 2);
  assert_int_equal(call_with(w, "/fault/refused", &options, NULL), AUDITSTORE_UNAVAILABLE);
  assert_int_equal(fault_server_requests(w->server), 2 + 6);
}

static void a_stream_that_was_refused_is_sent_again(void **state) {
  struct world *w = *state;
  static const char *const paths[] = {"/fault/refused_once", "/fault/refused_late",
                                      "/fault/goaway_once"};
  for (size_t i = 0; i < 3; i++) {
    struct auditstore_stream *stream = open_stream(w, paths[i], 20000);
    struct message m;
    ProtobufCMessage *answer = NULL;
    for (int n = 0; n < 3; n++)
      assert_int_equal(auditstore_stream_send(stream, message_init(&m, n), -1),
                       AUDITSTORE_STREAM_OK);
    auditstore_stream_half_close(stream);
    for (int n = 0; n < 3; n++) {
      assert_int_equal(auditstore_stream_recv(stream, &answer, -1), AUDITSTORE_STREAM_OK);
      assert_int_equal(sequence_of(answer), n);
      protobuf_c_message_free_unpacked(answer, NULL);
    }
    finish(stream, AUDITSTORE_OK);
  }
}

static void a_stream_is_not_made_again_once_answered(void **state) {
  struct world *w = *state;
  struct auditstore_stream *stream = open_stream(w, "/fault/echo", 20000);
  send_one(stream, 1);
  assert_int_equal(receive_one(stream, -1), AUDITSTORE_STREAM_OK);
  fault_server_drop_connections(w->server);
  assert_int_equal(receive_one(stream, -1), AUDITSTORE_STREAM_END);
  finish(stream, AUDITSTORE_UNAVAILABLE);
  assert_int_equal(fault_server_requests(w->server), 1);
}

static void a_stream_without_an_answer_is_not_repeated_by_policy(void **state) {
  struct world *w = *state;
  struct auditstore_stream *stream = open_stream(w, "/fault/close", 20000);
  finish(stream, AUDITSTORE_UNAVAILABLE);
  assert_int_equal(fault_server_requests(w->server), 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(what_is_unavailable_is_tried_three_times),
      TEST(the_policy_says_how_often),
      TEST(other_codes_are_final),
      TEST(response_headers_make_an_attempt_final),
      TEST(what_is_exhausted_is_tried_again_when_asked_for_and_told_when),
      TEST(the_server_s_wish_is_kept),
      TEST(a_pause_beyond_the_deadline_is_not_begun),
      TEST(a_server_that_goes_on_failing_is_spared),
      TEST(a_first_attempt_tells_of_no_others),
      TEST(a_refusal_is_asked_again_but_not_for_ever),
      TEST(a_stream_that_was_refused_is_sent_again),
      TEST(a_stream_is_not_made_again_once_answered),
      TEST(a_stream_without_an_answer_is_not_repeated_by_policy),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
