/*
 * secret_file: whether a file that somebody relies on (a key, a password, a list of tokens) is only
 * its reader's to change, and nobody else's to read.
 *
 * It should belong to the reader or to root, be written by its owner alone and be read by no others
 * than owner and group; and nobody else should be able to put another file in its place. Symbolic
 * links are followed: it is the file that counts, and both the folder of the name and its own.
 */
#pragma once

enum secret_risk_level {
  SECRET_RISK_NONE,
  SECRET_RISK_EXPOSED,     /* others may read or change it */
  SECRET_RISK_REPLACEABLE, /* others may put another in its place */
  SECRET_RISK_FOREIGN,     /* it is another user's */
};

/* Both texts are static: WHO "FILE": MEND. NULL without a risk. */
struct secret_risk {
  enum secret_risk_level level;
  const char *who;  /* "everybody may read or change" */
  const char *mend; /* "chmod o= it" */
};

/* The worst. `fd` is what was opened by the name `path`: a file, or a folder that holds secrets. A
 * file that can't be looked at is foreign. */
struct secret_risk secret_file_judge(const char *path, int fd);
