/* Who gets a session, and in which order; on sessions that open at once and do nothing. */
#include "participant-agent/pool.h"

#include <stdlib.h>

#include "participant-agent/admission.h"
#include "tests/lib/suite.h"

enum { USERS = 24, SERVER_VERSION = 150018 };
static const char SERVER[] = "7313/1/5";

/* ---- sessions that do nothing ------------------------------------------------------------------ */

struct session {
  struct loop_timer *timer;
  session_opened_fn opened;
  void *data;
};

static struct loop *loop;

static void on_timer(void *data) {
  const struct session *session = data;
  struct session_identity identity = {.server_version = SERVER_VERSION};
  copy_text(identity.server, sizeof identity.server, SERVER);
  session->opened(session->data, &identity, NULL);
}

static struct session *open_session(struct adapter *adapter, enum session_use use, const char *name,
                                    int64_t timeout_ms, session_opened_fn opened,
                                    session_lost_fn lost, void *data) {
  (void)adapter, (void)name, (void)timeout_ms, (void)lost;
  CU_ASSERT_EQUAL(use, SESSION_FOR_BRANCHES);
  struct session *session = must_allocate(sizeof *session);
  *session = (struct session){loop_timer_new(loop, on_timer, session), opened, data};
  loop_timer_start(session->timer, 0);
  return session;
}

static void close_session(struct session *session) {
  loop_timer_free(session->timer);
  free(session);
}

static bool is_idle(const struct session *session) {
  (void)session;
  return true;
}

static const struct adapter_ops ops = {.open = open_session,
                                       .close = close_session,
                                       .is_idle = is_idle};
static struct adapter adapter = {&ops};

/* ---- users ------------------------------------------------------------------------------------- */

struct user {
  struct ticket ticket;
  struct work *work; /* NULL: it has none */
  unsigned turn;     /* the how manieth it was to get one; from 1 */
};

static struct pool *pool;
static struct session_names names;
static struct user users[USERS];
static unsigned turns;

static void take(struct user *user, struct work *work) {
  user->work = work;
  user->turn = ++turns;
}

static void on_got(void *data, struct work *work, const struct cause *cause) {
  (void)cause;
  CU_ASSERT_PTR_NOT_NULL_FATAL(work);
  take(data, work);
}

static void on_lost(void *data, const struct error *err) {
  (void)data, (void)err;
  CU_FAIL("nothing is lost here");
}

static enum pool_answer ask(unsigned number, bool stays_open) {
  struct user *user = &users[number];
  struct work *work = NULL;
  *user = (struct user){
      .ticket = {.got = on_got, .lost = on_lost, .data = user, .stays_open = stays_open}};
  enum pool_answer answer = pool_acquire(pool, &user->ticket, &work);
  if (answer == POOL_GOT) take(user, work);
  return answer;
}

static void give_back(unsigned number) {
  struct work *work = users[number].work;
  users[number].work = NULL;
  pool_release(work, true);
}

static unsigned holders(void) {
  unsigned count = 0;
  for (unsigned i = 0; i < USERS; i++)
    count += users[i].work != NULL;
  return count;
}

static void stop(void *data) {
  loop_stop(data);
}

/* All sessions that are being opened are open after it. */
static void settle(void) {
  struct loop_timer *timer = loop_timer_new(loop, stop, loop);
  loop_timer_start(timer, 5);
  loop_run(loop);
  loop_timer_free(timer);
}

static void begin(unsigned connections_max, unsigned waiting_max) {
  loop = loop_new();
  session_names_init(&names, "agent", "0123456789abcdef");
  struct pool_options options = {.loop = loop,
                                 .adapter = &adapter,
                                 .names = &names,
                                 .connections_max = connections_max,
                                 .waiting_max = waiting_max,
                                 .call_timeout_ms = 1000};
  pool = pool_new(&options);
  pool_start(pool, SERVER);
  for (unsigned i = 0; i < USERS; i++)
    users[i] = (struct user){.work = NULL};
  turns = 0;
}

static void end(void) {
  for (unsigned i = 0; i < USERS; i++) {
    (void)pool_withdraw(pool, &users[i].ticket);
    if (users[i].work) give_back(i);
  }
  pool_free(pool);
  loop_free(loop);
}

/* ---- cases ------------------------------------------------------------------------------------- */

static void no_more_run_at_once_than_are_worth_it(void) {
  begin(USERS, USERS);
  for (unsigned i = 0; i < USERS; i++)
    CU_ASSERT_EQUAL(ask(i, false), POOL_QUEUED);
  settle();
  CU_ASSERT_EQUAL(holders(), ADMISSION_START);
  CU_ASSERT_EQUAL(pool_numbers(pool).open, ADMISSION_START);
  CU_ASSERT_EQUAL(pool_numbers(pool).busy, ADMISSION_START);
  CU_ASSERT_EQUAL(pool_numbers(pool).waiting, USERS - ADMISSION_START);
  end();
}

static void first_come_first_served(void) {
  begin(USERS, USERS);
  for (unsigned i = 0; i < USERS; i++)
    CU_ASSERT_EQUAL(ask(i, i % 3 == 0), POOL_QUEUED);
  settle();
  for (unsigned i = 0; i < USERS; i++) {
    CU_ASSERT_EQUAL(users[i].turn, i + 1);
    give_back(i);
  }
  end();
}

/* No delay where nobody waits. */
static void idle_session_is_had_at_once(void) {
  begin(4, USERS);
  CU_ASSERT_EQUAL(ask(0, false), POOL_QUEUED);
  settle();
  give_back(0);
  CU_ASSERT_EQUAL(ask(1, false), POOL_GOT);
  end();
}

static void session_at_rest_lets_another_run_and_goes_on_over_the_limit(void) {
  begin(USERS, USERS);
  for (unsigned i = 0; i <= ADMISSION_START; i++)
    (void)ask(i, i == 0);
  settle();
  CU_ASSERT_PTR_NULL(users[ADMISSION_START].work);
  pool_rest(users[0].work);
  settle();
  CU_ASSERT_PTR_NOT_NULL(users[ADMISSION_START].work);
  pool_resume(users[0].work);
  CU_ASSERT_EQUAL(pool_numbers(pool).busy, ADMISSION_START + 1);
  end();
}

static void last_quarter_is_not_for_those_that_stay_open(void) {
  begin(4, USERS);
  for (unsigned i = 0; i < 4; i++)
    (void)ask(i, true);
  settle();
  CU_ASSERT_EQUAL(holders(), 3);
  (void)ask(4, false);
  settle();
  CU_ASSERT_PTR_NOT_NULL(users[4].work);
  CU_ASSERT_PTR_NULL(users[3].work);
  give_back(4);
  CU_ASSERT_PTR_NULL(users[3].work);
  CU_ASSERT_EQUAL(ask(5, false), POOL_GOT);
  give_back(0);
  CU_ASSERT_PTR_NOT_NULL(users[3].work);
  end();
}

static void one_more_than_may_wait_is_refused(void) {
  begin(1, 1);
  (void)ask(0, false);
  settle();
  CU_ASSERT_FALSE(pool_is_full(pool, false));
  CU_ASSERT_EQUAL(ask(1, false), POOL_QUEUED);
  CU_ASSERT_TRUE(pool_is_full(pool, false));
  CU_ASSERT_EQUAL(ask(2, false), POOL_FULL);
  give_back(0);
  CU_ASSERT_PTR_NOT_NULL(users[1].work);
  CU_ASSERT_FALSE(pool_is_full(pool, false));
  end();
}

SUITE(pool, CASE(no_more_run_at_once_than_are_worth_it), CASE(first_come_first_served),
      CASE(idle_session_is_had_at_once),
      CASE(session_at_rest_lets_another_run_and_goes_on_over_the_limit),
      CASE(last_quarter_is_not_for_those_that_stay_open), CASE(one_more_than_may_wait_is_refused))
