/*
 * descriptors: which .proto file says what a name is, for reflection.
 *
 * Made from packed google.protobuf.FileDescriptorSets, as protoc writes them. Words: file = one
 * FileDescriptorProto of a set, known by its name; symbol = the full name of a message, field,
 * oneof, enum, value, service or method. Bytes of the sets are borrowed and outlive it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

struct grpc_descriptors;

struct grpc_descriptors *grpc_descriptors_new(void);
void grpc_descriptors_free(struct grpc_descriptors *d); /* NULL is fine */

/* Files that are known already are passed over, so sets may overlap. What isn't a well-formed set
 * is read as far as it is. */
void grpc_descriptors_add(struct grpc_descriptors *d, struct str set);

/* Files are numbered from 0. */
size_t grpc_descriptors_count(const struct grpc_descriptors *d);

/* False when there is none of that name. A leading dot of a symbol is passed over. */
bool grpc_descriptors_find_file(const struct grpc_descriptors *d, struct str name,
                                size_t *ret_file);
bool grpc_descriptors_find_symbol(const struct grpc_descriptors *d, struct str symbol,
                                  size_t *ret_file);

/* The FileDescriptorProto. */
struct str grpc_descriptors_file(const struct grpc_descriptors *d, size_t file);

/* The name of the file's `index`th import; false behind the last. */
bool grpc_descriptors_import(const struct grpc_descriptors *d, size_t file, size_t index,
                             struct str *ret_name);
