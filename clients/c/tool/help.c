/*
 * The help, and the command that shows it.
 */
#include "base/paragraphs.h"
#include "tool.h"

#include <string.h>

#define WIDTH       80
#define INDENT      2
#define OPTION_TEXT 24 /* where the explanation of an option begins */

/* Words one by one, with a new line before one that would go beyond the width. */
static void put_wrapped(FILE *out, const char *text, size_t len, size_t indent, size_t column) {
  const char *end = text + len;
  const char *separator = "";
  while (text < end) {
    size_t word = strcspn(text, " \n");
    word = word < (size_t)(end - text) ? word : (size_t)(end - text);
    if (*separator && column + 1 + word > WIDTH) {
      fprintf(out, "\n%*s", (int)indent, "");
      column = indent;
      separator = "";
    }
    fprintf(out, "%s%.*s", separator, (int)word, text);
    column += strlen(separator) + word;
    separator = " ";
    text += word;
    text += strspn(text, " \n");
  }
  fputc('\n', out);
}

static void put_paragraph(void *arg, const char *text, size_t len, bool is_literal) {
  FILE *out = arg;
  fputc('\n', out);
  if (is_literal)
    fprintf(out, "%.*s\n", (int)len, text);
  else
    put_wrapped(out, text, len, 0, 0);
}

/* A name in front, and its explanation beside it, or below it when the name is long. */
static void put_entry(FILE *out, const char *name, size_t column, const char *text) {
  size_t used = INDENT + strlen(name);
  fprintf(out, "%*s%s", INDENT, "", name);
  if (used >= column)
    fprintf(out, "\n%*s", (int)column, "");
  else
    fprintf(out, "%*s", (int)(column - used), "");
  put_wrapped(out, text, strlen(text), column, column);
}

static void put_option(FILE *out, const struct cli_option *option) {
  char name[64];
  snprintf(name, sizeof(name), "--%s%s%s", option->name, option->argument ? " " : "",
           option->argument ? option->argument : "");
  put_entry(out, name, OPTION_TEXT, option->help);
}

static void put_options(FILE *out, const struct cli_option *options) {
  for (; options && options->name; options++)
    put_option(out, options);
}

void cli_print_help(FILE *out) {
  fputs("auditstore: " CLI_SUMMARY
        "\n\n"
        "  auditstore [OPTION...] COMMAND [ARGUMENT...]\n\n"
        "Commands\n",
        out);
  for (size_t i = 0; cli_commands[i]; i++)
    put_entry(out, cli_commands[i]->name, OPTION_TEXT, cli_commands[i]->summary);
  fputs("\nOptions of every command, before or behind it\n", out);
  put_options(out, cli_global_options);
  paragraphs_each(CLI_MORE_HELP "\n\n" CLI_EXIT_CODES, put_paragraph, out);
}

static void put_more(FILE *out, const char *text) {
  fprintf(out, "%*s", OPTION_TEXT, "");
  put_wrapped(out, text, strlen(text), OPTION_TEXT, OPTION_TEXT);
}

static void put_options_in_full(FILE *out, const struct cli_option *options) {
  for (; options && options->name; options++) {
    put_option(out, options);
    if (options->details)
      put_more(out, options->details);
    if (options->words)
      put_more(out, options->words);
  }
}

void cli_print_command_help(FILE *out, const struct cli_command *command) {
  bool has_options = command->options[0] != NULL;
  fprintf(out, "auditstore %s: %s\n\n  auditstore %s%s%s%s\n", command->name, command->summary,
          command->name, has_options ? " [OPTION...]" : "", command->arguments ? " " : "",
          command->arguments ? command->arguments : "");
  paragraphs_each(command->details, put_paragraph, out);
  if (has_options)
    fputs("\nOptions\n", out);
  for (size_t i = 0; i < CLI_OPTION_GROUPS; i++)
    put_options_in_full(out, command->options[i]);
  fputs("\n`auditstore --help` shows the options of every command.\n", out);
}

/* ---- the command ---- */

enum { OPTION_MAN = 1 };

static const struct cli_option help_options[] = {
    {.name = "man",
     .help = "the manual page of all commands, as troff takes it, such as `man -l -` does",
     .id = OPTION_MAN},
    {0},
};

static int take_option(void *arg, const struct cli_option *option, char *value) {
  (void)option;
  (void)value;
  *(bool *)arg = true;
  return TOOL_OK;
}

static int run_help(struct tool *tool, int argc, char **argv) {
  bool is_manual = false;
  struct tool_line line = {.take = take_option, .arg = &is_manual};
  int code = tool_parse(tool, argc, argv, &line);
  if (code != TOOL_OK)
    return code;
  const struct cli_command *command = line.count ? cli_find_command(line.arguments[0]) : NULL;
  if (line.count && !command)
    return tool_usage("help: there is no command %s", line.arguments[0]);
  if (is_manual)
    cli_print_manual(stdout);
  else if (command)
    cli_print_command_help(stdout, command);
  else
    cli_print_help(stdout);
  return TOOL_OK;
}

const struct cli_command help_command = {
    .name = "help",
    .arguments = "[COMMAND]",
    .max_arguments = 1,
    .completes = CLI_COMMANDS,
    .summary = "shows help, with a name for one command",
    .details = "Shows the short help, or what there is to know of one command.",
    .options = {help_options},
    .run = run_help,
};
