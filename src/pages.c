#include "pages.h"

#include <stdlib.h>

#include "access/metrics.h"
#include "base/alloc.h"
#include "base/log.h"
#include "base/log_metrics.h"
#include "base/port_file.h"
#include "base/process_metrics.h"
#include "grpc/metrics.h"
#include "http/metrics.h"
#include "http/server.h"
#include "ingest/metrics.h"
#include "ledger/memory_metrics.h"
#include "pg/pool_metrics.h"
#include "pg/server_clock_metrics.h"
#include "query/metrics.h"

#define ARRAY_LENGTH(array) ((int)(sizeof(array) / sizeof((array)[0])))

enum { BUILD_INFO, READY };

static const struct metric_family families[] = {
    [BUILD_INFO] = {"auditstore_build_info", METRIC_GAUGE, METRIC_NUMBER, "version",
                    "Always 1; the label says which version runs."},
    [READY] = {"auditstore_ready", METRIC_GAUGE, METRIC_NUMBER, NULL,
               "1 while /readyz answers 200, else 0."},
};

static const struct metric_table daemon_metric_table = {"The daemon", families,
                                                        ARRAY_LENGTH(families)};

enum { HTTP_OK = 200, HTTP_SERVICE_UNAVAILABLE = 503 };

struct pages {
  struct loop *loop; /* borrowed */
  struct pages_parts parts;
  int64_t started_us;         /* wall clock */
  struct http_server *server; /* owned; NULL: http.listen is off */
  bool is_ready;
  const char *why; /* of not being ready */
  struct loop_task close;
  loop_task_cb *closed;
  void *closed_arg;
};

/* ---- the pages ---- */

static int write_metrics(void *arg, struct buf *out) {
  const struct pages *pages = arg;
  struct metrics metrics;
  metrics_begin(&metrics, out);
  metrics_add_labelled(&metrics, &families[BUILD_INFO], AUDITSTORE_VERSION, 1);
  metrics_add(&metrics, &families[READY], pages->is_ready);
  pg_pool_metrics_write(&metrics, pages->parts.pool, &pages->parts.config->database);
  grpc_metrics_write(&metrics, pages->parts.server);
  access_metrics_write(&metrics, pages->parts.access);
  server_clock_metrics_write(&metrics, pages->parts.server_clock);
  ingest_metrics_write(&metrics, pages->parts.ingest);
  query_metrics_write(&metrics, pages->parts.queries);
  ledger_memory_metrics_write(&metrics, pages->parts.memory);
  log_metrics_write(&metrics, pages->loop->sampler);
  http_metrics_write(&metrics, pages->server);
  process_metrics_write(&metrics, pages->started_us);
  return HTTP_OK;
}

/* Whoever reads this has been served by the loop. */
static int write_livez(void *arg, struct buf *out) {
  (void)arg;
  buf_append_str(out, "ok\n");
  return HTTP_OK;
}

static void write_why(const struct pages *pages, struct buf *out) {
  char reason[PG_REASON_SIZE] = "PostgreSQL can't be used as it is; the log says why";
  if (!pages->why)
    (void)pg_pool_reason(pages->parts.pool, reason);
  buf_append_format(out, "not ready: %s\n", pages->why ? pages->why : reason);
}

static int write_readyz(void *arg, struct buf *out) {
  const struct pages *pages = arg;
  char trouble[PG_REASON_SIZE];
  if (pages->is_ready)
    buf_append_str(out, "ok\n");
  else
    write_why(pages, out);
  /* No reason not to be ready: what is stored can still be read, and other daemons couldn't write
   * either. */
  if (pg_pool_server_trouble(pages->parts.pool, trouble))
    buf_append_format(out, "%s\n", trouble);
  return pages->is_ready ? HTTP_OK : HTTP_SERVICE_UNAVAILABLE;
}

static const struct http_page page_list[] = {
    {"/metrics", METRICS_CONTENT_TYPE, write_metrics},
    {"/livez", "text/plain; charset=utf-8", write_livez},
    {"/readyz", "text/plain; charset=utf-8", write_readyz},
};

void pages_set_ready(struct pages *pages, bool is_ready, const char *why) {
  pages->is_ready = is_ready;
  pages->why = why;
}

/* ---- the reference ---- */

void pages_print_metrics_reference(FILE *out) {
  static const struct metric_table *const tables[] = {
      &daemon_metric_table,  &grpc_metric_table,      &access_metric_table,
      &pg_pool_metric_table, &pg_go_sql_metric_table, &server_clock_metric_table,
      &ingest_metric_table,  &query_metric_table,     &ledger_memory_metric_table,
      &log_metric_table,     &http_metric_table,      &process_metric_table,
  };
  fputs(
      "# Metrics\n"
      "\n"
      "<!-- Written by auditstored --print-metrics-reference; a test compares. -->\n"
      "\n"
      "What `/metrics` on `http.listen` shows, in Prometheus's text format. Times are in seconds,\n"
      "sizes in bytes. Histograms have buckets whose bounds double from one to the next. Alert\n"
      "rules for them are in `packaging/prometheus/auditstore.rules.yml`.\n",
      out);
  metrics_print_reference(out, tables, ARRAY_LENGTH(tables));
}

/* ---- life cycle ---- */

static int pages_listen(struct pages *pages, struct error *err) {
  const struct config_http *config = &pages->parts.config->http;
  const struct http_options options = {
      .config = config, .pages = page_list, .page_count = ARRAY_LENGTH(page_list), .arg = pages};
  int rc = http_server_new(&pages->server, pages->loop, &options, err);
  if (rc < 0)
    return rc;
  int port = http_server_port(pages->server);
  if ((rc = port_file_write(config->port_file, port, err)) < 0) {
    error_prefix(err, "http.port_file");
    http_server_close(pages->server, NULL, NULL);
    return rc;
  }
  log_info("listening for HTTP", KV("address", config->listen), KV("port", port));
  return 0;
}

static void on_close(void *arg) {
  struct pages *pages = arg;
  loop_task_cb *closed = pages->closed;
  void *closed_arg = pages->closed_arg;
  free(pages);
  closed(closed_arg);
}

int pages_new(struct pages **ret_pages, struct loop *loop, const struct pages_parts *parts,
              struct error *err) {
  struct pages *pages = xcalloc(1, sizeof(*pages));
  pages->loop = loop;
  pages->parts = *parts;
  pages->started_us = clock_wall_us(loop->clock);
  pages->close = (struct loop_task){.cb = on_close, .arg = pages};
  pages_set_ready(pages, false, "starting");
  int rc = parts->config->http.listen[0] ? pages_listen(pages, err) : 0;
  if (rc < 0) {
    free(pages);
    return rc;
  }
  *ret_pages = pages;
  return 0;
}

void pages_close(struct pages *pages, loop_task_cb *closed, void *arg) {
  pages->closed = closed;
  pages->closed_arg = arg;
  if (pages->server)
    http_server_close(pages->server, on_close, pages);
  else
    loop_defer(pages->loop, &pages->close);
}
