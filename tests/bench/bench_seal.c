/*
 * bench_seal: what the ledger's hashes and signatures cost the daemon, without PostgreSQL: packing
 * and hashing each event, the root behind a batch, and the signature of its checkpoint.
 *
 *   bench_seal
 *
 * Prints one JSON line per size of batch, each the median of ROUNDS rounds.
 */
#include "bench/median.h"
#include "bench/sample.h"
#include "ledger/seal.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS           9
#define EVENTS_PER_ROUND 20000
#define BATCH_MAX        1000

struct bench {
  struct sample samples[BATCH_MAX];
  struct event events[BATCH_MAX];
  struct append_item items[BATCH_MAX];
  struct seal seal;
  struct claim claim;
  struct checkpoint_signer signer;
};

static int64_t now_us(void) {
  return clock_monotonic_us(&clock_system);
}

/* As validation makes them. */
static void make_event(struct event *event, const struct sample *sample) {
  *event = (struct event){.id = sample->id, .time_us = sample->time_us, .duration_us = -1};
  event->outcome = AUDITSTORE__V1__OUTCOME__OUTCOME_SUCCESS;
  event->severity = AUDITSTORE__V1__SEVERITY__SEVERITY_INFO;
  event->actor_ip = (struct pg_inet){.length = 4, .bytes = {192, 0, 2, 7}};
  event->text[EVENT_TEXT_EVENT_TYPE] = str_z(SAMPLE_TYPE);
  event->text[EVENT_TEXT_EVENT_CATEGORY] = str_z(SAMPLE_CATEGORY);
  event->text[EVENT_TEXT_EVENT_ACTION] = str_z(SAMPLE_ACTION);
  event->text[EVENT_TEXT_ACTOR_TYPE] = str_z(SAMPLE_ACTOR_TYPE);
  event->text[EVENT_TEXT_ACTOR_ID] = str_z(sample->actor_id);
  event->text[EVENT_TEXT_RESOURCE_TYPE] = str_z(SAMPLE_RESOURCE_TYPE);
  event->text[EVENT_TEXT_RESOURCE_ID] = str_z(sample->resource_id);
  event->text[EVENT_TEXT_NAMESPACE] = str_z(SAMPLE_NAMESPACE);
  event->text[EVENT_TEXT_CORRELATION_ID] = str_z(sample->correlation_id);
  event->text[EVENT_TEXT_EVENT_DATA] = str_z(sample->event_data);
}

/* Microseconds per event. */
static double run_round(struct bench *bench, int batch) {
  int64_t began_us = now_us();
  for (int done = 0; done < EVENTS_PER_ROUND; done += batch) {
    seal_make(&bench->seal, &bench->claim,
              &(struct seal_batch){bench->items, batch, bench->samples[0].time_us});
    seal_sign(&bench->seal, 1, &bench->signer);
    bench->claim.edge = bench->seal.growth.after;
  }
  return (double)(now_us() - began_us) / EVENTS_PER_ROUND;
}

static double measure(struct bench *bench, int batch) {
  double rounds[ROUNDS];
  for (int i = 0; i < ROUNDS; i++)
    rounds[i] = run_round(bench, batch);
  return median(rounds, ROUNDS);
}

static int make_key(struct checkpoint_signer *signer, struct signing_key **ret_key) {
  char folder[] = "/tmp/bench_seal.XXXXXX";
  char path[64];
  struct error err = {0};
  if (!mkdtemp(folder))
    return -1;
  snprintf(path, sizeof(path), "%s/key.pem", folder);
  int rc = signing_key_generate(path, ret_key, &err);
  unlink(path);
  rmdir(folder);
  signer->key = *ret_key;
  return rc;
}

int main(void) {
  static const int batches[] = {1, 10, 100, BATCH_MAX};
  struct bench *bench = calloc(1, sizeof(*bench));
  struct signing_key *key = NULL;
  struct uuid_v7 ids = {0};
  if (!bench)
    return EXIT_FAILURE;
  seal_init(&bench->seal);
  bench->claim.ledger_id = 1;
  for (int i = 0; i < BATCH_MAX; i++) {
    sample_make(&bench->samples[i], &ids, i);
    make_event(&bench->events[i], &bench->samples[i]);
    bench->items[i] =
        (struct append_item){.event = &bench->events[i], .received_us = bench->samples[i].time_us};
  }
  bench->signer.origin = "bench.example/ledger";
  for (size_t i = 0; i < sizeof(batches) / sizeof(batches[0]); i++) {
    bench->signer.key = NULL;
    double hashed_us = measure(bench, batches[i]);
    if (!key && make_key(&bench->signer, &key) < 0)
      return EXIT_FAILURE;
    bench->signer.key = key;
    double signed_us = measure(bench, batches[i]);
    printf(
        "{\"bench\":\"seal\",\"batch_events\":%d,\"rounds\":%d,\"hashed_us_per_event\":%.2f,"
        "\"signed_us_per_event\":%.2f}\n",
        batches[i], ROUNDS, hashed_us, signed_us);
  }
  signing_key_free(key);
  seal_deinit(&bench->seal);
  free(bench);
  return EXIT_SUCCESS;
}
