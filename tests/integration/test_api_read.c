/* Reading: one transaction (also while it is under way), lists, participants, health. */
#include "tests/lib/contract.h"
#include "tests/lib/world.h"

#include <string.h>

/* ---- one ------------------------------------------------------------------------------------- */

static void unknown_transaction_is_not_found(void) {
  struct world *w = world_open(WORLD_EMBEDDED, NULL);
  static const char id[] = "01900000-0000-7000-8000-000000000000";
  CHECK_PROBLEM(api_read(w->api, id), 404, "not_found");
  CHECK_PROBLEM(api_commit(w->api, id), 404, "not_found");
  CHECK_PROBLEM(api_rollback(w->api, id), 404, "not_found");
  CHECK_PROBLEM(api_statement(w->api, id, "bank_a", "'sql':'SELECT 1'"), 404, "not_found");
  world_close(w);
}

/* bank_b is killed with its branch prepared: the commit stands, and waits for it. */
static struct async *leave_committing(struct world *w, const char *label) {
  PGconn *gate = gate_close(w, BANK_A);
  struct async *call = async_post(
      w->api, "/v1/transactions",
      api_text(w->api,
               "{'commit':true,'timeout_ms':1500,'label':'%s','branches':[" BRANCH(
                   "bank_a", DEBIT(10) "," AT_GATE) "," BRANCH("bank_b", CREDIT(10)) "]}",
               label));
  gate_wait_half_voted(w);
  world_server_kill(w, BANK_B);
  gate_open(gate);
  UNTIL(strcmp(api_outcome(w->api, label), "committed") == 0);
  return call;
}

static void long_poll_while_committing_ends_when_it_is_applied(enum world_mode mode) {
  struct world *w =
      world_open(mode, &(struct world_options){.settings = LOOKS_OFTEN, .database = LOOKS_SHORTLY});
  struct async *call = leave_committing(w, "poll");
  const char *id = json_string_value(json_object_get(api_find(w->api, "poll"), "id"));
  const struct reply *decided = api_get(w->api, "/v1/transactions/%s?wait=decided", id);
  CHECK_STATUS(decided, 200);
  CHECK_STRING(decided, "/state", "committing");
  CHECK_STRING(decided, "/outcome", "committed");
  CHECK_JSON(decided, "/applied_at", "null");
  const struct reply *short_poll =
      api_get(w->api, "/v1/transactions/%s?wait=applied&timeout_ms=50", id);
  CHECK_STATUS(short_poll, 200);
  CHECK_STRING(short_poll, "/state", "committing");
  CHECK_STRING(short_poll, "/branches/1/state", "committing");
  UNTIL(*reply_string(api_read(w->api, id), "/branches/1/last_error/message"));
  UNTIL(json_integer_value(reply_at(api_read(w->api, id), "/branches/1/attempts")) >= 1);
  const struct reply *answer = async_finish(call);
  CHECK_STATUS(answer, 202);
  CHECK_STRING(answer, "/outcome", "committed");
  world_server_start(w, BANK_B);
  const struct reply *applied = api_get(w->api, "/v1/transactions/%s?wait=applied", id);
  CHECK_STATUS(applied, 200);
  CHECK_STRING(applied, "/state", "committed");
  CHECK_STRING(applied, "/branches/1/state", "committed");
  CHECK_MOVED(w, 10);
  world_close(w);
}
IN_BOTH_MODES(long_poll_while_committing_ends_when_it_is_applied)

static void long_poll_of_an_open_transaction_answers_at_its_time(void) {
  struct world *w = world_open(WORLD_EMBEDDED, NULL);
  const char *id = api_begin(w->api, "{}");
  const struct reply *reply = api_get(w->api, "/v1/transactions/%s?wait=decided&timeout_ms=50", id);
  CHECK_STATUS(reply, 200);
  CHECK_STRING(reply, "/state", "open");
  CHECK_JSON(reply, "/outcome", "null");
  CHECK_STATUS(api_rollback(w->api, id), 200);
  world_close(w);
}

/* ---- lists ----------------------------------------------------------------------------------- */

static size_t count_listed(struct world *w, const char *query) {
  const struct reply *reply = api_get(w->api, "/v1/transactions?%s", query);
  CHECK_STATUS(reply, 200);
  return json_array_size(reply_at(reply, "/transactions"));
}

static void list_is_narrowed_by_what_is_asked(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  CHECK_STATUS(api_run(w->api, ONE_CALL("'label':'both',", TRANSFER(1))), 200);
  CHECK_STATUS(api_run(w->api, ONE_CALL("'label':'one',", BRANCH("bank_a", CREDIT(1)))), 200);
  const char *aborted = api_begin(w->api, "{'label':'gone'}");
  CHECK_STATUS(api_rollback(w->api, aborted), 200);
  const char *open = api_begin(w->api, "{'label':'still'}");
  CHECK_STATUS(api_statement(w->api, open, "bank_b", "'sql':'SELECT 1'"), 200);
  CU_ASSERT_EQUAL(count_listed(w, ""), 4);
  CU_ASSERT_EQUAL(count_listed(w, "state=committed"), 2);
  CU_ASSERT_EQUAL(count_listed(w, "state=aborted"), 1);
  CU_ASSERT_EQUAL(count_listed(w, "state=open"), 1);
  CU_ASSERT_EQUAL(count_listed(w, "state=committing"), 0);
  CU_ASSERT_EQUAL(count_listed(w, "participant=bank_a"), 2);
  CU_ASSERT_EQUAL(count_listed(w, "participant=bank_b"), 2);
  CU_ASSERT_EQUAL(count_listed(w, "participant=bank_b&state=committed"), 1);
  CU_ASSERT_EQUAL(count_listed(w, "label=both"), 1);
  CU_ASSERT_EQUAL(count_listed(w, "label=nobody"), 0);
  CU_ASSERT_EQUAL(count_listed(w, "older_than_ms=3600000"), 0);
  UNTIL(count_listed(w, "older_than_ms=20") == 4);
  CHECK_STRING(api_get(w->api, "/v1/transactions?limit=1"), "/transactions/0/label", "still");
  CHECK_STATUS(api_rollback(w->api, open), 200);
  world_close(w);
}
IN_BOTH_MODES(list_is_narrowed_by_what_is_asked)

static const struct {
  const char *label, *state;
  bool at_a, at_b;
} made[] = {{"x", "committed", true, true},  {"x", "committed", true, false},
            {"x", "aborted", false, true},   {"x", "open", true, false},
            {"y", "committed", false, true}, {"y", "aborted", true, true},
            {"y", "open", false, true},      {"y", "open", true, true}};
enum { MADE = sizeof made / sizeof made[0] };

/* "": any */
static size_t count_made(const char *state, const char *participant, const char *label) {
  size_t count = 0;
  for (int i = 0; i < MADE; i++) {
    bool at = strcmp(participant, "bank_a") == 0 ? made[i].at_a : made[i].at_b;
    count += (!*state || strcmp(made[i].state, state) == 0) && (!*participant || at) &&
             (!*label || strcmp(made[i].label, label) == 0);
  }
  return count;
}

/* Each filter, and every combination of them, against what each transaction is known to be. */
static void filters_of_a_list_combine(enum world_mode mode) {
  static const char *const states[] = {"", "committed", "aborted", "open", "preparing"};
  static const char *const participants[] = {"", "bank_a", "bank_b"};
  static const char *const labels[] = {"", "x", "y"};
  struct world *w = world_open(mode, NULL);
  const char *ids[MADE];
  for (int i = 0; i < MADE; i++) {
    const char *a = made[i].at_a ? BRANCH("bank_a", STATEMENT("SELECT 1")) : "";
    const char *b = made[i].at_b ? BRANCH("bank_b", STATEMENT("SELECT 1")) : "";
    ids[i] = api_begin(w->api, api_text(w->api, "{'label':'%s','branches':[%s%s%s]}", made[i].label,
                                        a, *a && *b ? "," : "", b));
    if (strcmp(made[i].state, "committed") == 0) CHECK_STATUS(api_commit(w->api, ids[i]), 200);
    if (strcmp(made[i].state, "aborted") == 0) CHECK_STATUS(api_rollback(w->api, ids[i]), 200);
  }
  for (int s = 0; s < 5; s++)
    for (int p = 0; p < 3; p++)
      for (int l = 0; l < 3; l++) {
        size_t expected = count_made(states[s], participants[p], labels[l]);
        const char *query =
            api_text(w->api, "%s%s%s%s%s%s", s ? "&state=" : "", states[s],
                     p ? "&participant=" : "", participants[p], l ? "&label=" : "", labels[l]);
        CU_ASSERT_EQUAL(count_listed(w, query), expected);
        CU_ASSERT_EQUAL(count_listed(w, api_text(w->api, "%s&older_than_ms=3600000", query)), 0);
      }
  for (int i = 0; i < MADE; i++)
    if (strcmp(made[i].state, "open") == 0) CHECK_STATUS(api_rollback(w->api, ids[i]), 200);
  world_close(w);
}
IN_BOTH_MODES(filters_of_a_list_combine)

/* Pages are read while others begin, end and abort all the time: what was there at the start, and does not
 * change, is seen once, whatever happens around it. */
static void pages_of_a_list_hold_under_concurrent_writes(enum world_mode mode) {
  enum { OLD = 20, WRITERS = 4 };
  struct world *w = world_open(mode, NULL);
  char newest[64] = "~";
  for (int i = 0; i < OLD; i++)
    CHECK_STATUS(api_run(w->api, ONE_CALL("'label':'old',", BRANCH("bank_a", CREDIT(1)))), 200);
  struct async *writers[WRITERS] = {NULL};
  const char *cursor = "";
  int old = 0, pages = 0;
  while (cursor && pages++ < 1000) {
    for (int i = 0; i < WRITERS; i++) {
      if (writers[i] && !async_is_done(writers[i])) continue;
      if (writers[i]) (void)async_finish(writers[i]);
      writers[i] = async_post(w->api, "/v1/transactions",
                              i % 2 ? ONE_CALL("'label':'new',", TRANSFER(1))
                                    : ONE_CALL("'label':'new',", TRANSFER(100000)));
    }
    const struct reply *page =
        api_get(w->api, "/v1/transactions?limit=3%s%s", *cursor ? "&cursor=" : "", cursor);
    CHECK_STATUS(page, 200);
    size_t index;
    const json_t *transaction;
    json_array_foreach(reply_at(page, "/transactions"), index, transaction) {
      const char *id = json_string_value(json_object_get(transaction, "id"));
      const char *label = json_string_value(json_object_get(transaction, "label"));
      CU_ASSERT(strcmp(id, newest) < 0);
      (void)snprintf(newest, sizeof newest, "%s", id);
      old += strcmp(label, "old") == 0;
    }
    cursor = json_string_value(reply_at(page, "/next_cursor"));
  }
  CU_ASSERT_PTR_NULL(cursor);
  CU_ASSERT_EQUAL(old, OLD);
  for (int i = 0; i < WRITERS; i++)
    (void)async_finish(writers[i]);
  world_close(w);
}
IN_BOTH_MODES(pages_of_a_list_hold_under_concurrent_writes)

/* New ones come in between two pages: the pages have each old one once, newest first. */
static void pages_of_a_list_hold_while_new_ones_come(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  enum { OLD = 12 };
  char newest[64] = "~";
  int seen = 0;
  for (int i = 0; i < OLD; i++)
    CHECK_STATUS(api_run(w->api, ONE_CALL("'label':'old',", BRANCH("bank_a", CREDIT(1)))), 200);
  const char *cursor = "";
  for (int pages = 0; cursor && pages <= OLD; pages++) {
    const struct reply *page = api_get(w->api, "/v1/transactions?label=old&limit=5%s%s",
                                       *cursor ? "&cursor=" : "", cursor);
    CHECK_STATUS(page, 200);
    size_t index;
    const json_t *transaction;
    json_array_foreach(reply_at(page, "/transactions"), index, transaction) {
      const char *id = json_string_value(json_object_get(transaction, "id"));
      CU_ASSERT(strcmp(id, newest) < 0);
      (void)snprintf(newest, sizeof newest, "%s", id);
      seen++;
    }
    cursor = json_string_value(reply_at(page, "/next_cursor"));
    CHECK_STATUS(api_run(w->api, ONE_CALL("'label':'old',", BRANCH("bank_a", CREDIT(1)))), 200);
  }
  CU_ASSERT_PTR_NULL(cursor);
  CU_ASSERT_EQUAL(seen, OLD);
  world_close(w);
}
IN_BOTH_MODES(pages_of_a_list_hold_while_new_ones_come)

/* ---- participants, health -------------------------------------------------------------------- */

static void participants_tell_how_they_are(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  const struct reply *reply = api_get(w->api, "/v1/participants");
  CHECK_STATUS(reply, 200);
  CHECK_STRING(reply, "/participants/0/name", "bank_a");
  CHECK_STRING(reply, "/participants/1/name", "bank_b");
  CHECK_STRING(reply, "/participants/0/state", "up");
  CHECK_STRING(reply, "/participants/0/kind", mode == WORLD_AGENTS ? "agent" : "embedded");
  CHECK_INTEGER(reply, "/participants/0/prepared_limit", 200);
  CU_ASSERT(json_integer_value(reply_at(reply, "/participants/0/server_version")) >= 140000);
  CHECK_JSON(reply, "/participants/0/last_error", "null");
  const struct reply *one = api_get(w->api, "/v1/participants/bank_b");
  CHECK_STATUS(one, 200);
  CHECK_STRING(one, "/name", "bank_b");
  CHECK_PROBLEM(api_get(w->api, "/v1/participants/bank_z"), 404, "not_found");
  world_close(w);
}
IN_BOTH_MODES(participants_tell_how_they_are)

/* Where a server is and what it says is the operators' business: a client learns that it is away. */
static void check_tells_no_place(struct world *w, const struct reply *reply) {
  CU_ASSERT_PTR_NULL(strstr(reply->text, "/tmp/"));
  CU_ASSERT_PTR_NULL(strstr(reply->text, "127.0.0.1"));
  CU_ASSERT_PTR_NULL(strstr(reply->text, w->database[BANK_B]));
  CU_ASSERT_PTR_NULL(strstr(reply->text, "PGSQL"));
}

static void client_is_not_told_where_a_lost_database_was(enum world_mode mode) {
  struct world *w =
      world_open(mode, &(struct world_options){.settings = "health_interval = 50ms\n"});
  world_server_kill(w, BANK_B);
  for (int down = 0; down < 2; down++) { /* before the coordinator knows, and when it does */
    const struct reply *reply = api_run(w->api, ONE_CALL("", TRANSFER(10)));
    CHECK_PROBLEM(reply, 409, "aborted");
    CHECK_STRING(reply, "/transaction/cause/kind", "unreachable");
    check_tells_no_place(w, reply);
    const char *id = reply_string(reply, "/transaction/id");
    check_tells_no_place(w, api_get(w->api, "/v1/transactions/%s/timeline", id));
    UNTIL(strcmp(reply_string(api_get(w->api, "/v1/participants/bank_b"), "/state"), "down") == 0);
  }
  world_kill(w, mode == WORLD_AGENTS ? AGENT_A : COORDINATOR);
  if (mode == WORLD_EMBEDDED) world_start(w, COORDINATOR, NULL);
  check_tells_no_place(w, api_run(w->api, ONE_CALL("", TRANSFER(10))));
  if (mode == WORLD_AGENTS) world_start(w, AGENT_A, NULL);
  world_server_start(w, BANK_B);
  world_wait_ready(w);
  world_close(w);
}
IN_BOTH_MODES(client_is_not_told_where_a_lost_database_was)

static const json_t *availability(struct world *w, const char *member) {
  const struct reply *reply = api_get(w->api, "/v1/participants/bank_b");
  CHECK_STATUS(reply, 200);
  return json_object_get(reply_at(reply, "/availability"), member);
}

static int64_t availability_ms(struct world *w, const char *member) {
  return json_integer_value(availability(w, member));
}

static bool is_bank_b(struct world *w, const char *state) {
  return strcmp(reply_string(api_get(w->api, "/v1/participants/bank_b"), "/state"), state) == 0;
}

/* Two outages, and a third that goes on: means are of what has been mended, and until it failed. */
static void availability_counts_what_was_down(enum world_mode mode) {
  struct world *w =
      world_open(mode, &(struct world_options){.settings = "health_interval = 50ms\n"});
  CU_ASSERT_EQUAL(availability_ms(w, "failures"), 0);
  CU_ASSERT_EQUAL(availability_ms(w, "down_ms"), 0);
  CU_ASSERT(json_number_value(availability(w, "ratio")) == 1);
  CU_ASSERT(json_is_null(availability(w, "mtbf_ms")) && json_is_null(availability(w, "mttr_ms")));
  for (int i = 0; i < 2; i++) {
    world_server_kill(w, BANK_B);
    UNTIL(is_bank_b(w, "down"));
    world_server_start(w, BANK_B);
    UNTIL(is_bank_b(w, "up"));
  }
  CU_ASSERT_EQUAL(availability_ms(w, "failures"), 2);
  int64_t mended_ms = availability_ms(w, "down_ms"), mttr_ms = availability_ms(w, "mttr_ms");
  CU_ASSERT(mended_ms > 0);
  CU_ASSERT_EQUAL(mttr_ms, mended_ms / 2);
  world_server_kill(w, BANK_B);
  UNTIL(is_bank_b(w, "down") && availability_ms(w, "down_ms") > mended_ms + 20);
  CU_ASSERT_EQUAL(availability_ms(w, "failures"), 3);
  CU_ASSERT_EQUAL(availability_ms(w, "mttr_ms"), mttr_ms);
  CU_ASSERT_EQUAL(availability_ms(w, "mtbf_ms"), availability_ms(w, "up_ms") / 3);
  double ratio = json_number_value(availability(w, "ratio"));
  CU_ASSERT(ratio > 0 && ratio < 1);
  const struct reply *down = api_get(w->api, "/v1/participants/bank_b");
  CHECK_JSON(down, "/prepared_count", "null");
  CHECK_JSON(down, "/xmin_age", "null");
  CHECK_JSON(down, "/replication/mode", "null");
  world_server_start(w, BANK_B);
  UNTIL(is_bank_b(w, "up"));
  world_close(w);
}
IN_BOTH_MODES(availability_counts_what_was_down)

/* What is prepared on the server, of anybody, is counted, aged, and seen to keep VACUUM back. */
static void prepared_transaction_of_another_shows_at_its_participant(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  CHECK_JSON(api_get(w->api, "/v1/participants/bank_b"), "/oldest_prepared_ms", "null");
  CHECK_INTEGER(api_get(w->api, "/v1/participants/bank_b"), "/prepared_count", 0);
  world_sql(w, BANK_B,
            "BEGIN; INSERT INTO ledger VALUES ('foreign'); PREPARE TRANSACTION 'foreign'");
  for (int i = 0; i < 3; i++)
    world_sql(w, BANK_B, "INSERT INTO ledger VALUES ('later-%d')", i);
  UNTIL(json_integer_value(
            reply_at(api_get(w->api, "/v1/participants/bank_b"), "/oldest_prepared_ms")) >= 10);
  const struct reply *reply = api_get(w->api, "/v1/participants/bank_b");
  CHECK_INTEGER(reply, "/prepared_count", 1);
  CU_ASSERT(json_integer_value(reply_at(reply, "/xmin_age")) >= 3);
  CU_ASSERT(json_integer_value(reply_at(reply, "/latency_us")) > 0);
  CHECK_STRING(reply, "/replication/mode", "none");
  world_sql(w, BANK_B, "ROLLBACK PREPARED 'foreign'");
  CHECK_JSON(api_get(w->api, "/v1/participants/bank_b"), "/oldest_prepared_ms", "null");
  world_close(w);
}
IN_BOTH_MODES(prepared_transaction_of_another_shows_at_its_participant)

static void participant_with_its_database_down_says_so(enum world_mode mode) {
  struct world *w =
      world_open(mode, &(struct world_options){.settings = "health_interval = 50ms\n"});
  world_server_kill(w, BANK_B);
  UNTIL(strcmp(reply_string(api_get(w->api, "/v1/participants/bank_b"), "/state"), "down") == 0);
  CU_ASSERT(*reply_string(api_get(w->api, "/v1/participants/bank_b"), "/last_error") != '\0');
  CHECK_STRING(api_get(w->api, "/v1/participants/bank_a"), "/state", "up");
  world_server_start(w, BANK_B);
  UNTIL(strcmp(reply_string(api_get(w->api, "/v1/participants/bank_b"), "/state"), "up") == 0);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(10))), 200);
  world_close(w);
}
IN_BOTH_MODES(participant_with_its_database_down_says_so)

static void prepared_transactions_switched_off_are_named(enum world_mode mode) {
  static const char setting[] = "max_prepared_transactions";
  struct world *w = world_open(mode, &(struct world_options){.without_prepared = true});
  UNTIL(strstr(reply_string(api_get(w->api, "/v1/participants/bank_b"), "/last_error"), setting));
  const struct reply *reply = api_run(w->api, ONE_CALL("", TRANSFER(10)));
  CHECK_PROBLEM(reply, 409, "aborted");
  CU_ASSERT_PTR_NOT_NULL(strstr(reply->text, "/v1/participants/bank_b")); /* where it is named */
  CHECK_MOVED(w, 0);
  world_close(w);
}
IN_BOTH_MODES(prepared_transactions_switched_off_are_named)

static void description_of_the_api_is_served(void) {
  struct world *w = world_open(WORLD_EMBEDDED, NULL);
  const struct reply *reply = api_get(w->api, "/openapi.json");
  CHECK_STATUS(reply, 200);
  CHECK_STRING(reply, "/openapi", "3.1.0");
  CU_ASSERT_TRUE(reply->json && json_equal(reply->json, contract()));
  world_close(w);
}

static const struct reply *get_as_a_browser(struct world *w, const char *path, const char *accept) {
  const char *request = api_text(w->api,
                                 "GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: %s\r\n"
                                 "Connection: close\r\n\r\n",
                                 path, accept);
  return api_raw(w->api, request, strlen(request));
}

/* The page may load what it names, which is there, and nothing from elsewhere. */
static void console_is_served_with_all_that_it_loads(void) {
  struct world *w = world_open(WORLD_EMBEDDED, NULL);
  const struct reply *reply =
      get_as_a_browser(w, "/console", "text/html,application/xhtml+xml;q=0.9");
  CHECK_STATUS(reply, 200);
  CU_ASSERT_TRUE(reply_has_header(reply, "Content-Type: text/html; charset=utf-8"));
  CU_ASSERT_PTR_NOT_NULL(strstr(reply->headers, "default-src 'none'; script-src 'self'"));
  CU_ASSERT_PTR_NOT_NULL(strstr(reply->text, "href=\"/console/console.css\""));
  CU_ASSERT_PTR_NOT_NULL(strstr(reply->text, "src=\"/console/console.js\""));
  CU_ASSERT_PTR_NULL(strstr(reply->text, "://"));
  reply = get_as_a_browser(w, "/console/console.css", "text/css");
  CHECK_STATUS(reply, 200);
  CU_ASSERT_TRUE(reply_has_header(reply, "Content-Type: text/css; charset=utf-8"));
  reply = get_as_a_browser(w, "/console/console.js", "*/*");
  CHECK_STATUS(reply, 200);
  CU_ASSERT_TRUE(reply_has_header(reply, "Content-Type: text/javascript; charset=utf-8"));
  CU_ASSERT_PTR_NOT_NULL(strstr(reply->text, "/v1/participants"));
  CHECK_STATUS(get_as_a_browser(w, "/console", "image/png"), 406);
  world_close(w);
}

static void health_and_readiness_are_told(void) {
  struct world *w = world_open(WORLD_EMBEDDED, NULL);
  CHECK_STRING(api_get(w->api, "/healthz"), "/status", "ok");
  CHECK_STRING(api_get(w->api, "/readyz"), "/status", "ready");
  world_close(w);
}

SUITE(api_read, CASE(unknown_transaction_is_not_found),
      BOTH(long_poll_while_committing_ends_when_it_is_applied),
      CASE(long_poll_of_an_open_transaction_answers_at_its_time),
      BOTH(list_is_narrowed_by_what_is_asked), BOTH(pages_of_a_list_hold_while_new_ones_come),
      BOTH(filters_of_a_list_combine), BOTH(pages_of_a_list_hold_under_concurrent_writes),
      BOTH(participants_tell_how_they_are), BOTH(participant_with_its_database_down_says_so),
      BOTH(client_is_not_told_where_a_lost_database_was), BOTH(availability_counts_what_was_down),
      BOTH(prepared_transaction_of_another_shows_at_its_participant),
      BOTH(prepared_transactions_switched_off_are_named), CASE(description_of_the_api_is_served),
      CASE(console_is_served_with_all_that_it_loads), CASE(health_and_readiness_are_told))
