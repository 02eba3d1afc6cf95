/* How the coordinator reaches a participant's agent: a local call or HTTP, behind one interface.
 *
 * Contract of the calls: common/message.h. Runs and decisions for one remote agent that are asked in the
 * same turn of the loop travel together (outbox.h).
 */
#ifndef ASSENT_COORDINATOR_PARTICIPANT_H
#define ASSENT_COORDINATOR_PARTICIPANT_H

#include "common/http_client.h"
#include "common/loop.h"
#include "common/message.h"
#include "participant-agent/agent.h"

struct participant;

struct participant_ops {
  void (*fence)(struct participant *participant, const struct fence_request *request, fence_fn fn,
                void *data);
  void (*run)(struct participant *participant, const struct run_request *request, run_fn fn,
              void *data);
  void (*decide)(struct participant *participant, const struct decide_request *request,
                 decide_fn fn, void *data);
  void (*list)(struct participant *participant, const struct list_request *request, list_fn fn,
               void *data);
  void (*survey)(struct participant *participant, const struct survey_request *request,
                 survey_fn fn, void *data);
  void (*blockers)(struct participant *participant, const struct blockers_request *request,
                   blockers_fn fn, void *data);
  void (*health)(struct participant *participant, health_fn fn, void *data);
  void (*free)(struct participant *participant);
};

struct participant {
  const struct participant_ops *ops;
  char host[64]; /* of a remote agent; "": in this process */
  uint16_t port;
};

/* Takes the agent over. */
struct participant *participant_local_new(struct agent *agent);
/* `url`: "http://127.0.0.1:7420", without a trailing slash; `name` is the agent's name for its
 * database. The client is borrowed. */
struct participant *participant_http_new(struct loop *loop, struct http_client *client,
                                         const char *url, const char *name,
                                         int64_t call_timeout_ms);

#endif
