/* GET /v1/transactions/{id}/timeline: each step of a transaction is told, with whose fault it was. */
#include <stdlib.h>
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

/* ---- who blocks ------------------------------------------------------------------------------- */

#define ON_ROW_1 BRANCH("bank_a", CREDIT(1))

/* One that waits, where it was seen by whom it is blocked. */
static const struct reply *wait_until_blocked(struct world *w, const char *label, char id[64]) {
  UNTIL(api_find(w->api, label));
  (void)snprintf(id, 64, "%s", json_string_value(json_object_get(api_find(w->api, label), "id")));
  UNTIL(json_array_size(reply_at(timeline(w, id), "/waiting_for/0/blocked_by")) == 1);
  return timeline(w, id);
}

static const char *blocked_step(const struct reply *reply, const char *participant) {
  size_t at = 0;
  const json_t *step = next_step(reply, &at, "blocked", participant, "");
  return text(json_object_get(step, "error"), "message");
}

static void session_that_blocks_is_named_without_what_it_runs(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  PGconn *other = world_connect(w, BANK_A);
  world_run_on(other, "SET application_name = 'month-end'");
  world_run_on(other, "BEGIN");
  world_run_on(other, "UPDATE account SET balance = balance + 0 WHERE id = 1 /* secret */");
  struct async *run = async_post(w->api, "/v1/transactions",
                                 ONE_CALL("'label':'blocked','timeout_ms':1500,", ON_ROW_1));
  char id[64], pid[64];
  const struct reply *reply = wait_until_blocked(w, "blocked", id);
  CHECK_INTEGER(reply, "/waiting_for/0/blocked_by/0/pid", PQbackendPID(other));
  CHECK_STRING(reply, "/waiting_for/0/blocked_by/0/application_name", "month-end");
  CHECK_STRING(reply, "/waiting_for/0/blocked_by/0/state", "idle in transaction");
  CHECK_JSON(reply, "/waiting_for/0/blocked_by/0/gid", "null");
  CHECK_JSON(reply, "/waiting_for/0/blocked_by/0/transaction", "null");
  CU_ASSERT_PTR_NULL(strstr(reply->text, "secret"));
  CU_ASSERT_PTR_NULL(strstr(reply->text, "UPDATE"));
  CHECK_GAVE_WAY(async_finish(run));
  reply = timeline(w, id); /* now nobody could find out any more */
  CHECK_JSON(reply, "/waiting_for", "[]");
  (void)snprintf(pid, sizeof pid, "session %d (month-end", PQbackendPID(other));
  CU_ASSERT_PTR_NOT_NULL(strstr(blocked_step(reply, "bank_a"), pid));
  PQfinish(other);
  world_close(w);
}
IN_BOTH_MODES(session_that_blocks_is_named_without_what_it_runs)

static void prepared_transaction_that_blocks_is_named_by_its_gid(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  world_sql(w, BANK_A,
            "BEGIN; UPDATE account SET balance = balance + 0 WHERE id = 1; "
            "PREPARE TRANSACTION 'left behind'");
  world_sql(w, BANK_A,
            "BEGIN; UPDATE account SET balance = balance + 0 WHERE id = 2; "
            "PREPARE TRANSACTION 'somewhere else'");
  struct async *run =
      async_post(w->api, "/v1/transactions", ONE_CALL("'label':'blocked',", ON_ROW_1));
  char id[64];
  const struct reply *reply = wait_until_blocked(w, "blocked", id);
  CHECK_JSON(reply, "/waiting_for/0/blocked_by/0/pid", "null");
  CHECK_STRING(reply, "/waiting_for/0/blocked_by/0/gid", "left behind");
  CHECK_STRING(reply, "/waiting_for/0/blocked_by/0/state", "prepared");
  CU_ASSERT(*reply_string(reply, "/waiting_for/0/blocked_by/0/since") != '\0');
  CU_ASSERT_PTR_NOT_NULL(strstr(blocked_step(reply, "bank_a"), "'left behind'"));
  world_sql(w, BANK_A, "ROLLBACK PREPARED 'left behind'");
  world_sql(w, BANK_A, "ROLLBACK PREPARED 'somewhere else'");
  CHECK_STATUS(async_finish(run), 200);
  world_close(w);
}
IN_BOTH_MODES(prepared_transaction_that_blocks_is_named_by_its_gid)

static void transaction_that_blocks_another_is_named(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  char first[64], id[64];
  (void)snprintf(first, sizeof first, "%s", api_begin(w->api, "{'branches':[" ON_ROW_1 "]}"));
  struct async *run =
      async_post(w->api, "/v1/transactions", ONE_CALL("'label':'blocked',", ON_ROW_1));
  const struct reply *reply = wait_until_blocked(w, "blocked", id);
  CHECK_STRING(reply, "/waiting_for/0/blocked_by/0/transaction", first);
  CU_ASSERT(json_is_integer(reply_at(reply, "/waiting_for/0/blocked_by/0/pid")));
  CHECK_STATUS(api_commit(w->api, first), 200);
  CHECK_STATUS(async_finish(run), 200);
  world_close(w);
}
IN_BOTH_MODES(transaction_that_blocks_another_is_named)

/* Of the questions to bank_a whom a branch waits for, those answered; by the metrics. */
static int64_t looks_at_bank_a(struct world *w) {
  static const char name[] =
      "assent_agent_calls_total{participant=\"bank_a\",call=\"blockers\",result=\"ok\"} ";
  const char *at = strstr(api_get(w->api, "/metrics")->text, name);
  CU_ASSERT_PTR_NOT_NULL_FATAL(at);
  return strtoll(at + strlen(name), NULL, 10);
}

/* Slow, but it waits for no lock. */
static void transaction_that_is_only_slow_is_blocked_by_nobody(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  char id[64];
  (void)snprintf(id, sizeof id, "%s", api_begin(w->api, "{}"));
  struct async *statement =
      async_post(w->api, api_text(w->api, "/v1/transactions/%s/statements", id),
                 "{'participant':'bank_a','sql':'SELECT pg_sleep(600)'}");
  UNTIL(looks_at_bank_a(w) >= 2);
  const struct reply *reply = timeline(w, id);
  CHECK_STRING(reply, "/waiting_for/0/for", "statements");
  CHECK_JSON(reply, "/waiting_for/0/blocked_by", "[]");
  size_t at = 0;
  CU_ASSERT_PTR_NULL(next_step(reply, &at, "blocked", "", ""));
  CHECK_STATUS(api_rollback(w->api, id), 200);
  CHECK_PROBLEM(async_finish(statement), 409, "aborted");
  world_close(w);
}
IN_BOTH_MODES(transaction_that_is_only_slow_is_blocked_by_nobody)

/* Decided, and bank_b is away: the timeline says so, and after a restart what the log knows. */
static void decided_one_whose_participant_is_away_says_so(enum world_mode mode) {
  struct world *w = world_open(mode, &(struct world_options){.crash = "C5:stop",
                                                             .settings = LOOKS_OFTEN,
                                                             .database = LOOKS_SHORTLY});
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
      BOTH(session_that_blocks_is_named_without_what_it_runs),
      BOTH(prepared_transaction_that_blocks_is_named_by_its_gid),
      BOTH(transaction_that_blocks_another_is_named),
      BOTH(transaction_that_is_only_slow_is_blocked_by_nobody),
      BOTH(decided_one_whose_participant_is_away_says_so), CASE(aborted_one_is_told_from_the_log),
      CASE(timeline_of_nothing_is_refused))
