#include "ingest/oversize.h"

#include <stdint.h>

#include "auditstore/v1/audit_store.pb-c.h"

/* Each piece of an arena is rounded up to this. */
#define ALIGNMENT_BYTES 16
/* protobuf-c notes where the fields of a message are: of more than 16 it takes this, for each 32.
 */
#define FIELD_NOTES_BYTES 2048

enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

size_t oversize_room_bytes(const struct config_ingest *config) {
  const size_t event_bytes = sizeof(Auditstore__V1__AuditEvent) +
                             sizeof(Google__Protobuf__Timestamp) +
                             sizeof(Google__Protobuf__Duration) + sizeof(Auditstore__V1__Actor) +
                             sizeof(Auditstore__V1__Resource) + sizeof(Auditstore__V1__EventError) +
                             sizeof(void *) + FIELD_NOTES_BYTES + 8 * (size_t)ALIGNMENT_BYTES;
  return ((size_t)config->max_request_events + 1) * event_bytes;
}

void oversize_violate(const struct config_ingest *config, size_t count,
                      struct grpc_status **status) {
  grpc_status_violate(status, "events",
                      "has %zu events; at most %d are allowed (ingest.max_request_events): send "
                      "them in several requests",
                      count, config->max_request_events);
}

/* ---- counting fields of a packed message ---- */

/* False: cut off, or longer than any number is. */
static bool take_varint(struct str *in, uint64_t *ret_value) {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64 && in->len > 0; shift += 7) {
    uint8_t byte = (uint8_t)in->data[0];
    *in = str_of(in->data + 1, in->len - 1);
    value |= (uint64_t)(byte & 0x7f) << shift;
    if (!(byte & 0x80)) {
      *ret_value = value;
      return true;
    }
  }
  return false;
}

static bool skip(struct str *in, uint64_t len) {
  if (len > in->len)
    return false;
  *in = str_of(in->data + len, in->len - (size_t)len);
  return true;
}

static bool skip_value(struct str *in, uint64_t type) {
  uint64_t number = 0;
  switch (type) {
  case WIRE_VARINT:
    return take_varint(in, &number);
  case WIRE_64:
    return skip(in, 8);
  case WIRE_BYTES:
    return take_varint(in, &number) && skip(in, number);
  case WIRE_32:
    return skip(in, 4);
  default:
    return false;
  }
}

/* Up to where the message is well-formed. */
static size_t count_fields(struct str body, uint32_t id) {
  size_t count = 0;
  uint64_t tag = 0;
  while (take_varint(&body, &tag) && skip_value(&body, tag & 7)) {
    if (tag >> 3 == id)
      count++;
  }
  return count;
}

struct grpc_status *oversize_refusal(const struct config_ingest *config,
                                     const struct grpc_method *method, struct str body) {
  struct grpc_status *status = NULL;
  const ProtobufCFieldDescriptor *events =
      protobuf_c_message_descriptor_get_field_by_name(method->input, "events");
  size_t count = events ? count_fields(body, events->id) : 0;
  if (count > (size_t)config->max_request_events)
    oversize_violate(config, count, &status);
  return status;
}
