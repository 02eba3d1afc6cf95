/* What must hold, whatever happens: the invariants of docs/reliability.md, by number.
 *
 *   1 no transaction with one committed and one rolled-back branch    9 writers of the same rows in the
 *   2 at most one decision a transaction                                same order everywhere
 *   3 commit only with a yes of every writer                         10 nothing foreign touched
 *   4 an outcome once told neither changes nor disappears            11 epochs never fall
 *   5 no commit sent before its decision is durable                  12 forgotten: confirmed everywhere
 *   6 states only move forward                                       13 every heuristic surfaced
 *   7 at rest: nothing prepared, nothing open, nothing live          14 tables bounded
 *   8 money is conserved                                             15 same seed, same trace
 *
 * A declared hazard (a lossy failover, somebody's hand) excuses the branches that it concerns, and no
 * others.
 */
#ifndef ASSENT_TESTS_SIM_CHECKS_H
#define ASSENT_TESTS_SIM_CHECKS_H

#include "tests/sim/database.h"
#include "tests/sim/disk.h"

struct checks;

struct checks *checks_new(struct sim *sim, struct sim_database **databases, unsigned count);
void checks_free(struct checks *checks);
/* The log that counts; the operator puts the right one back after every mistake. */
void checks_set_disk(struct checks *checks, const struct disk *disk);

/* ---- while it runs ---------------------------------------------------------------------------- */

void checks_decide(const struct process *process, const struct wal_record *record);
void checks_durable(const struct process *process, const struct wal_record *record);
void checks_end(const struct process *process, const struct wal_record *record,
                enum wal_outcome outcome);
/* The first statements of a branch go to the database. */
void checks_begin(const struct process *process, unsigned database, const char *gid);
/* `xid` NULL: COMMIT PREPARED; else COMMIT of the open transaction. */
void checks_commit_sent(const struct process *process, unsigned database, const char *gid,
                        const char *xid);
void checks_claimed(const struct process *process, unsigned database,
                    const struct epoch_claim *claim);
/* An agent has answered a fence: from now on nothing of an older epoch becomes prepared there. */
void checks_fenced(const struct process *process, unsigned database,
                   const struct cluster_id *cluster, uint64_t epoch);
/* A coordinator's life on an old log has begun: it must be refused by everybody. */
void checks_old_run(struct checks *checks, const char *run_id);
/* Has every database granted this epoch, or a later one? */
bool checks_all_have_seen(const struct checks *checks, uint64_t epoch);
/* Somebody's hand is at work; or a lossy failover, which may forget an epoch. */
void checks_hand(struct checks *checks, bool at_work);
void checks_failover(struct checks *checks, unsigned database, bool lossy);
bool checks_is_lossy(const struct checks *checks);

/* ---- what clients are told -------------------------------------------------------------------- */

struct told {
  const char *txid;
  const char *state, *outcome; /* NULL: not told */
  unsigned life;               /* of the coordinator that has told it; 0: not sure which */
};
void checks_told(struct checks *checks, const struct told *told);
void checks_external(struct checks *checks, unsigned database, const char *text);
/* One of the statements in this database cannot be carried out as asked. */
void checks_hopeless(struct checks *checks, const char *txid, unsigned database);
void checks_told_nothing(struct checks *checks, const char *txid);  /* 404 */
void checks_told_refused(struct checks *checks, const char *label); /* "nothing was done" */

/* ---- at the end ------------------------------------------------------------------------------- */

/* Can this transaction not come to its end? by a declared hazard, or because after a failover
 * nobody can say how a branch ended on the former server, which the log must have on record. */
bool checks_is_excused(const struct checks *checks, const char *txid);
/* Is anything prepared that should not stay so? Not of a transaction that cannot come to its end. */
bool checks_is_prepared(const struct checks *checks, unsigned database);
void checks_at_rest(struct checks *checks);

struct outcomes {
  unsigned committed, aborted, mixed, unknown;
};
struct outcomes checks_outcomes(const struct checks *checks);
size_t checks_count(const struct checks *checks);
const char *checks_txid(const struct checks *checks, size_t index);

#endif
