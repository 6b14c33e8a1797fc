/*
 * fields: one thing shown as lines of a name and a value. What is absent or empty has no line.
 */
#pragma once

#include "auditstore/auditstore.h"

#include <stdint.h>

void fields_print_text(const char *name, const char *text);
void fields_print_number(const char *name, int64_t number); /* 0 as well */
void fields_print_time(const char *name, const Google__Protobuf__Timestamp *time);
void fields_print_duration(const char *name, const Google__Protobuf__Duration *duration);
