/*
 * Runs a fuzz target on each file of a folder, and on every beginning of each.  fuzz_NAME FOLDER
 */
#include "fuzz/fuzz.h"

#include <dirent.h>
#include <string.h>

#define FILE_MAX 65536

/* In memory of its very size, so that a read behind it is found. */
static void run_on(const uint8_t *data, size_t size) {
  uint8_t *exact = malloc(size ? size : 1);
  if (!exact)
    abort();
  memcpy(exact, data, size);
  LLVMFuzzerTestOneInput(exact, size);
  free(exact);
}

static int replay(const char *folder, const char *name) {
  static uint8_t data[FILE_MAX];
  char path[4096];
  snprintf(path, sizeof(path), "%s/%s", folder, name);
  FILE *file = fopen(path, "rb");
  if (!file)
    return -1;
  size_t size = fread(data, 1, sizeof(data), file);
  fclose(file);
  for (size_t len = 0; len <= size; len++)
    run_on(data, len);
  return 0;
}

int main(int argc, char **argv) {
  const struct dirent *entry = NULL;
  int count = 0;
  DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
  if (!folder) {
    fputs("usage: fuzz_NAME FOLDER\n", stderr);
    return 2;
  }
  while ((entry = readdir(folder))) {
    if (entry->d_name[0] == '.')
      continue;
    if (replay(argv[1], entry->d_name) < 0)
      perror(entry->d_name);
    else
      count++;
  }
  closedir(folder);
  printf("%d inputs\n", count);
  return count > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
