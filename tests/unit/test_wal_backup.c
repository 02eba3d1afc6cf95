/* Copies of a decision log made while it is written to, and new logs made from what is left of one. */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/process.h"
#include "tests/lib/suite.h"
#include "tests/lib/wal_fixture.h"
#include "wal/backup.h"
#include "wal/rebuild.h"

enum { MANY = 240, PER_BACKUP = 40 }; /* enough for several checkpoints, and for several backups */

static char copy_path[256];

static const char *copy_of(const struct wal_fixture *f) {
  (void)snprintf(copy_path, sizeof copy_path, "%s/copy.db", f->directory);
  return copy_path;
}

/* Of a closed log, or of one that another process has open: its locks are per process. */
static bool backup_succeeds(const struct wal_fixture *f) {
  struct log_backup backup;
  struct error err = {0};
  return log_backup(f->path, copy_of(f), &backup, &err) == ERR_OK;
}

static struct log_rebuild *begin_rebuild(const char *path) {
  struct log_rebuild *rebuild = NULL;
  struct error err = {0};
  CU_ASSERT_EQUAL_FATAL(log_rebuild_begin(&rebuild, path, &err), ERR_OK);
  return rebuild;
}

static bool has(struct log_rebuild *rebuild, const struct sample *s) {
  struct wal_record *found = log_rebuild_find(rebuild, &s->record.txid);
  bool same = found && record_sum(found) == record_sum(&s->record);
  free(found);
  return same;
}

static void drop_copy(const struct wal_fixture *f) {
  char lock[sizeof copy_path + 8];
  (void)snprintf(lock, sizeof lock, "%s.lock", copy_of(f));
  (void)unlink(lock);
  CU_ASSERT_EQUAL(unlink(copy_path), 0);
}

/* Shared with the process that decides. */
struct load {
  atomic_uint told, backups;
};
static struct load *load;
static struct sample samples[MANY];

/* PER_BACKUP decisions at most for each backup, so that there are several of them. */
static void decide_under_backups(struct wal_fixture *f) {
  for (unsigned i = 0; i < MANY; i++) {
    while (i >= (atomic_load(&load->backups) + 1) * PER_BACKUP)
      process_pause_ms(1);
    if (fixture_decide(f, &samples[i].record) != WAL_DURABLE) _exit(1);
    atomic_store(&load->told, i + 1);
  }
}

static void check_backup(const struct wal_fixture *f, unsigned told) {
  CU_ASSERT_TRUE_FATAL(backup_succeeds(f));
  struct log_rebuild *copy = begin_rebuild(copy_of(f));
  for (unsigned i = 0; i < told; i++)
    CU_ASSERT_TRUE(has(copy, &samples[i]));
  log_rebuild_free(copy);
  drop_copy(f);
}

static void backup_under_load_has_all_that_was_told(void) {
  struct wal_fixture f;
  load = mmap(NULL, sizeof *load, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CU_ASSERT_FATAL(load != MAP_FAILED);
  fixture_begin(&f);
  for (unsigned i = 0; i < MANY; i++)
    sample_commit(&f, &samples[i]);
  fixture_close(&f);
  (void)fflush(stdout);
  pid_t pid = fork();
  CU_ASSERT_FATAL(pid >= 0);
  if (pid == 0) {
    f.loop = loop_new();
    if (fixture_open(&f) != ERR_OK) _exit(1);
    decide_under_backups(&f);
    _exit(0);
  }
  int status = 0;
  while (waitpid(pid, &status, WNOHANG) == 0) {
    check_backup(&f, atomic_load(&load->told));
    (void)atomic_fetch_add(&load->backups, 1);
  }
  CU_ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  CU_ASSERT_TRUE(atomic_load(&load->backups) >= MANY / PER_BACKUP - 1);
  check_backup(&f, MANY);
  (void)munmap(load, sizeof *load);
  fixture_end(&f);
}

static void backup_is_one_file_of_its_own(void) {
  struct wal_fixture f;
  struct stat status;
  char partial[sizeof copy_path + 16];
  fixture_begin(&f);
  fixture_close(&f);
  CU_ASSERT_TRUE_FATAL(backup_succeeds(&f));
  CU_ASSERT_EQUAL(stat(copy_of(&f), &status), 0);
  CU_ASSERT_EQUAL(status.st_mode & 0777, 0600);
  CU_ASSERT_EQUAL(status.st_nlink, 1);
  (void)snprintf(partial, sizeof partial, "%s.partial", copy_path);
  CU_ASSERT_NOT_EQUAL(access(partial, F_OK), 0);
  (void)snprintf(partial, sizeof partial, "%s-wal", copy_path);
  CU_ASSERT_NOT_EQUAL(access(partial, F_OK), 0);
  CU_ASSERT_FALSE(backup_succeeds(&f)); /* it is there, and is not written over */
  drop_copy(&f);
  fixture_end(&f);
}

static void backup_put_in_place_is_refused(void) {
  struct wal_fixture f;
  size_t size;
  fixture_begin(&f);
  fixture_close(&f);
  CU_ASSERT_TRUE_FATAL(backup_succeeds(&f));
  int fd = open(copy_of(&f), O_RDONLY | O_CLOEXEC);
  struct stat status;
  CU_ASSERT_TRUE_FATAL(fd >= 0 && fstat(fd, &status) == 0);
  unsigned char *bytes = malloc((size_t)status.st_size);
  CU_ASSERT_TRUE_FATAL(bytes && read(fd, bytes, (size_t)status.st_size) == status.st_size);
  (void)close(fd);
  size = (size_t)status.st_size;
  for (int locked = 1; locked >= 0; locked--) { /* with the lock file, and on a new machine */
    if (!locked) fixture_remove_file(&f, ".lock");
    fixture_write_file(&f, "", bytes, size);
    CU_ASSERT_EQUAL(fixture_open(&f), ERR_LOG);
    CU_ASSERT_PTR_NOT_NULL(strstr(f.open_error.text, "is a backup, taken at"));
    CU_ASSERT_PTR_NOT_NULL(strstr(f.open_error.text, "recover --log-lost"));
  }
  free(bytes);
  drop_copy(&f);
  fixture_end(&f);
}

static void backup_of_a_damaged_log_fails(void) {
  struct wal_fixture f;
  size_t size;
  fixture_begin(&f);
  fixture_close(&f);
  unsigned char *bytes = fixture_read_file(&f, "", &size);
  memset(bytes + 8192, 0xa5, 512);
  fixture_write_file(&f, "", bytes, size);
  CU_ASSERT_FALSE(backup_succeeds(&f));
  CU_ASSERT_NOT_EQUAL(access(copy_of(&f), F_OK), 0);
  free(bytes);
  fixture_end(&f);
}

/* ---- rebuilding ----------------------------------------------------------------------------- */

static void rebuild(struct wal_fixture *f, uint64_t epoch, const struct wal_record *records,
                    size_t count) {
  struct error err = {0};
  char aside[PATH_MAX];
  struct log_rebuild *r = begin_rebuild(f->path);
  const struct log_audit_line line = {.event = "log_rebuilt", .detail = "in a test"};
  const struct log_rebuilt made = {.cluster = *log_rebuild_cluster(r),
                                   .epoch = epoch,
                                   .run_id = "0123456789abcdef",
                                   .records = records,
                                   .record_count = count,
                                   .lines = &line,
                                   .line_count = 1};
  CU_ASSERT_EQUAL_FATAL(log_rebuild_finish(r, &made, aside, &err), ERR_OK);
  log_rebuild_free(r);
}

static void remove_aside(struct wal_fixture *f) {
  static const char *const suffixes[] = {".lost-1", ".lost-1-wal", ".lost-2", ".lost-2-wal"};
  for (size_t i = 0; i < 4; i++)
    if (fixture_has_file(f, suffixes[i])) fixture_remove_file(f, suffixes[i]);
}

static void rebuilt_log_has_what_was_left_and_what_was_found_out(void) {
  struct wal_fixture f;
  struct sample ended, open, found, aborted;
  fixture_begin(&f);
  char run[RUN_ID_SIZE];
  (void)strcpy(run, wal_run_id(f.wal));
  struct cluster_id cluster = *wal_cluster(f.wal);
  sample_commit(&f, &ended);
  sample_commit(&f, &open);
  sample_commit(&f, &found);
  sample_aborted(&f, &aborted);
  CU_ASSERT_EQUAL(fixture_decide(&f, &ended.record), WAL_DURABLE);
  wal_end(f.wal, &ended.record.txid, WAL_OUTCOME_COMMITTED, NULL, 0, 7);
  CU_ASSERT_EQUAL(fixture_decide(&f, &open.record), WAL_DURABLE);
  CU_ASSERT_EQUAL(fixture_audit(&f, &open.record.txid), WAL_DURABLE);
  fixture_close(&f);
  const struct wal_record records[] = {found.record, aborted.record};
  rebuild(&f, 41, records, 2);
  CU_ASSERT_TRUE(fixture_has_file(&f, ".lost-1"));
  CU_ASSERT_EQUAL_FATAL(fixture_open(&f), ERR_OK);
  CU_ASSERT_STRING_EQUAL(wal_cluster(f.wal)->text, cluster.text);
  CU_ASSERT_EQUAL(wal_epoch(f.wal), 42);
  CU_ASSERT_TRUE(wal_had_life(f.wal, 1, run));
  CU_ASSERT_TRUE(wal_had_life(f.wal, 41, "0123456789abcdef"));
  CU_ASSERT_EQUAL(fixture_unfinished(&f, NULL), ERR_OK);
  CU_ASSERT_EQUAL(f.records.count, 2);
  CU_ASSERT_TRUE(records_are_equal(fixture_look_up(&f, &open.record.txid), &open.record));
  CU_ASSERT_TRUE(records_are_equal(fixture_look_up(&f, &found.record.txid), &found.record));
  CU_ASSERT_TRUE(records_are_equal(fixture_look_up(&f, &aborted.record.txid), &aborted.record));
  const struct wal_record *kept = fixture_look_up(&f, &ended.record.txid);
  CU_ASSERT_TRUE(kept && kept->applied_at_us == 7);
  remove_aside(&f);
  fixture_end(&f);
}

/* Killed between setting the log aside and naming the new one: the next one finds it all. */
static void rebuilding_again_finds_what_was_set_aside(void) {
  struct wal_fixture f;
  struct sample s;
  fixture_begin(&f);
  sample_commit(&f, &s);
  CU_ASSERT_EQUAL(fixture_decide(&f, &s.record), WAL_DURABLE);
  fixture_close(&f);
  rebuild(&f, 41, NULL, 0);
  fixture_remove_file(&f, "");
  CU_ASSERT_EQUAL(fixture_open(&f), ERR_LOG);
  rebuild(&f, 42, NULL, 0);
  CU_ASSERT_EQUAL_FATAL(fixture_open(&f), ERR_OK);
  CU_ASSERT_PTR_NOT_NULL(fixture_look_up(&f, &s.record.txid));
  remove_aside(&f);
  fixture_end(&f);
}

/* What is readable in a damaged log is used; the damaged file stays as it is. */
static void rebuilding_from_a_damaged_log_keeps_what_can_be_read(void) {
  struct wal_fixture f;
  struct sample good, bad;
  size_t size, after_size;
  fixture_begin(&f);
  sample_commit(&f, &good);
  sample_commit(&f, &bad);
  CU_ASSERT_EQUAL(fixture_decide(&f, &good.record), WAL_DURABLE);
  CU_ASSERT_EQUAL(fixture_decide(&f, &bad.record), WAL_DURABLE);
  fixture_close(&f);
  unsigned char *bytes = fixture_read_file(&f, "", &size);
  unsigned char *gid = memmem(bytes, size, bad.gids[1], strlen(bad.gids[1]));
  CU_ASSERT_FATAL(gid != NULL);
  gid[strlen(bad.gids[1]) - 1] ^= 1;
  fixture_write_file(&f, "", bytes, size);
  struct log_rebuild *r = begin_rebuild(f.path);
  size_t count;
  const struct log_remnant *remnants = log_rebuild_remnants(r, &count);
  CU_ASSERT_EQUAL(count, 1);
  CU_ASSERT_EQUAL(remnants[0].records, 1);
  CU_ASSERT_EQUAL(remnants[0].damaged, 1);
  CU_ASSERT_TRUE(has(r, &good));
  CU_ASSERT_FALSE(has(r, &bad));
  log_rebuild_free(r);
  rebuild(&f, 41, NULL, 0);
  unsigned char *after = fixture_read_file(&f, ".lost-1", &after_size);
  CU_ASSERT_TRUE(after_size == size && memcmp(after, bytes, size) == 0);
  CU_ASSERT_EQUAL_FATAL(fixture_open(&f), ERR_OK);
  CU_ASSERT_PTR_NOT_NULL(fixture_look_up(&f, &good.record.txid));
  CU_ASSERT_PTR_NULL(fixture_look_up(&f, &bad.record.txid));
  free(bytes);
  free(after);
  remove_aside(&f);
  fixture_end(&f);
}

static void rebuilding_under_a_running_coordinator_is_refused(void) {
  struct wal_fixture f;
  struct log_rebuild *r = NULL;
  struct error err = {0};
  fixture_begin(&f);
  CU_ASSERT_EQUAL(log_rebuild_begin(&r, f.path, &err), ERR_LOG);
  CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "another coordinator"));
  fixture_end(&f);
}

SUITE(wal_backup, CASE(backup_under_load_has_all_that_was_told),
      CASE(backup_is_one_file_of_its_own), CASE(backup_put_in_place_is_refused),
      CASE(backup_of_a_damaged_log_fails),
      CASE(rebuilt_log_has_what_was_left_and_what_was_found_out),
      CASE(rebuilding_again_finds_what_was_set_aside),
      CASE(rebuilding_from_a_damaged_log_keeps_what_can_be_read),
      CASE(rebuilding_under_a_running_coordinator_is_refused))
