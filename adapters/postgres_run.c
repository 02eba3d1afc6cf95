/* A branch's work: BEGIN, statements, and PREPARE TRANSACTION, in as few round trips as are safe.
 *
 * Everything goes out in one flush when no statement has an expectation:
 *
 *   BEGIN; statements; the xid query; PREPARE TRANSACTION; RESET ALL; Sync
 *
 * (with SET LOCAL after BEGIN where the branch's time is not the connection's, and after the xid query the
 * row of the branch, where branches leave one). One Sync for both is one write and one wake-up less on each
 * side. RESET ALL may stand there: PREPARE has ended the transaction and
 * what belongs to it, and an error of RESET ALL can no longer touch it.
 *
 * All but PREPARE are texts that come again: the server keeps them, parsed and planned (postgres_kept.h).
 *
 * What a branch may leave behind for the next user of its session: settings, which RESET ALL takes back;
 * advisory locks of the session's, which the xid query gives up, so a moment before PREPARE; prepared
 * statements. Temporary tables, cursors WITH HOLD and LISTEN are refused by PREPARE, and a role is found by the
 * xid query. So after statements that are plain (postgres_sql.h) the session is clean by that, and keeps its
 * texts. After any other one, before one, after an error and after COMMIT comes DISCARD ALL, which forgets all.
 *
 * With one, PREPARE is held back for a second flush. Whoever finds a gid prepared, after a lost
 * answer or a crash of this process, takes it as a yes. So nothing may ever become prepared that has
 * not been found good, and how many rows a statement touched is known here only, not in the server.
 *
 * A branch to which no xid was assigned has written no row here, but that is not to say that it has
 * had no effect: NOTIFY and postgres_fdw act at COMMIT and need no xid. PREPARE refuses them, a plain
 * COMMIT would let them through before anybody has decided. So such a branch is prepared, too, and
 * only what PREPARE has taken is then ended here, as read-only.
 *
 * The branch's own search_path is in force when our query runs: all names in it are qualified,
 * operators, too.
 *
 * Invariants:
 *  1. RAN_FAILED is told only when the database has said, or the order of the pipeline implies,
 *     that nothing of the branch is or will be prepared. An error skips the rest up to the Sync.
 *  2. RAN_PREPARED needs the tag PREPARE TRANSACTION and no warning: a cancelled wait for a replica
 *     gives that tag, too, with a warning.
 *  3. A session is given back after RESET ALL (of what was prepared and plain) or DISCARD ALL has succeeded
 *     outside a transaction; else it is dropped.
 *  4. A text that is kept may be out of date (26000: somebody has deallocated it; 0A000: its result has other
 *     columns by now). Then nothing of the branch is left, as after any error, and it is run once more with
 *     its texts sent anew. Only a branch's first run can be: what was told of former ones was told.
 * Limits: those of the job; identifiers and texts as in message.h.
 */
#include "adapters/postgres.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/postgres_sql.h"
#include "common/crash_point.h"

enum { COMMAND_SIZE = 160 };

/* ---- answering ------------------------------------------------------------------------------- */

/* The session's state has been settled; the answer is the last thing that happens. */
static void answer(struct session *s, enum session_ran ran, bool reusable) {
  struct run run = s->run;
  char *results = rows_take(&s->run.rows);
  bool with_results = ran == RAN_OPEN || ran == RAN_PREPARED || ran == RAN_READ_ONLY;
  struct session_result result = {.ran = ran,
                                  .reusable = reusable,
                                  .results = with_results ? results : NULL};
  if (with_results)
    memcpy(result.xid, run.xid, sizeof result.xid);
  else
    result.cause = run.cause;
  if (result.cause.kind == CAUSE_NONE) result.cause.statement = -1;
  run_drop_job(s);
  run.fn(run.data, &result);
  free(results);
}

/* The branch has left the session: idle when it could be reset, else dropped. So is one that has read a row
 * far over the limit, since libpq keeps the memory that it took for it. */
static void answer_left(struct session *s, enum session_ran ran) {
  bool reusable = (s->run.reset && !s->run.rows.wide) || !s->run.touched;
  if (reusable)
    wire_end(s, SESSION_IDLE);
  else
    wire_break(s);
  answer(s, ran, reusable);
}

static void answer_open(struct session *s) {
  wire_end(s, SESSION_IN_TRANSACTION);
  answer(s, RAN_OPEN, false);
}

static void answer_unknown(struct session *s) {
  wire_break(s);
  answer(s, s->run.failed ? RAN_UNWANTED : RAN_UNKNOWN, false);
}

static void fail(struct session *s) {
  s->run.failed = true;
  rows_discard(&s->run.rows);
}

/* ---- sending --------------------------------------------------------------------------------- */

static void send_discard(struct session *s) {
  wire_discard(s, STEP_RESET);
  wire_sync(s);
  s->run.reset_sent = true;
}

/* Behind PREPARE, which goes on to be checked: see at the top. */
static void send_reset(struct session *s) {
  if (!s->plain || kept_is_full(&s->kept)) {
    send_discard(s);
    return;
  }
  wire_kept_query(s, STEP_RESET, 0, "RESET ALL", 0, NULL);
  wire_sync(s);
  s->run.reset_sent = true;
}

static void send_rollback(struct session *s) {
  s->run.rolled_back = true;
  wire_query(s, STEP_ROLLBACK, 0, "ROLLBACK", 0, NULL);
  send_discard(s);
  wire_flush(s);
}

static void send_prepare(struct session *s) {
  char sql[COMMAND_SIZE];
  CRASH_POINT("A3");
  (void)snprintf(sql, sizeof sql, "PREPARE TRANSACTION '%s'", s->run.gid);
  s->run.prepare = PREPARE_SENT;
  wire_query(s, STEP_PREPARE, 0, sql, 0, NULL);
  send_reset(s);
  wire_flush(s);
}

/* Ends what PREPARE made and the answer shall not contain, on the same connection. */
static void send_settle(struct session *s, bool commit) {
  char sql[COMMAND_SIZE];
  (void)snprintf(sql, sizeof sql, "%s PREPARED '%s'", commit ? "COMMIT" : "ROLLBACK", s->run.gid);
  s->run.settle_sent = true;
  wire_query(s, STEP_SETTLE, 0, sql, 0, NULL);
  wire_sync(s);
  wire_flush(s);
}

static void send_setting(struct session *s, const char *name, int64_t ms) {
  char sql[COMMAND_SIZE];
  (void)snprintf(sql, sizeof sql, "SET LOCAL %s = %lld", name, (long long)ms);
  wire_kept_query(s, STEP_SETTING, 0, sql, 0, NULL);
}

/* Utility commands, not set_config(): the user's first statement may still be SET TRANSACTION. None where
 * the connection was made with the same; in a transaction that goes on they may have been changed since. */
static void send_settings(struct session *s, const struct session_job *job) {
  struct timeouts wanted = timeouts_of(job->timeout_ms);
  if (job->begin) s->postgres->timeouts = wanted;
  if (job->begin && timeouts_equal(&wanted, &s->timeouts)) return;
  send_setting(s, "statement_timeout", wanted.statement_ms);
  send_setting(s, "lock_timeout", wanted.lock_ms);
  if (job->end != RUN_PREPARE)
    send_setting(s, "idle_in_transaction_session_timeout", wanted.statement_ms);
}

/* Only the role that prepared may finish (or a superuser), and that is the role in force at
 * PREPARE: after a SET ROLE nobody of ours could end this branch. So the xid query fails then, and
 * PREPARE behind it is skipped: the text is no integer, and the cast to one is tried only in this
 * case. */
#define XID_QUERY                                                                                  \
  "SELECT pg_catalog.pg_current_xact_id_if_assigned(), "                                           \
  "CASE WHEN current_user OPERATOR(pg_catalog.<>) $1::pg_catalog.name THEN "                       \
  "pg_catalog.concat('the role ', current_user, ' is in force at the end')"                        \
  "::pg_catalog.int4 END"

/* A ready branch's xid is told and will be asked for, also after a crash. The database hands an xid
 * out again when no WAL record of it was flushed, and there may be none (unlogged tables): so this
 * transaction writes one, for a barrier to flush. (The barrier's own xid is a later one, and keeps
 * this one from coming again, too; nothing leans on that.) What wrote nothing gets no xid by it: the list is
 * evaluated from the left. */
#define MESSAGE                                                                                    \
  ", CASE WHEN pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL THEN "                      \
  "pg_catalog.pg_logical_emit_message(true, 'assent', 'ready') END"

/* See at the top. */
#define UNLOCK ", pg_catalog.pg_advisory_unlock_all()"

static void send_xid_query(struct session *s, bool ready) {
  const char *const params[] = {s->role};
  wire_kept_query(s, STEP_XID, 0, ready ? XID_QUERY MESSAGE : XID_QUERY UNLOCK, 1, params);
}

/* A row that is seen when the branch has committed, for who has lost the decision log. What wrote
 * nothing writes none, and may be in a read-only transaction: hence the block. It comes after the xid
 * query, which finds a SET ROLE. */
static void send_row(struct session *s) {
  char sql[320];
  struct gid gid;
  bool is_gid = gid_parse(s->run.gid, &gid);
  assert(is_gid);
  (void)snprintf(sql, sizeof sql,
                 "DO $$BEGIN IF pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL THEN "
                 "INSERT INTO assent.outcome (txid, branch) VALUES ('%s', %u); END IF; END$$",
                 gid.txid.text, gid.branch);
  wire_query(s, STEP_SETTING, 0, sql, 0, NULL);
}

static bool has_expectation(const struct session_job *job) {
  for (size_t i = 0; i < job->statement_count; i++)
    if (job->statements[i].expect_rows >= 0) return true;
  return false;
}

/* A branch that goes on has told of its former runs: it cannot be run once more, so nothing of it may be
 * out of date. */
static void send_statements(struct session *s, const struct session_job *job, bool anew) {
  s->run.uses_kept = job->begin && !anew;
  for (size_t i = 0; i < job->statement_count; i++) {
    const struct statement *statement = &job->statements[i];
    if (s->run.uses_kept && statement_is_plain(statement->sql))
      wire_kept_query(s, STEP_STATEMENT, (unsigned)i, statement->sql, statement->param_count,
                      statement->params);
    else
      wire_query(s, STEP_STATEMENT, (unsigned)i, statement->sql, statement->param_count,
                 statement->params);
  }
}

static void note_plain(struct session *s, const struct session_job *job) {
  if (job->begin) s->plain = true;
  for (size_t i = 0; i < job->statement_count; i++)
    if (!statement_is_plain(job->statements[i].sql)) s->plain = false;
}

static void send_work(struct session *s, const struct session_job *job, bool anew) {
  s->run.touched = true;
  s->run.reset_sent = s->run.reset = false;
  note_plain(s, job);
  /* A function may have prepared something behind a plain text: not for who uses that. */
  if (job->begin && !s->plain && !s->discarded) wire_discard(s, STEP_SETTING);
  s->discarded = false;
  if (job->begin) wire_kept_query(s, STEP_SETTING, 0, "BEGIN", 0, NULL);
  send_settings(s, job);
  send_statements(s, job, anew);
#ifdef ASSENT_CRASH_POINTS
  wire_flush_now(s); /* the point is worth something only when the statements are on their way */
#endif
  CRASH_POINT("A2");
  if (job->end != RUN_KEEP_OPEN) send_xid_query(s, job->end == RUN_READY);
  if (job->end == RUN_PREPARE && s->leaves_rows) send_row(s);
  if (job->end == RUN_PREPARE && !has_expectation(job)) {
    send_prepare(s);
  } else {
    wire_sync(s);
    wire_flush(s);
  }
}

/* ---- results --------------------------------------------------------------------------------- */

static void take_statement(struct session *s, unsigned index, PGresult *result) {
  struct run *run = &s->run;
  if (!rows_add(&run->rows, (int)index, result, &run->cause)) fail(s);
  if (PQresultStatus(result) == PGRES_SINGLE_TUPLE) return;
  int64_t wanted = run->job.statements[index].expect_rows, came = result_affected(result);
  if (wanted < 0 || wanted == came || run->failed) return;
  cause_set(&run->cause, CAUSE_EXPECTATION, (int)index, "%lld rows were expected, %lld %s",
            (long long)wanted, (long long)came, came == 1 ? "was touched" : "were touched");
  fail(s);
}

static void take_prepare(struct session *s, PGresult *result) {
  struct run *run = &s->run;
  if (result_is_error(result)) {
    cause_from_result(&run->cause, -1, result);
    if (result_is_ambiguous(result)) {
      run->unknown = true;
    } else {
      run->prepare = PREPARE_REFUSED;
      fail(s);
    }
  } else if (strcmp(PQcmdStatus(result), "PREPARE TRANSACTION") != 0) {
    run->prepare = PREPARE_REFUSED;
    cause_set(&run->cause, CAUSE_STATEMENT, -1,
              "PREPARE TRANSACTION was answered by the tag %s: the transaction had ended before",
              PQcmdStatus(result));
    fail(s);
  } else if (s->warned) {
    cause_set(&run->cause, CAUSE_UNREACHABLE, -1,
              "PREPARE TRANSACTION came with a warning: a replica may lack it");
    run->unknown = true;
  } else {
    run->prepare = PREPARE_DONE;
    CRASH_POINT("A4");
  }
}

static void take_settle(struct session *s, PGresult *result) {
  const char *tag = s->run.failed ? "ROLLBACK PREPARED" : "COMMIT PREPARED";
  if (!result_is_error(result) && strcmp(PQcmdStatus(result), tag) == 0 && !s->warned)
    s->run.settled = true;
  else
    s->run.unknown = true;
}

static bool says_stale(const PGresult *result) {
  const char *sqlstate = result_sqlstate(result);
  return strcmp(sqlstate, "26000") == 0 || strcmp(sqlstate, "0A000") == 0;
}

/* The xid query has it in what it could not cast, within quotes. */
static void note_role(struct cause *cause, const PGresult *result) {
  const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  const char *from = text ? strstr(text, "the role ") : NULL,
             *to = from ? strrchr(from, '"') : NULL;
  if (to)
    cause_set(cause, CAUSE_STATEMENT, -1, "%.*s, and nobody else may end what it prepares",
              (int)(to - from), from);
}

static void take_error(struct session *s, struct step step, PGresult *result) {
  if (step.kind == STEP_XID) note_role(&s->run.cause, result);
  if (s->run.uses_kept && says_stale(result)) s->run.stale = true;
  cause_from_result(&s->run.cause, step.kind == STEP_STATEMENT ? (int)step.index : -1, result);
  /* A PREPARE that is under way is behind it, before the same Sync: it is skipped. */
  if (s->run.prepare == PREPARE_SENT) s->run.prepare = PREPARE_REFUSED;
  fail(s);
}

static void run_result(struct session *s, struct step step, PGresult *result) {
  struct run *run = &s->run;
  if (PQresultStatus(result) == PGRES_PIPELINE_ABORTED) { /* skipped, behind an error */
    if (step.kind == STEP_RESET) run->reset_sent = false;
    return;
  }
  bool error = result_is_error(result);
  switch (step.kind) {
  case STEP_PREPARE: take_prepare(s, result); return;
  case STEP_SETTLE: take_settle(s, result); return;
  case STEP_RESET: run->reset = !error; return; /* refused inside a failed transaction */
  case STEP_ROLLBACK: return;                   /* the transaction's status tells */
  case STEP_STATEMENT:
  case STEP_XID:
  case STEP_COMMIT: /* postgres_commit.c */
  case STEP_SETTING:
  case STEP_QUERY:
  case STEP_SYNC: break;
  }
  if (error)
    take_error(s, step, result);
  else if (step.kind == STEP_STATEMENT)
    take_statement(s, step.index, result);
  else if (step.kind == STEP_XID && !PQgetisnull(result, 0, 0))
    (void)snprintf(run->xid, sizeof run->xid, "%s", PQgetvalue(result, 0, 0));
}

/* ---- what comes next ------------------------------------------------------------------------- */

/* Nothing of it is left, and no text is kept any more. Its timer goes on. */
static void run_again(struct session *s) {
  struct run *run = &s->run;
  struct run again = {.fn = run->fn, .data = run->data, .job = run->job};
  memcpy(again.gid, run->gid, sizeof again.gid);
  *run = again;
  rows_begin(&run->rows, run->job.result_rows_max, run->job.result_bytes_max);
  send_work(s, &run->job, true);
}

/* A failed branch: nothing prepared, no transaction, a clean session, in this order. */
static void next_of_failed(struct session *s) {
  struct run *run = &s->run;
  bool idle = PQtransactionStatus(s->connection) == PQTRANS_IDLE;
  if (run->prepare == PREPARE_DONE && !run->settled) {
    send_settle(s, false);
  } else if (!idle && !run->rolled_back) {
    send_rollback(s);
  } else if (idle && run->touched && !run->reset && !run->reset_sent) {
    send_discard(s);
    wire_flush(s);
  } else if (idle && run->stale && run->reset) {
    run_again(s);
  } else {
    run->reset = run->reset && idle;
    answer_left(s, RAN_FAILED);
  }
}

static void run_drained(struct session *s) {
  struct run *run = &s->run;
  if (!run->unknown && !run->failed && run->prepare == PREPARE_NOT_SENT &&
      PQtransactionStatus(s->connection) != PQTRANS_INTRANS) {
    cause_set(&run->cause, CAUSE_STATEMENT, -1, "a statement has ended the branch's transaction");
    fail(s);
  }
  if (run->unknown)
    answer_unknown(s);
  else if (run->failed)
    next_of_failed(s);
  else if (run->settled)
    answer_left(s, RAN_READ_ONLY);
  else if (run->prepare == PREPARE_DONE && run->xid[0])
    answer_left(s, RAN_PREPARED);
  else if (run->prepare == PREPARE_DONE)
    send_settle(s, true);
  else if (run->job.end != RUN_PREPARE)
    answer_open(s);
  else
    send_prepare(s);
}

/* To read on would be to hold a row that nobody may have. The price is the connection. */
static void run_over(struct session *s, struct step step) {
  rows_refuse_row(&s->run.rows, step.kind == STEP_STATEMENT ? (int)step.index : -1, &s->run.cause);
  fail(s);
}

static void run_lost(struct session *s, const struct error *err) {
  struct run *run = &s->run;
  bool prepared = run->prepare == PREPARE_DONE && !run->settled;
  cause_from_error(&run->cause, err);
  if (run->unknown || run->prepare == PREPARE_SENT || (prepared && (run->failed || !run->xid[0])))
    answer_unknown(s);
  else if (prepared)
    answer(s, RAN_PREPARED, false);
  else if (!run->failed && run->settled)
    answer(s, RAN_READ_ONLY, false);
  else
    answer(s, RAN_FAILED, false); /* PREPARE was not sent, or was refused */
}

static const struct session_op run_op = {
    .result = run_result, .drained = run_drained, .over = run_over, .lost = run_lost};

/* ---- the calls ------------------------------------------------------------------------------- */

/* What a branch may not do is found before anything is sent. */
static bool check_statements(struct session *s, const struct session_job *job) {
  for (size_t i = 0; i < job->statement_count; i++) {
    const char *word = statement_refused(job->statements[i].sql);
    if (!word) continue;
    cause_set(&s->run.cause, CAUSE_STATEMENT, (int)i,
              "%s is not a branch's to say: the coordinator begins and ends transactions, and a "
              "branch's session does not copy or listen",
              word);
    return false;
  }
  return true;
}

static void run_begin(struct session *s, const struct session_op *op, int64_t timeout_ms,
                      session_ran_fn fn, void *data) {
  assert(s->state == SESSION_IDLE || s->state == SESSION_IN_TRANSACTION ||
         s->state == SESSION_BROKEN);
  bool touched = s->state != SESSION_IDLE;
  s->run = (struct run){.fn = fn, .data = data, .touched = touched};
  wire_begin(s, op, timeout_ms);
}

void run_drop_job(struct session *s) {
  free((void *)(uintptr_t)s->run.job.statements);
  s->run.job = (struct session_job){0};
}

static void keep_job(struct run *run, const struct session_job *job) {
  run->job = *job;
  run->job.statements = statements_copy(job->statements, job->statement_count);
  assert(run->job.statements);
  run->job.gid = NULL;
  if (job->end == RUN_PREPARE) (void)snprintf(run->gid, sizeof run->gid, "%s", job->gid);
}

void session_run(struct session *s, const struct session_job *job, session_ran_fn fn, void *data) {
  struct gid gid;
  assert(s->state == SESSION_BROKEN || job->begin == (s->state == SESSION_IDLE));
  assert(job->end != RUN_PREPARE || gid_parse(job->gid, &gid));
  run_begin(s, &run_op, job->timeout_ms + s->call_timeout_ms, fn, data);
  keep_job(&s->run, job);
  rows_begin(&s->run.rows, job->result_rows_max, job->result_bytes_max);
  wire_bound(s, rows_row_max(&s->run.rows));
  if (s->state == SESSION_BROKEN) return; /* `lost` is on its way, and nothing was sent */
  if (!check_statements(s, job)) {
    fail(s);
    wire_answer_later(s);
  } else {
    send_work(s, &s->run.job, false);
  }
}

void session_rollback(struct session *s, session_ran_fn fn, void *data) {
  assert(s->state == SESSION_IN_TRANSACTION || s->state == SESSION_BROKEN);
  run_begin(s, &run_op, s->call_timeout_ms, fn, data);
  rows_begin(&s->run.rows, 0, 0);
  wire_bound(s, rows_row_max(&s->run.rows));
  fail(s);
  send_rollback(s);
}
