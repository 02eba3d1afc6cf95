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
enum { STATEMENTS_MAX = 1000, PARAMS_MAX = 1000, SQL_BYTES_MAX = 262144 };
struct statement_list {
  struct statement *items;
  size_t count;
};
enum error_code statement_decode(const json_t *json, const char *pointer, struct statement *out,
                                 struct error *err);
enum error_code statement_list_decode(const json_t *json, const char *pointer,
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

/* decide: {"decisions":[...]} and {"outcomes":[...]}, in the same order; these are the elements. */
void decide_request_encode(struct json_writer *w, const struct decide_request *request);
enum error_code decide_request_decode(const json_t *json, struct decide_request *out,
                                      struct error *err);
/* Its trace, borrowed from `json`; false: none, or one that is malformed, which is no mistake in the
 * decision. Decoding leaves out->trace alone. */
bool decide_request_trace(const json_t *json, struct trace_context *out);
/* The reply repeats the gid: an answer meant for another is refused. */
void decide_reply_encode(struct json_writer *w, const char *gid, const struct decide_reply *reply);
enum error_code decide_reply_decode(const json_t *json, const char *gid, struct decide_reply *out,
                                    struct error *err);

void list_request_encode(struct json_writer *w, const struct list_request *request);
enum error_code list_request_decode(const json_t *json, struct list_request *out,
                                    struct error *err);
void list_reply_encode(struct json_writer *w, const struct list_reply *reply);
/* `*branches` owns what out->branches points to; free(). */
enum error_code list_reply_decode(const json_t *json, struct list_reply *out,
                                  struct prepared_branch **branches, struct error *err);

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
