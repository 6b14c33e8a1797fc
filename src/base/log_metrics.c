#include "base/log_metrics.h"

#include "base/log_sample.h"
#include "base/log_writer.h"

enum { WAITING, FAILING, DROPPED, LEFT_OUT };

static const struct metric_family families[] = {
    [WAITING] = {"auditstore_log_waiting_bytes", METRIC_GAUGE, METRIC_NUMBER, NULL,
                 "Lines not yet written to standard error."},
    [FAILING] = {"auditstore_log_failing", METRIC_GAUGE, METRIC_NUMBER, NULL,
                 "1 while standard error answers with an error; lines wait then."},
    [DROPPED] = {"auditstore_log_dropped_total", METRIC_COUNTER, METRIC_NUMBER, NULL,
                 "Lines dropped because too many waited to be written."},
    [LEFT_OUT] = {"auditstore_log_left_out_total", METRIC_COUNTER, METRIC_NUMBER, NULL,
                  "Lines that peers caused again and again, and that the log tells as a number."},
};

const struct metric_table log_metric_table = {"The log", families,
                                              sizeof(families) / sizeof(families[0])};

void log_metrics_write(struct metrics *metrics, const struct log_sampler *sampler) {
  struct log_writer_stats stats = log_writer_stats();
  metrics_add(metrics, &families[WAITING], stats.waiting_bytes);
  metrics_add(metrics, &families[FAILING], stats.is_failing);
  metrics_add(metrics, &families[DROPPED], stats.dropped);
  metrics_add(metrics, &families[LEFT_OUT], log_sampler_left_out(sampler));
}
