/* What clients are told: once told, an outcome neither changes nor disappears. */
#include "tests/sim/checks_internal.h"

#include <stdio.h>
#include <string.h>

static enum wal_outcome outcome_parse(const char *outcome) {
  if (!outcome) return WAL_OUTCOME_NONE;
  if (strcmp(outcome, "committed") == 0) return WAL_OUTCOME_COMMITTED;
  return strcmp(outcome, "aborted") == 0 ? WAL_OUTCOME_ABORTED : WAL_OUTCOME_MIXED;
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
  if (known_delegated(known_decision(c, seen->txid.text)) && now == WAL_OUTCOME_NONE)
    return true; /* until the branch has been asked again */
  return known_has_hazard(c, seen) && now != WAL_OUTCOME_NONE;
}

void checks_told(struct checks *c, const struct told *told) {
  struct seen *seen = known_of(c, told->txid);
  enum wal_outcome outcome = outcome_parse(told->outcome);
  unsigned rank = rank_of(told->state);
  if (!may_follow(c, seen, outcome))
    sim_violation(c->sim, 4, "%s was told %s, and is now told %s", told->txid,
                  known_outcome_name(seen->told), known_outcome_name(outcome));
  const struct wal_record *record = known_decision(c, told->txid);
  if (outcome == WAL_OUTCOME_COMMITTED && !record)
    sim_violation(c->sim, 5, "%s is told committed, and no decision is durable", told->txid);
  if (outcome == WAL_OUTCOME_ABORTED && record && !known_delegated(record))
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
    known_branch_of(known_of(c, gid.txid.text), text, database)->external = true;
  else
    sim_violation(c->sim, 4, "%s is told as a gid", text);
}

void checks_hopeless(struct checks *c, const char *txid, unsigned database) {
  struct seen *seen = known_of(c, txid);
  seen->hopeless |= 1U << database;
  for (unsigned i = 0; i < seen->branch_count; i++) {
    const struct seen_branch *branch = &seen->branches[i];
    if (branch->database == database && branch->prepared_xid[0] && !branch->external)
      sim_violation(c->sim, 3, "%s was prepared, though not all of it was done", branch->gid);
  }
}

void checks_told_nothing(struct checks *c, const char *txid) {
  struct seen *seen = known_of(c, txid);
  const struct disk_entry *entry = disk_find(c->disk, txid);
  if (entry && entry->removed) return;
  /* Between the alarm and its line in the log a crash may come. */
  bool lost = seen->told == WAL_OUTCOME_MIXED && !disk_is_audited(c->disk, txid, "heuristic_mixed");
  if (seen->told == WAL_OUTCOME_COMMITTED || (seen->told == WAL_OUTCOME_MIXED && !lost))
    sim_violation(c->sim, 4, "%s was told %s, and is not known any more", txid,
                  known_outcome_name(seen->told));
  if (known_decision(c, txid)) sim_violation(c->sim, 4, "%s is decided, and is not known", txid);
}

void checks_told_refused(struct checks *c, const char *label) {
  if (c->refused_count == REFUSED_MAX) return;
  (void)snprintf(c->refused[c->refused_count++], sizeof c->refused[0], "%s", label);
}
