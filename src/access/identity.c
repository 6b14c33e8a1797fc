#include "access/identity.h"

#include <strings.h>

static bool has_control_character(struct str name) {
  for (size_t i = 0; i < name.len; i++) {
    if ((unsigned char)name.data[i] < 0x20 || name.data[i] == 0x7f)
      return true;
  }
  return false;
}

bool identity_make(const char *prefix, struct str name, struct identity *ret) {
  size_t prefix_len = strlen(prefix);
  if (prefix_len + name.len > sizeof(ret->text))
    return false;
  memcpy(ret->text, prefix, prefix_len);
  memcpy(ret->text + prefix_len, name.data, name.len);
  ret->len = prefix_len + name.len;
  return true;
}

struct str identity_str(const struct identity *identity) {
  return str_of(identity->text, identity->len);
}

static enum identity_result take(const char *prefix, struct str name, struct identity *ret) {
  bool is_good = name.len > 0 && utf8_is_storable(name) && !has_control_character(name);
  return is_good && identity_make(prefix, name, ret) ? IDENTITY_NAMED : IDENTITY_MALFORMED;
}

/* Schemes have no case (RFC 3986, 3.1). */
static bool begins_with(struct str uri, const char *scheme) {
  size_t len = strlen(scheme);
  return uri.len >= len && strncasecmp(uri.data, scheme, len) == 0;
}

static bool may_be_taken(struct str uri) {
  static const char *const ours[] = {"dns:", "cn:", "token:", "auditstore:"};
  const char *colon = uri.len ? memchr(uri.data, ':', uri.len) : NULL;
  for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
    if (begins_with(uri, ours[i]))
      return false;
  }
  return colon && colon > uri.data;
}

static const struct peer_name *first_of(const struct peer_names *names, enum peer_name_kind kind) {
  for (int i = 0; i < names->count; i++) {
    const struct peer_name *name = &names->names[i];
    if (name->kind == kind && (kind != PEER_NAME_URI || may_be_taken(name->text)))
      return name;
  }
  return NULL;
}

static void lower_case(struct identity *identity) {
  for (size_t i = 0; i < identity->len; i++) {
    if (identity->text[i] >= 'A' && identity->text[i] <= 'Z')
      identity->text[i] |= 0x20;
  }
}

enum identity_result identity_of_certificate(const struct peer_names *names, struct identity *ret) {
  /* What wasn't looked at might be the name that counts. */
  if (names->is_cut)
    return IDENTITY_MALFORMED;
  const struct peer_name *name = first_of(names, PEER_NAME_URI);
  if (name)
    return take("", name->text, ret);
  if ((name = first_of(names, PEER_NAME_DNS))) {
    enum identity_result result = take("dns:", name->text, ret);
    if (result == IDENTITY_NAMED)
      lower_case(ret);
    return result;
  }
  name = first_of(names, PEER_NAME_CN);
  return name ? take("cn:", name->text, ret) : IDENTITY_NAMELESS;
}
