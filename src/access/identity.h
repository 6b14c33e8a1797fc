/*
 * identity: the text that stands for a caller.
 *
 *   spiffe://prod/billing   a URI of the certificate's subjectAltName, as it stands there
 *   dns:api.example.com     a DNS name of it, in lower case
 *   cn:alice                the subject's common name
 *   token:ci                the name of a bearer token
 *   anonymous               nothing was shown
 *   auditstore:self         the daemon, in events that it records itself
 *
 * The first kind that a certificate has is taken, and of it the first name. A URI that begins like
 * one of the other kinds, or has no scheme, is passed over: its owner would pass for another.
 */
#pragma once

#include "net/peer_names.h"

/* SPIFFE's ids may be so long; other names are much shorter. */
#define IDENTITY_MAX_BYTES 2048

#define IDENTITY_ANONYMOUS "anonymous"
#define IDENTITY_SELF      "auditstore:self"

struct identity {
  size_t len;
  char text[IDENTITY_MAX_BYTES];
};

enum identity_result {
  IDENTITY_NAMED,
  IDENTITY_NAMELESS,  /* nothing there that could be taken */
  IDENTITY_MALFORMED, /* the name to be taken is empty, too long, not UTF-8, or has control
                         characters or NUL: somebody may read it in another way than we do */
};

enum identity_result identity_of_certificate(const struct peer_names *names, struct identity *ret);

/* prefix and name, e.g. "token:" and "ci". False: too long. */
bool identity_make(const char *prefix, struct str name, struct identity *ret);

struct str identity_str(const struct identity *identity);
