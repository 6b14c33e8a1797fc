/* The server's end of each connection, and the sockets between the two. */
#include "model/world.h"

#include <stdlib.h>
#include <string.h>

#include "pg/socket.h"

static struct pg_conn *line_of(struct list_link *link) {
  return LIST_ENTRY(link, struct pg_conn, link);
}

/* ---- messages ---- */

static int64_t last_item_us(const struct pg_conn *line) {
  return line->item_count > line->arrived ? line->items[line->item_count - 1].at_us : 0;
}

/* After all that is on its way already. */
static void push(struct pg_conn *line, struct item item) {
  struct world *world = line->world;
  int64_t after_us = last_item_us(line);
  must(line->item_count < ITEMS_MAX, "too many messages on one connection");
  item.at_us = world->now_us + world_latency(world);
  item.at_us = item.at_us > after_us ? item.at_us : after_us;
  if (world->server.is_hung)
    item.at_us = CLOCK_NEVER;
  line->items[line->item_count++] = item;
}

static void push_error(struct pg_conn *line, const char *sqlstate, const char *severity) {
  struct item item = {.kind = ITEM_RESULT, .status = PGRES_FATAL_ERROR, .severity = severity};
  memcpy(item.sqlstate, sqlstate, sizeof(item.sqlstate));
  push(line, item);
}

static void push_result(struct pg_conn *line, ExecStatusType status) {
  push(line, (struct item){.kind = ITEM_RESULT, .status = status});
}

static void push_standby_notice(struct pg_conn *line) {
  push(line, (struct item){.kind = ITEM_RESULT,
                           .status = PGRES_NONFATAL_ERROR,
                           .sqlstate = "01000",
                           .severity = "WARNING",
                           .is_standby_notice = true});
}

static void push_end(struct pg_conn *line) {
  push(line, (struct item){.kind = ITEM_END});
}

static void push_fin(struct pg_conn *line) {
  push(line, (struct item){.kind = ITEM_FIN});
  line->has_backend = false;
  line->ends_at_us = CLOCK_NEVER;
}

/* ---- log-ins ---- */

static int backends(const struct world *world) {
  int count = 0;
  for (struct list_link *link = world->lines.first; link; link = link->next)
    count += line_of(link)->has_backend;
  return count;
}

static const char *why_refused(const struct pg_conn *line) {
  const struct world *world = line->world;
  const struct server *server = &world->server;
  if (line->is_refused_options)
    return "08P01";
  if (server->is_starting)
    return "57P03";
  if (server->refuses_logins)
    return "28P01";
  return backends(world) + server->others > server->max_connections ? "53300" : "";
}

void server_login(struct pg_conn *line) {
  if (!line->has_backend)
    return;
  if (line->rounds > 0) {
    push(line, (struct item){.kind = ITEM_LOGIN});
    return;
  }
  const char *sqlstate = why_refused(line);
  struct item item = {.kind = ITEM_LOGIN};
  memcpy(item.sqlstate, sqlstate, strlen(sqlstate) + 1);
  push(line, item);
  if (sqlstate[0])
    push_fin(line);
}

/* ---- answers ---- */

enum fate {
  FATE_FINE,
  FATE_REFUSED,
  FATE_STALE, /* the plan, or the prepared statement is gone */
  FATE_KILLED,
  FATE_COPY,
  FATE_LEFT_OPEN, /* a transaction */
  FATE_UNCONFIRMED,
  FATE_SILENT,
  FATE_LOST,
};

static enum fate draw_fate(struct world *world) {
  static const enum fate rare[] = {FATE_REFUSED, FATE_REFUSED,   FATE_REFUSED, FATE_STALE,
                                   FATE_KILLED,  FATE_COPY,      FATE_SILENT,  FATE_LOST,
                                   FATE_STALE,   FATE_LEFT_OPEN, FATE_REFUSED, FATE_UNCONFIRMED};
  if (world->server.is_calm || !world_chance(world, 5))
    return FATE_FINE;
  return rare[world_pick(world, (int64_t)(sizeof(rare) / sizeof(rare[0])))];
}

static const char *draw_error(struct world *world, enum fate fate) {
  if (world->server.is_read_only)
    return "25006";
  if (fate == FATE_REFUSED)
    return "23505";
  return world_chance(world, 2) ? "26000" : "0A000";
}

static bool is_refused(const struct world *world, enum fate fate) {
  return fate == FATE_REFUSED || fate == FATE_STALE || world->server.is_read_only;
}

static void answer_pipeline(struct pg_conn *line, enum fate fate) {
  struct world *world = line->world;
  int failing = line->statements;
  /* Settings can be made where nothing may be written. */
  bool is_fine = line->asks_session && fate == FATE_FINE;
  if (line->statements > 0 && !is_fine && is_refused(world, fate))
    failing = (int)world_pick(world, line->statements);
  for (int i = 0; i < line->statements; i++) {
    if (i == failing)
      push_error(line, draw_error(world, fate), "ERROR");
    else if (line->asks_session && i < failing)
      push(line, (struct item){.kind = ITEM_RESULT, .status = PGRES_TUPLES_OK, .is_session = true});
    else
      push_result(line, i > failing ? PGRES_PIPELINE_ABORTED : PGRES_COMMAND_OK);
    push_end(line);
  }
  if (fate == FATE_UNCONFIRMED && failing == line->statements)
    push_standby_notice(line);
  push(line, (struct item){.kind = ITEM_SYNC, .is_in_transaction = fate == FATE_LEFT_OPEN});
}

static void answer_script(struct pg_conn *line, enum fate fate) {
  bool is_rollback = line->is_in_transaction;
  bool stays_open = (fate == FATE_LEFT_OPEN || line->is_begin) && !is_rollback;
  if (fate == FATE_UNCONFIRMED && !is_rollback && !stays_open)
    push_standby_notice(line);
  if (!is_rollback && is_refused(line->world, fate))
    push_error(line, draw_error(line->world, fate), "ERROR");
  else
    push_result(line, PGRES_COMMAND_OK);
  push(line, (struct item){.kind = ITEM_END, .is_in_transaction = stays_open});
}

/* All that was sent has come; what it meant is in the line's counts. */
void server_answer(struct pg_conn *line) {
  enum fate fate = draw_fate(line->world);
  if (!line->has_backend || fate == FATE_SILENT)
    return;
  if (fate == FATE_LOST)
    push_fin(line);
  else if (fate == FATE_KILLED)
    server_kill(line, "57P01");
  else if (fate == FATE_COPY)
    push_result(line, PGRES_COPY_IN);
  else if (line->has_script)
    answer_script(line, fate);
  else
    answer_pipeline(line, fate);
}

/* ---- ends ---- */

void server_kill(struct pg_conn *line, const char *sqlstate) {
  struct world *world = line->world;
  if (!line->has_backend)
    return;
  /* What was on its way may be lost. */
  if (world_chance(world, 2))
    line->item_count = line->arrived;
  if (sqlstate)
    push_error(line, sqlstate, world_chance(world, 4) ? "WARNING" : "FATAL");
  push_fin(line);
}

void server_kill_all(struct world *world, const char *sqlstate) {
  for (struct list_link *link = world->lines.first; link; link = link->next)
    server_kill(line_of(link), sqlstate);
}

void server_sees_end(struct pg_conn *line) {
  struct world *world = line->world;
  if (!line->has_backend || line->ends_at_us != CLOCK_NEVER || world->server.is_hung)
    return;
  line->ends_at_us = world->now_us + world_latency(world);
}

static bool is_client_gone(const struct pg_conn *line) {
  return line->is_finished && (line->copy_fd < 0 || line->is_half_closed);
}

void server_hang(struct world *world, bool is_hung) {
  world->server.is_hung = is_hung;
  for (struct list_link *link = world->lines.first; link; link = link->next) {
    struct pg_conn *line = line_of(link);
    if (is_hung) {
      line->ends_at_us = CLOCK_NEVER;
      continue;
    }
    int64_t at_us = world->now_us + world_latency(world);
    for (int i = line->arrived; i < line->item_count; i++)
      line->items[i].at_us = deadline_min(line->items[i].at_us, at_us);
    if (is_client_gone(line))
      server_sees_end(line);
  }
}

void server_run(struct world *world) {
  for (struct list_link *link = world->lines.first; link; link = link->next) {
    struct pg_conn *line = line_of(link);
    if (line->ends_at_us > world->now_us)
      continue;
    line->item_count = line->arrived;
    push_fin(line);
    line->items[line->item_count - 1].at_us = world->now_us;
  }
}

bool line_is_forgotten(const struct pg_conn *line) {
  const struct world *world = line->world;
  if (!line->is_finished)
    return false;
  bool is_drain_over = world->is_draining && world->now_us >= world->drain_deadline_us;
  return is_drain_over || world->now_us >= line->finished_us + line->close_timeout_us;
}

int server_count(const struct world *world) {
  int count = 0;
  for (struct list_link *link = world->lines.first; link; link = link->next)
    count += line_of(link)->has_backend && !line_is_forgotten(line_of(link));
  return count;
}

void server_sweep(struct world *world, bool is_all) {
  struct list_link *next;
  for (struct list_link *link = world->lines.first; link; link = next) {
    struct pg_conn *line = line_of(link);
    next = link->next;
    if (!line->is_finished || line->copy_fd >= 0 || (line->has_backend && !is_all))
      continue;
    list_remove(&world->lines, link);
    free(line);
  }
}

/* ---- sockets ---- */

struct pg_conn *line_by_fd(struct world *world, int fd) {
  for (struct list_link *link = world->lines.first; link; link = link->next) {
    struct pg_conn *line = line_of(link);
    if (fd >= 0 && (line->fd == fd || line->copy_fd == fd))
      return line;
  }
  return NULL;
}

int line_events(const struct pg_conn *line, int fd) {
  int64_t now_us = line->world->now_us;
  int events = 0;
  if (line->arrived < line->item_count && line->items[line->arrived].at_us <= now_us)
    events |= UV_READABLE;
  if (fd == line->fd && line->writable_at_us <= now_us)
    events |= UV_WRITABLE;
  return events;
}

int64_t line_next_event(const struct pg_conn *line) {
  int64_t now_us = line->world->now_us;
  int64_t next_us = line->ends_at_us;
  for (int i = line->arrived; i < line->item_count; i++) {
    if (line->items[i].at_us > now_us)
      next_us = deadline_min(next_us, line->items[i].at_us);
  }
  if (line->writable_at_us > now_us && !line->is_finished)
    next_us = deadline_min(next_us, line->writable_at_us);
  return next_us;
}

int pg_socket_copy(int fd) {
  struct world *world = world_current();
  struct pg_conn *line = line_by_fd(world, fd);
  must(line && line->copy_fd < 0, "fd %d can't be copied", fd);
  if (!line || (world->is_faulty && world_chance(world, 200)))
    return -1;
  return line->copy_fd = world->next_fd++;
}

void pg_socket_half_close(int fd) {
  struct pg_conn *line = line_by_fd(world_current(), fd);
  must(line && line->copy_fd == fd, "fd %d isn't a copy", fd);
  if (!line)
    return;
  line->is_half_closed = true;
  if (line->is_finished)
    server_sees_end(line);
}

bool pg_socket_is_over(int fd) {
  struct pg_conn *line = line_by_fd(world_current(), fd);
  must(line && line->copy_fd == fd, "fd %d isn't a copy", fd);
  while (line && line->arrived < line->item_count) {
    const struct item *item = &line->items[line->arrived];
    if (item->at_us > line->world->now_us)
      return false;
    if (item->kind == ITEM_FIN)
      return true;
    line->arrived++;
  }
  return false;
}

void pg_socket_close(int fd) {
  struct world *world = world_current();
  struct pg_conn *line = line_by_fd(world, fd);
  must(line && line->copy_fd == fd, "fd %d isn't a copy", fd);
  if (!line)
    return;
  bool is_over = pg_socket_is_over(fd);
  trace(world, "connection %u is let go of, %s", line->number, is_over ? "over" : "not over");
  must(is_over || line_is_forgotten(line), "connection %u is let go of before the server's end",
       line->number);
  if (!is_over && !(world->is_draining && world->now_us >= world->drain_deadline_us))
    world->memory.timeouts++;
  line->copy_fd = -1;
  server_sees_end(line);
}
