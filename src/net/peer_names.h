/*
 * peer_names: what a certificate says its owner is called, as it stands there.
 *
 * Nothing is checked or changed: a name may hold any bytes, NUL among them.
 */
#pragma once

#include "base/str.h"

/* Further names of one certificate are left out. */
#define PEER_NAMES_MAX 64

enum peer_name_kind { PEER_NAME_URI, PEER_NAME_DNS, PEER_NAME_CN };

struct peer_name {
  enum peer_name_kind kind;
  struct str text; /* in the same piece of memory as the list */
};

struct peer_names {
  int count;
  struct peer_name names[]; /* URIs and DNS names of subjectAltName, then CNs, each in order */
};

typedef struct x509_st X509;

/* The caller owns the list and frees it with free(). */
struct peer_names *peer_names_of(const X509 *cert);
