/* Carries out what the protocol core asks for (BRANCH_DO_...) and turns the database's answers into
 * its events. See internal.h. A branch has one thing under way at a time, so its one `turn` and its
 * one `finish` are enough. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/crash_point.h"
#include "common/log.h"
#include "participant-agent/internal.h"

/* How long a transaction's own deadline may have passed before the agent ends the branch alone: the
 * coordinator's abort should come first. And how long a run that is cancelled may go on. */
enum { DEADLINE_GRACE_MS = 1000, CANCEL_GRACE_MS = 1000 };

static const struct adapter_ops *ops(const struct entry *entry) {
  return entry->agent->adapter->ops;
}

static void step(struct entry *entry, struct branch_event event) {
  entry_step(entry, &event);
}

/* ---- a run's statements ------------------------------------------------------------------------
 */

static void keep_statements(struct entry *entry) {
  entry->statements_owned = statements_copy(entry->statements, entry->statement_count);
  if (!entry->statements_owned) abort(); /* no memory */
  entry->statements = entry->statements_owned;
}

static void drop_statements(struct entry *entry) {
  free(entry->statements_owned);
  entry->statements_owned = NULL;
  entry->statements = NULL;
  entry->statement_count = 0;
}

/* ---- running -----------------------------------------------------------------------------------
 */

static void forget_cancel(struct entry *entry);

/* A cancel that is on its way may hit whatever the backend does next. */
static void give_back(struct entry *entry, bool reusable) {
  struct work *work = entry->work;
  entry->work = NULL;
  pool_release(work, reusable && !entry->cancel_sent);
  entry->cancel_sent = false;
}

/* It never came to a session. */
static void run_failed(struct entry *entry) {
  drop_statements(entry);
  step(entry, (struct branch_event){.kind = BRANCH_EV_RAN, .ran = RAN_FAILED});
}

static void on_ran(void *data, const struct session_result *result) {
  struct entry *entry = data;
  struct agent *agent = entry->agent;
  agent_enter(agent, false);
  forget_cancel(entry);
  spans_end_work(entry, &result->cause);
  if (result->xid[0]) memcpy(entry->xid, result->xid, sizeof entry->xid);
  bool lost = result->ran == RAN_UNKNOWN || result->ran == RAN_UNWANTED;
  if (result->ran == RAN_FAILED || lost)
    entry_note(entry, &result->cause);
  else
    entry_note(entry, NULL);
  if (lost) copy_text(entry->lost_name, sizeof entry->lost_name, entry->work->name);
  if (result->ran == RAN_OPEN)
    pool_rest(entry->work);
  else
    give_back(entry, result->reusable);
  entry->results = result->results;
  struct branch_event event = {.kind = BRANCH_EV_RAN,
                               .ran = result->ran,
                               .xid = result->xid[0] != '\0'};
  step(entry, event);
  entry->results = NULL; /* the answers that borrow it are given now, or: */
  bool later =
      entry->branch.state == BRANCH_FLUSHING || entry->branch.state == BRANCH_COMMITTING_ONE;
  if (later && result->results) {
    entry->results_kept = strdup(result->results);
    assert(entry->results_kept);
  }
  agent_leave(agent);
}

static void begin_run(struct entry *entry, struct work *work) {
  struct agent *agent = entry->agent;
  bool begin = entry->work == NULL;
  if (!begin) pool_resume(work);
  entry->work = work;
  entry->control_connection = control_connection(agent->control);
  copy_text(entry->server, sizeof entry->server, work->identity.server);
  uint64_t now = loop_now_ms(agent->loop);
  int64_t left = entry->deadline_ms > now ? (int64_t)(entry->deadline_ms - now) : 1;
  struct session_job job = {.begin = begin,
                            .end = entry->branch.end,
                            .gid = entry->gid,
                            .statements = entry->statements,
                            .statement_count = entry->statement_count,
                            .timeout_ms = left,
                            .result_rows_max = agent->result_rows_max,
                            .result_bytes_max = agent->result_bytes_max};
  if (begin) CRASH_POINT("A1");
  spans_begin_work(entry, job.end == RUN_PREPARE ? "PREPARE TRANSACTION" : NULL,
                   job.statement_count);
  ops(entry)->run(work->session, &job, on_ran, entry);
  drop_statements(entry);
}

static void on_got(void *data, struct work *work, const struct cause *cause) {
  struct entry *entry = data;
  struct agent *agent = entry->agent;
  agent_enter(agent, false);
  if (work) {
    begin_run(entry, work);
    execute_watch(entry);
  } else {
    entry_note(entry, cause);
    run_failed(entry);
  }
  agent_leave(agent);
}

static void on_work_lost(void *data, const struct error *err) {
  struct entry *entry = data;
  struct agent *agent = entry->agent;
  agent_enter(agent, false);
  entry->work = NULL;
  entry_note_text(entry, CAUSE_UNREACHABLE, err->text);
  step(entry, (struct branch_event){.kind = BRANCH_EV_LOST});
  agent_leave(agent);
}

static void refuse_run(struct entry *entry) {
  struct cause cause;
  agent_cause_set(&cause, CAUSE_LIMIT, "too many branches wait for a connection to the database");
  cause.limit =
      (struct limit_met){limit_name_find("waiting"), pool_waiting_max(entry->agent->pool)};
  entry_note(entry, &cause);
  run_failed(entry);
}

void execute_run(struct entry *entry) {
  if (entry->work) {
    begin_run(entry, entry->work);
    return;
  }
  struct work *work = NULL;
  entry->ticket = (struct ticket){.got = on_got,
                                  .lost = on_work_lost,
                                  .data = entry,
                                  .stays_open = entry->branch.end == RUN_KEEP_OPEN};
  switch (pool_acquire(entry->agent->pool, &entry->ticket, &work)) {
  case POOL_GOT: begin_run(entry, work); break;
  case POOL_QUEUED:
    keep_statements(entry);
    execute_watch(entry);
    break;
  case POOL_FULL: refuse_run(entry); break;
  }
}

/* ---- cancelling --------------------------------------------------------------------------------
 *
 * A statement may swallow a cancel, and a cancel may be lost. So a run that goes on for
 * CANCEL_GRACE_MS after the cancel was answered, or could not be asked for, has its backend ended; and
 * again, for as long as it goes on. The run's own callback tells how it ended: nothing is concluded
 * here.
 */

struct cancelling {
  struct agent *agent;
  struct entry *entry; /* NULL: its run is over */
  int backend_pid;
  char session_name[SESSION_NAME_SIZE];
  bool end;    /* a cancel was not enough: end the backend */
  bool asking; /* the control session is at it */
  struct control_turn turn;
  struct loop_timer *grace; /* owned */
  struct cancelling *prev, *next;
};

static void cancelling_free(struct cancelling *c) {
  if (c->entry) c->entry->cancelling = NULL;
  loop_timer_free(c->grace);
  DL_DELETE(c->agent->cancellings, c);
  free(c);
}

static void on_cancelled(void *data, const struct error *err) {
  (void)err; /* it is advisory: the run's own end tells */
  struct cancelling *c = data;
  struct agent *agent = c->agent;
  agent_enter(agent, false);
  c->asking = false;
  if (c->entry)
    loop_timer_start(c->grace, CANCEL_GRACE_MS);
  else
    cancelling_free(c);
  control_return(agent->control);
  agent_leave(agent);
}

/* Its server is not the one that answers now: nobody there can be cancelled. */
static void abandon_run(struct entry *entry) {
  bool may_be_prepared = entry->branch.end == RUN_PREPARE;
  copy_text(entry->lost_name, sizeof entry->lost_name, entry->work->name);
  entry_note_text(entry, CAUSE_UNREACHABLE, "the database server was replaced by another");
  spans_end_work(entry, entry->cause);
  give_back(entry, false);
  step(entry, (struct branch_event){.kind = BRANCH_EV_RAN,
                                    .ran = may_be_prepared ? RAN_UNKNOWN : RAN_FAILED});
}

static void cancel_turn(void *data, struct session *session) {
  struct cancelling *c = data;
  struct agent *agent = c->agent;
  if (!session) {
    loop_timer_start(c->grace, CANCEL_GRACE_MS);
    return;
  }
  struct entry *entry = c->entry;
  if (entry->work->retired) {
    agent_enter(agent, false);
    cancelling_free(c);
    abandon_run(entry);
    control_return(agent->control);
    agent_leave(agent);
    return;
  }
  entry->cancel_sent = c->asking = true;
  if (c->end)
    agent->adapter->ops->end_sessions(session, c->session_name, "", on_cancelled, c);
  else
    agent->adapter->ops->cancel(session, c->backend_pid, on_cancelled, c);
}

static void on_grace_over(void *data) {
  struct cancelling *c = data;
  c->end = true;
  log_warn("cancel_not_heeded", "participant", "s", c->agent->participant, "gid", "s",
           c->entry->gid, "session", "s", c->session_name, "trace_id", "o",
           trace_id_of(c->entry->trace), NULL);
  control_borrow(c->agent->control, &c->turn, cancel_turn, c);
}

/* The run is over: what was not sent yet must not be. */
static void forget_cancel(struct entry *entry) {
  struct cancelling *c = entry->cancelling;
  if (!c) return;
  entry->cancelling = NULL;
  c->entry = NULL;
  (void)control_withdraw(c->agent->control, &c->turn);
  if (!c->asking) cancelling_free(c);
}

void execute_cancel(struct entry *entry) {
  struct agent *agent = entry->agent;
  if (pool_withdraw(agent->pool, &entry->ticket)) {
    run_failed(entry);
    return;
  }
  assert(entry->work && !entry->cancelling);
  struct cancelling *c = must_allocate(sizeof *c);
  c->agent = agent;
  c->entry = entry;
  c->backend_pid = entry->work->identity.backend_pid;
  copy_text(c->session_name, sizeof c->session_name, entry->work->name);
  c->grace = loop_timer_new(agent->loop, on_grace_over, c);
  entry->cancelling = c;
  DL_APPEND(agent->cancellings, c);
  control_borrow(agent->control, &c->turn, cancel_turn, c);
}

void cancellings_drop(struct agent *agent) {
  struct cancelling *c, *next;
  DL_FOREACH_SAFE(agent->cancellings, c, next)
  cancelling_free(c);
}

/* ---- ending a transaction that is open ---------------------------------------------------------
 */

static void on_rolled_back(void *data, const struct session_result *result) {
  struct entry *entry = data;
  struct agent *agent = entry->agent;
  agent_enter(agent, false);
  spans_end_work(entry, NULL);
  give_back(entry, result->reusable);
  step(entry, (struct branch_event){.kind = BRANCH_EV_ROLLED_BACK});
  agent_leave(agent);
}

void execute_rollback(struct entry *entry) {
  spans_begin_work(entry, "ROLLBACK", 0);
  ops(entry)->rollback(entry->work->session, on_rolled_back, entry);
}

static void on_committed(void *data, enum branch_outcome outcome, const struct cause *cause) {
  struct entry *entry = data;
  struct agent *agent = entry->agent;
  agent_enter(agent, false);
  entry_note(entry, outcome == BRANCH_OUTCOME_COMMITTED ? NULL : cause);
  spans_end_work(entry, entry->cause);
  copy_text(entry->lost_name, sizeof entry->lost_name, entry->work->name);
  give_back(entry, outcome != BRANCH_OUTCOME_RETRY);
  char *results = entry->results_kept;
  entry->results_kept = NULL;
  if (outcome == BRANCH_OUTCOME_COMMITTED) entry->results = results;
  step(entry, (struct branch_event){.kind = BRANCH_EV_COMMITTED, .outcome = outcome});
  entry->results = NULL;
  agent_leave(agent); /* gives the answers, which borrow them */
  free(results);
}

void execute_commit(struct entry *entry) {
  pool_resume(entry->work);
  spans_begin_work(entry, "COMMIT", 0);
  ops(entry)->commit(entry->work->session, on_committed, entry);
}

/* ---- questions on the control session ----------------------------------------------------------
 */

static void note_no_connection(struct entry *entry) {
  entry_note_text(entry, CAUSE_UNREACHABLE, "the database cannot be reached");
}

static void on_session_ended(void *data, const struct error *err) {
  struct entry *entry = data;
  struct agent *agent = entry->agent;
  agent_enter(agent, false);
  control_return(agent->control);
  if (err) entry_note_text(entry, CAUSE_UNREACHABLE, err->text);
  step(entry, (struct branch_event){.kind = BRANCH_EV_SESSION_ENDED, .ok = err == NULL});
  agent_leave(agent);
}

static void end_session_turn(void *data, struct session *session) {
  struct entry *entry = data;
  if (session) {
    ops(entry)->end_sessions(session, entry->lost_name, "", on_session_ended, entry);
    return;
  }
  struct agent *agent = entry->agent;
  agent_enter(agent, false);
  note_no_connection(entry);
  step(entry, (struct branch_event){.kind = BRANCH_EV_SESSION_ENDED, .ok = false});
  agent_leave(agent);
}

void execute_end_session(struct entry *entry) {
  log_warn("branch_answer_lost", "participant", "s", entry->agent->participant, "gid", "s",
           entry->gid, "session", "s", entry->lost_name, "error", "s",
           entry->cause ? entry->cause->text : "", "trace_id", "o", trace_id_of(entry->trace),
           NULL);
  control_borrow(entry->agent->control, &entry->turn, end_session_turn, entry);
}

static const char *current_server(const struct agent *agent) {
  const struct session_identity *identity = control_identity(agent->control);
  return identity ? identity->server : "";
}

/* The barrier proves something of the branch's WAL only if it went to the server that ran the
 * statements, and that has not crashed since. A host that died without a word would leave the
 * branch's session looking open while the control session is connected anew: so the control session
 * has to be the one there was before the statements were sent. */
static bool covers_run(const struct entry *entry) {
  uint64_t connection = control_connection(entry->agent->control);
  return connection != 0 && connection == entry->control_connection &&
         strcmp(current_server(entry->agent), entry->server) == 0;
}

/* Ends with the caller's turn: answers that borrow the results are given at its agent_leave(). */
static void flushed(struct entry *entry, bool ok) {
  struct agent *agent = entry->agent;
  char *results = entry->results_kept;
  entry->results_kept = NULL;
  entry->results = ok ? results : NULL;
  step(entry, (struct branch_event){.kind = BRANCH_EV_FLUSHED, .ok = ok});
  entry->results = NULL;
  agent_leave(agent);
  free(results);
}

static void on_barrier(void *data, const struct error *err) {
  struct entry *entry = data;
  struct agent *agent = entry->agent;
  agent_enter(agent, false);
  bool ok = !err && covers_run(entry);
  if (!ok && !entry->cause)
    entry_note_text(entry, CAUSE_UNREACHABLE,
                    err ? err->text : "the database was connected anew while the branch ran");
  control_return(agent->control);
  flushed(entry, ok);
}

static void barrier_turn(void *data, struct session *session) {
  struct entry *entry = data;
  if (session) {
    ops(entry)->barrier(session, on_barrier, entry);
    return;
  }
  agent_enter(entry->agent, false);
  if (!entry->cause) note_no_connection(entry);
  flushed(entry, false);
}

void execute_barrier(struct entry *entry) {
  control_borrow(entry->agent->control, &entry->turn, barrier_turn, entry);
}

static void take_found(struct entry *entry, const char *xid, struct branch_event *event) {
  bool told = entry->told_xid[0] != '\0';
  const char *expected = told ? entry->told_xid : entry->xid;
  event->same_xid = !expected[0] || strcmp(expected, xid) == 0;
  if (!event->same_xid) {
    log_warn("branch_stray_found", "participant", "s", entry->agent->participant, "gid", "s",
             entry->gid, "xid", "s", xid, "voted_xid", "s", expected, "trace_id", "o",
             trace_id_of(entry->trace), NULL);
    if (!told) { /* what was voted stays what is asked for */
      memcpy(entry->told_xid, entry->xid, sizeof entry->told_xid);
      memcpy(entry->told_server, entry->server, sizeof entry->told_server);
    }
  }
  copy_text(entry->xid, sizeof entry->xid, xid);
  copy_text(entry->server, sizeof entry->server, current_server(entry->agent));
}

static void note_absence(struct entry *entry, bool absent) {
  copy_text(entry->absent_on, sizeof entry->absent_on, absent ? entry->looked_on : "");
}

static void note_absent(struct entry *entry) {
  if (entry->lost_name[0]) return; /* the run's own cause says more */
  struct cause cause;
  agent_cause_set(&cause, CAUSE_CLIENT, "no transaction is prepared as '%s' in this database",
                  entry->gid);
  entry_note(entry, &cause);
}

static void on_looked(void *data, enum session_looked looked, const char *xid,
                      const struct cause *cause) {
  struct entry *entry = data;
  struct agent *agent = entry->agent;
  agent_enter(agent, false);
  struct branch_event event = {.kind = BRANCH_EV_LOOKED, .looked = looked, .same_xid = true};
  spans_end_work(entry, looked == LOOKED_LOST || looked == LOOKED_REFUSED ? cause : NULL);
  if (looked == LOOKED_LOST)
    entry_note(entry, cause);
  else if (looked == LOOKED_ABSENT)
    note_absent(entry);
  else
    take_found(entry, xid, &event);
  if (looked == LOOKED_REFUSED) entry_note(entry, cause);
  note_absence(entry, looked == LOOKED_ABSENT);
  control_return(agent->control);
  step(entry, event);
  agent_leave(agent);
}

static void look_up_turn(void *data, struct session *session) {
  struct entry *entry = data;
  if (session) {
    spans_begin_work(entry, "SELECT pg_prepared_xacts", 0);
    copy_text(entry->looked_on, sizeof entry->looked_on, current_server(entry->agent));
    ops(entry)->look_up(session, entry->gid, entry->branch.barrier, on_looked, entry);
    return;
  }
  struct agent *agent = entry->agent;
  agent_enter(agent, false);
  note_no_connection(entry);
  step(entry, (struct branch_event){.kind = BRANCH_EV_LOOKED, .looked = LOOKED_LOST});
  agent_leave(agent);
}

void execute_look_up(struct entry *entry) {
  control_borrow(entry->agent->control, &entry->turn, look_up_turn, entry);
}

/* The xid that a decision is about: as told, else as voted here. */
static void asked_xid(const struct entry *entry, const char **xid, const char **server) {
  bool told = entry->told_xid[0] != '\0';
  *xid = told ? entry->told_xid : entry->xid;
  *server = told ? entry->told_server : entry->server;
}

/* The xid is of another server than the one that answers: is the answer about the branch?
 *
 * A later timeline has the former one's history up to some point. What it shows as aborted, or has not
 * handed out yet, has not committed in that history: nothing of the branch is there. What it shows as
 * committed is the branch; or, where a failover has lost the branch, another transaction that was given
 * its number since. It is another one for certain when the number was free still as we came to that
 * server (what is left prepared there has a lower one: a promotion ends with every number of the
 * history behind it), or when it is still in progress: the branch is not prepared here, so it is not the
 * one. Else only who knows that no failover loses anything can tell the two apart.
 *
 * An abort wants no proof: without a decision nobody has committed the branch, and it is not prepared
 * here. */
static enum xact_status judge_elsewhere(struct entry *entry, enum xact_status status,
                                        const char *xid, const char *server, struct cause *why) {
  const char *is = current_server(entry->agent);
  bool follows = server_relation(server, is) == SERVER_SUCCESSOR;
  bool abort = entry->branch.decided && entry->branch.decision == DECIDE_ABORT;
  uint64_t first = entry->agent->first_xid;
  bool is_new = first > 0 && strtoull(xid, NULL, 10) >= first;
  if (status == XACT_STATUS_LOST) return status;
  if (follows && (is_new || status == XACT_STATUS_IN_PROGRESS)) status = XACT_STATUS_ABORTED;
  if (follows && status == XACT_STATUS_COMMITTED && entry->agent->synchronous_failover)
    return status;
  if (follows && status == XACT_STATUS_ABORTED) {
    agent_cause_set(why, CAUSE_RECOVERY,
                    "the failover from server %s to %s has lost transaction %s, or it had been "
                    "rolled back",
                    server, is, xid);
    return status;
  }
  if (abort) return XACT_STATUS_ABORTED;
  if (follows)
    agent_cause_set(why, CAUSE_RECOVERY,
                    "transaction %s of server %s is not prepared on %s, which took its place: it "
                    "has committed, or the failover has lost it and the number is another's now",
                    xid, server, is);
  else
    agent_cause_set(why, CAUSE_RECOVERY, "transaction %s was on server %s; this is %s", xid, server,
                    is);
  return XACT_STATUS_FORGOTTEN;
}

/* What stands in the way of knowing, for whoever asks. */
static void note_status(struct entry *entry, enum xact_status status, const struct cause *cause) {
  if (status == XACT_STATUS_LOST || status == XACT_STATUS_FORGOTTEN)
    entry_note(entry, cause);
  else if (status == XACT_STATUS_IN_PROGRESS)
    entry_note_text(entry, CAUSE_CONFLICT, "the transaction is still in progress");
}

/* What the status says is judged together with the branch's not being prepared: both of one server. It
 * may be another by now, on which the branch is prepared. */
static bool is_absent_here(struct entry *entry) {
  bool here =
      entry->absent_on[0] == '\0' || strcmp(entry->absent_on, current_server(entry->agent)) == 0;
  entry->absent_on[0] = '\0';
  return here;
}

static void on_status(void *data, enum xact_status status, const struct cause *cause) {
  struct entry *entry = data;
  struct agent *agent = entry->agent;
  agent_enter(agent, false);
  const char *xid, *server;
  spans_end_work(entry, status == XACT_STATUS_LOST ? cause : NULL);
  asked_xid(entry, &xid, &server);
  bool moved = !is_absent_here(entry);
  if (moved) status = XACT_STATUS_LOST; /* it is looked for again, here */
  bool elsewhere = server[0] && strcmp(server, current_server(agent)) != 0;
  struct cause why = {.kind = CAUSE_NONE};
  if (elsewhere)
    status = judge_elsewhere(entry, status, xid, server, &why);
  else if (!server[0] && strcmp(cause->sqlstate, "22023") == 0)
    status = XACT_STATUS_FORGOTTEN; /* never handed out here; but was it here? */
  note_status(entry, status, cause);
  if (moved)
    entry_note_text(entry, CAUSE_UNREACHABLE, "the database server was replaced by another");
  if (why.kind != CAUSE_NONE) entry_note(entry, &why);
  bool verified = status == XACT_STATUS_COMMITTED || status == XACT_STATUS_ABORTED;
  if (verified && xid != entry->xid) { /* this is what the branch is */
    memcpy(entry->xid, entry->told_xid, sizeof entry->xid);
    memcpy(entry->server, entry->told_server, sizeof entry->server);
  }
  control_return(agent->control);
  step(entry, (struct branch_event){.kind = BRANCH_EV_STATUS, .status = status});
  agent_leave(agent);
}

static void status_turn(void *data, struct session *session) {
  struct entry *entry = data;
  const char *xid, *server;
  asked_xid(entry, &xid, &server);
  if (session) {
    spans_begin_work(entry, "SELECT pg_xact_status", 0);
    ops(entry)->xact_status(session, xid, on_status, entry);
    return;
  }
  struct agent *agent = entry->agent;
  agent_enter(agent, false);
  note_no_connection(entry);
  step(entry, (struct branch_event){.kind = BRANCH_EV_STATUS, .status = XACT_STATUS_LOST});
  agent_leave(agent);
}

void execute_ask_status(struct entry *entry) {
  control_borrow(entry->agent->control, &entry->turn, status_turn, entry);
}

/* ---- phase two ---------------------------------------------------------------------------------
 */

static void on_finished(void *data, enum session_finished finished, const struct cause *cause) {
  struct entry *entry = data;
  struct agent *agent = entry->agent;
  agent_enter(agent, false);
  entry_note(entry, finished == FINISH_DONE ? NULL : cause);
  note_absence(entry, finished == FINISH_NOT_FOUND);
  spans_end_work(entry, entry->cause);
  const char *name = entry->finish.session_name;
  bool sent = name[0] != '\0';
  if (finished == FINISH_LOST && sent) copy_text(entry->lost_name, sizeof entry->lost_name, name);
  step(entry,
       (struct branch_event){.kind = BRANCH_EV_FINISHED, .finished = finished, .sent = sent});
  agent_leave(agent);
}

void execute_finish(struct entry *entry, bool commit) {
  spans_begin_work(entry, commit ? "COMMIT PREPARED" : "ROLLBACK PREPARED", 0);
  copy_text(entry->looked_on, sizeof entry->looked_on, current_server(entry->agent));
  finisher_submit(entry->agent->finisher, &entry->finish, entry->gid, commit, on_finished, entry);
}

/* ---- time --------------------------------------------------------------------------------------
 */

static void on_timer(void *data) {
  struct entry *entry = data;
  struct agent *agent = entry->agent;
  agent_enter(agent, false);
  entry_note_text(entry, CAUSE_TIMEOUT,
                  entry->ticket.queued ? "no connection to the database was free in time"
                                       : "the transaction's time is over");
  if (pool_withdraw(agent->pool, &entry->ticket))
    run_failed(entry);
  else
    step(entry, (struct branch_event){.kind = BRANCH_EV_EXPIRED});
  agent_leave(agent);
}

void execute_watch(struct entry *entry) {
  enum branch_state state = entry->branch.state;
  bool open = state == BRANCH_ACTIVE || state == BRANCH_READY;
  if (!open && !entry->ticket.queued) {
    loop_timer_free(entry->timer);
    entry->timer = NULL;
    return;
  }
  struct loop *loop = entry->agent->loop;
  uint64_t now = loop_now_ms(loop);
  uint64_t at = entry->deadline_ms + (open ? DEADLINE_GRACE_MS : 0);
  if (!entry->timer) entry->timer = loop_timer_new(loop, on_timer, entry);
  loop_timer_start(entry->timer, at > now ? at - now : 0);
}
