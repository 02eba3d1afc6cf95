/* Spans: what was done for a trace, when, and how it ended; sent to a collector as OTLP/HTTP JSON
 * (https://opentelemetry.io/docs/specs/otlp/).
 *
 * A tracer without work to do costs nothing, and nothing waits for it: a span that has ended is put into
 * a queue as text; batches leave in the background, one at a time. Beyond TRACE_QUEUE_MAX a span is
 * dropped and counted. A collector that says it is busy, or cannot be reached, is asked again, later and
 * later; after TRACE_ATTEMPTS_MAX a batch is given up.
 *
 * One thread: the loop's.
 */
#ifndef ASSENT_COMMON_TRACER_H
#define ASSENT_COMMON_TRACER_H

#include <stddef.h>

#include "common/error.h"
#include "common/http_client.h"
#include "common/loop.h"
#include "common/metrics.h"
#include "common/trace.h"

enum {
  TRACE_QUEUE_MAX = 2048, /* spans; as OpenTelemetry's batch processor, and so is: */
  TRACE_BATCH_MAX = 512,
  TRACE_DELAY_MS = 1000, /* the longest that a span waits for others to come along */
  TRACE_TIMEOUT_MS = 10000,
  TRACE_ATTEMPTS_MAX = 5,
  TRACE_RETRY_MS_MIN = 1000,
  TRACE_RETRY_MS_MAX = 30000,
  TRACE_FLUSH_MS = 2000,
  TRACE_HEADERS_MAX = 16
};

/* ---- the tracer ------------------------------------------------------------------------------- */

struct tracer;

struct tracer_options {
  const char *endpoint;          /* URL; OTEL_EXPORTER_OTLP_TRACES_ENDPOINT */
  const char *service_name;      /* OTEL_SERVICE_NAME */
  const char *const *headers;    /* "Name: value", up to TRACE_HEADERS_MAX, then NULL; NULL: none */
  struct http_identity identity; /* of https collectors whom to trust. Borrowed */
  double ratio;                  /* of traces begun here that are recorded: 0 to 1 */
};

/* All but the identity is copied. */
struct tracer *tracer_new(struct loop *loop, const struct tracer_options *options);
/* As in the options; for the batches to come. */
void tracer_set_headers(struct tracer *tracer, const char *const *headers);
/* What is left is lost, and counted nowhere. No span may be open. NULL is allowed. */
void tracer_free(struct tracer *tracer);

/* Sends what there is at once; fn(data) is called when nothing is left, or after TRACE_FLUSH_MS, on a later
 * turn. Once. */
void tracer_flush(struct tracer *tracer, loop_fn fn, void *data);

/* assent_trace_spans_total by result; NULL: there is no tracer, and all are 0. */
void tracer_metrics(struct metrics_page *page, const struct tracer *tracer);

/* ---- spans: whoever has none (NULL) calls these all the same, and nothing happens -------------- */

struct span;
enum span_kind { SPAN_INTERNAL = 1, SPAN_SERVER = 2, SPAN_CLIENT = 3 }; /* OTLP's numbers */

/* A point in time on both clocks: when it was, and to measure from. */
struct moment {
  int64_t wall_us;
  uint64_t monotonic_us;
};
struct moment moment_now(void);

struct span_start {
  const char *name; /* of few different ones; copied, and cut at SPAN_NAME_SIZE */
  enum span_kind kind;
  const struct trace_context *parent; /* NULL: it begins a trace */
  const struct moment *at;            /* NULL: now */
};
enum { SPAN_NAME_SIZE = 96 };

/* NULL when it is not recorded: no tracer, a parent that is not sampled, the ratio, or no memory.
 * `out` (may be NULL) is what to pass on as the parent of others: the span, or else the parent as it
 * is; where there is neither, a trace that is not recorded. Its state is borrowed from the parent's.
 * Without a tracer there must be a parent. */
struct span *span_begin(struct tracer *tracer, const struct span_start *start,
                        struct trace_context *out);
/* Its state is the span's. */
const struct trace_context *span_context(const struct span *span);

/* Attributes; keys are static, and each comes once. Never a parameter of SQL, never a secret. */
void span_text(struct span *span, const char *key, const char *value);
void span_integer(struct span *span, const char *key, int64_t value);
/* It failed; `type` is of few different ones (error.type). The first one stays. */
void span_error(struct span *span, const char *type);
/* It has to do with that one of another trace. One. */
void span_link(struct span *span, const struct trace_context *to);

/* The span is gone. */
void span_end(struct span *span);
void span_drop(struct span *span); /* as if it had not been */

#endif
