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

static void statement_of_rows_is_plain(void) {
  CU_ASSERT_TRUE(statement_is_plain("select 1"));
  CU_ASSERT_TRUE(statement_is_plain("-- a note\n WITH x AS (SELECT 1) TABLE x"));
  CU_ASSERT_TRUE(statement_is_plain("/* x */ Merge INTO t USING u"));
  CU_ASSERT_TRUE(statement_is_plain("VALUES (1)"));
}

static void statement_of_anything_else_is_not_plain(void) {
  CU_ASSERT_FALSE(statement_is_plain("SET x = 1"));
  CU_ASSERT_FALSE(statement_is_plain("PREPARE x AS SELECT 1"));
  CU_ASSERT_FALSE(statement_is_plain("DEALLOCATE ALL"));
  CU_ASSERT_FALSE(statement_is_plain("DO $$BEGIN END$$"));
  CU_ASSERT_FALSE(statement_is_plain("SELECTED"));
  CU_ASSERT_FALSE(statement_is_plain("(SELECT 1)"));
  CU_ASSERT_FALSE(statement_is_plain(""));
}

static void statement_of_names_and_parameters_lasts(void) {
  CU_ASSERT_TRUE(statement_is_lasting("UPDATE \"T\" SET x = x + $1, y = now() WHERE id = $12"));
  CU_ASSERT_TRUE(statement_is_lasting("insert into t values (1, 2.5, NULL, true)"));
}

static void statement_with_a_literal_in_quotes_does_not_last(void) {
  CU_ASSERT_FALSE(statement_is_lasting("UPDATE t SET at = 'now'"));
  CU_ASSERT_FALSE(statement_is_lasting("UPDATE t SET at = E'now'"));
  CU_ASSERT_FALSE(statement_is_lasting("UPDATE t SET at = $$now$$"));
  CU_ASSERT_FALSE(statement_is_lasting("UPDATE t SET at = $1, by = $x$now$x$"));
  CU_ASSERT_FALSE(statement_is_lasting("UPDATE t SET at = date 'today'"));
  CU_ASSERT_FALSE(statement_is_lasting("UPDATE t SET x = $"));
}

static void statement_that_only_reads_is_not_kept(void) {
  CU_ASSERT_FALSE(statement_is_lasting("SELECT x FROM t"));
  CU_ASSERT_FALSE(statement_is_lasting("SET x = 1"));
}

static void value_as_the_server_writes_it_is_plain(void) {
  static const char *const integers[] = {"0", "7", "-12", "9223372036854775807", "10"};
  static const char *const numerics[] = {"0", "-12", "12.50", "0.05", "-0.5", "0.00"};
  for (size_t i = 0; i < sizeof integers / sizeof *integers; i++)
    CU_ASSERT_TRUE(value_is_plain(VALUE_INTEGER, integers[i]));
  for (size_t i = 0; i < sizeof numerics / sizeof *numerics; i++)
    CU_ASSERT_TRUE(value_is_plain(VALUE_NUMERIC, numerics[i]));
  CU_ASSERT_TRUE(value_is_plain(VALUE_TEXT, " 007 "));
  CU_ASSERT_TRUE(value_is_plain(VALUE_TEXT, ""));
}

static void value_the_server_would_write_otherwise_is_not_plain(void) {
  static const char *const integers[] = {"",   "-",  "007", "+1",  " 1",  "1 ",
                                         "-0", "00", "1.0", "1e3", "0x1", "1_000"};
  static const char *const numerics[] = {"",    ".5",   "5.",  "01.5", "+1.5", "1e3",
                                         "NaN", "-0.0", " 1.", "1.5 ", "-",    "1.2.3"};
  for (size_t i = 0; i < sizeof integers / sizeof *integers; i++)
    CU_ASSERT_FALSE(value_is_plain(VALUE_INTEGER, integers[i]));
  for (size_t i = 0; i < sizeof numerics / sizeof *numerics; i++)
    CU_ASSERT_FALSE(value_is_plain(VALUE_NUMERIC, numerics[i]));
}

static void value_of_a_type_that_changes_it_has_no_form(void) {
  enum value_form form;
  CU_ASSERT_TRUE(value_form_of(20, &form)); /* int8 */
  CU_ASSERT_EQUAL(form, VALUE_INTEGER);
  CU_ASSERT_TRUE(value_form_of(1700, &form)); /* numeric */
  CU_ASSERT_EQUAL(form, VALUE_NUMERIC);
  CU_ASSERT_TRUE(value_form_of(25, &form)); /* text */
  CU_ASSERT_EQUAL(form, VALUE_TEXT);
  CU_ASSERT_FALSE(value_form_of(1082, &form)); /* date: a day only, of what may be a moment */
  CU_ASSERT_FALSE(value_form_of(700, &form));  /* float4 */
  CU_ASSERT_FALSE(value_form_of(1042, &form)); /* char(n) */
}

SUITE(postgres_sql, CASE(statement_of_rows_is_plain), CASE(statement_of_anything_else_is_not_plain),
      CASE(statement_of_names_and_parameters_lasts),
      CASE(statement_with_a_literal_in_quotes_does_not_last),
      CASE(statement_that_only_reads_is_not_kept), CASE(value_as_the_server_writes_it_is_plain),
      CASE(value_the_server_would_write_otherwise_is_not_plain),
      CASE(value_of_a_type_that_changes_it_has_no_form),
      CASE(statement_of_transaction_control_is_refused), CASE(statement_behind_comments_is_found),
      CASE(statement_of_work_is_allowed))
