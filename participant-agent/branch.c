/* The participant's half of presumed abort: see branch.h for the diagram and the invariants.
 *
 * Each event has one function, which reads the state, moves it, and says what to do. move() is the
 * only place that writes `state`, and asserts that the move is in the table of successors. Replies
 * are due to whoever waits (vote_due, decided); settle() and unanswered() give them, so that nobody
 * is answered twice or never.
 */
#include "participant-agent/branch.h"

#include <assert.h>
#include <string.h>

#define TO(state) (1U << (state))

static const unsigned successors[BRANCH_STATE_COUNT] = {
    [BRANCH_NONE] = TO(BRANCH_RUNNING) | TO(BRANCH_PREPARING) | TO(BRANCH_LOOKING_UP) |
                    TO(BRANCH_ABORTING) | TO(BRANCH_VERIFYING) | TO(BRANCH_PREPARED),
    [BRANCH_RUNNING] = TO(BRANCH_ACTIVE) | TO(BRANCH_FLUSHING) | TO(BRANCH_COMMITTING_ONE) |
                       TO(BRANCH_ABORTING) | TO(BRANCH_ABORTED) | TO(BRANCH_READ_ONLY) |
                       TO(BRANCH_ENDING_SESSION),
    [BRANCH_ACTIVE] =
        TO(BRANCH_RUNNING) | TO(BRANCH_PREPARING) | TO(BRANCH_ABORTING) | TO(BRANCH_ABORTED),
    [BRANCH_FLUSHING] = TO(BRANCH_READY) | TO(BRANCH_ABORTING) | TO(BRANCH_ABORTED),
    [BRANCH_READY] = TO(BRANCH_COMMITTING_ONE) | TO(BRANCH_ABORTING) | TO(BRANCH_ABORTED),
    [BRANCH_PREPARING] = TO(BRANCH_PREPARED) | TO(BRANCH_READ_ONLY) | TO(BRANCH_ABORTING) |
                         TO(BRANCH_ABORTED) | TO(BRANCH_ENDING_SESSION),
    [BRANCH_ENDING_SESSION] = TO(BRANCH_LOOKING_UP) | TO(BRANCH_VERIFYING),
    [BRANCH_LOOKING_UP] = TO(BRANCH_NONE) | TO(BRANCH_PREPARED) | TO(BRANCH_COMMITTING) |
                          TO(BRANCH_ABORTING) | TO(BRANCH_ABORTED) | TO(BRANCH_VERIFYING),
    [BRANCH_PREPARED] = TO(BRANCH_COMMITTING) | TO(BRANCH_ABORTING) | TO(BRANCH_LOOKING_UP) |
                        TO(BRANCH_VERIFYING) | TO(BRANCH_ENDING_SESSION),
    [BRANCH_COMMITTING] = TO(BRANCH_COMMITTED) | TO(BRANCH_PREPARED) | TO(BRANCH_VERIFYING),
    [BRANCH_COMMITTING_ONE] = TO(BRANCH_COMMITTED) | TO(BRANCH_ABORTED) | TO(BRANCH_READ_ONLY) |
                              TO(BRANCH_ENDING_SESSION),
    [BRANCH_ABORTING] =
        TO(BRANCH_ABORTED) | TO(BRANCH_NONE) | TO(BRANCH_PREPARED) | TO(BRANCH_VERIFYING),
    [BRANCH_VERIFYING] = TO(BRANCH_COMMITTED) | TO(BRANCH_ABORTED) | TO(BRANCH_NONE) |
                         TO(BRANCH_PREPARED) | TO(BRANCH_LOOKING_UP),
    [BRANCH_COMMITTED] = TO(BRANCH_PREPARED),
    [BRANCH_ABORTED] = TO(BRANCH_PREPARED) | TO(BRANCH_VERIFYING),
    [BRANCH_READ_ONLY] = TO(BRANCH_PREPARED),
};

static const char *const state_names[BRANCH_STATE_COUNT] = {
    [BRANCH_NONE] = "none",
    [BRANCH_RUNNING] = "running",
    [BRANCH_ACTIVE] = "active",
    [BRANCH_FLUSHING] = "flushing",
    [BRANCH_READY] = "ready",
    [BRANCH_PREPARING] = "preparing",
    [BRANCH_ENDING_SESSION] = "ending_session",
    [BRANCH_LOOKING_UP] = "looking_up",
    [BRANCH_PREPARED] = "prepared",
    [BRANCH_COMMITTING] = "committing",
    [BRANCH_COMMITTING_ONE] = "committing_one",
    [BRANCH_ABORTING] = "aborting",
    [BRANCH_VERIFYING] = "verifying",
    [BRANCH_COMMITTED] = "committed",
    [BRANCH_ABORTED] = "aborted",
    [BRANCH_READ_ONLY] = "read_only",
};

const char *branch_state_name(enum branch_state state) {
  assert(state < BRANCH_STATE_COUNT);
  return state_names[state];
}

void branch_init(struct branch *branch) {
  memset(branch, 0, sizeof *branch);
}

/* ---- moving and answering ----------------------------------------------------------------------
 */

static struct branch_action *add(struct branch_actions *out, enum branch_action_kind kind) {
  assert(out->count < BRANCH_ACTIONS_MAX);
  struct branch_action *action = &out->items[out->count++];
  memset(action, 0, sizeof *action);
  action->kind = kind;
  return action;
}

static void move(struct branch *b, enum branch_state to) {
  assert(successors[b->state] & TO(to));
  b->state = to;
  b->stalled = false;
}

static void reply_vote(struct branch *b, enum vote vote, struct branch_actions *out) {
  assert(vote != VOTE_YES || b->state == BRANCH_ACTIVE || b->state == BRANCH_PREPARED);
  add(out, BRANCH_DO_REPLY_VOTE)->vote = vote;
  b->vote_due = false;
}

static void reply_outcome(struct branch *b, enum branch_outcome outcome,
                          struct branch_actions *out) {
  struct branch_action *action = add(out, BRANCH_DO_REPLY_OUTCOME);
  action->outcome = outcome;
  action->decision = b->decision;
  b->decided = false;
}

/* Back to what the database alone knows; but what was closed stays so, for a late run. */
static void forget(struct branch *b, struct branch_actions *out) {
  bool closed = b->closed;
  if (b->state != BRANCH_NONE) move(b, BRANCH_NONE);
  branch_init(b);
  b->closed = closed;
  if (!closed) add(out, BRANCH_DO_FORGET);
}

/* The branch has ended as `state`: whoever waits is told. */
static void settle(struct branch *b, enum branch_state state, struct branch_actions *out) {
  assert(state == BRANCH_COMMITTED || state == BRANCH_ABORTED || state == BRANCH_READ_ONLY);
  move(b, state);
  b->closed = true;
  if (b->vote_due)
    reply_vote(b,
               state == BRANCH_ABORTED     ? VOTE_NO
               : state == BRANCH_READ_ONLY ? VOTE_READ_ONLY
                                           : VOTE_UNKNOWN,
               out);
  if (b->decided) {
    assert(state != BRANCH_READ_ONLY);
    reply_outcome(b, state == BRANCH_ABORTED ? BRANCH_OUTCOME_ABORTED : BRANCH_OUTCOME_COMMITTED,
                  out);
  }
}

/* The question under way has no answer now: whoever waits may ask again. */
static void unanswered(struct branch *b, struct branch_actions *out) {
  if (b->vote_due) reply_vote(b, VOTE_UNKNOWN, out);
  if (b->decided) reply_outcome(b, BRANCH_OUTCOME_RETRY, out);
  if (b->resume == BRANCH_NONE) {
    forget(b, out);
    return;
  }
  if (b->state != b->resume) move(b, b->resume);
  b->stalled = b->state == BRANCH_ENDING_SESSION || b->state == BRANCH_LOOKING_UP ||
               b->state == BRANCH_VERIFYING;
}

/* The database has no trace of the branch that would tell how it ended. It has ended all the same: its
 * statements are not to run again. */
static void unverifiable(struct branch *b, struct branch_actions *out) {
  b->closed = true;
  if (b->vote_due) reply_vote(b, VOTE_UNKNOWN, out);
  if (b->decided) reply_outcome(b, BRANCH_OUTCOME_UNVERIFIABLE, out);
  forget(b, out);
}

/* ---- beginning things --------------------------------------------------------------------------
 */

static void end_session(struct branch *b, struct branch_actions *out) {
  if (b->state != BRANCH_ENDING_SESSION) move(b, BRANCH_ENDING_SESSION);
  b->stalled = false;
  b->resume = BRANCH_ENDING_SESSION;
  add(out, BRANCH_DO_END_SESSION);
}

static void look_up(struct branch *b, enum branch_state resume, struct branch_actions *out) {
  if (b->state != BRANCH_LOOKING_UP) move(b, BRANCH_LOOKING_UP);
  b->stalled = false;
  b->resume = resume;
  /* A commit follows a yes that was durable when it was told. */
  b->barrier = !(b->decided && b->decision == DECIDE_COMMIT);
  add(out, BRANCH_DO_LOOK_UP);
}

/* `resume` stays as the way here has set it. */
static void verify(struct branch *b, struct branch_actions *out) {
  assert(b->xid_told);
  if (b->state != BRANCH_VERIFYING) move(b, BRANCH_VERIFYING);
  b->stalled = false;
  add(out, BRANCH_DO_ASK_STATUS);
}

static void commit_prepared(struct branch *b, struct branch_actions *out) {
  assert(!b->finish_lost);
  move(b, BRANCH_COMMITTING);
  b->resume = BRANCH_PREPARED;
  add(out, BRANCH_DO_COMMIT_PREPARED);
}

static void rollback_prepared(struct branch *b, enum branch_state resume,
                              struct branch_actions *out) {
  move(b, BRANCH_ABORTING);
  b->resume = resume;
  b->closed = true;
  add(out, BRANCH_DO_ROLLBACK_PREPARED);
}

static void rollback(struct branch *b, struct branch_actions *out) {
  move(b, BRANCH_ABORTING);
  b->closed = true;
  add(out, BRANCH_DO_ROLLBACK);
}

static void decided(struct branch *b, enum decision decision) {
  b->decided = true;
  b->decision = decision;
}

/* ---- a run -------------------------------------------------------------------------------------
 */

static void start_run(struct branch *b, const struct branch_event *e, struct branch_actions *out) {
  move(b, e->end == RUN_PREPARE ? BRANCH_PREPARING : BRANCH_RUNNING);
  b->next_sequence = e->sequence + 1;
  b->end = e->end;
  b->vote_due = true;
  add(out, BRANCH_DO_RUN);
}

/* A vote without statements, of a branch that this life of the agent has not run. */
static void look_up_for_vote(struct branch *b, const struct branch_event *e,
                             struct branch_actions *out) {
  b->next_sequence = e->sequence + 1;
  b->end = e->end;
  b->vote_due = true;
  look_up(b, b->state, out);
}

static bool asks_for_vote_only(const struct branch_event *e) {
  return e->sequence > 0 && !e->has_statements && e->end == RUN_PREPARE;
}

static bool repeats_last_run(const struct branch *b, const struct branch_event *e) {
  return b->next_sequence > 0 && e->sequence == b->next_sequence - 1 && e->end == b->end;
}

static void run_on_none(struct branch *b, const struct branch_event *e,
                        struct branch_actions *out) {
  if (b->closed) {
    add(out, BRANCH_DO_REFUSE_RUN);
  } else if (e->sequence == 0) {
    start_run(b, e, out);
  } else if (asks_for_vote_only(e)) {
    look_up_for_vote(b, e, out);
  } else {
    /* Earlier statements are lost. No tombstone: nothing is known of what the database holds. */
    reply_vote(b, VOTE_NO, out);
    forget(b, out);
  }
}

static void run_on_prepared(struct branch *b, const struct branch_event *e,
                            struct branch_actions *out) {
  bool first = b->next_sequence == 0;
  if (b->closed || !(first ? asks_for_vote_only(e) : repeats_last_run(b, e)))
    add(out, BRANCH_DO_REFUSE_RUN);
  else if (b->durable && !first)
    reply_vote(b, VOTE_YES, out);
  else
    look_up_for_vote(b, e, out);
}

/* Under way, or stalled: only the last run may come again. */
static void run_on_busy(struct branch *b, const struct branch_event *e,
                        struct branch_actions *out) {
  if (!repeats_last_run(b, e)) {
    add(out, BRANCH_DO_REFUSE_RUN);
  } else if (b->vote_due) {
    add(out, BRANCH_DO_JOIN);
  } else if (b->stalled && !b->closed && b->state == BRANCH_LOOKING_UP) {
    b->vote_due = true;
    look_up(b, BRANCH_LOOKING_UP, out);
  } else if (b->stalled && !b->closed && b->lost == AFTER_LOST_PREPARE &&
             b->state == BRANCH_ENDING_SESSION) {
    b->vote_due = true;
    end_session(b, out);
  } else {
    add(out, BRANCH_DO_REFUSE_RUN);
  }
}

static void on_run(struct branch *b, const struct branch_event *e, struct branch_actions *out) {
  switch (b->state) {
  case BRANCH_NONE: run_on_none(b, e, out); break;
  case BRANCH_PREPARED: run_on_prepared(b, e, out); break;
  case BRANCH_ABORTED: reply_vote(b, VOTE_NO, out); break;
  case BRANCH_ACTIVE:
    if (e->sequence == b->next_sequence)
      start_run(b, e, out);
    else if (repeats_last_run(b, e))
      reply_vote(b, VOTE_YES, out);
    else
      add(out, BRANCH_DO_REFUSE_RUN);
    break;
  case BRANCH_READY:
  case BRANCH_READ_ONLY:
    if (repeats_last_run(b, e))
      reply_vote(b, b->state == BRANCH_READY ? VOTE_READY : VOTE_READ_ONLY, out);
    else
      add(out, BRANCH_DO_REFUSE_RUN);
    break;
  case BRANCH_RUNNING:
  case BRANCH_FLUSHING:
  case BRANCH_PREPARING:
  case BRANCH_ENDING_SESSION:
  case BRANCH_LOOKING_UP:
  case BRANCH_COMMITTING:
  case BRANCH_COMMITTING_ONE:
  case BRANCH_ABORTING:
  case BRANCH_VERIFYING: run_on_busy(b, e, out); break;
  case BRANCH_COMMITTED: add(out, BRANCH_DO_REFUSE_RUN); break;
  case BRANCH_STATE_COUNT: assert(false);
  }
}

static void ran_open(struct branch *b, const struct branch_event *e, struct branch_actions *out) {
  assert(b->state == BRANCH_RUNNING);
  if (b->closed) {
    rollback(b, out);
  } else if (b->end == RUN_KEEP_OPEN) {
    move(b, BRANCH_ACTIVE);
    reply_vote(b, VOTE_YES, out);
  } else if (e->xid) {
    move(b, BRANCH_FLUSHING);
    add(out, BRANCH_DO_BARRIER);
  } else { /* nothing was written: end it now */
    move(b, BRANCH_COMMITTING_ONE);
    add(out, BRANCH_DO_COMMIT);
  }
}

/* Whatever came while the barrier was under way has waited for its answer. */
static void on_flushed(struct branch *b, const struct branch_event *e, struct branch_actions *out) {
  assert(b->state == BRANCH_FLUSHING);
  if (b->session_gone) {
    b->session_gone = false;
    settle(b, BRANCH_ABORTED, out);
  } else if (b->closed || !e->ok) {
    rollback(b, out);
  } else {
    move(b, BRANCH_READY);
    reply_vote(b, VOTE_READY, out);
  }
}

static void on_ran(struct branch *b, const struct branch_event *e, struct branch_actions *out) {
  assert(b->state == BRANCH_RUNNING || b->state == BRANCH_PREPARING);
  b->xid_told = b->xid_told || e->xid;
  switch (e->ran) {
  case RAN_FAILED: settle(b, BRANCH_ABORTED, out); break;
  case RAN_OPEN: ran_open(b, e, out); break;
  case RAN_PREPARED:
    assert(b->state == BRANCH_PREPARING);
    b->durable = true;
    if (b->closed) {
      rollback_prepared(b, BRANCH_PREPARED, out);
    } else {
      move(b, BRANCH_PREPARED);
      reply_vote(b, VOTE_YES, out);
    }
    break;
  case RAN_READ_ONLY:
    assert(b->end != RUN_KEEP_OPEN);
    settle(b, b->closed ? BRANCH_ABORTED : BRANCH_READ_ONLY, out);
    break;
  case RAN_UNWANTED: b->closed = true; /* fall through */
  case RAN_UNKNOWN:
    b->lost = AFTER_LOST_PREPARE;
    end_session(b, out);
    break;
  }
}

/* ---- the branch's session and time -------------------------------------------------------------
 */

static void on_lost(struct branch *b, struct branch_actions *out) {
  if (b->state == BRANCH_FLUSHING) {
    assert(!b->session_gone);
    b->session_gone = b->closed = true;
    return;
  }
  assert(b->state == BRANCH_ACTIVE || b->state == BRANCH_READY);
  settle(b, BRANCH_ABORTED, out);
}

static void on_expired(struct branch *b, struct branch_actions *out) {
  if (b->state == BRANCH_ACTIVE || b->state == BRANCH_READY) rollback(b, out);
  if (b->state == BRANCH_FLUSHING) b->closed = true;
}

static void on_fenced(struct branch *b, struct branch_actions *out) {
  if (b->state == BRANCH_ACTIVE || b->state == BRANCH_READY) {
    rollback(b, out);
  } else if (b->state == BRANCH_RUNNING || b->state == BRANCH_PREPARING) {
    if (!b->closed) add(out, BRANCH_DO_CANCEL);
    b->closed = true;
  } else if (b->state == BRANCH_FLUSHING) {
    b->closed = true;
  } else if (b->state == BRANCH_ENDING_SESSION && b->stalled) {
    end_session(b, out); /* it could still become prepared: the fence waits for this */
  }
}

static void on_rolled_back(struct branch *b, struct branch_actions *out) {
  assert(b->state == BRANCH_ABORTING);
  settle(b, BRANCH_ABORTED, out);
}

static void on_committed(struct branch *b, const struct branch_event *e,
                         struct branch_actions *out) {
  assert(b->state == BRANCH_COMMITTING_ONE);
  assert(e->outcome != BRANCH_OUTCOME_UNVERIFIABLE);
  bool read_only = !b->decided;
  if (e->outcome == BRANCH_OUTCOME_COMMITTED) {
    settle(b, read_only ? BRANCH_READ_ONLY : BRANCH_COMMITTED, out);
  } else if (e->outcome == BRANCH_OUTCOME_ABORTED || read_only) {
    settle(b, BRANCH_ABORTED, out); /* what wrote nothing has nothing to lose */
  } else {
    b->lost = AFTER_LOST_COMMIT;
    end_session(b, out);
  }
}

static void on_session_ended(struct branch *b, const struct branch_event *e,
                             struct branch_actions *out) {
  assert(b->state == BRANCH_ENDING_SESSION && !b->stalled);
  if (!e->ok) {
    unanswered(b, out);
  } else if (b->lost == AFTER_LOST_COMMIT) {
    b->resume = BRANCH_VERIFYING;
    verify(b, out);
  } else {
    if (b->lost == AFTER_LOST_FINISH) b->finish_lost = false;
    look_up(b, BRANCH_LOOKING_UP, out);
  }
}

/* ---- a decision --------------------------------------------------------------------------------
 */

static void decide_abort(struct branch *b, struct branch_actions *out) {
  switch (b->state) {
  case BRANCH_COMMITTED:
  case BRANCH_ABORTED:
  case BRANCH_READ_ONLY:
    decided(b, DECIDE_ABORT);
    reply_outcome(b,
                  b->state == BRANCH_COMMITTED ? BRANCH_OUTCOME_COMMITTED : BRANCH_OUTCOME_ABORTED,
                  out);
    return;
  case BRANCH_COMMITTING:
  case BRANCH_COMMITTING_ONE: add(out, BRANCH_DO_REFUSE_DECISION); return;
  case BRANCH_ENDING_SESSION:
    if (b->lost == AFTER_LOST_COMMIT) {
      add(out, BRANCH_DO_REFUSE_DECISION);
      return;
    }
    break;
  case BRANCH_VERIFYING:
    if (!b->vote_due) {
      add(out, BRANCH_DO_REFUSE_DECISION);
      return;
    }
    break;
  case BRANCH_NONE:
  case BRANCH_RUNNING:
  case BRANCH_ACTIVE:
  case BRANCH_FLUSHING:
  case BRANCH_READY:
  case BRANCH_PREPARING:
  case BRANCH_LOOKING_UP:
  case BRANCH_PREPARED:
  case BRANCH_ABORTING: break;
  case BRANCH_STATE_COUNT: assert(false);
  }

  decided(b, DECIDE_ABORT);
  bool was_closed = b->closed;
  b->closed = true;
  if (b->state == BRANCH_NONE || b->state == BRANCH_PREPARED)
    rollback_prepared(b, b->state, out);
  else if (b->state == BRANCH_ACTIVE || b->state == BRANCH_READY)
    rollback(b, out);
  else if ((b->state == BRANCH_RUNNING || b->state == BRANCH_PREPARING) && !was_closed)
    add(out, BRANCH_DO_CANCEL);
  else if (b->state == BRANCH_ENDING_SESSION && b->stalled)
    end_session(b, out);
  else if (b->state == BRANCH_LOOKING_UP && b->stalled)
    look_up(b, BRANCH_LOOKING_UP, out);
  else
    add(out, BRANCH_DO_JOIN);
}

/* A decision to commit, of either kind, on a branch that has ended. */
static void commit_on_ended(struct branch *b, const struct branch_event *e,
                            struct branch_actions *out) {
  decided(b, e->decision);
  if (b->state != BRANCH_ABORTED) {
    reply_outcome(b, BRANCH_OUTCOME_COMMITTED, out);
  } else if (e->xid && !e->same_xid) {
    /* What aborted here was not the transaction that is meant: its own status is the truth. */
    b->resume = BRANCH_NONE;
    verify(b, out);
  } else {
    reply_outcome(b, BRANCH_OUTCOME_ABORTED, out);
  }
}

static void commit_on_prepared(struct branch *b, const struct branch_event *e,
                               struct branch_actions *out) {
  decided(b, DECIDE_COMMIT);
  if (e->same_xid && b->finish_lost) {
    b->lost = AFTER_LOST_FINISH;
    end_session(b, out);
  } else if (e->same_xid) {
    commit_prepared(b, out);
  } else {
    b->resume = BRANCH_PREPARED;
    verify(b, out);
  }
}

/* Nobody has been told yes while a vote is due, so nobody can have decided to commit. */
static void commit_on_doubt(struct branch *b, struct branch_actions *out) {
  if (b->vote_due || (b->state == BRANCH_ENDING_SESSION && b->lost == AFTER_LOST_COMMIT)) {
    add(out, BRANCH_DO_REFUSE_DECISION);
    return;
  }
  decided(b, DECIDE_COMMIT);
  if (!b->stalled)
    add(out, BRANCH_DO_JOIN);
  else if (b->state == BRANCH_ENDING_SESSION)
    end_session(b, out);
  else
    look_up(b, BRANCH_LOOKING_UP, out);
}

static void decide_commit(struct branch *b, const struct branch_event *e,
                          struct branch_actions *out) {
  switch (b->state) {
  case BRANCH_NONE:
    decided(b, DECIDE_COMMIT);
    look_up(b, BRANCH_NONE, out);
    break;
  case BRANCH_PREPARED: commit_on_prepared(b, e, out); break;
  case BRANCH_ENDING_SESSION:
  case BRANCH_LOOKING_UP: commit_on_doubt(b, out); break;
  case BRANCH_COMMITTED:
  case BRANCH_ABORTED:
  case BRANCH_READ_ONLY: commit_on_ended(b, e, out); break;
  case BRANCH_RUNNING:
  case BRANCH_ACTIVE:
  case BRANCH_FLUSHING:
  case BRANCH_READY:
  case BRANCH_PREPARING:
  case BRANCH_COMMITTING:
  case BRANCH_COMMITTING_ONE:
  case BRANCH_ABORTING:
  case BRANCH_VERIFYING: add(out, BRANCH_DO_REFUSE_DECISION); break;
  case BRANCH_STATE_COUNT: assert(false);
  }
}

/* The COMMIT's answer was lost before: ask on where that ended. */
static void one_phase_on_doubt(struct branch *b, struct branch_actions *out) {
  decided(b, DECIDE_ONE_PHASE);
  if (!b->stalled)
    add(out, BRANCH_DO_JOIN);
  else if (b->state == BRANCH_ENDING_SESSION)
    end_session(b, out);
  else
    verify(b, out);
}

static void decide_one_phase(struct branch *b, const struct branch_event *e,
                             struct branch_actions *out) {
  bool lost_commit = b->lost == AFTER_LOST_COMMIT &&
                     (b->state == BRANCH_ENDING_SESSION || b->state == BRANCH_VERIFYING);
  if (b->state == BRANCH_NONE) {
    decided(b, DECIDE_ONE_PHASE);
    b->resume = BRANCH_NONE;
    if (e->xid)
      verify(b, out);
    else
      unverifiable(b, out);
  } else if (b->state == BRANCH_READY && e->same_xid) {
    decided(b, DECIDE_ONE_PHASE);
    move(b, BRANCH_COMMITTING_ONE);
    add(out, BRANCH_DO_COMMIT);
  } else if (lost_commit) {
    one_phase_on_doubt(b, out);
  } else if (b->state == BRANCH_COMMITTED || b->state == BRANCH_ABORTED ||
             b->state == BRANCH_READ_ONLY) {
    commit_on_ended(b, e, out);
  } else {
    add(out, BRANCH_DO_REFUSE_DECISION);
  }
}

static void on_decide(struct branch *b, const struct branch_event *e, struct branch_actions *out) {
  bool told = b->xid_told;
  b->xid_told = told || e->xid;
  if (b->decided && b->decision == e->decision) {
    add(out, BRANCH_DO_JOIN);
  } else if (b->decided) {
    add(out, BRANCH_DO_REFUSE_DECISION);
  } else {
    switch (e->decision) {
    case DECIDE_ABORT: decide_abort(b, out); break;
    case DECIDE_COMMIT: decide_commit(b, e, out); break;
    case DECIDE_ONE_PHASE: decide_one_phase(b, e, out); break;
    }
  }
  if (out->items[0].kind == BRANCH_DO_REFUSE_DECISION) b->xid_told = told; /* nothing is changed */
}

/* ---- the database's answers --------------------------------------------------------------------
 */

static bool is_committing(const struct branch *b) {
  return b->decided && b->decision == DECIDE_COMMIT;
}

static void looked_prepared(struct branch *b, const struct branch_event *e,
                            struct branch_actions *out) {
  b->xid_told = true;
  b->durable = b->barrier;
  if (is_committing(b)) {
    if (e->same_xid)
      commit_prepared(b, out);
    else
      verify(b, out);
  } else if (b->closed) {
    rollback_prepared(b, BRANCH_PREPARED, out);
  } else {
    move(b, BRANCH_PREPARED);
    if (b->vote_due) reply_vote(b, VOTE_YES, out);
  }
}

static void on_looked(struct branch *b, const struct branch_event *e, struct branch_actions *out) {
  assert(b->state == BRANCH_LOOKING_UP && !b->stalled);
  switch (e->looked) {
  case LOOKED_LOST: unanswered(b, out); break;
  case LOOKED_PREPARED: looked_prepared(b, e, out); break;
  case LOOKED_REFUSED: /* we could not keep a yes; a decision is tried, and the database refuses it */
    if (b->vote_due && !b->closed)
      unanswered(b, out);
    else
      looked_prepared(b, e, out);
    break;
  case LOOKED_ABSENT:
    if (b->xid_told)
      verify(b, out);
    else if (is_committing(b))
      unverifiable(b, out);
    else
      settle(b, BRANCH_ABORTED, out);
    break;
  }
}

static void on_finished(struct branch *b, const struct branch_event *e,
                        struct branch_actions *out) {
  assert(b->state == BRANCH_COMMITTING || b->state == BRANCH_ABORTING);
  bool commit = b->state == BRANCH_COMMITTING;
  switch (e->finished) {
  case FINISH_DONE: settle(b, commit ? BRANCH_COMMITTED : BRANCH_ABORTED, out); break;
  case FINISH_NOT_FOUND:
    assert(b->xid_told || !commit); /* PREPARED comes with its xid */
    b->durable = false;
    if (b->xid_told)
      verify(b, out);
    else
      settle(b, BRANCH_ABORTED, out);
    break;
  case FINISH_LOST:
    b->finish_lost = b->finish_lost || e->sent;
    unanswered(b, out);
    break;
  case FINISH_BUSY:
  case FINISH_REFUSED: unanswered(b, out); break;
  }
}

static void on_status(struct branch *b, const struct branch_event *e, struct branch_actions *out) {
  assert(b->state == BRANCH_VERIFYING && !b->stalled);
  switch (e->status) {
  case XACT_STATUS_COMMITTED: settle(b, BRANCH_COMMITTED, out); break;
  case XACT_STATUS_ABORTED: settle(b, BRANCH_ABORTED, out); break;
  case XACT_STATUS_FORGOTTEN: unverifiable(b, out); break;
  case XACT_STATUS_LOST:
  case XACT_STATUS_IN_PROGRESS: unanswered(b, out); break;
  }
}

static void on_listed(struct branch *b) {
  if (b->state == BRANCH_NONE || b->state == BRANCH_COMMITTED || b->state == BRANCH_ABORTED ||
      b->state == BRANCH_READ_ONLY) {
    move(b, BRANCH_PREPARED);
    b->durable = false;
    b->xid_told = true;
    b->lost = AFTER_LOST_PREPARE;
  }
}

/* ---- the step ----------------------------------------------------------------------------------
 */

static void check(const struct branch *b) {
  switch (b->state) {
  case BRANCH_RUNNING:
  case BRANCH_PREPARING: assert(b->vote_due); break;
  case BRANCH_FLUSHING:
    assert(b->vote_due && b->xid_told && (b->closed || !b->session_gone));
    break;
  case BRANCH_COMMITTING: assert(is_committing(b) && !b->vote_due); break;
  case BRANCH_COMMITTING_ONE: assert(b->vote_due != b->decided); break;
  case BRANCH_NONE:
  case BRANCH_ACTIVE:
  case BRANCH_READY:
  case BRANCH_COMMITTED:
  case BRANCH_ABORTED:
  case BRANCH_READ_ONLY: assert(!b->vote_due && !b->decided && !b->stalled); break;
  case BRANCH_PREPARED: assert(!b->vote_due && !b->decided && !b->stalled && b->xid_told); break;
  case BRANCH_ENDING_SESSION:
  case BRANCH_LOOKING_UP:
  case BRANCH_VERIFYING: assert(!b->stalled || (!b->vote_due && !b->decided)); break;
  case BRANCH_ABORTING: assert(b->closed); break;
  case BRANCH_STATE_COUNT: assert(false);
  }
}

void branch_step(struct branch *branch, const struct branch_event *event,
                 struct branch_actions *actions) {
  actions->count = 0;
  switch (event->kind) {
  case BRANCH_EV_RUN: on_run(branch, event, actions); break;
  case BRANCH_EV_RAN: on_ran(branch, event, actions); break;
  case BRANCH_EV_FLUSHED: on_flushed(branch, event, actions); break;
  case BRANCH_EV_LOST: on_lost(branch, actions); break;
  case BRANCH_EV_EXPIRED: on_expired(branch, actions); break;
  case BRANCH_EV_FENCED: on_fenced(branch, actions); break;
  case BRANCH_EV_DECIDE: on_decide(branch, event, actions); break;
  case BRANCH_EV_ROLLED_BACK: on_rolled_back(branch, actions); break;
  case BRANCH_EV_COMMITTED: on_committed(branch, event, actions); break;
  case BRANCH_EV_SESSION_ENDED: on_session_ended(branch, event, actions); break;
  case BRANCH_EV_LOOKED: on_looked(branch, event, actions); break;
  case BRANCH_EV_FINISHED: on_finished(branch, event, actions); break;
  case BRANCH_EV_STATUS: on_status(branch, event, actions); break;
  case BRANCH_EV_LISTED: on_listed(branch); break;
  }
  check(branch);
}
