/* See checks.h. The checks know what was decided (from the disk), what has become of each branch (from
 * the databases), and what clients were told; they know nothing of what the code under test believes.
 */
#include "tests/sim/checks_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- databases -------------------------------------------------------------------------------- */

/* Is there a durable decision to commit just this? */
static bool may_commit(const struct checks *c, const char *txid, const char *gid, const char *xid) {
  const struct wal_record *record = known_decision(c, txid);
  const struct wal_branch *branch = record ? known_branch_in(record, gid) : NULL;
  return branch && (!xid || strcmp(branch->xid, xid) == 0);
}

static void judge_row(struct checks *c, unsigned database, const char *gid) {
  if (sim_database_lacks_row(c->databases[database], gid))
    sim_violation(c->sim, 12, "%s has committed in %s and leaves no row, though it says so", gid,
                  database_name(database));
}

static void judge_end(struct checks *c, const char *txid, const char *gid, const char *xid,
                      enum sim_truth now) {
  unsigned database = known_branch_find(known_find(c, txid), gid)->database;
  bool wrote = sim_database_wrote(c->databases[database], gid);
  if (now == SIM_COMMITTED && wrote && !may_commit(c, txid, gid, xid))
    sim_violation(c->sim, 5, "%s (xid %s) has committed without a durable decision", gid, xid);
  if (now == SIM_COMMITTED) judge_row(c, database, gid);
  const struct wal_record *record = known_decision(c, txid);
  if (now == SIM_ABORTED && record && record->kind == WAL_KIND_COMMIT &&
      may_commit(c, txid, gid, xid))
    sim_violation(c->sim, 1, "%s (xid %s) has been rolled back, though commit is decided", gid,
                  xid);
}

/* By a PREPARE that is done now. A crash or a failover may bring it back as it was. */
static void judge_prepared(struct checks *c, struct seen *seen, struct seen_branch *branch,
                           const struct gid *gid, const char *xid) {
  const char *name = database_name(branch->database);
  if (strcmp(branch->prepared_xid, xid) == 0) return;
  (void)snprintf(branch->prepared_xid, sizeof branch->prepared_xid, "%s", xid);
  if (branch->external) return;
  if (gid->epoch < c->fenced[branch->database] && !c->lossy[branch->database])
    sim_violation(c->sim, 11, "%s becomes prepared in %s, where epoch %llu has been fenced",
                  branch->gid, name, (unsigned long long)c->fenced[branch->database]);
  if (seen->hopeless >> branch->database & 1)
    sim_violation(c->sim, 3, "%s becomes prepared, though not all of it was done", branch->gid);
}

static bool is_own(const struct checks *c, const char *text, struct gid *gid) {
  return gid_parse(text, gid) && strcmp(gid->cluster.text, disk_cluster(c->disk)->text) == 0;
}

static void on_database(void *data, struct sim_database *db, const char *gid, const char *xid,
                        enum sim_truth now) {
  struct checks *c = data;
  struct gid parsed;
  unsigned database = 0;
  while (c->databases[database] != db)
    database++;
  sim_trace(c->sim, "%s: %s (xid %s) is %s", database_name(database), gid, xid,
            known_truth_name(now));
  if (!is_own(c, gid, &parsed)) return;
  struct seen *seen = known_of(c, parsed.txid.text);
  struct seen_branch *branch = known_branch_of(seen, gid, database);
  bool hazard = sim_database_is_hazard(db, gid);
  /* A hand's flush lets others go on, too. */
  if (c->hand && hazard && now != SIM_PREPARED) branch->by_hand = true;
  if (hazard || !xid[0]) return;
  if (now == SIM_PREPARED)
    judge_prepared(c, seen, branch, &parsed, xid);
  else
    judge_end(c, parsed.txid.text, gid, xid, now);
}

void checks_hand(struct checks *c, bool at_work) {
  c->hand = at_work;
}

void checks_failover(struct checks *c, unsigned database, bool lossy) {
  c->replaced[database] = true;
  if (lossy) c->lossy[database] = true;
}

bool checks_is_lossy(const struct checks *c) {
  for (unsigned i = 0; i < c->database_count; i++)
    if (c->lossy[i]) return true;
  return false;
}

/* ---- the log ---------------------------------------------------------------------------------- */

/* What a yes says: it is prepared, by this transaction, and a failover keeps it. */
static void judge_vote(struct checks *c, const struct wal_record *record,
                       const struct wal_branch *branch) {
  unsigned database = known_database(c, branch->participant);
  const struct seen_branch *seen = known_branch_find(known_find(c, record->txid.text), branch->gid);
  enum sim_truth truth = known_truth(c, branch);
  if (truth != SIM_PREPARED || !seen)
    sim_violation(c->sim, 3, "commit is decided, and %s is %s", branch->gid,
                  known_truth_name(truth));
  else if (strcmp(seen->prepared_xid, branch->xid) != 0)
    sim_violation(c->sim, 3, "commit is decided for xid %s of %s, and xid %s is prepared",
                  branch->xid, branch->gid, seen->prepared_xid);
  else if (!sim_database_is_replicated(c->databases[database], branch->xid))
    sim_violation(c->sim, 3, "commit is decided, and the replica does not have %s", branch->gid);
}

void checks_decide(const struct process *process, const struct wal_record *record) {
  struct checks *c = process->checks;
  if (!process->rightful) {
    sim_violation(c->sim, 11, "a coordinator on an old log decides %s", record->txid.text);
    return;
  }
  if (known_decision(c, record->txid.text))
    sim_violation(c->sim, 2, "%s is decided again", record->txid.text);
  for (size_t i = 0; i < record->branch_count; i++) {
    const struct wal_branch *branch = &record->branches[i];
    if (branch->read_only || known_hazard(c, branch)) continue;
    if (!branch->xid[0]) sim_violation(c->sim, 3, "a decision names no xid of %s", branch->gid);
    if (record->kind == WAL_KIND_COMMIT) judge_vote(c, record, branch);
  }
}

void checks_durable(const struct process *process, const struct wal_record *record) {
  sim_trace(process->sim, "durable: %s %s", record->txid.text,
            record->kind == WAL_KIND_COMMIT ? "commit" : "delegated");
}

/* Committed; or committed, and then brought back as prepared by a lossy failover: the sweep has it. */
static bool is_committed(const struct checks *c, const struct wal_branch *branch) {
  enum sim_truth truth = known_truth(c, branch);
  bool lossy = c->lossy[known_database(c, branch->participant)];
  return truth == SIM_COMMITTED || (truth == SIM_PREPARED && lossy);
}

/* Not committed. As prepared it may come back: when an application prepares it late; and by a failover, a
 * synchronous one too: that the replica has a rollback is not waited for again where the wait was cut. */
static bool is_aborted(const struct checks *c, const struct wal_branch *branch) {
  struct gid gid;
  bool known = gid_parse(branch->gid, &gid);
  const struct seen_branch *seen =
      known ? known_branch_find(known_find(c, gid.txid.text), branch->gid) : NULL;
  bool may_come_back =
      (seen && seen->external) || c->replaced[known_database(c, branch->participant)];
  enum sim_truth truth = known_truth(c, branch);
  if (truth == SIM_PREPARED) return may_come_back;
  return truth != SIM_COMMITTED || !known_wrote(c, branch);
}

/* Lost by a failover, or rolled back by hand, and nobody was ever told that it had committed: nothing
 * but another transaction of the same number could speak for it. */
static bool is_known_as_lost(const struct checks *c, const struct wal_branch *branch) {
  const struct sim_database *db = c->databases[known_database(c, branch->participant)];
  enum sim_truth truth = known_truth(c, branch);
  return truth != SIM_COMMITTED && truth != SIM_PREPARED &&
         !sim_database_was_told_committed(db, branch->gid);
}

void checks_end(const struct process *process, const struct wal_record *record,
                enum wal_outcome outcome) {
  struct checks *c = process->checks;
  bool committed = outcome == WAL_OUTCOME_COMMITTED;
  if (!process->rightful || outcome == WAL_OUTCOME_MIXED) return;
  for (size_t i = 0; i < record->branch_count; i++) {
    const struct wal_branch *branch = &record->branches[i];
    const struct sim_database *db = c->databases[known_database(c, branch->participant)];
    if (branch->read_only) continue;
    if (known_hazard(c, branch)) {
      if (committed && is_known_as_lost(c, branch))
        sim_violation(c->sim, 13, "%s ends committed, and %s is lost", record->txid.text,
                      branch->gid);
      continue;
    }
    if (!(committed ? is_committed(c, branch) : is_aborted(c, branch)))
      sim_violation(c->sim, 12, "%s ends %s, and %s is %s", record->txid.text,
                    known_outcome_name(outcome), branch->gid,
                    known_truth_name(known_truth(c, branch)));
    else if (committed && !sim_database_is_replicated(db, branch->xid))
      sim_violation(c->sim, 12, "%s ends committed, and the replica does not have %s",
                    record->txid.text, branch->gid);
  }
}

/* Once in all its lives: work that was meant for a former life is refused. But nothing is kept of a
 * branch whose end is too long ago to be told: then no message of it can be under way any more, except
 * here, where STATUS_FORGOTTEN makes it so at once. */
void checks_begin(const struct process *process, unsigned database, const char *gid) {
  struct checks *c = process->checks;
  struct gid parsed;
  if (!is_own(c, gid, &parsed)) return;
  struct seen_branch *branch = known_branch_of(known_of(c, parsed.txid.text), gid, database);
  bool forgotten = sim_fault_count(c->sim, SIM_STATUS_FORGOTTEN) > 0;
  if (branch->begun && !forgotten)
    sim_violation(c->sim, 3, "the statements of %s are run again", gid);
  branch->begun = true;
}

void checks_fenced(const struct process *process, unsigned database,
                   const struct cluster_id *cluster, uint64_t epoch) {
  struct checks *c = process->checks;
  uint64_t *fenced = &c->fenced[database];
  sim_trace(c->sim, "%s: epoch %llu is fenced", database_name(database), (unsigned long long)epoch);
  if (strcmp(cluster->text, disk_cluster(c->disk)->text) != 0) return;
  if (epoch < *fenced && !c->lossy[database])
    sim_violation(c->sim, 11, "%s accepts a fence of epoch %llu after %llu",
                  database_name(database), (unsigned long long)epoch, (unsigned long long)*fenced);
  *fenced = epoch;
}

void checks_commit_sent(const struct process *process, unsigned database, const char *gid,
                        const char *xid) {
  struct checks *c = process->checks;
  struct gid parsed;
  (void)database;
  if (!gid_parse(gid, &parsed)) {
    sim_violation(c->sim, 10, "a commit of %s is sent, which is no gid of ours", gid);
    return;
  }
  if (!may_commit(c, parsed.txid.text, gid, xid))
    sim_violation(c->sim, 5, "a commit of %s is sent, and none is durable", gid);
}

void checks_old_run(struct checks *c, const char *run_id) {
  c->old_runs = realloc(c->old_runs, (c->old_run_count + 1) * sizeof *c->old_runs);
  if (!c->old_runs) abort();
  memcpy(c->old_runs[c->old_run_count++], run_id, RUN_ID_SIZE);
}

static bool is_old_run(const struct checks *c, const char *run_id) {
  for (size_t i = 0; i < c->old_run_count; i++)
    if (strcmp(c->old_runs[i], run_id) == 0) return true;
  return false;
}

void checks_claimed(const struct process *process, unsigned database,
                    const struct epoch_claim *claim) {
  struct checks *c = process->checks;
  struct epoch_claim *known = &c->claims[database];
  if (is_old_run(c, claim->run_id) && !c->lossy[database])
    sim_violation(c->sim, 11, "%s grants epoch %llu to an old log", database_name(database),
                  (unsigned long long)claim->epoch);
  if (claim->epoch < known->epoch && !c->lossy[database])
    sim_violation(c->sim, 11, "%s grants epoch %llu after %llu", database_name(database),
                  (unsigned long long)claim->epoch, (unsigned long long)known->epoch);
  if (claim->epoch == known->epoch && strcmp(claim->run_id, known->run_id) != 0 &&
      !c->lossy[database])
    sim_violation(c->sim, 11, "%s grants epoch %llu to two runs", database_name(database),
                  (unsigned long long)claim->epoch);
  *known = *claim;
  for (size_t i = 0; i < c->count; i++)
    for (unsigned k = 0; k < c->seen[i].branch_count; k++) {
      const struct seen_branch *branch = &c->seen[i].branches[k];
      if (branch->database == database && !branch->by_hand) judge_row(c, database, branch->gid);
    }
}

bool checks_all_have_seen(const struct checks *c, uint64_t epoch) {
  for (unsigned i = 0; i < c->database_count; i++)
    if (c->claims[i].epoch < epoch) return false;
  return true;
}

/* ---- life ------------------------------------------------------------------------------------- */

struct outcomes checks_outcomes(const struct checks *c) {
  struct outcomes outcomes = {0};
  for (size_t i = 0; i < c->count; i++) {
    const struct wal_record *record = known_decision(c, c->seen[i].txid.text);
    enum wal_outcome outcome = record ? record->outcome : WAL_OUTCOME_ABORTED;
    outcomes.committed += outcome == WAL_OUTCOME_COMMITTED;
    outcomes.aborted += outcome == WAL_OUTCOME_ABORTED;
    outcomes.mixed += outcome == WAL_OUTCOME_MIXED;
    outcomes.unknown += outcome == WAL_OUTCOME_NONE;
  }
  return outcomes;
}

size_t checks_count(const struct checks *c) {
  return c->count;
}

const char *checks_txid(const struct checks *c, size_t index) {
  assert(index < c->count);
  return c->seen[index].txid.text;
}

void checks_set_disk(struct checks *c, const struct disk *disk) {
  c->disk = disk;
}

struct checks *checks_new(struct sim *sim, struct sim_database **databases, unsigned count) {
  struct checks *c = calloc(1, sizeof *c);
  if (!c) abort();
  c->sim = sim;
  c->database_count = count;
  for (unsigned i = 0; i < count; i++) {
    c->databases[i] = databases[i];
    c->money += sim_database_money(databases[i]);
    sim_database_watch(databases[i], on_database, c);
  }
  return c;
}

void checks_free(struct checks *c) {
  free(c->seen);
  free(c->old_runs);
  free(c);
}
