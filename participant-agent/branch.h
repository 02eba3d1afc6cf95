/* One branch as its agent sees it: the participant's half of presumed abort, pure.
 *
 * branch_step(state, event) -> actions. No I/O, no clock, no allocation, no logging: agent.c feeds
 * events and carries out actions. Strings (gid, xid, server) stay with the driver; the core knows
 * only whether an xid was told and whether the one found is that one.
 *
 *   NONE --run--> RUNNING --ran open--> ACTIVE --run--> RUNNING          (KEEP_OPEN)
 *                 PREPARING --ran prepared--> PREPARED --commit--> COMMITTING --> COMMITTED
 *                    |  '--ran read-only--> READ_ONLY      '--abort--> ABORTING --> ABORTED
 *                    |  '--ran unknown--> ENDING_SESSION --> LOOKING_UP --prepared--> PREPARED
 *                    |       (unwanted: as unknown, and closed: what is found prepared is rolled back)
 *                    '--ran failed--> ABORTED                          '--absent--> ABORTED
 *                 RUNNING --ran open (READY)--> FLUSHING --flushed--> READY
 *                                                  '--not flushed--> ABORTING --> ABORTED
 *                 READY --one phase--> COMMITTING_ONE --> COMMITTED
 *                                          '--lost--> ENDING_SESSION --> VERIFYING
 *   COMMITTING --no answer--> PREPARED --commit--> ENDING_SESSION --> LOOKING_UP
 *   NONE --commit--> LOOKING_UP --prepared, same xid--> COMMITTING
 *                        '--absent--> VERIFYING --> COMMITTED | ABORTED | NONE (ask again)
 *   NONE --abort--> ABORTING (ROLLBACK PREPARED) --> ABORTED (the tombstone)
 *   NONE --one phase--> VERIFYING
 *   NONE --later run, no statements, prepare--> LOOKING_UP --prepared--> PREPARED (a yes)
 *   NONE, COMMITTED, ABORTED, READ_ONLY --listed--> PREPARED (the database has it: a stray, or a
 *                                                  failover brought it back)
 *
 * A question that stays without an answer leaves the branch where the same question can be asked
 * again: in PREPARED or NONE where that is the truth, else `stalled` in ENDING_SESSION, LOOKING_UP
 * or VERIFYING, with nothing under way. A branch whose session could not be ended is never taken as
 * absent, and one that ran in this life is not run again.
 *
 * Invariants
 *  1. One thing at a time: at most one database action of a branch is under way.
 *  2. COMMIT PREPARED is sent only for the prepared transaction whose xid was voted: in PREPARED,
 * or after a look-up that found that xid. A second prepared transaction under the same gid (a
 * repeated request that outlived its tombstone; an application's second PREPARE) is never committed.
 * It goes out again only when nobody else can be at it still: a COMMIT PREPARED without an answer may
 * be done later, and free the gid; so its session is ended, and the gid looked up, before the next.
 * ROLLBACK PREPARED needs no such care: nothing under the gid is to stay.
 *  3. A yes is told only in PREPARED, after the PREPARE's own tag or a look-up with a barrier; a
 * listing is not enough, since it shows what still waits for a replica. "Not found" is never
 * success: it leads to VERIFYING, or, for an abort of a branch whose xid nobody knows, to ABORTED
 * (nobody can have committed it by protocol).
 *     So is a ready: only when a WAL record of the branch's own transaction is durable, as far as
 * synchronous_commit makes it. Of an xid without one the database knows nothing after a crash: it
 * hands the number out again, and the end of that other transaction would be told as this branch's.
 *  4. After ABORTED, COMMITTED or READ_ONLY no run is accepted; nor after an abort was asked for, the
 * epoch was fenced, or a decision found that nobody can say how the branch ended (`closed`; also in
 * NONE: a late copy of a run would lock again what the outcome has left).
 *  5. Of several requests waiting for an answer each gets one.
 */
#ifndef ASSENT_PARTICIPANT_AGENT_BRANCH_H
#define ASSENT_PARTICIPANT_AGENT_BRANCH_H

#include <stdbool.h>
#include <stddef.h>

#include "adapters/adapter.h" /* the answers' enums; no calls */
#include "common/message.h"

enum branch_state {
  BRANCH_NONE,      /* nothing known in this life of the agent, but perhaps that it is closed */
  BRANCH_RUNNING,   /* statements under way, no PREPARE behind them */
  BRANCH_ACTIVE,    /* in transaction, waiting for the next request */
  BRANCH_FLUSHING,  /* in transaction, everything ran: a barrier makes the xid durable */
  BRANCH_READY,     /* in transaction, xid durable and told: waiting for one-phase commit */
  BRANCH_PREPARING, /* statements and PREPARE TRANSACTION under way */
  BRANCH_ENDING_SESSION, /* an answer was lost: its backend is being ended, so that it can act no
                            more */
  BRANCH_LOOKING_UP,     /* is the gid prepared? */
  BRANCH_PREPARED,       /* durable in the database; in doubt until decided */
  BRANCH_COMMITTING,     /* COMMIT PREPARED under way */
  BRANCH_COMMITTING_ONE, /* COMMIT under way */
  BRANCH_ABORTING,       /* ROLLBACK or ROLLBACK PREPARED under way */
  BRANCH_VERIFYING,      /* pg_xact_status under way */
  BRANCH_COMMITTED,
  BRANCH_ABORTED, /* and tombstone */
  BRANCH_READ_ONLY,
  BRANCH_STATE_COUNT
};
const char *branch_state_name(enum branch_state state);

/* Eight bytes: of twenty thousand that have ended it is kept (tomb.c). */
struct branch {
  unsigned next_sequence; /* of runs */
  enum branch_state state : 5;
  enum branch_state resume : 5; /* where an unanswered question leaves the branch */
  enum run_end end : 2;         /* of the run under way, or the last one */
  enum decision decision : 2;   /* while `decided` */
  enum {
    AFTER_LOST_PREPARE,
    AFTER_LOST_COMMIT,
    AFTER_LOST_FINISH
  } lost : 2;            /* why in ENDING_SESSION */
  bool stalled : 1;      /* nothing is under way in ENDING_SESSION, LOOKING_UP or VERIFYING */
  bool closed : 1;       /* no run is accepted any more, and no yes told */
  bool durable : 1;      /* PREPARED is as durable as a yes promises */
  bool barrier : 1;      /* the look-up under way was asked for with one */
  bool vote_due : 1;     /* a run awaits its vote */
  bool decided : 1;      /* a decision awaits its outcome */
  bool xid_told : 1;     /* the decision came with an xid, or we voted one */
  bool finish_lost : 1;  /* PREPARED, it is thought: a COMMIT or ROLLBACK PREPARED got no answer */
  bool session_gone : 1; /* while FLUSHING: the barrier's answer is awaited all the same */
};

enum branch_event_kind {
  BRANCH_EV_RUN,         /* sequence, end, has_statements */
  BRANCH_EV_RAN,         /* ran, xid (an xid came with it) */
  BRANCH_EV_FLUSHED,     /* ok: the barrier is done, and covers what was run */
  BRANCH_EV_LOST,        /* the session broke while ACTIVE, FLUSHING or READY */
  BRANCH_EV_EXPIRED,     /* the deadline passed; acts only where the branch may still abort alone */
  BRANCH_EV_FENCED,      /* a newer epoch: as EXPIRED, also while running */
  BRANCH_EV_DECIDE,      /* decision, xid */
  BRANCH_EV_ROLLED_BACK, /* ROLLBACK is done, or the session is gone, which is the same */
  BRANCH_EV_COMMITTED,   /* outcome of a one-phase COMMIT: COMMITTED, ABORTED, RETRY (no answer) */
  BRANCH_EV_SESSION_ENDED, /* ok: the backend is gone; not ok: could not be made sure */
  BRANCH_EV_LOOKED,        /* looked, same_xid */
  BRANCH_EV_FINISHED,      /* finished, sent */
  BRANCH_EV_STATUS,        /* status */
  BRANCH_EV_LISTED         /* a listing, begun after the branch came to this state, showed the gid
                              prepared: NONE and the ended states become PREPARED */
};

struct branch_event {
  enum branch_event_kind kind;
  unsigned sequence;
  enum run_end end;
  bool has_statements;
  enum session_ran ran;
  bool xid;
  enum decision decision;
  enum branch_outcome outcome;
  bool ok;
  enum session_looked looked;
  bool same_xid; /* LOOKED: the xid found is the one told by the decision or voted; true when none
                    was told. DECIDE: the xid told is the one this branch had; true when none was
                    told */
  enum session_finished finished;
  bool sent; /* FINISHED, LOST: it had gone out, on a session of which the driver knows the name */
  enum xact_status status;
};

enum branch_action_kind {
  BRANCH_DO_RUN,         /* get a session if there is none, run the request at hand */
  BRANCH_DO_CANCEL,      /* take the run from the queue, or cancel it in the database */
  BRANCH_DO_BARRIER,     /* commit something after what was run, and wait until it is durable */
  BRANCH_DO_ROLLBACK,    /* on the branch's session */
  BRANCH_DO_COMMIT,      /* on the branch's session */
  BRANCH_DO_END_SESSION, /* end the lost session's backend and wait until it is gone */
  BRANCH_DO_LOOK_UP,     /* with a barrier where branch.barrier says so: a vote hangs on it */
  BRANCH_DO_COMMIT_PREPARED,
  BRANCH_DO_ROLLBACK_PREPARED,
  BRANCH_DO_ASK_STATUS,    /* of the told xid, on the told server; another server: FORGOTTEN */
  BRANCH_DO_REPLY_VOTE,    /* vote: to every run that waits */
  BRANCH_DO_REPLY_OUTCOME, /* outcome: to every decision that waits */
  BRANCH_DO_REFUSE_RUN, /* the run at hand cannot be accepted (ended, out of order, busy): VOTE_NO
                           when it has ended aborted, else an error to that request alone */
  BRANCH_DO_REFUSE_DECISION, /* RETRY to that request alone: contradicts what is under way */
  BRANCH_DO_JOIN,            /* a repeat of what is under way: answer it together with the first */
  BRANCH_DO_FORGET           /* nothing more is known than the database knows: drop the entry */
};

struct branch_action {
  enum branch_action_kind kind;
  enum vote vote;
  enum branch_outcome outcome;
  enum decision decision; /* REPLY_OUTCOME: the one it answers */
};

enum { BRANCH_ACTIONS_MAX = 4 };
struct branch_actions {
  struct branch_action items[BRANCH_ACTIONS_MAX];
  size_t count;
};

void branch_init(struct branch *branch);

/* Moves the branch and says what to do, in order. Asserts that the event is possible in this state
 * (requests always are) and that the move is in the table of legal successors. */
void branch_step(struct branch *branch, const struct branch_event *event,
                 struct branch_actions *actions);

#endif
