"""What may be wrong with the pool, and the tests that should notice.

`old` must stand once in src/FILE; `new` takes its place.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    name: str
    file: str
    old: str
    new: str
    tests: tuple


MODEL = ("model",)

MUTATIONS = [
    # ---- limits ----
    Mutation("a literal 25 in place of max_open_conns", "pg/governor.c",
             "int max = pool->config->max_open_conns;\n  if (!has_ceiling",
             "int max = 25;\n  if (!has_ceiling",
             ("model", "test_pool", "test_pool_settings.py MaxOpenTest",
              "test_pool_reload.py -k say_the_same")),
    Mutation("a slot is free before the server's end", "pg/conn.c",
             "  if (fd < 0) {\n    become_empty(conn);\n    return;\n  }\n"
             "  pg_conn_set_state(conn, CONN_CLOSING);",
             "  pg_conn_set_state(conn, CONN_CLOSING);\n  if (fd < 0 || copy >= 0) {\n"
             "    if (copy >= 0)\n      pg_socket_close(copy);\n"
             "    become_empty(conn);\n    return;\n  }",
             ("model", "test_pool")),
    Mutation("the close isn't told to the server", "pg/conn.c",
             "  pg_socket_half_close(copy);\n", "", MODEL),
    Mutation("max_idle_conns is ignored", "pg/upkeep.c",
             "for (; surplus > 0 &&", "for (surplus = 0; surplus > 0 &&",
             ("model", "test_pool_idle")),
    Mutation("idle_shrink_delay is ignored", "pg/upkeep.c",
             "return pool->config->idle_shrink_delay_us != CLOCK_NEVER;",
             "return pool->config->idle_shrink_delay_us == 0;",
             ("model", "test_pool_idle")),
    Mutation("min_idle_conns is ignored", "pg/governor.c",
             "int demand = (waiting > 0 ? waiting : 0) + (lacking > 0 ? lacking : 0);",
             "int demand = (waiting > 0 ? waiting : 0) + (lacking > 0 ? 0 : 0);",
             ("model", "test_pool_settings")),
    Mutation("conn_max_lifetime is ignored", "pg/conn.c",
             "else if (now_us >= conn->die_at_us)", "else if (now_us == 0)",
             ("model", "test_pool_idle")),
    Mutation("jitter is drawn anew at each return", "pg/pool.c",
             "  conn->idle_since_us = now_us;\n",
             "  conn->idle_since_us = now_us;\n"
             "  conn->jitter_share = random_below(PG_JITTER_SHARES);\n"
             "  pg_conn_set_death(conn);\n", MODEL),
    Mutation("jitter is added to the lifetime", "pg/conn.c",
             "config->conn_max_lifetime_us - (int64_t)early_us",
             "config->conn_max_lifetime_us + (int64_t)early_us", MODEL),
    Mutation("conn_max_idle_time is ignored", "pg/upkeep.c",
             "return deadline_after(conn->idle_since_us, conn->pool->config->conn_max_idle_time_us);",
             "return deadline_after(conn->idle_since_us, CLOCK_NEVER);",
             ("model", "test_pool_idle")),
    Mutation("max_connecting is ignored", "pg/governor.c",
             "return governor->allowed < max ? governor->allowed : max;",
             "return governor->allowed < max ? governor->allowed : max + 100;",
             ("model", "test_pool")),
    Mutation("a reload is ignored", "pg/pool.c",
             "void pg_pool_reload(struct pg_pool *pool) {\n",
             "void pg_pool_reload(struct pg_pool *pool) {\n"
             "  if (pool->config)\n    return;\n",
             ("model", "test_pool_settings")),
    Mutation("a lowered limit keeps what is idle", "pg/conn.c",
             "else if (is_above_max_open(pool))", "else if (pool == NULL)",
             ("model", "test_pool_settings")),
    # ---- waiters ----
    Mutation("the queue is served from its end", "pg/waiters.c",
             "  waiter->list = to;\n  if (to)\n    list_push_back(to, &waiter->link);",
             "  waiter->list = to;\n  if (to)\n    list_push_front(to, &waiter->link);",
             ("model", "test_pool")),
    Mutation("a request overtakes the queue", "pg/pool.c",
             "waiters->queued.count == 0 ? find_idle(pool, now_us) : NULL;",
             "find_idle(pool, now_us);",
             MODEL),
    Mutation("a waiter's deadline is ignored", "pg/waiters.c",
             "if (now_us < waiters->deadline_us)\n    return;",
             "if (now_us < CLOCK_NEVER)\n    return;", ("model", "test_pool")),
    Mutation("acquire_timeout is ignored", "pg/pool.c",
             "deadline_min(deadline_us, deadline_after(now_us, pool->config->acquire_timeout_us));",
             "deadline_us;", ("model", "test_pool")),
    Mutation("max_waiters is ignored", "pg/pool.c",
             "waiters->queued.count >= (size_t)pool->config->max_waiters",
             "waiters->queued.count >= 1000000", ("model", "test_pool")),
    Mutation("a cancelled request keeps its connection", "pg/pool.c",
             "  if (conn)\n    pg_release(conn);\n}", "  (void)conn;\n}", MODEL),
    Mutation("answers come inside the call", "pg/pool.c",
             "  settle_or_queue(pool, waiter, now_us);\n",
             "  settle_or_queue(pool, waiter, now_us);\n  pg_waiters_deliver(pool);\n", MODEL),
    # ---- which connections are lent ----
    Mutation("the connection unused for longest is used next", "pg/conn.c",
             "  if (next == CONN_IDLE)\n    list_push_front",
             "  if (next == CONN_EMPTY)\n    list_push_front", ("test_pool",)),
    Mutation("notices are ignored", "pg/dial.c",
             "  if (!sqlstate)\n    return;\n  /* While nothing",
             "  if (conn)\n    return;\n  /* While nothing", ("model", "test_pool_idle")),
    Mutation("the generation isn't bumped", "pg/conn.c",
             "  pool->generation++;\n  pg_upkeep_soon", "  pg_upkeep_soon",
             ("model", "test_pool_idle")),
    Mutation("a read-only answer means nothing", "pg/sqlstate.c",
             '{"25006", PG_CLOSE_READ_ONLY},', "", ("model",)),
    Mutation("a socket isn't looked at before it is lent", "pg/pool.c",
             "      if (pg_conn_probe(conn))\n        return conn;",
             "      return conn;", ("model", "test_pool_idle")),
    Mutation("idle connections aren't watched", "pg/dial.c",
             "!pg_conn_watch(conn, UV_READABLE)) {", "conn->state == CONN_EMPTY) {\n",
             ("model", "test_pool_idle")),
    Mutation("validate_after_idle is ignored", "pg/conn.c",
             "return now_us >= deadline_after(conn->idle_since_us,",
             "return now_us > CLOCK_NEVER - 1 && now_us >= deadline_after(conn->idle_since_us,",
             ("model", "test_pool_settings")),
    Mutation("a ping's result is ignored", "pg/ping.c",
             "if (outcome->kind == PG_OK) {", "if (outcome->kind != PG_REFUSED) {", MODEL),
    Mutation("a lease is kept amid a pipeline", "pg/pool.c",
             "else if (!conn->is_dead && conn->pipeline.phase != PIPELINE_NONE)",
             "else if (!conn->is_dead && conn->pipeline.phase == PIPELINE_QUEUING)",
             MODEL),
    # ---- dials ----
    Mutation("retries without a pause", "pg/governor.c",
             "governor->next_dial_at_us = deadline_after(now_us, draw_backoff(pool, why));",
             "governor->next_dial_at_us = deadline_after(now_us, 0 * draw_backoff(pool, why));", MODEL),
    Mutation("pauses don't grow", "pg/governor.c", "span_us *= 2;", "span_us *= 1, i += 1;", MODEL),
    Mutation("a refused log-in is tried again soon", "pg/governor.c",
             "if (why == PG_DIAL_AUTH)", "if (why == PG_DIAL_STARTING)", MODEL),
    Mutation("all dial after a failure", "pg/governor.c",
             "return demand > 0 || is_down(pool) ? 1 : 0;",
             "return demand > 0 || is_down(pool) ? 3 : 0;", MODEL),
    Mutation("the ceiling is ignored", "pg/governor.c",
             "return pool->governor.probe_at_us != CLOCK_NEVER && pg_pool_open(pool) > 0;",
             "return pool->governor.probe_at_us == 0 && pg_pool_open(pool) > 0;",
             ("model", "test_pool_settings")),
    Mutation("fail_fast_after is ignored", "pg/governor.c",
             "return now_us >= fails_fast_at(pool);",
             "return now_us == CLOCK_NEVER && now_us >= fails_fast_at(pool);",
             ("model", "test_pool_dial")),
    Mutation("connect_timeout is ignored", "pg/dial.c",
             "  pg_conn_arm(conn, deadline_after(conn->dialed_us, pool->config->connect_timeout_us));\n",
             "", ("model", "test_pool_dial")),
    Mutation("a dial's socket is watched on under its number", "pg/dial.c",
             "  if (conn->watch)\n    pg_watch_stop(conn->watch);\n", "",
             MODEL),
    # ---- pipelines ----
    Mutation("output isn't flushed", "pg/pipeline.c",
             "int left = PQflush(conn->pq);", "int left = 0;", ("model", "test_pipeline")),
    Mutation("success is told before the sync", "pg/results.c",
             "  bool is_prepare = entry && entry->is_prepare;\n",
             "  bool is_prepare = entry && entry->is_prepare;\n"
             "  if (!is_prepare && pipeline->phase == PIPELINE_RUNNING &&\n"
             "      pipeline->entry == pipeline->entry_count - 1) {\n"
             "    pg_pipeline_finish(conn, PG_OK);\n    return;\n  }\n",
             ("model", "test_pipeline")),
    Mutation("a pipeline has no deadline", "pg/pipeline.c",
             "  pg_conn_arm(conn, deadline_min(deadline_us, limit_us));\n",
             "  (void)limit_us;\n", ("model", "test_pipeline")),
    Mutation("a COPY is read on and on", "pg/results.c",
             '    pg_pipeline_lose(conn, ERR_INTERNAL, "a statement began a COPY, which',
             '    if (!entry)\n      pg_pipeline_lose(conn, ERR_INTERNAL, "a statement began a COPY, which',
             MODEL),
    Mutation("a transaction left open isn't noticed", "pg/results.c",
             "if (PQtransactionStatus(conn->pq) != PQTRANS_IDLE)",
             "if (PQtransactionStatus(conn->pq) == PQTRANS_ACTIVE)",
             ("model", "test_pipeline")),
    # ---- the end ----
    Mutation("a drain doesn't await the leases", "pg/pool.c",
             "  int left = pg_pool_occupied(pool);\n", "  int left = 0;\n",
             ("model", "test_pool")),
    Mutation("a drain has no deadline", "pg/pool.c",
             "  if (now_us < pool->drain_deadline_us)\n    return;\n",
             "  if (now_us < CLOCK_NEVER)\n    return;\n", ("model", "test_pool")),
    # ---- settings ----
    Mutation("unknown keys are ignored", "config/load.c",
             '    problem(l, s->line, "%.*s.%.*s: unknown key%s"',
             '    if (s->line < 0)\n      problem(l, s->line, "%.*s.%.*s: unknown key%s"',
             ("test_config", "test_config_file.py -k misspelled")),
]
