#include "ledger/surroundings_sql.h"

#include "ledger/tables.h"

/* ---- the fingerprint ---- */

/* The function is computed when the statement is planned (its migration says why). */
#define OID_OF(table, kind, key) "'" #table "'::regclass,"
#define FINGERPRINT_TABLES       "audit_surroundings(ARRAY[" TABLES_WRITTEN(OID_OF) "NULL]::oid[])"

/* Looked up by each write, as PostgreSQL doesn't plan anew for them. Most databases have no trigger
 * on any partition (which has a root), and then the function isn't called. Row triggers of a
 * partitioned table are copied to each partition: the copies are left out, so that a new partition
 * changes nothing. What switches one copy on alone is why a trigger on a partitioned table is
 * watched even when it is disabled. */
#define FINGERPRINT_PARTITIONS                                                                     \
  "CASE WHEN EXISTS (SELECT FROM pg_trigger WHERE NOT tgisinternal AND tgparentid = 0"             \
  " AND tgrelid <> 'audit_events'::regclass AND pg_partition_root(tgrelid) IS NOT NULL)"           \
  " THEN audit_partition_triggers('audit_events'::regclass) ELSE 0 END"

#define FINGERPRINT "(" FINGERPRINT_TABLES " # " FINGERPRINT_PARTITIONS ")"

const char surroundings_fingerprint[] = FINGERPRINT;

/* ---- the findings ---- */

/* Severities, in SQL. */
#define NOTED    "1"
#define WATCHED  "2"
#define BLOCKING "3"

#define TABLE_ROW(table, kind, key)     "('" #table "', '" kind "', '" key "'),"
#define COLUMN_ROW(table, column, type) "('" #table "', '" #column "', '" type "'::regtype),"

/* Partitions of partitions are partitions too. `name` is what a command would call it. */
#define RELATIONS                                                                                  \
  "expected (table_name, kind, key) AS (VALUES " TABLES_WRITTEN(TABLE_ROW) TABLES_OTHER(TABLE_ROW) \
  " (NULL, NULL, NULL)),"                                                                          \
  " expected_column (table_name, column_name, type) AS (VALUES " COLUMNS_WRITTEN(COLUMN_ROW)       \
  COLUMNS_OTHER(COLUMN_ROW) " (NULL, NULL, NULL)),"                                                \
  " tree (oid) AS (SELECT 'audit_events'::regclass::oid UNION"                                     \
  "  SELECT i.inhrelid FROM pg_inherits i JOIN tree ON i.inhparent = tree.oid"                     \
  "  WHERE EXISTS (SELECT FROM pg_class c WHERE c.oid = i.inhrelid AND c.relispartition)),"        \
  " relation AS (SELECT e.table_name, e.kind, e.key, c.*, c.oid::regclass::text AS name,"          \
  "   false AS is_partition"                                                                       \
  "  FROM expected e JOIN pg_class c ON c.oid = to_regclass(e.table_name)"                         \
  "  UNION ALL SELECT 'audit_events', NULL, NULL, c.*, c.oid::regclass::text, true"                \
  "  FROM tree JOIN pg_class c USING (oid) WHERE tree.oid <> 'audit_events'::regclass)"

/* Who writes never deletes or truncates: a trigger for that alone meets nothing of ours. A copy on
 * a partition is told when it isn't as its original. */
#define FIND_TRIGGERS                                                                              \
  "SELECT CASE WHEN t.tgtype & 20 = 0 OR (t.tgenabled = 'D' AND r.relkind <> 'p')"                 \
  "   THEN " NOTED " ELSE " WATCHED                                                                \
  " END,"                                                                                          \
  "  format('%strigger %I on %s (%s, %s %s, for each %s%s): drop or disable it',"                  \
  "   CASE WHEN t.tgconstraint <> 0 THEN 'constraint ' END, t.tgname, r.name,"                     \
  "   CASE t.tgenabled WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'enabled for replicas'"              \
  "    WHEN 'A' THEN 'always enabled' ELSE 'enabled' END,"                                         \
  "   CASE WHEN t.tgtype & 2 <> 0 THEN 'before' ELSE 'after' END,"                                 \
  "   concat_ws(' or ', CASE WHEN t.tgtype & 4 <> 0 THEN 'insert' END,"                            \
  "    CASE WHEN t.tgtype & 16 <> 0 THEN 'update' END,"                                            \
  "    CASE WHEN t.tgtype & 8 <> 0 THEN 'delete' END,"                                             \
  "    CASE WHEN t.tgtype & 32 <> 0 THEN 'truncate' END),"                                         \
  "   CASE WHEN t.tgtype & 1 <> 0 THEN 'row' ELSE 'statement' END,"                                \
  "   CASE WHEN t.tginitdeferred THEN ', deferred' END)"                                           \
  " FROM relation r JOIN pg_trigger t ON t.tgrelid = r.oid LEFT JOIN pg_trigger original"          \
  "  ON original.oid = t.tgparentid"                                                               \
  " WHERE NOT t.tgisinternal AND original.tgenabled IS DISTINCT FROM t.tgenabled"

/* Rules are applied to the table that a statement names, so those of partitions don't meet ours. */
#define FIND_RULES                                                                                 \
  "SELECT CASE WHEN w.ev_type IN ('2', '3') AND w.ev_enabled <> 'D' AND NOT r.is_partition"        \
  "   THEN " BLOCKING " ELSE " NOTED                                                               \
  " END,"                                                                                          \
  "  format('rule %I on %s (%s, on %s): DROP RULE %1$I ON %2$s', w.rulename, r.name,"              \
  "   CASE w.ev_enabled WHEN 'D' THEN 'disabled' ELSE 'enabled' END,"                              \
  "   CASE w.ev_type WHEN '1' THEN 'select' WHEN '2' THEN 'update' WHEN '3' THEN 'insert'"         \
  "    ELSE 'delete' END)"                                                                         \
  " FROM relation r JOIN pg_rewrite w ON w.ev_class = r.oid WHERE r.relkind IN ('r', 'p')"

/* On the events it can keep rows from who reads, and makes errors of what it keeps from being
 * written; of the ledgers it would hide what a claim has to know. */
#define FIND_ROW_SECURITY                                                                          \
  "SELECT CASE WHEN r.relrowsecurity AND r.table_name <> 'audit_events'"                           \
  "   AND row_security_active(r.oid) THEN " BLOCKING " ELSE " NOTED                                \
  " END,"                                                                                          \
  "  format('row security on %s (%s%s%s): %s', r.name,"                                            \
  "   CASE WHEN NOT r.relrowsecurity THEN 'off' WHEN r.relforcerowsecurity THEN 'forced'"          \
  "    ELSE 'on' END,"                                                                             \
  "   '; policies: ' || (SELECT string_agg(quote_ident(p.polname), ', ' ORDER BY p.polname)"       \
  "    FROM pg_policy p WHERE p.polrelid = r.oid),"                                                \
  "   CASE WHEN r.relrowsecurity AND NOT r.is_partition AND row_security_active(r.oid)"            \
  "    THEN '; it keeps rows from ' || quote_ident(current_user) END,"                             \
  "   CASE WHEN r.relrowsecurity THEN format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY, or"       \
  " ALTER ROLE %I BYPASSRLS', r.name, current_user) ELSE 'drop them, or leave it off' END)"        \
  " FROM relation r WHERE r.relrowsecurity"                                                        \
  "  OR EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = r.oid)"

/* A partition's columns are its parent's; NOT NULL alone may be its own. */
#define FIND_FOREIGN_COLUMNS                                                                       \
  "SELECT CASE WHEN a.stops THEN " BLOCKING " ELSE " NOTED                                         \
  " END,"                                                                                          \
  "  format(CASE WHEN a.stops THEN 'column %s.%I isn''t ours, NOT NULL and without a default, so"  \
  " that each write is refused: ALTER TABLE %1$s ALTER COLUMN %2$I DROP NOT NULL'"                 \
  "   ELSE 'column %s.%I isn''t ours: drop it when nobody needs it' END, r.name, a.attname)"       \
  " FROM relation r CROSS JOIN LATERAL (SELECT *, attnotnull AND (NOT atthasdef OR "               \
  "r.is_partition)"                                                                                \
  "   AND attidentity = '' AND attgenerated = '' AS stops"                                         \
  "  FROM pg_attribute WHERE attrelid = r.oid AND attnum > 0 AND NOT attisdropped) AS a"           \
  " WHERE NOT EXISTS (SELECT FROM expected_column e WHERE e.table_name = r.table_name"             \
  "  AND e.column_name = a.attname) AND (NOT r.is_partition OR (a.stops AND NOT EXISTS (SELECT"    \
  "   FROM pg_attribute p WHERE p.attrelid = 'audit_events'::regclass AND p.attname = a.attname"   \
  "   AND p.attnotnull)))"

/* A varchar(n) cuts spaces off the end of what is too long instead of refusing it, and n can be
 * changed under our eyes. */
#define FIND_CHANGED_COLUMNS                                                                       \
  "SELECT CASE WHEN a.is_varchar THEN " WATCHED " ELSE " BLOCKING                                  \
  " END,"                                                                                          \
  "  format('column %s.%I %s: ALTER TABLE %1$s ALTER COLUMN %2$I %4$s', r.name, a.attname,"        \
  "   CASE WHEN a.attgenerated <> '' THEN 'is generated'"                                          \
  "    WHEN a.attidentity = 'a' THEN 'is GENERATED ALWAYS AS IDENTITY'"                            \
  "    ELSE format('is %s, where we made it %s', format_type(a.atttypid, a.atttypmod), e.type) "   \
  "END,"                                                                                           \
  "   CASE WHEN a.attgenerated <> '' THEN 'DROP EXPRESSION'"                                       \
  "    WHEN a.attidentity = 'a' THEN 'DROP IDENTITY' ELSE format('TYPE %s', e.type) END)"          \
  " FROM relation r JOIN expected_column e USING (table_name) CROSS JOIN LATERAL (SELECT *,"       \
  "   atttypid = 'varchar'::regtype AND e.type = 'text'::regtype AND attgenerated = ''"            \
  "   AS is_varchar FROM pg_attribute WHERE attrelid = r.oid AND attname = e.column_name"          \
  "   AND NOT attisdropped) AS a"                                                                  \
  " WHERE NOT r.is_partition AND (a.atttypid <> e.type OR a.attgenerated <> ''"                    \
  "  OR a.attidentity = 'a' OR a.atttypmod NOT IN (-1, 6))"

/* Where letters of another case are equal, a filter finds more than was asked for. */
#define FIND_COLLATIONS                                                                            \
  "SELECT " NOTED                                                                                  \
  ", format('column %s.%I has the collation %s, by which different texts are"                      \
  " equal: ALTER TABLE %1$s ALTER COLUMN %2$I TYPE %4$s COLLATE \"default\"', r.name, a.attname,"  \
  "   l.oid::regcollation, format_type(a.atttypid, a.atttypmod))"                                  \
  " FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid JOIN pg_collation l"                 \
  "  ON l.oid = a.attcollation WHERE NOT r.is_partition AND a.attnum > 0"                          \
  "  AND NOT l.collisdeterministic"

#define KIND_NAME(value)                                                                           \
  "CASE " value                                                                                    \
  " WHEN 'r' THEN 'an ordinary table' WHEN 'p' THEN 'a partitioned table'"                         \
  " WHEN 'v' THEN 'a view' WHEN 'm' THEN 'a materialized view' WHEN 'f' THEN 'a foreign table'"    \
  " ELSE 'of another kind' END"

#define FIND_KINDS                                                                                 \
  "SELECT " BLOCKING ", format('%s is %s, not %s: put back the table that was made by"             \
  " auditstored migrate', r.name, " KIND_NAME("r.relkind") ", " KIND_NAME("r.kind") ")"            \
  " FROM relation r WHERE r.relkind::text <> r.kind"                                               \
  " UNION ALL SELECT " BLOCKING ", format('partition %s is %s, where rows aren''t kept by this"    \
  " server: ALTER TABLE audit_events DETACH PARTITION %1$s', r.name, " KIND_NAME("r.relkind") ")"  \
  " FROM relation r WHERE r.is_partition AND r.relkind NOT IN ('r', 'p')"                          \
  " UNION ALL SELECT " BLOCKING ", CASE r.relpersistence"                                          \
  "   WHEN 't' THEN format('%s is a temporary table: DROP TABLE %1$s', r.name)"                    \
  "   ELSE format('%s is UNLOGGED, so that a crash empties it: ALTER TABLE %1$s SET LOGGED',"      \
  "    r.name) END FROM relation r WHERE r.relkind IN ('r', 'p') AND r.relpersistence <> 'p'"      \
  " UNION ALL SELECT " NOTED ", format('partition %s is a DEFAULT partition: rows in it stand in"  \
  " the way of making their month; detach it when it is empty', r.name)"                           \
  " FROM relation r WHERE r.is_partition AND EXISTS (SELECT FROM pg_partitioned_table d WHERE d.partdefid = r.oid)"

/* What inherits from a table is read and updated with it. */
#define FIND_RELATIVES                                                                             \
  "SELECT " BLOCKING                                                                               \
  ", format('%s inherits from %s, so that its rows appear as ours:"                                \
  " ALTER TABLE %1$s NO INHERIT %2$s', i.inhrelid::regclass, r.name)"                              \
  " FROM relation r JOIN pg_inherits i ON i.inhparent = r.oid"                                     \
  " WHERE r.relkind <> 'p' AND NOT r.is_partition"                                                 \
  " UNION ALL SELECT CASE WHEN r.relispartition THEN " BLOCKING " ELSE " NOTED                     \
  " END,"                                                                                          \
  "  CASE WHEN r.relispartition"                                                                   \
  "   THEN format('%s is a partition of %s: ALTER TABLE %2$s DETACH PARTITION %1$s', r.name,"      \
  "    i.inhparent::regclass)"                                                                     \
  "   ELSE format('%s inherits from %s, so that DELETE and UPDATE there meet it: ALTER TABLE %1$s" \
  " NO INHERIT %2$s', r.name, i.inhparent::regclass) END"                                          \
  " FROM relation r JOIN pg_inherits i ON i.inhrelid = r.oid WHERE NOT r.is_partition"             \
  " UNION ALL SELECT " NOTED                                                                       \
  ", format('foreign key %I of %s takes rows away, or changes them, with"                          \
  " those of %s: ALTER TABLE %2$s DROP CONSTRAINT %1$I', k.conname, r.name,"                       \
  "   k.confrelid::regclass)"                                                                      \
  " FROM relation r JOIN pg_constraint k ON k.conrelid = r.oid WHERE k.contype = 'f'"              \
  "  AND k.conparentid = 0 AND (k.confdeltype IN ('c', 'n', 'd')"                                  \
  "   OR k.confupdtype IN ('c', 'n', 'd'))"

#define FIND_KEYS                                                                                  \
  "SELECT " BLOCKING                                                                               \
  ", format('%s has no valid primary key (%s), which keeps rows from being"                        \
  " stored twice: ALTER TABLE %1$s ADD PRIMARY KEY (%2$s)', r.name, r.key)"                        \
  " FROM relation r WHERE r.relkind IN ('r', 'p') AND NOT r.is_partition"                          \
  "  AND NOT EXISTS (SELECT FROM pg_index x WHERE x.indrelid = r.oid AND x.indisprimary"           \
  "   AND x.indisvalid AND x.indisready AND x.indimmediate AND r.key = (SELECT"                    \
  "   string_agg(a.attname, ', ' ORDER BY k.place) FROM unnest(x.indkey::int2[])"                  \
  "   WITH ORDINALITY AS k (attnum, place) JOIN pg_attribute a"                                    \
  "   ON a.attrelid = r.oid AND a.attnum = k.attnum))"                                             \
  " UNION ALL SELECT " NOTED                                                                       \
  ", format('index %s of %s isn''t valid, so that reading is slow:"                                \
  " REINDEX INDEX %1$s', x.indexrelid::regclass, r.name)"                                          \
  " FROM relation r JOIN pg_index x ON x.indrelid = r.oid"                                         \
  " WHERE NOT x.indisvalid AND NOT x.indisprimary"

#define FINDINGS                                                                                   \
  "finding (severity, text) AS (" FIND_TRIGGERS " UNION ALL " FIND_RULES                           \
  " UNION ALL " FIND_ROW_SECURITY " UNION ALL " FIND_FOREIGN_COLUMNS                               \
  " UNION ALL " FIND_CHANGED_COLUMNS " UNION ALL " FIND_COLLATIONS " UNION ALL " FIND_KINDS        \
  " UNION ALL " FIND_RELATIVES " UNION ALL " FIND_KEYS ")"

/* Refused where one isn't there. */
#define FIELD(table, column, type) "(NULL::" #table ")." #column ","
#define COLUMNS_ARE_THERE          "ROW(" COLUMNS_WRITTEN(FIELD) COLUMNS_OTHER(FIELD) "NULL) IS NULL"

const char surroundings_question[] =
    "WITH RECURSIVE " RELATIONS ", " FINDINGS
    " SELECT now.fingerprint, f.text, count(f.text) OVER (),"
    "  coalesce(bool_or(f.severity = " WATCHED
    ") OVER (), false),"
    "  coalesce(bool_or(f.severity = " BLOCKING
    ") OVER (), false)"
    " FROM (SELECT " FINGERPRINT " AS fingerprint WHERE " COLUMNS_ARE_THERE
    ") AS now LEFT JOIN finding f ON true"
    " ORDER BY f.severity DESC, f.text LIMIT " SURROUNDINGS_ROWS_MAX;
