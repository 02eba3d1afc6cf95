/* The agent's API over HTTP (docs/agent-api.md): message.h's requests as JSON.
 */
#ifndef ASSENT_PARTICIPANT_AGENT_ROUTES_H
#define ASSENT_PARTICIPANT_AGENT_ROUTES_H

#include <stddef.h>

#include "common/http_server.h"
#include "participant-agent/agent.h"

enum { AGENT_BODY_BYTES_MAX = 64 << 20, DECISIONS_MAX = 1000 };

struct routed_agent {
  const char *name; /* of the participant */
  struct agent *agent;
};

/* The routes' `data`; borrowed by the server. */
struct agent_routes {
  const struct routed_agent *agents;
  size_t count;
};

/* For http_server_start(). Requests under way refer to the agents: answer or drop them
 * (http_server_free) before the agents go. */
const struct http_route *agent_routes_table(size_t *count);

#endif
