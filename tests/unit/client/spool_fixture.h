/*
 * spool_fixture: a publisher_fixture whose publisher has a spool.
 */
#pragma once

#include "publisher_fixture.h"

#include "record.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

static inline int setup_spool(void **state) {
  setup(state);
  struct world *w = *state;
  w->options.spool_dir = w->spool;
  w->options.max_batch_bytes = 16 * 1024;
  return 0;
}

#define SPOOL_TEST(name) cmocka_unit_test_setup_teardown(name, setup_spool, teardown)

/* ---- files ---- */

static inline const char *path_of(const struct world *w, const char *name) {
  static char path[256];
  snprintf(path, sizeof(path), "%s/%s", w->spool, name);
  return path;
}

static inline const char *first_segment(const struct world *w) {
  return path_of(w, "0000000000000001.segment");
}

static inline size_t read_file(const char *path, uint8_t *bytes, size_t size) {
  FILE *file = fopen(path, "rb");
  size_t len = file ? fread(bytes, 1, size, file) : 0;
  if (file)
    fclose(file);
  return len;
}

static inline void write_file(const char *path, const void *bytes, size_t len) {
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, len, file), len);
  fclose(file);
}

static inline size_t count_segments(const struct world *w) {
  size_t count = 0;
  DIR *folder = opendir(w->spool);
  const struct dirent *entry = NULL;
  while ((entry = readdir(folder)))
    count += strstr(entry->d_name, ".segment") != NULL;
  closedir(folder);
  return count;
}

/* With one fsync for each hundred. */
static inline void publish_in_arrays(struct world *w, uint64_t first, uint64_t behind) {
  for (uint64_t at = first; at < behind; at += 100)
    assert_int_equal(publish_array(w, at, behind - at < 100 ? behind - at : 100), AUDITSTORE_OK);
}

/* Events 0 .. count - 1 are in the spool, and none is acknowledged. */
static inline void fill_spool(struct world *w, uint64_t count) {
  store_server_leave(w->server);
  start(w);
  publish_range(w, 0, count);
  close_publisher(w, count);
}

static inline void send_all(struct world *w) {
  store_server_return(w->server);
  start(w);
  flush_all(w);
}

/* Lets a child work on the spool, and kills it when it has said so. */
static inline void kill_child(struct world *w, uint64_t count) {
  int pipes[2];
  char byte = 0;
  assert_int_equal(pipe(pipes), 0);
  pid_t child = fork();
  if (child == 0) {
    w->channel = auditstore_channel_new("127.0.0.1:1", NULL, NULL);
    w->publisher = auditstore_publisher_new(w->channel, &w->options, NULL);
    for (uint64_t i = 0; i < count; i++)
      if (publish(w, i) != AUDITSTORE_OK)
        byte = 1;
    if (write(pipes[1], &byte, 1) == 1)
      pause();
    _exit(1);
  }
  close(pipes[1]); /* so that the end of the child ends the wait */
  assert_int_equal(read(pipes[0], &byte, 1), 1);
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  close(pipes[0]);
  assert_int_equal(byte, 0);
}
