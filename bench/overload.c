/* What becomes of more load than there can be: as many transfers a second as assentd manages, then
 * offered so many and twice as many, whether the former are answered or not; then ten thousand clients at
 * once. What is committed in time counts; what is refused has to be refused quickly.
 *
 * One thread, epoll. A request has a connection of its own out of a pool, and begins when its time has
 * come, not when somebody has time for it: so what waits counts as waiting.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
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
#include "bench/meter.h"
#include "common/clock.h"
#include "common/http_client.h"

enum { EVENTS_MAX = 256, ANSWER_SIZE = 4096, BODY_SIZE = 640, REQUEST_SIZE = 900 };
enum { CLOSED_CLIENTS = 64, POOL = 6000, CROWD = 10000, TIMEOUT_MS = 2000, PATIENT_MS = 120000 };
static const uint64_t WARM_US = 2000000;

struct caller {
  int fd;
  struct picker picker;
  struct transfer transfer;
  uint64_t began_us;
  size_t length;
  char answer[ANSWER_SIZE + 1];
  struct caller *next_idle;
};

struct tally {
  uint64_t offered, committed, refused, aborted, unsent;
  struct latencies latencies, refusals;
};

struct overload {
  struct site site;
  enum hosting hosting;
  int seconds;
  int epoll;
  unsigned count, under_way;
  int timeout_ms;
  struct caller *callers, *idle;
  bool measuring;
  struct tally tally;
  int64_t moved;
};

/* ---- one request ------------------------------------------------------------------------------- */

static void ask(struct overload *o, struct caller *caller, uint64_t began_us) {
  char body[BODY_SIZE], request[REQUEST_SIZE];
  const struct transfer *t = &caller->transfer;
  picker_next(&caller->picker, &caller->transfer);
  int length = snprintf(
      body, sizeof body,
      "{\"commit\":true,\"timeout_ms\":%d,\"branches\":["
      "{\"participant\":\"bank_a\",\"statements\":[{\"sql\":\"UPDATE account SET balance = balance "
      "+ $1 WHERE id = $2\",\"params\":[%" PRId64 ",%" PRId64 "]}]},"
      "{\"participant\":\"bank_b\",\"statements\":[{\"sql\":\"UPDATE account SET balance = balance "
      "+ $1 WHERE id = $2\",\"params\":[%" PRId64 ",%" PRId64 "]}]}]}",
      o->timeout_ms, t->change[0], t->account[0], t->change[1], t->account[1]);
  length = snprintf(request, sizeof request,
                    "POST /v1/transactions HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n"
                    "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                    (unsigned)o->site.daemons[o->hosting].port, length, body);
  must(send(caller->fd, request, (size_t)length, MSG_NOSIGNAL) == length, "sending",
       strerror(errno));
  caller->began_us = began_us;
  o->under_way++;
  o->tally.offered += o->measuring;
}

static bool is_complete(const struct caller *caller) {
  const char *end = strstr(caller->answer, "\r\n\r\n");
  const char *said = end ? strcasestr(caller->answer, "\r\nContent-Length:") : NULL;
  if (!said || said > end) return false;
  return caller->length >= (size_t)(end + 4 - caller->answer) +
                               strtoul(said + sizeof "\r\nContent-Length:" - 1, NULL, 10);
}

static void count(struct overload *o, const struct caller *caller) {
  uint64_t took_us = clock_monotonic_us() - caller->began_us;
  struct tally *tally = &o->tally;
  int status = atoi(caller->answer + sizeof "HTTP/1.1");
  bool committed = status == 200 && strstr(caller->answer, "\"outcome\":\"committed\"");
  must(committed || status == 503 || status == 409, "an answer", caller->answer);
  if (committed) o->moved += caller->transfer.change[1];
  if (!o->measuring) return;
  tally->committed += committed;
  tally->refused += status == 503;
  tally->aborted += status == 409;
  if (committed) latencies_note(&tally->latencies, took_us);
  if (status == 503) latencies_note(&tally->refusals, took_us);
}

static void on_readable(struct overload *o, struct caller *caller) {
  ssize_t got = recv(caller->fd, caller->answer + caller->length, ANSWER_SIZE - caller->length, 0);
  if (got == 0 && caller->began_us == 0) { /* it has been idle for long */
    must(epoll_ctl(o->epoll, EPOLL_CTL_DEL, caller->fd, NULL) == 0, "epoll", strerror(errno));
    return;
  }
  must(got > 0, "the coordinator closed a connection", got < 0 ? strerror(errno) : "at its end");
  caller->length += (size_t)got;
  caller->answer[caller->length] = '\0';
  if (!is_complete(caller)) {
    must(caller->length < ANSWER_SIZE, "an answer is too long", caller->answer);
    return;
  }
  count(o, caller);
  caller->began_us = 0;
  caller->length = 0;
  o->under_way--;
  caller->next_idle = o->idle;
  o->idle = caller;
}

static void take_answers(struct overload *o, int wait_ms) {
  struct epoll_event events[EVENTS_MAX];
  int ready = epoll_wait(o->epoll, events, EVENTS_MAX, wait_ms);
  for (int i = 0; i < ready; i++)
    on_readable(o, events[i].data.ptr);
}

/* ---- callers ------------------------------------------------------------------------------------- */

static int open_socket(uint16_t port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  must(fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0 &&
           setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0,
       "connecting to the coordinator", strerror(errno));
  return fd;
}

static void come(struct overload *o, unsigned number) {
  struct load load = {.clients = number, .seed = 1};
  o->count = number;
  o->epoll = epoll_create1(EPOLL_CLOEXEC);
  o->callers = calloc(number, sizeof *o->callers);
  must(o->epoll >= 0 && o->callers, "memory", "not enough");
  for (unsigned i = 0; i < number; i++) {
    struct caller *caller = &o->callers[i];
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = caller};
    caller->fd = open_socket(o->site.daemons[o->hosting].port);
    must(epoll_ctl(o->epoll, EPOLL_CTL_ADD, caller->fd, &event) == 0, "epoll", strerror(errno));
    picker_init(&caller->picker, &load, i);
    caller->next_idle = o->idle;
    o->idle = caller;
  }
}

static void leave(struct overload *o) {
  while (o->under_way > 0)
    take_answers(o, -1);
  for (unsigned i = 0; i < o->count; i++)
    (void)close(o->callers[i].fd);
  (void)close(o->epoll);
  free(o->callers);
  o->callers = o->idle = NULL;
}

static struct caller *take_idle(struct overload *o) {
  struct caller *caller = o->idle;
  if (caller) o->idle = caller->next_idle;
  return caller;
}

/* ---- loads --------------------------------------------------------------------------------------- */

/* `rate` 0: each asks again when it has its answer. */
static void offer(struct overload *o, double rate) {
  uint64_t start_us = clock_monotonic_us(), now_us = start_us, sent = 0;
  uint64_t end_us = start_us + WARM_US + (uint64_t)o->seconds * 1000000;
  while (now_us < end_us) {
    o->measuring = now_us - start_us >= WARM_US;
    uint64_t due = (uint64_t)((double)(now_us - start_us) * rate / 1e6);
    for (struct caller *caller; rate > 0 ? sent < due : o->idle != NULL; sent++) {
      caller = take_idle(o);
      if (caller)
        ask(o, caller, rate > 0 ? start_us + (uint64_t)((double)sent * 1e6 / rate) : now_us);
      else
        o->tally.unsent += o->measuring;
    }
    take_answers(o, 1);
    now_us = clock_monotonic_us();
  }
  o->measuring = false;
}

/* How many the agents let run at once now; 0: not known. */
static int64_t running_limit(const struct overload *o) {
  char url[128], *text = NULL;
  size_t length;
  int status;
  struct error err = {0};
  (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/v1/participants/bank_a",
                 (unsigned)o->site.daemons[o->hosting].port);
  must_go(http_call("GET", url, NULL, 10000, &status, &text, &length, &err), &err, url);
  json_t *json = json_loads(text, 0, NULL);
  int64_t limit = json_integer_value(json_object_get(json, "running_limit"));
  json_decref(json);
  free(text);
  return limit;
}

static double show(struct overload *o, const char *what) {
  struct tally *t = &o->tally;
  double seconds = o->seconds;
  double rate = (double)t->committed / seconds;
  (void)printf("%-22s %8.0f %10.0f %8.0f %8.0f %8.1f %8.1f %12.1f %8" PRId64 "\n", what,
               (double)(t->offered + t->unsent) / seconds, rate, (double)t->refused / seconds,
               (double)t->aborted / seconds, latencies_percentile_ms(&t->latencies, 50),
               latencies_percentile_ms(&t->latencies, 99),
               latencies_percentile_ms(&t->refusals, 99), running_limit(o));
  must(t->unsent == 0, what, "there were not enough connections: not an open loop");
  free(t->latencies.us);
  free(t->refusals.us);
  *t = (struct tally){0};
  return rate;
}

static double run(struct overload *o, const char *what, unsigned callers, double rate) {
  come(o, callers);
  offer(o, rate);
  double managed = show(o, what);
  leave(o);
  site_check(&o->site, o->moved);
  o->moved = 0;
  site_checkpoint(&o->site);
  return managed;
}

/* All at once, and none of them impatient. */
static void run_crowd(struct overload *o) {
  meter_reset_peaks(&o->site, o->hosting);
  uint64_t before_kb = meter_peak_kb(&o->site, o->hosting);
  o->timeout_ms = PATIENT_MS;
  come(o, CROWD);
  uint64_t connected_kb = meter_peak_kb(&o->site, o->hosting);
  uint64_t start_us = clock_monotonic_us();
  o->measuring = true;
  while (o->idle)
    ask(o, take_idle(o), start_us);
  while (o->under_way > 0)
    take_answers(o, -1);
  uint64_t took_us = clock_monotonic_us() - start_us, peak_kb = meter_peak_kb(&o->site, o->hosting);
  const struct tally *t = &o->tally;
  (void)printf("\n%d clients at once: %" PRIu64 " committed, %" PRIu64 " refused, %" PRIu64
               " aborted in %.1f s; memory: %" PRIu64 " MB before, %" PRIu64
               " MB when all were connected, %" PRIu64 " MB at most (%.1f KB a client)\n",
               CROWD, t->committed, t->refused, t->aborted, (double)took_us / 1e6, before_kb / 1024,
               connected_kb / 1024, peak_kb / 1024, (double)(peak_kb - before_kb) / CROWD);
  must(t->committed == CROWD, "the crowd", "not all were served");
  leave(o);
  site_check(&o->site, o->moved);
  o->moved = 0;
}

static const char usage[] = "usage: bench-overload [--seconds N] [--agents] [--crowd]\n";

int main(int argc, char **argv) {
  static const struct option table[] = {{"seconds", required_argument, NULL, 's'},
                                        {"agents", no_argument, NULL, 'a'},
                                        {"crowd", no_argument, NULL, 'c'},
                                        {NULL, 0, NULL, 0}};
  static struct overload o = {.hosting = HOSTING_EMBEDDED, .seconds = 10, .timeout_ms = TIMEOUT_MS};
  bool only_crowd = false;
  for (int option; (option = getopt_long(argc, argv, "", table, NULL)) != -1;) {
    switch (option) {
    case 's': o.seconds = atoi(optarg); break;
    case 'a': o.hosting = HOSTING_AGENTS; break;
    case 'c': only_crowd = true; break;
    default: (void)fputs(usage, stderr); return 2;
    }
  }
  if (o.seconds < 1 || optind < argc) {
    (void)fputs(usage, stderr);
    return 2;
  }
  (void)setvbuf(stdout, NULL, _IOLBF, 0);
  site_open(&o.site);
  site_start(&o.site, o.hosting);
  double closed = 0, once = 0, twice = 0;
  if (!only_crowd) {
    (void)printf("%-22s %8s %10s %8s %8s %8s %8s %12s %8s\n", "a second, ms", "offered",
                 "committed", "refused", "aborted", "p50", "p99", "refusal p99", "at once");
    closed = run(&o, "64 clients in a row", CLOSED_CLIENTS, 0);
    once = run(&o, "as many, offered", POOL, closed);
    twice = run(&o, "twice as many, offered", POOL, 2 * closed);
  }
  run_crowd(&o);
  double peak = closed > once ? closed : once;
  if (!only_crowd)
    (void)printf("{\"sustained\": %.0f, \"at_once\": %.0f, \"at_twice\": %.0f, "
                 "\"twice_over_peak\": %.2f}\n",
                 closed, once, twice, twice / peak);
  site_stop(&o.site, o.hosting);
  site_close(&o.site);
  return 0;
}
