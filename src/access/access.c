#include "access/access.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <strings.h>

#include "access/identity.h"
#include "access/methods.h"
#include "access/tokens.h"
#include "base/alloc.h"
#include "base/log.h"
#include "base/secret_rule.h"

#define ERROR_DOMAIN "auditstore"

struct access {
  struct access_options options;
  struct tokens *tokens; /* owned; NULL: none is known */
  struct principals *principals;
  struct denials *denials;
  unsigned generation; /* of roles and tokens; a reload begins the next one */
  int64_t over_quota[QUOTA_COUNT];
  EVP_MD *sha256; /* fetched once: EVP_sha256() would be looked up again for each hash */
  EVP_MD_CTX *hasher;
};

/* What was shown with a call. */
struct credentials {
  struct identity identity;
  bool has_token;
  uint8_t token_hash[TOKEN_HASH_SIZE];
};

/* What is kept of a call that was let in. */
struct caller {
  struct access *access; /* borrowed */
  struct principal *principal;
  const char *method;
  unsigned method_roles;
  unsigned generation; /* in which it was let in */
  bool has_token;
  uint8_t token_hash[TOKEN_HASH_SIZE];
};

/* ---- life ---- */

struct access *access_new(const struct access_options *options) {
  struct access *access = xcalloc(1, sizeof(*access));
  access->options = *options;
  access->principals = principals_new();
  access->denials =
      denials_new(clock_monotonic_us(options->clock), options->record, options->record_arg);
  access->generation = 1;
  access->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
  access->hasher = EVP_MD_CTX_new();
  if (!access->sha256 || !access->hasher)
    abort();
  return access;
}

void access_free(struct access *access) {
  if (!access)
    return;
  tokens_free(access->tokens);
  principals_free(access->principals);
  denials_free(access->denials);
  EVP_MD_CTX_free(access->hasher);
  EVP_MD_free(access->sha256);
  free(access);
}

/* ---- reading the token file ---- */

static int read_tokens(const struct config *config, const struct tokens *held,
                       struct tokens **ret_tokens, struct error *err) {
  const struct secret_rule rule = {.remedy = ", or anybody can give himself a token",
                                   .is_strict = config->server.environment == CONFIG_PRODUCTION};
  const char *path = config->access.token_file;
  struct tokens *tokens = NULL;
  struct secret_risk risk;
  int rc = tokens_load(path, held, &tokens, &risk, err);
  if (rc == 0 && (rc = secret_rule_apply(&rule, path, risk, err)) < 0)
    tokens_free(tokens);
  else if (rc == 0)
    *ret_tokens = tokens;
  return rc;
}

int access_load(struct access *access, struct error *err) {
  const struct config *config = access->options.config;
  struct tokens *tokens = NULL;
  access->generation++;
  int rc = config->access.token_file[0] ? read_tokens(config, access->tokens, &tokens, err) : 0;
  if (rc < 0) {
    error_prefix(err, "access.token_file");
    return rc;
  }
  tokens_free(access->tokens);
  access->tokens = tokens;
  if (tokens)
    log_info("tokens read", KV("file", config->access.token_file),
             KV("tokens", tokens_count(tokens)));
  return 0;
}

/* ---- who calls ---- */

static void hash_token(const struct access *access, struct str token,
                       uint8_t ret_hash[TOKEN_HASH_SIZE]) {
  if (EVP_DigestInit_ex2(access->hasher, access->sha256, NULL) != 1 ||
      EVP_DigestUpdate(access->hasher, token.data, token.len) != 1 ||
      EVP_DigestFinal_ex(access->hasher, ret_hash, NULL) != 1)
    abort();
}

/* The fields "authorization" of a call, and the value of the last. */
static int find_authorization(const struct grpc_call *call, struct str *ret_value) {
  size_t offset = 0;
  int count = 0;
  struct str key;
  struct str value;
  while (grpc_call_metadata(call, &offset, &key, &value)) {
    if (!str_is(key, "authorization"))
      continue;
    *ret_value = value;
    count++;
  }
  return count;
}

/* "Bearer TOKEN" (RFC 6750, 2.1). Of another scheme, or with nothing behind it, it is empty. */
static struct str token_of(struct str value) {
  static const char scheme[] = "bearer ";
  const size_t len = sizeof(scheme) - 1;
  if (value.len <= len || strncasecmp(value.data, scheme, len) != 0)
    return str_z("");
  return str_trim(str_of(value.data + len, value.len - len));
}

/* What is no token is looked up like one, so that the time tells nothing, and never found. */
static enum identity_result identify_by_token(const struct access *access, struct str authorization,
                                              struct credentials *ret) {
  struct str token = token_of(authorization);
  ret->has_token = true;
  hash_token(access, token, ret->token_hash);
  const char *name = tokens_find(access->tokens, ret->token_hash);
  bool is_known = token.len > 0 && name && identity_make("token:", str_z(name), &ret->identity);
  return is_known ? IDENTITY_NAMED : IDENTITY_MALFORMED;
}

static enum identity_result identify(const struct access *access, const struct grpc_call *call,
                                     struct credentials *ret) {
  struct str authorization = str_z("");
  int count = find_authorization(call, &authorization);
  const struct peer_names *names = grpc_call_peer_names(call);
  ret->has_token = false;
  if (count > 1)
    authorization = str_z("");
  if (count > 0)
    return identify_by_token(access, authorization, ret);
  enum identity_result result =
      names ? identity_of_certificate(names, &ret->identity) : IDENTITY_NAMELESS;
  if (result == IDENTITY_NAMELESS)
    (void)identity_make("", str_z(IDENTITY_ANONYMOUS), &ret->identity);
  return result;
}

/* ---- what he may do ---- */

static struct str text_of(const struct principal *principal) {
  return str_of(principal->text, principal->len);
}

static bool is_anonymous(const struct principal *principal) {
  return str_is(text_of(principal), IDENTITY_ANONYMOUS);
}

static unsigned look_up_roles(const struct config_access *config, struct str principal) {
  const char *const lists[CONFIG_ROLE_COUNT] = {
      [CONFIG_ROLE_INDEX_WRITER] = config->writers,
      [CONFIG_ROLE_INDEX_READER] = config->readers,
      [CONFIG_ROLE_INDEX_AUDITOR] = config->auditors,
      [CONFIG_ROLE_INDEX_ADMIN] = config->admins,
  };
  unsigned roles = 0;
  for (unsigned i = 0; i < CONFIG_ROLE_COUNT; i++) {
    if (config_principals_match(str_z(lists[i]), principal))
      roles |= 1U << i;
  }
  return roles;
}

static unsigned roles_of(const struct access *access, struct principal *principal) {
  const struct config_access *config = &access->options.config->access;
  if (principal->generation == access->generation)
    return principal->roles;
  unsigned roles = 0; /* the setting was checked when it was read */
  (void)config_roles_parse(str_z(config->anonymous_roles), &roles);
  if (!is_anonymous(principal))
    roles |= look_up_roles(config, text_of(principal));
  principal->roles = roles;
  principal->generation = access->generation;
  return roles;
}

/* ---- turning away ---- */

static struct grpc_status *deny(const struct access *access, const struct grpc_call *call,
                                struct denial *denial) {
  enum grpc_code code =
      denial->reason == DENIAL_ROLE_MISSING ? GRPC_PERMISSION_DENIED : GRPC_UNAUTHENTICATED;
  struct grpc_status *status = grpc_status_new(code, "%s", denial_reason_text(denial->reason));
  grpc_status_set_reason(status, denial_reason_name(denial->reason), ERROR_DOMAIN);
  denial->address = grpc_call_peer_address(call);
  denials_note(access->denials, denial, clock_monotonic_us(access->options.clock));
  return status;
}

static struct grpc_status *deny_role(const struct access *access, const struct grpc_call *call,
                                     const struct principal *principal, const char *method) {
  struct denial denial = {.reason = DENIAL_CREDENTIALS_MISSING, .method = method};
  if (!is_anonymous(principal)) {
    denial.reason = DENIAL_ROLE_MISSING;
    denial.principal = text_of(principal);
  }
  return deny(access, call, &denial);
}

static struct grpc_status *deny_credentials(const struct access *access,
                                            const struct grpc_call *call, const char *method) {
  struct denial denial = {.reason = DENIAL_CREDENTIALS_INVALID, .method = method};
  return deny(access, call, &denial);
}

/* ---- quotas ---- */

static const char *const quota_settings[QUOTA_COUNT] = {
    [QUOTA_CALLS] = "access.max_calls_per_second",
    [QUOTA_EVENTS] = "access.max_events_per_second",
    [QUOTA_BYTES] = "access.max_bytes_per_second",
};

static struct quota_share share_of(const struct access *access, enum quota_kind kind,
                                   int64_t amount) {
  const struct config_access *config = &access->options.config->access;
  int64_t per_second = config->max_calls_per_second;
  if (kind == QUOTA_EVENTS)
    per_second = config->max_events_per_second;
  else if (kind == QUOTA_BYTES)
    per_second = config->max_bytes_per_second == CLOCK_NEVER ? 0 : config->max_bytes_per_second;
  return (struct quota_share){amount, per_second};
}

static struct grpc_status *refuse_quota(struct access *access, enum quota_kind kind,
                                        int64_t wait_us) {
  access->over_quota[kind]++;
  struct grpc_status *status = grpc_status_new(
      GRPC_RESOURCE_EXHAUSTED, "over the caller's quota (%s): try again in %lld ms",
      quota_settings[kind], (long long)((wait_us + CLOCK_US_PER_MS - 1) / CLOCK_US_PER_MS));
  grpc_status_set_reason(status, "QUOTA_EXCEEDED", ERROR_DOMAIN);
  grpc_status_set_retry_delay(status, wait_us);
  return status;
}

/* All of it or nothing: amounts are by kind. */
static struct grpc_status *charge(struct access *access, struct principal *principal,
                                  const int64_t amounts[QUOTA_COUNT]) {
  int64_t now_us = clock_monotonic_us(access->options.clock);
  for (int kind = 0; kind < QUOTA_COUNT; kind++) {
    struct quota_share share = share_of(access, (enum quota_kind)kind, amounts[kind]);
    int64_t wait_us =
        amounts[kind] > 0 ? quota_wait_us(&principal->quotas[kind], share, now_us) : 0;
    if (wait_us > 0)
      return refuse_quota(access, (enum quota_kind)kind, wait_us);
  }
  for (int kind = 0; kind < QUOTA_COUNT; kind++)
    quota_take(&principal->quotas[kind], share_of(access, (enum quota_kind)kind, amounts[kind]),
               now_us);
  return NULL;
}

struct grpc_status *access_charge(struct grpc_call *call, struct access_amount amount) {
  const struct caller *caller = grpc_call_caller(call);
  if (!caller)
    return NULL;
  const int64_t amounts[QUOTA_COUNT] = {
      [QUOTA_EVENTS] = amount.events, [QUOTA_BYTES] = amount.bytes};
  return charge(caller->access, caller->principal, amounts);
}

/* ---- the server's questions ---- */

static void free_caller(void *arg) {
  struct caller *caller = arg;
  principal_release(caller->principal);
  free(caller);
}

/* Takes the reference to `principal`. */
static void keep_caller(struct access *access, struct grpc_call *call, const struct caller *found,
                        const struct credentials *credentials) {
  struct caller *caller = xmalloc(sizeof(*caller));
  *caller = *found;
  caller->access = access;
  caller->generation = access->generation;
  caller->has_token = credentials->has_token;
  if (caller->has_token)
    memcpy(caller->token_hash, credentials->token_hash, sizeof(caller->token_hash));
  grpc_call_set_caller(call, caller, free_caller);
}

static struct grpc_status *let_in(struct access *access, struct grpc_call *call,
                                  const struct grpc_method *method) {
  static const int64_t one_call[QUOTA_COUNT] = {[QUOTA_CALLS] = 1};
  struct credentials credentials;
  struct caller caller = {.method = method->path,
                          .method_roles = access_method_roles(method->path)};
  if (caller.method_roles & ACCESS_EVERYBODY)
    return NULL;
  if (identify(access, call, &credentials) == IDENTITY_MALFORMED)
    return deny_credentials(access, call, method->path);
  caller.principal = principals_get(access->principals, identity_str(&credentials.identity));
  struct grpc_status *status = NULL;
  if (!(roles_of(access, caller.principal) & caller.method_roles))
    status = deny_role(access, call, caller.principal, method->path);
  else
    status = charge(access, caller.principal, one_call);
  if (status)
    principal_release(caller.principal);
  else
    keep_caller(access, call, &caller, &credentials);
  return status;
}

static struct grpc_status *on_open(void *arg, struct grpc_call *call,
                                   const struct grpc_method *method) {
  struct grpc_status *status = let_in(arg, call, method);
  grpc_call_drop_metadata(call);
  return status;
}

/* A token that was taken away, or given to somebody else. */
static bool has_lost_token(const struct access *access, const struct caller *caller) {
  struct identity identity;
  if (!caller->has_token)
    return false;
  const char *name = tokens_find(access->tokens, caller->token_hash);
  return !name || !identity_make("token:", str_z(name), &identity) ||
         !str_equal(identity_str(&identity), text_of(caller->principal));
}

/* Nearly always one comparison. */
static struct grpc_status *on_message(void *arg, struct grpc_call *call) {
  struct access *access = arg;
  struct caller *caller = grpc_call_caller(call);
  if (!caller || caller->generation == access->generation)
    return NULL;
  if (has_lost_token(access, caller))
    return deny_credentials(access, call, caller->method);
  if (!(roles_of(access, caller->principal) & caller->method_roles))
    return deny_role(access, call, caller->principal, caller->method);
  caller->generation = access->generation;
  return NULL;
}

void access_guard(struct access *access, struct grpc_server *server) {
  const struct grpc_method *method = NULL;
  for (size_t i = 0; (method = grpc_server_method(server, i)); i++)
    assert(access_method_roles(method->path));
  grpc_server_on_open(server, on_open, access);
  grpc_server_on_message(server, on_message, access);
}

/* ---- what others ask ---- */

struct str access_principal(const struct grpc_call *call) {
  const struct caller *caller = grpc_call_caller(call);
  return caller ? text_of(caller->principal) : str_of(NULL, 0);
}

void access_denial_settled(struct access *access, int64_t left_out, bool is_stored) {
  denials_settled(access->denials, left_out, is_stored);
}

void access_stats(const struct access *access, struct access_stats *ret_stats) {
  *ret_stats = (struct access_stats){
      .denials = *denials_stats(access->denials),
      .principals = principals_count(access->principals),
      .tokens = tokens_count(access->tokens),
  };
  memcpy(ret_stats->over_quota, access->over_quota, sizeof(ret_stats->over_quota));
}
