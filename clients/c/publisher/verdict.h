/*
 * verdict: what a code of the store means for the events that it was said about.
 *
 * The same code weighs differently by where it stands. About one event of a batch it is about that
 * event; about a whole batch it may be about the store; and a stream may be ended by whatever
 * stands in between.
 */
#pragma once

enum verdict {
  VERDICT_WAITS,  /* time mends it, or an operator: sent again until it is taken */
  VERDICT_FINAL,  /* the same event will never be taken */
  VERDICT_FAILED, /* the store failed at it, now or each time: sent again a few times, alone */
};

/* `code` is an enum auditstore_code as it came, or any other number. */
enum verdict verdict_of_event(int code);  /* of a RejectedEvent */
enum verdict verdict_of_batch(int code);  /* of an answer's status */
enum verdict verdict_of_stream(int code); /* with which it ended, with one batch unanswered */
