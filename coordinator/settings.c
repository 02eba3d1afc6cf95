/* See settings.h. The table below is the documentation's source: every key has its default and its
 * range here and nowhere else. */
#include "coordinator/settings.h"

#include "coordinator/requests.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define COORDINATOR(name, kind, field, otherwise, min, max)                                        \
  { "coordinator", name, kind, offsetof(struct settings, field), otherwise, min, max, NULL, false }
#define CHOICE(name, field, otherwise, choices)                                                    \
  {                                                                                                \
    "coordinator", name, CONFIG_CHOICE, offsetof(struct settings, field), otherwise, 0, 0,         \
        choices, false                                                                             \
  }

enum { DAY_MS = 86400000 };

static const struct config_key keys[] = {
    DOOR_CONFIG_KEYS("coordinator", struct settings, door, "127.0.0.1:7410"),
    COORDINATOR("tokens", CONFIG_STRING, door.tokens, NULL, 0, 0),
    COORDINATOR("data_dir", CONFIG_STRING, data_dir, NULL, 0, 0),
    CHOICE("log_level", log_level, "info", "debug|info|warn|error"),
    CHOICE("log_format", log_format, "auto", "auto|text|json"),
    COORDINATOR("timeout", CONFIG_DURATION, timeout_ms, "30s", 1, DAY_MS),
    COORDINATOR("timeout_max", CONFIG_DURATION, timeout_max_ms, "10m", 1, DAY_MS),
    COORDINATOR("transactions", CONFIG_INTEGER, transactions_max, "10000", 1, 1000000),
    COORDINATOR("token_transactions", CONFIG_INTEGER, token_transactions_max, "0", 0, 1000000),
    COORDINATOR("branches", CONFIG_INTEGER, branches_max, "64", 1, TXN_BRANCHES_MAX),
    COORDINATOR("statements", CONFIG_INTEGER, statements_max, "1000", 1, STATEMENTS_MAX),
    COORDINATOR("parameters", CONFIG_INTEGER, params_max, "1000", 1, PARAMS_MAX),
    COORDINATOR("sql", CONFIG_BYTES, sql_bytes_max, "256k", 64, SQL_BYTES_MAX),
    COORDINATOR("json_depth", CONFIG_INTEGER, json_depth_max, "32", 6, DEPTH_MAX),
    COORDINATOR("waiting", CONFIG_INTEGER, waiting_max, "10000", 0, 1000000),
    COORDINATOR("body", CONFIG_BYTES, body_bytes_max, "1m", 1024, INT64_C(8) << 20),
    COORDINATOR("connections", CONFIG_INTEGER, connections_max, "12000", 1, 1000000),
    COORDINATOR("idle", CONFIG_DURATION, idle_ms, "30s", 1000, 3600000),
    COORDINATOR("retention", CONFIG_DURATION, retention_ms, "7d", 60000, INT64_C(3650) * DAY_MS),
    COORDINATOR("key_retention", CONFIG_DURATION, key_retention_ms, "24h", 1000,
                INT64_C(3650) * DAY_MS),
    COORDINATOR("sweep_interval", CONFIG_DURATION, sweep_interval_ms, "30s", 100, DAY_MS),
    COORDINATOR("health_interval", CONFIG_DURATION, health_interval_ms, "2s", 50, DAY_MS),
    COORDINATOR("prepared_alert", CONFIG_DURATION, prepared_alert_ms, "1m", 0, DAY_MS),
    COORDINATOR("stop_timeout", CONFIG_DURATION, stop_timeout_ms, "10s", 0, DAY_MS),
    COORDINATOR("agent_ca", CONFIG_STRING, agent_ca, NULL, 0, 0),
    COORDINATOR("agent_certificate", CONFIG_STRING, agent_certificate, NULL, 0, 0),
    COORDINATOR("agent_key", CONFIG_STRING, agent_key, NULL, 0, 0),
    COORDINATOR("agent_timeout", CONFIG_DURATION, agent_timeout_ms, "5s", 100, 600000),
    TRACE_CONFIG_KEYS("coordinator", struct settings, trace, "assentd"),
    TRACE_RATIO_CONFIG_KEY("coordinator", struct settings, trace),
    {"participant.*", "agent", CONFIG_STRING, offsetof(struct participant_settings, agent), NULL, 0,
     0, NULL, false},
    DATABASE_CONFIG_KEYS("participant.*", struct participant_settings, database),
};
static const size_t key_count = sizeof keys / sizeof keys[0];

static void *add_participant(void *data, const char *section, const char *name, struct error *err) {
  struct settings *settings = data;
  if (settings->participant_count == PARTICIPANTS_MAX) {
    (void)error_set(err, ERR_CONFIG, "[%s.%s]: at most %d participants", section, name,
                    PARTICIPANTS_MAX);
    return NULL;
  }
  struct participant_settings *p = &settings->participants[settings->participant_count++];
  (void)snprintf(p->name, sizeof p->name, "%s", name);
  return p;
}

/* Plain HTTP to another machine would carry SQL and outcomes unprotected. */
static enum error_code check_agent_url(const struct settings *s, const char *url,
                                       struct error *err) {
  static const char plain[] = "http://", secure[] = "https://";
  bool is_secure = strncmp(url, secure, strlen(secure)) == 0;
  const char *authority = url + strlen(is_secure ? secure : plain);
  char host[256];
  uint16_t port;
  if ((!is_secure && strncmp(url, plain, strlen(plain)) != 0) ||
      !config_split_listen(authority, host, sizeof host, &port) || strchr(authority, '/'))
    return error_set(err, ERR_CONFIG,
                     "agent is http://ADDRESS:PORT or https://ADDRESS:PORT, without a path, not "
                     "\"%.100s\"",
                     url);
  if (is_secure && !s->agent_certificate)
    return error_set(err, ERR_CONFIG,
                     "agent: https needs agent_certificate and agent_key in [coordinator]");
  if (!is_secure && !config_listen_is_loopback(host))
    return error_set(err, ERR_CONFIG, "agent: %s is not a loopback address: use https", host);
  return ERR_OK;
}

static enum error_code check_participant(const struct settings *s,
                                         const struct participant_settings *p, struct error *err) {
  enum error_code code = database_statements_check(&p->database, err);
  if (code != ERR_OK) return code;
  if (!p->agent) return database_settings_check(&p->database, err);
  if (p->database.dsn || p->database.dsn_file)
    return error_set(err, ERR_CONFIG,
                     "an agent and a dsn: the agent has the dsn, or there is no agent");
  return check_agent_url(s, p->agent, err);
}

static enum error_code check_settings(const struct settings *s, struct error *err) {
  if (!s->data_dir)
    return error_set(err, ERR_CONFIG, "[coordinator] data_dir is missing: where the log is kept");
  if (door_settings_check(&s->door, true, err) != ERR_OK) return error_wrap(err, "[coordinator]");
  if (trace_settings_check(&s->trace, err) != ERR_OK) return error_wrap(err, "[coordinator]");
  if (!s->agent_certificate != !s->agent_key)
    return error_set(err, ERR_CONFIG,
                     "[coordinator] agent_certificate and agent_key belong together");
  if (s->timeout_ms > s->timeout_max_ms)
    return error_set(err, ERR_CONFIG, "[coordinator] timeout is over timeout_max");
  if (s->participant_count == 0)
    return error_set(err, ERR_CONFIG,
                     "there is no participant: add a section [participant.NAME] with a dsn");
  for (size_t i = 0; i < s->participant_count; i++)
    if (check_participant(s, &s->participants[i], err) != ERR_OK)
      return error_wrap(err, "[participant.%s]", s->participants[i].name);
  return ERR_OK;
}

enum error_code settings_read(const char *path, struct settings *out, struct error *err) {
  *out = (struct settings){0};
  enum error_code code = config_read(path, keys, key_count, out, add_participant, err);
  if (code == ERR_OK && check_settings(out, err) != ERR_OK) code = error_wrap(err, "%s", path);
  return code;
}

void settings_release(struct settings *settings) {
  config_release(keys, key_count, "coordinator", settings);
  for (size_t i = 0; i < settings->participant_count; i++)
    config_release(keys, key_count, "participant.*", &settings->participants[i]);
}

enum error_code settings_log_path(const char *data_dir, char out[PATH_MAX], struct error *err) {
  if (snprintf(out, PATH_MAX, "%s/decisions.db", data_dir) < PATH_MAX) return ERR_OK;
  return error_set(err, ERR_CONFIG, "data_dir is too long");
}

struct http_identity settings_agent_identity(const struct settings *settings) {
  return (struct http_identity){.ca = settings->agent_ca,
                                .certificate = settings->agent_certificate,
                                .key = settings->agent_key};
}

enum error_code settings_drained_path(const char *data_dir, char out[PATH_MAX], struct error *err) {
  if (snprintf(out, PATH_MAX, "%s/drained", data_dir) < PATH_MAX - 4) return ERR_OK;
  return error_set(err, ERR_CONFIG, "data_dir is too long");
}

void settings_print(FILE *out, const struct settings *settings) {
  config_print(out, keys, key_count, "coordinator", "coordinator", settings);
  for (size_t i = 0; i < settings->participant_count; i++) {
    char title[64];
    (void)snprintf(title, sizeof title, "participant.%s", settings->participants[i].name);
    config_print(out, keys, key_count, "participant.*", title, &settings->participants[i]);
  }
}
