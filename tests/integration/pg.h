/* A throwaway PostgreSQL server and the adapter on a loop, as a test wants them: each call here
 * runs the loop until its answer has come.
 *
 * One server is shared by all cases of the program; pg_setup() gives each the same tables and
 * nothing prepared. Anything that goes wrong in here ends the program: a test cannot go on without.
 */
#ifndef ASSENT_TESTS_INTEGRATION_PG_H
#define ASSENT_TESTS_INTEGRATION_PG_H

#include "adapters/adapter.h"
#include "cli/throwaway.h"
#include "common/loop.h"

enum { PG_CALL_TIMEOUT_MS = 5000, PG_GID_COUNT = 8 };

struct pg {
  struct throwaway_server *server;
  struct loop *loop;
  struct adapter *adapter, *another;
  char dsn[THROWAWAY_DSN_SIZE];
  struct cluster_id cluster;
  char gid[PG_GID_COUNT][GID_SIZE]; /* new ones for each test */
};

/* Tables: account(id, balance >= 0), rows 1 and 2 with 100 each; late(id), whose uniqueness is
 * deferred, row 1. Databases: bank, other. Roles: bob, without rights. The server has a synchronous
 * standby that never comes, and synchronous_commit is local: who sets it to on waits for ever. */
void pg_setup(struct pg *pg);
void pg_teardown(struct pg *pg);

void pg_sql(const char *dsn, const char *sql);
int64_t pg_int(const char *dsn, const char *sql);
void pg_restart(struct pg *pg); /* after a kill or stop */

/* What came of a call; the fields its callback fills. Begins as zeros. */
struct pg_answer {
  struct loop *loop;
  unsigned count; /* of callbacks */
  enum session_ran ran;
  bool reusable;
  char xid[XID_SIZE];
  char *results; /* freed at the next run with this struct, and by pg_answer_clear() */
  struct cause cause;
  enum session_finished finished;
  enum branch_outcome outcome;
  enum session_looked looked;
  enum xact_status status;
  enum session_claimed claimed;
  struct epoch_known known;
  struct session_identity identity;
  struct prepared_branch branches[PG_GID_COUNT];
  size_t branch_count;
  struct session_probe probe;
  struct error err;
};
void pg_answer_clear(struct pg_answer *answer);

/* A session of pg->adapter; failure ends the program. */
struct session *pg_open(struct pg *pg);
struct session *pg_open_named(struct pg *pg, const char *name, int64_t call_timeout_ms);
void pg_close(struct pg *pg, struct session *session);
/* Of another adapter: another database or user. The adapter is freed by pg_teardown(). */
struct session *pg_open_as(struct pg *pg, const char *dbname, const char *more,
                           struct pg_answer *answer);
/* How often a session was told that it is lost, while nothing was asked, since the last pg_open. */
unsigned pg_lost_count(void);

/* Starting a call, and waiting for `count` answers. */
void pg_run_begin(struct pg *pg, struct session *session, enum run_end end, const char *gid,
                  const struct statement *statements, size_t count, struct pg_answer *answer);
void pg_wait(struct pg *pg, struct pg_answer *answer, unsigned count);
/* Runs the loop until the server sees the condition, a query for one integer that is not 0. */
void pg_wait_for(struct pg *pg, const char *condition);

/* One or more statements by their text, without expectations: ends with NULL. */
void pg_run(struct pg *pg, struct session *session, enum run_end end, const char *gid,
            struct pg_answer *answer, ...) __attribute__((sentinel));
void pg_finish(struct pg *pg, struct session *session, const char *gid, bool commit,
               struct pg_answer *answer);

/* The callbacks, for calls without a helper. `data` is the struct pg_answer. */
void pg_on_ran(void *data, const struct session_result *result);
void pg_on_finished(void *data, enum session_finished finished, const struct cause *cause);
void pg_on_committed(void *data, enum branch_outcome outcome, const struct cause *cause);
void pg_on_looked(void *data, enum session_looked looked, const char *xid,
                  const struct cause *cause);
void pg_on_status(void *data, enum xact_status status, const struct cause *cause);
void pg_on_listed(void *data, const struct prepared_branch *branches, size_t count,
                  const struct error *err);
void pg_on_done(void *data, const struct error *err);
void pg_on_claimed(void *data, enum session_claimed claimed, const struct epoch_known *known,
                   const struct cause *cause);
void pg_on_probed(void *data, const struct session_probe *probe, const struct error *err);
void pg_on_opened(void *data, const struct session_identity *identity, const struct error *err);
void pg_on_lost(void *data, const struct error *err);

#endif
