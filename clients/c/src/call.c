/* One call: its life and its end. Runs under the channel's lock, but for making and freeing it. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

/* Queued to be sent at most: a full queue and one message above it. */
#define MAX_OUT_BYTES ((size_t)2 * 1024 * 1024 * 1024)

/* ---- life ---- */

const struct auditstore_call_options no_call_options;

static bool set_options(struct auditstore_stream *s, const struct auditstore_call_options *o,
                        struct auditstore_status *status) {
  struct auditstore_channel *c = s->channel;
  struct auditstore_retry_policy policy = o->retry ? *o->retry : c->retry;
  if (!retry_policy_check(&policy)) {
    status_set(status, AUDITSTORE_INVALID_ARGUMENT,
               "retry: max_attempts is 1 to 5, 0 for the default; pauses aren't negative");
    return false;
  }
  retry_init(&s->retry, &policy);
  s->waits_for_ready = o->wait_for_ready;
  s->compresses = o->compress;
  s->deadline_us = timeout_to_deadline(o->timeout_ms ? o->timeout_ms : c->default_timeout_ms);
  cancellation_join(o->cancellation, s);
  return metadata_init(&s->metadata, o->metadata, o->metadata_count, status);
}

struct auditstore_stream *call_new(struct auditstore_channel *c,
                                   const struct auditstore_method *method,
                                   const struct auditstore_call_options *options,
                                   struct auditstore_status *status) {
  struct auditstore_stream *s = calloc(1, sizeof(*s));
  if (!s) {
    status_set(status, AUDITSTORE_RESOURCE_EXHAUSTED, "out of memory");
    return NULL;
  }
  s->channel = c;
  s->method = method;
  s->sent_at = UINT64_MAX;
  buf_init(&s->out, MAX_OUT_BYTES);
  grpc_deframer_init(&s->deframer, c->max_message_bytes);
  if (set_options(s, options ? options : &no_call_options, status))
    return s;
  call_free(s);
  return NULL;
}

void call_free(struct auditstore_stream *s) {
  cancellation_leave(s);
  call_drop_messages(s);
  grpc_deframer_deinit(&s->deframer);
  buf_deinit(&s->out);
  metadata_deinit(&s->metadata);
  auditstore_status_deinit(&s->status);
  grpc_gzip_deinit(&s->gzip);
  free(s);
}

void call_leave(struct auditstore_stream *s) {
  if (s->link) {
    nghttp2_session_set_stream_user_data(s->link->session, s->id, NULL);
    list_remove(&s->link->calls, &s->entry);
    s->link = NULL;
  } else if (s->is_begun) {
    list_remove(&s->channel->waiting, &s->entry);
  }
}

void call_end(struct auditstore_stream *s, enum auditstore_code code, const char *message) {
  if (s->is_ended)
    return;
  s->is_ended = true;
  call_leave(s);
  if (message)
    status_set(&s->status, code, "%s", message);
  s->channel->changes++;
  if (s->on_done)
    loop_add_done(s);
  channel_tell(s->channel);
}

void call_reset(struct auditstore_stream *s, uint32_t http2_error) {
  if (s->link)
    nghttp2_submit_rst_stream(s->link->session, NGHTTP2_FLAG_NONE, s->id, http2_error);
}

void call_abort(struct auditstore_stream *s, enum auditstore_code code, const char *message) {
  if (s->is_ended)
    return;
  call_reset(s, NGHTTP2_CANCEL);
  call_end(s, code, message);
}
