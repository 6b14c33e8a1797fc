/*
 * socket: the few calls on a socket that libpq has let go of, so that the server's end of a close
 * can be waited for. None blocks. Loop thread only.
 */
#pragma once

#include <stdbool.h>

/* A second descriptor of the same socket, or -1. */
int pg_socket_copy(int fd);

/* Tells the peer that nothing more comes. */
void pg_socket_half_close(int fd);

/* Throws away what has arrived; true when the peer has closed, or the socket is broken. */
bool pg_socket_is_over(int fd);

void pg_socket_close(int fd);
