/* Errors: one table of codes, and the struct in which a caller receives one.
 *
 * Functions that can fail for an operating reason return `enum error_code` (ERR_OK is 0) and fill a
 * caller-owned `struct error` when one is given. The first error wins: error_set() on a struct that
 * already holds one does nothing. A bug is not an error: it asserts, in release builds too.
 */
#ifndef ASSENT_COMMON_ERROR_H
#define ASSENT_COMMON_ERROR_H

#include <stdbool.h>
#include <stdint.h>

#include "common/limit.h"

/* What the receiver may conclude from an error.
 *   CALLER     the request is at fault; repeating it unchanged will fail again
 *   RETRY      nothing happened; the same request may be repeated
 *   AMBIGUOUS  it may or may not have happened; look it up, never report it as a failure
 *   FATAL      this process cannot go on */
enum error_class { CLASS_NONE, CLASS_CALLER, CLASS_RETRY, CLASS_AMBIGUOUS, CLASS_FATAL };

/* name, wire code (problem JSON `code`), class, HTTP status, title */
#define ERROR_CODES(X)                                                                             \
  X(ERR_OK, "ok", CLASS_NONE, 200, "OK")                                                           \
  X(ERR_BAD_REQUEST, "bad_request", CLASS_CALLER, 400, "Malformed request")                        \
  X(ERR_BAD_JSON, "bad_json", CLASS_CALLER, 400, "The body is not valid JSON")                     \
  X(ERR_BAD_ID, "bad_id", CLASS_CALLER, 400, "Not a transaction id")                               \
  X(ERR_UNAUTHORIZED, "unauthorized", CLASS_CALLER, 401, "Authentication required")                \
  X(ERR_FORBIDDEN, "forbidden", CLASS_CALLER, 403, "Not allowed")                                  \
  X(ERR_SQL_NOT_ALLOWED, "sql_not_allowed", CLASS_CALLER, 403,                                     \
    "Only named statements may run here")                                                          \
  X(ERR_NOT_FOUND, "not_found", CLASS_CALLER, 404, "No such thing here")                           \
  X(ERR_METHOD, "method_not_allowed", CLASS_CALLER, 405, "Method not allowed")                     \
  X(ERR_NOT_ACCEPTABLE, "not_acceptable", CLASS_CALLER, 406, "Only application/json is served")    \
  X(ERR_ABORTED, "aborted", CLASS_CALLER, 409, "The transaction has aborted")                      \
  X(ERR_COMMITTED, "committed", CLASS_CALLER, 409, "The transaction has committed")                \
  X(ERR_MIXED, "mixed", CLASS_CALLER, 409, "The branches have ended at odds")                      \
  X(ERR_NOT_IN_DOUBT, "not_in_doubt", CLASS_CALLER, 409, "The branch is not in doubt")             \
  X(ERR_NOT_OPEN, "not_open", CLASS_CALLER, 409, "The transaction is not open")                    \
  X(ERR_BUSY, "busy", CLASS_CALLER, 409, "The transaction is busy with another statement")         \
  X(ERR_KEY_RUNNING, "key_in_progress", CLASS_RETRY, 409,                                          \
    "The first request with this key is under way")                                                \
  X(ERR_FENCED, "fenced", CLASS_CALLER, 409, "This coordinator's epoch is not the current one")    \
  X(ERR_TOO_LARGE, "too_large", CLASS_CALLER, 413, "The body is too large")                        \
  X(ERR_URI_TOO_LONG, "uri_too_long", CLASS_CALLER, 414, "The path and query are too long")        \
  X(ERR_MEDIA_TYPE, "media_type", CLASS_CALLER, 415, "The body must be application/json")          \
  X(ERR_INVALID, "invalid", CLASS_CALLER, 422, "A field is not valid")                             \
  X(ERR_UNKNOWN_FIELD, "unknown_field", CLASS_CALLER, 422, "Unknown field")                        \
  X(ERR_UNKNOWN_PARTICIPANT, "unknown_participant", CLASS_CALLER, 422, "No such participant")      \
  X(ERR_UNKNOWN_STATEMENT, "unknown_statement", CLASS_CALLER, 422, "No such statement")            \
  X(ERR_KEY_REUSED, "key_reused", CLASS_CALLER, 422, "The key was used for another request")       \
  X(ERR_LIMIT, "limit", CLASS_CALLER, 422, "Over a limit")                                         \
  X(ERR_HEADERS_TOO_LARGE, "headers_too_large", CLASS_CALLER, 431, "The headers are too large")    \
  X(ERR_TOO_MANY, "too_many", CLASS_RETRY, 429, "Too many requests")                               \
  X(ERR_OVERLOADED, "overloaded", CLASS_RETRY, 503, "Overloaded")                                  \
  X(ERR_STOPPING, "stopping", CLASS_RETRY, 503, "The coordinator is stopping")                     \
  X(ERR_UNAVAILABLE, "unavailable", CLASS_RETRY, 503, "Not available now")                         \
  X(ERR_DRAINING, "draining", CLASS_RETRY, 503, "The participant takes no new work")               \
  X(ERR_LOG_FULL, "log_full", CLASS_RETRY, 503, "The decision log has no space left")              \
  X(ERR_LOST, "reply_lost", CLASS_AMBIGUOUS, 503, "No answer, it may or may not have happened")    \
  X(ERR_MEMORY, "out_of_memory", CLASS_RETRY, 503, "Out of memory")                                \
  X(ERR_HTTP_VERSION, "http_version", CLASS_CALLER, 505, "This version of HTTP is not spoken")     \
  X(ERR_CONFIG, "config", CLASS_FATAL, 500, "The configuration is not valid")                      \
  X(ERR_IO, "io", CLASS_FATAL, 500, "Input or output failed")                                      \
  X(ERR_LOG, "log_failed", CLASS_FATAL, 503, "The decision log failed")

enum error_code {
#define X(name, wire, class, status, title) name,
  ERROR_CODES(X)
#undef X
};

struct error {
  enum error_code code;
  int sys_errno;          /* errno, or 0 */
  char sqlstate[6];       /* five characters, or "" */
  char field[160];        /* a JSON pointer, or a configuration key with file and line; or "" */
  struct limit_met limit; /* that was met; or none */
  char text[512];         /* one line "outer: inner", no secrets, UTF-8 */
};

/* Fills `err` (may be NULL) unless it holds an error already. Returns `code`, so that a function
 * can end with `return error_set(...)`. */
enum error_code error_set(struct error *err, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "outer: " before the text that is there. Keeps the code, and returns it. */
enum error_code error_wrap(struct error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Names the field at fault (JSON pointer); returns err->code. */
enum error_code error_field(struct error *err, const char *pointer);

/* The same for who has read a part of something: puts this before the field that is named, if the error is
 * about one. Returns `code`, which is the error's. */
enum error_code error_field_below(struct error *err, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Tells the limit that was met; returns err->code, or, of NULL, ERR_LIMIT. */
enum error_code error_limit(struct error *err, const char *name, int64_t value);

void error_clear(struct error *err);

const char *error_wire_code(enum error_code code); /* static */
const char *error_title(enum error_code code);     /* static */
enum error_class error_class_of(enum error_code code);
int error_http_status(enum error_code code);

#endif
