/* An agent on the test server (pg.h), reached by calls or over HTTP through the two participants of
 * coordinator/participant.h.
 */
#ifndef ASSENT_TESTS_INTEGRATION_AGENT_SITE_H
#define ASSENT_TESTS_INTEGRATION_AGENT_SITE_H

#include "common/http_client.h"
#include "coordinator/participant.h"
#include "participant-agent/routes.h"
#include "tests/integration/pg.h"

enum { SITE_FAR_MS = 30000, SITE_STATEMENTS_MAX = 4 };

/* One agent, and how it is reached. */
struct site {
  struct pg *pg;
  bool over_http;
  struct agent *agent;
  struct participant *participant;
  struct routed_agent routed;
  struct agent_routes routes;
  struct http_server *server;
  struct http_client *client;
  struct cluster_id cluster;
  char incarnation[RUN_ID_SIZE];
};

/* What came back of one request. */
struct got {
  struct loop *loop;
  unsigned count;
  struct error err;
  struct fence_reply fence;
  struct run_reply run;
  char results[4096];
  struct decide_reply decide;
  struct prepared_branch branches[8];
  size_t branch_count;
  struct health_reply health;
  int status;
  char body[4096];
};

struct job {
  const char *gid;
  uint64_t epoch; /* 0: 1 */
  unsigned sequence;
  enum run_end end;
  const char *sql[SITE_STATEMENTS_MAX];
  int64_t timeout_ms; /* 0: far */
};

/* connections 4, waiting 16, calls 2 s. */
struct agent_options site_options(void);
/* The database is the one of `dsn`; the cluster is a new one. */
void site_open(struct site *site, struct pg *pg, const char *dsn,
               const struct agent_options *options, bool over_http);
/* A new life of the agent, for the same cluster. */
void site_reopen(struct site *site);
void site_close(struct site *site);
void site_gid(const struct site *site, uint64_t epoch, char out[GID_SIZE]);
/* Requests: _begin starts one, the others wait for its answer. */
struct got site_got(const struct site *site);
void site_wait(struct got *got, unsigned count);
/* `former`: names the life it tells of; NULL: none. site_fence_as() asks again with the one that the
 * agent has told, as a coordinator whose log has had it. */
void site_fence_after(struct site *site, uint64_t epoch, const char *run_id,
                      const struct fence_reply *former, struct got *got);
void site_fence_begin(struct site *site, uint64_t epoch, const char *run_id, struct got *got);
struct got site_fence_as(struct site *site, uint64_t epoch, const char *run_id);
/* Keeps the incarnation for the runs to come. */
struct got site_fence(struct site *site, uint64_t epoch);
void site_run_begin(struct site *site, const struct job *job, struct got *got);
struct got site_run(struct site *site, struct job job);
void site_decide_begin(struct site *site, const char *gid, uint64_t epoch, enum decision decision,
                       const struct run_reply *voted, struct got *got);
struct got site_decide(struct site *site, const char *gid, enum decision decision,
                       const struct run_reply *voted);
/* As a coordinator does: for as long as the answer is to ask again. */
struct got site_decide_until_told(struct site *site, const char *gid, enum decision decision,
                                  const struct run_reply *voted);
struct got site_list(struct site *site, uint64_t epoch);
struct got site_health(struct site *site);
/* Plain HTTP; `body` NULL: a GET. Only of a site over HTTP. */
struct got site_post(struct site *site, const char *path, const char *body);
/* A request with messages; each line of the answer, and its end, counts. `body` gets the lines. */
void site_post_messages(struct site *site, const char *messages, struct got *got);
int64_t site_balance(const struct site *site);
int64_t site_prepared_count(const struct site *site);
/* Print what came instead. */
void site_assert_vote(const struct got *got, enum vote vote);
void site_assert_outcome(const struct got *got, enum branch_outcome outcome);

/* Tells a story of an agent of its own, on an account of 100, and looks whether it left something prepared. */
void site_tell(void (*story)(struct site *site), bool over_http);

/* A story as two cases. */
#define SITE_TOLD(story)                                                                           \
  static void story##_by_call(void) {                                                              \
    site_tell(story, false);                                                                       \
  }                                                                                                \
  static void story##_over_http(void) {                                                            \
    site_tell(story, true);                                                                        \
  }
#define SITE_CASES(story) CASE(story##_by_call), CASE(story##_over_http),

/* In a story. */
#define RUN(...) site_run(site, (struct job){__VA_ARGS__})
#define SLEEPER  "query LIKE '%sleep(600)%' AND state = 'active' AND pid <> pg_backend_pid()"
#define SLEEPERS "SELECT count(*) FROM pg_stat_activity WHERE " SLEEPER
/* It takes a cancel for a reason to sleep again. */
#define DEAF                                                                                       \
  "DO $$ BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN PERFORM pg_sleep(600); "  \
  "END $$"
#define TAKE_TEN "UPDATE account SET balance = balance - 10 WHERE id = 1"

#endif
