/* Row locks, and those on the keys of rows that are about to be. An xid holds them to its end, prepared or not; who comes later waits in order, for as
 * long as lock_timeout and statement_timeout let it. A circle inside this database is found after a
 * while by whoever waits, and broken by it, as in PostgreSQL.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "tests/sim/database_internal.h"

enum { DEADLOCK_TIMEOUT_US = 200000 }; /* as in tests/twin/transcript.h */

static void stop_waiting(struct backend *b) {
  struct lock *lock = &b->db->locks[b->lock];
  DL_DELETE2(lock->waiting, b, lock_prev, lock_next);
  sim_cancel(b->deadlock);
  b->deadlock = NULL;
}

void lock_abandon(struct backend *b) {
  if (b->wait == WAIT_LOCK && !b->lock_granted) stop_waiting(b);
}

/* ---- waiting ----------------------------------------------------------------------------------- */

static void on_lock_timeout(struct backend *b) {
  bool statement = backend_statement_left_us(b) == 0;
  stop_waiting(b);
  if (statement)
    backend_answer_error(b, "57014", "canceling statement due to statement timeout");
  else
    backend_answer_error(b, "55P03", "canceling statement due to lock timeout");
  backend_done(b);
}

/* Who holds what this one waits for? A prepared transaction is held by nobody. */
static struct backend *blocker(const struct backend *b) {
  uint64_t holder = b->db->locks[b->lock].holder;
  struct backend *other;
  DL_SEARCH_SCALAR(b->db->backends, other, xid, holder);
  return other;
}

static bool waits_in_circle(const struct backend *b) {
  const struct backend *at = b;
  for (int steps = 0; steps < 64 && at && at->wait == WAIT_LOCK && !at->lock_granted; steps++) {
    at = blocker(at);
    if (at == b) return true;
  }
  return false;
}

static void on_deadlock_timeout(void *data) {
  struct backend *b = data;
  b->deadlock = NULL;
  if (!waits_in_circle(b)) return;
  sim_trace(b->db->sim, "%s: deadlock found by backend %d", b->db->name, b->pid);
  stop_waiting(b);
  backend_answer_error(b, "40P01", "deadlock detected");
  b->then = backend_done;
  backend_wake(b);
}

void lock_take(struct backend *b, unsigned lock_index, backend_fn then) {
  struct sim_database *db = b->db;
  struct lock *lock = &db->locks[lock_index];
  assert(b->xid);
  if (lock->holder == 0) lock->holder = b->xid;
  if (lock->holder == b->xid) {
    then(b);
    return;
  }
  uint64_t left_us = backend_statement_left_us(b);
  if (b->timeouts.lock_ms > 0 && (uint64_t)b->timeouts.lock_ms * 1000 < left_us)
    left_us = (uint64_t)b->timeouts.lock_ms * 1000;
  b->lock = lock_index;
  b->lock_granted = false;
  b->lock_then = then;
  DL_APPEND2(lock->waiting, b, lock_prev, lock_next);
  if (left_us == UINT64_MAX)
    backend_sleep(b, WAIT_LOCK);
  else
    backend_wait_for(b, WAIT_LOCK, left_us, on_lock_timeout);
  b->deadlock = sim_after(db->sim, NULL, DEADLOCK_TIMEOUT_US, on_deadlock_timeout, b);
}

/* ---- letting go --------------------------------------------------------------------------------- */

static void grant_next(struct sim_database *db, struct lock *lock) {
  struct backend *b = lock->waiting;
  lock->holder = b ? b->xid : 0;
  if (!b) return;
  stop_waiting(b);
  b->lock_granted = true;
  backend_wait_for(b, WAIT_LOCK, sim_between(db->sim, 5, 50), b->lock_then);
}

void lock_release_all(struct sim_database *db, uint64_t xid) {
  for (unsigned i = 0; i < db->lock_count; i++)
    if (db->locks[i].holder == xid) grant_next(db, &db->locks[i]);
}

void lock_recover(struct sim_database *db) {
  memset(db->locks, 0, db->lock_count * sizeof *db->locks);
  struct prepared *p;
  DL_FOREACH(db->prepared, p)
  for (size_t at = xact_of(db, p->xid)->last; at; at = db->records[at - 1].previous) {
    const struct record *record = &db->records[at - 1];
    if (record->kind == RECORD_CHANGE) db->locks[record->account].holder = p->xid;
    if (record->kind == RECORD_ROW) db->locks[record->row->lock].holder = p->xid;
  }
}

unsigned lock_new(struct sim_database *db) {
  db->locks = realloc(db->locks, (db->lock_count + 1) * sizeof *db->locks);
  assert(db->locks);
  db->locks[db->lock_count] = (struct lock){0};
  return db->lock_count++;
}
