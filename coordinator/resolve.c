/* An operator's word on a branch of which nobody can find out how it ended.
 *
 * The decision stands and is never changed. What is missing is only how the branch ended, and until
 * somebody says it the transaction cannot end either: it would be asked for ever. So only a branch that
 * its agent found unverifiable can be resolved, and whatever the database can still tell wins over it.
 * The word is durable, with its reason, before anything follows from it; and what follows is durable,
 * too, before it is told: a confirmation is a lazy record, which goes to the disk with the next one that
 * is not.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/utf8.h"
#include "coordinator/audit.h"
#include "coordinator/internal.h"

struct resolution {
  struct transaction *transaction;
  unsigned branch;
  enum branch_outcome outcome;
  struct cause said; /* with the operator's reason, for the timeline */
  transaction_resolved_fn fn;
  void *data;
};

static bool is_in_doubt(const struct transaction *t, unsigned branch) {
  enum txn_branch_state state = t->core.branches[branch - 1].state;
  return t->branches[branch - 1]->hazard &&
         (state == TXN_BRANCH_COMMITTING || state == TXN_BRANCH_ABORTING);
}

static enum error_code check(const struct transaction *t, unsigned branch, struct error *err) {
  if (branch < 1 || branch > t->core.branch_count) {
    (void)error_set(err, ERR_INVALID, "the transaction has no branch %u", branch);
    return error_field(err, "/branch");
  }
  if (is_in_doubt(t, branch)) return ERR_OK;
  return error_set(err, ERR_NOT_IN_DOUBT,
                   "branch %u is %s: only one whose end cannot be found out is resolved by hand",
                   branch, txn_branch_state_name(t->core.branches[branch - 1].state));
}

static void finish(struct resolution *r, const struct error *err) {
  struct transaction *t = r->transaction;
  r->fn(r->data, t, err);
  free(r);
  transaction_release(t);
}

static bool is_recorded(struct resolution *r, enum wal_result result, const struct error *err) {
  struct error failed = {0};
  if (result == WAL_DURABLE) return true;
  if (result == WAL_UNKNOWN) r->transaction->coordinator->options.halt("the decision log failed");
  (void)error_set(&failed, ERR_UNAVAILABLE, "the resolution could not be recorded: %s",
                  err ? err->text : "the decision log failed");
  finish(r, &failed);
  return false;
}

static void confirmed(void *data, enum wal_result result, const struct error *err) {
  struct resolution *r = data;
  struct transaction *t = r->transaction;
  struct transaction_branch *branch = t->branches[r->branch - 1];
  if (is_in_doubt(t, r->branch)) {
    branch->resolved = r->outcome;
    observe(t, &(struct observed){.kind = STEP_RESOLVED,
                                  .branch = branch,
                                  .detail = branch_outcome_name(r->outcome),
                                  .error = &r->said});
    /* A question under way is answered first: it may have found out more. */
    if (branch->parked) {
      member_unpark(branch);
      drive(t, &(struct txn_event){
                   .kind = TXN_EV_OUTCOME, .branch = branch->id, .outcome = r->outcome});
    }
  }
  if (is_recorded(r, result, err)) finish(r, NULL);
}

static void recorded(void *data, enum wal_result result, const struct error *err) {
  struct resolution *r = data;
  struct transaction *t = r->transaction;
  if (!is_recorded(r, result, err)) return;
  if (t->logged && is_in_doubt(t, r->branch))
    wal_confirm(t->coordinator->wal, &t->id, r->branch, r->outcome, clock_wall_us());
  wal_audit(t->coordinator->wal, &t->id, r->branch, "resolved", branch_outcome_name(r->outcome),
            clock_wall_us(), confirmed, r);
}

enum error_code transaction_resolve(struct transaction *t, unsigned branch,
                                    enum branch_outcome outcome, const char *reason,
                                    transaction_resolved_fn fn, void *data, struct error *err) {
  assert(outcome == BRANCH_OUTCOME_COMMITTED || outcome == BRANCH_OUTCOME_ABORTED);
  enum error_code code = check(t, branch, err);
  if (code != ERR_OK) return code;
  struct resolution *r = calloc(1, sizeof *r);
  if (!r) abort();
  *r = (struct resolution){
      .transaction = t, .branch = branch, .outcome = outcome, .fn = fn, .data = data};
  r->said = (struct cause){.kind = CAUSE_OPERATOR, .branch = (int)branch, .statement = -1};
  int said = (int)utf8_prefix(reason, strlen(reason), sizeof r->said.text - 1);
  (void)snprintf(r->said.text, sizeof r->said.text, "%.*s", said, reason);
  char detail[AUDIT_TEXT_SIZE];
  audit_word(outcome, reason, detail);
  log_warn("branch_resolved_by_hand", "transaction", "s", t->id.text, "participant", "s",
           t->branches[branch - 1]->member->name, "gid", "s", t->branches[branch - 1]->gid,
           "detail", "s", detail, "trace_id", "o", spans_trace_id(t), NULL);
  transaction_hold(t);
  wal_audit(t->coordinator->wal, &t->id, branch, "resolve", detail, clock_wall_us(), recorded, r);
  return ERR_OK;
}
