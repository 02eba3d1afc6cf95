/* Tables and text on a terminal. What a server or a database sent is shown without its control
 * characters: text must not drive somebody's terminal. */
#ifndef ASSENT_CLI_TABLE_H
#define ASSENT_CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum column_kind { COLUMN_TEXT, COLUMN_NUMBER /* to the right */, COLUMN_STATE /* coloured */ };

struct column {
  const char *title;
  enum column_kind kind;
};

struct table;

enum { TABLE_COLUMNS_MAX = 64 };

/* Columns are copied (their titles too); at most TABLE_COLUMNS_MAX. Aborts when memory runs out, as
 * all of the table's functions: a command has nothing to roll back. */
struct table *table_new(const struct column *columns, size_t count);
void table_free(struct table *table);
/* As many cells as columns; copied; NULL shows as an empty cell. */
void table_add(struct table *table, const char *const *cells);
size_t table_rows(const struct table *table);
void table_print(const struct table *table, FILE *out, bool colour);

/* A terminal, and the user has not set NO_COLOR (or TERM=dumb). */
bool colour_wanted(FILE *out);
/* The sequence that begins the colour of a state or outcome ("committed": green), "" for others. */
const char *state_colour(const char *state);
extern const char *const colour_off;

/* Copies text with control characters and bad UTF-8 replaced by '?'; cut at size. */
void text_for_terminal(const char *text, char *out, size_t size);

#endif
