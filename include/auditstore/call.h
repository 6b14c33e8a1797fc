/*
 * call: the runtime under the generated stubs.
 *
 * Most programs use the typed functions of the *.stub.h headers, which are thin inline wrappers
 * over these. All calls block, with a deadline always set. One thread may send while another
 * receives on the same stream; any thread may cancel.
 */
#ifndef AUDITSTORE_CALL_H
#define AUDITSTORE_CALL_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

#include "auditstore/channel.h"
#include "auditstore/export.h"
#include "auditstore/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Generated: one for each method. */
struct auditstore_method {
  const char *path; /* "/auditstore.v1.AuditStore/WriteEvents" */
  const ProtobufCMessageDescriptor *input;
  const ProtobufCMessageDescriptor *output;
  bool client_streaming;
  bool server_streaming;
};

struct auditstore_cancellation;

struct auditstore_call_options {
  int timeout_ms;      /* 0: the channel's default; -1: none */
  bool wait_for_ready; /* keep trying to connect until the deadline, instead of UNAVAILABLE */
  bool compress;       /* messages above 1 KiB are sent as gzip; answers may always come so */
  const struct auditstore_metadata *metadata; /* sent with the request; borrowed during the call */
  size_t metadata_count;
  const struct auditstore_retry_policy *retry;  /* unary calls; NULL: the channel's */
  struct auditstore_cancellation *cancellation; /* borrowed during the call; NULL: none */
};

/* Cancels calls from any thread: give it to one call or to several, of any channels. Calls that get
 * it later end at once. Free it when no call has it any more. NULL from _new: out of memory. */
AUDITSTORE_API struct auditstore_cancellation *auditstore_cancellation_new(void);
AUDITSTORE_API void auditstore_cancellation_cancel(struct auditstore_cancellation *cancellation);
AUDITSTORE_API void auditstore_cancellation_free(struct auditstore_cancellation *cancellation);

struct auditstore_unary {
  const struct auditstore_method *method;
  const ProtobufCMessage *request;
  const struct auditstore_call_options *options; /* may be NULL */
};

/* A unary call. Returns the code, which is also status->code. On OK *ret_response is the answer,
 * owned by the caller (the stub's header names the free function); otherwise it is NULL. `status`
 * must be zeroed or deinited; it may be NULL. */
AUDITSTORE_API enum auditstore_code auditstore_call_unary(struct auditstore_channel *channel,
                                                          const struct auditstore_unary *call,
                                                          ProtobufCMessage **ret_response,
                                                          struct auditstore_status *status);

/* ---- unary calls that don't block, for programs with a loop ---- */

/* Runs once, inside auditstore_channel_dispatch(). `response` is NULL unless status->code is OK,
 * else owned by the callee; `status` is valid during the callback. It may start and cancel calls,
 * and free the call's cancellation if no other call has it. It may not free the channel: that has
 * to wait until the dispatch has returned. */
typedef void auditstore_done_cb(void *arg, ProtobufCMessage *response,
                                const struct auditstore_status *status);

/* Starts a unary call and returns: the request is packed already, options->metadata copied.
 * Connects when needed, retries like a blocking call, and reports to on_done. OK: started;
 * otherwise on_done never runs and `status` says why. */
AUDITSTORE_API enum auditstore_code auditstore_call_start(struct auditstore_channel *channel,
                                                          const struct auditstore_unary *call,
                                                          auditstore_done_cb *on_done, void *arg,
                                                          struct auditstore_status *status);

/* ---- streams, of all three kinds ---- */

struct auditstore_stream;

/* Opens a stream; connects first when needed. NULL: `status` says why. */
AUDITSTORE_API struct auditstore_stream *
auditstore_stream_open(struct auditstore_channel *channel, const struct auditstore_method *method,
                       const struct auditstore_call_options *options,
                       struct auditstore_status *status);

enum auditstore_stream_result {
  AUDITSTORE_STREAM_OK = 0,   /* sent, or received */
  AUDITSTORE_STREAM_END = 1,  /* the call has ended: ask auditstore_stream_finish() how */
  AUDITSTORE_STREAM_AGAIN = 2 /* the timeout passed; nothing happened */
};

/* Sends one message; blocks while more than 1 MiB waits for the server's flow control. timeout_ms:
 * -1 until the call's deadline, 0 not at all. A message above 1 GiB ends the call. */
AUDITSTORE_API enum auditstore_stream_result
auditstore_stream_send(struct auditstore_stream *stream, const ProtobufCMessage *message,
                       int timeout_ms);

/* Receives the next message, owned by the caller. timeout_ms as above. Messages that nobody takes
 * are kept up to about 2 MiB a stream; then the server is made to wait. */
AUDITSTORE_API enum auditstore_stream_result
auditstore_stream_recv(struct auditstore_stream *stream, ProtobufCMessage **ret_message,
                       int timeout_ms);

/* No more messages will be sent. */
AUDITSTORE_API void auditstore_stream_half_close(struct auditstore_stream *stream);

/* Ends the call at once as CANCELLED; blocked sends and receives return END. Any thread. */
AUDITSTORE_API void auditstore_stream_cancel(struct auditstore_stream *stream);

/* Half-closes, drops messages not received, waits for the end of the call and frees the stream.
 * Returns how it ended. */
AUDITSTORE_API enum auditstore_code auditstore_stream_finish(struct auditstore_stream *stream,
                                                             struct auditstore_status *status);

#ifdef __cplusplus
}
#endif

#endif
