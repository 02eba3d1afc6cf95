/* See routes.h. Each handler decodes, calls the agent, and answers from the agent's callback; the
 * http_request lives until then. */
#include "participant-agent/routes.h"

#include <stdlib.h>
#include <string.h>

#include "common/message_json.h"
#include "participant-agent/routes_messages.h"
#include "participant-agent/routes_metrics.h"

/* ---- requests and answers ----------------------------------------------------------------------
 */

static void respond(struct http_request *request, struct json_writer *w) {
  size_t length = 0;
  char *body = json_writer_take(w, &length);
  http_respond_take(request, 200, "application/json", body, length, NULL, 0);
}

/* NULL when it is not here: answered. */
static const struct routed_agent *find_routed(struct http_request *request, void *data) {
  const struct agent_routes *routes = data;
  const char *name = http_capture(request, 0);
  for (size_t i = 0; i < routes->count; i++)
    if (strcmp(routes->agents[i].name, name) == 0) return &routes->agents[i];
  struct error err = {0};
  (void)error_set(&err, ERR_NOT_FOUND, "this agent has no database of that name");
  http_respond_error(request, &err, NULL);
  return NULL;
}

static struct agent *find_agent(struct http_request *request, void *data) {
  const struct routed_agent *routed = find_routed(request, data);
  return routed ? routed->agent : NULL;
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

/* ---- fence, list, survey, blockers, health --------------------------------------------------------------
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

static void on_blockers(void *data, const struct blockers_reply *reply, const struct error *err) {
  struct http_request *request = data;
  if (err) {
    http_respond_error(request, err, NULL);
    return;
  }
  struct json_writer w;
  json_writer_init(&w);
  blockers_reply_encode(&w, reply);
  respond(request, &w);
}

static void handle_blockers(struct http_request *request, void *data) {
  struct agent *agent = find_agent(request, data);
  json_t *json = agent ? parse_body(request) : NULL;
  if (!json) return;
  struct blockers_request blockers;
  struct error err = {0};
  if (blockers_request_decode(json, &blockers, &err))
    http_respond_error(request, &err, NULL);
  else
    agent_blockers(agent, &blockers, on_blockers, request);
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

/* ---- runs and decisions ------------------------------------------------------------------------
 */

static void handle_messages(struct http_request *request, void *data) {
  const struct routed_agent *routed = find_routed(request, data);
  json_t *json = routed ? parse_body(request) : NULL;
  if (!json) return;
  messages_take(data, routed, request, json);
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
      {"POST", "/v1/databases/{participant}/messages", handle_messages, ROLE_ANYONE},
      {"POST", "/v1/databases/{participant}/list", handle_list, ROLE_ANYONE},
      {"POST", "/v1/databases/{participant}/survey", handle_survey, ROLE_ANYONE},
      {"POST", "/v1/databases/{participant}/blockers", handle_blockers, ROLE_ANYONE},
      {"GET", "/v1/databases/{participant}/health", handle_health, ROLE_ANYONE},
      {"GET", "/healthz", handle_healthz, ROLE_ANYONE},
      {"GET", "/metrics", handle_metrics, ROLE_ANYONE},
  };
  *count = sizeof routes / sizeof routes[0];
  return routes;
}

size_t agent_routes_streaming(const struct agent_routes *routes) {
  return messages_streaming(routes);
}

void agent_routes_release(struct agent_routes *routes) {
  messages_release(routes);
}
