/* A model of one PostgreSQL server with one database, behind adapters/adapter.h.
 *
 * It outlives agents and coordinators. What it models: sessions with their backends (which may
 * linger after their client has gone, and act on what is still in the socket's buffer), full
 * transaction ids in order of assignment, a WAL with a flush position (what is not flushed is lost
 * by a crash, and its xids are handed out again), prepared transactions, pg_xact_status, the
 * table assent.coordinator, accounts with row locks, synchronous and asynchronous standbys with a lag
 * and promotion (another timeline in the server's identity; prepared transactions lost or brought
 * back), warnings, wrong tags, foreign gids, and somebody who runs COMMIT or ROLLBACK PREPARED by
 * hand. What each answer proves follows adapter.h to the letter, as adapters/postgres*.c earns it.
 */
#ifndef ASSENT_TESTS_SIM_DATABASE_H
#define ASSENT_TESTS_SIM_DATABASE_H

#include "adapters/adapter.h"
#include "tests/sim/sim.h"

/* Of a branch; "SELECT generate_series" gives one more. */
enum { SIM_RESULT_ROWS_MAX = 16 };

struct sim_database;

struct sim_database_options {
  const char *name;
  bool has_standby;
  bool synchronous;  /* PREPARE and COMMIT wait for the standby */
  unsigned accounts; /* with ids from 1 */
  int64_t balance;   /* of each at the start */
  int64_t prepared_max;
};

struct sim_database *sim_database_new(struct sim *sim, const struct sim_database_options *options);
void sim_database_free(struct sim_database *db);

/* A client library's side of it, for one life of an agent on `loop`: the real adapter, with its crash
 * points, on a model of libpq. Once the loop's process is dead nothing leaves it any more. */
struct adapter *sim_database_adapter(struct sim_database *db, struct loop *loop);

/* An application's own session, that takes the account's lock, changes it and prepares; `done` tells,
 * later or at once. */
void sim_database_prepare(struct sim_database *db, const char *gid, unsigned account,
                          int64_t amount, void (*done)(void *data, bool prepared), void *data);

/* The statements it understands, one form for each: text of struct statement.sql, params as given.
 *   "UPDATE account"  params: account id, amount (may be negative): takes the row's lock, changes the balance;
 *            fails (23514) below zero; waits for the lock, until nine tenths of the job's timeout
 *            (55P03) or a deadlock inside this database (40P01); touches no row of an account there
 *            is not
 *   "SELECT balance"  params: account id: no xid; a row with its balance
 *   "SELECT 1/0"      fails with 22012
 * Results as adapter.h says. */

/* ---- faults that come from outside any session, asked for by the run's driver ------------------- */

void sim_database_kill(struct sim_database *db); /* and restarts by itself a while later */
/* Promotes the standby where there is one: synchronous loses nothing that was told; asynchronous may
 * lose what it had not received. false: none to promote. */
bool sim_database_failover(struct sim_database *db);
/* Somebody ends one of the prepared transactions by hand (HAND_COMMIT, HAND_ROLLBACK). */
void sim_database_meddle(struct sim_database *db);
/* What arrives from now on to end a branch's work (the end of its statements, COMMIT, ROLLBACK, of either
 * kind) is not begun for so long. */
void sim_database_stall(struct sim_database *db, uint64_t us);
/* Heals: it runs, rights are back, standbys have caught up. */
void sim_database_heal(struct sim_database *db);

/* ---- what the checks look at -------------------------------------------------------------------- */

/* How the branch with this gid has really ended, in the history that is in force now. */
enum sim_truth {
  SIM_NEVER, /* nothing of it has survived, or ever was */
  SIM_OPEN,  /* in transaction in some session */
  SIM_PREPARED,
  SIM_COMMITTED, /* its effects are in the accounts */
  SIM_ABORTED
};
enum sim_truth sim_database_truth(const struct sim_database *db, const char *gid);
/* Has it changed an account, in that history? One that has not may read SIM_COMMITTED whatever was
 * decided: the adapter ends it by COMMIT PREPARED at its vote (RAN_READ_ONLY), which may get lost. */
bool sim_database_wrote(const struct sim_database *db, const char *gid);
/* Has it committed in two phases without leaving the row that it should have left, by what
 * assent.outcome_kept says? */
bool sim_database_lacks_row(const struct sim_database *db, const char *gid);
/* Is what became of this transaction where a failover does not lose it? Always, when replicas are
 * asynchronous. */
bool sim_database_is_replicated(const struct sim_database *db, const char *xid);
/* A standby without it was promoted, or somebody ended it by hand, so that no protocol could keep
 * it: a declared heuristic hazard. */
bool sim_database_is_hazard(const struct sim_database *db, const char *gid);
/* Calls fn with each change of an account that a branch has committed, in the order of their commits. */
void sim_database_each_change(const struct sim_database *db,
                              void (*fn)(void *data, const char *gid, unsigned account),
                              void *data);
/* Is anything prepared that the standby has not received yet? */
bool sim_database_is_exposed(const struct sim_database *db);
/* Has a branch that changed nothing ended, and the standby has it as prepared? */
bool sim_database_exposes_reader(const struct sim_database *db);
/* Has a client ever received that this branch has committed? */
bool sim_database_was_told_committed(const struct sim_database *db, const char *gid);
int64_t sim_database_money(const struct sim_database *db);
/* Calls fn with the gid and the xid of each that is prepared, and not somebody else's. */
void sim_database_each_prepared(const struct sim_database *db,
                                void (*fn)(void *data, const char *gid, uint64_t xid), void *data);
/* Transactions in sessions: of branches, and ones that were left standing; not a barrier's or a
 * claim's own. */
size_t sim_database_open_count(const struct sim_database *db);
size_t sim_database_foreign_touched(const struct sim_database *db); /* must stay 0 */

/* Told of every event that ends or prepares a branch, at the moment it happens in the server. A gid
 * may come more than once (a repeated message; a failover brings it back). */
typedef void (*sim_database_fn)(void *data, struct sim_database *db, const char *gid,
                                const char *xid, enum sim_truth now);
void sim_database_watch(struct sim_database *db, sim_database_fn fn, void *data);

#endif
