/* cli/options.c. What it says goes to stderr and stdout, which are put aside for the time. */
#include "cli/options.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/suite.h"

static bool flag;
static const char *text, *choice;
static int64_t number, duration_ms;

static const struct option options[] = {
    {"flag", NULL, "", OPTION_FLAG, &flag, 0, 0, NULL},
    {"label", "L", "", OPTION_TEXT, &text, 0, 0, NULL},
    {"limit", "N", "", OPTION_INTEGER, &number, 1, 10, NULL},
    {"timeout", "T", "", OPTION_DURATION, &duration_ms, 1, 60000, NULL},
    {"wait", "W", "", OPTION_CHOICE, &choice, 0, 0, "applied|decided"}};
static const struct command_line line = {"assent test", "A [B]", "about", options, 5, 1, 2};

static enum parsed parse(int *argc, char **argv) {
  flag = false;
  text = choice = NULL;
  number = duration_ms = 0;
  (void)fflush(stdout);
  int saved[2] = {dup(1), dup(2)}, null = open("/dev/null", O_WRONLY);
  CU_ASSERT_FATAL(saved[0] >= 0 && saved[1] >= 0 && null >= 0);
  CU_ASSERT_FATAL(dup2(null, 1) == 1 && dup2(null, 2) == 2);
  enum parsed parsed = options_parse(&line, argc, argv);
  (void)fflush(stdout);
  CU_ASSERT_FATAL(dup2(saved[0], 1) == 1 && dup2(saved[1], 2) == 2);
  (void)close(saved[0]);
  (void)close(saved[1]);
  (void)close(null);
  return parsed;
}

/* argv of string literals, which options_parse() moves about but does not write to. */
#define PARSE(...)                                                                                 \
  char words[][24] = {__VA_ARGS__};                                                                \
  int argc = sizeof words / sizeof words[0];                                                       \
  char *argv[sizeof words / sizeof words[0]];                                                      \
  for (int i = 0; i < argc; i++)                                                                   \
    argv[i] = words[i];                                                                            \
  enum parsed parsed = parse(&argc, argv)

static void options_between_arguments_are_taken_out(void) {
  PARSE("--flag", "a", "--label", "x", "b", "--limit=3", "--timeout", "2s", "--wait", "decided");
  CU_ASSERT_EQUAL(parsed, PARSED_GO);
  CU_ASSERT_EQUAL_FATAL(argc, 2);
  CU_ASSERT_STRING_EQUAL(argv[0], "a");
  CU_ASSERT_STRING_EQUAL(argv[1], "b");
  CU_ASSERT_TRUE(flag);
  CU_ASSERT_STRING_EQUAL(text, "x");
  CU_ASSERT_EQUAL(number, 3);
  CU_ASSERT_EQUAL(duration_ms, 2000);
  CU_ASSERT_STRING_EQUAL(choice, "decided");
}

static void negative_numbers_are_arguments(void) {
  PARSE("-5", "-.5");
  CU_ASSERT_EQUAL(parsed, PARSED_GO);
  CU_ASSERT_EQUAL(argc, 2);
}

static void words_after_two_dashes_are_arguments(void) {
  PARSE("a", "--", "--flag");
  CU_ASSERT_EQUAL(parsed, PARSED_GO);
  CU_ASSERT_EQUAL_FATAL(argc, 2);
  CU_ASSERT_STRING_EQUAL(argv[1], "--flag");
  CU_ASSERT_FALSE(flag);
}

static void unknown_option_is_wrong(void) {
  PARSE("a", "--lable", "x");
  CU_ASSERT_EQUAL(parsed, PARSED_WRONG);
}

static void prefix_of_an_option_is_wrong(void) {
  PARSE("a", "--fl");
  CU_ASSERT_EQUAL(parsed, PARSED_WRONG);
}

static void missing_value_is_wrong(void) {
  PARSE("a", "--label");
  CU_ASSERT_EQUAL(parsed, PARSED_WRONG);
}

static void value_for_a_flag_is_wrong(void) {
  PARSE("a", "--flag=yes");
  CU_ASSERT_EQUAL(parsed, PARSED_WRONG);
}

static void number_out_of_range_is_wrong(void) {
  PARSE("a", "--limit", "11");
  CU_ASSERT_EQUAL(parsed, PARSED_WRONG);
}

static void number_with_a_tail_is_wrong(void) {
  PARSE("a", "--limit", "1x");
  CU_ASSERT_EQUAL(parsed, PARSED_WRONG);
}

static void value_outside_the_choices_is_wrong(void) {
  PARSE("a", "--wait", "decide");
  CU_ASSERT_EQUAL(parsed, PARSED_WRONG);
}

static void too_few_arguments_are_wrong(void) {
  PARSE("--flag");
  CU_ASSERT_EQUAL(parsed, PARSED_WRONG);
}

static void too_many_arguments_are_wrong(void) {
  PARSE("a", "b", "c");
  CU_ASSERT_EQUAL(parsed, PARSED_WRONG);
}

static void help_is_help_whatever_else_is_there(void) {
  PARSE("--help");
  CU_ASSERT_EQUAL(parsed, PARSED_HELP);
}

static void duration_takes_each_unit(void) {
  int64_t ms = 0;
  CU_ASSERT_TRUE(duration_parse("500ms", &ms) && ms == 500);
  CU_ASSERT_TRUE(duration_parse("30s", &ms) && ms == 30000);
  CU_ASSERT_TRUE(duration_parse("5m", &ms) && ms == 300000);
  CU_ASSERT_TRUE(duration_parse("24h", &ms) && ms == 86400000);
  CU_ASSERT_TRUE(duration_parse("7d", &ms) && ms == 604800000);
}

static void duration_without_unit_or_too_long_is_refused(void) {
  static const char *const wrong[] = {"",    "5",   "s",  "-5s",
                                      " 5s", "5 s", "5x", "9223372036854775807d"};
  int64_t ms;
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
    CU_ASSERT_FALSE(duration_parse(wrong[i], &ms));
}

static void nearest_name_is_found_within_a_few_edits(void) {
  static const char *const names[] = {"begin", "commit", "rollback", "tx", NULL};
  CU_ASSERT_STRING_EQUAL(nearest_name("comit", names), "commit");
  CU_ASSERT_STRING_EQUAL(nearest_name("rolback", names), "rollback");
  CU_ASSERT_PTR_NULL(nearest_name("participants", names));
  CU_ASSERT_PTR_NULL(nearest_name("ab", names)); /* two edits away from "tx": no likeness */
}

SUITE(cli_options, CASE(options_between_arguments_are_taken_out),
      CASE(negative_numbers_are_arguments), CASE(words_after_two_dashes_are_arguments),
      CASE(unknown_option_is_wrong), CASE(prefix_of_an_option_is_wrong),
      CASE(missing_value_is_wrong), CASE(value_for_a_flag_is_wrong),
      CASE(number_out_of_range_is_wrong), CASE(number_with_a_tail_is_wrong),
      CASE(value_outside_the_choices_is_wrong), CASE(too_few_arguments_are_wrong),
      CASE(too_many_arguments_are_wrong), CASE(help_is_help_whatever_else_is_there),
      CASE(duration_takes_each_unit), CASE(duration_without_unit_or_too_long_is_refused),
      CASE(nearest_name_is_found_within_a_few_edits))
