/* Keys of requests in the decision log: with their decision or not at all, answered, forgotten in time;
 * and logs of the format that had none. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/fault_vfs.h"
#include "tests/lib/suite.h"
#include "tests/lib/wal_fixture.h"
#include "wal/backup.h"
#include "wal/store.h"

#define FINGERPRINT "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* What the last look-up has found; `key` is free()d by the next one. */
struct found {
  struct wal_fixture *f;
  struct wal_key *key;
  bool has_record, failed;
};

static void on_found(void *data, const struct wal_key *key, const struct wal_record *record,
                     const struct error *err) {
  struct found *found = data;
  free(found->key);
  found->key = key ? key_copy(key) : NULL;
  found->has_record = record != NULL;
  found->failed = err != NULL;
  fixture_on_decided(found->f, WAL_DURABLE, err);
}

static const struct wal_key *look_up(struct found *found, const char *name) {
  wal_look_up_key(found->f->wal, "", name, on_found, found);
  fixture_await(found->f, found->f->answers + 1);
  return found->key;
}

static struct wal_key sample_key(const struct sample *s, const char *name) {
  return (struct wal_key){.name_space = "",
                          .name = name,
                          .fingerprint = FINGERPRINT,
                          .txid = s->record.txid,
                          .at_us = 1700000000000000,
                          .results = "[1]\n[2]\n\n"};
}

static bool texts_are_equal(const char *a, const char *b) {
  return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool keys_are_equal(const struct wal_key *a, const struct wal_key *b) {
  return a && texts_are_equal(a->name, b->name) && texts_are_equal(a->name_space, b->name_space) &&
         texts_are_equal(a->fingerprint, b->fingerprint) &&
         texts_are_equal(a->txid.text, b->txid.text) && a->at_us == b->at_us &&
         a->status == b->status && texts_are_equal(a->body, b->body) &&
         texts_are_equal(a->results, b->results);
}

static enum wal_result remember(struct wal_fixture *f, const struct wal_key *key) {
  wal_remember(f->wal, key, fixture_on_decided, f);
  fixture_await(f, f->answers + 1);
  return f->results[f->answers - 1];
}

/* ---- records ---------------------------------------------------------------------------------- */

static void key_comes_with_its_decision_and_stays(void) {
  struct wal_fixture f;
  struct found found = {.f = &f};
  struct sample s;
  fixture_begin(&f);
  f.options.key_retention_ms = INT64_C(3600000) * 24 * 365 * 20;
  fixture_reopen(&f);
  sample_commit(&f, &s);
  const struct wal_key key = sample_key(&s, "order 42");
  s.record.key = &key;
  CU_ASSERT_PTR_NULL(look_up(&found, "order 42"));
  CU_ASSERT_EQUAL(fixture_decide(&f, &s.record), WAL_DURABLE);
  for (int i = 0; i < 2; i++) {
    CU_ASSERT_TRUE(keys_are_equal(look_up(&found, "order 42"), &key));
    CU_ASSERT_TRUE(found.has_record && !found.failed);
    CU_ASSERT_PTR_NULL(look_up(&found, "order 4"));
    fixture_reopen(&f);
  }
  fixture_end(&f);
}

static void answer_takes_the_place_of_the_results(void) {
  struct wal_fixture f;
  struct found found = {.f = &f};
  struct sample s;
  fixture_begin(&f);
  f.options.key_retention_ms = INT64_C(3600000) * 24 * 365 * 20;
  fixture_reopen(&f);
  sample_delegated(&f, &s);
  struct wal_key key = sample_key(&s, "k");
  s.record.key = &key;
  CU_ASSERT_EQUAL(fixture_decide(&f, &s.record), WAL_DURABLE);
  key.status = 200;
  key.body = "{\"id\":\"it's \xe2\x89\xa5\"}";
  key.results = NULL;
  wal_answer(f.wal, &key);
  for (int i = 0; i < 2; i++) {
    CU_ASSERT_TRUE(keys_are_equal(look_up(&found, "k"), &key));
    fixture_reopen(&f);
  }
  free(found.key);
  found.key = NULL;
  fixture_end(&f);
}

static void remembered_answer_needs_no_record(void) {
  struct wal_fixture f;
  struct found found = {.f = &f};
  struct sample s;
  fixture_begin(&f);
  f.options.key_retention_ms = INT64_C(3600000) * 24 * 365 * 20;
  fixture_reopen(&f);
  sample_aborted(&f, &s);
  struct wal_key key = sample_key(&s, "k");
  key.status = 409;
  key.body = "{}";
  key.results = NULL;
  CU_ASSERT_EQUAL(remember(&f, &key), WAL_DURABLE);
  fixture_reopen(&f);
  CU_ASSERT_TRUE(keys_are_equal(look_up(&found, "k"), &key));
  CU_ASSERT_FALSE(found.has_record);
  free(found.key);
  fixture_end(&f);
}

static struct sample killed;
static struct wal_key killed_key;

static void decide_and_die(struct wal_fixture *f) {
  killed_key = sample_key(&killed, "k");
  killed.record.key = &killed_key;
  (void)fixture_decide(f, &killed.record);
}

static void key_survives_a_kill_with_its_decision(void) {
  struct wal_fixture f;
  struct found found = {.f = &f};
  fixture_begin(&f);
  f.options.key_retention_ms = INT64_C(3600000) * 24 * 365 * 20;
  sample_commit(&f, &killed);
  CU_ASSERT_TRUE(fixture_killed_after(&f, decide_and_die));
  CU_ASSERT_EQUAL_FATAL(fixture_open(&f), ERR_OK);
  CU_ASSERT_PTR_NOT_NULL(look_up(&found, "k"));
  CU_ASSERT_TRUE(found.has_record);
  free(found.key);
  fixture_end(&f);
}

static void full_disk_refuses_an_answer_and_leaves_no_key(void) {
  struct wal_fixture f;
  struct found found = {.f = &f};
  struct sample s;
  fixture_begin(&f);
  sample_aborted(&f, &s);
  struct wal_key key = sample_key(&s, "k");
  key.status = 409;
  key.body = "{}";
  fault_vfs_set_space(0);
  CU_ASSERT_EQUAL(remember(&f, &key), WAL_REFUSED);
  fault_vfs_reset();
  CU_ASSERT_PTR_NULL(look_up(&found, "k"));
  fixture_reopen(&f);
  CU_ASSERT_PTR_NULL(look_up(&found, "k"));
  CU_ASSERT_FALSE(found.failed);
  fixture_end(&f);
}

/* ---- retention -------------------------------------------------------------------------------- */

static void expired_key_is_removed_unless_its_transaction_is_unfinished(void) {
  struct wal_fixture f;
  struct found found = {.f = &f};
  struct sample ended, open;
  fixture_begin(&f);
  sample_commit(&f, &ended);
  sample_commit(&f, &open);
  const struct wal_key first = sample_key(&ended, "ended"), second = sample_key(&open, "open");
  ended.record.key = &first;
  open.record.key = &second;
  CU_ASSERT_EQUAL(fixture_decide(&f, &ended.record), WAL_DURABLE);
  CU_ASSERT_EQUAL(fixture_decide(&f, &open.record), WAL_DURABLE);
  wal_end(f.wal, &ended.record.txid, WAL_OUTCOME_COMMITTED, NULL, 0, 9);
  fixture_reopen(&f); /* the key retention is 0 here, that of records an hour */
  unsigned looks = 0;
  while (look_up(&found, "ended") && ++looks < ANSWERS_MAX - 20)
    ;
  CU_ASSERT_PTR_NULL(found.key);
  CU_ASSERT_PTR_NOT_NULL(look_up(&found, "open"));
  CU_ASSERT_PTR_NOT_NULL(fixture_look_up(&f, &ended.record.txid));
  free(found.key);
  fixture_end(&f);
}

/* The answer could not be made again without it. */
static void expired_record_is_kept_while_its_key_has_no_answer(void) {
  struct store *store;
  struct wal_fixture f;
  struct sample s;
  unsigned removed = 1;
  fixture_begin(&f);
  sample_commit(&f, &s);
  struct wal_key key = sample_key(&s, "k");
  s.record.key = &key;
  CU_ASSERT_EQUAL(fixture_decide(&f, &s.record), WAL_DURABLE);
  wal_end(f.wal, &s.record.txid, WAL_OUTCOME_COMMITTED, NULL, 0, 9);
  fixture_close(&f);
  CU_ASSERT_FATAL(store_open(&store, f.path, NULL) == ERR_OK);
  CU_ASSERT_EQUAL(store_remove_ended(store, INT64_MAX, &removed, NULL), STORE_OK);
  CU_ASSERT_EQUAL(removed, 0);
  key.status = 200;
  key.body = "{}";
  CU_ASSERT_EQUAL(store_put_key(store, &key, NULL), STORE_OK);
  CU_ASSERT_EQUAL(store_remove_ended(store, INT64_MAX, &removed, NULL), STORE_OK);
  CU_ASSERT_EQUAL(removed, 1);
  CU_ASSERT_EQUAL(store_commit(store, NULL), STORE_OK);
  store_close(store, true);
  fixture_end(&f);
}

/* ---- damage ----------------------------------------------------------------------------------- */

static void damaged_key_is_an_error_and_not_an_unknown_one(void) {
  static const char *const changes[] = {
      "UPDATE request SET fingerprint = replace(fingerprint, '0', '1')",
      "UPDATE request SET status = 500",
      "UPDATE request SET body = 'x'",
      "UPDATE request SET txid = 'x'",
      "UPDATE request SET results = NULL",
  };
  for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
    struct wal_fixture f;
    struct found found = {.f = &f};
    struct sample s;
    fixture_begin(&f);
    sample_commit(&f, &s);
    const struct wal_key key = sample_key(&s, "k");
    s.record.key = &key;
    CU_ASSERT_EQUAL(fixture_decide(&f, &s.record), WAL_DURABLE);
    fixture_close(&f);
    fixture_run_sql(&f, changes[i]);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&f), ERR_OK);
    CU_ASSERT_PTR_NULL(look_up(&found, "k"));
    CU_ASSERT_TRUE(found.failed);
    CU_ASSERT_PTR_NOT_NULL(fixture_look_up(&f, &s.record.txid));
    fixture_end(&f);
  }
}

/* ---- older formats --------------------------------------------------------------------------------- */

#define TO_FORMAT_3                                                                                \
  "DROP INDEX audit_txid; DROP TRIGGER txn_removed; DROP TABLE owner;"                             \
  "CREATE TRIGGER txn_begun AFTER INSERT ON txn WHEN new.ended_at_us IS NULL BEGIN"                \
  " UPDATE meta SET unfinished = unfinished + 1; END;"                                             \
  "CREATE TRIGGER txn_done AFTER UPDATE OF ended_at_us ON txn"                                     \
  " WHEN old.ended_at_us IS NULL AND new.ended_at_us IS NOT NULL BEGIN"                            \
  " UPDATE meta SET unfinished = unfinished - 1; END;"                                             \
  "CREATE INDEX txn_ended ON txn (ended_at_us, txid) WHERE ended_at_us IS NOT NULL;"               \
  "PRAGMA user_version=3; UPDATE meta SET commits = commits + 1;"
static const char to_format_2[] = TO_FORMAT_3 "DROP TABLE request; PRAGMA user_version=2";
static const char to_format_3[] = TO_FORMAT_3;

static void brought_up_to_date(const char *to_older) {
  struct wal_fixture f;
  struct found found = {.f = &f};
  struct sample before, after;
  fixture_begin(&f);
  f.options.key_retention_ms = INT64_C(3600000) * 24 * 365 * 20;
  sample_commit(&f, &before);
  CU_ASSERT_EQUAL(fixture_decide(&f, &before.record), WAL_DURABLE);
  fixture_close(&f);
  fixture_run_sql(&f, to_older);
  for (int i = 0; i < 2; i++) {
    CU_ASSERT_EQUAL_FATAL(fixture_open(&f), ERR_OK);
    const struct wal_record *record = fixture_look_up(&f, &before.record.txid);
    CU_ASSERT_TRUE(record && records_are_equal(record, &before.record));
    CU_ASSERT_PTR_NULL(look_up(&found, "k"));
    CU_ASSERT_FALSE(found.failed);
    fixture_close(&f);
  }
  CU_ASSERT_EQUAL_FATAL(fixture_open(&f), ERR_OK);
  sample_commit(&f, &after);
  const struct wal_key key = sample_key(&after, "k");
  after.record.key = &key;
  CU_ASSERT_EQUAL(fixture_decide(&f, &after.record), WAL_DURABLE);
  fixture_reopen(&f);
  CU_ASSERT_TRUE(keys_are_equal(look_up(&found, "k"), &key));
  free(found.key);
  fixture_end(&f);
}

static void log_of_format_2_is_brought_up_to_date(void) {
  brought_up_to_date(to_format_2);
}

static void log_of_format_3_is_brought_up_to_date(void) {
  brought_up_to_date(to_format_3);
}

/* A start of format 2 that fails has changed nothing. */
static void upgrade_on_a_full_disk_is_refused_and_repeated(void) {
  struct wal_fixture f;
  struct sample s;
  fixture_begin(&f);
  sample_commit(&f, &s);
  CU_ASSERT_EQUAL(fixture_decide(&f, &s.record), WAL_DURABLE);
  fixture_close(&f);
  fixture_run_sql(&f, to_format_2);
  fault_vfs_set_space(0);
  CU_ASSERT_EQUAL(fixture_open(&f), ERR_LOG);
  CU_ASSERT_PTR_NOT_NULL(strstr(f.open_error.text, "space"));
  fault_vfs_reset();
  CU_ASSERT_EQUAL_FATAL(fixture_open(&f), ERR_OK);
  CU_ASSERT_PTR_NOT_NULL(fixture_look_up(&f, &s.record.txid));
  fixture_end(&f);
}

/* ---- backup, rebuilding ----------------------------------------------------------------------- */

static char copy_path[256];

static const char *copy_of(const struct wal_fixture *f) {
  (void)snprintf(copy_path, sizeof copy_path, "%s/copy.db", f->directory);
  return copy_path;
}

/* A backup, put in the place of the log and recovered from, still knows the keys. */
static void keys_outlive_a_backup_and_a_rebuilding(void) {
  struct wal_fixture f;
  struct found found = {.f = &f};
  struct log_backup backup;
  struct error err = {0};
  struct sample s;
  fixture_begin(&f);
  f.options.key_retention_ms = INT64_C(3600000) * 24 * 365 * 20;
  fixture_reopen(&f);
  sample_commit(&f, &s);
  const struct wal_key key = sample_key(&s, "k");
  s.record.key = &key;
  CU_ASSERT_EQUAL(fixture_decide(&f, &s.record), WAL_DURABLE);
  fixture_close(&f);
  CU_ASSERT_EQUAL_FATAL(log_backup(f.path, copy_of(&f), &backup, &err), ERR_OK);
  CU_ASSERT_EQUAL(rename(copy_path, f.path), 0);
  fixture_rebuild(&f, backup.epoch + 1);
  CU_ASSERT_EQUAL_FATAL(fixture_open(&f), ERR_OK);
  CU_ASSERT_TRUE(keys_are_equal(look_up(&found, "k"), &key));
  CU_ASSERT_TRUE(found.has_record);
  free(found.key);
  fixture_end(&f);
}

static void log_of_format_2_can_be_backed_up_and_rebuilt(void) {
  struct wal_fixture f;
  struct found found = {.f = &f};
  struct log_backup backup;
  struct error err = {0};
  struct sample s;
  fixture_begin(&f);
  sample_commit(&f, &s);
  CU_ASSERT_EQUAL(fixture_decide(&f, &s.record), WAL_DURABLE);
  fixture_close(&f);
  fixture_run_sql(&f, to_format_2);
  CU_ASSERT_EQUAL_FATAL(log_backup(f.path, copy_of(&f), &backup, &err), ERR_OK);
  CU_ASSERT_EQUAL(unlink(copy_path), 0);
  fixture_rebuild(&f, backup.epoch + 1);
  CU_ASSERT_EQUAL_FATAL(fixture_open(&f), ERR_OK);
  CU_ASSERT_PTR_NOT_NULL(fixture_look_up(&f, &s.record.txid));
  CU_ASSERT_PTR_NULL(look_up(&found, "k"));
  CU_ASSERT_FALSE(found.failed);
  fixture_end(&f);
}

SUITE(wal_keys, CASE(key_comes_with_its_decision_and_stays),
      CASE(answer_takes_the_place_of_the_results), CASE(remembered_answer_needs_no_record),
      CASE(key_survives_a_kill_with_its_decision),
      CASE(full_disk_refuses_an_answer_and_leaves_no_key),
      CASE(expired_key_is_removed_unless_its_transaction_is_unfinished),
      CASE(expired_record_is_kept_while_its_key_has_no_answer),
      CASE(damaged_key_is_an_error_and_not_an_unknown_one),
      CASE(log_of_format_2_is_brought_up_to_date), CASE(log_of_format_3_is_brought_up_to_date),
      CASE(upgrade_on_a_full_disk_is_refused_and_repeated),
      CASE(keys_outlive_a_backup_and_a_rebuilding),
      CASE(log_of_format_2_can_be_backed_up_and_rebuilt))
