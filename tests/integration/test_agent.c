/* The agent on a real server. Each story is told twice: by calls, and over HTTP on a loopback port.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/agent_site.h"
#include "tests/lib/suite.h"

#define RUN(...) site_run(site, (struct job){__VA_ARGS__})
#define SLEEPER  "query LIKE '%sleep(600)%' AND state = 'active' AND pid <> pg_backend_pid()"
#define SLEEPERS "SELECT count(*) FROM pg_stat_activity WHERE " SLEEPER
/* It takes a cancel for a reason to sleep again. */
#define DEAF                                                                                       \
  "DO $$ BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN PERFORM pg_sleep(600); "  \
  "END $$"
#define TAKE_TEN "UPDATE account SET balance = balance - 10 WHERE id = 1"

enum { FENCE_TRIES = 20 };

/* ---- stories -----------------------------------------------------------------------------------
 */

static void prepared_branch_commits(struct site *site) {
  char gid[GID_SIZE];
  site_gid(site, 1, gid);
  struct got fenced = site_fence(site, 1);
  CU_ASSERT_EQUAL(fenced.err.code, ERR_OK);
  CU_ASSERT_EQUAL(fenced.fence.prepared_max, 20);
  struct got got = RUN(.gid = gid, .end = RUN_PREPARE, .sql = {TAKE_TEN, "SELECT 7 AS n"});
  site_assert_vote(&got, VOTE_YES);
  CU_ASSERT_STRING_EQUAL(got.run.server, fenced.fence.server);
  CU_ASSERT_PTR_NOT_NULL(strstr(got.results, "\"rows_affected\":1"));
  CU_ASSERT_EQUAL(site_prepared_count(site), 1);
  struct got done = site_decide(site, gid, DECIDE_COMMIT, &got.run);
  site_assert_outcome(&done, BRANCH_OUTCOME_COMMITTED);
  CU_ASSERT_EQUAL(site_balance(site), 90);
  done = site_decide(site, gid, DECIDE_COMMIT, &got.run);
  site_assert_outcome(&done, BRANCH_OUTCOME_COMMITTED);
  CU_ASSERT_EQUAL(site_prepared_count(site), 0);
}

static void prepared_branch_aborts(struct site *site) {
  char gid[GID_SIZE];
  site_gid(site, 1, gid);
  (void)site_fence(site, 1);
  struct got got = RUN(.gid = gid, .end = RUN_PREPARE, .sql = {TAKE_TEN});
  site_assert_vote(&got, VOTE_YES);
  struct got done = site_decide(site, gid, DECIDE_ABORT, &got.run);
  site_assert_outcome(&done, BRANCH_OUTCOME_ABORTED);
  CU_ASSERT_EQUAL(site_balance(site), 100);
  CU_ASSERT_EQUAL(site_prepared_count(site), 0);
}

static void prepare_repeated_votes_the_same_and_runs_once(struct site *site) {
  char gid[GID_SIZE];
  site_gid(site, 1, gid);
  (void)site_fence(site, 1);
  struct job job = {.gid = gid, .end = RUN_PREPARE, .sql = {TAKE_TEN}};
  struct got both = site_got(site);
  site_run_begin(site, &job, &both);
  site_run_begin(site, &job, &both);
  site_wait(&both, 2);
  site_assert_vote(&both, VOTE_YES);
  struct got again = RUN(.gid = gid, .end = RUN_PREPARE, .sql = {TAKE_TEN});
  site_assert_vote(&again, VOTE_YES);
  CU_ASSERT_STRING_EQUAL(again.run.xid, both.run.xid);
  struct got done = site_decide(site, gid, DECIDE_COMMIT, &again.run);
  site_assert_outcome(&done, BRANCH_OUTCOME_COMMITTED);
  CU_ASSERT_EQUAL(site_balance(site), 90);
}

static void prepare_after_abort_is_refused(struct site *site) {
  char gid[GID_SIZE];
  site_gid(site, 1, gid);
  (void)site_fence(site, 1);
  struct got done = site_decide(site, gid, DECIDE_ABORT, NULL);
  site_assert_outcome(&done, BRANCH_OUTCOME_ABORTED);
  struct got got = RUN(.gid = gid, .end = RUN_PREPARE, .sql = {TAKE_TEN});
  site_assert_vote(&got, VOTE_NO);
  CU_ASSERT_EQUAL(site_prepared_count(site), 0);
}

static void sole_branch_commits_in_one_phase(struct site *site) {
  char gid[GID_SIZE];
  site_gid(site, 1, gid);
  (void)site_fence(site, 1);
  struct got got = RUN(.gid = gid, .end = RUN_READY, .sql = {TAKE_TEN});
  site_assert_vote(&got, VOTE_READY);
  CU_ASSERT_NOT_EQUAL(got.run.xid[0], '\0');
  CU_ASSERT_PTR_NOT_NULL(strstr(got.results, "\"rows_affected\":1"));
  CU_ASSERT_EQUAL(site_balance(site), 100);
  struct got done = site_decide(site, gid, DECIDE_ONE_PHASE, &got.run);
  site_assert_outcome(&done, BRANCH_OUTCOME_COMMITTED);
  CU_ASSERT_EQUAL(site_balance(site), 90);
  done = site_decide(site, gid, DECIDE_ONE_PHASE, &got.run);
  site_assert_outcome(&done, BRANCH_OUTCOME_COMMITTED);
}

/* Its barrier would be on a connection made since, maybe to a server that has crashed meanwhile. */
static void sole_branch_whose_control_session_ends_is_a_no(struct site *site) {
  char gid[GID_SIZE];
  site_gid(site, 1, gid);
  (void)site_fence(site, 1);
  struct got got =
      RUN(.gid = gid, .end = RUN_READY,
          .sql = {TAKE_TEN, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                            "WHERE application_name LIKE 'assent:%' AND pid <> pg_backend_pid() "
                            "AND datname = current_database()"});
  site_assert_vote(&got, VOTE_NO);
  CU_ASSERT_EQUAL(got.run.cause.kind, CAUSE_UNREACHABLE);
  CU_ASSERT_EQUAL(site_balance(site), 100);
  struct got done = site_decide(site, gid, DECIDE_ONE_PHASE, &got.run);
  site_assert_outcome(&done, BRANCH_OUTCOME_ABORTED);
}

static void one_phase_after_restart_tells_how_it_ended(struct site *site) {
  char committed[GID_SIZE], lost[GID_SIZE];
  site_gid(site, 1, committed);
  site_gid(site, 1, lost);
  (void)site_fence(site, 1);
  struct got first = RUN(.gid = committed, .end = RUN_READY, .sql = {TAKE_TEN});
  struct got done = site_decide(site, committed, DECIDE_ONE_PHASE, &first.run);
  site_assert_outcome(&done, BRANCH_OUTCOME_COMMITTED);
  struct got second = RUN(.gid = lost, .end = RUN_READY, .sql = {TAKE_TEN});
  site_assert_vote(&second, VOTE_READY);
  site_reopen(site);
  (void)site_fence(site, 1);
  done = site_decide(site, committed, DECIDE_ONE_PHASE, &first.run);
  site_assert_outcome(&done, BRANCH_OUTCOME_COMMITTED);
  done = site_decide(site, lost, DECIDE_ONE_PHASE, &second.run);
  site_assert_outcome(&done, BRANCH_OUTCOME_ABORTED);
  CU_ASSERT_EQUAL(site_balance(site), 90);
}

static void branch_without_writes_is_read_only(struct site *site) {
  char gid[GID_SIZE], sole[GID_SIZE];
  site_gid(site, 1, gid);
  site_gid(site, 1, sole);
  (void)site_fence(site, 1);
  struct got got = RUN(.gid = gid, .end = RUN_PREPARE, .sql = {"SELECT balance FROM account"});
  site_assert_vote(&got, VOTE_READ_ONLY);
  CU_ASSERT_PTR_NOT_NULL(strstr(got.results, "[100]"));
  got = RUN(.gid = sole, .end = RUN_READY, .sql = {"SELECT balance FROM account"});
  site_assert_vote(&got, VOTE_READ_ONLY);
  CU_ASSERT_EQUAL(site_prepared_count(site), 0);
}

static void interactive_statements_end_in_a_prepare(struct site *site) {
  char gid[GID_SIZE];
  site_gid(site, 1, gid);
  (void)site_fence(site, 1);
  struct got got = RUN(.gid = gid, .sql = {TAKE_TEN});
  site_assert_vote(&got, VOTE_YES);
  CU_ASSERT_EQUAL(site_prepared_count(site), 0);
  got = RUN(.gid = gid, .sql = {TAKE_TEN}); /* a repeat: the same vote, and nothing runs twice */
  site_assert_vote(&got, VOTE_YES);
  CU_ASSERT_STRING_EQUAL(got.results, "");
  got = RUN(.gid = gid, .sequence = 1, .sql = {"SELECT balance FROM account WHERE id = 1"});
  site_assert_vote(&got, VOTE_YES);
  CU_ASSERT_PTR_NOT_NULL(strstr(got.results, "[90]"));
  got = RUN(.gid = gid, .sequence = 5, .sql = {TAKE_TEN});
  CU_ASSERT_NOT_EQUAL(got.err.code, ERR_OK);
  got = RUN(.gid = gid, .sequence = 2, .end = RUN_PREPARE);
  site_assert_vote(&got, VOTE_YES);
  struct got done = site_decide(site, gid, DECIDE_COMMIT, &got.run);
  site_assert_outcome(&done, BRANCH_OUTCOME_COMMITTED);
  CU_ASSERT_EQUAL(site_balance(site), 90);
}

static void failed_statement_is_a_no_with_its_cause(struct site *site) {
  char gid[GID_SIZE];
  site_gid(site, 1, gid);
  (void)site_fence(site, 1);
  struct got got = RUN(.gid = gid, .end = RUN_PREPARE,
                       .sql = {TAKE_TEN, "UPDATE account SET balance = -1 WHERE id = 2"});
  site_assert_vote(&got, VOTE_NO);
  CU_ASSERT_EQUAL(got.run.cause.kind, CAUSE_STATEMENT);
  CU_ASSERT_EQUAL(got.run.cause.statement, 1);
  CU_ASSERT_EQUAL(got.run.cause.branch, 1);
  CU_ASSERT_STRING_EQUAL(got.run.cause.sqlstate, "23514");
  CU_ASSERT_EQUAL(site_balance(site), 100);
}

static void external_branch_is_voted_for_and_committed(struct site *site) {
  char gid[GID_SIZE], absent[GID_SIZE], sql[GID_SIZE + 128];
  site_gid(site, 1, gid);
  site_gid(site, 1, absent);
  (void)site_fence(site, 1);
  (void)snprintf(sql, sizeof sql, "BEGIN; " TAKE_TEN "; PREPARE TRANSACTION '%s'", gid);
  pg_sql(site->pg->dsn, sql);
  struct got got = RUN(.gid = gid, .sequence = 1, .end = RUN_PREPARE);
  site_assert_vote(&got, VOTE_YES);
  CU_ASSERT_NOT_EQUAL(got.run.xid[0], '\0');
  struct got done = site_decide(site, gid, DECIDE_COMMIT, &got.run);
  site_assert_outcome(&done, BRANCH_OUTCOME_COMMITTED);
  CU_ASSERT_EQUAL(site_balance(site), 90);
  got = RUN(.gid = absent, .sequence = 1, .end = RUN_PREPARE);
  site_assert_vote(&got, VOTE_NO);
}

/* A yes could not be kept: only bob, or a superuser, may end what bob has prepared. */
static void external_branch_of_another_role_is_no_yes(struct site *site) {
  char gid[GID_SIZE], sql[GID_SIZE + 128], dsn[THROWAWAY_DSN_SIZE + 32], as_carol[sizeof dsn];
  (void)site_fence(site, 1); /* makes the table of epochs */
  pg_sql(site->pg->dsn, "DO $$ BEGIN IF to_regrole('carol') IS NULL THEN CREATE ROLE carol LOGIN; "
                        "END IF; END $$; GRANT SELECT, UPDATE ON account TO bob; "
                        "GRANT USAGE ON SCHEMA assent TO carol; "
                        "GRANT SELECT, INSERT, UPDATE ON assent.coordinator TO carol");
  (void)snprintf(dsn, sizeof dsn, "%s user=bob", site->pg->dsn);
  (void)snprintf(as_carol, sizeof as_carol, "%s user=carol", site->pg->dsn);
  struct site carols;
  struct agent_options options = site_options();
  options.agent_id = "carols-agent";
  site_open(&carols, site->pg, as_carol, &options, site->over_http);
  site_gid(&carols, 1, gid);
  (void)site_fence(&carols, 1);
  (void)snprintf(sql, sizeof sql, "BEGIN; " TAKE_TEN "; PREPARE TRANSACTION '%s'", gid);
  pg_sql(dsn, sql);
  struct job job = {.gid = gid, .sequence = 1, .end = RUN_PREPARE};
  struct got got = site_run(&carols, job);
  site_assert_vote(&got, VOTE_UNKNOWN);
  CU_ASSERT_EQUAL(got.run.cause.kind, CAUSE_CLIENT);
  CU_ASSERT_PTR_NOT_NULL(strstr(got.run.cause.text, "role \"bob\""));
  CU_ASSERT_PTR_NOT_NULL(strstr(got.run.cause.text, "role is \"carol\""));
  struct got done = site_decide(&carols, gid, DECIDE_ABORT, NULL);
  site_assert_outcome(&done, BRANCH_OUTCOME_RETRY);
  CU_ASSERT_EQUAL(site_prepared_count(site), 1);
  (void)snprintf(sql, sizeof sql, "ROLLBACK PREPARED '%s'", gid);
  pg_sql(dsn, sql);
  done = site_decide(&carols, gid, DECIDE_ABORT, NULL);
  site_assert_outcome(&done, BRANCH_OUTCOME_ABORTED);
  CU_ASSERT_EQUAL(site_balance(site), 100);
  site_close(&carols);
}

static void external_branch_of_another_role_is_a_superusers_to_end(struct site *site) {
  char gid[GID_SIZE], sql[GID_SIZE + 128], dsn[THROWAWAY_DSN_SIZE + 32];
  pg_sql(site->pg->dsn, "GRANT SELECT, UPDATE ON account TO bob");
  (void)snprintf(dsn, sizeof dsn, "%s user=bob", site->pg->dsn);
  site_gid(site, 1, gid);
  (void)site_fence(site, 1);
  (void)snprintf(sql, sizeof sql, "BEGIN; " TAKE_TEN "; PREPARE TRANSACTION '%s'", gid);
  pg_sql(dsn, sql);
  struct got got = RUN(.gid = gid, .sequence = 1, .end = RUN_PREPARE);
  site_assert_vote(&got, VOTE_YES);
  struct got done = site_decide(site, gid, DECIDE_COMMIT, &got.run);
  site_assert_outcome(&done, BRANCH_OUTCOME_COMMITTED);
  CU_ASSERT_EQUAL(site_balance(site), 90);
}

static void stale_epochs_and_lives_are_refused(struct site *site) {
  char old[GID_SIZE], now[GID_SIZE];
  site_gid(site, 1, old);
  site_gid(site, 2, now);
  struct got got = RUN(.gid = old, .end = RUN_PREPARE, .sql = {TAKE_TEN});
  CU_ASSERT_NOT_EQUAL(got.err.code, ERR_OK); /* not fenced at all */
  got = site_fence(site, 2);
  CU_ASSERT_EQUAL(got.err.code, ERR_OK);
  got = site_fence(site, 2);
  CU_ASSERT_EQUAL(got.err.code, ERR_OK);
  got = site_fence(site, 1);
  CU_ASSERT_EQUAL(got.err.code, ERR_FENCED);
  got = site_fence_as(site, 2, "fedcba9876543210");
  CU_ASSERT_EQUAL(got.err.code, ERR_FENCED);
  got = RUN(.gid = old, .epoch = 1, .end = RUN_PREPARE, .sql = {TAKE_TEN});
  CU_ASSERT_EQUAL(got.err.code, ERR_FENCED);
  got = RUN(.gid = old, .epoch = 2, .end = RUN_PREPARE, .sql = {TAKE_TEN});
  CU_ASSERT_EQUAL(got.err.code, ERR_FENCED);
  got = site_list(site, 1);
  CU_ASSERT_EQUAL(got.err.code, ERR_FENCED);
  (void)snprintf(site->incarnation, sizeof site->incarnation, "%s", "anotherlife00000");
  got = RUN(.gid = now, .epoch = 2, .end = RUN_PREPARE, .sql = {TAKE_TEN});
  CU_ASSERT_EQUAL(got.err.code, ERR_FENCED);
  CU_ASSERT_EQUAL(site_prepared_count(site), 0);
  /* What the database has seen outlives the agent. */
  site_reopen(site);
  got = site_fence(site, 1);
  CU_ASSERT_EQUAL(got.err.code, ERR_FENCED);
}

static void fence_ends_what_older_epochs_have_in_flight(struct site *site) {
  char active[GID_SIZE], running[GID_SIZE], prepared[GID_SIZE];
  site_gid(site, 1, active);
  site_gid(site, 1, running);
  site_gid(site, 1, prepared);
  (void)site_fence(site, 1);
  struct got voted = RUN(.gid = prepared, .end = RUN_PREPARE,
                         .sql = {"UPDATE account SET balance = balance - 10 WHERE id = 2"});
  site_assert_vote(&voted, VOTE_YES);
  struct got got = RUN(.gid = active, .sql = {TAKE_TEN});
  site_assert_vote(&got, VOTE_YES);
  struct got blocked = site_got(site);
  struct job job = {.gid = running, .end = RUN_PREPARE, .sql = {"SELECT pg_sleep(600)"}};
  site_run_begin(site, &job, &blocked);
  pg_wait_for(site->pg, SLEEPERS);
  struct got fenced = site_fence(site, 2);
  CU_ASSERT_EQUAL(fenced.err.code, ERR_OK);
  site_wait(&blocked, 1);
  site_assert_vote(&blocked, VOTE_NO);
  CU_ASSERT_EQUAL(pg_int(site->pg->dsn, "SELECT count(*) FROM pg_locks WHERE relation = "
                                        "'account'::regclass AND pid IS NOT NULL"),
                  0);
  struct got found = site_list(site, 2);
  CU_ASSERT_EQUAL_FATAL(found.branch_count, 1);
  CU_ASSERT_STRING_EQUAL(found.branches[0].gid, prepared);
  CU_ASSERT_STRING_EQUAL(found.branches[0].xid, voted.run.xid);
  struct got done = site_got(site);
  site_decide_begin(site, prepared, 2, DECIDE_ABORT, NULL, &done);
  site_wait(&done, 1);
  site_assert_outcome(&done, BRANCH_OUTCOME_ABORTED);
}

static void abort_cancels_what_runs(struct site *site) {
  char gid[GID_SIZE];
  site_gid(site, 1, gid);
  (void)site_fence(site, 1);
  struct got blocked = site_got(site);
  struct job job = {.gid = gid, .end = RUN_PREPARE, .sql = {TAKE_TEN, "SELECT pg_sleep(600)"}};
  site_run_begin(site, &job, &blocked);
  pg_wait_for(site->pg, SLEEPERS);
  struct got done = site_decide(site, gid, DECIDE_ABORT, NULL);
  site_assert_outcome(&done, BRANCH_OUTCOME_ABORTED);
  site_wait(&blocked, 1);
  site_assert_vote(&blocked, VOTE_NO);
  CU_ASSERT_EQUAL(site_balance(site), 100);
}

static void abort_ends_what_does_not_heed_a_cancel(struct site *site) {
  char open[GID_SIZE], sole[GID_SIZE];
  site_gid(site, 1, open);
  site_gid(site, 1, sole);
  (void)site_fence(site, 1);
  struct got got = RUN(.gid = open, .sql = {TAKE_TEN});
  site_assert_vote(&got, VOTE_YES);
  struct got deaf = site_got(site);
  struct job jobs[] = {{.gid = open, .sequence = 1, .sql = {DEAF}},
                       {.gid = sole, .end = RUN_PREPARE, .sql = {DEAF}}};
  for (size_t i = 0; i < 2; i++)
    site_run_begin(site, &jobs[i], &deaf);
  pg_wait_for(site->pg, "SELECT (count(*) = 2)::int FROM pg_stat_activity WHERE " SLEEPER);
  struct got done = site_decide_until_told(site, open, DECIDE_ABORT, NULL);
  site_assert_outcome(&done, BRANCH_OUTCOME_ABORTED);
  done = site_decide_until_told(site, sole, DECIDE_ABORT, NULL);
  site_assert_outcome(&done, BRANCH_OUTCOME_ABORTED);
  site_wait(&deaf, 2);
  site_assert_vote(&deaf, VOTE_NO);
  CU_ASSERT_EQUAL(pg_int(site->pg->dsn, SLEEPERS), 0);
  CU_ASSERT_EQUAL(site_balance(site), 100);
}

static void fence_ends_what_does_not_heed_a_cancel(struct site *site) {
  char gid[GID_SIZE];
  site_gid(site, 1, gid);
  (void)site_fence(site, 1);
  struct got deaf = site_got(site);
  struct job job = {.gid = gid, .end = RUN_PREPARE, .sql = {TAKE_TEN, DEAF}};
  site_run_begin(site, &job, &deaf);
  pg_wait_for(site->pg, SLEEPERS);
  struct got fenced = site_fence(site, 2);
  CU_ASSERT_EQUAL(fenced.err.code, ERR_OK);
  site_wait(&deaf, 1);
  site_assert_vote(&deaf, VOTE_NO);
  CU_ASSERT_EQUAL(pg_int(site->pg->dsn, SLEEPERS), 0);
}

static void database_killed_before_commit_is_retried(struct site *site) {
  char gid[GID_SIZE];
  site_gid(site, 1, gid);
  (void)site_fence(site, 1);
  struct got got = RUN(.gid = gid, .end = RUN_PREPARE, .sql = {TAKE_TEN});
  site_assert_vote(&got, VOTE_YES);
  throwaway_server_kill(site->pg->server);
  struct got done = site_decide(site, gid, DECIDE_COMMIT, &got.run);
  site_assert_outcome(&done, BRANCH_OUTCOME_RETRY);
  CU_ASSERT_NOT_EQUAL(done.decide.cause.text[0], '\0');
  pg_restart(site->pg);
  done = site_decide_until_told(site, gid, DECIDE_COMMIT, &got.run);
  site_assert_outcome(&done, BRANCH_OUTCOME_COMMITTED);
  CU_ASSERT_EQUAL(site_balance(site), 90);
}

static void database_away_is_a_prompt_no(struct site *site) {
  char gid[GID_SIZE], later[GID_SIZE];
  site_gid(site, 1, gid);
  site_gid(site, 1, later);
  (void)site_fence(site, 1);
  throwaway_server_kill(site->pg->server);
  struct got got = RUN(.gid = gid, .end = RUN_PREPARE, .sql = {TAKE_TEN});
  site_assert_vote(&got, VOTE_NO);
  CU_ASSERT_EQUAL(got.run.cause.kind, CAUSE_UNREACHABLE);
  struct got health = site_health(site);
  CU_ASSERT_FALSE(health.health.connected);
  pg_restart(site->pg);
  got = RUN(.gid = later, .end = RUN_PREPARE, .sql = {TAKE_TEN});
  site_assert_vote(&got, VOTE_YES);
  struct got done = site_decide(site, later, DECIDE_ABORT, &got.run);
  site_assert_outcome(&done, BRANCH_OUTCOME_ABORTED);
}

static void backend_ended_amid_a_run_is_a_no(struct site *site) {
  char gid[GID_SIZE];
  site_gid(site, 1, gid);
  (void)site_fence(site, 1);
  struct got got = site_got(site);
  struct job job = {.gid = gid, .end = RUN_PREPARE, .sql = {TAKE_TEN, "SELECT pg_sleep(600)"}};
  site_run_begin(site, &job, &got);
  pg_wait_for(site->pg, SLEEPERS);
  pg_sql(site->pg->dsn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE " SLEEPER);
  site_wait(&got, 1);
  site_assert_vote(&got, VOTE_NO);
  CU_ASSERT_EQUAL(site_balance(site), 100);
}

static void hanging_server_is_unknown_until_it_answers(struct site *site) {
  char gid[GID_SIZE];
  site_gid(site, 1, gid);
  (void)site_fence(site, 1);
  struct got warm = RUN(.gid = gid, .sql = {TAKE_TEN});
  site_assert_vote(&warm, VOTE_YES);
  throwaway_server_pause(site->pg->server);
  struct got got =
      RUN(.gid = gid, .sequence = 1, .end = RUN_PREPARE, .sql = {TAKE_TEN}, .timeout_ms = 200);
  site_assert_vote(&got, VOTE_UNKNOWN);
  struct got again = site_decide(site, gid, DECIDE_ABORT, NULL);
  site_assert_outcome(&again, BRANCH_OUTCOME_RETRY);
  throwaway_server_resume(site->pg->server);
  struct got done = site_decide_until_told(site, gid, DECIDE_ABORT, NULL);
  site_assert_outcome(&done, BRANCH_OUTCOME_ABORTED);
  CU_ASSERT_EQUAL(site_balance(site), 100);
}

static void rollback_by_hand_is_told_after_a_commit(struct site *site) {
  char gid[GID_SIZE], sql[GID_SIZE + 32];
  site_gid(site, 1, gid);
  (void)site_fence(site, 1);
  struct got got = RUN(.gid = gid, .end = RUN_PREPARE, .sql = {TAKE_TEN});
  site_assert_vote(&got, VOTE_YES);
  (void)snprintf(sql, sizeof sql, "ROLLBACK PREPARED '%s'", gid);
  pg_sql(site->pg->dsn, sql);
  struct got done = site_decide(site, gid, DECIDE_COMMIT, &got.run);
  site_assert_outcome(&done, BRANCH_OUTCOME_ABORTED);
}

static void commit_by_hand_is_told_after_an_abort(struct site *site) {
  char gid[GID_SIZE], sql[GID_SIZE + 32];
  site_gid(site, 1, gid);
  (void)site_fence(site, 1);
  struct got got = RUN(.gid = gid, .end = RUN_PREPARE, .sql = {TAKE_TEN});
  site_assert_vote(&got, VOTE_YES);
  (void)snprintf(sql, sizeof sql, "COMMIT PREPARED '%s'", gid);
  pg_sql(site->pg->dsn, sql);
  struct got done = site_decide(site, gid, DECIDE_ABORT, &got.run);
  site_assert_outcome(&done, BRANCH_OUTCOME_COMMITTED);
}

static void restarted_agent_finds_and_finishes_prepared_branches(struct site *site) {
  char listed[GID_SIZE], unlisted[GID_SIZE], done_before[GID_SIZE];
  site_gid(site, 1, listed);
  site_gid(site, 1, unlisted);
  site_gid(site, 1, done_before);
  (void)site_fence(site, 1);
  struct got first = RUN(.gid = listed, .end = RUN_PREPARE, .sql = {TAKE_TEN});
  site_assert_vote(&first, VOTE_YES);
  struct got third =
      RUN(.gid = done_before, .end = RUN_PREPARE, .sql = {"INSERT INTO late VALUES (9)"});
  site_assert_vote(&third, VOTE_YES);
  struct got done = site_decide(site, done_before, DECIDE_COMMIT, &third.run);
  site_assert_outcome(&done, BRANCH_OUTCOME_COMMITTED);
  site_reopen(site);
  (void)site_fence(site, 1);
  struct got found = site_list(site, 1);
  CU_ASSERT_EQUAL_FATAL(found.branch_count, 1);
  CU_ASSERT_STRING_EQUAL(found.branches[0].gid, listed);
  done = site_decide(site, listed, DECIDE_COMMIT, &first.run);
  site_assert_outcome(&done, BRANCH_OUTCOME_COMMITTED);
  done = site_decide(site, done_before, DECIDE_COMMIT, &third.run);
  site_assert_outcome(&done, BRANCH_OUTCOME_COMMITTED);
  CU_ASSERT_EQUAL(site_balance(site), 90);
  struct got second = RUN(.gid = unlisted, .end = RUN_PREPARE, .sql = {TAKE_TEN});
  site_assert_vote(&second, VOTE_YES);
  site_reopen(site);
  (void)site_fence(site, 1);
  done = site_decide(site, unlisted, DECIDE_COMMIT, &second.run);
  site_assert_outcome(&done, BRANCH_OUTCOME_COMMITTED);
  CU_ASSERT_EQUAL(site_balance(site), 80);
}

static void second_life_ends_sessions_of_the_first(struct site *site) {
  char gid[GID_SIZE];
  site_gid(site, 1, gid);
  (void)site_fence(site, 1);
  struct got got = RUN(.gid = gid, .sql = {TAKE_TEN});
  site_assert_vote(&got, VOTE_YES);
  struct site second;
  struct agent_options options = site_options();
  site_open(&second, site->pg, site->pg->dsn, &options, false);
  /* The first still lives here and connects again: it may do so as often as the second looks. */
  struct got fenced = site_fence(&second, 1);
  for (int i = 1; i < FENCE_TRIES && fenced.err.code != ERR_OK; i++)
    fenced = site_fence(&second, 1);
  CU_ASSERT_EQUAL(fenced.err.code, ERR_OK);
  CU_ASSERT_EQUAL(pg_int(site->pg->dsn, "SELECT count(*) FROM pg_locks WHERE relation = "
                                        "'account'::regclass"),
                  0);
  site_close(&second);
  got = RUN(.gid = gid, .sequence = 1, .end = RUN_PREPARE);
  site_assert_vote(&got, VOTE_NO);
  CU_ASSERT_EQUAL(site_balance(site), 100);
}

static void active_branch_is_rolled_back_after_its_time(struct site *site) {
  char gid[GID_SIZE];
  site_gid(site, 1, gid);
  (void)site_fence(site, 1);
  struct got got = RUN(.gid = gid, .sql = {TAKE_TEN}, .timeout_ms = 500);
  site_assert_vote(&got, VOTE_YES);
  pg_wait_for(site->pg,
              "SELECT (count(*) = 0)::int FROM pg_locks WHERE relation = 'account'::regclass");
  got = RUN(.gid = gid, .sequence = 1, .end = RUN_PREPARE);
  site_assert_vote(&got, VOTE_NO);
}

static void runs_wait_for_a_connection_within_limits(struct site *site) {
  struct site narrow;
  struct agent_options options = site_options();
  options.agent_id = "narrow-agent";
  options.connections_max = 1;
  options.waiting_max = 1;
  site_open(&narrow, site->pg, site->pg->dsn, &options, site->over_http);
  char holder[GID_SIZE], waiter[GID_SIZE], refused[GID_SIZE], next[GID_SIZE];
  site_gid(&narrow, 1, holder);
  site_gid(&narrow, 1, waiter);
  site_gid(&narrow, 1, refused);
  site_gid(&narrow, 1, next);
  (void)site_fence(&narrow, 1);
  struct got got = site_run(&narrow, (struct job){.gid = holder, .sql = {TAKE_TEN}});
  site_assert_vote(&got, VOTE_YES);
  struct got waiting = site_got(&narrow);
  struct job job = {.gid = waiter, .end = RUN_PREPARE, .sql = {TAKE_TEN}, .timeout_ms = 300};
  site_run_begin(&narrow, &job, &waiting);
  got = site_run(&narrow, (struct job){.gid = refused, .end = RUN_PREPARE, .sql = {TAKE_TEN}});
  CU_ASSERT_EQUAL(got.err.code, ERR_OVERLOADED);
  site_wait(&waiting, 1);
  site_assert_vote(&waiting, VOTE_NO);
  CU_ASSERT_EQUAL(waiting.run.cause.kind, CAUSE_TIMEOUT);
  struct got served = site_got(&narrow);
  job = (struct job){.gid = next, .end = RUN_PREPARE, .sql = {TAKE_TEN}};
  site_run_begin(&narrow, &job, &served);
  got = site_decide(&narrow, holder, DECIDE_ABORT, NULL);
  site_assert_outcome(&got, BRANCH_OUTCOME_ABORTED);
  site_wait(&served, 1);
  site_assert_vote(&served, VOTE_YES);
  got = site_decide(&narrow, next, DECIDE_ABORT, &served.run);
  site_assert_outcome(&got, BRANCH_OUTCOME_ABORTED);
  site_close(&narrow);
}

static void health_tells_of_the_database(struct site *site) {
  char gid[GID_SIZE];
  site_gid(site, 1, gid);
  struct got fenced = site_fence(site, 1);
  struct got voted = RUN(.gid = gid, .end = RUN_PREPARE, .sql = {TAKE_TEN});
  struct got got = site_health(site);
  CU_ASSERT_TRUE(got.health.connected);
  CU_ASSERT_STRING_EQUAL(got.health.server, fenced.fence.server);
  CU_ASSERT_EQUAL(got.health.prepared_count, 1);
  CU_ASSERT_EQUAL(got.health.prepared_max, 20);
  CU_ASSERT_EQUAL(got.health.connections_max, 4);
  CU_ASSERT_TRUE(got.health.latency_us > 0);
  CU_ASSERT_TRUE(got.health.oldest_prepared_ms >= 0);
  struct got done = site_decide(site, gid, DECIDE_ABORT, &voted.run);
  site_assert_outcome(&done, BRANCH_OUTCOME_ABORTED);
}

/* ---- stories with servers and roles of their own -----------------------------------------------
 */

static void server_without_prepared_transactions_says_what_to_set(struct site *site) {
  struct error err = {0};
  struct throwaway *t = throwaway_new(&err);
  CU_ASSERT_PTR_NOT_NULL_FATAL(t);
  const struct throwaway_options server_options = {.prepared_max = -1};
  struct throwaway_server *server = throwaway_server(t, "none", &server_options, &err);
  CU_ASSERT_PTR_NOT_NULL_FATAL(server);
  char dsn[THROWAWAY_DSN_SIZE];
  throwaway_server_dsn(server, "postgres", dsn);
  struct site none;
  struct agent_options options = site_options();
  site_open(&none, site->pg, dsn, &options, site->over_http);
  struct got got = site_fence(&none, 1);
  CU_ASSERT_EQUAL(got.err.code, ERR_UNAVAILABLE);
  CU_ASSERT_PTR_NOT_NULL(strstr(got.err.text, "max_prepared_transactions"));
  CU_ASSERT_PTR_NOT_NULL(strstr(got.err.text, "restart the server"));
  site_close(&none);
  throwaway_free(t);
}

static void role_without_rights_keeps_the_epoch_in_the_state_dir(struct site *site) {
  char directory[] = "/tmp/assent-test-XXXXXX", path[128], dsn[THROWAWAY_DSN_SIZE + 16];
  CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(directory));
  (void)snprintf(dsn, sizeof dsn, "%s user=bob", site->pg->dsn);
  struct agent_options options = site_options();
  options.agent_id = "bobs-agent";
  struct site bob;
  site_open(&bob, site->pg, dsn, &options, site->over_http);
  struct got got = site_fence(&bob, 5);
  CU_ASSERT_EQUAL(got.err.code, ERR_UNAVAILABLE);
  CU_ASSERT_PTR_NOT_NULL(strstr(got.err.text, "GRANT CREATE"));
  struct cluster_id cluster = bob.cluster;
  site_close(&bob);

  options.state_dir = directory;
  site_open(&bob, site->pg, dsn, &options, site->over_http);
  bob.cluster = cluster;
  got = site_fence(&bob, 5);
  CU_ASSERT_EQUAL(got.err.code, ERR_OK);
  site_close(&bob);
  site_open(&bob, site->pg, dsn, &options, site->over_http);
  bob.cluster = cluster;
  got = site_fence(&bob, 4);
  CU_ASSERT_EQUAL(got.err.code, ERR_FENCED);
  CU_ASSERT_PTR_NOT_NULL(strstr(got.err.text, "5"));
  got = site_fence(&bob, 6);
  CU_ASSERT_EQUAL(got.err.code, ERR_OK);
  site_close(&bob);
  (void)snprintf(path, sizeof path, "%s/epoch.%s.bank", directory, cluster.text);
  CU_ASSERT_EQUAL(unlink(path), 0);
  CU_ASSERT_EQUAL(rmdir(directory), 0);
}

/* Rights that were taken away do not hide what the database knows already. */
static void role_that_may_only_read_is_held_to_what_the_database_knows(struct site *site) {
  char directory[] = "/tmp/assent-test-XXXXXX", dsn[THROWAWAY_DSN_SIZE + 16];
  CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(directory));
  (void)site_fence(site, 5);
  pg_sql(site->pg->dsn, "GRANT USAGE ON SCHEMA assent TO bob; "
                        "GRANT SELECT ON assent.coordinator TO bob");
  (void)snprintf(dsn, sizeof dsn, "%s user=bob", site->pg->dsn);
  struct agent_options options = site_options();
  options.agent_id = "reading-agent";
  options.state_dir = directory;
  struct site bob;
  site_open(&bob, site->pg, dsn, &options, site->over_http);
  bob.cluster = site->cluster;
  struct got got = site_fence(&bob, 4);
  CU_ASSERT_EQUAL(got.err.code, ERR_FENCED);
  CU_ASSERT_PTR_NOT_NULL(strstr(got.err.text, "5"));
  site_close(&bob);
  pg_sql(site->pg->dsn, "REVOKE ALL ON SCHEMA assent FROM bob; "
                        "REVOKE ALL ON assent.coordinator FROM bob");
  CU_ASSERT_EQUAL(rmdir(directory), 0); /* nothing was kept there */
}

static void drop_schema(const struct site *site) {
  pg_sql(site->pg->dsn, "SET client_min_messages = error; DROP SCHEMA IF EXISTS assent CASCADE");
}

static uint64_t rows_begin(const struct site *site) {
  return (uint64_t)pg_int(site->pg->dsn, "SELECT epoch FROM assent.outcome_kept");
}

/* An agent of `site`'s cluster in a new life, as another role, with or without outcome_table. */
static void open_as(struct site *out, const struct site *site, const char *role, char *directory,
                    bool rows) {
  char dsn[THROWAWAY_DSN_SIZE + 16];
  (void)snprintf(dsn, sizeof dsn, "%s user=%s", site->pg->dsn, role);
  struct agent_options options = site_options();
  options.agent_id = "roles-agent";
  options.state_dir = directory;
  options.rows_retention_ms = rows ? SITE_FAR_MS : 0;
  site_open(out, site->pg, dsn, &options, site->over_http);
  out->cluster = site->cluster;
}

/* Rights that were taken away leave the database saying that each branch leaves a row: then nobody may
 * commit without one. */
static void role_that_cannot_take_back_that_rows_are_left_is_refused(struct site *site) {
  char directory[] = "/tmp/assent-test-XXXXXX";
  CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(directory));
  drop_schema(site);
  pg_sql(site->pg->dsn, "GRANT CREATE ON DATABASE bank TO bob");
  struct site bob;
  open_as(&bob, site, "bob", directory, true);
  struct got got = site_fence(&bob, 5);
  CU_ASSERT_EQUAL(got.err.code, ERR_OK);
  CU_ASSERT_EQUAL(rows_begin(site), 5);
  site_close(&bob);
  pg_sql(site->pg->dsn, "REVOKE CREATE ON DATABASE bank FROM bob; "
                        "ALTER SCHEMA assent OWNER TO CURRENT_USER");
  static const char *const revoked[] = {"UPDATE ON assent.outcome_kept",
                                        "SELECT ON assent.coordinator", "USAGE ON SCHEMA assent"};
  pg_sql(site->pg->dsn, "GRANT USAGE ON SCHEMA assent TO bob");
  for (size_t i = 0; i < sizeof revoked / sizeof revoked[0]; i++) {
    char sql[128];
    (void)snprintf(sql, sizeof sql, "REVOKE %s FROM bob", revoked[i]);
    pg_sql(site->pg->dsn, sql);
    open_as(&bob, site, "bob", directory, false);
    got = site_fence(&bob, 6);
    CU_ASSERT_EQUAL(got.err.code, ERR_UNAVAILABLE);
    CU_ASSERT_PTR_NOT_NULL(strstr(got.err.text, "outcome_table was on"));
    site_close(&bob);
  }
  drop_schema(site);
  CU_ASSERT_EQUAL(rmdir(directory), 0); /* nothing was kept there */
}

/* Of an epoch that only the state directory knows, branches may have left none. */
static void rows_begin_after_an_epoch_kept_in_the_state_dir(struct site *site) {
  char directory[] = "/tmp/assent-test-XXXXXX", path[128];
  CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(directory));
  drop_schema(site);
  struct site bob;
  open_as(&bob, site, "bob", directory, false);
  struct got got = site_fence(&bob, 5);
  CU_ASSERT_EQUAL(got.err.code, ERR_OK);
  site_close(&bob);
  pg_sql(site->pg->dsn, "GRANT CREATE ON DATABASE bank TO bob");
  open_as(&bob, site, "bob", directory, true);
  got = site_fence(&bob, 5);
  CU_ASSERT_EQUAL(got.err.code, ERR_OK);
  CU_ASSERT_EQUAL(rows_begin(site), 6);
  site_close(&bob);
  pg_sql(site->pg->dsn, "REVOKE CREATE ON DATABASE bank FROM bob");
  drop_schema(site);
  (void)snprintf(path, sizeof path, "%s/epoch.%s.bank", directory, site->cluster.text);
  CU_ASSERT_EQUAL(unlink(path), 0);
  CU_ASSERT_EQUAL(rmdir(directory), 0);
}

/* Another database of the same name is another server to the agent: its identity has the oid. */
static void replaced_database_is_as_good_as_a_restart(struct site *site) {
  char admin[THROWAWAY_DSN_SIZE], dsn[THROWAWAY_DSN_SIZE], gid[GID_SIZE], drop[GID_SIZE + 64];
  throwaway_server_dsn(site->pg->server, "postgres", admin);
  throwaway_server_dsn(site->pg->server, "moved", dsn);
  pg_sql(admin, "CREATE DATABASE moved");
  pg_sql(dsn, "CREATE TABLE t (id int)");
  struct agent_options options = site_options();
  options.agent_id = "moved-agent";
  struct site moved;
  site_open(&moved, site->pg, dsn, &options, site->over_http);
  site_gid(&moved, 1, gid);
  struct got before = site_fence(&moved, 1);
  struct got voted =
      site_run(&moved,
               (struct job){.gid = gid, .end = RUN_PREPARE, .sql = {"INSERT INTO t VALUES (1)"}});
  site_assert_vote(&voted, VOTE_YES);
  (void)snprintf(drop, sizeof drop, "ROLLBACK PREPARED '%s'", gid);
  pg_sql(dsn, drop);
  pg_sql(admin, "DROP DATABASE moved (FORCE)");
  pg_sql(admin, "CREATE DATABASE moved");
  pg_wait_for(site->pg, "SELECT count(*) FROM pg_stat_activity WHERE datname = 'moved' AND "
                        "state = 'idle' AND application_name LIKE 'assent:moved-agent:%'");
  struct got got = site_decide_until_told(&moved, gid, DECIDE_COMMIT, &voted.run);
  CU_ASSERT_EQUAL(got.err.code, ERR_FENCED);
  struct got after = site_fence(&moved, 1);
  CU_ASSERT_EQUAL(after.err.code, ERR_OK);
  CU_ASSERT_STRING_NOT_EQUAL(after.fence.server, before.fence.server);
  CU_ASSERT_STRING_NOT_EQUAL(after.fence.incarnation, before.fence.incarnation);
  got = site_decide(&moved, gid, DECIDE_COMMIT, &voted.run);
  site_assert_outcome(&got, BRANCH_OUTCOME_UNVERIFIABLE);
  site_close(&moved);
  pg_sql(admin, "DROP DATABASE moved (FORCE)");
}

/* The former server lives on, and so does what runs there: it is not waited for. */
static void run_on_a_replaced_database_is_abandoned(struct site *site) {
  char admin[THROWAWAY_DSN_SIZE], dsn[THROWAWAY_DSN_SIZE], gid[GID_SIZE];
  throwaway_server_dsn(site->pg->server, "postgres", admin);
  throwaway_server_dsn(site->pg->server, "moved", dsn);
  pg_sql(admin, "CREATE DATABASE moved");
  struct agent_options options = site_options();
  options.agent_id = "moved-agent";
  struct site moved;
  site_open(&moved, site->pg, dsn, &options, site->over_http);
  site_gid(&moved, 1, gid);
  struct got before = site_fence(&moved, 1);
  CU_ASSERT_EQUAL(before.err.code, ERR_OK);
  struct got left = site_got(site);
  struct job job = {.gid = gid, .end = RUN_PREPARE, .sql = {"SELECT pg_sleep(600)"}};
  site_run_begin(&moved, &job, &left);
  pg_wait_for(site->pg, SLEEPERS);
  pg_sql(admin, "SET allow_system_table_mods = on; "
                "UPDATE pg_database SET datname = 'former' WHERE datname = 'moved'");
  pg_sql(admin, "CREATE DATABASE moved");
  pg_sql(admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                "application_name LIKE 'assent:moved-agent:%' AND state = 'idle'");
  site_wait(&left, 1);
  site_assert_vote(&left, VOTE_NO);
  struct got after = site_fence(&moved, 1);
  CU_ASSERT_EQUAL(after.err.code, ERR_OK);
  CU_ASSERT_STRING_NOT_EQUAL(after.fence.server, before.fence.server);
  site_close(&moved);
  pg_sql(admin, "DROP DATABASE former (FORCE)");
  pg_sql(admin, "DROP DATABASE moved (FORCE)");
}

/* ---- HTTP itself -------------------------------------------------------------------------------
 */

static void check_refused_whole(struct site *site, const char *messages) {
  struct got got = site_got(site);
  site_post_messages(site, messages, &got);
  site_wait(&got, 1);
  CU_ASSERT_EQUAL(got.status, 422);
}

static void http_refuses_what_is_not_for_it(void) {
  struct pg pg;
  struct site here, *site = &here;
  struct agent_options options = site_options();
  char body[512], gid[GID_SIZE];
  pg_setup(&pg);
  site_open(site, &pg, pg.dsn, &options, true);
  CU_ASSERT_EQUAL(site_post(site, "/healthz", NULL).status, 200);
  CU_ASSERT_EQUAL(site_post(site, "/v1/databases/nobody/health", NULL).status, 404);
  CU_ASSERT_EQUAL(site_post(site, "/v1/databases/nobody/list", "{}").status, 404);
  CU_ASSERT_EQUAL(site_post(site, "/v1/databases/bank/fence", "{").status, 400);
  CU_ASSERT_EQUAL(site_post(site, "/v1/databases/bank/fence", "{}").status, 422);
  CU_ASSERT_EQUAL(site_post(site, "/v1/databases/bank/messages", "{\"messages\":[]}").status, 422);
  check_refused_whole(site, "{\"id\":0,\"run\":{}}");
  check_refused_whole(site, "{\"id\":1}");
  check_refused_whole(site, "{\"id\":1,\"run\":{},\"decide\":{}}");
  check_refused_whole(site, "{\"id\":1,\"problem\":{}}");
  check_refused_whole(site, "{\"id\":1,\"run\":[]},{\"id\":2,\"decide\":{}}");
  site_gid(site, 1, gid);
  (void)snprintf(body, sizeof body,
                 "{\"id\":7,\"decide\":{\"gid\":\"x'\"}},"
                 "{\"id\":8,\"decide\":{\"gid\":\"%s\",\"epoch\":1,\"decision\":\"abort\"}}",
                 gid);
  struct got got = site_got(site);
  site_post_messages(site, body, &got);
  site_wait(&got, 3);
  CU_ASSERT_EQUAL(got.status, 200);
  CU_ASSERT_PTR_NOT_NULL(strstr(got.body, "{\"id\":7,\"problem\":{"));
  CU_ASSERT_PTR_NOT_NULL(strstr(got.body, "\"status\":422"));
  CU_ASSERT_PTR_NOT_NULL(strstr(got.body, "{\"id\":8,\"problem\":{"));
  CU_ASSERT_PTR_NOT_NULL(strstr(got.body, "\"code\":\"fenced\""));
  CU_ASSERT_PTR_NOT_NULL(strstr(got.body, gid));
  (void)site_fence(site, 1);
  got = site_got(site);
  site_post_messages(site, body, &got);
  site_wait(&got, 3);
  CU_ASSERT_PTR_NOT_NULL(strstr(got.body, "{\"id\":7,\"problem\":{"));
  CU_ASSERT_PTR_NOT_NULL(strstr(got.body, "{\"id\":8,\"decide\":{"));
  CU_ASSERT_PTR_NOT_NULL(strstr(got.body, "\"aborted\""));
  site_close(site);
  pg_teardown(&pg);
}

/* A gid goes into SQL as it is: what is not of its alphabet never gets there. */
static void http_takes_no_gid_with_sql_in_it(void) {
  static const char *const endings[] = {
      "'; DROP TABLE account; --", "'", "''", "\\\\'", "%27", " COMMIT"};
  struct pg pg;
  struct site here, *site = &here;
  struct agent_options options = site_options();
  char body[2048], gid[GID_SIZE];
  pg_setup(&pg);
  site_open(site, &pg, pg.dsn, &options, true);
  (void)site_fence(site, 1);
  site_gid(site, 1, gid);
  for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
    (void)snprintf(body, sizeof body,
                   "{\"id\":1,\"run\":{\"gid\":\"%s%s\",\"epoch\":1,\"incarnation\":\"%s\","
                   "\"sequence\":0,\"end\":\"prepare\",\"timeout_ms\":9000,\"statements\":["
                   "{\"sql\":\"" TAKE_TEN "\"}]}},"
                   "{\"id\":2,\"decide\":{\"gid\":\"%s%s\",\"epoch\":1,\"decision\":\"abort\"}}",
                   gid, endings[i], site->incarnation, gid, endings[i]);
    struct got got = site_got(site);
    site_post_messages(site, body, &got);
    site_wait(&got, 3);
    CU_ASSERT_PTR_NOT_NULL(strstr(got.body, "{\"id\":1,\"problem\":{"));
    CU_ASSERT_PTR_NOT_NULL(strstr(got.body, "{\"id\":2,\"problem\":{"));
    CU_ASSERT_PTR_NOT_NULL(strstr(got.body, "gid is not a gid"));
  }
  CU_ASSERT_EQUAL(site_balance(site), 100);
  site_close(site);
  pg_teardown(&pg);
}

/* The statement that is to be aborted swallows the cancel. */
static void http_answers_each_message_while_another_is_stuck(void) {
  struct pg pg;
  struct site here, *site = &here;
  struct agent_options options = site_options();
  char body[1024], stuck[GID_SIZE], quick[GID_SIZE];
  pg_setup(&pg);
  site_open(site, &pg, pg.dsn, &options, true);
  (void)site_fence(site, 1);
  site_gid(site, 1, stuck);
  site_gid(site, 1, quick);
  struct got voted = RUN(.gid = quick, .end = RUN_PREPARE, .sql = {TAKE_TEN});
  site_assert_vote(&voted, VOTE_YES);
  struct got deaf = site_got(site);
  struct job job = {.gid = stuck, .sql = {DEAF}};
  site_run_begin(site, &job, &deaf);
  pg_wait_for(site->pg, SLEEPERS);
  (void)snprintf(body, sizeof body,
                 "{\"id\":1,\"decide\":{\"gid\":\"%s\",\"epoch\":1,\"decision\":\"abort\"}},"
                 "{\"id\":2,\"decide\":{\"gid\":\"%s\",\"epoch\":1,\"decision\":\"commit\","
                 "\"xid\":\"%s\",\"server\":\"%s\"}}",
                 stuck, quick, voted.run.xid, voted.run.server);
  struct got got = site_got(site);
  site_post_messages(site, body, &got);
  site_wait(&got, 1);
  CU_ASSERT_PTR_NOT_NULL(strstr(got.body, "{\"id\":2,\"decide\":{"));
  CU_ASSERT_PTR_NOT_NULL(strstr(got.body, "\"committed\""));
  CU_ASSERT_PTR_NULL(strstr(got.body, "\"id\":1"));
  CU_ASSERT_EQUAL(site_balance(site), 90);
  CU_ASSERT_EQUAL(agent_routes_streaming(&site->routes), 1);
  site_wait(&got, 3);
  CU_ASSERT_EQUAL(got.status, 200);
  CU_ASSERT_PTR_NOT_NULL(strstr(got.body, "{\"id\":1,\"decide\":{"));
  CU_ASSERT_PTR_NOT_NULL(strstr(got.body, "\"aborted\""));
  site_wait(&deaf, 1);
  CU_ASSERT_PTR_NULL(site->routes.batches);
  site_close(site);
  pg_teardown(&pg);
}

/* Nobody waits for it any more when the agent goes. */
static void http_forgets_a_batch_with_its_agent(void) {
  struct pg pg;
  struct site here, *site = &here;
  struct agent_options options = site_options();
  char gid[GID_SIZE];
  pg_setup(&pg);
  site_open(site, &pg, pg.dsn, &options, true);
  (void)site_fence(site, 1);
  site_gid(site, 1, gid);
  struct got deaf = site_got(site);
  struct job job = {.gid = gid, .sql = {DEAF}};
  site_run_begin(site, &job, &deaf);
  pg_wait_for(site->pg, SLEEPERS);
  struct got never = site_got(site);
  site_decide_begin(site, gid, 1, DECIDE_ABORT, NULL, &never);
  (void)site_health(site);
  CU_ASSERT_EQUAL(never.count, 0);
  CU_ASSERT_PTR_NOT_NULL(site->routes.batches);
  site_close(site);
  CU_ASSERT_PTR_NULL(site->routes.batches);
  pg_sql(pg.dsn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE " SLEEPER);
  pg_teardown(&pg);
}

/* ---- each story, both ways ---------------------------------------------------------------------
 */

static void tell(void (*story)(struct site *), bool over_http) {
  struct pg pg;
  struct site site;
  struct agent_options options = site_options();
  pg_setup(&pg);
  site_open(&site, &pg, pg.dsn, &options, over_http);
  story(&site);
  CU_ASSERT_EQUAL(site_prepared_count(&site), 0);
  pg.cluster = site.cluster; /* a story that failed leaves nothing to the next one */
  site_close(&site);
  pg_teardown(&pg);
}

#define STORIES(X)                                                                                 \
  X(prepared_branch_commits)                                                                       \
  X(prepared_branch_aborts)                                                                        \
  X(prepare_repeated_votes_the_same_and_runs_once)                                                 \
  X(prepare_after_abort_is_refused)                                                                \
  X(sole_branch_commits_in_one_phase)                                                              \
  X(sole_branch_whose_control_session_ends_is_a_no)                                                \
  X(one_phase_after_restart_tells_how_it_ended)                                                    \
  X(branch_without_writes_is_read_only)                                                            \
  X(interactive_statements_end_in_a_prepare)                                                       \
  X(failed_statement_is_a_no_with_its_cause)                                                       \
  X(external_branch_is_voted_for_and_committed)                                                    \
  X(external_branch_of_another_role_is_no_yes)                                                     \
  X(external_branch_of_another_role_is_a_superusers_to_end)                                        \
  X(stale_epochs_and_lives_are_refused)                                                            \
  X(fence_ends_what_older_epochs_have_in_flight)                                                   \
  X(abort_cancels_what_runs)                                                                       \
  X(abort_ends_what_does_not_heed_a_cancel)                                                        \
  X(fence_ends_what_does_not_heed_a_cancel)                                                        \
  X(database_killed_before_commit_is_retried)                                                      \
  X(database_away_is_a_prompt_no)                                                                  \
  X(backend_ended_amid_a_run_is_a_no)                                                              \
  X(hanging_server_is_unknown_until_it_answers)                                                    \
  X(rollback_by_hand_is_told_after_a_commit)                                                       \
  X(commit_by_hand_is_told_after_an_abort)                                                         \
  X(restarted_agent_finds_and_finishes_prepared_branches)                                          \
  X(second_life_ends_sessions_of_the_first)                                                        \
  X(active_branch_is_rolled_back_after_its_time)                                                   \
  X(runs_wait_for_a_connection_within_limits)                                                      \
  X(health_tells_of_the_database)                                                                  \
  X(server_without_prepared_transactions_says_what_to_set)                                         \
  X(role_without_rights_keeps_the_epoch_in_the_state_dir)                                          \
  X(role_that_may_only_read_is_held_to_what_the_database_knows)                                    \
  X(role_that_cannot_take_back_that_rows_are_left_is_refused)                                      \
  X(rows_begin_after_an_epoch_kept_in_the_state_dir)                                               \
  X(replaced_database_is_as_good_as_a_restart)                                                     \
  X(run_on_a_replaced_database_is_abandoned)

#define TOLD(story)                                                                                \
  static void story##_by_call(void) {                                                              \
    tell(story, false);                                                                            \
  }                                                                                                \
  static void story##_over_http(void) {                                                            \
    tell(story, true);                                                                             \
  }
STORIES(TOLD)

#define TOLD_CASES(story) CASE(story##_by_call), CASE(story##_over_http),
SUITE(agent, STORIES(TOLD_CASES) CASE(http_refuses_what_is_not_for_it),
      CASE(http_takes_no_gid_with_sql_in_it),
      CASE(http_answers_each_message_while_another_is_stuck),
      CASE(http_forgets_a_batch_with_its_agent))
