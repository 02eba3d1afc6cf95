/* Which command a text is. The model knows the texts that adapters/postgres*.c sends, by their
 * beginnings, and the statements of database.h; another text stops the run. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "tests/sim/database_internal.h"

struct text {
  const char *prefix, *also; /* the beginning, and what else is in it; NULL: anything */
  enum command_kind kind;
};

static const struct text texts[] = {
    {"UPDATE account", NULL, COMMAND_ADD},
    {"SELECT balance", NULL, COMMAND_READ},
    {"SELECT generate_series", NULL, COMMAND_READ_MANY},
    {"SELECT 1/0", NULL, COMMAND_FAIL},
    {"BEGIN", NULL, COMMAND_BEGIN},
    {"SET LOCAL statement_timeout = ", NULL, COMMAND_SET_STATEMENT_TIMEOUT},
    {"SET LOCAL lock_timeout = ", NULL, COMMAND_SET_LOCK_TIMEOUT},
    {"SET LOCAL idle_in_transaction_session_timeout = ", NULL, COMMAND_SET_IDLE_TIMEOUT},
    {"SELECT pg_catalog.set_config('synchronous_commit'", NULL, COMMAND_SET_SYNCHRONOUS},
    {"SELECT pg_catalog.pg_current_xact_id_if_assigned()", "emit_message", COMMAND_XID_READY},
    {"SELECT pg_catalog.pg_current_xact_id_if_assigned()", NULL, COMMAND_XID},
    {"PREPARE TRANSACTION '", NULL, COMMAND_PREPARE},
    {"COMMIT PREPARED '", NULL, COMMAND_COMMIT_PREPARED},
    {"ROLLBACK PREPARED '", NULL, COMMAND_ROLLBACK_PREPARED},
    {"COMMIT", NULL, COMMAND_COMMIT},
    {"ROLLBACK", NULL, COMMAND_ROLLBACK},
    {"DISCARD ALL", NULL, COMMAND_DISCARD},
    {"RESET ALL", NULL, COMMAND_RESET},
    {"SELECT pg_catalog.pg_logical_emit_message(true", NULL, COMMAND_BARRIER},
    {"SELECT pg_catalog.pg_is_in_recovery()", NULL, COMMAND_IDENTITY},
    {"SELECT reset_val FROM pg_catalog.pg_settings", "timeout", COMMAND_RESET_VALUES},
    {"WITH horizon", "SELECT xid, owner", COMMAND_LOOK_UP},
    {"WITH horizon", "SELECT gid, xid", COMMAND_LIST},
    {"SELECT pg_catalog.pg_xact_status(", NULL, COMMAND_STATUS},
    {"SELECT pg_catalog.pg_cancel_backend(", NULL, COMMAND_CANCEL},
    {"WITH blocking", "pg_blocking_pids", COMMAND_BLOCKERS},
    {"SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(pid)", NULL, COMMAND_TERMINATE},
    {"SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(pid, ", NULL, COMMAND_TERMINATE_WAIT},
    {"SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity", NULL, COMMAND_COUNT_OTHERS},
    {"SELECT pg_catalog.count(*), CASE", "pg_prepared_xacts", COMMAND_PROBE},
    {"SELECT (SELECT oid FROM pg_catalog.pg_class", "to_regnamespace", COMMAND_CLAIM_LOOK},
    {"SELECT pg_catalog.to_regclass('assent.coordinator')", NULL, COMMAND_SURVEY_LOOK},
    {"CREATE SCHEMA assent", NULL, COMMAND_CREATE_SCHEMA},
    {"CREATE TABLE assent.coordinator", NULL, COMMAND_CREATE_TABLE},
    {"CREATE TABLE assent.outcome (", NULL, COMMAND_CREATE_ROWS},
    {"CREATE TABLE assent.outcome_kept (", NULL, COMMAND_CREATE_KEPT},
    {"WITH former", "INSERT INTO assent.outcome_kept", COMMAND_CLAIM_WRITE_ROWS_BEGIN},
    {"WITH former", "UPDATE assent.outcome_kept", COMMAND_CLAIM_WRITE_ROWS_END},
    {"WITH former", "ON CONFLICT", COMMAND_CLAIM_WRITE},
    {"SELECT epoch, run_id FROM assent.coordinator", NULL, COMMAND_CLAIM_READ},
    {"DO $$", "INSERT INTO assent.outcome (txid, branch)", COMMAND_LEAVE_ROW},
    {"SELECT known.cluster", NULL, COMMAND_LIVES},
    {"SELECT cluster, epoch", NULL, COMMAND_LIVES},
    {"SELECT DISTINCT txid", NULL, COMMAND_ROWS},
    {"WITH noted AS (UPDATE assent.outcome_kept", "DELETE", COMMAND_FORGET_ROWS},
};

static const struct text *find(const char *sql) {
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    const struct text *text = &texts[i];
    if (strncmp(sql, text->prefix, strlen(text->prefix)) != 0) continue;
    if (!text->also || strstr(sql, text->also)) return text;
  }
  return NULL;
}

static void put(struct command *command, size_t index, const char *text, size_t length) {
  assert(length < PARAM_SIZE);
  memcpy(command->params[index], text, length);
}

/* VALUES ('<txid>', <branch>) */
static void put_row(struct command *command, const char *values) {
  const char *txid = strchr(values, '\'') + 1;
  size_t length = strcspn(txid, "'");
  put(command, 0, txid, length);
  command->number = strtoll(txid + length + 2, NULL, 10);
}

struct command *command_parse(const char *sql, size_t param_count, const char *const *params) {
  const struct text *text = find(sql);
  if (!text) (void)fprintf(stderr, "the model database does not know this SQL: %s\n", sql);
  assert(text);
  struct command *command = model_allocate(sizeof *command);
  command->kind = text->kind;
  command->overwrites = strstr(sql, "DO UPDATE SET epoch") && !strstr(sql, " WHERE (known.epoch");
  const char *rest = sql + strlen(text->prefix);
  size_t last = strlen(text->prefix) - 1;
  if (text->prefix[last] == '\'')
    put(command, 0, rest, strcspn(rest, "'"));
  else if (text->kind == COMMAND_LEAVE_ROW)
    put_row(command, strstr(sql, "VALUES ("));
  else if (strncmp(sql, "SET LOCAL", 9) == 0)
    command->number = strtoll(rest, NULL, 10);
  assert(param_count <= PARAMS_MAX);
  for (size_t i = 0; i < param_count; i++)
    if (params[i]) put(command, i, params[i], strlen(params[i]));
  return command;
}

void commands_free(struct command *commands) {
  struct command *command, *next;
  DL_FOREACH_SAFE(commands, command, next) free(command);
}
