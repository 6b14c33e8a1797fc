#include "ledger/months.h"

#include "base/timestamp.h"
#include "ledger/locks.h"

#include <assert.h>
#include <stdio.h>

void month_set_add(struct month_set *set, int month) {
  assert(month_is_valid(month));
  set->words[month / 64] |= UINT64_C(1) << (month % 64);
}

bool month_set_has(const struct month_set *set, int month) {
  return month_is_valid(month) && (set->words[month / 64] >> (month % 64) & 1);
}

int month_set_count(const struct month_set *set) {
  int count = 0;
  for (size_t i = 0; i < sizeof(set->words) / sizeof(set->words[0]); i++)
    count += __builtin_popcountll(set->words[i]);
  return count;
}

void month_set_add_range(struct month_set *set, int64_t from_us, int64_t to_us) {
  if (from_us > TIMESTAMP_MAX_US || to_us <= from_us)
    return;
  int month = from_us <= TIMESTAMP_MIN_US ? MONTH_MIN : timestamp_month(from_us);
  if (timestamp_month_start_us(month) < from_us)
    month++;
  for (; month <= MONTH_MAX && timestamp_month_start_us(month + 1) <= to_us; month++)
    month_set_add(set, month);
}

void month_partition_name(int month, char ret_name[MONTH_NAME_SIZE]) {
  assert(month_is_valid(month));
  (void)snprintf(ret_name, MONTH_NAME_SIZE, "audit_events_%04d_%02d", month / 12, month % 12 + 1);
}

/* Names without a schema mean the schema of audit_events, whatever else the search path holds. */
#define USE_SCHEMA_OF_EVENTS                                                                       \
  "SELECT set_config('search_path', quote_ident(n.nspname) || ', pg_temp', true) FROM pg_class c " \
  "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = 'audit_events'::regclass;"

/* Attaching a table made before takes no lock that readers or writers of the events would wait for
 * or hold up; CREATE TABLE ... PARTITION OF would lock out both. */
bool month_partition_sql(int month, struct buf *out) {
  char name[MONTH_NAME_SIZE];
  month_partition_name(month, name);
  int next = month + 1;
  return buf_append_str(out, LOCK_PARTITIONS_SQL USE_SCHEMA_OF_EVENTS) &&
         buf_append_format(out,
                           "DO $$ BEGIN IF to_regclass('%s') IS NULL THEN "
                           "CREATE TABLE %s (LIKE audit_events INCLUDING ALL EXCLUDING INDEXES); "
                           "ALTER TABLE audit_events ATTACH PARTITION %s "
                           "FOR VALUES FROM ('%04d-%02d-01 00:00:00+00') "
                           "TO ('%04d-%02d-01 00:00:00+00'); "
                           "END IF; END $$",
                           name, name, name, month / 12, month % 12 + 1, next / 12, next % 12 + 1);
}
