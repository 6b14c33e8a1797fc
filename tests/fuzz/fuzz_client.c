/*
 * A server's bytes, into libauditstore: whatever comes, in whatever pieces, each call ends once,
 * and nothing is kept of it.
 *
 * By the public interface alone, in one thread: the channel is served by
 * auditstore_channel_dispatch(), and its connection leads to a socket of this program, which says
 * what the input holds. The first byte of the input tells how it is cut into pieces (0: not at
 * all), and its highest bit whether good SETTINGS come in front of it; then there is a stream as
 * well, with the id 3, beside the unary call with the id 1.
 */
#include "auditstore/auditstore.h"
#include "fuzz/fuzz.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define GREETING_FLAG     0x80
#define TIMEOUT_MS        30000
#define MAX_MESSAGE_BYTES 65536

typedef struct auditstore_v1_audit_store_stream_events_stream event_stream;

struct world {
  struct auditstore_channel *channel;
  event_stream *stream;
  int listener;
  int peer; /* the server's end; -1: none */
  int ends; /* of the unary call */
};

/* ---- the server ---- */

static const char *socket_path(void) {
  static char path[64];
  if (!path[0])
    snprintf(path, sizeof(path), "/tmp/fuzz_client.%ld", (long)getpid());
  return path;
}

static void world_listen(struct world *w) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  memcpy(address.sun_path, socket_path(), strlen(socket_path()));
  unlink(address.sun_path);
  w->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  fuzz_require(bind(w->listener, (const struct sockaddr *)&address, sizeof(address)) == 0 &&
                   listen(w->listener, 8) == 0,
               "the server listens");
}

/* Throws away what the client says. */
static void drain(const struct world *w) {
  static uint8_t nothing[65536];
  while (w->peer >= 0 && recv(w->peer, nothing, sizeof(nothing), MSG_DONTWAIT) > 0) {
  }
}

static void say(struct world *w, const uint8_t *data, size_t len) {
  ssize_t n = send(w->peer, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
  (void)n;
  auditstore_channel_dispatch(w->channel);
  drain(w);
}

/* ---- calls ---- */

static void on_done(void *arg, ProtobufCMessage *response, const struct auditstore_status *status) {
  struct world *w = arg;
  w->ends++;
  fuzz_require((status->code == AUDITSTORE_OK) == (response != NULL), "OK comes with an answer");
  if (response)
    protobuf_c_message_free_unpacked(response, NULL);
}

static void start_unary(struct world *w) {
  const Auditstore__V1__GetEventRequest request = AUDITSTORE__V1__GET_EVENT_REQUEST__INIT;
  const struct auditstore_call_options options = {.timeout_ms = TIMEOUT_MS};
  const struct auditstore_unary call = {&auditstore_v1_audit_store_get_event_method, &request.base,
                                        &options};
  fuzz_require(auditstore_call_start(w->channel, &call, on_done, w, NULL) == AUDITSTORE_OK,
               "the call starts");
}

static void open_stream(struct world *w) {
  const Auditstore__V1__StreamEventsRequest request = AUDITSTORE__V1__STREAM_EVENTS_REQUEST__INIT;
  const struct auditstore_call_options options = {.timeout_ms = TIMEOUT_MS};
  w->stream = auditstore_v1_audit_store_stream_events_open(w->channel, &options, NULL);
  fuzz_require(w->stream != NULL, "the stream opens");
  (void)auditstore_v1_audit_store_stream_events_send(w->stream, &request, 0);
}

static void receive(struct world *w) {
  Auditstore__V1__StreamEventsResponse *response = NULL;
  while (w->stream && auditstore_v1_audit_store_stream_events_recv(w->stream, &response, 0) ==
                          AUDITSTORE_STREAM_OK)
    auditstore__v1__stream_events_response__free_unpacked(response, NULL);
}

/* ---- one input ---- */

static void begin(struct world *w) {
  const struct auditstore_channel_options options = {
      .max_message_bytes = MAX_MESSAGE_BYTES,
      .retry = {.max_attempts = 1},
  };
  char target[80];
  snprintf(target, sizeof(target), "unix:%s", socket_path());
  world_listen(w);
  w->channel = auditstore_channel_new(target, &options, NULL);
  fuzz_require(w->channel != NULL, "there is a channel");
  start_unary(w);
  auditstore_channel_dispatch(w->channel);
  w->peer = accept(w->listener, NULL, NULL);
  fuzz_require(w->peer >= 0, "it connects");
}

/* Without a server, so that nothing is made again for long. */
static void end(struct world *w) {
  close(w->listener);
  close(w->peer);
  w->peer = -1;
  for (int turn = 0; turn < 10 && w->ends == 0; turn++)
    auditstore_channel_dispatch(w->channel);
  if (w->stream)
    auditstore_v1_audit_store_stream_events_finish(w->stream, NULL);
  fuzz_require(w->ends == 1, "the call ends once");
  auditstore_channel_free(w->channel);
  unlink(socket_path());
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const uint8_t settings[] = {0, 0, 0, 4, 0, 0, 0, 0, 0};
  struct world w = {.peer = -1};
  if (size < 2)
    return 0;
  size_t step = data[0] % GREETING_FLAG;
  if (step == 0)
    step = size;
  begin(&w);
  if (data[0] & GREETING_FLAG) {
    say(&w, settings, sizeof(settings));
    open_stream(&w);
  }
  for (size_t at = 1; at < size; at += step) {
    say(&w, data + at, size - at < step ? size - at : step);
    receive(&w);
  }
  end(&w);
  return 0;
}
