/* See trace_settings.h. */
#include "common/trace_settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { URL_BYTES_MAX = 1000, LINE_BYTES_MAX = 4096 };

/* ---- check ------------------------------------------------------------------------------------ */

/* What stands behind the scheme; NULL: it is none that we speak. */
static const char *after_scheme(const char *url, bool *secure) {
  static const char http[] = "http://", https[] = "https://";
  *secure = strncmp(url, https, strlen(https)) == 0;
  if (*secure) return url + strlen(https);
  return strncmp(url, http, strlen(http)) == 0 ? url + strlen(http) : NULL;
}

static bool is_loopback(const char *authority) {
  char host[256];
  bool bracketed = authority[0] == '[';
  const char *begin = authority + bracketed;
  size_t length = strcspn(begin, bracketed ? "]/" : ":/");
  if (length >= sizeof host) return false;
  memcpy(host, begin, length);
  host[length] = '\0';
  return config_listen_is_loopback(host);
}

static enum error_code check_endpoint(const struct trace_settings *s, struct error *err) {
  bool secure;
  const char *authority = after_scheme(s->endpoint, &secure);
  size_t host = authority ? strcspn(authority, ":/") : 0;
  bool printable = true;
  for (const char *at = s->endpoint; *at; at++)
    printable &= *at > ' ' && *at <= '~';
  /* A name and a password in it would be in logs and listings. */
  if (host == 0 || !printable || strchr(authority, '@') || !strchr(authority, '/') ||
      strlen(s->endpoint) > URL_BYTES_MAX)
    return error_set(err, ERR_CONFIG,
                     "trace_endpoint is http://HOST:PORT/v1/traces or https://..., not \"%.100s\"",
                     s->endpoint);
  if (s->headers_file && !secure && !is_loopback(authority))
    return error_set(err, ERR_CONFIG,
                     "trace_endpoint: trace_headers_file holds secrets, so off loopback it needs "
                     "https");
  return ERR_OK;
}

static enum error_code read_ratio(const struct trace_settings *s, double *out, struct error *err) {
  char *end;
  *out = 0;
  if (!s->sample_ratio) return ERR_OK;
  *out = strtod(s->sample_ratio, &end);
  bool plain = strspn(s->sample_ratio, "0123456789.") == strlen(s->sample_ratio);
  if (plain && end != s->sample_ratio && *end == '\0' && *out <= 1) return ERR_OK;
  return error_set(err, ERR_CONFIG, "trace_sample_ratio: expected 0 to 1, as 0.1, got \"%.40s\"",
                   s->sample_ratio);
}

enum error_code trace_settings_check(const struct trace_settings *s, struct error *err) {
  double ratio;
  enum error_code code = read_ratio(s, &ratio, err);
  if (code == ERR_OK && s->endpoint) code = check_endpoint(s, err);
  return code;
}

/* ---- the file of headers ---------------------------------------------------------------------- */

static bool is_token(const char *text, size_t length) {
  static const char allowed[] =
      "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  return length > 0 && strspn(text, allowed) == length;
}

/* What it holds is never shown. */
static enum error_code check_line(const char *line, struct error *err) {
  const char *colon = strchr(line, ':');
  bool good = colon && is_token(line, (size_t)(colon - line));
  for (const char *at = colon; good && *at; at++)
    good = (unsigned char)*at >= ' ' && *at != 0x7f;
  return good ? ERR_OK : error_set(err, ERR_CONFIG, "a line is not \"Name: value\"");
}

static enum error_code read_lines(FILE *file, char *lines[TRACE_HEADERS_MAX + 1],
                                  struct error *err) {
  char line[LINE_BYTES_MAX];
  size_t count = 0;
  while (fgets(line, sizeof line, file)) {
    size_t length = strcspn(line, "\r\n");
    if (!line[length] && !feof(file)) return error_set(err, ERR_CONFIG, "a line is too long");
    line[length] = '\0';
    if (length == 0 || line[0] == '#') continue;
    if (count == TRACE_HEADERS_MAX)
      return error_set(err, ERR_CONFIG, "at most %d headers", TRACE_HEADERS_MAX);
    if (check_line(line, err) != ERR_OK) return ERR_CONFIG;
    lines[count] = strdup(line);
    if (!lines[count++]) return error_set(err, ERR_MEMORY, "out of memory");
  }
  return ERR_OK;
}

static enum error_code read_headers(const char *path, char *lines[TRACE_HEADERS_MAX + 1],
                                    struct error *err) {
  FILE *file = fopen(path, "re");
  if (!file) return error_set(err, ERR_CONFIG, "trace_headers_file %s: %s", path, strerror(errno));
  enum error_code code = read_lines(file, lines, err);
  (void)fclose(file);
  return code == ERR_OK ? code : error_wrap(err, "trace_headers_file %s", path);
}

/* ---- open ------------------------------------------------------------------------------------- */

static void free_lines(char *lines[TRACE_HEADERS_MAX + 1]) {
  for (size_t i = 0; i <= TRACE_HEADERS_MAX; i++)
    free(lines[i]);
}

enum error_code trace_settings_reload(const struct trace_settings *s, struct tracer *tracer,
                                      struct error *err) {
  char *lines[TRACE_HEADERS_MAX + 1] = {NULL};
  if (!tracer || !s->headers_file) return ERR_OK;
  enum error_code code = read_headers(s->headers_file, lines, err);
  if (code == ERR_OK) tracer_set_headers(tracer, (const char *const *)lines);
  free_lines(lines);
  return code;
}

enum error_code trace_settings_open(const struct trace_settings *s, struct loop *loop,
                                    struct tracer **out, struct error *err) {
  char *lines[TRACE_HEADERS_MAX + 1] = {NULL};
  double ratio;
  *out = NULL;
  if (!s->endpoint) return ERR_OK;
  enum error_code code = read_ratio(s, &ratio, err);
  if (code == ERR_OK && s->headers_file) code = read_headers(s->headers_file, lines, err);
  if (code == ERR_OK)
    *out = tracer_new(loop, &(struct tracer_options){.endpoint = s->endpoint,
                                                     .service_name = s->service_name,
                                                     .headers = (const char *const *)lines,
                                                     .identity = {.ca = s->ca},
                                                     .ratio = ratio});
  free_lines(lines);
  return code;
}
