/* libpq's functions, as far as the pool uses them. */
#include "model/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pg_result {
  struct world *world;
  ExecStatusType status;
  char sqlstate[6];
  const char *severity;
  bool is_session;
  bool is_standby_notice;
  const struct pg_conn *line;
};

static PGresult *make_result(const struct pg_conn *line, const struct item *item) {
  struct world *world = line->world;
  PGresult *result = calloc(1, sizeof(*result));
  *result = (PGresult){.world = world,
                       .status = item->status,
                       .severity = item->severity,
                       .is_session = item->is_session,
                       .is_standby_notice = item->is_standby_notice,
                       .line = line};
  memcpy(result->sqlstate, item->sqlstate, sizeof(result->sqlstate));
  world->results++;
  return result;
}

void PQclear(PGresult *result) {
  result->world->results--;
  free(result);
}

ExecStatusType PQresultStatus(const PGresult *result) {
  return result->status;
}

char *PQresultErrorField(const PGresult *result, int field) {
  if (field == PG_DIAG_SQLSTATE)
    return result->sqlstate[0] ? (char *)(uintptr_t)result->sqlstate : NULL;
  if (field == PG_DIAG_SEVERITY_NONLOCALIZED)
    return (char *)(uintptr_t)result->severity;
  if (field == PG_DIAG_SOURCE_FUNCTION && result->is_standby_notice)
    return (char *)(uintptr_t) "SyncRepWaitForLSN";
  return NULL;
}

int PQntuples(const PGresult *result) {
  return result->is_session ? 1 : 0;
}

/* Nobody asks for any rows but that of the session's settings: a setting, its old value, what was
 * asked for and what it is, the process, and the schemas that have a store. */
enum { COLUMN_ASKED = 2, COLUMN_NOW = 3, COLUMN_PID = 4, SESSION_COLUMNS = 8 };

static const char *session_value(const PGresult *result, int column) {
  static const char *const values[SESSION_COLUMNS] = {"row_security", "on",     "off", "off", "",
                                                      "public",       "public", ""};
  /* Whose process it is decides whether a pooler stands between. */
  static const char own[] = {0, 0, 0, 1};
  static const char others[] = {0, 0, 0, 2};
  const struct pg_conn *line = result->line;
  if (column == COLUMN_PID)
    return line->is_pooled ? others : own;
  return column == COLUMN_NOW && line->is_amiss ? "on" : values[column];
}

char *PQgetvalue(const PGresult *result, int row, int column) {
  must(result->is_session && row == 0 && column < SESSION_COLUMNS, "a value of row %d, column %d",
       row, column);
  return (char *)(uintptr_t)session_value(result, column);
}

int PQgetlength(const PGresult *result, int row, int column) {
  must(result->is_session && row == 0 && column < SESSION_COLUMNS, "a length of row %d, column %d",
       row, column);
  return column == COLUMN_PID ? 4 : (int)strlen(session_value(result, column));
}

int PQgetisnull(const PGresult *result, int row, int column) {
  (void)row;
  (void)column;
  return !result->is_session;
}

int PQbackendPID(const PGconn *line) {
  (void)line;
  return 1;
}

int PQserverVersion(const PGconn *line) {
  (void)line;
  return 150000;
}

/* ---- dialling ---- */

/* The oldest of those that have arrived. */
static struct item pop(struct pg_conn *line) {
  struct item item = line->items[0];
  line->arrived--;
  line->item_count--;
  memmove(line->items, line->items + 1, (size_t)line->item_count * sizeof(line->items[0]));
  return item;
}

static void drop(struct pg_conn *line, const char *message) {
  line->status = CONNECTION_BAD;
  line->fd = -1;
  snprintf(line->message, sizeof(line->message), "%s", message);
}

static struct pg_conn *make_line(struct world *world) {
  struct pg_conn *line = calloc(1, sizeof(*line));
  *line = (struct pg_conn){.world = world,
                           .number = ++world->next_number,
                           .status = CONNECTION_STARTED,
                           .fd = world->next_fd++,
                           .copy_fd = -1,
                           .socket = 1,
                           .waits_to_write = true,
                           .ends_at_us = CLOCK_NEVER,
                           .epoch = world->memory.epoch,
                           .die_at_us = CLOCK_NEVER};
  snprintf(line->address, sizeof(line->address), "10.0.0.%u", world->server.address);
  line->is_pooled = world->server.is_pooler;
  line->is_amiss = !world->server.is_calm && world_chance(world, 30);
  line->writable_at_us = world->now_us + world_latency(world);
  list_push_back(&world->lines, &line->link);
  return line;
}

PGconn *PQconnectStartParams(const char *const *keys, const char *const *values, int expand) {
  struct world *world = world_current();
  (void)values;
  (void)expand;
  check_dial(world);
  if (world->is_faulty && world_chance(world, 200))
    return NULL;
  struct pg_conn *line = make_line(world);
  if (world->is_faulty && world_chance(world, 200)) {
    drop(line, "invalid connection option");
    return line;
  }
  line->has_backend = world->server.is_up;
  line->phase = world->server.is_up ? DIAL_CONNECT : DIAL_REFUSED;
  line->rounds = (int)world_pick(world, 3);
  for (; *keys; keys++)
    line->is_refused_options |= line->is_pooled && strcmp(*keys, "options") == 0;
  trace(world, "connection %u is dialled", line->number);
  int count = server_count(world);
  /* After a reload that lowered the limit those that had their slots before may still connect. */
  must(count <= world->config.max_open_conns || count <= world->memory.occupied,
       "the server has %d connections, %d are allowed", count, world->config.max_open_conns);
  return line;
}

static PostgresPollingStatusType fail(struct pg_conn *line, const char *message) {
  snprintf(line->message, sizeof(line->message), "%s", message);
  line->status = CONNECTION_BAD;
  if (world_chance(line->world, 2))
    line->fd = -1;
  line->writable_at_us = CLOCK_NEVER;
  return PGRES_POLLING_FAILED;
}

static PostgresPollingStatusType wait_to_read(struct pg_conn *line) {
  line->waits_to_write = false;
  line->writable_at_us = CLOCK_NEVER;
  return PGRES_POLLING_READING;
}

/* The next address, or the same without TLS: another socket, mostly of the same number. */
static void replace_socket(struct pg_conn *line) {
  line->socket++;
  if (world_chance(line->world, 3))
    line->fd = line->world->next_fd++;
}

static PostgresPollingStatusType poll_login(struct pg_conn *line) {
  struct world *world = line->world;
  if (!(line_events(line, line->fd) & UV_READABLE))
    return wait_to_read(line);
  line->arrived++;
  const struct item item = pop(line);
  if (item.kind == ITEM_FIN)
    return fail(line, "server closed the connection unexpectedly\n");
  if (item.sqlstate[0]) {
    char message[64];
    snprintf(message, sizeof(message), "FATAL:  %s: %s\n", item.sqlstate,
             line->is_refused_options ? "unsupported startup parameter: options" : "sorry");
    return fail(line, message);
  }
  if (line->rounds-- > 0) {
    server_login(line);
    return wait_to_read(line);
  }
  line->phase = DIAL_OVER;
  line->status = CONNECTION_OK;
  line->writable_at_us = 0;
  line->is_open = true;
  line->opened_us = line->lively_us = world->now_us;
  trace(world, "connection %u is open", line->number);
  return PGRES_POLLING_OK;
}

PostgresPollingStatusType PQconnectPoll(PGconn *line) {
  must(!line->is_finished && line->phase != DIAL_OVER, "connection %u polled", line->number);
  switch (line->phase) {
  case DIAL_REFUSED:
    return fail(line, "connection refused\n");
  case DIAL_CONNECT:
    if (world_chance(line->world, 4))
      replace_socket(line);
    line->phase = DIAL_LOGIN;
    server_login(line);
    return wait_to_read(line);
  default:
    return poll_login(line);
  }
}

void PQfinish(PGconn *line) {
  if (!line)
    return;
  struct world *world = line->world;
  must(!line->is_finished, "connection %u is finished twice", line->number);
  trace(world, "connection %u is finished, %s copy", line->number,
        line->copy_fd < 0 ? "no" : "with a");
  line->is_finished = true;
  line->is_open = false;
  line->fd = -1;
  line->finished_us = world->now_us;
  line->close_timeout_us = world->config.close_timeout_us;
  if (line->copy_fd < 0)
    server_sees_end(line);
  else if (!line->has_backend && line->item_count == line->arrived)
    line->items[line->item_count++] = (struct item){.kind = ITEM_FIN, .at_us = world->now_us};
}

/* ---- state ---- */

ConnStatusType PQstatus(const PGconn *line) {
  must(!line->is_finished, "connection %u is used after its end", line->number);
  return line->status;
}

PGTransactionStatusType PQtransactionStatus(const PGconn *line) {
  if (line->status != CONNECTION_OK)
    return PQTRANS_UNKNOWN;
  if (line->awaited > 0)
    return PQTRANS_ACTIVE;
  return line->is_in_transaction ? PQTRANS_INTRANS : PQTRANS_IDLE;
}

PGpipelineStatus PQpipelineStatus(const PGconn *line) {
  return line->is_pipelining ? PQ_PIPELINE_ON : PQ_PIPELINE_OFF;
}

char *PQerrorMessage(const PGconn *line) {
  static char no_connection[] = "connection pointer is NULL\n";
  if (!line)
    return no_connection;
  return (char *)(uintptr_t)line->message;
}

char *PQhostaddr(const PGconn *line) {
  return (char *)(uintptr_t)line->address;
}

char *PQhost(const PGconn *line) {
  (void)line;
  return (char *)(uintptr_t) "db.example";
}

char *PQport(const PGconn *line) {
  (void)line;
  return (char *)(uintptr_t) "5432";
}

int PQsocket(const PGconn *line) {
  must(!line->is_finished, "connection %u is used after its end", line->number);
  return line->fd;
}

void *PQsslStruct(PGconn *line, const char *name) {
  (void)line;
  (void)name;
  return NULL;
}

PGVerbosity PQsetErrorVerbosity(PGconn *line, PGVerbosity verbosity) {
  (void)line;
  (void)verbosity;
  return PQERRORS_DEFAULT;
}

PQnoticeReceiver PQsetNoticeReceiver(PGconn *line, PQnoticeReceiver receiver, void *arg) {
  const struct pg_lease *slot = arg;
  line->notice = receiver;
  line->notice_arg = arg;
  /* It is as old as its dial, which began before its name was looked up. */
  line->epoch = line->world->memory.epoch - (slot->pool->generation - slot->generation);
  return NULL;
}

int PQsetnonblocking(PGconn *line, int is_on) {
  (void)line;
  must(is_on == 1, "a blocking connection");
  return 0;
}

int PQenterPipelineMode(PGconn *line) {
  if (line->awaited > 0 || line->status != CONNECTION_OK)
    return 0;
  line->is_pipelining = true;
  return 1;
}

int PQexitPipelineMode(PGconn *line) {
  if (line->awaited > 0 || line->status != CONNECTION_OK)
    return 0;
  line->is_pipelining = false;
  return 1;
}

/* ---- sending ---- */

static bool may_send(const struct pg_conn *line, bool is_pipelining) {
  must(!line->is_finished, "connection %u is used after its end", line->number);
  if (line->status != CONNECTION_OK || line->is_pipelining != is_pipelining)
    return false;
  return !line->world->is_faulty || !world_chance(line->world, 500);
}

static int send_statement(struct pg_conn *line) {
  if (!may_send(line, true))
    return 0;
  if (!line->has_output)
    line->statements = 0;
  line->has_output = true;
  line->statements++;
  line->awaited++;
  return 1;
}

int PQsendPrepare(PGconn *line, const char *name, const char *sql, int count, const Oid *types) {
  (void)name;
  (void)sql;
  (void)count;
  (void)types;
  return send_statement(line);
}

/* NOLINTNEXTLINE(readability-function-size): libpq's parameters */
int PQsendQueryPrepared(PGconn *line, const char *name, int count, const char *const *values,
                        const int *lengths, const int *formats, int format) {
  (void)name;
  (void)count;
  (void)values;
  (void)lengths;
  (void)formats;
  must(format == 1, "a text result");
  return send_statement(line);
}

/* NOLINTNEXTLINE(readability-function-size): libpq's parameters */
int PQsendQueryParams(PGconn *line, const char *sql, int count, const Oid *types,
                      const char *const *values, const int *lengths, const int *formats,
                      int format) {
  (void)count;
  (void)types;
  (void)values;
  (void)lengths;
  (void)formats;
  must(format == 1, "a text result");
  line->asks_session = strstr(sql, "pg_backend_pid") != NULL;
  return send_statement(line);
}

static void begin_to_write(struct pg_conn *line) {
  struct world *world = line->world;
  line->has_output = true;
  line->writable_at_us = world_chance(world, 4) ? world->now_us + world_latency(world) : 0;
}

int PQpipelineSync(PGconn *line) {
  if (!may_send(line, true))
    return 0;
  if (!line->has_output)
    line->statements = 0;
  line->has_sync = true;
  line->has_script = false;
  line->awaited++;
  begin_to_write(line);
  return 1;
}

int PQsendQuery(PGconn *line, const char *sql) {
  line->is_begin = strstr(sql, "BEGIN") != NULL;
  if (line->awaited > 0 || !may_send(line, false))
    return 0;
  line->has_script = true;
  line->awaited = 1;
  begin_to_write(line);
  return 1;
}

int PQflush(PGconn *line) {
  if (line->status != CONNECTION_OK)
    return -1;
  if (!line->has_output)
    return 0;
  if (line->writable_at_us > line->world->now_us)
    return 1;
  line->has_output = false;
  line->has_sync = false;
  server_answer(line);
  return 0;
}

/* ---- receiving ---- */

int PQconsumeInput(PGconn *line) {
  must(!line->is_finished, "connection %u is used after its end", line->number);
  if (line->status != CONNECTION_OK)
    return 0;
  int before = line->arrived;
  while (line->arrived < line->item_count) {
    const struct item *item = &line->items[line->arrived];
    if (item->at_us > line->world->now_us)
      break;
    if (item->kind == ITEM_FIN && line->arrived > before)
      break;
    if (item->kind == ITEM_FIN) {
      drop(line, "server closed the connection unexpectedly\n");
      return 0;
    }
    line->arrived++;
    line->lively_us = line->world->now_us;
  }
  return 1;
}

static void hear(struct pg_conn *line, const struct item *item) {
  if (item->sqlstate[0] == '\0')
    return;
  memory_hear(line, item->sqlstate);
  if (item->severity && strcmp(item->severity, "FATAL") == 0)
    line->has_heard_farewell = true;
}

static bool is_notice(const struct pg_conn *line) {
  const char *severity = line->items[0].severity;
  return line->arrived > 0 &&
         (line->awaited == 0 || (severity && strcmp(severity, "WARNING") == 0));
}

/* What comes unasked is a notice. */
static void give_notices(struct pg_conn *line) {
  while (is_notice(line)) {
    struct item item = pop(line);
    must(item.kind == ITEM_RESULT && item.sqlstate[0], "an answer that nobody awaits");
    PGresult *result = make_result(line, &item);
    hear(line, &item);
    if (strcmp(item.sqlstate, "57P01") == 0 || strcmp(item.sqlstate, "57P02") == 0)
      line->has_heard_farewell = true;
    line->notice(line->notice_arg, result);
    PQclear(result);
  }
}

int PQisBusy(PGconn *line) {
  give_notices(line);
  return line->awaited > 0 && line->arrived == 0 && line->status == CONNECTION_OK;
}

static PGresult *tell_loss(struct pg_conn *line) {
  if (line->is_loss_told)
    return NULL;
  line->is_loss_told = true;
  const struct item item = {.status = PGRES_FATAL_ERROR};
  return make_result(line, &item);
}

static PGresult *take_copy(struct pg_conn *line) {
  must(++line->copies_read < 3, "a COPY result is read again and again");
  return make_result(line, &line->items[0]);
}

PGresult *PQgetResult(PGconn *line) {
  must(!line->is_finished, "connection %u is used after its end", line->number);
  if (line->awaited == 0)
    return NULL;
  if (line->arrived == 0) {
    must(line->status != CONNECTION_OK, "PQgetResult would block");
    return tell_loss(line);
  }
  if (line->items[0].status == PGRES_COPY_IN)
    return take_copy(line);
  struct item item = pop(line);
  if (item.kind != ITEM_RESULT) {
    line->awaited--;
    if (item.kind == ITEM_SYNC || !line->is_pipelining)
      line->is_in_transaction = item.is_in_transaction;
  }
  if (item.kind == ITEM_END)
    return NULL;
  if (item.kind == ITEM_SYNC)
    item.status = PGRES_PIPELINE_SYNC;
  hear(line, &item);
  return make_result(line, &item);
}
