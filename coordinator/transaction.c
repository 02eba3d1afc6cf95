/* Live transactions: made, enlisted in, asked to commit, waited for, freed.
 *
 * What clients may ask in which state is checked here, so that the core may assert it. A transaction
 * lives in the table until it has ended and no callback or waiter refers to it; from then on the log
 * answers for it.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/memory.h"
#include "coordinator/internal.h"

/* ---- make, free ------------------------------------------------------------------------------- */

static void *allocate(size_t size) {
  void *memory = memory_zeroed(size);
  /* Small and bounded by transactions_max: without it this process cannot keep its promises, and the
   * next start finishes what is decided. */
  if (!memory) abort();
  return memory;
}

void transaction_expire(struct transaction *t) {
  transaction_rollback(t, CAUSE_TIMEOUT,
                       t->waiting.at
                           ? "no connection or slot of max_prepared_transactions was free "
                             "in time: nothing was prepared"
                           : "the transaction's timeout has passed");
}

/* Goes off before the deadline, too: see look.c. */
static void deadline_due(void *data) {
  struct transaction *t = data;
  if (!txn_is_undecided(&t->core)) return;
  if (transaction_remaining_ms(t) > 0) {
    loop_timer_start(t->deadline, look_after_ms(t));
    look(t);
    return;
  }
  transaction_expire(t);
}

struct transaction *transaction_new(struct coordinator *c, const struct txid *id) {
  struct transaction *t = allocate(sizeof *t);
  t->coordinator = c;
  t->id = *id;
  t->cause = (struct cause){.kind = CAUSE_NONE, .statement = -1};
  txn_init(&t->core);
  HASH_ADD(hh, c->transactions, id, sizeof t->id, t);
  return t;
}

struct transaction_branch *transaction_add_branch(struct transaction *t, struct member *member) {
  unsigned index = 0;
  while (t->branches[index])
    index++;
  assert(index < TXN_BRANCHES_MAX);
  struct transaction_branch *branch = allocate(sizeof *branch);
  branch->transaction = t;
  branch->member = member;
  branch->id = index + 1;
  branch->last_error.statement = -1;
  struct gid gid = {.cluster = t->coordinator->cluster,
                    .epoch = t->coordinator->epoch,
                    .txid = t->id,
                    .branch = branch->id};
  gid_format(&gid, branch->gid);
  t->branches[index] = branch;
  return branch;
}

static void waiter_free(struct waiter *waiter) {
  /* It is in the list. NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
  DL_DELETE(waiter->transaction->waiters, waiter);
  loop_timer_free(waiter->timer);
  free(waiter);
}

void transaction_free(struct transaction *t) {
  observe_freed(t);
  slots_forget(t);
  spans_drop(t);
  shares_give_back(t);
  HASH_DEL(t->coordinator->transactions, t);
  if (t->claim) key_claim_drop(t->claim);
  loop_timer_free(t->deadline);
  alarms_free(t);
  while (t->waiters) {
    free(t->waiters->data);
    waiter_free(t->waiters);
  }
  for (unsigned i = 0; i < TXN_BRANCHES_MAX && t->branches[i]; i++) {
    struct transaction_branch *branch = t->branches[i];
    member_unpark(branch);
    loop_timer_free(branch->not_sent);
    statement_list_free(&branch->statements);
    free(branch->results);
    look_forget(branch);
    free(branch);
  }
  free(t->label);
  free(t);
}

/* ---- begin, execute, commit ------------------------------------------------------------------- */

static enum error_code check_may_begin(struct coordinator *c, const char *owner,
                                       struct error *err) {
  if (c->stopping) return error_set(err, ERR_STOPPING, "the coordinator is stopping");
  enum error_code code = shares_check(c, owner, err);
  if (code != ERR_OK) return code;
  if ((int64_t)HASH_COUNT(c->transactions) >= c->options.transactions_max) {
    c->figures.refused[REFUSED_TRANSACTIONS]++;
    (void)error_set(err, ERR_OVERLOADED, "%lld transactions are under way, as many as may be",
                    (long long)c->options.transactions_max);
    return error_limit(err, "transactions", c->options.transactions_max);
  }
  if (loop_now_ms(c->loop) < c->log_full_until_ms)
    return error_set(err, ERR_LOG_FULL, "the decision log has no space left");
  return ERR_OK;
}

enum error_code transaction_begin(struct coordinator *c, const struct begin_request *request,
                                  struct transaction **out, struct error *err) {
  enum error_code code = check_may_begin(c, request->owner, err);
  if (code != ERR_OK) return code;
  char *label = request->label ? strdup(request->label) : NULL;
  if (request->label && !label) return error_set(err, ERR_MEMORY, "no memory for the label");
  struct txid id = txid_make(clock_wall_us());
  struct transaction *t = transaction_new(c, &id);
  t->label = label;
  shares_take(t, request->owner);
  t->timeout_ms = request->timeout_ms ? request->timeout_ms : c->options.timeout_default_ms;
  t->created_at_us = clock_wall_us();
  t->deadline_ms = loop_now_ms(c->loop) + (uint64_t)t->timeout_ms;
  t->deadline = loop_timer_new(c->loop, deadline_due, t);
  loop_timer_start(t->deadline, look_after_ms(t));
  spans_begin(t, request->trace);
  observe(t, &(struct observed){.kind = STEP_BEGUN});
  observe_state(t);
  transaction_hold(t);
  *out = t;
  return ERR_OK;
}

struct transaction *transaction_find(struct coordinator *c, const struct txid *id) {
  struct transaction *t;
  HASH_FIND(hh, c->transactions, id, sizeof *id, t);
  return t;
}

static enum error_code check_open(const struct transaction *t, struct error *err) {
  switch (transaction_outcome(t)) {
  case WAL_OUTCOME_ABORTED:
    return error_set(err, ERR_ABORTED, "the transaction has aborted: %s",
                     t->cause.text[0] ? t->cause.text : cause_kind_name(t->cause.kind));
  case WAL_OUTCOME_COMMITTED: return error_set(err, ERR_COMMITTED, "the transaction has committed");
  case WAL_OUTCOME_MIXED:
    return error_set(err, ERR_MIXED, "a branch has ended against the decision");
  case WAL_OUTCOME_NONE: break;
  }
  if (t->core.state == TXN_OPEN && !t->waiting.at) return ERR_OK;
  return error_set(err, ERR_NOT_OPEN, "the transaction is %s: its commit has been asked for",
                   txn_state_name(t->core.state));
}

enum error_code transaction_enlist(struct transaction *t, const char *participant, bool external,
                                   unsigned *branch, struct error *err) {
  enum error_code code = check_open(t, err);
  if (code != ERR_OK) return code;
  code = coordinator_check_participant(t->coordinator, participant, err);
  if (code != ERR_OK) return code;
  struct member *member = member_find(t->coordinator, participant);
  for (unsigned i = 0; i < t->core.branch_count; i++) {
    if (t->branches[i]->member != member) continue;
    if (t->core.branches[i].external != external)
      return error_set(err, ERR_INVALID,
                       "participant %s has a branch in this transaction already, which %s",
                       participant,
                       external ? "runs statements" : "the application prepares itself");
    *branch = i + 1;
    return ERR_OK;
  }
  code = coordinator_check_takes_branches(t->coordinator, participant, err);
  if (code != ERR_OK) return code;
  /* Durable before a gid is told: the participant knows this life of the log, so that a later one will
   * not take what is prepared under the gid for another coordinator's. Else an old copy of the log
   * could hand out gids that nobody would ever finish. Statements are fenced by the agent itself. */
  if (external && !member->usable)
    return error_set(err, ERR_UNAVAILABLE, "participant %s cannot be reached now", participant);
  size_t most = t->coordinator->options.branches_max;
  if (most == 0) most = TXN_BRANCHES_MAX;
  if (t->core.branch_count >= most) {
    (void)error_set(err, ERR_LIMIT, "a transaction has at most %zu branches", most);
    return error_limit(err, "branches", (int64_t)most);
  }
  const struct transaction_branch *added = transaction_add_branch(t, member);
  *branch = added->id;
  observe(t, &(struct observed){.kind = STEP_ENLISTED,
                                .branch = added,
                                .detail = external ? "application" : "statements"});
  drive(t, &(struct txn_event){.kind = TXN_EV_ENLIST, .external = external});
  if (external) slots_hold(t->branches[*branch - 1], member->fence.server);
  return ERR_OK;
}

enum error_code transaction_execute(struct transaction *t, unsigned id,
                                    struct statement_list *statements, bool keep_open,
                                    struct error *err) {
  struct transaction_branch *branch = t->branches[id - 1];
  enum error_code code = check_open(t, err);
  if (code == ERR_OK && t->core.branches[id - 1].external)
    code = error_set(err, ERR_INVALID, "the application runs this branch's statements itself");
  if (code == ERR_OK && t->core.branches[id - 1].state == TXN_BRANCH_RUNNING)
    code = error_set(err, ERR_BUSY, "another statement is running in this branch");
  if (code != ERR_OK) {
    statement_list_free(statements);
    return code;
  }
  branch->statements = *statements;
  *statements = (struct statement_list){0};
  if (keep_open) drive(t, &(struct txn_event){.kind = TXN_EV_STATEMENT, .branch = id});
  return ERR_OK;
}

enum error_code transaction_commit(struct transaction *t, bool wait_decided, struct error *err) {
  if (t->core.state != TXN_OPEN || t->waiting.at) return ERR_OK;
  if (t->coordinator->stopping) return error_set(err, ERR_STOPPING, "the coordinator is stopping");
  if (t->core.branch_count == 0)
    return error_set(err, ERR_INVALID, "the transaction has no participants");
  for (unsigned i = 0; i < t->core.branch_count; i++)
    if (t->core.branches[i].state == TXN_BRANCH_RUNNING)
      return error_set(err, ERR_BUSY, "a statement is still running in branch %u", i + 1);
  t->wait_decided = wait_decided;
  return slots_commit(t, err);
}

void transaction_rollback(struct transaction *t, enum cause_kind kind, const char *why) {
  if (!txn_is_undecided(&t->core)) return;
  if (t->cause.kind == CAUSE_NONE) {
    t->cause.kind = kind;
    (void)snprintf(t->cause.text, sizeof t->cause.text, "%s", why);
  }
  struct cause cause = {.kind = kind, .statement = -1};
  (void)snprintf(cause.text, sizeof cause.text, "%s", why);
  observe(t, &(struct observed){.kind = STEP_ROLLBACK, .error = &cause});
  drive(t, &(struct txn_event){.kind = TXN_EV_ROLLBACK});
}

/* ---- wait ------------------------------------------------------------------------------------- */

static bool is_running(const struct transaction *t, unsigned branch) {
  for (unsigned i = 0; i < t->core.branch_count; i++)
    if (t->core.branches[i].state == TXN_BRANCH_RUNNING && (branch == 0 || branch == i + 1))
      return true;
  return false;
}

static bool every_branch_was_told(const struct transaction *t) {
  for (unsigned i = 0; i < t->core.branch_count; i++)
    if (t->core.branches[i].state == TXN_BRANCH_ABORTING && !t->branches[i]->told) return false;
  return true;
}

bool transaction_is_being_recorded(const struct transaction *t) {
  return t->core.mixed && t->alarms;
}

static bool is_settled(const struct transaction *t, enum wait_until until, unsigned branch) {
  if (transaction_is_being_recorded(t)) return false;
  switch (t->core.state) {
  case TXN_OPEN: return until == WAIT_RAN && !is_running(t, branch);
  case TXN_PREPARING:
  case TXN_DECIDING:
  case TXN_DELEGATED:
  case TXN_STUCK: return false;
  case TXN_COMMITTING: return until != WAIT_APPLIED;
  case TXN_ABORTING: return every_branch_was_told(t);
  case TXN_COMMITTED:
  case TXN_ABORTED: return true;
  case TXN_STATE_COUNT: break;
  }
  assert(false && "a state");
  return false;
}

bool transaction_is_refused(const struct transaction *t) {
  return t->refused && transaction_outcome(t) == WAL_OUTCOME_ABORTED;
}

bool transaction_is_settled(const struct transaction *t, enum wait_until until) {
  return is_settled(t, until, 0);
}

static void answer_waiter(struct waiter *waiter) {
  struct transaction *t = waiter->transaction;
  transaction_fn fn = waiter->fn;
  void *data = waiter->data;
  waiter_free(waiter);
  fn(data, t);
}

static void waiter_timed_out(void *data) {
  struct waiter *waiter = data;
  struct transaction *t = waiter->transaction;
  answer_waiter(waiter);
  transaction_review(t);
}

void transaction_answer_waiting(struct transaction *t) {
  while (t->waiters)
    answer_waiter(t->waiters);
  transaction_review(t);
}

void transaction_wait(struct transaction *t, enum wait_until until, unsigned branch,
                      int64_t timeout_ms, transaction_fn fn, void *data) {
  if (is_settled(t, until, branch)) {
    fn(data, t);
    return;
  }
  struct waiter *waiter = allocate(sizeof *waiter);
  *waiter =
      (struct waiter){.transaction = t, .until = until, .branch = branch, .fn = fn, .data = data};
  waiter->timer = loop_timer_new(t->coordinator->loop, waiter_timed_out, waiter);
  loop_timer_start(waiter->timer, (uint64_t)timeout_ms);
  DL_APPEND(t->waiters, waiter);
}

void transaction_review(struct transaction *t) {
  /* A waiter's function may make or settle others: start over until none is due. */
  for (struct waiter *waiter = t->waiters; waiter;) {
    if (!is_settled(t, waiter->until, waiter->branch)) {
      waiter = waiter->next;
      continue;
    }
    answer_waiter(waiter);
    waiter = t->waiters;
  }
  if (t->ended && t->in_flight == 0) transaction_free(t);
}

void transaction_hold(struct transaction *t) {
  t->in_flight++;
}

void transaction_release(struct transaction *t) {
  t->in_flight--;
  transaction_review(t);
}

/* ---- what an answer is made of ---------------------------------------------------------------- */

const struct txid *transaction_id(const struct transaction *t) {
  return &t->id;
}

enum wal_outcome transaction_outcome(const struct transaction *t) {
  switch (t->core.state) {
  case TXN_COMMITTING:
  case TXN_COMMITTED: return t->core.mixed ? WAL_OUTCOME_MIXED : WAL_OUTCOME_COMMITTED;
  case TXN_ABORTING:
  case TXN_ABORTED: return t->core.mixed ? WAL_OUTCOME_MIXED : WAL_OUTCOME_ABORTED;
  case TXN_OPEN:
  case TXN_PREPARING:
  case TXN_DECIDING:
  case TXN_DELEGATED:
  case TXN_STUCK: return WAL_OUTCOME_NONE;
  case TXN_STATE_COUNT: break;
  }
  assert(false && "a state");
  return WAL_OUTCOME_NONE;
}

int64_t transaction_remaining_ms(const struct transaction *t) {
  uint64_t now = loop_now_ms(t->coordinator->loop);
  return t->deadline_ms > now ? (int64_t)(t->deadline_ms - now) : 0;
}

const struct cause *transaction_cause(const struct transaction *t) {
  return &t->cause;
}

const char *transaction_results(const struct transaction *t, unsigned branch) {
  return t->branches[branch - 1]->results;
}

void transaction_set_results(struct transaction *t, unsigned branch, char *results) {
  free(t->branches[branch - 1]->results);
  t->branches[branch - 1]->results = results;
}

size_t transaction_results_size(const struct transaction *t) {
  size_t size = 0;
  for (unsigned i = 0; i < t->core.branch_count; i++)
    if (t->branches[i]->results) size += strlen(t->branches[i]->results) + 1;
  return size;
}

void transaction_forget_results(struct transaction *t) {
  for (unsigned i = 0; i < t->core.branch_count; i++)
    transaction_set_results(t, i + 1, NULL);
}

bool transaction_waits_decided(const struct transaction *t) {
  return t->wait_decided;
}

bool transaction_is_for(const struct transaction *t, const char *owner) {
  return !owner || strcmp(t->owner, owner) == 0;
}

int64_t transaction_timeout_ms(const struct transaction *t) {
  return t->timeout_ms;
}

const struct trace_context *transaction_trace(const struct transaction *t) {
  return spans_context_of(t, NULL);
}

const char *transaction_gid(const struct transaction *t, unsigned branch) {
  return t->branches[branch - 1]->gid;
}
