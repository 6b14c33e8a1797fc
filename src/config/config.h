/*
 * config: the daemon's settings, from one YAML file, through one table.
 *
 * Words: key = "section.name"; source = where the effective value came from.
 * keys.def has one row per key: type, name, default, range, unit and help. The parser, the checks,
 * the defaults, --check-config, --print-config, the commented config/auditstore.yaml and
 * docs/configuration.md all read that table. This struct holds the effective values, and it is what
 * the parts use, what the log shows and what is printed: there is no second copy of a limit.
 *
 * Durations are int64_t microseconds (suffix _us), sizes int64_t bytes (suffix _bytes).
 * Texts are owned by the config and never NULL; absent is "".
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "base/log.h"

enum config_environment { CONFIG_DEVELOPMENT, CONFIG_PRODUCTION };

struct config_server {
  enum config_environment environment;
  const char *listen;              /* host:port; port 0 picks a free one */
  int max_connections;             /* accepted at once; more are closed at once */
  int max_connections_per_address; /* 0: off */
  int max_concurrent_streams;      /* HTTP/2 streams per connection */
  int64_t max_message_bytes;       /* of one gRPC message received */
  int64_t stream_window_bytes;     /* HTTP/2 receive window of a stream */
  int64_t connection_window_bytes;
  int64_t max_inbound_bytes;    /* that clients cause, all connections together */
  int64_t handshake_timeout_us; /* accept to the first SETTINGS; these to the acknowledgement */
  int64_t write_timeout_us;     /* a peer that takes no byte for so long is cut off */
  int64_t min_ping_interval_us; /* of clients */
  /* CLOCK_NEVER: off. */
  int64_t keepalive_time_us;
  int64_t keepalive_timeout_us;
  int64_t max_connection_idle_us;
  int64_t max_connection_age_us;
  int64_t max_connection_age_grace_us;
  int64_t compress_answers_above; /* bytes; CLOCK_NEVER: off */
  int reflection;                 /* 0: off */
  int core_dumps;                 /* 0: off */
  const char *port_file;          /* when set, the port bound is written there once listening */
};

/* What is asked of clients that come by TLS. */
enum config_client_certs { CONFIG_CLIENTS_OFF, CONFIG_CLIENTS_OPTIONAL, CONFIG_CLIENTS_REQUIRED };

struct config_tls {
  const char *cert_file; /* "": plain HTTP/2 */
  const char *key_file;
  const char *client_ca_file;
  enum config_client_certs client_certificates;
  int max_handshakes; /* under way at once */
};

struct config_access {
  const char *token_file; /* "": no token is known */
  const char *writers;    /* lists of principals: config/access_lists.h */
  const char *readers;
  const char *auditors;
  const char *admins;
  const char *anonymous_roles; /* list of roles; "" when off */
  int max_calls_per_second;    /* of one principal; 0: off */
  int max_events_per_second;
  int64_t max_bytes_per_second; /* CLOCK_NEVER: off */
};

struct config_http {
  const char *listen; /* as server.listen; "" when off */
  const char *port_file;
  int max_connections;
  int64_t timeout_us;
};

/* Whether the daemon waits for PostgreSQL when it starts. */
enum config_startup { CONFIG_STARTUP_WAIT, CONFIG_STARTUP_REQUIRE };

struct config_database {
  const char *host; /* a list, separated by commas; each may name a port of its own */
  int port;
  const char *name;
  const char *user;
  const char *password_file; /* "" for none; never the password itself */
  const char *sslmode;
  const char *sslrootcert;
  const char *sslcert;
  const char *sslkey;
  const char *target_session_attrs;
  const char *application_name;
  int prepared_statements; /* 0: off */
  enum config_startup startup;
  int max_open_conns;
  int max_idle_conns;
  int min_idle_conns;
  int64_t idle_shrink_delay_us; /* CLOCK_NEVER when off: what is too many goes at once */
  int64_t conn_max_lifetime_us; /* CLOCK_NEVER when off, as all below that may be */
  int conn_lifetime_jitter;     /* percent; 0 when off */
  int64_t conn_max_idle_time_us;
  int max_waiters;
  int64_t acquire_timeout_us;
  int64_t slow_acquire_after_us;
  int64_t leak_warn_after_us;
  int max_connecting;
  int64_t connect_timeout_us;
  int64_t connect_backoff_min_us;
  int64_t connect_backoff_max_us;
  int64_t connect_backoff_reset_us;
  int64_t starting_backoff_max_us;
  int64_t refused_backoff_min_us;
  int64_t full_backoff_min_us;
  int64_t fail_fast_after_us;
  int64_t close_timeout_us;
  int64_t validate_after_idle_us;
  int64_t ping_timeout_us;
  int64_t dns_refresh_us;
  int64_t frozen_after_us;
  int64_t statement_timeout_us;
  int64_t lock_timeout_us;
  int64_t idle_in_transaction_timeout_us;
  int64_t client_check_interval_us;
  int64_t query_grace_us; /* a query's deadline here is statement_timeout plus this */
  int64_t tcp_keepalive_idle_us;
  int64_t tcp_keepalive_interval_us;
  int tcp_keepalive_count;
  int64_t tcp_user_timeout_us;
};

struct config_ingest {
  int lanes;
  int max_request_events;
  int max_batch_events;
  int64_t max_batch_bytes;
  int64_t max_event_data_bytes;
  int min_split_events;
  int max_queue_events;
  int64_t max_queue_bytes;
  int64_t write_timeout_us; /* from arrival to acknowledgement, when the caller sets no deadline */
  int64_t max_event_age_us;
  int64_t max_event_ahead_us;
  int max_new_months; /* of one request */
};

struct config_ledger {
  const char *origin;            /* "": what the store's row says */
  const char *signing_key_file;  /* "": nothing is signed */
  const char *trusted_keys_file; /* "": no other key is trusted */
  const char *memory_file;       /* "": what is known to be committed ends with the process */
  int64_t lease_us;
};

struct config_query {
  int default_page_size;
  int max_page_size;
  int64_t timeout_us; /* of one query, when the caller sets no shorter deadline */
  int max_running;    /* at once; those of lanes aren't queries */
  int max_running_per_principal;
  int max_unindexed;            /* of max_running, those that no index serves */
  int64_t unindexed_timeout_us; /* of one of these */
  int max_waiting;
};

struct config_storage {
  int partitions_ahead;             /* months kept ready beyond the current one */
  int64_t partition_check_every_us; /* how often that is looked after */
  int max_partitions;               /* months that may have one, but for those kept ready */
};

struct config_log {
  enum log_level level;
  enum log_format format;
};

struct config_shutdown {
  int64_t timeout_us; /* SIGTERM to exit, at most */
};

struct config {
  struct config_server server;
  struct config_tls tls;
  struct config_access access;
  struct config_http http;
  struct config_database database;
  struct config_ingest ingest;
  struct config_ledger ledger;
  struct config_query query;
  struct config_storage storage;
  struct config_log log;
  struct config_shutdown shutdown;
  struct config_origin *origins; /* owned; the source of each key, in table order */
  struct arena *arena;           /* owned; holds the texts */
};

/* Where settings come from; later ones win. */
struct config_input {
  const char *path;             /* YAML file; NULL: none */
  const char *const *overrides; /* "section.key=value", from the command line */
  int override_count;
  int64_t max_descriptors; /* the limit of open files, which connections have to fit; 0: any */
};

/* How many descriptors the daemon may need at once with these settings. */
int64_t config_descriptors(const struct config *config);

/* Reads and checks the input and fills *ret_config; free it with config_deinit(). On failure writes
 * every problem found, one line each ("file:line: key: got X: what is allowed"), to `problems`, and
 * returns ERR_INVALID_ARGUMENT. Warnings (a clamped value, a pair that makes no sense) go there as
 * well, on success too. */
int config_load(struct config *ret_config, const struct config_input *input, FILE *problems);
void config_deinit(struct config *config);

struct config_changes {
  int changed; /* settings that have another value now */
  int pending; /* settings that will have one after a restart */
  bool is_database_changed;
};

/* Looks at settings that are about to hold. Negative: they may not; err says why. */
typedef int config_accept_cb(const struct config *fresh, struct error *err);

/* Loads the input anew. What a reload may change takes its new value in place: pointers to the
 * config and its sections stay good, texts got from it before don't. What needs a restart keeps its
 * value, and a warning names it. `accept` (may be NULL) is asked before anything holds. On failure
 * nothing changes; problems as for config_load(). */
int config_reload(struct config *config, const struct config_input *input, config_accept_cb *accept,
                  FILE *problems, struct config_changes *ret_changes);

/* All that is known of one setting. No setting is a secret: those are in files. */
#define CONFIG_VALUE_SIZE  4200
#define CONFIG_SOURCE_SIZE 4400
#define CONFIG_RANGE_SIZE  128
struct config_setting {
  const char *section;
  const char *name;
  const char *default_text; /* as a file would say it ("30m", "off"), as all values here */
  const char *help;
  bool is_live;                    /* a reload changes it */
  char value[CONFIG_VALUE_SIZE];   /* in effect */
  char source[CONFIG_SOURCE_SIZE]; /* ["clamped from V, "]["reload "]("default" | FILE:LINE |
                                      "command line") */
  char range[CONFIG_RANGE_SIZE];
};

/* How many there are, and each of them, in table order: 0 <= index < config_setting_count(). */
int config_setting_count(void);
void config_setting(const struct config *config, int index, struct config_setting *ret_setting);

/* A duration as a file would say it: "168h", "90s". */
#define CONFIG_DURATION_SIZE 32
void config_format_duration(int64_t us, char ret_text[CONFIG_DURATION_SIZE]);

/* "section.key = value  # source" for every key, in table order. */
void config_print(const struct config *config, FILE *out);

/* The commented YAML file of all defaults, and the Markdown reference: both from the table. */
void config_print_example(FILE *out);
void config_print_reference(FILE *out);

/* The sections of auditstored.yaml(5) that the table fills, as troff takes them. */
void config_print_manual(FILE *out);
