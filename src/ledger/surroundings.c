#include "ledger/surroundings.h"

#include "ledger/surroundings_sql.h"
#include "pg/binary.h"

#include <stdio.h>
#include <string.h>

/* Kept free for "; and 18446744073709551615 more". */
#define MORE_MAX_BYTES 32

const char *surroundings_fingerprint_sql(void) {
  return surroundings_fingerprint;
}

void surroundings_send(struct pg_lease *conn) {
  static const struct pg_statement statement = {.sql = surroundings_question};
  pg_send(conn, &statement, NULL);
}

/* ---- the text ---- */

/* False: it doesn't fit. The first is cut rather than left out. */
static bool add_finding(struct surroundings *s, size_t *len, struct str finding) {
  const char *separator = *len > 0 ? "; " : "";
  size_t room = sizeof(s->text) - MORE_MAX_BYTES - *len;
  if (strlen(separator) + finding.len >= room && *len > 0)
    return false;
  int written = snprintf(s->text + *len, room, "%s%.*s", separator, (int)finding.len, finding.data);
  *len += (size_t)written < room ? (size_t)written : room - 1;
  return true;
}

static void write_text(const PGresult *result, struct surroundings *s) {
  size_t len = 0;
  int told = 0;
  while (told < s->count && told < PQntuples(result) &&
         add_finding(s, &len, pg_field(result, told, SURROUNDINGS_TEXT)))
    told++;
  if (told < s->count)
    snprintf(s->text + len, sizeof(s->text) - len, "; and %d more", s->count - told);
}

int surroundings_read(const PGresult *result, struct surroundings *ret, struct error *err) {
  struct surroundings s = {.count = 0};
  int64_t count = 0;
  if (PQntuples(result) < 1 || PQnfields(result) != SURROUNDINGS_COLUMNS ||
      !pg_get_int8(pg_field(result, 0, SURROUNDINGS_FINGERPRINT), &s.fingerprint) ||
      !pg_get_int8(pg_field(result, 0, SURROUNDINGS_COUNT), &count) ||
      !pg_get_bool(pg_field(result, 0, SURROUNDINGS_WATCHED), &s.is_watched) ||
      !pg_get_bool(pg_field(result, 0, SURROUNDINGS_BLOCKING), &s.is_blocking))
    return error_set(err, ERR_INTERNAL, "what stands on the tables can't be read");
  s.count = (int)count;
  write_text(result, &s);
  *ret = s;
  return 0;
}
