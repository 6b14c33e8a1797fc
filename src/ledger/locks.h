/*
 * locks: the advisory locks that daemons and tools take in one database, so that no two parts use
 * the same number. All are held to the end of their transaction. The first number is "audi" in
 * ASCII, which keeps us apart from other programs in that database.
 *
 * The turns of append.h are locks of one number, which PostgreSQL keeps apart from those of two.
 */
#pragma once

#define LOCK_SCHEMA_SQL     "SELECT pg_advisory_xact_lock(1635083369, 1);"
#define LOCK_PARTITIONS_SQL "SELECT pg_advisory_xact_lock(1635083369, 2);"
