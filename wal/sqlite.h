/* Inside the SQLite backend: what its files share. The format is described in sqlite.c. */
#ifndef ASSENT_WAL_SQLITE_H
#define ASSENT_WAL_SQLITE_H

#include <limits.h>
#include <sqlite3.h>

#include "wal/lock.h"
#include "wal/store.h"

enum {
  LOG_APPLICATION_ID = 0x41534e54, /* "ASNT" */
  LOG_FORMAT = 6,
  LOG_FORMAT_OLDEST = 2,   /* that can be read, and is brought up to date by a start */
  CHECKPOINT_FRAMES = 1000 /* about 4 MiB */
};

/* CREATE statements: of all tables but `request` and `owner`; and of those, which formats 3 and 5 have
 * added. */
extern const char sqlite_schema[], sqlite_request_schema[], sqlite_owner_schema[];

/* What the row of meta says. */
struct log_meta {
  struct cluster_id cluster;
  uint64_t epoch, commits, unfinished;
  int64_t copied_at_us; /* of a backup: when it was made; else 0 */
};

enum statement_id {
  SQL_BEGIN,
  SQL_COUNT_COMMIT,
  SQL_COMMIT,
  SQL_PUT_TXN,
  SQL_PUT_NOTE,
  SQL_PUT_BRANCH,
  SQL_PUT_OWNER,
  SQL_CONFIRM,
  SQL_END,
  SQL_END_AGAIN,
  SQL_AUDIT,
  SQL_REMOVE_BRANCHES,
  SQL_REMOVE_TXNS,
  SQL_FIND_TXN,
  SQL_FIND_BRANCHES,
  SQL_FIND_LINES,
  SQL_KIND,
  SQL_HAS_AUDIT,
  SQL_UNFINISHED,
  SQL_EARLIEST_END,
  SQL_LIST_ALL,
  SQL_LIST_BY_OUTCOME,
  SQL_LIST_BY_LABEL,
  SQL_LIST_BY_OWNER,
  SQL_LIST_BY_PARTICIPANT,
  SQL_PUT_KEY,
  SQL_FIND_KEY,
  SQL_HAS_ANSWER,
  SQL_REMOVE_KEYS,
  SQL_EARLIEST_KEY,
  SQL_COUNT
};

struct branch_row {
  char participant[PARTICIPANT_MAX + 1], gid[GID_SIZE], xid[XID_SIZE], server[SERVER_SIZE];
};

struct line_row {
  char event[WAL_EVENT_MAX + 1], detail[WAL_DETAIL_MAX + 1];
};

struct store {
  sqlite3 *db;
  sqlite3_stmt *statements[SQL_COUNT];
  char path[PATH_MAX];
  struct log_lock lock;
  struct cluster_id cluster;
  uint64_t epoch, commits; /* as durable in the file */
  uint64_t unfinished;     /* with what is in the open transaction */
  struct log_life *lives;
  size_t life_count;
  int64_t last_audit_id;
  unsigned format; /* of the file */
  bool in_transaction;
  int frames, checkpoint_at; /* in the -wal file after the last commit; when to checkpoint next */
  /* The record last read, and what it points to. */
  struct wal_record found;
  char label[LABEL_MAX + 1], owner[OWNER_MAX + 1];
  struct wal_branch *branches;
  struct branch_row *rows;
  size_t branch_capacity;
  struct wal_line lines[WAL_LINES_MAX];
  struct line_row line_rows[WAL_LINES_MAX];
};

/* What is said at the end of each refusal of a log that may have lost decisions. */
#define LOG_LOST_HINT "run `assent recover --log-lost`"

/* ---- sqlite_file.c -------------------------------------------------------------------------- */

/* "decision log PATH: cannot DOING: ..." from errno. */
enum error_code sqlite_system_error(struct error *err, const char *doing, const char *path);
const char *sqlite_beside(char out[PATH_MAX], const char *path, const char *suffix);
enum store_result sqlite_run_text(struct store *store, const char *sql, struct error *err);
/* The first column of the first row, as text; "" if there is none. */
enum store_result sqlite_ask(struct store *store, const char *sql, char *answer, size_t size,
                             struct error *err);
/* Opens `path`, which is there, with nothing set up. */
enum store_result sqlite_open_file(struct store *store, const char *path, struct error *err);
/* Opens store->path as a log: exclusive, WAL, synchronous. */
enum store_result sqlite_connect(struct store *store, struct error *err);
/* `checkpoint` false: leaves the files exactly as they are. */
void sqlite_disconnect(struct store *store, bool checkpoint);

/* ---- sqlite_open.c, sqlite_make.c, sqlite_upgrade.c, sqlite_check.c -------------------------- */

/* The one name of the file: links resolved, so that two names of one log have one lock file. */
enum error_code sqlite_resolve(const char *path, char out[PATH_MAX], struct error *err);

/* The first bytes of the file: is it a log of this format? Before SQLite has it open. */
enum error_code sqlite_look_plainly(const char *path, struct error *err);

enum error_code sqlite_sync_directory(const char *path, struct error *err);
enum error_code sqlite_create_empty(const char *path, struct error *err); /* 0600, not there yet */
/* Brings the log to LOG_FORMAT, in one transaction, which counts. */
enum store_result sqlite_upgrade(struct store *store, struct log_meta *meta, struct error *err);
/* Finds out the format; for a table that it has not, an empty one in memory stands. */
enum store_result sqlite_learn_format(struct store *store, struct error *err);
/* Connects to the empty file and writes an empty log into it, in a transaction that is left open. */
enum store_result sqlite_fill(struct store *store, const char *path,
                              const struct cluster_id *cluster, struct error *err);
/* A new log of a new cluster at store->path. */
enum error_code sqlite_make(struct store *store, struct error *err);

enum store_result sqlite_read_meta(struct store *store, struct log_meta *out, struct error *err);
/* Reads it and refuses a backup, another cluster's log, and one that lacks commits. */
enum store_result sqlite_check_meta(struct store *store, struct log_meta *out, struct error *err);
enum store_result sqlite_check_pages(struct store *store, const struct log_meta *meta,
                                     struct error *err);
/* Into store->lives; the last must be of `epoch`. */
enum store_result sqlite_read_lives(struct store *store, uint64_t epoch, struct error *err);

/* ---- sqlite.c ------------------------------------------------------------------------------- */

enum store_result sqlite_prepare_all(struct store *store, struct error *err);
void sqlite_finalize_all(struct store *store);

/* Says in `err` what SQLite said, and sorts the result code. */
enum store_result sqlite_failed(struct store *store, int rc, const char *doing, struct error *err);

/* A statement being given its parameters, in order from ?1; the first failure is kept. */
struct binder {
  sqlite3_stmt *statement;
  int next, rc;
};
struct binder sqlite_bind(struct store *store, enum statement_id id);
void bind_int(struct binder *b, int64_t value);
/* The text is borrowed until the statement is reset; NULL is SQL NULL. */
void bind_text(struct binder *b, const char *text);

/* Runs to SQLITE_DONE, or, for `row`, to the next row or SQLITE_DONE: *row tells. After a row the
 * caller reads it and calls sqlite_done(). */
enum store_result sqlite_run(struct store *store, struct binder *b, bool *row, const char *doing,
                             struct error *err);
void sqlite_done(struct binder *b);
enum store_result sqlite_ensure_begun(struct store *store, struct error *err);

/* ---- sqlite_read.c -------------------------------------------------------------------------- */

/* Reads columns one by one; the first that does not fit makes all of it bad. */
struct row {
  sqlite3_stmt *statement;
  int next;
  bool bad;
};
int64_t row_int(struct row *row, int64_t min, int64_t max);
bool row_text(struct row *row, char *to, size_t size); /* false: NULL */
void row_need_text(struct row *row, char *to, size_t size);
/* Of any length; NULL for NULL, and when it is bad. Until the statement is reset. */
const char *row_long_text(struct row *row);

#endif
