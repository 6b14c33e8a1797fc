#include "support/h2_client.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"

#define NO_LIMIT   ((size_t)1 << 30)
#define MAX_FIELDS 128

struct h2_client {
  int fd;
  nghttp2_session *h2;
  struct buf out;
  struct buf received;
  struct h2_stream *streams;
  bool is_raw;
  bool is_reading;
  bool is_closed;
  int goaways;
  uint32_t goaway_code;
};

/* ---- callbacks ---- */

static struct h2_stream *stream_of(nghttp2_session *h2, int32_t id) {
  return nghttp2_session_get_stream_user_data(h2, id);
}

static bool name_is(const uint8_t *name, size_t len, const char *wanted) {
  return len == strlen(wanted) && memcmp(name, wanted, len) == 0;
}

static void copy_value(char *to, size_t size, const uint8_t *value, size_t len) {
  size_t n = len < size - 1 ? len : size - 1;
  memcpy(to, value, n);
  to[n] = '\0';
}

static void note_field(struct h2_stream *s, struct str name, struct str value) {
  size_t used = strlen(s->fields);
  snprintf(s->fields + used, sizeof(s->fields) - used, "%.*s=%.*s;", (int)name.len, name.data,
           (int)value.len, value.data);
}

/* NOLINTNEXTLINE(readability-function-size): nghttp2's signature */
static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user) {
  struct h2_stream *s = stream_of(h2, frame->hd.stream_id);
  (void)flags;
  (void)user;
  if (!s)
    return 0;
  if (name_is(name, name_len, ":status"))
    copy_value(s->http_status, sizeof(s->http_status), value, value_len);
  else if (name_is(name, name_len, "content-type"))
    copy_value(s->content_type, sizeof(s->content_type), value, value_len);
  else if (name_is(name, name_len, "grpc-accept-encoding"))
    copy_value(s->accept_encoding, sizeof(s->accept_encoding), value, value_len);
  else if (name_is(name, name_len, "grpc-encoding"))
    copy_value(s->encoding, sizeof(s->encoding), value, value_len);
  else if (name_is(name, name_len, "grpc-status"))
    s->grpc_status = (int)strtol((const char *)value, NULL, 10);
  else if (name_is(name, name_len, "grpc-message"))
    copy_value(s->message, sizeof(s->message), value, value_len);
  else if (name_is(name, name_len, "grpc-status-details-bin"))
    copy_value(s->details, sizeof(s->details), value, value_len);
  else
    note_field(s, str_of(name, name_len), str_of(value, value_len));
  return 0;
}

static int on_frame_recv(nghttp2_session *h2, const nghttp2_frame *frame, void *user) {
  struct h2_client *client = user;
  struct h2_stream *s = frame->hd.stream_id ? stream_of(h2, frame->hd.stream_id) : NULL;
  if (frame->hd.type == NGHTTP2_GOAWAY) {
    client->goaways++;
    client->goaway_code = frame->goaway.error_code;
  }
  if (!s)
    return 0;
  if (frame->hd.type == NGHTTP2_HEADERS)
    s->header_blocks++;
  if (frame->hd.type == NGHTTP2_HEADERS && s->header_blocks == 1)
    snprintf(s->fields + strlen(s->fields), sizeof(s->fields) - strlen(s->fields), "|");
  if (frame->hd.type == NGHTTP2_RST_STREAM) {
    s->is_reset = true;
    s->reset_code = frame->rst_stream.error_code;
  }
  bool carries_end = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
  if (carries_end && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
    s->has_end = true;
    s->was_data_last = frame->hd.type == NGHTTP2_DATA;
  }
  return 0;
}

/* NOLINTNEXTLINE(readability-function-size): nghttp2's signature */
static int on_data(nghttp2_session *h2, uint8_t flags, int32_t id, const uint8_t *data, size_t len,
                   void *user) {
  struct h2_client *client = user;
  struct h2_stream *s = stream_of(h2, id);
  (void)flags;
  if (s)
    assert(buf_append(&s->body, data, len));
  if (client->is_reading)
    nghttp2_session_consume(h2, id, len);
  return 0;
}

static int on_stream_close(nghttp2_session *h2, int32_t id, uint32_t code, void *user) {
  struct h2_stream *s = stream_of(h2, id);
  (void)code;
  (void)user;
  if (s)
    s->is_closed = true;
  return 0;
}

/* NOLINTNEXTLINE(readability-function-size): nghttp2's signature */
static ssize_t read_out(nghttp2_session *h2, int32_t id, uint8_t *to, size_t size, uint32_t *flags,
                        nghttp2_data_source *source, void *user) {
  struct h2_stream *s = source->ptr;
  (void)h2;
  (void)id;
  (void)user;
  size_t n = buf_len(&s->out) < size ? buf_len(&s->out) : size;
  if (n > 0)
    memcpy(to, buf_bytes(&s->out), n);
  buf_consume(&s->out, n);
  if (buf_len(&s->out) == 0 && s->is_out_ended) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
  } else if (n == 0) {
    s->is_deferred = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  return (ssize_t)n;
}

/* ---- life ---- */

static struct h2_client *connect_client(int port) {
  struct h2_client *client = xcalloc(1, sizeof(*client));
  client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in to = {.sin_family = AF_INET,
                           .sin_port = htons((uint16_t)port),
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (client->fd < 0 || connect(client->fd, (struct sockaddr *)&to, sizeof(to)) != 0)
    abort();
  int one = 1;
  setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  buf_init(&client->out, NO_LIMIT);
  buf_init(&client->received, NO_LIMIT);
  client->is_reading = true;
  return client;
}

struct h2_client *h2_client_new_raw(int port) {
  struct h2_client *client = connect_client(port);
  client->is_raw = true;
  return client;
}

struct h2_client *h2_client_new(int port, uint32_t window) {
  struct h2_client *client = connect_client(port);
  nghttp2_session_callbacks *callbacks = NULL;
  nghttp2_option *option = NULL;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
  nghttp2_option_new(&option);
  nghttp2_option_set_no_auto_window_update(option, 1);
  nghttp2_session_client_new2(&client->h2, callbacks, client, option);
  nghttp2_session_callbacks_del(callbacks);
  nghttp2_option_del(option);
  const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window}};
  nghttp2_submit_settings(client->h2, NGHTTP2_FLAG_NONE, settings, window ? 1 : 0);
  nghttp2_session_set_local_window_size(client->h2, NGHTTP2_FLAG_NONE, 0, 1 << 30);
  return client;
}

void h2_client_free(struct h2_client *client) {
  if (!client)
    return;
  nghttp2_session_del(client->h2);
  while (client->streams) {
    struct h2_stream *s = client->streams;
    client->streams = s->next;
    buf_deinit(&s->body);
    buf_deinit(&s->out);
    free(s);
  }
  buf_deinit(&client->out);
  buf_deinit(&client->received);
  close(client->fd);
  free(client);
}

/* ---- requests ---- */

static nghttp2_nv nv_of(const char *name, const char *value) {
  return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), 0};
}

static bool is_replaced(const struct h2_header *extra, const char *name) {
  for (; extra && extra->name; extra++) {
    if (strcmp(extra->name, name) == 0)
      return true;
  }
  return false;
}

/* Pseudo headers first, as HTTP/2 wants them. */
static size_t put_fields(const char *path, const struct h2_header *extra, nghttp2_nv *nv) {
  const struct h2_header defaults[] = {{":method", "POST"},
                                       {":scheme", "http"},
                                       {":path", path},
                                       {":authority", "test"},
                                       {"content-type", "application/grpc"},
                                       {"te", "trailers"}};
  size_t count = 0;
  for (int pass = 0; pass < 2; pass++) {
    for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++) {
      if ((defaults[i].name[0] == ':') == (pass == 0) && !is_replaced(extra, defaults[i].name))
        nv[count++] = nv_of(defaults[i].name, defaults[i].value);
    }
    for (const struct h2_header *h = extra; h && h->name && count < MAX_FIELDS; h++) {
      if ((h->name[0] == ':') == (pass == 0) && h->value)
        nv[count++] = nv_of(h->name, h->value);
    }
  }
  return count;
}

struct h2_stream *h2_client_open(struct h2_client *client, const char *path,
                                 const struct h2_header *extra, bool end_stream) {
  struct h2_stream *s = xcalloc(1, sizeof(*s));
  s->grpc_status = -1;
  buf_init(&s->body, NO_LIMIT);
  buf_init(&s->out, NO_LIMIT);
  s->next = client->streams;
  client->streams = s;
  nghttp2_nv nv[MAX_FIELDS + 8];
  size_t count = put_fields(path, extra, nv);
  nghttp2_data_provider provider = {.source.ptr = s, .read_callback = read_out};
  s->id = nghttp2_submit_request(client->h2, NULL, nv, count, end_stream ? NULL : &provider, s);
  assert(s->id > 0);
  return s;
}

void h2_client_send(struct h2_client *client, struct h2_stream *stream, const void *data,
                    size_t len, bool end_stream) {
  assert(buf_append(&stream->out, data, len));
  stream->is_out_ended = stream->is_out_ended || end_stream;
  if (stream->is_deferred) {
    stream->is_deferred = false;
    nghttp2_session_resume_data(client->h2, stream->id);
  }
}

void h2_client_send_message(struct h2_client *client, struct h2_stream *stream, const void *data,
                            size_t len, bool end_stream) {
  assert(buf_append(&stream->out, "", 1));
  assert(buf_append_be32(&stream->out, (uint32_t)len));
  h2_client_send(client, stream, data, len, end_stream);
}

void h2_client_reset(struct h2_client *client, struct h2_stream *stream, uint32_t code) {
  nghttp2_submit_rst_stream(client->h2, NGHTTP2_FLAG_NONE, stream->id, code);
}

void h2_client_set_reading(struct h2_client *client, bool is_reading) {
  client->is_reading = is_reading;
}

/* What nghttp2 has to say comes first. */
static void collect_frames(struct h2_client *client) {
  const uint8_t *data = NULL;
  ssize_t n = 0;
  while (client->h2 && buf_len(&client->out) < 65536 &&
         (n = nghttp2_session_mem_send(client->h2, &data)) > 0)
    assert(buf_append(&client->out, data, (size_t)n));
}

void h2_client_raw(struct h2_client *client, const void *data, size_t len) {
  collect_frames(client);
  assert(buf_append(&client->out, data, len));
}

void h2_client_raw_preface(struct h2_client *client) {
  static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  h2_client_raw(client, preface, sizeof(preface) - 1);
  h2_client_raw_frame(client, (struct h2_frame){NGHTTP2_SETTINGS, 0, 0}, "", 0);
}

void h2_client_raw_frame(struct h2_client *client, struct h2_frame frame, const void *payload,
                         size_t len) {
  const uint8_t head[5] = {(uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len, frame.type,
                           frame.flags};
  collect_frames(client);
  assert(buf_append(&client->out, head, sizeof(head)));
  assert(buf_append_be32(&client->out, (uint32_t)frame.stream_id));
  assert(buf_append(&client->out, payload, len));
}

/* ---- moving bytes ---- */

static bool write_some(struct h2_client *client) {
  collect_frames(client);
  if (buf_len(&client->out) == 0 || client->is_closed)
    return false;
  ssize_t n =
      send(client->fd, buf_bytes(&client->out), buf_len(&client->out), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n > 0)
    buf_consume(&client->out, (size_t)n);
  return n > 0;
}

static bool read_some(struct h2_client *client) {
  uint8_t data[16384];
  if (client->is_closed)
    return false;
  ssize_t n = recv(client->fd, data, sizeof(data), MSG_DONTWAIT);
  if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK))
    client->is_closed = true;
  if (n == 0)
    (void)shutdown(client->fd, SHUT_WR);
  if (n <= 0)
    return client->is_closed;
  if (client->is_raw)
    assert(buf_append(&client->received, data, (size_t)n));
  else if (nghttp2_session_mem_recv(client->h2, data, (size_t)n) < 0)
    abort();
  return true;
}

bool h2_client_step(struct h2_client *client) {
  bool wrote = write_some(client);
  return read_some(client) || wrote;
}

void h2_client_wait(struct h2_client *client) {
  struct pollfd pfd = {.fd = client->fd, .events = POLLIN};
  (void)poll(&pfd, 1, 1);
}

/* ---- observation ---- */

nghttp2_session *h2_client_session(struct h2_client *client) {
  return client->h2;
}

bool h2_client_is_closed(const struct h2_client *client) {
  return client->is_closed;
}

bool h2_client_has_goaway(const struct h2_client *client) {
  return client->goaways > 0;
}

uint32_t h2_client_goaway_code(const struct h2_client *client) {
  return client->goaway_code;
}

int h2_client_goaway_count(const struct h2_client *client) {
  return client->goaways;
}

static uint32_t goaway_code_of(const uint8_t *payload) {
  return (uint32_t)payload[4] << 24 | (uint32_t)payload[5] << 16 | (uint32_t)payload[6] << 8 |
         payload[7];
}

int h2_client_raw_goaways(const struct h2_client *client, uint32_t code) {
  const uint8_t *p = buf_bytes(&client->received);
  size_t left = buf_len(&client->received);
  int count = 0;
  while (left >= 9) {
    size_t len = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
    if (left < 9 + len)
      return -1;
    if (p[3] == NGHTTP2_GOAWAY && goaway_code_of(p + 9) != code)
      return -1;
    count += p[3] == NGHTTP2_GOAWAY;
    p += 9 + len;
    left -= 9 + len;
  }
  return count;
}

const struct buf *h2_client_received(const struct h2_client *client) {
  return &client->received;
}

static size_t message_len(const uint8_t *p) {
  return (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
}

/* Moves to the next whole message; false at the end. */
static bool next_message(const uint8_t **p, size_t *left, struct str *ret_message) {
  if (*left < 5 || *left - 5 < message_len(*p))
    return false;
  size_t len = message_len(*p);
  *ret_message = str_of(*p + 5, len);
  *p += 5 + len;
  *left -= 5 + len;
  return true;
}

struct str h2_stream_message(const struct h2_stream *stream, size_t index) {
  const uint8_t *p = buf_bytes(&stream->body);
  size_t left = buf_len(&stream->body);
  struct str message = {0};
  while (next_message(&p, &left, &message)) {
    if (index-- == 0)
      return message;
  }
  return str_of(NULL, 0);
}

size_t h2_stream_message_count(const struct h2_stream *stream) {
  const uint8_t *p = buf_bytes(&stream->body);
  size_t left = buf_len(&stream->body);
  struct str message = {0};
  size_t count = 0;
  while (next_message(&p, &left, &message))
    count++;
  return count;
}
