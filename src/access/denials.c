#include "access/denials.h"

#include <stdio.h>
#include <stdlib.h>

#include "access/identity.h"
#include "base/alloc.h"
#include "base/bucket.h"
#include "base/log.h"

/* One source at a time may try what it likes without hiding the others. */
#define SOURCE_COUNT      256
#define SOURCE_BURST      5
#define SOURCE_PER_SECOND 1
#define ALL_BURST         100
#define ALL_PER_SECOND    10

struct denials {
  denial_record_cb *record; /* may be NULL */
  void *record_arg;
  struct denial_stats stats;
  int64_t left_out; /* since the last one that was handed on */
  int64_t untold;   /* those that were lost, and what they would have told */
  struct bucket all;
  struct bucket sources[SOURCE_COUNT]; /* by hash: some share one */
};

static const struct {
  const char *name, *label, *text;
} reasons[] = {
#define DENIAL_ROW(name, reason, label, text) {reason, label, text},
    DENIAL_REASONS(DENIAL_ROW)
#undef DENIAL_ROW
};

const char *denial_reason_name(enum denial_reason reason) {
  return reasons[reason].name;
}

const char *denial_reason_label(enum denial_reason reason) {
  return reasons[reason].label;
}

const char *denial_reason_text(enum denial_reason reason) {
  return reasons[reason].text;
}

struct denials *denials_new(int64_t now_us, denial_record_cb *record, void *arg) {
  struct denials *denials = xcalloc(1, sizeof(*denials));
  denials->record = record;
  denials->record_arg = arg;
  bucket_init(&denials->all, ALL_BURST, ALL_PER_SECOND, now_us);
  for (int i = 0; i < SOURCE_COUNT; i++)
    bucket_init(&denials->sources[i], SOURCE_BURST, SOURCE_PER_SECOND, now_us);
  return denials;
}

void denials_free(struct denials *denials) {
  free(denials);
}

static struct bucket *source_of(struct denials *denials, const struct denial *denial) {
  struct str source = denial->principal.len ? denial->principal : denial->address;
  uint32_t hash = 0x811c9dc5; /* FNV-1a */
  for (size_t i = 0; i < source.len; i++)
    hash = (hash ^ (unsigned char)source.data[i]) * 0x01000193;
  return &denials->sources[hash % SOURCE_COUNT];
}

static void log_denial(const struct denial *denial) {
  char principal[IDENTITY_MAX_BYTES + 1];
  char address[64];
  snprintf(principal, sizeof(principal), "%.*s", (int)denial->principal.len,
           denial->principal.len ? denial->principal.data : "");
  snprintf(address, sizeof(address), "%.*s", (int)denial->address.len, denial->address.data);
  log_warn("access denied", KV("reason", denial_reason_name(denial->reason)),
           KV("method", denial->method), KV("principal", (const char *)principal),
           KV("address", (const char *)address), KV("left_out", denial->left_out));
}

void denials_note(struct denials *denials, struct denial *denial, int64_t now_us) {
  denials->stats.denied[denial->reason]++;
  if (!bucket_take(source_of(denials, denial), now_us) || !bucket_take(&denials->all, now_us)) {
    denials->stats.left_out++;
    denials->left_out++;
    return;
  }
  denial->left_out = denials->left_out;
  denials->left_out = 0;
  log_denial(denial); /* which has those that were lost */
  if (!denials->record)
    return;
  denial->left_out += denials->untold;
  denials->untold = 0;
  if (!denials->record(denials->record_arg, denial))
    denials_settled(denials, denial->left_out, false);
}

void denials_settled(struct denials *denials, int64_t left_out, bool is_stored) {
  if (is_stored) {
    denials->stats.stored++;
    return;
  }
  denials->stats.lost++;
  denials->untold += left_out + 1;
}

const struct denial_stats *denials_stats(const struct denials *denials) {
  return &denials->stats;
}
