/* See json.h: text to jansson's values, in one pass.
 *
 * Reading was a tenth of what a transaction costs a coordinator, and a fifth with agents: jansson goes
 * from byte to byte through four functions, and what it does not check (depth, digits) took a pass of its
 * own. Here the grammar of RFC 8259 is spelt out, with those checks where they belong; the values, and
 * what is asked of them, stay jansson's.
 *
 * Invariants: `at` never passes `length`; a function that reads a value stands behind it on success. Strings
 * of the text are checked, copied once into the value, and need no memory but for escapes.
 * Limits: depth_max, by which the recursion is bounded, too.
 */
#include "common/json.h"

#include <stdlib.h>
#include <string.h>

#include "common/utf8.h"

enum { EXPONENT_MAX = 100000 }; /* counting on would not change what is said of it */

struct parser {
  const char *text;
  size_t length, at;
  unsigned depth, depth_max;
  bool checks_only; /* a value that is well formed is told by `true` */
  char *unescaped;  /* owned; as long as the text */
  char *number;     /* the same */
  struct error *err;
};

/* The error is of the character at `place`; behind the end, of the last one. */
static json_t *refuse_at(struct parser *p, size_t place, const char *what) {
  size_t line = 1, column = 0;
  for (size_t i = 0; i <= place && i < p->length; i++) {
    if (i > 0 && p->text[i - 1] == '\n') {
      line++;
      column = 0;
    }
    if ((p->text[i] & 0xC0) != 0x80) column++; /* characters */
  }
  error_set(p->err, ERR_BAD_JSON, "line %zu, column %zu: %s", line, column, what);
  return NULL;
}

static json_t *refuse(struct parser *p, const char *what) {
  return refuse_at(p, p->at, p->at < p->length ? what : "the text ends too early");
}

static char peek(const struct parser *p) {
  return p->at < p->length ? p->text[p->at] : '\0';
}

static void skip_space(struct parser *p) {
  while (p->at < p->length && (p->text[p->at] == ' ' || p->text[p->at] == '\n' ||
                               p->text[p->at] == '\r' || p->text[p->at] == '\t'))
    p->at++;
}

static bool take(struct parser *p, char c) {
  if (peek(p) != c) return false;
  p->at++;
  return true;
}

/* Without memory the process ends, as in json.c: what is read must never be a little different. */
static char *must_have(char **memory, size_t size) {
  if (!*memory) *memory = malloc(size);
  if (!*memory) abort();
  return *memory;
}

/* ---- strings ----------------------------------------------------------------------------------- */

/* Four hexadecimal digits; -1: other characters. */
static long read_hex(struct parser *p) {
  long value = 0;
  for (int i = 0; i < 4; i++, p->at++) {
    char c = peek(p);
    if (c >= '0' && c <= '9')
      value = value * 16 + (c - '0');
    else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
      value = value * 16 + ((c | 0x20) - 'a' + 10);
    else
      return -1;
  }
  return value;
}

static size_t put_utf8(char *out, long code) {
  size_t length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  static const unsigned char first[] = {0, 0, 0xC0, 0xE0, 0xF0};
  for (size_t i = length; i > 1; i--, code >>= 6)
    out[i - 1] = (char)(0x80 | (code & 0x3F));
  out[0] = (char)(first[length] | code);
  return length;
}

/* Behind "\u". False: refused. */
static bool read_unicode(struct parser *p, long *code) {
  size_t start = p->at - 2;
  long low = 0;
  *code = read_hex(p);
  if (*code >= 0xD800 && *code < 0xDC00) {
    low = take(p, '\\') && take(p, 'u') ? read_hex(p) : -1;
    *code =
        low >= 0xDC00 && low < 0xE000 ? 0x10000 + ((*code - 0xD800) << 10) + (low - 0xDC00) : -1;
  } else if (*code >= 0xDC00 && *code < 0xE000) {
    *code = -1;
  }
  if (*code > 0) return true;
  (void)refuse_at(p, start, *code == 0 ? "\\u0000 is not allowed" : "an invalid Unicode escape");
  return false;
}

/* Stands at the backslash. False: refused. */
static bool read_escape(struct parser *p, char *out, size_t *length) {
  static const char names[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
  long code;
  p->at++;
  char c = peek(p);
  const char *name = c ? strchr(names, c) : NULL;
  if (name) {
    p->at++;
    out[(*length)++] = meant[name - names];
    return true;
  }
  if (!take(p, 'u')) {
    (void)refuse(p, "an invalid escape");
    return false;
  }
  if (!read_unicode(p, &code)) return false;
  *length += put_utf8(out + *length, code);
  return true;
}

/* Up to what does not stand for itself. False: refused. */
static bool read_plain(struct parser *p) {
  while (p->at < p->length) {
    unsigned char c = (unsigned char)p->text[p->at];
    if (c == '"' || c == '\\') return true;
    if (c < 0x20) {
      (void)refuse(p, "a control character in a string");
      return false;
    }
    size_t bytes = c < 0x80 ? 1 : utf8_sequence(p->text + p->at, p->length - p->at);
    if (bytes == 0) {
      (void)refuse(p, "a byte that is not UTF-8");
      return false;
    }
    p->at += bytes;
  }
  (void)refuse(p, "");
  return false;
}

/* Stands behind the opening quote. *out points into the text, or into what the next string overwrites. */
static bool read_string(struct parser *p, const char **out, size_t *length) {
  size_t start = p->at;
  if (!read_plain(p)) return false;
  if (p->text[p->at] == '"') {
    *out = p->text + start;
    *length = p->at++ - start;
    return true;
  }
  char *to = must_have(&p->unescaped, p->length);
  size_t filled = 0;
  for (;;) {
    memcpy(to + filled, p->text + start, p->at - start);
    filled += p->at - start;
    if (take(p, '"')) break;
    if (!read_escape(p, to, &filled)) return false;
    start = p->at;
    if (!read_plain(p)) return false;
  }
  *out = to;
  *length = filled;
  return true;
}

/* ---- numbers ----------------------------------------------------------------------------------- */

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/* What a fraction's text says, apart from its value. */
struct shape {
  size_t digits;  /* significant: from the first to the last that is not zero */
  long magnitude; /* decimal exponent of the first significant digit */
};

static long exponent_of(const char *text, size_t length) {
  bool negative = length > 0 && text[0] == '-';
  long exponent = 0;
  for (size_t i = 0; i < length; i++)
    if (is_digit(text[i]) && exponent < EXPONENT_MAX) exponent = exponent * 10 + (text[i] - '0');
  return negative ? -exponent : exponent;
}

static struct shape shape_of(const char *text, size_t length) {
  struct shape shape = {0};
  long before_point = 0;    /* digits of the integer part, leading zeros aside */
  long zeros_after = 0;     /* zeros right after the point of a number below one */
  size_t zeros_pending = 0; /* inner zeros, if another digit follows */
  bool point = false;
  size_t i = text[0] == '-';
  for (; i < length && text[i] != 'e' && text[i] != 'E'; i++) {
    if (text[i] == '.') {
      point = true;
      continue;
    }
    if (text[i] != '0') {
      shape.digits += zeros_pending + 1;
      zeros_pending = 0;
    } else if (shape.digits > 0) {
      zeros_pending++;
    }
    if (!point && shape.digits > 0) before_point++;
    if (point && shape.digits == 0) zeros_after++;
  }
  shape.magnitude = before_point > 0 ? before_point - 1 : -zeros_after - 1;
  if (i < length) shape.magnitude += exponent_of(text + i + 1, length - i - 1);
  return shape;
}

static json_t *make_fraction(struct parser *p, size_t start) {
  size_t length = p->at - start;
  if (p->checks_only) return json_true();
  struct shape shape = shape_of(p->text + start, length);
  if (shape.digits > JSON_NUMBER_DIGITS_MAX)
    return refuse_at(p, start,
                     "a fraction of more than 15 significant digits would be changed: "
                     "send it as a string");
  /* Near the ends of a double's range digits get lost, too. */
  if (shape.digits > 0 && (shape.magnitude < -307 || shape.magnitude > 307))
    return refuse_at(p, start, "a number out of a double's range: send it as a string");
  char *number = must_have(&p->number, p->length + 1);
  memcpy(number, p->text + start, length);
  number[length] = '\0';
  return json_real(strtod(number, NULL));
}

static bool skip_digits(struct parser *p) {
  size_t start = p->at;
  while (p->at < p->length && is_digit(p->text[p->at]))
    p->at++;
  return p->at > start;
}

static json_t *make_integer(struct parser *p, size_t start) {
  bool negative = p->text[start] == '-';
  uint64_t value = 0, max = (uint64_t)INT64_MAX + negative;
  for (size_t i = start + negative; i < p->at; i++) {
    uint64_t digit = (uint64_t)(p->text[i] - '0');
    if (value > (max - digit) / 10)
      return refuse_at(p, start, "an integer beyond 64 bits: send it as a string");
    value = value * 10 + digit;
  }
  if (p->checks_only) return json_true();
  return json_integer((json_int_t)(negative ? 0 - value : value));
}

static json_t *read_number(struct parser *p) {
  size_t start = p->at;
  (void)take(p, '-');
  if (!take(p, '0') && !skip_digits(p)) return refuse(p, "a digit expected");
  bool fraction = take(p, '.');
  if (fraction && !skip_digits(p)) return refuse(p, "a digit expected");
  if (take(p, 'e') || take(p, 'E')) {
    fraction = true;
    if (!take(p, '+')) (void)take(p, '-');
    if (!skip_digits(p)) return refuse(p, "a digit expected");
  }
  return fraction ? make_fraction(p, start) : make_integer(p, start);
}

/* ---- values ------------------------------------------------------------------------------------ */

static json_t *read_value(struct parser *p);

static json_t *read_word(struct parser *p, const char *word, json_t *value) {
  size_t length = strlen(word);
  if (p->length - p->at < length || memcmp(p->text + p->at, word, length) != 0)
    return refuse(p, "a value expected");
  p->at += length;
  return value;
}

static json_t *read_text(struct parser *p) {
  const char *text;
  size_t length;
  p->at++;
  if (!read_string(p, &text, &length)) return NULL;
  return p->checks_only ? json_true() : json_stringn_nocheck(text, length);
}

/* Takes the item over. False: it was none. */
static bool append(struct parser *p, json_t *array, json_t *item) {
  if (!item || p->checks_only) return item != NULL;
  if (json_array_append_new(array, item) != 0) abort();
  return true;
}

static bool read_items(struct parser *p, json_t *array) {
  skip_space(p);
  if (take(p, ']')) return true;
  for (;;) {
    if (!append(p, array, read_value(p))) return false;
    skip_space(p);
    if (take(p, ']')) return true;
    if (!take(p, ',')) {
      (void)refuse(p, "',' or ']' expected");
      return false;
    }
  }
}

/* Its name may stand where the value's strings will: so it goes first. */
static bool read_member(struct parser *p, json_t *object) {
  const char *name;
  char short_name[64], *copy = NULL;
  size_t length, before = json_object_size(object);
  skip_space(p);
  if (!take(p, '"')) {
    (void)refuse(p, "the name of a member, in quotes, expected");
    return false;
  }
  if (!read_string(p, &name, &length)) return false;
  size_t end = p->at - 1;
  if (name == p->unescaped) {
    char *to = length < sizeof short_name ? short_name : must_have(&copy, length);
    name = memcpy(to, name, length);
  }
  skip_space(p);
  bool colon = take(p, ':');
  json_t *value = colon ? read_value(p) : refuse(p, "':' expected");
  if (value && !p->checks_only) {
    if (json_object_setn_new_nocheck(object, name, length, value) != 0) abort();
    if (json_object_size(object) == before) value = refuse_at(p, end, "duplicate object key");
  }
  free(copy);
  return value != NULL;
}

static bool read_members(struct parser *p, json_t *object) {
  skip_space(p);
  if (take(p, '}')) return true;
  for (;;) {
    if (!read_member(p, object)) return false;
    skip_space(p);
    if (take(p, '}')) return true;
    if (!take(p, ',')) {
      (void)refuse(p, "',' or '}' expected");
      return false;
    }
  }
}

static json_t *read_nested(struct parser *p) {
  bool object = p->text[p->at] == '{';
  if (p->depth == p->depth_max) {
    char what[40];
    (void)snprintf(what, sizeof what, "nested more than %u deep", p->depth_max);
    (void)refuse(p, what);
    (void)error_limit(p->err, "json_depth", p->depth_max);
    return NULL;
  }
  json_t *value = p->checks_only ? json_true() : object ? json_object() : json_array();
  if (!value) abort();
  p->at++;
  p->depth++;
  bool good = object ? read_members(p, value) : read_items(p, value);
  p->depth--;
  if (good) return value;
  json_decref(value);
  return NULL;
}

static json_t *read_value(struct parser *p) {
  skip_space(p);
  switch (peek(p)) {
  case '{':
  case '[': return read_nested(p);
  case '"': return read_text(p);
  case 't': return read_word(p, "true", json_true());
  case 'f': return read_word(p, "false", json_false());
  case 'n': return read_word(p, "null", json_null());
  default:
    if (peek(p) == '-' || is_digit(peek(p))) return read_number(p);
    return refuse(p, "a value expected");
  }
}

static json_t *read_whole(struct parser *p) {
  json_t *value = read_value(p);
  skip_space(p);
  if (value && p->at < p->length) {
    json_decref(value);
    value = refuse_at(p, p->at, "end of file expected");
  }
  free(p->unescaped);
  free(p->number);
  return value;
}

json_t *json_parse_within(const char *text, size_t length, unsigned depth_max, struct error *err) {
  struct parser p = {.text = text, .length = length, .depth_max = depth_max, .err = err};
  return read_whole(&p);
}

json_t *json_parse(const char *text, size_t length, struct error *err) {
  return json_parse_within(text, length, JSON_DEPTH_MAX, err);
}

bool json_is_array_text(const char *text) {
  struct parser p = {
      .text = text, .length = strlen(text), .depth_max = JSON_DEPTH_MAX, .checks_only = true};
  skip_space(&p);
  return peek(&p) == '[' && read_whole(&p) != NULL;
}
