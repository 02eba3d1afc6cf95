/* See http_uri.h. */
#include "common/http_uri.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

#include "common/utf8.h"

static int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* The byte that "%41" stands for; -1 when it stands for none, or for NUL. */
static int escape_value(const char *text) {
  int high = hex_value(text[1]);
  int low = high < 0 ? -1 : hex_value(text[2]);
  if (low < 0 || high * 16 + low == 0) return -1;
  return high * 16 + low;
}

static bool escapes_are_good(const char *text) {
  for (const char *c = strchr(text, '%'); c; c = strchr(c + 3, '%'))
    if (escape_value(c) < 0) return false;
  return true;
}

/* Decodes `length` bytes whose escapes are good. `to` may be `from`. Returns the decoded length. */
static size_t decode(char *to, const char *from, size_t length, bool plus_is_blank) {
  size_t written = 0;
  for (size_t i = 0; i < length; i++) {
    char c = from[i];
    if (c == '%') {
      c = (char)escape_value(from + i);
      i += 2;
    } else if (c == '+' && plus_is_blank) {
      c = ' ';
    }
    to[written++] = c;
  }
  to[written] = '\0';
  return written;
}

static bool is_utf8(const char *text) {
  size_t left = strlen(text);
  while (left > 0) {
    size_t length = utf8_sequence(text, left);
    if (length == 0) return false;
    text += length;
    left -= length;
  }
  return true;
}

/* A blank may come through in the middle of the request's first line, and any control character. */
static bool has_blank_or_control(const char *text) {
  for (; *text; text++)
    if ((*text > 0 && *text <= ' ') || *text == '\x7f') return true;
  return false;
}

/* Of "http://authority/path" (RFC 9112, 3.2.2). The authority moves over the slashes before it, which makes room
 * for its end, and for the path's slash where there is none. Returns where the path begins. */
static char *split_authority(char *text, const char **authority) {
  size_t scheme = strncasecmp(text, "http://", 7) == 0    ? 7
                  : strncasecmp(text, "https://", 8) == 0 ? 8
                                                          : 0;
  if (scheme == 0) return text;
  size_t length = strcspn(text + scheme, "/?");
  char *moved = text + scheme - 2;
  memmove(moved, text + scheme, length);
  moved[length] = '\0';
  *authority = moved;
  char *path = text + scheme + length;
  if (*path != '/') *--path = '/';
  return path;
}

bool http_target_parse(char *text, struct http_target *out) {
  *out = (struct http_target){0};
  if (has_blank_or_control(text)) return false;
  text = split_authority(text, &out->authority);
  out->path = text;
  char *query = strchr(text, '?');
  if (query) *query++ = '\0';
  if (!escapes_are_good(text) || (query && !escapes_are_good(query))) return false;

  char *rest = query;
  for (char *pair = strsep(&rest, "&"); pair; pair = strsep(&rest, "&")) {
    if (*pair == '\0') continue;
    if (out->param_count == HTTP_PARAMS_MAX) return false;
    char *value = pair;
    char *name = strsep(&value, "=");
    decode(name, name, strlen(name), true);
    if (value) decode(value, value, strlen(value), true);
    if (!is_utf8(name) || (value && !is_utf8(value))) return false;
    out->params[out->param_count++] = (struct http_param){name, value ? value : ""};
  }
  return true;
}

bool http_path_match(const char *pattern, const char *path, struct http_captures *out) {
  out->count = 0;
  for (;;) {
    if (*pattern == '\0' || *path == '\0') return *pattern == *path;
    if (*pattern++ != '/' || *path++ != '/') return false;
    if (*pattern == '{') {
      assert(out->count < HTTP_CAPTURES_MAX);
      char text[3 * HTTP_CAPTURE_SIZE];
      size_t length = strcspn(path, "/");
      if (length == 0 || length >= sizeof text) return false;
      if (decode(text, path, length, false) >= HTTP_CAPTURE_SIZE) return false;
      memcpy(out->text[out->count++], text, strlen(text) + 1);
      path += length;
      pattern += strcspn(pattern, "/");
    }
    while (*pattern != '\0' && *pattern != '/') /* most patterns differ in their first characters */
      if (*pattern++ != *path++) return false;
    if (*path != '\0' && *path != '/') return false;
  }
}
