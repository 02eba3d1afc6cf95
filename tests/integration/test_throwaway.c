/* Throwaway servers: what the tests and the demonstration rest on. */
#include <arpa/inet.h>
#include <libpq-fe.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/process.h"
#include "cli/throwaway.h"
#include "tests/lib/suite.h"

static int64_t query(const struct throwaway_server *server, const char *sql) {
  char dsn[THROWAWAY_DSN_SIZE];
  struct error err = {0};
  int64_t value = -1;
  throwaway_server_dsn(server, "postgres", dsn);
  if (throwaway_query_int(dsn, sql, &value, &err) != ERR_OK) (void)puts(err.text);
  return value;
}

static void exec(const struct throwaway_server *server, const char *sql) {
  char dsn[THROWAWAY_DSN_SIZE];
  struct error err = {0};
  throwaway_server_dsn(server, "postgres", dsn);
  if (throwaway_exec(dsn, sql, &err) != ERR_OK) (void)puts(err.text);
  CU_ASSERT_EQUAL(err.code, ERR_OK);
}

static void servers_are_apart_and_survive_a_kill_but_not_their_owner(void) {
  static const char *const names[] = {"one", "two"};
  static const struct throwaway_options options = {.prepared_max = 7};
  struct throwaway_server *servers[2];
  char directory[THROWAWAY_DSN_SIZE];
  struct error err = {0};
  struct throwaway *t = throwaway_new(&err);
  CU_ASSERT_PTR_NOT_NULL_FATAL(t);
  CU_ASSERT_EQUAL_FATAL(throwaway_servers(t, 2, names, &options, servers, &err), ERR_OK);
  static const char identity[] = "SELECT system_identifier FROM pg_control_system()";
  CU_ASSERT_NOT_EQUAL(query(servers[0], identity), query(servers[1], identity));
  CU_ASSERT_EQUAL(query(servers[0], "SELECT current_setting('max_prepared_transactions')"), 7);
  CU_ASSERT_EQUAL(query(servers[0], "SELECT (current_setting('fsync') = 'on')::int"), 1);

  exec(servers[0], "CREATE TABLE kept AS SELECT 42 AS value");
  exec(servers[0], "BEGIN; CREATE TABLE prepared (); PREPARE TRANSACTION 'x'");
  throwaway_server_kill(servers[0]);
  CU_ASSERT_EQUAL(throwaway_server_pid(servers[0]), 0);
  CU_ASSERT_EQUAL(query(servers[1], "SELECT 1"), 1);
  CU_ASSERT_EQUAL_FATAL(throwaway_server_start(servers[0], &err), ERR_OK);
  CU_ASSERT_EQUAL(query(servers[0], "SELECT value FROM kept"), 42);
  CU_ASSERT_EQUAL(query(servers[0], "SELECT count(*) FROM pg_prepared_xacts"), 1);
  throwaway_server_pause(servers[0]);
  throwaway_server_resume(servers[0]);
  CU_ASSERT_EQUAL(query(servers[0], "SELECT value FROM kept"), 42);
  throwaway_server_stop(servers[0]);

  (void)snprintf(directory, sizeof directory, "%s", throwaway_directory(t));
  pid_t left = throwaway_server_pid(servers[1]);
  throwaway_free(t);
  struct stat info;
  CU_ASSERT_NOT_EQUAL(stat(directory, &info), 0);
  CU_ASSERT_NOT_EQUAL(getpgid(left) >= 0, true);
}

static enum error_code check_ok(enum error_code code, const struct error *err) {
  if (code != ERR_OK) (void)puts(err->text);
  CU_ASSERT_EQUAL(code, ERR_OK);
  return code;
}

/* The first line of a lock file says whose it is. */
static void change_owner(const char *path, pid_t pid) {
  char rest[512];
  FILE *file = fopen(path, "r+e");
  CU_ASSERT_PTR_NOT_NULL_FATAL(file);
  CU_ASSERT_PTR_NOT_NULL(fgets(rest, sizeof rest, file));
  size_t length = fread(rest, 1, sizeof rest, file);
  rewind(file);
  (void)fprintf(file, "%d\n%.*s", (int)pid, (int)length, rest);
  CU_ASSERT_EQUAL(ftruncate(fileno(file), ftell(file)), 0);
  CU_ASSERT_EQUAL(fclose(file), 0);
}

/* Process ids come round: what a killed server's lock files name lives, and is another's. */
static void server_killed_starts_again_though_another_has_its_process_id(void) {
  static const char *const names[] = {"one", "two"};
  struct throwaway_server *servers[2];
  char path[THROWAWAY_DSN_SIZE];
  struct error err = {0};
  struct throwaway *t = throwaway_new(&err);
  CU_ASSERT_PTR_NOT_NULL_FATAL(t);
  CU_ASSERT_EQUAL_FATAL(throwaway_servers(t, 2, names, NULL, servers, &err), ERR_OK);
  pid_t other = throwaway_server_pid(servers[1]);
  (void)snprintf(path, sizeof path, "%s/one/postmaster.pid", throwaway_directory(t));
  change_owner(path, other);
  (void)snprintf(path, sizeof path, "%s/.s.PGSQL.%d.lock", throwaway_directory(t),
                 throwaway_server_port(servers[0]));
  change_owner(path, other);
  throwaway_server_kill(servers[0]);
  check_ok(throwaway_server_start(servers[0], &err), &err);
  CU_ASSERT_EQUAL(query(servers[0], "SELECT 1"), 1);
  throwaway_free(t);
}

static bool can_bind(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  bool is_free = bind(fd, (const struct sockaddr *)&address, sizeof address) == 0;
  (void)close(fd);
  return is_free;
}

static void port_of_a_server_that_is_down_is_nobody_elses(void) {
  struct error err = {0};
  struct throwaway *t = throwaway_new(&err);
  CU_ASSERT_PTR_NOT_NULL_FATAL(t);
  struct throwaway_server *server = throwaway_server(t, "one", NULL, &err);
  CU_ASSERT_PTR_NOT_NULL_FATAL(server);
  int port = throwaway_server_port(server);
  CU_ASSERT_FALSE(can_bind(port));
  throwaway_server_stop(server);
  CU_ASSERT_FALSE(can_bind(port));
  check_ok(throwaway_server_start(server, &err), &err);
  CU_ASSERT_EQUAL(throwaway_server_port(server), port);
  throwaway_free(t);
}

static void server_that_cannot_start_tells_its_log(void) {
  static const char *const settings[] = {"shared_buffers=nonsense", NULL};
  static const struct throwaway_options options = {.settings = settings};
  struct error err = {0};
  struct throwaway *t = throwaway_new(&err);
  CU_ASSERT_PTR_NOT_NULL_FATAL(t);
  CU_ASSERT_PTR_NULL(throwaway_server(t, "broken", &options, &err));
  CU_ASSERT_EQUAL(err.code, ERR_UNAVAILABLE);
  CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "shared_buffers"));
  throwaway_free(t);
}

static const char timeline[] = "SELECT ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))"
                               "::bit(32)::int";
static const char in_recovery[] = "SELECT pg_is_in_recovery()::int";

/* An asynchronous standby loses what came after it was held, and has all that came before. */
static void standby_held_and_promoted_lacks_what_came_later(void) {
  struct error err = {0};
  struct throwaway *t = throwaway_new(&err);
  CU_ASSERT_PTR_NOT_NULL_FATAL(t);
  struct throwaway_server *primary = throwaway_server(t, "primary", NULL, &err);
  CU_ASSERT_PTR_NOT_NULL_FATAL(primary);
  struct throwaway_server *standby = throwaway_standby(t, primary, "standby", NULL, &err);
  if (!standby) (void)puts(err.text);
  CU_ASSERT_PTR_NOT_NULL_FATAL(standby);
  CU_ASSERT_EQUAL(query(standby, in_recovery), 1);
  while (query(standby, "SELECT (current_setting('fsync') = 'on')::int") != 1)
    process_pause_ms(10);

  exec(primary, "CREATE TABLE kept AS SELECT 1 AS value");
  check_ok(throwaway_standby_catch_up(standby, &err), &err);
  CU_ASSERT_EQUAL(query(standby, "SELECT value FROM kept"), 1);
  check_ok(throwaway_standby_hold(standby, &err), &err);
  exec(primary, "UPDATE kept SET value = 2");
  check_ok(throwaway_standby_release(standby, &err), &err);
  check_ok(throwaway_standby_catch_up(standby, &err), &err);
  CU_ASSERT_EQUAL(query(standby, "SELECT value FROM kept"), 2);
  check_ok(throwaway_standby_hold(standby, &err), &err);
  exec(primary, "UPDATE kept SET value = 3");

  int64_t before = query(primary, timeline);
  throwaway_server_kill(primary);
  check_ok(throwaway_promote(standby, &err), &err);
  CU_ASSERT_EQUAL(query(standby, in_recovery), 0);
  CU_ASSERT_EQUAL(query(standby, timeline), before + 1);
  CU_ASSERT_EQUAL(query(standby, "SELECT value FROM kept"), 2);
  exec(standby, "UPDATE kept SET value = 4");
  CU_ASSERT_EQUAL_FATAL(throwaway_server_start(primary, &err), ERR_OK); /* two primaries */
  CU_ASSERT_EQUAL(query(primary, "SELECT value FROM kept"), 3);
  char dsn[THROWAWAY_DSN_SIZE];
  struct throwaway_server *both[] = {standby, primary};
  throwaway_servers_dsn(both, 2, "postgres", dsn);
  int64_t value = 0;
  check_ok(throwaway_query_int(dsn, "SELECT value FROM kept", &value, &err), &err);
  CU_ASSERT_EQUAL(value, 4);
  throwaway_free(t);
}

static void commits_wait_for_a_synchronous_standby_and_survive_its_promotion(void) {
  struct error err = {0};
  static const struct throwaway_standby_options options = {.synchronous = true};
  struct throwaway *t = throwaway_new(&err);
  CU_ASSERT_PTR_NOT_NULL_FATAL(t);
  struct throwaway_server *primary = throwaway_server(t, "primary", NULL, &err);
  CU_ASSERT_PTR_NOT_NULL_FATAL(primary);
  struct throwaway_server *standby = throwaway_standby(t, primary, "The-1st", &options, &err);
  CU_ASSERT_PTR_NOT_NULL_FATAL(standby);
  exec(primary, "CREATE TABLE kept AS SELECT 1 AS value");
  check_ok(throwaway_standby_hold(standby, &err), &err);
  char dsn[THROWAWAY_DSN_SIZE];
  throwaway_server_dsn(primary, "postgres", dsn);
  PGconn *waiting = PQconnectdb(dsn);
  CU_ASSERT_EQUAL_FATAL(PQsendQuery(waiting, "UPDATE kept SET value = 2"), 1);
  static const char waits[] = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
  while (query(primary, waits) == 0)
    process_pause_ms(10);
  check_ok(throwaway_standby_release(standby, &err), &err);
  PGresult *result = PQgetResult(waiting);
  CU_ASSERT_EQUAL(PQresultStatus(result), PGRES_COMMAND_OK);
  PQclear(result);
  PQfinish(waiting);
  throwaway_server_kill(primary);
  check_ok(throwaway_promote(standby, &err), &err);
  exec(standby, "UPDATE kept SET value = value + 1"); /* waits for nobody */
  CU_ASSERT_EQUAL(query(standby, "SELECT value FROM kept"), 3);

  throwaway_server_remove(primary);
  struct throwaway_server *next = throwaway_standby(t, standby, "primary", &options, &err);
  if (!next) (void)puts(err.text);
  CU_ASSERT_PTR_NOT_NULL_FATAL(next);
  exec(standby, "UPDATE kept SET value = value + 1");
  throwaway_server_remove(next);
  CU_ASSERT_EQUAL(query(standby, "SELECT count(*) FROM pg_replication_slots"), 0);
  throwaway_free(t);
}

SUITE(throwaway, CASE(servers_are_apart_and_survive_a_kill_but_not_their_owner),
      CASE(server_killed_starts_again_though_another_has_its_process_id),
      CASE(port_of_a_server_that_is_down_is_nobody_elses),
      CASE(server_that_cannot_start_tells_its_log),
      CASE(standby_held_and_promoted_lacks_what_came_later),
      CASE(commits_wait_for_a_synchronous_standby_and_survive_its_promotion))
