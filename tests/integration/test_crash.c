/* The coordinator and the agents killed at each named crash point: afterwards all branches have the
 * same outcome, what was told holds, nothing stays prepared and no money is lost.
 *
 * C1..C3 are before the decision, C5..C8 after it; at C4 the log decides, and has to go on saying
 * the same. "C6:2" is the second passage of C6. In mode WORLD_EMBEDDED the agents' crash points are
 * the coordinator's own.
 */
#include "tests/lib/world.h"

#include <string.h>

static const char transfer[] = ONE_CALL("'label':'crash',", TRANSFER(10));

/* ---- the coordinator ------------------------------------------------------------------------- */

/* Runs a transfer that it does not survive, and starts it again. */
static struct world *crash_coordinator(enum world_mode mode, const char *point, const char *body) {
  struct world *w = world_open(mode, &(struct world_options){.crash = point});
  const struct reply *reply = api_post(w->api, "/v1/transactions", "%s", body);
  CU_ASSERT_EQUAL(reply->status, 0);
  world_wait_crashed(w, COORDINATOR);
  world_start(w, COORDINATOR, NULL);
  world_wait_ready(w);
  return w;
}

static void check_aborts(enum world_mode mode, const char *point) {
  struct world *w = crash_coordinator(mode, point, transfer);
  world_wait_nothing_prepared(w);
  CU_ASSERT_STRING_NOT_EQUAL(api_outcome(w->api, "crash"), "committed");
  CHECK_MOVED(w, 0);
  CHECK_STATUS(api_post(w->api, "/v1/transactions", "%s", transfer), 200);
  CHECK_MOVED(w, 10);
  world_close(w);
}

static void check_committed_and_stays_so(struct world *w) {
  UNTIL(strcmp(api_outcome(w->api, "crash"), "committed") == 0);
  const char *id = json_string_value(json_object_get(api_find(w->api, "crash"), "id"));
  for (int i = 0; i < 2; i++) {
    const struct reply *reply = api_get(w->api, "/v1/transactions/%s?wait=applied", id);
    CHECK_STATUS(reply, 200);
    CHECK_STRING(reply, "/state", "committed");
    CHECK_MOVED(w, 10);
    CHECK_PROBLEM(api_rollback(w->api, id), 409, "committed");
    world_restart(w, COORDINATOR);
  }
  CHECK_MOVED(w, 10);
}

static void check_commits(enum world_mode mode, const char *point) {
  struct world *w = crash_coordinator(mode, point, transfer);
  check_committed_and_stays_so(w);
  world_close(w);
}

#define CRASH_CASES(X)                                                                             \
  X(aborts, c1, "C1")                                                                              \
  X(aborts, c2, "C2")                                                                              \
  X(aborts, c2_again, "C2:2")                                                                      \
  X(aborts, c3, "C3")                                                                              \
  X(commits, c5, "C5")                                                                             \
  X(commits, c6, "C6")                                                                             \
  X(commits, c6_again, "C6:2")                                                                     \
  X(commits, c7, "C7")                                                                             \
  X(commits, c8, "C8")
#define DEFINE_CRASH_CASE(outcome, name, point)                                                    \
  static void coordinator_killed_at_##name##_##outcome(enum world_mode mode) {                     \
    check_##outcome(mode, point);                                                                  \
  }                                                                                                \
  IN_BOTH_MODES(coordinator_killed_at_##name##_##outcome)
CRASH_CASES(DEFINE_CRASH_CASE)

static void coordinator_killed_at_c4_follows_its_log(enum world_mode mode) {
  struct world *w = crash_coordinator(mode, "C4", transfer);
  bool committed = strcmp(api_outcome(w->api, "crash"), "committed") == 0;
  world_wait_nothing_prepared(w);
  CHECK_MOVED(w, committed ? 10 : 0);
  if (committed)
    check_committed_and_stays_so(w);
  else
    CU_ASSERT_STRING_NOT_EQUAL(api_outcome(w->api, "crash"), "committed");
  world_close(w);
}
IN_BOTH_MODES(coordinator_killed_at_c4_follows_its_log)

/* Killed again and again while it recovers what C3 has left prepared. */
static void coordinator_killed_at_c10_repeatedly_converges(enum world_mode mode) {
  struct world *w = world_open(mode, &(struct world_options){.crash = "C3"});
  CU_ASSERT_EQUAL(api_post(w->api, "/v1/transactions", "%s", transfer)->status, 0);
  world_wait_crashed(w, COORDINATOR);
  for (int i = 0; i < 3; i++) {
    CU_ASSERT_EQUAL(world_prepared(w, BANK_A) + world_prepared(w, BANK_B), 2);
    world_start(w, COORDINATOR, "C10");
    world_wait_crashed(w, COORDINATOR);
  }
  world_start(w, COORDINATOR, NULL);
  world_wait_ready(w);
  world_wait_nothing_prepared(w);
  CHECK_MOVED(w, 0);
  world_close(w);
}
IN_BOTH_MODES(coordinator_killed_at_c10_repeatedly_converges)

/* The recovery of a decision is itself killed, at each step of phase two. */
static void coordinator_killed_while_it_delivers_again_commits(enum world_mode mode) {
  static const char *const points[] = {"C6", "C6:2", "C8"};
  struct world *w = world_open(mode, &(struct world_options){.crash = "C5"});
  CU_ASSERT_EQUAL(api_post(w->api, "/v1/transactions", "%s", transfer)->status, 0);
  world_wait_crashed(w, COORDINATOR);
  for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
    world_start(w, COORDINATOR, points[i]);
    world_wait_crashed(w, COORDINATOR);
  }
  world_start(w, COORDINATOR, NULL);
  world_wait_ready(w);
  check_committed_and_stays_so(w);
  world_close(w);
}
IN_BOTH_MODES(coordinator_killed_while_it_delivers_again_commits)

/* A branch is committed already, its confirmation lost: committing it again must find that out. */
static void coordinator_killed_at_c8_with_a_database_down_commits(enum world_mode mode) {
  struct world *w = world_open(mode, &(struct world_options){.crash = "C8"});
  CU_ASSERT_EQUAL(api_post(w->api, "/v1/transactions", "%s", transfer)->status, 0);
  world_wait_crashed(w, COORDINATOR);
  world_server_kill(w, BANK_B);
  world_start(w, COORDINATOR, NULL);
  world_wait_ready(w);
  CU_ASSERT_STRING_EQUAL(api_outcome(w->api, "crash"), "committed");
  world_server_start(w, BANK_B);
  check_committed_and_stays_so(w);
  world_close(w);
}
IN_BOTH_MODES(coordinator_killed_at_c8_with_a_database_down_commits)

/* ---- one phase ------------------------------------------------------------------------------- */

static const char single[] = ONE_CALL("'label':'crash',", BRANCH("bank_a", CREDIT(10)));

/* How the transaction has ended, when its branch has been asked; "" when there is no record. */
static const char *single_outcome(struct world *w) {
  const char *id = json_string_value(json_object_get(api_find(w->api, "crash"), "id"));
  if (!id) return "";
  return reply_string(api_get(w->api, "/v1/transactions/%s?wait=applied", id), "/outcome");
}

static void check_single(enum world_mode mode, const char *point, const char *outcome,
                         int64_t added) {
  struct world *w = crash_coordinator(mode, point, single);
  for (int i = 0; i < 2; i++) {
    CU_ASSERT_STRING_EQUAL(single_outcome(w), outcome);
    CU_ASSERT_EQUAL(world_balance(w, BANK_A, 1), ACCOUNT_BALANCE + added);
    world_restart(w, COORDINATOR);
  }
  world_close(w);
}

static void single_branch_killed_at_c3_aborts(enum world_mode mode) {
  check_single(mode, "C3", "", 0);
}
IN_BOTH_MODES(single_branch_killed_at_c3_aborts)

/* The record names the branch's xid; the branch was open and has gone with its session. */
static void single_branch_killed_at_c5_aborts(enum world_mode mode) {
  check_single(mode, "C5", "aborted", 0);
}
IN_BOTH_MODES(single_branch_killed_at_c5_aborts)

/* The database dies, too, and hands xids to other transactions, which commit. */
static void single_branch_killed_at_c5_with_its_database_aborts(enum world_mode mode) {
  enum { OTHERS = 20 };
  struct world *w = world_open(mode, &(struct world_options){.crash = "C5"});
  CU_ASSERT_EQUAL(api_post(w->api, "/v1/transactions", "%s", single)->status, 0);
  world_server_kill(w, BANK_A);
  world_wait_crashed(w, COORDINATOR);
  world_server_start(w, BANK_A);
  for (int i = 0; i < OTHERS; i++)
    world_sql(w, BANK_A, "INSERT INTO ledger VALUES ('%d')", i);
  world_start(w, COORDINATOR, NULL);
  world_wait_ready(w);
  for (int i = 0; i < 2; i++) {
    CU_ASSERT_STRING_EQUAL(single_outcome(w), "aborted");
    CU_ASSERT_EQUAL(world_balance(w, BANK_A, 1), ACCOUNT_BALANCE);
    world_restart(w, COORDINATOR);
  }
  world_close(w);
}
IN_BOTH_MODES(single_branch_killed_at_c5_with_its_database_aborts)

static void single_branch_killed_at_c8_commits(enum world_mode mode) {
  check_single(mode, "C8", "committed", 10);
}
IN_BOTH_MODES(single_branch_killed_at_c8_commits)

/* ---- agents ---------------------------------------------------------------------------------- */

static bool is_up(struct world *w, const char *participant) {
  const struct reply *reply = api_get(w->api, "/v1/participants/%s", participant);
  return strcmp(reply_string(reply, "/state"), "up") == 0;
}

/* bank_a's agent dies in the transfer and is started again; the answer, where there is one, is in
 * `*told`. */
static struct world *crash_agent(enum world_mode mode, const char *point,
                                 const struct reply **told) {
  struct world *w = world_open(mode, NULL);
  enum world_target agent = world_agent_of(w, BANK_A);
  world_kill(w, COORDINATOR);
  if (agent != COORDINATOR) {
    world_kill(w, agent);
    world_start(w, agent, point);
  }
  world_start(w, COORDINATOR, agent == COORDINATOR ? point : NULL);
  world_wait_ready(w);
  struct async *call = async_post(w->api, "/v1/transactions", transfer);
  world_wait_crashed(w, agent);
  world_start(w, agent, NULL);
  world_wait_ready(w);
  *told = async_finish(call);
  UNTIL(is_up(w, "bank_a"));
  return w;
}

static void check_agent_aborts(enum world_mode mode, const char *point) {
  const struct reply *told;
  struct world *w = crash_agent(mode, point, &told);
  if (mode == WORLD_AGENTS) {
    CHECK_PROBLEM(told, 409, "aborted");
    CHECK_STRING(told, "/transaction/cause/kind", "unreachable");
  }
  world_wait_nothing_prepared(w);
  CU_ASSERT_STRING_NOT_EQUAL(api_outcome(w->api, "crash"), "committed");
  CHECK_MOVED(w, 0);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(10))), 200);
  CHECK_MOVED(w, 10);
  world_close(w);
}

static void check_agent_commits(enum world_mode mode, const char *point) {
  const struct reply *told;
  struct world *w = crash_agent(mode, point, &told);
  if (mode == WORLD_AGENTS) {
    CHECK_STATUS(told, 200);
    CHECK_STRING(told, "/state", "committed");
  }
  check_committed_and_stays_so(w);
  world_close(w);
}

#define AGENT_CASES(X)                                                                             \
  X(aborts, a1, "A1")                                                                              \
  X(aborts, a2, "A2")                                                                              \
  X(aborts, a3, "A3")                                                                              \
  X(aborts, a4, "A4")                                                                              \
  X(commits, a5, "A5")                                                                             \
  X(commits, a6, "A6")
#define DEFINE_AGENT_CASE(outcome, name, point)                                                    \
  static void agent_killed_at_##name##_##outcome(enum world_mode mode) {                           \
    check_agent_##outcome(mode, point);                                                            \
  }                                                                                                \
  IN_BOTH_MODES(agent_killed_at_##name##_##outcome)
AGENT_CASES(DEFINE_AGENT_CASE)

/* A decided transaction waits while the agent is killed in its listing. */
static void agent_killed_at_a7_commits_what_was_decided(enum world_mode mode) {
  struct world *w = world_open(mode, &(struct world_options){.crash = "C5"});
  CU_ASSERT_EQUAL(api_post(w->api, "/v1/transactions", "%s", transfer)->status, 0);
  world_wait_crashed(w, COORDINATOR);
  enum world_target agent = world_agent_of(w, BANK_A);
  for (int i = 0; i < 2; i++) {
    world_kill(w, COORDINATOR);
    world_kill(w, agent);
    world_start(w, agent, "A7");
    if (agent != COORDINATOR) world_start(w, COORDINATOR, NULL);
    world_wait_crashed(w, agent);
  }
  world_start(w, agent, NULL);
  world_wait_ready(w);
  check_committed_and_stays_so(w);
  world_close(w);
}
IN_BOTH_MODES(agent_killed_at_a7_commits_what_was_decided)

#define LIST_CRASH_CASE(outcome, name, point) BOTH(coordinator_killed_at_##name##_##outcome),
#define LIST_AGENT_CASE(outcome, name, point) BOTH(agent_killed_at_##name##_##outcome),

SUITE(crash, CRASH_CASES(LIST_CRASH_CASE) BOTH(coordinator_killed_at_c4_follows_its_log),
      BOTH(coordinator_killed_at_c10_repeatedly_converges),
      BOTH(coordinator_killed_while_it_delivers_again_commits),
      BOTH(coordinator_killed_at_c8_with_a_database_down_commits),
      BOTH(single_branch_killed_at_c3_aborts), BOTH(single_branch_killed_at_c5_aborts),
      BOTH(single_branch_killed_at_c5_with_its_database_aborts),
      BOTH(single_branch_killed_at_c8_commits),
      AGENT_CASES(LIST_AGENT_CASE) BOTH(agent_killed_at_a7_commits_what_was_decided))
