/* See sim.h: time, chance and the trace of one simulated run.
 *
 * Invariants
 *  1. Events leave the queue in the order of (time, number); the number grows with each one made.
 *     Nothing else orders anything: no address, no hash, no real time.
 *  2. Each fault draws from a stream of its own, one draw an occasion, also when it is switched off,
 *     and so does who asks for plain chance: switching a fault off leaves the other draws as they are.
 *  3. An event is in the heap, or in the list of those that wait for their held loop, or gone.
 *
 * Limits: a run of more than EVENTS_MAX events does not end, which is a violation of invariant 7.
 */
#include "tests/sim/sim.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "tests/sim/sim_run.h"

enum { EVENTS_MAX = 400000, LINE_MAX_BYTES = 1024, BROKEN_MAX_BYTES = 1024, WAITING = -2 };

struct sim_event {
  struct sim *sim;
  uint64_t due_us, number;
  struct loop *loop;
  sim_fn fn;
  void *data;
  ptrdiff_t place; /* in the heap; or WAITING */
  struct sim_event *prev, *next;
};

struct stream {
  uint64_t state;
};

struct sim {
  uint64_t seed, now_us, numbers, events;
  struct sim_event **heap;
  size_t count, capacity;
  struct sim_event *waiting; /* for held loops, in the order in which they were due */
  struct sim_event *spare;   /* to be used again; linked by next */
  struct sim_hooks hooks;
  struct stream chance, names, of_fault[SIM_FAULT_COUNT];
  struct sim_faults faults;
  uint64_t counts[SIM_FAULT_COUNT];
  unsigned temper, favoured[SIM_FAULT_COUNT]; /* 0: not; else in 1/10000 */
  bool healed;
  FILE *trace;
  bool hashed;
  uint64_t hash;
  unsigned broken;
  char broken_text[BROKEN_MAX_BYTES];
};

/* ---- chance ----------------------------------------------------------------------------------- */

/* splitmix64: any state is a good one, so a stream is made from the seed and a number. */
static uint64_t draw(struct stream *stream) {
  uint64_t z = stream->state += UINT64_C(0x9E3779B97F4A7C15);
  z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
  return z ^ z >> 31;
}

static struct stream stream_of(uint64_t seed, uint64_t number) {
  struct stream mixed = {seed};
  uint64_t base = draw(&mixed);
  struct stream stream = {base ^ (number * UINT64_C(0xD6E8FEB86659FD93))};
  (void)draw(&stream);
  return stream;
}

uint64_t sim_random(struct sim *sim, uint64_t below) {
  assert(below > 0);
  return draw(&sim->chance) % below; /* the bias does not matter here */
}

uint64_t sim_between(struct sim *sim, uint64_t lowest, uint64_t highest) {
  assert(lowest <= highest);
  return lowest + sim_random(sim, highest - lowest + 1);
}

void sim_random_bytes(struct sim *sim, void *out, size_t size) {
  unsigned char *to = out;
  while (size > 0) {
    uint64_t bits = draw(&sim->names);
    size_t part = size < sizeof bits ? size : sizeof bits;
    memcpy(to, &bits, part);
    to += part;
    size -= part;
  }
}

/* ---- faults ----------------------------------------------------------------------------------- */

#define FAULT_TEXT_(name, text, often) [SIM_##name] = (text),
static const char *const fault_names[SIM_FAULT_COUNT] = {SIM_FAULTS(FAULT_TEXT_)};
#define FAULT_OFTEN_(name, text, often) [SIM_##name] = (often),
static const unsigned fault_often[SIM_FAULT_COUNT] = {SIM_FAULTS(FAULT_OFTEN_)};

enum { OFTEN_BASE = 10000, TEMPER_BASE = 100, FAVOURED_MAX = 2000, FAVOURED_EVENT_MAX = 200 };

const char *sim_fault_name(enum sim_fault fault) {
  assert(fault < SIM_FAULT_COUNT);
  return fault_names[fault];
}

bool sim_fault_often(struct sim *sim, enum sim_fault fault, unsigned weight, const char *where) {
  uint64_t drawn = draw(&sim->of_fault[fault]) % ((uint64_t)OFTEN_BASE * TEMPER_BASE);
  if (sim->healed || !sim->faults.allowed[fault]) return false;
  unsigned favoured = sim->favoured[fault];
  uint64_t often = (uint64_t)(favoured ? favoured : fault_often[fault]) * weight;
  /* What is meant to come often is no rarer in a calm run. */
  bool tempered = !favoured && often < OFTEN_BASE / 10;
  uint64_t scaled = often * (tempered ? sim->temper : TEMPER_BASE);
  if (drawn >= scaled) return false;
  sim->counts[fault]++;
  sim_trace(sim, "fault %s: %s", fault_names[fault], where);
  return true;
}

bool sim_fault(struct sim *sim, enum sim_fault fault, const char *where) {
  return sim_fault_often(sim, fault, 1, where);
}

void sim_set_temper(struct sim *sim, unsigned percent) {
  sim->temper = percent;
}

/* What may strike at every event must leave time for something to be done. */
void sim_favour(struct sim *sim, enum sim_fault fault, unsigned times) {
  unsigned most = fault <= SIM_CLOCK_JUMP ? FAVOURED_EVENT_MAX : FAVOURED_MAX;
  unsigned often = fault_often[fault] * times;
  sim->favoured[fault] = often < most ? often : most;
}

void sim_forbid(struct sim *sim, enum sim_fault fault) {
  sim->faults.allowed[fault] = false;
}

void sim_heal(struct sim *sim) {
  if (!sim->healed) sim_trace(sim, "healed");
  sim->healed = true;
}

bool sim_healed(const struct sim *sim) {
  return sim->healed;
}

uint64_t sim_fault_count(const struct sim *sim, enum sim_fault fault) {
  return sim->counts[fault];
}

/* ---- the queue: a heap ------------------------------------------------------------------------ */

static bool is_earlier(const struct sim_event *a, const struct sim_event *b) {
  return a->due_us != b->due_us ? a->due_us < b->due_us : a->number < b->number;
}

static void place(struct sim *sim, size_t at, struct sim_event *event) {
  sim->heap[at] = event;
  event->place = (ptrdiff_t)at;
}

static void rise(struct sim *sim, size_t at) {
  struct sim_event *event = sim->heap[at];
  for (; at > 0; at = (at - 1) / 2) {
    struct sim_event *parent = sim->heap[(at - 1) / 2];
    if (!is_earlier(event, parent)) break;
    place(sim, at, parent);
  }
  place(sim, at, event);
}

static void sink(struct sim *sim, size_t at) {
  struct sim_event *event = sim->heap[at];
  for (;;) {
    size_t child = 2 * at + 1;
    if (child >= sim->count) break;
    if (child + 1 < sim->count && is_earlier(sim->heap[child + 1], sim->heap[child])) child++;
    if (!is_earlier(sim->heap[child], event)) break;
    place(sim, at, sim->heap[child]);
    at = child;
  }
  place(sim, at, event);
}

static void enqueue(struct sim *sim, struct sim_event *event) {
  if (sim->count == sim->capacity) {
    sim->capacity = sim->capacity ? 2 * sim->capacity : 256;
    sim->heap = realloc(sim->heap, sim->capacity * sizeof(struct sim_event *));
    if (!sim->heap) abort();
  }
  place(sim, sim->count++, event);
  rise(sim, sim->count - 1);
}

static void dequeue(struct sim *sim, struct sim_event *event) {
  size_t at = (size_t)event->place;
  assert(at < sim->count && sim->heap[at] == event);
  struct sim_event *last = sim->heap[--sim->count];
  if (last == event) return;
  place(sim, at, last);
  rise(sim, at);
  sink(sim, (size_t)last->place);
}

static void retire(struct sim *sim, struct sim_event *event) {
  event->next = sim->spare;
  sim->spare = event;
}

static void take_out(struct sim *sim, struct sim_event *event) {
  if (event->place == WAITING)
    DL_DELETE(sim->waiting, event);
  else
    dequeue(sim, event);
}

uint64_t sim_now_us(const struct sim *sim) {
  return sim->now_us;
}

struct sim_event *sim_after(struct sim *sim, struct loop *loop, uint64_t delay_us, sim_fn fn,
                            void *data) {
  struct sim_event *event = sim->spare;
  if (event)
    sim->spare = event->next;
  else
    event = malloc(sizeof *event);
  if (!event) abort();
  *event = (struct sim_event){.sim = sim,
                              .due_us = sim->now_us + delay_us,
                              .number = ++sim->numbers,
                              .loop = loop,
                              .fn = fn,
                              .data = data};
  enqueue(sim, event);
  return event;
}

void sim_cancel(struct sim_event *event) {
  if (!event) return;
  take_out(event->sim, event);
  retire(event->sim, event);
}

/* ---- loops: held, and gone -------------------------------------------------------------------- */

void sim_let_go(struct sim *sim, struct loop *loop) {
  struct sim_event *event, *next;
  DL_FOREACH_SAFE(sim->waiting, event, next) {
    if (event->loop != loop) continue;
    DL_DELETE(sim->waiting, event);
    event->due_us = sim->now_us;
    enqueue(sim, event);
  }
}

void sim_drop_loop(struct sim *sim, struct loop *loop) {
  struct sim_event *event, *next;
  DL_FOREACH_SAFE(sim->waiting, event, next) {
    if (event->loop == loop) sim_cancel(event);
  }
  size_t kept = 0;
  for (size_t i = 0; i < sim->count; i++) {
    struct sim_event *each = sim->heap[i];
    if (each->loop == loop)
      retire(sim, each);
    else
      sim->heap[kept++] = each;
  }
  sim->count = kept;
  for (size_t i = 0; i < kept; i++)
    sim->heap[i]->place = (ptrdiff_t)i;
  for (size_t i = kept / 2; i-- > 0;)
    sink(sim, i);
}

void sim_hook(struct sim *sim, const struct sim_hooks *hooks) {
  sim->hooks = *hooks;
}

static void wait_for_loop(struct sim *sim, struct sim_event *event) {
  dequeue(sim, event);
  event->place = WAITING;
  DL_APPEND(sim->waiting, event);
}

bool sim_step(struct sim *sim) {
  if (sim->count == 0 || sim->broken) return false;
  if (sim->events >= EVENTS_MAX) {
    sim_violation(sim, 7, "after %d events the run has not come to rest", EVENTS_MAX);
    return false;
  }
  struct sim_event *event = sim->heap[0];
  struct loop *loop = event->loop;
  assert(event->due_us >= sim->now_us);
  sim->now_us = event->due_us;
  if (loop && !sim_loop_is_held(loop) && !sim->hooks.before(sim->hooks.data, loop))
    return sim->broken == 0; /* the loop is gone, and the event with it */
  if (loop && sim_loop_is_held(loop)) {
    wait_for_loop(sim, event);
    return true;
  }
  sim_fn fn = event->fn;
  void *data = event->data;
  dequeue(sim, event);
  retire(sim, event);
  sim->events++;
  fn(data);
  sim->hooks.after(sim->hooks.data, loop);
  return sim->broken == 0;
}

uint64_t sim_event_count(const struct sim *sim) {
  return sim->events;
}

/* ---- what is seen ------------------------------------------------------------------------------ */

bool sim_is_traced(const struct sim *sim) {
  return sim->trace || sim->hashed;
}

uint64_t sim_hash(const struct sim *sim) {
  return sim->hash;
}

/* FNV-1a. */
static void hash_line(struct sim *sim, const char *line) {
  for (const char *c = line; *c; c++)
    sim->hash = (sim->hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
}

void sim_trace(struct sim *sim, const char *format, ...) {
  if (!sim_is_traced(sim)) return;
  char line[LINE_MAX_BYTES];
  int head = snprintf(line, sizeof line, "%5" PRIu64 ".%06" PRIu64 " ", sim->now_us / 1000000,
                      sim->now_us % 1000000);
  va_list args;
  va_start(args, format);
  (void)vsnprintf(line + head, sizeof line - (size_t)head, format, args);
  va_end(args);
  hash_line(sim, line);
  if (sim->trace) (void)fprintf(sim->trace, "%s\n", line);
}

void sim_violation(struct sim *sim, unsigned invariant, const char *format, ...) {
  char text[BROKEN_MAX_BYTES];
  va_list args;
  va_start(args, format);
  (void)vsnprintf(text, sizeof text, format, args);
  va_end(args);
  sim_trace(sim, "VIOLATION of invariant %u: %s", invariant, text);
  if (sim->broken) return; /* the first one counts */
  sim->broken = invariant;
  memcpy(sim->broken_text, text, sizeof text);
}

unsigned sim_broken(const struct sim *sim) {
  return sim->broken;
}

const char *sim_broken_text(const struct sim *sim) {
  return sim->broken_text;
}

/* ---- life ------------------------------------------------------------------------------------- */

struct sim *sim_new(const struct sim_settings *settings) {
  struct sim *sim = calloc(1, sizeof *sim);
  if (!sim) abort();
  sim->seed = settings->seed;
  sim->faults = settings->faults;
  sim->trace = settings->trace;
  sim->hashed = settings->hash;
  sim->hash = UINT64_C(0xcbf29ce484222325);
  sim->temper = TEMPER_BASE;
  sim->chance = stream_of(settings->seed, 1);
  sim->names = stream_of(settings->seed, 2);
  for (unsigned i = 0; i < SIM_FAULT_COUNT; i++)
    sim->of_fault[i] = stream_of(settings->seed, 1000 + i);
  return sim;
}

void sim_free(struct sim *sim) {
  while (sim->waiting)
    sim_cancel(sim->waiting);
  while (sim->count > 0)
    sim_cancel(sim->heap[0]);
  for (struct sim_event *event = sim->spare, *next; event; event = next) {
    next = event->next;
    free(event);
  }
  free(sim->heap);
  free(sim);
}
