/* What a request's headers must say before it is heard. Pure; used by http_server.c.
 */
#ifndef ASSENT_COMMON_HTTP_RULES_H
#define ASSENT_COMMON_HTTP_RULES_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

enum { HTTP_HEADER_BYTES_MAX = 16384 };

/* By which names this listener is reached. */
struct http_hosts {
  const char *listen_host;
  const char *names; /* further ones, separated by blanks or commas; NULL: none */
};

/* The headers that the rules look at; NULL when absent. */
struct http_headers {
  const char *host, *origin, *accept, *authorization;
  const char *content_type, *content_encoding, *content_length, *transfer_encoding;
  const char *repeated; /* name of a header that came twice and may not */
  bool malformed;       /* a name is not one, or a value has a control character */
  bool host_required;   /* HTTP/1.1 */
  size_t bytes;         /* of all headers */
};

/* Notes one header. `name` and `value` are borrowed for as long as `headers` is used. */
void http_headers_add(struct http_headers *headers, const char *name, const char *value);

/* How long is the body? One way to tell, or none: two would let a proxy and us disagree on where
 * the next request begins. `*length` is SIZE_MAX for a chunked body. ERR_BAD_REQUEST: the
 * connection cannot be used further. */
enum error_code http_check_framing(const struct http_headers *headers, size_t *length,
                                   struct error *err) __attribute__((warn_unused_result));

/* Who asks? A browser tells the page it acts for by Host (whose name was rebound) and Origin. */
enum error_code http_check_source(const struct http_headers *headers,
                                  const struct http_hosts *hosts, struct error *err)
    __attribute__((warn_unused_result));

/* Does Accept include `type` ("application/json": or a problem document)? */
enum error_code http_check_accept(const struct http_headers *headers, const char *type,
                                  struct error *err) __attribute__((warn_unused_result));
enum error_code http_check_content_type(const struct http_headers *headers, struct error *err)
    __attribute__((warn_unused_result));

#endif
