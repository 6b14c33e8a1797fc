-- A number for what stands on the tables that a write goes into: the same as long as nothing was done
-- to them that could swallow, change, hide or lose a row. Each write compares it with what it was when
-- its ledger was claimed.
--
-- It isn't immutable, and is declared so on purpose: PostgreSQL then computes it when it plans a
-- statement that calls it with constants, keeps the result in the plan, and makes the plan anew when one
-- of those tables was changed. What each write would pay 50 us for costs it nothing.
--
-- Triggers of partitions aren't in it, as a change of a partition doesn't change the plan; nor are the
-- copies that a partition has of its parent's. xmin is another after each change of a row.
CREATE FUNCTION audit_surroundings(written oid[]) RETURNS int8
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
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
