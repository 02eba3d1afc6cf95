/* See http_client.h. curl's multi interface with an external loop; the blocking calls are in
 * http_caller.c.
 *
 * Invariants
 *  1. A request ends in one callback, never from inside http_client_send(): curl works only in
 *     turns of the loop (socket and timer events, or the deferred first step).
 *  2. ERR_UNAVAILABLE is said only when curl never got as far as sending (its pre-request callback
 *     did not run). All else is ERR_LOST.
 *  3. Lines of an answer are handed over between curl's own work, like its end: who gets one may make
 *     requests.
 *  4. A kept connection may have been closed by the peer at the moment it is used again. curl then
 *     sends once more on a new one, if no byte of an answer had come: a POST may arrive twice.
 * Messages to agents are idempotent or carry a sequence, so that is harmless, and better than an
 * abort. Limits: the number of requests at a time is not limited here (a limit a host would let
 * commits wait behind the statements that wait for them); the callers' tables bound it.
 */
#include "common/http_client.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/http_curl.h"

enum { CONNECTIONS_KEPT_MAX = 256, HANDLES_KEPT_MAX = 256 };

struct socket_watch {
  struct http_client *client;
  struct socket_watch *previous, *next;
  struct loop_poll *poll;
  curl_socket_t fd;
};

struct request {
  struct http_transfer transfer; /* first: on_more() gets it */
  struct request *previous, *next;
  struct http_client *client;
  struct curl_slist *headers; /* owned; NULL: the client's */
  char *body;
  http_client_line_fn line; /* NULL: the answer is wanted as a whole */
  http_client_fn fn;
  void *data;
  bool fresh; /* in its client's list */
  struct request *next_fresh;
};

struct http_client {
  struct loop *loop;
  CURLM *multi;
  struct curl_slist *headers;
  struct http_identity identity; /* its token is in the headers */
  struct loop_timer *timer;
  struct request *requests; /* under way */
  struct request *fresh;    /* whose lines have come */
  struct socket_watch *watches;
  CURL *handles[HANDLES_KEPT_MAX]; /* idle ones */
  size_t handle_count;
  int64_t retry_after_s; /* of the response being told */
  bool kicked, closing;
};

/* ---- ends -------------------------------------------------------------------------------------
 */

static void handle_put(struct http_client *client, CURL *handle) {
  if (client->handle_count < HANDLES_KEPT_MAX)
    client->handles[client->handle_count++] = handle;
  else
    curl_easy_cleanup(handle);
}

static CURL *handle_get(struct http_client *client) {
  if (client->handle_count > 0) return client->handles[--client->handle_count];
  CURL *handle = curl_easy_init();
  if (!handle) abort(); /* out of memory, and a caller that waits for a callback */
  http_curl_prepare(handle, client->headers);
  http_curl_identify(handle, &client->identity);
  return handle;
}

/* `err` NULL: a whole response is there. */
static void request_end(struct request *request, int status, const struct error *err) {
  struct http_client *client = request->client;
  struct http_transfer *transfer = &request->transfer;
  if (request->previous)
    request->previous->next = request->next;
  else
    client->requests = request->next;
  if (request->next) request->next->previous = request->previous;
  (void)curl_multi_remove_handle(client->multi, transfer->handle);

  client->retry_after_s = err ? 0 : http_transfer_retry_after_s(transfer);
  if (err)
    request->fn(request->data, 0, NULL, 0, err);
  else
    request->fn(request->data, status, transfer->response, transfer->length, NULL);
  http_transfer_close(transfer);
  if (request->headers) {
    http_curl_set_headers(transfer->handle, client->headers);
    curl_slist_free_all(request->headers);
  }
  handle_put(client, transfer->handle);
  free(request->body);
  free(request);
}

static void on_more(struct http_transfer *transfer) {
  struct request *request = (struct request *)transfer;
  if (request->fresh) return;
  request->fresh = true;
  request->next_fresh = request->client->fresh;
  request->client->fresh = request;
}

static void hand_over_lines(struct request *request) {
  struct http_transfer *transfer = &request->transfer;
  if (http_transfer_status(transfer) != 200) return;
  char *at = transfer->response;
  char *end = at + transfer->length;
  for (char *newline; (newline = memchr(at, '\n', (size_t)(end - at))) != NULL; at = newline + 1) {
    *newline = '\0';
    request->line(request->data, at, (size_t)(newline - at));
  }
  http_transfer_consume(transfer, (size_t)(at - transfer->response));
}

static void hand_over_fresh(struct http_client *client) {
  while (client->fresh) {
    struct request *request = client->fresh;
    client->fresh = request->next_fresh;
    request->fresh = false;
    hand_over_lines(request);
  }
}

static void reap(struct http_client *client) {
  int left;
  for (CURLMsg *m = curl_multi_info_read(client->multi, &left); m;
       m = curl_multi_info_read(client->multi, &left)) {
    if (m->msg != CURLMSG_DONE) continue;
    struct request *request = NULL;
    (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &request);
    struct error err = {.code = ERR_OK};
    int status = 0;
    enum error_code code = http_transfer_result(&request->transfer, m->data.result, &status, &err);
    request_end(request, status, code == ERR_OK ? NULL : &err);
  }
}

/* ---- driving curl -----------------------------------------------------------------------------
 */

static void act(struct http_client *client, curl_socket_t fd, int events) {
  int running;
  (void)curl_multi_socket_action(client->multi, fd, events, &running);
  hand_over_fresh(client);
  reap(client);
}

static void on_kick(void *data) {
  struct http_client *client = data;
  client->kicked = false;
  if (client->closing)
    free(client);
  else
    act(client, CURL_SOCKET_TIMEOUT, 0);
}

static void on_timer(void *data) {
  act(data, CURL_SOCKET_TIMEOUT, 0);
}

static int on_curl_timer(CURLM *multi, long delay_ms, void *data) {
  (void)multi;
  struct http_client *client = data;
  loop_timer_stop(client->timer);
  if (delay_ms > 0) loop_timer_start(client->timer, (uint64_t)delay_ms);
  if (delay_ms == 0 && !client->kicked) {
    client->kicked = true;
    loop_defer(client->loop, on_kick, client);
  }
  return 0;
}

static void on_socket(void *data, bool readable, bool writable) {
  struct socket_watch *watch = data;
  act(watch->client, watch->fd,
      (readable ? CURL_CSELECT_IN : 0) | (writable ? CURL_CSELECT_OUT : 0));
}

static void watch_remove(struct socket_watch *watch) {
  struct http_client *client = watch->client;
  if (watch->previous)
    watch->previous->next = watch->next;
  else
    client->watches = watch->next;
  if (watch->next) watch->next->previous = watch->previous;
  loop_poll_free(watch->poll);
  free(watch);
}

/* NULL when the kernel refuses: the transfer then ends at its timeout. */
static struct socket_watch *watch_add(struct http_client *client, curl_socket_t fd) {
  struct socket_watch *watch = calloc(1, sizeof *watch);
  if (!watch) return NULL;
  watch->client = client;
  watch->fd = fd;
  watch->poll = loop_poll_new(client->loop, fd, on_socket, watch);
  if (!watch->poll) {
    free(watch);
    return NULL;
  }
  watch->next = client->watches;
  if (watch->next) watch->next->previous = watch;
  client->watches = watch;
  (void)curl_multi_assign(client->multi, fd, watch);
  return watch;
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *data, void *assigned) {
  (void)easy;
  struct socket_watch *watch = assigned;
  if (what == CURL_POLL_REMOVE) {
    if (watch) watch_remove(watch);
    return 0;
  }
  if (!watch) watch = watch_add(data, fd);
  if (watch) loop_poll_set(watch->poll, what & CURL_POLL_IN, what & CURL_POLL_OUT);
  return 0;
}

/* ---- the client -------------------------------------------------------------------------------
 */

struct http_client *http_client_new(struct loop *loop) {
  http_curl_global();
  struct http_client *client = calloc(1, sizeof *client);
  if (!client) abort(); /* at start: nothing can run */
  client->loop = loop;
  client->multi = curl_multi_init();
  client->headers = http_curl_headers(NULL);
  if (!client->multi) abort();
  client->timer = loop_timer_new(loop, on_timer, client);
  (void)curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
  (void)curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
  (void)curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
  (void)curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
  (void)curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_KEPT_MAX);
  return client;
}

void http_client_identify(struct http_client *client, const struct http_identity *identity) {
  assert(!client->requests && client->handle_count == 0);
  curl_slist_free_all(client->headers);
  client->headers = http_curl_headers(identity->token);
  client->identity = *identity;
}

void http_client_free(struct http_client *client) {
  if (!client) return;
  struct error err = {.code = ERR_OK};
  error_set(&err, ERR_LOST, "stopped while waiting for an answer");
  while (client->requests)
    request_end(client->requests, 0, &err);
  while (client->handle_count > 0)
    curl_easy_cleanup(client->handles[--client->handle_count]);
  (void)curl_multi_cleanup(client->multi);
  while (client->watches)
    watch_remove(client->watches);
  loop_timer_free(client->timer);
  curl_slist_free_all(client->headers);
  client->closing = true;
  if (!client->kicked) free(client); /* else on_kick() does */
}

int64_t http_client_retry_after_s(const struct http_client *client) {
  return client->retry_after_s;
}

void http_client_send(struct http_client *client, const char *url, char *body, size_t length,
                      uint64_t timeout_ms, size_t response_bytes_max, http_client_fn fn,
                      void *data) {
  http_client_send_lines(client, url, body, length, timeout_ms, response_bytes_max, NULL, fn, data);
}

static void send_request(struct http_client *client, const char *const *headers, const char *url,
                         char *body, size_t length, uint64_t timeout_ms, size_t response_bytes_max,
                         http_client_line_fn line, http_client_fn fn, void *data);

void http_client_send_lines(struct http_client *client, const char *url, char *body, size_t length,
                            uint64_t timeout_ms, size_t response_bytes_max,
                            http_client_line_fn line, http_client_fn fn, void *data) {
  send_request(client, NULL, url, body, length, timeout_ms, response_bytes_max, line, fn, data);
}

void http_client_send_headers(struct http_client *client, const char *const *headers,
                              const char *url, char *body, size_t length, uint64_t timeout_ms,
                              size_t response_bytes_max, http_client_fn fn, void *data) {
  send_request(client, headers, url, body, length, timeout_ms, response_bytes_max, NULL, fn, data);
}

static void send_request(struct http_client *client, const char *const *headers, const char *url,
                         char *body, size_t length, uint64_t timeout_ms, size_t response_bytes_max,
                         http_client_line_fn line, http_client_fn fn, void *data) {
  struct request *request = calloc(1, sizeof *request);
  if (!request) abort(); /* out of memory, and a caller that waits for a callback */
  request->client = client;
  request->body = body;
  request->line = line;
  request->fn = fn;
  request->data = data;
  request->next = client->requests;
  if (request->next) request->next->previous = request;
  client->requests = request;

  CURL *handle = handle_get(client);
  http_transfer_init(&request->transfer, handle, response_bytes_max);
  if (line) request->transfer.on_more = on_more;
  http_transfer_target(&request->transfer, url, body, length, timeout_ms);
  if (headers && *headers) {
    request->headers = http_curl_headers_with(client->headers, headers);
    http_curl_set_headers(handle, request->headers);
  }
  (void)curl_easy_setopt(handle, CURLOPT_PRIVATE, request);
  CURLMcode added = curl_multi_add_handle(client->multi, handle);
  assert(added == CURLM_OK || added == CURLM_OUT_OF_MEMORY);
  if (added != CURLM_OK) abort();
}
