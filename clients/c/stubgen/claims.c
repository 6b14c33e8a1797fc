/* Two methods may differ in the .proto file and meet in C: a stream Watch makes ..._watch_open(),
 * and so does a unary WatchOpen. The compiler would say so in terms of generated code. */

#include "model.h"

#include <stdlib.h>
#include <string.h>

struct claim {
  char *name; /* owned */
  const struct model_vars *owner;
};

struct claims {
  struct claim *items;
  size_t count, cap;
};

static void claims_add(struct claims *claims, const struct model_vars *owner, const char *base,
                       const char *const *suffixes) {
  for (; *suffixes; suffixes++) {
    if (claims->count == claims->cap) {
      struct claim *grown = mem_new(claims->cap * 2 + 64, sizeof *grown);
      if (claims->count > 0)
        memcpy(grown, claims->items, claims->count * sizeof *grown);
      free(claims->items);
      claims->items = grown;
      claims->cap = claims->cap * 2 + 64;
    }
    claims->items[claims->count++] =
        (struct claim){.name = text_format("%s%s", base, *suffixes), .owner = owner};
  }
}

static int compare_claims(const void *a, const void *b) {
  return strcmp(((const struct claim *)a)->name, ((const struct claim *)b)->name);
}

/* Services have no $name$. */
static const char *method_name(const struct model_vars *owner) {
  for (int i = 0; i < owner->count; i++) {
    if (strcmp(owner->vars[i].key, "name") == 0)
      return owner->vars[i].value;
  }
  return "(service)";
}

static int claims_check(struct claims *claims, struct gen_error *err) {
  if (claims->count > 1)
    qsort(claims->items, claims->count, sizeof *claims->items, compare_claims);
  for (size_t i = 1; i < claims->count; i++) {
    const struct claim *a = &claims->items[i - 1];
    const struct claim *b = &claims->items[i];
    if (strcmp(a->name, b->name) == 0)
      return gen_fail(err, "%s.%s and %s.%s both need the name %s in C; rename one",
                      model_var(a->owner, "service"), method_name(a->owner),
                      model_var(b->owner, "service"), method_name(b->owner), a->name);
  }
  return 0;
}

static void claims_add_service(struct claims *claims, const struct model_service *service,
                               const struct model_suffixes *suffixes) {
  claims_add(claims, &service->names, model_var(&service->names, "s"), suffixes->service);
  for (size_t i = 0; i < service->method_count; i++) {
    const struct model_method *method = &service->methods[i];
    claims_add(claims, &method->names, model_var(&method->names, "m"),
               method->kind == METHOD_UNARY ? suffixes->unary : suffixes->streaming);
  }
}

int model_check_names(const struct model *model, const struct model_suffixes *suffixes,
                      struct gen_error *err) {
  struct claims claims = {0};
  for (size_t i = 0; i < model->service_count; i++)
    claims_add_service(&claims, &model->services[i], suffixes);
  int rc = claims_check(&claims, err);
  for (size_t i = 0; i < claims.count; i++)
    free(claims.items[i].name);
  free(claims.items);
  return rc;
}
