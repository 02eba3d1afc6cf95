/* What PREPARE TRANSACTION takes, what it refuses, and what its answers mean. */
#include <stdio.h>
#include <string.h>

#include "tests/facts/facts.h"

#define TAKE "UPDATE account SET balance = balance - 10 WHERE id = 1"

static void check_prepared(PGconn *session, const char *want) {
  CHECK_VALUE(session, want, "SELECT count(*) FROM pg_prepared_xacts");
}

/* ---- the answer ------------------------------------------------------------------------------ */

static void prepare_of_a_good_transaction_answers_its_own_tag(void) {
  PGconn *session = facts_session();
  struct answer answer = say(session, "BEGIN; " TAKE "; PREPARE TRANSACTION 'x'");
  CHECK_TAG_IS(answer, "PREPARE TRANSACTION");
  CHECK_WARNING_IS(answer, "");
  check_prepared(session, "1");
}

static void prepare_in_a_failed_transaction_answers_success_with_the_tag_rollback(void) {
  PGconn *session = facts_session();
  CHECK_SAYS(session, "BEGIN", "BEGIN");
  CHECK_REFUSED(session, "22012", "SELECT 1/0");
  struct answer answer = say(session, "PREPARE TRANSACTION 'x'");
  CHECK_TAG_IS(answer, "ROLLBACK");
  CHECK_WARNING_IS(answer, "");
  check_prepared(session, "0");
}

static void prepare_outside_a_transaction_answers_success_with_the_tag_rollback(void) {
  PGconn *session = facts_session();
  struct answer answer = say(session, "PREPARE TRANSACTION 'x'");
  CHECK_TAG_IS(answer, "ROLLBACK");
  CHECK_WARNING_IS(answer, "25P01");
  check_prepared(session, "0");
}

/* So BEGIN is always sent: what this does is no promise. */
static void prepare_in_a_pipeline_without_begin_does(void) {
  static const struct since expected[] = {{14, "ROLLBACK"}, {18, "PREPARE TRANSACTION"}, {0, NULL}};
  static const char *const commands[] = {TAKE, "PREPARE TRANSACTION 'x'", SYNC, NULL};
  PGconn *session = facts_session();
  struct answer answers[PIPELINE_MAX];
  CU_ASSERT_EQUAL_FATAL(say_in_pipeline(session, answers, commands), 2);
  const char *tag = facts_expected(expected);
  CHECK_TAG_IS(answers[1], tag);
  check_prepared(session, strcmp(tag, "ROLLBACK") == 0 ? "0" : "1");
}

static void prepare_in_a_pipeline_after_begin_is_prepared(void) {
  static const char *const commands[] = {"BEGIN", TAKE,          "PREPARE TRANSACTION 'x'",
                                         SYNC,    "DISCARD ALL", SYNC,
                                         NULL};
  PGconn *session = facts_session();
  struct answer answers[PIPELINE_MAX];
  CU_ASSERT_EQUAL_FATAL(say_in_pipeline(session, answers, commands), 4);
  CHECK_TAG_IS(answers[2], "PREPARE TRANSACTION");
  CHECK_TAG_IS(answers[3], "DISCARD ALL");
  check_prepared(session, "1");
}

/* PREPARE has ended the transaction, so this is none of its statements. */
static void discard_all_is_taken_behind_prepare_before_the_same_sync(void) {
  static const char *const commands[] = {"BEGIN",       "SET application_name = 'mine'",
                                         TAKE,          "PREPARE TRANSACTION 'x'",
                                         "DISCARD ALL", SYNC,
                                         NULL};
  PGconn *session = facts_session();
  struct answer answers[PIPELINE_MAX];
  CU_ASSERT_EQUAL_FATAL(say_in_pipeline(session, answers, commands), 5);
  CHECK_TAG_IS(answers[3], "PREPARE TRANSACTION");
  CHECK_WARNING_IS(answers[3], "");
  CHECK_TAG_IS(answers[4], "DISCARD ALL");
  check_prepared(session, "1");
  CHECK_VALUE(session, "f", "SELECT current_setting('application_name') = 'mine'");
}

static void discard_all_is_skipped_behind_a_prepare_that_is_refused(void) {
  static const char *const commands[] = {"BEGIN",       "LISTEN x", "PREPARE TRANSACTION 'x'",
                                         "DISCARD ALL", SYNC,       NULL};
  PGconn *session = facts_session();
  struct answer answers[PIPELINE_MAX];
  CU_ASSERT_EQUAL_FATAL(say_in_pipeline(session, answers, commands), 4);
  CHECK_SQLSTATE_IS(answers[2], "0A000");
  CHECK_SQLSTATE_IS(answers[3], "skip");
  CU_ASSERT_EQUAL(PQtransactionStatus(session), PQTRANS_IDLE);
  check_prepared(session, "0");
}

static void discard_all_is_taken_behind_rollback_before_the_same_sync(void) {
  static const char *const commands[] = {"ROLLBACK", "DISCARD ALL", SYNC, NULL};
  PGconn *session = facts_session();
  struct answer answers[PIPELINE_MAX];
  CHECK_SAYS(session, "BEGIN", "BEGIN");
  CHECK_REFUSED(session, "22012", "SELECT 1/0");
  CU_ASSERT_EQUAL_FATAL(say_in_pipeline(session, answers, commands), 2);
  CHECK_TAG_IS(answers[0], "ROLLBACK");
  CHECK_TAG_IS(answers[1], "DISCARD ALL");
}

static void prepare_in_a_pipeline_behind_an_error_is_skipped(void) {
  static const char *const commands[] = {"BEGIN", "SELECT 1/0", "PREPARE TRANSACTION 'x'", SYNC,
                                         NULL};
  PGconn *session = facts_session();
  struct answer answers[PIPELINE_MAX];
  CU_ASSERT_EQUAL_FATAL(say_in_pipeline(session, answers, commands), 3);
  CHECK_SQLSTATE_IS(answers[1], "22012");
  CHECK_SQLSTATE_IS(answers[2], "skip");
  CHECK_SAYS(session, "ROLLBACK", "ROLLBACK");
  check_prepared(session, "0");
}

static void commit_of_a_failed_transaction_answers_success_with_the_tag_rollback(void) {
  PGconn *session = facts_session();
  CHECK_SAYS(session, "BEGIN", "BEGIN");
  CHECK_REFUSED(session, "22012", "SELECT 1/0");
  CHECK_SAYS(session, "ROLLBACK", "COMMIT");
}

/* ---- gids ------------------------------------------------------------------------------------ */

static void gid_of_199_bytes_is_taken_and_of_200_refused(void) {
  char gid[201];
  memset(gid, 'g', 200);
  gid[200] = '\0';
  PGconn *session = facts_session();
  CHECK_REFUSED(session, "22023", "BEGIN; " TAKE "; PREPARE TRANSACTION '%s'", gid);
  gid[199] = '\0';
  CHECK_SAYS(session, "ROLLBACK", "ROLLBACK");
  CHECK_SAYS(session, "PREPARE TRANSACTION", "BEGIN; " TAKE "; PREPARE TRANSACTION '%s'", gid);
  CHECK_VALUE(session, "199", "SELECT length(gid) FROM pg_prepared_xacts");
}

static void gid_is_no_parameter(void) {
  static const char *const gid[] = {"x"};
  PGconn *session = facts_session();
  CHECK_SAYS(session, "BEGIN", "BEGIN");
  PGresult *result = PQexecParams(session, "PREPARE TRANSACTION $1", 1, NULL, gid, NULL, NULL, 0);
  CU_ASSERT_STRING_EQUAL(PQresultErrorField(result, PG_DIAG_SQLSTATE), "42601");
  PQclear(result);
}

static void gid_that_is_prepared_in_another_database_is_42710(void) {
  PGconn *session = facts_session();
  PGconn *elsewhere = facts_session_as(facts_server(), "other", "");
  CHECK_SAYS(session, "PREPARE TRANSACTION", "BEGIN; " TAKE "; PREPARE TRANSACTION 'x'");
  CHECK_REFUSED(elsewhere, "42710", "BEGIN; CREATE TABLE t (); PREPARE TRANSACTION 'x'");
  check_prepared(elsewhere, "1");
  CHECK_VALUE(elsewhere, "facts", "SELECT database FROM pg_prepared_xacts");
}

static void gid_that_is_finished_can_be_prepared_again(void) {
  PGconn *session = facts_session();
  CHECK_SAYS(session, "PREPARE TRANSACTION", "BEGIN; " TAKE "; PREPARE TRANSACTION 'x'");
  CHECK_SAYS(session, "COMMIT PREPARED", "COMMIT PREPARED 'x'");
  CHECK_SAYS(session, "PREPARE TRANSACTION", "BEGIN; " TAKE "; PREPARE TRANSACTION 'x'");
}

/* ---- slots ----------------------------------------------------------------------------------- */

static void prepare_with_no_slot_free_is_53200(void) {
  PGconn *session = facts_session();
  for (int i = 0; i < FACTS_SLOTS; i++)
    CHECK_SAYS(session, "PREPARE TRANSACTION",
               "BEGIN; INSERT INTO scratch VALUES (1); PREPARE TRANSACTION 'x%d'", i);
  CHECK_REFUSED(session, "53200", "BEGIN; INSERT INTO scratch VALUES (1); PREPARE TRANSACTION 'x'");
  CHECK_SAYS(session, "ROLLBACK PREPARED", "ROLLBACK PREPARED 'x0'");
  CHECK_SAYS(session, "PREPARE TRANSACTION",
             "BEGIN; INSERT INTO scratch VALUES (1); PREPARE TRANSACTION 'x'");
}

static void prepare_where_it_is_disabled_is_55000(void) {
  PGconn *session = facts_session_as(facts_bare_server(), "postgres", "");
  CHECK_REFUSED(session, "55000", "BEGIN; CREATE TABLE t (); PREPARE TRANSACTION 'x'");
  check_prepared(session, "0");
}

/* ---- what it refuses ------------------------------------------------------------------------- */

/* Each is refused by PREPARE, not before, and the transaction is over then. */
static void check_unpreparable(const char *what, const char *sqlstate) {
  PGconn *session = facts_session();
  CHECK_SAYS(session, "BEGIN", "BEGIN");
  struct answer answer = say(session, "%s", what);
  CHECK_SQLSTATE_IS(answer, "");
  CHECK_REFUSED(session, sqlstate, "PREPARE TRANSACTION 'x'");
  CU_ASSERT_EQUAL(PQtransactionStatus(session), PQTRANS_IDLE);
  check_prepared(session, "0");
}

static void prepare_after_a_temporary_table_is_refused(void) {
  check_unpreparable("CREATE TEMPORARY TABLE t (id int)", "0A000");
}

static void prepare_after_reading_a_temporary_table_is_refused(void) {
  PGconn *session = facts_session();
  CHECK_SAYS(session, "CREATE TABLE", "CREATE TEMPORARY TABLE t (id int)");
  CHECK_REFUSED(session, "0A000", "BEGIN; SELECT * FROM t; PREPARE TRANSACTION 'x'");
}

static void prepare_with_a_cursor_with_hold_is_refused(void) {
  check_unpreparable("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "0A000");
}

static void prepare_after_listen_is_refused(void) {
  check_unpreparable("LISTEN channel", "0A000");
}

static void prepare_after_unlisten_is_refused(void) {
  PGconn *session = facts_session();
  CHECK_SAYS(session, "LISTEN", "LISTEN channel");
  CHECK_REFUSED(session, "0A000", "BEGIN; UNLISTEN channel; PREPARE TRANSACTION 'x'");
}

static void prepare_after_notify_is_refused(void) {
  check_unpreparable("NOTIFY channel", "0A000");
}

static void prepare_after_exporting_a_snapshot_is_refused(void) {
  check_unpreparable("SELECT pg_export_snapshot()", "0A000");
}

static void prepare_with_an_advisory_lock_held_both_ways_is_refused(void) {
  check_unpreparable("SELECT pg_advisory_lock(1), pg_advisory_xact_lock(1)", "0A000");
}

static void prepare_after_writing_to_a_foreign_table_is_refused_and_there_was_no_xid(void) {
  PGconn *session = facts_session();
  struct answer made =
      say(session,
          "SET client_min_messages = error; CREATE EXTENSION IF NOT EXISTS postgres_fdw;"
          "CREATE SERVER IF NOT EXISTS self FOREIGN DATA WRAPPER postgres_fdw "
          "OPTIONS (host '%s', port '%d', dbname 'facts');"
          "CREATE USER MAPPING IF NOT EXISTS FOR postgres SERVER self;"
          "CREATE FOREIGN TABLE IF NOT EXISTS far (id int) SERVER self OPTIONS (table_name 'late')",
          throwaway_server_socket_dir(facts_server()), throwaway_server_port(facts_server()));
  CHECK_SQLSTATE_IS(made, "");
  CHECK_SAYS(session, "INSERT 0 1", "BEGIN; INSERT INTO far VALUES (7)");
  CHECK_VALUE(session, "t", "SELECT pg_current_xact_id_if_assigned() IS NULL");
  CHECK_REFUSED(session, "0A000", "PREPARE TRANSACTION 'x'");
  CHECK_VALUE(session, "0", "SELECT count(*) FROM late WHERE id = 7");
}

static void prepare_checks_deferred_constraints(void) {
  check_unpreparable("INSERT INTO late VALUES (1)", "23505");
}

/* Afterwards nothing can go wrong any more: COMMIT PREPARED checks nothing. */
static void prepare_tells_a_serialization_failure(void) {
#define SKEW(id)                                                                                   \
  "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT sum(balance) FROM account; "                         \
  "UPDATE account SET balance = 0 WHERE id = " id
  PGconn *first = facts_session(), *second = facts_session();
  CHECK_SAYS(first, "UPDATE 1", SKEW("1"));
  CHECK_SAYS(second, "UPDATE 1", SKEW("2"));
  CHECK_SAYS(first, "PREPARE TRANSACTION", "PREPARE TRANSACTION 'x'");
  CHECK_REFUSED(second, "40001", "PREPARE TRANSACTION 'y'");
  CHECK_SAYS(first, "COMMIT PREPARED", "COMMIT PREPARED 'x'");
#undef SKEW
}

/* ---- branches without writes ----------------------------------------------------------------- */

static void transaction_without_writes_has_no_xid(void) {
  PGconn *session = facts_session();
  CHECK_VALUE(session, "100", "BEGIN; SELECT balance FROM account WHERE id = 1");
  CHECK_VALUE(session, "t", "SELECT pg_current_xact_id_if_assigned() IS NULL");
  CHECK_SAYS(session, "UPDATE 1", TAKE);
  CHECK_VALUE(session, "f", "SELECT pg_current_xact_id_if_assigned() IS NULL");
}

static void transaction_without_writes_can_be_prepared(void) {
  PGconn *session = facts_session();
  CHECK_SAYS(session, "PREPARE TRANSACTION",
             "BEGIN; SELECT * FROM account; PREPARE TRANSACTION 'x'");
  CHECK_SAYS(session, "COMMIT PREPARED", "COMMIT PREPARED 'x'");
}

static void notify_needs_no_xid_yet_acts_at_commit(void) {
  PGconn *listener = facts_session(), *session = facts_session();
  CHECK_SAYS(listener, "LISTEN", "LISTEN channel");
  CHECK_SAYS(session, "NOTIFY", "BEGIN; NOTIFY channel");
  CHECK_VALUE(session, "t", "SELECT pg_current_xact_id_if_assigned() IS NULL");
  CHECK_SAYS(session, "COMMIT", "COMMIT");
  /* The answer to any later command comes behind the notification. */
  CHECK_SAYS(listener, "SELECT 1", "SELECT 1");
  PGnotify *notification = PQnotifies(listener);
  CU_ASSERT_PTR_NOT_NULL(notification);
  PQfreemem(notification);
}

/* ---- what stays in the session --------------------------------------------------------------- */

static void set_survives_prepare_until_discard_all(void) {
  PGconn *session = facts_session();
  CHECK_SAYS(session, "PREPARE TRANSACTION",
             "BEGIN; SET statement_timeout = 12345; " TAKE "; PREPARE TRANSACTION 'x'");
  CHECK_VALUE(session, "12345ms", "SHOW statement_timeout");
  CHECK_SAYS(session, "DISCARD ALL", "DISCARD ALL");
  CHECK_VALUE(session, "0", "SHOW statement_timeout");
}

static void reset_all_is_taken_behind_prepare_before_the_same_sync(void) {
  static const char *const commands[] = {"BEGIN",     "SET statement_timeout = 12345",
                                         TAKE,        "PREPARE TRANSACTION 'x'",
                                         "RESET ALL", SYNC,
                                         NULL};
  PGconn *session = facts_session();
  struct answer answers[PIPELINE_MAX];
  CU_ASSERT_EQUAL_FATAL(say_in_pipeline(session, answers, commands), 5);
  CHECK_TAG_IS(answers[3], "PREPARE TRANSACTION");
  CHECK_WARNING_IS(answers[3], "");
  CHECK_TAG_IS(answers[4], "RESET");
  check_prepared(session, "1");
  CHECK_VALUE(session, "0", "SHOW statement_timeout");
}

/* The lock of the session; one of the transaction goes with the branch. */
static void session_advisory_lock_is_given_up_before_prepare(void) {
  PGconn *session = facts_session(), *other = facts_session();
  CHECK_SAYS(session, "PREPARE TRANSACTION",
             "BEGIN; SELECT pg_advisory_lock(1); SELECT pg_advisory_xact_lock(2); " TAKE
             "; SELECT pg_advisory_unlock_all(); PREPARE TRANSACTION 'x'");
  CHECK_VALUE(other, "t", "SELECT pg_try_advisory_lock(1)");
  CHECK_VALUE(other, "f", "SELECT pg_try_advisory_lock(2)");
}

static void prepared_statement_of_other_columns_by_now_is_0a000(void) {
  PGconn *session = facts_session(), *other = facts_session();
  CHECK_SAYS(session, "PREPARE", "PREPARE s AS SELECT * FROM account WHERE id = 1");
  CHECK_SAYS(other, "ALTER TABLE", "ALTER TABLE account ADD COLUMN note text");
  CHECK_REFUSED(session, "0A000", "EXECUTE s");
  CHECK_SAYS(other, "ALTER TABLE", "ALTER TABLE account DROP COLUMN note");
}

static void prepared_statement_that_a_function_deallocates_is_26000(void) {
  PGconn *session = facts_session();
  CHECK_SAYS(session, "PREPARE", "PREPARE s AS SELECT 7");
  CHECK_SAYS(session, "DO", "DO $$BEGIN EXECUTE 'DEALLOCATE ALL'; END$$");
  CHECK_REFUSED(session, "26000", "EXECUTE s");
}

static void set_local_ends_at_prepare(void) {
  PGconn *session = facts_session();
  CHECK_SAYS(session, "PREPARE TRANSACTION",
             "BEGIN; SET LOCAL statement_timeout = 12345; " TAKE "; PREPARE TRANSACTION 'x'");
  CHECK_VALUE(session, "0", "SHOW statement_timeout");
}

static void session_advisory_lock_survives_prepare_until_discard_all(void) {
  PGconn *session = facts_session(), *other = facts_session();
  CHECK_SAYS(session, "PREPARE TRANSACTION",
             "BEGIN; SELECT pg_advisory_lock(1); " TAKE "; PREPARE TRANSACTION 'x'");
  CHECK_VALUE(other, "f", "SELECT pg_try_advisory_lock(1)");
  CHECK_SAYS(session, "DISCARD ALL", "DISCARD ALL");
  CHECK_VALUE(other, "t", "SELECT pg_try_advisory_lock(1)");
}

static void prepared_statement_survives_prepare_until_discard_all(void) {
  PGconn *session = facts_session();
  CHECK_SAYS(session, "PREPARE TRANSACTION",
             "BEGIN; PREPARE s AS SELECT 7; " TAKE "; PREPARE TRANSACTION 'x'");
  CHECK_VALUE(session, "7", "EXECUTE s");
  CHECK_SAYS(session, "DISCARD ALL", "DISCARD ALL");
  CHECK_REFUSED(session, "26000", "EXECUTE s");
}

static void discard_all_in_a_transaction_is_25001(void) {
  PGconn *session = facts_session();
  CHECK_SAYS(session, "BEGIN", "BEGIN");
  CHECK_REFUSED(session, "25001", "DISCARD ALL");
}

static void prepared_transaction_belongs_to_the_role_in_force_at_prepare(void) {
  PGconn *session = facts_session();
  CHECK_SAYS(session, "PREPARE TRANSACTION",
             "BEGIN; SET ROLE alice; " TAKE "; PREPARE TRANSACTION 'x'");
  CHECK_VALUE(session, "alice", "SELECT owner FROM pg_prepared_xacts");
}

SUITE(postgres_prepare, CASE(prepare_of_a_good_transaction_answers_its_own_tag),
      CASE(prepare_in_a_failed_transaction_answers_success_with_the_tag_rollback),
      CASE(prepare_outside_a_transaction_answers_success_with_the_tag_rollback),
      CASE(prepare_in_a_pipeline_without_begin_does),
      CASE(prepare_in_a_pipeline_after_begin_is_prepared),
      CASE(discard_all_is_taken_behind_prepare_before_the_same_sync),
      CASE(discard_all_is_skipped_behind_a_prepare_that_is_refused),
      CASE(discard_all_is_taken_behind_rollback_before_the_same_sync),
      CASE(prepare_in_a_pipeline_behind_an_error_is_skipped),
      CASE(commit_of_a_failed_transaction_answers_success_with_the_tag_rollback),
      CASE(gid_of_199_bytes_is_taken_and_of_200_refused), CASE(gid_is_no_parameter),
      CASE(gid_that_is_prepared_in_another_database_is_42710),
      CASE(gid_that_is_finished_can_be_prepared_again), CASE(prepare_with_no_slot_free_is_53200),
      CASE(prepare_where_it_is_disabled_is_55000), CASE(prepare_after_a_temporary_table_is_refused),
      CASE(prepare_after_reading_a_temporary_table_is_refused),
      CASE(prepare_with_a_cursor_with_hold_is_refused), CASE(prepare_after_listen_is_refused),
      CASE(prepare_after_unlisten_is_refused), CASE(prepare_after_notify_is_refused),
      CASE(prepare_after_exporting_a_snapshot_is_refused),
      CASE(prepare_with_an_advisory_lock_held_both_ways_is_refused),
      CASE(prepare_after_writing_to_a_foreign_table_is_refused_and_there_was_no_xid),
      CASE(prepare_checks_deferred_constraints), CASE(prepare_tells_a_serialization_failure),
      CASE(transaction_without_writes_has_no_xid), CASE(transaction_without_writes_can_be_prepared),
      CASE(notify_needs_no_xid_yet_acts_at_commit), CASE(set_survives_prepare_until_discard_all),
      CASE(set_local_ends_at_prepare),
      CASE(session_advisory_lock_survives_prepare_until_discard_all),
      CASE(prepared_statement_survives_prepare_until_discard_all),
      CASE(discard_all_in_a_transaction_is_25001),
      CASE(reset_all_is_taken_behind_prepare_before_the_same_sync),
      CASE(session_advisory_lock_is_given_up_before_prepare),
      CASE(prepared_statement_of_other_columns_by_now_is_0a000),
      CASE(prepared_statement_that_a_function_deallocates_is_26000),
      CASE(prepared_transaction_belongs_to_the_role_in_force_at_prepare))
