/* COMMIT of a sole branch, in one phase.
 *
 * Invariants: COMMITTED needs the tag COMMIT and no warning; ABORTED needs an error that the server
 * can only give before the commit, or the tag ROLLBACK; everything else is RETRY, and
 * pg_xact_status tells. An outcome that is known stays known when the connection breaks after it.
 */
#include "adapters/postgres.h"

#include <assert.h>
#include <string.h>

#include "common/crash_point.h"

static void answer(struct session *s) {
  struct commit commit = s->commit;
  commit.fn(commit.data, commit.outcome, &commit.cause);
}

static void send_reset(struct session *s) {
  wire_discard(s, STEP_RESET);
  wire_sync(s);
  wire_flush(s);
}

static void take_commit(struct session *s, PGresult *result) {
  struct commit *commit = &s->commit;
  if (result_is_error(result)) {
    cause_from_result(&commit->cause, -1, result);
    if (!result_is_ambiguous(result)) commit->outcome = BRANCH_OUTCOME_ABORTED;
  } else if (strcmp(PQcmdStatus(result), "COMMIT") != 0) {
    cause_set(&commit->cause, CAUSE_STATEMENT, -1, "COMMIT was answered by the tag %s",
              PQcmdStatus(result));
    commit->outcome = BRANCH_OUTCOME_ABORTED;
  } else if (s->warned) {
    cause_set(&commit->cause, CAUSE_UNREACHABLE, -1,
              "COMMIT came with a warning: a replica may lack it");
  } else {
    commit->outcome = BRANCH_OUTCOME_COMMITTED;
    CRASH_POINT("A6");
  }
}

static void commit_result(struct session *s, struct step step, PGresult *result) {
  struct commit *commit = &s->commit;
  if (PQresultStatus(result) == PGRES_PIPELINE_ABORTED) return;
  if (step.kind == STEP_COMMIT)
    take_commit(s, result);
  else if (step.kind == STEP_RESET)
    commit->reset = !result_is_error(result);
  else if (result_is_error(result))
    cause_from_result(&commit->cause, -1, result);
}

static void commit_drained(struct session *s) {
  struct commit *commit = &s->commit;
  bool idle = PQtransactionStatus(s->connection) == PQTRANS_IDLE;
  if (!idle && !commit->rolled_back) {
    /* COMMIT was skipped, behind an error: nothing else leaves the transaction standing. */
    commit->outcome = BRANCH_OUTCOME_ABORTED;
    commit->rolled_back = true;
    wire_query(s, STEP_ROLLBACK, 0, "ROLLBACK", 0, NULL);
    wire_sync(s);
    send_reset(s);
    return;
  }
  if (commit->reset && idle)
    wire_end(s, SESSION_IDLE);
  else
    wire_break(s);
  answer(s);
}

static void commit_lost(struct session *s, const struct error *err) {
  if (s->commit.outcome == BRANCH_OUTCOME_RETRY) cause_from_error(&s->commit.cause, err);
  answer(s);
}

static const struct session_op commit_op = {.result = commit_result,
                                            .drained = commit_drained,
                                            .lost = commit_lost};

void session_commit(struct session *s, session_committed_fn fn, void *data) {
  assert(s->state == SESSION_IN_TRANSACTION || s->state == SESSION_BROKEN);
  s->commit = (struct commit){.fn = fn, .data = data, .outcome = BRANCH_OUTCOME_RETRY};
  s->commit.cause.statement = -1;
  CRASH_POINT("A5");
  wire_begin(s, &commit_op, s->call_timeout_ms);
  /* An asynchronous commit may be told and then lost in a crash. Two-phase commit always flushes; a
   * plain one only when nobody has switched it off for the role, the database, or in a statement.
   */
  wire_query(s, STEP_SETTING, 0, SQL_SYNCHRONOUS_COMMIT, 0, NULL);
  wire_query(s, STEP_COMMIT, 0, "COMMIT", 0, NULL);
  wire_sync(s);
  send_reset(s);
}
