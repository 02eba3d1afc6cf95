/* The epoch, kept in the database: schema assent, one row a cluster.
 *
 * Steps: look (is the table there?) -> create it where it is not -> write ours if it is the highest
 * -> when it is not, read which one is. The write is one INSERT ... ON CONFLICT ... WHERE, so two
 * claims at the same time are put in order by the row's lock, and it is committed to disk before
 * CLAIM_GRANTED. It replaces the life it is meant to follow, an older one, or itself. A role that may
 * not create but may write the table gets on. One that may not write may have been able to, or another
 * was: what is known is read for it, as far as it may read.
 * Limits: CLAIM_ATTEMPTS_MAX passes: two creators at once, or a serialization failure, start anew.
 */
#include "adapters/postgres.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/sqlstate.h"

enum { CLAIM_ATTEMPTS_MAX = 5, EPOCH_TEXT_SIZE = 24 };
enum claim_stage { STAGE_LOOK, STAGE_CREATE, STAGE_WRITE, STAGE_READ };

static void answer(struct session *s, enum session_claimed claimed) {
  struct ask ask = s->ask;
  ask.fn.claimed(ask.data, claimed, &ask.known, &ask.cause);
}

static void end_and_answer(struct session *s, enum session_claimed claimed) {
  wire_end(s, SESSION_IDLE);
  answer(s, claimed);
}

/* ---- the four stages ------------------------------------------------------------------------- */

/* In the catalogue, which everybody may read: to_regclass() wants USAGE of the schema, and a role that
 * has lost it has to be told all the same that there are tables. */
#define SQL_TABLE(name)                                                                            \
  "(SELECT oid FROM pg_catalog.pg_class WHERE relname = '" name                                    \
  "' AND relnamespace = pg_catalog.to_regnamespace('assent'))"

static void send_look(struct session *s) {
  s->ask.stage = STAGE_LOOK;
  s->ask.attempt++;
  wire_query(
      s, STEP_QUERY, 0,
      "SELECT " SQL_TABLE("coordinator") ", pg_catalog.to_regnamespace('assent'), " SQL_TABLE(
          "outcome_kept"),
      0, NULL);
  wire_sync(s);
  wire_flush(s);
}

/* READ COMMITTED and READ WRITE whatever the role's defaults are. */
static void begin(struct session *s) {
  wire_query(s, STEP_SETTING, 0, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", 0, NULL);
  wire_query(s, STEP_SETTING, 0, SQL_SYNCHRONOUS_COMMIT, 0, NULL);
}

static void commit(struct session *s) {
  wire_query(s, STEP_COMMIT, 0, "COMMIT", 0, NULL);
  wire_sync(s);
  wire_flush(s);
}

/* The schema only where there is none: CREATE ... IF NOT EXISTS asks for the right to create first.
 * assent.outcome has a row a branch that has committed; outcome_kept says of which epochs every one
 * has left its row, and from which txid on they have not been removed. */
static void send_create(struct session *s) {
  bool schema = s->ask.remaining != 0, table = !s->ask.found;
  s->ask.stage = STAGE_CREATE;
  begin(s);
  if (schema) wire_query(s, STEP_SETTING, 0, "CREATE SCHEMA assent", 0, NULL);
  if (table)
    wire_query(s, STEP_SETTING, 0,
               "CREATE TABLE assent.coordinator (cluster pg_catalog.text PRIMARY KEY, "
               "epoch pg_catalog.int8 NOT NULL, run_id pg_catalog.text NOT NULL, "
               "claimed_at pg_catalog.timestamptz NOT NULL)",
               0, NULL);
  if (s->leaves_rows && !s->ask.rows_there) {
    wire_query(s, STEP_SETTING, 0,
               "CREATE TABLE assent.outcome (txid pg_catalog.uuid NOT NULL, "
               "branch pg_catalog.int4 NOT NULL, PRIMARY KEY (txid, branch))",
               0, NULL);
    wire_query(s, STEP_SETTING, 0,
               "CREATE TABLE assent.outcome_kept (cluster pg_catalog.text PRIMARY KEY, "
               "epoch pg_catalog.int8 NOT NULL, before pg_catalog.int8, "
               "removed_before pg_catalog.uuid)",
               0, NULL);
  }
  commit(s);
}

#define SQL_CLAIM                                                                                  \
  "WITH former AS MATERIALIZED "                                                                   \
  "(SELECT epoch FROM assent.coordinator WHERE cluster = $1), "                                    \
  "claimed AS (INSERT INTO assent.coordinator AS known (cluster, epoch, run_id, claimed_at) "      \
  "VALUES ($1, $2::pg_catalog.int8, $3, pg_catalog.now()) ON CONFLICT (cluster) DO UPDATE SET "    \
  "epoch = excluded.epoch, run_id = excluded.run_id, claimed_at = excluded.claimed_at "            \
  "WHERE (known.epoch = excluded.epoch AND known.run_id = excluded.run_id) OR "                    \
  "(known.epoch < excluded.epoch AND (known.epoch < $4 OR "                                        \
  "(known.epoch = $4 AND known.run_id = $5))) RETURNING epoch)"
/* Rows begin with an epoch of which no branch has run here, as far as is known here or elsewhere ($6),
 * or with the next one. */
#define SQL_ROWS_BEGIN                                                                             \
  ", kept AS (INSERT INTO assent.outcome_kept AS kept (cluster, epoch) SELECT $1, "                \
  "CASE WHEN GREATEST((SELECT former.epoch FROM former), $6::pg_catalog.int8) < "                  \
  "$2::pg_catalog.int8 "                                                                           \
  "THEN $2::pg_catalog.int8 ELSE $2::pg_catalog.int8 + 1 END FROM claimed ON CONFLICT (cluster) "  \
  "DO UPDATE SET epoch = excluded.epoch, before = NULL WHERE kept.before IS NOT NULL)"
#define SQL_ROWS_END                                                                               \
  ", kept AS (UPDATE assent.outcome_kept SET before = $2::pg_catalog.int8 WHERE cluster = $1 "     \
  "AND before IS NULL AND EXISTS (SELECT FROM claimed))"
#define SQL_CLAIMED " SELECT COALESCE((SELECT former.epoch FROM former), 0), '' FROM claimed"

static void send_write(struct session *s) {
  const struct epoch_claim *claim = &s->ask.claim;
  char epoch[EPOCH_TEXT_SIZE], after[EPOCH_TEXT_SIZE], former[EPOCH_TEXT_SIZE];
  const char *const params[] = {claim->cluster.text, epoch, claim->run_id, after,
                                claim->after_run_id, former};
  (void)snprintf(epoch, sizeof epoch, "%" PRIu64, claim->epoch);
  (void)snprintf(after, sizeof after, "%" PRIu64, claim->after_epoch);
  (void)snprintf(former, sizeof former, "%" PRIu64, claim->former_epoch);
  s->ask.stage = STAGE_WRITE;
  begin(s);
  wire_query(s, STEP_QUERY, 0,
             s->leaves_rows      ? SQL_CLAIM SQL_ROWS_BEGIN SQL_CLAIMED
             : s->ask.rows_there ? SQL_CLAIM SQL_ROWS_END SQL_CLAIMED
                                 : SQL_CLAIM SQL_CLAIMED,
             s->leaves_rows ? 6 : 5, params);
  commit(s);
}

static void send_read(struct session *s) {
  const char *const params[] = {s->ask.claim.cluster.text};
  s->ask.stage = STAGE_READ;
  wire_query(s, STEP_QUERY, 0, "SELECT epoch, run_id FROM assent.coordinator WHERE cluster = $1", 1,
             params);
  wire_sync(s);
  wire_flush(s);
}

/* ---- answers --------------------------------------------------------------------------------- */

static void take_known(struct epoch_known *known, PGresult *result) {
  if (PQnfields(result) != 2) return; /* what was created */
  known->epoch = strtoull(PQgetvalue(result, 0, 0), NULL, 10);
  (void)snprintf(known->run_id, sizeof known->run_id, "%s", PQgetvalue(result, 0, 1));
}

static void claim_result(struct session *s, struct step step, PGresult *result) {
  struct ask *ask = &s->ask;
  if (step.kind == STEP_ROLLBACK || PQresultStatus(result) == PGRES_PIPELINE_ABORTED) return;
  if (result_is_error(result)) {
    ask->refused = true;
    cause_from_result(&ask->cause, -1, result);
  } else if (step.kind == STEP_COMMIT &&
             (s->warned || strcmp(PQcmdStatus(result), "COMMIT") != 0)) {
    ask->refused = true;
    cause_set(&ask->cause, CAUSE_UNREACHABLE, -1,
              "the claim of the epoch was not surely committed");
  } else if (step.kind == STEP_QUERY) {
    ask->found = PQntuples(result) > 0 && !PQgetisnull(result, 0, 0);
    if (ask->stage == STAGE_LOOK) {
      ask->remaining = PQgetisnull(result, 0, 1) ? 1 : 0; /* the schema is to be made, too */
      ask->rows_there = ask->known.keeps_rows = !PQgetisnull(result, 0, 2);
    } else if (ask->found)
      take_known(&ask->known, result);
  }
}

/* Somebody else made it at the same moment, dropped it, or was in the way: from the top. */
static bool worth_another_pass(const struct ask *ask) {
  static const char *const codes[] = {"23505", "42P06", "42P07", "42P01", "3F000", NULL};
  if (ask->attempt >= CLAIM_ATTEMPTS_MAX) return false;
  for (const char *const *code = codes; *code; code++)
    if (strcmp(ask->cause.sqlstate, *code) == 0) return true;
  return sqlstate_cause(ask->cause.sqlstate, true) == CAUSE_CONFLICT ||
         sqlstate_cause(ask->cause.sqlstate, true) == CAUSE_DEADLOCK;
}

static void after_rights_refusal(struct session *s) {
  struct ask *ask = &s->ask;
  if (ask->stage == STAGE_READ || !ask->found) {
    end_and_answer(s, CLAIM_NO_RIGHTS);
    return;
  }
  ask->refused = false;
  ask->foreign = true;
  ask->cause = (struct cause){.statement = -1};
  send_read(s);
}

static void after_refusal(struct session *s) {
  struct ask *ask = &s->ask;
  if (PQtransactionStatus(s->connection) != PQTRANS_IDLE) {
    wire_query(s, STEP_ROLLBACK, 0, "ROLLBACK", 0, NULL); /* and here again, outside of it */
    wire_sync(s);
    wire_flush(s);
  } else if (worth_another_pass(ask)) {
    ask->refused = ask->foreign = false;
    ask->cause = (struct cause){.statement = -1};
    send_look(s);
  } else if (strcmp(ask->cause.sqlstate, "42501") == 0) {
    after_rights_refusal(s);
  } else {
    end_and_answer(s, CLAIM_LOST);
  }
}

static void claim_drained(struct session *s) {
  struct ask *ask = &s->ask;
  if (ask->refused) {
    after_refusal(s);
    return;
  }
  switch ((enum claim_stage)ask->stage) {
  case STAGE_LOOK:
    if (ask->found && (ask->rows_there || !s->leaves_rows))
      send_write(s);
    else
      send_create(s);
    return;
  case STAGE_CREATE: send_write(s); return;
  case STAGE_WRITE:
    if (ask->found)
      end_and_answer(s, CLAIM_GRANTED);
    else
      send_read(s);
    return;
  case STAGE_READ:
    end_and_answer(s, ask->foreign ? CLAIM_NO_RIGHTS : ask->found ? CLAIM_STALE : CLAIM_LOST);
    return;
  }
}

static void claim_lost(struct session *s, const struct error *err) {
  cause_from_error(&s->ask.cause, err);
  answer(s, CLAIM_LOST);
}

static const struct session_op claim_op = {.result = claim_result,
                                           .drained = claim_drained,
                                           .lost = claim_lost};

void session_claim_epoch(struct session *s, const struct epoch_claim *claim, session_claimed_fn fn,
                         void *data) {
  assert(s->state == SESSION_IDLE || s->state == SESSION_BROKEN);
  s->ask = (struct ask){.data = data, .claim = *claim};
  s->ask.cause.statement = -1;
  s->ask.fn.claimed = fn;
  wire_begin(s, &claim_op, s->call_timeout_ms);
  send_look(s);
}
