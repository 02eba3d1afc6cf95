/* Who tells the server how long a branch may take: the connection, for those that want what the one before
 * it wanted, or the branch. Either way it is in force, and a session that was cleaned has it still. */
#include <string.h>

#include "cli/proxy.h"
#include "tests/integration/pg.h"
#include "tests/lib/suite.h"

enum { USUAL_MS = 30000, SHORT_MS = 5000 };

/* "client": by the connection; "session": by the branch. */
#define LOOK               "SELECT setting, source FROM pg_settings WHERE name = 'statement_timeout'"
#define ROW(value, source) "[\"" value "\",\"" source "\"]"

static struct pg pg;
static struct session *session;
static struct pg_answer answer;

static void begin(void) {
  pg_setup(&pg);
  session = pg_open(&pg);
  answer = (struct pg_answer){.loop = pg.loop};
}

static void end(void) {
  pg_answer_clear(&answer);
  pg_close(&pg, session);
  pg_teardown(&pg);
}

/* Runs it as a branch of its own that only reads: the session is idle again. */
static void run_in(struct session *where, const char *sql, int64_t timeout_ms) {
  const struct statement statement = {.sql = sql, .expect_rows = -1};
  const struct session_job job = {.begin = true,
                                  .end = RUN_PREPARE,
                                  .gid = pg.gid[0],
                                  .statements = &statement,
                                  .statement_count = 1,
                                  .timeout_ms = timeout_ms,
                                  .result_rows_max = 10,
                                  .result_bytes_max = 1000};
  pg_answer_clear(&answer);
  pg.adapter->ops->run(where, &job, pg_on_ran, &answer);
  pg_wait(&pg, &answer, 1);
  CU_ASSERT_EQUAL_FATAL(answer.ran, RAN_READ_ONLY);
  CU_ASSERT_TRUE(answer.reusable);
}

#define CHECK_IN(where, timeout_ms, row)                                                           \
  do {                                                                                             \
    run_in(where, LOOK, timeout_ms);                                                               \
    CU_ASSERT_PTR_NOT_NULL(strstr(answer.results, row));                                           \
  } while (0)

static void branch_with_the_usual_time_sends_none(void) {
  begin();
  for (int i = 0; i < 3; i++) /* after RESET ALL, too */
    CHECK_IN(session, USUAL_MS, ROW("32768", "client"));
  run_in(session, "EXPLAIN SELECT 1", USUAL_MS); /* not plain: before and after it, DISCARD ALL */
  CHECK_IN(session, USUAL_MS, ROW("32768", "client"));
  end();
}

static void branch_with_another_time_sends_its_own(void) {
  begin();
  CHECK_IN(session, SHORT_MS, ROW("5120", "session"));
  CHECK_IN(session, USUAL_MS, ROW("32768", "client"));
  end();
}

static void connection_made_later_has_what_the_last_branch_wanted(void) {
  begin();
  run_in(session, LOOK, SHORT_MS);
  struct session *later = pg_open(&pg);
  CHECK_IN(later, SHORT_MS, ROW("5120", "client"));
  CHECK_IN(later, USUAL_MS, ROW("32768", "session"));
  pg_close(&pg, later);
  end();
}

static void session_that_goes_on_sends_its_own_again(void) {
  begin();
  pg_run(&pg, session, RUN_KEEP_OPEN, NULL, &answer, "SET LOCAL statement_timeout = 0", NULL);
  pg_run(&pg, session, RUN_KEEP_OPEN, NULL, &answer, LOOK, NULL);
  CU_ASSERT_PTR_NOT_NULL(strstr(answer.results, ROW("5120", "session")));
  end();
}

static void other_times_come_with_the_connection(void) {
  begin();
  CHECK_IN(session, USUAL_MS, ROW("32768", "client"));
  run_in(session,
         "SELECT setting FROM pg_settings WHERE name IN ('lock_timeout',"
         " 'idle_in_transaction_session_timeout') ORDER BY name",
         USUAL_MS);
  CU_ASSERT_PTR_NOT_NULL(strstr(answer.results, "[[\"32768\"],[\"26624\"]]"));
  end();
}

static void session_for_control_has_none(void) {
  begin();
  pg_answer_clear(&answer);
  struct session *control =
      pg.adapter->ops->open(pg.adapter, SESSION_FOR_CONTROL, "assent control", PG_CALL_TIMEOUT_MS,
                            pg_on_opened, pg_on_lost, &answer);
  pg_wait(&pg, &answer, 1);
  CHECK_IN(control, USUAL_MS, ROW("32768", "session")); /* were it to run a branch */
  pg_close(&pg, control);
  end();
}

static void options_of_the_dsn_stay(void) {
  begin();
  struct session *other = pg_open_as(&pg, "bank", "options='-c work_mem=1234kB'", &answer);
  CHECK_IN(other, USUAL_MS, ROW("32768", "client"));
  run_in(other, "SELECT current_setting('work_mem')", USUAL_MS);
  CU_ASSERT_PTR_NOT_NULL(strstr(answer.results, "1234kB"));
  pg_close(&pg, other);
  end();
}

/* ---- what stands before the server -------------------------------------------------------------- */

static struct proxy *start_proxy(char *more, size_t size) {
  struct proxy *proxy;
  struct error err = {0};
  char target[64];
  (void)snprintf(target, sizeof target, "127.0.0.1:%d", throwaway_server_port(pg.server));
  CU_ASSERT_EQUAL_FATAL(proxy_start(&proxy, target, 1, &err), ERR_OK);
  (void)snprintf(more, size, "host=127.0.0.1 port=%u sslmode=disable gssencmode=disable",
                 proxy_port(proxy));
  return proxy;
}

static void connection_whose_options_are_refused_is_made_without(void) {
  char more[128];
  begin();
  struct proxy *proxy = start_proxy(more, sizeof more);
  (void)proxy_on(proxy, PROXY_TO_TARGET, "-c statement_timeout", PROXY_CUT);
  struct session *first = pg_open_as(&pg, "bank", more, &answer);
  CU_ASSERT_EQUAL_FATAL(answer.err.code, ERR_OK);
  CHECK_IN(first, USUAL_MS, ROW("32768", "session"));
  struct pg_answer opened = {.loop = pg.loop};
  struct session *second =
      pg.another->ops->open(pg.another, SESSION_FOR_BRANCHES, "assent test", PG_CALL_TIMEOUT_MS,
                            pg_on_opened, pg_on_lost, &opened);
  pg_wait(&pg, &opened, 1);
  CHECK_IN(second, USUAL_MS, ROW("32768", "session")); /* it did not try again */
  pg_close(&pg, second);
  pg_close(&pg, first);
  proxy_free(proxy);
  end();
}

static void options_that_are_not_heeded_are_not_leant_on(void) {
  char more[128];
  begin();
  struct proxy *proxy = start_proxy(more, sizeof more);
  (void)proxy_replace(proxy, PROXY_TO_TARGET, "statement_timeout=32768", "statement_timeout=00000");
  struct session *other = pg_open_as(&pg, "bank", more, &answer);
  CU_ASSERT_EQUAL_FATAL(answer.err.code, ERR_OK);
  CHECK_IN(other, USUAL_MS, ROW("32768", "session"));
  pg_close(&pg, other);
  proxy_free(proxy);
  end();
}

SUITE(postgres_timeouts, CASE(branch_with_the_usual_time_sends_none),
      CASE(branch_with_another_time_sends_its_own),
      CASE(connection_made_later_has_what_the_last_branch_wanted),
      CASE(session_that_goes_on_sends_its_own_again), CASE(other_times_come_with_the_connection),
      CASE(session_for_control_has_none), CASE(options_of_the_dsn_stay),
      CASE(connection_whose_options_are_refused_is_made_without),
      CASE(options_that_are_not_heeded_are_not_leant_on))
