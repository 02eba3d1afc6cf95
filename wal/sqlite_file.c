/* A log's file in SQLite's hands: connecting, disconnecting, and asking it something by its text.
 * See sqlite.c for the format, sqlite_open.c for what is done before a log is believed. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "wal/sqlite.h"

enum error_code sqlite_system_error(struct error *err, const char *doing, const char *path) {
  int cause = errno;
  enum error_code code =
      error_set(err, ERR_LOG, "decision log %s: cannot %s: %s", path, doing, strerror(cause));
  if (err && err->code == code) err->sys_errno = cause;
  return code;
}

const char *sqlite_beside(char out[PATH_MAX], const char *path, const char *suffix) {
  int length = snprintf(out, PATH_MAX, "%s%s", path, suffix);
  assert(length > 0 && length < PATH_MAX); /* resolve() has left room */
  return out;
}

enum store_result sqlite_run_text(struct store *store, const char *sql, struct error *err) {
  int rc = sqlite3_exec(store->db, sql, NULL, NULL, NULL);
  return rc == SQLITE_OK ? STORE_OK : sqlite_failed(store, rc, "cannot set it up", err);
}

/* The first column of the first row, as text; "" if there is none. */
enum store_result sqlite_ask(struct store *store, const char *sql, char *answer, size_t size,
                             struct error *err) {
  sqlite3_stmt *statement = NULL;
  answer[0] = '\0';
  int rc = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_step(statement);
  if (rc == SQLITE_ROW) {
    const unsigned char *text = sqlite3_column_text(statement, 0);
    (void)snprintf(answer, size, "%s", text ? (const char *)text : "");
  }
  enum store_result result = rc == SQLITE_ROW || rc == SQLITE_DONE
                                 ? STORE_OK
                                 : sqlite_failed(store, rc, "cannot read it", err);
  (void)sqlite3_finalize(statement);
  return result;
}

static enum store_result expect(struct store *store, const char *sql, const char *wanted,
                                struct error *err) {
  char answer[200];
  enum store_result result = sqlite_ask(store, sql, answer, sizeof answer, err);
  if (result != STORE_OK || strcmp(answer, wanted) == 0) return result;
  (void)error_set(err, ERR_LOG, "decision log %s: \"%s\" answers \"%s\" instead of \"%s\"",
                  store->path, sql, answer, wanted);
  return STORE_FAILED;
}

/* Small memory that is used again and again; SQLite's own default is for fewer statements. */
enum { LOOKASIDE_SIZE = 512, LOOKASIDE_COUNT = 512 };

/* ---- connecting ----------------------------------------------------------------------------- */

enum store_result sqlite_open_file(struct store *store, const char *path, struct error *err) {
  /* An absolute path: SQLite would take "file:..." and ":memory:" for something else. */
  assert(path[0] == '/');
  /* Nobody asks how much memory it has taken; else each allocation is counted under a mutex of all. It
   * is refused after the first opening of the process, and stays as it is. */
  (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  int rc = sqlite3_open_v2(path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
  if (rc != SQLITE_OK) return sqlite_failed(store, rc, "cannot open it", err);
  (void)sqlite3_extended_result_codes(store->db, 1);
  (void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_LOOKASIDE, NULL, LOOKASIDE_SIZE,
                          LOOKASIDE_COUNT);
  (void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
  (void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
  return STORE_OK;
}

static int on_commit(void *data, sqlite3 *db, const char *name, int frames) {
  struct store *store = data;
  (void)db;
  (void)name;
  store->frames = frames;
  return SQLITE_OK;
}

/* secure_delete is a Debian default: it would write pages again only to blank them. */
enum store_result sqlite_connect(struct store *store, struct error *err) {
  store->frames = 0;
  store->checkpoint_at = CHECKPOINT_FRAMES;
  enum store_result result = sqlite_open_file(store, store->path, err);
  if (result == STORE_OK) result = expect(store, "PRAGMA locking_mode=EXCLUSIVE", "exclusive", err);
  if (result == STORE_OK) result = expect(store, "PRAGMA journal_mode=WAL", "wal", err);
  if (result == STORE_OK)
    result =
        sqlite_run_text(store,
                        "PRAGMA synchronous=FULL; PRAGMA cache_spill=OFF; PRAGMA temp_store=MEMORY;"
                        "PRAGMA secure_delete=OFF; PRAGMA cell_size_check=ON; PRAGMA mmap_size=0;",
                        err);
  if (result == STORE_OK) result = expect(store, "PRAGMA synchronous", "2", err);
  if (result == STORE_OK) result = sqlite_learn_format(store, err);
  if (result == STORE_OK) result = sqlite_prepare_all(store, err);
  if (result == STORE_OK) (void)sqlite3_wal_hook(store->db, on_commit, store);
  return result;
}

void sqlite_disconnect(struct store *store, bool checkpoint) {
  if (!store->db) return;
  sqlite_finalize_all(store);
  if (!checkpoint) (void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
  int rc = sqlite3_close(store->db);
  assert(rc == SQLITE_OK); /* else a statement was left */
  store->db = NULL;
  store->in_transaction = false;
}
