/* See settings.h. The table below is the documentation's source: every key has its default and its
 * range here, or in database.h, and nowhere else. */
#include "participant-agent/settings.h"

static const struct config_key keys[] = {
    DOOR_CONFIG_KEYS("agent", struct agent_settings, door, "127.0.0.1:7420"),
    {"agent", "state_dir", CONFIG_STRING, offsetof(struct agent_settings, state_dir), NULL, 0, 0,
     NULL, false},
    {"agent", "log_level", CONFIG_CHOICE, offsetof(struct agent_settings, log_level), "info", 0, 0,
     "debug|info|warn|error", false},
    {"agent", "log_format", CONFIG_CHOICE, offsetof(struct agent_settings, log_format), "auto", 0,
     0, "auto|text|json", false},
    {"agent", "stop_timeout", CONFIG_DURATION, offsetof(struct agent_settings, stop_timeout_ms),
     "10s", 0, 600000, NULL, false},
    TRACE_CONFIG_KEYS("agent", struct agent_settings, trace, "assent-agent"),
    DATABASE_CONFIG_KEYS("database.*", struct agent_database, database),
};
static const size_t key_count = sizeof keys / sizeof keys[0];

static void *add_database(void *data, const char *section, const char *name, struct error *err) {
  struct agent_settings *settings = data;
  if (settings->database_count == AGENT_DATABASES_MAX) {
    (void)error_set(err, ERR_CONFIG, "[%s.%s]: at most %d databases", section, name,
                    AGENT_DATABASES_MAX);
    return NULL;
  }
  struct agent_database *database = &settings->databases[settings->database_count++];
  (void)snprintf(database->name, sizeof database->name, "%s", name);
  return database;
}

static enum error_code check(const struct agent_settings *s, struct error *err) {
  if (!s->state_dir)
    return error_set(err, ERR_CONFIG,
                     "[agent] state_dir is missing: where the agent keeps who it is");
  if (door_settings_check(&s->door, false, err) != ERR_OK) return error_wrap(err, "[agent]");
  if (trace_settings_check(&s->trace, err) != ERR_OK) return error_wrap(err, "[agent]");
  if (s->database_count == 0)
    return error_set(err, ERR_CONFIG,
                     "there is no database: add a section [database.NAME] with a dsn");
  for (size_t i = 0; i < s->database_count; i++)
    if (database_settings_check(&s->databases[i].database, err) ||
        database_statements_check(&s->databases[i].database, err))
      return error_wrap(err, "[database.%s]", s->databases[i].name);
  return ERR_OK;
}

enum error_code agent_settings_read(const char *path, struct agent_settings *out,
                                    struct error *err) {
  *out = (struct agent_settings){0};
  enum error_code code = config_read(path, keys, key_count, out, add_database, err);
  if (code == ERR_OK && check(out, err) != ERR_OK) code = error_wrap(err, "%s", path);
  return code;
}

void agent_settings_release(struct agent_settings *settings) {
  config_release(keys, key_count, "agent", settings);
  for (size_t i = 0; i < settings->database_count; i++)
    config_release(keys, key_count, "database.*", &settings->databases[i]);
}

void agent_settings_print(FILE *out, const struct agent_settings *settings) {
  char title[sizeof "database." + DATABASE_NAME_SIZE];
  config_print(out, keys, key_count, "agent", "agent", settings);
  for (size_t i = 0; i < settings->database_count; i++) {
    const struct agent_database *database = &settings->databases[i];
    (void)snprintf(title, sizeof title, "database.%s", database->name);
    config_print(out, keys, key_count, "database.*", title, database);
  }
}
