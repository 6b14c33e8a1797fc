#include "ingest/write.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "access/access.h"
#include "access/identity.h"
#include "base/alloc.h"
#include "ingest/answers.h"
#include "ingest/oversize.h"
#include "ingest/proofs.h"

#define US_PER_S 1000000

_Static_assert(IDENTITY_MAX_BYTES <= EVENT_PRINCIPAL_MAX_BYTES, "each principal can be stored");

/* ---- memory: the struct and its arrays are one piece ---- */

struct layout {
  size_t events, results, indexes, rejected, size;
};

static size_t take_bytes(size_t *at, size_t bytes) {
  size_t start = *at;
  *at = (start + bytes + 15) & ~(size_t)15;
  return start;
}

static struct layout layout_of(size_t count) {
  struct layout l = {0};
  take_bytes(&l.size, sizeof(struct write));
  l.events = take_bytes(&l.size, count * sizeof(struct event));
  l.results = take_bytes(&l.size, count * sizeof(struct ingest_result));
  l.indexes = take_bytes(&l.size, count * sizeof(int));
  l.rejected = take_bytes(&l.size, count * sizeof(struct grpc_status *));
  return l;
}

/* `count` is at most max_request_events here. NULL, never for 0: the server's memory is used up. */
static struct write *write_alloc(struct grpc_message *message, size_t count) {
  struct layout l = layout_of(count);
  char *memory = arena_alloc(grpc_message_arena(message), l.size);
  bool is_on_heap = memory == NULL;
  if (is_on_heap) {
    if (!grpc_message_hold(message, l.size) && count > 0)
      return NULL;
    memory = xmalloc(l.size);
  }
  memset(memory, 0, sizeof(struct write));
  memset(memory + l.results, 0, l.size - l.results);
  struct write *write = (struct write *)(void *)memory;
  write->message = message;
  write->is_on_heap = is_on_heap;
  write->input_count = (int)count;
  write->request.events = (void *)(memory + l.events);
  write->request.results = (void *)(memory + l.results);
  write->request.size_bytes = grpc_message_bytes(message);
  write->indexes = (void *)(memory + l.indexes);
  write->rejected = (void *)(memory + l.rejected);
  return write;
}

void write_free(struct write *write) {
  for (int i = 0; i < write->request.count; i++)
    grpc_status_free(write->request.results[i].status);
  for (int i = 0; i < write->input_count; i++)
    grpc_status_free(write->rejected[i]);
  grpc_status_free(write->failure);
  proofs_free(write->request.proofs);
  struct grpc_message *message = write->message;
  if (write->is_on_heap)
    free(write);
  grpc_message_release(message);
}

/* ---- in ---- */

static struct grpc_status *check_input(const struct validator *v, const struct write_input *input) {
  int max = v->config->max_request_events;
  struct grpc_status *status = NULL;
  if (input->count > 0 && input->count <= (size_t)max && (int)input->mode >= 0 &&
      input->mode <= AUDITSTORE__V1__WRITE_MODE__WRITE_MODE_PARTIAL)
    return NULL;
  if (input->count == 0)
    grpc_status_violate(&status, "events", "must hold at least one event");
  else if (input->count > (size_t)max)
    oversize_violate(v->config, input->count, &status);
  if ((int)input->mode < 0 || input->mode > AUDITSTORE__V1__WRITE_MODE__WRITE_MODE_PARTIAL)
    grpc_status_violate(&status, "mode", "%d is not a known mode: 1 is ATOMIC, 2 is PARTIAL",
                        (int)input->mode);
  return status;
}

/* What is refused whole is known before it is paid for. */
void write_input_admit(struct write_input *input, const struct validator *v, struct grpc_call *call,
                       const struct grpc_message *message) {
  const struct access_amount amount = {.events = (int64_t)input->count,
                                       .bytes = (int64_t)grpc_message_bytes(message)};
  input->principal = access_principal(call);
  input->peer = grpc_call_connection(call);
  input->refusal = check_input(v, input);
  if (!input->refusal)
    input->refusal = access_charge(call, amount);
}

/* False: the server's memory is used up. */
static bool count_rejection(const struct write *write, const struct grpc_status *status) {
  return !status || grpc_message_hold(write->message, grpc_status_bytes(status));
}

static void fail_write(struct write *write, struct grpc_status *failure) {
  grpc_status_free(write->failure);
  write->failure = failure;
}

/* Whether the event's month has a partition, or may have one made. */
static bool admit_month(struct validator *v, int64_t time_us, int index,
                        struct grpc_status **status) {
  if (!v->partitions)
    return true;
  struct grpc_status *refusal =
      new_months_admit(&v->new_months, v->partitions, v->config->max_new_months, time_us, index);
  if (!refusal)
    return true;
  if (*status)
    grpc_status_free(refusal);
  else
    *status = refusal;
  return false;
}

/* Good events stand together at the front, each knowing where the caller had it. */
static void write_validate(struct write *write, struct validator *v,
                           const struct write_input *input) {
  struct event *events = (struct event *)write->request.events;
  int good = 0;
  v->made_ids = 0;
  new_months_begin(&v->new_months);
  for (int i = 0; i < write->input_count; i++) {
    struct grpc_status **status = write->request.is_atomic ? &write->failure : &write->rejected[i];
    if (validate_event(v, input->events[i], i, &events[good], status) &&
        admit_month(v, events[good].time_us, i, status))
      write->indexes[good++] = i;
    if (!count_rejection(write, write->rejected[i])) {
      fail_write(write, grpc_status_short_of_memory());
      break;
    }
  }
  if (v->is_clock_in_doubt)
    fail_write(write, answer_clock_in_doubt(v->clocks.us));
  write->request.count = good;
  write->has_made_ids = v->made_ids > 0;
}

void write_count_results(struct write *write) {
  size_t bytes = proofs_bytes(write->request.proofs);
  for (int i = 0; i < write->request.count; i++) {
    const struct grpc_status *status = write->request.results[i].status;
    bytes += status ? grpc_status_bytes(status) : 0;
  }
  grpc_message_hold_anyway(write->message, bytes);
}

struct write *write_new(struct validator *v, const struct write_input *input,
                        struct grpc_message *message) {
  struct write *write = input->refusal ? NULL : write_alloc(message, input->count);
  bool is_taken = write != NULL;
  if (!write)
    write = write_alloc(message, 0);
  write->failure = input->refusal;
  if (!is_taken && !write->failure)
    write->failure = grpc_status_short_of_memory();
  write->inputs = input->events;
  write->request.principal = input->principal;
  write->request.peer = input->peer;
  write->request.wants_proof = input->wants_proof;
  v->is_clock_in_doubt = false;
  write->request.is_atomic = input->mode != AUDITSTORE__V1__WRITE_MODE__WRITE_MODE_PARTIAL;
  if (is_taken)
    write_validate(write, v, input);
  if (write->failure)
    grpc_message_hold_anyway(message, grpc_status_bytes(write->failure));
  return write;
}

/* ---- out ---- */

/* Per event at most a receipt with its time, an id and a rejection, each with its pointer and
 * rounded up to the arena's alignment; and what proves it. */
size_t write_output_max_bytes(const struct write *write) {
  size_t per_event = sizeof(Auditstore__V1__Receipt) + sizeof(Google__Protobuf__Timestamp) +
                     sizeof(ProtobufCBinaryData) + UUID_TEXT_LEN +
                     sizeof(Auditstore__V1__RejectedEvent) + 2 * sizeof(void *) + 7 * (size_t)16;
  return ((size_t)write->input_count + 1) * per_event +
         proofs_message_max_bytes(write->request.proofs);
}

static void *must_alloc(struct arena *arena, size_t count, size_t size) {
  void *p = arena_calloc(arena, count, size);
  assert(p);
  return p;
}

static Google__Protobuf__Timestamp *make_timestamp(int64_t us, struct arena *arena) {
  Google__Protobuf__Timestamp *t = must_alloc(arena, 1, sizeof(*t));
  google__protobuf__timestamp__init(t);
  t->seconds = us / US_PER_S;
  t->nanos = (int32_t)(us % US_PER_S) * 1000;
  return t;
}

static Auditstore__V1__Receipt *make_receipt(const struct ingest_result *result, int index,
                                             struct arena *arena) {
  Auditstore__V1__Receipt *receipt = must_alloc(arena, 1, sizeof(*receipt));
  auditstore__v1__receipt__init(receipt);
  receipt->first_index = (uint32_t)index;
  receipt->count = 1;
  receipt->ledger_id = result->ledger_id;
  receipt->first_sequence = result->sequence;
  receipt->committed_at = make_timestamp(result->committed_us, arena);
  receipt->durability = AUDITSTORE__V1__DURABILITY__DURABILITY_COMMITTED;
  receipt->duplicate = result->is_duplicate;
  return receipt;
}

/* Whether event i of the request continues the run that `count` events before it form. */
static bool continues_run(const struct write *write, int i, uint32_t count) {
  const struct ingest_result *result = &write->request.results[i];
  const struct ingest_result *previous = result - 1;
  return count > 0 && !previous->status && write->indexes[i] == write->indexes[i - 1] + 1 &&
         result->ledger_id == previous->ledger_id && result->sequence == previous->sequence + 1 &&
         result->committed_us == previous->committed_us &&
         result->is_duplicate == previous->is_duplicate &&
         proofs_has(write->request.proofs, i) == proofs_has(write->request.proofs, i - 1);
}

static void fill_receipts(const struct write *write, struct arena *arena,
                          struct write_output *out) {
  out->receipts =
      must_alloc(arena, (size_t)write->request.count, sizeof(Auditstore__V1__Receipt *));
  Auditstore__V1__Receipt *run = NULL;
  for (int i = 0; i < write->request.count; i++) {
    const struct ingest_result *result = &write->request.results[i];
    if (result->status)
      continue;
    if (continues_run(write, i, run ? run->count : 0)) {
      run->count++;
      continue;
    }
    run = make_receipt(result, write->indexes[i], arena);
    out->receipts[out->receipt_count++] = run;
  }
}

static void fill_proofs(const struct write *write, struct arena *arena, struct write_output *out) {
  int next = 0; /* of the request's events */
  for (size_t i = 0; i < out->receipt_count; i++) {
    while (write->indexes[next] != (int)out->receipts[i]->first_index)
      next++;
    proofs_fill(write->request.proofs, next, out->receipts[i], arena);
  }
}

static void put_id(const struct uuid *id, struct arena *arena, ProtobufCBinaryData *ret_text) {
  char *text = must_alloc(arena, 1, UUID_TEXT_LEN);
  uuid_format(id, text);
  *ret_text = (ProtobufCBinaryData){.len = UUID_TEXT_LEN, .data = (uint8_t *)text};
}

static void fill_ids(const struct write *write, struct arena *arena, struct write_output *out) {
  if (!write->has_made_ids)
    return;
  out->id_count = (size_t)write->input_count;
  out->ids = must_alloc(arena, out->id_count, sizeof(*out->ids));
  int next = 0; /* of the request's events */
  for (int i = 0; i < write->input_count; i++) {
    const ProtobufCBinaryData *given = &write->inputs[i]->event_id;
    struct uuid id;
    if (next < write->request.count && write->indexes[next] == i)
      put_id(&write->request.events[next++].id, arena, &out->ids[i]);
    else if (uuid_parse(str_of(given->data, given->len), &id))
      put_id(&id, arena, &out->ids[i]);
  }
}

static void add_rejected(int index, struct grpc_status *status, struct arena *arena,
                         struct write_output *out) {
  Auditstore__V1__RejectedEvent *rejected = must_alloc(arena, 1, sizeof(*rejected));
  auditstore__v1__rejected_event__init(rejected);
  rejected->index = (uint32_t)index;
  rejected->status = (Google__Rpc__Status *)grpc_status_proto(status);
  out->rejected[out->rejected_count++] = rejected;
}

/* What validation refused and what the store refused, merged by index. */
static void fill_rejected(const struct write *write, struct arena *arena,
                          struct write_output *out) {
  out->rejected =
      must_alloc(arena, (size_t)write->input_count, sizeof(Auditstore__V1__RejectedEvent *));
  int next = 0; /* of the request's events */
  for (int i = 0; i < write->input_count; i++) {
    struct grpc_status *status = write->rejected[i];
    if (next < write->request.count && write->indexes[next] == i)
      status = write->request.results[next++].status;
    if (status)
      add_rejected(i, status, arena, out);
  }
}

void write_fill_output(const struct write *write, struct arena *arena,
                       struct write_output *ret_output) {
  *ret_output = (struct write_output){0};
  if (write->failure)
    return;
  fill_receipts(write, arena, ret_output);
  if (write->request.proofs)
    fill_proofs(write, arena, ret_output);
  fill_ids(write, arena, ret_output);
  fill_rejected(write, arena, ret_output);
}
