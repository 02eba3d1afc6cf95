/* The functions of libpq that the adapter calls, on the model's network. They stand in the program, so
 * the linker takes them before the library's; what only reads a connection string stays the
 * library's own.
 *
 * A connection is a number, as a descriptor would be; loop_poll_new() finds it by that. Commands go
 * out at each Sync, as libpq 15 sends them. Answers that have arrived wait in `arrived` until
 * PQconsumeInput(), as in a socket's buffer; so a process that is held finds them later.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "adapters/postgres.h"
#include "tests/sim/database_internal.h"
#include "tests/sim/process.h"

enum { FD_FIRST = 1000, SERVER_VERSION = 150018, VALUE_SIZE = 136 };

struct pg_result {
  ExecStatusType status;
  char tag[24];
  int64_t affected;
  int rows, columns;
  char (*values)[VALUE_SIZE];
  bool *set; /* not null */
  char column[24];
  Oid type;
  char severity[8], sqlstate[6], text[128];
};

/* One life of an agent. */
struct client {
  struct sim_database *db;
  struct loop *loop;
  struct adapter *adapter;
  unsigned number; /* in its connection string */
  struct client *prev, *next;
};

/* Items on their way to the client. */
struct flight {
  PGconn *conn;
  struct item *items;
  bool end;
  struct sim_event *event;
  struct flight *prev, *next;
};

struct named_text {
  unsigned number;
  char *sql;
};

struct pg_conn {
  struct client *client;
  struct sim_database *db; /* NULL: it is no more */
  int fd;
  char application[APPLICATION_SIZE];
  char label[GID_SIZE]; /* the gid of the branch it works for */
  ConnStatusType status;
  struct backend *backend; /* NULL: nobody there any more */
  struct sim_event *connecting;
  struct command *outgoing;
  struct named_text named[KEPT_MAX];
  struct flight *flights;
  uint64_t last_arrival_us;
  struct item *arrived, *items; /* in the socket; taken */
  bool ended, end_sent;
  struct model_timeouts timeouts; /* as asked for at connect */
  PGTransactionStatusType transaction;
  struct loop_poll *poll;
  PQnoticeReceiver receiver;
  void *receiver_data;
  char error[160];
  struct pg_conn *prev, *next;
};

struct loop_poll {
  PGconn *conn; /* NULL: closed */
  struct loop *loop;
  struct sim *sim;
  loop_poll_fn fn;
  void *data;
  struct sim_event *due;
};

/* Empty between runs. */
static struct client *clients;
static PGconn *conns;

/* A dead process runs on in a vacuum for a while: nothing of that leaves it. */
static bool is_severed(const PGconn *conn) {
  return loop_process(conn->client->loop)->dead;
}

/* ---- readiness ------------------------------------------------------------------------------------- */

static bool is_ready(const PGconn *conn) {
  if (conn->status == CONNECTION_STARTED) return false;
  return conn->status == CONNECTION_MADE || conn->status == CONNECTION_BAD || conn->arrived ||
         conn->ended;
}

static void poll_later(struct loop_poll *poll);

static void on_poll_due(void *data) {
  struct loop_poll *poll = data;
  poll->due = NULL;
  if (poll->conn && is_ready(poll->conn)) poll->fn(poll->data, true, false);
}

static void poll_later(struct loop_poll *poll) {
  if (poll && !poll->due && poll->conn && is_ready(poll->conn))
    poll->due = sim_after(poll->sim, poll->loop, 0, on_poll_due, poll);
}

struct loop_poll *loop_poll_new(struct loop *loop, int fd, loop_poll_fn fn, void *data) {
  PGconn *conn;
  DL_SEARCH_SCALAR(conns, conn, fd, fd);
  assert(conn && !conn->poll);
  struct loop_poll *poll = model_allocate(sizeof *poll);
  *poll = (struct loop_poll){
      .conn = conn, .loop = loop, .sim = conn->client->db->sim, .fn = fn, .data = data};
  conn->poll = poll;
  return poll;
}

/* Level-triggered: what waits already counts. */
void loop_poll_set(struct loop_poll *poll, bool readable, bool writable) {
  (void)readable;
  (void)writable;
  poll_later(poll);
}

void loop_poll_free(struct loop_poll *poll) {
  if (!poll) return;
  if (poll->conn) poll->conn->poll = NULL;
  sim_cancel(poll->due);
  free(poll);
}

/* ---- from the server --------------------------------------------------------------------------------- */

uint64_t database_latency_us(struct sim_database *db) {
  return sim_between(db->sim, 30, 300);
}

static void on_landed(void *data) {
  struct flight *flight = data;
  PGconn *conn = flight->conn;
  struct item *item;
  DL_FOREACH(flight->items, item)
  if (item->told && !is_severed(conn)) database_told(conn->db, item->told, item->told_what);
  DL_CONCAT(conn->arrived, flight->items);
  if (flight->end) conn->ended = true;
  DL_DELETE(conn->flights, flight);
  free(flight);
  poll_later(conn->poll);
}

static void fly(PGconn *conn, struct item *items, bool end, uint64_t delay_us) {
  struct sim *sim = conn->db->sim;
  uint64_t at_us = sim_now_us(sim) + delay_us;
  if (at_us < conn->last_arrival_us) at_us = conn->last_arrival_us;
  conn->last_arrival_us = at_us;
  struct flight *flight = model_allocate(sizeof *flight);
  *flight = (struct flight){.conn = conn, .items = items, .end = end};
  DL_APPEND(conn->flights, flight);
  flight->event = sim_after(sim, NULL, at_us - sim_now_us(sim), on_landed, flight);
}

void conn_deliver(PGconn *conn, struct item *items) {
  fly(conn, items, false, database_latency_us(conn->db));
}

void conn_end(PGconn *conn, uint64_t delay_us) {
  conn->backend = NULL;
  if (conn->end_sent) return;
  conn->end_sent = true;
  fly(conn, NULL, true, delay_us);
}

void conns_detach(struct sim_database *db) {
  PGconn *conn;
  DL_FOREACH(conns, conn)
  assert(conn->db != db); /* agents are freed before their databases */
}

/* ---- connecting ---------------------------------------------------------------------------------------- */

static void refuse_connection(PGconn *conn, const char *text) {
  conn->status = CONNECTION_BAD;
  (void)snprintf(conn->error, sizeof conn->error, "%s", text);
  poll_later(conn->poll);
}

static void on_connected(void *data) {
  PGconn *conn = data;
  struct sim_database *db = conn->db;
  conn->connecting = NULL;
  if (!db->up) {
    refuse_connection(conn, "connection to server failed: Connection refused");
    return;
  }
  database_make_foreign(db);
  conn->backend = backend_new(db, conn, conn->application);
  conn->backend->timeouts_at_reset = conn->backend->timeouts = conn->timeouts;
  conn->backend->on_standby =
      db->options.has_standby && sim_fault(db->sim, SIM_STANDBY_REACHED, db->name);
  conn->status = CONNECTION_MADE;
  poll_later(conn->poll);
}

static struct client *client_of(const char *dsn) {
  struct client *client;
  unsigned number = (unsigned)strtoul(dsn + strlen("dbname="), NULL, 10);
  DL_SEARCH_SCALAR(clients, client, number, number);
  assert(client);
  return client;
}

static int free_fd(void) {
  int fd = FD_FIRST;
  PGconn *conn = conns;
  while (conn) {
    bool taken = conn->fd == fd;
    if (taken) fd++;
    conn = taken ? conns : conn->next;
  }
  return fd;
}

static int64_t option_ms(const char *options, const char *name) {
  const char *at = strstr(options, name);
  assert(at && at[strlen(name)] == '=');
  return strtoll(at + strlen(name) + 1, NULL, 10);
}

static void take_options(PGconn *conn, const char *options) {
  conn->timeouts =
      (struct model_timeouts){.statement_ms = option_ms(options, "statement_timeout"),
                              .lock_ms = option_ms(options, "lock_timeout"),
                              .idle_ms = option_ms(options, "idle_in_transaction_session_timeout")};
}

PGconn *PQconnectStartParams(const char *const *keywords, const char *const *values,
                             int expand_dbname) {
  (void)expand_dbname;
  assert(strcmp(keywords[1], "application_name") == 0);
  PGconn *conn = model_allocate(sizeof *conn);
  conn->client = client_of(values[0]);
  conn->db = conn->client->db;
  conn->fd = free_fd();
  conn->status = CONNECTION_STARTED;
  (void)snprintf(conn->application, sizeof conn->application, "%s", values[1]);
  if (keywords[3] && strcmp(keywords[3], "options") == 0) take_options(conn, values[3]);
  DL_APPEND(conns, conn);
  if (is_severed(conn)) return conn;
  uint64_t delay_us = 3 * database_latency_us(conn->db);
  if (sim_fault(conn->db->sim, SIM_DATABASE_SLOW, "connect"))
    delay_us += sim_between(conn->db->sim, 100000, 7000000);
  conn->connecting = sim_after(conn->db->sim, NULL, delay_us, on_connected, conn);
  return conn;
}

PostgresPollingStatusType PQconnectPoll(PGconn *conn) {
  if (conn->status == CONNECTION_BAD) return PGRES_POLLING_FAILED;
  if (conn->status == CONNECTION_STARTED) return PGRES_POLLING_READING;
  conn->status = CONNECTION_OK;
  return PGRES_POLLING_OK;
}

ConnStatusType PQstatus(const PGconn *conn) {
  return conn->status;
}

int PQsocket(const PGconn *conn) {
  return conn->status == CONNECTION_BAD ? -1 : conn->fd;
}

int PQsetnonblocking(PGconn *conn, int arg) {
  (void)conn;
  return arg ? 0 : -1;
}

int PQenterPipelineMode(PGconn *conn) {
  return conn->status == CONNECTION_OK;
}

int PQserverVersion(const PGconn *conn) {
  return conn->status == CONNECTION_OK ? SERVER_VERSION : 0;
}

PQnoticeReceiver PQsetNoticeReceiver(PGconn *conn, PQnoticeReceiver proc, void *arg) {
  PQnoticeReceiver before = conn->receiver;
  conn->receiver = proc;
  conn->receiver_data = arg;
  return before;
}

/* The kernel sends what was written before, unless its machine dies, too. */
void PQfinish(PGconn *conn) {
  if (!conn) return;
  if (conn->backend) backend_orphan(conn->backend, is_severed(conn));
  sim_cancel(conn->connecting);
  struct flight *flight, *next;
  DL_FOREACH_SAFE(conn->flights, flight, next) {
    sim_cancel(flight->event);
    items_free(flight->items);
    free(flight);
  }
  items_free(conn->arrived);
  items_free(conn->items);
  commands_free(conn->outgoing);
  for (size_t i = 0; i < KEPT_MAX; i++)
    free(conn->named[i].sql);
  if (conn->poll) conn->poll->conn = NULL;
  DL_DELETE(conns, conn);
  free(conn);
}

/* ---- sending ---------------------------------------------------------------------------------------------- */

static void lose_connection(PGconn *conn) {
  if (conn->backend) backend_orphan(conn->backend, true);
  conn_end(conn, database_latency_us(conn->db));
}

static void send_outgoing(PGconn *conn) {
  struct command *commands = conn->outgoing;
  conn->outgoing = NULL;
  if (!commands) return;
  bool lost = is_severed(conn) || !conn->backend;
  if (!lost && sim_fault(conn->db->sim, SIM_SESSION_CUT_BEFORE, conn->application)) lost = true;
  if (!lost) {
    backend_post(conn->backend, commands);
    return;
  }
  commands_free(commands);
  if (!is_severed(conn)) lose_connection(conn);
}

static void queue_command(PGconn *conn, struct command *command) {
  if (command->kind == COMMAND_BEGIN && conn->label[0] && !is_severed(conn))
    command->gid = gid_entry(conn->db, conn->label);
  DL_APPEND(conn->outgoing, command);
}

/* The names of its parameters are the library's. */
int PQsendQueryParams(PGconn *conn, const char *command, int nParams, const Oid *paramTypes,
                      const char *const *paramValues, const int *paramLengths,
                      const int *paramFormats, int resultFormat) {
  (void)paramTypes;
  (void)paramLengths;
  (void)paramFormats;
  (void)resultFormat;
  queue_command(conn, command_parse(command, (size_t)nParams, paramValues));
  return 1;
}

static unsigned kept_number(const char *name) {
  unsigned number = 0;
  int found = sscanf(name, "assent_kept_%u", &number);
  assert(found == 1 && number > 0);
  return number;
}

static struct named_text *named(PGconn *conn, unsigned number) {
  return &conn->named[number % KEPT_MAX];
}

int PQsendPrepare(PGconn *conn, const char *stmtName, const char *query, int nParams,
                  const Oid *paramTypes) {
  (void)nParams;
  (void)paramTypes;
  struct command *parse = model_allocate(sizeof *parse);
  parse->kind = COMMAND_PARSE;
  parse->kept = kept_number(stmtName);
  struct named_text *text = named(conn, parse->kept);
  free(text->sql);
  text->number = parse->kept;
  text->sql = strdup(query);
  assert(text->sql);
  queue_command(conn, parse);
  return 1;
}

int PQsendQueryPrepared(PGconn *conn, const char *stmtName, int nParams,
                        const char *const *paramValues, const int *paramLengths,
                        const int *paramFormats, int resultFormat) {
  (void)paramLengths;
  (void)paramFormats;
  (void)resultFormat;
  unsigned number = kept_number(stmtName);
  const struct named_text *text = named(conn, number);
  assert(text->number == number);
  struct command *command = command_parse(text->sql, (size_t)nParams, paramValues);
  command->kept = number;
  queue_command(conn, command);
  return 1;
}

int PQpipelineSync(PGconn *conn) {
  struct command *sync = model_allocate(sizeof *sync);
  sync->kind = COMMAND_SYNC;
  DL_APPEND(conn->outgoing, sync);
  send_outgoing(conn);
  return 1;
}

int PQflush(PGconn *conn) {
  send_outgoing(conn);
  return 0;
}

/* ---- receiving -------------------------------------------------------------------------------------------- */

int PQconsumeInput(PGconn *conn) {
  DL_CONCAT(conn->items, conn->arrived);
  conn->arrived = NULL;
  if (!conn->ended) return 1;
  (void)snprintf(conn->error, sizeof conn->error, "server closed the connection unexpectedly");
  return 0;
}

static struct item *take_item(PGconn *conn) {
  struct item *item = conn->items;
  DL_DELETE(conn->items, item);
  return item;
}

int PQisBusy(PGconn *conn) {
  while (conn->items && conn->items->kind == ITEM_NOTICE) {
    struct item *item = take_item(conn);
    conn->receiver(conn->receiver_data, item->result);
    PQclear(item->result);
    free(item);
  }
  return conn->items == NULL;
}

PGresult *PQgetResult(PGconn *conn) {
  struct item *item = take_item(conn);
  PGresult *result = item->result;
  if (item->kind == ITEM_SYNC) {
    result = result_new(PGRES_PIPELINE_SYNC, "");
    conn->transaction = item->status;
  }
  free(item);
  return result;
}

int PQsetSingleRowMode(PGconn *conn) {
  (void)conn;
  return 1;
}

PGTransactionStatusType PQtransactionStatus(const PGconn *conn) {
  return conn->transaction;
}

char *PQerrorMessage(const PGconn *conn) {
  static char empty[1];
  empty[0] = '\0';
  return conn ? ((PGconn *)(uintptr_t)conn)->error : empty;
}

/* ---- results ------------------------------------------------------------------------------------------------ */

PGresult *result_new(ExecStatusType status, const char *tag) {
  PGresult *result = model_allocate(sizeof *result);
  result->status = status;
  (void)snprintf(result->tag, sizeof result->tag, "%s", tag);
  return result;
}

void result_set_size(PGresult *result, int rows, int columns) {
  result->rows = rows;
  result->columns = columns;
  result->affected = rows;
  size_t cells = (size_t)rows * (size_t)columns + 1;
  result->values = model_allocate(cells * sizeof *result->values);
  result->set = model_allocate(cells * sizeof *result->set);
}

PGresult *result_table(int rows, int columns) {
  PGresult *result = result_new(PGRES_TUPLES_OK, "SELECT");
  result_set_size(result, rows, columns);
  return result;
}

void result_set(PGresult *result, int row, int column, const char *format, ...) {
  assert(row < result->rows && column < result->columns);
  int cell = row * result->columns + column;
  va_list args;
  va_start(args, format);
  (void)vsnprintf(result->values[cell], sizeof result->values[cell], format, args);
  va_end(args);
  result->set[cell] = true;
}

void result_set_name(PGresult *result, const char *column, Oid type) {
  (void)snprintf(result->column, sizeof result->column, "%s", column);
  result->type = type;
}

void result_set_affected(PGresult *result, int64_t rows) {
  result->affected = rows;
}

void result_set_error(PGresult *result, const char *severity, const char *sqlstate,
                      const char *text) {
  (void)snprintf(result->severity, sizeof result->severity, "%s", severity);
  (void)snprintf(result->sqlstate, sizeof result->sqlstate, "%s", sqlstate);
  (void)snprintf(result->text, sizeof result->text, "%s", text);
}

void PQclear(PGresult *res) {
  if (!res) return;
  free(res->values);
  free(res->set);
  free(res);
}

ExecStatusType PQresultStatus(const PGresult *res) {
  return res->status;
}

char *PQresultErrorField(const PGresult *res, int fieldcode) {
  PGresult *r = (PGresult *)(uintptr_t)res;
  if (!r->sqlstate[0]) return NULL;
  switch (fieldcode) {
  case PG_DIAG_SEVERITY_NONLOCALIZED: return r->severity;
  case PG_DIAG_SQLSTATE: return r->sqlstate;
  case PG_DIAG_MESSAGE_PRIMARY: return r->text;
  default: return NULL;
  }
}

char *PQresultErrorMessage(const PGresult *res) {
  return ((PGresult *)(uintptr_t)res)->text;
}

char *PQcmdStatus(PGresult *res) {
  return res->tag;
}

char *PQcmdTuples(PGresult *res) {
  static char text[24];
  (void)snprintf(text, sizeof text, "%lld", (long long)res->affected);
  return text;
}

int PQntuples(const PGresult *res) {
  return res->rows;
}

int PQnfields(const PGresult *res) {
  return res->columns;
}

char *PQfname(const PGresult *res, int field_num) {
  assert(field_num == 0);
  return ((PGresult *)(uintptr_t)res)->column;
}

Oid PQftype(const PGresult *res, int field_num) {
  assert(field_num == 0);
  return res->type;
}

static int cell_of(const PGresult *res, int tup_num, int field_num) {
  assert(tup_num >= 0 && tup_num < res->rows && field_num >= 0 && field_num < res->columns);
  return tup_num * res->columns + field_num;
}

char *PQgetvalue(const PGresult *res, int tup_num, int field_num) {
  return res->values[cell_of(res, tup_num, field_num)];
}

int PQgetlength(const PGresult *res, int tup_num, int field_num) {
  return (int)strlen(PQgetvalue(res, tup_num, field_num));
}

int PQgetisnull(const PGresult *res, int tup_num, int field_num) {
  return !res->set[cell_of(res, tup_num, field_num)];
}

/* ---- the adapter ----------------------------------------------------------------------------------------------- */

/* Tells the model which branch a session works for: the server could not know. */
static void run_labelled(struct session *session, const struct session_job *job, session_ran_fn fn,
                         void *data) {
  PGconn *conn = session->connection;
  if (conn && job->begin)
    (void)snprintf(conn->label, sizeof conn->label, "%s", job->gid ? job->gid : "");
  session_run(session, job, fn, data);
}

static void free_client(struct adapter *adapter) {
  struct client *client;
  DL_SEARCH_SCALAR(clients, client, adapter, adapter);
  assert(client);
  DL_DELETE(clients, client);
  client->db->real_free(adapter);
  free(client);
}

struct adapter *sim_database_adapter(struct sim_database *db, struct loop *loop) {
  char dsn[24];
  struct client *client = model_allocate(sizeof *client), *other;
  *client = (struct client){.db = db, .loop = loop, .number = 1};
  DL_FOREACH(clients, other)
  if (other->number >= client->number) client->number = other->number + 1;
  DL_APPEND(clients, client);
  (void)snprintf(dsn, sizeof dsn, "dbname=%u", client->number);
  struct error err = {0};
  client->adapter = postgres_adapter_new(loop, dsn, &err);
  assert(client->adapter);
  db->real_free = client->adapter->ops->free;
  db->ops = *client->adapter->ops;
  db->ops.run = run_labelled;
  db->ops.free = free_client;
  client->adapter->ops = &db->ops;
  return client->adapter;
}
