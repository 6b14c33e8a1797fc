/*
 * pem_file: why a file of a certificate or key is no use, in the words of whoever made it. OpenSSL
 * says "PEM lib" of all of these.
 */
#pragma once

#include <stdbool.h>

enum pem_wanted { PEM_CERTIFICATE, PEM_PRIVATE_KEY };

#define PEM_REASON_SIZE 192

/* Puts down what is wrong and what to do, such as "is empty" or "needs a passphrase, ...". Threads
 * may use it. False: it can be read and looks like what is wanted, so the reason is another. */
bool pem_file_explain(const char *path, enum pem_wanted wanted, char ret_reason[PEM_REASON_SIZE]);
