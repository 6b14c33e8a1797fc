/*
 * passphrase: OpenSSL's callback for keys that are encrypted. Asked for a passphrase, OpenSSL would
 * turn to the terminal; ours says that there is none, and reading the key fails.
 */
#pragma once

static inline int no_passphrase(char *text, int size, int is_writing, void *arg) {
  (void)text;
  (void)size;
  (void)is_writing;
  (void)arg;
  return -1;
}
