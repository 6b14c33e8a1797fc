/*
 * The check of event_data, beside jansson: what jansson takes as an object that isn't nested too
 * deep is taken, and what is taken jansson takes too, but for numbers that it has no type for.
 */
#include "fuzz/fuzz.h"
#include "ingest/json.h"
#include "ledger/event.h"

#include <jansson.h>
#include <string.h>

static int depth_of(const json_t *value) {
  int deepest = 0;
  const char *key = NULL;
  json_t *member = NULL;
  size_t index = 0;
  json_object_foreach((json_t *)value, key, member) {
    int depth = depth_of(member);
    deepest = depth > deepest ? depth : deepest;
  }
  json_array_foreach(value, index, member) {
    int depth = depth_of(member);
    deepest = depth > deepest ? depth : deepest;
  }
  return deepest + (json_is_object(value) || json_is_array(value));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct json_problem problem = {.offset = 0};
  json_error_t error;
  bool is_taken = json_check_object(str_of(data, size), EVENT_DATA_MAX_DEPTH, &problem);
  json_t *value = json_loadb((const char *)data, size, 0, &error);
  /* jansson overlooks a NUL behind a number. */
  bool has_nul = size > 0 && memchr(data, '\0', size);
  bool is_object = json_is_object(value) && depth_of(value) <= EVENT_DATA_MAX_DEPTH;
  fuzz_require(is_taken || !is_object || has_nul, "an object that jansson takes is taken");
  fuzz_require(!is_taken || is_object ||
                   (!value && json_error_code(&error) == json_error_numeric_overflow),
               "what is taken is an object");
  fuzz_require(is_taken || problem.offset <= size, "the fault lies in the text");
  bool is_deep = !is_taken && problem.fault == JSON_TOO_DEEP;
  fuzz_require(!is_deep || problem.depth > EVENT_DATA_MAX_DEPTH, "what is too deep is measured");
  /* jansson keeps the last of members with the same name. */
  fuzz_require(!is_deep || !json_is_object(value) || problem.depth >= depth_of(value),
               "the depth is that of the object");
  json_decref(value);
  return 0;
}
