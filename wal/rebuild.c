/* See rebuild.h.
 *
 * The new log is filled under the name PATH.recovered, in one SQLite transaction; then
 *
 *   PATH and PATH-wal get second names, PATH.lost-N and PATH.lost-N-wal; then lose their first ones;
 *   the mark in PATH.lock; PATH.recovered -> PATH
 *
 * and each step leaves a state that a start refuses (commits are missing, or the log is gone and
 * lived here), and in which all that was left is found under one name or the other, until the last
 * one has named a whole log.
 */
#include "wal/rebuild.h"

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

struct log_rebuild {
  char path[PATH_MAX];
  struct log_lock lock;
  struct cluster_id cluster;
  uint64_t commits; /* the highest count there is evidence of */
  struct log_remnant remnants[REMNANTS_MAX];
  struct store *stores[REMNANTS_MAX]; /* NULL: not readable */
  size_t count;
};

/* ---- reading what is left ------------------------------------------------------------------- */

static bool exists(const char *path) {
  struct stat status;
  return lstat(path, &status) == 0;
}

static void remnant_name(const struct log_rebuild *r, size_t number, char out[PATH_MAX]) {
  char suffix[24] = "";
  if (number > 0) (void)snprintf(suffix, sizeof suffix, ".lost-%zu", number);
  sqlite_beside(out, r->path, suffix);
}

/* Reads only: no PRAGMA that writes, and nothing is moved from the -wal file at the end. */
static enum store_result open_remnant(struct store *store, struct log_meta *meta,
                                      struct error *err) {
  enum store_result result = sqlite_open_file(store, store->path, err);
  if (result == STORE_OK)
    result =
        sqlite_run_text(store, "PRAGMA locking_mode=EXCLUSIVE; PRAGMA cell_size_check=ON", err);
  if (result == STORE_OK) result = sqlite_learn_format(store, err);
  if (result == STORE_OK) result = sqlite_prepare_all(store, err);
  if (result == STORE_OK) result = sqlite_read_meta(store, meta, err);
  if (result == STORE_OK) store->cluster = meta->cluster;
  return result;
}

/* What stands against using the file as the log, in the words of a refused start. */
static void examine(struct store *store, const struct log_lock *lock, struct log_remnant *remnant) {
  struct error err = {0};
  struct log_meta meta;
  store->lock.mark = lock->mark;
  enum store_result result = sqlite_check_meta(store, &meta, &err);
  if (result == STORE_OK) result = sqlite_check_pages(store, &meta, &err);
  if (result == STORE_OK) result = sqlite_read_lives(store, meta.epoch, &err);
  if (result != STORE_OK) (void)snprintf(remnant->note, sizeof remnant->note, "%s", err.text);
}

typedef enum store_result (*each_fn)(void *data, struct store *store,
                                     const struct wal_record *record, int64_t ended_at_us,
                                     struct error *err);

/* Every record that can be read; those that cannot are counted. A page that cannot be read ends it. */
static enum store_result each_record(struct store *store, struct log_remnant *remnant, each_fn fn,
                                     void *data, struct error *err) {
  sqlite3_stmt *rows = NULL;
  struct error ignored = {0};
  enum store_result result = STORE_OK;
  int rc = sqlite3_prepare_v2(store->db, "SELECT txid, ended_at_us FROM txn", -1, &rows, NULL);
  remnant->records = remnant->damaged = 0;
  while (rc == SQLITE_OK && result == STORE_OK && sqlite3_step(rows) == SQLITE_ROW) {
    const unsigned char *text = sqlite3_column_text(rows, 0);
    const struct wal_record *record = NULL;
    struct txid txid;
    error_clear(&ignored);
    if (text && txid_parse((const char *)text, &txid) &&
        store_find(store, &txid, &record, &ignored) == STORE_OK && record) {
      remnant->records++;
      if (fn) result = fn(data, store, record, sqlite3_column_int64(rows, 1), err);
    } else {
      remnant->damaged++;
    }
  }
  if (sqlite3_finalize(rows) != SQLITE_OK && result == STORE_OK) remnant->damaged++;
  return result;
}

static void read_remnant(struct log_rebuild *r, const char *path) {
  struct log_remnant *remnant = &r->remnants[r->count];
  struct store *store = memory_must(calloc(1, sizeof *store));
  struct log_meta meta = {0};
  struct error err = {0};
  *remnant = (struct log_remnant){0};
  store->lock.fd = -1;
  (void)snprintf(remnant->path, sizeof remnant->path, "%s", path);
  (void)snprintf(store->path, sizeof store->path, "%s", path);
  if (sqlite_look_plainly(path, &err) == ERR_OK && open_remnant(store, &meta, &err) == STORE_OK) {
    remnant->readable = true;
    remnant->cluster = meta.cluster;
    remnant->epoch = meta.epoch;
    if (meta.commits > r->commits) r->commits = meta.commits;
    examine(store, &r->lock, remnant);
    (void)each_record(store, remnant, NULL, NULL, &err);
    r->stores[r->count++] = store;
    return;
  }
  (void)snprintf(remnant->note, sizeof remnant->note, "%s", err.text);
  r->stores[r->count++] = NULL;
  sqlite_disconnect(store, false);
  free(store);
}

static void read_remnants(struct log_rebuild *r) {
  char path[PATH_MAX];
  for (size_t i = 0; i < REMNANTS_MAX; i++) {
    remnant_name(r, i, path);
    if (exists(path)) read_remnant(r, path);
  }
  r->cluster = r->lock.mark.cluster;
  for (size_t i = 0; i < r->count && r->cluster.text[0] == '\0'; i++)
    r->cluster = r->remnants[i].cluster;
}

enum error_code log_rebuild_begin(struct log_rebuild **out, const char *path, struct error *err) {
  struct log_rebuild *r = memory_must(calloc(1, sizeof *r));
  r->lock.fd = -1;
  enum error_code code = sqlite_resolve(path, r->path, err);
  if (code == ERR_OK) code = log_lock_take(&r->lock, r->path, err);
  if (code != ERR_OK) {
    log_rebuild_free(r);
    return code;
  }
  r->commits = r->lock.mark.commits;
  read_remnants(r);
  *out = r;
  return ERR_OK;
}

static void close_remnants(struct log_rebuild *r) {
  for (size_t i = 0; i < r->count; i++) {
    if (!r->stores[i]) continue;
    sqlite_disconnect(r->stores[i], false);
    free(r->stores[i]->branches);
    free(r->stores[i]->rows);
    free(r->stores[i]->lives);
    free(r->stores[i]);
    r->stores[i] = NULL;
  }
}

void log_rebuild_free(struct log_rebuild *r) {
  if (!r) return;
  close_remnants(r);
  log_lock_release(&r->lock);
  free(r);
}

const struct log_remnant *log_rebuild_remnants(const struct log_rebuild *r, size_t *count) {
  *count = r->count;
  return r->remnants;
}

const struct cluster_id *log_rebuild_cluster(const struct log_rebuild *r) {
  return &r->cluster;
}

void log_rebuild_set_cluster(struct log_rebuild *r, const struct cluster_id *cluster) {
  r->cluster = *cluster;
}

static bool is_ours(const struct log_rebuild *r, size_t i) {
  return r->stores[i] && strcmp(r->remnants[i].cluster.text, r->cluster.text) == 0;
}

uint64_t log_rebuild_epoch(const struct log_rebuild *r) {
  uint64_t epoch = 0;
  for (size_t i = 0; i < r->count; i++)
    if (is_ours(r, i) && r->remnants[i].epoch > epoch) epoch = r->remnants[i].epoch;
  return epoch;
}

struct wal_record *log_rebuild_find(struct log_rebuild *r, const struct txid *txid) {
  struct wal_record *note = NULL;
  for (size_t i = 0; i < r->count; i++) {
    const struct wal_record *found = NULL;
    struct error ignored = {0};
    if (!is_ours(r, i) || store_find(r->stores[i], txid, &found, &ignored) != STORE_OK || !found)
      continue;
    if (found->kind == WAL_KIND_ABORTED && note) continue;
    struct wal_record *copy = record_copy(found);
    if (found->kind != WAL_KIND_ABORTED) {
      free(note);
      return copy;
    }
    note = copy;
  }
  return note;
}

/* ---- the new log ---------------------------------------------------------------------------- */

/* First the decisions of all remnants, then the notes: so a decision stands, whoever noted what. */
struct copying {
  struct store *to;
  bool notes;
};

static enum store_result has_record(struct store *to, const struct txid *txid, bool *out,
                                    struct error *err) {
  bool row = false;
  struct binder b = sqlite_bind(to, SQL_KIND);
  bind_text(&b, txid->text);
  enum store_result result = sqlite_run(to, &b, &row, "cannot read", err);
  if (row) sqlite_done(&b);
  *out = row;
  return result;
}

static enum store_result put_record(void *data, struct store *from, const struct wal_record *record,
                                    int64_t ended_at_us, struct error *err) {
  struct copying *copying = data;
  (void)from;
  bool is_note = record->kind == WAL_KIND_ABORTED;
  if (is_note != copying->notes || (is_note && ended_at_us == 0)) return STORE_OK;
  bool there = false;
  enum store_result result = has_record(copying->to, &record->txid, &there, err);
  if (result != STORE_OK || there) return result;
  return store_put(copying->to, record, ended_at_us, err);
}

static enum store_result copy_records(struct log_rebuild *r, struct store *to, struct error *err) {
  enum store_result result = STORE_OK;
  for (int notes = 0; notes < 2; notes++) {
    struct copying copying = {.to = to, .notes = notes == 1};
    for (size_t i = 0; i < r->count && result == STORE_OK; i++)
      if (is_ours(r, i))
        result = each_record(r->stores[i], &r->remnants[i], put_record, &copying, err);
  }
  return result;
}

/* Of two rows of one key, in two remnants, the later is the one that was not removed since. A key whose
 * row cannot be read is one that was never used: the databases do not know it. */
static enum store_result put_later_key(struct store *to, const struct wal_key *key,
                                       struct error *err) {
  struct wal_key *there = NULL;
  char sql[] = "DELETE FROM request WHERE name_space = ?1 AND name = ?2";
  enum store_result result = store_find_key(to, key->name_space, key->name, &there, err);
  bool later = there && there->at_us < key->at_us;
  bool put = !there || later;
  free(there);
  if (result == STORE_OK && later) {
    struct binder b = {.next = 1};
    b.rc = sqlite3_prepare_v2(to->db, sql, -1, &b.statement, NULL);
    bind_text(&b, key->name_space);
    bind_text(&b, key->name);
    result = sqlite_run(to, &b, NULL, "cannot replace a key", err);
    (void)sqlite3_finalize(b.statement);
  }
  return result == STORE_OK && put ? store_put_key(to, key, err) : result;
}

static enum store_result copy_keys(struct store *from, struct store *to, struct error *err) {
  sqlite3_stmt *rows = NULL;
  struct error ignored = {0};
  enum store_result result = STORE_OK;
  int rc = sqlite3_prepare_v2(from->db, "SELECT name_space, name FROM request", -1, &rows, NULL);
  while (rc == SQLITE_OK && result == STORE_OK && sqlite3_step(rows) == SQLITE_ROW) {
    const char *name_space = (const char *)sqlite3_column_text(rows, 0);
    const char *name = (const char *)sqlite3_column_text(rows, 1);
    struct wal_key *key = NULL;
    error_clear(&ignored);
    if (name_space && name && store_find_key(from, name_space, name, &key, &ignored) == STORE_OK &&
        key)
      result = put_later_key(to, key, err);
    free(key);
  }
  (void)sqlite3_finalize(rows); /* those that cannot be read stay where they are */
  return result;
}

static enum store_result copy_audit(struct store *from, struct store *to, struct error *err) {
  sqlite3_stmt *rows = NULL;
  enum store_result result = STORE_OK;
  int rc =
      sqlite3_prepare_v2(from->db,
                         "SELECT id, at_us, txid, branch, event, detail FROM audit ORDER BY id", -1,
                         &rows, NULL);
  while (rc == SQLITE_OK && result == STORE_OK && sqlite3_step(rows) == SQLITE_ROW) {
    bool there = false;
    const struct store_audit line = {.id = sqlite3_column_int64(rows, 0),
                                     .at_us = sqlite3_column_int64(rows, 1),
                                     .branch = (unsigned)sqlite3_column_int(rows, 3),
                                     .event = (const char *)sqlite3_column_text(rows, 4),
                                     .detail = (const char *)sqlite3_column_text(rows, 5)};
    struct store_audit copy = line;
    (void)snprintf(copy.txid.text, sizeof copy.txid.text, "%s",
                   (const char *)sqlite3_column_text(rows, 2));
    result = store_has_audit(to, line.id, &there, err);
    if (result == STORE_OK && !there && line.event && line.detail)
      result = store_audit(to, &copy, err);
    if (line.id > to->last_audit_id) to->last_audit_id = line.id;
  }
  (void)sqlite3_finalize(rows); /* lines that cannot be read stay where they are */
  return result;
}

static enum store_result add_life(struct store *to, const struct log_life *life,
                                  struct error *err) {
  struct binder b = {.next = 1};
  b.rc = sqlite3_prepare_v2(to->db, "INSERT OR IGNORE INTO life VALUES (?1, ?2, ?3)", -1,
                            &b.statement, NULL);
  bind_int(&b, (int64_t)life->epoch);
  bind_text(&b, life->run_id);
  bind_int(&b, clock_wall_us());
  enum store_result result = sqlite_run(to, &b, NULL, "cannot write a life", err);
  (void)sqlite3_finalize(b.statement);
  return result;
}

static enum store_result copy_lives(struct log_rebuild *r, struct store *to,
                                    const struct log_rebuilt *made, struct error *err) {
  enum store_result result = STORE_OK;
  for (size_t i = 0; i < r->count; i++) {
    if (!is_ours(r, i)) continue;
    for (size_t j = 0; j < r->stores[i]->life_count && result == STORE_OK; j++)
      if (r->stores[i]->lives[j].epoch < made->epoch)
        result = add_life(to, &r->stores[i]->lives[j], err);
  }
  struct log_life life = {.epoch = made->epoch};
  (void)snprintf(life.run_id, sizeof life.run_id, "%s", made->run_id);
  return result == STORE_OK ? add_life(to, &life, err) : result;
}

static enum store_result add_made(struct store *to, const struct log_rebuilt *made,
                                  struct error *err) {
  int64_t now_us = clock_wall_us();
  enum store_result result = STORE_OK;
  for (size_t i = 0; i < made->record_count && result == STORE_OK; i++) {
    const struct wal_record *record = &made->records[i];
    assert(!record_fault(record, &made->cluster) && record->kind != WAL_KIND_DELEGATED);
    result = store_put(to, record, record->kind == WAL_KIND_ABORTED ? now_us : 0, err);
  }
  for (size_t i = 0; i < made->line_count && result == STORE_OK; i++) {
    const struct log_audit_line *line = &made->lines[i];
    const struct store_audit audit = {.id = store_next_audit_id(to),
                                      .txid = line->txid,
                                      .event = line->event,
                                      .detail = line->detail,
                                      .at_us = now_us};
    result = store_audit(to, &audit, err);
  }
  return result;
}

static enum store_result fill(struct log_rebuild *r, struct store *to, const char *path,
                              const struct log_rebuilt *made, struct error *err) {
  char sql[200];
  enum store_result result = sqlite_fill(to, path, &made->cluster, err);
  if (result == STORE_OK) result = sqlite_prepare_all(to, err);
  to->cluster = made->cluster;
  to->in_transaction = true;
  if (result == STORE_OK) result = copy_records(r, to, err);
  for (size_t i = 0; i < r->count && result == STORE_OK; i++)
    if (is_ours(r, i)) result = copy_audit(r->stores[i], to, err);
  for (size_t i = 0; i < r->count && result == STORE_OK; i++)
    if (is_ours(r, i)) result = copy_keys(r->stores[i], to, err);
  if (result == STORE_OK) result = copy_lives(r, to, made, err);
  if (result == STORE_OK) result = add_made(to, made, err);
  (void)snprintf(sql, sizeof sql,
                 "UPDATE meta SET epoch = %" PRIu64 ", commits = %" PRIu64
                 ", unfinished = %" PRIu64,
                 made->epoch, r->commits + 1, to->unfinished);
  if (result == STORE_OK) result = sqlite_run_text(to, sql, err);
  return result == STORE_OK ? sqlite_run_text(to, "COMMIT", err) : result;
}

static enum error_code make_recovered(struct log_rebuild *r, const char *path,
                                      const struct log_rebuilt *made, struct error *err) {
  char journal[PATH_MAX];
  struct store *to = memory_must(calloc(1, sizeof *to));
  to->lock.fd = -1;
  (void)snprintf(to->path, sizeof to->path, "%s", path);
  (void)unlink(sqlite_beside(journal, path, "-journal")); /* what one left that was killed here */
  (void)unlink(path);
  enum error_code code = sqlite_create_empty(path, err);
  if (code == ERR_OK && fill(r, to, path, made, err) != STORE_OK)
    code = error_wrap(err, "making a new decision log");
  sqlite_disconnect(to, code == ERR_OK);
  free(to->branches);
  free(to->rows);
  free(to);
  if (code != ERR_OK) (void)unlink(path);
  return code;
}

/* ---- in its place --------------------------------------------------------------------------- */

static enum error_code name_also(const char *path, const char *other, struct error *err) {
  if (link(path, other) == 0 || errno == ENOENT) return ERR_OK;
  return sqlite_system_error(err, "set it aside", path);
}

static enum error_code set_aside(struct log_rebuild *r, char aside[PATH_MAX], struct error *err) {
  char wal[PATH_MAX], aside_wal[PATH_MAX];
  sqlite_beside(wal, r->path, "-wal");
  aside[0] = '\0';
  if (!exists(r->path) && !exists(wal)) return ERR_OK;
  for (size_t i = 1; i < REMNANTS_MAX; i++) {
    remnant_name(r, i, aside);
    sqlite_beside(aside_wal, aside, "-wal");
    if (exists(aside) || exists(aside_wal)) continue;
    enum error_code code = name_also(r->path, aside, err);
    if (code == ERR_OK) code = name_also(wal, aside_wal, err);
    if (code == ERR_OK) code = sqlite_sync_directory(r->path, err);
    if (code != ERR_OK) return code;
    (void)unlink(wal);
    (void)unlink(r->path);
    return ERR_OK;
  }
  return error_set(err, ERR_LOG, "%s.lost-1 to .lost-%d are all there: move some away", r->path,
                   REMNANTS_MAX - 1);
}

enum error_code log_rebuild_finish(struct log_rebuild *r, const struct log_rebuilt *made,
                                   char aside[PATH_MAX], struct error *err) {
  char path[PATH_MAX];
  aside[0] = '\0';
  assert(strcmp(r->cluster.text, made->cluster.text) == 0 && made->epoch > log_rebuild_epoch(r));
  sqlite_beside(path, r->path, ".recovered");
  enum error_code code = make_recovered(r, path, made, err);
  close_remnants(r);
  if (code == ERR_OK) code = set_aside(r, aside, err);
  if (code == ERR_OK) code = sqlite_sync_directory(r->path, err);
  if (code != ERR_OK) return code;
  const struct log_mark mark = {.cluster = made->cluster, .commits = r->commits + 1};
  log_lock_note(&r->lock, &mark, true);
  if (rename(path, r->path) != 0) return sqlite_system_error(err, "name it", r->path);
  return sqlite_sync_directory(r->path, err);
}
