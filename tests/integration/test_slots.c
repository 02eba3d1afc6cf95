/* More work than there are slots of max_prepared_transactions, or connections: it waits its turn within
 * its time, is refused at once where too much waits, and nobody waits for somebody who waits for him.
 *
 * bank_b is on a server with few slots, of which others use some.
 */
#include <stdlib.h>
#include <string.h>

#include "common/error.h"
#include "tests/lib/world.h"
#include "tests/lib/world_servers.h"

enum { SLOTS = 4 };

/* Lives as long as the other servers. */
static struct throwaway_server *server;

static struct world *open_narrow(enum world_mode mode, const char *settings) {
  struct error err = {0};
  const struct throwaway_options options = {.prepared_max = SLOTS};
  if (!server) {
    server = throwaway_server(servers_owner(), "narrow", &options, &err);
    if (!server) check_failed(__FILE__, __LINE__, true, "%s", err.text);
    servers_make_template(server);
  }
  return world_open(mode, &(struct world_options){.server_b = server, .settings = settings});
}

static int64_t told(struct world *w, const char *participant, const char *what) {
  char pointer[64];
  (void)snprintf(pointer, sizeof pointer, "/%s", what);
  const json_t *value = reply_at(api_get(w->api, "/v1/participants/%s", participant), pointer);
  return json_is_integer(value) ? json_integer_value(value) : -1;
}

/* Somebody else's, with other rows. */
static void others_prepare(struct world *w, int count) {
  for (int i = 0; i < count; i++)
    world_sql(w, BANK_B,
              "BEGIN; INSERT INTO ledger VALUES ('other %d'); PREPARE TRANSACTION 'other_%d'", i,
              i);
  UNTIL(told(w, "bank_b", "slots") == SLOTS - count);
}

static void others_finish(struct world *w, int count) {
  for (int i = 0; i < count; i++)
    world_sql(w, BANK_B, "ROLLBACK PREPARED 'other_%d'", i);
}

/* Of another account each, so that only slots keep them from each other. */
static const char *transfer(struct world *w, int account) {
  return api_text(w->api,
                  "{'commit':true,'branches':["
                  "{'participant':'bank_a','statements':[{'sql':'UPDATE account SET balance = "
                  "balance - 1 WHERE id = %d'}]},"
                  "{'participant':'bank_b','statements':[{'sql':'UPDATE account SET balance = "
                  "balance + 1 WHERE id = %d'}]}]}",
                  account, account);
}

#define FAST "health_interval = 50ms\n"

static void transaction_waits_for_a_slot(enum world_mode mode) {
  struct world *w = open_narrow(mode, FAST);
  others_prepare(w, SLOTS);
  struct async *call =
      async_post(w->api, "/v1/transactions", ONE_CALL("'label':'patient',", TRANSFER(1)));
  UNTIL(told(w, "bank_b", "queued") == 1);
  const char *id = json_string_value(json_object_get(api_find(w->api, "patient"), "id"));
  const struct reply *timeline = api_get(w->api, "/v1/transactions/%s/timeline", id);
  CHECK_STRING(timeline, "/waiting_for/0/for", "slot");
  CHECK_STRING(timeline, "/waiting_for/0/participant", "bank_b");
  CU_ASSERT_EQUAL(told(w, "bank_a", "slots_held"), 0);
  CHECK_PROBLEM(api_statement(w->api, id, "bank_a", "'sql':'SELECT 1'"), 409, "not_open");
  others_finish(w, SLOTS);
  CHECK_STATUS(async_finish(call), 200);
  UNTIL(told(w, "bank_b", "slots_held") == 0);
  CHECK_MOVED(w, 1);
  world_close(w);
}
IN_BOTH_MODES(transaction_waits_for_a_slot)

static void waiting_for_a_slot_ends_with_the_time(enum world_mode mode) {
  struct world *w = open_narrow(mode, FAST);
  others_prepare(w, SLOTS);
  const struct reply *late = api_run(w->api, ONE_CALL("'timeout_ms':200,", TRANSFER(1)));
  CHECK_PROBLEM(late, 409, "aborted");
  CHECK_STRING(late, "/transaction/cause/kind", "timeout");
  CU_ASSERT_PTR_NOT_NULL(strstr(late->text, "max_prepared_transactions"));
  CU_ASSERT_EQUAL(told(w, "bank_b", "queued"), 0);
  others_finish(w, SLOTS);
  CHECK_MOVED(w, 0);
  world_close(w);
}
IN_BOTH_MODES(waiting_for_a_slot_ends_with_the_time)

/* It was never there: its key is free, and it leaves no trace. */
static void transaction_beyond_those_that_may_wait_is_refused_at_once(enum world_mode mode) {
  struct world *w = open_narrow(mode, FAST "waiting = 1\n");
  others_prepare(w, SLOTS);
  struct async *call = async_post(w->api, "/v1/transactions", ONE_CALL("", TRANSFER(1)));
  UNTIL(told(w, "bank_b", "queued") == 1);
  const char *body = ONE_CALL("'label':'refused',", TRANSFER(10));
  const struct reply *reply = api_keyed(w->api, "again", body);
  CHECK_LIMIT(reply, 503, "overloaded", "waiting", 1);
  CU_ASSERT_TRUE(reply_has_header(reply, "Retry-After: 1"));
  CU_ASSERT_PTR_NULL(api_find(w->api, "refused"));
  const char *open = reply_string(api_run(w->api, "{'branches':[" TRANSFER(100) "]}"), "/id");
  CHECK_PROBLEM(api_commit(w->api, open), 503, "overloaded");
  CHECK_STRING(api_read(w->api, open), "/state", "open");
  others_finish(w, SLOTS);
  CHECK_STATUS(api_rollback(w->api, open), 200);
  CHECK_STATUS(async_finish(call), 200);
  CHECK_STATUS(api_keyed(w->api, "again", body), 200);
  CHECK_MOVED(w, 11);
  world_close(w);
}
IN_BOTH_MODES(transaction_beyond_those_that_may_wait_is_refused_at_once)

/* Twice as many as there are slots, while others use half of these. Without waiting most would fail. */
static void more_transactions_than_slots_all_commit(enum world_mode mode) {
  enum { CALLS = 2 * SLOTS };
  struct async *calls[CALLS];
  struct world *w = open_narrow(mode, FAST);
  others_prepare(w, SLOTS / 2);
  PGconn *gate = gate_close(w, BANK_A); /* so that all are there before the first has ended */
  struct async *first =
      async_post(w->api, "/v1/transactions",
                 "{'commit':true,'branches':[" BRANCH("bank_a", AT_GATE) "," BRANCH(
                     "bank_b", STATEMENT("INSERT INTO ledger VALUES (1)")) "]}");
  UNTIL(gate_waiting(w, BANK_A) == 1);
  for (int i = 0; i < CALLS; i++)
    calls[i] = async_post(w->api, "/v1/transactions", transfer(w, i + 1));
  UNTIL(told(w, "bank_b", "queued") == CALLS);
  gate_open(gate);
  CHECK_STATUS(async_finish(first), 200);
  for (int i = 0; i < CALLS; i++)
    CHECK_STATUS(async_finish(calls[i]), 200);
  others_finish(w, SLOTS / 2);
  CU_ASSERT_EQUAL(world_integer(w, BANK_B, "SELECT sum(balance) FROM account"),
                  ACCOUNTS * ACCOUNT_BALANCE + CALLS);
  world_close(w);
}
IN_BOTH_MODES(more_transactions_than_slots_all_commit)

/* Waits for account 1 at bank_a, with a slot of bank_b, and no row there that others want. */
static const char *waiter(struct world *w, int number) {
  return api_text(
      w->api,
      "{'commit':true,'branches':[" BRANCH(
          "bank_a",
          DEBIT(1)) ","
                    "{'participant':'bank_b','statements':[{'sql':'INSERT INTO ledger VALUES "
                    "(%d)'}]}]}",
      number);
}

/* Those that hold slots wait for its lock: if it waited for theirs, none would go on. */
static void open_transaction_with_locks_gets_the_last_slot(enum world_mode mode) {
  enum { CALLS = SLOTS + 1 };
  struct async *calls[CALLS];
  struct world *w = open_narrow(mode, FAST);
  const char *open = reply_string(api_run(w->api, "{'branches':[" TRANSFER(10) "]}"), "/id");
  for (int i = 0; i < CALLS; i++)
    calls[i] = async_post(w->api, "/v1/transactions", waiter(w, i));
  UNTIL(told(w, "bank_b", "slots_held") == SLOTS - 1 && told(w, "bank_b", "queued") == 2);
  CHECK_STATUS(api_commit(w->api, open), 200);
  for (int i = 0; i < CALLS; i++)
    CHECK_STATUS(async_finish(calls[i]), 200);
  CU_ASSERT_EQUAL(world_balance(w, BANK_A, 1), ACCOUNT_BALANCE - 10 - CALLS);
  world_close(w);
}
IN_BOTH_MODES(open_transaction_with_locks_gets_the_last_slot)

/* What others have prepared since is not known: the database says no, and that is heeded. */
static void slots_used_by_others_unseen_are_a_clear_no(enum world_mode mode) {
  struct world *w = open_narrow(mode, "health_interval = 1h\n");
  UNTIL(told(w, "bank_b", "slots") == SLOTS);
  for (int i = 0; i < SLOTS; i++)
    world_sql(w, BANK_B,
              "BEGIN; INSERT INTO ledger VALUES ('other %d'); PREPARE TRANSACTION 'other_%d'", i,
              i);
  const struct reply *reply = api_run(w->api, ONE_CALL("", TRANSFER(1)));
  CHECK_PROBLEM(reply, 409, "aborted");
  CHECK_STRING(reply, "/transaction/cause/kind", "limit");
  CHECK_STRING(reply, "/transaction/cause/sqlstate", "53200");
  struct async *call = async_post(w->api, "/v1/transactions", ONE_CALL("", TRANSFER(1)));
  UNTIL(told(w, "bank_b", "queued") == 1);
  others_finish(w, SLOTS);
  UNTIL(told(w, "bank_b", "slots") == SLOTS); /* asking looks anew */
  CHECK_STATUS(async_finish(call), 200);
  CHECK_MOVED(w, 1);
  world_close(w);
}
IN_BOTH_MODES(slots_used_by_others_unseen_are_a_clear_no)

/* A transaction of one branch is not prepared, and does not wait. */
static void single_branch_needs_no_slot(enum world_mode mode) {
  struct world *w = open_narrow(mode, FAST);
  others_prepare(w, SLOTS);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", BRANCH("bank_b", CREDIT(1)))), 200);
  others_finish(w, SLOTS);
  world_close(w);
}
IN_BOTH_MODES(single_branch_needs_no_slot)

/* Both databases are on one server: a transaction takes two of its slots. */
static void slots_are_the_servers(enum world_mode mode) {
  struct world *w = world_open(mode, &(struct world_options){.one_server = true, .settings = FAST});
  PGconn *gate = gate_close(w, BANK_A);
  struct async *call =
      async_post(w->api, "/v1/transactions",
                 "{'commit':true,'branches':[" BRANCH("bank_a", AT_GATE) "," BRANCH(
                     "bank_b", STATEMENT("INSERT INTO ledger VALUES (1)")) "]}");
  UNTIL(gate_waiting(w, BANK_A) == 1);
  CU_ASSERT_EQUAL(told(w, "bank_a", "slots_held"), 2);
  CU_ASSERT_EQUAL(told(w, "bank_b", "slots_held"), 2);
  gate_open(gate);
  CHECK_STATUS(async_finish(call), 200);
  world_close(w);
}
IN_BOTH_MODES(slots_are_the_servers)

/* ---- connections ------------------------------------------------------------------------------ */

static void open_transactions_leave_connections_to_others(enum world_mode mode) {
  enum { OPEN = 3 };
  struct world *w = world_open(mode, &(struct world_options){.database = "connections = 4\n"});
  const char *ids[OPEN];
  const char *body = "{'branches':[" BRANCH("bank_a", STATEMENT("SELECT 1")) "]}";
  for (int i = 0; i < OPEN; i++)
    ids[i] = reply_string(api_run(w->api, "%s", body), "/id");
  struct async *next = async_post(w->api, "/v1/transactions", body);
  UNTIL(told(w, "bank_a", "waiting") == 1);
  for (int i = 0; i < 5; i++)
    CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(1))), 200);
  CU_ASSERT_FALSE(async_is_done(next));
  CHECK_STATUS(api_rollback(w->api, ids[0]), 200);
  const struct reply *reply = async_finish(next);
  CHECK_STATUS(reply, 201);
  CHECK_STATUS(api_rollback(w->api, reply_string(reply, "/id")), 200);
  for (int i = 1; i < OPEN; i++)
    CHECK_STATUS(api_rollback(w->api, ids[i]), 200);
  CHECK_MOVED(w, 5);
  world_close(w);
}
IN_BOTH_MODES(open_transactions_leave_connections_to_others)

/* All that may run wait for a lock: others are let in beside them. */
static void branches_that_wait_for_a_lock_do_not_keep_others_out(enum world_mode mode) {
  enum { BLOCKED = 10 };
  struct async *calls[BLOCKED];
  struct world *w = world_open(mode, NULL);
  const char *open = reply_string(api_run(w->api, "{'branches':[" TRANSFER(10) "]}"), "/id");
  for (int i = 0; i < BLOCKED; i++)
    calls[i] = async_post(w->api, "/v1/transactions", waiter(w, i));
  UNTIL(told(w, "bank_a", "running") + told(w, "bank_a", "waiting") == BLOCKED);
  CHECK_STATUS(api_run(w->api, "%s", transfer(w, 2)), 200);
  CHECK_STATUS(api_commit(w->api, open), 200);
  for (int i = 0; i < BLOCKED; i++)
    CHECK_STATUS(async_finish(calls[i]), 200);
  world_close(w);
}
IN_BOTH_MODES(branches_that_wait_for_a_lock_do_not_keep_others_out)

SUITE(slots, BOTH(transaction_waits_for_a_slot), BOTH(waiting_for_a_slot_ends_with_the_time),
      BOTH(transaction_beyond_those_that_may_wait_is_refused_at_once),
      BOTH(more_transactions_than_slots_all_commit),
      BOTH(open_transaction_with_locks_gets_the_last_slot),
      BOTH(slots_used_by_others_unseen_are_a_clear_no), BOTH(single_branch_needs_no_slot),
      BOTH(slots_are_the_servers), BOTH(open_transactions_leave_connections_to_others),
      BOTH(branches_that_wait_for_a_lock_do_not_keep_others_out))
