/* common/http_server.c, over real sockets. The loop runs on the main thread; a case's client is a
 * thread that speaks through raw sockets and ends the loop when it is done. Only the client asserts
 * while both run. What must not take for ever has a socket timeout of PATIENCE_S: reached only by a
 * bug.
 */
#include "common/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/suite.h"

enum { PATIENCE_S = 20, BODY_MAX = 2000, CROWD = 200 };

#define HOST "Host: localhost\r\n"
#define JSON "Content-Type: application/json\r\n"

struct fixture {
  struct loop *loop;
  struct http_server *server;
  struct loop_wakeup *done, *release;
  struct loop_timer *timer;
  void (*client)(struct fixture *);
  struct http_request *held[CROWD];
  unsigned held_count, held_wanted;
  atomic_uint reached; /* handlers entered, streams closed */
  unsigned silent;     /* of these streams; of the loop thread */
  uint16_t port;
  int fd; /* of a client that outlives the loop */
};

/* ---- handlers ---------------------------------------------------------------------------------
 */

static void respond(struct http_request *request, const char *text) {
  http_respond_take(request, 200, "application/json", strdup(text), strlen(text), NULL, 0);
}

static void handle_echo(struct http_request *request, void *data) {
  (void)data;
  size_t length;
  const char *body = http_body(request, &length);
  char text[256];
  (void)snprintf(text, sizeof text,
                 "{\"method\":\"%s\",\"path\":\"%s\",\"bytes\":%zu,\"body\":%.100s}",
                 http_method(request), http_path(request), length, body ? body : "null");
  respond(request, text);
}

static void handle_capture(struct http_request *request, void *data) {
  (void)data;
  static const char *const names[] = {"wait", "limit", NULL};
  struct error err = {.code = ERR_OK};
  if (http_check_query(request, names, &err) != ERR_OK) {
    http_respond_error(request, &err, NULL);
    return;
  }
  const char *wait = http_query(request, "wait");
  const char *key = http_header(request, "Idempotency-Key");
  char text[256];
  (void)snprintf(text, sizeof text, "{\"id\":\"%s\",\"wait\":\"%s\",\"key\":\"%s\"}",
                 http_capture(request, 0), wait ? wait : "(none)", key ? key : "(none)");
  respond(request, text);
}

static void handle_literal(struct http_request *request, void *data) {
  (void)data;
  respond(request, "\"literal\"");
}

static void release_all(void *data) {
  struct fixture *f = data;
  unsigned count = f->held_count;
  f->held_count = 0;
  for (unsigned i = 0; i < count; i++)
    respond(f->held[i], "\"late\"");
}

/* Answers when held_wanted of them are here, or release is sent. */
static void handle_hold(struct http_request *request, void *data) {
  struct fixture *f = data;
  f->held[f->held_count++] = request;
  atomic_fetch_add(&f->reached, 1);
  if (f->held_count == f->held_wanted) loop_defer(f->loop, release_all, f);
}

static void handle_slow(struct http_request *request, void *data) {
  struct fixture *f = data;
  f->held[f->held_count++] = request;
  loop_timer_start(f->timer, 2500);
}

static void handle_error(struct http_request *request, void *data) {
  (void)data;
  struct error err = {.code = ERR_OK};
  const char *which = http_capture(request, 0);
  if (strcmp(which, "aborted") == 0) {
    error_set(&err, ERR_ABORTED, "branch 1 said \"no\"");
    error_field(&err, "/branches/0");
    http_respond_error(request, &err, "\"transaction\":{\"id\":\"x\"}");
    return;
  }
  if (strcmp(which, "memory") == 0) {
    http_respond_take(request, 200, "application/json", NULL, 0, NULL, 0);
    return;
  }
  if (strcmp(which, "token") == 0) error_set(&err, ERR_UNAUTHORIZED, "no token");
  if (strcmp(which, "many") == 0) error_set(&err, ERR_TOO_MANY, "wait");
  if (strcmp(which, "log") == 0) error_set(&err, ERR_LOG, "/var/lib/secret.db: disk full");
  http_respond_error(request, &err, NULL);
}

static void handle_headers(struct http_request *request, void *data) {
  (void)data;
  const struct http_header headers[] = {{"Location", "/v1/transactions/1"},
                                        {"X-Split", "a\r\nSet-Cookie: b"}};
  http_respond_take(request, 201, "application/json", strdup("{}"), 2, headers, 2);
}

static void stream_closed(void *data, bool was_silent) {
  struct fixture *f = data;
  f->silent += was_silent;
  atomic_fetch_add(&f->reached, 1);
}

static void handle_stream(struct http_request *request, void *data) {
  struct http_stream *stream =
      http_respond_stream(request, "text/event-stream", 100, stream_closed, data);
  if (!stream) return; /* HEAD; else the client misses it */
  CU_ASSERT_TRUE(http_stream_write(stream, "first", 5));
}

/* More than the sockets on both sides hold. */
static void handle_flood(struct http_request *request, void *data) {
  enum { FLOOD_BYTES = 32 << 20 };
  char *flood = calloc(1, FLOOD_BYTES);
  CU_ASSERT_PTR_NOT_NULL_FATAL(flood);
  struct http_stream *stream =
      http_respond_stream(request, "text/event-stream", FLOOD_BYTES, stream_closed, data);
  CU_ASSERT_PTR_NOT_NULL_FATAL(stream);
  CU_ASSERT_TRUE(http_stream_write(stream, flood, FLOOD_BYTES));
  free(flood);
}

static const struct http_route routes[] = {
    {"GET", "/flood", handle_flood, ROLE_ANYONE},
    {"GET", "/stream", handle_stream, ROLE_ANYONE},
    {"POST", "/echo", handle_echo, ROLE_ANYONE},
    {"GET", "/echo", handle_echo, ROLE_ANYONE},
    {"GET", "/things/{id}", handle_capture, ROLE_ANYONE},
    {"GET", "/things/list", handle_literal, ROLE_ANYONE},
    {"GET", "/hold", handle_hold, ROLE_ANYONE},
    {"GET", "/slow", handle_slow, ROLE_ANYONE},
    {"GET", "/errors/{which}", handle_error, ROLE_ANYONE},
    {"POST", "/headers", handle_headers, ROLE_ANYONE},
};

/* ---- the frame of a case ----------------------------------------------------------------------
 */

static void *client_thread(void *data) {
  struct fixture *f = data;
  f->client(f);
  loop_wakeup_send(f->done);
  return NULL;
}

static void on_done(void *data) {
  loop_stop(((struct fixture *)data)->loop);
}

static void setup(struct fixture *f, void (*client)(struct fixture *), unsigned idle_seconds) {
  memset(f, 0, sizeof *f);
  f->loop = loop_new();
  f->client = client;
  f->done = loop_wakeup_new(f->loop, on_done, f);
  f->release = loop_wakeup_new(f->loop, release_all, f);
  f->timer = loop_timer_new(f->loop, release_all, f);
  const struct http_server_options options = {.listen_host = "127.0.0.1",
                                              .body_bytes_max = BODY_MAX,
                                              .idle_seconds = idle_seconds};
  struct error err = {.code = ERR_OK};
  CU_ASSERT_EQUAL_FATAL(http_server_start(&f->server, f->loop, &options, routes,
                                          sizeof routes / sizeof routes[0], f, &err),
                        ERR_OK);
  f->port = http_server_port(f->server);
}

static void run_client(struct fixture *f) {
  pthread_t thread;
  CU_ASSERT_FATAL(pthread_create(&thread, NULL, client_thread, f) == 0);
  loop_run(f->loop);
  (void)pthread_join(thread, NULL);
}

static void teardown(struct fixture *f) {
  http_server_free(f->server);
  loop_timer_free(f->timer);
  loop_wakeup_free(f->done);
  loop_wakeup_free(f->release);
  loop_free(f->loop);
}

static void with_idle_limit(void (*client)(struct fixture *), unsigned idle_seconds) {
  struct fixture f;
  setup(&f, client, idle_seconds);
  run_client(&f);
  CU_ASSERT_EQUAL(http_server_pending(f.server), 0);
  teardown(&f);
}

static void with_server(void (*client)(struct fixture *)) {
  with_idle_limit(client, 0);
}

/* ---- the raw client ---------------------------------------------------------------------------
 */

struct reply {
  int status; /* 0: the peer closed before a whole response came */
  char head[4096];
  char body[4096];
};

static int dial(const struct fixture *f) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons(f->port),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  const struct timeval patience = {.tv_sec = PATIENCE_S};
  const int on = 1;
  CU_ASSERT_FATAL(fd >= 0);
  (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  CU_ASSERT_FATAL(connect(fd, (const void *)&address, sizeof address) == 0);
  return fd;
}

static bool put_n(int fd, const char *text, size_t length) {
  while (length > 0) {
    ssize_t n = send(fd, text, length, MSG_NOSIGNAL);
    if (n <= 0) return false;
    text += n;
    length -= (size_t)n;
  }
  return true;
}

static void put(int fd, const char *text) {
  CU_ASSERT_TRUE(put_n(fd, text, strlen(text)));
}

static void get(int fd, struct reply *reply) {
  memset(reply, 0, sizeof *reply);
  size_t head = 0;
  while (head < sizeof reply->head - 1 && !strstr(reply->head, "\r\n\r\n")) {
    if (recv(fd, reply->head + head, 1, 0) != 1) return;
    head++;
  }
  const char *length_at = strcasestr(reply->head, "\r\nContent-Length: ");
  size_t length = length_at ? strtoul(length_at + 18, NULL, 10) : 0;
  CU_ASSERT_FATAL(length < sizeof reply->body);
  if (length > 0 && recv(fd, reply->body, length, MSG_WAITALL) != (ssize_t)length) return;
  reply->status = atoi(reply->head + strlen("HTTP/1.1 "));
}

/* Does it end, before our patience does? A reset will do: libmicrohttpd itself closes what it
 * cannot read, and with bytes unread that is a reset. */
static bool is_closed(int fd) {
  char dropped[4096];
  ssize_t n = 1;
  while (n > 0)
    n = recv(fd, dropped, sizeof dropped, 0);
  return n == 0 || errno == ECONNRESET;
}

/* One request on a connection of its own. */
static void ask(const struct fixture *f, const char *request, struct reply *reply) {
  int fd = dial(f);
  put(fd, request);
  get(fd, reply);
  (void)close(fd);
}

static bool has(const char *text, const char *part) {
  if (strstr(text, part)) return true;
  (void)printf("\n  no \"%s\" in: %s\n", part, text);
  return false;
}

static void expect_problem(const struct fixture *f, const char *request, int status,
                           const char *code) {
  struct reply reply;
  ask(f, request, &reply);
  char member[64];
  (void)snprintf(member, sizeof member, "\"code\":\"%s\"", code);
  CU_ASSERT_EQUAL(reply.status, status);
  CU_ASSERT_TRUE(has(reply.head, "Content-Type: application/problem+json"));
  CU_ASSERT_TRUE(has(reply.body, member));
}

/* ---- what is served ---------------------------------------------------------------------------
 */

static void client_posts(struct fixture *f) {
  struct reply reply;
  ask(f, "POST /echo?a=b HTTP/1.1\r\n" HOST JSON "Content-Length: 7\r\n\r\n{\"a\":1}", &reply);
  CU_ASSERT_EQUAL(reply.status, 200);
  CU_ASSERT_STRING_EQUAL(reply.body,
                         "{\"method\":\"POST\",\"path\":\"/echo\",\"bytes\":7,\"body\":{\"a\":1}}");
  CU_ASSERT_TRUE(has(reply.head, "Content-Type: application/json\r\n"));
  CU_ASSERT_TRUE(has(reply.head, "Cache-Control: no-store\r\n"));
  CU_ASSERT_TRUE(has(reply.head, "X-Content-Type-Options: nosniff\r\n"));
}
static void post_is_answered_with_its_body(void) {
  with_server(client_posts);
}

static void client_sends_chunks(struct fixture *f) {
  struct reply reply;
  ask(f,
      "POST /echo HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\n"
      "3\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\n",
      &reply);
  CU_ASSERT_EQUAL(reply.status, 200);
  CU_ASSERT_TRUE(has(reply.body, "\"bytes\":7,\"body\":{\"a\":1}"));
}
static void post_in_chunks_is_put_together(void) {
  with_server(client_sends_chunks);
}

static void client_sends_bytes(struct fixture *f) {
  static const char request[] =
      "POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 7\r\n\r\n{\"a\":1}";
  int fd = dial(f);
  for (size_t i = 0; i < sizeof request - 1; i++)
    CU_ASSERT_TRUE(put_n(fd, request + i, 1));
  struct reply reply;
  get(fd, &reply);
  CU_ASSERT_EQUAL(reply.status, 200);
  (void)close(fd);
}
static void post_byte_by_byte_is_put_together(void) {
  with_server(client_sends_bytes);
}

static void client_asks_head(struct fixture *f) {
  int fd = dial(f);
  put(fd, "HEAD /echo HTTP/1.1\r\n" HOST "\r\n");
  char head[2048] = "";
  CU_ASSERT_TRUE(recv(fd, head, sizeof head - 1, 0) > 0);
  CU_ASSERT_TRUE(has(head, "200 OK"));
  CU_ASSERT_PTR_EQUAL(strstr(head, "\r\n\r\n"), head + strlen(head) - 4);
  (void)close(fd);
}
static void head_is_served_by_get_without_body(void) {
  with_server(client_asks_head);
}

static void client_asks_head_of_a_stream(struct fixture *f) {
  int fd = dial(f);
  struct reply reply;
  char rest;
  put(fd, "HEAD /stream HTTP/1.1\r\n" HOST "\r\n");
  get(fd, &reply);
  CU_ASSERT_EQUAL(reply.status, 200);
  CU_ASSERT_TRUE(has(reply.head, "Content-Type: text/event-stream\r\n"));
  CU_ASSERT_TRUE(has(reply.head, "Connection: close\r\n"));
  CU_ASSERT_PTR_NULL(strcasestr(reply.head, "Content-Length"));
  CU_ASSERT_EQUAL(recv(fd, &rest, 1, 0), 0);
  (void)close(fd);
}
static void head_of_a_stream_is_the_head_alone(void) {
  with_server(client_asks_head_of_a_stream);
}

static void client_pipelines(struct fixture *f) {
  int fd = dial(f);
  put(fd, "GET /things/1 HTTP/1.1\r\n" HOST "\r\nPOST /echo HTTP/1.1\r\n" HOST JSON
          "Content-Length: 2\r\n\r\n{}GET /hold HTTP/1.1\r\n" HOST
          "\r\nGET /things/2 HTTP/1.1\r\n" HOST "\r\n");
  struct reply reply;
  get(fd, &reply);
  CU_ASSERT_TRUE(has(reply.body, "\"id\":\"1\""));
  get(fd, &reply);
  CU_ASSERT_TRUE(has(reply.body, "\"bytes\":2"));
  loop_wakeup_send(f->release); /* too early is harmless: sent again below */
  while (atomic_load(&f->reached) == 0)
    (void)sched_yield();
  loop_wakeup_send(f->release);
  get(fd, &reply);
  CU_ASSERT_STRING_EQUAL(reply.body, "\"late\"");
  get(fd, &reply);
  CU_ASSERT_TRUE(has(reply.body, "\"id\":\"2\""));
  (void)close(fd);
}
static void pipelined_requests_are_answered_in_order(void) {
  with_server(client_pipelines);
}

static void client_waits_for_continue(struct fixture *f) {
  int fd = dial(f);
  put(fd, "POST /echo HTTP/1.1\r\n" HOST JSON "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  struct reply reply;
  get(fd, &reply);
  CU_ASSERT_EQUAL(reply.status, 100);
  put(fd, "{}");
  get(fd, &reply);
  CU_ASSERT_EQUAL(reply.status, 200);
  (void)close(fd);
}
static void expect_continue_is_granted(void) {
  with_server(client_waits_for_continue);
}

static void client_captures(struct fixture *f) {
  struct reply reply;
  ask(f, "GET /things/a%2Fb%27?wait=x+y HTTP/1.1\r\nIdempotency-Key: k1\r\n" HOST "\r\n", &reply);
  CU_ASSERT_STRING_EQUAL(reply.body, "{\"id\":\"a/b'\",\"wait\":\"x y\",\"key\":\"k1\"}");
  ask(f, "GET /things/list HTTP/1.1\r\n" HOST "\r\n", &reply);
  CU_ASSERT_STRING_EQUAL(reply.body, "\"literal\"");
  expect_problem(f, "GET /things/1?limits=1 HTTP/1.1\r\n" HOST "\r\n", 422, "unknown_field");
  expect_problem(f, "GET /things/1?limit=1&limit=2 HTTP/1.1\r\n" HOST "\r\n", 422, "invalid");
  expect_problem(f, "GET /things/%zz HTTP/1.1\r\n" HOST "\r\n", 400, "bad_request");
  expect_problem(f, "GET /things/1?wait=%00 HTTP/1.1\r\n" HOST "\r\n", 400, "bad_request");
}
static void captures_and_queries_are_decoded(void) {
  with_server(client_captures);
}

static void client_asks_absolutely(struct fixture *f) {
  struct reply reply;
  ask(f, "GET http://127.0.0.1:7410/things/1?wait=x HTTP/1.1\r\n" HOST "\r\n", &reply);
  CU_ASSERT_EQUAL(reply.status, 200);
  CU_ASSERT_STRING_EQUAL(reply.body, "{\"id\":\"1\",\"wait\":\"x\",\"key\":\"(none)\"}");
  ask(f, "GET http://localhost/things/1 HTTP/1.1\r\nHost: evil.com\r\n\r\n", &reply);
  CU_ASSERT_EQUAL(reply.status, 200);
  expect_problem(f, "GET http://evil.com/things/1 HTTP/1.1\r\n" HOST "\r\n", 403, "forbidden");
  expect_problem(f, "GET http:///things/1 HTTP/1.1\r\n" HOST "\r\n", 403, "forbidden");
  expect_problem(f, "GET http://x@localhost/things/1 HTTP/1.1\r\n" HOST "\r\n", 403, "forbidden");
  expect_problem(f, "GET http://localhost HTTP/1.1\r\n" HOST "\r\n", 404, "not_found");
}
static void target_absolute_is_served_if_it_is_ours(void) {
  with_server(client_asks_absolutely);
}

static void client_sends_blanks(struct fixture *f) {
  struct reply reply;
  ask(f,
      "GET /things/1 HTTP/1.1\r\nHost: localhost \t\r\nIdempotency-Key: a k1\t \r\n"
      "Accept: application/json \r\nOrigin: http://localhost \r\n\r\n",
      &reply);
  CU_ASSERT_EQUAL(reply.status, 200);
  CU_ASSERT_STRING_EQUAL(reply.body, "{\"id\":\"1\",\"wait\":\"(none)\",\"key\":\"a k1\"}");
  ask(f, "GET /things/1 HTTP/1.1\r\n" HOST "Idempotency-Key: \t \r\n\r\n", &reply);
  CU_ASSERT_STRING_EQUAL(reply.body, "{\"id\":\"1\",\"wait\":\"(none)\",\"key\":\"\"}");
  ask(f,
      "POST /echo HTTP/1.1\r\n" HOST
      "Content-Type: application/json \r\nContent-Encoding: identity \r\n"
      "Content-Length: 2\r\n\r\n{}",
      &reply);
  CU_ASSERT_EQUAL(reply.status, 200);
}
static void blanks_behind_a_value_are_no_part_of_it(void) {
  with_server(client_sends_blanks);
}

static void client_reads_headers(struct fixture *f) {
  struct reply reply;
  ask(f, "POST /headers HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", &reply);
  CU_ASSERT_EQUAL(reply.status, 201);
  CU_ASSERT_TRUE(has(reply.head, "\r\nLocation: /v1/transactions/1\r\n"));
  CU_ASSERT_PTR_NULL(strstr(reply.head, "Set-Cookie"));
}
static void headers_are_sent_and_cannot_be_split(void) {
  with_server(client_reads_headers);
}

/* ---- problems of handlers ---------------------------------------------------------------------
 */

static void client_reads_problems(struct fixture *f) {
  struct reply reply;
  ask(f, "GET /errors/aborted HTTP/1.1\r\n" HOST "\r\n", &reply);
  CU_ASSERT_EQUAL(reply.status, 409);
  CU_ASSERT_STRING_EQUAL(
      reply.body, "{\"type\":\"urn:assent:problem:aborted\",\"title\":\"The transaction has "
                  "aborted\",\"status\":409,\"detail\":\"branch 1 said \\\"no\\\"\",\"code\":"
                  "\"aborted\",\"field\":\"/branches/0\",\"transaction\":{\"id\":\"x\"}}");
  ask(f, "GET /errors/token HTTP/1.1\r\n" HOST "\r\n", &reply);
  CU_ASSERT_EQUAL(reply.status, 401);
  CU_ASSERT_TRUE(has(reply.head, "WWW-Authenticate: Bearer"));
  ask(f, "GET /errors/many HTTP/1.1\r\n" HOST "\r\n", &reply);
  CU_ASSERT_EQUAL(reply.status, 429);
  CU_ASSERT_TRUE(has(reply.head, "Retry-After: 1"));
  ask(f, "GET /errors/memory HTTP/1.1\r\n" HOST "\r\n", &reply);
  CU_ASSERT_EQUAL(reply.status, 503);
  CU_ASSERT_FALSE(has(reply.head, "Retry-After"));
  CU_ASSERT_TRUE(has(reply.body, "\"code\":\"reply_lost\""));
}
static void problems_are_documents(void) {
  with_server(client_reads_problems);
}

static void client_provokes_fatal(struct fixture *f) {
  struct reply reply;
  ask(f, "GET /errors/log HTTP/1.1\r\n" HOST "\r\n", &reply);
  CU_ASSERT_EQUAL(reply.status, 503);
  CU_ASSERT_PTR_NULL(strstr(reply.body, "secret"));
}
static void problem_that_is_fatal_tells_no_paths(void) {
  with_server(client_provokes_fatal);
}

/* ---- what is refused --------------------------------------------------------------------------
 */

static void client_errs(struct fixture *f) {
  expect_problem(f, "GET /nowhere HTTP/1.1\r\n" HOST "\r\n", 404, "not_found");
  expect_problem(f, "GET /echo/ HTTP/1.1\r\n" HOST "\r\n", 404, "not_found");
  expect_problem(f, "OPTIONS * HTTP/1.1\r\n" HOST "\r\n", 404, "not_found");
  expect_problem(f, "GET /echo HTTP/1.1\r\n" HOST "Accept: text/html\r\n\r\n", 406,
                 "not_acceptable");
  expect_problem(f, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\n{}", 415,
                 "media_type");
  expect_problem(f,
                 "POST /echo HTTP/1.1\r\n" HOST
                 "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}",
                 415, "media_type");
  expect_problem(f, "GET /echo HTTP/1.1\r\nHost: evil.com\r\n\r\n", 403, "forbidden");
  expect_problem(f, "GET /echo HTTP/1.1\r\n" HOST "Origin: https://evil.com\r\n\r\n", 403,
                 "forbidden");
}
static void requests_at_fault_are_refused(void) {
  with_server(client_errs);
}

static void client_deletes(struct fixture *f) {
  struct reply reply;
  ask(f, "DELETE /echo HTTP/1.1\r\n" HOST "\r\n", &reply);
  CU_ASSERT_EQUAL(reply.status, 405);
  CU_ASSERT_TRUE(has(reply.head, "\r\nAllow: POST, GET, HEAD\r\n"));
  ask(f, "TRACE /things/list HTTP/1.1\r\n" HOST "\r\n", &reply);
  CU_ASSERT_TRUE(has(reply.head, "\r\nAllow: GET, HEAD\r\n"));
}
static void method_unknown_is_405_with_allow(void) {
  with_server(client_deletes);
}

static void client_errs_and_goes_on(struct fixture *f) {
  int fd = dial(f);
  struct reply reply;
  put(fd, "POST /nowhere HTTP/1.1\r\n" HOST JSON "Content-Length: 7\r\n\r\n{\"a\":1}");
  get(fd, &reply);
  CU_ASSERT_EQUAL(reply.status, 404);
  put(fd, "GET /things/1 HTTP/1.1\r\n" HOST "\r\n");
  get(fd, &reply);
  CU_ASSERT_EQUAL(reply.status, 200);
  (void)close(fd);
}
static void connection_lives_on_after_a_refusal(void) {
  with_server(client_errs_and_goes_on);
}

static void expect_close(const struct fixture *f, const char *request, int status) {
  int fd = dial(f);
  put(fd, request);
  struct reply reply;
  get(fd, &reply);
  CU_ASSERT_EQUAL(reply.status, status);
  CU_ASSERT_TRUE(is_closed(fd));
  (void)close(fd);
}

static void client_smuggles(struct fixture *f) {
  expect_close(f,
               "POST /echo HTTP/1.1\r\n" HOST JSON
               "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
               400);
  expect_close(f,
               "POST /echo HTTP/1.1\r\n" HOST JSON
               "Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
               400);
  expect_close(f,
               "POST /echo HTTP/1.1\r\n" HOST JSON
               "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
               400);
  expect_close(f, "POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length : 2\r\n\r\n{}", 400);
  expect_close(f, "POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: -2\r\n\r\n{}", 400);
  /* Without the blank it would be heard; libmicrohttpd has read it with it. */
  expect_close(f,
               "POST /echo HTTP/1.1\r\n" HOST JSON
               "Transfer-Encoding: chunked \r\n\r\n2\r\n{}\r\n0\r\n\r\n",
               400);
  expect_close(f, "POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 2 \r\n\r\n{}", 400);
  expect_close(f, "GET /echo HTTP/1.1\r\n" HOST "Host: evil\r\n\r\n", 400);
  expect_close(f, "GET /echo HTTP/1.1\r\n\r\n", 400);
}
static void framing_in_doubt_is_400_and_close(void) {
  with_server(client_smuggles);
}

/* Heads with what C strings hide, and with what is no header; as they are sent. */
#define HEAD(text)                                                                                 \
  { text, sizeof(text) - 1 }
static const struct {
  const char *text;
  size_t length;
} heads_in_doubt[] = {
    HEAD("GET /things/1 HTTP/1.1\r\n" HOST "Idempotency-Key: K\0x\r\n\r\n"),
    HEAD("GET /things/1 HTTP/1.1\r\n" HOST "Idempotency-Key: K\0\r\n\r\n"),
    HEAD("GET /things/1 HTTP/1.1\r\nIdempotency-Key: \0K\r\n" HOST "\r\n"),
    HEAD("GET /things/1 HTTP/1.1\r\nIdempotency\0-Key: K\r\n" HOST "\r\n"),
    HEAD("GET /things/1 HTTP/1.1\r\nHost: localhost\0evil\r\n\r\n"),
    HEAD("POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 2\0003\r\n\r\n{}"),
    HEAD("GET /things/1\0x HTTP/1.1\r\n" HOST "\r\n"),
    HEAD("GET /things/1?wait=1\0x HTTP/1.1\r\n" HOST "\r\n"),
    HEAD("GET\0X /things/1 HTTP/1.1\r\n" HOST "\r\n"),
    HEAD("GET /things/1 HTTP/1.1\r\n" HOST "\0X: y\r\n\r\n"), /* the head's end, to the library */
    HEAD("GET /things/1 HTTP/1.0\r\n\0\r\n"),
    HEAD("GET /things/1 HTTP/1.1\r\n" HOST "Idempotency-Key: K\r\n x\r\n\r\n"),
    HEAD("GET /things/1 HTTP/1.1\r\n" HOST "Idempotency-: K\r\n\tKey\r\n\r\n"),
    HEAD("GET /things/1 HTTP/1.1\r\n X: y\r\n" HOST "\r\n"),
    HEAD("GET /things/1 HTTP/1.1\r\n" HOST "Idempotency-Key: K\rX: y\r\n\r\n"),
    HEAD("GET /things/1 HTTP/1.1\r\n" HOST "X: y\n\r\n"),
    HEAD("GET /things/1 HTTP/1.1\r\n" HOST ": y\r\n\r\n"),
    HEAD("GET /things/1 HTTP/1.1\r\n" HOST "f(o: y\r\n\r\n"),
    HEAD("GET  /things/1 HTTP/1.1\r\n" HOST "\r\n"),
};

static void client_sends_heads_in_doubt(struct fixture *f) {
  for (size_t i = 0; i < sizeof heads_in_doubt / sizeof heads_in_doubt[0]; i++) {
    int fd = dial(f);
    struct reply reply;
    CU_ASSERT_TRUE(put_n(fd, heads_in_doubt[i].text, heads_in_doubt[i].length));
    get(fd, &reply);
    if (reply.status != 400) (void)printf("\n  head %zu: %d %s\n", i, reply.status, reply.body);
    CU_ASSERT_EQUAL(reply.status, 400);
    CU_ASSERT_TRUE(has(reply.body, "\"code\":\"bad_request\""));
    CU_ASSERT_TRUE(is_closed(fd));
    (void)close(fd);
  }
  expect_problem(f, "GET /things/a b HTTP/1.1\r\n" HOST "\r\n", 400, "bad_request");
}
static void head_with_hidden_bytes_is_400_and_close(void) {
  with_server(client_sends_heads_in_doubt);
}

/* The library's memory for a head grows meanwhile, and begins with what a request before has left. */
static void client_sends_many_headers(struct fixture *f) {
  enum { HEADERS = 100 };
  char request[HEADERS * 32 + 256] = "GET /things/1 HTTP/1.1\r\n" HOST "\r\n";
  size_t length = strlen(request);
  length += (size_t)snprintf(request + length, sizeof request - length,
                             "GET /things/2?wait=a%%20b HTTP/1.1\r\nCookie: a=b; c=\"d\"\r\n" HOST);
  for (int i = 0; i < HEADERS; i++)
    length += (size_t)snprintf(request + length, sizeof request - length, "X-%d:%*s%s\r\n", i,
                               i % 5, "", i % 3 ? "value" : "");
  (void)snprintf(request + length, sizeof request - length, "Idempotency-Key:\t k\r\n\r\n");
  int fd = dial(f);
  for (const char *at = request; *at; at++)
    CU_ASSERT_TRUE(put_n(fd, at, 1));
  struct reply reply;
  get(fd, &reply);
  CU_ASSERT_EQUAL(reply.status, 200);
  get(fd, &reply);
  CU_ASSERT_EQUAL(reply.status, 200);
  CU_ASSERT_STRING_EQUAL(reply.body, "{\"id\":\"2\",\"wait\":\"a b\",\"key\":\"k\"}");
  (void)close(fd);
}
static void head_of_many_headers_in_pieces_is_read(void) {
  with_server(client_sends_many_headers);
}

static void client_sends_fat_headers(struct fixture *f) {
  char request[17500] = "GET /echo HTTP/1.1\r\n" HOST "X: ";
  memset(request + strlen(request), 'x', 17000);
  strcat(request, "\r\n\r\n");
  expect_close(f, request, 431);
  struct reply reply;
  ask(f, request, &reply);
  CU_ASSERT_TRUE(has(reply.body, "\"limit\":{\"name\":\"headers\",\"value\":16384}"));
}
static void headers_over_the_limit_are_refused(void) {
  with_server(client_sends_fat_headers);
}

static void client_sends_headers_at_the_limit(struct fixture *f) {
  char request[18000] = "POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\nX: ";
  struct reply reply;
  memset(request + strlen(request), 'x', 16200);
  strcat(request, "\r\n\r\n{}");
  int fd = dial(f);
  put(fd, request);
  get(fd, &reply);
  CU_ASSERT_EQUAL(reply.status, 200);
  (void)close(fd);
}
static void headers_at_the_limit_leave_room_for_the_rest(void) {
  with_server(client_sends_headers_at_the_limit);
}

/* What libmicrohttpd does not hand on. */
static const struct {
  const char *request, *code;
  int status;
} unreadable[] = {
    {"GET /echo\r\n\r\n", "bad_request", 400},
    {"GET  HTTP/1.1\r\n" HOST "\r\n", "bad_request", 400},
    {"GET /echo HTTP/1\r\n" HOST "\r\n", "bad_request", 400},
    {"GET /echo FTP/1.1\r\n" HOST "\r\n", "bad_request", 400},
    {"GET /echo HTTP/0.9\r\n" HOST "\r\n", "http_version", 505},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http_version", 505},
    {"GET /echo HTTP/1.1\r\n" HOST "Nonsense\r\n\r\n", "bad_request", 400},
    {"POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: -2\r\n\r\n{}", "bad_request", 400},
    {"POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: two\r\n\r\n{}", "bad_request", 400},
    {"POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length:\r\n\r\n{}", "bad_request", 400},
    {"POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 99999999999999999999999\r\n\r\n{}",
     "too_large", 413},
    {"POST /echo HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
     "bad_request", 400},
    {"POST /echo HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\n2\r\n{}{}\r\n0\r\n\r\n",
     "bad_request", 400},
    {"POST /echo HTTP/1.1\r\n" HOST JSON
     "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}\r\n0\r\n\r\n",
     "too_large", 413},
    {"POST /echo HTTP/1.1\r\n" HOST JSON
     "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nNonsense\r\n\r\n",
     "bad_request", 400},
};

static void client_cannot_be_read(struct fixture *f) {
  for (size_t i = 0; i < sizeof unreadable / sizeof unreadable[0]; i++) {
    expect_problem(f, unreadable[i].request, unreadable[i].status, unreadable[i].code);
    expect_close(f, unreadable[i].request, unreadable[i].status);
  }
  expect_problem(f, "GET /nowhere HTTP/1.1\r\n" HOST "\r\n", 404, "not_found"); /* still there */
}
static void request_that_cannot_be_read_is_told_so(void) {
  with_server(client_cannot_be_read);
}

/* More than there is memory for, all of it sent: no reset comes before the answer. */
static void client_sends_far_too_much(struct fixture *f) {
  enum { MUCH = 1 << 20 };
  char *request = malloc(MUCH + 64);
  CU_ASSERT_PTR_NOT_NULL_FATAL(request);
  strcpy(request, "GET /");
  memset(request + 5, 'x', MUCH);
  strcpy(request + 5 + MUCH, " HTTP/1.1\r\n" HOST "\r\n");
  expect_problem(f, request, 414, "uri_too_long");
  strcpy(request, "GET /echo HTTP/1.1\r\n" HOST "X: ");
  memset(request + strlen(request), 'x', MUCH);
  strcpy(request + MUCH, "\r\n\r\n");
  expect_problem(f, request, 431, "headers_too_large");
  strcpy(request, "GET /echo?");
  for (size_t i = 0; i < 5000; i++)
    strcat(request + 2 * i, "a&");
  strcat(request, " HTTP/1.1\r\n" HOST "\r\n");
  expect_problem(f, request, 431, "headers_too_large");
  free(request);
}
static void first_line_and_headers_without_end_are_told_so(void) {
  with_server(client_sends_far_too_much);
}

static void client_sends_noise(struct fixture *f) {
  static const char *const noise[] = {"\x16\x03\x01\x02 hello\r\n\r\n", "\r\n\r\n\r\n",
                                      "GET\r\n\r\n"};
  for (size_t i = 0; i < sizeof noise / sizeof noise[0]; i++) {
    int fd = dial(f);
    put(fd, noise[i]);
    (void)shutdown(fd, SHUT_WR);
    CU_ASSERT_TRUE(is_closed(fd));
    (void)close(fd);
  }
  expect_problem(f, "GET /nowhere HTTP/1.1\r\n" HOST "\r\n", 404, "not_found"); /* still there */
}
static void noise_is_closed_and_harms_nobody(void) {
  with_idle_limit(client_sends_noise, 1);
}

static void client_half_closes(struct fixture *f) {
  int fd = dial(f);
  struct reply reply;
  put(fd, "POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\n\r\n{}");
  (void)shutdown(fd, SHUT_WR);
  get(fd, &reply);
  CU_ASSERT_EQUAL(reply.status, 200);
  (void)close(fd);
  fd = dial(f);
  put(fd, "POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 20\r\n\r\n{}");
  (void)shutdown(fd, SHUT_WR);
  CU_ASSERT_TRUE(is_closed(fd));
  (void)close(fd);
}
static void half_closed_after_the_request_is_answered(void) {
  with_idle_limit(client_half_closes, 1);
}

/* ---- bodies over the limit --------------------------------------------------------------------
 */

static void client_announces_much(struct fixture *f) {
  /* Not a byte of the body is sent, and the answer is there. */
  expect_close(f, "POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 2001\r\n\r\n", 413);
  expect_close(f,
               "POST /echo HTTP/1.1\r\n" HOST JSON
               "Expect: 100-continue\r\nContent-Length: 2001\r\n\r\n",
               413);
}
static void body_announced_over_the_limit_is_413_at_once(void) {
  with_server(client_announces_much);
}

static void client_sends_much(struct fixture *f) {
  enum { LENGTH = 1 << 20 };
  char head[256];
  (void)snprintf(head, sizeof head,
                 "POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: %d\r\n\r\n", LENGTH);
  char *body = calloc(1, LENGTH);
  CU_ASSERT_PTR_NOT_NULL_FATAL(body);
  int fd = dial(f);
  put(fd, head);
  CU_ASSERT_TRUE(put_n(fd, body, LENGTH)); /* no reset while we send */
  struct reply reply;
  get(fd, &reply);
  CU_ASSERT_EQUAL(reply.status, 413);
  CU_ASSERT_TRUE(is_closed(fd));
  (void)close(fd);
  free(body);
}
static void body_sent_over_the_limit_still_gets_its_413(void) {
  with_server(client_sends_much);
}

#define CHUNK_1000 "3e8\r\n%01000d\r\n"

/* All of it is sent before the answer is read: no reset comes in between. */
static void send_in_chunks(const struct fixture *f, const char *path, unsigned thousands,
                           const char *rest, struct reply *reply) {
  char text[1200];
  int fd = dial(f);
  (void)snprintf(text, sizeof text,
                 "POST %s HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\n", path);
  put(fd, text);
  (void)snprintf(text, sizeof text, CHUNK_1000, 0);
  for (unsigned i = 0; i < thousands; i++)
    put(fd, text);
  put(fd, rest);
  get(fd, reply);
  if (reply->status == 413) CU_ASSERT_TRUE(is_closed(fd));
  (void)close(fd);
}

static void client_sends_many_chunks(struct fixture *f) {
  static const struct {
    const char *path;
    unsigned thousands;
    const char *rest;
    int status;
  } bodies[] = {
      {"/echo", 2, "0\r\n\r\n", 200},    {"/echo", 2, "1\r\n0\r\n0\r\n\r\n", 413},
      {"/echo", 2, "1\r\n0\r\n", 413}, /* its end need not come */
      {"/echo", 5, "0\r\n\r\n", 413},    {"/echo", 128, "0\r\n\r\n", 413},
      {"/nowhere", 2, "0\r\n\r\n", 404}, {"/nowhere", 2, "1\r\n0\r\n0\r\n\r\n", 413},
  };
  for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
    struct reply reply;
    send_in_chunks(f, bodies[i].path, bodies[i].thousands, bodies[i].rest, &reply);
    CU_ASSERT_EQUAL(reply.status, bodies[i].status);
    if (bodies[i].status != 413) continue;
    CU_ASSERT_TRUE(has(reply.head, "Content-Type: application/problem+json\r\n"));
    CU_ASSERT_TRUE(has(reply.head, "Connection: close\r\n"));
    CU_ASSERT_TRUE(has(reply.body, "\"code\":\"too_large\""));
    CU_ASSERT_TRUE(has(reply.body, "\"limit\":{\"name\":\"body\",\"value\":2000}"));
  }
}
static void body_in_chunks_over_the_limit_is_413_and_close(void) {
  with_server(client_sends_many_chunks);
}

static void client_sends_chunks_without_end(struct fixture *f) {
  char chunk[1200];
  (void)snprintf(chunk, sizeof chunk, CHUNK_1000, 0);
  int fd = dial(f);
  put(fd, "POST /echo HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 3; i++)
    put(fd, chunk);
  struct reply reply;
  get(fd, &reply);
  CU_ASSERT_EQUAL(reply.status, 413);
  while (put_n(fd, chunk, strlen(chunk)))
    ; /* ends, because the server cuts it */
  CU_ASSERT_TRUE(errno == EPIPE || errno == ECONNRESET);
  (void)close(fd);
}
static void body_in_chunks_without_end_is_cut(void) {
  with_server(client_sends_chunks_without_end);
}

static void client_sends_the_limit(struct fixture *f) {
  char request[BODY_MAX + 256];
  (void)snprintf(request, sizeof request,
                 "POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: 2000\r\n\r\n%02000d", 0);
  struct reply reply;
  ask(f, request, &reply);
  CU_ASSERT_EQUAL(reply.status, 200);
  CU_ASSERT_TRUE(has(reply.body, "\"bytes\":2000"));
}
static void body_of_just_the_limit_is_taken(void) {
  with_server(client_sends_the_limit);
}

/* ---- answers that come later ------------------------------------------------------------------
 */

static void await_reached(struct fixture *f, unsigned count) {
  while (atomic_load(&f->reached) < count)
    (void)sched_yield();
}

static void client_leaves(struct fixture *f) {
  int fd = dial(f);
  put(fd, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
  await_reached(f, 1);
  const struct linger reset = {.l_onoff = 1};
  (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  (void)close(fd);
  loop_wakeup_send(f->release);
  expect_problem(f, "GET /nowhere HTTP/1.1\r\n" HOST "\r\n", 404, "not_found"); /* still there */
}
static void client_gone_before_the_answer_is_harmless(void) {
  with_server(client_leaves);
}

static void client_is_a_crowd(struct fixture *f) {
  static int fds[CROWD];
  for (int i = 0; i < CROWD; i++) {
    fds[i] = dial(f);
    put(fds[i], "GET /hold HTTP/1.1\r\n" HOST "\r\n");
  }
  for (int i = 0; i < CROWD; i++) {
    struct reply reply;
    get(fds[i], &reply);
    CU_ASSERT_EQUAL(reply.status, 200);
    CU_ASSERT_STRING_EQUAL(reply.body, "\"late\"");
    (void)close(fds[i]);
  }
}
static void crowd_held_together_is_answered(void) {
  struct fixture f;
  setup(&f, client_is_a_crowd, 0);
  f.held_wanted = CROWD;
  run_client(&f);
  teardown(&f);
}

static void client_waits_long(struct fixture *f) {
  struct reply reply;
  ask(f, "GET /slow HTTP/1.1\r\n" HOST "\r\n", &reply);
  CU_ASSERT_STRING_EQUAL(reply.body, "\"late\"");
}
static void answer_later_than_the_idle_time_arrives(void) {
  with_idle_limit(client_waits_long, 1);
}

static void client_is_held(struct fixture *f) {
  /* Ends the loop while the request is unanswered; the answer is read after http_server_free(). */
  int fd = dial(f);
  put(fd, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
  await_reached(f, 1);
  f->fd = fd;
}
static void request_unanswered_at_the_end_gets_503(void) {
  struct fixture f;
  setup(&f, client_is_held, 0);
  run_client(&f);
  CU_ASSERT_EQUAL(http_server_pending(f.server), 1);
  int fd = f.fd;
  teardown(&f);
  struct reply reply;
  get(fd, &reply);
  CU_ASSERT_EQUAL(reply.status, 503);
  CU_ASSERT_TRUE(has(reply.body, "\"code\":\"reply_lost\""));
  CU_ASSERT_TRUE(is_closed(fd));
  (void)close(fd);
}

static void quiesce_and_release(void *data) {
  struct fixture *f = data;
  http_server_quiesce(f->server);
  release_all(f);
}
static void client_outlasts_listening(struct fixture *f) {
  int fd = dial(f);
  put(fd, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
  await_reached(f, 1);
  loop_wakeup_send(f->release);
  struct reply reply;
  get(fd, &reply);
  CU_ASSERT_STRING_EQUAL(reply.body, "\"late\"");
  CU_ASSERT_TRUE(has(reply.head, "Connection: close"));
  CU_ASSERT_TRUE(is_closed(fd));
  (void)close(fd);
  fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons(f->port),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  CU_ASSERT_TRUE(connect(fd, (const void *)&address, sizeof address) != 0);
  (void)close(fd);
}
static void quiesced_server_ends_what_it_serves(void) {
  struct fixture f;
  setup(&f, client_outlasts_listening, 0);
  loop_wakeup_free(f.release);
  f.release = loop_wakeup_new(f.loop, quiesce_and_release, &f);
  run_client(&f);
  teardown(&f);
}

/* Who reads on must show a token again. */
static void change_tokens(void *data) {
  struct fixture *f = data;
  http_server_set_tokens(f->server, NULL);
}
static void client_reads_a_stream(struct fixture *f) {
  static const char chunk[] = "5\r\nfirst\r\n";
  char text[sizeof chunk] = "";
  int fd = dial(f);
  put(fd, "GET /stream HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
  struct reply reply;
  get(fd, &reply);
  CU_ASSERT_EQUAL(reply.status, 200);
  CU_ASSERT_EQUAL(recv(fd, text, sizeof chunk - 1, MSG_WAITALL), sizeof chunk - 1);
  CU_ASSERT_STRING_EQUAL(text, chunk);
  CU_ASSERT_EQUAL(atomic_load(&f->reached), 0);
  loop_wakeup_send(f->release);
  CU_ASSERT_TRUE(is_closed(fd));
  (void)close(fd);
}
static void stream_ends_when_the_tokens_change(void) {
  struct fixture f;
  setup(&f, client_reads_a_stream, 0);
  loop_wakeup_free(f.release);
  f.release = loop_wakeup_new(f.loop, change_tokens, &f);
  run_client(&f);
  CU_ASSERT_EQUAL(atomic_load(&f.reached), 1);
  CU_ASSERT_EQUAL(f.silent, 0);
  teardown(&f);
}

/* ---- slow clients -----------------------------------------------------------------------------
 */

static void client_is_silent(struct fixture *f) {
  int fd = dial(f);
  put(fd, "GET /echo HTTP/1.1\r\nHost");
  CU_ASSERT_TRUE(is_closed(fd));
  (void)close(fd);
}
static void client_silent_in_a_request_is_closed(void) {
  with_idle_limit(client_is_silent, 1);
}

static void client_takes_nothing(struct fixture *f) {
  int fd = dial(f);
  put(fd, "GET /flood HTTP/1.1\r\n" HOST "\r\n");
  await_reached(f, 1);
  (void)close(fd);
}
static void client_that_takes_nothing_of_a_stream_is_closed(void) {
  struct fixture f;
  setup(&f, client_takes_nothing, 1);
  run_client(&f);
  CU_ASSERT_EQUAL(f.silent, 1);
  teardown(&f);
}

static void client_leaves_a_stream(struct fixture *f) {
  int fd = dial(f);
  put(fd, "GET /flood HTTP/1.1\r\n" HOST "\r\n");
  struct reply reply;
  get(fd, &reply);
  CU_ASSERT_EQUAL(reply.status, 200);
  (void)close(fd); /* with bytes unread: a reset */
  await_reached(f, 1);
}
static void client_that_leaves_a_stream_is_not_silent(void) {
  struct fixture f;
  setup(&f, client_leaves_a_stream, 0);
  run_client(&f);
  CU_ASSERT_EQUAL(f.silent, 0);
  teardown(&f);
}

static void client_drips(struct fixture *f) {
  int fd = dial(f);
  put(fd, "GET /echo HTTP/1.1\r\n" HOST "X: ");
  struct pollfd closed = {.fd = fd, .events = POLLIN};
  unsigned drops = 0;
  while (poll(&closed, 1, 200) == 0 && ++drops < PATIENCE_S * 5)
    (void)put_n(fd, "x", 1);
  CU_ASSERT_TRUE(drops < PATIENCE_S * 5);
  (void)close(fd);
}
static void client_dripping_a_request_is_closed(void) {
  with_idle_limit(client_drips, 1);
}

/* ---- start ------------------------------------------------------------------------------------
 */

static void start_on_a_taken_port_names_it(void) {
  struct fixture f;
  setup(&f, NULL, 0);
  struct http_server *second;
  const struct http_server_options options = {.listen_host = "127.0.0.1", .listen_port = f.port};
  struct error err = {.code = ERR_OK};
  CU_ASSERT_EQUAL(http_server_start(&second, f.loop, &options, routes, 1, NULL, &err), ERR_IO);
  char expected[128];
  (void)snprintf(expected, sizeof expected,
                 "cannot listen on 127.0.0.1 port %u: address already in use", f.port);
  CU_ASSERT_STRING_EQUAL(err.text, expected);
  CU_ASSERT_PTR_NULL(second);
  teardown(&f);
}

static void start_on_no_address_is_refused(void) {
  struct loop *loop = loop_new();
  struct http_server *server;
  const struct http_server_options options = {.listen_host = "example.com"};
  CU_ASSERT_EQUAL(http_server_start(&server, loop, &options, routes, 1, NULL, NULL), ERR_IO);
  loop_free(loop);
}

SUITE(http_server, CASE(post_is_answered_with_its_body), CASE(post_in_chunks_is_put_together),
      CASE(post_byte_by_byte_is_put_together), CASE(head_is_served_by_get_without_body),
      CASE(head_of_a_stream_is_the_head_alone), CASE(pipelined_requests_are_answered_in_order),
      CASE(expect_continue_is_granted), CASE(captures_and_queries_are_decoded),
      CASE(headers_are_sent_and_cannot_be_split), CASE(blanks_behind_a_value_are_no_part_of_it),
      CASE(target_absolute_is_served_if_it_is_ours), CASE(problems_are_documents),
      CASE(problem_that_is_fatal_tells_no_paths), CASE(requests_at_fault_are_refused),
      CASE(method_unknown_is_405_with_allow), CASE(connection_lives_on_after_a_refusal),
      CASE(framing_in_doubt_is_400_and_close), CASE(head_with_hidden_bytes_is_400_and_close),
      CASE(head_of_many_headers_in_pieces_is_read), CASE(headers_over_the_limit_are_refused),
      CASE(headers_at_the_limit_leave_room_for_the_rest),
      CASE(request_that_cannot_be_read_is_told_so),
      CASE(first_line_and_headers_without_end_are_told_so), CASE(noise_is_closed_and_harms_nobody),
      CASE(half_closed_after_the_request_is_answered),
      CASE(body_announced_over_the_limit_is_413_at_once),
      CASE(body_sent_over_the_limit_still_gets_its_413),
      CASE(body_in_chunks_over_the_limit_is_413_and_close), CASE(body_in_chunks_without_end_is_cut),
      CASE(body_of_just_the_limit_is_taken), CASE(client_gone_before_the_answer_is_harmless),
      CASE(crowd_held_together_is_answered), CASE(answer_later_than_the_idle_time_arrives),
      CASE(request_unanswered_at_the_end_gets_503), CASE(stream_ends_when_the_tokens_change),
      CASE(quiesced_server_ends_what_it_serves), CASE(client_silent_in_a_request_is_closed),
      CASE(client_that_takes_nothing_of_a_stream_is_closed),
      CASE(client_that_leaves_a_stream_is_not_silent), CASE(client_dripping_a_request_is_closed),
      CASE(start_on_a_taken_port_names_it), CASE(start_on_no_address_is_refused))
