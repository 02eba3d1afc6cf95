/* A bad network between the coordinator and its agents: each message of a transfer lost, late,
 * repeated, cut short or meant for another. What must come out: both branches end alike, what was
 * told holds, nothing stays prepared.
 *
 * The agents are reached through proxies (cli/proxy.h). A proxy's rule says which message it is, so
 * no test depends on a time, other than those whose subject is a timeout. There is no such network in
 * an embedded agent; the hop to the databases, which both have, is in test_network_database.c.
 */
#include "tests/lib/world.h"

#include <signal.h>
#include <string.h>

enum { FIRED_MS_MAX = 20000 };

static const char run[] = "\"run\":{";
static const char decide[] = "\"decide\":{";
static const char vote[] = "\"vote\":\"yes\"";
static const char committed[] = "\"outcome\":\"committed\"";

static const char transfer[] = ONE_CALL("'label':'net',", TRANSFER(10));
static const char short_transfer[] = ONE_CALL("'label':'net','timeout_ms':500,", TRANSFER(10));

static struct world *open_world(void) {
  return world_open(WORLD_AGENTS, &(struct world_options){.proxies = PROXY_AGENTS,
                                                          .settings = "agent_timeout = 500ms\n"});
}

static bool is_up(struct world *w, const char *participant) {
  const struct reply *reply = api_get(w->api, "/v1/participants/%s", participant);
  return strcmp(reply_string(reply, "/state"), "up") == 0;
}

#define CHECK_FIRED(proxy, rule) CU_ASSERT_TRUE(proxy_wait_fired(proxy, rule, FIRED_MS_MAX))

/* One that comes next works: nothing of what happened is in its way. */
static void check_serves(struct world *w, int64_t moved_before) {
  UNTIL(is_up(w, "bank_a") && is_up(w, "bank_b"));
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(1))), 200);
  CHECK_MOVED(w, moved_before + 1);
}

static void check_aborted(struct world *w, const struct reply *reply, const char *kind) {
  CHECK_PROBLEM(reply, 409, "aborted");
  CHECK_STRING(reply, "/transaction/cause/kind", kind);
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

/* ---- prepare, vote --------------------------------------------------------------------------- */

/* `action` at the bytes, on every connection that was kept too: there a loss is made good by sending the
 * request once more. */
enum { KEPT_MAX = 4 };
static void check_lost_run_aborts(enum proxy_direction direction, const char *bytes,
                                  enum proxy_action action) {
  struct world *w = open_world();
  struct proxy *proxy = w->to_agent[BANK_B];
  unsigned rules[KEPT_MAX + 1];
  for (int i = 0; i <= KEPT_MAX; i++)
    rules[i] = proxy_on(proxy, direction, bytes, action);
  const struct reply *reply = api_post(w->api, "/v1/transactions", "%s", transfer);
  CHECK_FIRED(proxy, rules[0]);
  for (int i = 1; i <= KEPT_MAX; i++)
    proxy_forget(proxy, rules[i]);
  check_aborted(w, reply, "unreachable");
  world_close(w);
}

static void prepare_lost_aborts(void) {
  check_lost_run_aborts(PROXY_TO_TARGET, run, PROXY_CUT);
}

static void prepare_lost_after_it_arrived_aborts(void) {
  check_lost_run_aborts(PROXY_TO_TARGET, run, PROXY_PASS_AND_CUT);
}

static void prepare_cut_in_its_body_aborts(void) {
  check_lost_run_aborts(PROXY_TO_TARGET, "\"statements\":", PROXY_TRUNCATE);
}

static void vote_lost_aborts(void) {
  check_lost_run_aborts(PROXY_TO_TARGET, run, PROXY_CUT_ANSWER);
}

static void vote_reset_in_its_body_aborts(void) {
  check_lost_run_aborts(PROXY_TO_CLIENT, vote, PROXY_CUT);
}

static void vote_truncated_aborts(void) {
  check_lost_run_aborts(PROXY_TO_CLIENT, vote, PROXY_TRUNCATE);
}

/* The rest of a transfer is not waited for. */
static void vote_that_does_not_come_aborts_at_the_timeout(void) {
  struct world *w = open_world();
  struct proxy *proxy = w->to_agent[BANK_B];
  unsigned rule = proxy_on(proxy, PROXY_TO_TARGET, run, PROXY_HOLD);
  const struct reply *reply = api_post(w->api, "/v1/transactions", "%s", short_transfer);
  CHECK_FIRED(proxy, rule);
  CHECK_PROBLEM(reply, 409, "aborted");
  CHECK_STRING(reply, "/transaction/cause/kind", "timeout");
  proxy_cut_all(proxy);
  check_aborted(w, reply, "timeout");
  world_close(w);
}

/* A kept connection dies in the request: the client sends it once more, the vote is the same. */
static void prepare_sent_again_by_the_client_runs_once(void) {
  struct world *w = open_world();
  struct proxy *proxy = w->to_agent[BANK_B];
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(1))), 200);
  unsigned rule = proxy_on(proxy, PROXY_TO_TARGET, run, PROXY_CUT_ANSWER);
  CHECK_STATUS(api_post(w->api, "/v1/transactions", "%s", transfer), 200);
  CHECK_FIRED(proxy, rule);
  CHECK_MOVED(w, 11);
  check_serves(w, 11);
  world_close(w);
}

static void prepare_repeated_runs_once(void) {
  struct world *w = open_world();
  struct proxy *proxy = w->to_agent[BANK_B];
  unsigned rule = proxy_on(proxy, PROXY_TO_TARGET, run, PROXY_REPEAT);
  const struct reply *reply = api_post(w->api, "/v1/transactions", "%s", transfer);
  CHECK_FIRED(proxy, rule);
  check_committed(w, reply);
  CU_ASSERT_EQUAL(proxy_counts(proxy).repeated, 1);
  world_close(w);
}

/* What a rule has kept back arrives now; on return the agent has answered it. */
static void deliver_late(struct proxy *proxy) {
  proxy_release(proxy);
  UNTIL(proxy_counts(proxy).answered == 1);
}

static void prepare_repeated_after_the_commit_is_refused(void) {
  struct world *w = open_world();
  struct proxy *proxy = w->to_agent[BANK_B];
  (void)proxy_on(proxy, PROXY_TO_TARGET, run, PROXY_REPEAT_LATE);
  check_committed(w, api_post(w->api, "/v1/transactions", "%s", transfer));
  deliver_late(proxy);
  CU_ASSERT_EQUAL(world_prepared(w, BANK_B), 0);
  CHECK_MOVED(w, 11);
  world_close(w);
}

/* The prepare arrives when its transaction has long been aborted, there, too. */
static void prepare_after_the_abort_is_refused(void) {
  struct world *w = open_world();
  struct proxy *proxy = w->to_agent[BANK_B];
  unsigned held = proxy_on(proxy, PROXY_TO_TARGET, run, PROXY_STRAY);
  unsigned told = proxy_on(proxy, PROXY_TO_CLIENT, "\"outcome\":\"aborted\"", PROXY_PASS);
  const struct reply *reply = api_post(w->api, "/v1/transactions", "%s", short_transfer);
  CHECK_FIRED(proxy, held);
  CHECK_PROBLEM(reply, 409, "aborted");
  CHECK_FIRED(proxy, told);
  deliver_late(proxy);
  CU_ASSERT_EQUAL(world_prepared(w, BANK_B), 0);
  check_aborted(w, reply, "timeout");
  world_close(w);
}

static void vote_after_the_abort_is_ignored(void) {
  struct world *w = open_world();
  struct proxy *proxy = w->to_agent[BANK_B];
  unsigned held = proxy_on(proxy, PROXY_TO_CLIENT, vote, PROXY_HOLD);
  unsigned told = proxy_on(proxy, PROXY_TO_CLIENT, "\"outcome\":\"aborted\"", PROXY_PASS);
  const struct reply *reply = api_post(w->api, "/v1/transactions", "%s", short_transfer);
  CHECK_FIRED(proxy, held);
  CHECK_FIRED(proxy, told);
  proxy_release(proxy);
  check_aborted(w, reply, "timeout");
  world_close(w);
}

/* ---- commit ---------------------------------------------------------------------------------- */

static void check_lost_decision_commits(enum proxy_direction direction, const char *bytes,
                                        enum proxy_action action) {
  enum { TIMES = 3 };
  struct world *w = open_world();
  unsigned rules[BANKS][TIMES];
  for (int bank = 0; bank < BANKS; bank++)
    for (int i = 0; i < TIMES; i++)
      rules[bank][i] = proxy_on(w->to_agent[bank], direction, bytes, action);
  const struct reply *reply = api_post(w->api, "/v1/transactions", "%s", transfer);
  for (int bank = 0; bank < BANKS; bank++)
    for (int i = 0; i < TIMES; i++)
      CHECK_FIRED(w->to_agent[bank], rules[bank][i]);
  check_committed(w, reply);
  world_close(w);
}

static void commit_lost_is_retried_until_confirmed(void) {
  check_lost_decision_commits(PROXY_TO_TARGET, decide, PROXY_CUT);
}

static void commit_lost_after_it_arrived_is_retried_until_confirmed(void) {
  check_lost_decision_commits(PROXY_TO_TARGET, decide, PROXY_PASS_AND_CUT);
}

static void commit_confirmation_lost_is_asked_again(void) {
  check_lost_decision_commits(PROXY_TO_TARGET, decide, PROXY_CUT_ANSWER);
}

static void commit_confirmation_reset_in_its_body_is_asked_again(void) {
  check_lost_decision_commits(PROXY_TO_CLIENT, committed, PROXY_CUT);
}

static void commit_confirmation_truncated_is_asked_again(void) {
  check_lost_decision_commits(PROXY_TO_CLIENT, committed, PROXY_TRUNCATE);
}

static void commit_repeated_is_harmless(void) {
  struct world *w = open_world();
  for (int bank = 0; bank < BANKS; bank++)
    (void)proxy_on(w->to_agent[bank], PROXY_TO_TARGET, decide, PROXY_REPEAT);
  check_committed(w, api_post(w->api, "/v1/transactions", "%s", transfer));
  for (int bank = 0; bank < BANKS; bank++)
    CU_ASSERT_EQUAL(proxy_counts(w->to_agent[bank]).repeated, 1);
  world_close(w);
}

/* The commit waits in the network, is sent again and confirmed, and then arrives at last. */
static void commit_overtaken_by_its_repetition_is_harmless(void) {
  struct world *w =
      world_open(WORLD_AGENTS, &(struct world_options){.proxies = PROXY_AGENTS,
                                                       .settings = "agent_timeout = 100ms\n"});
  struct proxy *proxy = w->to_agent[BANK_B];
  unsigned held = proxy_on(proxy, PROXY_TO_TARGET, decide, PROXY_STRAY);
  const struct reply *reply = api_post(w->api, "/v1/transactions", "%s", transfer);
  CHECK_FIRED(proxy, held);
  check_committed(w, reply);
  deliver_late(proxy);
  CHECK_MOVED(w, 11);
  check_serves(w, 11);
  world_close(w);
}

/* A later transaction's messages overtake the decision of an earlier one. */
static void commit_that_comes_after_a_later_prepare_commits_both(void) {
  struct world *w = open_world();
  struct proxy *proxy = w->to_agent[BANK_B];
  unsigned held = proxy_on(proxy, PROXY_TO_TARGET, decide, PROXY_HOLD);
  struct async *first = async_post(w->api, "/v1/transactions", transfer);
  CHECK_FIRED(proxy, held);
  unsigned voted = proxy_on(proxy, PROXY_TO_CLIENT, vote, PROXY_PASS);
  struct async *second = async_post(
      w->api, "/v1/transactions",
      ONE_CALL("'label':'second',",
               BRANCH("bank_a", STATEMENT("INSERT INTO ledger VALUES ($$second$$)")) "," BRANCH(
                   "bank_b", STATEMENT("INSERT INTO ledger VALUES ($$second$$)"))));
  CHECK_FIRED(proxy, voted);
  UNTIL(strcmp(api_outcome(w->api, "second"), "committed") == 0); /* decided */
  proxy_release(proxy);
  CHECK_STATUS(async_finish(second), 200);
  CHECK_STATUS(async_finish(first), 200);
  for (int bank = 0; bank < BANKS; bank++)
    CU_ASSERT_EQUAL(world_integer(w, bank, "SELECT count(*) FROM ledger"), 1);
  CHECK_MOVED(w, 10);
  world_close(w);
}

/* The abort names a branch that has been committed: what is stays, is told, and is alarmed. */
static void abort_after_the_commit_is_refused_and_alarmed(void) {
  struct world *w = open_world();
  const struct reply *reply = api_post(w->api, "/v1/transactions", "%s", transfer);
  CHECK_STATUS(reply, 200);
  const char *gid = reply_string(reply, "/branches/1/gid");
  const char *epoch = strchr(gid + strlen("assent_"), '_') + 1;
  struct api *agent =
      api_new_of_agent(api_text(w->api, "http://127.0.0.1:%d", (int)w->ports[AGENT_B]));
  for (unsigned i = 1; i <= 2; i++) {
    const struct reply *told =
        api_post(agent, "/v1/databases/bank_b/messages",
                 "{'messages':[{'id':%u,'decide':{'gid':'%s','epoch':%.*s,'decision':'abort'}}]}",
                 i, gid, (int)strcspn(epoch, "_"), epoch);
    CHECK_STATUS(told, 200);
    CHECK_STRING(told, "/decide/outcome", "committed");
    CU_ASSERT_EQUAL(world_logged(w, AGENT_B, "branch_against_decision"), 1);
  }
  api_free(agent);
  check_committed(w, api_read(w->api, reply_string(reply, "/id")));
  world_close(w);
}

/* ---- an answer for another ------------------------------------------------------------------- */

/* The agent's answers are mixed up: the one that comes is of another branch. */
static void vote_of_another_branch_is_refused(void) {
  struct world *w = open_world();
  unsigned rule = proxy_replace(w->to_agent[BANK_B], PROXY_TO_CLIENT, "_2\",\"vote\":\"yes\"",
                                "_3\",\"vote\":\"yes\"");
  const struct reply *reply = api_post(w->api, "/v1/transactions", "%s", transfer);
  CHECK_FIRED(w->to_agent[BANK_B], rule);
  check_aborted(w, reply, "unreachable");
  world_close(w);
}

static void confirmation_of_another_branch_is_refused(void) {
  struct world *w = open_world();
  unsigned rule =
      proxy_replace(w->to_agent[BANK_B], PROXY_TO_CLIENT, "_2\",\"outcome\"", "_3\",\"outcome\"");
  const struct reply *reply = api_post(w->api, "/v1/transactions", "%s", transfer);
  CHECK_FIRED(w->to_agent[BANK_B], rule);
  check_committed(w, reply);
  world_close(w);
}

/* The answer is of an older transaction, on the connection that both have used. */
static void vote_of_another_transaction_is_refused(void) {
  struct world *w = open_world();
  struct proxy *proxy = w->to_agent[BANK_B];
  const struct reply *first = api_run(w->api, ONE_CALL("", TRANSFER(1)));
  const char *old = reply_string(first, "/branches/1/gid");
  PGconn *gate = gate_close(w, BANK_B);
  struct async *call = async_post(
      w->api, "/v1/transactions",
      ONE_CALL("'label':'net',",
               BRANCH("bank_a", DEBIT(10)) "," BRANCH("bank_b", CREDIT(10) "," AT_GATE)));
  UNTIL(gate_waiting(w, BANK_B) == 1 && api_find(w->api, "net"));
  const json_t *branches = json_object_get(api_find(w->api, "net"), "branches");
  const char *new = json_string_value(json_object_get(json_array_get(branches, 1), "gid"));
  unsigned rule = proxy_replace(proxy, PROXY_TO_CLIENT, new, old);
  gate_open(gate);
  const struct reply *reply = async_finish(call);
  CHECK_FIRED(proxy, rule);
  CHECK_PROBLEM(reply, 409, "aborted");
  UNTIL(strcmp(api_outcome(w->api, "net"), "aborted") == 0);
  world_wait_nothing_prepared(w);
  CHECK_MOVED(w, 1);
  check_serves(w, 1);
  world_close(w);
}

/* ---- a partition ----------------------------------------------------------------------------- */

/* Nothing reaches the agent, or nothing comes from it, from the start of the transfer on. */
static void check_partition_before_the_votes(const struct proxy_faults *faults) {
  struct world *w = open_world();
  proxy_set(w->to_agent[BANK_B], faults);
  const struct reply *reply = api_post(w->api, "/v1/transactions", "%s", short_transfer);
  CHECK_PROBLEM(reply, 409, "aborted");
  proxy_set(w->to_agent[BANK_B], &(struct proxy_faults){.refuse = false});
  check_aborted(w, reply, "timeout");
  world_close(w);
}

static void partition_to_the_agent_aborts(void) {
  check_partition_before_the_votes(&(struct proxy_faults){.hold_to_target = true});
}

static void partition_from_the_agent_aborts(void) {
  check_partition_before_the_votes(&(struct proxy_faults){.hold_to_client = true});
}

/* It begins when the decision is on its way. The coordinator is restarted in it, too. */
static void check_partition_after_the_decision(const struct proxy_faults *faults) {
  struct world *w = open_world();
  struct proxy *proxy = w->to_agent[BANK_B];
  unsigned decided = proxy_on(proxy, PROXY_TO_TARGET, decide, PROXY_HOLD);
  struct async *call = async_post(w->api, "/v1/transactions", transfer);
  CHECK_FIRED(proxy, decided);
  proxy_set(proxy, faults);
  if (faults->refuse)
    proxy_cut_all(proxy); /* else the decision goes on over a connection there is */
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

static void partition_to_the_agent_after_the_decision_commits(void) {
  check_partition_after_the_decision(&(struct proxy_faults){.hold_to_target = true});
}

static void partition_from_the_agent_after_the_decision_commits(void) {
  check_partition_after_the_decision(&(struct proxy_faults){.hold_to_client = true});
}

static void agent_that_refuses_after_the_decision_commits_later(void) {
  check_partition_after_the_decision(&(struct proxy_faults){.refuse = true});
}

/* ---- an agent that sleeps -------------------------------------------------------------------- */

/* Stopped when it has been asked to prepare, until the transaction has been aborted. */
static void agent_that_slept_over_the_timeout_leaves_nothing(void) {
  struct world *w = open_world();
  struct proxy *proxy = w->to_agent[BANK_B];
  unsigned asked = proxy_on(proxy, PROXY_TO_TARGET, run, PROXY_HOLD);
  struct async *call = async_post(w->api, "/v1/transactions", short_transfer);
  CHECK_FIRED(proxy, asked);
  process_kill(w->processes[AGENT_B], SIGSTOP);
  proxy_release(proxy);
  const struct reply *reply = async_finish(call);
  process_kill(w->processes[AGENT_B], SIGCONT);
  check_aborted(w, reply, "timeout");
  world_close(w);
}

/* Stopped when the decision is under way: it carries it out when it goes on. */
static void agent_that_slept_over_the_decision_commits(void) {
  struct world *w =
      world_open(WORLD_AGENTS, &(struct world_options){.proxies = PROXY_AGENTS,
                                                       .settings = "agent_timeout = 100ms\n"});
  struct proxy *proxy = w->to_agent[BANK_B];
  unsigned decided = proxy_on(proxy, PROXY_TO_TARGET, decide, PROXY_HOLD);
  struct async *call = async_post(w->api, "/v1/transactions", transfer);
  CHECK_FIRED(proxy, decided);
  process_kill(w->processes[AGENT_B], SIGSTOP);
  proxy_release(proxy);
  UNTIL(!is_up(w, "bank_b")); /* it has waited in vain */
  CU_ASSERT_STRING_EQUAL(api_outcome(w->api, "net"), "committed");
  process_kill(w->processes[AGENT_B], SIGCONT);
  check_committed(w, async_finish(call));
  world_close(w);
}

SUITE(network, CASE(prepare_lost_aborts), CASE(prepare_lost_after_it_arrived_aborts),
      CASE(prepare_cut_in_its_body_aborts), CASE(vote_lost_aborts),
      CASE(vote_reset_in_its_body_aborts), CASE(vote_truncated_aborts),
      CASE(vote_that_does_not_come_aborts_at_the_timeout),
      CASE(prepare_sent_again_by_the_client_runs_once), CASE(prepare_repeated_runs_once),
      CASE(prepare_repeated_after_the_commit_is_refused), CASE(prepare_after_the_abort_is_refused),
      CASE(vote_after_the_abort_is_ignored), CASE(commit_lost_is_retried_until_confirmed),
      CASE(commit_lost_after_it_arrived_is_retried_until_confirmed),
      CASE(commit_confirmation_lost_is_asked_again),
      CASE(commit_confirmation_reset_in_its_body_is_asked_again),
      CASE(commit_confirmation_truncated_is_asked_again), CASE(commit_repeated_is_harmless),
      CASE(commit_overtaken_by_its_repetition_is_harmless),
      CASE(commit_that_comes_after_a_later_prepare_commits_both),
      CASE(abort_after_the_commit_is_refused_and_alarmed), CASE(vote_of_another_branch_is_refused),
      CASE(confirmation_of_another_branch_is_refused), CASE(vote_of_another_transaction_is_refused),
      CASE(partition_to_the_agent_aborts), CASE(partition_from_the_agent_aborts),
      CASE(partition_to_the_agent_after_the_decision_commits),
      CASE(partition_from_the_agent_after_the_decision_commits),
      CASE(agent_that_refuses_after_the_decision_commits_later),
      CASE(agent_that_slept_over_the_timeout_leaves_nothing),
      CASE(agent_that_slept_over_the_decision_commits))
