#include "restored_event.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#define LISTED_MAX 100

/* NULL: it wasn't found. Both lists ascend: *index is where the search goes on. */
static const struct ledger_known *find(const struct restored_heads *heads, int64_t ledger_id,
                                       int *index) {
  while (*index < heads->found_count && heads->found[*index].ledger_id < ledger_id)
    ++*index;
  bool is_there = *index < heads->found_count && heads->found[*index].ledger_id == ledger_id;
  return is_there ? &heads->found[*index] : NULL;
}

static bool is_behind(const struct ledger_known *remembered, const struct ledger_known *found) {
  if (!found || found->head.size < remembered->head.size)
    return true;
  return found->head.size == remembered->head.size &&
         memcmp(&found->head.root, &remembered->head.root, sizeof(found->head.root)) != 0;
}

int restored_event_count_behind(const struct restored_heads *heads) {
  int count = 0;
  int index = 0;
  for (int i = 0; i < heads->remembered_count; i++) {
    const struct ledger_known *known = &heads->remembered[i];
    count += is_behind(known, find(heads, known->ledger_id, &index));
  }
  return count;
}

static bool append_ledger(struct buf *out, const struct ledger_known *remembered,
                          const struct ledger_known *found) {
  char root[MERKLE_TEXT_SIZE];
  merkle_hash_print(&remembered->head.root, root);
  bool ok = buf_append_format(out,
                              "{\"ledger_id\":%" PRId64 ",\"remembered_size\":%" PRId64
                              ",\"remembered_root\":\"%s\",\"found_size\":",
                              remembered->ledger_id, remembered->head.size, root);
  return ok && (found ? buf_append_format(out, "%" PRId64 "}", found->head.size)
                      : buf_append_str(out, "null}"));
}

static bool append_behind(struct buf *out, const struct restored_heads *heads) {
  bool ok = true;
  int listed = 0;
  int index = 0;
  for (int i = 0; ok && i < heads->remembered_count && listed < LISTED_MAX; i++) {
    const struct ledger_known *known = &heads->remembered[i];
    const struct ledger_known *found = find(heads, known->ledger_id, &index);
    if (!is_behind(known, found))
      continue;
    ok = (listed++ == 0 || buf_append_str(out, ",")) && append_ledger(out, known, found);
  }
  return ok;
}

void restored_event_append(struct buf *out, const struct store_restored *restored,
                           const struct restored_heads *heads) {
  bool ok = buf_append_format(
                out,
                "{\"old_epoch\":%" PRId32 ",\"epoch\":%" PRId32 ",\"ledgers_closed\":%" PRId64
                ",\"ledgers_found\":%d"
                ",\"ledgers_remembered\":%d,\"ledgers_behind\":%d,\"behind\":[",
                restored->old_epoch, restored->epoch, restored->closed, heads->found_count,
                heads->remembered_count, restored_event_count_behind(heads)) &&
            append_behind(out, heads) && buf_append_str(out, "]}");
  assert(ok);
  (void)ok;
}
