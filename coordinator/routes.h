/* The public HTTP API: see docs/api.md. */
#ifndef ASSENT_COORDINATOR_ROUTES_H
#define ASSENT_COORDINATOR_ROUTES_H

#include "common/http_server.h"
#include "common/request_trace.h"
#include "coordinator/coordinator.h"
#include "coordinator/requests.h"

struct routes_context {
  struct coordinator *coordinator;
  struct request_limits limits;
  struct request_tracing tracing;
};

/* Static. Handlers get a `struct routes_context *`. */
const struct http_route *routes_table(size_t *count);

/* routes_begin.c */
void routes_post_transaction(struct http_request *request, void *data);

/* An abort at the deadline gets this long to reach its branches before the waiting client is answered:
 * an answer that says where every branch stands is worth it. */
enum { ANSWER_GRACE_MS = 1000 };

/* Of those that answer with something else than JSON. Static. */
const struct http_media *routes_media(void);

#endif
