/* See http_server.h. libmicrohttpd with an external loop: its epoll descriptor is watched,
 * MHD_run() does what is due. Connections are taken by http_accept.h and added to it.
 *
 * The life of a request, as MHD calls us:
 *
 *   on_uri        the request line is there: struct http_request is made
 *   on_access     headers: http_judge() them. A refusal waits for the body to be read and dropped, so
 *                 that the connection can be used again; one that makes the body unreadable
 *                 (framing, too large) is answered at once and the connection closed
 *   on_access...  pieces of the body; chunks that go over the limit end it there: http_give_up()
 *   on_access     the end: refuse, or call the handler. Not answered when that returns: the
 *                 connection is suspended
 *   http_respond  keeps the response and resumes the connection
 *   on_access     queues the response
 *   on_completed  sent, or the peer has gone: the request is freed
 *
 * Invariants
 *  1. A suspended connection is left alone by MHD (no reading, no timeout), so a request that a
 *     handler holds cannot vanish; that the client has gone shows when the answer is sent.
 *  2. MHD_run() is never called from inside one of MHD's callbacks: schedule() defers it.
 *  3. A request in the list `held` is handed to a handler and not answered.
 * What MHD cannot read (a request line, chunks, a Content-Length that is no number, headers beyond its
 * memory) it answers itself, and closes: http_pages.h makes a problem document of that. A client that has closed
 * its sending half without "Connection: close" is let go after the idle time: edges of epoll tell MHD of
 * it once, together with the request.
 * Limits: see the options; HTTP_HEADER_BYTES_MAX; what a peer still sends after an answer that closes is
 * read and dropped within the limits of http_linger.h.
 */
#include "common/http_server.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/http_internal.h"
#include "common/http_listen.h"
#include "common/http_pages.h"
#include "common/http_response.h"
#include "common/memory.h"
#include "common/tls.h"

enum {
  BODY_BYTES_DEFAULT = 1 << 20,
  BODY_FIRST_BYTES = 4096, /* at most: a Content-Length alone makes nobody wealthy */
  CONNECTIONS_DEFAULT = 12000,
  IDLE_SECONDS_DEFAULT = 30,
  CONNECTION_MEMORY_BYTES = 24576, /* the headers we accept, and half as much for the rest */
  FAREWELL_RUNS = 100,
  PENALTY_MS = 500,   /* a wrong token's */
  PENALTIES_SHARE = 4 /* of the connections: one in so many may wait for it */
};

/* ---- driving MHD ------------------------------------------------------------------------------
 */

static void schedule(struct http_server *server);

static void run(struct http_server *server) {
  (void)MHD_run(server->daemon);
  MHD_UNSIGNED_LONG_LONG wait_ms;
  if (MHD_get_timeout(server->daemon, &wait_ms) != MHD_YES)
    loop_timer_stop(server->timer);
  else if (wait_ms == 0)
    schedule(server);
  else
    loop_timer_start(server->timer, wait_ms);
}

static void on_scheduled(void *data) {
  struct http_server *server = data;
  server->scheduled = false;
  if (server->closing)
    free(server);
  else
    run(server);
}

static void schedule(struct http_server *server) {
  if (server->scheduled) return;
  server->scheduled = true;
  loop_defer(server->loop, on_scheduled, server);
}

static void wake(void *data) {
  schedule(data);
}

static void on_poll(void *data, bool readable, bool writable) {
  (void)readable;
  (void)writable;
  run(data);
}

static void on_timer(void *data) {
  run(data);
}

__attribute__((format(printf, 2, 0))) static void on_mhd_message(void *data, const char *format,
                                                                 va_list args) {
  (void)data;
  char text[512];
  (void)vsnprintf(text, sizeof text, format, args);
  log_debug("http_server_message", "text", "s", text, NULL);
}

/* ---- connections ------------------------------------------------------------------------------
 */

/* MHD's own timeout is for silence; a peer that sends a byte now and then gets this one. */
static void on_sweep(void *data) {
  struct http_server *server = data;
  uint64_t now_ms = loop_now_ms(server->loop);
  for (struct connection *c = server->connections; c; c = c->next)
    if (c->deadline_ms != 0 && c->deadline_ms <= now_ms) (void)shutdown(c->fd, SHUT_RDWR);
  if (server->connections) loop_timer_start(server->sweep, server->idle_ms / 4);
}

/* A request may begin after up to idle_ms of silence, and takes at most as long again. */
static void expect_request(struct connection *connection) {
  struct http_server *server = connection->server;
  connection->deadline_ms = loop_now_ms(server->loop) + 2 * server->idle_ms;
}

static void connection_open(struct http_server *server, struct MHD_Connection *mhd, void **slot) {
  struct connection *c = calloc(1, sizeof *c);
  if (!c) return; /* requests on it will be refused */
  c->server = server;
  c->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
  if (!server->connections) loop_timer_start(server->sweep, server->idle_ms / 4);
  c->next = server->connections;
  if (c->next) c->next->previous = c;
  server->connections = c;
  expect_request(c);
  *slot = c;
}

static void request_free(struct http_request *request) {
  if (!request) return;
  if (request->response) MHD_destroy_response(request->response);
  free(request->body);
  free(request->headers);
  free(request->uri);
  free(request);
}

/* Of a request that the library refuses by itself, after its first line, it tells no end. */
static void connection_close(struct connection *c) {
  request_free(c->request);
  if (c->linger) http_linger_begin(&c->server->lingerers, c->fd);
  if (c->previous)
    c->previous->next = c->next;
  else
    c->server->connections = c->next;
  if (c->next) c->next->previous = c->previous;
  free(c);
}

/* At the limit, who connects waits in the backlog. */
static void count_connections(struct http_server *server, int change) {
  server->connection_count += (unsigned)change;
  if (server->acceptor)
    http_acceptor_open(server->acceptor, server->connection_count < server->connections_max);
}

static void on_connection(void *data, struct MHD_Connection *mhd, void **slot,
                          enum MHD_ConnectionNotificationCode what) {
  struct http_server *server = data;
  count_connections(server, what == MHD_CONNECTION_NOTIFY_STARTED ? 1 : -1);
  if (what == MHD_CONNECTION_NOTIFY_STARTED)
    connection_open(server, mhd, slot);
  else if (*slot)
    connection_close(*slot);
}

/* What the peer still sends must not cost it the answer that says why. */
static void on_given_up(struct MHD_Connection *mhd) {
  struct connection *c =
      MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
  if (c) c->linger = true;
}

static void on_accepted(void *data, int fd, const struct sockaddr *peer, socklen_t size) {
  struct http_server *server = data;
  /* Out of memory it closes the socket itself. */
  (void)MHD_add_connection(server->daemon, fd, peer, size);
  schedule(server);
}

/* ---- answering --------------------------------------------------------------------------------
 */

static void hold(struct http_request *request) {
  struct http_server *server = request->server;
  assert(request->state == RECEIVING);
  request->state = HELD;
  request->next = server->held;
  if (request->next) request->next->previous = request;
  server->held = request;
  server->pending++;
}

/* Keeps the answer; on_access() queues it. */
static void answer(struct http_request *request, int status, struct MHD_Response *response) {
  struct http_server *server = request->server;
  assert(request->state == HELD);
  if (request->previous)
    request->previous->next = request->next;
  else
    server->held = request->next;
  if (request->next) request->next->previous = request->previous;
  server->pending--;
  server->unsent++;
  request->state = ANSWERED;
  request->response = response;
  request->status = status;
  if (request->observed) server->observer->answered(request->observed, status);
  request->observed = NULL;
  if (!server->acceptor && response)
    http_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
  if (!request->suspended) return;
  request->suspended = false;
  MHD_resume_connection(request->mhd);
  schedule(server);
}

void http_respond_take(struct http_request *request, int status, const char *content_type,
                       char *body, size_t length, const struct http_header *headers,
                       size_t header_count) {
  struct MHD_Response *response = http_response_take(&status, content_type, body, length);
  for (size_t i = 0; response && i < header_count; i++)
    http_response_header(response, headers[i].name, headers[i].value);
  answer(request, status, response);
}

void http_respond_error(struct http_request *request, const struct error *err, const char *extra) {
  int status;
  struct MHD_Response *response = http_response_problem(err, extra, &status);
  answer(request, status, response);
}

struct http_stream *http_respond_stream(struct http_request *request, const char *content_type,
                                        size_t bytes_max, http_stream_closed_fn closed,
                                        void *data) {
  if (strcmp(request->method, MHD_HTTP_METHOD_HEAD) == 0) {
    struct MHD_Response *head = http_stream_head();
    if (head) http_response_common(head, content_type);
    answer(request, MHD_HTTP_OK, head);
    return NULL;
  }
  struct http_stream *stream = NULL;
  struct MHD_Response *response = http_stream_response(&request->server->streams, request->mhd,
                                                       bytes_max, closed, data, &stream);
  if (!response) {
    struct error err = {0};
    error_set(&err, ERR_MEMORY, "no memory for a stream");
    http_respond_error(request, &err, NULL);
    return NULL;
  }
  http_response_common(response, content_type);
  answer(request, MHD_HTTP_OK, response);
  return stream;
}

/* ---- receiving --------------------------------------------------------------------------------
 */

static void *on_uri(void *data, const char *uri, struct MHD_Connection *mhd) {
  struct http_server *server = data;
  const union MHD_ConnectionInfo *info =
      MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
  if (!info->socket_context) return NULL;
  struct http_request *request = memory_zeroed(sizeof *request);
  if (!request) return NULL;
  request->uri = strdup(uri);
  if (!request->uri) {
    free(request);
    return NULL;
  }
  request->uri_in_head = uri;
  request->server = server;
  request->mhd = mhd;
  request->connection = info->socket_context;
  request_free(request->connection->request);
  request->connection->request = request;
  return request;
}

static void on_completed(void *data, struct MHD_Connection *mhd, void **slot,
                         enum MHD_RequestTerminationCode code) {
  struct http_server *server = data;
  if (code == MHD_REQUEST_TERMINATED_TIMEOUT_REACHED)
    http_streams_note_silence(&server->streams, mhd);
  struct http_request *request = *slot;
  if (!request) return;
  assert(request->state != HELD); /* it was suspended, and so left alone */
  if (request->state == ANSWERED) server->unsent--;
  request->connection->request = NULL;
  expect_request(request->connection);
  request_free(request);
  *slot = NULL;
}

/* Sends what answer() kept. */
static enum MHD_Result queue_answer(struct http_request *request) {
  if (!request->response) return MHD_NO;
  enum MHD_Result queued =
      http_queue_response(request->mhd, (unsigned)request->status, request->response);
  MHD_destroy_response(request->response); /* MHD has its own reference */
  request->response = NULL;
  return queued;
}

static enum MHD_Result refuse(struct http_request *request, bool close_after) {
  int status;
  struct MHD_Response *response = http_response_problem(&request->refusal, NULL, &status);
  if (response && status == MHD_HTTP_METHOD_NOT_ALLOWED)
    http_response_header(response, MHD_HTTP_HEADER_ALLOW, request->allow);
  if (response && close_after) http_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
  request->connection->linger = close_after;
  request->connection->deadline_ms = 0;
  hold(request);
  answer(request, status, response);
  return queue_answer(request);
}

static size_t first_capacity(const struct http_request *request) {
  return request->body_announced < BODY_FIRST_BYTES ? request->body_announced + 1
                                                    : BODY_FIRST_BYTES;
}

/* Of a body that will be refused nothing is kept. One over the limit, which came in chunks since it was not
 * announced, is told so whatever else it is refused for, as if it had been. */
static enum MHD_Result take_body(struct http_request *request, const char *data, size_t length) {
  size_t total = request->body_length + length;
  if (total > request->server->body_bytes_max) {
    struct error err = {.code = ERR_OK};
    (void)http_refuse_body(request->server, &err);
    http_give_up(request->mhd, &err);
    return MHD_NO;
  }
  if (request->refusal.code == ERR_OK) {
    size_t capacity = request->body_capacity ? request->body_capacity : first_capacity(request);
    while (capacity < total + 1)
      capacity *= 2;
    if (capacity != request->body_capacity) {
      char *body = realloc(request->body, capacity);
      if (!body) return MHD_NO;
      request->body = body;
      request->body_capacity = capacity;
    }
    assert(request->body);
    memcpy(request->body + request->body_length, data, length);
    request->body[total] = '\0';
  }
  request->body_length = total;
  return MHD_YES;
}

static void suspend(struct http_request *request) {
  request->suspended = true;
  MHD_suspend_connection(request->mhd);
}

static void on_penalty(void *data) {
  struct http_server *server = data;
  uint64_t now_ms = loop_now_ms(server->loop);
  for (struct http_request *request = server->held, *next; request; request = next) {
    next = request->next;
    if (request->penalty_until == 0 || request->penalty_until > now_ms) continue;
    server->penalties--;
    http_respond_error(request, &request->refusal, NULL);
  }
  if (server->penalties > 0) loop_timer_start(server->penalty, PENALTY_MS / 8);
}

/* Who tries tokens out gets to know one by one, and late. But those that wait must not take the connections
 * from everybody else: over their share they are told at once, and go. */
static enum MHD_Result refuse_late(struct http_request *request) {
  struct http_server *server = request->server;
  if (server->penalties >= server->connections_max / PENALTIES_SHARE) return refuse(request, true);
  request->connection->deadline_ms = 0;
  hold(request);
  request->penalty_until = loop_now_ms(server->loop) + PENALTY_MS;
  if (server->penalties++ == 0) loop_timer_start(server->penalty, PENALTY_MS / 8);
  suspend(request);
  return MHD_YES;
}

static enum MHD_Result hand_over(struct http_request *request) {
  struct http_server *server = request->server;
  if (server->closing) error_set(&request->refusal, ERR_STOPPING, "the server is stopping");
  if (request->refusal.code == ERR_UNAUTHORIZED) return refuse_late(request);
  if (request->refusal.code != ERR_OK) return refuse(request, false);
  request->connection->deadline_ms = 0;
  hold(request);
  if (server->observer)
    request->observed = server->observer->begun(server->observer_data, request, request->route);
  request->route->handler(request, server->data);
  /* The request may be gone only after on_completed(), which MHD does not call from in here. */
  if (request->state == ANSWERED) return queue_answer(request);
  suspend(request);
  return MHD_YES;
}

static enum MHD_Result on_access(void *data, struct MHD_Connection *mhd, const char *url,
                                 const char *method, const char *version, const char *upload,
                                 size_t *upload_length, void **slot) {
  (void)data;
  (void)mhd;
  (void)url;
  struct http_request *request = *slot;
  if (!request) return MHD_NO; /* memory ran out in on_uri() */
  if (request->state == ANSWERED) return queue_answer(request);
  if (!request->judged) {
    request->judged = true;
    request->method = method;
    return http_judge(request, version) ? MHD_YES : refuse(request, true);
  }
  if (*upload_length > 0) {
    size_t length = *upload_length;
    *upload_length = 0;
    return take_body(request, upload, length);
  }
  return hand_over(request);
}

/* ---- the server -------------------------------------------------------------------------------
 */

/* Raises the limit of descriptors as far as it goes, and leaves some for what is not a client. */
static unsigned connections_allowed(unsigned wanted) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return wanted;
  if (limit.rlim_cur < limit.rlim_max) {
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) limit.rlim_cur = before;
  }
  rlim_t reserve = limit.rlim_cur / 4 < 512 ? limit.rlim_cur / 4 : 512;
  rlim_t allowed = limit.rlim_cur - reserve;
  return wanted < allowed ? wanted : (unsigned)allowed;
}

static void set_tls_options(const struct tls *tls, struct MHD_OptionItem options[4]) {
  static char priorities[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";
  *options++ = (struct MHD_OptionItem){MHD_OPTION_HTTPS_CERT_CALLBACK, 0, tls_retrieve_function()};
  *options++ = (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0, priorities};
  if (tls_wants_client_certificates(tls))
    *options++ = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_TRUST, 0,
                                         (void *)(uintptr_t)tls_client_ca_pem(tls)};
  *options = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
}

static struct MHD_Daemon *daemon_start(struct http_server *server, unsigned idle_seconds) {
  unsigned flags =
      MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
  struct MHD_OptionItem tls_options[4] = {{MHD_OPTION_END, 0, NULL}};
  if (server->tls) {
    flags |= MHD_USE_TLS;
    set_tls_options(server->tls, tls_options);
  }
  return MHD_start_daemon(flags, 0, NULL, NULL, on_access, server, MHD_OPTION_EXTERNAL_LOGGER,
                          on_mhd_message, NULL, MHD_OPTION_CONNECTION_LIMIT,
                          server->connections_max, MHD_OPTION_CONNECTION_TIMEOUT, idle_seconds,
                          MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY_BYTES,
                          MHD_OPTION_STRICT_FOR_CLIENT, 0, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1,
                          MHD_OPTION_URI_LOG_CALLBACK, on_uri, server, MHD_OPTION_NOTIFY_COMPLETED,
                          on_completed, server, MHD_OPTION_NOTIFY_CONNECTION, on_connection, server,
                          MHD_OPTION_ARRAY, tls_options, MHD_OPTION_END);
}

enum error_code http_server_start(struct http_server **out, struct loop *loop,
                                  const struct http_server_options *options,
                                  const struct http_route *routes, size_t route_count, void *data,
                                  struct error *err) {
  *out = NULL;
  uint16_t port = options->listen_port;
  int fd = -1;
  enum error_code code = http_listen(options->listen_host, &port, &fd, err);
  if (code != ERR_OK) return code;
  struct http_server *server = calloc(1, sizeof *server);
  if (!server) {
    (void)close(fd);
    return error_set(err, ERR_MEMORY, "out of memory for a server");
  }
  unsigned idle_seconds = options->idle_seconds ? options->idle_seconds : IDLE_SECONDS_DEFAULT;
  *server = (struct http_server){
      .loop = loop,
      .lingerers = {.loop = loop},
      .streams = {.wake = wake, .data = server},
      .hosts = {server->listen_host, options->host_names},
      .routes = routes,
      .route_count = route_count,
      .tokens = options->tokens,
      .tls = options->tls,
      .media = options->media,
      .observer = options->observer,
      .observer_data = options->observer_data,
      .data = data,
      .body_bytes_max = options->body_bytes_max ? options->body_bytes_max : BODY_BYTES_DEFAULT,
      .idle_ms = (uint64_t)idle_seconds * 1000,
      .port = port,
  };
  (void)snprintf(server->listen_host, sizeof server->listen_host, "%s", options->listen_host);
  server->timer = loop_timer_new(loop, on_timer, server);
  server->sweep = loop_timer_new(loop, on_sweep, server);
  server->penalty = loop_timer_new(loop, on_penalty, server);
  server->connections_max = connections_allowed(options->connections_max ? options->connections_max
                                                                         : CONNECTIONS_DEFAULT);
  http_pages_watch(on_given_up);
  server->daemon = daemon_start(server, idle_seconds);
  if (server->daemon) {
    int epoll_fd = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    server->poll = loop_poll_new(loop, epoll_fd, on_poll, server);
  }
  server->acceptor = http_acceptor_new(loop, fd, on_accepted, server);
  if (!server->poll || !server->acceptor) {
    http_server_free(server);
    return error_set(err, ERR_IO, "cannot serve on %s port %u: out of memory or descriptors",
                     options->listen_host, port);
  }
  loop_poll_set(server->poll, true, false);
  *out = server;
  return ERR_OK;
}

uint16_t http_server_port(const struct http_server *server) {
  return server->port;
}

void http_server_set_tokens(struct http_server *server, const struct tokens *tokens) {
  server->tokens = tokens;
  http_streams_end(&server->streams); /* who may still read comes back */
}

void http_server_quiesce(struct http_server *server) {
  http_acceptor_free(server->acceptor);
  server->acceptor = NULL;
}

size_t http_server_pending(const struct http_server *server) {
  return server->pending;
}

/* Answers what is held and lets MHD send it, as far as the sockets take it at once. What a handler
 * has begun may go on after us: that is no "nothing was done". */
static void say_farewell(struct http_server *server) {
  struct error lost = {.code = ERR_OK};
  error_set(&lost, ERR_LOST, "the server has stopped before the answer was known: ask again");
  while (server->held)
    http_respond_error(server->held, &lost, NULL);
  http_streams_end(&server->streams);
  for (int i = 0; i < FAREWELL_RUNS && server->unsent > 0; i++)
    (void)MHD_run(server->daemon);
}

void http_server_free(struct http_server *server) {
  if (!server) return;
  server->closing = true;
  http_server_quiesce(server);
  if (server->daemon) {
    say_farewell(server);
    loop_poll_free(server->poll);
    MHD_stop_daemon(server->daemon);
  }
  http_linger_close(&server->lingerers);
  loop_timer_free(server->timer);
  loop_timer_free(server->sweep);
  loop_timer_free(server->penalty);
  if (!server->scheduled) free(server); /* else on_scheduled() does */
}
