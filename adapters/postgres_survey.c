/* What a database knows of coordinators and their branches: the lives kept in schema assent, the
 * prepared transactions, and the rows that branches left when they committed. Reads only.
 *
 * Steps: look (which tables are there?) and list -> read the lives, if there are any -> look for the
 * rows of the transactions asked for, where rows are left. And the removal of rows that are old.
 * Limit: FORGET_MAX rows a step.
 */
#include "adapters/postgres.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SQL_SIZE = 512, FORGET_MAX = 50000 };
enum survey_stage { SURVEY_LOOK, SURVEY_LIST, SURVEY_LIVES, SURVEY_ROWS };

struct survey {
  struct cluster_id cluster;
  char *txids; /* as the text of an array; NULL: none */
  bool has_lives, has_rows;
  struct survey_life *lives;
  size_t life_count;
  struct prepared_branch *branches;
  size_t branch_count;
  struct txid *committed;
  size_t committed_count;
};

static void survey_free(struct survey *survey) {
  if (!survey) return;
  free(survey->txids);
  free(survey->lives);
  free(survey->branches);
  free(survey->committed);
  free(survey);
}

void survey_discard(struct session *s) {
  survey_free(s->ask.survey);
  s->ask.survey = NULL;
}

static void answer(struct session *s) {
  struct ask ask = s->ask;
  struct survey *survey = ask.survey;
  s->ask.survey = NULL;
  const struct session_survey found = {.lives = survey->lives,
                                       .life_count = survey->life_count,
                                       .branches = survey->branches,
                                       .branch_count = survey->branch_count,
                                       .committed = survey->committed,
                                       .committed_count = survey->committed_count};
  struct error err = {0};
  if (ask.refused) error_from_cause(&err, ERR_UNAVAILABLE, &ask.cause);
  ask.fn.surveyed(ask.data, ask.refused ? NULL : &found, ask.refused ? &err : NULL);
  survey_free(survey);
}

/* ---- the stages ------------------------------------------------------------------------------ */

static void send(struct session *s, enum survey_stage stage, const char *sql, size_t count,
                 const char *const *params) {
  s->ask.stage = (int)stage;
  wire_query(s, STEP_QUERY, 0, sql, count, params);
  wire_sync(s);
  wire_flush(s);
}

static void send_list(struct session *s) {
  char prefix[GID_SIZE];
  const char *const params[] = {prefix};
  const char *cluster = s->ask.survey->cluster.text;
  (void)snprintf(prefix, sizeof prefix, "assent_%s%s", cluster, cluster[0] ? "_" : "");
  send(s, SURVEY_LIST, SQL_LIST_PREPARED, 1, params);
}

static void send_lives(struct session *s) {
  send(s, SURVEY_LIVES,
       s->ask.survey->has_rows
           ? "SELECT known.cluster, known.epoch, known.run_id, COALESCE(kept.epoch, 0), "
             "COALESCE(kept.removed_before::pg_catalog.text, ''), COALESCE(kept.before, 0) FROM "
             "assent.coordinator AS known "
             "LEFT JOIN assent.outcome_kept AS kept ON kept.cluster = known.cluster"
           : "SELECT cluster, epoch, run_id, 0, '', 0 FROM assent.coordinator",
       0, NULL);
}

static void send_rows(struct session *s) {
  const char *const params[] = {s->ask.survey->txids};
  send(s, SURVEY_ROWS,
       "SELECT DISTINCT txid::pg_catalog.text FROM assent.outcome WHERE txid = "
       "ANY ($1::pg_catalog.uuid[])",
       1, params);
}

static void take_lives(struct survey *survey, PGresult *result) {
  survey->lives = calloc((size_t)PQntuples(result) + 1, sizeof *survey->lives);
  assert(survey->lives);
  for (int row = 0; row < PQntuples(result); row++) {
    struct survey_life *life = &survey->lives[survey->life_count];
    if (!cluster_id_parse(PQgetvalue(result, row, 0), &life->cluster)) continue;
    if (survey->cluster.text[0] && strcmp(life->cluster.text, survey->cluster.text) != 0) continue;
    life->epoch = strtoull(PQgetvalue(result, row, 1), NULL, 10);
    (void)snprintf(life->run_id, sizeof life->run_id, "%s", PQgetvalue(result, row, 2));
    life->rows_from_epoch = strtoull(PQgetvalue(result, row, 3), NULL, 10);
    (void)snprintf(life->rows_from_txid.text, sizeof life->rows_from_txid.text, "%s",
                   PQgetvalue(result, row, 4));
    life->rows_before_epoch = strtoull(PQgetvalue(result, row, 5), NULL, 10);
    survey->life_count++;
  }
}

static void take_rows(struct survey *survey, PGresult *result) {
  survey->committed = calloc((size_t)PQntuples(result) + 1, sizeof *survey->committed);
  assert(survey->committed);
  for (int row = 0; row < PQntuples(result); row++)
    if (txid_parse(PQgetvalue(result, row, 0), &survey->committed[survey->committed_count]))
      survey->committed_count++;
}

static void survey_result(struct session *s, struct step step, PGresult *result) {
  struct survey *survey = s->ask.survey;
  (void)step;
  if (result_is_error(result)) {
    s->ask.refused = true;
    cause_from_result(&s->ask.cause, -1, result);
    return;
  }
  if (PQresultStatus(result) != PGRES_TUPLES_OK) return;
  switch ((enum survey_stage)s->ask.stage) {
  case SURVEY_LOOK:
    survey->has_lives = PQntuples(result) == 1 && !PQgetisnull(result, 0, 0);
    survey->has_rows = PQntuples(result) == 1 && !PQgetisnull(result, 0, 1);
    return;
  case SURVEY_LIST:
    survey->branches = branches_from_result(result, &survey->cluster, &survey->branch_count);
    assert(survey->branches);
    return;
  case SURVEY_LIVES: take_lives(survey, result); return;
  case SURVEY_ROWS: take_rows(survey, result); return;
  }
}

static void survey_drained(struct session *s) {
  struct survey *survey = s->ask.survey;
  enum survey_stage stage = (enum survey_stage)s->ask.stage;
  if (!s->ask.refused && stage == SURVEY_LOOK) {
    send_list(s);
  } else if (!s->ask.refused && stage == SURVEY_LIST && survey->has_lives) {
    send_lives(s);
  } else if (!s->ask.refused && stage < SURVEY_ROWS && survey->has_rows && survey->txids) {
    send_rows(s);
  } else {
    wire_end(s, SESSION_IDLE);
    answer(s);
  }
}

static void survey_lost(struct session *s, const struct error *err) {
  s->ask.refused = true;
  cause_from_error(&s->ask.cause, err);
  answer(s);
}

static const struct session_op survey_op = {.result = survey_result,
                                            .drained = survey_drained,
                                            .lost = survey_lost};

/* "{id,id}": ids need no quotes. */
static char *array_of(const struct survey_request *request) {
  if (request->txid_count == 0) return NULL;
  char *text = malloc(request->txid_count * TXID_SIZE + 3), *at = text;
  assert(text);
  for (size_t i = 0; i < request->txid_count; i++)
    at += snprintf(at, TXID_SIZE + 1, "%c%s", i ? ',' : '{', request->txids[i].text);
  (void)strcpy(at, "}");
  return text;
}

void session_survey(struct session *s, const struct survey_request *request, session_surveyed_fn fn,
                    void *data) {
  assert(s->state == SESSION_IDLE || s->state == SESSION_BROKEN);
  s->ask = (struct ask){.data = data};
  s->ask.cause.statement = -1;
  s->ask.fn.surveyed = fn;
  s->ask.survey = calloc(1, sizeof *s->ask.survey);
  assert(s->ask.survey);
  s->ask.survey->cluster = request->cluster;
  s->ask.survey->txids = array_of(request);
  wire_begin(s, &survey_op, s->call_timeout_ms);
  send(s, SURVEY_LOOK,
       "SELECT pg_catalog.to_regclass('assent.coordinator'), "
       "pg_catalog.to_regclass('assent.outcome_kept')",
       0, NULL);
}

/* ---- removing old rows ------------------------------------------------------------------------ */

static void forget_result(struct session *s, struct step step, PGresult *result) {
  (void)step;
  if (!result_is_error(result)) return;
  s->ask.refused = true;
  cause_from_result(&s->ask.cause, -1, result);
}

static void forget_drained(struct session *s) {
  struct ask ask = s->ask;
  struct error err = {0};
  if (ask.refused) error_from_cause(&err, ERR_UNAVAILABLE, &ask.cause);
  wire_end(s, SESSION_IDLE);
  ask.fn.done(ask.data, ask.refused ? &err : NULL);
}

static void forget_lost(struct session *s, const struct error *err) {
  struct ask ask = s->ask;
  ask.fn.done(ask.data, err);
}

static const struct session_op forget_op = {.result = forget_result,
                                            .drained = forget_drained,
                                            .lost = forget_lost};

void session_forget_rows(struct session *s, const char *before_txid, session_done_fn fn,
                         void *data) {
  char sql[SQL_SIZE];
  const char *const params[] = {before_txid};
  assert(s->state == SESSION_IDLE || s->state == SESSION_BROKEN);
  s->ask = (struct ask){.data = data};
  s->ask.cause.statement = -1;
  s->ask.fn.done = fn;
  wire_begin(s, &forget_op, s->call_timeout_ms);
  (void)snprintf(sql, sizeof sql,
                 "WITH noted AS (UPDATE assent.outcome_kept SET removed_before = "
                 "$1::pg_catalog.uuid WHERE removed_before IS NULL OR removed_before < "
                 "$1::pg_catalog.uuid) DELETE FROM assent.outcome WHERE txid IN (SELECT txid FROM "
                 "assent.outcome WHERE txid < $1::pg_catalog.uuid ORDER BY txid LIMIT %d)",
                 FORGET_MAX);
  wire_query(s, STEP_QUERY, 0, sql, 1, params);
  wire_sync(s);
  wire_flush(s);
}
