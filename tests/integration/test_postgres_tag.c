/* PREPARE TRANSACTION answered with success and the tag ROLLBACK: no vote.
 *
 * A client cannot bring this about, since statements that end a transaction are refused before they are
 * sent. So a relay between the adapter and a real server turns a harmless statement into such a one on
 * the wire: what the server then answers is its own.
 */
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/integration/pg.h"
#include "tests/lib/suite.h"

#define HARMLESS "SELECT 1 AS an_end"
#define ENDING   "ROLLBACK /* end */"
_Static_assert(sizeof HARMLESS == sizeof ENDING, "messages on the wire have lengths");

struct relay {
  int listener, port, server_port;
  pthread_t thread;
};

static int loopback(int port, bool listens, int *bound) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  socklen_t length = sizeof address;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  bool ok = fd >= 0;
  if (ok && listens)
    ok = bind(fd, (const struct sockaddr *)&address, length) == 0 && listen(fd, 1) == 0 &&
         getsockname(fd, (struct sockaddr *)&address, &length) == 0;
  else if (ok)
    ok = connect(fd, (const struct sockaddr *)&address, length) == 0;
  if (ok && bound) *bound = ntohs(address.sin_port);
  return ok ? fd : -1;
}

/* False at the end of either side. The pipeline goes out in one piece, so a statement is not cut. */
static bool pass_on(int from, int to, bool change) {
  char chunk[1 << 16];
  ssize_t length = read(from, chunk, sizeof chunk);
  if (length <= 0) return false;
  char *found = change ? memmem(chunk, (size_t)length, HARMLESS, sizeof HARMLESS - 1) : NULL;
  if (found) memcpy(found, ENDING, sizeof ENDING - 1);
  return write(to, chunk, (size_t)length) == length;
}

static void *run_relay(void *data) {
  const struct relay *relay = data;
  int client = accept(relay->listener, NULL, NULL);
  int server = loopback(relay->server_port, false, NULL);
  bool alive = client >= 0 && server >= 0;
  while (alive) {
    struct pollfd fds[] = {{.fd = client, .events = POLLIN}, {.fd = server, .events = POLLIN}};
    (void)poll(fds, 2, -1);
    if (fds[0].revents) alive = pass_on(client, server, true);
    if (alive && fds[1].revents) alive = pass_on(server, client, false);
  }
  (void)close(client);
  (void)close(server);
  return NULL;
}

static void prepare_answered_with_the_tag_rollback_is_no_vote(void) {
  struct pg pg;
  struct pg_answer answer = {0};
  char through[128];
  pg_setup(&pg);
  struct relay relay = {.server_port = throwaway_server_port(pg.server)};
  relay.listener = loopback(0, true, &relay.port);
  CU_ASSERT_FATAL(relay.listener >= 0);
  CU_ASSERT_EQUAL_FATAL(pthread_create(&relay.thread, NULL, run_relay, &relay), 0);
  (void)snprintf(through, sizeof through,
                 "host=127.0.0.1 port=%d sslmode=disable gssencmode=disable", relay.port);
  struct session *session = pg_open_as(&pg, "bank", through, &answer);
  CU_ASSERT_EQUAL_FATAL(answer.err.code, ERR_OK);
  pg_run(&pg, session, RUN_PREPARE, pg.gid[0], &answer,
         "UPDATE account SET balance = balance - 10 WHERE id = 1", HARMLESS, NULL);
  CU_ASSERT_EQUAL(answer.ran, RAN_FAILED);
  CU_ASSERT_EQUAL(answer.cause.kind, CAUSE_STATEMENT);
  CU_ASSERT_PTR_NOT_NULL(strstr(answer.cause.text, "ROLLBACK"));
  CU_ASSERT_EQUAL(pg_int(pg.dsn, "SELECT count(*) FROM pg_prepared_xacts"), 0);
  CU_ASSERT_EQUAL(pg_int(pg.dsn, "SELECT balance FROM account WHERE id = 1"), 100);
  pg_answer_clear(&answer);
  pg_close(&pg, session);
  (void)pthread_join(relay.thread, NULL);
  (void)close(relay.listener);
  pg_teardown(&pg);
}

SUITE(postgres_tag, CASE(prepare_answered_with_the_tag_rollback_is_no_vote))
