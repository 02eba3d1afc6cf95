/* The agent on servers and with roles of their own. Each story is told twice, as in test_agent.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/agent_site.h"
#include "tests/lib/suite.h"

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

#define STORIES(X)                                                                                 \
  X(server_without_prepared_transactions_says_what_to_set)                                         \
  X(role_without_rights_keeps_the_epoch_in_the_state_dir)                                          \
  X(role_that_may_only_read_is_held_to_what_the_database_knows)                                    \
  X(role_that_cannot_take_back_that_rows_are_left_is_refused)                                      \
  X(rows_begin_after_an_epoch_kept_in_the_state_dir)                                               \
  X(replaced_database_is_as_good_as_a_restart)                                                     \
  X(run_on_a_replaced_database_is_abandoned)
STORIES(SITE_TOLD)

SUITE(agent_servers, STORIES(SITE_CASES))
