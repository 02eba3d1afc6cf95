/* Runs the facts: one line for each, and last, alone, "N passed, N failed".
 *
 *   ok    PostgreSQL 15.20  name_of_the_fact = what was noted
 *
 * Arguments narrow: a fact runs when its "suite/name" contains one of them. Suites whose name begins
 * with sqlite are about the library this program uses; all others about the servers. Exit status 1
 * when a fact does not hold, 2 when something else went wrong.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include <CUnit/CUnit.h>
#include <CUnit/TestRun.h>

#include "tests/facts/facts.h"

static struct test_suite *suites; /* sorted by name: the order of linking must not matter */
static char noted[64];

void suite_register(struct test_suite *suite) {
  struct test_suite **at = &suites;
  while (*at && strcmp((*at)->name, suite->name) < 0)
    at = &(*at)->next;
  suite->next = *at;
  *at = suite;
}

void facts_note(const char *note) {
  (void)snprintf(noted, sizeof noted, "%s", note);
}

static bool is_about_sqlite(const char *suite) {
  return strncmp(suite, "sqlite", strlen("sqlite")) == 0;
}

static bool is_wanted(const char *suite, const char *name, int argc, char **argv) {
  char full[256];
  (void)snprintf(full, sizeof full, "%s/%s", suite, name);
  for (int i = 1; i < argc; i++)
    if (strstr(full, argv[i])) return true;
  return argc < 2;
}

static unsigned add_suite(const struct test_suite *s, int argc, char **argv) {
  bool sqlite = is_about_sqlite(s->name);
  unsigned wanted = 0;
  CU_pSuite suite =
      CU_add_suite_with_setup_and_teardown(s->name, NULL, NULL, sqlite ? NULL : facts_setup,
                                           sqlite ? NULL : facts_teardown);
  if (!suite) return 0;
  for (size_t i = 0; i < s->count; i++) {
    if (!is_wanted(s->name, s->cases[i].name, argc, argv)) continue;
    if (CU_add_test(suite, s->cases[i].name, s->cases[i].run)) wanted++;
  }
  return wanted;
}

static void on_begin(CU_pTest test, CU_pSuite suite) {
  (void)test;
  (void)suite;
  noted[0] = '\0';
}

static void on_complete(CU_pTest test, CU_pSuite suite, CU_pFailureRecord first) {
  bool sqlite = is_about_sqlite(suite->pName);
  (void)printf("%-5s %s %s  %s%s%s\n", first ? "FAIL" : "ok", sqlite ? "SQLite" : "PostgreSQL",
               sqlite ? sqlite3_libversion() : facts_version(), test->pName, *noted ? " = " : "",
               noted);
  for (const CU_FailureRecord *failure = first; failure; failure = failure->pNext)
    (void)printf("      %s:%u: %s\n", failure->strFileName, failure->uiLineNumber,
                 failure->strCondition);
}

int main(int argc, char **argv) {
  unsigned wanted = 0;
  (void)setvbuf(stdout, NULL, _IOLBF, 0);
  if (CU_initialize_registry() != CUE_SUCCESS) return 2;
  for (const struct test_suite *s = suites; s; s = s->next)
    wanted += add_suite(s, argc, argv);
  if (wanted == 0) {
    (void)fprintf(stderr, "no fact has such a name\n");
    return 2;
  }
  CU_set_test_start_handler(on_begin);
  CU_set_test_complete_handler(on_complete);
  CU_ErrorCode ran = CU_run_all_tests();
  unsigned run = CU_get_number_of_tests_run(), failed = CU_get_number_of_tests_failed();
  CU_cleanup_registry();
  if (ran != CUE_SUCCESS || run != wanted) return 2;
  (void)printf("%u passed, %u failed\n", run - failed, failed);
  return failed == 0 ? 0 : 1;
}
