/* A proxy that makes faults: its thread and its calls. See proxy.h, proxy_internal.h.
 *
 * Invariants
 *  1. The thread holds the mutex except in poll(2). A call takes it, changes what it has to, and
 *     wakes the thread; from then on no byte moves by the old state.
 *  2. Sockets of connections are closed by the thread only: nobody closes what it polls.
 *  3. The listener keeps its port while it refuses: it is bound to a port that was asked for by
 *     number, below the ephemeral ones, and the kernel leaves such a binding in place.
 */
#include "cli/proxy.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "cli/proxy_internal.h"
#include "common/clock.h"
#include "common/id.h"

enum {
  BACKLOG = 128,
  PORT_FIRST = 10000, /* Linux: ephemeral ports begin at 32768 */
  PORT_COUNT = 10000,
  PORT_TRIES = 200
};

/* ---- small things ---------------------------------------------------------------------------- */

/* splitmix64: the same seed gives the same dice, everywhere. */
uint64_t proxy_throw(struct proxy *proxy, uint64_t below) {
  assert(below > 0);
  proxy->dice += UINT64_C(0x9e3779b97f4a7c15);
  uint64_t z = proxy->dice;
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return (z ^ (z >> 31)) % below;
}

uint64_t proxy_now_us(void) {
  return clock_monotonic_us();
}

/* The calls that only read take the mutex, too. */
static void lock(const struct proxy *proxy) {
  union {
    const struct proxy *in;
    struct proxy *out;
  } p = {.in = proxy};
  (void)pthread_mutex_lock(&p.out->mutex);
}

static void unlock(const struct proxy *proxy) {
  union {
    const struct proxy *in;
    struct proxy *out;
  } p = {.in = proxy};
  (void)pthread_mutex_unlock(&p.out->mutex);
}

static void wake(const struct proxy *proxy) {
  const uint64_t one = 1;
  (void)!write(proxy->wakeup, &one, sizeof one);
}

/* ---- the thread ------------------------------------------------------------------------------ */

struct turn {
  struct pollfd polls[2 + 2 * PROXY_CONNECTIONS_MAX];
  size_t count;
  bool accepts;
  int timeout_ms;
};

static void turn_begin(struct proxy *proxy, struct turn *turn) {
  uint64_t wake_us = UINT64_MAX;
  turn->count = 0;
  turn->polls[turn->count++] = (struct pollfd){.fd = proxy->wakeup, .events = POLLIN};
  turn->accepts = proxy->listening && proxy->link_count < PROXY_CONNECTIONS_MAX;
  if (turn->accepts)
    turn->polls[turn->count++] = (struct pollfd){.fd = proxy->listener, .events = POLLIN};
  for (struct link *link = proxy->links; link; link = link->next)
    turn->count += link_wants(proxy, link, turn->polls + turn->count, turn->count, &wake_us);
  uint64_t now_us = proxy_now_us();
  turn->timeout_ms = wake_us == UINT64_MAX ? -1
                     : wake_us <= now_us   ? 0
                                           : (int)((wake_us - now_us + 999) / 1000);
}

static void accept_one(struct proxy *proxy) {
  int client = accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (client >= 0) link_accept(proxy, client);
}

static void reap(struct proxy *proxy) {
  for (struct link **at = &proxy->links; *at;) {
    struct link *link = *at;
    if (!link->dead) {
      at = &link->next;
      continue;
    }
    *at = link->next;
    proxy->link_count--;
    link_free(link);
  }
}

static void cut_all(struct proxy *proxy) {
  for (struct link *link = proxy->links; link; link = link->next) {
    link_reset(link);
    proxy->counts.cut++;
  }
  proxy->cutting = false;
  (void)pthread_cond_broadcast(&proxy->changed);
}

static void turn_end(struct proxy *proxy, const struct turn *turn) {
  uint64_t wakes;
  if (turn->polls[0].revents) (void)!read(proxy->wakeup, &wakes, sizeof wakes);
  if (proxy->cutting) cut_all(proxy);
  for (struct link *link = proxy->links; link; link = link->next)
    if (!link->dead) link_work(proxy, link, turn->polls);
  reap(proxy);
  if (turn->accepts && turn->polls[1].revents) accept_one(proxy);
}

static void *thread_main(void *data) {
  struct proxy *proxy = data;
  struct turn turn;
  lock(proxy);
  while (!proxy->stopping) {
    turn_begin(proxy, &turn);
    unlock(proxy);
    (void)poll(turn.polls, turn.count, turn.timeout_ms);
    lock(proxy);
    turn_end(proxy, &turn);
  }
  unlock(proxy);
  return NULL;
}

/* ---- start ----------------------------------------------------------------------------------- */

static bool parse_target(const char *text, struct proxy_target *out) {
  memset(out, 0, sizeof *out);
  if (*text == '/') {
    struct sockaddr_un *local = &out->address.local;
    if (strlen(text) >= sizeof local->sun_path) return false;
    local->sun_family = AF_UNIX;
    memcpy(local->sun_path, text, strlen(text));
    out->length = sizeof *local;
    return true;
  }
  const char *colon = strrchr(text, ':');
  char host[INET_ADDRSTRLEN], *end = NULL;
  struct sockaddr_in address = {.sin_family = AF_INET};
  if (!colon || (size_t)(colon - text) >= sizeof host) return false;
  memcpy(host, text, (size_t)(colon - text));
  host[colon - text] = '\0';
  unsigned long port = strtoul(colon + 1, &end, 10);
  if (end == colon + 1 || *end || port == 0 || port > UINT16_MAX) return false;
  address.sin_port = htons((uint16_t)port);
  if (inet_pton(AF_INET, host, &address.sin_addr) != 1) return false;
  memcpy(&out->address, &address, sizeof address);
  out->length = sizeof address;
  return true;
}

static int bind_some_port(unsigned *port) {
  const int on = 1;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  for (int i = 0; i < PORT_TRIES; i++) {
    uint16_t random;
    id_random(&random, sizeof random);
    *port = PORT_FIRST + random % PORT_COUNT;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)*port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (const struct sockaddr *)&address, sizeof address) != 0) continue;
    if (listen(fd, BACKLOG) == 0) return fd;
    break; /* bound, and another listens there: this socket is of no use */
  }
  (void)close(fd);
  return -1;
}

static void init_waiting(struct proxy *proxy) {
  pthread_condattr_t attributes;
  (void)pthread_mutex_init(&proxy->mutex, NULL);
  (void)pthread_condattr_init(&attributes);
  (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  (void)pthread_cond_init(&proxy->changed, &attributes);
  (void)pthread_condattr_destroy(&attributes);
}

/* Signals are for the program's own threads. */
static int start_thread(struct proxy *proxy) {
  sigset_t all, before;
  (void)sigfillset(&all);
  (void)pthread_sigmask(SIG_SETMASK, &all, &before);
  int failed = pthread_create(&proxy->thread, NULL, thread_main, proxy);
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
  return failed;
}

enum error_code proxy_start(struct proxy **out, const char *target, uint64_t seed,
                            struct error *err) {
  struct proxy *proxy = calloc(1, sizeof *proxy);
  enum error_code code = ERR_OK;
  int failed = 0;
  *out = NULL;
  if (!proxy) return error_set(err, ERR_MEMORY, "out of memory");
  proxy->dice = seed;
  proxy->listener = proxy->wakeup = -1;
  init_waiting(proxy);
  if (!parse_target(target, &proxy->target)) {
    code = error_set(err, ERR_INVALID, "%s is no target for a proxy", target);
    goto out;
  }
  proxy->wakeup = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  proxy->listener = bind_some_port(&proxy->port);
  proxy->listening = proxy->listener >= 0;
  if (proxy->wakeup < 0 || proxy->listener < 0) {
    code = error_set(err, ERR_IO, "no socket for a proxy: %s", strerror(errno));
    goto out;
  }
  failed = start_thread(proxy);
  if (failed) {
    code = error_set(err, ERR_IO, "no thread for a proxy: %s", strerror(failed));
    goto out;
  }
  *out = proxy;
  return ERR_OK;
out:
  if (proxy->wakeup >= 0) (void)close(proxy->wakeup);
  if (proxy->listener >= 0) (void)close(proxy->listener);
  free(proxy);
  return code;
}

static void drop_late(struct proxy *proxy) {
  while (proxy->late) {
    struct late_request *late = proxy->late;
    proxy->late = late->next;
    free(late->bytes);
    free(late);
  }
}

void proxy_free(struct proxy *proxy) {
  if (!proxy) return;
  lock(proxy);
  proxy->stopping = true;
  wake(proxy);
  unlock(proxy);
  (void)pthread_join(proxy->thread, NULL);
  cut_all(proxy);
  reap(proxy);
  drop_late(proxy);
  (void)close(proxy->wakeup);
  (void)close(proxy->listener);
  (void)pthread_cond_destroy(&proxy->changed);
  (void)pthread_mutex_destroy(&proxy->mutex);
  free(proxy);
}

/* ---- calls ----------------------------------------------------------------------------------- */

unsigned proxy_port(const struct proxy *proxy) {
  return proxy->port;
}

void proxy_set(struct proxy *proxy, const struct proxy_faults *faults) {
  lock(proxy);
  proxy->faults = *faults;
  if (proxy->listening && faults->refuse) {
    (void)shutdown(proxy->listener, SHUT_RDWR);
    proxy->listening = false;
  } else if (!proxy->listening && !faults->refuse) {
    int listens = listen(proxy->listener, BACKLOG);
    assert(listens == 0); /* the port is still ours: invariant 3 */
    proxy->listening = true;
  }
  wake(proxy);
  unlock(proxy);
}

void proxy_retarget(struct proxy *proxy, const char *target) {
  struct proxy_target parsed;
  bool is_target = parse_target(target, &parsed);
  assert(is_target);
  lock(proxy);
  proxy->target = parsed;
  unlock(proxy);
}

void proxy_cut_all(struct proxy *proxy) {
  lock(proxy);
  proxy->cutting = true;
  wake(proxy);
  while (proxy->cutting)
    (void)pthread_cond_wait(&proxy->changed, &proxy->mutex);
  unlock(proxy);
}

struct proxy_counts proxy_counts(const struct proxy *proxy) {
  lock(proxy);
  struct proxy_counts counts = proxy->counts;
  unlock(proxy);
  return counts;
}

static unsigned add_rule(struct proxy *proxy, enum proxy_direction direction, const char *bytes,
                         const char *instead, int action) {
  lock(proxy);
  assert(proxy->rule_count < PROXY_RULES_MAX);
  unsigned id = proxy->rule_count++;
  rule_init(&proxy->rules[id], direction, bytes, instead, action);
  wake(proxy);
  unlock(proxy);
  return id;
}

unsigned proxy_on(struct proxy *proxy, enum proxy_direction direction, const char *bytes,
                  enum proxy_action action) {
  return add_rule(proxy, direction, bytes, NULL, (int)action);
}

unsigned proxy_replace(struct proxy *proxy, enum proxy_direction direction, const char *bytes,
                       const char *instead) {
  return add_rule(proxy, direction, bytes, instead, RULE_REPLACE);
}

void proxy_forget(struct proxy *proxy, unsigned rule) {
  lock(proxy);
  assert(rule < proxy->rule_count);
  proxy->rules[rule].over = true;
  unlock(proxy);
}

bool proxy_wait_fired(struct proxy *proxy, unsigned rule, unsigned timeout_ms) {
  struct timespec until;
  (void)clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += (time_t)(timeout_ms / 1000);
  until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
  if (until.tv_nsec >= 1000000000) {
    until.tv_sec++;
    until.tv_nsec -= 1000000000;
  }
  lock(proxy);
  assert(rule < proxy->rule_count);
  int waited = 0;
  while (!proxy->rules[rule].fired && waited == 0)
    waited = pthread_cond_timedwait(&proxy->changed, &proxy->mutex, &until);
  bool fired = proxy->rules[rule].fired;
  unlock(proxy);
  return fired;
}

void proxy_release(struct proxy *proxy) {
  lock(proxy);
  for (struct link *link = proxy->links; link; link = link->next)
    if (!link->dead) link_release(proxy, link);
  struct late_request *late = proxy->late;
  proxy->late = NULL;
  while (late) {
    struct late_request *next = late->next;
    link_repeat(proxy, late->bytes, late->length, true);
    free(late);
    late = next;
  }
  wake(proxy);
  unlock(proxy);
}
