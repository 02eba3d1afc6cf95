/* A branch's work on a real PostgreSQL: votes, failures, limits, and what is left of it in the
 * session.
 */
#include <libpq-fe.h>
#include <string.h>

#include "tests/integration/pg.h"
#include "tests/lib/suite.h"

#define TAKE "UPDATE account SET balance = balance - 10 WHERE id = 1"

static struct pg pg;
static struct session *session;
static struct pg_answer answer;

static void begin(void) {
  pg_setup(&pg);
  session = pg_open(&pg);
  answer = (struct pg_answer){.loop = pg.loop};
}

static void end(void) {
  pg_answer_clear(&answer);
  pg_close(&pg, session);
  pg_teardown(&pg);
}

static int64_t prepared_count(void) {
  return pg_int(pg.dsn, "SELECT count(*) FROM pg_prepared_xacts");
}

static int64_t balance(int id) {
  return pg_int(pg.dsn, id == 1 ? "SELECT balance FROM account WHERE id = 1"
                                : "SELECT balance FROM account WHERE id = 2");
}

/* The branch failed, nothing of it is left, and the session can be used again. */
static void assert_failed(enum cause_kind kind, const char *sqlstate) {
  CU_ASSERT_EQUAL(answer.ran, RAN_FAILED);
  CU_ASSERT_TRUE(answer.reusable);
  CU_ASSERT_EQUAL(answer.cause.kind, kind);
  CU_ASSERT_STRING_EQUAL(answer.cause.sqlstate, sqlstate);
  CU_ASSERT_PTR_NULL(answer.results);
  CU_ASSERT_TRUE(pg.adapter->ops->is_idle(session));
  CU_ASSERT_EQUAL(prepared_count(), 0);
  CU_ASSERT_EQUAL(balance(1), 100);
  pg_run(&pg, session, RUN_PREPARE, pg.gid[PG_GID_COUNT - 1], &answer, "SELECT 1", NULL);
  CU_ASSERT_EQUAL(answer.ran, RAN_READ_ONLY);
}

/* ---- votes ----------------------------------------------------------------------------------- */

static void prepare_of_a_write_is_prepared(void) {
  begin();
  pg_run(&pg, session, RUN_PREPARE, pg.gid[0], &answer, TAKE, NULL);
  CU_ASSERT_EQUAL(answer.ran, RAN_PREPARED);
  CU_ASSERT_TRUE(answer.reusable);
  CU_ASSERT_NOT_EQUAL(answer.xid[0], '\0');
  CU_ASSERT_STRING_EQUAL(answer.results, "[{\"columns\":[],\"rows\":[],\"rows_affected\":1}]");
  CU_ASSERT_TRUE(pg.adapter->ops->is_idle(session));
  CU_ASSERT_EQUAL(prepared_count(), 1);
  CU_ASSERT_EQUAL(balance(1), 100);
  end();
}

static void prepare_with_a_met_expectation_is_prepared(void) {
  begin();
  const struct statement statement = {.sql = TAKE, .expect_rows = 1};
  pg_run_begin(&pg, session, RUN_PREPARE, pg.gid[0], &statement, 1, &answer);
  pg_wait(&pg, &answer, 1);
  CU_ASSERT_EQUAL(answer.ran, RAN_PREPARED);
  CU_ASSERT_NOT_EQUAL(answer.xid[0], '\0');
  CU_ASSERT_EQUAL(prepared_count(), 1);
  end();
}

static void prepare_with_a_missed_expectation_fails(void) {
  begin();
  const struct statement statements[] = {{.sql = TAKE, .expect_rows = -1},
                                         {.sql = "UPDATE account SET balance = 0 WHERE id = 9",
                                          .expect_rows = 1}};
  pg_run_begin(&pg, session, RUN_PREPARE, pg.gid[0], statements, 2, &answer);
  pg_wait(&pg, &answer, 1);
  CU_ASSERT_EQUAL(answer.cause.statement, 1);
  assert_failed(CAUSE_EXPECTATION, "");
  end();
}

static void prepare_of_reads_is_read_only(void) {
  begin();
  pg_run(&pg, session, RUN_PREPARE, pg.gid[0], &answer, "SELECT count(*) FROM account", NULL);
  CU_ASSERT_EQUAL(answer.ran, RAN_READ_ONLY);
  CU_ASSERT_TRUE(answer.reusable);
  CU_ASSERT_STRING_EQUAL(answer.xid, "");
  CU_ASSERT_STRING_EQUAL(answer.results,
                         "[{\"columns\":[\"count\"],\"rows\":[[2]],\"rows_affected\":1}]");
  CU_ASSERT_EQUAL(prepared_count(), 0);
  end();
}

static void prepare_of_a_write_without_effect_is_read_only(void) {
  begin();
  pg_run(&pg, session, RUN_PREPARE, pg.gid[0], &answer,
         "UPDATE account SET balance = 1 WHERE id = 9", NULL);
  CU_ASSERT_EQUAL(answer.ran, RAN_READ_ONLY);
  CU_ASSERT_TRUE(answer.reusable);
  CU_ASSERT_EQUAL(prepared_count(), 0);
  end();
}

/* COMMIT would let it through before anybody has decided; it needs no xid. */
static void notification_in_a_branch_fails_it(void) {
  static const struct statement notifies[] = {
      {.sql = "SELECT pg_notify('x', 'paid')", .expect_rows = -1},
      {.sql = "SELECT pg_notify('x', 'paid')", .expect_rows = 1},
      {.sql = "NOTIFY x, 'paid'", .expect_rows = -1}};
  begin();
  PGconn *listener = PQconnectdb(pg.dsn);
  PQclear(PQexec(listener, "LISTEN x"));
  for (size_t i = 0; i < sizeof notifies / sizeof notifies[0]; i++) {
    pg_run_begin(&pg, session, RUN_PREPARE, pg.gid[0], &notifies[i], 1, &answer);
    pg_wait(&pg, &answer, 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(answer.cause.text, "NOTIFY"));
    assert_failed(CAUSE_STATEMENT, "0A000");
  }
  pg_sql(pg.dsn, "NOTIFY x, 'the last'"); /* they come in the order of their commits */
  PGnotify *notified = NULL;
  while (!notified && PQstatus(listener) == CONNECTION_OK) {
    PQclear(PQexec(listener, "SELECT 1"));
    notified = PQnotifies(listener);
  }
  CU_ASSERT_PTR_NOT_NULL_FATAL(notified);
  CU_ASSERT_STRING_EQUAL(notified->extra, "the last");
  PQfreemem(notified);
  PQfinish(listener);
  end();
}

/* Its COMMIT is the decision, and nobody has taken it yet. */
static void sole_branch_without_an_xid_stays_open(void) {
  begin();
  pg_run(&pg, session, RUN_READY, NULL, &answer, "SELECT pg_notify('x', 'paid')", NULL);
  CU_ASSERT_EQUAL(answer.ran, RAN_OPEN);
  CU_ASSERT_STRING_EQUAL(answer.xid, "");
  CU_ASSERT_FALSE(pg.adapter->ops->is_idle(session));
  pg.adapter->ops->commit(session, pg_on_committed, &answer);
  pg_wait(&pg, &answer, 2);
  CU_ASSERT_EQUAL(answer.outcome, BRANCH_OUTCOME_COMMITTED);
  CU_ASSERT_TRUE(pg.adapter->ops->is_idle(session));
  end();
}

/* Functions and operators of the branch's own making, found before the server's. */
static void search_path_of_the_branch_does_not_hide_its_xid(void) {
  begin();
  pg_sql(
      pg.dsn,
      "SET client_min_messages = error; DROP SCHEMA IF EXISTS evil CASCADE; CREATE SCHEMA evil; "
      "CREATE FUNCTION evil.pg_current_xact_id_if_assigned() RETURNS xid8 LANGUAGE sql AS "
      "'SELECT NULL::xid8'; "
      "CREATE FUNCTION evil.no(name, name) RETURNS boolean LANGUAGE sql AS 'SELECT false'; "
      "CREATE OPERATOR evil.<> (LEFTARG = name, RIGHTARG = name, FUNCTION = evil.no); "
      "CREATE FUNCTION evil.concat(VARIADIC text[]) RETURNS text LANGUAGE sql AS $f$SELECT '1'$f$; "
      "CREATE FUNCTION evil.set_config(text, text, boolean) RETURNS text LANGUAGE sql AS "
      "'SELECT (1 / 0)::text'; "
      "CREATE DOMAIN evil.int4 AS text; CREATE DOMAIN evil.name AS text; "
      "GRANT USAGE ON SCHEMA evil TO public");
  pg_run(&pg, session, RUN_PREPARE, pg.gid[0], &answer,
         "SET search_path = evil, pg_catalog, public", TAKE, NULL);
  CU_ASSERT_EQUAL(answer.ran, RAN_PREPARED);
  CU_ASSERT_NOT_EQUAL(answer.xid[0], '\0');
  CU_ASSERT_EQUAL(prepared_count(), 1);
  pg_finish(&pg, session, pg.gid[0], false, &answer);
  pg_run(&pg, session, RUN_PREPARE, pg.gid[1], &answer, TAKE,
         "SET search_path = evil, pg_catalog, public", "SET ROLE bob", NULL);
  CU_ASSERT_STRING_EQUAL(answer.cause.text,
                         "the role bob is in force at the end, and nobody else may "
                         "end what it prepares");
  assert_failed(CAUSE_STATEMENT, "");
  pg_run(&pg, session, RUN_READY, NULL, &answer, "SET search_path = evil, pg_catalog, public", TAKE,
         NULL);
  CU_ASSERT_EQUAL(answer.ran, RAN_OPEN);
  CU_ASSERT_NOT_EQUAL(answer.xid[0], '\0');
  pg.adapter->ops->commit(session, pg_on_committed, &answer);
  pg_wait(&pg, &answer, 2);
  CU_ASSERT_EQUAL(answer.outcome, BRANCH_OUTCOME_COMMITTED);
  pg_sql(pg.dsn, "SET client_min_messages = error; DROP SCHEMA evil CASCADE");
  end();
}

static void prepare_of_a_read_that_writes_is_prepared(void) {
  begin();
  pg_run(&pg, session, RUN_PREPARE, pg.gid[0], &answer, "SELECT * FROM account FOR UPDATE", NULL);
  CU_ASSERT_EQUAL(answer.ran, RAN_PREPARED);
  CU_ASSERT_EQUAL(prepared_count(), 1);
  end();
}

static void prepare_after_several_runs_is_prepared(void) {
  begin();
  pg_run(&pg, session, RUN_KEEP_OPEN, NULL, &answer, TAKE, NULL);
  CU_ASSERT_EQUAL(answer.ran, RAN_OPEN);
  CU_ASSERT_FALSE(pg.adapter->ops->is_idle(session));
  pg_run(&pg, session, RUN_KEEP_OPEN, NULL, &answer, "SELECT balance FROM account WHERE id = 1",
         NULL);
  CU_ASSERT_STRING_EQUAL(answer.results,
                         "[{\"columns\":[\"balance\"],\"rows\":[[90]],\"rows_affected\":1}]");
  pg_run(&pg, session, RUN_PREPARE, pg.gid[0], &answer, NULL);
  CU_ASSERT_EQUAL(answer.ran, RAN_PREPARED);
  CU_ASSERT_NOT_EQUAL(answer.xid[0], '\0');
  CU_ASSERT_PTR_NULL(answer.results);
  end();
}

static void prepare_after_set_transaction_is_prepared(void) {
  begin();
  pg_run(&pg, session, RUN_PREPARE, pg.gid[0], &answer,
         "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", TAKE, NULL);
  CU_ASSERT_EQUAL(answer.ran, RAN_PREPARED);
  end();
}

/* ---- failures -------------------------------------------------------------------------------- */

static void statement_that_fails_fails_the_branch(void) {
  begin();
  pg_run(&pg, session, RUN_PREPARE, pg.gid[0], &answer, TAKE,
         "UPDATE account SET balance = balance - 1000 WHERE id = 2", TAKE, NULL);
  CU_ASSERT_EQUAL(answer.cause.statement, 1);
  assert_failed(CAUSE_STATEMENT, "23514");
  end();
}

static void statement_that_fails_in_an_open_branch_fails_it(void) {
  begin();
  pg_run(&pg, session, RUN_KEEP_OPEN, NULL, &answer, TAKE, NULL);
  pg_run(&pg, session, RUN_KEEP_OPEN, NULL, &answer, "SELECT 1/0", NULL);
  CU_ASSERT_EQUAL(answer.cause.statement, 0);
  assert_failed(CAUSE_STATEMENT, "22012");
  end();
}

static void deferred_constraint_at_prepare_fails_the_branch(void) {
  begin();
  pg_run(&pg, session, RUN_PREPARE, pg.gid[0], &answer, TAKE, "INSERT INTO late VALUES (1)", NULL);
  CU_ASSERT_EQUAL(answer.cause.statement, -1);
  assert_failed(CAUSE_STATEMENT, "23505");
  end();
}

static void temporary_table_at_prepare_fails_the_branch(void) {
  begin();
  pg_run(&pg, session, RUN_PREPARE, pg.gid[0], &answer, TAKE, "CREATE TEMP TABLE passing (a int)",
         NULL);
  assert_failed(CAUSE_STATEMENT, "0A000");
  end();
}

static void gid_in_use_fails_the_branch(void) {
  begin();
  pg_run(&pg, session, RUN_PREPARE, pg.gid[0], &answer,
         "UPDATE account SET balance = 1 WHERE id = 2", NULL);
  pg_run(&pg, session, RUN_PREPARE, pg.gid[0], &answer, TAKE, NULL);
  CU_ASSERT_EQUAL(answer.ran, RAN_FAILED);
  CU_ASSERT_STRING_EQUAL(answer.cause.sqlstate, "42710");
  CU_ASSERT_TRUE(answer.reusable);
  CU_ASSERT_EQUAL(prepared_count(), 1);
  end();
}

static void transaction_control_is_refused_before_it_is_sent(void) {
  static const char *const refused[] = {"COMMIT", "/* a /* b */ */ commit", "-- x\n; ROLLBACK",
                                        "PREPARE TRANSACTION 'mine'", "COPY account TO STDOUT"};
  begin();
  for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
    pg_run(&pg, session, RUN_PREPARE, pg.gid[0], &answer, TAKE, refused[i], NULL);
    CU_ASSERT_EQUAL(answer.cause.statement, 1);
    assert_failed(CAUSE_STATEMENT, "");
  }
  end();
}

static void transaction_control_in_an_open_branch_rolls_it_back(void) {
  begin();
  pg_run(&pg, session, RUN_KEEP_OPEN, NULL, &answer, TAKE, NULL);
  pg_run(&pg, session, RUN_PREPARE, pg.gid[0], &answer, "COMMIT AND CHAIN", NULL);
  assert_failed(CAUSE_STATEMENT, "");
  end();
}

static void transaction_control_in_a_block_fails_the_branch(void) {
  begin();
  pg_run(&pg, session, RUN_PREPARE, pg.gid[0], &answer, TAKE, "DO $$ BEGIN COMMIT; END $$", NULL);
  assert_failed(CAUSE_STATEMENT, "2D000");
  end();
}

static void second_statement_in_one_text_fails_the_branch(void) {
  begin();
  pg_run(&pg, session, RUN_PREPARE, pg.gid[0], &answer, TAKE, "SELECT 1; COMMIT", NULL);
  assert_failed(CAUSE_STATEMENT, "42601");
  end();
}

/* Who says it can be reached, and has let us in. */
static void errors_of_statements_are_never_unreachable(void) {
  static const char *const raised[] = {"08P01", "08006", "28000", "3D000", "57P01"};
  begin();
  pg_run(&pg, session, RUN_PREPARE, pg.gid[0], &answer, "SELECT $1::int", NULL);
  CU_ASSERT_EQUAL(answer.cause.kind, CAUSE_STATEMENT);
  CU_ASSERT_STRING_EQUAL(answer.cause.sqlstate, "08P01");
  for (size_t i = 0; i < sizeof raised / sizeof raised[0]; i++) {
    char sql[100];
    (void)snprintf(sql, sizeof sql, "DO $$BEGIN RAISE 'no' USING ERRCODE = '%s'; END$$", raised[i]);
    pg_run(&pg, session, RUN_PREPARE, pg.gid[0], &answer, sql, NULL);
    CU_ASSERT_EQUAL(answer.ran, RAN_FAILED);
    CU_ASSERT_EQUAL(answer.cause.kind, CAUSE_STATEMENT);
    CU_ASSERT_STRING_EQUAL(answer.cause.sqlstate, raised[i]);
  }
  end();
}

static void role_in_force_at_the_end_fails_the_branch(void) {
  begin();
  pg_run(&pg, session, RUN_PREPARE, pg.gid[0], &answer, TAKE, "SET ROLE bob", NULL);
  CU_ASSERT_STRING_EQUAL(answer.cause.text,
                         "the role bob is in force at the end, and nobody else may "
                         "end what it prepares");
  assert_failed(CAUSE_STATEMENT, "");
  pg_run(&pg, session, RUN_PREPARE, pg.gid[0], &answer, TAKE, "SET ROLE bob", "RESET ROLE", NULL);
  CU_ASSERT_EQUAL(answer.ran, RAN_PREPARED);
  end();
}

static void lock_that_is_held_fails_the_branch_in_time(void) {
  begin();
  struct session *holder = pg_open(&pg);
  struct pg_answer held = {.loop = pg.loop};
  const struct statement statement = {.sql = TAKE, .expect_rows = -1};
  struct session_job job = {.begin = true,
                            .end = RUN_PREPARE,
                            .gid = pg.gid[0],
                            .statements = &statement,
                            .statement_count = 1,
                            .timeout_ms = 200};
  pg_run(&pg, holder, RUN_KEEP_OPEN, NULL, &held, TAKE, NULL);
  pg.adapter->ops->run(session, &job, pg_on_ran, &answer);
  pg_wait(&pg, &answer, 1);
  assert_failed(CAUSE_CONFLICT, "55P03");
  pg_answer_clear(&held);
  pg_close(&pg, holder);
  end();
}

static void statement_over_its_time_fails_the_branch(void) {
  begin();
  const struct statement statement = {.sql = "SELECT pg_sleep(60)", .expect_rows = -1};
  struct session_job job = {.begin = true,
                            .end = RUN_READY,
                            .statements = &statement,
                            .statement_count = 1,
                            .timeout_ms = 100};
  pg.adapter->ops->run(session, &job, pg_on_ran, &answer);
  pg_wait(&pg, &answer, 1);
  assert_failed(CAUSE_TIMEOUT, "57014");
  end();
}

static void deadlock_fails_one_branch(void) {
  begin();
  struct session *second = pg_open(&pg);
  struct pg_answer other = {.loop = pg.loop};
  const struct statement one = {.sql = TAKE, .expect_rows = -1};
  const struct statement two = {.sql = "UPDATE account SET balance = 1 WHERE id = 2",
                                .expect_rows = -1};
  pg_run(&pg, session, RUN_KEEP_OPEN, NULL, &answer, one.sql, NULL);
  pg_run(&pg, second, RUN_KEEP_OPEN, NULL, &other, two.sql, NULL);
  pg_run_begin(&pg, session, RUN_KEEP_OPEN, NULL, &two, 1, &answer);
  pg_run_begin(&pg, second, RUN_KEEP_OPEN, NULL, &one, 1, &other);
  pg_wait(&pg, &answer, 1);
  pg_wait(&pg, &other, 1);
  const struct pg_answer *failed = answer.ran == RAN_FAILED ? &answer : &other;
  CU_ASSERT_NOT_EQUAL(answer.ran, other.ran);
  CU_ASSERT_EQUAL(failed->ran, RAN_FAILED);
  CU_ASSERT_EQUAL(failed->cause.kind, CAUSE_DEADLOCK);
  pg_answer_clear(&other);
  pg_close(&pg, second);
  end();
}

/* ---- results and limits ---------------------------------------------------------------------- */

static void results_of_all_kinds_are_json(void) {
  begin();
  pg_run(&pg, session, RUN_READY, NULL, &answer,
         "SELECT 1::int2 a, -2::int4 b, 9007199254740993::int8 c, true d, false e, 1.5::float8 f, "
         "'NaN'::float8 g, '-Infinity'::float4 h, 1e300::float8 i, 10.10::numeric j, "
         "E'q\"\\n\\u00e9'::text k, NULL l, '{\"a\":1}'::jsonb m, '\\x00ff'::bytea n",
         "", "SET search_path = public", "SELECT 1 WHERE false", NULL);
  CU_ASSERT_EQUAL(answer.ran, RAN_OPEN);
  CU_ASSERT_STRING_EQUAL(
      answer.results,
      "[{\"columns\":[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\",\"i\",\"j\",\"k\",\"l\","
      "\"m\","
      "\"n\"],\"rows\":[[1,-2,9007199254740993,true,false,1.5,\"NaN\",\"-Infinity\",1e+300,\"10."
      "10\","
      "\"q\\\"\\n\xc3\xa9\",null,\"{\\\"a\\\": 1}\",\"\\\\x00ff\"]],\"rows_affected\":1},"
      "{\"columns\":[],\"rows\":[],\"rows_affected\":0},"
      "{\"columns\":[],\"rows\":[],\"rows_affected\":0},"
      "{\"columns\":[\"?column?\"],\"rows\":[],\"rows_affected\":0}]");
  end();
}

static void parameters_are_text_with_types_inferred(void) {
  begin();
  const char *const params[] = {"7", "2", NULL};
  const struct statement statement = {
      .sql = "UPDATE account SET balance = balance + $1 WHERE id = $2 OR id = $3 RETURNING balance",
      .params = params,
      .param_count = 3,
      .expect_rows = 1};
  pg_run_begin(&pg, session, RUN_READY, NULL, &statement, 1, &answer);
  pg_wait(&pg, &answer, 1);
  CU_ASSERT_EQUAL(answer.ran, RAN_OPEN);
  CU_ASSERT_NOT_EQUAL(answer.xid[0], '\0');
  CU_ASSERT_STRING_EQUAL(answer.results,
                         "[{\"columns\":[\"balance\"],\"rows\":[[107]],\"rows_affected\":1}]");
  end();
}

static void rows_over_the_limit_fail_the_branch(void) {
  begin();
  pg_run(&pg, session, RUN_READY, NULL, &answer, TAKE, "SELECT generate_series(1, 1000000)", NULL);
  CU_ASSERT_EQUAL(answer.cause.statement, 1);
  assert_failed(CAUSE_LIMIT, "");
  end();
}

static void rows_over_the_limit_before_prepare_are_not_left_prepared(void) {
  begin();
  pg_run(&pg, session, RUN_PREPARE, pg.gid[0], &answer, "SELECT generate_series(1, 1001)", TAKE,
         NULL);
  assert_failed(CAUSE_LIMIT, "");
  end();
}

static void bytes_over_the_limit_fail_the_branch(void) {
  begin();
  pg_run(&pg, session, RUN_PREPARE, pg.gid[0], &answer, TAKE, "SELECT repeat('x', 200000)", NULL);
  CU_ASSERT_PTR_NOT_NULL(strstr(answer.cause.text, "100000 bytes"));
  assert_failed(CAUSE_LIMIT, "");
  end();
}

/* ---- one phase ------------------------------------------------------------------------------- */

static void commit_of_a_ready_branch_is_committed(void) {
  begin();
  pg_run(&pg, session, RUN_READY, NULL, &answer, TAKE, NULL);
  CU_ASSERT_EQUAL(answer.ran, RAN_OPEN);
  pg.adapter->ops->commit(session, pg_on_committed, &answer);
  pg_wait(&pg, &answer, 2);
  CU_ASSERT_EQUAL(answer.outcome, BRANCH_OUTCOME_COMMITTED);
  CU_ASSERT_TRUE(pg.adapter->ops->is_idle(session));
  CU_ASSERT_EQUAL(balance(1), 90);
  end();
}

static void commit_refused_by_a_deferred_constraint_is_aborted(void) {
  begin();
  pg_run(&pg, session, RUN_READY, NULL, &answer, TAKE, "INSERT INTO late VALUES (1)", NULL);
  CU_ASSERT_EQUAL(answer.ran, RAN_OPEN);
  pg.adapter->ops->commit(session, pg_on_committed, &answer);
  pg_wait(&pg, &answer, 2);
  CU_ASSERT_EQUAL(answer.outcome, BRANCH_OUTCOME_ABORTED);
  CU_ASSERT_STRING_EQUAL(answer.cause.sqlstate, "23505");
  CU_ASSERT_TRUE(pg.adapter->ops->is_idle(session));
  CU_ASSERT_EQUAL(balance(1), 100);
  end();
}

static void commit_waits_for_the_disk_though_switched_off(void) {
  begin();
  /* The trigger runs at COMMIT, behind everything sent before it. */
  pg_sql(pg.dsn, "CREATE TABLE IF NOT EXISTS seen (setting text); TRUNCATE seen; "
                 "CREATE OR REPLACE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS "
                 "$$ BEGIN INSERT INTO seen VALUES (current_setting('synchronous_commit')); "
                 "RETURN NULL; END $$; "
                 "CREATE CONSTRAINT TRIGGER see AFTER UPDATE ON account DEFERRABLE INITIALLY "
                 "DEFERRED FOR EACH ROW EXECUTE FUNCTION see()");
  pg_run(&pg, session, RUN_READY, NULL, &answer, "SET synchronous_commit = off", TAKE, NULL);
  pg.adapter->ops->commit(session, pg_on_committed, &answer);
  pg_wait(&pg, &answer, 2);
  CU_ASSERT_EQUAL(answer.outcome, BRANCH_OUTCOME_COMMITTED);
  CU_ASSERT_EQUAL(pg_int(pg.dsn, "SELECT count(*) FROM seen WHERE setting = 'local'"), 1);
  end();
}

static void rollback_of_a_ready_branch_leaves_nothing(void) {
  begin();
  pg_run(&pg, session, RUN_READY, NULL, &answer, TAKE, NULL);
  pg.adapter->ops->rollback(session, pg_on_ran, &answer);
  pg_wait(&pg, &answer, 2);
  assert_failed(CAUSE_NONE, "");
  end();
}

/* ---- what is left in the session ------------------------------------------------------------- */

static void assert_clean(void) {
  pg_run(&pg, session, RUN_PREPARE, pg.gid[PG_GID_COUNT - 1], &answer,
         "SELECT current_setting('work_mem') = '77kB' a, current_setting('application_name') b, "
         "(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory') c, "
         "(SELECT count(*) FROM pg_prepared_statements WHERE name NOT LIKE 'assent\\_kept\\_%') d, "
         "(SELECT count(*) FROM pg_cursors WHERE is_holdable) e",
         NULL);
  CU_ASSERT_PTR_NOT_NULL(strstr(answer.results, "[false,\"assent test\",0,0,0]"));
}

static void session_after_prepare_is_clean(void) {
  begin();
  pg_run(&pg, session, RUN_PREPARE, pg.gid[0], &answer, "SET work_mem = '77kB'",
         "SET application_name = 'other'", "PREPARE plan AS SELECT 1", TAKE, NULL);
  CU_ASSERT_EQUAL(answer.ran, RAN_PREPARED);
  assert_clean();
  end();
}

static void session_after_commit_is_clean(void) {
  begin();
  pg_run(&pg, session, RUN_READY, NULL, &answer, "SET work_mem = '77kB'",
         "SELECT pg_advisory_lock(7)", "PREPARE plan AS SELECT 1",
         "DECLARE c CURSOR WITH HOLD FOR SELECT 1", TAKE, NULL);
  CU_ASSERT_EQUAL(answer.ran, RAN_OPEN);
  pg.adapter->ops->commit(session, pg_on_committed, &answer);
  pg_wait(&pg, &answer, 2);
  CU_ASSERT_EQUAL(answer.outcome, BRANCH_OUTCOME_COMMITTED);
  assert_clean();
  end();
}

static void session_after_failure_is_clean(void) {
  begin();
  pg_run(&pg, session, RUN_READY, NULL, &answer, "SELECT pg_advisory_lock(7)",
         "PREPARE plan AS SELECT 1", "SELECT 1/0", NULL);
  CU_ASSERT_EQUAL(answer.ran, RAN_FAILED);
  CU_ASSERT_TRUE(answer.reusable);
  assert_clean();
  end();
}

static void session_advisory_lock_does_not_outlive_a_read_only_branch(void) {
  begin();
  pg_run(&pg, session, RUN_PREPARE, pg.gid[0], &answer, "SELECT pg_advisory_lock(7)", NULL);
  CU_ASSERT_EQUAL(answer.ran, RAN_READ_ONLY);
  assert_clean();
  end();
}

static void settings_and_locks_of_a_plain_branch_do_not_outlive_it(void) {
  begin();
  pg_run(&pg, session, RUN_PREPARE, pg.gid[0], &answer,
         "SELECT set_config('work_mem', '77kB', false)", "SELECT pg_advisory_lock(7)", TAKE, NULL);
  CU_ASSERT_EQUAL(answer.ran, RAN_PREPARED);
  assert_clean();
  end();
}

/* ---- texts that are kept --------------------------------------------------------------------- */

static const char *const READ = "SELECT * FROM account WHERE id = 1";

static void read_account(unsigned gid) {
  pg_run(&pg, session, RUN_PREPARE, pg.gid[gid], &answer, READ, NULL);
  CU_ASSERT_EQUAL_FATAL(answer.ran, RAN_READ_ONLY);
}

/* As the session itself sees it. */
static bool is_kept(const char *part) {
  char sql[200];
  (void)snprintf(sql, sizeof sql,
                 "SELECT 'kept ' || count(*) FROM pg_prepared_statements WHERE name LIKE "
                 "'assent_kept_%%' AND statement = $$%s$$",
                 part);
  pg_run(&pg, session, RUN_PREPARE, pg.gid[PG_GID_COUNT - 1], &answer, sql, NULL);
  return strstr(answer.results, "kept 1") != NULL;
}

static void text_that_comes_again_is_kept(void) {
  begin();
  read_account(0);
  CU_ASSERT_FALSE(is_kept(READ));
  read_account(1);
  CU_ASSERT_TRUE(is_kept(READ));
  read_account(2);
  CU_ASSERT_PTR_NOT_NULL(strstr(answer.results, "[1,100]"));
  CU_ASSERT_TRUE(is_kept(READ));
  end();
}

static void text_of_other_columns_by_now_is_run_anew(void) {
  begin();
  read_account(0);
  read_account(1);
  pg_sql(pg.dsn, "ALTER TABLE account ADD COLUMN note text DEFAULT 'new'");
  read_account(2);
  CU_ASSERT_PTR_NOT_NULL(strstr(answer.results, "[1,100,\"new\"]"));
  CU_ASSERT_TRUE(answer.reusable);
  pg_sql(pg.dsn, "ALTER TABLE account DROP COLUMN note");
  end();
}

static void text_that_somebody_deallocates_is_run_anew(void) {
  begin();
  pg_sql(pg.dsn, "CREATE OR REPLACE FUNCTION forget() RETURNS int LANGUAGE plpgsql AS "
                 "$$ BEGIN EXECUTE 'DEALLOCATE ALL'; RETURN 1; END $$");
  read_account(0);
  read_account(1);
  pg_run(&pg, session, RUN_PREPARE, pg.gid[2], &answer, "SELECT forget()", NULL);
  CU_ASSERT_NOT_EQUAL(answer.ran, RAN_PREPARED);
  read_account(3);
  CU_ASSERT_PTR_NOT_NULL(strstr(answer.results, "[1,100]"));
  end();
}

static void text_of_a_branch_that_failed_is_kept_no_more(void) {
  begin();
  read_account(0);
  read_account(1);
  pg_run(&pg, session, RUN_PREPARE, pg.gid[2], &answer, READ, "SELECT 1/0", NULL);
  CU_ASSERT_EQUAL(answer.ran, RAN_FAILED);
  CU_ASSERT_FALSE(is_kept(READ));
  read_account(3);
  CU_ASSERT_TRUE(is_kept(READ));
  end();
}

/* More than are kept: all are run, and room is made. */
static void texts_beyond_the_table_are_run_all_the_same(void) {
  begin();
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 100; i++) {
      char sql[60];
      (void)snprintf(sql, sizeof sql, "SELECT %d + balance FROM account WHERE id = 1", i);
      pg_run(&pg, session, RUN_PREPARE, pg.gid[0], &answer, sql, NULL);
      CU_ASSERT_EQUAL(answer.ran, RAN_READ_ONLY);
      (void)snprintf(sql, sizeof sql, "[%d]", i + 100);
      CU_ASSERT_PTR_NOT_NULL(strstr(answer.results, sql));
    }
  }
  end();
}

static void warning_of_a_statement_leaves_the_vote_alone(void) {
  begin();
  pg_run(&pg, session, RUN_PREPARE, pg.gid[0], &answer, TAKE,
         "DO $$ BEGIN RAISE WARNING 'look out'; END $$", NULL);
  CU_ASSERT_EQUAL(answer.ran, RAN_PREPARED);
  end();
}

static void warning_at_prepare_makes_it_unknown(void) {
  begin();
  pg_sql(pg.dsn, "CREATE OR REPLACE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql AS "
                 "$$ BEGIN RAISE WARNING 'late'; RETURN NULL; END $$; "
                 "CREATE CONSTRAINT TRIGGER warn AFTER UPDATE ON account DEFERRABLE INITIALLY "
                 "DEFERRED FOR EACH ROW EXECUTE FUNCTION warn()");
  pg_run(&pg, session, RUN_PREPARE, pg.gid[0], &answer, TAKE, NULL);
  CU_ASSERT_EQUAL(answer.ran, RAN_UNKNOWN);
  CU_ASSERT_FALSE(answer.reusable);
  CU_ASSERT_EQUAL(prepared_count(), 1);
  end();
}

SUITE(postgres, CASE(prepare_of_a_write_is_prepared),
      CASE(prepare_with_a_met_expectation_is_prepared),
      CASE(prepare_with_a_missed_expectation_fails), CASE(prepare_of_reads_is_read_only),
      CASE(prepare_of_a_write_without_effect_is_read_only), CASE(notification_in_a_branch_fails_it),
      CASE(sole_branch_without_an_xid_stays_open),
      CASE(search_path_of_the_branch_does_not_hide_its_xid),
      CASE(prepare_of_a_read_that_writes_is_prepared), CASE(prepare_after_several_runs_is_prepared),
      CASE(prepare_after_set_transaction_is_prepared), CASE(statement_that_fails_fails_the_branch),
      CASE(statement_that_fails_in_an_open_branch_fails_it),
      CASE(deferred_constraint_at_prepare_fails_the_branch),
      CASE(temporary_table_at_prepare_fails_the_branch), CASE(gid_in_use_fails_the_branch),
      CASE(transaction_control_is_refused_before_it_is_sent),
      CASE(transaction_control_in_an_open_branch_rolls_it_back),
      CASE(transaction_control_in_a_block_fails_the_branch),
      CASE(second_statement_in_one_text_fails_the_branch),
      CASE(errors_of_statements_are_never_unreachable),

      CASE(role_in_force_at_the_end_fails_the_branch),
      CASE(lock_that_is_held_fails_the_branch_in_time),
      CASE(statement_over_its_time_fails_the_branch), CASE(deadlock_fails_one_branch),
      CASE(results_of_all_kinds_are_json), CASE(parameters_are_text_with_types_inferred),
      CASE(rows_over_the_limit_fail_the_branch),
      CASE(rows_over_the_limit_before_prepare_are_not_left_prepared),
      CASE(bytes_over_the_limit_fail_the_branch), CASE(commit_of_a_ready_branch_is_committed),
      CASE(commit_refused_by_a_deferred_constraint_is_aborted),
      CASE(commit_waits_for_the_disk_though_switched_off),
      CASE(rollback_of_a_ready_branch_leaves_nothing), CASE(session_after_prepare_is_clean),
      CASE(session_after_commit_is_clean), CASE(session_after_failure_is_clean),
      CASE(session_advisory_lock_does_not_outlive_a_read_only_branch),
      CASE(settings_and_locks_of_a_plain_branch_do_not_outlive_it),
      CASE(text_that_comes_again_is_kept), CASE(text_of_other_columns_by_now_is_run_anew),
      CASE(text_that_somebody_deallocates_is_run_anew),
      CASE(text_of_a_branch_that_failed_is_kept_no_more),
      CASE(texts_beyond_the_table_are_run_all_the_same),
      CASE(warning_of_a_statement_leaves_the_vote_alone), CASE(warning_at_prepare_makes_it_unknown))
