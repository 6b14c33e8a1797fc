/*
 * auditstore list: a page of events as a table, or as JSON Lines.
 */
#include "json_message.h"
#include "pages.h"
#include "table.h"
#include "times.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct list_line {
  struct filter filter;
  struct pages_options pages;
  bool is_json;
};

/* An id that is cut is of no use: it is shown when there is room for all of it. */
static const struct table_column columns[] = {
    {.title = "TIME"},
    {.title = "OUTCOME"},
    {.title = "TYPE", .may_shrink = true},
    {.title = "ACTOR", .may_shrink = true},
    {.title = "RESOURCE", .may_shrink = true},
    {.title = "PRINCIPAL", .may_shrink = true},
    {.title = "LEDGER:SEQ"},
    {.title = "EVENT ID", .is_optional = true},
};
#define COLUMN_COUNT (sizeof(columns) / sizeof(columns[0]))

enum { OPTION_LIMIT = 1, OPTION_OLDEST_FIRST, OPTION_JSON };

static const struct cli_option list_options[] = {
    {.name = "limit",
     .argument = "NUMBER",
     .help = "at most so many events (20); 0: all of them",
     .id = OPTION_LIMIT},
    {.name = "oldest-first", .help = "the oldest first", .id = OPTION_OLDEST_FIRST},
    {.name = "json",
     .help = "one JSON object per line, in place of a table",
     .details = "The field names are those of proto/auditstore/v1; `auditstore send` takes the "
                "value of \"event\" again.",
     .id = OPTION_JSON},
    {0},
};

static int take_limit(struct list_line *line, const struct cli_option *option, const char *value) {
  char *end = NULL;
  errno = 0;
  line->pages.limit = strtoull(value, &end, 10);
  if (errno || *end || end == value || *value == '-')
    return cli_refuse(&list_command, option, value, "must be a number, 0 for all");
  return TOOL_OK;
}

static int take_option(void *arg, const struct cli_option *option, char *value) {
  struct list_line *line = arg;
  switch (option->id) {
  case OPTION_LIMIT:
    return take_limit(line, option, value);
  case OPTION_OLDEST_FIRST:
    line->pages.is_oldest_first = true;
    return TOOL_OK;
  case OPTION_JSON:
    line->is_json = true;
    return TOOL_OK;
  default:
    return filter_take(&line->filter, option, value);
  }
}

static bool print_json(void *arg, const Auditstore__V1__StoredEvent *stored) {
  const enum json_reader *reader = arg;
  json_message_write(stdout, &stored->base, *reader);
  putchar('\n');
  return !ferror(stdout);
}

static void join(char *text, size_t size, const char *left, const char *right) {
  snprintf(text, size, "%s%s%s", left, *left && *right ? "/" : "", right);
}

static bool add_row(void *arg, const Auditstore__V1__StoredEvent *stored) {
  const Auditstore__V1__AuditEvent *event = stored->event;
  char time[TIMES_TEXT_SIZE] = "";
  char actor[320] = "";
  char resource[384] = "";
  char place[48];
  if (event->event_time)
    times_format_rfc3339(event->event_time->seconds, event->event_time->nanos, time);
  if (event->actor)
    join(actor, sizeof(actor), event->actor->type, event->actor->id);
  if (event->resource)
    join(resource, sizeof(resource), event->resource->type, event->resource->id);
  snprintf(place, sizeof(place), "%" PRId64 ":%" PRId64, stored->ledger_id, stored->sequence);
  const char *cells[COLUMN_COUNT] = {
      time,
      json_enum_short_name(&auditstore__v1__outcome__descriptor, (int)event->outcome),
      event->event_type,
      actor,
      resource,
      stored->principal,
      place,
      event->event_id,
  };
  return table_add(arg, cells) && !ferror(stdout);
}

static int print_table(struct tool *tool, const struct pages_options *pages) {
  struct table *table = malloc(sizeof(*table));
  if (!table)
    return tool_no_memory();
  table_init(table, columns, COLUMN_COUNT);
  int code = pages_run(tool, pages, add_row, table);
  table_flush(table);
  if (code == TOOL_OK && !table->has_header)
    fputs("no events match\n", stderr);
  table_deinit(table);
  free(table);
  return code;
}

static int run_list(struct tool *tool, int argc, char **argv) {
  struct list_line line = {.pages = {.limit = 20}};
  struct tool_line command_line = {.take = take_option, .arg = &line};
  filter_init(&line.filter);
  line.pages.filter = &line.filter.message;
  int code = tool_parse(tool, argc, argv, &command_line);
  if (code == TOOL_OK)
    code = tool_connect(tool);
  if (code != TOOL_OK)
    return code;
  enum json_reader reader = json_reader_of(STDOUT_FILENO);
  code = line.is_json ? pages_run(tool, &line.pages, print_json, &reader)
                      : print_table(tool, &line.pages);
  return code;
}

const struct cli_command list_command = {
    .name = "list",
    .summary = "shows events, the newest first",
    .details =
        "Shows the events that the options select, the newest first, as a table as wide as "
        "the terminal, or as JSON Lines.\n\n" FILTER_DETAILS,
    .options = {filter_options, list_options},
    .run = run_list,
};
