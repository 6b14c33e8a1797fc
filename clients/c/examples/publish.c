/*
 * publish: publishes one event for each word, and says what became of it.
 *
 *   publish SERVER SPOOL_DIR WORD...
 *
 * Events wait in SPOOL_DIR when the store is away, and go out the next time that this is run. Exit
 * code 0: all is stored; 1: something was refused; 2: something waits in the spool.
 */
#include <auditstore/auditstore.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define WAIT_MS 5000

/* On the publisher's thread. */
static void on_result(void *arg, const struct auditstore_publish_result *result) {
  (void)arg;
  if (result->code == AUDITSTORE_OK)
    printf("%s: stored in ledger %" PRId64 " at %" PRId64 "\n", result->event_id, result->ledger_id,
           result->sequence);
  else
    printf("%s: %s: %s\n", result->event_id, auditstore_code_name(result->code), result->message);
}

static int publish_word(struct auditstore_publisher *publisher, char *word) {
  static char type[] = "word.said", category[] = "word", action[] = "say";
  Auditstore__V1__AuditEvent event = AUDITSTORE__V1__AUDIT_EVENT__INIT;
  Auditstore__V1__Resource resource = AUDITSTORE__V1__RESOURCE__INIT;
  struct auditstore_status status = {0};
  event.event_type = type;
  event.event_category = category;
  event.event_action = action;
  event.outcome = AUDITSTORE__V1__OUTCOME__OUTCOME_SUCCESS;
  event.resource = &resource;
  resource.type = category;
  resource.id = word;
  /* OK: it is on this machine's disk. */
  if (auditstore_publisher_publish(publisher, &event, 0, &status) != AUDITSTORE_OK)
    fprintf(stderr, "publish: %s: %s\n", word, status.message);
  int code = (int)status.code;
  auditstore_status_deinit(&status);
  return code;
}

int main(int argc, char **argv) {
  struct auditstore_status status = {0};
  struct auditstore_publisher_counters counters;
  if (argc < 4) {
    fputs("usage: publish SERVER SPOOL_DIR WORD...\n", stderr);
    return EXIT_FAILURE;
  }
  const struct auditstore_publisher_options options = {
      .mode = AUDITSTORE_PUBLISH_FAIL_CLOSED, .spool_dir = argv[2], .on_result = on_result};
  struct auditstore_channel *channel = auditstore_channel_new(argv[1], NULL, &status);
  struct auditstore_publisher *publisher =
      channel ? auditstore_publisher_new(channel, &options, &status) : NULL;
  if (!publisher) {
    fprintf(stderr, "publish: %s\n", status.message);
    return EXIT_FAILURE;
  }
  int failed = 0;
  for (int i = 3; i < argc; i++)
    failed |= publish_word(publisher, argv[i]);
  uint64_t waiting = auditstore_publisher_close(publisher, WAIT_MS);
  auditstore_publisher_get_counters(publisher, &counters);
  if (waiting > 0)
    fprintf(stderr, "publish: %" PRIu64 " wait in %s: %s: %s\n", waiting, argv[2],
            auditstore_code_name(counters.last_code), counters.last_message);
  auditstore_publisher_free(publisher);
  auditstore_channel_free(channel);
  return failed || counters.rejected > 0 ? EXIT_FAILURE : waiting > 0 ? 2 : EXIT_SUCCESS;
}
