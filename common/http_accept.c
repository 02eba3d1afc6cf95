/* See http_accept.h. libmicrohttpd's own accepting is not used: once accept() has failed for want of
 * descriptors it waits for one of its connections to end, and with kept connections that may be never. */
#include "common/http_accept.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"

enum { ACCEPTS_MAX = 16 /* in one turn of the loop */, ACCEPT_RETRY_MS = 50 };

struct http_acceptor {
  struct loop_poll *poll;
  struct loop_timer *retry;
  http_accepted_fn fn;
  void *data;
  int fd;
  bool open;
  bool starved; /* the last accept() found no descriptor or memory */
};

static void watch(struct http_acceptor *a) {
  loop_poll_set(a->poll, a->open && !a->starved, false);
}

static bool is_for_want(int cause) {
  return cause == EMFILE || cause == ENFILE || cause == ENOBUFS || cause == ENOMEM;
}

static void starve(struct http_acceptor *a, int cause) {
  if (!a->starved) log_warn("connections_wait", "reason", "s", strerror(cause), NULL);
  a->starved = true;
  loop_timer_start(a->retry, ACCEPT_RETRY_MS);
  watch(a);
}

static void take(struct http_acceptor *a) {
  for (int i = 0; a->open && i < ACCEPTS_MAX; i++) {
    union {
      struct sockaddr any;
      struct sockaddr_in6 v6;
      struct sockaddr_storage storage;
    } peer = {.any = {0}};
    socklen_t size = sizeof peer;
    int fd = accept4(a->fd, &peer.any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      a->starved = false;
      a->fn(a->data, fd, &peer.any, size);
    } else if (is_for_want(errno)) {
      starve(a, errno);
      return;
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      a->starved = false;
      break;
    } /* else one that has gone again: the next */
  }
  watch(a);
}

static void on_poll(void *data, bool readable, bool writable) {
  (void)readable;
  (void)writable;
  take(data);
}

static void on_retry(void *data) {
  take(data);
}

struct http_acceptor *http_acceptor_new(struct loop *loop, int fd, http_accepted_fn fn,
                                        void *data) {
  struct http_acceptor *a = calloc(1, sizeof *a);
  struct loop_poll *poll = a ? loop_poll_new(loop, fd, on_poll, a) : NULL;
  if (!poll) {
    free(a);
    (void)close(fd);
    return NULL;
  }
  *a = (struct http_acceptor){.poll = poll, .fn = fn, .data = data, .fd = fd, .open = true};
  a->retry = loop_timer_new(loop, on_retry, a);
  watch(a);
  return a;
}

void http_acceptor_open(struct http_acceptor *acceptor, bool open) {
  if (acceptor->open == open) return;
  acceptor->open = open;
  watch(acceptor);
}

void http_acceptor_free(struct http_acceptor *acceptor) {
  if (!acceptor) return;
  loop_timer_free(acceptor->retry);
  loop_poll_free(acceptor->poll);
  (void)close(acceptor->fd);
  free(acceptor);
}
