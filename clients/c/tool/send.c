/*
 * auditstore send: JSON Lines to StreamEvents.
 */
#include "json_message.h"
#include "lines.h"
#include "sender.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct send_line {
  struct sender_options options;
  const char *path; /* "-": standard input */
};

static int parse_options(int argc, char **argv, struct send_line *line) {
  static const struct option options[] = {
      {"batch", required_argument, NULL, 'b'},
      {"partial", no_argument, NULL, 'p'},
      {"atomic", no_argument, NULL, 'a'},
      {NULL, 0, NULL, 0},
  };
  int option = 0;
  while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
    char *end = NULL;
    switch (option) {
    case 'b':
      line->options.batch_events = (int)strtol(optarg, &end, 10);
      if (*end || line->options.batch_events < 1 || line->options.batch_events > SENDER_MAX_BATCH)
        return tool_usage("send: --batch %s: must be 1 to %d", optarg, SENDER_MAX_BATCH);
      break;
    case 'p':
    case 'a':
      line->options.is_atomic = option == 'a';
      break;
    default:
      return TOOL_USAGE; /* getopt has said what is wrong */
    }
  }
  if (argc - optind > 1)
    return tool_usage("send: one file at a time, not also %s", argv[optind + 1]);
  if (optind < argc)
    line->path = argv[optind];
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
      sender_refuse(sender, lines->number, "", "longer than 512 KiB");
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
  if (totals->unconfirmed || totals->unsent || end == INPUT_LEFT)
    return TOOL_UNREACHABLE;
  return totals->refused || end == INPUT_FAILED ? TOOL_REFUSED : TOOL_OK;
}

static int send_from(struct tool *tool, const struct sender_options *options, int fd) {
  struct lines lines;
  int code = TOOL_REFUSED;
  if (!lines_init(&lines, fd)) {
    fputs("auditstore: out of memory\n", stderr);
    return code;
  }
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

int send_command(struct tool *tool, int argc, char **argv) {
  struct send_line line = {.options = {.batch_events = 100}, .path = "-"};
  int code = parse_options(argc, argv, &line);
  if (code != TOOL_OK)
    return code;
  bool is_stdin = strcmp(line.path, "-") == 0;
  line.options.source = is_stdin ? "standard input" : line.path;
  int fd = is_stdin ? STDIN_FILENO : open(line.path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return tool_usage("send: %s: %s", line.path, strerror(errno));
  code = send_from(tool, &line.options, fd);
  if (!is_stdin)
    close(fd);
  return code;
}
