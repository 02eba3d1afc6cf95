/* See routes_messages.h.
 *
 * Each message of a request goes to the agent by itself, and its answer is sent when the agent gives it:
 * one that waits for a lock holds up no other. The answer to a single message goes out as a whole; those
 * of several as a stream, in which those of the same turn of the loop leave together.
 *
 * Invariants
 *  1. A batch lives until the agent has given all its answers, also when nobody is there to read them.
 *  2. A line says nothing about any message but its own; that a message has none, nothing at all.
 * Limits: MESSAGES_MAX a request; ANSWER_BYTES_MAX that a reader leaves lying, then its stream ends.
 */
#include "participant-agent/routes_messages.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/message_json.h"
#include "participant-agent/sessions.h"

enum { ANSWER_BYTES_MAX = 128 << 20 };
static const char content_type[] = "application/x-ndjson";

struct item {
  struct batch *batch;
  uint64_t id;
  char gid[GID_SIZE];
  struct span *span; /* NULL: none, or it has ended */
};

struct batch {
  struct agent_routes *routes;
  const struct routed_agent *routed; /* borrowed, from the routes */
  struct http_request *request;      /* until the first answer */
  struct http_stream *stream;        /* then, of several; NULL also when the reader has gone */
  size_t count, left;                /* left: without an answer; and one for messages_take() */
  struct batch *prev, *next;
  struct item items[];
};

/* ---- answering --------------------------------------------------------------------------------- */

static void batch_free(struct batch *batch) {
  DL_DELETE(batch->routes->batches, batch);
  for (size_t i = 0; i < batch->count; i++)
    span_drop(batch->items[i].span);
  free(batch);
}

static void on_closed(void *data, bool was_silent) {
  (void)was_silent;
  struct batch *batch = data;
  batch->stream = NULL;
}

static void end_stream(struct batch *batch) {
  if (batch->stream) http_stream_end(batch->stream, NULL, 0);
  batch->stream = NULL;
}

/* Takes the line. NULL: no memory for it; its message stays without an answer. */
static void send_line(struct batch *batch, char *line, size_t length) {
  struct http_request *request = batch->request;
  batch->request = NULL;
  if (request && batch->count == 1) {
    http_respond_take(request, 200, content_type, line, length, NULL, 0);
    return;
  }
  if (request)
    batch->stream = http_respond_stream(request, content_type, ANSWER_BYTES_MAX, on_closed, batch);
  if (batch->stream && (!line || !http_stream_write(batch->stream, line, length)))
    end_stream(batch);
  free(line);
}

static void item_done(struct batch *batch) {
  if (--batch->left > 0) return;
  end_stream(batch);
  batch_free(batch);
}

static void answer(struct item *item, struct json_writer *w) {
  struct batch *batch = item->batch;
  size_t length = 0;
  message_end(w);
  json_write_newline(w);
  char *line = json_writer_take(w, &length);
  send_line(batch, line, length);
  item_done(batch);
}

/* ---- spans: each message has its own, since those of a request are of many traces --------------- */

/* `out` is what the agent is to have as parent; returns it, or NULL when the message has no trace. */
static const struct trace_context *begin_span(struct item *item, const json_t *body,
                                              const char *what, struct trace_context *out) {
  struct trace_context parent;
  char name[SPAN_NAME_SIZE];
  if (!request_trace_decode(body, &parent)) return NULL;
  const char *participant = item->batch->routed->name;
  (void)snprintf(name, sizeof name, "%s %s", what, participant);
  struct span_start start = {.name = name, .kind = SPAN_SERVER, .parent = &parent};
  item->span = span_begin(item->batch->routes->tracer, &start, out);
  span_text(item->span, "assent.participant", participant);
  span_text(item->span, "assent.gid", item->gid);
  return out;
}

static void end_span(struct item *item) {
  span_end(item->span);
  item->span = NULL;
}

static void end_decide_span(struct item *item, enum branch_outcome outcome) {
  span_text(item->span, "assent.outcome", branch_outcome_name(outcome));
  if (outcome == BRANCH_OUTCOME_RETRY || outcome == BRANCH_OUTCOME_UNVERIFIABLE)
    span_error(item->span, branch_outcome_name(outcome));
  end_span(item);
}

static void refuse(struct item *item, const struct error *err) {
  struct json_writer w;
  span_error(item->span, error_wire_code(err->code));
  end_span(item);
  json_writer_init(&w);
  message_begin(&w, item->id, MESSAGE_PROBLEM);
  if (!message_problem_encode(&w, item->gid, err)) w.failed = true;
  answer(item, &w);
}

/* False: there was none, and the item has been refused. */
static bool begin_answer(struct item *item, enum message_kind kind, const struct error *err,
                         struct json_writer *w) {
  if (err) {
    refuse(item, err);
    return false;
  }
  json_writer_init(w);
  message_begin(w, item->id, kind);
  return true;
}

static void on_run(void *data, const struct run_reply *reply, const struct error *err) {
  struct item *item = data;
  struct json_writer w;
  if (!begin_answer(item, MESSAGE_RUN, err, &w)) return;
  end_span(item);
  run_reply_encode(&w, reply);
  answer(item, &w);
}

static void on_decided(void *data, const struct decide_reply *reply, const struct error *err) {
  struct item *item = data;
  struct json_writer w;
  if (!begin_answer(item, MESSAGE_DECIDE, err, &w)) return;
  end_decide_span(item, reply->outcome);
  decide_reply_encode(&w, item->gid, reply);
  answer(item, &w);
}

/* ---- asking ------------------------------------------------------------------------------------ */

static void start_run(struct item *item, const json_t *body) {
  const struct routed_agent *routed = item->batch->routed;
  struct run_request run = {0};
  struct trace_context context;
  struct statement_list statements = {0};
  struct error err = {0};
  enum error_code code = run_request_decode(body, &run, &statements, &err);
  if (code == ERR_OK)
    code = statement_set_allows(routed->statements, run.statements, run.statement_count, &err);
  if (code != ERR_OK) {
    refuse(item, &err);
  } else {
    run.trace = begin_span(item, body, "run", &context);
    agent_run(routed->agent, &run, on_run, item);
  }
  statement_list_free(&statements);
}

static void start_decide(struct item *item, const json_t *body) {
  struct decide_request decide = {0};
  struct trace_context context;
  struct error err = {0};
  if (decide_request_decode(body, &decide, &err)) {
    refuse(item, &err);
  } else {
    decide.trace = begin_span(item, body, decision_name(decide.decision), &context);
    agent_decide(item->batch->routed->agent, &decide, on_decided, item);
  }
}

static void start(struct item *item, const struct message *message) {
  item->id = message->id;
  (void)snprintf(item->gid, sizeof item->gid, "%s", message_gid(message->body));
  if (message->kind == MESSAGE_RUN)
    start_run(item, message->body);
  else
    start_decide(item, message->body);
}

/* Where one of the envelopes cannot be read, nothing of the request is done. */
static enum error_code read_envelopes(const json_t *json, struct message **out, size_t *count,
                                      struct error *err) {
  static const struct json_field fields[] = {{"messages", JSON_KIND_ARRAY, true, 1, MESSAGES_MAX}};
  enum error_code code = json_check_object(json, "", fields, 1, err);
  if (code != ERR_OK) return code;
  const json_t *array = json_object_get(json, "messages");
  *count = json_array_size(array);
  *out = must_allocate(*count * sizeof **out);
  for (size_t i = 0; i < *count && code == ERR_OK; i++) {
    struct message *message = &(*out)[i];
    code = message_decode(json_array_get(array, i), message, err);
    if (code == ERR_OK && message->kind == MESSAGE_PROBLEM)
      code = error_set(err, ERR_INVALID, "a problem is an answer");
    if (code != ERR_OK) (void)error_wrap(err, "message %zu", i);
  }
  return code;
}

void messages_take(struct agent_routes *routes, const struct routed_agent *routed,
                   struct http_request *request, const json_t *json) {
  struct message *messages = NULL;
  size_t count = 0;
  struct error err = {0};
  if (read_envelopes(json, &messages, &count, &err)) {
    http_respond_error(request, &err, NULL);
    free(messages);
    return;
  }
  struct batch *batch = must_allocate(sizeof *batch + count * sizeof batch->items[0]);
  batch->routes = routes;
  batch->routed = routed;
  batch->request = request;
  batch->count = count;
  batch->left = count + 1;
  DL_APPEND(routes->batches, batch);
  for (size_t i = 0; i < count; i++) {
    batch->items[i].batch = batch;
    start(&batch->items[i], &messages[i]);
  }
  free(messages);
  item_done(batch);
}

size_t messages_streaming(const struct agent_routes *routes) {
  size_t count = 0;
  const struct batch *batch;
  DL_FOREACH(routes->batches, batch) {
    count += batch->stream != NULL;
  }
  return count;
}

void messages_release(struct agent_routes *routes) {
  struct batch *batch, *next;
  DL_FOREACH_SAFE(routes->batches, batch, next) {
    batch_free(batch);
  }
}
