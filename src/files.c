#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/access.h"
#include "base/key_pair.h"
#include "base/port_file.h"
#include "base/secret_rule.h"
#include "certs.h"
#include "keys.h"
#include "ledger/memory_file.h"
#include "pg/pool.h"

/* ---- the database's ---- */

static int fail(struct error *err, const char *why) {
  return error_set(err, ERR_FAILED_PRECONDITION, "%s", why);
}

static int check_secret(const struct config *config, const char *path, struct error *err) {
  const struct secret_rule rule = {.remedy = ", and change the secret if it was ever used so",
                                   .is_strict = config->server.environment == CONFIG_PRODUCTION};
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return error_set(err, ERR_FAILED_PRECONDITION, "can't read \"%s\": %s", path, strerror(errno));
  int rc = secret_rule_apply(&rule, path, secret_file_judge(path, fd), err);
  close(fd);
  return rc;
}

static int check_password(const struct config *config, struct error *err) {
  const char *path = config->database.password_file;
  int rc = path[0] ? check_secret(config, path, err) : 0;
  return rc < 0 ? rc : pg_params_check(&config->database, err);
}

/* libpq refuses others in any environment. */
static int check_mode_for_libpq(const char *path, struct error *err) {
  struct stat status;
  if (stat(path, &status) != 0)
    return error_set(err, ERR_FAILED_PRECONDITION, "can't read \"%s\": %s", path, strerror(errno));
  mode_t refused = status.st_uid == 0 ? S_IWGRP | S_IXGRP | S_IRWXO : S_IRWXG | S_IRWXO;
  if ((status.st_mode & refused) == 0)
    return 0;
  return error_set(
      err, ERR_FAILED_PRECONDITION,
      "libpq takes no key with the mode %04o: chmod 600 \"%s\", or 640 when it is root's",
      (unsigned)status.st_mode & 07777, path);
}

static int check_client_key(const struct config *config, struct error *err) {
  const struct config_database *database = &config->database;
  char why[KEY_PAIR_TEXT_SIZE];
  struct key_pair pair;
  if (database->sslkey[0] == '\0')
    return 0;
  int rc = check_secret(config, database->sslkey, err);
  if (rc == 0)
    rc = check_mode_for_libpq(database->sslkey, err);
  if (rc < 0)
    return rc;
  if (!key_pair_read(database->sslcert, database->sslkey, &pair, why))
    return fail(err, why);
  key_pair_deinit(&pair);
  return 0;
}

static int check_authorities(const struct config *config, struct error *err) {
  char why[KEY_PAIR_TEXT_SIZE];
  const char *path = config->database.sslrootcert;
  return path[0] && !key_pair_check_certificates(path, why) ? fail(err, why) : 0;
}

/* ---- the daemon's ---- */

static int check_tokens(const struct config *config, struct error *err) {
  const struct access_options options = {.config = config, .clock = &clock_system};
  struct access *access = access_new(&options);
  int rc = access_load(access, err);
  access_free(access);
  return rc;
}

static int check_certificates(const struct config *config, struct error *err) {
  struct tls_context *tls = NULL;
  int rc = certs_load(&tls, config, err);
  tls_context_free(tls);
  return rc;
}

static int check_keys(const struct config *config, struct error *err) {
  struct checkpoint_signer signer = {0};
  int rc = keys_load(&signer, config, err);
  keys_unload(&signer);
  return rc;
}

static int check_signing_key(const struct config *config, struct error *err) {
  struct config alone = *config;
  alone.ledger.trusted_keys_file = "";
  return check_keys(&alone, err);
}

static int check_trusted_keys(const struct config *config, struct error *err) {
  struct config alone = *config;
  alone.ledger.signing_key_file = "";
  return check_keys(&alone, err);
}

static int check_memory(const struct config *config, struct error *err) {
  const char *path = config->ledger.memory_file;
  return path[0] ? memory_file_check(path, err) : 0;
}

static int check_port_file(const struct config *config, struct error *err) {
  return port_file_check(config->server.port_file, err);
}

static int check_http_port_file(const struct config *config, struct error *err) {
  return port_file_check(config->http.port_file, err);
}

/* ---- all ---- */

struct check {
  const char *setting; /* NULL: the text names it */
  int (*run)(const struct config *config, struct error *err);
};

static const struct check database_checks[] = {
    {"database.password_file", check_password},
    {"database.sslkey", check_client_key},
    {"database.sslrootcert", check_authorities},
};

static const struct check checks[] = {
    {"server.port_file", check_port_file},
    {NULL, check_certificates},
    {NULL, check_tokens},
    {"http.port_file", check_http_port_file},
    {NULL, check_signing_key},
    {NULL, check_trusted_keys},
    {"ledger.memory_file", check_memory},
};

static int run(const struct check *check, const struct config *config, struct error *err) {
  int rc = check->run(config, err);
  if (rc < 0 && check->setting)
    error_prefix(err, "%s", check->setting);
  return rc;
}

int files_check_database(const struct config *config, struct error *err) {
  int rc = 0;
  for (size_t i = 0; rc == 0 && i < sizeof(database_checks) / sizeof(database_checks[0]); i++)
    rc = run(&database_checks[i], config, err);
  return rc;
}

static int run_all(const struct check *list, size_t count, const struct config *config,
                   FILE *problems) {
  int faults = 0;
  for (size_t i = 0; i < count; i++) {
    struct error err;
    if (run(&list[i], config, &err) == 0)
      continue;
    fprintf(problems, "%s\n", err.text);
    faults++;
  }
  return faults;
}

int files_check(const struct config *config, FILE *problems) {
  return run_all(checks, sizeof(checks) / sizeof(checks[0]), config, problems) +
         run_all(database_checks, sizeof(database_checks) / sizeof(database_checks[0]), config,
                 problems);
}
