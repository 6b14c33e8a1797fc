/*
 * port_file: tells whoever started the daemon which port it got.
 */
#pragma once

#include "base/error.h"

/* Writes the number and a line end to `path`, so that a reader never sees half of it. Does nothing
 * when path is "". */
int port_file_write(const char *path, int port, struct error *err);
