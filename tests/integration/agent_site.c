/* See agent_site.h. */
#include "tests/integration/agent_site.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "tests/lib/suite.h"

enum { PATIENCE_MS = 60000 };

static struct got *came(void *data, const struct error *err) {
  struct got *got = data;
  got->count++;
  got->err = err ? *err : (struct error){0};
  loop_stop(got->loop);
  return got;
}

static void on_fence(void *data, const struct fence_reply *reply, const struct error *err) {
  struct got *got = came(data, err);
  if (reply) got->fence = *reply;
}

static void on_run(void *data, const struct run_reply *reply, const struct error *err) {
  struct got *got = came(data, err);
  if (!reply) return;
  got->run = *reply;
  (void)snprintf(got->results, sizeof got->results, "%s", reply->results ? reply->results : "");
}

static void on_decide(void *data, const struct decide_reply *reply, const struct error *err) {
  struct got *got = came(data, err);
  if (reply) got->decide = *reply;
}

static void on_list(void *data, const struct list_reply *reply, const struct error *err) {
  struct got *got = came(data, err);
  if (!reply) return;
  got->branch_count = reply->count;
  for (size_t i = 0; i < reply->count && i < 8; i++)
    got->branches[i] = reply->branches[i];
}

static void on_health(void *data, const struct health_reply *reply, const struct error *err) {
  struct got *got = came(data, err);
  if (reply) got->health = *reply;
}

static void on_response(void *data, int status, const char *body, size_t length,
                        const struct error *err) {
  struct got *got = came(data, err);
  got->status = status;
  (void)snprintf(got->body, sizeof got->body, "%.*s", (int)length, body ? body : "");
}

static void out_of_patience(void *data) {
  (void)data;
  (void)fprintf(stderr, "test_agent: no answer\n");
  exit(2);
}

void site_wait(struct got *got, unsigned count) {
  struct loop_timer *timer = loop_timer_new(got->loop, out_of_patience, NULL);
  loop_timer_start(timer, PATIENCE_MS);
  while (got->count < count)
    loop_run(got->loop);
  loop_timer_free(timer);
}

/* ---- a site ------------------------------------------------------------------------------------
 */

struct agent_options site_options(void) {
  return (struct agent_options){.participant = "bank",
                                .agent_id = "agent-under-test",
                                .connections_max = 4,
                                .waiting_max = 16,
                                .call_timeout_ms = 2000,
                                .result_rows_max = 100,
                                .result_bytes_max = 4000};
}

static void serve_over_http(struct site *site) {
  struct http_server_options options = {.listen_host = "127.0.0.1",
                                        .body_bytes_max = AGENT_BODY_BYTES_MAX};
  size_t count;
  const struct http_route *routes = agent_routes_table(&count);
  struct error err = {0};
  char url[64];
  site->routed = (struct routed_agent){.name = "bank", .agent = site->agent};
  site->routes = (struct agent_routes){.agents = &site->routed, .count = 1};
  CU_ASSERT_EQUAL_FATAL(http_server_start(&site->server, site->pg->loop, &options, routes, count,
                                          &site->routes, &err),
                        ERR_OK);
  site->client = http_client_new(site->pg->loop);
  (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", http_server_port(site->server));
  site->participant = participant_http_new(site->pg->loop, site->client, url, "bank", SITE_FAR_MS);
}

void site_open(struct site *site, struct pg *pg, const char *dsn,
               const struct agent_options *options, bool over_http) {
  struct error err = {0};
  *site = (struct site){.pg = pg, .over_http = over_http, .cluster = cluster_id_make()};
  struct adapter *adapter = postgres_adapter_new(pg->loop, dsn, &err);
  CU_ASSERT_PTR_NOT_NULL_FATAL(adapter);
  site->agent = agent_new(pg->loop, adapter, options);
  if (over_http)
    serve_over_http(site);
  else
    site->participant = participant_local_new(site->agent);
}

void site_close(struct site *site) {
  site->participant->ops->free(site->participant); /* a local one takes its agent along */
  if (!site->over_http) return;
  http_client_free(site->client);
  agent_free(site->agent);
  http_server_free(site->server);
  agent_routes_release(&site->routes);
}

void site_reopen(struct site *site) {
  struct pg *pg = site->pg;
  struct cluster_id cluster = site->cluster;
  struct agent_options options = site_options();
  bool over_http = site->over_http;
  site_close(site);
  site_open(site, pg, pg->dsn, &options, over_http);
  site->cluster = cluster;
}

struct got site_got(const struct site *site) {
  return (struct got){.loop = site->pg->loop};
}

void site_fence_after(struct site *site, uint64_t epoch, const char *run_id,
                      const struct fence_reply *former, struct got *got) {
  struct fence_request request = {.cluster = site->cluster, .epoch = epoch};
  (void)snprintf(request.run_id, sizeof request.run_id, "%s", run_id);
  if (former) {
    request.after_epoch = former->former_epoch;
    memcpy(request.after_run_id, former->former_run_id, sizeof request.after_run_id);
  }
  site->participant->ops->fence(site->participant, &request, on_fence, got);
}

void site_fence_begin(struct site *site, uint64_t epoch, const char *run_id, struct got *got) {
  site_fence_after(site, epoch, run_id, NULL, got);
}

struct got site_fence_as(struct site *site, uint64_t epoch, const char *run_id) {
  struct got got = site_got(site);
  site_fence_begin(site, epoch, run_id, &got);
  site_wait(&got, 1);
  if (got.err.code == ERR_OK && got.fence.former_epoch > 0) {
    struct fence_reply former = got.fence;
    got = site_got(site);
    site_fence_after(site, epoch, run_id, &former, &got);
    site_wait(&got, 1);
  }
  if (got.err.code == ERR_OK)
    (void)snprintf(site->incarnation, sizeof site->incarnation, "%s", got.fence.incarnation);
  return got;
}

struct got site_fence(struct site *site, uint64_t epoch) {
  return site_fence_as(site, epoch, "0123456789abcdef");
}

void site_gid(const struct site *site, uint64_t epoch, char out[GID_SIZE]) {
  struct gid gid = {.cluster = site->cluster, .epoch = epoch, .branch = 1};
  gid.txid = txid_make(clock_wall_us());
  gid_format(&gid, out);
}

void site_run_begin(struct site *site, const struct job *job, struct got *got) {
  struct statement statements[SITE_STATEMENTS_MAX];
  struct run_request request = {.gid = job->gid,
                                .epoch = job->epoch ? job->epoch : 1,
                                .incarnation = site->incarnation,
                                .sequence = job->sequence,
                                .end = job->end,
                                .statements = statements,
                                .timeout_ms = job->timeout_ms ? job->timeout_ms : SITE_FAR_MS};
  for (size_t i = 0; i < SITE_STATEMENTS_MAX && job->sql[i]; i++)
    statements[request.statement_count++] =
        (struct statement){.sql = job->sql[i], .expect_rows = -1};
  site->participant->ops->run(site->participant, &request, on_run, got);
}

struct got site_run(struct site *site, struct job job) {
  struct got got = site_got(site);
  site_run_begin(site, &job, &got);
  site_wait(&got, 1);
  return got;
}

void site_decide_begin(struct site *site, const char *gid, uint64_t epoch, enum decision decision,
                       const struct run_reply *voted, struct got *got) {
  struct decide_request request = {.gid = gid,
                                   .epoch = epoch,
                                   .decision = decision,
                                   .xid = voted ? voted->xid : "",
                                   .server = voted ? voted->server : ""};
  site->participant->ops->decide(site->participant, &request, on_decide, got);
}

struct got site_decide(struct site *site, const char *gid, enum decision decision,
                       const struct run_reply *voted) {
  struct got got = site_got(site);
  site_decide_begin(site, gid, 1, decision, voted, &got);
  site_wait(&got, 1);
  return got;
}

struct got site_decide_until_told(struct site *site, const char *gid, enum decision decision,
                                  const struct run_reply *voted) {
  struct got got = site_decide(site, gid, decision, voted);
  while (got.err.code == ERR_OK && got.decide.outcome == BRANCH_OUTCOME_RETRY)
    got = site_decide(site, gid, decision, voted);
  return got;
}

struct got site_list(struct site *site, uint64_t epoch) {
  struct got got = site_got(site);
  struct list_request request = {.cluster = site->cluster, .epoch = epoch};
  site->participant->ops->list(site->participant, &request, on_list, &got);
  site_wait(&got, 1);
  return got;
}

struct got site_health(struct site *site) {
  struct got got = site_got(site);
  site->participant->ops->health(site->participant, on_health, &got);
  site_wait(&got, 1);
  return got;
}

int64_t site_balance(const struct site *site) {
  return pg_int(site->pg->dsn, "SELECT balance FROM account WHERE id = 1");
}

int64_t site_prepared_count(const struct site *site) {
  return pg_int(site->pg->dsn, "SELECT count(*) FROM pg_prepared_xacts");
}

void site_assert_vote(const struct got *got, enum vote vote) {
  CU_ASSERT_EQUAL(got->err.code, ERR_OK);
  CU_ASSERT_EQUAL(got->run.vote, vote);
  if (got->err.code != ERR_OK || got->run.vote != vote)
    (void)fprintf(stderr, "\n  vote %s, %s %s", vote_name(got->run.vote), got->err.text,
                  got->run.cause.text);
}

void site_assert_outcome(const struct got *got, enum branch_outcome outcome) {
  CU_ASSERT_EQUAL(got->err.code, ERR_OK);
  CU_ASSERT_EQUAL(got->decide.outcome, outcome);
  if (got->err.code != ERR_OK || got->decide.outcome != outcome)
    (void)fprintf(stderr, "\n  outcome %s, %s %s", branch_outcome_name(got->decide.outcome),
                  got->err.text, got->decide.cause.text);
}

struct got site_post(struct site *site, const char *path, const char *body) {
  struct got got = site_got(site);
  char url[256];
  (void)snprintf(url, sizeof url, "http://127.0.0.1:%u%s", http_server_port(site->server), path);
  char *copy = body ? strdup(body) : NULL;
  http_client_send(site->client, url, copy, body ? strlen(body) : 0, SITE_FAR_MS, sizeof got.body,
                   on_response, &got);
  site_wait(&got, 1);
  return got;
}

static void on_line(void *data, char *line, size_t length) {
  struct got *got = data;
  size_t before = strlen(got->body);
  (void)snprintf(got->body + before, sizeof got->body - before, "%.*s\n", (int)length, line);
  got->count++;
  loop_stop(got->loop);
}

static void on_lines_end(void *data, int status, const char *body, size_t length,
                         const struct error *err) {
  struct got *got = data;
  got->status = status;
  if (err) got->err = *err;
  if (!err && status != 200) (void)snprintf(got->body, sizeof got->body, "%.*s", (int)length, body);
  got->count++;
  loop_stop(got->loop);
}

void site_post_messages(struct site *site, const char *messages, struct got *got) {
  char url[256];
  char *body = NULL;
  (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/v1/databases/bank/messages",
                 http_server_port(site->server));
  if (asprintf(&body, "{\"messages\":[%s]}", messages) < 0) abort();
  http_client_send_lines(site->client, url, body, strlen(body), SITE_FAR_MS, sizeof got->body,
                         on_line, on_lines_end, got);
}

/* ---- stories ---------------------------------------------------------------------------------- */

void site_tell(void (*story)(struct site *site), bool over_http) {
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
