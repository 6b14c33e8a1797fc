#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "pg/internal.h"

/* How soon a backend notices that its client is gone, and when the network gives a peer up. */
#define CLIENT_CHECK_MS     "1000"
#define KEEPALIVE_IDLE_S    "30"
#define KEEPALIVE_PERIOD_S  "10"
#define KEEPALIVE_COUNT     "3"
#define TCP_USER_TIMEOUT_MS "20000"

enum {
  PARAMS_MAX = 24,
  PASSWORD_SIZE = 1024,
  ADDRESSES_MAX = 8, /* of one host, tried in turn within one dial */
  HOST_SIZE = 256,
  ADDRESS_SIZE = 64,
};

struct params {
  const char *keys[PARAMS_MAX + 1];
  const char *values[PARAMS_MAX + 1];
  int count;
  char port[12];
  char options[256];
  char password[PASSWORD_SIZE];
  char hosts[ADDRESSES_MAX * HOST_SIZE];
  char addresses[ADDRESSES_MAX * ADDRESS_SIZE];
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
  if (rc < 0)
    return rc;
  if (config->host[0] == '\0' || strlen(config->host) >= HOST_SIZE || strchr(config->host, ','))
    return error_set(err, ERR_INVALID_ARGUMENT,
                     "database.host \"%.64s\": must be one host name, address or socket folder",
                     config->host);
  return 0;
}

bool pg_params_is_resolved(const struct config_database *config) {
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
  return config->host[0] == '/' || uv_ip4_addr(config->host, 0, &v4) == 0 ||
         uv_ip6_addr(config->host, 0, &v6) == 0;
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

/* The host's name goes along, once for each address: certificates are checked against it. */
static int add_addresses(struct params *params, const char *host, const struct addrinfo *addresses,
                         struct error *err) {
  size_t hosts = 0, numbers = 0;
  int count = 0;
  for (const struct addrinfo *at = addresses; at && count < ADDRESSES_MAX; at = at->ai_next) {
    char number[ADDRESS_SIZE - 1];
    if (uv_ip_name(at->ai_addr, number, sizeof(number)) < 0)
      continue;
    const char *comma = count > 0 ? "," : "";
    hosts +=
        (size_t)snprintf(params->hosts + hosts, sizeof(params->hosts) - hosts, "%s%s", comma, host);
    numbers += (size_t)snprintf(params->addresses + numbers, sizeof(params->addresses) - numbers,
                                "%s%s", comma, number);
    count++;
  }
  if (count == 0)
    return error_set(err, ERR_UNAVAILABLE, "the host \"%s\" has no address", host);
  add(params, "host", params->hosts);
  add(params, "hostaddr", params->addresses);
  return 0;
}

static void add_server_settings(struct params *params, const struct config_database *config) {
  /* In the startup packet: no round trip, and nothing resets them. */
  snprintf(params->options, sizeof(params->options),
           "-c statement_timeout=%" PRId64 " -c lock_timeout=%" PRId64
           " -c idle_session_timeout=0 -c client_connection_check_interval=" CLIENT_CHECK_MS
           " -c TimeZone=UTC",
           config->statement_timeout_us / 1000, config->lock_timeout_us / 1000);
  add(params, "options", params->options);
  add(params, "application_name", config->application_name);
  add(params, "client_encoding", "UTF8");
}

static void add_network(struct params *params, const struct config_database *config) {
  snprintf(params->port, sizeof(params->port), "%d", config->port);
  add(params, "port", params->port);
  add(params, "sslmode", config->sslmode);
  add(params, "sslrootcert", config->sslrootcert);
  add(params, "gssencmode", "disable");
  add(params, "keepalives", "1");
  add(params, "keepalives_idle", KEEPALIVE_IDLE_S);
  add(params, "keepalives_interval", KEEPALIVE_PERIOD_S);
  add(params, "keepalives_count", KEEPALIVE_COUNT);
  add(params, "tcp_user_timeout", TCP_USER_TIMEOUT_MS);
  /* A demoted primary or a standby can't take events. */
  add(params, "target_session_attrs", "read-write");
}

static int fill(struct params *params, const struct config_database *config,
                const struct addrinfo *addresses, struct error *err) {
  int rc = read_password(config->password_file, params->password, err);
  if (rc < 0)
    return rc;
  if (addresses) {
    rc = add_addresses(params, config->host, addresses, err);
    if (rc < 0)
      return rc;
  } else {
    add(params, "host", config->host);
  }
  add_network(params, config);
  add(params, "dbname", config->name);
  add(params, "user", config->user);
  add(params, "password", params->password);
  add_server_settings(params, config);
  return 0;
}

PGconn *pg_params_connect(const struct config_database *config, const struct addrinfo *addresses,
                          struct error *err) {
  struct params params = {0};
  PGconn *pq = NULL;
  if (fill(&params, config, addresses, err) == 0) {
    pq = PQconnectStartParams(params.keys, params.values, 0);
    if (!pq)
      error_set(err, ERR_UNAVAILABLE, "out of memory");
  }
  explicit_bzero(params.password, sizeof(params.password));
  return pq;
}
