/* See checks.h. The checks know what was decided (from the disk), what has become of each branch (from
 * the databases), and what clients were told; they know nothing of what the code under test believes.
 */
#include "tests/sim/checks.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/life.h"

enum { BRANCHES_KNOWN_MAX = 8, REFUSED_MAX = 64 };

struct seen_branch {
  char gid[GID_SIZE];
  unsigned database;
  bool by_hand;  /* somebody has ended it */
  bool external; /* an application prepares it, whenever it likes */
};

/* A transaction that the databases or the clients have seen. */
struct seen {
  struct txid txid;
  struct seen_branch branches[BRANCHES_KNOWN_MAX];
  unsigned branch_count;
  enum wal_outcome told; /* NONE: nothing yet */
  unsigned rank, rank_life;
};

struct checks {
  struct sim *sim;
  struct sim_database *databases[DATABASES_MAX];
  unsigned database_count;
  int64_t money;
  const struct disk *disk;
  struct seen *seen;
  size_t count, capacity;
  struct epoch_claim claims[DATABASES_MAX];
  bool replaced[DATABASES_MAX], lossy[DATABASES_MAX]; /* by a failover */
  bool hand;
  char (*old_runs)[RUN_ID_SIZE]; /* coordinators on old logs */
  size_t old_run_count;
  char refused[REFUSED_MAX][32];
  size_t refused_count;
};

/* ---- what is known of whom -------------------------------------------------------------------- */

static struct seen *seen_find(const struct checks *c, const char *txid) {
  for (size_t i = 0; i < c->count; i++)
    if (strcmp(c->seen[i].txid.text, txid) == 0) return &c->seen[i];
  return NULL;
}

static struct seen *seen_of(struct checks *c, const char *txid) {
  struct seen *seen = seen_find(c, txid);
  if (seen) return seen;
  if (c->count == c->capacity) {
    c->capacity = c->capacity ? 2 * c->capacity : 32;
    c->seen = realloc(c->seen, c->capacity * sizeof *c->seen);
    if (!c->seen) abort();
  }
  seen = &c->seen[c->count++];
  *seen = (struct seen){0};
  (void)snprintf(seen->txid.text, sizeof seen->txid.text, "%s", txid);
  return seen;
}

static struct seen_branch *branch_find(struct seen *seen, const char *gid) {
  for (unsigned i = 0; seen && i < seen->branch_count; i++)
    if (strcmp(seen->branches[i].gid, gid) == 0) return &seen->branches[i];
  return NULL;
}

static struct seen_branch *branch_of(struct seen *seen, const char *gid, unsigned database) {
  struct seen_branch *branch = branch_find(seen, gid);
  if (branch) return branch;
  assert(seen->branch_count < BRANCHES_KNOWN_MAX);
  branch = &seen->branches[seen->branch_count++];
  *branch = (struct seen_branch){.database = database};
  (void)snprintf(branch->gid, sizeof branch->gid, "%s", gid);
  return branch;
}

static unsigned database_of(const struct checks *c, const char *participant) {
  for (unsigned i = 0; i < c->database_count; i++)
    if (strcmp(database_name(i), participant) == 0) return i;
  assert(false && "a participant");
  return 0;
}

static const char *truth_name(enum sim_truth truth) {
  switch (truth) {
  case SIM_NEVER: return "never";
  case SIM_OPEN: return "open";
  case SIM_PREPARED: return "prepared";
  case SIM_COMMITTED: return "committed";
  case SIM_ABORTED: return "aborted";
  }
  return "?";
}

static enum sim_truth truth_of(const struct checks *c, const struct wal_branch *branch) {
  return sim_database_truth(c->databases[database_of(c, branch->participant)], branch->gid);
}

static bool wrote(const struct checks *c, const struct wal_branch *branch) {
  return sim_database_wrote(c->databases[database_of(c, branch->participant)], branch->gid);
}

static bool is_hazard(const struct checks *c, const struct wal_branch *branch) {
  return sim_database_is_hazard(c->databases[database_of(c, branch->participant)], branch->gid);
}

static const struct wal_branch *branch_in(const struct wal_record *record, const char *gid) {
  for (size_t i = 0; i < record->branch_count; i++)
    if (strcmp(record->branches[i].gid, gid) == 0) return &record->branches[i];
  return NULL;
}

/* The durable decision of a transaction; NULL: none. */
static const struct wal_record *decision_of(const struct checks *c, const char *txid) {
  const struct disk_entry *entry = disk_find(c->disk, txid);
  return entry && entry->record->kind != WAL_KIND_ABORTED ? entry->record : NULL;
}

/* Its outcome is what the sole branch's end was. */
static bool is_delegated(const struct wal_record *record) {
  return record && record->kind == WAL_KIND_DELEGATED;
}

static bool has_hazard(const struct checks *c, const struct seen *seen) {
  for (unsigned i = 0; i < seen->branch_count; i++)
    if (sim_database_is_hazard(c->databases[seen->branches[i].database], seen->branches[i].gid))
      return true;
  return false;
}

/* It was told that nobody can know how a branch there ended: on a server that is gone, or too long ago.
 */
static bool is_told_unknown(const struct checks *c, const struct seen *seen, unsigned database) {
  bool forgotten = sim_fault_count(c->sim, SIM_STATUS_FORGOTTEN) > 0;
  return (c->replaced[database] || forgotten) &&
         disk_is_audited(c->disk, seen->txid.text, "heuristic_hazard");
}

static bool is_unverifiable(const struct checks *c, const struct seen *seen) {
  for (unsigned i = 0; i < seen->branch_count; i++)
    if (is_told_unknown(c, seen, seen->branches[i].database)) return true;
  return false;
}

/* ---- databases -------------------------------------------------------------------------------- */

/* Is there a durable decision to commit just this? */
static bool may_commit(const struct checks *c, const char *txid, const char *gid, const char *xid) {
  const struct wal_record *record = decision_of(c, txid);
  const struct wal_branch *branch = record ? branch_in(record, gid) : NULL;
  return branch && (!xid || strcmp(branch->xid, xid) == 0);
}

static void judge_end(struct checks *c, const char *txid, const char *gid, const char *xid,
                      enum sim_truth now) {
  const struct sim_database *db = c->databases[branch_find(seen_find(c, txid), gid)->database];
  if (now == SIM_COMMITTED && sim_database_wrote(db, gid) && !may_commit(c, txid, gid, xid))
    sim_violation(c->sim, 5, "%s (xid %s) has committed without a durable decision", gid, xid);
  if (now == SIM_COMMITTED && sim_database_lacks_row(db, gid))
    sim_violation(c->sim, 12, "%s (xid %s) has committed and leaves no row", gid, xid);
  const struct wal_record *record = decision_of(c, txid);
  if (now == SIM_ABORTED && record && record->kind == WAL_KIND_COMMIT &&
      may_commit(c, txid, gid, xid))
    sim_violation(c->sim, 1, "%s (xid %s) has been rolled back, though commit is decided", gid,
                  xid);
}

static void on_database(void *data, struct sim_database *db, const char *gid, const char *xid,
                        enum sim_truth now) {
  struct checks *c = data;
  struct gid parsed;
  unsigned database = 0;
  while (c->databases[database] != db)
    database++;
  sim_trace(c->sim, "%s: %s (xid %s) is %s", database_name(database), gid, xid, truth_name(now));
  if (!gid_parse(gid, &parsed) || strcmp(parsed.cluster.text, disk_cluster(c->disk)->text) != 0)
    return;
  struct seen_branch *branch = branch_of(seen_of(c, parsed.txid.text), gid, database);
  if (c->hand) branch->by_hand = true;
  if (c->hand || sim_database_is_hazard(db, gid) || !xid[0]) return;
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

void checks_decide(const struct process *process, const struct wal_record *record) {
  struct checks *c = process->checks;
  if (!process->rightful) {
    sim_violation(c->sim, 11, "a coordinator on an old log decides %s", record->txid.text);
    return;
  }
  if (decision_of(c, record->txid.text))
    sim_violation(c->sim, 2, "%s is decided again", record->txid.text);
  for (size_t i = 0; i < record->branch_count; i++) {
    const struct wal_branch *branch = &record->branches[i];
    if (branch->read_only || is_hazard(c, branch)) continue;
    enum sim_truth truth = truth_of(c, branch);
    if (record->kind == WAL_KIND_COMMIT && truth != SIM_PREPARED)
      sim_violation(c->sim, 3, "commit is decided, and %s is %s", branch->gid, truth_name(truth));
    if (!branch->xid[0]) sim_violation(c->sim, 3, "a decision names no xid of %s", branch->gid);
  }
}

void checks_durable(const struct process *process, const struct wal_record *record) {
  sim_trace(process->sim, "durable: %s %s", record->txid.text,
            record->kind == WAL_KIND_COMMIT ? "commit" : "delegated");
}

/* As prepared, after it has been rolled back: prepared late, or again by a lossy failover. */
static bool may_come_back(const struct checks *c, const struct wal_branch *branch) {
  struct gid gid;
  bool known = gid_parse(branch->gid, &gid);
  const struct seen_branch *seen =
      known ? branch_find(seen_find(c, gid.txid.text), branch->gid) : NULL;
  return (seen && seen->external) || c->lossy[database_of(c, branch->participant)];
}

void checks_end(const struct process *process, const struct wal_record *record,
                enum wal_outcome outcome) {
  struct checks *c = process->checks;
  if (!process->rightful) return;
  for (size_t i = 0; i < record->branch_count; i++) {
    const struct wal_branch *branch = &record->branches[i];
    if (branch->read_only || outcome == WAL_OUTCOME_MIXED || is_hazard(c, branch)) continue;
    enum sim_truth truth = truth_of(c, branch);
    /* What came back has been confirmed once, before it did: it is found by the next listing. */
    bool back = truth == SIM_PREPARED && may_come_back(c, branch);
    bool confirmed = outcome == WAL_OUTCOME_COMMITTED
                         ? truth == SIM_COMMITTED
                         : truth != SIM_PREPARED && !(truth == SIM_COMMITTED && wrote(c, branch));
    if (!confirmed && !back)
      sim_violation(c->sim, 12, "%s ends %s, and %s is %s", record->txid.text,
                    outcome == WAL_OUTCOME_COMMITTED ? "committed" : "aborted", branch->gid,
                    truth_name(truth));
  }
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
}

bool checks_all_have_seen(const struct checks *c, uint64_t epoch) {
  for (unsigned i = 0; i < c->database_count; i++)
    if (c->claims[i].epoch < epoch) return false;
  return true;
}

/* ---- clients ---------------------------------------------------------------------------------- */

static enum wal_outcome outcome_parse(const char *outcome) {
  if (!outcome) return WAL_OUTCOME_NONE;
  if (strcmp(outcome, "committed") == 0) return WAL_OUTCOME_COMMITTED;
  return strcmp(outcome, "aborted") == 0 ? WAL_OUTCOME_ABORTED : WAL_OUTCOME_MIXED;
}

static const char *outcome_name(enum wal_outcome outcome) {
  switch (outcome) {
  case WAL_OUTCOME_NONE: return "nothing";
  case WAL_OUTCOME_COMMITTED: return "committed";
  case WAL_OUTCOME_ABORTED: return "aborted";
  case WAL_OUTCOME_MIXED: return "mixed";
  }
  return "?";
}

static unsigned rank_of(const char *state) {
  static const char *const states[] = {"open", "preparing", "committing", "aborting"};
  for (unsigned i = 0; state && i < 4; i++)
    if (strcmp(states[i], state) == 0) return i < 3 ? i + 1 : 3;
  return 4;
}

/* What was told before, and is told now. */
static bool may_follow(const struct checks *c, const struct seen *seen, enum wal_outcome now) {
  if (seen->told == now || seen->told == WAL_OUTCOME_NONE) return true;
  if (is_delegated(decision_of(c, seen->txid.text)) && now == WAL_OUTCOME_NONE)
    return true; /* until the branch has been asked again */
  return has_hazard(c, seen) && now != WAL_OUTCOME_NONE;
}

void checks_told(struct checks *c, const struct told *told) {
  struct seen *seen = seen_of(c, told->txid);
  enum wal_outcome outcome = outcome_parse(told->outcome);
  unsigned rank = rank_of(told->state);
  if (!may_follow(c, seen, outcome))
    sim_violation(c->sim, 4, "%s was told %s, and is now told %s", told->txid,
                  outcome_name(seen->told), outcome_name(outcome));
  const struct wal_record *record = decision_of(c, told->txid);
  if (outcome == WAL_OUTCOME_COMMITTED && !record)
    sim_violation(c->sim, 5, "%s is told committed, and no decision is durable", told->txid);
  if (outcome == WAL_OUTCOME_ABORTED && record && !is_delegated(record))
    sim_violation(c->sim, 4, "%s is told aborted, and commit is durable", told->txid);
  if (told->life && told->life == seen->rank_life && rank < seen->rank)
    sim_violation(c->sim, 6, "%s has gone back to %s", told->txid, told->state);
  if (told->life) {
    seen->rank = rank;
    seen->rank_life = told->life;
  }
  if (outcome != WAL_OUTCOME_NONE) seen->told = outcome;
}

void checks_external(struct checks *c, unsigned database, const char *text) {
  struct gid gid;
  if (gid_parse(text, &gid))
    branch_of(seen_of(c, gid.txid.text), text, database)->external = true;
  else
    sim_violation(c->sim, 4, "%s is told as a gid", text);
}

void checks_told_nothing(struct checks *c, const char *txid) {
  struct seen *seen = seen_of(c, txid);
  /* Between the alarm and its line in the log a crash may come. */
  bool lost = seen->told == WAL_OUTCOME_MIXED && !disk_is_audited(c->disk, txid, "heuristic_mixed");
  if (seen->told == WAL_OUTCOME_COMMITTED || (seen->told == WAL_OUTCOME_MIXED && !lost))
    sim_violation(c->sim, 4, "%s was told %s, and is not known any more", txid,
                  outcome_name(seen->told));
  if (decision_of(c, txid)) sim_violation(c->sim, 4, "%s is decided, and is not known", txid);
}

void checks_told_refused(struct checks *c, const char *label) {
  if (c->refused_count == REFUSED_MAX) return;
  (void)snprintf(c->refused[c->refused_count++], sizeof c->refused[0], "%s", label);
}

/* ---- at rest ---------------------------------------------------------------------------------- */

bool checks_is_excused(const struct checks *c, const char *txid) {
  const struct seen *seen = seen_find(c, txid);
  return seen && (has_hazard(c, seen) || is_unverifiable(c, seen));
}

static void check_databases(struct checks *c) {
  for (unsigned i = 0; i < c->database_count; i++) {
    const struct sim_database *db = c->databases[i];
    if (sim_database_prepared_count(db) > 0)
      sim_violation(c->sim, 7, "%s still has %zu prepared transactions", database_name(i),
                    sim_database_prepared_count(db));
    if (sim_database_open_count(db) > 0)
      sim_violation(c->sim, 7, "%s still has %zu open transactions", database_name(i),
                    sim_database_open_count(db));
    if (sim_database_foreign_touched(db) > 0)
      sim_violation(c->sim, 10, "%s: somebody else's transaction was ended", database_name(i));
  }
}

static void check_money(struct checks *c) {
  int64_t money = 0;
  for (size_t i = 0; i < c->count; i++)
    if (has_hazard(c, &c->seen[i])) return;
  for (unsigned i = 0; i < c->database_count; i++)
    money += sim_database_money(c->databases[i]);
  if (money != c->money && !checks_is_lossy(c))
    sim_violation(c->sim, 8, "there was %lld, there is %lld", (long long)c->money,
                  (long long)money);
}

static void check_commit(struct checks *c, const struct disk_entry *entry) {
  const struct wal_record *record = entry->record;
  for (size_t i = 0; i < record->branch_count; i++) {
    const struct wal_branch *branch = &record->branches[i];
    if (branch->read_only || is_hazard(c, branch)) continue;
    if (truth_of(c, branch) != SIM_COMMITTED)
      sim_violation(c->sim, 1, "%s is committed, and %s is %s", record->txid.text, branch->gid,
                    truth_name(truth_of(c, branch)));
  }
}

static void check_delegated(struct checks *c, const struct disk_entry *entry) {
  const struct wal_record *record = entry->record;
  bool committed = truth_of(c, &record->branches[0]) == SIM_COMMITTED;
  if (is_hazard(c, &record->branches[0]) || !entry->ended) return;
  if (record->outcome == WAL_OUTCOME_NONE ||
      committed != (record->outcome == WAL_OUTCOME_COMMITTED))
    sim_violation(c->sim, 1, "%s is %s, and its branch is %s", record->txid.text,
                  outcome_name(record->outcome), truth_name(truth_of(c, &record->branches[0])));
}

static void check_refused(struct checks *c, const struct wal_record *record) {
  for (size_t i = 0; record->label && i < c->refused_count; i++)
    if (strcmp(record->label, c->refused[i]) == 0)
      sim_violation(c->sim, 4, "%s was refused as not done, and %s is decided", record->label,
                    record->txid.text);
}

static void check_decided(struct checks *c) {
  for (size_t i = 0; i < disk_count(c->disk); i++) {
    const struct disk_entry *entry = disk_at(c->disk, i);
    if (entry->record->kind == WAL_KIND_ABORTED) continue;
    if (!entry->ended && !checks_is_excused(c, entry->record->txid.text))
      sim_violation(c->sim, 7, "%s has not ended", entry->record->txid.text);
    if (entry->record->kind == WAL_KIND_COMMIT)
      check_commit(c, entry);
    else
      check_delegated(c, entry);
    check_refused(c, entry->record);
  }
}

/* Ended by hand against the decision to commit: it must be told, for ever. */
static void check_hand(struct checks *c, const struct seen *seen,
                       const struct seen_branch *branch) {
  const struct wal_record *record = decision_of(c, seen->txid.text);
  const struct wal_branch *decided = record ? branch_in(record, branch->gid) : NULL;
  if (!branch->by_hand || !decided || is_delegated(record) || checks_is_lossy(c)) return;
  if (truth_of(c, decided) != SIM_ABORTED) return;
  bool ended = disk_find(c->disk, seen->txid.text)->ended;
  if (is_told_unknown(c, seen, branch->database)) return;
  if ((ended && record->outcome != WAL_OUTCOME_MIXED) ||
      !disk_is_audited(c->disk, seen->txid.text, "heuristic_mixed"))
    sim_violation(c->sim, 13, "%s was rolled back by hand, and %s is %s", branch->gid,
                  seen->txid.text, outcome_name(record->outcome));
}

static void check_seen(struct checks *c, const struct seen *seen) {
  const struct wal_record *record = decision_of(c, seen->txid.text);
  for (unsigned i = 0; i < seen->branch_count; i++) {
    const struct seen_branch *branch = &seen->branches[i];
    struct sim_database *db = c->databases[branch->database];
    enum sim_truth truth = sim_database_truth(db, branch->gid);
    check_hand(c, seen, branch);
    if (sim_database_is_hazard(db, branch->gid)) continue;
    if (!record && truth == SIM_COMMITTED && sim_database_wrote(db, branch->gid))
      sim_violation(c->sim, 1, "%s was not decided, and %s has committed", seen->txid.text,
                    branch->gid);
  }
  bool told_committed = seen->told == WAL_OUTCOME_COMMITTED;
  if (told_committed && !record)
    sim_violation(c->sim, 4, "%s was told committed, and is not decided", seen->txid.text);
  if (seen->told == WAL_OUTCOME_ABORTED && record &&
      (!is_delegated(record) || record->outcome == WAL_OUTCOME_COMMITTED))
    sim_violation(c->sim, 4, "%s was told aborted, and has committed", seen->txid.text);
  if (told_committed && is_delegated(record) && record->outcome == WAL_OUTCOME_ABORTED &&
      !has_hazard(c, seen))
    sim_violation(c->sim, 4, "%s was told committed, and has aborted", seen->txid.text);
}

void checks_at_rest(struct checks *c) {
  check_databases(c);
  check_money(c);
  check_decided(c);
  for (size_t i = 0; i < c->count; i++)
    check_seen(c, &c->seen[i]);
}

/* ---- life ------------------------------------------------------------------------------------- */

struct outcomes checks_outcomes(const struct checks *c) {
  struct outcomes outcomes = {0};
  for (size_t i = 0; i < c->count; i++) {
    const struct wal_record *record = decision_of(c, c->seen[i].txid.text);
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
