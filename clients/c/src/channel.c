/* A channel's life and its options. */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define DEFAULT_CONNECT_TIMEOUT_MS   20000
#define DEFAULT_CALL_TIMEOUT_MS      30000
#define DEFAULT_MAX_MESSAGE_BYTES    ((size_t)4 * 1024 * 1024)
#define DEFAULT_KEEPALIVE_TIMEOUT_MS 20000
#define MIN_KEEPALIVE_MS             10000
#define MAX_USER_AGENT_BYTES         256

/* ---- options ---- */

static bool refuse(struct auditstore_status *status, const char *why) {
  status_set(status, AUDITSTORE_INVALID_ARGUMENT, "%s", why);
  return false;
}

static bool out_of_memory(struct auditstore_status *status) {
  status_set(status, AUDITSTORE_RESOURCE_EXHAUSTED, "out of memory");
  return false;
}

static bool is_user_agent(const char *text) {
  for (size_t i = 0; text[i]; i++)
    if (text[i] < 0x20 || text[i] > 0x7e || i == MAX_USER_AGENT_BYTES)
      return false;
  return true;
}

static bool set_user_agent(struct auditstore_channel *c, const char *own,
                           struct auditstore_status *status) {
  if (!is_user_agent(own))
    return refuse(status, "user_agent: printable ASCII, at most 256 bytes");
  if (asprintf(&c->user_agent, "%s%sauditstore-c/" AUDITSTORE_VERSION, own, *own ? " " : "") >= 0)
    return true;
  c->user_agent = NULL;
  return out_of_memory(status);
}

static int64_t us_or_default(int ms, int default_ms) {
  return (int64_t)(ms > 0 ? ms : default_ms) * 1000;
}

static bool set_times(struct auditstore_channel *c, const struct auditstore_channel_options *o,
                      struct auditstore_status *status) {
  c->connect_timeout_us = us_or_default(o->connect_timeout_ms, DEFAULT_CONNECT_TIMEOUT_MS);
  c->default_timeout_ms =
      o->default_timeout_ms > 0 ? o->default_timeout_ms : DEFAULT_CALL_TIMEOUT_MS;
  c->keepalive_time_us = NEVER;
  if (o->keepalive_time_ms > 0)
    c->keepalive_time_us = us_or_default(
        o->keepalive_time_ms < MIN_KEEPALIVE_MS ? 0 : o->keepalive_time_ms, MIN_KEEPALIVE_MS);
  c->keepalive_timeout_us = us_or_default(o->keepalive_timeout_ms, DEFAULT_KEEPALIVE_TIMEOUT_MS);
  if (!backoff_init(&c->backoff, &o->backoff))
    return refuse(status,
                  "backoff: pauses aren't negative, multiplier is 1 to 100, "
                  "jitter_percent 0 to 100");
  c->retry = o->retry;
  if (!retry_policy_check(&c->retry))
    return refuse(status,
                  "retry: max_attempts is 1 to 5, 0 for the default; pauses aren't "
                  "negative");
  return true;
}

/* What can be seen of it without resolving names. */
static bool set_token(struct auditstore_channel *c, const char *path,
                      struct auditstore_status *status) {
  if (!token_init(&c->token, path))
    return out_of_memory(status);
  for (size_t i = 0; path && !c->tls && i < c->targets.count; i++) {
    if (!target_is_elsewhere(&c->targets.entries[i]))
      continue;
    status_set(status, AUDITSTORE_INVALID_ARGUMENT,
               "token_file: a token isn't sent without TLS to %s, which isn't this machine",
               c->targets.entries[i].authority);
    return false;
  }
  return true;
}

static bool set_options(struct auditstore_channel *c, const struct auditstore_channel_options *o,
                        struct auditstore_status *status) {
  c->max_message_bytes = o->max_message_bytes ? o->max_message_bytes : DEFAULT_MAX_MESSAGE_BYTES;
  c->on_state = o->on_state;
  c->on_state_arg = o->on_state_arg;
  if (o->tls && !(c->tls = tls_files_new(o->tls, status)))
    return false;
  return set_user_agent(c, o->user_agent ? o->user_agent : "", status) && set_times(c, o, status) &&
         set_token(c, o->token_file, status) &&
         metadata_init(&c->metadata, o->metadata, o->metadata_count, status);
}

/* ---- life ---- */

static void init_sync(struct auditstore_channel *c) {
  pthread_condattr_t attributes;
  pthread_mutex_init(&c->lock, NULL);
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&c->news, &attributes);
  pthread_condattr_destroy(&attributes);
}

static bool init(struct auditstore_channel *c, const char *target,
                 const struct auditstore_channel_options *options,
                 struct auditstore_status *status) {
  static const struct auditstore_channel_options none = {0};
  if (!target_list_parse(&c->targets, target ? target : "", status) ||
      !set_options(c, options ? options : &none, status))
    return false;
  if (c->wake_fd >= 0)
    return true;
  status_set(status, AUDITSTORE_RESOURCE_EXHAUSTED, "out of file descriptors");
  return false;
}

struct auditstore_channel *auditstore_channel_new(const char *target,
                                                  const struct auditstore_channel_options *options,
                                                  struct auditstore_status *status) {
  struct auditstore_status failure = {0};
  struct auditstore_channel *c = calloc(1, sizeof(*c));
  if (!c) {
    out_of_memory(&failure);
    status_move(&failure, status);
    return NULL;
  }
  init_sync(c);
  retry_throttle_init(&c->throttle);
  c->random = backoff_seed();
  c->due_us = NEVER;
  c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  loop_init(&c->loop);
  bool ok = init(c, target, options, &failure);
  status_move(&failure, status);
  if (ok)
    return c;
  auditstore_channel_free(c);
  return NULL;
}

void auditstore_channel_free(struct auditstore_channel *c) {
  if (!c)
    return;
  c->on_state = NULL;
  auditstore_channel_shutdown(c);
  for (struct list_link *at; (at = list_pop_front(&c->done));)
    call_free(LIST_ENTRY(at, struct auditstore_stream, entry));
  loop_deinit(&c->loop);
  pthread_cond_destroy(&c->news);
  pthread_mutex_destroy(&c->lock);
  if (c->wake_fd >= 0)
    close(c->wake_fd);
  address_list_deinit(&c->dial.addresses);
  target_list_deinit(&c->targets);
  tls_files_free(c->tls);
  token_deinit(&c->token);
  metadata_deinit(&c->metadata);
  free(c->user_agent);
  free(c);
}
