/* See demo_bank.h. */
#include "cli/demo_bank.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/demo_plan.h"

struct bank {
  PGconn *connection;
};

enum error_code bank_open(struct bank **out, const char *dsn, struct error *err) {
  struct bank *bank = calloc(1, sizeof *bank);
  *out = bank;
  if (!bank) return error_set(err, ERR_MEMORY, "out of memory");
  bank->connection = PQconnectdb(dsn);
  if (PQstatus(bank->connection) != CONNECTION_OK)
    return error_set(err, ERR_UNAVAILABLE, "%s", PQerrorMessage(bank->connection));
  return ERR_OK;
}

void bank_close(struct bank *bank) {
  if (!bank) return;
  PQfinish(bank->connection);
  free(bank);
}

enum error_code bank_make_tables(struct bank *bank, struct error *err) {
  char sql[512];
  (void)snprintf(sql, sizeof sql,
                 "CREATE TABLE account (id bigint PRIMARY KEY,"
                 " balance bigint NOT NULL CHECK (balance >= 0));"
                 "CREATE TABLE ledger (label text PRIMARY KEY, amount bigint NOT NULL);"
                 "INSERT INTO account SELECT n, %d FROM generate_series(1, %d) AS n",
                 DEMO_BALANCE, DEMO_ACCOUNTS);
  PGresult *result = PQexec(bank->connection, sql);
  enum error_code code = ERR_OK;
  if (PQresultStatus(result) != PGRES_COMMAND_OK)
    code = error_set(err, ERR_IO, "%s", PQerrorMessage(bank->connection));
  PQclear(result);
  return code;
}

/* A result with rows, or NULL. Owner: PQclear(). */
static PGresult *query(struct bank *bank, const char *sql, struct error *err) {
  PGresult *result = PQexec(bank->connection, sql);
  if (PQresultStatus(result) == PGRES_TUPLES_OK) return result;
  (void)error_set(err, ERR_IO, "%s", PQerrorMessage(bank->connection));
  PQclear(result);
  return NULL;
}

static enum error_code query_integer(struct bank *bank, const char *sql, int64_t *out,
                                     struct error *err) {
  PGresult *result = query(bank, sql, err);
  if (!result) return err->code;
  *out = strtoimax(PQgetvalue(result, 0, 0), NULL, 10);
  PQclear(result);
  return ERR_OK;
}

enum error_code bank_clock_us(struct bank *bank, int64_t *now_us, struct error *err) {
  return query_integer(bank, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
                       now_us, err);
}

enum error_code bank_money(struct bank *bank, int64_t *sum, struct error *err) {
  return query_integer(bank, "SELECT coalesce(sum(balance), 0) FROM account", sum, err);
}

enum error_code bank_prepared(struct bank *bank, int64_t before_us, int64_t *count,
                              struct error *err) {
  char sql[256];
  (void)snprintf(sql, sizeof sql,
                 "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()"
                 " AND starts_with(gid, 'assent_')"
                 " AND (extract(epoch FROM prepared) * 1000000)::bigint < %" PRId64,
                 before_us);
  return query_integer(bank, sql, count, err);
}

enum error_code bank_each_ledger(struct bank *bank, ledger_fn fn, void *data, struct error *err) {
  PGresult *result = query(bank, "SELECT label, amount FROM ledger", err);
  if (!result) return err->code;
  for (int row = 0; row < PQntuples(result); row++)
    fn(data, PQgetvalue(result, row, 0), strtoimax(PQgetvalue(result, row, 1), NULL, 10));
  PQclear(result);
  return ERR_OK;
}
