/* cli/table.c: what lands on a terminal. */
#include "cli/table.h"

#include <stdlib.h>
#include <string.h>

#include "tests/lib/suite.h"

static char *print(const struct table *table, bool colour) {
  char *text = NULL;
  size_t length;
  FILE *out = open_memstream(&text, &length);
  CU_ASSERT_PTR_NOT_NULL_FATAL(out);
  table_print(table, out, colour);
  (void)fclose(out);
  return text;
}

static struct table *sample(void) {
  static const struct column columns[] = {{"name", COLUMN_TEXT},
                                          {"n", COLUMN_NUMBER},
                                          {"state", COLUMN_STATE}};
  static const char *const one[] = {"a", "7", "committed"};
  static const char *const two[] = {"zo\xc3\xab", "1234", NULL};
  struct table *table = table_new(columns, 3);
  table_add(table, one);
  table_add(table, two);
  return table;
}

static void table_aligns_text_left_and_numbers_right(void) {
  struct table *table = sample();
  char *text = print(table, false);
  CU_ASSERT_STRING_EQUAL(text, "name     n  state\n"
                               "----  ----  ---------\n"
                               "a        7  committed\n"
                               "zo\xc3\xab   1234  \n");
  free(text);
  table_free(table);
}

static void colour_is_for_states_only(void) {
  struct table *table = sample();
  char *text = print(table, true);
  CU_ASSERT_PTR_NOT_NULL(strstr(text, "\033[32mcommitted\033[0m\n"));
  CU_ASSERT_PTR_NULL(strstr(text, "\033[32ma"));
  free(text);
  table_free(table);
}

static void control_characters_do_not_reach_the_terminal(void) {
  char out[64];
  text_for_terminal("a\033[2Jb\nc\x7f", out, sizeof out);
  CU_ASSERT_STRING_EQUAL(out, "a?[2Jb?c?");
  text_for_terminal("C1 \xc2\x9b, bad \xff, good \xc3\xa9", out, sizeof out);
  CU_ASSERT_STRING_EQUAL(out, "C1 ??, bad ?, good \xc3\xa9");
}

static void long_text_is_cut_between_characters(void) {
  char out[4];
  text_for_terminal("ab\xc3\xa9", out, sizeof out);
  CU_ASSERT_STRING_EQUAL(out, "ab");
}

static void output_to_a_file_has_no_colour(void) {
  FILE *file = tmpfile();
  CU_ASSERT_PTR_NOT_NULL_FATAL(file);
  CU_ASSERT_FALSE(colour_wanted(file));
  (void)fclose(file);
}

SUITE(cli_table, CASE(table_aligns_text_left_and_numbers_right), CASE(colour_is_for_states_only),
      CASE(control_characters_do_not_reach_the_terminal), CASE(long_text_is_cut_between_characters),
      CASE(output_to_a_file_has_no_colour))
