/*
 * dev_certs: `auditstored dev-certs DIR [NAME...]`: certificates for trying TLS out: an
 * authority's, a server's and a client's, each with its key, in a folder.
 */
#pragma once

/* Makes the folder unless it is there, and six files in it, of which none may be there yet; says on
 * standard output what it made and how to use it. The server's certificate is for localhost, the
 * loopback addresses, this machine's name, and `names`, host names and addresses. Returns the exit
 * code. */
int dev_certs(const char *folder, char *const *names, int name_count);

#define DEV_CERTS_MAX_NAMES 32
