/* The participant's protocol core: votes, aborts, and what happens to sessions, as traces. What comes after
 * a decision to commit is in test_branch_commit.c, every state and every event in test_branch_walk.c. */
#include "tests/lib/suite.h"
#include "tests/unit/branch_trace.h"

/* ---- votes -------------------------------------------------------------------------------------
 */

static void run_to_prepare_and_commit_is_committed(void) {
  struct branch b = trace_prepared();
  STEP(DECIDE_XID(DECIDE_COMMIT), "committing: commit_prepared");
  STEP(DECIDE_XID(DECIDE_COMMIT), "committing: join");
  STEP(FINISHED(FINISH_DONE), "committed: told_committed");
  STEP(DECIDE_XID(DECIDE_COMMIT), "committed: told_committed");
  STEP(DECIDE(DECIDE_ABORT), "committed: told_committed");
  STEP(RUN(0, RUN_PREPARE), "committed: refuse_run");
}

static void interactive_runs_go_in_sequence(void) {
  struct branch b = trace_fresh();
  STEP(RUN(0, RUN_KEEP_OPEN), "running: run");
  STEP(RUN(1, RUN_KEEP_OPEN), "running: refuse_run");
  STEP(RUN(0, RUN_KEEP_OPEN), "running: join");
  STEP(RAN(RAN_OPEN), "active: vote_yes");
  STEP(RUN(0, RUN_KEEP_OPEN), "active: vote_yes");
  STEP(RUN(0, RUN_PREPARE), "active: refuse_run");
  STEP(RUN(2, RUN_PREPARE), "active: refuse_run");
  STEP(RUN(1, RUN_PREPARE), "preparing: run");
  STEP(RAN_XID(RAN_PREPARED), "prepared: vote_yes");
}

static void prepare_repeated_gives_the_same_vote(void) {
  struct branch b = trace_prepared();
  STEP(RUN(0, RUN_PREPARE), "prepared: vote_yes");
  STEP(RUN(0, RUN_READY), "prepared: refuse_run");
  STEP(RUN(1, RUN_PREPARE), "prepared: refuse_run");
  struct branch second = trace_ready();
  b = second;
  STEP(RUN(0, RUN_READY), "ready: vote_ready");
}

static void failed_run_is_a_no_and_stays_one(void) {
  struct branch b = trace_fresh();
  STEP(RUN(0, RUN_PREPARE), "preparing: run");
  STEP(RAN(RAN_FAILED), "aborted: vote_no");
  STEP(RUN(0, RUN_PREPARE), "aborted: vote_no");
  STEP(DECIDE(DECIDE_ABORT), "aborted: told_aborted");
}

static void read_only_leaves_phase_two(void) {
  struct branch b = trace_fresh();
  STEP(RUN(0, RUN_PREPARE), "preparing: run");
  STEP(RAN(RAN_READ_ONLY), "read_only: vote_read_only");
  STEP(RUN(0, RUN_PREPARE), "read_only: vote_read_only");
  STEP(RUN(1, RUN_PREPARE), "read_only: refuse_run");
  STEP(DECIDE(DECIDE_COMMIT), "read_only: told_committed");
  STEP(DECIDE(DECIDE_ABORT), "read_only: told_aborted");
}

static void ready_without_xid_is_committed_as_read_only(void) {
  struct branch b = trace_fresh();
  STEP(RUN(0, RUN_READY), "running: run");
  STEP(RAN(RAN_OPEN), "committing_one: commit");
  STEP(RUN(0, RUN_READY), "committing_one: join");
  STEP(COMMITTED(BRANCH_OUTCOME_COMMITTED), "read_only: vote_read_only");
}

static void ready_without_xid_and_lost_commit_is_a_no(void) {
  struct branch b = trace_fresh();
  STEP(RUN(0, RUN_READY), "running: run");
  STEP(RAN(RAN_OPEN), "committing_one: commit");
  STEP(COMMITTED(BRANCH_OUTCOME_RETRY), "aborted: vote_no");
}

static void external_branch_is_looked_up(void) {
  struct branch b = trace_fresh();
  STEP(ASK_VOTE(1), "looking_up: look_up");
  CU_ASSERT_TRUE(b.barrier);
  STEP(ASK_VOTE(1), "looking_up: join");
  STEP(LOOKED(LOOKED_PREPARED), "prepared: vote_yes");
  STEP(ASK_VOTE(1), "prepared: vote_yes");
  STEP(DECIDE_XID(DECIDE_COMMIT), "committing: commit_prepared");
}

static void external_branch_absent_is_a_no(void) {
  struct branch b = trace_fresh();
  STEP(ASK_VOTE(1), "looking_up: look_up");
  STEP(LOOKED(LOOKED_ABSENT), "aborted: vote_no");
}

static void external_branch_look_up_lost_is_unknown(void) {
  struct branch b = trace_fresh();
  STEP(ASK_VOTE(1), "looking_up: look_up");
  STEP(LOOKED(LOOKED_LOST), "none: vote_unknown forget");
}

/* Prepared by a role whose transactions the agent may not end: no yes, and no no either. */
static void external_branch_of_another_role_is_unknown(void) {
  struct branch b = trace_fresh();
  STEP(ASK_VOTE(1), "looking_up: look_up");
  STEP(LOOKED(LOOKED_REFUSED), "none: vote_unknown forget");
  STEP(DECIDE(DECIDE_ABORT), "aborting: rollback_prepared");
  STEP(FINISHED(FINISH_REFUSED), "none: told_retry");
  STEP(ASK_VOTE(1), "none: refuse_run");
  b = trace_fresh();
  STEP(ONLY(BRANCH_EV_LISTED), "prepared:");
  STEP(ASK_VOTE(1), "looking_up: look_up");
  STEP(LOOKED(LOOKED_REFUSED), "prepared: vote_unknown");
  b = trace_fresh();
  STEP(ASK_VOTE(1), "looking_up: look_up");
  STEP(DECIDE(DECIDE_ABORT), "looking_up: join");
  STEP(LOOKED(LOOKED_REFUSED), "aborting: rollback_prepared");
  STEP(FINISHED(FINISH_REFUSED), "prepared: vote_unknown told_retry");
}

static void commit_of_a_branch_of_another_role_is_tried(void) {
  struct branch b = trace_fresh();
  STEP(DECIDE_XID(DECIDE_COMMIT), "looking_up: look_up");
  STEP(LOOKED(LOOKED_REFUSED), "committing: commit_prepared");
  STEP(FINISHED(FINISH_REFUSED), "prepared: told_retry");
  STEP(DECIDE_XID(DECIDE_COMMIT), "committing: commit_prepared");
  STEP(FINISHED(FINISH_DONE), "committed: told_committed");
  b = trace_fresh();
  STEP(DECIDE_XID(DECIDE_COMMIT), "looking_up: look_up");
  STEP(LOOKED_OTHERS_REFUSED, "verifying: ask_status");
}

static void later_statements_on_unknown_branch_are_a_no(void) {
  struct branch b = trace_fresh();
  STEP(RUN(3, RUN_PREPARE), "none: vote_no forget");
  STEP(EVENT(.kind = BRANCH_EV_RUN, .sequence = 1, .end = RUN_READY), "none: vote_no forget");
}

/* ---- a lost answer to PREPARE ------------------------------------------------------------------
 */

static void lost_prepare_found_is_a_yes(void) {
  struct branch b = trace_fresh();
  STEP(RUN(0, RUN_PREPARE), "preparing: run");
  STEP(RAN(RAN_UNKNOWN), "ending_session: end_session");
  STEP(RUN(0, RUN_PREPARE), "ending_session: join");
  STEP(ENDED(true), "looking_up: look_up");
  CU_ASSERT_TRUE(b.barrier);
  STEP(LOOKED(LOOKED_PREPARED), "prepared: vote_yes");
}

static void lost_prepare_of_a_failed_branch_is_rolled_back_when_found(void) {
  struct branch b = trace_fresh();
  STEP(RUN(0, RUN_PREPARE), "preparing: run");
  STEP(RAN(RAN_UNWANTED), "ending_session: end_session");
  STEP(RUN(0, RUN_PREPARE), "ending_session: join");
  STEP(ENDED(true), "looking_up: look_up");
  STEP(LOOKED(LOOKED_PREPARED), "aborting: rollback_prepared");
  STEP(FINISHED(FINISH_DONE), "aborted: vote_no");
}

static void lost_prepare_absent_is_a_no(void) {
  struct branch b = trace_fresh();
  STEP(RUN(0, RUN_PREPARE), "preparing: run");
  STEP(RAN(RAN_UNKNOWN), "ending_session: end_session");
  STEP(ENDED(true), "looking_up: look_up");
  STEP(LOOKED(LOOKED_ABSENT), "aborted: vote_no");
}

static void session_that_cannot_be_ended_is_never_absent(void) {
  struct branch b = trace_fresh();
  STEP(RUN(0, RUN_PREPARE), "preparing: run");
  STEP(RAN(RAN_UNKNOWN), "ending_session: end_session");
  STEP(ENDED(false), "ending_session (stalled): vote_unknown");
  STEP(RUN(0, RUN_PREPARE), "ending_session: end_session");
  STEP(ENDED(false), "ending_session (stalled): vote_unknown");
  STEP(DECIDE(DECIDE_ABORT), "ending_session: end_session");
  STEP(RUN(0, RUN_PREPARE), "ending_session: refuse_run");
  STEP(ENDED(false), "ending_session (stalled): told_retry");
  STEP(ONLY(BRANCH_EV_FENCED), "ending_session: end_session");
  STEP(DECIDE(DECIDE_ABORT), "ending_session: join");
  STEP(ENDED(true), "looking_up: look_up");
  STEP(LOOKED(LOOKED_PREPARED), "aborting: rollback_prepared");
  STEP(FINISHED(FINISH_DONE), "aborted: told_aborted");
}

static void lost_look_up_after_a_run_does_not_run_again(void) {
  struct branch b = trace_fresh();
  STEP(RUN(0, RUN_PREPARE), "preparing: run");
  STEP(RAN(RAN_UNKNOWN), "ending_session: end_session");
  STEP(ENDED(true), "looking_up: look_up");
  STEP(LOOKED(LOOKED_LOST), "looking_up (stalled): vote_unknown");
  STEP(RUN(0, RUN_PREPARE), "looking_up: look_up");
  STEP(DECIDE_XID(DECIDE_COMMIT), "looking_up: refuse_decision");
  STEP(LOOKED(LOOKED_LOST), "looking_up (stalled): vote_unknown");
  STEP(DECIDE(DECIDE_ABORT), "looking_up: look_up");
  STEP(LOOKED(LOOKED_ABSENT), "aborted: told_aborted");
}

/* ---- abort -------------------------------------------------------------------------------------
 */

static void abort_of_unknown_branch_leaves_a_tombstone(void) {
  struct branch b = trace_fresh();
  STEP(DECIDE(DECIDE_ABORT), "aborting: rollback_prepared");
  STEP(FINISHED(FINISH_NOT_FOUND), "aborted: told_aborted");
  STEP(RUN(0, RUN_PREPARE), "aborted: vote_no");
}

static void abort_amid_run_cancels_it(void) {
  static const struct {
    enum session_ran ran;
    bool xid;
    const char *expected;
  } ends[] = {
      {RAN_FAILED, false, "aborted: vote_no told_aborted"},
      {RAN_READ_ONLY, false, "aborted: vote_no told_aborted"},
      {RAN_PREPARED, true, "aborting: rollback_prepared"},
      {RAN_UNKNOWN, false, "ending_session: end_session"},
  };
  for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
    struct branch b = trace_fresh();
    STEP(RUN(0, RUN_PREPARE), "preparing: run");
    STEP(DECIDE(DECIDE_ABORT), "preparing: cancel");
    STEP(DECIDE(DECIDE_ABORT), "preparing: join");
    STEP(DECIDE(DECIDE_COMMIT), "preparing: refuse_decision");
    STEP(ONLY(BRANCH_EV_FENCED), "preparing:");
    STEP(EVENT(.kind = BRANCH_EV_RAN, .ran = ends[i].ran, .xid = ends[i].xid), ends[i].expected);
  }
  struct branch b = trace_fresh();
  STEP(RUN(0, RUN_KEEP_OPEN), "running: run");
  STEP(DECIDE(DECIDE_ABORT), "running: cancel");
  STEP(RAN(RAN_OPEN), "aborting: rollback");
  STEP(RUN(0, RUN_KEEP_OPEN), "aborting: join");
  STEP(ONLY(BRANCH_EV_ROLLED_BACK), "aborted: vote_no told_aborted");
}

static void abort_amid_run_and_lost_prepare_is_rolled_back(void) {
  struct branch b = trace_fresh();
  STEP(RUN(0, RUN_PREPARE), "preparing: run");
  STEP(DECIDE(DECIDE_ABORT), "preparing: cancel");
  STEP(RAN(RAN_UNKNOWN), "ending_session: end_session");
  STEP(ENDED(true), "looking_up: look_up");
  STEP(LOOKED(LOOKED_PREPARED), "aborting: rollback_prepared");
  STEP(FINISHED(FINISH_DONE), "aborted: vote_no told_aborted");
}

static void abort_of_active_and_ready_rolls_back(void) {
  struct branch b = trace_fresh();
  STEP(RUN(0, RUN_KEEP_OPEN), "running: run");
  STEP(RAN(RAN_OPEN), "active: vote_yes");
  STEP(DECIDE(DECIDE_ABORT), "aborting: rollback");
  STEP(DECIDE(DECIDE_COMMIT), "aborting: refuse_decision");
  STEP(ONLY(BRANCH_EV_ROLLED_BACK), "aborted: told_aborted");
  b = trace_ready();
  STEP(DECIDE(DECIDE_COMMIT), "ready: refuse_decision");
  STEP(DECIDE(DECIDE_ABORT), "aborting: rollback");
}

static void abort_of_prepared_is_tried_until_answered(void) {
  struct branch b = trace_prepared();
  STEP(DECIDE(DECIDE_ABORT), "aborting: rollback_prepared");
  STEP(FINISHED(FINISH_BUSY), "prepared: told_retry");
  STEP(RUN(0, RUN_PREPARE), "prepared: refuse_run");
  STEP(DECIDE(DECIDE_ABORT), "aborting: rollback_prepared");
  STEP(FINISHED(FINISH_LOST), "prepared: told_retry");
  STEP(DECIDE(DECIDE_ABORT), "aborting: rollback_prepared");
  STEP(FINISHED(FINISH_NOT_FOUND), "verifying: ask_status");
  STEP(STATUS(XACT_STATUS_ABORTED), "aborted: told_aborted");
}

static void abort_of_branch_committed_by_hand_tells_committed(void) {
  struct branch b = trace_prepared();
  STEP(DECIDE_XID(DECIDE_ABORT), "aborting: rollback_prepared");
  STEP(FINISHED(FINISH_NOT_FOUND), "verifying: ask_status");
  STEP(STATUS(XACT_STATUS_COMMITTED), "committed: told_committed");
}

/* ---- sessions, time, fences --------------------------------------------------------------------
 */

static void lost_session_aborts_what_was_open(void) {
  struct branch b = trace_fresh();
  STEP(RUN(0, RUN_KEEP_OPEN), "running: run");
  STEP(RAN(RAN_OPEN), "active: vote_yes");
  STEP(ONLY(BRANCH_EV_LOST), "aborted:");
  STEP(RUN(1, RUN_PREPARE), "aborted: vote_no");
}

static void prepared_branch_neither_expires_nor_is_fenced(void) {
  struct branch b = trace_prepared();
  STEP(ONLY(BRANCH_EV_EXPIRED), "prepared:");
  STEP(ONLY(BRANCH_EV_FENCED), "prepared:");
}

static void fence_amid_prepare_rolls_it_back(void) {
  struct branch b = trace_fresh();
  STEP(RUN(0, RUN_PREPARE), "preparing: run");
  STEP(ONLY(BRANCH_EV_FENCED), "preparing: cancel");
  STEP(RAN_XID(RAN_PREPARED), "aborting: rollback_prepared");
  STEP(FINISHED(FINISH_LOST), "prepared: vote_unknown");
  STEP(RUN(0, RUN_PREPARE), "prepared: refuse_run");
  STEP(DECIDE(DECIDE_ABORT), "aborting: rollback_prepared");
  STEP(FINISHED(FINISH_DONE), "aborted: told_aborted");
}

SUITE(branch, CASE(run_to_prepare_and_commit_is_committed), CASE(interactive_runs_go_in_sequence),
      CASE(prepare_repeated_gives_the_same_vote), CASE(failed_run_is_a_no_and_stays_one),
      CASE(read_only_leaves_phase_two), CASE(ready_without_xid_is_committed_as_read_only),
      CASE(ready_without_xid_and_lost_commit_is_a_no), CASE(external_branch_is_looked_up),
      CASE(external_branch_of_another_role_is_unknown),
      CASE(commit_of_a_branch_of_another_role_is_tried), CASE(external_branch_absent_is_a_no),
      CASE(external_branch_look_up_lost_is_unknown),
      CASE(later_statements_on_unknown_branch_are_a_no), CASE(lost_prepare_found_is_a_yes),
      CASE(lost_prepare_of_a_failed_branch_is_rolled_back_when_found),
      CASE(lost_prepare_absent_is_a_no), CASE(session_that_cannot_be_ended_is_never_absent),
      CASE(lost_look_up_after_a_run_does_not_run_again),
      CASE(abort_of_unknown_branch_leaves_a_tombstone), CASE(abort_amid_run_cancels_it),
      CASE(abort_amid_run_and_lost_prepare_is_rolled_back),
      CASE(abort_of_active_and_ready_rolls_back), CASE(abort_of_prepared_is_tried_until_answered),
      CASE(abort_of_branch_committed_by_hand_tells_committed),
      CASE(lost_session_aborts_what_was_open), CASE(prepared_branch_neither_expires_nor_is_fenced),
      CASE(fence_amid_prepare_rolls_it_back))
