/* See rebuild.h. Here: the participants are asked and fenced, and the log is made. What their answers
 * mean for each transaction is in rebuild_plan.c. */
#include "coordinator/rebuild.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/http_client.h"
#include "coordinator/participant.h"
#include "coordinator/rebuild_plan.h"

enum { DETAIL_SIZE = 600 };

/* ---- open, free ------------------------------------------------------------------------------- */

enum error_code rebuild_open(struct rebuild **out, const struct settings *settings,
                             const struct cluster_id *cluster, struct error *err) {
  char path[PATH_MAX];
  struct rebuild *r = calloc(1, sizeof *r);
  if (!r) abort();
  r->settings = settings;
  r->count = settings->participant_count;
  enum error_code code = settings_log_path(settings->data_dir, path, err);
  if (code == ERR_OK) code = log_rebuild_begin(&r->log, path, err);
  if (code != ERR_OK) {
    free(r);
    return code;
  }
  if (cluster) log_rebuild_set_cluster(r->log, cluster);
  r->cluster = *log_rebuild_cluster(r->log);
  r->loop = loop_new();
  r->client = http_client_new(r->loop);
  const struct http_identity identity = settings_agent_identity(settings);
  http_client_identify(r->client, &identity);
  for (size_t i = 0; i < r->count; i++) {
    r->peers[i].rebuild = r;
    r->shown[i].name = settings->participants[i].name;
  }
  *out = r;
  return ERR_OK;
}

static void disconnect(struct rebuild *r) {
  for (size_t i = 0; i < r->count; i++) {
    struct participant *participant = r->peers[i].participant;
    if (participant) participant->ops->free(participant);
    r->peers[i].participant = NULL;
  }
}

void rebuild_free(struct rebuild *r) {
  if (!r) return;
  disconnect(r);
  plan_clear(r);
  for (size_t i = 0; i < r->count; i++)
    survey_copy_release(&r->peers[i].survey);
  http_client_free(r->client);
  loop_free(r->loop);
  log_rebuild_free(r->log);
  free(r);
}

/* ---- reaching participants -------------------------------------------------------------------- */

/* `agent_id`: an embedded agent ends the sessions that a former agent of the same id has left. */
static enum error_code connect_all(struct rebuild *r, const char *agent_id, struct error *err) {
  const struct settings *s = r->settings;
  disconnect(r);
  for (size_t i = 0; i < r->count; i++) {
    const struct participant_settings *p = &s->participants[i];
    if (p->agent) {
      r->peers[i].participant =
          participant_http_new(r->loop, r->client, p->agent, p->name, s->agent_timeout_ms);
      continue;
    }
    struct agent *agent =
        database_agent_new(r->loop, &p->database, p->name, agent_id, s->data_dir, NULL, err);
    if (!agent) return error_wrap(err, "[participant.%s]", p->name);
    r->peers[i].participant = participant_local_new(agent);
  }
  return ERR_OK;
}

static void answered(struct rebuild *r) {
  if (--r->waiting == 0) loop_stop(r->loop);
}

/* One question to each; returns when all have answered. */
static void ask_all(struct rebuild *r, void (*ask)(struct peer *peer)) {
  r->waiting = (unsigned)r->count;
  for (size_t i = 0; i < r->count; i++)
    ask(&r->peers[i]);
  if (r->waiting > 0) loop_run(r->loop);
}

static void on_survey(void *data, const struct survey_reply *reply, const struct error *err) {
  struct peer *peer = data;
  struct rebuild *r = peer->rebuild;
  struct rebuild_participant *shown = &r->shown[peer - r->peers];
  survey_copy_release(&peer->survey);
  shown->reached = !err;
  (void)snprintf(shown->error, sizeof shown->error, "%s", err ? err->text : "");
  if (reply) survey_copy(&peer->survey, reply);
  answered(r);
}

static void ask_survey(struct peer *peer) {
  struct rebuild *r = peer->rebuild;
  const struct survey_request request = {.cluster = r->cluster,
                                         .txids = r->txids,
                                         .txid_count = r->txid_count};
  peer->participant->ops->survey(peer->participant, &request, on_survey, peer);
}

static enum error_code all_reached(const struct rebuild *r, struct error *err) {
  for (size_t i = 0; i < r->count; i++)
    if (!r->shown[i].reached)
      return error_set(err, ERR_UNAVAILABLE,
                       "participant %s cannot be asked: %s. All of them must be there: what one "
                       "holds prepared decides about the others",
                       r->shown[i].name, r->shown[i].error);
  return ERR_OK;
}

static enum error_code survey_all(struct rebuild *r, struct error *err) {
  ask_all(r, ask_survey);
  return all_reached(r, err);
}

/* ---- looking ---------------------------------------------------------------------------------- */

static enum error_code find_cluster(struct rebuild *r, struct error *err) {
  if (r->cluster.text[0]) return ERR_OK;
  enum error_code code = survey_all(r, err); /* of every cluster */
  if (code == ERR_OK) code = plan_find_cluster(r, err);
  if (code == ERR_OK) log_rebuild_set_cluster(r->log, &r->cluster);
  return code;
}

/* First what is prepared, then what is known of these transactions. */
static enum error_code look(struct rebuild *r, struct error *err) {
  r->txid_count = 0;
  enum error_code code = survey_all(r, err);
  if (code == ERR_OK) code = plan_collect(r, err);
  if (code == ERR_OK && r->txid_count > 0) code = survey_all(r, err);
  if (code == ERR_OK) plan_make(r);
  return code;
}

enum error_code rebuild_look(struct rebuild *r, struct error *err) {
  char agent_id[RUN_ID_SIZE];
  run_id_make(agent_id); /* nobody's: a look ends no sessions */
  enum error_code code = connect_all(r, agent_id, err);
  if (code == ERR_OK) code = find_cluster(r, err);
  return code == ERR_OK ? look(r, err) : code;
}

/* ---- fencing ---------------------------------------------------------------------------------- */

static void ask_fence(struct peer *peer);

static void on_fence(void *data, const struct fence_reply *reply, const struct error *err) {
  struct peer *peer = data;
  struct rebuild *r = peer->rebuild;
  struct rebuild_participant *shown = &r->shown[peer - r->peers];
  /* Whatever life it knows: who runs this says that the log of that life is lost. */
  if (reply && reply->former_epoch > 0 && peer->fences++ < FENCES_MAX) {
    peer->after_epoch = reply->former_epoch;
    memcpy(peer->after_run_id, reply->former_run_id, sizeof peer->after_run_id);
    ask_fence(peer);
    return;
  }
  shown->reached = reply && reply->former_epoch == 0;
  (void)snprintf(shown->error, sizeof shown->error, "%s",
                 err              ? err->text
                 : shown->reached ? ""
                                  : "it keeps telling of other lives");
  answered(r);
}

static void ask_fence(struct peer *peer) {
  struct rebuild *r = peer->rebuild;
  struct fence_request request = {.cluster = r->cluster,
                                  .epoch = r->epoch,
                                  .after_epoch = peer->after_epoch};
  memcpy(request.run_id, r->run_id, sizeof request.run_id);
  memcpy(request.after_run_id, peer->after_run_id, sizeof request.after_run_id);
  peer->participant->ops->fence(peer->participant, &request, on_fence, peer);
}

static enum error_code fence_all(struct rebuild *r, struct error *err) {
  r->epoch = plan_highest_epoch(r) + 1;
  run_id_make(r->run_id);
  for (size_t i = 0; i < r->count; i++)
    r->peers[i].fences = 0;
  ask_all(r, ask_fence);
  return all_reached(r, err);
}

/* ---- the log ---------------------------------------------------------------------------------- */

struct made {
  struct wal_record *records;
  struct wal_branch *branches; /* of all records */
  struct log_audit_line *lines;
  char (*details)[DETAIL_SIZE];
  size_t record_count, branch_count, line_count;
};

/* An id begins with 48 bits of milliseconds, in hexadecimal: "01a1fcd1-c3e1-...". */
static int64_t txid_time_us(const struct txid *id) {
  unsigned long long high = 0, low = 0;
  if (sscanf(id->text, "%8llx-%4llx", &high, &low) != 2) return 0;
  return (int64_t)((high << 16 | low) * 1000);
}

static void make_record(struct rebuild *r, const struct rebuild_transaction *t, struct made *m) {
  struct wal_record *record = &m->records[m->record_count++];
  bool commit = t->outcome == REBUILD_COMMIT;
  *record = (struct wal_record){.txid = t->id,
                                .kind = commit ? WAL_KIND_COMMIT : WAL_KIND_ABORTED,
                                .outcome = commit ? WAL_OUTCOME_COMMITTED : WAL_OUTCOME_ABORTED,
                                .created_at_us = txid_time_us(&t->id),
                                .decided_at_us = clock_wall_us(),
                                .cause = {.statement = -1},
                                .branches = &m->branches[m->branch_count]};
  if (!commit) {
    record->cause.kind = t->forced ? CAUSE_OPERATOR : CAUSE_RECOVERY;
    (void)snprintf(record->cause.text, sizeof record->cause.text, "the decision log was lost: %s",
                   t->why);
  }
  record->branch_count = plan_fill_branches(r, t, &m->branches[m->branch_count]);
  m->branch_count += record->branch_count;
}

static void add_line(struct made *m, const struct txid *txid, const char *event) {
  struct log_audit_line *line = &m->lines[m->line_count];
  *line = (struct log_audit_line){.event = event, .detail = m->details[m->line_count++]};
  if (txid) line->txid = *txid;
}

static void make_all(struct rebuild *r, const char *reason, struct made *m) {
  size_t count = r->transaction_count + 1;
  *m = (struct made){.records = calloc(count, sizeof *m->records),
                     .branches = calloc(count * r->count, sizeof *m->branches),
                     .lines = calloc(count, sizeof *m->lines),
                     .details = calloc(count, sizeof *m->details)};
  if (!m->records || !m->branches || !m->lines || !m->details) abort();
  (void)snprintf(m->details[0], DETAIL_SIZE, "the log was lost; %zu transactions in doubt; %s",
                 r->transaction_count, reason);
  add_line(m, NULL, "log_rebuilt");
  for (size_t i = 0; i < r->transaction_count; i++) {
    const struct rebuild_transaction *t = &r->transactions[i];
    if (t->decided) continue;
    make_record(r, t, m);
    (void)snprintf(m->details[m->line_count], DETAIL_SIZE, "%s: %s%s%s",
                   rebuild_outcome_name(t->outcome), t->why, t->forced ? ": " : "",
                   t->forced ? reason : "");
    add_line(m, &t->id, t->forced ? "outcome_forced" : "outcome_found");
  }
}

static enum error_code make_log(struct rebuild *r, const char *reason, char aside[PATH_MAX],
                                struct error *err) {
  struct made m;
  make_all(r, reason, &m);
  struct log_rebuilt rebuilt = {.cluster = r->cluster,
                                .epoch = r->epoch,
                                .records = m.records,
                                .record_count = m.record_count,
                                .lines = m.lines,
                                .line_count = m.line_count};
  memcpy(rebuilt.run_id, r->run_id, sizeof rebuilt.run_id);
  enum error_code code = log_rebuild_finish(r->log, &rebuilt, aside, err);
  free(m.records);
  free(m.branches);
  free(m.lines);
  free(m.details);
  return code;
}

enum error_code rebuild_finish(struct rebuild *r, const char *reason, char aside[PATH_MAX],
                               struct error *err) {
  struct forced *forced = plan_take_forced(r);
  enum error_code code = connect_all(r, r->cluster.text, err);
  if (code == ERR_OK) code = fence_all(r, err);
  if (code == ERR_OK) code = look(r, err);
  if (code == ERR_OK) code = plan_give_forced(r, forced, err);
  if (code == ERR_OK) code = plan_all_known(r, err);
  free(forced);
  return code == ERR_OK ? make_log(r, reason, aside, err) : code;
}

/* ---- what is shown ---------------------------------------------------------------------------- */

const struct cluster_id *rebuild_cluster(const struct rebuild *r) {
  return &r->cluster;
}

const struct log_remnant *rebuild_remnants(const struct rebuild *r, size_t *count) {
  return log_rebuild_remnants(r->log, count);
}

const struct rebuild_participant *rebuild_participants(const struct rebuild *r, size_t *count) {
  *count = r->count;
  return r->shown;
}

const struct rebuild_transaction *rebuild_transactions(const struct rebuild *r, size_t *count) {
  *count = r->transaction_count;
  return r->transactions;
}
