/*
 * reason: why something failed, as a text of bounded length.
 */
#pragma once

#define REASON_BYTES 1024

struct reason {
  char text[REASON_BYTES]; /* "": nothing failed */
};

void reason_set(struct reason *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Adds one more, behind "; ". What has no room is left out whole, and "..." says so. */
void reason_add(struct reason *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* strerror(3) that threads may use. */
#define ERRNO_TEXT_BYTES 128
const char *errno_text(int error, char room[ERRNO_TEXT_BYTES]);
