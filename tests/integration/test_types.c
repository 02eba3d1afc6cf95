/* Parameters and results of every common PostgreSQL type: what is written by a parameter is read back,
 * in the result of the statement that wrote it, and by the database itself from what it keeps.
 */
#include "tests/lib/world.h"

#include <string.h>

/* As JSON, without the replacement of ' by ": these have quotes of their own. `shown` NULL: as the parameter.
 * `kept` is the value as SQL, of the same type. */
static const struct {
  const char *type, *parameter, *shown, *kept;
} values[] = {
    {"int2", "-32768", NULL, "'-32768'"},
    {"int4", "2147483647", NULL, "'2147483647'"},
    {"int8", "9007199254740993", NULL, "'9007199254740993'"},
    {"int8", "-9223372036854775808", NULL, "'-9223372036854775808'"},
    {"int8", "\"9223372036854775807\"", "9223372036854775807", "'9223372036854775807'"},
    {"float4", "0.5", NULL, "'0.5'"},
    {"float8", "0.1", NULL, "'0.1'"},
    {"float8", "1e300", NULL, "'1e300'"},
    {"float8", "\"NaN\"", NULL, "'NaN'"},
    {"float8", "\"-Infinity\"", NULL, "'-Infinity'"},
    {"bool", "true", NULL, "true"},
    {"bool", "\"off\"", "false", "false"},
    {"numeric", "\"12345678901234567890.123456789\"", NULL, "'12345678901234567890.123456789'"},
    {"numeric", "10", "\"10\"", "'10'"},
    {"numeric(5,2)", "\"1.10\"", NULL, "'1.10'"},
    {"text", "\"\"", NULL, "''"},
    {"text", "\"plain\"", NULL, "'plain'"},
    {"text", "\"O'Reilly said \\\"no\\\"; DROP TABLE typed; --\"", NULL,
     "$$O'Reilly said \"no\"; DROP TABLE typed; --$$"},
    {"text", "\"back\\\\slash, tab\\tand line\\nend\"", NULL,
     "E'back\\\\slash, tab\\tand line\\nend'"},
    {"text", "\"\\u00e9\\u20ac\\ud83d\\ude00\"", NULL, "E'\\u00e9\\u20ac\\U0001F600'"},
    {"varchar(3)", "\"abc\"", NULL, "'abc'"},
    {"char(3)", "\"a\"", "\"a  \"", "'a'"},
    {"bytea", "\"\\\\x00ff27\"", NULL, "'\\x00ff27'"},
    {"date", "\"2026-02-28\"", NULL, "'2026-02-28'"},
    {"timestamp", "\"2026-02-28 23:59:59.123456\"", NULL, "'2026-02-28 23:59:59.123456'"},
    {"timestamptz", "\"2026-02-28T23:59:59.123456+01:00\"", "\"2026-02-28 22:59:59.123456+00\"",
     "'2026-02-28 22:59:59.123456+00'"},
    {"interval", "\"1 day 02:03:04\"", NULL, "'1 day 02:03:04'"},
    {"uuid", "\"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11\"", "\"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\"",
     "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"},
    {"json", "{\"a\":[1,null,\"x\"]}", "\"{\\\"a\\\":[1,null,\\\"x\\\"]}\"",
     "'{\"a\":[1,null,\"x\"]}'"},
    {"jsonb", "[true,{\"b\":1.50}]", "\"[true, {\\\"b\\\": 1.5}]\"", "'[true,{\"b\":1.5}]'"},
    {"jsonb", "\"\\\"text\\\"\"", NULL, "'\"text\"'"},
    {"int4[]", "\"{1,NULL,3}\"", NULL, "'{1,NULL,3}'"},
    {"text[]", "\"{plain,\\\"with \\\\\\\"quotes\\\\\\\", and comma\\\",\\\"\\\"}\"", NULL,
     "ARRAY['plain','with \"quotes\", and comma','']"},
    {"mood", "\"very happy\"", NULL, "'very happy'"},
    {"inet", "\"10.0.0.0/8\"", NULL, "'10.0.0.0/8'"},
    {"int4range", "\"[1,5)\"", NULL, "'[1,5)'"},
    {"text", "null", NULL, "NULL"},
    {"int8", "null", NULL, "NULL"},
    {"numeric", "null", NULL, "NULL"},
};
enum { VALUES = sizeof values / sizeof values[0] };

/* Databases serve several tests. */
static void make_mood(const struct world *w) {
  world_sql(w, BANK_A,
            "DROP TYPE IF EXISTS mood CASCADE; CREATE TYPE mood AS ENUM ('sad', 'very happy')");
}

static void make_table(const struct world *w, size_t number, const char *type) {
  world_sql(w, BANK_A, "DROP TABLE IF EXISTS typed_%zu; CREATE TABLE typed_%zu (v %s)", number,
            number, type);
}

static void insert(struct world *w, int i) {
  const char *body =
      api_text(w->api,
               "{\"commit\":true,\"branches\":[{\"participant\":\"bank_a\",\"statements\":["
               "{\"sql\":\"INSERT INTO typed_%d VALUES ($1) RETURNING v\",\"params\":[%s],"
               "\"expect_rows\":1}]},{\"participant\":\"bank_b\",\"statements\":["
               "{\"sql\":\"INSERT INTO ledger VALUES ($1)\",\"params\":[\"type-%d\"]}]}]}",
               i, values[i].parameter, i);
  const struct reply *reply = api_post_plain(w->api, "/v1/transactions", body);
  CHECK_STATUS(reply, 200);
  const char *expected = values[i].shown ? values[i].shown : values[i].parameter;
  json_t *shown = json_loads(expected, JSON_DECODE_ANY, NULL);
  CU_ASSERT_PTR_NOT_NULL_FATAL(shown);
  if (!json_equal(shown, reply_at(reply, "/branches/0/results/0/rows/0/0")))
    check_failed(__FILE__, __LINE__, false, "%s: %s expected: %s", values[i].type, expected,
                 reply->text);
  json_decref(shown);
}

static void values_of_every_common_type_are_kept_and_shown(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  make_mood(w);
  for (int i = 0; i < VALUES; i++) {
    make_table(w, (size_t)i, values[i].type);
    insert(w, i);
    /* Fails when it is not so. As text: json knows no equality. */
    world_sql(w, BANK_A,
              "DO $check$ BEGIN ASSERT (SELECT v::text IS NOT DISTINCT FROM (%s)::%s::text "
              "FROM typed_%d); END $check$",
              values[i].kept, values[i].type, i);
  }
  world_close(w);
}
IN_BOTH_MODES(values_of_every_common_type_are_kept_and_shown)

/* What the type cannot hold is the caller's mistake, and named. */
static void values_that_a_type_cannot_hold_abort(enum world_mode mode) {
  static const struct {
    const char *type, *parameter, *sqlstate;
  } wrong[] = {{"int2", "32768", "22003"},
               {"int8", "\"9223372036854775808\"", "22003"},
               {"int4", "1.5", "22P02"},
               {"bool", "\"perhaps\"", "22P02"},
               {"uuid", "\"no\"", "22P02"},
               {"date", "\"2026-02-30\"", "22008"},
               {"varchar(3)", "\"abcd\"", "22001"},
               {"mood", "\"angry\"", "22P02"}};
  struct world *w = world_open(mode, NULL);
  make_mood(w);
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    make_table(w, i, wrong[i].type);
    const struct reply *reply = api_post_plain(
        w->api, "/v1/transactions",
        api_text(w->api,
                 "{\"commit\":true,\"branches\":[{\"participant\":\"bank_a\",\"statements\":["
                 "{\"sql\":\"INSERT INTO typed_%zu VALUES ($1)\",\"params\":[%s]}]}]}",
                 i, wrong[i].parameter));
    CHECK_PROBLEM(reply, 409, "aborted");
    CHECK_STRING(reply, "/transaction/cause/kind", "statement");
    CHECK_STRING(reply, "/transaction/cause/sqlstate", wrong[i].sqlstate);
  }
  world_close(w);
}
IN_BOTH_MODES(values_that_a_type_cannot_hold_abort)

SUITE(types, BOTH(values_of_every_common_type_are_kept_and_shown),
      BOTH(values_that_a_type_cannot_hold_abort))
