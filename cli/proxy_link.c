/* The connections of a proxy: see proxy_internal.h.
 *
 *   read a chunk -> throw the dice -> look for the rules' bytes -> wait for its time -> pass
 *
 * Invariants
 *  1. A pipe reads only when its chunk has passed: what is behind it waits in the sockets, and the
 *     order of bytes is never changed.
 *  2. An end (FIN, reset) passes like a byte: behind the chunk, and not while it is held.
 *  3. A socket is polled only for what its pipes want, so that an end that is held makes no noise.
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <netinet/in.h>
#include <netinet/tcp.h>

#include "cli/proxy_internal.h"

enum { REPEAT_LATE_MS_MAX = 100 };

/* ---- open, close ----------------------------------------------------------------------------- */

static void close_socket(int *fd, bool reset) {
  if (*fd < 0) return;
  const struct linger now = {.l_onoff = 1, .l_linger = 0};
  if (reset)
    (void)setsockopt(*fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  else
    (void)shutdown(*fd, SHUT_WR);
  (void)close(*fd);
  *fd = -1;
}

static void link_end(struct link *link, bool reset_target, bool reset_client) {
  close_socket(&link->sockets[PROXY_TO_TARGET], reset_target);
  close_socket(&link->sockets[PROXY_TO_CLIENT], reset_client);
  link->dead = true;
}

void link_reset(struct link *link) {
  link_end(link, true, true);
}

void link_free(struct link *link) {
  link_reset(link);
  tape_free(&link->tape);
  free(link);
}

static void connect_target(const struct proxy *proxy, struct link *link) {
  const struct proxy_target *target = &proxy->target;
  int fd = socket(target->address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  link->sockets[PROXY_TO_TARGET] = fd;
  if (fd < 0) return;
  const int on = 1;
  if (target->address.any.sa_family == AF_INET)
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (connect(fd, &target->address.any, target->length) == 0) return;
  if (errno == EINPROGRESS)
    link->connecting = true;
  else
    close_socket(&link->sockets[PROXY_TO_TARGET], false);
}

/* Takes the client's socket; -1: alone. NULL: what there is has been closed. */
static struct link *link_new(struct proxy *proxy, int client) {
  struct link *link = calloc(1, sizeof *link);
  if (!link) {
    close_socket(&client, true);
    return NULL;
  }
  link->alone = client < 0;
  link->sockets[PROXY_TO_CLIENT] = client;
  link->polled[PROXY_TO_TARGET] = link->polled[PROXY_TO_CLIENT] = -1;
  connect_target(proxy, link);
  if (link->sockets[PROXY_TO_TARGET] < 0) {
    link_free(link);
    return NULL;
  }
  link->next = proxy->links;
  proxy->links = link;
  proxy->link_count++;
  return link;
}

void link_accept(struct proxy *proxy, int client) {
  const int on = 1;
  (void)setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  proxy->counts.connections++;
  (void)link_new(proxy, client);
}

/* ---- repetition ------------------------------------------------------------------------------ */

void link_repeat(struct proxy *proxy, char *bytes, size_t length, bool at_once) {
  assert(length <= CHUNK_BYTES);
  struct link *link = proxy->link_count < PROXY_CONNECTIONS_MAX ? link_new(proxy, -1) : NULL;
  if (link) {
    struct pipe *pipe = &link->pipes[PROXY_TO_TARGET];
    memcpy(pipe->bytes, bytes, length);
    pipe->length = pipe->scanned = pipe->cleared = length;
    pipe->due_us = proxy_now_us() + (at_once ? 0 : proxy_throw(proxy, REPEAT_LATE_MS_MAX) * 1000);
    proxy->counts.repeated++;
  }
  free(bytes);
}

static void repeat_later(struct proxy *proxy, char *bytes, size_t length) {
  struct late_request *late = calloc(1, sizeof *late);
  struct late_request **at = &proxy->late;
  if (!late) {
    free(bytes);
    return;
  }
  *late = (struct late_request){.bytes = bytes, .length = length};
  while (*at)
    at = &(*at)->next;
  *at = late;
}

/* What has been scanned of the stream to the target. */
static void record(struct proxy *proxy, struct link *link, const char *bytes, size_t length) {
  bool complete;
  for (size_t taken; length > 0; bytes += taken, length -= taken) {
    struct request_tape *tape = &link->tape;
    taken = tape_take(tape, bytes, length, &complete);
    if (!complete) continue;
    bool by_chance = proxy_throw(proxy, 1000) < proxy->faults.repeat_per_mille;
    char *copy = by_chance || tape->repeat || tape->repeat_late ? malloc(tape->length) : NULL;
    if (copy) {
      memcpy(copy, tape->bytes, tape->length);
      if (tape->repeat_late)
        repeat_later(proxy, copy, tape->length);
      else
        link_repeat(proxy, copy, tape->length, tape->repeat);
    }
    tape_rewind(tape);
  }
}

/* ---- rules ----------------------------------------------------------------------------------- */

static struct pipe *other(struct link *link, enum proxy_direction direction) {
  return &link->pipes[direction == PROXY_TO_TARGET ? PROXY_TO_CLIENT : PROXY_TO_TARGET];
}

static void end_at(struct pipe *pipe, size_t length, enum pipe_end end) {
  pipe->length = pipe->scanned = pipe->cleared = length;
  pipe->end = end;
}

/* The rule's bytes end where the pipe is scanned to. False: it does not fire here. */
static bool fire(struct link *link, enum proxy_direction direction, const struct rule *rule) {
  struct pipe *pipe = &link->pipes[direction];
  bool whole = pipe->scanned - pipe->cleared >= rule->length;
  size_t start = whole ? pipe->scanned - rule->length : pipe->cleared;
  switch (rule->action) {
  case PROXY_PASS: break;
  case PROXY_HOLD:
    pipe->cleared = start;
    pipe->held = true;
    break;
  case PROXY_HOLD_ANSWER: other(link, direction)->answer_held = true; break;
  case PROXY_CUT: end_at(pipe, start, PIPE_RESET); break;
  case PROXY_CUT_ANSWER: other(link, direction)->cut_next = true; break;
  case PROXY_PASS_AND_CUT: end_at(pipe, pipe->scanned, PIPE_RESET_FROM); break;
  case PROXY_TRUNCATE: end_at(pipe, pipe->scanned, PIPE_CLOSE); break;
  case PROXY_REPEAT: link->tape.repeat = true; break;
  case PROXY_REPEAT_LATE: link->tape.repeat_late = true; break;
  case PROXY_STRAY:
    link->tape.repeat_late = true;
    pipe->cleared = start;
    pipe->lost = true;
    break;
  case RULE_REPLACE:
    if (!whole) return false;
    memcpy(pipe->bytes + start, rule->instead, rule->length);
    break;
  default: assert(false && "an action");
  }
  return true;
}

static void scan_byte(struct proxy *proxy, struct link *link, enum proxy_direction direction) {
  struct pipe *pipe = &link->pipes[direction];
  char byte = pipe->bytes[pipe->scanned++];
  bool acted = false;
  for (unsigned i = 0; i < proxy->rule_count; i++) {
    struct rule *rule = &proxy->rules[i];
    if (rule->over || rule->direction != direction) continue;
    if (!rule_step(rule, &pipe->progress[i], byte) || acted) continue;
    acted = fire(link, direction, rule);
    if (!acted) continue;
    rule->over = rule->fired = true;
    proxy->counts.fired++;
    if (pipe->end == PIPE_RESET || pipe->end == PIPE_RESET_FROM) proxy->counts.cut++;
    if (pipe->end == PIPE_CLOSE) proxy->counts.truncated++;
    (void)pthread_cond_broadcast(&proxy->changed);
  }
}

static void scan(struct proxy *proxy, struct link *link, enum proxy_direction direction) {
  struct pipe *pipe = &link->pipes[direction];
  size_t from = pipe->scanned;
  while (pipe->scanned < pipe->length && !pipe->held && pipe->end == PIPE_GOES_ON)
    scan_byte(proxy, link, direction);
  if (!pipe->held && !pipe->lost) pipe->cleared = pipe->length;
  if (direction == PROXY_TO_TARGET && !link->alone && pipe->scanned > from)
    record(proxy, link, pipe->bytes + from, pipe->scanned - from);
  if (pipe->lost) pipe->length = pipe->scanned = pipe->cleared;
}

void link_release(struct proxy *proxy, struct link *link) {
  for (int i = 0; i < PROXY_DIRECTIONS; i++) {
    struct pipe *pipe = &link->pipes[i];
    pipe->answer_held = false;
    if (!pipe->held) continue;
    pipe->held = false;
    scan(proxy, link, (enum proxy_direction)i);
  }
}

/* ---- chunks ---------------------------------------------------------------------------------- */

static bool is_held(const struct proxy *proxy, const struct link *link,
                    enum proxy_direction direction) {
  const struct proxy_faults *faults = &proxy->faults;
  return link->pipes[direction].answer_held ||
         (direction == PROXY_TO_TARGET ? faults->hold_to_target : faults->hold_to_client);
}

/* The dice of a new chunk; true: they have decided over it. */
static bool throw_dice(struct proxy *proxy, struct pipe *pipe) {
  const struct proxy_faults *faults = &proxy->faults;
  bool cut = proxy_throw(proxy, 1000) < faults->cut_per_mille;
  bool truncate = proxy_throw(proxy, 1000) < faults->truncate_per_mille;
  size_t part = (size_t)proxy_throw(proxy, pipe->length);
  unsigned longest =
      faults->delay_ms_max > faults->delay_ms_min ? faults->delay_ms_max : faults->delay_ms_min;
  uint64_t delay_ms =
      faults->delay_ms_min + proxy_throw(proxy, longest - faults->delay_ms_min + UINT64_C(1));
  pipe->due_us = delay_ms > 0 ? proxy_now_us() + delay_ms * 1000 : 0;
  proxy->counts.delayed += delay_ms > 0;
  if (cut) {
    proxy->counts.cut++;
    end_at(pipe, 0, PIPE_RESET);
  } else if (truncate) {
    proxy->counts.truncated++;
    end_at(pipe, part, PIPE_CLOSE);
  }
  return cut || truncate;
}

static bool wants_to_read(const struct link *link, enum proxy_direction direction) {
  const struct pipe *pipe = &link->pipes[direction];
  return pipe->length == 0 && !pipe->ended && pipe->end == PIPE_GOES_ON &&
         link->sockets[1 - (int)direction] >= 0;
}

static void pipe_read(struct proxy *proxy, struct link *link, enum proxy_direction direction) {
  struct pipe *pipe = &link->pipes[direction];
  ssize_t got = recv(link->sockets[1 - (int)direction], pipe->bytes, sizeof pipe->bytes, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  pipe->ended = got <= 0;
  pipe->broken = got < 0;
  if (link->alone) {
    proxy->counts.answered += got > 0;
    link_end(link, false, false); /* it has been worked on, or never will be */
  } else if (got > 0 && pipe->cut_next) {
    proxy->counts.cut++;
    link_reset(link);
  } else if (got > 0) {
    pipe->length = (size_t)got;
    pipe->scanned = pipe->cleared = pipe->sent = 0;
    if (!throw_dice(proxy, pipe)) scan(proxy, link, direction);
  }
}

/* Whether the chunk, or an end, may pass now. */
static bool may_pass(const struct proxy *proxy, const struct link *link,
                     enum proxy_direction direction) {
  const struct pipe *pipe = &link->pipes[direction];
  if (is_held(proxy, link, direction)) return false;
  if (direction == PROXY_TO_TARGET && link->connecting) return false;
  return pipe->due_us == 0 || pipe->due_us <= proxy_now_us();
}

static void pipe_write(struct proxy *proxy, struct link *link, enum proxy_direction direction) {
  struct pipe *pipe = &link->pipes[direction];
  uint64_t *bytes = direction == PROXY_TO_TARGET ? &proxy->counts.bytes_to_target
                                                 : &proxy->counts.bytes_to_client;
  while (pipe->sent < pipe->cleared) {
    ssize_t sent = send(link->sockets[direction], pipe->bytes + pipe->sent,
                        pipe->cleared - pipe->sent, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) return;
    if (sent < 0) { /* the receiver has gone: as a kernel does, the sender is told with a reset */
      link_reset(link);
      return;
    }
    pipe->sent += (size_t)sent;
    *bytes += (uint64_t)sent;
  }
}

/* Behind the last byte: what the rules or the dice have decided, or what the sender has done. */
static void pipe_finish(struct link *link, enum proxy_direction direction) {
  struct pipe *pipe = &link->pipes[direction];
  if (pipe->sent < pipe->cleared || pipe->held) return;
  pipe->length = pipe->scanned = pipe->cleared = pipe->sent = 0;
  bool target_sends = direction == PROXY_TO_CLIENT;
  switch (pipe->end) {
  case PIPE_GOES_ON: break;
  case PIPE_CLOSE: link_end(link, false, false); return;
  case PIPE_RESET: link_reset(link); return;
  case PIPE_RESET_FROM: link_end(link, target_sends, !target_sends); return;
  }
  if (!pipe->ended || pipe->shut) return;
  pipe->shut = true;
  if (pipe->broken)
    link_reset(link);
  else if (link->sockets[direction] >= 0)
    (void)shutdown(link->sockets[direction], SHUT_WR);
}

/* ---- turns ----------------------------------------------------------------------------------- */

size_t link_wants(struct proxy *proxy, struct link *link, struct pollfd *polls, size_t at,
                  uint64_t *wake_us) {
  short events[PROXY_DIRECTIONS] = {0, 0};
  if (link->connecting) events[PROXY_TO_TARGET] = POLLOUT;
  for (int i = 0; i < PROXY_DIRECTIONS; i++) {
    enum proxy_direction direction = (enum proxy_direction)i;
    const struct pipe *pipe = &link->pipes[direction];
    bool reads = wants_to_read(link, direction) && !(i == PROXY_TO_CLIENT && link->connecting);
    if (reads) events[1 - i] |= POLLIN;
    if (pipe->sent == pipe->cleared && pipe->end == PIPE_GOES_ON) continue;
    if (may_pass(proxy, link, direction))
      events[i] |= POLLOUT;
    else if (!is_held(proxy, link, direction) && pipe->due_us > 0 && pipe->due_us < *wake_us)
      *wake_us = pipe->due_us;
  }
  size_t count = 0;
  for (int i = 0; i < PROXY_DIRECTIONS; i++) {
    link->polled[i] = -1;
    if (events[i] == 0 || link->sockets[i] < 0) continue;
    link->polled[i] = (int)(at + count);
    polls[count++] = (struct pollfd){.fd = link->sockets[i], .events = events[i]};
  }
  return count;
}

static void connected(struct link *link) {
  int failed = 0;
  socklen_t length = sizeof failed;
  (void)getsockopt(link->sockets[PROXY_TO_TARGET], SOL_SOCKET, SO_ERROR, &failed, &length);
  link->connecting = false;
  if (failed != 0) link_reset(link);
}

void link_work(struct proxy *proxy, struct link *link, const struct pollfd *polls) {
  short came[PROXY_DIRECTIONS] = {0, 0};
  for (int i = 0; i < PROXY_DIRECTIONS; i++)
    if (link->polled[i] >= 0) came[i] = polls[link->polled[i]].revents;
  if (link->connecting && came[PROXY_TO_TARGET]) {
    connected(link);
    came[PROXY_TO_TARGET] = 0;
  }
  for (int i = 0; i < PROXY_DIRECTIONS && !link->dead; i++) {
    enum proxy_direction direction = (enum proxy_direction)i;
    bool readable = came[1 - i] & (POLLIN | POLLHUP | POLLERR);
    if (readable && wants_to_read(link, direction)) pipe_read(proxy, link, direction);
  }
  for (int i = 0; i < PROXY_DIRECTIONS && !link->dead; i++) {
    enum proxy_direction direction = (enum proxy_direction)i;
    if (!may_pass(proxy, link, direction)) continue;
    pipe_write(proxy, link, direction);
    if (!link->dead) pipe_finish(link, direction);
  }
  if (link->pipes[PROXY_TO_TARGET].shut && link->pipes[PROXY_TO_CLIENT].shut)
    link_end(link, false, false);
}
