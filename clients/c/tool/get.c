/*
 * auditstore get: one event in full.
 */
#include "fields.h"
#include "json_message.h"
#include "tool.h"

#include <stdlib.h>
#include <unistd.h>

static void print_actor_and_resource(const Auditstore__V1__AuditEvent *event) {
  if (event->actor) {
    fields_print_text("actor type", event->actor->type);
    fields_print_text("actor id", event->actor->id);
    fields_print_text("actor ip", event->actor->ip);
  }
  if (event->resource) {
    fields_print_text("resource type", event->resource->type);
    fields_print_text("resource id", event->resource->id);
    fields_print_text("resource name", event->resource->name);
    fields_print_text("namespace", event->resource->namespace_);
    fields_print_text("cluster", event->resource->cluster);
  }
}

static void print_relations(const Auditstore__V1__AuditEvent *event) {
  fields_print_text("correlation id", event->correlation_id);
  fields_print_text("parent event id", event->parent_event_id);
  fields_print_text("trace id", event->trace_id);
  fields_print_text("span id", event->span_id);
}

static void print_event(const Auditstore__V1__AuditEvent *event) {
  fields_print_text("event id", event->event_id);
  fields_print_time("event time", event->event_time);
  fields_print_text("type", event->event_type);
  fields_print_text("category", event->event_category);
  fields_print_text("action", event->event_action);
  fields_print_text("version", event->event_version);
  fields_print_text(
      "outcome", json_enum_short_name(&auditstore__v1__outcome__descriptor, (int)event->outcome));
  if (event->severity)
    fields_print_text("severity", json_enum_short_name(&auditstore__v1__severity__descriptor,
                                                       (int)event->severity));
  print_actor_and_resource(event);
  print_relations(event);
  fields_print_duration("duration", event->duration);
  if (event->error) {
    fields_print_text("error code", event->error->code);
    fields_print_text("error message", event->error->message);
  }
  if (event->retention_days)
    fields_print_number("retention days", event->retention_days);
  if (event->sensitive)
    fields_print_text("sensitive", "yes");
  fields_print_text("event data", event->event_data);
}

static void print_stored(const Auditstore__V1__StoredEvent *stored) {
  if (stored->event)
    print_event(stored->event);
  fields_print_text("principal", stored->principal);
  fields_print_time("received at", stored->received_at);
  fields_print_number("ledger", stored->ledger_id);
  fields_print_number("sequence", stored->sequence);
}

static int run_get(struct tool *tool, int argc, char **argv) {
  bool is_json = false;
  struct tool_line line = {.take = tool_take_json, .arg = &is_json};
  int code = tool_parse(tool, argc, argv, &line);
  if (code == TOOL_OK)
    code = tool_connect(tool);
  if (code != TOOL_OK)
    return code;
  Auditstore__V1__GetEventRequest request = AUDITSTORE__V1__GET_EVENT_REQUEST__INIT;
  request.event_id = line.arguments[0];
  const struct auditstore_call_options options = {.timeout_ms = tool->timeout_ms};
  Auditstore__V1__GetEventResponse *response = NULL;
  struct auditstore_status status = {0};
  if (auditstore_v1_audit_store_get_event(tool->channel, &request, &response, &options, &status) !=
      AUDITSTORE_OK) {
    code = tool_fail(tool, "get the event", &status);
  } else if (!response->event) {
    code = TOOL_REFUSED;
    fputs("auditstore: the server's answer holds no event\n", stderr);
  } else if (is_json) {
    json_message_write(stdout, &response->event->base, json_reader_of(STDOUT_FILENO));
    putchar('\n');
  } else {
    print_stored(response->event);
  }
  if (response)
    auditstore__v1__get_event_response__free_unpacked(response, NULL);
  auditstore_status_deinit(&status);
  return code;
}

static const struct cli_option get_options[] = {
    {.name = "json", .help = "as one JSON object on one line", .id = TOOL_OPTION_JSON},
    {0},
};

const struct cli_command get_command = {
    .name = "get",
    .arguments = "EVENT_ID",
    .min_arguments = 1,
    .max_arguments = 1,
    .summary = "shows one event in full",
    .details = "Shows all fields of the event with this id, and where and when it was stored.",
    .options = {get_options},
    .run = run_get,
};
