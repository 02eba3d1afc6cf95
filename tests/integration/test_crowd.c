/* More clients than are welcome: thousands that say nothing, or half of something, or nothing any more.
 * Those that do say something must not notice.
 */
#include "tests/lib/world.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SILENT_MAX = 5000, WAITING_MAX = 10000, TRANSFERS = 20, ANSWER_SIZE = 4096 };

static const char half_request[] =
    "POST /v1/transactions HTTP/1.1\r\nHost: localhost\r\nContent-Le";

/* Of so many, those that the limit of descriptors lets us, and a daemon started by us, have. */
static int crowd_size(int wanted) {
  struct rlimit limit;
  CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_NOFILE, &limit), 0);
  limit.rlim_cur = limit.rlim_max;
  CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
  return limit.rlim_cur / 2 < (rlim_t)wanted ? (int)(limit.rlim_cur / 2) : wanted;
}

/* A third each is silent, stops in its request, has closed its sending half. */
static void come(struct world *w, int *sockets, int count) {
  for (int i = 0; i < count; i++) {
    sockets[i] = api_connect(w->api);
    CU_ASSERT_TRUE_FATAL(sockets[i] >= 0);
    if (i % 3 == 1)
      CU_ASSERT_TRUE(send(sockets[i], half_request, strlen(half_request), MSG_NOSIGNAL) > 0);
    if (i % 3 == 2) CU_ASSERT_EQUAL(shutdown(sockets[i], SHUT_WR), 0);
  }
}

static void leave(int *sockets, int count) {
  for (int i = 0; i < count; i++)
    (void)close(sockets[i]);
}

static void thousands_of_silent_clients_leave_the_others_alone(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  int count = crowd_size(SILENT_MAX);
  int *sockets = calloc((size_t)count, sizeof *sockets);
  CU_ASSERT_PTR_NOT_NULL_FATAL(sockets);
  come(w, sockets, count);
  for (int i = 0; i < TRANSFERS; i++)
    CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(1))), 200);
  CHECK_MOVED(w, TRANSFERS);
  leave(sockets, count);
  free(sockets);
  world_close(w);
}
IN_BOTH_MODES(thousands_of_silent_clients_leave_the_others_alone)

/* All that comes up to the end of an answer. */
static void take_answer(int fd, char answer[ANSWER_SIZE]) {
  size_t length = 0;
  ssize_t got;
  answer[0] = '\0';
  while (!strstr(answer, "\"cause\"") && length < ANSWER_SIZE - 1 &&
         (got = recv(fd, answer + length, ANSWER_SIZE - 1 - length, 0)) > 0) {
    length += (size_t)got;
    answer[length] = '\0';
  }
}

static void thousands_that_wait_are_all_answered(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  int count = crowd_size(WAITING_MAX);
  int *sockets = calloc((size_t)count, sizeof *sockets);
  CU_ASSERT_PTR_NOT_NULL_FATAL(sockets);
  const char *id = reply_string(api_run(w->api, "{'branches':[" TRANSFER(7) "]}"), "/id");
  const char *request =
      api_text(w->api, "GET /v1/transactions/%s?wait=applied HTTP/1.1\r\nHost: localhost\r\n\r\n",
               id);
  char answer[ANSWER_SIZE];
  int answered = 0, early = 0;
  for (int i = 0; i < count; i++) {
    sockets[i] = api_connect(w->api);
    CU_ASSERT_TRUE_FATAL(sockets[i] >= 0);
    CU_ASSERT_TRUE_FATAL(send(sockets[i], request, strlen(request), MSG_NOSIGNAL) > 0);
  }
  for (int i = 0; i < TRANSFERS; i++) /* of other rows: others are served meanwhile */
    CHECK_STATUS(api_run(w->api, ONE_CALL("", BRANCH("bank_b", STATEMENT("SELECT 1")))), 200);
  for (int i = 0; i < count; i++)
    early += recv(sockets[i], answer, 1, MSG_DONTWAIT | MSG_PEEK) >= 0;
  CU_ASSERT_EQUAL(early, 0);
  CHECK_STATUS(api_commit(w->api, id), 200);
  for (int i = 0; i < count; i++) {
    take_answer(sockets[i], answer);
    answered += strncmp(answer, "HTTP/1.1 200", 12) == 0 && strstr(answer, "\"committed\"");
  }
  CU_ASSERT_EQUAL(answered, count);
  CHECK_MOVED(w, 7);
  leave(sockets, count);
  free(sockets);
  world_close(w);
}
IN_BOTH_MODES(thousands_that_wait_are_all_answered)

/* The next has to wait until one has gone, and no longer: nobody else says anything meanwhile. */
static void client_over_the_limit_waits_until_one_has_gone(enum world_mode mode) {
  enum { LIMIT = 8, SILENT = LIMIT - 1 };
  struct world *w = world_open(mode, &(struct world_options){.settings = "connections = 8\n"});
  int sockets[SILENT];
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(1))), 200);
  for (int i = 0; i < SILENT; i++)
    sockets[i] = api_connect(w->api);
  struct async *call = async_post(w->api, "/v1/transactions", ONE_CALL("", TRANSFER(1)));
  for (int i = 0; i < TRANSFERS; i++)
    CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(1))), 200);
  CU_ASSERT_FALSE(async_is_done(call));
  leave(sockets, 1);
  CHECK_STATUS(async_finish(call), 200);
  leave(sockets + 1, SILENT - 1);
  CHECK_MOVED(w, TRANSFERS + 2);
  world_close(w);
}
IN_BOTH_MODES(client_over_the_limit_waits_until_one_has_gone)

SUITE(crowd, BOTH(thousands_of_silent_clients_leave_the_others_alone),
      BOTH(thousands_that_wait_are_all_answered),
      BOTH(client_over_the_limit_waits_until_one_has_gone))
