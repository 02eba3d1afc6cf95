/* Draining: no new branches, those under way end, and it lasts. */
#include <string.h>

#include "tests/lib/world.h"

static const struct reply *drain(struct world *w, const char *name, const char *verb) {
  return api_post(w->api, api_text(w->api, "/v1/participants/%s/%s", name, verb), "{}");
}

static void check_refused(const struct reply *reply) {
  CHECK_PROBLEM(reply, 503, "draining");
  CU_ASSERT_PTR_NOT_NULL(strstr(reply_string(reply, "/detail"), "bank_b"));
}

static void drained_participant_takes_no_new_branches(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  const struct reply *drained = drain(w, "bank_b", "drain");
  CHECK_STATUS(drained, 200);
  CHECK_STRING(drained, "/name", "bank_b");
  CHECK_JSON(drained, "/draining", "true");
  CHECK_STATUS(drain(w, "bank_b", "drain"), 200);
  const struct reply *refused = api_run(w->api, ONE_CALL("", TRANSFER(10)));
  check_refused(refused);
  CHECK_STRING(refused, "/field", "/branches/1/participant");
  CHECK_STATUS(api_run(w->api, ONE_CALL("", BRANCH("bank_a", CREDIT(1)))), 200);
  const char *open = api_begin(w->api, "{}");
  CHECK_STATUS(api_statement(w->api, open, "bank_a", "'sql':'SELECT 1'"), 200);
  check_refused(api_statement(w->api, open, "bank_b", "'sql':'SELECT 1'"));
  check_refused(api_post(w->api, api_text(w->api, "/v1/transactions/%s/branches", open),
                         "{'participant':'bank_b'}"));
  CHECK_STATUS(api_commit(w->api, open), 200);
  CHECK_JSON(drain(w, "bank_b", "undrain"), "/draining", "false");
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(10))), 200);
  world_close(w);
}
IN_BOTH_MODES(drained_participant_takes_no_new_branches)

static void branches_under_way_end_while_it_drains(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  const char *open = api_begin(w->api, "{}");
  CHECK_STATUS(api_statement(w->api, open, "bank_b",
                             "'sql':'UPDATE account SET balance = balance + 10 WHERE id = 1'"),
               200);
  CHECK_INTEGER(drain(w, "bank_b", "drain"), "/live_branches", 1);
  CHECK_STATUS(api_statement(w->api, open, "bank_b", "'sql':'SELECT 1'"), 200);
  CHECK_STATUS(api_statement(w->api, open, "bank_a",
                             "'sql':'UPDATE account SET balance = balance - 10 WHERE id = 1'"),
               200);
  CHECK_STATUS(api_commit(w->api, open), 200);
  CHECK_INTEGER(api_get(w->api, "/v1/participants/bank_b"), "/live_branches", 0);
  CHECK_MOVED(w, 10);
  CHECK_STATUS(drain(w, "bank_b", "undrain"), 200);
  world_close(w);
}
IN_BOTH_MODES(branches_under_way_end_while_it_drains)

static void draining_lasts_over_a_restart_and_decisions_arrive(enum world_mode mode) {
  struct world *w = world_open(mode, &(struct world_options){.crash = "C5:stop"});
  struct async *run =
      async_post(w->api, "/v1/transactions", ONE_CALL("'wait':'decided',", TRANSFER(10)));
  UNTIL(world_is_stopped(w, COORDINATOR));
  world_kill(w, COORDINATOR);
  (void)async_finish(run);
  world_start(w, COORDINATOR, NULL);
  world_wait_ready(w);
  CHECK_STATUS(drain(w, "bank_b", "drain"), 200);
  world_restart(w, COORDINATOR);
  CHECK_JSON(api_get(w->api, "/v1/participants/bank_b"), "/draining", "true");
  CHECK_JSON(api_get(w->api, "/v1/participants/bank_a"), "/draining", "false");
  check_refused(api_run(w->api, ONE_CALL("", TRANSFER(10))));
  world_wait_nothing_prepared(w);
  CHECK_MOVED(w, 10);
  CHECK_STATUS(drain(w, "bank_b", "undrain"), 200);
  world_restart(w, COORDINATOR);
  CHECK_JSON(api_get(w->api, "/v1/participants/bank_b"), "/draining", "false");
  world_close(w);
}
IN_BOTH_MODES(draining_lasts_over_a_restart_and_decisions_arrive)

static void drain_of_what_is_not_there_is_refused(void) {
  struct world *w = world_open(WORLD_EMBEDDED, NULL);
  CHECK_PROBLEM(drain(w, "bank_z", "drain"), 404, "not_found");
  CHECK_PROBLEM(drain(w, "bank_z", "undrain"), 404, "not_found");
  CHECK_PROBLEM(api_post(w->api, "/v1/participants/bank_a/drain", "{'for':1}"), 422,
                "unknown_field");
  CHECK_JSON(api_get(w->api, "/v1/participants/bank_a"), "/draining", "false");
  world_close(w);
}

SUITE(drain, BOTH(drained_participant_takes_no_new_branches),
      BOTH(branches_under_way_end_while_it_drains),
      BOTH(draining_lasts_over_a_restart_and_decisions_arrive),
      CASE(drain_of_what_is_not_there_is_refused))
