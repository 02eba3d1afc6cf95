/* Routes that answer with a file of the program. Without a token: they tell nothing that is not in every
 * copy of it. What the console shows it asks for with the token of whoever looks at it. */
#include <stdlib.h>
#include <string.h>

#include "coordinator/embedded.h"
#include "coordinator/routes_more.h"

static void respond_file(struct http_request *request, enum embedded_file file, const char *type,
                         const struct http_header *headers, size_t header_count) {
  size_t length;
  const char *text = embedded_text(file, &length);
  char *body = malloc(length);
  if (body) memcpy(body, text, length);
  http_respond_take(request, 200, type, body, length, headers, header_count);
}

void get_openapi(struct http_request *request, void *data) {
  (void)data;
  respond_file(request, EMBEDDED_OPENAPI, "application/json", NULL, 0);
}

/* Nothing from elsewhere, nothing inline, nowhere else to send anything, and in nobody's frame. */
static const struct http_header console_headers[] = {
    {"Content-Security-Policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
     "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"},
    {"Referrer-Policy", "no-referrer"},
};
enum { CONSOLE_HEADERS = sizeof console_headers / sizeof console_headers[0] };

void get_console(struct http_request *request, void *data) {
  (void)data;
  respond_file(request, EMBEDDED_CONSOLE, "text/html; charset=utf-8", console_headers,
               CONSOLE_HEADERS);
}

void get_console_style(struct http_request *request, void *data) {
  (void)data;
  respond_file(request, EMBEDDED_CONSOLE_STYLE, "text/css; charset=utf-8", NULL, 0);
}

void get_console_script(struct http_request *request, void *data) {
  (void)data;
  respond_file(request, EMBEDDED_CONSOLE_SCRIPT, "text/javascript; charset=utf-8", NULL, 0);
}
