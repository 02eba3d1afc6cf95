/* See rebuild.h for the argument: outcomes from evidence. */
#include "coordinator/rebuild_plan.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/message_json.h"

const char *rebuild_evidence_name(enum rebuild_evidence evidence) {
  static const char *const names[] = {[EVIDENCE_NONE] = "not known",
                                      [EVIDENCE_PREPARED] = "prepared",
                                      [EVIDENCE_NOT_COMMITTED] = "not committed",
                                      [EVIDENCE_COMMITTED] = "committed"};
  return names[evidence];
}

const char *rebuild_outcome_name(enum rebuild_outcome outcome) {
  static const char *const names[] = {[REBUILD_UNKNOWN] = "cannot be known",
                                      [REBUILD_ABORT] = "abort",
                                      [REBUILD_COMMIT] = "commit"};
  return names[outcome];
}

/* ---- answers, kept ---------------------------------------------------------------------------- */

static void *copy_items(const void *items, size_t count, size_t size) {
  void *copy = calloc(count + 1, size);
  if (!copy) abort();
  if (count > 0) memcpy(copy, items, count * size);
  return copy;
}

void survey_copy(struct survey_reply *out, const struct survey_reply *reply) {
  *out = *reply;
  out->lives = copy_items(reply->lives, reply->life_count, sizeof *reply->lives);
  out->branches = copy_items(reply->branches, reply->branch_count, sizeof *reply->branches);
  out->outcomes = copy_items(reply->outcomes, reply->outcome_count, sizeof *reply->outcomes);
}

void survey_copy_release(struct survey_reply *survey) {
  survey_reply_release(survey);
}

/* ---- which cluster ---------------------------------------------------------------------------- */

struct clusters {
  struct cluster_id items[16];
  size_t count;
};

static void note_cluster(struct clusters *clusters, const struct cluster_id *cluster) {
  for (size_t i = 0; i < clusters->count; i++)
    if (strcmp(clusters->items[i].text, cluster->text) == 0) return;
  if (clusters->count < sizeof clusters->items / sizeof clusters->items[0])
    clusters->items[clusters->count++] = *cluster;
}

enum error_code plan_find_cluster(struct rebuild *r, struct error *err) {
  struct clusters clusters = {.count = 0};
  char names[16 * (CLUSTER_SIZE + 1)] = "";
  for (size_t i = 0; i < r->count; i++) {
    const struct survey_reply *survey = &r->peers[i].survey;
    struct gid gid;
    for (size_t j = 0; j < survey->life_count; j++)
      note_cluster(&clusters, &survey->lives[j].cluster);
    for (size_t j = 0; j < survey->branch_count; j++)
      if (gid_parse(survey->branches[j].gid, &gid)) note_cluster(&clusters, &gid.cluster);
  }
  if (clusters.count == 0)
    return error_set(err, ERR_INVALID,
                     "nothing is left of a log, and no participant knows a coordinator: there is "
                     "nothing to recover. assentd makes a new log when it starts");
  for (size_t i = 0; i < clusters.count; i++)
    (void)snprintf(names + strlen(names), sizeof names - strlen(names), " %s",
                   clusters.items[i].text);
  if (clusters.count > 1)
    return error_set(err, ERR_INVALID,
                     "the participants know more than one cluster:%s. Say with --cluster whose log "
                     "is lost",
                     names);
  r->cluster = clusters.items[0];
  return ERR_OK;
}

/* ---- which transactions ----------------------------------------------------------------------- */

static int by_text(const void *a, const void *b) {
  return strcmp(((const struct txid *)a)->text, ((const struct txid *)b)->text);
}

static void note_participant(struct rebuild *r, size_t i) {
  const struct survey_reply *survey = &r->peers[i].survey;
  struct rebuild_participant *shown = &r->shown[i];
  shown->life = (struct survey_life){.epoch = 0};
  shown->prepared = survey->branch_count;
  for (size_t j = 0; j < survey->life_count; j++)
    if (strcmp(survey->lives[j].cluster.text, r->cluster.text) == 0) shown->life = survey->lives[j];
}

enum error_code plan_collect(struct rebuild *r, struct error *err) {
  size_t count = 0, kept = 0;
  for (size_t i = 0; i < r->count; i++) {
    note_participant(r, i);
    count += r->peers[i].survey.branch_count;
  }
  free(r->txids);
  r->txids = calloc(count + 1, sizeof *r->txids);
  if (!r->txids) abort();
  count = 0;
  for (size_t i = 0; i < r->count; i++) {
    const struct survey_reply *survey = &r->peers[i].survey;
    struct gid gid;
    for (size_t j = 0; j < survey->branch_count; j++)
      if (gid_parse(survey->branches[j].gid, &gid)) r->txids[count++] = gid.txid;
  }
  qsort(r->txids, count, sizeof *r->txids, by_text);
  for (size_t i = 0; i < count; i++)
    if (kept == 0 || by_text(&r->txids[kept - 1], &r->txids[i]) != 0)
      r->txids[kept++] = r->txids[i];
  r->txid_count = kept;
  if (kept <= SURVEY_TXIDS_MAX) return ERR_OK;
  return error_set(err, ERR_LIMIT, "%zu transactions are in doubt; at most %d can be looked into",
                   kept, SURVEY_TXIDS_MAX);
}

uint64_t plan_highest_epoch(const struct rebuild *r) {
  uint64_t epoch = log_rebuild_epoch(r->log);
  for (size_t i = 0; i < r->count; i++) {
    const struct survey_reply *survey = &r->peers[i].survey;
    struct gid gid;
    if (r->shown[i].life.epoch > epoch) epoch = r->shown[i].life.epoch;
    for (size_t j = 0; j < survey->branch_count; j++)
      if (gid_parse(survey->branches[j].gid, &gid) && gid.epoch > epoch) epoch = gid.epoch;
  }
  return epoch;
}

/* ---- evidence --------------------------------------------------------------------------------- */

/* Would a commit here have left a row? */
static bool rows_tell(const struct survey_life *life, const struct rebuild_transaction *t) {
  return life->rows_from_epoch > 0 && t->epoch >= life->rows_from_epoch &&
         (life->rows_before_epoch == 0 || t->epoch < life->rows_before_epoch) &&
         strcmp(t->id.text, life->rows_from_txid.text) >= 0;
}

/* Would the agent remember a branch? */
static bool memory_tells(const struct survey_reply *survey, const struct rebuild_transaction *t) {
  return survey->memory_from_epoch > 0 && t->epoch >= survey->memory_from_epoch &&
         strcmp(t->id.text, survey->memory_after_txid.text) > 0;
}

static enum rebuild_evidence evidence_of_outcome(const struct survey_reply *survey,
                                                 const struct survey_life *life,
                                                 const struct rebuild_transaction *t) {
  for (size_t i = 0; i < survey->outcome_count; i++) {
    if (strcmp(survey->outcomes[i].txid.text, t->id.text) != 0) continue;
    if (survey->outcomes[i].outcome == BRANCH_OUTCOME_COMMITTED) return EVIDENCE_COMMITTED;
    if (survey->outcomes[i].outcome == BRANCH_OUTCOME_ABORTED) return EVIDENCE_NOT_COMMITTED;
    return rows_tell(life, t) ? EVIDENCE_NOT_COMMITTED : EVIDENCE_NONE;
  }
  return rows_tell(life, t) || memory_tells(survey, t) ? EVIDENCE_NOT_COMMITTED : EVIDENCE_NONE;
}

/* The nth of the transaction's gids that the participant's database lists, by branch; NULL: it has
 * fewer. */
static const struct prepared_branch *listed(const struct survey_reply *survey,
                                            const struct txid *id, size_t nth) {
  const struct prepared_branch *found = NULL;
  unsigned after = 0;
  for (size_t rank = 0; rank <= nth; rank++) {
    unsigned next = BRANCH_ID_MAX + 1;
    struct gid gid;
    found = NULL;
    for (size_t i = 0; i < survey->branch_count; i++) {
      if (!gid_parse(survey->branches[i].gid, &gid) || by_text(&gid.txid, id) != 0) continue;
      if (gid.branch <= after || gid.branch >= next) continue;
      next = gid.branch;
      found = &survey->branches[i];
    }
    if (!found) return NULL;
    after = next;
  }
  return found;
}

/* How many participants before this one are in the same database: all of these list all of its gids,
 * and each is given one of them. Whose it was does not matter: it is ended by its gid. */
static size_t rank_in_database(const struct rebuild *r, size_t peer) {
  size_t rank = 0;
  for (size_t i = 0; i < peer; i++)
    rank += strcmp(r->peers[i].survey.server, r->peers[peer].survey.server) == 0;
  return rank;
}

static void find_evidence(const struct rebuild *r, struct rebuild_transaction *t) {
  struct gid gid;
  for (size_t i = 0; i < r->count; i++) {
    struct rebuild_branch *branch = &t->branches[i];
    const struct prepared_branch *prepared =
        listed(&r->peers[i].survey, &t->id, rank_in_database(r, i));
    if (!prepared || !gid_parse(prepared->gid, &gid)) continue;
    t->epoch = gid.epoch;
    branch->evidence = EVIDENCE_PREPARED;
    (void)snprintf(branch->gid, sizeof branch->gid, "%s", prepared->gid);
    (void)snprintf(branch->xid, sizeof branch->xid, "%s", prepared->xid);
  }
  for (size_t i = 0; i < r->count; i++) {
    enum rebuild_evidence evidence = evidence_of_outcome(&r->peers[i].survey, &r->shown[i].life, t);
    if (t->branches[i].evidence == EVIDENCE_NONE || evidence == EVIDENCE_COMMITTED)
      t->branches[i].evidence = evidence;
  }
}

/* ---- outcomes --------------------------------------------------------------------------------- */

static bool find_record(struct rebuild *r, struct rebuild_transaction *t) {
  struct wal_record *record = log_rebuild_find(r->log, &t->id);
  if (!record) return false;
  bool commit = record->kind == WAL_KIND_COMMIT;
  t->decided = true;
  t->outcome = commit ? REBUILD_COMMIT : REBUILD_ABORT;
  (void)snprintf(t->why, sizeof t->why, "%s in what is left of the log",
                 commit ? "decided" : "noted as aborted");
  free(record);
  return true;
}

static size_t find_branch(const struct rebuild *r, const struct rebuild_transaction *t,
                          enum rebuild_evidence evidence) {
  size_t i = 0;
  while (i < r->count && t->branches[i].evidence != evidence)
    i++;
  return i;
}

static void conclude(struct rebuild *r, struct rebuild_transaction *t) {
  size_t committed = find_branch(r, t, EVIDENCE_COMMITTED);
  size_t unknown = find_branch(r, t, EVIDENCE_NONE);
  if (find_record(r, t)) return;
  if (committed < r->count) {
    t->outcome = REBUILD_COMMIT;
    (void)snprintf(t->why, sizeof t->why, "its branch at %s has committed",
                   r->shown[committed].name);
  } else if (unknown == r->count) {
    t->outcome = REBUILD_ABORT;
    (void)snprintf(t->why, sizeof t->why, "no branch has committed");
  } else {
    t->outcome = REBUILD_UNKNOWN;
    (void)snprintf(t->why, sizeof t->why,
                   "it may have committed at %s, which has no row and no memory of it",
                   r->shown[unknown].name);
  }
}

void plan_clear(struct rebuild *r) {
  for (size_t i = 0; i < r->transaction_count; i++)
    free(r->transactions[i].branches);
  free(r->transactions);
  free(r->txids);
  r->transactions = NULL;
  r->txids = NULL;
  r->transaction_count = r->txid_count = 0;
}

void plan_make(struct rebuild *r) {
  struct txid *txids = r->txids;
  size_t count = r->txid_count;
  r->txids = NULL;
  plan_clear(r);
  r->txids = txids;
  r->txid_count = r->transaction_count = count;
  r->transactions = calloc(count + 1, sizeof *r->transactions);
  if (!r->transactions) abort();
  for (size_t i = 0; i < count; i++) {
    struct rebuild_transaction *t = &r->transactions[i];
    t->id = txids[i];
    t->branches = calloc(r->count + 1, sizeof *t->branches);
    if (!t->branches) abort();
    find_evidence(r, t);
    conclude(r, t);
  }
}

enum error_code plan_all_known(const struct rebuild *r, struct error *err) {
  for (size_t i = 0; i < r->transaction_count; i++)
    if (r->transactions[i].outcome == REBUILD_UNKNOWN)
      return error_set(err, ERR_INVALID, "the outcome of transaction %s cannot be known: %s",
                       r->transactions[i].id.text, r->transactions[i].why);
  return ERR_OK;
}

/* ---- an operator's word ----------------------------------------------------------------------- */

enum error_code rebuild_force(struct rebuild *r, const struct txid *id, bool commit,
                              struct error *err) {
  for (size_t i = 0; i < r->transaction_count; i++) {
    struct rebuild_transaction *t = &r->transactions[i];
    if (strcmp(t->id.text, id->text) != 0) continue;
    enum rebuild_outcome outcome = commit ? REBUILD_COMMIT : REBUILD_ABORT;
    if (t->outcome == outcome) return ERR_OK;
    if (t->outcome != REBUILD_UNKNOWN)
      return error_set(err, ERR_INVALID, "transaction %s must %s: %s", id->text,
                       rebuild_outcome_name(t->outcome), t->why);
    t->outcome = outcome;
    t->forced = true;
    (void)snprintf(t->why, sizeof t->why, "an operator has said so");
    return ERR_OK;
  }
  return error_set(err, ERR_INVALID, "transaction %s is not in doubt: nothing of it is prepared",
                   id->text);
}

struct forced {
  size_t count;
  struct {
    struct txid id;
    bool commit;
  } items[];
};

struct forced *plan_take_forced(const struct rebuild *r) {
  struct forced *forced = NULL;
  forced = calloc(1, sizeof *forced + r->transaction_count * sizeof forced->items[0]);
  if (!forced) abort();
  for (size_t i = 0; i < r->transaction_count; i++) {
    const struct rebuild_transaction *t = &r->transactions[i];
    if (!t->forced) continue;
    forced->items[forced->count].id = t->id;
    forced->items[forced->count++].commit = t->outcome == REBUILD_COMMIT;
  }
  return forced;
}

enum error_code plan_give_forced(struct rebuild *r, const struct forced *forced,
                                 struct error *err) {
  for (size_t i = 0; i < forced->count; i++) {
    enum error_code code = rebuild_force(r, &forced->items[i].id, forced->items[i].commit, err);
    if (code != ERR_OK) return code;
  }
  return ERR_OK;
}

/* ---- for the record --------------------------------------------------------------------------- */

static int by_id(const void *a, const void *b) {
  const struct wal_branch *x = a, *y = b;
  return (x->id > y->id) - (x->id < y->id);
}

size_t plan_fill_branches(const struct rebuild *r, const struct rebuild_transaction *t,
                          struct wal_branch *out) {
  size_t count = 0;
  for (size_t i = 0; i < r->count; i++) {
    const struct rebuild_branch *branch = &t->branches[i];
    struct gid gid;
    if (branch->gid[0] == '\0' || !gid_parse(branch->gid, &gid)) continue;
    out[count++] = (struct wal_branch){.id = gid.branch,
                                       .participant = r->shown[i].name,
                                       .gid = branch->gid,
                                       .xid = branch->xid,
                                       .server = r->peers[i].survey.server};
  }
  qsort(out, count, sizeof *out, by_id);
  assert(count > 0);
  return count;
}
