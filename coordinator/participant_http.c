/* A participant whose agent is reached over HTTP (docs/agent-api.md).
 *
 * Runs and decisions travel together (outbox.h); each of the other messages is a request of its own.
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
#include "coordinator/outbox.h"
#include "coordinator/participant.h"

enum { REPLY_BYTES_MAX = 64 << 20 };

struct remote {
  struct participant base;
  struct http_client *client;
  char *url;        /* ".../v1/databases/NAME" */
  const char *name; /* borrowed: its end */
  int64_t call_timeout_ms;
  struct call *calls;    /* under way */
  struct outbox *outbox; /* of runs and decisions */
};

/* ---- one request under way -------------------------------------------------------------------- */

struct call {
  struct remote *remote; /* NULL: the participant has been freed, nobody waits */
  void (*answered)(struct call *call, const json_t *reply, const struct error *err);
  union {
    fence_fn fence;
    list_fn list;
    survey_fn survey;
    blockers_fn blockers;
    health_fn health;
  } fn;
  void *data;
  char run_id[RUN_ID_SIZE]; /* of a fence */
  struct call *prev, *next;
};

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
      problem_decode(json, status, &problem);
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

/* `w` NULL: a GET. */
static void send_call(struct call *call, const char *what, struct json_writer *w,
                      int64_t timeout_ms) {
  char url[1024];
  (void)snprintf(url, sizeof url, "%s/%s", call->remote->url, what);
  size_t length = 0;
  char *body = NULL;
  if (w) {
    body = json_writer_take(w, &length);
    if (!body) abort();
  }
  http_client_send(call->remote->client, url, body, length, (uint64_t)timeout_ms, REPLY_BYTES_MAX,
                   received, call);
}

/* The agent waits for its control session, and then for the database: each for as long. */
static int64_t question_timeout_ms(const struct remote *remote) {
  return remote->call_timeout_ms * 2 + 1000;
}

/* ---- fence, run, decide, list, survey, blockers, health ----------------------------------------------------------------- */

/* Who is told that it is fenced off, or that a life is known which its log has not had, stops for good; and
 * the server that a participant is on is taken from here: so an answer to another fence proves nothing. */
static void fence_received(struct call *call, const json_t *json, const struct error *err) {
  const struct remote *remote = call_finish(call);
  const struct fence_asked asked = {.participant = remote->name, .run_id = call->run_id};
  struct fence_reply reply;
  struct error problem = {0};
  if (!err) err = reply_refused(fence_reply_decode(json, &asked, &reply, &problem), &problem);
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
  send_call(call, "fence", &w, question_timeout_ms(remote));
}

static void http_run(struct participant *participant, const struct run_request *request, run_fn fn,
                     void *data) {
  struct remote *remote = (struct remote *)participant;
  /* The agent gives up at the deadline by itself; this is for an agent that does not answer. */
  outbox_run(remote->outbox, request, request->timeout_ms + remote->call_timeout_ms, fn, data);
}

static void http_decide(struct participant *participant, const struct decide_request *request,
                        decide_fn fn, void *data) {
  struct remote *remote = (struct remote *)participant;
  outbox_decide(remote->outbox, request, question_timeout_ms(remote), fn, data);
}

static void list_received(struct call *call, const json_t *json, const struct error *err) {
  (void)call_finish(call);
  struct list_reply reply;
  struct prepared_branch *branches = NULL;
  struct error problem = {0};
  if (!err) err = reply_refused(list_reply_decode(json, &reply, &branches, &problem), &problem);
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
  send_call(call, "list", &w, question_timeout_ms(remote));
}

static void survey_received(struct call *call, const json_t *json, const struct error *err) {
  (void)call_finish(call);
  struct survey_reply reply = {0};
  struct error problem = {0};
  if (!err) err = reply_refused(survey_reply_decode(json, &reply, &problem), &problem);
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
  send_call(call, "survey", &w, question_timeout_ms(remote));
}

static void blockers_received(struct call *call, const json_t *json, const struct error *err) {
  (void)call_finish(call);
  struct blocker items[BLOCKERS_MAX];
  struct blockers_reply reply;
  struct error problem = {0};
  if (!err) err = reply_refused(blockers_reply_decode(json, items, &reply, &problem), &problem);
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
  send_call(call, "blockers", &w, question_timeout_ms(remote));
}

static void health_received(struct call *call, const json_t *json, const struct error *err) {
  (void)call_finish(call);
  struct health_reply reply;
  struct error problem = {0};
  if (!err) err = reply_refused(health_reply_decode(json, &reply, &problem), &problem);
  call->fn.health(call->data, err ? NULL : &reply, err);
}

static void http_health(struct participant *participant, health_fn fn, void *data) {
  struct remote *remote = (struct remote *)participant;
  struct call *call = call_new(remote, health_received, data);
  call->fn.health = fn;
  send_call(call, "health", NULL, question_timeout_ms(remote));
}

/* ---- make, free ------------------------------------------------------------------------------- */

static void http_free(struct participant *participant) {
  struct remote *remote = (struct remote *)participant;
  for (struct call *call = remote->calls; call; call = call->next)
    call->remote = NULL;
  outbox_free(remote->outbox);
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

struct participant *participant_http_new(struct loop *loop, struct http_client *client,
                                         const char *url, const char *name,
                                         int64_t call_timeout_ms) {
  struct remote *remote = calloc(1, sizeof *remote);
  if (!remote) abort();
  *remote = (struct remote){.base = {.ops = &http_ops},
                            .client = client,
                            .call_timeout_ms = call_timeout_ms};
  if (asprintf(&remote->url, "%s/v1/databases/%s", url, name) < 0) abort();
  note_address(&remote->base, url);
  remote->outbox = outbox_new(loop, client, remote->url);
  remote->name = strrchr(remote->url, '/') + 1;
  return &remote->base;
}
