#include "ledger/memory_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/path.h"

#define FIRST_LINE "auditstore/memory/v1"
/* Some three million ledgers; a larger file isn't ours. */
#define FILE_MAX_BYTES ((size_t)256 * 1024 * 1024)
#define DIGEST_SIZE    32
#define DIGEST_CHARS   ((size_t)2 * DIGEST_SIZE)
#define ROOT_CHARS     (MERKLE_TEXT_SIZE - 1)
#define READ_STEP      ((size_t)64 * 1024)

#define ADVICE                                                                                     \
  "put back a good copy; or, if you know that the database lost nothing that was acknowledged, "   \
  "move the file away: the daemon then begins a new one"

/* ---- the text ---- */

static void digest_text(struct str text, char ret_hex[DIGEST_CHARS + 1]) {
  uint8_t digest[DIGEST_SIZE];
  if (EVP_Digest(text.data, text.len, digest, NULL, EVP_sha256(), NULL) != 1)
    abort();
  for (int i = 0; i < DIGEST_SIZE; i++)
    snprintf(ret_hex + (ptrdiff_t)2 * i, 3, "%02x", digest[i]);
}

static bool put_known(struct buf *out, const struct ledger_known *known) {
  char root[MERKLE_TEXT_SIZE];
  merkle_hash_print(&known->head.root, root);
  return buf_append_format(out, "%" PRId64 " %" PRId64 " %s\n", known->ledger_id, known->head.size,
                           root);
}

/* False: longer than a file may be. */
static bool format_text(const struct memory_text *text, struct buf *out) {
  char digest[DIGEST_CHARS + 1];
  bool fits =
      buf_append_format(out, FIRST_LINE "\n%s\nlast %" PRId64 "\n", text->origin, text->last_id);
  for (int i = 0; fits && i < text->count; i++)
    fits = put_known(out, &text->known[i]);
  if (!fits)
    return false;
  digest_text(str_of(buf_bytes(out), buf_len(out)), digest);
  return buf_append_format(out, "%s\n", digest);
}

static int refuse(const char *verb, const char *path, struct error *err) {
  return error_set(err, ERR_FAILED_PRECONDITION, "can't %s \"%s\": %s", verb, path,
                   strerror(errno));
}

/* ---- the lock ---- */

int memory_file_lock(const char *path, int *ret_fd, struct error *err) {
  char name[PATH_MAX];
  if (snprintf(name, sizeof(name), "%s.lock", path) >= (int)sizeof(name))
    return error_set(err, ERR_FAILED_PRECONDITION, "\"%s\": the name is too long", path);
  int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
  if (fd < 0)
    return refuse("open the lock", name, err);
  if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
    int rc = errno == EWOULDBLOCK ? error_set(err, ERR_FAILED_PRECONDITION,
                                              "another process has \"%s\": stop it first, or give "
                                              "each daemon a file of its own",
                                              name)
                                  : refuse("lock", name, err);
    close(fd);
    return rc;
  }
  *ret_fd = fd;
  return 0;
}

/* ---- reading ---- */

static int not_reliable(const char *path, const char *what, struct error *err) {
  return error_set(err, ERR_FAILED_PRECONDITION, "\"%s\" %s: " ADVICE, path, what);
}

static int read_all(int fd, const char *path, struct buf *out, struct error *err) {
  for (;;) {
    uint8_t *room = buf_reserve(out, READ_STEP);
    if (!room)
      return not_reliable(path, "is too large to be one that a daemon wrote", err);
    ssize_t got = read(fd, room, READ_STEP);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return refuse("read", path, err);
    if (got == 0)
      return 0;
    buf_commit(out, (size_t)got);
  }
}

static int slurp(const char *path, struct buf *out, struct error *err) {
  struct stat status;
  /* Non-blocking: a pipe's name by mistake must not hold the start up. */
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0 && errno == ENOENT)
    return error_set(err, ERR_NOT_FOUND, "there is no \"%s\"", path);
  if (fd < 0)
    return refuse("open", path, err);
  int rc =
      fstat(fd, &status) == 0 && !S_ISREG(status.st_mode)
          ? error_set(err, ERR_FAILED_PRECONDITION,
                      "\"%s\" isn't a regular file: name one, or one that isn't there yet", path)
          : read_all(fd, path, out, err);
  close(fd);
  return rc;
}

static bool get_number(struct str text, int64_t *ret_number) {
  return str_cut_number(&text, ret_number) && text.len == 0;
}

static bool get_root(struct str text, struct merkle_hash *ret_root) {
  unsigned char decoded[ROOT_CHARS];
  if (text.len != ROOT_CHARS ||
      EVP_DecodeBlock(decoded, (const unsigned char *)text.data, ROOT_CHARS) < MERKLE_HASH_SIZE)
    return false;
  memcpy(ret_root->bytes, decoded, MERKLE_HASH_SIZE);
  return true;
}

static bool get_known(struct str line, struct ledger_known *ret_known) {
  struct str rest = line;
  struct str id = str_cut(&rest, ' ');
  struct str size = str_cut(&rest, ' ');
  return get_number(id, &ret_known->ledger_id) && get_number(size, &ret_known->head.size) &&
         get_root(rest, &ret_known->head.root);
}

static bool get_last(struct str line, int64_t *ret_last_id) {
  struct str rest = line;
  return str_is(str_cut(&rest, ' '), "last") && get_number(rest, ret_last_id);
}

/* Those of all lines; false: one isn't what format_text() writes. */
static bool get_lines(struct str lines, struct memory_text *text) {
  struct str line;
  int cap = 0;
  while (str_cut_line(&lines, &line)) {
    if (text->count == cap) {
      cap = cap ? 2 * cap : 64;
      text->known = xrealloc(text->known, (size_t)cap * sizeof(*text->known));
    }
    struct ledger_known *known = &text->known[text->count];
    int64_t before = text->count ? known[-1].ledger_id : 0;
    if (!get_known(line, known) || known->ledger_id <= before || known->ledger_id > text->last_id)
      return false;
    text->count++;
  }
  return lines.len == 0;
}

/* What stands before the digest; false: it isn't that of it, or there is none. */
static bool cut_digest(struct str all, struct str *ret_content) {
  char digest[DIGEST_CHARS + 1];
  if (!all.data || all.len < DIGEST_CHARS + 1)
    return false;
  struct str content = str_of(all.data, all.len - DIGEST_CHARS - 1);
  digest_text(content, digest);
  *ret_content = content;
  return memcmp(all.data + content.len, digest, DIGEST_CHARS) == 0 && all.data[all.len - 1] == '\n';
}

static int parse(const char *path, struct str all, struct memory_text *text, struct error *err) {
  struct str rest;
  struct str line = {0};
  if (!cut_digest(all, &rest))
    return not_reliable(
        path, "is torn or was edited: its last line isn't the SHA-256 of the others", err);
  if (!str_cut_line(&rest, &line) || !str_is(line, FIRST_LINE))
    return error_set(err, ERR_FAILED_PRECONDITION,
                     "\"%s\" doesn't begin with " FIRST_LINE
                     ": name the file that this program wrote, or run the program that wrote it",
                     path);
  if (!str_cut_line(&rest, &line) || (text->origin && !str_is(line, text->origin)))
    return error_set(err, ERR_FAILED_PRECONDITION,
                     "\"%s\" is of the store \"%.*s\", and this one is \"%s\": name a file of this "
                     "store's own, or one that isn't there yet",
                     path, (int)line.len, line.data, text->origin);
  if (!str_cut_line(&rest, &line) || !get_last(line, &text->last_id) || !get_lines(rest, text))
    return not_reliable(path, "was edited: a line of it isn't one that a daemon writes", err);
  return 0;
}

int memory_file_read(const char *path, const char *origin, struct memory_text *ret_text,
                     struct error *err) {
  struct buf all;
  struct memory_text text = {.origin = origin};
  buf_init(&all, FILE_MAX_BYTES);
  int rc = slurp(path, &all, err);
  if (rc == 0)
    rc = parse(path, str_of(buf_bytes(&all), buf_len(&all)), &text, err);
  buf_deinit(&all);
  if (rc < 0)
    free(text.known);
  else
    *ret_text = text;
  return rc;
}

int memory_file_check(const char *path, struct error *err) {
  char folder[PATH_MAX];
  struct memory_text text = {0};
  path_folder(path, folder);
  if (access(folder, W_OK | X_OK) != 0)
    return refuse("write to the folder of", path, err);
  int rc = memory_file_read(path, NULL, &text, err);
  free(text.known);
  return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* ---- writing ---- */

static bool write_all(int fd, struct str text) {
  while (text.len > 0) {
    ssize_t done = write(fd, text.data, text.len);
    if (done < 0 && errno == EINTR)
      continue;
    if (done < 0)
      return false;
    text = str_of(text.data + done, text.len - (size_t)done);
  }
  return true;
}

/* What is renamed is on disk only when its folder is. */
static int sync_folder(const char *path, struct error *err) {
  char folder[PATH_MAX];
  path_folder(path, folder);
  int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 || fsync(fd) < 0) {
    int rc = refuse("sync the folder of", path, err);
    if (fd >= 0)
      close(fd);
    return rc;
  }
  close(fd);
  return 0;
}

static int write_temporary(const char *name, struct str text, struct error *err) {
  int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0)
    return refuse("create", name, err);
  bool ok = fchmod(fd, 0600) == 0 && write_all(fd, text) && fsync(fd) == 0;
  int rc = ok ? 0 : refuse("write", name, err);
  if (close(fd) < 0 && rc == 0)
    rc = refuse("write", name, err);
  return rc;
}

static int replace(const char *path, struct str text, struct error *err) {
  char name[PATH_MAX];
  if (snprintf(name, sizeof(name), "%s.tmp", path) >= (int)sizeof(name))
    return error_set(err, ERR_FAILED_PRECONDITION, "\"%s\": the name is too long", path);
  int rc = write_temporary(name, text, err);
  if (rc == 0 && rename(name, path) < 0)
    rc = refuse("replace", path, err);
  if (rc < 0) {
    unlink(name);
    return rc;
  }
  return sync_folder(path, err);
}

int memory_file_write(const char *path, const struct memory_text *text, struct error *err) {
  struct buf out;
  buf_init(&out, FILE_MAX_BYTES);
  int rc = format_text(text, &out)
               ? replace(path, str_of(buf_bytes(&out), buf_len(&out)), err)
               : error_set(err, ERR_EXHAUSTED, "\"%s\": %d ledgers are more than a file takes",
                           path, text->count);
  buf_deinit(&out);
  return rc;
}
