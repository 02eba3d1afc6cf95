/* Making, checking, opening, closing the file of the decision log. See sqlite.c for the format.
 *
 * Opening, in this order:
 *  1. The lock file is taken: from here on no other coordinator is near.
 *  2. A log that is missing is made, unless something shows that it was there before. It is made
 *     under another name and renamed, so that PATH is a whole log or does not exist.
 *  3. The first 100 bytes are read plainly: what is not our log is not handed to SQLite, which
 * might write to it.
 *  4. SQLite opens it and takes its own exclusive lock (against programs that know nothing of
 * ours).
 *  5. The -wal file is looked over (sqlite_frames.c), then the whole database, when it is not
 * larger than INTEGRITY_BYTES_MAX: a log that is damaged is refused, with nothing changed.
 *  6. The -wal file is copied into the database and emptied, so that no frame of a former life can
 * be mistaken later.
 *  7. The epoch grows by one, durably.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "wal/sqlite.h"
#include "wal/sqlite_frames.h"

enum {
  SUFFIX_MAX = 16,        /* of the names beside PATH */
  FILE_HEADER_SIZE = 100, /* https://www.sqlite.org/fileformat2.html#the_database_header */
  HEADER_USER_VERSION = 60,
  HEADER_APPLICATION_ID = 68,
  INTEGRITY_BYTES_MAX = 256 << 20 /* about a second; larger ones are checked record by record */
};

static enum error_code system_error(struct error *err, const char *doing, const char *path) {
  int cause = errno;
  enum error_code code =
      error_set(err, ERR_LOG, "decision log %s: cannot %s: %s", path, doing, strerror(cause));
  if (err && err->code == code) err->sys_errno = cause;
  return code;
}

static const char *beside(char out[PATH_MAX], const char *path, const char *suffix) {
  int length = snprintf(out, PATH_MAX, "%s%s", path, suffix);
  assert(length > 0 && length < PATH_MAX); /* resolve() has left room */
  return out;
}

static bool exists(const char *path) {
  struct stat status;
  return lstat(path, &status) == 0;
}

/* ---- where ---------------------------------------------------------------------------------- */

/* The one name of the file: links resolved, so that two names of one log have one lock file. */
static enum error_code resolve(const char *path, char out[PATH_MAX], struct error *err) {
  char copy[PATH_MAX], directory[PATH_MAX];
  if (strlen(path) + SUFFIX_MAX >= PATH_MAX || path[0] == '\0')
    return error_set(err, ERR_LOG, "the path of the decision log is empty or too long");
  if (exists(path)) {
    if (!realpath(path, out)) return system_error(err, "find what the link leads to", path);
  } else {
    (void)strcpy(copy, path); /* dirname() and basename() write into it */
    if (!realpath(dirname(copy), directory)) return system_error(err, "find its directory", path);
    (void)strcpy(copy, path);
    if (snprintf(out, PATH_MAX, "%s/%s", directory, basename(copy)) >= PATH_MAX) out[0] = '\0';
  }
  if (out[0] == '\0' || strlen(out) + SUFFIX_MAX >= PATH_MAX)
    return error_set(err, ERR_LOG, "the path of the decision log is too long");
  return ERR_OK;
}

/* ---- the plain look ------------------------------------------------------------------------- */

static uint32_t big_endian(const unsigned char *at) {
  return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static enum error_code check_header(const unsigned char *header, ssize_t size, const char *path,
                                    struct error *err) {
  if (size < FILE_HEADER_SIZE)
    return error_set(err, ERR_LOG,
                     "%s has %zd bytes: it was cut, or is not a decision log. Restore it, with its "
                     "-wal file; it was not changed",
                     path, size);
  if (memcmp(header, "SQLite format 3", 16) != 0)
    return error_set(err, ERR_LOG,
                     "%s is not a decision log, or its beginning is damaged. Check the configured "
                     "path, or restore the log, with its -wal file; it was not changed",
                     path);
  if (big_endian(header + HEADER_APPLICATION_ID) != LOG_APPLICATION_ID)
    return error_set(err, ERR_LOG,
                     "%s is an SQLite database of another application, not a decision log. Check "
                     "the configured path; it was not changed",
                     path);
  uint32_t format = big_endian(header + HEADER_USER_VERSION);
  if (format != LOG_FORMAT)
    return error_set(err, ERR_LOG,
                     "decision log %s has format %u, and this program knows format %d: run the "
                     "version that wrote it, or a newer one; it was not changed",
                     path, format, LOG_FORMAT);
  return ERR_OK;
}

/* Before SQLite has the file open: closing it here would drop SQLite's locks. */
static enum error_code look_plainly(const char *path, struct error *err) {
  unsigned char header[FILE_HEADER_SIZE];
  struct stat status;
  int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return system_error(err, "open it", path);
  enum error_code code = ERR_OK;
  ssize_t size = -1;
  if (fstat(fd, &status) != 0)
    code = system_error(err, "look at it", path);
  else if (!S_ISREG(status.st_mode))
    code = error_set(err, ERR_LOG, "%s is not a file", path);
  else if ((size = pread(fd, header, sizeof header, 0)) < 0)
    code = system_error(err, "read it", path);
  else
    code = check_header(header, size, path, err);
  (void)close(fd);
  return code;
}

/* ---- opening by SQLite ---------------------------------------------------------------------- */

static enum store_result run_text(struct store *store, const char *sql, struct error *err) {
  int rc = sqlite3_exec(store->db, sql, NULL, NULL, NULL);
  return rc == SQLITE_OK ? STORE_OK : sqlite_failed(store, rc, "cannot set it up", err);
}

/* The first column of the first row, as text; "" if there is none. */
static enum store_result ask(struct store *store, const char *sql, char *answer, size_t size,
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
  enum store_result result = ask(store, sql, answer, sizeof answer, err);
  if (result != STORE_OK || strcmp(answer, wanted) == 0) return result;
  (void)error_set(err, ERR_LOG, "decision log %s: \"%s\" answers \"%s\" instead of \"%s\"",
                  store->path, sql, answer, wanted);
  return STORE_FAILED;
}

static int on_commit(void *data, sqlite3 *db, const char *name, int frames) {
  struct store *store = data;
  (void)db;
  (void)name;
  store->frames = frames;
  return SQLITE_OK;
}

static enum store_result open_database(struct store *store, const char *path, struct error *err) {
  /* An absolute path: SQLite would take "file:..." and ":memory:" for something else. */
  assert(path[0] == '/');
  int rc = sqlite3_open_v2(path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
  if (rc != SQLITE_OK) return sqlite_failed(store, rc, "cannot open it", err);
  (void)sqlite3_extended_result_codes(store->db, 1);
  (void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
  (void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
  return STORE_OK;
}

/* secure_delete is a Debian default: it would write pages again only to blank them. */
static enum store_result connect(struct store *store, struct error *err) {
  store->frames = 0;
  store->checkpoint_at = CHECKPOINT_FRAMES;
  enum store_result result = open_database(store, store->path, err);
  if (result == STORE_OK) result = expect(store, "PRAGMA locking_mode=EXCLUSIVE", "exclusive", err);
  if (result == STORE_OK) result = expect(store, "PRAGMA journal_mode=WAL", "wal", err);
  if (result == STORE_OK)
    result = run_text(store,
                      "PRAGMA synchronous=FULL; PRAGMA cache_spill=OFF; PRAGMA temp_store=MEMORY;"
                      "PRAGMA secure_delete=OFF; PRAGMA cell_size_check=ON; PRAGMA mmap_size=0;",
                      err);
  if (result == STORE_OK) result = expect(store, "PRAGMA synchronous", "2", err);
  if (result == STORE_OK) result = expect(store, "PRAGMA user_version", "1", err);
  if (result == STORE_OK) result = sqlite_prepare_all(store, err);
  if (result == STORE_OK) (void)sqlite3_wal_hook(store->db, on_commit, store);
  return result;
}

static void disconnect(struct store *store, bool checkpoint) {
  if (!store->db) return;
  sqlite_finalize_all(store);
  if (!checkpoint) (void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
  int rc = sqlite3_close(store->db);
  assert(rc == SQLITE_OK); /* else a statement was left */
  store->db = NULL;
  store->in_transaction = false;
}

/* ---- making a log --------------------------------------------------------------------------- */

static enum error_code sync_directory(const char *path, struct error *err) {
  char copy[PATH_MAX];
  (void)strcpy(copy, path);
  int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  bool synced = fd >= 0 && fsync(fd) == 0;
  enum error_code code = synced ? ERR_OK : system_error(err, "sync its directory", path);
  if (fd >= 0) (void)close(fd);
  return code;
}

/* With a rollback journal: its COMMIT leaves one whole, synced file and nothing beside it. */
static enum store_result fill(struct store *store, const char *path, struct error *err) {
  char setup[200];
  struct cluster_id cluster = cluster_id_make();
  (void)snprintf(setup, sizeof setup,
                 "PRAGMA synchronous=EXTRA; BEGIN; PRAGMA application_id=%d;"
                 " PRAGMA user_version=%d;",
                 LOG_APPLICATION_ID, LOG_FORMAT);
  enum store_result result = open_database(store, path, err);
  if (result == STORE_OK) result = run_text(store, setup, err);
  if (result == STORE_OK) result = run_text(store, sqlite_schema, err);
  if (result != STORE_OK) return result;

  struct binder b = {.next = 1};
  b.rc = sqlite3_prepare_v2(store->db, "INSERT INTO meta VALUES (1, ?1, 0, ?2)", -1, &b.statement,
                            NULL);
  bind_text(&b, cluster.text);
  bind_int(&b, clock_wall_us());
  result = sqlite_run(store, &b, NULL, "cannot name it", err);
  (void)sqlite3_finalize(b.statement);
  return result == STORE_OK ? run_text(store, "COMMIT", err) : result;
}

static enum error_code make(struct store *store, struct error *err) {
  char new_path[PATH_MAX], journal[PATH_MAX];
  beside(new_path, store->path, ".new");
  /* What a start left that was killed here. */
  (void)unlink(beside(journal, new_path, "-journal"));
  (void)unlink(new_path);
  int fd = open(new_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return system_error(err, "make it", new_path);
  (void)close(fd);
  enum store_result result = fill(store, new_path, err);
  disconnect(store, true);
  enum error_code code = ERR_OK;
  if (result != STORE_OK)
    code = error_wrap(err, "making a new decision log");
  else if (rename(new_path, store->path) != 0)
    code = system_error(err, "name it", store->path);
  else
    return sync_directory(store->path, err);
  (void)unlink(new_path);
  return code;
}

/* A log that has gone is not a log that never was: its decisions may still bind databases. */
static enum error_code make_if_new(struct store *store, struct error *err) {
  char wal[PATH_MAX];
  if (exists(store->path)) return ERR_OK;
  if (exists(beside(wal, store->path, "-wal")))
    return error_set(err, ERR_LOG,
                     "decision log %s is gone, and its other half %s is there: restore the log; do "
                     "not delete that file",
                     store->path, wal);
  if (store->lock.cluster.text[0] != '\0')
    return error_set(
        err, ERR_LOG,
        "decision log %s is gone: cluster %s lived here, as its lock file says. Restore "
        "the log or mount its disk; only if it is lost and no transaction of it is "
        "open, remove %s.lock to begin a new one",
        store->path, store->lock.cluster.text, store->path);
  return make(store, err);
}

/* ---- checking, and the start of a life ------------------------------------------------------ */

static enum store_result check_whole(struct store *store, struct error *err) {
  char answer[200];
  struct stat status;
  if (stat(store->path, &status) != 0) {
    (void)system_error(err, "look at it", store->path);
    return STORE_FAILED;
  }
  if (status.st_size > INTEGRITY_BYTES_MAX) return STORE_OK;
  enum store_result result = ask(store, "PRAGMA integrity_check(1)", answer, sizeof answer, err);
  if (result != STORE_OK || strcmp(answer, "ok") == 0) return result;
  (void)error_set(err, ERR_LOG,
                  "decision log %s is damaged: %s. Restore it, with its -wal file, from a copy of "
                  "this very state, or resolve what is open by asking the databases",
                  store->path, answer);
  return STORE_FAILED;
}

static enum store_result read_meta(struct store *store, struct cluster_id *cluster, uint64_t *epoch,
                                   struct error *err) {
  char answer[64], text[CLUSTER_SIZE] = "";
  enum store_result result =
      ask(store, "SELECT cluster || ' ' || epoch FROM meta", answer, sizeof answer, err);
  if (result != STORE_OK) return result;
  long long number = -1;
  if (sscanf(answer, "%12[0-9a-z] %18lld", text, &number) != 2 || number < 0 ||
      !cluster_id_parse(text, cluster)) {
    (void)error_set(err, ERR_LOG,
                    "decision log %s does not tell its cluster and epoch: restore it, with its "
                    "-wal file",
                    store->path);
    return STORE_FAILED;
  }
  *epoch = (uint64_t)number;
  return STORE_OK;
}

static enum store_result begin_epoch(struct store *store, struct error *err) {
  char answer[32];
  enum store_result result =
      run_text(store, "BEGIN IMMEDIATE; UPDATE meta SET epoch = epoch + 1; COMMIT", err);
  if (result == STORE_OK) result = read_meta(store, &store->cluster, &store->epoch, err);
  if (result == STORE_OK)
    result = ask(store, "SELECT coalesce(max(id), 0) FROM audit", answer, sizeof answer, err);
  if (result == STORE_OK) store->last_audit_id = strtoll(answer, NULL, 10);
  return result;
}

static enum store_result empty_wal_file(struct store *store, struct error *err) {
  int rc = sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
  return rc == SQLITE_OK ? STORE_OK : sqlite_failed(store, rc, "cannot checkpoint", err);
}

static enum store_result start(struct store *store, struct error *err) {
  char wal[PATH_MAX];
  enum store_result result = connect(store, err);
  if (result == STORE_OK && frames_check(beside(wal, store->path, "-wal"), err) != ERR_OK)
    result = STORE_FAILED;
  if (result == STORE_OK) result = check_whole(store, err);
  if (result == STORE_OK) result = empty_wal_file(store, err);
  if (result == STORE_OK) result = begin_epoch(store, err);
  return result;
}

/* What SQLite's result means for who starts the coordinator. */
static enum error_code explain(struct store *store, struct error *err) {
  int primary = store->db ? sqlite3_errcode(store->db) & 0xff : SQLITE_OK;
  if (!err) return ERR_LOG;
  if (primary == SQLITE_BUSY)
    (void)error_wrap(err,
                     "another program (a backup, a shell) has the decision log open, close it");
  else if (primary == SQLITE_FULL)
    (void)error_wrap(err, "no space left for the decision log, make room and start again");
  else if (primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB)
    (void)error_wrap(err, "the decision log is damaged, restore it with its -wal file");
  err->code = ERR_LOG;
  return ERR_LOG;
}

enum error_code store_open(struct store **out, const char *path, struct error *err) {
  struct error failure = {0};
  struct store *store = memory_must(calloc(1, sizeof *store));
  store->lock.fd = -1;
  enum error_code code = resolve(path, store->path, &failure);
  if (code == ERR_OK) code = log_lock_take(&store->lock, store->path, &failure);
  if (code == ERR_OK) code = make_if_new(store, &failure);
  if (code == ERR_OK) code = look_plainly(store->path, &failure);
  if (code == ERR_OK && start(store, &failure) != STORE_OK) code = explain(store, &failure);
  if (code != ERR_OK) {
    store_close(store, false);
    return error_set(err, ERR_LOG, "%s", failure.text);
  }
  log_lock_note(&store->lock, &store->cluster);
  *out = store;
  return ERR_OK;
}

void store_close(struct store *store, bool sound) {
  disconnect(store, sound);
  log_lock_release(&store->lock);
  free(store->branches);
  free(store->rows);
  free(store);
}

enum store_result store_reopen(struct store *store, struct error *err) {
  struct cluster_id cluster;
  uint64_t epoch = 0;
  disconnect(store, false);
  enum store_result result = connect(store, err);
  if (result == STORE_OK) result = read_meta(store, &cluster, &epoch, err);
  if (result != STORE_OK) return STORE_FAILED;
  if (strcmp(cluster.text, store->cluster.text) != 0 || epoch != store->epoch) {
    (void)error_set(err, ERR_LOG, "decision log %s was replaced while it was open", store->path);
    return STORE_FAILED;
  }
  /* With all of it copied into the database, the -wal file begins anew, in the space it has: this
   * may be what lets the next write succeed. No space for the copy itself is no failure. */
  struct error failure = {0};
  result = store_checkpoint(store, &failure);
  if (result == STORE_FULL) return STORE_OK;
  return result == STORE_OK ? result : (error_set(err, failure.code, "%s", failure.text), result);
}

const struct cluster_id *store_cluster(const struct store *store) {
  return &store->cluster;
}

uint64_t store_epoch(const struct store *store) {
  return store->epoch;
}
