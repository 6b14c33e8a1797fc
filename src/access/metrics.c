#include "access/metrics.h"

enum { DENIED, RECORDS, OVER_QUOTA, PRINCIPALS, TOKENS };

static const struct metric_family families[] = {
    [DENIED] = {"auditstore_access_denied_total", METRIC_COUNTER, METRIC_NUMBER, "reason",
                "Calls turned away: no credentials where some are needed, bad ones, or no role "
                "that admits to the method."},
    [RECORDS] = {"auditstore_access_denial_records_total", METRIC_COUNTER, METRIC_NUMBER, "result",
                 "What became of them in the store: stored, as an event of type "
                 "auditstore.access.denied; left_out, as there were too many; lost, as it couldn't "
                 "be stored."},
    [OVER_QUOTA] = {"auditstore_access_over_quota_total", METRIC_COUNTER, METRIC_NUMBER, "quota",
                    "Calls and batches refused because their principal had used up its quota."},
    [PRINCIPALS] = {"auditstore_access_principals", METRIC_GAUGE, METRIC_NUMBER, NULL,
                    "Principals whose roles and quotas are remembered; at most 4096."},
    [TOKENS] = {"auditstore_access_tokens", METRIC_GAUGE, METRIC_NUMBER, NULL,
                "Bearer tokens that are known, from access.token_file."},
};

const struct metric_table access_metric_table = {"Access", families,
                                                 sizeof(families) / sizeof(families[0])};

void access_metrics_write(struct metrics *metrics, const struct access *access) {
  struct access_stats stats;
  access_stats(access, &stats);
  for (int i = 0; i < DENIAL_REASON_COUNT; i++)
    metrics_add_labelled(metrics, &families[DENIED], denial_reason_label((enum denial_reason)i),
                         stats.denials.denied[i]);
  metrics_add_labelled(metrics, &families[RECORDS], "stored", stats.denials.stored);
  metrics_add_labelled(metrics, &families[RECORDS], "left_out", stats.denials.left_out);
  metrics_add_labelled(metrics, &families[RECORDS], "lost", stats.denials.lost);
  metrics_add_labelled(metrics, &families[OVER_QUOTA], "calls", stats.over_quota[QUOTA_CALLS]);
  metrics_add_labelled(metrics, &families[OVER_QUOTA], "events", stats.over_quota[QUOTA_EVENTS]);
  metrics_add_labelled(metrics, &families[OVER_QUOTA], "bytes", stats.over_quota[QUOTA_BYTES]);
  metrics_add(metrics, &families[PRINCIPALS], (int64_t)stats.principals);
  metrics_add(metrics, &families[TOKENS], stats.tokens);
}
