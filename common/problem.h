/* Problem documents (RFC 9457), as text. */
#ifndef ASSENT_COMMON_PROBLEM_H
#define ASSENT_COMMON_PROBLEM_H

#include <stddef.h>

#include "common/error.h"

#define PROBLEM_CONTENT_TYPE "application/problem+json"

/* `extra` (may be NULL): further members, as in http_respond_error(). NULL: out of memory. Owner: the
 * caller, free(). */
char *problem_make(const struct error *err, const char *extra, size_t *length);
/* The answer may be another in a while: it is sent with Retry-After. */
bool problem_is_temporary(enum error_code code);

#endif
