/* The agent where something is in the way: epochs that are over, aborts of what runs, a database that goes or
 * hangs, and whoever ends a branch by hand. Each story is told twice, as in test_agent.c. */
#include <stdio.h>
#include <string.h>

#include "tests/integration/agent_site.h"
#include "tests/lib/suite.h"

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

#define STORIES(X)                                                                                 \
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
  X(commit_by_hand_is_told_after_an_abort)
STORIES(SITE_TOLD)

SUITE(agent_trouble, STORIES(SITE_CASES))
