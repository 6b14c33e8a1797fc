/*
 * std_files: the three descriptors that every program is started with.
 */
#pragma once

#include <stdbool.h>

#include "base/must_check.h"

/* Opens /dev/null for those that are missing, so that no socket gets a number that texts are
 * written to. To be called before anything else is opened. What is read from a missing input and
 * written to a missing output fails as without it; a missing error output takes all. False: it
 * can't be had, and the program should end. */
MUST_CHECK bool std_files_open(void);
