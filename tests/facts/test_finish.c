/* COMMIT PREPARED and ROLLBACK PREPARED: who may, where, how often, and what their errors prove. */
#include <stdio.h>
#include <string.h>

#include "tests/facts/facts.h"

#define TAKE "UPDATE account SET balance = balance - 10 WHERE id = 1"
#define ADD  "INSERT INTO scratch VALUES (1)"

static void prepare(PGconn *session, const char *gid) {
  CHECK_SAYS(session, "PREPARE TRANSACTION", "BEGIN; " ADD "; PREPARE TRANSACTION '%s'", gid);
}

/* ---- 42704 ----------------------------------------------------------------------------------- */

static void finish_of_what_was_never_prepared_is_42704(void) {
  PGconn *session = facts_session();
  CHECK_REFUSED(session, "42704", "COMMIT PREPARED 'x'");
  CHECK_REFUSED(session, "42704", "ROLLBACK PREPARED 'x'");
}

static void finish_of_what_is_done_already_is_42704_too(void) {
  PGconn *session = facts_session();
  prepare(session, "x");
  CHECK_SAYS(session, "COMMIT PREPARED", "COMMIT PREPARED 'x'");
  CHECK_REFUSED(session, "42704", "COMMIT PREPARED 'x'");
  CHECK_REFUSED(session, "42704", "ROLLBACK PREPARED 'x'");
}

/* ---- who and where --------------------------------------------------------------------------- */

static void finish_by_another_role_is_42501(void) {
  PGconn *alice = facts_session_as(facts_server(), "facts", "user=alice");
  PGconn *bob = facts_session_as(facts_server(), "facts", "user=bob");
  prepare(alice, "x");
  CHECK_REFUSED(bob, "42501", "COMMIT PREPARED 'x'");
  CHECK_REFUSED(bob, "42501", "ROLLBACK PREPARED 'x'");
  CHECK_VALUE(bob, "alice", "SELECT owner FROM pg_prepared_xacts WHERE gid = 'x'");
  CHECK_SAYS(alice, "COMMIT PREPARED", "COMMIT PREPARED 'x'");
}

static void finish_by_a_superuser_is_taken(void) {
  PGconn *alice = facts_session_as(facts_server(), "facts", "user=alice");
  prepare(alice, "x");
  CHECK_SAYS(facts_session(), "COMMIT PREPARED", "COMMIT PREPARED 'x'");
}

static void finish_from_another_database_is_0A000(void) {
  PGconn *elsewhere = facts_session_as(facts_server(), "other", "");
  prepare(facts_session(), "x");
  CHECK_REFUSED(elsewhere, "0A000", "COMMIT PREPARED 'x'");
  CHECK_REFUSED(elsewhere, "0A000", "ROLLBACK PREPARED 'x'");
  CHECK_VALUE(elsewhere, "1", "SELECT count(*) FROM pg_prepared_xacts");
}

static void finish_in_a_transaction_block_is_25001(void) {
  PGconn *session = facts_session();
  prepare(session, "x");
  CHECK_SAYS(session, "BEGIN", "BEGIN");
  CHECK_REFUSED(session, "25001", "COMMIT PREPARED 'x'");
  CHECK_VALUE(facts_session(), "1", "SELECT count(*) FROM pg_prepared_xacts");
}

static void finish_by_another_session_than_the_one_that_prepared_is_taken(void) {
  PGconn *session = facts_session();
  CHECK_SAYS(session, "PREPARE TRANSACTION", "BEGIN; " TAKE "; PREPARE TRANSACTION 'x'");
  CHECK_VALUE(session, "100", "SELECT balance FROM account WHERE id = 1");
  CHECK_SAYS(facts_session(), "COMMIT PREPARED", "COMMIT PREPARED 'x'");
  CHECK_VALUE(session, "90", "SELECT balance FROM account WHERE id = 1");
}

/* ---- pipelines ------------------------------------------------------------------------------- */

static void finishes_in_a_pipeline_work_with_a_sync_each_and_an_error_skips_nothing(void) {
  static const char *const commands[] = {"COMMIT PREPARED 'x'",
                                         SYNC,
                                         "COMMIT PREPARED 'absent'",
                                         SYNC,
                                         "COMMIT PREPARED 'y'",
                                         SYNC,
                                         NULL};
  PGconn *session = facts_session();
  struct answer answers[PIPELINE_MAX];
  prepare(session, "x");
  prepare(session, "y");
  CU_ASSERT_EQUAL_FATAL(say_in_pipeline(session, answers, commands), 3);
  CHECK_TAG_IS(answers[0], "COMMIT PREPARED");
  CHECK_SQLSTATE_IS(answers[1], "42704");
  CHECK_TAG_IS(answers[2], "COMMIT PREPARED");
  CHECK_VALUE(session, "2", "SELECT count(*) FROM scratch");
}

static void finish_in_a_pipeline_behind_another_statement_is_25001(void) {
  static const char *const commands[] = {"SELECT 1", "COMMIT PREPARED 'x'", SYNC, NULL};
  PGconn *session = facts_session();
  struct answer answers[PIPELINE_MAX];
  prepare(session, "x");
  CU_ASSERT_EQUAL_FATAL(say_in_pipeline(session, answers, commands), 2);
  CHECK_SQLSTATE_IS(answers[1], "25001");
  CHECK_VALUE(session, "1", "SELECT count(*) FROM pg_prepared_xacts");
}

/* Each commits at once, so the next begins anew; nothing promises it, and an error would skip it. */
static void finishes_in_a_pipeline_without_a_sync_between_them_are(void) {
  static const struct since expected[] = {{14, "taken"}, {0, NULL}};
  static const char *const commands[] = {"COMMIT PREPARED 'x'", "COMMIT PREPARED 'y'", SYNC, NULL};
  PGconn *session = facts_session();
  struct answer answers[PIPELINE_MAX];
  prepare(session, "x");
  prepare(session, "y");
  CU_ASSERT_EQUAL_FATAL(say_in_pipeline(session, answers, commands), 2);
  CHECK_TAG_IS(answers[0], "COMMIT PREPARED");
  if (strcmp(facts_expected(expected), "taken") == 0)
    CHECK_TAG_IS(answers[1], "COMMIT PREPARED");
  else
    CHECK_SQLSTATE_IS(answers[1], "25001");
}

/* ---- pg_xact_status -------------------------------------------------------------------------- */

static struct answer prepared_xid(PGconn *session) {
  struct answer xid = say(session, "BEGIN; SELECT pg_current_xact_id()");
  CHECK_SAYS(session, "PREPARE TRANSACTION", ADD "; PREPARE TRANSACTION 'x'");
  return xid;
}

static void xact_status_of_a_prepared_transaction_is_in_progress_then_committed(void) {
  PGconn *session = facts_session();
  struct answer xid = prepared_xid(session);
  CHECK_VALUE(session, "in progress", "SELECT pg_xact_status('%s')", xid.value);
  CHECK_SAYS(session, "COMMIT PREPARED", "COMMIT PREPARED 'x'");
  CHECK_VALUE(session, "committed", "SELECT pg_xact_status('%s')", xid.value);
}

static void xact_status_of_a_prepared_transaction_rolled_back_is_aborted(void) {
  PGconn *session = facts_session();
  struct answer xid = prepared_xid(session);
  CHECK_SAYS(session, "ROLLBACK PREPARED", "ROLLBACK PREPARED 'x'");
  CHECK_VALUE(session, "aborted", "SELECT pg_xact_status('%s')", xid.value);
}

static void xact_status_of_an_xid_not_handed_out_yet_is_22023(void) {
  PGconn *session = facts_session();
  struct answer xid =
      say(session, "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::int8 + 100");
  CHECK_REFUSED(session, "22023", "SELECT pg_xact_status('%s')", xid.value);
}

static void xact_status_may_be_asked_by_any_role(void) {
  PGconn *bob = facts_session_as(facts_server(), "facts", "user=bob");
  struct answer xid = prepared_xid(facts_session());
  CHECK_VALUE(bob, "in progress", "SELECT pg_xact_status('%s')", xid.value);
}

/* The 32 bits of the listing are the lower ones of the xid that the branch was told. */
static void listing_shows_the_lower_32_bits_of_the_xid(void) {
  PGconn *session = facts_session();
  struct answer xid = prepared_xid(session);
  CHECK_VALUE(session, "t",
              "SELECT transaction::text::int8 = '%s'::int8 %% 4294967296 FROM pg_prepared_xacts",
              xid.value);
}

/* ---- sessions of others ---------------------------------------------------------------------- */

static void application_name_is_seen_by_sessions_of_any_role(void) {
  static const char count[] =
      "SELECT count(*) FROM pg_stat_activity WHERE left(application_name, 6) = 'assent'";
  PGconn *alice = facts_session_as(facts_server(), "facts", "user=alice application_name=assent-1");
  CHECK_SAYS(alice, "SELECT 1", "SELECT 1");
  CHECK_VALUE(facts_session_as(facts_server(), "facts", "user=alice"), "1", count);
  CHECK_VALUE(facts_session_as(facts_server(), "facts", "user=bob"), "1", count);
}

static void application_name_is_cut_at_63_bytes(void) {
  PGconn *session = facts_session();
  CHECK_SAYS(session, "SET", "SET application_name = '%064d'", 0);
  CHECK_VALUE(session, "63", "SELECT length(current_setting('application_name'))");
}

/* So a listing without it proves that it can prepare nothing any more. */
static void session_that_is_terminated_is_listed_until_its_transaction_is_gone(void) {
  char gone[128];
  PGconn *session = facts_session(), *other = facts_session();
  CHECK_SAYS(session, "UPDATE 1", "BEGIN; " TAKE);
  (void)snprintf(gone, sizeof gone, "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = %d",
                 PQbackendPID(session));
  CHECK_VALUE(other, "t", "SELECT pg_terminate_backend(%d)", PQbackendPID(session));
  facts_until(gone);
  CHECK_VALUE(other, "100", "SELECT balance FROM account WHERE id = 1 FOR UPDATE NOWAIT");
}

SUITE(postgres_finish, CASE(finish_of_what_was_never_prepared_is_42704),
      CASE(finish_of_what_is_done_already_is_42704_too), CASE(finish_by_another_role_is_42501),
      CASE(finish_by_a_superuser_is_taken), CASE(finish_from_another_database_is_0A000),
      CASE(finish_in_a_transaction_block_is_25001),
      CASE(finish_by_another_session_than_the_one_that_prepared_is_taken),
      CASE(finishes_in_a_pipeline_work_with_a_sync_each_and_an_error_skips_nothing),
      CASE(finish_in_a_pipeline_behind_another_statement_is_25001),
      CASE(finishes_in_a_pipeline_without_a_sync_between_them_are),
      CASE(xact_status_of_a_prepared_transaction_is_in_progress_then_committed),
      CASE(xact_status_of_a_prepared_transaction_rolled_back_is_aborted),
      CASE(xact_status_of_an_xid_not_handed_out_yet_is_22023),
      CASE(xact_status_may_be_asked_by_any_role), CASE(listing_shows_the_lower_32_bits_of_the_xid),
      CASE(application_name_is_seen_by_sessions_of_any_role),
      CASE(application_name_is_cut_at_63_bytes),
      CASE(session_that_is_terminated_is_listed_until_its_transaction_is_gone))
