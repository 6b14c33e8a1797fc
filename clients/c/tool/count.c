/*
 * auditstore count: how many events there are, by one of their fields.
 *
 * The API has no counting call: this pages through all events that match, so its time grows with
 * their number.
 */
#include "json_message.h"
#include "pages.h"
#include "table.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Names are the writers' choice: their number must not decide how much memory this takes. */
#define MAX_NAMES  10000
#define OTHER_NAME "(other)"

typedef const char *count_key(const Auditstore__V1__StoredEvent *stored);

static const char *key_action(const Auditstore__V1__StoredEvent *stored) {
  return stored->event->event_action;
}

static const char *key_type(const Auditstore__V1__StoredEvent *stored) {
  return stored->event->event_type;
}

static const char *key_category(const Auditstore__V1__StoredEvent *stored) {
  return stored->event->event_category;
}

static const char *key_outcome(const Auditstore__V1__StoredEvent *stored) {
  const char *name =
      json_enum_short_name(&auditstore__v1__outcome__descriptor, (int)stored->event->outcome);
  return name ? name : OTHER_NAME;
}

static const char *key_principal(const Auditstore__V1__StoredEvent *stored) {
  return stored->principal;
}

static const struct {
  const char *name;
  count_key *key;
} fields[] = {{"action", key_action},
              {"type", key_type},
              {"category", key_category},
              {"outcome", key_outcome},
              {"principal", key_principal}};

struct count_line {
  struct filter filter;
  count_key *key; /* NULL: only the total */
};

struct tally {
  count_key *key;
  json_t *counts; /* owned; name to number */
  uint64_t total;
};

enum { OPTION_BY = 1 };

static const struct cli_option count_options[] = {
    {.name = "by",
     .argument = "FIELD",
     .help = "how many there are of each action, type, category, outcome or principal",
     .completes = CLI_WORDS,
     .words = "action type category outcome principal",
     .id = OPTION_BY},
    {0},
};

static int take_by(struct count_line *line, const struct cli_option *option, const char *name) {
  for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
    if (strcmp(fields[i].name, name) == 0) {
      line->key = fields[i].key;
      return TOOL_OK;
    }
  return cli_refuse(&count_command, option, name, NULL);
}

static int take_option(void *arg, const struct cli_option *option, char *value) {
  struct count_line *line = arg;
  return option->id == OPTION_BY ? take_by(line, option, value)
                                 : filter_take(&line->filter, option, value);
}

static bool count_one(void *arg, const Auditstore__V1__StoredEvent *stored) {
  struct tally *tally = arg;
  tally->total++;
  if (!tally->key)
    return true;
  const char *name = tally->key(stored);
  if (!json_object_get(tally->counts, name) && json_object_size(tally->counts) >= MAX_NAMES)
    name = OTHER_NAME;
  json_int_t before = json_integer_value(json_object_get(tally->counts, name));
  return json_object_set_new(tally->counts, name, json_integer(before + 1)) == 0;
}

struct entry {
  const char *name;
  json_int_t count;
};

static int by_count(const void *a, const void *b) {
  const struct entry *left = a;
  const struct entry *right = b;
  if (left->count != right->count)
    return left->count < right->count ? 1 : -1;
  return strcmp(left->name, right->name);
}

static void print_entries(const struct entry *entries, size_t count) {
  static const struct table_column columns[] = {{.title = "COUNT"},
                                                {.title = "NAME", .may_shrink = true}};
  struct table *table = malloc(sizeof(*table));
  if (!table)
    return;
  table_init(table, columns, 2);
  for (size_t i = 0; i < count; i++) {
    char number[24];
    snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, entries[i].count);
    const char *cells[] = {number, entries[i].name};
    table_add(table, cells);
  }
  table_flush(table);
  table_deinit(table);
  free(table);
}

static void print_counts(const struct tally *tally) {
  size_t size = json_object_size(tally->counts);
  struct entry *entries = calloc(size + 1, sizeof(*entries));
  const char *name = NULL;
  json_t *value = NULL;
  size_t count = 0;
  if (!entries)
    return;
  json_object_foreach(tally->counts, name, value) entries[count++] =
      (struct entry){.name = name, .count = json_integer_value(value)};
  qsort(entries, count, sizeof(*entries), by_count);
  print_entries(entries, count);
  free(entries);
}

static int run_count(struct tool *tool, int argc, char **argv) {
  struct count_line line = {.key = NULL};
  struct tool_line command_line = {.take = take_option, .arg = &line};
  filter_init(&line.filter);
  int code = tool_parse(tool, argc, argv, &command_line);
  if (code == TOOL_OK)
    code = tool_connect(tool);
  if (code != TOOL_OK)
    return code;
  struct tally tally = {.key = line.key, .counts = json_object()};
  const struct pages_options pages = {.filter = &line.filter.message};
  code = pages_run(tool, &pages, count_one, &tally);
  if (code == TOOL_OK && tally.key)
    print_counts(&tally);
  if (code == TOOL_OK)
    printf("%" PRIu64 "%s\n", tally.total, tally.key ? "  in all" : "");
  json_decref(tally.counts);
  return code;
}

const struct cli_command count_command = {
    .name = "count",
    .summary = "counts events",
    .details =
        "Tells how many events the options select. It reads them all, page by page, so its "
        "time grows with their number.\n\n" FILTER_DETAILS,
    .options = {filter_options, count_options},
    .run = run_count,
};
