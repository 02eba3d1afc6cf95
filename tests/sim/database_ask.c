/* What a control session asks: who is the server, what is prepared, how did an xid end, who else is
 * connected; the barrier; the epoch's claim. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "tests/sim/database_internal.h"

static PGresult *table_new(int rows, int columns) {
  PGresult *result = result_new(PGRES_TUPLES_OK, "SELECT");
  result_set_size(result, rows, columns);
  return result;
}

static struct item *done_with(struct backend *b, PGresult *result) {
  struct item *item = backend_answer(b, result);
  backend_done(b);
  return item;
}

static void done_number(struct backend *b, int64_t number) {
  PGresult *result = table_new(1, 1);
  result_set(result, 0, 0, "%" PRId64, number);
  (void)done_with(b, result);
}

static void identity(struct backend *b) {
  const struct sim_database *db = b->db;
  PGresult *result = table_new(1, 5);
  result_set(result, 0, 0, "%s", b->on_standby ? "t" : "f");
  result_set(result, 0, 1, "%" PRIu64 "/%u/%d", db->system, db->timeline, 16384);
  result_set(result, 0, 2, "%d", b->pid);
  result_set(result, 0, 3, "%" PRId64, db->options.prepared_max);
  result_set(result, 0, 4, "assent");
  (void)done_with(b, result);
}

/* ---- prepared transactions ------------------------------------------------------------------------ */

static void look_up(struct backend *b) {
  struct sim_database *db = b->db;
  const struct prepared *p = prepared_find(db, b->current->params[0]);
  bool found = p && p->valid, ours = database_has_rights(db);
  PGresult *result = table_new(found ? 1 : 0, 4);
  if (found) {
    result_set(result, 0, 0, "%" PRIu64, p->xid);
    result_set(result, 0, 1, "%s", "assent");
    result_set(result, 0, 2, "%s", ours ? "t" : "f");
    result_set(result, 0, 3, "%s", ours ? "assent" : "another");
  }
  struct item *item = done_with(b, result);
  if (!found || !ours) return;
  item->told = p->gid;
  item->told_what = SIM_PREPARED;
}

static bool is_listed(const struct backend *b, const struct prepared *p) {
  const char *prefix = b->current->params[0];
  return p->valid && strncmp(p->gid->gid, prefix, strlen(prefix)) == 0;
}

static void list(struct backend *b) {
  const struct prepared *p;
  int count = 0, row = 0;
  DL_FOREACH(b->db->prepared, p) count += is_listed(b, p);
  PGresult *result = table_new(count, 3);
  DL_FOREACH(b->db->prepared, p) {
    if (!is_listed(b, p)) continue;
    result_set(result, row, 0, "%s", p->gid->gid);
    result_set(result, row, 1, "%" PRIu64, p->xid);
    result_set(result, row++, 2, "%" PRIu64, p->at_us);
  }
  (void)done_with(b, result);
}

static void probe(struct backend *b) {
  const struct prepared *p;
  int64_t count = 0, oldest_ms = -1;
  uint64_t now_us = sim_now_us(b->db->sim);
  DL_FOREACH(b->db->prepared, p) {
    if (!p->valid) continue;
    int64_t age_ms = (int64_t)((now_us - p->at_us) / 1000);
    if (age_ms > oldest_ms) oldest_ms = age_ms;
    count++;
  }
  PGresult *result = table_new(1, 2);
  result_set(result, 0, 0, "%" PRId64, count);
  result_set(result, 0, 1, "%" PRId64, oldest_ms);
  (void)done_with(b, result);
}

/* ---- pg_xact_status ---------------------------------------------------------------------------------- */

/* In the table of running transactions: until the end of a COMMIT's wait for its replica. */
static bool is_running(const struct sim_database *db, uint64_t xid) {
  const struct backend *b;
  const struct prepared *p;
  DL_SEARCH_SCALAR(db->backends, b, xid, xid);
  DL_SEARCH_SCALAR(db->prepared, p, xid, xid);
  return b || p;
}

/* The horizon moves up to this xid, as far as running transactions allow. */
static void forget(struct sim_database *db, uint64_t xid) {
  uint64_t horizon = db->forgotten;
  while (horizon <= xid && !is_running(db, horizon))
    horizon++;
  db->forgotten = horizon;
}

static void status(struct backend *b) {
  struct sim_database *db = b->db;
  uint64_t xid = strtoull(b->current->params[0], NULL, 10);
  if (xid >= db->next_xid) {
    backend_answer_error(b, "22023", "transaction ID is in the future");
    backend_done(b);
    return;
  }
  if (sim_fault(db->sim, SIM_STATUS_FORGOTTEN, db->name)) forget(db, xid);
  PGresult *result = table_new(1, 1);
  const struct xact *xact = xid >= XID_FIRST ? xact_of(db, xid) : NULL;
  bool committed = false;
  if (xact && xid >= db->forgotten) {
    bool running = is_running(db, xid);
    committed = !running && xact->state == XACT_COMMITTED;
    result_set(result, 0, 0, "%s", running ? "in progress" : committed ? "committed" : "aborted");
  }
  struct item *item = done_with(b, result);
  if (!committed) return;
  item->told = xact->gid;
  item->told_what = SIM_COMMITTED;
}

/* ---- the barrier --------------------------------------------------------------------------------- */

static void barrier(struct backend *b) {
  if (b->xid == 0) b->xid = xid_assign(b->db, NULL);
  (void)wal_append(b->db, RECORD_MESSAGE, b->xid);
  done_number(b, 0);
}

/* ---- other sessions --------------------------------------------------------------------------------- */

static bool is_other(const struct backend *b, const struct backend *other) {
  const char *prefix = b->current->params[0];
  return other != b && strncmp(other->application, prefix, strlen(prefix)) == 0 &&
         strcmp(other->application, b->current->params[1]) != 0;
}

static int64_t count_others(const struct backend *b) {
  const struct backend *other;
  int64_t count = 0;
  DL_FOREACH(b->db->backends, other) count += is_other(b, other);
  return count;
}

static int64_t terminate_others(struct backend *b) {
  int64_t count = 0;
  struct backend *other = b->db->backends;
  while (other) {
    if (is_other(b, other) && !other->terminating) {
      count++;
      backend_terminate(other);
      other = b->db->backends; /* whoever else that has ended */
    } else {
      other = other->next;
    }
  }
  return count;
}

static void tell_others(struct backend *b) {
  done_number(b, count_others(b));
}

static void terminate_and_wait(struct backend *b) {
  (void)terminate_others(b);
  int64_t others = count_others(b);
  if (others == 0) {
    done_number(b, 0);
    return;
  }
  uint64_t wait_us = strtoull(b->current->params[2], NULL, 10) * 1000 * (uint64_t)others;
  backend_wait_for(b, WAIT_TERMINATION, wait_us, tell_others);
}

void ask_backend_gone(struct sim_database *db) {
  struct backend *b;
  DL_FOREACH(db->backends, b)
  if (b->wait == WAIT_TERMINATION && count_others(b) == 0)
    backend_wait_for(b, WAIT_TERMINATION, 1, tell_others);
}

static void cancel(struct backend *b) {
  struct backend *other = backend_find(b->db, atoi(b->current->params[0]));
  if (other && other != b) backend_cancel(other);
  done_number(b, other != NULL);
}

/* ---- the epoch's claim -------------------------------------------------------------------------------- */

static const struct epoch_claim *find_claim(const struct sim_database *db, const char *cluster) {
  for (size_t i = 0; i < db->claim_count; i++)
    if (strcmp(db->claims[i].cluster.text, cluster) == 0) return &db->claims[i];
  return NULL;
}

static void look_for_table(struct backend *b) {
  PGresult *result = table_new(1, 2);
  if (b->db->has_schema) {
    result_set(result, 0, 0, "assent.coordinator");
    result_set(result, 0, 1, "assent");
  }
  (void)done_with(b, result);
}

static void refuse(struct backend *b, const char *sqlstate, const char *text) {
  backend_answer_error(b, sqlstate, text);
  backend_done(b);
}

static void create_schema(struct backend *b) {
  if (!database_keeps_claims(b->db))
    refuse(b, "42501", "permission denied for database");
  else if (b->db->has_schema)
    refuse(b, "42P06", "schema \"assent\" already exists");
  else {
    backend_answer_ok(b, "CREATE SCHEMA");
    backend_done(b);
  }
}

static void create_table(struct backend *b) {
  if (b->db->has_schema) {
    refuse(b, "42P07", "relation \"coordinator\" already exists");
    return;
  }
  (void)wal_append(b->db, RECORD_SCHEMA, b->xid);
  backend_answer_ok(b, "CREATE TABLE");
  backend_done(b);
}

/* The row's lock is had. */
static void write_claim(struct backend *b) {
  struct epoch_claim claim = {.epoch = strtoull(b->current->params[1], NULL, 10)};
  bool parsed = cluster_id_parse(b->current->params[0], &claim.cluster);
  assert(parsed && strlen(b->current->params[2]) < sizeof claim.run_id);
  memcpy(claim.run_id, b->current->params[2], sizeof claim.run_id - 1);
  const struct epoch_claim *known = find_claim(b->db, claim.cluster.text);
  bool granted = !known || known->epoch < claim.epoch ||
                 (known->epoch == claim.epoch && strcmp(known->run_id, claim.run_id) == 0);
  PGresult *result = table_new(granted ? 1 : 0, 1);
  if (granted) {
    struct epoch_claim *copy = model_allocate(sizeof *copy);
    *copy = claim;
    wal_append(b->db, RECORD_CLAIM, b->xid)->claim = copy;
    result_set(result, 0, 0, "%" PRIu64, claim.epoch);
  }
  (void)done_with(b, result);
}

static void take_claims(struct backend *b, backend_fn then) {
  if (b->xid == 0) b->xid = xid_assign(b->db, NULL);
  lock_take(b, LOCK_CLAIMS, then);
}

static void begin_write_claim(struct backend *b) {
  if (!b->db->has_schema)
    refuse(b, "42P01", "relation \"assent.coordinator\" does not exist");
  else if (!database_keeps_claims(b->db))
    refuse(b, "42501", "permission denied for table coordinator");
  else
    take_claims(b, write_claim);
}

static void read_claim(struct backend *b) {
  const struct epoch_claim *claim = find_claim(b->db, b->current->params[0]);
  PGresult *result = table_new(claim ? 1 : 0, 1);
  if (claim) result_set(result, 0, 0, "%" PRIu64, claim->epoch);
  (void)done_with(b, result);
}

/* ---- all ------------------------------------------------------------------------------------------------ */

static void set_synchronous(struct backend *b) {
  (void)done_with(b, table_new(0, 1));
}

static void terminate(struct backend *b) {
  done_number(b, terminate_others(b));
}

static void begin_create_schema(struct backend *b) {
  take_claims(b, create_schema);
}

static void begin_create_table(struct backend *b) {
  take_claims(b, create_table);
}

static const backend_fn commands[COMMAND_COUNT] = {
    [COMMAND_SET_SYNCHRONOUS] = set_synchronous,
    [COMMAND_BARRIER] = barrier,
    [COMMAND_IDENTITY] = identity,
    [COMMAND_LOOK_UP] = look_up,
    [COMMAND_STATUS] = status,
    [COMMAND_LIST] = list,
    [COMMAND_CANCEL] = cancel,
    [COMMAND_TERMINATE] = terminate,
    [COMMAND_TERMINATE_WAIT] = terminate_and_wait,
    [COMMAND_COUNT_OTHERS] = tell_others,
    [COMMAND_PROBE] = probe,
    [COMMAND_CLAIM_LOOK] = look_for_table,
    [COMMAND_CREATE_SCHEMA] = begin_create_schema,
    [COMMAND_CREATE_TABLE] = begin_create_table,
    [COMMAND_CLAIM_WRITE] = begin_write_claim,
    [COMMAND_CLAIM_READ] = read_claim,
};

backend_fn ask_command(enum command_kind kind) {
  assert(commands[kind]);
  return commands[kind];
}
