/*
 * restored: the command `auditstored restored`: tells the store that its database was restored from
 * a backup on purpose.
 */
#pragma once

#include "config/config.h"

/* Closes all ledgers, begins the next epoch, records that as an event and waits for its commit, and
 * sets the memory's file to what the database has. Returns the exit code: 0 done; 1 not, and the
 * log says why and whether anything was changed; 2 the settings contradict the database. May be run
 * again when it was cut short: that begins another epoch. */
int restored_run(struct config *config);
