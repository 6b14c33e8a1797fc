/*
 * filter: the options that select events, the same for list and count.
 */
#pragma once

#include "auditstore/auditstore.h"
#include "cli.h"

#include <stdbool.h>

/* Added to a command's own options; the argument of each is taken by filter_take(). */
extern const struct cli_option filter_options[];

/* For the details of such a command. */
#define FILTER_DETAILS                                                                             \
  "Each option that selects may be given several times, and then selects what has any of its "     \
  "values; --since, --until and --resource only once. An event is selected when all of them "      \
  "select it."

enum filter_option {
  FILTER_SINCE = 1000,
  FILTER_UNTIL,
  FILTER_CORRELATION,
  FILTER_ACTOR,
  FILTER_ACTOR_TYPE,
  FILTER_RESOURCE,
  FILTER_RESOURCE_TYPE,
  FILTER_RESOURCE_ID,
  FILTER_NAMESPACE,
  FILTER_CLUSTER,
  FILTER_TYPE,
  FILTER_CATEGORY,
  FILTER_ACTION,
  FILTER_OUTCOME,
  FILTER_SEVERITY,
  FILTER_PRINCIPAL
};

/* As many values as the server takes of each kind. */
#define FILTER_MAX_VALUES 100

struct filter {
  Auditstore__V1__EventFilter message; /* the API's form; points into this struct and into argv */
  Google__Protobuf__Timestamp start, end;
  char *correlation_ids[FILTER_MAX_VALUES];
  char *actor_ids[FILTER_MAX_VALUES];
  char *actor_types[FILTER_MAX_VALUES];
  char *resource_types[FILTER_MAX_VALUES];
  char *resource_ids[FILTER_MAX_VALUES];
  char *namespaces[FILTER_MAX_VALUES];
  char *clusters[FILTER_MAX_VALUES];
  char *event_types[FILTER_MAX_VALUES];
  char *event_categories[FILTER_MAX_VALUES];
  char *event_actions[FILTER_MAX_VALUES];
  char *principals[FILTER_MAX_VALUES];
  Auditstore__V1__Outcome outcomes[FILTER_MAX_VALUES];
  Auditstore__V1__Severity severities[FILTER_MAX_VALUES];
};

void filter_init(struct filter *filter);

/* Takes one of filter_options with its value, which must outlive the filter and may be changed.
 * TOOL_OK, or TOOL_USAGE when it has said what is wrong. */
int filter_take(struct filter *filter, const struct cli_option *option, char *value);
