/* Transfers whose branches the client prepares itself, as an application may: the coordinator gives it a
 * gid for each, and finds them prepared, or not, when it is asked to commit.
 *
 * Invariants: a gid is prepared once at most; a commit is asked for only when both have the tag PREPARE
 * TRANSACTION. Everything else is rolled back, or runs into its timeout: what was prepared and not noticed
 * is the coordinator's to find.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/load_internal.h"
#include "common/http_client.h"

enum { SQL_SIZE = 512, BODY_SIZE = 128, ENLIST_SIZE = 640 };

/* ---- the bank ---------------------------------------------------------------------------------- */

static bool is_connected(struct client_thread *thread, int bank) {
  static const char *const keywords[] = {"dbname", "connect_timeout", NULL};
  const char *const values[] = {thread->load->options.dsns[bank], "2", NULL};
  PGconn **connection = &thread->connections[bank];
  if (*connection && PQstatus(*connection) == CONNECTION_OK) return true;
  PQfinish(*connection);
  *connection = PQconnectdbParams(keywords, values, 1);
  return PQstatus(*connection) == CONNECTION_OK;
}

/* `tag` NULL: any success will do. */
static bool run(PGconn *connection, const char *sql, const char *tag) {
  PGresult *result = PQexec(connection, sql);
  bool is_done =
      PQresultStatus(result) == PGRES_COMMAND_OK && (!tag || strcmp(PQcmdStatus(result), tag) == 0);
  PQclear(result);
  return is_done;
}

/* A connection of which anything is not as it should be is not used again: the server rolls back. */
static bool prepare(struct client_thread *thread, int bank, const struct transfer_plan *plan,
                    const char *label, const char *gid) {
  const struct load_options *options = &thread->load->options;
  char sql[SQL_SIZE];
  int64_t amount = 0;
  bool pays = bank == plan->from_bank;
  if (!is_connected(thread, bank)) return false;
  PGconn *connection = thread->connections[bank];
  (void)transfer_plan_row(plan, bank, &amount);
  (void)snprintf(sql, sizeof sql,
                 "BEGIN; SET LOCAL statement_timeout = %u;"
                 " UPDATE %saccount SET balance = balance + %" PRId64 " WHERE id = %" PRId64 ";"
                 " INSERT INTO %sledger (label, amount) VALUES ('%s', %" PRId64 ")",
                 options->timeout_ms, options->schema, amount, pays ? plan->from_id : plan->to_id,
                 options->schema, label, amount);
  bool is_done = run(connection, sql, NULL);
  (void)snprintf(sql, sizeof sql, "PREPARE TRANSACTION '%s'", gid);
  if (is_done) is_done = run(connection, sql, "PREPARE TRANSACTION");
  if (is_done) return true;
  PQfinish(connection);
  thread->connections[bank] = NULL;
  return false;
}

/* ---- the coordinator --------------------------------------------------------------------------- */

static bool enlist(struct client_thread *thread, const char *id, int bank, char gid[GID_SIZE]) {
  char url[ENLIST_SIZE], body[BODY_SIZE];
  struct answer answer;
  struct error err = {0};
  bool is_detour;
  (void)snprintf(url, sizeof url, "%s/v1/transactions/%s/branches",
                 load_url(thread->load, &is_detour), id);
  (void)snprintf(body, sizeof body, "{\"participant\":\"%s\"}",
                 thread->load->options.participants[bank]);
  bool is_answered = load_call(thread->caller, "POST", url, body, &answer, &err) == ERR_OK;
  (void)snprintf(gid, GID_SIZE, "%s",
                 is_answered && answer.status == 201 ? member_text(answer.body, "gid", "") : "");
  answer_close(&answer);
  return *gid != '\0';
}

enum step prepared_send(struct client_thread *thread, const struct transfer_plan *plan,
                        const char *label, struct load_record *record, unsigned *life) {
  char body[BODY_SIZE], path[BODY_SIZE], id[TXID_SIZE], gid[GID_SIZE];
  bool is_prepared = true;
  (void)snprintf(body, sizeof body, "{\"label\":\"%s\",\"timeout_ms\":%u}", label,
                 thread->load->options.timeout_ms);
  enum step step = load_post(thread, "", body, label, record, life, id);
  if (step != STEP_BEGUN) return step;
  for (int i = 0; is_prepared && i < 2; i++) {
    int bank = plan->credit_first ? 1 - plan->from_bank : plan->from_bank;
    if (i == 1) bank = 1 - bank;
    is_prepared = enlist(thread, id, bank, gid) && prepare(thread, bank, plan, label, gid);
  }
  record->is_prepared = is_prepared;
  (void)snprintf(path, sizeof path, "/%s/%s", id, is_prepared ? "commit" : "rollback");
  step = load_post(thread, path, "{}", label, record, life, NULL);
  /* It may not be begun again under its label; its outcome will be known. */
  return step == STEP_SEND_AGAIN ? STEP_ASK : step;
}

void prepared_close(struct client_thread *thread) {
  for (int i = 0; i < 2; i++)
    PQfinish(thread->connections[i]);
}
