/* What an SQLSTATE proves, and what the user is told of it. */
#include "adapters/sqlstate.h"

#include "tests/lib/suite.h"

static void sqlstate_of_no_server_is_ambiguous(void) {
  CU_ASSERT_EQUAL(sqlstate_class(NULL), CLASS_AMBIGUOUS);
  CU_ASSERT_EQUAL(sqlstate_class(""), CLASS_AMBIGUOUS);
  CU_ASSERT_EQUAL(sqlstate_cause(NULL, false), CAUSE_UNREACHABLE);
}

static void sqlstate_whole_code_wins_over_its_class(void) {
  CU_ASSERT_EQUAL(sqlstate_cause("40P01", false), CAUSE_DEADLOCK);
  CU_ASSERT_EQUAL(sqlstate_cause("40001", false), CAUSE_CONFLICT);
  CU_ASSERT_EQUAL(sqlstate_cause("40002", false), CAUSE_CONFLICT);
  CU_ASSERT_EQUAL(sqlstate_class("40003"), CLASS_AMBIGUOUS);
  CU_ASSERT_EQUAL(sqlstate_cause("57014", false), CAUSE_TIMEOUT);
  CU_ASSERT_EQUAL(sqlstate_cause("57P01", false), CAUSE_UNREACHABLE);
}

static void sqlstate_of_a_session_that_goes_on_is_the_statements(void) {
  static const char *const codes[] = {"08P01", "08006", "28000", "3D000", "40003", "57P01"};
  for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
    CU_ASSERT_EQUAL(sqlstate_cause(codes[i], false), CAUSE_UNREACHABLE);
    CU_ASSERT_EQUAL(sqlstate_cause(codes[i], true), CAUSE_STATEMENT);
  }
  CU_ASSERT_EQUAL(sqlstate_cause("58030", true), CAUSE_UNREACHABLE);
  CU_ASSERT_EQUAL(sqlstate_cause("57014", true), CAUSE_TIMEOUT);
}

static void sqlstate_that_ends_a_backend_is_ambiguous(void) {
  static const char *const codes[] = {"08006", "57P01", "57P02", "57014",
                                      "58030", "XX000", "XX001"};
  for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
    CU_ASSERT_EQUAL(sqlstate_class(codes[i]), CLASS_AMBIGUOUS);
}

static void sqlstate_of_a_statement_is_the_callers(void) {
  static const char *const codes[] = {"23505", "23514", "42P01", "42601", "22012",
                                      "P0001", "0A000", "42501", "25006", "42704"};
  for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
    CU_ASSERT_EQUAL(sqlstate_class(codes[i]), CLASS_CALLER);
    CU_ASSERT_EQUAL(sqlstate_cause(codes[i], false), CAUSE_STATEMENT);
  }
}

static void sqlstate_of_a_conflict_may_be_tried_again(void) {
  static const char *const codes[] = {"40001", "40P01", "55P03", "55000",
                                      "53200", "53300", "25P03"};
  for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
    CU_ASSERT_EQUAL(sqlstate_class(codes[i]), CLASS_RETRY);
  CU_ASSERT_EQUAL(sqlstate_cause("55P03", false), CAUSE_CONFLICT);
  CU_ASSERT_EQUAL(sqlstate_cause("53200", false), CAUSE_LIMIT);
  CU_ASSERT_EQUAL(sqlstate_cause("25P03", false), CAUSE_TIMEOUT);
}

SUITE(sqlstate, CASE(sqlstate_of_no_server_is_ambiguous),
      CASE(sqlstate_whole_code_wins_over_its_class),
      CASE(sqlstate_of_a_session_that_goes_on_is_the_statements),
      CASE(sqlstate_that_ends_a_backend_is_ambiguous), CASE(sqlstate_of_a_statement_is_the_callers),
      CASE(sqlstate_of_a_conflict_may_be_tried_again))
