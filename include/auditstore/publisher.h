/*
 * publisher: events in, by one call; it batches, sends, resends, and says what became of each.
 *
 *   struct auditstore_publisher *publisher = auditstore_publisher_new(channel, NULL, NULL);
 *   auditstore_publisher_publish(publisher, &event, 1, NULL);
 *   ...
 *   uint64_t lost = auditstore_publisher_close(publisher, 10000);
 *   auditstore_publisher_free(publisher);
 *
 * Words. taken: publish said OK, the publisher has the event. settled: the store acknowledged the
 * event, or refused it for good. unconfirmed: taken and not settled yet. refused: not taken.
 * spool: a folder in which events wait on disk.
 *
 * What holds. An event that was taken is sent until it is settled; nothing is ever dropped because
 * of retries. Each event carries an id and a time from the moment it is taken, so sending it again
 * stores it once. Events are sent in the order in which they were taken, several batches at once,
 * on one stream. Without a spool, what is unconfirmed when the program ends is lost; with one, what
 * publish called OK survives kill -9 and power loss, and is sent by the next publisher on that
 * folder, before anything new.
 *
 * For good means that the same event will never be taken:
 *   INVALID_ARGUMENT, ALREADY_EXISTS, OUT_OF_RANGE, and FAILED_PRECONDITION said of this event;
 *   INTERNAL, UNKNOWN, DATA_LOSS, and FAILED_PRECONDITION said of more than one event: when it was
 *     sent alone and met with that max_internal_tries times;
 *   RESOURCE_EXHAUSTED without advice when to come back, for an event above 64 KiB that ends five
 *     streams in a row, alone on each, since a store that finds a message too large says no more.
 * A batch that is refused so is halved until each bad event is alone, and its neighbours are sent;
 * one bad event holds up nothing else. All else is waited out, UNAUTHENTICATED and
 * PERMISSION_DENIED too, since an operator can mend them; the counters tell what it waits for.
 *
 * Threads. All calls may be made from any thread. Unlike the rest of the library, a publisher has a
 * thread of its own, with all signals blocked, which does the sending and runs the callback. After
 * fork() the child has no such thread: it may not use the publisher, nor free it.
 */
#ifndef AUDITSTORE_PUBLISHER_H
#define AUDITSTORE_PUBLISHER_H

#include "auditstore/channel.h"
#include "auditstore/export.h"
#include "auditstore/status.h"
#include "auditstore/v1/event.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct auditstore_publisher;

/* What OK from publish means. */
enum auditstore_publish_mode {
  /* Taken: in memory, or in the spool. For programs that audit beside their work. */
  AUDITSTORE_PUBLISH_QUEUED = 0,
  /* Safe: acknowledged by the store, or on the spool's disk. publish waits for it up to timeout_ms
   * and says otherwise what is wrong, so that the program can fail what it was about to do. */
  AUDITSTORE_PUBLISH_FAIL_CLOSED = 1,
  /* Go on: publish always returns OK and never waits, for room, the store or fsync (with a spool it
   * makes one write(2); it does wait for an fsync when it begins a new file, every 8 MiB, and when
   * the spool is full and what is settled makes room). What it can't
   * take is counted as refused and told to on_result. */
  AUDITSTORE_PUBLISH_FAIL_OPEN = 2
};

/* What publish does when there is no room. */
enum auditstore_full_policy {
  AUDITSTORE_FULL_DEFAULT = 0, /* BLOCK; in FAIL_OPEN REFUSE */
  AUDITSTORE_FULL_BLOCK = 1, /* waits up to timeout_ms, then RESOURCE_EXHAUSTED. Not in FAIL_OPEN */
  AUDITSTORE_FULL_REFUSE = 2, /* RESOURCE_EXHAUSTED at once */
  /* Events go to memory while there is room, and to the spool when there is none or something
   * waits there already; when that is full, RESOURCE_EXHAUSTED at once. Needs spool_dir; not in
   * FAIL_CLOSED. */
  AUDITSTORE_FULL_SPILL = 3
};

/* What became of one event. Valid during the callback. */
struct auditstore_publish_result {
  uint64_t tag;              /* the caller's; 0 when it gave none */
  const char *event_id;      /* UUID text; "" for a refused event without a good one */
  bool was_taken;            /* false: refused by publish, in FAIL_OPEN */
  enum auditstore_code code; /* OK: acknowledged, and the rest says where it is */
  const char *message;       /* why not; "" when OK */
  int64_t ledger_id;
  int64_t sequence;
  int64_t committed_us; /* microseconds since 1970 */
  bool duplicate;       /* it was in the store already */
};

/* Runs once for each event that is settled, on the publisher's thread (after a crash again for some
 * of those before it); and in FAIL_OPEN for each refused one, on the thread that called publish. No
 * lock is held. On the publisher's thread publish never waits: it refuses what it has no room for,
 * and in FAIL_CLOSED anything. Not to be called there: flush, close, free. */
typedef void auditstore_result_cb(void *arg, const struct auditstore_publish_result *result);

/* Zeroed is fine: each field then has its default. Texts are copied. */
struct auditstore_publisher_options {
  enum auditstore_publish_mode mode;
  enum auditstore_full_policy when_full;
  int timeout_ms; /* the longest that one publish waits; 0: 30000 */

  /* Of all that is unconfirmed in memory. Content is counted; memory is up to twice that. */
  size_t max_queue_events; /* 0: 10000 */
  size_t max_queue_bytes;  /* 0: 16 MiB */

  /* One batch is what waited since the last one was sent, up to this. When the store finds one too
   * large, it is halved, and so are those to come. */
  size_t max_batch_events; /* 0: 500; 1 to 10000. The store's ingest.max_request_events is 1000 */
  size_t max_batch_bytes;  /* 0: 1 MiB; 1 KiB to 64 MiB. No event may be larger, but one that
                              the spool holds from before. The store's
                              server.max_message_bytes is 4 MiB */
  int max_in_flight;       /* batches sent and not answered; 0: 8; 1 to 64. 1 keeps the order also
                              when the store refuses a batch for the time being */
  int answer_timeout_ms;   /* a batch unanswered for so long: the stream is given up, and all is
                              sent again on a new one; 0: 60000 */
  /* After so many INTERNAL and the like an event that was sent alone is refused for good. By
   * default that takes 1.5 s. A further one, while the store takes nothing in between, is tried for
   * 3 s at least, the next for 6 s, up to 25 min: it may be the store that is broken. 0: 5;
   * negative: never, then such an event holds up all others. */
  int max_internal_tries;

  /* Folder of the spool, made with mode 0700 when it isn't there; of one publisher at a time. With
   * it each event goes to disk before publish returns OK, unless when_full is SPILL. NULL: none. */
  const char *spool_dir;
  uint64_t spool_max_bytes; /* 0: 1 GiB; at least 128 KiB, and four batches */
  /* 0: OK comes after fsync, which threads share. Otherwise OK comes after write(2), and when the
   * machine fails, what was taken in its last so many ms may be lost; kill -9 of the program loses
   * nothing. Not in FAIL_CLOSED; in FAIL_OPEN 0 is 1000. */
  int spool_unsynced_ms;

  auditstore_result_cb *on_result; /* NULL: none */
  void *on_result_arg;
};

/* The channel is borrowed until _free; how long a lost connection is left alone is its backoff.
 * NULL: `status` (may be NULL) says why: INVALID_ARGUMENT for an option; FAILED_PRECONDITION for a
 * spool that another publisher has, or whose folder isn't private; DATA_LOSS for one that is
 * damaged where no crash could have done it, with the file and the place; RESOURCE_EXHAUSTED;
 * UNAVAILABLE for other errors of the system. */
AUDITSTORE_API struct auditstore_publisher *
auditstore_publisher_new(struct auditstore_channel *channel,
                         const struct auditstore_publisher_options *options,
                         struct auditstore_status *status);

/* Takes the event: it is copied, and the caller's at once. An empty event_id is filled with a UUID
 * of version 7, an absent event_time with now. Returns the code, also in `status` (may be NULL):
 *   INVALID_ARGUMENT     not an event that any store takes: a required field is empty, the id is no
 *                        UUID, too large for a batch. In FAIL_CLOSED also if the store refused it
 *                        for good, as ALREADY_EXISTS
 *   RESOURCE_EXHAUSTED   no room, in memory or on disk
 *   DEADLINE_EXCEEDED    FAIL_CLOSED: not safe within timeout_ms; the publisher goes on trying
 *   UNAVAILABLE          the spool's disk failed: the event isn't safe
 *   DATA_LOSS            the spool can't be read; only what is new is refused, nothing is dropped
 *   FAILED_PRECONDITION  closed, or called where it would have to wait for its own thread */
AUDITSTORE_API enum auditstore_code
auditstore_publisher_publish(struct auditstore_publisher *publisher,
                             const Auditstore__V1__AuditEvent *event, uint64_t tag,
                             struct auditstore_status *status);

/* The same for an array: all are taken or none; `tags` may be NULL. The message names events[i]. At
 * most one queue's worth. */
AUDITSTORE_API enum auditstore_code auditstore_publisher_publish_all(
    struct auditstore_publisher *publisher, const Auditstore__V1__AuditEvent *const *events,
    const uint64_t *tags, size_t count, struct auditstore_status *status);

/* Waits until all that was taken before is settled, or timeout_ms (-1: for ever). Returns how many
 * of all are unconfirmed. */
AUDITSTORE_API uint64_t auditstore_publisher_flush(struct auditstore_publisher *publisher,
                                                   int timeout_ms);

/* Takes nothing more, flushes, and ends the thread. Returns how many are unconfirmed: with a spool
 * they are in it (also those that were in memory, as far as there is room), else they are lost. A
 * second call changes nothing. */
AUDITSTORE_API uint64_t auditstore_publisher_close(struct auditstore_publisher *publisher,
                                                   int timeout_ms);

/* Closes without waiting when that wasn't done. NULL is fine. No other thread may be inside. */
AUDITSTORE_API void auditstore_publisher_free(struct auditstore_publisher *publisher);

/* Events, unless it says otherwise; since the publisher was made. */
struct auditstore_publisher_counters {
  uint64_t taken;        /* with those that the spool brought along */
  uint64_t replayed;     /* of them, brought along */
  uint64_t acknowledged; /* by the store, with duplicates */
  uint64_t duplicates;
  uint64_t rejected;     /* for good, by the store */
  uint64_t refused;      /* by publish */
  uint64_t unconfirmed;  /* taken - acknowledged - rejected */
  uint64_t queue_events; /* of them in memory */
  uint64_t queue_bytes;
  uint64_t in_flight_batches;
  int64_t oldest_unconfirmed_ms; /* since it was taken; 0: none is unconfirmed, or none read yet */

  uint64_t batches;    /* sent, each time that they were */
  uint64_t resent;     /* of them, not for the first time */
  uint64_t halved;     /* batches that the store found too large, or couldn't take as a whole */
  uint64_t reconnects; /* streams opened after the first */

  uint64_t spool_bytes; /* on disk, also acknowledged ones in segments that aren't deleted yet */
  uint64_t spool_segments;
  uint64_t spool_syncs;         /* fsync calls */
  uint64_t spool_sync_failures; /* each gave up its segment */
  uint64_t spool_cut_bytes;     /* cut off at the start: what a crash left half written */

  enum auditstore_code last_code; /* why it is waiting, or did last; OK: it never had to */
  char last_message[160];
};

/* Any thread, any time until _free. */
AUDITSTORE_API void auditstore_publisher_get_counters(struct auditstore_publisher *publisher,
                                                      struct auditstore_publisher_counters *ret);

#ifdef __cplusplus
}
#endif

#endif
