/* Request targets: path and query, percent-decoded strictly, and routes matched against them.
 * Pure; used by http_server.c.
 */
#ifndef ASSENT_COMMON_HTTP_URI_H
#define ASSENT_COMMON_HTTP_URI_H

#include <stdbool.h>
#include <stddef.h>

enum { HTTP_CAPTURES_MAX = 2, HTTP_CAPTURE_SIZE = 256, HTTP_PARAMS_MAX = 32 };

struct http_param {
  const char *name, *value;
};

struct http_target {
  const char *authority; /* "host:port" of the absolute form; NULL: it was another */
  const char *path;      /* still encoded */
  struct http_param params[HTTP_PARAMS_MAX];
  size_t param_count;
};

struct http_captures {
  char text[HTTP_CAPTURES_MAX][HTTP_CAPTURE_SIZE]; /* decoded */
  unsigned count;
};

/* Takes "/path?a=1&b=2", or the same behind "http://host:port", apart, in place: `out` points into `text`. False when it has a blank or
 * a control character, a bad escape, an encoded NUL, or more than HTTP_PARAMS_MAX parameters. */
bool http_target_parse(char *text, struct http_target *out) __attribute__((warn_unused_result));

/* Does `path` (as parsed) fit `pattern` ("/v1/transactions/{id}")? Captures are not empty. */
bool http_path_match(const char *pattern, const char *path, struct http_captures *out)
    __attribute__((warn_unused_result));

#endif
