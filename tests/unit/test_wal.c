/* The decision log: records, reading, retention, group commit, one coordinator a log. What disks
 * and crashes do to it is in test_wal_faults.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/process.h"
#include "tests/lib/fault_vfs.h"
#include "tests/lib/suite.h"
#include "common/clock.h"
#include "tests/lib/wal_fixture.h"
#include "wal/store.h"

/* ---- opening -------------------------------------------------------------------------------- */

static void open_new_log_begins_epoch_one_in_a_private_file(void) {
  struct wal_fixture f;
  struct stat status;
  struct cluster_id cluster;
  fixture_begin(&f);
  CU_ASSERT_EQUAL(wal_epoch(f.wal), 1);
  CU_ASSERT_TRUE(cluster_id_parse(wal_cluster(f.wal)->text, &cluster));
  CU_ASSERT_FATAL(stat(f.path, &status) == 0);
  CU_ASSERT_EQUAL(status.st_mode & 0777, 0600);
  CU_ASSERT_FALSE(fixture_has_file(&f, "-shm"));
  CU_ASSERT_FALSE(fixture_has_file(&f, ".new"));
  fixture_end(&f);
}

static void reopen_grows_the_epoch_and_keeps_the_cluster(void) {
  struct wal_fixture f;
  fixture_begin(&f);
  struct cluster_id cluster = *wal_cluster(f.wal);
  fixture_reopen(&f);
  CU_ASSERT_EQUAL(wal_epoch(f.wal), 2);
  fixture_reopen(&f);
  CU_ASSERT_EQUAL(wal_epoch(f.wal), 3);
  CU_ASSERT_STRING_EQUAL(wal_cluster(f.wal)->text, cluster.text);
  fixture_end(&f);
}

/* 0: refused as it must be, naming `pid`. Runs in a child. */
static int try_second_open(struct wal_fixture *f, const char *path, pid_t pid) {
  struct wal *second;
  struct error err = {0};
  char wanted[32];
  (void)snprintf(wanted, sizeof wanted, "(process %d)", (int)pid);
  if (wal_open(&second, f->loop, path, &f->options, &err) != ERR_LOG) return 1;
  return strstr(err.text, "another coordinator") && strstr(err.text, wanted) ? 0 : 2;
}

static void open_by_another_process_is_refused_with_the_pid(void) {
  struct wal_fixture f;
  fixture_begin(&f);
  pid_t parent = getpid();
  pid_t child = fork();
  if (child == 0) _exit(try_second_open(&f, f.path, parent));
  int status = -1;
  CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
  CU_ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  fixture_end(&f);
}

static void open_by_the_same_process_is_refused(void) {
  struct wal_fixture f;
  fixture_begin(&f);
  CU_ASSERT_EQUAL(try_second_open(&f, f.path, getpid()), 0);
  fixture_end(&f);
}

static void open_through_a_link_is_the_same_log(void) {
  struct wal_fixture f;
  char link[256];
  fixture_begin(&f);
  (void)snprintf(link, sizeof link, "%s.link", f.path);
  CU_ASSERT_FATAL(symlink(f.path, link) == 0);
  CU_ASSERT_EQUAL(try_second_open(&f, link, getpid()), 0);
  fixture_end(&f);
}

static void open_in_a_missing_directory_is_refused(void) {
  struct wal_fixture f;
  struct wal *wal;
  struct error err = {0};
  fixture_begin(&f);
  CU_ASSERT_EQUAL(wal_open(&wal, f.loop, "/nonexistent/log.db", &f.options, &err), ERR_LOG);
  CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "directory"));
  fixture_end(&f);
}

/* ---- records -------------------------------------------------------------------------------- */

static void decide_all_fields_come_back_after_reopen(void) {
  struct wal_fixture f;
  struct sample commit, delegated;
  fixture_begin(&f);
  sample_commit(&f, &commit);
  sample_delegated(&f, &delegated);
  CU_ASSERT_EQUAL(fixture_decide(&f, &commit.record), WAL_DURABLE);
  CU_ASSERT_EQUAL(fixture_decide(&f, &delegated.record), WAL_DURABLE);
  fixture_reopen(&f);
  const struct wal_record *found = fixture_look_up(&f, &commit.record.txid);
  CU_ASSERT_TRUE(found && records_are_equal(found, &commit.record));
  found = fixture_look_up(&f, &delegated.record.txid);
  CU_ASSERT_TRUE(found && records_are_equal(found, &delegated.record));
  fixture_end(&f);
}

static void note_aborted_all_fields_come_back_after_reopen(void) {
  struct wal_fixture f;
  struct sample s;
  fixture_begin(&f);
  sample_aborted(&f, &s);
  wal_note_aborted(f.wal, &s.record);
  fixture_reopen(&f);
  CU_ASSERT_EQUAL(fixture_unfinished(&f, NULL), ERR_OK);
  CU_ASSERT_EQUAL(f.records.count, 0);
  const struct wal_record *found = fixture_look_up(&f, &s.record.txid);
  CU_ASSERT_TRUE(found && records_are_equal(found, &s.record));
  fixture_end(&f);
}

static void note_aborted_again_keeps_the_first(void) {
  struct wal_fixture f;
  struct sample s;
  fixture_begin(&f);
  sample_aborted(&f, &s);
  wal_note_aborted(f.wal, &s.record);
  s.record.timeout_ms = 7;
  wal_note_aborted(f.wal, &s.record);
  const struct wal_record *found = fixture_look_up(&f, &s.record.txid);
  CU_ASSERT_TRUE(found && found->timeout_ms == 30000 && found->branch_count == 2);
  fixture_end(&f);
}

static void look_up_of_an_unknown_txid_finds_nothing(void) {
  struct wal_fixture f;
  struct txid txid = txid_make(1);
  fixture_begin(&f);
  CU_ASSERT_PTR_NULL(fixture_look_up(&f, &txid));
  CU_ASSERT_EQUAL(f.errors[0].code, ERR_OK);
  fixture_end(&f);
}

static void confirm_changes_only_its_branch(void) {
  struct wal_fixture f;
  struct sample s;
  fixture_begin(&f);
  sample_commit(&f, &s);
  CU_ASSERT_EQUAL(fixture_decide(&f, &s.record), WAL_DURABLE);
  wal_confirm(f.wal, &s.record.txid, 2, BRANCH_OUTCOME_COMMITTED, 1700000000000009);
  s.branches[1].confirmed = true;
  s.branches[1].outcome = BRANCH_OUTCOME_COMMITTED;
  const struct wal_record *found = fixture_look_up(&f, &s.record.txid);
  CU_ASSERT_TRUE(found && records_are_equal(found, &s.record));
  fixture_reopen(&f);
  found = fixture_look_up(&f, &s.record.txid);
  CU_ASSERT_TRUE(found && records_are_equal(found, &s.record));
  fixture_end(&f);
}

static void end_of_commit_sets_applied_and_keeps_decided(void) {
  struct wal_fixture f;
  struct sample s;
  fixture_begin(&f);
  sample_commit(&f, &s);
  CU_ASSERT_EQUAL(fixture_decide(&f, &s.record), WAL_DURABLE);
  wal_end(f.wal, &s.record.txid, WAL_OUTCOME_MIXED, NULL, 0, 1700000000000010);
  s.record.outcome = WAL_OUTCOME_MIXED;
  s.record.applied_at_us = 1700000000000010;
  const struct wal_record *found = fixture_look_up(&f, &s.record.txid);
  CU_ASSERT_TRUE(found && records_are_equal(found, &s.record));
  fixture_end(&f);
}

static void end_of_delegated_settles_outcome_and_cause(void) {
  struct wal_fixture f;
  struct sample s;
  struct cause cause = {.kind = CAUSE_CONFLICT, .statement = -1, .sqlstate = "40001", .text = "x"};
  fixture_begin(&f);
  sample_delegated(&f, &s);
  CU_ASSERT_EQUAL(fixture_decide(&f, &s.record), WAL_DURABLE);
  wal_end(f.wal, &s.record.txid, WAL_OUTCOME_ABORTED, &cause, 5, 6);
  s.record.outcome = WAL_OUTCOME_ABORTED;
  s.record.cause = cause;
  s.record.decided_at_us = 5;
  s.record.applied_at_us = 6;
  s.branches[0].confirmed = true; /* the end says so */
  s.branches[0].outcome = BRANCH_OUTCOME_ABORTED;
  fixture_reopen(&f);
  const struct wal_record *found = fixture_look_up(&f, &s.record.txid);
  CU_ASSERT_TRUE(found && records_are_equal(found, &s.record));
  fixture_end(&f);
}

static void unfinished_are_told_oldest_first_without_the_ended(void) {
  struct wal_fixture f;
  struct sample s[4];
  fixture_begin(&f);
  for (int i = 0; i < 4; i++)
    sample_commit(&f, &s[i]);
  for (int i = 3; i >= 0; i--)
    CU_ASSERT_EQUAL(fixture_decide(&f, &s[i].record), WAL_DURABLE);
  wal_end(f.wal, &s[1].record.txid, WAL_OUTCOME_COMMITTED, NULL, 0, 9);
  fixture_reopen(&f);
  CU_ASSERT_EQUAL(fixture_unfinished(&f, NULL), ERR_OK);
  CU_ASSERT_FATAL(f.records.count == 3);
  CU_ASSERT_TRUE(records_are_equal(&f.records.items[0], &s[0].record));
  CU_ASSERT_TRUE(records_are_equal(&f.records.items[1], &s[2].record));
  CU_ASSERT_TRUE(records_are_equal(&f.records.items[2], &s[3].record));
  fixture_end(&f);
}

static enum error_code stop_at_once(void *data, const struct wal_record *record,
                                    struct error *err) {
  unsigned *calls = data;
  (void)record;
  (*calls)++;
  return error_set(err, ERR_STOPPING, "enough");
}

static void unfinished_stops_when_told_to(void) {
  struct wal_fixture f;
  struct sample s[2];
  struct error err = {0};
  unsigned calls = 0;
  fixture_begin(&f);
  for (int i = 0; i < 2; i++) {
    sample_commit(&f, &s[i]);
    CU_ASSERT_EQUAL(fixture_decide(&f, &s[i].record), WAL_DURABLE);
  }
  fixture_reopen(&f);
  CU_ASSERT_EQUAL(wal_each_unfinished(f.wal, stop_at_once, &calls, &err), ERR_STOPPING);
  CU_ASSERT_EQUAL(calls, 1);
  CU_ASSERT_STRING_EQUAL(err.text, "enough");
  fixture_end(&f);
}

static void audit_line_is_there_after_reopen(void) {
  struct wal_fixture f;
  struct store *store;
  struct txid txid = txid_make(1);
  bool present[3] = {false};
  fixture_begin(&f);
  CU_ASSERT_EQUAL(fixture_audit(&f, &txid), WAL_DURABLE);
  fixture_reopen(&f);
  CU_ASSERT_EQUAL(fixture_audit(&f, &txid), WAL_DURABLE);
  fixture_close(&f);
  CU_ASSERT_FATAL(store_open(&store, f.path, NULL) == ERR_OK);
  for (int i = 0; i < 3; i++)
    CU_ASSERT_EQUAL(store_has_audit(store, i + 1, &present[i], NULL), STORE_OK);
  CU_ASSERT_TRUE(present[0] && present[1] && !present[2]);
  store_close(store, true);
  fixture_end(&f);
}

static void record_comes_with_the_lines_about_it(void) {
  struct wal_fixture f;
  struct sample s, other;
  fixture_begin(&f);
  sample_commit(&f, &s);
  sample_commit(&f, &other);
  CU_ASSERT_EQUAL(fixture_decide(&f, &s.record), WAL_DURABLE);
  CU_ASSERT_EQUAL(fixture_decide(&f, &other.record), WAL_DURABLE);
  CU_ASSERT_EQUAL(fixture_audit(&f, &s.record.txid), WAL_DURABLE);
  for (int life = 0; life < 2; life++) {
    const struct wal_record *record = fixture_look_up(&f, &s.record.txid);
    CU_ASSERT_FATAL(record && record->line_count == 1);
    CU_ASSERT_STRING_EQUAL(record->lines[0].event, "resolve");
    CU_ASSERT_STRING_EQUAL(record->lines[0].detail, "forced by an operator");
    record = fixture_look_up(&f, &other.record.txid);
    CU_ASSERT_TRUE(record && record->line_count == 0);
    fixture_reopen(&f);
  }
  fixture_end(&f);
}

/* ---- lists ---------------------------------------------------------------------------------- */

/* Oldest first: 0 committed bank_a bank_b stock, 1 aborted bank_a bank_b, 2 delegated bank_a,
 * 3 committed and ended, without a label. */
static void fill_list(struct wal_fixture *f, struct sample s[4]) {
  sample_commit(f, &s[0]);
  sample_aborted(f, &s[1]);
  sample_delegated(f, &s[2]);
  sample_commit(f, &s[3]);
  s[3].record.label = NULL;
  wal_note_aborted(f->wal, &s[1].record);
  CU_ASSERT_EQUAL(fixture_decide(f, &s[0].record), WAL_DURABLE);
  CU_ASSERT_EQUAL(fixture_decide(f, &s[2].record), WAL_DURABLE);
  CU_ASSERT_EQUAL(fixture_decide(f, &s[3].record), WAL_DURABLE);
  wal_end(f->wal, &s[3].record.txid, WAL_OUTCOME_COMMITTED, NULL, 0, 9);
}

/* `wanted` are indices into s, newest first. */
static void expect_list(struct wal_fixture *f, const struct sample s[4], struct wal_filter filter,
                        const char *wanted) {
  if (filter.limit == 0) filter.limit = 1000;
  size_t count = fixture_list(f, &filter);
  CU_ASSERT_EQUAL_FATAL(count, strlen(wanted));
  for (size_t i = 0; i < count; i++)
    CU_ASSERT_STRING_EQUAL(f->records.items[i].txid.text, s[wanted[i] - '0'].record.txid.text);
}

static void list_filters_by_each_property_newest_first(void) {
  struct wal_fixture f;
  struct sample s[4];
  fixture_begin(&f);
  fill_list(&f, s);
  expect_list(&f, s, (struct wal_filter){0}, "3210");
  expect_list(&f, s, (struct wal_filter){.limit = 2}, "32");
  expect_list(&f, s, (struct wal_filter){.before = s[2].record.txid}, "10");
  expect_list(&f, s, (struct wal_filter){.outcome = WAL_OUTCOME_COMMITTED}, "30");
  expect_list(&f, s, (struct wal_filter){.outcome = WAL_OUTCOME_ABORTED}, "1");
  expect_list(&f, s, (struct wal_filter){.outcome = WAL_OUTCOME_MIXED}, "");
  expect_list(&f, s, (struct wal_filter){.applied_only = true}, "31");
  expect_list(&f, s, (struct wal_filter){.participant = "bank_a"}, "3210");
  expect_list(&f, s, (struct wal_filter){.participant = "stock"}, "30");
  expect_list(&f, s, (struct wal_filter){.participant = "nobody"}, "");
  expect_list(&f, s, (struct wal_filter){.label = "order-42"}, "20");
  expect_list(&f, s, (struct wal_filter){.label = "order-4"}, "");
  fixture_end(&f);
}

static void list_filters_join_with_and(void) {
  struct wal_fixture f;
  struct sample s[4];
  fixture_begin(&f);
  fill_list(&f, s);
  expect_list(&f, s, (struct wal_filter){.participant = "stock", .label = "order-42"}, "0");
  expect_list(&f, s, (struct wal_filter){.participant = "stock", .applied_only = true}, "3");
  expect_list(&f, s,
              (struct wal_filter){.participant = "bank_b",
                                  .outcome = WAL_OUTCOME_COMMITTED,
                                  .before = s[3].record.txid},
              "0");
  fixture_end(&f);
}

#define FOR_EVER_MS (INT64_C(86400000) * 365 * 200) /* the samples' times are long ago */

/* So many that no list with a participant has. */
static void fill_younger(struct wal_fixture *f, unsigned count) {
  struct store *store;
  struct sample s;
  sample_aborted(f, &s);
  fixture_close(f);
  CU_ASSERT_FATAL(store_open(&store, f->path, NULL) == ERR_OK);
  s.record.branch_count = 0;
  for (unsigned i = 0; i < count; i++) {
    s.record.txid = txid_make(1);
    CU_ASSERT_EQUAL(store_put(store, &s.record, 1, NULL), STORE_OK);
  }
  CU_ASSERT_EQUAL(store_commit(store, NULL), STORE_OK);
  store_close(store, true);
  CU_ASSERT_FATAL(fixture_open(f) == ERR_OK);
}

static void list_of_what_is_rare_looks_at_so_many_a_step(void) {
  struct store *store;
  struct wal_fixture f;
  struct sample s;
  struct record_list list = {0};
  struct wal_filter filter = {.outcome = WAL_OUTCOME_ABORTED, .participant = "bank_a", .limit = 10};
  struct txid rest;
  fixture_begin(&f);
  f.options.retention_ms = FOR_EVER_MS;
  sample_aborted(&f, &s);
  wal_note_aborted(f.wal, &s.record);
  fill_younger(&f, 2 * LIST_STEP_MAX);
  fixture_close(&f);
  CU_ASSERT_FATAL(store_open(&store, f.path, NULL) == ERR_OK);
  for (int i = 0; i < 2; i++) {
    CU_ASSERT_EQUAL(store_list(store, &filter, &list, &rest, NULL), STORE_OK);
    CU_ASSERT_EQUAL(list.count, 0);
    CU_ASSERT_STRING_NOT_EQUAL(rest.text, "");
    filter.before = rest;
  }
  CU_ASSERT_EQUAL(store_list(store, &filter, &list, &rest, NULL), STORE_OK);
  CU_ASSERT_STRING_EQUAL(rest.text, "");
  CU_ASSERT_EQUAL_FATAL(list.count, 1);
  CU_ASSERT_STRING_EQUAL(list.items[0].txid.text, s.record.txid.text);
  record_list_clear(&list);
  store_close(store, true);
  fixture_end(&f);
}

static void list_participant_with_two_branches_tells_it_once(void) {
  struct wal_fixture f;
  struct sample s;
  fixture_begin(&f);
  sample_commit(&f, &s);
  s.branches[1].participant = s.branches[2].participant = "stock";
  CU_ASSERT_EQUAL(fixture_decide(&f, &s.record), WAL_DURABLE);
  CU_ASSERT_EQUAL(fixture_list(&f, &(struct wal_filter){.participant = "stock", .limit = 10}), 1);
  CU_ASSERT_TRUE(f.records.count == 1 && records_are_equal(&f.records.items[0], &s.record));
  fixture_end(&f);
}

/* ---- retention ------------------------------------------------------------------------------ */

static void retention_over_removes_ended_and_keeps_unfinished(void) {
  struct wal_fixture f;
  struct sample ended, aborted, open;
  fixture_begin(&f);
  sample_commit(&f, &ended);
  sample_aborted(&f, &aborted);
  sample_commit(&f, &open);
  CU_ASSERT_EQUAL(fixture_decide(&f, &ended.record), WAL_DURABLE);
  CU_ASSERT_EQUAL(fixture_decide(&f, &open.record), WAL_DURABLE);
  wal_end(f.wal, &ended.record.txid, WAL_OUTCOME_COMMITTED, NULL, 0, 9);
  wal_note_aborted(f.wal, &aborted.record);
  f.options.retention_ms = 0;
  fixture_reopen(&f);
  unsigned looks = 0;
  while (fixture_list(&f, &(struct wal_filter){.limit = 10}) > 1 && ++looks < ANSWERS_MAX - 10)
    ;
  CU_ASSERT_FATAL(f.records.count == 1);
  CU_ASSERT_TRUE(records_are_equal(&f.records.items[0], &open.record));
  CU_ASSERT_EQUAL(fixture_list(&f, &(struct wal_filter){.participant = "bank_a", .limit = 10}), 1);
  fixture_end(&f);
}

/* A coordinator that nobody asks anything. */
static void retention_over_removes_without_a_call(void) {
  struct wal_fixture f;
  struct sample s;
  struct store *store;
  const struct wal_record *found = NULL;
  fixture_begin(&f);
  sample_commit(&f, &s);
  CU_ASSERT_EQUAL(fixture_decide(&f, &s.record), WAL_DURABLE);
  wal_end(f.wal, &s.record.txid, WAL_OUTCOME_COMMITTED, NULL, 0, 9);
  f.options.retention_ms = 0;
  fixture_reopen(&f);
  CU_ASSERT_EQUAL(fixture_unfinished(&f, NULL), ERR_OK);
  enum { PATIENCE_MS = 20000 };
  for (int waited = 0; wal_stats(f.wal).groups == 0 && waited < PATIENCE_MS; waited++)
    process_pause_ms(1);
  fixture_close(&f);
  CU_ASSERT_FATAL(store_open(&store, f.path, NULL) == ERR_OK);
  CU_ASSERT_EQUAL(store_find(store, &s.record.txid, &found, NULL), STORE_OK);
  CU_ASSERT_PTR_NULL(found);
  store_close(store, true);
  fixture_end(&f);
}

static void retention_not_over_keeps_ended(void) {
  struct wal_fixture f;
  struct sample s;
  fixture_begin(&f);
  sample_commit(&f, &s);
  CU_ASSERT_EQUAL(fixture_decide(&f, &s.record), WAL_DURABLE);
  wal_end(f.wal, &s.record.txid, WAL_OUTCOME_COMMITTED, NULL, 0, 9);
  fixture_reopen(&f);
  for (int i = 0; i < 20; i++)
    CU_ASSERT_PTR_NOT_NULL(fixture_look_up(&f, &s.record.txid));
  fixture_end(&f);
}

static void retention_of_many_removes_all_in_steps(void) {
  struct store *store;
  struct wal_fixture f;
  struct sample s;
  unsigned removed = 0, total = 0, steps = 0;
  fixture_begin(&f);
  sample_aborted(&f, &s);
  fixture_close(&f);
  CU_ASSERT_FATAL(store_open(&store, f.path, NULL) == ERR_OK);
  s.record.branch_count = 0;
  int64_t last_us = 0;
  for (int i = 0; i < 2 * REMOVE_STEP_MAX + 1; i++) {
    s.record.txid = txid_make(clock_wall_us());
    last_us = clock_wall_us() + 1000;
    CU_ASSERT_EQUAL(store_put(store, &s.record, last_us, NULL), STORE_OK);
  }
  do {
    CU_ASSERT_EQUAL(store_remove_ended(store, last_us, &removed, NULL), STORE_OK);
    total += removed;
    steps++;
  } while (removed > 0 && steps < 10);
  CU_ASSERT_EQUAL(total, 2 * REMOVE_STEP_MAX + 1);
  CU_ASSERT_EQUAL(steps, 4);
  CU_ASSERT_EQUAL(store_commit(store, NULL), STORE_OK);
  store_close(store, true);
  fixture_end(&f);
}

/* ---- groups --------------------------------------------------------------------------------- */

static void decisions_during_a_sync_share_the_next_one(void) {
  struct wal_fixture f;
  struct sample s[33];
  fixture_begin(&f);
  fault_vfs_hold_syncs();
  for (int i = 0; i < 33; i++)
    sample_commit(&f, &s[i]);
  wal_decide(f.wal, &s[0].record, fixture_on_decided, &f);
  fault_vfs_await_held();
  for (int i = 1; i < 33; i++)
    wal_decide(f.wal, &s[i].record, fixture_on_decided, &f);
  CU_ASSERT_EQUAL(f.answers, 0);
  fault_vfs_release_syncs();
  fixture_await(&f, 33);
  for (int i = 0; i < 33; i++)
    CU_ASSERT_EQUAL(f.results[i], WAL_DURABLE);
  CU_ASSERT_EQUAL(wal_stats(f.wal).decisions, 33);
  CU_ASSERT_EQUAL(wal_stats(f.wal).groups, 2);
  fixture_end(&f);
}

static void lazy_records_alone_are_read_before_any_sync(void) {
  struct wal_fixture f;
  struct sample s;
  fixture_begin(&f);
  f.options.lazy_flush_ms = 3600000;
  fixture_reopen(&f);
  unsigned before = fault_vfs_syncs();
  sample_aborted(&f, &s);
  wal_note_aborted(f.wal, &s.record);
  CU_ASSERT_PTR_NOT_NULL(fixture_look_up(&f, &s.record.txid));
  CU_ASSERT_EQUAL(fault_vfs_syncs(), before);
  CU_ASSERT_EQUAL(wal_stats(f.wal).groups, 0);
  fixture_end(&f);
}

static void lazy_records_alone_become_durable_in_time(void) {
  struct wal_fixture f;
  struct sample s;
  fixture_begin(&f);
  f.options.lazy_flush_ms = 1;
  fixture_reopen(&f);
  fault_vfs_hold_syncs();
  sample_aborted(&f, &s);
  wal_note_aborted(f.wal, &s.record);
  fault_vfs_await_held(); /* no decision asks for this sync */
  fault_vfs_release_syncs();
  fixture_end(&f);
}

/* Nobody wakes the writer for the second one, nor for those that come while it syncs. */
static void lazy_records_behind_others_become_durable_in_time(void) {
  struct wal_fixture f;
  struct sample samples[4];
  fixture_begin(&f);
  f.options.lazy_flush_ms = 1;
  fixture_reopen(&f);
  for (int i = 0; i < 4; i++)
    sample_aborted(&f, &samples[i]);
  fault_vfs_hold_syncs();
  wal_note_aborted(f.wal, &samples[0].record);
  wal_note_aborted(f.wal, &samples[1].record);
  fault_vfs_await_held();
  wal_note_aborted(f.wal, &samples[2].record);
  wal_note_aborted(f.wal, &samples[3].record);
  fault_vfs_release_syncs();
  while (wal_stats(f.wal).groups < 2)
    process_pause_ms(1);
  fixture_end(&f);
}

static void lazy_records_go_with_the_next_decision(void) {
  struct wal_fixture f;
  struct sample samples[3], decided;
  fixture_begin(&f);
  f.options.lazy_flush_ms = 3600000;
  fixture_reopen(&f);
  sample_commit(&f, &decided);
  for (int i = 0; i < 3; i++) {
    sample_aborted(&f, &samples[i]);
    wal_note_aborted(f.wal, &samples[i].record);
  }
  CU_ASSERT_EQUAL(fixture_decide(&f, &decided.record), WAL_DURABLE);
  CU_ASSERT_EQUAL(wal_stats(f.wal).groups, 1);
  for (int i = 0; i < 3; i++)
    CU_ASSERT_PTR_NOT_NULL(fixture_look_up(&f, &samples[i].record.txid));
  fixture_end(&f);
}

struct order {
  struct wal_fixture *f;
  char seen[8];
  size_t count;
};

static void order_note(struct order *order, char what) {
  order->seen[order->count++] = what;
  if (order->count == 4) loop_stop(order->f->loop);
}

static void order_decided(void *data, enum wal_result result, const struct error *err) {
  CU_ASSERT_TRUE(result == WAL_DURABLE && !err);
  order_note(data, 'd');
}

static void order_found(void *data, const struct wal_record *record, const struct error *err) {
  CU_ASSERT_TRUE(record && !err);
  order_note(data, 'f');
}

static void order_listed(void *data, const struct wal_record *records, size_t count,
                         const struct error *err) {
  CU_ASSERT_TRUE(records && count > 0 && !err);
  order_note(data, 'l');
}

static void answers_come_later_and_in_the_order_of_the_calls(void) {
  struct wal_fixture f;
  struct sample s[2];
  struct order order = {.f = &f};
  fixture_begin(&f);
  sample_commit(&f, &s[0]);
  sample_commit(&f, &s[1]);
  wal_decide(f.wal, &s[0].record, order_decided, &order);
  wal_look_up(f.wal, &s[0].record.txid, order_found, &order);
  wal_decide(f.wal, &s[1].record, order_decided, &order);
  wal_list(f.wal, &(struct wal_filter){.limit = 2}, order_listed, &order);
  CU_ASSERT_EQUAL(order.count, 0);
  loop_run(f.loop);
  CU_ASSERT_STRING_EQUAL(order.seen, "dfdl");
  fixture_end(&f);
}

/* The writer finds list and decision together, when it has done with the first. */
static void decision_does_not_wait_for_a_long_list(void) {
  struct wal_fixture f;
  struct sample s[3];
  struct order order = {.f = &f};
  fixture_begin(&f);
  f.options.retention_ms = FOR_EVER_MS;
  sample_aborted(&f, &s[0]);
  wal_note_aborted(f.wal, &s[0].record);
  fill_younger(&f, LIST_STEP_MAX);
  sample_commit(&f, &s[1]);
  sample_commit(&f, &s[2]);
  struct wal_filter filter = {.outcome = WAL_OUTCOME_ABORTED, .participant = "bank_a", .limit = 10};
  fault_vfs_hold_syncs();
  wal_decide(f.wal, &s[1].record, order_decided, &order);
  fault_vfs_await_held();
  wal_list(f.wal, &filter, order_listed, &order);
  wal_decide(f.wal, &s[2].record, order_decided, &order);
  wal_look_up(f.wal, &s[1].record.txid, order_found, &order);
  fault_vfs_release_syncs();
  loop_run(f.loop);
  CU_ASSERT_STRING_EQUAL(order.seen, "ddfl");
  fixture_end(&f);
}

static void close_drops_a_list_that_is_not_whole(void) {
  struct wal_fixture f;
  struct sample s;
  struct order order = {.f = &f};
  fixture_begin(&f);
  f.options.retention_ms = FOR_EVER_MS;
  fill_younger(&f, 3 * LIST_STEP_MAX);
  sample_commit(&f, &s);
  fault_vfs_hold_syncs();
  wal_decide(f.wal, &s.record, order_decided, &order);
  fault_vfs_await_held();
  wal_list(f.wal, &(struct wal_filter){.participant = "nobody", .outcome = 2, .limit = 1},
           order_listed, &order);
  fault_vfs_release_syncs();
  fixture_close(&f);
  CU_ASSERT_EQUAL(order.count, 0);
  fixture_end(&f);
}

static void close_writes_what_was_handed_in_and_calls_nobody(void) {
  struct wal_fixture f;
  struct sample s;
  fixture_begin(&f);
  sample_commit(&f, &s);
  wal_decide(f.wal, &s.record, fixture_on_decided, &f);
  fixture_close(&f);
  CU_ASSERT_EQUAL(f.answers, 0);
  CU_ASSERT_EQUAL(fixture_open(&f), ERR_OK);
  CU_ASSERT_PTR_NOT_NULL(fixture_look_up(&f, &s.record.txid));
  fixture_end(&f);
}

SUITE(wal, CASE(open_new_log_begins_epoch_one_in_a_private_file),
      CASE(reopen_grows_the_epoch_and_keeps_the_cluster),
      CASE(open_by_another_process_is_refused_with_the_pid),
      CASE(open_by_the_same_process_is_refused), CASE(open_through_a_link_is_the_same_log),
      CASE(open_in_a_missing_directory_is_refused), CASE(decide_all_fields_come_back_after_reopen),
      CASE(note_aborted_all_fields_come_back_after_reopen),
      CASE(note_aborted_again_keeps_the_first), CASE(look_up_of_an_unknown_txid_finds_nothing),
      CASE(confirm_changes_only_its_branch), CASE(end_of_commit_sets_applied_and_keeps_decided),
      CASE(end_of_delegated_settles_outcome_and_cause),
      CASE(unfinished_are_told_oldest_first_without_the_ended), CASE(unfinished_stops_when_told_to),
      CASE(audit_line_is_there_after_reopen), CASE(record_comes_with_the_lines_about_it),
      CASE(list_filters_by_each_property_newest_first), CASE(list_filters_join_with_and),
      CASE(list_of_what_is_rare_looks_at_so_many_a_step),
      CASE(decision_does_not_wait_for_a_long_list), CASE(close_drops_a_list_that_is_not_whole),
      CASE(list_participant_with_two_branches_tells_it_once),
      CASE(retention_over_removes_ended_and_keeps_unfinished),
      CASE(retention_over_removes_without_a_call), CASE(retention_not_over_keeps_ended),
      CASE(retention_of_many_removes_all_in_steps),
      CASE(decisions_during_a_sync_share_the_next_one),
      CASE(lazy_records_alone_are_read_before_any_sync),
      CASE(lazy_records_alone_become_durable_in_time),
      CASE(lazy_records_behind_others_become_durable_in_time),
      CASE(lazy_records_go_with_the_next_decision),
      CASE(answers_come_later_and_in_the_order_of_the_calls),
      CASE(close_writes_what_was_handed_in_and_calls_nobody))
