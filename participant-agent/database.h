/* A database as it stands in a configuration file, and the agent made from it: the same keys in
 * assentd's [participant.NAME] and assent-agent's [database.NAME]. Both daemons' settings use this.
 */
#ifndef ASSENT_PARTICIPANT_AGENT_DATABASE_H
#define ASSENT_PARTICIPANT_AGENT_DATABASE_H

#include <stddef.h>

#include "common/config.h"
#include "participant-agent/agent.h"

enum { DATABASE_NAME_SIZE = 33 };

struct database_settings {
  char *dsn;      /* libpq connection string or URI */
  char *dsn_file; /* or a file that holds it */
  int64_t connections;
  int64_t waiting;
  int64_t call_timeout_ms;
  int64_t result_rows, result_bytes;
  bool synchronous_failover;
  bool outcome_table; /* branches leave rows when they commit */
  int64_t outcome_retention_ms;
  char *statements; /* file of named statements, to which it is limited; NULL: it is not */
};

/* The keys of `section` ("database.*"), for a struct whose member `member` is a database_settings.
 */
#define DATABASE_CONFIG_KEYS(section, type, member)                                                \
  {section, "dsn", CONFIG_STRING, offsetof(type, member.dsn), NULL, 0, 0, NULL, true},             \
      {section, "dsn_file", CONFIG_STRING, offsetof(type, member.dsn_file), NULL, 0,               \
       0,       NULL,       false},                                                                \
      {section, "connections", CONFIG_INTEGER, offsetof(type, member.connections), "16", 1,        \
       1000,    NULL,          false},                                                             \
      {section, "waiting", CONFIG_INTEGER, offsetof(type, member.waiting), "1024", 1,              \
       1000000, NULL,      false},                                                                 \
      {section,                                                                                    \
       "call_timeout",                                                                             \
       CONFIG_DURATION,                                                                            \
       offsetof(type, member.call_timeout_ms),                                                     \
       "5s",                                                                                       \
       100,                                                                                        \
       600000,                                                                                     \
       NULL,                                                                                       \
       false},                                                                                     \
      {section,                                                                                    \
       "synchronous_failover",                                                                     \
       CONFIG_BOOLEAN,                                                                             \
       offsetof(type, member.synchronous_failover),                                                \
       "no",                                                                                       \
       0,                                                                                          \
       0,                                                                                          \
       NULL,                                                                                       \
       false},                                                                                     \
      {section,  "result_rows", CONFIG_INTEGER, offsetof(type, member.result_rows), "10000", 1,    \
       10000000, NULL,          false},                                                            \
      {section, "result_bytes", CONFIG_BYTES,     offsetof(type, member.result_bytes),             \
       "1m",    1024,           INT64_C(8) << 20, NULL,                                            \
       false},                                                                                     \
      {section,                                                                                    \
       "outcome_table",                                                                            \
       CONFIG_BOOLEAN,                                                                             \
       offsetof(type, member.outcome_table),                                                       \
       "no",                                                                                       \
       0,                                                                                          \
       0,                                                                                          \
       NULL,                                                                                       \
       false},                                                                                     \
      {section, "statements", CONFIG_STRING, offsetof(type, member.statements), NULL, 0,           \
       0,       NULL,         false},                                                              \
  {                                                                                                \
    section, "outcome_retention", CONFIG_DURATION, offsetof(type, member.outcome_retention_ms),    \
        "7d", 3600000, INT64_C(315360000000), NULL, false                                          \
  }

/* Exactly one of dsn and dsn_file, and the string is one that libpq understands. */
enum error_code database_settings_check(const struct database_settings *settings, struct error *err)
    __attribute__((warn_unused_result));

/* The file of named statements, where there is one. */
enum error_code database_statements_check(const struct database_settings *settings,
                                          struct error *err) __attribute__((warn_unused_result));

/* Owner: the caller, agent_free(). NULL on error (the dsn file cannot be read, a bad dsn). */
struct agent *database_agent_new(struct loop *loop, const struct database_settings *settings,
                                 const char *participant, const char *agent_id,
                                 const char *state_dir, struct tracer *tracer, struct error *err);

#endif
