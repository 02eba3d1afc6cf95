/* See statement_set.h. Reading the file is in statement_file.c. */
#include "common/statement_set.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void statement_set_free(struct statement_set *set) {
  if (!set) return;
  for (size_t i = 0; i < set->count; i++) {
    free(set->items[i].sql);
    free(set->items[i].params);
  }
  free(set->items);
  free(set);
}

static int compare_name(const void *name, const void *item) {
  return strcmp(name, ((const struct named_statement *)item)->name);
}

static enum error_code at(struct error *err, enum error_code code, const char *pointer,
                          const char *below) {
  char field[sizeof err->field];
  (void)snprintf(field, sizeof field, "%s%s", pointer, below);
  (void)error_field(err, field);
  return code;
}

static enum error_code check_call(const struct named_statement *named,
                                  const struct statement *statement, const char *pointer,
                                  struct error *err) {
  if (statement->param_count != named->param_count) {
    (void)error_set(err, ERR_INVALID, "%s takes %zu parameters%s%.200s%s, not %zu", named->name,
                    named->param_count, named->params ? " (" : "",
                    named->params ? named->params : "", named->params ? ")" : "",
                    statement->param_count);
    return at(err, ERR_INVALID, pointer, "/params");
  }
  if (named->expect_rows < 0 || statement->expect_rows < 0 ||
      statement->expect_rows == named->expect_rows)
    return ERR_OK;
  (void)error_set(err, ERR_INVALID, "%s expects %lld rows, which a request cannot change",
                  named->name, (long long)named->expect_rows);
  return at(err, ERR_INVALID, pointer, "/expect_rows");
}

enum error_code statement_set_resolve(const struct statement_set *set, struct statement *statement,
                                      const char *pointer, struct error *err) {
  if (statement->sql) {
    if (!set) return ERR_OK;
    (void)error_set(err, ERR_SQL_NOT_ALLOWED, "only named statements may run at this participant");
    return at(err, ERR_SQL_NOT_ALLOWED, pointer, "/sql");
  }
  const struct named_statement *named =
      set ? bsearch(statement->name, set->items, set->count, sizeof *set->items, compare_name)
          : NULL;
  if (!named) {
    (void)error_set(err, ERR_UNKNOWN_STATEMENT, "no statement of this participant is called \"%s\"",
                    statement->name);
    return at(err, ERR_UNKNOWN_STATEMENT, pointer, "/name");
  }
  enum error_code code = check_call(named, statement, pointer, err);
  if (code != ERR_OK) return code;
  statement->sql = strdup(named->sql);
  if (!statement->sql) return error_set(err, ERR_MEMORY, "out of memory for a statement");
  if (named->expect_rows >= 0) statement->expect_rows = named->expect_rows;
  return ERR_OK;
}

static bool is_one_of(const struct statement_set *set, const struct statement *statement) {
  for (size_t i = 0; i < set->count; i++) {
    const struct named_statement *named = &set->items[i];
    if (strcmp(statement->sql, named->sql) == 0 && statement->param_count == named->param_count &&
        (named->expect_rows < 0 || statement->expect_rows == named->expect_rows))
      return true;
  }
  return false;
}

enum error_code statement_set_allows(const struct statement_set *set,
                                     const struct statement *statements, size_t count,
                                     struct error *err) {
  for (size_t i = 0; set && i < count; i++) {
    if (is_one_of(set, &statements[i])) continue;
    (void)error_set(err, ERR_SQL_NOT_ALLOWED,
                    "statement %zu is not one of the file that this agent is limited to", i);
    return at(err, ERR_SQL_NOT_ALLOWED, "/statements", "");
  }
  return ERR_OK;
}
