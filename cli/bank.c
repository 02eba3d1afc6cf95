/* See bank.h. */
#include "cli/bank.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/transfer_plan.h"

enum { SCHEMA_SIZE = 64 };

struct bank {
  PGconn *connection;
  char schema[SCHEMA_SIZE];
};

static enum error_code check_connected(struct bank *bank, struct error *err) {
  if (PQstatus(bank->connection) == CONNECTION_OK) return ERR_OK;
  return error_set(err, ERR_UNAVAILABLE, "%s", PQerrorMessage(bank->connection));
}

enum error_code bank_open(struct bank **out, const char *dsn, const char *schema,
                          struct error *err) {
  struct bank *bank = calloc(1, sizeof *bank);
  *out = bank;
  if (!bank) return error_set(err, ERR_MEMORY, "out of memory");
  (void)snprintf(bank->schema, sizeof bank->schema, "%s", schema);
  bank->connection = PQconnectdb(dsn);
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
  char sql[256];
  (void)snprintf(sql, sizeof sql,
                 "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()"
                 " AND starts_with(gid, 'assent_')"
                 " AND (extract(epoch FROM prepared) * 1000000)::bigint < %" PRId64,
                 before_us);
  return bank_integer(bank, sql, count, err);
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
