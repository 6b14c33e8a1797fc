/*
 * auditstore: the C client library. This header brings in the whole of it.
 *
 *   struct auditstore_channel *channel = auditstore_channel_new("127.0.0.1:7443", NULL, NULL);
 *   Auditstore__V1__WriteEventsRequest request = AUDITSTORE__V1__WRITE_EVENTS_REQUEST__INIT;
 *   ...
 *   Auditstore__V1__WriteEventsResponse *response = NULL;
 *   struct auditstore_status status = {0};
 *   if (auditstore_v1_audit_store_write_events(channel, &request, &response, NULL, &status) == 0)
 *     auditstore__v1__write_events_response__free_unpacked(response, NULL);
 *   auditstore_status_deinit(&status);
 */
#ifndef AUDITSTORE_AUDITSTORE_H
#define AUDITSTORE_AUDITSTORE_H

#include "auditstore/call.h"
#include "auditstore/channel.h"
#include "auditstore/publisher.h"
#include "auditstore/status.h"
#include "auditstore/v1/admin.stub.h"
#include "auditstore/v1/audit_store.stub.h"

#endif
