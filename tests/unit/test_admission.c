/* The limit of branches that run at once, against databases of which it is known what is best. */
#include "participant-agent/admission.h"

#include <stdint.h>

#include "tests/lib/suite.h"

/* A database: how long a branch takes with so many at once. */
typedef double (*model_fn)(unsigned at_once);

/* Two cores: a branch needs 1 ms of one, waits 3 ms for the disk, and each further branch costs all of
 * them a little. Best with 8. */
static double two_cores(unsigned at_once) {
  double busy = at_once > 8 ? at_once : 8;
  return (at_once <= 8 ? 4000 : 4000 * busy / 8) * (1 + 0.02 * (at_once > 8 ? at_once - 8 : 0));
}
/* A far and large one: the more the better. */
static double far_away(unsigned at_once) {
  (void)at_once;
  return 20000;
}
/* One row that all want: no more than one at a time, and each that waits costs something. */
static double hot_row(unsigned at_once) {
  return at_once * 1000.0 * (1 + 0.03 * at_once);
}

/* Runs it with a queue that never ends, for `seconds`; `noise` in percent, the same in each run. */
static void run(struct admission *a, uint64_t *now_us, model_fn model, unsigned noise,
                unsigned seconds) {
  uint64_t until = *now_us + seconds * UINT64_C(1000000);
  uint32_t random = 1;
  while (*now_us < until) {
    random = random * 1664525 + 1013904223;
    double between = model(a->limit) / a->limit;
    *now_us += (uint64_t)(between * (100 - noise + (random >> 16) % (2 * noise + 1)) / 100) + 1;
    admission_ended(a, *now_us, true);
  }
}

static void limit_settles_where_the_database_is_fastest(void) {
  struct admission a;
  uint64_t now_us = 1;
  admission_init(&a, 64);
  run(&a, &now_us, two_cores, 50, 60);
  CU_ASSERT_TRUE(a.base >= 6 && a.base <= 11);
}

static void limit_comes_down_from_too_many(void) {
  struct admission a;
  uint64_t now_us = 1;
  admission_init(&a, 64);
  a.base = a.limit = 64;
  run(&a, &now_us, two_cores, 50, 60);
  CU_ASSERT_TRUE(a.base >= 6 && a.base <= 11);
}

static void limit_grows_to_the_ceiling_where_more_is_better(void) {
  struct admission a;
  uint64_t now_us = 1;
  admission_init(&a, 64);
  run(&a, &now_us, far_away, 50, 120);
  CU_ASSERT_TRUE(a.base > 48);
}

static void limit_shrinks_to_the_floor_where_more_is_worse(void) {
  struct admission a;
  uint64_t now_us = 1;
  admission_init(&a, 64);
  run(&a, &now_us, hot_row, 10, 120);
  CU_ASSERT_EQUAL(a.base, ADMISSION_FLOOR);
}

static void limit_follows_when_the_database_changes(void) {
  struct admission a;
  uint64_t now_us = 1;
  admission_init(&a, 64);
  run(&a, &now_us, far_away, 50, 120);
  run(&a, &now_us, two_cores, 50, 60);
  CU_ASSERT_TRUE(a.base >= 6 && a.base <= 11);
  run(&a, &now_us, far_away, 50, 120);
  CU_ASSERT_TRUE(a.base > 48);
}

static void nothing_is_tried_where_nobody_waits(void) {
  struct admission a;
  admission_init(&a, 16);
  for (uint64_t now_us = 1; now_us < 60000000; now_us += 500) {
    admission_ended(&a, now_us, false);
    CU_ASSERT_EQUAL_FATAL(a.limit, ADMISSION_START);
  }
}

/* Those that end while nobody waits make a window worthless, not slow. */
static void pauses_are_not_taken_for_slowness(void) {
  struct admission a;
  admission_init(&a, 16);
  uint64_t now_us = 1;
  for (int i = 0; i < 100000; i++) {
    now_us += i % 100 == 99 ? 60000000 : 500;
    admission_ended(&a, now_us, true);
    CU_ASSERT_EQUAL_FATAL(a.base, ADMISSION_START);
  }
}

static void limit_stays_between_floor_and_ceiling(void) {
  for (unsigned ceiling = 1; ceiling <= 9; ceiling++) {
    struct admission a;
    uint64_t now_us = 1;
    admission_init(&a, ceiling);
    for (int i = 0; i < 50000; i++) {
      now_us += 500 + (uint64_t)i * 7919 % 1000;
      admission_ended(&a, now_us, i % 13 != 0);
      if (i % 9973 == 0) admission_stalled(&a);
      CU_ASSERT_TRUE_FATAL(a.limit >= 1 && a.limit <= ceiling);
      CU_ASSERT_TRUE_FATAL(ceiling < ADMISSION_FLOOR || a.limit >= ADMISSION_FLOOR);
    }
  }
}

static void stall_doubles_the_limit_up_to_the_ceiling(void) {
  struct admission a;
  admission_init(&a, 2 * ADMISSION_START + 4);
  admission_stalled(&a);
  CU_ASSERT_EQUAL(a.limit, 2 * ADMISSION_START);
  admission_stalled(&a);
  CU_ASSERT_EQUAL(a.limit, 2 * ADMISSION_START + 4);
}

static void same_ends_give_the_same_limits(void) {
  struct admission a, b;
  uint64_t now_a = 1, now_b = 1;
  admission_init(&a, 64);
  admission_init(&b, 64);
  run(&a, &now_a, two_cores, 50, 30);
  run(&b, &now_b, two_cores, 50, 30);
  CU_ASSERT_EQUAL(now_a, now_b);
  CU_ASSERT_EQUAL(a.base, b.base);
  CU_ASSERT_EQUAL(a.limit, b.limit);
}

SUITE(admission, CASE(limit_settles_where_the_database_is_fastest),
      CASE(limit_comes_down_from_too_many), CASE(limit_grows_to_the_ceiling_where_more_is_better),
      CASE(limit_shrinks_to_the_floor_where_more_is_worse),
      CASE(limit_follows_when_the_database_changes), CASE(nothing_is_tried_where_nobody_waits),
      CASE(pauses_are_not_taken_for_slowness), CASE(limit_stays_between_floor_and_ceiling),
      CASE(stall_doubles_the_limit_up_to_the_ceiling), CASE(same_ends_give_the_same_limits))
