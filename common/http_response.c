/* See http_response.h. */
#include "common/http_response.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/log.h"
#include "common/problem.h"

/* The request has been worked on, only its answer is lost: nobody may be told that nothing happened. */
static const char ANSWER_LOST[] =
    "{\"type\":\"urn:assent:problem:reply_lost\",\"title\":\"No answer, it may or may not have "
    "happened\",\"status\":503,\"detail\":\"out of memory for the "
    "answer\",\"code\":\"reply_lost\"}";

void http_response_header(struct MHD_Response *response, const char *name, const char *value) {
  /* Fails when memory runs out, or for a value with a line's end in it, which must not be sent. */
  if (MHD_add_response_header(response, name, value) != MHD_YES)
    log_warn("http_header_dropped", "name", "s", name, NULL);
}

void http_response_common(struct MHD_Response *response, const char *content_type) {
  http_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
  http_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
  http_response_header(response, "X-Content-Type-Options", "nosniff");
}

struct MHD_Response *http_response_take(int *status, const char *content_type, char *body,
                                        size_t length) {
  struct MHD_Response *response = NULL;
  if (body) {
    response = MHD_create_response_from_buffer(length, body, MHD_RESPMEM_MUST_FREE);
    if (!response) free(body);
  }
  if (!response) {
    *status = MHD_HTTP_SERVICE_UNAVAILABLE;
    content_type = PROBLEM_CONTENT_TYPE;
    response =
        MHD_create_response_from_buffer(sizeof ANSWER_LOST - 1, (void *)(uintptr_t)ANSWER_LOST,
                                        MHD_RESPMEM_PERSISTENT);
    if (!response) return NULL;
  }
  http_response_common(response, content_type);
  return response;
}

struct MHD_Response *http_response_problem(const struct error *err, const char *extra,
                                           int *status) {
  assert(err->code != ERR_OK);
  size_t length = 0;
  char *body = problem_make(err, extra, &length);
  bool out_of_memory = body == NULL;
  *status = error_http_status(err->code);
  struct MHD_Response *response = http_response_take(status, PROBLEM_CONTENT_TYPE, body, length);
  if (!response) return NULL;
  if (!out_of_memory && problem_is_temporary(err->code))
    http_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, "1");
  if (*status == MHD_HTTP_UNAUTHORIZED)
    http_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
  return response;
}
