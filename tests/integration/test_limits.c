/* Each limit of a request, set small: at it all is well, one beyond it the answer names it and nothing was
 * done. The table in docs/operations.md has all limits, and where they are tested. */
#include "tests/lib/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct world_options small = {
    .banks = 3,
    .settings = "branches = 2\nstatements = 3\nparameters = 4\nsql = 100\njson_depth = 8\n"
                "transactions = 3\nbody = 2048\ntimeout = 5s\ntimeout_max = 5s\n",
    .database = "result_rows = 3\nresult_bytes = 1024\n",
};

#define ONE STATEMENT("SELECT 1")

static void check_over(const struct reply *reply, const char *code, const char *field) {
  CHECK_PROBLEM(reply, 422, code);
  CHECK_STRING(reply, "/field", field);
}

/* One that is configured: the problem tells it. */
static void check_over_limit(const struct reply *reply, const char *name, int64_t value,
                             const char *field) {
  CHECK_LIMIT(reply, 422, strcmp(name, "timeout_max") == 0 ? "invalid" : "limit", name, value);
  CHECK_STRING(reply, "/field", field);
}

static void check_nothing_begun(struct world *w) {
  const struct reply *list = api_get(w->api, "/v1/transactions?state=open");
  CU_ASSERT_EQUAL(json_array_size(reply_at(list, "/transactions")), 0);
}

static void branches_over_the_limit_are_refused(void) {
  struct world *w = world_open(WORLD_EMBEDDED, &small);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", BRANCH("bank_a", ONE) "," BRANCH("bank_b", ONE))), 200);
  check_over_limit(api_run(w->api, ONE_CALL("", BRANCH("bank_a", ONE) "," BRANCH(
                                                    "bank_b", ONE) "," BRANCH("bank_c", ONE))),
                   "branches", 2, "/branches");
  check_nothing_begun(w);
  const char *id = api_begin(w->api, "{'branches':[" BRANCH("bank_a", ONE) "]}");
  CHECK_STATUS(api_statement(w->api, id, "bank_b", "'sql':'SELECT 1'"), 200);
  CHECK_LIMIT(api_statement(w->api, id, "bank_c", "'sql':'SELECT 1'"), 422, "limit", "branches", 2);
  CHECK_LIMIT(api_post(w->api, api_text(w->api, "/v1/transactions/%s/branches", id),
                       "{'participant':'bank_c'}"),
              422, "limit", "branches", 2);
  CHECK_STATUS(api_statement(w->api, id, "bank_b", "'sql':'SELECT 1'"), 200);
  CHECK_STATUS(api_commit(w->api, id), 200);
  world_close(w);
}

static void statements_over_the_limit_are_refused(void) {
  struct world *w = world_open(WORLD_EMBEDDED, &small);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", BRANCH("bank_a", ONE "," ONE "," ONE))), 200);
  check_over_limit(api_run(w->api, ONE_CALL("", BRANCH("bank_a", ONE "," ONE "," ONE "," ONE))),
                   "statements", 3, "/branches/0/statements");
  check_nothing_begun(w);
  world_close(w);
}

static void parameters_over_the_limit_are_refused(void) {
  static const char five[] =
      "'sql':'SELECT $1::int, $2::int, $3::int, $4::int','params':[1,2,3,4,5]";
  static const char four[] = "'sql':'SELECT $1::int, $2::int, $3::int, $4::int','params':[1,2,3,4]";
  struct world *w = world_open(WORLD_EMBEDDED, &small);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", BRANCH("bank_a", "{%s}")), four), 200);
  check_over_limit(api_run(w->api, ONE_CALL("", BRANCH("bank_a", "{%s}")), five), "parameters", 4,
                   "/branches/0/statements/0/params");
  check_nothing_begun(w);
  const char *id = api_begin(w->api, "{}");
  CHECK_STATUS(api_statement(w->api, id, "bank_a", four), 200);
  check_over_limit(api_statement(w->api, id, "bank_a", five), "parameters", 4, "/params");
  CHECK_STATUS(api_commit(w->api, id), 200);
  world_close(w);
}

static void sql_over_the_limit_is_refused(void) {
  char at[101], over[102];
  (void)snprintf(at, sizeof at, "%-100s", "SELECT 1");
  (void)snprintf(over, sizeof over, "%-101s", "SELECT 1");
  struct world *w = world_open(WORLD_EMBEDDED, &small);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", BRANCH("bank_a", STATEMENT("%s"))), at), 200);
  check_over_limit(api_run(w->api, ONE_CALL("", BRANCH("bank_a", STATEMENT("%s"))), over), "sql",
                   100, "/branches/0/statements/0/sql");
  check_nothing_begun(w);
  world_close(w);
}

static void json_over_the_depth_is_refused(void) {
  static const char body[] =
      ONE_CALL("", BRANCH("bank_a", "{'sql':'SELECT $1::text','params':[%s]}"));
  struct world *w = world_open(WORLD_EMBEDDED, &small);
  CHECK_STATUS(api_run(w->api, body, "[[1]]"), 200); /* the params are the sixth */
  CHECK_LIMIT(api_run(w->api, body, "[[[1]]]"), 400, "bad_json", "json_depth", 8);
  check_nothing_begun(w);
  world_close(w);
}

static void body_over_the_limit_is_refused(void) {
  static const char head[] = "{\"label\":\"x\"", tail[] = "}";
  char body[2050];
  struct world *w = world_open(WORLD_EMBEDDED, &small);
  for (size_t over = 0; over < 2; over++) {
    memset(body, ' ', sizeof body);
    memcpy(body, head, sizeof head - 1);
    memcpy(body + 2048 + over - 1, tail, sizeof tail);
    CU_ASSERT_EQUAL_FATAL(strlen(body), 2048 + over);
    const struct reply *reply = api_post_plain(w->api, "/v1/transactions", body);
    if (over)
      CHECK_LIMIT(reply, 413, "too_large", "body", 2048);
    else
      CHECK_STATUS(reply, 201);
  }
  CHECK_STATUS(api_rollback(w->api, reply_string(api_get(w->api, "/v1/transactions?label=x"),
                                                 "/transactions/0/id")),
               200);
  world_close(w);
}

static void transactions_over_the_limit_wait_outside(void) {
  struct world *w = world_open(WORLD_EMBEDDED, &small);
  char ids[3][64];
  for (int i = 0; i < 3; i++)
    (void)snprintf(ids[i], sizeof ids[i], "%s", api_begin(w->api, "{}"));
  CHECK_LIMIT(api_run(w->api, ONE_CALL("", TRANSFER(1))), 503, "overloaded", "transactions", 3);
  static const char begin[] = "POST /v1/transactions HTTP/1.1\r\nHost: localhost\r\n"
                              "Connection: close\r\nContent-Length: 0\r\n\r\n";
  const struct reply *reply = api_raw(w->api, begin, sizeof begin - 1);
  CHECK_PROBLEM(reply, 503, "overloaded");
  CU_ASSERT_TRUE(reply_has_header(reply, "Retry-After: 1"));
  CHECK_STATUS(api_rollback(w->api, ids[0]), 200);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(1))), 200);
  CHECK_STATUS(api_rollback(w->api, ids[1]), 200);
  CHECK_STATUS(api_rollback(w->api, ids[2]), 200);
  CHECK_MOVED(w, 1);
  world_close(w);
}

static void time_over_the_limit_is_refused(void) {
  struct world *w = world_open(WORLD_EMBEDDED, &small);
  CHECK_STATUS(api_run(w->api, ONE_CALL("'timeout_ms':5000,", TRANSFER(1))), 200);
  check_over_limit(api_run(w->api, ONE_CALL("'timeout_ms':5001,", TRANSFER(1))), "timeout_max",
                   5000, "/timeout_ms");
  const char *id = reply_string(api_run(w->api, ONE_CALL("", TRANSFER(1))), "/id");
  CHECK_STATUS(api_get(w->api, "/v1/transactions/%s?wait=applied&timeout_ms=5000", id), 200);
  check_over_limit(api_get(w->api, "/v1/transactions/%s?wait=applied&timeout_ms=5001", id),
                   "timeout_max", 5000, "timeout_ms");
  CHECK_MOVED(w, 2);
  world_close(w);
}

static void names_over_their_length_are_refused(void) {
  char label[257];
  struct world *w = world_open(WORLD_EMBEDDED, &small);
  memset(label, 'x', 256);
  label[256] = '\0';
  check_over(api_run(w->api, "{'label':'%s'}", label), "invalid", "/label");
  label[255] = '\0';
  const struct reply *reply = api_run(w->api, "{'label':'%s'}", label);
  CHECK_STATUS(reply, 201);
  CHECK_STATUS(api_rollback(w->api, reply_string(reply, "/id")), 200);
  reply = api_run(w->api, ONE_CALL("", TRANSFER(1)));
  const char *resolve = api_text(w->api, "/v1/transactions/%s/resolve", reply_string(reply, "/id"));
  char reason[502];
  memset(reason, 'x', 501);
  reason[501] = '\0';
  check_over(api_post(w->api, resolve, "{'branch':1,'outcome':'aborted','reason':'%s'}", reason),
             "invalid", "/reason");
  reason[500] = '\0';
  CHECK_STATUS(api_post(w->api, resolve, "{'branch':1,'outcome':'aborted','reason':'%s'}", reason),
               409);
  CHECK_STATUS(api_get(w->api, "/v1/transactions?limit=500"), 200);
  check_over(api_get(w->api, "/v1/transactions?limit=501"), "invalid", "limit");
  world_close(w);
}

/* ---- results ---------------------------------------------------------------------------------- */

static const struct reply *select_rows(struct world *w, int rows) {
  return api_run(w->api,
                 ONE_CALL("", BRANCH("bank_a", STATEMENT("SELECT * FROM generate_series(1, %d)"))),
                 rows);
}

static void rows_over_the_limit_abort(enum world_mode mode) {
  struct world *w = world_open(mode, &small);
  const struct reply *reply = select_rows(w, 3);
  CHECK_STATUS(reply, 200);
  CHECK_JSON(reply, "/branches/0/results/0/rows", "[[1],[2],[3]]");
  reply = select_rows(w, 4);
  CHECK_LIMIT(reply, 409, "aborted", "result_rows", 3);
  CHECK_STRING(reply, "/transaction/cause/kind", "limit");
  world_close(w);
}
IN_BOTH_MODES(rows_over_the_limit_abort)

static bool takes_bytes(struct world *w, int bytes) {
  const struct reply *reply =
      api_run(w->api, ONE_CALL("", BRANCH("bank_a", STATEMENT("SELECT repeat(chr(120), %d)"))),
              bytes);
  if (reply->status == 200) {
    CU_ASSERT_EQUAL(strlen(reply_string(reply, "/branches/0/results/0/rows/0/0")), (size_t)bytes);
    return true;
  }
  CHECK_LIMIT(reply, 409, "aborted", "result_bytes", 1024);
  CHECK_STRING(reply, "/transaction/cause/kind", "limit");
  return false;
}

/* What stands around the row counts, too: so the border is a little below. */
static void bytes_over_the_limit_abort(enum world_mode mode) {
  struct world *w = world_open(mode, &small);
  int takes = 900, refuses = 1024;
  CU_ASSERT_TRUE(takes_bytes(w, takes));
  CU_ASSERT_FALSE(takes_bytes(w, refuses));
  while (refuses - takes > 1) {
    int middle = (takes + refuses) / 2;
    if (takes_bytes(w, middle))
      takes = middle;
    else
      refuses = middle;
  }
  CU_ASSERT_FALSE(takes_bytes(w, takes + 1));
  CU_ASSERT_FALSE(takes_bytes(w, 1 << 20));
  world_close(w);
}
IN_BOTH_MODES(bytes_over_the_limit_abort)

/* libpq would hold all of it, twice. The proxy sends more slowly than it is read, as a network does. */
static void row_far_over_the_limit_is_not_held(enum world_mode mode) {
  enum { ROW_BYTES = 64 << 20 };
  struct world *w = world_open(mode, &(struct world_options){.proxies = PROXY_DATABASES,
                                                             .database = "result_bytes = 1024\n"});
  CU_ASSERT_FALSE(takes_bytes(w, ROW_BYTES));
  CU_ASSERT_TRUE(takes_bytes(w, 10));
#ifndef __SANITIZE_ADDRESS__ /* which keeps what is freed, for a while */
  enum world_target agent = mode == WORLD_AGENTS ? AGENT_A : COORDINATOR;
  CU_ASSERT_TRUE(world_memory_kib(w, agent, "VmHWM") < ROW_BYTES / 1024);
#endif
  world_close(w);
}
IN_BOTH_MODES(row_far_over_the_limit_is_not_held)

/* ---- events ----------------------------------------------------------------------------------- */

static int follow(struct world *w, char answer[256]) {
  static const char request[] = "GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
  int fd = api_connect(w->api);
  CU_ASSERT_TRUE_FATAL(fd >= 0);
  CU_ASSERT_EQUAL(send(fd, request, sizeof request - 1, MSG_NOSIGNAL), sizeof request - 1);
  ssize_t length = recv(fd, answer, 255, 0);
  answer[length > 0 ? length : 0] = '\0';
  return fd;
}

static void readers_of_events_over_the_limit_are_refused(void) {
  enum { READERS = 100 };
  char answer[256];
  int fds[READERS + 1];
  struct world *w = world_open(WORLD_EMBEDDED, &small);
  for (int i = 0; i < READERS; i++) {
    fds[i] = follow(w, answer);
    CU_ASSERT_PTR_NOT_NULL(strstr(answer, " 200 "));
  }
  fds[READERS] = follow(w, answer);
  CU_ASSERT_PTR_NOT_NULL(strstr(answer, " 503 "));
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(1))), 200);
  for (int i = 0; i <= READERS; i++)
    (void)close(fds[i]);
  world_close(w);
}

SUITE(limits, CASE(branches_over_the_limit_are_refused),
      CASE(statements_over_the_limit_are_refused), CASE(parameters_over_the_limit_are_refused),
      CASE(sql_over_the_limit_is_refused), CASE(json_over_the_depth_is_refused),
      CASE(body_over_the_limit_is_refused), CASE(transactions_over_the_limit_wait_outside),
      CASE(time_over_the_limit_is_refused), CASE(names_over_their_length_are_refused),
      BOTH(rows_over_the_limit_abort), BOTH(bytes_over_the_limit_abort),
      BOTH(row_far_over_the_limit_is_not_held), CASE(readers_of_events_over_the_limit_are_refused))
