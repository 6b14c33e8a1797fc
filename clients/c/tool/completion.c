/*
 * auditstore completion: the scripts that make the shells complete, and what those scripts ask.
 */
#include "scripts.h"
#include "tool.h"

#include <string.h>

static int run_completion(struct tool *tool, int argc, char **argv) {
  struct tool_line line = {.take = NULL};
  int code = tool_parse(tool, argc, argv, &line);
  if (code != TOOL_OK)
    return code;
  for (size_t i = 0; i < completion_script_count; i++) {
    if (strcmp(completion_scripts[i].shell, line.arguments[0]) != 0)
      continue;
    fputs(completion_scripts[i].text, stdout);
    return TOOL_OK;
  }
  return tool_usage("completion %s: must be bash, zsh or fish", line.arguments[0]);
}

const struct cli_command completion_command = {
    .name = "completion",
    .arguments = "bash|zsh|fish",
    .min_arguments = 1,
    .max_arguments = 1,
    .completes = CLI_WORDS,
    .words = "bash zsh fish",
    .summary = "prints a completion script for a shell",
    .details =
        "A system-wide installation has these scripts in place. To have them without:\n\n"
        "    source <(auditstore completion bash)          # in ~/.bashrc\n"
        "    source <(auditstore completion zsh)           # in ~/.zshrc, below compinit\n"
        "    auditstore completion fish | source           # in ~/.config/fish/config.fish",
    .run = run_completion,
};

static int run_complete(struct tool *tool, int argc, char **argv) {
  struct tool_line line = {.take = NULL};
  int code = tool_parse(tool, argc, argv, &line);
  if (code != TOOL_OK)
    return code;
  cli_complete(stdout, line.count, line.arguments);
  return TOOL_OK;
}

const struct cli_command complete_command = {
    .name = "complete",
    .arguments = "-- [WORD...]",
    .max_arguments = -1,
    .summary = "tells what may come next, for those scripts",
    .details =
        "Prints what may stand for the last of the words, which are those behind "
        "`auditstore` on a command line: one on a line, some with a tab and an explanation "
        "behind. The line \":files\" stands for the names of files.",
    .run = run_complete,
};
