/*
 * pg_server: a PostgreSQL of the test's own, and an observer that asks the server, not the pool.
 *
 * Every function ends the test program with a message when it fails: a test can't go on then. The
 * observer blocks; it is for tests alone.
 */
#pragma once

#include <libpq-fe.h>
#include <stdint.h>

#include "config/config.h"

struct pg_server {
  char dir[64];
  char host[64];
  char user[64];
  char database[64];
  int port;
  struct config defaults; /* the daemon's */
};

/* Makes and starts one in a new folder under /tmp. `settings` is a list such as
 * "max_connections=20" that ends with NULL, or NULL. */
void pg_server_start(struct pg_server *server, const char *const *settings);

/* `mode` is "fast" or "immediate". */
void pg_server_stop(const struct pg_server *server, const char *mode);
void pg_server_restart(const struct pg_server *server, const char *mode);

/* Starts `verb` ("stop", "restart") without waiting for its end, so that the test's loop can run
 * meanwhile; then ends it. */
int pg_server_begin(const struct pg_server *server, const char *verb, const char *mode);
void pg_server_end(int pid);

/* Stops it and deletes its folder. */
void pg_server_remove(struct pg_server *server);

/* For cmocka: *state is a struct pg_server for 40 connections. */
int pg_server_group_setup(void **state);
int pg_server_group_teardown(void **state);

/* The daemon's defaults, with this server's address and `application_name` (borrowed, as the
 * server is). */
struct config_database pg_server_config(const struct pg_server *server,
                                        const char *application_name);

/* A connection named "observer". */
PGconn *pg_observer_open(const struct pg_server *server);

/* Runs statements; their results are thrown away. */
void pg_observer_run(PGconn *observer, const char *sql);

/* The integer in the first column of the first row. */
int64_t pg_observer_int(PGconn *observer, const char *sql);

/* How many connections of that application the server knows now. */
int pg_observer_count(PGconn *observer, const char *application_name);

/* Ends all of that application's sessions; returns how many. */
int pg_observer_kill(PGconn *observer, const char *application_name);
