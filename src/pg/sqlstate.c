#include "pg/internal.h"

#include <ctype.h>
#include <string.h>

/* The first row whose prefix fits decides, so a code stands above its class. The labels are those
 * of metrics. */
static const struct {
  const char prefix[8];
  const char *label;
  enum error_code code;
} codes[] = {
    {"23505", "23505", ERR_ALREADY_EXISTS},
    {"22", "22xxx", ERR_INVALID_ARGUMENT},
    {"23", "23xxx", ERR_INVALID_ARGUMENT},
    {"57014", "57014", ERR_TIMEOUT}, /* statement_timeout: nothing of ours sends cancels */
    {"57", "57xxx", ERR_UNAVAILABLE},
    {"08", "08xxx", ERR_UNAVAILABLE},
    {"25P", "25Pxx", ERR_UNAVAILABLE},   /* a time-out of the server's ended the session */
    {"42P05", "42P05", ERR_UNAVAILABLE}, /* a prepared statement's name is taken: made anew */
    {"25006", "25006",
     ERR_UNAVAILABLE},                /* a demoted primary: another connection may find the new */
    {"26", "26xxx", ERR_UNAVAILABLE}, /* a prepared statement went; it is made on next use */
    {"40", "40xxx", ERR_UNAVAILABLE}, /* serialization failure, deadlock: it may succeed again */
    {"53300", "53300", ERR_UNAVAILABLE},
    {"53100", "53100", ERR_EXHAUSTED}, /* no room on the disk */
    {"53200", "53200", ERR_EXHAUSTED}, /* no memory */
    {"53", "53xxx", ERR_EXHAUSTED},
    {"55P03", "55P03", ERR_UNAVAILABLE}, /* lock_timeout */
    {"58", "58xxx", ERR_UNAVAILABLE},
    {"0A", "0Axxx", ERR_UNSUPPORTED},
    {"28", "28xxx", ERR_FAILED_PRECONDITION},
    {"3D", "3Dxxx", ERR_FAILED_PRECONDITION},
    {"3F", "3Fxxx", ERR_FAILED_PRECONDITION},
    {"42501", "42501", ERR_FAILED_PRECONDITION}, /* no right to it */
    {"42703", "42703",
     ERR_FAILED_PRECONDITION}, /* no such column, function, table: another schema */
    {"42883", "42883", ERR_FAILED_PRECONDITION},
    {"42P01", "42P01", ERR_FAILED_PRECONDITION},
    {PG_REFUSAL_LOST, PG_REFUSAL_LOST, ERR_UNAVAILABLE},
    {PG_REFUSAL_TIMEOUT, PG_REFUSAL_TIMEOUT, ERR_TIMEOUT},
    {"", "other", ERR_INTERNAL},
};

enum { CODE_COUNT = sizeof(codes) / sizeof(codes[0]) };
static_assert((int)CODE_COUNT <= (int)PG_REFUSAL_LABELS_MAX, "a counter for each label");

int pg_refusal_label_count(void) {
  return CODE_COUNT;
}

const char *pg_refusal_label(int index) {
  return codes[index].label;
}

int pg_refusal_label_of(const char *sqlstate) {
  int i = 0;
  while (strncmp(sqlstate, codes[i].prefix, strlen(codes[i].prefix)) != 0)
    i++;
  return i;
}

enum error_code pg_error_code(const char *sqlstate) {
  if (sqlstate[0] == '\0')
    return ERR_UNAVAILABLE;
  return codes[pg_refusal_label_of(sqlstate)].code;
}

enum pg_close_reason pg_sqlstate_farewell(const char *sqlstate) {
  static const struct {
    const char sqlstate[6];
    enum pg_close_reason reason;
  } farewells[] = {
      {"57P01", PG_CLOSE_SERVER_SHUTDOWN}, {"57P02", PG_CLOSE_SERVER_SHUTDOWN},
      {"57P05", PG_CLOSE_SERVER_IDLE},     {"25P03", PG_CLOSE_SERVER_IDLE},
      {"25006", PG_CLOSE_READ_ONLY},
  };
  for (size_t i = 0; i < sizeof(farewells) / sizeof(farewells[0]); i++) {
    if (strcmp(farewells[i].sqlstate, sqlstate) == 0)
      return farewells[i].reason;
  }
  return PG_CLOSE_BROKEN;
}

/* The first row that fits decides. Where no SQLSTATE came, libpq's own words are all there is. */
static const struct {
  const char *sqlstate; /* a prefix; NULL: none came */
  const char *words;    /* NULL: any */
  enum pg_dial_failure failure;
} dial_failures[] = {
    {"53300", NULL, PG_DIAL_TOO_MANY},
    {"57P03", NULL, PG_DIAL_STARTING},
    {"57P01", NULL, PG_DIAL_STARTING}, /* ended while its session was made: it may be back soon */
    {"28", NULL, PG_DIAL_AUTH},
    {"3D", NULL, PG_DIAL_AUTH},
    {"42501", NULL, PG_DIAL_AUTH},
    {NULL, "password", PG_DIAL_AUTH},
    {NULL, "SSL", PG_DIAL_TLS},
    {NULL, "certificate", PG_DIAL_TLS},
    {NULL, "refused", PG_DIAL_REFUSED},
    {NULL, "unreachable", PG_DIAL_REFUSED},
    {NULL, "No such file", PG_DIAL_REFUSED},
    {NULL, "No route", PG_DIAL_REFUSED},
    {NULL, "reset by peer", PG_DIAL_REFUSED},
    {NULL, "closed the connection", PG_DIAL_REFUSED},
    {NULL, "timed out", PG_DIAL_TIMEOUT},
};

enum pg_dial_failure pg_dial_failure_of(const char *sqlstate, const char *message) {
  for (size_t i = 0; i < sizeof(dial_failures) / sizeof(dial_failures[0]); i++) {
    const char *prefix = dial_failures[i].sqlstate;
    const char *words = dial_failures[i].words;
    bool fits = prefix ? strncmp(sqlstate, prefix, strlen(prefix)) == 0
                       : sqlstate[0] == '\0' && strstr(message, words) != NULL;
    if (fits)
      return dial_failures[i].failure;
  }
  return PG_DIAL_OTHER;
}

static bool is_sqlstate(const char *text) {
  for (int i = 0; i < 5; i++) {
    if (!isdigit((unsigned char)text[i]) && !(text[i] >= 'A' && text[i] <= 'Z'))
      return false;
  }
  return text[5] == ':';
}

void pg_sqlstate_of_message(const char *message, char ret_sqlstate[6]) {
  /* "FATAL:  28P01: text", the severity in the server's language. One address after another may
   * have failed: the last one counts. */
  ret_sqlstate[0] = '\0';
  for (const char *at = strstr(message, ":  "); at; at = strstr(at + 1, ":  ")) {
    if (!is_sqlstate(at + 3))
      continue;
    memcpy(ret_sqlstate, at + 3, 5);
    ret_sqlstate[5] = '\0';
  }
}

void pg_one_line(const char *message, char *ret_text, size_t size) {
  size_t len = 0;
  while (*message) {
    size_t line = strcspn(message, "\n");
    const char *start = message + strspn(message, " \t");
    size_t shown = start < message + line ? (size_t)(message + line - start) : 0;
    /* Where in the server's source an error arose is of no use to an operator. */
    bool is_noise = strncmp(start, "LOCATION:", 9) == 0;
    if (shown > 0 && !is_noise && len + 2 < size) {
      if (len > 0) {
        ret_text[len++] = ';';
        ret_text[len++] = ' ';
      }
      shown = shown < size - 1 - len ? shown : size - 1 - len;
      memcpy(ret_text + len, start, shown);
      len += shown;
    }
    message += line + (message[line] == '\n');
  }
  ret_text[len] = '\0';
}
