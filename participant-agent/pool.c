/* See pool.h.
 *
 * Invariants
 *  1. A session is in `idle` (open, no holder), held, or opening; `count` is the sum, and at most
 *     connections_max. Of the held ones `busy` are not at rest, and `open_held` belong to branches that
 *     stay open.
 *  2. Nobody who may have a session waits while one is idle (serve()), and not more are opening than
 *     would be taken.
 *  3. When connecting fails and nobody holds a session, those who wait are told at once: there is
 *     nothing left to wait for. The next attempt comes after a pause, so that a dead server costs
 *     four attempts a second, however much work arrives.
 *  4. While somebody is held up by the limit alone the stall timer runs.
 */
#include "participant-agent/pool.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/clock.h"
#include "participant-agent/admission.h"

struct pool {
  struct pool_options options;
  char server[SERVER_SIZE];
  bool started;
  struct work *all; /* every one, in no order */
  struct work **idle;
  unsigned count, idle_count, opening;
  unsigned busy, open_held, open_held_max;
  struct admission admission;
  struct ticket *queue, *open_queue; /* the second: of those that stay open */
  unsigned waiting, open_waiting;    /* in both; in the second */
  uint64_t tickets;
  struct backoff backoff;
  struct loop_timer *retry, *stall;
  bool retrying, stalling;
};

/* ---- who may have one --------------------------------------------------------------------------
 */

/* How many of those who wait may have a session, were there enough. */
static unsigned takers(const struct pool *p) {
  unsigned open = p->open_held_max - p->open_held;
  if (open > p->open_waiting) open = p->open_waiting;
  return p->waiting - p->open_waiting + open;
}

static unsigned left(const struct pool *p) {
  return p->admission.limit > p->busy ? p->admission.limit - p->busy : 0;
}

static unsigned lesser(unsigned a, unsigned b) {
  return a < b ? a : b;
}

/* The next in turn that may have a session; NULL: nobody. */
static struct ticket *next_taker(const struct pool *p) {
  if (left(p) == 0) return NULL;
  struct ticket *open = p->open_held < p->open_held_max ? p->open_queue : NULL;
  if (!open || !p->queue) return open ? open : p->queue;
  return open->number < p->queue->number ? open : p->queue;
}

static void enqueue(struct pool *p, struct ticket *ticket) {
  ticket->queued = true;
  ticket->number = p->tickets++;
  if (ticket->stays_open)
    DL_APPEND(p->open_queue, ticket);
  else
    DL_APPEND(p->queue, ticket);
  p->waiting++;
  p->open_waiting += ticket->stays_open;
}

static void dequeue(struct pool *p, struct ticket *ticket) {
  if (ticket->stays_open)
    DL_DELETE(p->open_queue, ticket);
  else
    DL_DELETE(p->queue, ticket);
  ticket->queued = false;
  p->waiting--;
  p->open_waiting -= ticket->stays_open;
}

static void hold(struct pool *p, struct work *work, struct ticket *ticket) {
  work->holder = ticket;
  work->busy = true;
  p->busy++;
  p->open_held += ticket->stays_open;
}

static void let_go(struct pool *p, struct work *work) {
  p->busy -= work->busy;
  p->open_held -= work->holder->stays_open;
  work->busy = false;
  work->holder = NULL;
}

/* Those who may have one of the idle sessions get it. */
static void serve(struct pool *p) {
  struct ticket *ticket;
  while (p->idle_count > 0 && (ticket = next_taker(p))) {
    struct work *work = p->idle[--p->idle_count];
    dequeue(p, ticket);
    hold(p, work, ticket);
    ticket->got(ticket->data, work, NULL);
  }
}

/* ---- the limit ---------------------------------------------------------------------------------
 */

static bool is_hindered(const struct pool *p) {
  return p->started && left(p) == 0 && takers(p) > 0;
}

static void watch_stall(struct pool *p, bool ended) {
  bool hindered = is_hindered(p) && p->admission.limit < p->options.connections_max;
  if (hindered && (ended || !p->stalling))
    loop_timer_start(p->stall, ADMISSION_STALL_MS);
  else if (!hindered && p->stalling)
    loop_timer_stop(p->stall);
  p->stalling = hindered;
}

/* On a busy session a run has come to its end. */
static void note_end(struct pool *p) {
  admission_ended(&p->admission, clock_monotonic_us(), takers(p) > 0);
}

/* ---- opening -----------------------------------------------------------------------------------
 */

static void discard(struct work *work) {
  struct pool *p = work->pool;
  p->options.adapter->ops->close(work->session);
  DL_DELETE(p->all, work);
  p->count--;
  free(work);
}

static void take_from_idle(struct pool *p, const struct work *work) {
  for (unsigned i = 0; i < p->idle_count; i++) {
    if (p->idle[i] != work) continue;
    p->idle[i] = p->idle[--p->idle_count];
    return;
  }
}

/* Clients read the cause. Where the database is, and what it said, is in the log and in the agent's
 * health: the control session gets the same. */
static void fail_waiting(struct pool *p) {
  struct cause cause;
  agent_cause_set(&cause, CAUSE_UNREACHABLE, "the database cannot be reached");
  for (unsigned n = p->waiting; n > 0 && p->waiting > 0; n--) {
    struct ticket *ticket = p->queue ? p->queue : p->open_queue;
    dequeue(p, ticket);
    ticket->got(ticket->data, NULL, &cause);
  }
}

static void go_on(struct pool *p, bool ended);

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
    p->idle[p->idle_count++] = work;
  }
  go_on(p, false);
}

static void on_lost(void *data, const struct error *err) {
  struct work *work = data;
  struct pool *p = work->pool;
  struct ticket *holder = work->holder;
  if (holder)
    let_go(p, work);
  else
    take_from_idle(p, work);
  discard(work);
  if (holder) holder->lost(holder->data, err);
  go_on(p, false);
}

static void open_wanted(struct pool *p) {
  while (p->started && !p->retrying && p->opening < lesser(takers(p), left(p)) &&
         p->count < p->options.connections_max) {
    struct work *work = must_allocate(sizeof *work);
    work->pool = p;
    session_names_next(p->options.names, work->name);
    DL_APPEND(p->all, work);
    p->count++;
    p->opening++;
    work->session =
        p->options.adapter->ops->open(p->options.adapter, SESSION_FOR_BRANCHES, work->name,
                                      p->options.call_timeout_ms, on_opened, on_lost, work);
  }
}

/* After whatever may let somebody have a session. `ended`: a run has. */
static void go_on(struct pool *p, bool ended) {
  serve(p);
  open_wanted(p);
  watch_stall(p, ended);
}

static void on_retry(void *data) {
  struct pool *p = data;
  p->retrying = false;
  go_on(p, false);
}

static void on_stall(void *data) {
  struct pool *p = data;
  p->stalling = false;
  admission_stalled(&p->admission);
  go_on(p, false);
}

/* ---- using -------------------------------------------------------------------------------------
 */

static bool may_have_one_now(const struct pool *p, bool stays_open) {
  return p->idle_count > 0 && left(p) > 0 && (!stays_open || p->open_held < p->open_held_max);
}

bool pool_is_full(const struct pool *p, bool stays_open) {
  return !may_have_one_now(p, stays_open) && p->waiting >= p->options.waiting_max;
}

unsigned pool_waiting_max(const struct pool *p) {
  return p->options.waiting_max;
}

enum pool_answer pool_acquire(struct pool *p, struct ticket *ticket, struct work **work) {
  assert(!ticket->queued);
  if (may_have_one_now(p, ticket->stays_open)) {
    *work = p->idle[--p->idle_count];
    hold(p, *work, ticket);
    return POOL_GOT;
  }
  if (p->waiting >= p->options.waiting_max) return POOL_FULL;
  enqueue(p, ticket);
  open_wanted(p);
  watch_stall(p, false);
  return POOL_QUEUED;
}

bool pool_withdraw(struct pool *p, struct ticket *ticket) {
  if (!ticket->queued) return false;
  dequeue(p, ticket);
  watch_stall(p, false);
  return true;
}

void pool_rest(struct work *work) {
  struct pool *p = work->pool;
  assert(work->holder && work->busy);
  work->busy = false;
  p->busy--;
  note_end(p);
  go_on(p, true);
}

void pool_resume(struct work *work) {
  assert(work->holder && !work->busy);
  work->busy = true;
  work->pool->busy++;
}

void pool_release(struct work *work, bool reusable) {
  struct pool *p = work->pool;
  bool ended = work->busy;
  let_go(p, work);
  if (ended) note_end(p);
  if (reusable && !work->retired && p->options.adapter->ops->is_idle(work->session))
    p->idle[p->idle_count++] = work;
  else
    discard(work);
  go_on(p, ended);
}

/* ---- life --------------------------------------------------------------------------------------
 */

void pool_start(struct pool *p, const char *server) {
  copy_text(p->server, sizeof p->server, server);
  p->started = true;
  p->backoff.delay_ms = 0;
  go_on(p, false);
}

void pool_stop(struct pool *p) {
  p->started = false;
  while (p->idle_count > 0)
    discard(p->idle[--p->idle_count]);
  struct work *work;
  DL_FOREACH(p->all, work)
  work->retired = true;
  watch_stall(p, false);
}

struct pool_numbers pool_numbers(const struct pool *p) {
  return (struct pool_numbers){.open = p->count - p->opening,
                               .waiting = p->waiting,
                               .busy = p->busy,
                               .limit = p->admission.limit};
}

struct pool *pool_new(const struct pool_options *options) {
  struct pool *p = must_allocate(sizeof *p);
  p->options = *options;
  p->idle = must_allocate(options->connections_max * sizeof *p->idle);
  p->open_held_max = options->connections_max - options->connections_max / 4;
  admission_init(&p->admission, options->connections_max);
  p->retry = loop_timer_new(options->loop, on_retry, p);
  p->stall = loop_timer_new(options->loop, on_stall, p);
  return p;
}

void pool_free(struct pool *p) {
  if (!p) return;
  struct work *work, *next;
  DL_FOREACH_SAFE(p->all, work, next)
  discard(work);
  loop_timer_free(p->retry);
  loop_timer_free(p->stall);
  free(p->idle);
  free(p);
}
