/* What the checks know, shared by their files: see checks.h.
 *
 *   checks.c        what databases, logs and agents do, judged at once
 *   checks_told.c   what clients are told
 *   checks_rest.c   what must hold at rest
 *   checks_order.c  in which order it has come to that
 *   checks_known.c  what is known of transactions and branches
 */
#ifndef ASSENT_TESTS_SIM_CHECKS_INTERNAL_H
#define ASSENT_TESTS_SIM_CHECKS_INTERNAL_H

#include "tests/sim/checks.h"
#include "tests/sim/life.h"

enum { BRANCHES_KNOWN_MAX = 8, REFUSED_MAX = 64 };

struct seen_branch {
  char gid[GID_SIZE];
  unsigned database;
  bool by_hand;                /* somebody has ended it */
  bool external;               /* an application prepares it, whenever it likes */
  bool begun;                  /* its statements have been sent to the database */
  char prepared_xid[XID_SIZE]; /* that it was prepared with last */
};

/* A transaction that the databases or the clients have seen. */
struct seen {
  struct txid txid;
  struct seen_branch branches[BRANCHES_KNOWN_MAX];
  unsigned branch_count;
  enum wal_outcome told; /* NONE: nothing yet */
  unsigned rank, rank_life;
  unsigned hopeless; /* databases whose branch must never be prepared, as bits */
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
  uint64_t fenced[DATABASES_MAX];                     /* epochs whose fence was answered */
  bool replaced[DATABASES_MAX], lossy[DATABASES_MAX]; /* by a failover */
  bool hand;
  char (*old_runs)[RUN_ID_SIZE]; /* coordinators on old logs */
  size_t old_run_count;
  char refused[REFUSED_MAX][32];
  size_t refused_count;
};

/* At rest: no two transactions have come one before the other here, and the other way round there. */
void order_check(const struct checks *c);

/* ---- checks_known.c --------------------------------------------------------------------------- */

struct seen *known_find(const struct checks *c, const char *txid);
struct seen *known_of(struct checks *c, const char *txid);
/* NULL: not known. */
struct seen_branch *known_branch_find(struct seen *seen, const char *gid);
struct seen_branch *known_branch_of(struct seen *seen, const char *gid, unsigned database);
unsigned known_database(const struct checks *c, const char *participant);
const char *known_truth_name(enum sim_truth truth);
const char *known_outcome_name(enum wal_outcome outcome);
enum sim_truth known_truth(const struct checks *c, const struct wal_branch *branch);
bool known_wrote(const struct checks *c, const struct wal_branch *branch);
bool known_hazard(const struct checks *c, const struct wal_branch *branch);
const struct wal_branch *known_branch_in(const struct wal_record *record, const char *gid);
const struct wal_record *known_decision(const struct checks *c, const char *txid);
bool known_delegated(const struct wal_record *record);
bool known_has_hazard(const struct checks *c, const struct seen *seen);
bool known_unverifiable(const struct checks *c, const struct seen *seen);

#endif
