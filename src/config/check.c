/* Rules between keys. */
#include "config/table.h"

#include "base/clock.h"

struct checker {
  const struct config *config;
  FILE *problems;
  int errors;
};

/* "file:line: section.key" of the value that the message is about. Returns the key's index. */
static int put_place(const struct checker *c, const char *section, const char *name) {
  int index = config_find_key(str_z(section), str_z(name));
  const struct config_origin *origin = &c->config->origins[index];
  if (origin->source == CONFIG_FILE)
    fprintf(c->problems, "%s:%d: ", origin->path, origin->line);
  else
    fprintf(c->problems, "%s: ", origin->source == CONFIG_COMMAND_LINE ? "--set" : "default");
  fprintf(c->problems, "%s.%s: ", section, name);
  return index;
}

static void fail_unless(struct checker *c, bool holds, const char *section, const char *name,
                        const char *rule) {
  if (holds)
    return;
  char value[CONFIG_VALUE_TEXT_SIZE];
  int index = put_place(c, section, name);
  config_format_value(c->config, &config_keys[index], value);
  fprintf(c->problems, "got \"%s\": %s\n", value, rule);
  c->errors++;
}

static void warn(const struct checker *c, const char *section, const char *name, const char *what) {
  put_place(c, section, name);
  fprintf(c->problems, "warning: %s\n", what);
}

void config_set_clamped(struct config *config, const char *section, const char *name) {
  config->origins[config_find_key(str_z(section), str_z(name))].source = CONFIG_CLAMPED;
}

static void check_pool(struct checker *c, struct config *config) {
  struct config_database *db = &config->database;
  fail_unless(c, db->connect_backoff_min_us <= db->connect_backoff_max_us, "database",
              "connect_backoff_min", "must not be above database.connect_backoff_max");
  if (db->max_idle_conns > db->max_open_conns) {
    warn(c, "database", "max_idle_conns", "above max_open_conns: clamped to it");
    db->max_idle_conns = db->max_open_conns;
    config_set_clamped(config, "database", "max_idle_conns");
  }
  if (db->conn_max_lifetime_us != CLOCK_NEVER && db->conn_max_idle_time_us != CLOCK_NEVER &&
      db->conn_max_idle_time_us >= db->conn_max_lifetime_us)
    warn(c, "database", "conn_max_idle_time",
         "can never fire: a connection idle for so long is older than conn_max_lifetime");
}

static void check_ingest(struct checker *c, const struct config *config) {
  const struct config_ingest *in = &config->ingest;
  /* With one connection, lanes and readers take turns on it. */
  fail_unless(c,
              in->lanes < config->database.max_open_conns || config->database.max_open_conns == 1,
              "ingest", "lanes", "must be below database.max_open_conns, so that readers get one");
  fail_unless(c, in->max_request_events <= in->max_queue_events, "ingest", "max_request_events",
              "must not be above ingest.max_queue_events");
  fail_unless(c, in->max_queue_bytes >= config->server.max_message_bytes, "ingest",
              "max_queue_bytes", "must not be below server.max_message_bytes");
}

int config_check(struct config *config, FILE *problems) {
  struct checker c = {.config = config, .problems = problems};
  check_pool(&c, config);
  check_ingest(&c, config);
  fail_unless(&c, config->server.stream_window_bytes <= config->server.connection_window_bytes,
              "server", "stream_window_bytes", "must not be above server.connection_window_bytes");
  fail_unless(&c, config->query.default_page_size <= config->query.max_page_size, "query",
              "default_page_size", "must not be above query.max_page_size");
  return c.errors;
}
