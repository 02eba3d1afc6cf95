/* POST /v1/transactions: begins a transaction, or runs a whole one; repeated with a key, it tells what came
 * of the first (keys.h).
 *
 * The key is looked up before anything else is looked at: what was once answered is answered again,
 * whatever has become of participants and limits since. What is refused leaves nothing behind, its key
 * neither.
 */
#include <stdlib.h>
#include <string.h>

#include "common/crash_point.h"
#include "common/request_trace.h"
#include "coordinator/answer.h"
#include "coordinator/keys.h"
#include "coordinator/requests.h"
#include "coordinator/routes.h"

/* ---- the answer to the first request ---------------------------------------------------------- */

struct first {
  struct http_request *request;
  enum purpose purpose;
  enum wait_until until;
};

/* An answer that waits until its key is known to be kept. */
struct told {
  struct http_request *request;
  bool replayed, has_body;
  int status;
  struct txid id;
  size_t length;
  char body[];
};

static void tell(void *data, bool kept) {
  struct told *told = data;
  struct answer answer = {.status = told->status, .length = told->length, .id = told->id};
  struct error err = {0};
  if (kept) {
    if (told->has_body) answer.body = malloc(told->length + 1);
    if (answer.body) memcpy(answer.body, told->body, told->length + 1);
    CRASH_POINT("C7");
    answer_send(&answer, told->request, told->replayed);
  } else {
    /* It has aborted, and nobody has been told: it may be run again. */
    (void)error_set(&err, ERR_LOG_FULL, "the decision log has no space left for the answer");
    http_respond_error(told->request, &err, NULL);
  }
  free(told);
}

/* Takes the answer's body. What is kept of a long one lacks the results. */
static void tell_when_kept(struct transaction *t, struct answer *answer, enum purpose purpose,
                           enum wait_until until, struct http_request *request, bool replayed) {
  size_t size = answer->body ? answer->length + 1 : 0;
  struct told *told = calloc(1, sizeof *told + size);
  if (!told) abort();
  told->request = request;
  told->replayed = replayed;
  told->status = answer->status;
  told->id = answer->id;
  told->length = answer->length;
  told->has_body = answer->body;
  if (answer->body) memcpy(told->body, answer->body, size);
  if (transaction_results_size(t) > KEY_RESULTS_MAX) {
    free(answer->body);
    answer_make(answer, t, purpose, until, 0, false);
  }
  if (answer->status != 202) transaction_forget_results(t);
  key_claim_answer(transaction_claim(t), answer->status, answer->body, tell, told);
  free(answer->body);
}

/* A participant had no room for it: it may be sent again, with its key, too. */
static void refuse(struct transaction *t, struct http_request *request) {
  struct error err = {0};
  char *object = answer_object(t);
  (void)error_set(&err, ERR_OVERLOADED, "%s", transaction_cause(t)->text);
  err.limit = transaction_cause(t)->limit;
  http_respond_error(request, &err, object);
  free(object);
  if (transaction_claim(t)) key_claim_drop(transaction_claim(t));
}

static void settled(void *data, struct transaction *t) {
  struct first *first = data;
  struct answer answer;
  if (transaction_is_refused(t)) {
    refuse(t, first->request);
    free(first);
    return;
  }
  answer_make(&answer, t, first->purpose, first->until, 0, true);
  if (transaction_claim(t)) {
    tell_when_kept(t, &answer, first->purpose, first->until, first->request, false);
  } else {
    transaction_forget_results(t);
    CRASH_POINT("C7");
    answer_send(&answer, first->request, false);
  }
  free(first);
}

/* ---- the first request ------------------------------------------------------------------------ */

/* Before anything is begun, so that a refused request leaves no trace. */
static enum error_code check_participants(struct coordinator *c, const struct begin_body *body,
                                          struct error *err) {
  for (size_t i = 0; i < body->branch_count; i++) {
    enum error_code code = coordinator_check_takes_branches(c, body->branches[i].participant, err);
    if (code == ERR_OK) continue;
    char pointer[64];
    (void)snprintf(pointer, sizeof pointer, "/branches/%zu/participant", i);
    return error_field(err, pointer);
  }
  return ERR_OK;
}

static enum error_code resolve_statements(struct coordinator *c, struct begin_body *body,
                                          struct error *err) {
  enum error_code code = ERR_OK;
  for (size_t i = 0; i < body->branch_count && code == ERR_OK; i++) {
    struct branch_body *branch = &body->branches[i];
    for (size_t k = 0; k < branch->statements.count && code == ERR_OK; k++) {
      code = coordinator_resolve_statement(c, branch->participant, &branch->statements.items[k], "",
                                           err);
      if (code != ERR_OK) (void)error_field_below(err, code, "/branches/%zu/statements/%zu", i, k);
    }
  }
  return code;
}

static enum error_code check_room(struct coordinator *c, const struct begin_body *body,
                                  struct error *err) {
  const char *participants[TXN_BRANCHES_MAX];
  if (!body->commit) return ERR_OK;
  for (size_t i = 0; i < body->branch_count; i++)
    participants[i] = body->branches[i].participant;
  return coordinator_check_room(c, participants, body->branch_count, body->begin.timeout_ms, err);
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

static void wait_for(struct transaction *t, struct http_request *request,
                     const struct begin_body *body) {
  struct first *first = malloc(sizeof *first);
  if (!first) abort();
  *first = (struct first){.request = request,
                          .purpose = body->commit ? TO_COMMIT : TO_BEGIN,
                          .until = body->commit ? body->wait : WAIT_RAN};
  transaction_wait(t, first->until, 0, transaction_remaining_ms(t) + ANSWER_GRACE_MS, settled,
                   first);
}

/* `claim` NULL: the request has no key. */
static void run(struct routes_context *context, struct http_request *request,
                struct key_claim *claim) {
  struct error err = {0};
  struct begin_body body;
  struct transaction *t = NULL;
  enum error_code code = begin_body_decode(request, &context->limits, &body, &err);
  if (code == ERR_OK) code = check_participants(context->coordinator, &body, &err);
  if (code == ERR_OK) code = resolve_statements(context->coordinator, &body, &err);
  if (code == ERR_OK) code = check_room(context->coordinator, &body, &err);
  body.begin.owner = http_principal(request);
  body.begin.trace = request_trace(request, NULL);
  if (code == ERR_OK) code = transaction_begin(context->coordinator, &body.begin, &t, &err);
  if (code == ERR_OK) {
    CRASH_POINT("C1");
    span_text(request_span(request), "assent.transaction.id", transaction_id(t)->text);
    if (claim) key_claim_attach(claim, t);
    code = start_branches(t, &body, &err);
  }
  if (code == ERR_OK) {
    wait_for(t, request, &body);
  } else {
    /* Nothing of it has reached a database: it never was. */
    if (claim) key_claim_drop(claim);
    if (t) transaction_rollback(t, CAUSE_CLIENT, "the request was refused");
    http_respond_error(request, &err, NULL);
  }
  if (t) transaction_release(t);
  begin_body_release(&body);
}

/* ---- a request with a key --------------------------------------------------------------------- */

struct keyed {
  struct routes_context *context;
  struct http_request *request;
};

static void replay(const struct key_found *found, struct http_request *request) {
  struct answer answer = {.status = found->status,
                          .body = strdup(found->body),
                          .length = strlen(found->body),
                          .id = *found->txid};
  answer_send(&answer, request, true);
}

/* `t` NULL: it has not begun. */
static void refuse_running(const struct transaction *t, struct http_request *request) {
  struct error err = {0};
  (void)error_set(
      &err, ERR_KEY_RUNNING,
      "the first request with this Idempotency-Key has not been answered yet: ask again");
  if (t) {
    char *object = answer_object(t);
    http_respond_error(request, &err, object);
    free(object);
  } else {
    http_respond_error(request, &err, NULL);
  }
}

static void settled_again(void *data, struct transaction *t) {
  struct first *again = data;
  struct answer answer;
  if (key_claim_is_busy(transaction_claim(t))) { /* another one is being told just now */
    refuse_running(t, again->request);
  } else {
    answer_make(&answer, t, TO_COMMIT, again->until, 0, true);
    tell_when_kept(t, &answer, TO_COMMIT, again->until, again->request, true);
  }
  free(again);
}

/* Not settled when the first request was answered, or its answer was lost in a crash: this one takes its
 * place. */
static void wait_again(struct transaction *t, struct http_request *request) {
  struct first *again = calloc(1, sizeof *again);
  if (!again) abort();
  *again = (struct first){
      .request = request,
      .until = transaction_waits_decided(t) ? WAIT_DECIDED : WAIT_APPLIED,
  };
  transaction_hold(t);
  transaction_wait(t, again->until, 0, transaction_timeout_ms(t) + ANSWER_GRACE_MS, settled_again,
                   again);
  transaction_release(t);
}

static void answer_from_record(struct coordinator *c, const struct key_found *found,
                               struct http_request *request) {
  struct answer answer;
  answer_make_from_record(&answer, found->record, TO_COMMIT, found->key->results);
  key_answer(c, found->key, answer.status, answer.body);
  answer_send(&answer, request, true);
}

static void found(void *data, const struct key_found *found) {
  struct keyed *keyed = data;
  struct http_request *request = keyed->request;
  struct coordinator *c = keyed->context->coordinator;
  struct error err = {0};
  switch (found->news) {
  case KEY_NEW: run(keyed->context, request, found->claim); break;
  case KEY_RUNNING: refuse_running(found->transaction, request); break;
  case KEY_ANSWERED: replay(found, request); break;
  case KEY_LIVE: wait_again(found->transaction, request); break;
  case KEY_RECORDED: answer_from_record(c, found, request); break;
  case KEY_REUSED:
    (void)error_set(&err, ERR_KEY_REUSED,
                    "this Idempotency-Key has been used with another body: a new request needs a "
                    "new key");
    (void)error_field(&err, KEY_HEADER);
    http_respond_error(request, &err, NULL);
    break;
  case KEY_UNKNOWABLE:
    (void)error_set(&err, ERR_UNAVAILABLE, "the decision log cannot be read now");
    http_respond_error(request, &err, NULL);
    break;
  }
  free(keyed);
}

void routes_post_transaction(struct http_request *request, void *data) {
  struct routes_context *context = data;
  struct error err = {0};
  struct key_id id;
  char fingerprint[FINGERPRINT_SIZE];
  if (!http_header(request, KEY_HEADER)) {
    run(context, request, NULL);
    return;
  }
  if (key_decode(request, &id, fingerprint, &err) != ERR_OK) {
    http_respond_error(request, &err, NULL);
    return;
  }
  struct keyed *keyed = calloc(1, sizeof *keyed);
  if (!keyed) abort();
  *keyed = (struct keyed){context, request};
  keys_ask(context->coordinator, &id, found, keyed);
}
