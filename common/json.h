/* JSON in (to jansson's values, by a reader of our own) and out (a writer without a tree).
 */
#ifndef ASSENT_COMMON_JSON_H
#define ASSENT_COMMON_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/* ---- in ---- */

enum { JSON_DEPTH_MAX = 32, JSON_NUMBER_DIGITS_MAX = 15 };

/* Parses one JSON value (RFC 8259), UTF-8, nothing after it. Refused with ERR_BAD_JSON and the
 * place (line and column): duplicate keys, NUL, bad UTF-8, nesting over JSON_DEPTH_MAX, integers
 * beyond 64 bits, fractions of more significant digits than a double carries exactly (the money of
 * somebody: "send it as a string"). `text` need not be NUL-terminated. Owner: the caller,
 * json_decref(). NULL on error. */
json_t *json_parse(const char *text, size_t length, struct error *err);
/* The same with a limit of the caller's in the place of JSON_DEPTH_MAX. */
json_t *json_parse_within(const char *text, size_t length, unsigned depth_max, struct error *err);
/* Is it one array and nothing else? Nothing is made of it: numbers may have any number of digits. */
bool json_is_array_text(const char *text);

enum json_kind {
  JSON_KIND_ANY,
  JSON_KIND_STRING,
  JSON_KIND_INTEGER,
  JSON_KIND_BOOLEAN,
  JSON_KIND_ARRAY,
  JSON_KIND_OBJECT
};

struct json_field {
  const char *name;
  enum json_kind kind;
  bool required;
  int64_t min, max; /* INTEGER: value; STRING: bytes; ARRAY: length. Both 0: not checked */
};

/* Checks that `value` is an object with just these fields (null counts as absent unless kind is
 * ANY). ERR_INVALID or ERR_UNKNOWN_FIELD, with err->field set to `pointer` + "/name" and a text
 * that says what was expected and what came. */
enum error_code json_check_object(const json_t *value, const char *pointer,
                                  const struct json_field *fields, size_t field_count,
                                  struct error *err) __attribute__((warn_unused_result));

/* Read a field that json_check_object() has accepted; `absent` when it is missing or null. */
const char *json_get_string(const json_t *object, const char *name, const char *absent);
int64_t json_get_integer(const json_t *object, const char *name, int64_t absent);
bool json_get_boolean(const json_t *object, const char *name, bool absent);

/* The member "limit" of an answer; none when it is missing, or not known here. */
struct limit_met json_get_limit(const json_t *object);

/* The shortest text that reads back as the same double ("10.1", not "10.100000000000000"). */
void json_format_real(double value, char out[32]);
/* Returns where in `out` it begins. */
const char *json_format_integer(int64_t value, char out[32]);

/* ---- out ---- */

/* Commas and colons are put in by the writer; strings are escaped; text that is not UTF-8 comes out
 * with U+FFFD in place of each bad byte. When memory runs out `failed` is set and later calls do
 * nothing; look at it once at the end. */
struct json_writer {
  char *data; /* not NUL-terminated until json_writer_take() */
  size_t length, capacity;
  bool failed;
  bool comma; /* a value was written at this level */
};

void json_writer_init(struct json_writer *w);
void json_writer_close(struct json_writer *w);
/* NUL-terminated. Owner: the caller, free(). NULL when `failed`. Resets the writer. */
char *json_writer_take(struct json_writer *w, size_t *length);

void json_object_begin(struct json_writer *w);
void json_object_end(struct json_writer *w);
void json_array_begin(struct json_writer *w);
void json_array_end(struct json_writer *w);
void json_key(struct json_writer *w, const char *name); /* name: plain ASCII, not escaped */
/* Key and value; left out where there is none: NULL or "", 0. */
void json_member_text(struct json_writer *w, const char *name, const char *text);
void json_member_integer(struct json_writer *w, const char *name, int64_t value);
void json_write_string(struct json_writer *w, const char *text); /* NULL: null */
void json_write_string_n(struct json_writer *w, const char *text, size_t length);
void json_write_integer(struct json_writer *w, int64_t value);
void json_write_real(struct json_writer *w, double value); /* finite */
void json_write_boolean(struct json_writer *w, bool value);
void json_write_null(struct json_writer *w);
void json_write_time(struct json_writer *w, int64_t wall_us);                /* RFC 3339; 0: null */
void json_write_limit(struct json_writer *w, const struct limit_met *limit); /* {"name","value"} */
/* `text` is one JSON value already (NULL: null). */
void json_write_raw(struct json_writer *w, const char *text);
/* Behind a whole value: what comes next is another line's. */
void json_write_newline(struct json_writer *w);
/* Any jansson value, for what is not on the hot path. */
void json_write_value(struct json_writer *w, const json_t *value);

#endif
