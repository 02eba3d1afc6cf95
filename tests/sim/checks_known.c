/* What is known of transactions and branches: from the databases, the disk, and the clients. */
#include "tests/sim/checks_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct seen *known_find(const struct checks *c, const char *txid) {
  for (size_t i = 0; i < c->count; i++)
    if (strcmp(c->seen[i].txid.text, txid) == 0) return &c->seen[i];
  return NULL;
}

struct seen *known_of(struct checks *c, const char *txid) {
  struct seen *seen = known_find(c, txid);
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

struct seen_branch *known_branch_find(struct seen *seen, const char *gid) {
  for (unsigned i = 0; seen && i < seen->branch_count; i++)
    if (strcmp(seen->branches[i].gid, gid) == 0) return &seen->branches[i];
  return NULL;
}

struct seen_branch *known_branch_of(struct seen *seen, const char *gid, unsigned database) {
  struct seen_branch *branch = known_branch_find(seen, gid);
  if (branch) return branch;
  assert(seen->branch_count < BRANCHES_KNOWN_MAX);
  branch = &seen->branches[seen->branch_count++];
  *branch = (struct seen_branch){.database = database};
  (void)snprintf(branch->gid, sizeof branch->gid, "%s", gid);
  return branch;
}

unsigned known_database(const struct checks *c, const char *participant) {
  for (unsigned i = 0; i < c->database_count; i++)
    if (strcmp(database_name(i), participant) == 0) return i;
  assert(false && "a participant");
  return 0;
}

const char *known_truth_name(enum sim_truth truth) {
  switch (truth) {
  case SIM_NEVER: return "never";
  case SIM_OPEN: return "open";
  case SIM_PREPARED: return "prepared";
  case SIM_COMMITTED: return "committed";
  case SIM_ABORTED: return "aborted";
  }
  return "?";
}

enum sim_truth known_truth(const struct checks *c, const struct wal_branch *branch) {
  return sim_database_truth(c->databases[known_database(c, branch->participant)], branch->gid);
}

bool known_wrote(const struct checks *c, const struct wal_branch *branch) {
  return sim_database_wrote(c->databases[known_database(c, branch->participant)], branch->gid);
}

bool known_hazard(const struct checks *c, const struct wal_branch *branch) {
  return sim_database_is_hazard(c->databases[known_database(c, branch->participant)], branch->gid);
}

const struct wal_branch *known_branch_in(const struct wal_record *record, const char *gid) {
  for (size_t i = 0; i < record->branch_count; i++)
    if (strcmp(record->branches[i].gid, gid) == 0) return &record->branches[i];
  return NULL;
}

/* The durable decision of a transaction; NULL: none. */
const struct wal_record *known_decision(const struct checks *c, const char *txid) {
  const struct disk_entry *entry = disk_find(c->disk, txid);
  return entry && entry->record->kind != WAL_KIND_ABORTED ? entry->record : NULL;
}

/* Its outcome is what the sole branch's end was. */
bool known_delegated(const struct wal_record *record) {
  return record && record->kind == WAL_KIND_DELEGATED;
}

bool known_has_hazard(const struct checks *c, const struct seen *seen) {
  for (unsigned i = 0; i < seen->branch_count; i++)
    if (sim_database_is_hazard(c->databases[seen->branches[i].database], seen->branches[i].gid))
      return true;
  return false;
}

/* It was told that it cannot be known how one of its branches ended: on a server that is gone, or too
 * long ago. */
bool known_unverifiable(const struct checks *c, const struct seen *seen) {
  bool forgotten = sim_fault_count(c->sim, SIM_STATUS_FORGOTTEN) > 0;
  for (unsigned i = 0; i < seen->branch_count; i++)
    if (c->replaced[seen->branches[i].database] || forgotten)
      return disk_is_audited(c->disk, seen->txid.text, "heuristic_hazard");
  return false;
}
const char *known_outcome_name(enum wal_outcome outcome) {
  switch (outcome) {
  case WAL_OUTCOME_NONE: return "nothing";
  case WAL_OUTCOME_COMMITTED: return "committed";
  case WAL_OUTCOME_ABORTED: return "aborted";
  case WAL_OUTCOME_MIXED: return "mixed";
  }
  return "?";
}
