/* See routes.h. Each handler decodes, calls the agent, and answers from the agent's callback; the
 * http_request lives until then. */
#include "participant-agent/routes.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/message_json.h"
#include "participant-agent/routes_metrics.h"
#include "participant-agent/sessions.h"

/* ---- requests and answers ----------------------------------------------------------------------
 */

static void respond(struct http_request *request, struct json_writer *w) {
  size_t length = 0;
  char *body = json_writer_take(w, &length);
  http_respond_take(request, 200, "application/json", body, length, NULL, 0);
}

/* NULL when it is not here: answered. */
static struct agent *find_agent(struct http_request *request, void *data) {
  const struct agent_routes *routes = data;
  const char *name = http_capture(request, 0);
  for (size_t i = 0; i < routes->count; i++)
    if (strcmp(routes->agents[i].name, name) == 0) return routes->agents[i].agent;
  struct error err = {0};
  (void)error_set(&err, ERR_NOT_FOUND, "this agent has no database of that name");
  http_respond_error(request, &err, NULL);
  return NULL;
}

/* Owner: the caller, json_decref(). NULL when it is not JSON: answered. */
static json_t *parse_body(struct http_request *request) {
  size_t length = 0;
  const char *body = http_body(request, &length);
  struct error err = {0};
  json_t *json = NULL;
  if (body)
    json = json_parse(body, length, &err);
  else
    (void)error_set(&err, ERR_BAD_REQUEST, "the request needs a body");
  if (!json) http_respond_error(request, &err, NULL);
  return json;
}

/* ---- fence, list, survey, health -----------------------------------------------------------------------
 */

/* The body has been read before, and stays until the answer. */
static void read_run_id(struct http_request *request, char out[RUN_ID_SIZE]) {
  size_t length = 0;
  const char *body = http_body(request, &length);
  json_t *json = json_parse(body, length, NULL);
  struct fence_request fence;
  bool ok = fence_request_decode(json, &fence, NULL) == ERR_OK;
  (void)snprintf(out, RUN_ID_SIZE, "%s", ok ? fence.run_id : "");
  json_decref(json);
}

static void refuse_fence(struct http_request *request, const struct fence_asked *asked,
                         const struct error *err) {
  char extra[512];
  (void)snprintf(extra, sizeof extra, "\"participant\":\"%s\",\"run_id\":\"%s\"",
                 asked->participant, asked->run_id);
  http_respond_error(request, err, extra);
}

static void on_fenced(void *data, const struct fence_reply *reply, const struct error *err) {
  struct http_request *request = data;
  char run_id[RUN_ID_SIZE];
  read_run_id(request, run_id);
  const struct fence_asked asked = {.participant = http_capture(request, 0), .run_id = run_id};
  if (err) {
    refuse_fence(request, &asked, err);
    return;
  }
  struct json_writer w;
  json_writer_init(&w);
  fence_reply_encode(&w, &asked, reply);
  respond(request, &w);
}

static void handle_fence(struct http_request *request, void *data) {
  struct agent *agent = find_agent(request, data);
  json_t *json = agent ? parse_body(request) : NULL;
  if (!json) return;
  struct fence_request fence;
  struct error err = {0};
  if (fence_request_decode(json, &fence, &err))
    http_respond_error(request, &err, NULL);
  else
    agent_fence(agent, &fence, on_fenced, request);
  json_decref(json);
}

static void on_listed(void *data, const struct list_reply *reply, const struct error *err) {
  struct http_request *request = data;
  if (err) {
    http_respond_error(request, err, NULL);
    return;
  }
  struct json_writer w;
  json_writer_init(&w);
  list_reply_encode(&w, reply);
  respond(request, &w);
}

static void handle_list(struct http_request *request, void *data) {
  struct agent *agent = find_agent(request, data);
  json_t *json = agent ? parse_body(request) : NULL;
  if (!json) return;
  struct list_request list;
  struct error err = {0};
  if (list_request_decode(json, &list, &err))
    http_respond_error(request, &err, NULL);
  else
    agent_list(agent, &list, on_listed, request);
  json_decref(json);
}

static void on_surveyed(void *data, const struct survey_reply *reply, const struct error *err) {
  struct http_request *request = data;
  if (err) {
    http_respond_error(request, err, NULL);
    return;
  }
  struct json_writer w;
  json_writer_init(&w);
  survey_reply_encode(&w, reply);
  respond(request, &w);
}

static void handle_survey(struct http_request *request, void *data) {
  struct agent *agent = find_agent(request, data);
  json_t *json = agent ? parse_body(request) : NULL;
  if (!json) return;
  struct survey_request survey;
  struct txid *txids = NULL;
  struct error err = {0};
  if (survey_request_decode(json, &survey, &txids, &err))
    http_respond_error(request, &err, NULL);
  else
    agent_survey(agent, &survey, on_surveyed, request);
  free(txids);
  json_decref(json);
}

static void on_health(void *data, const struct health_reply *reply, const struct error *err) {
  struct http_request *request = data;
  if (err) {
    http_respond_error(request, err, NULL);
    return;
  }
  struct json_writer w;
  json_writer_init(&w);
  health_reply_encode(&w, reply);
  respond(request, &w);
}

static void handle_health(struct http_request *request, void *data) {
  struct agent *agent = find_agent(request, data);
  if (agent) agent_health(agent, on_health, request);
}

static void handle_healthz(struct http_request *request, void *data) {
  (void)data;
  struct json_writer w;
  json_writer_init(&w);
  json_object_begin(&w);
  json_key(&w, "status");
  json_write_string(&w, "ok");
  json_object_end(&w);
  respond(request, &w);
}

/* ---- run ---------------------------------------------------------------------------------------
 */

static void on_run(void *data, const struct run_reply *reply, const struct error *err) {
  struct http_request *request = data;
  if (err) {
    http_respond_error(request, err, NULL);
    return;
  }
  struct json_writer w;
  json_writer_init(&w);
  run_reply_encode(&w, reply);
  respond(request, &w);
}

static void handle_run(struct http_request *request, void *data) {
  struct agent *agent = find_agent(request, data);
  json_t *json = agent ? parse_body(request) : NULL;
  if (!json) return;
  struct run_request run;
  struct statement_list statements = {0};
  struct error err = {0};
  if (run_request_decode(json, &run, &statements, &err)) {
    http_respond_error(request, &err, NULL);
  } else {
    run.trace = request_trace(request, NULL);
    span_text(request_span(request), "assent.participant", http_capture(request, 0));
    span_text(request_span(request), "assent.gid", run.gid);
    agent_run(agent, &run, on_run, request);
  }
  statement_list_free(&statements);
  json_decref(json);
}

/* ---- decide: a batch, answered when all are in, or BATCH_WAIT_MS have passed ------------------
 *
 * The coordinator has one batch on its way at a time, so one branch that takes long must not hold the
 * others' outcomes. What comes after the answer is dropped: the coordinator asks again, and is told
 * from the branch's state.
 */

struct batch;

struct batched {
  struct batch *batch;
  char gid[GID_SIZE];
  struct decide_reply reply; /* RETRY until it is in */
  struct span *span;         /* NULL: none, or it has ended */
};

struct batch {
  struct agent_routes *routes;
  struct http_request *request; /* NULL: answered */
  struct loop_timer *timer;     /* owned */
  size_t count, left;
  struct error err; /* the first that refused a decision altogether */
  struct batch *prev, *next;
  struct batched items[];
};

static void batch_free(struct batch *batch) {
  DL_DELETE(batch->routes->batches, batch);
  for (size_t i = 0; i < batch->count; i++)
    span_drop(batch->items[i].span);
  loop_timer_free(batch->timer);
  free(batch);
}

static void batch_respond(struct batch *batch) {
  struct http_request *request = batch->request;
  batch->request = NULL;
  if (batch->err.code != ERR_OK) {
    http_respond_error(request, &batch->err, NULL);
    return;
  }
  struct json_writer w;
  json_writer_init(&w);
  json_object_begin(&w);
  json_key(&w, "outcomes");
  json_array_begin(&w);
  for (size_t i = 0; i < batch->count; i++)
    decide_reply_encode(&w, batch->items[i].gid, &batch->items[i].reply);
  json_array_end(&w);
  json_object_end(&w);
  respond(request, &w);
}

/* The rest of it lives on until the last outcome is in. */
static void on_waited_long(void *data) {
  batch_respond(data);
}

/* Each decision has a span of its own: a batch is of many traces. Leaves in `out` what the agent is to
 * have as parent. */
static void begin_span(struct batched *item, const struct decide_request *decision,
                       struct trace_context *out) {
  const struct http_request *request = item->batch->request;
  char name[SPAN_NAME_SIZE];
  (void)snprintf(name, sizeof name, "%s %s", decision_name(decision->decision),
                 http_capture(request, 0));
  struct span_start start = {.name = name, .kind = SPAN_SERVER, .parent = decision->trace};
  item->span = span_begin(item->batch->routes->tracing.tracer, &start, out);
  span_text(item->span, "assent.participant", http_capture(request, 0));
  span_text(item->span, "assent.gid", decision->gid);
}

static void end_span(struct batched *item, const struct error *err) {
  enum branch_outcome outcome = item->reply.outcome;
  if (err)
    span_error(item->span, error_wire_code(err->code));
  else
    span_text(item->span, "assent.outcome", branch_outcome_name(outcome));
  if (outcome == BRANCH_OUTCOME_RETRY || outcome == BRANCH_OUTCOME_UNVERIFIABLE)
    span_error(item->span, branch_outcome_name(outcome));
  span_end(item->span);
  item->span = NULL;
}

static void on_decided(void *data, const struct decide_reply *reply, const struct error *err) {
  struct batched *item = data;
  struct batch *batch = item->batch;
  if (!err)
    item->reply = *reply;
  else if (batch->err.code == ERR_OK)
    (void)error_set(&batch->err, err->code, "%s", err->text);
  end_span(item, err);
  if (--batch->left > 0) return;
  if (batch->request) batch_respond(batch);
  batch_free(batch);
}

/* As decoded; `request.trace` points to `trace`, or is NULL. */
struct traced_decision {
  struct decide_request request;
  struct trace_context trace;
};

static enum error_code decode_batch(const json_t *json, struct traced_decision **out, size_t *count,
                                    struct error *err) {
  static const struct json_field fields[] = {
      {"decisions", JSON_KIND_ARRAY, true, 1, DECISIONS_MAX}};
  enum error_code code = json_check_object(json, "", fields, 1, err);
  if (code) return code;
  const json_t *array = json_object_get(json, "decisions");
  *count = json_array_size(array);
  *out = must_allocate(*count * sizeof **out);
  for (size_t i = 0; i < *count && !code; i++) {
    struct traced_decision *decision = &(*out)[i];
    const json_t *item = json_array_get(array, i);
    code = decide_request_decode(item, &decision->request, err);
    if (!code && decide_request_trace(item, &decision->trace))
      decision->request.trace = &decision->trace;
    if (code) (void)error_wrap(err, "decision %zu", i);
  }
  return code;
}

static void decide_all(struct agent_routes *routes, struct agent *agent,
                       struct http_request *request, const struct traced_decision *decisions,
                       size_t count) {
  struct batch *batch = must_allocate(sizeof *batch + count * sizeof batch->items[0]);
  batch->routes = routes;
  batch->request = request;
  batch->count = batch->left = count;
  batch->timer = loop_timer_new(routes->loop, on_waited_long, batch);
  loop_timer_start(batch->timer, BATCH_WAIT_MS);
  DL_APPEND(routes->batches, batch);
  for (size_t i = 0; i < count; i++) {
    struct batched *item = &batch->items[i];
    item->batch = batch;
    struct decide_request decision = decisions[i].request;
    struct trace_context context;
    copy_text(item->gid, sizeof item->gid, decision.gid);
    item->reply.outcome = BRANCH_OUTCOME_RETRY;
    agent_cause_set(&item->reply.cause, CAUSE_RECOVERY, "still under way at the database");
    if (decision.trace) {
      begin_span(item, &decision, &context);
      decision.trace = &context;
    }
    agent_decide(agent, &decision, on_decided, item);
  }
}

static void handle_decide(struct http_request *request, void *data) {
  struct agent *agent = find_agent(request, data);
  json_t *json = agent ? parse_body(request) : NULL;
  if (!json) return;
  struct traced_decision *decisions = NULL;
  size_t count = 0;
  struct error err = {0};
  if (decode_batch(json, &decisions, &count, &err))
    http_respond_error(request, &err, NULL);
  else
    decide_all(data, agent, request, decisions, count);
  free(decisions);
  json_decref(json);
}

/* ---- the table ---------------------------------------------------------------------------------
 */

const struct http_media *agent_routes_media(void) {
  static const struct http_media media[] = {{"/metrics", "text/plain"}, {NULL, NULL}};
  return media;
}

const struct http_route *agent_routes_table(size_t *count) {
  static const struct http_route routes[] = {
      {"POST", "/v1/databases/{participant}/fence", handle_fence, ROLE_ANYONE},
      {"POST", "/v1/databases/{participant}/run", handle_run, ROLE_ANYONE},
      {"POST", "/v1/databases/{participant}/decide", handle_decide, ROLE_ANYONE},
      {"POST", "/v1/databases/{participant}/list", handle_list, ROLE_ANYONE},
      {"POST", "/v1/databases/{participant}/survey", handle_survey, ROLE_ANYONE},
      {"GET", "/v1/databases/{participant}/health", handle_health, ROLE_ANYONE},
      {"GET", "/healthz", handle_healthz, ROLE_ANYONE},
      {"GET", "/metrics", handle_metrics, ROLE_ANYONE},
  };
  *count = sizeof routes / sizeof routes[0];
  return routes;
}

void agent_routes_release(struct agent_routes *routes) {
  struct batch *batch, *next;
  DL_FOREACH_SAFE(routes->batches, batch, next)
  batch_free(batch);
}
