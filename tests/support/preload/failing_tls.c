/*
 * Functions of OpenSSL that fail, preloaded into auditstored: the one whose name is in the file
 * that FAILING_TLS names, from then on when it is there.
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool must_fail(const char *function) {
  char text[64] = "";
  const char *path = getenv("FAILING_TLS");
  FILE *file = path ? fopen(path, "r") : NULL;
  if (!file)
    return false;
  bool is_it = fgets(text, sizeof(text), file) && strcmp(text, function) == 0;
  fclose(file);
  return is_it;
}

__attribute__((visibility("default"))) void *SSL_new(void *ctx) {
  /* NOLINTNEXTLINE(bugprone-casting-through-void): what dlsym() returns. */
  void *(*real)(void *) = (void *(*)(void *))dlsym(RTLD_NEXT, "SSL_new");
  return must_fail("SSL_new") ? NULL : real(ctx);
}

__attribute__((visibility("default"))) int SSL_set_fd(void *ssl, int fd) {
  /* NOLINTNEXTLINE(bugprone-casting-through-void): what dlsym() returns. */
  int (*real)(void *, int) = (int (*)(void *, int))dlsym(RTLD_NEXT, "SSL_set_fd");
  return must_fail("SSL_set_fd") ? 0 : real(ssl, fd);
}

__attribute__((visibility("default"))) void *BIO_new(const void *method) {
  /* NOLINTNEXTLINE(bugprone-casting-through-void): what dlsym() returns. */
  void *(*real)(const void *) = (void *(*)(const void *))dlsym(RTLD_NEXT, "BIO_new");
  return must_fail("BIO_new") ? NULL : real(method);
}

/* What OpenSSL takes its memory with. */
__attribute__((visibility("default"))) void *CRYPTO_zalloc(size_t size, const char *file,
                                                           int line) {
  /* NOLINTNEXTLINE(bugprone-casting-through-void): what dlsym() returns. */
  void *(*real)(size_t, const char *, int) =
      (void *(*)(size_t, const char *, int))dlsym(RTLD_NEXT, "CRYPTO_zalloc");
  return must_fail("CRYPTO_zalloc") ? NULL : real(size, file, line);
}
