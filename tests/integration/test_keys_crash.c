/* The coordinator and the agents killed at each named crash point, amid a request with an
 * Idempotency-Key, which its client then repeats: the transfer is made once, not never and not twice, and
 * from the first answer on it is always told the same.
 */
#include <string.h>

#include "tests/lib/world.h"

static const char transfer[] = ONE_CALL("'label':'keyed',", TRANSFER(10));
static const char single[] = ONE_CALL("'label':'keyed',", BRANCH("bank_a", CREDIT(10)));
static const char hopeless[] = ONE_CALL("'label':'keyed',", TRANSFER(5000));

/* Until it is told more than that the first one runs. */
static const struct reply *repeat(struct world *w, const char *body) {
  const struct reply *reply = NULL;
  UNTIL((reply = api_keyed(w->api, "k", body),
         strcmp(reply_string(reply, "/code"), "key_in_progress") != 0));
  return reply;
}

static const char *id_of(const struct reply *reply) {
  return reply_string(reply, reply->status == 200 ? "/id" : "/transaction/id");
}

static void check_same(struct world *w, const struct reply *first, const char *body) {
  for (int i = 0; i < 2; i++) {
    const struct reply *again = repeat(w, body);
    CHECK_STATUS(again, first->status);
    CU_ASSERT_STRING_EQUAL(id_of(again), id_of(first));
    CU_ASSERT_TRUE(reply_has_header(again, "Idempotency-Replayed: true"));
    world_restart(w, COORDINATOR);
  }
}

static struct world *crash(enum world_mode mode, const char *point, const char *body) {
  struct world *w = world_open(mode, &(struct world_options){.crash = point});
  CU_ASSERT_EQUAL(api_keyed(w->api, "k", body)->status, 0);
  world_wait_crashed(w, COORDINATOR);
  world_start(w, COORDINATOR, NULL);
  world_wait_ready(w);
  return w;
}

/* ---- the coordinator -------------------------------------------------------------------------- */

static void check_transfer(enum world_mode mode, const char *point) {
  struct world *w = crash(mode, point, transfer);
  const struct reply *first = repeat(w, transfer);
  CHECK_STATUS(first, 200);
  CHECK_STRING(first, "/outcome", "committed");
  CHECK_INTEGER(first, "/branches/1/results/0/rows_affected", 1);
  check_same(w, first, transfer);
  world_wait_nothing_prepared(w);
  CHECK_MOVED(w, 10);
  world_close(w);
}

/* A branch that was open when it died has aborted; where the log knows of it, that is the answer. */
static void check_single(enum world_mode mode, const char *point) {
  struct world *w = crash(mode, point, single);
  const struct reply *first = repeat(w, single);
  if (first->status != 200) CHECK_PROBLEM(first, 409, "aborted");
  check_same(w, first, single);
  CU_ASSERT_EQUAL(world_balance(w, BANK_A, 1), ACCOUNT_BALANCE + (first->status == 200 ? 10 : 0));
  world_close(w);
}

#define POINTS(X)                                                                                  \
  X(transfer, c1, "C1")                                                                            \
  X(transfer, c2, "C2")                                                                            \
  X(transfer, c2_again, "C2:2")                                                                    \
  X(transfer, c3, "C3")                                                                            \
  X(transfer, c4, "C4")                                                                            \
  X(transfer, c5, "C5")                                                                            \
  X(transfer, c6, "C6")                                                                            \
  X(transfer, c6_again, "C6:2")                                                                    \
  X(transfer, c7, "C7")                                                                            \
  X(transfer, c8, "C8")                                                                            \
  X(single, c3, "C3")                                                                              \
  X(single, c4, "C4")                                                                              \
  X(single, c5, "C5")                                                                              \
  X(single, c7, "C7")                                                                              \
  X(single, c8, "C8")
#define DEFINE_POINT(what, name, point)                                                            \
  static void what##_killed_at_##name##_is_made_once(enum world_mode mode) {                       \
    check_##what(mode, point);                                                                     \
  }                                                                                                \
  IN_BOTH_MODES(what##_killed_at_##name##_is_made_once)
#define LIST_POINT(what, name, point) BOTH(what##_killed_at_##name##_is_made_once),
POINTS(DEFINE_POINT)

/* Decided, and each time killed again while it is delivered. */
static void transfer_killed_again_and_again_is_made_once(enum world_mode mode) {
  static const char *const points[] = {"C6", "C6:2", "C8"};
  struct world *w = world_open(mode, &(struct world_options){.crash = "C5"});
  CU_ASSERT_EQUAL(api_keyed(w->api, "k", transfer)->status, 0);
  world_wait_crashed(w, COORDINATOR);
  for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
    world_start(w, COORDINATOR, points[i]);
    world_wait_crashed(w, COORDINATOR);
  }
  world_start(w, COORDINATOR, NULL);
  world_wait_ready(w);
  const struct reply *first = repeat(w, transfer);
  CHECK_STATUS(first, 200);
  check_same(w, first, transfer);
  CHECK_MOVED(w, 10);
  world_close(w);
}
IN_BOTH_MODES(transfer_killed_again_and_again_is_made_once)

/* The answer is durable before it is told: here it was not told, and is told now. */
static void abort_killed_before_it_is_told_is_told_afterwards(enum world_mode mode) {
  struct world *w = crash(mode, "C7", hopeless);
  world_sql(w, BANK_A, "UPDATE account SET balance = 100000 WHERE id = 1");
  const struct reply *first = repeat(w, hopeless);
  CHECK_PROBLEM(first, 409, "aborted");
  CHECK_STRING(first, "/transaction/cause/sqlstate", "23514");
  check_same(w, first, hopeless);
  CU_ASSERT_EQUAL(world_balance(w, BANK_B, 1), ACCOUNT_BALANCE);
  world_close(w);
}
IN_BOTH_MODES(abort_killed_before_it_is_told_is_told_afterwards)

/* Nobody was told: it is run, this time with an end. */
static void abort_killed_before_it_is_durable_is_run_again(enum world_mode mode) {
  struct world *w = crash(mode, "C4", hopeless);
  world_sql(w, BANK_A, "UPDATE account SET balance = 100000 WHERE id = 1");
  const struct reply *first = repeat(w, hopeless);
  CHECK_STATUS(first, 200);
  check_same(w, first, hopeless);
  CU_ASSERT_EQUAL(world_balance(w, BANK_B, 1), ACCOUNT_BALANCE + 5000);
  world_close(w);
}
IN_BOTH_MODES(abort_killed_before_it_is_durable_is_run_again)

/* ---- agents ----------------------------------------------------------------------------------- */

/* In its own process the coordinator lives on, and decides what becomes of it. */
static void check_agent(enum world_mode mode, const char *point) {
  struct world *w = world_open(mode, NULL);
  enum world_target agent = world_agent_of(w, BANK_A);
  world_kill(w, COORDINATOR);
  if (agent != COORDINATOR) {
    world_kill(w, agent);
    world_start(w, agent, point);
  }
  world_start(w, COORDINATOR, agent == COORDINATOR ? point : NULL);
  world_wait_ready(w);
  struct async *call = async_keyed(w->api, "k", transfer);
  world_wait_crashed(w, agent);
  world_start(w, agent, NULL);
  world_wait_ready(w);
  const struct reply *first = async_finish(call);
  if (agent == COORDINATOR) {
    CU_ASSERT_EQUAL(first->status, 0);
    first = repeat(w, transfer);
    CHECK_STATUS(first, 200);
  } else if (first->status != 200) {
    CHECK_PROBLEM(first, 409, "aborted");
  }
  check_same(w, first, transfer);
  world_wait_nothing_prepared(w);
  CHECK_MOVED(w, first->status == 200 ? 10 : 0);
  world_close(w);
}

#define AGENT_POINTS(X)                                                                            \
  X(a1, "A1")                                                                                      \
  X(a2, "A2")                                                                                      \
  X(a3, "A3")                                                                                      \
  X(a4, "A4")                                                                                      \
  X(a5, "A5")                                                                                      \
  X(a6, "A6")
#define DEFINE_AGENT_POINT(name, point)                                                            \
  static void agent_killed_at_##name##_leaves_one_answer(enum world_mode mode) {                   \
    check_agent(mode, point);                                                                      \
  }                                                                                                \
  IN_BOTH_MODES(agent_killed_at_##name##_leaves_one_answer)
#define LIST_AGENT_POINT(name, point) BOTH(agent_killed_at_##name##_leaves_one_answer),
AGENT_POINTS(DEFINE_AGENT_POINT)

SUITE(keys_crash,
      POINTS(LIST_POINT) AGENT_POINTS(LIST_AGENT_POINT)
          BOTH(transfer_killed_again_and_again_is_made_once),
      BOTH(abort_killed_before_it_is_told_is_told_afterwards),
      BOTH(abort_killed_before_it_is_durable_is_run_again))
