#include "spool_reader.h"

#include "files.h"
#include "internal.h"

#include <inttypes.h>
#include <unistd.h>

#define READ_AHEAD_BYTES ((size_t)256 * 1024)

void spool_reader_init(struct spool_reader *r, const struct spool *spool) {
  *r = (struct spool_reader){.spool = spool, .place = spool->acknowledged, .fd = -1};
  buf_init(&r->ahead, RECORD_HEADER_BYTES + RECORD_MAX_EVENT_BYTES + READ_AHEAD_BYTES);
}

static void close_segment(struct spool_reader *r) {
  if (r->fd >= 0)
    close(r->fd);
  r->fd = -1;
  buf_clear(&r->ahead);
}

void spool_reader_deinit(struct spool_reader *r) {
  close_segment(r);
  buf_deinit(&r->ahead);
}

void spool_reader_reach(const struct spool_reader *r, struct spool_reach *ret) {
  *ret = (struct spool_reach){0};
  ret->has_segment = spool_limit(r->spool, r->place.segment, &ret->end, &ret->has_next);
}

bool spool_reader_advance(struct spool_reader *r, const struct spool_reach *reach) {
  if (reach->has_segment && r->place.offset < reach->end)
    return true;
  if (reach->has_next) {
    close_segment(r);
    r->place = (struct spool_place){r->place.segment + 1, SPOOL_HEADER_BYTES};
  }
  return reach->has_next;
}

static bool fail(const struct spool_reader *r, const char *what, struct auditstore_status *status) {
  char name[SPOOL_NAME_BYTES];
  spool_segment_name(r->place.segment, name);
  if (what)
    file_fail(status, r->spool->dir, name, what);
  else
    status_set(status, AUDITSTORE_DATA_LOSS,
               "spool %s/%s is damaged at byte %" PRIu64 "; nothing behind it is sent",
               r->spool->dir, name, r->place.offset);
  return false;
}

/* Has at least `needed` bytes ready, of those within reach. */
static bool fill(struct spool_reader *r, size_t needed, uint64_t left) {
  size_t have = buf_len(&r->ahead);
  size_t wanted = needed > READ_AHEAD_BYTES ? needed : READ_AHEAD_BYTES;
  wanted = left < wanted ? (size_t)left : wanted;
  uint8_t *room = buf_reserve(&r->ahead, wanted - have);
  ssize_t n = room ? file_read(r->fd, room, wanted - have, r->place.offset + have) : -1;
  if (n < 0)
    return false;
  buf_commit(&r->ahead, (size_t)n);
  return true;
}

static bool open_segment(struct spool_reader *r) {
  if (r->fd >= 0)
    return true;
  char name[SPOOL_NAME_BYTES];
  spool_segment_name(r->place.segment, name);
  r->fd = file_open(r->spool->dir_fd, name, 0);
  return r->fd >= 0;
}

static enum record_result read_ahead(struct spool_reader *r, struct record *ret_record,
                                     size_t *ret_needed) {
  static const uint8_t none[1];
  const uint8_t *bytes = buf_len(&r->ahead) > 0 ? buf_bytes(&r->ahead) : none;
  return record_read(bytes, buf_len(&r->ahead), ret_record, ret_needed);
}

bool spool_reader_peek(struct spool_reader *r, const struct spool_reach *reach,
                       struct record *ret_record, struct auditstore_status *status) {
  if (!reach->has_segment || r->place.offset >= reach->end)
    return false;
  if (!open_segment(r))
    return fail(r, "can't be opened", status);
  uint64_t left = reach->end - r->place.offset;
  size_t needed = 0;
  enum record_result result = read_ahead(r, ret_record, &needed);
  while (result == RECORD_PART && needed <= left) {
    size_t before = buf_len(&r->ahead);
    if (!fill(r, needed, left))
      return fail(r, "can't be read", status);
    if (buf_len(&r->ahead) == before)
      break;
    result = read_ahead(r, ret_record, &needed);
  }
  if (result != RECORD_OK || record_size(ret_record) > left)
    return fail(r, NULL, status);
  return true;
}

void spool_reader_skip(struct spool_reader *r, const struct record *record) {
  r->place.offset += record_size(record);
  buf_consume(&r->ahead, record_size(record));
}
