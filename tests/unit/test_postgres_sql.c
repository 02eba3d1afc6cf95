/* What a branch's statement may begin with. */
#include "adapters/postgres_sql.h"

#include "tests/lib/suite.h"

static void refuses(const char *sql) {
  if (!statement_refused(sql)) (void)printf("not refused: %s\n", sql);
  CU_ASSERT_PTR_NOT_NULL(statement_refused(sql));
}

static void allows(const char *sql) {
  if (statement_refused(sql)) (void)printf("refused: %s\n", sql);
  CU_ASSERT_PTR_NULL(statement_refused(sql));
}

static void statement_of_transaction_control_is_refused(void) {
  refuses("COMMIT");
  refuses("commit and chain");
  refuses("Rollback to x");
  refuses("END");
  refuses("ABORT");
  refuses("BEGIN");
  refuses("START TRANSACTION");
  refuses("SAVEPOINT a");
  refuses("RELEASE a");
  refuses("COMMIT PREPARED 'x'");
  refuses("PREPARE TRANSACTION 'x'");
  refuses("prepare /* really */ transaction 'x'");
  refuses("COPY t TO STDOUT");
  refuses("LISTEN x");
}

static void statement_behind_comments_is_found(void) {
  refuses(" \t\r\n\f COMMIT");
  refuses("-- a note\nCOMMIT");
  refuses("-- a note\rCOMMIT");
  refuses("/* a /* nested */ note */COMMIT");
  refuses("/**/COMMIT/**/");
  refuses("/* /*/ */ */ COMMIT");
  refuses("; COMMIT");
  refuses(" ;;/* x */;-- y\n;COMMIT;");
}

static void statement_of_work_is_allowed(void) {
  allows("UPDATE account SET balance = 0");
  allows("SELECT 'COMMIT'");
  allows("-- COMMIT\nSELECT 1");
  allows("/* COMMIT */ SELECT 1");
  allows("PREPARE plan AS SELECT 1");
  allows("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE");
  allows("committed");
  allows("\"commit\"");
  allows("(SELECT 1)");
  allows("");
  allows("-- nothing");
  allows("/* open");
}

static void statement_of_plain_work_is_plain(void) {
  static const char *const plain[] = {"SELECT 1",
                                      "insert into t values (1)",
                                      "/* a */ UPDATE t SET a = 1",
                                      "WITH a AS (SELECT 1) DELETE FROM t",
                                      "CALL f()",
                                      "SET LOCAL work_mem = 1",
                                      ";;TABLE t"};
  static const char *const others[] = {"PREPARE plan AS SELECT 1",
                                       "EXECUTE plan",
                                       "DEALLOCATE ALL",
                                       "DISCARD ALL",
                                       "DO $$BEGIN END$$",
                                       "CREATE TABLE t ()",
                                       "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
                                       "LOAD 'x'",
                                       "(SELECT 1)",
                                       "",
                                       "SELECTED"};
  for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
    CU_ASSERT_TRUE(statement_is_plain(plain[i]));
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    CU_ASSERT_FALSE(statement_is_plain(others[i]));
}

SUITE(postgres_sql, CASE(statement_of_plain_work_is_plain),
      CASE(statement_of_transaction_control_is_refused), CASE(statement_behind_comments_is_found),
      CASE(statement_of_work_is_allowed))
