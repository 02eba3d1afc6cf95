/* The participant's protocol core, as traces: a commit, in two phases and in one. */
#include "tests/lib/suite.h"
#include "tests/unit/branch_trace.h"

/* ---- commit ------------------------------------------------------------------------------------
 */

static void commit_not_found_is_verified(void) {
  static const struct {
    enum xact_status status;
    const char *expected;
  } ends[] = {
      {XACT_STATUS_COMMITTED, "committed: told_committed"},
      {XACT_STATUS_ABORTED, "aborted: told_aborted"},
      {XACT_STATUS_FORGOTTEN, "none: told_unverifiable"},
      {XACT_STATUS_IN_PROGRESS, "prepared: told_retry"},
      {XACT_STATUS_LOST, "prepared: told_retry"},
  };
  for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
    struct branch b = trace_prepared();
    STEP(DECIDE_XID(DECIDE_COMMIT), "committing: commit_prepared");
    STEP(FINISHED(FINISH_NOT_FOUND), "verifying: ask_status");
    STEP(STATUS(ends[i].status), ends[i].expected);
  }
}

static void commit_unanswered_is_asked_again(void) {
  static const enum session_finished lost[] = {FINISH_LOST, FINISH_BUSY, FINISH_REFUSED};
  for (size_t i = 0; i < sizeof lost / sizeof lost[0]; i++) {
    struct branch b = trace_prepared();
    STEP(DECIDE_XID(DECIDE_COMMIT), "committing: commit_prepared");
    STEP(FINISHED(lost[i]), "prepared: told_retry");
    STEP(DECIDE_XID(DECIDE_COMMIT), "committing: commit_prepared");
    STEP(DECIDE(DECIDE_ABORT), "committing: refuse_decision");
    STEP(FINISHED(FINISH_DONE), "committed: told_committed");
  }
}

static struct branch commit_without_answer(void) {
  struct branch b = trace_prepared();
  STEP(DECIDE_XID(DECIDE_COMMIT), "committing: commit_prepared");
  STEP(FINISH_UNANSWERED, "prepared: told_retry");
  return b;
}

/* It may be done still, and the gid be prepared again by an application. */
static void commit_without_answer_is_looked_up_when_nobody_is_at_it(void) {
  struct branch b = commit_without_answer();
  STEP(DECIDE_XID(DECIDE_COMMIT), "ending_session: end_session");
  STEP(DECIDE_XID(DECIDE_COMMIT), "ending_session: join");
  STEP(ENDED(false), "ending_session (stalled): told_retry");
  STEP(DECIDE_XID(DECIDE_COMMIT), "ending_session: end_session");
  STEP(ENDED(true), "looking_up: look_up");
  STEP(LOOKED(LOOKED_LOST), "looking_up (stalled): told_retry");
  STEP(DECIDE_XID(DECIDE_COMMIT), "looking_up: look_up");
  STEP(LOOKED(LOOKED_PREPARED), "committing: commit_prepared");
  STEP(FINISHED(FINISH_DONE), "committed: told_committed");
}

static void commit_without_answer_found_as_another_is_verified(void) {
  struct branch b = commit_without_answer();
  STEP(DECIDE_XID(DECIDE_COMMIT), "ending_session: end_session");
  STEP(ENDED(true), "looking_up: look_up");
  STEP(LOOKED_OTHER, "verifying: ask_status");
  STEP(STATUS(XACT_STATUS_COMMITTED), "committed: told_committed");
}

static void commit_without_answer_found_absent_is_verified(void) {
  struct branch b = commit_without_answer();
  STEP(DECIDE_XID(DECIDE_COMMIT), "ending_session: end_session");
  STEP(ENDED(true), "looking_up: look_up");
  STEP(LOOKED(LOOKED_ABSENT), "verifying: ask_status");
  STEP(STATUS(XACT_STATUS_COMMITTED), "committed: told_committed");
}

static void abort_without_answer_is_sent_again(void) {
  struct branch b = trace_prepared();
  STEP(DECIDE(DECIDE_ABORT), "aborting: rollback_prepared");
  STEP(FINISH_UNANSWERED, "prepared: told_retry");
  STEP(DECIDE(DECIDE_ABORT), "aborting: rollback_prepared");
  STEP(FINISHED(FINISH_DONE), "aborted: told_aborted");
}

static void commit_after_restart_looks_up_first(void) {
  struct branch b = trace_fresh();
  STEP(DECIDE_XID(DECIDE_COMMIT), "looking_up: look_up");
  STEP(ASK_VOTE(1), "looking_up: refuse_run");
  STEP(LOOKED(LOOKED_PREPARED), "committing: commit_prepared");
  STEP(FINISHED(FINISH_DONE), "committed: told_committed");
  b = trace_fresh();
  STEP(DECIDE_XID(DECIDE_COMMIT), "looking_up: look_up");
  STEP(LOOKED(LOOKED_ABSENT), "verifying: ask_status");
  STEP(STATUS(XACT_STATUS_LOST), "none: told_retry forget");
  b = trace_fresh();
  STEP(DECIDE(DECIDE_COMMIT), "looking_up: look_up");
  STEP(LOOKED(LOOKED_ABSENT), "none: told_unverifiable");
}

/* Also a copy of the run that began it, and however often the question stays without an answer. */
static void run_after_an_end_that_nobody_can_tell_is_refused(void) {
  struct branch b = trace_prepared();
  STEP(DECIDE_XID(DECIDE_COMMIT), "committing: commit_prepared");
  STEP(FINISHED(FINISH_NOT_FOUND), "verifying: ask_status");
  STEP(STATUS(XACT_STATUS_FORGOTTEN), "none: told_unverifiable");
  STEP(RUN(0, RUN_PREPARE), "none: refuse_run");
  STEP(DECIDE_XID(DECIDE_COMMIT), "looking_up: look_up");
  STEP(LOOKED(LOOKED_LOST), "none: told_retry");
  STEP(RUN(0, RUN_PREPARE), "none: refuse_run");
  STEP(DECIDE_XID(DECIDE_COMMIT), "looking_up: look_up");
  STEP(LOOKED(LOOKED_PREPARED), "committing: commit_prepared");
}

static void commit_never_takes_a_stray_with_another_xid(void) {
  struct branch b = trace_fresh();
  STEP(DECIDE_XID(DECIDE_COMMIT), "looking_up: look_up");
  STEP(LOOKED_OTHER, "verifying: ask_status");
  STEP(STATUS(XACT_STATUS_COMMITTED), "committed: told_committed");
  STEP(ONLY(BRANCH_EV_LISTED), "prepared:");
  STEP(DECIDE_OTHER_XID(DECIDE_COMMIT), "verifying: ask_status");
  STEP(STATUS(XACT_STATUS_COMMITTED), "committed: told_committed");
  STEP(ONLY(BRANCH_EV_LISTED), "prepared:");
  STEP(DECIDE(DECIDE_ABORT), "aborting: rollback_prepared");
}

static void commit_of_another_xid_than_aborted_here_is_verified(void) {
  struct branch b = trace_fresh();
  STEP(DECIDE(DECIDE_ABORT), "aborting: rollback_prepared");
  STEP(FINISHED(FINISH_NOT_FOUND), "aborted: told_aborted");
  STEP(DECIDE_OTHER_XID(DECIDE_COMMIT), "verifying: ask_status");
  STEP(STATUS(XACT_STATUS_COMMITTED), "committed: told_committed");
}

/* Also where the branch is known no more. */
static void outcome_comes_with_the_decision_it_answers(void) {
  struct branch b = trace_fresh();
  struct branch_actions actions;
  branch_step(&b, &DECIDE(DECIDE_ONE_PHASE), &actions);
  CU_ASSERT_EQUAL_FATAL(actions.items[0].kind, BRANCH_DO_REPLY_OUTCOME);
  CU_ASSERT_EQUAL(actions.items[0].outcome, BRANCH_OUTCOME_UNVERIFIABLE);
  CU_ASSERT_EQUAL(actions.items[0].decision, DECIDE_ONE_PHASE);
  CU_ASSERT_EQUAL(actions.count, 1);
  b = trace_prepared();
  STEP(DECIDE_XID(DECIDE_COMMIT), "committing: commit_prepared");
  STEP(FINISHED(FINISH_DONE), "committed: told_committed");
  branch_step(&b, &DECIDE(DECIDE_ABORT), &actions);
  CU_ASSERT_EQUAL(actions.items[0].decision, DECIDE_ABORT);
}

static void listed_branch_commits_without_look_up_but_votes_with_one(void) {
  struct branch b = trace_fresh();
  STEP(ONLY(BRANCH_EV_LISTED), "prepared:");
  STEP(DECIDE_XID(DECIDE_COMMIT), "committing: commit_prepared");
  b = trace_fresh();
  STEP(ONLY(BRANCH_EV_LISTED), "prepared:");
  STEP(RUN(0, RUN_PREPARE), "prepared: refuse_run");
  STEP(ASK_VOTE(1), "looking_up: look_up");
  STEP(LOOKED(LOOKED_LOST), "prepared: vote_unknown");
  STEP(ASK_VOTE(1), "looking_up: look_up");
  STEP(LOOKED(LOOKED_PREPARED), "prepared: vote_yes");
  STEP(ASK_VOTE(1), "prepared: vote_yes");
}

static void listed_branch_finished_by_hand_is_not_a_no_unverified(void) {
  struct branch b = trace_fresh();
  STEP(ONLY(BRANCH_EV_LISTED), "prepared:");
  STEP(ASK_VOTE(1), "looking_up: look_up");
  STEP(LOOKED(LOOKED_ABSENT), "verifying: ask_status");
  STEP(STATUS(XACT_STATUS_COMMITTED), "committed: vote_unknown");
}

/* ---- one phase ---------------------------------------------------------------------------------
 */

static void one_phase_commits_what_is_ready(void) {
  struct branch b = trace_ready();
  STEP(DECIDE_XID(DECIDE_ONE_PHASE), "committing_one: commit");
  STEP(DECIDE_XID(DECIDE_ONE_PHASE), "committing_one: join");
  STEP(DECIDE(DECIDE_ABORT), "committing_one: refuse_decision");
  STEP(COMMITTED(BRANCH_OUTCOME_COMMITTED), "committed: told_committed");
  b = trace_ready();
  STEP(DECIDE_XID(DECIDE_ONE_PHASE), "committing_one: commit");
  STEP(COMMITTED(BRANCH_OUTCOME_ABORTED), "aborted: told_aborted");
  b = trace_ready();
  STEP(DECIDE_OTHER_XID(DECIDE_ONE_PHASE), "ready: refuse_decision");
}

static void ready_is_told_after_the_barrier_only(void) {
  struct branch b = trace_flushing();
  STEP(RUN(0, RUN_READY), "flushing: join");
  STEP(RUN(1, RUN_READY), "flushing: refuse_run");
  STEP(DECIDE_XID(DECIDE_ONE_PHASE), "flushing: refuse_decision");
  STEP(FLUSHED(true), "ready: vote_ready");
  b = trace_flushing();
  STEP(FLUSHED(false), "aborting: rollback");
  STEP(ONLY(BRANCH_EV_ROLLED_BACK), "aborted: vote_no");
}

static void what_comes_amid_the_barrier_waits_for_it(void) {
  struct branch b = trace_flushing();
  STEP(DECIDE(DECIDE_ABORT), "flushing: join");
  STEP(FLUSHED(true), "aborting: rollback");
  STEP(ONLY(BRANCH_EV_ROLLED_BACK), "aborted: vote_no told_aborted");
  static const enum branch_event_kind ends[] = {BRANCH_EV_EXPIRED, BRANCH_EV_FENCED};
  for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
    b = trace_flushing();
    STEP(ONLY(ends[i]), "flushing:");
    STEP(FLUSHED(true), "aborting: rollback");
    STEP(ONLY(BRANCH_EV_ROLLED_BACK), "aborted: vote_no");
  }
  b = trace_flushing();
  STEP(ONLY(BRANCH_EV_LOST), "flushing:");
  STEP(DECIDE(DECIDE_ABORT), "flushing: join");
  STEP(FLUSHED(true), "aborted: vote_no told_aborted");
}

static void one_phase_lost_answer_is_verified(void) {
  struct branch b = trace_ready();
  STEP(DECIDE_XID(DECIDE_ONE_PHASE), "committing_one: commit");
  STEP(COMMITTED(BRANCH_OUTCOME_RETRY), "ending_session: end_session");
  STEP(ENDED(false), "ending_session (stalled): told_retry");
  STEP(DECIDE(DECIDE_ABORT), "ending_session (stalled): refuse_decision");
  STEP(DECIDE_XID(DECIDE_ONE_PHASE), "ending_session: end_session");
  STEP(ENDED(true), "verifying: ask_status");
  STEP(STATUS(XACT_STATUS_LOST), "verifying (stalled): told_retry");
  STEP(RUN(0, RUN_READY), "verifying (stalled): refuse_run");
  STEP(DECIDE_XID(DECIDE_ONE_PHASE), "verifying: ask_status");
  STEP(STATUS(XACT_STATUS_COMMITTED), "committed: told_committed");
}

static void one_phase_after_restart_asks_the_status(void) {
  struct branch b = trace_fresh();
  STEP(DECIDE_XID(DECIDE_ONE_PHASE), "verifying: ask_status");
  STEP(STATUS(XACT_STATUS_ABORTED), "aborted: told_aborted");
  b = trace_fresh();
  STEP(DECIDE(DECIDE_ONE_PHASE), "none: told_unverifiable");
}

static void ready_branch_expires_and_one_phase_tells_aborted(void) {
  struct branch b = trace_ready();
  STEP(ONLY(BRANCH_EV_EXPIRED), "aborting: rollback");
  STEP(DECIDE_XID(DECIDE_ONE_PHASE), "aborting: refuse_decision");
  STEP(ONLY(BRANCH_EV_ROLLED_BACK), "aborted:");
  STEP(DECIDE_XID(DECIDE_ONE_PHASE), "aborted: told_aborted");
}

SUITE(branch_commit, CASE(commit_not_found_is_verified), CASE(commit_unanswered_is_asked_again),
      CASE(commit_without_answer_is_looked_up_when_nobody_is_at_it),
      CASE(commit_without_answer_found_as_another_is_verified),
      CASE(commit_without_answer_found_absent_is_verified),
      CASE(abort_without_answer_is_sent_again), CASE(commit_after_restart_looks_up_first),
      CASE(run_after_an_end_that_nobody_can_tell_is_refused),
      CASE(commit_never_takes_a_stray_with_another_xid),
      CASE(commit_of_another_xid_than_aborted_here_is_verified),
      CASE(outcome_comes_with_the_decision_it_answers),
      CASE(listed_branch_commits_without_look_up_but_votes_with_one),
      CASE(listed_branch_finished_by_hand_is_not_a_no_unverified),
      CASE(one_phase_commits_what_is_ready), CASE(ready_is_told_after_the_barrier_only),
      CASE(what_comes_amid_the_barrier_waits_for_it), CASE(one_phase_lost_answer_is_verified),
      CASE(one_phase_after_restart_asks_the_status),
      CASE(ready_branch_expires_and_one_phase_tells_aborted))
