/* The public API with everything healthy: one call, open transactions, results, what comes back
 * when it is asked again. The databases' own refusals are in test_api_abort.c, reading in
 * test_api_read.c. */
#include "tests/lib/world.h"

#include <stdlib.h>
#include <string.h>

/* ---- one call -------------------------------------------------------------------------------- */

static void check_branch(const struct reply *reply, int index, const char *participant) {
  char pointer[64];
  (void)snprintf(pointer, sizeof pointer, "/branches/%d/id", index);
  CHECK_INTEGER(reply, pointer, index + 1);
  (void)snprintf(pointer, sizeof pointer, "/branches/%d/participant", index);
  CHECK_STRING(reply, pointer, participant);
  (void)snprintf(pointer, sizeof pointer, "/branches/%d/state", index);
  CHECK_STRING(reply, pointer, "committed");
  (void)snprintf(pointer, sizeof pointer, "/branches/%d/last_error", index);
  CHECK_JSON(reply, pointer, "null");
  (void)snprintf(pointer, sizeof pointer, "/branches/%d/gid", index);
  CU_ASSERT_NSTRING_EQUAL(reply_string(reply, pointer), "assent_", 7);
  (void)snprintf(pointer, sizeof pointer, "/branches/%d/xid", index);
  CU_ASSERT(strtoll(reply_string(reply, pointer), NULL, 10) > 0);
}

static void transfer_in_one_call_commits(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  const struct reply *reply =
      api_run(w->api, ONE_CALL("'label':'order-42','timeout_ms':5000,", TRANSFER(10)));
  CHECK_STATUS(reply, 200);
  CHECK_STRING(reply, "/state", "committed");
  CHECK_STRING(reply, "/outcome", "committed");
  CHECK_STRING(reply, "/label", "order-42");
  CHECK_INTEGER(reply, "/timeout_ms", 5000);
  CHECK_JSON(reply, "/cause", "null");
  static const char *const times[] = {"/created_at", "/decided_at", "/applied_at"};
  for (int i = 0; i < 3; i++)
    CU_ASSERT_EQUAL(strlen(reply_string(reply, times[i])), strlen("2026-11-21T03:04:05.123456Z"));
  check_branch(reply, 0, "bank_a");
  check_branch(reply, 1, "bank_b");
  CHECK_INTEGER(reply, "/branches/0/attempts", 1);
  CHECK_JSON(reply, "/branches/0/results", "[{'rows_affected':1,'columns':[],'rows':[]}]");
  CHECK_MOVED(w, 10);
  CU_ASSERT_EQUAL(world_prepared(w, BANK_A) + world_prepared(w, BANK_B), 0);
  world_close(w);
}
IN_BOTH_MODES(transfer_in_one_call_commits)

static void transfer_that_waits_until_decided_commits(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  const struct reply *reply = api_run(w->api, ONE_CALL("'wait':'decided',", TRANSFER(10)));
  CHECK_STATUS(reply, 200);
  CHECK_STRING(reply, "/outcome", "committed");
  reply = api_get(w->api, "/v1/transactions/%s?wait=applied", reply_string(reply, "/id"));
  CHECK_STRING(reply, "/state", "committed");
  CHECK_MOVED(w, 10);
  world_close(w);
}
IN_BOTH_MODES(transfer_that_waits_until_decided_commits)

static void transfer_within_one_server_commits(enum world_mode mode) {
  struct world *w = world_open(mode, &(struct world_options){.one_server = true});
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(10))), 200);
  CHECK_MOVED(w, 10);
  world_close(w);
}
IN_BOTH_MODES(transfer_within_one_server_commits)

static void branch_that_only_read_leaves_phase_two(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  const struct reply *reply = api_run(
      w->api,
      ONE_CALL("",
               BRANCH("bank_a", STATEMENT("SELECT balance FROM account WHERE id = 1")) "," BRANCH(
                   "bank_b", CREDIT(5))));
  CHECK_STATUS(reply, 200);
  CHECK_STRING(reply, "/outcome", "committed");
  CHECK_STRING(reply, "/branches/0/state", "read_only");
  CHECK_JSON(reply, "/branches/0/results/0/rows", "[[1000]]");
  CHECK_STRING(reply, "/branches/1/state", "committed");
  CU_ASSERT_EQUAL(world_balance(w, BANK_B, 1), ACCOUNT_BALANCE + 5);
  world_close(w);
}
IN_BOTH_MODES(branch_that_only_read_leaves_phase_two)

static void transaction_that_only_read_commits_and_is_found_again(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  const struct reply *reply =
      api_run(w->api, ONE_CALL("", BRANCH("bank_a", STATEMENT("SELECT 1")) "," BRANCH(
                                       "bank_b", STATEMENT("SELECT 2"))));
  CHECK_STATUS(reply, 200);
  CHECK_STRING(reply, "/state", "committed");
  reply = api_read(w->api, reply_string(reply, "/id"));
  CHECK_STATUS(reply, 200);
  CHECK_STRING(reply, "/outcome", "committed");
  CHECK_STRING(reply, "/branches/1/state", "read_only");
  world_close(w);
}
IN_BOTH_MODES(transaction_that_only_read_commits_and_is_found_again)

static void single_branch_commits_in_one_phase(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  const struct reply *reply = api_run(w->api, ONE_CALL("", BRANCH("bank_a", CREDIT(7))));
  CHECK_STATUS(reply, 200);
  CHECK_STRING(reply, "/outcome", "committed");
  CHECK_STRING(reply, "/branches/0/state", "committed");
  CU_ASSERT_EQUAL(world_balance(w, BANK_A, 1), ACCOUNT_BALANCE + 7);
  CHECK_STRING(api_read(w->api, reply_string(reply, "/id")), "/outcome", "committed");
  world_close(w);
}
IN_BOTH_MODES(single_branch_commits_in_one_phase)

/* ---- open transactions ----------------------------------------------------------------------- */

static void open_transaction_runs_statements_and_commits(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  const char *id = api_begin(w->api, "{'label':'open'}");
  const struct reply *reply =
      api_statement(w->api, id, "bank_a",
                    "'sql':'UPDATE account SET balance = balance - $1 WHERE id = 1',"
                    "'params':[10],'expect_rows':1");
  CHECK_STATUS(reply, 200);
  CHECK_INTEGER(reply, "/branch", 1);
  CHECK_INTEGER(reply, "/results/0/rows_affected", 1);
  reply = api_statement(w->api, id, "bank_b",
                        "'sql':'UPDATE account SET balance = balance + 10 "
                        "WHERE id = 1 RETURNING id, balance'");
  CHECK_INTEGER(reply, "/branch", 2);
  CHECK_JSON(reply, "/results",
             "[{'rows_affected':1,'columns':['id','balance'],'rows':[[1,1010]]}]");
  reply = api_statement(w->api, id, "bank_a", "'sql':'SELECT balance FROM account WHERE id = 1'");
  CHECK_INTEGER(reply, "/branch", 1);
  CHECK_JSON(reply, "/results/0/rows", "[[990]]");
  CHECK_STRING(api_read(w->api, id), "/state", "open");
  CHECK_MOVED(w, 0);
  reply = api_commit(w->api, id);
  CHECK_STATUS(reply, 200);
  CHECK_STRING(reply, "/state", "committed");
  CHECK_STRING(reply, "/label", "open");
  CHECK_MOVED(w, 10);
  world_close(w);
}
IN_BOTH_MODES(open_transaction_runs_statements_and_commits)

/* Each call is answered when its own branch is done, with its own results. */
static void statement_does_not_wait_for_another_branch(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  const char *id = api_begin(w->api, "{}");
  CHECK_STATUS(api_statement(w->api, id, "bank_b", "'sql':'SELECT 0'"), 200);
  PGconn *holder = world_connect(w, BANK_B);
  world_run_on(holder, "SELECT pg_advisory_lock(77)");
  struct async *slow =
      async_post(w->api, api_text(w->api, "/v1/transactions/%s/statements", id),
                 "{'participant':'bank_b','sql':'SELECT 7 FROM pg_advisory_xact_lock(77)'}");
  UNTIL(world_integer(w, BANK_B,
                      "SELECT count(*) FROM pg_locks WHERE objid = 77 AND NOT granted") == 1);
  const struct reply *reply = api_statement(w->api, id, "bank_a", "'sql':'SELECT 1'");
  CHECK_JSON(reply, "/results/0/rows", "[[1]]");
  reply = api_statement(w->api, id, "bank_a", "'sql':'SELECT 2'");
  CHECK_JSON(reply, "/results/0/rows", "[[2]]");
  CU_ASSERT_FALSE(async_is_done(slow));
  PQfinish(holder);
  CHECK_JSON(async_finish(slow), "/results/0/rows", "[[7]]");
  CHECK_STATUS(api_commit(w->api, id), 200);
  world_close(w);
}
IN_BOTH_MODES(statement_does_not_wait_for_another_branch)

static void begin_with_statements_answers_their_results(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  const struct reply *reply = api_run(w->api, "{'branches':[" TRANSFER(10) "]}");
  CHECK_STATUS(reply, 201);
  CHECK_STRING(reply, "/state", "open");
  CHECK_INTEGER(reply, "/branches/1/results/0/rows_affected", 1);
  CHECK_MOVED(w, 0);
  CHECK_STATUS(api_commit(w->api, reply_string(reply, "/id")), 200);
  CHECK_MOVED(w, 10);
  world_close(w);
}
IN_BOTH_MODES(begin_with_statements_answers_their_results)

static void begin_answers_where_the_transaction_is(void) {
  struct world *w = world_open(WORLD_EMBEDDED, NULL);
  static const char request[] = "POST /v1/transactions HTTP/1.1\r\nHost: localhost\r\n"
                                "Connection: close\r\nContent-Length: 0\r\n\r\n";
  const struct reply *reply = api_raw(w->api, request, strlen(request));
  CHECK_STATUS(reply, 201);
  const char *location =
      api_text(w->api, "Location: /v1/transactions/%s", reply_string(reply, "/id"));
  CU_ASSERT_PTR_NOT_NULL(strstr(reply->headers, location));
  CU_ASSERT_PTR_NOT_NULL(strstr(reply->headers, "Content-Type: application/json"));
  CHECK_STATUS(api_rollback(w->api, reply_string(reply, "/id")), 200);
  world_close(w);
}

static void rollback_undoes_and_may_be_repeated(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  const char *id = reply_string(api_run(w->api, "{'branches':[" TRANSFER(10) "]}"), "/id");
  for (int i = 0; i < 2; i++) {
    const struct reply *reply = api_rollback(w->api, id);
    CHECK_STATUS(reply, 200);
    CHECK_STRING(reply, "/outcome", "aborted");
    CHECK_STRING(reply, "/cause/kind", "client");
  }
  CHECK_MOVED(w, 0);
  world_close(w);
}
IN_BOTH_MODES(rollback_undoes_and_may_be_repeated)

/* ---- asked again ----------------------------------------------------------------------------- */

static void committed_transaction_answers_the_same_again(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  const char *id = reply_string(api_run(w->api, ONE_CALL("", TRANSFER(10))), "/id");
  const struct reply *first = api_commit(w->api, id), *second = api_commit(w->api, id);
  const struct reply *read = api_read(w->api, id);
  CHECK_STATUS(first, 200);
  CHECK_STRING(first, "/outcome", "committed");
  CU_ASSERT_STRING_EQUAL(first->text, second->text);
  CU_ASSERT_STRING_EQUAL(first->text, read->text);
  const struct reply *rollback = api_rollback(w->api, id);
  CHECK_PROBLEM(rollback, 409, "committed");
  CHECK_STRING(rollback, "/transaction/id", id);
  CHECK_STRING(rollback, "/transaction/outcome", "committed");
  CHECK_PROBLEM(api_statement(w->api, id, "bank_a", "'sql':'SELECT 1'"), 409, "committed");
  CHECK_MOVED(w, 10);
  world_close(w);
}
IN_BOTH_MODES(committed_transaction_answers_the_same_again)

static void aborted_transaction_answers_the_same_again(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  const char *id = reply_string(api_run(w->api, "{'branches':[" TRANSFER(10) "]}"), "/id");
  CHECK_STATUS(api_rollback(w->api, id), 200);
  for (int i = 0; i < 2; i++) {
    const struct reply *commit = api_commit(w->api, id);
    CHECK_PROBLEM(commit, 409, "aborted");
    CHECK_STRING(commit, "/transaction/id", id);
    CHECK_STRING(commit, "/transaction/state", "aborted");
  }
  CHECK_PROBLEM(api_statement(w->api, id, "bank_a", "'sql':'SELECT 1'"), 409, "aborted");
  CHECK_PROBLEM(api_post(w->api, api_text(w->api, "/v1/transactions/%s/branches", id),
                         "{'participant':'bank_a'}"),
                409, "aborted");
  CHECK_STRING(api_read(w->api, id), "/outcome", "aborted");
  world_close(w);
}
IN_BOTH_MODES(aborted_transaction_answers_the_same_again)

/* ---- values ---------------------------------------------------------------------------------- */

static void results_have_the_types_of_their_columns(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  const struct reply *reply = api_run(
      w->api,
      ONE_CALL("", BRANCH("bank_a",
                          STATEMENT(
                              "SELECT 1::int2 AS i2, 2::int4 AS i4, 9007199254740993::int8 AS i8, "
                              "0.5::float4 AS f4, 0.1::float8 AS f8, true AS b, "
                              "12345678901234567890.10::numeric AS n, $$x\\\"y$$::text AS t, "
                              "null::int4 AS nothing, $${\\\"a\\\": 1}$$::jsonb AS j"))));
  CHECK_STATUS(reply, 200);
  CHECK_JSON(reply, "/branches/0/results/0/columns",
             "['i2','i4','i8','f4','f8','b','n','t','nothing','j']");
  CHECK_JSON(reply, "/branches/0/results/0/rows/0",
             "[1,2,9007199254740993,0.5,0.1,true,'12345678901234567890.10','x\\'y',null,"
             "'{\\'a\\': 1}']");
  world_close(w);
}
IN_BOTH_MODES(results_have_the_types_of_their_columns)

static void parameters_arrive_as_the_values_they_are(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  const struct reply *reply =
      api_run(w->api,
              ONE_CALL("", BRANCH("bank_b", "{'sql':'SELECT $1::text IS NULL, $2::bool, $3::int8, "
                                            "$4::numeric::text, $5::text, $6::jsonb->>0, "
                                            "$7::jsonb->>$8',"
                                            "'params':[null,true,-9223372036854775808,0.1,'it$',"
                                            "[7],{'k':'v'},'k']}")));
  CHECK_STATUS(reply, 200);
  CHECK_JSON(reply, "/branches/0/results/0/rows/0",
             "[true,true,-9223372036854775808,'0.1','it$','7','v']");
  world_close(w);
}
IN_BOTH_MODES(parameters_arrive_as_the_values_they_are)

/* ---- branches that the application prepares -------------------------------------------------- */

static const char *enlist_external(struct world *w, const char *id, const char *participant) {
  const struct reply *reply = api_post(w->api, api_text(w->api, "/v1/transactions/%s/branches", id),
                                       "{'participant':'%s'}", participant);
  CHECK_STATUS(reply, 201);
  return reply_string(reply, "/gid");
}

static void prepare_externally(struct world *w, int bank, const char *sql, const char *gid) {
  PGconn *session = world_connect(w, bank);
  world_run_on(session, "BEGIN");
  world_run_on(session, sql);
  world_run_on(session, api_text(w->api, "PREPARE TRANSACTION '%s'", gid));
  PQfinish(session);
}

static void external_branch_prepared_commits(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  const char *id = api_begin(w->api, "{}");
  CHECK_STATUS(api_statement(w->api, id, "bank_a",
                             "'sql':'UPDATE account SET balance = balance - 10 WHERE id = 1'"),
               200);
  const char *gid = enlist_external(w, id, "bank_b");
  prepare_externally(w, BANK_B, "UPDATE account SET balance = balance + 10 WHERE id = 1", gid);
  const struct reply *reply = api_commit(w->api, id);
  CHECK_STATUS(reply, 200);
  CHECK_STRING(reply, "/branches/1/gid", gid);
  CHECK_STRING(reply, "/branches/1/state", "committed");
  CHECK_MOVED(w, 10);
  world_close(w);
}
IN_BOTH_MODES(external_branch_prepared_commits)

static void external_branch_not_prepared_aborts(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  const char *id =
      reply_string(api_run(w->api, "{'branches':[" BRANCH("bank_a", DEBIT(10)) "]}"), "/id");
  (void)enlist_external(w, id, "bank_b");
  const struct reply *reply = api_commit(w->api, id);
  CHECK_PROBLEM(reply, 409, "aborted");
  CHECK_INTEGER(reply, "/transaction/cause/branch", 2);
  CHECK_MOVED(w, 0);
  world_close(w);
}
IN_BOTH_MODES(external_branch_not_prepared_aborts)

/* The agent of bank_b acts as a role that may not end what the application's role has prepared. */
static void external_branch_of_another_role_aborts(void) {
  struct world *w = world_open(WORLD_EMBEDDED, NULL);
  world_sql(w, BANK_B,
            "DO $$ BEGIN IF to_regrole('clerk') IS NULL THEN CREATE ROLE clerk; END IF; END $$; "
            "GRANT USAGE ON SCHEMA assent TO clerk; GRANT SELECT ON ALL TABLES IN SCHEMA public "
            "TO clerk; GRANT SELECT, INSERT, UPDATE ON assent.coordinator TO clerk; "
            "ALTER ROLE CURRENT_USER IN DATABASE %s SET role = 'clerk'",
            w->database[BANK_B]);
  world_restart(w, COORDINATOR);
  const char *id =
      reply_string(api_run(w->api, "{'branches':[" BRANCH("bank_a", DEBIT(10)) "]}"), "/id");
  const char *gid = enlist_external(w, id, "bank_b");
  PGconn *application = world_connect(w, BANK_B);
  world_run_on(application, "SET ROLE NONE");
  world_run_on(application, "BEGIN");
  world_run_on(application, "UPDATE account SET balance = balance + 10 WHERE id = 1");
  world_run_on(application, api_text(w->api, "PREPARE TRANSACTION '%s'", gid));
  const struct reply *reply = api_commit(w->api, id);
  CHECK_PROBLEM(reply, 409, "aborted");
  CHECK_INTEGER(reply, "/transaction/cause/branch", 2);
  CHECK_STRING(reply, "/transaction/cause/kind", "client");
  CU_ASSERT_PTR_NOT_NULL(strstr(reply->text, "prepared by role"));
  CU_ASSERT_PTR_NOT_NULL(strstr(reply->text, PQuser(application)));
  CU_ASSERT_PTR_NOT_NULL(strstr(reply->text, "clerk"));
  world_run_on(application, api_text(w->api, "ROLLBACK PREPARED '%s'", gid));
  world_run_on(application, api_text(w->api, "ALTER ROLE CURRENT_USER IN DATABASE %s RESET role",
                                     w->database[BANK_B]));
  PQfinish(application);
  UNTIL(strcmp(reply_string(api_read(w->api, id), "/branches/1/state"), "aborted") == 0);
  CHECK_MOVED(w, 0);
  world_close(w);
}

static void external_branch_prepared_after_the_abort_is_swept(enum world_mode mode) {
  struct world *w =
      world_open(mode, &(struct world_options){.settings = "sweep_interval = 200ms\n"});
  const char *id = api_begin(w->api, "{}");
  const char *gid = enlist_external(w, id, "bank_b");
  CHECK_STATUS(api_rollback(w->api, id), 200);
  prepare_externally(w, BANK_B, "UPDATE account SET balance = 0 WHERE id = 1", gid);
  world_wait_nothing_prepared(w);
  CHECK_MOVED(w, 0);
  world_close(w);
}
IN_BOTH_MODES(external_branch_prepared_after_the_abort_is_swept)

/* A gid is told only once its participant knows the coordinator's life: what is prepared under a gid
 * of a life that no database has seen could be another coordinator's, and nobody would end it. */
static void external_branch_of_a_participant_that_is_away_is_refused(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  world_kill(w, COORDINATOR);
  world_server_kill(w, BANK_B);
  world_start(w, COORDINATOR, NULL);
  world_wait_ready(w);
  const char *id = api_begin(w->api, "{}");
  const char *path = api_text(w->api, "/v1/transactions/%s/branches", id);
  const struct reply *reply = api_post(w->api, path, "{'participant':'bank_b'}");
  CHECK_PROBLEM(reply, 503, "unavailable");
  CU_ASSERT_PTR_NOT_NULL(strstr(reply->text, "bank_b"));
  CHECK_STRING(api_read(w->api, id), "/state", "open");
  world_server_start(w, BANK_B);
  UNTIL(api_post(w->api, path, "{'participant':'bank_b'}")->status == 201);
  CHECK_STATUS(api_rollback(w->api, id), 200);
  world_close(w);
}
IN_BOTH_MODES(external_branch_of_a_participant_that_is_away_is_refused)

static void branch_of_both_kinds_is_refused(void) {
  struct world *w = world_open(WORLD_EMBEDDED, NULL);
  const char *id = api_begin(w->api, "{}");
  (void)enlist_external(w, id, "bank_b");
  CHECK_PROBLEM(api_statement(w->api, id, "bank_b", "'sql':'SELECT 1'"), 422, "invalid");
  CHECK_STATUS(api_statement(w->api, id, "bank_a", "'sql':'SELECT 1'"), 200);
  CHECK_PROBLEM(api_post(w->api, api_text(w->api, "/v1/transactions/%s/branches", id),
                         "{'participant':'bank_a'}"),
                422, "invalid");
  CHECK_STATUS(api_rollback(w->api, id), 200);
  world_close(w);
}

SUITE(api, BOTH(transfer_in_one_call_commits), BOTH(transfer_that_waits_until_decided_commits),
      BOTH(transfer_within_one_server_commits), BOTH(branch_that_only_read_leaves_phase_two),
      BOTH(transaction_that_only_read_commits_and_is_found_again),
      BOTH(single_branch_commits_in_one_phase), BOTH(open_transaction_runs_statements_and_commits),
      BOTH(statement_does_not_wait_for_another_branch),
      BOTH(begin_with_statements_answers_their_results),
      CASE(begin_answers_where_the_transaction_is), BOTH(rollback_undoes_and_may_be_repeated),
      BOTH(committed_transaction_answers_the_same_again),
      BOTH(aborted_transaction_answers_the_same_again),
      BOTH(results_have_the_types_of_their_columns), BOTH(parameters_arrive_as_the_values_they_are),
      BOTH(external_branch_prepared_commits), BOTH(external_branch_not_prepared_aborts),
      CASE(external_branch_of_another_role_aborts),
      BOTH(external_branch_prepared_after_the_abort_is_swept),
      BOTH(external_branch_of_a_participant_that_is_away_is_refused),
      CASE(branch_of_both_kinds_is_refused))
