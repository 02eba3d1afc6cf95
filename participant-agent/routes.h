/* The agent's API over HTTP (docs/agent-api.md): message.h's requests as JSON.
 */
#ifndef ASSENT_PARTICIPANT_AGENT_ROUTES_H
#define ASSENT_PARTICIPANT_AGENT_ROUTES_H

#include <stddef.h>

#include "common/http_server.h"
#include "common/statement_set.h"
#include "common/tracer.h"
#include "participant-agent/agent.h"

enum { AGENT_BODY_BYTES_MAX = 64 << 20 };

struct routed_agent {
  const char *name; /* of the participant */
  struct agent *agent;
  struct statement_set *statements; /* all that may run there; NULL: anything. Borrowed */
};

/* The routes' `data`; borrowed by the server. */
struct agent_routes {
  const struct routed_agent *agents;
  size_t count;
  struct tracer *tracer; /* borrowed; NULL: no spans are made of messages */
  struct batch *batches; /* owned; of messages that agents have under way; begins NULL */
};

/* For http_server_start(). Requests under way refer to the agents: answer or drop them
 * (http_server_free) before the agents go. */
const struct http_route *agent_routes_table(size_t *count);
/* Of those that answer with something else than JSON. Static. */
const struct http_media *agent_routes_media(void);
/* Requests whose answers have begun and go on: http_server_pending() does not count them. */
size_t agent_routes_streaming(const struct agent_routes *routes);
/* When the agents are gone: they refer to the batches. Before the loop. */
void agent_routes_release(struct agent_routes *routes);

#endif
