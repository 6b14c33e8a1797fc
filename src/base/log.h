/*
 * log: one line per event on standard error, as JSON or as text.
 *
 *   log_info("listening", KV("address", text), KV("port", port));
 *
 * The event text is constant; what varies goes into fields. Never secrets, never event content.
 * Only app, grpc, ingest, query and pg log above debug; lower parts return errors. Loop thread
 * only, which never waits for it (base/log_writer.h). What a peer can cause goes by log_sampled()
 * (base/log_sample.h).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_TEXT, LOG_JSON };

enum log_kind { LOG_KV_INT, LOG_KV_UINT, LOG_KV_DOUBLE, LOG_KV_BOOL, LOG_KV_TEXT };

struct log_kv {
  const char *key;
  enum log_kind kind;
  union {
    int64_t i;
    uint64_t u;
    double d;
    bool b;
    const char *s; /* NULL is written as null */
  } value;
};

/* Sets what is written from now on: events at or above `level`, in `format`. */
void log_configure(enum log_level level, enum log_format format);

bool log_enabled(enum log_level level);

/* Writes one line, or drops it when too many wait: time, level, event, fields. Longer than 16 KiB
 * is cut: the line stays well-formed and ends with the field cut=true. */
void log_write(enum log_level level, const char *event, const struct log_kv *fields, int count);

/* Writes lines as they are, without time and level: what is said before the log is set up, or
 * instead of it. What doesn't end with a line feed gets one. */
void log_plain(const char *lines);

static inline struct log_kv log_kv_int(const char *key, int64_t v) {
  return (struct log_kv){.key = key, .kind = LOG_KV_INT, .value.i = v};
}
static inline struct log_kv log_kv_uint(const char *key, uint64_t v) {
  return (struct log_kv){.key = key, .kind = LOG_KV_UINT, .value.u = v};
}
static inline struct log_kv log_kv_double(const char *key, double v) {
  return (struct log_kv){.key = key, .kind = LOG_KV_DOUBLE, .value.d = v};
}
static inline struct log_kv log_kv_bool(const char *key, bool v) {
  return (struct log_kv){.key = key, .kind = LOG_KV_BOOL, .value.b = v};
}
static inline struct log_kv log_kv_text(const char *key, const char *v) {
  return (struct log_kv){.key = key, .kind = LOG_KV_TEXT, .value.s = v};
}

/* A field of whatever type `v` has. */
#define KV(key, v)                                                                                 \
  _Generic((v), bool : log_kv_bool, char * : log_kv_text, const char * : log_kv_text,             \
           float : log_kv_double, double : log_kv_double, unsigned char : log_kv_uint,            \
           unsigned short : log_kv_uint, unsigned int : log_kv_uint, unsigned long : log_kv_uint, \
           unsigned long long : log_kv_uint, default : log_kv_int)(key, v)

/* The level is tested before any field is built. */
#define LOG_EVENT(level, event, ...)                                                               \
  do {                                                                                             \
    if (log_enabled(level)) {                                                                      \
      const struct log_kv log_fields_[] = {log_kv_int("", 0), ##__VA_ARGS__};                      \
      log_write(level, event, log_fields_ + 1,                                                     \
                (int)(sizeof(log_fields_) / sizeof(log_fields_[0])) - 1);                          \
    }                                                                                              \
  } while (0)

#define log_debug(event, ...) LOG_EVENT(LOG_DEBUG, event, ##__VA_ARGS__)
#define log_info(event, ...)  LOG_EVENT(LOG_INFO, event, ##__VA_ARGS__)
#define log_warn(event, ...)  LOG_EVENT(LOG_WARN, event, ##__VA_ARGS__)
#define log_error(event, ...) LOG_EVENT(LOG_ERROR, event, ##__VA_ARGS__)
