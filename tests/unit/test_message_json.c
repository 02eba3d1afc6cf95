/* common/message.c, common/message_json.c and common/statement_json.c: round trips, and refusals.
 */
#include "common/message_json.h"

#include <stdlib.h>
#include <string.h>

#include "tests/lib/suite.h"

#define GID    "assent_0123456789az_7_01a1fc21-2de8-727e-ab64-6544289d91dd_1"
#define GID_2  "assent_0123456789az_7_01a1fc21-2de8-727e-ab64-6544289d91dd_2"
#define RUN_ID "0123456789abcdef"
#define SERVER "7412345678901234567/1/16384"

/* What an encoder wrote, parsed as a receiver would. */
static json_t *written(struct json_writer *w) {
  size_t length;
  char *text = json_writer_take(w, &length);
  CU_ASSERT_PTR_NOT_NULL_FATAL(text);
  struct error err = {.code = ERR_OK};
  json_t *json = json_parse(text, length, &err);
  if (!json) (void)printf("\n  %s: %s\n", text, err.text);
  CU_ASSERT_PTR_NOT_NULL_FATAL(json);
  free(text);
  return json;
}

static json_t *parsed(const char *text) {
  json_t *json = json_parse(text, strlen(text), NULL);
  CU_ASSERT_PTR_NOT_NULL_FATAL(json);
  return json;
}

static void check_error(const struct error *err, enum error_code code, const char *field) {
  CU_ASSERT_EQUAL(err->code, code);
  CU_ASSERT_STRING_EQUAL(err->field, field);
}

/* ---- names ---- */

static void names_read_back(void) {
  for (int i = 0; i <= CAUSE_LIMIT; i++) {
    enum cause_kind out;
    CU_ASSERT_TRUE(cause_kind_parse(cause_kind_name((enum cause_kind)i), &out) && (int)out == i);
  }
  for (int i = 0; i <= VOTE_READY; i++) {
    enum vote out;
    CU_ASSERT_TRUE(vote_parse(vote_name((enum vote)i), &out) && (int)out == i);
  }
  for (int i = 0; i <= DECIDE_ONE_PHASE; i++) {
    enum decision out;
    CU_ASSERT_TRUE(decision_parse(decision_name((enum decision)i), &out) && (int)out == i);
  }
  for (int i = 0; i <= BRANCH_OUTCOME_UNVERIFIABLE; i++) {
    enum branch_outcome out;
    CU_ASSERT_TRUE(branch_outcome_parse(branch_outcome_name((enum branch_outcome)i), &out) &&
                   (int)out == i);
  }
}

static void names_unknown_leave_the_value(void) {
  enum vote vote = VOTE_NO;
  CU_ASSERT_FALSE(vote_parse("YES", &vote));
  CU_ASSERT_FALSE(vote_parse("", &vote));
  CU_ASSERT_EQUAL(vote, VOTE_NO);
}

/* ---- fence ---- */

static void fence_request_reads_back(void) {
  struct fence_request in = {.cluster = {"0123456789az"}, .epoch = INT64_MAX, .run_id = RUN_ID};
  struct fence_request out;
  struct json_writer w;
  json_writer_init(&w);
  fence_request_encode(&w, &in);
  json_t *json = written(&w);
  CU_ASSERT_EQUAL(fence_request_decode(json, &out, NULL), ERR_OK);
  CU_ASSERT_STRING_EQUAL(out.cluster.text, in.cluster.text);
  CU_ASSERT_EQUAL(out.epoch, in.epoch);
  CU_ASSERT_STRING_EQUAL(out.run_id, in.run_id);
  json_decref(json);
}

static void fence_request_with_a_former_life_reads_back(void) {
  struct fence_request in = {{"0123456789az"}, 7, RUN_ID, 6, "fedcba9876543210"};
  struct fence_request out;
  struct json_writer w;
  json_writer_init(&w);
  fence_request_encode(&w, &in);
  json_t *json = written(&w);
  CU_ASSERT_EQUAL(fence_request_decode(json, &out, NULL), ERR_OK);
  CU_ASSERT_EQUAL(out.after_epoch, 6);
  CU_ASSERT_STRING_EQUAL(out.after_run_id, "fedcba9876543210");
  json_decref(json);
}

static const struct fence_asked asked = {"bank", "fedcba9876543210"};

static void fence_reply_with_a_former_life_reads_back(void) {
  struct fence_reply in = {.former_epoch = 6, .former_run_id = RUN_ID};
  struct fence_reply out;
  struct json_writer w;
  json_writer_init(&w);
  fence_reply_encode(&w, &asked, &in);
  json_t *json = written(&w);
  CU_ASSERT_EQUAL(fence_reply_decode(json, &asked, &out, NULL), ERR_OK);
  CU_ASSERT_EQUAL(out.former_epoch, 6);
  CU_ASSERT_STRING_EQUAL(out.former_run_id, RUN_ID);
  CU_ASSERT_STRING_EQUAL(out.incarnation, "");
  json_decref(json);
}

static void fence_request_wrong_is_refused(void) {
  static const struct {
    const char *text, *field;
    enum error_code code;
  } cases[] = {
      {"{\"epoch\":1,\"run_id\":\"" RUN_ID "\"}", "/cluster", ERR_INVALID},
      {"{\"cluster\":\"0123456789AZ\",\"epoch\":1,\"run_id\":\"" RUN_ID "\"}", "/cluster",
       ERR_INVALID},
      {"{\"cluster\":\"0123456789az\",\"epoch\":0,\"run_id\":\"" RUN_ID "\"}", "/epoch",
       ERR_INVALID},
      {"{\"cluster\":\"0123456789az\",\"epoch\":\"1\",\"run_id\":\"" RUN_ID "\"}", "/epoch",
       ERR_INVALID},
      {"{\"cluster\":\"0123456789az\",\"epoch\":1,\"run_id\":\"a'b\"}", "/run_id", ERR_INVALID},
      {"{\"cluster\":\"0123456789az\",\"epoch\":1,\"run_id\":\"" RUN_ID "0\"}", "/run_id",
       ERR_INVALID},
      {"{\"cluster\":\"0123456789az\",\"epoch\":2,\"run_id\":\"" RUN_ID "\",\"after_epoch\":1}",
       "/after_run_id", ERR_INVALID},
      {"{\"cluster\":\"0123456789az\",\"epoch\":1,\"run_id\":\"" RUN_ID "\",\"x\":1}", "/x",
       ERR_UNKNOWN_FIELD},
      {"[]", "", ERR_INVALID},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    json_t *json = parsed(cases[i].text);
    struct fence_request out;
    struct error err = {.code = ERR_OK};
    CU_ASSERT_EQUAL(fence_request_decode(json, &out, &err), cases[i].code);
    check_error(&err, cases[i].code, cases[i].field);
    json_decref(json);
  }
}

static void fence_reply_to_another_is_refused(void) {
  static const struct fence_asked others[] = {{"shop", "fedcba9876543210"},
                                              {"bank", "0123456789abcdef"}};
  struct fence_reply in = {.former_epoch = 6, .former_run_id = RUN_ID};
  struct fence_reply out;
  struct json_writer w;
  json_writer_init(&w);
  fence_reply_encode(&w, &asked, &in);
  json_t *json = written(&w);
  CU_ASSERT_TRUE(fence_is_answered(json, &asked));
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
    CU_ASSERT_FALSE(fence_is_answered(json, &others[i]));
    CU_ASSERT_EQUAL(fence_reply_decode(json, &others[i], &out, NULL), ERR_INVALID);
  }
  json_decref(json);
}

static void fence_reply_reads_back(void) {
  struct fence_reply in = {
      .incarnation = RUN_ID, .server = SERVER, .server_version = 150018, .prepared_max = 100};
  struct fence_reply out;
  struct json_writer w;
  json_writer_init(&w);
  fence_reply_encode(&w, &asked, &in);
  json_t *json = written(&w);
  CU_ASSERT_EQUAL(fence_reply_decode(json, &asked, &out, NULL), ERR_OK);
  CU_ASSERT_STRING_EQUAL(out.incarnation, RUN_ID);
  CU_ASSERT_STRING_EQUAL(out.server, SERVER);
  CU_ASSERT_EQUAL(out.server_version, 150018);
  CU_ASSERT_EQUAL(out.prepared_max, 100);
  json_decref(json);
}

/* ---- survey ---- */

static void survey_request_reads_back(void) {
  const struct txid ids[] = {{"01a1fcd1-c3e1-7689-9857-8ed54e6afd10"}};
  struct survey_request in = {.cluster = {"0123456789az"}, .txids = ids, .txid_count = 1}, out;
  struct txid *txids = NULL;
  struct json_writer w;
  json_writer_init(&w);
  survey_request_encode(&w, &in);
  json_t *json = written(&w);
  CU_ASSERT_EQUAL_FATAL(survey_request_decode(json, &out, &txids, NULL), ERR_OK);
  CU_ASSERT_STRING_EQUAL(out.cluster.text, in.cluster.text);
  CU_ASSERT_EQUAL(out.txid_count, 1);
  CU_ASSERT_STRING_EQUAL(out.txids[0].text, ids[0].text);
  free(txids);
  json_decref(json);
}

static void survey_reply_reads_back(void) {
  const struct survey_life life = {{"0123456789az"}, 7, RUN_ID, 3, 9, {""}};
  const struct prepared_branch branch = {
      "assent_0123456789az_7_01a1fcd1-c3e1-7689-9857-8ed54e6afd10_1", "1234", 5};
  const struct survey_outcome outcome = {{"01a1fcd1-c3e1-7689-9857-8ed54e6afd11"},
                                         BRANCH_OUTCOME_COMMITTED};
  struct survey_reply in = {.server = SERVER,
                            .lives = &life,
                            .life_count = 1,
                            .branches = &branch,
                            .branch_count = 1,
                            .outcomes = &outcome,
                            .outcome_count = 1,
                            .memory_from_epoch = 5,
                            .memory_after_txid = outcome.txid};
  struct survey_reply out;
  struct json_writer w;
  json_writer_init(&w);
  survey_reply_encode(&w, &in);
  json_t *json = written(&w);
  CU_ASSERT_EQUAL_FATAL(survey_reply_decode(json, &out, NULL), ERR_OK);
  CU_ASSERT_STRING_EQUAL(out.server, SERVER);
  CU_ASSERT_EQUAL_FATAL(out.life_count, 1);
  CU_ASSERT_STRING_EQUAL(out.lives[0].cluster.text, life.cluster.text);
  CU_ASSERT_STRING_EQUAL(out.lives[0].run_id, RUN_ID);
  CU_ASSERT_TRUE(out.lives[0].epoch == 7 && out.lives[0].rows_from_epoch == 3);
  CU_ASSERT_EQUAL(out.lives[0].rows_before_epoch, 9);
  CU_ASSERT_EQUAL_FATAL(out.branch_count, 1);
  CU_ASSERT_STRING_EQUAL(out.branches[0].gid, branch.gid);
  CU_ASSERT_STRING_EQUAL(out.branches[0].xid, "1234");
  CU_ASSERT_EQUAL(out.branches[0].prepared_at_us, 5);
  CU_ASSERT_TRUE(out.outcome_count == 1 && out.outcomes[0].outcome == outcome.outcome);
  CU_ASSERT_STRING_EQUAL(out.outcomes[0].txid.text, outcome.txid.text);
  CU_ASSERT_EQUAL(out.memory_from_epoch, 5);
  CU_ASSERT_STRING_EQUAL(out.memory_after_txid.text, outcome.txid.text);
  survey_reply_release(&out);
  json_decref(json);
}

static void survey_reply_wrong_is_refused(void) {
  static const char *const texts[] = {
      "{\"lives\":[],\"branches\":[]}",
      "{\"lives\":[{\"epoch\":1}],\"branches\":[],\"outcomes\":[]}",
      "{\"lives\":[],\"branches\":[{\"gid\":\"x\"}],\"outcomes\":[]}",
      "{\"lives\":[],\"branches\":[],\"outcomes\":[{\"txid\":\"x\",\"outcome\":\"committed\"}]}",
      "{\"lives\":[],\"branches\":[],\"outcomes\":[],\"memory_after_txid\":\"x\"}",
      "[]"};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    json_t *json = parsed(texts[i]);
    struct survey_reply out;
    struct error err = {0};
    CU_ASSERT_EQUAL(survey_reply_decode(json, &out, &err), ERR_INVALID);
    survey_reply_release(&out);
    json_decref(json);
  }
}

/* ---- statements ---- */

static void statement_params_become_text(void) {
  json_t *json = parsed("{\"sql\":\"SELECT $1\",\"expect_rows\":0,\"params\":[null,true,false,-7,"
                        "10.1,\"x\",\"\",[1,{\"a\":2.5}],{\"b\":null},1e3]}");
  static const char *const expected[] = {NULL, "true", "false",           "-7",           "10.1",
                                         "x",  "",     "[1,{\"a\":2.5}]", "{\"b\":null}", "1000"};
  struct statement out;
  CU_ASSERT_EQUAL_FATAL(statement_decode(json, "", &out, NULL), ERR_OK);
  json_decref(json); /* the copy is its own */
  CU_ASSERT_STRING_EQUAL(out.sql, "SELECT $1");
  CU_ASSERT_EQUAL(out.expect_rows, 0);
  CU_ASSERT_EQUAL_FATAL(out.param_count, 10);
  CU_ASSERT_PTR_NULL(out.params[0]);
  for (size_t i = 1; i < 10; i++)
    CU_ASSERT_STRING_EQUAL(out.params[i], expected[i]);
  statement_clear(&out);
}

static void statement_without_options_expects_any_rows(void) {
  json_t *json = parsed("{\"sql\":\"SELECT 1\"}");
  struct statement out;
  CU_ASSERT_EQUAL_FATAL(statement_decode(json, "", &out, NULL), ERR_OK);
  CU_ASSERT_EQUAL(out.expect_rows, -1);
  CU_ASSERT_EQUAL(out.param_count, 0);
  statement_clear(&out);
  json_decref(json);
}

static void statements_wrong_name_the_whole_pointer(void) {
  static const struct {
    const char *text, *field;
    enum error_code code;
  } cases[] = {
      {"{}", "/branches/0/statements", ERR_INVALID},
      {"[1]", "/branches/0/statements/0", ERR_INVALID},
      {"[{}]", "/branches/0/statements/0/sql", ERR_INVALID},
      {"[{\"sql\":\"\"}]", "/branches/0/statements/0/sql", ERR_INVALID},
      {"[{\"sql\":\"x\"},{\"sql\":\"y\",\"foo\":1}]", "/branches/0/statements/1/foo",
       ERR_UNKNOWN_FIELD},
      {"[{\"sql\":\"x\",\"params\":{}}]", "/branches/0/statements/0/params", ERR_INVALID},
      {"[{\"sql\":\"x\",\"params\":[1]},{\"sql\":\"x\",\"expect_rows\":-1}]",
       "/branches/0/statements/1/expect_rows", ERR_INVALID},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    json_t *json = parsed(cases[i].text);
    struct statement_list out;
    struct error err = {.code = ERR_OK};
    CU_ASSERT_EQUAL(statement_list_decode(json, "/branches/0/statements", &out, &err),
                    cases[i].code);
    check_error(&err, cases[i].code, cases[i].field);
    CU_ASSERT_EQUAL(out.count, 0);
    json_decref(json);
  }
}

static void statements_over_a_limit_are_refused(void) {
  struct statement_list out;
  struct error err = {.code = ERR_OK};
  json_t *many = json_array();
  for (int i = 0; i <= STATEMENTS_MAX; i++)
    json_array_append_new(many, json_pack("{ss}", "sql", "x"));
  CU_ASSERT_EQUAL(statement_list_decode(many, "/s", &out, &err), ERR_LIMIT);
  check_error(&err, ERR_LIMIT, "/s");
  json_array_remove(many, 0);
  error_clear(&err);
  CU_ASSERT_EQUAL(statement_list_decode(many, "/s", &out, &err), ERR_OK);
  CU_ASSERT_EQUAL(out.count, STATEMENTS_MAX);
  statement_list_free(&out);
  json_decref(many);

  json_t *params = json_array();
  for (int i = 0; i <= PARAMS_MAX; i++)
    json_array_append_new(params, json_null());
  json_t *list = json_pack("[{ssso}]", "sql", "x", "params", params);
  CU_ASSERT_EQUAL(statement_list_decode(list, "/s", &out, &err), ERR_LIMIT);
  check_error(&err, ERR_LIMIT, "/s/0/params");
  json_decref(list);

  char *sql = malloc(SQL_BYTES_MAX + 2);
  CU_ASSERT_PTR_NOT_NULL_FATAL(sql);
  memset(sql, 'x', SQL_BYTES_MAX + 1);
  sql[SQL_BYTES_MAX + 1] = '\0';
  list = json_pack("[{ss}]", "sql", sql);
  error_clear(&err);
  CU_ASSERT_EQUAL(statement_list_decode(list, "/s", &out, &err), ERR_LIMIT);
  check_error(&err, ERR_LIMIT, "/s/0/sql");
  json_decref(list);
  free(sql);
}

/* ---- run ---- */

static void run_request_reads_back(void) {
  static const char *const params[] = {"10", NULL, "x\"y"};
  const struct statement statements[] = {
      {.sql = "UPDATE t SET a = $1", .params = params, .param_count = 3, .expect_rows = 1},
      {.sql = "SELECT 1", .expect_rows = -1}};
  struct run_request in = {GID, 7, RUN_ID, 3, RUN_PREPARE, statements, 2, 4999, NULL};
  struct run_request out;
  struct statement_list list;
  struct json_writer w;
  json_writer_init(&w);
  run_request_encode(&w, &in);
  json_t *json = written(&w);
  CU_ASSERT_EQUAL_FATAL(run_request_decode(json, &out, &list, NULL), ERR_OK);
  CU_ASSERT_STRING_EQUAL(out.gid, GID);
  CU_ASSERT_EQUAL(out.epoch, 7);
  CU_ASSERT_STRING_EQUAL(out.incarnation, RUN_ID);
  CU_ASSERT_EQUAL(out.sequence, 3);
  CU_ASSERT_EQUAL(out.end, RUN_PREPARE);
  CU_ASSERT_EQUAL(out.timeout_ms, 4999);
  CU_ASSERT_EQUAL_FATAL(out.statement_count, 2);
  CU_ASSERT_STRING_EQUAL(out.statements[0].sql, statements[0].sql);
  CU_ASSERT_EQUAL_FATAL(out.statements[0].param_count, 3);
  CU_ASSERT_STRING_EQUAL(out.statements[0].params[0], "10");
  CU_ASSERT_PTR_NULL(out.statements[0].params[1]);
  CU_ASSERT_STRING_EQUAL(out.statements[0].params[2], "x\"y");
  CU_ASSERT_EQUAL(out.statements[0].expect_rows, 1);
  CU_ASSERT_EQUAL(out.statements[1].expect_rows, -1);
  statement_list_free(&list);
  json_decref(json);
}

static void run_request_wrong_is_refused(void) {
  static const struct {
    const char *name;
    const char *json; /* the field's new value; NULL: left out */
  } cases[] = {
      {"gid", NULL},          {"gid", "\"assent_0123456789az_7_x'; DROP TABLE account; --\""},
      {"epoch", "-1"},        {"incarnation", "\"\""},
      {"sequence", "-1"},     {"sequence", "2147483648"},
      {"end", "\"commit\""},  {"timeout_ms", "1.5"},
      {"statements", "null"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct run_request in = {GID, 7, RUN_ID, 0, RUN_READY, NULL, 0, 1, NULL};
    struct json_writer w;
    json_writer_init(&w);
    run_request_encode(&w, &in);
    json_t *json = written(&w);
    json_object_del(json, cases[i].name);
    if (cases[i].json) json_object_set_new(json, cases[i].name, parsed(cases[i].json));
    struct run_request out;
    struct statement_list list;
    struct error err = {.code = ERR_OK};
    char pointer[64];
    (void)snprintf(pointer, sizeof pointer, "/%s", cases[i].name);
    CU_ASSERT_EQUAL(run_request_decode(json, &out, &list, &err), ERR_INVALID);
    check_error(&err, ERR_INVALID, pointer);
    CU_ASSERT_PTR_NULL(list.items);
    json_decref(json);
  }
}

static void run_reply_reads_back(void) {
  /* More digits than json_parse() lets through: results are not parsed on their way. */
  static const char results[] =
      "[{\"rows_affected\":1,\"columns\":[\"a\"],\"rows\":[[0.30000000000000004,\"x\\ny\",null]]}]";
  struct run_reply in = {.gid = GID,
                         .vote = VOTE_YES,
                         .xid = "18446744073709551615",
                         .server = SERVER,
                         .results = results};
  struct run_reply out;
  char *owned;
  struct json_writer w;
  json_writer_init(&w);
  run_reply_encode(&w, &in);
  json_t *json = written(&w);
  CU_ASSERT_EQUAL_FATAL(run_reply_decode(json, GID, &out, &owned, NULL), ERR_OK);
  json_decref(json);
  CU_ASSERT_EQUAL(out.vote, VOTE_YES);
  CU_ASSERT_STRING_EQUAL(out.xid, in.xid);
  CU_ASSERT_STRING_EQUAL(out.server, SERVER);
  CU_ASSERT_STRING_EQUAL(out.results, results);
  CU_ASSERT_EQUAL(out.cause.kind, CAUSE_NONE);
  free(owned);
}

static void run_reply_with_cause_reads_back(void) {
  struct run_reply in = {.gid = GID,
                         .vote = VOTE_NO,
                         .cause = {CAUSE_STATEMENT,
                                   2,
                                   1,
                                   "23514",
                                   "violates \"positive\"",
                                   {limit_name_find("result_rows"), 7}}};
  struct run_reply out;
  char *owned;
  struct json_writer w;
  json_writer_init(&w);
  run_reply_encode(&w, &in);
  json_t *json = written(&w);
  CU_ASSERT_EQUAL_FATAL(run_reply_decode(json, GID, &out, &owned, NULL), ERR_OK);
  json_decref(json);
  CU_ASSERT_EQUAL(out.vote, VOTE_NO);
  CU_ASSERT_STRING_EQUAL(out.xid, "");
  CU_ASSERT_PTR_NULL(out.results);
  CU_ASSERT_EQUAL(out.cause.kind, CAUSE_STATEMENT);
  CU_ASSERT_EQUAL(out.cause.branch, 2);
  CU_ASSERT_EQUAL(out.cause.statement, 1);
  CU_ASSERT_STRING_EQUAL(out.cause.sqlstate, "23514");
  CU_ASSERT_STRING_EQUAL(out.cause.text, "violates \"positive\"");
  CU_ASSERT_STRING_EQUAL(out.cause.limit.name, "result_rows");
  CU_ASSERT_EQUAL(out.cause.limit.value, 7);
}

#define GIVEN "\"gid\":\"" GID "\""

static void run_reply_wrong_is_refused(void) {
  static const struct {
    const char *text, *field;
  } cases[] = {
      {"{}", "/gid"},
      {"{\"gid\":\"" GID_2 "\",\"vote\":\"no\"}", "/gid"},
      {"{" GIVEN "}", "/vote"},
      {"{" GIVEN ",\"vote\":\"maybe\"}", "/vote"},
      {"{" GIVEN ",\"vote\":\"yes\",\"xid\":\"12a\"}", "/xid"},
      {"{" GIVEN ",\"vote\":\"yes\",\"xid\":\"123456789012345678901\"}", "/xid"},
      {"{" GIVEN ",\"vote\":\"yes\",\"xid\":12}", "/xid"},
      {"{" GIVEN ",\"vote\":\"yes\",\"server\":\"1/2/x\"}", "/server"},
      {"{" GIVEN ",\"vote\":\"yes\",\"results\":[]}", "/results"},
      {"{" GIVEN ",\"vote\":\"yes\",\"results\":\"[1\"}", "/results"},
      {"{" GIVEN ",\"vote\":\"yes\",\"results\":\"{}\"}", "/results"},
      {"{" GIVEN ",\"vote\":\"no\",\"cause\":{}}", "/cause/kind"},
      {"{" GIVEN ",\"vote\":\"no\",\"cause\":{\"kind\":\"fate\"}}", "/cause/kind"},
      {"{" GIVEN ",\"vote\":\"no\",\"cause\":{\"kind\":\"limit\",\"sqlstate\":\"234\"}}",
       "/cause/sqlstate"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    json_t *json = parsed(cases[i].text);
    struct run_reply out;
    char *owned;
    struct error err = {.code = ERR_OK};
    CU_ASSERT_EQUAL(run_reply_decode(json, GID, &out, &owned, &err), ERR_INVALID);
    check_error(&err, ERR_INVALID, cases[i].field);
    CU_ASSERT_PTR_NULL(owned);
    json_decref(json);
  }
}

static void cause_with_a_long_message_is_cut(void) {
  char text[2000];
  memset(text, 'x', sizeof text);
  text[sizeof text - 1] = '\0';
  json_t *json = json_pack("{sssss{ssss}}", "gid", GID, "vote", "no", "cause", "kind", "limit",
                           "message", text);
  struct run_reply out;
  char *owned;
  CU_ASSERT_EQUAL(run_reply_decode(json, GID, &out, &owned, NULL), ERR_OK);
  CU_ASSERT_EQUAL(strlen(out.cause.text), CAUSE_TEXT_SIZE - 1);
  json_decref(json);
}

/* ---- decide ---- */

static void decide_request_reads_back(void) {
  struct decide_request in = {GID, 9, DECIDE_ONE_PHASE, "77", SERVER, NULL};
  struct decide_request out;
  struct json_writer w;
  json_writer_init(&w);
  decide_request_encode(&w, &in);
  json_t *json = written(&w);
  CU_ASSERT_EQUAL_FATAL(decide_request_decode(json, &out, NULL), ERR_OK);
  CU_ASSERT_STRING_EQUAL(out.gid, GID);
  CU_ASSERT_EQUAL(out.epoch, 9);
  CU_ASSERT_EQUAL(out.decision, DECIDE_ONE_PHASE);
  CU_ASSERT_STRING_EQUAL(out.xid, "77");
  CU_ASSERT_STRING_EQUAL(out.server, SERVER);
  json_decref(json);
}

static void decide_request_tells_its_trace(void) {
  static const char parent[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  struct trace_context trace, got;
  char text[TRACEPARENT_SIZE];
  CU_ASSERT_TRUE_FATAL(traceparent_parse(parent, &trace));
  trace.state = "rojo=1";
  struct decide_request in = {GID, 9, DECIDE_COMMIT, "77", SERVER, &trace};
  struct decide_request out;
  struct json_writer w;
  json_writer_init(&w);
  decide_request_encode(&w, &in);
  json_t *json = written(&w);
  CU_ASSERT_EQUAL(decide_request_decode(json, &out, NULL), ERR_OK);
  CU_ASSERT_TRUE_FATAL(request_trace_decode(json, &got));
  traceparent_format(&got, text);
  CU_ASSERT_STRING_EQUAL(text, parent);
  CU_ASSERT_STRING_EQUAL(got.state, "rojo=1");
  (void)json_object_set_new(json, "tracestate", json_string("rojo=1\r\nX: y"));
  CU_ASSERT_TRUE(request_trace_decode(json, &got));
  CU_ASSERT_PTR_NULL(got.state);
  (void)json_object_set_new(json, "traceparent", json_string("00-nonsense"));
  CU_ASSERT_EQUAL(decide_request_decode(json, &out, NULL), ERR_OK); /* it decides all the same */
  CU_ASSERT_FALSE(request_trace_decode(json, &got));
  json_decref(json);
}

static void decide_request_without_xid_has_empty_text(void) {
  struct decide_request in = {GID, 9, DECIDE_ABORT, "", "", NULL};
  struct decide_request out;
  struct json_writer w;
  json_writer_init(&w);
  decide_request_encode(&w, &in);
  json_t *json = written(&w);
  CU_ASSERT_EQUAL_FATAL(decide_request_decode(json, &out, NULL), ERR_OK);
  CU_ASSERT_STRING_EQUAL(out.xid, "");
  CU_ASSERT_STRING_EQUAL(out.server, "");
  json_decref(json);
}

static void decide_request_wrong_is_refused(void) {
  json_t *json = parsed("{\"gid\":\"" GID "\",\"epoch\":1,\"decision\":\"perhaps\"}");
  struct decide_request out;
  struct error err = {.code = ERR_OK};
  CU_ASSERT_EQUAL(decide_request_decode(json, &out, &err), ERR_INVALID);
  check_error(&err, ERR_INVALID, "/decision");
  json_decref(json);
}

static void decide_reply_reads_back(void) {
  struct decide_reply in = {BRANCH_OUTCOME_RETRY,
                            {CAUSE_UNREACHABLE, 0, -1, "", "gone", {NULL, 0}}};
  struct decide_reply out;
  struct json_writer w;
  json_writer_init(&w);
  decide_reply_encode(&w, GID, &in);
  json_t *json = written(&w);
  CU_ASSERT_EQUAL_FATAL(decide_reply_decode(json, GID, &out, NULL), ERR_OK);
  CU_ASSERT_EQUAL(out.outcome, BRANCH_OUTCOME_RETRY);
  CU_ASSERT_EQUAL(out.cause.kind, CAUSE_UNREACHABLE);
  CU_ASSERT_EQUAL(out.cause.statement, -1);
  CU_ASSERT_STRING_EQUAL(out.cause.text, "gone");
  json_decref(json);
}

static void decide_reply_for_another_gid_is_refused(void) {
  struct decide_reply in = {.outcome = BRANCH_OUTCOME_COMMITTED};
  struct decide_reply out;
  struct error err = {.code = ERR_OK};
  struct json_writer w;
  json_writer_init(&w);
  decide_reply_encode(&w, GID_2, &in);
  json_t *json = written(&w);
  CU_ASSERT_EQUAL(decide_reply_decode(json, GID, &out, &err), ERR_INVALID);
  check_error(&err, ERR_INVALID, "/gid");
  json_decref(json);
}

/* ---- list, health ---- */

static void list_reads_back(void) {
  struct list_request request = {{"0123456789az"}, 4};
  struct list_request request_out;
  struct json_writer w;
  json_writer_init(&w);
  list_request_encode(&w, &request);
  json_t *json = written(&w);
  CU_ASSERT_EQUAL_FATAL(list_request_decode(json, &request_out, NULL), ERR_OK);
  CU_ASSERT_EQUAL(request_out.epoch, 4);
  json_decref(json);

  const struct prepared_branch branches[] = {{GID, "5", 1795230245123456}, {GID_2, "6", -1}};
  struct list_reply in = {SERVER, branches, 2};
  struct list_reply out;
  struct prepared_branch *owned;
  list_reply_encode(&w, &in);
  json = written(&w);
  CU_ASSERT_EQUAL_FATAL(list_reply_decode(json, &out, &owned, NULL), ERR_OK);
  json_decref(json);
  CU_ASSERT_STRING_EQUAL(out.server, SERVER);
  CU_ASSERT_EQUAL_FATAL(out.count, 2);
  CU_ASSERT_STRING_EQUAL(out.branches[0].gid, GID);
  CU_ASSERT_STRING_EQUAL(out.branches[1].xid, "6");
  CU_ASSERT_EQUAL(out.branches[0].prepared_at_us, 1795230245123456);
  CU_ASSERT_EQUAL(out.branches[1].prepared_at_us, -1);
  free(owned);
}

static void list_reply_with_a_foreign_gid_is_refused(void) {
  json_t *json = parsed("{\"branches\":[{\"gid\":\"" GID "\",\"xid\":\"1\",\"prepared_at_us\":1},"
                        "{\"gid\":\"other_tool_17\",\"xid\":\"1\",\"prepared_at_us\":1}]}");
  struct list_reply out;
  struct prepared_branch *owned;
  struct error err = {.code = ERR_OK};
  CU_ASSERT_EQUAL(list_reply_decode(json, &out, &owned, &err), ERR_INVALID);
  CU_ASSERT_PTR_NULL(owned);
  json_decref(json);
}

static void health_reads_back(void) {
  struct health_reply in = {true, SERVER, 150018, 321, 5, 4, 100,           -1, 77, 2,
                            true, 3,      8,      2,   6, 7, "lost at noon"};
  struct health_reply out;
  struct json_writer w;
  json_writer_init(&w);
  health_reply_encode(&w, &in);
  json_t *json = written(&w);
  CU_ASSERT_EQUAL_FATAL(health_reply_decode(json, &out, NULL), ERR_OK);
  json_decref(json);
  CU_ASSERT_TRUE(out.connected);
  CU_ASSERT_STRING_EQUAL(out.server, SERVER);
  CU_ASSERT_EQUAL(out.server_version, 150018);
  CU_ASSERT_EQUAL(out.latency_us, 321);
  CU_ASSERT_EQUAL(out.prepared_count, 5);
  CU_ASSERT_EQUAL(out.prepared_others, 4);
  CU_ASSERT_EQUAL(out.prepared_max, 100);
  CU_ASSERT_EQUAL(out.oldest_prepared_ms, -1);
  CU_ASSERT_EQUAL(out.xmin_age, 77);
  CU_ASSERT_EQUAL(out.standbys, 2);
  CU_ASSERT_TRUE(out.synchronous);
  CU_ASSERT_EQUAL(out.connections, 3);
  CU_ASSERT_EQUAL(out.connections_max, 8);
  CU_ASSERT_EQUAL(out.waiting, 2);
  CU_ASSERT_EQUAL(out.running, 6);
  CU_ASSERT_EQUAL(out.running_max, 7);
  CU_ASSERT_STRING_EQUAL(out.last_error, "lost at noon");
}

/* ---- several in one request -------------------------------------------------------------------
 */

static void messages_read_back(void) {
  static const enum message_kind kinds[] = {MESSAGE_RUN, MESSAGE_DECIDE};
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
    struct json_writer w;
    struct message message;
    json_writer_init(&w);
    message_begin(&w, 41 + i, kinds[i]);
    json_object_begin(&w);
    json_object_end(&w);
    message_end(&w);
    json_t *json = written(&w);
    CU_ASSERT_EQUAL_FATAL(message_decode(json, &message, NULL), ERR_OK);
    CU_ASSERT_EQUAL(message.id, 41 + i);
    CU_ASSERT_EQUAL(message.kind, kinds[i]);
    CU_ASSERT_STRING_EQUAL(message_gid(message.body), "");
    json_decref(json);
  }
}

static void messages_wrong_are_refused(void) {
  static const char *const wrong[] = {
      "[]",
      "{}",
      "{\"id\":1}",
      "{\"run\":{}}",
      "{\"id\":0,\"run\":{}}",
      "{\"id\":\"1\",\"run\":{}}",
      "{\"id\":1,\"run\":[]}",
      "{\"id\":1,\"run\":{},\"decide\":{}}",
      "{\"id\":1,\"run\":{},\"more\":1}",
  };
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    json_t *json = json_parse(wrong[i], strlen(wrong[i]), NULL);
    struct message message;
    struct error err = {0};
    CU_ASSERT_NOT_EQUAL(message_decode(json, &message, &err), ERR_OK);
    CU_ASSERT_STRING_NOT_EQUAL(err.text, "");
    json_decref(json);
  }
}

static enum error_code pass_problem(enum error_code code, const char *gid, const char *mine) {
  struct error err = {0}, out = {0};
  struct json_writer w;
  struct message message;
  (void)error_set(&err, code, "as it is");
  json_writer_init(&w);
  message_begin(&w, 1, MESSAGE_PROBLEM);
  CU_ASSERT_TRUE(message_problem_encode(&w, gid, &err));
  message_end(&w);
  json_t *json = written(&w);
  CU_ASSERT_EQUAL_FATAL(message_decode(json, &message, NULL), ERR_OK);
  CU_ASSERT_EQUAL(message.kind, MESSAGE_PROBLEM);
  message_problem_decode(message.body, mine, &out);
  json_decref(json);
  return out.code;
}

static void problem_says_what_it_proves(void) {
  CU_ASSERT_EQUAL(pass_problem(ERR_FENCED, GID, GID), ERR_FENCED);
  CU_ASSERT_EQUAL(pass_problem(ERR_UNAVAILABLE, GID, GID), ERR_UNAVAILABLE);
  CU_ASSERT_EQUAL(pass_problem(ERR_INVALID, GID, GID), ERR_BAD_REQUEST);
  CU_ASSERT_EQUAL(pass_problem(ERR_ABORTED, GID, GID), ERR_LOST);
  CU_ASSERT_EQUAL(pass_problem(ERR_FENCED, "", GID), ERR_LOST); /* another's: nothing */
}

SUITE(message_json, CASE(names_read_back), CASE(names_unknown_leave_the_value),
      CASE(survey_request_reads_back), CASE(survey_reply_reads_back),
      CASE(survey_reply_wrong_is_refused), CASE(fence_request_reads_back),
      CASE(fence_request_with_a_former_life_reads_back),
      CASE(fence_reply_with_a_former_life_reads_back), CASE(fence_request_wrong_is_refused),
      CASE(fence_reply_reads_back), CASE(fence_reply_to_another_is_refused),
      CASE(statement_params_become_text), CASE(statement_without_options_expects_any_rows),
      CASE(statements_wrong_name_the_whole_pointer), CASE(statements_over_a_limit_are_refused),
      CASE(run_request_reads_back), CASE(run_request_wrong_is_refused), CASE(run_reply_reads_back),
      CASE(run_reply_with_cause_reads_back), CASE(run_reply_wrong_is_refused),
      CASE(cause_with_a_long_message_is_cut), CASE(decide_request_reads_back),
      CASE(decide_request_tells_its_trace), CASE(decide_request_without_xid_has_empty_text),
      CASE(decide_request_wrong_is_refused), CASE(decide_reply_reads_back),
      CASE(decide_reply_for_another_gid_is_refused), CASE(list_reads_back),
      CASE(list_reply_with_a_foreign_gid_is_refused), CASE(health_reads_back),
      CASE(messages_read_back), CASE(messages_wrong_are_refused), CASE(problem_says_what_it_proves))
