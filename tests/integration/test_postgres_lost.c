/* What is told when the answer does not come, or proves nothing: a server killed, paused, waiting
 * for a replica. */
#include <stdlib.h>
#include <string.h>

#include "tests/integration/pg.h"
#include "tests/lib/suite.h"

#define TAKE  "UPDATE account SET balance = balance - 10 WHERE id = 1"
#define SLEEP "SELECT pg_sleep(60)"

enum { SHORT_MS = 300 };

static struct pg pg;
static struct session *session;
static struct pg_answer answer;

static void begin(void) {
  pg_setup(&pg);
  session = pg_open_named(&pg, "assent test", SHORT_MS);
  answer = (struct pg_answer){.loop = pg.loop};
}

static void end(void) {
  pg_answer_clear(&answer);
  pg_close(&pg, session);
  pg_teardown(&pg);
}

static void assert_lost(enum session_ran ran, enum cause_kind kind) {
  CU_ASSERT_EQUAL(answer.ran, ran);
  CU_ASSERT_FALSE(answer.reusable);
  CU_ASSERT_EQUAL(answer.cause.kind, kind);
  CU_ASSERT_FALSE(pg.adapter->ops->is_idle(session));
  CU_ASSERT_EQUAL(pg_lost_count(), 0); /* the answer said it */
}

static const struct statement take = {.sql = TAKE, .expect_rows = -1};
static const struct statement sleeper = {.sql = SLEEP, .expect_rows = -1};

static void run_begin(enum run_end run_end, const struct statement *statements, size_t count,
                      int64_t timeout_ms) {
  struct session_job job = {.begin = pg.adapter->ops->is_idle(session),
                            .end = run_end,
                            .gid = pg.gid[0],
                            .statements = statements,
                            .statement_count = count,
                            .timeout_ms = timeout_ms,
                            .result_rows_max = 10,
                            .result_bytes_max = 1000};
  pg_answer_clear(&answer);
  pg.adapter->ops->run(session, &job, pg_on_ran, &answer);
}

static void wait_until_asleep(void) {
  pg_wait_for(&pg, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
}

static void open_afresh(void) {
  pg_close(&pg, session);
  session = pg_open_named(&pg, "assent test", PG_CALL_TIMEOUT_MS);
}

static enum session_looked look_up(bool barrier) {
  pg_answer_clear(&answer);
  pg.adapter->ops->look_up(session, pg.gid[0], barrier, pg_on_looked, &answer);
  pg_wait(&pg, &answer, 1);
  return answer.looked;
}

/* ---- killed ---------------------------------------------------------------------------------- */

static void server_killed_amid_statements_before_prepare_fails_the_branch(void) {
  begin();
  run_begin(RUN_KEEP_OPEN, &sleeper, 1, 60000);
  wait_until_asleep();
  throwaway_server_kill(pg.server);
  pg_wait(&pg, &answer, 1);
  assert_lost(RAN_FAILED, CAUSE_UNREACHABLE);
  end();
}

static void server_killed_with_prepare_under_way_is_unknown(void) {
  begin();
  const struct statement statements[] = {take, sleeper};
  run_begin(RUN_PREPARE, statements, 2, 60000);
  wait_until_asleep();
  throwaway_server_kill(pg.server);
  pg_wait(&pg, &answer, 1);
  assert_lost(RAN_UNKNOWN, CAUSE_UNREACHABLE);
  pg_restart(&pg);
  open_afresh();
  CU_ASSERT_EQUAL(look_up(true), LOOKED_ABSENT);
  end();
}

/* Too many rows came before the server was gone: whatever is found prepared may not be voted for. */
static void server_killed_with_prepare_of_a_failed_branch_under_way_is_unwanted(void) {
  begin();
  const struct statement rows = {.sql = "SELECT generate_series(1, 10000)", .expect_rows = -1};
  const struct statement statements[] = {take, rows, sleeper};
  run_begin(RUN_PREPARE, statements, 3, 60000);
  wait_until_asleep();
  throwaway_server_kill(pg.server);
  pg_wait(&pg, &answer, 1);
  assert_lost(RAN_UNWANTED, CAUSE_LIMIT);
  CU_ASSERT_EQUAL(answer.cause.statement, 1);
  end();
}

static void server_killed_after_prepare_keeps_it(void) {
  begin();
  run_begin(RUN_PREPARE, &take, 1, 5000);
  pg_wait(&pg, &answer, 1);
  CU_ASSERT_EQUAL(answer.ran, RAN_PREPARED);
  throwaway_server_kill(pg.server);
  pg_restart(&pg);
  open_afresh();
  CU_ASSERT_EQUAL(look_up(true), LOOKED_PREPARED);
  pg_finish(&pg, session, pg.gid[0], true, &answer);
  CU_ASSERT_EQUAL(answer.finished, FINISH_DONE);
  CU_ASSERT_EQUAL(pg_int(pg.dsn, "SELECT balance FROM account WHERE id = 1"), 90);
  end();
}

static void server_stopped_while_idle_tells_the_session(void) {
  begin();
  throwaway_server_stop(pg.server);
  struct session *other = pg_open_as(&pg, "bank", "", &answer); /* runs the loop meanwhile */
  CU_ASSERT_EQUAL(answer.err.code, ERR_UNAVAILABLE);
  CU_ASSERT_EQUAL(pg_lost_count(), 1);
  pg_close(&pg, other);
  end();
}

static void backend_ended_amid_statements_fails_though_prepare_was_sent(void) {
  begin();
  const struct statement statements[] = {take, sleeper};
  run_begin(RUN_PREPARE, statements, 2, 60000);
  wait_until_asleep();
  pg_sql(pg.dsn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                 "WHERE wait_event = 'PgSleep'");
  pg_wait(&pg, &answer, 1);
  CU_ASSERT_STRING_EQUAL(answer.cause.sqlstate, "57P01");
  assert_lost(RAN_FAILED, CAUSE_UNREACHABLE); /* the server said so, and that proves it */
  end();
}

static void calls_on_a_broken_session_are_answered_as_lost(void) {
  begin();
  run_begin(RUN_KEEP_OPEN, &sleeper, 1, 60000);
  wait_until_asleep();
  throwaway_server_kill(pg.server);
  pg_wait(&pg, &answer, 1);
  run_begin(RUN_PREPARE, &take, 1, 1000);
  CU_ASSERT_EQUAL(answer.count, 0); /* on a later turn */
  pg_wait(&pg, &answer, 1);
  assert_lost(RAN_FAILED, CAUSE_UNREACHABLE);
  pg.adapter->ops->rollback(session, pg_on_ran, &answer);
  pg_wait(&pg, &answer, 2);
  CU_ASSERT_EQUAL(answer.ran, RAN_FAILED);
  pg.adapter->ops->commit(session, pg_on_committed, &answer);
  pg_wait(&pg, &answer, 3);
  CU_ASSERT_EQUAL(answer.outcome, BRANCH_OUTCOME_RETRY);
  CU_ASSERT_EQUAL(look_up(false), LOOKED_LOST);
  pg.adapter->ops->finish(session, pg.gid[0], true, pg_on_finished, &answer);
  pg.adapter->ops->finish(session, pg.gid[1], true, pg_on_finished, &answer);
  pg_wait(&pg, &answer, 3);
  CU_ASSERT_EQUAL(answer.finished, FINISH_LOST);
  pg.adapter->ops->list(session, &pg.cluster, pg_on_listed, &answer);
  pg_wait(&pg, &answer, 4);
  CU_ASSERT_EQUAL(answer.err.code, ERR_UNAVAILABLE);
  end();
}

/* ---- paused ---------------------------------------------------------------------------------- */

static void server_paused_with_prepare_under_way_is_unknown(void) {
  begin();
  throwaway_server_pause(pg.server);
  run_begin(RUN_PREPARE, &take, 1, SHORT_MS);
  pg_wait(&pg, &answer, 1);
  assert_lost(RAN_UNKNOWN, CAUSE_TIMEOUT);
  throwaway_server_resume(pg.server);
  end();
}

static void server_paused_before_a_held_back_prepare_fails_the_branch(void) {
  begin();
  const struct statement expecting = {.sql = TAKE, .expect_rows = 1};
  throwaway_server_pause(pg.server);
  run_begin(RUN_PREPARE, &expecting, 1, SHORT_MS);
  pg_wait(&pg, &answer, 1);
  assert_lost(RAN_FAILED, CAUSE_TIMEOUT);
  throwaway_server_resume(pg.server);
  end();
}

static void server_paused_loses_finishes(void) {
  begin();
  throwaway_server_pause(pg.server);
  pg.adapter->ops->finish(session, pg.gid[0], true, pg_on_finished, &answer);
  pg.adapter->ops->finish(session, pg.gid[1], false, pg_on_finished, &answer);
  pg_wait(&pg, &answer, 2);
  CU_ASSERT_EQUAL(answer.finished, FINISH_LOST);
  CU_ASSERT_EQUAL(answer.cause.kind, CAUSE_TIMEOUT);
  throwaway_server_resume(pg.server);
  end();
}

static void server_paused_while_connecting_fails_the_opening(void) {
  begin();
  throwaway_server_pause(pg.server);
  struct session *other = pg.adapter->ops->open(pg.adapter, SESSION_FOR_BRANCHES, "assent",
                                                SHORT_MS, pg_on_opened, pg_on_lost, &answer);
  pg_wait(&pg, &answer, 1);
  CU_ASSERT_EQUAL(answer.err.code, ERR_UNAVAILABLE);
  pg_close(&pg, other);
  throwaway_server_resume(pg.server);
  end();
}

static void answer_that_waits_when_the_timer_is_late_counts(void) {
  begin();
  run_begin(RUN_PREPARE, &take, 1, 100);
  /* The loop stands still, as if this process were stopped, for longer than all its timers. */
  pg_sql(pg.dsn, "SELECT pg_sleep(0.6)");
  pg_wait(&pg, &answer, 1);
  CU_ASSERT_EQUAL(answer.ran, RAN_PREPARED);
  end();
}

/* ---- waiting for a replica ------------------------------------------------------------------- */

static void wait_until_a_replica_is_awaited(void) {
  pg_wait_for(&pg, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
}

static void prepare_that_waits_for_a_replica_is_listed_and_not_durable(void) {
  const struct statement statements[] = {{.sql = "SET synchronous_commit = on", .expect_rows = -1},
                                         take};
  begin();
  run_begin(RUN_PREPARE, statements, 2, 60000);
  wait_until_a_replica_is_awaited();
  struct pg_answer looked = {.loop = pg.loop};
  struct session *waiting = pg_open_as(&pg, "bank", "options='-c synchronous_commit=on'", &looked);
  pg_answer_clear(&looked);
  pg.another->ops->look_up(waiting, pg.gid[0], false, pg_on_looked, &looked);
  pg_wait(&pg, &looked, 1);
  CU_ASSERT_EQUAL(looked.looked, LOOKED_PREPARED);
  pg_close(&pg, waiting);
  pg_answer_clear(&looked);
  waiting = pg.another->ops->open(pg.another, SESSION_FOR_BRANCHES, "assent", SHORT_MS,
                                  pg_on_opened, pg_on_lost, &looked);
  pg_wait(&pg, &looked, 1);
  pg.another->ops->look_up(waiting, pg.gid[0], true, pg_on_looked, &looked);
  pg_wait(&pg, &looked, 2);
  CU_ASSERT_EQUAL(looked.looked, LOOKED_LOST); /* the barrier waits for the same replica */
  pg_close(&pg, waiting);
  pg_sql(pg.dsn, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity "
                 "WHERE wait_event = 'SyncRep'");
  pg_wait(&pg, &answer, 1);
  assert_lost(RAN_UNKNOWN, CAUSE_UNREACHABLE); /* the tag came, and a warning with it */
  end();
}

static void finish_while_prepare_waits_for_a_replica_is_busy(void) {
  const struct statement statements[] = {{.sql = "SET synchronous_commit = on", .expect_rows = -1},
                                         take};
  begin();
  run_begin(RUN_PREPARE, statements, 2, 60000);
  wait_until_a_replica_is_awaited();
  struct session *control = pg_open(&pg);
  struct pg_answer finished = {.loop = pg.loop};
  pg_finish(&pg, control, pg.gid[0], false, &finished);
  CU_ASSERT_EQUAL(finished.finished, FINISH_BUSY);
  CU_ASSERT_STRING_EQUAL(finished.cause.sqlstate, "55000");
  pg_close(&pg, control);
  end();
}

static void commit_prepared_whose_wait_is_cancelled_is_lost(void) {
  begin();
  run_begin(RUN_PREPARE, &take, 1, 5000);
  pg_wait(&pg, &answer, 1);
  struct session *waiting = pg_open_as(&pg, "bank", "options='-c synchronous_commit=on'", &answer);
  pg_answer_clear(&answer);
  pg.another->ops->finish(waiting, pg.gid[0], true, pg_on_finished, &answer);
  wait_until_a_replica_is_awaited();
  pg_sql(pg.dsn, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity "
                 "WHERE wait_event = 'SyncRep'");
  pg_wait(&pg, &answer, 1);
  CU_ASSERT_EQUAL(answer.finished, FINISH_LOST);
  pg_close(&pg, waiting);
  end();
}

/* The server lets everybody see the commit; no replica has it. */
static void commit_whose_wait_is_cut_is_committed_after_a_barrier_only(void) {
  begin();
  struct session *waiting = pg_open_as(&pg, "bank", "options='-c synchronous_commit=on'", &answer);
  pg_answer_clear(&answer);
  pg_run_begin(&pg, waiting, RUN_READY, NULL, &take, 1, &answer);
  pg_wait(&pg, &answer, 1);
  CU_ASSERT_EQUAL(answer.ran, RAN_OPEN);
  char xid[XID_SIZE];
  memcpy(xid, answer.xid, sizeof xid);
  pg.another->ops->commit(waiting, pg_on_committed, &answer);
  wait_until_a_replica_is_awaited();
  pg_sql(pg.dsn, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity "
                 "WHERE wait_event = 'SyncRep'");
  pg_wait(&pg, &answer, 2);
  CU_ASSERT_EQUAL(answer.outcome, BRANCH_OUTCOME_RETRY);
  pg_close(&pg, waiting);
  pg_answer_clear(&answer);
  waiting = pg.another->ops->open(pg.another, SESSION_FOR_BRANCHES, "assent", SHORT_MS,
                                  pg_on_opened, pg_on_lost, &answer);
  pg_wait(&pg, &answer, 1);
  pg.another->ops->xact_status(waiting, xid, pg_on_status, &answer);
  pg_wait(&pg, &answer, 2);
  CU_ASSERT_EQUAL(answer.status, XACT_STATUS_LOST);
  pg_close(&pg, waiting);
  struct session *control = pg_open(&pg); /* its barrier does not wait for replicas */
  pg_answer_clear(&answer);
  pg.adapter->ops->xact_status(control, xid, pg_on_status, &answer);
  pg_wait(&pg, &answer, 1);
  CU_ASSERT_EQUAL(answer.status, XACT_STATUS_COMMITTED);
  CU_ASSERT_TRUE(pg.adapter->ops->is_idle(control));
  pg_close(&pg, control);
  end();
}

static void barrier_that_waits_for_a_replica_fails(void) {
  begin();
  struct session *waiting = pg_open_as(&pg, "bank", "options='-c synchronous_commit=on'", &answer);
  pg_answer_clear(&answer);
  pg.another->ops->barrier(waiting, pg_on_done, &answer);
  wait_until_a_replica_is_awaited();
  pg_sql(pg.dsn, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity "
                 "WHERE wait_event = 'SyncRep'");
  pg_wait(&pg, &answer, 1);
  CU_ASSERT_EQUAL(answer.err.code, ERR_UNAVAILABLE);
  pg_close(&pg, waiting);
  end();
}

/* ---- xids and crashes ------------------------------------------------------------------------ */

/* The transaction's only trace in the WAL is the message of the xid query. */
static void xid_of_a_ready_branch_is_not_handed_out_again_after_a_barrier(void) {
  begin();
  pg_sql(pg.dsn, "DROP TABLE IF EXISTS scratch; CREATE UNLOGGED TABLE scratch (id int)");
  struct statement write = {.sql = "INSERT INTO scratch VALUES (1)", .expect_rows = -1};
  run_begin(RUN_READY, &write, 1, 60000);
  pg_wait(&pg, &answer, 1);
  CU_ASSERT_EQUAL(answer.ran, RAN_OPEN);
  CU_ASSERT_NOT_EQUAL(answer.xid[0], '\0');
  int64_t xid = strtoll(answer.xid, NULL, 10);
  struct pg_answer done = {.loop = pg.loop};
  struct session *control = pg_open(&pg);
  pg.adapter->ops->barrier(control, pg_on_done, &done);
  pg_wait(&pg, &done, 1);
  CU_ASSERT_EQUAL(done.err.code, ERR_OK);
  CU_ASSERT_TRUE(pg.adapter->ops->is_idle(control));
  pg_close(&pg, control);
  throwaway_server_kill(pg.server);
  pg_restart(&pg);
  CU_ASSERT(pg_int(pg.dsn, "SELECT pg_current_xact_id()::text::bigint") > xid);
  pg_answer_clear(&done);
  control = pg_open(&pg);
  pg.adapter->ops->xact_status(control, answer.xid, pg_on_status, &done);
  pg_wait(&pg, &done, 1);
  CU_ASSERT_EQUAL(done.status, XACT_STATUS_ABORTED);
  pg_close(&pg, control);
  end();
}

SUITE(postgres_lost, CASE(server_killed_amid_statements_before_prepare_fails_the_branch),
      CASE(server_killed_with_prepare_under_way_is_unknown),
      CASE(server_killed_with_prepare_of_a_failed_branch_under_way_is_unwanted),
      CASE(server_killed_after_prepare_keeps_it), CASE(server_stopped_while_idle_tells_the_session),
      CASE(backend_ended_amid_statements_fails_though_prepare_was_sent),
      CASE(calls_on_a_broken_session_are_answered_as_lost),
      CASE(server_paused_with_prepare_under_way_is_unknown),
      CASE(server_paused_before_a_held_back_prepare_fails_the_branch),
      CASE(server_paused_loses_finishes), CASE(server_paused_while_connecting_fails_the_opening),
      CASE(answer_that_waits_when_the_timer_is_late_counts),
      CASE(prepare_that_waits_for_a_replica_is_listed_and_not_durable),
      CASE(finish_while_prepare_waits_for_a_replica_is_busy),
      CASE(commit_prepared_whose_wait_is_cancelled_is_lost),
      CASE(commit_whose_wait_is_cut_is_committed_after_a_barrier_only),
      CASE(barrier_that_waits_for_a_replica_fails),
      CASE(xid_of_a_ready_branch_is_not_handed_out_again_after_a_barrier))
