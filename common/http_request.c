/* What a handler reads of its request: see http_server.h. */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/http_internal.h"

const char *http_method(const struct http_request *request) {
  return request->method;
}

const char *http_path(const struct http_request *request) {
  return request->target.path;
}

const char *http_capture(const struct http_request *request, unsigned index) {
  assert(index < request->captures.count);
  return request->captures.text[index];
}

const char *http_principal(const struct http_request *request) {
  return request->role ? request->principal : NULL;
}

const char *http_only_of(const struct http_request *request) {
  return request->role && request->role != ROLE_OPERATOR ? request->principal : NULL;
}

const char *http_query(const struct http_request *request, const char *name) {
  for (size_t i = 0; i < request->target.param_count; i++)
    if (strcmp(request->target.params[i].name, name) == 0) return request->target.params[i].value;
  return NULL;
}

enum error_code http_check_query(const struct http_request *request, const char *const *names,
                                 struct error *err) {
  const struct http_target *target = &request->target;
  for (size_t i = 0; i < target->param_count; i++) {
    const char *name = target->params[i].name;
    const char *const *known = names;
    while (*known && strcmp(*known, name) != 0)
      known++;
    if (!*known) {
      error_set(err, ERR_UNKNOWN_FIELD, "unknown query parameter \"%.64s\"", name);
      error_field(err, name);
      return ERR_UNKNOWN_FIELD;
    }
    for (size_t j = 0; j < i; j++) {
      if (strcmp(target->params[j].name, name) != 0) continue;
      error_set(err, ERR_INVALID, "query parameter \"%s\" came twice", name);
      error_field(err, name);
      return ERR_INVALID;
    }
  }
  return ERR_OK;
}

const char *http_header_next(const struct http_request *request, const char *at,
                             const char **value) {
  if (at) {
    at += strlen(at) + 1;
    at += strlen(at) + 1;
  } else {
    at = request->headers;
  }
  if (at == request->headers + request->headers_length) return NULL;
  *value = at + strlen(at) + 1;
  return at;
}

const char *http_header(const struct http_request *request, const char *name) {
  const char *value;
  for (const char *at = NULL; (at = http_header_next(request, at, &value));)
    if (strcasecmp(at, name) == 0) return value;
  return NULL;
}

unsigned http_header_count(const struct http_request *request, const char *name) {
  const char *value;
  unsigned count = 0;
  for (const char *at = NULL; (at = http_header_next(request, at, &value));)
    count += strcasecmp(at, name) == 0;
  return count;
}

bool http_header_joined(const struct http_request *request, const char *name, char *out,
                        size_t size) {
  const char *value;
  size_t joined = 0;
  bool came = false;
  for (const char *at = NULL; (at = http_header_next(request, at, &value));) {
    if (strcasecmp(at, name) != 0) continue;
    int length = snprintf(out + joined, size - joined, "%s%s", came ? "," : "", value);
    if (length < 0 || (size_t)length >= size - joined) return false;
    joined += (size_t)length;
    came = true;
  }
  return came;
}

void *http_observed(const struct http_request *request) {
  return request->observed;
}

const char *http_body(const struct http_request *request, size_t *length) {
  if (length) *length = request->body_length;
  return request->body;
}
