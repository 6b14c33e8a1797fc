/*
 * filter: the options that select events, the same for list and count.
 */
#pragma once

#include "auditstore/auditstore.h"

#include <getopt.h>
#include <stdbool.h>

/* Added to a command's own options. */
#define FILTER_OPTIONS                                                                             \
  {"since", required_argument, NULL, FILTER_SINCE},                                                \
      {"until", required_argument, NULL, FILTER_UNTIL},                                            \
      {"correlation", required_argument, NULL, FILTER_CORRELATION},                                \
      {"actor", required_argument, NULL, FILTER_ACTOR},                                            \
      {"actor-type", required_argument, NULL, FILTER_ACTOR_TYPE},                                  \
      {"resource", required_argument, NULL, FILTER_RESOURCE},                                      \
      {"resource-type", required_argument, NULL, FILTER_RESOURCE_TYPE},                            \
      {"resource-id", required_argument, NULL, FILTER_RESOURCE_ID},                                \
      {"type", required_argument, NULL, FILTER_TYPE},                                              \
      {"category", required_argument, NULL, FILTER_CATEGORY},                                      \
      {"action", required_argument, NULL, FILTER_ACTION},                                          \
      {"outcome", required_argument, NULL, FILTER_OUTCOME}, {                                      \
    "severity", required_argument, NULL, FILTER_SEVERITY                                           \
  }

enum filter_option {
  FILTER_SINCE = 1000,
  FILTER_UNTIL,
  FILTER_CORRELATION,
  FILTER_ACTOR,
  FILTER_ACTOR_TYPE,
  FILTER_RESOURCE,
  FILTER_RESOURCE_TYPE,
  FILTER_RESOURCE_ID,
  FILTER_TYPE,
  FILTER_CATEGORY,
  FILTER_ACTION,
  FILTER_OUTCOME,
  FILTER_SEVERITY
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
  char *event_types[FILTER_MAX_VALUES];
  char *event_categories[FILTER_MAX_VALUES];
  char *event_actions[FILTER_MAX_VALUES];
  Auditstore__V1__Outcome outcomes[FILTER_MAX_VALUES];
  Auditstore__V1__Severity severities[FILTER_MAX_VALUES];
};

void filter_init(struct filter *filter);

/* Takes one option with its value, which must outlive the filter and may be changed. Returns
 * TOOL_OK, or TOOL_USAGE when it has said what is wrong; `option` that is none of these: TOOL_USAGE
 * without a word. */
int filter_take(struct filter *filter, int option, char *value);
