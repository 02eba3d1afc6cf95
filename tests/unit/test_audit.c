/* coordinator/audit.c */
#include "coordinator/audit.h"

#include <string.h>

#include "tests/lib/suite.h"

static void word_of_an_operator_reads_back(void) {
  char reason[501], detail[AUDIT_TEXT_SIZE];
  struct step step;
  struct cause error;
  memset(reason, 'x', sizeof reason - 1);
  reason[sizeof reason - 1] = '\0';
  audit_word(BRANCH_OUTCOME_ABORTED, reason, detail);
  const struct wal_line line = {7, 2, "resolve", detail};
  CU_ASSERT_TRUE_FATAL(audit_step(&line, &step, &error));
  CU_ASSERT_EQUAL(step.kind, STEP_RESOLVED);
  CU_ASSERT_EQUAL(step.at_us, 7);
  CU_ASSERT_EQUAL(step.branch, 2);
  CU_ASSERT_STRING_EQUAL(step.detail, "aborted");
  CU_ASSERT_EQUAL(error.kind, CAUSE_OPERATOR);
  CU_ASSERT_EQUAL(error.branch, 2);
  CU_ASSERT_EQUAL(strncmp(error.text, reason, strlen(error.text)), 0);
  CU_ASSERT_TRUE(strlen(error.text) > 100);
}

static void alarm_reads_back_with_its_reason_if_any(void) {
  struct step step;
  struct cause error;
  const struct wal_line mixed = {7, 1, "heuristic_mixed", "the branch had been rolled back"};
  CU_ASSERT_TRUE_FATAL(audit_step(&mixed, &step, &error));
  CU_ASSERT_EQUAL(step.kind, STEP_ALARM);
  CU_ASSERT_STRING_EQUAL(step.detail, "heuristic_mixed");
  CU_ASSERT_STRING_EQUAL(error.text, "the branch had been rolled back");
  const struct wal_line hazard = {7, 1, "heuristic_hazard", ""};
  CU_ASSERT_TRUE_FATAL(audit_step(&hazard, &step, &error));
  CU_ASSERT_EQUAL(error.kind, CAUSE_NONE);
}

static void other_lines_are_no_steps(void) {
  struct step step;
  struct cause error;
  const struct wal_line lines[] = {{7, 1, "resolved", "committed"},
                                   {7, 1, "resolve", "something else"},
                                   {7, 0, "log_rebuilt", "lost"}};
  for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
    CU_ASSERT_FALSE(audit_step(&lines[i], &step, &error));
}

SUITE(audit, CASE(word_of_an_operator_reads_back), CASE(alarm_reads_back_with_its_reason_if_any),
      CASE(other_lines_are_no_steps))
