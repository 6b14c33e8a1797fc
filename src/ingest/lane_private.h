/*
 * lane_private: what the files of a lane share.
 */
#pragma once

#include "ingest/lane.h"

/*
 * One step is under way at a time; when it has ended, lane_advance() picks the next one from what
 * is known, so that any failure leads back to one place:
 *
 *   IDLE ─▶ [ENSURING] ─▶ ACQUIRING ─▶ [CLAIMING] ─▶ [LOOKING_UP] ─▶ WRITING ─▶ IDLE
 *              ▲                                                      │
 *              └────────────── PAUSING (after trouble) ◀──────────────┘
 *
 * A lane that follows another one doesn't claim: it acquires and writes, once, and whatever comes
 * of that, FOLLOWs until the leader has ended. Then the two exchange their claims, so that it has
 * the ledger that it wrote to, and it goes on as any other.
 */
enum lane_state {
  LANE_IDLE,
  LANE_ENSURING,   /* a partition is being made */
  LANE_ACQUIRING,  /* waiting for a connection */
  LANE_CLAIMING,   /* making sure of a ledger */
  LANE_LOOKING_UP, /* asking which events are stored already */
  LANE_WRITING,
  LANE_FOLLOWING, /* until the leader has ended */
  LANE_PAUSING,
  LANE_CLOSING, /* giving the ledger back */
};

struct lane {
  const struct lane_env *env; /* borrowed */
  struct claim claim;
  int64_t claimed_at_us; /* monotonic: when it was last made sure of */
  bool is_claimed;       /* as far as is known: a write tells */
  bool may_hold;         /* a ledger, of which it need not know: a claim was sent */
  struct lane *leader;   /* whose batch, which hasn't ended, this one was taken behind; or NULL */
  struct lane *follower; /* or NULL */
  struct seal seal;
  enum lane_state state;
  struct appender *appender; /* owned */
  struct pg_lease *conn;     /* leased, or NULL */
  struct pg_waiter *waiter;  /* while ACQUIRING */
  struct loop_timer pause;
  void (*given_back)(struct lane *lane); /* while CLOSING */
  loop_task_cb *closed;
  void *closed_arg;

  /* the batch in hand */
  struct batch batch;
  int group_limit;      /* requests written together: halved when data is refused */
  int item_limit;       /* events of a single request, likewise */
  bool needs_lookup;    /* some of the events may be stored already */
  bool leaves_repeats;  /* what was stored before is known: the twins left are of the batch */
  bool is_in_doubt;     /* a write may have been committed, or may be yet, to the place below */
  bool must_compare;    /* a write of this batch didn't leave what was sent */
  bool is_stale;        /* the last write was refused because of its ledger: the claim tells why */
  bool is_in_the_way;   /* of one of the ledger's rows, that is */
  bool is_refusal_told; /* in the log, which hears of one in a batch */
  bool is_ensure_forced;
  int64_t doubt_ledger_id;
  int64_t doubt_size;
  int fruitless;   /* duplicates reported, none found: in a row */
  int unexplained; /* claims in a row that couldn't tell why a write was stale */
  int suspected;   /* ledgers left alone for this batch */
  int raced;       /* claims in a row that got none */
  int unreadable;  /* claims in a row that couldn't be read */
  int trouble;     /* failures in a row, for the pause */
  uint64_t jitter;
  enum error_code outage; /* the last reason for not reaching PostgreSQL */
  int force_tries;        /* missing partitions reported by the server */
  int ensured_month;      /* while forced: the last one made */

  /* months that are known to exist lie side by side: the last one seen, as times */
  int64_t known_from_us, known_until_us;

  /* the last write */
  struct claim target; /* where it was sent: our claim, or what the leader's will be */
  bool has_turn;       /* another may be sent behind it */
  bool is_behind;      /* it was sent behind the leader's */
  bool is_ahead;       /* it is committed and our claim isn't moved yet */
  bool compares;       /* its rows are compared */
  int events_statement, compare_statement; /* in its pipeline */
  bool is_clock_told;                      /* that the clock is behind the ledger's last record */
  bool must_claim; /* the next batch begins with making sure of the ledger */

  /* the answer of the pipeline under way, not to be acted on before it has ended */
  int64_t write_started_us;
  struct claim_answer answer;
  struct append_match *matches; /* owned */
  int match_count;
  int match_cap;
  bool is_recalled; /* the ledger was, at the size that was known of it, as it was known */
  struct error read_error;
};

/* ---- lane.c ---- */

/* Picks the next step. */
void lane_advance(struct lane *lane);
void lane_pause(struct lane *lane);
void lane_acquire(struct lane *lane);
void lane_release(struct lane *lane);

/* Answers whose time is up, and sets the timer for the next. */
void lane_watch_expiry(struct lane *lane);

/* Every open request gets an answer of its own from `make`. */
typedef struct grpc_status *lane_make_answer(const void *arg);
void lane_fail_all(struct lane *lane, lane_make_answer *make, const void *arg);

/* Sends what was queued on the connection. */
void lane_run(struct lane *lane, enum lane_state state, int64_t deadline_us,
              const struct pg_pipeline_cb *cb);

/* ---- lane_trouble.c ---- */

/* Whether the pipeline did what it was sent for; if not, the next step is under way. */
bool lane_check(struct lane *lane, const struct pg_outcome *outcome);

/* The same of a write. */
bool lane_check_write(struct lane *lane, const struct pg_outcome *outcome);

/* The tables aren't as they must be: no request of the batch is stored. */
void lane_fail_altered(struct lane *lane);

/* ---- lane_follow.c ---- */

/* Whether a lane with a leader can go on: it writes once, behind what the leader is writing. */
bool lane_can_follow(const struct lane *lane);

/* Until the leader has ended, or the first request's time is up. */
void lane_wait(struct lane *lane);

/* The ledger is what the last write has made it, if our claim is where that was sent. */
void lane_move(struct lane *lane);

/* An ended lane hands its claim to its follower. */
void lane_hand_over(struct lane *lane);

/* ---- lane_claim.c ---- */

void lane_claim(struct lane *lane);

/* Leaves what is ours and can't be read, and claims another. */
void lane_abandon(struct lane *lane);

/* The claimed ledger is the one that the write in doubt was sent to, and hasn't moved. */
bool lane_is_where_doubt_began(const struct lane *lane);

/* Gives the ledger back, if it has one and there is a connection to be had soon; then `done`. */
void lane_give_back(struct lane *lane, void done(struct lane *lane));

/* ---- lane_months.c ---- */

/* The earliest month of the open requests that has to be made. */
bool lane_missing_month(struct lane *lane, int *ret_month);
void lane_ensure(struct lane *lane, int month);
