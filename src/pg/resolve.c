#include <stdlib.h>

#include "base/alloc.h"
#include "pg/internal.h"

struct pg_resolve {
  uv_getaddrinfo_t request;
  pg_resolve_cb *cb;
  void *arg;
};

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses) {
  struct pg_resolve *resolve = request->data;
  resolve->cb(resolve->arg, addresses, status < 0 ? uv_strerror(status) : NULL);
  uv_freeaddrinfo(addresses);
  free(resolve);
}

struct pg_resolve *pg_resolve_start(struct loop *loop, const char *host, pg_resolve_cb *cb,
                                    void *arg) {
  struct pg_resolve *resolve = xcalloc(1, sizeof(*resolve));
  resolve->request.data = resolve;
  resolve->cb = cb;
  resolve->arg = arg;
  const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
  if (uv_getaddrinfo(loop->uv, &resolve->request, on_resolved, host, NULL, &hints) == 0)
    return resolve;
  free(resolve);
  return NULL;
}

void pg_resolve_cancel(struct pg_resolve *resolve) {
  uv_cancel((uv_req_t *)&resolve->request);
}
