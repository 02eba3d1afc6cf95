/* Statements in JSON, as message_json.h says: [{sql, params, expect_rows}].
 *
 * Parameters become text, the form in which every database infers their type itself.
 * Limits: STATEMENTS_MAX, PARAMS_MAX, SQL_BYTES_MAX, answered with ERR_LIMIT before anything is
 * copied.
 */
#include "common/message_json.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POINTER_SIZE = 160 };

static enum error_code at(struct error *err, enum error_code code, const char *pointer,
                          const char *below) {
  char field[POINTER_SIZE];
  (void)snprintf(field, sizeof field, "%s%s", pointer, below);
  error_field(err, field);
  return code;
}

/* NULL when memory ran out. */
static char *param_text(const json_t *value) {
  char number[32];
  switch (json_typeof(value)) {
  case JSON_STRING: return strdup(json_string_value(value));
  case JSON_TRUE: return strdup("true");
  case JSON_FALSE: return strdup("false");
  case JSON_INTEGER:
    (void)snprintf(number, sizeof number, "%" PRId64, (int64_t)json_integer_value(value));
    return strdup(number);
  case JSON_REAL: json_format_real(json_real_value(value), number); return strdup(number);
  case JSON_ARRAY:
  case JSON_OBJECT: {
    struct json_writer w;
    json_writer_init(&w);
    json_write_value(&w, value);
    return json_writer_take(&w, NULL);
  }
  case JSON_NULL:
  default: assert(false); return NULL;
  }
}

static enum error_code decode_params(const json_t *array, struct statement *out,
                                     struct error *err) {
  size_t count = json_array_size(array);
  if (count == 0) return ERR_OK;
  const char **params = calloc(count, sizeof *params);
  if (!params) return error_set(err, ERR_MEMORY, "out of memory for parameters");
  out->params = params;
  out->param_count = count;
  for (size_t i = 0; i < count; i++) {
    const json_t *value = json_array_get(array, i);
    if (json_is_null(value)) continue;
    params[i] = param_text(value);
    if (!params[i]) return error_set(err, ERR_MEMORY, "out of memory for a parameter");
  }
  return ERR_OK;
}

enum error_code statement_decode(const json_t *json, const char *pointer, struct statement *out,
                                 struct error *err) {
  static const struct json_field fields[] = {
      {"sql", JSON_KIND_STRING, true, 1, INT64_MAX},
      {"params", JSON_KIND_ARRAY, false, 0, 0},
      {"expect_rows", JSON_KIND_INTEGER, false, 0, INT64_MAX},
  };
  *out = (struct statement){.expect_rows = -1};
  enum error_code code =
      json_check_object(json, pointer, fields, sizeof fields / sizeof fields[0], err);
  if (code != ERR_OK) return code;

  const json_t *sql = json_object_get(json, "sql");
  const json_t *params = json_object_get(json, "params");
  if (json_string_length(sql) > SQL_BYTES_MAX) {
    error_set(err, ERR_LIMIT, "a statement may have %d bytes", SQL_BYTES_MAX);
    return at(err, ERR_LIMIT, pointer, "/sql");
  }
  if (json_array_size(params) > PARAMS_MAX) {
    error_set(err, ERR_LIMIT, "a statement may have %d parameters", PARAMS_MAX);
    return at(err, ERR_LIMIT, pointer, "/params");
  }
  out->expect_rows = json_get_integer(json, "expect_rows", -1);
  out->sql = strdup(json_string_value(sql));
  code = out->sql ? decode_params(params, out, err)
                  : error_set(err, ERR_MEMORY, "out of memory for a statement");
  if (code != ERR_OK) statement_clear(out);
  return code;
}

void statement_clear(struct statement *statement) {
  for (size_t i = 0; i < statement->param_count; i++)
    free((void *)(uintptr_t)statement->params[i]);
  free((void *)(uintptr_t)statement->params);
  free((void *)(uintptr_t)statement->sql);
  *statement = (struct statement){.expect_rows = -1};
}

enum error_code statement_list_decode(const json_t *json, const char *pointer,
                                      struct statement_list *out, struct error *err) {
  *out = (struct statement_list){0};
  if (!json_is_array(json)) {
    error_set(err, ERR_INVALID, "must be an array of statements");
    return at(err, ERR_INVALID, pointer, "");
  }
  size_t count = json_array_size(json);
  if (count > STATEMENTS_MAX) {
    error_set(err, ERR_LIMIT, "a branch may have %d statements at once", STATEMENTS_MAX);
    return at(err, ERR_LIMIT, pointer, "");
  }
  out->items = calloc(count + 1, sizeof *out->items);
  if (!out->items) return error_set(err, ERR_MEMORY, "out of memory for statements");
  for (size_t i = 0; i < count; i++) {
    char below[POINTER_SIZE];
    (void)snprintf(below, sizeof below, "%s/%zu", pointer, i);
    enum error_code code = statement_decode(json_array_get(json, i), below, &out->items[i], err);
    if (code != ERR_OK) {
      statement_list_free(out);
      return code;
    }
    out->count = i + 1;
  }
  return ERR_OK;
}

void statement_list_free(struct statement_list *list) {
  for (size_t i = 0; i < list->count; i++)
    statement_clear(&list->items[i]);
  free(list->items);
  *list = (struct statement_list){0};
}
