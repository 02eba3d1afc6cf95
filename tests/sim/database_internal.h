/* Inside the model database. See database.h.
 *
 * The model stands where the server and libpq stand: the client's side is the real adapter
 * (adapters/postgres*.c), which calls the functions of libpq that database_libpq.c has instead of
 * the library's. So whatever the real adapter concludes from an answer is what runs here.
 *
 *   database.c          making and freeing one; what the checks look at
 *   database_wal.c      records, and the server's state as a fold over them; flushing, the standby
 *   database_locks.c    row locks: waiting, deadlocks
 *   database_backend.c  a session's process: commands come in, wait, and are answered
 *   database_execute.c  what a branch's session asks: BEGIN, statements, PREPARE, COMMIT
 *   database_ask.c      what a control session asks
 *   database_schema.c   schema assent: the epoch's claim, rows that branches leave, surveys
 *   database_faults.c   crashes, failovers, somebody's hand
 *   database_sql.c      which command a text is
 *   database_libpq.c    the library
 */
#ifndef ASSENT_TESTS_SIM_DATABASE_INTERNAL_H
#define ASSENT_TESTS_SIM_DATABASE_INTERNAL_H

#include <libpq-fe.h>
#include <uthash.h>

#include "adapters/postgres_kept.h"
#include "tests/sim/database.h"

enum {
  XID_FIRST = 700,
  GID_TEXT_SIZE = 128,
  PARAM_SIZE = 128,
  PARAMS_MAX = 6,
  CLAIMS_MAX = 8,
  LOCK_CLAIMS = 0, /* locks[0]: schema assent; locks[n]: account n, and behind them rows' keys */
  APPLICATION_SIZE = 64
};

/* ---- what is known of a gid, for the checks ---------------------------------------------------- */

struct gid_entry {
  char gid[GID_TEXT_SIZE];
  bool foreign;
  bool hazard;
  bool told_prepared;    /* a client has received a yes */
  bool told_committed;   /* a client has received that it is committed */
  unsigned open;         /* sessions in transaction for it */
  uint64_t newest;       /* the latest xid that was for it; 0: none */
  enum sim_truth before; /* a crash or a failover */
  UT_hash_handle hh;
};

/* ---- the write-ahead log ------------------------------------------------------------------------ */

enum record_kind {
  RECORD_CHANGE,  /* of an account */
  RECORD_MESSAGE, /* pg_logical_emit_message */
  RECORD_SCHEMA,  /* assent.coordinator was made */
  RECORD_KEPT,    /* assent.outcome and outcome_kept were made */
  RECORD_CLAIM,   /* and what of rows goes with it */
  RECORD_ROW,     /* of a branch */
  RECORD_FORGET,  /* of old rows */
  RECORD_PREPARE,
  RECORD_COMMIT, /* of a plain or of a prepared transaction */
  RECORD_ABORT
};

struct record {
  enum record_kind kind;
  uint64_t xid;
  struct gid_entry *gid; /* of the branch; NULL: not a branch's */
  size_t previous;       /* the xid's record before, + 1; 0: none */
  unsigned account;
  int64_t amount;
  struct life_known *life; /* owned */
  struct row *row;
  char before[TXID_SIZE]; /* FORGET */
  uint64_t at_us;
};

/* A row of assent.coordinator, and of assent.outcome_kept. */
struct life_known {
  struct epoch_claim claim; /* what it follows is of no interest any more */
  bool kept;
  uint64_t kept_from, kept_before; /* epochs; 0: null */
  char removed_before[TXID_SIZE];  /* "": null */
};

/* A row of assent.outcome, or its key while somebody is about to leave it. */
struct row {
  char key[TXID_SIZE + 12]; /* "<txid>/<branch>" */
  unsigned lock;
  bool there; /* for all to see */
  UT_hash_handle hh;
};

enum xact_state { XACT_NONE, XACT_RUNNING, XACT_PREPARED, XACT_COMMITTED, XACT_ABORTED };

struct xact {
  enum xact_state state;
  size_t last; /* its last record, + 1 */
  struct gid_entry *gid;
  uint64_t sibling; /* an older xid of the same gid; 0: none */
};

struct backend;

struct prepared {
  uint64_t xid;
  struct gid_entry *gid;
  uint64_t at_us;
  bool valid;           /* on the server's disk: listed */
  struct backend *busy; /* who prepares or finishes it */
  struct prepared *prev, *next;
};

struct lock {
  uint64_t holder; /* an xid; 0: free */
  struct backend *waiting;
};

/* ---- a backend ---------------------------------------------------------------------------------- */

enum command_kind {
  COMMAND_SYNC,
  COMMAND_BEGIN,
  COMMAND_SET_STATEMENT_TIMEOUT,
  COMMAND_SET_LOCK_TIMEOUT,
  COMMAND_SET_IDLE_TIMEOUT,
  COMMAND_SET_SYNCHRONOUS,
  COMMAND_ADD,
  COMMAND_READ,
  COMMAND_READ_MANY,
  COMMAND_FAIL,
  COMMAND_XID,
  COMMAND_XID_READY,
  COMMAND_PREPARE,
  COMMAND_COMMIT,
  COMMAND_ROLLBACK,
  COMMAND_DISCARD,
  COMMAND_RESET,
  COMMAND_PARSE, /* a text to be kept under a name */
  COMMAND_COMMIT_PREPARED,
  COMMAND_ROLLBACK_PREPARED,
  COMMAND_BARRIER,
  COMMAND_IDENTITY,
  COMMAND_RESET_VALUES,
  COMMAND_LOOK_UP,
  COMMAND_STATUS,
  COMMAND_LIST,
  COMMAND_CANCEL,
  COMMAND_BLOCKERS,
  COMMAND_TERMINATE,
  COMMAND_TERMINATE_WAIT,
  COMMAND_COUNT_OTHERS,
  COMMAND_PROBE,
  COMMAND_CLAIM_LOOK,
  COMMAND_CREATE_SCHEMA,
  COMMAND_CREATE_TABLE,
  COMMAND_CREATE_ROWS,
  COMMAND_CREATE_KEPT,
  COMMAND_CLAIM_WRITE,
  COMMAND_CLAIM_WRITE_ROWS_BEGIN,
  COMMAND_CLAIM_WRITE_ROWS_END,
  COMMAND_CLAIM_READ,
  COMMAND_LEAVE_ROW,
  COMMAND_SURVEY_LOOK,
  COMMAND_LIVES,
  COMMAND_ROWS,
  COMMAND_FORGET_ROWS,
  COMMAND_COUNT
};

struct command {
  enum command_kind kind;
  int64_t number;
  bool overwrites;                     /* a claim, whatever is known */
  char params[PARAMS_MAX][PARAM_SIZE]; /* a gid between quotes is the first */
  struct gid_entry *gid;               /* BEGIN: of the branch it is for */
  unsigned kept; /* PARSE: the number in its name; else that of the text used; 0: none */
  struct command *prev, *next;
};

/* What travels to the client: results, the ends of their queries, Syncs, notices. */
enum item_kind { ITEM_RESULT, ITEM_END, ITEM_SYNC, ITEM_NOTICE };
struct item {
  enum item_kind kind;
  PGresult *result;               /* owned; RESULT, NOTICE */
  PGTransactionStatusType status; /* SYNC */
  struct gid_entry *told;         /* who receives this item knows about this branch... */
  enum sim_truth told_what;       /* ...that it is prepared, or committed */
  struct item *prev, *next;
};

/* Commands on their way to the server. */
struct packet {
  struct backend *backend;
  struct command *commands;
  struct sim_event *event;
  uint64_t at_us;
  struct packet *prev, *next;
};

enum backend_wait {
  WAIT_INPUT,
  WAIT_TURN, /* for the processor; can be interrupted */
  WAIT_LOCK,
  WAIT_FLUSH,
  WAIT_REPLICA,
  WAIT_TERMINATION /* of other backends */
};

enum backend_tx { TX_NONE, TX_OPEN, TX_FAILED };

typedef void (*backend_fn)(struct backend *b);

struct model_timeouts {
  int64_t statement_ms, lock_ms, idle_ms; /* 0: none */
};

struct backend {
  struct sim_database *db;
  PGconn *conn; /* NULL: nobody hears it any more */
  int pid;
  bool on_standby;
  char application[APPLICATION_SIZE];
  struct packet *packets;
  struct command *inbox, *current;
  enum backend_wait wait;
  struct sim_event *event;    /* of the wait: its end, or its time */
  struct sim_event *deadlock; /* when to look for one */
  struct sim_event *end;      /* it notices that its client has gone */
  struct sim_event *idle;     /* idle in transaction for too long */
  bool idled;                 /* it has been */
  backend_fn then;            /* after the wait */
  backend_fn flushed, ended;  /* of a durable command: on disk; waited for, too */
  bool gone;                  /* the client has: end when there is no input left */
  bool cancelled, terminating;
  bool warn;               /* the answer comes with a warning */
  bool skip;               /* an error: nothing is done up to the next Sync */
  unsigned kept[KEPT_MAX]; /* texts prepared, by the numbers in their names */
  size_t kept_count;
  enum backend_tx tx;
  uint64_t xid;
  struct gid_entry *gid; /* of the branch in transaction */
  struct model_timeouts timeouts, timeouts_at_reset;
  uint64_t started_us; /* the command */
  size_t wait_lsn;
  unsigned lock; /* it waits for, or has waited for */
  backend_fn lock_then;
  bool lock_granted;
  struct prepared *finishing;
  struct item *output;
  void (*done)(void *data, bool prepared); /* an application's own session */
  void *done_data;
  bool done_well;
  struct backend *prev, *next;
  struct backend *lock_prev, *lock_next;
};

/* ---- the server --------------------------------------------------------------------------------- */

struct sim_database {
  struct sim *sim;
  struct sim_database_options options;
  char name[32];
  uint64_t system;
  unsigned timeline;
  bool up;
  struct sim_event *start;
  uint64_t stalled_until_us; /* what ends a branch waits until then */
  struct adapter_ops ops;    /* the real adapter's, with what has to know more */
  void (*real_free)(struct adapter *adapter);
  sim_database_fn watch;
  void *watch_data;

  struct record *records;
  size_t record_count, record_capacity;
  size_t flushed, flush_target;
  struct sim_event *flush;
  size_t received, ship_target; /* by the standby */
  uint64_t lag_us;              /* more, for the next that it receives */
  struct sim_event *ship;

  /* The fold over the records, and what is not in them. */
  struct xact *xacts; /* from XID_FIRST */
  size_t xact_capacity;
  uint64_t next_xid, forgotten; /* xids below that are too old to tell */
  int64_t *balance, *visible;   /* accounts from 1; what waits for a replica is not visible yet */
  struct prepared *prepared;
  uint64_t completed; /* the highest xid that has ended */
  bool has_schema, has_rows;
  struct life_known lives[CLAIMS_MAX];
  size_t life_count;
  struct row *rows;

  struct lock *locks;
  unsigned lock_count;
  struct backend *backends;
  int next_pid;
  struct gid_entry *gids;
  uint64_t rights_back_us, claims_back_us; /* refused until then */
  bool lost_by_failover;                   /* something may have been, by an asynchronous one */
  size_t foreign_touched, foreign_made;
};

/* ---- database.c ----------------------------------------------------------------------------------- */

void *model_allocate(size_t size);
struct gid_entry *gid_entry(struct sim_database *db, const char *text);
enum sim_truth gid_truth(const struct sim_database *db, const struct gid_entry *gid);
/* And which of its xids that is. */
enum sim_truth gid_truth_of(const struct sim_database *db, const struct gid_entry *gid,
                            uint64_t *which);
void database_tell(struct sim_database *db, struct gid_entry *gid, uint64_t xid,
                   enum sim_truth now);
/* A client has received what proves that the branch is prepared, or committed. */
void database_told(struct sim_database *db, struct gid_entry *gid, enum sim_truth what);

/* ---- database_wal.c ------------------------------------------------------------------------------- */

uint64_t xid_assign(struct sim_database *db, struct gid_entry *gid);
void xact_name(struct sim_database *db, uint64_t xid, struct gid_entry *gid);
struct xact *xact_of(const struct sim_database *db, uint64_t xid);
/* Appends it; what it does to the state is done by wal_apply(), when it is time. */
struct record *wal_append(struct sim_database *db, enum record_kind kind, uint64_t xid);
/* COMMIT, ABORT: the transaction's end, in the state. */
void xact_end(struct sim_database *db, uint64_t xid, bool commit);
/* Its effects can be seen, and its locks are free. */
void xact_leave(struct sim_database *db, uint64_t xid, bool commit);
int64_t xact_change(const struct sim_database *db, uint64_t xid, unsigned account);
struct prepared *prepared_add(struct sim_database *db, uint64_t xid, struct gid_entry *gid,
                              uint64_t at_us);
struct prepared *prepared_find(const struct sim_database *db, const char *gid);
void prepared_remove(struct sim_database *db, struct prepared *p);
/* Everything in memory is gone; the state is what the first `count` records say. */
void wal_recover(struct sim_database *db, size_t count);
void wal_free(struct sim_database *db);
/* Goes through the flush, and the standby where it counts: b->flushed, then b->ended. */
void wal_make_durable(struct backend *b, backend_fn flushed, backend_fn ended);
void wal_flush_at_once(struct sim_database *db);
void wal_catch_up(struct sim_database *db); /* the standby, at once */

/* ---- database_locks.c ----------------------------------------------------------------------------- */

/* Calls `then` when the lock is had: now, or later. */
void lock_take(struct backend *b, unsigned lock, backend_fn then);
void lock_abandon(struct backend *b);
void lock_release_all(struct sim_database *db, uint64_t xid);
void lock_recover(struct sim_database *db);
unsigned lock_new(struct sim_database *db);

/* ---- database_backend.c --------------------------------------------------------------------------- */

struct backend *backend_new(struct sim_database *db, PGconn *conn, const char *application);
/* Without a word to anybody: the server has died. */
void backend_free(struct backend *b);
void backend_post(struct backend *b, struct command *commands);
/* The client, or the network between, is gone; lossy: what is on its way may go with it. */
void backend_orphan(struct backend *b, bool lossy);
void backend_cancel(struct backend *b);
void backend_terminate(struct backend *b);
struct backend *backend_find(const struct sim_database *db, int pid);

void backend_wait_for(struct backend *b, enum backend_wait wait, uint64_t delay_us,
                      backend_fn then);
/* From a wait that is over, or from inside a command: goes on with what comes next. */
void backend_wake(struct backend *b);
void backend_sleep(struct backend *b, enum backend_wait wait); /* somebody will wake it */
uint64_t backend_statement_left_us(const struct backend *b);   /* UINT64_MAX: no limit */

struct item *backend_answer(struct backend *b, PGresult *result); /* takes the result */
void backend_answer_row(struct backend *b, PGresult *row);        /* before the answer itself */
void backend_answer_ok(struct backend *b, const char *tag);
/* ERROR: the transaction fails. */
void backend_answer_error(struct backend *b, const char *sqlstate, const char *text);
void backend_done(struct backend *b); /* the command is */
void backend_rollback(struct backend *b);
void items_free(struct item *items);

/* ---- database_execute.c, database_ask.c, database_schema.c ------------------------------------------ */

void backend_execute(struct backend *b);
backend_fn ask_command(enum command_kind kind);
backend_fn schema_command(enum command_kind kind);
/* The effect of a record on schema assent, once its transaction has committed. */
void schema_apply(struct sim_database *db, const struct record *record);
void schema_reset(struct sim_database *db); /* empty: what is there is to be replayed */
/* Has this transaction written a row of its branch? */
bool row_is_left(const struct sim_database *db, uint64_t xid);
void rows_free(struct sim_database *db);
/* Who waits for backends to end may have waited long enough. */
void ask_backend_gone(struct sim_database *db);

/* ---- database_faults.c --------------------------------------------------------------------------- */

bool database_has_rights(struct sim_database *db);   /* to end what the agent's role has prepared */
bool database_keeps_claims(struct sim_database *db); /* may the role write schema assent? */
void database_make_foreign(struct sim_database *db); /* now and then */

/* ---- database_sql.c ------------------------------------------------------------------------------- */

/* Owner: the caller. Aborts at a text it does not know: the model has to learn it first. */
struct command *command_parse(const char *sql, size_t param_count, const char *const *params);
void commands_free(struct command *commands);

/* ---- database_libpq.c ----------------------------------------------------------------------------- */

PGresult *result_new(ExecStatusType status, const char *tag);
PGresult *result_table(int rows, int columns); /* of a SELECT */
void result_set_size(PGresult *result, int rows, int columns);
void result_set(PGresult *result, int row, int column, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void result_set_name(PGresult *result, const char *column, Oid type); /* of the first column */
void result_set_affected(PGresult *result, int64_t rows);
void result_set_error(PGresult *result, const char *severity, const char *sqlstate,
                      const char *text);
/* Takes the items, and carries them to the client. */
void conn_deliver(PGconn *conn, struct item *items);
/* The client sees the end of the connection, after what is on its way. The backend has let go. */
void conn_end(PGconn *conn, uint64_t delay_us);
void conns_detach(struct sim_database *db);
uint64_t database_latency_us(struct sim_database *db);

#endif
