#include "ingest/address.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "base/quote.h"

/* With brackets, a zone and a port, but shorter than a text that somebody put in place of one. */
#define DECORATED_MAX 96
#define PARTS_MAX     5

bool address_parse(struct str text, struct pg_inet *ret_address) {
  char ip[INET6_ADDRSTRLEN];
  if (text.len == 0 || text.len >= sizeof(ip) || memchr(text.data, 0, text.len))
    return false;
  memcpy(ip, text.data, text.len);
  ip[text.len] = '\0';
  if (inet_pton(AF_INET, ip, ret_address->bytes) == 1)
    ret_address->length = 4;
  else if (inet_pton(AF_INET6, ip, ret_address->bytes) == 1)
    ret_address->length = 16;
  else
    return false;
  return true;
}

static bool is_address(struct str text) {
  struct pg_inet ignored;
  return address_parse(text, &ignored);
}

/* ---- an address with something about it ---- */

/* What is left of a text while one thing after the other is taken off, and what that was. */
struct peeling {
  struct str rest;
  const char *parts[PARTS_MAX];
  int count;
};

static void peel(struct peeling *p, struct str rest, const char *part) {
  p->rest = rest;
  p->parts[p->count++] = part;
}

static size_t find(struct str text, char c) {
  const char *at = text.len ? memchr(text.data, c, text.len) : NULL;
  return at ? (size_t)(at - text.data) : text.len;
}

static size_t find_last(struct str text, char c) {
  const char *at = text.len ? memrchr(text.data, c, text.len) : NULL;
  return at ? (size_t)(at - text.data) : text.len;
}

static bool is_number(struct str text) {
  for (size_t i = 0; i < text.len; i++)
    if (text.data[i] < '0' || text.data[i] > '9')
      return false;
  return text.len > 0;
}

static void peel_space(struct peeling *p) {
  static const char blanks[] = " \t\r\n";
  struct str rest = p->rest;
  while (rest.len > 0 && memchr(blanks, rest.data[0], sizeof(blanks) - 1))
    rest = str_of(rest.data + 1, rest.len - 1);
  while (rest.len > 0 && memchr(blanks, rest.data[rest.len - 1], sizeof(blanks) - 1))
    rest.len--;
  if (rest.len < p->rest.len)
    peel(p, rest, "white space");
}

/* "10.0.0.1:80" and "[::1]:80"; in "::1:80" nobody can tell a port. */
static void peel_port(struct peeling *p) {
  size_t colon = find_last(p->rest, ':');
  if (colon == p->rest.len || colon == 0)
    return;
  struct str host = str_of(p->rest.data, colon);
  struct str port = str_of(p->rest.data + colon + 1, p->rest.len - colon - 1);
  bool is_behind_brackets = host.data[host.len - 1] == ']';
  bool is_behind_ipv4 = find(host, ':') == host.len && find(host, '.') < host.len;
  if ((is_behind_brackets || is_behind_ipv4) && is_number(port))
    peel(p, host, "a port");
}

static void peel_brackets(struct peeling *p) {
  struct str rest = p->rest;
  if (rest.len > 2 && rest.data[0] == '[' && rest.data[rest.len - 1] == ']')
    peel(p, str_of(rest.data + 1, rest.len - 2), "brackets");
}

static void peel_from(struct peeling *p, char mark, const char *part) {
  size_t at = find(p->rest, mark);
  if (at < p->rest.len)
    peel(p, str_of(p->rest.data, at), part);
}

static void put_parts(const struct peeling *p, char *text, size_t size) {
  size_t at = 0;
  text[0] = '\0';
  for (int i = 0; i < p->count && at < size; i++) {
    const char *separator = i == 0 ? "" : i == p->count - 1 ? " and " : ", ";
    at += (size_t)snprintf(text + at, size - at, "%s%s", separator, p->parts[i]);
  }
}

/* False: there is no address within. */
static bool tell_decoration(struct str text, const char *shown, char *problem) {
  struct peeling p = {.rest = text};
  peel_space(&p);
  peel_port(&p);
  peel_from(&p, '/', "a prefix length");
  peel_brackets(&p);
  peel_from(&p, '%', "a zone");
  if (!is_address(p.rest))
    return false;
  char parts[80];
  char quoted[QUOTE_SIZE];
  put_parts(&p, parts, sizeof(parts));
  bool is_one = p.count == 1 && strcmp(parts, "brackets") != 0;
  bool is_behind = p.rest.data == text.data;
  size_t cut = is_behind ? p.rest.len : 0;
  quote(is_behind ? str_of(text.data + cut, text.len - cut) : p.rest, quoted);
  snprintf(problem, ADDRESS_PROBLEM_SIZE, "%s has %s, which %s no part of an address: %s %s", shown,
           parts, is_one ? "is" : "are", is_behind ? "leave out" : "write", quoted);
  return true;
}

/* ---- an address that others read otherwise ---- */

/* Drops the zeros before each number of an IPv4 address. */
static struct str drop_zeros(struct str text, char *plain) {
  size_t len = 0;
  for (size_t i = 0; i < text.len; i++) {
    bool begins = len == 0 || plain[len - 1] == '.' || plain[len - 1] == ':';
    bool is_leading = begins && text.data[i] == '0' && i + 1 < text.len &&
                      text.data[i + 1] >= '0' && text.data[i + 1] <= '9';
    if (!is_leading)
      plain[len++] = text.data[i];
  }
  return str_of(plain, len);
}

static bool tell_zeros(struct str text, const char *shown, char *problem) {
  char plain[DECORATED_MAX];
  char quoted[QUOTE_SIZE];
  struct str without = drop_zeros(text, plain);
  if (without.len == text.len || !is_address(without))
    return false;
  snprintf(problem, ADDRESS_PROBLEM_SIZE,
           "%s has a number with a leading zero, which some programs read as octal: write %s, if "
           "that is meant",
           shown, quote(without, quoted));
  return true;
}

/* As of X-Forwarded-For. */
static bool tell_list(struct str text, const char *shown, char *problem) {
  struct str rest = text;
  struct str first = str_trim(str_cut(&rest, ','));
  if (!is_address(first))
    return false;
  snprintf(problem, ADDRESS_PROBLEM_SIZE,
           "%s holds several addresses: keep the one that acted, and the others in event_data",
           shown);
  return true;
}

void address_problem(struct str text, char ret_problem[ADDRESS_PROBLEM_SIZE]) {
  char shown[QUOTE_SIZE];
  quote(text, shown);
  if (text.len < DECORATED_MAX &&
      (tell_decoration(text, shown, ret_problem) || tell_zeros(text, shown, ret_problem)))
    return;
  if (tell_list(text, shown, ret_problem))
    return;
  snprintf(ret_problem, ADDRESS_PROBLEM_SIZE,
           "%s is no IPv4 or IPv6 address such as \"192.0.2.7\" or \"2001:db8::7\": leave actor.ip "
           "out where there is none",
           shown);
}
