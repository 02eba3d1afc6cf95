/* What a database can be short of, or others can do to it, without being down: slots for prepared
 * transactions, rights, locks held by DDL, something prepared for long. bank_b is a server of its own, so
 * that its settings and roles can be played with.
 */
#include <stdio.h>
#include <string.h>

#include "tests/lib/pair.h"

static struct world *open_world(enum world_mode mode, struct pair *pair, const char *settings) {
  return world_open(mode, &(struct world_options){.server_b = pair->primary,
                                                  .reach_b = pair->reach,
                                                  .settings = settings});
}

static void close_world(struct world *w) {
  world_close(w);
  pair_close();
}

static const char transfer_at_gate[] =
    ONE_CALL("'timeout_ms':20000,'label':'waits',",
             BRANCH("bank_a", DEBIT(10) "," AT_GATE) "," BRANCH("bank_b", CREDIT(10)));

/* bank_b is prepared, bank_a waits at its gate. */
static struct async *start_transfer(struct world *w) {
  struct async *call = async_post(w->api, "/v1/transactions", transfer_at_gate);
  gate_wait_half_voted(w);
  return call;
}

/* ---- prepared slots --------------------------------------------------------------------------- */

static void end_fillers(struct world *w, int count) {
  for (int i = 0; i < count; i++)
    world_sql(w, BANK_B, "ROLLBACK PREPARED 'filler_%d'", i);
}

static void prepared_slots_used_up_abort_and_serve_again_when_free(enum world_mode mode) {
  struct pair *pair = pair_open(false);
  struct world *w = open_world(mode, pair, NULL);
  for (int i = 0; i < PAIR_PREPARED_MAX; i++)
    world_sql(w, BANK_B, "BEGIN; INSERT INTO ledger VALUES ('%d'); PREPARE TRANSACTION 'filler_%d'",
              i, i);
  /* The database says no, or, once it is known how many there are, one has waited in vain. */
  for (int i = 0; i < 3; i++)
    CHECK_PROBLEM(api_run(w->api, ONE_CALL("'timeout_ms':200,", TRANSFER(10))), 409, "aborted");
  const struct reply *bank_b = api_get(w->api, "/v1/participants/bank_b");
  CHECK_INTEGER(bank_b, "/prepared_count", PAIR_PREPARED_MAX);
  CHECK_INTEGER(bank_b, "/prepared_limit", PAIR_PREPARED_MAX);
  CHECK_MOVED(w, 0);
  /* A sole branch needs no slot. */
  CHECK_STATUS(api_run(w->api, ONE_CALL("", BRANCH("bank_b", CREDIT(0)))), 200);
  world_sql(w, BANK_B, "ROLLBACK PREPARED 'filler_%d'", PAIR_PREPARED_MAX - 1);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(10))), 200);
  end_fillers(w, PAIR_PREPARED_MAX - 1);
  CHECK_MOVED(w, 10);
  close_world(w);
}
IN_BOTH_MODES(prepared_slots_used_up_abort_and_serve_again_when_free)

/* ---- rights ------------------------------------------------------------------------------------ */

static void make_roles(const struct pair *pair) {
  pair_sql(pair->primary, "postgres",
           "DO $$ BEGIN "
           "IF to_regrole('keeper') IS NULL THEN CREATE ROLE keeper LOGIN; END IF; "
           "IF to_regrole('bob') IS NULL THEN CREATE ROLE bob LOGIN; END IF; "
           "ALTER ROLE keeper SUPERUSER; END $$");
}

/* bob, an application, prepares its own branch; only bob, or a superuser, may end it. */
static void prepare_as_bob(struct world *w, const char *gid) {
  world_sql(w, BANK_B, "GRANT ALL ON ALL TABLES IN SCHEMA public TO bob, keeper");
  world_sql(w, BANK_B,
            "SET SESSION AUTHORIZATION bob; BEGIN; "
            "UPDATE account SET balance = balance + 10 WHERE id = 1; PREPARE TRANSACTION '%s'",
            gid);
}

static int64_t undelivered(struct world *w, const char *participant) {
  const struct reply *reply = api_get(w->api, "/v1/participants/%s", participant);
  return json_integer_value(reply_at(reply, "/undelivered_decisions"));
}

static const char *second_branch(struct world *w, const char *id, const char *member) {
  return reply_string(api_read(w->api, id), api_text(w->api, "/branches/1/%s", member));
}

/* The role was a superuser when the vote was looked up, and is none when the decision comes. */
static void commit_refused_for_lack_of_rights_is_retried_until_it_is_done(enum world_mode mode) {
  struct pair *pair = pair_open(false);
  make_roles(pair);
  const char as_keeper[] = " user=keeper";
  char reach[PAIR_DSN_SIZE + sizeof as_keeper];
  (void)snprintf(reach, sizeof reach, "%s%s", pair->reach, as_keeper);
  struct world *w =
      world_open(mode, &(struct world_options){.server_b = pair->primary, .reach_b = reach});
  const char *id = api_begin(w->api, "{'timeout_ms':20000}");
  CHECK_STATUS(api_statement(w->api, id, "bank_a",
                             "'sql':'UPDATE account SET balance = balance - 10 WHERE id = 1'"),
               200);
  CHECK_STATUS(api_statement(w->api, id, "bank_a", "'sql':'INSERT INTO gated VALUES (1)'"), 200);
  const char *gid =
      reply_string(api_post(w->api, api_text(w->api, "/v1/transactions/%s/branches", id),
                            "{'participant':'bank_b'}"),
                   "/gid");
  prepare_as_bob(w, gid);
  PGconn *gate = gate_close(w, BANK_A);
  struct async *call = async_post(w->api, api_text(w->api, "/v1/transactions/%s/commit", id), "{}");
  UNTIL(strcmp(second_branch(w, id, "state"), "prepared") == 0);
  pair_sql(pair->primary, "postgres", "ALTER ROLE keeper NOSUPERUSER");
  gate_open(gate);
  UNTIL(strcmp(second_branch(w, id, "last_error/sqlstate"), "42501") == 0);
  const struct reply *reply = api_read(w->api, id);
  CHECK_STRING(reply, "/state", "committing");
  CHECK_STRING(reply, "/branches/1/state", "committing");
  UNTIL(undelivered(w, "bank_b") == 1); /* it is not while it is being sent once more */
  CU_ASSERT_EQUAL(world_logged(w, COORDINATOR, "decision_refused"),
                  1); /* though it is tried again and again */
  CU_ASSERT_FALSE(async_is_done(call));
  pair_sql(pair->primary, "postgres", "ALTER ROLE keeper SUPERUSER");
  reply = async_finish(call);
  CHECK_STATUS(reply, 200);
  CHECK_STRING(reply, "/outcome", "committed");
  CHECK_MOVED(w, 10);
  close_world(w);
}
IN_BOTH_MODES(commit_refused_for_lack_of_rights_is_retried_until_it_is_done)

/* ---- prepared for long ------------------------------------------------------------------------- */

static void branch_prepared_for_long_is_alerted_and_left_alone(enum world_mode mode) {
  struct pair *pair = pair_open(false);
  struct world *w = open_world(mode, pair, "prepared_alert = 200ms\nhealth_interval = 50ms\n");
  PGconn *gate = gate_close(w, BANK_A);
  struct async *call = start_transfer(w);
  UNTIL(world_logged(w, COORDINATOR, "\"prepared_for_long\"") == 1);
  CU_ASSERT_EQUAL(world_prepared(w, BANK_B), 1);
  CU_ASSERT_FALSE(async_is_done(call));
  gate_open(gate);
  CHECK_STATUS(async_finish(call), 200);
  UNTIL(world_logged(w, COORDINATOR, "prepared_for_long_ended") == 1);
  /* Another program's is told just so. */
  world_sql(w, BANK_B, "BEGIN; INSERT INTO ledger VALUES ('x'); PREPARE TRANSACTION 'theirs'");
  UNTIL(world_logged(w, COORDINATOR, "\"prepared_for_long\"") == 2);
  CU_ASSERT_EQUAL(world_prepared(w, BANK_B), 1);
  world_sql(w, BANK_B, "ROLLBACK PREPARED 'theirs'");
  CHECK_MOVED(w, 10);
  close_world(w);
}
IN_BOTH_MODES(branch_prepared_for_long_is_alerted_and_left_alone)

/* ---- DDL --------------------------------------------------------------------------------------- */

static void ddl_that_waits_for_a_reader_aborts_within_the_timeout(enum world_mode mode) {
  struct pair *pair = pair_open(false);
  struct world *w = open_world(mode, pair, NULL);
  PGconn *reader = world_connect(w, BANK_B);
  world_run_on(reader, "BEGIN");
  world_run_on(reader, "SELECT * FROM account");
  const struct reply *reply =
      api_run(w->api,
              ONE_CALL("'timeout_ms':400,",
                       BRANCH("bank_a", DEBIT(10)) "," BRANCH(
                           "bank_b", STATEMENT("ALTER TABLE account ADD COLUMN extra int"))));
  CHECK_PROBLEM(reply, 409, "aborted");
  CHECK_GAVE_WAY(reply);
  world_run_on(reader,
               "SELECT * FROM account"); /* it was not disturbed, nor is it in the way now */
  PQfinish(reader);
  reply = api_run(w->api, ONE_CALL("", BRANCH("bank_a", DEBIT(10)) "," BRANCH(
                                           "bank_b", STATEMENT("ALTER TABLE account ADD COLUMN "
                                                               "extra int") "," CREDIT(10))));
  CHECK_STATUS(reply, 200);
  CHECK_MOVED(w, 10);
  close_world(w);
}
IN_BOTH_MODES(ddl_that_waits_for_a_reader_aborts_within_the_timeout)

/* Somebody's DDL waits for a prepared branch; who comes later waits for the DDL, for as long as its own
 * time lasts. */
static void ddl_behind_a_prepared_branch_goes_on_when_it_has_ended(enum world_mode mode) {
  struct pair *pair = pair_open(false);
  struct world *w = open_world(mode, pair, NULL);
  PGconn *gate = gate_close(w, BANK_A);
  struct async *call = start_transfer(w);
  PGconn *other = world_connect(w, BANK_B);
  CU_ASSERT_EQUAL(PQsendQuery(other, "ALTER TABLE account ADD COLUMN extra int"), 1);
  UNTIL(world_integer(
            w, BANK_B,
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation'") == 1);
  const struct reply *reply =
      api_run(w->api, ONE_CALL("'timeout_ms':400,", BRANCH("bank_b", CREDIT(1))));
  CHECK_PROBLEM(reply, 409, "aborted");
  CHECK_STRING(reply, "/transaction/cause/kind", "conflict");
  gate_open(gate);
  CHECK_STATUS(async_finish(call), 200);
  PGresult *result = PQgetResult(other);
  CU_ASSERT_EQUAL(PQresultStatus(result), PGRES_COMMAND_OK);
  PQclear(result);
  PQfinish(other);
  CHECK_MOVED(w, 10);
  close_world(w);
}
IN_BOTH_MODES(ddl_behind_a_prepared_branch_goes_on_when_it_has_ended)

SUITE(trouble, BOTH(prepared_slots_used_up_abort_and_serve_again_when_free),
      BOTH(commit_refused_for_lack_of_rights_is_retried_until_it_is_done),
      BOTH(branch_prepared_for_long_is_alerted_and_left_alone),
      BOTH(ddl_that_waits_for_a_reader_aborts_within_the_timeout),
      BOTH(ddl_behind_a_prepared_branch_goes_on_when_it_has_ended))
