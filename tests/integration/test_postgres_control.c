/* Phase two and the questions behind it, on a real PostgreSQL. */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/integration/pg.h"
#include "tests/lib/suite.h"

#define TAKE "UPDATE account SET balance = balance - 10 WHERE id = 1"
#define GIVE "UPDATE account SET balance = balance + 10 WHERE id = 2"

static struct pg pg;
static struct session *session; /* the control session */
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

static int64_t balance(int id) {
  return pg_int(pg.dsn, id == 1 ? "SELECT balance FROM account WHERE id = 1"
                                : "SELECT balance FROM account WHERE id = 2");
}

static void prepare(int gid, const char *sql, char xid[XID_SIZE]) {
  struct session *worker = pg_open(&pg);
  struct pg_answer ran = {.loop = pg.loop};
  pg_run(&pg, worker, RUN_PREPARE, pg.gid[gid], &ran, sql, NULL);
  CU_ASSERT_EQUAL_FATAL(ran.ran, RAN_PREPARED);
  if (xid) memcpy(xid, ran.xid, XID_SIZE);
  pg_answer_clear(&ran);
  pg_close(&pg, worker);
}

/* ---- opening --------------------------------------------------------------------------------- */

static void identity_names_server_timeline_and_database(void) {
  char wanted[SERVER_SIZE];
  begin();
  struct session *other = pg_open_as(&pg, "other", "", &answer);
  (void)snprintf(wanted, sizeof wanted, "%lld/1/%lld",
                 (long long)pg_int(pg.dsn, "SELECT system_identifier FROM pg_control_system()"),
                 (long long)pg_int(pg.dsn, "SELECT oid FROM pg_database WHERE datname = 'other'"));
  CU_ASSERT_STRING_EQUAL(answer.identity.server, wanted);
  CU_ASSERT_EQUAL(answer.identity.prepared_max, 20);
  CU_ASSERT_EQUAL(answer.identity.server_version,
                  pg_int(pg.dsn, "SELECT current_setting('server_version_num')"));
  CU_ASSERT_EQUAL(
      answer.identity.backend_pid,
      pg_int(pg.dsn, "SELECT pid FROM pg_stat_activity WHERE application_name = 'assent other'"));
  pg_close(&pg, other);
  end();
}

static void open_without_rights_needs_none(void) {
  begin();
  struct session *bob = pg_open_as(&pg, "bank", "user=bob", &answer);
  CU_ASSERT_EQUAL(answer.err.code, ERR_OK);
  pg_close(&pg, bob);
  end();
}

static void open_of_a_missing_database_tells_so(void) {
  begin();
  struct session *none = pg_open_as(&pg, "nothing", "", &answer);
  CU_ASSERT_EQUAL(answer.err.code, ERR_UNAVAILABLE);
  CU_ASSERT_PTR_NOT_NULL(strstr(answer.err.text, "\"nothing\" does not exist"));
  pg_close(&pg, none);
  end();
}

static void open_where_nobody_listens_tells_so(void) {
  begin();
  struct session *none = pg_open_as(&pg, "bank", "hostaddr=127.0.0.1 port=1", &answer);
  CU_ASSERT_EQUAL(answer.err.code, ERR_UNAVAILABLE);
  CU_ASSERT_PTR_NOT_NULL(strstr(answer.err.text, "refused"));
  pg_close(&pg, none);
  end();
}

static void open_over_tcp_works(void) {
  begin();
  struct session *tcp = pg_open_as(&pg, "bank", "host=localhost", &answer);
  CU_ASSERT_EQUAL(answer.err.code, ERR_OK);
  pg_close(&pg, tcp);
  end();
}

/* Takes connections and never says a word: a machine that hangs, or whose packets are dropped. */
static int listen_silently(int *port) {
  struct sockaddr_in address = {.sin_family = AF_INET};
  socklen_t length = sizeof address;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  bool ok = fd >= 0 && bind(fd, (const struct sockaddr *)&address, length) == 0 &&
            listen(fd, 16) == 0 && getsockname(fd, (struct sockaddr *)&address, &length) == 0;
  CU_ASSERT_FATAL(ok);
  *port = ntohs(address.sin_port);
  return fd;
}

static void open_with_a_silent_host_first_reaches_the_next_in_time(void) {
  char dsn[THROWAWAY_DSN_SIZE];
  struct error err = {0};
  int silent_port, fd = listen_silently(&silent_port);
  begin();
  (void)snprintf(dsn, sizeof dsn,
                 "host=127.0.0.1,127.0.0.1 port=%d,%d dbname=bank user=postgres "
                 "target_session_attrs=read-write",
                 silent_port, throwaway_server_port(pg.server));
  struct adapter *both = postgres_adapter_new(pg.loop, dsn, &err);
  CU_ASSERT_PTR_NOT_NULL_FATAL(both);
  for (int attempt = 0; attempt < 2; attempt++) {
    pg_answer_clear(&answer);
    struct session *found = both->ops->open(both, SESSION_FOR_BRANCHES, "assent", 500, pg_on_opened,
                                            pg_on_lost, &answer);
    pg_wait(&pg, &answer, 1);
    CU_ASSERT_EQUAL(answer.err.code, attempt == 0 ? ERR_UNAVAILABLE : ERR_OK);
    pg_close(&pg, found);
  }
  both->ops->free(both);
  end();
  (void)close(fd);
}

static void close_while_connecting_tells_nobody(void) {
  begin();
  struct session *early =
      pg.adapter->ops->open(pg.adapter, SESSION_FOR_BRANCHES, "early", PG_CALL_TIMEOUT_MS,
                            pg_on_opened, pg_on_lost, &answer);
  pg_close(&pg, early);
  pg.adapter->ops->probe(session, "assent_", pg_on_probed, &answer);
  pg_wait(&pg, &answer, 1);
  CU_ASSERT_EQUAL(answer.count, 1);
  end();
}

static void dsn_that_is_none_is_refused_without_repeating_it(void) {
  static const char *const wrong[] = {"host=h password=top secret",
                                      "postgresql://u:secret@h:x/d?y=1", "password='secret",
                                      "secret"};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    struct error err = {0};
    CU_ASSERT_PTR_NULL(postgres_adapter_new(NULL, wrong[i], &err));
    CU_ASSERT_EQUAL(err.code, ERR_CONFIG);
    CU_ASSERT_PTR_NULL(strstr(err.text, "secret"));
  }
}

/* ---- finish ---------------------------------------------------------------------------------- */

static void finish_commit_is_done(void) {
  begin();
  prepare(0, TAKE, NULL);
  pg_finish(&pg, session, pg.gid[0], true, &answer);
  CU_ASSERT_EQUAL(answer.finished, FINISH_DONE);
  CU_ASSERT_TRUE(pg.adapter->ops->is_idle(session));
  CU_ASSERT_EQUAL(balance(1), 90);
  end();
}

static void finish_rollback_is_done(void) {
  begin();
  prepare(0, TAKE, NULL);
  pg_finish(&pg, session, pg.gid[0], false, &answer);
  CU_ASSERT_EQUAL(answer.finished, FINISH_DONE);
  CU_ASSERT_EQUAL(balance(1), 100);
  end();
}

static void finish_of_a_missing_gid_stops_no_other(void) {
  struct pg_answer answers[3];
  begin();
  prepare(0, TAKE, NULL);
  prepare(2, GIVE, NULL);
  for (int i = 0; i < 3; i++) {
    answers[i] = (struct pg_answer){.loop = pg.loop};
    pg.adapter->ops->finish(session, pg.gid[i], true, pg_on_finished, &answers[i]);
  }
  for (int i = 0; i < 3; i++)
    pg_wait(&pg, &answers[i], 1);
  CU_ASSERT_EQUAL(answers[0].finished, FINISH_DONE);
  CU_ASSERT_EQUAL(answers[1].finished, FINISH_NOT_FOUND);
  CU_ASSERT_STRING_EQUAL(answers[1].cause.sqlstate, "42704");
  CU_ASSERT_EQUAL(answers[2].finished, FINISH_DONE);
  CU_ASSERT_EQUAL(balance(1), 90);
  CU_ASSERT_EQUAL(balance(2), 110);
  end();
}

static void finish_in_another_database_is_refused(void) {
  begin();
  prepare(0, TAKE, NULL);
  struct session *other = pg_open_as(&pg, "other", "", &answer);
  pg_finish(&pg, other, pg.gid[0], true, &answer);
  CU_ASSERT_EQUAL(answer.finished, FINISH_REFUSED);
  CU_ASSERT_STRING_EQUAL(answer.cause.sqlstate, "0A000");
  pg_close(&pg, other);
  end();
}

static void finish_without_rights_is_refused(void) {
  begin();
  prepare(0, TAKE, NULL);
  struct session *bob = pg_open_as(&pg, "bank", "user=bob", &answer);
  pg_finish(&pg, bob, pg.gid[0], true, &answer);
  CU_ASSERT_EQUAL(answer.finished, FINISH_REFUSED);
  CU_ASSERT_STRING_EQUAL(answer.cause.sqlstate, "42501");
  pg_close(&pg, bob);
  end();
}

/* ---- look up, status, list ------------------------------------------------------------------- */

static void look_up(const char *gid, bool barrier) {
  pg_answer_clear(&answer);
  pg.adapter->ops->look_up(session, gid, barrier, pg_on_looked, &answer);
  pg_wait(&pg, &answer, 1);
}

static void look_up_of_a_prepared_gid_finds_its_xid(void) {
  char xid[XID_SIZE];
  begin();
  prepare(0, TAKE, xid);
  look_up(pg.gid[0], false);
  CU_ASSERT_EQUAL(answer.looked, LOOKED_PREPARED);
  CU_ASSERT_STRING_EQUAL(answer.xid, xid);
  look_up(pg.gid[0], true);
  CU_ASSERT_EQUAL(answer.looked, LOOKED_PREPARED);
  CU_ASSERT_STRING_EQUAL(answer.xid, xid);
  CU_ASSERT_TRUE(pg.adapter->ops->is_idle(session));
  end();
}

static void look_up_of_a_missing_gid_is_absent(void) {
  begin();
  look_up(pg.gid[0], true);
  CU_ASSERT_EQUAL(answer.looked, LOOKED_ABSENT);
  CU_ASSERT_STRING_EQUAL(answer.xid, "");
  end();
}

static void look_up_in_another_database_is_absent(void) {
  begin();
  prepare(0, TAKE, NULL);
  struct session *other = pg_open_as(&pg, "other", "", &answer);
  pg_answer_clear(&answer);
  pg.another->ops->look_up(other, pg.gid[0], false, pg_on_looked, &answer);
  pg_wait(&pg, &answer, 1);
  CU_ASSERT_EQUAL(answer.looked, LOOKED_ABSENT);
  pg_close(&pg, other);
  end();
}

static enum xact_status status(const char *xid) {
  pg_answer_clear(&answer);
  pg.adapter->ops->xact_status(session, xid, pg_on_status, &answer);
  pg_wait(&pg, &answer, 1);
  return answer.status;
}

static void xact_status_follows_a_branch(void) {
  char committed[XID_SIZE], aborted[XID_SIZE];
  begin();
  prepare(0, TAKE, committed);
  prepare(1, GIVE, aborted);
  CU_ASSERT_EQUAL(status(committed), XACT_STATUS_IN_PROGRESS);
  pg_finish(&pg, session, pg.gid[0], true, &answer);
  pg_finish(&pg, session, pg.gid[1], false, &answer);
  CU_ASSERT_EQUAL(status(committed), XACT_STATUS_COMMITTED);
  CU_ASSERT_EQUAL(status(aborted), XACT_STATUS_ABORTED);
  end();
}

static void xact_status_of_the_future_is_aborted(void) {
  begin();
  CU_ASSERT_EQUAL(status("999999999"), XACT_STATUS_ABORTED);
  CU_ASSERT_STRING_EQUAL(answer.cause.sqlstate, "22023");
  CU_ASSERT_TRUE(pg.adapter->ops->is_idle(session));
  end();
}

static void list_shows_this_cluster_only(void) {
  char xid[XID_SIZE], sql[256];
  begin();
  prepare(0, TAKE, xid);
  prepare(1, GIVE, NULL);
  static const char *const foreign[] = {"assent_testcluster0_x", "assent_testcluster1_1_x", "mine"};
  for (size_t i = 0; i < 3; i++) {
    (void)snprintf(sql, sizeof sql, "BEGIN; CREATE TABLE foreign%zu (); PREPARE TRANSACTION '%s'",
                   i, foreign[i]);
    pg_sql(pg.dsn, sql);
  }
  pg_answer_clear(&answer);
  pg.adapter->ops->list(session, &pg.cluster, pg_on_listed, &answer);
  pg_wait(&pg, &answer, 1);
  CU_ASSERT_EQUAL(answer.branch_count, 2);
  CU_ASSERT_STRING_EQUAL(answer.branches[0].gid, pg.gid[0]);
  CU_ASSERT_STRING_EQUAL(answer.branches[0].xid, xid);
  CU_ASSERT_TRUE(answer.branches[0].prepared_at_us > INT64_C(1600000000000000));
  CU_ASSERT_STRING_EQUAL(answer.branches[1].gid, pg.gid[1]);
  for (size_t i = 0; i < 3; i++) {
    (void)snprintf(sql, sizeof sql, "ROLLBACK PREPARED '%s'", foreign[i]);
    pg_sql(pg.dsn, sql);
  }
  end();
}

static void probe_counts_what_is_prepared(void) {
  begin();
  pg.adapter->ops->probe(session, "assent_", pg_on_probed, &answer);
  pg_wait(&pg, &answer, 1);
  CU_ASSERT_EQUAL(answer.probe.prepared_count, 0);
  CU_ASSERT_EQUAL(answer.probe.oldest_prepared_ms, -1);
  prepare(0, TAKE, NULL);
  pg.adapter->ops->probe(session, "assent_another_", pg_on_probed, &answer);
  pg_wait(&pg, &answer, 2);
  CU_ASSERT_EQUAL(answer.probe.prepared_count, 1);
  CU_ASSERT_EQUAL(answer.probe.prepared_others, 1);
  pg.adapter->ops->probe(session, "assent_", pg_on_probed, &answer);
  pg_wait(&pg, &answer, 3);
  CU_ASSERT_EQUAL(answer.probe.prepared_count, 1);
  CU_ASSERT_EQUAL(answer.probe.prepared_others, 0);
  CU_ASSERT_TRUE(answer.probe.oldest_prepared_ms >= 0);
  CU_ASSERT_TRUE(answer.probe.latency_us >= 0);
  end();
}

/* ---- sessions of others ---------------------------------------------------------------------- */

static void end_sessions_ends_those_of_the_prefix_only(void) {
  struct pg_answer ran = {0};
  begin();
  struct session *old = pg_open_named(&pg, "agent-1 old", PG_CALL_TIMEOUT_MS);
  struct session *mine = pg_open_named(&pg, "agent-1 new", PG_CALL_TIMEOUT_MS);
  struct session *other = pg_open_named(&pg, "agent-2 old", PG_CALL_TIMEOUT_MS);
  pg_run(&pg, old, RUN_KEEP_OPEN, NULL, &ran, TAKE, NULL);
  pg.adapter->ops->end_sessions(session, "agent-1 ", "agent-1 new", pg_on_done, &answer);
  pg_wait(&pg, &answer, 1);
  CU_ASSERT_EQUAL(answer.err.code, ERR_OK);
  CU_ASSERT_EQUAL(pg_int(pg.dsn, "SELECT count(*) FROM pg_stat_activity WHERE application_name = "
                                 "'agent-1 old'"),
                  0);
  pg_run(&pg, mine, RUN_PREPARE, pg.gid[0], &ran, "SELECT 1", NULL);
  CU_ASSERT_EQUAL(ran.ran, RAN_READ_ONLY);
  pg_run(&pg, other, RUN_PREPARE, pg.gid[0], &ran, "SELECT 1", NULL);
  CU_ASSERT_EQUAL(ran.ran, RAN_READ_ONLY);
  CU_ASSERT_EQUAL(pg_lost_count(), 1); /* the one that was ended heard of it */
  pg_answer_clear(&ran);
  pg_close(&pg, old);
  pg_close(&pg, mine);
  pg_close(&pg, other);
  end();
}

static void end_sessions_without_rights_tells_so(void) {
  begin();
  struct session *bob = pg_open_as(&pg, "bank", "user=bob", &answer);
  pg_answer_clear(&answer);
  pg.another->ops->end_sessions(bob, "assent test", "", pg_on_done, &answer);
  pg_wait(&pg, &answer, 1);
  CU_ASSERT_EQUAL(answer.err.code, ERR_UNAVAILABLE);
  CU_ASSERT_STRING_EQUAL(answer.err.sqlstate, "42501");
  pg_close(&pg, bob);
  end();
}

static void cancel_ends_a_statement(void) {
  struct pg_answer ran = {0};
  begin();
  struct session *worker = pg_open_as(&pg, "bank", "", &answer);
  int pid = answer.identity.backend_pid;
  const struct statement statement = {.sql = "SELECT pg_sleep(60)", .expect_rows = -1};
  pg_run_begin(&pg, worker, RUN_READY, NULL, &statement, 1, &ran);
  pg_wait_for(&pg, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
  pg_answer_clear(&answer);
  pg.adapter->ops->cancel(session, pid, pg_on_done, &answer);
  pg_wait(&pg, &answer, 1);
  pg_wait(&pg, &ran, 1);
  CU_ASSERT_EQUAL(answer.err.code, ERR_OK);
  CU_ASSERT_EQUAL(ran.ran, RAN_FAILED);
  CU_ASSERT_EQUAL(ran.cause.kind, CAUSE_TIMEOUT);
  pg_close(&pg, worker);
  end();
}

/* ---- the epoch ------------------------------------------------------------------------------- */

static enum session_claimed claim_after(struct session *by, uint64_t epoch, const char *run_id,
                                        uint64_t after_epoch, const char *after_run_id) {
  struct epoch_claim claim = {.cluster = pg.cluster, .epoch = epoch, .after_epoch = after_epoch};
  (void)snprintf(claim.run_id, sizeof claim.run_id, "%s", run_id);
  (void)snprintf(claim.after_run_id, sizeof claim.after_run_id, "%s", after_run_id);
  pg_answer_clear(&answer);
  pg.adapter->ops->claim_epoch(by, &claim, pg_on_claimed, &answer);
  pg_wait(&pg, &answer, 1);
  return answer.claimed;
}

static enum session_claimed claim_by(struct session *by, uint64_t epoch, const char *run_id) {
  return claim_after(by, epoch, run_id, 0, "");
}

static void drop_epochs(void) {
  pg_sql(pg.dsn, "SET client_min_messages = error; DROP SCHEMA IF EXISTS assent CASCADE");
}

static void claim_of_a_higher_epoch_is_granted(void) {
  begin();
  drop_epochs();
  CU_ASSERT_EQUAL(claim_by(session, 5, "a"), CLAIM_GRANTED);
  CU_ASSERT_EQUAL(answer.known.epoch, 0);
  CU_ASSERT_EQUAL(claim_by(session, 5, "a"), CLAIM_GRANTED); /* the same life again */
  CU_ASSERT_EQUAL(answer.known.epoch, 5);
  CU_ASSERT_EQUAL(claim_after(session, 6, "b", 5, "a"), CLAIM_GRANTED);
  CU_ASSERT_EQUAL(answer.known.epoch, 5);
  CU_ASSERT_EQUAL(claim_after(session, 9, "c", 7, "x"), CLAIM_GRANTED); /* 6 is older than 7 */
  CU_ASSERT_TRUE(pg.adapter->ops->is_idle(session));
  end();
}

static void claim_of_a_lower_epoch_is_stale(void) {
  begin();
  drop_epochs();
  CU_ASSERT_EQUAL(claim_by(session, 6, "b"), CLAIM_GRANTED);
  CU_ASSERT_EQUAL(claim_by(session, 5, "a"), CLAIM_STALE);
  CU_ASSERT_EQUAL(answer.known.epoch, 6);
  CU_ASSERT_STRING_EQUAL(answer.known.run_id, "b");
  CU_ASSERT_EQUAL(claim_by(session, 6, "c"), CLAIM_STALE); /* two lives, one epoch */
  CU_ASSERT_EQUAL(pg_int(pg.dsn, "SELECT count(*) FROM assent.coordinator WHERE epoch = 6 AND "
                                 "run_id = 'b'"),
                  1);
  end();
}

/* An old copy of the log that has been started often enough. */
static void claim_of_a_higher_epoch_after_another_life_is_stale(void) {
  begin();
  drop_epochs();
  CU_ASSERT_EQUAL(claim_by(session, 6, "b"), CLAIM_GRANTED);
  CU_ASSERT_EQUAL(claim_by(session, 9, "d"), CLAIM_STALE);
  CU_ASSERT_EQUAL(answer.known.epoch, 6);
  CU_ASSERT_STRING_EQUAL(answer.known.run_id, "b");
  CU_ASSERT_EQUAL(claim_after(session, 9, "d", 6, "c"), CLAIM_STALE);
  CU_ASSERT_EQUAL(claim_after(session, 9, "d", 5, "b"), CLAIM_STALE);
  CU_ASSERT_EQUAL(pg_int(pg.dsn, "SELECT epoch FROM assent.coordinator"), 6);
  CU_ASSERT_EQUAL(claim_after(session, 9, "d", 6, "b"), CLAIM_GRANTED);
  end();
}

static void claim_without_rights_tells_so(void) {
  struct pg_answer opened = {0};
  begin();
  drop_epochs();
  struct session *bob = pg_open_as(&pg, "bank", "user=bob", &opened);
  CU_ASSERT_EQUAL(claim_by(bob, 5, "a"), CLAIM_NO_RIGHTS); /* no schema, may not create */
  CU_ASSERT_EQUAL(claim_by(session, 5, "a"), CLAIM_GRANTED);
  CU_ASSERT_EQUAL(claim_by(bob, 6, "a"), CLAIM_NO_RIGHTS); /* schema of another */
  pg_sql(pg.dsn, "GRANT USAGE ON SCHEMA assent TO bob");
  CU_ASSERT_EQUAL(claim_by(bob, 6, "a"), CLAIM_NO_RIGHTS);
  CU_ASSERT_EQUAL(answer.known.epoch, 0);
  pg_sql(pg.dsn, "GRANT SELECT ON assent.coordinator TO bob");
  CU_ASSERT_EQUAL(claim_by(bob, 6, "b"), CLAIM_NO_RIGHTS); /* but may read who is known */
  CU_ASSERT_EQUAL(answer.known.epoch, 5);
  CU_ASSERT_STRING_EQUAL(answer.known.run_id, "a");
  pg_sql(pg.dsn, "GRANT SELECT, INSERT, UPDATE ON assent.coordinator TO bob");
  CU_ASSERT_EQUAL(claim_after(bob, 6, "a", 5, "a"), CLAIM_GRANTED);
  CU_ASSERT_TRUE(pg.adapter->ops->is_idle(bob));
  pg_close(&pg, bob);
  end();
}

static void claim_by_two_at_once_is_granted_to_one(void) {
  struct pg_answer other;
  begin();
  for (int round = 0; round < 5; round++) {
    drop_epochs();
    struct session *second = pg_open(&pg);
    struct epoch_claim low = {.cluster = pg.cluster, .epoch = 5, .run_id = "a"};
    struct epoch_claim high = {.cluster = pg.cluster, .epoch = 6, .run_id = "b"};
    pg_answer_clear(&answer);
    other = (struct pg_answer){.loop = pg.loop};
    pg.adapter->ops->claim_epoch(session, &low, pg_on_claimed, &answer);
    pg.adapter->ops->claim_epoch(second, &high, pg_on_claimed, &other);
    pg_wait(&pg, &answer, 1);
    pg_wait(&pg, &other, 1);
    bool low_won = answer.claimed == CLAIM_GRANTED;
    CU_ASSERT_EQUAL(answer.claimed, low_won ? CLAIM_GRANTED : CLAIM_STALE);
    CU_ASSERT_EQUAL(other.claimed, low_won ? CLAIM_STALE : CLAIM_GRANTED);
    CU_ASSERT_EQUAL(pg_int(pg.dsn, "SELECT epoch FROM assent.coordinator"), low_won ? 5 : 6);
    pg_close(&pg, second);
  }
  end();
}

SUITE(postgres_control, CASE(identity_names_server_timeline_and_database),
      CASE(open_without_rights_needs_none), CASE(open_of_a_missing_database_tells_so),
      CASE(open_where_nobody_listens_tells_so), CASE(open_over_tcp_works),
      CASE(open_with_a_silent_host_first_reaches_the_next_in_time),
      CASE(close_while_connecting_tells_nobody),
      CASE(dsn_that_is_none_is_refused_without_repeating_it), CASE(finish_commit_is_done),
      CASE(finish_rollback_is_done), CASE(finish_of_a_missing_gid_stops_no_other),
      CASE(finish_in_another_database_is_refused), CASE(finish_without_rights_is_refused),
      CASE(look_up_of_a_prepared_gid_finds_its_xid), CASE(look_up_of_a_missing_gid_is_absent),
      CASE(look_up_in_another_database_is_absent), CASE(xact_status_follows_a_branch),
      CASE(xact_status_of_the_future_is_aborted), CASE(list_shows_this_cluster_only),
      CASE(probe_counts_what_is_prepared), CASE(end_sessions_ends_those_of_the_prefix_only),
      CASE(end_sessions_without_rights_tells_so), CASE(cancel_ends_a_statement),
      CASE(claim_of_a_higher_epoch_is_granted), CASE(claim_of_a_lower_epoch_is_stale),
      CASE(claim_of_a_higher_epoch_after_another_life_is_stale),
      CASE(claim_without_rights_tells_so), CASE(claim_by_two_at_once_is_granted_to_one))
