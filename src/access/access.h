/*
 * access: who calls, what he may do, and how much of it.
 *
 * Each call, when its headers are in, is asked for its caller: a bearer token if one is shown,
 * which then has to be good; else the client certificate; else nobody ("anonymous"). The caller's
 * roles come from the settings, and methods.c says which of them admits to the method. Who may call
 * has his quotas looked at next. A reload of roles and tokens holds for calls under way as well,
 * from their next message on.
 *
 * Words: principal, role: config/access_lists.h; identity.h shows what principals look like.
 * Loop thread only. Nothing here waits.
 */
#pragma once

#include "access/denials.h"
#include "access/principals.h"
#include "base/clock.h"
#include "base/must_check.h"
#include "config/config.h"
#include "grpc/server.h"

struct access;

struct access_options {
  const struct config *config; /* a reload changes it */
  const struct clock *clock;
  denial_record_cb *record; /* stores a denial as an audit event; NULL: that isn't done */
  void *record_arg;
};

/* What `options` point to must outlive it. Knows no token before access_load(). */
struct access *access_new(const struct access_options *options);

/* When no call is left. NULL is fine. */
void access_free(struct access *access);

/* Reads the token file, and has roles looked up anew. ERR_FAILED_PRECONDITION: the file is no use,
 * or everybody may read or change it in production; the tokens known before stay. The roles of the
 * settings hold in any case. */
MUST_CHECK int access_load(struct access *access, struct error *err);

/* Guards all methods of the server, which were added before. */
void access_guard(struct access *access, struct grpc_server *server);

/* Takes events and bytes from the caller's quotas, or, when there isn't enough left, takes nothing
 * and returns a status with the time to come back, which the caller of this owns. Fine for calls
 * that aren't guarded. */
struct access_amount {
  int64_t events;
  int64_t bytes;
};
struct grpc_status *access_charge(struct grpc_call *call, struct access_amount amount);

/* Whose call it is, valid as long as the call; len 0: it isn't guarded. */
struct str access_principal(const struct grpc_call *call);

/* What became of a denial that was handed on, with its left_out. */
void access_denial_settled(struct access *access, int64_t left_out, bool is_stored);

struct access_stats {
  struct denial_stats denials;
  int64_t over_quota[QUOTA_COUNT];
  size_t principals; /* remembered */
  int tokens;        /* known */
};
void access_stats(const struct access *access, struct access_stats *ret_stats);
