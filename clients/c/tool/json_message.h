/*
 * json_message: the API's messages as JSON, in both directions, by their descriptors: a field that
 * is added to proto/ needs no change here.
 *
 * The shape is that of proto3's JSON with the names of the .proto files (lowerCamelCase is read as
 * well), with these differences: 64-bit integers are written as numbers; and event_data, which the
 * store keeps byte for byte, is the object in place. It is read from a string that holds the
 * object's text as well.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct json_problem {
  char field[128]; /* path such as "actor.id"; empty: the whole text */
  char text[256];
};

/* Reads the JSON object in `text` (len bytes and a NUL; it is changed) into a new message, to be
 * freed with protobuf_c_message_free_unpacked(). NULL: `problem` says what is wrong. */
ProtobufCMessage *json_message_read(const ProtobufCMessageDescriptor *type, char *text, size_t len,
                                    struct json_problem *problem);

/* Who reads what is written. */
enum json_reader { JSON_FOR_PROGRAM, JSON_FOR_TERMINAL };
enum json_reader json_reader_of(int fd);

/* Writes the message as one line without a line break. Fields at their default are left out.
 *
 * event_data is written byte for byte, but for line breaks, which can stand between its tokens
 * alone and become blanks. For a terminal, what could act on it or reorder what is read is \uXXXX
 * in event_data too, and tabs become blanks: other bytes, the same value. */
void json_message_write(FILE *out, const ProtobufCMessage *message, enum json_reader reader);

/* A JSON string, quotes included; what must not reach a terminal is written as \uXXXX. */
void json_write_string(FILE *out, const char *text);

/* "OUTCOME_SUCCESS" or "SUCCESS", in any case, to its number. */
bool json_enum_parse(const ProtobufCEnumDescriptor *type, const char *name, int *ret_value);

/* The name without the prefix its type has in common: "SUCCESS". NULL: no such number. */
const char *json_enum_short_name(const ProtobufCEnumDescriptor *type, int value);
