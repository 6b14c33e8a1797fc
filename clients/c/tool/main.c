/*
 * auditstore: the command line: options, then a command. Options that every command takes may stand
 * on either side of it.
 */
#include "base/core_dumps.h"
#include "base/std_files.h"
#include "tool.h"

#include <signal.h>
#include <string.h>

static const struct cli_command *find_command(const char *name) {
  const struct cli_command *command = cli_find_command(name);
  const char *near = command ? NULL : cli_suggest_command(name);
  if (!command)
    tool_usage("unknown command %s%s%s%s", name, near ? " (did you mean " : "", near ? near : "",
               near ? "?)" : "");
  return command;
}

static int run(struct tool *tool, int argc, char **argv) {
  struct tool_line line = {.take = NULL};
  int code = tool_parse(tool, argc, argv, &line);
  if (code != TOOL_OK)
    return code;
  if (line.count == 0)
    return tool_usage("which command?");
  tool->command = find_command(line.arguments[0]);
  if (!tool->command)
    return TOOL_USAGE;
  return tool->command->run(tool, line.count, line.arguments);
}

/* What a command does isn't cut short by a reader who has seen enough; a server that goes away is
 * an error of a call. */
static void ignore_broken_pipes(void) {
  const struct sigaction action = {.sa_handler = SIG_IGN};
  sigaction(SIGPIPE, &action, NULL);
}

int main(int argc, char **argv) {
  struct tool tool = {.command = NULL};
  ignore_broken_pipes();
  if (!std_files_open())
    return TOOL_USAGE;
  core_dumps_limit();
  settings_init(&tool.settings);
  int code = run(&tool, argc, argv);
  auditstore_channel_free(tool.channel);
  settings_deinit(&tool.settings);
  return tool_finish_output(&tool, code);
}
