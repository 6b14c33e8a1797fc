#include "target.h"
#include "internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define MAX_PORT       65535
#define MAX_HOST_BYTES 255

/* What may stand in an :authority, so that no name is sent that every server refuses. */
static bool is_host_text(struct str host, const char *more) {
  for (size_t i = 0; i < host.len; i++) {
    char ch = host.data[i];
    bool ok = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9');
    if (!ok && !strchr(more, ch))
      return false;
  }
  return host.len > 0 && host.len <= MAX_HOST_BYTES;
}

static bool is_port_text(struct str port) {
  long value = 0;
  if (port.len == 0 || port.len > 5)
    return false;
  for (size_t i = 0; i < port.len; i++) {
    if (port.data[i] < '0' || port.data[i] > '9')
      return false;
    value = value * 10 + (port.data[i] - '0');
  }
  return value > 0 && value <= MAX_PORT;
}

/* NULL: fine. Otherwise what is wrong. */
static const char *parse_path(struct target *t, struct str text) {
  static const char prefix[] = "unix:";
  struct str path = str_of(text.data + sizeof(prefix) - 1, text.len - (sizeof(prefix) - 1));
  if (path.len == 0 || path.data[0] != '/')
    return "the path of a Unix socket begins with /";
  if (path.len >= sizeof(((struct sockaddr_un *)0)->sun_path))
    return "the path of a Unix socket has at most 107 bytes";
  t->host = strdup("localhost");
  t->port = strdup("");
  t->path = strndup(path.data, path.len);
  t->authority = strdup("localhost");
  return t->host && t->port && t->path && t->authority ? NULL : "out of memory";
}

static const char *parse_host(struct target *t, struct str text) {
  const char *colon = memrchr(text.data, ':', text.len);
  if (!colon || colon == text.data)
    return "not of the form host:port, [ipv6]:port or unix:/path";
  struct str host = str_of(text.data, (size_t)(colon - text.data));
  struct str port = str_of(colon + 1, text.len - host.len - 1);
  if (!is_port_text(port))
    return "the port is a number from 1 to 65535";
  bool is_address = host.data[0] == '[' && host.data[host.len - 1] == ']';
  if (is_address)
    host = str_of(host.data + 1, host.len > 2 ? host.len - 2 : 0);
  if (!is_host_text(host, is_address ? ":." : "-._"))
    return is_address ? "no IPv6 address stands between the brackets"
                      : "a host's name has letters, digits, '-', '.' and '_'; an IPv6 address "
                        "stands in brackets";
  t->host = strndup(host.data, host.len);
  t->port = strndup(port.data, port.len);
  t->authority = strndup(text.data, text.len);
  return t->host && t->port && t->authority ? NULL : "out of memory";
}

static const char *parse_one(struct target *t, struct str text) {
  if (text.len == 0)
    return "nothing there";
  return text.len >= 5 && memcmp(text.data, "unix:", 5) == 0 ? parse_path(t, text)
                                                             : parse_host(t, text);
}

bool target_list_parse(struct target_list *list, const char *text,
                       struct auditstore_status *status) {
  for (const char *at = text; at;) {
    const char *comma = strchr(at, ',');
    struct str one = str_of(at, comma ? (size_t)(comma - at) : strlen(at));
    if (list->count == MAX_TARGETS) {
      status_set(status, AUDITSTORE_INVALID_ARGUMENT, "target: more than %d servers", MAX_TARGETS);
      return false;
    }
    const char *fault = parse_one(&list->entries[list->count++], one);
    if (fault) {
      status_set(status, AUDITSTORE_INVALID_ARGUMENT, "target \"%.*s\": %s",
                 one.len > 300 ? 300 : (int)one.len, one.data, fault);
      return false;
    }
    at = comma ? comma + 1 : NULL;
  }
  return true;
}

void target_list_deinit(struct target_list *list) {
  for (size_t i = 0; i < list->count; i++) {
    free(list->entries[i].host);
    free(list->entries[i].port);
    free(list->entries[i].path);
    free(list->entries[i].authority);
  }
  list->count = 0;
}
