/*
 * methods: the one table of which role admits to which method.
 *
 * A method that isn't in it is for nobody. tests/unit/test_access_methods.c finds those of our
 * services that are missing.
 */
#pragma once

#include <stdio.h>

#include "config/access_lists.h"

/* Besides the roles of config/access_lists.h: no role is needed, and nobody is asked who he is. */
#define ACCESS_EVERYBODY (1U << CONFIG_ROLE_COUNT)

/* Bits of the roles of which one is needed; 0: unknown method. */
unsigned access_method_roles(const char *path);

/* docs/roles.md */
void access_print_reference(FILE *out);
