/* See request_trace.h. What is kept of a request is made only when it came with a trace or may begin one:
 * without a tracer and without a header it costs a look for the header. The span begins when it is known
 * whose child it is; its time is that of the request's. */
#include "common/request_trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct observed {
  const struct request_tracing *tracing;
  const struct http_request *request;
  const struct http_route *route;
  struct moment at;
  bool came, known; /* with a traceparent; `context` holds */
  struct trace_context context;
  struct span *span;
  char state[TRACESTATE_BYTES_MAX + 1];
};

/* More than one is as good as none. */
static bool read_headers(const struct http_request *request, struct observed *out) {
  char joined[TRACESTATE_BYTES_MAX + 1];
  const char *parent = http_header(request, TRACEPARENT_HEADER);
  if (!parent || http_header_count(request, TRACEPARENT_HEADER) != 1) return false;
  if (!traceparent_parse(parent, &out->context)) return false;
  if (http_header_joined(request, TRACESTATE_HEADER, joined, sizeof joined) &&
      tracestate_is_valid(joined)) {
    memcpy(out->state, joined, sizeof joined);
    out->context.state = out->state;
  }
  return true;
}

static void *begun(void *data, const struct http_request *request, const struct http_route *route) {
  const struct request_tracing *tracing = data;
  if (strcmp(route->method, "POST") != 0 ||
      strncmp(route->path, tracing->path, strlen(tracing->path)) != 0)
    return NULL;
  bool may_begin = tracing->tracer && tracing->begins;
  if (!may_begin && !http_header(request, TRACEPARENT_HEADER)) return NULL;
  struct observed *observed = malloc(sizeof *observed);
  if (!observed) return NULL;
  *observed = (struct observed){.tracing = tracing, .request = request, .route = route};
  observed->came = read_headers(request, observed);
  if (!observed->came && !may_begin) {
    free(observed);
    return NULL;
  }
  observed->at = moment_now();
  return observed;
}

static void describe(struct observed *observed) {
  struct span *span = observed->span;
  span_text(span, "http.request.method", http_method(observed->request));
  span_text(span, "http.route", observed->route->path);
  span_text(span, "url.path", http_path(observed->request));
  span_text(span, "url.scheme", observed->tracing->secure ? "https" : "http");
}

static void begin_span(struct observed *observed, const struct trace_context *acts_on) {
  char name[SPAN_NAME_SIZE];
  struct tracer *tracer = observed->tracing->tracer;
  const struct trace_context *parent = observed->came ? &observed->context : acts_on;
  observed->known = true;
  if (!tracer && !parent) return;
  (void)snprintf(name, sizeof name, "%s %s", observed->route->method, observed->route->path);
  struct span_start start = {
      .name = name, .kind = SPAN_SERVER, .parent = parent, .at = &observed->at};
  struct trace_context context;
  observed->span = span_begin(tracer, &start, &context);
  observed->context = context;
  if (!observed->span) return;
  describe(observed);
  if (acts_on && memcmp(acts_on->trace_id, context.trace_id, sizeof context.trace_id) != 0)
    span_link(observed->span, acts_on);
}

static void answered(void *data, int status) {
  struct observed *observed = data;
  char type[16];
  if (!observed->known) begin_span(observed, NULL);
  span_integer(observed->span, "http.response.status_code", status);
  (void)snprintf(type, sizeof type, "%d", status);
  if (status >= 500) span_error(observed->span, type);
  span_end(observed->span);
  free(observed);
}

const struct http_observer request_tracing_observer = {begun, answered};

const struct trace_context *request_trace(const struct http_request *request,
                                          const struct trace_context *acts_on) {
  struct observed *observed = http_observed(request);
  if (!observed) return NULL;
  if (!observed->known) begin_span(observed, acts_on);
  return &observed->context;
}

struct span *request_span(const struct http_request *request) {
  const struct observed *observed = http_observed(request);
  return observed ? observed->span : NULL;
}
