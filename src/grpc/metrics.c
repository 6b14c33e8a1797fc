#include "grpc/metrics.h"

enum {
  CONNECTIONS,
  MAX_CONNECTIONS,
  ACCEPTED,
  REFUSED,
  EXHAUSTED,
  FAILED,
  MALFORMED,
  CALLS,
  ENDED,
  INBOUND,
  SHED,
  RESTS,
};

static const struct metric_family families[] = {
    [CONNECTIONS] = {"auditstore_grpc_connections", METRIC_GAUGE, METRIC_NUMBER, NULL,
                     "Open connections of clients."},
    [MAX_CONNECTIONS] = {"auditstore_grpc_max_connections", METRIC_GAUGE, METRIC_NUMBER, NULL,
                         "server.max_connections, as it is in effect."},
    [ACCEPTED] = {"auditstore_grpc_connections_total", METRIC_COUNTER, METRIC_NUMBER, NULL,
                  "Connections accepted."},
    [REFUSED] = {"auditstore_grpc_connections_refused_total", METRIC_COUNTER, METRIC_NUMBER,
                 "setting",
                 "Connections closed at once because there were as many as the setting allows."},
    [EXHAUSTED] = {"auditstore_grpc_accepts_postponed_total", METRIC_COUNTER, METRIC_NUMBER, NULL,
                   "How often connections had to wait because the system had no descriptor or "
                   "memory for one."},
    [FAILED] =
        {"auditstore_grpc_connections_failed_total", METRIC_COUNTER, METRIC_NUMBER, NULL,
         "Connections ended with an error, as the peer broke HTTP/2's rules or a limit against "
         "abuse; the log says which."},
    [MALFORMED] = {"auditstore_grpc_streams_malformed_total", METRIC_COUNTER, METRIC_NUMBER, NULL,
                   "Streams reset because the request broke HTTP/2's rules; the log says how at "
                   "level debug."},
    [CALLS] = {"auditstore_grpc_calls", METRIC_GAUGE, METRIC_NUMBER, NULL, "Calls under way."},
    [ENDED] = {"auditstore_grpc_calls_total", METRIC_COUNTER, METRIC_NUMBER, "code",
               "Calls ended, by gRPC's status; those that the client gave up count as CANCELLED."},
    [INBOUND] = {"auditstore_grpc_inbound_bytes", METRIC_GAUGE, METRIC_NUMBER, "state",
                 "Memory that clients cause: unfinished, of messages whose rest has yet to come; "
                 "held, of messages that are worked on; answers, that they have to take; "
                 "connections, with their calls and headers. The maximum of all is "
                 "server.max_inbound_bytes."},
    [SHED] = {"auditstore_grpc_calls_shed_total", METRIC_COUNTER, METRIC_NUMBER, NULL,
              "Calls ended because memory that waits for clients took half of "
              "server.max_inbound_bytes."},
    [RESTS] = {"auditstore_grpc_rests_total", METRIC_COUNTER, METRIC_NUMBER, NULL,
               "Times that a connection wasn't read for a moment, because it had taken more than "
               "its share of the processor while others were there."},
};

const struct metric_table grpc_metric_table = {"Calls and connections", families,
                                               sizeof(families) / sizeof(families[0])};

void grpc_metrics_write(struct metrics *metrics, const struct grpc_server *server) {
  struct grpc_server_stats stats;
  grpc_server_stats(server, &stats);
  metrics_add(metrics, &families[CONNECTIONS], (int64_t)stats.connections);
  metrics_add(metrics, &families[MAX_CONNECTIONS], stats.max_connections);
  metrics_add(metrics, &families[ACCEPTED], stats.accepted);
  metrics_add_labelled(metrics, &families[REFUSED], "max_connections", stats.refused);
  metrics_add_labelled(metrics, &families[REFUSED], "max_connections_per_address",
                       stats.refused_address);
  metrics_add_labelled(metrics, &families[REFUSED], "max_inbound_bytes", stats.refused_memory);
  metrics_add(metrics, &families[EXHAUSTED], stats.exhausted);
  metrics_add(metrics, &families[FAILED], stats.failed);
  metrics_add(metrics, &families[MALFORMED], stats.malformed);
  metrics_add(metrics, &families[CALLS], (int64_t)stats.calls);
  for (int i = 0; i < GRPC_CODE_COUNT; i++)
    metrics_add_labelled(metrics, &families[ENDED], grpc_code_name(i), stats.ended[i]);
  for (int i = 0; i < GRPC_MEMORY_KINDS; i++)
    metrics_add_labelled(metrics, &families[INBOUND],
                         grpc_memory_kind_name((enum grpc_memory_kind)i), stats.memory[i]);
  metrics_add(metrics, &families[SHED], stats.shed);
  metrics_add(metrics, &families[RESTS], stats.rests);
}
