/* A participant whose agent is reached over HTTP (docs/agent-api.md).
 *
 * Decisions travel in batches: one is on its way at a time, what comes meanwhile gathers for the next.
 * An idle coordinator sends at once; a busy one sends few, large requests without any tuning.
 *
 * A reply proves something only when it is whole, has status 200 and decodes. A problem document of
 * the agent carries its code; ERR_FENCED and the refusals had no effect. Anything else is ERR_LOST: it
 * may or may not have happened.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/message_json.h"
#include "coordinator/participant.h"

enum { BATCH_MAX = 500, RUN_REPLY_BYTES_MAX = 64 << 20, REPLY_BYTES_MAX = 64 << 20 };

struct remote {
  struct participant base;
  struct http_client *client;
  char *url;        /* ".../v1/databases/NAME" */
  const char *name; /* borrowed: its end */
  int64_t call_timeout_ms;
  struct call *calls; /* under way */
  struct entry *gathering, *gathering_last;
  bool deciding; /* a batch is under way */
};

/* ---- one request under way -------------------------------------------------------------------- */

struct call {
  struct remote *remote; /* NULL: the participant has been freed, nobody waits */
  void (*answered)(struct call *call, const json_t *reply, const struct error *err);
  union {
    fence_fn fence;
    run_fn run;
    list_fn list;
    survey_fn survey;
    blockers_fn blockers;
    health_fn health;
  } fn;
  void *data;
  char gid[GID_SIZE];       /* of a run */
  char run_id[RUN_ID_SIZE]; /* of a fence */
  struct entry *entries;    /* of a batch of decisions */
  struct call *prev, *next;
};

/* The agent's own words, where it had any. */
static void read_problem(const json_t *problem, int status, struct error *err) {
  const char *code = json_string_value(json_object_get(problem, "code"));
  const char *detail = json_string_value(json_object_get(problem, "detail"));
  enum error_code known = ERR_LOST;
  if (code && strcmp(code, error_wire_code(ERR_FENCED)) == 0)
    known = ERR_FENCED;
  else if (code && strcmp(code, error_wire_code(ERR_UNAVAILABLE)) == 0)
    known = ERR_UNAVAILABLE;
  else if (code && strcmp(code, error_wire_code(ERR_SQL_NOT_ALLOWED)) == 0)
    known = ERR_SQL_NOT_ALLOWED; /* the agent's file and ours differ */
  else if (code && strcmp(code, error_wire_code(ERR_OVERLOADED)) == 0)
    known = ERR_OVERLOADED;
  else if (status == 400 || status == 413 || status == 415 || status == 422)
    known = ERR_BAD_REQUEST; /* refused as it stood; another 409 may be about a repeat of it */
  (void)error_set(err, known, "the agent answered %d: %s", status, detail ? detail : "");
}

static void received(void *data, int status, const char *body, size_t length,
                     const struct error *err) {
  struct call *call = data;
  struct error problem = {0};
  json_t *json = NULL;
  if (!err) {
    json = json_parse(body, length, &problem);
    if (!json) {
      error_clear(&problem);
      (void)error_set(&problem, ERR_LOST, "the agent's answer (%d) is not JSON", status);
    } else if (status != 200) {
      read_problem(json, status, &problem);
    }
    if (problem.code != ERR_OK) err = &problem;
  }
  if (call->remote) call->answered(call, json, err);
  json_decref(json);
  free(call);
}

static struct call *call_new(struct remote *remote,
                             void (*answered)(struct call *, const json_t *, const struct error *),
                             void *data) {
  struct call *call = calloc(1, sizeof *call);
  if (!call) abort();
  *call = (struct call){.remote = remote, .answered = answered, .data = data};
  call->next = remote->calls;
  if (call->next) call->next->prev = call;
  remote->calls = call;
  return call;
}

static struct remote *call_finish(struct call *call) {
  struct remote *remote = call->remote;
  if (call->prev)
    call->prev->next = call->next;
  else
    remote->calls = call->next;
  if (call->next) call->next->prev = call->prev;
  return remote;
}

/* Of the message; an array that ends with NULL. */
struct trace_headers {
  const char *lines[3];
  char parent[sizeof TRACEPARENT_HEADER ": " + TRACEPARENT_SIZE];
  char state[sizeof TRACESTATE_HEADER ": " + TRACESTATE_BYTES_MAX];
};

static const char *const *trace_headers(struct trace_headers *out,
                                        const struct trace_context *trace) {
  char parent[TRACEPARENT_SIZE];
  *out = (struct trace_headers){0};
  if (!trace) return NULL;
  traceparent_format(trace, parent);
  (void)snprintf(out->parent, sizeof out->parent, "%s: %s", TRACEPARENT_HEADER, parent);
  out->lines[0] = out->parent;
  if (!trace->state) return out->lines;
  (void)snprintf(out->state, sizeof out->state, "%s: %s", TRACESTATE_HEADER, trace->state);
  out->lines[1] = out->state;
  return out->lines;
}

/* `w` NULL: a GET. */
static void send_call(struct call *call, const char *what, struct json_writer *w,
                      const struct trace_context *trace, int64_t timeout_ms,
                      size_t reply_bytes_max) {
  struct trace_headers headers;
  char url[1024];
  (void)snprintf(url, sizeof url, "%s/%s", call->remote->url, what);
  size_t length = 0;
  char *body = NULL;
  if (w) {
    body = json_writer_take(w, &length);
    if (!body) abort();
  }
  http_client_send_headers(call->remote->client, trace_headers(&headers, trace), url, body, length,
                           (uint64_t)timeout_ms, reply_bytes_max, received, call);
}

/* A reply that does not decode proves nothing. */
static const struct error *undecodable(enum error_code code, struct error *err) {
  if (code == ERR_OK) return NULL;
  err->code = ERR_LOST;
  (void)error_wrap(err, "the agent's answer");
  return err;
}

/* The agent waits for its control session, and then for the database: each for as long. */
static int64_t question_timeout_ms(const struct remote *remote) {
  return remote->call_timeout_ms * 2 + 1000;
}

/* ---- fence, run, list, survey, blockers, health ----------------------------------------------------------------- */

/* Who is told that it is fenced off, or that a life is known which its log has not had, stops for good; and
 * the server that a participant is on is taken from here: so an answer to another fence proves nothing. */
static void fence_received(struct call *call, const json_t *json, const struct error *err) {
  const struct remote *remote = call_finish(call);
  const struct fence_asked asked = {.participant = remote->name, .run_id = call->run_id};
  struct fence_reply reply;
  struct error problem = {0};
  if (!err) err = undecodable(fence_reply_decode(json, &asked, &reply, &problem), &problem);
  if (err && err->code == ERR_FENCED && !fence_is_answered(json, &asked)) {
    (void)error_set(&problem, ERR_LOST, "the agent's answer is to another fence");
    err = &problem;
  }
  call->fn.fence(call->data, err ? NULL : &reply, err);
}

static void http_fence(struct participant *participant, const struct fence_request *request,
                       fence_fn fn, void *data) {
  struct remote *remote = (struct remote *)participant;
  struct call *call = call_new(remote, fence_received, data);
  call->fn.fence = fn;
  memcpy(call->run_id, request->run_id, sizeof call->run_id);
  struct json_writer w;
  json_writer_init(&w);
  fence_request_encode(&w, request);
  send_call(call, "fence", &w, NULL, question_timeout_ms(remote), REPLY_BYTES_MAX);
}

static void run_received(struct call *call, const json_t *json, const struct error *err) {
  (void)call_finish(call);
  struct run_reply reply;
  char *results = NULL;
  struct error problem = {0};
  if (!err)
    err = undecodable(run_reply_decode(json, call->gid, &reply, &results, &problem), &problem);
  call->fn.run(call->data, err ? NULL : &reply, err);
  free(results);
}

static void http_run(struct participant *participant, const struct run_request *request, run_fn fn,
                     void *data) {
  struct remote *remote = (struct remote *)participant;
  struct call *call = call_new(remote, run_received, data);
  call->fn.run = fn;
  (void)snprintf(call->gid, sizeof call->gid, "%s", request->gid);
  struct json_writer w;
  json_writer_init(&w);
  run_request_encode(&w, request);
  /* The agent gives up at the deadline by itself; this is for an agent that does not answer. */
  send_call(call, "run", &w, request->trace, request->timeout_ms + remote->call_timeout_ms,
            RUN_REPLY_BYTES_MAX);
}

static void list_received(struct call *call, const json_t *json, const struct error *err) {
  (void)call_finish(call);
  struct list_reply reply;
  struct prepared_branch *branches = NULL;
  struct error problem = {0};
  if (!err) err = undecodable(list_reply_decode(json, &reply, &branches, &problem), &problem);
  call->fn.list(call->data, err ? NULL : &reply, err);
  free(branches);
}

static void http_list(struct participant *participant, const struct list_request *request,
                      list_fn fn, void *data) {
  struct remote *remote = (struct remote *)participant;
  struct call *call = call_new(remote, list_received, data);
  call->fn.list = fn;
  struct json_writer w;
  json_writer_init(&w);
  list_request_encode(&w, request);
  send_call(call, "list", &w, NULL, question_timeout_ms(remote), REPLY_BYTES_MAX);
}

static void survey_received(struct call *call, const json_t *json, const struct error *err) {
  (void)call_finish(call);
  struct survey_reply reply = {0};
  struct error problem = {0};
  if (!err) err = undecodable(survey_reply_decode(json, &reply, &problem), &problem);
  call->fn.survey(call->data, err ? NULL : &reply, err);
  survey_reply_release(&reply);
}

static void http_survey(struct participant *participant, const struct survey_request *request,
                        survey_fn fn, void *data) {
  struct remote *remote = (struct remote *)participant;
  struct call *call = call_new(remote, survey_received, data);
  call->fn.survey = fn;
  struct json_writer w;
  json_writer_init(&w);
  survey_request_encode(&w, request);
  send_call(call, "survey", &w, NULL, question_timeout_ms(remote), REPLY_BYTES_MAX);
}

static void blockers_received(struct call *call, const json_t *json, const struct error *err) {
  (void)call_finish(call);
  struct blocker items[BLOCKERS_MAX];
  struct blockers_reply reply;
  struct error problem = {0};
  if (!err) err = undecodable(blockers_reply_decode(json, items, &reply, &problem), &problem);
  call->fn.blockers(call->data, err ? NULL : &reply, err);
}

static void http_blockers(struct participant *participant, const struct blockers_request *request,
                          blockers_fn fn, void *data) {
  struct remote *remote = (struct remote *)participant;
  struct call *call = call_new(remote, blockers_received, data);
  call->fn.blockers = fn;
  struct json_writer w;
  json_writer_init(&w);
  blockers_request_encode(&w, request);
  send_call(call, "blockers", &w, NULL, question_timeout_ms(remote), REPLY_BYTES_MAX);
}

static void health_received(struct call *call, const json_t *json, const struct error *err) {
  (void)call_finish(call);
  struct health_reply reply;
  struct error problem = {0};
  if (!err) err = undecodable(health_reply_decode(json, &reply, &problem), &problem);
  call->fn.health(call->data, err ? NULL : &reply, err);
}

static void http_health(struct participant *participant, health_fn fn, void *data) {
  struct remote *remote = (struct remote *)participant;
  struct call *call = call_new(remote, health_received, data);
  call->fn.health = fn;
  send_call(call, "health", NULL, NULL, question_timeout_ms(remote), REPLY_BYTES_MAX);
}

/* ---- decide ----------------------------------------------------------------------------------- */

struct entry {
  char gid[GID_SIZE];
  char *json;          /* the encoded request */
  struct trace *trace; /* owned; NULL: none */
  decide_fn fn;
  void *data;
  struct entry *next;
};

static void send_batch(struct remote *remote);

static void entries_free(struct entry *entry) {
  while (entry) {
    struct entry *next = entry->next;
    free(entry->json);
    free(entry->trace);
    free(entry);
    entry = next;
  }
}

static void answer_entry(struct entry *entry, const json_t *outcome, const struct error *err) {
  struct decide_reply reply;
  struct error problem = {0};
  if (!err) err = undecodable(decide_reply_decode(outcome, entry->gid, &reply, &problem), &problem);
  entry->fn(entry->data, err ? NULL : &reply, err);
}

static void decisions_received(struct call *call, const json_t *json, const struct error *err) {
  struct remote *remote = call_finish(call);
  struct entry *entries = call->entries;
  const json_t *outcomes = err ? NULL : json_object_get(json, "outcomes");
  size_t i = 0;
  for (struct entry *entry = entries; entry; entry = entry->next)
    answer_entry(entry, json_array_get(outcomes, i++), err);
  entries_free(entries);
  remote->deciding = false;
  send_batch(remote);
}

static void send_batch(struct remote *remote) {
  if (remote->deciding || !remote->gathering) return;
  struct call *call = call_new(remote, decisions_received, NULL);
  call->entries = remote->gathering;
  const struct trace *trace = NULL; /* of the first that has one; each tells its own besides */
  struct json_writer w;
  json_writer_init(&w);
  json_object_begin(&w);
  json_key(&w, "decisions");
  json_array_begin(&w);
  struct entry *last = NULL;
  unsigned count = 0;
  for (struct entry *entry = call->entries; entry && count < BATCH_MAX; entry = entry->next) {
    json_write_raw(&w, entry->json);
    if (!trace) trace = entry->trace;
    last = entry;
    count++;
  }
  json_array_end(&w);
  json_object_end(&w);
  remote->gathering = last->next;
  if (!remote->gathering) remote->gathering_last = NULL;
  last->next = NULL;
  remote->deciding = true;
  send_call(call, "decide", &w, trace ? &trace->context : NULL, question_timeout_ms(remote),
            REPLY_BYTES_MAX);
}

static void http_decide(struct participant *participant, const struct decide_request *request,
                        decide_fn fn, void *data) {
  struct remote *remote = (struct remote *)participant;
  struct entry *entry = calloc(1, sizeof *entry);
  if (!entry) abort();
  struct json_writer w;
  json_writer_init(&w);
  decide_request_encode(&w, request);
  (void)snprintf(entry->gid, sizeof entry->gid, "%s", request->gid);
  entry->json = json_writer_take(&w, NULL);
  if (!entry->json) abort();
  if (request->trace) entry->trace = trace_new(request->trace);
  entry->fn = fn;
  entry->data = data;
  if (remote->gathering_last)
    remote->gathering_last->next = entry;
  else
    remote->gathering = entry;
  remote->gathering_last = entry;
  send_batch(remote);
}

/* ---- make, free ------------------------------------------------------------------------------- */

static void http_free(struct participant *participant) {
  struct remote *remote = (struct remote *)participant;
  for (struct call *call = remote->calls; call; call = call->next) {
    call->remote = NULL;
    entries_free(call->entries);
  }
  entries_free(remote->gathering);
  free(remote->url);
  free(remote);
}

static const struct participant_ops http_ops = {.fence = http_fence,
                                                .run = http_run,
                                                .decide = http_decide,
                                                .list = http_list,
                                                .survey = http_survey,
                                                .blockers = http_blockers,
                                                .health = http_health,
                                                .free = http_free};

/* ".../HOST:PORT", for readers only. */
static void note_address(struct participant *participant, const char *url) {
  const char *authority = strstr(url, "://");
  authority = authority ? authority + 3 : url;
  const char *colon = strrchr(authority, ':');
  bool bracketed = authority[0] == '[' && colon && colon[-1] == ']';
  size_t length = colon ? (size_t)(colon - authority) : strlen(authority);
  (void)snprintf(participant->host, sizeof participant->host, "%.*s",
                 (int)length - (bracketed ? 2 : 0), authority + bracketed);
  if (colon) participant->port = (uint16_t)strtoul(colon + 1, NULL, 10);
}

struct participant *participant_http_new(struct http_client *client, const char *url,
                                         const char *name, int64_t call_timeout_ms) {
  struct remote *remote = calloc(1, sizeof *remote);
  if (!remote) abort();
  *remote = (struct remote){.base = {.ops = &http_ops},
                            .client = client,
                            .call_timeout_ms = call_timeout_ms};
  if (asprintf(&remote->url, "%s/v1/databases/%s", url, name) < 0) abort();
  note_address(&remote->base, url);
  remote->name = strrchr(remote->url, '/') + 1;
  return &remote->base;
}
