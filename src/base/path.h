/*
 * path: names of files.
 */
#pragma once

#include <limits.h>

/* The folder that a file lies in; "." for a name without one. */
void path_folder(const char *path, char ret_folder[PATH_MAX]);
