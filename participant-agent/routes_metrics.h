/* GET /metrics of an agent; see routes.h. */
#ifndef ASSENT_PARTICIPANT_AGENT_ROUTES_METRICS_H
#define ASSENT_PARTICIPANT_AGENT_ROUTES_METRICS_H

#include "participant-agent/routes.h"

void handle_metrics(struct http_request *request, void *data);

#endif
