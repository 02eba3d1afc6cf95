/* Requests that are wrong: each is answered with a problem document that names what is wrong,
 * nothing is begun, and the daemon serves a good transaction after all of it. */
#include "tests/lib/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BODY_LIMIT = 1 << 20, RESULT_KIB_MAX = 8192 };

static struct world *open_one(void) {
  return world_open(WORLD_EMBEDDED, NULL);
}

/* After all of it: nothing was begun, and it lives. */
static void close_unharmed(struct world *w) {
  const struct reply *list = api_get(w->api, "/v1/transactions");
  CHECK_STATUS(list, 200);
  CU_ASSERT_EQUAL(json_array_size(reply_at(list, "/transactions")), 0);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(10))), 200);
  CHECK_MOVED(w, 10);
  world_close(w);
}

/* ---- not JSON -------------------------------------------------------------------------------- */

static void body_that_is_not_json_is_refused(void) {
  static const char *const bodies[] = {
      "{",
      "nonsense",
      "{} {}",
      "{\"commit\":tru}",
      "{'commit':true}",
      "{\"commit\":true,}",
      "{\"commit\":true,\"commit\":false}",
      "{\"label\":\"\\u0000\"}",
      "{\"label\":\"\\ud800\"}",
      "{\"label\":\"\xff\"}",
      "{\"label\":\"\xc0\xaf\"}",
      "{\"label\":\"\xed\xa0\x80\"}",
      "{\"timeout_ms\":99999999999999999999999999}",
      "{\"timeout_ms\":1e999}",
      "{\"timeout_ms\":NaN}",
      "{\"timeout_ms\":0x10}",
      "\xef\xbb\xbf{",
  };
  struct world *w = open_one();
  for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
    CHECK_PROBLEM(api_post_plain(w->api, "/v1/transactions", bodies[i]), 400, "bad_json");
  close_unharmed(w);
}

static void body_nested_too_deeply_is_refused(void) {
  const size_t DEPTH = 100000;
  struct world *w = open_one();
  char *body = malloc(2 * DEPTH + 1);
  CU_ASSERT_PTR_NOT_NULL_FATAL(body);
  memset(body, '[', DEPTH);
  memset(body + DEPTH, ']', DEPTH);
  body[2 * DEPTH] = '\0';
  CHECK_PROBLEM(api_post_plain(w->api, "/v1/transactions", body), 400, "bad_json");
  free(body);
  close_unharmed(w);
}

/* A NUL byte does not survive a C string: by hand. */
static const struct reply *post_bytes(struct world *w, const char *headers, const char *body,
                                      size_t length) {
  char request[1024];
  int used = snprintf(request, sizeof request,
                      "POST /v1/transactions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                      "%sContent-Length: %zu\r\n\r\n",
                      headers, length);
  memcpy(request + used, body, length);
  return api_raw(w->api, request, (size_t)used + length);
}

static void body_with_a_nul_byte_is_refused(void) {
  static const char body[] = "{\"label\":\"a\0b\"}";
  struct world *w = open_one();
  const struct reply *reply =
      post_bytes(w, "Content-Type: application/json\r\n", body, sizeof body - 1);
  CHECK_PROBLEM(reply, 400, "bad_json");
  CU_ASSERT_PTR_NOT_NULL(strstr(reply->headers, "Content-Type: application/problem+json"));
  close_unharmed(w);
}

/* ---- fields ---------------------------------------------------------------------------------- */

struct wrong {
  const char *body, *code;
  const char *field; /* "": the body as a whole, which has no name */
};

static void check_wrong(struct world *w, const char *path, const struct wrong *wrong,
                        size_t count) {
  for (size_t i = 0; i < count; i++) {
    const struct reply *reply = api_post(w->api, path, "%s", wrong[i].body);
    CHECK_PROBLEM(reply, 422, wrong[i].code);
    if (strcmp(reply_string(reply, "/field"), wrong[i].field) != 0)
      check_failed(__FILE__, __LINE__, false, "field \"%s\" expected for %s, came %s",
                   wrong[i].field, wrong[i].body, reply->text);
  }
}

static void field_of_a_begin_that_is_wrong_is_named(void) {
  static const struct wrong wrong[] = {
      {"[]", "invalid", ""},
      {"7", "invalid", ""},
      {"{'commit':1}", "invalid", "/commit"},
      {"{'commit':'true'}", "invalid", "/commit"},
      {"{'wait':5}", "invalid", "/wait"},
      {"{'wait':'soon'}", "invalid", "/wait"},
      {"{'timeout_ms':'5'}", "invalid", "/timeout_ms"},
      {"{'timeout_ms':1.5}", "invalid", "/timeout_ms"},
      {"{'timeout_ms':0}", "invalid", "/timeout_ms"},
      {"{'timeout_ms':-1}", "invalid", "/timeout_ms"},
      {"{'timeout_ms':9223372036854775807}", "invalid", "/timeout_ms"},
      {"{'label':5}", "invalid", "/label"},
      {"{'label':''}", "invalid", "/label"},
      {"{'branches':{}}", "invalid", "/branches"},
      {"{'branches':[5]}", "invalid", "/branches/0"},
      {"{'branches':[{}]}", "invalid", "/branches/0/participant"},
      {"{'branches':[{'participant':5,'statements':[]}]}", "invalid", "/branches/0/participant"},
      {"{'branches':[{'participant':'bank_a'}]}", "invalid", "/branches/0/statements"},
      {"{'branches':[{'participant':'bank_a','statements':'x'}]}", "invalid",
       "/branches/0/statements"},
      {"{'branches':[{'participant':'bank_a','statements':[{}]}]}", "invalid",
       "/branches/0/statements/0/sql"},
      {"{'branches':[{'participant':'bank_a','statements':[{'sql':7}]}]}", "invalid",
       "/branches/0/statements/0/sql"},
      {"{'branches':[{'participant':'bank_a','statements':[{'sql':'SELECT 1','params':5}]}]}",
       "invalid", "/branches/0/statements/0/params"},
      {"{'branches':[{'participant':'bank_a','statements':[{'sql':'SELECT 1','expect_rows':-1}]}]}",
       "invalid", "/branches/0/statements/0/expect_rows"},
      {"{'branches':[{'participant':'bank_a','statements':[{'sql':'SELECT 1','rows':1}]}]}",
       "unknown_field", "/branches/0/statements/0/rows"},
      {"{'branches':[{'participant':'bank_a','statements':[{'sql':'SELECT 1'}],'x':1}]}",
       "unknown_field", "/branches/0/x"},
      {"{'comit':true}", "unknown_field", "/comit"},
      {"{'a/b~c':true}", "unknown_field", "/a~1b~0c"},
      {"{'branches':[{'participant':'bank_a;DROP TABLE account','statements':[{'sql':'SELECT "
       "1'}]}]}",
       "unknown_participant", "/branches/0/participant"},
      {"{'branches':[{'participant':'BANK_A','statements':[{'sql':'SELECT 1'}]}]}",
       "unknown_participant", "/branches/0/participant"},
  };
  struct world *w = open_one();
  check_wrong(w, "/v1/transactions", wrong, sizeof wrong / sizeof wrong[0]);
  close_unharmed(w);
}

static void field_of_a_call_on_a_transaction_that_is_wrong_is_named(void) {
  static const struct wrong statement[] = {
      {"{'sql':'SELECT 1'}", "invalid", "/participant"},
      {"{'participant':'bank_a'}", "invalid", "/sql"},
      {"{'participant':'bank_a','sql':''}", "invalid", "/sql"},
      {"{'participant':'bank_a','sql':'SELECT 1','params':{}}", "invalid", "/params"},
      {"{'participant':'bank_a','sql':'SELECT 1','expect_rows':'1'}", "invalid", "/expect_rows"},
      {"{'participant':'bank_a','sql':'SELECT 1','more':1}", "unknown_field", "/more"},
  };
  static const struct wrong branch[] = {
      {"{}", "invalid", "/participant"},
      {"{'participant':[]}", "invalid", "/participant"},
      {"{'participant':'bank_a','gid':'x'}", "unknown_field", "/gid"},
      {"{'participant':'bank_z'}", "unknown_participant", "/participant"},
  };
  static const struct wrong commit[] = {
      {"{'wait':'later'}", "invalid", "/wait"},
      {"{'force':true}", "unknown_field", "/force"},
  };
  static const struct wrong rollback[] = {{"{'reason':'x'}", "unknown_field", "/reason"}};
  struct world *w = open_one();
  const char *id = api_begin(w->api, "{}");
  const char *base = api_text(w->api, "/v1/transactions/%s", id);
#define COUNT(array) (sizeof(array) / sizeof(array)[0])
  check_wrong(w, api_text(w->api, "%s/statements", base), statement, COUNT(statement));
  check_wrong(w, api_text(w->api, "%s/branches", base), branch, COUNT(branch));
  check_wrong(w, api_text(w->api, "%s/commit", base), commit, COUNT(commit));
  check_wrong(w, api_text(w->api, "%s/rollback", base), rollback, COUNT(rollback));
  CHECK_STRING(api_read(w->api, id), "/state", "open");
  CHECK_STATUS(api_rollback(w->api, id), 200);
  world_close(w);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static char *padded_body(size_t length) {
  static const char head[] = "{\"label\":\"", tail[] = "\"}";
  char *body = malloc(length + 1);
  CU_ASSERT_PTR_NOT_NULL_FATAL(body);
  memset(body, 'x', length);
  memcpy(body, head, sizeof head - 1);
  memcpy(body + length - (sizeof tail - 1), tail, sizeof tail);
  return body;
}

/* Of the coordinator, or of the agent where that is a process of its own. */
static int64_t memory_peak_kib(const struct world *w, enum world_mode mode) {
#ifdef __SANITIZE_ADDRESS__ /* which keeps what is freed, for a while: it cannot be told */
  (void)w, (void)mode;
  return 0;
#else
  return world_memory_kib(w, mode == WORLD_AGENTS ? AGENT_A : COORDINATOR, "VmHWM");
#endif
}

/* Half announced, half sent: none of it is held. */
static void check_memory_of_bodies(struct world *w) {
  enum { BODIES = 20, BODY_BYTES = 16 << 20 };
  static const char head[] =
      "POST /v1/transactions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
      "Content-Type: application/json\r\nContent-Length: 16777216\r\n\r\n";
  char *request = malloc(sizeof head + BODY_BYTES);
  CU_ASSERT_PTR_NOT_NULL_FATAL(request);
  memcpy(request, head, sizeof head - 1);
  memset(request + sizeof head - 1, '[', BODY_BYTES);
  int64_t before = memory_peak_kib(w, WORLD_EMBEDDED);
  for (int i = 0; i < BODIES; i++)
    CHECK_STATUS(api_raw(w->api, request, sizeof head - 1 + BODY_BYTES), 413);
  CU_ASSERT_TRUE(memory_peak_kib(w, WORLD_EMBEDDED) - before < BODY_BYTES / 1024);
  free(request);
}

/* All of it is sent before the answer is read, at once or in chunks of 16000 bytes. */
static const struct reply *post_padded(struct world *w, size_t length, bool in_chunks) {
  enum { CHUNK = 16000, HEAD_ROOM = 512, CHUNK_ROOM = 16 };
  char *body = padded_body(length);
  char *request = malloc(HEAD_ROOM + length + (length / CHUNK + 2) * CHUNK_ROOM);
  CU_ASSERT_PTR_NOT_NULL_FATAL(request);
  char *end = request + sprintf(request, "POST /v1/transactions HTTP/1.1\r\nHost: localhost\r\n"
                                         "Connection: close\r\nContent-Type: application/json\r\n");
  end += in_chunks ? sprintf(end, "Transfer-Encoding: chunked\r\n\r\n")
                   : sprintf(end, "Content-Length: %zu\r\n\r\n", length);
  size_t piece_max = in_chunks ? CHUNK : length;
  for (size_t at = 0, piece; at < length; at += piece) {
    piece = length - at < piece_max ? length - at : piece_max;
    if (in_chunks) end += sprintf(end, "%zx\r\n", piece);
    memcpy(end, body + at, piece);
    end += piece;
    if (in_chunks) end += sprintf(end, "\r\n");
  }
  if (in_chunks) end += sprintf(end, "0\r\n\r\n");
  const struct reply *reply = api_raw(w->api, request, (size_t)(end - request));
  free(request);
  free(body);
  return reply;
}

static void check_body_at_and_over_the_limit(struct world *w, bool in_chunks) {
  static const size_t over[] = {BODY_LIMIT + 1, 2 * BODY_LIMIT + 1, (size_t)64 * BODY_LIMIT};
  CHECK_PROBLEM(post_padded(w, BODY_LIMIT, in_chunks), 422, "invalid"); /* the label */
  for (size_t i = 0; i < sizeof over / sizeof over[0]; i++) {
    const struct reply *reply = post_padded(w, over[i], in_chunks);
    CHECK_LIMIT(reply, 413, "too_large", "body", BODY_LIMIT);
    CU_ASSERT_TRUE(reply_has_header(reply, "Content-Type: application/problem+json"));
    CU_ASSERT_TRUE(reply_has_header(reply, "Connection: close"));
  }
}

static void body_over_the_limit_is_refused_unread(void) {
  struct world *w = open_one();
  check_memory_of_bodies(w);
  check_body_at_and_over_the_limit(w, false);
  check_body_at_and_over_the_limit(w, true);
  static const char announced[] =
      "POST /v1/transactions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
      "Content-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n";
  CHECK_STATUS(api_raw(w->api, announced, sizeof announced - 1), 413);
  close_unharmed(w);
}

static void more_branches_than_the_limit_are_refused(void) {
  enum { TOO_MANY = 65, BRANCH_BYTES = 80 };
  struct world *w = open_one();
  char *body = calloc(TOO_MANY + 1, BRANCH_BYTES);
  CU_ASSERT_PTR_NOT_NULL_FATAL(body);
  strcpy(body, "{\"branches\":[");
  for (int i = 0; i < TOO_MANY; i++)
    (void)sprintf(body + strlen(body),
                  "%s{\"participant\":\"p%d\",\"statements\":[{\"sql\":\"SELECT 1\"}]}",
                  i ? "," : "", i);
  strcat(body, "]}");
  const struct reply *reply = api_post_plain(w->api, "/v1/transactions", body);
  CHECK_PROBLEM(reply, 422, "limit");
  CHECK_STRING(reply, "/field", "/branches");
  free(body);
  close_unharmed(w);
}

/* What is over the limit is dropped row by row. */
static void result_over_the_limit_aborts(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  int64_t before = memory_peak_kib(w, mode);
  const struct reply *reply =
      api_run(w->api, ONE_CALL("'label':'wide',",
                               BRANCH("bank_a", DEBIT(10) "," STATEMENT(
                                                    "SELECT * FROM generate_series(1, 1000000)"))));
  CHECK_LIMIT(reply, 409, "aborted", "result_rows", 10000);
  CHECK_STRING(reply, "/transaction/cause/kind", "limit");
  CU_ASSERT_TRUE(memory_peak_kib(w, mode) - before <
                 RESULT_KIB_MAX); /* of some 30 MiB that were sent */
  CHECK_MOVED(w, 0);
  world_close(w);
}
IN_BOTH_MODES(result_over_the_limit_aborts)

/* ---- paths, methods, headers ----------------------------------------------------------------- */

static void id_that_is_none_is_refused(void) {
  static const char *const ids[] = {
      "x",
      "01900000-0000-7000-8000-00000000000",
      "01900000-0000-7000-8000-0000000000000",
      "01900000-0000-7000-8000-00000000000G",
      "01900000-0000-7000-8000-00000000000A",
      "01900000-0000-7000-8000-000000000%27%27",
      "%27;DROP%20TABLE%20account;--",
      "%00",
      "..%2f..%2fetc",
  };
  struct world *w = open_one();
  for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
    const struct reply *reply = api_read(w->api, ids[i]);
    if (reply->status != 400) check_failed(__FILE__, __LINE__, false, "for the id %s", ids[i]);
    CU_ASSERT(reply->status == 400);
    CU_ASSERT(strcmp(reply_string(reply, "/code"), "bad_id") == 0 ||
              strcmp(reply_string(reply, "/code"), "bad_request") == 0);
  }
  close_unharmed(w);
}

static const struct reply *request_with(struct world *w, const char *line, const char *headers,
                                        const char *body) {
  const char *text = api_text(w->api,
                              "%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s"
                              "Content-Length: %zu\r\n\r\n%s",
                              line, headers, strlen(body), body);
  return api_raw(w->api, text, strlen(text));
}

static void path_and_method_that_do_not_exist_are_refused(void) {
  struct world *w = open_one();
  CHECK_PROBLEM(api_get(w->api, "/v1/nothing"), 404, "not_found");
  CHECK_PROBLEM(api_get(w->api, "/v1/transactions/"), 404, "not_found");
  CHECK_PROBLEM(api_get(w->api, "/"), 404, "not_found");
  const struct reply *deleted = request_with(w, "DELETE /v1/transactions", "", "");
  CHECK_PROBLEM(deleted, 405, "method_not_allowed");
  CU_ASSERT_PTR_NOT_NULL(strstr(deleted->headers, "Allow: "));
  CU_ASSERT_PTR_NOT_NULL(strstr(deleted->headers, "POST"));
  CU_ASSERT_PTR_NOT_NULL(strstr(deleted->headers, "GET"));
  const struct reply *read =
      api_get(w->api, "/v1/transactions/01900000-0000-7000-8000-000000000000/commit");
  CHECK_PROBLEM(read, 405, "method_not_allowed");
  close_unharmed(w);
}

static void header_that_cannot_be_is_refused(void) {
  static const struct {
    const char *headers, *code;
    int status;
  } wrong[] = {
      {"Content-Type: text/plain\r\n", "media_type", 415},
      {"Content-Type: application/x-www-form-urlencoded\r\n", "media_type", 415},
      {"", "media_type", 415},
      {"Content-Type: application/json\r\nAccept: text/html\r\n", "not_acceptable", 406},
      {"Content-Type: application/json\r\nOrigin: http://evil.example\r\n", "forbidden", 403},
      {"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n", "bad_request", 400},
  };
  struct world *w = open_one();
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    const struct reply *reply = request_with(w, "POST /v1/transactions", wrong[i].headers, "{}");
    if (reply->status != wrong[i].status)
      check_failed(__FILE__, __LINE__, false, "for the headers %s", wrong[i].headers);
    CHECK_PROBLEM(reply, wrong[i].status, wrong[i].code);
  }
  close_unharmed(w);
}

/* What is no HTTP, or too long to be looked at, of the coordinator and of an agent. */
static void check_unreadable(const struct world *w, enum world_target process) {
  static const struct {
    const char *text, *code;
    int status;
  } unreadable[] = {
      {"GET /healthz\r\n\r\n", "bad_request", 400},
      {"GET /healthz HTTP/2.0\r\n\r\n", "http_version", 505},
      {"POST /v1/transactions HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
       "bad_request", 400},
      {"POST /v1/transactions HTTP/1.1\r\nHost: localhost\r\n"
       "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
       "bad_request", 400},
  };
  char url[64];
  (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", w->ports[process]);
  struct api *api = api_new_of_agent(url);
  for (size_t i = 0; i < sizeof unreadable / sizeof unreadable[0]; i++) {
    const struct reply *reply = api_raw(api, unreadable[i].text, strlen(unreadable[i].text));
    CHECK_PROBLEM(reply, unreadable[i].status, unreadable[i].code);
    CU_ASSERT_TRUE(reply_has_header(reply, "Content-Type: application/problem+json"));
    CU_ASSERT_TRUE(reply_has_header(reply, "Connection: close"));
  }
  const char *fat = api_text(api, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: %060000d\r\n", 0);
  CHECK_PROBLEM(api_raw(api, fat, strlen(fat)), 431, "headers_too_large");
  const char *endless = api_text(api, "GET /%060000d HTTP/1.1\r\nHost: localhost\r\n", 0);
  CHECK_PROBLEM(api_raw(api, endless, strlen(endless)), 414, "uri_too_long");
  api_free(api);
}

static void request_that_is_no_http_is_answered_with_a_problem(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  check_unreadable(w, COORDINATOR);
  if (mode == WORLD_AGENTS) check_unreadable(w, AGENT_A);
  close_unharmed(w);
}
IN_BOTH_MODES(request_that_is_no_http_is_answered_with_a_problem)

static void query_that_is_wrong_is_named(void) {
  static const struct {
    const char *query, *code, *field;
  } wrong[] = {
      {"stat=open", "unknown_field", "stat"},
      {"state=opened", "invalid", "state"},
      {"limit=0", "invalid", "limit"},
      {"limit=501", "invalid", "limit"},
      {"limit=ten", "invalid", "limit"},
      {"limit=1&limit=2", "invalid", "limit"},
      {"older_than_ms=-1", "invalid", "older_than_ms"},
      {"older_than_ms=99999999999999999999", "invalid", "older_than_ms"},
      {"cursor=%27", "invalid", "cursor"},
      {"wait=applied", "unknown_field", "wait"},
  };
  struct world *w = open_one();
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    const struct reply *reply = api_get(w->api, "/v1/transactions?%s", wrong[i].query);
    CHECK_PROBLEM(reply, 422, wrong[i].code);
    CHECK_STRING(reply, "/field", wrong[i].field);
  }
  close_unharmed(w);
}

/* As a field that nobody knows: who sends it may rely on it. */
static void query_where_none_is_known_is_named(void) {
  static const char *const read[] = {"/v1/participants", "/v1/participants/bank_a"};
  static const char *const calls[] = {"",          "/commit", "/rollback", "/statements",
                                      "/branches", "/resolve"};
  struct world *w = open_one();
  for (size_t i = 0; i < sizeof read / sizeof read[0]; i++)
    CHECK_PROBLEM(api_get(w->api, "%s?wait=applied", read[i]), 422, "unknown_field");
  for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
    const char *path = api_text(w->api, "/v1/transactions%s%s?wait=applied",
                                i ? "/01900000-0000-7000-8000-000000000000" : "", calls[i]);
    const struct reply *reply = api_post(w->api, path, "{}");
    CHECK_PROBLEM(reply, 422, "unknown_field");
    CHECK_STRING(reply, "/field", "wait");
  }
  CHECK_PROBLEM(api_post(w->api, "/v1/participants/bank_a/drain?for=1", "{}"), 422,
                "unknown_field");
  CHECK_JSON(api_get(w->api, "/v1/participants/bank_a"), "/draining", "false");
  close_unharmed(w);
}

SUITE(input, CASE(body_that_is_not_json_is_refused), CASE(body_nested_too_deeply_is_refused),
      CASE(body_with_a_nul_byte_is_refused), CASE(field_of_a_begin_that_is_wrong_is_named),
      CASE(field_of_a_call_on_a_transaction_that_is_wrong_is_named),
      CASE(body_over_the_limit_is_refused_unread), CASE(more_branches_than_the_limit_are_refused),
      BOTH(result_over_the_limit_aborts), CASE(id_that_is_none_is_refused),
      CASE(path_and_method_that_do_not_exist_are_refused), CASE(header_that_cannot_be_is_refused),
      BOTH(request_that_is_no_http_is_answered_with_a_problem), CASE(query_that_is_wrong_is_named),
      CASE(query_where_none_is_known_is_named))
