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
  unsigned long nth = wanted[length] == ':' ? strtoul(wanted + length + 1, NULL, 10) : 1;
  if (atomic_fetch_add(&passages, 1) + 1 == nth) (void)raise(SIGKILL);
}

#else
typedef int crash_points_are_for_test_builds; /* ISO C wants something in a file */
#endif
