#include "grpc/metadata.h"

#include "grpc/wire.h"

bool grpc_metadata_add(struct grpc_metadata *m, struct str key, struct str value) {
  const uint32_t lengths[2] = {(uint32_t)key.len, (uint32_t)value.len};
  uint8_t *p = key.len <= GRPC_METADATA_MAX_BYTES && value.len <= GRPC_METADATA_MAX_BYTES
                   ? buf_reserve(&m->fields, sizeof(lengths) + key.len + value.len)
                   : NULL;
  if (!p)
    return false;
  memcpy(p, lengths, sizeof(lengths));
  memcpy(p + sizeof(lengths), key.data, key.len);
  if (value.data)
    memcpy(p + sizeof(lengths) + key.len, value.data, value.len);
  buf_commit(&m->fields, sizeof(lengths) + key.len + value.len);
  m->count++;
  return true;
}

bool grpc_metadata_next(const struct grpc_metadata *m, size_t *offset, struct str *ret_key,
                        struct str *ret_value) {
  uint32_t lengths[2];
  if (*offset == buf_len(&m->fields))
    return false;
  const uint8_t *p = buf_bytes(&m->fields) + *offset;
  memcpy(lengths, p, sizeof(lengths));
  *ret_key = str_of(p + sizeof(lengths), lengths[0]);
  *ret_value = str_of(p + sizeof(lengths) + lengths[0], lengths[1]);
  *offset += sizeof(lengths) + lengths[0] + lengths[1];
  return true;
}

void grpc_metadata_deinit(struct grpc_metadata *m) {
  buf_deinit(&m->fields);
  m->count = 0;
}

/* ---- binary values ---- */

static bool is_binary(struct str key) {
  return key.len > 4 && memcmp(key.data + key.len - 4, "-bin", 4) == 0;
}

static bool take_binary(struct grpc_metadata *m, struct str key, struct str text) {
  struct buf bytes;
  buf_init(&bytes, GRPC_METADATA_MAX_BYTES);
  bool ok = grpc_base64_decode(text, &bytes) &&
            grpc_metadata_add(m, key, str_of(buf_bytes(&bytes), buf_len(&bytes)));
  buf_deinit(&bytes);
  return ok;
}

bool grpc_metadata_take(struct grpc_metadata *m, struct str key, struct str value) {
  if (!is_binary(key))
    return grpc_metadata_add(m, key, str_trim(value));
  do {
    if (!take_binary(m, key, str_trim(str_cut(&value, ','))))
      return false;
  } while (value.len > 0);
  return true;
}

/* ---- sending ---- */

static bool is_printable(struct str value) {
  for (size_t i = 0; i < value.len; i++) {
    if (value.data[i] < 0x20 || value.data[i] > 0x7E)
      return false;
  }
  return true;
}

static bool put_binary(struct grpc_metadata *m, struct str key, struct str bytes) {
  struct buf text;
  buf_init(&text, GRPC_METADATA_MAX_BYTES);
  bool ok = grpc_base64_encode(bytes, &text) &&
            grpc_metadata_add(m, key, str_of(buf_bytes(&text), buf_len(&text)));
  buf_deinit(&text);
  return ok;
}

bool grpc_metadata_put(struct grpc_metadata *m, struct str key, struct str value) {
  if (!grpc_metadata_key_is_valid(key))
    return false;
  if (is_binary(key))
    return put_binary(m, key, value);
  return is_printable(value) && grpc_metadata_add(m, key, value);
}
