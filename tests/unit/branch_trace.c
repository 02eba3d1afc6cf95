/* See branch_trace.h. */
#include "tests/unit/branch_trace.h"

#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

const char *trace_action(const struct branch_action *action) {
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

void trace_step(struct branch *b, struct branch_event event, const char *expected, const char *file,
                int line) {
  struct branch_actions actions;
  branch_step(b, &event, &actions);
  char got[200];
  int used = snprintf(got, sizeof got, "%s%s:", branch_state_name(b->state),
                      b->stalled ? " (stalled)" : "");
  for (size_t i = 0; i < actions.count; i++)
    used += snprintf(got + used, sizeof got - (size_t)used, " %s", trace_action(&actions.items[i]));
  if (strcmp(got, expected) != 0)
    (void)fprintf(stderr, "\n  line %d: expected \"%s\", got \"%s\"\n", line, expected, got);
  CU_assertImplementation(strcmp(got, expected) == 0, (unsigned)line, expected, file, "step",
                          CU_FALSE);
}

struct branch trace_fresh(void) {
  struct branch b;
  branch_init(&b);
  return b;
}

struct branch trace_prepared(void) {
  struct branch b = trace_fresh();
  STEP(RUN(0, RUN_PREPARE), "preparing: run");
  STEP(RAN_XID(RAN_PREPARED), "prepared: vote_yes");
  return b;
}

struct branch trace_flushing(void) {
  struct branch b = trace_fresh();
  STEP(RUN(0, RUN_READY), "running: run");
  STEP(RAN_XID(RAN_OPEN), "flushing: barrier");
  return b;
}

struct branch trace_ready(void) {
  struct branch b = trace_flushing();
  STEP(FLUSHED(true), "ready: vote_ready");
  return b;
}
