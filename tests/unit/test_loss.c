/* What a failover to an asynchronous standby may cost, and what is wrong all the same. */
#include "cli/loss.h"

#include "tests/lib/suite.h"

#define THERE                                                                                      \
  { .writes = true, .is_there = true, .told = BRANCH_TOLD_COMMITTED }
#define ABSENT                                                                                     \
  { .writes = true, .told = BRANCH_TOLD_ABORTED }
/* Gone with a failover: prepared there only, or committed there. */
#define GONE(says)                                                                                 \
  { .writes = true, .failed_over = true, .told = BRANCH_TOLD_##says }
#define GONE_COMMITTED(says)                                                                       \
  { .writes = true, .failed_over = true, .was_there = true, .told = BRANCH_TOLD_##says }

#define CASE_OF(client, list, ...)                                                                 \
  (struct loss_case) {                                                                             \
    .told = TOLD_##client, .listed = TOLD_##list, .is_listed = true, .branches = { __VA_ARGS__ }   \
  }

static enum loss_verdict judge(struct loss_case c) {
  bool lost[BANKS];
  return loss_judge(&c, lost);
}

static void transfer_that_is_as_it_was_told_is_right(void) {
  CU_ASSERT_EQUAL(judge(CASE_OF(COMMITTED, COMMITTED, THERE, THERE)), LOSS_NONE);
  CU_ASSERT_EQUAL(judge(CASE_OF(ABORTED, ABORTED, ABSENT, ABSENT)), LOSS_NONE);
  struct loss_case unlisted = CASE_OF(ABORTED, NOTHING, ABSENT, ABSENT);
  unlisted.is_listed = false;
  CU_ASSERT_EQUAL(judge(unlisted), LOSS_NONE);
}

static void lost_vote_that_is_told_is_surfaced(void) {
  bool lost[BANKS];
  CU_ASSERT_EQUAL(judge(CASE_OF(MIXED, MIXED, THERE, GONE(ABORTED))), LOSS_SURFACED);
  struct loss_case c = CASE_OF(COMMITTED, MIXED, GONE(ABORTED), THERE);
  CU_ASSERT_EQUAL(loss_judge(&c, lost), LOSS_SURFACED);
  CU_ASSERT_TRUE(lost[0] && !lost[1]);
  CU_ASSERT_EQUAL(judge(CASE_OF(MIXED, MIXED, GONE(ABORTED), GONE(ABORTED))), LOSS_SURFACED);
}

static void lost_vote_that_is_not_told_is_wrong(void) {
  CU_ASSERT_EQUAL(judge(CASE_OF(COMMITTED, COMMITTED, THERE, GONE(COMMITTED))), LOSS_WRONG);
  CU_ASSERT_EQUAL(judge(CASE_OF(COMMITTED, COMMITTED, THERE, GONE(NOTHING))), LOSS_WRONG);
  CU_ASSERT_EQUAL(judge(CASE_OF(MIXED, MIXED, GONE(ABORTED), GONE(COMMITTED))), LOSS_WRONG);
}

static void lost_commit_that_was_confirmed_is_unseen(void) {
  bool lost[BANKS];
  struct loss_case c = CASE_OF(COMMITTED, COMMITTED, THERE, GONE_COMMITTED(COMMITTED));
  CU_ASSERT_EQUAL(loss_judge(&c, lost), LOSS_UNSEEN);
  CU_ASSERT_TRUE(!lost[0] && lost[1]);
  c = CASE_OF(MIXED, MIXED, GONE_COMMITTED(COMMITTED), GONE(ABORTED));
  CU_ASSERT_EQUAL(loss_judge(&c, lost), LOSS_SURFACED);
  CU_ASSERT_TRUE(lost[0] && lost[1]);
}

static void branch_missing_without_a_failover_is_wrong(void) {
  CU_ASSERT_EQUAL(judge(CASE_OF(COMMITTED, COMMITTED, THERE, ABSENT)), LOSS_WRONG);
  CU_ASSERT_EQUAL(judge(CASE_OF(MIXED, MIXED, THERE, ABSENT)), LOSS_WRONG);
}

static void mixed_that_has_lost_nothing_is_wrong(void) {
  CU_ASSERT_EQUAL(judge(CASE_OF(MIXED, MIXED, THERE, THERE)), LOSS_WRONG);
  struct loss_case denied = CASE_OF(MIXED, MIXED, THERE, THERE);
  denied.branches[1].told = BRANCH_TOLD_ABORTED;
  denied.branches[1].failed_over = true;
  CU_ASSERT_EQUAL(judge(denied), LOSS_WRONG);
}

static void outcome_that_is_told_otherwise_later_is_wrong(void) {
  CU_ASSERT_EQUAL(judge(CASE_OF(COMMITTED, ABORTED, GONE(ABORTED), GONE(ABORTED))), LOSS_WRONG);
  CU_ASSERT_EQUAL(judge(CASE_OF(ABORTED, COMMITTED, ABSENT, ABSENT)), LOSS_WRONG);
  CU_ASSERT_EQUAL(judge(CASE_OF(MIXED, COMMITTED, THERE, GONE_COMMITTED(COMMITTED))), LOSS_WRONG);
  CU_ASSERT_EQUAL(judge(CASE_OF(NOTHING, COMMITTED, THERE, THERE)), LOSS_WRONG);
  struct loss_case unlisted = CASE_OF(COMMITTED, COMMITTED, THERE, THERE);
  unlisted.is_listed = false;
  CU_ASSERT_EQUAL(judge(unlisted), LOSS_WRONG);
}

static void aborted_that_is_there_is_wrong(void) {
  CU_ASSERT_EQUAL(judge(CASE_OF(ABORTED, ABORTED, THERE, ABSENT)), LOSS_WRONG);
  struct loss_case after = CASE_OF(ABORTED, ABORTED, ABSENT, THERE);
  after.branches[1].failed_over = true;
  CU_ASSERT_EQUAL(judge(after), LOSS_WRONG);
}

/* There is no second branch that it could differ from. */
static void sole_branch_that_is_lost_is_told_as_aborted(void) {
  struct loss_case c = CASE_OF(COMMITTED, ABORTED, GONE_COMMITTED(ABORTED));
  c.is_sole = true;
  CU_ASSERT_EQUAL(judge(c), LOSS_SURFACED);
  c.branches[0].failed_over = false;
  CU_ASSERT_EQUAL(judge(c), LOSS_WRONG);
  c = CASE_OF(MIXED, MIXED, GONE(ABORTED));
  c.is_sole = true;
  CU_ASSERT_EQUAL(judge(c), LOSS_WRONG);
}

SUITE(loss, CASE(transfer_that_is_as_it_was_told_is_right),
      CASE(lost_vote_that_is_told_is_surfaced), CASE(lost_vote_that_is_not_told_is_wrong),
      CASE(lost_commit_that_was_confirmed_is_unseen),
      CASE(branch_missing_without_a_failover_is_wrong), CASE(mixed_that_has_lost_nothing_is_wrong),
      CASE(outcome_that_is_told_otherwise_later_is_wrong), CASE(aborted_that_is_there_is_wrong),
      CASE(sole_branch_that_is_lost_is_told_as_aborted))
