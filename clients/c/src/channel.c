/* A channel's life and its options. */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define DEFAULT_CONNECT_TIMEOUT_MS 20000
#define DEFAULT_CALL_TIMEOUT_MS    30000
#define DEFAULT_MAX_MESSAGE_BYTES  ((size_t)4 * 1024 * 1024)
#define MAX_PORT                   65535
#define MAX_USER_AGENT_BYTES       256

/* What may stand in an :authority, so that no name is sent that every server refuses. */
static bool is_host_text(const char *host, size_t len, const char *more) {
  for (size_t i = 0; i < len; i++) {
    char ch = host[i];
    bool ok = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9');
    if (!ok && !strchr(more, ch))
      return false;
  }
  return len > 0;
}

static bool is_port_text(const char *port) {
  size_t len = strlen(port);
  if (len == 0 || len > 5 || strspn(port, "0123456789") != len)
    return false;
  long value = strtol(port, NULL, 10);
  return value > 0 && value <= MAX_PORT;
}

/* "host:port" or "[address]:port". */
static bool parse_target(const char *target, char **ret_host, char **ret_port) {
  const char *colon = strrchr(target, ':');
  if (!colon || colon == target || !is_port_text(colon + 1))
    return false;
  const char *host = target;
  size_t len = (size_t)(colon - target);
  bool is_address = host[0] == '[' && host[len - 1] == ']';
  if (is_address) {
    host++;
    len = len > 2 ? len - 2 : 0;
  }
  if (!is_host_text(host, len, is_address ? ":." : "-._"))
    return false;
  *ret_host = strndup(host, len);
  *ret_port = strdup(colon + 1);
  return *ret_host && *ret_port;
}

static bool is_user_agent(const char *text) {
  for (size_t i = 0; text[i]; i++)
    if (text[i] < 0x20 || text[i] > 0x7e || i == MAX_USER_AGENT_BYTES)
      return false;
  return true;
}

static bool channel_set_options(struct auditstore_channel *c,
                                const struct auditstore_channel_options *options) {
  static const struct auditstore_channel_options none = {0};
  const struct auditstore_channel_options *o = options ? options : &none;
  c->connect_timeout_ms =
      o->connect_timeout_ms > 0 ? o->connect_timeout_ms : DEFAULT_CONNECT_TIMEOUT_MS;
  c->default_timeout_ms =
      o->default_timeout_ms > 0 ? o->default_timeout_ms : DEFAULT_CALL_TIMEOUT_MS;
  c->max_message_bytes = o->max_message_bytes ? o->max_message_bytes : DEFAULT_MAX_MESSAGE_BYTES;
  const char *own = o->user_agent ? o->user_agent : "";
  if (!is_user_agent(own))
    return false;
  if (asprintf(&c->user_agent, "%s%sauditstore-c/" AUDITSTORE_VERSION, own, *own ? " " : "") >= 0)
    return true;
  c->user_agent = NULL;
  return false;
}

static void channel_init_sync(struct auditstore_channel *c) {
  pthread_condattr_t attributes;
  pthread_mutex_init(&c->lock, NULL);
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&c->news, &attributes);
  pthread_condattr_destroy(&attributes);
}

struct auditstore_channel *
auditstore_channel_new(const char *target, const struct auditstore_channel_options *options,
                       struct auditstore_status *status) {
  (void)status;
  struct auditstore_channel *c = calloc(1, sizeof(*c));
  if (!c)
    return NULL;
  channel_init_sync(c);
  c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  c->authority = target ? strdup(target) : NULL;
  if (c->wake_fd >= 0 && c->authority && parse_target(target, &c->host, &c->port) &&
      channel_set_options(c, options))
    return c;
  auditstore_channel_free(c);
  return NULL;
}

void auditstore_channel_free(struct auditstore_channel *c) {
  if (!c)
    return;
  for (struct list_link *at = c->links.first; at; at = at->next)
    link_drop(LIST_ENTRY(at, struct link, entry), "channel freed");
  channel_reap(c);
  pthread_cond_destroy(&c->news);
  pthread_mutex_destroy(&c->lock);
  if (c->wake_fd >= 0)
    close(c->wake_fd);
  free(c->host);
  free(c->port);
  free(c->authority);
  free(c->user_agent);
  free(c);
}
