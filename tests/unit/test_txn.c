/* The coordinator's protocol core as traces: each step states the event, the state it must lead to
 * and every action, in order. The exhaustive walk is in test_txn_walk.c. */
#include "coordinator/txn.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/suite.h"

/* ---- traces ---------------------------------------------------------------------------------- */

static const char *state_text(enum txn_state state) {
  static const char *const names[TXN_STATE_COUNT] = {
      [TXN_OPEN] = "open",           [TXN_PREPARING] = "preparing",   [TXN_DECIDING] = "deciding",
      [TXN_DELEGATED] = "delegated", [TXN_COMMITTING] = "committing", [TXN_COMMITTED] = "committed",
      [TXN_ABORTING] = "aborting",   [TXN_ABORTED] = "aborted",       [TXN_STUCK] = "stuck"};
  return names[state];
}

static void action_text(const struct txn_action *action, char *out, size_t size) {
  static const char *const ends[] = {"keep_open", "prepare", "ready"};
  static const char *const kinds[] = {"aborted", "commit", "delegated"};
  static const char *const decisions[] = {"abort", "commit", "one_phase"};
  static const char *const outcomes[] = {"retry", "committed", "aborted", "unverifiable"};
  unsigned id = action->branch;
  switch (action->kind) {
  case TXN_DO_RUN: (void)snprintf(out, size, "run(%u,%s)", id, ends[action->end]); return;
  case TXN_DO_LOG: (void)snprintf(out, size, "log(%s)", kinds[action->log_kind]); return;
  case TXN_DO_DECIDE: (void)snprintf(out, size, "%s(%u)", decisions[action->decision], id); return;
  case TXN_DO_PARK: (void)snprintf(out, size, "park(%u)", id); return;
  case TXN_DO_CONFIRM:
    (void)snprintf(out, size, "confirm(%u,%s)", id, outcomes[action->outcome]);
    return;
  case TXN_DO_ALARM:
    (void)snprintf(out, size, "alarm(%u,%s)", id, outcomes[action->outcome]);
    return;
  case TXN_DO_END: (void)snprintf(out, size, "end"); return;
  case TXN_DO_HALT: (void)snprintf(out, size, "halt"); return;
  }
}

/* "state [mixed]: action action" */
static void trace_text(const struct txn *txn, const struct txn_actions *actions, char *out,
                       size_t size) {
  int used = snprintf(out, size, "%s%s:", state_text(txn->state), txn->mixed ? " mixed" : "");
  for (size_t i = 0; i < actions->count; i++) {
    char one[40];
    action_text(&actions->items[i], one, sizeof one);
    used += snprintf(out + used, size - (size_t)used, " %s", one);
  }
}

static void expect_trace(const struct txn *txn, const struct txn_actions *actions,
                         const char *expected, int line) {
  char got[400];
  trace_text(txn, actions, got, sizeof got);
  if (strcmp(got, expected) != 0)
    (void)fprintf(stderr, "\n  line %d: expected \"%s\", got \"%s\"\n", line, expected, got);
  CU_assertImplementation(strcmp(got, expected) == 0, (unsigned)line, expected, __FILE__, "step",
                          CU_FALSE);
}

static void step(struct txn *txn, struct txn_event event, const char *expected, int line) {
  struct txn_actions actions;
  txn_step(txn, &event, &actions);
  expect_trace(txn, &actions, expected, line);
}

#define STEP(event, expected) step(&t, event, expected, __LINE__)
#define EVENT(...)            ((struct txn_event){__VA_ARGS__})
#define ENLIST                EVENT(.kind = TXN_EV_ENLIST)
#define ENLIST_EXTERNAL       EVENT(.kind = TXN_EV_ENLIST, .external = true)
#define STATEMENT(id)         EVENT(.kind = TXN_EV_STATEMENT, .branch = (id))
#define COMMIT                EVENT(.kind = TXN_EV_COMMIT)
#define ROLLBACK              EVENT(.kind = TXN_EV_ROLLBACK)
#define VOTE(id, what)        EVENT(.kind = TXN_EV_VOTE, .branch = (id), .vote = (what), .xid = true)
#define VOTE_NO_XID(id, what) EVENT(.kind = TXN_EV_VOTE, .branch = (id), .vote = (what))
#define LOGGED(what)          EVENT(.kind = TXN_EV_LOGGED, .logged = (what))
#define RETRY(id)             EVENT(.kind = TXN_EV_RETRY, .branch = (id))
#define OUTCOME(id, what)                                                                          \
  EVENT(.kind = TXN_EV_OUTCOME, .branch = (id), .outcome = BRANCH_OUTCOME_##what)

/* ---- beginnings ------------------------------------------------------------------------------ */

static struct txn open_with(unsigned branches) {
  struct txn t;
  txn_init(&t);
  for (unsigned i = 0; i < branches; i++)
    STEP(ENLIST, "open:");
  return t;
}

static struct txn preparing_two(void) {
  struct txn t = open_with(2);
  STEP(COMMIT, "preparing: run(1,prepare) run(2,prepare)");
  return t;
}

static struct txn deciding_two(void) {
  struct txn t = preparing_two();
  STEP(VOTE(1, VOTE_YES), "preparing:");
  STEP(VOTE(2, VOTE_YES), "deciding: log(commit)");
  return t;
}

static struct txn committing_two(void) {
  struct txn t = deciding_two();
  STEP(LOGGED(WAL_DURABLE), "committing: commit(1) commit(2)");
  return t;
}

static struct txn aborting_two(void) {
  struct txn t = preparing_two();
  STEP(VOTE(1, VOTE_YES), "preparing:");
  STEP(ROLLBACK, "aborting: abort(1) abort(2)");
  return t;
}

static struct txn delegated(void) {
  struct txn t = open_with(1);
  STEP(COMMIT, "preparing: run(1,ready)");
  STEP(VOTE(1, VOTE_READY), "deciding: log(delegated)");
  STEP(LOGGED(WAL_DURABLE), "delegated: one_phase(1)");
  return t;
}

/* ---- the usual ways -------------------------------------------------------------------------- */

static void two_branches_voting_yes_commit(void) {
  struct txn t = committing_two();
  STEP(OUTCOME(2, COMMITTED), "committing: confirm(2,committed)");
  STEP(OUTCOME(1, COMMITTED), "committed: confirm(1,committed) end");
}

static void statements_keep_a_branch_open_until_commit(void) {
  struct txn t = open_with(2);
  STEP(STATEMENT(1), "open: run(1,keep_open)");
  STEP(VOTE_NO_XID(1, VOTE_YES), "open:"); /* only read so far: no xid is needed yet */
  STEP(STATEMENT(1), "open: run(1,keep_open)");
  STEP(VOTE(1, VOTE_YES), "open:");
  STEP(COMMIT, "preparing: run(1,prepare) run(2,prepare)");
}

static void external_branch_is_asked_to_prepare_even_when_alone(void) {
  struct txn t;
  txn_init(&t);
  STEP(ENLIST_EXTERNAL, "open:");
  STEP(COMMIT, "preparing: run(1,prepare)");
  STEP(VOTE(1, VOTE_YES), "deciding: log(commit)");
  STEP(LOGGED(WAL_DURABLE), "committing: commit(1)");
  STEP(OUTCOME(1, COMMITTED), "committed: confirm(1,committed) end");
}

/* ---- presumed abort -------------------------------------------------------------------------- */

static void abort_needs_nothing_in_the_log(void) {
  struct txn t = preparing_two();
  STEP(VOTE(1, VOTE_YES), "preparing:");
  STEP(VOTE_NO_XID(2, VOTE_NO), "aborting: abort(1)"); /* who said no has ended already */
  STEP(OUTCOME(1, ABORTED), "aborted: confirm(1,aborted) end");
}

static void rollback_tells_only_branches_that_may_exist(void) {
  struct txn t = open_with(2);
  STEP(ENLIST_EXTERNAL, "open:");
  STEP(STATEMENT(2), "open: run(2,keep_open)");
  STEP(VOTE(2, VOTE_YES), "open:");
  STEP(ROLLBACK, "aborting: abort(2) abort(3)");
  STEP(OUTCOME(3, ABORTED), "aborting: confirm(3,aborted)");
  STEP(OUTCOME(2, ABORTED), "aborted: confirm(2,aborted) end");
}

static void rollback_of_nothing_sent_ends_at_once(void) {
  struct txn t = open_with(2);
  STEP(ROLLBACK, "aborted: end");
  struct txn empty;
  txn_init(&empty);
  t = empty;
  STEP(ROLLBACK, "aborted: end");
}

static void failed_statement_aborts_all(void) {
  struct txn t = open_with(2);
  STEP(STATEMENT(1), "open: run(1,keep_open)");
  STEP(STATEMENT(2), "open: run(2,keep_open)");
  STEP(VOTE_NO_XID(1, VOTE_NO), "aborting: abort(2)");
}

static void lost_vote_aborts_and_tells_its_branch(void) {
  struct txn t = preparing_two();
  STEP(VOTE_NO_XID(1, VOTE_UNKNOWN), "aborting: abort(1) abort(2)");
}

static void yes_without_a_transaction_id_is_no_vote(void) {
  struct txn t = preparing_two();
  STEP(VOTE_NO_XID(1, VOTE_YES), "aborting: abort(1) abort(2)");
}

static void ready_among_several_branches_is_no_vote(void) {
  struct txn t = preparing_two();
  STEP(VOTE(1, VOTE_READY), "aborting: abort(1) abort(2)");
}

static void late_vote_after_abort_is_ignored(void) {
  struct txn t = aborting_two();
  STEP(VOTE(2, VOTE_YES), "aborting:");
  STEP(OUTCOME(1, ABORTED), "aborting: confirm(1,aborted)");
  STEP(OUTCOME(2, ABORTED), "aborted: confirm(2,aborted) end");
}

static void late_no_after_abort_does_not_end_its_branch(void) {
  struct txn t = aborting_two();
  STEP(VOTE_NO_XID(2, VOTE_NO), "aborting:");
  STEP(OUTCOME(1, ABORTED), "aborting: confirm(1,aborted)");
  STEP(OUTCOME(2, RETRY), "aborting: park(2)");
  STEP(RETRY(2), "aborting: abort(2)");
  STEP(OUTCOME(2, ABORTED), "aborted: confirm(2,aborted) end");
}

/* ---- read only ------------------------------------------------------------------------------- */

static void read_only_branch_leaves_phase_two(void) {
  struct txn t = preparing_two();
  STEP(VOTE_NO_XID(1, VOTE_READ_ONLY), "preparing:");
  STEP(VOTE(2, VOTE_YES), "deciding: log(commit)");
  STEP(LOGGED(WAL_DURABLE), "committing: commit(2)");
  STEP(OUTCOME(2, COMMITTED), "committed: confirm(2,committed) end");
}

static void read_only_everywhere_is_logged_and_ends_at_once(void) {
  struct txn t = preparing_two();
  STEP(VOTE_NO_XID(1, VOTE_READ_ONLY), "preparing:");
  STEP(VOTE_NO_XID(2, VOTE_READ_ONLY), "deciding: log(commit)");
  STEP(LOGGED(WAL_DURABLE), "committed: end");
}

static void read_only_branch_is_not_told_of_an_abort(void) {
  struct txn t = preparing_two();
  STEP(VOTE_NO_XID(1, VOTE_READ_ONLY), "preparing:");
  STEP(VOTE_NO_XID(2, VOTE_NO), "aborted: end");
}

/* ---- one phase ------------------------------------------------------------------------------- */

static void sole_branch_decides_and_commits(void) {
  struct txn t = delegated();
  STEP(OUTCOME(1, COMMITTED), "committed: confirm(1,committed) end");
}

static void sole_branch_decides_and_aborts_without_alarm(void) {
  struct txn t = delegated();
  STEP(OUTCOME(1, ABORTED), "aborted: confirm(1,aborted) end");
}

static void sole_branch_with_lost_answer_is_asked_again(void) {
  struct txn t = delegated();
  STEP(OUTCOME(1, RETRY), "delegated: park(1)");
  STEP(ROLLBACK, "delegated:"); /* nobody but the branch knows */
  STEP(RETRY(1), "delegated: one_phase(1)");
  STEP(OUTCOME(1, COMMITTED), "committed: confirm(1,committed) end");
}

static void sole_branch_that_cannot_tell_is_alarmed_and_asked_again(void) {
  struct txn t = delegated();
  STEP(OUTCOME(1, UNVERIFIABLE), "delegated: alarm(1,unverifiable) park(1)");
}

static void sole_read_only_branch_is_logged_as_commit(void) {
  struct txn t = open_with(1);
  STEP(COMMIT, "preparing: run(1,ready)");
  STEP(VOTE_NO_XID(1, VOTE_READ_ONLY), "deciding: log(commit)");
  STEP(LOGGED(WAL_DURABLE), "committed: end");
}

static void ready_without_a_transaction_id_is_no_vote(void) {
  struct txn t = open_with(1);
  STEP(COMMIT, "preparing: run(1,ready)");
  STEP(VOTE_NO_XID(1, VOTE_READY), "aborting: abort(1)");
}

static void refused_delegation_aborts_the_branch(void) {
  struct txn t = open_with(1);
  STEP(COMMIT, "preparing: run(1,ready)");
  STEP(VOTE(1, VOTE_READY), "deciding: log(delegated)");
  STEP(LOGGED(WAL_REFUSED), "aborting: abort(1)");
}

/* ---- the log --------------------------------------------------------------------------------- */

static void rollback_while_deciding_is_too_late(void) {
  struct txn t = deciding_two();
  STEP(ROLLBACK, "deciding:");
  STEP(LOGGED(WAL_DURABLE), "committing: commit(1) commit(2)");
}

static void log_refusing_the_decision_aborts(void) {
  struct txn t = deciding_two();
  STEP(LOGGED(WAL_REFUSED), "aborting: abort(1) abort(2)");
}

static void log_not_knowing_halts_and_sends_nothing(void) {
  struct txn t = deciding_two();
  STEP(LOGGED(WAL_UNKNOWN), "stuck: halt");
  STEP(ROLLBACK, "stuck:");
  CU_ASSERT_STRING_EQUAL(txn_state_name(t.state), "preparing");
}

/* ---- outcomes -------------------------------------------------------------------------------- */

static void lost_commit_is_retried_until_confirmed(void) {
  struct txn t = committing_two();
  STEP(OUTCOME(1, COMMITTED), "committing: confirm(1,committed)");
  STEP(OUTCOME(2, RETRY), "committing: park(2)");
  STEP(RETRY(2), "committing: commit(2)");
  STEP(OUTCOME(2, RETRY), "committing: park(2)");
  STEP(ROLLBACK, "committing:");
  STEP(RETRY(2), "committing: commit(2)");
  STEP(OUTCOME(2, COMMITTED), "committed: confirm(2,committed) end");
}

static void branch_rolled_back_against_a_commit_is_mixed(void) {
  struct txn t = committing_two();
  STEP(OUTCOME(1, ABORTED), "committing mixed: alarm(1,aborted) confirm(1,aborted)");
  STEP(OUTCOME(2, COMMITTED), "committed mixed: confirm(2,committed) end");
}

static void branch_committed_against_an_abort_is_mixed(void) {
  struct txn t = aborting_two();
  STEP(OUTCOME(1, COMMITTED), "aborting mixed: alarm(1,committed) confirm(1,committed)");
  STEP(OUTCOME(2, ABORTED), "aborted mixed: confirm(2,aborted) end");
}

static void unverifiable_outcome_is_alarmed_and_never_an_end(void) {
  struct txn t = committing_two();
  STEP(OUTCOME(1, COMMITTED), "committing: confirm(1,committed)");
  STEP(OUTCOME(2, UNVERIFIABLE), "committing: alarm(2,unverifiable) park(2)");
  STEP(RETRY(2), "committing: commit(2)");
  STEP(OUTCOME(2, UNVERIFIABLE), "committing: alarm(2,unverifiable) park(2)");
}

static void as_many_branches_as_allowed_fit_the_actions(void) {
  struct txn t = open_with(TXN_BRANCHES_MAX);
  struct txn_actions actions;
  txn_step(&t, &COMMIT, &actions);
  CU_ASSERT_EQUAL(actions.count, TXN_BRANCHES_MAX);
  txn_step(&t, &ROLLBACK, &actions);
  CU_ASSERT_EQUAL(actions.count, TXN_BRANCHES_MAX);
  CU_ASSERT_EQUAL(actions.items[TXN_BRANCHES_MAX - 1].branch, TXN_BRANCHES_MAX);
}

/* ---- recovery -------------------------------------------------------------------------------- */

struct shape {
  enum wal_kind kind;
  const char *branches; /* one letter each: r read only, w waiting, c committed, a aborted */
  const char *expected;
};

static void recover(const struct shape *shape, struct txn *txn, struct txn_actions *actions) {
  struct wal_branch branches[4];
  size_t count = strlen(shape->branches);
  for (size_t i = 0; i < count; i++) {
    char is = shape->branches[i];
    branches[i] = (struct wal_branch){.id = (unsigned)i + 1,
                                      .read_only = is == 'r',
                                      .confirmed = is == 'c' || is == 'a',
                                      .outcome = is == 'c'   ? BRANCH_OUTCOME_COMMITTED
                                                 : is == 'a' ? BRANCH_OUTCOME_ABORTED
                                                             : BRANCH_OUTCOME_RETRY};
  }
  struct wal_record record = {.kind = shape->kind, .branches = branches, .branch_count = count};
  txn_recover(txn, &record, actions);
}

static void recovery_takes_up_each_record_where_it_was(void) {
  static const struct shape shapes[] = {
      {WAL_KIND_COMMIT, "w", "committing: park(1)"},
      {WAL_KIND_COMMIT, "c", "committed: end"},
      {WAL_KIND_COMMIT, "a", "committed mixed: end"},
      {WAL_KIND_COMMIT, "r", "committed: end"},
      {WAL_KIND_COMMIT, "ww", "committing: park(1) park(2)"},
      {WAL_KIND_COMMIT, "cw", "committing: park(2)"},
      {WAL_KIND_COMMIT, "wr", "committing: park(1)"},
      {WAL_KIND_COMMIT, "aw", "committing mixed: park(2)"},
      {WAL_KIND_COMMIT, "cc", "committed: end"},
      {WAL_KIND_COMMIT, "ca", "committed mixed: end"},
      {WAL_KIND_COMMIT, "rr", "committed: end"},
      {WAL_KIND_COMMIT, "rwc", "committing: park(2)"},
      {WAL_KIND_DELEGATED, "w", "delegated: park(1)"},
      {WAL_KIND_DELEGATED, "c", "committed: end"},
      {WAL_KIND_DELEGATED, "a", "aborted: end"},
  };
  for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
    struct txn t;
    struct txn_actions actions;
    recover(&shapes[i], &t, &actions);
    expect_trace(&t, &actions, shapes[i].expected, __LINE__);
  }
}

static void recovered_commit_goes_on_to_its_end(void) {
  struct txn t;
  struct txn_actions actions;
  recover(&(struct shape){WAL_KIND_COMMIT, "cw", ""}, &t, &actions);
  STEP(ROLLBACK, "committing:");
  STEP(RETRY(2), "committing: commit(2)");
  STEP(OUTCOME(2, COMMITTED), "committed: confirm(2,committed) end");
}

static void recovered_delegation_asks_its_branch(void) {
  struct txn t;
  struct txn_actions actions;
  recover(&(struct shape){WAL_KIND_DELEGATED, "w", ""}, &t, &actions);
  STEP(RETRY(1), "delegated: one_phase(1)");
  STEP(OUTCOME(1, ABORTED), "aborted: confirm(1,aborted) end");
}

/* ---- bugs of the caller ---------------------------------------------------------------------- */

/* Does the step abort the process? Tried in a child. */
static bool asserts(const struct txn *before, struct txn_event event) {
  pid_t child = fork();
  CU_ASSERT_FATAL(child >= 0);
  if (child == 0) {
    struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
    int null = open("/dev/null", O_WRONLY);
    if (null >= 0) (void)dup2(null, STDERR_FILENO);
    struct txn txn = *before;
    struct txn_actions actions;
    txn_step(&txn, &event, &actions);
    _exit(0);
  }
  int status = 0;
  CU_ASSERT_FATAL(waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status);
}

static void event_that_cannot_be_asserts(void) {
  struct txn empty, open = open_with(2), running = open_with(2), external = open_with(0);
  struct txn full = open_with(TXN_BRANCHES_MAX), deciding = deciding_two(), ended = open_with(1);
  struct txn preparing = preparing_two(), committing = committing_two();
  struct txn_actions actions;
  txn_init(&empty);
  txn_step(&running, &STATEMENT(1), &actions);
  txn_step(&external, &ENLIST_EXTERNAL, &actions);
  txn_step(&ended, &ROLLBACK, &actions);

  CU_ASSERT(asserts(&empty, COMMIT));
  CU_ASSERT(asserts(&running, COMMIT));
  CU_ASSERT(asserts(&preparing, COMMIT));
  CU_ASSERT(asserts(&full, ENLIST));
  CU_ASSERT(asserts(&preparing, ENLIST));
  CU_ASSERT(asserts(&ended, ENLIST));
  CU_ASSERT(asserts(&external, STATEMENT(1)));
  CU_ASSERT(asserts(&running, STATEMENT(1)));
  CU_ASSERT(asserts(&open, STATEMENT(3)));
  CU_ASSERT(asserts(&open, STATEMENT(0)));
  CU_ASSERT(asserts(&preparing, STATEMENT(1)));
  CU_ASSERT(asserts(&open, VOTE(1, VOTE_YES)));
  CU_ASSERT(asserts(&open, LOGGED(WAL_DURABLE)));
  CU_ASSERT(asserts(&committing, LOGGED(WAL_DURABLE)));
  CU_ASSERT(asserts(&deciding, OUTCOME(1, COMMITTED)));
  CU_ASSERT(asserts(&deciding, RETRY(1)));
  CU_ASSERT(asserts(&ended, RETRY(1)));
}

SUITE(txn, CASE(two_branches_voting_yes_commit), CASE(statements_keep_a_branch_open_until_commit),
      CASE(external_branch_is_asked_to_prepare_even_when_alone),
      CASE(abort_needs_nothing_in_the_log), CASE(rollback_tells_only_branches_that_may_exist),
      CASE(rollback_of_nothing_sent_ends_at_once), CASE(failed_statement_aborts_all),
      CASE(lost_vote_aborts_and_tells_its_branch), CASE(yes_without_a_transaction_id_is_no_vote),
      CASE(ready_among_several_branches_is_no_vote), CASE(late_vote_after_abort_is_ignored),
      CASE(late_no_after_abort_does_not_end_its_branch), CASE(read_only_branch_leaves_phase_two),
      CASE(read_only_everywhere_is_logged_and_ends_at_once),
      CASE(read_only_branch_is_not_told_of_an_abort), CASE(sole_branch_decides_and_commits),
      CASE(sole_branch_decides_and_aborts_without_alarm),
      CASE(sole_branch_with_lost_answer_is_asked_again),
      CASE(sole_branch_that_cannot_tell_is_alarmed_and_asked_again),
      CASE(sole_read_only_branch_is_logged_as_commit),
      CASE(ready_without_a_transaction_id_is_no_vote), CASE(refused_delegation_aborts_the_branch),
      CASE(rollback_while_deciding_is_too_late), CASE(log_refusing_the_decision_aborts),
      CASE(log_not_knowing_halts_and_sends_nothing), CASE(lost_commit_is_retried_until_confirmed),
      CASE(branch_rolled_back_against_a_commit_is_mixed),
      CASE(branch_committed_against_an_abort_is_mixed),
      CASE(unverifiable_outcome_is_alarmed_and_never_an_end),
      CASE(as_many_branches_as_allowed_fit_the_actions),
      CASE(recovery_takes_up_each_record_where_it_was), CASE(recovered_commit_goes_on_to_its_end),
      CASE(recovered_delegation_asks_its_branch), CASE(event_that_cannot_be_asserts))
