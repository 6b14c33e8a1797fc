#include "store_server.h"

#include "base/buf.h"
#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "grpc/wire.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_CONNECTIONS 4
#define MAX_STORED      100000
#define MAX_MESSAGE     ((size_t)64 * 1024 * 1024)

struct peer {
  struct store_server *server;
  int fd; /* -1: none */
  nghttp2_session *session;
  int32_t id; /* of its one call */
  struct grpc_deframer in;
  struct buf out;
  struct buf late; /* to be put behind the next answer */
  bool is_answered, is_deferred, must_close;
  int end_code; /* -1: the call goes on */
};

struct stored {
  char id[37];
  char type[101];
};

enum wish { RUN, LEAVE, RETURN, STOP };

struct store_server {
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t done;
  int listener, wake_fd;
  uint16_t port;
  char target[32];
  store_batch_cb *on_batch;
  void *arg;
  enum wish wanted;
  struct peer peers[MAX_CONNECTIONS];
  size_t batches, connections, stored_count;
  struct stored *stored;
};

/* ---- what is stored ---- */

static int64_t find(const struct store_server *s, const char *id) {
  for (size_t i = s->stored_count; i > 0; i--)
    if (strcmp(s->stored[i - 1].id, id) == 0)
      return (int64_t)i - 1;
  return -1;
}

/* Its sequence. */
static int64_t store(struct store_server *s, const Auditstore__V1__AuditEvent *e,
                     bool *ret_duplicate) {
  int64_t at = find(s, e->event_id);
  *ret_duplicate = at >= 0;
  if (at >= 0 || s->stored_count == MAX_STORED)
    return at;
  struct stored *entry = &s->stored[s->stored_count++];
  snprintf(entry->id, sizeof(entry->id), "%s", e->event_id);
  snprintf(entry->type, sizeof(entry->type), "%s", e->event_type);
  return (int64_t)s->stored_count - 1;
}

/* ---- answers ---- */

static void put_message(struct buf *out, const ProtobufCMessage *message) {
  size_t len = protobuf_c_message_get_packed_size(message);
  buf_append(out, "", 1);
  buf_append_be32(out, (uint32_t)len);
  uint8_t *room = buf_reserve(out, len);
  protobuf_c_message_pack(message, room);
  buf_commit(out, len);
}

/* A google.rpc.Status with at most one detail; the bytes are static of the one server thread. */
struct status_parts {
  Google__Rpc__Status status;
  Google__Protobuf__Any any;
  Google__Protobuf__Any *details[1];
  uint8_t bytes[256];
};

static void make_status(struct status_parts *p, const struct store_reply *reply) {
  google__rpc__status__init(&p->status);
  google__protobuf__any__init(&p->any);
  p->status.code = (int32_t)reply->code;
  p->status.message = (char *)"as the test says";
  p->details[0] = &p->any;
  p->status.details = p->details;
  p->any.value.data = p->bytes;
  if (reply->retry_ms > 0) {
    Google__Protobuf__Duration delay = GOOGLE__PROTOBUF__DURATION__INIT;
    Google__Rpc__RetryInfo info = GOOGLE__RPC__RETRY_INFO__INIT;
    delay.seconds = reply->retry_ms / 1000;
    delay.nanos = reply->retry_ms % 1000 * 1000000;
    info.retry_delay = &delay;
    p->any.type_url = (char *)"type.googleapis.com/google.rpc.RetryInfo";
    p->any.value.len = google__rpc__retry_info__pack(&info, p->bytes);
    p->status.n_details = 1;
  } else if (reply->field) {
    Google__Rpc__BadRequest__FieldViolation violation =
        GOOGLE__RPC__BAD_REQUEST__FIELD_VIOLATION__INIT;
    Google__Rpc__BadRequest__FieldViolation *violations[] = {&violation};
    Google__Rpc__BadRequest bad = GOOGLE__RPC__BAD_REQUEST__INIT;
    violation.field = (char *)reply->field;
    violation.description = (char *)"is bad";
    bad.n_field_violations = 1;
    bad.field_violations = violations;
    p->any.type_url = (char *)"type.googleapis.com/google.rpc.BadRequest";
    p->any.value.len = google__rpc__bad_request__pack(&bad, p->bytes);
    p->status.n_details = 1;
  }
}

/* A receipt for each event, but the one at `skip`. */
static void answer_taken(struct peer *c, const Auditstore__V1__StreamEventsRequest *batch,
                         const struct store_reply *reply) {
  Auditstore__V1__StreamEventsResponse answer = AUDITSTORE__V1__STREAM_EVENTS_RESPONSE__INIT;
  Auditstore__V1__Receipt *receipts = calloc(batch->n_events, sizeof(*receipts));
  Auditstore__V1__Receipt **pointers = calloc(batch->n_events, sizeof(void *));
  Auditstore__V1__RejectedEvent rejected = AUDITSTORE__V1__REJECTED_EVENT__INIT;
  Auditstore__V1__RejectedEvent *rejections[] = {&rejected};
  Google__Protobuf__Timestamp at = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
  struct status_parts status;
  at.seconds = 1700000000;
  at.nanos = 5000;
  size_t end = batch->n_events;
  if (reply->action == STORE_FORGET)
    end--;
  else if (reply->action == STORE_FORGET_ALL)
    end = 0;
  for (size_t i = 0; i < end; i++) {
    bool is_duplicate = false;
    if (reply->action == STORE_REJECT && i == reply->index)
      continue;
    Auditstore__V1__Receipt *r = &receipts[answer.n_receipts];
    auditstore__v1__receipt__init(r);
    r->first_index = (uint32_t)i;
    r->count = 1;
    r->ledger_id = 3;
    r->first_sequence = store(c->server, batch->events[i], &is_duplicate);
    r->duplicate = is_duplicate;
    r->committed_at = &at;
    pointers[answer.n_receipts++] = r;
  }
  if (reply->action == STORE_REJECT && reply->index < batch->n_events) {
    make_status(&status, reply);
    rejected.index = (uint32_t)reply->index;
    rejected.status = &status.status;
    answer.n_rejected = 1;
    answer.rejected = rejections;
  }
  answer.batch_id = batch->batch_id;
  answer.receipts = pointers;
  put_message(reply->action == STORE_LATER ? &c->late : &c->out, &answer.base);
  free(pointers);
  free(receipts);
}

static void answer_refused(struct peer *c, const Auditstore__V1__StreamEventsRequest *batch,
                           const struct store_reply *reply) {
  Auditstore__V1__StreamEventsResponse answer = AUDITSTORE__V1__STREAM_EVENTS_RESPONSE__INIT;
  struct status_parts status;
  make_status(&status, reply);
  answer.batch_id = batch->batch_id;
  answer.status = &status.status;
  put_message(&c->out, &answer.base);
}

static void answer_nonsense(struct peer *c, const Auditstore__V1__StreamEventsRequest *batch,
                            bool is_strange) {
  Auditstore__V1__StreamEventsResponse answer = AUDITSTORE__V1__STREAM_EVENTS_RESPONSE__INIT;
  Auditstore__V1__Receipt receipt = AUDITSTORE__V1__RECEIPT__INIT;
  Auditstore__V1__Receipt *receipts[] = {&receipt};
  receipt.first_index = 1;
  receipt.count = UINT32_MAX;
  answer.batch_id = is_strange ? (char *)"none" : batch->batch_id;
  answer.n_receipts = 1;
  answer.receipts = receipts;
  put_message(&c->out, &answer.base);
}

static void store_all(struct store_server *s, const Auditstore__V1__StreamEventsRequest *batch) {
  bool is_duplicate = false;
  for (size_t i = 0; i < batch->n_events; i++)
    store(s, batch->events[i], &is_duplicate);
}

static void on_message(struct peer *c, const uint8_t *bytes, size_t len) {
  struct store_server *s = c->server;
  struct store_reply reply = {.action = STORE_TAKE};
  Auditstore__V1__StreamEventsRequest *batch =
      auditstore__v1__stream_events_request__unpack(NULL, len, bytes);
  size_t number = s->batches++;
  if (s->on_batch)
    s->on_batch(s->arg, number, batch, &reply);
  if (reply.action == STORE_REFUSE)
    answer_refused(c, batch, &reply);
  else if (reply.action == STORE_NONSENSE || reply.action == STORE_STRANGE)
    answer_nonsense(c, batch, reply.action == STORE_STRANGE);
  else if (reply.action == STORE_TAKE || reply.action == STORE_LATER ||
           reply.action == STORE_REJECT || reply.action == STORE_FORGET ||
           reply.action == STORE_FORGET_ALL)
    answer_taken(c, batch, &reply);
  if (reply.action != STORE_LATER && buf_len(&c->late) > 0) {
    buf_append(&c->out, buf_bytes(&c->late), buf_len(&c->late));
    buf_clear(&c->late);
  }
  if (reply.action == STORE_DROP_TAKEN)
    store_all(s, batch);
  c->must_close |= reply.action == STORE_DROP || reply.action == STORE_DROP_TAKEN;
  if (reply.action == STORE_END)
    c->end_code = (int)reply.code;
  auditstore__v1__stream_events_request__free_unpacked(batch, NULL);
}

/* ---- HTTP/2 ---- */

#define NV(name, value)                                                                            \
  { (uint8_t *)(name), (uint8_t *)(value), strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE }

/* NOLINTNEXTLINE(readability-function-size): nghttp2's signature */
static ssize_t read_answer(nghttp2_session *session, int32_t id, uint8_t *out, size_t room,
                           uint32_t *flags, nghttp2_data_source *source, void *arg) {
  struct peer *c = arg;
  (void)source;
  size_t len = buf_len(&c->out) < room ? buf_len(&c->out) : room;
  if (len == 0 && c->end_code < 0) {
    c->is_deferred = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  if (len)
    memcpy(out, buf_bytes(&c->out), len);
  buf_consume(&c->out, len);
  if (buf_len(&c->out) == 0 && c->end_code >= 0) {
    char code[4];
    snprintf(code, sizeof(code), "%d", c->end_code % 100);
    const nghttp2_nv trailers[] = {NV("grpc-status", code)};
    *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    nghttp2_submit_trailer(session, id, trailers, 1);
  }
  return (ssize_t)len;
}

/* NOLINTNEXTLINE(readability-function-size): nghttp2's signature */
static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t len, void *arg) {
  struct peer *c = arg;
  (void)flags;
  while (grpc_deframer_feed(&c->in, &data, &len) == GRPC_DEFRAME_MESSAGE) {
    if (!c->must_close && c->end_code < 0)
      on_message(c, buf_bytes(&c->in.body), buf_len(&c->in.body));
    grpc_deframer_next(&c->in);
  }
  if (c->is_deferred)
    nghttp2_session_resume_data(session, id);
  c->is_deferred = false;
  return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg) {
  struct peer *c = arg;
  const nghttp2_nv headers[] = {NV(":status", "200"), NV("content-type", "application/grpc")};
  const nghttp2_data_provider provider = {.read_callback = read_answer};
  if (frame->hd.type != NGHTTP2_HEADERS)
    return 0;
  grpc_deframer_deinit(&c->in);
  grpc_deframer_init(&c->in, MAX_MESSAGE);
  buf_clear(&c->out);
  buf_clear(&c->late);
  c->id = frame->hd.stream_id;
  c->end_code = -1;
  c->is_deferred = false;
  return nghttp2_submit_response(session, c->id, headers, 2, &provider);
}

static void peer_open(struct store_server *s, struct peer *c, int fd) {
  nghttp2_session_callbacks *callbacks = NULL;
  *c = (struct peer){.server = s, .fd = fd, .end_code = -1};
  grpc_deframer_init(&c->in, MAX_MESSAGE);
  buf_init(&c->out, MAX_MESSAGE);
  buf_init(&c->late, MAX_MESSAGE);
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
  nghttp2_session_server_new(&c->session, callbacks, c);
  nghttp2_session_callbacks_del(callbacks);
  const nghttp2_settings_entry window = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 16 << 20};
  nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, &window, 1);
  s->connections++;
}

static void peer_close(struct peer *c) {
  if (c->fd < 0)
    return;
  nghttp2_session_del(c->session);
  grpc_deframer_deinit(&c->in);
  buf_deinit(&c->out);
  buf_deinit(&c->late);
  close(c->fd);
  c->fd = -1;
}

static void peer_write(struct peer *c) {
  const uint8_t *data = NULL;
  ssize_t n = 0;
  while ((n = nghttp2_session_mem_send(c->session, &data)) > 0)
    if (send(c->fd, data, (size_t)n, MSG_NOSIGNAL) != n)
      c->must_close = true;
}

static void peer_read(struct peer *c) {
  static uint8_t in[1 << 16]; /* of the one thread */
  ssize_t n = recv(c->fd, in, sizeof(in), 0);
  if (n <= 0 || nghttp2_session_mem_recv(c->session, in, (size_t)n) < 0)
    c->must_close = true;
}

/* ---- the thread ---- */

static void start_listening(struct store_server *s) {
  const int yes = 1;
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(s->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof(address);
  s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  setsockopt(s->listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  if (bind(s->listener, (struct sockaddr *)&address, len) < 0 || listen(s->listener, 8) < 0)
    abort();
  getsockname(s->listener, (struct sockaddr *)&address, &len);
  s->port = ntohs(address.sin_port);
}

static void accept_one(struct store_server *s) {
  int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
  for (int i = 0; i < MAX_CONNECTIONS && fd >= 0; i++) {
    if (s->peers[i].fd >= 0)
      continue;
    peer_open(s, &s->peers[i], fd);
    return;
  }
  close(fd);
}

static void obey(struct store_server *s) {
  if (s->wanted == LEAVE) {
    close(s->listener);
    s->listener = -1;
    for (int i = 0; i < MAX_CONNECTIONS; i++)
      peer_close(&s->peers[i]);
  } else if (s->wanted == RETURN) {
    start_listening(s);
  }
  if (s->wanted != STOP)
    s->wanted = RUN;
  pthread_cond_broadcast(&s->done);
}

static void turn(struct store_server *s) {
  struct pollfd fds[2 + MAX_CONNECTIONS] = {{.fd = s->wake_fd, .events = POLLIN},
                                            {.fd = s->listener, .events = POLLIN}};
  for (int i = 0; i < MAX_CONNECTIONS; i++)
    fds[2 + i] = (struct pollfd){.fd = s->peers[i].fd, .events = POLLIN};
  pthread_mutex_unlock(&s->lock);
  poll(fds, 2 + MAX_CONNECTIONS, -1);
  pthread_mutex_lock(&s->lock);
  uint64_t count = 0;
  if (fds[0].revents && read(s->wake_fd, &count, sizeof(count)) > 0)
    obey(s);
  if (fds[1].revents && s->listener == fds[1].fd)
    accept_one(s);
  for (int i = 0; i < MAX_CONNECTIONS; i++) {
    struct peer *c = &s->peers[i];
    if (c->fd >= 0 && c->fd == fds[2 + i].fd && fds[2 + i].revents)
      peer_read(c);
    if (c->fd >= 0 && !c->must_close)
      peer_write(c);
    if (c->fd >= 0 && c->must_close)
      peer_close(c);
  }
}

static void *serve(void *arg) {
  struct store_server *s = arg;
  pthread_mutex_lock(&s->lock);
  while (s->wanted != STOP)
    turn(s);
  pthread_mutex_unlock(&s->lock);
  return NULL;
}

/* ---- for the test's thread ---- */

struct store_server *store_server_start(store_batch_cb *on_batch, void *arg) {
  struct store_server *s = calloc(1, sizeof(*s));
  s->stored = calloc(MAX_STORED, sizeof(*s->stored));
  s->on_batch = on_batch;
  s->arg = arg;
  s->wake_fd = eventfd(0, EFD_CLOEXEC);
  pthread_mutex_init(&s->lock, NULL);
  pthread_cond_init(&s->done, NULL);
  for (int i = 0; i < MAX_CONNECTIONS; i++)
    s->peers[i].fd = -1;
  start_listening(s);
  snprintf(s->target, sizeof(s->target), "127.0.0.1:%u", s->port);
  pthread_create(&s->thread, NULL, serve, s);
  return s;
}

static void ask(struct store_server *s, enum wish wanted) {
  const uint64_t one = 1;
  pthread_mutex_lock(&s->lock);
  s->wanted = wanted;
  if (write(s->wake_fd, &one, sizeof(one)) < 0)
    abort();
  while (wanted != STOP && s->wanted != RUN)
    pthread_cond_wait(&s->done, &s->lock);
  pthread_mutex_unlock(&s->lock);
}

void store_server_stop(struct store_server *s) {
  ask(s, STOP);
  pthread_join(s->thread, NULL);
  for (int i = 0; i < MAX_CONNECTIONS; i++)
    peer_close(&s->peers[i]);
  if (s->listener >= 0)
    close(s->listener);
  close(s->wake_fd);
  pthread_mutex_destroy(&s->lock);
  pthread_cond_destroy(&s->done);
  free(s->stored);
  free(s);
}

const char *store_server_target(const struct store_server *s) {
  return s->target;
}

void store_server_leave(struct store_server *s) {
  ask(s, LEAVE);
}

void store_server_return(struct store_server *s) {
  ask(s, RETURN);
}

static size_t read_count(struct store_server *s, const size_t *count) {
  pthread_mutex_lock(&s->lock);
  size_t value = *count;
  pthread_mutex_unlock(&s->lock);
  return value;
}

size_t store_server_batches(struct store_server *s) {
  return read_count(s, &s->batches);
}

size_t store_server_connections(struct store_server *s) {
  return read_count(s, &s->connections);
}

size_t store_server_stored(struct store_server *s) {
  return read_count(s, &s->stored_count);
}

const char *store_server_type(struct store_server *s, size_t n) {
  return s->stored[n].type;
}

const char *store_server_id(struct store_server *s, size_t n) {
  return s->stored[n].id;
}
