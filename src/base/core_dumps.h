/*
 * core_dumps: whether a crash leaves a picture of the process's memory, with its keys.
 */
#pragma once

/* Of a program whose developer wants to look into it: no core by the limit alone. Debuggers still
 * attach, and what the system pipes cores to may keep one all the same. */
void core_dumps_limit(void);

/* Of a process with the keys of a service: none by any way; others of the same user can neither
 * attach nor read its memory, and its files in /proc are root's. */
void core_dumps_forbid(void);
