/* Throwaway servers: what the tests and the demonstration rest on. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

SUITE(throwaway, CASE(servers_are_apart_and_survive_a_kill_but_not_their_owner),
      CASE(server_that_cannot_start_tells_its_log))
