/*
 * generate: from protoc's request to the answer it expects. No I/O.
 */
#pragma once

#include "google/protobuf/compiler/plugin.pb-c.h"

/* Always gives an answer: what is wrong with the parameter or a .proto file stands in its `error`.
 * Freed with google__protobuf__compiler__code_generator_response__free_unpacked(). */
Google__Protobuf__Compiler__CodeGeneratorResponse *
generate(const Google__Protobuf__Compiler__CodeGeneratorRequest *request);
