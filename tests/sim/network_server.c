/* common/http_server.h on the model network: routes, captures and queries by the real rules
 * (common/http_uri.h); what only headers can say (framing, Host, media types) is not modelled. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/http_server.h"
#include "common/http_uri.h"
#include "common/problem.h"
#include "tests/sim/network.h"

struct http_server {
  struct net_server net; /* first: what the network knows of it */
  const struct http_route *routes;
  size_t route_count;
  void *data;
  struct http_request *requests; /* not answered yet */
  struct http_stream *streams;   /* answered in part */
  size_t pending;
  bool quiet;
};

struct http_request {
  struct http_server *server;
  struct exchange *exchange;
  char *text; /* what `target` points into */
  struct http_target target;
  struct http_captures captures;
  struct http_request *prev, *next;
};

/* ---- answers ---------------------------------------------------------------------------------- */

static void let_go(struct http_request *request) {
  DL_DELETE(request->server->requests, request);
  request->server->pending--;
  free(request->text);
  free(request);
}

static void finish(struct http_request *request, int status, const char *body, size_t length) {
  struct exchange *exchange = request->exchange;
  struct process *process = request->server->net.process;
  let_go(request);
  network_answer(exchange, process, status, body, length);
}

/* As a good answer's type. */
static bool is_ours(const char *content_type) {
  return strcmp(content_type, "application/json") == 0 ||
         strcmp(content_type, "application/x-ndjson") == 0;
}

void http_respond_take(struct http_request *request, int status, const char *content_type,
                       char *body, size_t length, const struct http_header *headers,
                       size_t header_count) {
  assert(body);
  assert(status < 400 ? is_ours(content_type) : strcmp(content_type, PROBLEM_CONTENT_TYPE) == 0);
  (void)headers;
  (void)header_count;
  finish(request, status, body, length);
  free(body);
}

void http_respond_error(struct http_request *request, const struct error *err, const char *extra) {
  size_t length;
  char *body = problem_make(err, extra, &length);
  if (!body) abort();
  finish(request, error_http_status(err->code), body, length);
  free(body);
}

/* What is written leaves at once, and as much as is written: no reader is slow here. */
struct http_stream {
  struct http_server *server;
  struct exchange *exchange;
  unsigned number;
  http_stream_closed_fn closed;
  void *data;
  struct http_stream *prev, *next;
};

struct http_stream *http_respond_stream(struct http_request *request, const char *content_type,
                                        size_t bytes_max, http_stream_closed_fn closed,
                                        void *data) {
  struct http_server *server = request->server;
  struct http_stream *stream = calloc(1, sizeof *stream);
  (void)bytes_max;
  if (!stream) abort();
  assert(is_ours(content_type));
  *stream = (struct http_stream){
      .server = server, .exchange = request->exchange, .closed = closed, .data = data};
  stream->number = network_stream_begin(stream->exchange);
  DL_APPEND(server->streams, stream);
  let_go(request);
  return stream;
}

bool http_stream_write(struct http_stream *stream, const char *text, size_t length) {
  network_stream(stream->exchange, stream->number, stream->server->net.process, text, length,
                 false);
  return true;
}

void http_stream_end(struct http_stream *stream, const char *last, size_t length) {
  struct http_server *server = stream->server;
  DL_DELETE(server->streams, stream);
  network_stream(stream->exchange, stream->number, server->net.process, last, length, true);
  free(stream);
}

/* ---- requests --------------------------------------------------------------------------------- */

static const struct http_route *route_of(struct http_server *server, struct http_request *request,
                                         bool *path_known) {
  const char *method = exchange_method(request->exchange);
  *path_known = false;
  for (size_t i = 0; i < server->route_count; i++) {
    const struct http_route *route = &server->routes[i];
    if (!http_path_match(route->path, request->target.path, &request->captures)) continue;
    *path_known = true;
    if (strcmp(route->method, method) == 0) return route;
  }
  return NULL;
}

static void serve(struct net_server *net, struct exchange *exchange) {
  struct http_server *server = (struct http_server *)net;
  struct http_request *request = calloc(1, sizeof *request);
  if (!request) abort();
  request->server = server;
  request->exchange = exchange;
  request->text = strdup(exchange_target(exchange));
  if (!request->text) abort();
  DL_APPEND(server->requests, request);
  server->pending++;
  struct error err = {0};
  bool path_known = false;
  const struct http_route *route = NULL;
  if (!http_target_parse(request->text, &request->target))
    (void)error_set(&err, ERR_BAD_REQUEST, "the target cannot be read");
  else
    route = route_of(server, request, &path_known);
  if (!route)
    (void)error_set(&err, path_known ? ERR_METHOD : ERR_NOT_FOUND, "there is no such route");
  if (route)
    route->handler(request, server->data);
  else
    http_respond_error(request, &err, NULL);
}

const char *http_method(const struct http_request *request) {
  return exchange_method(request->exchange);
}

const char *http_path(const struct http_request *request) {
  return request->target.path;
}

const char *http_capture(const struct http_request *request, unsigned index) {
  assert(index < request->captures.count);
  return request->captures.text[index];
}

const char *http_query(const struct http_request *request, const char *name) {
  for (size_t i = 0; i < request->target.param_count; i++)
    if (strcmp(request->target.params[i].name, name) == 0) return request->target.params[i].value;
  return NULL;
}

enum error_code http_check_query(const struct http_request *request, const char *const *names,
                                 struct error *err) {
  for (size_t i = 0; i < request->target.param_count; i++) {
    const char *name = request->target.params[i].name;
    const char *const *known = names;
    while (*known && strcmp(*known, name) != 0)
      known++;
    if (!*known) return error_set(err, ERR_UNKNOWN_FIELD, "unknown parameter %s", name);
  }
  return ERR_OK;
}

/* There are no tokens here: everybody may do everything. */
const char *http_principal(const struct http_request *request) {
  (void)request;
  return NULL;
}

const char *http_only_of(const struct http_request *request) {
  (void)request;
  return NULL;
}

const char *http_header(const struct http_request *request, const char *name) {
  return strcmp(name, "Idempotency-Key") == 0 ? exchange_key(request->exchange) : NULL;
}

unsigned http_header_count(const struct http_request *request, const char *name) {
  return http_header(request, name) != NULL;
}

bool http_header_joined(const struct http_request *request, const char *name, char *out,
                        size_t size) {
  (void)request;
  (void)name;
  (void)out;
  (void)size;
  return false;
}

/* Nobody observes: without headers no request belongs to a trace. */
void *http_observed(const struct http_request *request) {
  (void)request;
  return NULL;
}

const char *http_body(const struct http_request *request, size_t *length) {
  return exchange_body(request->exchange, length);
}

/* ---- life ------------------------------------------------------------------------------------- */

enum error_code http_server_start(struct http_server **out, struct loop *loop,
                                  const struct http_server_options *options,
                                  const struct http_route *routes, size_t route_count, void *data,
                                  struct error *err) {
  (void)err;
  struct http_server *server = calloc(1, sizeof *server);
  if (!server) abort();
  server->routes = routes;
  server->route_count = route_count;
  server->data = data;
  server->net.process = loop_process(loop);
  server->net.serve = serve;
  (void)snprintf(server->net.address, sizeof server->net.address, "%s:%u", options->listen_host,
                 (unsigned)options->listen_port);
  network_listen(server->net.process->network, &server->net);
  *out = server;
  return ERR_OK;
}

uint16_t http_server_port(const struct http_server *server) {
  (void)server;
  return 0;
}

void http_server_quiesce(struct http_server *server) {
  server->net.listening = false; /* new connections are refused */
}

size_t http_server_pending(const struct http_server *server) {
  return server->pending;
}

void http_server_free(struct http_server *server) {
  struct error err = {0};
  (void)error_set(&err, ERR_STOPPING, "stopping");
  while (server->requests)
    http_respond_error(server->requests, &err, NULL);
  while (server->streams) {
    struct http_stream *stream = server->streams;
    stream->closed(stream->data, false);
    http_stream_end(stream, NULL, 0);
  }
  network_close(server->net.process->network, &server->net);
  free(server);
}
