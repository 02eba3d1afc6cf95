/* What span.c and tracer.c have in common. Nobody else includes this. */
#ifndef ASSENT_COMMON_SPAN_H
#define ASSENT_COMMON_SPAN_H

#include "common/tracer.h"

/* A new trace: its id, and a span's that nobody has recorded; sampled by the tracer's ratio. */
void tracer_begin_trace(struct tracer *tracer, struct trace_context *out);
void tracer_make_span_id(struct tracer *tracer, uint8_t out[8]);
/* Takes the JSON of a span that has ended. NULL: there was no memory for it. */
void tracer_take(struct tracer *tracer, char *json, size_t length);

/* {"key":...,"value":...} of OTLP. */
struct json_writer;
void otlp_text(struct json_writer *w, const char *key, const char *value);

#endif
