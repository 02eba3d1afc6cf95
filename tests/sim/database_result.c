/* Results as libpq gives them: made by the model server, read by the adapter. The functions stand in the
 * program in the library's place; see database_libpq.c. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/database_internal.h"

enum { VALUE_SIZE = 136, OID_INT8 = 20 };

struct pg_result {
  ExecStatusType status;
  char tag[24];
  int64_t affected;
  int rows, columns;
  char (*values)[VALUE_SIZE];
  bool *set; /* not null */
  char column[24];
  Oid type;
  int params;
  char severity[8], sqlstate[6], text[128];
};

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

void result_set_params(PGresult *result, int count) {
  result->params = count;
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

int PQnparams(const PGresult *res) {
  return res->params;
}

/* All are int8. */
Oid PQparamtype(const PGresult *res, int param_num) {
  assert(param_num < res->params);
  return OID_INT8;
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
