#include "query/page_token.h"

#include "base/timestamp.h"
#include "grpc/wire.h"

#include <assert.h>
#include <openssl/evp.h>
#include <string.h>

/*
 * version 1 | order 1 | filter fingerprint 16 | time 8 | ledger 8 | sequence 8 | check 4
 *
 * Numbers are big-endian. The check is the start of the SHA-256 of what precedes it: it catches a
 * token cut short, mistyped or patched, so that a caller gets an error and not a wrong page. The
 * version says how events of one time are ordered: tokens of version 1 went by their ids.
 */
enum {
  VERSION = 2,
  AT_ORDER = 1,
  AT_FILTER = 2,
  AT_TIME = AT_FILTER + FILTER_FINGERPRINT_BYTES,
  AT_LEDGER = AT_TIME + 8,
  AT_SEQUENCE = AT_LEDGER + 8,
  AT_CHECK = AT_SEQUENCE + 8,
  CHECK_BYTES = 4,
  TOKEN_BYTES = AT_CHECK + CHECK_BYTES,
};
_Static_assert((TOKEN_BYTES * 8 + 5) / 6 == PAGE_TOKEN_TEXT_LEN, "length of the base64 text");

static void compute_check(const uint8_t *token, uint8_t ret_check[CHECK_BYTES]) {
  uint8_t sum[EVP_MAX_MD_SIZE];
  int ok = EVP_Digest(token, AT_CHECK, sum, NULL, EVP_sha256(), NULL);
  assert(ok);
  (void)ok;
  memcpy(ret_check, sum, CHECK_BYTES);
}

static void put_be64(uint8_t *at, uint64_t value) {
  for (int i = 7; i >= 0; i--, value >>= 8)
    at[i] = (uint8_t)value;
}

static uint64_t get_be64(const uint8_t *at) {
  uint64_t value = 0;
  for (int i = 0; i < 8; i++)
    value = value << 8 | at[i];
  return value;
}

void page_token_format(const struct page_token *token, char ret_text[PAGE_TOKEN_TEXT_LEN]) {
  uint8_t bytes[TOKEN_BYTES] = {VERSION, token->is_newest_first};
  memcpy(bytes + AT_FILTER, token->filter, sizeof(token->filter));
  put_be64(bytes + AT_TIME, (uint64_t)token->last.time_us);
  put_be64(bytes + AT_LEDGER, (uint64_t)token->last.ledger_id);
  put_be64(bytes + AT_SEQUENCE, (uint64_t)token->last.sequence);
  compute_check(bytes, bytes + AT_CHECK);
  struct buf text;
  buf_init(&text, PAGE_TOKEN_TEXT_LEN);
  bool ok = grpc_base64_encode(str_of(bytes, sizeof(bytes)), &text);
  assert(ok && buf_len(&text) == PAGE_TOKEN_TEXT_LEN);
  (void)ok;
  memcpy(ret_text, buf_bytes(&text), PAGE_TOKEN_TEXT_LEN);
  buf_deinit(&text);
}

/* False when `text` isn't a token of ours, of whatever version. */
static bool decode(struct str text, uint8_t ret_bytes[TOKEN_BYTES]) {
  if (text.len != PAGE_TOKEN_TEXT_LEN)
    return false;
  struct buf decoded;
  buf_init(&decoded, PAGE_TOKEN_TEXT_LEN);
  bool ok = grpc_base64_decode(text, &decoded) && buf_len(&decoded) == TOKEN_BYTES;
  if (ok)
    memcpy(ret_bytes, buf_bytes(&decoded), TOKEN_BYTES);
  buf_deinit(&decoded);
  uint8_t check[CHECK_BYTES];
  if (!ok)
    return false;
  compute_check(ret_bytes, check);
  return memcmp(check, ret_bytes + AT_CHECK, CHECK_BYTES) == 0;
}

#define NOT_OURS                                                                                   \
  "is no token of this service's: give next_page_token as it came, or begin without one"

/* False when no event can stand there. */
static bool read_position(const uint8_t *token, struct page_position *ret_position) {
  struct page_position position = {
      .time_us = (int64_t)get_be64(token + AT_TIME),
      .ledger_id = (int64_t)get_be64(token + AT_LEDGER),
      .sequence = (int64_t)get_be64(token + AT_SEQUENCE),
  };
  if (position.time_us < TIMESTAMP_MIN_US || position.time_us > TIMESTAMP_MAX_US ||
      position.ledger_id <= 0 || position.sequence < 0)
    return false;
  *ret_position = position;
  return true;
}

const char *page_token_parse(struct str text, struct page_token *token) {
  uint8_t bytes[TOKEN_BYTES];
  if (!decode(text, bytes))
    return NOT_OURS;
  if (bytes[0] != VERSION)
    return "was made by another version of this service: ask for the first page again";
  if (bytes[AT_ORDER] != token->is_newest_first)
    return "was made for another order: ask for that, or begin without a token";
  if (memcmp(bytes + AT_FILTER, token->filter, sizeof(token->filter)) != 0)
    return "was made for another filter: ask for that, or begin without a token";
  if (!read_position(bytes, &token->last))
    return NOT_OURS;
  return NULL;
}
