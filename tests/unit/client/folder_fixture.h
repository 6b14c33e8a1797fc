/*
 * folder_fixture: a temporary folder for a test's files.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct folder {
  char path[64];
  char file[8][128]; /* room for folder_file() */
  int count;
};

static inline void folder_make(struct folder *f) {
  *f = (struct folder){.path = "/tmp/client_test_XXXXXX"};
  if (!mkdtemp(f->path))
    abort();
}

/* The path of a file in it; valid for the next seven calls. */
static inline const char *folder_file(struct folder *f, const char *name) {
  char *path = f->file[f->count++ % 8];
  snprintf(path, sizeof(f->file[0]), "%s/%s", f->path, name);
  return path;
}

/* Under another name first, as careful programs do. */
static inline const char *folder_write(struct folder *f, const char *name, const char *text) {
  const char *path = folder_file(f, name);
  const char *fresh = folder_file(f, "fresh");
  FILE *file = fopen(fresh, "w");
  if (!file || fputs(text, file) < 0 || fclose(file) != 0 || rename(fresh, path) != 0)
    abort();
  return path;
}

/* `names` ends with NULL. */
static inline void folder_remove(struct folder *f, const char *const *names) {
  for (; *names; names++)
    unlink(folder_file(f, *names));
  rmdir(f->path);
}
