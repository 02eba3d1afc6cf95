/* The questions of phase two: what is prepared, how did an xid end, who else is connected.
 *
 * Each is an operation on an idle control session, mostly one query and its answer. A refusal by
 * the server goes to `ask.cause`; what it means is for the question to say. Limits:
 * END_ATTEMPTS_MAX looks at sessions that would not end.
 */
#include "adapters/postgres.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/crash_point.h"

enum { END_ATTEMPTS_MAX = 5 };

static void ask_begin(struct session *s, const struct session_op *op, void *data) {
  assert(s->state == SESSION_IDLE || s->state == SESSION_BROKEN);
  s->ask = (struct ask){.data = data};
  s->ask.cause.statement = -1;
  wire_begin(s, op, s->call_timeout_ms);
}

static void ask_query(struct session *s, const char *sql, size_t param_count,
                      const char *const *params) {
  wire_query(s, STEP_QUERY, 0, sql, param_count, params);
  wire_sync(s);
  wire_flush(s);
}

/* True when the result has rows to look at. */
static bool has_rows(struct session *s, PGresult *result) {
  if (result_is_error(result)) {
    s->ask.refused = true;
    cause_from_result(&s->ask.cause, -1, result);
  }
  return PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) > 0;
}

static void copy_value(char *out, size_t size, PGresult *result, int row, int column) {
  (void)snprintf(out, size, "%s", PQgetvalue(result, row, column));
}

static int64_t integer_value(PGresult *result, int row, int column) {
  return strtoll(PQgetvalue(result, row, column), NULL, 10);
}

/* ---- the barrier ----------------------------------------------------------------------------- */

/* Something is committed after what is to be durable, and waits for the disk and the replicas in
 * the same way: replicas confirm positions in the WAL, and this one is later. A commit waits only
 * when it has both an xid and WAL of its own: a transactional message gives it both, at any
 * wal_level, and touches no table. */
static void send_barrier(struct session *s) {
  s->ask.barrier = false;
  wire_query(s, STEP_SETTING, 0, "BEGIN READ WRITE", 0, NULL);
  wire_query(s, STEP_SETTING, 0, SQL_SYNCHRONOUS_COMMIT, 0, NULL);
  wire_query(s, STEP_SETTING, 0,
             "SELECT pg_catalog.pg_logical_emit_message(true, 'assent', 'barrier')", 0, NULL);
  wire_query(s, STEP_COMMIT, 0, "COMMIT", 0, NULL);
  wire_sync(s);
  wire_flush(s);
}

/* Any result of an operation that may send a barrier; true when it is of its question, and has
 * rows. */
static bool is_answer(struct session *s, struct step step, PGresult *result) {
  struct ask *ask = &s->ask;
  bool rows = has_rows(s, result);
  if (step.kind == STEP_COMMIT && s->warned && !ask->refused) {
    cause_set(&ask->cause, CAUSE_UNREACHABLE, -1,
              "the barrier came with a warning: a replica may lack it");
    ask->refused = true;
  }
  return rows && step.kind == STEP_QUERY;
}

/* A barrier that failed half way leaves a transaction: rare enough to connect anew. */
static void end_after_barrier(struct session *s) {
  if (PQtransactionStatus(s->connection) == PQTRANS_IDLE)
    wire_end(s, SESSION_IDLE);
  else
    wire_break(s);
}

/* ---- is this gid prepared? ------------------------------------------------------------------- */

static void look_up_answer(struct session *s, enum session_looked looked) {
  struct ask ask = s->ask;
  bool there = looked == LOOKED_PREPARED || looked == LOOKED_REFUSED;
  ask.fn.looked(ask.data, looked, there ? ask.xid : "", &ask.cause);
}

/* Only the role that prepared it, or a superuser, may end it. */
static void take_owner(struct session *s, PGresult *result) {
  struct ask *ask = &s->ask;
  if (PQgetvalue(result, 0, 2)[0] == 't') return;
  ask->foreign = true;
  cause_set(
      &ask->cause, CAUSE_CLIENT, -1,
      "it was prepared by role \"%s\" and may be ended by this role only: the agent's role is "
      "\"%s\"; prepare as that one",
      PQgetvalue(result, 0, 1), PQgetvalue(result, 0, 3));
}

/* Where branches leave rows this one would be missed: it must have written one, too. */
static void take_row(struct session *s, PGresult *result) {
  struct ask *ask = &s->ask;
  if (!s->leaves_rows || !ask->barrier || ask->foreign || PQgetvalue(result, 0, 4)[0] == 't')
    return;
  ask->foreign = true;
  cause_set(&ask->cause, CAUSE_CLIENT, -1,
            "it leaves no row in assent.outcome, which outcome_table asks of every branch: before "
            "PREPARE TRANSACTION, insert the transaction's id and the number of the branch there");
}

static void look_up_result(struct session *s, struct step step, PGresult *result) {
  struct ask *ask = &s->ask;
  if (!is_answer(s, step, result)) return;
  ask->found = true;
  copy_value(ask->xid, sizeof ask->xid, result, 0, 0);
  take_owner(s, result);
  take_row(s, result);
}

/* With a barrier, as a gid is listed as soon as its PREPARE is on the server's own disk, while the
 * session that prepared still waits for replicas. */
static void look_up_drained(struct session *s) {
  struct ask *ask = &s->ask;
  if (ask->found && ask->barrier && !ask->refused && !ask->foreign) {
    send_barrier(s);
    return;
  }
  end_after_barrier(s);
  if (ask->refused)
    look_up_answer(s, LOOKED_LOST);
  else if (ask->foreign)
    look_up_answer(s, LOOKED_REFUSED);
  else
    look_up_answer(s, ask->found ? LOOKED_PREPARED : LOOKED_ABSENT);
}

static void look_up_lost(struct session *s, const struct error *err) {
  cause_from_error(&s->ask.cause, err);
  look_up_answer(s, LOOKED_LOST);
}

static const struct session_op look_up_op = {.result = look_up_result,
                                             .drained = look_up_drained,
                                             .lost = look_up_lost};

/* A prepared transaction keeps its locks, that on its own xid among them: by it the others are found. */
#define SQL_WRITES_ROW                                                                             \
  "EXISTS (SELECT FROM pg_catalog.pg_locks AS own, pg_catalog.pg_locks AS wrote "                  \
  "WHERE own.locktype = 'transactionid' AND own.pid IS NULL AND own.granted AND "                  \
  "own.transactionid::pg_catalog.text::pg_catalog.int8 = prepared.xid % 4294967296 AND "           \
  "wrote.virtualtransaction = own.virtualtransaction AND wrote.pid IS NULL AND "                   \
  "wrote.mode = 'RowExclusiveLock' AND "                                                           \
  "wrote.relation = pg_catalog.to_regclass('assent.outcome')::pg_catalog.oid)"

void session_look_up(struct session *s, const char *gid, bool barrier, session_looked_fn fn,
                     void *data) {
  ask_begin(s, &look_up_op, data);
  s->ask.fn.looked = fn;
  s->ask.barrier = barrier;
  ask_query(s,
            FULL_XID "SELECT xid, owner, owner IS NOT DISTINCT FROM current_user OR "
                     "(SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user), "
                     "current_user, " SQL_WRITES_ROW " FROM prepared WHERE gid = $1",
            1, &gid);
}

/* ---- how did an xid end? --------------------------------------------------------------------- */

static enum xact_status status_of(const char *text) {
  if (strcmp(text, "committed") == 0) return XACT_STATUS_COMMITTED;
  if (strcmp(text, "aborted") == 0) return XACT_STATUS_ABORTED;
  if (strcmp(text, "in progress") == 0) return XACT_STATUS_IN_PROGRESS;
  return XACT_STATUS_LOST;
}

/* A transaction that this server has not begun yet cannot have been one: nothing of it survived. */
static void status_result(struct session *s, struct step step, PGresult *result) {
  struct ask *ask = &s->ask;
  if (is_answer(s, step, result)) {
    ask->status =
        PQgetisnull(result, 0, 0) ? XACT_STATUS_FORGOTTEN : status_of(PQgetvalue(result, 0, 0));
    ask->barrier = ask->status == XACT_STATUS_COMMITTED;
  } else if (step.kind == STEP_QUERY && strcmp(ask->cause.sqlstate, "22023") == 0) {
    ask->status = XACT_STATUS_ABORTED; /* "... is in the future" */
  }
}

/* A COMMIT whose wait for a replica was cut, by a timeout or a backend that ended, shows as
 * committed. Telling so promises that it stays, so what the COMMIT should have waited for is waited
 * for now. Questions about an xid are rare: all of them pay. */
static void status_drained(struct session *s) {
  if (s->ask.barrier) {
    send_barrier(s);
    return;
  }
  struct ask ask = s->ask;
  if (ask.refused && ask.status == XACT_STATUS_COMMITTED) ask.status = XACT_STATUS_LOST;
  end_after_barrier(s);
  ask.fn.status(ask.data, ask.status, &ask.cause);
}

static void status_lost(struct session *s, const struct error *err) {
  struct ask ask = s->ask;
  if (ask.status == XACT_STATUS_COMMITTED) ask.status = XACT_STATUS_LOST; /* no barrier yet */
  cause_from_error(&ask.cause, err);
  ask.fn.status(ask.data, ask.status, &ask.cause);
}

static const struct session_op status_op = {.result = status_result,
                                            .drained = status_drained,
                                            .lost = status_lost};

void session_xact_status(struct session *s, const char *xid, xact_status_fn fn, void *data) {
  ask_begin(s, &status_op, data);
  s->ask.fn.status = fn;
  ask_query(s, "SELECT pg_catalog.pg_xact_status($1::pg_catalog.xid8)", 1, &xid);
}

/* ---- which gids of a cluster are prepared? --------------------------------------------------- */

struct prepared_branch *branches_from_result(PGresult *result, const struct cluster_id *cluster,
                                             size_t *count) {
  int rows = PQntuples(result);
  struct prepared_branch *branches = calloc((size_t)rows + 1, sizeof *branches);
  *count = 0;
  for (int row = 0; branches && row < rows; row++) {
    struct prepared_branch *branch = &branches[*count];
    struct gid gid;
    if (row == rows / 2) CRASH_POINT("A7");
    if (!gid_parse(PQgetvalue(result, row, 0), &gid) ||
        (cluster->text[0] && strcmp(gid.cluster.text, cluster->text) != 0))
      continue; /* somebody else's that begins like ours */
    copy_value(branch->gid, sizeof branch->gid, result, row, 0);
    copy_value(branch->xid, sizeof branch->xid, result, row, 1);
    branch->prepared_at_us = integer_value(result, row, 2);
    (*count)++;
  }
  return branches;
}

static void list_result(struct session *s, struct step step, PGresult *result) {
  struct ask *ask = &s->ask;
  (void)step;
  if (!has_rows(s, result)) return;
  ask->branches = branches_from_result(result, &ask->cluster, &ask->branch_count);
  if (ask->branches) return;
  cause_set(&ask->cause, CAUSE_LIMIT, -1, "no memory for a listing of %d", PQntuples(result));
  ask->refused = true;
}

static void list_answer(struct session *s) {
  struct ask ask = s->ask;
  struct error err = {0};
  s->ask.branches = NULL;
  if (ask.refused) error_from_cause(&err, ERR_UNAVAILABLE, &ask.cause);
  ask.fn.listed(ask.data, ask.branches, ask.refused ? 0 : ask.branch_count,
                ask.refused ? &err : NULL);
  free(ask.branches);
}

static void list_drained(struct session *s) {
  wire_end(s, SESSION_IDLE);
  list_answer(s);
}

static void list_lost(struct session *s, const struct error *err) {
  s->ask.refused = true;
  cause_from_error(&s->ask.cause, err);
  list_answer(s);
}

static const struct session_op list_op = {.result = list_result,
                                          .drained = list_drained,
                                          .lost = list_lost};

void session_list(struct session *s, const struct cluster_id *cluster, session_listed_fn fn,
                  void *data) {
  char prefix[GID_SIZE];
  const char *const params[] = {prefix};
  ask_begin(s, &list_op, data);
  s->ask.fn.listed = fn;
  s->ask.cluster = *cluster;
  (void)snprintf(prefix, sizeof prefix, "assent_%s_", cluster->text);
  ask_query(s, SQL_LIST_PREPARED, 1, params);
}

/* ---- calls that are done or not -------------------------------------------------------------- */

static void done_answer(struct session *s) {
  struct ask ask = s->ask;
  struct error err = {0};
  if (ask.refused) error_from_cause(&err, ERR_UNAVAILABLE, &ask.cause);
  ask.fn.done(ask.data, ask.refused ? &err : NULL);
}

static void done_result(struct session *s, struct step step, PGresult *result) {
  (void)step;
  if (has_rows(s, result)) s->ask.remaining = integer_value(result, 0, 0);
}

static void done_drained(struct session *s) {
  wire_end(s, SESSION_IDLE);
  done_answer(s);
}

static void done_lost(struct session *s, const struct error *err) {
  struct ask ask = s->ask;
  ask.fn.done(ask.data, err);
}

static const struct session_op cancel_op = {.result = done_result,
                                            .drained = done_drained,
                                            .lost = done_lost};

void session_cancel(struct session *s, int backend_pid, session_done_fn fn, void *data) {
  char pid[16];
  const char *const params[] = {pid};
  ask_begin(s, &cancel_op, data);
  s->ask.fn.done = fn;
  (void)snprintf(pid, sizeof pid, "%d", backend_pid);
  ask_query(s, "SELECT pg_catalog.pg_cancel_backend($1::pg_catalog.int4)::pg_catalog.int4", 1,
            params);
}

static void barrier_result(struct session *s, struct step step, PGresult *result) {
  (void)is_answer(s, step, result);
}

static void barrier_drained(struct session *s) {
  end_after_barrier(s);
  done_answer(s);
}

static const struct session_op barrier_op = {.result = barrier_result,
                                             .drained = barrier_drained,
                                             .lost = done_lost};

void session_barrier(struct session *s, session_done_fn fn, void *data) {
  ask_begin(s, &barrier_op, data);
  s->ask.fn.done = fn;
  send_barrier(s);
}

/* Sessions of a former life. The first round asks all of them to end, the second waits for each,
 * for a part of the call's time. A backend leaves pg_stat_activity after its transaction has been
 * rolled back (on_shmem_exit against before_shmem_exit), so "none is listed" means that none can
 * prepare. */
#define OTHERS                                                                                     \
  "FROM pg_catalog.pg_stat_activity WHERE datname = pg_catalog.current_database() "                \
  "AND pid <> pg_catalog.pg_backend_pid() AND pg_catalog.left(application_name, "                  \
  "pg_catalog.length($1::pg_catalog.text)) = $1 AND application_name <> $2 "

static void send_end_round(struct session *s) {
  char wait_ms[24];
  const char *const params[] = {s->ask.prefix, s->ask.except, wait_ms};
  int64_t share = s->call_timeout_ms / (INT64_C(2) * END_ATTEMPTS_MAX);
  (void)snprintf(wait_ms, sizeof wait_ms, "%lld", (long long)(share > 1 ? share : 1));
  wire_query(s, STEP_QUERY, 0,
             "SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(pid)) " OTHERS, 2, params);
  wire_sync(s);
  wire_query(
      s, STEP_QUERY, 0,
      "SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(pid, $3::pg_catalog.int8)) " OTHERS,
      3, params);
  wire_sync(s);
  ask_query(s, "SELECT pg_catalog.count(*) " OTHERS, 2, params);
  s->ask.attempt++;
}

static void end_drained(struct session *s) {
  struct ask *ask = &s->ask;
  if (!ask->refused && ask->remaining > 0 && ask->attempt < END_ATTEMPTS_MAX) {
    send_end_round(s);
    return;
  }
  if (!ask->refused && ask->remaining > 0) {
    ask->refused = true;
    cause_set(&ask->cause, CAUSE_UNREACHABLE, -1, "%lld sessions of \"%s\" would not end",
              (long long)ask->remaining, ask->prefix);
  }
  done_drained(s);
}

static const struct session_op end_op = {.result = done_result,
                                         .drained = end_drained,
                                         .lost = done_lost};

void session_end_sessions(struct session *s, const char *prefix, const char *except,
                          session_done_fn fn, void *data) {
  ask_begin(s, &end_op, data);
  s->ask.fn.done = fn;
  assert(*prefix && strlen(prefix) < sizeof s->ask.prefix && strlen(except) < sizeof s->ask.except);
  (void)snprintf(s->ask.prefix, sizeof s->ask.prefix, "%s", prefix);
  (void)snprintf(s->ask.except, sizeof s->ask.except, "%s", except);
  send_end_round(s);
}

/* ---- how is the server? ---------------------------------------------------------------------- */

static void probe_result(struct session *s, struct step step, PGresult *result) {
  (void)step;
  if (!has_rows(s, result)) return;
  s->ask.probe.latency_us = (int64_t)(clock_monotonic_us() - s->ask.started_us);
  s->ask.probe.prepared_count = integer_value(result, 0, 0);
  s->ask.probe.oldest_prepared_ms = integer_value(result, 0, 1);
  s->ask.probe.xmin_age = integer_value(result, 0, 2);
  s->ask.probe.standbys = integer_value(result, 0, 3);
  s->ask.probe.synchronous = integer_value(result, 0, 4) != 0;
  s->ask.probe.prepared_others = integer_value(result, 0, 5);
}

static void probe_drained(struct session *s) {
  struct ask ask = s->ask;
  struct error err = {0};
  if (ask.refused) error_from_cause(&err, ERR_UNAVAILABLE, &ask.cause);
  wire_end(s, SESSION_IDLE);
  ask.fn.probed(ask.data, ask.refused ? NULL : &ask.probe, ask.refused ? &err : NULL);
}

static void probe_lost(struct session *s, const struct error *err) {
  struct ask ask = s->ask;
  ask.fn.probed(ask.data, NULL, err);
}

static const struct session_op probe_op = {.result = probe_result,
                                           .drained = probe_drained,
                                           .lost = probe_lost};

void session_probe_server(struct session *s, const char *own, session_probed_fn fn, void *data) {
  ask_begin(s, &probe_op, data);
  s->ask.fn.probed = fn;
  s->ask.started_us = clock_monotonic_us();
  ask_query(
      s,
      "SELECT pg_catalog.count(*), CASE WHEN pg_catalog.count(*) = 0 THEN -1 ELSE greatest(0, "
      "extract(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.min(prepared)) * 1000) "
      "END::pg_catalog.int8, coalesce(greatest(pg_catalog.max(pg_catalog.age(transaction)), "
      "(SELECT "
      "pg_catalog.max(pg_catalog.age(backend_xmin)) FROM pg_catalog.pg_stat_activity), (SELECT "
      "pg_catalog.max(pg_catalog.age(xmin)) FROM pg_catalog.pg_replication_slots)), "
      "0)::pg_catalog.int8, (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_replication), CASE "
      "WHEN pg_catalog.current_setting('synchronous_standby_names') <> '' AND "
      "pg_catalog.current_setting('synchronous_commit') NOT IN ('off', 'local') THEN 1 ELSE 0 "
      "END::pg_catalog.int8, pg_catalog.count(*) FILTER (WHERE NOT pg_catalog.starts_with(gid, "
      "$1)) FROM pg_catalog.pg_prepared_xacts",
      1, &own);
}
