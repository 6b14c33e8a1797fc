#include "http/metrics.h"

enum { CONNECTIONS, MAX_CONNECTIONS, EVICTED, EXHAUSTED, ANSWER_BYTES };

static const struct metric_family families[] = {
    [CONNECTIONS] = {"auditstore_http_connections", METRIC_GAUGE, METRIC_NUMBER, NULL,
                     "Connections of the operators' port."},
    [MAX_CONNECTIONS] = {"auditstore_http_max_connections", METRIC_GAUGE, METRIC_NUMBER, NULL,
                         "http.max_connections, as it is in effect."},
    [EVICTED] = {"auditstore_http_connections_evicted_total", METRIC_COUNTER, METRIC_NUMBER, NULL,
                 "Connections closed to make room: for others, or in memory, because they didn't "
                 "take their answers."},
    [EXHAUSTED] = {"auditstore_http_accepts_postponed_total", METRIC_COUNTER, METRIC_NUMBER, NULL,
                   "How often connections had to wait because the system had no descriptor or "
                   "memory for one."},
    [ANSWER_BYTES] = {"auditstore_http_answer_bytes", METRIC_GAUGE, METRIC_NUMBER, NULL,
                      "Answers that aren't taken yet."},
};

const struct metric_table http_metric_table = {"The operators' port", families,
                                               sizeof(families) / sizeof(families[0])};

void http_metrics_write(struct metrics *metrics, const struct http_server *server) {
  struct http_stats stats;
  http_server_stats(server, &stats);
  metrics_add(metrics, &families[CONNECTIONS], stats.connections);
  metrics_add(metrics, &families[MAX_CONNECTIONS], stats.max_connections);
  metrics_add(metrics, &families[EVICTED], stats.evicted);
  metrics_add(metrics, &families[EXHAUSTED], stats.exhausted);
  metrics_add(metrics, &families[ANSWER_BYTES], stats.answer_bytes);
}
