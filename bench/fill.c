/* See fill.h.
 *
 * The log itself is made by wal/, and what is written into it comes from wal/: the sum of a record and its
 * shape. The rows go in by statements of our own, a thousand times as many a second as the log's writer
 * makes durable: in one SQLite transaction without a journal, and with the indexes made at the end.
 */
#include "bench/fill.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/bench.h"
#include "common/clock.h"
#include "wal/store.h"

enum { INDEXES_MAX = 16, APPLIED_US = 4000, DECIDED_US = 2000, TIMEOUT_MS = 30000, BRANCHES = 2 };

struct fill {
  sqlite3 *db;
  struct cluster_id cluster;
  char *indexes[INDEXES_MAX]; /* statements that make them */
  unsigned index_count;
  sqlite3_stmt *txn, *branch;
};

static void run(struct fill *fill, const char *sql) {
  must(sqlite3_exec(fill->db, sql, NULL, NULL, NULL) == SQLITE_OK, sql, sqlite3_errmsg(fill->db));
}

static void step(struct fill *fill, sqlite3_stmt *statement) {
  must(sqlite3_step(statement) == SQLITE_DONE, "filling the log", sqlite3_errmsg(fill->db));
  (void)sqlite3_reset(statement);
}

static sqlite3_stmt *prepare(struct fill *fill, const char *sql) {
  sqlite3_stmt *statement;
  must(sqlite3_prepare_v2(fill->db, sql, -1, &statement, NULL) == SQLITE_OK, sql,
       sqlite3_errmsg(fill->db));
  return statement;
}

static void make_log(struct fill *fill, const char *path) {
  struct store *store;
  struct error err = {0};
  must_go(store_open(&store, path, &err), &err, "making a log");
  fill->cluster = *store_cluster(store);
  store_close(store, true);
}

/* Keeps how to make them again. */
static void drop_indexes(struct fill *fill) {
  sqlite3_stmt *all = prepare(fill, "SELECT sql, type || ' ' || name FROM sqlite_schema"
                                    " WHERE type IN ('index', 'trigger') AND sql IS NOT NULL"
                                    " AND tbl_name IN ('txn', 'branch')");
  char *drops[INDEXES_MAX] = {0};
  while (sqlite3_step(all) == SQLITE_ROW) {
    must(fill->index_count < INDEXES_MAX, "the log", "has many indexes");
    drops[fill->index_count] = sqlite3_mprintf("DROP %s", sqlite3_column_text(all, 1));
    fill->indexes[fill->index_count++] = sqlite3_mprintf("%s", sqlite3_column_text(all, 0));
  }
  (void)sqlite3_finalize(all);
  must(fill->index_count > 0, "the log", "has no indexes");
  for (unsigned i = 0; i < fill->index_count; i++) {
    run(fill, drops[i]);
    sqlite3_free(drops[i]);
  }
}

static void make_indexes(struct fill *fill) {
  for (unsigned i = 0; i < fill->index_count; i++) {
    run(fill, fill->indexes[i]);
    sqlite3_free(fill->indexes[i]);
  }
}

/* ---- rows ---------------------------------------------------------------------------------------- */

struct texts {
  char gids[BRANCHES][GID_SIZE], xids[BRANCHES][XID_SIZE], label[40];
};

static void compose(const struct fill *fill, uint64_t n, int64_t at_us, struct wal_record *record,
                    struct wal_branch branches[BRANCHES], struct texts *texts) {
  bool aborted = n % 50 == 7;
  *record = (struct wal_record){.txid = txid_make(at_us),
                                .kind = aborted ? WAL_KIND_ABORTED : WAL_KIND_COMMIT,
                                .outcome = aborted ? WAL_OUTCOME_ABORTED : WAL_OUTCOME_COMMITTED,
                                .label = n % 2 ? texts->label : NULL,
                                .created_at_us = at_us,
                                .decided_at_us = at_us + DECIDED_US,
                                .applied_at_us = at_us + APPLIED_US,
                                .timeout_ms = TIMEOUT_MS,
                                .branches = branches,
                                .branch_count = BRANCHES};
  (void)snprintf(texts->label, sizeof texts->label, "order-%" PRIu64, n);
  for (unsigned i = 0; i < BRANCHES; i++) {
    const struct gid gid = {
        .cluster = fill->cluster, .epoch = 1, .txid = record->txid, .branch = i + 1};
    gid_format(&gid, texts->gids[i]);
    (void)snprintf(texts->xids[i], XID_SIZE, "%" PRIu64, 1000 + n);
    branches[i] =
        (struct wal_branch){.id = i + 1,
                            .participant = i ? "bank_b" : "bank_a",
                            .gid = texts->gids[i],
                            .xid = aborted ? "" : texts->xids[i],
                            .server = aborted ? "" : "7300000000000000001.1",
                            .confirmed = true,
                            .outcome = aborted ? BRANCH_OUTCOME_ABORTED : BRANCH_OUTCOME_COMMITTED};
  }
  if (!aborted) return;
  record->cause = (struct cause){.kind = CAUSE_STATEMENT, .branch = 1, .statement = 0};
  (void)snprintf(record->cause.sqlstate, sizeof record->cause.sqlstate, "23514");
  (void)snprintf(record->cause.text, sizeof record->cause.text, "%s",
                 "new row for relation \"account\" violates check constraint");
}

static void text(sqlite3_stmt *statement, int place, const char *value) {
  (void)sqlite3_bind_text(statement, place, value, -1, SQLITE_STATIC);
}

static void number(sqlite3_stmt *statement, int place, int64_t value) {
  (void)sqlite3_bind_int64(statement, place, value);
}

static void put(struct fill *fill, const struct wal_record *record) {
  sqlite3_stmt *txn = fill->txn, *branch = fill->branch;
  text(txn, 1, record->txid.text);
  number(txn, 2, (int64_t)record->kind);
  number(txn, 3, (int64_t)record->outcome);
  text(txn, 4, record->label);
  number(txn, 5, record->created_at_us);
  number(txn, 6, record->decided_at_us);
  number(txn, 7, record->applied_at_us);
  number(txn, 8, record->timeout_ms);
  number(txn, 9, record->wait_decided);
  number(txn, 10, (int64_t)record->cause.kind);
  number(txn, 11, record->cause.branch);
  number(txn, 12, record->cause.statement);
  text(txn, 13, record->cause.sqlstate);
  text(txn, 14, record->cause.text);
  number(txn, 15, record_sum(record));
  number(txn, 16, record->applied_at_us);
  step(fill, txn);
  for (size_t i = 0; i < record->branch_count; i++) {
    text(branch, 1, record->txid.text);
    number(branch, 2, record->branches[i].id);
    text(branch, 3, record->branches[i].participant);
    text(branch, 4, record->branches[i].gid);
    text(branch, 5, record->branches[i].xid);
    text(branch, 6, record->branches[i].server);
    number(branch, 7, record->branches[i].read_only);
    number(branch, 8, record->branches[i].confirmed);
    number(branch, 9, (int64_t)record->branches[i].outcome);
    number(branch, 10, record->applied_at_us);
    step(fill, branch);
  }
}

static void put_all(struct fill *fill, uint64_t count, int64_t oldest_ms, int64_t newest_ms) {
  int64_t begin_us = clock_wall_us() - oldest_ms * 1000;
  double distance_us = count ? (double)(oldest_ms - newest_ms) * 1000 / (double)count : 0;
  fill->txn = prepare(fill, "INSERT INTO txn VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)");
  fill->branch = prepare(fill, "INSERT INTO branch VALUES (?,?,?,?,?,?,?,?,?,?)");
  for (uint64_t n = 0; n < count && !bench_interrupted; n++) {
    struct wal_record record;
    struct wal_branch branches[BRANCHES];
    struct texts texts;
    compose(fill, n, begin_us + (int64_t)(distance_us * (double)n), &record, branches, &texts);
    const char *fault = n < 100 ? record_fault(&record, &fill->cluster) : NULL;
    must(!fault, "a record of ours", fault ? fault : "");
    put(fill, &record);
  }
  (void)sqlite3_finalize(fill->txn);
  (void)sqlite3_finalize(fill->branch);
}

uint64_t fill_put_out(const char *path) {
  struct stat status;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  must(fd >= 0 && fsync(fd) == 0 && fstat(fd, &status) == 0, path, strerror(errno));
  (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  (void)close(fd);
  return (uint64_t)status.st_size;
}

static void open_log(struct fill *fill, const char *path) {
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
  must(sqlite3_open_v2(path, &fill->db, flags, NULL) == SQLITE_OK, path, "cannot be opened");
}

uint64_t fill_count_older(const char *path, int64_t age_ms) {
  struct fill fill = {0};
  struct txid border = txid_least(clock_wall_us() - age_ms * 1000);
  open_log(&fill, path);
  run(&fill, "PRAGMA locking_mode=EXCLUSIVE");
  sqlite3_stmt *count = prepare(&fill, "SELECT count(*) FROM txn INDEXED BY txn_outcome"
                                       " WHERE outcome IN (1, 2) AND txid < ?");
  text(count, 1, border.text);
  must(sqlite3_step(count) == SQLITE_ROW, "counting", sqlite3_errmsg(fill.db));
  uint64_t found = (uint64_t)sqlite3_column_int64(count, 0);
  (void)sqlite3_finalize(count);
  must(sqlite3_close(fill.db) == SQLITE_OK, path, "cannot be closed");
  return found;
}

void fill_log(const char *path, uint64_t count, int64_t oldest_ms, int64_t newest_ms) {
  struct fill fill = {0};
  make_log(&fill, path);
  open_log(&fill, path);
  run(&fill, "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
             "PRAGMA cache_size=-65536; PRAGMA temp_store=MEMORY; BEGIN");
  drop_indexes(&fill);
  put_all(&fill, count, oldest_ms, newest_ms);
  make_indexes(&fill);
  run(&fill, "COMMIT");
  run(&fill, "PRAGMA journal_mode=WAL");
  must(sqlite3_close(fill.db) == SQLITE_OK, path, "cannot be closed");
}
