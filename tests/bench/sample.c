#include "bench/sample.h"

#include "base/clock.h"

#include <stdio.h>

void sample_make(struct sample *ret_sample, struct uuid_v7 *ids, int64_t number) {
  int64_t now = clock_wall_us(&clock_system);
  ret_sample->id = uuid_v7_next(ids, now);
  uuid_format(&ret_sample->id, ret_sample->id_text);
  ret_sample->id_text[UUID_TEXT_LEN] = '\0';
  ret_sample->time_us = now;
  snprintf(ret_sample->actor_id, sizeof(ret_sample->actor_id), "checkout-%02d", (int)(number % 20));
  snprintf(ret_sample->resource_id, sizeof(ret_sample->resource_id), "pay-%012lld",
           (long long)number);
  snprintf(ret_sample->correlation_id, sizeof(ret_sample->correlation_id), "order-%08lld",
           (long long)(number / 4));
  snprintf(ret_sample->event_data, sizeof(ret_sample->event_data),
           "{\"amount\":%lld,\"currency\":\"EUR\",\"method\":\"card\",\"attempt\":1,\"risk\":0.12}",
           (long long)(number % 100000));
}
