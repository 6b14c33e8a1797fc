#include "pg/pool_metrics.h"

enum {
  MAX_OPEN,
  EFFECTIVE_MAX_OPEN,
  MAX_IDLE,
  LIFETIME,
  IDLE_TIME,
  ACQUIRE_TIMEOUT,
  MEMORY,
  STATE,
  OPEN,
  IN_USE,
  IDLE,
  CONNECTING,
  CLOSING,
  WAITERS,
  OLDEST_WAIT,
  OLDEST_IN_USE,
  BACKOFF,
  GENERATION,
  SERVER_MAX,
  SERVER_USABLE,
  POOLED,
  ACQUIRES,
  WAITS,
  WAIT_SECONDS,
  OPENED,
  OPEN_FAILURES,
  CLOSED,
  CLOSE_TIMEOUTS,
  PINGS,
  REFUSALS,
  ACQUIRE,
  CONNECT,
  HOLD,
};

static const struct metric_family families[] = {
    [MAX_OPEN] = {"auditstore_pool_max_open", METRIC_GAUGE, METRIC_NUMBER, NULL,
                  "database.max_open_conns: most connections the server ever sees."},
    [EFFECTIVE_MAX_OPEN] = {"auditstore_pool_effective_max_open", METRIC_GAUGE, METRIC_NUMBER, NULL,
                            "The same, less while the server has no more connections to give."},
    [MAX_IDLE] = {"auditstore_pool_max_idle", METRIC_GAUGE, METRIC_NUMBER, NULL,
                  "database.max_idle_conns; 0: off."},
    [LIFETIME] = {"auditstore_pool_conn_max_lifetime_seconds", METRIC_GAUGE, METRIC_TIME, NULL,
                  "database.conn_max_lifetime; +Inf: off."},
    [IDLE_TIME] = {"auditstore_pool_conn_max_idle_time_seconds", METRIC_GAUGE, METRIC_TIME, NULL,
                   "database.conn_max_idle_time; +Inf: off."},
    [ACQUIRE_TIMEOUT] = {"auditstore_pool_acquire_timeout_seconds", METRIC_GAUGE, METRIC_TIME, NULL,
                         "database.acquire_timeout."},
    [MEMORY] = {"auditstore_pool_memory_bytes", METRIC_GAUGE, METRIC_NUMBER, NULL,
                "Most memory that the pool takes by its settings."},
    [STATE] = {"auditstore_pool_state", METRIC_GAUGE, METRIC_NUMBER, "state",
               "1 for the state that holds, 0 for the others. degraded: connecting fails, "
               "connections are left; down: none is left; frozen: connected, and nothing answers."},
    [OPEN] = {"auditstore_pool_open", METRIC_GAUGE, METRIC_NUMBER, NULL,
              "Open connections: in_use and idle."},
    [IN_USE] = {"auditstore_pool_in_use", METRIC_GAUGE, METRIC_NUMBER, NULL, "Connections in use."},
    [IDLE] = {"auditstore_pool_idle", METRIC_GAUGE, METRIC_NUMBER, NULL, "Connections not in use."},
    [CONNECTING] = {"auditstore_pool_connecting", METRIC_GAUGE, METRIC_NUMBER, NULL,
                    "Connections being opened."},
    [CLOSING] = {"auditstore_pool_closing", METRIC_GAUGE, METRIC_NUMBER, NULL,
                 "Connections closed here and not yet by the server; they count against max_open."},
    [WAITERS] = {"auditstore_pool_waiters", METRIC_GAUGE, METRIC_NUMBER, NULL,
                 "Requests that wait for a connection."},
    [OLDEST_WAIT] = {"auditstore_pool_oldest_wait_seconds", METRIC_GAUGE, METRIC_TIME, NULL,
                     "How long the first of them has waited."},
    [OLDEST_IN_USE] = {"auditstore_pool_oldest_in_use_seconds", METRIC_GAUGE, METRIC_TIME, NULL,
                       "How long the connection longest in use has been."},
    [BACKOFF] = {"auditstore_pool_backoff_seconds", METRIC_GAUGE, METRIC_TIME, NULL,
                 "Time until the next attempt to connect may start."},
    [GENERATION] = {"auditstore_pool_generation", METRIC_GAUGE, METRIC_NUMBER, NULL,
                    "Grows when all connections are given up: the server shut down, was demoted, "
                    "or settings changed."},
    [SERVER_MAX] = {"auditstore_pool_server_max_connections", METRIC_GAUGE, METRIC_NUMBER, NULL,
                    "The server's max_connections; 0 until it was asked."},
    [SERVER_USABLE] = {"auditstore_pool_server_usable_connections", METRIC_GAUGE, METRIC_NUMBER,
                       NULL,
                       "Those of them that this daemon's role may have, all its daemons together."},
    [POOLED] = {"auditstore_pool_behind_pooler", METRIC_GAUGE, METRIC_NUMBER, NULL,
                "1 when the connection made last goes through a pooler such as PgBouncer."},
    [ACQUIRES] = {"auditstore_pool_acquires_total", METRIC_COUNTER, METRIC_NUMBER, "result",
                  "Requests for a connection, by how they ended."},
    [WAITS] = {"auditstore_pool_waits_total", METRIC_COUNTER, METRIC_NUMBER, NULL,
               "Requests that had to wait."},
    [WAIT_SECONDS] = {"auditstore_pool_wait_seconds_total", METRIC_COUNTER, METRIC_TIME, NULL,
                      "Time spent waiting, by the served and the failed alike."},
    [OPENED] = {"auditstore_pool_opened_total", METRIC_COUNTER, METRIC_NUMBER, NULL,
                "Connections opened."},
    [OPEN_FAILURES] = {"auditstore_pool_open_failures_total", METRIC_COUNTER, METRIC_NUMBER,
                       "class", "Attempts to connect that failed."},
    [CLOSED] = {"auditstore_pool_closed_total", METRIC_COUNTER, METRIC_NUMBER, "reason",
                "Connections closed, of the opened."},
    [CLOSE_TIMEOUTS] =
        {"auditstore_pool_close_timeouts_total", METRIC_COUNTER, METRIC_NUMBER, NULL,
         "Closed connections whose end the server hadn't confirmed within database.close_timeout."},
    [PINGS] = {"auditstore_pool_pings_total", METRIC_COUNTER, METRIC_NUMBER, "result",
               "Connections asked for a sign of life before use."},
    [REFUSALS] = {"auditstore_pool_refusals_total", METRIC_COUNTER, METRIC_NUMBER, "sqlstate",
                  "Statements that PostgreSQL refused, by SQLSTATE or class of them; lost: the "
                  "connection ended first; timeout: no answer came by the deadline."},
    [ACQUIRE] = {"auditstore_pool_acquire_seconds", METRIC_HISTOGRAM, METRIC_TIME, NULL,
                 "From asking for a connection to having it."},
    [CONNECT] = {"auditstore_pool_connect_seconds", METRIC_HISTOGRAM, METRIC_TIME, NULL,
                 "Time taken to open a connection."},
    [HOLD] = {"auditstore_pool_hold_seconds", METRIC_HISTOGRAM, METRIC_TIME, NULL,
              "From having a connection to giving it back."},
};

const struct metric_table pg_pool_metric_table = {"The pool of database connections", families,
                                                  sizeof(families) / sizeof(families[0])};

enum {
  GO_MAX_OPEN,
  GO_OPEN,
  GO_IN_USE,
  GO_IDLE,
  GO_WAIT_COUNT,
  GO_WAIT_DURATION,
  GO_MAX_IDLE_CLOSED,
  GO_MAX_IDLE_TIME_CLOSED,
  GO_MAX_LIFETIME_CLOSED,
};

static const struct metric_family go_families[] = {
    [GO_MAX_OPEN] = {"go_sql_max_open_connections", METRIC_GAUGE, METRIC_NUMBER, "db_name",
                     "Most open connections to the database."},
    [GO_OPEN] = {"go_sql_open_connections", METRIC_GAUGE, METRIC_NUMBER, "db_name",
                 "Connections opened, being opened or being closed."},
    [GO_IN_USE] = {"go_sql_in_use_connections", METRIC_GAUGE, METRIC_NUMBER, "db_name",
                   "Those of them that aren't idle."},
    [GO_IDLE] = {"go_sql_idle_connections", METRIC_GAUGE, METRIC_NUMBER, "db_name",
                 "Idle connections."},
    [GO_WAIT_COUNT] = {"go_sql_wait_count_total", METRIC_COUNTER, METRIC_NUMBER, "db_name",
                       "Requests that had to wait for a connection."},
    [GO_WAIT_DURATION] = {"go_sql_wait_duration_seconds_total", METRIC_COUNTER, METRIC_TIME,
                          "db_name", "Time spent waiting for a connection."},
    [GO_MAX_IDLE_CLOSED] = {"go_sql_max_idle_closed_total", METRIC_COUNTER, METRIC_NUMBER,
                            "db_name", "Connections closed by database.max_idle_conns."},
    [GO_MAX_IDLE_TIME_CLOSED] = {"go_sql_max_idle_time_closed_total", METRIC_COUNTER, METRIC_NUMBER,
                                 "db_name", "Connections closed by database.conn_max_idle_time."},
    [GO_MAX_LIFETIME_CLOSED] = {"go_sql_max_lifetime_closed_total", METRIC_COUNTER, METRIC_NUMBER,
                                "db_name", "Connections closed by database.conn_max_lifetime."},
};

const struct metric_table pg_go_sql_metric_table = {"The pool, by the names of Go services",
                                                    go_families,
                                                    sizeof(go_families) / sizeof(go_families[0])};

static void write_settings(struct metrics *m, const struct pg_pool_stats *stats,
                           const struct config_database *config) {
  metrics_add(m, &families[MAX_OPEN], stats->max_open);
  metrics_add(m, &families[EFFECTIVE_MAX_OPEN], stats->effective_max_open);
  metrics_add(m, &families[MAX_IDLE], stats->max_idle);
  metrics_add(m, &families[LIFETIME], stats->conn_max_lifetime_us);
  metrics_add(m, &families[IDLE_TIME], stats->conn_max_idle_time_us);
  metrics_add(m, &families[ACQUIRE_TIMEOUT], config->acquire_timeout_us);
  metrics_add(m, &families[MEMORY], stats->memory_bytes);
}

static void write_gauges(struct metrics *m, const struct pg_pool_stats *stats) {
  for (int i = 0; i < PG_POOL_STATE_COUNT; i++)
    metrics_add_labelled(m, &families[STATE], pg_pool_state_name((enum pg_pool_state)i),
                         (int)stats->state == i);
  metrics_add(m, &families[OPEN], stats->open);
  metrics_add(m, &families[IN_USE], stats->in_use);
  metrics_add(m, &families[IDLE], stats->idle);
  metrics_add(m, &families[CONNECTING], stats->connecting);
  metrics_add(m, &families[CLOSING], stats->closing);
  metrics_add(m, &families[WAITERS], stats->waiting);
  metrics_add(m, &families[OLDEST_WAIT], stats->oldest_wait_us);
  metrics_add(m, &families[OLDEST_IN_USE], stats->oldest_in_use_us);
  metrics_add(m, &families[BACKOFF], stats->backoff_us);
  metrics_add(m, &families[GENERATION], stats->generation);
  metrics_add(m, &families[SERVER_MAX], stats->server.max_connections);
  metrics_add(m, &families[SERVER_USABLE], stats->server.usable);
  metrics_add(m, &families[POOLED], stats->session.is_pooled);
}

static void write_counters(struct metrics *m, const struct pg_pool_stats *stats) {
  for (int i = 0; i < PG_ACQUIRE_RESULT_COUNT; i++)
    metrics_add_labelled(m, &families[ACQUIRES], pg_acquire_result_name((enum pg_acquire_result)i),
                         stats->acquires[i]);
  metrics_add(m, &families[WAITS], stats->waits);
  metrics_add(m, &families[WAIT_SECONDS], stats->wait_us);
  metrics_add(m, &families[OPENED], stats->opened);
  for (int i = 0; i < PG_DIAL_FAILURE_COUNT; i++)
    metrics_add_labelled(m, &families[OPEN_FAILURES], pg_dial_failure_name((enum pg_dial_failure)i),
                         stats->open_failures[i]);
  for (int i = 0; i < PG_CLOSE_REASON_COUNT; i++)
    metrics_add_labelled(m, &families[CLOSED], pg_close_reason_name((enum pg_close_reason)i),
                         stats->closed[i]);
  metrics_add(m, &families[CLOSE_TIMEOUTS], stats->close_timeouts);
  metrics_add_labelled(m, &families[PINGS], "ok", stats->pings_ok);
  metrics_add_labelled(m, &families[PINGS], "failed", stats->pings_failed);
  for (int i = 0; i < pg_refusal_label_count(); i++)
    metrics_add_labelled(m, &families[REFUSALS], pg_refusal_label(i), stats->refusals[i]);
}

/* A connection that is being opened or closed takes a place: Go counts it as open and in use. */
static void write_go_sql(struct metrics *m, const struct pg_pool_stats *stats, const char *name) {
  int open = stats->open + stats->connecting + stats->closing;
  metrics_add_labelled(m, &go_families[GO_MAX_OPEN], name, stats->max_open);
  metrics_add_labelled(m, &go_families[GO_OPEN], name, open);
  metrics_add_labelled(m, &go_families[GO_IN_USE], name, open - stats->idle);
  metrics_add_labelled(m, &go_families[GO_IDLE], name, stats->idle);
  metrics_add_labelled(m, &go_families[GO_WAIT_COUNT], name, stats->waits);
  metrics_add_labelled(m, &go_families[GO_WAIT_DURATION], name, stats->wait_us);
  metrics_add_labelled(m, &go_families[GO_MAX_IDLE_CLOSED], name, stats->closed[PG_CLOSE_MAX_IDLE]);
  metrics_add_labelled(m, &go_families[GO_MAX_IDLE_TIME_CLOSED], name,
                       stats->closed[PG_CLOSE_IDLE_TIME]);
  metrics_add_labelled(m, &go_families[GO_MAX_LIFETIME_CLOSED], name,
                       stats->closed[PG_CLOSE_LIFETIME]);
}

void pg_pool_metrics_write(struct metrics *metrics, const struct pg_pool *pool,
                           const struct config_database *config) {
  struct pg_pool_stats stats;
  pg_pool_stats(pool, &stats);
  write_settings(metrics, &stats, config);
  write_gauges(metrics, &stats);
  write_counters(metrics, &stats);
  metrics_add_histogram(metrics, &families[ACQUIRE], &stats.acquire_us);
  metrics_add_histogram(metrics, &families[CONNECT], &stats.connect_us);
  metrics_add_histogram(metrics, &families[HOLD], &stats.hold_us);
  write_go_sql(metrics, &stats, config->name);
}
