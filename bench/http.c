/* Clients of assentd: one thread, epoll, one kept connection each. See load.h.
 *
 * As light as it can be, since it shares the machine with what it measures: requests are printed into a
 * buffer, of an answer the status, the length and a few words are looked for. What is not understood, or
 * not committed, ends the bench.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/load.h"
#include "common/clock.h"

enum { EVENTS_MAX = 64, REQUEST_SIZE = 1024, BODY_SIZE = 768, ANSWER_SIZE = 8192, ID_SIZE = 40 };

/* Of a transfer in steps; a whole one has only its last. */
enum step { STEP_BEGIN, STEP_FIRST, STEP_SECOND, STEP_COMMIT };

struct client {
  int fd;
  struct picker picker;
  struct transfer transfer;
  uint64_t began_us;
  enum step step;
  char id[ID_SIZE]; /* of the open transaction */
  size_t length;
  char answer[ANSWER_SIZE + 1];
};

struct http {
  struct load *load;
  int epoll;
  unsigned under_way, begun;
  struct client *clients;
};

/* ---- requests ------------------------------------------------------------------------------------ */

#define UPDATE_SQL "UPDATE account SET balance = balance + $1 WHERE id = $2"

static void send_request(const struct http *http, const struct client *client, const char *path,
                         const char *body, size_t body_length) {
  char request[REQUEST_SIZE];
  int length = snprintf(request, sizeof request,
                        "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n"
                        "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                        path, (unsigned)http->load->port, body_length, body);
  must(length > 0 && (size_t)length < sizeof request, "a request", "is too long");
  must(send(client->fd, request, (size_t)length, MSG_NOSIGNAL) == length, "sending",
       strerror(errno));
  (void)atomic_fetch_add_explicit(&http->load->http_bytes, (uint_fast64_t)length,
                                  memory_order_relaxed);
}

static const char *expectation(const struct http *http) {
  return http->load->expect_rows ? ",\"expect_rows\":1" : "";
}

static void send_whole(const struct http *http, const struct client *client) {
  char body[BODY_SIZE];
  const struct transfer *t = &client->transfer;
  int length =
      snprintf(body, sizeof body,
               "{\"commit\":true,\"wait\":\"%s\",\"branches\":["
               "{\"participant\":\"bank_a\",\"statements\":[{\"sql\":\"" UPDATE_SQL
               "\",\"params\":[%" PRId64 ",%" PRId64 "]%s}]},"
               "{\"participant\":\"bank_b\",\"statements\":[{\"sql\":\"" UPDATE_SQL
               "\",\"params\":[%" PRId64 ",%" PRId64 "]%s}]}]}",
               http->load->way == WAY_DECIDED ? "decided" : "applied", t->change[0], t->account[0],
               expectation(http), t->change[1], t->account[1], expectation(http));
  send_request(http, client, "/v1/transactions", body, (size_t)length);
}

static void send_statement(const struct http *http, const struct client *client, int bank) {
  char path[100], body[BODY_SIZE];
  (void)snprintf(path, sizeof path, "/v1/transactions/%s/statements", client->id);
  int length = snprintf(body, sizeof body,
                        "{\"participant\":\"bank_%c\",\"sql\":\"" UPDATE_SQL
                        "\",\"params\":[%" PRId64 ",%" PRId64 "]%s}",
                        'a' + bank, client->transfer.change[bank], client->transfer.account[bank],
                        expectation(http));
  send_request(http, client, path, body, (size_t)length);
}

static void send_step(const struct http *http, const struct client *client) {
  char path[100];
  switch (client->step) {
  case STEP_BEGIN: send_request(http, client, "/v1/transactions", "{}", 2); break;
  case STEP_FIRST: send_statement(http, client, 0); break;
  case STEP_SECOND: send_statement(http, client, 1); break;
  case STEP_COMMIT:
    if (http->load->way != WAY_STEPS) {
      send_whole(http, client);
    } else {
      (void)snprintf(path, sizeof path, "/v1/transactions/%s/commit", client->id);
      send_request(http, client, path, "{}", 2);
    }
    break;
  }
}

static bool is_over(const struct http *http) {
  unsigned most = http->load->transfers_max;
  return load_phase(http->load) == PHASE_DRAIN || (most > 0 && http->begun == most);
}

static void begin(struct http *http, struct client *client) {
  http->begun++;
  client->began_us = clock_monotonic_us();
  client->step = http->load->way == WAY_STEPS ? STEP_BEGIN : STEP_COMMIT;
  picker_next(&client->picker, &client->transfer);
  http->under_way++;
  send_step(http, client);
}

/* ---- answers ------------------------------------------------------------------------------------- */

/* Where the body is; NULL: not all of the answer is there. */
static const char *find_body(const struct client *client) {
  const char *end = strstr(client->answer, "\r\n\r\n");
  if (!end) return NULL;
  const char *said = strcasestr(client->answer, "\r\nContent-Length:");
  must(said && said < end, "an answer has no length", client->answer);
  size_t body = strtoul(said + sizeof "\r\nContent-Length:" - 1, NULL, 10);
  const char *at = end + 4;
  size_t have = client->length - (size_t)(at - client->answer);
  must(have <= body, "an answer is longer than it says", client->answer);
  return have == body ? at : NULL;
}

static void take_id(struct client *client, const char *body) {
  static const char key[] = "\"id\":\"";
  const char *at = strstr(body, key);
  must(at != NULL, "an answer has no id", body);
  at += sizeof key - 1;
  size_t length = strcspn(at, "\"");
  must(length < sizeof client->id, "an answer's id is long", body);
  memcpy(client->id, at, length);
  client->id[length] = '\0';
}

static void on_answer(struct http *http, struct client *client, const char *body) {
  struct load *load = http->load;
  bool is_good = strncmp(client->answer, "HTTP/1.1 20", 11) == 0;
  must(is_good && client->answer[11] != '2', "not done", client->answer);
  if (client->step == STEP_BEGIN) take_id(client, body);
  if (client->step != STEP_COMMIT) {
    client->step = (enum step)(client->step + 1);
    send_step(http, client);
    return;
  }
  must(strstr(body, "\"outcome\":\"committed\"") != NULL, "not committed", body);
  http->under_way--;
  load_committed(load, &load->latencies, &client->transfer, client->began_us);
  if (!is_over(http)) begin(http, client);
}

static void on_readable(struct http *http, struct client *client) {
  ssize_t got = recv(client->fd, client->answer + client->length, ANSWER_SIZE - client->length, 0);
  if (got < 0 && errno == EINTR) return;
  must(got > 0, "the coordinator closed a connection", got < 0 ? strerror(errno) : "at its end");
  client->length += (size_t)got;
  client->answer[client->length] = '\0';
  (void)atomic_fetch_add_explicit(&http->load->http_bytes, (uint_fast64_t)got,
                                  memory_order_relaxed);
  const char *body = find_body(client);
  must(body || client->length < ANSWER_SIZE, "an answer is too long", client->answer);
  if (!body) return;
  client->length = 0;
  on_answer(http, client, body);
}

/* ---- the run ------------------------------------------------------------------------------------- */

static int open_socket(uint16_t port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  must(fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0 &&
           setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0,
       "connecting to the coordinator", strerror(errno));
  return fd;
}

static void set_up(struct http *http) {
  struct load *load = http->load;
  http->epoll = epoll_create1(EPOLL_CLOEXEC);
  http->clients = calloc(load->clients, sizeof *http->clients);
  must(http->epoll >= 0 && http->clients, "memory", "not enough");
  for (unsigned i = 0; i < load->clients; i++) {
    struct client *client = &http->clients[i];
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    client->fd = open_socket(load->port);
    must(epoll_ctl(http->epoll, EPOLL_CTL_ADD, client->fd, &event) == 0, "epoll", strerror(errno));
    picker_init(&client->picker, load, i);
  }
}

void http_run(struct load *load) {
  struct http http = {.load = load};
  set_up(&http);
  atomic_store(&load->is_ready, true);
  for (unsigned i = 0; i < load->clients; i++)
    begin(&http, &http.clients[i]);
  while (http.under_way > 0) {
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(http.epoll, events, EVENTS_MAX, -1);
    for (int i = 0; i < count; i++)
      on_readable(&http, events[i].data.ptr);
  }
  for (unsigned i = 0; i < load->clients; i++)
    (void)close(http.clients[i].fd);
  (void)close(http.epoll);
  free(http.clients);
}
