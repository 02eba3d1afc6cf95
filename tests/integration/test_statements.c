/* Participants that are limited to the named statements of a file: at the coordinator, and at an agent
 * whoever calls it. */
#include "tests/lib/world.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define FILE_TEXT                                                                                  \
  "[statement.debit]\nparams = numeric, int8\nexpect_rows = 1\n"                                   \
  "sql =\n  UPDATE account SET balance = balance - $1\n   WHERE id = $2\n"                         \
  "[statement.credit]\nparams = numeric, int8\n"                                                   \
  "sql = UPDATE account SET balance = balance + $1 WHERE id = $2 RETURNING '$3;' AS price\n"       \
  "[statement.types]\nparams = int8, numeric, text[], unknown\n"                                   \
  "sql = SELECT pg_typeof($1)::text, pg_typeof($2)::text, pg_typeof($3)::text, coalesce($4, 1) = " \
  "1\n"

static const struct world_options limited = {.statements = FILE_TEXT};

#define NAMED(name, params) "{'name':'" name "','params':" params "}"
#define NAMED_TRANSFER(amount)                                                                     \
  BRANCH("bank_a", NAMED("debit", "[" #amount ",1]"))                                              \
  "," BRANCH("bank_b", NAMED("credit", "['" #amount "',1]"))

static void transfer_by_names_commits(enum world_mode mode) {
  struct world *w = world_open(mode, &limited);
  const struct reply *reply = api_run(w->api, ONE_CALL("", NAMED_TRANSFER(10)));
  CHECK_STATUS(reply, 200);
  CHECK_JSON(reply, "/branches/1/results/0/rows", "[['$3;']]");
  const char *id = api_begin(w->api, "{}");
  CHECK_STATUS(api_statement(w->api, id, "bank_a", "'name':'debit','params':[5,1]"), 200);
  CHECK_STATUS(
      api_statement(w->api, id, "bank_b", "'name':'credit','params':[5,1],'expect_rows':1"), 200);
  CHECK_STATUS(api_commit(w->api, id), 200);
  CHECK_MOVED(w, 15);
  world_close(w);
}
IN_BOTH_MODES(transfer_by_names_commits)

static void parameters_have_the_types_of_the_file(enum world_mode mode) {
  struct world *w = world_open(mode, &limited);
  const struct reply *reply =
      api_run(w->api, ONE_CALL("", BRANCH("bank_a", NAMED("types", "[1,'2.50',['{}'],null]"))));
  CHECK_STATUS(reply, 409); /* a JSON array is no array of the database's */
  reply = api_run(w->api, ONE_CALL("", BRANCH("bank_a", NAMED("types", "[1,'2.50','{}',null]"))));
  CHECK_STATUS(reply, 200);
  CHECK_JSON(reply, "/branches/0/results/0/rows", "[['bigint','numeric','text[]',true]]");
  reply = api_run(w->api, ONE_CALL("", BRANCH("bank_a", NAMED("debit", "[1,'one']"))));
  CHECK_PROBLEM(reply, 409, "aborted");
  CHECK_STRING(reply, "/transaction/cause/kind", "statement");
  CHECK_STRING(reply, "/transaction/cause/sqlstate", "22P02");
  CHECK_MOVED(w, 0);
  world_close(w);
}
IN_BOTH_MODES(parameters_have_the_types_of_the_file)

static void fixed_expectation_aborts(enum world_mode mode) {
  struct world *w = world_open(mode, &limited);
  const struct reply *reply =
      api_run(w->api, ONE_CALL("", BRANCH("bank_a", NAMED("debit", "[1,99]"))));
  CHECK_PROBLEM(reply, 409, "aborted");
  CHECK_STRING(reply, "/transaction/cause/kind", "expectation");
  world_close(w);
}
IN_BOTH_MODES(fixed_expectation_aborts)

static void check_nothing_begun(struct world *w) {
  const struct reply *list = api_get(w->api, "/v1/transactions");
  CU_ASSERT_EQUAL(json_array_size(reply_at(list, "/transactions")), 0);
}

static void sql_of_a_client_is_403(enum world_mode mode) {
  struct world *w = world_open(mode, &limited);
  const struct reply *reply = api_run(w->api, ONE_CALL("", TRANSFER(1)));
  CHECK_PROBLEM(reply, 403, "sql_not_allowed");
  CHECK_STRING(reply, "/field", "/branches/0/statements/0/sql");
  reply = api_run(w->api, ONE_CALL("", BRANCH("bank_a", NAMED("debit", "[1,1]")) "," BRANCH(
                                           "bank_b", NAMED("credit", "[1,1]") "," CREDIT(1))));
  CHECK_PROBLEM(reply, 403, "sql_not_allowed");
  CHECK_STRING(reply, "/field", "/branches/1/statements/1/sql");
  check_nothing_begun(w);
  const char *id = api_begin(w->api, "{}");
  reply = api_statement(w->api, id, "bank_a", "'sql':'SELECT 1'");
  CHECK_PROBLEM(reply, 403, "sql_not_allowed");
  CHECK_STRING(reply, "/field", "/sql");
  reply = api_post(w->api, api_text(w->api, "/v1/transactions/%s/branches", id),
                   "{'participant':'bank_a'}");
  CHECK_PROBLEM(reply, 403, "sql_not_allowed");
  CHECK_STRING(reply, "/field", "/participant");
  reply = api_read(w->api, id);
  CHECK_STRING(reply, "/state", "open");
  CHECK_JSON(reply, "/branches", "[]");
  CHECK_STATUS(api_rollback(w->api, id), 200);
  CHECK_MOVED(w, 0);
  world_close(w);
}
IN_BOTH_MODES(sql_of_a_client_is_403)

static void call_that_does_not_fit_is_named(void) {
  static const struct {
    const char *statement, *code, *field;
  } wrong[] = {
      {NAMED("debt", "[1,1]"), "unknown_statement", "/branches/0/statements/0/name"},
      {NAMED("debit", "[1]"), "invalid", "/branches/0/statements/0/params"},
      {NAMED("debit", "[1,1,1]"), "invalid", "/branches/0/statements/0/params"},
      {"{'name':'debit'}", "invalid", "/branches/0/statements/0/params"},
      {"{'name':'debit','params':[1,1],'expect_rows':2}", "invalid",
       "/branches/0/statements/0/expect_rows"},
      {"{'name':'debit','sql':'SELECT 1'}", "invalid", "/branches/0/statements/0/name"},
      {"{'params':[1]}", "invalid", "/branches/0/statements/0/sql"},
      {"{'name':''}", "invalid", "/branches/0/statements/0/name"},
  };
  struct world *w = world_open(WORLD_EMBEDDED, &limited);
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    const struct reply *reply =
        api_run(w->api, ONE_CALL("", BRANCH("bank_a", "%s")), wrong[i].statement);
    CHECK_PROBLEM(reply, 422, wrong[i].code);
    CHECK_STRING(reply, "/field", wrong[i].field);
  }
  check_nothing_begun(w);
  world_close(w);
  w = world_open(WORLD_EMBEDDED, NULL);
  CHECK_PROBLEM(api_run(w->api, ONE_CALL("", NAMED_TRANSFER(1))), 422, "unknown_statement");
  world_close(w);
}

/* ---- another file ---------------------------------------------------------------------------- */

#define OTHER_TEXT                                                                                 \
  "[statement.take]\nparams = numeric, int8\n"                                                     \
  "sql = UPDATE account SET balance = balance - $1 WHERE id = $2\n"                                \
  "[statement.credit]\nparams = numeric, int8\n"                                                   \
  "sql = UPDATE account SET balance = balance + $1 WHERE id = $2\n"
#define OTHER_TRANSFER(amount)                                                                     \
  BRANCH("bank_a", NAMED("take", "[" #amount ",1]"))                                               \
  "," BRANCH("bank_b", NAMED("credit", "[" #amount ",1]"))

/* Of all participants of this daemon. */
static void reload(struct world *w, enum world_target target, unsigned participants) {
  unsigned before = world_logged(w, target, "participant_limited");
  process_kill(w->processes[target], SIGHUP);
  UNTIL(world_logged(w, target, "participant_limited") == before + participants);
}

static void file_changes_without_a_restart(void) {
  struct world *w = world_open(WORLD_EMBEDDED, &limited);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", NAMED_TRANSFER(1))), 200);
  world_limit(w, OTHER_TEXT);
  CHECK_PROBLEM(api_run(w->api, ONE_CALL("", OTHER_TRANSFER(1))), 422, "unknown_statement");
  reload(w, COORDINATOR, 2);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", OTHER_TRANSFER(1))), 200);
  CHECK_PROBLEM(api_run(w->api, ONE_CALL("", NAMED_TRANSFER(1))), 422, "unknown_statement");
  world_limit(w, "[statement.take]\nsql = SELECT $1\n");
  process_kill(w->processes[COORDINATOR], SIGHUP);
  UNTIL(world_logged(w, COORDINATOR, "reload_failed") == 1);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", OTHER_TRANSFER(1))), 200);
  CHECK_MOVED(w, 3);
  world_close(w);
}

/* ---- the agent itself ------------------------------------------------------------------------ */

static void agent_runs_nothing_but_its_own_file(void) {
  struct world *w = world_open(WORLD_AGENTS, &limited);
  world_limit(w, OTHER_TEXT);
  reload(w, COORDINATOR, 2);
  const struct reply *reply = api_run(w->api, ONE_CALL("", OTHER_TRANSFER(1)));
  CHECK_PROBLEM(reply, 409, "aborted");
  CHECK_STRING(reply, "/transaction/cause/kind", "statement");
  CHECK_MOVED(w, 0);
  const char *id = api_begin(w->api, "{}"); /* also when the branch is open there already */
  reload(w, AGENT_A, 1);
  CHECK_STATUS(api_statement(w->api, id, "bank_a", "'name':'take','params':[1,1]"), 200);
  world_limit(w, FILE_TEXT);
  reload(w, AGENT_A, 1);
  CHECK_STATUS(api_statement(w->api, id, "bank_a", "'name':'take','params':[1,1]"), 409);
  world_limit(w, OTHER_TEXT);
  reload(w, AGENT_A, 1);
  reload(w, AGENT_B, 1);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", OTHER_TRANSFER(1))), 200);
  CHECK_MOVED(w, 1);
  world_close(w);
}

#define RUN(sql)                                                                                   \
  "{'messages':[{'id':1,'run':"                                                                    \
  "{'gid':'assent_0123456789ab_1_01900000-0000-7000-8000-000000000000_1','epoch':1,"               \
  "'incarnation':'0123456789abcdef','sequence':0,'end':'prepare','timeout_ms':1000,"               \
  "'statements':[{'sql':'" sql "'}]}}]}"

/* Who has the coordinator's certificate, or sits on the loopback. */
static void direct_call_of_an_agent_runs_no_other_sql(void) {
  struct world *w = world_open(WORLD_AGENTS, &limited);
  struct api *agent =
      api_new_of_agent(api_text(w->api, "http://127.0.0.1:%d", (int)w->ports[AGENT_A]));
  const struct reply *reply =
      api_post(agent, "/v1/databases/bank_a/messages", RUN("DELETE FROM account"));
  CHECK_STATUS(reply, 200);
  CHECK_STRING(reply, "/problem/code", "sql_not_allowed");
  api_free(agent);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", NAMED_TRANSFER(1))), 200);
  CHECK_MOVED(w, 1);
  world_close(w);
}

SUITE(statements, BOTH(transfer_by_names_commits), BOTH(parameters_have_the_types_of_the_file),
      BOTH(fixed_expectation_aborts), BOTH(sql_of_a_client_is_403),
      CASE(call_that_does_not_fit_is_named), CASE(file_changes_without_a_restart),
      CASE(agent_runs_nothing_but_its_own_file), CASE(direct_call_of_an_agent_runs_no_other_sql))
