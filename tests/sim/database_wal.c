/* The write-ahead log, and the server's state as a fold over it.
 *
 * A position in the log is a number of records. `flushed` of them survive a crash, `received` of
 * them a failover; a standby receives only what is flushed. The state is kept up as records take
 * effect, and made anew from the records after a crash (wal_recover).
 *
 * A transaction's end takes effect in two steps, as in PostgreSQL: once it is flushed it has happened
 * (xact_end); once the replica that it waits for has it, too, others see it (xact_leave).
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "tests/sim/database_internal.h"

/* ---- transactions ---------------------------------------------------------------------------- */

struct xact *xact_of(const struct sim_database *db, uint64_t xid) {
  assert(xid >= XID_FIRST && xid < db->next_xid);
  return &db->xacts[xid - XID_FIRST];
}

static void extend_xacts(struct sim_database *db, uint64_t xid) {
  size_t needed = (size_t)(xid - XID_FIRST) + 1;
  if (needed > db->xact_capacity) {
    size_t capacity = needed < 128 ? 256 : 2 * needed;
    struct xact *xacts = realloc(db->xacts, capacity * sizeof *xacts);
    assert(xacts);
    db->xacts = xacts;
    db->xact_capacity = capacity;
  }
  for (; db->next_xid <= xid; db->next_xid++)
    db->xacts[db->next_xid - XID_FIRST] = (struct xact){0};
}

void xact_name(struct sim_database *db, uint64_t xid, struct gid_entry *gid) {
  struct xact *xact = xact_of(db, xid);
  if (!gid || xact->gid) return;
  xact->gid = gid;
  xact->sibling = gid->newest;
  gid->newest = xid;
}

uint64_t xid_assign(struct sim_database *db, struct gid_entry *gid) {
  uint64_t xid = db->next_xid;
  extend_xacts(db, xid);
  xact_of(db, xid)->state = XACT_RUNNING;
  xact_name(db, xid, gid);
  return xid;
}

int64_t xact_change(const struct sim_database *db, uint64_t xid, unsigned account) {
  int64_t sum = 0;
  if (xid == 0) return 0;
  for (size_t at = xact_of(db, xid)->last; at; at = db->records[at - 1].previous) {
    const struct record *record = &db->records[at - 1];
    if (record->kind == RECORD_CHANGE && record->account == account) sum += record->amount;
  }
  return sum;
}

void xact_end(struct sim_database *db, uint64_t xid, bool commit) {
  struct xact *xact = xact_of(db, xid);
  xact->state = commit ? XACT_COMMITTED : XACT_ABORTED;
  if (!commit) return;
  for (size_t at = xact->last; at; at = db->records[at - 1].previous) {
    const struct record *record = &db->records[at - 1];
    if (record->kind == RECORD_CHANGE) db->balance[record->account] += record->amount;
  }
}

void xact_leave(struct sim_database *db, uint64_t xid, bool commit) {
  for (size_t at = commit ? xact_of(db, xid)->last : 0; at; at = db->records[at - 1].previous) {
    const struct record *record = &db->records[at - 1];
    if (record->kind == RECORD_CHANGE) db->visible[record->account] += record->amount;
    schema_apply(db, record);
  }
  if (xid > db->completed) db->completed = xid;
  lock_release_all(db, xid);
}

struct prepared *prepared_add(struct sim_database *db, uint64_t xid, struct gid_entry *gid,
                              uint64_t at_us) {
  struct prepared *p = model_allocate(sizeof *p);
  *p = (struct prepared){.xid = xid, .gid = gid, .at_us = at_us};
  DL_APPEND(db->prepared, p);
  return p;
}

struct prepared *prepared_find(const struct sim_database *db, const char *gid) {
  struct prepared *p;
  DL_FOREACH(db->prepared, p)
  if (strcmp(p->gid->gid, gid) == 0) return p;
  return NULL;
}

void prepared_remove(struct sim_database *db, struct prepared *p) {
  DL_DELETE(db->prepared, p);
  free(p);
}

/* ---- records --------------------------------------------------------------------------------- */

struct record *wal_append(struct sim_database *db, enum record_kind kind, uint64_t xid) {
  if (db->record_count == db->record_capacity) {
    db->record_capacity = db->record_capacity ? 2 * db->record_capacity : 256;
    struct record *records = realloc(db->records, db->record_capacity * sizeof *records);
    assert(records);
    db->records = records;
  }
  struct xact *xact = xact_of(db, xid);
  struct record *record = &db->records[db->record_count++];
  *record = (struct record){.kind = kind,
                            .xid = xid,
                            .gid = xact->gid,
                            .previous = xact->last,
                            .at_us = sim_now_us(db->sim)};
  xact->last = db->record_count;
  return record;
}

static void replay(struct sim_database *db, size_t index) {
  const struct record *record = &db->records[index];
  uint64_t xid = record->xid;
  extend_xacts(db, xid);
  struct xact *xact = xact_of(db, xid);
  xact_name(db, xid, record->gid);
  xact->last = index + 1;
  switch (record->kind) {
  case RECORD_PREPARE: {
    xact->state = XACT_PREPARED;
    prepared_add(db, xid, record->gid, record->at_us)->valid = true;
    return;
  }
  case RECORD_COMMIT:
  case RECORD_ABORT: {
    bool commit = record->kind == RECORD_COMMIT;
    struct prepared *p;
    DL_SEARCH_SCALAR(db->prepared, p, xid, xid);
    if (p) prepared_remove(db, p);
    xact_end(db, xid, commit);
    xact_leave(db, xid, commit);
    return;
  }
  case RECORD_CHANGE:
  case RECORD_MESSAGE:
  case RECORD_SCHEMA:
  case RECORD_KEPT:
  case RECORD_CLAIM:
  case RECORD_ROW:
  case RECORD_FORGET: return;
  }
}

static void truncate_records(struct sim_database *db, size_t count) {
  while (db->record_count > count)
    free(db->records[--db->record_count].life);
}

static void forget_state(struct sim_database *db) {
  struct prepared *p, *next;
  struct gid_entry *gid, *next_gid;
  DL_FOREACH_SAFE(db->prepared, p, next) free(p);
  db->prepared = NULL;
  HASH_ITER(hh, db->gids, gid, next_gid) {
    gid->newest = 0;
    gid->open = 0;
  }
  db->next_xid = XID_FIRST;
  schema_reset(db);
  for (unsigned account = 1; account <= db->options.accounts; account++)
    db->balance[account] = db->visible[account] = db->options.balance;
  lock_recover(db);
}

void wal_recover(struct sim_database *db, size_t count) {
  assert(count <= db->record_count && !db->backends);
  sim_cancel(db->flush);
  sim_cancel(db->ship);
  db->flush = db->ship = NULL;
  truncate_records(db, count);
  forget_state(db);
  for (size_t i = 0; i < count; i++)
    replay(db, i);
  for (uint64_t xid = XID_FIRST; xid < db->next_xid; xid++) {
    struct xact *xact = xact_of(db, xid);
    if (xact->state == XACT_NONE || xact->state == XACT_RUNNING) xact->state = XACT_ABORTED;
  }
  db->completed = db->next_xid - 1; /* but for what is prepared */
  if (db->forgotten > db->next_xid) db->forgotten = db->next_xid;
  db->flushed = db->flush_target = count;
  if (db->received > count) db->received = count;
  lock_recover(db);
}

void wal_free(struct sim_database *db) {
  sim_cancel(db->flush);
  sim_cancel(db->ship);
  truncate_records(db, 0);
  forget_state(db);
  free(db->records);
  free(db->xacts);
}

/* ---- the standby ------------------------------------------------------------------------------- */

static bool replica_has(const struct sim_database *db, size_t position) {
  return !db->options.has_standby || !db->options.synchronous || db->received >= position;
}

static void ship(struct sim_database *db);

static void wake_waiting(struct sim_database *db, enum backend_wait wait, size_t position) {
  struct backend *b = db->backends;
  while (b) {
    bool due = b->wait == wait && b->wait_lsn <= position;
    if (due) backend_wake(b); /* it may end others: from the top */
    b = due ? db->backends : b->next;
  }
}

static void on_received(void *data) {
  struct sim_database *db = data;
  db->ship = NULL;
  db->received = db->ship_target;
  if (db->options.synchronous) wake_waiting(db, WAIT_REPLICA, db->received);
  ship(db);
}

static void ship(struct sim_database *db) {
  if (!db->options.has_standby || db->ship || db->received >= db->flushed) return;
  uint64_t delay_us =
      db->options.synchronous ? sim_between(db->sim, 150, 1200) : sim_between(db->sim, 500, 150000);
  if (sim_fault(db->sim, SIM_REPLICA_WAIT, db->name))
    delay_us += sim_between(db->sim, 50000, 8000000);
  delay_us += db->lag_us;
  db->lag_us = 0;
  db->ship_target = db->flushed;
  db->ship = sim_after(db->sim, NULL, delay_us, on_received, db);
}

void wal_catch_up(struct sim_database *db) {
  if (!db->options.has_standby) return;
  sim_cancel(db->ship);
  db->ship_target = db->flushed;
  on_received(db);
}

/* ---- making durable ---------------------------------------------------------------------------- */

static void flush(struct sim_database *db);

static void on_flushed(void *data) {
  struct sim_database *db = data;
  db->flush = NULL;
  db->flushed = db->flush_target;
  wake_waiting(db, WAIT_FLUSH, db->flushed);
  ship(db);
  bool wanted = false;
  struct backend *b;
  DL_FOREACH(db->backends, b)
  if (b->wait == WAIT_FLUSH) wanted = true;
  if (wanted) flush(db);
}

static void flush(struct sim_database *db) {
  if (db->flush) return;
  uint64_t delay_us = sim_between(db->sim, 100, 1500);
  if (sim_fault(db->sim, SIM_DATABASE_SLOW, "flush"))
    delay_us += sim_between(db->sim, 100000, 6000000);
  db->flush_target = db->record_count;
  db->flush = sim_after(db->sim, NULL, delay_us, on_flushed, db);
}

void wal_flush_at_once(struct sim_database *db) {
  sim_cancel(db->flush);
  db->flush_target = db->record_count;
  on_flushed(db);
}

/* The wait for the replica is over, or was cut: then its answer comes with a warning. */
static void replica_waited(struct backend *b) {
  if (!replica_has(b->db, b->wait_lsn)) b->warn = true;
  b->ended(b);
}

static void flush_waited(struct backend *b) {
  struct sim_database *db = b->db;
  b->flushed(b);
  bool warned = sim_fault(db->sim, SIM_WARNING, db->name);
  if (warned) {
    b->warn = true;
    /* Who cancels a wait for the replica has been waiting: it lags. */
    if (!db->ship) db->lag_us = sim_random(db->sim, 3000000);
  }
  if (warned || b->terminating || replica_has(db, b->wait_lsn)) {
    replica_waited(b);
    return;
  }
  b->then = replica_waited;
  backend_sleep(b, WAIT_REPLICA);
  uint64_t left_us = backend_statement_left_us(b);
  if (left_us != UINT64_MAX) backend_wait_for(b, WAIT_REPLICA, left_us, replica_waited);
}

void wal_make_durable(struct backend *b, backend_fn flushed, backend_fn ended) {
  struct sim_database *db = b->db;
  b->flushed = flushed;
  b->ended = ended;
  b->wait_lsn = db->record_count;
  b->then = flush_waited;
  backend_sleep(b, WAIT_FLUSH);
  flush(db);
}
