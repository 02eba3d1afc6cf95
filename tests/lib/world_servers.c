/* The PostgreSQL servers of a test run, and a world's databases in them. See world.h.
 *
 * Making a database takes longer than most tests, so those of a closed world are emptied and used
 * again; those of a world whose test was left are not.
 *
 * The servers sync as real ones do. Nothing is started before the first world is opened.
 */
#include "tests/lib/world_servers.h"

#include <assert.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST, SECOND, THIRD, UNPREPARED, SERVERS, SQL_BYTES = 4096, GATE_LOCK = 4711 };

static struct throwaway *owner;
static struct throwaway_server *servers[SERVERS];
static volatile sig_atomic_t interrupted;

static const char schema[] =
    "CREATE TABLE account (id bigint PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0));"
    "CREATE TABLE ledger (id text PRIMARY KEY);"
    "CREATE TABLE promise (account bigint REFERENCES account DEFERRABLE INITIALLY DEFERRED);"
    "CREATE TABLE gated (id bigint);"
    "CREATE FUNCTION wait_at_gate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    "  PERFORM pg_advisory_lock_shared(4711); PERFORM pg_advisory_unlock_shared(4711);"
    "  RETURN NULL; END $$;"
    "CREATE CONSTRAINT TRIGGER gate AFTER INSERT ON gated DEFERRABLE INITIALLY DEFERRED"
    "  FOR EACH ROW EXECUTE FUNCTION wait_at_gate();";

/* What a test may have changed. */
static const char contents[] =
    "SET client_min_messages = warning;"
    "DROP SCHEMA IF EXISTS assent CASCADE;"
    "TRUNCATE account, ledger, promise, gated;"
    "INSERT INTO account SELECT id, 1000 FROM generate_series(1, 10) AS id;";

/* ---- the run's servers ----------------------------------------------------------------------- */

static void on_signal(int signum) {
  if (interrupted) _Exit(128 + signum); /* the kernel ends our children */
  interrupted = signum;
}

void world_check_interrupted(void) {
  if (interrupted) exit(128 + interrupted);
}

static void stop_servers(void) {
  world_drop_current();
  throwaway_free(owner);
  owner = NULL;
}

static void check(enum error_code code, const struct error *err) {
  if (code != ERR_OK) check_failed(__FILE__, __LINE__, true, "PostgreSQL: %s", err->text);
}

void servers_make_template(const struct throwaway_server *server) {
  struct error err = {0};
  char dsn[THROWAWAY_DSN_SIZE];
  throwaway_server_dsn(server, "postgres", dsn);
  check(throwaway_exec(dsn, "CREATE DATABASE bank_template", &err), &err);
  throwaway_server_dsn(server, "bank_template", dsn);
  check(throwaway_exec(dsn, schema, &err), &err);
}

/* A start after a kill syncs all files: in one call, not a thousand. */
static const char *const settings[] = {"autovacuum=off", "deadlock_timeout=100ms",
                                       "recovery_init_sync_method=syncfs", NULL};

struct throwaway *servers_owner(void) {
  static const char *const names[] = {"first", "second"};
  struct error err = {0};
  if (owner) return owner;
  owner = throwaway_new(&err);
  if (!owner) check_failed(__FILE__, __LINE__, true, "%s", err.text);
  const struct sigaction action = {.sa_handler = on_signal};
  (void)sigaction(SIGINT, &action, NULL);
  (void)sigaction(SIGTERM, &action, NULL);
  (void)atexit(stop_servers);
  const struct throwaway_options options = {.settings = settings};
  check(throwaway_servers(owner, 2, names, &options, servers, &err), &err);
  servers_make_template(servers[FIRST]);
  servers_make_template(servers[SECOND]);
  return owner;
}

/* Those that few worlds want are made when the first does. */
static struct throwaway_server *further_server(int which) {
  const struct throwaway_options options = {.prepared_max = which == UNPREPARED ? -1 : 0,
                                            .settings = settings};
  struct error err = {0};
  if (servers[which]) return servers[which];
  servers[which] =
      throwaway_server(owner, which == UNPREPARED ? "unprepared" : "third", &options, &err);
  if (!servers[which]) check_failed(__FILE__, __LINE__, true, "%s", err.text);
  servers_make_template(servers[which]);
  return servers[which];
}

/* ---- databases ------------------------------------------------------------------------------- */

/* Databases to be used again. */
static struct spare {
  const struct throwaway_server *server; /* NULL: none here */
  char database[sizeof((struct world *)0)->database[0]];
} spares[SERVERS * BANKS_MAX];

static bool take_spare(struct world *w, int bank, const struct throwaway_server *server) {
  for (size_t i = 0; i < sizeof spares / sizeof spares[0]; i++) {
    if (spares[i].server != server) continue;
    memcpy(w->database[bank], spares[i].database, sizeof w->database[bank]);
    spares[i].server = NULL;
    return true;
  }
  return false;
}

static bool is_shared(const struct throwaway_server *server) {
  for (int i = 0; i < SERVERS; i++)
    if (servers[i] == server) return true;
  return false;
}

void servers_take_back(const struct world *w) {
  for (int bank = 0; bank < w->banks; bank++) {
    if (!is_shared(w->servers[bank])) continue; /* whoever made the server removes it */
    struct spare *spare = spares;
    while (spare->server)
      spare++;
    spare->server = w->servers[bank];
    memcpy(spare->database, w->database[bank], sizeof spare->database);
  }
}

static void make_database(struct world *w, int bank, const struct throwaway_server *server) {
  static unsigned made;
  struct error err = {0};
  char dsn[THROWAWAY_DSN_SIZE], sql[128];
  (void)snprintf(w->database[bank], sizeof w->database[bank], "bank_%u", made++);
  throwaway_server_dsn(server, "postgres", dsn);
  (void)snprintf(sql, sizeof sql, "CREATE DATABASE %s TEMPLATE bank_template", w->database[bank]);
  check(throwaway_exec(dsn, sql, &err), &err);
}

static void give_database(struct world *w, int bank, struct throwaway_server *server) {
  struct error err = {0};
  /* A failed test may have left it killed or paused. */
  if (throwaway_server_pid(server) == 0) check(throwaway_server_start(server, &err), &err);
  throwaway_server_resume(server);
  w->servers[bank] = server;
  if (!take_spare(w, bank, server)) make_database(w, bank, server);
  throwaway_server_dsn(server, w->database[bank], w->dsn[bank]);
  check(throwaway_exec(w->dsn[bank], contents, &err), &err);
}

void servers_give_databases(struct world *w, const struct world_options *options) {
  (void)servers_owner();
  give_database(w, BANK_A, servers[FIRST]);
  if (w->banks > BANK_B)
    give_database(w, BANK_B,
                  options->server_b           ? options->server_b
                  : options->without_prepared ? further_server(UNPREPARED)
                  : options->one_server       ? servers[FIRST]
                                              : servers[SECOND]);
  if (options->reach_b)
    (void)snprintf(w->dsn[BANK_B], sizeof w->dsn[BANK_B], "%s dbname=%s", options->reach_b,
                   w->database[BANK_B]);
  if (w->banks > BANK_C)
    give_database(w, BANK_C, options->one_server ? servers[FIRST] : further_server(THIRD));
}

void world_server_kill(struct world *w, int bank) {
  throwaway_server_kill(w->servers[bank]);
}

void world_server_start(struct world *w, int bank) {
  struct error err = {0};
  check(throwaway_server_start(w->servers[bank], &err), &err);
}

/* ---- statements ------------------------------------------------------------------------------ */

void world_sql(const struct world *w, int bank, const char *sql_format, ...) {
  char sql[SQL_BYTES];
  struct error err = {0};
  va_list arguments;
  va_start(arguments, sql_format);
  (void)vsnprintf(sql, sizeof sql, sql_format, arguments);
  va_end(arguments);
  check(throwaway_exec(w->dsn[bank], sql, &err), &err);
}

int64_t world_integer(const struct world *w, int bank, const char *sql_format, ...) {
  char sql[SQL_BYTES];
  struct error err = {0};
  int64_t value = -1;
  va_list arguments;
  va_start(arguments, sql_format);
  (void)vsnprintf(sql, sizeof sql, sql_format, arguments);
  va_end(arguments);
  enum error_code code = throwaway_query_int(w->dsn[bank], sql, &value, &err);
  if (code == ERR_NOT_FOUND) return -1;
  check(code, &err);
  return value;
}

PGconn *world_connect(const struct world *w, int bank) {
  PGconn *session = PQconnectdb(w->dsn[bank]);
  if (PQstatus(session) != CONNECTION_OK)
    check_failed(__FILE__, __LINE__, true, "%s", PQerrorMessage(session));
  return session;
}

void world_run_on(PGconn *session, const char *sql) {
  PGresult *result = PQexec(session, sql);
  ExecStatusType status = PQresultStatus(result);
  PQclear(result);
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
    check_failed(__FILE__, __LINE__, true, "%s: %s", sql, PQerrorMessage(session));
}

/* ---- what is in a bank ----------------------------------------------------------------------- */

int64_t world_balance(const struct world *w, int bank, int account) {
  return world_integer(w, bank, "SELECT balance FROM account WHERE id = %d", account);
}

int64_t world_money(const struct world *w) {
  static const char sum[] = "SELECT sum(balance)::bigint FROM account";
  int64_t money = 0;
  for (int bank = 0; bank < w->banks; bank++)
    money += world_integer(w, bank, "%s", sum);
  return money;
}

int64_t world_prepared(const struct world *w, int bank) {
  return world_integer(
      w, bank, "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()");
}

void world_wait_nothing_prepared(struct world *w) {
  for (int bank = 0; bank < w->banks; bank++)
    if (throwaway_server_pid(w->servers[bank]) != 0) UNTIL(world_prepared(w, bank) == 0);
}

void check_moved(const struct world *w, int64_t amount, const char *file, unsigned line) {
  int64_t a = world_balance(w, BANK_A, 1), b = world_balance(w, BANK_B, 1), all = world_money(w);
  if (a == ACCOUNT_BALANCE - amount && b == ACCOUNT_BALANCE + amount &&
      all == (int64_t)w->banks * ACCOUNTS * ACCOUNT_BALANCE) {
    CU_PASS("");
  } else {
    check_failed(file, line, false,
                 "%lld should have moved; balances are %lld and %lld, %lld in all",
                 (long long)amount, (long long)a, (long long)b, (long long)all);
  }
}

/* ---- the gate -------------------------------------------------------------------------------- */

PGconn *gate_close(const struct world *w, int bank) {
  PGconn *gate = world_connect(w, bank);
  world_run_on(gate, "SELECT pg_advisory_lock(4711)");
  return gate;
}

void gate_open(PGconn *gate) {
  PQfinish(gate);
}

int64_t gate_waiting(const struct world *w, int bank) {
  return world_integer(w, bank,
                       "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' "
                       "AND objid = %d AND NOT granted AND database = "
                       "(SELECT oid FROM pg_database WHERE datname = current_database())",
                       GATE_LOCK);
}

void gate_wait_half_voted(struct world *w) {
  UNTIL(gate_waiting(w, BANK_A) == 1);
  UNTIL(strcmp(reply_string(api_get(w->api, "/v1/transactions?state=preparing"),
                            "/transactions/0/branches/1/state"),
               "prepared") == 0);
}
