/* See answer.h. */
#include "coordinator/answer.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/problem.h"
#include "coordinator/render.h"

static const char content_type[] = "application/json";

/* The status for a purpose and an outcome; 0: a problem. */
static int status_of(enum purpose purpose, enum wal_outcome outcome, bool settled) {
  switch (purpose) {
  case TO_READ: return 200;
  case TO_BEGIN: return outcome == WAL_OUTCOME_NONE ? 201 : 0;
  case TO_EXECUTE: return outcome == WAL_OUTCOME_NONE ? 200 : 0;
  case TO_RESOLVE: return 0;
  case TO_COMMIT:
    if (outcome == WAL_OUTCOME_ABORTED || outcome == WAL_OUTCOME_MIXED) return 0;
    return settled && outcome != WAL_OUTCOME_NONE ? 200 : 202;
  case TO_ROLLBACK:
    if (outcome == WAL_OUTCOME_COMMITTED || outcome == WAL_OUTCOME_MIXED) return 0;
    return settled && outcome != WAL_OUTCOME_NONE ? 200 : 202;
  }
  assert(false && "a purpose");
  return 0;
}

/* ---- problems --------------------------------------------------------------------------------- */

/* A problem that carries the transaction object: {"...","transaction":{...}}. `object` holds it. */
static char *take_object(struct json_writer *object) {
  char *json = json_writer_take(object, NULL);
  char *extra = NULL;
  if (json && asprintf(&extra, "\"transaction\":%s", json) < 0) extra = NULL;
  free(json);
  return extra;
}

static void take_problem(struct answer *out, const struct error *err, struct json_writer *object) {
  char *extra = take_object(object);
  out->status = error_http_status(err->code);
  out->body = extra ? problem_make(err, extra, &out->length) : NULL;
  free(extra);
}

char *answer_object(const struct transaction *t) {
  struct json_writer w;
  json_writer_init(&w);
  render_transaction(&w, t, false);
  return take_object(&w);
}

static void refuse(struct answer *out, enum wal_outcome outcome, const struct cause *cause,
                   struct json_writer *object) {
  struct error err = {0};
  if (outcome == WAL_OUTCOME_ABORTED)
    (void)error_set(&err, ERR_ABORTED, "the transaction has aborted (%s)%s%s",
                    cause->kind == CAUSE_NONE ? "rolled back" : cause_kind_name(cause->kind),
                    cause->text[0] ? ": " : "", cause->text);
  else if (outcome == WAL_OUTCOME_COMMITTED)
    (void)error_set(&err, ERR_COMMITTED, "the transaction has committed");
  else
    (void)error_set(&err, ERR_MIXED,
                    "a branch has ended against the decision: see the branches' states");
  if (outcome == WAL_OUTCOME_ABORTED) err.limit = cause->limit;
  take_problem(out, &err, object);
}

void answer_make_problem(struct answer *out, const struct transaction *t, const struct error *err) {
  struct json_writer w;
  json_writer_init(&w);
  render_transaction(&w, t, false);
  *out = (struct answer){.id = *transaction_id(t)};
  take_problem(out, err, &w);
}

/* ---- answers ---------------------------------------------------------------------------------- */

static void write_execution(struct json_writer *w, const struct transaction *t, unsigned branch) {
  const char *results = transaction_results(t, branch);
  json_object_begin(w);
  json_key(w, "branch");
  json_write_integer(w, branch);
  json_key(w, "results");
  json_write_raw(w, results ? results : "[]");
  json_object_end(w);
}

static void finish(struct answer *out, int status, enum wal_outcome outcome,
                   const struct cause *cause, struct json_writer *w) {
  if (status == 0) {
    refuse(out, outcome, cause, w);
    return;
  }
  out->status = status;
  out->body = json_writer_take(w, &out->length);
}

void answer_make(struct answer *out, const struct transaction *t, enum purpose purpose,
                 enum wait_until until, unsigned branch, bool results) {
  enum wal_outcome outcome = transaction_outcome(t);
  int status = status_of(purpose, outcome, transaction_is_settled(t, until));
  struct json_writer w;
  json_writer_init(&w);
  *out = (struct answer){.id = *transaction_id(t)};
  if (status != 0 && purpose == TO_EXECUTE)
    write_execution(&w, t, branch);
  else
    render_transaction(&w, t, results);
  finish(out, status, outcome, transaction_cause(t), &w);
}

void answer_make_from_record(struct answer *out, const struct wal_record *record,
                             enum purpose purpose, const char *results) {
  struct json_writer w;
  json_writer_init(&w);
  *out = (struct answer){.id = record->txid};
  render_record(&w, record, results);
  finish(out, status_of(purpose, record->outcome, true), record->outcome, &record->cause, &w);
}

void answer_send(struct answer *answer, struct http_request *request, bool replayed) {
  struct http_header headers[2];
  size_t count = 0;
  char location[64];
  if (answer->status == 201) {
    (void)snprintf(location, sizeof location, "/v1/transactions/%s", answer->id.text);
    headers[count++] = (struct http_header){"Location", location};
  }
  if (replayed) headers[count++] = (struct http_header){"Idempotency-Replayed", "true"};
  http_respond_take(request, answer->status,
                    answer->status < 400 ? content_type : PROBLEM_CONTENT_TYPE, answer->body,
                    answer->length, headers, count);
  answer->body = NULL;
}

void answer_json(struct http_request *request, int status, struct json_writer *w) {
  size_t length;
  char *body = json_writer_take(w, &length);
  http_respond_take(request, status, content_type, body, length, NULL, 0);
}
