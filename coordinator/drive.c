/* Carries out what the protocol core says: messages to participants, records to the log.
 *
 * In the order of the protocol: run, vote, log, decide, outcome, end. What is durable before each
 * message is said at the state in txn.h; the crash points C1..C8 mark the gaps between.
 *
 * Every call out counts in t->in_flight, and every callback ends in drive() or transaction_review(),
 * so that a transaction lives exactly as long as somebody may still speak of it. A callback never
 * comes from inside the call that asked for it, so drive() is never entered twice.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/crash_point.h"
#include "common/log.h"
#include "coordinator/internal.h"
#include "coordinator/render.h"

/* After the log has refused a decision, new work is refused for this long before it is tried again. */
enum { LOG_FULL_PAUSE_MS = 1000 };

/* PREPARE TRANSACTION beyond max_prepared_transactions (out_of_memory, in the standard's words). */
static const char SQLSTATE_NO_SLOT[] = "53200";

static struct transaction_branch *branch_of(struct transaction *t, unsigned id) {
  assert(id >= 1 && id <= t->core.branch_count);
  return t->branches[id - 1];
}

static void note_cause(struct transaction *t, const struct cause *cause) {
  if (t->cause.kind == CAUSE_NONE) t->cause = *cause;
}

static struct cause unreachable_cause(const struct transaction_branch *branch, const char *why) {
  struct cause cause = {
      .kind = CAUSE_UNREACHABLE, .branch = (int)branch->id, .statement = -1, .sqlstate = ""};
  (void)snprintf(cause.text, sizeof cause.text, "participant %s: %.300s", branch->member->name,
                 why);
  return cause;
}

/* Clients read it: addresses, paths and roles are told in the log, and to operators by the
 * participant's last_error. */
static struct cause not_reachable(const struct transaction_branch *branch) {
  char why[160];
  (void)snprintf(why, sizeof why,
                 "it cannot be reached; its last_error, in /v1/participants/%.64s, says why",
                 branch->member->name);
  return unreachable_cause(branch, why);
}

/* Why a call has failed. A refusal is in words of ours, anything else is of the transport's. */
static struct cause call_failed(const struct transaction_branch *branch, const struct error *err) {
  switch (error_class_of(err->code)) {
  case CLASS_CALLER: return unreachable_cause(branch, err->text);
  case CLASS_AMBIGUOUS: return unreachable_cause(branch, "its answer was lost");
  case CLASS_NONE:
  case CLASS_RETRY:
  case CLASS_FATAL: break;
  }
  return not_reachable(branch);
}

/* ---- run, vote -------------------------------------------------------------------------------- */

/* False when memory has run out: then the transaction must not commit, for nobody could tell what
 * its statements have read. */
static bool keep_results(struct transaction_branch *branch, const char *results) {
  free(branch->results);
  branch->results = results ? strdup(results) : NULL;
  return !results || branch->results;
}

/* In place of a vote whose results are lost. What only read has ended already. */
static struct run_reply vote_without_results(const struct run_reply *reply) {
  struct run_reply none = {.vote = reply->vote == VOTE_READ_ONLY ? VOTE_NO : VOTE_UNKNOWN,
                           .cause = {.kind = CAUSE_LIMIT, .statement = -1}};
  (void)snprintf(none.cause.text, sizeof none.cause.text, "no memory for the results");
  return none;
}

/* Statements that have run in an open transaction are answered with a yes. */
static void observe_vote(const struct transaction_branch *branch, enum vote vote,
                         const struct cause *error) {
  struct transaction *t = branch->transaction;
  bool ran = vote == VOTE_YES && t->core.branches[branch->id - 1].state == TXN_BRANCH_RUNNING;
  observe(t, &(struct observed){.kind = ran ? STEP_STATEMENTS_RAN : STEP_VOTE,
                                .branch = branch,
                                .attempt = branch->runs,
                                .detail = ran ? NULL : vote_name(vote),
                                .error = error});
}

/* Who was stopped for a while finds votes waiting, and its timers over: whichever comes first, a vote is too late
 * when the time is. */
static bool is_too_late(const struct transaction *t, enum vote vote) {
  return vote != VOTE_NO && vote != VOTE_UNKNOWN && transaction_remaining_ms(t) == 0;
}

static void take_vote(struct transaction_branch *branch, const struct run_reply *reply) {
  struct transaction *t = branch->transaction;
  struct run_reply none;
  if (is_too_late(t, reply->vote)) transaction_expire(t);
  if (txn_is_undecided(&t->core)) {
    if (!keep_results(branch, reply->results)) {
      none = vote_without_results(reply);
      reply = &none;
    }
    (void)snprintf(branch->xid, sizeof branch->xid, "%s", reply->xid);
    (void)snprintf(branch->server, sizeof branch->server, "%s", reply->server);
  }
  if (reply->vote == VOTE_NO || reply->vote == VOTE_UNKNOWN) {
    struct cause cause = reply->cause;
    cause.branch = (int)branch->id;
    if (cause.kind == CAUSE_NONE) cause = unreachable_cause(branch, "its vote is not known");
    /* After an abort a run that was cancelled says no: that is no error of the branch's. */
    if (txn_is_undecided(&t->core)) {
      branch->last_error = cause;
      note_cause(t, &cause);
    }
    if (strcmp(cause.sqlstate, SQLSTATE_NO_SLOT) == 0) slots_refused(branch);
    observe_vote(branch, reply->vote, &cause);
  } else {
    observe_vote(branch, reply->vote, NULL);
  }
  drive(t, &(struct txn_event){.kind = TXN_EV_VOTE,
                               .branch = branch->id,
                               .vote = reply->vote,
                               .xid = reply->xid[0] != '\0'});
}

/* The participant has no room for it, and has not begun it. */
static void take_refusal(struct transaction_branch *branch, const struct error *err) {
  struct run_reply none = {.vote = VOTE_NO, .cause = unreachable_cause(branch, err->text)};
  none.cause.kind = CAUSE_LIMIT;
  none.cause.limit = err->limit;
  branch->transaction->coordinator->figures.refused[REFUSED_CONNECTIONS]++;
  if (branch->transaction->cause.kind == CAUSE_NONE) branch->transaction->refused = true;
  take_vote(branch, &none);
}

static void run_answered(void *data, const struct run_reply *reply, const struct error *err) {
  struct transaction_branch *branch = data;
  observe_call(branch->member, CALL_RUN, err);
  branch->transaction->in_flight--;
  statement_list_free(&branch->statements);
  if (!err) {
    take_vote(branch, reply);
    return;
  }
  if (err->code == ERR_OVERLOADED) {
    take_refusal(branch, err);
    return;
  }
  member_suspect(branch->member, err);
  /* Only a first run that certainly never arrived leaves nothing behind at the agent. One that is fenced
   * off may have arrived twice: what an agent that has restarted refuses, its former life may have done. */
  bool proven = error_class_of(err->code) != CLASS_AMBIGUOUS && err->code != ERR_FENCED;
  bool nothing_there =
      branch->runs == 1 && proven && !branch->transaction->core.branches[branch->id - 1].external;
  struct run_reply none = {.vote = nothing_there ? VOTE_NO : VOTE_UNKNOWN,
                           .cause = call_failed(branch, err)};
  if (err->code == ERR_SQL_NOT_ALLOWED) none.cause.kind = CAUSE_STATEMENT;
  take_vote(branch, &none);
}

static void run_not_sent(void *data) {
  struct transaction_branch *branch = data;
  loop_timer_free(branch->not_sent);
  branch->not_sent = NULL;
  struct error err = {0};
  (void)error_set(&err, ERR_UNAVAILABLE, "%s",
                  branch->member->last_error[0] ? branch->member->last_error : "not reachable");
  run_answered(branch, NULL, &err);
}

static void observe_run(const struct transaction_branch *branch, enum run_end end) {
  static const char *const how_far[] = {
      [RUN_KEEP_OPEN] = "statements", [RUN_PREPARE] = "prepare", [RUN_READY] = "one_phase"};
  struct cause error = {.kind = CAUSE_NONE};
  bool usable = branch->member->usable;
  if (!usable) error = not_reachable(branch);
  observe(branch->transaction,
          &(struct observed){.kind = usable ? STEP_RUN_SENT : STEP_RUN_NOT_SENT,
                             .branch = branch,
                             .attempt = branch->runs,
                             .detail = how_far[end],
                             .error = &error});
}

/* Durable: nothing yet. A crash before the decision is recorded leaves prepared branches, which
 * recovery rolls back. */
static void run(struct transaction_branch *branch, enum run_end end) {
  struct transaction *t = branch->transaction;
  if (end != RUN_KEEP_OPEN) CRASH_POINT("C2");
  struct run_request request = {.gid = branch->gid,
                                .epoch = t->coordinator->epoch,
                                .incarnation = branch->member->fence.incarnation,
                                /* what the application prepares itself is looked up, not run */
                                .sequence = branch->runs +
                                            (t->core.branches[branch->id - 1].external ? 1 : 0),
                                .end = end,
                                .statements = branch->statements.items,
                                .statement_count = branch->statements.count,
                                .timeout_ms = transaction_remaining_ms(t)};
  branch->runs++;
  t->in_flight++;
  look_forget(branch);
  observe_run(branch, end);
  request.trace = spans_context_of(t, branch->run_span);
  if (branch->member->usable) {
    branch->member->participant->ops->run(branch->member->participant, &request, run_answered,
                                          branch);
  } else {
    branch->not_sent = loop_timer_new(t->coordinator->loop, run_not_sent, branch);
    loop_timer_start(branch->not_sent, 0);
  }
}

/* ---- decide, log ------------------------------------------------------------------------------ */

static void logged(void *data, enum wal_result result, const struct error *err) {
  struct transaction *t = data;
  t->in_flight--;
  if (result == WAL_DURABLE) {
    CRASH_POINT("C5");
    t->logged = true;
  } else if (result == WAL_REFUSED) {
    struct cause cause = {.kind = CAUSE_LIMIT, .statement = -1};
    (void)snprintf(cause.text, sizeof cause.text, "the decision could not be logged: %.300s",
                   err ? err->text : "no space");
    note_cause(t, &cause);
    t->decided_at_us = 0;
    t->coordinator->log_full_until_ms = loop_now_ms(t->coordinator->loop) + LOG_FULL_PAUSE_MS;
  }
  static const char *const results[] = {
      [WAL_UNKNOWN] = "unknown", [WAL_REFUSED] = "refused", [WAL_DURABLE] = "durable"};
  observe(t, &(struct observed){.kind = STEP_LOGGED,
                                .detail = results[result],
                                .error = result == WAL_REFUSED ? &t->cause : NULL});
  drive(t, &(struct txn_event){.kind = TXN_EV_LOGGED, .logged = result});
}

static void fill_record(struct transaction *t, struct wal_record *record,
                        struct wal_branch branches[TXN_BRANCHES_MAX]) {
  for (unsigned i = 0; i < t->core.branch_count; i++) {
    const struct transaction_branch *branch = t->branches[i];
    enum txn_branch_state state = t->core.branches[i].state;
    branches[i] =
        (struct wal_branch){.id = branch->id,
                            .participant = branch->member->name,
                            .gid = branch->gid,
                            .xid = branch->xid,
                            .server = branch->server,
                            .read_only = state == TXN_BRANCH_READ_ONLY,
                            .confirmed =
                                state == TXN_BRANCH_COMMITTED || state == TXN_BRANCH_ABORTED,
                            .outcome = state == TXN_BRANCH_COMMITTED ? BRANCH_OUTCOME_COMMITTED
                                       : state == TXN_BRANCH_ABORTED ? BRANCH_OUTCOME_ABORTED
                                                                     : BRANCH_OUTCOME_RETRY};
  }
  *record = (struct wal_record){.txid = t->id,
                                .label = t->label,
                                .owner = t->owner[0] ? t->owner : NULL,
                                .created_at_us = t->created_at_us,
                                .decided_at_us = t->decided_at_us,
                                .applied_at_us = t->applied_at_us,
                                .timeout_ms = t->timeout_ms,
                                .wait_decided = t->wait_decided,
                                .cause = t->cause,
                                .branches = branches,
                                .branch_count = t->core.branch_count};
}

static void log_decision(struct transaction *t, enum wal_kind kind) {
  CRASH_POINT("C3");
  if (kind == WAL_KIND_COMMIT) t->decided_at_us = clock_wall_us();
  observe(t, &(struct observed){.kind = STEP_LOG_ASKED,
                                .detail = kind == WAL_KIND_COMMIT ? "commit" : "delegated"});
  struct wal_record record;
  struct wal_branch branches[TXN_BRANCHES_MAX];
  fill_record(t, &record, branches);
  record.kind = kind;
  record.outcome = kind == WAL_KIND_COMMIT ? WAL_OUTCOME_COMMITTED : WAL_OUTCOME_NONE;
  struct wal_key key;
  char *results;
  if (key_fill(t, &key, &results)) record.key = &key;
  t->in_flight++;
  wal_decide(t->coordinator->wal, &record, logged, t);
  free(results);
}

/* ---- confirmations ---------------------------------------------------------------------------- */

/* The end tells of all branches how they have ended. A record for each is for a transaction that is held
 * up, so that after a restart its branches are not asked again, and for one whose branches differ. Not
 * before an alarm is durable: who is asked again after a restart raises it again. */
static void log_confirmation(struct transaction_branch *branch) {
  struct transaction *t = branch->transaction;
  enum txn_branch_state state = t->core.branches[branch->id - 1].state;
  bool committed = state == TXN_BRANCH_COMMITTED;
  /* An abort is not in the log, so neither is its confirmation. */
  if (!t->logged || !t->held_up || t->alarms || branch->confirmation_logged) return;
  if (!committed && state != TXN_BRANCH_ABORTED) return;
  branch->confirmation_logged = true;
  wal_confirm(t->coordinator->wal, &t->id, branch->id,
              committed ? BRANCH_OUTCOME_COMMITTED : BRANCH_OUTCOME_ABORTED, clock_wall_us());
}

static void log_confirmations(struct transaction *t) {
  for (unsigned i = 0; i < t->core.branch_count; i++)
    log_confirmation(t->branches[i]);
}

static void hold_up(struct transaction *t) {
  if (t->held_up) return;
  t->held_up = true;
  log_confirmations(t);
}

/* ---- phase two -------------------------------------------------------------------------------- */

/* The database does not let us end the branch (another role's, rights taken away). Time alone will
 * not mend that. */
static void warn_of_refusal(struct transaction_branch *branch, const struct cause *cause) {
  bool refused = strncmp(cause->sqlstate, "42", 2) == 0 || strncmp(cause->sqlstate, "0A", 2) == 0;
  if (!refused || branch->refusal_told) return;
  branch->refusal_told = true;
  log_error("decision_refused", "transaction", "s", branch->transaction->id.text, "participant",
            "s", branch->member->name, "gid", "s", branch->gid, "sqlstate", "s", cause->sqlstate,
            "error", "s", cause->text, "trace_id", "o", spans_trace_id(branch->transaction), NULL);
}

static void note_outcome(struct transaction_branch *branch, const struct decide_reply *reply) {
  branch->told = true;
  if (reply->outcome == BRANCH_OUTCOME_RETRY || reply->outcome == BRANCH_OUTCOME_UNVERIFIABLE)
    hold_up(branch->transaction);
  if (reply->outcome == BRANCH_OUTCOME_RETRY) warn_of_refusal(branch, &reply->cause);
  if (reply->outcome == BRANCH_OUTCOME_UNVERIFIABLE) branch->hazard = true;
  /* That it has aborted is an error only where it was to commit. */
  bool ended_well = reply->outcome == BRANCH_OUTCOME_COMMITTED ||
                    (reply->outcome == BRANCH_OUTCOME_ABORTED &&
                     branch->transaction->core.state != TXN_COMMITTING);
  if (ended_well || reply->cause.kind == CAUSE_NONE) return;
  branch->last_error = reply->cause;
  branch->last_error.branch = (int)branch->id;
}

static void outcome_known(struct transaction_branch *branch, const struct decide_reply *reply) {
  struct transaction *t = branch->transaction;
  enum branch_outcome outcome = reply->outcome;
  note_outcome(branch, reply);
  observe(t, &(struct observed){.kind = STEP_OUTCOME,
                                .branch = branch,
                                .attempt = branch->attempts,
                                .detail = branch_outcome_name(outcome),
                                .error = &reply->cause});
  if (outcome != BRANCH_OUTCOME_COMMITTED && outcome != BRANCH_OUTCOME_ABORTED &&
      branch->resolved != BRANCH_OUTCOME_RETRY)
    outcome = branch->resolved;
  /* A delegated branch that aborted on its own says why. */
  if (t->core.state == TXN_DELEGATED && reply->outcome == BRANCH_OUTCOME_ABORTED) {
    struct cause cause = reply->cause;
    cause.branch = (int)branch->id;
    if (cause.kind == CAUSE_NONE) {
      cause.kind = CAUSE_RECOVERY;
      (void)snprintf(cause.text, sizeof cause.text,
                     "the branch was rolled back before it was told to commit");
    }
    note_cause(t, &cause);
  }
  drive(t, &(struct txn_event){.kind = TXN_EV_OUTCOME, .branch = branch->id, .outcome = outcome});
}

static void decide_answered(void *data, const struct decide_reply *reply, const struct error *err) {
  struct transaction_branch *branch = data;
  observe_call(branch->member, CALL_DECIDE, err);
  branch->transaction->in_flight--;
  if (!err) {
    outcome_known(branch, reply);
    return;
  }
  member_suspect(branch->member, err);
  outcome_known(branch, &(struct decide_reply){.outcome = BRANCH_OUTCOME_RETRY,
                                               .cause = call_failed(branch, err)});
}

/* Durable for a commit and for one phase: the record. For an abort nothing is needed. */
static void decide(struct transaction_branch *branch, enum decision decision) {
  struct transaction *t = branch->transaction;
  struct member *member = branch->member;
  CRASH_POINT("C6");
  if (!member->usable) {
    branch->last_error = not_reachable(branch);
    branch->told = true;
    observe(t, &(struct observed){.kind = STEP_DECISION_WAITS,
                                  .branch = branch,
                                  .detail = decision_name(decision),
                                  .error = &branch->last_error});
    member_park(branch);
    hold_up(t);
    return;
  }
  branch->attempts++;
  t->in_flight++;
  observe(t, &(struct observed){.kind = STEP_DECISION_SENT,
                                .branch = branch,
                                .attempt = branch->attempts,
                                .detail = decision_name(decision)});
  struct decide_request request = {.gid = branch->gid,
                                   .epoch = t->coordinator->epoch,
                                   .decision = decision,
                                   .xid = branch->xid,
                                   .server = branch->server,
                                   .trace = spans_context_of(t, branch->decide_span)};
  member->participant->ops->decide(member->participant, &request, decide_answered, branch);
}

/* ---- alarm, end ------------------------------------------------------------------------------- */

/* On its way to the log. A full disk holds it up, and its transaction with it, but is no reason to
 * forget it. */
struct alarm {
  struct transaction *transaction;
  unsigned branch;
  const char *event;
  char detail[CAUSE_TEXT_SIZE + 64];
  int64_t at_us;
  enum branch_outcome outcome; /* to be confirmed with it; RETRY: none */
  struct loop_timer *again;    /* NULL: not refused yet */
  struct alarm *prev, *next;
};

static void alarm_free(struct alarm *alarm) {
  DL_DELETE(alarm->transaction->alarms, alarm);
  loop_timer_free(alarm->again);
  free(alarm);
}

void alarms_free(struct transaction *t) {
  while (t->alarms)
    alarm_free(t->alarms);
}

static void record_alarm(void *data);
static void log_end(struct transaction *t);

static void audited(void *data, enum wal_result result, const struct error *err) {
  struct alarm *alarm = data;
  struct transaction *t = alarm->transaction;
  struct loop *loop = t->coordinator->loop;
  if (result != WAL_DURABLE && !alarm->again)
    log_error("audit_not_recorded", "transaction", "s", t->id.text, "error", "s",
              err ? err->text : "", "trace_id", "o", spans_trace_id(t), NULL);
  if (result == WAL_REFUSED) {
    if (!alarm->again) alarm->again = loop_timer_new(loop, record_alarm, alarm);
    loop_timer_start(alarm->again, LOG_FULL_PAUSE_MS);
    return;
  }
  t->in_flight--;
  if (result == WAL_UNKNOWN) t->coordinator->options.halt("the decision log failed");
  alarm_free(alarm);
  if (result == WAL_DURABLE && !t->alarms) {
    log_confirmations(t);
    if (t->end_waits) log_end(t);
  }
  transaction_review(t);
}

/* Durable together: the line, and what it is about. Of a transaction that is decided that is how this branch
 * has ended; of one that has aborted, of which nothing is known after a crash, its note: one that is at odds
 * must be found for ever. */
static void record_alarm(void *data) {
  struct alarm *alarm = data;
  struct transaction *t = alarm->transaction;
  struct wal_record record;
  struct wal_branch branches[TXN_BRANCHES_MAX];
  struct wal_alarm line = {.branch = alarm->branch,
                           .event = alarm->event,
                           .detail = alarm->detail,
                           .at_us = alarm->at_us,
                           .outcome = alarm->outcome};
  if (!t->logged && t->core.mixed) {
    fill_record(t, &record, branches);
    record.kind = WAL_KIND_ABORTED;
    record.outcome = WAL_OUTCOME_MIXED;
    line.noted = &record;
  }
  wal_alarm(t->coordinator->wal, &t->id, &line, audited, alarm);
}

static void alarm_branch(struct transaction_branch *branch, enum branch_outcome outcome) {
  struct transaction *t = branch->transaction;
  bool hazard = outcome == BRANCH_OUTCOME_UNVERIFIABLE;
  /* A hazard is found again at every retry; it is told and recorded once. */
  if (hazard && branch->alarmed) return;
  branch->alarmed = true;
  struct alarm *alarm = calloc(1, sizeof *alarm);
  if (!alarm) abort();
  alarm->transaction = t;
  alarm->branch = branch->id;
  alarm->event = hazard ? "heuristic_hazard" : "heuristic_mixed";
  alarm->at_us = clock_wall_us();
  const char *why = branch->last_error.kind == CAUSE_NONE ? "" : branch->last_error.text;
  if (hazard)
    (void)snprintf(alarm->detail, sizeof alarm->detail, "%s", why);
  else
    (void)snprintf(alarm->detail, sizeof alarm->detail, "the branch had been %s%s%s",
                   outcome == BRANCH_OUTCOME_COMMITTED ? "committed" : "rolled back",
                   *why ? ": " : "", why);
  log_error(alarm->event, "transaction", "s", t->id.text, "participant", "s", branch->member->name,
            "gid", "s", branch->gid, "detail", "s", alarm->detail, "trace_id", "o",
            spans_trace_id(t), NULL);
  observe(t, &(struct observed){.kind = STEP_ALARM,
                                .branch = branch,
                                .detail = alarm->event,
                                .error = &branch->last_error});
  if (t->logged && !hazard) {
    alarm->outcome = outcome;
    branch->confirmation_logged = true;
  }
  DL_APPEND(t->alarms, alarm);
  hold_up(t);
  t->in_flight++;
  record_alarm(alarm);
}

static void note_aborted(struct transaction *t) {
  struct wal_record record;
  struct wal_branch branches[TXN_BRANCHES_MAX];
  fill_record(t, &record, branches);
  record.kind = WAL_KIND_ABORTED;
  record.outcome = transaction_outcome(t);
  /* A key that has its answer. One that has none is not to be found: the request may be run again. */
  struct wal_key key;
  char *results;
  if (key_fill(t, &key, &results) && key.status != 0) record.key = &key;
  wal_note_aborted(t->coordinator->wal, &record);
  free(results);
}

static void log_end(struct transaction *t) {
  if (!t->logged)
    note_aborted(t);
  else
    wal_end(t->coordinator->wal, &t->id, transaction_outcome(t),
            t->cause.kind != CAUSE_NONE ? &t->cause : NULL, t->decided_at_us, t->applied_at_us);
}

static void end(struct transaction *t) {
  CRASH_POINT("C8");
  t->applied_at_us = clock_wall_us();
  if (t->decided_at_us == 0) t->decided_at_us = t->applied_at_us;
  t->ended = true;
  observe(t, &(struct observed){.kind = STEP_ENDED,
                                .detail = render_outcome_name(transaction_outcome(t))});
  /* An end in the log that no audit line speaks of would be told as mixed for ever without a word why. */
  t->end_waits = t->alarms != NULL;
  if (!t->end_waits) log_end(t);
}

/* ---- the step --------------------------------------------------------------------------------- */

void drive_actions(struct transaction *t, const struct txn_actions *actions) {
  struct coordinator *c = t->coordinator;
  for (size_t i = 0; i < actions->count; i++) {
    const struct txn_action *action = &actions->items[i];
    switch (action->kind) {
    case TXN_DO_RUN: run(branch_of(t, action->branch), action->end); break;
    case TXN_DO_LOG: log_decision(t, action->log_kind); break;
    case TXN_DO_DECIDE: decide(branch_of(t, action->branch), action->decision); break;
    case TXN_DO_PARK: member_park(branch_of(t, action->branch)); break;
    case TXN_DO_CONFIRM: log_confirmation(branch_of(t, action->branch)); break;
    case TXN_DO_ALARM: alarm_branch(branch_of(t, action->branch), action->outcome); break;
    case TXN_DO_END: end(t); break;
    case TXN_DO_HALT: c->options.halt("the decision log failed"); break;
    }
  }
}

void drive(struct transaction *t, const struct txn_event *event) {
  struct txn_actions actions;
  txn_step(&t->core, event, &actions);
  if (t->decided_at_us == 0 && transaction_outcome(t) != WAL_OUTCOME_NONE)
    t->decided_at_us = clock_wall_us();
  observe_state(t);
  slots_follow(t);
  drive_actions(t, &actions);
  transaction_review(t);
}
