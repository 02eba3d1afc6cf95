/* See database.h. */
#include "participant-agent/database.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/statement_set.h"

enum { DSN_BYTES_MAX = 4096 };

/* The first line of the file. Owner: the caller, free(). */
static char *read_dsn_file(const char *path, struct error *err) {
  FILE *file = fopen(path, "r");
  if (!file) {
    (void)error_set(err, ERR_CONFIG, "dsn_file %s: %s", path, strerror(errno));
    return NULL;
  }
  char line[DSN_BYTES_MAX];
  char *dsn = fgets(line, sizeof line, file) ? strdup(line) : NULL;
  (void)fclose(file);
  if (!dsn) {
    (void)error_set(err, ERR_CONFIG, "dsn_file %s is empty", path);
    return NULL;
  }
  dsn[strcspn(dsn, "\r\n")] = '\0';
  return dsn;
}

static char *find_dsn(const struct database_settings *settings, struct error *err) {
  return settings->dsn ? strdup(settings->dsn) : read_dsn_file(settings->dsn_file, err);
}

enum error_code database_settings_check(const struct database_settings *settings,
                                        struct error *err) {
  if (!settings->dsn == !settings->dsn_file)
    return error_set(err, ERR_CONFIG, "give it a dsn or a dsn_file%s",
                     settings->dsn ? ", not both" : "");
  char *dsn = find_dsn(settings, err);
  if (!dsn) return ERR_CONFIG;
  enum error_code code = postgres_dsn_check(dsn, err);
  free(dsn);
  return code;
}

enum error_code database_statements_check(const struct database_settings *settings,
                                          struct error *err) {
  struct statement_set *set = NULL;
  if (!settings->statements) return ERR_OK;
  enum error_code code = statement_set_read(settings->statements, &set, err);
  statement_set_free(set);
  return code;
}

struct agent *database_agent_new(struct loop *loop, const struct database_settings *settings,
                                 const char *participant, const char *agent_id,
                                 const char *state_dir, struct tracer *tracer, struct error *err) {
  char *dsn = find_dsn(settings, err);
  if (!dsn) return NULL;
  struct adapter *adapter = postgres_adapter_new(loop, dsn, err);
  free(dsn);
  if (!adapter) return NULL;
  struct agent_options options = {.participant = participant,
                                  .agent_id = agent_id,
                                  .state_dir = state_dir,
                                  .connections_max = (unsigned)settings->connections,
                                  .waiting_max = (unsigned)settings->waiting,
                                  .call_timeout_ms = settings->call_timeout_ms,
                                  .result_rows_max = (size_t)settings->result_rows,
                                  .result_bytes_max = (size_t)settings->result_bytes,
                                  .synchronous_failover = settings->synchronous_failover,
                                  .rows_retention_ms =
                                      settings->outcome_table ? settings->outcome_retention_ms : 0,
                                  .tracer = tracer};
  return agent_new(loop, adapter, &options);
}
