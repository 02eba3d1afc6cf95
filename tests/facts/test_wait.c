/* Waiting for a synchronous standby, which here never comes: what others see, what a cut wait says. */
#include <string.h>

#include "tests/facts/facts.h"

#define TAKE "UPDATE account SET balance = balance - 10 WHERE id = 1"

static PGconn *waiting_session(void) {
  return facts_session_as(facts_server(), "facts", "options='-c synchronous_commit=on'");
}

static void wait_until_it_waits(void) {
  facts_until("SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
}

static void cut_the_wait(void) {
  CHECK_VALUE(facts_session(), "t",
              "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
}

static void begin_prepare(PGconn *waiting) {
  say_begin(waiting, "BEGIN; " TAKE "; PREPARE TRANSACTION 'x'");
  wait_until_it_waits();
}

static void prepare_that_waits_for_a_replica_is_listed_already(void) {
  begin_prepare(waiting_session());
  CHECK_VALUE(facts_session(), "x", "SELECT gid FROM pg_prepared_xacts");
}

static void finish_while_prepare_waits_for_a_replica_is_55000(void) {
  begin_prepare(waiting_session());
  CHECK_REFUSED(facts_session(), "55000", "ROLLBACK PREPARED 'x'");
  CHECK_REFUSED(facts_session(), "55000", "COMMIT PREPARED 'x'");
}

static void finish_while_another_finish_is_under_way_is_55000(void) {
  PGconn *waiting = waiting_session();
  CHECK_SAYS(facts_session(), "PREPARE TRANSACTION", "BEGIN; " TAKE "; PREPARE TRANSACTION 'x'");
  say_begin(waiting, "COMMIT PREPARED 'x'");
  wait_until_it_waits();
  CHECK_REFUSED(facts_session(), "55000", "COMMIT PREPARED 'x'");
  CHECK_REFUSED(facts_session(), "55000", "ROLLBACK PREPARED 'x'");
}

static void prepare_whose_wait_is_cancelled_answers_success_with_warning_01000(void) {
  PGconn *waiting = waiting_session();
  begin_prepare(waiting);
  cut_the_wait();
  struct answer answer = hear(waiting);
  CHECK_TAG_IS(answer, "PREPARE TRANSACTION");
  CHECK_WARNING_IS(answer, "01000");
}

static void commit_prepared_whose_wait_is_cancelled_answers_success_with_warning_01000(void) {
  PGconn *waiting = waiting_session();
  CHECK_SAYS(facts_session(), "PREPARE TRANSACTION", "BEGIN; " TAKE "; PREPARE TRANSACTION 'x'");
  say_begin(waiting, "COMMIT PREPARED 'x'");
  wait_until_it_waits();
  cut_the_wait();
  struct answer answer = hear(waiting);
  CHECK_TAG_IS(answer, "COMMIT PREPARED");
  CHECK_WARNING_IS(answer, "01000");
}

static void rollback_prepared_waits_for_a_replica_too(void) {
  PGconn *waiting = waiting_session();
  CHECK_SAYS(facts_session(), "PREPARE TRANSACTION", "BEGIN; " TAKE "; PREPARE TRANSACTION 'x'");
  say_begin(waiting, "ROLLBACK PREPARED 'x'");
  wait_until_it_waits();
  cut_the_wait();
  struct answer answer = hear(waiting);
  CHECK_TAG_IS(answer, "ROLLBACK PREPARED");
  CHECK_WARNING_IS(answer, "01000");
}

static void commit_whose_wait_is_cancelled_answers_success_with_warning_01000(void) {
  PGconn *waiting = waiting_session();
  say_begin(waiting, "BEGIN; " TAKE "; COMMIT");
  wait_until_it_waits();
  cut_the_wait();
  struct answer answer = hear(waiting);
  CHECK_TAG_IS(answer, "COMMIT");
  CHECK_WARNING_IS(answer, "01000");
  CHECK_VALUE(facts_session(), "90", "SELECT balance FROM account WHERE id = 1");
}

static void commit_that_waits_for_a_replica_is_unseen_and_in_progress_to_xact_status(void) {
  PGconn *waiting = waiting_session();
  struct answer xid = say(waiting, "BEGIN; SELECT pg_current_xact_id()");
  say_begin(waiting, TAKE "; COMMIT");
  wait_until_it_waits();
  PGconn *session = facts_session();
  CHECK_VALUE(session, "100", "SELECT balance FROM account WHERE id = 1");
  CHECK_VALUE(session, "in progress", "SELECT pg_xact_status('%s')", xid.value);
}

static void commit_whose_backend_is_terminated_amid_the_wait_is_committed_and_lost(void) {
  PGconn *waiting = waiting_session(), *session = facts_session();
  struct answer xid = say(waiting, "BEGIN; SELECT pg_current_xact_id()");
  say_begin(waiting, TAKE "; COMMIT");
  wait_until_it_waits();
  CHECK_VALUE(session, "t", "SELECT pg_terminate_backend(%d, 60000)", PQbackendPID(waiting));
  CHECK_VALUE(session, "committed", "SELECT pg_xact_status('%s')", xid.value);
  CHECK_VALUE(session, "90", "SELECT balance FROM account WHERE id = 1");
}

/* So a barrier needs both: an xid, and WAL of its own. */
static void commit_without_an_xid_does_not_wait_for_a_replica(void) {
  PGconn *waiting = waiting_session();
  struct answer answer =
      say(waiting, "BEGIN; SELECT pg_logical_emit_message(false, 'a', ''); COMMIT");
  CHECK_TAG_IS(answer, "COMMIT");
  CHECK_WARNING_IS(answer, "");
}

static void commit_of_a_transactional_message_waits_for_a_replica(void) {
  PGconn *waiting = waiting_session();
  say_begin(waiting, "BEGIN; SELECT pg_logical_emit_message(true, 'a', ''); COMMIT");
  wait_until_it_waits();
  cut_the_wait();
  CHECK_WARNING_IS(hear(waiting), "01000");
}

SUITE(postgres_wait, CASE(prepare_that_waits_for_a_replica_is_listed_already),
      CASE(finish_while_prepare_waits_for_a_replica_is_55000),
      CASE(finish_while_another_finish_is_under_way_is_55000),
      CASE(prepare_whose_wait_is_cancelled_answers_success_with_warning_01000),
      CASE(commit_prepared_whose_wait_is_cancelled_answers_success_with_warning_01000),
      CASE(rollback_prepared_waits_for_a_replica_too),
      CASE(commit_whose_wait_is_cancelled_answers_success_with_warning_01000),
      CASE(commit_that_waits_for_a_replica_is_unseen_and_in_progress_to_xact_status),
      CASE(commit_whose_backend_is_terminated_amid_the_wait_is_committed_and_lost),
      CASE(commit_without_an_xid_does_not_wait_for_a_replica),
      CASE(commit_of_a_transactional_message_waits_for_a_replica))
