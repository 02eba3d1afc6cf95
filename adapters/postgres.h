/* Inside the PostgreSQL adapter: the session, and the engine its calls run on (postgres_wire.c).
 *
 * An engine call queues steps (queries and Syncs) in libpq's pipeline; the answers come back in the
 * same order, each to the operation (`struct session_op`) that has the session. One operation has
 * it from wire_begin() to wire_end() or wire_break(). An operation's `lost` is its last call.
 *
 *   postgres.c          the table of calls; opening and closing
 *   postgres_hosts.c    which of several hosts is tried first
 *   postgres_wire.c     connecting, sending, reading, timers
 *   postgres_run.c      a branch's work
 *   postgres_kept.c     which texts are prepared on the server
 *   postgres_timeouts.c what the server keeps of a branch's time
 *   postgres_commit.c   its COMMIT in one phase
 *   postgres_rows.c     results as JSON, within limits
 *   postgres_finish.c   COMMIT PREPARED and ROLLBACK PREPARED, pipelined
 *   postgres_ask.c      the questions of phase two
 *   postgres_blockers.c whom a session waits for
 *   postgres_claim.c    the epoch kept in the database
 *   postgres_survey.c   what the database knows, for who has lost the log
 */
#ifndef ASSENT_ADAPTERS_POSTGRES_H
#define ASSENT_ADAPTERS_POSTGRES_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "adapters/adapter.h"
#include "adapters/postgres_kept.h"
#include "common/json.h"

enum session_state {
  SESSION_BROKEN, /* no connection; only close() is left */
  SESSION_CONNECTING,
  SESSION_IDLE,
  SESSION_IN_TRANSACTION,
  SESSION_BUSY /* an operation has it */
};

enum step_kind {
  STEP_SYNC,
  STEP_QUERY, /* what the operation has only one of */
  STEP_SETTING,
  STEP_STATEMENT,
  STEP_XID,
  STEP_PREPARE,
  STEP_COMMIT,
  STEP_ROLLBACK,
  STEP_SETTLE, /* COMMIT PREPARED or ROLLBACK PREPARED right after PREPARE */
  STEP_RESET
};

struct step {
  enum step_kind kind;
  unsigned index; /* of a statement */
  bool parse;     /* only its Parse, of a text to be kept: the step itself follows */
};

struct session_op {
  /* One result of the step; several for a statement that gives rows; of its Parse only an error, or that
   * it was skipped. The result is borrowed. */
  void (*result)(struct session *s, struct step step, PGresult *result);
  /* A Sync was answered. With this call an operation ends by itself, and has no `drained`. */
  void (*synced)(struct session *s);
  /* Everything sent has been answered: queue more, or end. */
  void (*drained)(struct session *s);
  /* What has come of the step's answer is more than wire_bound() allows: `lost` follows. */
  void (*over)(struct session *s, struct step step);
  /* The connection is gone; the session is broken already. */
  void (*lost)(struct session *s, const struct error *err);
};

/* As a server keeps them; 0: none. An open transaction may be idle as long as a statement may take. */
struct timeouts {
  int64_t statement_ms, lock_ms;
};

/* See postgres_rows.c. */
struct rows {
  struct json_writer json;
  size_t rows_max, bytes_max;
  size_t row_count;
  bool in_statement; /* columns and the opening of rows are written */
  bool discard;      /* over a limit, or failed: what comes is dropped */
  bool wide; /* a single row was far over it: what libpq has taken for it is worth giving back */
};

struct run {
  session_ran_fn fn;
  void *data;
  struct session_job job; /* its statements owned, its gid here: */
  char gid[GID_SIZE];
  struct rows rows;
  char xid[XID_SIZE];
  struct cause cause;
  enum { PREPARE_NOT_SENT, PREPARE_SENT, PREPARE_DONE, PREPARE_REFUSED } prepare;
  bool failed;            /* `cause` tells why; the transaction must not survive */
  bool unknown;           /* an answer came that proves nothing */
  bool touched;           /* something was sent since the session was idle and clean */
  bool rolled_back;       /* ROLLBACK was sent */
  bool uses_kept;         /* texts kept on the server were used... */
  bool stale;             /* ...and one was out of date */
  bool reset_sent, reset; /* what makes the session clean; its success */
  bool settle_sent, settled;
};

struct commit {
  session_committed_fn fn;
  void *data;
  enum branch_outcome outcome;
  struct cause cause;
  bool rolled_back; /* ROLLBACK was sent: COMMIT had been skipped */
  bool reset;
};

struct finish; /* postgres_finish.c */

/* A question that is one operation on an idle control session. */
struct ask {
  void *data;
  struct cause cause; /* of a refusal */
  bool refused;
  union {
    session_looked_fn looked;
    xact_status_fn status;
    session_listed_fn listed;
    session_done_fn done;
    session_claimed_fn claimed;
    session_probed_fn probed;
    session_surveyed_fn surveyed;
    session_blockers_fn blockers;
  } fn;
  char gid[GID_SIZE], xid[XID_SIZE];
  bool barrier, found;
  bool foreign; /* found, of a role whose prepared transactions we may not end; a claim's table:
                   another role's, and we may not write it */
  enum xact_status status;
  struct cluster_id cluster;
  struct prepared_branch *branches;
  size_t branch_count;
  char prefix[64], except[64];
  int64_t remaining;
  unsigned attempt;
  uint64_t started_us;
  struct session_probe probe;
  struct epoch_claim claim;
  struct epoch_known known;
  bool rows_there;       /* the tables of rows; postgres_claim.c */
  int stage;             /* postgres_claim.c, postgres_survey.c */
  struct survey *survey; /* postgres_survey.c; owned */
  struct blocker *blockers;
  size_t blocker_count;
};

struct postgres {
  struct adapter base;
  struct loop *loop;
  char *dsn;
  struct hosts *hosts;      /* NULL: the dsn names one, or none */
  char server[SERVER_SIZE]; /* the last one accepted */
  bool leaves_rows;
  struct timeouts timeouts;            /* as the last branch wanted them */
  char *own_options;                   /* the dsn's; NULL: not known, and none are to be added */
  bool options_taken, options_refused; /* with ours among them; neither: nobody knows yet */
  struct seen_texts seen;
  struct session *unsent; /* those that send what they have queued at the end of the turn */
  struct loop_soon *send;
};

struct session {
  struct postgres *postgres; /* the adapter it is of */
  unsigned host_first;       /* see postgres_hosts.c */
  struct loop *loop;
  PGconn *connection; /* NULL when broken */
  struct loop_poll *poll;
  struct loop_timer *timer; /* the operation's time */
  struct loop_timer *wake;  /* a callback that is due on the next turn */
  enum session_state state;
  int64_t call_timeout_ms;
  const struct session_op *op; /* NULL: nobody has it */
  unsigned operation;          /* counts the timer's starts and stops */
  struct step *steps;          /* a ring */
  size_t step_first, step_count, step_capacity;
  bool step_started; /* the first step was told its row mode */
  bool send_failed;  /* libpq refused to queue something: the connection is given up */
  bool warned;       /* a WARNING came during the first step */
  size_t answer_max; /* where the operation has `over`: how much may be */
  size_t unfinished; /* of what has come, and is no whole result yet */
  bool in_pieces;    /* an earlier reading has not finished it */
  bool write_watched;
  bool is_unsent; /* in its adapter's list: */
  struct session *unsent_prev, *unsent_next;
  struct error fatal; /* what the server said before it hung up */
  unsigned depth;     /* of our handlers on the stack; memory is freed at 0 */
  bool closing;
  session_opened_fn opened;
  session_lost_fn lost;
  void *data;
  struct session_identity identity;
  bool standby;
  bool leaves_rows; /* as its adapter */
  bool runs_branches;
  bool connected, without_options; /* the server has let us in; this is another attempt */
  char application_name[64];
  struct timeouts timeouts_asked, timeouts; /* at connect; those that every reset goes back to */
  char role[128]; /* current_user at connect; names have at most 63 bytes unless rebuilt */
  struct kept_texts kept;
  bool plain;     /* all statements of the branch so far are: statement_is_plain() */
  bool discarded; /* nothing was done since the connection was made, or DISCARD ALL was sent */
  struct run run;
  struct commit commit;
  struct finish *finish_first, *finish_last;
  size_t finish_count;
  struct ask ask;
};

/* Functions, views and types in our SQL are qualified, whatever search_path the connection string or
 * the role sets; operators, too, where a branch's own statements may have set it.
 *
 * Makes this transaction's commit wait for the server's own disk where the role, the database or a
 * statement has switched that off; other settings are left alone. Outside of a transaction: nothing. */
#define SQL_SYNCHRONOUS_COMMIT                                                                     \
  "SELECT pg_catalog.set_config('synchronous_commit', 'local', true) WHERE "                       \
  "pg_catalog.current_setting('synchronous_commit') OPERATOR(pg_catalog.=) 'off'"

/* ---- postgres_hosts.c ------------------------------------------------------------------------ */

/* Of a valid connection string; NULL when it does not name several hosts. Owner: hosts_free(). */
struct hosts *hosts_new(const char *dsn);
void hosts_free(struct hosts *hosts);
/* The keywords that put the hosts in their order of now, into what ends with NULL; at most
 * HOST_KEYWORDS. Borrowed until the next call. Returns the order, for hosts_failed(). */
enum { HOST_KEYWORDS = 3 };
unsigned hosts_keywords(struct hosts *hosts, const char **keywords, const char **values);
/* An attempt in this order has failed: the next one begins with another host. */
void hosts_failed(struct hosts *hosts, unsigned order);
/* Full transaction ids of prepared transactions. The view has the lower 32 bits only. Every running
 * transaction is within 2^31 of the next xid, before or, when nothing has completed since, at or
 * after what the snapshot calls xmax: so the signed 32-bit distance from there tells the rest.
 * The snapshot names every one that is prepared: taken anew for each row, a listing of thousands would
 * take longer than an answer may. */
#define FULL_XID                                                                                   \
  "WITH horizon AS MATERIALIZED (SELECT "                                                          \
  "pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())"                                  \
  "::pg_catalog.text::pg_catalog.int8 AS next), "                                                  \
  "prepared AS (SELECT gid, prepared, owner, "                                                     \
  "next + (((transaction::pg_catalog.text::pg_catalog.int8 - next) % 4294967296 "                  \
  "+ 6442450944) % 4294967296 - 2147483648) AS xid FROM pg_catalog.pg_prepared_xacts, horizon "    \
  "WHERE database = pg_catalog.current_database()) "

/* Of this database, those whose gid begins with $1: gid, xid, when in microseconds. */
#define SQL_LIST_PREPARED                                                                          \
  FULL_XID "SELECT gid, xid, (extract(epoch FROM prepared) * 1000000)::pg_catalog.int8 "           \
           "FROM prepared WHERE pg_catalog.left(gid, pg_catalog.length("                           \
           "$1::pg_catalog.text)) = $1 ORDER BY prepared, gid"

/* ---- postgres_timeouts.c ------------------------------------------------------------------------- */

struct timeouts timeouts_of(int64_t left_ms);
bool timeouts_equal(const struct timeouts *a, const struct timeouts *b);
void timeouts_init(struct postgres *postgres);
/* Before a connection is made: what it asks for. */
void timeouts_ask(struct session *s);
bool timeouts_are_asked(const struct session *s);
/* The connection stands. */
void timeouts_connected(struct session *s);
/* It does not, perhaps for what was asked: to be tried once more, `without_options`. */
bool timeouts_may_have_failed(const struct session *s, const struct error *err);
/* As libpq's `options`; NULL: nothing. Owner: free(). */
char *timeouts_options(const struct session *s);
extern const char timeouts_query[];
void timeouts_take(struct session *s, const PGresult *result);

/* ---- postgres_wire.c ------------------------------------------------------------------------- */

/* Starts connecting with `op`; its `drained` is called when the connection stands, its `lost` when
 * it fails. */
void wire_connect(struct session *s, const struct session_op *op);

/* Takes the session for an operation. On a broken one `lost` comes on the next turn, and what is
 * queued until then goes nowhere. */
void wire_begin(struct session *s, const struct session_op *op, int64_t timeout_ms);
/* Gives it up; the operation may answer now. */
void wire_end(struct session *s, enum session_state state);
/* Drops the connection without a word to anybody. The operation may answer now. */
void wire_break(struct session *s);
/* Has `drained` called on the next turn though nothing was sent. */
void wire_answer_later(struct session *s);

/* Until the operation ends: no single result, message or notice of the server may have more bytes. libpq reads
 * at once what is there, so somewhat more may have come when it is found. */
void wire_bound(struct session *s, size_t bytes);

void wire_query(struct session *s, enum step_kind kind, unsigned index, const char *sql,
                size_t param_count, const char *const *params);
/* The same, of a text that will come again: prepared on the server, and used by its name. */
void wire_kept_query(struct session *s, enum step_kind kind, unsigned index, const char *sql,
                     size_t param_count, const char *const *params);
/* Makes the session clean, whatever was done in it; outside of a transaction only. */
void wire_discard(struct session *s, enum step_kind kind);
void wire_sync(struct session *s);
/* Sends what is queued at the end of this turn of the loop, as far as the socket takes it; the rest follows
 * by itself. So what a turn has for one session goes out together, and what it has for many sessions
 * reaches the server at the same time, which then has more to join into one write to its disk. */
void wire_flush(struct session *s);
void wire_flush_now(struct session *s);
/* All that are to; `data` is the adapter. */
void wire_flush_all(void *data);
void wire_timer(struct session *s, int64_t timeout_ms);

/* Also when called from one of the session's callbacks. */
void wire_close(struct session *s);

/* ---- errors ---------------------------------------------------------------------------------- */

bool result_is_error(const PGresult *result);
/* "" when the error is libpq's own: then it says nothing about what the server did. */
const char *result_sqlstate(const PGresult *result);
/* May it have been done after all? For answers to PREPARE TRANSACTION, COMMIT (PREPARED). */
bool result_is_ambiguous(const PGresult *result);
/* Rows that a command touched, or a query gave; 0 where the tag has no number. */
int64_t result_affected(PGresult *result);
/* statement -1: none. Keeps a cause that is there. */
void cause_from_result(struct cause *cause, int statement, const PGresult *result);
void cause_set(struct cause *cause, enum cause_kind kind, int statement, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void cause_from_error(struct cause *cause, const struct error *err);
void error_from_cause(struct error *err, enum error_code code, const struct cause *cause);

/* ---- the calls ------------------------------------------------------------------------------- */

void session_run(struct session *s, const struct session_job *job, session_ran_fn fn, void *data);
void run_drop_job(struct session *s); /* at close: nobody is told */
void session_rollback(struct session *s, session_ran_fn fn, void *data);
void session_commit(struct session *s, session_committed_fn fn, void *data);

void session_finish(struct session *s, const char *gid, bool commit, session_finished_fn fn,
                    void *data);
void finish_discard(struct session *s); /* at close: nobody is told */

void session_look_up(struct session *s, const char *gid, bool barrier, session_looked_fn fn,
                     void *data);
void session_xact_status(struct session *s, const char *xid, xact_status_fn fn, void *data);
void session_barrier(struct session *s, session_done_fn fn, void *data);
void session_list(struct session *s, const struct cluster_id *cluster, session_listed_fn fn,
                  void *data);
void session_end_sessions(struct session *s, const char *prefix, const char *except,
                          session_done_fn fn, void *data);
void session_cancel(struct session *s, int backend_pid, session_done_fn fn, void *data);
void session_blockers(struct session *s, int backend_pid, session_blockers_fn fn, void *data);
void session_probe_server(struct session *s, const char *own, session_probed_fn fn, void *data);
void session_survey(struct session *s, const struct survey_request *request, session_surveyed_fn fn,
                    void *data);
void session_forget_rows(struct session *s, const char *before_txid, session_done_fn fn,
                         void *data);
void survey_discard(struct session *s); /* at close: nobody is told */
/* The prepared branches of an answer that has gid, xid and time, of this cluster ("": of any);
 * calloc(). Others' gids that begin like ours are left out. */
struct prepared_branch *branches_from_result(PGresult *result, const struct cluster_id *cluster,
                                             size_t *count);
void session_claim_epoch(struct session *s, const struct epoch_claim *claim, session_claimed_fn fn,
                         void *data);

/* ---- postgres_rows.c ------------------------------------------------------------------------- */

void rows_begin(struct rows *rows, size_t rows_max, size_t bytes_max);
/* A result of a statement that did not fail. False when a limit was passed (cause filled); then,
 * and after rows_discard(), what comes is dropped. */
bool rows_add(struct rows *rows, int statement, PGresult *result, struct cause *cause);
void rows_discard(struct rows *rows);
/* A row of the statement is so far over the limit that its end is not waited for. */
void rows_refuse_row(struct rows *rows, int statement, struct cause *cause);
/* What a single row may have, before that. */
size_t rows_row_max(const struct rows *rows);
/* The JSON array, or NULL when there is none. Owner: the caller, free(). */
char *rows_take(struct rows *rows);

#endif
