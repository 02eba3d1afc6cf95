/* Streaming replication between throwaway servers: see throwaway.h.
 *
 * What a standby follows stands in its postgresql.auto.conf, where ALTER SYSTEM can change it while
 * it runs: without a primary_conninfo its WAL receiver ends, and nothing that is still on the way
 * can be received later, as it could from the socket of a receiver that was only stopped.
 * Works with PostgreSQL 14 and later, and needs no program but `postgres`.
 */
#include <assert.h>
#include <ctype.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/throwaway_internal.h"

enum { SQL_SIZE = 1024, PROMOTE_SECONDS_MAX = 60, PG_15 = 150000 };

/* ---- waiting --------------------------------------------------------------------------------- */

/* Until the query gives 1. */
static enum error_code wait_until(const struct throwaway_server *server, const char *query,
                                  const char *what, struct error *err) {
  char dsn[THROWAWAY_DSN_SIZE];
  int64_t value = 0, deadline = throwaway_now_ms() + (int64_t)THROWAWAY_START_SECONDS_MAX * 1000;
  throwaway_server_dsn(server, "postgres", dsn);
  for (;;) {
    enum error_code code = throwaway_query_int(dsn, query, &value, err);
    if (code != ERR_OK) return code;
    if (value == 1) return ERR_OK;
    if (throwaway_now_ms() >= deadline) return throwaway_failed(server, what, err);
    throwaway_pause_between_looks();
  }
}

static enum error_code run_sql(const struct throwaway_server *server, const char *sql,
                               struct error *err) {
  char dsn[THROWAWAY_DSN_SIZE];
  throwaway_server_dsn(server, "postgres", dsn);
  return throwaway_exec(dsn, sql, err);
}

static bool is_answering(const struct throwaway_server *server) {
  return server && server->pid != 0 && !server->paused;
}

/* ---- the base backup ------------------------------------------------------------------------- */

/* A slot's name may hold less than a server's. */
static void slot_name(const struct throwaway_server *server, char out[64]) {
  size_t length = 0;
  for (const char *at = server->name; *at && length < 63; at++)
    out[length++] = isalnum((unsigned char)*at) ? (char)tolower((unsigned char)*at) : '_';
  out[length] = '\0';
}

static enum error_code write_file(const struct throwaway_server *server, const char *name,
                                  const char *mode, const char *text, struct error *err) {
  const struct throwaway *t = server->owner;
  char path[THROWAWAY_PATH_SIZE + 64];
  (void)snprintf(path, sizeof path, "%s/%s", server->data, name);
  FILE *file = fopen(path, mode);
  bool ok = file && fputs(text, file) >= 0;
  if (file && fclose(file) != 0) ok = false;
  if (ok && t->change_user) ok = chown(path, t->uid, t->gid) == 0;
  return ok ? ERR_OK : error_set(err, ERR_IO, "cannot write %s", path);
}

/* As a quoted value. */
static void primary_conninfo(const struct throwaway_server *standby, char out[THROWAWAY_DSN_SIZE]) {
  const struct throwaway_server *primary = standby->primary;
  char slot[64];
  slot_name(standby, slot);
  int length =
      snprintf(out, THROWAWAY_DSN_SIZE, "'host=%s port=%d user=postgres application_name=%s'",
               primary->owner->directory, primary->port, slot);
  assert(length > 0 && length < THROWAWAY_DSN_SIZE);
}

/* The last line of a setting in the file is the one that holds. */
static enum error_code write_recovery(const struct throwaway_server *standby, struct error *err) {
  char lines[SQL_SIZE], slot[64], conninfo[THROWAWAY_DSN_SIZE];
  slot_name(standby, slot);
  primary_conninfo(standby, conninfo);
  (void)snprintf(lines, sizeof lines,
                 "primary_conninfo = %s\nprimary_slot_name = '%s'\n"
                 "synchronous_standby_names = ''\n",
                 conninfo, slot);
  enum error_code code = write_file(standby, "postgresql.auto.conf", "ae", lines, err);
  return code == ERR_OK ? write_file(standby, "standby.signal", "we", "", err) : code;
}

static PGresult *ask(PGconn *session, const char *sql, struct error *err) {
  PGresult *result = PQexec(session, sql);
  if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1) return result;
  const char *text = PQerrorMessage(session);
  (void)error_set(err, ERR_UNAVAILABLE, "base backup: %.*s", (int)strcspn(text, "\n"), text);
  PQclear(result);
  return NULL;
}

/* The backup's session stays open all the while: its end would end the backup. */
static enum error_code base_backup(const struct throwaway_server *standby, struct error *err) {
  char dsn[THROWAWAY_DSN_SIZE], sql[SQL_SIZE], slot[64];
  enum error_code code = ERR_UNAVAILABLE;
  slot_name(standby, slot);
  throwaway_server_dsn(standby->primary, "postgres", dsn);
  PGconn *session = PQconnectdb(dsn);
  bool renamed = PQserverVersion(session) >= PG_15;
  (void)snprintf(sql, sizeof sql, "SELECT pg_create_physical_replication_slot('%s', true)", slot);
  PGresult *reserved = ask(session, sql, err);
  PGresult *begun = reserved ? ask(session,
                                   renamed ? "SELECT pg_backup_start('standby', true)"
                                           : "SELECT pg_start_backup('standby', true, false)",
                                   err)
                             : NULL;
  if (begun) code = throwaway_copy_data(standby->owner, standby->primary->data, standby->data, err);
  PGresult *ended = begun ? ask(session,
                                renamed ? "SELECT labelfile FROM pg_backup_stop(false)"
                                        : "SELECT labelfile FROM pg_stop_backup(false, false)",
                                code == ERR_OK ? err : NULL)
                          : NULL;
  if (code == ERR_OK)
    code = ended ? write_file(standby, "backup_label", "we", PQgetvalue(ended, 0, 0), err)
                 : ERR_UNAVAILABLE;
  PQclear(reserved);
  PQclear(begun);
  PQclear(ended);
  PQfinish(session);
  return code;
}

/* ---- making one ------------------------------------------------------------------------------ */

static bool is_prefix(const char *prefix, const char *text) {
  return strncmp(prefix, text, strlen(prefix)) == 0;
}

/* But for whom the primary waits: the standby, promoted, would wait for nobody that comes. */
static enum error_code copy_settings(struct throwaway_server *standby, struct error *err) {
  const struct throwaway_server *primary = standby->primary;
  enum error_code code = ERR_OK;
  for (size_t i = 0; code == ERR_OK && i < primary->setting_count; i++)
    if (!is_prefix("synchronous_standby_names=", primary->settings[i]))
      code = throwaway_add_setting(standby, primary->settings[i], err);
  return code;
}

static enum error_code wait_streaming(const struct throwaway_server *standby, const char *more,
                                      struct error *err) {
  char sql[SQL_SIZE], slot[64];
  slot_name(standby, slot);
  (void)snprintf(sql, sizeof sql,
                 "SELECT count(*) FROM pg_stat_replication WHERE application_name = '%s' "
                 "AND state = 'streaming'%s",
                 slot, more);
  return wait_until(standby->primary, sql, "streaming", err);
}

/* A commit waits from when the checkpointer has read the setting: it has when a checkpoint that was
 * asked for after that is done. */
static enum error_code make_synchronous(struct throwaway_server *standby, bool remote_apply,
                                        struct error *err) {
  char sql[SQL_SIZE], slot[64];
  slot_name(standby, slot);
  standby->synchronous = true;
  (void)snprintf(sql, sizeof sql, "ALTER SYSTEM SET synchronous_standby_names = '%s'", slot);
  enum error_code code = run_sql(standby->primary, sql, err);
  if (code == ERR_OK && remote_apply)
    code = run_sql(standby->primary, "ALTER SYSTEM SET synchronous_commit = remote_apply", err);
  if (code == ERR_OK) code = run_sql(standby->primary, "SELECT pg_reload_conf()", err);
  if (code == ERR_OK) code = wait_streaming(standby, " AND sync_state = 'sync'", err);
  return code == ERR_OK ? run_sql(standby->primary, "CHECKPOINT", err) : code;
}

struct throwaway_server *throwaway_standby(struct throwaway *t, struct throwaway_server *primary,
                                           const char *name,
                                           const struct throwaway_standby_options *options,
                                           struct error *err) {
  static const struct throwaway_standby_options defaults;
  struct error why = {0};
  if (!options) options = &defaults;
  assert(is_answering(primary) && !primary->standby);
  struct throwaway_server *standby = throwaway_add(t, name, err);
  if (!standby) return NULL;
  standby->standby = true;
  standby->primary = primary;
  if (copy_settings(standby, &why) == ERR_OK && base_backup(standby, &why) == ERR_OK &&
      write_recovery(standby, &why) == ERR_OK && throwaway_start_first(standby, &why) == ERR_OK &&
      wait_streaming(standby, "", &why) == ERR_OK &&
      (!options->synchronous || make_synchronous(standby, options->remote_apply, &why) == ERR_OK))
    return standby;
  (void)error_set(err, why.code, "%s", why.text);
  throwaway_server_remove(standby);
  return NULL;
}

void throwaway_standby_leave(struct throwaway_server *server) {
  char sql[SQL_SIZE], slot[64];
  if (!server->primary || !is_answering(server->primary)) return;
  slot_name(server, slot);
  (void)snprintf(sql, sizeof sql,
                 "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
                 "WHERE slot_name = '%s' AND NOT active",
                 slot);
  (void)!run_sql(server->primary, sql, NULL);
  if (server->synchronous)
    (void)!run_sql(server->primary, "ALTER SYSTEM RESET synchronous_standby_names", NULL);
  if (server->synchronous) (void)!run_sql(server->primary, "SELECT pg_reload_conf()", NULL);
}

/* ---- holding, promoting ---------------------------------------------------------------------- */

enum error_code throwaway_standby_hold(struct throwaway_server *standby, struct error *err) {
  assert(is_answering(standby) && standby->standby);
  enum error_code code = run_sql(standby, "ALTER SYSTEM SET primary_conninfo = ''", err);
  if (code == ERR_OK) code = run_sql(standby, "SELECT pg_reload_conf()", err);
  if (code == ERR_OK)
    code = wait_until(standby, "SELECT (count(*) = 0)::int FROM pg_stat_wal_receiver",
                      "end of streaming", err);
  return code;
}

enum error_code throwaway_standby_release(struct throwaway_server *standby, struct error *err) {
  char sql[SQL_SIZE], conninfo[THROWAWAY_DSN_SIZE];
  assert(is_answering(standby) && standby->standby && standby->primary);
  primary_conninfo(standby, conninfo);
  (void)snprintf(sql, sizeof sql, "ALTER SYSTEM SET primary_conninfo = %s", conninfo);
  enum error_code code = run_sql(standby, sql, err);
  if (code == ERR_OK) code = run_sql(standby, "SELECT pg_reload_conf()", err);
  if (code == ERR_OK && is_answering(standby->primary)) code = wait_streaming(standby, "", err);
  return code;
}

enum error_code throwaway_standby_catch_up(struct throwaway_server *standby, struct error *err) {
  const struct throwaway_server *primary = standby->primary;
  char dsn[THROWAWAY_DSN_SIZE], sql[SQL_SIZE];
  int64_t position = 0;
  assert(is_answering(standby) && standby->standby && is_answering(primary));
  throwaway_server_dsn(primary, "postgres", dsn);
  enum error_code code =
      throwaway_query_int(dsn, "SELECT pg_current_wal_lsn() - '0/0'", &position, err);
  (void)snprintf(sql, sizeof sql, "SELECT (pg_last_wal_replay_lsn() - '0/0' >= %lld)::int",
                 (long long)position);
  return code == ERR_OK ? wait_until(standby, sql, "catching up", err) : code;
}

enum error_code throwaway_promote(struct throwaway_server *standby, struct error *err) {
  char dsn[THROWAWAY_DSN_SIZE], sql[SQL_SIZE];
  int64_t promoted = 0;
  assert(is_answering(standby) && standby->standby);
  throwaway_server_dsn(standby, "postgres", dsn);
  (void)snprintf(sql, sizeof sql, "SELECT pg_promote(true, %d)::int", PROMOTE_SECONDS_MAX);
  enum error_code code = throwaway_query_int(dsn, sql, &promoted, err);
  if (code != ERR_OK) return code;
  if (promoted != 1) return throwaway_failed(standby, "promotion", err);
  standby->standby = false;
  standby->primary = NULL;
  return ERR_OK;
}

void throwaway_servers_dsn(struct throwaway_server *const servers[], size_t count,
                           const char *dbname, char out[THROWAWAY_DSN_SIZE]) {
  char hosts[THROWAWAY_DSN_SIZE] = "", ports[THROWAWAY_DSN_SIZE] = "";
  size_t h = 0, p = 0;
  assert(count > 0 && count <= THROWAWAY_SERVERS_MAX);
  for (size_t i = 0; i < count; i++) {
    h += (size_t)snprintf(hosts + h, sizeof hosts - h, "%s127.0.0.1", i ? "," : "");
    p += (size_t)snprintf(ports + p, sizeof ports - p, "%s%d", i ? "," : "", servers[i]->port);
    assert(h < sizeof hosts && p < sizeof ports);
  }
  int length = snprintf(out, THROWAWAY_DSN_SIZE,
                        "host=%s port=%s dbname='%s' user=postgres "
                        "target_session_attrs=read-write",
                        hosts, ports, dbname);
  assert(length > 0 && length < THROWAWAY_DSN_SIZE);
}
