/*
 * peer_names: what a certificate says its owner is called, as it stands there.
 *
 * Nothing is checked or changed: a name may hold any bytes, NUL among them.
 */
#pragma once

#include <stdbool.h>

#include "base/str.h"

/* Of a certificate with more, the rest is left out, and the list says so. */
#define PEER_NAMES_MAX 64

enum peer_name_kind { PEER_NAME_URI, PEER_NAME_DNS, PEER_NAME_CN };

struct peer_name {
  enum peer_name_kind kind;
  struct str text; /* in the same piece of memory as the list */
};

struct peer_names {
  int count;
  bool is_cut;
  struct peer_name names[]; /* URIs and DNS names of subjectAltName, then CNs, each in order */
};

typedef struct x509_st X509;

/* The caller owns the list and frees it with free(). */
struct peer_names *peer_names_of(const X509 *cert);
