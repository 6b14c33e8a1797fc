/*
 * Rules between settings of different parts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/config.h"
#include "ledger/event.h"

struct loaded {
  struct config config;
  int rc;
  char *problems;
  size_t problems_len;
  char path[64];
};

static void load(struct loaded *l, const char *yaml, const char *override) {
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

static void unload(struct loaded *l) {
  if (l->rc == 0)
    config_deinit(&l->config);
  free(l->problems);
  unlink(l->path);
}

/* The default is nobody's mistake; a value that was set is. */
static void event_data_fits_a_message(void **state) {
  (void)state;
  struct loaded l;
  load(&l, "server:\n  max_message_bytes: 64KiB\n", NULL);
  assert_int_equal(l.rc, 0);
  assert_string_equal(l.problems, "");
  assert_int_equal(l.config.ingest.max_event_data_bytes, 48 * 1024);
  unload(&l);
  load(&l, "server:\n  max_message_bytes: 1040KiB\ningest:\n  max_event_data_bytes: 1MiB\n", NULL);
  assert_int_equal(l.rc, 0);
  assert_int_equal(l.config.ingest.max_event_data_bytes, 1024 * 1024);
  unload(&l);
  load(&l, "server:\n  max_message_bytes: 64KiB\ningest:\n  max_event_data_bytes: 49153\n", NULL);
  assert_int_equal(l.rc, ERR_INVALID_ARGUMENT);
  assert_non_null(strstr(l.problems,
                         "4: ingest.max_event_data_bytes: got \"49153B\": must be at least "
                         "16KiB below server.max_message_bytes"));
  unload(&l);
}

/* The contract's limit is the setting's most: neither can be changed alone. */
static void the_most_event_data_is_that_of_the_contract(void **state) {
  (void)state;
  struct loaded l;
  char override[64];
  const struct event_text_field *field = &event_text_fields[EVENT_TEXT_EVENT_DATA];
  snprintf(override, sizeof(override), "ingest.max_event_data_bytes=%zu", field->max_bytes);
  load(&l, "", override);
  assert_int_equal(l.rc, 0);
  assert_int_equal(l.config.ingest.max_event_data_bytes, field->max_bytes);
  unload(&l);
  snprintf(override, sizeof(override), "ingest.max_event_data_bytes=%zu", field->max_bytes + 1);
  load(&l, "", override);
  assert_int_equal(l.rc, ERR_INVALID_ARGUMENT);
  unload(&l);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(event_data_fits_a_message),
      cmocka_unit_test(the_most_event_data_is_that_of_the_contract),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
