/* The script of transcript.c on a throwaway PostgreSQL. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/throwaway.h"
#include "common/loop.h"
#include "tests/twin/transcript.h"

static struct throwaway *throwaway;
static struct loop *loop;
static struct loop_timer *timer;
static char dsn[THROWAWAY_DSN_SIZE];

static void check(enum error_code code, const struct error *err) {
  if (code == ERR_OK) return;
  (void)fprintf(stderr, "%s\n", err->text);
  throwaway_free(throwaway);
  exit(1);
}

static void stop(void *data) {
  (void)data;
  loop_stop(loop);
}

static void step(void) {
  loop_timer_start(timer, 1);
  loop_run(loop);
}

static size_t waiting(void) {
  struct error err = {0};
  int64_t count = 0;
  check(throwaway_query_int(dsn, "SELECT count(*) FROM pg_locks WHERE NOT granted", &count, &err),
        &err);
  return (size_t)count;
}

static void start_server(void) {
  static const char *const settings[] = {"deadlock_timeout=200", NULL};
  static_assert(TRANSCRIPT_DEADLOCK_MS == 200 && TRANSCRIPT_ACCOUNTS == 8 &&
                    TRANSCRIPT_BALANCE == 100,
                "as in the texts here");
  const struct throwaway_options options = {.prepared_max = TRANSCRIPT_PREPARED_MAX,
                                            .settings = settings};
  struct error err = {0};
  throwaway = throwaway_new(&err);
  check(throwaway ? ERR_OK : err.code, &err);
  struct throwaway_server *server = throwaway_server(throwaway, "transcript", &options, &err);
  check(server ? ERR_OK : err.code, &err);
  throwaway_server_dsn(server, "postgres", dsn);
  check(throwaway_exec(dsn,
                       "CREATE TABLE account (id int PRIMARY KEY, balance int8 NOT NULL CHECK "
                       "(balance >= 0)); INSERT INTO account SELECT id, 100 FROM "
                       "generate_series(1, 8) AS id",
                       &err),
        &err);
}

int main(void) {
  struct error err = {0};
  start_server();
  loop = loop_new();
  timer = loop_timer_new(loop, stop, NULL);
  const struct transcript_server server = {
      .adapter = postgres_adapter_new(loop, dsn, &err),
      .step = step,
      .waiting = waiting,
      .add = "UPDATE account SET balance = balance + $2::int8 WHERE id = $1::int4",
      .read = "SELECT balance FROM account WHERE id = $1::int4",
      .fail = "SELECT 1 / 0"};
  check(server.adapter ? ERR_OK : err.code, &err);
  transcript_write(&server);
  server.adapter->ops->free(server.adapter);
  loop_timer_free(timer);
  loop_free(loop);
  throwaway_free(throwaway);
  return 0;
}
