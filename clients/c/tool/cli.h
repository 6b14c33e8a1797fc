/*
 * cli: the command line as a table. Each command describes itself in one struct cli_command; from
 * these come what getopt takes, the help, the manual page and the shells' completion, so that they
 * can't disagree: an option without a row doesn't exist.
 *
 * Texts are for people: `help` is one phrase without a full stop, `details` are paragraphs, apart
 * by an empty line; a paragraph whose lines begin with four spaces is shown as it stands.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct tool;

enum cli_completes {
  CLI_NOTHING,
  CLI_FILES,
  CLI_WORDS,    /* those of `words` */
  CLI_PROFILES, /* the names in the settings file */
  CLI_COMMANDS
};

struct cli_option {
  const char *name;     /* without the dashes; NULL ends a list */
  const char *argument; /* what stands for it in texts; NULL: the option takes none */
  const char *help;
  const char *details;  /* more, for the manual page; may be NULL */
  const char *variable; /* of the environment, that says the same; may be NULL */
  const char *words;    /* separated by blanks: all that may be given, or what is offered */
  enum cli_completes completes;
  int id; /* the command's own number for it, below CLI_GLOBAL */
};

/* Options of these numbers and above hold for every command. */
#define CLI_GLOBAL 2000

#define CLI_OPTION_GROUPS 2

struct cli_command {
  const char *name;
  const char *arguments; /* as the synopsis shows them; NULL: none */
  int min_arguments;
  int max_arguments;            /* -1: any number */
  enum cli_completes completes; /* the first argument */
  const char *words;
  const char *summary;
  const char *details;
  const struct cli_option *options[CLI_OPTION_GROUPS]; /* each may be NULL */
  int (*run)(struct tool *tool, int argc, char **argv);
};

/* All of them, ended by NULL, and the options that each of them takes. */
extern const struct cli_command *const cli_commands[];
extern const struct cli_option cli_global_options[];

/* NULL: no such command; the nearest name, or NULL. */
const struct cli_command *cli_find_command(const char *name);
const char *cli_suggest_command(const char *name);

/* Of the command, which may be NULL, or global. `len` bytes of the name. */
const struct cli_option *cli_find_option(const struct cli_command *command, const char *name,
                                         size_t len);

/* The option with this number. */
const struct cli_option *cli_option_of(const struct cli_command *command, int id);

/* Takes one option: TOOL_OK, or TOOL_USAGE when it has said what is wrong. `value` is NULL for an
 * option without argument, lives as long as the process and may be changed. */
typedef int cli_take_cb(void *arg, const struct cli_option *option, char *value);

struct cli_parser {
  const struct cli_command *command; /* NULL: global options, up to the first other word */
  cli_take_cb *take;                 /* the command's own; NULL: it has none */
  void *arg;
  cli_take_cb *take_global;
  void *global_arg;
};

/* Reads options; *ret_first is the index of the first argument in argv, which is put behind the
 * options. TOOL_OK or TOOL_USAGE, said on standard error; also when the number of arguments isn't
 * the command's. */
int cli_parse(const struct cli_parser *parser, int argc, char **argv, int *ret_first);

/* "auditstore: list: --limit x: must be a number", as TOOL_USAGE. Without `why` it names the
 * option's words. */
int cli_refuse(const struct cli_command *command, const struct cli_option *option,
               const char *value, const char *why);

/* Calls `cb` with each of the words. */
typedef void cli_word_cb(void *arg, const char *word, size_t len);
void cli_each_word(const char *words, cli_word_cb *cb, void *arg);

/* ---- texts from the table ---- */

#define CLI_SUMMARY "writes audit events to auditstored and reads them back"

#define CLI_MORE_HELP "`auditstore help COMMAND` tells more of a command, auditstore(1) all of it."

#define CLI_PRECEDENCE                                                                             \
  "Each setting is taken from the first of these that has it: the option; the profile that "       \
  "--profile names; the environment variable, when it isn't empty; the profile that "              \
  "AUDITSTORE_PROFILE names, else the file's default_profile; the default.\n\n"                    \
  "A profile's token or certificate is shown to no server that the profile doesn't name, unless "  \
  "--profile and --server stand in one command. When --server or AUDITSTORE_SERVER names the "     \
  "server, a profile that --profile doesn't name is therefore left aside, all of it; and a "       \
  "profile that --profile names, has a token or certificate and no server, is refused when "       \
  "AUDITSTORE_SERVER names one. `auditstore profile show` tells what holds, and where it comes "   \
  "from."

#define CLI_EXIT_CODES                                                                             \
  "Exit codes: 0 done; 1 refused: some lines not stored, no such event, not serving, not "         \
  "allowed; 2 wrong usage or settings; 3 no answer: not reachable, timed out, connection lost."

void cli_print_help(FILE *out);
void cli_print_command_help(FILE *out, const struct cli_command *command);

/* auditstore(1), as troff takes it. */
void cli_print_manual(FILE *out);

/* What may stand for the last of the words, which may be empty: one line for each, with a tab and
 * an explanation behind some; ":files" alone asks for names of files. `words` are those behind
 * "auditstore". */
void cli_complete(FILE *out, int count, char **words);
