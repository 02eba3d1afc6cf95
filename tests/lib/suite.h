/* Suites that register themselves, so that a test file is all there is to add.
 *
 *   static void gid_with_leading_zero_is_refused(void) { ... CU_ASSERT_FALSE(...); }
 *   SUITE(id, CASE(gid_with_leading_zero_is_refused), CASE(...))
 *
 * The runner (suite.c) runs all suites, or those whose "suite" or "suite/case" contains one of its
 * arguments, and prints CUnit's summary.
 */
#ifndef ASSENT_TESTS_LIB_SUITE_H
#define ASSENT_TESTS_LIB_SUITE_H

#include <CUnit/CUnit.h>
#include <stddef.h>

struct test_case {
  const char *name;
  void (*run)(void);
};

struct test_suite {
  const char *name;
  const struct test_case *cases;
  size_t count;
  struct test_suite *next;
};

void suite_register(struct test_suite *suite);

#define CASE(function)                                                                             \
  { #function, function }

#define SUITE(suite_name, ...)                                                                     \
  static const struct test_case suite_cases[] = {__VA_ARGS__};                                     \
  static struct test_suite suite_self = {#suite_name, suite_cases,                                 \
                                         sizeof suite_cases / sizeof suite_cases[0], NULL};        \
  __attribute__((constructor)) static void suite_enter(void) {                                     \
    suite_register(&suite_self);                                                                   \
  }

#endif
