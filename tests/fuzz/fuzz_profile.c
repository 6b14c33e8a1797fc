/*
 * The user's settings file: any bytes are profiles or problems, and what is read is what a file may
 * say.
 */
#include "fuzz/fuzz.h"
#include "profiles.h"

#include <stdlib.h>
#include <string.h>

static void check_profile(const struct profile *profile) {
  fuzz_require(profile->name[0] && profile->line > 0, "a profile has a name and a line");
  for (int id = 0; id < SETTING_COUNT; id++) {
    const char *value = profile->values[id];
    if (!value)
      continue;
    fuzz_require(profile->lines[id] > 0, "a value has a line");
    fuzz_require(!setting_check((enum setting_id)id, value), "a value is one that is allowed");
    fuzz_require(setting_rows[id].kind != SETTING_IS_FILE || value[0] == '/', "a path is absolute");
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct profiles profiles;
  char *text = NULL;
  size_t len = 0;
  FILE *in = fmemopen((void *)data, size, "rb");
  FILE *problems = open_memstream(&text, &len);
  if (!in || !problems)
    abort();
  int count = profiles_read(&profiles, in, "/etc/config.yaml", "/home/alice", problems);
  fclose(in);
  fclose(problems);
  int lines = 0;
  for (size_t i = 0; i < len; i++)
    lines += text[i] == '\n';
  fuzz_require(lines == count, "each problem is one line");
  for (size_t i = 0; i < profiles.count; i++)
    check_profile(&profiles.items[i]);
  fuzz_require(count || !profiles.default_name || profiles_find(&profiles, profiles.default_name),
               "the default profile exists");
  profiles_deinit(&profiles);
  free(text);
  return 0;
}
