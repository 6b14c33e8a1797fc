/*
 * output: the end of what a program prints on its standard output.
 */
#pragma once

/* Flushes standard output. 0: all that was printed reached its file. -1: it didn't, and "PROGRAM:
 * can't write to standard output: why" was said on standard error. `failure` is the errno of an
 * earlier flush that failed, which stdio doesn't keep; 0: none is known.
 *
 * Doesn't return when the output's reader has gone, as in `auditstore list | head`: then the
 * process ends without a word by SIGPIPE, as other programs do, also where that signal is ignored.
 */
int output_finish(const char *program, int failure);
