/* W3C Trace Context (https://www.w3.org/TR/trace-context/): which trace a request belongs to, and which
 * span of it asks. Pure.
 *
 *   traceparent = 00-<32 hex trace id>-<16 hex span id of who asks>-<2 hex flags>
 *   tracestate  = key=value,key=value...    of tracing systems, each its own; passed on as it came
 */
#ifndef ASSENT_COMMON_TRACE_H
#define ASSENT_COMMON_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#define TRACEPARENT_HEADER "traceparent"
#define TRACESTATE_HEADER  "tracestate"

enum {
  TRACE_SAMPLED = 1, /* flags: who asks may have recorded its span */
  TRACE_RANDOM = 2,  /* and the last 7 bytes of the trace id are random */
  TRACE_ID_SIZE = 33,
  SPAN_ID_SIZE = 17,
  TRACEPARENT_SIZE = 56,
  TRACESTATE_BYTES_MAX = 512,
  TRACESTATE_MEMBERS_MAX = 32
};

struct trace_context {
  uint8_t trace_id[16];
  uint8_t span_id[8];
  uint8_t flags;
  const char *state; /* tracestate; NULL: none. Borrowed */
};

/* False, as for a header that did not come: wrong length, upper case, all-zero ids, version ff. Of a
 * later version than 00 what is known is read, whatever follows. Blanks around it do not matter. Sets
 * `state` to NULL. */
bool traceparent_parse(const char *text, struct trace_context *out);
void traceparent_format(const struct trace_context *context, char out[TRACEPARENT_SIZE]);
/* At most TRACESTATE_BYTES_MAX and TRACESTATE_MEMBERS_MAX, each a key and a value by the grammar: so it
 * can stand in a header line. */
bool tracestate_is_valid(const char *text);

/* The same, kept: with its id as text, for logs. */
struct trace {
  struct trace_context context; /* its state, if any, is in `state` */
  char id[TRACE_ID_SIZE];
  char state[];
};
/* Owner: the caller, free(). NULL when memory has run out: then there is no trace. */
struct trace *trace_new(const struct trace_context *context);
/* NULL for NULL. */
const char *trace_id_of(const struct trace *trace);

/* Lower case. */
void trace_hex(const uint8_t *bytes, unsigned long size, char *out);

#endif
