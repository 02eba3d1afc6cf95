/* common/statement_set.c, common/statement_file.c, and how a call of a named statement decodes */
#include "common/statement_set.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/suite.h"

/* ---- types are put in ---- */

static void typed_sql_has_each_placeholder_once_with_its_type(void) {
  static const struct {
    const char *sql, *params, *expected;
  } cases[] = {
      {"SELECT 1", NULL, "SELECT 1"},
      {"SELECT $1", "int8", "SELECT ($1::int8)"},
      {"UPDATE a SET b=b-$2 WHERE i=$1", " int8 ,\tnumeric ",
       "UPDATE a SET b=b-($2::numeric) WHERE i=($1::int8)"},
      {"SELECT $1+$1", "int4", "SELECT ($1::int4)+($1::int4)"},
      {"SELECT $1, $2", "unknown, timestamp with time zone",
       "SELECT $1, ($2::timestamp with time zone)"},
      {"SELECT $1, $2", "text[], public.mood", "SELECT ($1::text[]), ($2::public.mood)"},
      {"SELECT '$2', $1", "int8", "SELECT '$2', ($1::int8)"},
      {"SELECT 'it''s $2', $1", "int8", "SELECT 'it''s $2', ($1::int8)"},
      {"SELECT E'it\\'s $2', $1", "int8", "SELECT E'it\\'s $2', ($1::int8)"},
      {"SELECT 'a\\', $1", "int8", "SELECT 'a\\', ($1::int8)"},
      {"SELECT note'$2', $1", "int8", "SELECT note'$2', ($1::int8)"},
      {"SELECT \"a$2\"\"$3\", $1", "int8", "SELECT \"a$2\"\"$3\", ($1::int8)"},
      {"SELECT a$2, $1", "int8", "SELECT a$2, ($1::int8)"},
      {"SELECT $$ $2 $$, $a$ $2 $$ $b$ $a$, $1", "int8",
       "SELECT $$ $2 $$, $a$ $2 $$ $b$ $a$, ($1::int8)"},
      {"SELECT $1 -- $2\n, 3", "int8", "SELECT ($1::int8) -- $2\n, 3"},
      {"SELECT /* $2 /* $3 */ $4 */ $1", "int8", "SELECT /* $2 /* $3 */ $4 */ ($1::int8)"},
      {"SELECT $1;  \n", "int8", "SELECT ($1::int8);  \n"},
      {"SELECT ';', $1", "int8", "SELECT ';', ($1::int8)"},
      {"SELECT $1-1, 1-$1", "int8", "SELECT ($1::int8)-1, 1-($1::int8)"},
      {"SELECT '\xC3\xA9', $1", "int8", "SELECT '\xC3\xA9', ($1::int8)"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char *typed = NULL;
    size_t count;
    struct error err = {0};
    CU_ASSERT_EQUAL(statement_sql_typed(cases[i].sql, cases[i].params, &typed, &count, &err),
                    ERR_OK);
    CU_ASSERT_PTR_NOT_NULL_FATAL(typed);
    CU_ASSERT_STRING_EQUAL(typed, cases[i].expected);
    if (strcmp(typed, cases[i].expected) != 0) (void)printf("\n  got: %s\n", typed);
    free(typed);
  }
}

static void sql_that_does_not_fit_its_types_is_refused(void) {
  static const struct {
    const char *sql, *params, *expected;
  } cases[] = {
      {"SELECT $1", NULL, "sql: it uses $1, and params has 0 types"},
      {"SELECT $2, $1", "int8", "sql: it uses $2, and params has 1 types"},
      {"SELECT $0", "int8", "sql: it uses $0, and params has 1 types"},
      {"SELECT $4294967297", "int8", "sql: it uses $4294967297, and params has 1 types"},
      {"SELECT $1", "int8, int8", "sql: it does not use $2, of which params has the type"},
      {"SELECT '$1'", "int8", "sql: it does not use $1, of which params has the type"},
      {"SELECT $1; DELETE FROM a", "int8", "sql: it is more than one statement"},
      {"SELECT 'a", NULL, "sql: what begins with 'a does not end"},
      {"SELECT /* a", NULL, "sql: what begins with /* a does not end"},
      {"SELECT $a$ $b$", NULL, "sql: what begins with $a$ $b$ does not end"},
      {"SELECT $1", "numeric(10,2)",
       "params: \"numeric(10\" is not the name of a type (without length and precision)"},
      {"SELECT $1", "int8,",
       "params: \"\" is not the name of a type (without length and precision)"},
      {"SELECT $1", "int8); DROP TABLE a; --",
       "params: \"int8); DROP TABLE a; --\" is not the name of a type (without length and "
       "precision)"},
      {"SELECT $1", "[]",
       "params: \"[]\" is not the name of a type (without length and precision)"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char *typed = NULL;
    size_t count;
    struct error err = {0};
    CU_ASSERT_EQUAL(statement_sql_typed(cases[i].sql, cases[i].params, &typed, &count, &err),
                    ERR_CONFIG);
    CU_ASSERT_PTR_NULL(typed);
    CU_ASSERT_STRING_EQUAL(err.text, cases[i].expected);
    if (strcmp(err.text, cases[i].expected) != 0) (void)printf("\n  got: %s\n", err.text);
  }
}

/* ---- the file ---- */

/* In the error, the file's path becomes "F". */
static struct statement_set *read_text(const char *text, struct error *err) {
  char path[] = "/tmp/assent-test-XXXXXX";
  struct statement_set *set = NULL;
  int fd = mkstemp(path);
  CU_ASSERT_FATAL(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
  (void)close(fd);
  error_clear(err);
  enum error_code code = statement_set_read(path, &set, err);
  CU_ASSERT_EQUAL(code == ERR_OK, set != NULL);
  CU_ASSERT_EQUAL(code, err->code);
  (void)unlink(path);
  char *at = strstr(err->text, path);
  if (at) memmove(at + 1, at + strlen(path), strlen(at + strlen(path)) + 1), *at = 'F';
  return set;
}

static const char two[] = "; what may run\n"
                          "[statement.debit]\n"
                          "params = int8, numeric\n"
                          "expect_rows = 1\n"
                          "sql =\n"
                          "  UPDATE account\n"
                          "\n"
                          "     SET balance = balance - $2 ; a comment is none here\n"
                          "   WHERE id = $1\n"
                          "\n"
                          "[statement.all]\n"
                          "sql = SELECT * FROM account\n";

static void file_gives_its_statements_by_name(void) {
  struct error err = {0};
  /* With the ; in it, it is more than one statement. */
  struct statement_set *set = read_text(two, &err);
  CU_ASSERT_PTR_NULL(set);
  CU_ASSERT_STRING_EQUAL(err.text, "F:2: [statement.debit]: sql: it is more than one statement");
  set = read_text("[statement.debit]\nparams = int8,\n numeric\nexpect_rows = 1\nsql =\n"
                  "  UPDATE account\n\n     SET balance = balance - $2\n  WHERE id = $1\n\n"
                  "[statement.all]\nsql = SELECT * FROM account",
                  &err);
  CU_ASSERT_PTR_NOT_NULL_FATAL(set);
  CU_ASSERT_EQUAL_FATAL(set->count, 2);
  CU_ASSERT_STRING_EQUAL(set->items[0].name, "all");
  CU_ASSERT_STRING_EQUAL(set->items[0].sql, "SELECT * FROM account");
  CU_ASSERT_EQUAL(set->items[0].param_count, 0);
  CU_ASSERT_EQUAL(set->items[0].expect_rows, -1);
  CU_ASSERT_STRING_EQUAL(set->items[1].name, "debit");
  CU_ASSERT_STRING_EQUAL(
      set->items[1].sql,
      "UPDATE account\n\n     SET balance = balance - ($2::numeric)\n  WHERE id = ($1::int8)");
  CU_ASSERT_EQUAL(set->items[1].param_count, 2);
  CU_ASSERT_EQUAL(set->items[1].expect_rows, 1);
  statement_set_free(set);
}

static void sample_file_is_accepted(void) {
  struct statement_set *set;
  struct error err = {0};
  CU_ASSERT_EQUAL(statement_set_read("docs/statements.ini", &set, &err), ERR_OK);
  CU_ASSERT_PTR_NOT_NULL_FATAL(set);
  CU_ASSERT_EQUAL(set->count, 2);
  statement_set_free(set);
}

static void mistakes_in_the_file_are_named_with_their_line(void) {
  static const struct {
    const char *text, *expected;
  } cases[] = {
      {"", "F: it has no [statement.NAME]"},
      {"\n[statement.a]\n", "F:2: [statement.a]: sql is missing"},
      {"[statement.a]\nsql = SELECT 1\n[statement.b]\nsql = SELECT $1\n",
       "F:3: [statement.b]: sql: it uses $1, and params has 0 types"},
      {"[statement.a]\nsql = \n[statement.b]\nsql = SELECT 1\n",
       "F:2: [statement.a] sql: expected a value, got nothing"},
      {"[statement.a]\nsql = SELECT 1\n[statement.a]\nsql = SELECT 1\n",
       "F:3: [statement.a]: the section came before"},
      {"[statement.a]\nsql = SELECT 1\nexpect_rows = -1\n",
       "F:3: [statement.a] expect_rows: expected from 0 to 9223372036854775807, got \"-1\""},
      {"[statement.a]\nsqll = SELECT 1\n",
       "F:2: [statement.a] sqll: unknown key; did you mean sql?"},
      {"[statment.a]\n", "F:1: [statment.a]: unknown section; did you mean [statement.*]?"},
      {"[statement.A]\n", "F:1: [statement.A]: a name is a letter of a-z, then letters, digits and "
                          "_, at most 32 in all"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct error err = {0};
    CU_ASSERT_PTR_NULL(read_text(cases[i].text, &err));
    CU_ASSERT_STRING_EQUAL(err.text, cases[i].expected);
    if (strcmp(err.text, cases[i].expected) != 0) (void)printf("\n  got: %s\n", err.text);
  }
  struct statement_set *set;
  CU_ASSERT_EQUAL(statement_set_read("/nowhere/statements.ini", &set, NULL), ERR_CONFIG);
}

static char *many(unsigned count) {
  char *text = NULL;
  size_t size;
  FILE *file = open_memstream(&text, &size);
  CU_ASSERT_PTR_NOT_NULL_FATAL(file);
  for (unsigned i = 0; i < count; i++)
    (void)fprintf(file, "[statement.s%u]\nsql = SELECT 1\n", i);
  (void)fclose(file);
  return text;
}

static void file_has_a_most_of_statements(void) {
  struct error err = {0};
  char *text = many(STATEMENT_NAMES_MAX);
  struct statement_set *set = read_text(text, &err);
  CU_ASSERT_PTR_NOT_NULL_FATAL(set);
  CU_ASSERT_EQUAL(set->count, STATEMENT_NAMES_MAX);
  statement_set_free(set);
  free(text);
  text = many(STATEMENT_NAMES_MAX + 1);
  CU_ASSERT_PTR_NULL(read_text(text, &err));
  CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "1000"));
  free(text);
}

/* ---- calls ---- */

static const struct statement_limits limits = {3, 4, 100};

static struct statement_set *bank(void) {
  struct error err = {0};
  struct statement_set *set = read_text("[statement.debit]\nparams = int8, numeric\n"
                                        "expect_rows = 1\nsql = SELECT $1, $2\n"
                                        "[statement.all]\nsql = SELECT 1\n",
                                        &err);
  CU_ASSERT_PTR_NOT_NULL_FATAL(set);
  return set;
}

/* As it comes in a request: decoded, then resolved. */
static enum error_code call(const struct statement_set *set, const char *text,
                            struct statement *out, struct error *err) {
  json_t *json = json_loads(text, 0, NULL);
  CU_ASSERT_PTR_NOT_NULL_FATAL(json);
  error_clear(err);
  enum error_code code = statement_call_decode(json, "/s/0", &limits, out, err);
  json_decref(json);
  if (code == ERR_OK) code = statement_set_resolve(set, out, "/s/0", err);
  CU_ASSERT_EQUAL(code, err->code);
  return code;
}

static void refuse(const struct statement_set *set, const char *text, enum error_code expected,
                   const char *field) {
  struct statement out;
  struct error err = {0};
  CU_ASSERT_EQUAL(call(set, text, &out, &err), expected);
  CU_ASSERT_STRING_EQUAL(err.field, field);
  statement_clear(&out);
}

static void name_is_resolved_to_its_sql(void) {
  struct statement_set *set = bank();
  struct statement out;
  struct error err = {0};
  CU_ASSERT_EQUAL_FATAL(call(set, "{\"name\":\"debit\",\"params\":[1,2.5]}", &out, &err), ERR_OK);
  CU_ASSERT_STRING_EQUAL(out.sql, "SELECT ($1::int8), ($2::numeric)");
  CU_ASSERT_EQUAL(out.param_count, 2);
  CU_ASSERT_EQUAL(out.expect_rows, 1);
  statement_clear(&out);
  CU_ASSERT_EQUAL_FATAL(call(set, "{\"name\":\"all\",\"expect_rows\":7}", &out, &err), ERR_OK);
  CU_ASSERT_EQUAL(out.expect_rows, 7);
  statement_clear(&out);
  CU_ASSERT_EQUAL(call(set, "{\"name\":\"debit\",\"params\":[1,2],\"expect_rows\":1}", &out, &err),
                  ERR_OK);
  statement_clear(&out);
  CU_ASSERT_EQUAL(call(NULL, "{\"sql\":\"SELECT 1\"}", &out, &err), ERR_OK);
  statement_clear(&out);
  statement_set_free(set);
}

static void calls_that_the_file_does_not_allow_are_refused(void) {
  struct statement_set *set = bank();
  refuse(set, "{\"sql\":\"SELECT 1\"}", ERR_SQL_NOT_ALLOWED, "/s/0/sql");
  refuse(set, "{\"name\":\"credit\"}", ERR_UNKNOWN_STATEMENT, "/s/0/name");
  refuse(NULL, "{\"name\":\"debit\"}", ERR_UNKNOWN_STATEMENT, "/s/0/name");
  refuse(set, "{\"name\":\"debit\",\"params\":[1]}", ERR_INVALID, "/s/0/params");
  refuse(set, "{\"name\":\"debit\",\"params\":[1,2,3]}", ERR_INVALID, "/s/0/params");
  refuse(set, "{\"name\":\"debit\"}", ERR_INVALID, "/s/0/params");
  refuse(set, "{\"name\":\"all\",\"params\":[1]}", ERR_INVALID, "/s/0/params");
  refuse(set, "{\"name\":\"debit\",\"params\":[1,2],\"expect_rows\":0}", ERR_INVALID,
         "/s/0/expect_rows");
  refuse(set, "{}", ERR_INVALID, "/s/0/sql");
  refuse(set, "{\"sql\":\"SELECT 1\",\"name\":\"all\"}", ERR_INVALID, "/s/0/name");
  refuse(set, "{\"name\":\"\"}", ERR_INVALID, "/s/0/name");
  refuse(set, "{\"name\":7}", ERR_INVALID, "/s/0/name");
  statement_set_free(set);
}

static void calls_at_a_limit_pass_and_over_it_do_not(void) {
  char sql[128] = "{\"sql\":\"";
  memset(sql + 8, 'x', 100);
  (void)strcpy(sql + 108, "\"}");
  struct statement out;
  struct error err = {0};
  CU_ASSERT_EQUAL(call(NULL, sql, &out, &err), ERR_OK);
  statement_clear(&out);
  (void)strcpy(sql + 108, "x\"}");
  refuse(NULL, sql, ERR_LIMIT, "/s/0/sql");
  CU_ASSERT_EQUAL(call(NULL, "{\"sql\":\"x\",\"params\":[1,2,3,4]}", &out, &err), ERR_OK);
  statement_clear(&out);
  refuse(NULL, "{\"sql\":\"x\",\"params\":[1,2,3,4,5]}", ERR_LIMIT, "/s/0/params");
  struct statement_list list;
  json_t *json = json_pack("[{ss}{ss}{ss}]", "sql", "x", "name", "y", "sql", "z");
  error_clear(&err);
  CU_ASSERT_EQUAL(statement_call_list_decode(json, "/s", &limits, &list, &err), ERR_OK);
  CU_ASSERT_EQUAL(list.count, 3);
  statement_list_free(&list);
  json_array_append_new(json, json_pack("{ss}", "sql", "x"));
  CU_ASSERT_EQUAL(statement_call_list_decode(json, "/s", &limits, &list, &err), ERR_LIMIT);
  CU_ASSERT_STRING_EQUAL(err.field, "/s");
  json_decref(json);
}

/* ---- at an agent ---- */

static void agent_lets_through_what_its_file_has(void) {
  struct statement_set *set = bank();
  struct error err = {0};
  const char *const params[] = {"1", "2"};
  const struct statement debit = {.sql = "SELECT ($1::int8), ($2::numeric)",
                                  .params = params,
                                  .param_count = 2,
                                  .expect_rows = 1};
  struct statement run[] = {debit, {.sql = "SELECT 1", .expect_rows = -1}};
  CU_ASSERT_EQUAL(statement_set_allows(set, run, 2, &err), ERR_OK);
  CU_ASSERT_EQUAL(statement_set_allows(set, run, 0, &err), ERR_OK);
  run[1].sql = "SELECT 2";
  CU_ASSERT_EQUAL(statement_set_allows(set, run, 2, &err), ERR_SQL_NOT_ALLOWED);
  CU_ASSERT_EQUAL(statement_set_allows(NULL, run, 2, NULL), ERR_OK);
  struct statement other = debit;
  other.param_count = 1;
  CU_ASSERT_EQUAL(statement_set_allows(set, &other, 1, NULL), ERR_SQL_NOT_ALLOWED);
  other = debit;
  other.expect_rows = -1;
  CU_ASSERT_EQUAL(statement_set_allows(set, &other, 1, NULL), ERR_SQL_NOT_ALLOWED);
  other = debit;
  other.sql = "SELECT $1, $2";
  CU_ASSERT_EQUAL(statement_set_allows(set, &other, 1, NULL), ERR_SQL_NOT_ALLOWED);
  statement_set_free(set);
}

SUITE(statement_set, CASE(typed_sql_has_each_placeholder_once_with_its_type),
      CASE(sql_that_does_not_fit_its_types_is_refused), CASE(file_gives_its_statements_by_name),
      CASE(sample_file_is_accepted), CASE(mistakes_in_the_file_are_named_with_their_line),
      CASE(file_has_a_most_of_statements), CASE(name_is_resolved_to_its_sql),
      CASE(calls_that_the_file_does_not_allow_are_refused),
      CASE(calls_at_a_limit_pass_and_over_it_do_not), CASE(agent_lets_through_what_its_file_has))
