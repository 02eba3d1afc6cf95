/* assent-agent's configuration: sections [agent] and [database.NAME]. docs/assent-agent.ini is the
 * commented sample. */
#ifndef ASSENT_PARTICIPANT_AGENT_SETTINGS_H
#define ASSENT_PARTICIPANT_AGENT_SETTINGS_H

#include <stdio.h>

#include "common/door.h"
#include "common/error.h"
#include "common/trace_settings.h"
#include "participant-agent/database.h"

enum { AGENT_DATABASES_MAX = 64 };

struct agent_database {
  char name[DATABASE_NAME_SIZE];
  struct database_settings database;
};

struct agent_settings {
  struct door_settings door;
  struct trace_settings trace;
  char *state_dir;
  int log_level, log_format;
  int64_t stop_timeout_ms;
  struct agent_database databases[AGENT_DATABASES_MAX];
  size_t database_count;
};

/* Reads and checks everything that can be checked without touching a database. Release in any case.
 */
enum error_code agent_settings_read(const char *path, struct agent_settings *out, struct error *err)
    __attribute__((warn_unused_result));
void agent_settings_release(struct agent_settings *settings);
/* As INI, with what is in force; secrets hidden. */
void agent_settings_print(FILE *out, const struct agent_settings *settings);

#endif
