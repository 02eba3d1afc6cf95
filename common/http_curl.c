/* See http_curl.h. */
#include "common/http_curl.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  RESPONSE_FIRST_BYTES = 1000 /* of the sizes that malloc keeps at hand */,
  IDLE_SECONDS_MAX =
      20 /* less than our servers' 30, so that they seldom close what is used again */
};

static void global_init(void) {
  if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) abort();
}

void http_curl_global(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  (void)pthread_once(&once, global_init);
}

static void add_header(struct curl_slist **list, const char *line) {
  struct curl_slist *longer = curl_slist_append(*list, line);
  if (!longer) abort(); /* at start, or with a caller that waits for a callback */
  *list = longer;
}

struct curl_slist *http_curl_headers(const char *token) {
  static const char *const lines[] = {"Content-Type: application/json", "Accept: application/json",
                                      "Expect:"}; /* no waiting for "100 Continue" */
  struct curl_slist *list = NULL;
  for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
    add_header(&list, lines[i]);
  if (token) {
    char *line = NULL;
    if (asprintf(&line, "Authorization: Bearer %s", token) < 0) abort();
    add_header(&list, line);
    free(line);
  }
  return list;
}

struct curl_slist *http_curl_headers_with(const struct curl_slist *list, const char *const *lines) {
  struct curl_slist *longer = NULL;
  for (; list; list = list->next)
    add_header(&longer, list->data);
  for (; *lines; lines++)
    add_header(&longer, *lines);
  return longer;
}

void http_curl_set_headers(CURL *handle, struct curl_slist *headers) {
  (void)curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
}

/* ---- callbacks of a transfer ------------------------------------------------------------------
 */

static size_t on_received(char *data, size_t one, size_t length, void *to) {
  (void)one;
  struct http_transfer *transfer = to;
  size_t total = transfer->length + length;
  if (total > transfer->bytes_max) {
    transfer->too_large = true;
    return 0;
  }
  size_t capacity = transfer->capacity ? transfer->capacity : RESPONSE_FIRST_BYTES;
  while (capacity < total + 1)
    capacity *= 2;
  if (capacity != transfer->capacity) {
    char *response = realloc(transfer->response, capacity);
    if (!response) {
      transfer->out_of_memory = true;
      return 0;
    }
    transfer->response = response;
    transfer->capacity = capacity;
  }
  memcpy(transfer->response + transfer->length, data, length);
  transfer->length = total;
  transfer->response[total] = '\0';
  if (transfer->on_more) transfer->on_more(transfer);
  return length;
}

/* Each line of a head, and the empty one that ends it. A connection that ends within the head is no error
 * for curl: it makes an answer without a body of what has come. */
static size_t on_head_line(char *line, size_t one, size_t length, void *to) {
  (void)one;
  struct http_transfer *transfer = to;
  if (length >= 5 && memcmp(line, "HTTP/", 5) == 0) transfer->has_head = false;
  if (length > 0 && (line[0] == '\r' || line[0] == '\n')) transfer->has_head = true;
  return length;
}

/* Connected, and about to send. */
static int on_sending(void *data, char *remote, char *local, int remote_port, int local_port) {
  (void)remote;
  (void)local;
  (void)remote_port;
  (void)local_port;
  struct http_transfer *transfer = data;
  if (transfer->once && transfer->sent > 0) return CURL_PREREQFUNC_ABORT;
  transfer->sent++;
  return CURL_PREREQFUNC_OK;
}

/* ---- set-up -----------------------------------------------------------------------------------
 */

void http_curl_prepare(CURL *handle, struct curl_slist *headers) {
  (void)curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  (void)curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  (void)curl_easy_setopt(handle, CURLOPT_PROXY, "");
  (void)curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
  (void)curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
  (void)curl_easy_setopt(handle, CURLOPT_TCP_NODELAY, 1L);
  (void)curl_easy_setopt(handle, CURLOPT_MAXAGE_CONN, (long)IDLE_SECONDS_MAX);
  http_curl_set_headers(handle, headers);
  (void)curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_received);
  (void)curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, on_head_line);
  (void)curl_easy_setopt(handle, CURLOPT_PREREQFUNCTION, on_sending);
}

void http_curl_identify(CURL *handle, const struct http_identity *identity) {
  if (identity->ca) (void)curl_easy_setopt(handle, CURLOPT_CAINFO, identity->ca);
  if (identity->certificate) (void)curl_easy_setopt(handle, CURLOPT_SSLCERT, identity->certificate);
  if (identity->key) (void)curl_easy_setopt(handle, CURLOPT_SSLKEY, identity->key);
}

void http_transfer_init(struct http_transfer *transfer, CURL *handle, size_t bytes_max) {
  *transfer = (struct http_transfer){.handle = handle, .bytes_max = bytes_max};
  (void)curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, transfer->text);
  (void)curl_easy_setopt(handle, CURLOPT_WRITEDATA, transfer);
  (void)curl_easy_setopt(handle, CURLOPT_HEADERDATA, transfer);
  (void)curl_easy_setopt(handle, CURLOPT_PREREQDATA, transfer);
}

void http_transfer_target(struct http_transfer *transfer, const char *url, const char *body,
                          size_t length, uint64_t timeout_ms) {
  CURL *handle = transfer->handle;
  long total_ms = timeout_ms == 0 ? 1 : timeout_ms > INT32_MAX ? INT32_MAX : (long)timeout_ms;
  (void)curl_easy_setopt(handle, CURLOPT_URL, url);
  (void)curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, total_ms);
  (void)curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS,
                         total_ms < HTTP_CONNECT_MS_MAX ? total_ms : (long)HTTP_CONNECT_MS_MAX);
  if (body) {
    (void)curl_easy_setopt(handle, CURLOPT_POST, 1L);
    (void)curl_easy_setopt(handle, CURLOPT_POSTFIELDS, body);
    (void)curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)length);
  } else {
    (void)curl_easy_setopt(handle, CURLOPT_HTTPGET, 1L);
  }
}

/* ---- results ----------------------------------------------------------------------------------
 */

static const char *text_of(const struct http_transfer *transfer, CURLcode result) {
  return transfer->text[0] != '\0' ? transfer->text : curl_easy_strerror(result);
}

int http_transfer_status(const struct http_transfer *transfer) {
  long code = 0;
  (void)curl_easy_getinfo(transfer->handle, CURLINFO_RESPONSE_CODE, &code);
  return (int)code;
}

void http_transfer_consume(struct http_transfer *transfer, size_t length) {
  assert(length <= transfer->length);
  transfer->length -= length;
  memmove(transfer->response, transfer->response + length, transfer->length + 1);
}

enum error_code http_transfer_result(struct http_transfer *transfer, CURLcode result, int *status,
                                     struct error *err) {
  *status = 0;
  if (transfer->too_large)
    return error_set(err, ERR_LOST, "the response has more than %zu bytes", transfer->bytes_max);
  if (transfer->out_of_memory) return error_set(err, ERR_LOST, "out of memory for the response");
  if (result != CURLE_OK) {
    enum error_code code = transfer->sent > 0 ? ERR_LOST : ERR_UNAVAILABLE;
    return error_set(err, code, "%s", text_of(transfer, result));
  }
  if (!transfer->has_head)
    return error_set(err, ERR_LOST, "the connection ended in the answer's head");
  if (!transfer->response) transfer->response = calloc(1, 1); /* no body: an empty one */
  if (!transfer->response) return error_set(err, ERR_LOST, "out of memory for the response");
  *status = http_transfer_status(transfer);
  return ERR_OK;
}

int64_t http_transfer_retry_after_s(const struct http_transfer *transfer) {
  curl_off_t seconds = 0;
  (void)curl_easy_getinfo(transfer->handle, CURLINFO_RETRY_AFTER, &seconds);
  return seconds > 0 ? (int64_t)seconds : 0;
}

void http_transfer_close(struct http_transfer *transfer) {
  (void)curl_easy_setopt(transfer->handle, CURLOPT_ERRORBUFFER, NULL);
  free(transfer->response);
  transfer->response = NULL;
}
