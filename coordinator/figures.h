/* What the coordinator counts for its metrics. Nothing depends on it. */
#ifndef ASSENT_COORDINATOR_FIGURES_H
#define ASSENT_COORDINATOR_FIGURES_H

#include <stdint.h>

#include "common/message.h"
#include "common/metrics.h"

enum call {
  CALL_FENCE,
  CALL_RUN,
  CALL_DECIDE,
  CALL_LIST,
  CALL_SURVEY,
  CALL_BLOCKERS,
  CALL_HEALTH,
  CALL_COUNT
};
enum call_result {
  CALL_OK,
  CALL_REFUSED,     /* the request, by the agent */
  CALL_UNAVAILABLE, /* certainly without effect */
  CALL_LOST,        /* the effect is unknown */
  CALL_RESULT_COUNT
};
enum phase {
  PHASE_PREPARE, /* the commit was asked for, until all votes are in */
  PHASE_LOG,     /* until the decision is durable */
  PHASE_COMMIT,  /* until every branch has it */
  PHASE_WHOLE,   /* begun, until every branch has the outcome */
  PHASE_COUNT
};
enum refused {
  REFUSED_TRANSACTIONS, /* as many as may be are live */
  REFUSED_WAITING,      /* too many wait to start */
  REFUSED_TOKEN,        /* as many as may be are live of one token */
  REFUSED_CONNECTIONS,  /* by a participant: too many wait for its connections */
  REFUSED_COUNT
};
enum { OUTCOME_COMMITTED, OUTCOME_ABORTED, OUTCOME_MIXED, OUTCOME_COUNT };
enum { CAUSE_COUNT = CAUSE_LIMIT + 1 };

struct figures {
  uint64_t begun;
  uint64_t refused[REFUSED_COUNT]; /* because of too much load */
  uint64_t ended[OUTCOME_COUNT][CAUSE_COUNT];
  uint64_t heuristics; /* branches that ended against the decision, or cannot say how */
  struct histogram phases[PHASE_COUNT];
  uint64_t recovered, recovering;   /* unfinished decisions found at the start; of these, left */
  uint64_t started_us, recovery_us; /* monotonic; how long it took, 0: goes on */
};

#endif
