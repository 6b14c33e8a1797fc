/*
 * certs: the daemon's certificate and key for TLS, from their files into the server.
 */
#pragma once

#include "base/must_check.h"
#include "config/config.h"
#include "net/tls.h"

/* Makes the context that the settings ask for, or reads its files again; on failure it stays as it
 * is. *context is NULL at first, and stays so without TLS. */
MUST_CHECK int certs_load(struct tls_context **context, const struct config *config,
                          struct error *err);
