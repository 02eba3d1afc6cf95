/* What a branch's session asks: BEGIN, statements, the xid, PREPARE TRANSACTION, COMMIT; and the ends
 * of prepared transactions.
 *
 * As PostgreSQL 15 has it: an xid is assigned by the first write, after the table's checks and before
 * the row's lock is had; PREPARE gives one to a transaction that only read, too, before it is refused;
 * a transaction that
 * failed is answered by the tag ROLLBACK; a gid is listed when its PREPARE is on the server's own
 * disk; who finishes a prepared transaction holds it busy, and listed, until the replica has it.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "tests/sim/database_internal.h"

enum { OID_INT8 = 20 };

static void done_ok(struct backend *b, const char *tag) {
  backend_answer_ok(b, tag);
  backend_done(b);
}

static void done_error(struct backend *b, const char *sqlstate, const char *text) {
  backend_answer_error(b, sqlstate, text);
  backend_done(b);
}

/* PREPARE and COMMIT: their failure leaves no transaction block behind. */
static void end_in_error(struct backend *b, const char *sqlstate, const char *text) {
  done_error(b, sqlstate, text);
  b->tx = TX_NONE;
}

/* ---- statements -------------------------------------------------------------------------------- */

static void begin(struct backend *b) {
  if (b->tx == TX_NONE) {
    b->tx = TX_OPEN;
    b->gid = b->current->gid;
    if (b->gid) b->gid->open++;
  }
  done_ok(b, "BEGIN");
}

static uint64_t need_xid(struct backend *b) {
  if (b->xid == 0) b->xid = xid_assign(b->db, b->gid);
  return b->xid;
}

static unsigned account_of(const struct backend *b) {
  return (unsigned)strtoul(b->current->params[0], NULL, 10);
}

static bool is_known(const struct backend *b, unsigned account) {
  return account >= 1 && account <= b->db->options.accounts;
}

/* The row's new version would not pass the table's check. */
static bool fails_check(struct backend *b) {
  unsigned account = account_of(b);
  int64_t amount = strtoll(b->current->params[1], NULL, 10);
  if (b->db->visible[account] + xact_change(b->db, b->xid, account) + amount >= 0) return false;
  done_error(b, "23514", "new row violates check constraint \"accounts_balance_check\"");
  return true;
}

/* The row's lock is had; it may be another version by now. */
static void add(struct backend *b) {
  if (fails_check(b)) return;
  struct record *record = wal_append(b->db, RECORD_CHANGE, b->xid);
  record->account = account_of(b);
  record->amount = strtoll(b->current->params[1], NULL, 10);
  PGresult *result = result_new(PGRES_COMMAND_OK, "UPDATE 1");
  result_set_affected(result, 1);
  (void)backend_answer(b, result);
  backend_done(b);
}

static void begin_add(struct backend *b) {
  unsigned account = account_of(b);
  if (!is_known(b, account)) {
    done_ok(b, "UPDATE 0");
  } else if (!fails_check(b)) {
    (void)need_xid(b);
    lock_take(b, account, add);
  }
}

static void read_account(struct backend *b) {
  unsigned account = account_of(b);
  bool known = is_known(b, account);
  if (known) { /* rows come one by one: the adapter has asked for that */
    PGresult *row = result_new(PGRES_SINGLE_TUPLE, "");
    result_set_size(row, 1, 1);
    result_set_name(row, "balance", OID_INT8);
    result_set(row, 0, 0, "%" PRId64,
               b->db->visible[account] + xact_change(b->db, b->xid, account));
    backend_answer_row(b, row);
  }
  PGresult *result = result_new(PGRES_TUPLES_OK, known ? "SELECT 1" : "SELECT 0");
  result_set_size(result, 0, 1);
  result_set_name(result, "balance", OID_INT8);
  if (known) result_set_affected(result, 1);
  (void)backend_answer(b, result);
  backend_done(b);
}

/* More than a branch may have. */
static void read_many(struct backend *b) {
  for (unsigned i = 0; i <= SIM_RESULT_ROWS_MAX; i++) {
    PGresult *row = result_new(PGRES_SINGLE_TUPLE, "");
    result_set_size(row, 1, 1);
    result_set_name(row, "generate_series", OID_INT8);
    result_set(row, 0, 0, "%u", i);
    backend_answer_row(b, row);
  }
  PGresult *result = result_new(PGRES_TUPLES_OK, "SELECT");
  result_set_size(result, 0, 1);
  result_set_name(result, "generate_series", OID_INT8);
  result_set_affected(result, SIM_RESULT_ROWS_MAX + 1);
  (void)backend_answer(b, result);
  backend_done(b);
}

static void statement(struct backend *b) {
  enum command_kind kind = b->current->kind;
  if (kind == COMMAND_FAIL)
    done_error(b, "22012", "division by zero");
  else if (sim_fault(b->db->sim, SIM_STATEMENT_FAILS, b->application))
    done_error(b, sim_random(b->db->sim, 2) ? "40001" : "23505", "the statement fails");
  else if (kind == COMMAND_ADD)
    begin_add(b);
  else if (kind == COMMAND_READ_MANY)
    read_many(b);
  else
    read_account(b);
}

static void tell_xid(struct backend *b, bool ready) {
  PGresult *result = result_new(PGRES_TUPLES_OK, "SELECT 1");
  result_set_size(result, 1, 1);
  if (b->xid) result_set(result, 0, 0, "%" PRIu64, b->xid);
  if (b->xid && ready) (void)wal_append(b->db, RECORD_MESSAGE, b->xid);
  (void)backend_answer(b, result);
  backend_done(b);
}

/* ---- PREPARE TRANSACTION ------------------------------------------------------------------------ */

static void prepare_flushed(struct backend *b) {
  b->finishing->valid = true;
  xact_of(b->db, b->xid)->state = XACT_PREPARED;
  if (b->gid) b->gid->open--;
  database_tell(b->db, b->finishing->gid, b->xid, SIM_PREPARED);
}

static void prepare_ended(struct backend *b) {
  struct gid_entry *gid = b->finishing->gid;
  b->finishing->busy = NULL;
  b->finishing = NULL;
  b->xid = 0;
  b->gid = NULL;
  b->tx = TX_NONE;
  bool warned = b->warn;
  b->done_well = !warned;
  struct item *item = backend_answer(b, result_new(PGRES_COMMAND_OK, "PREPARE TRANSACTION"));
  if (!warned) {
    item->told = gid;
    item->told_what = SIM_PREPARED;
  }
  backend_done(b);
}

/* A deferred constraint, or a conflict that only shows at the end. */
static bool fails_at_end(struct backend *b) {
  if (!b->gid || !sim_fault(b->db->sim, SIM_STATEMENT_FAILS, "at the end")) return false;
  bool conflict = sim_random(b->db->sim, 2) == 0;
  end_in_error(b, conflict ? "40001" : "23503", "the transaction fails at its end");
  return true;
}

static bool prepare_refused(struct backend *b, const char *gid) {
  struct sim_database *db = b->db;
  struct prepared *p;
  int64_t count;
  DL_COUNT(db->prepared, p, count);
  if (db->options.prepared_max == 0)
    end_in_error(b, "55000", "prepared transactions are disabled");
  else if (prepared_find(db, gid))
    end_in_error(b, "42710", "transaction identifier is already in use");
  else if (count >= db->options.prepared_max || sim_fault(db->sim, SIM_SLOTS_USED_UP, db->name))
    end_in_error(b, "53200", "maximum number of prepared transactions reached");
  else
    return false;
  return true;
}

static void roll_back(struct backend *b) {
  if (b->tx == TX_OPEN) backend_rollback(b);
  b->tx = TX_NONE;
  done_ok(b, "ROLLBACK");
}

static void prepare(struct backend *b) {
  struct sim_database *db = b->db;
  if (b->tx != TX_OPEN || sim_fault(db->sim, SIM_PREPARE_TAG_ROLLBACK, db->name)) {
    roll_back(b);
    return;
  }
  (void)need_xid(b);
  if (fails_at_end(b) || prepare_refused(b, b->current->params[0])) return;
  struct gid_entry *gid = gid_entry(db, b->current->params[0]);
  assert(!b->gid || b->gid == gid);
  if (!b->gid) gid->open++;
  b->gid = gid;
  xact_name(db, b->xid, gid);
  b->finishing = prepared_add(db, b->xid, gid, sim_now_us(db->sim));
  b->finishing->busy = b;
  (void)wal_append(db, RECORD_PREPARE, b->xid);
  wal_make_durable(b, prepare_flushed, prepare_ended);
}

/* ---- COMMIT, ROLLBACK ---------------------------------------------------------------------------- */

static void commit_flushed(struct backend *b) {
  xact_end(b->db, b->xid, true);
  if (!b->gid) return;
  b->gid->open--;
  database_tell(b->db, b->gid, b->xid, SIM_COMMITTED);
}

static void commit_ended(struct backend *b) {
  struct gid_entry *gid = b->gid;
  xact_leave(b->db, b->xid, true);
  b->xid = 0;
  b->gid = NULL;
  b->tx = TX_NONE;
  bool warned = b->warn;
  struct item *item = backend_answer(b, result_new(PGRES_COMMAND_OK, "COMMIT"));
  if (!warned && gid) {
    item->told = gid;
    item->told_what = SIM_COMMITTED;
  }
  backend_done(b);
}

static void commit(struct backend *b) {
  if (b->tx != TX_OPEN) {
    roll_back(b);
  } else if (fails_at_end(b)) {
    return;
  } else if (b->xid == 0) {
    if (b->gid) b->gid->open--;
    b->gid = NULL;
    b->tx = TX_NONE;
    done_ok(b, "COMMIT");
  } else {
    (void)wal_append(b->db, RECORD_COMMIT, b->xid);
    wal_make_durable(b, commit_flushed, commit_ended);
  }
}

/* The adapter asks for it outside of a transaction, or in one that has failed; so for the ends of
 * prepared transactions. */
static void discard(struct backend *b) {
  assert(b->tx == TX_NONE);
  b->kept_count = 0;
  done_ok(b, "DISCARD ALL");
}

static void reset(struct backend *b) {
  done_ok(b, "RESET");
}

/* ---- texts that are kept ------------------------------------------------------------------------- */

static bool is_kept(const struct backend *b, unsigned number) {
  for (size_t i = 0; i < b->kept_count; i++)
    if (b->kept[i] == number) return true;
  return false;
}

static void parse(struct backend *b) {
  assert(b->kept_count < KEPT_MAX && !is_kept(b, b->current->kept));
  b->kept[b->kept_count++] = b->current->kept;
  done_ok(b, "");
}

static bool refuses_kept(struct backend *b) {
  enum command_kind kind = b->current->kind;
  bool statement = kind == COMMAND_ADD || kind == COMMAND_READ || kind == COMMAND_READ_MANY;
  if (b->current->kept == 0 || kind == COMMAND_PARSE) return false;
  if (!is_kept(b, b->current->kept)) {
    done_error(b, "26000", "prepared statement does not exist");
  } else if (statement && sim_fault(b->db->sim, SIM_PLAN_STALE, b->application)) {
    done_error(b, "0A000", "cached plan must not change result type");
  } else {
    return false;
  }
  return true;
}

/* ---- COMMIT PREPARED, ROLLBACK PREPARED ----------------------------------------------------------- */

static bool commits(const struct backend *b) {
  return b->current->kind == COMMAND_COMMIT_PREPARED;
}

static void finish_flushed(struct backend *b) {
  const struct prepared *p = b->finishing;
  xact_end(b->db, p->xid, commits(b));
  database_tell(b->db, p->gid, p->xid, commits(b) ? SIM_COMMITTED : SIM_ABORTED);
}

static void finish_ended(struct backend *b) {
  struct prepared *p = b->finishing;
  struct gid_entry *gid = p->gid;
  bool committed = commits(b), warned = b->warn;
  b->finishing = NULL;
  xact_leave(b->db, p->xid, committed);
  prepared_remove(b->db, p);
  struct item *item = backend_answer(
      b, result_new(PGRES_COMMAND_OK, committed ? "COMMIT PREPARED" : "ROLLBACK PREPARED"));
  if (!warned && committed) {
    item->told = gid;
    item->told_what = SIM_COMMITTED;
  }
  backend_done(b);
}

static void finish(struct backend *b) {
  struct sim_database *db = b->db;
  assert(b->tx == TX_NONE);
  struct prepared *p = prepared_find(db, b->current->params[0]);
  if (p && p->gid->foreign) {
    db->foreign_touched++;
    done_error(b, "42501", "permission denied to finish prepared transaction");
  } else if (!p || !p->valid) {
    done_error(b, "42704", "prepared transaction with identifier does not exist");
  } else if (p->busy || sim_fault(db->sim, SIM_GID_BUSY, db->name)) {
    done_error(b, "55000", "prepared transaction with identifier is busy");
  } else if (!database_has_rights(db)) {
    done_error(b, "42501", "permission denied to finish prepared transaction");
  } else {
    p->busy = b;
    b->finishing = p;
    (void)wal_append(db, commits(b) ? RECORD_COMMIT : RECORD_ABORT, p->xid);
    wal_make_durable(b, finish_flushed, finish_ended);
  }
}

/* ---- all ----------------------------------------------------------------------------------------- */

static void set_timeout(struct backend *b) {
  enum command_kind kind = b->current->kind;
  int64_t *timeout_ms = kind == COMMAND_SET_STATEMENT_TIMEOUT ? &b->timeouts.statement_ms
                        : kind == COMMAND_SET_LOCK_TIMEOUT    ? &b->timeouts.lock_ms
                                                              : &b->timeouts.idle_ms;
  *timeout_ms = b->current->number;
  done_ok(b, "SET");
}

static void xid_query(struct backend *b) {
  tell_xid(b, b->current->kind == COMMAND_XID_READY);
}

static const backend_fn commands[COMMAND_COUNT] = {
    [COMMAND_BEGIN] = begin,
    [COMMAND_SET_STATEMENT_TIMEOUT] = set_timeout,
    [COMMAND_SET_LOCK_TIMEOUT] = set_timeout,
    [COMMAND_SET_IDLE_TIMEOUT] = set_timeout,
    [COMMAND_ADD] = statement,
    [COMMAND_READ] = statement,
    [COMMAND_READ_MANY] = statement,
    [COMMAND_FAIL] = statement,
    [COMMAND_XID] = xid_query,
    [COMMAND_XID_READY] = xid_query,
    [COMMAND_PREPARE] = prepare,
    [COMMAND_COMMIT] = commit,
    [COMMAND_ROLLBACK] = roll_back,
    [COMMAND_DISCARD] = discard,
    [COMMAND_RESET] = reset,
    [COMMAND_PARSE] = parse,
    [COMMAND_COMMIT_PREPARED] = finish,
    [COMMAND_ROLLBACK_PREPARED] = finish,
};

void backend_execute(struct backend *b) {
  enum command_kind kind = b->current->kind;
  bool ends = kind == COMMAND_PREPARE || kind == COMMAND_COMMIT || kind == COMMAND_ROLLBACK;
  backend_fn command = commands[kind] ? commands[kind] : ask_command(kind);
  if (b->tx == TX_FAILED && !ends)
    done_error(b, "25P02", "current transaction is aborted");
  else if (!refuses_kept(b))
    command(b);
}
