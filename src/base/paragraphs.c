#include "base/paragraphs.h"

#include <string.h>

void paragraphs_each(const char *text, paragraphs_cb *cb, void *arg) {
  while (*text) {
    const char *end = strstr(text, "\n\n");
    size_t len = end ? (size_t)(end - text) : strlen(text);
    cb(arg, text, len, strncmp(text, "    ", 4) == 0);
    text += len;
    text += strspn(text, "\n");
  }
}
