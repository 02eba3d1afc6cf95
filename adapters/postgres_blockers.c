/* Whom does a backend wait for? Asked while it waits: when its statement has ended, by a timeout or not,
 * nobody can tell any more.
 *
 * One query. Who waits for no lock costs a look at pg_stat_activity; only for who does pg_blocking_pids()
 * stops the server's lock table for a moment. A prepared transaction has no pid (0 stands for all of
 * them): it is found by the lock it holds, and its gid by the lock on its own xid. No text of anybody's
 * statement is read. Limit: BLOCKERS_MAX.
 */
#include "adapters/postgres.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define SAME(column) "held." column " IS NOT DISTINCT FROM wanted." column " AND "

/* $1: the backend's pid; $2: how many are wanted. */
#define SQL_BLOCKERS                                                                               \
  "WITH blocking AS (SELECT DISTINCT pg_catalog.unnest(CASE WHEN wait_event_type = 'Lock' "        \
  "THEN pg_catalog.pg_blocking_pids(pid) END) AS pid "                                             \
  "FROM pg_catalog.pg_stat_activity WHERE pid = $1::pg_catalog.int4), "                            \
  "prepared AS (SELECT own.transactionid FROM pg_catalog.pg_locks AS wanted "                      \
  "JOIN pg_catalog.pg_locks AS held ON " SAME("locktype") SAME("database") SAME("relation")        \
      SAME("page") SAME("tuple") SAME("transactionid") SAME("classid") SAME("objid")               \
          SAME("objsubid") "held.granted AND held.pid IS NULL "                                    \
                           "JOIN pg_catalog.pg_locks AS own ON own.virtualtransaction = "          \
                           "held.virtualtransaction AND "                                          \
                           "own.pid IS NULL AND own.locktype = 'transactionid' AND own.granted "   \
                           "WHERE wanted.pid = $1::pg_catalog.int4 AND NOT wanted.granted AND "    \
                           "EXISTS (SELECT FROM blocking WHERE pid = 0)) "                         \
                           "SELECT pid, coalesce(application_name, ''), coalesce(state, ''), "     \
                           "coalesce((extract(epoch FROM xact_start) * "                           \
                           "1000000)::pg_catalog.int8, 0), '' "                                    \
                           "FROM pg_catalog.pg_stat_activity WHERE pid IN (SELECT pid FROM "       \
                           "blocking) UNION ALL "                                                  \
                           "SELECT 0, '', '', (extract(epoch FROM prepared) * "                    \
                           "1000000)::pg_catalog.int8, gid "                                       \
                           "FROM pg_catalog.pg_prepared_xacts WHERE transaction IN (SELECT "       \
                           "transactionid FROM prepared) "                                         \
                           "LIMIT $2::pg_catalog.int4"

static void take_text(char *out, size_t size, PGresult *result, int row, int column) {
  (void)snprintf(out, size, "%s", PQgetvalue(result, row, column));
}

static void blockers_result(struct session *s, struct step step, PGresult *result) {
  struct ask *ask = &s->ask;
  (void)step;
  if (result_is_error(result)) {
    ask->refused = true;
    cause_from_result(&ask->cause, -1, result);
  }
  if (PQresultStatus(result) != PGRES_TUPLES_OK) return;
  int rows = PQntuples(result) < BLOCKERS_MAX ? PQntuples(result) : BLOCKERS_MAX;
  free(ask->blockers);
  ask->blockers = calloc((size_t)rows + 1, sizeof *ask->blockers);
  assert(ask->blockers);
  ask->blocker_count = (size_t)rows;
  for (int row = 0; row < rows; row++) {
    struct blocker *blocker = &ask->blockers[row];
    blocker->pid = strtoll(PQgetvalue(result, row, 0), NULL, 10);
    take_text(blocker->application, sizeof blocker->application, result, row, 1);
    take_text(blocker->state, sizeof blocker->state, result, row, 2);
    blocker->since_us = strtoll(PQgetvalue(result, row, 3), NULL, 10);
    take_text(blocker->gid, sizeof blocker->gid, result, row, 4);
  }
}

static void answer(struct session *s) {
  struct ask ask = s->ask;
  struct error err = {0};
  s->ask.blockers = NULL;
  if (ask.refused) error_from_cause(&err, ERR_UNAVAILABLE, &ask.cause);
  ask.fn.blockers(ask.data, ask.blockers, ask.refused ? 0 : ask.blocker_count,
                  ask.refused ? &err : NULL);
  free(ask.blockers);
}

static void blockers_drained(struct session *s) {
  wire_end(s, SESSION_IDLE);
  answer(s);
}

static void blockers_lost(struct session *s, const struct error *err) {
  s->ask.refused = true;
  cause_from_error(&s->ask.cause, err);
  answer(s);
}

static const struct session_op blockers_op = {.result = blockers_result,
                                              .drained = blockers_drained,
                                              .lost = blockers_lost};

void session_blockers(struct session *s, int backend_pid, session_blockers_fn fn, void *data) {
  char pid[16], most[16];
  const char *const params[] = {pid, most};
  assert(s->state == SESSION_IDLE || s->state == SESSION_BROKEN);
  s->ask = (struct ask){.data = data};
  s->ask.cause.statement = -1;
  s->ask.fn.blockers = fn;
  (void)snprintf(pid, sizeof pid, "%d", backend_pid);
  (void)snprintf(most, sizeof most, "%d", BLOCKERS_MAX);
  wire_begin(s, &blockers_op, s->call_timeout_ms);
  wire_query(s, STEP_QUERY, 0, SQL_BLOCKERS, 2, params);
  wire_sync(s);
  wire_flush(s);
}
