/*
 * sample: the events that every ingest figure is measured with.
 *
 * About 250 bytes on the wire and 14 of the fields, as a payment service would send: the same for
 * the daemon and for raw COPY.
 */
#pragma once

#include "base/uuid.h"

#include <stdint.h>

struct sample {
  struct uuid id;
  char id_text[UUID_TEXT_LEN + 1];
  int64_t time_us;
  char actor_id[32];
  char resource_id[32];
  char correlation_id[32];
  char event_data[128];
};

#define SAMPLE_TYPE          "payment.captured"
#define SAMPLE_CATEGORY      "payment"
#define SAMPLE_ACTION        "capture"
#define SAMPLE_ACTOR_TYPE    "service"
#define SAMPLE_RESOURCE_TYPE "payment"
#define SAMPLE_NAMESPACE     "payments"
#define SAMPLE_IP            "192.0.2.7"

/* The number-th event of a worker; distinct in every run. */
void sample_make(struct sample *ret_sample, struct uuid_v7 *ids, int64_t number);
