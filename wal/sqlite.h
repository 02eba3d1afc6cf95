/* Inside the SQLite backend: what its files share. The format is described in sqlite.c. */
#ifndef ASSENT_WAL_SQLITE_H
#define ASSENT_WAL_SQLITE_H

#include <limits.h>
#include <sqlite3.h>

#include "wal/lock.h"
#include "wal/store.h"

enum {
  LOG_APPLICATION_ID = 0x41534e54, /* "ASNT" */
  LOG_FORMAT = 1,
  CHECKPOINT_FRAMES = 1000 /* about 4 MiB */
};

extern const char sqlite_schema[]; /* CREATE statements of LOG_FORMAT */

enum statement_id {
  SQL_BEGIN,
  SQL_COMMIT,
  SQL_PUT_TXN,
  SQL_PUT_NOTE,
  SQL_PUT_BRANCH,
  SQL_CONFIRM,
  SQL_END,
  SQL_AUDIT,
  SQL_REMOVE_BRANCHES,
  SQL_REMOVE_TXNS,
  SQL_FIND_TXN,
  SQL_FIND_BRANCHES,
  SQL_KIND,
  SQL_HAS_AUDIT,
  SQL_UNFINISHED,
  SQL_EARLIEST_END,
  SQL_LIST_ALL,
  SQL_LIST_BY_OUTCOME,
  SQL_LIST_BY_LABEL,
  SQL_LIST_BY_PARTICIPANT,
  SQL_COUNT
};

struct branch_row {
  char participant[PARTICIPANT_MAX + 1], gid[GID_SIZE], xid[XID_SIZE], server[SERVER_SIZE];
};

struct store {
  sqlite3 *db;
  sqlite3_stmt *statements[SQL_COUNT];
  char path[PATH_MAX];
  struct log_lock lock;
  struct cluster_id cluster;
  uint64_t epoch;
  int64_t last_audit_id;
  bool in_transaction;
  int frames, checkpoint_at; /* in the -wal file after the last commit; when to checkpoint next */
  /* The record last read, and what it points to. */
  struct wal_record found;
  char label[LABEL_MAX + 1];
  struct wal_branch *branches;
  struct branch_row *rows;
  size_t branch_capacity;
};

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

#endif
