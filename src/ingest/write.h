/*
 * write: one batch of a caller, from the request message to the response message: what both
 * WriteEvents and StreamEvents do with it.
 */
#pragma once

#include "auditstore/v1/audit_store.pb-c.h"
#include "grpc/server.h"
#include "ingest/ingest.h"
#include "ingest/validate.h"

/* What the caller sent, and who it is. */
struct write_input {
  struct str principal;        /* borrowed as long as the write lives */
  uint64_t peer;               /* as in struct ingest_request */
  struct grpc_status *refusal; /* NULL: none. Taken; the batch isn't looked at then */
  Auditstore__V1__AuditEvent *const *events;
  size_t count;
  Auditstore__V1__WriteMode mode;
  bool wants_proof;
};

struct write {
  struct ingest_request request; /* first, so that one is found from the other */
  struct list_link link;         /* its owner's */
  struct grpc_message *message;  /* owned; holds the texts, and this struct if there was room */
  struct grpc_status *failure;   /* owned; the answer to the batch as a whole */
  struct str batch_id;           /* borrowed from the message; streams only */
  int input_count;
  Auditstore__V1__AuditEvent *const *inputs; /* borrowed from the message */
  int *indexes;                  /* request.events[i] is the caller's event indexes[i] */
  struct grpc_status **rejected; /* owned, per event of the caller: what validation said */
  bool has_made_ids;
  bool is_on_heap; /* the message's arena was too small */
};

/* Makes the input's principal, peer and refusal: that of a batch that can't be taken as it is, or
 * of the caller's quotas, from which a message's worth is taken if neither refuses. */
void write_input_admit(struct write_input *input, const struct validator *v, struct grpc_call *call,
                       const struct grpc_message *message);

/* Checks and normalises the events of an input that was admitted. With `failure` set afterwards, or
 * request.count 0, there is nothing to submit. Takes `message`. */
struct write *write_new(struct validator *v, const struct write_input *input,
                        struct grpc_message *message);

/* Counts what the store's refusals and proofs take, which can't be refused any more. */
void write_count_results(struct write *write);

/* Releases the message. */
void write_free(struct write *write);

/* The body that both response messages share. Everything lies in `arena`, which must hold
 * write_output_max_bytes(), or is borrowed from the write. */
struct write_output {
  size_t receipt_count;
  Auditstore__V1__Receipt **receipts;
  size_t id_count;
  ProtobufCBinaryData *ids;
  size_t rejected_count;
  Auditstore__V1__RejectedEvent **rejected;
};
size_t write_output_max_bytes(const struct write *write);
void write_fill_output(const struct write *write, struct arena *arena,
                       struct write_output *ret_output);
