/* Requests with an Idempotency-Key, against the public API: repeated, at the same time, with another body,
 * across a restart. A repeated request moves no money and gets the answer of the first. What crashes do to
 * that is in test_keys_crash.c.
 */
#include <string.h>

#include "tests/lib/world.h"

static const char transfer[] = ONE_CALL("'label':'keyed',", TRANSFER(10));
static const char replayed[] = "Idempotency-Replayed: true";

static struct world *open_world(enum world_mode mode) {
  return world_open(mode, &(struct world_options){0});
}

/* The same status, document and, for a 201, place. */
static void check_replayed(const struct reply *first, const struct reply *again) {
  CHECK_STATUS(again, first->status);
  CU_ASSERT_STRING_EQUAL(again->text, first->text);
  CU_ASSERT_FALSE(reply_has_header(first, replayed));
  CU_ASSERT_TRUE(reply_has_header(again, replayed));
}

static void check_same_next_time(struct world *w, const struct reply *first, const char *body) {
  const struct reply *again = api_keyed(w->api, "k", body);
  CHECK_STATUS(again, first->status);
  CU_ASSERT_STRING_EQUAL(again->text, first->text);
}

static void restart_cleanly(struct world *w) {
  world_stop(w, COORDINATOR);
  world_start(w, COORDINATOR, NULL);
  world_wait_ready(w);
}

/* After a kill that took the answer's record, which is lazy: it is made again from the decision. */
static void check_told_again(struct world *w, const struct reply *first, const char *body) {
  static const char *const members[] = {"/id", "/outcome", "/label", "/branches/0/results",
                                        "/branches/1/results"};
  const struct reply *again = api_keyed(w->api, "k", body);
  CHECK_STATUS(again, first->status);
  CU_ASSERT_TRUE(reply_has_header(again, replayed));
  for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
    const json_t *was = reply_at(first, members[i]), *is = reply_at(again, members[i]);
    CU_ASSERT_TRUE(was ? json_equal(was, is) : !is);
  }
  check_same_next_time(w, again, body);
}

static void repeated_request_gets_the_same_answer(enum world_mode mode) {
  struct world *w = open_world(mode);
  const struct reply *first = api_keyed(w->api, "order 42/a", transfer);
  CHECK_STATUS(first, 200);
  CHECK_INTEGER(first, "/branches/0/results/0/rows_affected", 1);
  for (int i = 0; i < 2; i++) {
    check_replayed(first, api_keyed(w->api, "order 42/a", transfer));
    restart_cleanly(w);
  }
  check_replayed(first, api_keyed(w->api, "order 42/a", transfer));
  CHECK_MOVED(w, 10);
  CHECK_STATUS(api_keyed(w->api, "order 42/b", transfer), 200);
  CHECK_MOVED(w, 20);
  world_close(w);
}
IN_BOTH_MODES(repeated_request_gets_the_same_answer)

static void single_branch_repeated_gets_the_same_answer(enum world_mode mode) {
  static const char body[] =
      ONE_CALL("",
               BRANCH("bank_a", STATEMENT("UPDATE account SET balance = balance - 5 WHERE id = 1"
                                          " RETURNING balance")));
  struct world *w = open_world(mode);
  const struct reply *first = api_keyed(w->api, "k", body);
  CHECK_STATUS(first, 200);
  check_replayed(first, api_keyed(w->api, "k", body));
  world_restart(w, COORDINATOR);
  check_told_again(w, first, body);
  CU_ASSERT_EQUAL(world_balance(w, BANK_A, 1), ACCOUNT_BALANCE - 5);
  world_close(w);
}
IN_BOTH_MODES(single_branch_repeated_gets_the_same_answer)

static void request_that_only_waits_for_the_decision_repeated_gets_the_same(enum world_mode mode) {
  static const char body[] = ONE_CALL("'wait':'decided',", TRANSFER(10));
  struct world *w = open_world(mode);
  const struct reply *first = api_keyed(w->api, "k", body);
  CHECK_STATUS(first, 200);
  check_replayed(first, api_keyed(w->api, "k", body));
  world_restart(w, COORDINATOR);
  check_told_again(w, first, body);
  CHECK_MOVED(w, 10);
  world_close(w);
}
IN_BOTH_MODES(request_that_only_waits_for_the_decision_repeated_gets_the_same)

/* What has been told as aborted is not run on the sly by whoever asks again. */
static void aborted_request_repeated_is_told_the_same(enum world_mode mode) {
  static const char body[] = ONE_CALL("", TRANSFER(5000));
  struct world *w = open_world(mode);
  const struct reply *first = api_keyed(w->api, "k", body);
  CHECK_PROBLEM(first, 409, "aborted");
  CHECK_STRING(first, "/transaction/cause/sqlstate", "23514");
  world_sql(w, BANK_A, "UPDATE account SET balance = 100000 WHERE id = 1");
  check_replayed(first, api_keyed(w->api, "k", body));
  world_restart(w, COORDINATOR);
  check_replayed(first, api_keyed(w->api, "k", body));
  CU_ASSERT_EQUAL(world_balance(w, BANK_B, 1), ACCOUNT_BALANCE);
  CHECK_STATUS(api_keyed(w->api, "another", body), 200);
  world_close(w);
}
IN_BOTH_MODES(aborted_request_repeated_is_told_the_same)

static void key_with_another_body_is_refused(enum world_mode mode) {
  static const char other[] = ONE_CALL("'label':'keyed',", TRANSFER(11));
  struct world *w = open_world(mode);
  CHECK_STATUS(api_keyed(w->api, "k", transfer), 200);
  for (int i = 0; i < 2; i++) {
    const struct reply *reply = api_keyed(w->api, "k", other);
    CHECK_PROBLEM(reply, 422, "key_reused");
    CHECK_STRING(reply, "/field", "Idempotency-Key");
    CU_ASSERT_FALSE(reply_has_header(reply, replayed));
    CHECK_PROBLEM(api_keyed(w->api, "k", ""), 422, "key_reused");
    world_restart(w, COORDINATOR);
  }
  CHECK_MOVED(w, 10);
  world_close(w);
}
IN_BOTH_MODES(key_with_another_body_is_refused)

static void key_of_a_running_request_is_told_to_wait(enum world_mode mode) {
  static const char body[] =
      ONE_CALL("'label':'slow',",
               BRANCH("bank_a", DEBIT(10) "," AT_GATE) "," BRANCH("bank_b", CREDIT(10)));
  struct world *w = open_world(mode);
  PGconn *gate = gate_close(w, BANK_A);
  struct async *first = async_keyed(w->api, "k", body);
  UNTIL(gate_waiting(w, BANK_A) == 1);
  const struct reply *second = api_keyed(w->api, "k", body);
  CHECK_PROBLEM(second, 409, "key_in_progress");
  CHECK_STRING(second, "/transaction/label", "slow");
  CHECK_STRING(second, "/transaction/state", "preparing");
  CU_ASSERT_TRUE(reply_has_header(second, "Retry-After: 1"));
  CU_ASSERT_FALSE(reply_has_header(second, replayed));
  CHECK_PROBLEM(api_keyed(w->api, "k", transfer), 422, "key_reused");
  gate_open(gate);
  const struct reply *told = async_finish(first);
  CHECK_STATUS(told, 200);
  check_replayed(told, api_keyed(w->api, "k", body));
  CHECK_MOVED(w, 10);
  world_close(w);
}
IN_BOTH_MODES(key_of_a_running_request_is_told_to_wait)

/* At the same time, before anybody knows the key: one of them runs. */
static void many_at_once_with_one_key_run_once(enum world_mode mode) {
  enum { MANY = 12 };
  struct async *calls[MANY];
  const struct reply *replies[MANY], *first = NULL;
  struct world *w = open_world(mode);
  for (int i = 0; i < MANY; i++)
    calls[i] = async_keyed(w->api, "k", transfer);
  for (int i = 0; i < MANY; i++)
    replies[i] = async_finish(calls[i]);
  for (int i = 0; i < MANY; i++) {
    if (replies[i]->status == 200 && !reply_has_header(replies[i], replayed)) {
      CU_ASSERT_PTR_NULL(first);
      first = replies[i];
    } else if (replies[i]->status != 200) {
      CHECK_PROBLEM(replies[i], 409, "key_in_progress");
    }
  }
  CU_ASSERT_PTR_NOT_NULL_FATAL(first);
  for (int i = 0; i < MANY; i++)
    if (replies[i]->status == 200) CU_ASSERT_STRING_EQUAL(replies[i]->text, first->text);
  CHECK_MOVED(w, 10);
  world_close(w);
}
IN_BOTH_MODES(many_at_once_with_one_key_run_once)

/* ---- step by step ----------------------------------------------------------------------------- */

static void begin_repeated_gets_the_same_transaction(enum world_mode mode) {
  struct world *w = open_world(mode);
  const char *body = "{'label':'steps','branches':[" BRANCH("bank_a", DEBIT(10)) "]}";
  const struct reply *first = api_keyed(w->api, "k", body);
  CHECK_STATUS(first, 201);
  const char *id = reply_string(first, "/id");
  const char *place = api_text(w->api, "Location: /v1/transactions/%s", id);
  const struct reply *again = api_keyed(w->api, "k", body);
  check_replayed(first, again);
  CU_ASSERT_TRUE(reply_has_header(first, place) && reply_has_header(again, place));
  CHECK_STATUS(api_statement(w->api, id, "bank_b",
                             "'sql':'UPDATE account SET balance = balance + 10 WHERE id = 1'"),
               200);
  CHECK_STATUS(api_commit(w->api, id), 200);
  CHECK_MOVED(w, 10);
  for (int i = 0; i < 2; i++) {
    again = api_keyed(w->api, "k", body);
    check_replayed(first, again);
    CU_ASSERT_TRUE(reply_has_header(again, place));
    world_restart(w, COORDINATOR);
  }
  CHECK_MOVED(w, 10);
  world_close(w);
}
IN_BOTH_MODES(begin_repeated_gets_the_same_transaction)

static void begin_repeated_after_its_rollback_gets_the_same_transaction(enum world_mode mode) {
  struct world *w = open_world(mode);
  const struct reply *first = api_keyed(w->api, "k", "{}");
  CHECK_STATUS(first, 201);
  CHECK_STATUS(api_rollback(w->api, reply_string(first, "/id")), 200);
  check_replayed(first, api_keyed(w->api, "k", "{}"));
  restart_cleanly(w);
  check_replayed(first, api_keyed(w->api, "k", "{}"));
  world_close(w);
}
IN_BOTH_MODES(begin_repeated_after_its_rollback_gets_the_same_transaction)

/* An open transaction dies with the coordinator, undecided: its key is free again. */
static void begin_repeated_after_a_crash_begins_anew(enum world_mode mode) {
  struct world *w = open_world(mode);
  const struct reply *first = api_keyed(w->api, "k", "{}");
  CHECK_STATUS(first, 201);
  world_restart(w, COORDINATOR);
  const struct reply *again = api_keyed(w->api, "k", "{}");
  CHECK_STATUS(again, 201);
  CU_ASSERT_FALSE(reply_has_header(again, replayed));
  CU_ASSERT_STRING_NOT_EQUAL(reply_string(again, "/id"), reply_string(first, "/id"));
  CHECK_STATUS(api_rollback(w->api, reply_string(again, "/id")), 200);
  world_close(w);
}
IN_BOTH_MODES(begin_repeated_after_a_crash_begins_anew)

/* ---- what is refused -------------------------------------------------------------------------- */

static void check_refused_key(struct world *w, const char *key, const char *more) {
  const struct reply *reply = api_post_keyed(w->api, "/v1/transactions", key, more, transfer);
  CHECK_PROBLEM(reply, 422, "invalid");
  CHECK_STRING(reply, "/field", "Idempotency-Key");
}

static void key_that_is_not_one_is_refused(void) {
  struct world *w = open_world(WORLD_EMBEDDED);
  char longest[257];
  memset(longest, 'k', sizeof longest);
  longest[256] = '\0';
  check_refused_key(w, "", "");
  check_refused_key(w, longest, "");
  check_refused_key(w, "caf\xc3\xa9", "");
  check_refused_key(w, "a\tb", "");
  check_refused_key(w, "one", "Idempotency-Key: two\r\n");
  CHECK_MOVED(w, 0);
  longest[255] = '\0';
  CHECK_STATUS(api_keyed(w->api, longest, transfer), 200);
  CHECK_STATUS(api_keyed(w->api, "~ !\"#;=,", transfer), 200);
  CHECK_MOVED(w, 20);
  world_close(w);
}

/* Nothing was done, so the key is not used up. */
static void refused_request_leaves_its_key_free(void) {
  struct world *w = open_world(WORLD_EMBEDDED);
  static const char nobody[] = ONE_CALL("", BRANCH("nobody", DEBIT(10)));
  for (int i = 0; i < 2; i++) {
    const struct reply *reply = api_keyed(w->api, "k", nobody);
    CHECK_PROBLEM(reply, 422, "unknown_participant");
    CU_ASSERT_FALSE(reply_has_header(reply, replayed));
    CHECK_PROBLEM(api_keyed(w->api, "k", "{"), 400, "bad_json");
  }
  CHECK_STATUS(api_keyed(w->api, "k", transfer), 200);
  CHECK_MOVED(w, 10);
  world_close(w);
}

/* ---- what is kept ----------------------------------------------------------------------------- */

static void results_too_large_to_keep_are_told_once(enum world_mode mode) {
  static const char body[] =
      ONE_CALL("", BRANCH("bank_a", "{'sql':'UPDATE account SET balance = balance - 5 WHERE id = 1"
                                    " RETURNING repeat($1, 70000)','params':['x']}"));
  struct world *w = open_world(mode);
  const struct reply *first = api_keyed(w->api, "k", body);
  CHECK_STATUS(first, 200);
  CU_ASSERT_PTR_NOT_NULL(reply_at(first, "/branches/0/results"));
  for (int i = 0; i < 2; i++) {
    const struct reply *again = api_keyed(w->api, "k", body);
    CHECK_STATUS(again, 200);
    CU_ASSERT_TRUE(reply_has_header(again, replayed));
    CU_ASSERT_STRING_EQUAL(reply_string(again, "/id"), reply_string(first, "/id"));
    CU_ASSERT_PTR_NULL(reply_at(again, "/branches/0/results"));
    world_restart(w, COORDINATOR);
  }
  CU_ASSERT_EQUAL(world_balance(w, BANK_A, 1), ACCOUNT_BALANCE - 5);
  world_close(w);
}
IN_BOTH_MODES(results_too_large_to_keep_are_told_once)

/* An abort whose answer finds no space is not told as one: the request may be repeated, and is run. */
static void abort_that_cannot_be_kept_leaves_its_key_free(enum world_mode mode) {
  static const char hopeless[] = ONE_CALL("", TRANSFER(5000));
  struct world *w = world_open(mode, &(struct world_options){.fault = "write:1+:ENOSPC"});
  CHECK_STATUS(api_keyed(w->api, "first", transfer), 200);
  world_break(w);
  for (int i = 0; i < 2; i++) {
    const struct reply *reply = api_keyed(w->api, "k", hopeless);
    CHECK_PROBLEM(reply, 503, "log_full");
    CU_ASSERT_TRUE(reply_has_header(reply, "Retry-After: 1"));
  }
  CHECK_MOVED(w, 10);
  world_mend(w);
  world_sql(w, BANK_A, "UPDATE account SET balance = 100000 WHERE id = 1");
  UNTIL(api_keyed(w->api, "k", hopeless)->status == 200);
  CU_ASSERT_EQUAL(world_balance(w, BANK_B, 1), ACCOUNT_BALANCE + 5010);
  CHECK_STATUS(api_keyed(w->api, "k", hopeless), 200);
  CU_ASSERT_EQUAL(world_balance(w, BANK_B, 1), ACCOUNT_BALANCE + 5010);
  world_close(w);
}
IN_BOTH_MODES(abort_that_cannot_be_kept_leaves_its_key_free)

/* The first is told 202 at its time; the second waits for the outcome, and is told that. */
static void request_told_as_unsettled_repeated_waits_for_its_outcome(enum world_mode mode) {
  static const char body[] = ONE_CALL("'timeout_ms':1000,", TRANSFER(10));
  struct world *w = world_open(mode, &(struct world_options){.proxies = PROXY_DATABASES});
  struct proxy *proxy = w->to_database[BANK_B];
  (void)proxy_on(proxy, PROXY_TO_TARGET, "COMMIT PREPARED", PROXY_HOLD);
  const struct reply *first = api_keyed(w->api, "k", body);
  CHECK_STATUS(first, 202);
  CHECK_STRING(first, "/outcome", "committed");
  const struct reply *second = api_keyed(w->api, "k", body);
  CHECK_STATUS(second, 202);
  CU_ASSERT_TRUE(reply_has_header(second, replayed));
  struct async *third = async_keyed(w->api, "k", body);
  proxy_release(proxy);
  const struct reply *last = async_finish(third);
  CHECK_STATUS(last, 200);
  CHECK_INTEGER(last, "/branches/1/results/0/rows_affected", 1);
  CU_ASSERT_STRING_EQUAL(reply_string(last, "/id"), reply_string(first, "/id"));
  check_same_next_time(w, last, body);
  CHECK_MOVED(w, 10);
  world_close(w);
}
IN_BOTH_MODES(request_told_as_unsettled_repeated_waits_for_its_outcome)

static bool is_run_again(struct world *w, const char *id) {
  const struct reply *reply = api_keyed(w->api, "k", transfer);
  return reply->status == 200 && strcmp(reply_string(reply, "/id"), id) != 0;
}

static void key_is_forgotten_after_its_retention(void) {
  struct world *w =
      world_open(WORLD_EMBEDDED, &(struct world_options){.settings = "key_retention = 1s\n"});
  const struct reply *first = api_keyed(w->api, "k", transfer);
  CHECK_STATUS(first, 200);
  UNTIL(is_run_again(w, reply_string(first, "/id")));
  CHECK_MOVED(w, 20);
  CHECK_STATUS(api_read(w->api, reply_string(first, "/id")), 200);
  world_close(w);
}

SUITE(keys, BOTH(repeated_request_gets_the_same_answer),
      BOTH(single_branch_repeated_gets_the_same_answer),
      BOTH(request_that_only_waits_for_the_decision_repeated_gets_the_same),
      BOTH(aborted_request_repeated_is_told_the_same), BOTH(key_with_another_body_is_refused),
      BOTH(key_of_a_running_request_is_told_to_wait), BOTH(many_at_once_with_one_key_run_once),
      BOTH(begin_repeated_gets_the_same_transaction),
      BOTH(begin_repeated_after_its_rollback_gets_the_same_transaction),
      BOTH(begin_repeated_after_a_crash_begins_anew), CASE(key_that_is_not_one_is_refused),
      CASE(refused_request_leaves_its_key_free), BOTH(results_too_large_to_keep_are_told_once),
      BOTH(abort_that_cannot_be_kept_leaves_its_key_free),
      BOTH(request_told_as_unsettled_repeated_waits_for_its_outcome),
      CASE(key_is_forgotten_after_its_retention))
