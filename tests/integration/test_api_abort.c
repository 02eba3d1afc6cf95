/* Transactions that cannot commit: what the database or the request refuses, what takes too long,
 * and that nothing of them stays. */
#include "tests/lib/world.h"

#include <string.h>

/* Runs it, expects an abort with this cause, and that nothing has changed. */
static void check_aborts(enum world_mode mode, const char *branches, const char *kind,
                         const char *cause_members) {
  struct world *w = world_open(mode, NULL);
  const struct reply *reply = api_run(w->api, "{'commit':true,'branches':[%s]}", branches);
  CHECK_PROBLEM(reply, 409, "aborted");
  CHECK_STRING(reply, "/transaction/outcome", "aborted");
  CHECK_STRING(reply, "/transaction/cause/kind", kind);
  json_t *expected = json_loads(cause_members, 0, NULL);
  const char *name;
  json_t *value;
  json_object_foreach(expected, name, value) {
    char pointer[64], text[64];
    (void)snprintf(pointer, sizeof pointer, "/transaction/cause/%s", name);
    char *dumped = json_dumps(value, JSON_ENCODE_ANY);
    (void)snprintf(text, sizeof text, "%s", dumped);
    free(dumped);
    CHECK_JSON(reply, pointer, text);
  }
  json_decref(expected);
  const struct reply *read = api_read(w->api, reply_string(reply, "/transaction/id"));
  CHECK_STRING(read, "/outcome", "aborted");
  CHECK_STRING(read, "/cause/kind", kind);
  CHECK_MOVED(w, 0);
  CU_ASSERT_EQUAL(world_prepared(w, BANK_A) + world_prepared(w, BANK_B), 0);
  world_close(w);
}

static void statement_with_an_error_aborts(enum world_mode mode) {
  check_aborts(mode,
               BRANCH("bank_a", DEBIT(10)) "," BRANCH("bank_b", CREDIT(10) "," STATEMENT(
                                                                    "SELECT * FROM nowhere")),
               "statement", "{\"branch\": 2, \"statement\": 1, \"sqlstate\": \"42P01\"}");
}
IN_BOTH_MODES(statement_with_an_error_aborts)

static void constraint_violated_aborts(enum world_mode mode) {
  check_aborts(mode, TRANSFER(1001), "statement",
               "{\"branch\": 1, \"statement\": 0, \"sqlstate\": \"23514\"}");
}
IN_BOTH_MODES(constraint_violated_aborts)

static void deferred_constraint_violated_at_prepare_aborts(enum world_mode mode) {
  check_aborts(mode,
               BRANCH("bank_a", DEBIT(10)) "," BRANCH(
                   "bank_b", CREDIT(10) "," STATEMENT("INSERT INTO promise VALUES (99)")),
               "statement", "{\"branch\": 2, \"sqlstate\": \"23503\"}");
}
IN_BOTH_MODES(deferred_constraint_violated_at_prepare_aborts)

static void deferred_constraint_violated_in_a_single_branch_aborts(enum world_mode mode) {
  check_aborts(mode, BRANCH("bank_b", CREDIT(10) "," STATEMENT("INSERT INTO promise VALUES (99)")),
               "statement", "{\"branch\": 1, \"sqlstate\": \"23503\"}");
}
IN_BOTH_MODES(deferred_constraint_violated_in_a_single_branch_aborts)

static void other_number_of_rows_than_expected_aborts(enum world_mode mode) {
  check_aborts(mode,
               BRANCH("bank_a", DEBIT(10)) "," BRANCH(
                   "bank_b", "{'sql':'UPDATE account SET balance = balance + 10 WHERE id = 99',"
                             "'expect_rows':1}"),
               "expectation", "{\"branch\": 2, \"statement\": 0}");
}
IN_BOTH_MODES(other_number_of_rows_than_expected_aborts)

/* Whoever could commit a branch by a statement could commit one without the others. */
static void statement_that_ends_the_transaction_aborts(enum world_mode mode) {
  static const char *const endings[] = {
      "COMMIT",
      "ROLLBACK",
      "END",
      "ABORT",
      "commit and chain",
      "-- a comment\\nCOMMIT",
      "/* a comment */ COMMIT",
      "PREPARE TRANSACTION $$mine$$",
      "DO $$ BEGIN COMMIT; END $$",
      "SELECT 1; COMMIT",
  };
  struct world *w = world_open(mode, NULL);
  for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
    const struct reply *reply =
        api_run(w->api,
                "{'commit':true,'branches':[" BRANCH(
                    "bank_a", DEBIT(10)) ",{'participant':"
                                         "'bank_b','statements':[" CREDIT(10) ",{'sql':'%s'}]}]}",
                endings[i]);
    if (reply->status != 409)
      check_failed(__FILE__, __LINE__, false, "for the statement %s", endings[i]);
    CHECK_PROBLEM(reply, 409, "aborted");
    CHECK_MOVED(w, 0);
  }
  world_close(w);
}
IN_BOTH_MODES(statement_that_ends_the_transaction_aborts)

static void statement_that_ends_an_open_transaction_aborts_it(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  const char *id = reply_string(api_run(w->api, "{'branches':[" TRANSFER(10) "]}"), "/id");
  CHECK_PROBLEM(api_statement(w->api, id, "bank_b", "'sql':'COMMIT'"), 409, "aborted");
  CHECK_PROBLEM(api_commit(w->api, id), 409, "aborted");
  CHECK_MOVED(w, 0);
  world_close(w);
}
IN_BOTH_MODES(statement_that_ends_an_open_transaction_aborts_it)

/* What one transaction sets on a connection the next one does not find. */
static void setting_of_a_transaction_does_not_reach_the_next(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  CHECK_STATUS(api_run(w->api,
                       ONE_CALL("", BRANCH("bank_a", STATEMENT("SET work_mem = 1234") "," DEBIT(
                                                         10)) "," BRANCH("bank_b", CREDIT(10)))),
               200);
  for (int i = 0; i < 10; i++) {
    const struct reply *reply =
        api_run(w->api, ONE_CALL("", BRANCH("bank_a", STATEMENT("SHOW work_mem"))));
    CHECK_JSON(reply, "/branches/0/results/0/rows", "[['4MB']]");
  }
  CHECK_MOVED(w, 10);
  world_close(w);
}
IN_BOTH_MODES(setting_of_a_transaction_does_not_reach_the_next)

static void open_transaction_with_a_failed_statement_aborts(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  const char *id = reply_string(api_run(w->api, "{'branches':[" TRANSFER(10) "]}"), "/id");
  const struct reply *reply = api_statement(w->api, id, "bank_b", "'sql':'SELECT 1/0'");
  CHECK_PROBLEM(reply, 409, "aborted");
  CHECK_STRING(reply, "/transaction/cause/sqlstate", "22012");
  CHECK_PROBLEM(api_commit(w->api, id), 409, "aborted");
  CHECK_STATUS(api_rollback(w->api, id), 200);
  CHECK_MOVED(w, 0);
  world_close(w);
}
IN_BOTH_MODES(open_transaction_with_a_failed_statement_aborts)

/* ---- waiting for others ---------------------------------------------------------------------- */

/* The wait for the lock is given up a little before the transaction's time is over, so that it is called
 * by its name; on a busy machine the time may be over first. */
static void lock_held_by_another_aborts_within_the_timeout(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  PGconn *other = world_connect(w, BANK_B);
  world_run_on(other, "BEGIN");
  world_run_on(other, "UPDATE account SET balance = balance WHERE id = 1");
  const struct reply *reply = api_run(w->api, ONE_CALL("'timeout_ms':300,", TRANSFER(10)));
  CHECK_PROBLEM(reply, 409, "aborted");
  CHECK_GAVE_WAY(reply);
  CU_ASSERT_EQUAL(PQtransactionStatus(other), PQTRANS_INTRANS);
  PQfinish(other);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(10))), 200);
  CHECK_MOVED(w, 10);
  world_close(w);
}
IN_BOTH_MODES(lock_held_by_another_aborts_within_the_timeout)

static void deadlock_within_a_database_aborts_one_of_two(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  const char *first = api_begin(w->api, "{}"), *second = api_begin(w->api, "{}");
  static const char lock_1[] = "'sql':'UPDATE account SET balance = balance WHERE id = 1'";
  static const char lock_2[] = "'sql':'UPDATE account SET balance = balance WHERE id = 2'";
  CHECK_STATUS(api_statement(w->api, first, "bank_a", lock_1), 200);
  CHECK_STATUS(api_statement(w->api, second, "bank_a", lock_2), 200);
  struct async *crossing =
      async_post(w->api, api_text(w->api, "/v1/transactions/%s/statements", first),
                 api_text(w->api, "{'participant':'bank_a',%s}", lock_2));
  const struct reply *b = api_statement(w->api, second, "bank_a", lock_1);
  const struct reply *a = async_finish(crossing);
  const struct reply *loser = a->status == 409 ? a : b, *winner = a->status == 409 ? b : a;
  CHECK_PROBLEM(loser, 409, "aborted");
  CHECK_STRING(loser, "/transaction/cause/kind", "deadlock");
  CHECK_STRING(loser, "/transaction/cause/sqlstate", "40P01");
  CHECK_STATUS(winner, 200);
  CHECK_STATUS(api_commit(w->api, winner == a ? first : second), 200);
  world_close(w);
}
IN_BOTH_MODES(deadlock_within_a_database_aborts_one_of_two)

static void deadlock_across_databases_ends_at_the_timeout(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  static const char lock[] = "'sql':'UPDATE account SET balance = balance WHERE id = 1'";
  const char *first = api_begin(w->api, "{'timeout_ms':700}");
  const char *second = api_begin(w->api, "{'timeout_ms':20000}");
  CHECK_STATUS(api_statement(w->api, first, "bank_a", lock), 200);
  CHECK_STATUS(api_statement(w->api, second, "bank_b", lock), 200);
  struct async *crossing =
      async_post(w->api, api_text(w->api, "/v1/transactions/%s/statements", first),
                 api_text(w->api, "{'participant':'bank_b',%s}", lock));
  CHECK_STATUS(api_statement(w->api, second, "bank_a", lock), 200);
  const struct reply *loser = async_finish(crossing);
  CHECK_PROBLEM(loser, 409, "aborted");
  CHECK_STRING(loser, "/transaction/cause/kind", "conflict");
  CHECK_STATUS(api_commit(w->api, second), 200);
  world_close(w);
}
IN_BOTH_MODES(deadlock_across_databases_ends_at_the_timeout)

static int64_t idle_in_transaction(const struct world *w, int bank) {
  return world_integer(w, bank,
                       "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                       "AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%%'");
}

static void open_transaction_left_alone_aborts_at_its_timeout(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  const struct reply *reply =
      api_run(w->api, "{'timeout_ms':300,'label':'left','branches':[" TRANSFER(10) "]}");
  CHECK_STATUS(reply, 201);
  UNTIL(strcmp(api_outcome(w->api, "left"), "aborted") == 0);
  CHECK_STRING(api_read(w->api, reply_string(reply, "/id")), "/cause/kind", "timeout");
  UNTIL(idle_in_transaction(w, BANK_A) + idle_in_transaction(w, BANK_B) == 0);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(10))), 200);
  CHECK_MOVED(w, 10);
  world_close(w);
}
IN_BOTH_MODES(open_transaction_left_alone_aborts_at_its_timeout)

static void second_statement_in_a_busy_branch_is_refused(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  PGconn *other = world_connect(w, BANK_A);
  world_run_on(other, "BEGIN");
  world_run_on(other, "UPDATE account SET balance = balance WHERE id = 1");
  const char *id = api_begin(w->api, "{}");
  struct async *waiting =
      async_post(w->api, api_text(w->api, "/v1/transactions/%s/statements", id),
                 "{'participant':'bank_a','sql':'UPDATE account SET balance = 5 WHERE id = 1'}");
  UNTIL(world_integer(w, BANK_A, "SELECT count(*) FROM pg_locks WHERE NOT granted") == 1);
  CHECK_PROBLEM(api_statement(w->api, id, "bank_a", "'sql':'SELECT 1'"), 409, "busy");
  CHECK_PROBLEM(api_commit(w->api, id), 409, "busy");
  PQfinish(other);
  CHECK_STATUS(async_finish(waiting), 200);
  CHECK_STATUS(api_rollback(w->api, id), 200);
  CHECK_MOVED(w, 0);
  world_close(w);
}
IN_BOTH_MODES(second_statement_in_a_busy_branch_is_refused)

static void rollback_while_a_statement_waits_frees_its_session(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  PGconn *other = world_connect(w, BANK_A);
  world_run_on(other, "BEGIN");
  world_run_on(other, "UPDATE account SET balance = balance WHERE id = 1");
  const char *id = api_begin(w->api, "{}");
  struct async *waiting =
      async_post(w->api, api_text(w->api, "/v1/transactions/%s/statements", id),
                 "{'participant':'bank_a','sql':'UPDATE account SET balance = 5 WHERE id = 1'}");
  UNTIL(world_integer(w, BANK_A, "SELECT count(*) FROM pg_locks WHERE NOT granted") == 1);
  CHECK_STATUS(api_rollback(w->api, id), 200);
  CHECK_PROBLEM(async_finish(waiting), 409, "aborted");
  UNTIL(world_integer(w, BANK_A, "SELECT count(*) FROM pg_locks WHERE NOT granted") == 0);
  PQfinish(other);
  CHECK_MOVED(w, 0);
  world_close(w);
}
IN_BOTH_MODES(rollback_while_a_statement_waits_frees_its_session)

/* ---- more than there are connections --------------------------------------------------------- */

static void transaction_waits_for_a_connection_until_its_timeout(enum world_mode mode) {
  struct world *w = world_open(mode, &(struct world_options){.database = "connections = 1\n"});
  const char *holder = reply_string(api_run(w->api, "{'branches':[" TRANSFER(10) "]}"), "/id");
  const struct reply *late = api_run(w->api, ONE_CALL("'timeout_ms':200,", TRANSFER(10)));
  CHECK_PROBLEM(late, 409, "aborted");
  CHECK_STRING(late, "/transaction/cause/kind", "timeout");
  struct async *patient =
      async_post(w->api, "/v1/transactions", ONE_CALL("'label':'patient',", TRANSFER(1)));
  UNTIL(json_integer_value(reply_at(api_get(w->api, "/v1/participants/bank_a"), "/waiting")) == 1);
  CHECK_STATUS(api_commit(w->api, holder), 200);
  CHECK_STATUS(async_finish(patient), 200);
  CHECK_MOVED(w, 11);
  world_close(w);
}
IN_BOTH_MODES(transaction_waits_for_a_connection_until_its_timeout)

static void transaction_over_the_queue_limit_is_refused_at_once(enum world_mode mode) {
  struct world *w =
      world_open(mode, &(struct world_options){.database = "connections = 1\nwaiting = 1\n"});
  const char *holder = reply_string(api_run(w->api, "{'branches':[" TRANSFER(10) "]}"), "/id");
  struct async *patient = async_post(w->api, "/v1/transactions", ONE_CALL("", TRANSFER(1)));
  UNTIL(json_integer_value(reply_at(api_get(w->api, "/v1/participants/bank_a"), "/waiting")) == 1);
  const struct reply *reply = api_keyed(w->api, "once", ONE_CALL("", TRANSFER(100)));
  CHECK_LIMIT(reply, 503, "overloaded", "waiting", 1);
  CU_ASSERT_TRUE(reply_has_header(reply, "Retry-After: 1"));
  CHECK_STRING(reply, "/transaction/cause/kind", "limit");
  CHECK_STATUS(api_commit(w->api, holder), 200);
  CHECK_STATUS(async_finish(patient), 200);
  CHECK_STATUS(api_keyed(w->api, "once", ONE_CALL("", TRANSFER(100))), 200);
  CHECK_MOVED(w, 111);
  world_close(w);
}
IN_BOTH_MODES(transaction_over_the_queue_limit_is_refused_at_once)

/* ---- refused before anything is begun -------------------------------------------------------- */

static void check_refused(struct world *w, const char *branches, const char *code,
                          const char *field) {
  const struct reply *reply =
      api_run(w->api, "{'commit':true,'label':'refused','branches':[%s]}", branches);
  CHECK_PROBLEM(reply, 422, code);
  CHECK_STRING(reply, "/field", field);
  CU_ASSERT_PTR_NULL(api_find(w->api, "refused"));
}

static void participants_that_cannot_be_are_refused_by_name(void) {
  struct world *w = world_open(WORLD_EMBEDDED, NULL);
  check_refused(w, BRANCH("bank_a", DEBIT(1)) "," BRANCH("bank_z", CREDIT(1)),
                "unknown_participant", "/branches/1/participant");
  check_refused(w, BRANCH("bank_a", DEBIT(1)) "," BRANCH("bank_a", CREDIT(1)), "invalid",
                "/branches/1/participant");
  check_refused(w, "", "invalid", "/branches");
  const struct reply *none = api_run(w->api, "{'commit':true}");
  CHECK_PROBLEM(none, 422, "invalid");
  CHECK_STRING(none, "/field", "/branches");
  const char *id = api_begin(w->api, "{}");
  const struct reply *unknown = api_statement(w->api, id, "bank_z", "'sql':'SELECT 1'");
  CHECK_PROBLEM(unknown, 422, "unknown_participant");
  CHECK_STRING(unknown, "/field", "/participant");
  CHECK_PROBLEM(api_commit(w->api, id), 422, "invalid");
  CHECK_STATUS(api_rollback(w->api, id), 200);
  CHECK_MOVED(w, 0);
  world_close(w);
}

SUITE(api_abort, BOTH(statement_with_an_error_aborts), BOTH(constraint_violated_aborts),
      BOTH(deferred_constraint_violated_at_prepare_aborts),
      BOTH(deferred_constraint_violated_in_a_single_branch_aborts),
      BOTH(other_number_of_rows_than_expected_aborts),
      BOTH(statement_that_ends_the_transaction_aborts),
      BOTH(statement_that_ends_an_open_transaction_aborts_it),
      BOTH(setting_of_a_transaction_does_not_reach_the_next),
      BOTH(open_transaction_with_a_failed_statement_aborts),
      BOTH(lock_held_by_another_aborts_within_the_timeout),
      BOTH(deadlock_within_a_database_aborts_one_of_two),
      BOTH(deadlock_across_databases_ends_at_the_timeout),
      BOTH(open_transaction_left_alone_aborts_at_its_timeout),
      BOTH(second_statement_in_a_busy_branch_is_refused),
      BOTH(rollback_while_a_statement_waits_frees_its_session),
      BOTH(transaction_waits_for_a_connection_until_its_timeout),
      BOTH(transaction_over_the_queue_limit_is_refused_at_once),
      CASE(participants_that_cannot_be_are_refused_by_name))
