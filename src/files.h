/*
 * files: all files that the settings name, looked at before somebody needs them.
 */
#pragma once

#include <stdio.h>

#include "base/must_check.h"
#include "config/config.h"

/* Those that libpq reads at each dial: who else may read or change the password and the key, and
 * whether certificate and key belong together. ERR_FAILED_PRECONDITION; what the environment
 * production would refuse is only warned of in the others. */
MUST_CHECK int files_check_database(const struct config *config, struct error *err);

/* Each file of each setting, by what the start does with it: reads, checks and forgets it. Writes
 * one line for each fault to `problems` and returns how many there are. The log has warnings. */
MUST_CHECK int files_check(const struct config *config, FILE *problems);
