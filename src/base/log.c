#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/json_text.h"
#include "base/log_writer.h"
#include "base/timestamp.h"

#include <string.h>

#define LOG_LINE_BYTES 16384
/* Kept for the end of a line that was cut. */
#define LOG_END_BYTES 16
/* What a field takes at most besides its key and the content of a text: so much room means that
 * only texts can be cut, and that no field is left half written. */
#define LOG_FIELD_BYTES 32

/* What is logged is a property of the process, as in log_writer.c is where to. */
static struct {
  enum log_level level;
  enum log_format format;
} log_state = {.level = LOG_INFO, .format = LOG_TEXT};

static const char *const log_level_names[] = {"debug", "info", "warn", "error"};
static const char *const log_level_labels[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};

void log_configure(enum log_level level, enum log_format format) {
  log_state.level = level;
  log_state.format = format;
}

bool log_enabled(enum log_level level) {
  return level >= log_state.level;
}

/* False when the text was cut; the quotes are complete all the same. */
static bool put_quoted(struct buf *line, const char *text) {
  buf_append_str(line, "\"");
  line->max_bytes--;
  bool whole = json_text_append(line, str_z(text));
  line->max_bytes++;
  buf_append_str(line, "\"");
  return whole;
}

static bool needs_quotes(const char *text) {
  if (!*text)
    return true;
  for (const char *p = text; *p; p++)
    if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f || strchr("\"\\=", *p))
      return true;
  return false;
}

static bool put_text(struct buf *line, const char *text) {
  if (!text)
    return buf_append_str(line, "null");
  if (log_state.format == LOG_TEXT && !needs_quotes(text) && buf_append_str(line, text))
    return true;
  return put_quoted(line, text);
}

static bool put_value(struct buf *line, const struct log_kv *field) {
  switch (field->kind) {
  case LOG_KV_INT:
    return buf_append_format(line, "%lld", (long long)field->value.i);
  case LOG_KV_UINT:
    return buf_append_format(line, "%llu", (unsigned long long)field->value.u);
  case LOG_KV_DOUBLE:
    /* JSON has no infinity. */
    if (!__builtin_isfinite(field->value.d))
      return put_text(line, NULL);
    return buf_append_format(line, "%.6g", field->value.d);
  case LOG_KV_BOOL:
    return buf_append_str(line, field->value.b ? "true" : "false");
  case LOG_KV_TEXT:
    return put_text(line, field->value.s);
  }
  return true;
}

static bool put_head(struct buf *line, enum log_level level, const char *event) {
  char time[TIMESTAMP_TEXT_SIZE];
  timestamp_format(clock_wall_us(&clock_system), time);
  if (log_state.format == LOG_TEXT)
    return buf_append_format(line, "%s %s %s", time, log_level_labels[level], event);
  buf_append_format(line, "{\"time\":\"%s\",\"level\":\"%s\",\"event\":", time,
                    log_level_names[level]);
  return put_quoted(line, event);
}

/* False when the field was cut, or left out for want of room. */
static bool put_field(struct buf *line, const struct log_kv *field) {
  if (buf_len(line) + strlen(field->key) + LOG_FIELD_BYTES > line->max_bytes)
    return false;
  buf_append_format(line, log_state.format == LOG_JSON ? ",\"%s\":" : " %s=", field->key);
  return put_value(line, field);
}

static void put_end(struct buf *line, bool whole) {
  line->max_bytes = LOG_LINE_BYTES;
  if (!whole)
    buf_append_str(line, log_state.format == LOG_JSON ? ",\"cut\":true" : " cut=true");
  buf_append_str(line, log_state.format == LOG_JSON ? "}\n" : "\n");
}

static void put_line(struct buf *line, enum log_level level, const char *event,
                     const struct log_kv *fields, int count) {
  buf_init(line, LOG_LINE_BYTES - LOG_END_BYTES);
  bool whole = put_head(line, level, event);
  for (int i = 0; whole && i < count; i++)
    whole = put_field(line, &fields[i]);
  put_end(line, whole);
}

/* Memory may be out: what isn't a line then isn't written. */
static bool is_line(const struct buf *line) {
  size_t len = buf_len(line);
  return len > 0 && buf_bytes(line)[len - 1] == '\n';
}

/* Returns what log_writer_set_note() does. */
static int64_t note_dropped(int64_t dropped) {
  struct buf line;
  int64_t untold = 0;
  const struct log_kv field = KV("dropped", dropped);
  put_line(&line, LOG_WARN, "log lines dropped: they weren't taken in time", &field, 1);
  if (is_line(&line))
    untold = log_writer_set_note((const char *)buf_bytes(&line), buf_len(&line), dropped);
  buf_deinit(&line);
  return untold;
}

static void put(const struct buf *line) {
  if (!is_line(line))
    return;
  int64_t untold = log_writer_put((const char *)buf_bytes(line), buf_len(line));
  while (untold > 0)
    untold = note_dropped(untold);
}

void log_write(enum log_level level, const char *event, const struct log_kv *fields, int count) {
  struct buf line;
  put_line(&line, level, event, fields, count);
  put(&line);
  buf_deinit(&line);
}

void log_plain(const char *lines) {
  struct buf line;
  buf_init(&line, LOG_LINE_BYTES);
  while (*lines) {
    size_t len = strcspn(lines, "\n");
    buf_clear(&line);
    buf_append(&line, lines, len < LOG_LINE_BYTES ? len : LOG_LINE_BYTES - 1);
    buf_append_str(&line, "\n");
    put(&line);
    lines += len + (lines[len] == '\n');
  }
  buf_deinit(&line);
}
