/*
 * auditstored: the command line. Options, then app_run(), app_migrate(), restored_run(),
 * keys_generate(), new_token() or dev_certs().
 */
#include "access/methods.h"
#include "announce.h"
#include "app.h"
#include "base/core_dumps.h"
#include "base/log.h"
#include "base/output.h"
#include "base/secret.h"
#include "base/std_files.h"
#include "config/config.h"
#include "descriptors.h"
#include "dev_certs.h"
#include "files.h"
#include "keys.h"
#include "net/tls_memory.h"
#include "new_token.h"
#include "pages.h"
#include "restored.h"
#include "signals.h"
#include "usage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_OVERRIDES 64

struct command_line {
  const char *config_path;
  const char *overrides[MAX_OVERRIDES];
  int override_count;
  bool check_config;
  bool print_config;
  bool migrate;
  bool restored;
  const char *keygen_path;
  const char *token_name;
  const char *certs_folder;
  char *const *certs_names;
  int certs_name_count;
};

static int usage_error(const char *what, const char *which) {
  fprintf(stderr, "auditstored: %s%s; see auditstored --help\n", what, which);
  return EXIT_USAGE;
}

static int end_of_output(void) {
  return output_finish("auditstored", 0) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int print_manual(const char *section) {
  if (usage_print_manual(stdout, section) < 0)
    return usage_error("--print-manual: must be 8 or 5, not ", section);
  exit(end_of_output());
}

/* What only prints, prints and exits here. */
static void print_and_exit(int option) {
  if (option == OPTION_HELP)
    usage_print_help(stdout);
  else if (option == OPTION_VERSION)
    puts("auditstored " AUDITSTORE_VERSION);
  else if (option == OPTION_EXAMPLE)
    config_print_example(stdout);
  else if (option == OPTION_METRICS)
    pages_print_metrics_reference(stdout);
  else if (option == OPTION_ROLES)
    access_print_reference(stdout);
  else
    config_print_reference(stdout);
  exit(end_of_output());
}

static int take_option(struct command_line *line, int option) {
  switch (option) {
  case OPTION_CONFIG:
    line->config_path = optarg;
    return 0;
  case OPTION_SET:
    if (line->override_count == MAX_OVERRIDES)
      return usage_error("too many --set options: put them into a file and use --config", "");
    line->overrides[line->override_count++] = optarg;
    return 0;
  case OPTION_CHECK:
    line->check_config = true;
    return 0;
  case OPTION_PRINT:
    line->print_config = true;
    return 0;
  case OPTION_MANUAL:
    return print_manual(optarg);
  case '?':
    return EXIT_USAGE; /* getopt has said what is wrong */
  default:
    print_and_exit(option);
    return 0;
  }
}

static int parse(int argc, char **argv, struct command_line *line) {
  struct option options[USAGE_MAX_OPTIONS];
  int option = 0;
  int failure = 0;
  usage_options(options);
  while (!failure && (option = getopt_long(argc, argv, "", options, NULL)) != -1)
    failure = take_option(line, option);
  if (failure)
    return failure;
  if (optind < argc && strcmp(argv[optind], "migrate") == 0) {
    line->migrate = true;
    optind++;
  } else if (optind < argc && strcmp(argv[optind], "restored") == 0) {
    line->restored = true;
    optind++;
  } else if (optind < argc && strcmp(argv[optind], "keygen") == 0) {
    if (optind + 2 > argc)
      return usage_error("keygen: name the FILE to make", "");
    line->keygen_path = argv[optind + 1];
    optind += 2;
  } else if (optind < argc && strcmp(argv[optind], "token") == 0) {
    if (optind + 2 > argc)
      return usage_error("token: say the NAME of who is to have it", "");
    line->token_name = argv[optind + 1];
    optind += 2;
  } else if (optind < argc && strcmp(argv[optind], "dev-certs") == 0) {
    if (optind + 2 > argc)
      return usage_error("dev-certs: name the DIR for the files", "");
    line->certs_folder = argv[optind + 1];
    line->certs_names = argv + optind + 2;
    line->certs_name_count = argc - optind - 2;
    optind = argc;
  }
  if (optind < argc)
    return usage_error("unexpected argument ",
                       secret_may_be_in(str_z(argv[optind])) ? SECRET_NOT_SHOWN : argv[optind]);
  return 0;
}

/* The log would be of a daemon that starts: only what it warns of belongs here. */
static int check_files(const struct config *config) {
  log_configure(LOG_WARN, config->log.format);
  return files_check(config, stderr);
}

static int run(const struct command_line *line, const struct config_input *input,
               struct config *config, const char *warnings) {
  bool only_looks = line->print_config || line->check_config;
  if (only_looks)
    log_plain(warnings);
  if (line->print_config)
    config_print(config, stdout);
  if (line->check_config && check_files(config) != 0)
    return EXIT_USAGE;
  if (only_looks)
    return end_of_output();
  if (!config->server.core_dumps)
    core_dumps_forbid();
  log_configure(config->log.level, config->log.format);
  announce_problems(LOG_WARN, "settings", warnings);
  if (line->migrate)
    return app_migrate(config);
  if (line->restored)
    return restored_run(config);
  return app_run(config, input);
}

static int load_and_run(const struct command_line *line, const struct config_input *input) {
  struct config config;
  char *problems = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&problems, &size);
  if (!out)
    return EXIT_FAILURE;
  int rc = config_load(&config, input, out);
  fclose(out);
  int code = EXIT_USAGE;
  if (rc < 0) {
    log_plain(problems);
  } else {
    code = run(line, input, &config, problems);
    config_deinit(&config);
  }
  free(problems);
  return code;
}

static bool is_daemon(const struct command_line *line) {
  return !line->check_config && !line->print_config && !line->migrate && !line->restored &&
         !line->keygen_path && !line->token_name && !line->certs_folder;
}

int main(int argc, char **argv) {
  struct command_line line = {0};
  signals_begin();
  if (!std_files_open())
    return EXIT_FAILURE;
  tls_memory_use_reserve();
  int failure = parse(argc, argv, &line);
  if (failure)
    return failure;
  if (is_daemon(&line))
    signals_end_with(EXIT_SUCCESS);
  else
    signals_as_usual();
  if (line.keygen_path || line.token_name || line.certs_folder)
    core_dumps_forbid();
  if (line.keygen_path)
    return keys_generate(line.keygen_path);
  if (line.token_name)
    return new_token(line.token_name);
  if (line.certs_folder)
    return dev_certs(line.certs_folder, line.certs_names, line.certs_name_count);
  bool only_looks = line.print_config || line.check_config;
  const struct config_input input = {
      .path = line.config_path,
      .overrides = line.overrides,
      .override_count = line.override_count,
      /* The service's limit isn't that of whoever looks. */
      .max_descriptors = only_looks ? 0 : descriptors_raise(),
  };
  return load_and_run(&line, &input);
}
