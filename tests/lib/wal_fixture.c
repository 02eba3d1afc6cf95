/* See wal_fixture.h. What cannot be set up aborts: it is no finding about the log. */
#include "tests/lib/wal_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/fault_vfs.h"
#include "wal/rebuild.h"

static void must(bool holds) {
  if (!holds) abort();
}

/* ---- life ----------------------------------------------------------------------------------- */

/* In memory where there is such a place: no power fails here but the fault VFS's, and syncs of a disk were most of
 * what these tests waited for. */
static const char *place(void) {
  const char *told = getenv("TMPDIR");
  if (told) return told;
  return access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp";
}

void fixture_begin(struct wal_fixture *f) {
  *f = (struct wal_fixture){.options = {.retention_ms = 3600000}};
  (void)snprintf(f->directory, sizeof f->directory, "%s/assent-wal-XXXXXX", place());
  must(mkdtemp(f->directory) != NULL);
  (void)snprintf(f->path, sizeof f->path, "%s/log.db", f->directory);
  fault_vfs_reset();
  txid_forget(); /* other tests have been ahead of the clock */
  f->loop = loop_new();
  must(fixture_open(f) == ERR_OK);
}

void fixture_end(struct wal_fixture *f) {
  static const char *const suffixes[] = {"", "-wal", ".lock", ".link", ".new", ".new-journal"};
  fixture_close(f);
  record_list_clear(&f->records);
  loop_free(f->loop);
  for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++)
    fixture_remove_file(f, suffixes[i]);
  must(rmdir(f->directory) == 0);
  fault_vfs_reset();
}

enum error_code fixture_open(struct wal_fixture *f) {
  must(!f->wal);
  f->open_error = (struct error){0};
  return wal_open(&f->wal, f->loop, f->path, &f->options, &f->open_error);
}

void fixture_close(struct wal_fixture *f) {
  if (f->wal) wal_close(f->wal);
  f->wal = NULL;
}

void fixture_reopen(struct wal_fixture *f) {
  fixture_close(f);
  must(fixture_open(f) == ERR_OK);
}

/* ---- calls and answers ---------------------------------------------------------------------- */

static void answered(struct wal_fixture *f, const struct error *err) {
  must(f->answers < ANSWERS_MAX);
  f->errors[f->answers] = err ? *err : (struct error){0};
  if (++f->answers == f->awaited) loop_stop(f->loop);
}

void fixture_on_decided(void *data, enum wal_result result, const struct error *err) {
  struct wal_fixture *f = data;
  f->results[f->answers] = result;
  answered(f, err);
}

static void on_found(void *data, const struct wal_record *record, const struct error *err) {
  struct wal_fixture *f = data;
  record_list_clear(&f->records);
  if (record) record_list_add(&f->records, record);
  answered(f, err);
}

static void on_listed(void *data, const struct wal_record *records, size_t count,
                      const struct error *err) {
  struct wal_fixture *f = data;
  record_list_clear(&f->records);
  for (size_t i = 0; i < count; i++)
    record_list_add(&f->records, &records[i]);
  answered(f, err);
}

void fixture_await(struct wal_fixture *f, unsigned answers) {
  f->awaited = answers;
  if (f->answers < answers) loop_run(f->loop);
}

enum wal_result fixture_decide(struct wal_fixture *f, const struct wal_record *record) {
  wal_decide(f->wal, record, fixture_on_decided, f);
  fixture_await(f, f->answers + 1);
  return f->results[f->answers - 1];
}

enum wal_result fixture_audit(struct wal_fixture *f, const struct txid *txid) {
  wal_audit(f->wal, txid, 1, "resolve", "forced by an operator", 1000, fixture_on_decided, f);
  fixture_await(f, f->answers + 1);
  return f->results[f->answers - 1];
}

const struct wal_record *fixture_look_up(struct wal_fixture *f, const struct txid *txid) {
  wal_look_up(f->wal, txid, on_found, f);
  fixture_await(f, f->answers + 1);
  return f->records.items;
}

void fixture_run_sql(struct wal_fixture *f, const char *sql) {
  sqlite3 *db = NULL;
  must(sqlite3_open(f->path, &db) == SQLITE_OK);
  must(sqlite3_exec(db, "PRAGMA locking_mode=EXCLUSIVE", NULL, NULL, NULL) == SQLITE_OK);
  must(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK);
  must(sqlite3_close(db) == SQLITE_OK);
}

void fixture_rebuild(struct wal_fixture *f, uint64_t epoch) {
  struct log_rebuild *rebuild = NULL;
  struct error err = {0};
  char aside[PATH_MAX], name[PATH_MAX + 8];
  must(log_rebuild_begin(&rebuild, f->path, &err) == ERR_OK);
  struct log_rebuilt made = {.cluster = *log_rebuild_cluster(rebuild), .epoch = epoch};
  run_id_make(made.run_id);
  must(log_rebuild_finish(rebuild, &made, aside, &err) == ERR_OK);
  log_rebuild_free(rebuild);
  (void)unlink(aside);
  (void)snprintf(name, sizeof name, "%s-wal", aside);
  (void)unlink(name);
}

size_t fixture_list(struct wal_fixture *f, const struct wal_filter *filter) {
  wal_list(f->wal, filter, on_listed, f);
  fixture_await(f, f->answers + 1);
  return f->records.count;
}

static enum error_code on_unfinished(void *data, const struct wal_record *record,
                                     struct error *err) {
  struct wal_fixture *f = data;
  (void)err;
  record_list_add(&f->records, record);
  return ERR_OK;
}

enum error_code fixture_unfinished(struct wal_fixture *f, struct error *err) {
  record_list_clear(&f->records);
  return wal_each_unfinished(f->wal, on_unfinished, f, err);
}

bool fixture_killed_after(struct wal_fixture *f, void (*play)(struct wal_fixture *f)) {
  fixture_close(f);
  (void)fflush(stdout);
  pid_t pid = fork();
  must(pid >= 0);
  if (pid == 0) {
    f->loop = loop_new();
    if (fixture_open(f) != ERR_OK) _exit(1);
    play(f);
    (void)raise(SIGKILL);
  }
  int status = 0;
  must(waitpid(pid, &status, 0) == pid);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

/* ---- samples -------------------------------------------------------------------------------- */

static void fill(struct wal_fixture *f, struct sample *s, size_t branches) {
  static const char *const participants[] = {"bank_a", "bank_b", "stock"};
  *s = (struct sample){.record = {.txid = txid_make(1700000000000000),
                                  .label = "order-42",
                                  .created_at_us = 1700000000000001,
                                  .decided_at_us = 1700000000000002,
                                  .timeout_ms = 30000,
                                  .wait_decided = true,
                                  .cause = {.statement = -1},
                                  .branches = s->branches,
                                  .branch_count = branches}};
  for (size_t i = 0; i < branches; i++) {
    struct gid gid = {.cluster = *wal_cluster(f->wal),
                      .epoch = wal_epoch(f->wal),
                      .txid = s->record.txid,
                      .branch = (unsigned)i + 1};
    gid_format(&gid, s->gids[i]);
    s->branches[i] = (struct wal_branch){.id = gid.branch,
                                         .participant = participants[i],
                                         .gid = s->gids[i],
                                         .xid = i == 2 ? "" : "18446744073709551615",
                                         .server = i == 2 ? "" : "7312345678901234567/3/16384",
                                         .read_only = i == 2};
  }
}

void sample_commit(struct wal_fixture *f, struct sample *out) {
  fill(f, out, SAMPLE_BRANCHES);
  out->record.kind = WAL_KIND_COMMIT;
  out->record.outcome = WAL_OUTCOME_COMMITTED;
}

void sample_delegated(struct wal_fixture *f, struct sample *out) {
  fill(f, out, 1);
  out->record.kind = WAL_KIND_DELEGATED;
  out->record.decided_at_us = 0;
}

void sample_aborted(struct wal_fixture *f, struct sample *out) {
  fill(f, out, 2);
  out->record.kind = WAL_KIND_ABORTED;
  out->record.outcome = WAL_OUTCOME_ABORTED;
  out->record.label = NULL;
  out->record.wait_decided = false;
  out->record.applied_at_us = 1700000000000003;
  out->record.cause = (struct cause){.kind = CAUSE_STATEMENT,
                                     .branch = 2,
                                     .statement = 1,
                                     .sqlstate = "23514",
                                     .text = "balance \xe2\x89\xa5 0, it's \"checked\""};
  out->branches[0].confirmed = true;
  out->branches[0].outcome = BRANCH_OUTCOME_ABORTED;
}

static bool texts_are_equal(const char *a, const char *b) {
  return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool branches_are_equal(const struct wal_branch *a, const struct wal_branch *b) {
  return a->id == b->id && texts_are_equal(a->participant, b->participant) &&
         texts_are_equal(a->gid, b->gid) && texts_are_equal(a->xid, b->xid) &&
         texts_are_equal(a->server, b->server) && a->read_only == b->read_only &&
         a->confirmed == b->confirmed && a->outcome == b->outcome;
}

static bool causes_are_equal(const struct cause *a, const struct cause *b) {
  return a->kind == b->kind && a->branch == b->branch && a->statement == b->statement &&
         texts_are_equal(a->sqlstate, b->sqlstate) && texts_are_equal(a->text, b->text);
}

bool records_are_equal(const struct wal_record *a, const struct wal_record *b) {
  if (!texts_are_equal(a->txid.text, b->txid.text) || a->kind != b->kind ||
      a->outcome != b->outcome || !texts_are_equal(a->label, b->label) ||
      !texts_are_equal(a->owner, b->owner) || a->created_at_us != b->created_at_us ||
      a->decided_at_us != b->decided_at_us || a->applied_at_us != b->applied_at_us ||
      a->timeout_ms != b->timeout_ms || a->wait_decided != b->wait_decided ||
      !causes_are_equal(&a->cause, &b->cause) || a->branch_count != b->branch_count)
    return false;
  for (size_t i = 0; i < a->branch_count; i++)
    if (!branches_are_equal(&a->branches[i], &b->branches[i])) return false;
  return true;
}

/* ---- files ---------------------------------------------------------------------------------- */

static const char *file(struct wal_fixture *f, const char *suffix, char out[PATH_MAX]) {
  (void)snprintf(out, PATH_MAX, "%s%s", f->path, suffix);
  return out;
}

unsigned char *fixture_read_file(struct wal_fixture *f, const char *suffix, size_t *size) {
  char path[PATH_MAX];
  struct stat status;
  int fd = open(file(f, suffix, path), O_RDONLY | O_CLOEXEC);
  must(fd >= 0 && fstat(fd, &status) == 0);
  *size = (size_t)status.st_size;
  unsigned char *bytes = malloc(*size + 1);
  must(bytes && read(fd, bytes, *size) == (ssize_t)*size);
  (void)close(fd);
  return bytes;
}

void fixture_write_file(struct wal_fixture *f, const char *suffix, const void *bytes, size_t size) {
  char path[PATH_MAX];
  int fd = open(file(f, suffix, path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  must(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
  (void)close(fd);
}

void fixture_remove_file(struct wal_fixture *f, const char *suffix) {
  char path[PATH_MAX];
  (void)unlink(file(f, suffix, path));
}

bool fixture_has_file(struct wal_fixture *f, const char *suffix) {
  char path[PATH_MAX];
  return access(file(f, suffix, path), F_OK) == 0;
}
