/* common/trace.c: what of a traceparent and a tracestate is taken, and what is as good as none. */
#include "common/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/suite.h"

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define SPAN  "b7ad6b7169203331"
#define GOOD  "00-" TRACE "-" SPAN "-01"

static void traceparent_reads_back(void) {
  struct trace_context context;
  char text[TRACEPARENT_SIZE];
  CU_ASSERT_TRUE_FATAL(traceparent_parse(GOOD, &context));
  CU_ASSERT_EQUAL(context.trace_id[0], 0x0a);
  CU_ASSERT_EQUAL(context.trace_id[15], 0x9c);
  CU_ASSERT_EQUAL(context.span_id[0], 0xb7);
  CU_ASSERT_EQUAL(context.flags, TRACE_SAMPLED);
  CU_ASSERT_PTR_NULL(context.state);
  traceparent_format(&context, text);
  CU_ASSERT_STRING_EQUAL(text, GOOD);
}

static void blanks_around_it_do_not_matter(void) {
  struct trace_context context;
  CU_ASSERT_TRUE(traceparent_parse(" \t" GOOD "\t ", &context));
}

static void malformed_is_as_good_as_none(void) {
  static const char *const malformed[] = {
      "",
      "00",
      "00-" TRACE "-" SPAN,
      "00-" TRACE "-" SPAN "-",
      "00-" TRACE "-" SPAN "-0",
      GOOD "0",
      GOOD "-",
      GOOD "-what-the-future-will-be-like",
      "00 " TRACE "-" SPAN "-01",
      "00-" TRACE "_" SPAN "-01",
      "00-" TRACE "-" SPAN ".01",
      "0g-" TRACE "-" SPAN "-01",
      "00-0AF7651916CD43DD8448EB211C80319C-" SPAN "-01",
      "00-" TRACE "-B7AD6B7169203331-01",
      "0A-" TRACE "-" SPAN "-01",
      "00-" TRACE "-" SPAN "-0A",
      "00-0af7651916cd43dd8448eb211c80319-" SPAN "-01",
      "00-" TRACE "-b7ad6b716920333-01",
      "00-" TRACE "-" SPAN "-0\xC3\xA9",
      GOOD "," GOOD,
  };
  for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
    struct trace_context context;
    if (traceparent_parse(malformed[i], &context)) CU_FAIL("taken");
  }
}

static void version_ff_is_none(void) {
  struct trace_context context;
  CU_ASSERT_FALSE(traceparent_parse("ff-" TRACE "-" SPAN "-01", &context));
}

static void all_zero_ids_are_none(void) {
  struct trace_context context;
  CU_ASSERT_FALSE(traceparent_parse("00-00000000000000000000000000000000-" SPAN "-01", &context));
  CU_ASSERT_FALSE(traceparent_parse("00-" TRACE "-0000000000000000-01", &context));
}

/* What follows is not known, but for the dash before it. */
static void later_version_is_read_as_far_as_it_is_known(void) {
  struct trace_context context;
  char text[TRACEPARENT_SIZE];
  CU_ASSERT_TRUE(traceparent_parse("cc-" TRACE "-" SPAN "-01", &context));
  CU_ASSERT_TRUE_FATAL(traceparent_parse("01-" TRACE "-" SPAN "-01-what-it-will-be", &context));
  traceparent_format(&context, text);
  CU_ASSERT_STRING_EQUAL(text, GOOD); /* we speak 00 */
  CU_ASSERT_FALSE(traceparent_parse("cc-" TRACE "-" SPAN "-01.what", &context));
  CU_ASSERT_FALSE(traceparent_parse("cc-" TRACE "-" SPAN "-0", &context));
}

static void unknown_flags_go_no_further(void) {
  struct trace_context context;
  char text[TRACEPARENT_SIZE];
  CU_ASSERT_TRUE_FATAL(traceparent_parse("00-" TRACE "-" SPAN "-ff", &context));
  traceparent_format(&context, text);
  CU_ASSERT_STRING_EQUAL(text, "00-" TRACE "-" SPAN "-03");
  CU_ASSERT_TRUE_FATAL(traceparent_parse("00-" TRACE "-" SPAN "-f8", &context));
  CU_ASSERT_EQUAL(context.flags, 0);
}

/* ---- tracestate ------------------------------------------------------------------------------- */

static void tracestate_by_the_grammar_is_taken(void) {
  static const char *const good[] = {"congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
                                     "fw529a3039@dt=FfAQKBWlYAAA ,\tsw=b7-0,", "a=1,,b=2",
                                     "0key_-*/x=!\"#$%&'()*+-./0:;<>?@[\\]^_`{|}~"};
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
    CU_ASSERT_TRUE(tracestate_is_valid(good[i]));
}

static void tracestate_against_the_grammar_is_dropped(void) {
  static const char *const bad[] = {"",      ",",      "a",          "=1",     "A=1",
                                    "a=",    "a=1=2",  "a=1\r\nb:c", "a=\x7f", "a=\xC3\xA9",
                                    "a b=1", "-key=1", "a=1,b"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    if (tracestate_is_valid(bad[i])) CU_FAIL("taken");
}

/* So many members, each of so many bytes. */
static char *state_of(unsigned members, unsigned value_bytes) {
  char *text = calloc(members, value_bytes + 8);
  CU_ASSERT_PTR_NOT_NULL_FATAL(text);
  char *at = text;
  for (unsigned i = 0; i < members; i++) {
    at += sprintf(at, "%sk%02u=", i ? "," : "", i); /* NOLINT */
    memset(at, 'v', value_bytes);
    at += value_bytes;
  }
  return text;
}

static void check_state(unsigned members, unsigned value_bytes, bool valid) {
  char *text = state_of(members, value_bytes);
  CU_ASSERT_EQUAL(tracestate_is_valid(text), valid);
  free(text);
}

static void tracestate_is_taken_up_to_its_limits(void) {
  check_state(TRACESTATE_MEMBERS_MAX, 1, true);
  check_state(TRACESTATE_MEMBERS_MAX + 1, 1, false);
  check_state(1, 256, true);
  check_state(1, 257, false);
  check_state(2, 251, true); /* 2 * (4 + 251) + 1 = 511 */
  check_state(2, 252, false);
  char *text = state_of(2, 251);
  CU_ASSERT_EQUAL(strlen(text), TRACESTATE_BYTES_MAX - 1);
  text[strlen(text)] = ',';
  CU_ASSERT_TRUE(tracestate_is_valid(text));
  free(text);
}

static void kept_one_has_its_state_and_its_id(void) {
  struct trace_context context;
  char state[] = "a=1";
  CU_ASSERT_TRUE_FATAL(traceparent_parse(GOOD, &context));
  context.state = state;
  struct trace *trace = trace_new(&context);
  CU_ASSERT_PTR_NOT_NULL_FATAL(trace);
  state[0] = 'b';
  CU_ASSERT_STRING_EQUAL(trace->context.state, "a=1");
  CU_ASSERT_STRING_EQUAL(trace_id_of(trace), TRACE);
  CU_ASSERT_PTR_NULL(trace_id_of(NULL));
  free(trace);
}

SUITE(trace, CASE(traceparent_reads_back), CASE(blanks_around_it_do_not_matter),
      CASE(malformed_is_as_good_as_none), CASE(version_ff_is_none), CASE(all_zero_ids_are_none),
      CASE(later_version_is_read_as_far_as_it_is_known), CASE(unknown_flags_go_no_further),
      CASE(tracestate_by_the_grammar_is_taken), CASE(tracestate_against_the_grammar_is_dropped),
      CASE(tracestate_is_taken_up_to_its_limits), CASE(kept_one_has_its_state_and_its_id))
