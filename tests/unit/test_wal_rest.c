/* The decision log when nobody asks it for anything: it gives back memory, once. */
#include <dlfcn.h>
#include <malloc.h>
#include <stdatomic.h>
#include <string.h>

#include "cli/process.h"
#include "tests/lib/suite.h"
#include "tests/lib/wal_fixture.h"
#include "wal/sqlite.h"

/* ---- counted, in the place of the libraries' own ----------------------------------------------- */

static atomic_uint releases, trims;

int malloc_trim(size_t pad) {
  (void)pad;
  atomic_fetch_add(&trims, 1);
  return 0;
}

int sqlite3_db_release_memory(sqlite3 *db) {
  int (*real)(sqlite3 *);
  void *symbol = dlsym(RTLD_NEXT, "sqlite3_db_release_memory");
  memcpy(&real, &symbol, sizeof real);
  atomic_fetch_add(&releases, 1);
  return real(db);
}

static void await_rests(unsigned count) {
  enum { PATIENCE_MS = 20000 };
  for (int waited = 0; atomic_load(&trims) < count && waited < PATIENCE_MS; waited++)
    process_pause_ms(1);
  CU_ASSERT_FATAL(atomic_load(&trims) >= count);
}

/* ---- cases -------------------------------------------------------------------------------------- */

static void rest_comes_once_after_the_last_call(void) {
  enum { CALLS = 20 };
  struct wal_fixture f;
  struct sample s;
  fixture_begin(&f);
  f.options.rest_ms = 1;
  atomic_store(&trims, 0);
  atomic_store(&releases, 0);
  fixture_reopen(&f);
  for (int i = 0; i < CALLS; i++) {
    unsigned before = atomic_load(&trims);
    sample_commit(&f, &s);
    CU_ASSERT_EQUAL(fixture_decide(&f, &s.record), WAL_DURABLE);
    await_rests(before + 1);
    CU_ASSERT_PTR_NOT_NULL(fixture_look_up(&f, &s.record.txid));
  }
  fixture_close(&f);
  CU_ASSERT(atomic_load(&trims) <= 1 + 2 * CALLS);
  CU_ASSERT_EQUAL(atomic_load(&releases), atomic_load(&trims));
  CU_ASSERT_EQUAL(fixture_open(&f), ERR_OK);
  fixture_end(&f);
}

static int cache_used(struct store *store) {
  int used = 0, highest;
  CU_ASSERT_EQUAL(sqlite3_db_status(store->db, SQLITE_DBSTATUS_CACHE_USED, &used, &highest, 0),
                  SQLITE_OK);
  return used;
}

static void rest_frees_pages_which_are_read_again(void) {
  enum { RECORDS = 1000 };
  struct wal_fixture f;
  struct store *store;
  struct sample s;
  struct error err = {0};
  bool found;
  fixture_begin(&f);
  sample_commit(&f, &s);
  fixture_close(&f);
  CU_ASSERT_EQUAL_FATAL(store_open(&store, f.path, &err), ERR_OK);
  for (int i = 0; i < RECORDS; i++) {
    s.record.txid = txid_make(s.record.created_at_us);
    CU_ASSERT_EQUAL(store_put(store, &s.record, 0, &err), STORE_OK);
  }
  CU_ASSERT_EQUAL(store_commit(store, &err), STORE_OK);
  int before = cache_used(store);
  store_rest(store);
  CU_ASSERT(before > 200000);
  CU_ASSERT(cache_used(store) < 20000);
  CU_ASSERT_EQUAL(store_has_decision(store, &s.record.txid, &found, &err), STORE_OK);
  CU_ASSERT_TRUE(found);
  store_close(store, true);
  CU_ASSERT_EQUAL(fixture_open(&f), ERR_OK);
  fixture_end(&f);
}

SUITE(wal_rest, CASE(rest_comes_once_after_the_last_call),
      CASE(rest_frees_pages_which_are_read_again))
