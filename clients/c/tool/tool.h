/*
 * tool: what every command of `auditstore` shares: its command line, the channel, the exit codes,
 * the errors.
 *
 * A command is a row (cli.h) with a function that gets its own arguments (argv[0] stands for its
 * name) and returns the exit code. It begins with tool_parse(), and calls tool_connect() when it
 * needs the server. It writes results to standard output and everything else to standard error.
 */
#pragma once

#include "auditstore/auditstore.h"
#include "cli.h"
#include "settings.h"

#include <stdbool.h>
#include <stdint.h>

enum tool_exit {
  TOOL_OK = 0,
  TOOL_REFUSED = 1,    /* the server answered, and the answer is no */
  TOOL_USAGE = 2,      /* the command line or the settings are wrong */
  TOOL_UNREACHABLE = 3 /* no answer: not reachable, timed out, connection lost */
};

struct tool {
  const struct cli_command *command;
  struct settings settings;
  const char *server;                 /* from here on: after tool_connect() */
  int timeout_ms;                     /* for each answer of the server */
  struct auditstore_channel *channel; /* owned */
  int output_failure;                 /* errno of a flush of standard output; 0: none failed */
};

extern const struct cli_command send_command;
extern const struct cli_command list_command;
extern const struct cli_command get_command;
extern const struct cli_command count_command;
extern const struct cli_command health_command;
extern const struct cli_command info_command;
extern const struct cli_command profile_command;
extern const struct cli_command completion_command;
extern const struct cli_command complete_command;
extern const struct cli_command help_command;

struct tool_line {
  cli_take_cb *take; /* NULL: the command has no options of its own */
  void *arg;
  char **arguments; /* out: what isn't an option, as many as the command's row allows */
  int count;        /* out */
};

/* Reads the command's line, --help and --version included, which end the process. TOOL_OK or
 * TOOL_USAGE, said on standard error. */
int tool_parse(struct tool *tool, int argc, char **argv, struct tool_line *line);

/* A cli_take_cb for commands whose only option is --json; `arg` is a bool. */
#define TOOL_OPTION_JSON 1
int tool_take_json(void *arg, const struct cli_option *option, char *value);

/* Opens the channel by the settings. Nothing is dialled yet. TOOL_OK or TOOL_USAGE, said on
 * standard error. */
int tool_connect(struct tool *tool);

/* "auditstore: WHAT; see auditstore --help" on standard error, and TOOL_USAGE. */
int tool_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same for what is wrong with settings and files, which no help tells of. */
int tool_bad_setting(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Says on standard error that `what` ("list events") failed, why, and what to do about it; returns
 * the exit code that fits. */
int tool_fail(const struct tool *tool, const char *what, const struct auditstore_status *status);

/* "auditstore: out of memory" on standard error, and TOOL_REFUSED. */
int tool_no_memory(void);

/* True when the status means that there was no answer at all. */
bool tool_is_unreachable(enum auditstore_code code);

/* Flushes standard output and returns `code`, or complains and returns TOOL_REFUSED when what was
 * written didn't reach its file. Doesn't return when its reader has gone, as in `auditstore list |
 * head`: then the process ends as other tools do, by SIGPIPE. main() does it for all commands. */
int tool_finish_output(const struct tool *tool, int code);
