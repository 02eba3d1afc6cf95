/* The decision log on SQLite: the format, the writes, commit and checkpoint. Reading is in
 * sqlite_read.c; making, checking and opening the file in sqlite_open.c.
 *
 * The file. application_id "ASNT", user_version = format (6), journal_mode=WAL, synchronous=FULL,
 * locking_mode=EXCLUSIVE (so there is no -shm file, and no other process can write or read it while
 * a coordinator runs). Beside PATH: PATH-wal (part of the log: never to be separated from it) and
 * PATH.lock (lock.c). PATH.new exists only while a log is being made.
 *
 *   meta    one row: cluster, epoch of the latest start, when it was made; how many transactions
 *           SQLite has committed in it (PATH.lock notes the same number, see lock.c) and how many rows
 *           of txn are unfinished (written with each commit, checked at start); in a backup, when it was
 *           taken: such a file is not opened as a log.
 *   life    one row a start of the coordinator: epoch and run id, as participants are told. What a
 *           participant knows and this table does not, another copy of the log has done.
 *   txn     one row a decided, delegated or noted transaction. Written whole by the decision;
 *           outcome, times, cause and ended_at_us change with its end. `sum` covers the record's
 *           part that never changes, its branches included (record_sum()).
 *   branch  one row a branch. confirmed_at_us and outcome change when the branch has confirmed; in a
 *           transaction that has ended committed or aborted they need not have: then every branch has
 *           ended so.
 *   request one row a request with a key, from the decision of its transaction on (or from its answer,
 *           where there was no decision), until its retention is over: sqlite_request.c. Since format
 *           3; a log of format 2 gets an empty one (sqlite_upgrade.c).
 *   owner   one row a transaction of somebody's: by whose token it was begun. Goes with its row of txn.
 *           Since format 5; the transactions of older ones are nobody's.
 *   audit   lines that only grow: heuristics and what operators did. Never removed. Since format 6 with an
 *           index, by which the lines about a transaction are found.
 *
 * Numbers of enumerations are those of wal.h and message.h: they are part of the format.
 *
 * Invariants
 *  1. A row of txn whose ended_at_us is NULL is a promise: recovery drives it to its end, and it is
 *     removed by nothing (recovery: index txn_unfinished).
 *  2. A txid appears once (primary key), so a second decision cannot be written.
 *  3. A decision and its branches come and go in one SQLite transaction.
 *  4. SQLite's memory and the file agree, or the store is done for: every result other than success
 *     and a full disk is STORE_FAILED. After a full disk the file is closed and read again.
 *  5. Nothing is written before COMMIT: cache_spill is off and temporary data stays in memory. So a
 *     full disk shows at COMMIT, and lazy records can wait in an open transaction at no cost.
 *
 * Txids grow with the time at which they were made: so what has expired is found among the first ones,
 * with no index of its own. Format 3 had one, and triggers that counted (sqlite_upgrade.c).
 *
 * Limits: text as in store.h; the epoch is a positive int64. A list walks one index: that of the label, the
 * outcome or the participant, and holds what it finds there against the other filters. The audit table
 * grows with operators' actions.
 */
#include "wal/sqlite.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

const char sqlite_schema[] = "CREATE TABLE meta ("
                             " id INTEGER PRIMARY KEY CHECK (id = 1),"
                             " cluster TEXT NOT NULL,"
                             " epoch INTEGER NOT NULL,"
                             " created_at_us INTEGER NOT NULL,"
                             " commits INTEGER NOT NULL,"
                             " unfinished INTEGER NOT NULL,"
                             " copied_at_us INTEGER) STRICT;"
                             "CREATE TABLE life ("
                             " epoch INTEGER NOT NULL PRIMARY KEY,"
                             " run_id TEXT NOT NULL,"
                             " began_at_us INTEGER NOT NULL) STRICT;"
                             "CREATE TABLE txn ("
                             " txid TEXT NOT NULL PRIMARY KEY,"
                             " kind INTEGER NOT NULL,"
                             " outcome INTEGER NOT NULL,"
                             " label TEXT,"
                             " created_at_us INTEGER NOT NULL,"
                             " decided_at_us INTEGER NOT NULL,"
                             " applied_at_us INTEGER NOT NULL,"
                             " timeout_ms INTEGER NOT NULL,"
                             " wait_decided INTEGER NOT NULL,"
                             " cause_kind INTEGER NOT NULL,"
                             " cause_branch INTEGER NOT NULL,"
                             " cause_statement INTEGER NOT NULL,"
                             " cause_sqlstate TEXT NOT NULL,"
                             " cause_text TEXT NOT NULL,"
                             " sum INTEGER NOT NULL,"
                             " ended_at_us INTEGER) STRICT, WITHOUT ROWID;"
                             "CREATE INDEX txn_unfinished ON txn (txid) WHERE ended_at_us IS NULL;"
                             "CREATE INDEX txn_outcome ON txn (outcome, txid);"
                             "CREATE INDEX txn_label ON txn (label, txid) WHERE label IS NOT NULL;"
                             "CREATE TABLE branch ("
                             " txid TEXT NOT NULL,"
                             " id INTEGER NOT NULL,"
                             " participant TEXT NOT NULL,"
                             " gid TEXT NOT NULL,"
                             " xid TEXT NOT NULL,"
                             " server TEXT NOT NULL,"
                             " read_only INTEGER NOT NULL,"
                             " confirmed INTEGER NOT NULL,"
                             " outcome INTEGER NOT NULL,"
                             " confirmed_at_us INTEGER,"
                             " PRIMARY KEY (txid, id)) STRICT, WITHOUT ROWID;"
                             "CREATE INDEX branch_participant ON branch (participant, txid, id);"
                             "CREATE TABLE audit ("
                             " id INTEGER PRIMARY KEY,"
                             " at_us INTEGER NOT NULL,"
                             " txid TEXT NOT NULL,"
                             " branch INTEGER NOT NULL,"
                             " event TEXT NOT NULL,"
                             " detail TEXT NOT NULL) STRICT;"
                             "CREATE INDEX audit_txid ON audit (txid);";

/* With the trigger nothing that removes a transaction need know of it. */
const char sqlite_owner_schema[] = "CREATE TABLE owner ("
                                   " txid TEXT NOT NULL PRIMARY KEY,"
                                   " name TEXT NOT NULL) STRICT, WITHOUT ROWID;"
                                   "CREATE INDEX owner_name ON owner (name, txid);"
                                   "CREATE TRIGGER txn_removed AFTER DELETE ON txn BEGIN"
                                   " DELETE FROM owner WHERE txid = old.txid; END;";

#define PUT_TXN "INSERT INTO txn VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16)"
#define END_TXN                                                                                    \
  "UPDATE txn SET outcome = ?2,"                                                                   \
  " decided_at_us = CASE ?3 WHEN 0 THEN decided_at_us ELSE ?3 END,"                                \
  " applied_at_us = CASE ?4 WHEN 0 THEN applied_at_us ELSE ?4 END,"                                \
  " ended_at_us = ?5, cause_kind = coalesce(?6, cause_kind),"                                      \
  " cause_branch = coalesce(?7, cause_branch), cause_statement = coalesce(?8, cause_statement),"   \
  " cause_sqlstate = coalesce(?9, cause_sqlstate), cause_text = coalesce(?10, cause_text)"         \
  " WHERE txid = ?1"
/* ?1 when it must have ended, ?2 the least txid that is younger than that, ?3 how many */
#define EXPIRED                                                                                    \
  "(SELECT txid FROM txn WHERE txid < ?2 AND ended_at_us <= ?1 AND NOT EXISTS"                     \
  " (SELECT 1 FROM request r WHERE r.txid = txn.txid AND r.status = 0)"                            \
  " ORDER BY txid LIMIT ?3)"

/* ?1 before, ?2 outcome, ?3 label, ?4 participant, ?5 applied only, ?6 owner. Each list walks one index
 * from the newest, and tells of each entry whether it fits the whole filter: whoever walks can stop
 * anywhere. */
#define FITS                                                                                       \
  " (?3 IS NULL OR t.label = ?3) AND (?5 = 0 OR t.ended_at_us IS NOT NULL)"                        \
  " AND (?2 = 0 OR t.outcome = ?2 OR (t.outcome = 3 AND (t.kind = 0) = (?2 = 2)))"                 \
  " AND (?4 IS NULL OR EXISTS (SELECT 1 FROM branch c"                                             \
  " WHERE c.txid = t.txid AND c.participant = ?4))"                                                \
  " AND (?6 IS NULL OR EXISTS (SELECT 1 FROM owner o WHERE o.txid = t.txid AND o.name = ?6))"
#define WALK         "SELECT t.txid," FITS " FROM txn t WHERE t.txid < ?1"
#define NEWEST_FIRST " ORDER BY 1 DESC"

static const char *const texts[SQL_COUNT] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COUNT_COMMIT] = "UPDATE meta SET commits = ?1, unfinished = ?2",
    [SQL_COMMIT] = "COMMIT",
    [SQL_PUT_TXN] = PUT_TXN,
    [SQL_PUT_NOTE] = PUT_TXN " ON CONFLICT DO NOTHING",
    [SQL_PUT_BRANCH] = "INSERT INTO branch VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)",
    [SQL_PUT_OWNER] = "INSERT INTO owner VALUES (?1,?2)",
    [SQL_CONFIRM] = "UPDATE branch SET confirmed = 1, outcome = ?3, confirmed_at_us = ?4"
                    " WHERE txid = ?1 AND id = ?2",
    [SQL_END] = END_TXN " AND ended_at_us IS NULL",
    [SQL_END_AGAIN] = END_TXN,
    [SQL_AUDIT] = "INSERT INTO audit VALUES (?1,?2,?3,?4,?5,?6)",
    [SQL_REMOVE_BRANCHES] = "DELETE FROM branch WHERE txid IN " EXPIRED,
    [SQL_REMOVE_TXNS] = "DELETE FROM txn WHERE txid IN " EXPIRED,
    [SQL_FIND_TXN] =
        "SELECT kind, outcome, label, created_at_us, decided_at_us, applied_at_us,"
        " timeout_ms, wait_decided, cause_kind, cause_branch, cause_statement,"
        " cause_sqlstate, cause_text, sum,"
        " (SELECT name FROM owner WHERE owner.txid = txn.txid), ended_at_us IS NOT NULL"
        " FROM txn WHERE txid = ?1",
    [SQL_FIND_BRANCHES] = "SELECT id, participant, gid, xid, server, read_only, confirmed, outcome"
                          " FROM branch WHERE txid = ?1 ORDER BY id",
    [SQL_FIND_LINES] =
        "SELECT at_us, branch, event, detail FROM audit WHERE txid = ?1 ORDER BY id LIMIT ?2",
    [SQL_KIND] = "SELECT kind FROM txn WHERE txid = ?1",
    [SQL_HAS_AUDIT] = "SELECT 1 FROM audit WHERE id = ?1",
    [SQL_UNFINISHED] = "SELECT txid FROM txn WHERE ended_at_us IS NULL ORDER BY txid",
    /* Among the oldest ones: a later one that ends before them can wait for them. */
    [SQL_EARLIEST_END] = "SELECT min(ended_at_us) FROM (SELECT ended_at_us FROM txn"
                         " WHERE ended_at_us IS NOT NULL ORDER BY txid LIMIT 100)",
    [SQL_LIST_ALL] = WALK NEWEST_FIRST,
    [SQL_LIST_BY_OUTCOME] =
        WALK " AND t.outcome = ?2 UNION ALL " WALK " AND t.outcome = 3 AND ?2 <> 3" NEWEST_FIRST,
    [SQL_LIST_BY_LABEL] = WALK " AND t.label = ?3" NEWEST_FIRST,
    [SQL_LIST_BY_OWNER] = "SELECT w.txid," FITS " FROM owner w CROSS JOIN txn t ON t.txid = w.txid"
                          " WHERE w.name = ?6 AND w.txid < ?1 ORDER BY w.txid DESC",
    [SQL_LIST_BY_PARTICIPANT] =
        "SELECT b.txid," FITS " FROM branch b CROSS JOIN txn t ON t.txid = b.txid"
        " WHERE b.participant = ?4 AND b.txid < ?1 ORDER BY b.txid DESC",
    [SQL_PUT_KEY] = "INSERT INTO request (name_space, name, fingerprint, txid, at_us, status, body,"
                    " results, sum) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9)"
                    " ON CONFLICT (name_space, name) DO UPDATE SET at_us = ?5, status = ?6,"
                    " body = ?7, results = ?8, sum = ?9"
                    " WHERE txid = ?4 AND fingerprint = ?3",
    [SQL_FIND_KEY] = "SELECT fingerprint, txid, at_us, status, body, results, sum FROM request"
                     " WHERE name_space = ?1 AND name = ?2",
    [SQL_HAS_ANSWER] = "SELECT 1 FROM request WHERE name_space = ?1 AND name = ?2 AND txid = ?3"
                       " AND status = ?4",
    [SQL_REMOVE_KEYS] = "DELETE FROM request WHERE id IN (SELECT id FROM request"
                        " WHERE at_us <= ?1 AND NOT EXISTS (SELECT 1 FROM txn"
                        " WHERE txn.txid = request.txid"
                        " AND (txn.ended_at_us IS NULL OR txn.ended_at_us > ?1))"
                        " ORDER BY at_us LIMIT ?2)",
    [SQL_EARLIEST_KEY] = "SELECT at_us FROM request ORDER BY at_us LIMIT 1",
};

/* ---- running statements --------------------------------------------------------------------- */

enum store_result sqlite_prepare_all(struct store *store, struct error *err) {
  for (int i = 0; i < SQL_COUNT; i++) {
    int rc = sqlite3_prepare_v3(store->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT,
                                &store->statements[i], NULL);
    if (rc != SQLITE_OK) return sqlite_failed(store, rc, "cannot prepare its statements", err);
  }
  return STORE_OK;
}

void sqlite_finalize_all(struct store *store) {
  for (int i = 0; i < SQL_COUNT; i++) {
    (void)sqlite3_finalize(store->statements[i]); /* repeats what the last step has answered */
    store->statements[i] = NULL;
  }
}

enum store_result sqlite_failed(struct store *store, int rc, const char *doing, struct error *err) {
  int primary = rc & 0xff;
  enum error_code code = primary == SQLITE_FULL ? ERR_LOG_FULL : ERR_LOG;
  (void)error_set(err, code, "decision log %s: %s: %s (SQLite result %d)", store->path, doing,
                  store->db ? sqlite3_errmsg(store->db) : sqlite3_errstr(rc), rc);
  if (err && err->code == code && store->db) err->sys_errno = sqlite3_system_errno(store->db);
  return primary == SQLITE_FULL ? STORE_FULL : STORE_FAILED;
}

struct binder sqlite_bind(struct store *store, enum statement_id id) {
  return (struct binder){.statement = store->statements[id], .next = 1, .rc = SQLITE_OK};
}

void bind_int(struct binder *b, int64_t value) {
  if (b->rc == SQLITE_OK) b->rc = sqlite3_bind_int64(b->statement, b->next++, value);
}

void bind_text(struct binder *b, const char *text) {
  if (b->rc == SQLITE_OK)
    b->rc = sqlite3_bind_text(b->statement, b->next++, text, -1, SQLITE_STATIC);
}

static void bind_null(struct binder *b) {
  if (b->rc == SQLITE_OK) b->rc = sqlite3_bind_null(b->statement, b->next++);
}

enum store_result sqlite_run(struct store *store, struct binder *b, bool *row, const char *doing,
                             struct error *err) {
  if (b->rc == SQLITE_OK || b->rc == SQLITE_ROW) b->rc = sqlite3_step(b->statement);
  bool has_row = b->rc == SQLITE_ROW;
  if (row) *row = has_row;
  if (has_row && row) return STORE_OK;
  enum store_result result =
      b->rc == SQLITE_DONE ? STORE_OK : sqlite_failed(store, b->rc, doing, err);
  sqlite_done(b);
  return result;
}

void sqlite_done(struct binder *b) {
  (void)sqlite3_reset(b->statement); /* repeats what the last step has answered */
  (void)sqlite3_clear_bindings(b->statement);
}

/* ---- transactions --------------------------------------------------------------------------- */

enum store_result sqlite_ensure_begun(struct store *store, struct error *err) {
  if (store->in_transaction) return STORE_OK;
  struct binder b = sqlite_bind(store, SQL_BEGIN);
  enum store_result result = sqlite_run(store, &b, NULL, "cannot begin to write", err);
  store->in_transaction = result == STORE_OK;
  return result;
}

enum store_result store_commit(struct store *store, struct error *err) {
  assert(store->in_transaction);
  struct binder b = sqlite_bind(store, SQL_COUNT_COMMIT);
  bind_int(&b, (int64_t)store->commits + 1);
  bind_int(&b, (int64_t)store->unfinished);
  enum store_result result = sqlite_run(store, &b, NULL, "cannot count", err);
  if (result != STORE_OK) return result;
  b = sqlite_bind(store, SQL_COMMIT);
  result = sqlite_run(store, &b, NULL, "cannot commit", err);
  if (result != STORE_OK) return result;
  store->in_transaction = false;
  store->commits++;
  const struct log_mark mark = {.cluster = store->cluster, .commits = store->commits};
  log_lock_note(&store->lock, &mark, false);
  return STORE_OK;
}

/* ---- records -------------------------------------------------------------------------------- */

static void bind_cause(struct binder *b, const struct cause *cause) {
  bind_int(b, (int64_t)cause->kind);
  bind_int(b, cause->branch);
  bind_int(b, cause->statement);
  bind_text(b, cause->sqlstate);
  bind_text(b, cause->text);
}

static enum store_result put_txn(struct store *store, const struct wal_record *record,
                                 int64_t ended_at_us, struct error *err) {
  struct binder b = sqlite_bind(store, ended_at_us ? SQL_PUT_NOTE : SQL_PUT_TXN);
  bind_text(&b, record->txid.text);
  bind_int(&b, (int64_t)record->kind);
  bind_int(&b, (int64_t)record->outcome);
  bind_text(&b, record->label);
  bind_int(&b, record->created_at_us);
  bind_int(&b, record->decided_at_us);
  bind_int(&b, record->applied_at_us);
  bind_int(&b, record->timeout_ms);
  bind_int(&b, record->wait_decided);
  bind_cause(&b, &record->cause);
  bind_int(&b, record_sum(record));
  if (ended_at_us)
    bind_int(&b, ended_at_us);
  else
    bind_null(&b);
  enum store_result result = sqlite_run(store, &b, NULL, "cannot write a record", err);
  assert((b.rc & 0xff) != SQLITE_CONSTRAINT); /* a second decision of one transaction */
  return result;
}

static enum store_result put_branch(struct store *store, const struct txid *txid,
                                    const struct wal_branch *branch, struct error *err) {
  struct binder b = sqlite_bind(store, SQL_PUT_BRANCH);
  bind_text(&b, txid->text);
  bind_int(&b, branch->id);
  bind_text(&b, branch->participant);
  bind_text(&b, branch->gid);
  bind_text(&b, branch->xid);
  bind_text(&b, branch->server);
  bind_int(&b, branch->read_only);
  bind_int(&b, branch->confirmed);
  bind_int(&b, (int64_t)branch->outcome);
  bind_null(&b);
  return sqlite_run(store, &b, NULL, "cannot write a branch", err);
}

static enum store_result put_owner(struct store *store, const struct wal_record *record,
                                   struct error *err) {
  struct binder b = sqlite_bind(store, SQL_PUT_OWNER);
  bind_text(&b, record->txid.text);
  bind_text(&b, record->owner);
  return sqlite_run(store, &b, NULL, "cannot write an owner", err);
}

enum store_result store_put(struct store *store, const struct wal_record *record,
                            int64_t ended_at_us, struct error *err) {
  enum store_result result = sqlite_ensure_begun(store, err);
  if (result == STORE_OK) result = put_txn(store, record, ended_at_us, err);
  if (result != STORE_OK) return result;
  if (sqlite3_changes(store->db) == 0) { /* a note that is there already */
    bool decided;
    result = store_has_decision(store, &record->txid, &decided, err);
    assert(result != STORE_OK || !decided); /* an abort of what was decided */
    return result;
  }
  if (!ended_at_us) store->unfinished++;
  for (size_t i = 0; i < record->branch_count && result == STORE_OK; i++)
    result = put_branch(store, &record->txid, &record->branches[i], err);
  if (result == STORE_OK && record->owner) result = put_owner(store, record, err);
  if (result == STORE_OK && record->key) result = store_put_key(store, record->key, err);
  return result;
}

enum store_result store_confirm(struct store *store, const struct store_confirm *confirm,
                                struct error *err) {
  enum store_result result = sqlite_ensure_begun(store, err);
  if (result != STORE_OK) return result;
  struct binder b = sqlite_bind(store, SQL_CONFIRM);
  bind_text(&b, confirm->txid.text);
  bind_int(&b, confirm->branch);
  bind_int(&b, (int64_t)confirm->outcome);
  bind_int(&b, confirm->at_us);
  return sqlite_run(store, &b, NULL, "cannot write a confirmation", err);
}

static enum store_result put_end(struct store *store, enum statement_id id,
                                 const struct store_end *end, struct error *err) {
  struct binder b = sqlite_bind(store, id);
  bind_text(&b, end->txid.text);
  bind_int(&b, (int64_t)end->outcome);
  bind_int(&b, end->decided_at_us);
  bind_int(&b, end->applied_at_us);
  bind_int(&b, end->ended_at_us);
  if (end->has_cause) bind_cause(&b, &end->cause); /* unbound is NULL: the cause stays */
  return sqlite_run(store, &b, NULL, "cannot write an end", err);
}

enum store_result store_end(struct store *store, const struct store_end *end, struct error *err) {
  enum store_result result = sqlite_ensure_begun(store, err);
  if (result == STORE_OK) result = put_end(store, SQL_END, end, err);
  if (result != STORE_OK) return result;
  if (sqlite3_changes(store->db) == 0) return put_end(store, SQL_END_AGAIN, end, err);
  store->unfinished--;
  return STORE_OK;
}

int64_t store_next_audit_id(struct store *store) {
  return ++store->last_audit_id;
}

enum store_result store_audit(struct store *store, const struct store_audit *audit,
                              struct error *err) {
  enum store_result result = sqlite_ensure_begun(store, err);
  if (result != STORE_OK) return result;
  struct binder b = sqlite_bind(store, SQL_AUDIT);
  bind_int(&b, audit->id);
  bind_int(&b, audit->at_us);
  bind_text(&b, audit->txid.text);
  bind_int(&b, audit->branch);
  bind_text(&b, audit->event);
  bind_text(&b, audit->detail);
  return sqlite_run(store, &b, NULL, "cannot write an audit line", err);
}

/* Both deletes find the same transactions: nothing changes txn between them. */
enum store_result store_remove_ended(struct store *store, int64_t ended_at_us, unsigned *removed,
                                     struct error *err) {
  static const enum statement_id steps[] = {SQL_REMOVE_BRANCHES, SQL_REMOVE_TXNS};
  enum store_result result = sqlite_ensure_begun(store, err);
  const struct txid younger =
      txid_least(ended_at_us < INT64_MAX - 1000 ? ended_at_us + 1000 : INT64_MAX);
  for (size_t i = 0; i < 2 && result == STORE_OK; i++) {
    struct binder b = sqlite_bind(store, steps[i]);
    bind_int(&b, ended_at_us);
    bind_text(&b, younger.text);
    bind_int(&b, REMOVE_STEP_MAX);
    result = sqlite_run(store, &b, NULL, "cannot remove expired records", err);
  }
  *removed = result == STORE_OK ? (unsigned)sqlite3_changes(store->db) : 0;
  return result;
}

/* ---- checkpoint ----------------------------------------------------------------------------- */

bool store_wants_checkpoint(const struct store *store) {
  return !store->in_transaction && store->frames >= store->checkpoint_at;
}

enum store_result store_checkpoint(struct store *store, struct error *err) {
  assert(!store->in_transaction);
  /* Once all is copied, the next write begins the file anew; until then it grows. */
  store->checkpoint_at = store->frames + CHECKPOINT_FRAMES;
  if (!log_move_begin(&store->lock, false)) return STORE_OK; /* a backup is being made: later */
  int rc = sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
  log_move_end(&store->lock);
  if (rc != SQLITE_OK) return sqlite_failed(store, rc, "cannot checkpoint", err);
  store->checkpoint_at = CHECKPOINT_FRAMES;
  store->frames = 0;
  return STORE_OK;
}

void store_rest(struct store *store) {
  assert(!store->in_transaction);
  (void)sqlite3_db_release_memory(store->db);
}
