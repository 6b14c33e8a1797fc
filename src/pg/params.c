#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "pg/internal.h"

enum {
  PARAMS_MAX = 28,
  PASSWORD_SIZE = 1024,
  NUMBER_SIZE = 24,
  OPTIONS_SIZE = 512,
};

struct params {
  const char *keys[PARAMS_MAX + 1];
  const char *values[PARAMS_MAX + 1];
  int count;
  char options[OPTIONS_SIZE];
  char keepalives_idle[NUMBER_SIZE];
  char keepalives_interval[NUMBER_SIZE];
  char keepalives_count[NUMBER_SIZE];
  char tcp_user_timeout[NUMBER_SIZE];
  char password[PASSWORD_SIZE];
  char hosts[PG_ENDPOINTS_MAX * CONFIG_HOST_SIZE];
  char addresses[PG_ENDPOINTS_MAX * PG_ADDRESS_SIZE];
  char ports[PG_ENDPOINTS_MAX * NUMBER_SIZE];
};

static int read_secret(int fd, const char *path, char ret_secret[PASSWORD_SIZE],
                       struct error *err) {
  size_t len = 0;
  ssize_t got;
  while ((got = read(fd, ret_secret + len, PASSWORD_SIZE - len)) > 0)
    len += (size_t)got;
  if (got < 0)
    return error_set(err, ERR_FAILED_PRECONDITION, "can't read database.password_file \"%s\": %s",
                     path, strerror(errno));
  if (len == PASSWORD_SIZE)
    return error_set(err, ERR_FAILED_PRECONDITION,
                     "database.password_file \"%s\": longer than %d bytes", path,
                     PASSWORD_SIZE - 1);
  while (len > 0 && (ret_secret[len - 1] == '\n' || ret_secret[len - 1] == '\r'))
    len--;
  ret_secret[len] = '\0';
  if (strlen(ret_secret) != len)
    return error_set(err, ERR_FAILED_PRECONDITION,
                     "database.password_file \"%s\": holds a NUL byte", path);
  return 0;
}

/* Anew for each dial, so that a changed password needs no restart. */
static int read_password(const char *path, char ret_password[PASSWORD_SIZE], struct error *err) {
  ret_password[0] = '\0';
  if (path[0] == '\0')
    return 0;
  /* Non-blocking: opening a pipe by mistake must not stop the loop. */
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return error_set(err, ERR_FAILED_PRECONDITION, "can't read database.password_file \"%s\": %s",
                     path, strerror(errno));
  int rc = read_secret(fd, path, ret_password, err);
  close(fd);
  return rc;
}

int pg_params_check(const struct config_database *config, struct error *err) {
  char password[PASSWORD_SIZE];
  int rc = read_password(config->password_file, password, err);
  explicit_bzero(password, sizeof(password));
  return rc;
}

/* ---- libpq's keyword list ---- */

/* An empty value would mean libpq's default or an environment variable's. */
static void add(struct params *params, const char *key, const char *value) {
  if (value[0] == '\0')
    return;
  assert(params->count < PARAMS_MAX);
  params->keys[params->count] = key;
  params->values[params->count] = value;
  params->count++;
}

/* One list per keyword, with an entry for each endpoint: the name is what certificates are checked
 * against, the address is what is dialled. */
static void add_endpoints(struct params *params, const struct pg_endpoints *endpoints, int first) {
  size_t host = 0;
  size_t address = 0;
  size_t port = 0;
  for (int i = 0; i < endpoints->count; i++) {
    const struct pg_endpoint *at = &endpoints->items[(first + i) % endpoints->count];
    const char *comma = i > 0 ? "," : "";
    host += (size_t)snprintf(params->hosts + host, sizeof(params->hosts) - host, "%s%s", comma,
                             at->host);
    address += (size_t)snprintf(params->addresses + address, sizeof(params->addresses) - address,
                                "%s%s", comma, at->address);
    port += (size_t)snprintf(params->ports + port, sizeof(params->ports) - port, "%s%d", comma,
                             at->port);
  }
  add(params, "host", params->hosts);
  add(params, "hostaddr", params->addresses);
  add(params, "port", params->ports);
}

static int64_t to_ms(int64_t us) {
  return us / CLOCK_US_PER_MS;
}

static void add_options(struct params *params, const struct config_database *config) {
  /* In the startup packet, so that they hold for the session's own statements already. */
  snprintf(params->options, sizeof(params->options),
           "-c statement_timeout=%" PRId64 " -c lock_timeout=%" PRId64
           " -c idle_in_transaction_session_timeout=%" PRId64
           " -c client_connection_check_interval=%" PRId64
           " -c idle_session_timeout=0 -c TimeZone=UTC",
           to_ms(config->statement_timeout_us), to_ms(config->lock_timeout_us),
           to_ms(config->idle_in_transaction_timeout_us), to_ms(config->client_check_interval_us));
  add(params, "options", params->options);
}

static void add_server_settings(struct params *params, const struct config_database *config) {
  add(params, "application_name", config->application_name);
  add(params, "client_encoding", "UTF8");
  add(params, "target_session_attrs", config->target_session_attrs);
}

static void add_number(struct params *params, const char *key, char text[NUMBER_SIZE],
                       int64_t number) {
  snprintf(text, NUMBER_SIZE, "%" PRId64, number);
  add(params, key, text);
}

static void add_network(struct params *params, const struct config_database *config) {
  add(params, "sslmode", config->sslmode);
  add(params, "sslrootcert", config->sslrootcert);
  add(params, "sslcert", config->sslcert);
  add(params, "sslkey", config->sslkey);
  add(params, "gssencmode", "disable");
  add(params, "keepalives", "1");
  add_number(params, "keepalives_idle", params->keepalives_idle,
             config->tcp_keepalive_idle_us / CLOCK_US_PER_S);
  add_number(params, "keepalives_interval", params->keepalives_interval,
             config->tcp_keepalive_interval_us / CLOCK_US_PER_S);
  add_number(params, "keepalives_count", params->keepalives_count, config->tcp_keepalive_count);
  add_number(params, "tcp_user_timeout", params->tcp_user_timeout,
             to_ms(config->tcp_user_timeout_us));
}

PGconn *pg_params_connect(const struct config_database *config,
                          const struct pg_endpoints *endpoints, struct pg_params_wish wish,
                          struct error *err) {
  struct params params = {0};
  if (read_password(config->password_file, params.password, err) < 0)
    return NULL;
  add_endpoints(&params, endpoints, wish.first);
  add_network(&params, config);
  add(&params, "dbname", config->name);
  add(&params, "user", config->user);
  add(&params, "password", params.password);
  if (!wish.omits_options)
    add_options(&params, config);
  add_server_settings(&params, config);
  PGconn *pq = PQconnectStartParams(params.keys, params.values, 0);
  if (!pq)
    error_set(err, ERR_UNAVAILABLE, "out of memory");
  explicit_bzero(params.password, sizeof(params.password));
  return pq;
}

void pg_params_text(const struct config_database *config, struct buf *ret_text) {
  const char *const texts[] = {
      config->host,
      config->password_file,
      config->sslmode,
      config->sslrootcert,
      config->sslcert,
      config->sslkey,
      config->target_session_attrs,
      config->application_name,
  };
  const int64_t numbers[] = {
      config->port,
      config->prepared_statements,
      config->statement_timeout_us,
      config->lock_timeout_us,
      config->idle_in_transaction_timeout_us,
      config->client_check_interval_us,
      config->tcp_keepalive_idle_us,
      config->tcp_keepalive_interval_us,
      config->tcp_keepalive_count,
      config->tcp_user_timeout_us,
  };
  buf_clear(ret_text);
  for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
    buf_append(ret_text, texts[i], strlen(texts[i]) + 1);
  buf_append(ret_text, numbers, sizeof(numbers));
}
