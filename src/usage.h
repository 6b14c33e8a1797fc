/*
 * usage: the daemon's options and commands as a table: getopt takes them from here, and the help
 * and the manual pages are made of it.
 */
#pragma once

#include <getopt.h>
#include <stdio.h>

enum usage_id {
  OPTION_CONFIG = 256,
  OPTION_SET,
  OPTION_CHECK,
  OPTION_PRINT,
  OPTION_EXAMPLE,
  OPTION_REFERENCE,
  OPTION_METRICS,
  OPTION_ROLES,
  OPTION_MANUAL,
  OPTION_VERSION,
  OPTION_HELP,
};

#define USAGE_MAX_OPTIONS 32

/* The exit code of a command line, or of settings, that are no use. */
#define EXIT_USAGE 2

/* For getopt_long(). */
void usage_options(struct option ret_options[USAGE_MAX_OPTIONS]);

void usage_print_help(FILE *out);

/* auditstored(8) for "8", auditstored.yaml(5) for "5". Returns 0, or -1 for any other name. */
int usage_print_manual(FILE *out, const char *section);
