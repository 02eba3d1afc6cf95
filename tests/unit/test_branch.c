/* The participant's protocol core: stories as traces, and an exhaustive walk over every state that
 * can be reached with every event that can come there. */
#include "participant-agent/branch.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/suite.h"

/* ---- traces ------------------------------------------------------------------------------------
 */

static const char *action_text(const struct branch_action *action) {
  static const char *const names[] = {
      [BRANCH_DO_RUN] = "run",
      [BRANCH_DO_CANCEL] = "cancel",
      [BRANCH_DO_BARRIER] = "barrier",
      [BRANCH_DO_ROLLBACK] = "rollback",
      [BRANCH_DO_COMMIT] = "commit",
      [BRANCH_DO_END_SESSION] = "end_session",
      [BRANCH_DO_LOOK_UP] = "look_up",
      [BRANCH_DO_COMMIT_PREPARED] = "commit_prepared",
      [BRANCH_DO_ROLLBACK_PREPARED] = "rollback_prepared",
      [BRANCH_DO_ASK_STATUS] = "ask_status",
      [BRANCH_DO_REFUSE_RUN] = "refuse_run",
      [BRANCH_DO_REFUSE_DECISION] = "refuse_decision",
      [BRANCH_DO_JOIN] = "join",
      [BRANCH_DO_FORGET] = "forget",
  };
  static const char *const votes[] = {"vote_unknown", "vote_no", "vote_yes", "vote_read_only",
                                      "vote_ready"};
  static const char *const outcomes[] = {"told_retry", "told_committed", "told_aborted",
                                         "told_unverifiable"};
  if (action->kind == BRANCH_DO_REPLY_VOTE) return votes[action->vote];
  if (action->kind == BRANCH_DO_REPLY_OUTCOME) return outcomes[action->outcome];
  return names[action->kind];
}

/* Feeds one event; the outcome must read as `expected`: "state: action action". */
static void step(struct branch *b, struct branch_event event, const char *expected, int line) {
  struct branch_actions actions;
  branch_step(b, &event, &actions);
  char got[200];
  int used = snprintf(got, sizeof got, "%s%s:", branch_state_name(b->state),
                      b->stalled ? " (stalled)" : "");
  for (size_t i = 0; i < actions.count; i++)
    used += snprintf(got + used, sizeof got - (size_t)used, " %s", action_text(&actions.items[i]));
  if (strcmp(got, expected) != 0)
    (void)fprintf(stderr, "\n  line %d: expected \"%s\", got \"%s\"\n", line, expected, got);
  CU_assertImplementation(strcmp(got, expected) == 0, (unsigned)line, expected, __FILE__, "step",
                          CU_FALSE);
}

#define STEP(event, expected) step(&b, event, expected, __LINE__)
#define EVENT(...)            ((struct branch_event){__VA_ARGS__})
#define RUN(seq, how)                                                                              \
  EVENT(.kind = BRANCH_EV_RUN, .sequence = (seq), .end = (how), .has_statements = true)
#define ASK_VOTE(seq) EVENT(.kind = BRANCH_EV_RUN, .sequence = (seq), .end = RUN_PREPARE)
#define RAN(what)     EVENT(.kind = BRANCH_EV_RAN, .ran = (what))
#define RAN_XID(what) EVENT(.kind = BRANCH_EV_RAN, .ran = (what), .xid = true)
#define DECIDE(what)  EVENT(.kind = BRANCH_EV_DECIDE, .decision = (what), .same_xid = true)
#define DECIDE_XID(what)                                                                           \
  EVENT(.kind = BRANCH_EV_DECIDE, .decision = (what), .xid = true, .same_xid = true)
#define DECIDE_OTHER_XID(what) EVENT(.kind = BRANCH_EV_DECIDE, .decision = (what), .xid = true)
#define FLUSHED(done)          EVENT(.kind = BRANCH_EV_FLUSHED, .ok = (done))
#define ENDED(done)            EVENT(.kind = BRANCH_EV_SESSION_ENDED, .ok = (done))
#define LOOKED(what)           EVENT(.kind = BRANCH_EV_LOOKED, .looked = (what), .same_xid = true)
#define LOOKED_OTHER           EVENT(.kind = BRANCH_EV_LOOKED, .looked = LOOKED_PREPARED)
#define LOOKED_OTHERS_REFUSED  EVENT(.kind = BRANCH_EV_LOOKED, .looked = LOOKED_REFUSED)
#define FINISHED(what)         EVENT(.kind = BRANCH_EV_FINISHED, .finished = (what))
#define FINISH_UNANSWERED      EVENT(.kind = BRANCH_EV_FINISHED, .finished = FINISH_LOST, .sent = true)
#define STATUS(what)           EVENT(.kind = BRANCH_EV_STATUS, .status = (what))
#define COMMITTED(what)        EVENT(.kind = BRANCH_EV_COMMITTED, .outcome = (what))
#define ONLY(what)             EVENT(.kind = (what))

static struct branch fresh(void) {
  struct branch b;
  branch_init(&b);
  return b;
}

static struct branch prepared(void) {
  struct branch b = fresh();
  STEP(RUN(0, RUN_PREPARE), "preparing: run");
  STEP(RAN_XID(RAN_PREPARED), "prepared: vote_yes");
  return b;
}

static struct branch flushing(void) {
  struct branch b = fresh();
  STEP(RUN(0, RUN_READY), "running: run");
  STEP(RAN_XID(RAN_OPEN), "flushing: barrier");
  return b;
}

static struct branch ready(void) {
  struct branch b = flushing();
  STEP(FLUSHED(true), "ready: vote_ready");
  return b;
}

/* ---- votes -------------------------------------------------------------------------------------
 */

static void run_to_prepare_and_commit_is_committed(void) {
  struct branch b = prepared();
  STEP(DECIDE_XID(DECIDE_COMMIT), "committing: commit_prepared");
  STEP(DECIDE_XID(DECIDE_COMMIT), "committing: join");
  STEP(FINISHED(FINISH_DONE), "committed: told_committed");
  STEP(DECIDE_XID(DECIDE_COMMIT), "committed: told_committed");
  STEP(DECIDE(DECIDE_ABORT), "committed: told_committed");
  STEP(RUN(0, RUN_PREPARE), "committed: refuse_run");
}

static void interactive_runs_go_in_sequence(void) {
  struct branch b = fresh();
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
  struct branch b = prepared();
  STEP(RUN(0, RUN_PREPARE), "prepared: vote_yes");
  STEP(RUN(0, RUN_READY), "prepared: refuse_run");
  STEP(RUN(1, RUN_PREPARE), "prepared: refuse_run");
  struct branch second = ready();
  b = second;
  STEP(RUN(0, RUN_READY), "ready: vote_ready");
}

static void failed_run_is_a_no_and_stays_one(void) {
  struct branch b = fresh();
  STEP(RUN(0, RUN_PREPARE), "preparing: run");
  STEP(RAN(RAN_FAILED), "aborted: vote_no");
  STEP(RUN(0, RUN_PREPARE), "aborted: vote_no");
  STEP(DECIDE(DECIDE_ABORT), "aborted: told_aborted");
}

static void read_only_leaves_phase_two(void) {
  struct branch b = fresh();
  STEP(RUN(0, RUN_PREPARE), "preparing: run");
  STEP(RAN(RAN_READ_ONLY), "read_only: vote_read_only");
  STEP(RUN(0, RUN_PREPARE), "read_only: vote_read_only");
  STEP(RUN(1, RUN_PREPARE), "read_only: refuse_run");
  STEP(DECIDE(DECIDE_COMMIT), "read_only: told_committed");
  STEP(DECIDE(DECIDE_ABORT), "read_only: told_aborted");
}

static void ready_without_xid_is_committed_as_read_only(void) {
  struct branch b = fresh();
  STEP(RUN(0, RUN_READY), "running: run");
  STEP(RAN(RAN_OPEN), "committing_one: commit");
  STEP(RUN(0, RUN_READY), "committing_one: join");
  STEP(COMMITTED(BRANCH_OUTCOME_COMMITTED), "read_only: vote_read_only");
}

static void ready_without_xid_and_lost_commit_is_a_no(void) {
  struct branch b = fresh();
  STEP(RUN(0, RUN_READY), "running: run");
  STEP(RAN(RAN_OPEN), "committing_one: commit");
  STEP(COMMITTED(BRANCH_OUTCOME_RETRY), "aborted: vote_no");
}

static void external_branch_is_looked_up(void) {
  struct branch b = fresh();
  STEP(ASK_VOTE(1), "looking_up: look_up");
  CU_ASSERT_TRUE(b.barrier);
  STEP(ASK_VOTE(1), "looking_up: join");
  STEP(LOOKED(LOOKED_PREPARED), "prepared: vote_yes");
  STEP(ASK_VOTE(1), "prepared: vote_yes");
  STEP(DECIDE_XID(DECIDE_COMMIT), "committing: commit_prepared");
}

static void external_branch_absent_is_a_no(void) {
  struct branch b = fresh();
  STEP(ASK_VOTE(1), "looking_up: look_up");
  STEP(LOOKED(LOOKED_ABSENT), "aborted: vote_no");
}

static void external_branch_look_up_lost_is_unknown(void) {
  struct branch b = fresh();
  STEP(ASK_VOTE(1), "looking_up: look_up");
  STEP(LOOKED(LOOKED_LOST), "none: vote_unknown forget");
}

/* Prepared by a role whose transactions the agent may not end: no yes, and no no either. */
static void external_branch_of_another_role_is_unknown(void) {
  struct branch b = fresh();
  STEP(ASK_VOTE(1), "looking_up: look_up");
  STEP(LOOKED(LOOKED_REFUSED), "none: vote_unknown forget");
  STEP(DECIDE(DECIDE_ABORT), "aborting: rollback_prepared");
  STEP(FINISHED(FINISH_REFUSED), "none: told_retry");
  STEP(ASK_VOTE(1), "none: refuse_run");
  b = fresh();
  STEP(ONLY(BRANCH_EV_LISTED), "prepared:");
  STEP(ASK_VOTE(1), "looking_up: look_up");
  STEP(LOOKED(LOOKED_REFUSED), "prepared: vote_unknown");
  b = fresh();
  STEP(ASK_VOTE(1), "looking_up: look_up");
  STEP(DECIDE(DECIDE_ABORT), "looking_up: join");
  STEP(LOOKED(LOOKED_REFUSED), "aborting: rollback_prepared");
  STEP(FINISHED(FINISH_REFUSED), "prepared: vote_unknown told_retry");
}

static void commit_of_a_branch_of_another_role_is_tried(void) {
  struct branch b = fresh();
  STEP(DECIDE_XID(DECIDE_COMMIT), "looking_up: look_up");
  STEP(LOOKED(LOOKED_REFUSED), "committing: commit_prepared");
  STEP(FINISHED(FINISH_REFUSED), "prepared: told_retry");
  STEP(DECIDE_XID(DECIDE_COMMIT), "committing: commit_prepared");
  STEP(FINISHED(FINISH_DONE), "committed: told_committed");
  b = fresh();
  STEP(DECIDE_XID(DECIDE_COMMIT), "looking_up: look_up");
  STEP(LOOKED_OTHERS_REFUSED, "verifying: ask_status");
}

static void later_statements_on_unknown_branch_are_a_no(void) {
  struct branch b = fresh();
  STEP(RUN(3, RUN_PREPARE), "none: vote_no forget");
  STEP(EVENT(.kind = BRANCH_EV_RUN, .sequence = 1, .end = RUN_READY), "none: vote_no forget");
}

/* ---- a lost answer to PREPARE ------------------------------------------------------------------
 */

static void lost_prepare_found_is_a_yes(void) {
  struct branch b = fresh();
  STEP(RUN(0, RUN_PREPARE), "preparing: run");
  STEP(RAN(RAN_UNKNOWN), "ending_session: end_session");
  STEP(RUN(0, RUN_PREPARE), "ending_session: join");
  STEP(ENDED(true), "looking_up: look_up");
  CU_ASSERT_TRUE(b.barrier);
  STEP(LOOKED(LOOKED_PREPARED), "prepared: vote_yes");
}

static void lost_prepare_of_a_failed_branch_is_rolled_back_when_found(void) {
  struct branch b = fresh();
  STEP(RUN(0, RUN_PREPARE), "preparing: run");
  STEP(RAN(RAN_UNWANTED), "ending_session: end_session");
  STEP(RUN(0, RUN_PREPARE), "ending_session: join");
  STEP(ENDED(true), "looking_up: look_up");
  STEP(LOOKED(LOOKED_PREPARED), "aborting: rollback_prepared");
  STEP(FINISHED(FINISH_DONE), "aborted: vote_no");
}

static void lost_prepare_absent_is_a_no(void) {
  struct branch b = fresh();
  STEP(RUN(0, RUN_PREPARE), "preparing: run");
  STEP(RAN(RAN_UNKNOWN), "ending_session: end_session");
  STEP(ENDED(true), "looking_up: look_up");
  STEP(LOOKED(LOOKED_ABSENT), "aborted: vote_no");
}

static void session_that_cannot_be_ended_is_never_absent(void) {
  struct branch b = fresh();
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
  struct branch b = fresh();
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
  struct branch b = fresh();
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
    struct branch b = fresh();
    STEP(RUN(0, RUN_PREPARE), "preparing: run");
    STEP(DECIDE(DECIDE_ABORT), "preparing: cancel");
    STEP(DECIDE(DECIDE_ABORT), "preparing: join");
    STEP(DECIDE(DECIDE_COMMIT), "preparing: refuse_decision");
    STEP(ONLY(BRANCH_EV_FENCED), "preparing:");
    STEP(EVENT(.kind = BRANCH_EV_RAN, .ran = ends[i].ran, .xid = ends[i].xid), ends[i].expected);
  }
  struct branch b = fresh();
  STEP(RUN(0, RUN_KEEP_OPEN), "running: run");
  STEP(DECIDE(DECIDE_ABORT), "running: cancel");
  STEP(RAN(RAN_OPEN), "aborting: rollback");
  STEP(RUN(0, RUN_KEEP_OPEN), "aborting: join");
  STEP(ONLY(BRANCH_EV_ROLLED_BACK), "aborted: vote_no told_aborted");
}

static void abort_amid_run_and_lost_prepare_is_rolled_back(void) {
  struct branch b = fresh();
  STEP(RUN(0, RUN_PREPARE), "preparing: run");
  STEP(DECIDE(DECIDE_ABORT), "preparing: cancel");
  STEP(RAN(RAN_UNKNOWN), "ending_session: end_session");
  STEP(ENDED(true), "looking_up: look_up");
  STEP(LOOKED(LOOKED_PREPARED), "aborting: rollback_prepared");
  STEP(FINISHED(FINISH_DONE), "aborted: vote_no told_aborted");
}

static void abort_of_active_and_ready_rolls_back(void) {
  struct branch b = fresh();
  STEP(RUN(0, RUN_KEEP_OPEN), "running: run");
  STEP(RAN(RAN_OPEN), "active: vote_yes");
  STEP(DECIDE(DECIDE_ABORT), "aborting: rollback");
  STEP(DECIDE(DECIDE_COMMIT), "aborting: refuse_decision");
  STEP(ONLY(BRANCH_EV_ROLLED_BACK), "aborted: told_aborted");
  b = ready();
  STEP(DECIDE(DECIDE_COMMIT), "ready: refuse_decision");
  STEP(DECIDE(DECIDE_ABORT), "aborting: rollback");
}

static void abort_of_prepared_is_tried_until_answered(void) {
  struct branch b = prepared();
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
  struct branch b = prepared();
  STEP(DECIDE_XID(DECIDE_ABORT), "aborting: rollback_prepared");
  STEP(FINISHED(FINISH_NOT_FOUND), "verifying: ask_status");
  STEP(STATUS(XACT_STATUS_COMMITTED), "committed: told_committed");
}

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
    struct branch b = prepared();
    STEP(DECIDE_XID(DECIDE_COMMIT), "committing: commit_prepared");
    STEP(FINISHED(FINISH_NOT_FOUND), "verifying: ask_status");
    STEP(STATUS(ends[i].status), ends[i].expected);
  }
}

static void commit_unanswered_is_asked_again(void) {
  static const enum session_finished lost[] = {FINISH_LOST, FINISH_BUSY, FINISH_REFUSED};
  for (size_t i = 0; i < sizeof lost / sizeof lost[0]; i++) {
    struct branch b = prepared();
    STEP(DECIDE_XID(DECIDE_COMMIT), "committing: commit_prepared");
    STEP(FINISHED(lost[i]), "prepared: told_retry");
    STEP(DECIDE_XID(DECIDE_COMMIT), "committing: commit_prepared");
    STEP(DECIDE(DECIDE_ABORT), "committing: refuse_decision");
    STEP(FINISHED(FINISH_DONE), "committed: told_committed");
  }
}

static struct branch commit_without_answer(void) {
  struct branch b = prepared();
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
  struct branch b = prepared();
  STEP(DECIDE(DECIDE_ABORT), "aborting: rollback_prepared");
  STEP(FINISH_UNANSWERED, "prepared: told_retry");
  STEP(DECIDE(DECIDE_ABORT), "aborting: rollback_prepared");
  STEP(FINISHED(FINISH_DONE), "aborted: told_aborted");
}

static void commit_after_restart_looks_up_first(void) {
  struct branch b = fresh();
  STEP(DECIDE_XID(DECIDE_COMMIT), "looking_up: look_up");
  STEP(ASK_VOTE(1), "looking_up: refuse_run");
  STEP(LOOKED(LOOKED_PREPARED), "committing: commit_prepared");
  STEP(FINISHED(FINISH_DONE), "committed: told_committed");
  b = fresh();
  STEP(DECIDE_XID(DECIDE_COMMIT), "looking_up: look_up");
  STEP(LOOKED(LOOKED_ABSENT), "verifying: ask_status");
  STEP(STATUS(XACT_STATUS_LOST), "none: told_retry forget");
  b = fresh();
  STEP(DECIDE(DECIDE_COMMIT), "looking_up: look_up");
  STEP(LOOKED(LOOKED_ABSENT), "none: told_unverifiable");
}

/* Also a copy of the run that began it, and however often the question stays without an answer. */
static void run_after_an_end_that_nobody_can_tell_is_refused(void) {
  struct branch b = prepared();
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
  struct branch b = fresh();
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
  struct branch b = fresh();
  STEP(DECIDE(DECIDE_ABORT), "aborting: rollback_prepared");
  STEP(FINISHED(FINISH_NOT_FOUND), "aborted: told_aborted");
  STEP(DECIDE_OTHER_XID(DECIDE_COMMIT), "verifying: ask_status");
  STEP(STATUS(XACT_STATUS_COMMITTED), "committed: told_committed");
}

/* Also where the branch is known no more. */
static void outcome_comes_with_the_decision_it_answers(void) {
  struct branch b = fresh();
  struct branch_actions actions;
  branch_step(&b, &DECIDE(DECIDE_ONE_PHASE), &actions);
  CU_ASSERT_EQUAL_FATAL(actions.items[0].kind, BRANCH_DO_REPLY_OUTCOME);
  CU_ASSERT_EQUAL(actions.items[0].outcome, BRANCH_OUTCOME_UNVERIFIABLE);
  CU_ASSERT_EQUAL(actions.items[0].decision, DECIDE_ONE_PHASE);
  CU_ASSERT_EQUAL(actions.count, 1);
  b = prepared();
  STEP(DECIDE_XID(DECIDE_COMMIT), "committing: commit_prepared");
  STEP(FINISHED(FINISH_DONE), "committed: told_committed");
  branch_step(&b, &DECIDE(DECIDE_ABORT), &actions);
  CU_ASSERT_EQUAL(actions.items[0].decision, DECIDE_ABORT);
}

static void listed_branch_commits_without_look_up_but_votes_with_one(void) {
  struct branch b = fresh();
  STEP(ONLY(BRANCH_EV_LISTED), "prepared:");
  STEP(DECIDE_XID(DECIDE_COMMIT), "committing: commit_prepared");
  b = fresh();
  STEP(ONLY(BRANCH_EV_LISTED), "prepared:");
  STEP(RUN(0, RUN_PREPARE), "prepared: refuse_run");
  STEP(ASK_VOTE(1), "looking_up: look_up");
  STEP(LOOKED(LOOKED_LOST), "prepared: vote_unknown");
  STEP(ASK_VOTE(1), "looking_up: look_up");
  STEP(LOOKED(LOOKED_PREPARED), "prepared: vote_yes");
  STEP(ASK_VOTE(1), "prepared: vote_yes");
}

static void listed_branch_finished_by_hand_is_not_a_no_unverified(void) {
  struct branch b = fresh();
  STEP(ONLY(BRANCH_EV_LISTED), "prepared:");
  STEP(ASK_VOTE(1), "looking_up: look_up");
  STEP(LOOKED(LOOKED_ABSENT), "verifying: ask_status");
  STEP(STATUS(XACT_STATUS_COMMITTED), "committed: vote_unknown");
}

/* ---- one phase ---------------------------------------------------------------------------------
 */

static void one_phase_commits_what_is_ready(void) {
  struct branch b = ready();
  STEP(DECIDE_XID(DECIDE_ONE_PHASE), "committing_one: commit");
  STEP(DECIDE_XID(DECIDE_ONE_PHASE), "committing_one: join");
  STEP(DECIDE(DECIDE_ABORT), "committing_one: refuse_decision");
  STEP(COMMITTED(BRANCH_OUTCOME_COMMITTED), "committed: told_committed");
  b = ready();
  STEP(DECIDE_XID(DECIDE_ONE_PHASE), "committing_one: commit");
  STEP(COMMITTED(BRANCH_OUTCOME_ABORTED), "aborted: told_aborted");
  b = ready();
  STEP(DECIDE_OTHER_XID(DECIDE_ONE_PHASE), "ready: refuse_decision");
}

static void ready_is_told_after_the_barrier_only(void) {
  struct branch b = flushing();
  STEP(RUN(0, RUN_READY), "flushing: join");
  STEP(RUN(1, RUN_READY), "flushing: refuse_run");
  STEP(DECIDE_XID(DECIDE_ONE_PHASE), "flushing: refuse_decision");
  STEP(FLUSHED(true), "ready: vote_ready");
  b = flushing();
  STEP(FLUSHED(false), "aborting: rollback");
  STEP(ONLY(BRANCH_EV_ROLLED_BACK), "aborted: vote_no");
}

static void what_comes_amid_the_barrier_waits_for_it(void) {
  struct branch b = flushing();
  STEP(DECIDE(DECIDE_ABORT), "flushing: join");
  STEP(FLUSHED(true), "aborting: rollback");
  STEP(ONLY(BRANCH_EV_ROLLED_BACK), "aborted: vote_no told_aborted");
  static const enum branch_event_kind ends[] = {BRANCH_EV_EXPIRED, BRANCH_EV_FENCED};
  for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
    b = flushing();
    STEP(ONLY(ends[i]), "flushing:");
    STEP(FLUSHED(true), "aborting: rollback");
    STEP(ONLY(BRANCH_EV_ROLLED_BACK), "aborted: vote_no");
  }
  b = flushing();
  STEP(ONLY(BRANCH_EV_LOST), "flushing:");
  STEP(DECIDE(DECIDE_ABORT), "flushing: join");
  STEP(FLUSHED(true), "aborted: vote_no told_aborted");
}

static void one_phase_lost_answer_is_verified(void) {
  struct branch b = ready();
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
  struct branch b = fresh();
  STEP(DECIDE_XID(DECIDE_ONE_PHASE), "verifying: ask_status");
  STEP(STATUS(XACT_STATUS_ABORTED), "aborted: told_aborted");
  b = fresh();
  STEP(DECIDE(DECIDE_ONE_PHASE), "none: told_unverifiable");
}

static void ready_branch_expires_and_one_phase_tells_aborted(void) {
  struct branch b = ready();
  STEP(ONLY(BRANCH_EV_EXPIRED), "aborting: rollback");
  STEP(DECIDE_XID(DECIDE_ONE_PHASE), "aborting: refuse_decision");
  STEP(ONLY(BRANCH_EV_ROLLED_BACK), "aborted:");
  STEP(DECIDE_XID(DECIDE_ONE_PHASE), "aborted: told_aborted");
}

/* ---- sessions, time, fences --------------------------------------------------------------------
 */

static void lost_session_aborts_what_was_open(void) {
  struct branch b = fresh();
  STEP(RUN(0, RUN_KEEP_OPEN), "running: run");
  STEP(RAN(RAN_OPEN), "active: vote_yes");
  STEP(ONLY(BRANCH_EV_LOST), "aborted:");
  STEP(RUN(1, RUN_PREPARE), "aborted: vote_no");
}

static void prepared_branch_neither_expires_nor_is_fenced(void) {
  struct branch b = prepared();
  STEP(ONLY(BRANCH_EV_EXPIRED), "prepared:");
  STEP(ONLY(BRANCH_EV_FENCED), "prepared:");
}

static void fence_amid_prepare_rolls_it_back(void) {
  struct branch b = fresh();
  STEP(RUN(0, RUN_PREPARE), "preparing: run");
  STEP(ONLY(BRANCH_EV_FENCED), "preparing: cancel");
  STEP(RAN_XID(RAN_PREPARED), "aborting: rollback_prepared");
  STEP(FINISHED(FINISH_LOST), "prepared: vote_unknown");
  STEP(RUN(0, RUN_PREPARE), "prepared: refuse_run");
  STEP(DECIDE(DECIDE_ABORT), "aborting: rollback_prepared");
  STEP(FINISHED(FINISH_DONE), "aborted: told_aborted");
}

/* ---- every state, every event ------------------------------------------------------------------
 */

/* What a driver of the branch has under way, from the actions it was given. */
enum under_way {
  NOTHING,
  A_RUN,
  A_BARRIER,
  A_ROLLBACK,
  A_COMMIT,
  AN_END,
  A_LOOK_UP,
  A_FINISH,
  A_STATUS
};

struct node {
  struct branch branch;
  enum under_way under_way;
};

enum { NODES_MAX = 20000, EVENTS_MAX = 128, SEQUENCES = 3 };
static struct node nodes[NODES_MAX];
static size_t node_count;

static bool same_branch(const struct branch *a, const struct branch *b) {
  return a->state == b->state && a->resume == b->resume && a->stalled == b->stalled &&
         a->closed == b->closed && a->durable == b->durable && a->barrier == b->barrier &&
         a->next_sequence == b->next_sequence && a->end == b->end && a->vote_due == b->vote_due &&
         a->decided == b->decided && a->decision == b->decision && a->xid_told == b->xid_told &&
         a->lost == b->lost && a->finish_lost == b->finish_lost &&
         a->session_gone == b->session_gone;
}

static void visit(const struct node *node) {
  for (size_t i = 0; i < node_count; i++)
    if (nodes[i].under_way == node->under_way && same_branch(&nodes[i].branch, &node->branch))
      return;
  assert(node_count < NODES_MAX);
  nodes[node_count++] = *node;
}

static size_t requests(struct branch_event *out) {
  size_t n = 0;
  for (unsigned sequence = 0; sequence < SEQUENCES; sequence++)
    for (int end = RUN_KEEP_OPEN; end <= RUN_READY; end++)
      for (int statements = 0; statements < 2; statements++)
        out[n++] = EVENT(.kind = BRANCH_EV_RUN, .sequence = sequence, .end = (enum run_end)end,
                         .has_statements = statements);
  for (int decision = DECIDE_ABORT; decision <= DECIDE_ONE_PHASE; decision++) {
    out[n++] = DECIDE((enum decision)decision);
    out[n++] = DECIDE_XID((enum decision)decision);
    out[n++] = DECIDE_OTHER_XID((enum decision)decision);
  }
  out[n++] = ONLY(BRANCH_EV_EXPIRED);
  out[n++] = ONLY(BRANCH_EV_FENCED);
  out[n++] = ONLY(BRANCH_EV_LISTED);
  return n;
}

static size_t run_answers(const struct branch *b, struct branch_event *out) {
  size_t n = 0;
  out[n++] = RAN(RAN_FAILED);
  out[n++] = RAN(RAN_UNKNOWN);
  out[n++] = RAN_XID(RAN_UNKNOWN);
  out[n++] = RAN(RAN_UNWANTED);
  out[n++] = RAN_XID(RAN_UNWANTED);
  if (b->end == RUN_PREPARE) {
    out[n++] = RAN_XID(RAN_PREPARED);
  } else {
    out[n++] = RAN(RAN_OPEN);
    out[n++] = RAN_XID(RAN_OPEN);
  }
  if (b->end != RUN_KEEP_OPEN) out[n++] = RAN(RAN_READ_ONLY);
  return n;
}

/* The answers that what is under way can have. */
static size_t answers(const struct node *node, struct branch_event *out) {
  size_t n = 0;
  switch (node->under_way) {
  case NOTHING:
    if (node->branch.state == BRANCH_ACTIVE || node->branch.state == BRANCH_READY)
      out[n++] = ONLY(BRANCH_EV_LOST);
    break;
  case A_RUN: n = run_answers(&node->branch, out); break;
  case A_BARRIER:
    out[n++] = FLUSHED(true);
    out[n++] = FLUSHED(false);
    break;
  case A_ROLLBACK: out[n++] = ONLY(BRANCH_EV_ROLLED_BACK); break;
  case A_COMMIT:
    out[n++] = COMMITTED(BRANCH_OUTCOME_COMMITTED);
    out[n++] = COMMITTED(BRANCH_OUTCOME_ABORTED);
    out[n++] = COMMITTED(BRANCH_OUTCOME_RETRY);
    break;
  case AN_END:
    out[n++] = ENDED(true);
    out[n++] = ENDED(false);
    break;
  case A_LOOK_UP:
    out[n++] = LOOKED(LOOKED_LOST);
    out[n++] = LOOKED(LOOKED_ABSENT);
    out[n++] = LOOKED(LOOKED_PREPARED);
    out[n++] = LOOKED_OTHER;
    out[n++] = LOOKED(LOOKED_REFUSED);
    out[n++] = LOOKED_OTHERS_REFUSED;
    break;
  case A_FINISH:
    for (int i = FINISH_LOST; i <= FINISH_REFUSED; i++)
      out[n++] = FINISHED((enum session_finished)i);
    out[n++] = FINISH_UNANSWERED;
    break;
  case A_STATUS:
    for (int i = XACT_STATUS_LOST; i <= XACT_STATUS_FORGOTTEN; i++)
      out[n++] = STATUS((enum xact_status)i);
    break;
  }
  return n;
}

static enum under_way begun_by(enum branch_action_kind kind) {
  switch (kind) {
  case BRANCH_DO_RUN: return A_RUN;
  case BRANCH_DO_BARRIER: return A_BARRIER;
  case BRANCH_DO_ROLLBACK: return A_ROLLBACK;
  case BRANCH_DO_COMMIT: return A_COMMIT;
  case BRANCH_DO_END_SESSION: return AN_END;
  case BRANCH_DO_LOOK_UP: return A_LOOK_UP;
  case BRANCH_DO_COMMIT_PREPARED:
  case BRANCH_DO_ROLLBACK_PREPARED: return A_FINISH;
  case BRANCH_DO_ASK_STATUS: return A_STATUS;
  case BRANCH_DO_CANCEL:
  case BRANCH_DO_REPLY_VOTE:
  case BRANCH_DO_REPLY_OUTCOME:
  case BRANCH_DO_REFUSE_RUN:
  case BRANCH_DO_REFUSE_DECISION:
  case BRANCH_DO_JOIN:
  case BRANCH_DO_FORGET: return NOTHING;
  }
  return NOTHING;
}

static size_t count_of(const struct branch_actions *actions, enum branch_action_kind kind) {
  size_t n = 0;
  for (size_t i = 0; i < actions->count; i++)
    n += actions->items[i].kind == kind;
  return n;
}

static bool has_vote(const struct branch_actions *actions, enum vote vote) {
  for (size_t i = 0; i < actions->count; i++)
    if (actions->items[i].kind == BRANCH_DO_REPLY_VOTE && actions->items[i].vote == vote)
      return true;
  return false;
}

/* An outcome names the decision that waited, or the one that is answered at once. */
static bool outcomes_name_their_decision(const struct branch *was, const struct branch_event *event,
                                         const struct branch_actions *actions) {
  enum decision waited = was->decided ? was->decision : event->decision;
  for (size_t i = 0; i < actions->count; i++)
    if (actions->items[i].kind == BRANCH_DO_REPLY_OUTCOME &&
        (actions->items[i].decision != waited ||
         (!was->decided && event->kind != BRANCH_EV_DECIDE)))
      return false;
  return true;
}

static void explain(const struct node *before, const struct branch_event *event,
                    const struct branch_actions *actions, const struct branch *after) {
  (void)fprintf(stderr, "\n  %s, event %d (decision %d, sequence %u) -> %s:",
                branch_state_name(before->branch.state), event->kind, event->decision,
                event->sequence, branch_state_name(after->state));
  for (size_t i = 0; i < actions->count; i++)
    (void)fprintf(stderr, " %s", action_text(&actions->items[i]));
  (void)fprintf(stderr, "\n");
}

/* Invariants 1 to 5 of branch.h on one step. */
static bool holds(const struct node *before, const struct branch_event *event,
                  const struct branch_actions *actions, const struct node *after, size_t begun) {
  const struct branch *was = &before->branch, *is = &after->branch;
  bool one_at_a_time = begun <= 1 && (begun == 0 || before->under_way == NOTHING);
  bool resting_owes_nothing = after->under_way != NOTHING || (!is->vote_due && !is->decided);
  bool same_xid_only =
      count_of(actions, BRANCH_DO_COMMIT_PREPARED) == 0 ||
      (event->same_xid &&
       ((event->kind == BRANCH_EV_DECIDE && was->state == BRANCH_PREPARED && !was->finish_lost) ||
        (event->kind == BRANCH_EV_LOOKED &&
         (event->looked == LOOKED_PREPARED || event->looked == LOOKED_REFUSED))));
  bool yes_is_prepared = !has_vote(actions, VOTE_YES) ||
                         (is->state == BRANCH_ACTIVE && is->end == RUN_KEEP_OPEN && !is->closed) ||
                         (is->state == BRANCH_PREPARED && is->durable && !is->closed);
  bool ready_is_flushed =
      !has_vote(actions, VOTE_READY) ||
      (is->state == BRANCH_READY && !is->closed && !is->session_gone &&
       (was->state == BRANCH_READY || (event->kind == BRANCH_EV_FLUSHED && event->ok)));
  bool refused_is_no_vote = event->kind != BRANCH_EV_LOOKED || event->looked != LOOKED_REFUSED ||
                            count_of(actions, BRANCH_DO_REPLY_VOTE) == 0 ||
                            has_vote(actions, VOTE_UNKNOWN);
  bool ended_takes_no_run =
      count_of(actions, BRANCH_DO_RUN) == 0 ||
      (!was->closed && (was->state == BRANCH_NONE || was->state == BRANCH_ACTIVE));
  /* Every request that comes is answered, joined, or what is begun for it leaves it waiting. */
  bool run_kept = event->kind != BRANCH_EV_RUN ||
                  count_of(actions, BRANCH_DO_REFUSE_RUN) + count_of(actions, BRANCH_DO_JOIN) +
                          count_of(actions, BRANCH_DO_REPLY_VOTE) + begun ==
                      1;
  bool decision_kept = event->kind != BRANCH_EV_DECIDE ||
                       count_of(actions, BRANCH_DO_CANCEL) +
                               count_of(actions, BRANCH_DO_REFUSE_DECISION) +
                               count_of(actions, BRANCH_DO_JOIN) +
                               count_of(actions, BRANCH_DO_REPLY_OUTCOME) + begun ==
                           1;
  bool answered =
      (!was->vote_due || is->vote_due || count_of(actions, BRANCH_DO_REPLY_VOTE) == 1) &&
      (!was->decided || is->decided || count_of(actions, BRANCH_DO_REPLY_OUTCOME) == 1);
  bool forgotten_is_none =
      count_of(actions, BRANCH_DO_FORGET) == 0 ||
      (is->state == BRANCH_NONE && actions->items[actions->count - 1].kind == BRANCH_DO_FORGET);
  return outcomes_name_their_decision(was, event, actions) && one_at_a_time &&
         resting_owes_nothing && same_xid_only && yes_is_prepared && ready_is_flushed &&
         refused_is_no_vote && ended_takes_no_run && run_kept && decision_kept && answered &&
         forgotten_is_none;
}

static bool take(const struct node *before, const struct branch_event *event, bool is_answer) {
  struct node after = *before;
  struct branch_actions actions;
  branch_step(&after.branch, event, &actions);
  struct node was = *before;
  if (is_answer) was.under_way = after.under_way = NOTHING;
  size_t begun = 0;
  for (size_t i = 0; i < actions.count; i++) {
    enum under_way begins = begun_by(actions.items[i].kind);
    if (begins == NOTHING) continue;
    begun++;
    after.under_way = begins;
  }
  visit(&after);
  if (holds(&was, event, &actions, &after, begun)) return true;
  explain(before, event, &actions, &after.branch);
  return false;
}

/* Walks everything once, whichever case comes first; returns how many steps broke an invariant. */
static size_t explore(void) {
  static size_t bad;
  if (node_count > 0) return bad;
  struct node start = {.under_way = NOTHING};
  branch_init(&start.branch);
  visit(&start);
  for (size_t i = 0; i < node_count; i++) {
    struct branch_event events[EVENTS_MAX];
    struct node node = nodes[i];
    size_t n = requests(events);
    for (size_t k = 0; k < n; k++)
      bad += !take(&node, &events[k], false);
    n = answers(&node, events);
    for (size_t k = 0; k < n; k++)
      bad += !take(&node, &events[k], true);
    struct branch_event lost = ONLY(BRANCH_EV_LOST); /* the barrier stays under way */
    if (node.under_way == A_BARRIER && !node.branch.session_gone) bad += !take(&node, &lost, false);
  }
  return bad;
}

static void every_event_in_every_reachable_state_keeps_the_invariants(void) {
  CU_ASSERT_EQUAL(explore(), 0);
  bool reached[BRANCH_STATE_COUNT] = {false};
  for (size_t i = 0; i < node_count; i++)
    reached[nodes[i].branch.state] = true;
  for (int state = 0; state < BRANCH_STATE_COUNT; state++)
    CU_ASSERT_TRUE(reached[state]);
}

static bool has_ended(const struct branch *b) {
  return b->state == BRANCH_NONE || b->state == BRANCH_COMMITTED || b->state == BRANCH_ABORTED ||
         b->state == BRANCH_READ_ONLY;
}

/* What a database in good health answers, and a coordinator that goes on asking. */
static struct branch_event good_event(const struct node *node) {
  switch (node->under_way) {
  case A_RUN: return RAN(RAN_FAILED);
  case A_BARRIER: return FLUSHED(true);
  case A_ROLLBACK: return ONLY(BRANCH_EV_ROLLED_BACK);
  case A_COMMIT: return COMMITTED(BRANCH_OUTCOME_COMMITTED);
  case AN_END: return ENDED(true);
  case A_LOOK_UP: return LOOKED(LOOKED_ABSENT);
  case A_FINISH: return FINISHED(FINISH_DONE);
  case A_STATUS: return STATUS(XACT_STATUS_COMMITTED);
  case NOTHING: break;
  }
  return DECIDE(node->branch.lost == AFTER_LOST_COMMIT ? DECIDE_ONE_PHASE : DECIDE_ABORT);
}

static void every_reachable_state_comes_to_an_end(void) {
  (void)explore();
  size_t stuck = 0;
  for (size_t i = 0; i < node_count; i++) {
    struct node node = nodes[i];
    for (int steps = 0; steps < 12 && !(node.under_way == NOTHING && has_ended(&node.branch));
         steps++) {
      struct branch_event event = good_event(&node);
      struct branch_actions actions;
      branch_step(&node.branch, &event, &actions);
      node.under_way = NOTHING;
      for (size_t k = 0; k < actions.count; k++)
        if (begun_by(actions.items[k].kind) != NOTHING)
          node.under_way = begun_by(actions.items[k].kind);
    }
    stuck += !(node.under_way == NOTHING && has_ended(&node.branch));
  }
  CU_ASSERT_EQUAL(stuck, 0);
}

/* Does the step abort the process? Tried in a child. */
static bool asserts(const struct branch *branch, const struct branch_event *event) {
  pid_t child = fork();
  CU_ASSERT_FATAL(child >= 0);
  if (child == 0) {
    struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
    int null = open("/dev/null", O_WRONLY);
    if (null >= 0) (void)dup2(null, STDERR_FILENO);
    struct branch b = *branch;
    struct branch_actions actions;
    branch_step(&b, event, &actions);
    _exit(0);
  }
  int status = 0;
  CU_ASSERT_FATAL(waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status);
}

static void answers_to_what_was_not_asked_are_refused(void) {
  static const struct {
    struct branch_event event;
    unsigned states; /* where it is possible */
  } cases[] = {
      {{.kind = BRANCH_EV_RAN, .ran = RAN_FAILED}, 1U << BRANCH_RUNNING | 1U << BRANCH_PREPARING},
      {{.kind = BRANCH_EV_LOST}, 1U << BRANCH_ACTIVE | 1U << BRANCH_FLUSHING | 1U << BRANCH_READY},
      {{.kind = BRANCH_EV_FLUSHED, .ok = true}, 1U << BRANCH_FLUSHING},
      {{.kind = BRANCH_EV_ROLLED_BACK}, 1U << BRANCH_ABORTING},
      {{.kind = BRANCH_EV_COMMITTED, .outcome = BRANCH_OUTCOME_COMMITTED},
       1U << BRANCH_COMMITTING_ONE},
      {{.kind = BRANCH_EV_SESSION_ENDED, .ok = true}, 1U << BRANCH_ENDING_SESSION},
      {{.kind = BRANCH_EV_LOOKED, .looked = LOOKED_ABSENT}, 1U << BRANCH_LOOKING_UP},
      {{.kind = BRANCH_EV_FINISHED, .finished = FINISH_DONE},
       1U << BRANCH_COMMITTING | 1U << BRANCH_ABORTING},
      {{.kind = BRANCH_EV_STATUS, .status = XACT_STATUS_ABORTED}, 1U << BRANCH_VERIFYING},
  };
  bool tried[BRANCH_STATE_COUNT] = {false};
  (void)explore();
  for (size_t i = 0; i < node_count; i++) {
    const struct branch *b = &nodes[i].branch;
    if (tried[b->state] || b->stalled) continue;
    tried[b->state] = true;
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++)
      CU_ASSERT_EQUAL(asserts(b, &cases[k].event), !(cases[k].states & 1U << b->state));
  }
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
      CASE(abort_of_branch_committed_by_hand_tells_committed), CASE(commit_not_found_is_verified),
      CASE(commit_unanswered_is_asked_again),
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
      CASE(ready_branch_expires_and_one_phase_tells_aborted),
      CASE(lost_session_aborts_what_was_open), CASE(prepared_branch_neither_expires_nor_is_fenced),
      CASE(fence_amid_prepare_rolls_it_back),
      CASE(every_event_in_every_reachable_state_keeps_the_invariants),
      CASE(every_reachable_state_comes_to_an_end), CASE(answers_to_what_was_not_asked_are_refused))
