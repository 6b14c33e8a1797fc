#include "tool.h"

#include "base/output.h"
#include "text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the command line ---- */

static _Noreturn void print_and_exit(struct tool *tool, int number) {
  if (number == SETTINGS_OPTION_VERSION)
    puts("auditstore " AUDITSTORE_VERSION);
  else if (tool->command)
    cli_print_command_help(stdout, tool->command);
  else
    cli_print_help(stdout);
  settings_deinit(&tool->settings);
  exit(tool_finish_output(tool, TOOL_OK));
}

static int take_global(void *arg, const struct cli_option *option, char *value) {
  struct tool *tool = arg;
  int number = option->id - CLI_GLOBAL;
  if (number == SETTINGS_OPTION_HELP || number == SETTINGS_OPTION_VERSION)
    print_and_exit(tool, number);
  return settings_take(&tool->settings, option, value);
}

int tool_parse(struct tool *tool, int argc, char **argv, struct tool_line *line) {
  const struct cli_parser parser = {
      .command = tool->command,
      .take = line->take,
      .arg = line->arg,
      .take_global = take_global,
      .global_arg = tool,
  };
  int first = 0;
  int code = cli_parse(&parser, argc, argv, &first);
  line->arguments = argv + first;
  line->count = argc - first;
  return code;
}

int tool_take_json(void *arg, const struct cli_option *option, char *value) {
  (void)option;
  (void)value;
  *(bool *)arg = true;
  return TOOL_OK;
}

/* ---- errors ---- */

__attribute__((format(printf, 1, 0))) static void put_error(const char *format, va_list args,
                                                            const char *end) {
  fputs("auditstore: ", stderr);
  vfprintf(stderr, format, args);
  fputs(end, stderr);
}

int tool_usage(const char *format, ...) {
  va_list args;
  va_start(args, format);
  put_error(format, args, "; see auditstore --help\n");
  va_end(args);
  return TOOL_USAGE;
}

int tool_bad_setting(const char *format, ...) {
  va_list args;
  va_start(args, format);
  put_error(format, args, "\n");
  va_end(args);
  return TOOL_USAGE;
}

int tool_no_memory(void) {
  fputs("auditstore: out of memory\n", stderr);
  return TOOL_REFUSED;
}

bool tool_is_unreachable(enum auditstore_code code) {
  return code == AUDITSTORE_UNAVAILABLE || code == AUDITSTORE_DEADLINE_EXCEEDED ||
         code == AUDITSTORE_CANCELLED;
}

static void print_violation(void *arg, const char *field, const char *description) {
  FILE *out = arg;
  fputs("  ", out);
  text_print_escaped(out, field);
  fputs(": ", out);
  text_print_escaped(out, description);
  fputc('\n', out);
}

static void count_only(void *arg, const char *field, const char *description) {
  (void)arg;
  (void)field;
  (void)description;
}

/* ---- advice ---- */

static void put_setting(const struct tool *tool, const char *what, enum setting_id id) {
  const struct setting_value *value = &tool->settings.values[id];
  char origin[SETTINGS_ORIGIN_SIZE];
  settings_origin(&tool->settings, value, origin);
  fprintf(stderr, "  %s %s (%s)\n", what, value->text, origin);
}

static bool is_set(const struct tool *tool, enum setting_id id) {
  return tool->settings.values[id].text != NULL;
}

/* What the server was shown to tell who calls. */
static void put_identity(const struct tool *tool) {
  if (is_set(tool, SETTING_TOKEN))
    put_setting(tool, "The server was shown the token in", SETTING_TOKEN);
  else if (tool->settings.uses_tls && is_set(tool, SETTING_CERT))
    put_setting(tool, "The server was shown the certificate", SETTING_CERT);
  else
    fputs(
        "  The server was shown neither a token nor a certificate: --token-file, or --cert and\n"
        "  --key, or a profile that has them, tell it who calls.\n",
        stderr);
}

static void advise_on_identity(const struct tool *tool, enum auditstore_code code) {
  put_identity(tool);
  if (code == AUDITSTORE_PERMISSION_DENIED)
    fputs("  Who runs the server gives roles, with access.writers, readers, auditors and admins.\n",
          stderr);
  else if (is_set(tool, SETTING_TOKEN))
    fputs("  It isn't known there, or not any more.\n", stderr);
}

static void advise_on_tls(const struct tool *tool) {
  const char *reason = tool->settings.tls_reason;
  if (!tool->settings.uses_tls) {
    fputs("  TLS is off; a server that has it needs --tls or --ca FILE.\n", stderr);
    return;
  }
  fprintf(stderr, "  TLS is on%s%s; --plaintext turns it off.\n", *reason ? ", " : "", reason);
  if (is_set(tool, SETTING_CA))
    put_setting(tool, "The server's certificate must be signed by", SETTING_CA);
  else
    fputs(
        "  The server's certificate must be signed by whom this system trusts, or by --ca FILE.\n",
        stderr);
  if (is_set(tool, SETTING_SERVER_NAME))
    put_setting(tool, "It must be for", SETTING_SERVER_NAME);
  else
    fputs("  It must be for the host of --server, or for --server-name NAME.\n", stderr);
  if (is_set(tool, SETTING_CERT))
    put_setting(tool, "The server was shown the certificate", SETTING_CERT);
}

static void advise_on_connection(const struct tool *tool, const char *message) {
  bool was_reached = strstr(message, "no TLS with ") || strstr(message, "no HTTP/2 at ");
  bool was_missed = !was_reached || strstr(message, "can't connect to ");
  if (was_missed)
    fprintf(
        stderr,
        "  Is auditstored running at %s? --server ADDRESS, AUDITSTORE_SERVER or a profile names\n"
        "  another, --timeout sets how long to wait (%d ms now).\n",
        tool->server, tool->timeout_ms);
  if (was_reached)
    advise_on_tls(tool);
}

/* Whether this process had no descriptor left: then neither server nor settings are to blame. */
static bool advise_on_descriptors(const char *message) {
  if (!strstr(message, strerror(EMFILE)))
    return false;
  fputs("  This command may open too few files: ulimit -n says how many, and raises it.\n", stderr);
  return true;
}

/* Whether the message is about files that the settings name: then it says enough. */
static bool advise_on_files(const struct tool *tool, const char *message) {
  bool is_named = false;
  for (int id = 0; id < SETTING_COUNT; id++) {
    const char *path = tool->settings.values[id].text;
    if (setting_rows[id].kind != SETTING_IS_FILE || !path || !strstr(message, path))
      continue;
    put_setting(tool, "The file is", (enum setting_id)id);
    is_named = true;
  }
  return is_named;
}

static void advise(const struct tool *tool, const struct auditstore_status *status) {
  int64_t retry_ms = auditstore_status_retry_delay_ms(status);
  const char *message = status->message ? status->message : "";
  bool is_denied =
      status->code == AUDITSTORE_UNAUTHENTICATED || status->code == AUDITSTORE_PERMISSION_DENIED;
  if (retry_ms >= 0) {
    fprintf(stderr,
            "  The server is there but can't serve this now; it says: try again in %.1f s.\n",
            (double)retry_ms / 1000);
    return;
  }
  if (!is_denied && !tool_is_unreachable(status->code))
    return;
  if (!advise_on_descriptors(message) && !advise_on_files(tool, message)) {
    if (is_denied)
      advise_on_identity(tool, status->code);
    else
      advise_on_connection(tool, message);
  }
  if (tool->settings.profile)
    fprintf(stderr, "  The profile is %s.\n", tool->settings.profile->name);
}

int tool_fail(const struct tool *tool, const char *what, const struct auditstore_status *status) {
  fprintf(stderr, "auditstore: can't %s: %s: ", what, auditstore_code_name(status->code));
  text_print_escaped(stderr, status->message ? status->message : "no reason given");
  fputc('\n', stderr);
  /* One alone is the message already. */
  if (auditstore_status_violations(status, count_only, NULL) > 1)
    auditstore_status_violations(status, print_violation, stderr);
  advise(tool, status);
  return tool_is_unreachable(status->code) ? TOOL_UNREACHABLE : TOOL_REFUSED;
}

int tool_finish_output(const struct tool *tool, int code) {
  return output_finish("auditstore", tool->output_failure) < 0 && code == TOOL_OK ? TOOL_REFUSED
                                                                                  : code;
}
