/* What the fault_server says. */
#include "auditstore/v1/audit_store.pb-c.h"
#include "fault_private.h"
#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "grpc/gzip.h"

#include <stdio.h>
#include <stdlib.h>

const char *seen_value(struct fault_stream *s, const char *name) {
  static _Thread_local char value[256];
  char start[64];
  buf_append(&s->seen, "", 1);
  s->seen.end--;
  snprintf(start, sizeof(start), "\n%s: ", name);
  const char *at = strstr((const char *)buf_bytes(&s->seen), start);
  if (!at)
    return NULL;
  at += strlen(start);
  snprintf(value, sizeof(value), "%.*s", (int)strcspn(at, "\n"), at);
  return value;
}

/* ---- messages ---- */

void put_message(struct fault_stream *s, uint8_t flag, const void *data, size_t len) {
  buf_append(&s->out, &flag, 1);
  buf_append_be32(&s->out, (uint32_t)len);
  buf_append(&s->out, data, len);
}

void put_gzip(struct fault_stream *s, const void *data, size_t len) {
  struct grpc_gzip gzip = {.has_deflater = false};
  struct buf body;
  buf_init(&body, MAX_OUT);
  if (!grpc_gzip_compress(&gzip, str_of(data, len), &body))
    abort();
  put_message(s, 1, buf_bytes(&body), buf_len(&body));
  buf_deinit(&body);
  grpc_gzip_deinit(&gzip);
}

struct str inflated(const struct fault_stream *s, struct buf *room) {
  struct grpc_gzip gzip = {.has_deflater = false};
  struct str bytes = str_of(buf_bytes(&s->in.body), s->in.body_len);
  buf_init(room, MAX_OUT);
  if (!grpc_deframer_is_compressed(&s->in))
    return bytes;
  if (grpc_gzip_inflate(&gzip, bytes, room) != GRPC_INFLATE_OK)
    abort();
  grpc_gzip_deinit(&gzip);
  return str_of(buf_bytes(room), buf_len(room));
}

void answer_flood(struct fault_stream *s) {
  /* An event_data of 32 KiB: field 1 (event) { field 1 (AuditEvent) { field 19: bytes } }. */
  static uint8_t data[32 * 1024];
  Auditstore__V1__AuditEvent event = AUDITSTORE__V1__AUDIT_EVENT__INIT;
  memset(data, 'x', sizeof(data) - 1);
  event.event_data = (char *)data;
  Auditstore__V1__StoredEvent stored = AUDITSTORE__V1__STORED_EVENT__INIT;
  stored.event = &event;
  Auditstore__V1__GetEventResponse response = AUDITSTORE__V1__GET_EVENT_RESPONSE__INIT;
  response.event = &stored;
  size_t len = auditstore__v1__get_event_response__get_packed_size(&response);
  uint8_t *packed = malloc(len);
  auditstore__v1__get_event_response__pack(&response, packed);
  for (int i = 0; i < 768; i++)
    put_message(s, 0, packed, len);
  free(packed);
}

/* ---- errors ---- */

void answer_error(struct connection *c, int32_t id) {
  Google__Rpc__BadRequest__FieldViolation violation =
      GOOGLE__RPC__BAD_REQUEST__FIELD_VIOLATION__INIT;
  violation.field = (char *)"events[0].actor.id";
  violation.description = (char *)"too long";
  Google__Rpc__BadRequest__FieldViolation *violations[] = {&violation};
  Google__Rpc__BadRequest bad = GOOGLE__RPC__BAD_REQUEST__INIT;
  bad.n_field_violations = 1;
  bad.field_violations = violations;
  uint8_t packed[256];
  Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
  any.type_url = (char *)"type.googleapis.com/google.rpc.BadRequest";
  any.value.len = google__rpc__bad_request__pack(&bad, packed);
  any.value.data = packed;
  Google__Protobuf__Any *details[] = {&any};
  Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
  status.code = 3;
  status.n_details = 1;
  status.details = details;
  uint8_t packed_status[512];
  struct buf text;
  buf_init(&text, 4096);
  grpc_base64_encode(str_of(packed_status, google__rpc__status__pack(&status, packed_status)),
                     &text);
  buf_append(&text, "", 1);
  const nghttp2_nv headers[] = {
      NV(":status", "200"),        NV("content-type", "application/grpc"),
      NV("grpc-status", "3"),      NV("grpc-message", "not %E2%98%BA good%0A"),
      NV("x-trailer-bin", "AQID"), NV("grpc-status-details-bin", (const char *)buf_bytes(&text))};
  nghttp2_submit_response(c->session, id, headers, 6, NULL);
  buf_deinit(&text);
}

/* What came is told in the trailers of an error. */
void answer_mirror(struct connection *c, int32_t id, struct fault_stream *s) {
  struct buf text;
  buf_init(&text, 16 * 1024);
  grpc_base64_encode(str_of(buf_bytes(&s->seen), buf_len(&s->seen)), &text);
  buf_append(&text, "", 1);
  const nghttp2_nv headers[] = {NV(":status", "200"), NV("content-type", "application/grpc"),
                                NV("grpc-status", "5"),
                                NV("x-seen-bin", (const char *)buf_bytes(&text))};
  nghttp2_submit_response(c->session, id, headers, 4, NULL);
  buf_deinit(&text);
}

/* ---- errors that may pass ---- */

/* The details of a status with a RetryInfo, as base64 with a NUL. */
static void put_delay(struct buf *text, int code, long ms) {
  uint8_t packed[64];
  uint8_t packed_status[256];
  Google__Protobuf__Duration delay = GOOGLE__PROTOBUF__DURATION__INIT;
  Google__Rpc__RetryInfo info = GOOGLE__RPC__RETRY_INFO__INIT;
  Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
  Google__Protobuf__Any *details[] = {&any};
  Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
  delay.seconds = ms / 1000;
  delay.nanos = (int32_t)(ms % 1000 * 1000000);
  info.retry_delay = &delay;
  any.type_url = (char *)"type.googleapis.com/google.rpc.RetryInfo";
  any.value.len = google__rpc__retry_info__pack(&info, packed);
  any.value.data = packed;
  status.code = code;
  status.n_details = 1;
  status.details = details;
  grpc_base64_encode(str_of(packed_status, google__rpc__status__pack(&status, packed_status)),
                     text);
  buf_append(text, "", 1);
}

static long number_of(struct fault_stream *s, const char *name) {
  const char *value = seen_value(s, name);
  return value ? strtol(value, NULL, 10) : -1;
}

bool answer_retry(struct connection *c, int32_t id, struct fault_stream *s) {
  char code[16];
  char pushback[64] = "";
  struct buf details;
  long before = number_of(s, "grpc-previous-rpc-attempts");
  if ((before < 0 ? 0 : before) >= number_of(s, "x-times"))
    return false;
  buf_init(&details, 1024);
  snprintf(code, sizeof(code), "%ld", number_of(s, "x-code"));
  nghttp2_nv nv[5] = {NV(":status", "200"), NV("content-type", "application/grpc"),
                      NV("grpc-status", code)};
  size_t count = 3;
  if (seen_value(s, "x-pushback")) {
    snprintf(pushback, sizeof(pushback), "%s", seen_value(s, "x-pushback"));
    nv[count++] = (nghttp2_nv)NV("grpc-retry-pushback-ms", pushback);
  }
  if (number_of(s, "x-delay-ms") >= 0) {
    put_delay(&details, (int)number_of(s, "x-code"), number_of(s, "x-delay-ms"));
    nv[count++] = (nghttp2_nv)NV("grpc-status-details-bin", (const char *)buf_bytes(&details));
  }
  if (seen_value(s, "x-headers")) {
    nghttp2_submit_headers(c->session, 0, id, NULL, nv, 2, NULL);
    nghttp2_submit_headers(c->session, NGHTTP2_FLAG_END_STREAM, id, NULL, nv + 2, count - 2, NULL);
  } else {
    nghttp2_submit_response(c->session, id, nv, count, NULL);
  }
  buf_deinit(&details);
  return true;
}
