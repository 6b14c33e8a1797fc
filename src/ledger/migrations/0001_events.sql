-- Events, and the ledgers that number them.

-- What this store is called, and what no ledger was called yet. One row, for good.
CREATE TABLE store (
  store_id       uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
  -- The first part of every ledger's name, ORIGIN/LEDGER_ID. Null until the first daemon sets it.
  origin         text        CHECK (octet_length(origin) BETWEEN 1 AND 200),
  -- Begins anew after each restore: nothing goes on under the name that it had before.
  epoch          int4        NOT NULL DEFAULT 0 CHECK (epoch >= 0),
  -- An id is taken once: EPOCH * 1000000 + 1 and on.
  next_ledger_id int8        NOT NULL DEFAULT 1 CHECK (next_ledger_id > 0),
  created_at     timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX store_one_row ON store ((true));
INSERT INTO store DEFAULT VALUES;

-- One row per ledger; every batch updates its row. Free room in the page keeps those updates away
-- from the index.
CREATE TABLE ledgers (
  ledger_id     int8        PRIMARY KEY CHECK (ledger_id > 0),
  -- A writer gives -1 when the ledger isn't as it knows it, and its transaction ends there.
  tree_size     int8        NOT NULL DEFAULT 0 CHECK (tree_size >= 0),
  -- The roots of the complete subtrees that the log ends in, from the smallest: what the next batch
  -- is hashed onto.
  edge          bytea       NOT NULL DEFAULT '',
  -- Who may append: each write asks for it. Others may claim the ledger once the lease is over.
  owner         uuid,
  leased_until  timestamptz,
  -- Set when what is stored didn't fit together; nobody appends any more.
  suspect_since timestamptz,
  -- Set when the ledger was ended on purpose, as after a restore; nobody appends any more.
  closed_since  timestamptz,
  created_at    timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT ledgers_closed CHECK (closed_since IS NULL OR owner IS NULL)
) WITH (fillfactor = 10);

-- One row per transaction that appended to a ledger, written by that transaction.
CREATE TABLE ledger_batches (
  ledger_id      int8        NOT NULL,
  first_sequence int8        NOT NULL CONSTRAINT ledger_batches_place CHECK (first_sequence >= 0),
  event_count    int4        NOT NULL CHECK (event_count > 0),
  leaf_hashes    bytea       NOT NULL CHECK (octet_length(leaf_hashes) = 32 * event_count),
  root           bytea       NOT NULL CHECK (octet_length(root) = 32), -- behind this batch
  committed_at   timestamptz NOT NULL, -- by the daemon's clock, just before
  checkpoint     text,                 -- that root as a signed note; null: there was no key
  PRIMARY KEY (ledger_id, first_sequence)
);
-- Hashes don't compress: no attempt at it.
ALTER TABLE ledger_batches ALTER leaf_hashes SET STORAGE EXTERNAL;

-- The roots of complete subtrees of 256, 65536, ... leaves (level 8, 16, ...), each written with the
-- batch that completes it, so that a proof reads few hashes.
CREATE TABLE ledger_nodes (
  ledger_id  int8  NOT NULL,
  level      int2  NOT NULL CHECK (level > 0 AND level % 8 = 0),
  node_index int8  NOT NULL,
  hash       bytea NOT NULL CHECK (octet_length(hash) = 32),
  PRIMARY KEY (ledger_id, level, node_index)
);

-- One row per event, in monthly partitions by event_time that the daemon makes ahead of need. There
-- is no default partition: a row in it would stand in the way of making its month later.
-- The lengths of texts are not checked again here: the daemon has done it, and 17 checks cost 3 % of
-- an insert. event_data is json, not jsonb, so that the text stays what was sent.
CREATE TABLE audit_events (
  event_id        uuid        NOT NULL,
  event_time      timestamptz NOT NULL,
  received_at     timestamptz NOT NULL,
  ledger_id       int8        NOT NULL,
  sequence        int8        NOT NULL,
  event_type      text        NOT NULL,
  event_category  text        NOT NULL,
  event_action    text        NOT NULL,
  event_version   text,
  outcome         int2        NOT NULL CHECK (outcome BETWEEN 1 AND 4),
  severity        int2        CHECK (severity BETWEEN 1 AND 8),
  actor_type      text,
  actor_id        text,
  actor_ip        inet,
  resource_type   text,
  resource_id     text,
  resource_name   text,
  namespace       text,
  cluster         text,
  correlation_id  text,
  parent_event_id uuid,
  trace_id        text,
  span_id         text,
  duration_us     int8,
  error_code      text,
  error_message   text,
  retention_days  int4,
  sensitive       bool        NOT NULL DEFAULT false,
  event_data      json,
  PRIMARY KEY (event_id, event_time)
) PARTITION BY RANGE (event_time);

-- The order of lists, which the index gives without sorting, in both directions. The others leave the
-- events of one time to an incremental sort.
CREATE INDEX audit_events_time ON audit_events (event_time, ledger_id, sequence);
CREATE INDEX audit_events_correlation ON audit_events (correlation_id, event_time);
CREATE INDEX audit_events_actor ON audit_events (actor_id, event_time);
CREATE INDEX audit_events_resource ON audit_events (resource_type, resource_id, event_time);
-- Not unique: that would have to include event_time. What makes sequences unique and gapless is the
-- compare on ledgers.tree_size.
CREATE INDEX audit_events_place ON audit_events (ledger_id, sequence);
