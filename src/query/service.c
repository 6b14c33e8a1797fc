#include "query/service.h"

#include "access/access.h"
#include "base/alloc.h"
#include "base/log.h"
#include "query/get.h"
#include "query/list.h"
#include "query/run.h"
#include "query/turns.h"

#include <assert.h>
#include <stdlib.h>

struct query_service {
  struct loop *loop; /* borrowed, as the next two */
  struct pg_pool *pool;
  const struct config_query *config;
  struct turns *turns; /* owned */
  int queries;         /* under way, those given up among them */
  int64_t abandoned;
};

enum query_kind { QUERY_GET, QUERY_LIST };

/* One call. */
struct query {
  struct query_service *service;
  enum query_kind kind;
  struct grpc_call *call;
  struct grpc_message *message;
  struct turn turn;
  struct query_run run;
  struct grpc_status *status; /* owned; what reading the rows showed to be wrong */
  const Auditstore__V1__GetEventRequest *get;
  struct sql get_sql;
  struct list_query list;
};

static void query_free(struct query *query) {
  turns_leave(query->service->turns, &query->turn);
  sql_deinit(&query->get_sql);
  list_query_deinit(&query->list);
  query->service->queries--;
  free(query);
}

/* Takes `status`. */
static void query_answer(struct query *query, struct grpc_status *status) {
  grpc_call_finish(query->call, status);
  grpc_message_release(query->message);
}

static void query_end(struct query *query, struct grpc_status *status) {
  query_answer(query, status);
  query_free(query);
}

/* ---- rows ---- */

static struct grpc_status *status_of_rows(const struct query *query, const struct error *err) {
  if (err->code != ERR_NOT_FOUND) {
    log_warn("query result not understood", KV("error", err->text));
    return grpc_status_of_code(err->code,
                               "a stored event can't be read; the daemon's log says why");
  }
  struct grpc_status *status = grpc_status_of_code(ERR_NOT_FOUND, "there is no event with this id");
  grpc_status_set_resource(status, "auditstore.v1.StoredEvent",
                           str_of(query->get->event_id.data, query->get->event_id.len),
                           "no event with this id");
  return status;
}

static int send_event(struct query *query, const PGresult *result, struct error *err) {
  struct arena arena;
  arena_init(&arena, GET_ARENA_BYTES);
  Auditstore__V1__GetEventResponse response = AUDITSTORE__V1__GET_EVENT_RESPONSE__INIT;
  int rc = get_read(result, &arena, &response, err);
  if (rc == 0)
    auditstore_v1_audit_store_get_event_send(query->call, &response);
  arena_deinit(&arena);
  return rc;
}

static int send_page(struct query *query, const PGresult *result, struct error *err) {
  struct arena arena;
  arena_init(&arena, list_arena_bytes(&query->list));
  Auditstore__V1__ListEventsResponse response = AUDITSTORE__V1__LIST_EVENTS_RESPONSE__INIT;
  int rc = list_read(&query->list, result, &arena, &response, err);
  if (rc == 0)
    auditstore_v1_audit_store_list_events_send(query->call, &response);
  arena_deinit(&arena);
  return rc;
}

/* Sends from the rows while they are there, which saves a copy of the page. Should the sync after
 * them fail, the call ends with that status, and a unary caller never looks at the message. */
static void on_rows(void *arg, const PGresult *result) {
  struct query *query = arg;
  struct error err;
  int rc =
      query->kind == QUERY_GET ? send_event(query, result, &err) : send_page(query, result, &err);
  if (rc < 0)
    query->status = status_of_rows(query, &err);
}

static void on_end(void *arg, struct grpc_status *status) {
  struct query *query = arg;
  if (status)
    grpc_status_free(query->status);
  query_end(query, status ? status : query->status);
}

static void on_gone(void *arg) {
  query_free(arg);
}

/* Its turn isn't over before PostgreSQL has let go of it. */
static void on_cancel(void *arg) {
  struct query *query = arg;
  bool is_at_work = query_run_abandon(&query->run);
  grpc_status_free(query->status);
  query_answer(query, grpc_status_new(GRPC_CANCELLED, "the call was cancelled"));
  if (is_at_work)
    query->service->abandoned++;
  else
    query_free(query);
}

/* ---- handlers ---- */

static struct query *query_new(struct query_service *service, enum query_kind kind,
                               struct grpc_call *call, struct grpc_message *message) {
  struct query *query = xcalloc(1, sizeof(*query));
  query->service = service;
  query->kind = kind;
  query->call = call;
  query->message = message;
  service->queries++;
  return query;
}

static struct grpc_status *status_of_turn(const struct config_query *config, enum error_code code) {
  if (code == ERR_TIMEOUT)
    return grpc_status_of_code(
        ERR_TIMEOUT,
        "other queries ran until the deadline: at most query.max_running (%d) run at once, and "
        "query.max_unindexed (%d) of those that no index serves",
        config->max_running, config->max_unindexed);
  return grpc_status_of_code(
      code, "too many queries wait for their turn (query.max_waiting is %d): try again later",
      config->max_waiting);
}

/* What a page takes here is known only once it came, and then it is too late to refuse it. */
static struct grpc_status *hold_page(void *arg) {
  struct query *query = arg;
  size_t bytes = query->kind == QUERY_GET ? GET_ROW_MAX_BYTES : list_result_bytes(&query->list);
  return grpc_message_hold(query->message, bytes) ? NULL : grpc_status_short_of_memory();
}

static void on_turn(void *arg, enum error_code code) {
  struct query *query = arg;
  const struct query_service *service = query->service;
  if (code != ERR_OK) {
    query_end(query, status_of_turn(service->config, code));
    return;
  }
  if (query->turn.kind == TURN_UNINDEXED)
    query->run.deadline_us =
        deadline_min(query->run.deadline_us, clock_monotonic_us(service->loop->clock) +
                                                 service->config->unindexed_timeout_us);
  query_run_start(&query->run, service->pool, query->kind == QUERY_GET ? "GetEvent" : "ListEvents");
}

static const char *const advice[] = {
    [TURN_INDEXED] = "query.timeout: narrow its filter",
    [TURN_UNINDEXED] =
        "query.unindexed_timeout: no index serves its filter, so it reads all that lies within its "
        "times; fast are correlation_ids, actor_ids alone, resource_types with resource_ids "
        "alone, and a start_time and end_time that are close together",
};

static void query_start(struct query *query, struct sql *sql, enum turn_kind kind) {
  static const struct grpc_call_events events = {.on_cancel = on_cancel};
  const struct query_service *service = query->service;
  if (!grpc_message_hold(query->message, sizeof(*query) + sql_bytes(sql))) {
    query_end(query, grpc_status_short_of_memory());
    return;
  }
  int64_t now_us = clock_monotonic_us(service->loop->clock);
  query->run = (struct query_run){
      .loop = service->loop,
      .sql = sql,
      .deadline_us =
          deadline_min(grpc_call_deadline_us(query->call), now_us + service->config->timeout_us),
      .advice = advice[kind],
      .on_start = hold_page,
      .on_rows = on_rows,
      .on_end = on_end,
      .on_gone = on_gone,
      .arg = query,
  };
  query->turn = (struct turn){
      .kind = kind, .deadline_us = query->run.deadline_us, .cb = on_turn, .arg = query};
  grpc_call_set_events(query->call, &events, query);
  turns_ask(service->turns, &query->turn, access_principal(query->call));
}

static void handle_get_event(void *service, struct grpc_call *call,
                             const Auditstore__V1__GetEventRequest *request,
                             struct grpc_message *message) {
  struct query *query = query_new(service, QUERY_GET, call, message);
  query->get = request;
  struct grpc_status *status = get_init(&query->get_sql, request);
  if (status)
    query_end(query, status);
  else
    query_start(query, &query->get_sql, TURN_INDEXED);
}

static void handle_list_events(void *service, struct grpc_call *call,
                               const Auditstore__V1__ListEventsRequest *request,
                               struct grpc_message *message) {
  struct query *query = query_new(service, QUERY_LIST, call, message);
  struct grpc_status *status = list_query_init(&query->list, request, query->service->config);
  if (status)
    query_end(query, status);
  else
    query_start(query, &query->list.sql,
                filter_is_indexed(request->filter) ? TURN_INDEXED : TURN_UNINDEXED);
}

/* ---- the service ---- */

struct query_service *query_service_new(struct loop *loop, struct pg_pool *pool,
                                        const struct config_query *config) {
  struct query_service *service = xcalloc(1, sizeof(*service));
  service->loop = loop;
  service->pool = pool;
  service->config = config;
  service->turns = turns_new(loop, config);
  return service;
}

void query_service_free(struct query_service *service) {
  if (!service)
    return;
  assert(service->queries == 0);
  turns_free(service->turns);
  free(service);
}

void query_service_stats(const struct query_service *service, struct query_stats *ret_stats) {
  turns_stats(service->turns, &ret_stats->turns);
  ret_stats->limits = service->config;
  ret_stats->abandoned = service->abandoned;
}

void query_service_fill(struct query_service *service,
                        struct auditstore_v1_audit_store_handlers *handlers) {
  handlers->get_event.handle = handle_get_event;
  handlers->get_event.service = service;
  handlers->list_events.handle = handle_list_events;
  handlers->list_events.service = service;
}
