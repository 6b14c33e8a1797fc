#include "json_message.h"

#include "json_span.h"
#include "times.h"

#include <ctype.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Where in the text we are, for the problem's path. */
struct path {
  const struct path *parent;
  const char *name;
};

struct reader {
  struct json_problem *problem;
  char *event_data; /* owned until a message takes it; NULL: none, or given as a string */
};

static void print_path(const struct path *path, char *text, size_t size) {
  if (!path) {
    text[0] = '\0';
    return;
  }
  print_path(path->parent, text, size);
  size_t len = strlen(text);
  snprintf(text + len, size - len, "%s%s", len ? "." : "", path->name);
}

static bool __attribute__((format(printf, 3, 4)))
problem_set(struct reader *reader, const struct path *path, const char *format, ...) {
  print_path(path, reader->problem->field, sizeof(reader->problem->field));
  va_list args;
  va_start(args, format);
  vsnprintf(reader->problem->text, sizeof(reader->problem->text), format, args);
  va_end(args);
  return false;
}

static bool names_match(const char *snake, const char *given) {
  if (strcmp(snake, given) == 0)
    return true;
  for (; *snake; snake++, given++) {
    char wanted = *snake;
    if (wanted == '_')
      wanted = (char)toupper((unsigned char)*++snake);
    if (*given != wanted)
      return false;
  }
  return *given == '\0';
}

static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *type,
                                                  const char *name) {
  for (unsigned i = 0; i < type->n_fields; i++)
    if (names_match(type->fields[i].name, name))
      return &type->fields[i];
  return NULL;
}

static bool read_text(struct reader *reader, const struct path *path, const json_t *value,
                      char **member) {
  if (!json_is_string(value))
    return problem_set(reader, path, "must be a string");
  *member = strdup(json_string_value(value));
  return *member || problem_set(reader, path, "out of memory");
}

static bool read_int(struct reader *reader, const struct path *path, const json_t *value,
                     int32_t *member) {
  if (!json_is_integer(value) || json_integer_value(value) < INT32_MIN ||
      json_integer_value(value) > INT32_MAX)
    return problem_set(reader, path, "must be a whole number of 32 bits");
  *member = (int32_t)json_integer_value(value);
  return true;
}

/* So much of a value is shown. */
#define SHOWN_MAX 40

static const char *shown_of(const json_t *value) {
  return json_is_string(value) ? json_string_value(value) : "what isn't a string";
}

static bool read_enum(struct reader *reader, const struct path *path, const json_t *value,
                      const ProtobufCFieldDescriptor *field, int *member) {
  const ProtobufCEnumDescriptor *type = field->descriptor;
  if (json_is_string(value) && json_enum_parse(type, json_string_value(value), member))
    return true;
  char known[160] = "";
  for (unsigned i = 1; i < type->n_values; i++) {
    size_t len = strlen(known);
    snprintf(known + len, sizeof(known) - len, "%s%s", len ? ", " : "",
             json_enum_short_name(type, type->values[i].value));
  }
  return problem_set(reader, path, "must be one of %s; \"%.*s\" isn't", known, SHOWN_MAX,
                     shown_of(value));
}

/* "2024-03-24 10:58:31.347" and "2024-03-24T10:58:31": times of many logs. */
static bool lacks_zone(const char *text) {
  char with_zone[SHOWN_MAX + 2];
  int64_t seconds = 0;
  int32_t nanos = 0;
  size_t len = strlen(text);
  if (len < 11 || len > SHOWN_MAX)
    return false;
  snprintf(with_zone, sizeof(with_zone), "%sZ", text);
  if (with_zone[10] == ' ')
    with_zone[10] = 'T';
  return times_parse_rfc3339(with_zone, &seconds, &nanos);
}

static bool tell_bad_time(struct reader *reader, const struct path *path, const json_t *value) {
  const char *text = shown_of(value);
  if (lacks_zone(text))
    return problem_set(
        reader, path,
        "must be a time with its zone; \"%s\" has none: write \"%.10sT%sZ\" if it is "
        "UTC",
        text, text, text + 11);
  return problem_set(reader, path,
                     "must be a time such as \"2026-11-23T07:38:01.5Z\"; \"%.*s\" isn't", SHOWN_MAX,
                     text);
}

static bool read_time(struct reader *reader, const struct path *path, const json_t *value,
                      ProtobufCMessage *message) {
  const char *text = json_is_string(value) ? json_string_value(value) : "";
  bool is_timestamp = strcmp(message->descriptor->name, "google.protobuf.Timestamp") == 0;
  int64_t seconds = 0;
  int32_t nanos = 0;
  if (is_timestamp && !times_parse_rfc3339(text, &seconds, &nanos))
    return tell_bad_time(reader, path, value);
  if (!is_timestamp && !times_parse_duration(text, &seconds, &nanos))
    return problem_set(reader, path,
                       "must be a duration in seconds such as \"1.5s\"; \"%.*s\" isn't", SHOWN_MAX,
                       shown_of(value));
  char *base = (char *)message;
  memcpy(base + message->descriptor->fields[0].offset, &seconds, sizeof(seconds));
  memcpy(base + message->descriptor->fields[1].offset, &nanos, sizeof(nanos));
  return true;
}

static bool read_members(struct reader *reader, const struct path *path, const json_t *object,
                         ProtobufCMessage *message);

static ProtobufCMessage *new_message(const ProtobufCMessageDescriptor *type) {
  ProtobufCMessage *message = calloc(1, type->sizeof_message);
  if (message)
    type->message_init(message);
  return message;
}

static bool read_message(struct reader *reader, const struct path *path, const json_t *value,
                         ProtobufCMessage *message) {
  const char *type = message->descriptor->name;
  if (strcmp(type, "google.protobuf.Timestamp") == 0 ||
      strcmp(type, "google.protobuf.Duration") == 0)
    return read_time(reader, path, value, message);
  if (!json_is_object(value))
    return problem_set(reader, path, "must be an object");
  return read_members(reader, path, value, message);
}

/* The text was cut out before parsing (see json_message_read) and a 0 stands in its place. */
static bool read_event_data(struct reader *reader, const struct path *path, const json_t *value,
                            char **member) {
  if (!reader->event_data)
    return json_is_string(value) ? read_text(reader, path, value, member)
                                 : problem_set(reader, path, "must be an object or a string");
  *member = reader->event_data;
  reader->event_data = NULL;
  return true;
}

static bool holds_nul(const json_t *value) {
  return json_is_string(value) && strlen(json_string_value(value)) < json_string_length(value);
}

static bool read_value(struct reader *reader, const struct path *path, const json_t *value,
                       const ProtobufCFieldDescriptor *field, void *member) {
  if (holds_nul(value))
    return problem_set(reader, path,
                       "holds the character U+0000, which can't be stored: leave \\u0000 out");
  if (field->label == PROTOBUF_C_LABEL_REPEATED)
    return problem_set(reader, path, "is a list, which this tool can't read from JSON");
  switch (field->type) {
  case PROTOBUF_C_TYPE_STRING:
    if (strcmp(field->name, "event_data") == 0)
      return read_event_data(reader, path, value, member);
    return read_text(reader, path, value, member);
  case PROTOBUF_C_TYPE_BOOL:
    if (!json_is_boolean(value))
      return problem_set(reader, path, "must be true or false");
    *(protobuf_c_boolean *)member = json_is_true(value);
    return true;
  case PROTOBUF_C_TYPE_INT32:
    return read_int(reader, path, value, member);
  case PROTOBUF_C_TYPE_ENUM:
    return read_enum(reader, path, value, field, member);
  case PROTOBUF_C_TYPE_MESSAGE: {
    ProtobufCMessage *child = new_message(field->descriptor);
    *(ProtobufCMessage **)member = child;
    return child ? read_message(reader, path, value, child)
                 : problem_set(reader, path, "out of memory");
  }
  default:
    return problem_set(reader, path, "has a type that this tool can't read from JSON");
  }
}

static bool read_members(struct reader *reader, const struct path *path, const json_t *object,
                         ProtobufCMessage *message) {
  const char *name = NULL;
  json_t *value = NULL;
  bool seen[64] = {false};
  json_object_foreach((json_t *)object, name, value) {
    const struct path here = {.parent = path, .name = name};
    const ProtobufCFieldDescriptor *field = find_field(message->descriptor, name);
    if (!field)
      return problem_set(reader, &here, "no such field");
    size_t index = (size_t)(field - message->descriptor->fields);
    if (index < 64 && seen[index])
      return problem_set(reader, &here, "given twice, in both spellings of its name");
    seen[index % 64] = true;
    if (!json_is_null(value) &&
        !read_value(reader, &here, value, field, (char *)message + field->offset))
      return false;
  }
  return true;
}

/* Takes the text of event_data out and leaves a 0 and blanks in its place: jansson would change
 * numbers such as 1.10, and its error positions stay right. */
static bool cut_out_event_data(struct reader *reader, char *text, size_t len) {
  struct json_span span;
  if (!json_span_find(text, len, "event_data", "eventData", &span) || text[span.start] != '{')
    return true;
  reader->event_data = strndup(text + span.start, span.len);
  if (!reader->event_data)
    return problem_set(reader, NULL, "out of memory");
  memset(text + span.start, ' ', span.len);
  text[span.start] = '0';
  return true;
}

static ProtobufCMessage *read_object(struct reader *reader, const ProtobufCMessageDescriptor *type,
                                     const json_t *object) {
  if (!json_is_object(object)) {
    problem_set(reader, NULL, "must be a JSON object");
    return NULL;
  }
  ProtobufCMessage *message = new_message(type);
  if (!message) {
    problem_set(reader, NULL, "out of memory");
    return NULL;
  }
  if (read_members(reader, NULL, object, message))
    return message;
  protobuf_c_message_free_unpacked(message, NULL);
  return NULL;
}

/* What jansson refuses though it is JSON, in our words. NULL: it isn't JSON. */
static const char *refusal_of_json(const json_error_t *error) {
  static const char surrogate[] = "invalid Unicode '";
  if (strncmp(error->text, surrogate, sizeof(surrogate) - 1) == 0)
    return "half of a character that can't be stored without its other half: write \\ufffd in its "
           "place";
  switch (json_error_code(error)) {
  case json_error_null_byte_in_key:
    return "a name holds the character U+0000, which no field's has";
  case json_error_numeric_overflow:
    return "a number is out of the range of any field";
  case json_error_stack_overflow:
    return "nested deeper than any field";
  case json_error_duplicate_key:
    return "a field is given twice";
  default:
    return NULL;
  }
}

static void tell_parse_error(struct reader *reader, const json_error_t *error) {
  const char *why = refusal_of_json(error);
  const char *near = strstr(error->text, "near ");
  if (why)
    problem_set(reader, NULL, "column %d: %s%s%s", error->column, why, near ? ", " : "",
                near ? near : "");
  else
    problem_set(reader, NULL, "column %d: not valid JSON: %s", error->column, error->text);
}

ProtobufCMessage *json_message_read(const ProtobufCMessageDescriptor *type, char *text, size_t len,
                                    struct json_problem *problem) {
  struct reader reader = {.problem = problem, .event_data = NULL};
  json_error_t error;
  ProtobufCMessage *message = NULL;
  if (!cut_out_event_data(&reader, text, len))
    return NULL;
  json_t *object = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
  if (object)
    message = read_object(&reader, type, object);
  else
    tell_parse_error(&reader, &error);
  json_decref(object);
  free(reader.event_data);
  return message;
}
