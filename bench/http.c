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
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/load.h"
#include "common/clock.h"

enum { EVENTS_MAX = 64, HEAD_SIZE = 256, STATEMENT_SIZE = 256, ANSWER_SIZE = 65536, ID_SIZE = 40 };

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
  unsigned participants, statements;
  size_t body_size;
  char *body; /* of the request that is being sent */
};

/* ---- requests ------------------------------------------------------------------------------------ */

static void send_all(const struct client *client, struct iovec *parts, int count) {
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)count};
  while (count > 0) {
    ssize_t sent = sendmsg(client->fd, &message, MSG_NOSIGNAL);
    must(sent > 0 || errno == EINTR, "sending", strerror(errno));
    for (; count > 0 && sent >= (ssize_t)parts->iov_len; parts++, count--)
      sent -= (ssize_t)parts->iov_len;
    if (count > 0 && sent > 0) {
      parts->iov_base = (char *)parts->iov_base + sent;
      parts->iov_len -= (size_t)sent;
    }
    message.msg_iov = parts;
    message.msg_iovlen = (size_t)count;
  }
}

/* With http->body. */
static void send_request(const struct http *http, const struct client *client, const char *path,
                         size_t body_length) {
  char head[HEAD_SIZE];
  int length = snprintf(head, sizeof head,
                        "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n"
                        "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                        path, (unsigned)http->load->port, body_length);
  must(length > 0 && (size_t)length < sizeof head, "a request", "is too long");
  struct iovec parts[] = {{head, (size_t)length}, {http->body, body_length}};
  (void)atomic_fetch_add_explicit(&http->load->http_bytes, (uint_fast64_t)length + body_length,
                                  memory_order_relaxed);
  send_all(client, parts, 2);
}

/* Appends to http->body. */
static void write_text(struct http *http, size_t *length, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void write_text(struct http *http, size_t *length, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int more = vsnprintf(http->body + *length, http->body_size - *length, format, args);
  va_end(args);
  must(more >= 0 && (size_t)more < http->body_size - *length, "a request", "is too long");
  *length += (size_t)more;
}

/* The members of a statement of the n-th participant. Only the first of a branch moves money. */
static void write_statement(struct http *http, size_t *length, const struct client *client,
                            unsigned participant, unsigned statement) {
  const struct load *load = http->load;
  const struct transfer *t = &client->transfer;
  int64_t account = t->account[participant % BANKS] + (int64_t)statement * load->clients;
  int64_t round = (int64_t)(ACCOUNTS / load->clients) * load->clients;
  int64_t change = statement == 0 ? t->change[participant % BANKS] : 0;
  write_text(http, length,
             "\"sql\":\"UPDATE account SET balance = balance + $1%s WHERE id = $2\","
             "\"params\":[%" PRId64 ",%" PRId64,
             load->payload ? ", note = $3" : "", change,
             account > ACCOUNTS ? account - round : account);
  if (load->payload) write_text(http, length, ",\"%s\"", load->payload);
  write_text(http, length, "]%s", load->expect_rows ? ",\"expect_rows\":1" : "");
}

static void send_whole(struct http *http, const struct client *client) {
  size_t length = 0;
  write_text(http, &length, "{\"commit\":true,\"wait\":\"%s\",\"branches\":[",
             http->load->way == WAY_DECIDED ? "decided" : "applied");
  for (unsigned i = 0; i < http->participants; i++) {
    write_text(http, &length, "%s{\"participant\":\"bank_%c\",\"statements\":[", i ? "," : "",
               'a' + i);
    for (unsigned k = 0; k < http->statements; k++) {
      write_text(http, &length, "%s{", k ? "," : "");
      write_statement(http, &length, client, i, k);
      write_text(http, &length, "}");
    }
    write_text(http, &length, "]}");
  }
  write_text(http, &length, "]}");
  send_request(http, client, "/v1/transactions", length);
}

static void send_statement(struct http *http, const struct client *client, unsigned bank) {
  char path[100];
  size_t length = 0;
  (void)snprintf(path, sizeof path, "/v1/transactions/%s/statements", client->id);
  write_text(http, &length, "{\"participant\":\"bank_%c\",", 'a' + bank);
  write_statement(http, &length, client, bank, 0);
  write_text(http, &length, "}");
  send_request(http, client, path, length);
}

static void send_empty(struct http *http, const struct client *client, const char *path) {
  size_t length = 0;
  write_text(http, &length, "{}");
  send_request(http, client, path, length);
}

static void send_step(struct http *http, const struct client *client) {
  char path[100];
  switch (client->step) {
  case STEP_BEGIN: send_empty(http, client, "/v1/transactions"); break;
  case STEP_FIRST: send_statement(http, client, 0); break;
  case STEP_SECOND: send_statement(http, client, 1); break;
  case STEP_COMMIT:
    if (http->load->way != WAY_STEPS) {
      send_whole(http, client);
    } else {
      (void)snprintf(path, sizeof path, "/v1/transactions/%s/commit", client->id);
      send_empty(http, client, path);
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
  http->participants = load->participants ? load->participants : BANKS;
  http->statements = load->statements ? load->statements : 1;
  size_t payload = load->payload ? strlen(load->payload) : 0;
  http->body_size =
      STATEMENT_SIZE +
      (size_t)http->participants * (STATEMENT_SIZE + http->statements * (STATEMENT_SIZE + payload));
  http->body = malloc(http->body_size);
  must(http->body, "memory", "not enough");
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
  free(http.body);
}
