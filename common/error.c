/* See error.h.
 *
 * Invariants: the first error wins; a text is one line (control characters become blanks) and is
 * cut only between UTF-8 sequences.
 */
#include "common/error.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/utf8.h"

struct code_entry {
  const char *wire, *title;
  enum error_class class;
  int status;
};

static const struct code_entry table[] = {
#define X(name, wire, class, status, title) [name] = {wire, title, class, status},
    ERROR_CODES(X)
#undef X
};

enum { CODE_COUNT = sizeof table / sizeof table[0] };

static const struct code_entry *entry_of(enum error_code code) {
  assert((int)code >= 0 && (int)code < CODE_COUNT);
  return &table[code];
}

/* Copies at most size - 1 bytes, as one line. */
static void copy_line(char *to, size_t size, const char *from) {
  size_t length = strlen(from);
  length = utf8_prefix(from, length, size - 1);
  for (size_t i = 0; i < length; i++)
    to[i] = (unsigned char)from[i] < 0x20 || from[i] == 0x7F ? ' ' : from[i];
  to[length] = '\0';
}

enum error_code error_set(struct error *err, enum error_code code, const char *format, ...) {
  assert(code != ERR_OK);
  if (!err || err->code != ERR_OK) return code;
  char text[2 * sizeof err->text];
  va_list args;
  va_start(args, format);
  (void)vsnprintf(text, sizeof text, format, args);
  va_end(args);
  error_clear(err);
  err->code = code;
  copy_line(err->text, sizeof err->text, text);
  return code;
}

enum error_code error_wrap(struct error *err, const char *format, ...) {
  assert(err && err->code != ERR_OK);
  char outer[sizeof err->text];
  va_list args;
  va_start(args, format);
  (void)vsnprintf(outer, sizeof outer, format, args);
  va_end(args);
  char text[2 * sizeof err->text + 2];
  (void)snprintf(text, sizeof text, "%s: %s", outer, err->text);
  copy_line(err->text, sizeof err->text, text);
  return err->code;
}

enum error_code error_field(struct error *err, const char *pointer) {
  if (!err) return ERR_INVALID; /* nobody to tell, yet a field is at fault */
  assert(err->code != ERR_OK);
  if (err->field[0] == '\0') copy_line(err->field, sizeof err->field, pointer);
  return err->code;
}

enum error_code error_field_below(struct error *err, enum error_code code, const char *format,
                                  ...) {
  if (!err || code == ERR_MEMORY) return code;
  char above[sizeof err->field], field[2 * sizeof err->field];
  va_list args;
  va_start(args, format);
  (void)vsnprintf(above, sizeof above, format, args);
  va_end(args);
  (void)snprintf(field, sizeof field, "%s%s", above, err->field);
  copy_line(err->field, sizeof err->field, field);
  return code;
}

enum error_code error_limit(struct error *err, const char *name, int64_t value) {
  if (!err) return ERR_LIMIT;
  assert(err->code != ERR_OK);
  if (!err->limit.name) err->limit = (struct limit_met){limit_name_find(name), value};
  assert(err->limit.name);
  return err->code;
}

void error_clear(struct error *err) {
  *err = (struct error){.code = ERR_OK};
}

const char *error_wire_code(enum error_code code) {
  return entry_of(code)->wire;
}

const char *error_title(enum error_code code) {
  return entry_of(code)->title;
}

enum error_class error_class_of(enum error_code code) {
  return entry_of(code)->class;
}

int error_http_status(enum error_code code) {
  return entry_of(code)->status;
}
