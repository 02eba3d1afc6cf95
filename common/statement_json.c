/* Statements in JSON, as message_json.h says: [{sql or name, params, expect_rows}].
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

#include "common/memory.h"

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
  case JSON_INTEGER: return strdup(json_format_integer(json_integer_value(value), number));
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
  const char **params = memory_zeroed(count * sizeof *params);
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

/* What a message may have at most. */
static const struct statement_limits wire_limits = {STATEMENTS_MAX, PARAMS_MAX, SQL_BYTES_MAX};

static enum error_code check_sizes(const json_t *json, const char *pointer,
                                   const struct statement_limits *limits, struct error *err) {
  if (json_string_length(json_object_get(json, "sql")) > limits->sql_bytes_max) {
    error_set(err, ERR_LIMIT, "a statement may have %zu bytes", limits->sql_bytes_max);
    error_limit(err, "sql", (int64_t)limits->sql_bytes_max);
    return at(err, ERR_LIMIT, pointer, "/sql");
  }
  if (json_array_size(json_object_get(json, "params")) > limits->params_max) {
    error_set(err, ERR_LIMIT, "a statement may have %zu parameters", limits->params_max);
    error_limit(err, "parameters", (int64_t)limits->params_max);
    return at(err, ERR_LIMIT, pointer, "/params");
  }
  return ERR_OK;
}

static enum error_code fill(const json_t *json, struct statement *out, struct error *err) {
  const char *sql = json_get_string(json, "sql", NULL);
  const char *name = json_get_string(json, "name", NULL);
  out->expect_rows = json_get_integer(json, "expect_rows", -1);
  out->sql = sql ? strdup(sql) : NULL;
  out->name = name ? strdup(name) : NULL;
  enum error_code code = (sql && !out->sql) || (name && !out->name)
                             ? error_set(err, ERR_MEMORY, "out of memory for a statement")
                             : decode_params(json_object_get(json, "params"), out, err);
  if (code != ERR_OK) statement_clear(out);
  return code;
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
  if (code == ERR_OK) code = check_sizes(json, pointer, &wire_limits, err);
  return code == ERR_OK ? fill(json, out, err) : code;
}

enum error_code statement_call_decode(const json_t *json, const char *pointer,
                                      const struct statement_limits *limits, struct statement *out,
                                      struct error *err) {
  static const struct json_field fields[] = {
      {"sql", JSON_KIND_STRING, false, 1, INT64_MAX},
      {"name", JSON_KIND_STRING, false, 1, INT64_MAX},
      {"params", JSON_KIND_ARRAY, false, 0, 0},
      {"expect_rows", JSON_KIND_INTEGER, false, 0, INT64_MAX},
  };
  *out = (struct statement){.expect_rows = -1};
  enum error_code code =
      json_check_object(json, pointer, fields, sizeof fields / sizeof fields[0], err);
  if (code != ERR_OK) return code;
  bool sql = json_get_string(json, "sql", NULL), name = json_get_string(json, "name", NULL);
  if (sql == name) {
    error_set(err, ERR_INVALID, "a statement has sql, or the name of one of the participant's%s",
              sql ? ", not both" : "");
    return at(err, ERR_INVALID, pointer, sql ? "/name" : "/sql");
  }
  code = check_sizes(json, pointer, limits, err);
  return code == ERR_OK ? fill(json, out, err) : code;
}

void statement_clear(struct statement *statement) {
  for (size_t i = 0; i < statement->param_count; i++)
    free((void *)(uintptr_t)statement->params[i]);
  free((void *)(uintptr_t)statement->params);
  free((void *)(uintptr_t)statement->sql);
  free((void *)(uintptr_t)statement->name);
  *statement = (struct statement){.expect_rows = -1};
}

/* `limits` NULL: as in a message, without names. */
static enum error_code decode_list(const json_t *json, const char *pointer,
                                   const struct statement_limits *limits,
                                   struct statement_list *out, struct error *err) {
  *out = (struct statement_list){0};
  if (!json_is_array(json)) {
    error_set(err, ERR_INVALID, "must be an array of statements");
    return at(err, ERR_INVALID, pointer, "");
  }
  size_t count = json_array_size(json);
  size_t max = limits ? limits->statements_max : wire_limits.statements_max;
  if (count > max) {
    error_set(err, ERR_LIMIT, "a branch may have %zu statements at once", max);
    error_limit(err, "statements", (int64_t)max);
    return at(err, ERR_LIMIT, pointer, "");
  }
  out->items = memory_zeroed((count + 1) * sizeof *out->items);
  if (!out->items) return error_set(err, ERR_MEMORY, "out of memory for statements");
  for (size_t i = 0; i < count; i++) {
    const json_t *item = json_array_get(json, i);
    enum error_code code = limits ? statement_call_decode(item, "", limits, &out->items[i], err)
                                  : statement_decode(item, "", &out->items[i], err);
    if (code != ERR_OK) {
      statement_list_free(out);
      return error_field_below(err, code, "%s/%zu", pointer, i);
    }
    out->count = i + 1;
  }
  return ERR_OK;
}

enum error_code statement_list_decode(const json_t *json, const char *pointer,
                                      struct statement_list *out, struct error *err) {
  return decode_list(json, pointer, NULL, out, err);
}

enum error_code statement_call_list_decode(const json_t *json, const char *pointer,
                                           const struct statement_limits *limits,
                                           struct statement_list *out, struct error *err) {
  return decode_list(json, pointer, limits, out, err);
}

void statement_list_free(struct statement_list *list) {
  for (size_t i = 0; i < list->count; i++)
    statement_clear(&list->items[i]);
  free(list->items);
  *list = (struct statement_list){0};
}
