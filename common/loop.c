/* See loop.h. The real loop, on libuv.
 *
 * Invariants
 *  1. A handle's memory is freed in libuv's close callback, never earlier: libuv closes
 *     asynchronously, so that _free works inside the handle's own callback.
 *  2. The idle handle runs exactly while calls are deferred: a loop with nothing to do sleeps.
 *  3. A call deferred while the deferred ones run waits for the next turn, so that I/O gets its
 * share. Limits: out of memory aborts; there is no caller here that could do better.
 */
#include "common/loop.h"

#include <assert.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <uv.h>

#include "common/memory.h"

struct deferred {
  loop_fn fn;
  void *data;
};

struct deferred_list {
  struct deferred *items;
  size_t count, capacity;
};

struct loop_signal {
  uv_signal_t uv;
  loop_fn fn;
  void *data;
  struct loop_signal *next;
};

struct loop {
  uv_loop_t uv;
  uv_idle_t idle;       /* runs the deferred calls */
  uv_async_t keepalive; /* uv_run() returns when no handle is left: this one always is */
  struct deferred_list waiting, running;
  struct loop_signal *signals;
  bool is_running, stop;
};

struct loop_timer {
  uv_timer_t uv;
  struct loop *loop;
  loop_fn fn;
  void *data;
};

struct loop_poll {
  uv_poll_t uv;
  loop_poll_fn fn;
  void *data;
  int events; /* as started */
};

struct loop_wakeup {
  uv_async_t uv;
  loop_fn fn;
  void *data;
};

static void *allocate(size_t size) {
  void *memory = memory_zeroed(size);
  if (!memory) abort();
  return memory;
}

static void must(int status) {
  if (status != 0) abort();
}

/* The struct begins with its handle. */
static void free_closed(uv_handle_t *handle) {
  free(handle);
}

/* ---- the loop ---------------------------------------------------------------------------------
 */

static void on_idle(uv_idle_t *idle) {
  struct loop *loop = idle->data;
  struct deferred_list turn = loop->waiting;
  loop->waiting = loop->running;
  loop->running = turn;
  must(uv_idle_stop(&loop->idle));
  for (size_t i = 0; i < turn.count; i++)
    turn.items[i].fn(turn.items[i].data);
  loop->running.count = 0;
}

static void on_keepalive(uv_async_t *handle) {
  (void)handle;
}

struct loop *loop_new(void) {
  struct loop *loop = allocate(sizeof *loop);
  /* A peer that has gone is an error of write(), not a signal that ends the process. */
  (void)signal(SIGPIPE, SIG_IGN);
  must(uv_loop_init(&loop->uv));
  must(uv_idle_init(&loop->uv, &loop->idle));
  must(uv_async_init(&loop->uv, &loop->keepalive, on_keepalive));
  loop->idle.data = loop;
  return loop;
}

void loop_free(struct loop *loop) {
  assert(!loop->is_running);
  while (loop->waiting.count > 0)
    (void)uv_run(&loop->uv, UV_RUN_NOWAIT);
  while (loop->signals) {
    struct loop_signal *s = loop->signals;
    loop->signals = s->next;
    uv_close((uv_handle_t *)&s->uv, free_closed);
  }
  uv_close((uv_handle_t *)&loop->idle, NULL);
  uv_close((uv_handle_t *)&loop->keepalive, NULL);
  (void)uv_run(&loop->uv, UV_RUN_NOWAIT);
  int closed = uv_loop_close(&loop->uv);
  assert(closed == 0); /* else somebody still has a handle */
  free(loop->waiting.items);
  free(loop->running.items);
  free(loop);
}

void loop_run(struct loop *loop) {
  assert(!loop->is_running);
  loop->is_running = true;
  while (!loop->stop)
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
  loop->stop = false;
  loop->is_running = false;
}

void loop_stop(struct loop *loop) {
  loop->stop = true;
  uv_stop(&loop->uv);
}

/* Outside of loop_run() no turn begins, and libuv's time would stand still. */
static void refresh_time(struct loop *loop) {
  if (!loop->is_running) uv_update_time(&loop->uv);
}

uint64_t loop_now_ms(struct loop *loop) {
  refresh_time(loop);
  return uv_now(&loop->uv);
}

void loop_defer(struct loop *loop, loop_fn fn, void *data) {
  struct deferred_list *list = &loop->waiting;
  if (list->count == list->capacity) {
    size_t capacity = list->capacity ? 2 * list->capacity : 64;
    struct deferred *items = realloc(list->items, capacity * sizeof *items);
    if (!items) abort();
    list->items = items;
    list->capacity = capacity;
  }
  if (list->count == 0) must(uv_idle_start(&loop->idle, on_idle));
  list->items[list->count++] = (struct deferred){fn, data};
}

/* ---- the end of a turn ------------------------------------------------------------------------
 */

struct loop_soon {
  uv_prepare_t uv; /* runs before the loop waits for events */
  loop_fn fn;
  void *data;
};

static void on_prepare(uv_prepare_t *handle) {
  struct loop_soon *soon = (struct loop_soon *)handle;
  must(uv_prepare_stop(handle));
  soon->fn(soon->data);
}

struct loop_soon *loop_soon_new(struct loop *loop, loop_fn fn, void *data) {
  struct loop_soon *soon = allocate(sizeof *soon);
  soon->fn = fn;
  soon->data = data;
  must(uv_prepare_init(&loop->uv, &soon->uv));
  return soon;
}

void loop_soon_ask(struct loop_soon *soon) {
  must(uv_prepare_start(&soon->uv, on_prepare));
}

void loop_soon_free(struct loop_soon *soon) {
  if (soon) uv_close((uv_handle_t *)&soon->uv, free_closed);
}

/* ---- timers -----------------------------------------------------------------------------------
 */

static void on_timer(uv_timer_t *handle) {
  struct loop_timer *timer = (struct loop_timer *)handle;
  timer->fn(timer->data);
}

struct loop_timer *loop_timer_new(struct loop *loop, loop_fn fn, void *data) {
  struct loop_timer *timer = allocate(sizeof *timer);
  timer->loop = loop;
  timer->fn = fn;
  timer->data = data;
  must(uv_timer_init(&loop->uv, &timer->uv));
  return timer;
}

/* libuv runs timers until none is due: one that starts itself again with no delay would run for
 * ever, so the least is a millisecond. For "soon" there is loop_defer(). */
void loop_timer_start(struct loop_timer *timer, uint64_t delay_ms) {
  refresh_time(timer->loop);
  must(uv_timer_start(&timer->uv, on_timer, delay_ms ? delay_ms : 1, 0));
}

void loop_timer_stop(struct loop_timer *timer) {
  must(uv_timer_stop(&timer->uv));
}

void loop_timer_free(struct loop_timer *timer) {
  if (timer) uv_close((uv_handle_t *)&timer->uv, free_closed);
}

/* ---- descriptors ------------------------------------------------------------------------------
 */

static void on_poll(uv_poll_t *handle, int status, int events) {
  struct loop_poll *poll = (struct loop_poll *)handle;
  if (status == 0) {
    poll->fn(poll->data, events & UV_READABLE, events & UV_WRITABLE);
    return;
  }
  /* An error is pending on the descriptor, and libuv has stopped watching. Whatever the owner tries
   * next tells it the errno; until it gives up it is told again, as level-triggered means. */
  int wanted = poll->events;
  must(uv_poll_start(&poll->uv, wanted, on_poll));
  poll->fn(poll->data, wanted & UV_READABLE, wanted & UV_WRITABLE);
}

struct loop_poll *loop_poll_new(struct loop *loop, int fd, loop_poll_fn fn, void *data) {
  struct loop_poll *poll = allocate(sizeof *poll);
  if (uv_poll_init(&loop->uv, &poll->uv, fd) != 0) {
    free(poll);
    return NULL;
  }
  poll->fn = fn;
  poll->data = data;
  return poll;
}

void loop_poll_set(struct loop_poll *poll, bool readable, bool writable) {
  int events = (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0);
  if (events == poll->events) return; /* each change is two system calls */
  poll->events = events;
  must(events ? uv_poll_start(&poll->uv, events, on_poll) : uv_poll_stop(&poll->uv));
}

void loop_poll_free(struct loop_poll *poll) {
  if (poll) uv_close((uv_handle_t *)&poll->uv, free_closed);
}

/* ---- other threads, signals -------------------------------------------------------------------
 */

static void on_wakeup(uv_async_t *handle) {
  struct loop_wakeup *wakeup = (struct loop_wakeup *)handle;
  wakeup->fn(wakeup->data);
}

struct loop_wakeup *loop_wakeup_new(struct loop *loop, loop_fn fn, void *data) {
  struct loop_wakeup *wakeup = allocate(sizeof *wakeup);
  wakeup->fn = fn;
  wakeup->data = data;
  must(uv_async_init(&loop->uv, &wakeup->uv, on_wakeup));
  return wakeup;
}

void loop_wakeup_send(struct loop_wakeup *wakeup) {
  must(uv_async_send(&wakeup->uv));
}

void loop_wakeup_free(struct loop_wakeup *wakeup) {
  if (wakeup) uv_close((uv_handle_t *)&wakeup->uv, free_closed);
}

static void on_signal(uv_signal_t *handle, int signum) {
  (void)signum;
  struct loop_signal *s = (struct loop_signal *)handle;
  s->fn(s->data);
}

void loop_on_signal(struct loop *loop, int signum, loop_fn fn, void *data) {
  struct loop_signal *s = allocate(sizeof *s);
  s->fn = fn;
  s->data = data;
  must(uv_signal_init(&loop->uv, &s->uv));
  must(uv_signal_start(&s->uv, on_signal, signum));
  s->next = loop->signals;
  loop->signals = s;
}
