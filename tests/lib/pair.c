/* See pair.h. */
#include "tests/lib/pair.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/world_servers.h"

#define WAITS "FROM pg_stat_activity WHERE wait_event = 'SyncRep'"

static struct pair shared;
static bool synchronous_now;
static unsigned made;

static void check(enum error_code code, const struct error *err) {
  if (code != ERR_OK) check_failed(__FILE__, __LINE__, true, "pair: %s", err->text);
}

void pair_sql(const struct throwaway_server *server, const char *database, const char *sql) {
  struct error err = {0};
  char dsn[THROWAWAY_DSN_SIZE];
  throwaway_server_dsn(server, database, dsn);
  check(throwaway_exec(dsn, sql, &err), &err);
}

int64_t pair_integer(const struct throwaway_server *server, const char *database, const char *sql) {
  struct error err = {0};
  char dsn[THROWAWAY_DSN_SIZE];
  int64_t value = -1;
  throwaway_server_dsn(server, database, dsn);
  enum error_code code = throwaway_query_int(dsn, sql, &value, &err);
  if (code != ERR_NOT_FOUND) check(code, &err);
  return value;
}

/* ---- the servers ----------------------------------------------------------------------------- */

static void new_name(char out[32]) {
  (void)snprintf(out, 32, "pair_%u", made++);
}

static void make_primary(void) {
  static const char *const settings[] = {
      "autovacuum=off",      "deadlock_timeout=100ms",           "wal_init_zero=off",
      "shared_buffers=16MB", "recovery_init_sync_method=syncfs", NULL};
  static const struct throwaway_options options = {.prepared_max = PAIR_PREPARED_MAX,
                                                   .connections_max = 60,
                                                   .settings = settings};
  struct error err = {0};
  char name[32];
  new_name(name);
  shared.primary = throwaway_server(servers_owner(), name, &options, &err);
  if (!shared.primary) check_failed(__FILE__, __LINE__, true, "%s", err.text);
  servers_make_template(shared.primary);
}

static void remove_standby(void) {
  if (shared.standby) throwaway_server_remove(shared.standby);
  shared.standby = NULL;
}

static void make_standby(bool synchronous) {
  const struct throwaway_standby_options options = {.synchronous = synchronous};
  struct error err = {0};
  char name[32];
  new_name(name);
  shared.standby = throwaway_standby(servers_owner(), shared.primary, name, &options, &err);
  if (!shared.standby) check_failed(__FILE__, __LINE__, true, "%s", err.text);
  synchronous_now = synchronous;
}

/* Of worlds before: they would make each base backup larger. */
static void drop_databases(void) {
  for (;;) {
    char sql[128];
    int64_t number = pair_integer(shared.primary, "postgres",
                                  "SELECT substr(datname, 6)::int FROM pg_database "
                                  "WHERE datname ~ '^bank_[0-9]+$'");
    if (number < 0) return;
    (void)snprintf(sql, sizeof sql, "DROP DATABASE bank_%lld WITH (FORCE)", (long long)number);
    pair_sql(shared.primary, "postgres", sql);
  }
}

/* A test that was left has left them in any state. */
static bool in_use;

struct pair *pair_open(bool synchronous) {
  (void)servers_owner();
  world_drop_current();
  if (in_use) {
    remove_standby();
    if (shared.primary) throwaway_server_remove(shared.primary);
    shared.primary = NULL;
  }
  in_use = true;
  if (!shared.primary) make_primary();
  if (shared.standby && synchronous != synchronous_now) remove_standby();
  drop_databases();
  if (!shared.standby) make_standby(synchronous);
  pair_lead_to(shared.primary);
  return &shared;
}

void pair_close(void) {
  in_use = false;
}

/* ---- the way to them ------------------------------------------------------------------------- */

void pair_lead_to(const struct throwaway_server *server) {
  char directory[THROWAWAY_DSN_SIZE / 2], path[THROWAWAY_DSN_SIZE], fresh[THROWAWAY_DSN_SIZE],
      target[THROWAWAY_DSN_SIZE];
  (void)snprintf(directory, sizeof directory, "%s/way", throwaway_directory(servers_owner()));
  (void)snprintf(path, sizeof path, "%s/.s.PGSQL.5432", directory);
  (void)snprintf(fresh, sizeof fresh, "%s/fresh", directory);
  (void)snprintf(target, sizeof target, "%s/.s.PGSQL.%d", throwaway_server_socket_dir(server),
                 throwaway_server_port(server));
  bool ok = (mkdir(directory, 0755) == 0 || errno == EEXIST) && symlink(target, fresh) == 0 &&
            rename(fresh, path) == 0;
  if (!ok) check_failed(__FILE__, __LINE__, true, "%s: %s", path, strerror(errno));
  (void)snprintf(shared.reach, sizeof shared.reach, "host=%s port=5432 user=postgres", directory);
}

void pair_cut(const struct throwaway_server *server) {
  pair_sql(server, "postgres",
           "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
           "WHERE application_name LIKE 'assent:%'");
}

/* ---- replication ----------------------------------------------------------------------------- */

void pair_hold(struct pair *pair) {
  struct error err = {0};
  check(throwaway_standby_hold(pair->standby, &err), &err);
}

void pair_hold_here(struct pair *pair) {
  struct error err = {0};
  check(throwaway_standby_catch_up(pair->standby, &err), &err);
  pair_hold(pair);
}

void pair_release(struct pair *pair) {
  struct error err = {0};
  check(throwaway_standby_release(pair->standby, &err), &err);
}

void pair_kill_and_promote(struct pair *pair) {
  struct error err = {0};
  throwaway_server_kill(pair->primary);
  check(throwaway_promote(pair->standby, &err), &err);
}

void pair_take_clients(struct pair *pair, struct world *w) {
  struct throwaway_server *former = pair->primary;
  pair->primary = pair->standby;
  pair->standby = NULL;
  w->servers[BANK_B] = pair->primary;
  pair_lead_to(pair->primary);
  throwaway_server_remove(former);
}

void pair_fail_over(struct pair *pair, struct world *w) {
  pair_kill_and_promote(pair);
  pair_take_clients(pair, w);
}

int64_t pair_waiting(const struct pair *pair) {
  return pair_integer(pair->primary, "postgres", "SELECT count(*) " WAITS);
}

void pair_cancel_waiting(const struct pair *pair) {
  pair_sql(pair->primary, "postgres", "SELECT pg_cancel_backend(pid) " WAITS);
}
