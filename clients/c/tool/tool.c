#include "tool.h"

#include "text.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int tool_usage(const char *format, ...) {
  va_list args;
  va_start(args, format);
  fputs("auditstore: ", stderr);
  vfprintf(stderr, format, args);
  fputs("; see auditstore --help\n", stderr);
  va_end(args);
  return TOOL_USAGE;
}

int tool_parse_json_option(int argc, char **argv, bool *ret_is_json) {
  static const struct option options[] = {
      {"json", no_argument, NULL, 'j'},
      {NULL, 0, NULL, 0},
  };
  int option = 0;
  while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
    if (option != 'j')
      return TOOL_USAGE; /* getopt has said what is wrong */
    *ret_is_json = true;
  }
  return TOOL_OK;
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

int tool_fail(const struct tool *tool, const char *what, const struct auditstore_status *status) {
  fprintf(stderr, "auditstore: can't %s: %s: ", what, auditstore_code_name(status->code));
  text_print_escaped(stderr, status->message ? status->message : "no reason given");
  fputc('\n', stderr);
  auditstore_status_violations(status, print_violation, stderr);
  int64_t retry_ms = auditstore_status_retry_delay_ms(status);
  if (retry_ms >= 0)
    fprintf(stderr,
            "  The server is there but can't serve this now; it says: try again in %.1f s.\n",
            (double)retry_ms / 1000);
  else if (tool_is_unreachable(status->code))
    fprintf(
        stderr,
        "  Is auditstored running at %s? --server HOST:PORT or AUDITSTORE_SERVER names another,\n"
        "  --timeout sets how long to wait (%d ms now).\n",
        tool->server, tool->timeout_ms);
  return tool_is_unreachable(status->code) ? TOOL_UNREACHABLE : TOOL_REFUSED;
}

int tool_finish_output(int code) {
  if (fflush(stdout) == 0 && !ferror(stdout))
    return code;
  fprintf(stderr, "auditstore: can't write to standard output: %s\n", strerror(errno));
  return code == TOOL_OK ? TOOL_REFUSED : code;
}
