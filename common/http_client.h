/* An HTTP client on the loop (curl's multi interface; no other file includes curl.h).
 * Connections are kept and used again; no proxy, no redirects, http and https only.
 */
#ifndef ASSENT_COMMON_HTTP_CLIENT_H
#define ASSENT_COMMON_HTTP_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/loop.h"

struct http_client;

/* Called once for each request, on a later turn than the call that made it. `err` is NULL when a
 * whole response was read: then status and body (borrowed for the call, NUL-terminated) hold it.
 * Else status is 0 and err->code says what is known: ERR_UNAVAILABLE, the request never left (no
 * connection could be made); ERR_LOST, it may have been received and acted on. */
typedef void (*http_client_fn)(void *data, int status, const char *body, size_t length,
                               const struct error *err);

/* Who we are, and whom we trust. Files are PEM, checked when they are used: a request that finds no good
 * ones never leaves. NULL: not. */
struct http_identity {
  const char *token; /* sent as Authorization: Bearer */
  const char *ca;    /* https servers must have a certificate of these; NULL: of the system's */
  const char *certificate, *key;
};

struct http_client *http_client_new(struct loop *loop);
/* Before the first request. The texts are borrowed for the client's life, the token is copied. */
void http_client_identify(struct http_client *client, const struct http_identity *identity);
/* Requests under way end with ERR_LOST before this returns. */
void http_client_free(struct http_client *client);

/* `body` (JSON) is taken over (freed with free()); NULL: a GET. A response over response_bytes_max
 * is ERR_LOST. Connecting takes at most min(timeout_ms, 2000). */
void http_client_send(struct http_client *client, const char *url, char *body, size_t length,
                      uint64_t timeout_ms, size_t response_bytes_max, http_client_fn fn,
                      void *data);

/* The same for an answer that comes line by line, each ended by a newline: with status 200 every line
 * is handed over when it is there whole (NUL-terminated, without its newline, borrowed for the call), and
 * fn gets what is behind the last of them, which is nothing if all went well. Whatever has become of
 * the request, fn comes once, and after it no line. response_bytes_max is that of a line, or of
 * an answer with another status. */
typedef void (*http_client_line_fn)(void *data, char *line, size_t length);
void http_client_send_lines(struct http_client *client, const char *url, char *body, size_t length,
                            uint64_t timeout_ms, size_t response_bytes_max,
                            http_client_line_fn line, http_client_fn fn, void *data);

/* The same as http_client_send(), with further header lines ("Name: value"; the array ends with NULL, and is copied). NULL:
 * none. */
void http_client_send_headers(struct http_client *client, const char *const *headers,
                              const char *url, char *body, size_t length, uint64_t timeout_ms,
                              size_t response_bytes_max, http_client_fn fn, void *data);
/* Retry-After of the response whose callback is under way; 0: none. */
int64_t http_client_retry_after_s(const struct http_client *client);

/* The same, blocking, for command-line programs. `*response` (NUL-terminated) is the caller's,
 * free(). Returns ERR_OK when a whole response was read, whatever its status.
 * method: "GET" or "POST"; body may be NULL. */
enum error_code http_call(const char *method, const char *url, const char *body,
                          uint64_t timeout_ms, int *status, char **response, size_t *length,
                          struct error *err) __attribute__((warn_unused_result));

/* For many blocking calls from one thread over one kept connection. */
struct http_caller;
struct http_caller *http_caller_new(void);
void http_caller_identify(struct http_caller *caller, const struct http_identity *identity);
void http_caller_free(struct http_caller *caller);
enum error_code http_caller_call(struct http_caller *caller, const char *method, const char *url,
                                 const char *body, uint64_t timeout_ms, int *status,
                                 char **response, size_t *length, struct error *err)
    __attribute__((warn_unused_result));

#endif
