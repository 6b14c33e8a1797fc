#include "pg/session.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "pg/binary.h"
#include "pg/internal.h"

enum {
  VERSION_MIN = 150000,
  PARAMS_MAX_BYTES = 16384,
  PREAMBLE_MAX_BYTES = 16384,
  SPAN_SIZE = 24,
  MS_PER_S = 1000,
  S_PER_MIN = 60,
  MIN_PER_H = 60,
  H_PER_D = 24,
};

/* Parameters of the query. */
enum { PARAM_PID, PARAM_NAMES, PARAM_VALUES, PARAM_GUARDS, PARAM_COUNT };

/* ---- what is asked for ---- */

enum setting_kind {
  SETTING_FIXED,
  SETTING_SPAN,     /* of the pool's settings, at `span` */
  SETTING_COMPUTED, /* by the query */
  SETTING_GUARDED,  /* set where the role may; else warned of */
  SETTING_READ,     /* no session can set it; warned of */
};

struct setting {
  const char *name;
  enum setting_kind kind;
  const char *value; /* FIXED, GUARDED, READ */
  size_t span;
  const char *advice; /* what a warning says */
};

#define SPAN(name, field)                                                                          \
  { name, SETTING_SPAN, NULL, offsetof(struct config_database, field), NULL }
#define FIXED(name, value)                                                                         \
  { name, SETTING_FIXED, value, 0, NULL }

#define ADVICE_BACK                                                                                \
  "take it back: ALTER ROLE, ALTER DATABASE or ALTER SYSTEM, whichever set it, with RESET"

/* search_path comes last: the others' old values are read in the old one. */
static const struct setting settings[] = {
    SPAN("statement_timeout", statement_timeout_us),
    SPAN("lock_timeout", lock_timeout_us),
    SPAN("idle_in_transaction_session_timeout", idle_in_transaction_timeout_us),
    SPAN("client_connection_check_interval", client_check_interval_us),
    FIXED("idle_session_timeout", "0"),
    FIXED("transaction_timeout", "0"), /* PostgreSQL 17 and later */
    FIXED("client_encoding", "UTF8"),
    FIXED("standard_conforming_strings", "on"),
    FIXED("TimeZone", "UTC"),
    FIXED("DateStyle", "ISO, MDY"),
    FIXED("IntervalStyle", "postgres"),
    FIXED("bytea_output", "hex"),
    /* A policy on a table of ours makes errors, and never hides rows, unless it is meant to. */
    {"row_security", SETTING_FIXED, "off", 0,
     "policies may hide events, as row_security is on for this role or database; " ADVICE_BACK},
    /* The word that a commit isn't on the standby is a WARNING. */
    FIXED("client_min_messages", "warning"),
    FIXED("default_transaction_isolation", "read committed"),
    FIXED("default_transaction_deferrable", "off"),
    /* A statement that is refused must not end the session. */
    FIXED("exit_on_error", "off"),
    {"session_replication_role", SETTING_GUARDED, "origin", 0,
     "triggers and foreign keys don't hold in these sessions; " ADVICE_BACK},
    {"zero_damaged_pages", SETTING_GUARDED, "off", 0,
     "damaged pages are read as empty ones; " ADVICE_BACK},
    {"ignore_checksum_failure", SETTING_GUARDED, "off", 0,
     "damaged pages are read as sound ones; " ADVICE_BACK},
    {"default_transaction_read_only", SETTING_READ, "off", 0,
     "every write is refused; " ADVICE_BACK},
    {"fsync", SETTING_READ, "on", 0,
     "what is acknowledged is lost when the server's machine stops; set it on in postgresql.conf"},
    {"full_page_writes", SETTING_READ, "on", 0,
     "pages torn by a crash can't be mended; set it on in postgresql.conf"},
    {"synchronous_commit", SETTING_COMPUTED, NULL, 0,
     "commits would not wait for the disk: it is set on in this daemon's sessions; set it on for "
     "the role, too"},
    {"search_path", SETTING_COMPUTED, NULL, 0, NULL},
};

enum {
  SETTING_COUNT = sizeof(settings) / sizeof(settings[0]),
  TOLD_CLOSED = SETTING_COUNT, /* a store that the role may not use */
};

static_assert((int)TOLD_CLOSED < (int)PG_SESSION_TOLD_MAX, "a place for each warning");

/* As the server writes it: in the largest unit that divides it. */
static void format_span(int64_t us, char ret_text[SPAN_SIZE]) {
  static const struct {
    const char *name;
    int64_t of_next; /* how many make one of the next */
  } units[] = {{"ms", MS_PER_S}, {"s", S_PER_MIN}, {"min", MIN_PER_H}, {"h", H_PER_D}, {"d", 0}};
  int64_t count = us / CLOCK_US_PER_MS;
  size_t i = 0;
  for (; count > 0 && units[i].of_next > 0 && count % units[i].of_next == 0; i++)
    count /= units[i].of_next;
  snprintf(ret_text, SPAN_SIZE, "%" PRId64 "%s", count, count == 0 ? "" : units[i].name);
}

static void put_value(struct buf *out, const struct setting *setting,
                      const struct config_database *config) {
  char text[SPAN_SIZE];
  int64_t span_us = 0;
  switch (setting->kind) {
  case SETTING_SPAN:
    memcpy(&span_us, (const char *)config + setting->span, sizeof(span_us));
    format_span(span_us, text);
    pg_put_text(out, str_z(text));
    break;
  case SETTING_FIXED:
  case SETTING_GUARDED:
    pg_put_text(out, str_z(setting->value));
    break;
  default:
    pg_put_null(out);
    break;
  }
}

/* ---- the query ---- */

/* Everything is named with its schema, because the path isn't ours yet and temporary tables come
 * before all others in it. No string has a backslash: what it means isn't ours yet either.
 *
 * The path without a store is left as it is, but for temporary tables, which go to its end; a path
 * in which nothing could be made keeps that property. */
static const struct pg_statement session_statement = {
    .sql =
        "WITH stores AS MATERIALIZED ("
        "  SELECT n.nspname::pg_catalog.text AS name,"
        "         pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS is_open,"
        "         pg_catalog.array_position(pg_catalog.current_schemas(false), n.nspname) AS place"
        "    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        "   WHERE c.relname = 'ledger_batches' AND c.relkind IN ('r', 'p')"
        "     AND c.relpersistence <> 't'),"
        " store AS MATERIALIZED ("
        "  SELECT (SELECT s.name FROM stores s WHERE s.is_open AND (s.place IS NOT NULL"
        "            OR 1 = (SELECT pg_catalog.count(*) FROM stores o WHERE o.is_open))"
        "           ORDER BY s.place LIMIT 1) AS chosen,"
        "         (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(s.name), ', ' ORDER BY "
        "                   s.name) FROM stores s WHERE s.is_open) AS open,"
        "         (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(s.name), ', ' ORDER BY "
        "                   s.name) FROM stores s WHERE NOT s.is_open) AS closed,"
        "         EXISTS (SELECT FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) p(name)"
        "                  WHERE NOT pg_catalog.starts_with(p.name::pg_catalog.text, 'pg_temp_'))"
        "           AS has_place),"
        " wanted AS MATERIALIZED ("
        "  SELECT w.name, pg_catalog.current_setting(w.name, true) AS was, w.value, w.is_guarded"
        "    FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4))"
        "         AS w(name, value, is_guarded)),"
        " asked AS MATERIALIZED ("
        "  SELECT w.name, w.was, CASE"
        "    WHEN w.name = 'search_path' THEN CASE"
        "      WHEN store.chosen IS NOT NULL"
        "      THEN pg_catalog.quote_ident(store.chosen) || ', pg_temp'"
        "      WHEN store.open IS NULL AND store.has_place"
        "      THEN pg_catalog.ltrim(pg_catalog.regexp_replace(w.was,"
        "             '(^|,) *\"?pg_temp\"? *(?=,|$)', '', 'g'), ', ') || ', pg_temp' END"
        "    WHEN w.name = 'row_security' AND EXISTS ("
        "           SELECT FROM pg_catalog.pg_db_role_setting r"
        "            WHERE r.setrole IN (0, (SELECT u.oid FROM pg_catalog.pg_roles u"
        "                                     WHERE u.rolname = session_user))"
        "              AND r.setdatabase IN (0, (SELECT d.oid FROM pg_catalog.pg_database d"
        "                              WHERE d.datname = pg_catalog.current_database()))"
        "              AND 'row_security=on' = ANY (r.setconfig)) THEN NULL"
        "    WHEN w.name = 'synchronous_commit'"
        "    THEN CASE w.was WHEN 'off' THEN 'on' ELSE w.was END"
        "    WHEN NOT w.is_guarded OR (w.was <> w.value"
        "           AND pg_catalog.has_parameter_privilege(w.name, 'SET'))"
        "    THEN w.value END AS value"
        "    FROM wanted w, store)"
        " SELECT a.name, a.was, a.value, CASE WHEN a.value IS NULL OR a.was IS NULL THEN a.was"
        "          ELSE pg_catalog.set_config(a.name, a.value, pg_catalog.pg_backend_pid() <> $1)"
        "          END, pg_catalog.pg_backend_pid(), store.chosen, store.open, store.closed"
        "   FROM asked a, store",
    .param_count = PARAM_COUNT,
    .param_types = (const Oid[]){PG_INT4, PG_TEXT_ARRAY, PG_TEXT_ARRAY, PG_BOOL_ARRAY},
};

enum {
  COLUMN_NAME,
  COLUMN_WAS,
  COLUMN_ASKED,
  COLUMN_NOW,
  COLUMN_PID,
  COLUMN_CHOSEN,
  COLUMN_OPEN,
  COLUMN_CLOSED
};

static void put_arrays(const struct config_database *config, struct buf *names, struct buf *values,
                       struct buf *guards) {
  pg_put_array(names, PG_TEXT, SETTING_COUNT, false);
  pg_put_array(values, PG_TEXT, SETTING_COUNT, true);
  pg_put_array(guards, PG_BOOL, SETTING_COUNT, false);
  for (int i = 0; i < SETTING_COUNT; i++) {
    pg_put_text(names, str_z(settings[i].name));
    put_value(values, &settings[i], config);
    pg_put_bool(guards, settings[i].kind == SETTING_GUARDED);
  }
}

static void ask(struct pg_lease *conn) {
  struct buf params[PARAM_COUNT];
  const char *values[PARAM_COUNT];
  int lengths[PARAM_COUNT];
  for (int i = 0; i < PARAM_COUNT; i++)
    buf_init(&params[i], PARAMS_MAX_BYTES);
  buf_append_be32(&params[PARAM_PID], (uint32_t)PQbackendPID(conn->pq));
  put_arrays(conn->pool->config, &params[PARAM_NAMES], &params[PARAM_VALUES],
             &params[PARAM_GUARDS]);
  for (int i = 0; i < PARAM_COUNT; i++) {
    values[i] = (const char *)buf_bytes(&params[i]);
    lengths[i] = (int)buf_len(&params[i]);
  }
  const struct pg_params sent = {.values = values, .lengths = lengths};
  pg_send(conn, &session_statement, &sent);
  for (int i = 0; i < PARAM_COUNT; i++)
    buf_deinit(&params[i]);
}

/* ---- the answer ---- */

/* Borrowed from the result, in which a NUL stands behind each text. */
struct answer {
  const struct setting *setting;
  const char *was;
  const char *asked; /* "": it was left as it is */
  const char *now;
};

static const struct setting *find_setting(const char *name) {
  for (int i = 0; i < SETTING_COUNT; i++) {
    if (strcmp(name, settings[i].name) == 0)
      return &settings[i];
  }
  return NULL;
}

/* False: the server doesn't know this setting, which then does nothing either. */
static bool read_answer(const PGresult *result, int row, struct answer *ret_answer) {
  ret_answer->setting = find_setting(PQgetvalue(result, row, COLUMN_NAME));
  if (!ret_answer->setting || PQgetisnull(result, row, COLUMN_WAS))
    return false;
  ret_answer->was = PQgetvalue(result, row, COLUMN_WAS);
  ret_answer->asked = PQgetvalue(result, row, COLUMN_ASKED);
  ret_answer->now = PQgetvalue(result, row, COLUMN_NOW);
  return true;
}

/* ---- judging ---- */

/* `value` "": there is nothing to warn of. */
static void warn_once(struct pg_pool *pool, int place, const char *name, const char *value,
                      const char *advice) {
  char *told = pool->sessions.told[place];
  if (strncmp(told, value, PG_SESSION_TOLD_SIZE - 1) == 0)
    return;
  snprintf(told, PG_SESSION_TOLD_SIZE, "%s", value);
  if (value[0])
    log_warn("database setting", KV("setting", name), KV("value", value), KV("advice", advice));
}

static const char *bad_value(const struct answer *answer) {
  const struct setting *setting = answer->setting;
  if (setting->kind == SETTING_COMPUTED)
    return strcmp(answer->was, "off") == 0 ? answer->was : "";
  return strcmp(answer->now, setting->value) == 0 ? "" : answer->now;
}

static void judge(struct pg_lease *conn, const struct answer *answer) {
  const struct setting *setting = answer->setting;
  if (setting->advice)
    warn_once(conn->pool, (int)(setting - settings), setting->name, bad_value(answer),
              setting->advice);
  if (answer->asked[0] && strcmp(answer->asked, answer->now) != 0)
    error_set(&conn->session.refusal, ERR_UNAVAILABLE,
              "the server answers \"%s\" when %s is set to \"%s\"", answer->now, setting->name,
              answer->asked);
}

static void judge_stores(struct pg_lease *conn, const PGresult *result) {
  const char *open = PQgetvalue(result, 0, COLUMN_OPEN);
  const char *closed = PQgetvalue(result, 0, COLUMN_CLOSED);
  if (open[0] && PQgetisnull(result, 0, COLUMN_CHOSEN))
    error_set(&conn->session.refusal, ERR_UNAVAILABLE,
              "there are stores in several schemas (%s), and the search path names none of them: "
              "ALTER ROLE %s SET search_path = the one that is meant",
              open, conn->pool->config->user);
  warn_once(conn->pool, TOLD_CLOSED, "search_path", open[0] ? "" : closed,
            "this schema has a store that the role may not use: GRANT USAGE ON SCHEMA to it, if "
            "that is the one");
}

/* ---- what is kept of it ---- */

/* Right whatever standard_conforming_strings is. */
static bool append_literal(struct buf *out, const char *text) {
  bool ok = buf_append_str(out, "E'");
  for (; ok && *text; text++) {
    if (*text == '\'' || *text == '\\')
      ok = buf_append(out, text, 1);
    ok = ok && buf_append(out, text, 1);
  }
  return ok && buf_append_str(out, "'");
}

static bool add_to_preamble(struct buf *preamble, const struct answer *answer) {
  return buf_append_str(preamble, buf_len(preamble) > 0 ? ", " : "SELECT ") &&
         buf_append_str(preamble, "pg_catalog.set_config(") &&
         append_literal(preamble, answer->setting->name) && buf_append_str(preamble, ", ") &&
         append_literal(preamble, answer->now) && buf_append_str(preamble, ", true)");
}

static void make_preamble(struct pg_lease *conn, const PGresult *result) {
  struct buf preamble;
  struct answer answer;
  bool fits = true;
  buf_init(&preamble, PREAMBLE_MAX_BYTES);
  for (int row = 0; fits && row < PQntuples(result); row++) {
    if (read_answer(result, row, &answer) && answer.asked[0])
      fits = add_to_preamble(&preamble, &answer);
  }
  if (fits && buf_append(&preamble, "", 1)) {
    conn->session.preamble = xmalloc(buf_len(&preamble));
    memcpy(conn->session.preamble, buf_bytes(&preamble), buf_len(&preamble));
  } else {
    error_set(&conn->session.refusal, ERR_UNAVAILABLE,
              "the search path is too long to be set in each transaction, as a pooler needs it");
  }
  buf_deinit(&preamble);
}

static void add_fact(struct pg_session_facts *facts, const struct answer *answer) {
  size_t len = strlen(facts->settings);
  snprintf(facts->settings + len, sizeof(facts->settings) - len, "%s%s %s", len > 0 ? "; " : "",
           answer->setting->name, answer->now);
}

static void note_pooler(struct pg_lease *conn) {
  struct pg_pool *pool = conn->pool;
  if (!conn->session.is_pooled) {
    pool->sessions.is_pooler_told = false;
    return;
  }
  if (pool->sessions.is_pooler_told)
    return;
  pool->sessions.is_pooler_told = true;
  log_info("a pooler stands before the database", KV("settings", "made in each transaction anew"),
           KV("prepared_statements",
              pool->config->prepared_statements ? "on in the settings, not used" : "off"));
}

static void on_result(void *arg, int statement, const PGresult *result) {
  struct pg_lease *conn = arg;
  struct pg_session_facts *facts = &conn->pool->counters.session;
  struct answer answer;
  int32_t pid = 0;
  (void)statement;
  if (PQntuples(result) == 0 || !pg_get_int4(pg_field(result, 0, COLUMN_PID), &pid))
    return;
  conn->session.refusal.code = ERR_OK;
  conn->session.is_pooled = pid != PQbackendPID(conn->pq);
  *facts = (struct pg_session_facts){.is_pooled = conn->session.is_pooled};
  for (int row = 0; row < PQntuples(result); row++) {
    if (!read_answer(result, row, &answer))
      continue;
    judge(conn, &answer);
    add_fact(facts, &answer);
  }
  judge_stores(conn, result);
  note_pooler(conn);
  if (conn->session.is_pooled)
    make_preamble(conn, result);
}

/* ---- the step ---- */

static void on_done(void *arg, const struct pg_outcome *outcome) {
  struct pg_lease *conn = arg;
  memcpy(conn->sqlstate, outcome->sqlstate, sizeof(conn->sqlstate));
  if (outcome->kind != PG_OK)
    pg_dial_fail(conn, pg_dial_failure_of(outcome->sqlstate, outcome->err.text), &outcome->err);
  else if (conn->session.refusal.code != ERR_OK)
    pg_dial_fail(conn, PG_DIAL_SESSION, &conn->session.refusal);
  else if (conn->session.is_pooled)
    pg_pooler_probe(conn);
  else
    pg_dial_settle(conn);
}

void pg_session_start(struct pg_lease *conn) {
  static const struct pg_pipeline_cb cb = {.on_result = on_result, .on_done = on_done};
  pg_conn_set_state(conn, CONN_SETTING);
  /* The check of the schema says it better. */
  if (PQserverVersion(conn->pq) < VERSION_MIN) {
    pg_dial_settle(conn);
    return;
  }
  error_set(&conn->session.refusal, ERR_UNAVAILABLE, "the server doesn't tell its settings");
  ask(conn);
  pg_run(conn, pg_dial_deadline(conn), &cb, conn);
  /* The dial's limit alone: statement_timeout is for statements of the users. */
  if (conn->pipeline.phase == PIPELINE_RUNNING)
    pg_conn_arm(conn, pg_dial_deadline(conn));
}

void pg_session_reset(struct pg_lease *conn) {
  free(conn->session.preamble);
  conn->session = (struct pg_session){0};
}

void pg_session_forget(struct pg_pool *pool) {
  pool->sessions = (struct pg_session_memory){0};
}
