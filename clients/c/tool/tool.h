/*
 * tool: what every command of `auditstore` shares: the channel, the exit codes, the errors.
 *
 * A command is a function that gets its own arguments (argv[0] is its name) and returns the exit
 * code. It writes results to standard output and everything else to standard error.
 */
#pragma once

#include "auditstore/auditstore.h"

#include <stdbool.h>
#include <stdint.h>

enum tool_exit {
  TOOL_OK = 0,
  TOOL_REFUSED = 1,    /* the server answered, and the answer is no */
  TOOL_USAGE = 2,      /* the command line is wrong */
  TOOL_UNREACHABLE = 3 /* no answer: not reachable, timed out, connection lost */
};

struct tool {
  const char *server;
  int timeout_ms;                     /* for each answer of the server */
  struct auditstore_channel *channel; /* owned */
};

typedef int tool_command(struct tool *tool, int argc, char **argv);

tool_command send_command;
tool_command list_command;
tool_command get_command;
tool_command count_command;
tool_command health_command;
tool_command info_command;

/* The options of a command whose only one is --json; getopt's `optind` stands at its arguments
 * then. TOOL_OK or TOOL_USAGE, said on standard error. */
int tool_parse_json_option(int argc, char **argv, bool *ret_is_json);

/* "auditstore: WHAT" on standard error, and TOOL_USAGE. */
int tool_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Says on standard error that `what` ("list events") failed, why, and what to do about it; returns
 * the exit code that fits. */
int tool_fail(const struct tool *tool, const char *what, const struct auditstore_status *status);

/* True when the status means that there was no answer at all. */
bool tool_is_unreachable(enum auditstore_code code);

/* Flushes standard output and returns `code`, or complains and returns TOOL_REFUSED when what was
 * written didn't reach its file. */
int tool_finish_output(int code);
