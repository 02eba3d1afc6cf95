/* What is checked of a log's file before it is believed. See sqlite.c for the format.
 *
 * What is checked when:
 *  - at every start: the header (sqlite_open.c), the frames of the -wal file (sqlite_frames.c), the
 *    row of meta against PATH.lock (a log of another cluster, or with fewer commits than were made,
 *    has been exchanged, or has lost its last ones), that the number of unfinished transactions is
 *    the one that was counted, and each of these records by its sum (wal_each_unfinished());
 *  - at every start of a log of up to INTEGRITY_BYTES_MAX: every page and every index, by SQLite;
 *  - at every reading of a record: its types, lengths and sum.
 *
 * Limit: in a larger log a record that has ended can be hidden by damage to the page above it; it is
 * needed again only when a database's failover brings its branch back.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/clock.h"
#include "wal/sqlite.h"

enum { INTEGRITY_BYTES_MAX = 256 << 20 /* about a second */ };

static enum store_result refuse(struct error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static enum store_result refuse(struct error *err, const char *format, ...) {
  char text[400];
  va_list args;
  va_start(args, format);
  (void)vsnprintf(text, sizeof text, format, args);
  va_end(args);
  (void)error_set(err, ERR_LOG, "%s", text);
  return STORE_FAILED;
}

/* ---- meta ----------------------------------------------------------------------------------- */

enum store_result sqlite_read_meta(struct store *store, struct log_meta *out, struct error *err) {
  char answer[128], text[CLUSTER_SIZE] = "";
  enum store_result result =
      sqlite_ask(store,
                 "SELECT cluster || ' ' || epoch || ' ' || commits || ' ' || unfinished || ' ' ||"
                 " coalesce(copied_at_us, 0) FROM meta",
                 answer, sizeof answer, err);
  if (result != STORE_OK) return result;
  *out = (struct log_meta){0};
  if (answer[0] != '-' && !strstr(answer, " -") &&
      sscanf(answer, "%12[0-9a-z] %18" SCNu64 " %18" SCNu64 " %18" SCNu64 " %18" SCNd64, text,
             &out->epoch, &out->commits, &out->unfinished, &out->copied_at_us) == 5 &&
      cluster_id_parse(text, &out->cluster))
    return STORE_OK;
  return refuse(err,
                "decision log %s does not tell its cluster and epoch: restore it, with its -wal "
                "file, or " LOG_LOST_HINT,
                store->path);
}

/* A backup lacks what was decided after it, and its epoch may be the one that participants know. */
static enum store_result check_copied(const struct store *store, const struct log_meta *meta,
                                      struct error *err) {
  if (meta->copied_at_us == 0) return STORE_OK;
  char when[RFC3339_SIZE];
  clock_format_rfc3339(meta->copied_at_us, when);
  return refuse(err,
                "decision log %s is a backup, taken at %s: what was decided after that is not in "
                "it. With it in this place, " LOG_LOST_HINT,
                store->path, when);
}

static enum store_result check_mark(const struct store *store, const struct log_meta *meta,
                                    struct error *err) {
  const struct log_mark *mark = &store->lock.mark;
  if (mark->cluster.text[0] == '\0') return STORE_OK;
  if (strcmp(mark->cluster.text, meta->cluster.text) != 0)
    return refuse(err,
                  "decision log %s is of cluster %s, and cluster %s lived here, as the lock file "
                  "says: put its log back. If this one was moved here, bring its lock file, too",
                  store->path, meta->cluster.text, mark->cluster.text);
  if (meta->commits >= mark->commits) return STORE_OK;
  return refuse(err,
                "decision log %s lacks the last %" PRIu64 " of the %" PRIu64
                " commits made in it: its -wal file was removed, cut or damaged, or an older copy "
                "was put in its place. Restore the log, with its -wal file, or " LOG_LOST_HINT,
                store->path, mark->commits - meta->commits, mark->commits);
}

enum store_result sqlite_check_meta(struct store *store, struct log_meta *out, struct error *err) {
  enum store_result result = sqlite_read_meta(store, out, err);
  if (result == STORE_OK) result = check_copied(store, out, err);
  if (result == STORE_OK) result = check_mark(store, out, err);
  return result;
}

/* ---- pages ---------------------------------------------------------------------------------- */

static enum store_result check_unfinished(struct store *store, const struct log_meta *meta,
                                          struct error *err) {
  char answer[32];
  enum store_result result =
      sqlite_ask(store,
                 "SELECT count(*) FROM txn INDEXED BY txn_unfinished WHERE ended_at_us IS NULL",
                 answer, sizeof answer, err);
  if (result != STORE_OK || strtoull(answer, NULL, 10) == meta->unfinished) return result;
  return refuse(err,
                "decision log %s is damaged: it shows %s unfinished transactions and has counted "
                "%" PRIu64 ". Restore it, with its -wal file, or " LOG_LOST_HINT,
                store->path, answer, meta->unfinished);
}

enum store_result sqlite_check_pages(struct store *store, const struct log_meta *meta,
                                     struct error *err) {
  char answer[200];
  struct stat status;
  enum store_result result = check_unfinished(store, meta, err);
  if (result != STORE_OK) return result;
  if (stat(store->path, &status) != 0) {
    (void)sqlite_system_error(err, "look at it", store->path);
    return STORE_FAILED;
  }
  if (status.st_size > INTEGRITY_BYTES_MAX) return STORE_OK;
  result = sqlite_ask(store, "PRAGMA integrity_check(1)", answer, sizeof answer, err);
  if (result != STORE_OK || strcmp(answer, "ok") == 0) return result;
  return refuse(err,
                "decision log %s is damaged: %s. Restore it, with its -wal file, from a copy of "
                "this very state, or " LOG_LOST_HINT,
                store->path, answer);
}

/* ---- lives ---------------------------------------------------------------------------------- */

static void add_life(struct store *store, const struct log_life *life) {
  if ((store->life_count & (store->life_count - 1)) == 0) { /* none, or a power of two: full */
    size_t capacity = store->life_count ? 2 * store->life_count : 1;
    store->lives = memory_must(realloc(store->lives, capacity * sizeof *store->lives));
  }
  store->lives[store->life_count++] = *life;
}

enum store_result sqlite_read_lives(struct store *store, uint64_t epoch, struct error *err) {
  sqlite3_stmt *statement = NULL;
  store->life_count = 0;
  int rc = sqlite3_prepare_v2(store->db, "SELECT epoch, run_id FROM life ORDER BY epoch", -1,
                              &statement, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_step(statement);
  for (; rc == SQLITE_ROW; rc = sqlite3_step(statement)) {
    struct log_life life = {.epoch = (uint64_t)sqlite3_column_int64(statement, 0)};
    const unsigned char *run_id = sqlite3_column_text(statement, 1);
    (void)snprintf(life.run_id, sizeof life.run_id, "%s", run_id ? (const char *)run_id : "");
    add_life(store, &life);
  }
  enum store_result result =
      rc == SQLITE_DONE ? STORE_OK : sqlite_failed(store, rc, "cannot read it", err);
  (void)sqlite3_finalize(statement);
  if (result != STORE_OK) return result;
  uint64_t last = store->life_count > 0 ? store->lives[store->life_count - 1].epoch : 0;
  if (last == epoch) return STORE_OK;
  return refuse(err,
                "decision log %s is damaged: its epoch is %" PRIu64 ", its last start was %" PRIu64
                ". Restore it, with its -wal file, or " LOG_LOST_HINT,
                store->path, epoch, last);
}
