/* Results of statements as JSON, written row by row as they come.
 *
 * Numbers and booleans are PostgreSQL's text where that is JSON as it stands; everything else is a
 * string. numeric is a string: a JSON number would pass through somebody's double.
 * Limits: rows and bytes of a run, over all of its statements; what passes them is dropped.
 */
#include "adapters/postgres.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* What a row over the limit may have before the connection is not worth the memory that it keeps; and what may
 * come before a row's end and is no value of it: 1600 columns' descriptions and lengths. */
enum { WIDE_BYTES = 1 << 20, ROW_HEAD_BYTES = 256 << 10 };

enum {
  OID_BOOL = 16,
  OID_INT8 = 20,
  OID_INT2 = 21,
  OID_INT4 = 23,
  OID_FLOAT4 = 700,
  OID_FLOAT8 = 701
};

void rows_begin(struct rows *rows, size_t rows_max, size_t bytes_max) {
  *rows = (struct rows){.rows_max = rows_max, .bytes_max = bytes_max};
  json_writer_init(&rows->json);
}

void rows_discard(struct rows *rows) {
  json_writer_close(&rows->json);
  rows->discard = true;
}

static void open_statement(struct rows *rows, const PGresult *result) {
  struct json_writer *w = &rows->json;
  if (rows->in_statement) return;
  rows->in_statement = true;
  if (w->length == 0) json_array_begin(w);
  json_object_begin(w);
  json_key(w, "columns");
  json_array_begin(w);
  for (int column = 0; column < PQnfields(result); column++)
    json_write_string(w, PQfname(result, column));
  json_array_end(w);
  json_key(w, "rows");
  json_array_begin(w);
}

static void close_statement(struct rows *rows, int64_t affected) {
  struct json_writer *w = &rows->json;
  json_array_end(w);
  json_key(w, "rows_affected");
  json_write_integer(w, affected);
  json_object_end(w);
  rows->in_statement = false;
}

static void write_value(struct json_writer *w, const PGresult *result, int row, int column) {
  const char *text = PQgetvalue(result, row, column);
  if (PQgetisnull(result, row, column)) {
    json_write_null(w);
    return;
  }
  switch (PQftype(result, column)) {
  case OID_BOOL: json_write_boolean(w, text[0] == 't'); return;
  case OID_INT2:
  case OID_INT4:
  case OID_INT8: json_write_raw(w, text); return;
  case OID_FLOAT4:
  case OID_FLOAT8:
    /* else NaN, Infinity, -Infinity, which JSON does not have */
    if (isdigit((unsigned char)text[text[0] == '-' ? 1 : 0])) {
      json_write_raw(w, text);
      return;
    }
    break;
  default: break;
  }
  json_write_string_n(w, text, (size_t)PQgetlength(result, row, column));
}

/* `what` is counted; `name`: of the limit. */
static bool refuse(struct cause *cause, int statement, const char *what, const char *name,
                   size_t max) {
  bool first = cause->kind == CAUSE_NONE;
  cause_set(cause, CAUSE_LIMIT, statement, "the results have more than %zu %s", max, what);
  if (first) cause->limit = (struct limit_met){limit_name_find(name), (int64_t)max};
  return false;
}

static size_t row_bytes(const PGresult *result, int row) {
  size_t bytes = 0;
  for (int column = 0; column < PQnfields(result); column++)
    bytes += (size_t)PQgetlength(result, row, column);
  return bytes;
}

static void note_width(struct rows *rows, size_t bytes) {
  if (bytes > rows->bytes_max && bytes > WIDE_BYTES) rows->wide = true;
}

static bool fits(struct rows *rows, int statement, const PGresult *result, int row,
                 struct cause *cause) {
  size_t bytes = row_bytes(result, row);
  note_width(rows, bytes);
  if (rows->row_count >= rows->rows_max)
    return refuse(cause, statement, "rows", "result_rows", rows->rows_max);
  if (bytes > rows->bytes_max || rows->json.length > rows->bytes_max - bytes)
    return refuse(cause, statement, "bytes", "result_bytes", rows->bytes_max);
  return true;
}

bool rows_add(struct rows *rows, int statement, PGresult *result, struct cause *cause) {
  if (rows->discard) {
    for (int row = 0; row < PQntuples(result); row++)
      note_width(rows, row_bytes(result, row));
    return true;
  }
  open_statement(rows, result);
  for (int row = 0; row < PQntuples(result); row++) {
    if (!fits(rows, statement, result, row, cause)) {
      rows_discard(rows);
      return false;
    }
    rows->row_count++;
    json_array_begin(&rows->json);
    for (int column = 0; column < PQnfields(result); column++)
      write_value(&rows->json, result, row, column);
    json_array_end(&rows->json);
  }
  if (PQresultStatus(result) != PGRES_SINGLE_TUPLE) close_statement(rows, result_affected(result));
  if (!rows->json.failed) return true;
  cause_set(cause, CAUSE_LIMIT, statement, "no memory for the results");
  rows_discard(rows);
  return false;
}

size_t rows_row_max(const struct rows *rows) {
  return rows->bytes_max + ROW_HEAD_BYTES;
}

void rows_refuse_row(struct rows *rows, int statement, struct cause *cause) {
  (void)refuse(cause, statement, "bytes", "result_bytes", rows->bytes_max);
  rows_discard(rows);
}

char *rows_take(struct rows *rows) {
  size_t length;
  if (rows->discard || rows->json.length == 0) {
    rows_discard(rows);
    return NULL;
  }
  json_array_end(&rows->json);
  return json_writer_take(&rows->json, &length);
}
