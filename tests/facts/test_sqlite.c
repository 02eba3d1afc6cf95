/* What SQLite does when a sync fails: the facts behind "a failed log write is unknown".
 *
 * The log's way to open a database: WAL mode, synchronous=FULL, one process with an exclusive lock.
 * The process that lives through the failure is a child, which is killed: nothing is closed.
 */
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/facts/facts.h"
#include "tests/lib/fault_vfs.h"

enum { OK = 7, FAILED_SYNC = 8, WRONG = 9 }; /* what the child tells, instead of an exit status */

static char directory[64], path[96];

static void files_begin(void) {
  (void)snprintf(directory, sizeof directory, "/tmp/assent-facts-XXXXXX");
  CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(directory));
  (void)snprintf(path, sizeof path, "%s/log.db", directory);
}

static void files_end(void) {
  static const char *const suffixes[] = {"", "-wal", "-journal", "-shm"};
  for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
    char name[128];
    (void)snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
    (void)unlink(name);
  }
  (void)rmdir(directory);
}

static sqlite3 *open_log(void) {
  sqlite3 *db = NULL;
  if (sqlite3_open(path, &db) != SQLITE_OK) facts_give_up("SQLite", sqlite3_errmsg(db));
  (void)sqlite3_extended_result_codes(db, 1);
  if (sqlite3_exec(db,
                   "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL;"
                   "PRAGMA synchronous=FULL; CREATE TABLE IF NOT EXISTS record (name TEXT)",
                   NULL, NULL, NULL) != SQLITE_OK)
    facts_give_up("SQLite", sqlite3_errmsg(db));
  return db;
}

static int insert(sqlite3 *db, const char *name) {
  char sql[128];
  (void)snprintf(sql, sizeof sql, "BEGIN IMMEDIATE; INSERT INTO record VALUES ('%s'); COMMIT",
                 name);
  int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
  if (rc != SQLITE_OK) (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
  return rc;
}

/* All rows, in order, as "a b c". */
static void names(sqlite3 *db, char out[64]) {
  sqlite3_stmt *query = NULL;
  out[0] = '\0';
  if (sqlite3_prepare_v2(db, "SELECT group_concat(name, ' ') FROM record", -1, &query, NULL) !=
      SQLITE_OK)
    facts_give_up("SQLite", sqlite3_errmsg(db));
  if (sqlite3_step(query) == SQLITE_ROW && sqlite3_column_text(query, 0))
    (void)snprintf(out, 64, "%s", (const char *)sqlite3_column_text(query, 0));
  (void)sqlite3_finalize(query);
}

static int status_of(int rc) {
  if (rc == SQLITE_OK) return OK;
  return rc == SQLITE_IOERR_FSYNC ? FAILED_SYNC : WRONG;
}

/* What a process told before it was killed. */
struct life {
  int kept, failed, later; /* OK, FAILED_SYNC */
  char seen[64];           /* by itself, after the failure */
};

/* In the child. Never returns: killed in the midst of life. */
static _Noreturn void live(int tell, bool goes_on) {
  struct life life = {0};
  sqlite3 *db = open_log();
  life.kept = status_of(insert(db, "kept"));
  fault_vfs_fail_sync(1);
  life.failed = status_of(insert(db, "failed"));
  names(db, life.seen);
  if (goes_on) life.later = status_of(insert(db, "later"));
  if (write(tell, &life, sizeof life) != (ssize_t)sizeof life) _exit(1);
  (void)raise(SIGKILL);
  _exit(1);
}

static struct life live_and_be_killed(bool goes_on) {
  struct life life = {0};
  int ends[2], status = 0;
  files_begin();
  fault_vfs_reset();
  CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
  pid_t child = fork();
  if (child == 0) live(ends[1], goes_on);
  CU_ASSERT_FATAL(child > 0);
  (void)close(ends[1]);
  CU_ASSERT_EQUAL(read(ends[0], &life, sizeof life), (ssize_t)sizeof life);
  (void)close(ends[0]);
  CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
  CU_ASSERT_TRUE(WIFSIGNALED(status));
  return life;
}

static void check_reopened(const char *want) {
  char seen[64];
  sqlite3 *db = open_log();
  names(db, seen);
  CU_ASSERT_STRING_EQUAL(seen, want);
  (void)sqlite3_close(db);
  files_end();
}

static void commit_whose_sync_fails_answers_ioerr_fsync_and_its_row_is_not_seen(void) {
  struct life life = live_and_be_killed(false);
  CU_ASSERT_EQUAL(life.kept, OK);
  CU_ASSERT_EQUAL(life.failed, FAILED_SYNC);
  CU_ASSERT_STRING_EQUAL(life.seen, "kept");
  files_end();
}

static void commit_whose_sync_failed_is_there_after_kill_and_reopening(void) {
  struct life life = live_and_be_killed(false);
  CU_ASSERT_EQUAL(life.failed, FAILED_SYNC);
  check_reopened("kept failed");
}

static void commit_whose_sync_failed_is_overwritten_by_a_later_one(void) {
  struct life life = live_and_be_killed(true);
  CU_ASSERT_EQUAL(life.failed, FAILED_SYNC);
  CU_ASSERT_EQUAL(life.later, OK);
  check_reopened("kept later");
}

static unsigned syncs_of_a_commit(const char *setting) {
  files_begin();
  fault_vfs_reset();
  sqlite3 *db = open_log();
  CU_ASSERT_EQUAL(sqlite3_exec(db, setting, NULL, NULL, NULL), SQLITE_OK);
  CU_ASSERT_EQUAL(insert(db, "first"), SQLITE_OK); /* which may begin the WAL file */
  unsigned before = fault_vfs_syncs();
  CU_ASSERT_EQUAL(insert(db, "second"), SQLITE_OK);
  unsigned syncs = fault_vfs_syncs() - before;
  (void)sqlite3_close(db);
  files_end();
  return syncs;
}

static void commit_in_wal_mode_syncs_once_when_synchronous_is_full(void) {
  CU_ASSERT_EQUAL(syncs_of_a_commit("PRAGMA synchronous=FULL"), 1);
}

static void commit_in_wal_mode_does_not_sync_when_synchronous_is_normal(void) {
  CU_ASSERT_EQUAL(syncs_of_a_commit("PRAGMA synchronous=NORMAL"), 0);
}

SUITE(sqlite, CASE(commit_whose_sync_fails_answers_ioerr_fsync_and_its_row_is_not_seen),
      CASE(commit_whose_sync_failed_is_there_after_kill_and_reopening),
      CASE(commit_whose_sync_failed_is_overwritten_by_a_later_one),
      CASE(commit_in_wal_mode_syncs_once_when_synchronous_is_full),
      CASE(commit_in_wal_mode_does_not_sync_when_synchronous_is_normal))
