/* Reading the decision log. See sqlite.c for the format.
 *
 * Nothing read is believed unseen: a row must have the types and lengths of the format, the record
 * must be sound (record_fault()), and its sum must be right. What is not is an error that names the
 * transaction, and never passed over: a decision left out is an abort.
 *
 * Limit: ids of up to BRANCH_ID_MAX branches a record, all in memory.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/utf8.h"
#include "wal/sqlite.h"

/* ---- columns -------------------------------------------------------------------------------- */

int64_t row_int(struct row *row, int64_t min, int64_t max) {
  int column = row->next++;
  int64_t value = sqlite3_column_int64(row->statement, column);
  if (sqlite3_column_type(row->statement, column) == SQLITE_INTEGER && value >= min && value <= max)
    return value;
  row->bad = true;
  return min;
}

static bool get_bool(struct row *row) {
  return row_int(row, 0, 1) == 1;
}

/* False: NULL. */
bool row_text(struct row *row, char *to, size_t size) {
  int column = row->next++;
  to[0] = '\0';
  if (sqlite3_column_type(row->statement, column) == SQLITE_NULL) return false;
  const char *text = (const char *)sqlite3_column_text(row->statement, column);
  size_t length = (size_t)sqlite3_column_bytes(row->statement, column);
  if (!text || length >= size || strlen(text) != length) {
    row->bad = true;
    return true;
  }
  memcpy(to, text, length + 1);
  return true;
}

void row_need_text(struct row *row, char *to, size_t size) {
  if (!row_text(row, to, size)) row->bad = true;
}

const char *row_long_text(struct row *row) {
  int column = row->next++;
  if (sqlite3_column_type(row->statement, column) == SQLITE_NULL) return NULL;
  const char *text = (const char *)sqlite3_column_text(row->statement, column);
  if (text && strlen(text) == (size_t)sqlite3_column_bytes(row->statement, column)) return text;
  row->bad = true;
  return NULL;
}

/* ---- one record ----------------------------------------------------------------------------- */

static enum store_result unreadable(const struct store *store, const char *why, struct error *err) {
  (void)error_set(err, ERR_LOG,
                  "decision log %s: the record of transaction %s is damaged: %s. Restore the log "
                  "from a copy of this very state, or resolve this transaction by asking its "
                  "databases",
                  store->path, store->found.txid.text, why);
  return STORE_UNREADABLE;
}

/* On STORE_OK, *found tells whether there is one; *sum is the file's. */
static enum store_result read_txn(struct store *store, bool *found, int64_t *sum, bool *ended,
                                  struct error *err) {
  struct wal_record *r = &store->found;
  struct binder b = sqlite_bind(store, SQL_FIND_TXN);
  bind_text(&b, r->txid.text);
  enum store_result result = sqlite_run(store, &b, found, "cannot read", err);
  if (result != STORE_OK || !*found) return result;

  struct row row = {.statement = b.statement};
  r->kind = (enum wal_kind)row_int(&row, 0, WAL_KIND_DELEGATED);
  r->outcome = (enum wal_outcome)row_int(&row, 0, WAL_OUTCOME_MIXED);
  r->label = row_text(&row, store->label, sizeof store->label) ? store->label : NULL;
  r->created_at_us = row_int(&row, INT64_MIN, INT64_MAX);
  r->decided_at_us = row_int(&row, INT64_MIN, INT64_MAX);
  r->applied_at_us = row_int(&row, INT64_MIN, INT64_MAX);
  r->timeout_ms = row_int(&row, 0, INT64_MAX);
  r->wait_decided = get_bool(&row);
  r->cause.kind = (enum cause_kind)row_int(&row, 0, CAUSE_LIMIT);
  r->cause.branch = (int)row_int(&row, 0, BRANCH_ID_MAX);
  r->cause.statement = (int)row_int(&row, -1, INT_MAX);
  row_need_text(&row, r->cause.sqlstate, sizeof r->cause.sqlstate);
  row_need_text(&row, r->cause.text, sizeof r->cause.text);
  *sum = row_int(&row, INT64_MIN, INT64_MAX);
  r->owner = row_text(&row, store->owner, sizeof store->owner) ? store->owner : NULL;
  *ended = get_bool(&row);
  sqlite_done(&b);
  return row.bad ? unreadable(store, "its row does not decode", err) : STORE_OK;
}

/* The arrays may move, so that pointers into `rows` are set only when all are read. */
static void grow_branches(struct store *store) {
  size_t capacity = store->branch_capacity ? 2 * store->branch_capacity : 16;
  store->branches = memory_must(realloc(store->branches, capacity * sizeof *store->branches));
  store->rows = memory_must(realloc(store->rows, capacity * sizeof *store->rows));
  store->branch_capacity = capacity;
}

static bool read_branch(struct store *store, sqlite3_stmt *statement) {
  if (store->found.branch_count == store->branch_capacity) grow_branches(store);
  struct branch_row *texts = &store->rows[store->found.branch_count];
  struct wal_branch *branch = &store->branches[store->found.branch_count++];
  struct row row = {.statement = statement};
  *branch = (struct wal_branch){.id = (unsigned)row_int(&row, 1, BRANCH_ID_MAX)};
  row_need_text(&row, texts->participant, sizeof texts->participant);
  row_need_text(&row, texts->gid, sizeof texts->gid);
  row_need_text(&row, texts->xid, sizeof texts->xid);
  row_need_text(&row, texts->server, sizeof texts->server);
  branch->read_only = get_bool(&row);
  branch->confirmed = get_bool(&row);
  branch->outcome = (enum branch_outcome)row_int(&row, 0, BRANCH_OUTCOME_UNVERIFIABLE);
  return !row.bad;
}

static enum store_result read_branches(struct store *store, struct error *err) {
  struct binder b = sqlite_bind(store, SQL_FIND_BRANCHES);
  bind_text(&b, store->found.txid.text);
  bool row = true;
  store->found.branch_count = 0;
  for (;;) {
    enum store_result result = sqlite_run(store, &b, &row, "cannot read", err);
    if (result != STORE_OK) return result;
    if (!row) break;
    if (!read_branch(store, b.statement)) {
      sqlite_done(&b);
      return unreadable(store, "a branch's row does not decode", err);
    }
  }
  for (size_t i = 0; i < store->found.branch_count; i++) {
    store->branches[i].participant = store->rows[i].participant;
    store->branches[i].gid = store->rows[i].gid;
    store->branches[i].xid = store->rows[i].xid;
    store->branches[i].server = store->rows[i].server;
  }
  store->found.branches = store->branches;
  return STORE_OK;
}

/* For people: one that does not decode is left out, and what is too long cut. */
static bool read_line(struct store *store, sqlite3_stmt *statement) {
  struct line_row *texts = &store->line_rows[store->found.line_count];
  struct row row = {.statement = statement};
  struct wal_line line = {.at_us = row_int(&row, INT64_MIN, INT64_MAX),
                          .branch = (unsigned)row_int(&row, 0, BRANCH_ID_MAX),
                          .event = texts->event,
                          .detail = texts->detail};
  row_need_text(&row, texts->event, sizeof texts->event);
  const char *detail = row_long_text(&row);
  if (row.bad || !detail) return false;
  size_t length = utf8_prefix(detail, strlen(detail), sizeof texts->detail - 1);
  memcpy(texts->detail, detail, length);
  texts->detail[length] = '\0';
  store->lines[store->found.line_count++] = line;
  return true;
}

static enum store_result read_lines(struct store *store, struct error *err) {
  if (store->last_audit_id == 0) return STORE_OK; /* there is none at all */
  struct binder b = sqlite_bind(store, SQL_FIND_LINES);
  bind_text(&b, store->found.txid.text);
  bind_int(&b, WAL_LINES_MAX);
  store->found.lines = store->lines;
  for (bool row = true;;) {
    enum store_result result = sqlite_run(store, &b, &row, "cannot read", err);
    if (result != STORE_OK || !row) return result;
    (void)read_line(store, b.statement);
  }
}

static enum store_result find_record(struct store *store, const struct txid *txid,
                                     const struct wal_record **out, struct error *err) {
  bool found = false, ended = false;
  int64_t sum = 0;
  *out = NULL;
  store->found = (struct wal_record){.txid = *txid};
  enum store_result result = read_txn(store, &found, &sum, &ended, err);
  if (result != STORE_OK || !found) return result;
  result = read_branches(store, err);
  if (result != STORE_OK) return result;
  const char *fault = record_fault(&store->found, &store->cluster);
  if (fault) return unreadable(store, fault, err);
  if (record_sum(&store->found) != sum) return unreadable(store, "its sum is wrong", err);
  if (ended && store->found.kind != WAL_KIND_ABORTED)
    record_end_branches(store->branches, store->found.branch_count, store->found.outcome);
  *out = &store->found;
  return STORE_OK;
}

enum store_result store_find(struct store *store, const struct txid *txid,
                             const struct wal_record **out, struct error *err) {
  enum store_result result = find_record(store, txid, out, err);
  if (result != STORE_OK || !*out) return result;
  result = read_lines(store, err);
  if (result != STORE_OK) *out = NULL;
  return result;
}

/* ---- presence ------------------------------------------------------------------------------- */

enum store_result store_has_decision(struct store *store, const struct txid *txid, bool *out,
                                     struct error *err) {
  bool row = false;
  struct binder b = sqlite_bind(store, SQL_KIND);
  bind_text(&b, txid->text);
  enum store_result result = sqlite_run(store, &b, &row, "cannot read", err);
  *out = row && sqlite3_column_int64(b.statement, 0) != WAL_KIND_ABORTED;
  if (row) sqlite_done(&b);
  return result;
}

enum store_result store_has_audit(struct store *store, int64_t id, bool *out, struct error *err) {
  struct binder b = sqlite_bind(store, SQL_HAS_AUDIT);
  bind_int(&b, id);
  enum store_result result = sqlite_run(store, &b, out, "cannot read", err);
  if (*out) sqlite_done(&b);
  return result;
}

enum store_result store_earliest_end(struct store *store, int64_t *out, struct error *err) {
  bool row = false;
  struct binder b = sqlite_bind(store, SQL_EARLIEST_END);
  enum store_result result = sqlite_run(store, &b, &row, "cannot read", err);
  *out = row ? sqlite3_column_int64(b.statement, 0) : 0;
  if (row) sqlite_done(&b);
  return result;
}

/* ---- many records --------------------------------------------------------------------------- */

/* The txid of the row the statement stands on; a bad one stays for the message. */
static enum store_result read_txid(struct store *store, const struct binder *b, struct txid *out,
                                   struct error *err) {
  struct row row = {.statement = b->statement};
  store->found = (struct wal_record){0};
  row_need_text(&row, store->found.txid.text, sizeof store->found.txid.text);
  if (row.bad || !txid_parse(store->found.txid.text, out))
    return unreadable(store, "the txid is not one", err);
  return STORE_OK;
}

/* From an index entry to its record, which must be there. */
static enum store_result follow(struct store *store, const struct binder *b,
                                const struct wal_record **out, struct error *err) {
  struct txid txid;
  enum store_result result = read_txid(store, b, &txid, err);
  if (result == STORE_OK) result = find_record(store, &txid, out, err);
  if (result == STORE_OK && !*out) return unreadable(store, "an index has it, the table not", err);
  return result;
}

/* The one that has fewest entries, by experience: most transactions commit, and most at each participant. */
static enum statement_id pick_list(const struct wal_filter *filter) {
  if (filter->label) return SQL_LIST_BY_LABEL;
  if (filter->outcome > WAL_OUTCOME_COMMITTED) return SQL_LIST_BY_OUTCOME;
  if (filter->owner) return SQL_LIST_BY_OWNER;
  if (filter->participant) return SQL_LIST_BY_PARTICIPANT;
  if (filter->outcome != WAL_OUTCOME_NONE) return SQL_LIST_BY_OUTCOME;
  return SQL_LIST_ALL;
}

/* A candidate, at which the statement stands: it is added when it fits. A participant's come once for each
 * of its branches, one after the other. */
static enum store_result take_candidate(struct store *store, const struct binder *b,
                                        struct txid *seen, struct record_list *out,
                                        struct error *err) {
  const struct wal_record *record = NULL;
  const struct txid last = *seen;
  enum store_result result = read_txid(store, b, seen, err);
  if (result != STORE_OK || !sqlite3_column_int(b->statement, 1)) return result;
  if (strcmp(last.text, seen->text) == 0) return STORE_OK;
  result = follow(store, b, &record, err);
  if (result == STORE_OK) record_list_add(out, record);
  return result;
}

enum store_result store_list(struct store *store, const struct wal_filter *filter,
                             struct record_list *out, struct txid *rest, struct error *err) {
  struct txid seen = {""};
  struct binder b = sqlite_bind(store, pick_list(filter));
  bind_text(&b, filter->before.text[0] ? filter->before.text : "~"); /* greater than any txid */
  bind_int(&b, (int64_t)filter->outcome);
  bind_text(&b, filter->label);
  bind_text(&b, filter->participant);
  bind_int(&b, filter->applied_only);
  bind_text(&b, filter->owner);
  *rest = (struct txid){""};
  for (unsigned looked = 0; out->count < filter->limit; looked++) {
    bool row = false;
    enum store_result result = sqlite_run(store, &b, &row, "cannot list", err);
    if (result != STORE_OK || !row) return result;
    if (looked >= LIST_STEP_MAX) {
      *rest = seen;
      break;
    }
    result = take_candidate(store, &b, &seen, out, err);
    if (result != STORE_OK) {
      sqlite_done(&b);
      return result;
    }
  }
  sqlite_done(&b);
  return STORE_OK;
}

enum error_code store_each_unfinished(struct store *store, wal_each_fn fn, void *data,
                                      struct error *err) {
  struct error failure = {0};
  struct binder b = sqlite_bind(store, SQL_UNFINISHED);
  for (;;) {
    bool row = false;
    const struct wal_record *record = NULL;
    enum store_result result = sqlite_run(store, &b, &row, "cannot read", &failure);
    if (result == STORE_OK && !row) return ERR_OK;
    if (result == STORE_OK) {
      result = follow(store, &b, &record, &failure);
      if (result == STORE_OK) result = read_lines(store, &failure);
      if (result != STORE_OK) sqlite_done(&b);
    }
    if (result != STORE_OK) return error_set(err, failure.code, "%s", failure.text);
    enum error_code code = fn(data, record, err);
    if (code != ERR_OK) {
      sqlite_done(&b);
      return code;
    }
  }
}
