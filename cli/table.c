/* See table.h. Width is counted in code points: names and numbers, not calligraphy. */
#include "cli/table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/utf8.h"

struct table {
  size_t columns, rows, capacity;
  enum column_kind kinds[TABLE_COLUMNS_MAX];
  size_t widths[TABLE_COLUMNS_MAX];
  char *titles[TABLE_COLUMNS_MAX];
  char **cells; /* rows * columns */
};

const char *const colour_off = "\033[0m";

/* ---- text ------------------------------------------------------------------------------------ */

/* Bytes of the character at `text`, or 0 when it is not UTF-8 or is a control character (C0, DEL,
 * C1). */
static size_t printable_length(const char *text, size_t length) {
  const unsigned char *bytes = (const unsigned char *)text;
  if (bytes[0] < 0x20 || bytes[0] == 0x7f) return 0;
  size_t sequence = utf8_sequence(text, length);
  return sequence == 2 && bytes[0] == 0xc2 && bytes[1] < 0xa0 ? 0 : sequence;
}

void text_for_terminal(const char *text, char *out, size_t size) {
  size_t used = 0, left = strlen(text);
  while (left > 0) {
    size_t length = printable_length(text, left);
    size_t take = length > 0 ? length : 1;
    if (used + take >= size) break;
    memcpy(out + used, length > 0 ? text : "?", take);
    used += take;
    text += take;
    left -= take;
  }
  out[used] = '\0';
}

static size_t text_width(const char *text) {
  size_t width = 0;
  for (; *text; text++)
    width += ((unsigned char)*text & 0xc0) != 0x80;
  return width;
}

bool colour_wanted(FILE *out) {
  const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
  if (no && no[0]) return false;
  if (!term || strcmp(term, "dumb") == 0) return false;
  return isatty(fileno(out)) == 1;
}

const char *state_colour(const char *state) {
  static const char green[] = "\033[32m", red[] = "\033[31m", yellow[] = "\033[33m",
                    loud[] = "\033[1;35m";
  static const struct {
    const char *state, *colour;
  } colours[] = {{"committed", green}, {"up", green},          {"yes", green},
                 {"ok", green},        {"aborted", red},       {"down", red},
                 {"no", red},          {"FAILED", red},        {"mixed", loud},
                 {"open", yellow},     {"active", yellow},     {"preparing", yellow},
                 {"prepared", yellow}, {"committing", yellow}, {"aborting", yellow},
                 {"unknown", yellow}};
  for (size_t i = 0; i < sizeof colours / sizeof colours[0]; i++)
    if (strcmp(state, colours[i].state) == 0) return colours[i].colour;
  return "";
}

/* ---- table ----------------------------------------------------------------------------------- */

static void *must(void *memory) {
  if (!memory) abort();
  return memory;
}

static char *cell_new(struct table *table, size_t column, const char *text) {
  size_t size = strlen(text) + 1;
  char *cell = must(malloc(size));
  text_for_terminal(text, cell, size);
  size_t width = text_width(cell);
  if (width > table->widths[column]) table->widths[column] = width;
  return cell;
}

struct table *table_new(const struct column *columns, size_t count) {
  assert(count > 0 && count <= TABLE_COLUMNS_MAX);
  struct table *table = must(calloc(1, sizeof *table));
  table->columns = count;
  for (size_t i = 0; i < count; i++) {
    table->kinds[i] = columns[i].kind;
    table->titles[i] = cell_new(table, i, columns[i].title);
  }
  return table;
}

void table_free(struct table *table) {
  if (!table) return;
  for (size_t i = 0; i < table->rows * table->columns; i++)
    free(table->cells[i]);
  for (size_t i = 0; i < table->columns; i++)
    free(table->titles[i]);
  free(table->cells);
  free(table);
}

void table_add(struct table *table, const char *const *cells) {
  if (table->rows == table->capacity) {
    table->capacity = table->capacity ? table->capacity * 2 : 16;
    table->cells =
        must(realloc(table->cells, table->capacity * table->columns * sizeof *table->cells));
  }
  char **row = table->cells + table->rows * table->columns;
  for (size_t i = 0; i < table->columns; i++)
    row[i] = cell_new(table, i, cells[i] ? cells[i] : "");
  table->rows++;
}

size_t table_rows(const struct table *table) {
  return table->rows;
}

static void pad(FILE *out, size_t count) {
  (void)fprintf(out, "%*s", (int)count, "");
}

static void print_row(const struct table *table, char *const *row, FILE *out, bool colour) {
  for (size_t i = 0; i < table->columns; i++) {
    size_t missing = table->widths[i] - text_width(row[i]);
    bool is_last = i + 1 == table->columns;
    const char *begin = colour && table->kinds[i] == COLUMN_STATE ? state_colour(row[i]) : "";
    if (table->kinds[i] == COLUMN_NUMBER) pad(out, missing);
    (void)fprintf(out, "%s%s%s", begin, row[i], begin[0] ? colour_off : "");
    if (table->kinds[i] != COLUMN_NUMBER && !is_last) pad(out, missing);
    (void)fputs(is_last ? "\n" : "  ", out);
  }
}

void table_print(const struct table *table, FILE *out, bool colour) {
  print_row(table, table->titles, out, false);
  for (size_t i = 0; i < table->columns; i++) {
    for (size_t j = 0; j < table->widths[i]; j++)
      (void)fputc('-', out);
    (void)fputs(i + 1 == table->columns ? "\n" : "  ", out);
  }
  for (size_t i = 0; i < table->rows; i++)
    print_row(table, table->cells + i * table->columns, out, colour);
}
