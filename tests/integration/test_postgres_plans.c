/* Statements that a session keeps prepared on the server, and what of a branch the next one finds in its
 * session. adapters/postgres_plans.c has the argument.
 */
#include <stdio.h>
#include <string.h>

#include "tests/integration/pg.h"
#include "tests/lib/suite.h"

#define TAKE  "UPDATE account SET balance = balance - $1 WHERE id = $2"
#define KEPT  "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'UPDATE account%'"
#define TIMES 4 /* a text is kept when it comes for the second time */

static struct pg pg;
static struct session *session;
static struct pg_answer answer;
static unsigned turn;

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

/* One branch, ended again when it was prepared. */
static void run(const struct statement *statements, size_t count) {
  char *gid = pg.gid[turn++ % PG_GID_COUNT];
  pg_run_begin(&pg, session, RUN_PREPARE, gid, statements, count, &answer);
  pg_wait(&pg, &answer, answer.count + 1);
  if (answer.ran == RAN_PREPARED) {
    struct session *control = pg_open_named(&pg, "control", PG_CALL_TIMEOUT_MS);
    struct pg_answer finished = {.loop = pg.loop};
    pg_finish(&pg, control, gid, true, &finished);
    CU_ASSERT_EQUAL(finished.finished, FINISH_DONE);
    pg_close(&pg, control);
  }
}

static void run_text(const char *sql) {
  run(&(struct statement){.sql = sql, .expect_rows = -1}, 1);
}

static void take(const char *amount) {
  const char *params[] = {amount, "1"};
  run(&(struct statement){.sql = TAKE, .params = params, .param_count = 2, .expect_rows = 1}, 1);
}

static void assert_result(const char *sql, const char *result) {
  run_text(sql);
  CU_ASSERT_EQUAL(answer.ran, RAN_READ_ONLY);
  CU_ASSERT_PTR_NOT_NULL_FATAL(answer.results);
  if (!strstr(answer.results, result)) (void)printf("%s gives %s\n", sql, answer.results);
  CU_ASSERT_PTR_NOT_NULL(strstr(answer.results, result));
}

static void keep_take(void) {
  for (int i = 0; i < TIMES; i++)
    take("1");
  assert_result(KEPT, "[[1]]");
}

/* ---- what is kept --------------------------------------------------------------------------------- */

static void statement_that_comes_again_is_kept(void) {
  begin();
  take("1");
  assert_result(KEPT, "[[0]]");
  for (int i = 0; i < TIMES; i++) {
    take("1");
    CU_ASSERT_EQUAL(answer.ran, RAN_PREPARED);
  }
  assert_result(KEPT, "[[1]]");
  CU_ASSERT_EQUAL(pg_int(pg.dsn, "SELECT balance FROM account WHERE id = 1"), 100 - 1 - TIMES);
  end();
}

static void statement_kept_fails_as_if_it_were_new(void) {
  begin();
  keep_take();
  take("1000"); /* the balance has a check */
  CU_ASSERT_EQUAL(answer.ran, RAN_FAILED);
  CU_ASSERT_EQUAL(answer.cause.statement, 0);
  CU_ASSERT_STRING_EQUAL(answer.cause.sqlstate, "23514");
  CU_ASSERT_TRUE(answer.reusable);
  keep_take();
  end();
}

static void statement_wrong_in_itself_fails_as_if_it_were_new(void) {
  begin();
  for (int i = 0; i < TIMES; i++) {
    const struct statement statements[] = {
        {.sql = "SELECT 1", .expect_rows = -1},
        {.sql = "UPDATE nothing SET x = $1", .params = (const char *[]){"1"}, .param_count = 1}};
    run(statements, 2);
    CU_ASSERT_EQUAL(answer.ran, RAN_FAILED);
    CU_ASSERT_EQUAL(answer.cause.statement, 1);
    CU_ASSERT_STRING_EQUAL(answer.cause.sqlstate, "42P01");
  }
  end();
}

static void statement_with_rows_is_not_used_when_kept(void) {
  begin();
  pg_sql(pg.dsn, "CREATE TABLE wide (id int, a int); INSERT INTO wide VALUES (1, 1)");
  for (int i = 0; i < TIMES; i++)
    run_text("UPDATE wide SET a = 2 RETURNING *");
  CU_ASSERT_EQUAL(answer.ran, RAN_PREPARED);
  pg_sql(pg.dsn, "ALTER TABLE wide ADD b int");
  run_text("UPDATE wide SET a = 2 RETURNING *");
  CU_ASSERT_EQUAL(answer.ran, RAN_PREPARED);
  CU_ASSERT_PTR_NOT_NULL(strstr(answer.results, "[[1,2,null]]"));
  pg_sql(pg.dsn, "DROP TABLE wide");
  end();
}

/* Through date it would have lost its hour: such a type is not kept. Through int8 it may not lose its
 * zeros: such a value is sent anew. */
static void column_of_another_type_takes_values_as_they_are(void) {
  static const char *const moments[] = {"2026-01-02", "2026-01-02 10:30", "7", "007"};
  begin();
  pg_sql(pg.dsn, "CREATE TABLE due (at date, n int8); INSERT INTO due VALUES (NULL, NULL)");
  struct statement at = {
      .sql = "UPDATE due SET at = $1", .params = moments, .param_count = 1, .expect_rows = 1};
  struct statement n = {
      .sql = "UPDATE due SET n = $1", .params = moments + 2, .param_count = 1, .expect_rows = 1};
  for (int i = 0; i < TIMES; i++) {
    run(&at, 1);
    run(&n, 1);
  }
  pg_sql(pg.dsn, "ALTER TABLE due ALTER at TYPE timestamp, ALTER n TYPE text");
  at.params = moments + 1;
  n.params = moments + 3;
  run(&at, 1);
  CU_ASSERT_EQUAL(answer.ran, RAN_PREPARED);
  run(&n, 1);
  CU_ASSERT_EQUAL(answer.ran, RAN_PREPARED);
  CU_ASSERT_EQUAL(pg_int(pg.dsn, "SELECT count(*) FROM due WHERE n = '007' AND "
                                 "at = '2026-01-02 10:30'"),
                  1);
  pg_sql(pg.dsn, "DROP TABLE due");
  end();
}

static void statement_after_a_change_of_its_table_is_refused_once_at_most(void) {
  begin();
  pg_sql(pg.dsn, "CREATE TABLE small (n int4); INSERT INTO small VALUES (1)");
  const char *params[] = {"1"};
  struct statement set = {
      .sql = "UPDATE small SET n = $1", .params = params, .param_count = 1, .expect_rows = 1};
  for (int i = 0; i < TIMES; i++)
    run(&set, 1);
  pg_sql(pg.dsn, "ALTER TABLE small ALTER n TYPE int8");
  params[0] = "3000000000";
  run(&set, 1);
  if (answer.ran == RAN_FAILED) {
    CU_ASSERT_STRING_EQUAL(answer.cause.sqlstate, "22003");
    run(&set, 1);
  }
  CU_ASSERT_EQUAL(answer.ran, RAN_PREPARED);
  CU_ASSERT_EQUAL(pg_int(pg.dsn, "SELECT (n = 3000000000)::int FROM small"), 1);
  pg_sql(pg.dsn, "DROP TABLE small");
  end();
}

/* More texts than are kept, again and again. */
static void many_statements_all_work(void) {
  enum { TEXTS = 150, ROUNDS = 3 };
  begin();
  for (int i = 0; i < TEXTS * ROUNDS; i++) {
    char sql[100];
    const char *params[] = {"9"};
    (void)snprintf(sql, sizeof sql, "UPDATE account SET balance = %d WHERE id = $1", i / ROUNDS);
    run(&(struct statement){.sql = sql, .params = params, .param_count = 1, .expect_rows = -1}, 1);
    CU_ASSERT_EQUAL(answer.ran, RAN_READ_ONLY);
  }
  run_text("SELECT count(*) FROM pg_prepared_statements HAVING count(*) <= 32");
  CU_ASSERT_PTR_NOT_NULL(strstr(answer.results, "\"rows_affected\":1"));
  end();
}

/* ---- what the next branch finds ------------------------------------------------------------------- */

/* By functions, where nothing shows in the statement's text. */
static void leave(const char *body) {
  char sql[400];
  (void)snprintf(sql, sizeof sql,
                 "CREATE OR REPLACE FUNCTION leave() RETURNS int LANGUAGE plpgsql AS "
                 "$f$BEGIN %s; RETURN 1; END$f$",
                 body);
  pg_sql(pg.dsn, sql);
  run_text("SELECT leave()");
}

static void end_leaving(void) {
  pg_sql(pg.dsn, "DROP FUNCTION leave()");
  end();
}

static void setting_of_a_function_is_gone(void) {
  begin();
  keep_take();
  leave("PERFORM set_config('work_mem', '77MB', false)");
  CU_ASSERT_EQUAL(answer.ran, RAN_READ_ONLY);
  assert_result("SELECT count(*) FROM pg_settings WHERE name = 'work_mem' AND setting = '78848'",
                "[[0]]");
  assert_result(KEPT, "[[1]]");
  end_leaving();
}

static void advisory_lock_of_a_function_is_gone(void) {
  begin();
  keep_take();
  leave("PERFORM pg_advisory_lock(5)");
  CU_ASSERT_EQUAL(pg_int(pg.dsn, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), 0);
  assert_result(KEPT, "[[1]]");
  end_leaving();
}

static void sequence_of_a_function_is_gone(void) {
  begin();
  keep_take();
  pg_sql(pg.dsn, "CREATE SEQUENCE numbers");
  leave("PERFORM nextval('numbers')");
  run_text("SELECT lastval()");
  CU_ASSERT_EQUAL(answer.ran, RAN_FAILED);
  CU_ASSERT_STRING_EQUAL(answer.cause.sqlstate, "55000");
  pg_sql(pg.dsn, "DROP SEQUENCE numbers");
  end_leaving();
}

static void statement_prepared_by_a_function_is_gone(void) {
  begin();
  keep_take();
  leave("EXECUTE 'PREPARE theirs AS SELECT 1'");
  CU_ASSERT_EQUAL(answer.ran, RAN_READ_ONLY);
  CU_ASSERT_TRUE(answer.reusable);
  assert_result("SELECT count(*) FROM pg_prepared_statements", "[[0]]");
  keep_take();
  end_leaving();
}

/* The names of ours are no secret. */
static void statement_put_in_the_place_of_ours_is_gone(void) {
  begin();
  keep_take();
  leave("EXECUTE (SELECT 'DEALLOCATE ' || name FROM pg_prepared_statements WHERE statement LIKE "
        "'UPDATE account%'); EXECUTE 'PREPARE assent_1000 AS SELECT 1'");
  CU_ASSERT_EQUAL(answer.ran, RAN_READ_ONLY);
  assert_result("SELECT count(*) FROM pg_prepared_statements", "[[0]]");
  keep_take();
  end_leaving();
}

/* Ours are away as the branch needs them: it fails, loudly, and the next one does not. */
static void statements_deallocated_by_a_function_are_made_anew(void) {
  begin();
  keep_take();
  leave("EXECUTE 'DEALLOCATE ALL'");
  CU_ASSERT_EQUAL(answer.ran, RAN_FAILED);
  CU_ASSERT_STRING_EQUAL(answer.cause.sqlstate, "26000");
  CU_ASSERT_TRUE(answer.reusable);
  keep_take();
  end_leaving();
}

static void statements_deallocated_by_a_statement_are_not_missed(void) {
  begin();
  keep_take();
  run_text("DEALLOCATE ALL");
  CU_ASSERT_EQUAL(answer.ran, RAN_READ_ONLY);
  assert_result("SELECT count(*) FROM pg_prepared_statements", "[[0]]");
  keep_take();
  end();
}

/* It runs at PREPARE, behind all that the branch has said. */
static void setting_of_a_deferred_trigger_is_gone(void) {
  begin();
  keep_take();
  pg_sql(pg.dsn, "CREATE FUNCTION leave() RETURNS trigger LANGUAGE plpgsql AS "
                 "$f$BEGIN PERFORM set_config('work_mem', '77MB', false); RETURN NULL; END$f$; "
                 "CREATE CONSTRAINT TRIGGER leave AFTER UPDATE ON account DEFERRABLE INITIALLY "
                 "DEFERRED FOR EACH ROW EXECUTE FUNCTION leave()");
  take("1");
  CU_ASSERT_EQUAL(answer.ran, RAN_PREPARED);
  assert_result("SELECT count(*) FROM pg_settings WHERE name = 'work_mem' AND setting = '78848'",
                "[[0]]");
  pg_sql(pg.dsn, "DROP TRIGGER leave ON account");
  end_leaving();
}

static void setting_of_a_statement_is_gone(void) {
  begin();
  keep_take();
  run_text("SET work_mem = '77MB'");
  assert_result("SELECT count(*) FROM pg_settings WHERE name = 'work_mem' AND setting = '78848'",
                "[[0]]");
  end();
}

SUITE(postgres_plans, CASE(statement_that_comes_again_is_kept),
      CASE(statement_kept_fails_as_if_it_were_new),
      CASE(statement_wrong_in_itself_fails_as_if_it_were_new),
      CASE(statement_with_rows_is_not_used_when_kept),
      CASE(column_of_another_type_takes_values_as_they_are),
      CASE(statement_after_a_change_of_its_table_is_refused_once_at_most),
      CASE(many_statements_all_work), CASE(setting_of_a_function_is_gone),
      CASE(advisory_lock_of_a_function_is_gone), CASE(sequence_of_a_function_is_gone),
      CASE(statement_prepared_by_a_function_is_gone),
      CASE(statement_put_in_the_place_of_ours_is_gone),
      CASE(statements_deallocated_by_a_function_are_made_anew),
      CASE(statements_deallocated_by_a_statement_are_not_missed),
      CASE(setting_of_a_deferred_trigger_is_gone), CASE(setting_of_a_statement_is_gone))
