/* GET /v1/transactions/{id}/timeline: each step of a transaction is told, with whose fault it was. */
#include <string.h>

#include "tests/lib/world.h"

/* ---- what is in a timeline -------------------------------------------------------------------- */

static const struct reply *timeline(struct world *w, const char *id) {
  const struct reply *reply = api_get(w->api, "/v1/transactions/%s/timeline", id);
  CHECK_STATUS(reply, 200);
  CHECK_STRING(reply, "/id", id);
  return reply;
}

static const char *text(const json_t *step, const char *name) {
  const char *value = json_string_value(json_object_get(step, name));
  return value ? value : "";
}

/* The first step of this kind, at this participant ("": any) with this detail ("": any), from `*from`
 * on, which moves behind it; NULL: there is none. */
static const json_t *next_step(const struct reply *reply, size_t *from, const char *kind,
                               const char *participant, const char *detail) {
  const json_t *steps = reply_at(reply, "/steps");
  while (*from < json_array_size(steps)) {
    const json_t *step = json_array_get(steps, (*from)++);
    if (strcmp(text(step, "step"), kind) == 0 &&
        (!*participant || strcmp(text(step, "participant"), participant) == 0) &&
        (!*detail || strcmp(text(step, "detail"), detail) == 0))
      return step;
  }
  return NULL;
}

#define CHECK_NEXT(reply, from, kind, participant, detail)                                         \
  CU_ASSERT_PTR_NOT_NULL(next_step(reply, from, kind, participant, detail))

static void check_times(const struct reply *reply) {
  size_t index;
  const json_t *step;
  const char *before = "";
  json_array_foreach(reply_at(reply, "/steps"), index, step) {
    CU_ASSERT(strcmp(text(step, "at"), before) >= 0);
    CU_ASSERT(json_integer_value(json_object_get(step, "after_ms")) >= 0);
    before = text(step, "at");
  }
}

/* So that what is lazy is in the log. */
static void restart_gently(struct world *w) {
  world_stop(w, COORDINATOR);
  world_start(w, COORDINATOR, NULL);
  world_wait_ready(w);
}

/* ---- cases ------------------------------------------------------------------------------------ */

static void committed_one_tells_its_steps_in_order(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  const struct reply *done = api_run(w->api, ONE_CALL("", TRANSFER(10)));
  CHECK_STATUS(done, 200);
  const struct reply *reply = timeline(w, reply_string(done, "/id"));
  CHECK_STRING(reply, "/outcome", "committed");
  CHECK_STRING(reply, "/source", "memory");
  CHECK_INTEGER(reply, "/dropped", 0);
  CHECK_JSON(reply, "/waiting_for", "[]");
  size_t at = 0;
  CHECK_NEXT(reply, &at, "begun", "", "");
  CHECK_NEXT(reply, &at, "enlisted", "bank_a", "");
  CHECK_NEXT(reply, &at, "commit_asked", "", "");
  CHECK_NEXT(reply, &at, "state", "", "preparing");
  CHECK_NEXT(reply, &at, "run_sent", "bank_a", "prepare");
  CHECK_NEXT(reply, &at, "vote", "", "yes");
  CHECK_NEXT(reply, &at, "vote", "", "yes");
  CHECK_NEXT(reply, &at, "log_asked", "", "commit");
  CHECK_NEXT(reply, &at, "logged", "", "durable");
  CHECK_NEXT(reply, &at, "state", "", "committing");
  CHECK_NEXT(reply, &at, "decision_sent", "", "commit");
  CHECK_NEXT(reply, &at, "outcome", "", "committed");
  CHECK_NEXT(reply, &at, "outcome", "", "committed");
  CHECK_NEXT(reply, &at, "ended", "", "committed");
  check_times(reply);
  world_close(w);
}
IN_BOTH_MODES(committed_one_tells_its_steps_in_order)

static void aborted_one_names_participant_statement_and_sqlstate(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  const struct reply *refused =
      api_run(w->api, ONE_CALL("", BRANCH("bank_a", CREDIT(5000)) "," BRANCH(
                                       "bank_b", STATEMENT("SELECT 1") "," DEBIT(5000))));
  CHECK_PROBLEM(refused, 409, "aborted");
  const struct reply *reply = timeline(w, reply_string(refused, "/transaction/id"));
  CHECK_STRING(reply, "/cause/sqlstate", "23514");
  size_t at = 0;
  const json_t *vote = next_step(reply, &at, "vote", "bank_b", "no");
  const json_t *error = json_object_get(vote, "error");
  CU_ASSERT_STRING_EQUAL(text(error, "kind"), "statement");
  CU_ASSERT_STRING_EQUAL(text(error, "sqlstate"), "23514");
  CU_ASSERT_EQUAL(json_integer_value(json_object_get(error, "statement")), 1);
  CU_ASSERT_EQUAL(json_integer_value(json_object_get(error, "branch")), 2);
  CU_ASSERT(*text(error, "message") != '\0');
  CHECK_NEXT(reply, &at, "ended", "", "aborted");
  world_close(w);
}
IN_BOTH_MODES(aborted_one_names_participant_statement_and_sqlstate)

static void open_one_waits_for_its_client(void) {
  struct world *w = world_open(WORLD_EMBEDDED, NULL);
  const char *id = api_begin(w->api, "{}");
  CHECK_STRING(timeline(w, id), "/waiting_for/0/for", "client");
  CHECK_STATUS(api_statement(w->api, id, "bank_a", "'sql':'SELECT 1'"), 200);
  const struct reply *reply = timeline(w, id);
  size_t at = 0;
  CHECK_NEXT(reply, &at, "run_sent", "bank_a", "statements");
  CHECK_NEXT(reply, &at, "statements_ran", "bank_a", "");
  CHECK_STATUS(api_rollback(w->api, id), 200);
  reply = timeline(w, id);
  at = 0;
  const json_t *rollback = next_step(reply, &at, "rollback", "", "");
  CU_ASSERT_STRING_EQUAL(text(json_object_get(rollback, "error"), "kind"), "client");
  world_close(w);
}

/* The vote of bank_b does not come: it is bank_b that is waited for, and nobody else. */
static void standstill_names_whose_answer_is_missing(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  PGconn *gate = gate_close(w, BANK_B);
  struct async *run = async_post(
      w->api, "/v1/transactions",
      ONE_CALL("'label':'stands',", BRANCH("bank_a", CREDIT(1)) "," BRANCH("bank_b", AT_GATE)));
  UNTIL(gate_waiting(w, BANK_B) == 1);
  const char *id = json_string_value(json_object_get(api_find(w->api, "stands"), "id"));
  CU_ASSERT_PTR_NOT_NULL_FATAL(id);
  UNTIL(json_array_size(reply_at(timeline(w, id), "/waiting_for")) == 1);
  const struct reply *reply = timeline(w, id);
  CHECK_STRING(reply, "/waiting_for/0/for", "vote");
  CHECK_STRING(reply, "/waiting_for/0/participant", "bank_b");
  gate_open(gate);
  CHECK_STATUS(async_finish(run), 200);
  world_close(w);
}
IN_BOTH_MODES(standstill_names_whose_answer_is_missing)

/* Decided, and bank_b is away: the timeline says so, and after a restart what the log knows. */
static void decided_one_whose_participant_is_away_says_so(enum world_mode mode) {
  struct world *w = world_open(mode, &(struct world_options){.crash = "C5:stop"});
  struct async *run = async_post(w->api, "/v1/transactions",
                                 ONE_CALL("'label':'away','wait':'decided',", TRANSFER(10)));
  UNTIL(world_is_stopped(w, COORDINATOR));
  world_server_kill(w, BANK_B);
  world_resume(w, COORDINATOR);
  CHECK_STATUS(async_finish(run), 200);
  const char *id = json_string_value(json_object_get(api_find(w->api, "away"), "id"));
  CU_ASSERT_PTR_NOT_NULL_FATAL(id);
  UNTIL(strcmp(reply_string(timeline(w, id), "/waiting_for/0/for"), "participant") == 0);
  const struct reply *reply = timeline(w, id);
  CHECK_STRING(reply, "/waiting_for/0/participant", "bank_b");
  CU_ASSERT(*reply_string(reply, "/waiting_for/0/error/message") != '\0');
  world_restart(w, COORDINATOR);
  reply = timeline(w, id);
  size_t at = 0;
  CHECK_NEXT(reply, &at, "begun", "", "");
  CHECK_NEXT(reply, &at, "logged", "", "durable");
  CHECK_NEXT(reply, &at, "recovered", "", "commit");
  world_server_start(w, BANK_B);
  UNTIL(strcmp(reply_string(timeline(w, id), "/state"), "committed") == 0);
  reply = timeline(w, id);
  CHECK_NEXT(reply, &at, "outcome", "bank_b", "committed");
  CHECK_NEXT(reply, &at, "ended", "", "committed");
  restart_gently(w);
  reply = timeline(w, id);
  CHECK_STRING(reply, "/source", "log");
  CHECK_STRING(reply, "/outcome", "committed");
  CHECK_STRING(reply, "/steps/0/step", "begun");
  world_close(w);
}
IN_BOTH_MODES(decided_one_whose_participant_is_away_says_so)

/* Aborted, ended, and the coordinator restarted: the cause is in the log. */
static void aborted_one_is_told_from_the_log(void) {
  struct world *w = world_open(WORLD_EMBEDDED, NULL);
  const struct reply *refused = api_run(w->api, ONE_CALL("", TRANSFER(5000)));
  CHECK_PROBLEM(refused, 409, "aborted");
  const char *id = reply_string(refused, "/transaction/id");
  restart_gently(w);
  const struct reply *reply = timeline(w, id);
  CHECK_STRING(reply, "/source", "log");
  size_t at = 0;
  const json_t *rollback = next_step(reply, &at, "rollback", "bank_a", "");
  CU_ASSERT_STRING_EQUAL(text(json_object_get(rollback, "error"), "sqlstate"), "23514");
  CHECK_NEXT(reply, &at, "ended", "", "aborted");
  world_close(w);
}

static void timeline_of_nothing_is_refused(void) {
  struct world *w = world_open(WORLD_EMBEDDED, NULL);
  CHECK_PROBLEM(api_get(w->api, "/v1/transactions/nonsense/timeline"), 400, "bad_id");
  CHECK_PROBLEM(api_get(w->api, "/v1/transactions/01920000-0000-7000-8000-000000000001/timeline"),
                404, "not_found");
  CHECK_PROBLEM(api_get(w->api,
                        "/v1/transactions/01920000-0000-7000-8000-000000000001/timeline?x=1"),
                422, "unknown_field");
  world_close(w);
}

SUITE(timeline, BOTH(committed_one_tells_its_steps_in_order),
      BOTH(aborted_one_names_participant_statement_and_sqlstate),
      CASE(open_one_waits_for_its_client), BOTH(standstill_names_whose_answer_is_missing),
      BOTH(decided_one_whose_participant_is_away_says_so), CASE(aborted_one_is_told_from_the_log),
      CASE(timeline_of_nothing_is_refused))
