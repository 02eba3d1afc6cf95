/* Requests with a key, in the decision log. See sqlite.c for the format.
 *
 * A row is written with the decision of its transaction, in one SQLite transaction with it: so a
 * transaction that was made by a request with a key, and is decided, is always found by that key. Its
 * answer is put in later, when it is known; until then `results` has what the statements gave and the
 * record has the rest. An answer that no decision stands behind is put in whole. `sum` covers all of it.
 *
 * Limits: a row is as large as the answer, which its writer bounds.
 */
#include <assert.h>
#include <string.h>

#include "wal/sqlite.h"

const char sqlite_request_schema[] =
    "CREATE TABLE request ("
    " id INTEGER PRIMARY KEY,"
    " name_space TEXT NOT NULL,"
    " name TEXT NOT NULL,"
    " fingerprint TEXT NOT NULL,"
    " txid TEXT NOT NULL,"
    " at_us INTEGER NOT NULL,"
    " status INTEGER NOT NULL,"
    " body TEXT,"
    " results TEXT,"
    " sum INTEGER NOT NULL,"
    " UNIQUE (name_space, name)) STRICT;"
    "CREATE INDEX request_at ON request (at_us);"
    "CREATE INDEX request_unanswered ON request (txid) WHERE status = 0;";

enum store_result store_put_key(struct store *store, const struct wal_key *key, struct error *err) {
  enum store_result result = sqlite_ensure_begun(store, err);
  if (result != STORE_OK) return result;
  struct binder b = sqlite_bind(store, SQL_PUT_KEY);
  bind_text(&b, key->name_space);
  bind_text(&b, key->name);
  bind_text(&b, key->fingerprint);
  bind_text(&b, key->txid.text);
  bind_int(&b, key->at_us);
  bind_int(&b, key->status);
  bind_text(&b, key->body);
  bind_text(&b, key->results);
  bind_int(&b, key_sum(key));
  result = sqlite_run(store, &b, NULL, "cannot write a key", err);
  /* Else two transactions have come of one key. */
  assert(result != STORE_OK || sqlite3_changes(store->db) == 1);
  return result;
}

static enum store_result unreadable(const struct store *store, const char *name, const char *why,
                                    struct error *err) {
  (void)error_set(err, ERR_LOG, "decision log %s: the request with the key \"%.64s\": %s",
                  store->path, name, why);
  return STORE_UNREADABLE;
}

enum store_result store_find_key(struct store *store, const char *name_space, const char *name,
                                 struct wal_key **out, struct error *err) {
  char fingerprint[FINGERPRINT_SIZE];
  bool found = false;
  *out = NULL;
  struct binder b = sqlite_bind(store, SQL_FIND_KEY);
  bind_text(&b, name_space);
  bind_text(&b, name);
  enum store_result result = sqlite_run(store, &b, &found, "cannot read", err);
  if (result != STORE_OK || !found) return result;

  struct row row = {.statement = b.statement};
  struct wal_key key = {.name_space = name_space, .name = name, .fingerprint = fingerprint};
  row_need_text(&row, fingerprint, sizeof fingerprint);
  row_need_text(&row, key.txid.text, sizeof key.txid.text);
  key.at_us = row_int(&row, INT64_MIN, INT64_MAX);
  key.status = (int)row_int(&row, 0, 599);
  key.body = row_long_text(&row);
  key.results = row_long_text(&row);
  int64_t sum = row_int(&row, INT64_MIN, INT64_MAX);
  const char *fault = row.bad ? "its row does not decode" : key_fault(&key);
  if (!fault && key_sum(&key) != sum) fault = "its sum is wrong";
  if (!fault) *out = key_copy(&key);
  sqlite_done(&b);
  return fault ? unreadable(store, name, fault, err) : STORE_OK;
}

enum store_result store_has_answer(struct store *store, const struct wal_key *key, bool *out,
                                   struct error *err) {
  struct binder b = sqlite_bind(store, SQL_HAS_ANSWER);
  bind_text(&b, key->name_space);
  bind_text(&b, key->name);
  bind_text(&b, key->txid.text);
  bind_int(&b, key->status);
  enum store_result result = sqlite_run(store, &b, out, "cannot read", err);
  if (*out) sqlite_done(&b);
  return result;
}

enum store_result store_remove_keys(struct store *store, int64_t at_us, unsigned *removed,
                                    struct error *err) {
  enum store_result result = sqlite_ensure_begun(store, err);
  if (result == STORE_OK) {
    struct binder b = sqlite_bind(store, SQL_REMOVE_KEYS);
    bind_int(&b, at_us);
    bind_int(&b, REMOVE_STEP_MAX);
    result = sqlite_run(store, &b, NULL, "cannot remove expired keys", err);
  }
  *removed = result == STORE_OK ? (unsigned)sqlite3_changes(store->db) : 0;
  return result;
}

enum store_result store_earliest_key(struct store *store, int64_t *out, struct error *err) {
  bool row = false;
  struct binder b = sqlite_bind(store, SQL_EARLIEST_KEY);
  enum store_result result = sqlite_run(store, &b, &row, "cannot read", err);
  *out = row ? sqlite3_column_int64(b.statement, 0) : 0;
  if (row) sqlite_done(&b);
  return result;
}
