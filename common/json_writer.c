/* The writing half of json.h: JSON text without a tree.
 *
 * On the hot path of every request, so: room is checked once a call, the buffer doubles, and
 * strings are copied in runs between the bytes that need an escape. Limits: none of its own;
 * memory.
 */
#include "common/json.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/utf8.h"

enum { CAPACITY_MIN = 512, ESCAPE_SIZE = 6 };

/* ---- the buffer -------------------------------------------------------------------------------
 */

void json_writer_init(struct json_writer *w) {
  *w = (struct json_writer){0};
}

void json_writer_close(struct json_writer *w) {
  free(w->data);
  json_writer_init(w);
}

/* Makes room for `more` bytes and a NUL. */
static bool reserve(struct json_writer *w, size_t more) {
  if (w->failed) return false;
  size_t need = w->length + more + 1;
  if (need <= w->capacity) return true;
  size_t capacity = w->capacity ? w->capacity : CAPACITY_MIN;
  while (capacity < need)
    capacity *= 2;
  char *data = realloc(w->data, capacity);
  if (!data) {
    w->failed = true;
    return false;
  }
  w->data = data;
  w->capacity = capacity;
  return true;
}

char *json_writer_take(struct json_writer *w, size_t *length) {
  if (!reserve(w, 0)) {
    json_writer_close(w);
    return NULL;
  }
  char *data = w->data;
  data[w->length] = '\0';
  if (length) *length = w->length;
  json_writer_init(w);
  return data;
}

/* The three below need room that was reserved. */

static void put_byte(struct json_writer *w, char byte) {
  w->data[w->length++] = byte;
}

static void put(struct json_writer *w, const char *text, size_t length) {
  memcpy(w->data + w->length, text, length);
  w->length += length;
}

static void put_comma(struct json_writer *w) {
  if (w->comma) put_byte(w, ',');
  w->comma = true;
}

static void put_value(struct json_writer *w, const char *text, size_t length) {
  if (!reserve(w, length + 1)) return;
  put_comma(w);
  put(w, text, length);
}

/* ---- strings ----------------------------------------------------------------------------------
 */

static void put_escape(struct json_writer *w, unsigned char c) {
  static const char hex[] = "0123456789abcdef";
  static const char letters[] = "btn.fr"; /* 0x08 to 0x0D */
  if (!reserve(w, ESCAPE_SIZE)) return;
  put_byte(w, '\\');
  if (c == '"' || c == '\\') {
    put_byte(w, (char)c);
  } else if (c >= 0x08 && c <= 0x0D && c != 0x0B) {
    put_byte(w, letters[c - 0x08]);
  } else {
    put(w, "u00", 3);
    put_byte(w, hex[c >> 4]);
    put_byte(w, hex[c & 15]);
  }
}

static bool is_plain(char c) {
  return (unsigned char)c >= 0x20 && (unsigned char)c < 0x7F && c != '"' && c != '\\';
}

/* Quotes included. */
static void put_string(struct json_writer *w, const char *text, size_t length) {
  if (!reserve(w, length + 2)) return; /* enough, unless something must be escaped */
  put_byte(w, '"');
  const char *end = text + length;
  while (text < end) {
    const char *run = text;
    while (text < end && is_plain(*text))
      text++;
    if (!reserve(w, (size_t)(end - run) + 1)) return;
    put(w, run, (size_t)(text - run));
    if (text == end) break;
    size_t sequence = utf8_sequence(text, (size_t)(end - text));
    if (sequence > 1)
      put(w, text, sequence);
    else if (sequence == 1)
      put_escape(w, (unsigned char)*text);
    else if (reserve(w, 3))
      put(w, "\xEF\xBF\xBD", 3);
    text += sequence ? sequence : 1;
  }
  if (reserve(w, 1)) put_byte(w, '"');
}

void json_write_string_n(struct json_writer *w, const char *text, size_t length) {
  if (!reserve(w, 1)) return;
  put_comma(w);
  put_string(w, text, length);
}

void json_write_string(struct json_writer *w, const char *text) {
  if (text)
    json_write_string_n(w, text, strlen(text));
  else
    json_write_null(w);
}

/* ---- structure --------------------------------------------------------------------------------
 */

static void begin(struct json_writer *w, char bracket) {
  put_value(w, &bracket, 1);
  w->comma = false;
}

static void end(struct json_writer *w, char bracket) {
  if (!reserve(w, 1)) return;
  put_byte(w, bracket);
  w->comma = true;
}

void json_object_begin(struct json_writer *w) {
  begin(w, '{');
}

void json_object_end(struct json_writer *w) {
  end(w, '}');
}

void json_array_begin(struct json_writer *w) {
  begin(w, '[');
}

void json_array_end(struct json_writer *w) {
  end(w, ']');
}

void json_key(struct json_writer *w, const char *name) {
  size_t length = strlen(name);
  if (!reserve(w, length + 4)) return;
  put_comma(w);
  put_byte(w, '"');
  put(w, name, length);
  put(w, "\":", 2);
  w->comma = false;
}

/* ---- other values -----------------------------------------------------------------------------
 */

const char *json_format_integer(int64_t value, char out[32]) {
  char *at = out + 31;
  uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
  *at = '\0';
  do
    *--at = (char)('0' + rest % 10);
  while ((rest /= 10) > 0);
  if (value < 0) *--at = '-';
  return at;
}

void json_write_integer(struct json_writer *w, int64_t value) {
  char out[32];
  const char *digits = json_format_integer(value, out);
  put_value(w, digits, (size_t)(out + 31 - digits));
}

void json_member_text(struct json_writer *w, const char *name, const char *text) {
  if (!text || text[0] == '\0') return;
  json_key(w, name);
  json_write_string(w, text);
}

void json_member_integer(struct json_writer *w, const char *name, int64_t value) {
  if (value == 0) return;
  json_key(w, name);
  json_write_integer(w, value);
}

void json_write_limit(struct json_writer *w, const struct limit_met *limit) {
  json_object_begin(w);
  json_key(w, "name");
  json_write_string(w, limit->name);
  json_key(w, "value");
  json_write_integer(w, limit->value);
  json_object_end(w);
}

void json_write_real(struct json_writer *w, double value) {
  char real[32];
  json_format_real(value, real);
  json_write_raw(w, real);
}

void json_write_boolean(struct json_writer *w, bool value) {
  if (value)
    put_value(w, "true", 4);
  else
    put_value(w, "false", 5);
}

void json_write_null(struct json_writer *w) {
  put_value(w, "null", 4);
}

void json_write_time(struct json_writer *w, int64_t wall_us) {
  if (wall_us == 0) {
    json_write_null(w);
    return;
  }
  char text[RFC3339_SIZE];
  clock_format_rfc3339(wall_us, text);
  json_write_string_n(w, text, RFC3339_SIZE - 1);
}

void json_write_raw(struct json_writer *w, const char *text) {
  if (text)
    put_value(w, text, strlen(text));
  else
    json_write_null(w);
}

void json_write_newline(struct json_writer *w) {
  if (!reserve(w, 1)) return;
  put_byte(w, '\n');
  w->comma = false;
}

static void write_object(struct json_writer *w, const json_t *value) {
  json_object_begin(w);
  /* jansson's iterators take a json_t they do not change. */
  json_t *object = (json_t *)(uintptr_t)value;
  for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at)) {
    json_write_string(w, json_object_iter_key(at));
    if (!reserve(w, 1)) return;
    put_byte(w, ':');
    w->comma = false;
    json_write_value(w, json_object_iter_value(at));
  }
  json_object_end(w);
}

void json_write_value(struct json_writer *w, const json_t *value) {
  char real[32];
  switch (json_typeof(value)) {
  case JSON_OBJECT: write_object(w, value); break;
  case JSON_ARRAY:
    json_array_begin(w);
    for (size_t i = 0; i < json_array_size(value); i++)
      json_write_value(w, json_array_get(value, i));
    json_array_end(w);
    break;
  case JSON_STRING:
    json_write_string_n(w, json_string_value(value), json_string_length(value));
    break;
  case JSON_INTEGER: json_write_integer(w, json_integer_value(value)); break;
  case JSON_REAL:
    json_format_real(json_real_value(value), real);
    json_write_raw(w, real);
    break;
  case JSON_TRUE: json_write_boolean(w, true); break;
  case JSON_FALSE: json_write_boolean(w, false); break;
  case JSON_NULL: json_write_null(w); break;
  }
}
