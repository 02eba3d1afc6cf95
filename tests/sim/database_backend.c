/* A session's process in the server. Commands come in packets, are done one after the other, and
 * their answers leave at each Sync, as PostgreSQL's do.
 *
 * Invariants:
 *  1. While it waits, `wait` says for what, and `event` is the one event of the wait.
 *  2. It outlives its client: what is in its inbox, or on the way to it, may still be done
 *     (BACKEND_LINGERS). It ends when it finds no more input and knows that its client has gone; when it
 *     is terminated; or when the server dies.
 *  3. Flushing cannot be interrupted; waiting for a replica can, and then what was to be replicated
 *     has happened all the same.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "tests/sim/database_internal.h"
#include "tests/sim/sim_run.h"

enum {
  CUT_COMMITTED_WEIGHT = 8,
  END_OF_IDLE_WEIGHT = 60,
  END_LATE_MIN_US = 100000,
  END_LATE_MAX_US = 8000000
};

static void run(struct backend *b);

/* ---- answers ----------------------------------------------------------------------------------- */

static struct item *put_item(struct backend *b, PGresult *result, enum item_kind kind) {
  struct item *item = model_allocate(sizeof *item);
  item->kind = kind;
  item->result = result;
  DL_APPEND(b->output, item);
  return item;
}

void items_free(struct item *items) {
  struct item *item, *next;
  DL_FOREACH_SAFE(items, item, next) {
    PQclear(item->result);
    free(item);
  }
}

static void put_notice(struct backend *b, const char *severity, const char *sqlstate,
                       const char *text) {
  PGresult *notice = result_new(PGRES_NONFATAL_ERROR, "");
  result_set_error(notice, severity, sqlstate, text);
  put_item(b, notice, ITEM_NOTICE);
}

struct item *backend_answer(struct backend *b, PGresult *result) {
  if (b->warn) put_notice(b, "WARNING", "01000", "canceling wait for synchronous replication");
  b->warn = false;
  struct item *item = put_item(b, result, ITEM_RESULT);
  put_item(b, NULL, ITEM_END);
  return item;
}

void backend_answer_row(struct backend *b, PGresult *row) {
  put_item(b, row, ITEM_RESULT);
}

void backend_answer_ok(struct backend *b, const char *tag) {
  (void)backend_answer(b, result_new(PGRES_COMMAND_OK, tag));
}

void backend_answer_error(struct backend *b, const char *sqlstate, const char *text) {
  PGresult *result = result_new(PGRES_FATAL_ERROR, "");
  result_set_error(result, "ERROR", sqlstate, text);
  b->warn = false;
  (void)backend_answer(b, result);
  b->skip = true;
  if (b->tx != TX_OPEN) return;
  backend_rollback(b);
  b->tx = TX_FAILED;
}

/* That a branch has committed is rather lost than another answer: it is asked for until it comes. */
static unsigned cut_weight(const struct item *items) {
  const struct item *item;
  DL_FOREACH(items, item) {
    if (item->told && item->told_what == SIM_COMMITTED) return CUT_COMMITTED_WEIGHT;
  }
  return 1;
}

static void send(struct backend *b) {
  struct item *items = b->output;
  b->output = NULL;
  if (!items) return;
  if (!b->conn) {
    items_free(items);
  } else if (sim_fault_often(b->db->sim, SIM_SESSION_CUT_AFTER, cut_weight(items),
                             b->application)) {
    PGconn *conn = b->conn;
    items_free(items);
    backend_orphan(b, true);
    conn_end(conn, database_latency_us(b->db));
  } else {
    conn_deliver(b->conn, items);
  }
}

/* ---- life -------------------------------------------------------------------------------------- */

struct backend *backend_new(struct sim_database *db, PGconn *conn, const char *application) {
  struct backend *b = model_allocate(sizeof *b);
  b->db = db;
  b->conn = conn;
  b->pid = db->next_pid++;
  (void)snprintf(b->application, sizeof b->application, "%s", application);
  DL_APPEND(db->backends, b);
  return b;
}

static void drop_packet(struct packet *packet) {
  DL_DELETE(packet->backend->packets, packet);
  sim_cancel(packet->event);
  commands_free(packet->commands);
  free(packet);
}

static void drop_input(struct backend *b) {
  while (b->packets)
    drop_packet(b->packets);
  commands_free(b->inbox);
  b->inbox = NULL;
}

void backend_free(struct backend *b) {
  lock_abandon(b);
  sim_cancel(b->event);
  sim_cancel(b->end);
  sim_cancel(b->idle);
  sim_cancel(b->deadlock);
  drop_input(b);
  items_free(b->output);
  free(b->current);
  DL_DELETE(b->db->backends, b);
  free(b);
}

/* Its client hears of it; or, for a while, of nothing: what is between them has lost the connection. */
static void say_goodbye(struct backend *b) {
  struct sim *sim = b->db->sim;
  unsigned weight = b->idled ? END_OF_IDLE_WEIGHT : 1;
  uint64_t late_us = 0;
  if (b->conn && sim_fault_often(sim, SIM_SESSION_END_LATE, weight, b->application)) {
    items_free(b->output);
    b->output = NULL;
    late_us = sim_between(sim, END_LATE_MIN_US, END_LATE_MAX_US);
  }
  send(b);
  if (b->conn) conn_end(b->conn, late_us + database_latency_us(b->db));
}

/* Ends by itself: its transaction is rolled back, and the client, if any, hears of it. */
static void leave(struct backend *b) {
  struct sim_database *db = b->db;
  void (*done)(void *, bool) = b->done;
  void *data = b->done_data;
  bool well = b->done_well;
  lock_abandon(b);
  backend_sleep(b, WAIT_INPUT);
  if (b->tx == TX_OPEN) backend_rollback(b);
  b->tx = TX_NONE;
  say_goodbye(b);
  backend_free(b);
  ask_backend_gone(db);
  if (done) done(data, well);
}

static void die(struct backend *b, const char *sqlstate, const char *text) {
  if (b->current) {
    PGresult *result = result_new(PGRES_FATAL_ERROR, "");
    result_set_error(result, "FATAL", sqlstate, text);
    (void)backend_answer(b, result);
  } else {
    put_notice(b, "FATAL", sqlstate, text);
  }
  leave(b);
}

static void die_by_administrator(struct backend *b) {
  die(b, "57P01", "terminating connection due to administrator command");
}

struct backend *backend_find(const struct sim_database *db, int pid) {
  struct backend *b;
  DL_SEARCH_SCALAR(db->backends, b, pid, pid);
  return b;
}

/* ---- transactions ------------------------------------------------------------------------------ */

/* The state of the transaction block is for the caller to say. */
void backend_rollback(struct backend *b) {
  struct sim_database *db = b->db;
  if (b->gid) b->gid->open--;
  if (b->xid) {
    (void)wal_append(db, RECORD_ABORT, b->xid);
    xact_end(db, b->xid, false);
    xact_leave(db, b->xid, false);
    if (b->gid) database_tell(db, b->gid, b->xid, SIM_ABORTED);
  }
  b->xid = 0;
  b->gid = NULL;
}

static void on_idle_too_long(void *data) {
  struct backend *b = data;
  b->idle = NULL;
  if (b->wait != WAIT_INPUT) return;
  b->idled = true;
  die(b, "25P03", "terminating connection due to idle-in-transaction timeout");
}

static void sync(struct backend *b) {
  static const PGTransactionStatusType status[] = {
      [TX_NONE] = PQTRANS_IDLE, [TX_OPEN] = PQTRANS_INTRANS, [TX_FAILED] = PQTRANS_INERROR};
  put_item(b, NULL, ITEM_SYNC)->status = status[b->tx];
  b->skip = false;
  b->cancelled = false;
  if (b->tx == TX_NONE) b->timeouts = b->timeouts_at_reset;
  if (b->tx != TX_NONE && b->timeouts.idle_ms > 0 && !b->inbox)
    b->idle =
        sim_after(b->db->sim, NULL, (uint64_t)b->timeouts.idle_ms * 1000, on_idle_too_long, b);
  send(b);
}

/* ---- waiting ----------------------------------------------------------------------------------- */

uint64_t backend_statement_left_us(const struct backend *b) {
  if (b->timeouts.statement_ms <= 0) return UINT64_MAX;
  uint64_t end_us = b->started_us + (uint64_t)b->timeouts.statement_ms * 1000;
  uint64_t now_us = sim_now_us(b->db->sim);
  return end_us > now_us ? end_us - now_us : 0;
}

static void on_wait_over(void *data) {
  struct backend *b = data;
  b->event = NULL;
  backend_wake(b);
}

void backend_sleep(struct backend *b, enum backend_wait wait) {
  sim_cancel(b->event);
  b->event = NULL;
  b->wait = wait;
}

void backend_wait_for(struct backend *b, enum backend_wait wait, uint64_t delay_us,
                      backend_fn then) {
  backend_sleep(b, wait);
  b->then = then;
  b->event = sim_after(b->db->sim, NULL, delay_us, on_wait_over, b);
}

void backend_wake(struct backend *b) {
  backend_fn then = b->then;
  backend_sleep(b, WAIT_INPUT);
  if (then) then(b);
  if (b->wait == WAIT_INPUT) run(b);
}

/* ---- commands ---------------------------------------------------------------------------------- */

void backend_done(struct backend *b) {
  free(b->current);
  b->current = NULL;
}

static void do_command(struct backend *b) {
  sim_cancel(b->idle);
  b->idle = NULL;
  b->current = b->inbox;
  DL_DELETE(b->inbox, b->current);
  b->started_us = sim_now_us(b->db->sim);
  if (b->current->kind == COMMAND_SYNC) {
    sync(b);
    backend_done(b);
  } else if (b->skip) {
    (void)backend_answer(b, result_new(PGRES_PIPELINE_ABORTED, ""));
    backend_done(b);
  } else if (b->cancelled) {
    b->cancelled = false;
    backend_answer_error(b, "57014", "canceling statement due to user request");
    backend_done(b);
  } else {
    backend_execute(b);
  }
}

/* Does what there is, until there is nothing or something has to be waited for. */
static void run(struct backend *b) {
  while (b->wait == WAIT_INPUT) {
    if (b->terminating) {
      die_by_administrator(b);
      return;
    }
    if (!b->inbox) {
      if (b->gone) leave(b);
      return;
    }
    do_command(b);
    if (b->wait == WAIT_INPUT && b->inbox && sim_random(b->db->sim, 8) == 0)
      backend_wait_for(b, WAIT_TURN, sim_between(b->db->sim, 5, 80), NULL);
  }
}

/* ---- input ------------------------------------------------------------------------------------- */

static bool ends_work(const struct command *commands) {
  static const bool ends[COMMAND_COUNT] = {[COMMAND_XID] = true,
                                           [COMMAND_XID_READY] = true,
                                           [COMMAND_PREPARE] = true,
                                           [COMMAND_COMMIT] = true,
                                           [COMMAND_ROLLBACK] = true,
                                           [COMMAND_COMMIT_PREPARED] = true,
                                           [COMMAND_ROLLBACK_PREPARED] = true};
  const struct command *command;
  DL_FOREACH(commands, command) {
    if (ends[command->kind]) return true;
  }
  return false;
}

static void on_arrival(void *data) {
  struct packet *packet = data;
  struct backend *b = packet->backend;
  packet->event = NULL;
  DL_CONCAT(b->inbox, packet->commands);
  packet->commands = NULL;
  drop_packet(packet);
  if (b->wait != WAIT_INPUT) return;
  uint64_t delay_us = sim_between(b->db->sim, 10, 120);
  if (sim_fault(b->db->sim, SIM_DATABASE_SLOW, b->application))
    delay_us += sim_between(b->db->sim, 100000, 7000000);
  if (b->db->stalled_until_us > sim_now_us(b->db->sim) && ends_work(b->inbox))
    delay_us += b->db->stalled_until_us - sim_now_us(b->db->sim);
  backend_wait_for(b, WAIT_TURN, delay_us, NULL);
}

static void schedule(struct packet *packet, uint64_t delay_us) {
  struct backend *b = packet->backend;
  uint64_t at_us = sim_now_us(b->db->sim) + delay_us;
  if (packet != b->packets && packet->prev->at_us > at_us)
    at_us = packet->prev->at_us; /* one connection keeps its order */
  packet->at_us = at_us;
  sim_cancel(packet->event);
  packet->event = sim_after(b->db->sim, NULL, at_us - sim_now_us(b->db->sim), on_arrival, packet);
}

void backend_post(struct backend *b, struct command *commands) {
  struct packet *packet = model_allocate(sizeof *packet);
  packet->backend = b;
  packet->commands = commands;
  DL_APPEND(b->packets, packet);
  schedule(packet, database_latency_us(b->db));
}

/* ---- the end of its client ---------------------------------------------------------------------- */

static void on_end_noticed(void *data) {
  struct backend *b = data;
  b->end = NULL;
  b->gone = true;
  if (b->wait == WAIT_INPUT) run(b);
}

void backend_orphan(struct backend *b, bool lossy) {
  struct sim *sim = b->db->sim;
  b->conn = NULL;
  uint64_t notice_us = database_latency_us(b->db);
  struct packet *packet;
  if (sim_fault(sim, SIM_BACKEND_LINGERS, b->application)) {
    uint64_t late_us = sim_random(sim, 2) ? sim_between(sim, 0, 3000000) : 0;
    notice_us += late_us + sim_between(sim, 0, 4000000);
    DL_FOREACH(b->packets, packet) schedule(packet, late_us);
  } else if (lossy && sim_random(sim, 2) == 0) {
    while (b->packets)
      drop_packet(b->packets);
  }
  if (b->packets) {
    uint64_t last_us = b->packets->prev->at_us - sim_now_us(sim);
    if (notice_us < last_us) notice_us = last_us;
  }
  b->end = sim_after(sim, NULL, notice_us, on_end_noticed, b);
}

/* ---- from other sessions ----------------------------------------------------------------------- */

void backend_cancel(struct backend *b) {
  switch (b->wait) {
  case WAIT_TURN: b->cancelled = b->inbox != NULL; break;
  case WAIT_LOCK:
    if (b->lock_granted) break;
    lock_abandon(b);
    backend_answer_error(b, "57014", "canceling statement due to user request");
    backend_done(b);
    backend_wait_for(b, WAIT_TURN, 1, NULL);
    break;
  case WAIT_REPLICA: backend_wait_for(b, WAIT_REPLICA, 1, b->then); break;
  case WAIT_TERMINATION:
  case WAIT_INPUT: /* nothing runs */
  case WAIT_FLUSH: break;
  }
}

void backend_terminate(struct backend *b) {
  b->terminating = true;
  if (b->wait == WAIT_REPLICA) {
    if (b->conn) { /* nothing is said to the client any more, but that it has ended */
      PGconn *conn = b->conn;
      b->conn = NULL;
      conn_end(conn, database_latency_us(b->db));
    }
    backend_wake(b);
  } else if (b->wait != WAIT_FLUSH) {
    die_by_administrator(b);
  }
}
