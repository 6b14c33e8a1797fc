/*
 * app: wires the parts into the daemon and owns them all. Start and drain read top to bottom.
 */
#pragma once

#include "config/config.h"

/* Runs the daemon until SIGTERM or SIGINT. Returns the process's exit code: 0 a clean stop; 1 it
 * couldn't start, or a second signal or the shutdown deadline cut it short; 2 its settings
 * contradict the database. SIGHUP reads `input` again and changes *config in place. */
int app_run(struct config *config, const struct config_input *input);

/* Applies the missing migrations and returns the exit code: 0 done, 1 not. */
int app_migrate(struct config *config);
