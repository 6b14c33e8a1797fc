/*
 * auditstore: the command line: global options, then a command.
 */
#include "times.h"
#include "tool.h"

#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "auditstore: writes audit events to auditstored and reads them back\n"
    "\n"
    "  auditstore [--server HOST:PORT] [--timeout 10s] COMMAND\n"
    "\n"
    "  send [--batch 100] [--partial | --atomic] [FILE | -]\n"
    "        Stores events: one JSON object per line, with the field names of\n"
    "        proto/auditstore/v1/event.proto. --partial (the default) stores the good lines and\n"
    "        says what is wrong with the others; --atomic stores a batch wholly or not at all.\n"
    "        A batch also ends at 1 MiB. A line has at most 512 KiB.\n"
    "  list [FILTER...] [--limit 20] [--oldest-first] [--json]\n"
    "        The newest events that match; --limit 0: all of them. --json: one object per line.\n"
    "  get EVENT_ID [--json]\n"
    "        One event in full.\n"
    "  count [FILTER...] [--by action|type|category|outcome]\n"
    "        How many events match. Reads them all, page by page.\n"
    "  health\n"
    "        SERVING or NOT_SERVING.\n"
    "  info [--json]\n"
    "        What the daemon runs with (each setting and where it comes from) and what its\n"
    "        connections to PostgreSQL do; also while PostgreSQL is away.\n"
    "\n"
    "  FILTER, each may be repeated (any of its values) except times and --resource:\n"
    "  --since TIME, --until TIME     2026-11-23T07:38:01Z, or 30m, 24h, 7d for so long ago;\n"
    "                                 until excludes the time itself\n"
    "  --correlation ID  --actor ID  --actor-type TYPE\n"
    "  --resource TYPE/ID  --resource-type TYPE  --resource-id ID\n"
    "  --type TYPE  --category CATEGORY  --action ACTION\n"
    "  --outcome SUCCESS|FAILURE|PENDING|UNKNOWN\n"
    "  --severity DEBUG|INFO|NOTICE|WARNING|ERROR|CRITICAL|ALERT|EMERGENCY\n"
    "\n"
    "  --server     default 127.0.0.1:7443, or what AUDITSTORE_SERVER says\n"
    "  --timeout    how long to wait for each answer: 500ms, 10s, 2m\n"
    "  --help, --version\n"
    "\n"
    "Exit codes: 0 done; 1 refused: some lines not stored, no such event, not serving;\n"
    "2 wrong usage; 3 no answer: not reachable, timed out, connection lost.\n";

struct command {
  const char *name;
  const char *title; /* what getopt's complaints begin with */
  tool_command *run;
};

static const struct command commands[] = {
    {"send", "auditstore: send", send_command},       {"list", "auditstore: list", list_command},
    {"get", "auditstore: get", get_command},          {"count", "auditstore: count", count_command},
    {"health", "auditstore: health", health_command}, {"info", "auditstore: info", info_command},
};

static const struct command *find_command(const char *name) {
  for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
    if (strcmp(commands[i].name, name) == 0)
      return &commands[i];
  return NULL;
}

static int take_timeout(struct tool *tool, const char *value) {
  int64_t ms = 0;
  if (!times_parse_span(value, &ms) || ms < 1 || ms > INT_MAX)
    return tool_usage("--timeout %s: must be a time such as 500ms, 10s or 2m", value);
  tool->timeout_ms = (int)ms;
  return TOOL_OK;
}

static _Noreturn void print_and_exit(const char *text) {
  fputs(text, stdout);
  exit(tool_finish_output(TOOL_OK));
}

static int parse_options(int argc, char **argv, struct tool *tool) {
  static const struct option options[] = {
      {"server", required_argument, NULL, 's'},
      {"timeout", required_argument, NULL, 't'},
      {"help", no_argument, NULL, 'h'},
      {"version", no_argument, NULL, 'v'},
      {NULL, 0, NULL, 0},
  };
  int option = 0;
  int code = TOOL_OK;
  /* '+': options behind the command are the command's. */
  while (code == TOOL_OK && (option = getopt_long(argc, argv, "+h", options, NULL)) != -1) {
    if (option == 's')
      tool->server = optarg;
    else if (option == 't')
      code = take_timeout(tool, optarg);
    else if (option == 'h')
      print_and_exit(help);
    else if (option == 'v')
      print_and_exit("auditstore " AUDITSTORE_VERSION "\n");
    else
      code = TOOL_USAGE; /* getopt has said what is wrong */
  }
  return code;
}

static int run(struct tool *tool, const struct command *command, int argc, char **argv) {
  const struct auditstore_channel_options options = {
      .connect_timeout_ms = tool->timeout_ms,
      .default_timeout_ms = tool->timeout_ms,
      .max_message_bytes = (size_t)256 * 1024 * 1024, /* a page of events at their largest */
      .user_agent = "auditstore-tool/" AUDITSTORE_VERSION,
  };
  tool->channel = auditstore_channel_new(tool->server, &options, NULL);
  if (!tool->channel)
    return tool_usage("--server %s: must be HOST:PORT or [IPV6]:PORT", tool->server);
  optind = 0; /* getopt starts afresh with the command's arguments */
  argv[0] = (char *)command->title;
  int code = command->run(tool, argc, argv);
  auditstore_channel_free(tool->channel);
  return code;
}

/* `auditstore list | head` ends quietly; a server that goes away is an error of a call. */
static void ignore_broken_pipes(void) {
  const struct sigaction action = {.sa_handler = SIG_IGN};
  sigaction(SIGPIPE, &action, NULL);
}

int main(int argc, char **argv) {
  const char *server = getenv("AUDITSTORE_SERVER");
  struct tool tool = {.server = server && *server ? server : "127.0.0.1:7443", .timeout_ms = 10000};
  int code = parse_options(argc, argv, &tool);
  if (code != TOOL_OK)
    return code;
  if (optind == argc)
    return tool_usage("which command?");
  const struct command *command = find_command(argv[optind]);
  if (!command)
    return tool_usage("unknown command %s", argv[optind]);
  ignore_broken_pipes();
  return run(&tool, command, argc - optind, argv + optind);
}
