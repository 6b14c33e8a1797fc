/*
 * tables: our tables as the last migration leaves them, for who has to know whether they still are
 * so. A migration that adds a table or a column adds it here as well; a test of surroundings fails
 * until that is done.
 */
#pragma once

/* name, pg_class.relkind, the columns of its primary key: what each write goes into. */
#define TABLES_WRITTEN(X)                                                                          \
  X(audit_events, "p", "event_id, event_time")                                                     \
  X(ledgers, "r", "ledger_id")                                                                     \
  X(ledger_batches, "r", "ledger_id, first_sequence")                                              \
  X(ledger_nodes, "r", "ledger_id, level, node_index")

/* The same, of those that are written now and then. */
#define TABLES_OTHER(X)                                                                            \
  X(schema_migrations, "r", "version")                                                             \
  X(store, "r", "store_id")

/* table, column, type */
#define COLUMNS_WRITTEN(X)                                                                         \
  X(audit_events, event_id, "uuid")                                                                \
  X(audit_events, event_time, "timestamptz")                                                       \
  X(audit_events, received_at, "timestamptz")                                                      \
  X(audit_events, ledger_id, "int8")                                                               \
  X(audit_events, sequence, "int8")                                                                \
  X(audit_events, event_type, "text")                                                              \
  X(audit_events, event_category, "text")                                                          \
  X(audit_events, event_action, "text")                                                            \
  X(audit_events, event_version, "text")                                                           \
  X(audit_events, outcome, "int2")                                                                 \
  X(audit_events, severity, "int2")                                                                \
  X(audit_events, actor_type, "text")                                                              \
  X(audit_events, actor_id, "text")                                                                \
  X(audit_events, actor_ip, "inet")                                                                \
  X(audit_events, resource_type, "text")                                                           \
  X(audit_events, resource_id, "text")                                                             \
  X(audit_events, resource_name, "text")                                                           \
  X(audit_events, namespace, "text")                                                               \
  X(audit_events, cluster, "text")                                                                 \
  X(audit_events, correlation_id, "text")                                                          \
  X(audit_events, parent_event_id, "uuid")                                                         \
  X(audit_events, trace_id, "text")                                                                \
  X(audit_events, span_id, "text")                                                                 \
  X(audit_events, duration_us, "int8")                                                             \
  X(audit_events, error_code, "text")                                                              \
  X(audit_events, error_message, "text")                                                           \
  X(audit_events, retention_days, "int4")                                                          \
  X(audit_events, sensitive, "bool")                                                               \
  X(audit_events, event_data, "json")                                                              \
  X(audit_events, principal, "text")                                                               \
  X(ledgers, ledger_id, "int8")                                                                    \
  X(ledgers, tree_size, "int8")                                                                    \
  X(ledgers, edge, "bytea")                                                                        \
  X(ledgers, owner, "uuid")                                                                        \
  X(ledgers, leased_until, "timestamptz")                                                          \
  X(ledgers, suspect_since, "timestamptz")                                                         \
  X(ledgers, closed_since, "timestamptz")                                                          \
  X(ledgers, created_at, "timestamptz")                                                            \
  X(ledger_batches, ledger_id, "int8")                                                             \
  X(ledger_batches, first_sequence, "int8")                                                        \
  X(ledger_batches, event_count, "int4")                                                           \
  X(ledger_batches, leaf_hashes, "bytea")                                                          \
  X(ledger_batches, root, "bytea")                                                                 \
  X(ledger_batches, committed_at, "timestamptz")                                                   \
  X(ledger_batches, checkpoint, "text")                                                            \
  X(ledger_nodes, ledger_id, "int8")                                                               \
  X(ledger_nodes, level, "int2")                                                                   \
  X(ledger_nodes, node_index, "int8")                                                              \
  X(ledger_nodes, hash, "bytea")

#define COLUMNS_OTHER(X)                                                                           \
  X(schema_migrations, version, "int4")                                                            \
  X(schema_migrations, name, "text")                                                               \
  X(schema_migrations, checksum, "bytea")                                                          \
  X(schema_migrations, applied_at, "timestamptz")                                                  \
  X(store, store_id, "uuid")                                                                       \
  X(store, origin, "text")                                                                         \
  X(store, epoch, "int4")                                                                          \
  X(store, next_ledger_id, "int8")                                                                 \
  X(store, created_at, "timestamptz")
