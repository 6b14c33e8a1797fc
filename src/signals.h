/*
 * signals: what becomes of each signal, from main()'s first instruction to the last.
 *
 *   signals_begin()     HUP, TERM and INT wait; those that would only kill are ignored
 *     signals_as_usual()      a command that ends by itself: TERM and INT end it
 *     signals_end_with(0)     a daemon that serves nobody yet: TERM and INT end it cleanly
 *       signals_for_loop()      the loop has its handlers: it gets also what came before
 *       signals_begin(), signals_end_with(code)     and has them no more
 *
 * Whatever a parent ignored or blocked, TERM, INT and HUP mean to the daemon what they always mean.
 * QUIT, which asks for a core, and those that stop a process keep their meaning. Threads:
 * signals_begin() is called before there are others, and those of libuv take no signals at all.
 */
#pragma once

#include <uv.h>

/* USR1, USR2, ALRM, PIPE and their kind do nothing from here on. */
void signals_begin(void);

/* Until the process ends. HUP goes on waiting: there is nothing that it could mean. */
void signals_as_usual(void);

/* TERM and INT end the process at once with `exit_code`: nothing is left to be finished. */
void signals_end_with(int exit_code);

void signals_for_loop(void);

/* Starts libuv's threads with all signals blocked. */
void signals_keep_from_threads(uv_loop_t *uv);
