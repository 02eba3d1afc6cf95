/* Databases with standbys: votes and commits that wait for one, failovers that lose nothing, and those
 * that lose what was voted or bring back what was committed. bank_b is the replicated one; each failover
 * is a real promotion. Where a test needs the decision before the failover and its delivery after it,
 * the primary hangs (SIGSTOP) in between.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/pair.h"

#define SETTINGS "health_interval = 100ms\n"
#define QUICK    "call_timeout = 500ms\n"

static struct world *open_world(enum world_mode mode, struct pair *pair, const char *database) {
  return world_open(mode, &(struct world_options){.server_b = pair->primary,
                                                  .reach_b = pair->reach,
                                                  .settings = SETTINGS,
                                                  .database = database});
}

static void close_world(struct world *w) {
  world_close(w);
  pair_close();
}

/* bank_b is prepared, bank_a waits at its gate. */
static struct async *start_transfer(struct world *w, const char *label) {
  const char *body =
      api_text(w->api,
               ONE_CALL("'timeout_ms':20000,'label':'%s',",
                        BRANCH("bank_a", DEBIT(10) "," AT_GATE) "," BRANCH("bank_b", CREDIT(10))),
               label);
  struct async *call = async_post(w->api, "/v1/transactions", body);
  gate_wait_half_voted(w);
  return call;
}

static const char *member_of(struct world *w, const char *label, const char *name) {
  const char *text = json_string_value(json_object_get(api_find(w->api, label), name));
  return text ? text : "";
}

static const char *branch_member(struct world *w, const char *label, size_t index,
                                 const char *name) {
  const json_t *branches = json_object_get(api_find(w->api, label), "branches");
  const json_t *value = json_object_get(json_array_get(branches, index), name);
  return json_is_object(value)   ? json_string_value(json_object_get(value, "message"))
         : json_is_string(value) ? json_string_value(value)
                                 : "";
}

static bool is_in(struct world *w, const char *label, const char *state) {
  return strcmp(member_of(w, label, "state"), state) == 0;
}

static const char *participant_member(struct world *w, const char *name) {
  return reply_string(api_get(w->api, "/v1/participants/bank_b"), name);
}

/* ---- waiting for the standby ------------------------------------------------------------------ */

static void prepare_that_waits_for_a_replica_is_no_vote_yet(enum world_mode mode) {
  struct pair *pair = pair_open(true);
  struct world *w = open_world(mode, pair, NULL);
  pair_hold(pair);
  struct async *call = async_post(w->api, "/v1/transactions",
                                  ONE_CALL("'timeout_ms':20000,'label':'waits',", TRANSFER(10)));
  UNTIL(pair_waiting(pair) == 1 && world_prepared(w, BANK_B) == 1); /* it is listed */
  UNTIL(world_prepared(w, BANK_A) == 1);
  CU_ASSERT_STRING_EQUAL(member_of(w, "waits", "state"), "preparing");
  CU_ASSERT_STRING_EQUAL(api_outcome(w->api, "waits"), "");
  CU_ASSERT_FALSE(async_is_done(call));
  pair_release(pair);
  CHECK_STATUS(async_finish(call), 200);
  CHECK_MOVED(w, 10);
  close_world(w);
}
IN_BOTH_MODES(prepare_that_waits_for_a_replica_is_no_vote_yet)

/* PREPARE answers with its tag then, and with a warning. */
static void prepare_whose_wait_for_a_replica_is_cancelled_is_no_yes(enum world_mode mode) {
  struct pair *pair = pair_open(true);
  struct world *w = open_world(mode, pair, QUICK);
  pair_hold(pair);
  struct async *call = async_post(w->api, "/v1/transactions",
                                  ONE_CALL("'timeout_ms':20000,'label':'cut',", TRANSFER(10)));
  UNTIL(pair_waiting(pair) == 1 && world_prepared(w, BANK_A) == 1);
  pair_cancel_waiting(pair);
  const struct reply *reply = async_finish(call);
  CHECK_PROBLEM(reply, 409, "aborted");
  CHECK_INTEGER(reply, "/transaction/cause/branch", 2);
  pair_release(pair);
  UNTIL(is_in(w, "cut", "aborted"));
  world_wait_nothing_prepared(w);
  CHECK_MOVED(w, 0);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(10))), 200);
  close_world(w);
}
IN_BOTH_MODES(prepare_whose_wait_for_a_replica_is_cancelled_is_no_yes)

static void commit_is_applied_only_when_the_replica_has_it(enum world_mode mode) {
  struct pair *pair = pair_open(true);
  struct world *w = open_world(mode, pair, QUICK);
  PGconn *gate = gate_close(w, BANK_A);
  struct async *call = start_transfer(w, "late");
  pair_hold(pair);
  gate_open(gate);
  UNTIL(pair_waiting(pair) >= 1 && strcmp(api_outcome(w->api, "late"), "committed") == 0);
  pair_cancel_waiting(pair); /* whoever reads bank_b sees it now: no replica has it */
  UNTIL(strcmp(branch_member(w, "late", 1, "last_error"), "") != 0);
  CU_ASSERT_STRING_EQUAL(member_of(w, "late", "state"), "committing");
  CU_ASSERT_FALSE(async_is_done(call));
  pair_release(pair);
  const struct reply *reply = async_finish(call);
  CHECK_STATUS(reply, 200);
  CHECK_STRING(reply, "/outcome", "committed");
  CHECK_MOVED(w, 10);
  close_world(w);
}
IN_BOTH_MODES(commit_is_applied_only_when_the_replica_has_it)

/* ---- who answers ------------------------------------------------------------------------------ */

static void participant_led_to_a_standby_refuses_it(enum world_mode mode) {
  struct pair *pair = pair_open(false);
  struct world *w = open_world(mode, pair, NULL);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(10))), 200);
  const char *server = participant_member(w, "/server");
  pair_lead_to(pair->standby);
  pair_cut(pair->primary);
  UNTIL(strstr(participant_member(w, "/last_error"), "is a standby"));
  const char *error = participant_member(w, "/last_error");
  CU_ASSERT_PTR_NOT_NULL(strstr(error, api_text(w->api, "until now it was server %s", server)));
  CU_ASSERT_STRING_EQUAL(participant_member(w, "/state"), "down");
  const struct reply *reply = api_run(w->api, ONE_CALL("", TRANSFER(5)));
  CHECK_PROBLEM(reply, 409, "aborted");
  CHECK_STRING(reply, "/transaction/cause/kind", "unreachable");
  pair_lead_to(pair->primary);
  UNTIL(strcmp(participant_member(w, "/state"), "up") == 0);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(10))), 200);
  CHECK_MOVED(w, 20);
  close_world(w);
}
IN_BOTH_MODES(participant_led_to_a_standby_refuses_it)

/* Two primaries: the standby was promoted, and what it followed lives on. */
static void participant_led_back_to_the_former_primary_refuses_it(enum world_mode mode) {
  struct pair *pair = pair_open(false);
  struct world *w = open_world(mode, pair, NULL);
  struct error err = {0};
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(10))), 200);
  CU_ASSERT_EQUAL(throwaway_standby_catch_up(pair->standby, &err), ERR_OK);
  const char *former = participant_member(w, "/server");
  CU_ASSERT_EQUAL(throwaway_promote(pair->standby, &err), ERR_OK);
  pair_lead_to(pair->standby);
  pair_cut(pair->primary);
  UNTIL(strcmp(participant_member(w, "/state"), "up") == 0 &&
        strcmp(participant_member(w, "/server"), former) != 0);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(10))), 200);
  const char *now = participant_member(w, "/server");
  pair_lead_to(pair->primary);
  pair_cut(pair->standby);
  UNTIL(strstr(participant_member(w, "/last_error"), "older timeline"));
  const char *error = participant_member(w, "/last_error");
  CU_ASSERT_PTR_NOT_NULL(strstr(error, former));
  CU_ASSERT_PTR_NOT_NULL(strstr(error, now));
  if (mode == WORLD_AGENTS) { /* an agent that has restarted does not know; the coordinator does */
    world_kill(w, AGENT_B);
    world_start(w, AGENT_B, NULL);
    UNTIL(strstr(participant_member(w, "/last_error"), "Restart the coordinator"));
  }
  CHECK_PROBLEM(api_run(w->api, ONE_CALL("", TRANSFER(5))), 409, "aborted");
  if (mode == WORLD_AGENTS) {
    world_kill(w, AGENT_B);
    pair_take_clients(pair, w);
    world_start(w, AGENT_B, NULL);
  } else {
    pair_take_clients(pair, w);
  }
  UNTIL(strcmp(participant_member(w, "/state"), "up") == 0);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(10))), 200);
  CHECK_MOVED(w, 30);
  close_world(w);
}
IN_BOTH_MODES(participant_led_back_to_the_former_primary_refuses_it)

static void restart_all_that_knows_bank_b(struct world *w) {
  if (w->mode == WORLD_AGENTS) {
    world_kill(w, AGENT_B);
    world_start(w, AGENT_B, NULL);
  }
  world_restart(w, COORDINATOR);
}

/* A decision is under way when the connection string leads elsewhere, as after a mistake in it. */
static void participant_led_to_another_server_refuses_it(enum world_mode mode) {
  struct pair *pair = pair_open(false);
  struct world *w = open_world(mode, pair, QUICK);
  const char *server = participant_member(w, "/server");
  PGconn *gate = gate_close(w, BANK_A);
  struct async *call = start_transfer(w, "lost");
  throwaway_server_kill(pair->primary);
  world_sql(w, BANK_A, "CREATE DATABASE %s", w->database[BANK_B]);
  pair_lead_to(w->servers[BANK_A]);
  gate_open(gate);
  UNTIL(strstr(participant_member(w, "/last_error"), "is another one than"));
  CU_ASSERT_PTR_NOT_NULL(strstr(participant_member(w, "/last_error"), server));
  UNTIL(is_in(w, "lost", "committing"));
  CU_ASSERT_STRING_EQUAL(branch_member(w, "lost", 1, "state"), "committing");
  /* Restarted, nothing knows what it was before, but the decision does. */
  restart_all_that_knows_bank_b(w);
  (void)async_finish(call);
  UNTIL(strcmp(branch_member(w, "lost", 1, "state"), "unknown") == 0);
  CU_ASSERT_PTR_NOT_NULL(strstr(branch_member(w, "lost", 1, "last_error"), server));
  CU_ASSERT(world_logged(w, COORDINATOR, "heuristic_hazard") >= 1);
  CU_ASSERT_STRING_EQUAL(member_of(w, "lost", "state"), "committing");
  pair_cut(w->servers[BANK_A]);
  world_server_start(w, BANK_B);
  pair_lead_to(pair->primary);
  restart_all_that_knows_bank_b(w);
  UNTIL(is_in(w, "lost", "committed"));
  CHECK_MOVED(w, 10);
  struct error err = {0};
  CU_ASSERT_EQUAL(throwaway_standby_catch_up(pair->standby, &err), ERR_OK);
  (void)api_get(w->api, "/healthz");
  world_sql(w, BANK_A, "DROP DATABASE %s WITH (FORCE)", w->database[BANK_B]);
  close_world(w);
}
IN_BOTH_MODES(participant_led_to_another_server_refuses_it)

/* ---- a failover that loses something ---------------------------------------------------------- */

/* The decision falls while bank_b, which has voted, hangs; the standby does not have its branch. */
static struct async *decide_over_a_lost_branch(struct world *w, struct pair *pair) {
  PGconn *gate = gate_close(w, BANK_A);
  pair_hold_here(pair);
  struct async *call = start_transfer(w, "lost");
  throwaway_server_pause(pair->primary);
  gate_open(gate);
  UNTIL(strcmp(api_outcome(w->api, "lost"), "committed") == 0);
  return call;
}

static void failover_that_loses_a_voted_branch_is_told_as_mixed(enum world_mode mode) {
  struct pair *pair = pair_open(false);
  struct world *w = open_world(mode, pair, QUICK);
  struct async *call = decide_over_a_lost_branch(w, pair);
  pair_fail_over(pair, w);
  const struct reply *reply = async_finish(call);
  CHECK_PROBLEM(reply, 409, "mixed");
  CHECK_STRING(reply, "/transaction/outcome", "mixed");
  CHECK_STRING(reply, "/transaction/branches/0/state", "committed");
  CHECK_STRING(reply, "/transaction/branches/1/state", "aborted");
  CU_ASSERT_PTR_NOT_NULL(
      strstr(reply_string(reply, "/transaction/branches/1/last_error/message"), "failover"));
  CU_ASSERT_EQUAL(world_logged(w, COORDINATOR, "heuristic_mixed"), 1);
  world_restart(w, COORDINATOR);
  CU_ASSERT_STRING_EQUAL(api_outcome(w->api, "lost"), "mixed");
  CU_ASSERT_EQUAL(world_balance(w, BANK_B, 1), ACCOUNT_BALANCE);
  close_world(w);
}
IN_BOTH_MODES(failover_that_loses_a_voted_branch_is_told_as_mixed)

/* The number of the lost transaction is handed out again, so that nothing can tell any more. */
static void use_up_numbers(const struct throwaway_server *server) {
  pair_sql(
      server, "postgres",
      "DO $$ BEGIN FOR i IN 1..20 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$");
}

static void failover_after_which_nothing_can_be_verified_is_a_hazard(enum world_mode mode) {
  struct pair *pair = pair_open(false);
  struct world *w = open_world(mode, pair, QUICK);
  struct async *call = decide_over_a_lost_branch(w, pair);
  pair_kill_and_promote(pair);
  use_up_numbers(pair->standby);
  pair_take_clients(pair, w);
  UNTIL(strcmp(branch_member(w, "lost", 1, "state"), "unknown") == 0);
  CU_ASSERT_STRING_EQUAL(member_of(w, "lost", "state"), "committing");
  CU_ASSERT_PTR_NOT_NULL(strstr(branch_member(w, "lost", 1, "last_error"), "took its place"));
  CU_ASSERT_EQUAL(world_logged(w, COORDINATOR, "heuristic_hazard"),
                  1); /* though it is asked again and again */
  CU_ASSERT_FALSE(async_is_done(call));
  const char *path = api_text(w->api, "/v1/transactions/%s/resolve", member_of(w, "lost", "id"));
  CHECK_PROBLEM(api_post(w->api, path, "{'branch':1,'outcome':'aborted','reason':'x'}"), 409,
                "not_in_doubt");
  CHECK_PROBLEM(api_post(w->api, path, "{'branch':3,'outcome':'aborted','reason':'x'}"), 422,
                "invalid");
  CHECK_PROBLEM(api_post(w->api, path, "{'branch':2,'outcome':'maybe','reason':'x'}"), 422,
                "invalid");
  const struct reply *reply =
      api_post(w->api, path,
               "{'branch':2,'outcome':'aborted','reason':'account 1 shows no credit'}");
  CHECK_STATUS(reply, 200);
  reply = async_finish(call);
  CHECK_PROBLEM(reply, 409, "mixed");
  CHECK_STRING(reply, "/transaction/branches/1/state", "aborted");
  CU_ASSERT_EQUAL(world_logged(w, COORDINATOR, "branch_resolved_by_hand"), 1);
  CU_ASSERT_EQUAL(world_logged(w, COORDINATOR, "heuristic_mixed"), 1);
  CHECK_STATUS(api_post(w->api, path, "{'branch':2,'outcome':'committed','reason':'x'}"), 409);
  world_restart(w, COORDINATOR);
  CU_ASSERT_STRING_EQUAL(api_outcome(w->api, "lost"), "mixed");
  close_world(w);
}
IN_BOTH_MODES(failover_after_which_nothing_can_be_verified_is_a_hazard)

/* What is voted for on a server that is gone counts no more: nothing need become a hazard. */
static void failover_before_the_decision_aborts(enum world_mode mode) {
  struct pair *pair = pair_open(false);
  struct world *w = open_world(mode, pair, QUICK);
  PGconn *gate = gate_close(w, BANK_A);
  pair_hold_here(pair);
  struct async *call = start_transfer(w, "early");
  pair_kill_and_promote(pair);
  use_up_numbers(pair->standby);
  pair_take_clients(pair, w);
  const struct reply *reply = async_finish(call); /* bank_a is still at its gate */
  CHECK_PROBLEM(reply, 409, "aborted");
  CHECK_STRING(reply, "/transaction/cause/kind", "unreachable");
  gate_open(gate);
  UNTIL(is_in(w, "early", "aborted"));
  CU_ASSERT_STRING_EQUAL(api_outcome(w->api, "early"), "aborted");
  CU_ASSERT_EQUAL(world_logged(w, COORDINATOR, "heuristic"), 0);
  CHECK_MOVED(w, 0);
  close_world(w);
}
IN_BOTH_MODES(failover_before_the_decision_aborts)

/* ---- a failover that brings something back ---------------------------------------------------- */

static void prepare_by_hand(struct world *w, const char *gid) {
  world_sql(w, BANK_B, "BEGIN; INSERT INTO ledger VALUES ('%s'); PREPARE TRANSACTION '%s'", gid,
            gid);
}

/* The standby has the branches prepared, and not how they ended. */
static void failover_that_brings_branches_back_ends_them_as_they_were(enum world_mode mode) {
  struct pair *pair = pair_open(false);
  struct world *w = open_world(mode, pair, NULL);
  PGconn *gate = gate_close(w, BANK_A);
  struct async *call = start_transfer(w, "kept");
  const char *gid = branch_member(w, "kept", 1, "gid");
  const char *aborted = api_begin(w->api, "{}");
  const char *external =
      reply_string(api_post(w->api, api_text(w->api, "/v1/transactions/%s/branches", aborted),
                            "{'participant':'bank_b'}"),
                   "/gid");
  const char *cluster = api_text(w->api, "%.12s", gid + strlen("assent_"));
  const char *unknown =
      api_text(w->api, "assent_%s_1_01900000-0000-7000-8000-000000000000_2", cluster);
  const char *foreign = "assent_abcdefabcdef_1_01900000-0000-7000-8000-000000000000_2";
  prepare_by_hand(w, external);
  prepare_by_hand(w, unknown);
  prepare_by_hand(w, foreign);
  pair_hold_here(pair);
  gate_open(gate);
  CHECK_STATUS(async_finish(call), 200);
  CHECK_STATUS(api_rollback(w->api, aborted), 200);
  CHECK_MOVED(w, 10);
  if (mode == WORLD_EMBEDDED) world_restart(w, COORDINATOR); /* from the log, too */
  pair_kill_and_promote(pair);
  CU_ASSERT_EQUAL(pair_integer(pair->standby, "postgres", "SELECT count(*) FROM pg_prepared_xacts"),
                  4);
  pair_take_clients(pair, w);
  UNTIL(world_prepared(w, BANK_B) == 1); /* the foreign one */
  CHECK_MOVED(w, 10);
  CU_ASSERT_STRING_EQUAL(api_outcome(w->api, "kept"), "committed");
  CU_ASSERT_EQUAL(world_integer(w, BANK_B, "SELECT count(*) FROM ledger"), 0);
  world_sql(w, BANK_B, "ROLLBACK PREPARED '%s'", foreign);
  close_world(w);
}
IN_BOTH_MODES(failover_that_brings_branches_back_ends_them_as_they_were)

/* ---- a failover that loses nothing ------------------------------------------------------------ */

static void synchronous_failover_before_the_delivery_commits(enum world_mode mode) {
  struct pair *pair = pair_open(true);
  struct world *w = open_world(mode, pair, QUICK);
  PGconn *gate = gate_close(w, BANK_A);
  struct async *call = start_transfer(w, "kept");
  throwaway_server_pause(pair->primary);
  gate_open(gate);
  UNTIL(strcmp(api_outcome(w->api, "kept"), "committed") == 0);
  pair_kill_and_promote(pair);
  use_up_numbers(pair->standby);
  pair_take_clients(pair, w);
  const struct reply *reply = async_finish(call);
  CHECK_STATUS(reply, 200);
  CHECK_STRING(reply, "/branches/1/state", "committed");
  CHECK_MOVED(w, 10);
  CU_ASSERT_EQUAL(world_logged(w, COORDINATOR, "heuristic"), 0);
  close_world(w);
}
IN_BOTH_MODES(synchronous_failover_before_the_delivery_commits)

/* COMMIT PREPARED reaches the standby after who sent it is gone: only the number of the transaction is
 * left, on a later timeline. */
static void fail_over_with_the_answer_lost(struct world *w, struct pair *pair) {
  PGconn *gate = gate_close(w, BANK_A);
  struct async *call = start_transfer(w, "kept");
  pair_hold(pair);
  gate_open(gate);
  UNTIL(pair_waiting(pair) == 1 && world_prepared(w, BANK_A) == 0);
  UNTIL(strcmp(api_outcome(w->api, "kept"), "committed") == 0);
  if (w->mode == WORLD_AGENTS) world_kill(w, AGENT_B);
  world_kill(w, COORDINATOR);
  (void)async_finish(call);
  pair_release(pair);
  UNTIL(pair_waiting(pair) == 0);
  struct error err = {0};
  CU_ASSERT_EQUAL(throwaway_standby_catch_up(pair->standby, &err), ERR_OK);
  pair_fail_over(pair, w);
  if (w->mode == WORLD_AGENTS) world_start(w, AGENT_B, NULL);
  world_start(w, COORDINATOR, NULL);
  world_wait_ready(w);
}

static void synchronous_failover_with_the_answer_lost_commits(enum world_mode mode) {
  struct pair *pair = pair_open(true);
  struct world *w = open_world(mode, pair, "synchronous_failover = yes\n");
  fail_over_with_the_answer_lost(w, pair);
  UNTIL(is_in(w, "kept", "committed"));
  CHECK_MOVED(w, 10);
  CU_ASSERT_EQUAL(world_logged(w, COORDINATOR, "heuristic"), 0);
  close_world(w);
}
IN_BOTH_MODES(synchronous_failover_with_the_answer_lost_commits)

/* What was in doubt, and what the operator said of it, is told in this life and in the next. */
static void check_steps_of_resolution(struct world *w, const char *source, unsigned recovered) {
  const struct reply *timeline =
      api_get(w->api, "/v1/transactions/%s/timeline", member_of(w, "kept", "id"));
  CHECK_STRING(timeline, "/source", source);
  unsigned alarms = 0, resolutions = 0, recoveries = 0;
  size_t i;
  const json_t *step;
  json_array_foreach(reply_at(timeline, "/steps"), i, step) {
    const char *kind = json_string_value(json_object_get(step, "step"));
    const char *detail = json_string_value(json_object_get(step, "detail"));
    const json_t *error = json_object_get(step, "error");
    const char *message = json_string_value(json_object_get(error, "message"));
    if (strcmp(kind, "alarm") == 0 && strcmp(detail, "heuristic_hazard") == 0) alarms++;
    if (strcmp(kind, "recovered") == 0 && alarms == 1) recoveries++; /* behind the first alarm */
    if (strcmp(kind, "resolved") != 0) continue;
    resolutions++;
    CU_ASSERT_STRING_EQUAL(detail, "committed");
    CU_ASSERT_STRING_EQUAL(message, "account 1 has the credit");
    CU_ASSERT_EQUAL(json_integer_value(json_object_get(step, "branch")), 2);
  }
  CU_ASSERT_EQUAL(alarms, 2);
  CU_ASSERT_EQUAL(resolutions, 1);
  CU_ASSERT_EQUAL(recoveries, recovered);
}

/* Where nobody vouches for the replication the operator looks and says. */
static void failover_with_the_answer_lost_is_a_hazard_until_resolved(enum world_mode mode) {
  struct pair *pair = pair_open(true);
  struct world *w = open_world(mode, pair, NULL);
  fail_over_with_the_answer_lost(w, pair);
  UNTIL(strcmp(branch_member(w, "kept", 1, "state"), "unknown") == 0);
  CU_ASSERT_EQUAL(world_logged(w, COORDINATOR, "heuristic_hazard"), 1);
  world_restart(w, COORDINATOR);
  UNTIL(strcmp(branch_member(w, "kept", 1, "state"), "unknown") == 0);
  const char *path = api_text(w->api, "/v1/transactions/%s/resolve", member_of(w, "kept", "id"));
  CHECK_STATUS(api_post(w->api, path,
                        "{'branch':2,'outcome':'committed','reason':'account 1 has the credit'}"),
               200);
  UNTIL(is_in(w, "kept", "committed"));
  CU_ASSERT_STRING_EQUAL(api_outcome(w->api, "kept"), "committed");
  CHECK_STATUS(api_post(w->api, path, "{'branch':2,'outcome':'aborted','reason':'x'}"), 409);
  check_steps_of_resolution(w, "memory", 1);
  world_stop(w, COORDINATOR); /* gently: what is lazy is in the log */
  world_start(w, COORDINATOR, NULL);
  world_wait_ready(w);
  check_steps_of_resolution(w, "log", 0);
  CHECK_MOVED(w, 10);
  close_world(w);
}
IN_BOTH_MODES(failover_with_the_answer_lost_is_a_hazard_until_resolved)

enum { LOAD = 24, LOAD_AT_ONCE = 8 };

/* True when it was told committed: both branches have it. Told aborted: neither. */
static bool check_told(struct world *w, int number, const struct reply *reply) {
  const char *label = api_text(w->api, "load_%d", number);
  UNTIL(is_in(w, label, "committed") || is_in(w, label, "aborted") || !api_find(w->api, label));
  const char *outcome = api_outcome(w->api, label);
  bool committed = strcmp(outcome, "committed") == 0;
  for (int bank = BANK_A; bank < BANKS; bank++)
    CU_ASSERT_EQUAL(world_integer(w, bank, "SELECT count(*) FROM ledger WHERE id = '%d'", number),
                    committed);
  CU_ASSERT_STRING_NOT_EQUAL(outcome, "mixed");
  if (reply->status == 200) CU_ASSERT_TRUE(committed);
  if (reply->status == 409) CU_ASSERT_FALSE(committed);
  return committed;
}

/* Clients follow by themselves: the connection string names both servers. */
static void synchronous_failover_under_load_keeps_what_was_told(enum world_mode mode) {
  struct pair *pair = pair_open(true);
  struct throwaway_server *const both[] = {pair->primary, pair->standby};
  char dsn[THROWAWAY_DSN_SIZE];
  throwaway_servers_dsn(both, 2, "", dsn); /* a dbname that comes later wins */
  struct world *w =
      world_open(mode, &(struct world_options){.server_b = pair->primary,
                                               .reach_b = dsn,
                                               .settings = SETTINGS,
                                               .database = QUICK "synchronous_failover = yes\n"});
  struct async *calls[LOAD];
  const struct reply *replies[LOAD];
  int committed = 0;
  for (int i = 0; i < LOAD; i++) {
    calls[i] = async_post(
        w->api, "/v1/transactions",
        api_text(w->api,
                 ONE_CALL("'timeout_ms':10000,'label':'load_%d',",
                          BRANCH("bank_a", STATEMENT("INSERT INTO ledger VALUES (%d)")) "," BRANCH(
                              "bank_b", STATEMENT("INSERT INTO ledger VALUES (%d)"))),
                 i, i, i));
    if (i >= LOAD_AT_ONCE) replies[i - LOAD_AT_ONCE] = async_finish(calls[i - LOAD_AT_ONCE]);
    if (i == LOAD / 2) pair_kill_and_promote(pair);
  }
  for (int i = LOAD - LOAD_AT_ONCE; i < LOAD; i++)
    replies[i] = async_finish(calls[i]);
  pair_take_clients(pair, w);
  UNTIL(strcmp(participant_member(w, "/state"), "up") == 0);
  for (int i = 0; i < LOAD; i++)
    committed += check_told(w, i, replies[i]);
  CU_ASSERT(committed > 0);
  world_wait_nothing_prepared(w);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(10))), 200);
  CHECK_MOVED(w, 10);
  CU_ASSERT_EQUAL(world_logged(w, COORDINATOR, "heuristic"), 0);
  close_world(w);
}
IN_BOTH_MODES(synchronous_failover_under_load_keeps_what_was_told)

/* The synchronous ones first: each change of the kind makes a standby anew. */
SUITE(replication, BOTH(prepare_that_waits_for_a_replica_is_no_vote_yet),
      BOTH(prepare_whose_wait_for_a_replica_is_cancelled_is_no_yes),
      BOTH(commit_is_applied_only_when_the_replica_has_it),
      BOTH(synchronous_failover_before_the_delivery_commits),
      BOTH(synchronous_failover_with_the_answer_lost_commits),
      BOTH(failover_with_the_answer_lost_is_a_hazard_until_resolved),
      BOTH(synchronous_failover_under_load_keeps_what_was_told),
      BOTH(participant_led_to_a_standby_refuses_it),
      BOTH(participant_led_to_another_server_refuses_it),
      BOTH(participant_led_back_to_the_former_primary_refuses_it),
      BOTH(failover_that_loses_a_voted_branch_is_told_as_mixed),
      BOTH(failover_after_which_nothing_can_be_verified_is_a_hazard),
      BOTH(failover_before_the_decision_aborts),
      BOTH(failover_that_brings_branches_back_ends_them_as_they_were))
