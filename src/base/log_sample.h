/*
 * log_sample: lines that a peer can cause, as many as he causes, each told or counted.
 *
 * Words: cause = an event and a detail of it, such as the reason, from one address; told = written
 * as it is; left out = counted. Of one cause 5 are told at once, and one more after each 10 seconds
 * in which none was left out. What was left out is told as a number within 10 seconds, by one line
 * for the cause:
 *
 *   INFO  connection ended peer=192.0.2.7 reason="..." repeated=123
 *
 * A line without `repeated` stands for one, a line with it for so many. 64 causes are known at a
 * time; what was left out of the one that gives way is told with those of others like it, by "log
 * lines left out". All causes together have 50 lines at once and 5 a second then, debug lines so
 * many of their own: with the numbers at most 12 lines a second, 17 with debug lines, whatever
 * peers do.
 *
 * Loop thread only.
 */
#pragma once

#include "base/log.h"

struct loop;
struct log_sampler;

/* Of lines of `loop`, which must outlive it. */
struct log_sampler *log_sampler_new(struct loop *loop);

/* Tells what was left out. Its memory goes when the loop has given back its timer. NULL is fine. */
void log_sampler_close(struct log_sampler *sampler);

struct log_cause {
  enum log_level level;
  const char *event;    /* constant, as for log_info() */
  const char *peer;     /* "address:port"; the port isn't part of the cause */
  struct log_kv detail; /* a text, such as the reason; none without a key */
};

/* Most that are given beside the cause. */
#define LOG_SAMPLE_FIELDS 4

/* Writes the line: event, peer, detail and the `count` fields given; or counts it. Without a
 * sampler (loop->sampler) each is written. */
void log_sampled(struct loop *loop, const struct log_cause *cause, const struct log_kv *fields,
                 int count);

/* How many were left out so far. */
int64_t log_sampler_left_out(const struct log_sampler *sampler);
