#include "query/get.h"

#include "base/quote.h"
#include "ledger/rows.h"

struct grpc_status *get_init(struct sql *sql, const Auditstore__V1__GetEventRequest *request) {
  struct uuid id;
  char shown[QUOTE_SIZE];
  struct grpc_status *status = NULL;
  struct str text = str_of(request->event_id.data, request->event_id.len);
  if (text.len == 0)
    grpc_status_violate(&status, "event_id", "is required");
  else if (!uuid_parse(text, &id))
    grpc_status_violate(&status, "event_id",
                        "must be a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057; %s is not",
                        quote(text, shown));
  if (status)
    return status;
  sql_init(sql);
  sql_add(sql, "SELECT ");
  sql_add(sql, event_row_columns());
  sql_add(sql, " FROM audit_events e WHERE e.event_id = ");
  sql_add_uuid(sql, &id);
  sql_add(sql, " ORDER BY e.event_time DESC LIMIT 1");
  return NULL;
}

int get_read(const PGresult *result, struct arena *arena,
             Auditstore__V1__GetEventResponse *response, struct error *err) {
  if (PQntuples(result) == 0)
    return error_set(err, ERR_NOT_FOUND, "there is no event with this id");
  struct stored_event stored;
  int rc = event_row_read(result, 0, &stored, err);
  if (rc < 0)
    return rc;
  response->event = stored_event_to_proto(&stored, arena);
  return response->event ? 0 : error_set(err, ERR_INTERNAL, "get: no room for one event");
}
