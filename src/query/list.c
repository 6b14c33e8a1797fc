#include "query/list.h"

#include "ledger/rows.h"
#include "pg/binary.h"

#include <string.h>

enum {
#define MAX_BYTES(name, path, column, max_bytes, required) MAX_##name = (max_bytes),
  EVENT_TEXT_FIELDS(MAX_BYTES)
#undef MAX_BYTES
};

/* The two large texts count by their length, the others together as this much. */
#define ROW_BASE_BYTES 512
#define ROW_MAX_BYTES  (ROW_BASE_BYTES + (int64_t)MAX_EVENT_DATA + MAX_ERROR_MESSAGE)

/* All texts of an event at their largest, and 640 bytes for what isn't a text. */
#define EVENT_MAX_BYTES (640 + EVENT_PRINCIPAL_MAX_BYTES + EVENT_TEXTS_MAX_BYTES)
/* And libpq's, for each value of a row (PGresAttValue). */
#define ROW_MORE_BYTES                                                                             \
  ((size_t)(EVENT_MAX_BYTES - ROW_MAX_BYTES) + 16 * (size_t)(EVENT_COLUMN_COUNT + 5))
_Static_assert(ROW_MAX_BYTES < LIST_ROWS_MAX_BYTES, "each event comes from PostgreSQL");
_Static_assert(EVENT_MAX_BYTES < LIST_PAGE_MAX_BYTES - 1024, "each event fits a page");

/* The structs of one event; its texts stay in the result. */
#define EVENT_ARENA_BYTES 2048
/* Tag and length before each event in the response, and the token behind them. */
#define EVENT_FRAME_BYTES 6
#define TOKEN_FRAME_BYTES (PAGE_TOKEN_TEXT_LEN + 2)

/* ---- the request ---- */

static int effective_page_size(int32_t asked, const struct config_query *config,
                               struct grpc_status **status) {
  if (asked < 0)
    grpc_status_violate(status, "page_size", "must not be negative; %d is", (int)asked);
  if (asked <= 0)
    return config->default_page_size;
  return asked < config->max_page_size ? asked : config->max_page_size;
}

static bool is_newest_first(Auditstore__V1__ListOrder order, struct grpc_status **status) {
  switch (order) {
  case AUDITSTORE__V1__LIST_ORDER__LIST_ORDER_UNSPECIFIED:
  case AUDITSTORE__V1__LIST_ORDER__LIST_ORDER_NEWEST_FIRST:
    return true;
  case AUDITSTORE__V1__LIST_ORDER__LIST_ORDER_OLDEST_FIRST:
    return false;
  default:
    grpc_status_violate(status, "order",
                        "must be 1 (NEWEST_FIRST), 2 (OLDEST_FIRST) or 0 for the first; %d is not",
                        (int)order);
    return true;
  }
}

static void read_token(struct list_query *query, const ProtobufCBinaryData *text,
                       struct grpc_status **status) {
  const char *fault =
      text->len > 0 ? page_token_parse(str_of(text->data, text->len), &query->token) : NULL;
  if (fault)
    grpc_status_violate(status, "page_token", "%s", fault);
}

/* ---- SQL ---- */

/* Goes on behind the last event. Comparing the row alone would be right, but only a bound on
 * event_time itself lets PostgreSQL leave out the partitions that lie before. */
static void add_position(struct list_query *query) {
  const struct page_position *last = &query->token.last;
  bool newest_first = query->token.is_newest_first;
  sql_add(&query->sql, newest_first ? " AND e.event_time <= " : " AND e.event_time >= ");
  sql_add_timestamptz(&query->sql, last->time_us);
  sql_add(&query->sql, " AND (e.event_time, e.ledger_id, e.sequence) ");
  sql_add(&query->sql, newest_first ? "< (" : "> (");
  sql_add_timestamptz(&query->sql, last->time_us);
  sql_add(&query->sql, ", ");
  sql_add_int8(&query->sql, last->ledger_id);
  sql_add(&query->sql, ", ");
  sql_add_int8(&query->sql, last->sequence);
  sql_add(&query->sql, ")");
}

/* A ledger's events stand in the order in which they were written, also those of one time: what
 * ends an operation never stands before what began it. All descending or none, so that the index on
 * these columns serves both. */
static const char *order_of(const struct list_query *query) {
  return query->token.is_newest_first ? "event_time DESC, ledger_id DESC, sequence DESC"
                                      : "event_time, ledger_id, sequence";
}

/* The innermost query finds one event more than fits the page, which says whether another page
 * follows; the outer one cuts off what would be too many bytes. One level of columns and one window
 * function: each more costs as much as finding the events does. */
static void build_sql(struct list_query *query, const Auditstore__V1__EventFilter *filter,
                      bool has_position) {
  struct sql *sql = &query->sql;
  const char *order = order_of(query);
  sql_add(sql, "SELECT * FROM (SELECT p.*, sum((");
  sql_add_int8(sql, ROW_BASE_BYTES);
  sql_add(
      sql,
      " + coalesce(octet_length(event_data), 0) + coalesce(octet_length(error_message), 0))::int4) "
      "OVER (ORDER BY ");
  sql_add(sql, order);
  sql_add(sql, " ROWS UNBOUNDED PRECEDING) AS bytes FROM (SELECT ");
  sql_add(sql, event_row_columns());
  sql_add(sql, " FROM audit_events e WHERE true");
  filter_add_sql(filter, sql);
  if (has_position)
    add_position(query);
  sql_add(sql, " ORDER BY ");
  sql_add(sql, order);
  sql_add(sql, " LIMIT ");
  sql_add_int8(sql, query->page_size + 1);
  sql_add(sql, ") p) q WHERE bytes < ");
  sql_add_int8(sql, LIST_ROWS_MAX_BYTES);
  sql_add(sql, " ORDER BY ");
  sql_add(sql, order);
}

struct grpc_status *list_query_init(struct list_query *query,
                                    const Auditstore__V1__ListEventsRequest *request,
                                    const struct config_query *config) {
  *query = (struct list_query){.page_size = 0};
  struct grpc_status *status = NULL;
  query->page_size = effective_page_size(request->page_size, config, &status);
  query->token.is_newest_first = is_newest_first(request->order, &status);
  filter_check(request->filter, &status);
  filter_fingerprint(request->filter, query->token.filter);
  read_token(query, &request->page_token, &status);
  if (status)
    return status;
  sql_init(&query->sql);
  build_sql(query, request->filter, request->page_token.len > 0);
  return NULL;
}

void list_query_deinit(struct list_query *query) {
  sql_deinit(&query->sql);
}

/* ---- the response ---- */

size_t list_result_bytes(const struct list_query *query) {
  return (size_t)LIST_ROWS_MAX_BYTES + (size_t)(query->page_size + 1) * ROW_MORE_BYTES;
}

size_t list_arena_bytes(const struct list_query *query) {
  return PAGE_TOKEN_TEXT_LEN +
         (size_t)(query->page_size + 1) * (EVENT_ARENA_BYTES + sizeof(void *));
}

struct page {
  Auditstore__V1__StoredEvent **events;
  int count;
  size_t packed_bytes;
  struct page_position last;
};

/* False when the event doesn't fit the page any more. */
static bool page_take(struct page *page, const struct stored_event *stored, struct arena *arena) {
  Auditstore__V1__StoredEvent *message = stored_event_to_proto(stored, arena);
  if (!message)
    return false;
  size_t bytes = EVENT_FRAME_BYTES + auditstore__v1__stored_event__get_packed_size(message);
  if (page->count > 0 && page->packed_bytes + bytes > LIST_PAGE_MAX_BYTES - TOKEN_FRAME_BYTES)
    return false;
  page->packed_bytes += bytes;
  page->events[page->count++] = message;
  page->last = (struct page_position){.time_us = stored->event.time_us,
                                      .ledger_id = stored->place.ledger_id,
                                      .sequence = stored->place.sequence};
  return true;
}

static int page_read(struct page *page, const PGresult *result, int max_rows, struct arena *arena,
                     struct error *err) {
  for (int row = 0; row < max_rows; row++) {
    struct stored_event stored;
    int rc = event_row_read(result, row, &stored, err);
    if (rc < 0)
      return rc;
    if (!page_take(page, &stored, arena))
      return 0;
  }
  return 0;
}

/* Whether the bytes of the rows come so near to the limit that one more may have been cut off. Then
 * the next page may turn out empty, which is rare and harmless; the reverse would lose events. */
static bool may_be_cut(const PGresult *result) {
  int rows = PQntuples(result);
  int column = PQnfields(result) - 1;
  int64_t bytes = 0;
  return rows > 0 && (!pg_get_int8(pg_field(result, rows - 1, column), &bytes) ||
                      bytes + ROW_MAX_BYTES >= LIST_ROWS_MAX_BYTES);
}

static void set_next_token(const struct list_query *query, const struct page *page, char *text,
                           Auditstore__V1__ListEventsResponse *response) {
  struct page_token next = query->token;
  next.last = page->last;
  page_token_format(&next, text);
  response->next_page_token =
      (ProtobufCBinaryData){.len = PAGE_TOKEN_TEXT_LEN, .data = (uint8_t *)text};
}

int list_read(const struct list_query *query, const PGresult *result, struct arena *arena,
              Auditstore__V1__ListEventsResponse *response, struct error *err) {
  int rows = PQntuples(result) < query->page_size ? PQntuples(result) : query->page_size;
  /* Before the events, which may fill the arena and so end the page. */
  char *token_text = arena_alloc(arena, PAGE_TOKEN_TEXT_LEN);
  struct page page = {.events = arena_calloc(arena, (size_t)rows, sizeof(void *))};
  if (!token_text || !page.events)
    return error_set(err, ERR_INTERNAL, "list: no room for %d events", rows);
  int rc = page_read(&page, result, rows, arena, err);
  if (rc < 0)
    return rc;
  if (rows > 0 && page.count == 0)
    return error_set(err, ERR_INTERNAL, "list: no room for one event");
  response->n_events = (size_t)page.count;
  response->events = page.events;
  if (page.count < PQntuples(result) || may_be_cut(result))
    set_next_token(query, &page, token_text, response);
  return 0;
}
