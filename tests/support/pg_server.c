#include "support/pg_server.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARGS_MAX = 32, PATH_SIZE = 512 };

static void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static void fail(const char *format, ...) {
  va_list args;
  va_start(args, format);
  fputs("pg_server: ", stderr);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
  exit(EXIT_FAILURE);
}

/* ---- the script ---- */

static void script_path(char ret_path[PATH_SIZE]) {
  static const char own[] = __FILE__;
  const char *source_dir = getenv("AUDITSTORE_SOURCE_DIR");
  if (source_dir) {
    snprintf(ret_path, PATH_SIZE, "%s/tests/support/private_postgres", source_dir);
    return;
  }
  size_t folder = (size_t)(strrchr(own, '/') - own);
  snprintf(ret_path, PATH_SIZE, "%.*s/private_postgres", (int)folder, own);
}

/* Its output goes to `out_fd`, or stays ours when that is negative. */
static pid_t spawn_script(const char *const *args, int out_fd) {
  char path[PATH_SIZE];
  const char *argv[ARGS_MAX + 2] = {path};
  posix_spawn_file_actions_t actions;
  pid_t pid;
  script_path(path);
  for (int i = 0; args[i]; i++) {
    if (i == ARGS_MAX)
      fail("too many arguments");
    argv[i + 1] = args[i];
  }
  posix_spawn_file_actions_init(&actions);
  if (out_fd >= 0)
    posix_spawn_file_actions_adddup2(&actions, out_fd, STDOUT_FILENO);
  int rc = posix_spawn(&pid, path, &actions, NULL, (char *const *)argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (rc != 0)
    fail("can't run %s: %s", path, strerror(rc));
  return pid;
}

static void wait_for_script(pid_t pid) {
  int status;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR)
      fail("waitpid: %s", strerror(errno));
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    fail("private_postgres failed (wait status %d)", status);
}

static void copy_value(const char *output, const char *key, char *ret_value, size_t size) {
  const char *at = strstr(output, key);
  if (!at)
    fail("private_postgres didn't print %s", key);
  at += strlen(key);
  snprintf(ret_value, size, "%.*s", (int)strcspn(at, "\n"), at);
}

static void read_output(int fd, char *ret_output, size_t size) {
  size_t len = 0;
  ssize_t got;
  while (len < size - 1 && (got = read(fd, ret_output + len, size - 1 - len)) > 0)
    len += (size_t)got;
  ret_output[len] = '\0';
}

void pg_server_start(struct pg_server *server, const char *const *settings) {
  const char *args[ARGS_MAX + 1] = {"start", server->dir};
  char output[1024];
  char port[16];
  int ends[2];
  snprintf(server->dir, sizeof(server->dir), "/tmp/auditstore-pg-XXXXXX");
  if (!mkdtemp(server->dir) || pipe2(ends, O_CLOEXEC) < 0)
    fail("can't prepare: %s", strerror(errno));
  for (int i = 0; settings && settings[i]; i++)
    args[i + 2] = settings[i];
  pid_t pid = spawn_script(args, ends[1]);
  close(ends[1]);
  /* The pipe holds the few lines until then. */
  wait_for_script(pid);
  read_output(ends[0], output, sizeof(output));
  close(ends[0]);
  copy_value(output, "HOST=", server->host, sizeof(server->host));
  copy_value(output, "PORT=", port, sizeof(port));
  copy_value(output, "USER=", server->user, sizeof(server->user));
  copy_value(output, "DATABASE=", server->database, sizeof(server->database));
  server->port = (int)strtol(port, NULL, 10);
  const struct config_input nothing = {0};
  if (config_load(&server->defaults, &nothing, stderr) < 0)
    fail("the defaults are refused%s", "");
}

int pg_server_begin(const struct pg_server *server, const char *verb, const char *mode) {
  const char *args[] = {verb, server->dir, mode, NULL};
  return spawn_script(args, -1);
}

void pg_server_end(int pid) {
  wait_for_script(pid);
}

void pg_server_stop(const struct pg_server *server, const char *mode) {
  pg_server_end(pg_server_begin(server, "stop", mode));
}

void pg_server_restart(const struct pg_server *server, const char *mode) {
  pg_server_end(pg_server_begin(server, "restart", mode));
}

void pg_server_remove(struct pg_server *server) {
  const char *args[] = {"remove", server->dir, NULL};
  wait_for_script(spawn_script(args, -1));
  config_deinit(&server->defaults);
}

int pg_server_group_setup(void **state) {
  static struct pg_server server;
  const char *settings[] = {"max_connections=40", NULL};
  pg_server_start(&server, settings);
  *state = &server;
  return 0;
}

int pg_server_group_teardown(void **state) {
  pg_server_remove(*state);
  return 0;
}

struct config_database pg_server_config(const struct pg_server *server,
                                        const char *application_name) {
  struct config_database config = server->defaults.database;
  config.host = server->host;
  config.port = server->port;
  config.name = server->database;
  config.user = server->user;
  config.sslmode = "disable";
  config.application_name = application_name;
  return config;
}

/* ---- the observer ---- */

PGconn *pg_observer_open(const struct pg_server *server) {
  char port[16];
  snprintf(port, sizeof(port), "%d", server->port);
  const char *keys[] = {"host", "port", "user", "dbname", "sslmode", "application_name", NULL};
  const char *values[] = {server->host, port,       server->user, server->database,
                          "disable",    "observer", NULL};
  PGconn *observer = PQconnectdbParams(keys, values, 0);
  if (PQstatus(observer) != CONNECTION_OK)
    fail("the observer can't connect: %s", PQerrorMessage(observer));
  return observer;
}

static PGresult *run(PGconn *observer, const char *sql) {
  PGresult *result = PQexec(observer, sql);
  ExecStatusType status = PQresultStatus(result);
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
    fail("%s: %s", sql, PQerrorMessage(observer));
  return result;
}

void pg_observer_run(PGconn *observer, const char *sql) {
  PQclear(run(observer, sql));
}

int64_t pg_observer_int(PGconn *observer, const char *sql) {
  PGresult *result = run(observer, sql);
  if (PQntuples(result) < 1)
    fail("%s: no row", sql);
  int64_t value = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
  PQclear(result);
  return value;
}

static int64_t int_for_application(PGconn *observer, const char *select,
                                   const char *application_name) {
  char sql[512];
  snprintf(sql, sizeof(sql),
           "SELECT %s FROM pg_stat_activity WHERE application_name = '%s' AND "
           "backend_type = 'client backend'",
           select, application_name);
  return pg_observer_int(observer, sql);
}

int pg_observer_count(PGconn *observer, const char *application_name) {
  return (int)int_for_application(observer, "count(*)", application_name);
}

int pg_observer_kill(PGconn *observer, const char *application_name) {
  return (int)int_for_application(observer, "count(pg_terminate_backend(pid))", application_name);
}
