#include "json_message.h"

#include <string.h>
#include <strings.h>

/* The zero value is called <PREFIX>UNSPECIFIED: the style that proto/ follows throughout. */
static size_t prefix_length(const ProtobufCEnumDescriptor *type) {
  static const char zero_suffix[] = "UNSPECIFIED";
  const ProtobufCEnumValue *zero = protobuf_c_enum_descriptor_get_value(type, 0);
  size_t len = zero ? strlen(zero->name) : 0;
  size_t suffix = sizeof(zero_suffix) - 1;
  if (len <= suffix || strcmp(zero->name + len - suffix, zero_suffix) != 0)
    return 0;
  return len - suffix;
}

bool json_enum_parse(const ProtobufCEnumDescriptor *type, const char *name, int *ret_value) {
  size_t prefix = prefix_length(type);
  for (unsigned i = 0; i < type->n_values; i++) {
    const ProtobufCEnumValue *value = &type->values[i];
    if (strcasecmp(name, value->name) == 0 || strcasecmp(name, value->name + prefix) == 0) {
      *ret_value = value->value;
      return true;
    }
  }
  return false;
}

const char *json_enum_short_name(const ProtobufCEnumDescriptor *type, int value) {
  const ProtobufCEnumValue *found = protobuf_c_enum_descriptor_get_value(type, value);
  return found ? found->name + prefix_length(type) : NULL;
}
