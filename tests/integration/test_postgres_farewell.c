/* A session that the server ends between a command and its Sync: the command has been answered, and
 * where the Sync's answer should be comes the farewell. A relay puts it there, since no server can
 * be made to say it just then. */
#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/integration/pg.h"
#include "tests/lib/suite.h"

#define TAKE "UPDATE account SET balance = balance - 10 WHERE id = 1"

/* ---- the relay --------------------------------------------------------------------------------- */

enum { MESSAGES_MAX = 65536, HEAD_SIZE = 5 };

struct relay {
  const char *tag; /* the answer to the Sync behind this one is replaced */
  int listener, client, server;
  pthread_t thread;
  bool has_passed;                     /* the tag */
  unsigned char pending[MESSAGES_MAX]; /* of the server, not passed on yet */
  size_t pending_count;
};

static const char farewell[] = "E\0\0\0\062SFATAL\0VFATAL\0C57P01\0Mended by administrator\0";

static int dial(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int connected = connect(fd, (const struct sockaddr *)&address, sizeof address);
  assert(connected == 0);
  return fd;
}

static void pass(int fd, const void *bytes, size_t count) {
  ssize_t sent = send(fd, bytes, count, MSG_NOSIGNAL);
  assert(sent < 0 || (size_t)sent == count);
}

static size_t message_size(const unsigned char *head) {
  return 1 + ((size_t)head[1] << 24 | (size_t)head[2] << 16 | (size_t)head[3] << 8 | head[4]);
}

/* Whole messages only. False: the farewell was said. */
static bool pass_messages(struct relay *relay) {
  size_t at = 0;
  while (relay->pending_count - at >= HEAD_SIZE) {
    const unsigned char *message = relay->pending + at;
    size_t size = message_size(message);
    if (relay->pending_count - at < size) break;
    if (message[0] == 'Z' && relay->has_passed) {
      pass(relay->client, farewell, sizeof farewell);
      return false;
    }
    if (message[0] == 'C' && strcmp((const char *)message + HEAD_SIZE, relay->tag) == 0)
      relay->has_passed = true;
    pass(relay->client, message, size);
    at += size;
  }
  memmove(relay->pending, relay->pending + at, relay->pending_count - at);
  relay->pending_count -= at;
  return true;
}

static bool pass_to_server(struct relay *relay) {
  char bytes[4096];
  ssize_t got = recv(relay->client, bytes, sizeof bytes, 0);
  if (got > 0) pass(relay->server, bytes, (size_t)got);
  return got > 0;
}

static bool pass_to_client(struct relay *relay) {
  ssize_t got = recv(relay->server, relay->pending + relay->pending_count,
                     sizeof relay->pending - relay->pending_count, 0);
  if (got > 0) relay->pending_count += (size_t)got;
  return got > 0 && pass_messages(relay);
}

static void *relay_run(void *data) {
  struct relay *relay = data;
  relay->client = accept(relay->listener, NULL, NULL);
  bool goes_on = relay->client >= 0;
  while (goes_on) {
    struct pollfd ready[] = {{relay->client, POLLIN, 0}, {relay->server, POLLIN, 0}};
    goes_on = poll(ready, 2, -1) > 0;
    if (goes_on && ready[0].revents) goes_on = pass_to_server(relay);
    if (goes_on && ready[1].revents) goes_on = pass_to_client(relay);
  }
  (void)close(relay->client);
  (void)close(relay->server);
  return NULL;
}

/* Returns its port. */
static int relay_start(struct relay *relay, int server_port, const char *tag) {
  struct sockaddr_in address = {.sin_family = AF_INET};
  socklen_t size = sizeof address;
  *relay = (struct relay){.tag = tag, .server = dial(server_port)};
  relay->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int failed = bind(relay->listener, (const struct sockaddr *)&address, size);
  if (!failed) failed = listen(relay->listener, 1);
  if (!failed) failed = getsockname(relay->listener, (struct sockaddr *)&address, &size);
  if (!failed) failed = pthread_create(&relay->thread, NULL, relay_run, relay);
  assert(!failed);
  return ntohs(address.sin_port);
}

static void relay_stop(struct relay *relay) {
  (void)pthread_join(relay->thread, NULL);
  (void)close(relay->listener);
}

/* ---- cases ------------------------------------------------------------------------------------- */

static struct pg pg;
static struct relay relay;
static struct pg_answer answer;

static struct session *open_through_relay(const char *tag) {
  char more[128];
  (void)snprintf(more, sizeof more, "host=127.0.0.1 port=%d sslmode=disable gssencmode=disable",
                 relay_start(&relay, throwaway_server_port(pg.server), tag));
  struct session *session = pg_open_as(&pg, "bank", more, &answer);
  CU_ASSERT_EQUAL_FATAL(answer.err.code, ERR_OK);
  return session;
}

static void begin(void) {
  pg_setup(&pg);
  answer = (struct pg_answer){.loop = pg.loop};
}

static void end(struct session *session) {
  CU_ASSERT_FALSE(pg.adapter->ops->is_idle(session));
  relay_stop(&relay);
  pg_answer_clear(&answer);
  pg_close(&pg, session);
  pg_teardown(&pg);
}

static void session_ended_between_commit_prepared_and_its_sync_is_done(void) {
  begin();
  struct session *direct = pg_open(&pg);
  pg_run(&pg, direct, RUN_PREPARE, pg.gid[0], &answer, TAKE, NULL);
  CU_ASSERT_EQUAL(answer.ran, RAN_PREPARED);
  pg_close(&pg, direct);
  struct session *session = open_through_relay("COMMIT PREPARED");
  pg_finish(&pg, session, pg.gid[0], true, &answer);
  CU_ASSERT_EQUAL(answer.finished, FINISH_DONE);
  CU_ASSERT_EQUAL(pg_int(pg.dsn, "SELECT balance FROM account WHERE id = 1"), 90);
  end(session);
}

static void session_ended_between_prepare_and_its_sync_is_prepared(void) {
  begin();
  struct session *session = open_through_relay("PREPARE TRANSACTION");
  pg_run(&pg, session, RUN_PREPARE, pg.gid[0], &answer, TAKE, NULL);
  CU_ASSERT_EQUAL(answer.ran, RAN_PREPARED);
  CU_ASSERT_FALSE(answer.reusable);
  CU_ASSERT_EQUAL(pg_int(pg.dsn, "SELECT count(*) FROM pg_prepared_xacts"), 1);
  end(session);
}

SUITE(postgres_farewell, CASE(session_ended_between_commit_prepared_and_its_sync_is_done),
      CASE(session_ended_between_prepare_and_its_sync_is_prepared))
