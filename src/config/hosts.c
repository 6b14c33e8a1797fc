#include "config/hosts.h"

#include <string.h>

/* 1 to 65535, or -1. */
static int parse_port(struct str text) {
  int port = 0;
  if (text.len == 0 || text.len > 5)
    return -1;
  for (size_t i = 0; i < text.len; i++) {
    if (text.data[i] < '0' || text.data[i] > '9')
      return -1;
    port = port * 10 + (text.data[i] - '0');
  }
  return port >= 1 && port <= 65535 ? port : -1;
}

static bool set_name(struct config_host *host, struct str name) {
  if (name.len == 0 || name.len >= CONFIG_HOST_SIZE)
    return false;
  bool is_folder = name.data[0] == '/';
  for (size_t i = 0; i < name.len; i++) {
    if ((unsigned char)name.data[i] <= ' ' || strchr("@=", name.data[i]))
      return false;
    if (name.data[i] == '/' && !is_folder)
      return false;
  }
  memcpy(host->name, name.data, name.len);
  host->name[name.len] = '\0';
  return true;
}

static bool parse_bracketed(struct str text, struct config_host *host) {
  const char *end = memchr(text.data, ']', text.len);
  if (!end)
    return false;
  size_t len = (size_t)(end - text.data) + 1;
  if (len < text.len) {
    host->port = text.data[len] == ':' ? parse_port(str_of(end + 2, text.len - len - 1)) : -1;
    if (host->port < 0)
      return false;
  }
  return set_name(host, str_of(text.data + 1, len - 2));
}

static bool parse_host(struct str text, struct config_host *host) {
  host->port = 0;
  if (text.len == 0)
    return false;
  if (text.data[0] == '[')
    return parse_bracketed(text, host);
  const char *colon = memchr(text.data, ':', text.len);
  bool has_port = text.data[0] != '/' && colon && colon == memrchr(text.data, ':', text.len);
  if (!has_port)
    return set_name(host, text);
  size_t len = (size_t)(colon - text.data);
  host->port = parse_port(str_of(colon + 1, text.len - len - 1));
  return host->port > 0 && set_name(host, str_of(text.data, len));
}

int config_hosts_parse(struct str list, struct config_host ret_hosts[CONFIG_HOSTS_MAX]) {
  int count = 0;
  while (true) {
    const char *comma = list.len ? memchr(list.data, ',', list.len) : NULL;
    size_t len = comma ? (size_t)(comma - list.data) : list.len;
    if (count == CONFIG_HOSTS_MAX || !parse_host(str_of(list.data, len), &ret_hosts[count]))
      return -1;
    count++;
    if (!comma)
      return count;
    list = str_of(comma + 1, list.len - len - 1);
  }
}
