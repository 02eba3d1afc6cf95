/* common/http_rules.c and common/http_uri.c */
#include "common/http_rules.h"

#include <stdint.h>
#include <string.h>

#include "common/http_uri.h"
#include "tests/lib/suite.h"

#define EACH(array) (size_t i = 0; i < sizeof(array) / sizeof(array)[0]; i++)

/* ---- framing ---- */

static enum error_code frame(const char *length, const char *encoding, size_t *out) {
  struct http_headers headers = {0};
  if (length) http_headers_add(&headers, "Content-Length", length);
  if (encoding) http_headers_add(&headers, "transfer-encoding", encoding);
  return http_check_framing(&headers, out, NULL);
}

static void framing_good_tells_the_length(void) {
  size_t length;
  CU_ASSERT_EQUAL(frame(NULL, NULL, &length), ERR_OK);
  CU_ASSERT_EQUAL(length, 0);
  CU_ASSERT_EQUAL(frame("17", NULL, &length), ERR_OK);
  CU_ASSERT_EQUAL(length, 17);
  CU_ASSERT_EQUAL(frame(NULL, "Chunked", &length), ERR_OK);
  CU_ASSERT_EQUAL(length, SIZE_MAX);
  CU_ASSERT_EQUAL(frame("99999999999999999999999", NULL, &length), ERR_OK);
  CU_ASSERT_EQUAL(length, SIZE_MAX - 1);
}

static void framing_doubtful_is_refused(void) {
  size_t length;
  CU_ASSERT_EQUAL(frame("2", "chunked", &length), ERR_BAD_REQUEST);
  CU_ASSERT_EQUAL(frame(NULL, "gzip, chunked", &length), ERR_BAD_REQUEST);
  CU_ASSERT_EQUAL(frame("", NULL, &length), ERR_BAD_REQUEST);
  CU_ASSERT_EQUAL(frame("+2", NULL, &length), ERR_BAD_REQUEST);
  CU_ASSERT_EQUAL(frame("2, 2", NULL, &length), ERR_BAD_REQUEST);
}

static void framing_with_odd_headers_is_refused(void) {
  size_t length;
  struct http_headers twice = {0};
  http_headers_add(&twice, "Content-Length", "2");
  http_headers_add(&twice, "content-length", "2");
  CU_ASSERT_EQUAL(http_check_framing(&twice, &length, NULL), ERR_BAD_REQUEST);
  struct http_headers blank = {0};
  http_headers_add(&blank, "Content-Length ", "2");
  CU_ASSERT_EQUAL(http_check_framing(&blank, &length, NULL), ERR_BAD_REQUEST);
  static const char *const odd[][2] = {{"", "v"},     {"f(o", "v"},  {"X\xc3\xa9", "v"},
                                       {"X", "a\rb"}, {"X", "\x01"}, {"X", "a\x7f"}};
  for
    EACH(odd) {
      struct http_headers headers = {0};
      http_headers_add(&headers, odd[i][0], odd[i][1]);
      CU_ASSERT_EQUAL(http_check_framing(&headers, &length, NULL), ERR_BAD_REQUEST);
    }
  struct http_headers good = {0};
  http_headers_add(&good, "!#$%&'*+-.^_`|~09azAZ", "a\tb \xc3\xa9");
  CU_ASSERT_EQUAL(http_check_framing(&good, &length, NULL), ERR_OK);
  struct http_headers full = {.bytes = HTTP_HEADER_BYTES_MAX};
  CU_ASSERT_EQUAL(http_check_framing(&full, &length, NULL), ERR_OK);
  struct http_headers fat = {.bytes = HTTP_HEADER_BYTES_MAX + 1};
  CU_ASSERT_EQUAL(http_check_framing(&fat, &length, NULL), ERR_HEADERS_TOO_LARGE);
}

/* ---- source ---- */

static enum error_code source(const char *listen, const char *names, const char *host,
                              const char *origin) {
  struct http_hosts hosts = {listen, names};
  struct http_headers headers = {.host = host, .origin = origin};
  return http_check_source(&headers, &hosts, NULL);
}

static void host_of_this_listener_is_heard(void) {
  static const char *const good[] = {"localhost",      "localhost:7410", "LocalHost:1", "127.0.0.1",
                                     "127.0.0.1:7410", "[::1]:7410",     "[::1]",       NULL};
  for
    EACH(good)
  CU_ASSERT_EQUAL(source("127.0.0.1", NULL, good[i], NULL), ERR_OK);
  CU_ASSERT_EQUAL(source("10.1.2.3", NULL, "10.1.2.3:7410", NULL), ERR_OK);
  CU_ASSERT_EQUAL(source("0.0.0.0", NULL, "10.1.2.3:7410", NULL), ERR_OK);
  CU_ASSERT_EQUAL(source("::", NULL, "[fd00::1]:7410", NULL), ERR_OK);
  CU_ASSERT_EQUAL(source("0.0.0.0", "db1, txn.example.com", "TXN.example.com:7410", NULL), ERR_OK);
  CU_ASSERT_EQUAL(source("0.0.0.0", "db1, txn.example.com", "db1", NULL), ERR_OK);
}

static void host_of_another_is_refused(void) {
  static const char *const bad[] = {
      "evil.com", "evil.com:7410",  "localhost.evil.com", "10.1.2.3",
      "",         ":7410",          "localhost:7410x",    "localhost:",
      "[::1",     "localhost@evil", "127.0.0.1.evil",     "[::1]x"};
  for
    EACH(bad)
  CU_ASSERT_EQUAL(source("127.0.0.1", NULL, bad[i], NULL), ERR_FORBIDDEN);
  CU_ASSERT_EQUAL(source("0.0.0.0", "db1", "db", NULL), ERR_FORBIDDEN);
  CU_ASSERT_EQUAL(source("0.0.0.0", "db1", "db11", NULL), ERR_FORBIDDEN);
}

static void origin_is_heard_when_it_is_the_host(void) {
  CU_ASSERT_EQUAL(source("127.0.0.1", NULL, "localhost:7410", "http://localhost:7410"), ERR_OK);
  static const char *const bad[] = {"null",
                                    "http://evil.com",
                                    "http://localhost:3000",
                                    "http://localhost",
                                    "http://localhost:7410/x",
                                    ""};
  for
    EACH(bad)
  CU_ASSERT_EQUAL(source("127.0.0.1", NULL, "localhost:7410", bad[i]), ERR_FORBIDDEN);
  CU_ASSERT_EQUAL(source("127.0.0.1", NULL, NULL, "http://localhost:7410"), ERR_FORBIDDEN);
}

/* ---- media types ---- */

static enum error_code accept(const char *value) {
  struct http_headers headers = {.accept = value};
  return http_check_accept(&headers, "application/json", NULL);
}

static void accept_that_includes_json_is_heard(void) {
  static const char *const good[] = {NULL,
                                     "",
                                     "*/*",
                                     "application/json",
                                     "Application/JSON; charset=utf-8",
                                     "application/*",
                                     "text/html, application/json;q=0.5",
                                     "text/html,*/*;q=0.8",
                                     "text/plain ,\tapplication/json",
                                     "application/problem+json",
                                     "application/json; q=0.001",
                                     "*/*;q=0, application/json",
                                     "application/json, application/*;q=0",
                                     "*/*;q=0, application/*",
                                     "application/json;q=0, application/json;q=0.5",
                                     "application/problem+json;q=0, */*",
                                     "application/json;q=1.0"};
  for
    EACH(good)
  CU_ASSERT_EQUAL(accept(good[i]), ERR_OK);
}

static void accept_that_excludes_json_is_refused(void) {
  static const char *const bad[] = {"text/html",
                                    "application/json;q=0",
                                    "application/json; q=0.000",
                                    "application/jsonx",
                                    "application/json;q=0, */*;q=0.5",
                                    "*/*;q=0.5, application/json;q=0",
                                    "application/*;q=0, */*",
                                    "application/json;q=0, application/problem+json",
                                    "application/xml, text/*",
                                    "text/html, application/json; v=1;q=0",
                                    ","};
  for
    EACH(bad)
  CU_ASSERT_EQUAL(accept(bad[i]), ERR_NOT_ACCEPTABLE);
}

static enum error_code content(const char *type, const char *encoding) {
  struct http_headers headers = {.content_type = type, .content_encoding = encoding};
  return http_check_content_type(&headers, NULL);
}

static void content_that_is_json_is_heard(void) {
  static const char *const good[] = {"application/json", "Application/Json",
                                     "application/json; charset=utf-8",
                                     "application/json;charset=\"UTF-8\"", "application/json ;x=y"};
  for
    EACH(good)
  CU_ASSERT_EQUAL(content(good[i], NULL), ERR_OK);
  CU_ASSERT_EQUAL(content("application/json", "identity"), ERR_OK);
}

static void content_that_is_not_json_is_refused(void) {
  static const char *const bad[] = {NULL,
                                    "",
                                    "text/plain",
                                    "application/jsonp",
                                    "application/json; charset=latin1",
                                    "application/x-www-form-urlencoded"};
  for
    EACH(bad)
  CU_ASSERT_EQUAL(content(bad[i], NULL), ERR_MEDIA_TYPE);
  CU_ASSERT_EQUAL(content("application/json", "gzip"), ERR_MEDIA_TYPE);
}

/* ---- targets and routes ---- */

static void target_is_taken_apart(void) {
  char text[] = "/v1/a%2Fb?x=1&y=a+b%26%3D&z&&=q&e=";
  struct http_target target;
  CU_ASSERT_TRUE_FATAL(http_target_parse(text, &target));
  CU_ASSERT_STRING_EQUAL(target.path, "/v1/a%2Fb");
  CU_ASSERT_EQUAL_FATAL(target.param_count, 5);
  CU_ASSERT_STRING_EQUAL(target.params[0].name, "x");
  CU_ASSERT_STRING_EQUAL(target.params[0].value, "1");
  CU_ASSERT_STRING_EQUAL(target.params[1].value, "a b&=");
  CU_ASSERT_STRING_EQUAL(target.params[2].name, "z");
  CU_ASSERT_STRING_EQUAL(target.params[2].value, "");
  CU_ASSERT_STRING_EQUAL(target.params[3].name, "");
  CU_ASSERT_STRING_EQUAL(target.params[4].value, "");
}

static void target_absolute_is_taken_apart(void) {
  static const struct {
    const char *text, *authority, *path;
    size_t params;
  } targets[] = {
      {"http://127.0.0.1:7410/healthz", "127.0.0.1:7410", "/healthz", 0},
      {"HTTPS://[::1]/v1/t?x=http://y", "[::1]", "/v1/t", 1},
      {"http://a", "a", "/", 0},
      {"http://a?x=1", "a", "/", 1},
      {"http://", "", "/", 0},
      {"http:///healthz", "", "/healthz", 0},
      {"/http://a/b", NULL, "/http://a/b", 0},
      {"ftp://a/b", NULL, "ftp://a/b", 0},
      {"*", NULL, "*", 0},
  };
  for
    EACH(targets) {
      char text[64];
      struct http_target target;
      (void)snprintf(text, sizeof text, "%s", targets[i].text);
      CU_ASSERT_TRUE_FATAL(http_target_parse(text, &target));
      CU_ASSERT_STRING_EQUAL(target.path, targets[i].path);
      CU_ASSERT_EQUAL(target.param_count, targets[i].params);
      const char *found = target.authority ? target.authority : "(none)";
      CU_ASSERT_STRING_EQUAL(found, targets[i].authority ? targets[i].authority : "(none)");
    }
}

static void target_badly_encoded_is_refused(void) {
  static const char *const bad[] = {"/%",       "/%4",     "/%zz",     "/%00",        "/a?b=%",
                                    "/a?%00=1", "/a?b=%0", "/a?b=%ff", "/a?%c0%af=1", "/a b",
                                    "/a?b=\t",  "/a\r",    "/\x7f"};
  for
    EACH(bad) {
      char text[32];
      struct http_target target;
      (void)snprintf(text, sizeof text, "%s", bad[i]);
      CU_ASSERT_FALSE(http_target_parse(text, &target));
    }
  char many[256] = "/?";
  for (int i = 0; i <= HTTP_PARAMS_MAX; i++)
    strcat(many, "a=1&");
  struct http_target target;
  CU_ASSERT_FALSE(http_target_parse(many, &target));
}

static void path_fits_its_pattern_only(void) {
  struct http_captures c;
  CU_ASSERT_TRUE(http_path_match("/healthz", "/healthz", &c));
  CU_ASSERT_TRUE(http_path_match("/v1/t/{id}/commit", "/v1/t/0192-a/commit", &c));
  CU_ASSERT_EQUAL(c.count, 1);
  CU_ASSERT_STRING_EQUAL(c.text[0], "0192-a");
  CU_ASSERT_TRUE(http_path_match("/{a}/{b}", "/x%20y/%2f%27+", &c));
  CU_ASSERT_STRING_EQUAL(c.text[0], "x y");
  CU_ASSERT_STRING_EQUAL(c.text[1], "/'+");
  static const char *const not_commit[] = {"/v1/t/1/commit/",
                                           "/v1/t/1/commitx",
                                           "/v1/t//commit",
                                           "/v1/t/1/",
                                           "/v1/t/1",
                                           "/v1/t/1/2/commit",
                                           "/V1/t/1/commit",
                                           "v1/t/1/commit",
                                           "",
                                           "/",
                                           "//v1/t/1/commit",
                                           "/v1/%74/1/commit",
                                           "*"};
  for
    EACH(not_commit)
  CU_ASSERT_FALSE(http_path_match("/v1/t/{id}/commit", not_commit[i], &c));
}

static void capture_too_long_does_not_fit(void) {
  char path[3 * HTTP_CAPTURE_SIZE + 8] = "/";
  struct http_captures c;
  memset(path + 1, 'x', 255);
  path[256] = '\0';
  CU_ASSERT_TRUE(http_path_match("/{id}", path, &c));
  CU_ASSERT_EQUAL(strlen(c.text[0]), 255);
  strcat(path, "x");
  CU_ASSERT_FALSE(http_path_match("/{id}", path, &c));
  path[1] = '\0';
  for (int i = 0; i < 255; i++)
    strcat(path, "%41");
  CU_ASSERT_TRUE(http_path_match("/{id}", path, &c));
  strcat(path, "A");
  CU_ASSERT_FALSE(http_path_match("/{id}", path, &c));
}

SUITE(http_rules, CASE(framing_good_tells_the_length), CASE(framing_doubtful_is_refused),
      CASE(framing_with_odd_headers_is_refused), CASE(host_of_this_listener_is_heard),
      CASE(host_of_another_is_refused), CASE(origin_is_heard_when_it_is_the_host),
      CASE(accept_that_includes_json_is_heard), CASE(accept_that_excludes_json_is_refused),
      CASE(content_that_is_json_is_heard), CASE(content_that_is_not_json_is_refused),
      CASE(target_is_taken_apart), CASE(target_absolute_is_taken_apart),
      CASE(target_badly_encoded_is_refused), CASE(path_fits_its_pattern_only),
      CASE(capture_too_long_does_not_fit))
