/* A connection that is reset behind an answer, and on which more is sent before that is noticed: libpq
 * closes its socket while it sends, and not in a call that reads. A proxy makes it so; the loop does not
 * run meanwhile, so that answer and reset come as one event. */
#include <stdio.h>

#include "cli/proxy.h"
#include "tests/integration/pg.h"
#include "tests/lib/suite.h"

enum { FIRED_MS_MAX = 20000, SENT_MAX = 2 };

static struct pg pg;
static struct pg_answer answer;
static struct session *session;
static struct pg_answer first, later[SENT_MAX];

/* Outside of what the session is called for: it would look after its socket when that returns. */
static void send_more(void *data) {
  (void)data;
  for (int i = 0; i < SENT_MAX; i++)
    pg.another->ops->finish(session, pg.gid[1 + i], true, pg_on_finished, &later[i]);
}

static void on_first(void *data, enum session_finished finished, const struct cause *cause) {
  pg_on_finished(data, finished, cause);
  loop_defer(pg.loop, send_more, NULL);
}

static void prepare(const char *gid) {
  char sql[256];
  (void)snprintf(sql, sizeof sql, "BEGIN; INSERT INTO late VALUES (2); PREPARE TRANSACTION '%s'",
                 gid);
  pg_sql(pg.dsn, sql);
}

static struct proxy *open_through_proxy(void) {
  struct proxy *proxy = NULL;
  struct error err = {0};
  char target[32], more[128];
  (void)snprintf(target, sizeof target, "127.0.0.1:%d", throwaway_server_port(pg.server));
  CU_ASSERT_EQUAL_FATAL(proxy_start(&proxy, target, 1, &err), ERR_OK);
  (void)snprintf(more, sizeof more, "host=127.0.0.1 port=%u sslmode=disable gssencmode=disable",
                 proxy_port(proxy));
  session = pg_open_as(&pg, "bank", more, &answer);
  CU_ASSERT_EQUAL_FATAL(answer.err.code, ERR_OK);
  return proxy;
}

static void session_that_sends_on_after_a_reset_is_lost(void) {
  pg_setup(&pg);
  answer = first = later[0] = later[1] = (struct pg_answer){.loop = pg.loop};
  prepare(pg.gid[0]);
  struct proxy *proxy = open_through_proxy();
  unsigned rule = proxy_on(proxy, PROXY_TO_CLIENT, "COMMIT PREPARED", PROXY_PASS);
  pg.another->ops->finish(session, pg.gid[0], true, on_first, &first);
  CU_ASSERT_TRUE_FATAL(proxy_wait_fired(proxy, rule, FIRED_MS_MAX));
  proxy_free(proxy);
  pg_wait(&pg, &later[SENT_MAX - 1], 1);
  CU_ASSERT_EQUAL(first.finished, FINISH_DONE);
  for (int i = 0; i < SENT_MAX; i++)
    CU_ASSERT_EQUAL(later[i].finished, FINISH_LOST);
  pg_close(&pg, session);
  pg_teardown(&pg);
}

SUITE(postgres_gone, CASE(session_that_sends_on_after_a_reset_is_lost))
