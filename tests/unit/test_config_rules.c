/*
 * Rules between settings of different parts.
 */
#include "config_fixture.h"

#include "ledger/event.h"

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
