/*
 * auditstore health: grpc.health.v1, for people, scripts and container probes.
 */
#include "grpc/health/v1/health.stub.h"
#include "tool.h"

#include <stdio.h>

static int run_health(struct tool *tool, int argc, char **argv) {
  struct tool_line line = {.take = NULL};
  int code = tool_parse(tool, argc, argv, &line);
  if (code == TOOL_OK)
    code = tool_connect(tool);
  if (code != TOOL_OK)
    return code;
  Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
  const struct auditstore_call_options options = {.timeout_ms = tool->timeout_ms};
  Grpc__Health__V1__HealthCheckResponse *response = NULL;
  struct auditstore_status status = {0};
  if (grpc_health_v1_health_check(tool->channel, &request, &response, &options, &status) !=
      AUDITSTORE_OK) {
    code = tool_fail(tool, "ask for health", &status);
  } else {
    bool is_serving =
        response->status == GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
    puts(is_serving ? "SERVING" : "NOT_SERVING");
    code = is_serving ? TOOL_OK : TOOL_REFUSED;
    grpc__health__v1__health_check_response__free_unpacked(response, NULL);
  }
  auditstore_status_deinit(&status);
  return code;
}

const struct cli_command health_command = {
    .name = "health",
    .summary = "asks whether the daemon takes calls",
    .details = "Says SERVING, with exit code 0, or NOT_SERVING, with exit code 1.",
    .run = run_health,
};
