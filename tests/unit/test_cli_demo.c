/* The parts of the demonstration that need no database: its plan, and what --keep writes down. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/demo_kept.h"
#include "cli/demo_plan.h"
#include "cli/process.h"
#include "cli/transfer_plan.h"
#include "tests/lib/suite.h"

/* ---- plan -------------------------------------------------------------------------------------
 */

static void plan_of_the_same_seed_is_the_same(void) {
  for (unsigned i = 0; i < 100; i++) {
    struct transfer_plan a = transfer_plan_simple(7, i), b = transfer_plan_simple(7, i);
    CU_ASSERT_TRUE(a.from_bank == b.from_bank && a.from_id == b.from_id && a.to_id == b.to_id &&
                   a.amount == b.amount && a.credit_first == b.credit_first);
  }
}

static void plan_of_another_seed_is_another(void) {
  unsigned same = 0;
  for (unsigned i = 0; i < 100; i++)
    same += transfer_plan_simple(7, i).from_id == transfer_plan_simple(8, i).from_id;
  CU_ASSERT_TRUE(same < 20);
}

static void planned_transfers_are_possible_but_for_the_too_large(void) {
  unsigned too_large = 0, to_b = 0;
  for (unsigned i = 0; i < 3000; i++) {
    struct transfer_plan t = transfer_plan_simple(42, i);
    CU_ASSERT_TRUE(t.from_id >= 1 && t.from_id <= TRANSFER_ACCOUNTS);
    CU_ASSERT_TRUE(t.to_id >= 1 && t.to_id <= TRANSFER_ACCOUNTS);
    CU_ASSERT_TRUE(t.amount > 0);
    too_large += t.amount == TRANSFER_TOO_MUCH;
    to_b += t.from_bank == 0;
  }
  CU_ASSERT_TRUE(too_large > 30 && too_large < 300);
  CU_ASSERT_TRUE(to_b > 1000 && to_b < 2000);
}

static void planned_kills_come_in_order_within_the_run(void) {
  struct demo_kill kills[DEMO_KILLS_MAX];
  size_t count = demo_plan_kills(1, 5, true, 3000, kills);
  unsigned of_coordinator = 0;
  CU_ASSERT_EQUAL_FATAL(count, 10);
  for (size_t i = 0; i < count; i++) {
    CU_ASSERT_TRUE(kills[i].after < 3000);
    CU_ASSERT_TRUE(i == 0 || kills[i - 1].after <= kills[i].after);
    of_coordinator += kills[i].target == STAGE_COORDINATOR;
  }
  CU_ASSERT_EQUAL(of_coordinator, 5);
}

static void planned_kills_without_agents_are_the_coordinators(void) {
  struct demo_kill kills[DEMO_KILLS_MAX];
  CU_ASSERT_EQUAL(demo_plan_kills(1, 0, false, 3000, kills), 0);
  size_t count = demo_plan_kills(1, 3, false, 1, kills); /* hardly room for them */
  CU_ASSERT_EQUAL(count, 3);
  for (size_t i = 0; i < count; i++)
    CU_ASSERT_TRUE(kills[i].target == STAGE_COORDINATOR && kills[i].after == 0);
}

static void label_gives_its_index_back(void) {
  const struct transfer_source source = {"demo", 9223372036854775807u, transfer_plan_simple},
                               other = {"demo", 5, transfer_plan_simple};
  char label[TRANSFER_LABEL_SIZE];
  transfer_label(&source, 999999, label);
  CU_ASSERT_EQUAL(transfer_label_index(&source, label), 999999);
  CU_ASSERT_EQUAL(transfer_label_index(&other, label), -1);
  CU_ASSERT_EQUAL(transfer_label_index(&other, "demo-5-1"), -1);
  CU_ASSERT_EQUAL(transfer_label_index(&other, "demo-5-0000001x"), -1);
  CU_ASSERT_EQUAL(transfer_label_index(&other, "torture-5-0000001"), -1);
  CU_ASSERT_EQUAL(transfer_label_index(&other, "nothing"), -1);
}

/* ---- kept -------------------------------------------------------------------------------------
 */

static void make_directory(char path[64]) {
  (void)snprintf(path, 64, "/tmp/assent-kept-XXXXXX");
  CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(path));
}

static struct process *start_sleeper(void) {
  static const char *const argv[] = {"/bin/sleep", "1000", NULL};
  const struct process_options options = {.argv = argv};
  struct process *process = NULL;
  struct error err = {0};
  CU_ASSERT_EQUAL_FATAL(process_start(&process, &options, &err), ERR_OK);
  return process;
}

static void stop_ends_the_processes_and_removes_the_directory(void) {
  char directory[64];
  struct error err = {0};
  make_directory(directory);
  struct process *process = start_sleeper();
  const struct kept_process kept = {"sleeper", process_pid(process), SIGTERM};
  CU_ASSERT_EQUAL_FATAL(kept_write(directory, &kept, 1, &err), ERR_OK);
  CU_ASSERT_EQUAL(kept_stop(directory, &err), ERR_OK);
  CU_ASSERT_FALSE(process_is_alive(process));
  CU_ASSERT_NOT_EQUAL(access(directory, F_OK), 0);
  process_free(process);
}

static void stop_leaves_another_process_of_the_same_pid_alone(void) {
  char directory[64], path[128];
  struct error err = {0};
  make_directory(directory);
  struct process *process = start_sleeper();
  (void)snprintf(path, sizeof path, "%s/demo.state", directory);
  FILE *file = fopen(path, "we");
  CU_ASSERT_PTR_NOT_NULL_FATAL(file);
  (void)fprintf(file, "assent demo 1\nsleeper %d 1 %d\n", (int)process_pid(process), SIGKILL);
  (void)fclose(file);
  CU_ASSERT_EQUAL(kept_stop(directory, &err), ERR_OK);
  CU_ASSERT_TRUE(process_is_alive(process));
  process_free(process);
}

static void stop_of_a_directory_without_a_list_removes_nothing(void) {
  char directory[64];
  struct error err = {0};
  make_directory(directory);
  CU_ASSERT_EQUAL(kept_stop(directory, &err), ERR_IO);
  CU_ASSERT_EQUAL(access(directory, F_OK), 0);
  kept_remove(directory);
  CU_ASSERT_NOT_EQUAL(access(directory, F_OK), 0);
}

SUITE(cli_demo, CASE(plan_of_the_same_seed_is_the_same), CASE(plan_of_another_seed_is_another),
      CASE(planned_transfers_are_possible_but_for_the_too_large),
      CASE(planned_kills_come_in_order_within_the_run),
      CASE(planned_kills_without_agents_are_the_coordinators), CASE(label_gives_its_index_back),
      CASE(stop_ends_the_processes_and_removes_the_directory),
      CASE(stop_leaves_another_process_of_the_same_pid_alone),
      CASE(stop_of_a_directory_without_a_list_removes_nothing))
