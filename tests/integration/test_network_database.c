/* A bad network between an agent, embedded or not, and its database: the connection is lost, late or
 * silent around PREPARE, COMMIT PREPARED, ROLLBACK PREPARED and COMMIT. Nothing is assumed: the branch is
 * looked up, both branches end alike, what was told holds.
 *
 * What passes is PostgreSQL's protocol: a command goes as text, its completion comes as its tag. So a
 * rule on the tag is about an answer that was on its way when the command had been carried out.
 */
#include "tests/lib/world.h"

#include <string.h>

enum { FIRED_MS_MAX = 20000 };

static const char prepare[] = "PREPARE TRANSACTION";
static const char commit[] = "COMMIT PREPARED";
static const char rollback[] = "ROLLBACK PREPARED";

static const char transfer[] = ONE_CALL("'label':'net',", TRANSFER(10));
static const char short_transfer[] = ONE_CALL("'label':'net','timeout_ms':700,", TRANSFER(10));
/* The branch in bank_a is refused when that in bank_b has been prepared. */
static const char refused_late[] =
    ONE_CALL("'label':'net',",
             BRANCH("bank_a", DEBIT(10) "," AT_GATE ",{'sql':'INSERT INTO promise VALUES "
                                        "(4711)'}") "," BRANCH("bank_b", CREDIT(10)));

#define CHECK_FIRED(proxy, rule) CU_ASSERT_TRUE(proxy_wait_fired(proxy, rule, FIRED_MS_MAX))

static struct world *open_world(enum world_mode mode) {
  return world_open(mode, &(struct world_options){.proxies = PROXY_DATABASES,
                                                  .settings = "agent_timeout = 2s\n",
                                                  .database = "call_timeout = 500ms\n"});
}

static bool is_up(struct world *w, const char *participant) {
  const struct reply *reply = api_get(w->api, "/v1/participants/%s", participant);
  return strcmp(reply_string(reply, "/state"), "up") == 0;
}

/* One that comes next works: nothing of what happened is in its way. */
static void check_serves(struct world *w, int64_t moved_before) {
  UNTIL(is_up(w, "bank_a") && is_up(w, "bank_b"));
  UNTIL(api_run(w->api, ONE_CALL("'label':'next',", TRANSFER(1)))->status == 200);
  CHECK_MOVED(w, moved_before + 1);
}

static void check_aborted(struct world *w, const struct reply *reply) {
  CHECK_PROBLEM(reply, 409, "aborted");
  UNTIL(strcmp(api_outcome(w->api, "net"), "aborted") == 0);
  world_wait_nothing_prepared(w);
  CHECK_MOVED(w, 0);
  check_serves(w, 0);
}

static void check_committed(struct world *w, const struct reply *reply) {
  CHECK_STATUS(reply, 200);
  CHECK_STRING(reply, "/outcome", "committed");
  CHECK_STRING(reply, "/branches/0/state", "committed");
  CHECK_STRING(reply, "/branches/1/state", "committed");
  CHECK_MOVED(w, 10);
  check_serves(w, 10);
}

/* ---- prepare --------------------------------------------------------------------------------- */

static const struct reply *run_with_rule(struct world *w, const char *body,
                                         enum proxy_direction direction, const char *bytes,
                                         enum proxy_action action) {
  unsigned rule = proxy_on(w->to_database[BANK_B], direction, bytes, action);
  const struct reply *reply = api_post(w->api, "/v1/transactions", "%s", body);
  CHECK_FIRED(w->to_database[BANK_B], rule);
  return reply;
}

static void connection_lost_before_prepare_aborts(enum world_mode mode) {
  struct world *w = open_world(mode);
  check_aborted(w, run_with_rule(w, transfer, PROXY_TO_TARGET, prepare, PROXY_CUT));
  world_close(w);
}
IN_BOTH_MODES(connection_lost_before_prepare_aborts)

/* The branch is prepared; its session has gone with the answer. It is found, and counts. */
static void connection_lost_after_prepare_is_looked_up(enum world_mode mode) {
  struct world *w = open_world(mode);
  check_committed(w, run_with_rule(w, transfer, PROXY_TO_CLIENT, prepare, PROXY_CUT));
  world_close(w);
}
IN_BOTH_MODES(connection_lost_after_prepare_is_looked_up)

static void answer_to_prepare_truncated_is_looked_up(enum world_mode mode) {
  struct world *w = open_world(mode);
  check_committed(w, run_with_rule(w, transfer, PROXY_TO_CLIENT, "PREPARE TRANS", PROXY_TRUNCATE));
  world_close(w);
}
IN_BOTH_MODES(answer_to_prepare_truncated_is_looked_up)

/* The server has the command and may be about to carry it out when it is looked up: the session
 * must have ended before an absence says anything. */
static void connection_lost_behind_prepare_ends_all_alike(enum world_mode mode) {
  struct world *w = open_world(mode);
  const struct reply *reply =
      run_with_rule(w, transfer, PROXY_TO_TARGET, prepare, PROXY_PASS_AND_CUT);
  if (reply->status == 200)
    check_committed(w, reply);
  else
    check_aborted(w, reply);
  world_close(w);
}
IN_BOTH_MODES(connection_lost_behind_prepare_ends_all_alike)

/* The look-up has no luck, either. */
static void look_up_lost_after_a_lost_prepare_ends_all_alike(enum world_mode mode) {
  struct world *w = open_world(mode);
  struct proxy *proxy = w->to_database[BANK_B];
  unsigned look_up = proxy_on(proxy, PROXY_TO_TARGET, "pg_prepared_xacts", PROXY_CUT);
  const struct reply *reply = run_with_rule(w, transfer, PROXY_TO_CLIENT, prepare, PROXY_CUT);
  CHECK_FIRED(proxy, look_up);
  if (reply->status == 200)
    check_committed(w, reply);
  else
    check_aborted(w, reply);
  world_close(w);
}
IN_BOTH_MODES(look_up_lost_after_a_lost_prepare_ends_all_alike)

/* The command waits in the network until the transaction has been aborted, there, too. */
static void prepare_after_the_abort_leaves_nothing(enum world_mode mode) {
  struct world *w = open_world(mode);
  const struct reply *reply =
      run_with_rule(w, short_transfer, PROXY_TO_TARGET, prepare, PROXY_HOLD);
  CHECK_PROBLEM(reply, 409, "aborted");
  UNTIL(strcmp(api_outcome(w->api, "net"), "aborted") == 0);
  proxy_release(w->to_database[BANK_B]);
  check_aborted(w, reply);
  world_close(w);
}
IN_BOTH_MODES(prepare_after_the_abort_leaves_nothing)

static void vote_after_the_abort_is_ignored(enum world_mode mode) {
  struct world *w = open_world(mode);
  const struct reply *reply =
      run_with_rule(w, short_transfer, PROXY_TO_CLIENT, prepare, PROXY_HOLD);
  CHECK_PROBLEM(reply, 409, "aborted");
  CHECK_STRING(reply, "/transaction/cause/kind", "timeout");
  proxy_release(w->to_database[BANK_B]);
  check_aborted(w, reply);
  world_close(w);
}
IN_BOTH_MODES(vote_after_the_abort_is_ignored)

/* ---- commit ---------------------------------------------------------------------------------- */

/* Several times in a row, at both databases. */
static void check_lost_commit_commits(enum world_mode mode, enum proxy_direction direction,
                                      const char *bytes, enum proxy_action action, unsigned times) {
  struct world *w = open_world(mode);
  unsigned last[BANKS];
  for (int bank = 0; bank < BANKS; bank++)
    for (unsigned i = 0; i < times; i++)
      last[bank] = proxy_on(w->to_database[bank], direction, bytes, action);
  const struct reply *reply = api_post(w->api, "/v1/transactions", "%s", transfer);
  for (int bank = 0; bank < BANKS; bank++)
    CHECK_FIRED(w->to_database[bank], last[bank]);
  check_committed(w, reply);
  world_close(w);
}

static void connection_lost_before_commit_prepared_is_retried(enum world_mode mode) {
  check_lost_commit_commits(mode, PROXY_TO_TARGET, commit, PROXY_CUT, 3);
}
IN_BOTH_MODES(connection_lost_before_commit_prepared_is_retried)

/* Once: it has been carried out then, and is not said again but looked up. */
static void connection_lost_after_commit_prepared_is_looked_up(enum world_mode mode) {
  check_lost_commit_commits(mode, PROXY_TO_CLIENT, commit, PROXY_CUT, 1);
}
IN_BOTH_MODES(connection_lost_after_commit_prepared_is_looked_up)

static void answer_to_commit_prepared_truncated_is_looked_up(enum world_mode mode) {
  check_lost_commit_commits(mode, PROXY_TO_CLIENT, "COMMIT PREP", PROXY_TRUNCATE, 1);
}
IN_BOTH_MODES(answer_to_commit_prepared_truncated_is_looked_up)

static void connection_lost_behind_commit_prepared_is_looked_up(enum world_mode mode) {
  check_lost_commit_commits(mode, PROXY_TO_TARGET, commit, PROXY_PASS_AND_CUT, 1);
}
IN_BOTH_MODES(connection_lost_behind_commit_prepared_is_looked_up)

/* The command waits in the network, the branch is finished on another connection, then it arrives. */
static void commit_prepared_overtaken_by_its_repetition_is_harmless(enum world_mode mode) {
  struct world *w = open_world(mode);
  struct proxy *proxy = w->to_database[BANK_B];
  unsigned held = proxy_on(proxy, PROXY_TO_TARGET, commit, PROXY_HOLD);
  unsigned done = proxy_on(proxy, PROXY_TO_CLIENT, commit, PROXY_PASS);
  struct async *call = async_post(w->api, "/v1/transactions", transfer);
  CHECK_FIRED(proxy, held);
  CHECK_FIRED(proxy, done);
  proxy_release(proxy);
  check_committed(w, async_finish(call));
  world_close(w);
}
IN_BOTH_MODES(commit_prepared_overtaken_by_its_repetition_is_harmless)

/* ---- roll back ------------------------------------------------------------------------------- */

static void check_lost_rollback_aborts(enum world_mode mode, enum proxy_direction direction,
                                       enum proxy_action action, unsigned times) {
  struct world *w = open_world(mode);
  struct proxy *proxy = w->to_database[BANK_B];
  unsigned last = 0;
  for (unsigned i = 0; i < times; i++)
    last = proxy_on(proxy, direction, rollback, action);
  PGconn *gate = gate_close(w, BANK_A);
  struct async *call = async_post(w->api, "/v1/transactions", refused_late);
  gate_wait_half_voted(w);
  gate_open(gate);
  const struct reply *reply = async_finish(call);
  CHECK_FIRED(proxy, last);
  CHECK_STRING(reply, "/transaction/cause/sqlstate", "23503");
  check_aborted(w, reply);
  world_close(w);
}

static void connection_lost_before_rollback_prepared_is_retried(enum world_mode mode) {
  check_lost_rollback_aborts(mode, PROXY_TO_TARGET, PROXY_CUT, 3);
}
IN_BOTH_MODES(connection_lost_before_rollback_prepared_is_retried)

static void connection_lost_after_rollback_prepared_is_looked_up(enum world_mode mode) {
  check_lost_rollback_aborts(mode, PROXY_TO_CLIENT, PROXY_CUT, 1);
}
IN_BOTH_MODES(connection_lost_after_rollback_prepared_is_looked_up)

/* ---- one phase ------------------------------------------------------------------------------- */

static void check_lost_one_phase(enum world_mode mode, enum proxy_direction direction,
                                 enum proxy_action action, const char *expected) {
  struct world *w = open_world(mode);
  struct proxy *proxy = w->to_database[BANK_B];
  (void)proxy_on(proxy, direction, "COMMIT", PROXY_PASS); /* of the barrier before the vote */
  unsigned rule = proxy_on(proxy, direction, "COMMIT", action);
  const struct reply *reply =
      api_run(w->api, ONE_CALL("'label':'one',", BRANCH("bank_b", CREDIT(10))));
  CHECK_FIRED(proxy, rule);
  CU_ASSERT(reply->status == 200 || reply->status == 409);
  const char *told = reply->status == 200 ? "committed" : "aborted";
  if (expected) CU_ASSERT_STRING_EQUAL(told, expected);
  const char *id = json_string_value(json_object_get(api_find(w->api, "one"), "id"));
  for (int i = 0; i < 2; i++) {
    CHECK_STRING(api_get(w->api, "/v1/transactions/%s?wait=applied", id), "/outcome", told);
    CU_ASSERT_EQUAL(world_balance(w, BANK_B, 1), ACCOUNT_BALANCE + (reply->status == 200 ? 10 : 0));
    world_restart(w, COORDINATOR);
  }
  world_close(w);
}

static void connection_lost_before_a_sole_commit_aborts(enum world_mode mode) {
  check_lost_one_phase(mode, PROXY_TO_TARGET, PROXY_CUT, "aborted");
}
IN_BOTH_MODES(connection_lost_before_a_sole_commit_aborts)

static void connection_lost_after_a_sole_commit_is_committed(enum world_mode mode) {
  check_lost_one_phase(mode, PROXY_TO_CLIENT, PROXY_CUT, "committed");
}
IN_BOTH_MODES(connection_lost_after_a_sole_commit_is_committed)

static void connection_lost_behind_a_sole_commit_tells_the_truth(enum world_mode mode) {
  check_lost_one_phase(mode, PROXY_TO_TARGET, PROXY_PASS_AND_CUT, NULL);
}
IN_BOTH_MODES(connection_lost_behind_a_sole_commit_tells_the_truth)

/* ---- a partition ----------------------------------------------------------------------------- */

static void check_partition_before_the_votes(enum world_mode mode,
                                             const struct proxy_faults *faults) {
  struct world *w = open_world(mode);
  proxy_set(w->to_database[BANK_B], faults);
  const struct reply *reply = api_post(w->api, "/v1/transactions", "%s", short_transfer);
  CHECK_PROBLEM(reply, 409, "aborted");
  proxy_set(w->to_database[BANK_B], &(struct proxy_faults){.refuse = false});
  check_aborted(w, reply);
  world_close(w);
}

static void partition_to_the_database_aborts(enum world_mode mode) {
  check_partition_before_the_votes(mode, &(struct proxy_faults){.hold_to_target = true});
}
IN_BOTH_MODES(partition_to_the_database_aborts)

static void partition_from_the_database_aborts(enum world_mode mode) {
  check_partition_before_the_votes(mode, &(struct proxy_faults){.hold_to_client = true});
}
IN_BOTH_MODES(partition_from_the_database_aborts)

/* The decision has been made; the coordinator is killed in the partition, too. */
static void check_partition_after_the_decision(enum world_mode mode,
                                               const struct proxy_faults *faults) {
  struct world *w = open_world(mode);
  struct proxy *proxy = w->to_database[BANK_B];
  unsigned decided = proxy_on(proxy, PROXY_TO_TARGET, commit, PROXY_HOLD);
  struct async *call = async_post(w->api, "/v1/transactions", transfer);
  CHECK_FIRED(proxy, decided);
  proxy_set(proxy, faults);
  proxy_release(proxy);
  UNTIL(strcmp(api_outcome(w->api, "net"), "committed") == 0);
  world_restart(w, COORDINATOR);
  CU_ASSERT_EQUAL(async_finish(call)->status, 0);
  CU_ASSERT_STRING_EQUAL(api_outcome(w->api, "net"), "committed");
  proxy_set(proxy, &(struct proxy_faults){.refuse = false});
  const char *id = json_string_value(json_object_get(api_find(w->api, "net"), "id"));
  check_committed(w, api_get(w->api, "/v1/transactions/%s?wait=applied", id));
  world_close(w);
}

static void partition_to_the_database_after_the_decision_commits(enum world_mode mode) {
  check_partition_after_the_decision(mode, &(struct proxy_faults){.hold_to_target = true});
}
IN_BOTH_MODES(partition_to_the_database_after_the_decision_commits)

static void partition_from_the_database_after_the_decision_commits(enum world_mode mode) {
  check_partition_after_the_decision(mode, &(struct proxy_faults){.hold_to_client = true});
}
IN_BOTH_MODES(partition_from_the_database_after_the_decision_commits)

SUITE(network_database, BOTH(connection_lost_before_prepare_aborts),
      BOTH(connection_lost_after_prepare_is_looked_up),
      BOTH(answer_to_prepare_truncated_is_looked_up),
      BOTH(connection_lost_behind_prepare_ends_all_alike),
      BOTH(look_up_lost_after_a_lost_prepare_ends_all_alike),
      BOTH(prepare_after_the_abort_leaves_nothing), BOTH(vote_after_the_abort_is_ignored),
      BOTH(connection_lost_before_commit_prepared_is_retried),
      BOTH(connection_lost_after_commit_prepared_is_looked_up),
      BOTH(answer_to_commit_prepared_truncated_is_looked_up),
      BOTH(connection_lost_behind_commit_prepared_is_looked_up),
      BOTH(commit_prepared_overtaken_by_its_repetition_is_harmless),
      BOTH(connection_lost_before_rollback_prepared_is_retried),
      BOTH(connection_lost_after_rollback_prepared_is_looked_up),
      BOTH(connection_lost_before_a_sole_commit_aborts),
      BOTH(connection_lost_after_a_sole_commit_is_committed),
      BOTH(connection_lost_behind_a_sole_commit_tells_the_truth),
      BOTH(partition_to_the_database_aborts), BOTH(partition_from_the_database_aborts),
      BOTH(partition_to_the_database_after_the_decision_commits),
      BOTH(partition_from_the_database_after_the_decision_commits))
