/*
 * segment: the files of a spool that hold records.
 */
#pragma once

#include "spool.h"

/* Makes the file of the next segment, which starts when `previous_end` of the one before counts,
 * and syncs it and the folder. Appends to s->segments and fills s->fd. */
enum auditstore_code segment_create(struct spool *s, struct auditstore_status *status);

/* Reads the folder's segments from s->acknowledged on, checks them, counts their events and cuts
 * the last one. Deletes those before. */
enum auditstore_code segments_load(struct spool *s, struct auditstore_status *status);

/* Unlinks the first one's file and forgets it. */
void segment_delete_first(struct spool *s);
