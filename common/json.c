/* See json.h: what is asked of values that were read. Reading is in json_parse.c, writing in json_writer.c. */
#include "common/json.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Without memory for a value there is none, and nobody here could do better than to begin anew. (jansson's own
 * reader, 2.14, would leave bytes out and go on.) */
static void *allocate(size_t size) {
  void *memory = malloc(size);
  if (!memory && size > 0) {
    (void)fputs("JSON: out of memory\n", stderr);
    abort();
  }
  return memory;
}

__attribute__((constructor)) static void set_allocator(void) {
  json_set_alloc_funcs(allocate, free);
}

/* ---- fields -----------------------------------------------------------------------------------
 */

static const char *kind_name(enum json_kind kind) {
  switch (kind) {
  case JSON_KIND_ANY: return "a value";
  case JSON_KIND_STRING: return "a string";
  case JSON_KIND_INTEGER: return "an integer";
  case JSON_KIND_BOOLEAN: return "true or false";
  case JSON_KIND_ARRAY: return "an array";
  case JSON_KIND_OBJECT: return "an object";
  }
  assert(false);
  return NULL;
}

static const char *value_name(const json_t *value) {
  switch (json_typeof(value)) {
  case JSON_OBJECT: return "an object";
  case JSON_ARRAY: return "an array";
  case JSON_STRING: return "a string";
  case JSON_INTEGER: return "an integer";
  case JSON_REAL: return "a fraction";
  case JSON_TRUE: return "true";
  case JSON_FALSE: return "false";
  case JSON_NULL: return "null";
  }
  assert(false);
  return NULL;
}

static bool is_kind(const json_t *value, enum json_kind kind) {
  switch (kind) {
  case JSON_KIND_ANY: return true;
  case JSON_KIND_STRING: return json_is_string(value);
  case JSON_KIND_INTEGER: return json_is_integer(value);
  case JSON_KIND_BOOLEAN: return json_is_boolean(value);
  case JSON_KIND_ARRAY: return json_is_array(value);
  case JSON_KIND_OBJECT: return json_is_object(value);
  }
  assert(false);
  return false;
}

/* Sets err->field to pointer + "/name", with the escapes of RFC 6901. */
static enum error_code at_field(struct error *err, const char *pointer, const char *name,
                                enum error_code code) {
  char field[sizeof err->field + 2];
  int head = snprintf(field, sizeof field, "%s/", pointer);
  size_t length = head < (int)sizeof field ? (size_t)head : sizeof field - 1;
  for (; *name && length < sizeof field - 3; name++) {
    if (*name == '~' || *name == '/') {
      field[length++] = '~';
      field[length++] = *name == '~' ? '0' : '1';
    } else {
      field[length++] = *name;
    }
  }
  field[length] = '\0';
  error_field(err, field);
  return code;
}

static enum error_code check_range(const json_t *value, const struct json_field *field,
                                   struct error *err) {
  int64_t n;
  const char *verb = "have";
  const char *unit = "";
  switch (field->kind) {
  case JSON_KIND_INTEGER:
    n = json_integer_value(value);
    verb = "be";
    break;
  case JSON_KIND_STRING:
    n = (int64_t)json_string_length(value);
    unit = " bytes";
    break;
  case JSON_KIND_ARRAY:
    n = (int64_t)json_array_size(value);
    unit = " elements";
    break;
  case JSON_KIND_ANY:
  case JSON_KIND_BOOLEAN:
  case JSON_KIND_OBJECT:
  default: return ERR_OK;
  }
  if ((field->min == 0 && field->max == 0) || (n >= field->min && n <= field->max)) return ERR_OK;
  if (field->max == INT64_MAX)
    return error_set(err, ERR_INVALID, "%s must %s at least %" PRId64 "%s, not %" PRId64,
                     field->name, verb, field->min, unit, n);
  return error_set(err, ERR_INVALID, "%s must %s %" PRId64 " to %" PRId64 "%s, not %" PRId64,
                   field->name, verb, field->min, field->max, unit, n);
}

/* Counts those that are there. */
static enum error_code check_field(const json_t *object, const char *pointer,
                                   const struct json_field *field, size_t *known,
                                   struct error *err) {
  const json_t *value = json_object_get(object, field->name);
  *known += value != NULL;
  bool absent = !value || (json_is_null(value) && field->kind != JSON_KIND_ANY);
  enum error_code code = ERR_OK;
  if (absent && field->required)
    code = error_set(err, ERR_INVALID, "%s is required", field->name);
  else if (!absent && !is_kind(value, field->kind))
    code = error_set(err, ERR_INVALID, "%s must be %s, not %s", field->name, kind_name(field->kind),
                     value_name(value));
  else if (!absent)
    code = check_range(value, field, err);
  return code == ERR_OK ? ERR_OK : at_field(err, pointer, field->name, code);
}

enum error_code json_check_object(const json_t *value, const char *pointer,
                                  const struct json_field *fields, size_t field_count,
                                  struct error *err) {
  if (!json_is_object(value)) {
    error_set(err, ERR_INVALID, "must be an object, not %s", value ? value_name(value) : "absent");
    error_field(err, pointer);
    return ERR_INVALID;
  }
  size_t known = 0;
  for (size_t i = 0; i < field_count; i++) {
    enum error_code code = check_field(value, pointer, &fields[i], &known, err);
    if (code != ERR_OK) return code;
  }
  if (known == json_object_size(value)) return ERR_OK;

  const char *name;
  json_t *unused;
  json_object_foreach((json_t *)(uintptr_t)value, name, unused) {
    bool found = false;
    for (size_t i = 0; i < field_count && !found; i++)
      found = strcmp(fields[i].name, name) == 0;
    if (found) continue;
    error_set(err, ERR_UNKNOWN_FIELD, "unknown field \"%.64s\"", name);
    return at_field(err, pointer, name, ERR_UNKNOWN_FIELD);
  }
  assert(false); /* more members than known ones, so one was not known */
  return ERR_OK;
}

const char *json_get_string(const json_t *object, const char *name, const char *absent) {
  const json_t *value = json_object_get(object, name);
  return json_is_string(value) ? json_string_value(value) : absent;
}

int64_t json_get_integer(const json_t *object, const char *name, int64_t absent) {
  const json_t *value = json_object_get(object, name);
  return json_is_integer(value) ? json_integer_value(value) : absent;
}

struct limit_met json_get_limit(const json_t *object) {
  const json_t *limit = json_object_get(object, "limit");
  const char *name = limit_name_find(json_get_string(limit, "name", ""));
  return (struct limit_met){name, name ? json_get_integer(limit, "value", 0) : 0};
}

bool json_get_boolean(const json_t *object, const char *name, bool absent) {
  const json_t *value = json_object_get(object, name);
  return json_is_boolean(value) ? json_is_true(value) : absent;
}

void json_format_real(double value, char out[32]) {
  assert(isfinite(value)); /* JSON has no other */
  for (int digits = 15; digits <= 17; digits++) {
    (void)snprintf(out, 32, "%.*g", digits, value);
    if (strtod(out, NULL) == value) return;
  }
}
