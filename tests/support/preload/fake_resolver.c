/*
 * A stand-in for the resolver, preloaded into auditstored: names that end in ".test" are looked up
 * in the file that FAKE_RESOLVER names, anew each time. It holds an address, or "hang" as long as
 * the answer is to stay away.
 */
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int resolve_fn(const char *, const char *, const struct addrinfo *, struct addrinfo **);

static void read_answer(char ret_text[64]) {
  const char *path = getenv("FAKE_RESOLVER");
  FILE *file = path ? fopen(path, "r") : NULL;
  ret_text[0] = '\0';
  if (!file)
    return;
  if (!fgets(ret_text, 64, file))
    ret_text[0] = '\0';
  fclose(file);
  ret_text[strcspn(ret_text, "\n")] = '\0';
}

__attribute__((visibility("default"))) int getaddrinfo(const char *name, const char *service,
                                                       const struct addrinfo *hints,
                                                       struct addrinfo **ret) {
  /* NOLINTNEXTLINE(bugprone-casting-through-void): what dlsym() returns. */
  resolve_fn *real = (resolve_fn *)dlsym(RTLD_NEXT, "getaddrinfo");
  size_t len = name ? strlen(name) : 0;
  if (len < 5 || strcmp(name + len - 5, ".test") != 0)
    return real(name, service, hints, ret);
  char text[64];
  const struct timespec pause = {.tv_nsec = 10000000};
  for (read_answer(text); strcmp(text, "hang") == 0; read_answer(text))
    nanosleep(&pause, NULL);
  return real(text, service, hints, ret);
}
