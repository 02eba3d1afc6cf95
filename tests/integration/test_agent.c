/* A branch at the agent, on a real server, from its first statement to its end. Each story is told twice: by
 * calls, and over HTTP on a loopback port. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/integration/agent_site.h"
#include "tests/lib/suite.h"

enum { FENCE_TRIES = 20 };

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
  X(restarted_agent_finds_and_finishes_prepared_branches)                                          \
  X(second_life_ends_sessions_of_the_first)                                                        \
  X(active_branch_is_rolled_back_after_its_time)                                                   \
  X(runs_wait_for_a_connection_within_limits)                                                      \
  X(health_tells_of_the_database)
STORIES(SITE_TOLD)

SUITE(agent, STORIES(SITE_CASES))
