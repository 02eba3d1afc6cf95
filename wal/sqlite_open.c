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
 *  5. The -wal file is looked over (sqlite_frames.c), then the log as a whole (sqlite_check.c says
 * what): one that is damaged, or has lost something, is refused, with nothing changed.
 *  6. A log of an older format is brought up to date (sqlite_upgrade.c).
 *  7. The -wal file is copied into the database and emptied, so that no frame of a former life can
 * be mistaken later.
 *  8. The epoch grows by one, and this life is entered in the list of lives, durably.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "wal/sqlite.h"
#include "wal/sqlite_frames.h"

enum {
  SUFFIX_MAX = 32,        /* of the names beside PATH */
  FILE_HEADER_SIZE = 100, /* https://www.sqlite.org/fileformat2.html#the_database_header */
  HEADER_USER_VERSION = 60,
  HEADER_APPLICATION_ID = 68
};

static bool exists(const char *path) {
  struct stat status;
  return lstat(path, &status) == 0;
}

/* ---- where ---------------------------------------------------------------------------------- */

/* The one name of the file: links resolved, so that two names of one log have one lock file. */
enum error_code sqlite_resolve(const char *path, char out[PATH_MAX], struct error *err) {
  char copy[PATH_MAX], directory[PATH_MAX];
  if (strlen(path) + SUFFIX_MAX >= PATH_MAX || path[0] == '\0')
    return error_set(err, ERR_LOG, "the path of the decision log is empty or too long");
  if (exists(path)) {
    if (!realpath(path, out)) return sqlite_system_error(err, "find what the link leads to", path);
  } else {
    (void)strcpy(copy, path); /* dirname() and basename() write into it */
    if (!realpath(dirname(copy), directory))
      return sqlite_system_error(err, "find its directory", path);
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
                     "-wal file, or " LOG_LOST_HINT "; it was not changed",
                     path, size);
  if (memcmp(header, "SQLite format 3", 16) != 0)
    return error_set(err, ERR_LOG,
                     "%s is not a decision log, or its beginning is damaged. Check the configured "
                     "path, or restore the log, with its -wal file, or " LOG_LOST_HINT
                     "; it was not changed",
                     path);
  if (big_endian(header + HEADER_APPLICATION_ID) != LOG_APPLICATION_ID)
    return error_set(err, ERR_LOG,
                     "%s is an SQLite database of another application, not a decision log. Check "
                     "the configured path; it was not changed",
                     path);
  uint32_t format = big_endian(header + HEADER_USER_VERSION);
  if (format < LOG_FORMAT_OLDEST || format > LOG_FORMAT)
    return error_set(err, ERR_LOG,
                     "decision log %s has format %u, and this program knows formats %d to %d: run "
                     "the version that wrote it, or a newer one; it was not changed",
                     path, format, LOG_FORMAT_OLDEST, LOG_FORMAT);
  return ERR_OK;
}

/* Before SQLite has the file open: closing it here would drop SQLite's locks. */
enum error_code sqlite_look_plainly(const char *path, struct error *err) {
  unsigned char header[FILE_HEADER_SIZE];
  struct stat status;
  int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return sqlite_system_error(err, "open it", path);
  enum error_code code = ERR_OK;
  ssize_t size = -1;
  if (fstat(fd, &status) != 0)
    code = sqlite_system_error(err, "look at it", path);
  else if (!S_ISREG(status.st_mode))
    code = error_set(err, ERR_LOG, "%s is not a file", path);
  else if ((size = pread(fd, header, sizeof header, 0)) < 0)
    code = sqlite_system_error(err, "read it", path);
  else
    code = check_header(header, size, path, err);
  (void)close(fd);
  return code;
}

/* ---- is there a log? ------------------------------------------------------------------------- */

/* A log that has gone is not a log that never was: its decisions may still bind databases. */
static enum error_code make_if_new(struct store *store, struct error *err) {
  char wal[PATH_MAX];
  if (exists(store->path)) return ERR_OK;
  if (exists(sqlite_beside(wal, store->path, "-wal")))
    return error_set(err, ERR_LOG,
                     "decision log %s is gone, and its other half %s is there: restore the log (do "
                     "not delete that file), or " LOG_LOST_HINT,
                     store->path, wal);
  if (store->lock.mark.cluster.text[0] != '\0')
    return error_set(err, ERR_LOG,
                     "decision log %s is gone: cluster %s lived here, as its lock file says. "
                     "Restore the log or mount its disk; if it is lost, " LOG_LOST_HINT,
                     store->path, store->lock.mark.cluster.text);
  return sqlite_make(store, err);
}

/* ---- the start of a life -------------------------------------------------------------------- */

static enum store_result begin_epoch(struct store *store, const struct log_meta *meta,
                                     struct error *err) {
  char answer[32], sql[320];
  struct log_life life = {.epoch = meta->epoch + 1};
  run_id_make(life.run_id);
  (void)snprintf(sql, sizeof sql,
                 "BEGIN IMMEDIATE; UPDATE meta SET epoch = %" PRIu64 ", commits = %" PRIu64
                 "; INSERT INTO life VALUES (%" PRIu64 ", '%s', %" PRId64 "); COMMIT",
                 life.epoch, meta->commits + 1, life.epoch, life.run_id, clock_wall_us());
  enum store_result result = sqlite_run_text(store, sql, err);
  if (result == STORE_OK) result = sqlite_read_lives(store, life.epoch, err);
  if (result == STORE_OK)
    result =
        sqlite_ask(store, "SELECT coalesce(max(id), 0) FROM audit", answer, sizeof answer, err);
  if (result != STORE_OK) return result;
  store->last_audit_id = strtoll(answer, NULL, 10);
  store->cluster = meta->cluster;
  store->epoch = life.epoch;
  store->commits = meta->commits + 1;
  store->unfinished = meta->unfinished;
  return STORE_OK;
}

static enum store_result empty_wal_file(struct store *store, struct error *err) {
  if (!log_move_begin(&store->lock, false)) {
    log_info("waiting_for_backup", NULL); /* it holds the files still, to copy them */
    (void)log_move_begin(&store->lock, true);
  }
  int rc = sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
  log_move_end(&store->lock);
  return rc == SQLITE_OK ? STORE_OK : sqlite_failed(store, rc, "cannot checkpoint", err);
}

static enum store_result start(struct store *store, struct error *err) {
  char wal[PATH_MAX];
  struct log_meta meta;
  enum store_result result = sqlite_connect(store, err);
  if (result == STORE_OK && frames_check(sqlite_beside(wal, store->path, "-wal"), err) != ERR_OK)
    result = STORE_FAILED;
  if (result == STORE_OK) result = sqlite_check_meta(store, &meta, err);
  if (result == STORE_OK) result = sqlite_check_pages(store, &meta, err);
  if (result == STORE_OK) result = sqlite_read_lives(store, meta.epoch, err);
  if (result == STORE_OK) result = sqlite_upgrade(store, &meta, err);
  if (result == STORE_OK) result = empty_wal_file(store, err);
  if (result == STORE_OK) result = begin_epoch(store, &meta, err);
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
    (void)error_wrap(
        err, "the decision log is damaged, restore it with its -wal file, or " LOG_LOST_HINT);
  err->code = ERR_LOG;
  return ERR_LOG;
}

enum error_code store_open(struct store **out, const char *path, struct error *err) {
  struct error failure = {0};
  struct store *store = memory_must(calloc(1, sizeof *store));
  store->lock.fd = -1;
  enum error_code code = sqlite_resolve(path, store->path, &failure);
  if (code == ERR_OK) code = log_lock_take(&store->lock, store->path, &failure);
  if (code == ERR_OK) code = make_if_new(store, &failure);
  if (code == ERR_OK) code = sqlite_look_plainly(store->path, &failure);
  if (code == ERR_OK && start(store, &failure) != STORE_OK) code = explain(store, &failure);
  if (code != ERR_OK) {
    store_close(store, false);
    return error_set(err, ERR_LOG, "%s", failure.text);
  }
  const struct log_mark mark = {.cluster = store->cluster, .commits = store->commits};
  log_lock_note(&store->lock, &mark, true);
  *out = store;
  return ERR_OK;
}

void store_close(struct store *store, bool sound) {
  /* Closing moves what is in the -wal file into the log, unless a backup is being made. */
  sqlite_disconnect(store, sound && store->db && log_move_begin(&store->lock, false));
  log_lock_release(&store->lock);
  free(store->branches);
  free(store->rows);
  free(store->lives);
  free(store);
}

enum store_result store_reopen(struct store *store, struct error *err) {
  struct log_meta meta;
  sqlite_disconnect(store, false);
  enum store_result result = sqlite_connect(store, err);
  if (result == STORE_OK) result = sqlite_read_meta(store, &meta, err);
  if (result != STORE_OK) return STORE_FAILED;
  if (strcmp(meta.cluster.text, store->cluster.text) != 0 || meta.epoch != store->epoch ||
      meta.commits < store->commits) {
    (void)error_set(err, ERR_LOG, "decision log %s was replaced while it was open", store->path);
    return STORE_FAILED;
  }
  store->commits = meta.commits;
  store->unfinished = meta.unfinished;
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

const struct log_life *store_lives(const struct store *store, size_t *count) {
  *count = store->life_count;
  return store->lives;
}
