#include "ingest/batch.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "ingest/answers.h"
#include "ingest/proofs.h"
#include "ledger/rows.h"

#define NO_ITEM (-1)

void batch_deinit(struct batch *b) {
  free(b->requests);
  free(b->items);
  free(b->slots);
  free(b->order);
  free(b->repeats);
  free(b->runs);
  *b = (struct batch){0};
}

void batch_clear(struct batch *b) {
  assert(b->open_count == 0 && b->settled.count == 0);
  b->request_count = b->event_count = b->item_count = b->group_count = b->repeat_count = 0;
  b->size_bytes = 0;
  b->peer = 0;
}

void batch_add(struct batch *b, struct ingest_request *request) {
  if (b->request_count == b->request_cap) {
    b->request_cap = b->request_cap ? 2 * b->request_cap : 64;
    b->requests = xrealloc(b->requests, (size_t)b->request_cap * sizeof(struct ingest_request *));
  }
  b->requests[b->request_count++] = request;
  b->open_count++;
  b->event_count += request->count;
  b->size_bytes += (int64_t)request->size_bytes;
}

/* ---- whose it is ---- */

/* Whoever has more than half of the events is found so, if there is one (Boyer and Moore, 1981). */
static uint64_t find_candidate(const struct batch *b) {
  uint64_t peer = 0;
  int lead = 0;
  for (int i = 0; i < b->request_count; i++) {
    const struct ingest_request *request = b->requests[i];
    lead += request->peer == peer ? request->count : -request->count;
    if (lead >= 0)
      continue;
    peer = request->peer;
    lead = -lead;
  }
  return peer;
}

void batch_find_peer(struct batch *b) {
  int64_t events = 0;
  b->peer = find_candidate(b);
  for (int i = 0; i < b->request_count; i++)
    events += b->requests[i]->peer == b->peer ? b->requests[i]->count : 0;
  if (2 * events <= b->event_count)
    b->peer = 0;
}

/* ---- gathering ---- */

static bool result_is_open(const struct ingest_result *result) {
  return !result->status && !result->ledger_id && !result->is_duplicate;
}

static void batch_reserve(struct batch *b, int count) {
  if (count <= b->item_cap)
    return;
  b->items = xrealloc(b->items, (size_t)count * sizeof(*b->items));
  b->slots = xrealloc(b->slots, (size_t)count * sizeof(*b->slots));
  b->order = xrealloc(b->order, (size_t)count * sizeof(*b->order));
  b->repeats = xrealloc(b->repeats, (size_t)count * sizeof(*b->repeats));
  b->runs = xrealloc(b->runs, (size_t)count * sizeof(*b->runs));
  b->item_cap = count;
}

static void batch_gather_request(struct batch *b, int index, int max_items) {
  const struct ingest_request *request = b->requests[index];
  for (int i = 0; i < request->count && b->item_count < max_items; i++) {
    if (!result_is_open(&request->results[i]))
      continue;
    b->items[b->item_count] = (struct append_item){.event = &request->events[i],
                                                   .received_us = request->received_us,
                                                   .principal = request->principal};
    b->slots[b->item_count++] = (struct batch_slot){.request = index, .index = i};
  }
}

static int compare_order(const void *a, const void *b, void *arg) {
  const struct append_item *items = arg;
  int x = *(const int *)a;
  int y = *(const int *)b;
  int by_key = event_compare_keys(items[x].event, items[y].event);
  return by_key ? by_key : x - y;
}

/* Twins become neighbours, each run in the order of the batch. */
static void batch_sort(struct batch *b) {
  for (int i = 0; i < b->item_count; i++)
    b->order[i] = i;
  qsort_r(b->order, (size_t)b->item_count, sizeof(*b->order), compare_order, b->items);
}

static bool is_twin_of_previous(const struct batch *b, int i) {
  return i > 0 &&
         event_compare_keys(b->items[b->order[i - 1]].event, b->items[b->order[i]].event) == 0;
}

/* Each item learns of which run of twins it is. */
static void batch_find_runs(struct batch *b) {
  int first = 0;
  batch_sort(b);
  for (int i = 0; i < b->item_count; i++) {
    if (!is_twin_of_previous(b, i))
      first = b->order[i];
    b->runs[b->order[i]] = (struct batch_run){.first = first, .original = NO_ITEM};
  }
}

/* What it repeats of another request; NO_ITEM: nothing. */
static int original_of(const struct batch *b, int item) {
  int original = b->runs[b->runs[item].first].original;
  bool is_other = original != NO_ITEM && b->slots[original].request != b->slots[item].request;
  return is_other ? original : NO_ITEM;
}

/* Returns whether the items from `from` to `to`, which are a request's, include one that refuses it
 * as a whole once its original is stored. */
static bool batch_add_repeats(struct batch *b, int from, int to) {
  bool is_refusal = false;
  for (int i = from; i < to; i++) {
    int original = original_of(b, i);
    if (original == NO_ITEM)
      continue;
    bool is_same = event_is_same(b->items[i].event, b->items[original].event);
    b->repeats[b->repeat_count++] = (struct batch_repeat){
        .slot = b->slots[i], .original = b->slots[original], .is_same = is_same};
    is_refusal |= !is_same && b->requests[b->slots[i].request]->is_atomic;
  }
  return is_refusal;
}

/* Keeps what repeats nothing, from `kept` on, unless the whole request is left out. Returns where
 * what is kept ends. */
static int batch_keep(struct batch *b, int from, int to, int kept) {
  bool is_left_out = batch_add_repeats(b, from, to);
  for (int i = from; i < to && !is_left_out; i++) {
    struct batch_run *run = &b->runs[b->runs[i].first];
    if (original_of(b, i) != NO_ITEM)
      continue;
    if (run->original == NO_ITEM)
      run->original = kept;
    b->items[kept] = b->items[i];
    b->slots[kept++] = b->slots[i];
  }
  return kept;
}

static void batch_leave_repeats(struct batch *b) {
  int kept = 0;
  int to = 0;
  batch_find_runs(b);
  for (int from = 0; from < b->item_count; from = to) {
    while (to < b->item_count && b->slots[to].request == b->slots[from].request)
      to++;
    kept = batch_keep(b, from, to, kept);
  }
  b->item_count = kept;
}

const struct batch_bounds batch_all = {.max_requests = INT_MAX, .max_items = INT_MAX};

void batch_gather(struct batch *b, const struct batch_bounds *bounds) {
  batch_reserve(b, b->event_count);
  b->item_count = b->group_count = b->repeat_count = 0;
  for (int i = 0; i < b->request_count && b->group_count < bounds->max_requests; i++) {
    if (!b->requests[i])
      continue;
    batch_gather_request(b, i, bounds->max_items);
    b->group_count++;
  }
  if (bounds->leaves_repeats)
    batch_leave_repeats(b);
}

/* ---- what became of the items ---- */

static struct ingest_result *slot_result(const struct batch *b, const struct batch_slot *slot) {
  return &b->requests[slot->request]->results[slot->index];
}

static const struct event *slot_event(const struct batch *b, const struct batch_slot *slot) {
  return &b->requests[slot->request]->events[slot->index];
}

static struct ingest_result *item_result(const struct batch *b, int item) {
  return slot_result(b, &b->slots[item]);
}

/* Their originals are items, which were just stored. */
static void batch_mark_repeats(struct batch *b) {
  for (int i = 0; i < b->repeat_count; i++) {
    const struct batch_repeat *repeat = &b->repeats[i];
    struct ingest_result *result = slot_result(b, &repeat->slot);
    const struct ingest_result *original = slot_result(b, &repeat->original);
    assert(original->ledger_id);
    if (!repeat->is_same) {
      result->status = answer_conflict(slot_event(b, &repeat->slot));
      continue;
    }
    result->ledger_id = original->ledger_id;
    result->sequence = original->sequence;
    result->committed_us = original->committed_us;
    result->is_duplicate = true;
  }
}

void batch_mark_written(struct batch *b, const struct batch_place *first) {
  for (int i = 0; i < b->item_count; i++) {
    struct ingest_result *result = item_result(b, i);
    result->ledger_id = first->ledger_id;
    result->sequence = first->sequence + i;
    result->committed_us = first->committed_us;
  }
  batch_mark_repeats(b);
}

void batch_attach_proofs(struct batch *b, const struct seal *seal) {
  for (int i = 0; i < b->item_count; i++) {
    struct ingest_request *request = b->requests[b->slots[i].request];
    const struct ingest_result *result = item_result(b, i);
    if (!request->wants_proof)
      continue;
    if (!request->proofs)
      request->proofs = proofs_new(seal, result->ledger_id, request->count);
    else if (!proofs_are_of(request->proofs, seal, result->ledger_id))
      continue;
    proofs_add(request->proofs, seal, b->slots[i].index, result->sequence);
  }
}

void batch_mark_match(struct batch *b, const struct append_match *match, int64_t ledger_id) {
  assert(match->index >= 0 && match->index < b->item_count);
  struct ingest_result *result = item_result(b, match->index);
  const struct append_item *item = &b->items[match->index];
  if (!match->is_same) {
    result->status = answer_conflict(item->event);
    return;
  }
  const struct event_place *place = &match->place;
  bool is_ours = place->ledger_id == ledger_id && place->received_us == item->received_us;
  result->ledger_id = place->ledger_id;
  result->sequence = place->sequence;
  result->committed_us = match->committed_us;
  result->is_duplicate = !is_ours;
}

void batch_mark_twins(struct batch *b) {
  int first = 0; /* of the run of twins, in order[] */
  batch_sort(b);
  for (int i = 1; i < b->item_count; i++) {
    int item = b->order[i];
    int original = b->order[first];
    if (!is_twin_of_previous(b, i) || b->slots[item].request != b->slots[original].request) {
      first = i;
      continue;
    }
    struct ingest_result *result = item_result(b, item);
    if (!result_is_open(item_result(b, original)) || !result_is_open(result))
      continue;
    if (!event_is_same(b->items[item].event, b->items[original].event)) {
      result->status = answer_conflict(b->items[item].event);
      continue;
    }
    result->is_duplicate = true;
    result->sequence = b->slots[original].index;
  }
}

/* ---- settling ---- */

/* An event that repeats another of its request gets that one's place or refusal. */
static void settle_repeats(struct ingest_request *request) {
  for (int i = 0; i < request->count; i++) {
    struct ingest_result *result = &request->results[i];
    if (!result->is_duplicate || result->ledger_id)
      continue;
    const struct ingest_result *original = &request->results[result->sequence];
    if (original->status) {
      *result = (struct ingest_result){.status = grpc_status_copy(original->status)};
      continue;
    }
    *result = *original;
    result->is_duplicate = true;
  }
}

static struct grpc_status *take_refusal(struct ingest_request *request) {
  for (int i = 0; i < request->count; i++) {
    struct grpc_status *status = request->results[i].status;
    if (!status)
      continue;
    request->results[i].status = NULL;
    return status;
  }
  return NULL;
}

static bool request_is_decided(const struct ingest_request *request) {
  for (int i = 0; i < request->count; i++) {
    if (result_is_open(&request->results[i]))
      return false;
  }
  return true;
}

/* Some of it is stored already: the failure is of what isn't. */
static void fail_the_rest(struct ingest_request *request, const struct grpc_status *failure) {
  for (int i = 0; i < request->count; i++) {
    if (result_is_open(&request->results[i]))
      request->results[i].status = grpc_status_copy(failure);
  }
  settle_repeats(request);
}

static bool is_stored_in_part(const struct ingest_request *request) {
  for (int i = 0; i < request->count && !request->is_atomic; i++) {
    if (request->results[i].ledger_id)
      return true;
  }
  return false;
}

void batch_settle(struct batch *b, int index, struct grpc_status *failure) {
  struct ingest_request *request = b->requests[index];
  assert(request);
  if (failure && is_stored_in_part(request)) {
    fail_the_rest(request, failure);
    grpc_status_free(failure);
    failure = NULL;
  }
  request->failure = failure;
  b->requests[index] = NULL;
  b->open_count--;
  list_push_back(&b->settled, &request->link);
}

int batch_settle_decided(struct batch *b) {
  int count = 0;
  for (int i = 0; i < b->request_count; i++) {
    struct ingest_request *request = b->requests[i];
    if (!request)
      continue;
    struct grpc_status *refusal = request->is_atomic ? take_refusal(request) : NULL;
    if (!refusal && !request_is_decided(request))
      continue;
    if (!refusal)
      settle_repeats(request);
    batch_settle(b, i, refusal);
    count++;
  }
  return count;
}

/* ---- time ---- */

int64_t batch_first_expiry(const struct batch *b) {
  int64_t first_us = CLOCK_NEVER;
  for (int i = 0; i < b->request_count; i++) {
    if (b->requests[i])
      first_us = deadline_min(first_us, b->requests[i]->expires_at_us);
  }
  return first_us;
}

int64_t batch_last_expiry(const struct batch *b) {
  int64_t last_us = INT64_MIN;
  for (int i = 0; i < b->request_count; i++) {
    if (b->requests[i] && b->requests[i]->expires_at_us > last_us)
      last_us = b->requests[i]->expires_at_us;
  }
  return last_us;
}
