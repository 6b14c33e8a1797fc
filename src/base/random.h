/*
 * random: what keeps things that began together from happening together for ever.
 */
#pragma once

#include <stdint.h>

/* Uniform in [0, below); 0 when that is empty. Never waits. */
int64_t random_below(int64_t below);
