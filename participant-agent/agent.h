/* The agent of one database: its branches, its pool of sessions, its fence.
 *
 * A library: `assentd` hosts agents in its own process, `assent-agent` serves the same calls over
 * HTTP (routes.c). The seven requests and what their answers mean are in common/message.h; who does
 * what after a crash is in docs/design.md.
 */
#ifndef ASSENT_PARTICIPANT_AGENT_AGENT_H
#define ASSENT_PARTICIPANT_AGENT_AGENT_H

#include "adapters/adapter.h"
#include "common/loop.h"
#include "common/message.h"
#include "common/tracer.h"

struct agent;

struct agent_options {
  const char *participant; /* name, for logs */
  const char *agent_id; /* stable over restarts, [a-z0-9-], at most 32: sessions of a former life of
                           this agent are found by it */
  const char *state_dir; /* where the epoch is kept when the database refuses; NULL: refuse then */
  unsigned connections_max; /* for branches' work */
  unsigned waiting_max;     /* runs waiting for a connection; over it: CAUSE_LIMIT */
  int64_t call_timeout_ms;  /* of connecting and every control call */
  size_t result_rows_max, result_bytes_max;
  bool synchronous_failover; /* no failover loses what was told durable: the operator's word */
  /* Not 0: every branch leaves a row in the database when it commits, which is removed when its
   * transaction is older than this. */
  int64_t rows_retention_ms;
  struct tracer *tracer; /* borrowed; NULL: what the database is asked makes no spans */
};

/* Everything is copied; the adapter is taken over. Starts connecting in the background. */
struct agent *agent_new(struct loop *loop, struct adapter *adapter,
                        const struct agent_options *options);
/* Drops all sessions: active branches roll back, prepared ones stay prepared. No callback comes
 * after. */
void agent_free(struct agent *agent);

void agent_fence(struct agent *agent, const struct fence_request *request, fence_fn fn, void *data);
void agent_run(struct agent *agent, const struct run_request *request, run_fn fn, void *data);
void agent_decide(struct agent *agent, const struct decide_request *request, decide_fn fn,
                  void *data);
void agent_list(struct agent *agent, const struct list_request *request, list_fn fn, void *data);
void agent_survey(struct agent *agent, const struct survey_request *request, survey_fn fn,
                  void *data);
void agent_blockers(struct agent *agent, const struct blockers_request *request, blockers_fn fn,
                    void *data);
void agent_health(struct agent *agent, health_fn fn, void *data);

/* ---- for metrics ------------------------------------------------------------------------------ */

enum { AGENT_CALLS = 7, AGENT_RESULTS = 4, AGENT_VOTES = VOTE_READY + 1 };
enum { AGENT_OUTCOMES = BRANCH_OUTCOME_UNVERIFIABLE + 1 };
struct agent_figures {
  uint64_t calls[AGENT_CALLS][AGENT_RESULTS]; /* answered; by the names below */
  uint64_t votes[AGENT_VOTES];
  uint64_t outcomes[AGENT_OUTCOMES]; /* as told of decisions */
};
extern const char *const agent_call_names[AGENT_CALLS];
extern const char *const agent_result_names[AGENT_RESULTS];
const struct agent_figures *agent_figures(const struct agent *agent);
/* What is known without asking the database: counts of prepared transactions as of the last time that
 * somebody asked for its health. */
void agent_describe(const struct agent *agent, struct health_reply *out);

#endif
