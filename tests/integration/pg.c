/* See pg.h. */
#include "tests/integration/pg.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

enum { PATIENCE_MS = 60000, LOOK_MS = 10, STATEMENTS_MAX_HERE = 16 };

static struct throwaway *all;
static struct throwaway_server *shared;
static unsigned lost_count;

static _Noreturn void give_up(const char *what, const struct error *err) {
  (void)fprintf(stderr, "test fixture: %s: %s\n", what, err ? err->text : "");
  exit(2);
}

/* ---- the server ------------------------------------------------------------------------------ */

static void free_all(void) {
  throwaway_free(all);
}

static void start_shared(void) {
  static const char *const settings[] = {
      "deadlock_timeout=100ms",           "log_min_messages=fatal",
      "synchronous_standby_names=ghost",  "synchronous_commit=local",
      "recovery_init_sync_method=syncfs", NULL};
  static const struct throwaway_options options = {.prepared_max = 20, .settings = settings};
  struct error err = {0};
  char dsn[THROWAWAY_DSN_SIZE];
  all = throwaway_new(&err);
  if (!all) give_up("no server", &err);
  (void)atexit(free_all);
  shared = throwaway_server(all, "adapter", &options, &err);
  if (!shared) give_up("no server", &err);
  throwaway_server_dsn(shared, "postgres", dsn);
  pg_sql(dsn, "CREATE DATABASE bank");
  pg_sql(dsn, "CREATE DATABASE other");
  pg_sql(dsn, "CREATE ROLE bob LOGIN");
  pg_sql(dsn, "CHECKPOINT"); /* done by the process that also tells of synchronous standbys */
}

void pg_sql(const char *dsn, const char *sql) {
  struct error err = {0};
  if (throwaway_exec(dsn, sql, &err) != ERR_OK) give_up(sql, &err);
}

int64_t pg_int(const char *dsn, const char *sql) {
  struct error err = {0};
  int64_t value = 0;
  if (throwaway_query_int(dsn, sql, &value, &err) != ERR_OK) give_up(sql, &err);
  return value;
}

void pg_restart(struct pg *pg) {
  struct error err = {0};
  if (throwaway_server_start(pg->server, &err) != ERR_OK) give_up("restart", &err);
}

/* First the sessions of the test are ended: a PREPARE of one whose answer nobody waited for could
 * land after the listing, and its locks would stop the next test. */
static void roll_back_all_prepared(struct pg *pg) {
  char sql[GID_SIZE + 64];
  struct error err = {0};
  struct session *session = pg_open_named(pg, "fixture", PG_CALL_TIMEOUT_MS);
  struct pg_answer answer = {.loop = pg->loop};
  pg->adapter->ops->end_sessions(session, "assent", "", pg_on_done, &answer);
  pg_wait(pg, &answer, 1);
  if (answer.err.code != ERR_OK) give_up("sessions of the test", &answer.err);
  pg->adapter->ops->list(session, &pg->cluster, pg_on_listed, &answer);
  pg_wait(pg, &answer, 2);
  for (size_t i = 0; i < answer.branch_count; i++) {
    (void)snprintf(sql, sizeof sql, "ROLLBACK PREPARED '%s'", answer.branches[i].gid);
    if (throwaway_exec(pg->dsn, sql, &err) != ERR_OK) give_up(sql, &err);
  }
  pg_close(pg, session);
}

void pg_setup(struct pg *pg) {
  struct error err = {0};
  struct gid gid = {.epoch = 1, .branch = 1};
  *pg = (struct pg){0};
  if (!all) start_shared();
  pg->server = shared;
  throwaway_server_dsn(shared, "bank", pg->dsn);
  pg->loop = loop_new();
  pg->adapter = postgres_adapter_new(pg->loop, pg->dsn, &err);
  if (!pg->adapter) give_up("no adapter", &err);
  if (!cluster_id_parse("testcluster0", &pg->cluster)) give_up("cluster", NULL);
  gid.cluster = pg->cluster;
  for (int i = 0; i < PG_GID_COUNT; i++) {
    gid.txid = txid_make(clock_wall_us());
    gid_format(&gid, pg->gid[i]);
  }
  pg_sql(pg->dsn,
         "SET client_min_messages = error; DROP TABLE IF EXISTS account, late; "
         "CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0)); "
         "INSERT INTO account VALUES (1, 100), (2, 100); "
         "CREATE TABLE late (id int UNIQUE DEFERRABLE INITIALLY DEFERRED); "
         "INSERT INTO late VALUES (1)");
}

void pg_teardown(struct pg *pg) {
  if (throwaway_server_pid(pg->server) == 0) pg_restart(pg);
  roll_back_all_prepared(pg);
  if (pg->another) pg->another->ops->free(pg->another);
  pg->adapter->ops->free(pg->adapter);
  loop_free(pg->loop);
}

/* ---- callbacks ------------------------------------------------------------------------------- */

static struct pg_answer *came(void *data, const struct cause *cause, const struct error *err) {
  struct pg_answer *answer = data;
  answer->count++;
  if (cause) answer->cause = *cause;
  answer->err = err ? *err : (struct error){0};
  loop_stop(answer->loop);
  return answer;
}

void pg_answer_clear(struct pg_answer *answer) {
  free(answer->results);
  *answer = (struct pg_answer){.loop = answer->loop};
}

void pg_on_ran(void *data, const struct session_result *result) {
  struct pg_answer *answer = came(data, &result->cause, NULL);
  answer->ran = result->ran;
  answer->reusable = result->reusable;
  memcpy(answer->xid, result->xid, sizeof answer->xid);
  free(answer->results);
  answer->results = result->results ? strdup(result->results) : NULL;
}

void pg_on_finished(void *data, enum session_finished finished, const struct cause *cause) {
  came(data, cause, NULL)->finished = finished;
}

void pg_on_committed(void *data, enum branch_outcome outcome, const struct cause *cause) {
  came(data, cause, NULL)->outcome = outcome;
}

void pg_on_looked(void *data, enum session_looked looked, const char *xid,
                  const struct cause *cause) {
  struct pg_answer *answer = came(data, cause, NULL);
  answer->looked = looked;
  (void)snprintf(answer->xid, sizeof answer->xid, "%s", xid);
}

void pg_on_status(void *data, enum xact_status status, const struct cause *cause) {
  came(data, cause, NULL)->status = status;
}

void pg_on_listed(void *data, const struct prepared_branch *branches, size_t count,
                  const struct error *err) {
  struct pg_answer *answer = came(data, NULL, err);
  answer->branch_count = count < PG_GID_COUNT ? count : PG_GID_COUNT;
  if (count) memcpy(answer->branches, branches, answer->branch_count * sizeof *branches);
}

void pg_on_done(void *data, const struct error *err) {
  (void)came(data, NULL, err);
}

void pg_on_claimed(void *data, enum session_claimed claimed, const struct epoch_known *known,
                   const struct cause *cause) {
  struct pg_answer *answer = came(data, cause, NULL);
  answer->claimed = claimed;
  answer->known = *known;
}

void pg_on_probed(void *data, const struct session_probe *probe, const struct error *err) {
  struct pg_answer *answer = came(data, NULL, err);
  if (probe) answer->probe = *probe;
}

void pg_on_opened(void *data, const struct session_identity *identity, const struct error *err) {
  struct pg_answer *answer = came(data, NULL, err);
  if (identity) answer->identity = *identity;
}

void pg_on_lost(void *data, const struct error *err) {
  (void)data;
  (void)err;
  lost_count++;
}

unsigned pg_lost_count(void) {
  return lost_count;
}

/* ---- waiting --------------------------------------------------------------------------------- */

static void out_of_patience(void *data) {
  give_up("no answer", data);
}

void pg_wait(struct pg *pg, struct pg_answer *answer, unsigned count) {
  struct loop_timer *timer = loop_timer_new(pg->loop, out_of_patience, NULL);
  loop_timer_start(timer, PATIENCE_MS);
  while (answer->count < count)
    loop_run(pg->loop);
  loop_timer_free(timer);
}

static void stop(void *data) {
  loop_stop(data);
}

void pg_wait_for(struct pg *pg, const char *condition) {
  char dsn[THROWAWAY_DSN_SIZE];
  uint64_t deadline = loop_now_ms(pg->loop) + PATIENCE_MS;
  struct loop_timer *timer = loop_timer_new(pg->loop, stop, pg->loop);
  throwaway_server_dsn(pg->server, "bank", dsn);
  while (pg_int(dsn, condition) == 0) {
    if (loop_now_ms(pg->loop) > deadline) give_up(condition, NULL);
    loop_timer_start(timer, LOOK_MS);
    loop_run(pg->loop);
  }
  loop_timer_free(timer);
}

/* ---- calls ----------------------------------------------------------------------------------- */

static void begin_answer(struct pg *pg, struct pg_answer *answer) {
  answer->loop = pg->loop;
  pg_answer_clear(answer);
}

struct session *pg_open_named(struct pg *pg, const char *name, int64_t call_timeout_ms) {
  struct pg_answer answer = {.loop = pg->loop};
  struct session *session =
      pg->adapter->ops->open(pg->adapter, SESSION_FOR_BRANCHES, name, call_timeout_ms, pg_on_opened,
                             pg_on_lost, &answer);
  lost_count = 0;
  pg_wait(pg, &answer, 1);
  if (answer.err.code != ERR_OK) give_up("open", &answer.err);
  return session;
}

struct session *pg_open(struct pg *pg) {
  return pg_open_named(pg, "assent test", PG_CALL_TIMEOUT_MS);
}

struct session *pg_open_as(struct pg *pg, const char *dbname, const char *more,
                           struct pg_answer *answer) {
  char dsn[THROWAWAY_DSN_SIZE * 2], base[THROWAWAY_DSN_SIZE];
  struct error err = {0};
  throwaway_server_dsn(pg->server, dbname, base);
  (void)snprintf(dsn, sizeof dsn, "%s %s", base, more);
  if (pg->another) pg->another->ops->free(pg->another);
  pg->another = postgres_adapter_new(pg->loop, dsn, &err);
  if (!pg->another) give_up(dsn, &err);
  begin_answer(pg, answer);
  struct session *session =
      pg->another->ops->open(pg->another, SESSION_FOR_BRANCHES, "assent other", PG_CALL_TIMEOUT_MS,
                             pg_on_opened, pg_on_lost, answer);
  pg_wait(pg, answer, 1);
  return session;
}

void pg_close(struct pg *pg, struct session *session) {
  pg->adapter->ops->close(session);
}

void pg_run_begin(struct pg *pg, struct session *session, enum run_end end, const char *gid,
                  const struct statement *statements, size_t count, struct pg_answer *answer) {
  struct session_job job = {.begin = pg->adapter->ops->is_idle(session),
                            .end = end,
                            .gid = gid,
                            .statements = statements,
                            .statement_count = count,
                            .timeout_ms = PG_CALL_TIMEOUT_MS,
                            .result_rows_max = 1000,
                            .result_bytes_max = 100000};
  begin_answer(pg, answer);
  pg->adapter->ops->run(session, &job, pg_on_ran, answer);
}

void pg_run(struct pg *pg, struct session *session, enum run_end end, const char *gid,
            struct pg_answer *answer, ...) {
  struct statement statements[STATEMENTS_MAX_HERE];
  size_t count = 0;
  va_list args;
  va_start(args, answer);
  for (const char *sql; (sql = va_arg(args, const char *)) != NULL;)
    statements[count++] = (struct statement){.sql = sql, .expect_rows = -1};
  va_end(args);
  pg_run_begin(pg, session, end, gid, statements, count, answer);
  pg_wait(pg, answer, 1);
}

void pg_finish(struct pg *pg, struct session *session, const char *gid, bool commit,
               struct pg_answer *answer) {
  begin_answer(pg, answer);
  pg->adapter->ops->finish(session, gid, commit, pg_on_finished, answer);
  pg_wait(pg, answer, 1);
}
