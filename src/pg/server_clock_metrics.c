#include "pg/server_clock_metrics.h"

enum { DIFFERENCE, REFUSALS };

static const struct metric_family families[] = {
    [DIFFERENCE] = {"auditstore_clock_difference_seconds", METRIC_GAUGE, METRIC_TIME, NULL,
                    "How far this machine's clock is ahead of PostgreSQL's; negative: behind. 0 "
                    "until it was asked."},
    [REFUSALS] =
        {"auditstore_clock_refusals_total", METRIC_COUNTER, METRIC_NUMBER, NULL,
         "Requests put off because an event's time is acceptable by PostgreSQL's clock and "
         "not by this machine's."},
};

const struct metric_table server_clock_metric_table = {"Clocks", families,
                                                       sizeof(families) / sizeof(families[0])};

void server_clock_metrics_write(struct metrics *metrics, const struct server_clock *clock) {
  metrics_add(metrics, &families[DIFFERENCE], server_clock_difference(clock).us);
  metrics_add(metrics, &families[REFUSALS], server_clock_refusals(clock));
}
