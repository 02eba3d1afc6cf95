/* See trace.h. */
#include "common/trace.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* Offsets of traceparent's parts. */
enum { AT_TRACE_ID = 3, AT_SPAN_ID = 36, AT_FLAGS = 53, LENGTH = TRACEPARENT_SIZE - 1 };
enum { KEY_BYTES_MAX = 256, VALUE_BYTES_MAX = 256 };

/* ---- hexadecimal ------------------------------------------------------------------------------ */

static const char digits[] = "0123456789abcdef";

void trace_hex(const uint8_t *bytes, unsigned long size, char *out) {
  for (unsigned long i = 0; i < size; i++) {
    *out++ = digits[bytes[i] >> 4];
    *out++ = digits[bytes[i] & 15];
  }
  *out = '\0';
}

/* -1: not a digit. Upper case is none here. */
static int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hex(const char *text, uint8_t *out, size_t size) {
  for (size_t i = 0; i < size; i++) {
    int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    out[i] = (uint8_t)(high * 16 + low);
  }
  return true;
}

static bool is_zero(const uint8_t *bytes, size_t size) {
  for (size_t i = 0; i < size; i++)
    if (bytes[i]) return false;
  return true;
}

/* ---- traceparent ------------------------------------------------------------------------------ */

static bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

/* What version 00 ends with, a later one may go on from. */
static bool ends_well(const char *rest, uint8_t version) {
  if (version > 0 && *rest == '-') return true;
  while (is_blank(*rest))
    rest++;
  return *rest == '\0';
}

bool traceparent_parse(const char *text, struct trace_context *out) {
  uint8_t version;
  while (is_blank(*text))
    text++;
  if (strnlen(text, LENGTH) < LENGTH) return false;
  if (text[AT_TRACE_ID - 1] != '-' || text[AT_SPAN_ID - 1] != '-' || text[AT_FLAGS - 1] != '-')
    return false;
  *out = (struct trace_context){0};
  if (!read_hex(text, &version, 1) || version == 0xff || !ends_well(text + LENGTH, version))
    return false;
  if (!read_hex(text + AT_TRACE_ID, out->trace_id, sizeof out->trace_id) ||
      !read_hex(text + AT_SPAN_ID, out->span_id, sizeof out->span_id) ||
      !read_hex(text + AT_FLAGS, &out->flags, 1))
    return false;
  out->flags &=
      TRACE_SAMPLED | TRACE_RANDOM; /* the others have no meaning yet, and go no further */
  return !is_zero(out->trace_id, sizeof out->trace_id) &&
         !is_zero(out->span_id, sizeof out->span_id);
}

void traceparent_format(const struct trace_context *context, char out[TRACEPARENT_SIZE]) {
  memcpy(out, "00-", AT_TRACE_ID);
  trace_hex(context->trace_id, sizeof context->trace_id, out + AT_TRACE_ID);
  out[AT_SPAN_ID - 1] = '-';
  trace_hex(context->span_id, sizeof context->span_id, out + AT_SPAN_ID);
  out[AT_FLAGS - 1] = '-';
  trace_hex(&context->flags, 1, out + AT_FLAGS);
}

/* ---- tracestate ------------------------------------------------------------------------------- */

static bool is_key(const char *text, size_t length) {
  if (length == 0 || length > KEY_BYTES_MAX) return false;
  if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789", text[0])) return false;
  for (size_t i = 0; i < length; i++)
    if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789_-*/@", text[i])) return false;
  return true;
}

static bool is_value(const char *text, size_t length) {
  if (length == 0 || length > VALUE_BYTES_MAX) return false;
  for (size_t i = 0; i < length; i++)
    if (text[i] < ' ' || text[i] > '~' || text[i] == '=') return false;
  return true;
}

static bool is_member(const char *text, size_t length) {
  const char *equals = memchr(text, '=', length);
  if (!equals) return false;
  size_t key = (size_t)(equals - text);
  return is_key(text, key) && is_value(equals + 1, length - key - 1);
}

bool tracestate_is_valid(const char *text) {
  unsigned members = 0;
  if (strnlen(text, TRACESTATE_BYTES_MAX + 1) > TRACESTATE_BYTES_MAX) return false;
  for (const char *at = text;;) {
    size_t length = strcspn(at, ",");
    const char *end = at + length;
    const char *begin = at;
    while (begin < end && is_blank(*begin))
      begin++;
    const char *last = end;
    while (last > begin && is_blank(last[-1]))
      last--;
    /* Empty ones are allowed, and mean nothing. */
    if (last > begin &&
        (!is_member(begin, (size_t)(last - begin)) || ++members > TRACESTATE_MEMBERS_MAX))
      return false;
    if (*end == '\0') return members > 0;
    at = end + 1;
  }
}

/* ---- kept ------------------------------------------------------------------------------------- */

struct trace *trace_new(const struct trace_context *context) {
  size_t size = context->state ? strlen(context->state) + 1 : 0;
  struct trace *trace = malloc(sizeof *trace + size);
  if (!trace) return NULL;
  trace->context = *context;
  trace_hex(context->trace_id, sizeof context->trace_id, trace->id);
  if (context->state) trace->context.state = memcpy(trace->state, context->state, size);
  return trace;
}

const char *trace_id_of(const struct trace *trace) {
  return trace ? trace->id : NULL;
}
