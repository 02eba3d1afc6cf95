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

const char *http_header(const struct http_request *request, const char *name) {
  return MHD_lookup_connection_value(request->mhd, MHD_HEADER_KIND, name);
}

struct header_count {
  const char *name;
  unsigned count;
};

static enum MHD_Result count_header(void *data, enum MHD_ValueKind kind, const char *name,
                                    const char *value) {
  struct header_count *counted = data;
  (void)kind;
  (void)value;
  counted->count += strcasecmp(name, counted->name) == 0;
  return MHD_YES;
}

unsigned http_header_count(const struct http_request *request, const char *name) {
  struct header_count counted = {.name = name};
  (void)MHD_get_connection_values(request->mhd, MHD_HEADER_KIND, count_header, &counted);
  return counted.count;
}

struct header_join {
  const char *name;
  char *out;
  size_t size, length;
  bool came, too_long;
};

static enum MHD_Result join_header(void *data, enum MHD_ValueKind kind, const char *name,
                                   const char *value) {
  struct header_join *join = data;
  (void)kind;
  if (strcasecmp(name, join->name) != 0) return MHD_YES;
  int length = snprintf(join->out + join->length, join->size - join->length, "%s%s",
                        join->came ? "," : "", value ? value : "");
  join->came = true;
  join->too_long = length < 0 || (size_t)length >= join->size - join->length;
  if (join->too_long) return MHD_NO;
  join->length += (size_t)length;
  return MHD_YES;
}

bool http_header_joined(const struct http_request *request, const char *name, char *out,
                        size_t size) {
  struct header_join join = {.name = name, .out = out, .size = size};
  (void)MHD_get_connection_values(request->mhd, MHD_HEADER_KIND, join_header, &join);
  return join.came && !join.too_long;
}

void *http_observed(const struct http_request *request) {
  return request->observed;
}

const char *http_body(const struct http_request *request, size_t *length) {
  if (length) *length = request->body_length;
  return request->body;
}
