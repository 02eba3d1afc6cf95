/* The messages of message.h as JSON, in both directions: the agent's routes decode what the
 * coordinator's HTTP participant encodes, and the other way round. Documented in docs/agent-api.md.
 *
 * Encoders append one JSON object to a writer. Decoders check everything (types, lengths,
 * alphabets) and point into the json_t, which must outlive the decoded struct; ERR_INVALID names
 * the field.
 */
#ifndef ASSENT_COMMON_MESSAGE_JSON_H
#define ASSENT_COMMON_MESSAGE_JSON_H

#include "common/json.h"
#include "common/message.h"

void fence_request_encode(struct json_writer *w, const struct fence_request *request);
enum error_code fence_request_decode(const json_t *json, struct fence_request *out,
                                     struct error *err);
/* Every answer to a fence, a problem document, too, names what was asked by whom: who reads it may stop
 * for good, or take a server for the participant's. One that does not is refused. */
struct fence_asked {
  const char *participant, *run_id; /* borrowed */
};
bool fence_is_answered(const json_t *json, const struct fence_asked *asked);
void fence_reply_encode(struct json_writer *w, const struct fence_asked *asked,
                        const struct fence_reply *reply);
enum error_code fence_reply_decode(const json_t *json, const struct fence_asked *asked,
                                   struct fence_reply *out, struct error *err);

/* Statements as they stand in the public API and in run requests: [{sql, params, expect_rows}].
 * Parameters: null, booleans, numbers and strings become text, arrays and objects JSON text.
 * Owner: statement_list_free(); strings inside are owned by it too. `pointer` is the JSON pointer
 * of `json` in its request. Limits: STATEMENTS_MAX, PARAMS_MAX, SQL_BYTES_MAX: ERR_LIMIT. */
enum { STATEMENTS_MAX = 10000, PARAMS_MAX = 65535, SQL_BYTES_MAX = 1 << 20 };
struct statement_list {
  struct statement *items;
  size_t count;
};
enum error_code statement_decode(const json_t *json, const char *pointer, struct statement *out,
                                 struct error *err);
enum error_code statement_list_decode(const json_t *json, const char *pointer,
                                      struct statement_list *out, struct error *err);
/* The same of the public API, where a statement may have a `name` in the place of `sql`, with limits of its
 * own, none of which is over the above. */
struct statement_limits {
  size_t statements_max, params_max, sql_bytes_max;
};
enum error_code statement_call_decode(const json_t *json, const char *pointer,
                                      const struct statement_limits *limits, struct statement *out,
                                      struct error *err);
enum error_code statement_call_list_decode(const json_t *json, const char *pointer,
                                           const struct statement_limits *limits,
                                           struct statement_list *out, struct error *err);
void statement_list_free(struct statement_list *list);
void statement_clear(struct statement *statement); /* frees what statement_decode() made */

void run_request_encode(struct json_writer *w, const struct run_request *request);
/* `statements` owns what out->statements points to. */
enum error_code run_request_decode(const json_t *json, struct run_request *out,
                                   struct statement_list *statements, struct error *err);
void run_reply_encode(struct json_writer *w, const struct run_reply *reply);
/* `gid`: the one that was asked for. `*results` owns the text out->results points to; free(). */
enum error_code run_reply_decode(const json_t *json, const char *gid, struct run_reply *out,
                                 char **results, struct error *err);

void decide_request_encode(struct json_writer *w, const struct decide_request *request);
enum error_code decide_request_decode(const json_t *json, struct decide_request *out,
                                      struct error *err);
/* The trace of a run or a decision, borrowed from `json`; false: none, or one that is malformed, which is no mistake in the
 * message. Decoding leaves out->trace alone. */
bool request_trace_decode(const json_t *json, struct trace_context *out);
/* The reply repeats the gid: an answer meant for another is refused. */
void decide_reply_encode(struct json_writer *w, const char *gid, const struct decide_reply *reply);
enum error_code decide_reply_decode(const json_t *json, const char *gid, struct decide_reply *out,
                                    struct error *err);

/* ---- runs and decisions travel together (message_batch.c) ----
 *
 * {"messages":[{"id":7,"run":{...}},{"id":8,"decide":{...}}]}; the answer is lines, one a message, as
 * they become known, in any order: {"id":8,"decide":{...}}, or {"id":7,"problem":{...}} for a message that
 * was refused. The id is the sender's, new for each message; what only tells how a message travels, and not
 * what it is, belongs beside it. */
enum { MESSAGES_MAX = 1000 };
enum message_kind { MESSAGE_RUN, MESSAGE_DECIDE, MESSAGE_PROBLEM };
struct message {
  uint64_t id;
  enum message_kind kind;
  const json_t *body; /* borrowed */
};
void message_begin(struct json_writer *w, uint64_t id,
                   enum message_kind kind); /* the body follows */
void message_end(struct json_writer *w);
enum error_code message_decode(const json_t *json, struct message *out, struct error *err);
/* The gid that a message's body names; "" when it is none. */
const char *message_gid(const json_t *body);
/* The problem document names the gid, as every answer does. False: out of memory. */
bool message_problem_encode(struct json_writer *w, const char *gid, const struct error *err);
/* `err` gets what it says of the message; of another gid's it says nothing: ERR_LOST. */
void message_problem_decode(const json_t *body, const char *gid, struct error *err);
/* The same for the answer to a whole request, with its status. */
void problem_decode(const json_t *problem, int status, struct error *err);
/* For the code of a decoder: a reply that does not decode proves nothing. NULL: it decoded. */
const struct error *reply_refused(enum error_code code, struct error *err);

void list_request_encode(struct json_writer *w, const struct list_request *request);
enum error_code list_request_decode(const json_t *json, struct list_request *out,
                                    struct error *err);
void list_reply_encode(struct json_writer *w, const struct list_reply *reply);
/* `*branches` owns what out->branches points to; free(). */
enum error_code list_reply_decode(const json_t *json, struct list_reply *out,
                                  struct prepared_branch **branches, struct error *err);

void blockers_request_encode(struct json_writer *w, const struct blockers_request *request);
enum error_code blockers_request_decode(const json_t *json, struct blockers_request *out,
                                        struct error *err);
void blockers_reply_encode(struct json_writer *w, const struct blockers_reply *reply);
/* out->blockers is `items`. */
enum error_code blockers_reply_decode(const json_t *json, struct blocker items[BLOCKERS_MAX],
                                      struct blockers_reply *out, struct error *err);

void survey_request_encode(struct json_writer *w, const struct survey_request *request);
/* `*txids` owns what out->txids points to; free(). */
enum error_code survey_request_decode(const json_t *json, struct survey_request *out,
                                      struct txid **txids, struct error *err);
void survey_reply_encode(struct json_writer *w, const struct survey_reply *reply);
/* survey_reply_release() frees what out points to, also after an error. */
enum error_code survey_reply_decode(const json_t *json, struct survey_reply *out,
                                    struct error *err);
void survey_reply_release(struct survey_reply *reply);

void health_reply_encode(struct json_writer *w, const struct health_reply *reply);
enum error_code health_reply_decode(const json_t *json, struct health_reply *out,
                                    struct error *err);

#endif
