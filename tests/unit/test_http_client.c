/* common/http_client.c and common/http_caller.c against a scripted peer on a real socket: a thread
 * that accepts, reads a request, and answers as the case wants. Asserts are made on the main thread
 * only.
 */
#include "common/http_client.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/suite.h"

enum { PATIENCE_MS = 20000, TIMEOUT_MS = 10000, SHORT_MS = 200, RESPONSE_MAX = 1000 };

struct peer;
typedef void (*script)(struct peer *peer);

struct peer {
  int listener;
  char url[64];
  script run;
  pthread_t thread;
  unsigned accepted, requests; /* read after peer_close() */
  char last[4096];             /* the last request */
  const char *answer;
};

/* ---- the peer ---------------------------------------------------------------------------------
 */

/* -1: nobody came, or the listener was shut down. */
static int peer_accept(struct peer *peer) {
  int fd = accept4(peer->listener, NULL, NULL, SOCK_CLOEXEC);
  if (fd >= 0) peer->accepted++;
  return fd;
}

/* Reads one request, body included, into `last`; false at the end of the connection. */
static bool peer_read(struct peer *peer, int fd) {
  char text[sizeof peer->last] = "";
  size_t length = 0;
  while (length < sizeof text - 1) {
    ssize_t n = recv(fd, text + length, 1, 0);
    if (n <= 0) return false;
    length++;
    const char *end = strstr(text, "\r\n\r\n");
    const char *announced = end ? strcasestr(text, "\r\nContent-Length: ") : NULL;
    size_t body = announced ? strtoul(announced + 18, NULL, 10) : 0;
    if (!end || length < (size_t)(end - text) + 4 + body) continue;
    memcpy(peer->last, text, sizeof text);
    peer->requests++;
    return true;
  }
  return false;
}

static void peer_write(int fd, const char *text) {
  (void)send(fd, text, strlen(text), MSG_NOSIGNAL);
}

static void wait_for_end(int fd) {
  char byte;
  while (recv(fd, &byte, 1, 0) > 0)
    ;
}

static void *peer_thread(void *data) {
  struct peer *peer = data;
  peer->run(peer);
  return NULL;
}

static void peer_open(struct peer *peer, script run, const char *answer) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  memset(peer, 0, sizeof *peer);
  peer->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  peer->run = run;
  peer->answer = answer;
  CU_ASSERT_FATAL(bind(peer->listener, (void *)&address, size) == 0);
  CU_ASSERT_FATAL(listen(peer->listener, 16) == 0);
  CU_ASSERT_FATAL(getsockname(peer->listener, (void *)&address, &size) == 0);
  (void)snprintf(peer->url, sizeof peer->url, "http://127.0.0.1:%u/v1/run",
                 ntohs(address.sin_port));
  CU_ASSERT_FATAL(pthread_create(&peer->thread, NULL, peer_thread, peer) == 0);
}

static void peer_close(struct peer *peer) {
  (void)shutdown(peer->listener, SHUT_RDWR);
  (void)pthread_join(peer->thread, NULL);
  (void)close(peer->listener);
}

/* ---- scripts ---- */

/* Serves connections one after the other, each until its client closes it. */
static void serve(struct peer *peer) {
  for (int fd = peer_accept(peer); fd >= 0; fd = peer_accept(peer)) {
    while (peer_read(peer, fd))
      peer_write(fd, peer->answer);
    (void)close(fd);
  }
}

/* Answers and closes, at each connection. */
static void serve_and_close(struct peer *peer) {
  for (int fd = peer_accept(peer); fd >= 0; fd = peer_accept(peer)) {
    if (peer_read(peer, fd)) peer_write(fd, peer->answer);
    (void)close(fd);
  }
}

/* Reads the request and says nothing until the client has had enough. */
static void keep_silent(struct peer *peer) {
  int fd = peer_accept(peer);
  if (fd < 0) return;
  if (peer_read(peer, fd)) wait_for_end(fd);
  (void)close(fd);
}

/* One whole answer; the next request on the same connection is read, and the connection dropped. */
static void answer_once_then_drop(struct peer *peer) {
  int fd = peer_accept(peer);
  if (fd < 0) return;
  if (peer_read(peer, fd)) peer_write(fd, peer->answer);
  (void)peer_read(peer, fd);
  (void)close(fd);
  serve(peer);
}

#define OK_JSON "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

/* ---- the caller on the loop -------------------------------------------------------------------
 */

struct call {
  struct loop *loop;
  struct http_client *client;
  int status;
  char body[256];
  struct error err;
  unsigned calls;
};

static void on_response(void *data, int status, const char *body, size_t length,
                        const struct error *err) {
  struct call *call = data;
  call->calls++;
  call->status = status;
  call->body[0] = '\0';
  error_clear(&call->err);
  if (err)
    call->err = *err;
  else
    (void)snprintf(call->body, sizeof call->body, "%.*s", (int)length, body);
  loop_stop(call->loop);
}

static void call_open(struct call *call) {
  memset(call, 0, sizeof *call);
  call->loop = loop_new();
  call->client = http_client_new(call->loop);
}

static void call_close(struct call *call) {
  http_client_free(call->client);
  loop_free(call->loop);
}

static void call_make(struct call *call, const char *url, const char *body, uint64_t timeout_ms) {
  unsigned before = call->calls;
  char *copy = body ? strdup(body) : NULL;
  http_client_send(call->client, url, copy, body ? strlen(body) : 0, timeout_ms, RESPONSE_MAX,
                   on_response, call);
  CU_ASSERT_EQUAL(call->calls, before); /* never from inside */
  loop_run(call->loop);
  CU_ASSERT_EQUAL(call->calls, before + 1);
}

static void expect_error(script run, const char *answer, uint64_t timeout_ms,
                         enum error_code code) {
  struct peer peer;
  struct call call;
  peer_open(&peer, run, answer);
  call_open(&call);
  call_make(&call, peer.url, "{}", timeout_ms);
  CU_ASSERT_EQUAL(call.err.code, code);
  CU_ASSERT_EQUAL(call.status, 0);
  CU_ASSERT_STRING_NOT_EQUAL(call.err.text, "");
  call_close(&call);
  peer_close(&peer);
}

/* ---- answers ----------------------------------------------------------------------------------
 */

static void post_whole_is_answered(void) {
  struct peer peer;
  struct call call;
  peer_open(&peer, serve, "HTTP/1.1 409 Conflict\r\nContent-Length: 7\r\n\r\n{\"a\":1}");
  call_open(&call);
  call_make(&call, peer.url, "{\"gid\":\"x\"}", TIMEOUT_MS);
  CU_ASSERT_EQUAL(call.err.code, ERR_OK);
  CU_ASSERT_EQUAL(call.status, 409);
  CU_ASSERT_STRING_EQUAL(call.body, "{\"a\":1}");
  call_close(&call);
  peer_close(&peer);
  CU_ASSERT_EQUAL(strncmp(peer.last, "POST /v1/run HTTP/1.1\r\n", 23), 0);
  CU_ASSERT_PTR_NOT_NULL(strstr(peer.last, "\r\nContent-Type: application/json\r\n"));
  CU_ASSERT_PTR_NOT_NULL(strstr(peer.last, "\r\n\r\n{\"gid\":\"x\"}"));
  CU_ASSERT_PTR_NULL(strstr(peer.last, "Expect"));
}

static void call_make_with(struct call *call, const char *url, const char *const *headers) {
  http_client_send_headers(call->client, headers, url, strdup("{}"), 2, TIMEOUT_MS, RESPONSE_MAX,
                           on_response, call);
  loop_run(call->loop);
}

/* The second one is on the same handle and the same connection. */
static void headers_of_one_request_are_not_the_next_ones(void) {
  static const char *const headers[] = {"X-One: 1", "X-Two: 2", NULL};
  struct peer peer;
  struct call call;
  peer_open(&peer, serve, OK_JSON);
  call_open(&call);
  call_make_with(&call, peer.url, headers);
  CU_ASSERT_EQUAL(call.status, 200);
  CU_ASSERT_PTR_NOT_NULL(strstr(peer.last, "\r\nX-One: 1\r\n"));
  CU_ASSERT_PTR_NOT_NULL(strstr(peer.last, "\r\nX-Two: 2\r\n"));
  CU_ASSERT_PTR_NOT_NULL(strstr(peer.last, "\r\nContent-Type: application/json\r\n"));
  call_make(&call, peer.url, "{}", TIMEOUT_MS);
  CU_ASSERT_EQUAL(call.status, 200);
  CU_ASSERT_PTR_NULL(strstr(peer.last, "X-One"));
  CU_ASSERT_PTR_NOT_NULL(strstr(peer.last, "\r\nContent-Type: application/json\r\n"));
  call_close(&call);
  peer_close(&peer);
  CU_ASSERT_EQUAL(peer.accepted, 1);
}

static void get_without_body_is_answered(void) {
  struct peer peer;
  struct call call;
  peer_open(&peer, serve, "HTTP/1.1 204 No Content\r\n\r\n");
  call_open(&call);
  call_make(&call, peer.url, NULL, TIMEOUT_MS);
  CU_ASSERT_EQUAL(call.status, 204);
  CU_ASSERT_STRING_EQUAL(call.body, "");
  call_close(&call);
  peer_close(&peer);
  CU_ASSERT_EQUAL(strncmp(peer.last, "GET ", 4), 0);
}

static void connection_is_used_again(void) {
  struct peer peer;
  struct call call;
  peer_open(&peer, serve, OK_JSON);
  call_open(&call);
  for (int i = 0; i < 5; i++) {
    call_make(&call, peer.url, i % 2 ? "{}" : NULL, TIMEOUT_MS);
    CU_ASSERT_EQUAL(call.status, 200);
  }
  call_close(&call);
  peer_close(&peer);
  CU_ASSERT_EQUAL(peer.accepted, 1);
  CU_ASSERT_EQUAL(peer.requests, 5);
}

static void redirect_is_not_followed(void) {
  struct peer peer;
  struct call call;
  peer_open(&peer, serve,
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");
  call_open(&call);
  call_make(&call, peer.url, "{}", TIMEOUT_MS);
  CU_ASSERT_EQUAL(call.status, 302);
  call_close(&call);
  peer_close(&peer);
}

/* ---- certain that nothing was sent ------------------------------------------------------------
 */

/* A port that was ours a moment ago, and at which nobody listens. */
static void dead_url(char url[64]) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CU_ASSERT_FATAL(bind(fd, (void *)&address, size) == 0);
  CU_ASSERT_FATAL(getsockname(fd, (void *)&address, &size) == 0);
  (void)close(fd);
  (void)snprintf(url, 64, "http://127.0.0.1:%u/", ntohs(address.sin_port));
}

static void dead_port_is_unavailable(void) {
  struct call call;
  char url[64];
  dead_url(url);
  call_open(&call);
  call_make(&call, url, "{}", TIMEOUT_MS);
  CU_ASSERT_EQUAL(call.err.code, ERR_UNAVAILABLE);
  call_make(&call, url, NULL, TIMEOUT_MS);
  CU_ASSERT_EQUAL(call.err.code, ERR_UNAVAILABLE);
  call_close(&call);
}

static void url_that_is_none_is_unavailable(void) {
  static const char *const urls[] = {
      "http://", "ftp://127.0.0.1/",        "file:///etc/passwd",
      "",        "http://127.0.0.1:99999/", "gopher://127.0.0.1:1/x"};
  struct call call;
  call_open(&call);
  for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
    call_make(&call, urls[i], "{}", TIMEOUT_MS);
    CU_ASSERT_EQUAL(call.err.code, ERR_UNAVAILABLE);
  }
  call_close(&call);
}

/* A listener whose queue is full: the kernel drops what would connect. */
static void connecting_in_vain_is_unavailable(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CU_ASSERT_FATAL(bind(listener, (void *)&address, size) == 0 && listen(listener, 0) == 0);
  CU_ASSERT_FATAL(getsockname(listener, (void *)&address, &size) == 0);
  int fillers[8];
  for (size_t i = 0; i < 8; i++) {
    fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    (void)connect(fillers[i], (void *)&address, size);
  }
  char url[64];
  (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/", ntohs(address.sin_port));
  struct call call;
  call_open(&call);
  call_make(&call, url, "{}", SHORT_MS);
  CU_ASSERT_EQUAL(call.err.code, ERR_UNAVAILABLE);
  call_close(&call);
  for (size_t i = 0; i < 8; i++)
    (void)close(fillers[i]);
  (void)close(listener);
}

/* ---- it may have happened ---------------------------------------------------------------------
 */

static void no_answer_in_time_is_lost(void) {
  expect_error(keep_silent, NULL, SHORT_MS, ERR_LOST);
}

static void close_without_answer_is_lost(void) {
  expect_error(serve_and_close, "", TIMEOUT_MS, ERR_LOST);
}

static void answer_cut_short_is_lost(void) {
  expect_error(serve_and_close,
               "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"vote\":", TIMEOUT_MS, ERR_LOST);
  expect_error(serve_and_close, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"v",
               TIMEOUT_MS, ERR_LOST);
}

/* At each of its bytes: none of it is taken for an answer without a body. */
static void answer_cut_short_in_its_head_is_lost(void) {
  char cut[sizeof OK_JSON];
  const char *body = strstr(OK_JSON, "\r\n\r\n");
  CU_ASSERT_PTR_NOT_NULL_FATAL(body);
  for (size_t length = 0; length < (size_t)(body - OK_JSON) + 4; length++) {
    struct peer peer;
    memcpy(cut, OK_JSON, length);
    cut[length] = '\0';
    peer_open(&peer, serve_and_close, cut);
    struct http_caller *caller = http_caller_new();
    int status = -1;
    char *response = NULL;
    CU_ASSERT_EQUAL(http_caller_call(caller, "GET", peer.url, NULL, TIMEOUT_MS, &status, &response,
                                     NULL, NULL),
                    ERR_LOST);
    CU_ASSERT_EQUAL(status, 0);
    free(response);
    http_caller_free(caller);
    peer_close(&peer);
  }
}

static void answer_stalled_midway_is_lost(void) {
  expect_error(serve, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"vote\":", SHORT_MS,
               ERR_LOST);
}

static void answer_that_is_not_http_is_lost(void) {
  expect_error(serve_and_close, "SSH-2.0-OpenSSH_9.2\r\n", TIMEOUT_MS, ERR_LOST);
}

static void answer_over_the_limit_is_lost(void) {
  char answer[RESPONSE_MAX + 256];
  (void)snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n%01001d",
                 0);
  expect_error(serve_and_close, answer, TIMEOUT_MS, ERR_LOST);
}

static void client_freed_ends_what_is_under_way(void) {
  struct peer peer;
  struct call call;
  peer_open(&peer, keep_silent, NULL);
  call_open(&call);
  for (int i = 0; i < 3; i++)
    http_client_send(call.client, peer.url, strdup("{}"), 2, TIMEOUT_MS, RESPONSE_MAX, on_response,
                     &call);
  http_client_free(call.client);
  CU_ASSERT_EQUAL(call.calls, 3);
  CU_ASSERT_EQUAL(call.err.code, ERR_LOST);
  loop_stop(call.loop);
  loop_run(call.loop);
  loop_free(call.loop);
  peer_close(&peer);
}

/* ---- line by line -----------------------------------------------------------------------------
 */

struct lines {
  struct call call;
  char text[256]; /* each line behind a '|' */
};

static void on_line(void *data, char *line, size_t length) {
  struct lines *lines = data;
  size_t before = strlen(lines->text);
  CU_ASSERT_EQUAL(strlen(line), length);
  CU_ASSERT_EQUAL(lines->call.calls, 0);
  (void)snprintf(lines->text + before, sizeof lines->text - before, "|%s", line);
}

static void expect_lines(script run, const char *answer, const char *expected, int status,
                         enum error_code code) {
  struct peer peer;
  struct lines lines = {0};
  peer_open(&peer, run, answer);
  call_open(&lines.call);
  http_client_send_lines(lines.call.client, peer.url, strdup("{}"), 2, TIMEOUT_MS, RESPONSE_MAX,
                         on_line, on_response, &lines.call);
  loop_run(lines.call.loop);
  CU_ASSERT_EQUAL(lines.call.calls, 1);
  CU_ASSERT_EQUAL(lines.call.err.code, code);
  CU_ASSERT_EQUAL(lines.call.status, status);
  CU_ASSERT_STRING_EQUAL(lines.text, expected);
  call_close(&lines.call);
  peer_close(&peer);
}

#define CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

static void lines_of_a_whole_answer_are_handed_over(void) {
  expect_lines(serve, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n1\n22\n\n", "|1|22|", 200,
               ERR_OK);
}

static void lines_are_put_together_from_pieces(void) {
  expect_lines(serve, CHUNKED "1\r\n1\r\n3\r\n1\n2\r\n2\r\n2\n\r\n0\r\n\r\n", "|11|22", 200,
               ERR_OK);
}

/* The first line stands, though what follows is lost. */
static void lines_before_a_cut_count_and_a_part_does_not(void) {
  expect_lines(serve_and_close, CHUNKED "4\r\n1\n22\r\n", "|1", 0, ERR_LOST);
}

static void line_without_its_end_is_left_over(void) {
  expect_lines(serve, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n1\n22", "|1", 200, ERR_OK);
}

static void lines_of_a_refusal_are_none(void) {
  expect_lines(serve, "HTTP/1.1 409 Conflict\r\nContent-Length: 4\r\n\r\n1\n2\n", "", 409, ERR_OK);
}

/* ---- kept connections found dead --------------------------------------------------------------
 */

static void kept_connection_dropped_is_sent_again(void) {
  struct peer peer;
  struct call call;
  peer_open(&peer, answer_once_then_drop, OK_JSON);
  call_open(&call);
  call_make(&call, peer.url, "{}", TIMEOUT_MS);
  CU_ASSERT_EQUAL(call.status, 200);
  call_make(&call, peer.url, "{}", TIMEOUT_MS);
  CU_ASSERT_EQUAL(call.status, 200);
  call_close(&call);
  peer_close(&peer);
  CU_ASSERT_EQUAL(peer.requests, 3); /* the second one twice: see the client's third invariant */
}

/* It was read once; when the repetition finds nobody, that must not look like "never sent". */
static void drop_and_stop(struct peer *peer) {
  int fd = peer_accept(peer);
  if (fd < 0) return;
  if (peer_read(peer, fd)) peer_write(fd, peer->answer);
  (void)peer_read(peer, fd);
  (void)shutdown(peer->listener, SHUT_RDWR); /* nobody can connect from now on */
  (void)close(fd);
}
static void kept_connection_dropped_by_a_dying_peer_is_lost(void) {
  struct peer peer;
  struct call call;
  peer_open(&peer, drop_and_stop, OK_JSON);
  call_open(&call);
  call_make(&call, peer.url, "{}", TIMEOUT_MS);
  CU_ASSERT_EQUAL(call.status, 200);
  call_make(&call, peer.url, "{}", TIMEOUT_MS);
  CU_ASSERT_EQUAL(call.err.code, ERR_LOST);
  call_close(&call);
  peer_close(&peer);
  CU_ASSERT_EQUAL(peer.requests, 2);
}

/* ---- blocking calls ---------------------------------------------------------------------------
 */

static void blocking_call_returns_the_response(void) {
  struct peer peer;
  peer_open(&peer, serve, OK_JSON);
  int status;
  char *response;
  size_t length;
  CU_ASSERT_EQUAL(http_call("POST", peer.url, "{\"a\":1}", TIMEOUT_MS, &status, &response, &length,
                            NULL),
                  ERR_OK);
  CU_ASSERT_EQUAL(status, 200);
  CU_ASSERT_STRING_EQUAL(response, "{}");
  CU_ASSERT_EQUAL(length, 2);
  free(response);
  CU_ASSERT_EQUAL(http_call("GET", peer.url, NULL, TIMEOUT_MS, &status, &response, NULL, NULL),
                  ERR_OK);
  free(response);
  CU_ASSERT_EQUAL(http_call("POST", peer.url, NULL, TIMEOUT_MS, &status, &response, NULL, NULL),
                  ERR_OK);
  free(response);
  peer_close(&peer);
  CU_ASSERT_PTR_NOT_NULL(strstr(peer.last, "Content-Length: 0"));
}

static void blocking_call_to_a_dead_port_is_unavailable(void) {
  char url[64];
  int status;
  char *response;
  struct error err = {.code = ERR_OK};
  dead_url(url);
  CU_ASSERT_EQUAL(http_call("GET", url, NULL, TIMEOUT_MS, &status, &response, NULL, &err),
                  ERR_UNAVAILABLE);
  CU_ASSERT_PTR_NULL(response);
  CU_ASSERT_STRING_NOT_EQUAL(err.text, "");
}

static void caller_keeps_its_connection(void) {
  struct peer peer;
  peer_open(&peer, serve, OK_JSON);
  struct http_caller *caller = http_caller_new();
  for (int i = 0; i < 3; i++) {
    int status;
    char *response;
    CU_ASSERT_EQUAL(http_caller_call(caller, "POST", peer.url, "{}", TIMEOUT_MS, &status, &response,
                                     NULL, NULL),
                    ERR_OK);
    free(response);
  }
  http_caller_free(caller);
  peer_close(&peer);
  CU_ASSERT_EQUAL(peer.accepted, 1);
}

static void caller_never_posts_twice(void) {
  struct peer peer;
  peer_open(&peer, answer_once_then_drop, OK_JSON);
  struct http_caller *caller = http_caller_new();
  int status;
  char *response;
  CU_ASSERT_EQUAL(http_caller_call(caller, "POST", peer.url, "{}", TIMEOUT_MS, &status, &response,
                                   NULL, NULL),
                  ERR_OK);
  free(response);
  CU_ASSERT_EQUAL(http_caller_call(caller, "POST", peer.url, "{}", TIMEOUT_MS, &status, &response,
                                   NULL, NULL),
                  ERR_LOST);
  http_caller_free(caller);
  peer_close(&peer);
  CU_ASSERT_EQUAL(peer.requests, 2);
}

SUITE(http_client, CASE(post_whole_is_answered), CASE(headers_of_one_request_are_not_the_next_ones),
      CASE(get_without_body_is_answered), CASE(connection_is_used_again),
      CASE(redirect_is_not_followed), CASE(dead_port_is_unavailable),
      CASE(url_that_is_none_is_unavailable), CASE(connecting_in_vain_is_unavailable),
      CASE(no_answer_in_time_is_lost), CASE(close_without_answer_is_lost),
      CASE(answer_cut_short_is_lost), CASE(answer_cut_short_in_its_head_is_lost),
      CASE(answer_stalled_midway_is_lost), CASE(answer_that_is_not_http_is_lost),
      CASE(answer_over_the_limit_is_lost), CASE(client_freed_ends_what_is_under_way),
      CASE(lines_of_a_whole_answer_are_handed_over), CASE(lines_are_put_together_from_pieces),
      CASE(lines_before_a_cut_count_and_a_part_does_not), CASE(line_without_its_end_is_left_over),
      CASE(lines_of_a_refusal_are_none), CASE(kept_connection_dropped_is_sent_again),
      CASE(kept_connection_dropped_by_a_dying_peer_is_lost),
      CASE(blocking_call_returns_the_response), CASE(blocking_call_to_a_dead_port_is_unavailable),
      CASE(caller_keeps_its_connection), CASE(caller_never_posts_twice))
