/* What the two HTTP clients (http_client.c on the loop, http_caller.c blocking) have in common: how
 * a curl handle is set up, what is received, and what an error proves.
 */
#ifndef ASSENT_COMMON_HTTP_CURL_H
#define ASSENT_COMMON_HTTP_CURL_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/http_client.h"

enum { HTTP_CONNECT_MS_MAX = 2000 };

/* One request on a handle. Must not move while it is under way. */
struct http_transfer {
  CURL *handle;
  char *response; /* NUL-terminated */
  size_t length, capacity, bytes_max;
  bool too_large, out_of_memory;
  bool has_head; /* to its end */
  bool once;     /* never sent a second time, not even on a connection found dead */
  unsigned sent; /* times that curl began to send it */
  /* More of the body has come; from inside curl, which must not be called then. NULL: not wanted. */
  void (*on_more)(struct http_transfer *transfer);
  char text[CURL_ERROR_SIZE];
};

/* Once a process; harmless when repeated. */
void http_curl_global(void);
/* `token` may be NULL. Owner: the caller, curl_slist_free_all(). */
struct curl_slist *http_curl_headers(const char *token);
/* A copy of `list` with further lines behind (the array ends with NULL). Owner: as above. */
struct curl_slist *http_curl_headers_with(const struct curl_slist *list, const char *const *lines);
/* Borrowed until other ones are set. */
void http_curl_set_headers(CURL *handle, struct curl_slist *headers);
/* The options that all requests share. `headers` is borrowed for the life of the handle. */
void http_curl_prepare(CURL *handle, struct curl_slist *headers);
/* All of it but the token. */
void http_curl_identify(CURL *handle, const struct http_identity *identity);

void http_transfer_init(struct http_transfer *transfer, CURL *handle, size_t bytes_max);
/* `body` (borrowed) NULL: a GET. */
void http_transfer_target(struct http_transfer *transfer, const char *url, const char *body,
                          size_t length, uint64_t timeout_ms);
/* 0: the head has not come yet. */
int http_transfer_status(const struct http_transfer *transfer);
/* The first `length` bytes of what has come are not needed any more, nor do they count for bytes_max. */
void http_transfer_consume(struct http_transfer *transfer, size_t length);
/* ERR_OK: a whole response was read, transfer->response holds it, never NULL. */
enum error_code http_transfer_result(struct http_transfer *transfer, CURLcode result, int *status,
                                     struct error *err) __attribute__((warn_unused_result));
/* Of the response; 0: none. */
int64_t http_transfer_retry_after_s(const struct http_transfer *transfer);
/* The handle may be used for another one afterwards. */
void http_transfer_close(struct http_transfer *transfer);

#endif
