#include <stdio.h>
#include <string.h>

#include "pg/internal.h"

/* The first row that fits decides; none names anything of the operator's. */
static const struct {
  const char *sqlstate; /* a prefix */
  const char *words;
} answers[] = {
    {"28P01", "it refuses the password"},
    {"28", "it refuses the log-in"},
    {"3D000", "it has no such database"},
    {"42501", "the role may not use the database"},
    {"57P03", "it is starting up or shutting down"},
    {"57P01", "it is shutting down"},
    {"53300", "it has no connection left"},
    {"53100", "its disk is full"},
    {"53200", "it is out of memory"},
    {"53", "it has no room left"},
    {"58", "its machine or disk fails"},
    {"XX", "something in it is broken"},
};

static const char *const failures[PG_DIAL_FAILURE_COUNT] = {
    [PG_DIAL_REFUSED] = "nobody listens where it is looked for",
    [PG_DIAL_TIMEOUT] = "no answer within database.connect_timeout",
    [PG_DIAL_DNS] = "its host's name can't be looked up",
    [PG_DIAL_TLS] = "TLS with it fails",
    [PG_DIAL_AUTH] = "no log-in is possible",
    [PG_DIAL_TOO_MANY] = "it has no connection left",
    [PG_DIAL_STARTING] = "it is starting up or shutting down",
    [PG_DIAL_SESSION] = "its sessions aren't as they must be",
    [PG_DIAL_OTHER] = "connecting fails",
};

static const char *words_of(const char *sqlstate) {
  for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
    if (strncmp(sqlstate, answers[i].sqlstate, strlen(answers[i].sqlstate)) == 0)
      return answers[i].words;
  }
  return NULL;
}

bool pg_pool_reason(const struct pg_pool *pool, char ret_text[PG_REASON_SIZE]) {
  const struct governor *governor = &pool->governor;
  const char *words = words_of(governor->sqlstate);
  bool has_sqlstate = governor->sqlstate[0] != '\0';
  if (!pg_pool_is_down(pool, NULL))
    return false;
  if (pg_governor_state(pool) == PG_POOL_FROZEN) {
    snprintf(ret_text, PG_REASON_SIZE, "PostgreSQL doesn't answer");
    return true;
  }
  snprintf(ret_text, PG_REASON_SIZE, "PostgreSQL can't be used: %s%s%s%s; the log says more",
           words ? words : failures[governor->failure], has_sqlstate ? " (SQLSTATE " : "",
           governor->sqlstate, has_sqlstate ? ")" : "");
  return true;
}

bool pg_pool_server_trouble(const struct pg_pool *pool, char ret_text[PG_REASON_SIZE]) {
  const char *sqlstate = pg_refusals_server_sqlstate(pool);
  if (!sqlstate)
    return false;
  snprintf(ret_text, PG_REASON_SIZE,
           "PostgreSQL refuses statements: %s (SQLSTATE %s); the log says more", words_of(sqlstate),
           sqlstate);
  return true;
}
