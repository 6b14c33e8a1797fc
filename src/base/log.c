#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/timestamp.h"

#include <string.h>
#include <unistd.h>

#define LOG_LINE_BYTES 8192

/* The one global besides the loop's context: where log lines go is a property of the process. */
static struct {
  enum log_level level;
  enum log_format format;
  int fd;
} log_state = {.level = LOG_INFO, .format = LOG_TEXT, .fd = STDERR_FILENO};

static const char *const log_level_names[] = {"debug", "info", "warn", "error"};
static const char *const log_level_labels[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};

void log_configure(enum log_level level, enum log_format format, int fd) {
  log_state.level = level;
  log_state.format = format;
  log_state.fd = fd;
}

bool log_enabled(enum log_level level) {
  return level >= log_state.level;
}

/* JSON's escapes (RFC 8259, 7); they serve quoted values of the text form as well. Invalid UTF-8
 * becomes U+FFFD. */
static void put_escaped(struct buf *line, const char *text) {
  struct str rest = str_z(text);
  while (rest.len > 0) {
    size_t valid = utf8_valid_prefix(rest);
    for (size_t i = 0; i < valid; i++) {
      uint8_t c = (uint8_t)rest.data[i];
      if (c == '"' || c == '\\')
        buf_append_format(line, "\\%c", c);
      else if (c == '\n')
        buf_append_str(line, "\\n");
      else if (c < 0x20 || c == 0x7f)
        buf_append_format(line, "\\u%04x", c);
      else
        buf_append(line, &c, 1);
    }
    rest = str_of(rest.data + valid, rest.len - valid);
    if (rest.len > 0) {
      buf_append_str(line, "\xef\xbf\xbd");
      rest = str_of(rest.data + 1, rest.len - 1);
    }
  }
}

static void put_quoted(struct buf *line, const char *text) {
  buf_append_str(line, "\"");
  put_escaped(line, text);
  buf_append_str(line, "\"");
}

static bool needs_quotes(const char *text) {
  if (!*text)
    return true;
  for (const char *p = text; *p; p++)
    if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f || strchr("\"\\=", *p))
      return true;
  return false;
}

static void put_text(struct buf *line, const char *text) {
  if (!text)
    buf_append_str(line, "null");
  else if (log_state.format == LOG_JSON || needs_quotes(text))
    put_quoted(line, text);
  else
    buf_append_str(line, text);
}

static void put_value(struct buf *line, const struct log_kv *field) {
  switch (field->kind) {
  case LOG_KV_INT:
    buf_append_format(line, "%lld", (long long)field->value.i);
    break;
  case LOG_KV_UINT:
    buf_append_format(line, "%llu", (unsigned long long)field->value.u);
    break;
  case LOG_KV_DOUBLE:
    buf_append_format(line, "%.6g", field->value.d);
    break;
  case LOG_KV_BOOL:
    buf_append_str(line, field->value.b ? "true" : "false");
    break;
  case LOG_KV_TEXT:
    put_text(line, field->value.s);
    break;
  }
}

static void put_head(struct buf *line, enum log_level level, const char *event) {
  char time[TIMESTAMP_TEXT_SIZE];
  timestamp_format(clock_wall_us(&clock_system), time);
  if (log_state.format == LOG_TEXT) {
    buf_append_format(line, "%s %s %s", time, log_level_labels[level], event);
    return;
  }
  buf_append_format(line, "{\"time\":\"%s\",\"level\":\"%s\",\"event\":", time,
                    log_level_names[level]);
  put_quoted(line, event);
}

static void put_field(struct buf *line, const struct log_kv *field) {
  buf_append_format(line, log_state.format == LOG_JSON ? ",\"%s\":" : " %s=", field->key);
  put_value(line, field);
}

void log_write(enum log_level level, const char *event, const struct log_kv *fields, int count) {
  struct buf line;
  /* Room is kept for the end of the line, whatever was cut before it. */
  buf_init(&line, LOG_LINE_BYTES - 2);
  put_head(&line, level, event);
  for (int i = 0; i < count; i++)
    put_field(&line, &fields[i]);
  line.max_bytes = LOG_LINE_BYTES;
  buf_append_str(&line, log_state.format == LOG_JSON ? "}\n" : "\n");
  /* A log that can't be written has nowhere to say so. */
  ssize_t written = write(log_state.fd, buf_bytes(&line), buf_len(&line));
  (void)written;
  buf_deinit(&line);
}
