/* See torture_config.h. The file is read as common/config.c reads it, less strictly: what is wrong in
 * it is said by assentd, which gets the lines as they are. */
#include "cli/torture_config.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/process.h"
#include "common/clock.h"

enum { CONFIG_BYTES_MAX = 1 << 20, SESSIONS_GONE_MS_MAX = 10000, POLL_MS = 20 };

/* ---- reading ----------------------------------------------------------------------------------- */

static char *trim(char *text) {
  while (isspace((unsigned char)*text))
    text++;
  size_t length = strlen(text);
  while (length > 0 && isspace((unsigned char)text[length - 1]))
    text[--length] = '\0';
  return text;
}

static enum error_code first_line(const char *path, char *out, size_t size, struct error *err) {
  FILE *file = fopen(path, "re");
  bool is_read = file && fgets(out, (int)size, file);
  int number = errno;
  if (file) (void)fclose(file);
  if (!is_read) return error_set(err, ERR_CONFIG, "%s: %s", path, strerror(number));
  out[strcspn(out, "\n")] = '\0';
  return ERR_OK;
}

struct reading {
  struct torture_databases *out;
  int at; /* of the databases; the present section's, while `is_in` */
  bool is_in, is_remote;
};

/* A section ends: it counts when it names a database. */
static void end_section(struct reading *reading) {
  struct torture_database *database = &reading->out->databases[reading->at];
  if (reading->is_in && !reading->is_remote && database->dsn[0]) reading->at++;
  reading->is_in = false;
}

static void begin_section(struct reading *reading, char *line) {
  static const char prefix[] = "[participant.";
  char *end = strchr(line, ']');
  end_section(reading);
  if (reading->at == BANKS || !end || strncmp(line, prefix, sizeof prefix - 1) != 0) return;
  *end = '\0';
  struct torture_database *database = &reading->out->databases[reading->at];
  *database = (struct torture_database){.name = ""};
  (void)snprintf(database->name, sizeof database->name, "%s", line + sizeof prefix - 1);
  reading->is_in = true;
  reading->is_remote = false;
}

static enum error_code take_key(struct reading *reading, const char *line, struct error *err) {
  struct torture_database *database = &reading->out->databases[reading->at];
  char copy[TORTURE_PATH_SIZE];
  size_t used = strlen(database->keys);
  int added = snprintf(database->keys + used, sizeof database->keys - used, "%s\n", line);
  int copied = snprintf(copy, sizeof copy, "%s", line);
  if (added < 0 || (size_t)added >= sizeof database->keys - used || copied < 0 ||
      (size_t)copied >= sizeof copy)
    return error_set(err, ERR_CONFIG, "[participant.%s] is too long", database->name);
  char *equals = strchr(copy, '=');
  if (!equals) return ERR_OK;
  *equals = '\0';
  const char *key = trim(copy), *value = trim(equals + 1);
  if (strcmp(key, "agent") == 0) reading->is_remote = true;
  if (strcmp(key, "dsn") == 0)
    (void)snprintf(database->dsn, sizeof database->dsn, "%s", value);
  else if (strcmp(key, "dsn_file") == 0)
    return first_line(value, database->dsn, sizeof database->dsn, err);
  return ERR_OK;
}

enum error_code torture_config_parse(char *text, struct torture_databases *out, struct error *err) {
  struct reading reading = {.out = out};
  char *rest = text;
  for (char *next = strsep(&rest, "\n"); next; next = strsep(&rest, "\n")) {
    char *line = trim(next);
    enum error_code code = ERR_OK;
    if (*line == '[')
      begin_section(&reading, line);
    else if (*line && *line != ';' && *line != '#' && reading.is_in)
      code = take_key(&reading, line, err);
    if (code != ERR_OK) return code;
  }
  end_section(&reading);
  if (reading.at < BANKS)
    return error_set(
        err, ERR_CONFIG,
        "two participants with a dsn or a dsn_file are needed; those with an agent are "
        "reached by processes that are not ours to break");
  for (int i = 0; i < BANKS; i++)
    out->stage[i] = (struct stage_database){out->databases[i].name, out->databases[i].keys,
                                            out->databases[i].dsn};
  return ERR_OK;
}

enum error_code torture_config_read(const char *path, struct torture_databases *out,
                                    struct error *err) {
  FILE *file = fopen(path, "re");
  char *text = malloc(CONFIG_BYTES_MAX);
  enum error_code code = ERR_OK;
  if (!file || !text) {
    code = error_set(err, ERR_CONFIG, "%s: %s", path, strerror(errno));
    goto out;
  }
  text[fread(text, 1, CONFIG_BYTES_MAX - 1, file)] = '\0';
  code = torture_config_parse(text, out, err);
out:
  free(text);
  if (file) (void)fclose(file);
  return code;
}

/* ---- ours -------------------------------------------------------------------------------------- */

/* assentd says which cluster it is in its log. */
static enum error_code read_cluster(struct torture *t, struct error *err) {
  static const char key[] = "\"cluster\":\"";
  char line[4096];
  FILE *file = fopen(stage_log(t->stage, STAGE_COORDINATOR), "re");
  t->cluster[0] = '\0';
  while (file && !t->cluster[0] && fgets(line, sizeof line, file)) {
    const char *at = strstr(line, key);
    if (at) (void)sscanf(at + sizeof key - 1, "%15[a-z0-9]", t->cluster);
  }
  if (file) (void)fclose(file);
  return t->cluster[0] ? ERR_OK
                       : error_set(err, ERR_IO, "assentd does not say which cluster it is");
}

enum error_code torture_config_know_ours(struct torture *t, struct error *err) {
  enum error_code code = read_cluster(t, err);
  for (int i = 0; code == ERR_OK && i < BANKS; i++) {
    char path[TORTURE_PATH_SIZE], id[40], gids[64], sessions[64];
    (void)snprintf(id, sizeof id, "%s", t->cluster);
    (void)snprintf(path, sizeof path, "%s/agent_id",
                   stage_data_directory(t->stage, STAGE_AGENT_A + (enum stage_target)i));
    if (t->options.agents) code = first_line(path, id, sizeof id, err);
    (void)snprintf(gids, sizeof gids, "assent_%s_", t->cluster);
    (void)snprintf(sessions, sizeof sessions, "assent:%s:", id);
    bank_set_ours(t->banks[i], gids, sessions);
  }
  return code;
}

/* ---- leaving ----------------------------------------------------------------------------------- */

/* A daemon that was killed may have sent a PREPARE that the server has not come to yet. */
static enum error_code wait_sessions_gone(struct bank *bank, struct error *err) {
  uint64_t begin_us = clock_monotonic_us();
  for (;;) {
    int64_t pid;
    unsigned count = 0;
    enum error_code code = bank_sessions(bank, &pid, 1, &count, err);
    if (code != ERR_OK || count == 0) return code;
    if ((clock_monotonic_us() - begin_us) / 1000 > SESSIONS_GONE_MS_MAX)
      return error_set(err, ERR_IO, "sessions of the daemons do not end");
    process_pause_ms(POLL_MS);
  }
}

static enum error_code tidy(struct torture *t, struct bank *bank, struct error *err) {
  char sql[256];
  int64_t is_there = 0;
  enum error_code code = bank_refresh(bank, err);
  if (code == ERR_OK && t->cluster[0]) code = wait_sessions_gone(bank, err);
  if (code == ERR_OK && t->cluster[0]) code = bank_roll_back_prepared(bank, err);
  if (code == ERR_OK) code = bank_exec(bank, "DROP SCHEMA assent_torture CASCADE", err);
  if (code == ERR_OK)
    code = bank_integer(bank,
                        "SELECT count(*) FROM to_regclass('assent.coordinator') AS t(oid)"
                        " WHERE oid IS NOT NULL",
                        &is_there, err);
  if (code != ERR_OK || !is_there || !t->cluster[0]) return code;
  (void)snprintf(sql, sizeof sql, "DELETE FROM assent.coordinator WHERE cluster = '%s'",
                 t->cluster);
  return bank_exec(bank, sql, err);
}

enum error_code torture_config_tidy(struct torture *t, struct error *err) {
  enum error_code code = ERR_OK;
  for (int i = 0; i < BANKS; i++) {
    struct error why = {0};
    if (!t->has_schema[i]) continue;
    if (tidy(t, t->banks[i], &why) != ERR_OK)
      code = error_set(err, why.code, "%s: %s", t->databases.databases[i].name, why.text);
  }
  return code;
}
