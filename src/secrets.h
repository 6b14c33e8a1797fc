/*
 * secrets: files of secrets that others read for the daemon (libpq does), and who else may read
 * or change them.
 */
#pragma once

#include "config/config.h"

/* Warns of a file that everybody may read or change; in production that is ERR_FAILED_PRECONDITION.
 * A file that isn't there is left to who reads it. */
int secrets_check(const struct config *config, struct error *err);
