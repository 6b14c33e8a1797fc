/*
 * oversize: requests of more events than are allowed, told before they are unpacked: a thousand
 * times too many would take a thousand times too much memory.
 */
#pragma once

#include "config/config.h"
#include "grpc/server.h"

/* What a request may take of memory for its events, beyond what follows from its length: with all
 * their parts, as many as ingest.max_request_events of the shortest. */
size_t oversize_room_bytes(const struct config_ingest *config);

/* The refusal of a packed request that has more events than that; NULL when it hasn't, or isn't one
 * with events. */
struct grpc_status *oversize_refusal(const struct config_ingest *config,
                                     const struct grpc_method *method, struct str body);

/* The same refusal for a known number. Adds to *status. */
void oversize_violate(const struct config_ingest *config, size_t count,
                      struct grpc_status **status);
