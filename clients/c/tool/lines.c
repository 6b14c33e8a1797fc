#include "lines.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Some systems begin every file of UTF-8 so. */
#define BYTE_ORDER_MARK      "\xEF\xBB\xBF"
#define BYTE_ORDER_MARK_SIZE (sizeof(BYTE_ORDER_MARK) - 1)

bool lines_init(struct lines *lines, int fd) {
  *lines = (struct lines){.fd = fd};
  lines->buffer = malloc(LINES_MAX_BYTES + 1);
  return lines->buffer != NULL;
}

void lines_deinit(struct lines *lines) {
  free(lines->buffer);
  *lines = (struct lines){.fd = -1};
}

static bool fill(struct lines *lines) {
  memmove(lines->buffer, lines->buffer + lines->start, lines->end - lines->start);
  lines->end -= lines->start;
  lines->start = 0;
  ssize_t got = 0;
  do
    got = read(lines->fd, lines->buffer + lines->end, LINES_MAX_BYTES - lines->end);
  while (got < 0 && errno == EINTR);
  if (got < 0)
    return false;
  lines->is_at_end = got == 0;
  lines->end += (size_t)got;
  return true;
}

static char *find_break(const struct lines *lines) {
  return memchr(lines->buffer + lines->start, '\n', lines->end - lines->start);
}

static enum lines_result take(struct lines *lines, size_t len, char **ret_text, size_t *ret_len) {
  char *text = lines->buffer + lines->start;
  bool has_break = lines->start + len < lines->end;
  lines->start += len + has_break;
  lines->number++;
  if (lines->is_skipping) {
    lines->is_skipping = false;
    lines->skipped += len;
    return LINES_TOO_LONG;
  }
  text[len] = '\0';
  size_t mark = lines->number == 1 && strncmp(text, BYTE_ORDER_MARK, BYTE_ORDER_MARK_SIZE) == 0
                    ? BYTE_ORDER_MARK_SIZE
                    : 0;
  *ret_text = text + mark;
  *ret_len = len - mark;
  return LINES_OK;
}

enum lines_result lines_next(struct lines *lines, char **ret_text, size_t *ret_len) {
  for (;;) {
    const char *line_break = find_break(lines);
    size_t rest = lines->end - lines->start;
    if (line_break)
      return take(lines, (size_t)(line_break - lines->buffer) - lines->start, ret_text, ret_len);
    if (lines->is_at_end)
      return rest || lines->is_skipping ? take(lines, rest, ret_text, ret_len) : LINES_END;
    if (rest == LINES_MAX_BYTES) {
      lines->skipped = rest + (lines->is_skipping ? lines->skipped : 0);
      lines->is_skipping = true;
      lines->start = lines->end = 0;
    }
    if (!fill(lines))
      return LINES_FAILED;
  }
}

bool lines_would_wait(struct lines *lines) {
  if (lines->is_at_end || find_break(lines))
    return false;
  struct pollfd poll_fd = {.fd = lines->fd, .events = POLLIN};
  return poll(&poll_fd, 1, 0) == 0;
}
