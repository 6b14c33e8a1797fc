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
  const char *path; /* "-": standard input */
};

enum { OPTION_BATCH = 1, OPTION_PARTIAL, OPTION_ATOMIC };

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

static int take_option(void *arg, const struct cli_option *option, char *value) {
  struct send_line *line = arg;
  if (option->id == OPTION_BATCH)
    return take_batch(line, option, value);
  line->options.is_atomic = option->id == OPTION_ATOMIC;
  return TOOL_OK;
}

static bool is_blank(const char *text, size_t len) {
  return strspn(text, " \t\r") == len;
}

/* False: the stream is broken. */
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

enum input_end {
  INPUT_SENT,   /* all of it was given to the stream */
  INPUT_LEFT,   /* the stream broke before */
  INPUT_FAILED, /* it could not be read */
};

/* The stream is broken. Lines may be left, which the sender's totals know nothing of. */
static enum input_end end_at_break(struct lines *lines, const struct sender_options *options) {
  char *text = NULL;
  size_t len = 0;
  uint64_t next = lines->number + 1;
  if (!lines_would_wait(lines) && lines_next(lines, &text, &len) == LINES_END)
    return INPUT_SENT;
  fprintf(stderr, "%s:%" PRIu64 " and what follows: not sent\n", options->source, next);
  return INPUT_LEFT;
}

static enum input_end send_lines(struct sender *sender, struct lines *lines,
                                 const struct sender_options *options) {
  for (;;) {
    char *text = NULL;
    size_t len = 0;
    if (!flush_before_waiting(sender, lines, options->is_atomic))
      return end_at_break(lines, options);
    switch (lines_next(lines, &text, &len)) {
    case LINES_OK:
      if (!send_text(sender, lines->number, text, len))
        return end_at_break(lines, options);
      break;
    case LINES_TOO_LONG:
      refuse_long_line(sender, lines);
      break;
    case LINES_END:
      return INPUT_SENT;
    default:
      fprintf(stderr, "auditstore: %s: %s\n", options->source, strerror(errno));
      return INPUT_FAILED;
    }
  }
}

static int report(const struct sender_totals *totals, enum input_end end) {
  printf("acknowledged %" PRIu64 " (%" PRIu64 " of them stored before), refused %" PRIu64
         ", unconfirmed %" PRIu64 "\n",
         totals->acknowledged, totals->duplicates, totals->refused, totals->unconfirmed);
  if (totals->was_denied)
    return TOOL_REFUSED;
  if (totals->unconfirmed || totals->unsent || end == INPUT_LEFT)
    return TOOL_UNREACHABLE;
  return totals->refused || end == INPUT_FAILED ? TOOL_REFUSED : TOOL_OK;
}

static int send_from(struct tool *tool, const struct sender_options *options, int fd) {
  struct lines lines;
  int code = TOOL_REFUSED;
  if (!lines_init(&lines, fd))
    return tool_no_memory();
  struct sender *sender = sender_new(tool, options, &code);
  if (sender) {
    enum input_end end = send_lines(sender, &lines, options);
    struct sender_totals totals = sender_finish(sender);
    code = report(&totals, end);
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
    code = send_from(tool, &line->options, fd);
  if (!is_stdin)
    close(fd);
  return code;
}

static int run_send(struct tool *tool, int argc, char **argv) {
  struct send_line line = {.options = {.batch_events = 100}, .path = "-"};
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
        "are stored all the same, unless --atomic is on. Lines whose answer "
        "doesn't come, because the connection breaks, are unconfirmed: they may be stored or not. "
        "Nothing is sent twice; sending lines that have an event_id again is harmless.",
    .options = {send_options},
    .run = run_send,
};
