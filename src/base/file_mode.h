/*
 * file_mode: who may do what with a file of secrets.
 */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>

/* Others than the owner and the group may read it, or change it. */
static inline bool file_mode_is_exposed(mode_t mode) {
  return (mode & (S_IROTH | S_IWOTH)) != 0;
}
