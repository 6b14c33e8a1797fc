/*
 * pages: what operators' tools read over HTTP: /metrics, /livez and /readyz.
 */
#pragma once

#include <stdio.h>

#include "access/access.h"
#include "base/must_check.h"
#include "config/config.h"
#include "grpc/server.h"
#include "ingest/ingest.h"
#include "pg/server_clock.h"
#include "query/service.h"

struct pages;

/* Whose numbers are shown. All are borrowed. */
struct pages_parts {
  const struct config *config;
  const struct pg_pool *pool;
  const struct server_clock *server_clock;
  const struct ingest *ingest;
  const struct query_service *queries;
  const struct ledger_memory *memory;
  const struct grpc_server *server;
  const struct access *access;
};

/* Listens by the http settings, and tells the port by http.port_file; with http.listen off it does
 * neither. /readyz says 503 until pages_set_ready(). */
MUST_CHECK int pages_new(struct pages **ret_pages, struct loop *loop,
                         const struct pages_parts *parts, struct error *err);

/* What /readyz says from now on; `why` is the reason for not being ready, a static text. NULL: the
 * pool's, whichever is the newest. Texts of errors have no place on the page, which everybody may
 * read: they name hosts. */
void pages_set_ready(struct pages *pages, bool is_ready, const char *why);

/* `closed` runs from the loop, when the memory is gone. */
void pages_close(struct pages *pages, loop_task_cb *closed, void *arg);

/* docs/metrics.md */
void pages_print_metrics_reference(FILE *out);
