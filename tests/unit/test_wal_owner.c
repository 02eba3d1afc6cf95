/* Whose a transaction is, in the decision log; and logs of the format that did not know. */
#include <sqlite3.h>
#include <string.h>

#include "tests/lib/suite.h"
#include "tests/lib/wal_fixture.h"

/* Oldest first: shop's, nobody's, an abort of shop's, other-shop's. */
static void fill(struct wal_fixture *f, struct sample s[4]) {
  sample_commit(f, &s[0]);
  sample_commit(f, &s[1]);
  sample_aborted(f, &s[2]);
  sample_delegated(f, &s[3]);
  s[0].record.owner = s[2].record.owner = "shop";
  s[3].record.owner = "other-shop";
  s[3].record.label = NULL;
  wal_note_aborted(f->wal, &s[2].record);
  CU_ASSERT_EQUAL(fixture_decide(f, &s[0].record), WAL_DURABLE);
  CU_ASSERT_EQUAL(fixture_decide(f, &s[1].record), WAL_DURABLE);
  CU_ASSERT_EQUAL(fixture_decide(f, &s[3].record), WAL_DURABLE);
}

static void expect_list(struct wal_fixture *f, const struct sample s[4], struct wal_filter filter,
                        const char *wanted) {
  if (filter.limit == 0) filter.limit = 1000;
  size_t count = fixture_list(f, &filter);
  CU_ASSERT_EQUAL_FATAL(count, strlen(wanted));
  for (size_t i = 0; i < count; i++)
    CU_ASSERT_TRUE(records_are_equal(&f->records.items[i], &s[wanted[i] - '0'].record));
}

static void list_tells_an_owner_what_is_its_own(void) {
  struct wal_fixture f;
  struct sample s[4];
  fixture_begin(&f);
  fill(&f, s);
  for (int i = 0; i < 2; i++) {
    expect_list(&f, s, (struct wal_filter){0}, "3210");
    expect_list(&f, s, (struct wal_filter){.owner = "shop"}, "20");
    expect_list(&f, s, (struct wal_filter){.owner = "shop", .limit = 1}, "2");
    expect_list(&f, s, (struct wal_filter){.owner = "shop", .before = s[2].record.txid}, "0");
    expect_list(&f, s, (struct wal_filter){.owner = "other-shop"}, "3");
    expect_list(&f, s, (struct wal_filter){.owner = "sho"}, "");
    expect_list(&f, s, (struct wal_filter){.owner = "shop", .label = "order-42"}, "0");
    expect_list(&f, s, (struct wal_filter){.owner = "other-shop", .label = "order-42"}, "");
    expect_list(&f, s, (struct wal_filter){.owner = "shop", .participant = "stock"}, "0");
    expect_list(&f, s, (struct wal_filter){.owner = "shop", .outcome = WAL_OUTCOME_ABORTED}, "2");
    fixture_reopen(&f);
  }
  fixture_end(&f);
}

static int count_owners(struct wal_fixture *f) {
  sqlite3 *db = NULL;
  sqlite3_stmt *rows = NULL;
  CU_ASSERT_EQUAL_FATAL(sqlite3_open(f->path, &db), SQLITE_OK);
  CU_ASSERT_EQUAL(sqlite3_exec(db, "PRAGMA locking_mode=EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
  CU_ASSERT_EQUAL(sqlite3_prepare_v2(db, "SELECT count(*) FROM owner", -1, &rows, NULL), SQLITE_OK);
  CU_ASSERT_EQUAL(sqlite3_step(rows), SQLITE_ROW);
  int count = sqlite3_column_int(rows, 0);
  (void)sqlite3_finalize(rows);
  CU_ASSERT_EQUAL(sqlite3_close(db), SQLITE_OK);
  return count;
}

static void owner_goes_with_its_transaction(void) {
  struct wal_fixture f;
  struct sample s;
  fixture_begin(&f);
  f.options.retention_ms = 0;
  fixture_reopen(&f);
  sample_commit(&f, &s);
  s.record.owner = "shop";
  CU_ASSERT_EQUAL(fixture_decide(&f, &s.record), WAL_DURABLE);
  fixture_close(&f);
  CU_ASSERT_EQUAL(count_owners(&f), 1);
  CU_ASSERT_EQUAL_FATAL(fixture_open(&f), ERR_OK);
  wal_end(f.wal, &s.record.txid, WAL_OUTCOME_COMMITTED, NULL, 0, 9);
  struct txid audited = txid_make(1);
  for (int i = 0; i < 100 && fixture_look_up(&f, &s.record.txid); i++)
    CU_ASSERT_EQUAL(fixture_audit(&f, &audited), WAL_DURABLE);
  CU_ASSERT_PTR_NULL(fixture_look_up(&f, &s.record.txid));
  fixture_close(&f);
  CU_ASSERT_EQUAL(count_owners(&f), 0);
  CU_ASSERT_EQUAL_FATAL(fixture_open(&f), ERR_OK);
  fixture_end(&f);
}

/* Somebody else's, or everybody's, is what nobody may make it by a flipped bit. */
static void changed_owner_makes_the_record_a_damaged_one(void) {
  static const char *const changes[] = {"UPDATE owner SET name = 'other-shop'",
                                        "UPDATE owner SET name = ''", "DELETE FROM owner"};
  for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
    struct wal_fixture f;
    struct sample s;
    fixture_begin(&f);
    sample_commit(&f, &s);
    s.record.owner = "shop";
    CU_ASSERT_EQUAL(fixture_decide(&f, &s.record), WAL_DURABLE);
    fixture_close(&f);
    fixture_run_sql(&f, changes[i]);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&f), ERR_OK);
    CU_ASSERT_PTR_NULL(fixture_look_up(&f, &s.record.txid));
    CU_ASSERT_PTR_NOT_NULL(strstr(f.errors[f.answers - 1].text, "damaged"));
    fixture_end(&f);
  }
}

static const char to_format_4[] =
    "DROP INDEX audit_txid; DROP TRIGGER txn_removed; DROP TABLE owner;"
    " PRAGMA user_version=4; UPDATE meta SET commits = commits + 1";

static void log_of_format_4_is_brought_up_to_date(void) {
  struct wal_fixture f;
  struct sample before, after;
  fixture_begin(&f);
  sample_commit(&f, &before);
  CU_ASSERT_EQUAL(fixture_decide(&f, &before.record), WAL_DURABLE);
  fixture_close(&f);
  fixture_run_sql(&f, to_format_4);
  CU_ASSERT_EQUAL_FATAL(fixture_open(&f), ERR_OK);
  const struct wal_record *record = fixture_look_up(&f, &before.record.txid);
  CU_ASSERT_TRUE(record && records_are_equal(record, &before.record));
  sample_commit(&f, &after);
  after.record.owner = "shop";
  CU_ASSERT_EQUAL(fixture_decide(&f, &after.record), WAL_DURABLE);
  fixture_reopen(&f);
  record = fixture_look_up(&f, &after.record.txid);
  CU_ASSERT_TRUE(record && records_are_equal(record, &after.record));
  CU_ASSERT_EQUAL(fixture_list(&f, &(struct wal_filter){.owner = "shop", .limit = 10}), 1);
  fixture_end(&f);
}

static void owners_outlive_a_rebuilding(void) {
  struct wal_fixture f;
  struct sample s[4];
  fixture_begin(&f);
  fill(&f, s);
  uint64_t epoch = wal_epoch(f.wal);
  fixture_close(&f);
  fixture_rebuild(&f, epoch + 1);
  CU_ASSERT_EQUAL_FATAL(fixture_open(&f), ERR_OK);
  expect_list(&f, s, (struct wal_filter){.owner = "shop"}, "20");
  expect_list(&f, s, (struct wal_filter){0}, "3210");
  fixture_close(&f);
  fixture_run_sql(&f, to_format_4); /* damaged they are now; and none must be in the way */
  fixture_rebuild(&f, epoch + 9);
  CU_ASSERT_EQUAL_FATAL(fixture_open(&f), ERR_OK);
  expect_list(&f, s, (struct wal_filter){0}, "1");
  fixture_end(&f);
}

SUITE(wal_owner, CASE(list_tells_an_owner_what_is_its_own), CASE(owner_goes_with_its_transaction),
      CASE(changed_owner_makes_the_record_a_damaged_one),
      CASE(log_of_format_4_is_brought_up_to_date), CASE(owners_outlive_a_rebuilding))
