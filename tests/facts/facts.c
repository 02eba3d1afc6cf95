/* See facts.h. Limits: SESSIONS_MAX sessions in a case, ANSWER_SECONDS_MAX for an answer. */
#include "tests/facts/facts.h"

#include <assert.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SESSIONS_MAX = 16, SQL_SIZE = 2048, ANSWER_SECONDS_MAX = 60, LOOK_MS = 5 };

static struct throwaway *all;
static struct throwaway_server *main_server, *bare_server;
static PGconn *sessions[SESSIONS_MAX];
static size_t session_count;
static int server_version; /* as of PQserverVersion() */
static char version_text[16];
static char last_warning[6];

_Noreturn void facts_give_up(const char *what, const char *why) {
  (void)fprintf(stderr, "facts: %s: %s\n", what, why);
  exit(2);
}

/* ---- time ------------------------------------------------------------------------------------ */

static int64_t now_ms(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t deadline_ms(void) {
  return now_ms() + (int64_t)ANSWER_SECONDS_MAX * 1000;
}

/* ---- sessions -------------------------------------------------------------------------------- */

static void on_notice(void *data, const PGresult *notice) {
  (void)data;
  const char *severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
  const char *sqlstate = PQresultErrorField(notice, PG_DIAG_SQLSTATE);
  if (severity && sqlstate && strcmp(severity, "WARNING") == 0)
    (void)snprintf(last_warning, sizeof last_warning, "%s", sqlstate);
}

PGconn *facts_session_as(const struct throwaway_server *server, const char *dbname,
                         const char *more) {
  char dsn[THROWAWAY_DSN_SIZE], full[THROWAWAY_DSN_SIZE + 256];
  assert(session_count < SESSIONS_MAX);
  throwaway_server_dsn(server, dbname, dsn);
  (void)snprintf(full, sizeof full, "%s %s", dsn, more);
  PGconn *session = PQconnectdb(full);
  if (PQstatus(session) != CONNECTION_OK) facts_give_up("no connection", PQerrorMessage(session));
  (void)PQsetNoticeReceiver(session, on_notice, NULL);
  server_version = PQserverVersion(session);
  (void)snprintf(version_text, sizeof version_text, "%d.%d", server_version / 10000,
                 server_version % 10000);
  sessions[session_count++] = session;
  return session;
}

PGconn *facts_session(void) {
  return facts_session_as(facts_server(), "facts", "");
}

static void close_sessions(void) {
  while (session_count > 0)
    PQfinish(sessions[--session_count]);
}

static void take(struct answer *answer, PGresult *result) {
  *answer = (struct answer){0};
  const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  switch ((int)PQresultStatus(result)) {
  case PGRES_PIPELINE_ABORTED: memcpy(answer->sqlstate, "skip", sizeof "skip"); break;
  case PGRES_TUPLES_OK:
  case PGRES_COMMAND_OK:
    (void)snprintf(answer->tag, sizeof answer->tag, "%s", PQcmdStatus(result));
    if (PQntuples(result) > 0 && PQnfields(result) > 0)
      (void)snprintf(answer->value, sizeof answer->value, "%s", PQgetvalue(result, 0, 0));
    break;
  default:
    (void)snprintf(answer->sqlstate, sizeof answer->sqlstate, "%s", sqlstate ? sqlstate : "lost");
    (void)snprintf(answer->text, sizeof answer->text, "%s", PQresultErrorMessage(result));
  }
}

/* The next result, or NULL at the end of a command's. */
static PGresult *next_result(PGconn *session) {
  int64_t deadline = deadline_ms();
  while (PQisBusy(session)) {
    struct pollfd fd = {.fd = PQsocket(session), .events = POLLIN};
    int64_t left = deadline - now_ms();
    if (left <= 0) facts_give_up("an answer", "did not come in time");
    (void)poll(&fd, 1, (int)left);
    if (!PQconsumeInput(session)) break; /* the next result tells */
  }
  return PQgetResult(session);
}

struct answer hear(PGconn *session) {
  struct answer answer = {0};
  last_warning[0] = '\0';
  for (PGresult *result; (result = next_result(session)) != NULL; PQclear(result))
    take(&answer, result);
  memcpy(answer.warning, last_warning, sizeof answer.warning);
  return answer;
}

static void __attribute__((format(printf, 2, 0)))
send_text(PGconn *session, const char *format, va_list arguments) {
  char sql[SQL_SIZE];
  int length = vsnprintf(sql, sizeof sql, format, arguments);
  assert(length > 0 && (size_t)length < sizeof sql);
  if (!PQsendQuery(session, sql)) facts_give_up(sql, PQerrorMessage(session));
}

void say_begin(PGconn *session, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  send_text(session, format, arguments);
  va_end(arguments);
}

struct answer say(PGconn *session, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  send_text(session, format, arguments);
  va_end(arguments);
  return hear(session);
}

size_t say_in_pipeline(PGconn *session, struct answer out[PIPELINE_MAX],
                       const char *const *commands) {
  size_t count = 0;
  if (!PQenterPipelineMode(session)) facts_give_up("pipeline", PQerrorMessage(session));
  for (const char *const *at = commands; *at; at++) {
    int sent = **at ? PQsendQueryParams(session, *at, 0, NULL, NULL, NULL, NULL, 0)
                    : PQpipelineSync(session);
    if (!sent) facts_give_up("pipeline", PQerrorMessage(session));
  }
  for (const char *const *at = commands; *at; at++) {
    PGresult *result = next_result(session);
    if (**at) {
      assert(count < PIPELINE_MAX);
      take(&out[count++], result);
      PQclear(next_result(session)); /* NULL: the end of this command's */
    }
    PQclear(result);
  }
  if (!PQexitPipelineMode(session)) facts_give_up("pipeline", PQerrorMessage(session));
  return count;
}

/* ---- servers --------------------------------------------------------------------------------- */

static void free_all(void) {
  close_sessions();
  throwaway_free(all);
}

struct throwaway *facts_throwaway(void) {
  struct error err = {0};
  if (all) return all;
  all = throwaway_new(&err);
  if (!all) facts_give_up("no servers", err.text);
  (void)atexit(free_all);
  return all;
}

static void must(PGconn *session, const char *sql) {
  struct answer answer = say(session, "%s", sql);
  if (answer.sqlstate[0]) facts_give_up(sql, answer.text);
}

/* The checkpointer is also who tells the others of synchronous standbys: not before it has run. */
static void await_checkpointer(const struct throwaway_server *server) {
  must(facts_session_as(server, "postgres", ""), "CHECKPOINT");
}

struct throwaway_server *facts_server(void) {
  static const char *const settings[] = {
      "synchronous_standby_names=nobody", "synchronous_commit=local", "autovacuum=off",
      "wal_writer_delay=10000ms",         "log_min_messages=fatal",   NULL};
  static const struct throwaway_options options = {.prepared_max = FACTS_SLOTS,
                                                   .settings = settings};
  struct error err = {0};
  if (main_server) return main_server;
  main_server = throwaway_server(facts_throwaway(), "main", &options, &err);
  if (!main_server) facts_give_up("no server", err.text);
  PGconn *session = facts_session_as(main_server, "postgres", "");
  must(session, "CREATE DATABASE facts");
  must(session, "CREATE DATABASE other");
  must(session, "CREATE ROLE alice LOGIN");
  must(session, "CREATE ROLE bob LOGIN");
  must(facts_session_as(main_server, "facts", ""),
       "CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL);"
       "CREATE TABLE late (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);"
       "CREATE UNLOGGED TABLE scratch (id int);"
       "GRANT ALL ON account, late, scratch TO PUBLIC");
  await_checkpointer(main_server);
  return main_server;
}

struct throwaway_server *facts_bare_server(void) {
  static const char *const settings[] = {"wal_level=minimal", "max_wal_senders=0",
                                         "log_min_messages=fatal", NULL};
  static const struct throwaway_options options = {.prepared_max = -1, .settings = settings};
  struct error err = {0};
  if (!bare_server) bare_server = throwaway_server(facts_throwaway(), "bare", &options, &err);
  if (!bare_server) facts_give_up("no server", err.text);
  return bare_server;
}

void facts_crash(struct throwaway_server *server) {
  struct error err = {0};
  throwaway_server_kill(server);
  if (throwaway_server_start(server, &err) != ERR_OK) facts_give_up("restart", err.text);
  await_checkpointer(server);
}

int facts_major(void) {
  return server_version / 10000;
}

const char *facts_version(void) {
  return version_text;
}

static bool is_true(PGconn *session, const char *condition) {
  struct answer answer = say(session, "%s", condition);
  if (answer.sqlstate[0]) facts_give_up(condition, answer.text);
  return answer.value[0] == 't';
}

static void await(PGconn *session, const char *condition) {
  for (int64_t deadline = deadline_ms(); !is_true(session, condition); (void)poll(NULL, 0, LOOK_MS))
    if (now_ms() > deadline) facts_give_up(condition, "did not become true in time");
}

void facts_until(const char *condition) {
  await(facts_session(), condition);
}

/* ---- between cases --------------------------------------------------------------------------- */

static void end_prepared(PGconn *session, const char *dbname) {
  for (;;) {
    struct answer gid =
        say(session, "SELECT gid FROM pg_prepared_xacts WHERE database = '%s'", dbname);
    if (!gid.value[0]) return;
    char sql[SQL_SIZE];
    (void)snprintf(sql, sizeof sql, "ROLLBACK PREPARED '%s'", gid.value);
    must(session, sql);
  }
}

void facts_setup(void) {
  close_sessions();
  PGconn *session = facts_session();
  must(session, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()");
  await(session, "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'client backend'");
  end_prepared(session, "facts");
  end_prepared(facts_session_as(facts_server(), "other", ""), "other");
  /* Not flushed for its own sake: that is most of the time this takes. */
  must(session, "SET synchronous_commit = off");
  must(session, "DELETE FROM account; INSERT INTO account VALUES (1, 100), (2, 100);"
                "DELETE FROM late; INSERT INTO late VALUES (1); DELETE FROM scratch");
  close_sessions();
}

void facts_teardown(void) {
  close_sessions();
}

/* ---- checks ---------------------------------------------------------------------------------- */

void facts_check(const char *what, struct answer answer, const char *want, const char *file,
                 unsigned line) {
  char said[512];
  const char *is = answer.value;
  if (strcmp(what, "tag") == 0) is = answer.tag;
  if (strcmp(what, "sqlstate") == 0) is = answer.sqlstate;
  if (strcmp(what, "warning") == 0) is = answer.warning;
  (void)snprintf(said, sizeof said, "%s is \"%s\", not \"%s\" (%s %s)", what, is, want,
                 answer.sqlstate, answer.text);
  said[strcspn(said, "\n")] = '\0';
  (void)CU_assertImplementation(strcmp(is, want) == 0, line, said, file, "", CU_FALSE);
}

const char *facts_expected(const struct since *by_version) {
  const char *what = "nothing";
  for (; by_version->what && by_version->major <= facts_major(); by_version++)
    what = by_version->what;
  facts_note(what);
  return what;
}
