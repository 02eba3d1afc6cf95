/* Calls of tests to the public HTTP API, and checks on the answers.
 *
 * Bodies are written with ' in place of ", so that they can be read. What an api gives out
 * (replies, texts) is its own and lives until api_free(). An api is for one thread; so are the
 * checks: CUnit counts in one thread only.
 */
#ifndef ASSENT_TESTS_LIB_API_H
#define ASSENT_TESTS_LIB_API_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/http_client.h"

/* ---- bodies ---------------------------------------------------------------------------------- */

#define DEBIT(amount)                                                                              \
  "{'sql':'UPDATE account SET balance = balance - $1 WHERE id = 1','params':[" #amount             \
  "],'expect_rows':1}"
#define CREDIT(amount)                                                                             \
  "{'sql':'UPDATE account SET balance = balance + $1 WHERE id = 1','params':[" #amount             \
  "],'expect_rows':1}"
#define STATEMENT(sql) "{'sql':'" sql "'}"
#define BRANCH(participant, statements)                                                            \
  "{'participant':'" participant "','statements':[" statements "]}"
#define TRANSFER(amount) BRANCH("bank_a", DEBIT(amount)) "," BRANCH("bank_b", CREDIT(amount))
/* `more`: further members, each with its comma behind it; or "". */
#define ONE_CALL(more, branches) "{'commit':true," more "'branches':[" branches "]}"

/* ---- calls ----------------------------------------------------------------------------------- */

struct api;

struct reply {
  int status;            /* 0: no answer */
  enum error_code error; /* then: ERR_UNAVAILABLE, it never left; ERR_LOST, who knows */
  json_t *json;          /* NULL: none, or not JSON */
  const char *text;      /* as it came; "" when there was no answer */
  const char *headers;   /* of api_raw() only, else "" */
};

struct api *api_new(const char *url);
/* Of an agent: its API is internal, and not in the contract that answers are held against. */
struct api *api_new_of_agent(const char *url);
void api_free(struct api *api);
/* Borrowed, for as long as the api lives. */
void api_identify(struct api *api, const struct http_identity *identity);
void api_set_url(struct api *api, const char *url);

const char *api_text(struct api *api, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

const struct reply *api_get(struct api *api, const char *path_format, ...)
    __attribute__((format(printf, 2, 3)));
const struct reply *api_post(struct api *api, const char *path, const char *body_format, ...)
    __attribute__((format(printf, 3, 4)));
/* The body goes as it is: no ' replaced, no format. */
const struct reply *api_post_plain(struct api *api, const char *path, const char *body);
/* A socket to the coordinator, for the caller to close; -1 when it is refused. */
int api_connect(const struct api *api);
/* These bytes on a connection of their own, and all that comes until the server closes it. */
const struct reply *api_raw(struct api *api, const char *bytes, size_t length);
/* A POST with an Idempotency-Key; `more`: further header lines, each with its end, or "". */
const struct reply *api_post_keyed(struct api *api, const char *path, const char *key,
                                   const char *more, const char *body);
/* The same without a key. */
const struct reply *api_post_with(struct api *api, const char *path, const char *more,
                                  const char *body);
/* The same, without waiting for an answer: closes at once when all has been sent. */
void api_send_and_leave(struct api *api, const char *path, const char *body);

/* POST /v1/transactions with an Idempotency-Key. */
const struct reply *api_keyed(struct api *api, const char *key, const char *body);
const struct reply *api_run(struct api *api, const char *body_format, ...)
    __attribute__((format(printf, 2, 3))); /* POST /v1/transactions */
/* Begins one, checks 201, and returns its id. */
const char *api_begin(struct api *api, const char *body);
const struct reply *api_statement(struct api *api, const char *id, const char *participant,
                                  const char *statement_members);
const struct reply *api_commit(struct api *api, const char *id);
const struct reply *api_rollback(struct api *api, const char *id);
const struct reply *api_read(struct api *api, const char *id);
/* The only transaction with this label; NULL when there is none. More than one is a failure. */
const json_t *api_find(struct api *api, const char *label);
/* "committed", "aborted"; "" while it is not known, or when there is none. */
const char *api_outcome(struct api *api, const char *label);

/* A POST on a thread of its own. */
struct async;
struct async *async_post(struct api *api, const char *path, const char *body);
struct async *async_keyed(struct api *api, const char *key, const char *body);
/* Waits for its end. The reply is the api's. */
const struct reply *async_finish(struct async *async);
bool async_is_done(struct async *async);

/* ---- what is in an answer: by JSON pointer --------------------------------------------------- */

const json_t *reply_at(const struct reply *reply, const char *pointer);   /* NULL: nothing there */
const char *reply_string(const struct reply *reply, const char *pointer); /* "": no string there */
/* Of api_raw() and calls with a key: is this line among the headers, whatever its case? */
bool reply_has_header(const struct reply *reply, const char *line);

#define CHECK_STATUS(reply, status) check_status(reply, status, __FILE__, __LINE__)
#define CHECK_STRING(reply, pointer, expected)                                                     \
  check_string(reply, pointer, expected, __FILE__, __LINE__)
#define CHECK_INTEGER(reply, pointer, expected)                                                    \
  check_integer(reply, pointer, expected, __FILE__, __LINE__)
/* Any JSON, written with '. */
#define CHECK_JSON(reply, pointer, expected)                                                       \
  check_json(reply, pointer, expected, __FILE__, __LINE__)
/* A whole problem document with this status and code. */
#define CHECK_PROBLEM(reply, status, code) check_problem(reply, status, code, __FILE__, __LINE__)
/* One that tells of this limit. */
#define CHECK_LIMIT(reply, status, code, name, value)                                              \
  check_limit(reply, status, code, name, value, __FILE__, __LINE__)
/* Aborted since it waited for a lock: as a conflict, or, when the machine was busy, as out of time. */
#define CHECK_GAVE_WAY(reply) check_gave_way(reply, __FILE__, __LINE__)

void check_status(const struct reply *reply, int status, const char *file, unsigned line);
void check_string(const struct reply *reply, const char *pointer, const char *expected,
                  const char *file, unsigned line);
void check_integer(const struct reply *reply, const char *pointer, int64_t expected,
                   const char *file, unsigned line);
void check_json(const struct reply *reply, const char *pointer, const char *expected,
                const char *file, unsigned line);
void check_problem(const struct reply *reply, int status, const char *code, const char *file,
                   unsigned line);
void check_limit(const struct reply *reply, int status, const char *code, const char *name,
                 int64_t value, const char *file, unsigned line);
void check_gave_way(const struct reply *reply, const char *file, unsigned line);

/* Called before a fatal failure leaves the test. */
void check_on_fatal(void (*hook)(void));

/* A failed check, with its text; the test goes on, or ends when `fatal`. */
void check_failed(const char *file, unsigned line, bool fatal, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
