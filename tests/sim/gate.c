/* See gate.h. Invariant: while a life lives, every call goes on to the inner adapter; from its death
 * on only `close` and `free` do, and a session's opening and loss are not told any more, as the kernel closes a dead process's sockets. What a call that was
 * begun before still sends, the severed database does not get. */
#include "tests/sim/gate.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/checks.h"

struct gate {
  struct adapter base;
  struct adapter *inner;
  struct process *process;
  unsigned database;
};

struct gated {
  struct gate *gate;
  struct session *inner;
  char gid[GID_SIZE], xid[XID_SIZE]; /* of the branch at work */
  union {
    session_ran_fn ran;
    session_claimed_fn claimed;
  } fn;
  void *data;
  session_opened_fn opened;
  session_lost_fn lost;
  void *owner; /* whom they tell */
  struct epoch_claim claim;
};

/* The adapter's users know a session by this name only. */
static struct gated *of(const struct session *session) {
  return (struct gated *)(uintptr_t)session;
}

static const struct adapter_ops *inner_ops(const struct gated *s) {
  return s->gate->inner->ops;
}

static bool is_shut(const struct gated *s) {
  return s->gate->process->dead || !s->inner;
}

/* ---- sessions --------------------------------------------------------------------------------- */

static void on_opened(void *data, const struct session_identity *identity,
                      const struct error *err) {
  struct gated *s = data;
  if (!is_shut(s)) s->opened(s->owner, identity, err);
}

/* One that had work, which the gate has kept from it, looks idle to the adapter. */
static void on_lost(void *data, const struct error *err) {
  struct gated *s = data;
  if (!is_shut(s)) s->lost(s->owner, err);
}

static struct session *gate_open(struct adapter *adapter, enum session_use use,
                                 const char *application_name, int64_t call_timeout_ms,
                                 session_opened_fn opened, session_lost_fn lost, void *data) {
  struct gate *gate = (struct gate *)adapter;
  struct gated *s = calloc(1, sizeof *s);
  if (!s) abort();
  s->gate = gate;
  s->opened = opened;
  s->lost = lost;
  s->owner = data;
  if (!gate->process->dead)
    s->inner = gate->inner->ops->open(gate->inner, use, application_name, call_timeout_ms,
                                      on_opened, on_lost, s);
  return (struct session *)(void *)s;
}

static void gate_close(struct session *session) {
  if (!session) return;
  struct gated *s = of(session);
  if (s->inner) inner_ops(s)->close(s->inner);
  free(s);
}

static bool gate_is_idle(const struct session *session) {
  const struct gated *s = of(session);
  return s->inner && inner_ops(s)->is_idle(s->inner);
}

/* ---- a branch's work -------------------------------------------------------------------------- */

static void on_ran(void *data, const struct session_result *result) {
  struct gated *s = data;
  (void)snprintf(s->xid, sizeof s->xid, "%s", result->xid);
  s->fn.ran(s->data, result);
}

static void gate_run(struct session *session, const struct session_job *job, session_ran_fn fn,
                     void *data) {
  struct gated *s = of(session);
  if (is_shut(s)) return;
  if (job->begin) s->xid[0] = '\0';
  (void)snprintf(s->gid, sizeof s->gid, "%s", job->gid);
  if (job->begin) checks_begin(s->gate->process, s->gate->database, job->gid);
  s->fn.ran = fn;
  s->data = data;
  inner_ops(s)->run(s->inner, job, on_ran, s);
}

static void gate_rollback(struct session *session, session_ran_fn fn, void *data) {
  struct gated *s = of(session);
  if (!is_shut(s)) inner_ops(s)->rollback(s->inner, fn, data);
}

static void gate_commit(struct session *session, session_committed_fn fn, void *data) {
  struct gated *s = of(session);
  if (is_shut(s)) return;
  if (s->xid[0]) checks_commit_sent(s->gate->process, s->gate->database, s->gid, s->xid);
  inner_ops(s)->commit(s->inner, fn, data);
}

/* ---- phase two -------------------------------------------------------------------------------- */

static void gate_finish(struct session *session, const char *gid, bool commit,
                        session_finished_fn fn, void *data) {
  struct gated *s = of(session);
  if (is_shut(s)) return;
  if (commit) checks_commit_sent(s->gate->process, s->gate->database, gid, NULL);
  inner_ops(s)->finish(s->inner, gid, commit, fn, data);
}

static void gate_look_up(struct session *session, const char *gid, bool barrier,
                         session_looked_fn fn, void *data) {
  struct gated *s = of(session);
  if (!is_shut(s)) inner_ops(s)->look_up(s->inner, gid, barrier, fn, data);
}

static void gate_xact_status(struct session *session, const char *xid, xact_status_fn fn,
                             void *data) {
  struct gated *s = of(session);
  if (!is_shut(s)) inner_ops(s)->xact_status(s->inner, xid, fn, data);
}

static void gate_barrier(struct session *session, session_done_fn fn, void *data) {
  struct gated *s = of(session);
  if (!is_shut(s)) inner_ops(s)->barrier(s->inner, fn, data);
}

static void gate_list(struct session *session, const struct cluster_id *cluster,
                      session_listed_fn fn, void *data) {
  struct gated *s = of(session);
  if (!is_shut(s)) inner_ops(s)->list(s->inner, cluster, fn, data);
}

/* ---- the rest --------------------------------------------------------------------------------- */

static void gate_end_sessions(struct session *session, const char *prefix, const char *except,
                              session_done_fn fn, void *data) {
  struct gated *s = of(session);
  if (!is_shut(s)) inner_ops(s)->end_sessions(s->inner, prefix, except, fn, data);
}

static void gate_cancel(struct session *session, int backend_pid, session_done_fn fn, void *data) {
  struct gated *s = of(session);
  if (!is_shut(s)) inner_ops(s)->cancel(s->inner, backend_pid, fn, data);
}

static void gate_blockers(struct session *session, int backend_pid, session_blockers_fn fn,
                          void *data) {
  struct gated *s = of(session);
  if (!is_shut(s)) inner_ops(s)->blockers(s->inner, backend_pid, fn, data);
}

static void on_claimed(void *data, enum session_claimed claimed, const struct epoch_known *known,
                       const struct cause *cause) {
  struct gated *s = data;
  if (claimed == CLAIM_GRANTED) checks_claimed(s->gate->process, s->gate->database, &s->claim);
  s->fn.claimed(s->data, claimed, known, cause);
}

static void gate_claim_epoch(struct session *session, const struct epoch_claim *claim,
                             session_claimed_fn fn, void *data) {
  struct gated *s = of(session);
  if (is_shut(s)) return;
  s->fn.claimed = fn;
  s->data = data;
  s->claim = *claim;
  inner_ops(s)->claim_epoch(s->inner, claim, on_claimed, s);
}

static void gate_probe(struct session *session, const char *own, session_probed_fn fn, void *data) {
  struct gated *s = of(session);
  if (!is_shut(s)) inner_ops(s)->probe(s->inner, own, fn, data);
}

static void gate_survey(struct session *session, const struct survey_request *request,
                        session_surveyed_fn fn, void *data) {
  struct gated *s = of(session);
  if (!is_shut(s)) inner_ops(s)->survey(s->inner, request, fn, data);
}

static void gate_forget_rows(struct session *session, const char *before_txid, session_done_fn fn,
                             void *data) {
  struct gated *s = of(session);
  if (!is_shut(s)) inner_ops(s)->forget_rows(s->inner, before_txid, fn, data);
}

static void gate_leave_rows(struct adapter *adapter) {
  struct adapter *inner = ((struct gate *)adapter)->inner;
  inner->ops->leave_rows(inner);
}

static void gate_free(struct adapter *adapter) {
  struct gate *gate = (struct gate *)adapter;
  gate->inner->ops->free(gate->inner);
  free(gate);
}

static const struct adapter_ops gate_ops = {.free = gate_free,
                                            .leave_rows = gate_leave_rows,
                                            .open = gate_open,
                                            .close = gate_close,
                                            .run = gate_run,
                                            .rollback = gate_rollback,
                                            .commit = gate_commit,
                                            .is_idle = gate_is_idle,
                                            .finish = gate_finish,
                                            .look_up = gate_look_up,
                                            .xact_status = gate_xact_status,
                                            .barrier = gate_barrier,
                                            .list = gate_list,
                                            .end_sessions = gate_end_sessions,
                                            .cancel = gate_cancel,
                                            .blockers = gate_blockers,
                                            .claim_epoch = gate_claim_epoch,
                                            .probe = gate_probe,
                                            .survey = gate_survey,
                                            .forget_rows = gate_forget_rows};

struct adapter *gate_new(struct process *process, struct adapter *inner, unsigned database) {
  struct gate *gate = calloc(1, sizeof *gate);
  if (!gate) abort();
  *gate =
      (struct gate){.base = {&gate_ops}, .inner = inner, .process = process, .database = database};
  return &gate->base;
}
