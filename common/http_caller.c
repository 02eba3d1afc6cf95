/* The blocking calls of http_client.h.
 *
 * A request is never sent twice: who calls may not be able to repeat it (a transfer of money
 * without an idempotency key), so a kept connection that is found dead is ERR_LOST. Limits:
 * RESPONSE_BYTES_MAX.
 */
#include "common/http_client.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/http_curl.h"

enum { RESPONSE_BYTES_MAX = 256 << 20 };

struct http_caller {
  CURL *handle;
  struct curl_slist *headers;
};

struct http_caller *http_caller_new(void) {
  http_curl_global();
  struct http_caller *caller = calloc(1, sizeof *caller);
  if (!caller) abort();
  caller->handle = curl_easy_init();
  caller->headers = http_curl_headers(NULL);
  if (!caller->handle) abort();
  http_curl_prepare(caller->handle, caller->headers);
  return caller;
}

void http_caller_identify(struct http_caller *caller, const struct http_identity *identity) {
  curl_slist_free_all(caller->headers);
  caller->headers = http_curl_headers(identity->token);
  (void)curl_easy_setopt(caller->handle, CURLOPT_HTTPHEADER, caller->headers);
  http_curl_identify(caller->handle, identity);
}

void http_caller_free(struct http_caller *caller) {
  if (!caller) return;
  curl_easy_cleanup(caller->handle);
  curl_slist_free_all(caller->headers);
  free(caller);
}

enum error_code http_caller_call(struct http_caller *caller, const char *method, const char *url,
                                 const char *body, uint64_t timeout_ms, int *status,
                                 char **response, size_t *length, struct error *err) {
  bool post = strcmp(method, "POST") == 0;
  assert(post || strcmp(method, "GET") == 0);
  *response = NULL;
  if (length) *length = 0;
  if (post && !body) body = "";
  struct http_transfer transfer;
  http_transfer_init(&transfer, caller->handle, RESPONSE_BYTES_MAX);
  http_transfer_target(&transfer, url, post ? body : NULL, post ? strlen(body) : 0, timeout_ms);
  transfer.once = post;
  CURLcode result = curl_easy_perform(caller->handle);
  enum error_code code = http_transfer_result(&transfer, result, status, err);
  if (code == ERR_OK) {
    *response = transfer.response;
    if (length) *length = transfer.length;
    transfer.response = NULL;
  }
  http_transfer_close(&transfer);
  return code;
}

enum error_code http_call(const char *method, const char *url, const char *body,
                          uint64_t timeout_ms, int *status, char **response, size_t *length,
                          struct error *err) {
  struct http_caller *caller = http_caller_new();
  enum error_code code =
      http_caller_call(caller, method, url, body, timeout_ms, status, response, length, err);
  http_caller_free(caller);
  return code;
}
