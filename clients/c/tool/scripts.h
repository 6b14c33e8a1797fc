/*
 * scripts: the files in completion/ as texts, made when the tool is built.
 */
#pragma once

#include <stddef.h>

struct completion_script {
  const char *shell; /* "bash" */
  const char *text;
};

extern const struct completion_script completion_scripts[];
extern const size_t completion_script_count;
