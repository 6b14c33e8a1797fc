/*
 * descriptors: how many files the process may have open, connections among them.
 */
#pragma once

#include "config/config.h"

/* Raises the soft limit to the hard one, and returns what holds then. */
int64_t descriptors_raise(void);

/* "descriptors" in the log: the limit, what the settings need of it, and what they allow. */
void descriptors_announce(const struct config *config);
