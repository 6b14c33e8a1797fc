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
    {.title = "LEDGER:SEQ"},
    {.title = "EVENT ID", .is_optional = true},
};
#define COLUMN_COUNT (sizeof(columns) / sizeof(columns[0]))

static int take_limit(struct list_line *line, const char *value) {
  char *end = NULL;
  errno = 0;
  line->pages.limit = strtoull(value, &end, 10);
  if (errno || *end || end == value || *value == '-')
    return tool_usage("list: --limit %s: must be a number, 0 for all", value);
  return TOOL_OK;
}

static int parse_options(int argc, char **argv, struct list_line *line) {
  static const struct option options[] = {
      FILTER_OPTIONS,
      {"limit", required_argument, NULL, 'l'},
      {"oldest-first", no_argument, NULL, 'o'},
      {"json", no_argument, NULL, 'j'},
      {NULL, 0, NULL, 0},
  };
  int option = 0;
  int code = TOOL_OK;
  while (code == TOOL_OK && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
    if (option == 'l')
      code = take_limit(line, optarg);
    else if (option == 'o')
      line->pages.is_oldest_first = true;
    else if (option == 'j')
      line->is_json = true;
    else
      code = filter_take(&line->filter, option, optarg);
  }
  if (code == TOOL_OK && optind < argc)
    return tool_usage("list: unexpected argument %s", argv[optind]);
  return code;
}

static bool print_json(void *arg, const Auditstore__V1__StoredEvent *stored) {
  (void)arg;
  json_message_write(stdout, &stored->base);
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
      place,
      event->event_id,
  };
  return table_add(arg, cells) && !ferror(stdout);
}

static int print_table(struct tool *tool, const struct pages_options *pages) {
  struct table *table = malloc(sizeof(*table));
  if (!table) {
    fputs("auditstore: out of memory\n", stderr);
    return TOOL_REFUSED;
  }
  table_init(table, columns, COLUMN_COUNT);
  int code = pages_run(tool, pages, add_row, table);
  table_flush(table);
  if (code == TOOL_OK && !table->has_header)
    fputs("no events match\n", stderr);
  table_deinit(table);
  free(table);
  return code;
}

int list_command(struct tool *tool, int argc, char **argv) {
  struct list_line line = {.pages = {.limit = 20}};
  filter_init(&line.filter);
  line.pages.filter = &line.filter.message;
  int code = parse_options(argc, argv, &line);
  if (code != TOOL_OK)
    return code;
  code = line.is_json ? pages_run(tool, &line.pages, print_json, NULL)
                      : print_table(tool, &line.pages);
  return tool_finish_output(code);
}
