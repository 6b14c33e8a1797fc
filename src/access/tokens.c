#include "access/tokens.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/secret_file.h"

#define FILE_MAX_BYTES ((size_t)4 * 1024 * 1024)

struct token {
  uint8_t hash[TOKEN_HASH_SIZE];
  int line;
  char name[TOKEN_NAME_MAX_BYTES + 1];
};

struct tokens {
  dev_t device; /* of the file, as is inode; 0: of a text */
  ino_t inode;
  int count;
  int cap;
  struct token *list; /* owned */
};

/* Where the text being parsed is. */
struct place {
  const char *path;
  int line;
};

static int fail(const struct place *place, struct error *err, const char *what) {
  return error_set(err, ERR_FAILED_PRECONDITION, "%s:%d: %s", place->path, place->line, what);
}

/* SHA-256 of the empty text: what a script makes of a variable that isn't set. */
static const uint8_t hash_of_nothing[TOKEN_HASH_SIZE] = {
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
};

/* ---- one line ---- */

static bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r';
}

/* The word at the front of *line, which it is cut from, with the blanks around it. */
static struct str take_word(struct str *line) {
  while (line->len > 0 && is_blank(line->data[0]))
    *line = str_of(line->data + 1, line->len - 1);
  size_t len = 0;
  while (len < line->len && !is_blank(line->data[len]))
    len++;
  struct str word = str_of(line->data, len);
  *line = str_of(line->data + len, line->len - len);
  return word;
}

static bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool token_name_is_valid(struct str name) {
  static const char marks[] = {'.', '_', '@', '+', '/', '-'};
  if (name.len == 0 || name.len > TOKEN_NAME_MAX_BYTES || !is_alphanumeric(name.data[0]))
    return false;
  for (size_t i = 0; i < name.len; i++) {
    if (!is_alphanumeric(name.data[i]) && !memchr(marks, name.data[i], sizeof(marks)))
      return false;
  }
  return true;
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool parse_hash(struct str hex, uint8_t ret_hash[TOKEN_HASH_SIZE]) {
  if (hex.len != 2 * (size_t)TOKEN_HASH_SIZE)
    return false;
  for (size_t i = 0; i < TOKEN_HASH_SIZE; i++) {
    int high = hex_digit(hex.data[2 * i]);
    int low = hex_digit(hex.data[2 * i + 1]);
    if (high < 0 || low < 0)
      return false;
    ret_hash[i] = (uint8_t)(high << 4 | low);
  }
  return true;
}

/* 0 when they are the same. In words, without a branch: the time tells nothing. */
static uint64_t difference(const uint8_t a[TOKEN_HASH_SIZE], const uint8_t b[TOKEN_HASH_SIZE]) {
  uint64_t x[TOKEN_HASH_SIZE / sizeof(uint64_t)];
  uint64_t y[TOKEN_HASH_SIZE / sizeof(uint64_t)];
  memcpy(x, a, sizeof(x));
  memcpy(y, b, sizeof(y));
  return (x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]);
}

/* One token with two names would be one caller with two names. */
static const struct token *twin_of(const struct tokens *tokens, const struct token *token) {
  for (int i = 0; i < tokens->count; i++) {
    if (difference(tokens->list[i].hash, token->hash) == 0)
      return &tokens->list[i];
  }
  return NULL;
}

static void add(struct tokens *tokens, const struct token *token) {
  if (tokens->count == tokens->cap) {
    tokens->cap = tokens->cap ? 2 * tokens->cap : 16;
    tokens->list = xrealloc(tokens->list, (size_t)tokens->cap * sizeof(*tokens->list));
  }
  tokens->list[tokens->count++] = *token;
}

static int parse_line(struct tokens *tokens, struct str line, const struct place *place,
                      struct error *err) {
  struct token token = {.line = place->line};
  struct str name = take_word(&line);
  struct str hex = take_word(&line);
  if (name.len == 0 || name.data[0] == '#')
    return 0;
  if (!token_name_is_valid(name))
    return fail(place, err,
                "a token's name has letters, digits and . _ @ + / -, at most 100, and begins with "
                "a letter or digit");
  if (!parse_hash(hex, token.hash) || take_word(&line).len > 0)
    return fail(place, err,
                "must be NAME and the SHA-256 of the token, 64 hex digits; auditstored token NAME "
                "makes such a line");
  if (difference(token.hash, hash_of_nothing) == 0)
    return fail(place, err,
                "this is the hash of the empty text, which is no token; auditstored token NAME "
                "makes one");
  if (tokens->count == TOKENS_MAX)
    return fail(place, err, "at most 1000 tokens can be known");
  const struct token *twin = twin_of(tokens, &token);
  if (twin)
    return error_set(err, ERR_FAILED_PRECONDITION, "%s:%d: the same token as in line %d",
                     place->path, place->line, twin->line);
  memcpy(token.name, name.data, name.len);
  add(tokens, &token);
  return 0;
}

/* ---- the file ---- */

int tokens_parse(struct str text, const char *path, struct tokens **ret_tokens, struct error *err) {
  struct tokens *tokens = xcalloc(1, sizeof(*tokens));
  struct place place = {.path = path};
  while (text.len > 0) {
    place.line++;
    int rc = parse_line(tokens, str_cut(&text, '\n'), &place, err);
    if (rc < 0) {
      tokens_free(tokens);
      return rc;
    }
  }
  *ret_tokens = tokens;
  return 0;
}

void tokens_free(struct tokens *tokens) {
  if (!tokens)
    return;
  free(tokens->list);
  free(tokens);
}

static int fail_reading(const char *path, const char *why, struct error *err) {
  return error_set(err, ERR_FAILED_PRECONDITION, "can't read \"%s\": %s", path, why);
}

static int read_all(int fd, const char *path, struct buf *text, struct error *err) {
  ssize_t n = 0;
  do {
    char part[16 * 1024];
    n = read(fd, part, sizeof(part));
    if (n < 0)
      return fail_reading(path, strerror(errno), err);
    if (!buf_append(text, part, (size_t)n))
      return fail_reading(path, "it is larger than 4 MiB", err);
  } while (n > 0);
  return 0;
}

static int fail_busy(const char *path, const char *how, struct error *err) {
  return error_set(err, ERR_UNAVAILABLE,
                   "\"%s\" %s: it is being written. Better write a new file, and rename it over "
                   "this one",
                   path, how);
}

/* A lease is had of a file that nobody has open for writing, and as long as it is held nobody gets
 * it so. It ends with the descriptor. Of another user's file root alone gets one. */
enum lease { LEASE_HELD, LEASE_BUSY, LEASE_DENIED };

static enum lease take_lease(int fd) {
  if (fcntl(fd, F_SETLEASE, F_RDLCK) == 0)
    return LEASE_HELD;
  return errno == EAGAIN ? LEASE_BUSY : LEASE_DENIED;
}

static bool is_same_state(const struct stat *a, const struct stat *b) {
  return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
         a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static bool is_fresh(const struct stat *status) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec - status->st_mtim.tv_sec <= 1 && now.tv_sec >= status->st_mtim.tv_sec;
}

static int check_quiet(enum lease lease, const struct stat *before, const struct tokens *held,
                       const char *path, struct error *err) {
  if (lease == LEASE_BUSY)
    return fail_busy(path, "is open for writing", err);
  bool is_in_place = held && held->inode == before->st_ino && held->device == before->st_dev;
  if (lease == LEASE_DENIED && is_in_place && is_fresh(before))
    return fail_busy(path, "was changed a moment ago", err);
  return 0;
}

/* Half a file is no file. */
static int check_end(struct str text, const char *path, struct error *err) {
  if (!text.data || text.len == 0)
    return error_set(err, ERR_FAILED_PRECONDITION,
                     "\"%s\" is empty: a comment (#) says that no token is to be known", path);
  if (text.data[text.len - 1] != '\n')
    return error_set(err, ERR_FAILED_PRECONDITION,
                     "\"%s\" is half a file: its last line isn't ended. Write a new file, and "
                     "rename it over this one",
                     path);
  return 0;
}

static int load(int fd, const char *path, struct tokens **ret_tokens, struct error *err) {
  struct stat before;
  struct stat after;
  struct buf text;
  if (fstat(fd, &before) < 0)
    return fail_reading(path, strerror(errno), err);
  buf_init(&text, FILE_MAX_BYTES);
  int rc = read_all(fd, path, &text, err);
  if (rc == 0 && (fstat(fd, &after) < 0 || !is_same_state(&before, &after)))
    rc = fail_busy(path, "changed while it was read", err);
  const struct str all = str_of(buf_bytes(&text), buf_len(&text));
  if (rc == 0)
    rc = check_end(all, path, err);
  if (rc == 0)
    rc = tokens_parse(all, path, ret_tokens, err);
  buf_deinit(&text);
  if (rc == 0) {
    (*ret_tokens)->device = before.st_dev;
    (*ret_tokens)->inode = before.st_ino;
  }
  return rc;
}

int tokens_load(const char *path, const struct tokens *held, struct tokens **ret_tokens,
                struct secret_risk *ret_risk, struct error *err) {
  struct stat status;
  /* Non-blocking: opening a pipe by mistake must not stop the loop. */
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return fail_reading(path, strerror(errno), err);
  int rc = fstat(fd, &status) < 0 ? fail_reading(path, strerror(errno), err)
                                  : check_quiet(take_lease(fd), &status, held, path, err);
  if (rc == 0)
    rc = load(fd, path, ret_tokens, err);
  *ret_risk = secret_file_judge(path, fd);
  close(fd);
  return rc;
}

/* ---- finding ---- */

int tokens_count(const struct tokens *tokens) {
  return tokens ? tokens->count : 0;
}

/* Which one it was shows neither in the time nor in a branch until all are done. */
const char *tokens_find(const struct tokens *tokens, const uint8_t hash[TOKEN_HASH_SIZE]) {
  uint64_t found = 0; /* its index + 1 */
  for (int i = 0; i < tokens_count(tokens); i++) {
    uint64_t other = difference(tokens->list[i].hash, hash);
    uint64_t is_other = (other | (0 - other)) >> 63;
    found |= (is_other - 1) & (uint64_t)(i + 1);
  }
  return found ? tokens->list[found - 1].name : NULL;
}
