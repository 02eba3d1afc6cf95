/* See render.h. One function writes the object, whatever its source, so that the two cannot differ. */
#include "coordinator/render.h"

#include <assert.h>
#include <stdlib.h>

#include "coordinator/internal.h"

struct head {
  const char *id, *state, *outcome, *label;
  int64_t created_at_us, decided_at_us, applied_at_us, timeout_ms;
};

struct branch_view {
  unsigned id;
  const char *participant, *gid, *state, *xid;
  int64_t attempts;
  const struct cause *last_error; /* NULL: none */
  const char *results;            /* NULL: the member is left out */
};

const char *render_outcome_name(enum wal_outcome outcome) {
  switch (outcome) {
  case WAL_OUTCOME_NONE: return NULL;
  case WAL_OUTCOME_COMMITTED: return "committed";
  case WAL_OUTCOME_ABORTED: return "aborted";
  case WAL_OUTCOME_MIXED: return "mixed";
  }
  assert(false && "an outcome");
  return NULL;
}

void render_cause(struct json_writer *w, const struct cause *cause) {
  if (!cause || cause->kind == CAUSE_NONE) {
    json_write_null(w);
    return;
  }
  json_object_begin(w);
  json_key(w, "kind");
  json_write_string(w, cause_kind_name(cause->kind));
  json_key(w, "branch");
  if (cause->branch > 0)
    json_write_integer(w, cause->branch);
  else
    json_write_null(w);
  json_key(w, "statement");
  if (cause->statement >= 0)
    json_write_integer(w, cause->statement);
  else
    json_write_null(w);
  json_key(w, "sqlstate");
  json_write_string(w, cause->sqlstate[0] ? cause->sqlstate : NULL);
  json_key(w, "message");
  json_write_string(w, cause->text[0] ? cause->text : NULL);
  json_object_end(w);
}

static void write_head(struct json_writer *w, const struct head *head) {
  json_key(w, "id");
  json_write_string(w, head->id);
  json_key(w, "state");
  json_write_string(w, head->state);
  json_key(w, "outcome");
  json_write_string(w, head->outcome);
  json_key(w, "label");
  json_write_string(w, head->label);
  json_key(w, "created_at");
  json_write_time(w, head->created_at_us);
  json_key(w, "decided_at");
  json_write_time(w, head->decided_at_us);
  json_key(w, "applied_at");
  json_write_time(w, head->applied_at_us);
  json_key(w, "timeout_ms");
  json_write_integer(w, head->timeout_ms);
}

static void write_branch(struct json_writer *w, const struct branch_view *view) {
  json_object_begin(w);
  json_key(w, "id");
  json_write_integer(w, view->id);
  json_key(w, "participant");
  json_write_string(w, view->participant);
  json_key(w, "gid");
  json_write_string(w, view->gid);
  json_key(w, "state");
  json_write_string(w, view->state);
  json_key(w, "xid");
  json_write_string(w, view->xid[0] ? view->xid : NULL);
  json_key(w, "attempts");
  json_write_integer(w, view->attempts);
  json_key(w, "last_error");
  render_cause(w, view->last_error);
  if (view->results) {
    json_key(w, "results");
    json_write_raw(w, view->results);
  }
  json_object_end(w);
}

/* Of a decided branch whose end cannot be found out the decision is no answer. */
static const char *branch_state_name(const struct transaction *t, unsigned index) {
  enum txn_branch_state state = t->core.branches[index].state;
  bool decided = state == TXN_BRANCH_COMMITTING || state == TXN_BRANCH_ABORTING;
  if (decided && t->branches[index]->hazard) state = TXN_BRANCH_UNKNOWN;
  return txn_branch_state_name(state);
}

void render_transaction(struct json_writer *w, const struct transaction *t, bool results) {
  json_object_begin(w);
  write_head(w, &(struct head){.id = t->id.text,
                               .state = txn_state_name(t->core.state),
                               .outcome = render_outcome_name(transaction_outcome(t)),
                               .label = t->label,
                               .created_at_us = t->created_at_us,
                               .decided_at_us = t->decided_at_us,
                               .applied_at_us = t->applied_at_us,
                               .timeout_ms = t->timeout_ms});
  json_key(w, "branches");
  json_array_begin(w);
  for (unsigned i = 0; i < t->core.branch_count; i++) {
    const struct transaction_branch *branch = t->branches[i];
    write_branch(w, &(struct branch_view){.id = branch->id,
                                          .participant = branch->member->name,
                                          .gid = branch->gid,
                                          .state = branch_state_name(t, i),
                                          .xid = branch->xid,
                                          .attempts = branch->attempts,
                                          .last_error = &branch->last_error,
                                          .results = results ? branch->results : NULL});
  }
  json_array_end(w);
  json_key(w, "cause");
  render_cause(w, &t->cause);
  json_object_end(w);
}

/* The state of a record as the API shows it. */
const char *render_record_state_name(const struct wal_record *record) {
  switch (record->kind) {
  case WAL_KIND_ABORTED: return "aborted";
  case WAL_KIND_COMMIT: return record->applied_at_us ? "committed" : "committing";
  case WAL_KIND_DELEGATED:
    return record->outcome == WAL_OUTCOME_COMMITTED ? "committed"
           : record->outcome == WAL_OUTCOME_ABORTED ? "aborted"
                                                    : "preparing";
  }
  assert(false && "a kind");
  return "";
}

static const char *record_branch_state_name(const struct wal_record *record,
                                            const struct wal_branch *branch) {
  if (branch->read_only) return "read_only";
  if (branch->confirmed)
    return branch->outcome == BRANCH_OUTCOME_COMMITTED ? "committed" : "aborted";
  switch (record->kind) {
  case WAL_KIND_ABORTED: return "aborted";
  case WAL_KIND_COMMIT: return "committing";
  case WAL_KIND_DELEGATED: return "unknown";
  }
  assert(false && "a kind");
  return "";
}

void render_record(struct json_writer *w, const struct wal_record *record, const char *results) {
  json_object_begin(w);
  write_head(w, &(struct head){.id = record->txid.text,
                               .state = render_record_state_name(record),
                               .outcome = render_outcome_name(record->outcome),
                               .label = record->label,
                               .created_at_us = record->created_at_us,
                               .decided_at_us = record->decided_at_us,
                               .applied_at_us = record->applied_at_us,
                               .timeout_ms = record->timeout_ms});
  json_key(w, "branches");
  json_array_begin(w);
  for (size_t i = 0; i < record->branch_count; i++) {
    const struct wal_branch *branch = &record->branches[i];
    char *own = key_results_of(results, branch->id);
    write_branch(w, &(struct branch_view){.id = branch->id,
                                          .participant = branch->participant,
                                          .gid = branch->gid,
                                          .state = record_branch_state_name(record, branch),
                                          .xid = branch->xid,
                                          .results = own});
    free(own);
  }
  json_array_end(w);
  json_key(w, "cause");
  render_cause(w, &record->cause);
  json_object_end(w);
}
