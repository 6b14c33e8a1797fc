/*
 * gRPC's framing: however a stream of bytes is split, the same messages come out of it, and each
 * can be unpacked within a memory that follows from its length.
 */
#include "auditstore/v1/audit_store.pb-c.h"
#include "base/arena.h"
#include "fuzz/fuzz.h"
#include "grpc/wire.h"

#include <string.h>

#define MAX_MESSAGE_BYTES 4096
#define MAX_MESSAGES      64

struct outcome {
  enum grpc_deframe_result last;
  bool is_partial;
  int count;
  uint64_t sums[MAX_MESSAGES];
};

static void *alloc_from_arena(void *arena, size_t size) {
  return arena_alloc(arena, size);
}

static void free_nothing(void *arena, void *p) {
  (void)arena;
  (void)p;
}

static void unpack(const struct buf *body) {
  struct arena arena;
  static const uint8_t none[1];
  arena_init(&arena, 8 * buf_len(body) + 65536);
  ProtobufCAllocator allocator = {alloc_from_arena, free_nothing, &arena};
  (void)protobuf_c_message_unpack(&auditstore__v1__stream_events_request__descriptor, &allocator,
                                  buf_len(body), buf_len(body) > 0 ? buf_bytes(body) : none);
  fuzz_require(arena.used_bytes <= arena.limit_bytes, "memory stays within its limit");
  arena_deinit(&arena);
}

/* FNV-1a. */
static uint64_t sum_of(const struct buf *body) {
  uint64_t sum = 14695981039346656037U;
  for (size_t i = 0; i < buf_len(body); i++)
    sum = (sum ^ buf_bytes(body)[i]) * 1099511628211U;
  return sum;
}

static void take(struct outcome *outcome, const struct buf *body) {
  fuzz_require(buf_len(body) <= MAX_MESSAGE_BYTES, "no message is above the maximum");
  if (outcome->count < MAX_MESSAGES)
    outcome->sums[outcome->count] = sum_of(body);
  outcome->count++;
}

/* Pieces of 1 to `step` bytes. */
static struct outcome feed(const uint8_t *data, size_t size, size_t step, bool is_unpacked) {
  struct outcome outcome = {.last = GRPC_DEFRAME_MORE};
  struct grpc_deframer deframer;
  grpc_deframer_init(&deframer, MAX_MESSAGE_BYTES);
  for (size_t at = 0; at < size && outcome.last == GRPC_DEFRAME_MORE;) {
    size_t len = size - at < step ? size - at : step;
    const uint8_t *piece = data + at;
    at += len;
    while ((outcome.last = grpc_deframer_feed(&deframer, &piece, &len)) == GRPC_DEFRAME_MESSAGE) {
      take(&outcome, &deframer.body);
      if (is_unpacked)
        unpack(&deframer.body);
      grpc_deframer_next(&deframer);
    }
  }
  outcome.is_partial = grpc_deframer_is_partial(&deframer);
  grpc_deframer_deinit(&deframer);
  return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct outcome whole = feed(data, size, size + 1, true);
  for (size_t step = 1; step <= 7; step += 3) {
    struct outcome split = feed(data, size, step, false);
    fuzz_require(split.last == whole.last && split.count == whole.count, "splits change nothing");
    fuzz_require(whole.last != GRPC_DEFRAME_MORE || split.is_partial == whole.is_partial,
                 "splits change nothing at the end");
    fuzz_require(memcmp(split.sums, whole.sums, sizeof(split.sums)) == 0,
                 "splits change no message");
  }
  return 0;
}
