/* common/log.c: what is written to standard error, read back. */
#include "common/log.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/suite.h"

struct capture {
  FILE *file;
  int saved;
  char text[16384];
};

static void capture_begin(struct capture *c) {
  c->file = tmpfile();
  CU_ASSERT_PTR_NOT_NULL_FATAL(c->file);
  c->saved = dup(STDERR_FILENO);
  CU_ASSERT_FATAL(c->saved >= 0 && dup2(fileno(c->file), STDERR_FILENO) >= 0);
}

static void capture_end(struct capture *c) {
  CU_ASSERT_FATAL(dup2(c->saved, STDERR_FILENO) >= 0);
  (void)close(c->saved);
  rewind(c->file);
  size_t n = fread(c->text, 1, sizeof c->text - 1, c->file);
  c->text[n] = '\0';
  (void)fclose(c->file);
  log_setup("assent", LOG_INFO, LOG_TEXT);
}

static void json_line_has_head_and_fields(void) {
  struct capture c;
  capture_begin(&c);
  log_setup("tester", LOG_INFO, LOG_JSON);
  log_warn("disk_slow", "path", "s", "a \"b\"\n\xFFz", "us", "d", INT64_MIN, "sure", "b", 1, "none",
           "s", (const char *)NULL, NULL);
  capture_end(&c);
  json_t *line = json_loads(c.text, 0, NULL);
  CU_ASSERT_PTR_NOT_NULL_FATAL(line);
  CU_ASSERT_EQUAL(strlen(json_string_value(json_object_get(line, "time"))), 27);
  CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(line, "level")), "warn");
  CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(line, "program")), "tester");
  CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(line, "event")), "disk_slow");
  CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(line, "path")),
                         "a \"b\"\n\xEF\xBF\xBDz");
  CU_ASSERT_EQUAL(json_integer_value(json_object_get(line, "us")), INT64_MIN);
  CU_ASSERT_TRUE(json_is_true(json_object_get(line, "sure")));
  CU_ASSERT_TRUE(json_is_null(json_object_get(line, "none")));
  json_decref(line);
  CU_ASSERT_PTR_EQUAL(strchr(c.text, '\n'), c.text + strlen(c.text) - 1);
}

static void field_that_is_not_there_is_left_out(void) {
  struct capture c;
  capture_begin(&c);
  log_setup("tester", LOG_INFO, LOG_TEXT);
  log_info("up", "trace_id", "o", "0af7", "n", "d", (int64_t)7, NULL);
  log_info("up", "trace_id", "o", (const char *)NULL, "n", "d", (int64_t)7, NULL);
  capture_end(&c);
  CU_ASSERT_PTR_NOT_NULL(strstr(c.text, "info  up trace_id=0af7 n=7\n"));
  CU_ASSERT_PTR_NOT_NULL(strstr(c.text, "info  up n=7\n"));
}

static void text_line_quotes_what_could_mislead(void) {
  struct capture c;
  capture_begin(&c);
  log_setup("tester", LOG_INFO, LOG_TEXT);
  log_info("up", "name", "s", "bank_a", "odd", "s", "x y=1\n", "empty", "s", "", "n", "d",
           (int64_t)7, "no", "b", 0, NULL);
  capture_end(&c);
  CU_ASSERT_STRING_EQUAL(c.text + 28,
                         "info  up name=bank_a odd=\"x y=1\\u000a\" empty=\"\" n=7 no=false\n");
}

static void line_below_the_level_is_not_written(void) {
  struct capture c;
  capture_begin(&c);
  log_setup("tester", LOG_WARN, LOG_TEXT);
  log_info("quiet", NULL);
  log_debug("quiet", NULL);
  capture_end(&c);
  CU_ASSERT_STRING_EQUAL(c.text, "");
}

static void line_too_long_loses_whole_fields(void) {
  char big[5000];
  memset(big, '"', sizeof big - 1);
  big[sizeof big - 1] = '\0';
  struct capture c;
  capture_begin(&c);
  log_setup("tester", LOG_INFO, LOG_JSON);
  log_info("big", "kept", "d", (int64_t)1, "lost", "s", big, "late", "d", (int64_t)2, NULL);
  capture_end(&c);
  json_t *line = json_loads(c.text, 0, NULL);
  CU_ASSERT_PTR_NOT_NULL_FATAL(line);
  CU_ASSERT_EQUAL(json_integer_value(json_object_get(line, "kept")), 1);
  CU_ASSERT_PTR_NULL(json_object_get(line, "lost"));
  CU_ASSERT_TRUE(json_is_true(json_object_get(line, "truncated")));
  json_decref(line);
}

static void auto_format_off_a_terminal_is_json(void) {
  struct capture c;
  capture_begin(&c);
  log_setup("tester", LOG_INFO, LOG_AUTO);
  log_info("x", NULL);
  capture_end(&c);
  CU_ASSERT_EQUAL(c.text[0], '{');
}

static void level_names_are_parsed(void) {
  enum log_level level = LOG_INFO;
  CU_ASSERT_TRUE(log_level_parse("error", &level));
  CU_ASSERT_EQUAL(level, LOG_ERROR);
  CU_ASSERT_TRUE(log_level_parse("debug", &level));
  CU_ASSERT_EQUAL(level, LOG_DEBUG);
  CU_ASSERT_FALSE(log_level_parse("Debug", &level));
  CU_ASSERT_FALSE(log_level_parse("", &level));
}

static void gate_lets_some_pass_a_second_and_counts_the_rest(void) {
  struct log_gate gate = {0};
  uint64_t dropped;
  for (int i = 0; i < LOG_GATE_LINES; i++)
    CU_ASSERT_TRUE(log_gate_pass(&gate, 5000, &dropped) && dropped == 0);
  for (int i = 0; i < 7; i++)
    CU_ASSERT_FALSE(log_gate_pass(&gate, 5999, &dropped));
  CU_ASSERT_TRUE(log_gate_pass(&gate, 6000, &dropped) && dropped == 7);
  CU_ASSERT_TRUE(log_gate_pass(&gate, 6000, &dropped) && dropped == 0);
}

SUITE(log, CASE(gate_lets_some_pass_a_second_and_counts_the_rest),
      CASE(json_line_has_head_and_fields), CASE(field_that_is_not_there_is_left_out),
      CASE(text_line_quotes_what_could_mislead), CASE(line_below_the_level_is_not_written),
      CASE(line_too_long_loses_whole_fields), CASE(auto_format_off_a_terminal_is_json),
      CASE(level_names_are_parsed))
