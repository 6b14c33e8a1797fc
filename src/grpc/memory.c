#include "grpc/memory.h"

#include <assert.h>
#include <malloc.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log_sample.h"
#include "base/reserve.h"
#include "grpc/call.h"

/* Of the limit: above the first none is read, above the second none with more than its share; below
 * the third all are again. */
#define FULL_SIXTEENTHS 15
#define HIGH_SIXTEENTHS 14
#define LOW_SIXTEENTHS  12
/* Of the limit, who has no more than this may take of the last sixteenth. */
#define LITTLE_SHARE 64
/* Waiting memory up to which connections are taken: nearly the half above which some are closed. */
#define ACCEPT_SIXTEENTHS 7
/* A connection that was never answered counts so many times, when it comes to who pays: else a
 * crowd of small ones would put out those who work. */
#define UNANSWERED_WEIGHT 8
/* Twice what a connection costs that keeps to the rules, and what each of its streams does. */
#define CONNECTION_MAX_BYTES ((size_t)1024 * 1024)
#define STREAM_MAX_BYTES     ((size_t)8 * 1024)
/* In which an account takes what nghttp2 allocates: some twenty small pieces for each call. */
#define NGHTTP2_STEP_BYTES ((size_t)4 * 1024)
/* Of memory that was freed glibc keeps what lies below memory in use. It is given back when so much
 * wasn't used for so long: a load that takes it again at once would pay 4 us for each page, which
 * was a twentieth of what twelve streams write (rounds of 100,000 events by turns with a daemon
 * that kept it). */
#define TRIM_ABOVE_BYTES ((size_t)16 * 1024 * 1024)
#define TRIM_INTERVAL_US 5000000

static const char *const kind_names[] = {
    [GRPC_MEMORY_UNFINISHED] = "unfinished",
    [GRPC_MEMORY_ANSWERS] = "answers",
    [GRPC_MEMORY_CONNECTION] = "connections",
    [GRPC_MEMORY_HELD] = "held",
};

const char *grpc_memory_kind_name(enum grpc_memory_kind kind) {
  return kind_names[kind];
}

static size_t sixteenths(const struct grpc_memory *memory, size_t count) {
  return memory->total.limit_bytes / 16 * count;
}

static size_t waiting_of(const struct budget kinds[GRPC_MEMORY_KINDS]) {
  return kinds[GRPC_MEMORY_UNFINISHED].used_bytes + kinds[GRPC_MEMORY_ANSWERS].used_bytes +
         kinds[GRPC_MEMORY_CONNECTION].used_bytes;
}

/* ---- nghttp2's allocations ---- */

/* So that the account has what nghttp2 uses, and less than two steps more. */
static void take_steps(struct grpc_account *account) {
  struct budget *budget = &account->kinds[GRPC_MEMORY_CONNECTION];
  size_t steps = (account->nghttp2_bytes + NGHTTP2_STEP_BYTES - 1) / NGHTTP2_STEP_BYTES;
  budget_give(budget, account->nghttp2_taken_bytes);
  account->nghttp2_taken_bytes = steps * NGHTTP2_STEP_BYTES;
  budget_force(budget, account->nghttp2_taken_bytes);
}

static void *counted(struct grpc_account *account, void *p) {
  account->nghttp2_bytes += malloc_usable_size(p);
  if (account->nghttp2_bytes > account->nghttp2_taken_bytes)
    take_steps(account);
  return p;
}

static void uncount(struct grpc_account *account, size_t bytes) {
  assert(account->nghttp2_bytes >= bytes);
  account->nghttp2_bytes -= bytes;
  size_t spare = account->nghttp2_taken_bytes - account->nghttp2_bytes;
  if (spare >= 2 * NGHTTP2_STEP_BYTES || account->nghttp2_bytes == 0)
    take_steps(account);
}

/* To nghttp2 a refusal is the end of the connection: it is for those who can't be honest. */
static bool is_absurd(const struct grpc_account *account, size_t size) {
  return account->memory && account->kinds[GRPC_MEMORY_CONNECTION].used_bytes + size >
                                account->memory->connection_max_bytes;
}

static void *nghttp2_malloc_cb(size_t size, void *user) {
  return is_absurd(user, size) ? NULL : counted(user, reserve_malloc(size));
}

static void nghttp2_free_cb(void *p, void *user) {
  if (!p)
    return;
  uncount(user, malloc_usable_size(p));
  free(p);
}

static void *nghttp2_calloc_cb(size_t count, size_t size, void *user) {
  return is_absurd(user, count * size) ? NULL : counted(user, reserve_calloc(count, size));
}

static void *nghttp2_realloc_cb(void *p, size_t size, void *user) {
  if (is_absurd(user, size))
    return NULL;
  size_t before = malloc_usable_size(p);
  void *grown = reserve_realloc(p, size);
  if (!grown)
    return NULL;
  counted(user, grown);
  uncount(user, before);
  return grown;
}

/* ---- accounts ---- */

static void check(void *arg);

void grpc_memory_init(struct grpc_memory *memory, struct grpc_server *server) {
  const struct config_server *config = server->config;
  memory->server = server;
  memory->total.limit_bytes = (size_t)config->max_inbound_bytes;
  memory->connection_max_bytes =
      CONNECTION_MAX_BYTES + STREAM_MAX_BYTES * (size_t)config->max_concurrent_streams;
  memory->task.cb = check;
  memory->task.arg = memory;
  for (size_t i = 0; i < GRPC_MEMORY_KINDS; i++)
    memory->kinds[i].parent = &memory->total;
}

static void detach(struct grpc_account *account) {
  list_remove(&account->memory->accounts, &account->link);
  account->memory = NULL;
  for (size_t i = 0; i < GRPC_MEMORY_KINDS; i++)
    account->kinds[i].parent = NULL;
}

void grpc_memory_deinit(struct grpc_memory *memory) {
  loop_cancel(memory->server->loop, &memory->task);
  while (memory->accounts.first)
    detach(LIST_ENTRY(memory->accounts.first, struct grpc_account, link));
}

size_t grpc_memory_connections(const struct grpc_memory *memory, size_t bytes) {
  return sixteenths(memory, ACCEPT_SIXTEENTHS) / (bytes + GRPC_SESSION_BYTES);
}

static void make_room(const struct grpc_memory *memory, size_t bytes);

struct grpc_account *grpc_account_open(struct grpc_memory *memory, size_t bytes) {
  size_t needed_bytes = bytes + GRPC_SESSION_BYTES;
  if (waiting_of(memory->kinds) + needed_bytes > sixteenths(memory, ACCEPT_SIXTEENTHS)) {
    make_room(memory, needed_bytes);
    return NULL;
  }
  struct grpc_account *account = xcalloc(1, sizeof(*account));
  account->memory = memory;
  account->references = 1;
  account->number = ++memory->opened;
  for (size_t i = 0; i < GRPC_MEMORY_KINDS; i++)
    account->kinds[i].parent = &memory->kinds[i];
  budget_force(&account->kinds[GRPC_MEMORY_CONNECTION], bytes);
  account->nghttp2 = (nghttp2_mem){account, nghttp2_malloc_cb, nghttp2_free_cb, nghttp2_calloc_cb,
                                   nghttp2_realloc_cb};
  list_push_back(&memory->accounts, &account->link);
  return account;
}

struct grpc_account *grpc_account_hold(struct grpc_account *account) {
  account->references++;
  return account;
}

void grpc_account_release(struct grpc_account *account) {
  if (--account->references > 0)
    return;
  assert(grpc_account_bytes(account) == 0);
  if (account->memory)
    detach(account);
  free(account);
}

size_t grpc_account_bytes(const struct grpc_account *account) {
  return waiting_of(account->kinds) + account->kinds[GRPC_MEMORY_HELD].used_bytes;
}

/* ---- too much that waits for its peer ---- */

static bool is_too_much_waiting(const struct grpc_memory *memory) {
  return waiting_of(memory->kinds) > memory->total.limit_bytes / 2;
}

/* Of connections that are closed, their memory goes with the end of this turn. */
static size_t closing_bytes(const struct grpc_server *server) {
  size_t bytes = 0;
  for (struct list_link *link = server->sessions.first; link; link = link->next) {
    const struct grpc_session *session = LIST_ENTRY(link, struct grpc_session, link);
    bytes += session->is_shed ? waiting_of(session->account->kinds) : 0;
  }
  return bytes;
}

static struct grpc_session *greatest(const struct grpc_server *server) {
  struct grpc_session *found = NULL;
  size_t most = 0;
  for (struct list_link *link = server->sessions.first; link; link = link->next) {
    struct grpc_session *session = LIST_ENTRY(link, struct grpc_session, link);
    size_t waiting = session->is_shed ? 0 : waiting_of(session->account->kinds);
    if (!session->has_answered)
      waiting *= UNANSWERED_WEIGHT;
    if (waiting > most) {
      found = session;
      most = waiting;
    }
  }
  return found;
}

static int64_t end_waiting_calls(struct grpc_session *session) {
  int64_t ended = 0;
  for (struct list_link *link = session->calls.first; link; link = link->next) {
    struct grpc_call *call = LIST_ENTRY(link, struct grpc_call, link);
    if (call->rx.body.cap + call->tx.cap == 0)
      continue;
    grpc_call_cut(call, GRPC_RESOURCE_EXHAUSTED,
                  "the server's memory for messages that wait for their peers is used up, most of "
                  "it by this connection");
    grpc_deframer_deinit(&call->rx);
    ended++;
  }
  return ended;
}

static void shed(struct grpc_session *session) {
  struct grpc_memory *memory = session->account->memory;
  size_t bytes = waiting_of(session->account->kinds);
  int64_t ended = end_waiting_calls(session);
  memory->server->stats.shed += ended;
  bool closes = ended == 0 || waiting_of(session->account->kinds) > bytes / 2;
  const struct log_cause cause = {
      .level = LOG_WARN,
      .event = closes ? "connection closed: too much memory waits for its peer"
                      : "calls ended: too much memory waits for their peer",
      .peer = net_conn_peer(session->conn)};
  const struct log_kv fields[] = {KV("calls", ended), KV("bytes", (int64_t)bytes)};
  log_sampled(memory->server->loop, &cause, fields, 2);
  if (!closes)
    return;
  session->is_shed = true;
  memory->server->stats.failed++;
  net_conn_close(session->conn, false, "it took too much memory");
}

static void shed_greatest(struct grpc_memory *memory) {
  while (is_too_much_waiting(memory) && waiting_of(memory->kinds) - closing_bytes(memory->server) >
                                            memory->total.limit_bytes / 2) {
    struct grpc_session *session = greatest(memory->server);
    if (!session)
      return;
    shed(session);
  }
}

/* Of those for whom nothing was ever done, the one who costs most by being there. */
static struct grpc_session *greatest_stranger(const struct grpc_server *server) {
  struct grpc_session *found = NULL;
  size_t most = 0;
  for (struct list_link *link = server->sessions.first; link; link = link->next) {
    struct grpc_session *session = LIST_ENTRY(link, struct grpc_session, link);
    size_t bytes = session->account->kinds[GRPC_MEMORY_CONNECTION].used_bytes;
    if (session->is_shed || session->has_answered || bytes <= most)
      continue;
    found = session;
    most = bytes;
  }
  return found;
}

/* For the next who comes: strangers who want nothing don't keep out the others. */
static void make_room(const struct grpc_memory *memory, size_t bytes) {
  size_t staying = waiting_of(memory->kinds) - closing_bytes(memory->server);
  if (staying + bytes <= sixteenths(memory, ACCEPT_SIXTEENTHS))
    return;
  struct grpc_session *session = greatest_stranger(memory->server);
  if (session && session->account->kinds[GRPC_MEMORY_CONNECTION].used_bytes > 2 * bytes)
    shed(session);
}

/* ---- too much altogether ---- */

static size_t equal_share(const struct grpc_memory *memory) {
  size_t count = memory->server->sessions.count;
  return memory->total.limit_bytes / (count > 0 ? count : 1);
}

bool grpc_memory_has_room(const struct grpc_session *session) {
  const struct grpc_memory *memory = &session->server->memory;
  return memory->total.used_bytes <= sixteenths(memory, FULL_SIXTEENTHS) ||
         grpc_account_bytes(session->account) <= memory->total.limit_bytes / LITTLE_SHARE;
}

bool grpc_memory_is_to_wait(const struct grpc_session *session) {
  const struct budget *total = &session->server->memory.total;
  return !grpc_memory_has_room(session) && total->used_bytes + NET_READ_BYTES <= total->limit_bytes;
}

static void set_short(struct grpc_session *session, bool is_short) {
  session->is_short_of_memory = is_short;
  grpc_session_update_reading(session);
}

static void set_all_short(const struct grpc_memory *memory, bool are_short) {
  for (struct list_link *link = memory->server->sessions.first; link; link = link->next)
    set_short(LIST_ENTRY(link, struct grpc_session, link), are_short);
}

static void note_peak(struct grpc_memory *memory) {
  if (memory->total.used_bytes > memory->peak_bytes)
    memory->peak_bytes = memory->total.used_bytes;
}

void grpc_memory_check(struct grpc_session *session) {
  struct grpc_memory *memory = &session->server->memory;
  note_peak(memory);
  shed_greatest(memory);
  size_t used = memory->total.used_bytes;
  if (used <= sixteenths(memory, HIGH_SIXTEENTHS))
    return;
  bool is_full = used > sixteenths(memory, FULL_SIXTEENTHS);
  if (is_full && !memory->is_full)
    set_all_short(memory, true);
  else if (is_full || grpc_account_bytes(session->account) > equal_share(memory))
    set_short(session, true);
  else
    return;
  memory->is_full |= is_full;
  memory->has_paused = true;
}

static void check(void *arg) {
  shed_greatest(arg);
}

void grpc_memory_check_soon(struct grpc_memory *memory) {
  if (is_too_much_waiting(memory))
    loop_defer(memory->server->loop, &memory->task);
}

void grpc_memory_given_back(struct grpc_memory *memory) {
  if (!memory->has_paused || memory->total.used_bytes >= sixteenths(memory, LOW_SIXTEENTHS))
    return;
  memory->has_paused = false;
  memory->is_full = false;
  set_all_short(memory, false);
}

/* Of the process, not of this account alone; but it is peers who use memory up. */
static void renew_reserve(struct grpc_memory *memory) {
  bool is_kept = reserve_keep();
  if (reserve_uses() == memory->reserve_uses)
    return;
  memory->reserve_uses = reserve_uses();
  log_error("memory was out: the reserve was used", KV("times", memory->reserve_uses),
            KV("is_renewed", is_kept));
}

/* True: there is unused memory, but it was used since the last look. */
static bool keeps_unused(const struct grpc_memory *memory) {
  size_t unused = mallinfo2().fordblks;
  size_t recent = memory->peak_bytes - memory->total.used_bytes;
  if (unused <= TRIM_ABOVE_BYTES)
    return false;
  if (unused <= TRIM_ABOVE_BYTES + recent)
    return true;
  malloc_trim(0);
  return false;
}

bool grpc_memory_tick(struct grpc_memory *memory, int64_t now_us) {
  renew_reserve(memory);
  note_peak(memory);
  if (now_us - memory->looked_us < TRIM_INTERVAL_US)
    return true;
  bool is_wanted = keeps_unused(memory);
  memory->looked_us = now_us;
  memory->peak_bytes = memory->total.used_bytes;
  return is_wanted;
}
