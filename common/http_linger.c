/* See http_linger.h. */
#include "common/http_linger.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct http_linger {
  struct http_lingerers *all;
  struct http_linger *next;
  struct loop_poll *poll;
  struct loop_timer *timer;
  int fd;
};

static void end(struct http_linger *linger) {
  struct http_linger **at = &linger->all->first;
  while (*at != linger)
    at = &(*at)->next;
  *at = linger->next;
  linger->all->count--;
  loop_poll_free(linger->poll);
  loop_timer_free(linger->timer);
  (void)close(linger->fd);
  free(linger);
}

static void on_timeout(void *data) {
  end(data);
}

static void on_readable(void *data, bool readable, bool writable) {
  (void)readable;
  (void)writable;
  struct http_linger *linger = data;
  char dropped[16384];
  ssize_t n = recv(linger->fd, dropped, sizeof dropped, MSG_DONTWAIT);
  if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR))) return;
  end(linger);
}

void http_linger_begin(struct http_lingerers *all, int fd) {
  if (all->count >= HTTP_LINGER_MAX) return;
  struct http_linger *linger = calloc(1, sizeof *linger);
  if (!linger) return;
  linger->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (linger->fd >= 0) linger->poll = loop_poll_new(all->loop, linger->fd, on_readable, linger);
  if (!linger->poll) {
    if (linger->fd >= 0) (void)close(linger->fd);
    free(linger);
    return;
  }
  (void)shutdown(linger->fd, SHUT_WR);
  linger->timer = loop_timer_new(all->loop, on_timeout, linger);
  linger->all = all;
  linger->next = all->first;
  all->first = linger;
  all->count++;
  loop_timer_start(linger->timer, HTTP_LINGER_MS);
  loop_poll_set(linger->poll, true, false);
}

void http_linger_close(struct http_lingerers *all) {
  while (all->first)
    end(all->first);
}
