#include "access/principals.h"

#include <stdlib.h>

#include "base/alloc.h"

#define CHAIN_COUNT 1024

struct principals {
  struct list chains[CHAIN_COUNT];
  struct list ages; /* the one used last is the last */
};

struct principals *principals_new(void) {
  return xcalloc(1, sizeof(struct principals));
}

size_t principals_count(const struct principals *principals) {
  return principals->ages.count;
}

/* FNV-1a. Whoever finds names that share a chain needs certificates for all of them. */
static struct list *chain_of(struct principals *principals, struct str text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (size_t i = 0; i < text.len; i++)
    hash = (hash ^ (unsigned char)text.data[i]) * 0x100000001b3;
  return &principals->chains[hash % CHAIN_COUNT];
}

void principal_release(struct principal *principal) {
  if (--principal->references == 0)
    free(principal);
}

static void forget(struct principals *principals, struct principal *principal) {
  list_remove(chain_of(principals, str_of(principal->text, principal->len)),
              &principal->chain_link);
  list_remove(&principals->ages, &principal->age_link);
  principal_release(principal);
}

void principals_free(struct principals *principals) {
  while (principals->ages.first)
    forget(principals, LIST_ENTRY(principals->ages.first, struct principal, age_link));
  free(principals);
}

static struct principal *find(const struct list *chain, struct str text) {
  for (struct list_link *link = chain->first; link; link = link->next) {
    struct principal *principal = LIST_ENTRY(link, struct principal, chain_link);
    if (str_equal(str_of(principal->text, principal->len), text))
      return principal;
  }
  return NULL;
}

static struct principal *add(struct principals *principals, struct list *chain, struct str text) {
  if (principals->ages.count == PRINCIPALS_MAX)
    forget(principals, LIST_ENTRY(principals->ages.first, struct principal, age_link));
  struct principal *principal = xcalloc(1, sizeof(*principal) + text.len);
  principal->references = 1; /* ours */
  principal->len = text.len;
  memcpy(principal->text, text.data, text.len);
  list_push_back(chain, &principal->chain_link);
  list_push_back(&principals->ages, &principal->age_link);
  return principal;
}

struct principal *principals_get(struct principals *principals, struct str text) {
  struct list *chain = chain_of(principals, text);
  struct principal *principal = find(chain, text);
  if (principal) {
    list_remove(&principals->ages, &principal->age_link);
    list_push_back(&principals->ages, &principal->age_link);
  } else {
    principal = add(principals, chain, text);
  }
  principal->references++;
  return principal;
}
