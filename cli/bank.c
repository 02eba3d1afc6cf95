/* See bank.h. */
#include "cli/bank.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/transfer_plan.h"

enum { SCHEMA_SIZE = 64, PREFIX_SIZE = 64 };

struct bank {
  PGconn *connection;
  char schema[SCHEMA_SIZE];
  char gids[PREFIX_SIZE], sessions[PREFIX_SIZE];
};

static enum error_code check_connected(struct bank *bank, struct error *err) {
  if (PQstatus(bank->connection) == CONNECTION_OK) return ERR_OK;
  return error_set(err, ERR_UNAVAILABLE, "%s", PQerrorMessage(bank->connection));
}

void bank_set_ours(struct bank *bank, const char *gids, const char *sessions) {
  (void)snprintf(bank->gids, sizeof bank->gids, "%s", gids);
  (void)snprintf(bank->sessions, sizeof bank->sessions, "%s", sessions);
}

void bank_copy_ours(struct bank *bank, const struct bank *from) {
  bank_set_ours(bank, from->gids, from->sessions);
}

/* A server that ends a session says so, which is expected here. */
static void drop_notice(void *data, const char *text) {
  (void)data;
  (void)text;
}

enum error_code bank_open(struct bank **out, const char *dsn, const char *schema,
                          struct error *err) {
  struct bank *bank = calloc(1, sizeof *bank);
  *out = bank;
  if (!bank) return error_set(err, ERR_MEMORY, "out of memory");
  (void)snprintf(bank->schema, sizeof bank->schema, "%s", schema);
  bank_set_ours(bank, "assent_", "assent:");
  bank->connection = PQconnectdb(dsn);
  (void)PQsetNoticeProcessor(bank->connection, drop_notice, NULL);
  return check_connected(bank, err);
}

enum error_code bank_refresh(struct bank *bank, struct error *err) {
  /* A connection that the server has closed looks well until something is asked. */
  PGresult *result = PQexec(bank->connection, "SELECT 1");
  bool is_well = PQresultStatus(result) == PGRES_TUPLES_OK;
  PQclear(result);
  if (!is_well) PQreset(bank->connection);
  return check_connected(bank, err);
}

void bank_close(struct bank *bank) {
  if (!bank) return;
  PQfinish(bank->connection);
  free(bank);
}

enum error_code bank_exec(struct bank *bank, const char *sql, struct error *err) {
  PGresult *result = PQexec(bank->connection, sql);
  ExecStatusType status = PQresultStatus(result);
  PQclear(result);
  if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) return ERR_OK;
  return error_set(err, ERR_IO, "%s", PQerrorMessage(bank->connection));
}

enum error_code bank_make_tables(struct bank *bank, struct error *err) {
  char sql[640];
  (void)snprintf(sql, sizeof sql,
                 "CREATE TABLE %saccount (id bigint PRIMARY KEY,"
                 " balance bigint NOT NULL CHECK (balance >= 0));"
                 "CREATE TABLE %sledger (label text COLLATE \"C\" PRIMARY KEY,"
                 " amount bigint NOT NULL);"
                 "INSERT INTO %saccount SELECT n, %d FROM generate_series(1, %d) AS n",
                 bank->schema, bank->schema, bank->schema, TRANSFER_BALANCE, TRANSFER_ACCOUNTS);
  return bank_exec(bank, sql, err);
}

/* A result with rows, or NULL. Owner: PQclear(). */
static PGresult *query(struct bank *bank, const char *sql, struct error *err) {
  PGresult *result = PQexec(bank->connection, sql);
  if (PQresultStatus(result) == PGRES_TUPLES_OK) return result;
  (void)error_set(err, ERR_IO, "%s", PQerrorMessage(bank->connection));
  PQclear(result);
  return NULL;
}

enum error_code bank_integer(struct bank *bank, const char *sql, int64_t *out, struct error *err) {
  PGresult *result = query(bank, sql, err);
  if (!result) return err->code;
  *out = strtoimax(PQgetvalue(result, 0, 0), NULL, 10);
  PQclear(result);
  return ERR_OK;
}

enum error_code bank_clock_us(struct bank *bank, int64_t *now_us, struct error *err) {
  return bank_integer(bank, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
                      now_us, err);
}

enum error_code bank_money(struct bank *bank, int64_t *sum, struct error *err) {
  char sql[160];
  (void)snprintf(sql, sizeof sql, "SELECT coalesce(sum(balance), 0)::bigint FROM %saccount",
                 bank->schema);
  return bank_integer(bank, sql, sum, err);
}

enum error_code bank_prepared(struct bank *bank, int64_t before_us, int64_t *count,
                              struct error *err) {
  char sql[320];
  (void)snprintf(sql, sizeof sql,
                 "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()"
                 " AND starts_with(gid, '%s')"
                 " AND (extract(epoch FROM prepared) * 1000000)::bigint < %" PRId64,
                 bank->gids, before_us);
  return bank_integer(bank, sql, count, err);
}

/* Two integers in one row. */
static enum error_code query_pair(struct bank *bank, const char *sql, int64_t *one, int64_t *two,
                                  struct error *err) {
  PGresult *result = query(bank, sql, err);
  if (!result) return err->code;
  *one = strtoimax(PQgetvalue(result, 0, 0), NULL, 10);
  *two = strtoimax(PQgetvalue(result, 0, 1), NULL, 10);
  PQclear(result);
  return ERR_OK;
}

enum error_code bank_oldest_prepared(struct bank *bank, int64_t *oldest_us, int64_t *count,
                                     struct error *err) {
  char sql[320];
  (void)snprintf(sql, sizeof sql,
                 "SELECT coalesce((extract(epoch FROM min(prepared)) * 1000000)::bigint,"
                 " 9223372036854775807), count(*) FROM pg_prepared_xacts"
                 " WHERE database = current_database() AND starts_with(gid, '%s')",
                 bank->gids);
  return query_pair(bank, sql, oldest_us, count, err);
}

enum error_code bank_busy(struct bank *bank, int64_t *in_transaction, int64_t *locks,
                          struct error *err) {
  char sql[512];
  (void)snprintf(sql, sizeof sql,
                 "SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                 " AND starts_with(application_name, '%s') AND xact_start IS NOT NULL),"
                 " (SELECT count(*) FROM pg_locks WHERE relation IN ('%saccount'::regclass,"
                 " '%sledger'::regclass))",
                 bank->sessions, bank->schema, bank->schema);
  return query_pair(bank, sql, in_transaction, locks, err);
}

enum error_code bank_sessions(struct bank *bank, int64_t *pids, unsigned max, unsigned *count,
                              struct error *err) {
  char sql[256];
  (void)snprintf(sql, sizeof sql,
                 "SELECT pid FROM pg_stat_activity WHERE starts_with(application_name, '%s')"
                 " ORDER BY random() LIMIT %u",
                 bank->sessions, max);
  PGresult *result = query(bank, sql, err);
  if (!result) return err->code;
  *count = (unsigned)PQntuples(result);
  for (unsigned i = 0; i < *count; i++)
    pids[i] = strtoimax(PQgetvalue(result, (int)i, 0), NULL, 10);
  PQclear(result);
  return ERR_OK;
}

/* A gid needs no quoting (common/id.h). */
enum error_code bank_roll_back_prepared(struct bank *bank, struct error *err) {
  char sql[320];
  enum error_code code = ERR_OK;
  (void)snprintf(sql, sizeof sql,
                 "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"
                 " AND starts_with(gid, '%s')",
                 bank->gids);
  PGresult *result = query(bank, sql, err);
  if (!result) return err->code;
  for (int row = 0; code == ERR_OK && row < PQntuples(result); row++) {
    (void)snprintf(sql, sizeof sql, "ROLLBACK PREPARED '%s'", PQgetvalue(result, row, 0));
    code = bank_exec(bank, sql, err);
  }
  PQclear(result);
  return code;
}

enum error_code bank_each_ledger(struct bank *bank, const char *first, const char *last,
                                 ledger_fn fn, void *data, struct error *err) {
  const char *const bounds[] = {first, last};
  char sql[256];
  (void)snprintf(sql, sizeof sql,
                 "SELECT label, amount FROM %sledger WHERE ($1::text IS NULL OR label >= $1)"
                 " AND ($2::text IS NULL OR label <= $2)",
                 bank->schema);
  PGresult *result = PQexecParams(bank->connection, sql, 2, NULL, bounds, NULL, NULL, 0);
  if (PQresultStatus(result) != PGRES_TUPLES_OK) {
    PQclear(result);
    return error_set(err, ERR_IO, "%s", PQerrorMessage(bank->connection));
  }
  for (int row = 0; row < PQntuples(result); row++)
    fn(data, PQgetvalue(result, row, 0), strtoimax(PQgetvalue(result, row, 1), NULL, 10));
  PQclear(result);
  return ERR_OK;
}
