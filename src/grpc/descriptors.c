#include "grpc/descriptors.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/alloc.h"

/* Field numbers of google/protobuf/descriptor.proto. A name is number 1 everywhere. */
enum { NAME = 1, SET_FILE = 1 };
enum { FILE_PACKAGE = 2, FILE_IMPORT = 3, FILE_MESSAGE = 4, FILE_ENUM = 5, FILE_SERVICE = 6 };
enum { MESSAGE_FIELD = 2, MESSAGE_NESTED = 3, MESSAGE_ENUM = 4, MESSAGE_ONEOF = 8 };
enum { ENUM_VALUE = 2, SERVICE_METHOD = 2 };

struct symbol {
  char *name; /* owned */
  size_t file;
};

struct grpc_descriptors {
  struct str *files; /* owned; the bytes aren't */
  size_t file_count;
  struct symbol *symbols; /* owned; sorted by name */
  size_t symbol_count;
  size_t symbol_cap;
};

/* ---- protobuf's wire format ---- */

struct field {
  uint32_t number;
  struct str bytes; /* of a field with a length; else empty */
};

static bool take_varint(struct str *rest, uint64_t *ret_value) {
  uint64_t value = 0;
  for (size_t i = 0; i < rest->len && i < 10; i++) {
    value |= (uint64_t)(rest->data[i] & 0x7F) << (7 * i);
    if (!(rest->data[i] & 0x80)) {
      *rest = str_of(rest->data + i + 1, rest->len - i - 1);
      *ret_value = value;
      return true;
    }
  }
  return false;
}

static bool take_bytes(struct str *rest, uint64_t len, struct str *ret_bytes) {
  if (len > rest->len)
    return false;
  *ret_bytes = str_of(rest->data, (size_t)len);
  *rest = str_of(rest->data + len, rest->len - (size_t)len);
  return true;
}

/* False at the end, and at what is malformed. */
static bool next_field(struct str *rest, struct field *ret_field) {
  uint64_t tag = 0;
  uint64_t value = 0;
  struct str passed;
  if (rest->len == 0 || !take_varint(rest, &tag))
    return false;
  *ret_field = (struct field){.number = (uint32_t)(tag >> 3)};
  switch (tag & 7) {
  case 0:
    return take_varint(rest, &value);
  case 1:
    return take_bytes(rest, 8, &passed);
  case 2:
    return take_varint(rest, &value) && take_bytes(rest, value, &ret_field->bytes);
  case 5:
    return take_bytes(rest, 4, &passed);
  default:
    return false;
  }
}

/* The `index`th field of that number. */
static bool find_field(struct str message, uint32_t number, size_t index, struct str *ret_bytes) {
  struct field field;
  while (next_field(&message, &field)) {
    if (field.number != number || index-- > 0)
      continue;
    *ret_bytes = field.bytes;
    return true;
  }
  return false;
}

/* ---- names ---- */

/* "scope.name", and known as a symbol of the last file. */
static struct str add_symbol(struct grpc_descriptors *d, struct str scope, struct str item) {
  struct str name = {0};
  (void)find_field(item, NAME, 0, &name);
  size_t dot = scope.len > 0;
  char *full = xcalloc(1, scope.len + dot + name.len + 1);
  if (dot) {
    memcpy(full, scope.data, scope.len);
    full[scope.len] = '.';
  }
  if (name.len > 0)
    memcpy(full + scope.len + dot, name.data, name.len);
  if (d->symbol_count == d->symbol_cap) {
    d->symbol_cap = d->symbol_cap ? d->symbol_cap * 2 : 256;
    d->symbols = xrealloc(d->symbols, d->symbol_cap * sizeof(*d->symbols));
  }
  d->symbols[d->symbol_count++] = (struct symbol){full, d->file_count - 1};
  return str_z(full);
}

/* All of `item`'s fields of that number, within its own name. */
static void add_members(struct grpc_descriptors *d, struct str scope, struct str item,
                        uint32_t number) {
  struct str member;
  for (size_t i = 0; find_field(item, number, i, &member); i++)
    (void)add_symbol(d, scope, member);
}

/* Values belong to what is around their enum, as in C. */
static void add_enum(struct grpc_descriptors *d, struct str scope, struct str item) {
  (void)add_symbol(d, scope, item);
  add_members(d, scope, item, ENUM_VALUE);
}

static void add_service(struct grpc_descriptors *d, struct str scope, struct str item) {
  add_members(d, add_symbol(d, scope, item), item, SERVICE_METHOD);
}

/* NOLINTNEXTLINE(misc-no-recursion): as deep as messages are nested in our own .proto files */
static void add_message(struct grpc_descriptors *d, struct str scope, struct str item) {
  struct str name = add_symbol(d, scope, item);
  struct str inner;
  add_members(d, name, item, MESSAGE_FIELD);
  add_members(d, name, item, MESSAGE_ONEOF);
  for (size_t i = 0; find_field(item, MESSAGE_ENUM, i, &inner); i++)
    add_enum(d, name, inner);
  for (size_t i = 0; find_field(item, MESSAGE_NESTED, i, &inner); i++)
    add_message(d, name, inner);
}

static void add_symbols(struct grpc_descriptors *d, struct str file) {
  struct str package = {0};
  struct str item;
  (void)find_field(file, FILE_PACKAGE, 0, &package);
  for (size_t i = 0; find_field(file, FILE_MESSAGE, i, &item); i++)
    add_message(d, package, item);
  for (size_t i = 0; find_field(file, FILE_ENUM, i, &item); i++)
    add_enum(d, package, item);
  for (size_t i = 0; find_field(file, FILE_SERVICE, i, &item); i++)
    add_service(d, package, item);
}

/* ---- sets ---- */

static int compare_symbols(const void *a, const void *b) {
  return strcmp(((const struct symbol *)a)->name, ((const struct symbol *)b)->name);
}

static void add_file(struct grpc_descriptors *d, struct str file) {
  struct str name = {0};
  size_t known = 0;
  if (!find_field(file, NAME, 0, &name) || grpc_descriptors_find_file(d, name, &known))
    return;
  d->files = xrealloc(d->files, (d->file_count + 1) * sizeof(*d->files));
  d->files[d->file_count++] = file;
  add_symbols(d, file);
}

void grpc_descriptors_add(struct grpc_descriptors *d, struct str set) {
  struct str file;
  for (size_t i = 0; find_field(set, SET_FILE, i, &file); i++)
    add_file(d, file);
  if (d->symbol_count > 0)
    qsort(d->symbols, d->symbol_count, sizeof(*d->symbols), compare_symbols);
}

struct grpc_descriptors *grpc_descriptors_new(void) {
  return xcalloc(1, sizeof(struct grpc_descriptors));
}

void grpc_descriptors_free(struct grpc_descriptors *d) {
  if (!d)
    return;
  for (size_t i = 0; i < d->symbol_count; i++)
    free(d->symbols[i].name);
  free(d->symbols);
  free(d->files);
  free(d);
}

/* ---- asking ---- */

size_t grpc_descriptors_count(const struct grpc_descriptors *d) {
  return d->file_count;
}

bool grpc_descriptors_find_file(const struct grpc_descriptors *d, struct str name,
                                size_t *ret_file) {
  struct str other;
  for (size_t i = 0; i < d->file_count; i++) {
    if (!find_field(d->files[i], NAME, 0, &other) || !str_equal(other, name))
      continue;
    *ret_file = i;
    return true;
  }
  return false;
}

static int compare_name(const void *name, const void *symbol) {
  const struct str *wanted = name;
  const char *text = ((const struct symbol *)symbol)->name;
  int order = strncmp(wanted->data, text, wanted->len);
  return order != 0 || text[wanted->len] == '\0' ? order : -1;
}

bool grpc_descriptors_find_symbol(const struct grpc_descriptors *d, struct str symbol,
                                  size_t *ret_file) {
  if (symbol.len > 0 && symbol.data[0] == '.')
    symbol = str_of(symbol.data + 1, symbol.len - 1);
  if (symbol.len == 0 || d->symbol_count == 0 || memchr(symbol.data, '\0', symbol.len))
    return false;
  const struct symbol *found =
      bsearch(&symbol, d->symbols, d->symbol_count, sizeof(*d->symbols), compare_name);
  if (found)
    *ret_file = found->file;
  return found != NULL;
}

struct str grpc_descriptors_file(const struct grpc_descriptors *d, size_t file) {
  return d->files[file];
}

bool grpc_descriptors_import(const struct grpc_descriptors *d, size_t file, size_t index,
                             struct str *ret_name) {
  return find_field(d->files[file], FILE_IMPORT, index, ret_name);
}
