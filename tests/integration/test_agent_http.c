/* What is peculiar to the agent over HTTP: what it refuses, and how it answers many messages at once. */
#include <stdio.h>
#include <string.h>

#include "tests/integration/agent_site.h"
#include "tests/lib/suite.h"

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

SUITE(agent_http, CASE(http_refuses_what_is_not_for_it), CASE(http_takes_no_gid_with_sql_in_it),
      CASE(http_answers_each_message_while_another_is_stuck),
      CASE(http_forgets_a_batch_with_its_agent))
