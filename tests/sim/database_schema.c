/* Schema assent: the epoch's claim, the rows that branches leave when they commit, and what a survey
 * reads of both. One lock stands for the rows of assent.coordinator and of assent.outcome_kept; a row of
 * assent.outcome has one of its own from the moment that somebody is about to write it.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "tests/sim/database_internal.h"

static void done_with(struct backend *b, PGresult *result) {
  (void)backend_answer(b, result);
  backend_done(b);
}

static void done_ok(struct backend *b, const char *tag) {
  backend_answer_ok(b, tag);
  backend_done(b);
}

static void refuse(struct backend *b, const char *sqlstate, const char *text) {
  backend_answer_error(b, sqlstate, text);
  backend_done(b);
}

/* Somebody changes something there: one after the other. */
static void take_schema(struct backend *b, backend_fn then) {
  if (b->xid == 0) b->xid = xid_assign(b->db, NULL);
  lock_take(b, LOCK_CLAIMS, then);
}

/* ---- the tables ---------------------------------------------------------------------------------- */

static void look(struct backend *b) {
  const struct sim_database *db = b->db;
  bool claims = b->current->kind == COMMAND_CLAIM_LOOK;
  PGresult *result = result_table(1, claims ? 3 : 2);
  if (db->has_schema) result_set(result, 0, 0, "16400");
  if (db->has_schema && claims) result_set(result, 0, 1, "16401");
  if (db->has_rows) result_set(result, 0, claims ? 2 : 1, "assent.outcome_kept");
  done_with(b, result);
}

static void create_schema(struct backend *b) {
  if (!database_keeps_claims(b->db))
    refuse(b, "42501", "permission denied for database");
  else if (b->db->has_schema)
    refuse(b, "42P06", "schema \"assent\" already exists");
  else
    done_ok(b, "CREATE SCHEMA");
}

static void create_table(struct backend *b) {
  if (b->db->has_schema) {
    refuse(b, "42P07", "relation \"coordinator\" already exists");
    return;
  }
  (void)wal_append(b->db, RECORD_SCHEMA, b->xid);
  done_ok(b, "CREATE TABLE");
}

static void create_rows(struct backend *b) {
  /* In a schema of one's own making nothing is forbidden. */
  if (b->db->has_schema && !database_keeps_claims(b->db)) {
    refuse(b, "42501", "permission denied for schema assent");
  } else if (b->db->has_rows) {
    refuse(b, "42P07", "relation \"outcome\" already exists");
  } else {
    if (b->current->kind == COMMAND_CREATE_KEPT) (void)wal_append(b->db, RECORD_KEPT, b->xid);
    done_ok(b, "CREATE TABLE");
  }
}

static void create(struct backend *b) {
  enum command_kind kind = b->current->kind;
  take_schema(b, kind == COMMAND_CREATE_SCHEMA  ? create_schema
                 : kind == COMMAND_CREATE_TABLE ? create_table
                                                : create_rows);
}

/* ---- the claim ----------------------------------------------------------------------------------- */

static struct life_known *find_life(struct sim_database *db, const char *cluster) {
  for (size_t i = 0; i < db->life_count; i++)
    if (strcmp(db->lives[i].claim.cluster.text, cluster) == 0) return &db->lives[i];
  return NULL;
}

static struct epoch_claim claim_of(const struct command *command) {
  struct epoch_claim claim = {.epoch = strtoull(command->params[1], NULL, 10),
                              .after_epoch = strtoull(command->params[3], NULL, 10),
                              .former_epoch = strtoull(command->params[5], NULL, 10)};
  bool parsed = cluster_id_parse(command->params[0], &claim.cluster);
  assert(parsed);
  (void)snprintf(claim.run_id, sizeof claim.run_id, "%.*s", RUN_ID_SIZE - 1, command->params[2]);
  (void)snprintf(claim.after_run_id, sizeof claim.after_run_id, "%.*s", RUN_ID_SIZE - 1,
                 command->params[4]);
  return claim;
}

static bool may_follow(const struct epoch_claim *known, const struct epoch_claim *claim) {
  if (known->epoch == claim->epoch) return strcmp(known->run_id, claim->run_id) == 0;
  if (known->epoch > claim->epoch) return false;
  return known->epoch < claim->after_epoch ||
         (known->epoch == claim->after_epoch && strcmp(known->run_id, claim->after_run_id) == 0);
}

/* Rows are left from this claim on, or no more. */
static void claim_rows(struct life_known *life, enum command_kind kind, uint64_t former) {
  uint64_t epoch = life->claim.epoch;
  if (kind == COMMAND_CLAIM_WRITE_ROWS_BEGIN && (!life->kept || life->kept_before)) {
    life->kept = true;
    life->kept_from = former < epoch && life->claim.former_epoch < epoch ? epoch : epoch + 1;
    life->kept_before = 0;
  } else if (kind == COMMAND_CLAIM_WRITE_ROWS_END && life->kept && !life->kept_before) {
    life->kept_before = epoch;
  }
}

/* The row's lock is had; `number` is the epoch that was to be seen when the statement began. */
static void write_claim(struct backend *b) {
  const struct command *command = b->current;
  struct epoch_claim claim = claim_of(command);
  const struct life_known *known = find_life(b->db, claim.cluster.text);
  bool granted = command->overwrites || !known || may_follow(&known->claim, &claim);
  PGresult *result = result_table(granted ? 1 : 0, 2);
  if (granted) {
    struct life_known *life = model_allocate(sizeof *life);
    if (known) *life = *known;
    life->claim = claim;
    claim_rows(life, command->kind, (uint64_t)command->number);
    wal_append(b->db, RECORD_CLAIM, b->xid)->life = life;
    result_set(result, 0, 0, "%" PRId64, command->number);
    result_set(result, 0, 1, "%s", "");
  }
  done_with(b, result);
}

static void begin_write_claim(struct backend *b) {
  struct sim_database *db = b->db;
  bool rows = b->current->kind != COMMAND_CLAIM_WRITE;
  if (!db->has_schema || (rows && !db->has_rows)) {
    refuse(b, "42P01", "relation in schema assent does not exist");
  } else if (!database_keeps_claims(db)) {
    refuse(b, "42501", "permission denied for table coordinator");
  } else {
    const struct life_known *former = find_life(db, b->current->params[0]);
    b->current->number = former ? (int64_t)former->claim.epoch : 0;
    take_schema(b, write_claim);
  }
}

static void read_claim(struct backend *b) {
  const struct life_known *life = find_life(b->db, b->current->params[0]);
  PGresult *result = result_table(life ? 1 : 0, 2);
  if (life) {
    result_set(result, 0, 0, "%" PRIu64, life->claim.epoch);
    result_set(result, 0, 1, "%s", life->claim.run_id);
  }
  done_with(b, result);
}

/* ---- rows of branches ------------------------------------------------------------------------------ */

static struct row *row_of(struct sim_database *db, const struct command *command) {
  struct row *row;
  char key[sizeof row->key];
  (void)snprintf(key, sizeof key, "%.*s/%u", TXID_SIZE - 1, command->params[0],
                 (unsigned)command->number);
  HASH_FIND_STR(db->rows, key, row);
  if (row) return row;
  row = model_allocate(sizeof *row);
  memcpy(row->key, key, sizeof key);
  row->lock = lock_new(db);
  HASH_ADD_STR(db->rows, key, row);
  return row;
}

static bool is_before(const struct row *row, const char *txid) {
  return strncmp(row->key, txid, TXID_SIZE - 1) < 0;
}

static void leave_row(struct backend *b) {
  struct row *row = row_of(b->db, b->current);
  if (row->there) {
    refuse(b, "23505", "duplicate key value violates unique constraint \"outcome_pkey\"");
    return;
  }
  wal_append(b->db, RECORD_ROW, b->xid)->row = row;
  done_ok(b, "DO");
}

static void begin_leave_row(struct backend *b) {
  if (b->xid == 0)
    done_ok(b, "DO");
  else if (!b->db->has_rows)
    refuse(b, "42P01", "relation \"assent.outcome\" does not exist");
  else
    lock_take(b, row_of(b->db, b->current)->lock, leave_row);
}

bool row_is_left(const struct sim_database *db, uint64_t xid) {
  for (size_t at = xact_of(db, xid)->last; at; at = db->records[at - 1].previous)
    if (db->records[at - 1].kind == RECORD_ROW) return true;
  return false;
}

static bool is_prepared_and_committed(const struct sim_database *db, uint64_t xid) {
  const struct xact *xact = xact_of(db, xid);
  if (xact->state != XACT_COMMITTED) return false;
  for (size_t at = xact->last; at; at = db->records[at - 1].previous)
    if (db->records[at - 1].kind == RECORD_PREPARE) return true;
  return false;
}

bool sim_database_lacks_row(const struct sim_database *db, const char *text) {
  const struct gid_entry *entry;
  const struct life_known *life = NULL;
  struct gid gid;
  HASH_FIND_STR(db->gids, text, entry);
  if (!entry || !gid_parse(text, &gid)) return false;
  for (size_t i = 0; i < db->life_count; i++)
    if (strcmp(db->lives[i].claim.cluster.text, gid.cluster.text) == 0) life = &db->lives[i];
  if (!life || !life->kept || gid.epoch < life->kept_from) return false;
  if (life->kept_before && gid.epoch >= life->kept_before) return false;
  if (strcmp(gid.txid.text, life->removed_before) < 0) return false;
  for (uint64_t xid = entry->newest; xid; xid = xact_of(db, xid)->sibling)
    if (is_prepared_and_committed(db, xid) && sim_database_wrote(db, text) && !row_is_left(db, xid))
      return true;
  return false;
}

/* The statement is a transaction of its own. */
static void forgotten(struct backend *b) {
  xact_leave(b->db, b->xid, true);
  b->xid = 0;
  b->tx = TX_NONE;
  done_ok(b, "DELETE");
}

static void forget_flushed(struct backend *b) {
  xact_end(b->db, b->xid, true);
}

static void forget(struct backend *b) {
  struct record *record = wal_append(b->db, RECORD_FORGET, b->xid);
  (void)snprintf(record->before, sizeof record->before, "%.*s", TXID_SIZE - 1,
                 b->current->params[0]);
  (void)wal_append(b->db, RECORD_COMMIT, b->xid);
  wal_make_durable(b, forget_flushed, forgotten);
}

static void begin_forget(struct backend *b) {
  assert(b->tx == TX_NONE);
  if (!b->db->has_rows) {
    refuse(b, "42P01", "relation \"assent.outcome_kept\" does not exist");
    return;
  }
  b->tx = TX_OPEN;
  take_schema(b, forget);
}

/* ---- surveys ----------------------------------------------------------------------------------------- */

static void tell_lives(struct backend *b) {
  const struct sim_database *db = b->db;
  PGresult *result = result_table((int)db->life_count, 6);
  for (size_t i = 0; i < db->life_count; i++) {
    const struct life_known *life = &db->lives[i];
    int row = (int)i;
    result_set(result, row, 0, "%s", life->claim.cluster.text);
    result_set(result, row, 1, "%" PRIu64, life->claim.epoch);
    result_set(result, row, 2, "%s", life->claim.run_id);
    result_set(result, row, 3, "%" PRIu64, life->kept ? life->kept_from : 0);
    result_set(result, row, 4, "%s", life->removed_before);
    result_set(result, row, 5, "%" PRIu64, life->kept_before);
  }
  done_with(b, result);
}

static bool is_asked_for(const struct backend *b, const struct row *row) {
  char txid[TXID_SIZE];
  (void)snprintf(txid, sizeof txid, "%.*s", TXID_SIZE - 1, row->key);
  return row->there && strstr(b->current->params[0], txid);
}

/* A row for each branch: the client takes them as a set. */
static void tell_rows(struct backend *b) {
  const struct row *row, *next;
  int count = 0, at = 0;
  HASH_ITER(hh, b->db->rows, row, next)
  count += is_asked_for(b, row);
  PGresult *result = result_table(count, 1);
  HASH_ITER(hh, b->db->rows, row, next)
  if (is_asked_for(b, row)) result_set(result, at++, 0, "%.*s", TXID_SIZE - 1, row->key);
  done_with(b, result);
}

/* ---- the state ----------------------------------------------------------------------------------------- */

static void apply_claim(struct sim_database *db, const struct life_known *life) {
  struct life_known *known = find_life(db, life->claim.cluster.text);
  if (!known) known = &db->lives[db->life_count++];
  assert(db->life_count <= CLAIMS_MAX);
  *known = *life;
}

static void apply_forget(struct sim_database *db, const char *before) {
  struct row *row, *next;
  for (size_t i = 0; i < db->life_count; i++) {
    struct life_known *life = &db->lives[i];
    if (life->kept && strcmp(life->removed_before, before) < 0)
      memcpy(life->removed_before, before, sizeof life->removed_before);
  }
  HASH_ITER(hh, db->rows, row, next)
  if (is_before(row, before)) row->there = false;
}

void schema_apply(struct sim_database *db, const struct record *record) {
  switch (record->kind) {
  case RECORD_SCHEMA: db->has_schema = true; return;
  case RECORD_KEPT: db->has_rows = true; return;
  case RECORD_CLAIM: apply_claim(db, record->life); return;
  case RECORD_ROW: record->row->there = true; return;
  case RECORD_FORGET: apply_forget(db, record->before); return;
  case RECORD_CHANGE:
  case RECORD_MESSAGE:
  case RECORD_PREPARE:
  case RECORD_COMMIT:
  case RECORD_ABORT: return;
  }
}

void schema_reset(struct sim_database *db) {
  struct row *row, *next;
  db->has_schema = db->has_rows = false;
  db->life_count = 0;
  HASH_ITER(hh, db->rows, row, next)
  row->there = false;
}

void rows_free(struct sim_database *db) {
  struct row *row, *next;
  HASH_ITER(hh, db->rows, row, next) {
    HASH_DEL(db->rows, row);
    free(row);
  }
}

static const backend_fn commands[COMMAND_COUNT] = {
    [COMMAND_CLAIM_LOOK] = look,
    [COMMAND_SURVEY_LOOK] = look,
    [COMMAND_CREATE_SCHEMA] = create,
    [COMMAND_CREATE_TABLE] = create,
    [COMMAND_CREATE_ROWS] = create,
    [COMMAND_CREATE_KEPT] = create,
    [COMMAND_CLAIM_WRITE] = begin_write_claim,
    [COMMAND_CLAIM_WRITE_ROWS_BEGIN] = begin_write_claim,
    [COMMAND_CLAIM_WRITE_ROWS_END] = begin_write_claim,
    [COMMAND_CLAIM_READ] = read_claim,
    [COMMAND_LEAVE_ROW] = begin_leave_row,
    [COMMAND_LIVES] = tell_lives,
    [COMMAND_ROWS] = tell_rows,
    [COMMAND_FORGET_ROWS] = begin_forget,
};

backend_fn schema_command(enum command_kind kind) {
  assert(commands[kind]);
  return commands[kind];
}
