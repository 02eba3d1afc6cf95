/* Standbys and failovers: what a standby shows, and what the one that takes over has lost.
 *
 * One failover serves all cases, made by the first: on the primary "back" is prepared, and the
 * standby gets it; then nothing reaches the standby any more, "back" is committed and "gone" is
 * prepared, both acknowledged; the primary is killed, and the standby promoted.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/facts/facts.h"

#define ADD "INSERT INTO entry VALUES (1)"

static struct {
  struct throwaway_server *promoted;
  char identity[256], timeline[16]; /* of the primary */
  char back_xid[32], gone_xid[32];
  struct answer standby_lists, standby_lsn, standby_finish, standby_prepare;
  struct answer back_committed, gone_prepared; /* as acknowledged by the primary */
} failover;

static const char identity[] = "SELECT system_identifier FROM pg_control_system()";
static const char timeline[] = "SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)";

static void must(enum error_code code, const struct error *err) {
  if (code != ERR_OK) facts_give_up("failover", err->text);
}

static void get(PGconn *session, const char *sql, char *out, size_t size) {
  struct answer answer = say(session, "%s", sql);
  if (strlen(answer.value) >= size) facts_give_up(sql, "too long");
  memcpy(out, answer.value, strlen(answer.value) + 1);
}

static void look_at_standby(const struct throwaway_server *standby) {
  PGconn *session = facts_session_as(standby, "postgres", "");
  failover.standby_lists = say(session, "SELECT count(*) FROM pg_prepared_xacts");
  failover.standby_lsn = say(session, "SELECT pg_current_wal_lsn()");
  failover.standby_finish = say(session, "COMMIT PREPARED 'back'");
  failover.standby_prepare = say(session, "BEGIN; SELECT 1; PREPARE TRANSACTION 'here'");
}

static void run_ahead(PGconn *primary) {
  failover.back_committed = say(primary, "COMMIT PREPARED 'back'");
  get(primary, "BEGIN; SELECT pg_current_xact_id()", failover.gone_xid, sizeof failover.gone_xid);
  failover.gone_prepared = say(primary, ADD "; PREPARE TRANSACTION 'gone'");
}

static void fail_over(void) {
  static const char *const settings[] = {"autovacuum=off", "log_min_messages=fatal", NULL};
  static const struct throwaway_options options = {.prepared_max = FACTS_SLOTS,
                                                   .settings = settings};
  struct error err = {0};
  struct throwaway *t = facts_throwaway();
  struct throwaway_server *old = throwaway_server(t, "old", &options, &err);
  if (!old) facts_give_up("primary", err.text);
  PGconn *primary = facts_session_as(old, "postgres", "");
  CHECK_SAYS(primary, "CREATE TABLE", "CREATE TABLE entry (id int)");
  struct throwaway_server *standby = throwaway_standby(t, old, "new", NULL, &err);
  if (!standby) facts_give_up("standby", err.text);
  get(primary, identity, failover.identity, sizeof failover.identity);
  get(primary, timeline, failover.timeline, sizeof failover.timeline);
  get(primary, "BEGIN; SELECT pg_current_xact_id()", failover.back_xid, sizeof failover.back_xid);
  CHECK_SAYS(primary, "PREPARE TRANSACTION", ADD "; PREPARE TRANSACTION 'back'");
  must(throwaway_standby_catch_up(standby, &err), &err);
  look_at_standby(standby);
  must(throwaway_standby_hold(standby, &err), &err);
  run_ahead(primary);
  throwaway_server_kill(old);
  must(throwaway_promote(standby, &err), &err);
  failover.promoted = standby;
}

static PGconn *after_failover(void) {
  if (!failover.promoted) fail_over();
  return facts_session_as(failover.promoted, "postgres", "");
}

/* ---- a standby ------------------------------------------------------------------------------- */

static void standby_lists_no_prepared_transaction_though_it_has_one(void) {
  (void)after_failover();
  CHECK_TAG_IS(failover.standby_lists, "SELECT 1");
  CU_ASSERT_STRING_EQUAL(failover.standby_lists.value, "0");
}

static void standby_refuses_to_finish_and_to_prepare(void) {
  (void)after_failover();
  CHECK_SQLSTATE_IS(failover.standby_finish, "25006");
  CHECK_SQLSTATE_IS(failover.standby_prepare, "25006");
}

static void standby_has_no_current_wal_position(void) {
  (void)after_failover();
  CHECK_SQLSTATE_IS(failover.standby_lsn, "55000");
}

/* ---- an asynchronous failover ---------------------------------------------------------------- */

static void async_failover_loses_a_gid_that_was_voted_for(void) {
  PGconn *session = after_failover();
  CHECK_TAG_IS(failover.gone_prepared, "PREPARE TRANSACTION");
  CHECK_WARNING_IS(failover.gone_prepared, "");
  CHECK_VALUE(session, "0", "SELECT count(*) FROM pg_prepared_xacts WHERE gid = 'gone'");
  CHECK_REFUSED(session, "42704", "COMMIT PREPARED 'gone'");
}

static void async_failover_hands_the_xid_of_what_it_lost_out_again(void) {
  PGconn *session = after_failover();
  CHECK_REFUSED(session, "22023", "SELECT pg_xact_status('%s')", failover.gone_xid);
  struct answer next;
  do
    next = say(session, "SELECT pg_current_xact_id()");
  while (strtoull(next.value, NULL, 10) < strtoull(failover.gone_xid, NULL, 10));
  CU_ASSERT_STRING_EQUAL(next.value, failover.gone_xid);
  CHECK_VALUE(session, "committed", "SELECT pg_xact_status('%s')", failover.gone_xid);
}

static void async_failover_brings_a_committed_gid_back_as_prepared(void) {
  PGconn *session = after_failover();
  CHECK_TAG_IS(failover.back_committed, "COMMIT PREPARED");
  CHECK_WARNING_IS(failover.back_committed, "");
  CHECK_VALUE(session, "back", "SELECT gid FROM pg_prepared_xacts");
  CHECK_VALUE(session, "in progress", "SELECT pg_xact_status('%s')", failover.back_xid);
  CHECK_VALUE(session, "0", "SELECT count(*) FROM entry");
}

static void failover_keeps_the_system_identifier_and_begins_a_timeline(void) {
  PGconn *session = after_failover();
  CHECK_VALUE(session, failover.identity, identity);
  CU_ASSERT_STRING_EQUAL(failover.timeline, "00000001");
  CHECK_VALUE(session, "00000002", timeline);
}

/* ---- a synchronous failover ------------------------------------------------------------------ */

/* The last of the cases: what was promoted is killed, and its own standby takes over. */
static void sync_failover_keeps_a_gid_that_was_voted_for_and_one_that_came_back(void) {
  static const struct throwaway_standby_options options = {.synchronous = true};
  struct error err = {0};
  PGconn *session = after_failover();
  struct throwaway_server *standby =
      throwaway_standby(facts_throwaway(), failover.promoted, "third", &options, &err);
  if (!standby) facts_give_up("synchronous standby", err.text);
  CHECK_SAYS(session, "PREPARE TRANSACTION", "BEGIN; " ADD "; PREPARE TRANSACTION 'kept'");
  throwaway_server_kill(failover.promoted);
  must(throwaway_promote(standby, &err), &err);
  failover.promoted = standby;
  session = after_failover();
  CHECK_SAYS(session, "COMMIT PREPARED", "COMMIT PREPARED 'kept'");
  CHECK_SAYS(session, "COMMIT PREPARED", "COMMIT PREPARED 'back'");
  CHECK_VALUE(session, "2", "SELECT count(*) FROM entry");
}

SUITE(postgres_standby, CASE(standby_lists_no_prepared_transaction_though_it_has_one),
      CASE(standby_refuses_to_finish_and_to_prepare), CASE(standby_has_no_current_wal_position),
      CASE(async_failover_loses_a_gid_that_was_voted_for),
      CASE(async_failover_hands_the_xid_of_what_it_lost_out_again),
      CASE(async_failover_brings_a_committed_gid_back_as_prepared),
      CASE(failover_keeps_the_system_identifier_and_begins_a_timeline),
      CASE(sync_failover_keeps_a_gid_that_was_voted_for_and_one_that_came_back))
