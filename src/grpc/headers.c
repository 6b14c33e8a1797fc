#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "grpc/call.h"

#define MAX_HEADER_BYTES 16384
#define MAX_HEADERS      100
#define HEADER_OVERHEAD  32 /* RFC 9113, 6.5.2 */
#define MAX_QUOTED_PATH  200
/* A byte on the wire may name a field of kilobytes (HPACK): passing over such takes time as well.
 */
#define BOMB_BYTES (10 * MAX_HEADER_BYTES)
/* The longest name of a service or a symbol is a tenth of it. */
#define PUBLIC_MESSAGE_MAX_BYTES ((size_t)4 * 1024)

/* ---- taking headers in ---- */

static void take_method(struct grpc_request *r, struct str value) {
  if (str_is(value, "POST"))
    r->verb = VERB_POST;
  else if (str_is(value, "GET"))
    r->verb = VERB_GET;
}

static void take_path(struct grpc_call *call, struct str value) {
  struct grpc_request *r = &call->request;
  r->route = grpc_server_route(call->server, value);
  r->is_root = str_is(value, "/");
  if (r->route || r->unknown_path)
    return;
  size_t len = value.len < MAX_QUOTED_PATH ? value.len : MAX_QUOTED_PATH;
  r->unknown_path = xcalloc(1, len + 1);
  memcpy(r->unknown_path, value.data, len);
}

static bool starts_with(struct str text, const char *prefix) {
  size_t len = strlen(prefix);
  return text.len >= len && strncasecmp(text.data, prefix, len) == 0;
}

/* "application/grpc", then nothing, parameters behind ';', or a subtype behind '+'. */
static void take_content_type(struct grpc_request *r, struct str value) {
  static const char grpc[] = "application/grpc";
  static const char proto[] = "+proto";
  r->type = TYPE_OTHER;
  if (!starts_with(value, grpc))
    return;
  struct str rest = str_of(value.data + sizeof(grpc) - 1, value.len - (sizeof(grpc) - 1));
  if (rest.len == 0 || rest.data[0] == ';')
    r->type = TYPE_GRPC;
  else if (starts_with(rest, proto) && (rest.len == sizeof(proto) - 1 || rest.data[6] == ';'))
    r->type = TYPE_GRPC_PROTO;
  else if (rest.data[0] == '+')
    r->type = TYPE_GRPC_OTHER;
}

static void take_timeout(struct grpc_request *r, struct str value) {
  r->is_timeout_bad = !grpc_timeout_parse(value, &r->timeout_us);
}

static void take_encoding(struct grpc_request *r, struct str value) {
  if (str_is(value, "gzip"))
    r->encoding = ENCODING_GZIP;
  else
    r->encoding = str_is(value, "identity") ? ENCODING_NONE : ENCODING_OTHER;
}

/* FNV-1a, so that a name need not be kept until a second one comes. */
static uint64_t hash_host(struct str name) {
  uint64_t hash = 0xcbf29ce484222325;
  for (size_t i = 0; i < name.len; i++)
    hash = (hash ^ (uint64_t)tolower((unsigned char)name.data[i])) * 0x100000001b3;
  return hash;
}

/* From ":authority" or "host". */
static void take_host(struct grpc_request *r, struct str value) {
  uint64_t hash = hash_host(value);
  r->has_two_hosts = r->host_hash != 0 && r->host_hash != hash;
  r->host_hash = hash;
}

/* Whether `wanted` is in a list with commas, with blanks or without. */
static bool lists(struct str list, const char *wanted) {
  while (list.len > 0) {
    struct str item = str_cut(&list, ',');
    if (str_is(str_trim(item), wanted))
      return true;
  }
  return false;
}

/* What gRPC and HTTP/2 use themselves isn't metadata. */
static void take_metadata(struct grpc_request *r, struct str name, struct str value) {
  if (grpc_metadata_key_is_valid(name) && !grpc_metadata_take(&r->metadata, name, value))
    r->is_metadata_bad = true;
}

static void take_field(struct grpc_call *call, struct str name, struct str value) {
  struct grpc_request *r = &call->request;
  if (str_is(name, ":path"))
    take_path(call, value);
  else if (str_is(name, ":method"))
    take_method(r, value);
  else if (str_is(name, ":authority") || str_is(name, "host"))
    take_host(r, value);
  else if (str_is(name, "content-type"))
    take_content_type(r, value);
  else if (str_is(name, "grpc-timeout"))
    take_timeout(r, value);
  else if (str_is(name, "grpc-encoding"))
    take_encoding(r, value);
  else if (str_is(name, "grpc-accept-encoding"))
    r->accepts_gzip = lists(value, "gzip");
  else
    take_metadata(r, name, value);
}

static bool are_too_many(const struct grpc_request *r) {
  return r->bytes > MAX_HEADER_BYTES || r->count > MAX_HEADERS;
}

static void count_field(struct grpc_request *r, struct str name, size_t value_len) {
  r->bytes += name.len + value_len + HEADER_OVERHEAD;
  r->count++;
}

bool grpc_headers_take(struct grpc_call *call, struct str name, struct str value) {
  struct grpc_request *r = &call->request;
  count_field(r, name, value.len);
  if (!are_too_many(r) && grpc_fields_take(&r->fields, name, value))
    take_field(call, name, value);
  return r->bytes <= BOMB_BYTES;
}

bool grpc_headers_take_trailer(struct grpc_call *call, struct str name, size_t value_len) {
  struct grpc_request *r = &call->request;
  count_field(r, name, value_len);
  if (!are_too_many(r))
    grpc_fields_take_trailer(&r->fields, name);
  return r->bytes <= BOMB_BYTES;
}

/* ---- judging them ---- */

static void fail_unknown_path(struct grpc_call *call) {
  char text[MAX_QUOTED_PATH + 64];
  const char *path = call->request.unknown_path ? call->request.unknown_path : "";
  const char *slash = strrchr(path, '/');
  if (path[0] != '/' || slash == path || slash == path + 1 || slash[1] == '\0') {
    snprintf(text, sizeof(text), "malformed method name \"%s\"", path);
  } else {
    struct str service = str_of(path + 1, (size_t)(slash - path) - 1);
    bool is_known = grpc_server_has_service(call->server, service);
    snprintf(text, sizeof(text), "unknown %s %s", is_known ? "method" : "service",
             is_known ? path : path + 1);
    if (!is_known)
      *strrchr(text, '/') = '\0';
  }
  grpc_call_fail(call, GRPC_UNIMPLEMENTED, text);
}

/* The requests that aren't gRPC at all get an HTTP status. False when it answered. */
static bool is_grpc(struct grpc_call *call) {
  const struct grpc_request *r = &call->request;
  bool has_grpc_type = r->type != TYPE_NONE && r->type != TYPE_OTHER;
  if (r->is_root && !has_grpc_type && r->verb != VERB_OTHER) {
    call->is_page = true;
    return false;
  }
  if (r->verb != VERB_POST) {
    grpc_respond_http(call, "405", GRPC_INTERNAL, "gRPC calls use the HTTP method POST");
    return false;
  }
  if (!has_grpc_type) {
    grpc_respond_http(call, "415", GRPC_INVALID_ARGUMENT,
                      "gRPC calls have the content-type application/grpc");
    return false;
  }
  return true;
}

static bool passes_hook(struct grpc_call *call) {
  const struct grpc_server *server = call->server;
  struct grpc_status *refusal =
      server->on_open ? server->on_open(server->on_open_arg, call, call->request.route->method)
                      : NULL;
  if (!refusal)
    return true;
  grpc_call_refuse(call, refusal);
  return false;
}

static void accept_call(struct grpc_call *call) {
  const struct grpc_request *r = &call->request;
  struct grpc_server *server = call->server;
  enum grpc_method_kind kind = r->route->method->kind;
  call->is_accepted = true;
  size_t max_bytes = (size_t)server->config->max_message_bytes;
  grpc_deframer_init_counted(&call->rx, r->route->is_public ? PUBLIC_MESSAGE_MAX_BYTES : max_bytes,
                             &call->account->kinds[GRPC_MEMORY_UNFINISHED]);
  call->rx.may_be_compressed = r->encoding == ENCODING_GZIP && !r->route->is_public;
  int64_t now = call->session->now_us;
  if (r->timeout_us != CLOCK_NEVER)
    grpc_deadlines_add(&server->deadlines, &call->deadline, now + r->timeout_us);
  if (!passes_hook(call))
    return;
  call->is_let_in = true;
  /* Peers wait for the headers of a stream before they send or show anything. */
  if ((kind == GRPC_SERVER_STREAMING || kind == GRPC_BIDI_STREAMING) && !call->holds_headers)
    grpc_respond(call);
}

void grpc_headers_complete(struct grpc_call *call) {
  struct grpc_request *r = &call->request;
  const struct grpc_session *session = call->session;
  if (!are_too_many(r))
    grpc_fields_complete(&r->fields);
  if (r->fields.fault)
    grpc_call_reject(call, r->fields.fault);
  else if (session->calls.count > (size_t)call->server->config->max_concurrent_streams)
    grpc_call_reset(call, NGHTTP2_REFUSED_STREAM);
  else if (are_too_many(r))
    grpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED,
                   "the request's headers are above 16 KiB or 100 fields");
  else if (r->has_two_hosts)
    grpc_respond_http(call, "400", GRPC_INTERNAL, "the headers :authority and host differ");
  else if (!r->fields.has_host || r->fields.is_host_bad)
    grpc_respond_http(call, "400", GRPC_INTERNAL,
                      r->fields.has_host
                          ? "the header :authority is no host name"
                          : "the request names no host: neither :authority nor host");
  else if (!is_grpc(call))
    return;
  else if (r->type == TYPE_GRPC_OTHER)
    grpc_call_fail(call, GRPC_UNIMPLEMENTED, "unsupported content-subtype: only proto is served");
  else if (!r->route)
    fail_unknown_path(call);
  else if (!call->server->is_open && !r->route->is_early)
    grpc_call_fail(call, GRPC_UNAVAILABLE, "starting: not ready yet, try again soon");
  else if (r->is_timeout_bad)
    grpc_call_fail(call, GRPC_INTERNAL, "malformed grpc-timeout");
  else if (r->is_metadata_bad)
    grpc_call_fail(call, GRPC_INTERNAL, "malformed metadata: a -bin value isn't base64");
  else if (r->encoding == ENCODING_OTHER)
    grpc_call_fail(call, GRPC_UNIMPLEMENTED,
                   "grpc-encoding names a compression that isn't served; see grpc-accept-encoding");
  else if (r->timeout_us == 0)
    grpc_call_fail(call, GRPC_DEADLINE_EXCEEDED, "the deadline had passed on arrival");
  else
    accept_call(call);
}
