/*
 * config_fixture: a configuration that is loaded from a file with the text of the test.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/config.h"

struct loaded {
  struct config config;
  int rc;         /* of config_load() */
  char *problems; /* what it printed */
  size_t problems_len;
  char path[64];
};

/* The override is one of the command line, or NULL. */
static inline void load(struct loaded *l, const char *yaml, const char *override) {
  *l = (struct loaded){0};
  snprintf(l->path, sizeof(l->path), "/tmp/test_config.XXXXXX");
  int fd = mkstemp(l->path);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, yaml, strlen(yaml)), (ssize_t)strlen(yaml));
  close(fd);
  const struct config_input input = {
      .path = l->path, .overrides = &override, .override_count = override != NULL};
  FILE *out = open_memstream(&l->problems, &l->problems_len);
  l->rc = config_load(&l->config, &input, out);
  fclose(out);
}

static inline void unload(struct loaded *l) {
  if (l->rc == 0)
    config_deinit(&l->config);
  free(l->problems);
  unlink(l->path);
}
