/*
 * auditstore send: JSON Lines to StreamEvents.
 */
#include "json_message.h"
#include "lines.h"
#include "sender.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct send_line {
  struct sender_options options;
  uint64_t from_line; /* what comes before isn't sent */
  const char *path;   /* "-": standard input */
};

enum { OPTION_BATCH = 1, OPTION_PARTIAL, OPTION_ATOMIC, OPTION_FROM_LINE, OPTION_RECEIPTS };

static const struct cli_option send_options[] = {
    {.name = "batch",
     .argument = "NUMBER",
     .help = "so many events in a batch (100), up to 1000",
     .details = "A batch also ends before it would pass 1 MiB; a line that is longer is one alone.",
     .id = OPTION_BATCH},
    {.name = "partial",
     .help = "store the good lines and say what is wrong with the others (the default)",
     .id = OPTION_PARTIAL},
    {.name = "atomic", .help = "store each batch wholly or not at all", .id = OPTION_ATOMIC},
    {.name = "from-line",
     .argument = "NUMBER",
     .help = "begin with this line of the input; the first is 1",
     .details = "For going on where an earlier run stopped; it says with which number.",
     .id = OPTION_FROM_LINE},
    {.name = "receipts",
     .help = "one JSON object per stored event: line, event_id, event_time, ledger_id, sequence",
     .details =
         "Also committed_at, and whether the event was stored before (duplicate). They stand "
         "on standard output in the order of the answers; the totals go to standard error.",
     .id = OPTION_RECEIPTS},
    {0},
};

static int take_batch(struct send_line *line, const struct cli_option *option, const char *value) {
  char *end = NULL;
  long number = strtol(value, &end, 10);
  if (*end || number < 1 || number > SENDER_MAX_BATCH)
    return cli_refuse(&send_command, option, value, "must be 1 to 1000");
  line->options.batch_events = (int)number;
  return TOOL_OK;
}

static int take_from_line(struct send_line *line, const struct cli_option *option,
                          const char *value) {
  char *end = NULL;
  errno = 0;
  line->from_line = strtoull(value, &end, 10);
  if (errno || *end || *value == '-' || line->from_line == 0)
    return cli_refuse(&send_command, option, value, "must be the number of a line, 1 or more");
  return TOOL_OK;
}

static int take_option(void *arg, const struct cli_option *option, char *value) {
  struct send_line *line = arg;
  switch (option->id) {
  case OPTION_BATCH:
    return take_batch(line, option, value);
  case OPTION_FROM_LINE:
    return take_from_line(line, option, value);
  case OPTION_RECEIPTS:
    line->options.has_receipts = true;
    return TOOL_OK;
  default:
    line->options.is_atomic = option->id == OPTION_ATOMIC;
    return TOOL_OK;
  }
}

static bool is_blank(const char *text, size_t len) {
  return strspn(text, " \t\r") == len;
}

/* False: sending has stopped. */
static bool send_text(struct sender *sender, uint64_t number, char *text, size_t len) {
  struct json_problem problem;
  if (is_blank(text, len))
    return true;
  ProtobufCMessage *message =
      json_message_read(&auditstore__v1__audit_event__descriptor, text, len, &problem);
  if (message)
    return sender_add(sender, number, (Auditstore__V1__AuditEvent *)message, len);
  sender_refuse(sender, number, problem.field, problem.text);
  return true;
}

static void refuse_long_line(struct sender *sender, const struct lines *lines) {
  char why[128];
  snprintf(why, sizeof(why),
           "has %" PRIu64 " bytes; at most %zu are allowed, and 1 MiB of event_data",
           lines->skipped, LINES_MAX_BYTES);
  sender_refuse(sender, lines->number, "", why);
}

/* Input that comes slowly is not held back until a batch is full, unless the batch has a meaning.
 */
static bool flush_before_waiting(struct sender *sender, struct lines *lines, bool is_atomic) {
  return is_atomic || !lines_would_wait(lines) || sender_flush(sender);
}

enum input_result {
  INPUT_SENT,   /* all of it was given to the stream */
  INPUT_LEFT,   /* sending stopped before */
  INPUT_FAILED, /* it could not be read */
  INPUT_SHORT,  /* it ends before the line to begin with */
};

struct input_end {
  enum input_result result;
  uint64_t next_line; /* the first that wasn't given to the stream */
};

static struct input_end end_of(const struct lines *lines, enum input_result result) {
  return (struct input_end){.result = result, .next_line = lines->number + 1};
}

/* Sending has stopped. Lines may be left, which the sender's totals know nothing of. */
static struct input_end end_at_break(struct lines *lines, const struct send_line *line) {
  char *text = NULL;
  size_t len = 0;
  struct input_end end = end_of(lines, INPUT_LEFT);
  if (!lines_would_wait(lines) && lines_next(lines, &text, &len) == LINES_END)
    return end_of(lines, INPUT_SENT);
  fprintf(stderr, "%s:%" PRIu64 " and what follows: not sent\n", line->options.source,
          end.next_line);
  return end;
}

static struct input_end send_lines(struct sender *sender, struct lines *lines,
                                   const struct send_line *line) {
  for (;;) {
    char *text = NULL;
    size_t len = 0;
    if (!flush_before_waiting(sender, lines, line->options.is_atomic))
      return end_at_break(lines, line);
    switch (lines_next(lines, &text, &len)) {
    case LINES_OK:
      if (lines->number >= line->from_line && !send_text(sender, lines->number, text, len))
        return end_at_break(lines, line);
      break;
    case LINES_TOO_LONG:
      if (lines->number >= line->from_line)
        refuse_long_line(sender, lines);
      break;
    case LINES_END:
      return end_of(lines, lines->number + 1 < line->from_line ? INPUT_SHORT : INPUT_SENT);
    default:
      fprintf(stderr, "auditstore: %s: %s\n", line->options.source, strerror(errno));
      return end_of(lines, INPUT_FAILED);
    }
  }
}

static void say_where_to_go_on(const struct sender_totals *totals, const struct input_end *end) {
  uint64_t line = totals->first_open;
  if (!line && (end->result == INPUT_LEFT || end->result == INPUT_FAILED))
    line = end->next_line;
  if (line)
    fprintf(stderr, "auditstore: to go on, send the same input with --from-line %" PRIu64 "\n",
            line);
}

static int code_of(const struct sender_totals *totals, const struct input_end *end) {
  if (end->result == INPUT_SHORT)
    return TOOL_USAGE;
  if (totals->was_denied || ferror(stdout))
    return TOOL_REFUSED;
  if (totals->unconfirmed || totals->unsent || end->result == INPUT_LEFT)
    return TOOL_UNREACHABLE;
  return totals->refused || end->result == INPUT_FAILED ? TOOL_REFUSED : TOOL_OK;
}

static int report(const struct send_line *line, const struct sender_totals *totals,
                  const struct input_end *end) {
  if (end->result == INPUT_SHORT)
    fprintf(stderr, "auditstore: send: --from-line %" PRIu64 ": %s has %" PRIu64 " lines\n",
            line->from_line, line->options.source, end->next_line - 1);
  say_where_to_go_on(totals, end);
  fprintf(line->options.has_receipts ? stderr : stdout,
          "acknowledged %" PRIu64 " (%" PRIu64 " of them stored before), refused %" PRIu64
          ", unconfirmed %" PRIu64 "\n",
          totals->acknowledged, totals->duplicates, totals->refused, totals->unconfirmed);
  return code_of(totals, end);
}

static int send_from(struct tool *tool, const struct send_line *line, int fd) {
  struct lines lines;
  int code = TOOL_REFUSED;
  if (!lines_init(&lines, fd))
    return tool_no_memory();
  struct sender *sender = sender_new(tool, &line->options, &code);
  if (sender) {
    struct input_end end = send_lines(sender, &lines, line);
    struct sender_totals totals = sender_finish(sender);
    code = report(line, &totals, &end);
    sender_free(sender);
  }
  lines_deinit(&lines);
  return code;
}

static int send_file(struct tool *tool, struct send_line *line) {
  bool is_stdin = strcmp(line->path, "-") == 0;
  line->options.source = is_stdin ? "standard input" : line->path;
  int fd = is_stdin ? STDIN_FILENO : open(line->path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return tool_usage("send: %s: %s", line->path, strerror(errno));
  int code = tool_connect(tool);
  if (code == TOOL_OK)
    code = send_from(tool, line, fd);
  if (!is_stdin)
    close(fd);
  return code;
}

static int run_send(struct tool *tool, int argc, char **argv) {
  struct send_line line = {.options = {.batch_events = 100}, .from_line = 1, .path = "-"};
  struct tool_line command_line = {.take = take_option, .arg = &line};
  int code = tool_parse(tool, argc, argv, &command_line);
  if (code != TOOL_OK)
    return code;
  if (command_line.count)
    line.path = command_line.arguments[0];
  return send_file(tool, &line);
}

const struct cli_command send_command = {
    .name = "send",
    .arguments = "[FILE]",
    .max_arguments = 1,
    .completes = CLI_FILES,
    .summary = "stores events: one JSON object per line",
    .details =
        "Reads JSON Lines from the file, or from standard input without one or with -, and stores "
        "them as events. The field names are those of proto/auditstore/v1/event.proto. A line has "
        "at most 8 MiB. One such line, without the break:\n\n"
        "    {\"event_time\":\"2026-11-23T07:38:01Z\",\"event_type\":\"door.opened\",\n"
        "     \"event_category\":\"door\",\"event_action\":\"open\",\"outcome\":\"SUCCESS\"}\n\n"
        "Each line that isn't stored is named, with the reason: it is refused, and its neighbours "
        "are stored all the same, unless --atomic is on. Lines whose answer doesn't come, because "
        "the connection breaks or the store is away, are unconfirmed: they may be stored or not. "
        "Then it stops and says with which --from-line to go on. Nothing is sent twice; sending "
        "lines that have an event_id again is harmless.",
    .options = {send_options},
    .run = run_send,
};
