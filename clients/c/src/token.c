#include "token.h"
#include "base/secret_file.h"
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_TOKEN_BYTES ((size_t)8 * 1024)

static const char scheme[] = "Bearer ";

bool token_init(struct token *t, const char *path) {
  *t = (struct token){.path = path ? strdup(path) : NULL};
  return !path || t->path;
}

static void forget(struct token *t) {
  if (t->header)
    explicit_bzero(t->header, strlen(t->header));
  free(t->header);
  t->header = NULL;
}

void token_deinit(struct token *t) {
  forget(t);
  free(t->path);
  t->path = NULL;
}

static bool fail(struct auditstore_status *status, const char *path, const char *why) {
  status_set(status, AUDITSTORE_UNAUTHENTICATED, "token file \"%s\": %s", path, why);
  return false;
}

static bool is_same(const struct stat *a, const struct stat *b) {
  return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
         a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* b64token of RFC 6750, and what else is seen: any printable ASCII but blanks. */
static bool is_token(struct str text) {
  for (size_t i = 0; i < text.len; i++)
    if (text.data[i] <= 0x20 || text.data[i] > 0x7e)
      return false;
  return text.len > 0;
}

static bool is_blank(char ch) {
  return ch == ' ' || ch == '\t' || ch == '\r' || ch == '\n';
}

static bool take(struct token *t, struct str content, struct auditstore_status *status) {
  struct str text = content;
  while (text.len > 0 && is_blank(text.data[text.len - 1]))
    text.len--;
  while (text.len > 0 && is_blank(text.data[0]))
    text = str_of(text.data + 1, text.len - 1);
  if (content.len > MAX_TOKEN_BYTES)
    return fail(status, t->path, "longer than 8 KiB");
  if (!is_token(text))
    return fail(status, t->path,
                text.len ? "a token is one word of printable ASCII" : "no token in it");
  forget(t);
  size_t size = sizeof(scheme) + text.len;
  t->header = malloc(size);
  if (!t->header) {
    status_set(status, AUDITSTORE_RESOURCE_EXHAUSTED, "out of memory");
    return false;
  }
  snprintf(t->header, size, "%s%.*s", scheme, (int)text.len, text.data);
  return true;
}

/* Returns what was read, at most `size`; or a negative errno. */
static ssize_t read_file(int fd, char *data, size_t size) {
  size_t len = 0;
  while (len < size) {
    ssize_t n = read(fd, data + len, size - len);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return -errno;
    if (n == 0)
      break;
    len += (size_t)n;
  }
  return (ssize_t)len;
}

static bool read_again(struct token *t, struct auditstore_status *status) {
  char room[ERRNO_TEXT_BYTES];
  char content[MAX_TOKEN_BYTES + 1] = "";
  /* Not blocking: the name could be a pipe's. */
  int fd = open(t->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return fail(status, t->path, errno_text(errno, room));
  struct stat info;
  const struct secret_risk risk = secret_file_judge(t->path, fd);
  if (risk.level == SECRET_RISK_FOREIGN) {
    close(fd);
    return fail(status, t->path, "another user owns it: chown it to root or to this user");
  }
  ssize_t len = fstat(fd, &info) == 0 ? read_file(fd, content, sizeof(content)) : -errno;
  close(fd);
  bool ok = len < 0 ? fail(status, t->path, errno_text((int)-len, room))
                    : take(t, str_of(content, (size_t)len), status);
  explicit_bzero(content, sizeof(content));
  if (ok)
    t->seen = info;
  return ok;
}

bool token_header(struct token *t, struct str *ret_header, struct auditstore_status *status) {
  *ret_header = (struct str){0};
  if (!t->path)
    return true;
  char room[ERRNO_TEXT_BYTES];
  struct stat now;
  if (stat(t->path, &now) != 0)
    return fail(status, t->path, errno_text(errno, room));
  if ((!t->header || !is_same(&now, &t->seen)) && !read_again(t, status))
    return false;
  *ret_header = str_z(t->header);
  return true;
}
