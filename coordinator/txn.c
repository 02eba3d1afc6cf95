/* See txn.h. The order of this file is the order of the protocol: begin, vote, decide, log, outcome,
 * end. Every change of state goes through move() or move_branch(), which check it. */
#include "coordinator/txn.h"

#include <assert.h>

/* ---- legal moves ------------------------------------------------------------------------------ */

#define BIT(state) (1u << (state))

static const unsigned successors[TXN_STATE_COUNT] = {
    [TXN_OPEN] = BIT(TXN_PREPARING) | BIT(TXN_ABORTING),
    [TXN_PREPARING] = BIT(TXN_DECIDING) | BIT(TXN_ABORTING),
    [TXN_DECIDING] = BIT(TXN_COMMITTING) | BIT(TXN_DELEGATED) | BIT(TXN_ABORTING) | BIT(TXN_STUCK),
    [TXN_DELEGATED] = BIT(TXN_COMMITTED) | BIT(TXN_ABORTED),
    [TXN_COMMITTING] = BIT(TXN_COMMITTED),
    [TXN_ABORTING] = BIT(TXN_ABORTED),
};

static const unsigned branch_successors[TXN_BRANCH_STATE_COUNT] = {
    [TXN_BRANCH_ACTIVE] = BIT(TXN_BRANCH_RUNNING) | BIT(TXN_BRANCH_PREPARING) |
                          BIT(TXN_BRANCH_ABORTING) | BIT(TXN_BRANCH_ABORTED),
    [TXN_BRANCH_RUNNING] = BIT(TXN_BRANCH_ACTIVE) | BIT(TXN_BRANCH_UNKNOWN) |
                           BIT(TXN_BRANCH_ABORTING) | BIT(TXN_BRANCH_ABORTED),
    [TXN_BRANCH_PREPARING] = BIT(TXN_BRANCH_PREPARED) | BIT(TXN_BRANCH_READY) |
                             BIT(TXN_BRANCH_READ_ONLY) | BIT(TXN_BRANCH_UNKNOWN) |
                             BIT(TXN_BRANCH_ABORTING) | BIT(TXN_BRANCH_ABORTED),
    [TXN_BRANCH_PREPARED] = BIT(TXN_BRANCH_COMMITTING) | BIT(TXN_BRANCH_ABORTING),
    [TXN_BRANCH_READY] = BIT(TXN_BRANCH_COMMITTING) | BIT(TXN_BRANCH_ABORTING),
    [TXN_BRANCH_UNKNOWN] = BIT(TXN_BRANCH_ABORTING),
    [TXN_BRANCH_COMMITTING] = BIT(TXN_BRANCH_COMMITTED) | BIT(TXN_BRANCH_ABORTED),
    [TXN_BRANCH_ABORTING] = BIT(TXN_BRANCH_ABORTED) | BIT(TXN_BRANCH_COMMITTED),
};

static void move(struct txn *txn, enum txn_state to) {
  assert(successors[txn->state] & BIT(to));
  txn->state = to;
}

static void move_branch(struct txn_branch *branch, enum txn_branch_state to) {
  assert(branch_successors[branch->state] & BIT(to));
  branch->state = to;
}

const char *txn_state_name(enum txn_state state) {
  switch (state) {
  case TXN_OPEN: return "open";
  case TXN_PREPARING:
  case TXN_DECIDING:
  case TXN_DELEGATED:
  case TXN_STUCK: return "preparing";
  case TXN_COMMITTING: return "committing";
  case TXN_COMMITTED: return "committed";
  case TXN_ABORTING: return "aborting";
  case TXN_ABORTED: return "aborted";
  case TXN_STATE_COUNT: break;
  }
  assert(false && "a state");
  return "";
}

const char *txn_branch_state_name(enum txn_branch_state state) {
  switch (state) {
  case TXN_BRANCH_ACTIVE:
  case TXN_BRANCH_RUNNING: return "active";
  case TXN_BRANCH_PREPARING:
  case TXN_BRANCH_READY: return "preparing";
  case TXN_BRANCH_PREPARED: return "prepared";
  case TXN_BRANCH_READ_ONLY: return "read_only";
  case TXN_BRANCH_UNKNOWN: return "unknown";
  case TXN_BRANCH_COMMITTING: return "committing";
  case TXN_BRANCH_COMMITTED: return "committed";
  case TXN_BRANCH_ABORTING: return "aborting";
  case TXN_BRANCH_ABORTED: return "aborted";
  case TXN_BRANCH_STATE_COUNT: break;
  }
  assert(false && "a state");
  return "";
}

/* ---- helpers ---------------------------------------------------------------------------------- */

static struct txn_action *act(struct txn_actions *actions, enum txn_action_kind kind,
                              unsigned branch) {
  assert(actions->count < TXN_ACTIONS_MAX);
  struct txn_action *action = &actions->items[actions->count++];
  *action = (struct txn_action){.kind = kind, .branch = branch};
  return action;
}

static struct txn_branch *branch_of(struct txn *txn, unsigned id) {
  assert(id >= 1 && id <= txn->branch_count);
  return &txn->branches[id - 1];
}

static bool has_branch_in(const struct txn *txn, unsigned states) {
  for (unsigned i = 0; i < txn->branch_count; i++)
    if (BIT(txn->branches[i].state) & states) return true;
  return false;
}

static bool has_branch_outside(const struct txn *txn, unsigned states) {
  return has_branch_in(txn, ~states);
}

static void decide(struct txn_actions *actions, unsigned branch, enum decision decision) {
  act(actions, TXN_DO_DECIDE, branch)->decision = decision;
}

static enum decision decision_of(const struct txn *txn) {
  switch (txn->state) {
  case TXN_COMMITTING: return DECIDE_COMMIT;
  case TXN_DELEGATED: return DECIDE_ONE_PHASE;
  case TXN_ABORTING: return DECIDE_ABORT;
  case TXN_OPEN:
  case TXN_PREPARING:
  case TXN_DECIDING:
  case TXN_COMMITTED:
  case TXN_ABORTED:
  case TXN_STUCK:
  case TXN_STATE_COUNT: break;
  }
  assert(false && "decided");
  return DECIDE_ABORT;
}

/* ---- begin, run ------------------------------------------------------------------------------- */

void txn_init(struct txn *txn) {
  *txn = (struct txn){.state = TXN_OPEN};
}

static void on_enlist(struct txn *txn, bool external) {
  assert(txn->state == TXN_OPEN && txn->branch_count < TXN_BRANCHES_MAX);
  /* An external branch may be prepared from the moment its gid is known. */
  txn->branches[txn->branch_count++] =
      (struct txn_branch){.state = TXN_BRANCH_ACTIVE, .external = external, .sent = external};
}

static void on_statement(struct txn *txn, unsigned id, struct txn_actions *actions) {
  struct txn_branch *branch = branch_of(txn, id);
  assert(txn->state == TXN_OPEN && !branch->external);
  move_branch(branch, TXN_BRANCH_RUNNING);
  branch->sent = true;
  act(actions, TXN_DO_RUN, id)->end = RUN_KEEP_OPEN;
}

/* ---- abort ------------------------------------------------------------------------------------ */

static void end_if_all_confirmed(struct txn *txn, struct txn_actions *actions) {
  if (has_branch_outside(txn, BIT(TXN_BRANCH_COMMITTED) | BIT(TXN_BRANCH_ABORTED) |
                                  BIT(TXN_BRANCH_READ_ONLY)))
    return;
  move(txn, txn->state == TXN_COMMITTING ? TXN_COMMITTED : TXN_ABORTED);
  act(actions, TXN_DO_END, 0);
}

/* Durable: nothing, and nothing is needed. Every branch that may exist is told, also those whose
 * answer is still under way: their agents cancel what runs. */
static void abort_all(struct txn *txn, struct txn_actions *actions) {
  move(txn, TXN_ABORTING);
  for (unsigned id = 1; id <= txn->branch_count; id++) {
    struct txn_branch *branch = branch_of(txn, id);
    if (branch->state == TXN_BRANCH_ABORTED || branch->state == TXN_BRANCH_READ_ONLY) continue;
    if (!branch->sent) {
      move_branch(branch, TXN_BRANCH_ABORTED);
      continue;
    }
    move_branch(branch, TXN_BRANCH_ABORTING);
    decide(actions, id, DECIDE_ABORT);
  }
  end_if_all_confirmed(txn, actions);
}

static void on_rollback(struct txn *txn, struct txn_actions *actions) {
  /* From DECIDING on it is too late: the record may be durable at this moment. */
  if (txn_is_undecided(txn)) abort_all(txn, actions);
}

/* ---- prepare, vote ---------------------------------------------------------------------------- */

/* The sole branch decides, if it is ours to commit. */
static bool is_one_phase(const struct txn *txn) {
  return txn->branch_count == 1 && !txn->branches[0].external;
}

/* Durable: nothing. All branches are asked in parallel. */
static void on_commit(struct txn *txn, struct txn_actions *actions) {
  assert(txn->state == TXN_OPEN && txn->branch_count > 0);
  assert(!has_branch_outside(txn, BIT(TXN_BRANCH_ACTIVE)));
  bool one_phase = is_one_phase(txn);
  move(txn, TXN_PREPARING);
  for (unsigned id = 1; id <= txn->branch_count; id++) {
    struct txn_branch *branch = branch_of(txn, id);
    move_branch(branch, TXN_BRANCH_PREPARING);
    branch->sent = true;
    act(actions, TXN_DO_RUN, id)->end = one_phase ? RUN_READY : RUN_PREPARE;
  }
}

/* All have voted and none said no. A transaction in which every branch only read is recorded like any
 * other: its outcome, once told, must be found again too. */
static void decide_if_all_voted(struct txn *txn, struct txn_actions *actions) {
  if (has_branch_outside(txn, BIT(TXN_BRANCH_PREPARED) | BIT(TXN_BRANCH_READY) |
                                  BIT(TXN_BRANCH_READ_ONLY)))
    return;
  move(txn, TXN_DECIDING);
  act(actions, TXN_DO_LOG, 0)->log_kind =
      has_branch_in(txn, BIT(TXN_BRANCH_READY)) ? WAL_KIND_DELEGATED : WAL_KIND_COMMIT;
}

/* Where a vote takes its branch. A yes without a transaction id could never be verified: it counts as
 * no answer. */
static enum txn_branch_state vote_state(const struct txn *txn, const struct txn_event *event) {
  bool preparing = txn->state == TXN_PREPARING;
  switch (event->vote) {
  case VOTE_NO: return TXN_BRANCH_ABORTED;
  case VOTE_YES:
    if (!preparing) return TXN_BRANCH_ACTIVE;
    return event->xid ? TXN_BRANCH_PREPARED : TXN_BRANCH_UNKNOWN;
  case VOTE_READ_ONLY: return preparing ? TXN_BRANCH_READ_ONLY : TXN_BRANCH_UNKNOWN;
  case VOTE_READY:
    return preparing && event->xid && is_one_phase(txn) ? TXN_BRANCH_READY : TXN_BRANCH_UNKNOWN;
  case VOTE_UNKNOWN: break;
  }
  return TXN_BRANCH_UNKNOWN;
}

static void on_vote(struct txn *txn, const struct txn_event *event, struct txn_actions *actions) {
  struct txn_branch *branch = branch_of(txn, event->branch);
  /* A vote that comes after the abort was sent changes nothing: the answer to the abort tells. */
  if (!txn_is_undecided(txn)) return;
  assert(branch->state == TXN_BRANCH_RUNNING || branch->state == TXN_BRANCH_PREPARING);
  move_branch(branch, vote_state(txn, event));
  if (branch->state == TXN_BRANCH_ABORTED || branch->state == TXN_BRANCH_UNKNOWN)
    abort_all(txn, actions);
  else if (txn->state == TXN_PREPARING)
    decide_if_all_voted(txn, actions);
}

/* ---- decide, log ------------------------------------------------------------------------------ */

/* Durable: the decision with all its branches. From here on it never changes. */
static void send_commits(struct txn *txn, struct txn_actions *actions) {
  bool delegated = has_branch_in(txn, BIT(TXN_BRANCH_READY));
  move(txn, delegated ? TXN_DELEGATED : TXN_COMMITTING);
  for (unsigned id = 1; id <= txn->branch_count; id++) {
    struct txn_branch *branch = branch_of(txn, id);
    if (branch->state == TXN_BRANCH_READ_ONLY) continue;
    move_branch(branch, TXN_BRANCH_COMMITTING);
    decide(actions, id, decision_of(txn));
  }
  if (!delegated) end_if_all_confirmed(txn, actions);
}

static void on_logged(struct txn *txn, enum wal_result logged, struct txn_actions *actions) {
  assert(txn->state == TXN_DECIDING);
  switch (logged) {
  case WAL_DURABLE: send_commits(txn, actions); return;
  case WAL_REFUSED: abort_all(txn, actions); return; /* proven absent: still ours to abort */
  case WAL_UNKNOWN: break;
  }
  move(txn, TXN_STUCK);
  act(actions, TXN_DO_HALT, 0);
}

/* ---- outcome, end ----------------------------------------------------------------------------- */

static void end_delegated(struct txn *txn, struct txn_branch *branch, enum branch_outcome outcome,
                          struct txn_actions *actions) {
  bool committed = outcome == BRANCH_OUTCOME_COMMITTED;
  move_branch(branch, committed ? TXN_BRANCH_COMMITTED : TXN_BRANCH_ABORTED);
  move(txn, committed ? TXN_COMMITTED : TXN_ABORTED);
  act(actions, TXN_DO_CONFIRM, 1)->outcome = outcome;
  act(actions, TXN_DO_END, 0);
}

/* A branch has ended, as decided or (a human, a failover) against the decision. The latter is told,
 * recorded and never repaired behind anybody's back. */
static void end_branch(struct txn *txn, unsigned id, enum branch_outcome outcome,
                       struct txn_actions *actions) {
  bool committed = outcome == BRANCH_OUTCOME_COMMITTED;
  move_branch(branch_of(txn, id), committed ? TXN_BRANCH_COMMITTED : TXN_BRANCH_ABORTED);
  if (committed != (txn->state == TXN_COMMITTING)) {
    txn->mixed = true;
    act(actions, TXN_DO_ALARM, id)->outcome = outcome;
  }
  act(actions, TXN_DO_CONFIRM, id)->outcome = outcome;
  end_if_all_confirmed(txn, actions);
}

static void on_outcome(struct txn *txn, unsigned id, enum branch_outcome outcome,
                       struct txn_actions *actions) {
  struct txn_branch *branch = branch_of(txn, id);
  assert(branch->state == TXN_BRANCH_COMMITTING || branch->state == TXN_BRANCH_ABORTING);
  switch (outcome) {
  case BRANCH_OUTCOME_COMMITTED:
  case BRANCH_OUTCOME_ABORTED:
    if (txn->state == TXN_DELEGATED)
      end_delegated(txn, branch, outcome, actions);
    else
      end_branch(txn, id, outcome, actions);
    return;
  case BRANCH_OUTCOME_UNVERIFIABLE: act(actions, TXN_DO_ALARM, id)->outcome = outcome; break;
  case BRANCH_OUTCOME_RETRY: break;
  }
  act(actions, TXN_DO_PARK, id);
}

static void on_retry(struct txn *txn, unsigned id, struct txn_actions *actions) {
  struct txn_branch *branch = branch_of(txn, id);
  assert(branch->state == TXN_BRANCH_COMMITTING || branch->state == TXN_BRANCH_ABORTING);
  decide(actions, id, decision_of(txn));
}

/* ---- recovery --------------------------------------------------------------------------------- */

static enum txn_branch_state recovered_state(const struct wal_branch *branch) {
  if (branch->read_only) return TXN_BRANCH_READ_ONLY;
  if (!branch->confirmed) return TXN_BRANCH_COMMITTING;
  return branch->outcome == BRANCH_OUTCOME_COMMITTED ? TXN_BRANCH_COMMITTED : TXN_BRANCH_ABORTED;
}

void txn_recover(struct txn *txn, const struct wal_record *record, struct txn_actions *actions) {
  assert(record->kind == WAL_KIND_COMMIT || record->kind == WAL_KIND_DELEGATED);
  assert(record->branch_count >= 1 && record->branch_count <= TXN_BRANCHES_MAX);
  actions->count = 0;
  bool delegated = record->kind == WAL_KIND_DELEGATED;
  *txn = (struct txn){.state = delegated ? TXN_DELEGATED : TXN_COMMITTING,
                      .branch_count = (unsigned)record->branch_count};
  for (unsigned id = 1; id <= txn->branch_count; id++) {
    const struct wal_branch *was = &record->branches[id - 1];
    struct txn_branch *branch = branch_of(txn, id);
    *branch = (struct txn_branch){.state = recovered_state(was), .sent = true};
    if (branch->state == TXN_BRANCH_COMMITTING) act(actions, TXN_DO_PARK, id);
    if (branch->state == TXN_BRANCH_ABORTED && !delegated) txn->mixed = true;
  }
  if (actions->count > 0) return;
  /* Confirmed everywhere: only the end record was lost. */
  if (delegated && txn->branches[0].state == TXN_BRANCH_ABORTED) {
    move(txn, TXN_ABORTED);
    act(actions, TXN_DO_END, 0);
  } else if (delegated) {
    move(txn, TXN_COMMITTED);
    act(actions, TXN_DO_END, 0);
  } else {
    end_if_all_confirmed(txn, actions);
  }
}

/* ---- the step --------------------------------------------------------------------------------- */

/* What each state promises. */
static void check_state(const struct txn *txn) {
  const unsigned ended =
      BIT(TXN_BRANCH_COMMITTED) | BIT(TXN_BRANCH_ABORTED) | BIT(TXN_BRANCH_READ_ONLY);
  switch (txn->state) {
  case TXN_OPEN:
    assert(!has_branch_outside(txn, BIT(TXN_BRANCH_ACTIVE) | BIT(TXN_BRANCH_RUNNING)));
    return;
  case TXN_PREPARING: assert(has_branch_in(txn, BIT(TXN_BRANCH_PREPARING))); return;
  case TXN_DECIDING:
  case TXN_STUCK:
    assert(!has_branch_outside(txn, BIT(TXN_BRANCH_PREPARED) | BIT(TXN_BRANCH_READY) |
                                        BIT(TXN_BRANCH_READ_ONLY)));
    return;
  case TXN_DELEGATED:
    assert(txn->branch_count == 1 && txn->branches[0].state == TXN_BRANCH_COMMITTING);
    return;
  case TXN_COMMITTING:
    assert(has_branch_in(txn, BIT(TXN_BRANCH_COMMITTING)));
    assert(!has_branch_outside(txn, BIT(TXN_BRANCH_COMMITTING) | ended));
    return;
  case TXN_ABORTING:
    assert(has_branch_in(txn, BIT(TXN_BRANCH_ABORTING)));
    assert(!has_branch_outside(txn, BIT(TXN_BRANCH_ABORTING) | ended));
    return;
  case TXN_COMMITTED:
  case TXN_ABORTED: {
    unsigned against = txn->state == TXN_COMMITTED ? TXN_BRANCH_ABORTED : TXN_BRANCH_COMMITTED;
    assert(!has_branch_outside(txn, ended));
    assert(txn->mixed == has_branch_in(txn, BIT(against)));
    return;
  }
  case TXN_STATE_COUNT: break;
  }
  assert(false && "a state");
}

void txn_step(struct txn *txn, const struct txn_event *event, struct txn_actions *actions) {
  actions->count = 0;
  switch (event->kind) {
  case TXN_EV_ENLIST: on_enlist(txn, event->external); break;
  case TXN_EV_STATEMENT: on_statement(txn, event->branch, actions); break;
  case TXN_EV_COMMIT: on_commit(txn, actions); break;
  case TXN_EV_ROLLBACK: on_rollback(txn, actions); break;
  case TXN_EV_VOTE: on_vote(txn, event, actions); break;
  case TXN_EV_LOGGED: on_logged(txn, event->logged, actions); break;
  case TXN_EV_OUTCOME: on_outcome(txn, event->branch, event->outcome, actions); break;
  case TXN_EV_RETRY: on_retry(txn, event->branch, actions); break;
  }
  check_state(txn);
}
