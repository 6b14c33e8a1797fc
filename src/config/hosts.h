/*
 * hosts: the syntax of database.host.
 *
 * A list separated by commas: names, IPv4 addresses, IPv6 addresses (in brackets when a port
 * follows), or folders of Unix sockets (which begin with a slash); ":port" may follow all but the
 * last kind and IPv6 addresses without brackets.
 */
#pragma once

#include <stdbool.h>

#include "base/str.h"

enum { CONFIG_HOSTS_MAX = 8, CONFIG_HOST_SIZE = 256 };

struct config_host {
  char name[CONFIG_HOST_SIZE]; /* without brackets */
  int port;                    /* 0: none given */
};

/* Returns how many hosts the list has, or -1 when it is no such list. */
int config_hosts_parse(struct str list, struct config_host ret_hosts[CONFIG_HOSTS_MAX]);
