/* assentd's configuration: sections [coordinator] and [participant.NAME]. docs/assentd.ini is the
 * commented sample. */
#ifndef ASSENT_COORDINATOR_SETTINGS_H
#define ASSENT_COORDINATOR_SETTINGS_H

#include <limits.h>
#include <stdio.h>

#include "common/door.h"
#include "common/error.h"
#include "common/http_client.h"
#include "common/trace_settings.h"
#include "participant-agent/database.h"

enum { PARTICIPANTS_MAX = 64 };

struct participant_settings {
  char name[DATABASE_NAME_SIZE];
  char *agent;                       /* URL of a remote agent; else: */
  struct database_settings database; /* an agent in this process */
};

struct settings {
  struct door_settings door;
  struct trace_settings trace;
  char *agent_ca, *agent_certificate, *agent_key; /* of https agents, and what we show them */
  char *data_dir;
  int log_level, log_format;
  int64_t timeout_ms, timeout_max_ms;
  int64_t transactions_max, token_transactions_max, waiting_max;
  int64_t branches_max, statements_max, params_max, sql_bytes_max, json_depth_max;
  int64_t body_bytes_max;
  int64_t connections_max;
  int64_t idle_ms;
  int64_t retention_ms, key_retention_ms;
  int64_t sweep_interval_ms, health_interval_ms, prepared_alert_ms;
  int64_t stop_timeout_ms;
  int64_t agent_timeout_ms;
  struct participant_settings participants[PARTICIPANTS_MAX];
  size_t participant_count;
};

/* Reads and checks everything that can be checked without touching a database. Release in any case. */
enum error_code settings_read(const char *path, struct settings *out, struct error *err)
    __attribute__((warn_unused_result));
void settings_release(struct settings *settings);
/* Where the decision log is. ERR_CONFIG: data_dir is too long. */
enum error_code settings_log_path(const char *data_dir, char out[PATH_MAX], struct error *err)
    __attribute__((warn_unused_result));
/* What we show https agents. Its texts are the settings'. */
struct http_identity settings_agent_identity(const struct settings *settings);
/* As INI, with what is in force; secrets hidden. */
void settings_print(FILE *out, const struct settings *settings);

/* Of participants that drain. ERR_CONFIG as above. */
enum error_code settings_drained_path(const char *data_dir, char out[PATH_MAX], struct error *err)
    __attribute__((warn_unused_result));

#endif
