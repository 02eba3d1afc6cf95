/* See log.h.
 *
 * A line is built on the stack and written with one write(), so that lines of several threads do
 * not mix, and logging works when memory has run out. Limits: LINE_MAX_BYTES a line; a longer one
 * loses its last fields and ends in "truncated".
 */
#include "common/log.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/utf8.h"

enum { LINE_MAX_BYTES = 4096, TAIL_BYTES = 32 };

static const char *const level_names[] = {"debug", "info", "warn", "error"};

static struct {
  const char *program;
  enum log_level level;
  bool json;
} settings = {.program = "assent", .level = LOG_INFO};

struct line {
  char text[LINE_MAX_BYTES];
  size_t length;
  bool full; /* what comes now is dropped */
};

void log_setup(const char *program, enum log_level level, enum log_format format) {
  settings.program = program;
  settings.level = level;
  settings.json = format == LOG_JSON || (format == LOG_AUTO && !isatty(STDERR_FILENO));
}

bool log_level_parse(const char *text, enum log_level *out) {
  for (size_t i = 0; i < sizeof level_names / sizeof level_names[0]; i++) {
    if (strcmp(text, level_names[i]) != 0) continue;
    *out = (enum log_level)i;
    return true;
  }
  return false;
}

static void put(struct line *line, const char *text, size_t length) {
  if (line->full || length > sizeof line->text - TAIL_BYTES - line->length) {
    line->full = true;
    return;
  }
  memcpy(line->text + line->length, text, length);
  line->length += length;
}

static void put_text(struct line *line, const char *text) {
  put(line, text, strlen(text));
}

/* As a JSON string: fit for both formats, and no value can forge a line. */
static void put_quoted(struct line *line, const char *text) {
  size_t left = strlen(text);
  put_text(line, "\"");
  while (left > 0) {
    size_t n = utf8_sequence(text, left);
    unsigned char c = (unsigned char)*text;
    char escape[8];
    if (n == 0) {
      put_text(line, "\xEF\xBF\xBD");
    } else if (c == '"' || c == '\\') {
      char pair[] = {'\\', (char)c};
      put(line, pair, sizeof pair);
    } else if (c < 0x20 || c == 0x7F) {
      (void)snprintf(escape, sizeof escape, "\\u%04x", c);
      put_text(line, escape);
    } else {
      put(line, text, n);
    }
    size_t step = n ? n : 1;
    text += step;
    left -= step;
  }
  put_text(line, "\"");
}

static bool is_plain(const char *text) {
  for (const char *c = text; *c; c++)
    if (*c <= ' ' || *c == '"' || *c == '\\' || *c == '=' || *c == 0x7F || *c & 0x80) return false;
  return *text != '\0';
}

static void put_string(struct line *line, const char *text) {
  if (!text)
    put_text(line, "null");
  else if (settings.json || !is_plain(text))
    put_quoted(line, text);
  else
    put_text(line, text);
}

static void put_head(struct line *line, enum log_level level, const char *event) {
  char time[RFC3339_SIZE];
  clock_format_rfc3339(clock_wall_us(), time);
  char head[256];
  int length;
  if (settings.json)
    length = snprintf(head, sizeof head,
                      "{\"time\":\"%s\",\"level\":\"%s\",\"program\":\"%s\",\"event\":\"%s\"", time,
                      level_names[level], settings.program, event);
  else
    length = snprintf(head, sizeof head, "%s %-5s %s", time, level_names[level], event);
  assert(length > 0 && (size_t)length < sizeof head);
  put(line, head, (size_t)length);
}

static void put_field(struct line *line, const char *name, const char *type, va_list *args) {
  size_t before = line->length;
  char number[24];
  const char *text = NULL;
  if (type[0] == 'o') {
    text = va_arg(*args, const char *);
    if (!text) return;
  }
  put_text(line, settings.json ? ",\"" : " ");
  put_text(line, name);
  put_text(line, settings.json ? "\":" : "=");
  switch (type[0]) {
  case 's': put_string(line, va_arg(*args, const char *)); break;
  case 'o': put_string(line, text); break;
  case 'd':
    (void)snprintf(number, sizeof number, "%" PRId64, va_arg(*args, int64_t));
    put_text(line, number);
    break;
  case 'b': put_text(line, va_arg(*args, int) ? "true" : "false"); break;
  default: assert(false && "a field's type is s, o, d or b");
  }
  if (line->full) line->length = before; /* half a field would be half a JSON value */
}

void log_event(enum log_level level, const char *event, ...) {
  if (level < settings.level) return;
  struct line line;
  line.length = 0;
  line.full = false;
  put_head(&line, level, event);

  va_list args;
  va_start(args, event);
  for (const char *name = va_arg(args, const char *); name; name = va_arg(args, const char *)) {
    const char *type = va_arg(args, const char *);
    put_field(&line, name, type, &args);
  }
  va_end(args);

  /* put() has kept TAIL_BYTES for this. */
  const char *tail = settings.json ? (line.full ? ",\"truncated\":true}\n" : "}\n")
                                   : (line.full ? " truncated=true\n" : "\n");
  size_t tail_length = strlen(tail);
  assert(tail_length <= TAIL_BYTES);
  memcpy(line.text + line.length, tail, tail_length);
  line.length += tail_length;

  ssize_t written;
  do
    written = write(STDERR_FILENO, line.text, line.length);
  while (written < 0 && errno == EINTR); /* any other failure: there is nowhere to say it */
}

bool log_gate_pass(struct log_gate *gate, uint64_t now_ms, uint64_t *dropped) {
  if (now_ms - gate->since_ms >= 1000) {
    gate->since_ms = now_ms;
    gate->lines = 0;
  }
  *dropped = 0;
  if (gate->lines == LOG_GATE_LINES) {
    gate->dropped++;
    return false;
  }
  gate->lines++;
  *dropped = gate->dropped;
  gate->dropped = 0;
  return true;
}
