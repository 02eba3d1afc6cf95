/* common/loop.h on the simulated queue: one loop for each life of a process.
 *
 * As in the real one, a loop's clock stands still during a turn, has whole milliseconds, and a timer
 * fires in the turn that is due, never inside the call that started it. Descriptors and signals do not
 * exist here; the log's writer, the only other thread, is a model of its own (disk.c).
 *
 * Invariant: when a loop is freed all its timers have been.
 */
#include <assert.h>
#include <stdlib.h>

#include "common/loop.h"
#include "tests/sim/sim_run.h"

enum { US_PER_MS = 1000 };

struct loop {
  struct sim *sim;
  struct process *process;
  bool held;
  unsigned timers;
};

struct loop_soon {
  struct loop *loop;
  loop_fn fn;
  void *data;
  struct sim_event *event; /* NULL: not asked for */
};

struct loop_timer {
  struct loop *loop;
  loop_fn fn;
  void *data;
  struct sim_event *event; /* NULL: not running */
};

struct loop *sim_loop_new(struct sim *sim, struct process *process) {
  struct loop *loop = calloc(1, sizeof *loop);
  if (!loop) abort();
  loop->sim = sim;
  loop->process = process;
  return loop;
}

void loop_free(struct loop *loop) {
  assert(loop->timers == 0);
  sim_drop_loop(loop->sim, loop);
  free(loop);
}

struct process *loop_process(const struct loop *loop) {
  return loop->process;
}

struct sim *loop_sim(const struct loop *loop) {
  return loop->sim;
}

void sim_loop_hold(struct loop *loop, bool held) {
  loop->held = held;
  if (!held) sim_let_go(loop->sim, loop);
}

bool sim_loop_is_held(const struct loop *loop) {
  return loop->held;
}

/* ---- common/loop.h ---------------------------------------------------------------------------- */

uint64_t loop_now_ms(struct loop *loop) {
  return sim_now_us(loop->sim) / US_PER_MS;
}

void loop_defer(struct loop *loop, loop_fn fn, void *data) {
  (void)sim_after(loop->sim, loop, 0, fn, data);
}

struct loop_soon *loop_soon_new(struct loop *loop, loop_fn fn, void *data) {
  struct loop_soon *soon = calloc(1, sizeof *soon);
  if (!soon) abort();
  *soon = (struct loop_soon){.loop = loop, .fn = fn, .data = data};
  return soon;
}

static void come(void *data) {
  struct loop_soon *soon = data;
  soon->event = NULL;
  soon->fn(soon->data);
}

void loop_soon_ask(struct loop_soon *soon) {
  if (!soon->event) soon->event = sim_after(soon->loop->sim, soon->loop, 0, come, soon);
}

void loop_soon_free(struct loop_soon *soon) {
  if (soon) sim_cancel(soon->event);
  free(soon);
}

struct loop_timer *loop_timer_new(struct loop *loop, loop_fn fn, void *data) {
  struct loop_timer *timer = calloc(1, sizeof *timer);
  if (!timer) abort();
  *timer = (struct loop_timer){.loop = loop, .fn = fn, .data = data};
  loop->timers++;
  return timer;
}

static void fire(void *data) {
  struct loop_timer *timer = data;
  timer->event = NULL;
  timer->fn(timer->data);
}

void loop_timer_start(struct loop_timer *timer, uint64_t delay_ms) {
  struct loop *loop = timer->loop;
  loop_timer_stop(timer);
  if (delay_ms == 0) delay_ms = 1;
  uint64_t due_us = (loop_now_ms(loop) + delay_ms) * US_PER_MS;
  timer->event = sim_after(loop->sim, loop, due_us - sim_now_us(loop->sim), fire, timer);
}

void loop_timer_stop(struct loop_timer *timer) {
  sim_cancel(timer->event);
  timer->event = NULL;
}

void loop_timer_free(struct loop_timer *timer) {
  if (!timer) return;
  loop_timer_stop(timer);
  timer->loop->timers--;
  free(timer);
}
