/* One span: see tracer.h. Its attributes are written as they come; the rest when it has ended. JSON as
 * OTLP wants it: ids in hex, 64-bit integers as strings, enums as numbers. */
#include "common/span.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"

enum { STATUS_ERROR = 2 };

struct span {
  struct tracer *tracer;
  struct trace_context context;
  uint8_t parent[8]; /* all zero: none */
  bool linked;
  struct trace_context link;
  enum span_kind kind;
  struct moment began;
  struct json_writer attributes;
  char *state;   /* owned; what the context's points to */
  char type[32]; /* of the error; "": none */
  char name[SPAN_NAME_SIZE];
};

struct moment moment_now(void) {
  return (struct moment){clock_wall_us(), clock_monotonic_us()};
}

/* ---- begin ------------------------------------------------------------------------------------ */

static struct span *span_new(struct tracer *tracer, const struct span_start *start,
                             const struct trace_context *parent) {
  struct span *span = calloc(1, sizeof *span);
  if (!span) return NULL;
  span->tracer = tracer;
  span->context = *parent;
  if (start->parent) memcpy(span->parent, parent->span_id, sizeof span->parent);
  if (start->parent) tracer_make_span_id(tracer, span->context.span_id);
  if (parent->state) span->state = strdup(parent->state);
  span->context.state = span->state;
  span->kind = start->kind;
  span->began = start->at ? *start->at : moment_now();
  (void)snprintf(span->name, sizeof span->name, "%s", start->name);
  json_writer_init(&span->attributes);
  return span;
}

struct span *span_begin(struct tracer *tracer, const struct span_start *start,
                        struct trace_context *out) {
  struct trace_context begun;
  const struct trace_context *parent = start->parent;
  struct span *span = NULL;
  if (!parent) {
    tracer_begin_trace(tracer, &begun);
    parent = &begun;
  }
  if (tracer && parent->flags & TRACE_SAMPLED) span = span_new(tracer, start, parent);
  if (out) *out = *parent;
  if (out && span) memcpy(out->span_id, span->context.span_id, sizeof out->span_id);
  return span;
}

const struct trace_context *span_context(const struct span *span) {
  return &span->context;
}

/* ---- attributes ------------------------------------------------------------------------------- */

static void begin_value(struct json_writer *w, const char *key, const char *type) {
  json_object_begin(w);
  json_key(w, "key");
  json_write_string(w, key);
  json_key(w, "value");
  json_object_begin(w);
  json_key(w, type);
}

static void end_value(struct json_writer *w) {
  json_object_end(w);
  json_object_end(w);
}

void otlp_text(struct json_writer *w, const char *key, const char *value) {
  begin_value(w, key, "stringValue");
  json_write_string(w, value);
  end_value(w);
}

static void write_integer_text(struct json_writer *w, int64_t value) {
  char text[24];
  (void)snprintf(text, sizeof text, "%" PRId64, value);
  json_write_string(w, text);
}

void span_text(struct span *span, const char *key, const char *value) {
  if (span) otlp_text(&span->attributes, key, value);
}

void span_integer(struct span *span, const char *key, int64_t value) {
  if (!span) return;
  begin_value(&span->attributes, key, "intValue");
  write_integer_text(&span->attributes, value);
  end_value(&span->attributes);
}

void span_error(struct span *span, const char *type) {
  if (!span || span->type[0]) return;
  (void)snprintf(span->type, sizeof span->type, "%s", type);
  span_text(span, "error.type", span->type);
}

void span_link(struct span *span, const struct trace_context *to) {
  if (!span) return;
  span->link = *to;
  span->linked = true;
}

/* ---- end -------------------------------------------------------------------------------------- */

static void write_id(struct json_writer *w, const char *key, const uint8_t *id, size_t size) {
  char text[TRACE_ID_SIZE];
  trace_hex(id, size, text);
  json_key(w, key);
  json_write_string(w, text);
}

static void write_ids(struct json_writer *w, const struct trace_context *context) {
  write_id(w, "traceId", context->trace_id, sizeof context->trace_id);
  write_id(w, "spanId", context->span_id, sizeof context->span_id);
}

/* The wall clock says when it began; how long it took is measured, whatever that clock has done since. */
static void write_times(struct json_writer *w, const struct span *span) {
  int64_t took_us = (int64_t)(clock_monotonic_us() - span->began.monotonic_us);
  json_key(w, "startTimeUnixNano");
  write_integer_text(w, span->began.wall_us * 1000);
  json_key(w, "endTimeUnixNano");
  write_integer_text(w, (span->began.wall_us + took_us) * 1000);
}

static void write_links(struct json_writer *w, const struct span *span) {
  json_key(w, "links");
  json_array_begin(w);
  json_object_begin(w);
  write_ids(w, &span->link);
  json_object_end(w);
  json_array_end(w);
}

static void write_status(struct json_writer *w, const struct span *span) {
  json_key(w, "status");
  json_object_begin(w);
  json_key(w, "code");
  json_write_integer(w, STATUS_ERROR);
  json_key(w, "message");
  json_write_string(w, span->type);
  json_object_end(w);
}

static void write_span(struct json_writer *w, const struct span *span, const char *attributes) {
  static const uint8_t none[sizeof span->parent] = {0};
  json_object_begin(w);
  write_ids(w, &span->context);
  if (span->state) {
    json_key(w, "traceState");
    json_write_string(w, span->state);
  }
  if (memcmp(span->parent, none, sizeof none) != 0)
    write_id(w, "parentSpanId", span->parent, sizeof span->parent);
  json_key(w, "flags");
  json_write_integer(w, span->context.flags);
  json_key(w, "name");
  json_write_string(w, span->name);
  json_key(w, "kind");
  json_write_integer(w, span->kind);
  write_times(w, span);
  json_key(w, "attributes");
  json_array_begin(w);
  if (*attributes) json_write_raw(w, attributes);
  json_array_end(w);
  if (span->linked) write_links(w, span);
  if (span->type[0]) write_status(w, span);
  json_object_end(w);
}

void span_drop(struct span *span) {
  if (!span) return;
  json_writer_close(&span->attributes);
  free(span->state);
  free(span);
}

void span_end(struct span *span) {
  if (!span) return;
  struct json_writer w;
  json_writer_init(&w);
  char *attributes = json_writer_take(&span->attributes, NULL);
  size_t length = 0;
  char *json = NULL;
  if (attributes) {
    write_span(&w, span, attributes);
    json = json_writer_take(&w, &length);
  }
  free(attributes);
  tracer_take(span->tracer, json, length);
  span_drop(span);
}
