/* What comes over a server from outside of its sessions: crashes, failovers, lost rights, somebody's
 * hand, other programs that prepare.
 *
 * A crash keeps what was flushed, and, by chance, some of what was not. A failover keeps what the
 * standby had received; the old primary never comes back as one. A new standby has everything the
 * new primary has when it starts.
 *
 * Hazards, exactly: a branch is one if a client has received that it was prepared, or committed, and
 * an asynchronous failover has left nothing of it; or if somebody has ended it by hand. A branch that
 * is back as prepared is none (it can be committed again), nor is one of which nobody was told.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "tests/sim/database_internal.h"

enum { FOREIGN_MAX = 3 };

/* ---- dying and coming back --------------------------------------------------------------------------- */

static void remember_truths(struct sim_database *db) {
  struct gid_entry *gid, *next;
  HASH_ITER(hh, db->gids, gid, next)
  gid->before = gid_truth(db, gid);
}

static bool is_lost(const struct gid_entry *gid, enum sim_truth now) {
  if (now == SIM_PREPARED || now == SIM_COMMITTED) return false;
  if (gid->told_committed) return true;
  return gid->told_prepared && gid->before != SIM_ABORTED && gid->before != SIM_NEVER;
}

static void tell_changes(struct sim_database *db, bool failover) {
  struct gid_entry *gid, *next;
  HASH_ITER(hh, db->gids, gid, next) {
    uint64_t xid;
    enum sim_truth now = gid_truth_of(db, gid, &xid);
    if (failover && !db->options.synchronous && !gid->foreign && is_lost(gid, now)) {
      gid->hazard = true;
      sim_trace(db->sim, "%s: %s is lost: a hazard", db->name, gid->gid);
    }
    if (now != gid->before) database_tell(db, gid, xid, now);
  }
}

static void drop_backends(struct sim_database *db, bool silently) {
  while (db->backends) {
    struct backend *b = db->backends;
    void (*done)(void *, bool) = b->done;
    void *data = b->done_data;
    if (b->conn) {
      uint64_t delay_us = database_latency_us(db);
      /* A host that dies without a word is missed late, or when it is asked again. */
      if (silently || sim_random(db->sim, 10) == 0) delay_us += sim_between(db->sim, 0, 5000000);
      conn_end(b->conn, delay_us);
    }
    backend_free(b);
    if (done) done(data, false);
  }
}

static void on_start(void *data) {
  struct sim_database *db = data;
  db->start = NULL;
  db->up = true;
  sim_trace(db->sim, "%s: up, timeline %u, next xid %" PRIu64, db->name, db->timeline,
            db->next_xid);
}

static void start_later(struct sim_database *db) {
  uint64_t highest_us = sim_healed(db->sim) ? 200000 : 2500000;
  db->up = false;
  sim_cancel(db->start);
  db->start = sim_after(db->sim, NULL, sim_between(db->sim, 50000, highest_us), on_start, db);
}

/* Some of the log's unflushed end is lost, and with it the numbers it had used. */
static bool loses_xids(struct sim_database *db, size_t *count) {
  size_t lost = db->record_count - db->flushed;
  uint64_t next = db->record_count ? db->records[db->record_count - 1].xid + 1 : XID_FIRST;
  if (lost == 0 && next >= db->next_xid) return false;
  if (!sim_fault(db->sim, SIM_DATABASE_XID_REUSED, db->name)) return false;
  if (lost > 0) *count -= 1 + (size_t)sim_random(db->sim, lost);
  return true;
}

void sim_database_kill(struct sim_database *db) {
  if (!db->up) return;
  size_t count = db->record_count;
  uint64_t next_xid = db->next_xid;
  bool loses = loses_xids(db, &count);
  sim_trace(db->sim, "%s: killed; %zu of %zu records survive", db->name, count, db->record_count);
  remember_truths(db);
  drop_backends(db, false);
  wal_recover(db, count);
  while (!loses && db->next_xid < next_xid)
    xact_of(db, xid_assign(db, NULL))->state = XACT_ABORTED;
  db->completed = db->next_xid - 1;
  tell_changes(db, false);
  start_later(db);
}

bool sim_database_failover(struct sim_database *db) {
  if (!db->options.has_standby) return false;
  sim_trace(db->sim, "%s: failover; the standby has %zu of %zu records", db->name, db->received,
            db->record_count);
  remember_truths(db);
  drop_backends(db, sim_random(db->sim, 2) == 0);
  db->timeline++;
  if (!db->options.synchronous) db->lost_by_failover = true;
  wal_recover(db, db->received);
  tell_changes(db, true);
  start_later(db);
  return true;
}

void sim_database_heal(struct sim_database *db) {
  db->rights_back_us = db->claims_back_us = 0;
  wal_catch_up(db);
  if (!db->up) start_later(db);
}

/* ---- rights ---------------------------------------------------------------------------------------------- */

static bool has(struct sim_database *db, uint64_t *back_us, enum sim_fault fault) {
  uint64_t now_us = sim_now_us(db->sim);
  if (now_us < *back_us && !sim_healed(db->sim)) return false;
  if (!sim_fault(db->sim, fault, db->name)) return true;
  *back_us = now_us + sim_between(db->sim, 10000, 3000000);
  return false;
}

bool database_has_rights(struct sim_database *db) {
  return has(db, &db->rights_back_us, SIM_RIGHTS_LOST);
}

bool database_keeps_claims(struct sim_database *db) {
  return has(db, &db->claims_back_us, SIM_CLAIM_REFUSED);
}

/* ---- others ---------------------------------------------------------------------------------------------- */

static void end_at_once(struct sim_database *db, struct prepared *p, bool commit) {
  uint64_t xid = p->xid;
  struct gid_entry *gid = p->gid;
  p->valid = false; /* the flush lets others go on, who must not begin to end it too */
  (void)wal_append(db, commit ? RECORD_COMMIT : RECORD_ABORT, xid);
  wal_flush_at_once(db);
  xact_end(db, xid, commit);
  xact_leave(db, xid, commit);
  prepared_remove(db, p);
  database_tell(db, gid, xid, commit ? SIM_COMMITTED : SIM_ABORTED);
}

static struct prepared *choose_prepared(struct sim_database *db) {
  uint64_t count = 0;
  struct prepared *p, *chosen = NULL;
  DL_FOREACH(db->prepared, p) {
    if (!p->valid || p->busy || p->gid->foreign) continue;
    if (sim_random(db->sim, ++count) == 0) chosen = p;
  }
  return chosen;
}

void sim_database_stall(struct sim_database *db, uint64_t us) {
  db->stalled_until_us = sim_now_us(db->sim) + us;
}

static void meddle(struct sim_database *db, enum sim_fault fault) {
  struct prepared *p = db->up ? choose_prepared(db) : NULL;
  if (!p || !sim_fault(db->sim, fault, p->gid->gid)) return;
  p->gid->hazard = true;
  end_at_once(db, p, fault == SIM_HAND_COMMIT);
}

void sim_database_meddle(struct sim_database *db) {
  meddle(db, SIM_HAND_ROLLBACK);
  meddle(db, SIM_HAND_COMMIT);
}

/* A cluster's own prefix, of one of the gids that are known here. */
static void foreign_name(struct sim_database *db, char out[GID_TEXT_SIZE]) {
  struct gid gid = {.epoch = 1, .branch = 1};
  unsigned number = (unsigned)++db->foreign_made;
  (void)snprintf(gid.cluster.text, sizeof gid.cluster.text, "%s", "zzforeignzz0");
  (void)snprintf(gid.txid.text, sizeof gid.txid.text, "01890000-0000-7000-8000-%012u", number);
  const struct gid_entry *any = db->gids;
  struct gid ours;
  switch (sim_random(db->sim, 3)) {
  case 0: gid_format(&gid, out); return;
  case 1:
    if (any && gid_parse(any->gid, &ours)) {
      (void)snprintf(out, GID_TEXT_SIZE, "assent_%s_by-hand-%u", ours.cluster.text, number);
      return;
    }
    break;
  default: break;
  }
  (void)snprintf(out, GID_TEXT_SIZE, "shop:order-%u", number);
}

static size_t foreign_count(const struct sim_database *db) {
  size_t count = 0;
  const struct prepared *p;
  DL_FOREACH(db->prepared, p) count += p->gid->foreign;
  return count;
}

void database_make_foreign(struct sim_database *db) {
  char name[GID_TEXT_SIZE];
  if (foreign_count(db) >= FOREIGN_MAX || db->options.prepared_max / 2 < FOREIGN_MAX) return;
  if (!sim_fault(db->sim, SIM_FOREIGN_GID, db->name)) return;
  foreign_name(db, name);
  struct gid_entry *gid = gid_entry(db, name);
  gid->foreign = true;
  uint64_t xid = xid_assign(db, gid);
  (void)wal_append(db, RECORD_MESSAGE, xid);
  (void)wal_append(db, RECORD_PREPARE, xid);
  wal_flush_at_once(db);
  xact_of(db, xid)->state = XACT_PREPARED;
  prepared_add(db, xid, gid, sim_now_us(db->sim))->valid = true;
  database_tell(db, gid, xid, SIM_PREPARED);
}
