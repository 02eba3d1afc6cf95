/* common/clock.c */
#include "common/clock.h"

#include <string.h>

#include "tests/lib/suite.h"

static void check(int64_t wall_us, const char *expected) {
  char text[RFC3339_SIZE];
  clock_format_rfc3339(wall_us, text);
  CU_ASSERT_STRING_EQUAL(text, expected);
}

static void format_writes_utc_with_microseconds(void) {
  check(0, "1970-01-01T00:00:00.000000Z");
  check(1, "1970-01-01T00:00:00.000001Z");
  check(INT64_C(1795230245123456), "2026-11-21T03:04:05.123456Z");
  check(INT64_C(951782400000000), "2000-02-29T00:00:00.000000Z");
}

static void format_before_1970_counts_down(void) {
  check(-1, "1969-12-31T23:59:59.999999Z");
  check(-1000000, "1969-12-31T23:59:59.000000Z");
}

static void format_beyond_four_digits_stays_in_shape(void) {
  char text[RFC3339_SIZE];
  clock_format_rfc3339(INT64_MAX, text);
  CU_ASSERT_EQUAL(strlen(text), RFC3339_SIZE - 1);
  CU_ASSERT_EQUAL(strncmp(text, "9999-12-31T23:59:59.", 20), 0);
  clock_format_rfc3339(INT64_MIN, text);
  CU_ASSERT_EQUAL(strncmp(text, "0001-01-01T00:00:00.", 20), 0);
}

static void monotonic_never_falls(void) {
  uint64_t last = clock_monotonic_us();
  for (int i = 0; i < 10000; i++) {
    uint64_t now = clock_monotonic_us();
    CU_ASSERT_FATAL(now >= last);
    last = now;
  }
}

SUITE(clock, CASE(format_writes_utc_with_microseconds), CASE(format_before_1970_counts_down),
      CASE(format_beyond_four_digits_stays_in_shape), CASE(monotonic_never_falls))
