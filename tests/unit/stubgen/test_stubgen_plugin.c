/* The program itself, run by hand and by protoc. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

struct outcome {
  int exit_code;
  char text[4096];
};

/* Runs a shell command that may name the program as "$PLUGIN"; both outputs are collected. */
static struct outcome run(const char *command) {
  char line[4096];
  struct outcome outcome = {0};
  int len = snprintf(line, sizeof line, "PLUGIN='%s'; { %s; } 2>&1", PLUGIN, command);
  assert_true(len > 0 && (size_t)len < sizeof line);
  FILE *pipe = popen(line, "r"); /* NOLINT(cert-env33-c): the command is ours */
  assert_non_null(pipe);
  size_t got = fread(outcome.text, 1, sizeof outcome.text - 1, pipe);
  outcome.text[got] = '\0';
  int status = pclose(pipe);
  assert_true(WIFEXITED(status));
  outcome.exit_code = WEXITSTATUS(status);
  return outcome;
}

static void expect(const char *command, int exit_code, const char *text) {
  struct outcome outcome = run(command);
  assert_int_equal(outcome.exit_code, exit_code);
  if (!strstr(outcome.text, text))
    fail_msg("\"%s\" is not in: %s", text, outcome.text);
}

static void bytes_that_are_no_request_are_refused(void **state) {
  (void)state;
  expect("printf '\\377\\377\\377' | \"$PLUGIN\"", 1,
         "standard input isn't a CodeGeneratorRequest");
}

static void request_above_the_limit_is_refused(void **state) {
  (void)state;
  expect("head -c 67108865 /dev/zero | \"$PLUGIN\"", 1, "the request is larger than 64 MiB");
}

static void request_at_the_limit_is_still_read(void **state) {
  (void)state;
  expect("head -c 67108864 /dev/zero | \"$PLUGIN\"", 1,
         "standard input isn't a CodeGeneratorRequest");
}

static void answer_that_cannot_be_written_is_an_error(void **state) {
  (void)state;
  expect("\"$PLUGIN\" </dev/null 2>&1 >/dev/full", 1, "writing the answer failed");
}

/* Nothing is written on failure, so the folder of the sources serves as the output folder. */
static void expect_protoc_fails(const char *options, const char *text) {
  char command[2048];
  int len = snprintf(command, sizeof command,
                     "'%s' --plugin=protoc-gen-auditstore-c=\"$PLUGIN\" -I'%s' -I'%s' "
                     "--auditstore-c_out='%s' %s stubgen_sample.proto",
                     PROTOC, SAMPLE_DIR, PROTOBUF_INCLUDE, SAMPLE_DIR, options);
  assert_true(len > 0 && (size_t)len < sizeof command);
  expect(command, 1, text);
}

static void protoc_shows_what_is_wrong_with_the_parameter(void **state) {
  (void)state;
  expect_protoc_fails("--auditstore-c_opt=klient",
                      "--auditstore-c_opt: unknown word \"klient\"; allowed are");
  expect_protoc_fails("", "--auditstore-c_opt is missing");
}

static void help_and_wrong_arguments_print_the_usage(void **state) {
  (void)state;
  expect("\"$PLUGIN\" --help", 0, "protoc --c_out=DIR");
  expect("\"$PLUGIN\" file.proto", 2, "protoc --c_out=DIR");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bytes_that_are_no_request_are_refused),
      cmocka_unit_test(request_above_the_limit_is_refused),
      cmocka_unit_test(request_at_the_limit_is_still_read),
      cmocka_unit_test(answer_that_cannot_be_written_is_an_error),
      cmocka_unit_test(protoc_shows_what_is_wrong_with_the_parameter),
      cmocka_unit_test(help_and_wrong_arguments_print_the_usage),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
