#include "rejects.h"

#include "files.h"
#include "internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_NAME "rejected"

/* As JSON has it: controls, quotes and backslashes are escaped. */
static bool append_text(struct buf *b, const char *text) {
  bool ok = true;
  for (const char *c = text; *c && ok; c++) {
    if (*c == '"' || *c == '\\')
      ok = buf_append_format(b, "\\%c", *c);
    else if ((unsigned char)*c < 0x20 || *c == 0x7f)
      ok = buf_append_format(b, "\\u%04x", (unsigned)*c);
    else
      ok = buf_append(b, c, 1);
  }
  return ok;
}

static bool make_line(struct buf *b, const struct reject *r) {
  struct str event = str_of(r->event, r->event_len);
  return buf_append_format(b, "{\"code\":\"%s\",\"message\":\"", auditstore_code_name(r->code)) &&
         append_text(b, r->message) &&
         buf_append_format(b, "\",\"tag\":%" PRIu64 ",\"event\":\"", r->tag) &&
         grpc_base64_encode(event, b) && buf_append_str(b, "\"}\n");
}

/* A crash may have left half a line. */
static int end_line(int fd, uint64_t *size) {
  char last = '\n';
  if (*size == 0 || file_read(fd, &last, 1, *size - 1) != 1 || last == '\n')
    return 0;
  return file_write(fd, "\n", 1, (*size)++);
}

static enum auditstore_code write_line(const struct spool *spool, const struct buf *line, int fd,
                                       uint64_t *ret_size, struct auditstore_status *status) {
  int64_t size = file_size(fd);
  *ret_size = size < 0 ? 0 : (uint64_t)size;
  if (size < 0 || end_line(fd, ret_size) < 0 ||
      file_write(fd, buf_bytes(line), buf_len(line), *ret_size) < 0 || fdatasync(fd) < 0 ||
      (size == 0 && fsync(spool->dir_fd) < 0)) {
    enum auditstore_code code = file_fail(status, spool->dir, FILE_NAME, "can't be written");
    if (size >= 0 && ftruncate(fd, size) < 0)
      return code; /* half a line: the next one ends it */
    return code;
  }
  *ret_size += buf_len(line);
  return AUDITSTORE_OK;
}

enum auditstore_code rejects_append(const struct spool *spool, const struct reject *reject,
                                    uint64_t room, uint64_t *ret_size,
                                    struct auditstore_status *status) {
  struct buf line;
  buf_init(&line, RECORD_MAX_EVENT_BYTES * 2);
  enum auditstore_code code = AUDITSTORE_RESOURCE_EXHAUSTED;
  int fd = -1;
  if (!make_line(&line, reject))
    status_set(status, code, "out of memory");
  else if (buf_len(&line) > room)
    status_set(status, code,
               "spool %s is full: no room to note a rejected event; move %s away or raise "
               "spool_max_bytes",
               spool->dir, FILE_NAME);
  else if ((fd = file_open(spool->dir_fd, FILE_NAME, O_CREAT)) < 0)
    code = file_fail(status, spool->dir, FILE_NAME, "can't be opened");
  else
    code = write_line(spool, &line, fd, ret_size, status);
  if (fd >= 0)
    close(fd);
  buf_deinit(&line);
  return code;
}

uint64_t rejects_size(const struct spool *spool) {
  struct stat st;
  return fstatat(spool->dir_fd, FILE_NAME, &st, 0) == 0 ? (uint64_t)st.st_size : 0;
}
