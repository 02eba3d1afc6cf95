/* What has to hold after a trial, whatever has died in it.
 *
 *   - every transaction is committed or aborted, never mixed; as expected, as it was told, and as
 *     its id and its label say, which agree
 *   - each bank has the changes of exactly the committed ones, each once; no money came or went
 *   - nothing is prepared, no transaction is open and no lock is held, in any database
 */
#include "tests/crash-matrix/matrix.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* A session that the killed server has ended is found out by its next query. */
static PGresult *query(struct trial *t, int bank, const char *sql) {
  PGconn **session = &t->sessions[bank];
  for (int i = 0;; i++) {
    if (*session && PQstatus(*session) != CONNECTION_OK) {
      PQfinish(*session);
      *session = NULL;
    }
    if (!*session) *session = world_connect(t->w, bank);
    PGresult *result = PQexec(*session, sql);
    if (PQstatus(*session) == CONNECTION_OK || i > 0) return result;
    PQclear(result);
  }
}

int64_t judge_integer(struct trial *t, int bank, const char *sql_format, ...) {
  char sql[2048];
  va_list arguments;
  va_start(arguments, sql_format);
  (void)vsnprintf(sql, sizeof sql, sql_format, arguments);
  va_end(arguments);
  PGresult *result = query(t, bank, sql);
  if (PQntuples(result) != 1)
    check_failed(__FILE__, __LINE__, true, "%s: %s", sql, PQresultErrorMessage(result));
  int64_t value = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
  PQclear(result);
  return value;
}

/* ---- outcomes told ----------------------------------------------------------------------------- */

static enum outcome outcome_named(const char *name) {
  if (strcmp(name, "committed") == 0) return OUTCOME_COMMITTED;
  if (strcmp(name, "aborted") == 0) return OUTCOME_ABORTED;
  return OUTCOME_UNKNOWN;
}

static const char *name_of(enum outcome outcome) {
  return outcome == OUTCOME_COMMITTED ? "committed"
         : outcome == OUTCOME_ABORTED ? "aborted"
                                      : "unknown";
}

static const char *first_of(const char *one, const char *other) {
  return one[0] ? one : other;
}

void judge_hear(struct attempt *attempt, const struct reply *reply) {
  const char *outcome =
      first_of(reply_string(reply, "/outcome"), reply_string(reply, "/transaction/outcome"));
  const char *id = first_of(reply_string(reply, "/id"), reply_string(reply, "/transaction/id"));
  if (id[0]) (void)snprintf(attempt->id, sizeof attempt->id, "%s", id);
  enum outcome heard = outcome_named(outcome);
  if (heard == OUTCOME_UNKNOWN) return;
  if ((heard == OUTCOME_COMMITTED) != (reply->status == 200))
    check_failed(__FILE__, __LINE__, false, "%s was told %s with status %d", attempt->label,
                 outcome, reply->status);
  if (attempt->told != OUTCOME_UNKNOWN && attempt->told != heard)
    check_failed(__FILE__, __LINE__, false, "%s was told %s, and then %s", attempt->label,
                 name_of(attempt->told), outcome);
  attempt->told = heard;
}

/* ---- settled? ---------------------------------------------------------------------------------- */

static bool all_are_up(const struct trial *t) {
  const struct reply *reply = api_get(t->w->api, "/v1/participants");
  const json_t *participants = reply_at(reply, "/participants");
  if (reply->status != 200 || json_array_size(participants) != (size_t)t->w->banks) return false;
  for (size_t i = 0; i < json_array_size(participants); i++) {
    const json_t *participant = json_array_get(participants, i);
    const char *state = json_string_value(json_object_get(participant, "state"));
    if (!state || strcmp(state, "up") != 0) return false;
  }
  return true;
}

/* The newest are enough: only they can be under way. */
static bool all_have_ended(const struct trial *t) {
  const struct reply *reply = api_get(t->w->api, "/v1/transactions");
  const json_t *transactions = reply_at(reply, "/transactions");
  for (size_t i = 0; i < json_array_size(transactions); i++) {
    const json_t *transaction = json_array_get(transactions, i);
    const char *state = json_string_value(json_object_get(transaction, "state"));
    if (!state || (strcmp(state, "committed") != 0 && strcmp(state, "aborted") != 0)) return false;
  }
  return reply->status == 200;
}

int64_t judge_prepared(struct trial *t, int bank) {
  return judge_integer(
      t, bank, "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()");
}

bool judge_settled(struct trial *t) {
  if (api_get(t->w->api, "/readyz")->status != 200 || !all_are_up(t) || !all_have_ended(t))
    return false;
  for (int bank = 0; bank < t->w->banks; bank++)
    if (judge_prepared(t, bank) != 0) return false;
  return true;
}

/* ---- outcomes ---------------------------------------------------------------------------------- */

/* No record, asked by label or by id, means that it was never decided committed. */
static enum outcome outcome_now(const struct trial *t, const struct attempt *attempt) {
  const json_t *found = api_find(t->w->api, attempt->label);
  const char *id = json_string_value(json_object_get(found, "id"));
  const char *by_label = json_string_value(json_object_get(found, "outcome"));
  if (found && !by_label) by_label = "not known";
  if (!found) by_label = "aborted";
  if (id && attempt->id[0] && strcmp(id, attempt->id) != 0)
    check_failed(__FILE__, __LINE__, false, "%s has the id %s, and had %s", attempt->label, id,
                 attempt->id);
  if (!id) id = attempt->id;
  if (!id[0]) return OUTCOME_ABORTED;
  const struct reply *reply = api_read(t->w->api, id);
  const char *by_id = reply->status == 404 ? "aborted" : reply_string(reply, "/outcome");
  if (strcmp(by_id, by_label) != 0)
    check_failed(__FILE__, __LINE__, false, "%s is \"%s\" by its label, by its id (%d) %.600s",
                 attempt->label, by_label, reply->status, reply->text);
  return outcome_named(by_id);
}

static void check_expected(const struct trial *t, enum outcome outcome) {
  enum expected expected = plan_expected(t->cell);
  if (expected == NEVER_MET) expected = t->cell->abort ? ABORTS : COMMITS;
  bool as_expected = expected == EITHER || (expected == COMMITS && outcome == OUTCOME_COMMITTED) ||
                     (expected == ABORTS && outcome == OUTCOME_ABORTED);
  if (!as_expected)
    check_failed(__FILE__, __LINE__, false, "the transaction is %s, expected was that it %s",
                 name_of(outcome), expected == COMMITS ? "commits" : "aborts");
}

static enum outcome check_attempt(const struct trial *t, const struct attempt *attempt) {
  enum outcome outcome = outcome_now(t, attempt);
  if (outcome == OUTCOME_UNKNOWN)
    check_failed(__FILE__, __LINE__, false, "%s has no outcome", attempt->label);
  if (attempt->told != OUTCOME_UNKNOWN && attempt->told != outcome)
    check_failed(__FILE__, __LINE__, false, "%s was told %s, and is %s", attempt->label,
                 name_of(attempt->told), name_of(outcome));
  if (attempt != t->met) return outcome;
  check_expected(t, outcome);
  if (t->result->outcome != OUTCOME_UNKNOWN && t->result->outcome != outcome)
    check_failed(__FILE__, __LINE__, false, "the transaction was %s, and is %s now",
                 name_of(t->result->outcome), name_of(outcome));
  t->result->outcome = outcome;
  return outcome;
}

/* ---- banks ------------------------------------------------------------------------------------- */

/* `labels`: of the committed ones, as a PostgreSQL array. */
static void check_bank(struct trial *t, int bank, const char *labels, int64_t committed) {
  int64_t rows = judge_integer(t, bank, "SELECT count(*) FROM ledger");
  int64_t ours =
      judge_integer(t, bank, "SELECT count(*) FROM ledger WHERE id = ANY ('{%s}')", labels);
  if (rows != committed || ours != committed)
    check_failed(__FILE__, __LINE__, false,
                 "bank %d has %lld transactions, %lld of the %lld that have committed: {%s}", bank,
                 (long long)rows, (long long)ours, (long long)committed, labels);
  int64_t factor = bank != BANK_A ? 1 : t->w->banks == 1 ? -1 : 1 - t->w->banks;
  int64_t balance = judge_integer(t, bank, "SELECT balance FROM account WHERE id = 1");
  if (balance != ACCOUNT_BALANCE + committed * factor * AMOUNT)
    check_failed(__FILE__, __LINE__, false, "account 1 of bank %d has %lld after %lld transactions",
                 bank, (long long)balance, (long long)committed);
}

/* Of anybody but the one who asks; a prepared transaction's locks have no pid. */
static int64_t left_open(struct trial *t, int bank) {
  return judge_integer(
      t, bank,
      "SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
      "AND pid <> pg_backend_pid() AND xact_start IS NOT NULL) + "
      "(SELECT count(*) FROM pg_locks WHERE pid IS DISTINCT FROM pg_backend_pid() AND database = "
      "(SELECT oid FROM pg_database WHERE datname = current_database()))");
}

void judge(struct trial *t) {
  char labels[ATTEMPTS_MAX * sizeof t->attempts[0].label] = "";
  int64_t committed = 0, money = 0;
  for (size_t i = 0; i < t->count; i++) {
    if (check_attempt(t, &t->attempts[i]) != OUTCOME_COMMITTED) continue;
    size_t length = strlen(labels);
    (void)snprintf(labels + length, sizeof labels - length, "%s%s", length ? "," : "",
                   t->attempts[i].label);
    committed++;
  }
  for (int bank = 0; bank < t->w->banks; bank++) {
    check_bank(t, bank, labels, committed);
    UNTIL(judge_prepared(t, bank) == 0);
    UNTIL(left_open(t, bank) == 0);
    money += judge_integer(t, bank, "SELECT sum(balance)::bigint FROM account");
  }
  CU_ASSERT_EQUAL(money, (int64_t)t->w->banks * ACCOUNTS * ACCOUNT_BALANCE);
}
