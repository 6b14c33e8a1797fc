#include "filter.h"

#include "json_message.h"
#include "times.h"
#include "tool.h"

#include <string.h>

#define TIME_HELP "a time such as 2026-11-23T07:38:01Z, or 30m, 24h, 7d for so long ago"

const struct cli_option filter_options[] = {
    {.name = "since",
     .argument = "TIME",
     .help = "events at or after " TIME_HELP,
     .id = FILTER_SINCE},
    {.name = "until",
     .argument = "TIME",
     .help = "events before that time, given in the same ways",
     .id = FILTER_UNTIL},
    {.name = "correlation",
     .argument = "ID",
     .help = "events with this correlation id",
     .id = FILTER_CORRELATION},
    {.name = "actor", .argument = "ID", .help = "events of this actor", .id = FILTER_ACTOR},
    {.name = "actor-type",
     .argument = "TYPE",
     .help = "events of actors of this type",
     .id = FILTER_ACTOR_TYPE},
    {.name = "resource",
     .argument = "TYPE/ID",
     .help = "events about this resource",
     .id = FILTER_RESOURCE},
    {.name = "resource-type",
     .argument = "TYPE",
     .help = "events about resources of this type",
     .id = FILTER_RESOURCE_TYPE},
    {.name = "resource-id",
     .argument = "ID",
     .help = "events about resources with this id",
     .id = FILTER_RESOURCE_ID},
    {.name = "namespace",
     .argument = "NAMESPACE",
     .help = "events about resources of this namespace",
     .id = FILTER_NAMESPACE},
    {.name = "cluster",
     .argument = "CLUSTER",
     .help = "events about resources of this cluster",
     .id = FILTER_CLUSTER},
    {.name = "type", .argument = "TYPE", .help = "events of this type", .id = FILTER_TYPE},
    {.name = "category",
     .argument = "CATEGORY",
     .help = "events of this category",
     .id = FILTER_CATEGORY},
    {.name = "action", .argument = "ACTION", .help = "events of this action", .id = FILTER_ACTION},
    {.name = "outcome",
     .argument = "OUTCOME",
     .help = "events that ended so",
     .completes = CLI_WORDS,
     .words = "SUCCESS FAILURE PENDING UNKNOWN",
     .id = FILTER_OUTCOME},
    {.name = "severity",
     .argument = "SEVERITY",
     .help = "events as severe as this",
     .completes = CLI_WORDS,
     .words = "DEBUG INFO NOTICE WARNING ERROR CRITICAL ALERT EMERGENCY",
     .id = FILTER_SEVERITY},
    {.name = "principal",
     .argument = "PRINCIPAL",
     .help = "events that this caller wrote: token:ci, cn:alice, dns:api.example.com",
     .details = "The principal is what the server made of the writer's certificate or token; the "
                "actor is what the event says.",
     .id = FILTER_PRINCIPAL},
    {0},
};

void filter_init(struct filter *filter) {
  memset(filter, 0, sizeof(*filter));
  auditstore__v1__event_filter__init(&filter->message);
  google__protobuf__timestamp__init(&filter->start);
  google__protobuf__timestamp__init(&filter->end);
  filter->message.correlation_ids = filter->correlation_ids;
  filter->message.actor_ids = filter->actor_ids;
  filter->message.actor_types = filter->actor_types;
  filter->message.resource_types = filter->resource_types;
  filter->message.resource_ids = filter->resource_ids;
  filter->message.namespaces = filter->namespaces;
  filter->message.clusters = filter->clusters;
  filter->message.event_types = filter->event_types;
  filter->message.event_categories = filter->event_categories;
  filter->message.event_actions = filter->event_actions;
  filter->message.principals = filter->principals;
  filter->message.outcomes = filter->outcomes;
  filter->message.severities = filter->severities;
}

static int check_room(size_t count) {
  if (count < FILTER_MAX_VALUES)
    return TOOL_OK;
  return tool_usage("more than %d values of one filter", FILTER_MAX_VALUES);
}

static int take_text(char **values, size_t *count, char *value) {
  int code = check_room(*count);
  if (code == TOOL_OK)
    values[(*count)++] = value;
  return code;
}

static int take_time(const struct cli_option *option, Google__Protobuf__Timestamp *time,
                     Google__Protobuf__Timestamp **member, const char *value) {
  if (!times_parse_point(value, &time->seconds, &time->nanos))
    return cli_refuse(NULL, option, value, "must be " TIME_HELP);
  *member = time;
  return TOOL_OK;
}

static int take_outcome(struct filter *filter, const struct cli_option *option, const char *value) {
  int number = 0;
  if (!json_enum_parse(&auditstore__v1__outcome__descriptor, value, &number))
    return cli_refuse(NULL, option, value, NULL);
  int code = check_room(filter->message.n_outcomes);
  if (code == TOOL_OK)
    filter->outcomes[filter->message.n_outcomes++] = (Auditstore__V1__Outcome)number;
  return code;
}

static int take_severity(struct filter *filter, const struct cli_option *option,
                         const char *value) {
  int number = 0;
  if (!json_enum_parse(&auditstore__v1__severity__descriptor, value, &number))
    return cli_refuse(NULL, option, value, NULL);
  int code = check_room(filter->message.n_severities);
  if (code == TOOL_OK)
    filter->severities[filter->message.n_severities++] = (Auditstore__V1__Severity)number;
  return code;
}

/* TYPE/ID. The id may hold slashes, the type can't. */
static int take_resource(struct filter *filter, char *value) {
  char *slash = strchr(value, '/');
  if (!slash || slash == value || !slash[1])
    return tool_usage("--resource %s: must be TYPE/ID", value);
  Auditstore__V1__EventFilter *message = &filter->message;
  if (message->n_resource_types || message->n_resource_ids)
    return tool_usage("--resource %s: give it once and without --resource-type and --resource-id",
                      value);
  *slash = '\0';
  filter->resource_types[message->n_resource_types++] = value;
  filter->resource_ids[message->n_resource_ids++] = slash + 1;
  return TOOL_OK;
}

int filter_take(struct filter *filter, const struct cli_option *option, char *value) {
  Auditstore__V1__EventFilter *message = &filter->message;
  switch ((enum filter_option)option->id) {
  case FILTER_SINCE:
    return take_time(option, &filter->start, &message->start_time, value);
  case FILTER_UNTIL:
    return take_time(option, &filter->end, &message->end_time, value);
  case FILTER_CORRELATION:
    return take_text(filter->correlation_ids, &message->n_correlation_ids, value);
  case FILTER_ACTOR:
    return take_text(filter->actor_ids, &message->n_actor_ids, value);
  case FILTER_ACTOR_TYPE:
    return take_text(filter->actor_types, &message->n_actor_types, value);
  case FILTER_RESOURCE:
    return take_resource(filter, value);
  case FILTER_RESOURCE_TYPE:
    return take_text(filter->resource_types, &message->n_resource_types, value);
  case FILTER_RESOURCE_ID:
    return take_text(filter->resource_ids, &message->n_resource_ids, value);
  case FILTER_NAMESPACE:
    return take_text(filter->namespaces, &message->n_namespaces, value);
  case FILTER_CLUSTER:
    return take_text(filter->clusters, &message->n_clusters, value);
  case FILTER_TYPE:
    return take_text(filter->event_types, &message->n_event_types, value);
  case FILTER_CATEGORY:
    return take_text(filter->event_categories, &message->n_event_categories, value);
  case FILTER_ACTION:
    return take_text(filter->event_actions, &message->n_event_actions, value);
  case FILTER_OUTCOME:
    return take_outcome(filter, option, value);
  case FILTER_SEVERITY:
    return take_severity(filter, option, value);
  case FILTER_PRINCIPAL:
    return take_text(filter->principals, &message->n_principals, value);
  }
  return TOOL_USAGE;
}
