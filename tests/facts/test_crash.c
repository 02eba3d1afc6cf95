/* What a killed server keeps, what it hands out again, and what a prepared transaction holds on to. */
#include <stdio.h>
#include <string.h>

#include "tests/facts/facts.h"

#define TAKE    "UPDATE account SET balance = balance - 10 WHERE id = 1"
#define BARRIER "BEGIN; SELECT pg_logical_emit_message(true, 'assent', 'barrier'); COMMIT"

enum { REUSE_TRIES = 5 };

static void prepare_take(PGconn *session) {
  CHECK_SAYS(session, "PREPARE TRANSACTION", "BEGIN; " TAKE "; PREPARE TRANSACTION 'x'");
}

/* ---- survival -------------------------------------------------------------------------------- */

static void prepared_transaction_survives_a_killed_server_and_can_be_committed(void) {
  prepare_take(facts_session());
  facts_crash(facts_server());
  PGconn *session = facts_session();
  CHECK_VALUE(session, "100", "SELECT balance FROM account WHERE id = 1");
  CHECK_SAYS(session, "COMMIT PREPARED", "COMMIT PREPARED 'x'");
  CHECK_VALUE(session, "90", "SELECT balance FROM account WHERE id = 1");
}

static void prepared_transaction_holds_its_row_locks_after_a_killed_server(void) {
  prepare_take(facts_session());
  facts_crash(facts_server());
  CHECK_REFUSED(facts_session(), "55P03", "SELECT 1 FROM account WHERE id = 1 FOR UPDATE NOWAIT");
  CHECK_VALUE(facts_session(), "1", "SELECT 1 FROM account WHERE id = 2 FOR UPDATE NOWAIT");
}

static void xact_status_knows_a_commit_prepared_after_a_killed_server(void) {
  PGconn *session = facts_session();
  struct answer xid = say(session, "BEGIN; SELECT pg_current_xact_id()");
  CHECK_SAYS(session, "PREPARE TRANSACTION", TAKE "; PREPARE TRANSACTION 'x'");
  CHECK_SAYS(session, "COMMIT PREPARED", "COMMIT PREPARED 'x'");
  facts_crash(facts_server());
  CHECK_VALUE(facts_session(), "committed", "SELECT pg_xact_status('%s')", xid.value);
}

/* The WAL writer sleeps for ten seconds here: what is flushed, the command has flushed. */
static void prepare_and_commit_prepared_flush_though_synchronous_commit_is_off(void) {
  PGconn *session = facts_session();
  CHECK_SAYS(session, "SET", "SET synchronous_commit = off");
  struct answer before = say(session, "SELECT pg_current_wal_insert_lsn()");
  prepare_take(session);
  CHECK_VALUE(session, "t", "SELECT pg_current_wal_flush_lsn() > '%s'", before.value);
  before = say(session, "SELECT pg_current_wal_insert_lsn()");
  CHECK_SAYS(session, "COMMIT PREPARED", "COMMIT PREPARED 'x'");
  CHECK_VALUE(session, "t", "SELECT pg_current_wal_flush_lsn() > '%s'", before.value);
}

/* ---- what is held ---------------------------------------------------------------------------- */

static void prepared_transaction_makes_ddl_on_its_tables_wait(void) {
  PGconn *session = facts_session();
  prepare_take(session);
  CHECK_SAYS(session, "SET", "SET lock_timeout = 50");
  CHECK_REFUSED(session, "55P03", "ALTER TABLE account ADD COLUMN note text");
  CHECK_REFUSED(session, "55P03", "DROP TABLE account");
  CHECK_REFUSED(session, "55P03", "TRUNCATE account");
  CHECK_REFUSED(session, "55P03", "VACUUM FULL account");
}

static void prepared_transaction_keeps_vacuum_from_removing_rows_that_died_after_it(void) {
  PGconn *session = facts_session();
  CHECK_SAYS(
      session, "SELECT 5000",
      "DROP TABLE IF EXISTS dead; CREATE TABLE dead AS SELECT generate_series(1, 5000) AS id");
  prepare_take(session);
  CHECK_SAYS(session, "DELETE 5000", "DELETE FROM dead");
  CHECK_SAYS(session, "VACUUM", "VACUUM dead");
  CHECK_VALUE(session, "t", "SELECT pg_relation_size('dead') > 0");
  CHECK_SAYS(session, "ROLLBACK PREPARED", "ROLLBACK PREPARED 'x'");
  CHECK_SAYS(session, "VACUUM", "VACUUM dead");
  CHECK_VALUE(session, "0", "SELECT pg_relation_size('dead')");
}

static void prepared_transaction_keeps_its_database_from_being_dropped(void) {
  PGconn *session = facts_session_as(facts_server(), "postgres", "");
  CHECK_SAYS(session, "CREATE DATABASE", "CREATE DATABASE doomed");
  PGconn *inside = facts_session_as(facts_server(), "doomed", "");
  CHECK_SAYS(inside, "PREPARE TRANSACTION", "BEGIN; CREATE TABLE t (); PREPARE TRANSACTION 'x'");
  CHECK_REFUSED(session, "55006", "DROP DATABASE doomed WITH (FORCE)");
  CHECK_SAYS(inside, "ROLLBACK PREPARED", "ROLLBACK PREPARED 'x'");
  CHECK_SAYS(session, "DROP DATABASE", "DROP DATABASE doomed WITH (FORCE)");
}

/* ---- xids ------------------------------------------------------------------------------------ */

/* Reading the xid is harmless; that nothing of it was flushed is the point. Something else may flush
 * in between, rarely (a snapshot is logged every 15 seconds): then it is tried again. */
static void xid_of_which_no_wal_was_flushed_is_handed_out_again_after_a_crash(void) {
  bool reused = false;
  for (int i = 0; i < REUSE_TRIES && !reused; i++) {
    PGconn *session = facts_session();
    CHECK_SAYS(session, "CHECKPOINT", "CHECKPOINT");
    CHECK_SAYS(session, "INSERT 0 1", "BEGIN; INSERT INTO scratch VALUES (1)");
    struct answer xid = say(session, "SELECT pg_current_xact_id()");
    facts_crash(facts_server());
    PGconn *after = facts_session();
    struct answer next = say(after, "BEGIN; SELECT pg_current_xact_id()");
    CHECK_SAYS(after, "COMMIT", "COMMIT");
    reused = strcmp(next.value, xid.value) == 0;
    if (reused) CHECK_VALUE(after, "committed", "SELECT pg_xact_status('%s')", xid.value);
    facts_teardown(); /* the session that was lost, too */
  }
  CU_ASSERT_TRUE(reused);
}

/* It forgets a million xids (2^20) at a time, once every database has been frozen behind them. */
static void xact_status_of_an_xid_that_is_too_old_is_null(void) {
  static const char *const databases[] = {"postgres", "template0", "template1"};
  PGconn *session = facts_session_as(facts_bare_server(), "postgres", "");
  struct answer xid = say(session, "SELECT pg_current_xact_id()");
  CHECK_SAYS(session, "ALTER DATABASE", "ALTER DATABASE template0 ALLOW_CONNECTIONS true");
  CHECK_SAYS(session, "SET", "SET synchronous_commit = off");
  CHECK_SAYS(session, "DO",
             "DO $$ BEGIN FOR i IN 1..1100000 LOOP "
             "PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$");
  CHECK_VALUE(session, "committed", "SELECT pg_xact_status('%s')", xid.value);
  for (size_t i = 0; i < sizeof databases / sizeof databases[0]; i++)
    CHECK_SAYS(facts_session_as(facts_bare_server(), databases[i], ""), "VACUUM", "VACUUM FREEZE");
  CHECK_SAYS(session, "SELECT 1", "SELECT pg_xact_status('%s')", xid.value);
  CHECK_VALUE(session, "", "SELECT pg_xact_status('%s')", xid.value);
}

/* The transaction itself commits nothing: another one's commit makes its message durable. */
static void check_barrier(struct throwaway_server *server, const char *dbname) {
  PGconn *session = facts_session_as(server, dbname, "");
  CHECK_SAYS(session, "CREATE TABLE",
             "SET client_min_messages = error; DROP TABLE IF EXISTS trace; "
             "CREATE UNLOGGED TABLE trace (id int)");
  CHECK_SAYS(session, "CHECKPOINT", "CHECKPOINT");
  CHECK_SAYS(session, "INSERT 0 1", "BEGIN; INSERT INTO trace VALUES (1)");
  struct answer xid = say(session, "SELECT pg_current_xact_id()");
  struct answer message = say(session, "SELECT pg_logical_emit_message(true, 'assent', 'ready')");
  PGconn *control = facts_session_as(server, dbname, "");
  CHECK_SAYS(control, "COMMIT", BARRIER);
  CHECK_VALUE(control, "t", "SELECT pg_current_wal_flush_lsn() >= '%s'", message.value);
  facts_crash(server);
  PGconn *after = facts_session_as(server, dbname, "");
  CHECK_VALUE(after, "aborted", "SELECT pg_xact_status('%s')", xid.value);
  CHECK_VALUE(after, "t", "SELECT pg_current_xact_id() > '%s'", xid.value);
}

static void xid_is_aborted_after_a_crash_once_a_message_of_it_was_behind_a_barrier(void) {
  check_barrier(facts_server(), "facts");
}

static void transactional_message_is_a_barrier_at_wal_level_minimal_too(void) {
  PGconn *session = facts_session_as(facts_bare_server(), "postgres", "");
  CHECK_VALUE(session, "minimal", "SHOW wal_level");
  check_barrier(facts_bare_server(), "postgres");
}

static void transactional_message_gets_an_xid(void) {
  PGconn *session = facts_session();
  CHECK_SAYS(session, "SELECT 1", "BEGIN; SELECT pg_logical_emit_message(true, 'assent', '')");
  CHECK_VALUE(session, "f", "SELECT pg_current_xact_id_if_assigned() IS NULL");
}

/* The adapter asks for both in one SELECT list, and the message must not make the xid it asks for. */
static void select_list_is_evaluated_from_the_left(void) {
  PGconn *session = facts_session();
  CHECK_SAYS(session, "BEGIN", "BEGIN");
  CHECK_VALUE(session, "t",
              "SELECT pg_current_xact_id_if_assigned() IS NULL, "
              "pg_logical_emit_message(true, 'assent', '')");
  CHECK_VALUE(session, "f", "SELECT pg_current_xact_id_if_assigned() IS NULL");
}

/* ---- identity -------------------------------------------------------------------------------- */

static void server_identity_survives_a_crash(void) {
  static const char identity[] = "SELECT concat(system_identifier, '/', "
                                 "left(pg_walfile_name(pg_current_wal_lsn()), 8), '/', "
                                 "(SELECT oid FROM pg_database WHERE datname = 'facts')) "
                                 "FROM pg_control_system()";
  struct answer before = say(facts_session(), identity);
  facts_crash(facts_server());
  CHECK_VALUE(facts_session(), before.value, identity);
}

static void server_identity_may_be_asked_by_any_role(void) {
  PGconn *bob = facts_session_as(facts_server(), "facts", "user=bob");
  CHECK_SQLSTATE_IS(say(bob, "SELECT system_identifier FROM pg_control_system()"), "");
  CHECK_SQLSTATE_IS(say(bob, "SELECT pg_walfile_name(pg_current_wal_lsn())"), "");
}

SUITE(postgres_crash, CASE(prepared_transaction_survives_a_killed_server_and_can_be_committed),
      CASE(prepared_transaction_holds_its_row_locks_after_a_killed_server),
      CASE(xact_status_knows_a_commit_prepared_after_a_killed_server),
      CASE(prepare_and_commit_prepared_flush_though_synchronous_commit_is_off),
      CASE(prepared_transaction_makes_ddl_on_its_tables_wait),
      CASE(prepared_transaction_keeps_vacuum_from_removing_rows_that_died_after_it),
      CASE(prepared_transaction_keeps_its_database_from_being_dropped),
      CASE(xid_of_which_no_wal_was_flushed_is_handed_out_again_after_a_crash),
      CASE(xid_is_aborted_after_a_crash_once_a_message_of_it_was_behind_a_barrier),
      CASE(transactional_message_is_a_barrier_at_wal_level_minimal_too),
      CASE(xact_status_of_an_xid_that_is_too_old_is_null), CASE(transactional_message_gets_an_xid),
      CASE(select_list_is_evaluated_from_the_left), CASE(server_identity_survives_a_crash),
      CASE(server_identity_may_be_asked_by_any_role))
