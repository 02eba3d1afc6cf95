/* Responses of http_server.c: the headers that all have, and problem documents (RFC 9457).
 */
#ifndef ASSENT_COMMON_HTTP_RESPONSE_H
#define ASSENT_COMMON_HTTP_RESPONSE_H

#include <microhttpd.h>
#include <stddef.h>

#include "common/error.h"

/* Takes `body` (NULL: memory has run out, and the response says so: 503 in `*status`, reply_lost,
 * since what was asked for may have been done). NULL when
 * memory has run out for even this. Owner: the caller, MHD_destroy_response(). */
struct MHD_Response *http_response_take(int *status, const char *content_type, char *body,
                                        size_t length);
/* Sets `*status`. `extra` as in http_respond_error(). */
struct MHD_Response *http_response_problem(const struct error *err, const char *extra, int *status);
/* What every response has, whatever is in it. */
void http_response_common(struct MHD_Response *response, const char *content_type);
void http_response_header(struct MHD_Response *response, const char *name, const char *value);

#endif
