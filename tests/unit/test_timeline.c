/* coordinator/timeline.c: what is kept, in which order, and what is dropped. */
#include "coordinator/timeline.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "tests/lib/suite.h"

static void add(struct timeline *timeline, unsigned number, const char *error) {
  struct step step = {.at_us = number, .attempt = number, .kind = STEP_OUTCOME, .branch = 1};
  struct cause cause = {.kind = error ? CAUSE_UNREACHABLE : CAUSE_NONE, .statement = -1};
  (void)snprintf(cause.text, sizeof cause.text, "%s", error ? error : "");
  timeline_add(timeline, &step, &cause);
}

static void steps_come_out_as_they_went_in(void) {
  struct timeline timeline = {0};
  for (unsigned i = 0; i < TIMELINE_STEPS_MAX; i++)
    add(&timeline, i, NULL);
  CU_ASSERT_EQUAL_FATAL(timeline.count, TIMELINE_STEPS_MAX);
  for (unsigned i = 0; i < timeline.count; i++)
    CU_ASSERT_EQUAL(timeline_step(&timeline, i)->attempt, i);
  CU_ASSERT_EQUAL(timeline.dropped, 0);
  CU_ASSERT_PTR_NULL(timeline_error(&timeline, timeline_step(&timeline, 0)));
  timeline_release(&timeline);
}

static void steps_beyond_the_limit_drop_the_oldest_of_the_middle(void) {
  enum { MORE = 1000 };
  struct timeline timeline = {0};
  for (unsigned i = 0; i < TIMELINE_STEPS_MAX + MORE; i++)
    add(&timeline, i, NULL);
  CU_ASSERT_EQUAL_FATAL(timeline.count, TIMELINE_STEPS_MAX);
  CU_ASSERT_EQUAL(timeline.dropped, MORE);
  for (unsigned i = 0; i < TIMELINE_HEAD; i++)
    CU_ASSERT_EQUAL(timeline_step(&timeline, i)->attempt, i);
  for (unsigned i = TIMELINE_HEAD; i < TIMELINE_STEPS_MAX; i++)
    CU_ASSERT_EQUAL(timeline_step(&timeline, i)->attempt, i + MORE);
  timeline_release(&timeline);
}

static void errors_that_are_alike_are_kept_once(void) {
  struct timeline timeline = {0};
  for (unsigned i = 0; i < 10 * TIMELINE_STEPS_MAX; i++)
    add(&timeline, i, i % 2 ? "no route" : "refused");
  for (unsigned i = 0; i < timeline.count; i++) {
    const struct step *step = timeline_step(&timeline, i);
    const struct cause *error = timeline_error(&timeline, step);
    CU_ASSERT_PTR_NOT_NULL_FATAL(error);
    CU_ASSERT_STRING_EQUAL(error->text, step->attempt % 2 ? "no route" : "refused");
  }
  CU_ASSERT_PTR_NULL(timeline.errors[2]);
  timeline_release(&timeline);
}

/* More different ones than there is room for: a step has its own error, or none. */
static void errors_of_dropped_steps_make_room(void) {
  struct timeline timeline = {0};
  for (unsigned i = 0; i < 5 * TIMELINE_STEPS_MAX; i++) {
    char text[40];
    (void)snprintf(text, sizeof text, "error %u", i / 16);
    add(&timeline, i, text);
  }
  unsigned with_error = 0;
  for (unsigned i = 0; i < timeline.count; i++) {
    const struct step *step = timeline_step(&timeline, i);
    const struct cause *error = timeline_error(&timeline, step);
    char text[40];
    (void)snprintf(text, sizeof text, "error %u", step->attempt / 16);
    if (error) CU_ASSERT_STRING_EQUAL(error->text, text);
    with_error += error != NULL;
  }
  CU_ASSERT_EQUAL(with_error, TIMELINE_STEPS_MAX);
  timeline_release(&timeline);
}

static void closed_one_has_all_its_steps_and_no_room_to_spare(void) {
  for (unsigned count = 0; count <= TIMELINE_STEPS_MAX + 20; count += 20) {
    struct timeline timeline = {0};
    for (unsigned i = 0; i < count; i++)
      add(&timeline, i, i % 2 ? "refused" : NULL);
    timeline_close(&timeline);
    CU_ASSERT_EQUAL_FATAL(timeline.count, count < TIMELINE_STEPS_MAX ? count : TIMELINE_STEPS_MAX);
    CU_ASSERT_EQUAL(timeline.capacity, timeline.count);
    for (unsigned i = 0; i < timeline.count; i++) {
      const struct step *step = timeline_step(&timeline, i);
      bool in_order =
          i < TIMELINE_HEAD ? step->attempt == i : count - step->attempt == timeline.count - i;
      CU_ASSERT_TRUE(in_order);
      CU_ASSERT_EQUAL(timeline_error(&timeline, step) != NULL, step->attempt % 2 == 1);
    }
    timeline_release(&timeline);
  }
}

static void each_kind_has_a_name_of_its_own(void) {
  for (int a = STEP_BEGUN; a <= STEP_ENDED; a++)
    for (int b = STEP_BEGUN; b < a; b++)
      CU_ASSERT_STRING_NOT_EQUAL(step_kind_name((enum step_kind)a),
                                 step_kind_name((enum step_kind)b));
}

SUITE(timeline, CASE(steps_come_out_as_they_went_in),
      CASE(steps_beyond_the_limit_drop_the_oldest_of_the_middle),
      CASE(errors_that_are_alike_are_kept_once), CASE(errors_of_dropped_steps_make_room),
      CASE(closed_one_has_all_its_steps_and_no_room_to_spare),
      CASE(each_kind_has_a_name_of_its_own))
