/* Databases, agents and the coordinator that go away and come back, and what recovery leaves alone.
 * The named crash points are in test_crash.c. */
#include "tests/lib/world.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

/* ---- a database goes away -------------------------------------------------------------------- */

static bool is_up(struct world *w, const char *participant) {
  const struct reply *reply = api_get(w->api, "/v1/participants/%s", participant);
  return strcmp(reply_string(reply, "/state"), "up") == 0;
}

static void database_down_aborts_and_serves_again_when_back(enum world_mode mode) {
  struct world *w = world_open(mode, &(struct world_options){.settings = LOOKS_OFTEN});
  world_server_kill(w, BANK_B);
  const struct reply *reply = api_run(w->api, ONE_CALL("'timeout_ms':5000,", TRANSFER(10)));
  CHECK_PROBLEM(reply, 409, "aborted");
  CHECK_STRING(reply, "/transaction/cause/kind", "unreachable");
  CHECK_INTEGER(reply, "/transaction/cause/branch", 2);
  world_server_start(w, BANK_B);
  UNTIL(is_up(w, "bank_b"));
  CHECK_MOVED(w, 0);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(10))), 200);
  CHECK_MOVED(w, 10);
  world_close(w);
}
IN_BOTH_MODES(database_down_aborts_and_serves_again_when_back)

static void coordinator_starts_while_a_database_is_down(enum world_mode mode) {
  struct world *w = world_open(mode, &(struct world_options){.settings = LOOKS_OFTEN});
  world_kill(w, COORDINATOR);
  world_server_kill(w, BANK_B);
  world_start(w, COORDINATOR, NULL);
  world_wait_ready(w);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", BRANCH("bank_a", CREDIT(1)))), 200);
  const struct reply *reply = api_run(w->api, ONE_CALL("", TRANSFER(10)));
  CHECK_PROBLEM(reply, 409, "aborted");
  CHECK_STRING(reply, "/transaction/cause/kind", "unreachable");
  world_server_start(w, BANK_B);
  UNTIL(is_up(w, "bank_b"));
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(10))), 200);
  CU_ASSERT_EQUAL(world_balance(w, BANK_A, 1), ACCOUNT_BALANCE - 9);
  CU_ASSERT_EQUAL(world_balance(w, BANK_B, 1), ACCOUNT_BALANCE + 10);
  world_close(w);
}
IN_BOTH_MODES(coordinator_starts_while_a_database_is_down)

/* bank_b's PREPARE is under way, waiting at its gate. */
static struct async *start_waiting_in_prepare(struct world *w) {
  struct async *call = async_post(
      w->api, "/v1/transactions",
      ONE_CALL("'timeout_ms':2000,'label':'waiting',",
               BRANCH("bank_a", DEBIT(10)) "," BRANCH("bank_b", CREDIT(10) "," AT_GATE)));
  UNTIL(gate_waiting(w, BANK_B) == 1 && world_prepared(w, BANK_A) == 1);
  return call;
}

static void database_killed_during_prepare_aborts(enum world_mode mode) {
  struct world *w = world_open(mode, &(struct world_options){.settings = LOOKS_OFTEN});
  PGconn *gate = gate_close(w, BANK_B);
  struct async *call = start_waiting_in_prepare(w);
  throwaway_server_pause(w->servers[BANK_B]);
  world_server_kill(w, BANK_B);
  gate_open(gate);
  const struct reply *reply = async_finish(call);
  CHECK_PROBLEM(reply, 409, "aborted"); /* unreachable, or its look-up took all the time */
  world_server_start(w, BANK_B);
  world_wait_nothing_prepared(w);
  UNTIL(strcmp(reply_string(api_read(w->api, reply_string(reply, "/transaction/id")), "/state"),
               "aborted") == 0);
  CHECK_MOVED(w, 0);
  world_close(w);
}
IN_BOTH_MODES(database_killed_during_prepare_aborts)

/* The database hangs over the transaction's end, and finishes its PREPARE after the abort. */
static void database_that_prepares_after_the_abort_is_rolled_back(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  PGconn *gate = gate_close(w, BANK_B);
  struct async *call = start_waiting_in_prepare(w);
  throwaway_server_pause(w->servers[BANK_B]);
  const struct reply *reply = async_finish(call);
  CHECK_PROBLEM(reply, 409, "aborted");
  CHECK_STRING(reply, "/transaction/cause/kind", "timeout");
  gate_open(gate);
  throwaway_server_resume(w->servers[BANK_B]);
  UNTIL(gate_waiting(w, BANK_B) == 0);
  UNTIL(strcmp(reply_string(api_read(w->api, reply_string(reply, "/transaction/id")), "/state"),
               "aborted") == 0);
  world_wait_nothing_prepared(w);
  CHECK_MOVED(w, 0);
  world_close(w);
}
IN_BOTH_MODES(database_that_prepares_after_the_abort_is_rolled_back)

/* ---- somebody interferes --------------------------------------------------------------------- */

/* What a person would type to end the prepared branch in bank_b. */
static void end_by_hand(struct world *w, const char *command, const char *label) {
  const json_t *branches = json_object_get(api_find(w->api, label), "branches");
  const json_t *gid = json_object_get(json_array_get(branches, 1), "gid");
  world_sql(w, BANK_B, "%s PREPARED '%s'", command, json_string_value(gid));
}

/* Nobody may take it for success. */
static void check_mixed(const struct reply *reply) {
  CHECK_PROBLEM(reply, 409, "mixed");
  CHECK_STRING(reply, "/transaction/outcome", "mixed");
}

static void branch_rolled_back_by_hand_is_told_as_mixed(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  PGconn *gate = gate_close(w, BANK_A);
  struct async *call = async_post(
      w->api, "/v1/transactions",
      ONE_CALL("'label':'mixed',",
               BRANCH("bank_a", DEBIT(10) "," AT_GATE) "," BRANCH("bank_b", CREDIT(10))));
  gate_wait_half_voted(w);
  end_by_hand(w, "ROLLBACK", "mixed");
  gate_open(gate);
  check_mixed(async_finish(call));
  const char *id = json_string_value(json_object_get(api_find(w->api, "mixed"), "id"));
  world_restart(w, COORDINATOR);
  const struct reply *again = api_get(w->api, "/v1/transactions/%s?wait=applied", id);
  CHECK_STRING(again, "/outcome", "mixed");
  CHECK_STRING(again, "/branches/0/state", "committed");
  CHECK_STRING(again, "/branches/1/state", "aborted");
  /* It is what an operator looks for: it must not fall out of the lists by state. */
  const struct reply *listed = api_get(w->api, "/v1/transactions?state=committed&label=mixed");
  CHECK_STRING(listed, "/transactions/0/outcome", "mixed");
  listed = api_get(w->api, "/v1/transactions?state=committed");
  CHECK_STRING(listed, "/transactions/0/outcome", "mixed");
  listed = api_get(w->api, "/v1/transactions?state=aborted");
  CHECK_JSON(listed, "/transactions", "[]");
  world_close(w);
}
IN_BOTH_MODES(branch_rolled_back_by_hand_is_told_as_mixed)

static void branch_committed_by_hand_before_an_abort_is_told_as_mixed(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  PGconn *gate = gate_close(w, BANK_A);
  struct async *call = async_post(
      w->api, "/v1/transactions",
      ONE_CALL("'label':'mixed',",
               BRANCH("bank_a", DEBIT(10) "," AT_GATE) "," BRANCH("bank_b", CREDIT(10))));
  gate_wait_half_voted(w);
  end_by_hand(w, "COMMIT", "mixed");
  const char *id = json_string_value(json_object_get(api_find(w->api, "mixed"), "id"));
  check_mixed(api_rollback(w->api, id));
  check_mixed(async_finish(call));
  gate_open(gate);
  UNTIL(strcmp(api_outcome(w->api, "mixed"), "mixed") == 0);
  CU_ASSERT_EQUAL(world_balance(w, BANK_A, 1), ACCOUNT_BALANCE);
  CU_ASSERT_EQUAL(world_balance(w, BANK_B, 1), ACCOUNT_BALANCE + 10);
  world_close(w);
}
IN_BOTH_MODES(branch_committed_by_hand_before_an_abort_is_told_as_mixed)

/* ---- whose gid ------------------------------------------------------------------------------- */

static const char unknown_txid[] = "01900000-0000-7000-8000-000000000000";

static void prepare_as(struct world *w, const char *gid) {
  PGconn *session = world_connect(w, BANK_B);
  world_run_on(session, "BEGIN");
  world_run_on(session, api_text(w->api, "INSERT INTO ledger VALUES ('%s')", gid));
  world_run_on(session, api_text(w->api, "PREPARE TRANSACTION '%s'", gid));
  PQfinish(session);
}

static bool is_prepared(struct world *w, const char *gid) {
  return world_integer(w, BANK_B, "SELECT count(*) FROM pg_prepared_xacts WHERE gid = '%s'", gid) ==
         1;
}

static const char *cluster_of(struct world *w) {
  const struct reply *reply = api_run(w->api, ONE_CALL("", BRANCH("bank_a", CREDIT(0))));
  return api_text(w->api, "%.12s", reply_string(reply, "/branches/0/gid") + strlen("assent_"));
}

/* Ours without a decision goes, at the start and in a sweep; what is not ours stays. */
static void strays_of_ours_are_rolled_back_and_others_left_alone(enum world_mode mode) {
  struct world *w =
      world_open(mode, &(struct world_options){.settings = "sweep_interval = 100ms\n"});
  const char *cluster = cluster_of(w);
  const char *ours = api_text(w->api, "assent_%s_1_%s_2", cluster, unknown_txid);
  const char *const foreign[] = {
      api_text(w->api, "mine_%s", w->database[BANK_B]),
      api_text(w->api, "assent_%s", w->database[BANK_B]),
      api_text(w->api, "assent_abcdefabcdef_1_%s_2", unknown_txid),
      api_text(w->api, "assent_%s_01_%s_2", cluster, unknown_txid),
      api_text(w->api, "assent_%s_1_%s_2x", cluster, unknown_txid),
      api_text(w->api, "Assent_%s_1_%s_2", cluster, unknown_txid),
  };
  enum { FOREIGN = sizeof foreign / sizeof foreign[0] };
  for (int i = 0; i < FOREIGN; i++)
    prepare_as(w, foreign[i]);
  prepare_as(w, ours);
  UNTIL(!is_prepared(w, ours)); /* of this epoch, unknown: in a sweep */
  world_kill(w, COORDINATOR);
  prepare_as(w, ours);
  world_start(w, COORDINATOR, NULL);
  world_wait_ready(w);
  UNTIL(!is_prepared(w, ours)); /* of an older epoch: at the start */
  CU_ASSERT_EQUAL(world_integer(w, BANK_B, "SELECT count(*) FROM ledger"), 0);
  for (int i = 0; i < FOREIGN; i++) {
    CU_ASSERT(is_prepared(w, foreign[i]));
    world_sql(w, BANK_B, "ROLLBACK PREPARED '%s'", foreign[i]);
  }
  world_close(w);
}
IN_BOTH_MODES(strays_of_ours_are_rolled_back_and_others_left_alone)

/* ---- the coordinator goes away --------------------------------------------------------------- */

static void open_transaction_is_gone_after_a_restart(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  const char *id = reply_string(api_run(w->api, "{'branches':[" TRANSFER(10) "]}"), "/id");
  world_restart(w, COORDINATOR);
  const struct reply *reply = api_commit(w->api, id);
  CU_ASSERT(reply->status == 404 || reply->status == 409);
  UNTIL(world_integer(w, BANK_A,
                      "SELECT count(*) FROM pg_locks l JOIN pg_class c ON "
                      "l.relation = c.oid WHERE c.relname = 'account'") == 0);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(5))), 200);
  CHECK_MOVED(w, 5);
  world_close(w);
}
IN_BOTH_MODES(open_transaction_is_gone_after_a_restart)

static void outcomes_stay_readable_over_restarts(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  const char *committed =
      reply_string(api_run(w->api, ONE_CALL("'label':'kept',", TRANSFER(10))), "/id");
  const char *single =
      reply_string(api_run(w->api, ONE_CALL("", BRANCH("bank_a", CREDIT(0)))), "/id");
  for (int i = 0; i < 2; i++) {
    world_restart(w, COORDINATOR);
    const struct reply *read = api_read(w->api, committed);
    CHECK_STATUS(read, 200);
    CHECK_STRING(read, "/state", "committed");
    CHECK_STRING(read, "/outcome", "committed");
    CHECK_STRING(read, "/label", "kept");
    CHECK_STRING(read, "/branches/1/participant", "bank_b");
    CHECK_STRING(read, "/branches/1/state", "committed");
    CHECK_STATUS(api_commit(w->api, committed), 200);
    CHECK_PROBLEM(api_rollback(w->api, committed), 409, "committed");
    /* Its end record may not have been written: then its branch is asked again. */
    CHECK_STRING(api_get(w->api, "/v1/transactions/%s?wait=applied", single), "/outcome",
                 "committed");
    CU_ASSERT_STRING_EQUAL(api_outcome(w->api, "kept"), "committed");
  }
  CHECK_MOVED(w, 10);
  world_close(w);
}
IN_BOTH_MODES(outcomes_stay_readable_over_restarts)

static void second_coordinator_on_the_same_log_ends_with_the_reason(void) {
  struct world *w = world_open(WORLD_EMBEDDED, NULL);
  char log[4096];
  int status = world_run_second(w, log, sizeof log);
  CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 1);
  CU_ASSERT_PTR_NOT_NULL(strstr(log, "another"));
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(10))), 200);
  CHECK_MOVED(w, 10);
  world_close(w);
}

static void client_that_leaves_does_not_stop_its_transaction(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  PGconn *gate = gate_close(w, BANK_A);
  api_send_and_leave(w->api, "/v1/transactions",
                     ONE_CALL("'label':'left',", BRANCH("bank_a", DEBIT(10) "," AT_GATE) "," BRANCH(
                                                     "bank_b", CREDIT(10))));
  UNTIL(gate_waiting(w, BANK_A) == 1);
  gate_open(gate);
  UNTIL(strcmp(api_outcome(w->api, "left"), "committed") == 0);
  world_wait_nothing_prepared(w);
  CHECK_MOVED(w, 10);
  world_close(w);
}
IN_BOTH_MODES(client_that_leaves_does_not_stop_its_transaction)

/* Stopped while a decided transaction cannot be delivered: it goes within its stop time, and the
 * next start finishes the work. */
static void stop_with_a_branch_unreachable_is_bounded_and_finished_later(enum world_mode mode) {
  struct world *w = world_open(mode, &(struct world_options){.settings = "stop_timeout = 300ms\n"});
  PGconn *gate = gate_close(w, BANK_A);
  struct async *call = async_post(
      w->api, "/v1/transactions",
      ONE_CALL("'label':'late',",
               BRANCH("bank_a", DEBIT(10) "," AT_GATE) "," BRANCH("bank_b", CREDIT(10))));
  gate_wait_half_voted(w);
  world_server_kill(w, BANK_B);
  gate_open(gate);
  UNTIL(strcmp(api_outcome(w->api, "late"), "committed") == 0);
  process_kill(w->processes[COORDINATOR], SIGTERM);
  int status = world_wait_ended(w, COORDINATOR);
  CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  const struct reply *reply = async_finish(call);
  CU_ASSERT(reply->status == 0 || reply->status == 202 || reply->status == 503);
  world_start(w, COORDINATOR, NULL);
  world_wait_ready(w);
  const json_t *found = api_find(w->api, "late");
  CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(found, "state")), "committing");
  world_server_start(w, BANK_B);
  const char *id = json_string_value(json_object_get(found, "id"));
  CHECK_STRING(api_get(w->api, "/v1/transactions/%s?wait=applied", id), "/state", "committed");
  CHECK_MOVED(w, 10);
  world_close(w);
}
IN_BOTH_MODES(stop_with_a_branch_unreachable_is_bounded_and_finished_later)

/* A coordinator that slept past the deadline does not commit afterwards. */
static void coordinator_that_slept_over_the_deadline_aborts(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  const char *id =
      reply_string(api_run(w->api, "{'timeout_ms':400,'branches':[" TRANSFER(10) "]}"), "/id");
  process_kill(w->processes[COORDINATOR], SIGSTOP);
  process_pause_ms(500); /* the time itself is what is tested */
  process_kill(w->processes[COORDINATOR], SIGCONT);
  CHECK_PROBLEM(api_commit(w->api, id), 409, "aborted");
  CHECK_MOVED(w, 0);
  world_close(w);
}
IN_BOTH_MODES(coordinator_that_slept_over_the_deadline_aborts)

/* ---- an agent goes away ---------------------------------------------------------------------- */

static void agent_restarted_aborts_what_was_open_in_it(void) {
  struct world *w = world_open(WORLD_AGENTS, NULL);
  const char *id = reply_string(api_run(w->api, "{'branches':[" TRANSFER(10) "]}"), "/id");
  world_kill(w, AGENT_B);
  world_start(w, AGENT_B, NULL);
  const struct reply *reply = api_commit(w->api, id);
  CHECK_PROBLEM(reply, 409, "aborted");
  CHECK_INTEGER(reply, "/transaction/cause/branch", 2);
  UNTIL(is_up(w, "bank_b"));
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(5))), 200);
  CHECK_MOVED(w, 5);
  world_close(w);
}

static void agent_down_aborts_and_serves_again_when_back(void) {
  struct world *w = world_open(WORLD_AGENTS, NULL);
  world_kill(w, AGENT_B);
  const struct reply *reply = api_run(w->api, ONE_CALL("", TRANSFER(10)));
  CHECK_PROBLEM(reply, 409, "aborted");
  CHECK_STRING(reply, "/transaction/cause/kind", "unreachable");
  world_start(w, AGENT_B, NULL);
  UNTIL(is_up(w, "bank_b"));
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(10))), 200);
  CHECK_MOVED(w, 10);
  world_close(w);
}

SUITE(recovery, BOTH(database_down_aborts_and_serves_again_when_back),
      BOTH(coordinator_starts_while_a_database_is_down),
      BOTH(database_killed_during_prepare_aborts),
      BOTH(database_that_prepares_after_the_abort_is_rolled_back),
      BOTH(branch_rolled_back_by_hand_is_told_as_mixed),
      BOTH(branch_committed_by_hand_before_an_abort_is_told_as_mixed),
      BOTH(strays_of_ours_are_rolled_back_and_others_left_alone),
      BOTH(open_transaction_is_gone_after_a_restart), BOTH(outcomes_stay_readable_over_restarts),
      CASE(second_coordinator_on_the_same_log_ends_with_the_reason),
      BOTH(client_that_leaves_does_not_stop_its_transaction),
      BOTH(stop_with_a_branch_unreachable_is_bounded_and_finished_later),
      BOTH(coordinator_that_slept_over_the_deadline_aborts),
      CASE(agent_restarted_aborts_what_was_open_in_it),
      CASE(agent_down_aborts_and_serves_again_when_back))
