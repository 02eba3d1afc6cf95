/* What an agent needs of a database. PostgreSQL (postgres.c) is the first; only files in adapters/
 * know a client library. A model database stands behind the same calls in the simulator.
 *
 * A session is one connection. It does one thing at a time, except `finish`, of which many may be
 * under way on a control session (pipelined, one Sync each, so that one error skips no other).
 *
 *   opening --opened(ok)--> idle --run--> busy --ran--> idle | in transaction | broken
 *                            ^                              |
 *                            +---- rollback / commit <------+
 *
 * Every call ends in exactly one callback, on a later turn of the loop, also when the connection
 * breaks or the call's time is over. Timers live here, in the client: a server that hangs must not
 * hang us. After `close` no callback comes.
 *
 * What an answer proves is said in words, by one rule: a tag proves what it says, an SQLSTATE proves
 * what it says, everything else (a lost connection, a timeout, a warning where none belongs) proves
 * nothing and must be looked up.
 */
#ifndef ASSENT_ADAPTERS_ADAPTER_H
#define ASSENT_ADAPTERS_ADAPTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/loop.h"
#include "common/message.h"

struct adapter; /* one database: how to reach it, on which loop */
struct session;

/* What will be asked of it: branches have a time, that the server keeps, too. */
enum session_use { SESSION_FOR_CONTROL, SESSION_FOR_BRANCHES };

/* Who answered at connect. */
struct session_identity {
  char server[SERVER_SIZE]; /* "<system_identifier>/<timeline>/<database oid>" */
  int server_version;
  int backend_pid;
  int64_t prepared_max;
  uint64_t
      next_xid; /* every transaction that had ended here by then has a lower one; 0: not known */
  /* For people: a host or address, or the path of a socket, cut where it does not fit. */
  char host[128];
  uint16_t port; /* 0: not known */
  char database[64];
};

/* `err` NULL: the session is idle and not a standby. Else it is broken and must be closed; the text
 * says why ("max_prepared_transactions is 0: ..." is told by the agent from prepared_max, not here).
 * A standby is refused here, ERR_UNAVAILABLE, naming its identity. */
typedef void (*session_opened_fn)(void *data, const struct session_identity *identity,
                                  const struct error *err);
/* A connection that was idle or in transaction broke. Not called where another callback is due. */
typedef void (*session_lost_fn)(void *data, const struct error *err);

/* ---- a branch's work -------------------------------------------------------------------------- */

struct session_job {
  bool begin; /* BEGIN first (the session is idle); else it is in transaction */
  enum run_end end;
  const char *gid; /* for RUN_PREPARE */
  const struct statement *statements;
  size_t statement_count;
  int64_t timeout_ms; /* until the deadline: becomes statement, lock and idle timeouts, and, with
                         a grace, our own timer */
  /* Over either one the branch fails with CAUSE_LIMIT; what comes is dropped row by row, not held. */
  size_t result_rows_max, result_bytes_max;
};

enum session_ran {
  RAN_UNKNOWN, /* PREPARE may have happened (connection lost, timed out, or a warning): look the
                    gid up. The session is broken */
  RAN_FAILED,  /* rolled back, verified or certain; nothing can have been prepared. The session is
                    idle, or broken: see `reusable` */
  RAN_OPEN, /* statements done; in transaction. RUN_READY: xid is set if one is assigned, and a WAL
                   record of its own is written then, which a `barrier` makes durable; if none is, no
                   row was written, but a COMMIT may still have effects (NOTIFY) */
  RAN_PREPARED,  /* tag PREPARE TRANSACTION, no warning; idle again */
  RAN_READ_ONLY, /* RUN_PREPARE: no xid was assigned, PREPARE TRANSACTION took it all the same (it
                   refuses what would act at COMMIT only), and it has been ended; idle again */
  RAN_UNWANTED   /* as UNKNOWN, of a branch that has failed: what is found must not be voted for */
};

struct session_result {
  enum session_ran ran;
  bool reusable;       /* idle and reset: the next user finds no trace (settings, locks, cursors,
                          prepared statements, but what functions have prepared) of this one */
  char xid[XID_SIZE];  /* full xid, decimal; "" when none */
  const char *results; /* borrowed; JSON array, an element a statement that ran:
                          {"rows_affected":n,"columns":["a"],"rows":[[1,"x",null]]}; NULL if none.
                          int2/4/8, float4/8 (finite) and bool as JSON values, all else as the
                          database's text, null as null */
  struct cause cause;  /* FAILED, UNKNOWN, UNWANTED; cause.branch is not set here */
};
typedef void (*session_ran_fn)(void *data, const struct session_result *result);

/* ---- phase two, and the questions behind it --------------------------------------------------- */

enum session_finished {
  FINISH_LOST,      /* no answer, or one with a warning: ask again, or look up */
  FINISH_DONE,      /* tag COMMIT PREPARED or ROLLBACK PREPARED */
  FINISH_NOT_FOUND, /* 42704: proves nothing by itself */
  FINISH_BUSY,      /* 55000: another session holds it */
  FINISH_REFUSED    /* 42501, 0A000 and the like: it is there, and we may not */
};
typedef void (*session_finished_fn)(void *data, enum session_finished finished,
                                    const struct cause *cause);

enum xact_status {
  XACT_STATUS_LOST, /* no answer */
  XACT_STATUS_IN_PROGRESS,
  XACT_STATUS_COMMITTED,
  XACT_STATUS_ABORTED,  /* also: not assigned yet here (the cause says 22023). Of a durable xid of
                          this very server nothing has survived then; of another one it says
                          nothing */
  XACT_STATUS_FORGOTTEN /* too old to tell */
};
typedef void (*xact_status_fn)(void *data, enum xact_status status, const struct cause *cause);

enum session_looked {
  LOOKED_LOST,
  LOOKED_ABSENT,
  LOOKED_PREPARED, /* xid is set */
  LOOKED_REFUSED   /* prepared, xid is set, by a role whose transactions we may not end; the cause
                      names both. No barrier was waited for */
};
typedef void (*session_looked_fn)(void *data, enum session_looked looked, const char *xid,
                                  const struct cause *cause);

typedef void (*session_committed_fn)(void *data, enum branch_outcome outcome,
                                     const struct cause *cause);

/* `err` NULL: it was done. */
typedef void (*session_done_fn)(void *data, const struct error *err);

typedef void (*session_listed_fn)(void *data, const struct prepared_branch *branches, size_t count,
                                  const struct error *err);

/* The highest (epoch, run) seen of a cluster, kept in the database itself, where a restored backup of
 * the log cannot undo it. It follows a life that the log has had, and no other: `after`. */
struct epoch_claim {
  struct cluster_id cluster;
  uint64_t epoch;
  char run_id[RUN_ID_SIZE];
  uint64_t after_epoch; /* 0: the cluster must not be known here yet */
  char after_run_id[RUN_ID_SIZE];
  uint64_t former_epoch; /* one that is known elsewhere to have run here; 0: none */
};
struct epoch_known {
  uint64_t epoch; /* 0: none */
  char run_id[RUN_ID_SIZE];
  bool keeps_rows; /* the tables of rows are there, and may say that every branch leaves one */
};
enum session_claimed {
  CLAIM_LOST,
  CLAIM_GRANTED, /* durable: ours is the highest; claiming it again with the same run is granted
                    too. `known`: what was known before, without its run id */
  CLAIM_STALE,   /* `known` is another life than ours and than `after`, of whatever epoch; one older
                    than `after` is no hindrance */
  CLAIM_NO_RIGHTS /* we may not create or write schema assent: keep it elsewhere. `known`: what is
                     known there all the same, where we may read it */
};
typedef void (*session_claimed_fn)(void *data, enum session_claimed claimed,
                                   const struct epoch_known *known, const struct cause *cause);

/* Of any cluster, or of one. `txids` with a row: their branch here has committed. All borrowed. */
struct session_survey {
  const struct survey_life *lives;
  size_t life_count;
  const struct prepared_branch *branches;
  size_t branch_count;
  const struct txid *committed;
  size_t committed_count;
};
typedef void (*session_surveyed_fn)(void *data, const struct session_survey *survey,
                                    const struct error *err);

struct session_probe {
  int64_t prepared_count;     /* on the server, of anybody */
  int64_t prepared_others;    /* of them, with gids that do not begin as told */
  int64_t oldest_prepared_ms; /* -1: none */
  int64_t xmin_age; /* of the oldest snapshot, prepared transaction or slot seen, which keeps
                                 VACUUM from its work; in transactions */
  int64_t standbys; /* connected */
  bool synchronous; /* commits wait for some of them */
  int64_t latency_us;
};
typedef void (*session_probed_fn)(void *data, const struct session_probe *probe,
                                  const struct error *err);

typedef void (*session_blockers_fn)(void *data, const struct blocker *blockers, size_t count,
                                    const struct error *err);

/* ---- the calls -------------------------------------------------------------------------------- */

struct adapter_ops {
  void (*free)(struct adapter *adapter); /* after all its sessions */
  /* Before the first session: every branch prepared from now on leaves a row in the database when it
   * commits, and a claim notes since when. A branch that an application prepared is found only when
   * it leaves one, too (LOOKED_REFUSED else, of a look-up with barrier). */
  void (*leave_rows)(struct adapter *adapter);

  /* Starts connecting. application_name: at most 63 bytes. call_timeout_ms bounds connecting and
   * every call but run. Never NULL: failure comes through `opened`. */
  struct session *(*open)(struct adapter *adapter, enum session_use use,
                          const char *application_name, int64_t call_timeout_ms,
                          session_opened_fn opened, session_lost_fn lost, void *data);
  /* Drops the connection and all callbacks. NULL is allowed. */
  void (*close)(struct session *session);

  /* Idle (begin) or in transaction (not begin). One round trip where the end allows it. */
  void (*run)(struct session *session, const struct session_job *job, session_ran_fn fn,
              void *data);
  /* In transaction: ROLLBACK and reset. Cannot fail: a broken session has rolled back, too.
   * `reusable` in the result tells whether the session lives. */
  void (*rollback)(struct session *session, session_ran_fn fn, void *data);
  /* In transaction: COMMIT and reset. COMMITTED: tag COMMIT. ABORTED: an error, or tag ROLLBACK.
   * RETRY: no answer; ask xact_status. Then look at `is_idle`. */
  void (*commit)(struct session *session, session_committed_fn fn, void *data);
  bool (*is_idle)(const struct session *session);

  /* Control sessions: idle, or with other `finish` calls under way. The gid has been through
   * gid_parse(). */
  void (*finish)(struct session *session, const char *gid, bool commit, session_finished_fn fn,
                 void *data);

  /* Control sessions, idle only, one at a time: */

  /* Is this gid prepared in this database? With `barrier`, a yes also means that it is as durable as
   * synchronous_commit makes it: a small WAL record is committed after it and waited for, because a
   * gid is listed while its PREPARE still waits for a replica. */
  void (*look_up)(struct session *session, const char *gid, bool barrier, session_looked_fn fn,
                  void *data);
  /* COMMITTED is told after a barrier: a commit whose wait for a replica was cut is seen by all as
   * committed, though no replica has it. When the barrier fails: LOST. */
  void (*xact_status)(struct session *session, const char *xid, xact_status_fn fn, void *data);
  /* Commits a small WAL record and waits for it, as synchronous_commit says. With the answer all
   * that this server had written to its WAL before the call is as durable. */
  void (*barrier)(struct session *session, session_done_fn fn, void *data);
  /* Gids of this cluster in this database, any epoch, gid_parse()-able ones only. */
  void (*list)(struct session *session, const struct cluster_id *cluster, session_listed_fn fn,
               void *data);
  /* Ends sessions in this database whose application_name starts with `prefix` and is not `except`,
   * and waits until they are gone (no PREPARE of theirs can land after). */
  void (*end_sessions)(struct session *session, const char *prefix, const char *except,
                       session_done_fn fn, void *data);
  /* Cancels what backend_pid runs now. Advisory. */
  void (*cancel)(struct session *session, int backend_pid, session_done_fn fn, void *data);
  /* Whom does backend_pid wait for now? */
  void (*blockers)(struct session *session, int backend_pid, session_blockers_fn fn, void *data);
  void (*claim_epoch)(struct session *session, const struct epoch_claim *claim,
                      session_claimed_fn fn, void *data);
  /* `own`: how the gids begin that are not others'. */
  void (*probe)(struct session *session, const char *own, session_probed_fn fn, void *data);
  /* What the database knows of coordinators and their branches; it changes nothing. */
  void (*survey)(struct session *session, const struct survey_request *request,
                 session_surveyed_fn fn, void *data);
  /* Removes rows of transactions whose ids are less than this one, some at a time, and notes so. */
  void (*forget_rows)(struct session *session, const char *before_txid, session_done_fn fn,
                      void *data);
};

struct adapter {
  const struct adapter_ops *ops;
};

/* Is this a connection string or URI that libpq understands? ERR_CONFIG; never repeats it. */
enum error_code postgres_dsn_check(const char *dsn, struct error *err)
    __attribute__((warn_unused_result));

/* dsn: a libpq connection string or URI. It is checked here for syntax only: ERR_CONFIG, with the
 * password left out of the text. */
struct adapter *postgres_adapter_new(struct loop *loop, const char *dsn, struct error *err);

#endif
