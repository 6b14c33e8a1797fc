/*
 * server: gRPC over HTTP/2 for services described by generated tables.
 *
 * Words: call = one RPC; message = one request message, unpacked; handler = the function, with its
 * own pointer, that answers the calls of one method. Threads: loop thread only.
 *
 * Life of a call. The server parses the headers, finds the method and makes the call. For each
 * request message it runs the method's handler with an unpacked message, which the handler then
 * owns and must give back with grpc_message_release(). The handler answers with grpc_call_send()
 * and ends the call with grpc_call_finish(), at once or later, exactly once, whatever happened to
 * the peer in the meantime: until then the call pointer stays valid, and sends to a peer that is
 * gone are dropped. Deadlines are enforced by the server: the peer gets DEADLINE_EXCEEDED and the
 * call counts as cancelled.
 *
 * Flow control. The bytes of a message count against the stream's window until it is released, so a
 * handler that holds messages slows exactly that peer.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "base/must_check.h"
#include "config/config.h"
#include "grpc/memory.h"
#include "grpc/status.h"

struct grpc_server;
struct tls_context;
struct grpc_call;
struct grpc_message;
struct peer_names;

enum grpc_method_kind {
  GRPC_UNARY,
  GRPC_CLIENT_STREAMING,
  GRPC_SERVER_STREAMING,
  GRPC_BIDI_STREAMING,
};

/* What generated code tells of one method. `dispatch` casts and calls the typed handler:
 * `message` NULL means: for a streaming request, the peer half-closed. */
struct grpc_method {
  const char *name; /* "WriteEvents" */
  const char *path; /* "/auditstore.v1.AuditStore/WriteEvents" */
  enum grpc_method_kind kind;
  const ProtobufCMessageDescriptor *input;
  const ProtobufCMessageDescriptor *output;
  void (*dispatch)(const void *handlers, struct grpc_call *call, const ProtobufCMessage *request,
                   struct grpc_message *message);
};

struct grpc_service {
  const char *name; /* "auditstore.v1.AuditStore" */
  const struct grpc_method *methods;
  size_t method_count;
};

/* ---- life cycle ---- */

/* `config` and `loop` must outlive the server. Opens nothing yet. */
struct grpc_server *grpc_server_new(struct loop *loop, const struct config_server *config);

/* Adds a service before listening. `service` and `handlers` must outlive the server. Generated code
 * wraps this in a typed function. */
void grpc_server_add(struct grpc_server *server, const struct grpc_service *service,
                     const void *handlers);

/* Calls of this service, added before, are answered before grpc_server_open(), too, when nobody can
 * be told from anybody: their messages have at most 4 KiB and come uncompressed, few of their
 * answers wait for a peer, and streams whose peer asks nothing for server.write_timeout are ended.
 * Health is such a service by itself. */
void grpc_server_answer_early(struct grpc_server *server, const struct grpc_service *service);

/* Answers server reflection, v1 and v1alpha, from packed FileDescriptorSets, which outlive the
 * server. Before listening. */
void grpc_server_reflect(struct grpc_server *server, const struct str *sets, size_t count);

/* What a browser is told at "/", in front of the list of services; outlives the server. */
void grpc_server_set_about(struct grpc_server *server, const char *about);

/* Listens on config->listen. tls: NULL for plain HTTP/2; outlives the server. ret_port (may be
 * NULL): the port bound. ERR_UNAVAILABLE when the address can't be bound, with the reason. */
MUST_CHECK int grpc_server_listen(struct grpc_server *server, struct tls_context *tls,
                                  int *ret_port, struct error *err);

/* Lets calls through to the services. Before it, only the early ones are answered and all others
 * are told UNAVAILABLE: a daemon may listen before it can work. */
void grpc_server_open(struct grpc_server *server);

/* Runs for each call of a known method when its headers are in, before its handler and before its
 * response's headers: it may read and add metadata, or refuse the call by returning a status, which
 * the server takes over. */
typedef struct grpc_status *grpc_open_cb(void *arg, struct grpc_call *call,
                                         const struct grpc_method *method);
void grpc_server_on_open(struct grpc_server *server, grpc_open_cb *on_open, void *arg);

/* Runs for each request message of a call that was let in, before it is unpacked: a status, which
 * the server takes over, ends the call. What happens to a stream in the course of time is found
 * here.
 */
typedef struct grpc_status *grpc_message_cb(void *arg, struct grpc_call *call);
void grpc_server_on_message(struct grpc_server *server, grpc_message_cb *on_message, void *arg);

/* What requests of this service, added before, may take of memory when unpacked, beyond eight times
 * their length: a struct of some hundred bytes is nothing on the wire. 64 KiB until it is set. */
void grpc_server_set_room(struct grpc_server *server, const struct grpc_service *service,
                          size_t bytes);

/* Runs for a request message that would take more memory than that: the status, which the server
 * takes over, says which limit of the service's own the packed `body` is above; NULL: none. */
typedef struct grpc_status *grpc_costly_cb(void *arg, const struct grpc_method *method,
                                           struct str body);
void grpc_server_on_costly(struct grpc_server *server, grpc_costly_cb *on_costly, void *arg);

/* All methods that were added, one by one; NULL behind the last. */
const struct grpc_method *grpc_server_method(const struct grpc_server *server, size_t index);

/* The status Health answers for "" and every service; NOT_SERVING until first set. */
void grpc_server_set_serving(struct grpc_server *server, bool is_serving);

/* Stops listening, sends GOAWAY, lets calls end, then runs `done`, once. Streams that go on after a
 * second, or a quarter of the time if that is less, are given an on_drain callback. Calls still
 * open at `deadline_us` are cut off. */
void grpc_server_drain(struct grpc_server *server, int64_t deadline_us, loop_task_cb *done,
                       void *arg);

/* ---- what it counts ---- */

#define GRPC_CODE_COUNT 17

struct grpc_server_stats {
  size_t connections;             /* open */
  int64_t accepted;               /* and kept */
  int64_t refused;                /* above server.max_connections */
  int64_t refused_address;        /* above server.max_connections_per_address */
  int64_t malformed;              /* streams reset as their requests break HTTP/2's rules */
  int64_t exhausted;              /* had to wait: the system had no descriptor left */
  int max_connections;            /* in effect */
  int64_t failed;                 /* ended with an error: the peer broke the protocol or a limit */
  size_t calls;                   /* open */
  int64_t ended[GRPC_CODE_COUNT]; /* calls, by status; those reset, by either side, as CANCELLED */
  int64_t refused_memory;         /* for server.max_inbound_bytes */
  int64_t memory[GRPC_MEMORY_KINDS]; /* bytes, by kind */
  int64_t shed;                      /* calls ended for server.max_inbound_bytes */
  int64_t rests;                     /* times a connection wasn't read for the CPU that it took */
};
void grpc_server_stats(const struct grpc_server *server, struct grpc_server_stats *ret_stats);

/* ---- the end ---- */

/* After drain is done, or when nothing was ever listening. NULL is fine. */
void grpc_server_free(struct grpc_server *server);

/* ---- calls ---- */

/* Packs and queues one response message. Copies: `response` may be freed at once. Response headers
 * go out with the first message of a unary call's answer, and at accept for streaming ones unless
 * they are held. */
void grpc_call_send(struct grpc_call *call, const ProtobufCMessage *response);

/* Whether this call's messages from now on are compressed if the peer accepts that; else the
 * setting server.compress_answers_above tells. Has no effect once headers without an encoding went
 * out. */
void grpc_call_set_compression(struct grpc_call *call, bool is_on);

/* False while more than 256 KiB of answers of this call, or 1 MiB of all calls of its connection,
 * wait to be taken by the peer; on_writable then tells when that is over. */
bool grpc_call_is_writable(struct grpc_call *call);

/* Ends the call. Takes `status`; NULL is OK. Queued messages go out first. The pointer is invalid
 * afterwards. */
void grpc_call_finish(struct grpc_call *call, struct grpc_status *status);

/* The request's metadata, field by field in the order sent: *offset starts at 0 and moves on; false
 * behind the last. Keys are lower case; the values of those that end in "-bin" are decoded bytes.
 * What they point to is valid until grpc_call_finish() or grpc_call_drop_metadata(). */
bool grpc_call_metadata(const struct grpc_call *call, size_t *offset, struct str *ret_key,
                        struct str *ret_value);

/* All was read that will be: a call may last for days, and up to 16 KiB with it. */
void grpc_call_drop_metadata(struct grpc_call *call);

/* Adds a field to the response's headers, until they went out, or to the trailers behind it, until
 * grpc_call_finish(). Copies; the values of keys that end in "-bin" may be any bytes, others are
 * printable ASCII. False: too late, not a key or a value that may be sent, or above 4 KiB or 32
 * fields in all. */
bool grpc_call_add_header(struct grpc_call *call, struct str key, struct str value);
bool grpc_call_add_trailer(struct grpc_call *call, struct str key, struct str value);

/* Sends the response's headers now rather than with the first message. */
void grpc_call_send_headers(struct grpc_call *call);

/* In a grpc_open_cb: keeps a streaming method's headers back from going out at accept. */
void grpc_call_hold_headers(struct grpc_call *call);

/* Who calls, as the connection knows it: the address without a port; what the verified certificate
 * says, NULL when there is none. Only in a grpc_open_cb or a grpc_message_cb. */
struct str grpc_call_peer_address(const struct grpc_call *call);
const struct peer_names *grpc_call_peer_names(const struct grpc_call *call);

/* A number of the call's connection that none but its calls have; never 0. */
uint64_t grpc_call_connection(const struct grpc_call *call);

/* What a grpc_open_cb found out about the caller, for those who handle the call. `free_caller` runs
 * on it when the call's memory goes. Once. */
void grpc_call_set_caller(struct grpc_call *call, void *caller, void (*free_caller)(void *caller));
void *grpc_call_caller(const struct grpc_call *call);

/* Monotonic, CLOCK_NEVER when the caller set none. */
int64_t grpc_call_deadline_us(const struct grpc_call *call);

/* The peer cancelled or is gone, or the deadline passed. */
bool grpc_call_is_cancelled(const struct grpc_call *call);

/* Callbacks a handler may want; each may be NULL. Run from the loop, never inside a grpc_call_
 * function; none runs after grpc_call_finish(). */
struct grpc_call_events {
  loop_task_cb *on_cancel;   /* once, when grpc_call_is_cancelled() becomes true */
  loop_task_cb *on_writable; /* grpc_call_is_writable() became true again */
  loop_task_cb *on_drain;    /* once: the server is stopping; end the call when work is done */
};
void grpc_call_set_events(struct grpc_call *call, const struct grpc_call_events *events, void *arg);

/* The handler's own pointer, e.g. the state of a stream; NULL at first. */
void grpc_call_set_context(struct grpc_call *call, void *context);
void *grpc_call_context(const struct grpc_call *call);

/* ---- messages ---- */

/* Gives the message's memory and window credit back. Its bytes and structs are invalid afterwards.
 * May be called after the call has ended. */
void grpc_message_release(struct grpc_message *message);

/* The arena it was unpacked into; the owner may allocate from it until release. */
struct arena *grpc_message_arena(struct grpc_message *message);

/* Its length, inflated, for accounting. */
size_t grpc_message_bytes(const struct grpc_message *message);

/* Counts `bytes` that its owner took elsewhere for it, until release. False, with nothing counted:
 * the server's memory is used up. */
bool grpc_message_hold(struct grpc_message *message, size_t bytes);

/* The same, of what can't be refused any more. */
void grpc_message_hold_anyway(struct grpc_message *message, size_t bytes);

/* It came compressed. */
bool grpc_message_is_compressed(const struct grpc_message *message);
