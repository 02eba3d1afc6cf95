/* The bodies and query strings of the public API, decoded and checked. Every mistake names its field
 * by JSON pointer (or the query parameter's name); nothing is begun before all of it has been checked.
 */
#ifndef ASSENT_COORDINATOR_REQUESTS_H
#define ASSENT_COORDINATOR_REQUESTS_H

#include "common/http_server.h"
#include "coordinator/coordinator.h"
#include "coordinator/keys.h"

/* Named limits of a request; the body's own is http_server's. */
enum {
  LABEL_BYTES_MAX = 255,
  PARTICIPANT_BYTES_MAX = 64,
  LIST_LIMIT_MAX = 500,
  LIST_LIMIT_DEFAULT = 50,
  DEPTH_MAX = 128
};
/* And those that can be set. */
struct request_limits {
  int64_t timeout_max_ms; /* of a transaction, and of a read that waits */
  unsigned depth_max;     /* of JSON; at most DEPTH_MAX */
  size_t branches_max;    /* at most TXN_BRANCHES_MAX */
  struct statement_limits statements;
};
extern const struct request_limits request_limits_widest;

#define KEY_HEADER "Idempotency-Key"
/* The key of a request that has one. Borrowed from the request and `fingerprint`. */
enum error_code key_decode(const struct http_request *request, struct key_id *out,
                           char fingerprint[FINGERPRINT_SIZE], struct error *err)
    __attribute__((warn_unused_result));

struct branch_body {
  const char *participant; /* in `json` */
  struct statement_list statements;
};

struct begin_body {
  json_t *json;
  struct begin_request begin;
  bool commit;
  enum wait_until wait;
  struct branch_body *branches;
  size_t branch_count;
};
/* POST /v1/transactions; an empty body is an empty object. Release in any case. */
enum error_code begin_body_decode(const struct http_request *request,
                                  const struct request_limits *limits, struct begin_body *out,
                                  struct error *err) __attribute__((warn_unused_result));
void begin_body_release(struct begin_body *body);

struct statement_body {
  json_t *json;
  const char *participant;
  struct statement_list statements; /* one */
};
enum error_code statement_body_decode(const struct http_request *request,
                                      const struct request_limits *limits,
                                      struct statement_body *out, struct error *err)
    __attribute__((warn_unused_result));
void statement_body_release(struct statement_body *body);

struct branch_enlist_body {
  json_t *json;
  const char *participant;
};
enum error_code enlist_body_decode(const struct http_request *request,
                                   struct branch_enlist_body *out, struct error *err)
    __attribute__((warn_unused_result));

/* Strings are borrowed from `json`. Owner of json: the caller, json_decref(), in any case. */
struct resolve_body {
  json_t *json;
  unsigned branch;
  enum branch_outcome outcome; /* COMMITTED or ABORTED */
  const char *reason;
};
enum error_code resolve_body_decode(const struct http_request *request, struct resolve_body *out,
                                    struct error *err) __attribute__((warn_unused_result));

/* {"wait"}; an empty body is an empty object. */
enum error_code commit_body_decode(const struct http_request *request, enum wait_until *wait,
                                   struct error *err) __attribute__((warn_unused_result));
/* Nothing, or {}. */
enum error_code empty_body_decode(const struct http_request *request, struct error *err)
    __attribute__((warn_unused_result));

/* GET one: ?wait=&timeout_ms=. `*waits` false: answer at once. */
enum error_code read_query_decode(const struct http_request *request, int64_t timeout_max_ms,
                                  bool *waits, enum wait_until *until, int64_t *timeout_ms,
                                  struct error *err) __attribute__((warn_unused_result));
enum error_code list_query_decode(const struct http_request *request, struct list_filter *out,
                                  struct error *err) __attribute__((warn_unused_result));

#endif
