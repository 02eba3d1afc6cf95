/* The public HTTP API, but for POST /v1/transactions (routes_begin.c). A handler checks its request,
 * starts the work and says how long to wait; the answer is made in one place for all (answer.c), from the
 * transaction as it then stands. */
#include "coordinator/routes.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/crash_point.h"
#include "common/request_trace.h"
#include "common/tokens.h"
#include "coordinator/answer.h"
#include "coordinator/render.h"
#include "coordinator/requests.h"
#include "coordinator/routes_more.h"

struct waiting {
  struct http_request *request;
  enum purpose purpose;
  enum wait_until until;
  unsigned branch; /* TO_EXECUTE */
};

static void answer(void *data, struct transaction *t) {
  struct waiting *waiting = data;
  struct answer answer;
  bool results = waiting->purpose == TO_COMMIT || waiting->purpose == TO_EXECUTE;
  answer_make(&answer, t, waiting->purpose, waiting->until, waiting->branch, results);
  if (results) transaction_forget_results(t);
  CRASH_POINT("C7");
  answer_send(&answer, waiting->request, false);
  free(waiting);
}

static void answer_when(struct transaction *t, struct http_request *request, enum purpose purpose,
                        enum wait_until until, int64_t timeout_ms, unsigned branch) {
  struct waiting *waiting = calloc(1, sizeof *waiting);
  if (!waiting) abort();
  *waiting = (struct waiting){request, purpose, until, branch};
  transaction_wait(t, until, branch, timeout_ms, answer, waiting);
}

/* ---- whose it is ------------------------------------------------------------------------------ */

bool record_is_for(const struct wal_record *record, const char *owner) {
  return !owner || (record->owner && strcmp(record->owner, owner) == 0);
}

void respond_no_transaction(struct http_request *request) {
  struct error err = {0};
  (void)error_set(&err, ERR_NOT_FOUND,
                  "no such transaction of yours: it never was, was never decided committed, or its "
                  "record has outlived the retention time");
  http_respond_error(request, &err, NULL);
}

/* ---- ended transactions, from the log --------------------------------------------------------- */

static void answer_from_log(void *data, const struct wal_record *record, const struct error *err) {
  struct waiting *waiting = data;
  struct http_request *request = waiting->request;
  struct error problem = {0};
  if (err) {
    (void)error_set(&problem, ERR_UNAVAILABLE, "the decision log cannot be read now");
    http_respond_error(request, &problem, NULL);
  } else if (!record || !record_is_for(record, http_only_of(request))) {
    respond_no_transaction(request);
  } else {
    struct answer answer;
    answer_make_from_record(&answer, record, waiting->purpose, NULL);
    answer_send(&answer, request, false);
  }
  free(waiting);
}

/* Finds the live transaction named in the path. NULL: the request has been answered, or will be from
 * the log. */
static struct transaction *find(struct routes_context *context, struct http_request *request,
                                enum purpose purpose) {
  struct txid id;
  if (!txid_parse(http_capture(request, 0), &id)) {
    struct error err = {0};
    (void)error_set(&err, ERR_BAD_ID, "\"%.80s\" is not a transaction id",
                    http_capture(request, 0));
    http_respond_error(request, &err, NULL);
    return NULL;
  }
  struct transaction *t = transaction_find(context->coordinator, &id);
  if (t && transaction_is_for(t, http_only_of(request))) {
    (void)request_trace(request, transaction_trace(t));
    span_text(request_span(request), "assent.transaction.id", id.text);
    return t;
  }
  if (t) {
    respond_no_transaction(request);
    return NULL;
  }
  struct waiting *waiting = calloc(1, sizeof *waiting);
  if (!waiting) abort();
  *waiting = (struct waiting){request, purpose, WAIT_APPLIED, 0};
  wal_look_up(coordinator_wal(context->coordinator), &id, answer_from_log, waiting);
  return NULL;
}

/* ---- statements, branches --------------------------------------------------------------------- */

static void respond_state_error(struct http_request *request, struct transaction *t,
                                const struct error *err) {
  if (err->code == ERR_ABORTED || err->code == ERR_COMMITTED || err->code == ERR_NOT_OPEN ||
      err->code == ERR_MIXED || err->code == ERR_NOT_IN_DOUBT) {
    struct answer answer;
    answer_make_problem(&answer, t, err);
    answer_send(&answer, request, false);
  } else {
    http_respond_error(request, err, NULL);
  }
}

static void post_statement(struct http_request *request, void *data) {
  struct routes_context *context = data;
  struct error err = {0};
  struct statement_body body;
  enum error_code code = statement_body_decode(request, &context->limits, &body, &err);
  if (code != ERR_OK) {
    http_respond_error(request, &err, NULL);
    statement_body_release(&body);
    return;
  }
  struct transaction *t = find(data, request, TO_EXECUTE);
  if (t) {
    unsigned branch = 0;
    transaction_hold(t);
    code = coordinator_resolve_statement(context->coordinator, body.participant,
                                         body.statements.items, "", &err);
    if (code == ERR_OK) code = transaction_enlist(t, body.participant, false, &branch, &err);
    if (code == ERR_UNKNOWN_PARTICIPANT) (void)error_field(&err, "/participant");
    if (code == ERR_OK) code = transaction_execute(t, branch, &body.statements, true, &err);
    if (code == ERR_OK)
      answer_when(t, request, TO_EXECUTE, WAIT_RAN, transaction_remaining_ms(t) + ANSWER_GRACE_MS,
                  branch);
    else
      respond_state_error(request, t, &err);
    transaction_release(t);
  }
  statement_body_release(&body);
}

static void post_branch(struct http_request *request, void *data) {
  struct routes_context *context = data;
  struct error err = {0};
  struct branch_enlist_body body;
  enum error_code code = enlist_body_decode(request, &body, &err);
  struct transaction *t = NULL;
  if (code != ERR_OK)
    http_respond_error(request, &err, NULL);
  else
    t = find(data, request, TO_EXECUTE);
  if (t) {
    unsigned branch = 0;
    code = coordinator_check_takes_any(context->coordinator, body.participant, &err);
    if (code == ERR_OK) code = transaction_enlist(t, body.participant, true, &branch, &err);
    if (code == ERR_UNKNOWN_PARTICIPANT) (void)error_field(&err, "/participant");
    if (code == ERR_OK) {
      struct json_writer w;
      json_writer_init(&w);
      json_object_begin(&w);
      json_key(&w, "branch");
      json_write_integer(&w, branch);
      json_key(&w, "gid");
      json_write_string(&w, transaction_gid(t, branch));
      json_object_end(&w);
      answer_json(request, 201, &w);
    } else {
      respond_state_error(request, t, &err);
    }
  }
  json_decref(body.json);
}

/* ---- commit, rollback ------------------------------------------------------------------------- */

static void post_commit(struct http_request *request, void *data) {
  struct error err = {0};
  enum wait_until wait = WAIT_APPLIED;
  if (commit_body_decode(request, &wait, &err) != ERR_OK) {
    http_respond_error(request, &err, NULL);
    return;
  }
  struct transaction *t = find(data, request, TO_COMMIT);
  if (!t) return;
  transaction_hold(t);
  if (transaction_commit(t, wait == WAIT_DECIDED, &err) == ERR_OK)
    answer_when(t, request, TO_COMMIT, wait, transaction_remaining_ms(t) + ANSWER_GRACE_MS, 0);
  else
    http_respond_error(request, &err, NULL);
  transaction_release(t);
}

static void post_rollback(struct http_request *request, void *data) {
  struct error err = {0};
  if (empty_body_decode(request, &err) != ERR_OK) {
    http_respond_error(request, &err, NULL);
    return;
  }
  struct transaction *t = find(data, request, TO_ROLLBACK);
  if (!t) return;
  transaction_hold(t);
  transaction_rollback(t, CAUSE_CLIENT, "rolled back by the client");
  answer_when(t, request, TO_ROLLBACK, WAIT_APPLIED, transaction_remaining_ms(t) + ANSWER_GRACE_MS,
              0);
  transaction_release(t);
}

/* ---- resolve ---------------------------------------------------------------------------------- */

static void resolved(void *data, struct transaction *t, const struct error *err) {
  struct http_request *request = data;
  if (err) {
    http_respond_error(request, err, NULL);
    return;
  }
  struct json_writer w;
  json_writer_init(&w);
  render_transaction(&w, t, false);
  answer_json(request, 200, &w);
}

static void post_resolve(struct http_request *request, void *data) {
  struct error err = {0};
  struct resolve_body body;
  if (resolve_body_decode(request, &body, &err) != ERR_OK) {
    http_respond_error(request, &err, NULL);
    json_decref(body.json);
    return;
  }
  struct transaction *t = find(data, request, TO_RESOLVE);
  if (t) {
    transaction_hold(t);
    if (transaction_resolve(t, body.branch, body.outcome, body.reason, resolved, request, &err) !=
        ERR_OK)
      respond_state_error(request, t, &err);
    transaction_release(t);
  }
  json_decref(body.json);
}

/* ---- reading ---------------------------------------------------------------------------------- */

static void get_transaction(struct http_request *request, void *data) {
  struct routes_context *context = data;
  struct error err = {0};
  bool waits;
  enum wait_until until;
  int64_t timeout_ms;
  if (read_query_decode(request, context->limits.timeout_max_ms, &waits, &until, &timeout_ms,
                        &err) != ERR_OK) {
    http_respond_error(request, &err, NULL);
    return;
  }
  struct transaction *t = find(context, request, TO_READ);
  if (!t) return;
  if (!waits && transaction_is_being_recorded(t)) {
    waits = true;
    until = WAIT_DECIDED;
    timeout_ms = ANSWER_GRACE_MS;
  }
  if (waits) {
    answer_when(t, request, TO_READ, until, timeout_ms, 0);
    return;
  }
  struct json_writer w;
  json_writer_init(&w);
  render_transaction(&w, t, false);
  answer_json(request, 200, &w);
}

static void respond_text(void *data, char *json, size_t length, const struct error *err) {
  struct http_request *request = data;
  struct error problem = {0};
  if (json) {
    http_respond_take(request, 200, "application/json", json, length, NULL, 0);
    return;
  }
  if (err)
    (void)error_set(&problem, ERR_UNAVAILABLE, "%s", err->text);
  else
    (void)error_set(&problem, ERR_NOT_FOUND, "no participant is called \"%.80s\"",
                    http_capture(request, 0));
  http_respond_error(request, &problem, NULL);
}

static void list_transactions(struct http_request *request, void *data) {
  struct routes_context *context = data;
  struct error err = {0};
  struct list_filter filter;
  enum error_code code = list_query_decode(request, &filter, &err);
  filter.owner = http_only_of(request);
  if (code != ERR_OK)
    http_respond_error(request, &err, NULL);
  else
    transactions_list(context->coordinator, &filter, respond_text, request);
}

/* `name` NULL: all. */
static void respond_participants(struct http_request *request, void *data, const char *name) {
  static const char *const no_query[] = {NULL};
  struct routes_context *context = data;
  struct error err = {0};
  if (http_check_query(request, no_query, &err) != ERR_OK)
    http_respond_error(request, &err, NULL);
  else
    coordinator_participants(context->coordinator, name, respond_text, request);
}

static void list_participants(struct http_request *request, void *data) {
  respond_participants(request, data, NULL);
}

static void get_participant(struct http_request *request, void *data) {
  respond_participants(request, data, http_capture(request, 0));
}

/* ---- health ----------------------------------------------------------------------------------- */

static void respond_status(struct http_request *request, const char *status) {
  struct json_writer w;
  json_writer_init(&w);
  json_object_begin(&w);
  json_key(&w, "status");
  json_write_string(&w, status);
  json_object_end(&w);
  answer_json(request, 200, &w);
}

static void get_health(struct http_request *request, void *data) {
  (void)data;
  respond_status(request, "ok");
}

static void get_ready(struct http_request *request, void *data) {
  struct routes_context *context = data;
  if (coordinator_is_ready(context->coordinator)) {
    respond_status(request, "ready");
    return;
  }
  struct error err = {0};
  if (coordinator_is_stopping(context->coordinator))
    (void)error_set(&err, ERR_STOPPING, "the coordinator is stopping");
  else
    (void)error_set(&err, ERR_UNAVAILABLE, "starting: participants are being reached");
  http_respond_error(request, &err, NULL);
}

/* ---- the table -------------------------------------------------------------------------------- */

const struct http_media *routes_media(void) {
  static const struct http_media media[] = {{"/metrics", "text/plain"},
                                            {"/v1/events", "text/event-stream"},
                                            {"/console", "text/html"},
                                            {"/console/console.css", "text/css"},
                                            {"/console/console.js", "text/javascript"},
                                            {NULL, NULL}};
  return media;
}

const struct http_route *routes_table(size_t *count) {
  static const struct http_route table[] = {
      {"POST", "/v1/transactions", routes_post_transaction, ROLE_CLIENT},
      {"GET", "/v1/transactions", list_transactions, ROLE_CLIENT},
      {"GET", "/v1/transactions/{id}", get_transaction, ROLE_CLIENT},
      {"GET", "/v1/transactions/{id}/timeline", get_timeline, ROLE_CLIENT},
      {"POST", "/v1/transactions/{id}/statements", post_statement, ROLE_CLIENT},
      {"POST", "/v1/transactions/{id}/branches", post_branch, ROLE_CLIENT},
      {"POST", "/v1/transactions/{id}/commit", post_commit, ROLE_CLIENT},
      {"POST", "/v1/transactions/{id}/rollback", post_rollback, ROLE_CLIENT},
      {"POST", "/v1/transactions/{id}/resolve", post_resolve, ROLE_OPERATOR},
      {"GET", "/v1/events", get_events, ROLE_OPERATOR},
      {"GET", "/v1/participants", list_participants, ROLE_OPERATOR},
      {"GET", "/v1/participants/{name}", get_participant, ROLE_OPERATOR},
      {"POST", "/v1/participants/{name}/drain", post_drain, ROLE_OPERATOR},
      {"POST", "/v1/participants/{name}/undrain", post_undrain, ROLE_OPERATOR},
      {"GET", "/healthz", get_health, ROLE_ANYONE},
      {"GET", "/readyz", get_ready, ROLE_ANYONE},
      {"GET", "/metrics", get_metrics, ROLE_METRICS},
      {"GET", "/openapi.json", get_openapi, ROLE_ANYONE},
      {"GET", "/console", get_console, ROLE_ANYONE},
      {"GET", "/console/console.css", get_console_style, ROLE_ANYONE},
      {"GET", "/console/console.js", get_console_script, ROLE_ANYONE},
  };
  *count = sizeof table / sizeof table[0];
  return table;
}
