/*
 * port_file: tells whoever started the daemon which port it got.
 */
#pragma once

#include "base/error.h"
#include "base/must_check.h"

/* Writes the number and a line end to `path`, so that a reader never sees half of it. Does nothing
 * when path is "". */
MUST_CHECK int port_file_write(const char *path, int port, struct error *err);

/* Whether it could be written. */
MUST_CHECK int port_file_check(const char *path, struct error *err);
