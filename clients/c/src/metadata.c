#include "metadata.h"
#include "internal.h"

#include <stdlib.h>
#include <string.h>

static bool is_printable(struct str value) {
  for (size_t i = 0; i < value.len; i++)
    if (value.data[i] < 0x20 || value.data[i] > 0x7e)
      return false;
  return true;
}

static bool is_binary_key(struct str key) {
  return key.len > 4 && memcmp(key.data + key.len - 4, "-bin", 4) == 0;
}

/* Whether it all could be sent, apart from its size. */
static const struct auditstore_metadata *find_bad(const struct auditstore_metadata *from,
                                                  size_t count) {
  for (size_t i = 0; i < count; i++) {
    struct str key = str_z(from[i].key ? from[i].key : "");
    struct str value = str_of(from[i].value, from[i].value_len);
    if (!grpc_metadata_key_is_valid(key) || (!is_binary_key(key) && !is_printable(value)))
      return &from[i];
  }
  return NULL;
}

/* As much as it may take, at once: growing would leave copies behind that nobody wipes. */
static bool reserve(struct metadata *m, const struct auditstore_metadata *from, size_t count) {
  size_t bytes = 0;
  for (size_t i = 0; i < count && bytes < MAX_METADATA_BYTES; i++)
    bytes += strlen(from[i].key) + from[i].value_len / 3 * 4 + 4;
  return buf_reserve(&m->bytes, bytes < MAX_METADATA_BYTES ? bytes : MAX_METADATA_BYTES) != NULL;
}

static bool add(struct metadata *m, const struct auditstore_metadata *from) {
  struct str key = str_z(from->key);
  struct str value = str_of(from->value, from->value_len);
  if (!buf_append(&m->bytes, key.data, key.len))
    return false;
  size_t before = buf_len(&m->bytes);
  bool ok = is_binary_key(key) ? grpc_base64_encode(value, &m->bytes)
                               : buf_append(&m->bytes, value.data, value.len);
  m->entries[m->count++] = (struct metadata_entry){key.len, buf_len(&m->bytes) - before};
  return ok;
}

bool metadata_init(struct metadata *m, const struct auditstore_metadata *from, size_t count,
                   struct auditstore_status *status) {
  *m = (struct metadata){0};
  if (count == 0)
    return true;
  const struct auditstore_metadata *bad = count <= MAX_METADATA ? find_bad(from, count) : NULL;
  if (bad || count > MAX_METADATA) {
    status_set(status, AUDITSTORE_INVALID_ARGUMENT,
               "metadata%s%.100s%s: keys are [0-9a-z_.-]+ without reserved names, values printable "
               "ASCII, at most %d of them",
               bad ? " \"" : "", bad && bad->key ? bad->key : "", bad ? "\"" : "", MAX_METADATA);
    return false;
  }
  buf_init(&m->bytes, MAX_METADATA_BYTES);
  m->entries = calloc(count, sizeof(*m->entries));
  bool ok = m->entries && reserve(m, from, count);
  for (size_t i = 0; ok && i < count; i++)
    ok = add(m, &from[i]);
  if (ok)
    return true;
  status_set(status, m->entries ? AUDITSTORE_INVALID_ARGUMENT : AUDITSTORE_RESOURCE_EXHAUSTED,
             m->entries ? "metadata: more than %zu bytes" : "out of memory", MAX_METADATA_BYTES);
  metadata_deinit(m);
  return false;
}

void metadata_deinit(struct metadata *m) {
  if (m->bytes.data)
    explicit_bzero(m->bytes.data, m->bytes.cap);
  buf_deinit(&m->bytes);
  free(m->entries);
  *m = (struct metadata){0};
}
