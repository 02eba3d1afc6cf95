/* See pool.h.
 *
 * Invariants
 *  1. A session is in `idle` (open, no holder), held, or opening; `count` is the sum, and at most
 *     connections_max.
 *  2. Not more sessions are opening than tickets wait.
 *  3. When connecting fails and nobody holds a session, those who wait are told at once: there is
 *     nothing left to wait for. The next attempt comes after a pause, so that a dead server costs
 *     four attempts a second, however much work arrives.
 */
#include "participant-agent/pool.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

struct pool {
  struct pool_options options;
  char server[SERVER_SIZE];
  bool started;
  struct work *all; /* every one, in no order */
  struct work **idle;
  unsigned count, idle_count, opening;
  struct ticket *queue;
  unsigned waiting;
  struct backoff backoff;
  struct loop_timer *retry;
  bool retrying;
};

static void open_wanted(struct pool *p);

static void discard(struct work *work) {
  struct pool *p = work->pool;
  p->options.adapter->ops->close(work->session);
  DL_DELETE(p->all, work);
  p->count--;
  free(work);
}

static struct ticket *dequeue(struct pool *p) {
  struct ticket *ticket = p->queue;
  DL_DELETE(p->queue, ticket);
  ticket->queued = false;
  p->waiting--;
  return ticket;
}

static void hand_out(struct pool *p, struct work *work) {
  struct ticket *ticket = dequeue(p);
  work->holder = ticket;
  ticket->got(ticket->data, work, NULL);
}

static void put_idle(struct pool *p, struct work *work) {
  if (p->queue)
    hand_out(p, work);
  else
    p->idle[p->idle_count++] = work;
}

static void take_from_idle(struct pool *p, const struct work *work) {
  for (unsigned i = 0; i < p->idle_count; i++) {
    if (p->idle[i] != work) continue;
    p->idle[i] = p->idle[--p->idle_count];
    return;
  }
}

/* ---- opening -----------------------------------------------------------------------------------
 */

/* Clients read the cause. Where the database is, and what it said, is in the log and in the agent's
 * health: the control session gets the same. */
static void fail_waiting(struct pool *p) {
  struct cause cause;
  agent_cause_set(&cause, CAUSE_UNREACHABLE, "the database cannot be reached");
  for (unsigned n = p->waiting; n > 0 && p->queue; n--) {
    struct ticket *ticket = dequeue(p);
    ticket->got(ticket->data, NULL, &cause);
  }
}

static void pause_opening(struct pool *p) {
  p->retrying = true;
  loop_timer_start(p->retry, backoff_next_ms(&p->backoff));
}

static bool anybody_holds(const struct pool *p) {
  return p->count > p->opening + p->idle_count;
}

static void on_opened(void *data, const struct session_identity *identity,
                      const struct error *err) {
  struct work *work = data;
  struct pool *p = work->pool;
  p->opening--;
  if (work->retired) {
    discard(work);
  } else if (err) {
    discard(work);
    pause_opening(p);
    if (!anybody_holds(p) && p->opening == 0) fail_waiting(p);
  } else if (strcmp(identity->server, p->server) != 0) {
    discard(work);
    pause_opening(p);
    p->options.stranger(p->options.stranger_data, identity);
  } else {
    work->open = true;
    work->identity = *identity;
    p->backoff.delay_ms = 0;
    put_idle(p, work);
  }
  open_wanted(p);
}

static void on_lost(void *data, const struct error *err) {
  struct work *work = data;
  struct pool *p = work->pool;
  struct ticket *holder = work->holder;
  if (!holder) take_from_idle(p, work);
  discard(work);
  if (holder) holder->lost(holder->data, err);
  open_wanted(p);
}

static void open_wanted(struct pool *p) {
  while (p->started && !p->retrying && p->opening < p->waiting &&
         p->count < p->options.connections_max) {
    struct work *work = must_allocate(sizeof *work);
    work->pool = p;
    session_names_next(p->options.names, work->name);
    DL_APPEND(p->all, work);
    p->count++;
    p->opening++;
    work->session =
        p->options.adapter->ops->open(p->options.adapter, work->name, p->options.call_timeout_ms,
                                      on_opened, on_lost, work);
  }
}

static void on_retry(void *data) {
  struct pool *p = data;
  p->retrying = false;
  open_wanted(p);
}

/* ---- using -------------------------------------------------------------------------------------
 */

enum pool_answer pool_acquire(struct pool *p, struct ticket *ticket, struct work **work) {
  assert(!ticket->queued);
  if (p->idle_count > 0) {
    *work = p->idle[--p->idle_count];
    (*work)->holder = ticket;
    return POOL_GOT;
  }
  if (p->waiting >= p->options.waiting_max) return POOL_FULL;
  ticket->queued = true;
  DL_APPEND(p->queue, ticket);
  p->waiting++;
  open_wanted(p);
  return POOL_QUEUED;
}

bool pool_withdraw(struct pool *p, struct ticket *ticket) {
  if (!ticket->queued) return false;
  DL_DELETE(p->queue, ticket);
  ticket->queued = false;
  p->waiting--;
  return true;
}

void pool_release(struct work *work, bool reusable) {
  struct pool *p = work->pool;
  work->holder = NULL;
  if (reusable && !work->retired && p->options.adapter->ops->is_idle(work->session))
    put_idle(p, work);
  else
    discard(work);
  open_wanted(p);
}

/* ---- life --------------------------------------------------------------------------------------
 */

void pool_start(struct pool *p, const char *server) {
  copy_text(p->server, sizeof p->server, server);
  p->started = true;
  p->backoff.delay_ms = 0;
  open_wanted(p);
}

void pool_stop(struct pool *p) {
  p->started = false;
  while (p->idle_count > 0)
    discard(p->idle[--p->idle_count]);
  struct work *work;
  DL_FOREACH(p->all, work)
  work->retired = true;
}

struct pool_numbers pool_numbers(const struct pool *p) {
  return (struct pool_numbers){.open = p->count - p->opening, .waiting = p->waiting};
}

struct pool *pool_new(const struct pool_options *options) {
  struct pool *p = must_allocate(sizeof *p);
  p->options = *options;
  p->idle = must_allocate(options->connections_max * sizeof *p->idle);
  p->retry = loop_timer_new(options->loop, on_retry, p);
  return p;
}

void pool_free(struct pool *p) {
  if (!p) return;
  struct work *work, *next;
  DL_FOREACH_SAFE(p->all, work, next)
  discard(work);
  loop_timer_free(p->retry);
  free(p->idle);
  free(p);
}
