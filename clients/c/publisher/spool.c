#include "spool.h"

#include "base/secret_file.h"
#include "crc32c.h"
#include "files.h"
#include "internal.h"
#include "segment.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_NAME         "lock"
#define ACKNOWLEDGED_NAME "acknowledged"
#define MAX_SEGMENT_BYTES ((uint64_t)8 * 1024 * 1024)
#define MIN_SEGMENT_BYTES ((uint64_t)64 * 1024)
#define SEGMENTS_WANTED   16

static struct spool_segment *segment_of(struct list_link *link) {
  return LIST_ENTRY(link, struct spool_segment, link);
}

/* The one that may be appended to. */
static struct spool_segment *current(const struct spool *s) {
  return s->fd >= 0 ? segment_of(s->segments.last) : NULL;
}

/* ---- the folder ---- */

static int sync_parent(const char *dir) {
  char *path = strdup(dir);
  if (!path)
    return -1;
  size_t len = strlen(path);
  while (len > 1 && path[len - 1] == '/')
    path[--len] = '\0';
  char *slash = strrchr(path, '/');
  if (slash)
    slash[slash == path] = '\0';
  int fd = open(slash ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int rc = fd < 0 ? -1 : fsync(fd);
  if (fd >= 0)
    close(fd);
  free(path);
  return rc;
}

static enum auditstore_code open_folder(struct spool *s, struct auditstore_status *status) {
  struct stat st;
  if (mkdir(s->dir, 0700) == 0) {
    if (sync_parent(s->dir) < 0)
      return file_fail(status, s->dir, ".", "the folder above can't be synced");
  } else if (errno != EEXIST) {
    return file_fail(status, s->dir, ".", "can't be made");
  }
  s->dir_fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (s->dir_fd < 0 || fstat(s->dir_fd, &st) < 0)
    return file_fail(status, s->dir, ".", "can't be opened as a folder");
  const struct secret_risk risk = secret_file_judge(s->dir, s->dir_fd);
  if (risk.level > SECRET_RISK_EXPOSED) {
    status_set(status, AUDITSTORE_FAILED_PRECONDITION, "%s the spool \"%s\": %s", risk.who, s->dir,
               risk.mend);
    return AUDITSTORE_FAILED_PRECONDITION;
  }
  if ((st.st_mode & (S_IWGRP | S_IWOTH)) == 0)
    return AUDITSTORE_OK;
  status_set(status, AUDITSTORE_FAILED_PRECONDITION,
             "spool %s: others may write there (mode %04o); chmod 700 it", s->dir,
             (unsigned)st.st_mode & 07777);
  return AUDITSTORE_FAILED_PRECONDITION;
}

static enum auditstore_code lock_folder(struct spool *s, struct auditstore_status *status) {
  s->lock_fd = file_open(s->dir_fd, LOCK_NAME, O_CREAT);
  if (s->lock_fd < 0)
    return file_fail(status, s->dir, LOCK_NAME, "can't be opened");
  if (flock(s->lock_fd, LOCK_EX | LOCK_NB) == 0)
    return AUDITSTORE_OK;
  if (errno != EWOULDBLOCK)
    return file_fail(status, s->dir, LOCK_NAME, "can't be locked");
  status_set(status, AUDITSTORE_FAILED_PRECONDITION,
             "spool %s: another publisher uses it; each needs a folder of its own", s->dir);
  return AUDITSTORE_FAILED_PRECONDITION;
}

/* ---- the place up to which all is settled ---- */

struct acknowledged_file {
  uint64_t segment;
  uint64_t offset;
  uint32_t reserved;
  uint32_t crc;
};

static uint32_t acknowledged_crc(const struct acknowledged_file *file) {
  return crc32c(0, file, offsetof(struct acknowledged_file, crc));
}

static int write_acknowledged(const struct spool *s) {
  struct acknowledged_file file = {.segment = s->acknowledged.segment,
                                   .offset = s->acknowledged.offset};
  file.crc = acknowledged_crc(&file);
  return file_write(s->acknowledged_fd, &file, sizeof(file), 0);
}

/* What can't be read means that all is sent again, which is harmless. */
static enum auditstore_code open_acknowledged(struct spool *s, struct auditstore_status *status) {
  struct acknowledged_file file;
  s->acknowledged_fd = file_open(s->dir_fd, ACKNOWLEDGED_NAME, O_CREAT);
  if (s->acknowledged_fd < 0)
    return file_fail(status, s->dir, ACKNOWLEDGED_NAME, "can't be opened");
  ssize_t len = file_read(s->acknowledged_fd, &file, sizeof(file), 0);
  if (len == (ssize_t)sizeof(file) && file.crc == acknowledged_crc(&file) &&
      file.offset >= SPOOL_HEADER_BYTES)
    s->acknowledged = (struct spool_place){file.segment, file.offset};
  return AUDITSTORE_OK;
}

static enum auditstore_code save_acknowledged(struct spool *s, struct auditstore_status *status) {
  if (write_acknowledged(s) < 0 || fdatasync(s->acknowledged_fd) < 0 || fsync(s->dir_fd) < 0)
    return file_fail(status, s->dir, ACKNOWLEDGED_NAME, "can't be written");
  return AUDITSTORE_OK;
}

/* ---- life ---- */

static void close_if_open(int fd) {
  if (fd >= 0)
    close(fd);
}

static void dispose(struct spool *s) {
  struct list_link *link = NULL;
  while ((link = list_pop_front(&s->segments)))
    free(segment_of(link));
  close_if_open(s->fd);
  close_if_open(s->acknowledged_fd);
  close_if_open(s->lock_fd);
  close_if_open(s->dir_fd);
  free(s->dir);
  free(s);
}

static uint64_t segment_bytes_for(uint64_t max_bytes) {
  uint64_t bytes = max_bytes / SEGMENTS_WANTED;
  if (bytes > MAX_SEGMENT_BYTES)
    return MAX_SEGMENT_BYTES;
  return bytes < MIN_SEGMENT_BYTES ? MIN_SEGMENT_BYTES : bytes;
}

enum auditstore_code spool_open(const struct spool_options *options, struct spool **ret,
                                struct auditstore_status *status) {
  struct spool *s = calloc(1, sizeof(*s));
  char *dir = strdup(options->dir);
  if (!s || !dir) {
    free(s);
    free(dir);
    status_set(status, AUDITSTORE_RESOURCE_EXHAUSTED, "out of memory");
    return AUDITSTORE_RESOURCE_EXHAUSTED;
  }
  *s = (struct spool){.dir = dir,
                      .dir_fd = -1,
                      .lock_fd = -1,
                      .acknowledged_fd = -1,
                      .fd = -1,
                      .max_bytes = options->max_bytes,
                      .segment_bytes = segment_bytes_for(options->max_bytes),
                      .is_unsynced = options->is_unsynced};
  enum auditstore_code code = open_folder(s, status);
  if (code == AUDITSTORE_OK)
    code = lock_folder(s, status);
  if (code == AUDITSTORE_OK)
    code = open_acknowledged(s, status);
  if (code == AUDITSTORE_OK)
    code = segments_load(s, status);
  if (code == AUDITSTORE_OK)
    code = save_acknowledged(s, status);
  if (code == AUDITSTORE_OK)
    *ret = s;
  else
    dispose(s);
  return code;
}

/* ---- appending ---- */

static bool fits(const struct spool *s, size_t len) {
  uint64_t used = s->bytes + s->rejected_bytes + len;
  return used + (spool_must_rotate(s, len) ? SPOOL_HEADER_BYTES : 0) <= s->max_bytes;
}

bool spool_must_rotate(const struct spool *s, size_t len) {
  const struct spool_segment *segment = current(s);
  return !segment || s->is_spent ||
         (segment->end > SPOOL_HEADER_BYTES && segment->end + len > s->segment_bytes);
}

bool spool_is_behind(const struct spool *s) {
  const struct spool_segment *segment = current(s);
  return segment && segment->end > s->synced_end;
}

/* The last segment gets nothing more. What of it isn't synced must not count. */
static void retire(struct spool *s) {
  struct spool_segment *segment = current(s);
  if (segment->size > segment->end && ftruncate(s->fd, (off_t)segment->end) == 0) {
    s->bytes -= segment->size - segment->end;
    segment->size = segment->end;
  }
  close(s->fd);
  s->fd = -1;
  s->unsynced_events = 0;
}

/* What a failed write left is cut off; where that fails, the segment gets nothing more. */
static void undo_write(struct spool *s) {
  struct spool_segment *segment = current(s);
  if (ftruncate(s->fd, (off_t)segment->end) == 0)
    return;
  int64_t size = file_size(s->fd);
  if (size > (int64_t)segment->size) {
    s->bytes += (uint64_t)size - segment->size;
    segment->size = (uint64_t)size;
  }
  s->is_spent = true;
}

static enum auditstore_code rotate(struct spool *s, struct auditstore_status *status) {
  if (s->fd >= 0)
    retire(s);
  return segment_create(s, status);
}

enum auditstore_code spool_append(struct spool *s, uint8_t *records, size_t len, size_t events,
                                  struct auditstore_status *status) {
  enum auditstore_code code = spool_must_rotate(s, len) ? rotate(s, status) : AUDITSTORE_OK;
  if (code != AUDITSTORE_OK)
    return code;
  struct spool_segment *segment = current(s);
  for (size_t at = 0; at < len;)
    at += record_seal(records + at, s->synced_end);
  if (file_write(s->fd, records, len, segment->end) < 0) {
    char name[SPOOL_NAME_BYTES];
    spool_segment_name(segment->number, name);
    code = file_fail(status, s->dir, name, "can't be written");
    undo_write(s);
    return code;
  }
  segment->end = segment->size = segment->end + len;
  s->bytes += len;
  s->unsynced_events += events;
  return AUDITSTORE_OK;
}

/* ---- to the disk ---- */

void spool_sync_begin(struct spool *s, struct spool_sync *ret) {
  const struct spool_segment *segment = current(s);
  bool has_work = spool_is_behind(s);
  *ret = (struct spool_sync){
      .fd = has_work ? s->fd : -1, .end = segment ? segment->end : 0, .events = s->unsynced_events};
  s->is_syncing = has_work;
}

int spool_sync_run(const struct spool_sync *sync) {
  return fdatasync(sync->fd) == 0 ? 0 : errno;
}

/* After an error nobody knows which pages are on the disk, and asking again would say that all are
 * (fsync reports an error once). */
static void give_up(struct spool *s) {
  struct spool_segment *segment = current(s);
  s->sync_failures++;
  if (!s->is_unsynced)
    segment->end = s->synced_end;
  retire(s);
}

bool spool_sync_end(struct spool *s, const struct spool_sync *sync, int error) {
  s->is_syncing = false;
  if (sync->fd < 0)
    return true;
  s->syncs++;
  if (error != 0) {
    give_up(s);
    return false;
  }
  s->synced_end = sync->end;
  s->unsynced_events -= sync->events;
  return true;
}

/* ---- behind the reader ---- */

bool spool_limit(const struct spool *s, uint64_t number, uint64_t *ret_end, bool *ret_has_next) {
  for (struct list_link *at = s->segments.first; at; at = at->next) {
    const struct spool_segment *segment = segment_of(at);
    if (segment->number < number)
      continue;
    if (segment->number > number) /* it was set aside */
      break;
    bool is_current = segment == current(s);
    *ret_end = is_current && !s->is_unsynced ? s->synced_end : segment->end;
    *ret_has_next = at->next != NULL;
    return true;
  }
  *ret_has_next = s->segments.last && segment_of(s->segments.last)->number > number;
  return false;
}

static bool is_settled(const struct spool *s, const struct spool_segment *segment) {
  return segment->number < s->acknowledged.segment ||
         (segment->number == s->acknowledged.segment && s->acknowledged.offset >= segment->end);
}

/* A full one would else stay until the next event comes. */
static void retire_settled(struct spool *s, uint64_t above) {
  struct spool_segment *segment = current(s);
  if (segment && !s->is_syncing && segment->end > above && is_settled(s, segment))
    retire(s);
}

static bool may_delete_first(const struct spool *s) {
  const struct spool_segment *first = s->segments.first ? segment_of(s->segments.first) : NULL;
  return first && first != current(s) && is_settled(s, first);
}

/* The place moves on behind them first, and to the disk: a file that is gone though it wasn't
 * settled would be a loss. Returns the number below which they may go then; 0: none may. */
static uint64_t move_behind_settled(struct spool *s) {
  if (!may_delete_first(s))
    return 0;
  for (struct list_link *at = s->segments.first; at; at = at->next) {
    const struct spool_segment *segment = segment_of(at);
    if (segment != current(s) && segment->number == s->acknowledged.segment &&
        is_settled(s, segment))
      s->acknowledged = (struct spool_place){segment->number + 1, SPOOL_HEADER_BYTES};
  }
  return write_acknowledged(s) < 0 ? 0 : s->acknowledged.segment;
}

static void delete_settled(struct spool *s) {
  uint64_t below = move_behind_settled(s);
  if (below > 0)
    spool_delete_end(s, below, spool_delete_sync(s));
}

uint64_t spool_acknowledge(struct spool *s, struct spool_place place) {
  s->acknowledged = place;
  retire_settled(s, s->segment_bytes / 2);
  (void)write_acknowledged(s); /* if it fails, more than need be is sent again after a crash */
  return move_behind_settled(s);
}

int spool_delete_sync(const struct spool *s) {
  return fdatasync(s->acknowledged_fd) == 0 ? 0 : errno;
}

void spool_delete_end(struct spool *s, uint64_t below, int error) {
  while (error == 0 && may_delete_first(s) && segment_of(s->segments.first)->number < below)
    segment_delete_first(s);
}

bool spool_has_room(struct spool *s, size_t len) {
  if (fits(s, len))
    return true;
  retire_settled(s, 0);
  delete_settled(s);
  return fits(s, len);
}

void spool_free(struct spool *s) {
  if (!s)
    return;
  retire_settled(s, 0);
  delete_settled(s);
  dispose(s);
}
