#include "app.h"

#include "access/access.h"
#include "admin/service.h"
#include "announce.h"
#include "app_loop.h"
#include "base/alloc.h"
#include "base/log_writer.h"
#include "base/loop.h"
#include "base/port_file.h"
#include "base/reminder.h"
#include "certs.h"
#include "describe.h"
#include "descriptors.h"
#include "files.h"
#include "grpc/server.h"
#include "ingest/ingest.h"
#include "ingest/service.h"
#include "keys.h"
#include "ledger/partitions.h"
#include "ledger/schema.h"
#include "pages.h"
#include "pg/pool.h"
#include "pg/server_clock.h"
#include "query/service.h"
#include "self_events.h"
#include "signals.h"
#include "store_open.h"
#include "usage.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* How often the start is tried again while PostgreSQL is away, and readiness is looked after. */
#define PROBE_EVERY_US (500 * 1000)
/* How long one attempt to check the schema may take. */
#define CHECK_TIMEOUT_US   (10LL * 1000 * 1000)
#define MIGRATE_TIMEOUT_US (600LL * 1000 * 1000)

/* How often a token file that is being written is tried again at a reload, and for how long. */
#define TOKENS_EVERY_US    (500 * 1000)
#define TOKENS_PATIENCE_US (10LL * 1000 * 1000)

enum app_phase { APP_STARTING, APP_SERVING, APP_DRAINING };

struct app {
  struct config *config;            /* borrowed; a reload changes it */
  const struct config_input *input; /* borrowed */
  uv_loop_t uv;
  struct loop loop;
  uv_signal_t sigterm, sigint, sighup;
  struct loop_timer probe_timer; /* start attempts, then readiness */
  struct loop_timer stop_timer;  /* the shutdown deadline */
  struct loop_timer token_timer; /* a token file that is being written is read again */
  int64_t token_until_us;
  struct pg_pool *pool; /* owned, as all below */
  struct server_clock *server_clock;
  struct partitions *partitions;
  struct ledger_memory *memory;
  struct store_row row;
  struct store_open opening;
  struct checkpoint_signer signer;
  struct tls_context *tls; /* owned; NULL: plain */
  struct access *access;
  struct self_events *self_events;
  struct ingest *ingest;
  struct ingest_service *ingest_service;
  struct query_service *query_service;
  struct admin_service *admin_service;
  struct auditstore_v1_audit_store_handlers handlers;
  struct grpc_server *server;
  struct pages *pages;
  enum app_phase phase;
  bool is_serving;
  bool is_probing;
  struct reminder outage; /* why it isn't serving */
  int64_t lost_seen;      /* connections lost up to the last probe */
  int schema_version;
  int64_t stop_at_us;
  int exit_code;
};

static int64_t app_now_us(const struct app *app) {
  return clock_monotonic_us(app->loop.clock);
}

/* ---- readiness ---- */

static void app_set_serving(struct app *app, bool is_serving, const char *why) {
  bool is_news = app->is_serving != is_serving;
  app->is_serving = is_serving;
  pages_set_ready(app->pages, is_serving, NULL);
  if (is_news)
    grpc_server_set_serving(app->server, is_serving);
  if (!is_serving) {
    if (reminder_is_due(&app->outage, why, app_now_us(app)))
      log_warn("not serving", KV("reason", why));
  } else if (is_news) {
    reminder_end(&app->outage);
    log_info("serving");
  }
}

static bool app_update_readiness(struct app *app) {
  struct error err = {0};
  bool is_down = pg_pool_is_down(app->pool, &err);
  app_set_serving(app, !is_down, err.text);
  return !is_down;
}

static void on_pool_state(void *arg, enum pg_pool_state state) {
  struct app *app = arg;
  (void)state;
  if (app->phase == APP_SERVING)
    app_update_readiness(app);
}

/* That no connection was free says nothing about the server: the pool knows. */
static void on_probe_acquired(void *arg, struct pg_lease *conn, const struct error *err) {
  struct app *app = arg;
  (void)err;
  app->is_probing = false;
  if (conn)
    pg_release(conn);
  if (app->phase == APP_SERVING)
    app_update_readiness(app);
}

/* Connections that ended unasked: the server may be gone, and without calls nobody would notice. */
static int64_t app_lost_connections(const struct app *app) {
  struct pg_pool_stats stats;
  pg_pool_stats(app->pool, &stats);
  return stats.closed[PG_CLOSE_BROKEN] + stats.closed[PG_CLOSE_SERVER_SHUTDOWN] +
         stats.closed[PG_CLOSE_READ_ONLY];
}

/* A pool that is down learns of the server's return only by trying: nobody else tries while health
 * keeps callers away. */
static void app_look_after_readiness(struct app *app) {
  int64_t lost = app_lost_connections(app);
  bool is_up = app_update_readiness(app);
  if (app->is_probing || (is_up && lost == app->lost_seen))
    return;
  app->lost_seen = lost;
  app->is_probing = true;
  pg_acquire(app->pool, app_now_us(app) + CHECK_TIMEOUT_US, "readiness", on_probe_acquired, app);
}

/* ---- start ---- */

static void app_stop(struct app *app, int exit_code);

static void app_fail_start(struct app *app, const char *what, const struct error *err) {
  log_error(what, KV("error", err->text));
  app_stop(app, err->code == ERR_INVALID_ARGUMENT ? EXIT_USAGE : EXIT_FAILURE);
}

static void app_probe_later(struct app *app) {
  loop_timer_set(&app->probe_timer, app_now_us(app) + PROBE_EVERY_US);
}

static void on_partitions_ready(void *arg, const struct error *err) {
  struct app *app = arg;
  if (app->phase != APP_STARTING)
    return;
  /* Missing months are made on demand as well, so a failure here is no reason to stay away. */
  if (err)
    log_warn("partitions not ready", KV("error", err->text));
  app->phase = APP_SERVING;
  grpc_server_open(app->server);
  app_set_serving(app, true, "");
  app_probe_later(app);
}

/* A difference of the clocks is known before the first event is judged by them. */
static void on_clock_read(void *arg) {
  struct app *app = arg;
  if (app->phase == APP_STARTING)
    partitions_start(app->partitions, on_partitions_ready, app);
}

/* What holds, and what the server allows. */
static void on_limits(void *arg, const struct pg_server_limits *limits, const struct error *err) {
  struct app *app = arg;
  struct pg_pool_stats stats;
  if (app->phase == APP_DRAINING)
    return;
  if (!limits)
    log_warn("the server's connection limits are unknown", KV("error", err->text));
  pg_pool_stats(app->pool, &stats);
  announce_pool(app->config, &stats, app->schema_version);
  if (app->phase != APP_STARTING)
    return;
  announce_queries(app->config);
  server_clock_start(app->server_clock, on_clock_read, app);
}

/* The pool's own error is the same from one attempt to the next, while its cause is. */
static void app_tell_waiting(struct app *app, const struct error *err) {
  struct error cause = *err;
  (void)pg_pool_is_down(app->pool, &cause);
  if (reminder_is_due(&app->outage, cause.text, app_now_us(app)))
    log_warn("waiting for PostgreSQL", KV("error", cause.text));
}

/* What only PostgreSQL's absence is to blame for is tried again, if the settings allow that. */
static void app_fail_attempt(struct app *app, const struct error *err) {
  bool may_wait = app->config->database.startup == CONFIG_STARTUP_WAIT;
  if (!error_is_retryable(err->code) || !may_wait) {
    app_fail_start(app, "can't use this database", err);
    return;
  }
  app_tell_waiting(app, err);
  pages_set_ready(app->pages, false, NULL);
  app_probe_later(app);
}

static void on_store_opened(void *arg, const struct error *err) {
  struct app *app = arg;
  if (app->phase != APP_STARTING)
    return;
  if (err) {
    app_fail_attempt(app, err);
    return;
  }
  app->signer.origin = app->row.origin;
  keys_announce(&app->signer);
  pg_limits_read(app->pool, app_now_us(app) + CHECK_TIMEOUT_US, on_limits, app);
}

static void on_schema_checked(void *arg, int version, const struct error *err) {
  struct app *app = arg;
  if (app->phase != APP_STARTING)
    return;
  if (err) {
    app_fail_attempt(app, err);
    return;
  }
  app->schema_version = version;
  app->opening = (struct store_open){.pool = app->pool,
                                     .config = app->config,
                                     .memory = app->memory,
                                     .row = &app->row,
                                     .deadline_us = app_now_us(app) + CHECK_TIMEOUT_US,
                                     .cb = on_store_opened,
                                     .arg = app};
  store_open_run(&app->opening);
}

static void on_probe_timer(void *arg) {
  struct app *app = arg;
  if (app->phase == APP_STARTING) {
    schema_check(app->pool, &app->loop, app_now_us(app) + CHECK_TIMEOUT_US, on_schema_checked, app);
    return;
  }
  if (app->phase != APP_SERVING)
    return;
  app_look_after_readiness(app);
  app_probe_later(app);
}

static int app_open_pages(struct app *app, struct error *err) {
  const struct pages_parts parts = {.config = app->config,
                                    .pool = app->pool,
                                    .server_clock = app->server_clock,
                                    .ingest = app->ingest,
                                    .queries = app->query_service,
                                    .memory = app->memory,
                                    .server = app->server,
                                    .access = app->access};
  return pages_new(&app->pages, &app->loop, &parts, err);
}

static int app_listen(struct app *app, struct error *err) {
  const struct config_server *server = &app->config->server;
  int port = 0;
  int rc = app_open_pages(app, err);
  if (rc < 0 || (rc = grpc_server_listen(app->server, app->tls, &port, err)) < 0)
    return rc;
  if ((rc = port_file_write(server->port_file, port, err)) < 0) {
    error_prefix(err, "server.port_file");
    return rc;
  }
  log_info("listening", KV("address", server->listen), KV("port", port));
  return 0;
}

static int app_new_access(struct app *app, struct error *err) {
  app->self_events = self_events_new(&app->loop);
  const struct access_options options = {.config = app->config,
                                         .clock = app->loop.clock,
                                         .record = self_events_record_denial,
                                         .record_arg = app->self_events};
  app->access = access_new(&options);
  int rc = files_check_database(app->config, err);
  return rc < 0 ? rc : access_load(app->access, err);
}

static int app_new_parts(struct app *app, struct error *err) {
  const struct config *config = app->config;
  int rc = app_new_access(app, err);
  if (rc < 0 || (rc = keys_load(&app->signer, config, err)) < 0 ||
      (rc = certs_load(&app->tls, config, err)) < 0 ||
      (rc = pg_pool_new(&app->pool, &app->loop, &config->database, err)) < 0)
    return rc;
  pg_pool_on_state(app->pool, on_pool_state, app);
  app->server_clock = server_clock_new(&app->loop, app->pool);
  app->partitions = partitions_new(&app->loop, app->pool, &config->storage);
  app->memory = ledger_memory_new(&app->loop);
  const struct ingest_options ingest = {.pool = app->pool,
                                        .partitions = app->partitions,
                                        .config = &config->ingest,
                                        .ledger = &config->ledger,
                                        .signer = &app->signer,
                                        .memory = app->memory};
  app->ingest = ingest_new(&app->loop, &ingest);
  self_events_begin(app->self_events, app->ingest, app->access);
  app->ingest_service = ingest_service_new(&app->loop, app->ingest, app->server_clock,
                                           app->partitions, &config->ingest);
  app->query_service = query_service_new(&app->loop, app->pool, &config->query);
  ingest_service_fill(app->ingest_service, &app->handlers);
  query_service_fill(app->query_service, &app->handlers);
  const struct admin_parts looked_into = {
      .config = config, .pool = app->pool, .clock = app->loop.clock, .version = AUDITSTORE_VERSION};
  app->admin_service = admin_service_new(&looked_into);
  app->server = grpc_server_new(&app->loop, &config->server);
  auditstore_v1_audit_store_add(app->server, &app->handlers);
  admin_service_add(app->admin_service, app->server);
  ingest_service_limit(app->ingest_service, app->server);
  describe_services(app->server, &config->server);
  access_guard(app->access, app->server);
  return 0;
}

/* ---- stop: the reverse of start, each step when the one before has ended ---- */

/* What was acknowledged is committed; what wasn't, its sender knows to send again. */
static _Noreturn void app_cut_short(const char *why) {
  log_error("stopped before work was finished", KV("reason", why));
  log_writer_flush();
  _exit(EXIT_FAILURE);
}

static void on_stop_deadline(void *arg) {
  (void)arg;
  app_cut_short("shutdown.timeout passed");
}

static void app_close_frame(struct app *app) {
  loop_timer_close(&app->stop_timer, NULL, NULL);
  loop_timer_close(&app->probe_timer, NULL, NULL);
  loop_timer_close(&app->token_timer, NULL, NULL);
  signals_begin();
  uv_close((uv_handle_t *)&app->sigterm, NULL);
  uv_close((uv_handle_t *)&app->sigint, NULL);
  uv_close((uv_handle_t *)&app->sighup, NULL);
  signals_end_with(app->exit_code);
  uv_stop(&app->uv);
}

/* The log has said what can't be written; the next start judges what that costs. */
static void on_memory_closed(void *arg, const struct error *err) {
  (void)err;
  app_close_frame(arg);
}

/* Pages show what is remembered: they go first. */
static void on_pages_closed(void *arg) {
  struct app *app = arg;
  ledger_memory_close(app->memory, on_memory_closed, app);
}

static void on_pool_drained(void *arg) {
  struct app *app = arg;
  if (app->pages)
    pages_close(app->pages, on_pages_closed, app);
  else
    on_pages_closed(app);
}

static void on_clock_closed(void *arg) {
  struct app *app = arg;
  pg_pool_drain(app->pool, app->stop_at_us, on_pool_drained, app);
}

static void on_partitions_closed(void *arg) {
  struct app *app = arg;
  app->partitions = NULL;
  server_clock_close(app->server_clock, on_clock_closed, app);
}

static void on_ingest_drained(void *arg) {
  struct app *app = arg;
  partitions_close(app->partitions, on_partitions_closed, app);
}

static void on_server_drained(void *arg) {
  struct app *app = arg;
  ingest_drain(app->ingest, app->stop_at_us, on_ingest_drained, app);
}

static void app_stop(struct app *app, int exit_code) {
  if (app->phase == APP_DRAINING)
    return;
  app->phase = APP_DRAINING;
  app->exit_code = exit_code;
  app->stop_at_us = app_now_us(app) + app->config->shutdown.timeout_us;
  if (app->pages)
    pages_set_ready(app->pages, false, "stopping");
  loop_timer_set(&app->probe_timer, CLOCK_NEVER);
  loop_timer_set(&app->stop_timer, app->stop_at_us);
  grpc_server_drain(app->server, app->stop_at_us, on_server_drained, app);
}

static void on_signal(uv_signal_t *handle, int signum) {
  struct app *app = handle->data;
  if (app->phase == APP_DRAINING)
    app_cut_short("second signal");
  log_info("stopping", KV("signal", signum));
  app_stop(app, EXIT_SUCCESS);
}

static void app_watch_signal(struct app *app, uv_signal_t *handle, int signum, uv_signal_cb cb) {
  uv_signal_init(&app->uv, handle);
  handle->data = app;
  uv_signal_start(handle, cb, signum);
}

/* ---- reload ---- */

static void app_read_tokens(struct app *app) {
  struct error err;
  int64_t now_us = app_now_us(app);
  int rc = access_load(app->access, &err);
  if (rc == ERR_UNAVAILABLE && now_us < app->token_until_us) {
    log_info("tokens not reloaded yet", KV("error", err.text));
    loop_timer_set(&app->token_timer, now_us + TOKENS_EVERY_US);
  } else if (rc < 0) {
    log_error("tokens not reloaded", KV("error", err.text));
  }
}

static void on_token_timer(void *arg) {
  struct app *app = arg;
  if (app->phase != APP_DRAINING)
    app_read_tokens(app);
}

static void app_take_over(struct app *app, const struct config_changes *changes) {
  log_configure(app->config->log.level, app->config->log.format);
  announce_queries(app->config);
  log_info("settings reloaded", KV("changed", changes->changed),
           KV("need_restart", changes->pending));
  ingest_service_limit(app->ingest_service, app->server);
  struct error err;
  if (keys_load(&app->signer, app->config, &err) < 0)
    log_error("keys of checkpoints not reloaded", KV("error", err.text));
  if (certs_load(&app->tls, app->config, &err) < 0)
    log_error("TLS certificate not reloaded", KV("error", err.text));
  app->token_until_us = app_now_us(app) + TOKENS_PATIENCE_US;
  app_read_tokens(app);
  if (!changes->is_database_changed)
    return;
  pg_pool_reload(app->pool);
  if (app->phase == APP_SERVING)
    pg_limits_read(app->pool, app_now_us(app) + CHECK_TIMEOUT_US, on_limits, app);
}

static void on_reload(uv_signal_t *handle, int signum) {
  struct app *app = handle->data;
  struct config_changes changes;
  char *problems = NULL;
  size_t size = 0;
  (void)signum;
  if (app->phase == APP_DRAINING)
    return;
  FILE *out = open_memstream(&problems, &size);
  assert(out);
  int rc = config_reload(app->config, app->input, files_check_database, out, &changes);
  fclose(out);
  announce_problems(rc < 0 ? LOG_ERROR : LOG_WARN, rc < 0 ? "settings not reloaded" : "settings",
                    problems);
  free(problems);
  if (rc == 0)
    app_take_over(app, &changes);
}

static void app_free_parts(struct app *app) {
  grpc_server_free(app->server);
  admin_service_free(app->admin_service);
  query_service_free(app->query_service);
  ingest_service_free(app->ingest_service);
  ingest_free(app->ingest);
  server_clock_free(app->server_clock);
  pg_pool_free(app->pool);
}

int app_run(struct config *config, const struct config_input *input) {
  struct app *app = xcalloc(1, sizeof(*app));
  app->config = config;
  app->input = input;
  app_loop_open(&app->loop, &app->uv);
  descriptors_announce(config);
  struct error err = {0};
  int rc = app_new_parts(app, &err);
  if (rc == 0) {
    loop_timer_init(&app->probe_timer, &app->loop, on_probe_timer, app);
    loop_timer_init(&app->stop_timer, &app->loop, on_stop_deadline, app);
    loop_timer_init(&app->token_timer, &app->loop, on_token_timer, app);
    app_watch_signal(app, &app->sigterm, SIGTERM, on_signal);
    app_watch_signal(app, &app->sigint, SIGINT, on_signal);
    app_watch_signal(app, &app->sighup, SIGHUP, on_reload);
    signals_for_loop();
    rc = app_listen(app, &err);
    if (rc < 0)
      app_fail_start(app, "can't listen", &err);
    else
      loop_timer_set(&app->probe_timer, app_now_us(app));
    uv_run(&app->uv, UV_RUN_DEFAULT);
    app_free_parts(app);
    log_info("stopped", KV("exit_code", app->exit_code));
  } else {
    log_error("can't start", KV("error", err.text));
    app->exit_code = EXIT_FAILURE;
  }
  app_loop_close(&app->loop, app->stop_at_us, app->exit_code);
  int code = app->exit_code;
  self_events_free(app->self_events);
  access_free(app->access);
  keys_unload(&app->signer);
  tls_context_free(app->tls);
  free(app);
  return code;
}

/* ---- migrate ---- */

static void on_migrate_drained(void *arg) {
  struct app *app = arg;
  uv_stop(&app->uv);
}

static void on_migrated(void *arg, int version, const struct error *err) {
  struct app *app = arg;
  app->exit_code = err ? EXIT_FAILURE : EXIT_SUCCESS;
  if (err)
    log_error("migration failed", KV("error", err->text), KV("schema_version", version));
  else
    log_info("schema is up to date", KV("schema_version", version));
  app->stop_at_us = app_now_us(app) + app->config->shutdown.timeout_us;
  pg_pool_drain(app->pool, app->stop_at_us, on_migrate_drained, app);
}

int app_migrate(struct config *config) {
  struct app *app = xcalloc(1, sizeof(*app));
  app->config = config;
  app_loop_open(&app->loop, &app->uv);
  struct error err = {0};
  if (files_check_database(config, &err) < 0 ||
      pg_pool_new(&app->pool, &app->loop, &config->database, &err) < 0) {
    log_error("can't start", KV("error", err.text));
    app->exit_code = EXIT_FAILURE;
  } else {
    schema_migrate(app->pool, &app->loop, app_now_us(app) + MIGRATE_TIMEOUT_US, on_migrated, app);
    uv_run(&app->uv, UV_RUN_DEFAULT);
    pg_pool_free(app->pool);
  }
  app_loop_close(&app->loop, app->stop_at_us, app->exit_code);
  int code = app->exit_code;
  free(app);
  return code;
}
