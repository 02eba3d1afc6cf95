/* The public HTTP API. A handler checks its request, starts the work and says how long to wait; the
 * answer is made in one place for all (answer()), from the transaction as it then stands. */
#include "coordinator/routes.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/crash_point.h"
#include "common/tokens.h"
#include "coordinator/render.h"
#include "coordinator/requests.h"

/* An abort at the deadline gets this long to reach its branches before the waiting client is answered:
 * an answer that says where every branch stands is worth it. */
enum { ANSWER_GRACE_MS = 1000 };

static const char content_type[] = "application/json";

/* ---- answers ---------------------------------------------------------------------------------- */

static void respond(struct http_request *request, int status, struct json_writer *w) {
  size_t length;
  char *body = json_writer_take(w, &length);
  http_respond_take(request, status, content_type, body, length, NULL, 0);
}

static void respond_created(struct http_request *request, const char *location,
                            struct json_writer *w) {
  const struct http_header header = {"Location", location};
  size_t length;
  char *body = json_writer_take(w, &length);
  http_respond_take(request, 201, content_type, body, length, &header, 1);
}

/* A problem that carries the transaction object: {"...","transaction":{...}}. `object` holds it. */
static void respond_problem(struct http_request *request, const struct error *err,
                            struct json_writer *object) {
  char *json = json_writer_take(object, NULL);
  char *extra = NULL;
  if (json && asprintf(&extra, "\"transaction\":%s", json) < 0) extra = NULL;
  http_respond_error(request, err, extra);
  free(extra);
  free(json);
}

static void aborted_error(const struct cause *cause, struct error *err) {
  (void)error_set(err, ERR_ABORTED, "the transaction has aborted (%s)%s%s",
                  cause->kind == CAUSE_NONE ? "rolled back" : cause_kind_name(cause->kind),
                  cause->text[0] ? ": " : "", cause->text);
}

enum purpose {
  TO_COMMIT,   /* 200 committed, 409 aborted, 202 not settled */
  TO_ROLLBACK, /* 200 aborted, 409 committed, 202 not settled */
  TO_READ,     /* 200 */
  TO_BEGIN,    /* 201, 409 aborted */
  TO_EXECUTE,  /* 200 {"branch","results"}, 409 aborted */
  TO_RESOLVE   /* 409: it has ended; live ones have an answer of their own */
};

struct waiting {
  struct http_request *request;
  enum purpose purpose;
  enum wait_until until;
  unsigned branch; /* TO_EXECUTE */
};

/* The status for a purpose and an outcome; 0: a problem, the second one. */
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

static void refuse(struct http_request *request, enum wal_outcome outcome,
                   const struct cause *cause, struct json_writer *object) {
  struct error err = {0};
  if (outcome == WAL_OUTCOME_ABORTED)
    aborted_error(cause, &err);
  else if (outcome == WAL_OUTCOME_COMMITTED)
    (void)error_set(&err, ERR_COMMITTED, "the transaction has committed");
  else
    (void)error_set(&err, ERR_MIXED,
                    "a branch has ended against the decision: see the branches' states");
  respond_problem(request, &err, object);
}

static void write_execution(struct json_writer *w, struct transaction *t, unsigned branch) {
  char *results = transaction_take_results(t, branch);
  json_object_begin(w);
  json_key(w, "branch");
  json_write_integer(w, branch);
  json_key(w, "results");
  json_write_raw(w, results ? results : "[]");
  json_object_end(w);
  free(results);
}

static void answer(void *data, struct transaction *t) {
  struct waiting *waiting = data;
  enum wal_outcome outcome = transaction_outcome(t);
  int status = status_of(waiting->purpose, outcome, transaction_is_settled(t, waiting->until));
  struct json_writer w;
  json_writer_init(&w);
  if (status != 0 && waiting->purpose == TO_EXECUTE)
    write_execution(&w, t, waiting->branch);
  else
    render_transaction(&w, t, waiting->purpose == TO_COMMIT || waiting->purpose == TO_BEGIN);
  CRASH_POINT("C7");
  if (status == 0) {
    refuse(waiting->request, outcome, transaction_cause(t), &w);
  } else if (status == 201) {
    char location[64];
    (void)snprintf(location, sizeof location, "/v1/transactions/%s", transaction_id(t)->text);
    respond_created(waiting->request, location, &w);
  } else {
    respond(waiting->request, status, &w);
  }
  free(waiting);
}

static void answer_when(struct transaction *t, struct http_request *request, enum purpose purpose,
                        enum wait_until until, int64_t timeout_ms, unsigned branch) {
  struct waiting *waiting = calloc(1, sizeof *waiting);
  if (!waiting) abort();
  *waiting = (struct waiting){request, purpose, until, branch};
  transaction_wait(t, until, branch, timeout_ms, answer, waiting);
}

/* ---- ended transactions, from the log --------------------------------------------------------- */

static void answer_from_log(void *data, const struct wal_record *record, const struct error *err) {
  struct waiting *waiting = data;
  struct http_request *request = waiting->request;
  struct error problem = {0};
  if (err) {
    (void)error_set(&problem, ERR_UNAVAILABLE, "the decision log cannot be read now");
    http_respond_error(request, &problem, NULL);
  } else if (!record) {
    (void)error_set(&problem, ERR_NOT_FOUND,
                    "no such transaction: it never was, was never decided committed, or its record "
                    "has outlived the retention time");
    http_respond_error(request, &problem, NULL);
  } else {
    struct json_writer w;
    json_writer_init(&w);
    render_record(&w, record);
    int status = status_of(waiting->purpose, record->outcome, true);
    if (status == 200)
      respond(request, status, &w);
    else
      refuse(request, record->outcome, &record->cause, &w);
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
  if (t) return t;
  struct waiting *waiting = calloc(1, sizeof *waiting);
  if (!waiting) abort();
  *waiting = (struct waiting){request, purpose, WAIT_APPLIED, 0};
  wal_look_up(coordinator_wal(context->coordinator), &id, answer_from_log, waiting);
  return NULL;
}

/* ---- POST /v1/transactions -------------------------------------------------------------------- */

/* Before anything is begun, so that a refused request leaves no trace. */
static enum error_code check_participants(struct coordinator *c, const struct begin_body *body,
                                          struct error *err) {
  for (size_t i = 0; i < body->branch_count; i++) {
    enum error_code code = coordinator_check_participant(c, body->branches[i].participant, err);
    if (code == ERR_OK) continue;
    char pointer[64];
    (void)snprintf(pointer, sizeof pointer, "/branches/%zu/participant", i);
    return error_field(err, pointer);
  }
  return ERR_OK;
}

static enum error_code start_branches(struct transaction *t, struct begin_body *body,
                                      struct error *err) {
  enum error_code code = ERR_OK;
  unsigned ids[TXN_BRANCHES_MAX];
  for (size_t i = 0; i < body->branch_count && code == ERR_OK; i++)
    code = transaction_enlist(t, body->branches[i].participant, false, &ids[i], err);
  for (size_t i = 0; i < body->branch_count && code == ERR_OK; i++)
    code = transaction_execute(t, ids[i], &body->branches[i].statements, !body->commit, err);
  if (code == ERR_OK && body->commit) code = transaction_commit(t, body->wait == WAIT_DECIDED, err);
  return code;
}

static void post_transaction(struct http_request *request, void *data) {
  struct routes_context *context = data;
  struct error err = {0};
  struct begin_body body;
  struct transaction *t = NULL;
  enum error_code code = begin_body_decode(request, context->timeout_max_ms, &body, &err);
  if (code == ERR_OK) code = check_participants(context->coordinator, &body, &err);
  if (code == ERR_OK) code = transaction_begin(context->coordinator, &body.begin, &t, &err);
  if (code == ERR_OK) {
    CRASH_POINT("C1");
    code = start_branches(t, &body, &err);
  }
  if (code != ERR_OK) {
    /* Nothing of it has reached a database: it never was. */
    if (t) transaction_rollback(t, CAUSE_CLIENT, "the request was refused");
    http_respond_error(request, &err, NULL);
  } else if (body.commit) {
    answer_when(t, request, TO_COMMIT, body.wait, transaction_remaining_ms(t) + ANSWER_GRACE_MS, 0);
  } else {
    answer_when(t, request, TO_BEGIN, WAIT_RAN, transaction_remaining_ms(t) + ANSWER_GRACE_MS, 0);
  }
  if (t) transaction_release(t);
  begin_body_release(&body);
}

/* ---- statements, branches --------------------------------------------------------------------- */

static void respond_state_error(struct http_request *request, struct transaction *t,
                                const struct error *err) {
  if (err->code == ERR_ABORTED || err->code == ERR_COMMITTED || err->code == ERR_NOT_OPEN ||
      err->code == ERR_MIXED || err->code == ERR_NOT_IN_DOUBT) {
    struct json_writer w;
    json_writer_init(&w);
    render_transaction(&w, t, false);
    respond_problem(request, err, &w);
  } else {
    http_respond_error(request, err, NULL);
  }
}

static void post_statement(struct http_request *request, void *data) {
  struct error err = {0};
  struct statement_body body;
  enum error_code code = statement_body_decode(request, &body, &err);
  if (code != ERR_OK) {
    http_respond_error(request, &err, NULL);
    statement_body_release(&body);
    return;
  }
  struct transaction *t = find(data, request, TO_EXECUTE);
  if (t) {
    unsigned branch = 0;
    transaction_hold(t);
    code = transaction_enlist(t, body.participant, false, &branch, &err);
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
    code = transaction_enlist(t, body.participant, true, &branch, &err);
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
      respond(request, 201, &w);
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
  respond(request, 200, &w);
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
  if (read_query_decode(request, context->timeout_max_ms, &waits, &until, &timeout_ms, &err) !=
      ERR_OK) {
    http_respond_error(request, &err, NULL);
    return;
  }
  struct transaction *t = find(context, request, TO_READ);
  if (!t) return;
  if (waits) {
    answer_when(t, request, TO_READ, until, timeout_ms, 0);
    return;
  }
  struct json_writer w;
  json_writer_init(&w);
  render_transaction(&w, t, false);
  respond(request, 200, &w);
}

static void respond_text(void *data, char *json, size_t length, const struct error *err) {
  struct http_request *request = data;
  struct error problem = {0};
  if (json) {
    http_respond_take(request, 200, content_type, json, length, NULL, 0);
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
  if (list_query_decode(request, &filter, &err) != ERR_OK)
    http_respond_error(request, &err, NULL);
  else
    transactions_list(context->coordinator, &filter, respond_text, request);
}

static void list_participants(struct http_request *request, void *data) {
  struct routes_context *context = data;
  coordinator_participants(context->coordinator, NULL, respond_text, request);
}

static void get_participant(struct http_request *request, void *data) {
  struct routes_context *context = data;
  coordinator_participants(context->coordinator, http_capture(request, 0), respond_text, request);
}

/* ---- health ----------------------------------------------------------------------------------- */

static void respond_status(struct http_request *request, const char *status) {
  struct json_writer w;
  json_writer_init(&w);
  json_object_begin(&w);
  json_key(&w, "status");
  json_write_string(&w, status);
  json_object_end(&w);
  respond(request, 200, &w);
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

const struct http_route *routes_table(size_t *count) {
  static const struct http_route table[] = {
      {"POST", "/v1/transactions", post_transaction, ROLE_CLIENT},
      {"GET", "/v1/transactions", list_transactions, ROLE_CLIENT},
      {"GET", "/v1/transactions/{id}", get_transaction, ROLE_CLIENT},
      {"POST", "/v1/transactions/{id}/statements", post_statement, ROLE_CLIENT},
      {"POST", "/v1/transactions/{id}/branches", post_branch, ROLE_CLIENT},
      {"POST", "/v1/transactions/{id}/commit", post_commit, ROLE_CLIENT},
      {"POST", "/v1/transactions/{id}/rollback", post_rollback, ROLE_CLIENT},
      {"POST", "/v1/transactions/{id}/resolve", post_resolve, ROLE_OPERATOR},
      {"GET", "/v1/participants", list_participants, ROLE_OPERATOR},
      {"GET", "/v1/participants/{name}", get_participant, ROLE_OPERATOR},
      {"GET", "/healthz", get_health, ROLE_ANYONE},
      {"GET", "/readyz", get_ready, ROLE_ANYONE},
  };
  *count = sizeof table / sizeof table[0];
  return table;
}
