/* What must hold when the run has come to rest. */
#include "tests/sim/checks_internal.h"

#include <stdlib.h>
#include <string.h>

bool checks_is_excused(const struct checks *c, const char *txid) {
  const struct seen *seen = known_find(c, txid);
  if (!seen) return false;
  if (!known_has_hazard(c, seen)) return known_unverifiable(c, seen);
  return disk_is_audited(c->disk, txid, "heuristic_hazard"); /* first it has to be told */
}

struct prepared_search {
  const struct checks *checks;
  bool found;
};

/* Of an excused transaction another branch may be the one that nobody can end: this one is to commit. */
static bool is_to_commit(const struct checks *c, const struct gid *gid, const char *text,
                         uint64_t xid) {
  const struct wal_record *record = known_decision(c, gid->txid.text);
  if (!record || known_delegated(record)) return false;
  const struct wal_branch *branch = known_branch_in(record, text);
  return branch && strtoull(branch->xid, NULL, 10) == xid;
}

static void note_prepared(void *data, const char *text, uint64_t xid) {
  struct prepared_search *search = data;
  const struct checks *c = search->checks;
  struct gid gid;
  if (!gid_parse(text, &gid) || !checks_is_excused(c, gid.txid.text) ||
      is_to_commit(c, &gid, text, xid))
    search->found = true;
}

bool checks_is_prepared(const struct checks *c, unsigned database) {
  struct prepared_search search = {.checks = c};
  sim_database_each_prepared(c->databases[database], note_prepared, &search);
  return search.found;
}

static void check_databases(struct checks *c) {
  for (unsigned i = 0; i < c->database_count; i++) {
    const struct sim_database *db = c->databases[i];
    if (checks_is_prepared(c, i))
      sim_violation(c->sim, 7, "%s still has a prepared transaction", database_name(i));
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
    if (known_has_hazard(c, &c->seen[i])) return;
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
    if (branch->read_only || known_hazard(c, branch)) continue;
    if (known_truth(c, branch) != SIM_COMMITTED)
      sim_violation(c->sim, 1, "%s is committed, and %s is %s", record->txid.text, branch->gid,
                    known_truth_name(known_truth(c, branch)));
  }
}

static void check_delegated(struct checks *c, const struct disk_entry *entry) {
  const struct wal_record *record = entry->record;
  bool committed = known_truth(c, &record->branches[0]) == SIM_COMMITTED;
  if (known_hazard(c, &record->branches[0]) || !entry->ended) return;
  if (record->outcome == WAL_OUTCOME_NONE ||
      committed != (record->outcome == WAL_OUTCOME_COMMITTED))
    sim_violation(c->sim, 1, "%s is %s, and its branch is %s", record->txid.text,
                  known_outcome_name(record->outcome),
                  known_truth_name(known_truth(c, &record->branches[0])));
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
  const struct wal_record *record = known_decision(c, seen->txid.text);
  const struct wal_branch *decided = record ? known_branch_in(record, branch->gid) : NULL;
  if (!branch->by_hand || !decided || known_delegated(record) || checks_is_lossy(c)) return;
  if (known_truth(c, decided) != SIM_ABORTED) return;
  bool ended = disk_find(c->disk, seen->txid.text)->ended;
  bool forgotten = sim_fault_count(c->sim, SIM_STATUS_FORGOTTEN) > 0;
  if ((c->replaced[branch->database] || forgotten) &&
      disk_is_audited(c->disk, seen->txid.text, "heuristic_hazard"))
    return; /* nobody can know any more, and that is told */
  if ((ended && record->outcome != WAL_OUTCOME_MIXED) ||
      !disk_is_audited(c->disk, seen->txid.text, "heuristic_mixed"))
    sim_violation(c->sim, 13, "%s was rolled back by hand, and %s is %s", branch->gid,
                  seen->txid.text, known_outcome_name(record->outcome));
}

static void check_seen(struct checks *c, const struct seen *seen) {
  const struct wal_record *record = known_decision(c, seen->txid.text);
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
      (!known_delegated(record) || record->outcome == WAL_OUTCOME_COMMITTED))
    sim_violation(c->sim, 4, "%s was told aborted, and has committed", seen->txid.text);
  if (told_committed && known_delegated(record) && record->outcome == WAL_OUTCOME_ABORTED &&
      !known_has_hazard(c, seen))
    sim_violation(c->sim, 4, "%s was told committed, and has aborted", seen->txid.text);
}

void checks_at_rest(struct checks *c) {
  check_databases(c);
  check_money(c);
  check_decided(c);
  order_check(c);
  for (size_t i = 0; i < c->count; i++)
    check_seen(c, &c->seen[i]);
}
