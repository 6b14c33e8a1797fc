#include "net/peer_names.h"

#include <openssl/x509v3.h>

#include "base/alloc.h"

/* Names that are known but not copied yet. */
struct gathered {
  int count;
  bool is_cut;
  size_t bytes;
  struct peer_name names[PEER_NAMES_MAX];
};

static void gather(struct gathered *g, enum peer_name_kind kind, struct str text) {
  if (g->count == PEER_NAMES_MAX) {
    g->is_cut = true;
    return;
  }
  g->names[g->count++] = (struct peer_name){kind, text};
  g->bytes += text.len;
}

static struct str bytes_of(const ASN1_STRING *text) {
  return str_of(ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text));
}

static void gather_alternatives(struct gathered *g, const GENERAL_NAMES *names) {
  for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
    const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
    if (name->type == GEN_URI)
      gather(g, PEER_NAME_URI, bytes_of(name->d.uniformResourceIdentifier));
    else if (name->type == GEN_DNS)
      gather(g, PEER_NAME_DNS, bytes_of(name->d.dNSName));
  }
}

static struct peer_names *copy(const struct gathered *g) {
  size_t head = sizeof(struct peer_names) + (size_t)g->count * sizeof(struct peer_name);
  struct peer_names *list = xmalloc(head + g->bytes);
  char *at = (char *)list + head;
  list->count = g->count;
  list->is_cut = g->is_cut;
  for (int i = 0; i < g->count; i++) {
    struct str text = g->names[i].text;
    if (text.len > 0)
      memcpy(at, text.data, text.len);
    list->names[i] = (struct peer_name){g->names[i].kind, str_of(at, text.len)};
    at += text.len;
  }
  return list;
}

/* The rest of the common names, and the end: each is converted to UTF-8 into memory of OpenSSL's
 * that has to live until all are copied. */
static struct peer_names *with_common_names(struct gathered *g, const X509_NAME *subject, int at) {
  unsigned char *text = NULL;
  at = X509_NAME_get_index_by_NID(subject, NID_commonName, at);
  if (at < 0 || g->is_cut)
    return copy(g);
  const ASN1_STRING *value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
  int len = ASN1_STRING_to_UTF8(&text, value);
  /* What can't be converted is there all the same, and is good for nothing. */
  gather(g, PEER_NAME_CN, len < 0 ? str_of("", 1) : str_of(text, (size_t)len));
  struct peer_names *list = with_common_names(g, subject, at);
  OPENSSL_free(text);
  return list;
}

struct peer_names *peer_names_of(const X509 *cert) {
  struct gathered g = {.count = 0};
  GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
  gather_alternatives(&g, names);
  struct peer_names *list = with_common_names(&g, X509_get_subject_name(cert), -1);
  GENERAL_NAMES_free(names);
  return list;
}
