/*
 * Memory, or file descriptors, that are out for a moment: preloaded into auditstored.
 * EXHAUSTED_CONTROL names a file of three int64 that the test maps as well: calls for memory and
 * for descriptors that are still to go well, each 0 for all of them, and how many failed.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define VISIBLE __attribute__((visibility("default")))

struct control {
  _Atomic int64_t memory_left, descriptors_left, failed;
};

static struct control *control;
static _Thread_local bool is_exempt;

/* Called by the loader, before there are threads. */
__attribute__((constructor)) static void map_control(void) {
  const char *path = getenv("EXHAUSTED_CONTROL");
  int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
  if (fd < 0)
    return;
  void *p = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  control = p == MAP_FAILED ? NULL : p;
}

static bool is_last(_Atomic int64_t *left) {
  int64_t now = atomic_load(left);
  while (now > 0 && !atomic_compare_exchange_weak(left, &now, now - 1)) {
  }
  if (now == 1)
    atomic_fetch_add(&control->failed, 1);
  return now == 1;
}

static bool has_memory(void) {
  if (!control || is_exempt || !is_last(&control->memory_left))
    return true;
  errno = ENOMEM;
  return false;
}

static bool has_descriptor(void) {
  if (!control || !is_last(&control->descriptors_left))
    return true;
  errno = EMFILE;
  return false;
}

static void *next(void **cached, const char *name) {
  if (!*cached)
    *cached = dlsym(RTLD_NEXT, name);
  return *cached;
}

VISIBLE void *malloc(size_t size) {
  static void *real;
  return has_memory() ? ((void *(*)(size_t))next(&real, "malloc"))(size) : NULL;
}

VISIBLE void *calloc(size_t count, size_t size) {
  static void *real;
  return has_memory() ? ((void *(*)(size_t, size_t))next(&real, "calloc"))(count, size) : NULL;
}

VISIBLE void *realloc(void *p, size_t size) {
  static void *real;
  return has_memory() ? ((void *(*)(void *, size_t))next(&real, "realloc"))(p, size) : NULL;
}

VISIBLE int socket(int domain, int type, int protocol) {
  static void *real;
  return has_descriptor() ? ((int (*)(int, int, int))next(&real, "socket"))(domain, type, protocol)
                          : -1;
}

VISIBLE int accept4(int fd, struct sockaddr *address, socklen_t *len, int flags) {
  static void *real;
  return has_descriptor() ? ((int (*)(int, struct sockaddr *, socklen_t *, int))next(
                                &real, "accept4"))(fd, address, len, flags)
                          : -1;
}

VISIBLE int open(const char *path, int flags, ...) {
  static void *real;
  va_list args;
  va_start(args, flags);
  mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
  va_end(args);
  return has_descriptor()
             ? ((int (*)(const char *, int, ...))next(&real, "open"))(path, flags, mode)
             : -1;
}

VISIBLE int dup(int fd) {
  static void *real;
  return has_descriptor() ? ((int (*)(int))next(&real, "dup"))(fd) : -1;
}

VISIBLE int epoll_create1(int flags) {
  static void *real;
  return has_descriptor() ? ((int (*)(int))next(&real, "epoll_create1"))(flags) : -1;
}

VISIBLE int eventfd(unsigned int value, int flags) {
  static void *real;
  return has_descriptor() ? ((int (*)(unsigned int, int))next(&real, "eventfd"))(value, flags) : -1;
}

/* A sanitizer asks for it when a thread starts, and ends the process when there is no memory. */
VISIBLE int pthread_getattr_np(pthread_t thread, pthread_attr_t *ret_attr) {
  static void *real;
  is_exempt = true;
  int rc =
      ((int (*)(pthread_t, pthread_attr_t *))next(&real, "pthread_getattr_np"))(thread, ret_attr);
  is_exempt = false;
  return rc;
}
