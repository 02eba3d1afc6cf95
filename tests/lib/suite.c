/* The runner of the test programs: see suite.h. */
#include "tests/lib/suite.h"

#include <CUnit/Basic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static struct test_suite *suites; /* sorted by name: the order of linking must not matter */

void suite_register(struct test_suite *suite) {
  struct test_suite **at = &suites;
  while (*at && strcmp((*at)->name, suite->name) < 0)
    at = &(*at)->next;
  suite->next = *at;
  *at = suite;
}

static bool is_wanted(const char *suite, const char *name, int argc, char **argv) {
  char full[256];
  (void)snprintf(full, sizeof full, "%s/%s", suite, name);
  for (int i = 1; i < argc; i++)
    if (strstr(full, argv[i])) return true;
  return argc < 2;
}

int main(int argc, char **argv) {
  (void)setvbuf(stdout, NULL, _IOLBF, 0);
  if (CU_initialize_registry() != CUE_SUCCESS) return 2;
  unsigned wanted = 0;
  for (struct test_suite *s = suites; s; s = s->next) {
    CU_pSuite suite = NULL;
    for (size_t i = 0; i < s->count; i++) {
      if (!is_wanted(s->name, s->cases[i].name, argc, argv)) continue;
      if (!suite) suite = CU_add_suite(s->name, NULL, NULL);
      if (!suite || !CU_add_test(suite, s->cases[i].name, s->cases[i].run)) return 2;
      wanted++;
    }
  }
  if (wanted == 0) {
    (void)fprintf(stderr, "no test has such a name\n");
    return 2;
  }
  CU_basic_set_mode(CU_BRM_VERBOSE);
  CU_ErrorCode ran = CU_basic_run_tests();
  unsigned failed = CU_get_number_of_failures();
  CU_cleanup_registry();
  return ran == CUE_SUCCESS && failed == 0 ? 0 : 1;
}
