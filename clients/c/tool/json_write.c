#include "json_message.h"

#include "text.h"
#include "times.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

enum json_reader json_reader_of(int fd) {
  return isatty(fd) ? JSON_FOR_TERMINAL : JSON_FOR_PROGRAM;
}

void json_write_string(FILE *out, const char *text) {
  fputc('"', out);
  while (*text) {
    if (*text == '"' || *text == '\\')
      fprintf(out, "\\%c", *text++);
    else
      text_print_next(out, &text);
  }
  fputc('"', out);
}

/* ---- event_data ---- */

/* Where in a JSON text we are. */
struct json_place {
  bool is_in_string;
  bool is_behind_backslash;
};

static void place_advance(struct json_place *place, uint32_t code_point) {
  if (code_point == '"' && !place->is_behind_backslash)
    place->is_in_string = !place->is_in_string;
  place->is_behind_backslash =
      place->is_in_string && code_point == '\\' && !place->is_behind_backslash;
}

/* What stands in place of a code point, or NULL for itself. Between tokens a blank is as good as
 * any white space; within a string an escape is the same character. */
static const char *substitute(uint32_t code_point, bool is_in_string, enum json_reader reader,
                              char escape[TEXT_ESCAPE_SIZE]) {
  bool is_break = code_point == '\n' || code_point == '\r';
  bool is_tab = code_point == '\t' && reader == JSON_FOR_TERMINAL;
  if (!is_in_string && (is_break || is_tab))
    return " ";
  if (reader == JSON_FOR_TERMINAL && code_point == TEXT_REPLACEMENT)
    return TEXT_REPLACEMENT_UTF8;
  if (!(is_in_string && code_point < 0x20) &&
      !(reader == JSON_FOR_TERMINAL && text_is_unsafe(code_point)))
    return NULL;
  text_escape_of(code_point, escape);
  return escape;
}

static void write_event_data(FILE *out, const char *text, enum json_reader reader) {
  struct json_place place = {false, false};
  const char *run = text; /* of what stands as it is and isn't written yet */
  while (*text) {
    const char *at = text;
    char escape[TEXT_ESCAPE_SIZE];
    uint32_t code_point = text_next(&text);
    place_advance(&place, code_point);
    const char *instead = substitute(code_point, place.is_in_string, reader, escape);
    if (!instead)
      continue;
    fwrite(run, 1, (size_t)(at - run), out);
    fputs(instead, out);
    run = text;
  }
  fwrite(run, 1, (size_t)(text - run), out);
}

/* ---- the rest ---- */

/* Timestamp and Duration have the same two fields at the same numbers. */
struct seconds_and_nanos {
  int64_t seconds;
  int32_t nanos;
};

static struct seconds_and_nanos read_time(const ProtobufCMessage *message) {
  const ProtobufCFieldDescriptor *fields = message->descriptor->fields;
  const char *base = (const char *)message;
  struct seconds_and_nanos time;
  memcpy(&time.seconds, base + fields[0].offset, sizeof(time.seconds));
  memcpy(&time.nanos, base + fields[1].offset, sizeof(time.nanos));
  return time;
}

static void write_message_value(FILE *out, const ProtobufCMessage *message,
                                enum json_reader reader) {
  const char *type = message->descriptor->name;
  char text[TIMES_TEXT_SIZE];
  if (strcmp(type, "google.protobuf.Timestamp") == 0) {
    struct seconds_and_nanos time = read_time(message);
    times_format_rfc3339(time.seconds, time.nanos, text);
    json_write_string(out, text);
  } else if (strcmp(type, "google.protobuf.Duration") == 0) {
    struct seconds_and_nanos time = read_time(message);
    times_format_duration(time.seconds, time.nanos, text);
    json_write_string(out, text);
  } else {
    json_message_write(out, message, reader);
  }
}

static void write_enum(FILE *out, const ProtobufCEnumDescriptor *type, int value) {
  const ProtobufCEnumValue *found = protobuf_c_enum_descriptor_get_value(type, value);
  if (found)
    json_write_string(out, found->name);
  else
    fprintf(out, "%d", value);
}

static const void *member_of(const ProtobufCMessage *message,
                             const ProtobufCFieldDescriptor *field) {
  return (const char *)message + field->offset;
}

static size_t element_count(const ProtobufCMessage *message,
                            const ProtobufCFieldDescriptor *field) {
  size_t count = 0;
  memcpy(&count, (const char *)message + field->quantifier_offset, sizeof(count));
  return count;
}

static bool is_single_default(const ProtobufCFieldDescriptor *field, const void *member) {
  static const char zeroes[8] = {0};
  switch (field->type) {
  case PROTOBUF_C_TYPE_STRING: {
    const char *text = *(char *const *)member;
    return !text || !*text;
  }
  case PROTOBUF_C_TYPE_MESSAGE:
    return *(void *const *)member == NULL;
  case PROTOBUF_C_TYPE_INT64:
    return memcmp(member, zeroes, sizeof(int64_t)) == 0;
  default:
    return memcmp(member, zeroes, sizeof(int32_t)) == 0;
  }
}

static void write_value(FILE *out, const ProtobufCFieldDescriptor *field, const void *member,
                        enum json_reader reader) {
  switch (field->type) {
  case PROTOBUF_C_TYPE_STRING:
    if (strcmp(field->name, "event_data") == 0)
      write_event_data(out, *(char *const *)member, reader);
    else
      json_write_string(out, *(char *const *)member);
    break;
  case PROTOBUF_C_TYPE_MESSAGE:
    write_message_value(out, *(ProtobufCMessage *const *)member, reader);
    break;
  case PROTOBUF_C_TYPE_ENUM:
    write_enum(out, field->descriptor, *(const int *)member);
    break;
  case PROTOBUF_C_TYPE_BOOL:
    fputs(*(const protobuf_c_boolean *)member ? "true" : "false", out);
    break;
  case PROTOBUF_C_TYPE_INT64:
    fprintf(out, "%" PRId64, *(const int64_t *)member);
    break;
  default:
    fprintf(out, "%" PRId32, *(const int32_t *)member);
    break;
  }
}

static size_t element_size(const ProtobufCFieldDescriptor *field) {
  switch (field->type) {
  case PROTOBUF_C_TYPE_STRING:
  case PROTOBUF_C_TYPE_MESSAGE:
    return sizeof(void *);
  case PROTOBUF_C_TYPE_INT64:
    return sizeof(int64_t);
  default:
    return sizeof(int32_t);
  }
}

static void write_list(FILE *out, const ProtobufCMessage *message,
                       const ProtobufCFieldDescriptor *field, enum json_reader reader) {
  const char *elements = *(const char *const *)member_of(message, field);
  size_t count = element_count(message, field);
  size_t size = element_size(field);
  fputc('[', out);
  for (size_t i = 0; i < count; i++) {
    if (i > 0)
      fputc(',', out);
    write_value(out, field, elements + i * size, reader);
  }
  fputc(']', out);
}

/* A position counts from 0, so there 0 is a value and not an absent one. */
static bool is_written_always(const ProtobufCFieldDescriptor *field) {
  return strcmp(field->name, "sequence") == 0;
}

static bool is_default(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field) {
  if (field->label == PROTOBUF_C_LABEL_REPEATED)
    return element_count(message, field) == 0;
  return is_single_default(field, member_of(message, field)) && !is_written_always(field);
}

static void write_field(FILE *out, const ProtobufCMessage *message,
                        const ProtobufCFieldDescriptor *field, enum json_reader reader) {
  fprintf(out, "\"%s\":", field->name);
  if (field->label == PROTOBUF_C_LABEL_REPEATED)
    write_list(out, message, field, reader);
  else
    write_value(out, field, member_of(message, field), reader);
}

void json_message_write(FILE *out, const ProtobufCMessage *message, enum json_reader reader) {
  const ProtobufCMessageDescriptor *type = message->descriptor;
  const char *separator = "";
  fputc('{', out);
  for (unsigned i = 0; i < type->n_fields; i++) {
    if (is_default(message, &type->fields[i]))
      continue;
    fputs(separator, out);
    write_field(out, message, &type->fields[i], reader);
    separator = ",";
  }
  fputc('}', out);
}
