/* common/trace_settings.c: which endpoints, ratios and files of headers are taken. */
#include "common/trace_settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/suite.h"

static char *text(const char *constant) {
  return constant ? strdup(constant) : NULL;
}

/* Checked, and opened if it is good. */
static enum error_code read_settings(const char *endpoint, const char *ratio, const char *file,
                                     struct error *err) {
  struct trace_settings settings = {.endpoint = text(endpoint),
                                    .service_name = text("tested"),
                                    .sample_ratio = text(ratio),
                                    .headers_file = text(file)};
  enum error_code code = trace_settings_check(&settings, err);
  if (code == ERR_OK) {
    struct tracer *tracer;
    struct loop *loop = loop_new();
    code = trace_settings_open(&settings, loop, &tracer, err);
    CU_ASSERT_EQUAL(tracer != NULL, code == ERR_OK && endpoint);
    tracer_free(tracer);
    loop_free(loop);
  }
  free(settings.endpoint);
  free(settings.service_name);
  free(settings.sample_ratio);
  free(settings.headers_file);
  return code;
}

static void nothing_configured_is_no_tracer(void) {
  struct error err = {0};
  CU_ASSERT_EQUAL(read_settings(NULL, "1", NULL, &err), ERR_OK);
}

static void endpoints_of_http_are_taken(void) {
  static const char *const good[] = {"http://127.0.0.1:4318/v1/traces",
                                     "https://collector.example.org/v1/traces",
                                     "http://[::1]:4318/v1/traces",
                                     "http://collector:4318/v1/traces"};
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    struct error err = {0};
    CU_ASSERT_EQUAL(read_settings(good[i], "1", NULL, &err), ERR_OK);
  }
}

static void endpoints_that_are_none_are_refused(void) {
  static const char *const bad[] = {"",
                                    "127.0.0.1:4318",
                                    "grpc://collector:4317",
                                    "http://",
                                    "http:///v1/traces",
                                    "http://:4318/v1/traces",
                                    "http://collector:4318",
                                    "http://me:secret@collector:4318/v1/traces",
                                    "http://collector:4318/v1/traces\r\nX: y"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    struct error err = {0};
    CU_ASSERT_EQUAL(read_settings(bad[i], "1", NULL, &err), ERR_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "trace_endpoint"));
  }
}

static void ratio_is_from_0_to_1(void) {
  static const char *const good[] = {"0", "1", "0.05", ".5", "1.0"};
  static const char *const bad[] = {"", ".", "1.1", "-0.5", "half", "5%", "1e-1", "nan", "0.1.2"};
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    struct error err = {0};
    CU_ASSERT_EQUAL(read_settings("http://127.0.0.1:4318/v1/traces", good[i], NULL, &err), ERR_OK);
  }
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    struct error err = {0};
    CU_ASSERT_EQUAL(read_settings("http://127.0.0.1:4318/v1/traces", bad[i], NULL, &err),
                    ERR_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "trace_sample_ratio"));
  }
}

/* ---- the file of headers ---------------------------------------------------------------------- */

static enum error_code read_file(const char *content, struct error *err) {
  char path[] = "/tmp/assent-test-XXXXXX";
  int fd = mkstemp(path);
  CU_ASSERT_FATAL(fd >= 0);
  CU_ASSERT_EQUAL(write(fd, content, strlen(content)), (ssize_t)strlen(content));
  (void)close(fd);
  enum error_code code = read_settings("http://127.0.0.1:4318/v1/traces", "1", path, err);
  (void)unlink(path);
  return code;
}

static void lines_with_a_name_and_a_value_are_taken(void) {
  struct error err = {0};
  CU_ASSERT_EQUAL(read_file("# for the collector\n\nAuthorization: Bearer x\r\nX-Tenant: 7", &err),
                  ERR_OK);
}

static void other_lines_are_refused_without_a_word_of_theirs(void) {
  static const char *const bad[] = {"secret\n", ": secret\n", "a b: secret\n", "a: secret\x01\n"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    struct error err = {0};
    CU_ASSERT_EQUAL(read_file(bad[i], &err), ERR_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "trace_headers_file"));
    CU_ASSERT_PTR_NULL(strstr(err.text, "secret"));
  }
}

static void headers_are_counted_up_to_their_limit(void) {
  char lines[(TRACE_HEADERS_MAX + 1) * 8] = "";
  struct error err = {0};
  for (int i = 0; i < TRACE_HEADERS_MAX; i++)
    (void)strcat(lines, "A: b\n"); /* NOLINT */
  CU_ASSERT_EQUAL(read_file(lines, &err), ERR_OK);
  (void)strcat(lines, "A: b\n"); /* NOLINT */
  CU_ASSERT_EQUAL(read_file(lines, &err), ERR_CONFIG);
}

static void secrets_do_not_travel_in_the_clear(void) {
  struct error err = {0};
  CU_ASSERT_EQUAL(read_settings("http://collector:4318/v1/traces", "1", "/nowhere", &err),
                  ERR_CONFIG);
  CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "https"));
}

static void missing_file_is_named(void) {
  struct error err = {0};
  CU_ASSERT_EQUAL(read_settings("https://collector/v1/traces", "1", "/nowhere", &err), ERR_CONFIG);
  CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "/nowhere"));
}

SUITE(trace_settings, CASE(nothing_configured_is_no_tracer), CASE(endpoints_of_http_are_taken),
      CASE(endpoints_that_are_none_are_refused), CASE(ratio_is_from_0_to_1),
      CASE(lines_with_a_name_and_a_value_are_taken),
      CASE(other_lines_are_refused_without_a_word_of_theirs),
      CASE(headers_are_counted_up_to_their_limit), CASE(secrets_do_not_travel_in_the_clear),
      CASE(missing_file_is_named))
