/* What a branch's trace is told: a span for each thing that is asked of the database. Who asks (the
 * coordinator's call, or the span of routes.c for it) is its parent, as told with the last run or decision.
 *
 * Named by OpenTelemetry's conventions for databases. Never the statements: what they hold may be written
 * into them; and of an error its SQLSTATE, whose words may repeat what was given. */
#include "participant-agent/internal.h"

void spans_note_trace(struct entry *entry, const struct trace_context *context) {
  if (!context) return;
  struct trace *trace = trace_new(context);
  if (!trace) return;
  free(entry->trace);
  entry->trace = trace;
}

/* Where the database was found that is worked with now. */
static void tell_place(struct span *span, const struct agent *agent) {
  const struct session_identity *identity = control_identity(agent->control);
  if (!identity) return;
  if (identity->host[0]) span_text(span, "server.address", identity->host);
  if (identity->port) span_integer(span, "server.port", identity->port);
  if (identity->database[0]) span_text(span, "db.namespace", identity->database);
}

void spans_begin_work(struct entry *entry, const char *operation, size_t statements) {
  struct agent *agent = entry->agent;
  if (!entry->trace || !agent->tracer) return;
  span_end(entry->span);
  struct span_start start = {.name = operation ? operation : "statements",
                             .kind = SPAN_CLIENT,
                             .parent = &entry->trace->context};
  entry->span = span_begin(agent->tracer, &start, NULL);
  span_text(entry->span, "db.system.name", "postgresql");
  if (operation) span_text(entry->span, "db.operation.name", operation);
  tell_place(entry->span, agent);
  span_text(entry->span, "assent.participant", agent->participant);
  span_text(entry->span, "assent.gid", entry->gid);
  if (statements > 1) span_integer(entry->span, "db.operation.batch.size", (int64_t)statements);
}

void spans_end_work(struct entry *entry, const struct cause *cause) {
  if (!entry->span) return;
  if (cause && cause->kind != CAUSE_NONE) {
    if (cause->sqlstate[0]) span_text(entry->span, "db.response.status_code", cause->sqlstate);
    span_text(entry->span, "assent.cause", cause_kind_name(cause->kind));
    span_error(entry->span, cause->sqlstate[0] ? cause->sqlstate : cause_kind_name(cause->kind));
  }
  span_end(entry->span);
  entry->span = NULL;
}
