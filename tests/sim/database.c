/* Making a model database, and what the checks look at. */
#include "tests/sim/database.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "tests/sim/database_internal.h"

void *model_allocate(size_t size) {
  void *memory = calloc(1, size);
  assert(memory);
  return memory;
}

/* The same in every run: FNV-1a of the name. */
static uint64_t system_identifier(const char *name) {
  uint64_t hash = UINT64_C(14695981039346656037);
  for (; *name; name++)
    hash = (hash ^ (unsigned char)*name) * UINT64_C(1099511628211);
  return hash >> 1;
}

struct sim_database *sim_database_new(struct sim *sim, const struct sim_database_options *options) {
  struct sim_database *db = model_allocate(sizeof *db);
  db->sim = sim;
  db->options = *options;
  (void)snprintf(db->name, sizeof db->name, "%s", options->name);
  db->options.name = db->name;
  db->system = system_identifier(db->name);
  db->timeline = 1;
  db->next_pid = 100;
  db->next_xid = db->forgotten = XID_FIRST;
  db->up = true;
  db->balance = model_allocate((options->accounts + 1) * sizeof *db->balance);
  db->visible = model_allocate((options->accounts + 1) * sizeof *db->visible);
  for (unsigned lock = LOCK_CLAIMS; lock <= options->accounts; lock++)
    (void)lock_new(db);
  wal_recover(db, 0);
  return db;
}

void sim_database_free(struct sim_database *db) {
  if (!db) return;
  conns_detach(db);
  while (db->backends)
    backend_free(db->backends);
  sim_cancel(db->start);
  wal_free(db);
  struct gid_entry *gid, *next;
  HASH_ITER(hh, db->gids, gid, next) {
    HASH_DEL(db->gids, gid);
    free(gid);
  }
  free(db->balance);
  free(db->visible);
  rows_free(db);
  free(db->locks);
  free(db);
}

/* ---- gids ---------------------------------------------------------------------------------------- */

static struct gid_entry *find_gid(const struct sim_database *db, const char *text) {
  struct gid_entry *gid;
  HASH_FIND_STR(db->gids, text, gid);
  return gid;
}

struct gid_entry *gid_entry(struct sim_database *db, const char *text) {
  struct gid_entry *gid = find_gid(db, text);
  if (gid) return gid;
  gid = model_allocate(sizeof *gid);
  assert(strlen(text) < sizeof gid->gid);
  (void)snprintf(gid->gid, sizeof gid->gid, "%s", text);
  HASH_ADD_STR(db->gids, gid, gid);
  return gid;
}

enum sim_truth gid_truth(const struct sim_database *db, const struct gid_entry *gid) {
  return gid_truth_of(db, gid, &(uint64_t){0});
}

enum sim_truth gid_truth_of(const struct sim_database *db, const struct gid_entry *gid,
                            uint64_t *which) {
  *which = gid->newest;
  enum sim_truth truth = gid->open > 0 ? SIM_OPEN : SIM_NEVER;
  for (uint64_t xid = gid->newest; xid; xid = xact_of(db, xid)->sibling) {
    switch (xact_of(db, xid)->state) {
    case XACT_COMMITTED: *which = xid; return SIM_COMMITTED;
    case XACT_PREPARED:
      *which = xid;
      truth = SIM_PREPARED;
      break;
    case XACT_RUNNING:
      if (truth != SIM_PREPARED) truth = SIM_OPEN;
      break;
    case XACT_ABORTED:
      if (truth == SIM_NEVER) truth = SIM_ABORTED;
      break;
    case XACT_NONE: break;
    }
  }
  return truth;
}

enum sim_truth sim_database_truth(const struct sim_database *db, const char *gid) {
  const struct gid_entry *entry = find_gid(db, gid);
  return entry ? gid_truth(db, entry) : SIM_NEVER;
}

bool sim_database_is_hazard(const struct sim_database *db, const char *gid) {
  const struct gid_entry *entry = find_gid(db, gid);
  return entry && entry->hazard;
}

/* An account's lock is had before the record is written, and kept until the commit: of each account the
 * records are in the order of the commits. */
void sim_database_each_change(const struct sim_database *db,
                              void (*fn)(void *data, const char *gid, unsigned account),
                              void *data) {
  for (size_t i = 0; i < db->record_count; i++) {
    const struct record *record = &db->records[i];
    if (record->kind != RECORD_CHANGE) continue;
    const struct xact *xact = xact_of(db, record->xid);
    if (xact->state == XACT_COMMITTED && xact->gid) fn(data, xact->gid->gid, record->account);
  }
}

bool sim_database_is_exposed(const struct sim_database *db) {
  const struct prepared *p;
  DL_FOREACH(db->prepared, p) {
    if (p->valid && !p->gid->foreign && xact_of(db, p->xid)->last > db->received) return true;
  }
  return false;
}

bool sim_database_exposes_reader(const struct sim_database *db) {
  for (size_t i = db->received; db->options.has_standby && i < db->flushed; i++) {
    const struct record *record = &db->records[i];
    if (record->kind != RECORD_COMMIT || !record->gid || record->previous == 0) continue;
    size_t before = record->previous;
    if (before > db->received || db->records[before - 1].kind != RECORD_PREPARE) continue;
    while (before > 0 && db->records[before - 1].kind != RECORD_CHANGE)
      before = db->records[before - 1].previous;
    if (before == 0) return true;
  }
  return false;
}

bool sim_database_was_told_committed(const struct sim_database *db, const char *gid) {
  const struct gid_entry *entry = find_gid(db, gid);
  return entry && entry->told_committed;
}

bool sim_database_is_replicated(const struct sim_database *db, const char *xid) {
  if (!db->options.has_standby || !db->options.synchronous) return true;
  uint64_t number = strtoull(xid, NULL, 10);
  return number < db->next_xid && db->received >= xact_of(db, number)->last;
}

bool sim_database_wrote(const struct sim_database *db, const char *gid) {
  const struct gid_entry *entry = find_gid(db, gid);
  for (uint64_t xid = entry ? entry->newest : 0; xid; xid = xact_of(db, xid)->sibling)
    for (size_t at = xact_of(db, xid)->last; at; at = db->records[at - 1].previous)
      if (db->records[at - 1].kind == RECORD_CHANGE) return true;
  return false;
}

static const char *truth_name(enum sim_truth truth) {
  static const char *const names[] = {[SIM_NEVER] = "gone",
                                      [SIM_OPEN] = "open",
                                      [SIM_PREPARED] = "prepared",
                                      [SIM_COMMITTED] = "committed",
                                      [SIM_ABORTED] = "aborted"};
  return names[truth];
}

void database_tell(struct sim_database *db, struct gid_entry *gid, uint64_t xid,
                   enum sim_truth now) {
  char text[XID_SIZE];
  (void)snprintf(text, sizeof text, "%" PRIu64, xid);
  sim_trace(db->sim, "%s: %s xid %s is %s", db->name, gid->gid, text, truth_name(now));
  if (db->watch && !gid->foreign) db->watch(db->watch_data, db, gid->gid, text, now);
}

/* An answer that was on its way when a standby was promoted tells what the standby may never have had. */
void database_told(struct sim_database *db, struct gid_entry *gid, enum sim_truth what) {
  if (what == SIM_COMMITTED)
    gid->told_committed = true;
  else
    gid->told_prepared = true;
  enum sim_truth now = gid_truth(db, gid);
  bool lost = now == SIM_NEVER || (now == SIM_ABORTED && what == SIM_COMMITTED);
  if (lost && db->lost_by_failover) gid->hazard = true;
}

/* ---- the whole -------------------------------------------------------------------------------------- */

int64_t sim_database_money(const struct sim_database *db) {
  int64_t sum = 0;
  for (unsigned account = 1; account <= db->options.accounts; account++)
    sum += db->balance[account];
  return sum;
}

void sim_database_each_prepared(const struct sim_database *db,
                                void (*fn)(void *data, const char *gid, uint64_t xid), void *data) {
  const struct prepared *p;
  DL_FOREACH(db->prepared, p) {
    if (!p->gid->foreign) fn(data, p->gid->gid, p->xid);
  }
}

size_t sim_database_open_count(const struct sim_database *db) {
  size_t count = 0;
  const struct backend *b;
  DL_FOREACH(db->backends, b) {
    bool idle = b->wait == WAIT_INPUT && !b->inbox && !b->packets;
    count += b->tx != TX_NONE && (b->gid || idle);
  }
  return count;
}

size_t sim_database_foreign_touched(const struct sim_database *db) {
  return db->foreign_touched;
}

void sim_database_watch(struct sim_database *db, sim_database_fn fn, void *data) {
  db->watch = fn;
  db->watch_data = data;
}

/* ---- an application that prepares by itself --------------------------------------------------------- */

static struct command *statement(const char *sql, const char *account, const char *amount) {
  const char *const params[] = {account, amount};
  return command_parse(sql, account ? 2 : 0, account ? params : NULL);
}

void sim_database_prepare(struct sim_database *db, const char *gid, unsigned account,
                          int64_t amount, void (*done)(void *data, bool prepared), void *data) {
  char sql[GID_TEXT_SIZE + 32], row[160], account_text[24], amount_text[24];
  struct gid parts;
  if (!db->up) {
    done(data, false);
    return;
  }
  (void)snprintf(sql, sizeof sql, "PREPARE TRANSACTION '%s'", gid);
  (void)snprintf(account_text, sizeof account_text, "%u", account);
  (void)snprintf(amount_text, sizeof amount_text, "%" PRId64, amount);
  struct command *commands = NULL, *begin = statement("BEGIN", NULL, NULL);
  begin->gid = gid_entry(db, gid);
  /* Made before: the macro looks at its arguments more than once. */
  struct command *limit = statement("SET LOCAL statement_timeout = 2000", NULL, NULL);
  struct command *add = statement("UPDATE account", account_text, amount_text);
  struct command *prepare = statement(sql, NULL, NULL);
  DL_APPEND(commands, begin);
  DL_APPEND(commands, limit);
  DL_APPEND(commands, add);
  /* Where branches leave rows, an application has to leave its own; it may not know that. */
  if (db->has_rows && gid_parse(gid, &parts) && sim_random(db->sim, 8) > 0) {
    (void)snprintf(row, sizeof row,
                   "DO $$BEGIN INSERT INTO assent.outcome (txid, branch) VALUES ('%s', %u); END$$",
                   parts.txid.text, parts.branch);
    struct command *leave = statement(row, NULL, NULL);
    DL_APPEND(commands, leave);
  }
  DL_APPEND(commands, prepare);
  struct backend *b = backend_new(db, NULL, "application");
  b->done = done;
  b->done_data = data;
  b->gone = true; /* it ends when that is done */
  backend_post(b, commands);
}
