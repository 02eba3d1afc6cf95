/* See http_response.h. */
#include "common/http_response.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/json.h"
#include "common/log.h"

/* The request has been worked on, only its answer is lost: nobody may be told that nothing happened. */
static const char ANSWER_LOST[] =
    "{\"type\":\"urn:assent:problem:reply_lost\",\"title\":\"No answer, it may or may not have "
    "happened\",\"status\":503,\"detail\":\"out of memory for the "
    "answer\",\"code\":\"reply_lost\"}";

static const char PROBLEM[] = "application/problem+json";

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
    content_type = PROBLEM;
    response =
        MHD_create_response_from_buffer(sizeof ANSWER_LOST - 1, (void *)(uintptr_t)ANSWER_LOST,
                                        MHD_RESPMEM_PERSISTENT);
    if (!response) return NULL;
  }
  http_response_common(response, content_type);
  return response;
}

/* What a fatal error says is for the log: it names files and the like. */
static const char *detail_of(const struct error *err) {
  bool fatal = error_class_of(err->code) == CLASS_FATAL;
  return fatal || err->text[0] == '\0' ? error_title(err->code) : err->text;
}

static char *problem_make(const struct error *err, const char *extra, size_t *length) {
  const char *code = error_wire_code(err->code);
  char type[64];
  (void)snprintf(type, sizeof type, "urn:assent:problem:%s", code);
  struct json_writer w;
  json_writer_init(&w);
  json_object_begin(&w);
  json_key(&w, "type");
  json_write_string(&w, type);
  json_key(&w, "title");
  json_write_string(&w, error_title(err->code));
  json_key(&w, "status");
  json_write_integer(&w, error_http_status(err->code));
  json_key(&w, "detail");
  json_write_string(&w, detail_of(err));
  json_key(&w, "code");
  json_write_string(&w, code);
  if (err->field[0] != '\0') {
    json_key(&w, "field");
    json_write_string(&w, err->field);
  }
  if (extra) json_write_raw(&w, extra);
  json_object_end(&w);
  return json_writer_take(&w, length);
}

struct MHD_Response *http_response_problem(const struct error *err, const char *extra,
                                           int *status) {
  assert(err->code != ERR_OK);
  size_t length = 0;
  char *body = problem_make(err, extra, &length);
  bool out_of_memory = body == NULL;
  *status = error_http_status(err->code);
  struct MHD_Response *response = http_response_take(status, PROBLEM, body, length);
  if (!response) return NULL;
  if (!out_of_memory &&
      (*status == MHD_HTTP_TOO_MANY_REQUESTS || *status == MHD_HTTP_SERVICE_UNAVAILABLE))
    http_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, "1");
  if (*status == MHD_HTTP_UNAUTHORIZED)
    http_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
  return response;
}
