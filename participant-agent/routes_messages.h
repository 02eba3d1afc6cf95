/* Runs and decisions, several in a request, answered line by line (docs/agent-api.md). */
#ifndef ASSENT_PARTICIPANT_AGENT_ROUTES_MESSAGES_H
#define ASSENT_PARTICIPANT_AGENT_ROUTES_MESSAGES_H

#include <jansson.h>

#include "participant-agent/routes.h"

/* Answers the request, perhaps later. `json` is its body, borrowed for the call. */
void messages_take(struct agent_routes *routes, const struct routed_agent *routed,
                   struct http_request *request, const json_t *json);
/* Batches of which an answer has gone out, and more are to come. */
size_t messages_streaming(const struct agent_routes *routes);
/* When the agent is gone. */
void messages_release(struct agent_routes *routes);

#endif
