/* Named statements: all that may run at a participant which is limited to them.
 *
 *   [statement.debit]
 *   params = int8, numeric
 *   expect_rows = 1
 *   sql =
 *     UPDATE account SET balance = balance - $2
 *      WHERE id = $1 AND balance >= $2
 *
 * `params` are the types of $1, $2, ..., in the database's words, without a length or precision; `unknown`
 * leaves one to the database. It is left out when there are none. `expect_rows`, where it is given, holds
 * for every call. A file has at least one statement, each name once.
 *
 * Each $n of `sql` is written as ($n::type), so that the database takes the parameter for one of that type
 * and of no other: the statement is one text, and whoever has the same file knows it by that. So an agent
 * that is limited needs no names: it lets through what its own file has, and nothing else.
 *
 * Limits: STATEMENT_NAMES_MAX statements, PARAMS_MAX parameters, SQL_BYTES_MAX of sql.
 */
#ifndef ASSENT_COMMON_STATEMENT_SET_H
#define ASSENT_COMMON_STATEMENT_SET_H

#include "common/message_json.h"

enum { STATEMENT_NAMES_MAX = 1000, STATEMENT_NAME_SIZE = 33 };

struct named_statement {
  char name[STATEMENT_NAME_SIZE];
  char *sql;
  char *params; /* types with commas; NULL: none */
  size_t param_count;
  int64_t expect_rows; /* -1: the caller may say */
};

struct statement_set {
  struct named_statement *items; /* in the order of their names */
  size_t count;
};

/* statement_file.c. ERR_CONFIG with file, line and mistake. Owner of *out: statement_set_free(). */
enum error_code statement_set_read(const char *path, struct statement_set **out, struct error *err)
    __attribute__((warn_unused_result));
/* Writes each $n of `sql` as ($n::type). ERR_CONFIG: it uses others than $1 to $(number of `params`), or not
 * all of them, a type is not the name of one, or it is more than one statement. Owner of *typed: the caller,
 * free(). */
enum error_code statement_sql_typed(const char *sql, const char *params, char **typed,
                                    size_t *param_count, struct error *err)
    __attribute__((warn_unused_result));

void statement_set_free(struct statement_set *set); /* NULL is allowed */

/* Puts SQL in the place of the statement's name. `set` NULL: the participant has no names, and any SQL may
 * run. ERR_SQL_NOT_ALLOWED, ERR_UNKNOWN_STATEMENT, ERR_INVALID; the field is below `pointer`. */
enum error_code statement_set_resolve(const struct statement_set *set, struct statement *statement,
                                      const char *pointer, struct error *err)
    __attribute__((warn_unused_result));
/* For an agent, whose caller has names resolved: is each of these one of the set, with its number of
 * parameters and what it expects? ERR_SQL_NOT_ALLOWED. `set` NULL: all are. */
enum error_code statement_set_allows(const struct statement_set *set,
                                     const struct statement *statements, size_t count,
                                     struct error *err) __attribute__((warn_unused_result));

#endif
