/* See json.h. Reading: a scan for what jansson does not check, then jansson.
 *
 * The scan is one pass over the bytes and knows as little of JSON as it needs: where strings begin
 * and end, where brackets open, what a number is. Grammar, UTF-8, duplicate keys and integer range
 * are jansson's. Writing is in json_writer.c.
 */
#include "common/json.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- scan -------------------------------------------------------------------------------------
 */

enum { EXPONENT_MAX = 100000 }; /* counting on would not change what is said of it */

struct scan {
  const char *text;
  size_t length, at;
};

static enum error_code refuse(const struct scan *scan, struct error *err, const char *what) {
  size_t line = 1;
  size_t column = 1;
  for (size_t i = 0; i < scan->at; i++) {
    if (scan->text[i] == '\n') {
      line++;
      column = 1;
    } else if ((scan->text[i] & 0xC0) != 0x80) {
      column++; /* characters, as jansson counts */
    }
  }
  return error_set(err, ERR_BAD_JSON, "line %zu, column %zu: %s", line, column, what);
}

/* Stops at the closing quote, or at the end when there is none. */
static void scan_string(struct scan *scan) {
  size_t i = scan->at + 1;
  while (i < scan->length && scan->text[i] != '"')
    i += scan->text[i] == '\\' ? 2 : 1;
  scan->at = i < scan->length ? i : scan->length;
}

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/* What a number's text says, apart from its value. */
struct number_shape {
  bool fraction;  /* has a point or an exponent: jansson reads a double */
  size_t digits;  /* significant: from the first to the last that is not zero */
  long magnitude; /* decimal exponent of the first significant digit */
};

/* Takes all characters that can be part of a number; stops at the last one. */
static struct number_shape scan_number(struct scan *scan) {
  struct number_shape shape = {0};
  long before_point = 0;    /* digits of the integer part, leading zeros aside */
  long zeros_after = 0;     /* zeros right after the point of a number below one */
  size_t zeros_pending = 0; /* inner zeros, if another digit follows */
  bool point = false;
  size_t i = scan->at + (scan->text[scan->at] == '-');
  for (; i < scan->length && (is_digit(scan->text[i]) || scan->text[i] == '.'); i++) {
    char c = scan->text[i];
    if (c == '.') {
      point = true;
    } else {
      if (c != '0') {
        shape.digits += zeros_pending + 1;
        zeros_pending = 0;
      } else if (shape.digits > 0) {
        zeros_pending++;
      }
      if (!point && (shape.digits > 0)) before_point++;
      if (point && shape.digits == 0) zeros_after++;
    }
  }
  shape.fraction = point;
  shape.magnitude = before_point > 0 ? before_point - 1 : -zeros_after - 1;
  if (i < scan->length && (scan->text[i] == 'e' || scan->text[i] == 'E')) {
    shape.fraction = true;
    i++;
    bool negative = i < scan->length && scan->text[i] == '-';
    if (i < scan->length && (scan->text[i] == '-' || scan->text[i] == '+')) i++;
    long exponent = 0;
    for (; i < scan->length && is_digit(scan->text[i]); i++)
      if (exponent < EXPONENT_MAX) exponent = exponent * 10 + (scan->text[i] - '0');
    shape.magnitude += negative ? -exponent : exponent;
  }
  scan->at = i - 1;
  return shape;
}

static enum error_code check_number(struct scan *scan, struct error *err) {
  struct scan start = *scan;
  struct number_shape shape = scan_number(scan);
  if (!shape.fraction || shape.digits == 0) return ERR_OK;
  if (shape.digits > JSON_NUMBER_DIGITS_MAX)
    return refuse(&start, err,
                  "a fraction of more than 15 significant digits would be changed: "
                  "send it as a string");
  /* Near the ends of a double's range digits get lost, too. */
  if (shape.magnitude < -307 || shape.magnitude > 307)
    return refuse(&start, err, "a number out of a double's range: send it as a string");
  return ERR_OK;
}

static enum error_code refuse_depth(const struct scan *scan, struct error *err, unsigned max) {
  char too_deep[40];
  (void)snprintf(too_deep, sizeof too_deep, "nested more than %u deep", max);
  enum error_code code = refuse(scan, err, too_deep);
  (void)error_limit(err, "json_depth", max);
  return code;
}

static enum error_code check_text(const char *text, size_t length, unsigned depth_max,
                                  struct error *err) {
  struct scan scan = {text, length, 0};
  unsigned depth = 0;
  for (; scan.at < length; scan.at++) {
    enum error_code code = ERR_OK;
    char c = text[scan.at];
    if (c == '"')
      scan_string(&scan);
    else if (c == '-' || is_digit(c))
      code = check_number(&scan, err);
    else if (c == '{' || c == '[')
      code = ++depth > depth_max ? refuse_depth(&scan, err, depth_max) : ERR_OK;
    else if ((c == '}' || c == ']') && depth > 0)
      depth--;
    if (code != ERR_OK) return code;
  }
  return ERR_OK;
}

/* jansson (2.14) does not look whether the text that it reads could grow. When it could not, a byte
 * of a string is left out and the parser goes on: it would be another statement, or amount; and
 * where that byte is the closing quote it writes beyond its memory. So it must never be told. */
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

json_t *json_parse(const char *text, size_t length, struct error *err) {
  return json_parse_within(text, length, JSON_DEPTH_MAX, err);
}

json_t *json_parse_within(const char *text, size_t length, unsigned depth_max, struct error *err) {
  if (check_text(text, length, depth_max, err) != ERR_OK) return NULL;
  json_error_t failure;
  json_t *value = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &failure);
  if (value) return value;
  /* The tail quotes the input, of which only the place is wanted. */
  char *quote = strstr(failure.text, " near ");
  if (quote) *quote = '\0';
  error_set(err, ERR_BAD_JSON, "line %d, column %d: %s", failure.line, failure.column,
            failure.text);
  return NULL;
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

static enum error_code check_field(const json_t *object, const char *pointer,
                                   const struct json_field *field, struct error *err) {
  const json_t *value = json_object_get(object, field->name);
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
    enum error_code code = check_field(value, pointer, &fields[i], err);
    if (code != ERR_OK) return code;
    known += json_object_get(value, fields[i].name) != NULL;
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
