/* See crash_point.h. Any thread may pass a crash point. */
#include "common/crash_point.h"

#ifdef ASSENT_CRASH_POINTS

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

void crash_point(const char *name) {
  static atomic_ulong passages;
  const char *wanted = getenv("ASSENT_CRASH");
  if (!wanted) return;
  size_t length = strcspn(wanted, ":");
  if (strlen(name) != length || strncmp(name, wanted, length) != 0) return;
  const char *form = wanted + length;
  unsigned long nth = 1;
  if (form[0] == ':' && form[1] >= '1' && form[1] <= '9') {
    char *end;
    nth = strtoul(form + 1, &end, 10);
    form = end;
  }
  if (atomic_fetch_add(&passages, 1) + 1 != nth) return;
  (void)raise(strcmp(form, ":stop") == 0 ? SIGSTOP : SIGKILL);
}

#else
typedef int crash_points_are_for_test_builds; /* ISO C wants something in a file */
#endif
