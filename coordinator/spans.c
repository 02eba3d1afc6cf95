/* The spans of a transaction, made from the steps that observe.c hears of:
 *
 *   transaction            begun, until every branch has the outcome; child of the request that begins it
 *     execute PARTICIPANT    statements in an open transaction: sent, until answered
 *     prepare PARTICIPANT    statements and prepare: sent, until the vote
 *     ready PARTICIPANT      the same of a sole branch, which stays open to be committed in one phase
 *     log decision           asked for, until it is durable
 *     commit PARTICIPANT     (abort, one_phase) each attempt of a decision: sent, until the outcome is told
 *
 * One that was read from the log begins a trace of its own, from then on, and is called "recover
 * transaction"; its id, which is in every span, leads back to the trace that it had. So does a decision about
 * a branch of which the log knows no unfinished transaction.
 *
 * A transaction that no trace was begun for has none, and all of this is one comparison for it. What an error says in words stays here: words of a database may repeat what it
 * was given.
 */
#include <assert.h>

#include "coordinator/internal.h"

/* ---- begin, end ------------------------------------------------------------------------------- */

void spans_begin(struct transaction *t, const struct trace_context *parent) {
  if (!parent) return;
  struct trace_context context;
  struct span_start start = {.name = "transaction", .kind = SPAN_INTERNAL, .parent = parent};
  t->span = span_begin(t->coordinator->options.tracer, &start, &context);
  span_text(t->span, "assent.transaction.id", t->id.text);
  t->trace = trace_new(&context);
}

void spans_recover(struct transaction *t) {
  struct tracer *tracer = t->coordinator->options.tracer;
  if (!tracer) return;
  struct trace_context context;
  struct span_start start = {.name = "recover transaction", .kind = SPAN_INTERNAL};
  t->span = span_begin(tracer, &start, &context);
  span_text(t->span, "assent.transaction.id", t->id.text);
  t->trace = trace_new(&context);
}

/* Of a process that ends: what is open is no span yet. */
void spans_drop(struct transaction *t) {
  span_drop(t->span);
  span_drop(t->log_span);
  for (unsigned i = 0; i < t->core.branch_count; i++) {
    span_drop(t->branches[i]->run_span);
    span_drop(t->branches[i]->decide_span);
  }
  free(t->trace);
}

const char *spans_trace_id(const struct transaction *t) {
  return trace_id_of(t->trace);
}

static const struct trace_context *context_of(const struct transaction *t) {
  return t->trace ? &t->trace->context : NULL;
}

const struct trace_context *spans_context_of(const struct transaction *t, const struct span *span) {
  return span ? span_context(span) : context_of(t);
}

static void fail(struct span *span, const struct cause *cause) {
  if (!cause || cause->kind == CAUSE_NONE) return;
  span_text(span, "assent.cause", cause_kind_name(cause->kind));
  span_error(span, cause->sqlstate[0] ? cause->sqlstate : cause_kind_name(cause->kind));
}

/* That the client rolled it back is no error. */
static void end_transaction(struct transaction *t, const char *outcome) {
  span_text(t->span, "assent.outcome", outcome);
  span_integer(t->span, "assent.branches", t->core.branch_count);
  if (t->core.mixed)
    span_error(t->span, "mixed");
  else if (t->cause.kind != CAUSE_CLIENT && transaction_outcome(t) == WAL_OUTCOME_ABORTED)
    fail(t->span, &t->cause);
  span_end(t->span);
  t->span = NULL;
}

/* ---- calls to participants -------------------------------------------------------------------- */

static void tell_peer(struct span *span, const struct member *member) {
  span_text(span, "assent.participant", member->name);
  if (!member->participant->host[0]) return;
  span_text(span, "server.address", member->participant->host);
  span_integer(span, "server.port", member->participant->port);
}

static struct span *begin_call(struct transaction *t, const struct observed *what,
                               const char *name) {
  const struct member *member = what->branch->member;
  char text[SPAN_NAME_SIZE];
  (void)snprintf(text, sizeof text, "%s %s", name, member->name);
  struct span_start start = {.name = text, .kind = SPAN_CLIENT, .parent = context_of(t)};
  struct span *span = span_begin(t->coordinator->options.tracer, &start, NULL);
  span_text(span, "assent.transaction.id", t->id.text);
  span_integer(span, "assent.branch", what->branch->id);
  tell_peer(span, member);
  return span;
}

static void end_call(struct span **span, const char *key, const char *detail,
                     const struct cause *error) {
  if (detail) span_text(*span, key, detail);
  fail(*span, error);
  span_end(*span);
  *span = NULL;
}

/* Why a branch has aborted is an error only where it was to commit. */
static const struct cause *error_of_outcome(const struct transaction *t,
                                            const struct observed *what) {
  bool aborted = strcmp(what->detail, branch_outcome_name(BRANCH_OUTCOME_ABORTED)) == 0;
  return aborted && t->core.state == TXN_ABORTING ? NULL : what->error;
}

static void begin_run(struct transaction *t, struct transaction_branch *branch,
                      const struct observed *what) {
  bool prepare = strcmp(what->detail, "prepare") == 0;
  bool statements = strcmp(what->detail, "statements") == 0;
  span_end(branch->run_span); /* none, unless its vote was of no use any more */
  branch->run_span = begin_call(t, what, prepare ? "prepare" : statements ? "execute" : "ready");
}

static void begin_decision(struct transaction *t, struct transaction_branch *branch,
                           const struct observed *what) {
  span_end(branch->decide_span);
  branch->decide_span = begin_call(t, what, what->detail);
  span_integer(branch->decide_span, "assent.attempt", what->attempt);
}

/* ---- strays ----------------------------------------------------------------------------------- */

struct span *spans_begin_stray(const struct member *member, const struct gid *gid,
                               enum decision decision) {
  struct tracer *tracer = member->coordinator->options.tracer;
  if (!tracer) return NULL;
  char text[SPAN_NAME_SIZE];
  (void)snprintf(text, sizeof text, "%s %s", decision_name(decision), member->name);
  struct span_start start = {.name = text, .kind = SPAN_CLIENT};
  struct span *span = span_begin(tracer, &start, NULL);
  span_text(span, "assent.transaction.id", gid->txid.text);
  span_integer(span, "assent.branch", gid->branch);
  tell_peer(span, member);
  return span;
}

void spans_end_stray(struct span *span, const struct decide_reply *reply, const struct error *err) {
  if (err)
    span_error(span, error_wire_code(err->code));
  else
    span_text(span, "assent.outcome", branch_outcome_name(reply->outcome));
  span_end(span);
}

/* ---- steps ------------------------------------------------------------------------------------ */

static void begin_log(struct transaction *t, const char *kind) {
  struct span_start start = {.name = "log decision",
                             .kind = SPAN_INTERNAL,
                             .parent = context_of(t)};
  t->log_span = span_begin(t->coordinator->options.tracer, &start, NULL);
  span_text(t->log_span, "assent.transaction.id", t->id.text);
  span_text(t->log_span, "assent.decision", kind);
}

static void end_log(struct transaction *t, const char *result) {
  span_text(t->log_span, "assent.log.result", result);
  if (!t->logged) span_error(t->log_span, result);
  span_end(t->log_span);
  t->log_span = NULL;
}

static struct transaction_branch *branch_of(struct transaction *t, const struct observed *what) {
  assert(what->branch);
  return t->branches[what->branch->id - 1];
}

void spans_observe(struct transaction *t, const struct observed *what) {
  if (!t->coordinator->options.tracer || !(t->trace->context.flags & TRACE_SAMPLED)) return;
  switch (what->kind) {
  case STEP_RUN_SENT:
  case STEP_RUN_NOT_SENT: begin_run(t, branch_of(t, what), what); return;
  case STEP_STATEMENTS_RAN:
  case STEP_VOTE:
    end_call(&branch_of(t, what)->run_span, "assent.vote", what->detail, what->error);
    return;
  case STEP_LOG_ASKED: begin_log(t, what->detail); return;
  case STEP_LOGGED: end_log(t, what->detail); return;
  case STEP_DECISION_SENT: begin_decision(t, branch_of(t, what), what); return;
  case STEP_OUTCOME:
    end_call(&branch_of(t, what)->decide_span, "assent.outcome", what->detail,
             error_of_outcome(t, what));
    return;
  case STEP_ENDED: end_transaction(t, what->detail); return;
  case STEP_BEGUN:
  case STEP_ENLISTED:
  case STEP_COMMIT_ASKED:
  case STEP_WAITS:
  case STEP_ROLLBACK:
  case STEP_BLOCKED:
  case STEP_DECISION_WAITS:
  case STEP_ALARM:
  case STEP_RESOLVED:
  case STEP_STATE:
  case STEP_RECOVERED: return;
  }
}
