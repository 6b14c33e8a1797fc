/* The HTTP/2 side of a link: nghttp2's callbacks. */
#include "internal.h"

#define STREAM_WINDOW_BYTES     (1024 * 1024)
#define CONNECTION_WINDOW_BYTES (16 * 1024 * 1024)
/* Frames are gathered up to this before they are written. */
#define GATHER_BYTES ((size_t)64 * 1024)
/* What gRPC implementations advertise (all of C-core's and Java's clients). */
#define MAX_HEADER_LIST_BYTES 8192

/* NULL: the call has ended. */
static struct auditstore_stream *call_of(nghttp2_session *session, int32_t id) {
  return nghttp2_session_get_stream_user_data(session, id);
}

/* NOLINTNEXTLINE(readability-function-size): nghttp2's signature */
static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *arg) {
  (void)flags;
  (void)arg;
  struct auditstore_stream *s = call_of(session, frame->hd.stream_id);
  if (s)
    call_on_header(s, str_of(name, name_len), str_of(value, value_len));
  return 0;
}

static void on_goaway(const struct link *l) {
  struct list_link *next;
  l->channel->changes++;
  for (struct list_link *at = l->calls.first; at; at = next) {
    next = at->next;
    call_on_goaway(LIST_ENTRY(at, struct auditstore_stream, entry));
  }
}

static void on_call_frame(struct auditstore_stream *s, const nghttp2_frame *frame) {
  bool is_last = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
  if (is_last && (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA))
    call_on_answer_end(s);
  else if (frame->hd.type == NGHTTP2_HEADERS)
    call_on_headers_end(s);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg) {
  struct link *l = arg;
  if (frame->hd.type == NGHTTP2_GOAWAY)
    on_goaway(l);
  else if (frame->hd.type == NGHTTP2_SETTINGS && l->phase == LINK_GREETING)
    dial_on_ready(l->channel);
  struct auditstore_stream *s = call_of(session, frame->hd.stream_id);
  if (s)
    on_call_frame(s, frame);
  return 0;
}

/* NOLINTNEXTLINE(readability-function-size): nghttp2's signature */
static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t len, void *arg) {
  (void)flags;
  (void)arg;
  /* The connection's credit must not depend on a caller who doesn't read. */
  nghttp2_session_consume_connection(session, len);
  struct auditstore_stream *s = call_of(session, id);
  if (s)
    call_on_data(s, data, len);
  return 0;
}

static int before_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *arg) {
  const struct link *l = arg;
  struct auditstore_stream *s = call_of(session, frame->hd.stream_id);
  if (s && frame->hd.type == NGHTTP2_HEADERS)
    s->sent_at = l->produced;
  return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error_code, void *arg) {
  (void)arg;
  struct auditstore_stream *s = call_of(session, id);
  if (s)
    call_on_close(s, error_code);
  return 0;
}

static void set_callbacks(nghttp2_session_callbacks *callbacks) {
  nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
  nghttp2_session_callbacks_set_before_frame_send_callback(callbacks, before_frame_send);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
}

static int new_session(struct link *l) {
  nghttp2_session_callbacks *callbacks = NULL;
  nghttp2_option *option = NULL;
  int rc = nghttp2_session_callbacks_new(&callbacks);
  if (rc == 0 && (rc = nghttp2_option_new(&option)) == 0) {
    set_callbacks(callbacks);
    nghttp2_option_set_no_auto_window_update(option, 1);
    rc = nghttp2_session_client_new2(&l->session, callbacks, l, option);
  }
  nghttp2_option_del(option);
  nghttp2_session_callbacks_del(callbacks);
  return rc;
}

int session_open(struct link *l) {
  static const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, MAX_HEADER_LIST_BYTES},
  };
  if (new_session(l) != 0 || nghttp2_submit_settings(l->session, NGHTTP2_FLAG_NONE, settings,
                                                     sizeof(settings) / sizeof(settings[0])) != 0)
    return -1;
  return nghttp2_session_set_local_window_size(l->session, NGHTTP2_FLAG_NONE, 0,
                                               CONNECTION_WINDOW_BYTES);
}

int session_receive(struct link *l, const uint8_t *data, size_t len) {
  return nghttp2_session_mem_recv(l->session, data, len) < 0 ? -1 : 0;
}

int session_produce(struct link *l, struct buf *out) {
  while (buf_len(out) < GATHER_BYTES) {
    const uint8_t *data = NULL;
    ssize_t len = nghttp2_session_mem_send(l->session, &data);
    if (len < 0)
      return -1;
    if (len == 0)
      break;
    if (!buf_append(out, data, (size_t)len))
      return -1;
    l->produced += (size_t)len;
  }
  return 0;
}
