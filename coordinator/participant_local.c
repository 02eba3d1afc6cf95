/* A participant whose agent runs in this process: calls passed on. */
#include <stdlib.h>

#include "coordinator/participant.h"

struct local {
  struct participant base;
  struct agent *agent;
};

static struct agent *agent_of(struct participant *participant) {
  return ((struct local *)participant)->agent;
}

static void local_fence(struct participant *participant, const struct fence_request *request,
                        fence_fn fn, void *data) {
  agent_fence(agent_of(participant), request, fn, data);
}

static void local_run(struct participant *participant, const struct run_request *request, run_fn fn,
                      void *data) {
  agent_run(agent_of(participant), request, fn, data);
}

static void local_decide(struct participant *participant, const struct decide_request *request,
                         decide_fn fn, void *data) {
  agent_decide(agent_of(participant), request, fn, data);
}

static void local_list(struct participant *participant, const struct list_request *request,
                       list_fn fn, void *data) {
  agent_list(agent_of(participant), request, fn, data);
}

static void local_survey(struct participant *participant, const struct survey_request *request,
                         survey_fn fn, void *data) {
  agent_survey(agent_of(participant), request, fn, data);
}

static void local_blockers(struct participant *participant, const struct blockers_request *request,
                           blockers_fn fn, void *data) {
  agent_blockers(agent_of(participant), request, fn, data);
}

static void local_health(struct participant *participant, health_fn fn, void *data) {
  agent_health(agent_of(participant), fn, data);
}

static void local_free(struct participant *participant) {
  agent_free(agent_of(participant));
  free(participant);
}

static const struct participant_ops local_ops = {.fence = local_fence,
                                                 .run = local_run,
                                                 .decide = local_decide,
                                                 .list = local_list,
                                                 .survey = local_survey,
                                                 .blockers = local_blockers,
                                                 .health = local_health,
                                                 .free = local_free};

struct participant *participant_local_new(struct agent *agent) {
  struct local *local = calloc(1, sizeof *local);
  if (!local) abort();
  *local = (struct local){{.ops = &local_ops}, agent};
  return &local->base;
}
