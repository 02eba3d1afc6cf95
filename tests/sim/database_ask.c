/* What a control session asks: who is the server, what is prepared, how did an xid end, who else is
 * connected; the barrier. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "tests/sim/database_internal.h"
#include "tests/sim/sim_run.h"

static struct item *done_with(struct backend *b, PGresult *result) {
  struct item *item = backend_answer(b, result);
  backend_done(b);
  return item;
}

static void done_number(struct backend *b, int64_t number) {
  PGresult *result = result_table(1, 1);
  result_set(result, 0, 0, "%" PRId64, number);
  (void)done_with(b, result);
}

static void identity(struct backend *b) {
  const struct sim_database *db = b->db;
  PGresult *result = result_table(1, 6);
  result_set(result, 0, 0, "%s", b->on_standby ? "t" : "f");
  result_set(result, 0, 1, "%" PRIu64 "/%u/%d", db->system, db->timeline, 16384);
  result_set(result, 0, 2, "%d", b->pid);
  result_set(result, 0, 3, "%" PRId64, db->options.prepared_max);
  result_set(result, 0, 4, "assent");
  result_set(result, 0, 5, "%" PRIu64, db->completed + 1);
  (void)done_with(b, result);
}

/* In the order of their names. */
static void reset_values(struct backend *b) {
  const struct model_timeouts *timeouts = &b->timeouts_at_reset;
  PGresult *result = result_table(3, 1);
  result_set(result, 0, 0, "%" PRId64, timeouts->idle_ms);
  result_set(result, 1, 0, "%" PRId64, timeouts->lock_ms);
  result_set(result, 2, 0, "%" PRId64, timeouts->statement_ms);
  (void)done_with(b, result);
}

/* ---- prepared transactions ------------------------------------------------------------------------ */

static void look_up(struct backend *b) {
  struct sim_database *db = b->db;
  const struct prepared *p = prepared_find(db, b->current->params[0]);
  bool found = p && p->valid, ours = database_has_rights(db);
  PGresult *result = result_table(found ? 1 : 0, 5);
  if (found) {
    result_set(result, 0, 0, "%" PRIu64, p->xid);
    result_set(result, 0, 1, "%s", "assent");
    result_set(result, 0, 2, "%s", ours ? "t" : "f");
    result_set(result, 0, 3, "%s", ours ? "assent" : "another");
    result_set(result, 0, 4, "%s", row_is_left(db, p->xid) ? "t" : "f");
  }
  struct item *item = done_with(b, result);
  if (!found || !ours) return;
  item->told = p->gid;
  item->told_what = SIM_PREPARED;
}

static bool is_listed(const struct backend *b, const struct prepared *p) {
  const char *prefix = b->current->params[0];
  return p->valid && strncmp(p->gid->gid, prefix, strlen(prefix)) == 0;
}

static void list(struct backend *b) {
  const struct prepared *p;
  int count = 0, row = 0;
  DL_FOREACH(b->db->prepared, p) count += is_listed(b, p);
  PGresult *result = result_table(count, 3);
  DL_FOREACH(b->db->prepared, p) {
    if (!is_listed(b, p)) continue;
    result_set(result, row, 0, "%s", p->gid->gid);
    result_set(result, row, 1, "%" PRIu64, p->xid);
    result_set(result, row++, 2, "%" PRIu64, p->at_us);
  }
  (void)done_with(b, result);
}

static void probe(struct backend *b) {
  const struct prepared *p;
  int64_t count = 0, others = 0, oldest_ms = -1;
  uint64_t now_us = sim_now_us(b->db->sim);
  DL_FOREACH(b->db->prepared, p) {
    if (!p->valid) continue;
    int64_t age_ms = (int64_t)((now_us - p->at_us) / 1000);
    if (age_ms > oldest_ms) oldest_ms = age_ms;
    count++;
    others += !is_listed(b, p);
  }
  PGresult *result = result_table(1, 6);
  result_set(result, 0, 0, "%" PRId64, count);
  result_set(result, 0, 1, "%" PRId64, oldest_ms);
  for (int column = 2; column < 5; column++) /* age of xmin, standbys, synchronous */
    result_set(result, 0, column, "0");
  result_set(result, 0, 5, "%" PRId64, others);
  (void)done_with(b, result);
}

/* ---- pg_xact_status ---------------------------------------------------------------------------------- */

/* In the table of running transactions: until the end of a COMMIT's wait for its replica. */
static bool is_running(const struct sim_database *db, uint64_t xid) {
  const struct backend *b;
  const struct prepared *p;
  DL_SEARCH_SCALAR(db->backends, b, xid, xid);
  DL_SEARCH_SCALAR(db->prepared, p, xid, xid);
  return b || p;
}

/* Most that are asked for have committed: rather one that has not is forgotten. */
enum { FORGOTTEN_ABORT_WEIGHT = 4 };

/* The horizon moves up to this xid, as far as running transactions allow. */
static void forget(struct sim_database *db, uint64_t xid) {
  uint64_t horizon = db->forgotten;
  while (horizon <= xid && !is_running(db, horizon))
    horizon++;
  db->forgotten = horizon;
}

static void status(struct backend *b) {
  struct sim_database *db = b->db;
  uint64_t xid = strtoull(b->current->params[0], NULL, 10);
  if (xid >= db->next_xid) {
    backend_answer_error(b, "22023", "transaction ID is in the future");
    backend_done(b);
    return;
  }
  const struct xact *xact = xid >= XID_FIRST ? xact_of(db, xid) : NULL;
  bool is_aborted = xact && xact->state == XACT_ABORTED;
  if (sim_fault_often(db->sim, SIM_STATUS_FORGOTTEN, is_aborted ? FORGOTTEN_ABORT_WEIGHT : 1,
                      db->name))
    forget(db, xid);
  PGresult *result = result_table(1, 1);
  bool committed = false;
  if (xact && xid >= db->forgotten) {
    bool running = is_running(db, xid);
    committed = !running && xact->state == XACT_COMMITTED;
    result_set(result, 0, 0, "%s", running ? "in progress" : committed ? "committed" : "aborted");
  }
  struct item *item = done_with(b, result);
  if (!committed) return;
  item->told = xact->gid;
  item->told_what = SIM_COMMITTED;
}

/* ---- the barrier --------------------------------------------------------------------------------- */

static void barrier(struct backend *b) {
  if (b->xid == 0) b->xid = xid_assign(b->db, NULL);
  (void)wal_append(b->db, RECORD_MESSAGE, b->xid);
  done_number(b, 0);
}

/* ---- other sessions --------------------------------------------------------------------------------- */

static bool is_other(const struct backend *b, const struct backend *other) {
  const char *prefix = b->current->params[0];
  return other != b && strncmp(other->application, prefix, strlen(prefix)) == 0 &&
         strcmp(other->application, b->current->params[1]) != 0;
}

static int64_t count_others(const struct backend *b) {
  const struct backend *other;
  int64_t count = 0;
  DL_FOREACH(b->db->backends, other) count += is_other(b, other);
  return count;
}

static int64_t terminate_others(struct backend *b) {
  int64_t count = 0;
  struct backend *other = b->db->backends;
  while (other) {
    if (is_other(b, other) && !other->terminating) {
      count++;
      backend_terminate(other);
      other = b->db->backends; /* whoever else that has ended */
    } else {
      other = other->next;
    }
  }
  return count;
}

static void tell_others(struct backend *b) {
  done_number(b, count_others(b));
}

static void terminate_and_wait(struct backend *b) {
  (void)terminate_others(b);
  int64_t others = count_others(b);
  if (others == 0) {
    done_number(b, 0);
    return;
  }
  uint64_t wait_us = strtoull(b->current->params[2], NULL, 10) * 1000 * (uint64_t)others;
  backend_wait_for(b, WAIT_TERMINATION, wait_us, tell_others);
}

void ask_backend_gone(struct sim_database *db) {
  struct backend *b;
  DL_FOREACH(db->backends, b)
  if (b->wait == WAIT_TERMINATION && count_others(b) == 0)
    backend_wait_for(b, WAIT_TERMINATION, 1, tell_others);
}

static void cancel(struct backend *b) {
  struct backend *other = backend_find(b->db, atoi(b->current->params[0]));
  if (other && other != b) backend_cancel(other);
  done_number(b, other != NULL);
}

/* Who holds the lock: those in the queue before are left out. */
static void blockers(struct backend *b) {
  struct sim_database *db = b->db;
  const struct backend *waiting = backend_find(db, atoi(b->current->params[0])), *other = NULL;
  const struct prepared *p = NULL;
  if (waiting && waiting->wait == WAIT_LOCK && !waiting->lock_granted) {
    uint64_t holder = db->locks[waiting->lock].holder;
    DL_SEARCH_SCALAR(db->backends, other, xid, holder);
    if (!other) DL_SEARCH_SCALAR(db->prepared, p, xid, holder);
  }
  PGresult *result = result_table(other || p ? 1 : 0, 5);
  if (other || p) {
    result_set(result, 0, 0, "%d", other ? other->pid : 0);
    result_set(result, 0, 1, "%s", other ? other->application : "");
    result_set(result, 0, 2, "%s", other ? "active" : "");
    result_set(result, 0, 3, "%" PRIu64, p ? p->at_us : 0);
    result_set(result, 0, 4, "%s", p ? p->gid->gid : "");
  }
  (void)done_with(b, result);
}

/* ---- all ------------------------------------------------------------------------------------------------ */

static void set_synchronous(struct backend *b) {
  (void)done_with(b, result_table(0, 1));
}

static void terminate(struct backend *b) {
  done_number(b, terminate_others(b));
}

static const backend_fn commands[COMMAND_COUNT] = {
    [COMMAND_SET_SYNCHRONOUS] = set_synchronous,
    [COMMAND_BARRIER] = barrier,
    [COMMAND_IDENTITY] = identity,
    [COMMAND_RESET_VALUES] = reset_values,
    [COMMAND_LOOK_UP] = look_up,
    [COMMAND_STATUS] = status,
    [COMMAND_LIST] = list,
    [COMMAND_CANCEL] = cancel,
    [COMMAND_BLOCKERS] = blockers,
    [COMMAND_TERMINATE] = terminate,
    [COMMAND_TERMINATE_WAIT] = terminate_and_wait,
    [COMMAND_COUNT_OTHERS] = tell_others,
    [COMMAND_PROBE] = probe,
};

backend_fn ask_command(enum command_kind kind) {
  return commands[kind] ? commands[kind] : schema_command(kind);
}
