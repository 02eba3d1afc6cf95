/* Small conveniences on libpq: see throwaway.h. */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/throwaway.h"

/* libpq's text has a line for each thing it says; the first is enough here. */
static void refused(struct error *err, enum error_code code, const PGconn *connection) {
  const char *text = PQerrorMessage(connection);
  (void)error_set(err, code, "%.*s", (int)strcspn(text, "\n"), text);
}

static PGresult *query(PGconn *connection, const char *sql, struct error *err) {
  if (PQstatus(connection) != CONNECTION_OK) {
    refused(err, ERR_UNAVAILABLE, connection);
    return NULL;
  }
  PGresult *result = PQexec(connection, sql);
  ExecStatusType status = PQresultStatus(result);
  if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY)
    return result;
  const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  refused(err, sqlstate ? ERR_INVALID : ERR_LOST, connection);
  if (err && sqlstate && !err->sqlstate[0])
    (void)snprintf(err->sqlstate, sizeof err->sqlstate, "%s", sqlstate);
  PQclear(result);
  return NULL;
}

enum error_code throwaway_exec(const char *dsn, const char *sql, struct error *err) {
  struct error why = {0};
  PGconn *connection = PQconnectdb(dsn);
  PGresult *result = query(connection, sql, &why);
  PQclear(result);
  PQfinish(connection);
  if (err && why.code != ERR_OK) *err = why;
  return why.code;
}

enum error_code throwaway_query_int(const char *dsn, const char *sql, int64_t *out,
                                    struct error *err) {
  struct error why = {0};
  PGconn *connection = PQconnectdb(dsn);
  PGresult *result = query(connection, sql, &why);
  if (result && PQntuples(result) > 0 && PQnfields(result) > 0 && !PQgetisnull(result, 0, 0))
    *out = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
  else if (result)
    (void)error_set(&why, ERR_NOT_FOUND, "no value: %s", sql);
  PQclear(result);
  PQfinish(connection);
  if (err && why.code != ERR_OK) *err = why;
  return why.code;
}
