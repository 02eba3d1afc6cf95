/* The trace of a request that a server handles: from its traceparent, or one that begins here; and the
 * server's span for it, which ends with the answer.
 *
 * A request that has no (valid) traceparent joins the trace of what it acts on, if that has one.
 */
#ifndef ASSENT_COMMON_REQUEST_TRACE_H
#define ASSENT_COMMON_REQUEST_TRACE_H

#include <stdbool.h>

#include "common/http_server.h"
#include "common/tracer.h"

/* Of one server; the observer in its options, with this as its data. */
struct request_tracing {
  struct tracer *tracer; /* borrowed; NULL: traces are passed on, and no span is made */
  const char *path;      /* POSTs whose route begins so have one */
  bool begins;           /* one without a traceparent begins a trace; else it has none */
  bool secure;           /* TLS */
};
extern const struct http_observer request_tracing_observer;

/* What the request's own work is to have as parent; NULL: it belongs to no trace. `acts_on`: of what the
 * request acts on; NULL: nothing that has one. Borrowed from the request, for as long as it is not
 * answered. */
const struct trace_context *request_trace(const struct http_request *request,
                                          const struct trace_context *acts_on);
/* For attributes; NULL: none is recorded. After request_trace(). */
struct span *request_span(const struct http_request *request);

#endif
