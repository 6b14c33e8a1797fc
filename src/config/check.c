/* Rules between keys. */
#include "config/table.h"

#include "base/clock.h"
#include "config/hosts.h"

#include <assert.h>
#include <string.h>

struct checker {
  struct config *config;
  FILE *problems;
  int errors;
  int64_t limit; /* of open files */
};

/* "section.key" in two parts. */
struct key_name {
  const char *section;
  const char *name;
};

static int find(struct key_name key) {
  int index = config_find_key(str_z(key.section), str_z(key.name));
  assert(index >= 0);
  return index;
}

/* "file:line: section.key: " of the value that the message is about. */
static void put_place(const struct checker *c, struct key_name key) {
  const struct config_origin *origin = &c->config->origins[find(key)];
  if (origin->source == CONFIG_FILE)
    fprintf(c->problems, "%s:%d: ", origin->path, origin->line);
  else
    fprintf(c->problems, "%s: ", origin->source == CONFIG_COMMAND_LINE ? "--set" : "default");
  fprintf(c->problems, "%s.%s: ", key.section, key.name);
}

static bool is_bad(const struct checker *c, struct key_name key) {
  return c->config->origins[find(key)].is_bad;
}

static bool is_set(const struct checker *c, struct key_name key) {
  return c->config->origins[find(key)].source != CONFIG_DEFAULT;
}

/* The message is about `key`; the rule is about `other` as well. */
static void fail_unless(struct checker *c, bool holds, struct key_name key, struct key_name other,
                        const char *rule) {
  if (holds || is_bad(c, key) || is_bad(c, other))
    return;
  char value[CONFIG_VALUE_SIZE];
  char shown[CONFIG_QUOTED_SIZE];
  const struct config_key *row = &config_keys[find(key)];
  config_format_value(c->config, row, value);
  put_place(c, key);
  fprintf(c->problems, "got %s: %s\n", config_quote(row, str_z(value), shown), rule);
  c->errors++;
}

static void warn(const struct checker *c, struct key_name key, const char *what) {
  if (is_bad(c, key))
    return;
  put_place(c, key);
  fprintf(c->problems, "warning: %s\n", what);
}

/* Notes what was asked for; the caller changes the value. */
static void note_clamped(struct checker *c, struct key_name key) {
  char value[CONFIG_VALUE_SIZE];
  int index = find(key);
  config_format_value(c->config, &config_keys[index], value);
  c->config->origins[index].clamped_from = arena_strdup(c->config->arena, str_z(value));
}

static void clamp_int(struct checker *c, struct key_name key, int *value, int most,
                      const char *why) {
  if (*value <= most || is_bad(c, key))
    return;
  /* The default is nobody's mistake. */
  if (is_set(c, key))
    warn(c, key, why);
  note_clamped(c, key);
  *value = most;
}

/* ---- database ---- */

static const struct key_name max_open = {"database", "max_open_conns"};
static const struct key_name max_idle = {"database", "max_idle_conns"};
static const struct key_name min_idle = {"database", "min_idle_conns"};
static const struct key_name lifetime = {"database", "conn_max_lifetime"};
static const struct key_name idle_time = {"database", "conn_max_idle_time"};
static const struct key_name backoff_min = {"database", "connect_backoff_min"};
static const struct key_name backoff_max = {"database", "connect_backoff_max"};
static const struct key_name sslmode = {"database", "sslmode"};
static const struct key_name sslcert = {"database", "sslcert"};
static const struct key_name sslkey = {"database", "sslkey"};

static void clamp_max_idle(struct checker *c) {
  struct config_database *db = &c->config->database;
  if (!is_bad(c, max_open))
    clamp_int(c, max_idle, &db->max_idle_conns, db->max_open_conns,
              "above max_open_conns: clamped to it");
}

static void check_pool(struct checker *c) {
  const struct config_database *db = &c->config->database;
  clamp_max_idle(c);
  fail_unless(c, db->min_idle_conns <= db->max_idle_conns, min_idle, max_idle,
              "must not be above database.max_idle_conns");
  fail_unless(c, db->connect_backoff_min_us <= db->connect_backoff_max_us, backoff_min, backoff_max,
              "must not be above database.connect_backoff_max");
  if (db->conn_max_lifetime_us != CLOCK_NEVER && db->conn_max_idle_time_us != CLOCK_NEVER &&
      db->conn_max_idle_time_us >= db->conn_max_lifetime_us && !is_bad(c, lifetime))
    warn(c, idle_time,
         "can never fire: a connection idle for so long is older than conn_max_lifetime");
}

static bool is_local(const char *host) {
  return host[0] == '/' || strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
         strncmp(host, "127.", strlen("127.")) == 0;
}

static bool has_remote_host(const struct config_database *db) {
  struct config_host hosts[CONFIG_HOSTS_MAX];
  int count = config_hosts_parse(str_z(db->host), hosts);
  for (int i = 0; i < count; i++) {
    if (!is_local(hosts[i].name))
      return true;
  }
  return false;
}

static void check_database_tls(struct checker *c) {
  const struct config_database *db = &c->config->database;
  bool has_cert = db->sslcert[0] != '\0';
  bool has_key = db->sslkey[0] != '\0';
  fail_unless(c, has_key || !has_cert, sslcert, sslkey, "needs database.sslkey as well");
  fail_unless(c, has_cert || !has_key, sslkey, sslcert, "needs database.sslcert as well");
  bool is_lax = strcmp(db->sslmode, "prefer") == 0 || strcmp(db->sslmode, "allow") == 0;
  if (is_lax && has_remote_host(db))
    warn(c, sslmode,
         "doesn't prove who answers, and dials twice when the server refuses: use verify-full");
}

/* ---- queries ---- */

/* Besides the lanes': the rounds of partitions, the clock and the look at readiness. */
#define UPKEEP_CONNS 3

static const struct key_name running = {"query", "max_running"};

/* What readers may have is what writing leaves, unless somebody says more. */
static void clamp_running(struct checker *c) {
  static const struct key_name lanes = {"ingest", "lanes"};
  int open = c->config->database.max_open_conns;
  int room = open - c->config->ingest.lanes - UPKEEP_CONNS;
  if (is_bad(c, max_open) || is_bad(c, lanes))
    return;
  room = room < 1 ? 1 : room;
  int *asked = &c->config->query.max_running;
  if (!is_set(c, running))
    clamp_int(c, running, asked, room, "above what writing leaves of database.max_open_conns");
  else if (*asked > room)
    warn(c, running,
         "leaves less than ingest.lanes + 3 of database.max_open_conns: readers may hold up "
         "writing");
}

static void clamp_queries(struct checker *c) {
  static const struct key_name one = {"query", "max_running_per_principal"};
  static const struct key_name unindexed = {"query", "max_unindexed"};
  struct config_query *query = &c->config->query;
  clamp_running(c);
  clamp_int(c, one, &query->max_running_per_principal, query->max_running,
            "above query.max_running: clamped to it");
  clamp_int(c, unindexed, &query->max_unindexed, query->max_running,
            "above query.max_running: clamped to it");
}

/* ---- the others ---- */

/* For the other fields of an event, which have less than 8 KiB, and what is about them. */
#define EVENT_ROOM_BYTES INT64_C(16384)

/* An event as large as allowed must fit a message, or its sender is told of the message alone. */
static void fit_event_data(struct checker *c) {
  static const struct key_name data = {"ingest", "max_event_data_bytes"};
  static const struct key_name message = {"server", "max_message_bytes"};
  int64_t room = c->config->server.max_message_bytes - EVENT_ROOM_BYTES;
  if (is_set(c, data)) {
    fail_unless(c, c->config->ingest.max_event_data_bytes <= room, data, message,
                "must be at least 16KiB below server.max_message_bytes");
    return;
  }
  if (c->config->ingest.max_event_data_bytes <= room || is_bad(c, message))
    return;
  note_clamped(c, data);
  c->config->ingest.max_event_data_bytes = room;
}

static void check_ingest(struct checker *c) {
  static const struct key_name lanes = {"ingest", "lanes"};
  static const struct key_name request = {"ingest", "max_request_events"};
  static const struct key_name events = {"ingest", "max_queue_events"};
  static const struct key_name bytes = {"ingest", "max_queue_bytes"};
  static const struct key_name message = {"server", "max_message_bytes"};
  const struct config *config = c->config;
  const struct config_ingest *in = &config->ingest;
  /* With one connection, lanes and readers take turns on it. */
  fail_unless(c,
              in->lanes < config->database.max_open_conns || config->database.max_open_conns == 1,
              lanes, max_open, "must be below database.max_open_conns, so that readers get one");
  fail_unless(c, in->max_request_events <= in->max_queue_events, request, events,
              "must not be above ingest.max_queue_events");
  fail_unless(c, in->max_queue_bytes >= config->server.max_message_bytes, bytes, message,
              "must not be below server.max_message_bytes");
}

static void check_server(struct checker *c) {
  static const struct key_name stream = {"server", "stream_window_bytes"};
  static const struct key_name connection = {"server", "connection_window_bytes"};
  static const struct key_name page = {"query", "default_page_size"};
  static const struct key_name max_page = {"query", "max_page_size"};
  const struct config *config = c->config;
  fail_unless(c, config->server.stream_window_bytes <= config->server.connection_window_bytes,
              stream, connection, "must not be above server.connection_window_bytes");
  fail_unless(c, config->query.default_page_size <= config->query.max_page_size, page, max_page,
              "must not be above query.max_page_size");
}

static void check_tls(struct checker *c) {
  static const struct key_name cert = {"tls", "cert_file"};
  static const struct key_name key = {"tls", "key_file"};
  static const struct key_name ca = {"tls", "client_ca_file"};
  static const struct key_name clients = {"tls", "client_certificates"};
  const struct config_tls *tls = &c->config->tls;
  bool has_cert = tls->cert_file[0] != '\0';
  bool has_key = tls->key_file[0] != '\0';
  bool asks = tls->client_certificates != CONFIG_CLIENTS_OFF;
  fail_unless(c, has_key || !has_cert, cert, key, "needs tls.key_file as well");
  fail_unless(c, has_cert || !has_key, key, cert, "needs tls.cert_file as well");
  fail_unless(c, has_cert || !asks, clients, cert, "needs tls.cert_file as well");
  fail_unless(c, tls->client_ca_file[0] != '\0' || !asks, clients, ca,
              "needs tls.client_ca_file as well");
  fail_unless(c, tls->client_ca_file[0] == '\0' || asks, ca, clients,
              "has no use: tls.client_certificates is off");
}

/* Unicode's white space, and what C0 and C1 control. */
static bool is_space_or_control(uint32_t c) {
  return c <= 0x20 || (c >= 0x7f && c <= 0xa0) || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
         c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

/* The character at the front of valid UTF-8, which it is cut off. */
static uint32_t take_character(struct str *text) {
  const uint8_t *p = (const uint8_t *)text->data;
  int more = p[0] < 0xc0 ? 0 : p[0] < 0xe0 ? 1 : p[0] < 0xf0 ? 2 : 3;
  uint32_t c = more == 0 ? p[0] : p[0] & (0x3fU >> more);
  for (int i = 1; i <= more; i++)
    c = c << 6 | (p[i] & 0x3fU);
  *text = str_of(text->data + more + 1, text->len - (size_t)more - 1);
  return c;
}

/* What C2SP's signed-note and its verifiers take as the name of a key. */
static bool has_note_characters(struct str origin) {
  if (utf8_valid_prefix(origin) != origin.len)
    return false;
  while (origin.len > 0) {
    uint32_t c = take_character(&origin);
    if (is_space_or_control(c) || c == '+')
      return false;
  }
  return true;
}

static bool is_path_like(const char *origin) {
  size_t len = strlen(origin);
  return len == 0 || (origin[0] != '/' && origin[len - 1] != '/' && !strstr(origin, "//"));
}

static void check_ledger(struct checker *c) {
  static const struct key_name key = {"ledger", "origin"};
  const char *origin = c->config->ledger.origin;
  fail_unless(c, has_note_characters(str_z(origin)), key, key,
              "must be UTF-8 without white space, control characters and plus signs");
  fail_unless(c, is_path_like(origin), key, key, "must hold no // and no / at an end");
  /* A name of digits could be taken for a size. */
  fail_unless(c, origin[0] == '\0' || origin[strspn(origin, "0123456789")] != '\0', key, key,
              "must not be a number");
}

/* ---- who may come, and what production demands ---- */

static const struct key_name environment = {"server", "environment"};

static bool has_list(const struct config_access *access) {
  return access->writers[0] || access->readers[0] || access->auditors[0] || access->admins[0];
}

static void check_access(struct checker *c) {
  static const struct key_name anonymous = {"access", "anonymous_roles"};
  const struct config_access *access = &c->config->access;
  if (!has_list(access) && access->anonymous_roles[0] == '\0')
    warn(c, anonymous,
         "nobody may do anything: name those who may in access.writers, readers, auditors, admins");
}

static bool uses_sockets_only(const struct config_database *db) {
  struct config_host hosts[CONFIG_HOSTS_MAX];
  int count = config_hosts_parse(str_z(db->host), hosts);
  for (int i = 0; i < count; i++) {
    if (hosts[i].name[0] != '/')
      return false;
  }
  return true;
}

static bool is_local_address(const char *address) {
  return strncmp(address, "[::1]:", strlen("[::1]:")) == 0 ||
         strncmp(address, "localhost:", strlen("localhost:")) == 0 ||
         strncmp(address, "127.", strlen("127.")) == 0;
}

static void check_production(struct checker *c) {
  static const struct key_name cert = {"tls", "cert_file"};
  static const struct key_name key_file = {"ledger", "signing_key_file"};
  static const struct key_name anonymous = {"access", "anonymous_roles"};
  static const struct key_name tokens = {"access", "token_file"};
  static const struct key_name pages = {"http", "listen"};
  const struct config *config = c->config;
  if (config->server.environment != CONFIG_PRODUCTION)
    return;
  fail_unless(c, config->tls.cert_file[0] != '\0', cert, environment,
              "server.environment production needs a certificate: nothing goes without TLS");
  fail_unless(c, config->ledger.signing_key_file[0] != '\0', key_file, environment,
              "server.environment production needs a key: auditstored keygen FILE makes one");
  fail_unless(c, config->access.anonymous_roles[0] == '\0', anonymous, environment,
              "server.environment production demands off: everybody shows who he is");
  fail_unless(c,
              config->access.token_file[0] != '\0' ||
                  config->tls.client_certificates != CONFIG_CLIENTS_OFF,
              tokens, environment,
              "server.environment production needs a way to show who one is: this, or "
              "tls.client_certificates");
  fail_unless(c,
              strcmp(config->database.sslmode, "verify-full") == 0 ||
                  uses_sockets_only(&config->database),
              sslmode, environment,
              "server.environment production demands verify-full, or a Unix socket in "
              "database.host");
  if (config->http.listen[0] != '\0' && !is_local_address(config->http.listen))
    warn(c, pages, "has neither TLS nor access control: keep others than your monitoring from it");
}

/* ---- descriptors ---- */

/* Of the files, pipes and sockets that aren't connections: those always open, one being accepted or
 * refused, look-ups of names, and files that are read or written for a moment. */
#define OTHER_DESCRIPTORS 32

static const struct key_name clients = {"server", "max_connections"};
static const struct key_name readers = {"http", "max_connections"};

static int64_t of_pages(const struct config *config) {
  return config->http.listen[0] != '\0' ? config->http.max_connections : 0;
}

int64_t config_descriptors(const struct config *config) {
  return OTHER_DESCRIPTORS + config->database.max_open_conns + of_pages(config) +
         config->server.max_connections;
}

static void lower(struct checker *c, struct key_name key, int *value, int64_t most) {
  if (*value <= most)
    return;
  put_place(c, key);
  fprintf(c->problems,
          "warning: this and the others need %lld descriptors, but the limit of open files is "
          "%lld: lowered from %d to %lld; raise the limit (LimitNOFILE, ulimit -n)\n",
          (long long)config_descriptors(c->config), (long long)c->limit, *value, (long long)most);
  note_clamped(c, key);
  *value = (int)most;
}

/* Pages have an eighth of what PostgreSQL leaves, so that they answer whoever else comes. */
static void lower_ports(struct checker *c, int64_t room) {
  struct config *config = c->config;
  int64_t share = room / 8 > 2 ? room / 8 : 2;
  if (of_pages(config) > 0)
    lower(c, readers, &config->http.max_connections, share);
  lower(c, clients, &config->server.max_connections, room - of_pages(config));
}

int config_fit(struct config *config, int64_t limit, bool is_reload, FILE *problems) {
  struct checker c = {.config = config, .problems = problems, .limit = limit};
  int64_t room = limit - OTHER_DESCRIPTORS - config->database.max_open_conns;
  if (limit <= 0 || config_descriptors(config) <= limit)
    return 0;
  if (is_reload) {
    int64_t left =
        room + config->database.max_open_conns - of_pages(config) - config->server.max_connections;
    lower(&c, max_open, &config->database.max_open_conns, left);
    clamp_max_idle(&c);
    clamp_queries(&c);
    return c.errors;
  }
  if (room < 3) {
    put_place(&c, max_open);
    fprintf(problems,
            "got \"%d\": with a limit of %lld open files, of which the daemon needs %d, no "
            "connection of "
            "a client would fit: raise the limit (LimitNOFILE, ulimit -n) or lower this\n",
            config->database.max_open_conns, (long long)limit, OTHER_DESCRIPTORS);
    return 1;
  }
  lower_ports(&c, room);
  return 0;
}

int config_check(struct config *config, FILE *problems) {
  struct checker c = {.config = config, .problems = problems};
  check_pool(&c);
  check_database_tls(&c);
  check_ingest(&c);
  clamp_queries(&c);
  fit_event_data(&c);
  check_server(&c);
  check_tls(&c);
  check_ledger(&c);
  check_access(&c);
  check_production(&c);
  return c.errors;
}
