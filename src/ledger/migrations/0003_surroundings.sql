-- Numbers for what stands on the tables that a write goes into: the same as long as nothing was done to
-- them that could swallow, change, hide or lose a row. Each write compares them with what they were when
-- its ledger was claimed. xmin is another after each change of a row.
CREATE FUNCTION audit_surroundings_now(written oid[]) RETURNS int8
LANGUAGE sql VOLATILE AS $$
  SELECT hashtextextended(string_agg(fact, E'\n' ORDER BY fact COLLATE "C"), 0) FROM (
    SELECT format('table %s %s %s %s', oid, relkind, relpersistence, row_security_active(oid))
      FROM pg_class WHERE oid = ANY (written)
    UNION ALL
    SELECT format('column %s %s %s %s', attrelid, attname, atttypid, atttypmod)
      FROM pg_attribute WHERE attrelid = ANY (written) AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT format('key %s %s', conrelid, pg_get_constraintdef(oid))
      FROM pg_constraint WHERE conrelid = ANY (written) AND contype = 'p'
    UNION ALL
    SELECT format('trigger %s %s', oid, xmin)
      FROM pg_trigger WHERE tgrelid = ANY (written) AND NOT tgisinternal
    UNION ALL
    SELECT format('rule %s %s', oid, xmin) FROM pg_rewrite WHERE ev_class = ANY (written)
  ) AS facts (fact)
$$;

-- It isn't immutable, and is declared so on purpose: PostgreSQL computes it when it plans a statement
-- that calls it with constants, keeps the result in the plan, and plans anew when one of those tables
-- was changed. What each write would pay 50 us for costs it nothing. That the other is VOLATILE makes it
-- see what was committed until the planner has the tables' locks, not until it waited for them.
CREATE FUNCTION audit_surroundings(written oid[]) RETURNS int8
LANGUAGE sql IMMUTABLE AS 'SELECT audit_surroundings_now(written)';

-- The triggers that partitions have of their own: a change of a partition leaves the plan as it is.
-- A partition that is being detached has itself as its root. STABLE, as it is called when the statement
-- runs.
CREATE FUNCTION audit_partition_triggers(parent oid) RETURNS int8
LANGUAGE sql STABLE AS $$
  SELECT coalesce(hashtextextended(string_agg(format('%s %s', oid, xmin), E'\n' ORDER BY oid), 0), 0)
    FROM pg_trigger
   WHERE NOT tgisinternal AND tgparentid = 0 AND tgrelid <> parent
     AND (pg_partition_root(tgrelid) = parent
      OR EXISTS (SELECT FROM pg_inherits WHERE inhrelid = pg_partition_root(tgrelid)))
$$;
