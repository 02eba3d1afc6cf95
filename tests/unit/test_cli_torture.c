/* The parts of a torture that need no database: its plan, which kinds it takes, what it says of
 * times. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/samples.h"
#include "cli/torture_config.h"
#include "cli/torture_plan.h"
#include "cli/transfer_plan.h"
#include "tests/lib/suite.h"

static const struct fault_choice choices[] = {{"kill-agent", 3, 0, 300},
                                              {"kill-database", 1, 10, 10},
                                              {"pause-agent", 0, 0, 10}};
enum { CHOICES = sizeof choices / sizeof choices[0] };

/* ---- plan -------------------------------------------------------------------------------------- */

static void round_of_the_same_seed_is_the_same(void) {
  struct round_plan a, b;
  for (unsigned round = 0; round < 50; round++) {
    torture_plan_round(7, round, choices, CHOICES, &a);
    torture_plan_round(7, round, choices, CHOICES, &b);
    CU_ASSERT_EQUAL(a.length_ms, b.length_ms);
    CU_ASSERT_EQUAL_FATAL(a.count, b.count);
    for (unsigned i = 0; i < a.count; i++)
      CU_ASSERT_TRUE(a.events[i].kind == b.events[i].kind &&
                     a.events[i].at_ms == b.events[i].at_ms &&
                     a.events[i].for_ms == b.events[i].for_ms &&
                     a.events[i].bank == b.events[i].bank && a.events[i].draw == b.events[i].draw);
  }
}

/* So that a seed means the same with every compiler and on every machine. */
static void round_of_a_seed_is_this_one(void) {
  struct round_plan plan;
  torture_plan_round(7, 3, choices, CHOICES, &plan);
  CU_ASSERT_EQUAL(plan.length_ms, 1098);
  CU_ASSERT_EQUAL_FATAL(plan.count, 10);
  CU_ASSERT_EQUAL(plan.events[0].kind, 0);
  CU_ASSERT_EQUAL(plan.events[0].at_ms, 131);
  CU_ASSERT_EQUAL(plan.events[0].for_ms, 293);
  CU_ASSERT_EQUAL(plan.events[0].bank, 0);
}

static void rounds_of_one_seed_differ(void) {
  struct round_plan a, b;
  unsigned same = 0;
  for (unsigned round = 0; round < 50; round++) {
    torture_plan_round(7, round, choices, CHOICES, &a);
    torture_plan_round(7, round + 1, choices, CHOICES, &b);
    same += a.events[0].draw == b.events[0].draw;
  }
  CU_ASSERT_EQUAL(same, 0);
}

static void events_come_in_order_within_the_round_and_their_bounds(void) {
  struct round_plan plan;
  unsigned kinds[CHOICES] = {0};
  for (unsigned round = 0; round < 500; round++) {
    torture_plan_round(42, round, choices, CHOICES, &plan);
    CU_ASSERT_TRUE(plan.count >= 1 && plan.count <= ROUND_EVENTS_MAX);
    for (unsigned i = 0; i < plan.count; i++) {
      const struct fault_event *event = &plan.events[i];
      CU_ASSERT_TRUE(i == 0 || plan.events[i - 1].at_ms <= event->at_ms);
      CU_ASSERT_TRUE(event->at_ms < plan.length_ms);
      CU_ASSERT_TRUE(event->for_ms >= choices[event->kind].for_ms_min &&
                     event->for_ms <= choices[event->kind].for_ms_max);
      CU_ASSERT_TRUE(event->bank == 0 || event->bank == 1);
      kinds[event->kind]++;
    }
  }
  CU_ASSERT_EQUAL(kinds[2], 0); /* without a weight */
  CU_ASSERT_TRUE(kinds[0] > 2 * kinds[1] && kinds[0] < 4 * kinds[1]);
}

static void round_without_any_weight_is_quiet(void) {
  const struct fault_choice none[] = {{"kill-agent", 0, 0, 0}};
  struct round_plan plan;
  torture_plan_round(1, 1, none, 1, &plan);
  CU_ASSERT_EQUAL(plan.count, 0);
  CU_ASSERT_TRUE(plan.length_ms > 0);
}

/* ---- kinds ------------------------------------------------------------------------------------- */

static bool choose(const char *list, unsigned weights[CHOICES], char wrong[16]) {
  struct fault_choice chosen[CHOICES];
  memcpy(chosen, choices, sizeof chosen);
  bool is_good = torture_choose(list, chosen, CHOICES, wrong, 16);
  for (unsigned i = 0; i < CHOICES; i++)
    weights[i] = chosen[i].weight;
  return is_good;
}

static void chosen_kinds_keep_their_weight(void) {
  unsigned weights[CHOICES];
  char wrong[16];
  CU_ASSERT_TRUE(choose("kill-database", weights, wrong));
  CU_ASSERT_TRUE(weights[0] == 0 && weights[1] == 1 && weights[2] == 0);
  CU_ASSERT_TRUE(choose("kill-database,kill-agent", weights, wrong));
  CU_ASSERT_TRUE(weights[0] == 3 && weights[1] == 1 && weights[2] == 0);
}

static void first_word_names_all_of_its_kind(void) {
  unsigned weights[CHOICES];
  char wrong[16];
  CU_ASSERT_TRUE(choose("kill", weights, wrong));
  CU_ASSERT_TRUE(weights[0] == 3 && weights[1] == 1 && weights[2] == 0);
}

static void unknown_kind_is_named(void) {
  static const char *const wrongs[] = {"kill-a", "kil", "", "kill-database-x", "kill,nothing"};
  static const char *const named[] = {"kill-a", "kil", "", "kill-database-x", "nothing"};
  unsigned weights[CHOICES];
  char wrong[16];
  for (size_t i = 0; i < sizeof wrongs / sizeof wrongs[0]; i++) {
    CU_ASSERT_FALSE(choose(wrongs[i], weights, wrong));
    CU_ASSERT_STRING_EQUAL(wrong, named[i]);
  }
}

/* ---- transfers --------------------------------------------------------------------------------- */

static void mixed_transfers_have_all_shapes_and_rows_that_cancel_out(void) {
  unsigned shapes[3] = {0};
  for (unsigned i = 0; i < 2000; i++) {
    struct transfer_plan plan = transfer_plan_mixed(9, i);
    int64_t paid = 0, got = 0;
    bool pays = transfer_plan_row(&plan, plan.from_bank, &paid);
    bool gets = transfer_plan_row(&plan, 1 - plan.from_bank, &got);
    shapes[plan.shape]++;
    CU_ASSERT_TRUE(pays);
    CU_ASSERT_EQUAL(gets, plan.shape == TRANSFER_BOTH);
    CU_ASSERT_EQUAL(paid + (gets ? got : 0), 0);
    CU_ASSERT_TRUE(plan.shape == TRANSFER_BOTH || plan.from_id != plan.to_id);
  }
  CU_ASSERT_TRUE(shapes[TRANSFER_ONE] > 100 && shapes[TRANSFER_READ] > 50);
  CU_ASSERT_TRUE(shapes[TRANSFER_BOTH] > 1000);
}

/* ---- samples ----------------------------------------------------------------------------------- */

static void percentiles_are_of_the_nearest_rank(void) {
  struct samples samples = {0};
  for (int64_t value = 200; value > 0; value--)
    samples_add(&samples, value);
  CU_ASSERT_EQUAL(samples_percentile(&samples, 50), 100);
  CU_ASSERT_EQUAL(samples_percentile(&samples, 99), 198);
  CU_ASSERT_EQUAL(samples_percentile(&samples, 100), 200);
  CU_ASSERT_EQUAL(samples_percentile(&samples, 0), 1);
  samples_free(&samples);
}

static void percentiles_of_one_and_of_none(void) {
  struct samples samples = {0};
  CU_ASSERT_EQUAL(samples_percentile(&samples, 99), 0);
  samples_add(&samples, 5);
  CU_ASSERT_EQUAL(samples_percentile(&samples, 1), 5);
  CU_ASSERT_EQUAL(samples_percentile(&samples, 99), 5);
  samples_free(&samples);
}

/* ---- the user's configuration ------------------------------------------------------------------ */

static enum error_code parse(const char *text, struct torture_databases *out) {
  struct error err = {0};
  char *copy = strdup(text);
  CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
  enum error_code code = torture_config_parse(copy, out, &err);
  free(copy);
  return code;
}

static void config_gives_the_first_two_databases_with_their_keys(void) {
  static struct torture_databases out;
  enum error_code code = parse("[coordinator]\nlisten = 127.0.0.1:1\ndsn = not this\n"
                               "; [participant.comment]\n"
                               "[participant.remote]\nagent = http://127.0.0.1:2\n"
                               "  [participant.one]\n dsn = host=x password='a;b = c' \n"
                               "; dsn = old\nconnections = 4\n\n"
                               "[participant.two]\nconnections=5\ndsn=dbname=two\n"
                               "[participant.three]\ndsn = dbname=three\n",
                               &out);
  CU_ASSERT_EQUAL_FATAL(code, ERR_OK);
  CU_ASSERT_STRING_EQUAL(out.stage[0].name, "one");
  CU_ASSERT_STRING_EQUAL(out.stage[0].dsn, "host=x password='a;b = c'");
  CU_ASSERT_STRING_EQUAL(out.stage[0].keys, "dsn = host=x password='a;b = c'\nconnections = 4\n");
  CU_ASSERT_STRING_EQUAL(out.stage[1].name, "two");
  CU_ASSERT_STRING_EQUAL(out.stage[1].dsn, "dbname=two");
  CU_ASSERT_STRING_EQUAL(out.stage[1].keys, "connections=5\ndsn=dbname=two\n");
}

static void config_with_one_database_is_refused(void) {
  static struct torture_databases out;
  CU_ASSERT_EQUAL(parse("[participant.one]\ndsn = a\n[participant.two]\nagent = b\n", &out),
                  ERR_CONFIG);
  CU_ASSERT_EQUAL(parse("", &out), ERR_CONFIG);
}

SUITE(cli_torture, CASE(round_of_the_same_seed_is_the_same), CASE(round_of_a_seed_is_this_one),
      CASE(rounds_of_one_seed_differ), CASE(events_come_in_order_within_the_round_and_their_bounds),
      CASE(round_without_any_weight_is_quiet), CASE(chosen_kinds_keep_their_weight),
      CASE(first_word_names_all_of_its_kind), CASE(unknown_kind_is_named),
      CASE(mixed_transfers_have_all_shapes_and_rows_that_cancel_out),
      CASE(percentiles_are_of_the_nearest_rank), CASE(percentiles_of_one_and_of_none),
      CASE(config_gives_the_first_two_databases_with_their_keys),
      CASE(config_with_one_database_is_refused))
