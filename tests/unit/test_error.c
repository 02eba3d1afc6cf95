/* common/error.c and common/utf8.c */
#include "common/error.h"

#include <string.h>

#include "common/utf8.h"
#include "tests/lib/suite.h"

static void set_on_empty_fills_and_returns_code(void) {
  struct error err = {.code = ERR_OK};
  CU_ASSERT_EQUAL(error_set(&err, ERR_LIMIT, "at most %d", 3), ERR_LIMIT);
  CU_ASSERT_EQUAL(err.code, ERR_LIMIT);
  CU_ASSERT_STRING_EQUAL(err.text, "at most 3");
}

static void set_twice_keeps_the_first(void) {
  struct error err = {.code = ERR_OK};
  error_set(&err, ERR_LIMIT, "first");
  CU_ASSERT_EQUAL(error_set(&err, ERR_IO, "second"), ERR_IO);
  CU_ASSERT_EQUAL(err.code, ERR_LIMIT);
  CU_ASSERT_STRING_EQUAL(err.text, "first");
}

static void set_without_struct_returns_code(void) {
  CU_ASSERT_EQUAL(error_set(NULL, ERR_IO, "nobody listens"), ERR_IO);
}

static void wrap_puts_outer_text_first(void) {
  struct error err = {.code = ERR_OK};
  error_set(&err, ERR_IO, "disk on fire");
  CU_ASSERT_EQUAL(error_wrap(&err, "log %d", 7), ERR_IO);
  CU_ASSERT_STRING_EQUAL(err.text, "log 7: disk on fire");
}

static void field_twice_keeps_the_innermost(void) {
  struct error err = {.code = ERR_OK};
  error_set(&err, ERR_INVALID, "no");
  CU_ASSERT_EQUAL(error_field(&err, "/a/b"), ERR_INVALID);
  error_field(&err, "/a");
  CU_ASSERT_STRING_EQUAL(err.field, "/a/b");
}

static void field_without_struct_is_not_ok(void) {
  CU_ASSERT_NOT_EQUAL(error_field(NULL, "/a"), ERR_OK);
}

static void limit_twice_keeps_the_innermost(void) {
  struct error err = {.code = ERR_OK};
  error_set(&err, ERR_LIMIT, "no");
  CU_ASSERT_EQUAL(error_limit(&err, "sql", 100), ERR_LIMIT);
  CU_ASSERT_EQUAL(error_limit(&err, "body", 200), ERR_LIMIT);
  CU_ASSERT_STRING_EQUAL(err.limit.name, "sql");
  CU_ASSERT_EQUAL(err.limit.value, 100);
  CU_ASSERT_NOT_EQUAL(error_limit(NULL, "sql", 100), ERR_OK);
}

static void text_with_line_ends_becomes_one_line(void) {
  struct error err = {.code = ERR_OK};
  error_set(&err, ERR_IO, "a\nb\r\tc\x7f");
  CU_ASSERT_STRING_EQUAL(err.text, "a b  c ");
}

static void long_text_is_cut_between_characters(void) {
  char text[600];
  memset(text, 'x', sizeof text);
  memcpy(text + 510, "\xC3\xA4", 3); /* bytes 510 and 511: only one has room */
  struct error err = {.code = ERR_OK};
  error_set(&err, ERR_IO, "%s", text);
  CU_ASSERT_EQUAL(strlen(err.text), 510);
  error_wrap(&err, "%s", "outer");
  CU_ASSERT_EQUAL(strlen(err.text), 511);
}

static void every_code_has_an_entry(void) {
#define X(name, wire, class, status, title)                                                        \
  CU_ASSERT_STRING_EQUAL(error_wire_code(name), wire);                                             \
  CU_ASSERT_STRING_EQUAL(error_title(name), title);                                                \
  CU_ASSERT_EQUAL(error_class_of(name), class);                                                    \
  CU_ASSERT_EQUAL(error_http_status(name), status);
  ERROR_CODES(X)
#undef X
}

static void wire_codes_are_distinct(void) {
  for (int i = 0; i <= ERR_LOG; i++)
    for (int j = 0; j < i; j++)
      CU_ASSERT_STRING_NOT_EQUAL(error_wire_code((enum error_code)i),
                                 error_wire_code((enum error_code)j));
}

static void ambiguous_codes_are_no_callers_fault(void) {
  CU_ASSERT_EQUAL(error_class_of(ERR_LOST), CLASS_AMBIGUOUS);
  CU_ASSERT_EQUAL(error_class_of(ERR_UNAVAILABLE), CLASS_RETRY);
}

static void utf8_sequences_are_told_from_others(void) {
  static const struct {
    const char *text;
    size_t length, expected;
  } cases[] = {
      {"a", 1, 1},
      {"\x7F", 1, 1},
      {"\x80", 1, 0},
      {"\xC2\x80", 2, 2},
      {"\xC2", 1, 0},
      {"\xC1\xBF", 2, 0},         /* overlong */
      {"\xE0\xA0\x80", 3, 3},     /**/
      {"\xE0\x9F\xBF", 3, 0},     /* overlong */
      {"\xED\x9F\xBF", 3, 3},     /**/
      {"\xED\xA0\x80", 3, 0},     /* surrogate */
      {"\xEF\xBF\xBF", 3, 3},     /**/
      {"\xEF\xBF", 2, 0},         /* cut */
      {"\xF0\x90\x80\x80", 4, 4}, /**/
      {"\xF0\x8F\xBF\xBF", 4, 0}, /* overlong */
      {"\xF4\x8F\xBF\xBF", 4, 4}, /**/
      {"\xF4\x90\x80\x80", 4, 0}, /* past the end */
      {"\xF5\x80\x80\x80", 4, 0},
      {"\xFF", 1, 0},
      {"\xE2\x82g", 3, 0},
      {"\xF0\x90\x80g", 4, 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    CU_ASSERT_EQUAL(utf8_sequence(cases[i].text, cases[i].length), cases[i].expected);
}

static void utf8_prefix_cuts_no_character(void) {
  CU_ASSERT_EQUAL(utf8_prefix("abc", 3, 5), 3);
  CU_ASSERT_EQUAL(utf8_prefix("abc", 3, 2), 2);
  CU_ASSERT_EQUAL(utf8_prefix("\xF0\x90\x80\x80z", 5, 3), 0);
  CU_ASSERT_EQUAL(utf8_prefix("a\xF0\x90\x80\x80z", 6, 5), 5);
  CU_ASSERT_EQUAL(utf8_prefix("a\xC3\xA4", 3, 2), 1);
}

SUITE(error, CASE(set_on_empty_fills_and_returns_code), CASE(set_twice_keeps_the_first),
      CASE(set_without_struct_returns_code), CASE(wrap_puts_outer_text_first),
      CASE(field_twice_keeps_the_innermost), CASE(field_without_struct_is_not_ok),
      CASE(limit_twice_keeps_the_innermost), CASE(text_with_line_ends_becomes_one_line),
      CASE(long_text_is_cut_between_characters), CASE(every_code_has_an_entry),
      CASE(wire_codes_are_distinct), CASE(ambiguous_codes_are_no_callers_fault),
      CASE(utf8_sequences_are_told_from_others), CASE(utf8_prefix_cuts_no_character))
