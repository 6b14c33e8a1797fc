/*
 * new_token: auditstored token NAME.
 */
#pragma once

/* Makes a bearer token of 256 random bits. Prints it on a line, and on the next what
 * access.token_file has to hold of it. Returns the exit code. */
int new_token(const char *name);
