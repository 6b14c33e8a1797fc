/*
 * interop_client: runs one interoperability case, named as in gRPC's own clients.
 *
 *   interop_client --server_port=N --test_case=NAME [--server_host=127.0.0.1] [--use_tls]
 *     [--ca_file=F] [--cert_file=F --key_file=F] [--server_host_override=NAME] [--poll]
 *     [--soak_iterations=N] [--soak_max_failures=N]
 */
#include "cases.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct option long_options[] = {
    {"server_host", required_argument, NULL, 'h'},
    {"server_port", required_argument, NULL, 'p'},
    {"test_case", required_argument, NULL, 't'},
    {"use_tls", no_argument, NULL, 's'},
    {"ca_file", required_argument, NULL, 'a'},
    {"cert_file", required_argument, NULL, 'c'},
    {"key_file", required_argument, NULL, 'k'},
    {"server_host_override", required_argument, NULL, 'n'},
    {"poll", no_argument, NULL, 'l'},
    {"soak_iterations", required_argument, NULL, 'i'},
    {"soak_max_failures", required_argument, NULL, 'f'},
    {0},
};

void require(bool holds, const char *format, ...) {
  if (holds)
    return;
  va_list args;
  va_start(args, format);
  fputs("interop_client: ", stderr);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
  fflush(stderr);
  /* What is open stays open: the case is lost. */
  _exit(EXIT_FAILURE);
}

void require_code(const struct auditstore_status *status, enum auditstore_code code) {
  require(status->code == code, "%s instead of %s: %s", auditstore_code_name(status->code),
          auditstore_code_name(code), status->message ? status->message : "");
}

static int number_of(const char *text) {
  char *end = NULL;
  long number = strtol(text, &end, 10);
  require(*text && !*end && number >= 0 && number < 1000000, "%s: not a number", text);
  return (int)number;
}

static bool take_option(struct options *options, int option) {
  switch (option) {
  case 'h':
    options->host = optarg;
    return true;
  case 'p':
    options->port = optarg;
    return true;
  case 't':
    options->test_case = optarg;
    return true;
  case 's':
    options->uses_tls = true;
    return true;
  case 'a':
    options->ca_file = optarg;
    return true;
  case 'c':
    options->cert_file = optarg;
    return true;
  case 'k':
    options->key_file = optarg;
    return true;
  case 'n':
    options->server_name = optarg;
    return true;
  case 'l':
    options->polls = true;
    return true;
  case 'i':
    options->soak_iterations = number_of(optarg);
    return true;
  case 'f':
    options->soak_max_failures = number_of(optarg);
    return true;
  default:
    return false;
  }
}

static bool parse(struct options *options, int argc, char **argv) {
  int option = 0;
  while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1)
    if (!take_option(options, option))
      return false;
  return optind == argc && options->port && options->test_case;
}

struct auditstore_channel *open_channel(const struct options *options) {
  char target[256];
  const struct auditstore_tls_options tls = {
      .ca_file = options->ca_file,
      .cert_file = options->cert_file,
      .key_file = options->key_file,
      .server_name = options->server_name,
  };
  const struct auditstore_channel_options channel_options = {
      .tls = options->uses_tls ? &tls : NULL,
      .user_agent = "interop",
  };
  struct auditstore_status status = {0};
  snprintf(target, sizeof(target), "%s:%s", options->host, options->port);
  struct auditstore_channel *channel = auditstore_channel_new(target, &channel_options, &status);
  require(channel != NULL, "%s: %s", target, status.message);
  return channel;
}

int main(int argc, char **argv) {
  struct options options = {.host = "127.0.0.1", .soak_iterations = 10};
  case_fn *run = NULL;
  if (!parse(&options, argc, argv) || !(run = case_named(options.test_case))) {
    fputs("usage: interop_client --server_port=N --test_case=NAME [OPTION...]\ncases:\n", stderr);
    case_print_names();
    return 2;
  }
  struct client client = {.options = &options, .channel = open_channel(&options)};
  run(&client);
  auditstore_channel_free(client.channel);
  printf("passed %s\n", options.test_case);
  return EXIT_SUCCESS;
}
