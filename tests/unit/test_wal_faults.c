/* The decision log under what disks, crashes and people do to it. Each case states the fault in its
 * name; what must hold in all of them: a decision called durable is there afterwards, one called
 * refused is not, and a log that may have lost something does not open. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/fault_vfs.h"
#include "tests/lib/suite.h"
#include "tests/lib/wal_fixture.h"

enum { FEW = 20, MANY = 200 }; /* MANY: enough for a checkpoint */

/* ---- fsync ---------------------------------------------------------------------------------- */

static void sync_error_makes_it_and_all_after_unknown(void) {
  struct wal_fixture f;
  struct sample first, failed, later;
  fixture_begin(&f);
  sample_commit(&f, &first);
  sample_commit(&f, &failed);
  sample_commit(&f, &later);
  CU_ASSERT_EQUAL(fixture_decide(&f, &first.record), WAL_DURABLE);
  fault_vfs_fail_sync(1);
  CU_ASSERT_EQUAL(fixture_decide(&f, &failed.record), WAL_UNKNOWN);
  CU_ASSERT_EQUAL(f.errors[1].code, ERR_LOG);
  CU_ASSERT_TRUE(wal_stats(f.wal).poisoned);
  CU_ASSERT_EQUAL(fixture_decide(&f, &later.record), WAL_UNKNOWN);
  CU_ASSERT_EQUAL(fixture_audit(&f, &first.record.txid), WAL_UNKNOWN);
  CU_ASSERT_PTR_NULL(fixture_look_up(&f, &first.record.txid));
  CU_ASSERT_EQUAL(f.errors[4].code, ERR_LOG);
  CU_ASSERT_EQUAL(fixture_list(&f, &(struct wal_filter){.limit = 1}), 0);
  CU_ASSERT_EQUAL(f.errors[5].code, ERR_LOG);
  fixture_end(&f);
}

static void sync_error_then_restart_shows_what_the_file_has(void) {
  struct wal_fixture f;
  struct sample first, failed, later;
  fixture_begin(&f);
  sample_commit(&f, &first);
  sample_commit(&f, &failed);
  sample_commit(&f, &later);
  CU_ASSERT_EQUAL(fixture_decide(&f, &first.record), WAL_DURABLE);
  fault_vfs_fail_sync(1);
  CU_ASSERT_EQUAL(fixture_decide(&f, &failed.record), WAL_UNKNOWN);
  CU_ASSERT_EQUAL(fixture_decide(&f, &later.record), WAL_UNKNOWN);
  fixture_reopen(&f);
  CU_ASSERT_EQUAL(wal_epoch(f.wal), 2);
  CU_ASSERT_PTR_NOT_NULL(fixture_look_up(&f, &first.record.txid));
  /* A fact of SQLite that the design rests on: the write was done, and is there. */
  CU_ASSERT_PTR_NOT_NULL(fixture_look_up(&f, &failed.record.txid));
  CU_ASSERT_PTR_NULL(fixture_look_up(&f, &later.record.txid));
  CU_ASSERT_EQUAL(fixture_decide(&f, &later.record), WAL_DURABLE);
  fixture_end(&f);
}

static void sync_error_with_several_in_flight_makes_all_unknown(void) {
  struct wal_fixture f;
  struct sample s[4];
  fixture_begin(&f);
  for (int i = 0; i < 4; i++)
    sample_commit(&f, &s[i]);
  fault_vfs_hold_syncs();
  wal_decide(f.wal, &s[0].record, fixture_on_decided, &f);
  fault_vfs_await_held();
  for (int i = 1; i < 4; i++)
    wal_decide(f.wal, &s[i].record, fixture_on_decided, &f);
  fault_vfs_fail_sync(1); /* the group's: the first one's sync has begun */
  fault_vfs_release_syncs();
  fixture_await(&f, 4);
  CU_ASSERT_EQUAL(f.results[0], WAL_DURABLE);
  for (int i = 1; i < 4; i++)
    CU_ASSERT_EQUAL(f.results[i], WAL_UNKNOWN);
  fixture_end(&f);
}

static void sync_error_of_lazy_records_poisons(void) {
  struct wal_fixture f;
  struct sample s, later;
  fixture_begin(&f);
  f.options.lazy_flush_ms = 1;
  fixture_reopen(&f);
  sample_aborted(&f, &s);
  sample_commit(&f, &later);
  fault_vfs_fail_sync(1);
  fault_vfs_hold_syncs();
  wal_note_aborted(f.wal, &s.record);
  fault_vfs_await_held();
  wal_decide(f.wal, &later.record, fixture_on_decided, &f);
  fault_vfs_release_syncs();
  fixture_await(&f, 1);
  CU_ASSERT_EQUAL(f.results[0], WAL_UNKNOWN);
  CU_ASSERT_TRUE(wal_stats(f.wal).poisoned);
  fixture_end(&f);
}

/* ---- disk full ------------------------------------------------------------------------------ */

static void full_disk_refuses_and_works_again_with_space(void) {
  struct wal_fixture f;
  struct sample s[3];
  fixture_begin(&f);
  for (int i = 0; i < 3; i++)
    sample_commit(&f, &s[i]);
  CU_ASSERT_EQUAL(fixture_decide(&f, &s[0].record), WAL_DURABLE);
  fault_vfs_set_space(0);
  CU_ASSERT_EQUAL(fixture_decide(&f, &s[1].record), WAL_REFUSED);
  CU_ASSERT_EQUAL(f.errors[1].code, ERR_LOG_FULL);
  CU_ASSERT_EQUAL(fixture_audit(&f, &s[1].record.txid), WAL_REFUSED);
  CU_ASSERT_PTR_NULL(fixture_look_up(&f, &s[1].record.txid));
  CU_ASSERT_PTR_NOT_NULL(fixture_look_up(&f, &s[0].record.txid));
  fault_vfs_set_space(-1);
  CU_ASSERT_EQUAL(fixture_decide(&f, &s[2].record), WAL_DURABLE);
  CU_ASSERT_FALSE(wal_stats(f.wal).poisoned);
  fixture_reopen(&f);
  CU_ASSERT_PTR_NOT_NULL(fixture_look_up(&f, &s[0].record.txid));
  CU_ASSERT_PTR_NULL(fixture_look_up(&f, &s[1].record.txid));
  CU_ASSERT_PTR_NOT_NULL(fixture_look_up(&f, &s[2].record.txid));
  fixture_end(&f);
}

static void full_disk_at_any_byte_tells_the_truth(void) {
  unsigned refused = 0, durable = 0;
  for (int64_t space = 0; space < 60000; space += 1371) {
    struct wal_fixture f;
    struct sample s, next;
    fixture_begin(&f);
    sample_commit(&f, &s);
    sample_commit(&f, &next);
    fault_vfs_set_space(space);
    enum wal_result result = fixture_decide(&f, &s.record);
    fault_vfs_set_space(-1);
    CU_ASSERT_NOT_EQUAL(result, WAL_UNKNOWN);
    CU_ASSERT_EQUAL(fixture_decide(&f, &next.record), WAL_DURABLE);
    fixture_reopen(&f);
    CU_ASSERT_EQUAL(fixture_look_up(&f, &s.record.txid) != NULL, result == WAL_DURABLE);
    CU_ASSERT_PTR_NOT_NULL(fixture_look_up(&f, &next.record.txid));
    if (result == WAL_DURABLE)
      durable++;
    else
      refused++;
    fixture_end(&f);
  }
  CU_ASSERT_TRUE(refused > 0 && durable > 0);
}

static void full_disk_keeps_lazy_records_until_there_is_space(void) {
  struct wal_fixture f;
  struct sample decided, refused, next;
  fixture_begin(&f);
  sample_commit(&f, &decided);
  sample_commit(&f, &refused);
  sample_commit(&f, &next);
  CU_ASSERT_EQUAL(fixture_decide(&f, &decided.record), WAL_DURABLE);
  fault_vfs_set_space(0);
  wal_confirm(f.wal, &decided.record.txid, 1, BRANCH_OUTCOME_COMMITTED, 5);
  CU_ASSERT_EQUAL(fixture_decide(&f, &refused.record), WAL_REFUSED);
  wal_end(f.wal, &decided.record.txid, WAL_OUTCOME_COMMITTED, NULL, 0, 6);
  CU_ASSERT_EQUAL(fixture_decide(&f, &refused.record), WAL_REFUSED);
  const struct wal_record *found = fixture_look_up(&f, &decided.record.txid);
  CU_ASSERT_TRUE(found && found->branches[0].confirmed && found->applied_at_us == 6);
  fault_vfs_set_space(-1);
  CU_ASSERT_EQUAL(fixture_decide(&f, &next.record), WAL_DURABLE);
  fixture_reopen(&f);
  CU_ASSERT_EQUAL(fixture_unfinished(&f, NULL), ERR_OK);
  CU_ASSERT_TRUE(f.records.count == 1 && records_are_equal(&f.records.items[0], &next.record));
  found = fixture_look_up(&f, &decided.record.txid);
  CU_ASSERT_TRUE(found && found->branches[0].confirmed && found->applied_at_us == 6);
  fixture_end(&f);
}

static void full_disk_keeps_the_lock_while_reading_again(void) {
  struct wal_fixture f;
  struct sample s;
  struct wal *second;
  struct error err = {0};
  fixture_begin(&f);
  sample_commit(&f, &s);
  fault_vfs_set_space(0);
  CU_ASSERT_EQUAL(fixture_decide(&f, &s.record), WAL_REFUSED);
  fault_vfs_set_space(-1);
  CU_ASSERT_EQUAL(wal_open(&second, f.loop, f.path, &f.options, &err), ERR_LOG);
  CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "another coordinator"));
  fixture_end(&f);
}

static void full_disk_at_start_refuses_to_open(void) {
  struct wal_fixture f;
  fixture_begin(&f);
  fixture_close(&f);
  fault_vfs_set_space(0);
  CU_ASSERT_EQUAL(fixture_open(&f), ERR_LOG);
  CU_ASSERT_PTR_NOT_NULL(strstr(f.open_error.text, "no space left"));
  fault_vfs_set_space(-1);
  CU_ASSERT_EQUAL(fixture_open(&f), ERR_OK);
  CU_ASSERT_EQUAL(wal_epoch(f.wal), 2);
  fixture_end(&f);
}

static void full_disk_at_first_start_leaves_nothing(void) {
  struct wal_fixture f;
  fixture_begin(&f);
  fixture_close(&f);
  fixture_remove_file(&f, "");
  fixture_remove_file(&f, ".lock");
  fault_vfs_set_space(5000);
  CU_ASSERT_EQUAL(fixture_open(&f), ERR_LOG);
  CU_ASSERT_FALSE(fixture_has_file(&f, ""));
  CU_ASSERT_FALSE(fixture_has_file(&f, ".new"));
  fault_vfs_set_space(-1);
  CU_ASSERT_EQUAL(fixture_open(&f), ERR_OK);
  fixture_end(&f);
}

/* ---- kill and power ------------------------------------------------------------------------- */

/* What the child that is killed has been told, kept where it survives. */
struct told {
  unsigned made, durable;
  struct wal_record records[MANY];
};
static struct told *told;

static void tell_begin(const char *crash) {
  told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CU_ASSERT_FATAL(told != MAP_FAILED);
  if (crash) CU_ASSERT_FATAL(setenv("ASSENT_CRASH", crash, 1) == 0);
}

static void tell_end(void) {
  (void)unsetenv("ASSENT_CRASH");
  (void)munmap(told, sizeof *told);
}

static void decide_and_tell(struct wal_fixture *f, unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    struct sample s;
    sample_commit(f, &s);
    told->records[told->made++] = s.record; /* its pointers are not followed */
    if (fixture_decide(f, &s.record) != WAL_DURABLE) return;
    told->durable++;
  }
}

static void decide_few(struct wal_fixture *f) {
  decide_and_tell(f, FEW);
}

static void decide_many(struct wal_fixture *f) {
  decide_and_tell(f, MANY);
}

/* Counts those of the told ones that are there, and that none called durable is missing. */
static unsigned expect_told(struct wal_fixture *f) {
  unsigned there = 0;
  CU_ASSERT_EQUAL(fixture_unfinished(f, NULL), ERR_OK);
  for (unsigned i = 0; i < told->made; i++) {
    bool found = false;
    for (size_t j = 0; j < f->records.count && !found; j++)
      found = strcmp(f->records.items[j].txid.text, told->records[i].txid.text) == 0;
    CU_ASSERT_TRUE(found || i >= told->durable);
    there += found;
  }
  return there;
}

static void kill_after_durable_keeps_the_decision(void) {
  struct wal_fixture f;
  fixture_begin(&f);
  tell_begin(NULL);
  CU_ASSERT_TRUE(fixture_killed_after(&f, decide_few));
  CU_ASSERT_EQUAL(told->durable, FEW);
  CU_ASSERT_EQUAL_FATAL(fixture_open(&f), ERR_OK);
  CU_ASSERT_EQUAL(wal_epoch(f.wal), 3);
  CU_ASSERT_EQUAL(expect_told(&f), FEW);
  tell_end();
  fixture_end(&f);
}

static void kill_in_the_commit_keeps_all_before(void) {
  struct wal_fixture f;
  fixture_begin(&f);
  tell_begin("C4:3");
  CU_ASSERT_TRUE(fixture_killed_after(&f, decide_few));
  CU_ASSERT_EQUAL(told->durable, 2);
  CU_ASSERT_EQUAL(told->made, 3);
  CU_ASSERT_EQUAL_FATAL(fixture_open(&f), ERR_OK);
  CU_ASSERT_EQUAL(expect_told(&f), 2);
  tell_end();
  fixture_end(&f);
}

static void kill_around_a_checkpoint_keeps_all_before(void) {
  static const char *const points[] = {"C9:1", "C9:2"};
  for (int i = 0; i < 2; i++) {
    struct wal_fixture f;
    fixture_begin(&f);
    tell_begin(points[i]);
    CU_ASSERT_TRUE(fixture_killed_after(&f, decide_many));
    CU_ASSERT_TRUE(told->durable > 10 && told->durable < MANY);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&f), ERR_OK);
    CU_ASSERT_TRUE(expect_told(&f) >= told->durable);
    tell_end();
    fixture_end(&f);
  }
}

static void cut_power_at(unsigned nth) {
  struct wal_fixture f;
  fixture_begin(&f);
  tell_begin(NULL);
  fault_vfs_power_cut(nth);
  decide_many(&f);
  CU_ASSERT_TRUE(wal_stats(f.wal).poisoned);
  fixture_close(&f);
  fault_vfs_power_back(nth * 7919);
  CU_ASSERT_EQUAL_FATAL(fixture_open(&f), ERR_OK);
  CU_ASSERT_TRUE(expect_told(&f) <= told->durable + 1);
  tell_end();
  fixture_end(&f);
}

static void power_cut_at_any_sync_keeps_what_was_told(void) {
  for (unsigned nth = 1; nth < MANY; nth += nth < 10 ? 1 : 3)
    cut_power_at(nth);
}

/* ---- damage --------------------------------------------------------------------------------- */

static void expect_refused_unchanged(struct wal_fixture *f, const void *bytes, size_t size,
                                     const char *reason) {
  size_t after_size = 0;
  CU_ASSERT_EQUAL_FATAL(fixture_open(f), ERR_LOG);
  CU_ASSERT_PTR_NOT_NULL(strstr(f->open_error.text, reason));
  unsigned char *after = fixture_read_file(f, "", &after_size);
  CU_ASSERT_TRUE(after_size == size && memcmp(after, bytes, size) == 0);
  free(after);
}

static void file_of_another_kind_is_refused_unchanged(void) {
  static const char text[] =
      "This is somebody's letter, and it is longer than the header of a log; "
      "it must not be written over, whatever the configuration says.";
  struct wal_fixture f;
  fixture_begin(&f);
  fixture_close(&f);
  fixture_write_file(&f, "", text, sizeof text);
  expect_refused_unchanged(&f, text, sizeof text, "not a decision log");
  fixture_end(&f);
}

static void database_of_another_application_is_refused_unchanged(void) {
  struct wal_fixture f;
  size_t size;
  fixture_begin(&f);
  fixture_close(&f);
  unsigned char *bytes = fixture_read_file(&f, "", &size);
  bytes[70]++;
  fixture_write_file(&f, "", bytes, size);
  expect_refused_unchanged(&f, bytes, size, "another application");
  free(bytes);
  fixture_end(&f);
}

static void log_of_a_newer_format_is_refused_unchanged(void) {
  struct wal_fixture f;
  size_t size;
  fixture_begin(&f);
  fixture_close(&f);
  unsigned char *bytes = fixture_read_file(&f, "", &size);
  bytes[63]++;
  fixture_write_file(&f, "", bytes, size);
  expect_refused_unchanged(&f, bytes, size, "has format 7");
  free(bytes);
  fixture_end(&f);
}

static void log_cut_short_is_refused_unchanged(void) {
  struct wal_fixture f;
  size_t size;
  fixture_begin(&f);
  fixture_close(&f);
  unsigned char *bytes = fixture_read_file(&f, "", &size);
  const size_t cuts[] = {0, 50, 99, 100, 4095, 4096, 8192, size / 2, size - 4096};
  for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
    fixture_write_file(&f, "", bytes, cuts[i]);
    expect_refused_unchanged(&f, bytes, cuts[i], "-wal file");
  }
  fixture_write_file(&f, "", bytes, size);
  CU_ASSERT_EQUAL(fixture_open(&f), ERR_OK);
  free(bytes);
  fixture_end(&f);
}

static void log_that_has_gone_is_refused(void) {
  struct wal_fixture f;
  fixture_begin(&f);
  struct cluster_id cluster = *wal_cluster(f.wal);
  fixture_close(&f);
  fixture_remove_file(&f, "");
  CU_ASSERT_EQUAL(fixture_open(&f), ERR_LOG);
  CU_ASSERT_PTR_NOT_NULL(strstr(f.open_error.text, cluster.text));
  CU_ASSERT_FALSE(fixture_has_file(&f, ""));
  fixture_remove_file(&f, ".lock"); /* as the message says, for who means it */
  CU_ASSERT_EQUAL(fixture_open(&f), ERR_OK);
  CU_ASSERT_STRING_NOT_EQUAL(wal_cluster(f.wal)->text, cluster.text);
  fixture_end(&f);
}

static void log_that_has_gone_but_for_its_wal_is_refused(void) {
  struct wal_fixture f;
  fixture_begin(&f);
  fixture_close(&f);
  fixture_remove_file(&f, "");
  fixture_remove_file(&f, ".lock");
  fixture_write_file(&f, "-wal", "x", 1);
  CU_ASSERT_EQUAL(fixture_open(&f), ERR_LOG);
  CU_ASSERT_PTR_NOT_NULL(strstr(f.open_error.text, "other half"));
  CU_ASSERT_TRUE(fixture_has_file(&f, "-wal"));
  fixture_end(&f);
}

static void bit_flip_before_the_last_decisions_of_the_wal_is_refused(void) {
  struct wal_fixture f;
  size_t wal_size, size;
  fixture_begin(&f);
  tell_begin(NULL);
  CU_ASSERT_TRUE(fixture_killed_after(&f, decide_few));
  unsigned char *wal = fixture_read_file(&f, "-wal", &wal_size);
  unsigned char *bytes = fixture_read_file(&f, "", &size);
  for (size_t at = 0; at < wal_size * 3 / 4; at += at < 64 ? 5 : 1783) {
    wal[at] ^= (unsigned char)(1U << (at % 8));
    fixture_write_file(&f, "-wal", wal, wal_size);
    expect_refused_unchanged(&f, bytes, size, "damaged");
    wal[at] ^= (unsigned char)(1U << (at % 8));
  }
  fixture_write_file(&f, "-wal", wal, wal_size);
  CU_ASSERT_EQUAL_FATAL(fixture_open(&f), ERR_OK);
  CU_ASSERT_EQUAL(expect_told(&f), FEW);
  free(wal);
  free(bytes);
  tell_end();
  fixture_end(&f);
}

static void record_with_a_changed_text_is_an_error_never_skipped(void) {
  struct wal_fixture f;
  struct sample s;
  size_t size;
  struct error err = {0};
  fixture_begin(&f);
  sample_commit(&f, &s);
  CU_ASSERT_EQUAL(fixture_decide(&f, &s.record), WAL_DURABLE);
  fixture_close(&f);
  unsigned char *bytes = fixture_read_file(&f, "", &size);
  unsigned char *server = memmem(bytes, size, "7312345678901234567/3/16384", 27);
  CU_ASSERT_FATAL(server != NULL);
  server[20] = '4'; /* another timeline: no structure is broken */
  fixture_write_file(&f, "", bytes, size);
  CU_ASSERT_EQUAL_FATAL(fixture_open(&f), ERR_OK);
  CU_ASSERT_EQUAL(fixture_unfinished(&f, &err), ERR_LOG);
  CU_ASSERT_PTR_NOT_NULL(strstr(err.text, s.record.txid.text));
  CU_ASSERT_PTR_NULL(fixture_look_up(&f, &s.record.txid));
  CU_ASSERT_EQUAL(f.errors[1].code, ERR_LOG);
  CU_ASSERT_FALSE(wal_stats(f.wal).poisoned);
  free(bytes);
  fixture_end(&f);
}

/* A child holds SQLite's lock on the file, as its shell would, until its input ends. */
static void open_in_another_program_is_refused(void) {
  struct wal_fixture f;
  int go[2], stop[2];
  char byte;
  fixture_begin(&f);
  fixture_close(&f);
  CU_ASSERT_FATAL(pipe(go) == 0 && pipe(stop) == 0);
  pid_t child = fork();
  if (child == 0) {
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0x40000000};
    int fd = open(f.path, O_RDWR | O_CLOEXEC);
    (void)close(stop[1]);
    if (fd < 0 || fcntl(fd, F_SETLK, &whole) != 0 || write(go[1], "g", 1) != 1) _exit(1);
    _exit(read(stop[0], &byte, 1) == 0 ? 0 : 1);
  }
  (void)close(stop[0]);
  CU_ASSERT_EQUAL(read(go[0], &byte, 1), 1);
  CU_ASSERT_EQUAL(fixture_open(&f), ERR_LOG);
  CU_ASSERT_PTR_NOT_NULL(strstr(f.open_error.text, "another program"));
  (void)close(stop[1]);
  CU_ASSERT_EQUAL(waitpid(child, NULL, 0), child);
  CU_ASSERT_EQUAL(fixture_open(&f), ERR_OK);
  (void)close(go[0]);
  (void)close(go[1]);
  fixture_end(&f);
}

SUITE(wal_faults, CASE(sync_error_makes_it_and_all_after_unknown),
      CASE(sync_error_then_restart_shows_what_the_file_has),
      CASE(sync_error_with_several_in_flight_makes_all_unknown),
      CASE(sync_error_of_lazy_records_poisons), CASE(full_disk_refuses_and_works_again_with_space),
      CASE(full_disk_at_any_byte_tells_the_truth),
      CASE(full_disk_keeps_lazy_records_until_there_is_space),
      CASE(full_disk_keeps_the_lock_while_reading_again), CASE(full_disk_at_start_refuses_to_open),
      CASE(full_disk_at_first_start_leaves_nothing), CASE(kill_after_durable_keeps_the_decision),
      CASE(kill_in_the_commit_keeps_all_before), CASE(kill_around_a_checkpoint_keeps_all_before),
      CASE(power_cut_at_any_sync_keeps_what_was_told),
      CASE(file_of_another_kind_is_refused_unchanged),
      CASE(database_of_another_application_is_refused_unchanged),
      CASE(log_of_a_newer_format_is_refused_unchanged), CASE(log_cut_short_is_refused_unchanged),
      CASE(log_that_has_gone_is_refused), CASE(log_that_has_gone_but_for_its_wal_is_refused),
      CASE(bit_flip_before_the_last_decisions_of_the_wal_is_refused),
      CASE(record_with_a_changed_text_is_an_error_never_skipped),
      CASE(open_in_another_program_is_refused))
