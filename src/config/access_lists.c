#include "config/access_lists.h"

#include <strings.h>

static const char *const role_names[] = {
#define ROLE_NAME(name, text) text,
    CONFIG_ROLES_MAP(ROLE_NAME)
#undef ROLE_NAME
};

const char *config_role_name(enum config_role_index role) {
  return role_names[role];
}

bool config_list_next(struct str *list, struct str *ret_item) {
  if (list->len == 0)
    return false;
  *ret_item = str_trim(str_cut(list, ','));
  return true;
}

/* What stands behind the last comma counts as well. */
static bool ends_with_comma(struct str list) {
  list = str_trim(list);
  return list.len > 0 && list.data[list.len - 1] == ',';
}

static bool is_pattern(struct str item) {
  const char *star = memchr(item.data, '*', item.len);
  if (star && star != item.data + item.len - 1)
    return false;
  const char *colon = item.len ? memchr(item.data, ':', item.len) : NULL;
  return str_is(item, "*") || (colon && colon > item.data);
}

bool config_principals_are_valid(struct str list) {
  struct str item;
  if (ends_with_comma(list))
    return false;
  while (config_list_next(&list, &item)) {
    if (item.len == 0 || !is_pattern(item))
      return false;
  }
  return true;
}

static bool begins_with_dns(struct str text) {
  static const char kind[] = "dns:";
  return text.len >= sizeof(kind) - 1 && strncasecmp(text.data, kind, sizeof(kind) - 1) == 0;
}

/* Names of hosts have no case (RFC 4343). */
static bool is_same(struct str pattern, struct str text) {
  if (pattern.len == text.len && begins_with_dns(pattern) && begins_with_dns(text))
    return strncasecmp(pattern.data, text.data, text.len) == 0;
  return str_equal(pattern, text);
}

/* "." and "..", in every spelling: whoever takes the name for a path would go elsewhere. */
static bool is_dots(struct str segment) {
  while (segment.len > 0) {
    bool is_encoded = segment.len >= 3 && strncasecmp(segment.data, "%2e", 3) == 0;
    if (!is_encoded && segment.data[0] != '.')
      return false;
    size_t len = is_encoded ? 3 : 1;
    segment = str_of(segment.data + len, segment.len - len);
  }
  return true;
}

/* What a star may stand for in a URI: something, behind a slash, and never a way out or a gap. */
static bool is_plain_rest(struct str prefix, struct str rest) {
  bool begins_segment = prefix.len > 0 && prefix.data[prefix.len - 1] == '/';
  if (!begins_segment) {
    if (!memchr(rest.data, '/', rest.len))
      return true;
    str_cut(&rest, '/');
  }
  bool is_plain = true;
  for (bool is_last = false; is_plain && !is_last;) {
    is_last = !rest.len || !memchr(rest.data, '/', rest.len);
    is_plain = !is_dots(str_cut(&rest, '/'));
  }
  return is_plain;
}

static bool matches(struct str pattern, struct str principal) {
  bool is_prefix = pattern.len > 0 && pattern.data[pattern.len - 1] == '*';
  if (!is_prefix)
    return is_same(pattern, principal);
  struct str prefix = str_of(pattern.data, pattern.len - 1);
  if (principal.len < prefix.len || !is_same(prefix, str_of(principal.data, prefix.len)))
    return false;
  bool is_uri = prefix.len >= 3 && memmem(prefix.data, prefix.len, "://", 3);
  return !is_uri ||
         is_plain_rest(prefix, str_of(principal.data + prefix.len, principal.len - prefix.len));
}

bool config_principals_match(struct str list, struct str principal) {
  struct str item;
  while (config_list_next(&list, &item)) {
    if (matches(item, principal))
      return true;
  }
  return false;
}

static bool add_role(struct str name, unsigned *roles) {
  for (unsigned i = 0; i < CONFIG_ROLE_COUNT; i++) {
    if (!str_is(name, role_names[i]))
      continue;
    *roles |= 1U << i;
    return true;
  }
  return false;
}

bool config_roles_parse(struct str list, unsigned *ret_roles) {
  struct str item;
  unsigned roles = 0;
  if (ends_with_comma(list))
    return false;
  while (config_list_next(&list, &item)) {
    if (!add_role(item, &roles))
      return false;
  }
  *ret_roles = roles;
  return true;
}
