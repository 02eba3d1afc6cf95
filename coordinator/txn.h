/* One transaction as its coordinator sees it: presumed abort, pure.
 *
 * txn_step(state, event) -> actions. No I/O, no clock, no allocation, no logging: drive.c feeds
 * events and carries out actions; the simulator does the same with a model of the world.
 *
 *            commit            all yes           durable            all confirmed
 *   OPEN ------------> PREPARING ------> DECIDING ------> COMMITTING ------------> COMMITTED
 *    |                    |                 | | '---(sole branch)---> DELEGATED ------^
 *    | rollback, timeout, | no, unknown,    | |                           | it aborted
 *    | failed statement   | timeout         | '--- log lost its say ---> STUCK (halt) |
 *    '---------> ABORTING <---- refused ----'                             |
 *                   '---- all confirmed ----> ABORTED <-------------------'
 *
 * What is durable when (presumed abort, Gray & Reuter 12.5, with the participants' xids in the vote):
 *   - entering COMMITTING or DELEGATED: the decision record with every branch, in the log
 *   - a commit is asked of a branch, or `committed` told, only in those states
 *   - an abort needs nothing durable: no record means abort
 *   - END is done when every branch has confirmed; it may be lost and is then found out again
 *
 * Who finishes after a crash of the coordinator: before DECIDING's write is durable, recovery rolls
 * back every prepared branch it finds; after it, recovery re-enters COMMITTING or DELEGATED through
 * txn_recover() and goes on.
 *
 * One phase: a transaction with one branch delegates the decision to it (the last-agent case): the
 * record names the branch's xid before COMMIT is sent, so that its outcome can be asked for ever
 * after. While DELEGATED nobody but the branch knows; the coordinator says so.
 */
#ifndef ASSENT_COORDINATOR_TXN_H
#define ASSENT_COORDINATOR_TXN_H

#include <stdbool.h>
#include <stddef.h>

#include "common/message.h"
#include "wal/wal.h" /* enum wal_kind, enum wal_result; no calls */

enum { TXN_BRANCHES_MAX = 64 };

enum txn_state {
  TXN_OPEN,
  TXN_PREPARING,
  TXN_DECIDING,   /* the decision is on its way into the log; nobody knows */
  TXN_DELEGATED,  /* durable: the sole branch decides */
  TXN_COMMITTING, /* durable: commit */
  TXN_COMMITTED,
  TXN_ABORTING,
  TXN_ABORTED,
  TXN_STUCK, /* the log cannot say: only a restart that reads it again can */
  TXN_STATE_COUNT
};

enum txn_branch_state {
  TXN_BRANCH_ACTIVE,
  TXN_BRANCH_RUNNING, /* active, statements under way */
  TXN_BRANCH_PREPARING,
  TXN_BRANCH_PREPARED,
  TXN_BRANCH_READY, /* voted for one phase */
  TXN_BRANCH_READ_ONLY,
  TXN_BRANCH_UNKNOWN, /* its answer is missing */
  TXN_BRANCH_COMMITTING,
  TXN_BRANCH_COMMITTED,
  TXN_BRANCH_ABORTING,
  TXN_BRANCH_ABORTED,
  TXN_BRANCH_STATE_COUNT
};

struct txn_branch {
  enum txn_branch_state state;
  bool external; /* the application prepares it on its own connection */
  bool sent;     /* something may be known of it at its agent */
};

struct txn {
  enum txn_state state;
  bool mixed; /* a branch was found to have ended against the decision */
  unsigned branch_count;
  struct txn_branch branches[TXN_BRANCHES_MAX]; /* branch id is index + 1 */
};

/* Names as the API shows them; several internal states share one ("preparing" until the decision is
 * known). */
const char *txn_state_name(enum txn_state state);
const char *txn_branch_state_name(enum txn_branch_state state);

enum txn_event_kind {
  TXN_EV_ENLIST,    /* external: adds a branch, ACTIVE; OPEN only */
  TXN_EV_STATEMENT, /* branch: run statements and stay open; branch ACTIVE, OPEN only */
  TXN_EV_COMMIT,    /* OPEN only, no branch RUNNING */
  TXN_EV_ROLLBACK,  /* by client, operator, timeout or shutdown; does nothing once decided */
  TXN_EV_VOTE,      /* branch, vote, xid; also the answer to statements (YES) */
  TXN_EV_LOGGED,    /* logged: what became of DO_LOG */
  TXN_EV_OUTCOME,   /* branch, outcome: the answer to commit, one phase or abort */
  TXN_EV_RETRY      /* branch: it is time to ask it again */
};

struct txn_event {
  enum txn_event_kind kind;
  unsigned branch; /* id, from 1 */
  bool external;
  bool xid; /* the vote came with a transaction id */
  enum vote vote;
  enum wal_result logged;
  enum branch_outcome outcome;
};

enum txn_action_kind {
  TXN_DO_RUN,     /* branch, end: send the statements at hand */
  TXN_DO_LOG,     /* log_kind: write the decision; answer with LOGGED */
  TXN_DO_DECIDE,  /* branch, decision: send it; answer with OUTCOME */
  TXN_DO_PARK,    /* branch: RETRY later, at the latest when its participant is back */
  TXN_DO_CONFIRM, /* branch, outcome: lazily into the log */
  TXN_DO_ALARM,   /* branch, outcome: it ended against the decision, or cannot say how it ended */
  TXN_DO_END, /* every branch has ended: lazily into the log; the transaction may be forgotten */
  TXN_DO_HALT /* stop the process before anything else is sent */
};

struct txn_action {
  enum txn_action_kind kind;
  unsigned branch;
  enum run_end end;
  enum wal_kind log_kind;
  enum decision decision;
  enum branch_outcome outcome;
};

enum { TXN_ACTIONS_MAX = TXN_BRANCHES_MAX + 4 };
struct txn_actions {
  struct txn_action items[TXN_ACTIONS_MAX];
  size_t count;
};

void txn_init(struct txn *txn);

/* Moves the transaction and says what to do, in order. Asserts that the event is possible in this
 * state (callers check what clients may ask), that every move is a legal one, and the invariants of
 * the state reached. */
void txn_step(struct txn *txn, const struct txn_event *event, struct txn_actions *actions);

/* As it was when its record (COMMIT or DELEGATED) was written; the branches' commits are parked
 * (DO_PARK), to be retried when their participants are reached. A record whose branches have all
 * confirmed ends at once (DO_END). */
void txn_recover(struct txn *txn, const struct wal_record *record, struct txn_actions *actions);

/* May a client still change its mind? */
static inline bool txn_is_undecided(const struct txn *txn) {
  return txn->state == TXN_OPEN || txn->state == TXN_PREPARING;
}

#endif
