/* common/json.c, common/json_parse.c and common/json_writer.c */
#include "common/json.h"

#include <stdlib.h>
#include <string.h>

#include "tests/lib/suite.h"

/* ---- in ---- */

static void accept(const char *text) {
  struct error err = {.code = ERR_OK};
  json_t *value = json_parse(text, strlen(text), &err);
  CU_ASSERT_PTR_NOT_NULL(value);
  CU_ASSERT_EQUAL(err.code, ERR_OK);
  json_decref(value);
}

static void refuse_n(const char *text, size_t length, const char *place) {
  struct error err = {.code = ERR_OK};
  json_t *value = json_parse(text, length, &err);
  CU_ASSERT_PTR_NULL(value);
  json_decref(value);
  CU_ASSERT_EQUAL(err.code, ERR_BAD_JSON);
  if (strncmp(err.text, place, strlen(place)) != 0) {
    (void)printf("\n  %.60s: %s", text, err.text);
    CU_FAIL("another place or reason");
  }
}

static void refuse(const char *text, const char *place) {
  refuse_n(text, strlen(text), place);
}

static void parse_of_every_kind_is_accepted(void) {
  static const char *const good[] = {
      "null",
      "true",
      "0",
      "-1",
      "\"\"",
      "[]",
      "{}",
      " \t\r\n[1, 2.5, -0.0, 1e3, 1E-3]\n",
      "{\"a\":{\"a\":[{}]}}",
      "\"\\u20ac\\\\\\\"\"",
      "\"\\ud83d\\ude00\"",
      "9223372036854775807",
      "-9223372036854775808",
      "\"[[[[ 1.23456789012345678 {{{\"",
      "\"a\\\\\"",
      "{\"\\\"\":\"\\\"[\"}",
  };
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
    accept(good[i]);
}

static void parse_needs_no_terminator(void) {
  struct error err = {.code = ERR_OK};
  json_t *value = json_parse("[1]garbage", 3, &err);
  CU_ASSERT_TRUE(json_is_array(value));
  json_decref(value);
}

static void parse_of_broken_text_is_refused_with_its_place(void) {
  refuse("", "line 1, column 0: ");
  refuse("{", "line 1, column 1: ");
  refuse("[1,\n 2,\n 3 4]", "line 3, column ");
  refuse("[1] [2]", "line 1, column 5: end of file expected");
  refuse("{\"a\":1,}", "line 1, ");
  refuse("'a'", "line 1, ");
  refuse("{a:1}", "line 1, ");
  refuse("01", "line 1, ");
  refuse("1.", "line 1, ");
  refuse("+1", "line 1, ");
  refuse("NaN", "line 1, ");
  refuse("\"a\nb\"", "line 1, ");
  refuse("\"abc", "line 1, ");
  refuse("\"abc\\", "line 1, ");
  refuse("]", "line 1, ");
  refuse("-", "line 1, ");
  refuse("1e", "line 1, ");
  refuse("1.2.3", "line 1, ");
}

static void parse_of_duplicate_keys_is_refused(void) {
  refuse("{\"a\":1,\n\"a\":1}", "line 2, column 3: duplicate object key");
  refuse("{\"a\":1,\"\\u0061\":1}", "line 1, column ");
}

static void parse_of_nul_is_refused(void) {
  refuse("\"\\u0000\"", "line 1, ");
  refuse("{\"a\\u0000b\":1}", "line 1, ");
  refuse_n("\"a\0b\"", 5, "line 1, ");
  refuse_n("[1]\0", 4, "line 1, ");
  refuse_n("\0", 1, "line 1, ");
}

static void parse_of_bad_utf8_is_refused(void) {
  refuse("\"\xFF\"", "line 1, ");
  refuse("\"\xC0\xAF\"", "line 1, ");
  refuse("\"\xED\xA0\x80\"", "line 1, ");
  refuse("\"\xE2\x82\"", "line 1, ");
  refuse("\"\\ud83d\"", "line 1, ");
}

static char *nested(size_t depth, const char *open, const char *close) {
  char *text = calloc(depth, strlen(open) + strlen(close) + 1);
  CU_ASSERT_PTR_NOT_NULL_FATAL(text);
  for (size_t i = 0; i < depth; i++)
    strcat(text, open);
  for (size_t i = 0; i < depth; i++)
    strcat(text, close);
  return text;
}

static void parse_deeper_than_the_limit_is_refused(void) {
  char *text = nested(JSON_DEPTH_MAX, "[", "]");
  accept(text);
  free(text);
  text = nested(JSON_DEPTH_MAX + 1, "[", "]");
  refuse(text, "line 1, column 33: nested more than 32 deep");
  free(text);
  text = nested(10000, "[{\"a\":", "}]");
  refuse(text, "line 1, ");
  free(text);
}

static void parse_wide_is_not_deep(void) {
  accept(
      "[[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],"
      "[],[],[],[],[],[]]");
}

static void parse_of_integers_beyond_64_bits_is_refused(void) {
  refuse("9223372036854775808", "line 1, ");
  refuse("-9223372036854775809", "line 1, ");
  refuse("123456789012345678901234567890", "line 1, ");
}

static void parse_of_too_exact_fractions_is_refused(void) {
  accept("0.123456789012345");
  accept("123456789012.345");
  accept("1.00000000000000000000");
  accept("0.00000000000000000001");
  accept("1234567890123450000.0");
  accept("0.000000000000000000000000000000");
  refuse("0.1234567890123456", "line 1, column 1: a fraction of more than 15 significant digits");
  refuse("[1,\n  1234567890123456.5]", "line 2, column 3: a fraction");
  refuse("1.0000000000000001", "line 1, column 1: a fraction");
  refuse("1234567890123456e0", "line 1, column 1: a fraction");
}

static void parse_of_numbers_no_double_holds_is_refused(void) {
  accept("1e307");
  accept("1e-307");
  accept("0e999999999999999999999");
  accept("0.0e-999999999999999999999");
  refuse("1e308", "line 1, column 1: a number out of");
  refuse("1e999999999999999999999", "line 1, column 1: a number out of");
  refuse("1e-400", "line 1, column 1: a number out of");
  refuse("0.00001e-304", "line 1, column 1: a number out of");
  accept("0.00001e308");
  accept("1000000e-310");
}

static void parse_column_counts_characters(void) {
  refuse("[\"\xC3\xA4\xC3\xA4\", 1.2345678901234567]", "line 1, column 8: a fraction");
}

/* ---- beside jansson's own reader ---- */

enum { TEXTS = 200000, TEXT_SIZE = 48 };

static uint32_t dice(uint32_t below) {
  static uint64_t state = 1; /* the same texts in every run */
  state = state * 6364136223846793005U + 1442695040888963407U;
  return (uint32_t)(state >> 33) % below;
}

/* Something like JSON: one of these, changed in up to three places. */
static size_t make_text(char *text) {
  static const char *const seeds[] = {
      "{\"a\":[1,-2.5e1,true],\"b\":{\"c\":null}}",
      "[\"x\\u00e4\\ud83d\\ude00\\n\",\"\xC3\xA4\xE2\x82\xAC\",false]",
      "{\"a\":0,\"ab\":\"\",\"\\\"\":-0}", " [ { } , [ ] ] "};
  static const char bytes[] = "{}[]:,\"\\ \n0123456789-+.eEatrufnlsbd\x01\x7f\xC3\xA4\xED\xA0";
  (void)snprintf(text, TEXT_SIZE, "%s", seeds[dice(4)]);
  size_t length = strlen(text);
  for (uint32_t changes = dice(4); changes > 0; changes--) {
    size_t at = dice((uint32_t)length);
    if (dice(3) == 0 && length > 1)
      memmove(text + at, text + at + 1, length-- - at); /* with the end */
    else
      text[at] = bytes[dice(sizeof bytes - 1)];
  }
  return length;
}

static void parse_reads_what_jansson_reads(void) {
  char text[TEXT_SIZE];
  unsigned good = 0, bad = 0;
  for (int i = 0; i < TEXTS; i++) {
    size_t length = make_text(text);
    struct error err = {.code = ERR_OK};
    json_t *is = json_parse(text, length, &err);
    json_t *was = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
    bool ours_alone = strstr(err.text, "a number out of") != NULL; /* is refused by us only */
    if (!ours_alone && !(is ? was && json_equal(is, was) : !was)) {
      (void)printf("\n  %s: %s\n", text, err.text);
      CU_FAIL("read in another way");
    }
    good += is != NULL;
    bad += is == NULL;
    json_decref(is);
    json_decref(was);
  }
  CU_ASSERT_TRUE(good > TEXTS / 10 && bad > TEXTS / 10);
}

static void text_of_an_array_is_told(void) {
  static const char *const arrays[] = {"[]", " [1, {\"a\":[0.12345678901234567890, \"\\u20ac\"]}] ",
                                       "[{\"a\":1,\"a\":2}]"};
  static const char *const others[] = {"", "{}", "null", "[", "[1] 2", "[\"\\x\"]", "[1,]", "[01]"};
  for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++)
    CU_ASSERT_TRUE(json_is_array_text(arrays[i]));
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
    CU_ASSERT_FALSE(json_is_array_text(others[i]));
}

/* ---- fields ---- */

static const struct json_field fields[] = {
    {"name", JSON_KIND_STRING, true, 1, 5},          {"count", JSON_KIND_INTEGER, false, 1, 10},
    {"flag", JSON_KIND_BOOLEAN, false, 0, 0},        {"list", JSON_KIND_ARRAY, false, 0, 2},
    {"inner", JSON_KIND_OBJECT, false, 0, 0},        {"any", JSON_KIND_ANY, false, 0, 0},
    {"big", JSON_KIND_INTEGER, false, 0, INT64_MAX},
};

static void check_object(const char *text, enum error_code code, const char *field,
                         const char *detail) {
  struct error err = {.code = ERR_OK};
  json_t *value = json_parse(text, strlen(text), &err);
  CU_ASSERT_PTR_NOT_NULL_FATAL(value);
  CU_ASSERT_EQUAL(json_check_object(value, "/a/0", fields, sizeof fields / sizeof fields[0], &err),
                  code);
  CU_ASSERT_EQUAL(err.code, code);
  CU_ASSERT_STRING_EQUAL(err.field, field);
  CU_ASSERT_STRING_EQUAL(err.text, detail);
  json_decref(value);
}

static void check_of_good_objects_is_ok(void) {
  check_object("{\"name\":\"x\"}", ERR_OK, "", "");
  check_object("{\"name\":\"x\",\"count\":null,\"flag\":null,\"list\":null,\"inner\":null,"
               "\"any\":null,\"big\":null}",
               ERR_OK, "", "");
  check_object("{\"name\":\"12345\",\"count\":10,\"flag\":false,\"list\":[1,2],\"inner\":{},"
               "\"any\":[],\"big\":9223372036854775807}",
               ERR_OK, "", "");
}

static void check_of_wrong_fields_names_them(void) {
  check_object("[]", ERR_INVALID, "/a/0", "must be an object, not an array");
  check_object("{}", ERR_INVALID, "/a/0/name", "name is required");
  check_object("{\"name\":null}", ERR_INVALID, "/a/0/name", "name is required");
  check_object("{\"name\":1}", ERR_INVALID, "/a/0/name", "name must be a string, not an integer");
  check_object("{\"name\":\"\"}", ERR_INVALID, "/a/0/name", "name must have 1 to 5 bytes, not 0");
  check_object("{\"name\":\"123456\"}", ERR_INVALID, "/a/0/name",
               "name must have 1 to 5 bytes, not 6");
  check_object("{\"name\":\"x\",\"count\":0}", ERR_INVALID, "/a/0/count",
               "count must be 1 to 10, not 0");
  check_object("{\"name\":\"x\",\"count\":1.5}", ERR_INVALID, "/a/0/count",
               "count must be an integer, not a fraction");
  check_object("{\"name\":\"x\",\"big\":-1}", ERR_INVALID, "/a/0/big",
               "big must be at least 0, not -1");
  check_object("{\"name\":\"x\",\"flag\":0}", ERR_INVALID, "/a/0/flag",
               "flag must be true or false, not an integer");
  check_object("{\"name\":\"x\",\"list\":[1,2,3]}", ERR_INVALID, "/a/0/list",
               "list must have 0 to 2 elements, not 3");
  check_object("{\"name\":\"x\",\"inner\":\"\"}", ERR_INVALID, "/a/0/inner",
               "inner must be an object, not a string");
}

static void check_of_unknown_fields_names_them(void) {
  check_object("{\"name\":\"x\",\"nane\":1}", ERR_UNKNOWN_FIELD, "/a/0/nane",
               "unknown field \"nane\"");
  check_object("{\"a/b~c\":1,\"name\":\"x\"}", ERR_UNKNOWN_FIELD, "/a/0/a~1b~0c",
               "unknown field \"a/b~c\"");
}

static void check_of_absent_value_is_invalid(void) {
  struct error err = {.code = ERR_OK};
  CU_ASSERT_EQUAL(json_check_object(NULL, "/x", fields, 1, &err), ERR_INVALID);
}

static void get_of_absent_fields_gives_the_default(void) {
  static const char text[] = "{\"s\":\"x\",\"i\":5,\"b\":true,\"n\":null}";
  json_t *value = json_parse(text, strlen(text), NULL);
  CU_ASSERT_PTR_NOT_NULL_FATAL(value);
  CU_ASSERT_STRING_EQUAL(json_get_string(value, "s", "y"), "x");
  CU_ASSERT_STRING_EQUAL(json_get_string(value, "n", "y"), "y");
  CU_ASSERT_EQUAL(json_get_integer(value, "i", 7), 5);
  CU_ASSERT_EQUAL(json_get_integer(value, "none", 7), 7);
  CU_ASSERT_TRUE(json_get_boolean(value, "b", false));
  CU_ASSERT_TRUE(json_get_boolean(value, "none", true));
  json_decref(value);
}

/* ---- numbers ---- */

static void real_is_written_shortest(void) {
  static const struct {
    double value;
    const char *text;
  } cases[] = {
      {10.1, "10.1"},
      {0.1, "0.1"},
      {0.1 + 0.2, "0.30000000000000004"},
      {1e21, "1e+21"},
      {1.0 / 3, "0.3333333333333333"},
      {100, "100"},
      {5e-324, "4.94065645841247e-324"},
      {-0.5, "-0.5"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char text[32];
    json_format_real(cases[i].value, text);
    CU_ASSERT_STRING_EQUAL(text, cases[i].text);
    CU_ASSERT_TRUE(strtod(text, NULL) == cases[i].value);
  }
}

/* ---- out ---- */

static void expect(struct json_writer *w, const char *text) {
  size_t length;
  char *data = json_writer_take(w, &length);
  CU_ASSERT_PTR_NOT_NULL_FATAL(data);
  CU_ASSERT_STRING_EQUAL(data, text);
  CU_ASSERT_EQUAL(length, strlen(text));
  free(data);
}

static void writer_puts_commas_and_colons(void) {
  struct json_writer w;
  json_writer_init(&w);
  json_object_begin(&w);
  json_key(&w, "a");
  json_array_begin(&w);
  json_write_integer(&w, 1);
  json_write_null(&w);
  json_array_begin(&w);
  json_array_end(&w);
  json_object_begin(&w);
  json_object_end(&w);
  json_write_boolean(&w, false);
  json_array_end(&w);
  json_key(&w, "b");
  json_write_string(&w, "x");
  json_key(&w, "c");
  json_write_string(&w, NULL);
  json_key(&w, "d");
  json_write_raw(&w, "[1]");
  json_key(&w, "e");
  json_write_raw(&w, NULL);
  json_object_end(&w);
  expect(&w, "{\"a\":[1,null,[],{},false],\"b\":\"x\",\"c\":null,\"d\":[1],\"e\":null}");
}

static void writer_empty_gives_empty_text(void) {
  struct json_writer w;
  json_writer_init(&w);
  expect(&w, "");
}

static void writer_writes_extreme_integers(void) {
  struct json_writer w;
  json_writer_init(&w);
  json_array_begin(&w);
  json_write_integer(&w, INT64_MIN);
  json_write_integer(&w, INT64_MAX);
  json_write_integer(&w, 0);
  json_write_integer(&w, -10);
  json_array_end(&w);
  expect(&w, "[-9223372036854775808,9223372036854775807,0,-10]");
}

static void writer_escapes_strings(void) {
  struct json_writer w;
  json_writer_init(&w);
  json_array_begin(&w);
  json_write_string(&w, "\"\\/\b\t\n\v\f\r\x01\x1f\x7f");
  json_write_string(&w, "\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80");
  json_write_string(&w, "a\xFF\xC3z\xE2\x82");
  json_write_string_n(&w, "n\0l", 3);
  json_array_end(&w);
  expect(&w, "[\"\\\"\\\\/\\b\\t\\n\\u000b\\f\\r\\u0001\\u001f\\u007f\","
             "\"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\","
             "\"a\xEF\xBF\xBD\xEF\xBF\xBDz\xEF\xBF\xBD\xEF\xBF\xBD\",\"n\\u0000l\"]");
}

static void writer_writes_times(void) {
  struct json_writer w;
  json_writer_init(&w);
  json_array_begin(&w);
  json_write_time(&w, 0);
  json_write_time(&w, 1500000);
  json_array_end(&w);
  expect(&w, "[null,\"1970-01-01T00:00:01.500000Z\"]");
}

/* Every byte, at every place around where the buffer grows, comes back through jansson. */
static void writer_text_reads_back(void) {
  char text[700];
  for (size_t length = 480; length < 540; length++) {
    for (size_t i = 0; i < length; i++)
      text[i] = (char)(1 + (i * 7 + length) % 127);
    struct json_writer w;
    json_writer_init(&w);
    json_write_string_n(&w, text, length);
    size_t size;
    char *json = json_writer_take(&w, &size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(json);
    json_t *value = json_parse(json, size, NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(value);
    CU_ASSERT_EQUAL(json_string_length(value), length);
    CU_ASSERT_EQUAL(memcmp(json_string_value(value), text, length), 0);
    json_decref(value);
    free(json);
  }
}

static void writer_copies_values(void) {
  static const char text[] =
      "{\"a\":[1,-2.5,true,false,null,\"x\\\"\"],\"b\\n\":{},\"c\":[[]],\"d\":0.1}";
  json_t *value = json_parse(text, strlen(text), NULL);
  CU_ASSERT_PTR_NOT_NULL_FATAL(value);
  struct json_writer w;
  json_writer_init(&w);
  json_write_value(&w, value);
  json_decref(value);
  expect(&w, text);
}

static void writer_failed_stays_failed(void) {
  struct json_writer w;
  json_writer_init(&w);
  json_array_begin(&w);
  w.failed = true; /* as when memory runs out */
  json_write_string(&w, "x");
  json_key(&w, "k");
  json_write_integer(&w, 1);
  json_array_end(&w);
  CU_ASSERT_PTR_NULL(json_writer_take(&w, NULL));
  CU_ASSERT_FALSE(w.failed); /* usable again */
}

SUITE(json, CASE(parse_of_every_kind_is_accepted), CASE(parse_needs_no_terminator),
      CASE(parse_of_broken_text_is_refused_with_its_place),
      CASE(parse_of_duplicate_keys_is_refused), CASE(parse_of_nul_is_refused),
      CASE(parse_of_bad_utf8_is_refused), CASE(parse_deeper_than_the_limit_is_refused),
      CASE(parse_wide_is_not_deep), CASE(parse_of_integers_beyond_64_bits_is_refused),
      CASE(parse_of_too_exact_fractions_is_refused),
      CASE(parse_of_numbers_no_double_holds_is_refused), CASE(parse_column_counts_characters),
      CASE(parse_reads_what_jansson_reads), CASE(text_of_an_array_is_told),
      CASE(check_of_good_objects_is_ok), CASE(check_of_wrong_fields_names_them),
      CASE(check_of_unknown_fields_names_them), CASE(check_of_absent_value_is_invalid),
      CASE(get_of_absent_fields_gives_the_default), CASE(real_is_written_shortest),
      CASE(writer_puts_commas_and_colons), CASE(writer_empty_gives_empty_text),
      CASE(writer_writes_extreme_integers), CASE(writer_escapes_strings), CASE(writer_writes_times),
      CASE(writer_text_reads_back), CASE(writer_copies_values), CASE(writer_failed_stays_failed))
