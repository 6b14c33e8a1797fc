#include "grpc/inbound.h"

#include "base/log.h"
#include "grpc/call.h"

/* Reading goes on below this share of the maximum. */
#define LOW_NUMERATOR   7
#define LOW_DENOMINATOR 8

static size_t max_bytes(const struct grpc_server *server) {
  return (size_t)server->config->max_inbound_bytes;
}

static size_t total(const struct grpc_server *server) {
  return server->inbound.unfinished + server->inbound.held;
}

/* ---- counting ---- */

static void resume_reading(struct grpc_server *server) {
  server->has_paused = false;
  for (struct list_link *link = server->sessions.first; link; link = link->next) {
    struct grpc_session *session = LIST_ENTRY(link, struct grpc_session, link);
    if (session->is_paused && !session->failure)
      net_conn_resume_read(session->conn);
    session->is_paused = false;
  }
}

static void set_share(struct grpc_call *call, struct grpc_inbound_share share) {
  struct grpc_server *server = call->server;
  struct grpc_inbound_share old = call->inbound;
  call->inbound = share;
  server->inbound.unfinished += share.unfinished - old.unfinished;
  server->inbound.held += share.held - old.held;
  if (call->session)
    call->session->unfinished_bytes += share.unfinished - old.unfinished;
  if (server->has_paused && total(server) < max_bytes(server) / LOW_DENOMINATOR * LOW_NUMERATOR)
    resume_reading(server);
}

void grpc_inbound_count(struct grpc_call *call) {
  bool is_partial = grpc_deframer_is_partial(&call->rx);
  const struct grpc_inbound_share share = {is_partial ? call->rx.body.cap : 0, call->held_bytes};
  if (call->server &&
      (share.unfinished != call->inbound.unfinished || share.held != call->inbound.held))
    set_share(call, share);
}

void grpc_inbound_forget(struct grpc_call *call) {
  if (call->server)
    set_share(call, (struct grpc_inbound_share){0});
}

/* ---- too much ---- */

static struct grpc_session *greatest(const struct grpc_server *server) {
  struct grpc_session *found = NULL;
  for (struct list_link *link = server->sessions.first; link; link = link->next) {
    struct grpc_session *session = LIST_ENTRY(link, struct grpc_session, link);
    if (!found || session->unfinished_bytes > found->unfinished_bytes)
      found = session;
  }
  return found;
}

static void end_call(struct grpc_call *call) {
  grpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED,
                 "the server holds too much of unfinished messages, most of it of this connection");
  grpc_deframer_deinit(&call->rx);
  grpc_inbound_count(call);
}

static void shed(struct grpc_session *session) {
  struct grpc_server *server = session->server;
  size_t bytes = session->unfinished_bytes;
  int64_t ended = 0;
  for (struct list_link *link = session->calls.first; link; link = link->next) {
    struct grpc_call *call = LIST_ENTRY(link, struct grpc_call, link);
    if (call->inbound.unfinished == 0)
      continue;
    end_call(call);
    ended++;
  }
  server->stats.shed += ended;
  log_warn("calls ended: too much memory for unfinished messages",
           KV("peer", net_conn_peer(session->conn)), KV("calls", ended),
           KV("bytes", (int64_t)bytes));
}

void grpc_inbound_check(struct grpc_session *session) {
  struct grpc_server *server = session->server;
  while (server->inbound.unfinished > max_bytes(server) / 2)
    shed(greatest(server));
  if (total(server) <= max_bytes(server))
    return;
  session->is_paused = true;
  server->has_paused = true;
  net_conn_pause_read(session->conn);
}
