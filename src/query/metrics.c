#include "query/metrics.h"

enum {
  RUNNING,
  WAITING,
  MAX_RUNNING,
  MAX_RUNNING_PER_PRINCIPAL,
  MAX_UNINDEXED,
  REFUSED,
  ABANDONED
};

static const struct metric_family families[] = {
    [RUNNING] = {"auditstore_queries_running", METRIC_GAUGE, METRIC_NUMBER, "kind",
                 "Queries that have their turn: indexed, an index serves them; unindexed, none "
                 "does. Those whose caller left count until PostgreSQL has let go of them."},
    [WAITING] = {"auditstore_queries_waiting", METRIC_GAUGE, METRIC_NUMBER, "kind",
                 "Queries that wait for their turn."},
    [MAX_RUNNING] = {"auditstore_queries_max_running", METRIC_GAUGE, METRIC_NUMBER, NULL,
                     "query.max_running, as it is in effect."},
    [MAX_RUNNING_PER_PRINCIPAL] = {"auditstore_queries_max_running_per_principal", METRIC_GAUGE,
                                   METRIC_NUMBER, NULL,
                                   "query.max_running_per_principal, as it is in effect."},
    [MAX_UNINDEXED] = {"auditstore_queries_max_unindexed", METRIC_GAUGE, METRIC_NUMBER, NULL,
                       "query.max_unindexed, as it is in effect."},
    [REFUSED] = {"auditstore_queries_refused_total", METRIC_COUNTER, METRIC_NUMBER, "reason",
                 "Queries that never had their turn: waiting, query.max_waiting waited already; "
                 "deadline, theirs passed."},
    [ABANDONED] = {"auditstore_queries_abandoned_total", METRIC_COUNTER, METRIC_NUMBER, NULL,
                   "Queries whose caller left while PostgreSQL was at work on them."},
};

const struct metric_table query_metric_table = {"Queries", families,
                                                sizeof(families) / sizeof(families[0])};

static void add_kinds(struct metrics *metrics, const struct metric_family *family,
                      const int counts[TURN_KINDS]) {
  metrics_add_labelled(metrics, family, "indexed", counts[TURN_INDEXED]);
  metrics_add_labelled(metrics, family, "unindexed", counts[TURN_UNINDEXED]);
}

void query_metrics_write(struct metrics *metrics, const struct query_service *service) {
  struct query_stats stats;
  query_service_stats(service, &stats);
  add_kinds(metrics, &families[RUNNING], stats.turns.running);
  add_kinds(metrics, &families[WAITING], stats.turns.waiting);
  metrics_add(metrics, &families[MAX_RUNNING], stats.limits->max_running);
  metrics_add(metrics, &families[MAX_RUNNING_PER_PRINCIPAL],
              stats.limits->max_running_per_principal);
  metrics_add(metrics, &families[MAX_UNINDEXED], stats.limits->max_unindexed);
  metrics_add_labelled(metrics, &families[REFUSED], "waiting", stats.turns.refused);
  metrics_add_labelled(metrics, &families[REFUSED], "deadline", stats.turns.expired);
  metrics_add(metrics, &families[ABANDONED], stats.abandoned);
}
