/* The files of a spool: made, found again, checked, deleted. */
#include "segment.h"

#include "crc32c.h"
#include "files.h"
#include "internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC          "auditsp1"
#define MAGIC_BYTES    8
#define NUMBER_DIGITS  16
#define SEGMENT_SUFFIX ".segment"
#define DAMAGED_SUFFIX ".damaged"
#define FIRST_SEGMENT  1
/* Of a file that is read whole: a full segment and the largest single append. */
#define MAX_FILE_BYTES ((int64_t)2 * 1024 * 1024 * 1024)

static void segment_name(uint64_t number, const char *suffix, char ret_name[SPOOL_NAME_BYTES]) {
  snprintf(ret_name, SPOOL_NAME_BYTES, "%0*" PRIu64 "%s", NUMBER_DIGITS, number, suffix);
}

void spool_segment_name(uint64_t number, char ret_name[SPOOL_NAME_BYTES]) {
  segment_name(number, SEGMENT_SUFFIX, ret_name);
}

static struct spool_segment *last_segment(const struct spool *s) {
  return s->segments.last ? LIST_ENTRY(s->segments.last, struct spool_segment, link) : NULL;
}

/* ---- the header ---- */

struct header {
  char magic[MAGIC_BYTES];
  uint64_t number;
  uint64_t previous_end; /* 0: there was none */
  uint32_t reserved;
  uint32_t crc;
};
_Static_assert(sizeof(struct header) == SPOOL_HEADER_BYTES, "no padding");

static uint32_t header_crc(const struct header *h) {
  return crc32c(0, h, offsetof(struct header, crc));
}

static bool header_is_good(const struct header *h, uint64_t number) {
  return memcmp(h->magic, MAGIC, MAGIC_BYTES) == 0 && h->number == number &&
         h->crc == header_crc(h);
}

/* ---- making one ---- */

static int write_header(int fd, uint64_t number, uint64_t previous_end) {
  struct header h = {.number = number, .previous_end = previous_end};
  memcpy(h.magic, MAGIC, MAGIC_BYTES);
  h.crc = header_crc(&h);
  return file_write(fd, &h, sizeof(h), 0);
}

static struct spool_segment *add_segment(struct spool *s, uint64_t number, uint64_t size) {
  struct spool_segment *segment = calloc(1, sizeof(*segment));
  if (!segment)
    return NULL;
  segment->number = number;
  segment->size = segment->end = size;
  list_push_back(&s->segments, &segment->link);
  s->bytes += size;
  return segment;
}

enum auditstore_code segment_create(struct spool *s, struct auditstore_status *status) {
  char name[SPOOL_NAME_BYTES];
  const struct spool_segment *previous = last_segment(s);
  spool_segment_name(s->next_number, name);
  int fd = file_open(s->dir_fd, name, O_CREAT | O_EXCL);
  if (fd < 0)
    return file_fail(status, s->dir, name, "can't be made");
  if (write_header(fd, s->next_number, previous ? previous->end : 0) < 0 || fdatasync(fd) < 0 ||
      fsync(s->dir_fd) < 0 || !add_segment(s, s->next_number, SPOOL_HEADER_BYTES)) {
    enum auditstore_code code = file_fail(status, s->dir, name, "can't be begun");
    close(fd);
    unlinkat(s->dir_fd, name, 0);
    return code;
  }
  s->next_number++;
  s->fd = fd;
  s->is_spent = false;
  s->synced_end = SPOOL_HEADER_BYTES;
  s->unsynced_events = 0;
  return AUDITSTORE_OK;
}

void segment_delete_first(struct spool *s) {
  char name[SPOOL_NAME_BYTES];
  struct spool_segment *segment =
      LIST_ENTRY(list_pop_front(&s->segments), struct spool_segment, link);
  spool_segment_name(segment->number, name);
  unlinkat(s->dir_fd, name, 0);
  s->bytes -= segment->size;
  free(segment);
}

/* ---- finding them again ---- */

/* The number in "NNNN.segment"; 0: another file. */
static uint64_t number_of(const char *name) {
  char *end = NULL;
  if (strspn(name, "0123456789") != NUMBER_DIGITS)
    return 0;
  uint64_t number = strtoull(name, &end, 10);
  return strcmp(end, SEGMENT_SUFFIX) == 0 ? number : 0;
}

static bool is_set_aside(const struct spool *s, uint64_t number) {
  char name[SPOOL_NAME_BYTES];
  segment_name(number, DAMAGED_SUFFIX, name);
  return faccessat(s->dir_fd, name, F_OK, 0) == 0;
}

/* The lowest and the highest number; *ret_first is 0 when there is none. */
static enum auditstore_code find_range(const struct spool *s, uint64_t *ret_first,
                                       uint64_t *ret_last, struct auditstore_status *status) {
  int fd = openat(s->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *folder = fd < 0 ? NULL : fdopendir(fd);
  const struct dirent *entry = NULL;
  if (!folder) {
    enum auditstore_code code = file_fail(status, s->dir, ".", "can't be read");
    if (fd >= 0)
      close(fd);
    return code;
  }
  *ret_first = *ret_last = 0;
  while ((entry = readdir(folder))) {
    uint64_t number = number_of(entry->d_name);
    if (number > 0 && (*ret_first == 0 || number < *ret_first))
      *ret_first = number;
    if (number > *ret_last)
      *ret_last = number;
  }
  closedir(folder);
  return AUDITSTORE_OK;
}

/* ---- checking them ---- */

struct loaded {
  uint64_t number;
  char name[SPOOL_NAME_BYTES];
  int fd;
  uint8_t *bytes; /* owned */
  size_t len;
};

static void loaded_deinit(struct loaded *l) {
  free(l->bytes);
  if (l->fd >= 0)
    close(l->fd);
}

static enum auditstore_code load(const struct spool *s, uint64_t number, struct loaded *ret,
                                 struct auditstore_status *status) {
  *ret = (struct loaded){.number = number};
  spool_segment_name(number, ret->name);
  ret->fd = file_open(s->dir_fd, ret->name, 0);
  int64_t size = ret->fd < 0 ? -1 : file_size(ret->fd);
  if (size > MAX_FILE_BYTES)
    errno = EFBIG;
  ret->bytes = size < 0 || size > MAX_FILE_BYTES ? NULL : malloc((size_t)size + 1);
  ssize_t len = ret->bytes ? file_read(ret->fd, ret->bytes, (size_t)size, 0) : -1;
  if (len < 0)
    return file_fail(status, s->dir, ret->name, "can't be read");
  ret->len = (size_t)len;
  return AUDITSTORE_OK;
}

/* `may_cut`: no segment behind it says where it ends. */
static enum auditstore_code damaged(const struct spool *s, const char *name, uint64_t offset,
                                    bool may_cut, struct auditstore_status *status) {
  char cut[64] = "";
  if (may_cut)
    snprintf(cut, sizeof(cut), "cut it there (truncate -s %" PRIu64 ") or ", offset);
  status_set(status, AUDITSTORE_DATA_LOSS,
             "spool %s/%s is damaged at byte %" PRIu64
             ": not by a crash, as later records say that it was safe. Nothing was sent or "
             "deleted. To go on, %sset it aside (rename its suffix to " DAMAGED_SUFFIX
             "), and keep a copy",
             s->dir, name, offset, cut);
  return AUDITSTORE_DATA_LOSS;
}

static enum auditstore_code missing(const struct spool *s, uint64_t number,
                                    struct auditstore_status *status) {
  char name[SPOOL_NAME_BYTES];
  spool_segment_name(number, name);
  status_set(status, AUDITSTORE_DATA_LOSS,
             "spool %s/%s is missing, and nobody set it aside as " DAMAGED_SUFFIX
             ". To go on without its events, make an empty file of that name",
             s->dir, name);
  return AUDITSTORE_DATA_LOSS;
}

/* Where reading begins in this segment. */
static uint64_t first_offset(const struct spool *s, uint64_t number) {
  return s->acknowledged.segment == number ? s->acknowledged.offset : SPOOL_HEADER_BYTES;
}

/* What lies behind the last good record of the last segment never counted. */
static void cut(struct spool *s, struct spool_segment *segment, int fd) {
  if (segment->end == segment->size)
    return;
  s->cut_bytes += segment->size - segment->end;
  if (ftruncate(fd, (off_t)segment->end) < 0)
    return; /* the header of the next segment says where this one ends */
  s->bytes -= segment->size - segment->end;
  segment->size = segment->end;
}

/* `limit` is where it ends by the header of the next one; UINT64_MAX: it is the last. */
static enum auditstore_code check(struct spool *s, const struct loaded *l, uint64_t limit,
                                  struct auditstore_status *status) {
  struct record_scan scan;
  struct header header;
  size_t len = limit < l->len ? (size_t)limit : l->len;
  if (!l->bytes || l->len < sizeof(header))
    return damaged(s, l->name, 0, false, status);
  memcpy(&header, l->bytes, sizeof(header));
  if (!header_is_good(&header, l->number))
    return damaged(s, l->name, 0, false, status);
  uint64_t from = first_offset(s, l->number);
  if (from > len)
    from = len; /* what wasn't synced is gone, and was acknowledged */
  record_scan(l->bytes, len, (size_t)from, &scan);
  if (scan.is_damaged || (limit != UINT64_MAX && scan.end < limit && from < limit))
    return damaged(s, l->name, scan.end, limit == UINT64_MAX, status);
  struct spool_segment *segment = add_segment(s, l->number, l->len);
  if (!segment)
    return file_fail(status, s->dir, l->name, "can't be kept");
  segment->end = scan.end;
  s->replayed += scan.events;
  if (limit != UINT64_MAX)
    return AUDITSTORE_OK;
  cut(s, segment, l->fd);
  /* A program that was killed may have left it to the kernel; the next segment will say that it was
   * safe. */
  if (fdatasync(l->fd) < 0)
    return file_fail(status, s->dir, l->name, "can't be synced");
  return AUDITSTORE_OK;
}

static bool read_header(const struct spool *s, const char *name, struct header *ret) {
  int fd = file_open(s->dir_fd, name, 0);
  ssize_t len = fd < 0 ? -1 : file_read(fd, ret, sizeof(*ret), 0);
  if (fd >= 0)
    close(fd);
  return len == (ssize_t)sizeof(*ret);
}

/* Where segment number - 1 ends. */
static enum auditstore_code previous_end(const struct spool *s, uint64_t number, uint64_t *ret_end,
                                         struct auditstore_status *status) {
  struct header header;
  char name[SPOOL_NAME_BYTES];
  spool_segment_name(number, name);
  if (faccessat(s->dir_fd, name, F_OK, 0) < 0)
    return missing(s, number, status);
  if (!read_header(s, name, &header) || !header_is_good(&header, number))
    return damaged(s, name, 0, false, status);
  *ret_end = header.previous_end;
  return AUDITSTORE_OK;
}

/* The end of segment `number`, as the one behind it says; UINT64_MAX when there is none or it was
 * set aside. */
static enum auditstore_code find_limit(const struct spool *s, uint64_t number, uint64_t last,
                                       uint64_t *ret_limit, struct auditstore_status *status) {
  *ret_limit = UINT64_MAX;
  if (number == last || is_set_aside(s, number + 1))
    return AUDITSTORE_OK;
  return previous_end(s, number + 1, ret_limit, status);
}

static enum auditstore_code load_one(struct spool *s, uint64_t number, uint64_t last,
                                     struct auditstore_status *status) {
  char name[SPOOL_NAME_BYTES];
  struct loaded loaded;
  uint64_t limit = 0;
  spool_segment_name(number, name);
  if (faccessat(s->dir_fd, name, F_OK, 0) < 0)
    return is_set_aside(s, number) ? AUDITSTORE_OK : missing(s, number, status);
  enum auditstore_code code = find_limit(s, number, last, &limit, status);
  if (code != AUDITSTORE_OK)
    return code;
  code = load(s, number, &loaded, status);
  if (code == AUDITSTORE_OK)
    code = check(s, &loaded, limit, status);
  loaded_deinit(&loaded);
  return code;
}

/* A crash may leave a file without its header, which nothing was appended to. */
static void drop_unbegun(const struct spool *s, uint64_t *last) {
  struct header header;
  struct stat st;
  char name[SPOOL_NAME_BYTES];
  spool_segment_name(*last, name);
  if (fstatat(s->dir_fd, name, &st, 0) < 0 || st.st_size > (off_t)SPOOL_HEADER_BYTES)
    return;
  bool is_begun = read_header(s, name, &header) && header_is_good(&header, *last);
  if (!is_begun && unlinkat(s->dir_fd, name, 0) == 0)
    (*last)--;
}

static void delete_acknowledged(const struct spool *s, uint64_t first, uint64_t last) {
  char name[SPOOL_NAME_BYTES];
  for (uint64_t number = first; number <= last && number < s->acknowledged.segment; number++) {
    spool_segment_name(number, name);
    unlinkat(s->dir_fd, name, 0);
  }
}

/* The place lies in a segment that isn't there any more, nor one behind it. A settled one is
 * deleted only when the place is behind it, so somebody took it: nothing new may bear its number,
 * of which the place says that its front is settled. */
static enum auditstore_code leave_lost(struct spool *s, uint64_t last,
                                       struct auditstore_status *status) {
  struct spool_place *place = &s->acknowledged;
  if (place->segment <= last || place->offset <= SPOOL_HEADER_BYTES)
    return AUDITSTORE_OK;
  if (!is_set_aside(s, place->segment))
    return missing(s, place->segment, status);
  *place = (struct spool_place){place->segment + 1, SPOOL_HEADER_BYTES};
  return AUDITSTORE_OK;
}

/* Not one that was set aside: it may have to be again. */
static uint64_t free_number(const struct spool *s, uint64_t last) {
  uint64_t number = last + 1 > s->acknowledged.segment ? last + 1 : s->acknowledged.segment;
  while (is_set_aside(s, number))
    number++;
  return number;
}

enum auditstore_code segments_load(struct spool *s, struct auditstore_status *status) {
  uint64_t first = 0;
  uint64_t last = 0;
  enum auditstore_code code = find_range(s, &first, &last, status);
  if (code != AUDITSTORE_OK)
    return code;
  if (last > 0)
    drop_unbegun(s, &last);
  if (s->acknowledged.segment == 0) /* not known: all that is there */
    s->acknowledged = (struct spool_place){first ? first : FIRST_SEGMENT, SPOOL_HEADER_BYTES};
  code = leave_lost(s, last, status);
  if (code != AUDITSTORE_OK)
    return code;
  delete_acknowledged(s, first, last);
  for (uint64_t number = s->acknowledged.segment; number <= last; number++) {
    code = load_one(s, number, last, status);
    if (code != AUDITSTORE_OK)
      return code;
  }
  s->next_number = free_number(s, last);
  return AUDITSTORE_OK;
}
