/* See backup.h. The coordinator has SQLite's exclusive lock on its log, so that the copy is one of
 * bytes. Why it is consistent:
 *
 *  1. The files are held still (lock.h): nobody moves frames of the -wal file into the log until the
 *     copy is made. So the log does not change, and SQLite, which begins its -wal file anew only when
 *     all of it has been moved, does so at most once.
 *  2. The -wal file is copied after the log, and again when it has begun anew meanwhile, which its
 *     header tells. Then its frames are those that follow what is in the log, and its copy ends,
 *     wherever it was cut, with a whole transaction: SQLite passes over the rest. A frame that was written
 *     while it was read may be torn in the copy, with whole ones behind it, which would be damage: then
 *     the file is copied again.
 *  3. The number of commits that PATH.lock had at the beginning is the proof of the whole.
 *
 * The copy is opened under a name of its own beside TO, looked over like any log, made one file,
 * marked, synced, and only then called TO, by link(2): what is there is never written over.
 */
#include "wal/backup.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "wal/sqlite.h"
#include "wal/sqlite_frames.h"

enum { COPY_SIZE = 1 << 20, WAL_HEADER_SIZE = 32, WAL_TRIES_MAX = 5 };

static enum error_code failed(struct error *err, const char *doing, const char *path) {
  int cause = errno;
  enum error_code code = error_set(err, ERR_LOG, "cannot %s %s: %s", doing, path, strerror(cause));
  if (err && err->sys_errno == 0) err->sys_errno = cause;
  return code;
}

/* ---- bytes ---------------------------------------------------------------------------------- */

static bool write_all(int fd, const char *bytes, size_t size) {
  while (size > 0) {
    ssize_t written = write(fd, bytes, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes += written;
    size -= (size_t)written;
  }
  return true;
}

static enum error_code copy_bytes(int from, const char *path, int to, const char *to_path,
                                  struct error *err) {
  char *buffer = memory_must(malloc(COPY_SIZE));
  enum error_code code = ERR_OK;
  for (;;) {
    ssize_t size = read(from, buffer, COPY_SIZE);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) code = failed(err, "read", path);
    if (size > 0 && !write_all(to, buffer, (size_t)size)) code = failed(err, "write", to_path);
    if (size <= 0 || code != ERR_OK) break;
  }
  free(buffer);
  return code;
}

/* No `from` is an empty `to`, where `may_lack` allows it. */
static enum error_code copy_file(const char *path, const char *to, bool may_lack,
                                 struct error *err) {
  int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (out < 0) return failed(err, "make", to);
  enum error_code code = ERR_OK;
  int in = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (in >= 0)
    code = copy_bytes(in, path, out, to, err);
  else if (errno != ENOENT || !may_lack)
    code = failed(err, "read", path);
  if (in >= 0) (void)close(in);
  if (close(out) != 0 && code == ERR_OK) code = failed(err, "write", to);
  return code;
}

/* Zeros when there is none, or not all of it. */
static void read_wal_header(const char *path, unsigned char header[WAL_HEADER_SIZE]) {
  memset(header, 0, WAL_HEADER_SIZE);
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return;
  if (pread(fd, header, WAL_HEADER_SIZE, 0) != WAL_HEADER_SIZE) memset(header, 0, WAL_HEADER_SIZE);
  (void)close(fd);
}

static enum error_code copy_wal(const char *path, const char *to, struct error *err) {
  char from[PATH_MAX], copy[PATH_MAX];
  unsigned char before[WAL_HEADER_SIZE], after[WAL_HEADER_SIZE];
  sqlite_beside(from, path, "-wal");
  sqlite_beside(copy, to, "-wal");
  bool same = false;
  for (int i = 0; i < WAL_TRIES_MAX; i++) {
    struct error torn = {0};
    read_wal_header(from, before);
    enum error_code code = copy_file(from, copy, true, err);
    if (code != ERR_OK) return code;
    read_wal_header(from, after);
    same = memcmp(before, after, sizeof before) == 0;
    if (same && frames_check(copy, &torn) == ERR_OK) return ERR_OK;
  }
  if (same) return ERR_OK; /* damaged in the log, too: check_copy() says so */
  return error_set(err, ERR_LOG, "%s changes under the copy: try again", from);
}

static enum error_code copy_still(const char *path, const char *to, struct error *err) {
  int held = log_hold_still(path, err);
  if (held < 0) return ERR_LOG;
  enum error_code code = copy_file(path, to, false, err);
  if (code == ERR_OK) code = copy_wal(path, to, err);
  (void)close(held);
  return code;
}

/* ---- the copy ------------------------------------------------------------------------------- */

static enum store_result check_copy(struct store *store, struct log_meta *meta, struct error *err) {
  char wal[PATH_MAX];
  if (frames_check(sqlite_beside(wal, store->path, "-wal"), err) != ERR_OK) return STORE_FAILED;
  enum store_result result = sqlite_check_meta(store, meta, err);
  if (result == STORE_OK) result = sqlite_check_pages(store, meta, err);
  if (result == STORE_OK) result = sqlite_read_lives(store, meta->epoch, err);
  return result;
}

/* One file with nothing beside it: the rollback journal is gone with its COMMIT. */
static enum store_result mark_copy(struct store *store, struct error *err) {
  char sql[100];
  (void)snprintf(sql, sizeof sql, "UPDATE meta SET copied_at_us = %" PRId64, clock_wall_us());
  enum store_result result = sqlite_run_text(store, sql, err);
  sqlite_finalize_all(store);
  if (result == STORE_OK) result = sqlite_run_text(store, "PRAGMA journal_mode=DELETE", err);
  return result;
}

static enum error_code finish_copy(const char *copy, const struct log_mark *mark,
                                   struct log_backup *out, struct error *err) {
  struct store *store = memory_must(calloc(1, sizeof *store));
  struct log_meta meta;
  store->lock = (struct log_lock){.fd = -1, .mark = *mark};
  (void)snprintf(store->path, sizeof store->path, "%s", copy);
  enum error_code code = sqlite_look_plainly(copy, err);
  if (code == ERR_OK &&
      (sqlite_connect(store, err) != STORE_OK || check_copy(store, &meta, err) != STORE_OK ||
       mark_copy(store, err) != STORE_OK))
    code = ERR_LOG;
  if (code == ERR_OK)
    *out = (struct log_backup){.cluster = meta.cluster,
                               .epoch = meta.epoch,
                               .commits = meta.commits,
                               .unfinished = meta.unfinished};
  sqlite_disconnect(store, code == ERR_OK);
  free(store->lives);
  free(store);
  return code;
}

static enum error_code name_copy(const char *copy, const char *to, struct error *err) {
  int fd = open(copy, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return failed(err, "open", copy);
  int synced = fsync(fd);
  (void)close(fd);
  if (synced != 0) return failed(err, "sync", copy);
  if (link(copy, to) != 0) return failed(err, "make", to);
  return sqlite_sync_directory(to, err);
}

enum error_code log_backup(const char *path, const char *to, struct log_backup *out,
                           struct error *err) {
  static const char *const suffixes[] = {"", "-wal", "-journal"};
  char log[PATH_MAX], copy[PATH_MAX], name[PATH_MAX];
  struct stat status;
  if (sqlite_resolve(path, log, err) != ERR_OK || sqlite_resolve(to, name, err) != ERR_OK)
    return ERR_LOG;
  if (lstat(to, &status) == 0)
    return error_set(err, ERR_LOG, "%s is there already, and is never written over", to);
  if (stat(log, &status) != 0) return failed(err, "find the decision log", log);
  const struct log_mark mark = log_mark_read(log);
  sqlite_beside(copy, name, ".partial");
  enum error_code code = copy_still(log, copy, err);
  if (code == ERR_OK) code = finish_copy(copy, &mark, out, err);
  if (code == ERR_OK) code = name_copy(copy, name, err);
  for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
    char beside[PATH_MAX];
    if (snprintf(beside, sizeof beside, "%s%s", copy, suffixes[i]) < (int)sizeof beside)
      (void)unlink(beside);
  }
  return code;
}
